//! An overlay by itself, for tests of its parts.

use chacha20::rand_core::SeedableRng as _;

use super::{Overlay, peer::Peer};
use crate::{
    config::{Config, SECOND_US},
    ctx::{Ctx, Now, Outbox, Rng},
    id::Id,
    node::LinkId,
};

/// Acts a minute after the beginning; what comes out of it is dropped.
pub fn with<T>(overlay: &mut Overlay, act: impl FnOnce(&mut Overlay, &mut Ctx<'_>) -> T) -> T {
    sending(overlay, &mut Outbox::default(), act)
}

/// The same; what comes out of it is kept.
pub fn sending<T>(overlay: &mut Overlay, out: &mut Outbox, act: impl FnOnce(&mut Overlay, &mut Ctx<'_>) -> T) -> T {
    let (config, mut rng) = (Config::default(), Rng::seed_from_u64(1));
    let now = Now { mono: 60 * SECOND_US, wall: 0 };
    act(
        overlay,
        &mut Ctx { now, me: overlay.me, config: &config, signer: &crate::trust::Signer::nobody(), rng: &mut rng, out },
    )
}

/// A node with direct links to `ids`, each of which told that it is linked to those in `ahead`.
pub fn linked(ids: &[Id], ahead: impl Fn(&Id) -> Vec<Id>) -> Overlay {
    let mut overlay = Overlay::new(Id::hash(&[7; 32]));
    for (number, id) in ids.iter().enumerate() {
        let mut peer = Peer::new(false, true, 0);
        peer.direct = Some(LinkId(number as u64));
        peer.ahead = ahead(id).iter().map(Id::head).collect();
        overlay.peers.insert(*id, peer);
    }
    with(&mut overlay, |overlay, ctx| overlay.table_changed(ctx));
    overlay
}

pub fn ids(count: u32) -> Vec<Id> {
    (0..count).map(|number| Id::hash(&number.to_be_bytes())).collect()
}
