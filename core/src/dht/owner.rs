//! The owner's side: operations on keys of fragments that this node serves.
//!
//! One write of a key is under way at a time; later operations on the key wait for it, so a reader never sees what
//! is not on a majority of disks. An asker sends its request more than once, and copies of it may arrive when it has its
//! answer already, so a request is decided once:
//! - A write's version carries a tag of its request, and a record those of the writes before it: the owner, or a later
//!   one, knows a retried write by it.
//! - What had no effect is remembered by the owner alone. Who owns a key since lately does not do what may have been
//!   answered before it came: such a request must name an epoch in which it is the owner.

use std::collections::VecDeque;

use super::{
    conflict::Conflicts,
    decide::{Decision, decide},
    message::Message,
};
use crate::{
    group::{Env, Groups, Name, Step, message::Page},
    id::Id,
    map::{LargeMap, Map, Set},
    node::Output,
    store::{Action, Batch, Expect, KeyOp, Outcome, Record, Refusal, Version},
    trust::{Reader, Verdict},
};

type Key = (String, Vec<u8>);
/// Names a key: where it would live without locality.
type KeyId = Id;

/// Records of one replication message, about.
const WRITE_BYTES: usize = 128 * 1_024;
/// Operations that wait for one key.
const WAITING_MAX: usize = 1_024;
/// Writes remembered after they were acknowledged.
const RECENT_MAX: usize = 8_192;
/// Bytes of remembered answers.
const RECENT_BYTES: usize = 4 << 20;
/// No copy of a request is under way for longer.
pub const LATELY_US: u64 = 60_000_000;
/// An operation waits so long for a fragment that changes.
const PARKED_US: u64 = 2_000_000;
/// Losers set aside that are looked at in one tick.
const ASIDE_AT_ONCE: usize = 64;
/// Writes that are not on a majority by then are sent again.
const RESEND_US: u64 = 500_000;

/// Who wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Asker {
    /// The node, of operations given with this ticket.
    Ticket(u64),
    /// A peer's single-key request, and the epoch that it names.
    Peer(Id, u64, u64),
    /// This node's own single-key request.
    Own(u64),
}

/// What an asker is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// All is done; where the first key lives.
    Done(Vec<Outcome>, Id),
    /// A single-key request is not for this node, or not yet. The id of its key.
    Elsewhere(Id),
}

struct Job {
    asker: Asker,
    /// Where its first key lives.
    id: Id,
    outcomes: Vec<Option<Outcome>>,
    missing: usize,
}

/// One operation with whom to tell.
#[derive(Clone, Debug)]
pub struct Todo {
    /// It waits no longer, if it waited before.
    until_us: Option<u64>,
    op: KeyOp,
    id: Id,
    author: Id,
    tag: u64,
    job: u64,
    index: usize,
}

/// A key with a write under way.
struct Busy {
    key: Key,
    id: Id,
    author: Id,
    tag: u64,
    version: Version,
    told: Vec<(u64, usize)>,
    waiting: Vec<Todo>,
}

struct Write {
    of: Name,
    keys: Vec<KeyId>,
    stored: Set<Id>,
    /// The disk refused it.
    failed: bool,
    sent_us: u64,
}

/// A record that was committed, and the one before it, or none; `None`: that is not known.
pub type Committed = (Box<Record>, Option<Option<Box<Record>>>);

/// See the module.
#[derive(Default)]
pub struct Owner {
    jobs: Map<u64, Job>,
    next_job: u64,
    pending: usize,
    busy: LargeMap<KeyId, Box<Busy>>,
    writes: Map<u64, Write>,
    /// Keys whose fragment changed while their write was under way, and that this node goes on owning.
    limbo: Set<KeyId>,
    parked: Vec<(Todo, u64)>,
    /// By tag and author.
    recent: LargeMap<(u64, Id), Box<Outcome>>,
    recent_order: VecDeque<(u64, Id)>,
    recent_bytes: usize,
    answers: VecDeque<(Asker, Answer)>,
    /// Namespaces whose commits the application is told of.
    subscribed: Vec<String>,
    /// Namespaces of which [`Owner::committed`] is wanted.
    pub watched: Vec<String>,
    /// What was committed, and what was there before.
    pub committed: VecDeque<Committed>,
    /// What lost against a record of another history.
    pub conflicts: Conflicts,
}

/// Names operation `index` of a request within its author's.
pub fn tag(request: u64, index: u32) -> u64 {
    let mut word = request ^ (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    word = (word ^ (word >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    word ^ (word >> 32)
}

impl Owner {
    /// Who is to be told what, oldest first.
    pub fn poll_answer(&mut self) -> Option<(Asker, Answer)> {
        self.answers.pop_front()
    }

    /// See [`super::Dht::subscribe`].
    pub fn subscribe(&mut self, namespace: String, on: bool, most: usize) -> bool {
        self.subscribed.retain(|other| *other != namespace);
        let room = self.subscribed.len() < most;
        if on && room {
            self.subscribed.push(namespace);
        }
        !on || room
    }

    /// Whether no write of a fragment is under way.
    pub fn quiet(&self, name: &Name) -> bool {
        self.busy.is_empty() || !self.busy.values().any(|busy| name.region.contains(&busy.id))
    }

    /// Whether a write of a key is under way.
    pub fn busy(&self, op: &KeyOp) -> bool {
        !self.busy.is_empty() && self.busy.get(&key_id(&op.namespace, &op.key)).is_some()
    }

    /// What a get of a key is answered at once: this node may answer for it, no write of it is under way, and whether it may
    /// be read is known. Who shows nobody's credential is this node itself.
    pub fn read(&self, env: &mut Env, groups: &Groups, op: &KeyOp) -> Option<Outcome> {
        let serving = || groups.serving_for(&op.id(), env.ctx.now, env.ctx.config).is_some();
        if !matches!(op.action, Action::Get | Action::Prove) || self.busy(op) || !serving() {
            return None;
        }
        match env.keeper.judge_reader(env.ctx, &op.namespace, &Reader::here(op)) {
            Verdict::Allowed => {}
            Verdict::Refused(refusal) => return Some(Outcome::Refused(refusal)),
            Verdict::Later => return None,
        }
        let held = env.store.get(&op.namespace, &op.key);
        match decide((op, env.ctx.me, 0), held, None, env.ctx.now.wall, 0, env.ctx.config) {
            Decision::Answer(outcome) => Some(outcome),
            Decision::Write { .. } => None,
        }
    }

    /// Operations of one asker; each is its index in the request and what to do.
    pub fn submit(
        &mut self,
        env: &mut Env,
        groups: &mut Groups,
        asker: Asker,
        ops: Vec<(u32, KeyOp)>,
        author: Id,
        request: u64,
    ) {
        if self.pending + ops.len() > env.ctx.config.owner_ops_max {
            env.ctx.count("dht.overloaded");
            let refused = vec![Outcome::Refused(Refusal::Overloaded); ops.len()];
            let id = ops.first().map_or(Id::ZERO, |(_, op)| op.id());
            self.answers.push_back((asker, Answer::Done(refused, id)));
            return;
        }
        self.next_job += 1;
        let job = self.next_job;
        self.pending += ops.len();
        let todos: Vec<Todo> = ops
            .into_iter()
            .enumerate()
            .map(|(at, (index, op))| Todo {
                until_us: None,
                id: op.id(),
                op,
                author,
                tag: tag(request, index),
                job,
                index: at,
            })
            .collect();
        let id = todos.first().map_or(Id::ZERO, |todo| todo.id);
        self.jobs.insert(job, Job { asker, id, outcomes: vec![None; todos.len()], missing: todos.len() });
        if todos.is_empty() {
            self.finish(job);
        }
        self.run(env, groups, todos);
    }

    fn run(&mut self, env: &mut Env, groups: &mut Groups, todos: Vec<Todo>) {
        let mut writes: Map<Name, (Vec<KeyId>, Batch, usize)> = Map::new();
        for mut todo in todos {
            let Some(job) = self.jobs.get(&todo.job) else {
                continue;
            };
            let epoch = if let Asker::Peer(_, _, epoch) = job.asker { Some(epoch) } else { None };
            let Some(certificate) = groups.serving_for(&todo.id, env.ctx.now, env.ctx.config) else {
                self.park(env, groups, todo);
                continue;
            };
            let name = certificate.name;
            let key_id = match todo.op.locality_bits {
                0 => todo.id,
                _ => key_id(&todo.op.namespace, &todo.op.key),
            };
            if let Some(busy) = self.busy.get_mut(&key_id) {
                let retried = (busy.author, busy.tag) == (todo.author, todo.tag) && !todo.op.action.reads();
                if retried && busy.told.len() < WAITING_MAX {
                    busy.told.push((todo.job, todo.index));
                } else if busy.waiting.len() < WAITING_MAX {
                    busy.waiting.push(todo);
                } else {
                    self.tell(todo.job, todo.index, Some(Outcome::Refused(Refusal::Overloaded)));
                }
                continue;
            }
            let lately_us = if must_name(&todo.op.action) { LATELY_US } else { 0 };
            if let Some(epoch) = epoch.filter(|_| !todo.op.action.reads())
                && groups.owner_lately(&todo.id, epoch, lately_us, env.ctx.now).is_some()
            {
                self.tell(todo.job, todo.index, None);
                continue;
            }
            let held = env.store.get(&todo.op.namespace, &todo.op.key);
            let known = self.recent.get(&(todo.tag, todo.author)).map(|known| &**known);
            let done = known.is_some() || held.is_some_and(|held| held.wrote(todo.author, todo.tag).is_some());
            // What was done already was judged then.
            let verdict = if todo.op.action.reads() {
                let shown = Reader::Shown(todo.op.proof.as_deref());
                env.keeper.judge_reader(env.ctx, &todo.op.namespace, &shown)
            } else if done {
                Verdict::Allowed
            } else {
                let clock_us = env.store.clock_us();
                env.keeper.judge(env.ctx, (&mut todo.op, todo.author, todo.tag), held, clock_us)
            };
            match verdict {
                Verdict::Allowed => {}
                Verdict::Refused(refusal) => {
                    self.tell(todo.job, todo.index, Some(Outcome::Refused(refusal)));
                    continue;
                }
                Verdict::Later if todo.until_us.is_some_and(|until_us| until_us <= env.ctx.now.mono) => {
                    self.tell(todo.job, todo.index, None);
                    continue;
                }
                Verdict::Later => {
                    self.park(env, groups, todo);
                    continue;
                }
            }
            let room = env.ctx.config.store_bytes_max.saturating_sub(env.store.bytes());
            match decide((&todo.op, todo.author, todo.tag), held, known, env.ctx.now.wall, room, env.ctx.config) {
                Decision::Answer(outcome) => {
                    match &outcome {
                        Outcome::Conflict { .. } if matches!(todo.op.action, Action::Edit { .. }) => {
                            self.remember(todo.author, todo.tag, &Outcome::Conflict { current: None });
                        }
                        _ if todo.op.action.reads() => {}
                        outcome => self.remember(todo.author, todo.tag, outcome),
                    }
                    self.tell(todo.job, todo.index, Some(outcome));
                }
                Decision::Write { value, expiry_us } => {
                    let KeyOp { namespace, key, proof, .. } = todo.op;
                    let above = held.map(|held| held.version);
                    let version = env.store.next_version(env.ctx.now.wall, todo.author, todo.tag, above);
                    let held = above.and_then(|_| env.store.get(&namespace, &key));
                    let record = Record {
                        earlier: held.map_or(Vec::new(), |held| held.earlier(version.wall_us)),
                        namespace: namespace.clone(),
                        key: key.clone(),
                        locality_bits: todo.op.locality_bits,
                        value,
                        version,
                        parent: above,
                        expiry_us,
                        proof,
                    };
                    let bytes = record.bytes();
                    let (keys, batch, sum) = writes.entry(name).or_default();
                    batch.push(env.store.put_uncommitted(todo.id, record));
                    keys.push(key_id);
                    *sum += bytes;
                    let busy = Busy {
                        key: (namespace, key),
                        id: todo.id,
                        author: todo.author,
                        tag: todo.tag,
                        version,
                        told: vec![(todo.job, todo.index)],
                        waiting: Vec::new(),
                    };
                    self.busy.insert(key_id, Box::new(busy));
                    if *sum >= WRITE_BYTES
                        && let Some((keys, batch, _)) = writes.remove(&name)
                    {
                        self.write(env, groups, name, keys, batch);
                    }
                }
            }
        }
        for (name, (keys, batch, _)) in writes {
            self.write(env, groups, name, keys, batch);
        }
    }

    /// Records of another history: written where they are newer than what is held. The donor is thanked when none of
    /// them needs writing any more; until then it comes again.
    pub fn on_donated(&mut self, env: &mut Env, groups: &mut Groups, from: Id, of: Name, to: Name, page: Page) {
        let limit_us = env.ctx.now.wall.saturating_add(env.ctx.config.clock_skew_max_us);
        let oldest = env.ctx.now.wall.saturating_sub(env.ctx.config.tombstone_us);
        let mut keys = Vec::new();
        let mut batch = Batch::new();
        let mut pending = false;
        for record in page.records {
            let (key, id) = ((record.namespace.clone(), record.key.clone()), record.id());
            if !to.region.contains(&id) {
                continue;
            }
            let key_id = key_id(&key.0, &key.1);
            if self.busy.get(&key_id).is_some() {
                pending = true;
                continue;
            }
            let held = env.store.get(&key.0, &key.1);
            if let Some(held) = held.filter(|held| held.conflicts(&record)) {
                let (loser, winner) = if held.version > record.version { (&record, held) } else { (held, &record) };
                if !self.conflicts.keep(env.ctx, loser, Some(winner)) {
                    pending = true;
                    continue;
                }
            }
            if held.is_some_and(|held| held.version >= record.version) {
                continue;
            }
            // Older than any tombstone: nobody knows whether it was removed since.
            if held.is_none() && record.version.wall_us <= oldest {
                pending |= record.visible(env.ctx.now.wall) && !self.conflicts.keep(env.ctx, &record, None);
                continue;
            }
            pending = true;
            let (author, tag, version) = (record.version.author, record.version.counter, record.version);
            env.store.observe(&record.version, limit_us);
            batch.push(env.store.put_uncommitted(id, record));
            let busy = Busy { key, id, author, tag, version, told: Vec::new(), waiting: Vec::new() };
            self.busy.insert(key_id, Box::new(busy));
            keys.push(key_id);
        }
        if !keys.is_empty() {
            self.write(env, groups, to, keys, batch);
        }
        if !pending {
            groups.thank(env, from, of, to, page.until);
        }
    }

    fn write(&mut self, env: &mut Env, groups: &mut Groups, of: Name, keys: Vec<KeyId>, batch: Batch) {
        let serial = env.ctx.serial();
        let write = Write { of, keys, stored: Set::new(), failed: false, sent_us: env.ctx.now.mono };
        self.replicate(env, groups, serial, &write);
        self.writes.insert(serial, write);
        groups.persist(env, batch, Vec::new(), Step::Write(serial));
    }

    /// The records of a write as they are now.
    fn records(&self, env: &Env, write: &Write) -> Vec<Record> {
        let keys = write.keys.iter().filter_map(|key| self.busy.get(key)).map(|busy| &busy.key);
        keys.filter_map(|(namespace, key)| env.store.get(namespace, key)).cloned().collect()
    }

    fn replicate(&self, env: &mut Env, groups: &Groups, serial: u64, write: &Write) {
        let Some(fragment) = groups.fragment(&write.of) else {
            return;
        };
        let me = env.ctx.me;
        let members = fragment.certificate().members.iter();
        let late: Vec<Id> = members.filter(|id| **id != me && !write.stored.contains(id)).copied().collect();
        if late.is_empty() {
            return;
        }
        let records = self.records(env, write);
        for to in late {
            env.ctx.send(to, Message::Replicate { of: write.of, serial, records: records.clone() });
        }
    }

    fn park(&mut self, env: &mut Env, groups: &Groups, mut todo: Todo) {
        let waits = self.jobs.contains_key(&todo.job) && groups.owner_soon(&todo.id);
        if waits && self.parked.len() < env.ctx.config.owner_ops_max {
            let until_us = *todo.until_us.get_or_insert(env.ctx.now.mono.saturating_add(PARKED_US));
            self.parked.push((todo, until_us));
        } else {
            self.tell(todo.job, todo.index, None);
        }
    }

    /// An operation is over; `None`: it had no effect here, or nobody knows.
    fn tell(&mut self, job: u64, index: usize, outcome: Option<Outcome>) {
        let Some(entry) = self.jobs.get_mut(&job) else {
            return;
        };
        if outcome.is_none() && !matches!(entry.asker, Asker::Ticket(_)) {
            if let Some(job) = self.jobs.remove(&job) {
                self.pending = self.pending.saturating_sub(job.missing);
                self.answers.push_back((job.asker, Answer::Elsewhere(job.id)));
            }
            return;
        }
        if let Some(slot) = entry.outcomes.get_mut(index)
            && slot.is_none()
        {
            *slot = Some(outcome.unwrap_or(Outcome::Unreachable));
            entry.missing -= 1;
            self.pending = self.pending.saturating_sub(1);
        }
        self.finish(job);
    }

    /// What a request was answered is what its other copies are answered.
    fn remember(&mut self, author: Id, tag: u64, outcome: &Outcome) {
        if self.recent.insert((tag, author), Box::new(outcome.clone())).is_some() {
            return;
        }
        self.recent_order.push_back((tag, author));
        self.recent_bytes += told_bytes(outcome);
        while (self.recent_order.len() > RECENT_MAX || self.recent_bytes > RECENT_BYTES)
            && let Some(oldest) = self.recent_order.pop_front()
        {
            let bytes = self.recent.remove(&oldest).map_or(0, |told| told_bytes(&told));
            self.recent_bytes = self.recent_bytes.saturating_sub(bytes);
        }
    }

    fn finish(&mut self, job: u64) {
        if self.jobs.get(&job).is_some_and(|job| job.missing == 0)
            && let Some(job) = self.jobs.remove(&job)
        {
            self.answers.push_back((job.asker, Answer::Done(job.outcomes.into_iter().flatten().collect(), job.id)));
        }
    }

    /// This node's disk has a write, or refused it.
    pub fn on_written(&mut self, env: &mut Env, groups: &mut Groups, serial: u64, done: bool) {
        let me = env.ctx.me;
        if done {
            self.on_stored(env, groups, serial, me);
            return;
        }
        env.ctx.count("dht.disk_failed");
        let Some(write) = self.writes.get_mut(&serial) else {
            return;
        };
        write.failed = true;
        let alone = groups.fragment(&write.of).is_some_and(|fragment| fragment.certificate().members.len() == 1);
        if alone && let Some(write) = self.writes.remove(&serial) {
            let mut waiting = Vec::new();
            for busy in write.keys.iter().filter_map(|key| self.busy.remove(key)).collect::<Vec<_>>() {
                let (namespace, key) = &busy.key;
                match env.store.commit(namespace, key).flatten() {
                    Some(prior) => drop(env.store.put(prior)),
                    None => drop(env.store.remove(namespace, key)),
                }
                for (job, index) in busy.told {
                    self.tell(job, index, Some(Outcome::Refused(Refusal::DiskFailed)));
                }
                waiting.extend(busy.waiting);
            }
            self.run(env, groups, waiting);
        }
    }

    /// A member has a write on its disk.
    pub fn on_stored(&mut self, env: &mut Env, groups: &mut Groups, serial: u64, by: Id) {
        let Some(write) = self.writes.get_mut(&serial) else {
            return;
        };
        let Some(certificate) = groups.fragment(&write.of).map(|fragment| fragment.certificate()) else {
            return;
        };
        if !certificate.has(&by) {
            return;
        }
        write.stored.insert(by);
        if write.stored.len() >= certificate.majority()
            && let Some(write) = self.writes.remove(&serial)
        {
            let mut waiting = Vec::new();
            for key in write.keys {
                waiting.extend(self.settle(env, &key, true));
            }
            self.run(env, groups, waiting);
        }
    }

    /// A key's write is acknowledged, or nobody here will ever know. Gives what waited for it.
    fn settle(&mut self, env: &mut Env, key: &KeyId, stored: bool) -> Vec<Todo> {
        self.limbo.remove(key);
        let Some(busy) = self.busy.remove(key) else {
            return Vec::new();
        };
        let (namespace, key) = &busy.key;
        let prior = env.store.commit(namespace, key);
        if stored {
            self.remember(busy.author, busy.tag, &Outcome::Stored { version: busy.version });
            if self.subscribed.contains(namespace)
                && let Some(record) = env.store.get(namespace, key).filter(|held| held.version == busy.version)
            {
                env.ctx.output(Output::NewData(record.clone()));
            }
            if self.watched.contains(namespace)
                && let Some(record) = env.store.get(namespace, key)
            {
                self.committed.push_back((Box::new(record.clone()), prior.map(|prior| prior.map(Box::new))));
            }
        }
        for (job, index) in busy.told {
            self.tell(job, index, stored.then_some(Outcome::Stored { version: busy.version }));
        }
        busy.waiting
    }

    /// A fragment's next epoch is decided: its writes under way end with the activation of the next one if this
    /// node goes on owning the key, else nobody here knows what becomes of them.
    pub fn on_retired(&mut self, env: &mut Env, groups: &mut Groups, name: &Name) {
        let over: Vec<u64> =
            self.writes.iter().filter(|(_, write)| write.of == *name).map(|(serial, _)| *serial).collect();
        for serial in over {
            if let Some(write) = self.writes.remove(&serial) {
                self.limbo.extend(write.keys);
            }
        }
        let lost: Vec<KeyId> = self
            .limbo
            .iter()
            .filter(|&key| self.busy.get(key).is_none_or(|busy| !groups.owner_soon(&busy.id)))
            .copied()
            .collect();
        let mut waiting = Vec::new();
        for key in lost {
            waiting.extend(self.settle(env, &key, false));
        }
        self.run(env, groups, waiting);
    }

    /// A fragment is active: what its members hold is acknowledged, and waiting operations run.
    pub fn on_activated(&mut self, env: &mut Env, groups: &mut Groups, name: &Name) {
        let inside: Vec<(KeyId, bool)> = self
            .limbo
            .iter()
            .filter_map(|key| Some((key, self.busy.get(key)?)))
            .filter(|(_, busy)| name.region.contains(&busy.id))
            .map(|(key, busy)| {
                let held = env.store.get(&busy.key.0, &busy.key.1);
                (*key, held.is_some_and(|held| held.version == busy.version))
            })
            .collect();
        let mut todos = Vec::new();
        for (key, held) in inside {
            todos.extend(self.settle(env, &key, held));
        }
        self.run(env, groups, todos);
        self.unpark(env, groups, true);
    }

    /// Rights were read: what waits for them runs.
    pub fn judge_again(&mut self, env: &mut Env, groups: &mut Groups) {
        self.unpark(env, groups, true);
    }

    fn unpark(&mut self, env: &mut Env, groups: &mut Groups, all: bool) {
        let now = env.ctx.now.mono;
        let (due, parked): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.parked).into_iter().partition(|(_, until)| all || *until <= now);
        self.parked = parked;
        let mut todos = Vec::new();
        for (todo, until) in due {
            if groups.serving_for(&todo.id, env.ctx.now, env.ctx.config).is_some() {
                todos.push(todo);
            } else if until <= now || !groups.owner_soon(&todo.id) {
                self.tell(todo.job, todo.index, None);
            } else {
                self.parked.push((todo, until));
            }
        }
        self.run(env, groups, todos);
    }

    /// Sends again what is not on a majority, forgets what has lapsed.
    pub fn tick(&mut self, env: &mut Env, groups: &mut Groups) {
        let now = env.ctx.now.mono;
        let late: Vec<u64> = self
            .writes
            .iter()
            .filter(|(_, write)| now.saturating_sub(write.sent_us) >= RESEND_US)
            .map(|(serial, _)| *serial)
            .collect();
        for serial in late {
            let Some(mut write) = self.writes.remove(&serial) else {
                continue;
            };
            write.sent_us = now;
            self.replicate(env, groups, serial, &write);
            if std::mem::take(&mut write.failed) {
                let records: Vec<Record> = self.records(env, &write);
                let batch = records.into_iter().map(|record| env.store.put(record)).collect();
                groups.persist(env, batch, Vec::new(), Step::Write(serial));
            }
            self.writes.insert(serial, write);
        }
        self.unpark(env, groups, !self.parked.is_empty());
        groups.purge(env, |(namespace, key)| self.busy.get(&key_id(namespace, key)).is_none());
        self.keep_aside(env, groups);
    }

    /// Losers that were set aside are stored where they are looked for, then dropped here. What turns out to have come
    /// before what is held lost nothing.
    fn keep_aside(&mut self, env: &mut Env, groups: &mut Groups) {
        let aside: Vec<Record> = env.store.aside().take(ASIDE_AT_ONCE).cloned().collect();
        let mut kept = Batch::new();
        for loser in aside.iter().filter(|loser| !groups.merging(&loser.id())) {
            let held = env.store.get(&loser.namespace, &loser.key);
            if held.is_some_and(|held| held.descends(&loser.version)) || self.conflicts.keep(env.ctx, loser, held) {
                kept.extend(env.store.kept_elsewhere(loser));
            }
        }
        if !kept.is_empty() {
            groups.persist(env, kept, Vec::new(), Step::None);
        }
    }
}

/// Whether doing it after it has been answered otherwise would be seen. A version never comes back.
fn must_name(action: &Action) -> bool {
    let conditional = |expect: &Expect| matches!(expect, Expect::Version(_));
    match action {
        // Done twice, a hint meets what it wrote.
        Action::Get | Action::GetStale | Action::GetVerified | Action::Prove | Action::PutHinted { .. } => false,
        Action::Put { expect, .. } | Action::Remove { expect } => !conditional(expect),
        Action::Renew { .. } | Action::Edit { .. } => true,
    }
}

fn told_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Conflict { current: Some((value, _)) } => value.len(),
        _ => 0,
    }
}

fn key_id(namespace: &str, key: &[u8]) -> KeyId {
    Id::object(namespace, key, 0)
}
