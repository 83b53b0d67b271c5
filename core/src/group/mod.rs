//! Groups: who may vouch for a region (after Scatter, Glendenning et al., SOSP 2011).
//!
//! The key space is split exactly into *fragments*, a region in an epoch each, certified with an owner and members.
//! - An **epoch change** is one single-decree Paxos (Lamport, *Paxos made simple*, 2001) among the current members:
//!   its value says what becomes of the fragment ([`paxos`]). Round 0 belongs to the owner.
//! - The owner serves under a **lease** of a majority (`lease`); who granted helps no other proposer while it lasts.
//! - A new owner **merges** what earlier epochs hold before it serves, and brings a majority of the new members in
//!   step (`merge`): anything acknowledged lies on a majority of the old members, so it is found.
//! - The **tick** (`maintain`) founds, repairs, hands over, takes over, renews and reminds.
//! - Two fragments of one owner that are halves become one (`union`): the one yields, then the other decides.
//! - A member without a majority gives a copy to a peer outside (`backup`).
//! - Peers that hold everything are members of all groups (`archive`).
//! - A region of which nobody is left is begun anew by the nearest peer (`orphan`), and histories that forked become one
//!   when they meet (`heal`).
//!
//! Invariants: a promise or an acceptance is on disk before it is answered; a member that promised or accepted takes
//! no more writes of the old epoch; at one time at most one peer serves a fragment unless a majority was given up for
//! lost, and certificates say so for ever.

mod archive;
mod backup;
pub mod certificate;
pub mod fragment;
mod heal;
mod info;
mod known;
mod lease;
mod maintain;
mod member;
mod merge;
pub mod message;
mod orphan;
mod paxos;
mod peers;
pub mod plan;
mod succession;
mod union;
mod unsaved;

use std::collections::VecDeque;

use chacha20::rand_core::Rng as _;

pub use certificate::{Ballot, Certificate, Change, Name, Relation, Source};
pub use info::Held;
pub use message::{Message, Timer};

use self::{
    fragment::{Fragment, Kept, Stage},
    peers::Peers,
    unsaved::Unsaved,
};
use crate::{
    config::Config,
    ctx::{Ctx, Now},
    id::{Id, Region},
    map::Map,
    node::Output,
    overlay::View,
    store::{Batch, Store},
    trust::Keeper,
    wire::Body,
};

/// Regions remembered that were held once.
const CLOSED_MAX: usize = 512;
/// Successors remembered of one retired fragment.
const SUCCESSORS_MAX: usize = 32;

/// Goodbyes remembered.
const GOODBYES_MAX: usize = 1_024;

/// What every call of this layer is handed.
pub struct Env<'a, 'c> {
    /// Clocks, generator, effects.
    pub ctx: &'a mut Ctx<'c>,
    /// The overlay.
    pub view: &'a dyn View,
    /// The records.
    pub store: &'a mut Store,
    /// Who may write them.
    pub keeper: &'a mut Keeper,
}

/// What groups tell the owner of operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The next epoch of this fragment is decided.
    Retired(Name),
    /// This node serves a fragment from now on.
    Activated(Name),
    /// Records of another history for a fragment that this node serves: to be written where they are newer.
    Donated {
        /// The donor.
        from: Id,
        /// Its fragment.
        of: Name,
        /// This node's.
        to: Name,
        /// The records.
        page: message::Page,
    },
}

/// What happens once a batch is on disk, beside the messages that waited for it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing.
    None,
    /// This node's own promise counts.
    Promised(Name, Ballot),
    /// This node's own acceptance counts.
    Accepted(Name, Ballot),
    /// This node's own copy counts.
    Synced(Name),
    /// A batch of writes is on the owner's disk.
    Write(u64),
}

struct Waiting {
    batch: Batch,
    /// How many pairs, at the front, an earlier batch should have written.
    carried: usize,
    sends: Vec<(Id, Body)>,
    step: Step,
}

/// All fragments that this node holds.
pub struct Groups {
    me: Id,
    fragments: Map<Name, Fragment>,
    known: known::Known,
    closed: Map<Region, Vec<Certificate>>,
    /// The same regions, the one closed longest ago first.
    closed_order: Vec<Region>,
    peers: Peers,
    waiting: Map<u64, Waiting>,
    unsaved: Unsaved,
    /// Batches up to this token were asked for before a refusal of an earlier one was known.
    doubtful: u64,
    events: VecDeque<Event>,
    /// Clocks of recent renewals, by which grants are dated.
    sent: Vec<Now>,
    established: bool,
    started_us: u64,
    /// Peers that said goodbye, until when that is remembered.
    goodbyes: Map<Id, u64>,
    archives: archive::Archives,
    /// What this node is nearest to and nobody is known to answer for, and since when.
    orphans: Map<Region, u64>,
    leaving: bool,
    /// While leaving: nobody is there to take anything.
    nobody: bool,
    ticks: u64,
    /// Nothing was to be done when everything was looked at last: the version of the view then.
    at_rest: Option<u64>,
    /// Some of what the disk held was not what was written: it is not known what this node took part in.
    damaged: bool,
}

impl Groups {
    /// From what the disk holds of fragments. `damaged`: records were lost, so no copy here vouches for being whole.
    /// `closed` are regions that this node held once, with what came after.
    pub fn restore(
        me: Id,
        now: Now,
        kept: Vec<Kept>,
        closed: Map<Region, Vec<Certificate>>,
        damaged: bool,
        store: &mut Store,
    ) -> Groups {
        let mut fragments = Map::new();
        for mut kept in kept {
            kept.synced &= !damaged;
            let stage = if kept.certificate.owner == me { Stage::Restarted } else { Stage::Member };
            store.track(kept.certificate.name);
            fragments.insert(kept.certificate.name, Fragment::new(kept, stage, now.mono));
        }
        Groups {
            me,
            established: !fragments.is_empty(),
            fragments,
            known: known::Known::default(),
            closed_order: closed.keys().copied().collect(),
            closed,
            peers: Peers::default(),
            waiting: Map::new(),
            unsaved: Unsaved::default(),
            doubtful: 0,
            events: VecDeque::new(),
            sent: Vec::new(),
            started_us: now.mono,
            goodbyes: Map::new(),
            archives: Map::new(),
            orphans: Map::new(),
            leaving: false,
            nobody: false,
            ticks: 0,
            at_rest: None,
            damaged,
        }
    }

    /// What the owner of operations is to know, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether a network is known to exist.
    pub fn established(&self) -> bool {
        self.established
    }

    /// A peer says that a network exists.
    pub fn set_established(&mut self) {
        self.established = true;
    }

    /// A sign of life.
    pub fn heard(&mut self, from: &Id, now: Now) {
        self.peers.heard(from, now.mono);
    }

    /// The fragments that this node may answer for right now.
    pub fn serving<'a>(&'a self, now: Now, config: &'a Config) -> impl Iterator<Item = &'a Certificate> + 'a {
        let serving = move |fragment: &&Fragment| fragment.serving(&self.me, now, config.lease_us);
        self.fragments.values().filter(serving).map(Fragment::certificate)
    }

    /// The regions of the fragments that this node owns, whether it may answer for them now or not.
    pub fn certified(&self) -> impl Iterator<Item = Region> + '_ {
        let mine = |fragment: &&Fragment| !fragment.retired() && fragment.certificate().owner == self.me;
        self.fragments.values().filter(mine).map(|fragment| fragment.name().region)
    }

    /// The fragment that this node may answer for right now and that an id lies in.
    pub fn serving_for(&self, id: &Id, now: Now, config: &Config) -> Option<&Certificate> {
        let mut fragments = self.fragments.values().filter(|fragment| fragment.name().region.contains(id));
        fragments.find(|fragment| fragment.serving(&self.me, now, config.lease_us)).map(Fragment::certificate)
    }

    /// The certificate by which this node answers for an id, if it owns it since less than `us` and an operation that
    /// names `epoch` may be one that an owner before it has answered; or if `epoch` is beyond its own, one of a history
    /// that is given up, whose believers take no answers of this one.
    pub fn owner_lately(&self, id: &Id, epoch: u64, us: u64, now: Now) -> Option<&Certificate> {
        let lately = |fragment: &&Fragment| {
            let (since_us, since) = fragment.owned_since.unwrap_or_default();
            let beyond = epoch > fragment.name().epoch;
            fragment.name().region.contains(id)
                && !fragment.retired()
                && fragment.certificate().owner == self.me
                && (beyond || now.mono.saturating_sub(since_us) < us && epoch < since)
        };
        self.fragments.values().find(lately).map(Fragment::certificate)
    }

    /// Whether this node is, or is about to become, the owner of an id's fragment, though it may not serve now.
    pub fn owner_soon(&self, id: &Id) -> bool {
        self.fragments.values().any(|fragment| {
            !fragment.retired() && fragment.certificate().owner == self.me && fragment.name().region.contains(id)
        })
    }

    /// Whether this node is about to own an id, and does not know yet what there is.
    pub fn merging(&self, id: &Id) -> bool {
        let merging = |fragment: &&Fragment| matches!(fragment.stage, Stage::Merging(_)) && !fragment.retired();
        self.fragments.values().filter(merging).any(|fragment| fragment.name().region.contains(id))
    }

    /// Who owns an id, as far as this node knows, and in which epoch: by the newest certificate that covers it.
    pub fn owner_hint(&self, id: &Id) -> Option<(Id, u64)> {
        let held = self.fragments.values().filter(|fragment| !fragment.retired()).map(Fragment::certificate);
        let about = held.chain(self.known.iter()).filter(|certificate| certificate.name.region.contains(id));
        Certificate::latest(about).map(|certificate| (certificate.owner, certificate.name.epoch))
    }

    /// Whether this node was ever in step with an id's owner, and keeps what it got.
    pub fn holds(&self, id: &Id) -> bool {
        self.fragments.values().any(|fragment| fragment.kept.synced && fragment.name().region.contains(id))
    }

    /// The certificate by which this node is in step with an id's owner, or owns it.
    pub fn member_of(&self, id: &Id) -> Option<&Certificate> {
        let member = |fragment: &&Fragment| {
            let in_step = fragment.kept.synced && !fragment.retired();
            in_step && fragment.certificate().has(&self.me) && fragment.name().region.contains(id)
        };
        self.fragments.values().find(member).map(Fragment::certificate)
    }

    /// A linked peer that holds an id, by the newest certificate known.
    pub fn holder_hint(&self, env: &Env, id: &Id) -> Option<Id> {
        let held = self.fragments.values().map(Fragment::certificate).chain(self.known.iter());
        let newest = Certificate::latest(held.filter(|certificate| certificate.name.region.contains(id)))?;
        newest.members.iter().filter(|member| **member != self.me).find(|member| env.view.alive(member)).copied()
    }

    /// A fragment by name.
    pub fn fragment(&self, name: &Name) -> Option<&Fragment> {
        self.fragments.get(name)
    }

    /// Decided certificates later than `name` for parts of its region.
    pub fn newer_than(&self, name: &Name) -> Vec<Certificate> {
        let about = self.about(&name.region).into_iter();
        about.filter(|certificate| certificate.name.epoch > name.epoch).take(SUCCESSORS_MAX).cloned().collect()
    }

    /// All decided certificates that this node knows for some of a region: of what it holds or held, what came after
    /// that, and what it heard of.
    fn about(&self, region: &Region) -> Vec<&Certificate> {
        let mut all: Vec<&Certificate> = Vec::new();
        for held in self.fragments.values() {
            all.push(held.certificate());
            all.extend(&held.kept.successors);
        }
        self.closed.values().for_each(|after| all.extend(after));
        all.extend(self.known.iter());
        all.retain(|certificate| certificate.name.region.intersect(region).is_some());
        all
    }

    /// Writes a batch; once it is on disk the messages go out and the step is taken.
    pub fn persist(&mut self, env: &mut Env, batch: Batch, sends: Vec<(Id, Body)>, step: Step) {
        let token = env.ctx.serial();
        let mut whole = self.unsaved.take();
        let carried = whole.len();
        whole.extend(batch);
        env.ctx.output(Output::Persist { token, batch: whole.clone() });
        self.waiting.insert(token, Waiting { batch: whole, carried, sends, step });
    }

    /// The disk answered. Gives a step that is the owner's to take, and whether it is on disk.
    pub fn on_persisted(&mut self, env: &mut Env, token: u64, done: bool) -> Option<(u64, bool)> {
        let Waiting { mut batch, carried, sends, step } = self.waiting.remove(&token)?;
        self.at_rest = None;
        let write = matches!(step, Step::Write(_));
        if !done && let Some((last, _)) = self.waiting.last_key_value() {
            self.doubtful = *last;
        }
        // An owner's write stands for itself; whatever else was asked for before a refusal was known relies on it.
        let done = done && (write || token > self.doubtful);
        if !done {
            if write {
                // What it wrote itself the owner sees to.
                batch.truncate(carried);
            }
            self.unsaved.refused(batch, self.waiting.range(token..).map(|(_, waiting)| &waiting.batch));
        }
        if let Step::Write(serial) = step {
            return Some((serial, done));
        }
        if !done {
            env.ctx.count("group.persist_failed");
            return None;
        }
        for (to, body) in sends {
            env.ctx.send(to, body);
        }
        match step {
            Step::Promised(name, ballot) => self.promised_by(env, self.me, name, ballot, None),
            Step::Accepted(name, ballot) => self.accepted_by(env, self.me, name, ballot),
            Step::Synced(name) => self.confirm(env, self.me, name, None),
            Step::None | Step::Write(_) => {}
        }
        None
    }

    /// A message of another peer.
    pub fn on_message(&mut self, env: &mut Env, from: Id, message: Message) {
        self.heard(&from, env.ctx.now);
        let steady = match &message {
            Message::Granted { lacking, .. } => lacking.is_empty(),
            other => matches!(other, Message::Renew { .. } | Message::Ping | Message::Pong),
        };
        if !steady {
            self.at_rest = None;
        }
        match message {
            Message::Renew { sent_us, leases } => self.on_renew(env, from, sent_us, leases),
            Message::Granted { sent_us, granted, lacking } => self.on_granted(env, from, sent_us, granted, lacking),
            Message::Prepare { of, ballot, lost } => self.on_prepare(env, from, of, ballot, lost),
            Message::Promise { of, ballot, accepted } => self.promised_by(env, from, of, ballot, accepted),
            Message::Accept { of, ballot, lost, change } => self.on_accept(env, from, of, ballot, lost, change),
            Message::Accepted { of, ballot } => self.accepted_by(env, from, of, ballot),
            Message::Refused { of, ballot, promised } => self.on_refused(env, of, ballot, promised),
            Message::Decided { of, change } => {
                if change.follows(of) {
                    if change.union.is_some() {
                        self.yielded(env, of, change);
                    } else {
                        self.on_newer(env, from, change.into);
                    }
                }
            }
            Message::Newer { certificates } => self.on_newer(env, from, certificates),
            Message::Fetch { certificate, source, after, digest } => {
                self.on_fetch(env, from, certificate, source, after, digest);
            }
            Message::Fetched { to, source, complete, synced, page } => {
                self.on_fetched(env, from, to, source, complete, synced, page);
            }
            Message::Sync { certificate, digest, sent_us } => self.on_sync(env, from, certificate, digest, sent_us),
            Message::Synced { of, sent_us } => self.confirm(env, from, of, Some(sent_us)),
            Message::Lacking { of } => self.on_lacking(env, from, of),
            Message::Push { of, as_of_us, page } => self.on_push(env, from, of, as_of_us, page),
            Message::Pushed { of, until } => self.on_pushed(env, from, of, until),
            Message::Active { certificate } => self.on_active(env, certificate),
            Message::Who { region } => self.on_who(env, from, &region),
            Message::Donate { to, of, page } => self.on_donate(env, from, to, of, page),
            Message::Donated { to, of, until } => self.on_donated(env, from, to, of, until),
            Message::Backup { certificate, page } => self.on_backup(env, from, *certificate, page),
            Message::BackedUp { of, until } => self.on_backed_up(env, from, of, until),
            Message::Enlist => self.on_enlist(env, from),
            Message::Ping => env.ctx.send(from, Message::Pong),
            Message::Pong => {}
            Message::Leaving => {
                let until = env.ctx.now.mono + 30_000_000;
                if self.goodbyes.len() < GOODBYES_MAX && self.goodbyes.insert(from, until).is_none() {
                    self.release(env, &from);
                }
            }
        }
    }

    /// A link to a peer opened: if it had said goodbye, it is back.
    pub fn linked(&mut self, id: &Id, now: Now) {
        self.goodbyes.remove(id);
        self.heard(id, now);
    }

    /// The last link to a peer is down, or it is suspected.
    pub fn unlinked(&mut self, id: &Id) {
        self.peers.unheard(id);
    }

    fn peer_alive(&self, env: &Env, id: &Id) -> bool {
        *id == self.me || self.peers.alive(env.view, id, env.ctx.now.mono)
    }

    /// Whether a peer has said goodbye, or has been silent for so long.
    fn gone_for(&self, env: &Env, id: &Id, us: u64) -> bool {
        *id != self.me && self.goodbyes.contains_key(id) || self.silent_for(env, id, us)
    }

    fn silent_for(&self, env: &Env, id: &Id, us: u64) -> bool {
        *id != self.me && !self.peer_alive(env, id) && self.peers.dead_us(id, env.ctx.now.mono) >= us
    }

    /// Peers that may become members or owners: there for a second, and staying.
    fn candidates(&self, env: &Env) -> Vec<Id> {
        let now = env.ctx.now.mono;
        let mut ids = env.view.peers();
        ids.retain(|id| {
            *id != self.me && self.peers.alive_us(id, now) >= maintain::SETTLED_US && !self.goodbyes.contains_key(id)
        });
        ids
    }
}

/// A random time below `below_us`.
fn jitter(ctx: &mut Ctx, below_us: u64) -> u64 {
    ctx.rng.next_u64() % below_us.max(1)
}
