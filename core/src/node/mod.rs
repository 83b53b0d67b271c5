//! The node: one state machine that drivers feed and drain.
//!
//! The contract: call [`Node::handle_input`] with what happened, then [`Node::poll_output`] until it gives `None`;
//! the last thing it gave before that is an [`Output::Wake`]. Feed [`Input::Wake`] at or after that time.
//! The node reads no clock, opens no socket and writes no disk.
//!
//! Here the layers meet: inputs and timers go down, messages and events come up, and whatever one layer's answer
//! causes in another is pumped until nothing is left. `api` is the vocabulary; `calls` carries out what the
//! application asks for.

mod admission;
mod api;
mod calls;
mod joins;
mod live;
mod readers;
mod under_way;

use chacha20::rand_core::SeedableRng as _;

pub use api::*;

use self::{admission::Admission, calls::Calls, joins::ways};
use crate::{
    config::Config,
    crypto::{Identity, Secret},
    ctx::{Ctx, Now, Outbox, Rng},
    dht::Dht,
    exchange::Exchanges,
    exec::kept::Kept,
    globals::Globals,
    group::Held,
    id::{Id, Region},
    inspect::Inspect,
    live::{Queries, Watches},
    messaging::Messaging,
    overlay::{self, Overlay, View as _},
    spread::{Ground, Spread},
    trust::{Realm, Signer, User},
    wire::{Body, Contact},
};

/// A peer. See the module's documentation for the contract.
pub struct Node {
    config: Config,
    me: Id,
    signer: Signer,
    rng: Rng,
    out: Outbox,
    overlay: Overlay,
    dht: Dht,
    spread: Spread,
    exchanges: Exchanges,
    messaging: Messaging,
    globals: Globals,
    calls: Calls,
    admission: Admission,
    kept: Kept,
    standing: Queries,
    watches: Watches,
    now: Now,
    started: bool,
    closed: bool,
    wake_due: bool,
}

/// Where a node stands in the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Whether it has joined.
    pub joined: bool,
    /// The nearest peers that it knows, nearest first.
    pub siblings: Vec<Id>,
    /// Every peer with an open link.
    pub linked: Vec<Id>,
    /// The regions for which it may answer right now.
    pub owned: Vec<Region>,
}

/// What a task is spread over, as this node sees it.
struct NodeGround<'a> {
    overlay: &'a Overlay,
    dht: &'a Dht,
    now: Now,
    siblings: usize,
}

impl Ground for NodeGround<'_> {
    fn owned(&self) -> Vec<(Region, bool)> {
        self.dht.owned(self.now).into_iter().map(|(region, _, assumed_lost)| (region, assumed_lost)).collect()
    }

    fn table_region(&self) -> Region {
        self.overlay.region(self.siblings)
    }

    fn peer_in(&self, region: &Region) -> Option<Id> {
        self.overlay.peer_in(region, &[])
    }

    fn owner_of(&self, region: &Region) -> Option<(Id, Region)> {
        let (owner, known) = self.dht.owner_of(region)?;
        self.overlay.alive(&owner).then_some((owner, known))
    }

    fn nearest_to(&self, key: &Id) -> bool {
        self.overlay.nearest_to(key)
    }

    fn known_empty(&self, key: &Id) -> bool {
        self.overlay.known_empty(key, self.siblings)
    }

    fn alive(&self, peer: &Id) -> bool {
        self.overlay.alive(peer)
    }

    fn linked(&self, peer: &Id) -> bool {
        self.overlay.linked().any(|linked| linked == *peer)
    }
}

/// The context of a call into a layer, and the ground for tasks: borrows only the fields that no layer is.
macro_rules! ctx {
    ($node:expr) => {
        Ctx {
            now: $node.now,
            me: $node.me,
            config: &$node.config,
            signer: &$node.signer,
            rng: &mut $node.rng,
            out: &mut $node.out,
        }
    };
}
macro_rules! ground {
    ($node:expr) => {
        NodeGround { overlay: &$node.overlay, dht: &$node.dht, now: $node.now, siblings: $node.config.siblings }
    };
}
use {ctx, ground};

impl Node {
    /// A node that has not spoken to anybody yet. `seed` feeds the generator (32 random bytes; a fixed seed replays a
    /// run), `saved` is what the driver's disk holds of earlier batches. Feed [`Input::Wake`] at once to start it.
    pub fn new(config: Config, identity: Box<dyn Identity>, seed: [u8; 32], now: Now, saved: Saved) -> Node {
        let me = identity.id();
        let dht = Dht::restore(&config, me, now, &saved);
        Node {
            me,
            rng: Rng::from_seed(seed),
            out: Outbox::beginning(&seed),
            signer: Signer::new(identity),
            overlay: Overlay::new(me),
            dht,
            spread: Spread::default(),
            exchanges: Exchanges::default(),
            messaging: Messaging::default(),
            globals: Globals::default(),
            calls: Calls::default(),
            admission: Admission::default(),
            kept: Kept::default(),
            standing: Queries::default(),
            watches: Watches::default(),
            now,
            started: false,
            closed: false,
            wake_due: false,
            config,
        }
    }

    /// This node's id.
    pub fn id(&self) -> Id {
        self.me
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes in what happened. Clocks that go back are held at what they were.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        let wall = now.wall.saturating_add_signed(self.overlay.clock_us());
        self.now = Now { mono: now.mono.max(self.now.mono), wall };
        self.wake_due = true;
        if self.closed {
            self.refuse_closed(input);
            return;
        }
        if !self.started {
            self.started = true;
            self.overlay.start(&mut ctx!(self));
            self.dht.start(&mut ctx!(self));
            self.globals.start(&mut ctx!(self));
        }
        match input {
            Input::Wake => {}
            Input::Persisted { token } => self.dht.on_persisted(&mut ctx!(self), &self.overlay, token, Ok(())),
            Input::PersistFailed { token, reason } => {
                self.dht.on_persisted(&mut ctx!(self), &self.overlay, token, Err(reason));
            }
            Input::Command { call, command } => self.command(call, command),
            link => self.overlay.handle_input(&mut ctx!(self), link),
        }
        self.fire_timers();
        self.pump();
        self.out.flush();
    }

    fn refuse_closed(&mut self, input: Input) {
        match input {
            Input::Command { call, .. } => {
                self.out.outputs.push_back(Output::Reply { call, result: Err(crate::Error::Closed) });
            }
            Input::LinkUp { link, .. } => self.out.outputs.push_back(Output::Close { link }),
            _ => {}
        }
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.out.timers.pop_due(self.now.mono) {
            match timer {
                Timer::Overlay(timer) => {
                    if timer == overlay::Timer::Tick {
                        self.overlay.established = self.dht.established();
                        self.overlay.owned = self.dht.certified();
                    }
                    self.overlay.on_timer(&mut ctx!(self), timer);
                }
                Timer::Group(timer) => self.dht.on_group_timer(&mut ctx!(self), &self.overlay, timer),
                Timer::Dht(timer) => self.dht.on_timer(&mut ctx!(self), &self.overlay, timer),
                Timer::Spread(timer) => self.spread.on_timer(&mut ctx!(self), &ground!(self), timer),
                Timer::Exchange(timer) => self.exchanges.on_timer(&mut ctx!(self), &ways!(self), &timer),
                Timer::Messaging(timer) => self.messaging.on_timer(&mut ctx!(self), timer),
                Timer::Globals => self.globals.on_timer(&mut ctx!(self), self.overlay.siblings()),
                Timer::Call(call) => {
                    self.leave_late(call);
                    self.wait_over(call);
                }
                Timer::Live(timer) => self.live_timer(timer),
            }
            self.pump();
        }
    }

    /// Carries messages and events between the layers until nothing is left.
    fn pump(&mut self) {
        loop {
            if let Some(post) = self.out.posts.pop_front() {
                self.overlay.post(&mut ctx!(self), post);
            } else if let Some(event) = self.overlay.poll_event() {
                self.overlay_event(event);
            } else if let Some(event) = self.dht.poll_event() {
                self.dht_event(event);
            } else if let Some(event) = self.spread.poll_event() {
                self.spread_event(event);
            } else if let Some(event) = self.exchanges.poll_event() {
                self.exchange_event(event);
            } else if !self.standing.flush(&mut ctx!(self)) {
                break;
            }
        }
        self.check_left();
    }

    fn overlay_event(&mut self, event: overlay::Event) {
        match event {
            overlay::Event::Deliver { from, body, .. } => self.deliver(from, *body),
            overlay::Event::PeerUp(peer) => {
                self.dht.on_peer_up(&mut ctx!(self), &self.overlay, peer);
                self.globals.on_peer_up(&mut ctx!(self), peer);
                self.messaging.on_peer_up(&mut ctx!(self), peer);
            }
            overlay::Event::PeerDown { peer, lives } => {
                self.dht.on_peer_down(&mut ctx!(self), &self.overlay, peer);
                if !lives {
                    self.spread.on_peer_down(&ctx!(self), peer);
                }
            }
            overlay::Event::ViewChanged => self.dht.on_view_changed(&mut ctx!(self), &self.overlay),
            overlay::Event::Established(_) => self.dht.on_peer_established(),
            overlay::Event::Joined(joined) => {
                self.out.outputs.push_back(Output::Joined(joined));
                self.dht.on_view_changed(&mut ctx!(self), &self.overlay);
            }
        }
    }

    fn deliver(&mut self, from: Contact, body: Body) {
        match body {
            Body::Overlay(message) => self.overlay.on_message(&mut ctx!(self), from, message),
            Body::Group(message) => self.dht.on_group_message(&mut ctx!(self), &self.overlay, from.id, message),
            Body::Dht(message) => self.dht.on_message(&mut ctx!(self), &self.overlay, from.id, message),
            Body::Spread(message) => self.spread.on_message(&mut ctx!(self), &ground!(self), from, message),
            Body::Exchange(message) => self.exchanges.on_message(&mut ctx!(self), &ways!(self), from, message),
            Body::App(message) => self.messaging.on_message(&mut ctx!(self), from, message),
            Body::Live(message) => self.live_message(from.id, message),
            Body::Globals(message) => {
                let links: Vec<Id> = self.overlay.live().map(|(id, _)| *id).collect();
                self.globals.on_message(&mut ctx!(self), &links, from.id, message);
            }
        }
    }

    /// What to do next; `None` when drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.out.outputs.pop_front() {
            return Some(output);
        }
        if !core::mem::take(&mut self.wake_due) || self.closed {
            return None;
        }
        self.out.timers.next_us().map(Output::Wake)
    }

    /// A snapshot for debug pages and tests.
    pub fn inspect(&self, now: Now) -> Inspect {
        let mut counters = self.out.counters.all();
        let ((running, waiting), (tasks, task_bytes)) = (self.admission.counts(), self.spread.held());
        let (buckets, joins, bucket_bytes) = self.exchanges.held();
        for (name, now) in [
            ("queries_running", running),
            ("queries_waiting", waiting),
            ("tasks_open", tasks),
            ("task_bytes", task_bytes),
            ("joins_open", joins),
            ("exchange_buckets", buckets),
            ("exchange_bytes", bucket_bytes),
        ] {
            counters.insert(name.to_owned(), now as u64);
        }
        for (name, bytes) in self.overlay.traffic.named() {
            counters.insert(name.to_owned(), bytes);
        }
        Inspect {
            id: self.me,
            network: self.config.network.clone(),
            role: if self.config.supernode { "supernode" } else { "peer" },
            joined: self.overlay.joined(),
            now_ms: now.wall / 1_000,
            links: self.overlay.link_infos(),
            peers: self.overlay.peer_infos(now.mono),
            fragments: self.dht.fragments_info(now),
            store: self.dht.store_info(now),
            globals: self.globals.all().map(|(name, value)| (name.clone(), value.clone())).collect(),
            counters,
        }
    }

    /// Where the node stands in the network: what [`Node::inspect`] says of it, without the cost.
    pub fn standing(&self, now: Now) -> Standing {
        Standing {
            joined: self.overlay.joined(),
            siblings: self.overlay.siblings().to_vec(),
            linked: self.overlay.linked().collect(),
            owned: self.dht.owned(now).into_iter().map(|(region, ..)| region).collect(),
        }
    }

    /// What this node may answer for of a namespace right now, if anything; `None` also while its records change by
    /// themselves, or where they are private. For drivers that run fragments over them elsewhere: see [`Node::records`].
    pub fn owned(&self, now: Now, namespace: &str, locality_bits: u8) -> Option<Owned> {
        if Realm::private(namespace).is_some() {
            return None;
        }
        let change = self.dht.unchanged(namespace)?;
        let whole = Region::namespace(namespace, locality_bits);
        let mut owned = Owned { regions: Vec::new(), assumed_lost: false, change };
        for (region, _, assumed_lost) in self.dht.owned(now) {
            if let Some(part) = whole.intersect(&region) {
                owned.regions.push(part);
                owned.assumed_lost |= assumed_lost;
            }
        }
        (!owned.regions.is_empty()).then_some(owned)
    }

    /// The values of a namespace's records in regions that [`Node::owned`] has named.
    pub fn records<'a>(&'a self, namespace: &str, regions: &'a [Region]) -> impl Iterator<Item = &'a [u8]> {
        self.dht.scan(namespace, regions, self.now.wall).filter_map(|record| record.value.as_deref())
    }

    /// For whom it acts.
    pub fn user(&self) -> Option<User> {
        self.signer.user()
    }

    /// From now on it acts for a user whose keys are at hand. For others there is [`Command::ActFor`].
    pub fn act_with(&mut self, user: Box<dyn Identity>) {
        self.signer.act_with(user);
    }

    /// What the user for whom it acts, whose keys are at hand, agrees on with another one.
    pub fn agree(&self, with: &User) -> Option<Secret> {
        self.signer.agree(with)
    }

    /// How many live queries of all askers stand at this node.
    pub fn standing_queries(&self) -> usize {
        self.standing.count()
    }

    /// Whether it has found its place.
    pub fn joined(&self) -> bool {
        self.overlay.joined()
    }

    /// Something counted since the start.
    pub fn counted(&self, name: &str) -> u64 {
        let bytes = self.overlay.traffic.named().into_iter().find(|(other, _)| *other == name);
        bytes.map_or_else(|| self.out.counters.get(name), |(_, bytes)| bytes)
    }

    /// What this node holds as owner or member, and whether it may answer for it right now. For checkers.
    pub fn certificates(&self, now: Now) -> impl Iterator<Item = Held<'_>> {
        self.dht.certificates(now)
    }

    /// Turns [`Output::Trace`] on or off.
    pub fn set_tracing(&mut self, on: bool) {
        self.out.tracing = on;
    }

    /// The value of a global, as this node knows it.
    pub fn global(&self, name: &str) -> Option<&[u8]> {
        self.globals.get(name)
    }
}
