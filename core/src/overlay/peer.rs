//! What is known of a linked peer.

use crate::{config::Config, id::Id, node::LinkId};

/// A linked peer: at least one of `direct` and `relay` is set.
#[derive(Debug)]
pub struct Peer {
    /// It says that it is a supernode.
    pub supernode: bool,
    /// It can open WebRTC.
    pub direct_links: bool,
    /// The open transport to it.
    pub direct: Option<LinkId>,
    /// The relaying peer of the open relayed channel to it.
    pub relay: Option<Id>,
    /// A supernode that it is directly linked to.
    pub home: Option<Id>,
    /// It counts this node among its siblings.
    pub wants_us: bool,
    /// It has no other link into this node's slot.
    pub needs_us: bool,
    /// It has more links than it should: who needs it is to find another one in its slot.
    pub crowded: bool,
    /// Whom it is linked to: first bits of their ids.
    pub ahead: Vec<u32>,
    /// Silent for too long: no message is routed over it.
    pub suspected: bool,
    /// This node closes the link: until then it hears what is on its way.
    pub closing_us: Option<u64>,
    /// Round trips.
    pub rtt: Rtt,
    /// Monotone time of the last frame from it.
    pub heard_us: u64,
    /// The ping that waits for its pong: number and time of sending.
    pub ping: Option<(u32, u64)>,
    /// When a round trip was measured last.
    pub measured_us: u64,
    /// When the next ping is due.
    pub ping_due_us: u64,
    /// What it was told of this node's table. Boxed: rarely looked at, and every tick goes through all peers.
    pub told: Box<Told>,
    /// When the application's traffic last went to it, monotone time.
    pub used_us: u64,
    /// When the next attempt at WebRTC is due, and how many failed.
    pub upgrade_due_us: u64,
    /// Failed attempts at WebRTC in a row.
    pub upgrade_failures: u32,
    /// Since when the link stands.
    pub since_us: u64,
    /// Bytes of rows on their way to it that it has not acknowledged.
    pub unacknowledged: usize,
    /// Messages with rows for it wait until it acknowledges some.
    pub waiting: bool,
    /// Bytes of frames sent to it.
    pub sent_bytes: u64,
    /// Bytes of frames received from it.
    pub received_bytes: u64,
}

impl Peer {
    /// A peer whose first channel opens now.
    pub fn new(supernode: bool, direct_links: bool, now_us: u64) -> Peer {
        Peer {
            supernode,
            direct_links,
            direct: None,
            relay: None,
            home: None,
            wants_us: false,
            needs_us: true,
            crowded: false,
            ahead: Vec::new(),
            suspected: false,
            closing_us: None,
            rtt: Rtt::default(),
            heard_us: now_us,
            ping: None,
            measured_us: 0,
            ping_due_us: now_us,
            told: Box::default(),
            used_us: 0,
            upgrade_due_us: now_us,
            upgrade_failures: 0,
            since_us: now_us,
            unacknowledged: 0,
            waiting: false,
            sent_bytes: 0,
            received_bytes: 0,
        }
    }

    /// Whether messages go over the link.
    pub fn usable(&self) -> bool {
        !self.suspected && self.closing_us.is_none()
    }

    /// Whether it was heard within the time of a probe and its answer. After a long sleep nobody was: a node does not know
    /// then who is still there.
    pub fn heard_lately(&self, config: &Config, now_us: u64) -> bool {
        now_us < self.heard_us + config.probe_finger_us + config.suspect_after_us
    }

    /// How long a probe may go unanswered before the peer is suspected, by its round trips; then, before it is gone.
    pub fn patience_us(&self, config: &Config) -> u64 {
        let most = config.suspect_after_us;
        if self.suspected { most } else { (6 * self.rtt.timeout_us(config)).clamp(most / 2, most) }
    }

    /// How often it is probed while nothing is heard from it.
    pub fn ping_interval(&self, config: &Config, sibling: bool) -> u64 {
        if sibling || self.wants_us { config.probe_sibling_us } else { config.probe_finger_us }
    }
}

/// What a peer was told by the probes of its link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Up to which entry of the log of links; `None`: nothing yet.
    pub links: Option<u64>,
    /// At which version of the table.
    pub version: u64,
    /// Which contacts, of late: first bits of their ids.
    pub near: Vec<u32>,
    /// When these are told again, if it lacks them still.
    pub again_us: u64,
    /// This node's home.
    pub home: Option<Id>,
}

/// Round-trip estimation (Jacobson, SIGCOMM 1988; RFC 6298).
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed_us: u64,
    variation_us: u64,
}

impl Rtt {
    /// Takes a measurement.
    pub fn sample(&mut self, rtt_us: u64) {
        if self.smoothed_us == 0 {
            *self = Rtt { smoothed_us: rtt_us.max(1), variation_us: rtt_us / 2 };
            return;
        }
        self.variation_us = (3 * self.variation_us + self.smoothed_us.abs_diff(rtt_us)) / 4;
        self.smoothed_us = ((7 * self.smoothed_us + rtt_us) / 8).max(1);
    }

    /// The smoothed round trip; 0 before the first measurement.
    pub fn smoothed_us(&self) -> u64 {
        self.smoothed_us
    }

    /// How long to wait for an answer of the next hop.
    pub fn timeout_us(&self, config: &Config) -> u64 {
        // On a steady link the variation dies out: without a margin the answer would be late by the smallest delay.
        let margin = (4 * self.variation_us).max(config.rto_min_us / 2);
        let guess = if self.smoothed_us == 0 { 3 * config.rtt_initial_us } else { self.smoothed_us + margin };
        guess.clamp(config.rto_min_us, config.rto_max_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trips() {
        let config = Config::default();
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout_us(&config), 3 * config.rtt_initial_us);
        for _ in 0..50 {
            rtt.sample(40_000);
        }
        assert_eq!(rtt.timeout_us(&config), config.rto_min_us);
        for _ in 0..50 {
            rtt.sample(200_000);
        }
        assert!(rtt.timeout_us(&config) > 240_000, "a steady link leaves a margin");
        for _ in 0..50 {
            rtt.sample(900_000);
        }
        assert!(rtt.timeout_us(&config) >= 900_000 && rtt.timeout_us(&config) <= config.rto_max_us);
    }
}
