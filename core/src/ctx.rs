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
    node::{Output, Timer},
    wire::Body,
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

/// Effects, in the order in which they were asked for.
#[derive(Default)]
pub struct Outbox {
    /// For the driver.
    pub outputs: VecDeque<Output>,
    /// For the overlay.
    pub posts: VecDeque<Post>,
    /// Timers by due time, then by order of setting.
    pub timers: Map<(u64, u64), Timer>,
    /// Things counted, by name; shown by `inspect`.
    pub counters: Map<&'static str, u64>,
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
    /// The seeded generator.
    pub rng: &'a mut Rng,
    /// Where effects go.
    pub out: &'a mut Outbox,
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

    /// An effect of the driver.
    pub fn output(&mut self, output: Output) {
        self.out.outputs.push_back(output);
    }

    /// Calls back `after_us` from now.
    pub fn timer(&mut self, after_us: u64, timer: Timer) {
        self.out.serial += 1;
        self.out.timers.insert((self.now.mono.saturating_add(after_us), self.out.serial), timer);
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
        *self.out.counters.entry(name).or_default() += amount;
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
