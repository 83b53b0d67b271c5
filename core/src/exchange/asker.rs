//! A join at its asker: rounds of attempts until every bucket has ended.

use std::collections::VecDeque;

use super::{Cargo, Event, Load, Open, Ways};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    exec::{
        Budget, Fault, FragmentPlan, GatherEnd, Partial,
        exchange::{BUCKETS_MAX, Beside, Buckets, Filter, JoinPlan, Name, Sent, Way},
        fragment::Output,
    },
    map::Map,
    node::CallId,
    overlay::Step,
    sql::fault::{CORRUPTED, error},
};

/// A bucket that says nothing for so long is tried again.
const SILENCE_US: u64 = 4 * SECOND_US;
/// With less time left than this, no further round is begun.
const ROUND_US: u64 = SECOND_US;
/// Bytes of rows that may be sent to all owners of the other side.
pub const BROADCAST_BYTES_MAX: usize = 256 * 1_024;

/// What a bucket said.
pub(super) enum Told {
    Found { bucket: u16, index: u32, last: bool, fault: Option<Fault>, partial: Vec<u8> },
    Waiting { bucket: u16, flowing: bool },
}

/// A side of the join.
#[derive(Default)]
struct Side {
    asked: bool,
    answer: Option<(Partial, GatherEnd)>,
}

/// What is known of a bucket of this round.
struct Awaited {
    pieces: Map<u32, Partial>,
    count: Option<u32>,
    heard_us: u64,
    failed: bool,
}

/// What goes to buckets: see [`super::Exchanges::ship`].
pub(super) type Shipment = (Name, Option<Box<Open>>, Vec<Cargo>);

/// See the module's documentation.
pub(super) struct Asked {
    call: CallId,
    number: u64,
    plan: JoinPlan,
    way: Way,
    until_us: u64,
    buckets: u16,
    round: u16,
    sides: [Side; 2],
    /// Buckets of this round that have not ended.
    awaited: Map<u16, Awaited>,
    /// Whether this round is under way, and whether its buckets know what was sent.
    begun: bool,
    counted: bool,
    ended: u16,
    /// Rows that came, and of how many the application knows.
    rows: u64,
    told: u64,
    result: Partial,
    end: GatherEnd,
    over: bool,
}

impl Asked {
    pub fn new(call: CallId, number: u64, plan: JoinPlan, until_us: u64, linked: usize) -> Asked {
        // No more than twice as many as there seem to be peers: one whose links are all taken knows of many more.
        let peers = u16::try_from(2 * (linked + 1)).unwrap_or(u16::MAX);
        let buckets = plan.sides.buckets.clamp(1, BUCKETS_MAX);
        let buckets = if linked < 32 { buckets.min(peers) } else { buckets };
        let end = GatherEnd { coverage: 1.0, assumed_lost: false, peers: 0, messages: 0, bytes: 0, fault: None };
        Asked {
            call,
            number,
            way: plan.sides.way,
            plan,
            until_us,
            buckets,
            round: 0,
            sides: Default::default(),
            awaited: Map::new(),
            begun: false,
            counted: false,
            ended: 0,
            rows: 0,
            told: 0,
            result: Partial::default(),
            end,
            over: false,
        }
    }

    pub fn round(&self) -> u16 {
        self.round
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    fn name(&self, ctx: &Ctx<'_>) -> Name {
        Name { asker: ctx.me, number: self.number, round: self.round }
    }

    /// A side has answered.
    pub fn side_done(&mut self, ctx: &Ctx<'_>, side: u8, mut answer: Partial, end: GatherEnd) {
        self.end.assumed_lost |= end.assumed_lost;
        self.end.peers = self.end.peers.max(end.peers);
        self.end.messages = self.end.messages.saturating_add(end.messages);
        self.end.bytes = self.end.bytes.saturating_add(end.bytes);
        self.end.coverage = self.end.coverage.min(end.coverage);
        if self.end.fault.is_none() {
            self.end.fault.clone_from(&end.fault);
        }
        self.result.scanned = self.result.scanned.saturating_add(core::mem::take(&mut answer.scanned));
        if let Some(side) = self.sides.get_mut(usize::from(side)) {
            side.answer = Some((answer, end));
        }
        self.awaited.values_mut().for_each(|bucket| bucket.heard_us = ctx.now.mono);
    }

    /// A bucket said something of this round.
    pub fn told(&mut self, ctx: &mut Ctx<'_>, told: Told) {
        let (Told::Found { bucket: number, .. } | Told::Waiting { bucket: number, .. }) = &told;
        let number = *number;
        let Some(bucket) = self.awaited.get_mut(&number) else { return };
        bucket.heard_us = ctx.now.mono;
        match told {
            Told::Waiting { flowing, .. } => bucket.failed |= !flowing && self.counted,
            Told::Found { fault: Some(fault), .. } => self.end.fault = Some(fault),
            Told::Found { index, last, partial, .. } => {
                match postcard::from_bytes::<Partial>(&partial) {
                    Ok(partial) => {
                        self.end.messages += 1;
                        self.end.bytes += 40;
                        self.rows += partial.batch.len() as u64;
                        bucket.pieces.insert(index, partial);
                    }
                    Err(_) => {
                        self.end.fault = Some((&error(CORRUPTED, "what a bucket found does not read")).into());
                    }
                }
                self.end.bytes += partial.len() as u64;
                if last {
                    bucket.count = Some(index + 1);
                }
                if bucket.count == Some(bucket.pieces.len() as u32) {
                    self.take(ctx, number);
                }
            }
        }
    }

    /// A bucket has ended: what it found counts.
    fn take(&mut self, ctx: &Ctx<'_>, number: u16) {
        let Some(bucket) = self.awaited.remove(&number) else { return };
        self.ended += 1;
        let budget = Budget::from(ctx.config);
        for partial in bucket.pieces.into_values() {
            if let Err(error) = self.plan.tail.combine(&mut self.result, partial, &budget) {
                self.end.fault = Some((&error).into());
            }
        }
    }

    /// The next steps.
    pub fn go_on(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, events: &mut VecDeque<Event>) -> Option<Shipment> {
        if self.end.fault.is_some() || ctx.now.mono >= self.until_us {
            self.finish(events);
            return None;
        }
        if let Way::Broadcast(small) = self.way {
            self.broadcast(ctx, small, events);
        }
        // A side that is too large to be sent everywhere is sent to buckets.
        if matches!(self.way, Way::Broadcast(_)) { None } else { self.exchange(ctx, ways, events) }
    }

    fn exchange(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, events: &mut VecDeque<Event>) -> Option<Shipment> {
        let mut shipment = None;
        if !core::mem::replace(&mut self.begun, true) {
            shipment = Some(self.begin(ctx, ways, (0..self.buckets).collect()));
        }
        self.ask_sides(ctx, events);
        if !self.counted && self.sides.iter().all(|side| side.answer.is_some()) {
            shipment = Some(self.count(ctx));
        }
        let failed = self.failed(ctx.now.mono);
        if self.counted && failed.len() == self.awaited.len() {
            if failed.is_empty() || ctx.now.mono + ROUND_US >= self.until_us {
                self.finish(events);
                return None;
            }
            ctx.count("exchange_rounds");
            ctx.trace("exchange", "again", None, || format!("{} buckets", failed.len()));
            self.round = self.round.saturating_add(1);
            shipment = Some(self.begin(ctx, ways, failed));
            self.ask_sides(ctx, events);
        }
        if self.rows > self.told {
            self.told = self.rows;
            let share = f64::from(self.ended) / f64::from(self.buckets);
            events.push_back(Event::Progress { call: self.call, rows: self.rows, share });
        }
        shipment
    }

    /// Buckets of this round of which nothing is to be hoped for any more.
    fn failed(&self, now: u64) -> Vec<u16> {
        let failed = self.awaited.iter().filter(|(_, it)| it.failed || now >= it.heard_us + SILENCE_US);
        failed.map(|(number, _)| *number).collect()
    }

    /// Begins a round for some buckets.
    fn begin(&mut self, ctx: &Ctx<'_>, ways: &dyn Ways, buckets: Vec<u16>) -> Shipment {
        self.counted = false;
        self.sides = Default::default();
        let heard_us = ctx.now.mono;
        let awaited = |number: &u16| (*number, Awaited { pieces: Map::new(), count: None, heard_us, failed: false });
        self.awaited = buckets.iter().map(awaited).collect();
        let patience_us = self.until_us.saturating_sub(ctx.now.mono);
        let open = Open { asker: ways.contact(ctx), patience_us, plan: self.plan.bucket_plan() };
        let cargo = buckets.iter().map(|bucket| Cargo { bucket: *bucket, step: Step::Free, load: Load::Open });
        (self.name(ctx), Some(Box::new(open)), cargo.collect())
    }

    /// Asks the owners of the sides whose turn it is.
    fn ask_sides(&mut self, ctx: &Ctx<'_>, events: &mut VecDeque<Event>) {
        for side in [0, 1] {
            let (filter, filter_bytes) = match self.way {
                Way::Bloom(first, bytes) if first == side => (None, bytes),
                Way::Bloom(first, _) => match &self.sides[usize::from(first != 0)].answer {
                    // A filter of some of the keys would lose what matches the others: but those are not covered.
                    Some((answer, _)) => (Some(answer.sent.filter.clone().unwrap_or_default()), 0),
                    None => continue,
                },
                _ => (None, 0),
            };
            self.ask(ctx, side, filter, filter_bytes, events);
        }
    }

    fn ask(
        &mut self,
        ctx: &Ctx<'_>,
        side: u8,
        filter: Option<Filter>,
        filter_bytes: u32,
        events: &mut VecDeque<Event>,
    ) {
        if core::mem::replace(&mut self.sides[usize::from(side)].asked, true) {
            return;
        }
        let all = self.awaited.len() == usize::from(self.buckets);
        let buckets = Buckets {
            name: self.name(ctx),
            count: self.buckets,
            only: (!all).then(|| self.awaited.keys().copied().collect()),
            side,
            join: self.plan.sides.join.clone(),
            filter,
            filter_bytes,
        };
        let output = Output::Buckets(Box::new(buckets));
        self.gather(ctx, side, output, events);
    }

    fn gather(&mut self, ctx: &Ctx<'_>, side: u8, output: Output, events: &mut VecDeque<Event>) {
        let fragment = FragmentPlan { output, ..self.plan.sides.fragments[usize::from(side != 0)].clone() };
        // What is missing is asked for again until there is just time to tell the buckets.
        let left = self.until_us.saturating_sub(ctx.now.mono);
        let deadline_us = ctx.now.mono + left * 2 / 3;
        events.push_back(Event::Gather { number: self.number, side, fragment: Box::new(fragment), deadline_us });
    }

    /// Tells the buckets of this round what was sent; those that were sent nothing have ended.
    fn count(&mut self, ctx: &Ctx<'_>) -> Shipment {
        self.counted = true;
        let mut sent = Sent::default();
        for side in &mut self.sides {
            if let Some((answer, _)) = &mut side.answer {
                sent.add(core::mem::take(&mut answer.sent));
            }
        }
        let mut cargo = Vec::new();
        for (bucket, count, sum) in sent.parcels {
            if let Some(awaited) = self.awaited.get_mut(&bucket) {
                awaited.heard_us = ctx.now.mono;
                cargo.push(Cargo { bucket, step: Step::Free, load: Load::Expect { count, sum } });
            }
        }
        let before = self.awaited.len();
        self.awaited.retain(|number, _| cargo.iter().any(|cargo| cargo.bucket == *number));
        self.ended += (before - self.awaited.len()) as u16;
        (self.name(ctx), None, cargo)
    }

    /// The small side comes here and goes to all owners of the other.
    fn broadcast(&mut self, ctx: &Ctx<'_>, small: u8, events: &mut VecDeque<Event>) {
        let (here, there) = (usize::from(small != 0), usize::from(small == 0));
        if !core::mem::replace(&mut self.sides[here].asked, true) {
            self.gather(ctx, small, Output::Rows, events);
        }
        if let Some((answer, _)) = &mut self.sides[here].answer
            && !self.sides[there].asked
        {
            let rows = core::mem::take(&mut answer.batch).by_row().rows;
            let bytes: usize = rows.iter().flat_map(|row| &row.row).map(crate::data::Value::bytes).sum();
            if bytes + 16 * rows.len() > BROADCAST_BYTES_MAX {
                self.way = Way::Hash;
                return;
            }
            self.sides[there].asked = true;
            let rows =
                rows.into_iter().flat_map(|it| core::iter::repeat_n(it.row, it.weight.max(0) as usize)).collect();
            let (join, tail) = (self.plan.sides.join.clone(), self.plan.tail.clone());
            let output = Output::Beside(Box::new(Beside { join, side: small, rows, tail }));
            self.gather(ctx, 1 - small, output, events);
        }
        if let Some((answer, _)) = self.sides[there].answer.take() {
            if let Err(error) = self.plan.tail.combine(&mut self.result, answer, &Budget::from(ctx.config)) {
                self.end.fault = Some((&error).into());
            }
            self.finish(events);
        }
    }

    fn finish(&mut self, events: &mut VecDeque<Event>) {
        self.over = true;
        let answered = match self.way {
            Way::Broadcast(small) => f64::from(u8::from(self.sides[usize::from(small == 0)].asked)),
            _ => f64::from(self.ended) / f64::from(self.buckets),
        };
        if answered < 1.0 {
            self.end.coverage *= answered;
        }
        let partial = Box::new(core::mem::take(&mut self.result));
        events.push_back(Event::Done { call: self.call, partial, end: Box::new(self.end.clone()) });
    }
}
