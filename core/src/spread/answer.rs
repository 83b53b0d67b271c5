//! Answers on their way to the parent, in pieces: no faster than the parent takes them in.
//!
//! A parent says *more* after every few pieces, and a child sends ahead only so many: what a slow parent has not read yet
//! waits with those who have it, and not in the queues of its links, which end a link when they are full. A parent that
//! loses interest cancels, and a child's patience ends with its task's.

use std::collections::VecDeque;

use super::{Message, Report, Spread, To};
use crate::{
    ctx::Ctx,
    id::{Id, Region},
    wire::Contact,
};

/// Bytes of a piece.
const PIECE_BYTES: usize = 128 * 1_024;
/// Pieces that are sent ahead of the parent's word; and after how many it says one.
const AHEAD: usize = 16;
const WORD_EVERY: u32 = 8;

/// What is left to be sent of an answer.
pub(super) struct Answer {
    to: Contact,
    branch: u64,
    /// Whose query it is.
    pub asker: Id,
    pieces: VecDeque<Message>,
    until_us: u64,
}

impl Answer {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.pieces.len() * PIECE_BYTES
    }

    fn is_for(&self, parent: &Id, branch: u64) -> bool {
        self.to.id == *parent && self.branch == branch
    }

    /// Sends the next pieces.
    fn go_on(&mut self, ctx: &mut Ctx<'_>, count: usize) {
        for piece in self.pieces.drain(..count.min(self.pieces.len())) {
            ctx.send_via(self.to.id, self.to.relay, piece);
        }
    }
}

/// Whether a parent says *more* after a piece.
pub(super) fn says_more(index: u32, last: bool) -> bool {
    !last && (index + 1).is_multiple_of(WORD_EVERY)
}

/// All of a part is missing.
pub(super) fn send_missing(ctx: &mut Ctx<'_>, to: &Contact, branch: u64, region: Region) {
    send_report(ctx, to, branch, &Report { missing: vec![region], ..Report::default() });
}

/// A report without rows: it is short.
pub(super) fn send_report(ctx: &mut Ctx<'_>, to: &Contact, branch: u64, report: &Report) {
    for piece in pieces(branch, report) {
        ctx.send_via(to.id, to.relay, piece);
    }
}

fn pieces(branch: u64, report: &Report) -> VecDeque<Message> {
    let bytes = postcard::to_allocvec(report).unwrap_or_default();
    let count = bytes.chunks(PIECE_BYTES).len();
    let piece = |(index, bytes): (usize, &[u8])| {
        let (last, bytes) = (index + 1 == count, bytes.to_vec());
        Message::Piece { branch, index: index as u32, last, bytes }
    };
    bytes.chunks(PIECE_BYTES).enumerate().map(piece).collect()
}

impl Spread {
    /// A job has ended: its report goes to its parent.
    pub(super) fn answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: u64,
        (to, branch): (Contact, u64),
        (asker, until_us): (Id, u64),
        report: &Report,
    ) {
        let mut answer = Answer { to, branch, asker, pieces: pieces(branch, report), until_us };
        answer.go_on(ctx, AHEAD);
        if !answer.pieces.is_empty() {
            self.answers.insert(id, answer);
        }
    }

    /// The parent has read what it was sent.
    pub(super) fn more(&mut self, ctx: &mut Ctx<'_>, parent: &Id, branch: u64) {
        for answer in self.answers.values_mut().filter(|answer| answer.is_for(parent, branch)) {
            answer.go_on(ctx, WORD_EVERY as usize);
        }
        self.answers.retain(|_, answer| !answer.pieces.is_empty());
    }

    /// The parent does not want the rest.
    pub(super) fn withdraw_answer(&mut self, parent: &Id, branch: u64) {
        self.answers.retain(|_, answer| !answer.is_for(parent, branch));
    }

    /// Whether there is more to come of an answer.
    pub(super) fn answering(&self, parent: &Id, branch: u64) -> bool {
        self.answers.values().any(|answer| answer.is_for(parent, branch))
    }

    /// Tells the parent that more is to come, while it may wait; whether the answer is still of use.
    pub(super) fn check_answer(&mut self, ctx: &mut Ctx<'_>, id: u64) -> bool {
        let Some(answer) = self.answers.get(&id) else { return false };
        if ctx.now.mono >= answer.until_us {
            self.answers.remove(&id);
            return false;
        }
        To::Peer(answer.to.id).send(ctx, Message::Working { branch: answer.branch });
        true
    }
}
