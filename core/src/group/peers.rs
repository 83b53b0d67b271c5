//! Who is there, for how long, and who is gone, for how long, as far as groups care.

use crate::{
    id::Id,
    map::{Map, Set},
    overlay::View,
};

/// A peer heard from within this time is there, linked or not.
const HEARD_US: u64 = 3_000_000;

#[derive(Default)]
struct Peer {
    heard_us: Option<u64>,
    alive_since_us: Option<u64>,
    dead_since_us: Option<u64>,
}

/// See the module.
#[derive(Default)]
pub struct Peers {
    peers: Map<Id, Peer>,
    awake_us: u64,
}

impl Peers {
    /// Notes a sign of life of a peer that matters.
    pub fn heard(&mut self, id: &Id, now_us: u64) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.heard_us = Some(now_us);
            peer.dead_since_us = None;
            peer.alive_since_us.get_or_insert(now_us);
        }
    }

    /// The last link to a peer is down: what was heard of it before says nothing any more.
    pub fn unheard(&mut self, id: &Id) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.heard_us = None;
        }
    }

    /// Called at each tick. Who was not for long, asleep, could hear nobody: of nobody it knows that they are gone since
    /// before.
    pub fn awake(&mut self, now_us: u64) {
        let slept = now_us.saturating_sub(core::mem::replace(&mut self.awake_us, now_us)) > HEARD_US;
        if slept {
            self.peers.values_mut().for_each(|peer| peer.dead_since_us = None);
        }
    }

    /// Looks at everybody that matters: the others are forgotten.
    pub fn look(&mut self, view: &dyn View, wanted: &Set<Id>, now_us: u64) {
        self.peers.retain(|id, _| wanted.contains(id));
        for id in wanted {
            self.peers.entry(*id).or_default();
        }
        for (id, peer) in self.peers.iter_mut() {
            if view.alive(id) || recent(peer, now_us) {
                peer.dead_since_us = None;
                peer.alive_since_us.get_or_insert(now_us);
            } else {
                peer.alive_since_us = None;
                peer.dead_since_us.get_or_insert(now_us);
            }
        }
    }

    /// Whether everybody that matters is linked, or one of `beside`, and has been there since before `since_us`.
    pub fn all_settled(&self, view: &dyn View, since_us: u64, beside: impl Fn(&Id) -> bool) -> bool {
        let settled = |peer: &Peer| peer.alive_since_us.is_some_and(|alive_us| alive_us <= since_us);
        self.peers.iter().all(|(id, peer)| settled(peer) && (view.alive(id) || beside(id)))
    }

    /// Whether a peer is there.
    pub fn alive(&self, view: &dyn View, id: &Id, now_us: u64) -> bool {
        view.alive(id) || self.peers.get(id).is_some_and(|peer| recent(peer, now_us))
    }

    /// For how long a peer has been there without a gap.
    pub fn alive_us(&self, id: &Id, now_us: u64) -> u64 {
        self.peers.get(id).and_then(|peer| peer.alive_since_us).map_or(0, |since| now_us.saturating_sub(since))
    }

    /// For how long a peer has been gone.
    pub fn dead_us(&self, id: &Id, now_us: u64) -> u64 {
        self.peers.get(id).and_then(|peer| peer.dead_since_us).map_or(0, |since| now_us.saturating_sub(since))
    }

    /// Peers that seem gone: asked once more before anybody gives them up.
    pub fn gone(&self) -> impl Iterator<Item = &Id> {
        self.peers.iter().filter(|(_, peer)| peer.dead_since_us.is_some()).map(|(id, _)| id)
    }
}

fn recent(peer: &Peer, now_us: u64) -> bool {
    peer.heard_us.is_some_and(|heard| now_us.saturating_sub(heard) < HEARD_US)
}
