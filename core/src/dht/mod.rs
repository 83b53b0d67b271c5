//! Operations on keys: routed to the owner, replicated to its group, acknowledged by a majority.

pub mod message;

use std::collections::VecDeque;

pub use message::{Message, Timer};

use crate::{
    config::Config,
    ctx::{Ctx, Now},
    group,
    id::{Id, Region},
    inspect::{FragmentInfo, StoreInfo},
    node::Saved,
    overlay::View,
    store::{KeyOp, Outcome, Record},
};

/// What this layer tells the node.
#[derive(Clone, Debug, PartialEq)]
pub enum DhtEvent {
    /// Operations given with this ticket are over; outcomes in their order.
    Done {
        /// From [`Dht::execute`] (one outcome) or [`Dht::execute_owned`].
        ticket: u64,
        /// One for each operation.
        outcomes: Vec<Outcome>,
    },
}

/// Store, groups, owner and client of keys, as one.
pub struct Dht {
    events: VecDeque<DhtEvent>,
}

impl Dht {
    /// From what the driver's disk holds. Keys that begin with `r` or `g` belong to this layer, others are left alone.
    pub fn restore(config: &Config, me: Id, now: Now, saved: &Saved) -> Dht {
        let _ = (config, me, now, saved);
        Dht { events: VecDeque::new() }
    }

    /// Sets the first timers.
    pub fn start(&mut self, ctx: &mut Ctx) {
        let _ = ctx;
    }

    /// A message between members of groups.
    pub fn on_group_message(&mut self, ctx: &mut Ctx, view: &dyn View, from: Id, message: group::Message) {
        let _ = (ctx, view, from, message);
    }

    /// A message about keys. `from` is its originator, however it was routed.
    pub fn on_message(&mut self, ctx: &mut Ctx, view: &dyn View, from: Id, message: Message) {
        let _ = (ctx, view, from, message);
    }

    /// A timer of the groups.
    pub fn on_group_timer(&mut self, ctx: &mut Ctx, view: &dyn View, timer: group::Timer) {
        let _ = (ctx, view, timer);
    }

    /// A timer of this layer.
    pub fn on_timer(&mut self, ctx: &mut Ctx, view: &dyn View, timer: Timer) {
        let _ = (ctx, view, timer);
    }

    /// The first link to a peer is up.
    pub fn on_peer_up(&mut self, ctx: &mut Ctx, view: &dyn View, id: Id) {
        let _ = (ctx, view, id);
    }

    /// The last link to a peer is down, or it is suspected.
    pub fn on_peer_down(&mut self, ctx: &mut Ctx, view: &dyn View, id: Id) {
        let _ = (ctx, view, id);
    }

    /// The siblings changed, or the node joined.
    pub fn on_view_changed(&mut self, ctx: &mut Ctx, view: &dyn View) {
        let _ = (ctx, view);
    }

    /// A linked peer says that it belongs to a network that is founded: this one will not found another.
    pub fn on_peer_established(&mut self) {}

    /// The disk answered; tokens of others are ignored.
    pub fn on_persisted(&mut self, ctx: &mut Ctx, view: &dyn View, token: u64, result: Result<(), String>) {
        let _ = (ctx, view, token, result);
    }

    /// One operation, wherever its key lives: tried until `deadline_mono`, then [`Outcome::Unreachable`].
    pub fn execute(&mut self, ctx: &mut Ctx, view: &dyn View, ticket: u64, op: KeyOp, deadline_mono: u64) {
        let _ = (ctx, view, ticket, op, deadline_mono);
    }

    /// Operations of a spread task, each with its index in the request. Those whose keys this node does not own
    /// (actively, under a lease) come back as [`Outcome::Unreachable`] and had no effect. Outcomes come in the order
    /// of `ops`. `request` names asker and request: operation `(request, index)` is the same operation whenever it is
    /// retried, alone or among others, and a write that already took effect is not repeated.
    pub fn execute_owned(
        &mut self,
        ctx: &mut Ctx,
        view: &dyn View,
        ticket: u64,
        ops: Vec<(u32, KeyOp)>,
        request: (Id, u64),
    ) {
        let _ = (ctx, view, ticket, ops, request);
    }

    /// Another peer that holds the newest certificate known here for some of `region`, and the certificate's region:
    /// where a task goes when routing cannot tell (after a take-over, before a hand-over).
    pub fn owner_of(&self, region: &Region) -> Option<(Id, Region)> {
        let _ = region;
        None
    }

    /// What happened; drain after every call.
    pub fn poll_event(&mut self) -> Option<DhtEvent> {
        self.events.pop_front()
    }

    /// What this node may answer for right now: region, epoch, and whether a majority was ever given up for lost.
    pub fn owned(&self, now: Now) -> Vec<(Region, u64, bool)> {
        let _ = now;
        Vec::new()
    }

    /// Committed, visible records of a namespace within some (disjoint) regions, by key.
    pub fn scan<'a>(
        &'a self,
        namespace: &str,
        regions: &'a [Region],
        wall_us: u64,
    ) -> impl Iterator<Item = &'a Record> + 'a {
        let _ = (namespace, regions, wall_us);
        std::iter::empty()
    }

    /// Visible records of a namespace that this node holds, copies for others included.
    pub fn local<'a>(&'a self, namespace: &str, wall_us: u64) -> impl Iterator<Item = &'a Record> + 'a {
        let _ = (namespace, wall_us);
        std::iter::empty()
    }

    /// Whether this node knows of a founded network: tell linked peers.
    pub fn established(&self) -> bool {
        false
    }

    /// Starts to hand everything over.
    pub fn leave(&mut self, ctx: &mut Ctx, view: &dyn View) {
        let _ = (ctx, view);
    }

    /// Whether everything is handed over.
    pub fn left(&self) -> bool {
        false
    }

    /// For inspection.
    pub fn fragments_info(&self, now: Now) -> Vec<FragmentInfo> {
        let _ = now;
        Vec::new()
    }

    /// For inspection.
    pub fn store_info(&self, now: Now) -> StoreInfo {
        let _ = now;
        StoreInfo::default()
    }
}
