//! Parts of queries over private tables: done for who may read, once that is known.

use super::{Node, NodeGround, ctx, ground};
use crate::{
    ctx::Ctx,
    error::Error,
    id::{Id, Region},
    live::Request,
    spread::{Report, Work},
    trust::{Reader, Verdict},
};

/// Rights are waited for so long.
pub(super) const RIGHTS_US: u64 = 2_000_000;
/// Leaves that wait for rights.
const WAITING_MAX: usize = 256;

/// Work of a task over regions that this node owns: see [`crate::spread::Event::Leaf`].
pub(super) struct Leaf {
    pub job: u64,
    pub asker: Id,
    pub regions: Vec<Region>,
    pub work: Work,
    /// If it waits for rights, not longer.
    pub until_us: u64,
}

/// Leaves that wait until the rights of a realm are read.
pub(super) type Waiting = Vec<Leaf>;

impl Node {
    /// A leaf that is to be done now; `None`: it waits, or was answered with a fault.
    pub(super) fn judged(&mut self, leaf: Leaf) -> Option<Leaf> {
        let (Work::Query { reader, .. } | Work::Watch(Request { reader, .. })) = &leaf.work else { return Some(leaf) };
        let reader = Reader::Shown(reader.as_deref());
        let verdict = match self.spread.plan(leaf.job) {
            Some(plan) => self.dht.judge_reader(&mut ctx!(self), &self.overlay, plan.namespace(), &reader),
            None => Verdict::Allowed,
        };
        let error = match verdict {
            Verdict::Allowed => return Some(leaf),
            Verdict::Refused(refusal) => refusal.into(),
            Verdict::Later if leaf.until_us <= self.now.mono => Error::Unreachable,
            Verdict::Later if self.waiting.len() >= WAITING_MAX => {
                Error::Overloaded { limit: "waiting_max", max: WAITING_MAX }
            }
            Verdict::Later => {
                self.waiting.push(leaf);
                return None;
            }
        };
        let report = Report { fault: Some((&error).into()), ..Report::default() };
        self.spread.leaf_done(&mut ctx!(self), &ground!(self), leaf.job, report);
        None
    }

    /// Rights were read, or could not be; or time has passed.
    pub(super) fn judge_leaves(&mut self) {
        for leaf in core::mem::take(&mut self.waiting) {
            self.leaf(leaf);
        }
    }
}
