//! What loses when histories that forked meet again is kept, not dropped: two successors of one parent are a true
//! conflict, the newer one is the key's record, and the older one becomes a record of a namespace of its own, at the
//! owner of *that* key, for a while. The donor is thanked only when it is there.

use crate::{
    ctx::Ctx,
    map::{Map, Set},
    store::{Action, Expect, KeyOp, Outcome, Record, conflict_name},
};

/// Where losers are kept. A key is namespace, key and version of the loser, a value the loser and, where that is known, the
/// version of what won, both as `postcard`.
pub use crate::store::CONFLICTS;

/// Losers that are being stored at once.
const KEEPING_MAX: usize = 64;
/// Losers that are remembered to be stored.
const KEPT_MAX: usize = 4_096;

/// See the module.
#[derive(Default)]
pub struct Conflicts {
    keeping: Map<u64, Vec<u8>>,
    kept: Set<Vec<u8>>,
    order: Vec<Vec<u8>>,
    due: Vec<(u64, KeyOp)>,
}

impl Conflicts {
    /// Whether a loser is kept; if not, it is to be, and this is to be asked again later.
    pub fn keep(&mut self, ctx: &mut Ctx, loser: &Record, winner: Option<&Record>) -> bool {
        let key = conflict_name(loser);
        if self.kept.contains(&key) {
            return true;
        }
        if self.keeping.len() >= KEEPING_MAX || self.keeping.values().any(|keeping| *keeping == key) {
            return false;
        }
        let winner = winner.map(|winner| winner.version);
        let mut value = postcard::to_allocvec(&(loser, winner)).unwrap_or_default();
        if value.len() > ctx.config.value_bytes_max {
            // That there was something is told at least.
            let told = Record { value: None, ..loser.clone() };
            value = postcard::to_allocvec(&(&told, winner)).unwrap_or_default();
        }
        ctx.count("store.conflicts");
        let ticket = ctx.serial();
        let ttl_us = Some(ctx.config.conflict_us);
        let action = Action::Put { value, expect: Expect::Any, ttl_us };
        let locality_bits = ctx.config.locality_bits;
        self.due.push((
            ticket,
            KeyOp { namespace: CONFLICTS.to_owned(), locality_bits, key: key.clone(), action, proof: None },
        ));
        self.keeping.insert(ticket, key);
        false
    }

    /// The next operation to be carried out, with its ticket.
    pub fn poll(&mut self) -> Option<(u64, KeyOp)> {
        self.due.pop()
    }

    /// Whether a ticket is one of these; then its operation is over. What is refused for good is not tried again.
    pub fn done(&mut self, ctx: &mut Ctx, ticket: u64, outcome: Option<&Outcome>) -> bool {
        let Some(key) = self.keeping.remove(&ticket) else {
            return false;
        };
        match outcome {
            None | Some(Outcome::Unreachable) => return true,
            Some(Outcome::Refused(_)) => ctx.count("store.conflict_refused"),
            Some(_) => {}
        }
        self.kept.insert(key.clone());
        self.order.push(key);
        if self.order.len() > KEPT_MAX {
            let oldest = self.order.remove(0);
            self.kept.remove(&oldest);
        }
        true
    }
}
