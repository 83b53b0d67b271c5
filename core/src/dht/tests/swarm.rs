//! A few `Dht`s over a fake overlay and fake disks, in virtual time: messages are delayed and lost, nodes crash and
//! come back with what was on their disk, and every step checks that no two of them answer for one id.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use chacha20::rand_core::{Rng as _, SeedableRng as _};

use crate::{
    config::Config,
    ctx::{Ctx, Now, Outbox, Post, Rng},
    dht::{Dht, DhtEvent},
    group,
    id::{Coverage, Id, Region},
    node::{Output, Timer as NodeTimer},
    overlay::View,
    store::{Action, Expect, KeyOp, Outcome},
    trust::Signer,
    wire::Body,
};

/// A crash or a cut is noticed by others so much later.
const NOTICED_US: u64 = 3_000_000;

pub struct Peers {
    siblings: Vec<Id>,
    all: Vec<Id>,
}

impl View for Peers {
    fn siblings(&self) -> &[Id] {
        &self.siblings
    }
    fn alive(&self, id: &Id) -> bool {
        self.all.contains(id)
    }
    fn joined(&self) -> bool {
        !self.all.is_empty()
    }
    fn peers(&self) -> Vec<Id> {
        self.all.clone()
    }
}

pub struct Node {
    pub dht: Dht,
    out: Outbox,
    rng: Rng,
}

enum Event {
    Deliver { to: Id, from: Id, body: Box<Body> },
    Persisted { at: Id, life: u32, token: u64, batch: crate::store::Batch },
}

pub type Filter = Box<dyn Fn(&Id, &Id, &Body) -> bool>;

pub struct Swarm {
    pub now: u64,
    pub config: Config,
    pub nodes: BTreeMap<Id, Node>,
    disks: BTreeMap<Id, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// When each peer was last up, for those that are down; when it came up, for those that are up.
    down_us: BTreeMap<Id, u64>,
    up_us: BTreeMap<Id, u64>,
    lives: BTreeMap<Id, u32>,
    /// Pairs that cannot talk, and since when.
    cuts: BTreeMap<(Id, Id), u64>,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    rng: Rng,
    /// Messages lost, of 1,000.
    pub loss: u64,
    /// Messages for which it says `false` are lost.
    pub filter: Filter,
    pub done: BTreeMap<u64, Outcome>,
    next_ticket: u64,
    /// Whether two owners at once are a failure.
    pub exclusive: bool,
    /// Peers that are archives.
    pub archives: BTreeSet<Id>,
    /// Disks that refuse to write.
    pub broken: BTreeSet<Id>,
    pub messages: Cell<u64>,
}

pub fn id(number: u64) -> Id {
    Id::hash(&number.to_be_bytes())
}

impl Swarm {
    /// `count` peers; the first founds. All are up.
    pub fn new(seed: u64, count: u64) -> Swarm {
        let mut swarm = Swarm::empty(seed);
        for number in 0..count {
            swarm.start(id(number), number == 0);
        }
        swarm
    }

    pub fn empty(seed: u64) -> Swarm {
        Swarm {
            now: 1_000_000,
            config: Config { store_bytes_max: 1 << 20, ..Config::default() },
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            down_us: BTreeMap::new(),
            up_us: BTreeMap::new(),
            lives: BTreeMap::new(),
            cuts: BTreeMap::new(),
            events: BTreeMap::new(),
            serial: 0,
            rng: Rng::seed_from_u64(seed),
            loss: 0,
            filter: Box::new(|_, _, _| true),
            done: BTreeMap::new(),
            // Apart from the numbers that nodes give themselves.
            next_ticket: 1 << 40,
            exclusive: true,
            archives: BTreeSet::new(),
            broken: BTreeSet::new(),
            messages: Cell::new(0),
        }
    }

    pub fn clocks(&self) -> Now {
        Now { mono: self.now, wall: 1_700_000_000_000_000 + self.now }
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below.max(1)
    }

    /// Starts a peer on what its disk holds.
    pub fn start(&mut self, me: Id, founder: bool) {
        let saved = self.disks.entry(me).or_default().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let dht = Dht::restore(&self.config, me, self.clocks(), &saved);
        let rng = Rng::seed_from_u64(self.rng.next_u64());
        self.nodes.insert(me, Node { dht, out: Outbox::default(), rng });
        self.down_us.remove(&me);
        self.up_us.insert(me, self.now);
        *self.lives.entry(me).or_default() += 1;
        let config = self.config.clone();
        self.config.founder = founder;
        self.call(me, |dht, ctx, _| dht.start(ctx));
        self.config = config;
        // Only the first peer may found: the others have been told that a network exists.
        if !founder {
            self.call(me, |dht, _, _| dht.on_peer_established());
        }
    }

    /// Kills a peer: what its disk has not confirmed may be lost.
    pub fn crash(&mut self, me: Id) {
        self.nodes.remove(&me);
        self.down_us.insert(me, self.now);
    }

    /// The disk of a peer that is down is lost.
    pub fn wipe(&mut self, me: Id) {
        self.disks.remove(&me);
    }

    pub fn cut(&mut self, a: Id, b: Id) {
        let now = self.now;
        self.cuts.entry((a.min(b), a.max(b))).or_insert(now);
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    fn is_cut(&self, a: Id, b: Id) -> Option<u64> {
        self.cuts.get(&(a.min(b), a.max(b))).copied()
    }

    fn view(&self, me: Id) -> Peers {
        let gone = |since: u64| self.now.saturating_sub(since) > NOTICED_US;
        let mut all: Vec<Id> = self
            .lives
            .keys()
            .filter(|id| **id != me)
            .filter(|id| self.nodes.contains_key(id) || self.down_us.get(id).is_some_and(|since| !gone(*since)))
            .filter(|id| !self.is_cut(me, **id).is_some_and(gone))
            .copied()
            .collect();
        all.sort_unstable_by_key(|id| me.distance(id));
        Peers { siblings: all.iter().take(self.config.siblings).copied().collect(), all }
    }

    pub fn call<R>(&mut self, me: Id, f: impl FnOnce(&mut Dht, &mut Ctx, &dyn View) -> R) -> Option<R> {
        let now = self.clocks();
        let view = self.view(me);
        let node = self.nodes.get_mut(&me)?;
        let mut config = self.config.clone();
        config.founder |= me == id(0);
        config.archive = self.archives.contains(&me);
        config.supernode |= config.archive;
        let mut ctx =
            Ctx { now, me, config: &config, signer: &Signer::nobody(), rng: &mut node.rng, out: &mut node.out };
        let result = f(&mut node.dht, &mut ctx, &view);
        while let Some(event) = node.dht.poll_event() {
            let DhtEvent::Done { ticket, outcomes } = event else { continue };
            assert_eq!(outcomes.len(), 1);
            let before = self.done.insert(ticket, outcomes[0].clone());
            assert_eq!(before, None, "answered twice");
        }
        let posts = std::mem::take(&mut node.out.posts);
        let outputs = std::mem::take(&mut node.out.outputs);
        for post in posts {
            let (to, body) = match post {
                Post::Node { to, body, .. } => (Some(to), body),
                Post::Key { key, body } => {
                    let near = std::iter::once(me).chain(self.view(me).all).min_by_key(|id| id.distance(&key));
                    (near, body)
                }
            };
            let Some(to) = to else { continue };
            self.messages.set(self.messages.get() + 1);
            let lost = self.random(1_000) < self.loss || !(self.filter)(&me, &to, &body);
            let delay = if to == me { 0 } else { 5_000 + self.random(45_000) };
            if !lost && self.is_cut(me, to).is_none() {
                self.push(delay, Event::Deliver { to, from: me, body: Box::new(body) });
            }
        }
        for output in outputs {
            if let Output::Persist { token, batch } = output {
                let delay = 1_000 + self.serial % 7 * 300;
                self.push(delay, Event::Persisted { at: me, life: self.lives[&me], token, batch });
            }
        }
        Some(result)
    }

    fn push(&mut self, delay: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + delay, self.serial), event);
    }

    /// Runs until a time of the virtual clock.
    pub fn run(&mut self, until: u64) {
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let timer = self.nodes.iter().filter_map(|(id, node)| node.out.timers.next_us().map(|at| (at, *id))).min();
            let at = event.into_iter().chain(timer.map(|(at, _)| at)).min().unwrap_or(u64::MAX);
            if at > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(at);
            if timer.is_some_and(|(due, _)| due == at) {
                let (_, me) = timer.unwrap();
                let timer = self.nodes.get_mut(&me).unwrap().out.timers.pop_due(at).unwrap();
                self.call(me, |dht, ctx, view| match timer {
                    NodeTimer::Group(timer) => dht.on_group_timer(ctx, view, timer),
                    NodeTimer::Dht(timer) => dht.on_timer(ctx, view, timer),
                    other => panic!("{other:?}"),
                });
            } else {
                match self.events.pop_first().unwrap().1 {
                    Event::Deliver { to, from, body } => {
                        self.call(to, |dht, ctx, view| match *body {
                            Body::Group(message) => dht.on_group_message(ctx, view, from, message),
                            Body::Dht(message) => dht.on_message(ctx, view, from, message),
                            other => panic!("{other:?}"),
                        });
                    }
                    Event::Persisted { at, life, token, batch } => {
                        if self.lives[&at] != life || !self.nodes.contains_key(&at) {
                            continue;
                        }
                        let broken = self.broken.contains(&at);
                        if !broken {
                            let disk = self.disks.get_mut(&at).unwrap();
                            for (key, value) in batch {
                                match value {
                                    Some(value) => drop(disk.insert(key, value)),
                                    None => drop(disk.remove(&key)),
                                }
                            }
                        }
                        let result = if broken { Err("full".to_owned()) } else { Ok(()) };
                        self.call(at, |dht, ctx, view| dht.on_persisted(ctx, view, token, result));
                    }
                }
            }
            self.check();
        }
    }

    pub fn pass(&mut self, us: u64) {
        self.run(self.now + us);
    }

    /// Who counted something.
    pub fn counted(&self, name: &str) -> Option<Id> {
        self.nodes.iter().find(|(_, node)| node.out.counters.get(name) > 0).map(|(id, _)| *id)
    }

    /// Which regions are answered for now, by whom.
    pub fn owners(&self) -> Vec<(Id, Region, bool)> {
        let now = self.clocks();
        let owned = |(id, node): (&Id, &Node)| {
            let id = *id;
            node.dht.owned(now).into_iter().map(move |(region, _, lost)| (id, region, lost)).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(owned).collect()
    }

    fn check(&self) {
        if !self.exclusive {
            return;
        }
        let owners = self.owners();
        for (index, (a, region, _)) in owners.iter().enumerate() {
            for (b, other, _) in &owners[index + 1..] {
                assert!(region.intersect(other).is_none(), "{a:?} and {b:?} both answer: {region} and {other}");
            }
        }
    }

    pub fn coverage(&self) -> Coverage {
        Coverage::of(self.owners().iter().map(|(_, region, _)| region))
    }

    pub fn whole(&self) -> bool {
        self.coverage() == Region::ALL.size()
    }

    /// Whether every id is answered for by the closest peer that is up, in one piece where that may be.
    pub fn settled(&self) -> bool {
        let ids: Vec<Id> = self.nodes.keys().copied().collect();
        let owners = self.owners();
        let halves = |(owner, region, lost): &(Id, Region, bool)| {
            let joins =
                |(other, part, lost): &(Id, Region, bool)| owner == other && !lost && part.join(region).is_some();
            !lost && owners.iter().any(joins)
        };
        self.whole()
            && !owners.iter().any(halves)
            && owners.iter().all(|(owner, region, _)| group::plan::hand_over(*owner, *region, &ids).is_none())
    }

    /// Runs until `want` holds; gives how long it took.
    #[track_caller]
    pub fn until(&mut self, limit_us: u64, want: impl Fn(&Swarm) -> bool) -> u64 {
        let start = self.now;
        while !want(self) {
            if self.now - start > limit_us {
                let info: Vec<String> = self
                    .nodes
                    .iter()
                    .flat_map(|(id, node)| {
                        let id = *id;
                        node.dht.fragments_info(self.clocks()).into_iter().map(move |it| {
                            let members: Vec<String> = it.members.iter().map(|id| id.short()).collect();
                            format!(
                                "{id:?}: {} e{} {} of {:?} lease {} members {members:?}",
                                it.region, it.epoch, it.state, it.owner, it.lease_ms
                            )
                        })
                    })
                    .collect();
                panic!("not within {limit_us} us:\n{}", info.join("\n"));
            }
            self.pass(50_000);
        }
        self.now - start
    }

    pub fn ask(&mut self, at: Id, key: &[u8], action: Action, deadline_us: u64) -> u64 {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let op = KeyOp { namespace: "t".into(), locality_bits: 0, key: key.to_vec(), action, proof: None };
        let deadline = self.now + deadline_us;
        self.call(at, |dht, ctx, view| dht.execute(ctx, view, ticket, op, deadline));
        ticket
    }

    /// One operation from beginning to end.
    pub fn now_do(&mut self, at: Id, key: &[u8], action: Action) -> Outcome {
        let ticket = self.ask(at, key, action, 20_000_000);
        self.until(21_000_000, |swarm| swarm.done.contains_key(&ticket));
        self.done[&ticket].clone()
    }

    pub fn put(&mut self, at: Id, key: &[u8], value: &[u8]) -> Outcome {
        self.now_do(at, key, put(value))
    }

    pub fn get(&mut self, at: Id, key: &[u8]) -> Option<Vec<u8>> {
        match self.now_do(at, key, Action::Get) {
            Outcome::Found { value, .. } => Some(value),
            Outcome::Absent => None,
            other => panic!("{other:?}"),
        }
    }

    /// Flips one bit of one value of a disk.
    pub fn flip(&mut self, at: Id, kind: u8) -> bool {
        let disk = self.disks.get_mut(&at).unwrap();
        match disk.iter_mut().find(|(key, _)| key[0] == kind) {
            Some((_, value)) => {
                *value.last_mut().unwrap() ^= 1;
                true
            }
            None => false,
        }
    }

    pub fn members_of(&self, key: &[u8]) -> (Id, Vec<Id>) {
        let id = Id::object("t", key, 0);
        let (owner, region, _) = self.owners().into_iter().find(|(_, region, _)| region.contains(&id)).unwrap();
        let info = self.nodes[&owner].dht.fragments_info(self.clocks());
        let text = region.to_string();
        (owner, info.into_iter().find(|it| it.region == text && it.state == "active").unwrap().members)
    }
}

pub fn put(value: &[u8]) -> Action {
    Action::Put { value: value.to_vec(), expect: Expect::Any, ttl_us: None }
}
