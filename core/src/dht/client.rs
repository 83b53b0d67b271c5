//! The asker's side of one operation on one key: sent to the owner, again and again until it answers or time is up.
//!
//! An owner since lately does only what names its epoch. From then on answers of earlier owners count no more: this one
//! may decide otherwise.

use chacha20::rand_core::Rng as _;

use super::message::{Message, Timer};
use crate::{
    group::{Env, Groups},
    id::Id,
    map::Map,
    store::{Action, KeyOp},
};

/// The first wait for an answer; doubles with every attempt.
const RETRY_US: u64 = 300_000;
/// The longest wait for an answer.
const RETRY_MAX_US: u64 = 1_200_000;

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
}

/// Requests under way.
#[derive(Default)]
pub struct Client {
    requests: Map<u64, Request>,
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
        let id = op.id();
        let entry = Request { ticket, op, id, deadline_us, attempts: 0, elsewhere: 0, local: false, named: 0 };
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
        }
        // The certificate knows better than routing for a while after a change. It is old when somebody nearer to the
        // key than its owner is linked.
        let id = entry.id;
        let hint = groups.owner_hint(&id);
        let known = hint.filter(|(owner, _)| {
            let nearer = |peer: &Id| peer.distance(&id) < owner.distance(&id);
            *owner != env.ctx.me && env.view.alive(owner) && !env.view.peers().iter().any(nearer)
        });
        let epoch = hint.map_or(entry.named, |(_, epoch)| epoch);
        entry.named = epoch;
        let message = Message::Request { request, op: entry.op.clone(), epoch };
        match known {
            Some((owner, _)) if entry.attempts % 2 == 1 => env.ctx.send(owner, message),
            _ => env.ctx.route(entry.id, message),
        }
        Next::Wait
    }

    /// A peer's answer came, of this epoch: gives the ticket, once, if it is the last word.
    pub fn answered(&mut self, request: u64, epoch: u64) -> Option<u64> {
        let last = |entry: &Request| !entry.local && (epoch >= entry.named || entry.op.action == Action::Get);
        self.requests.get(&request).filter(|entry| last(entry))?;
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
