//! Tasks under way: how far they have come, and their early end.
//!
//! Who still works for a part that nobody waits for is told so, down the tree: the task was cancelled, it failed
//! elsewhere, its time is over, or the part was given up. So a peer's job ends one message after its parent's. Only the
//! parent of a part may say it.

use super::{Branch, Event, Job, Message, PATIENCE_US, Parent, Spread, To, Work, send_missing};
use crate::{
    ctx::Ctx,
    exec::FragmentPlan,
    id::{Id, Region},
    wire::Contact,
};

impl Parent {
    /// Whether this is a peer's part of that name.
    fn is(&self, peer: &Id, name: u64) -> bool {
        matches!(self, Parent::Peer { contact, branch } if contact.id == *peer && *branch == name)
    }
}

impl Branch {
    /// Something came of it.
    pub(super) fn heard(&mut self, now: u64) {
        (self.until_us, self.doubted) = (now + PATIENCE_US, false);
    }

    /// Tells who works on it that nobody waits.
    pub(super) fn cancel(&self, ctx: &mut Ctx<'_>, name: u64) {
        self.to.send(ctx, Message::Cancel { branch: name });
    }
}

impl To {
    pub(super) fn send(self, ctx: &mut Ctx<'_>, message: Message) {
        match self {
            To::Peer(peer) => ctx.send(peer, message),
            To::Key(key) => ctx.route(key, message),
        }
    }
}

impl Spread {
    /// Tells how far a query that this node started has come.
    pub(super) fn progress(&mut self, id: u64) {
        if let Some(Job { parent: Parent::Here { ticket }, work: Work::Query { .. }, plan, report, told, .. }) =
            self.jobs.get_mut(&id)
        {
            let (ticket, covered, batch) = (*ticket, report.covered, &report.partial.batch);
            let wanted = plan.as_ref().is_some_and(FragmentPlan::finds_rows);
            let early = if wanted { batch.early(*told) } else { Vec::new() };
            *told += early.len();
            self.events.push_back(Event::Progress { ticket, covered, rows: batch.len() as u64, early });
        }
    }

    /// Ends a task that this node started, without an event: nobody waits for it any more.
    pub fn cancel(&mut self, ctx: &mut Ctx<'_>, ticket: u64) {
        self.call_off(ctx, &|parent| matches!(parent, Parent::Here { ticket: other } if *other == ticket));
    }

    /// A peer does not wait any more for a part that it handed on.
    pub(super) fn cancelled(&mut self, ctx: &mut Ctx<'_>, by: Id, name: u64) {
        self.withdraw_answer(&by, name);
        self.call_off(ctx, &|parent| parent.is(&by, name));
    }

    /// A peer has heard nothing of a part that it handed on. Links keep the order: it reads this after the answer, if there
    /// was one.
    pub(super) fn asked(&mut self, ctx: &mut Ctx<'_>, by: &Contact, branch: u64, region: Region) {
        if self.answering(&by.id, branch) || self.jobs.values().any(|job| job.parent.is(&by.id, branch)) {
            ctx.send_via(by.id, by.relay, Message::Working { branch });
        } else {
            send_missing(ctx, by, branch, region);
        }
    }

    /// Drops the job of a parent.
    fn call_off(&mut self, ctx: &mut Ctx<'_>, whose: &dyn Fn(&Parent) -> bool) {
        let id = self.jobs.keys().copied().find(|id| self.jobs.get(id).is_some_and(|job| whose(&job.parent)));
        if let Some(id) = id {
            ctx.count("tasks_cancelled");
            self.end(ctx, id);
        }
    }

    /// Takes out a job. Nobody waits for the branches that are open.
    pub(super) fn end(&mut self, ctx: &mut Ctx<'_>, id: u64) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        for (name, branch) in job.branches.iter() {
            self.branches.remove(name);
            branch.cancel(ctx, *name);
        }
        Some(job)
    }
}
