//! What every layer is handed when it is called: the clocks, the generator, the settings and where effects go.
//!
//! Only [`crate::node::Node`] polls. A layer changes its own state, and says what it wants of the world by pushing
//! to the [`Outbox`]: messages to other peers as [`Post`]s (the overlay carries them), everything else as
//! [`Output`]s. Timers are never cancelled: a layer checks, when one fires, whether it still matters.

use std::collections::VecDeque;

use chacha20::ChaCha8Rng;

use crate::{
    config::Config,
    id::Id,
    map::Map,
    node::{LinkId, Output, Timer},
    trust::Signer,
    wire::{self, Body, Outgoing},
};

/// The two clocks, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Never goes back; its zero is arbitrary. Leases, timeouts, round trips.
    pub mono: u64,
    /// Since the Unix epoch. Versions, TTL, SQL's `now()`.
    pub wall: u64,
}

/// The generator of a node: same seed, same run.
pub type Rng = ChaCha8Rng;

/// A message for the overlay to carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Post {
    /// To one node. `via` names a peer that is linked to it, for nodes that routing may not find yet.
    Node {
        /// The receiver.
        to: Id,
        /// A peer linked to the receiver, if the receiver named one.
        via: Option<Id>,
        /// What to carry.
        body: Body,
    },
    /// To the live peer closest to a key.
    Key {
        /// The key.
        key: Id,
        /// What to carry.
        body: Body,
    },
}

/// Timers by due time, then by order of setting: a binary heap, the least first.
#[derive(Default)]
pub struct Timers(Vec<(u64, u64, Timer)>);

impl Timers {
    /// A timer; no two have the same serial.
    pub fn insert(&mut self, at: u64, serial: u64, timer: Timer) {
        let mut place = self.0.len();
        self.0.push((at, serial, timer));
        while place > 0 && self.before(place, (place - 1) / 2) {
            self.0.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    /// When the next one is due.
    pub fn next_us(&self) -> Option<u64> {
        self.0.first().map(|(at, ..)| *at)
    }

    /// Takes out the next one, if it is due at `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<Timer> {
        if self.next_us()? > now {
            return None;
        }
        let (.., timer) = self.0.swap_remove(0);
        let mut place = 0;
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child = if right < self.0.len() && self.before(right, left) { right } else { left };
            if child >= self.0.len() || !self.before(child, place) {
                return Some(timer);
            }
            self.0.swap(place, child);
            place = child;
        }
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let key = |place: usize| (self.0[place].0, self.0[place].1);
        key(a) < key(b)
    }
}

/// Counts by name.
#[derive(Default)]
pub struct Counters(Vec<(&'static str, u64)>);

impl Counters {
    /// Adds to a count. Names are told apart by their place in memory, which is quick: what is counted most came first.
    pub fn add(&mut self, name: &'static str, amount: u64) {
        match self.0.iter_mut().find(|(other, _)| core::ptr::eq(*other, name)) {
            Some((_, count)) => *count += amount,
            None => self.0.push((name, amount)),
        }
    }

    /// One count.
    pub fn get(&self, name: &str) -> u64 {
        self.0.iter().filter(|(other, _)| *other == name).map(|(_, count)| count).sum()
    }

    /// All counts. The same text may be in several places of memory: it is one count.
    pub fn all(&self) -> Map<String, u64> {
        let mut all = Map::new();
        for (name, count) in &self.0 {
            *all.entry((*name).to_owned()).or_default() += count;
        }
        all
    }
}

/// Effects, in the order in which they were asked for.
#[derive(Default)]
pub struct Outbox {
    /// For the driver.
    pub outputs: VecDeque<Output>,
    /// For links: frames of one input share chunks.
    pub outgoing: Outgoing,
    /// For the overlay.
    pub posts: VecDeque<Post>,
    /// What is waited for.
    pub timers: Timers,
    /// Things counted, by name; shown by `inspect`.
    pub counters: Counters,
    /// Whether trace events are wanted.
    pub tracing: bool,
    serial: u64,
}

/// The context of one call.
pub struct Ctx<'a> {
    /// The time of this call.
    pub now: Now,
    /// This node.
    pub me: Id,
    /// The settings.
    pub config: &'a Config,
    /// What this node signs with.
    pub signer: &'a Signer,
    /// The seeded generator.
    pub rng: &'a mut Rng,
    /// Where effects go.
    pub out: &'a mut Outbox,
}

impl Outbox {
    /// That of a node that starts. Its numbers begin where those of its life before are not: peers remember messages by the
    /// name of their sender and their number, and take none twice.
    pub fn beginning(seed: &[u8; 32]) -> Outbox {
        let [a, b, c, d, ..] = *seed;
        Outbox { serial: u64::from(u32::from_le_bytes([a, b, c, d])), ..Outbox::default() }
    }

    /// What is for links is for the driver now.
    pub fn flush(&mut self) {
        let sends = self.outgoing.take().into_iter().map(|(link, bytes)| Output::Send { link, bytes });
        self.outputs.extend(sends);
    }
}

impl Ctx<'_> {
    /// A message to one node.
    pub fn send(&mut self, to: Id, body: impl Into<Body>) {
        self.out.posts.push_back(Post::Node { to, via: None, body: body.into() });
    }

    /// A message to one node that is reached over `via` while routing may not know it.
    pub fn send_via(&mut self, to: Id, via: Option<Id>, body: impl Into<Body>) {
        self.out.posts.push_back(Post::Node { to, via, body: body.into() });
    }

    /// A message to the live peer closest to `key`.
    pub fn route(&mut self, key: Id, body: impl Into<Body>) {
        self.out.posts.push_back(Post::Key { key, body: body.into() });
    }

    /// An effect of the driver. A link is closed behind what was sent over it before.
    pub fn output(&mut self, output: Output) {
        if matches!(output, Output::Close { .. } | Output::RtcClose { .. }) {
            self.out.flush();
        }
        self.out.outputs.push_back(output);
    }

    /// A frame for a link.
    pub fn transmit(&mut self, link: LinkId, frame: &[u8]) {
        for chunk in wire::cut(frame, self.config.chunk_bytes) {
            self.out.outgoing.push(link, chunk, self.config.chunk_bytes);
        }
    }

    /// Calls back `after_us` from now.
    pub fn timer(&mut self, after_us: u64, timer: Timer) {
        self.out.serial += 1;
        self.out.timers.insert(self.now.mono.saturating_add(after_us), self.out.serial, timer);
    }

    /// A number not used before by this node since it started.
    pub fn serial(&mut self) -> u64 {
        self.out.serial += 1;
        self.out.serial
    }

    /// Counts one thing.
    pub fn count(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts several things.
    pub fn add(&mut self, name: &'static str, amount: u64) {
        self.out.counters.add(name, amount);
    }

    /// A trace event; the text is made only when somebody listens.
    pub fn trace(
        &mut self,
        layer: &'static str,
        event: &'static str,
        peer: Option<Id>,
        detail: impl FnOnce() -> String,
    ) {
        if self.out.tracing {
            let event = crate::inspect::Trace { at_ms: self.now.wall / 1_000, layer, event, peer, detail: detail() };
            self.out.outputs.push_back(Output::Trace(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timers_fire_in_order(due in prop::collection::vec(0_u64..20, 0..60)) {
            let mut timers = Timers::default();
            for (serial, at) in due.iter().enumerate() {
                timers.insert(*at, serial as u64, Timer::Call(crate::node::CallId(serial as u64)));
            }
            let mut sorted: Vec<usize> = (0..due.len()).collect();
            sorted.sort_by_key(|serial| due[*serial]);
            for serial in sorted {
                prop_assert_eq!(timers.next_us(), Some(due[serial]));
                if let Some(early) = due[serial].checked_sub(1) {
                    prop_assert_eq!(timers.pop_due(early), None);
                }
                prop_assert_eq!(timers.pop_due(due[serial]), Some(Timer::Call(crate::node::CallId(serial as u64))));
            }
            prop_assert_eq!(timers.pop_due(u64::MAX), None);
        }
    }

    #[test]
    fn a_name_is_one_count() {
        let mut counters = Counters::default();
        let elsewhere: &'static str = String::from("a").leak();
        for (name, amount) in [("a", 1), ("b", 2), (elsewhere, 3), ("a", 4)] {
            counters.add(name, amount);
        }
        assert_eq!(counters.all(), [("a".to_owned(), 8), ("b".to_owned(), 2)].into());
    }
}
