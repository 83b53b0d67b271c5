//! Answers on their way to the parent, in pieces: no faster than the parent takes them in.
//!
//! A parent says *more* after every few pieces, and a child sends ahead only so many: what a slow parent has not read yet
//! waits with those who have it, and not in the queues of its links, which end a link when they are full. A parent that
//! loses interest cancels, and a child's patience ends with its task's.

use super::{Job, Message, Report, Spread};
use crate::{
    ctx::Ctx,
    id::{Id, Region},
    wire::Contact,
};

/// Bytes of a piece.
const PIECE_BYTES: usize = 128 * 1_024;
/// Pieces that are sent ahead of the parent's word.
const AHEAD: u32 = 16;
/// After so many of them it says one.
const WORD_EVERY: u32 = 8;

/// What is left to be sent of an answer.
pub(super) struct Answer {
    /// The job that it is of.
    job: u64,
    to: Contact,
    branch: u64,
    /// Whose query it is.
    pub asker: Id,
    report: Vec<u8>,
    /// Pieces that were sent.
    sent: u32,
    until_us: u64,
}

impl Answer {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.report.len().saturating_sub(self.sent as usize * PIECE_BYTES)
    }

    fn is_for(&self, parent: &Id, branch: u64) -> bool {
        self.to.id == *parent && self.branch == branch
    }

    /// Sends the next pieces; whether something is left.
    fn goes_on(&mut self, ctx: &mut Ctx<'_>, count: u32) -> bool {
        for index in self.sent..self.sent + count {
            let rest = self.report.get(index as usize * PIECE_BYTES..).unwrap_or_default();
            let last = rest.len() <= PIECE_BYTES;
            let bytes = rest.get(..PIECE_BYTES).unwrap_or(rest).to_vec();
            self.sent = index + 1;
            ctx.send_via(self.to.id, self.to.relay, Message::Piece { branch: self.branch, index, last, bytes });
            if last {
                return false;
            }
        }
        true
    }
}

/// Whether a parent says *more* after a piece.
pub(super) fn says_more(index: u32, last: bool) -> bool {
    !last && index % WORD_EVERY == WORD_EVERY - 1
}

/// All of a part is missing.
pub(super) fn send_missing(ctx: &mut Ctx<'_>, to: &Contact, branch: u64, region: Region) {
    send_report(ctx, to, branch, &Report { missing: vec![region], ..Report::default() });
}

/// A report without rows: it is short.
pub(super) fn send_report(ctx: &mut Ctx<'_>, to: &Contact, branch: u64, report: &Report) {
    answer((0, Id::ZERO, 0), *to, branch, report).goes_on(ctx, AHEAD);
}

fn answer((job, asker, until_us): (u64, Id, u64), to: Contact, branch: u64, report: &Report) -> Answer {
    Answer { job, to, branch, asker, report: postcard::to_allocvec(report).unwrap_or_default(), sent: 0, until_us }
}

impl Spread {
    /// A job has ended: its report goes to its parent.
    pub(super) fn answer(&mut self, ctx: &mut Ctx<'_>, id: u64, to: Contact, branch: u64, job: &Job) {
        let mut answer = answer((id, job.asker, job.until_us), to, branch, &job.report);
        if answer.goes_on(ctx, AHEAD) {
            self.answers.push(answer);
        }
    }

    /// The parent has read what it was sent.
    pub(super) fn more(&mut self, ctx: &mut Ctx<'_>, parent: &Id, branch: u64) {
        self.answers.retain_mut(|answer| !answer.is_for(parent, branch) || answer.goes_on(ctx, WORD_EVERY));
    }

    /// The parent does not want the rest.
    pub(super) fn withdraw_answer(&mut self, parent: &Id, branch: u64) {
        self.answers.retain(|answer| !answer.is_for(parent, branch));
    }

    /// Whether there is more to come of an answer.
    pub(super) fn answering(&self, parent: &Id, branch: u64) -> bool {
        self.answers.iter().any(|answer| answer.is_for(parent, branch))
    }

    /// Tells the parent that more is to come, while it may wait; whether the answer of a job is still of use.
    pub(super) fn check_answer(&mut self, ctx: &mut Ctx<'_>, job: u64) -> bool {
        let now = ctx.now.mono;
        self.answers.retain(|answer| now < answer.until_us);
        let Some(answer) = self.answers.iter().find(|answer| answer.job == job) else { return false };
        ctx.send_via(answer.to.id, answer.to.relay, Message::Working { branch: answer.branch });
        true
    }
}
