//! Parts of queries over private tables: done for who may read, once that is known, where this node owns them still.

use super::{Node, NodeGround, ctx, ground};
use crate::{
    ctx::Ctx,
    error::Error,
    id::{Id, Region},
    live::Request,
    spread::{Report, Work},
    trust::{Reader, Realm, Verdict},
};

/// Rights are waited for so long.
pub(super) const RIGHTS_US: u64 = 2_000_000;
/// Leaves that wait for rights, and those of one asker.
const WAITING_MAX: usize = 256;
const ASKER_WAITING_MAX: usize = 16;

/// Work of a task over regions that this node owns: see [`crate::spread::Event::Leaf`].
pub(super) struct Leaf {
    pub job: u64,
    pub asker: Id,
    pub regions: Vec<Region>,
    pub work: Work,
    /// If it waits for rights, not longer; whether it has waited.
    pub until_us: u64,
    pub waited: bool,
}

/// Leaves that wait until the rights of a realm are read.
pub(super) type Waiting = Vec<Leaf>;

impl Node {
    /// A leaf that is to be done now; `None`: it waits, or is answered. What may not be read for want of rights, or is another
    /// peer's by now, is missing: the asker asks again.
    pub(super) fn judged(&mut self, leaf: Leaf) -> Option<Leaf> {
        let (Work::Query { reader, .. } | Work::Watch(Request { reader, .. })) = &leaf.work else { return Some(leaf) };
        // Nobody waits any more for a job that is gone.
        let namespace = self.spread.plan(leaf.job)?.namespace();
        let reader = Reader::Shown(reader.as_deref());
        match self.dht.judge_reader(&mut ctx!(self), &self.overlay, namespace, &reader) {
            Verdict::Allowed if !leaf.waited || self.owns(&leaf.regions) => return Some(leaf),
            Verdict::Refused(refusal) => {
                let report = Report { fault: Some((&Error::from(refusal)).into()), ..Report::default() };
                self.spread.leaf_done(&mut ctx!(self), &ground!(self), leaf.job, report);
                return None;
            }
            Verdict::Later if leaf.until_us > self.now.mono && self.room_for(&leaf.asker) => {
                self.waiting.push(Leaf { waited: true, ..leaf });
                return None;
            }
            Verdict::Allowed | Verdict::Later => {}
        }
        self.spread.leaf_missed(&mut ctx!(self), &ground!(self), leaf.job, &leaf.regions);
        None
    }

    fn room_for(&self, asker: &Id) -> bool {
        let own = self.waiting.iter().filter(|leaf| leaf.asker == *asker).count();
        self.waiting.len() < WAITING_MAX && own < ASKER_WAITING_MAX
    }

    fn owns(&self, regions: &[Region]) -> bool {
        let owned: Vec<Region> = self.dht.owned(self.now).into_iter().map(|(region, ..)| region).collect();
        regions.iter().all(|region| region.subtract_all(&owned).is_empty())
    }

    /// Ends what stands here for who may not read it any more.
    pub(super) fn retain_readers(&mut self, namespace: &str) {
        if Realm::private(namespace).is_none() {
            return;
        }
        let (ctx, dht) = (&mut ctx!(self), &mut self.dht);
        self.standing.retain(namespace, |user| dht.may_read(ctx, &self.overlay, namespace, user));
    }

    /// Rights were read, or could not be; or time has passed.
    pub(super) fn judge_leaves(&mut self) {
        for leaf in core::mem::take(&mut self.waiting) {
            self.leaf(leaf);
        }
    }
}
