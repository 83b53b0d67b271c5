//! Plain puts that reach nobody who may vouch for their key, if their caller lets them be *hinted* (DeCandia et al.,
//! *Dynamo*, SOSP 2007): the asker keeps them on its disk, says so, and forwards them until an owner answers.
//!
//! A hint says when it was given, and an owner writes it only where the key was not written since. So of several copies
//! one takes effect, and none undoes what came later, as far as wall clocks agree. It is outside of the promise for
//! reads and writes until then. One hint is kept for a key, the latest.

use crate::{
    ctx::Ctx,
    map::Map,
    node::Output,
    store::{Action, Expect, KeyOp, Outcome, disk},
};

/// Hints kept.
const HINTS_MAX: usize = 256;
/// Bytes of their values.
const HINTS_BYTES: usize = 8 << 20;
/// Hints that are forwarded at once.
const FORWARDING_MAX: usize = 8;
/// Between two rounds of forwarding.
const FORWARD_US: u64 = 2_000_000;

type Key = (String, Vec<u8>);

/// See the module.
#[derive(Default)]
pub struct Hints {
    /// Puts under way that may be hinted, by ticket.
    open: Map<u64, KeyOp>,
    /// Hints on their way to the disk, by token, with their tickets.
    saving: Map<u64, (u64, KeyOp)>,
    kept: Map<Key, KeyOp>,
    /// Hints that are being forwarded, by ticket.
    forwarding: Map<u64, KeyOp>,
    next_us: u64,
}

impl Hints {
    /// Takes in what the disk holds.
    pub fn restore(&mut self, op: KeyOp) {
        self.kept.insert(key(&op), op);
    }

    /// An operation of the application begins: one that may be hinted is tried as a plain put.
    pub fn begin(&mut self, ticket: u64, op: KeyOp, wall_us: u64) -> KeyOp {
        let Action::PutHinted { value, ttl_us, .. } = &op.action else {
            return op;
        };
        let plain = Action::Put { value: value.clone(), expect: Expect::Any, ttl_us: *ttl_us };
        let hint = Action::PutHinted { value: value.clone(), ttl_us: *ttl_us, at_us: wall_us };
        self.open.insert(ticket, KeyOp { action: hint, ..op.clone() });
        KeyOp { action: plain, ..op }
    }

    /// An operation is over. Gives what its caller is to be told now; `None`: nobody, or not before the disk has answered.
    pub fn over(&mut self, ctx: &mut Ctx, ticket: u64, outcome: Outcome) -> Option<Outcome> {
        if let Some(op) = self.forwarding.remove(&ticket) {
            let settled = outcome != Outcome::Unreachable;
            if settled && self.kept.get(&key(&op)) == Some(&op) {
                self.kept.remove(&key(&op));
                let token = ctx.serial();
                ctx.output(Output::Persist { token, batch: vec![(disk_key(&op), None)] });
            }
            return None;
        }
        let hint = self.open.remove(&ticket).filter(|_| outcome == Outcome::Unreachable);
        let bytes: usize = self.kept.values().chain(self.saving.values().map(|(_, op)| op)).map(bytes).sum();
        let Some(op) = hint.filter(|op| self.kept.len() < HINTS_MAX && bytes + self::bytes(op) <= HINTS_BYTES) else {
            return Some(outcome);
        };
        let token = ctx.serial();
        let name = disk_key(&op);
        let value = disk::seal(&name, &op);
        ctx.output(Output::Persist { token, batch: vec![(name, Some(value))] });
        self.saving.insert(token, (ticket, op));
        None
    }

    /// The disk answered: gives whom to tell what, if this was a hint.
    pub fn on_persisted(&mut self, ctx: &mut Ctx, token: u64, done: bool) -> Option<(u64, Outcome)> {
        let (ticket, op) = self.saving.remove(&token)?;
        if !done {
            return Some((ticket, Outcome::Unreachable));
        }
        ctx.count("dht.hinted");
        self.kept.insert(key(&op), op);
        Some((ticket, Outcome::Hinted))
    }

    /// The hints that are to be forwarded now, with their tickets.
    pub fn due(&mut self, ctx: &mut Ctx) -> Vec<(u64, KeyOp)> {
        if self.kept.is_empty() || ctx.now.mono < self.next_us {
            return Vec::new();
        }
        self.next_us = ctx.now.mono.saturating_add(FORWARD_US);
        let room = FORWARDING_MAX.saturating_sub(self.forwarding.len());
        let waiting = self.kept.values().filter(|op| !self.forwarding.values().any(|other| key(other) == key(op)));
        let due: Vec<KeyOp> = waiting.take(room).cloned().collect();
        let due: Vec<(u64, KeyOp)> = due.into_iter().map(|op| (ctx.serial(), op)).collect();
        self.forwarding.extend(due.iter().cloned());
        due
    }
}

fn key(op: &KeyOp) -> Key {
    (op.namespace.clone(), op.key.clone())
}

fn disk_key(op: &KeyOp) -> Vec<u8> {
    disk::hint_key(&op.namespace, &op.key)
}

fn bytes(op: &KeyOp) -> usize {
    match &op.action {
        Action::PutHinted { value, .. } => value.len() + op.key.len(),
        _ => 0,
    }
}
