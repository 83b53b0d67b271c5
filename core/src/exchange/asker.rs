//! A join at its asker: rounds of attempts until every bucket has ended.

use std::collections::VecDeque;

use super::{
    Cargo, Event, Load, Message, Shipment, Ways, Whose,
    bucket::{HEAD_BYTES, WORD_BYTES},
    heard::{Awaited, Came, Side, Told, Trail},
};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    data::{Nested, SignedRow},
    exec::{
        Budget, GatherEnd, Part, Partial,
        exchange::{BUCKETS_MAX, Beside, Buckets, Filter, Input, JoinPlan, Name, Open, Sent, To, Way},
        fragment::Output,
        plan::JoinKind,
    },
    map::Map,
    overlay::Step,
    sql::fault::{BUDGET, CORRUPTED, error},
    wire::Contact,
};

/// A bucket that says nothing for so long is tried again.
const SILENCE_US: u64 = 4 * SECOND_US;
/// With less time left than this, no further round is begun.
const ROUND_US: u64 = SECOND_US;
/// The buckets are told, and answer, in so much time.
const TELL_US: u64 = 3 * SECOND_US;
/// Bytes of rows that may be sent to all owners of the other side.
pub const BROADCAST_BYTES_MAX: usize = 256 * 1_024;

/// See the module's documentation.
pub(super) struct Asked {
    /// Who it is for.
    pub whose: Whose,
    number: u64,
    plan: Box<JoinPlan>,
    way: Way,
    since_us: u64,
    until_us: u64,
    buckets: u16,
    round: u16,
    sides: [Side; 2],
    /// Buckets of this round that have not ended.
    awaited: Map<u16, Awaited>,
    trail: Trail,
    /// Whether this round is under way, and whether its buckets know what was sent.
    begun: bool,
    counted: bool,
    ended: u16,
    /// Rows that came, and of how many the application knows.
    came: Came,
    told: u64,
    result: Partial,
    end: GatherEnd,
    /// What came straight here.
    home: Part,
    over: bool,
    /// Bytes that came from buckets.
    held: usize,
    /// Whether the owners of the large side have answered, where the small one goes there.
    answered: bool,
}

impl Asked {
    pub fn new(whose: Whose, number: u64, plan: Box<JoinPlan>, [since_us, until_us]: [u64; 2], linked: usize) -> Asked {
        // No more than twice as many as there seem to be peers: one whose links are all taken knows of many more.
        let peers = u16::try_from(2 * (linked + 1)).unwrap_or(u16::MAX);
        let buckets = plan.sides.buckets.clamp(1, BUCKETS_MAX);
        let buckets = if linked < 32 { buckets.min(peers) } else { buckets };
        let buckets = if matches!(plan.sides.way, Way::Fetch(_)) { 0 } else { buckets };
        Asked {
            whose,
            number,
            way: plan.sides.way,
            plan,
            since_us,
            until_us,
            buckets,
            round: 0,
            sides: Default::default(),
            awaited: Map::new(),
            trail: Trail::default(),
            begun: false,
            counted: false,
            ended: 0,
            came: Came::default(),
            told: 0,
            result: Partial::default(),
            end: GatherEnd::default(),
            home: Part::default(),
            over: false,
            held: 0,
            answered: false,
        }
    }

    pub fn round(&self) -> u16 {
        self.round
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Some of a side has answered; that many rows of it are rows of the join where they were joined at their owners.
    pub fn side_goes_on(&mut self, side: u8, share: f64, rows: u64, early: Vec<SignedRow>) -> Option<Event> {
        self.sides[usize::from(side != 0)].share = share;
        if matches!(self.way, Way::Broadcast(small) if small != side) {
            (self.came.rows, self.came.early) = (rows, early);
        }
        self.progress()
    }

    /// What the application is told; nothing of a join that is a side of another one.
    fn progress(&mut self) -> Option<Event> {
        self.told = self.came.rows;
        let Whose::Call(call) = self.whose else { return None };
        let sides: f64 = self.sides.iter().map(|side| if side.answer.is_some() { 1.0 } else { side.share }).sum();
        let share = match self.way {
            Way::Broadcast(_) => sides / 2.0,
            _ => (sides + f64::from(self.ended) / f64::from(self.buckets.max(1))) / 3.0,
        };
        Some(Event::Progress { call, rows: self.came.rows, share, early: core::mem::take(&mut self.came.early) })
    }

    fn name(&self, ctx: &Ctx<'_>) -> Name {
        Name { asker: ctx.me, number: self.number, round: self.round }
    }

    /// A side has answered.
    pub fn side_done(&mut self, ctx: &Ctx<'_>, side: u8, mut answer: Partial, mut end: GatherEnd) {
        self.measure(ctx, usize::from(side != 0), &answer, &mut end);
        self.end.assumed_lost |= end.assumed_lost;
        self.end.peers = self.end.peers.max(end.peers);
        self.end.messages = self.end.messages.saturating_add(end.messages);
        self.end.bytes = self.end.bytes.saturating_add(end.bytes);
        self.end.coverage = self.end.coverage.min(end.coverage);
        // Of a side that is not small after all nothing is wanted here.
        let too_large = end.fault.as_ref().is_some_and(|fault| crate::Error::from(fault.clone()).code() == BUDGET);
        if self.way == Way::Broadcast(side) && too_large {
            self.go_by_hash();
        } else if self.end.fault.is_none() {
            self.end.fault.clone_from(&end.fault);
        }
        self.result.scanned = self.result.scanned.saturating_add(core::mem::take(&mut answer.scanned));
        self.result.reach.add(core::mem::take(&mut answer.reach));
        self.result.fell_back = self.result.fell_back.saturating_add(core::mem::take(&mut answer.fell_back));
        if let Some(side) = self.sides.get_mut(usize::from(side)) {
            side.answer = Some((answer, end));
        }
        self.awaited.values_mut().for_each(|bucket| bucket.heard_us = ctx.now.mono);
    }

    /// Keeps what a side came to, and what was below it if it is a join itself.
    fn measure(&mut self, ctx: &Ctx<'_>, side: usize, answer: &Partial, end: &mut GatherEnd) {
        let asked_us = self.sides[side].asked_us.unwrap_or(ctx.now.mono) - self.since_us;
        // Where the other side comes along, what is found there are rows of the join.
        let beside = matches!(self.way, Way::Broadcast(small) if usize::from(small != 0) != side);
        let place = if side == 0 { 1 } else { 1 + self.plan.sides.inputs[0].places() };
        self.end.parts.push(Part {
            place,
            asked_us,
            first_us: None,
            ended_us: ctx.now.mono - self.since_us,
            rows: (!beside).then_some(answer.sent.rows + answer.batch.len() as u64),
            records: answer.scanned,
            messages: end.messages,
            bytes: end.bytes,
            peers: end.peers,
            reach: answer.reach,
        });
        for part in &mut end.parts {
            part.shift(place + 1, asked_us);
        }
        self.end.parts.append(&mut end.parts);
    }

    /// A bucket said something of this round.
    pub fn told(&mut self, ctx: &mut Ctx<'_>, from: Contact, told: Told) {
        let name = self.name(ctx);
        self.trail.heard_us = ctx.now.mono;
        let number = match &told {
            Told::Found { bucket, .. } | Told::Waiting { bucket, .. } => *bucket,
            Told::Followed { .. } => return self.followed(ctx, told),
        };
        let Some(bucket) = self.awaited.get_mut(&number) else { return };
        bucket.heard_us = ctx.now.mono;
        match told {
            Told::Followed { .. } => {}
            Told::Waiting { flowing, .. } => bucket.failed |= !flowing && self.counted,
            Told::Found { fault: Some(fault), .. } => self.end.fault = Some(fault),
            Told::Found { partial, .. } if self.held + partial.len() > ctx.config.query_bytes_max => {
                let message = format!("a join that gives more than {} bytes", ctx.config.query_bytes_max);
                self.end.fault = Some((&error(BUDGET, message)).into());
            }
            Told::Found { life, index, last, partial, .. } => {
                match postcard::from_bytes::<Partial>(&partial) {
                    Ok(partial) => {
                        self.home.messages += 1;
                        self.home.bytes += 40;
                        self.came.add(ctx.now.mono, &partial.batch, self.round == 0 && self.plan.tail.gives_rows());
                        bucket.pieces.insert((life, index), partial);
                    }
                    Err(_) => {
                        self.end.fault = Some((&error(CORRUPTED, "what a bucket found does not read")).into());
                    }
                }
                let bytes = partial.len() + HEAD_BYTES;
                self.held += bytes;
                let before = bucket.bytes / WORD_BYTES;
                bucket.bytes += bytes;
                if before < bucket.bytes / WORD_BYTES && !last {
                    ctx.send_via(from.id, from.relay, Message::More { name, bucket: number, life });
                }
                self.home.bytes += partial.len() as u64;
                if last {
                    bucket.last = Some((life, index));
                }
                if let Some((life, last)) = bucket.last
                    && bucket.pieces.keys().filter(|(other, _)| *other == life).count() > last as usize
                {
                    self.take(ctx, number);
                }
            }
        }
    }

    /// Rows went past an owner.
    fn followed(&mut self, ctx: &Ctx<'_>, told: Told) {
        let Told::Followed { stop, taken, next, assumed_lost, fault, partial } = told else { return };
        // Sums of names are names.
        if !self.trail.told.insert((stop, taken.1, next.1)) {
            return;
        }
        self.end.assumed_lost |= assumed_lost;
        self.home.messages += 1;
        self.home.bytes += partial.len() as u64 + 60;
        self.trail.add(usize::from(stop), true, taken);
        self.trail.add(usize::from(stop) + 1, false, next);
        let found = match fault {
            Some(fault) => return self.end.fault = Some(fault),
            None if partial.is_empty() => return,
            None => postcard::from_bytes::<Partial>(&partial),
        };
        let Ok(found) = found else {
            self.end.fault = Some((&error(CORRUPTED, "what an owner found does not read")).into());
            return;
        };
        self.came.add(ctx.now.mono, &found.batch, self.round == 0 && self.plan.tail.gives_rows());
        if let Err(error) = self.plan.tail.combine(&mut self.trail.found, found, &Budget::from(ctx.config)) {
            self.end.fault = Some((&error).into());
        }
    }

    /// A bucket has ended: what it found counts.
    fn take(&mut self, ctx: &Ctx<'_>, number: u16) {
        let Some(bucket) = self.awaited.remove(&number) else { return };
        self.ended += 1;
        let budget = Budget::from(ctx.config);
        let (ended, _) = bucket.last.unwrap_or_default();
        for (_, mut partial) in bucket.pieces.into_iter().filter(|((life, _), _)| *life == ended) {
            if self.plan.sides.follow.is_some() {
                for (_, count, sum) in core::mem::take(&mut partial.sent).parcels {
                    self.trail.add(0, false, (count, sum));
                }
            }
            if let Err(error) = self.plan.tail.combine(&mut self.result, partial, &budget) {
                self.end.fault = Some((&error).into());
            }
        }
    }

    /// The next steps.
    pub fn go_on(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, events: &mut VecDeque<Event>) -> Option<Shipment> {
        if self.end.fault.is_some() || ctx.now.mono >= self.until_us {
            self.finish(ctx, events);
            return self.close(ctx);
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
        self.ask_sides(ctx, ways, events);
        if !self.counted && self.sides.iter().all(|side| side.answer.is_some()) {
            shipment = Some(self.count(ctx));
        }
        let again = if self.counted { self.failed(ctx.now.mono) } else { None };
        if let Some(again) = again {
            let over = again.is_empty() && self.is_whole();
            if over || ctx.now.mono + ROUND_US >= self.until_us {
                self.finish(ctx, events);
                return self.close(ctx);
            }
            ctx.count("exchange_rounds");
            ctx.trace("exchange", "again", None, || format!("{} buckets", again.len()));
            self.round = self.round.saturating_add(1);
            shipment = Some(self.begin(ctx, ways, again));
            self.ask_sides(ctx, ways, events);
        }
        if self.came.rows > self.told
            && let Some(event) = self.progress()
        {
            events.push_back(event);
        }
        shipment
    }

    /// Tells buckets that have not ended that nobody waits for them.
    pub fn close(&mut self, ctx: &Ctx<'_>) -> Option<Shipment> {
        let buckets = core::mem::take(&mut self.awaited).into_keys();
        let cargo: Vec<Cargo> =
            buckets.map(|bucket| Cargo { to: To::Bucket(bucket), step: Step::Free, load: Load::Close }).collect();
        (!cargo.is_empty()).then(|| (self.name(ctx), None, cargo))
    }

    /// The buckets that are to be tried again, all others of this round having ended; `None`: some may yet end.
    fn failed(&mut self, now: u64) -> Option<Vec<u16>> {
        // While others tell of this round, one that is silent may only stand in the same queue.
        let silent = now >= self.trail.heard_us + SILENCE_US / 2;
        let failed = |bucket: &Awaited| bucket.failed || silent && now >= bucket.heard_us + SILENCE_US;
        let failed: Vec<u16> = self.awaited.iter().filter(|(_, it)| failed(it)).map(|(number, _)| *number).collect();
        if failed.len() < self.awaited.len() {
            return None;
        }
        if self.plan.sides.follow.is_none() || failed.is_empty() && self.is_whole() {
            return Some(failed);
        }
        if failed.is_empty() && now < self.trail.heard_us + SILENCE_US {
            return None;
        }
        // What went past owners is not known by bucket: all of it is dropped.
        self.ended = 0;
        Some((0..self.buckets).collect())
    }

    /// Whether all rows that go past owners have been there.
    fn is_whole(&self) -> bool {
        self.counted && self.awaited.is_empty() && self.trail.is_whole()
    }

    /// The side whose rows stay where they are.
    fn staying(&self) -> Option<usize> {
        match self.way {
            Way::Fetch(side) => Some(usize::from(side != 0)),
            _ => None,
        }
    }

    /// Begins a round for some buckets.
    fn begin(&mut self, ctx: &Ctx<'_>, ways: &dyn Ways, buckets: Vec<u16>) -> Shipment {
        self.counted = false;
        self.sides = Default::default();
        let heard_us = ctx.now.mono;
        // The last stop is here: what owners found.
        let stops = self.plan.sides.follow.as_ref().map_or(0, |follow| follow.stops.len() + 1);
        let dropped: usize = self.awaited.values().map(|bucket| bucket.bytes).sum();
        self.held = if stops > 0 { 0 } else { self.held.saturating_sub(dropped) };
        self.trail = Trail { stops: vec![Default::default(); stops], heard_us, ..Trail::default() };
        if let Some(side) = self.staying() {
            let none = Partial::default();
            self.sides[side] =
                Side { asked_us: Some(heard_us), share: 1.0, answer: Some((none, GatherEnd::default())) };
        }
        let awaited =
            |number: &u16| (*number, Awaited { pieces: Map::new(), last: None, bytes: 0, heard_us, failed: false });
        self.awaited = buckets.iter().map(awaited).collect();
        let open = self.open(ctx, ways);
        let cargo = buckets.iter().map(|bucket| Cargo { to: To::Bucket(*bucket), step: Step::Free, load: Load::Open });
        (self.name(ctx), Some(Box::new(open)), cargo.collect())
    }

    fn open(&self, ctx: &Ctx<'_>, ways: &dyn Ways) -> Open {
        let patience_us = self.until_us.saturating_sub(ctx.now.mono);
        Open { asker: ways.contact(ctx), patience_us, plan: self.plan.bucket_plan() }
    }

    /// Asks the owners of the sides whose turn it is.
    fn ask_sides(&mut self, ctx: &Ctx<'_>, ways: &dyn Ways, events: &mut VecDeque<Event>) {
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
            let along = self.staying().map(|_| Box::new(self.open(ctx, ways)));
            self.ask(ctx, side, (filter, filter_bytes), along, events);
        }
    }

    fn ask(
        &mut self,
        ctx: &Ctx<'_>,
        side: u8,
        (filter, filter_bytes): (Option<Filter>, u32),
        along: Option<Box<Open>>,
        events: &mut VecDeque<Event>,
    ) {
        if !self.sides[usize::from(side)].ask(ctx.now.mono) {
            return;
        }
        let all = self.awaited.len() == usize::from(self.buckets);
        let buckets = Buckets {
            name: self.name(ctx),
            count: self.buckets,
            only: (!all).then(|| self.awaited.keys().copied().collect()),
            side,
            join: self.plan.meeting(),
            filter,
            filter_bytes,
            along,
        };
        let output = Output::Buckets(Box::new(buckets));
        self.gather(ctx, side, output, events);
    }

    fn gather(&mut self, ctx: &Ctx<'_>, side: u8, output: Output, events: &mut VecDeque<Event>) {
        // What is missing is asked for again until there is just time to tell the buckets.
        let left = self.until_us.saturating_sub(ctx.now.mono);
        let (number, deadline_us) = (self.number, self.until_us - (left / 3).min(TELL_US));
        events.push_back(match self.plan.sides.inputs[usize::from(side != 0)].giving(output) {
            Input::Table(fragment) => Event::Gather { number, side, fragment: Box::new(fragment), deadline_us },
            Input::Join(plan) => {
                Event::Join { whose: Whose::Side { number, side }, plan: Box::new(plan.into_inner()), deadline_us }
            }
        });
    }

    /// Tells the buckets of this round what was sent; those that were sent nothing have ended.
    fn count(&mut self, ctx: &Ctx<'_>) -> Shipment {
        self.counted = true;
        let (mut sent, mut missing) = (Sent::default(), 0);
        for (at, side) in self.sides.iter_mut().enumerate() {
            if let Some((answer, end)) = &mut side.answer {
                sent.add(core::mem::take(&mut answer.sent));
                missing |= u8::from(end.coverage < 1.0) << at;
            }
        }
        let mut cargo = Vec::new();
        if self.staying().is_some() {
            sent.parcels.drain(..).for_each(|(_, count, sum)| self.trail.add(0, false, (count, sum)));
        }
        for (bucket, count, sum) in sent.parcels {
            if let Some(awaited) = self.awaited.get_mut(&bucket) {
                awaited.heard_us = ctx.now.mono;
                cargo.push((bucket, count, sum));
            }
        }
        // Those that were sent nothing have ended, and are told so.
        let sent: Vec<u16> = cargo.iter().map(|(bucket, ..)| *bucket).collect();
        let empty: Vec<u16> = self.awaited.keys().filter(|it| sent.binary_search(it).is_err()).copied().collect();
        self.awaited.retain(|number, _| sent.binary_search(number).is_ok());
        self.ended += empty.len() as u16;
        cargo.extend(empty.into_iter().map(|bucket| (bucket, 0, 0)));
        let expect = |(bucket, count, sum)| {
            let load = Load::Expect { count, sum, missing };
            Cargo { to: To::Bucket(bucket), step: Step::Free, load }
        };
        (self.name(ctx), None, cargo.into_iter().map(expect).collect())
    }

    /// A side that was to be sent everywhere is too large for that.
    fn go_by_hash(&mut self) {
        self.way = Way::Hash;
        self.result.fell_back += 1;
    }

    /// The small side comes here and goes to all owners of the other.
    fn broadcast(&mut self, ctx: &Ctx<'_>, small: u8, events: &mut VecDeque<Event>) {
        let (here, there) = (usize::from(small != 0), usize::from(small == 0));
        if self.sides[here].ask(ctx.now.mono) {
            // Of rows that only say whether there is a match one of each is enough.
            let output = if self.plan.sides.join.is_half() { Output::Distinct } else { Output::Rows };
            self.gather(ctx, small, output, events);
        }
        if let Some((answer, end)) = &mut self.sides[here].answer
            && self.sides[there].asked_us.is_none()
        {
            let whole = end.coverage >= 1.0;
            let rows = core::mem::take(&mut answer.batch).by_row().rows;
            let bytes: usize = rows.iter().flat_map(|row| &row.row).map(crate::data::Value::bytes).sum();
            if bytes + 16 * rows.len() > BROADCAST_BYTES_MAX {
                return self.go_by_hash();
            }
            self.sides[there].ask(ctx.now.mono);
            let (mut join, tail) = (self.plan.sides.join.clone(), self.plan.tail.clone());
            // Where some of it are missing, nobody knows that a row has no match.
            match join.kind {
                JoinKind::Left if !whole => join.kind = JoinKind::Inner,
                JoinKind::Anti if !whole => {
                    self.answered = true;
                    return self.finish(ctx, events);
                }
                _ => {}
            }
            let output = Output::Beside(Nested::new(Beside { join, side: small, rows, tail }));
            self.gather(ctx, 1 - small, output, events);
        }
        if let Some((answer, _)) = self.sides[there].answer.take() {
            self.came.rows = 0;
            self.came.add(ctx.now.mono, &answer.batch, false);
            if let Err(error) = self.plan.tail.combine(&mut self.result, answer, &Budget::from(ctx.config)) {
                self.end.fault = Some((&error).into());
            }
            self.answered = true;
            self.finish(ctx, events);
        }
    }

    fn finish(&mut self, ctx: &Ctx<'_>, events: &mut VecDeque<Event>) {
        self.over = true;
        let whole = self.is_whole();
        let answered = match self.way {
            Way::Broadcast(_) => f64::from(u8::from(self.answered)),
            Way::Fetch(_) | Way::SemiJoin => {
                let found = core::mem::take(&mut self.trail.found);
                if whole && let Err(error) = self.plan.tail.combine(&mut self.result, found, &Budget::from(ctx.config))
                {
                    self.end.fault = Some((&error).into());
                }
                f64::from(u8::from(whole))
            }
            _ => f64::from(self.ended) / f64::from(self.buckets),
        };
        if answered < 1.0 {
            self.end.coverage *= answered;
        }
        self.end.messages = self.end.messages.saturating_add(self.home.messages);
        self.end.bytes = self.end.bytes.saturating_add(self.home.bytes);
        self.end.parts.push(Part {
            first_us: self.came.first_us.map(|first| first - self.since_us),
            ended_us: ctx.now.mono - self.since_us,
            rows: Some(self.came.rows + self.result.sent.rows),
            ..core::mem::take(&mut self.home)
        });
        let partial = Box::new(core::mem::take(&mut self.result));
        events.push_back(Event::Done { whose: self.whose, partial, end: Box::new(self.end.clone()) });
    }
}

#[cfg(test)]
mod tests {
    use chacha20::rand_core::SeedableRng as _;

    use super::*;
    use crate::{
        config::Config,
        ctx::{Now, Outbox, Rng},
        exchange::tests::{join, table},
        id::Id,
        node::CallId,
    };

    #[test]
    fn what_is_told_twice_of_rows_that_go_past_owners_counts_once() {
        let plan = join(JoinKind::Inner, [table("left"), table("right")], [0, 0], [2, 2], Way::Fetch(1));
        let mut asked = Asked::new(Whose::Call(CallId(1)), 1, Box::new(plan), [0, 20 * SECOND_US], 8);
        let (config, mut rng, mut out) = (Config::default(), Rng::from_seed([3; 32]), Outbox::default());
        let me = Id::hash_of(&[b"me"]);
        let mut ctx = Ctx {
            now: Now::default(),
            me,
            config: &config,
            signer: &crate::trust::Signer::nobody(),
            rng: &mut rng,
            out: &mut out,
        };
        let from = Contact { id: Id::hash_of(&[b"owner"]), relay: None, supernode: false, full: false };
        asked.trail.stops = vec![Default::default(); 2];
        let followed = |stop, taken, next| {
            let (assumed_lost, fault, partial) = (false, None, Vec::new());
            Told::Followed { stop, taken, next, assumed_lost, fault, partial }
        };
        for _ in 0..2 {
            asked.told(&mut ctx, from, followed(0, (2, 7), (1, 9)));
            asked.told(&mut ctx, from, followed(1, (1, 9), (0, 0)));
        }
        asked.told(&mut ctx, from, followed(0, (1, 5), (0, 0)));
        assert_eq!(asked.trail.stops, [[(0, 0), (3, 12)], [(1, 9), (1, 9)]]);
    }
}
