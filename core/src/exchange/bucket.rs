//! A bucket: where rows of both sides meet.
//!
//! Rows may come before the plan, and in any order. Pairs go to the asker as soon as they are there, if they are wanted
//! one by one; else what they come to, once all that was sent is there. Then, too, they are cut into parcels for the buckets
//! of another exchange, if they are rows of one of its sides: a bucket that is not whole sends nothing on.
//!
//! The asker says *more* after so many bytes, as a parent in the region tree does. While pieces wait for its word, rows
//! that come are kept as they are: what nobody reads yet is not even made.

use chacha20::rand_core::Rng as _;

use super::{Message, Shipment, loaded};
use crate::{
    Error,
    config::SECOND_US,
    ctx::Ctx,
    data::{SignedRow, Value},
    exec::{
        Budget, Fault, Partial,
        exchange::{BucketPlan, Name, Open, parcel_name, tally},
        fragment::Output,
        ops::{Batch, aggregate::State, matcher::Matcher},
    },
    map::Set,
    sql::fault::{BUDGET, CORRUPTED, error, fail},
};

/// Without a plan a bucket is kept for so long.
const UNKNOWN_US: u64 = 10 * SECOND_US;
/// Nothing came for so long: nothing will.
const SILENCE_US: u64 = 2 * SECOND_US;
/// What is kept of a parcel beside its rows takes so many bytes.
const PARCEL_BYTES: usize = 64;
/// So many pairs are enough to do the next step with.
const PAIRS_AT_ONCE: usize = 1_024;
/// Rows are sent to the asker in messages of so many bytes, about.
const PIECE_BYTES: usize = 64 * 1_024;
/// What is counted of a piece beside its rows.
pub(super) const HEAD_BYTES: usize = 64;
/// The asker says *more* after so many bytes; twice as many are sent ahead of its word.
pub(super) const WORD_BYTES: usize = 512 * 1_024;

/// See the module's documentation.
pub(super) struct Bucket {
    name: Name,
    number: u16,
    open: Option<(Open, BucketPlan, Matcher)>,
    /// Its name among buckets, and that of the rows that go on from it to owners; how many parcels there were of those.
    run: u64,
    went: (u32, u64),
    /// Rows that came, and how many parcels of them were joined: the plan is to come, or the asker is to read what there is.
    parcels: Vec<(u8, Vec<u8>)>,
    joined: usize,
    /// Parcels that came.
    seen: Set<(u64, u32)>,
    sum: u64,
    expect: Option<(u32, u64)>,
    /// A bit for each side of which that is not everything.
    missing: u8,
    /// Bytes of rows that came, and of what waits.
    pub bytes: usize,
    /// Pairs that nothing was made of yet.
    pairs: Batch,
    found: Partial,
    /// Encoded pieces of that for the asker; how many were sent, and how many bytes may be yet.
    pieces: Vec<Vec<u8>>,
    sent: usize,
    ahead: usize,
    /// All was there, and all is made of it.
    ended: bool,
    heard_us: u64,
    until_us: u64,
}

impl Bucket {
    pub fn new(ctx: &mut Ctx<'_>, name: Name, number: u16) -> Bucket {
        Bucket {
            name,
            number,
            open: None,
            run: ctx.rng.next_u64(),
            went: (0, 0),
            parcels: Vec::new(),
            joined: 0,
            seen: Set::new(),
            sum: 0,
            expect: None,
            missing: 0,
            bytes: 0,
            pairs: Batch::default(),
            found: Partial::default(),
            pieces: Vec::new(),
            sent: 0,
            ahead: 2 * WORD_BYTES,
            ended: false,
            heard_us: ctx.now.mono,
            until_us: ctx.now.mono + UNKNOWN_US,
        }
    }

    /// It learns what to do.
    pub fn open(&mut self, ctx: &mut Ctx<'_>, open: &Open) -> Result<(), Error> {
        if self.open.is_some() {
            return Ok(());
        }
        self.until_us = ctx.now.mono + open.patience_us.min(10 * ctx.config.deadline_us);
        let plan = BucketPlan::decode(&open.plan)?;
        let matcher = Matcher::new(plan.join.clone());
        self.open = Some((open.clone(), plan, matcher));
        Ok(())
    }

    /// Rows came.
    pub fn rows(&mut self, ctx: &mut Ctx<'_>, side: u8, run: u64, index: u32, rows: Vec<u8>) -> Result<(), Error> {
        self.heard_us = ctx.now.mono;
        if !self.seen.insert((run, index)) {
            return Ok(());
        }
        self.sum = self.sum.wrapping_add(parcel_name(run, index));
        self.bytes += rows.len() + PARCEL_BYTES;
        if self.bytes > ctx.config.query_bytes_max {
            return fail(BUDGET, format!("more than {} bytes of rows in one bucket", ctx.config.query_bytes_max));
        }
        self.parcels.push((side, rows));
        Ok(())
    }

    /// It learns how much was sent, and of which sides that is not everything.
    pub fn expect(&mut self, count: u32, sum: u64, missing: u8) {
        (self.expect, self.missing) = (Some((count, sum)), missing);
    }

    /// The asker has read some pieces of this life of it.
    pub fn more(&mut self, ctx: &mut Ctx<'_>, life: u64) {
        if life == self.run {
            self.ahead = self.ahead.saturating_add(WORD_BYTES);
            self.go_on(ctx);
        }
    }

    /// Sends what the asker is ready for.
    fn go_on(&mut self, ctx: &mut Ctx<'_>) {
        while self.waits() && self.ahead > 0 {
            let piece = core::mem::take(&mut self.pieces[self.sent]);
            self.bytes -= piece.len();
            self.ahead = self.ahead.saturating_sub(piece.len() + HEAD_BYTES);
            self.sent += 1;
            self.send(ctx, self.ended && !self.waits(), None, piece);
        }
    }

    /// Whether pieces wait for the asker's word.
    fn waits(&self) -> bool {
        self.sent < self.pieces.len()
    }

    /// Joins rows that came, until there is something that the asker is to read first.
    fn catch_up(&mut self, ctx: &mut Ctx<'_>) -> Result<(), Error> {
        let Some((_, plan, _)) = &self.open else { return Ok(()) };
        // What is wanted one by one is told at once; what goes on to owners is not.
        let told = plan.tail.output == Output::Rows && plan.follow.is_none();
        while !self.waits()
            && let Some(parcel) = self.parcels.get_mut(self.joined)
        {
            let (side, rows) = core::mem::take(parcel);
            self.joined += 1;
            self.join(ctx, side, &rows)?;
            if told {
                self.tell(ctx);
            }
        }
        Ok(())
    }

    fn join(&mut self, ctx: &Ctx<'_>, side: u8, rows: &[u8]) -> Result<(), Error> {
        let Some((_, plan, matcher)) = &mut self.open else { return Ok(()) };
        let rows: Vec<SignedRow> = match postcard::from_bytes(rows) {
            Ok(rows) if side <= 1 => rows,
            _ => return fail(CORRUPTED, "a parcel that does not read as rows"),
        };
        matcher.push(usize::from(side), rows, &mut self.pairs)?;
        if plan.tail.output == Output::Rows || self.pairs.len() >= PAIRS_AT_ONCE {
            take(ctx, plan, &mut self.found, &mut self.pairs)?;
        }
        Ok(())
    }

    /// Whether there is nothing more to do: all has been there. What goes on to others is put into `on`.
    pub fn settle(&mut self, ctx: &mut Ctx<'_>, on: &mut Vec<Shipment>) -> Result<bool, Error> {
        // Nobody waits for a bucket that was sent nothing.
        if self.expect == Some((0, 0)) {
            return Ok(true);
        }
        if self.ended {
            return Ok(!self.waits());
        }
        self.catch_up(ctx)?;
        let whole = self.joined == self.parcels.len() && self.expect == Some((self.seen.len() as u32, self.sum));
        self.ended = whole;
        let Some((open, plan, matcher)) = &mut self.open else { return Ok(false) };
        if whole {
            matcher.end([1, 2].map(|side| self.missing & side == 0), &mut self.pairs);
            take(ctx, plan, &mut self.found, &mut self.pairs)?;
        }
        if let Some((follow, _)) = &plan.follow {
            let rows = core::mem::take(&mut self.found.batch).by_row().rows;
            let parcels = follow.cut(0, rows, self.run, self.went.0)?;
            let (count, sum) = tally(&parcels).unwrap_or_default();
            self.went = (self.went.0 + count, self.went.1.wrapping_add(sum));
            if count > 0 {
                on.push((self.name, Some(Box::new(open.clone())), loaded(parcels, 0)));
            }
            if whole {
                let (count, sum) = self.went;
                self.found.sent.parcels = vec![(0, count, sum)];
                self.tell(ctx);
            }
            return Ok(whole);
        }
        if let (true, Some(buckets)) = (whole, plan.tail.onward()) {
            let rows = core::mem::take(&mut self.found.batch).by_row().rows;
            let (parcels, sent) = buckets.cut(rows, ctx.rng.next_u64())?;
            self.found.sent = sent;
            if !parcels.is_empty() {
                on.push((buckets.name, buckets.along.clone(), loaded(parcels, buckets.side)));
            }
        }
        if whole {
            self.tell(ctx);
        }
        Ok(whole && !self.waits())
    }

    /// Tells the asker what was found.
    fn tell(&mut self, ctx: &mut Ctx<'_>) {
        for piece in pieces(core::mem::take(&mut self.found)) {
            if !piece.batch.is_empty() || self.ended {
                let piece = postcard::to_allocvec(&piece).unwrap_or_default();
                self.bytes += piece.len();
                self.pieces.push(piece);
            }
        }
        self.go_on(ctx);
    }

    /// It cannot go on.
    pub fn fail(&mut self, ctx: &mut Ctx<'_>, error: &Error) {
        ctx.count("buckets_failed");
        self.sent += 1;
        self.send(ctx, true, Some(error.into()), Vec::new());
    }

    /// Sends the piece that was counted last.
    fn send(&self, ctx: &mut Ctx<'_>, last: bool, fault: Option<Fault>, partial: Vec<u8>) {
        let (name, bucket, index) = (self.name, self.number, self.sent as u32 - 1);
        self.post(ctx, Message::Found { name, bucket, life: self.run, index, last, fault, partial });
    }

    fn post(&self, ctx: &mut Ctx<'_>, message: Message) {
        let relay = self.open.as_ref().and_then(|(open, ..)| open.asker.relay);
        ctx.send_via(self.name.asker, relay, message);
    }

    /// Time passed; whether it is of no use any more.
    pub fn tick(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let now = ctx.now.mono;
        if self.expect.is_some() {
            let flowing = self.waits() || now < self.heard_us + SILENCE_US;
            self.post(ctx, Message::Waiting { name: self.name, bucket: self.number, flowing });
        }
        now >= self.until_us
    }
}

/// What was found, in pieces that a frame has room for; at least one.
pub(super) fn pieces(mut found: Partial) -> Vec<Partial> {
    let batch = core::mem::take(&mut found.batch).by_row();
    let (mut pieces, mut bytes) = (vec![found], 0);
    let bytes_of = |row: &[Value]| 16 + row.iter().map(Value::bytes).sum::<usize>();
    let mut place = |pieces: &mut Vec<Partial>, more: usize| {
        bytes += more;
        if bytes > PIECE_BYTES {
            bytes = more;
            pieces.push(Partial::default());
        }
        pieces.len() - 1
    };
    for signed in batch.rows {
        let at = place(&mut pieces, bytes_of(&signed.row));
        pieces[at].batch.rows.push(signed);
    }
    for group in batch.groups {
        let states: usize = group.states.iter().map(State::bytes).sum();
        let at = place(&mut pieces, bytes_of(&group.key) + states);
        pieces[at].batch.groups.push(group);
    }
    pieces
}

/// Pairs were made: what becomes of them.
fn take(ctx: &Ctx<'_>, plan: &BucketPlan, found: &mut Partial, pairs: &mut Batch) -> Result<(), Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let budget = Budget::from(ctx.config);
    let partial = plan.tail.run_batch(core::mem::take(pairs), &budget)?;
    plan.tail.combine(found, partial, &budget)
}

/// A bucket that a peer has no room for.
pub(super) fn no_room() -> Error {
    error(BUDGET, "no room for another bucket at a peer")
}
