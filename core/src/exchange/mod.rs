//! Exchanges: rows of two tables meet at peers that neither of them lives at.
//!
//! ```text
//!   asker ──┬─ tasks over the regions of both tables ──▶ owners ──┬─ parcels of rows ──▶ buckets ── what they found ──▶ asker
//!           ├─ the plan ───────────────────────────────────────────┼────────────────────▶
//!           └─ how much was sent (the owners say it up the tree) ──┴────────────────────▶
//! ```
//!
//! A bucket is at whoever is nearest to its key ([`Name::place`]): nothing is agreed on before. Cargo goes hop by hop over
//! open links, all that has the same next hop in one message (PIER's rehash, Huebsch et al., VLDB 2003, section 4.1,
//! without a put for each tuple).
//!
//! **Exactness by counting.** Cargo is acknowledged hop by hop and may be lost with a peer, and an owner that nobody vouches for may have sent
//! some. Each run of a fragment tells, up the tree with its coverage, how many parcels it sent to each bucket and what
//! their names add up to; the asker adds up the runs that count, and tells each bucket. What came is what was sent exactly
//! if both agree, and only then does a bucket end. Where they do not, that bucket is tried again under a new name, so at
//! another peer, with new runs; what it had told is dropped. No timer decides what is right, only when to try again.
//!
//! A bucket lives no longer than its asker has patience; every table here has a bound.

mod asker;
mod bucket;
mod heard;
mod message;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use chacha20::rand_core::Rng as _;

pub use self::message::{Cargo, Load, Message};
use self::{asker::Asked, bucket::Bucket, heard::Told};
use crate::{
    Error,
    config::SECOND_US,
    ctx::Ctx,
    data::SignedRow,
    exec::{
        Budget, FragmentPlan, GatherEnd, Partial,
        exchange::{BucketPlan, Buckets, JoinPlan, Name, Open, Parcel, Sent, To, parcel_name, tally},
        ops::Batch,
    },
    id::Id,
    map::Map,
    node::CallId,
    overlay::Step,
    sql::fault::{CORRUPTED, UNSUPPORTED, fail},
    store::Version,
    trust::Realm,
    wire::Contact,
};

const TICK_US: u64 = SECOND_US;
/// Cargo of one message, about.
const SHIP_BYTES: usize = 192 * 1_024;
/// Buckets that one peer keeps, of all askers.
const BUCKETS_MAX: usize = 4_096;
/// So many closed exchanges are remembered, and for so long.
const CLOSED_MAX: usize = 256;
const CLOSED_US: u64 = 10 * SECOND_US;

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// Look after buckets and what is asked.
    Tick,
}

/// What this layer tells the node.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// Spread this over the region of its namespace, and answer by [`Exchanges::side_done`].
    Gather {
        /// The asker's number of the exchange.
        number: u64,
        /// Which side.
        side: u8,
        /// What owners run.
        fragment: Box<FragmentPlan>,
        /// Until when, monotone.
        deadline_us: u64,
    },
    /// Begin this join ([`Exchanges::start`]): what comes of it is a side of another one.
    Join {
        /// Whose it is.
        whose: Whose,
        /// What is joined.
        plan: Box<JoinPlan>,
        /// Until when, monotone.
        deadline_us: u64,
    },
    /// What an exchange gathers is of no use any more.
    Over {
        /// The asker's number of it.
        number: u64,
    },
    /// A join is over.
    Done {
        /// Whose it is.
        whose: Whose,
        /// What came of it.
        partial: Box<Partial>,
        /// How it ended.
        end: Box<GatherEnd>,
    },
    /// A join goes on.
    Progress {
        /// Whose it is.
        call: CallId,
        /// Rows so far.
        rows: u64,
        /// The share of it that is done: of both sides, and of the buckets.
        share: f64,
        /// The next ones of the first rows, if it is rows that are wanted.
        early: Vec<SignedRow>,
    },
}

/// Who a join is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The application.
    Call(CallId),
    /// A side of another join of this asker's.
    Side {
        /// Its number.
        number: u64,
        /// Which side.
        side: u8,
    },
}

/// Cargo of an exchange, with what buckets that are opened by it are told.
type Shipment = (Name, Option<Box<Open>>, Vec<Cargo>);

/// A record that was looked for, if there is one, and whether a majority was given up for lost there.
pub type Looked<'a> = (Option<(&'a [u8], &'a Version)>, bool);

/// Where cargo may go.
pub trait Ways {
    /// The next hop towards a key, and how its receiver may go on; `None`: nobody is nearer.
    fn towards(&self, key: &Id, step: Step) -> Option<(Id, Step)>;
    /// How others reach this node.
    fn contact(&self, ctx: &Ctx<'_>) -> Contact;
    /// How many peers are linked.
    fn linked(&self) -> usize;
    /// The record of a key that this node may vouch for right now; `None`: it may not.
    fn record(&self, namespace: &str, key: &[u8], id: &Id) -> Option<Looked<'_>>;
}

/// What one node does for joins, its own and those of others.
#[derive(Default)]
pub struct Exchanges {
    asked: Map<u64, Asked>,
    buckets: Map<(Name, u16), Bucket>,
    bytes: usize,
    /// What nobody waits for any more, and until when that is remembered: rows may still be on their way.
    closed: Vec<(Name, u64)>,
    ticking: bool,
    events: VecDeque<Event>,
}

impl Exchanges {
    /// What happened; drain after every call.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Begins a join; [`Event::Done`] comes when it is over or `deadline_us` (monotone) has passed.
    pub fn start(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, whose: Whose, plan: Box<JoinPlan>, deadline_us: u64) {
        // A side of a join that is over meanwhile is of no use.
        if matches!(whose, Whose::Side { number, .. } if !self.asked.contains_key(&number)) {
            return;
        }
        let number = ctx.rng.next_u64();
        let asked = Asked::new(whose, number, plan, [ctx.now.mono, deadline_us], ways.linked());
        self.asked.insert(number, asked);
        self.tick_later(ctx);
        self.go_on(ctx, ways, number);
    }

    /// What came of [`Event::Gather`].
    pub fn side_done(
        &mut self,
        ctx: &mut Ctx<'_>,
        ways: &dyn Ways,
        number: u64,
        side: u8,
        answer: Partial,
        end: GatherEnd,
    ) {
        if let Some(asked) = self.asked.get_mut(&number) {
            asked.side_done(ctx, side, answer, end);
            self.go_on(ctx, ways, number);
        }
    }

    /// Some of what [`Event::Gather`] asked for has come.
    pub fn side_goes_on(&mut self, number: u64, side: u8, share: f64, rows: u64, early: Vec<SignedRow>) {
        let asked = self.asked.get_mut(&number);
        if let Some(event) = asked.and_then(|asked| asked.side_goes_on(side, share, rows, early)) {
            self.events.push_back(event);
        }
    }

    /// Ends a join, which is not told of any more; whether there was one.
    pub fn cancel(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, call: CallId) -> bool {
        self.stop(ctx, ways, &|whose| whose == Whose::Call(call))
    }

    /// Takes the next steps of a join.
    fn go_on(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, number: u64) {
        let Some(asked) = self.asked.get_mut(&number) else { return };
        let ship = asked.go_on(ctx, ways, &mut self.events);
        if asked.is_over() {
            self.asked.remove(&number);
            self.over(ctx, ways, number);
        }
        if let Some((name, open, cargo)) = ship {
            self.ship(ctx, ways, name, open, cargo);
        }
    }

    /// What was to be a side of a join that is over is not wanted any more.
    fn over(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, number: u64) {
        self.events.push_back(Event::Over { number });
        self.stop(ctx, ways, &|whose| matches!(whose, Whose::Side { number: other, .. } if other == number));
    }

    /// Ends joins before they have come to their end; whether there were any.
    fn stop(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, which: &dyn Fn(Whose) -> bool) -> bool {
        let joins = self.asked.iter().filter(|(_, asked)| which(asked.whose)).map(|(number, _)| *number);
        let joins: Vec<u64> = joins.collect();
        for number in &joins {
            let ship = self.asked.remove(number).and_then(|mut asked| asked.close(ctx));
            self.over(ctx, ways, *number);
            if let Some((name, open, cargo)) = ship {
                self.ship(ctx, ways, name, open, cargo);
            }
        }
        !joins.is_empty()
    }

    /// An owner sends the rows of its fragment to their buckets; how much that was.
    pub fn send(
        &mut self,
        ctx: &mut Ctx<'_>,
        ways: &dyn Ways,
        to: &Buckets,
        rows: Batch,
    ) -> Result<(Sent, u64), Error> {
        let run = ctx.rng.next_u64();
        let (parcels, sent) = to.cut(rows.by_row().rows, run)?;
        let bytes = parcels.iter().map(|parcel| parcel.rows.len() as u64).sum();
        self.ship(ctx, ways, to.name, to.along.clone(), loaded(parcels, to.side));
        Ok((sent, bytes))
    }

    /// Brings cargo one hop further; what is for buckets here is taken in.
    fn ship(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, name: Name, open: Option<Box<Open>>, cargo: Vec<Cargo>) {
        let mut by_hop: Map<Id, Vec<Cargo>> = Map::new();
        let mut here = Vec::new();
        for mut cargo in cargo {
            let place = match &cargo.to {
                To::Bucket(bucket) => name.place(*bucket),
                To::Owner { id, .. } => *id,
            };
            match ways.towards(&place, cargo.step) {
                Some((hop, step)) => {
                    cargo.step = step;
                    by_hop.entry(hop).or_default().push(cargo);
                }
                None => here.push(cargo),
            }
        }
        for (hop, cargo) in by_hop {
            let (mut load, mut bytes) = (Vec::new(), 0);
            for cargo in cargo {
                let more = cargo.bytes();
                if bytes + more > SHIP_BYTES && !load.is_empty() {
                    let cargo = core::mem::take(&mut load);
                    ctx.send(hop, Message::Ship { name, open: open.clone(), cargo });
                    bytes = 0;
                }
                bytes += more;
                load.push(cargo);
            }
            ctx.add("exchange_ships", 1);
            ctx.send(hop, Message::Ship { name, open: open.clone(), cargo: load });
        }
        if !here.is_empty() {
            self.unload(ctx, ways, name, open.as_deref(), here);
        }
    }

    /// Takes in what is for buckets here.
    fn unload(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, name: Name, open: Option<&Open>, cargo: Vec<Cargo>) {
        if cargo.iter().any(|cargo| cargo.load == Load::Close) {
            self.close(ctx, name);
        }
        if self.closed.iter().any(|(closed, _)| *closed == name) {
            return;
        }
        let (mut touched, mut passing): (Vec<u16>, Map<u8, Vec<Cargo>>) = (Vec::new(), Map::new());
        for cargo in cargo {
            let (number, load) = match cargo.to {
                To::Bucket(number) => (number, cargo.load),
                To::Owner { stop, .. } => {
                    passing.entry(stop).or_default().push(cargo);
                    continue;
                }
            };
            let known = self.buckets.contains_key(&(name, number));
            let room = (known || self.buckets.len() < BUCKETS_MAX) && self.bytes <= ctx.config.exchange_bytes_max;
            let bucket = self.buckets.entry((name, number)).or_insert_with(|| Bucket::new(ctx, name, number));
            let before = bucket.bytes;
            let result = match load {
                _ if !room => Err(bucket::no_room()),
                Load::Open => open.map_or(Ok(()), |open| bucket.open(ctx, open)),
                Load::Rows { side, run, index, rows } => bucket.rows(ctx, side, run, index, rows),
                Load::Expect { count, sum, missing } => {
                    bucket.expect(count, sum, missing);
                    Ok(())
                }
                // Seen to before.
                Load::Close => Ok(()),
            };
            self.bytes += bucket.bytes - before;
            match result {
                Ok(()) if touched.last() != Some(&number) => touched.push(number),
                Ok(()) => {}
                Err(error) => {
                    bucket.fail(ctx, &error);
                    self.forget((name, number));
                }
            }
        }
        touched.into_iter().for_each(|number| self.settle(ctx, ways, (name, number), None));
        for (stop, cargo) in passing {
            if let Some(open) = open {
                self.pass(ctx, ways, name, open, stop, cargo);
            }
        }
        if !self.buckets.is_empty() {
            self.tick_later(ctx);
        }
    }

    /// A bucket goes on, perhaps since its asker has read what this life of it sent.
    fn settle(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, key: (Name, u16), life: Option<u64>) {
        let Some(bucket) = self.buckets.get_mut(&key) else { return };
        let (mut on, before) = (Vec::new(), bucket.bytes);
        if let Some(life) = life {
            bucket.more(ctx, life);
        }
        let settled = bucket.settle(ctx, &mut on);
        if let Err(error) = &settled {
            bucket.fail(ctx, error);
        }
        self.bytes = self.bytes - before + bucket.bytes;
        if !matches!(settled, Ok(false)) {
            self.forget(key);
        }
        for (name, open, cargo) in on {
            self.ship(ctx, ways, name, open, cargo);
        }
    }

    /// Rows came by the owner of records, this node.
    fn pass(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, name: Name, open: &Open, stop: u8, cargo: Vec<Cargo>) {
        let mut passed = Passed::default();
        let result = match self::passing(ctx, ways, open, stop, cargo, &mut passed) {
            Ok(Some((mut found, tail))) => match tail.onward() {
                Some(buckets) => {
                    let batch = core::mem::take(&mut found.batch);
                    self.send(ctx, ways, buckets, batch).map(|(sent, _)| {
                        found.sent = sent;
                        Some(found)
                    })
                }
                None => Ok(Some(found)),
            },
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let (relay, assumed_lost) = (open.asker.relay, passed.assumed_lost);
        let mut tell = |stop, taken, next, fault, partial| {
            ctx.send_via(
                name.asker,
                relay,
                Message::Followed { name, stop, taken, next, assumed_lost, fault, partial },
            );
        };
        match result {
            Err(error) => return tell(stop, passed.taken, (0, 0), Some((&error).into()), Vec::new()),
            // What is found goes home with it, and in further pieces, which are counted as parcels are.
            Ok(Some(found)) => {
                let pieces = bucket::pieces(found);
                let (further, name) = (pieces.len() as u32 - 1, |index| parcel_name(passed.run, index));
                let sum = (0..further).map(name).fold(0_u64, u64::wrapping_add);
                let mut pieces = pieces.iter().map(|piece| postcard::to_allocvec(piece).unwrap_or_default());
                tell(stop, passed.taken, (further, sum), None, pieces.next().unwrap_or_default());
                for (index, piece) in (0..).zip(pieces) {
                    tell(stop + 1, (1, name(index)), (0, 0), None, piece);
                }
            }
            Ok(None) => tell(stop, passed.taken, tally(&passed.on).unwrap_or_default(), None, Vec::new()),
        }
        if !passed.on.is_empty() {
            self.ship(ctx, ways, name, Some(Box::new(open.clone())), loaded(passed.on, 0));
        }
    }

    /// Nobody waits for an exchange any more.
    fn close(&mut self, ctx: &Ctx<'_>, name: Name) {
        let keys: Vec<(Name, u16)> = self.buckets.keys().filter(|(other, _)| *other == name).copied().collect();
        keys.into_iter().for_each(|key| self.forget(key));
        if self.closed.len() >= CLOSED_MAX {
            self.closed.remove(0);
        }
        self.closed.push((name, ctx.now.mono + CLOSED_US));
        self.closed.retain(|(_, until)| ctx.now.mono < *until);
    }

    fn forget(&mut self, key: (Name, u16)) {
        if let Some(bucket) = self.buckets.remove(&key) {
            self.bytes -= bucket.bytes;
        }
    }

    /// A message of this layer arrived.
    pub fn on_message(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, from: Contact, message: Message) {
        let (name, told) = match message {
            Message::Ship { name, open, cargo } => return self.ship(ctx, ways, name, open, cargo),
            Message::More { name, bucket, life } if from.id == name.asker => {
                return self.settle(ctx, ways, (name, bucket), Some(life));
            }
            Message::More { .. } => return ctx.count("exchange_forged"),
            Message::Found { name, bucket, life, index, last, fault, partial } => {
                (name, Told::Found { bucket, life, index, last, fault, partial })
            }
            Message::Waiting { name, bucket, flowing } => (name, Told::Waiting { bucket, flowing }),
            Message::Followed { name, stop, taken, next, assumed_lost, fault, partial } => {
                (name, Told::Followed { stop, taken, next, assumed_lost, fault, partial })
            }
        };
        match self.asked.get_mut(&name.number) {
            Some(asked) if name.asker == ctx.me && name.round == asked.round() => {
                asked.told(ctx, from, told);
                self.go_on(ctx, ways, name.number);
            }
            _ => ctx.count("exchange_late"),
        }
    }

    fn tick_later(&mut self, ctx: &mut Ctx<'_>) {
        if !core::mem::replace(&mut self.ticking, true) {
            ctx.timer(TICK_US, crate::node::Timer::Exchange(Timer::Tick));
        }
    }

    /// A timer of this layer fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, ways: &dyn Ways, timer: &Timer) {
        let Timer::Tick = timer;
        self.ticking = false;
        let idle: Vec<(Name, u16)> =
            self.buckets.iter_mut().filter_map(|(key, bucket)| bucket.tick(ctx).then_some(*key)).collect();
        idle.into_iter().for_each(|key| self.forget(key));
        let asked: Vec<u64> = self.asked.keys().copied().collect();
        for number in asked {
            self.go_on(ctx, ways, number);
        }
        if !self.buckets.is_empty() || !self.asked.is_empty() {
            self.tick_later(ctx);
        }
    }

    /// Buckets kept here, joins asked for here, and bytes in buckets: for debug pages and tests.
    pub fn held(&self) -> (usize, usize, usize) {
        (self.buckets.len(), self.asked.len(), self.bytes)
    }
}

/// Parcels as cargo.
fn loaded(parcels: Vec<Parcel>, side: u8) -> Vec<Cargo> {
    let load =
        |Parcel { to, run, index, rows }| Cargo { to, step: Step::Free, load: Load::Rows { side, run, index, rows } };
    parcels.into_iter().map(load).collect()
}

/// What came by the owner of records.
#[derive(Default)]
struct Passed {
    /// Parcels that came, and the sum of their names.
    taken: (u32, u64),
    /// The name of what is made of them.
    run: u64,
    /// What goes on.
    on: Vec<Parcel>,
    assumed_lost: bool,
}

/// Adds what this node owns to rows that came by; at the last stop what was found, and the tail that found it. What this node may not vouch for is not
/// taken.
fn passing(
    ctx: &mut Ctx<'_>,
    ways: &dyn Ways,
    open: &Open,
    stop: u8,
    cargo: Vec<Cargo>,
    passed: &mut Passed,
) -> Result<Option<(Partial, FragmentPlan)>, Error> {
    let budget = Budget::from(ctx.config);
    let Some((follow, tail)) = BucketPlan::decode(&open.plan)?.follow else {
        return fail(UNSUPPORTED, "rows that go nowhere");
    };
    let at = usize::from(stop);
    let namespace = follow.stop(at)?.fragment.namespace();
    if Realm::private(namespace).is_some() {
        return fail(UNSUPPORTED, "rows that come by an owner of a private table");
    }
    passed.run = ctx.rng.next_u64();
    let mut added = Vec::new();
    for Cargo { to, load, .. } in cargo {
        let (To::Owner { id, key, .. }, Load::Rows { run, index, rows, .. }) = (to, load) else { continue };
        let Some((record, assumed_lost)) = ways.record(namespace, &key, &id) else {
            ctx.count("exchange_not_owned");
            continue;
        };
        let Ok(rows) = postcard::from_bytes::<Vec<SignedRow>>(&rows) else {
            return fail(CORRUPTED, "a parcel that does not read as rows");
        };
        passed.assumed_lost |= assumed_lost;
        passed.taken = (passed.taken.0 + 1, passed.taken.1.wrapping_add(parcel_name(run, index)));
        let record = record.map(|(value, version)| (&key[..], value, version));
        added.extend(follow.add(at, rows, record, &budget)?);
    }
    if at + 1 == follow.stops.len() {
        let found = tail.run_batch(follow.pairs(added)?, &budget)?;
        return Ok(Some((found, tail)));
    }
    passed.on = follow.cut(at + 1, added, passed.run, 0)?;
    Ok(None)
}
