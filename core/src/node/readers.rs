//! Parts of queries over private tables: done for who may read.

use super::{Node, NodeGround, ctx, ground};
use crate::{
    ctx::Ctx,
    error::Error,
    id::Region,
    live::Request,
    spread::{Report, Work},
    trust::{Reader, Realm, Verdict},
};

impl Node {
    /// Whether a leaf of a task may be done; else it is answered. While the rights are being read its regions are missing, for
    /// which the asker asks again: nothing is done later that was answered for by then.
    pub(super) fn may_do(&mut self, job: u64, regions: &[Region], work: &Work) -> bool {
        let (Work::Query { reader, .. } | Work::Watch(Request { reader, .. })) = work else { return true };
        // Nobody waits any more for a job that is gone.
        let Some(plan) = self.spread.plan(job) else { return false };
        let reader = Reader::Shown(reader.as_deref());
        match self.dht.judge_reader(&mut ctx!(self), &self.overlay, plan.namespace(), &reader) {
            Verdict::Allowed => return true,
            Verdict::Refused(refusal) => {
                let report = Report { fault: Some((&Error::from(refusal)).into()), ..Report::default() };
                self.spread.leaf_done(&mut ctx!(self), &ground!(self), job, report);
            }
            Verdict::Later => self.spread.leaf_missed(&mut ctx!(self), &ground!(self), job, regions),
        }
        false
    }

    /// Ends what stands here for who may not read it any more.
    pub(super) fn retain_readers(&mut self, namespace: &str) {
        if Realm::private(namespace).is_none() {
            return;
        }
        let (ctx, dht) = (&mut ctx!(self), &mut self.dht);
        self.standing.retain(namespace, |user| dht.may_read(ctx, &self.overlay, namespace, user));
    }
}
