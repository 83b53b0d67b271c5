//! What the layers above may ask of the overlay at any time.

use crate::id::Id;

/// The live peers as this node sees them.
pub trait View {
    /// The nearest live peers, nearest first, this node left out. All linked.
    fn siblings(&self) -> &[Id];
    /// Whether a peer is linked and not suspected.
    fn alive(&self, id: &Id) -> bool;
    /// Whether this node has found its place: it is linked to the peers nearest to it.
    fn joined(&self) -> bool;
    /// Changes whenever the live linked peers do, if that is kept track of.
    fn version(&self) -> Option<u64> {
        None
    }
    /// All live linked peers, near or far.
    fn peers(&self) -> Vec<Id> {
        self.siblings().to_vec()
    }
}
