//! The asker's side of one operation on one key: sent to the owner, again and again until it answers or time is up.
//!
//! An owner since lately does only what names its epoch. From then on answers of earlier owners count no more: this one
//! may decide otherwise.
//!
//! A read that is late, by what reads took so far, is *hedged* (Dean and Barroso, *The tail at scale*, CACM 2013): a
//! neighbour reads beside, and the first answer counts. That helps where a hop is slow or a channel stands still.

use chacha20::rand_core::Rng as _;

use super::message::{Message, Timer};
use crate::{
    config::Config,
    ctx::Now,
    group::{Env, Groups},
    id::{Id, nearest},
    map::Map,
    store::{Action, KeyOp},
    trust,
};

/// The first wait for an answer; doubles with every attempt.
const RETRY_US: u64 = 300_000;
/// The longest wait for an answer.
const RETRY_MAX_US: u64 = 1_200_000;

/// Reads for others under way.
const READING_MAX: usize = 256;

struct Request {
    ticket: u64,
    op: KeyOp,
    id: Id,
    deadline_us: u64,
    attempts: u32,
    /// How many answered in this attempt that they are not the owner.
    elsewhere: u32,
    /// This node's own owner side is at it.
    local: bool,
    /// The latest epoch that was named.
    named: u64,
    /// When it was opened.
    since_us: u64,
}

/// How long reads take: a smoothed mean and deviation (Jacobson, SIGCOMM 1988).
#[derive(Default)]
struct Took {
    mean_us: u64,
    deviation_us: u64,
}

impl Took {
    fn sample(&mut self, us: u64) {
        if self.mean_us == 0 {
            (self.mean_us, self.deviation_us) = (us, us / 2);
        } else {
            self.deviation_us = (3 * self.deviation_us + self.mean_us.abs_diff(us)) / 4;
            self.mean_us = (7 * self.mean_us + us) / 8;
        }
    }

    /// When a read is late.
    fn late_us(&self, config: &Config) -> u64 {
        let guess = if self.mean_us == 0 { config.rtt_initial_us } else { self.mean_us + 4 * self.deviation_us };
        guess.clamp(config.rto_min_us, RETRY_US)
    }
}

/// Requests under way.
#[derive(Default)]
pub struct Client {
    requests: Map<u64, Request>,
    took: Took,
    /// Reads for others, by ticket: for whom, and their name of the request.
    reading: Map<u64, (Id, u64)>,
}

/// What to do for a request now.
pub enum Next {
    /// This node owns the key: hand it to the owner's side.
    Local(u64, KeyOp),
    /// Wait.
    Wait,
    /// Time is up.
    Over(u64),
}

impl Client {
    /// Takes in an operation; gives the name of its request.
    pub fn open(&mut self, env: &mut Env, ticket: u64, op: KeyOp, deadline_us: u64) -> u64 {
        let request = env.ctx.rng.next_u64();
        let mut ops = [(0, op)];
        trust::sign(env.ctx, request, &mut ops);
        let [(_, op)] = ops;
        let id = op.id();
        let since_us = env.ctx.now.mono;
        let entry =
            Request { ticket, op, id, deadline_us, attempts: 0, elsewhere: 0, local: false, named: 0, since_us };
        self.requests.insert(request, entry);
        request
    }

    /// Another attempt, if the request is still open.
    pub fn attempt(&mut self, env: &mut Env, groups: &Groups, request: u64) -> Next {
        let Some(entry) = self.requests.get_mut(&request) else {
            return Next::Wait;
        };
        let now = env.ctx.now.mono;
        if now >= entry.deadline_us {
            let ticket = entry.ticket;
            self.requests.remove(&request);
            return Next::Over(ticket);
        }
        let wait = (RETRY_US << entry.attempts.min(4)).min(RETRY_MAX_US).min(entry.deadline_us - now);
        env.ctx.timer(wait, crate::node::Timer::Dht(Timer::Retry(request)));
        if entry.local {
            return Next::Wait;
        }
        entry.attempts += 1;
        entry.elsewhere = 0;
        if groups.serving_for(&entry.id, env.ctx.now, env.ctx.config).is_some() || groups.owner_soon(&entry.id) {
            entry.local = true;
            return Next::Local(request, entry.op.clone());
        }
        if entry.attempts > 1 {
            env.ctx.count("dht.retried");
        } else if entry.op.action.reads() && !self.reading.contains_key(&entry.ticket) {
            let late_us = self.took.late_us(env.ctx.config);
            env.ctx.timer(late_us, crate::node::Timer::Dht(Timer::Hedge(request)));
        }
        // The certificate knows better than routing for a while after a change. It is old when somebody nearer to the
        // key than its owner is linked.
        let id = entry.id;
        let hint = groups.owner_hint(&id);
        let known = hint.map(|(owner, _)| owner).filter(|owner| {
            let nearer = |peer: &Id| peer.distance(&id) < owner.distance(&id);
            *owner != env.ctx.me && env.view.alive(owner) && !env.view.peers().iter().any(nearer)
        });
        let known = if entry.op.action == Action::GetStale { groups.holder_hint(env, &id) } else { known };
        let epoch = hint.map_or(entry.named, |(_, epoch)| epoch);
        entry.named = epoch;
        let message = Message::Request { request, op: entry.op.clone(), epoch };
        match known {
            Some(holder) if entry.attempts % 2 == 1 => env.ctx.send(holder, message),
            _ => env.ctx.route(entry.id, message),
        }
        Next::Wait
    }

    /// A read is late: a neighbour that is near to the key, and not where the request went, is asked to read beside.
    pub fn hedge(&mut self, env: &mut Env, groups: &Groups, request: u64) {
        let Some(entry) = self.requests.get(&request).filter(|entry| !entry.local) else {
            return;
        };
        let owner = groups.owner_hint(&entry.id).map(|(owner, _)| owner);
        let alive: Vec<Id> = env.view.peers().into_iter().filter(|peer| env.view.alive(peer)).collect();
        // To the owner, or by the nearest: those are the ways that it may have gone.
        if let Some(other) = nearest(&alive, &entry.id, 3).into_iter().skip(1).find(|peer| Some(*peer) != owner) {
            env.ctx.count("dht.hedged");
            env.ctx.send(other, Message::ReadFor { request, op: entry.op.clone() });
        }
    }

    /// Notes that an operation with this ticket is a read for another peer; false: there are too many.
    pub fn read_for(&mut self, ticket: u64, asker: Id, request: u64) -> bool {
        let room = self.reading.len() < READING_MAX;
        if room {
            self.reading.insert(ticket, (asker, request));
        }
        room
    }

    /// For whom an operation that is over was, if for another peer, and its name there.
    pub fn was_for(&mut self, ticket: u64) -> Option<(Id, u64)> {
        self.reading.remove(&ticket)
    }

    /// A peer's answer came, of this epoch: gives the ticket, once, if it is the last word.
    pub fn answered(&mut self, now: Now, request: u64, epoch: u64) -> Option<u64> {
        let entry = self.requests.get(&request)?;
        let reads = entry.op.action.reads();
        if reads {
            self.took.sample(now.mono.saturating_sub(entry.since_us));
        }
        if !reads && (entry.local || epoch < entry.named) {
            return None;
        }
        self.close(request)
    }

    /// This node's own answer: gives the ticket.
    pub fn close(&mut self, request: u64) -> Option<u64> {
        self.requests.remove(&request).map(|entry| entry.ticket)
    }

    /// Somebody is not the owner and may name another, or is and wants to be asked in this epoch: who is named is asked at
    /// once, whoever is nearest after a second wrong answer; then the next attempt is waited for.
    pub fn elsewhere(&mut self, env: &mut Env, request: u64, hint: Option<Id>, epoch: Option<u64>) {
        let Some(entry) = self.requests.get_mut(&request) else {
            return;
        };
        entry.local = false;
        entry.named = epoch.unwrap_or(entry.named);
        entry.elsewhere += u32::from(epoch.is_none());
        let message = Message::Request { request, op: entry.op.clone(), epoch: entry.named };
        match (entry.elsewhere, hint) {
            (_, Some(owner)) if owner != env.ctx.me && (epoch.is_some() || entry.elsewhere == 1) => {
                env.ctx.send(owner, message);
            }
            (2, _) if epoch.is_none() => env.ctx.route(entry.id, message),
            _ => {}
        }
    }
}
