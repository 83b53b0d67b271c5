//! Operations on keys: routed to the owner, replicated to its group, acknowledged by a majority.

mod client;
pub mod conflict;
mod decide;
mod hint;
mod judge;
pub mod message;
mod owner;
#[cfg(test)]
mod tests;
pub mod verified;

use std::collections::VecDeque;

pub use message::{Message, Timer};
pub use owner::tag;

use self::{
    client::{Client, Next},
    hint::Hints,
    judge::Copies,
    owner::{Answer, Asker, Owner},
    verified::Verifier,
};
use crate::{
    config::Config,
    ctx::{Ctx, Now},
    group::{self, Certificate, Env, Groups, Name, fragment::Kept},
    id::{Id, Region},
    inspect::{FragmentInfo, NamespaceInfo, StoreInfo},
    map::Map,
    node::Saved,
    overlay::View,
    store::{Action, KeyOp, Outcome, Record, Store, disk},
    trust::{self, Keeper, Reader, Realm, User, Verdict},
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
    /// A fragment begins at this node, which is its owner.
    Began(Name),
    /// A fragment is over.
    Ended(Name),
    /// As its owner this node committed a record of a namespace that is watched.
    Committed {
        /// The record.
        record: Box<Record>,
        /// What was there before; `None`: that is not known.
        prior: Option<Option<Box<Record>>>,
    },
}

/// Store, groups, owner and client of keys, as one.
pub struct Dht {
    me: Id,
    config: Config,
    store: Store,
    keeper: Keeper,
    groups: Groups,
    owner: Owner,
    client: Client,
    verifier: Verifier,
    hints: Hints,
    /// Changes of rights under way, by ticket, with what becomes known when leases on older ones have lapsed.
    revising: Map<u64, Option<Outcome>>,
    /// Writes of owners that wait for rights to be read.
    copies: Vec<Copies>,
    /// Rights were read since they were judged by last.
    rights_read: bool,
    events: VecDeque<DhtEvent>,
}

/// A read for another peer is tried so long.
const READ_FOR_US: u64 = 2_000_000;

/// Borrows the parts of a [`Dht`] beside the store, with what every call hands on.
macro_rules! env {
    ($dht:expr, $ctx:expr, $view:expr) => {
        &mut Env { ctx: $ctx, view: $view, store: &mut $dht.store, keeper: &mut $dht.keeper }
    };
}
use env;

impl Dht {
    /// From what the driver's disk holds. Keys that begin with one of `rgclh` belong to this layer, others are left alone.
    pub fn restore(config: &Config, me: Id, now: Now, saved: &Saved) -> Dht {
        let mut store = Store::new(config.tombstone_us);
        let mut kept = Vec::new();
        let mut closed = Map::new();
        let mut hints = Hints::default();
        let mut damaged = 0;
        for (key, value) in saved {
            match key.first() {
                Some(&disk::RECORD | &disk::ASIDE) => store.restore(key, value),
                Some(&disk::FRAGMENT) => match disk::open::<Kept>(key, value) {
                    Some(fragment) => kept.push(fragment),
                    None => damaged += 1,
                },
                Some(&disk::CLOSED) => match disk::open::<(Region, Vec<Certificate>)>(key, value) {
                    Some((region, after)) => drop(closed.insert(region, after)),
                    None => damaged += 1,
                },
                Some(&disk::HINT) => disk::open(key, value).into_iter().for_each(|op| hints.restore(op)),
                _ => {}
            }
        }
        damaged += store.damaged();
        let groups = Groups::restore(me, now, kept, closed, damaged > 0, &mut store);
        Dht {
            me,
            config: config.clone(),
            store,
            keeper: Keeper::default(),
            revising: Map::new(),
            copies: Vec::new(),
            rights_read: false,
            groups,
            owner: Owner::default(),
            client: Client::default(),
            verifier: Verifier::default(),
            hints,
            events: VecDeque::new(),
        }
    }

    /// Sets the first timers.
    pub fn start(&mut self, ctx: &mut Ctx) {
        ctx.add("store.damaged", self.store.damaged());
        Groups::start(ctx);
    }

    /// A message between members of groups.
    pub fn on_group_message(&mut self, ctx: &mut Ctx, view: &dyn View, from: Id, mut message: group::Message) {
        if !self.judge_message(ctx, &mut message) {
            return self.settle(ctx, view);
        }
        self.groups.on_message(env!(self, ctx, view), from, message);
        self.settle(ctx, view);
    }

    /// A message about keys. `from` is its originator, however it was routed.
    pub fn on_message(&mut self, ctx: &mut Ctx, view: &dyn View, from: Id, message: Message) {
        self.groups.heard(&from, ctx.now);
        let env = env!(self, ctx, view);
        match message {
            Message::Request { request, op, epoch } => {
                let shown = Reader::Shown(op.proof.as_deref());
                if let Some(outcome) = stale(env, &self.groups, &self.owner, &op, &shown) {
                    ctx.send(from, Message::Reply { request, outcome, epoch: 0 });
                    return;
                }
                let asker = Asker::Peer(from, request, epoch);
                self.owner.submit(env, &mut self.groups, asker, vec![(0, op)], from, request);
            }
            Message::Reply { request, outcome, epoch } => {
                if let Some(ticket) = self.client.answered(ctx.now, request, epoch) {
                    self.done(ctx, ticket, vec![outcome]);
                }
            }
            Message::Elsewhere { request, hint, certificate } => {
                if let Some(certificate) = &certificate {
                    self.groups.learn(env, certificate);
                }
                let epoch = certificate.as_ref().map(|certificate| certificate.name.epoch);
                self.client.elsewhere(env, request, epoch.map_or(hint, |_| Some(from)), epoch);
            }
            Message::Replicate { of, serial, records } => {
                self.on_copies(ctx, view, Copies { from, of, serial, records });
            }
            Message::Replicated { serial, .. } => self.owner.on_stored(env, &mut self.groups, serial, from),
            Message::Along(along) => self.verifier.on_along(env, &self.groups, from, *along),
            Message::Frozen { of, newer } => self.groups.on_frozen(env, from, of, newer),
            Message::ReadFor { request, op } => {
                let ticket = ctx.serial();
                // It reads for another one, not for itself.
                let own = op.proof.is_none() && Realm::private(&op.namespace).is_some();
                let here = op.action.reads() && op.action != Action::GetVerified && !own;
                if here && self.client.read_for(ticket, from, request) {
                    let deadline = ctx.now.mono.saturating_add(READ_FOR_US);
                    self.execute(ctx, view, ticket, op, deadline);
                }
            }
        }
        self.settle(ctx, view);
    }

    /// A timer of the groups.
    pub fn on_group_timer(&mut self, ctx: &mut Ctx, view: &dyn View, timer: group::Timer) {
        let group::Timer::Tick = timer;
        if !self.copies.is_empty() {
            self.judge_again(ctx, view);
        }
        let owner = &self.owner;
        self.groups.tick(env!(self, ctx, view), |name| owner.quiet(name));
        self.owner.tick(env!(self, ctx, view), &mut self.groups);
        for (ticket, op) in self.hints.due(ctx) {
            let deadline = ctx.now.mono.saturating_add(ctx.config.deadline_us);
            let request = self.client.open(env!(self, ctx, view), ticket, op, deadline);
            self.attempt(ctx, view, request);
        }
        self.settle(ctx, view);
    }

    /// A timer of this layer.
    pub fn on_timer(&mut self, ctx: &mut Ctx, view: &dyn View, timer: Timer) {
        match timer {
            Timer::Retry(request) => self.attempt(ctx, view, request),
            Timer::Lapsed(ticket) => {
                if let Some(Some(outcome)) = self.revising.remove(&ticket) {
                    self.events.push_back(DhtEvent::Done { ticket, outcomes: vec![outcome] });
                }
            }
            Timer::Verify(request) => self.verifier.advance(env!(self, ctx, view), &self.groups, request),
            Timer::Hedge(request) => self.client.hedge(env!(self, ctx, view), &self.groups, request),
        }
        self.settle(ctx, view);
    }

    /// The first link to a peer is up.
    pub fn on_peer_up(&mut self, ctx: &mut Ctx, _view: &dyn View, id: Id) {
        self.groups.linked(&id, ctx.now);
    }

    /// The last link to a peer is down, or it is suspected: the tick will see.
    pub fn on_peer_down(&mut self, _ctx: &mut Ctx, _view: &dyn View, id: Id) {
        self.groups.unlinked(&id);
    }

    /// The siblings changed, or the node joined: the tick will see.
    pub fn on_view_changed(&mut self, _ctx: &mut Ctx, _view: &dyn View) {}

    /// A linked peer says that it belongs to a network that is founded: this one will not found another.
    pub fn on_peer_established(&mut self) {
        self.groups.set_established();
    }

    /// The disk answered; tokens of others are ignored.
    pub fn on_persisted(&mut self, ctx: &mut Ctx, view: &dyn View, token: u64, result: Result<(), String>) {
        if let Some((ticket, outcome)) = self.hints.on_persisted(ctx, token, result.is_ok()) {
            self.events.push_back(DhtEvent::Done { ticket, outcomes: vec![outcome] });
        }
        let env = env!(self, ctx, view);
        if let Some((serial, done)) = self.groups.on_persisted(env, token, result.is_ok()) {
            self.owner.on_written(env, &mut self.groups, serial, done);
        }
        self.settle(ctx, view);
    }

    /// One operation, wherever its key lives: tried until `deadline_mono`, then [`Outcome::Unreachable`].
    pub fn execute(&mut self, ctx: &mut Ctx, view: &dyn View, ticket: u64, op: KeyOp, deadline_mono: u64) {
        let env = env!(self, ctx, view);
        if op.action == Action::GetVerified {
            self.verifier.open(env, &self.groups, ticket, op, deadline_mono);
            return self.settle(ctx, view);
        }
        // Its own keys a node reads without a request that would have to be kept and timed.
        let at_once = stale(env, &self.groups, &self.owner, &op, &Reader::here(&op));
        if let Some(outcome) = at_once.or_else(|| self.owner.read(env, &self.groups, &op)) {
            return self.done(ctx, ticket, vec![outcome]);
        }
        let op = self.hints.begin(ticket, op, env.ctx.now.wall);
        if trust::revises(&op) {
            self.revising.insert(ticket, None);
        }
        let request = self.client.open(env, ticket, op, deadline_mono);
        self.attempt(ctx, view, request);
        self.settle(ctx, view);
    }

    fn attempt(&mut self, ctx: &mut Ctx, view: &dyn View, request: u64) {
        let env = env!(self, ctx, view);
        match self.client.attempt(env, &self.groups, request) {
            Next::Local(request, op) => {
                let author = self.me;
                self.owner.submit(env, &mut self.groups, Asker::Own(request), vec![(0, op)], author, request);
            }
            Next::Over(ticket) => {
                self.done(ctx, ticket, vec![Outcome::Unreachable]);
            }
            Next::Wait => {}
        }
    }

    /// Operations given with a ticket are over.
    fn done(&mut self, ctx: &mut Ctx, ticket: u64, outcomes: Vec<Outcome>) {
        let Some(outcome) = outcomes.into_iter().next() else {
            return;
        };
        if let Some((asker, request)) = self.client.was_for(ticket) {
            if outcome != Outcome::Unreachable {
                ctx.send(asker, Message::Reply { request, outcome, epoch: 0 });
            }
        } else if self.keeper.done(ctx, ticket, &outcome) {
            self.rights_read = true;
        } else if !self.owner.conflicts.done(ctx, ticket, Some(&outcome))
            && let Some(outcome) = self.hints.over(ctx, ticket, outcome)
        {
            if let Some(told) = self.revising.get_mut(&ticket) {
                if matches!(outcome, Outcome::Stored { .. }) {
                    *told = Some(outcome);
                    ctx.timer(trust::LEASE_US + trust::LEASE_US / 10, crate::node::Timer::Dht(Timer::Lapsed(ticket)));
                    return;
                }
                self.revising.remove(&ticket);
            }
            self.events.push_back(DhtEvent::Done { ticket, outcomes: vec![outcome] });
        }
    }

    /// Operations of a spread task, each with its index in the whole request; outcomes come in the order given. Those
    /// whose keys this node does not own (actively, under a lease) come back as [`Outcome::Unreachable`] and had no
    /// effect; a write whose fragment changes hands while it is under way comes back so too, and may have happened.
    /// `request` names asker and request; operation `i` of a retried request must be the same operation: a write that
    /// already took effect is not repeated. Request numbers are random, so that an asker does not reuse them after a
    /// restart.
    pub fn execute_owned(
        &mut self,
        ctx: &mut Ctx,
        view: &dyn View,
        ticket: u64,
        ops: Vec<(u32, KeyOp)>,
        request: (Id, u64),
    ) {
        let env = env!(self, ctx, view);
        self.owner.submit(env, &mut self.groups, Asker::Ticket(ticket), ops, request.0, request.1);
        self.settle(ctx, view);
    }

    /// Carries what one part of this layer says to the others.
    fn settle(&mut self, ctx: &mut Ctx, view: &dyn View) {
        loop {
            if let Some(event) = self.groups.poll_event() {
                let env = env!(self, ctx, view);
                match event {
                    group::Event::Retired(name) => {
                        self.owner.on_retired(env, &mut self.groups, &name);
                        self.events.push_back(DhtEvent::Ended(name));
                    }
                    group::Event::Activated(name) => {
                        self.owner.on_activated(env, &mut self.groups, &name);
                        self.events.push_back(DhtEvent::Began(name));
                        self.groups.go_on(env, name);
                    }
                    group::Event::Donated { from, of, to, page } => {
                        self.owner.on_donated(env, &mut self.groups, from, of, to, page);
                    }
                }
            } else if let Some((ticket, outcome)) = self.verifier.poll() {
                self.done(ctx, ticket, vec![outcome]);
            } else if let Some((asker, answer)) = self.owner.poll_answer() {
                self.answer(ctx, view, asker, answer);
            } else if let Some((record, prior)) = self.owner.committed.pop_front() {
                self.events.push_back(DhtEvent::Committed { record, prior });
            } else if core::mem::take(&mut self.rights_read) {
                self.judge_again(ctx, view);
            } else if let Some((ticket, op)) = self.owner.conflicts.poll().or_else(|| self.keeper.poll(ctx)) {
                let deadline = ctx.now.mono.saturating_add(ctx.config.deadline_us);
                let env = env!(self, ctx, view);
                match self.owner.read(env, &self.groups, &op) {
                    Some(outcome) => self.done(ctx, ticket, vec![outcome]),
                    None => {
                        let request = self.client.open(env, ticket, op, deadline);
                        self.attempt(ctx, view, request);
                    }
                }
            } else {
                return;
            }
        }
    }

    fn answer(&mut self, ctx: &mut Ctx, view: &dyn View, asker: Asker, answer: Answer) {
        match (asker, answer) {
            (Asker::Ticket(ticket), Answer::Done(outcomes, _)) => {
                self.events.push_back(DhtEvent::Done { ticket, outcomes });
            }
            (Asker::Own(request), Answer::Done(outcomes, _)) => {
                if let Some(ticket) = self.client.close(request) {
                    self.done(ctx, ticket, outcomes);
                }
            }
            (Asker::Peer(to, request, _), Answer::Done(outcomes, id)) => {
                if let Some(outcome) = outcomes.into_iter().next() {
                    let hint = self.groups.owner_hint(&id).filter(|(owner, _)| *owner == self.me);
                    let epoch = hint.map_or(0, |(_, epoch)| epoch);
                    ctx.send(to, Message::Reply { request, outcome, epoch });
                }
            }
            (Asker::Own(request), Answer::Elsewhere(id)) => {
                let hint = self.groups.owner_hint(&id).map(|(owner, _)| owner);
                self.client.elsewhere(env!(self, ctx, view), request, hint, None);
            }
            (Asker::Peer(to, request, epoch), Answer::Elsewhere(id)) => {
                let hint = self.groups.owner_hint(&id).map(|(owner, _)| owner).filter(|hint| *hint != self.me);
                let lately = self.groups.owner_lately(&id, epoch, owner::LATELY_US, ctx.now);
                let certificate = lately.cloned().map(Box::new);
                ctx.send(to, Message::Elsewhere { request, hint, certificate });
            }
            (Asker::Ticket(_), Answer::Elsewhere(_)) => {}
        }
    }

    /// Another peer that holds the newest certificate known here for some of `region`, and the certificate's region:
    /// where a task goes when routing cannot tell (after a take-over, before a hand-over).
    pub fn owner_of(&self, region: &Region) -> Option<(Id, Region)> {
        let certificate = self.groups.newest_for(region)?;
        (certificate.owner != self.me).then_some((certificate.owner, certificate.name.region))
    }

    /// The other peers that own parts of a fragment that is over.
    pub fn heirs(&self, of: &Name) -> Vec<Id> {
        let owners = self.groups.newer_than(of).into_iter().map(|certificate| certificate.owner);
        owners.filter(|owner| *owner != self.me).collect()
    }

    /// What happened; drain after every call.
    pub fn poll_event(&mut self) -> Option<DhtEvent> {
        self.events.pop_front()
    }

    /// What this node may answer for right now: region, epoch, and whether a majority was ever given up for lost.
    pub fn owned(&self, now: Now) -> Vec<(Region, u64, bool)> {
        let serving = self.groups.serving(now, &self.config);
        serving.map(|it| (it.name.region, it.name.epoch, it.assumed_lost)).collect()
    }

    /// Regions that this node owns by certificate, under a lease or not.
    pub fn certified(&self) -> Vec<Region> {
        self.groups.certified().collect()
    }

    /// Acknowledged, visible records of a namespace within some (disjoint) regions, by key. The caller asks only for
    /// regions that this node owns.
    pub fn scan<'a>(
        &'a self,
        namespace: &str,
        regions: &'a [Region],
        wall_us: u64,
    ) -> impl Iterator<Item = &'a Record> + 'a {
        self.store.scan(namespace, |id| regions.iter().any(|region| region.contains(id)), wall_us)
    }

    /// The acknowledged, visible record of a key. The caller asks only for what this node owns.
    pub fn record(&self, namespace: &str, key: &[u8], wall_us: u64) -> Option<&Record> {
        self.store.acknowledged(namespace, key).filter(|record| record.visible(wall_us))
    }

    /// A number that is another one once what [`Dht::scan`] gives of a namespace may be, in the same regions.
    pub fn unchanged(&self, namespace: &str) -> Option<u64> {
        self.store.unchanged(namespace)
    }

    /// Visible records of a namespace that this node holds, copies for others included.
    pub fn local<'a>(&'a self, namespace: &str, wall_us: u64) -> impl Iterator<Item = &'a Record> + 'a {
        self.store.scan(namespace, |_| true, wall_us)
    }

    /// Whether somebody may see what is in a namespace. [`Verdict::Later`]: the rights are being
    /// read.
    pub fn judge_reader(&mut self, ctx: &mut Ctx, view: &dyn View, namespace: &str, reader: &Reader<'_>) -> Verdict {
        let verdict = self.keeper.judge_reader(ctx, namespace, reader);
        self.settle(ctx, view);
        verdict
    }

    /// Whether a user, who was judged as a reader before, may see what is in a private namespace still, as far as is known.
    pub fn may_read(&mut self, ctx: &mut Ctx, view: &dyn View, namespace: &str, user: &User) -> bool {
        let may = self.keeper.may_read(ctx, namespace, user);
        self.settle(ctx, view);
        may
    }

    /// Begins or ends to tell of what this node commits of a namespace; false when there are too many namespaces.
    pub fn subscribe(&mut self, namespace: String, on: bool) -> bool {
        self.owner.subscribe(namespace, on, self.config.subscriptions_max)
    }

    /// Acknowledged records of a namespace that lapse, copies for others included.
    pub fn lapsing<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Record> + 'a {
        self.store.lapsing(namespace)
    }

    /// From now on [`DhtEvent::Committed`] is told for these namespaces.
    pub fn watch(&mut self, namespaces: Vec<String>) {
        self.owner.watched = namespaces;
    }

    /// Whether this node knows of a founded network: tell linked peers.
    pub fn established(&self) -> bool {
        self.groups.established()
    }

    /// Starts to hand everything over.
    pub fn leave(&mut self, ctx: &mut Ctx, view: &dyn View) {
        self.groups.leave(env!(self, ctx, view));
        self.settle(ctx, view);
    }

    /// Whether everything is handed over.
    pub fn left(&self) -> bool {
        self.groups.left()
    }

    /// What this node holds.
    pub fn certificates(&self, now: Now) -> impl Iterator<Item = group::Held<'_>> {
        self.groups.held(now, &self.config)
    }

    /// For inspection.
    pub fn fragments_info(&self, now: Now) -> Vec<FragmentInfo> {
        self.groups.info(now, &self.config, &self.store)
    }

    /// For inspection: one look at every record.
    pub fn store_info(&self, now: Now) -> StoreInfo {
        let owned: Vec<Region> = self.groups.serving(now, &self.config).map(|it| it.name.region).collect();
        let namespaces = self.store.namespaces().map(|(namespace, records)| {
            let mut info = NamespaceInfo { namespace: namespace.clone(), ..NamespaceInfo::default() };
            for (id, record) in records {
                let visible = record.visible(now.wall);
                info.records += usize::from(visible);
                info.owned += usize::from(visible && owned.iter().any(|region| region.contains(id)));
                info.bytes += record.bytes() as u64;
            }
            info
        });
        StoreInfo { records: self.store.len(), bytes: self.store.bytes(), namespaces: namespaces.collect() }
    }
}

/// What a replica answers to [`Action::GetStale`] at once; `None`: it holds none, or is the owner and says what is so.
fn stale(env: &mut Env, groups: &Groups, owner: &Owner, op: &KeyOp, reader: &Reader<'_>) -> Option<Outcome> {
    if op.action != Action::GetStale {
        return None;
    }
    let id = op.id();
    let owned = groups.serving_for(&id, env.ctx.now, env.ctx.config).is_some() && !owner.busy(op);
    if owned || !groups.holds(&id) {
        return None;
    }
    match env.keeper.judge_reader(env.ctx, &op.namespace, reader) {
        Verdict::Allowed => {}
        Verdict::Refused(refusal) => return Some(Outcome::Refused(refusal)),
        Verdict::Later => return None,
    }
    let held = env.store.acknowledged(&op.namespace, &op.key).filter(|held| held.visible(env.ctx.now.wall));
    Some(Outcome::Stale {
        value: held.and_then(|held| held.value.clone()),
        version: held.map(|held| held.version),
        expiry_us: held.and_then(|held| held.expiry_us),
    })
}
