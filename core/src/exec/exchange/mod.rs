//! Joins that peers make among themselves: what they are told of one, and what they say of it.
//!
//! ```text
//!   owners of left:   fragment ──▶ rows ─┐ by the hash of the key          ┌─▶ bucket 0: join ──▶ tail ─┐
//!                                        ├─────────── parcels ─────────────┼─▶ ..                       ├──▶ asker
//!   owners of right:  fragment ──▶ rows ─┘                                 └─▶ bucket n: join ──▶ tail ─┘
//! ```
//!
//! Either side may itself be such a join: its buckets then cut what they find into parcels for the next ones.
//!
//! The strategies are those of PIER (Huebsch et al., *Querying the Internet with PIER*, VLDB 2003, section 4), and one
//! for small tables: see [`Way`]. How parcels travel, and how it is known that all are there, is the
//! [`exchange`](crate::exchange) layer's.

mod filter;
mod follow;

use serde::{Deserialize, Serialize};

pub use self::{
    filter::Filter,
    follow::{Follow, Stop},
};
use super::{
    fragment::{Budget, FragmentPlan, Output, Partial},
    ops::{
        Batch,
        matcher::{Matcher, key_of},
    },
    plan::{Join, On},
};
use crate::{
    Error, Id,
    data::{Nested, SignedRow},
    map::Map,
    sql::{
        fault::{UNSUPPORTED, fail},
        scalar::Scalar,
    },
    wire::{Contact, PLAN_VERSION},
};

/// Buckets of one join at most.
pub const BUCKETS_MAX: u16 = 1_024;
/// Columns of a side of a join at most.
const WIDTH_MAX: usize = 10_000;
/// Rows of one parcel take about so many bytes at most.
const PARCEL_BYTES: usize = 64 * 1_024;
/// How two tables are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// Rows of both sides are sent to buckets (VLDB 2003, section 4.1: symmetric hash join).
    Hash,
    /// The same; rows of the other side only where a Bloom filter of this side's keys, of so many bytes, has them
    /// (section 4.2: Bloom join).
    Bloom(u8, u32),
    /// All rows of this side are sent to the owners of the other, unless they are too many for that: then as `Hash`.
    Broadcast(u8),
    /// Rows of the other side are sent to the owners of those of this one, whose key they have (section 4.1: fetch
    /// matches; but the row travels, not what it fetches).
    Fetch(u8),
    /// What must be equal and the keys of records are sent to buckets; what matches goes to the owner of the left row
    /// and on to that of the right one (section 4.2: symmetric semi-join).
    SemiJoin,
}

/// Where the rows of a side come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// The owners of a table run this, which gives plain rows.
    Table(FragmentPlan),
    /// Peers make this join, whose tail gives plain rows.
    Join(Nested<JoinPlan>),
}

/// Two sides, joined at peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sides {
    /// Where the rows of each side come from.
    pub inputs: [Input; 2],
    /// When rows match.
    pub join: Join,
    /// How they are brought together.
    pub way: Way,
    /// At how many places at most.
    pub buckets: u16,
    /// For `Fetch` and `SemiJoin`: the way of a row past the owners of others.
    pub follow: Option<Follow>,
}

/// A join with what becomes of its pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinPlan {
    /// What is joined.
    pub sides: Sides,
    /// What becomes of a pair.
    pub tail: FragmentPlan,
}

/// What a bucket is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BucketPlan {
    /// See [`PLAN_VERSION`].
    version: u16,
    /// When rows match.
    pub join: Join,
    /// What becomes of a pair that is found here.
    pub tail: FragmentPlan,
    /// Where a row that is found goes on to.
    pub follow: Option<(Follow, FragmentPlan)>,
}

/// Names an exchange, in one round of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// Who asks.
    pub asker: Id,
    /// The asker's number for it.
    pub number: u64,
    /// Which attempt.
    pub round: u16,
}

impl Name {
    /// Where a bucket is: at the owner of this key.
    pub fn place(&self, bucket: u16) -> Id {
        let numbers = [&self.number.to_be_bytes()[..], &self.round.to_be_bytes(), &bucket.to_be_bytes()].concat();
        Id::hash_of(&[b"bucket", &self.asker.0, &numbers])
    }
}

/// Where owners send the rows of their fragment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    /// Of which exchange.
    pub name: Name,
    /// How many buckets there are.
    pub count: u16,
    /// These only; `None`: all.
    pub only: Option<Vec<u16>>,
    /// The side whose rows they are.
    pub side: u8,
    /// When rows match.
    pub join: Join,
    /// Rows whose keys are not in it match nothing.
    pub filter: Option<Filter>,
    /// Bytes of the filter that is made of the keys; 0: none.
    pub filter_bytes: u32,
    /// They go to the owners of others instead, with this plan.
    pub along: Option<Box<Open>>,
}

/// How much was sent to each bucket, so that a bucket knows when all is there: the number of its parcels, and the sum of
/// their names, for parcels of attempts that nobody vouches for may have come instead.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Sent {
    /// By bucket, ascending.
    pub parcels: Vec<(u16, u32, u64)>,
    /// Rows in them.
    pub rows: u64,
    /// The keys of the rows.
    pub filter: Option<Filter>,
}

/// What a bucket is told first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Where to answer.
    pub asker: Contact,
    /// How long the asker waits, microseconds.
    pub patience_us: u64,
    /// An encoded [`BucketPlan`].
    #[serde(with = "crate::wire::bytes")]
    pub plan: Vec<u8>,
}

/// Where a parcel goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum To {
    /// To a bucket.
    Bucket(u16),
    /// To the owner of a record.
    Owner {
        /// Its id.
        id: Id,
        /// Its key.
        #[serde(with = "crate::wire::bytes")]
        key: Vec<u8>,
        /// At which stop.
        stop: u8,
    },
}

/// Some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// Where they go.
    pub to: To,
    /// The run of a fragment that made it; no two have the same.
    pub run: u64,
    /// Its number in that run.
    pub index: u32,
    /// Encoded rows.
    #[serde(with = "crate::wire::bytes")]
    pub rows: Vec<u8>,
}

/// The name of a parcel, to be added up.
pub fn parcel_name(run: u64, index: u32) -> u64 {
    let mixed = (run ^ u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

impl Input {
    /// The places of its parts ([`Part::place`](super::Part)): its own, and those of a join.
    pub fn places(&self) -> u32 {
        match self {
            Input::Table(_) => 1,
            Input::Join(plan) => 2 + plan.sides.inputs.iter().map(Input::places).sum::<u32>(),
        }
    }

    /// The same with another end: what becomes of the rows.
    pub fn giving(&self, output: Output) -> Input {
        let mut input = self.clone();
        match &mut input {
            Input::Table(fragment) => fragment.output = output,
            Input::Join(plan) => plan.tail.output = output,
        }
        input
    }
}

impl Sent {
    /// Adds what others sent.
    pub fn add(&mut self, other: Sent) {
        self.rows = self.rows.saturating_add(other.rows);
        for (bucket, count, sum) in other.parcels {
            match self.parcels.binary_search_by_key(&bucket, |(other, ..)| *other) {
                Ok(at) => {
                    let (_, into, total) = &mut self.parcels[at];
                    *into = into.saturating_add(count);
                    *total = total.wrapping_add(sum);
                }
                Err(at) => self.parcels.insert(at, (bucket, count, sum)),
            }
        }
        match (&mut self.filter, other.filter) {
            (Some(into), Some(other)) => into.unite(&other),
            (into, other) => *into = into.take().or(other),
        }
    }
}

impl Buckets {
    /// Cuts the rows of a run into parcels; how much that was.
    pub fn cut(&self, rows: Vec<SignedRow>, run: u64) -> Result<(Vec<Parcel>, Sent), Error> {
        let side = usize::from(self.side);
        let preserved = self.join.preserves(side);
        let mut filter = Filter::new(self.filter_bytes);
        if let Some(open) = &self.along {
            let Some((follow, _)) = BucketPlan::decode(&open.plan)?.follow else {
                return fail(UNSUPPORTED, "rows that go nowhere");
            };
            let went = rows.len() as u64;
            let parcels = follow.cut(0, rows, run, 0)?;
            let tally = tally(&parcels).map(|(count, sum)| (0, count, sum));
            return Ok((parcels, Sent { parcels: tally.into_iter().collect(), rows: went, filter }));
        }
        let mut by_bucket: Map<u16, Vec<SignedRow>> = Map::new();
        for row in rows {
            let (key, hash) = key_of(self.join.on.exprs(side), &row.row)?;
            if !preserved && self.join.on.matches_nothing(&key) {
                continue;
            }
            if let Some(filter) = &mut filter {
                filter.insert(hash);
            }
            if !preserved && self.filter.as_ref().is_some_and(|filter| !filter.has(hash)) {
                continue;
            }
            let bucket = ((hash >> 16) % u64::from(self.count.max(1))) as u16;
            if self.only.as_ref().is_none_or(|only| only.contains(&bucket)) {
                by_bucket.entry(bucket).or_default().push(row);
            }
        }
        let (mut parcels, mut sent) = (Vec::new(), Sent { parcels: Vec::new(), rows: 0, filter });
        for (bucket, rows) in by_bucket {
            sent.rows += rows.len() as u64;
            let (mut count, mut sum) = (0, 0_u64);
            for rows in pieces(rows) {
                let index = parcels.len() as u32;
                let rows = postcard::to_allocvec(&rows).unwrap_or_default();
                parcels.push(Parcel { to: To::Bucket(bucket), run, index, rows });
                count += 1;
                sum = sum.wrapping_add(parcel_name(run, index));
            }
            sent.parcels.push((bucket, count, sum));
        }
        Ok((parcels, sent))
    }
}

/// How many parcels there are, and what their names add up to; `None`: there is none.
pub fn tally(parcels: &[Parcel]) -> Option<(u32, u64)> {
    let sum = parcels.iter().fold(0_u64, |sum, parcel| sum.wrapping_add(parcel_name(parcel.run, parcel.index)));
    (!parcels.is_empty()).then_some((parcels.len() as u32, sum))
}

/// Rows in pieces of bounded size.
fn pieces(rows: Vec<SignedRow>) -> Vec<Vec<SignedRow>> {
    let (mut pieces, mut bytes): (Vec<Vec<SignedRow>>, usize) = (Vec::new(), 0);
    for row in rows {
        let more = 16 + row.row.iter().map(crate::data::Value::bytes).sum::<usize>();
        bytes += more;
        match pieces.last_mut() {
            Some(piece) if bytes <= PARCEL_BYTES => piece.push(row),
            _ => {
                bytes = more;
                pieces.push(vec![row]);
            }
        }
    }
    pieces
}

/// Rows of one side, for the owners of the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// When rows match.
    pub join: Join,
    /// The side whose rows came along.
    pub side: u8,
    /// These rows.
    pub rows: Vec<SignedRow>,
    /// What becomes of a pair.
    pub tail: FragmentPlan,
}

impl Beside {
    /// Joins an owner's rows.
    pub(super) fn run(&self, rows: Batch, budget: &Budget) -> Result<Partial, Error> {
        let side = usize::from(self.side != 0);
        // Rows that match nothing here may match at another owner, and those that match here may match there, too.
        if self.join.preserves(side) || self.join.is_half() && side == 0 {
            return fail(UNSUPPORTED, "a join that preserves the side that came along");
        }
        bounded(&self.join.widths)?;
        let (mut matcher, mut pairs) = (Matcher::new(self.join.clone()), Batch::default());
        matcher.push(side, self.rows.clone(), &mut pairs)?;
        matcher.push(1 - side, rows.by_row().rows, &mut pairs)?;
        matcher.end([true; 2], &mut pairs);
        self.tail.run_batch(pairs, budget)
    }
}

impl JoinPlan {
    /// What gives the whole rows of each side.
    pub fn whole(&self) -> [Input; 2] {
        match (&self.sides.follow, self.sides.way) {
            (Some(Follow { stops, .. }), Way::SemiJoin) if stops.len() == 2 => {
                [Input::Table(stops[0].fragment.clone()), Input::Table(stops[1].fragment.clone())]
            }
            _ => self.sides.inputs.clone(),
        }
    }

    /// The same over what both sides gave: where everything is in one place.
    pub fn run(&self, sides: [Partial; 2], budget: &Budget) -> Result<Partial, Error> {
        let (mut matcher, mut pairs) = (Matcher::new(self.sides.join.clone()), Batch::default());
        for (port, side) in sides.into_iter().enumerate() {
            matcher.push(port, side.batch.by_row().rows, &mut pairs)?;
        }
        matcher.end([true; 2], &mut pairs);
        self.tail.run_batch(pairs, budget)
    }

    /// When rows match at a bucket: in a semi-join those of what must be equal and of the record's key.
    pub fn meeting(&self) -> Join {
        let join = self.sides.join.clone();
        if self.sides.way != Way::SemiJoin {
            return join;
        }
        let equal = join.on.left.len();
        let columns: Vec<Scalar> = (0..equal as u32).map(Scalar::Column).collect();
        let on = On { left: columns.clone(), right: columns, residual: None, ..join.on };
        Join { on, widths: [equal + 1; 2], ..join }
    }

    /// What buckets are told.
    pub fn bucket_plan(&self) -> Vec<u8> {
        let (join, mut tail) = (self.meeting(), self.tail.clone());
        let follow = self.sides.follow.as_ref().map(|follow| (follow.clone(), self.tail.clone()));
        if self.sides.way == Way::SemiJoin {
            // What buckets give are the keys of both records.
            let equal = join.on.left.len() as u32;
            tail.columns = (0..2 * equal + 2).collect();
            tail.project = Some(vec![Scalar::Column(equal), Scalar::Column(2 * equal + 1)]);
            (tail.filter, tail.output) = (None, Output::Rows);
        }
        let plan = BucketPlan { version: PLAN_VERSION, join, tail, follow };
        postcard::to_allocvec(&plan).unwrap_or_default()
    }
}

impl BucketPlan {
    /// A plan from bytes that came from anywhere.
    pub fn decode(bytes: &[u8]) -> Result<BucketPlan, Error> {
        match postcard::from_bytes::<BucketPlan>(bytes) {
            Ok(plan) if plan.version == PLAN_VERSION => {
                bounded(&plan.join.widths)?;
                bounded(plan.follow.iter().filter_map(|(follow, _)| follow.keep.as_ref()))?;
                Ok(plan)
            }
            Ok(plan) => fail(UNSUPPORTED, format!("plan version {}, expected {PLAN_VERSION}", plan.version)),
            Err(_) => fail(UNSUPPORTED, "a plan that this peer does not know"),
        }
    }
}

/// Whether rows are no wider than any that a statement makes.
fn bounded<'a>(widths: impl IntoIterator<Item = &'a usize>) -> Result<(), Error> {
    match widths.into_iter().find(|width| **width > WIDTH_MAX) {
        Some(width) => fail(UNSUPPORTED, format!("a join of rows of {width} columns")),
        None => Ok(()),
    }
}
