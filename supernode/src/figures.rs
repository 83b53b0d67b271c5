//! What the engine has, in numbers. Looking at all of it takes the engine's time, the more the fuller its store is: so it is
//! done at most so often that a hundredth to a tenth of the time goes into it, however often anybody asks.

use std::sync::Arc;

use pontoon_core::{inspect::Inspect, map::Map};
use tokio::time::{Duration, Instant};

/// Between two looks at least,
const EVERY: Duration = Duration::from_millis(100);
/// or so many times what one takes.
const TIMES: u32 = 10;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Open links.
    pub(crate) links: usize,
    /// Of these, those over WebSockets, WebRTC and relays.
    pub(crate) links_by: [usize; 3],
    /// Live peers that the node has heard of.
    pub(crate) peers: usize,
    /// Regions that the node holds, by their state.
    pub(crate) fragments: Map<&'static str, usize>,
    /// The share of the key space of which a copy is here in step.
    pub(crate) replicated: f64,
    /// Records, and their bytes, about.
    pub(crate) records: usize,
    pub(crate) bytes: u64,
    /// All that the engine counts.
    pub(crate) counters: Map<String, u64>,
}

/// Transports, in the order of [`Figures::links_by`].
pub(crate) const TRANSPORTS: [&str; 3] = ["websocket", "webrtc", "relay"];
/// What may become of a region.
pub(crate) const STATES: [&str; 7] = ["active", "merging", "syncing", "changing", "member", "backup", "retired"];

impl From<Inspect> for Figures {
    fn from(engine: Inspect) -> Figures {
        let by = |transport| engine.links.iter().filter(|link| link.transport == transport).count();
        let in_state = |state| engine.fragments.iter().filter(|fragment| fragment.state == state).count();
        let copies = engine.fragments.iter().filter(|it| it.in_step && ["active", "member"].contains(&it.state));
        Figures {
            replicated: copies.map(|fragment| fragment.share).sum(),
            links: engine.links.len(),
            links_by: TRANSPORTS.map(by),
            peers: engine.peers.len(),
            fragments: STATES.iter().map(|state| (*state, in_state(*state))).collect(),
            records: engine.store.records,
            bytes: engine.store.bytes,
            counters: engine.counters,
        }
    }
}

/// The last look.
#[derive(Debug, Default)]
pub(crate) struct Looked(Option<(Instant, Arc<Figures>)>);

impl Looked {
    /// The last look, or a new one if it is time for it.
    pub(crate) fn look(&mut self, look: impl FnOnce() -> Inspect) -> Arc<Figures> {
        let now = Instant::now();
        match &self.0 {
            Some((until, figures)) if now < *until => Arc::clone(figures),
            _ => {
                let figures = Arc::new(Figures::from(look()));
                let took = now.elapsed();
                self.0 = Some((Instant::now() + EVERY.max(took * TIMES), Arc::clone(&figures)));
                figures
            }
        }
    }
}
