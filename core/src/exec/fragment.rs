//! What the owners of a namespace run over their records, and how two partial answers become one.
//!
//! ```text
//!   records ──▶ decode the columns needed ──▶ filter ──▶ project ──┬──▶ all rows (perhaps the first n)
//!                                                                  ├──▶ different rows, weights added up
//!                                                                  ├──▶ the first n in an order (top-k)
//!                                                                  └──▶ groups with partial aggregates
//! ```
//!
//! Invariant: [`FragmentPlan::combine`] is associative and commutative (for plain rows: up to their order), so the
//! answer does not depend on how the records are spread over owners or on the shape of the tree that combines them
//! (Madden et al., *TAG*, OSDI 2002, section 3: partial state records). Partial answers whose order matters are
//! sorted, so combining is a merge. Plans and answers come from other peers: what does not fit gives an error.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{
    columns::{Builder, COLUMNS},
    exchange::{Beside, Buckets, Sent},
    kept::Space,
    ops::{
        Batch, Operator,
        aggregate::{Aggregate, AggregateCall, Group, Mode},
        distinct::Distinct,
        filter::Filter,
        limit::Limit,
        project::Project,
        sort::{self, Sort, SortKey, compare_by},
    },
};
use crate::{
    Error,
    config::Config,
    data::{Nested, Row, SignedRow, Value, codec, order::compare_rows},
    sql::{
        fault::{BUDGET, CORRUPTED, UNSUPPORTED, error, fail},
        scalar::Scalar,
    },
    store::Version,
    wire::PLAN_VERSION,
};

/// Records that are decoded before the operators see them.
pub(super) const BATCH_ROWS: usize = 1_024;
/// So few records are quicker one by one.
const SINGLE_ROWS: usize = 8;

/// What one peer spends on one query at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows and groups of a partial answer.
    pub rows_max: usize,
    /// Bytes of a partial answer, about.
    pub bytes_max: usize,
}

impl From<&Config> for Budget {
    fn from(config: &Config) -> Budget {
        Budget { rows_max: config.query_rows_max, bytes_max: config.query_bytes_max }
    }
}

impl Budget {
    /// Whether a partial answer stays within, its size counted.
    fn check(&self, partial: &mut Partial) -> Result<(), Error> {
        // What was added up may be more than there is: merging unites equal rows and cuts.
        if partial.bytes > self.bytes_max {
            partial.bytes = size(&partial.batch);
        }
        if partial.batch.len() > self.rows_max || partial.bytes > self.bytes_max {
            let (rows, bytes) = (partial.batch.len(), partial.bytes);
            let Budget { rows_max, bytes_max } = self;
            let limits = format!("query_rows_max = {rows_max}, query_bytes_max = {bytes_max}");
            return fail(BUDGET, format!("a partial answer of {rows} rows and {bytes} bytes ({limits})"));
        }
        Ok(())
    }
}

/// The bytes of rows and groups, about.
fn size(batch: &Batch) -> usize {
    let of = |row: &Row| 16 + row.iter().map(Value::bytes).sum::<usize>();
    let states = |group: &Group| group.states.iter().map(|state| 48 + state.bytes()).sum::<usize>();
    let groups = batch.groups.iter().map(|group| of(&group.key) + states(group));
    batch.rows.iter().map(|signed| of(&signed.row)).chain(groups).fold(batch.columns_bytes(), usize::saturating_add)
}

/// How the value of a record reads as a row. Owners know rows of tables; of everything else they give the whole value, and
/// who asks knows how it reads ([`FragmentPlan::of_system`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decode {
    /// A row of a table.
    Row,
    /// An entry of the catalog: one row for the table.
    CatalogTables,
    /// An entry of the catalog: one row for each column.
    CatalogColumns,
    /// An entry of an index: one row for the index.
    CatalogIndexes,
    /// Whatever it is: a row without columns.
    Key,
    /// A loser of a conflict.
    Conflicts,
    /// Statistics of a table: one row for each column.
    Statistics,
    /// Rights: one row for each privilege.
    Rights,
    /// Rights: one row for each policy.
    Policies,
}

/// What becomes of the rows of a fragment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// All of them.
    Rows,
    /// Any so many of them.
    First(u64),
    /// Different ones, weights added up.
    Distinct,
    /// The first so many in an order.
    Top(Vec<SortKey>, u64),
    /// Groups with partial aggregates; the keys and arguments are over the projected row.
    Groups(Vec<Scalar>, Vec<AggregateCall>),
    /// They are sent to the buckets of an exchange; how many were is the answer.
    Buckets(Box<Buckets>),
    /// They are joined with rows that came along.
    Beside(Nested<Beside>),
}

/// What owners run over the records of one namespace in their regions. Append only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FragmentPlan {
    /// See [`PLAN_VERSION`].
    pub(crate) version: u16,
    pub(crate) namespace: String,
    pub(crate) locality_bits: u8,
    pub(crate) decode: Decode,
    /// The stored columns that are read, ascending.
    pub(crate) columns: Vec<u32>,
    /// Adds three columns: the record's key, its version ([`encode_version`]), and what it has beyond the last column
    /// read, encoded.
    pub(crate) identity: bool,
    /// Which rows, over the columns read.
    pub(crate) filter: Option<Scalar>,
    /// What each row becomes; `None`: the columns read as they are.
    pub(crate) project: Option<Vec<Scalar>>,
    /// What becomes of the rows.
    pub(crate) output: Output,
    /// What a record that ends before a column has there, for the first columns read; NULL for the others.
    pub(crate) missing: Vec<Value>,
}

/// How far a question went that a partial answer is of. Several are merged by the largest of each number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// How often it was handed on, at most.
    pub hops: u64,
    /// The most records that one peer looked at.
    most: u64,
    /// `u64::MAX` less the fewest; 0 where nobody looked at any.
    spared: u64,
}

impl Reach {
    /// Of one peer that looked at so many records.
    fn of(records: u64) -> Reach {
        Reach { hops: 0, most: records, spared: u64::MAX - records }
    }

    /// The same of several.
    pub fn add(&mut self, other: Reach) {
        self.hops = self.hops.max(other.hops);
        self.most = self.most.max(other.most);
        self.spared = self.spared.max(other.spared);
    }

    /// The fewest and the most records that one peer looked at.
    pub fn records(&self) -> Option<(u64, u64)> {
        (self.spared > 0).then(|| (u64::MAX - self.spared, self.most))
    }
}

/// A partial answer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Partial {
    /// Rows or groups.
    pub batch: Batch,
    /// Records looked at.
    pub scanned: u64,
    /// What was sent to buckets.
    pub sent: Sent,
    /// How far the question went.
    pub reach: Reach,
    /// Of a join: broadcasts that went by hash after all, for what was to be sent everywhere was too large.
    pub fell_back: u32,
    /// Bytes of rows and groups, about; never sent, counted by whoever combines.
    #[serde(skip)]
    bytes: usize,
}

impl Partial {
    /// Bytes of its rows and groups, about, once it was combined from others.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A record's version as a value.
pub fn encode_version(version: &Version) -> Value {
    Value::Blob(postcard::to_allocvec(version).unwrap_or_default())
}

/// A version that was a value.
pub fn decode_version(value: &Value) -> Result<Version, Error> {
    match value {
        Value::Blob(bytes) => postcard::from_bytes(bytes).map_err(|_| error(CORRUPTED, "not a version")),
        _ => fail(CORRUPTED, "not a version"),
    }
}

impl FragmentPlan {
    /// A plan from bytes that came from anywhere: a plan of another version or with parts that this peer does not
    /// know is a `feature_not_supported` error, and the peer's region is then not covered.
    pub fn decode(bytes: &[u8]) -> Result<FragmentPlan, Error> {
        match postcard::from_bytes::<FragmentPlan>(bytes) {
            Ok(plan) if plan.version == PLAN_VERSION => Ok(plan),
            Ok(plan) => fail(UNSUPPORTED, format!("plan version {}, expected {PLAN_VERSION}", plan.version)),
            Err(_) => fail(UNSUPPORTED, "a plan that this peer does not know"),
        }
    }

    /// The plan as bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// The namespace whose records it reads.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether it gives a row for each record that it admits.
    pub fn gives_rows(&self) -> bool {
        self.output == Output::Rows
    }

    /// Whether it, or what it is joined to beside its rows, gives rows one by one.
    pub fn finds_rows(&self) -> bool {
        match &self.output {
            Output::Beside(beside) => beside.tail.gives_rows(),
            output => *output == Output::Rows,
        }
    }

    /// The locality bits of that namespace: with them, which part of the key space to ask.
    pub fn locality_bits(&self) -> u8 {
        self.locality_bits
    }

    /// Runs over the visible records of the namespace in one region: key, value and version of each.
    pub fn run<'a>(
        &self,
        mut records: impl Iterator<Item = (&'a [u8], &'a [u8], &'a Version)>,
        budget: &Budget,
    ) -> Result<Partial, Error> {
        self.run_over(&mut records, budget)
    }

    fn run_over<'a>(
        &self,
        records: &mut dyn Iterator<Item = (&'a [u8], &'a [u8], &'a Version)>,
        budget: &Budget,
    ) -> Result<Partial, Error> {
        let mut running = Running::new(self, budget)?;
        let few = records.size_hint().1.is_some_and(|most| most <= SINGLE_ROWS);
        let by_column = COLUMNS && self.by_column() && !few;
        let (mut input, mut columns) = (Batch::default(), Builder::new(if COLUMNS { self.columns.len() } else { 0 }));
        for (key, value, version) in records {
            running.partial.scanned += 1;
            if !by_column {
                self.read(key, value, version, &mut input)?;
            } else if COLUMNS && columns.decode(value, &self.columns, &self.missing).is_err() {
                return self.corrupted();
            }
            if input.len() + if COLUMNS { columns.len() } else { 0 } >= BATCH_ROWS {
                if by_column {
                    input.push_columns(columns.take());
                }
                if running.push(core::mem::take(&mut input))? {
                    break;
                }
            }
        }
        if by_column {
            input.push_columns(columns.take());
        }
        running.push(input)?;
        running.over_records()
    }

    /// Of a system table: what its owners run in its place, which gives values of records as they are.
    pub fn of_system(&self) -> Option<FragmentPlan> {
        let (project, output, missing) = (None, Output::Rows, Vec::new());
        let values =
            FragmentPlan { columns: vec![0], identity: false, filter: None, project, output, missing, ..self.clone() };
        (!matches!(self.decode, Decode::Row | Decode::Key)).then_some(values)
    }

    /// Runs over rows that are no records: a node's own, those of a system table.
    pub fn run_rows(&self, rows: &[Row], budget: &Budget) -> Result<Partial, Error> {
        let (mut running, mut input) = (Running::new(self, budget)?, Batch::default());
        for (at, row) in rows.iter().enumerate() {
            running.partial.scanned += 1;
            let mut row = self.pick(row);
            if self.identity {
                row.extend([Value::Integer(at as i64), Value::Null, Value::Null]);
            }
            input.push(row, 1);
        }
        running.push(input)?;
        running.end()
    }

    /// The columns that are read.
    fn pick(&self, row: &Row) -> Row {
        self.columns.iter().map(|column| row.get(*column as usize).cloned().unwrap_or(Value::Null)).collect()
    }

    /// Runs over the values of records, of which it reads columns of a table.
    pub fn run_values<'a>(&self, values: impl Iterator<Item = &'a [u8]>, budget: &Budget) -> Result<Partial, Error> {
        let version = Version { wall_us: 0, counter: 0, author: crate::Id::ZERO };
        if !self.reads_columns() {
            return fail(UNSUPPORTED, "a fragment that reads more than columns");
        }
        self.run(values.map(|value| (&[][..], value, &version)), budget)
    }

    /// Runs over records whose columns are kept.
    pub fn run_kept(&self, space: &Space, budget: &Budget) -> Result<Partial, Error> {
        let mut running = Running::new(self, budget)?;
        for columns in space.pieces(self) {
            running.partial.scanned += columns.len() as u64;
            let mut input = Batch::default();
            input.push_columns(columns);
            if running.push(input)? {
                break;
            }
        }
        running.over_records()
    }

    /// Runs over rows that others made: pairs of a join.
    pub fn run_batch(&self, rows: Batch, budget: &Budget) -> Result<Partial, Error> {
        let mut running = Running::new(self, budget)?;
        running.push(rows)?;
        running.end()
    }

    /// Whether nothing but columns of a table is read.
    pub fn by_column(&self) -> bool {
        COLUMNS && self.decode == Decode::Row && !self.identity
    }

    /// Where its rows are sent in the end, if it is to buckets.
    pub fn onward(&self) -> Option<&Buckets> {
        match &self.output {
            Output::Buckets(buckets) => Some(buckets),
            Output::Beside(beside) => beside.tail.onward(),
            _ => None,
        }
    }

    /// Whether a few records may be enough.
    pub fn stops_early(&self) -> bool {
        matches!(self.output, Output::First(_))
    }

    /// Whether a column of a table is read.
    pub fn reads_columns(&self) -> bool {
        self.by_column() && !self.columns.is_empty()
    }

    /// Adds `other`'s answer to `into`'s.
    pub fn combine(&self, into: &mut Partial, mut other: Partial, budget: &Budget) -> Result<(), Error> {
        into.scanned = into.scanned.saturating_add(core::mem::take(&mut other.scanned));
        into.reach.add(core::mem::take(&mut other.reach));
        into.fell_back = into.fell_back.saturating_add(other.fell_back);
        match &self.output {
            Output::Beside(beside) => return beside.tail.combine(into, other, budget),
            Output::Buckets(_) => into.sent.add(core::mem::take(&mut other.sent)),
            _ => {}
        }
        into.bytes = into.bytes.saturating_add(size(&other.batch));
        // What a bucket found is kept until it is sent on.
        if matches!(self.output, Output::Rows | Output::Buckets(_)) {
            into.batch.append(other.batch);
            return budget.check(into);
        }
        let other = other.batch.by_row();
        let (rows, groups) = (&mut into.batch.rows, other.groups);
        match &self.output {
            Output::Rows | Output::Buckets(_) | Output::Beside(_) => {}
            Output::First(count) => {
                rows.extend(other.rows);
                sort::cut(rows, *count);
            }
            Output::Distinct | Output::Top(..) => {
                let (keys, count) = match &self.output {
                    Output::Top(keys, count) => (&keys[..], *count),
                    _ => (&[][..], u64::MAX),
                };
                merge(rows, other.rows, |a, b| compare_by(keys, &a.row, &b.row), add_weights)?;
                if count < u64::MAX {
                    sort::cut(rows, count);
                }
            }
            Output::Groups(_, calls) => {
                merge(&mut into.batch.groups, groups, |a, b| compare_rows(&a.key, &b.key), |a, b| a.merge(calls, &b))?
            }
        }
        budget.check(into)
    }

    fn operators(&self) -> Vec<Box<dyn Operator>> {
        let mut operators: Vec<Box<dyn Operator>> = Vec::new();
        if let Some(filter) = &self.filter {
            operators.push(Box::new(Filter::new(filter.clone())));
        }
        if let Some(exprs) = &self.project {
            operators.push(Box::new(Project::new(exprs.clone())));
        }
        match &self.output {
            Output::Rows | Output::Buckets(_) | Output::Beside(_) => {}
            Output::First(count) => operators.push(Box::new(Limit::new(0, *count))),
            Output::Distinct => operators.push(Box::new(Distinct::new(true))),
            Output::Top(keys, count) => operators.push(Box::new(Sort::new(keys.clone(), Some(*count)))),
            Output::Groups(keys, calls) => {
                operators.push(Box::new(Aggregate::new(keys.clone(), calls.clone(), Mode::Partial)));
            }
        }
        operators
    }

    fn corrupted<T>(&self) -> Result<T, Error> {
        fail(CORRUPTED, format!("a record of {} does not read as a row", self.namespace))
    }

    fn read(&self, key: &[u8], value: &[u8], version: &Version, out: &mut Batch) -> Result<(), Error> {
        let mut beyond: &[u8] = &[];
        let mut row: Row = match self.decode {
            Decode::Row => match codec::decode_columns(value, &self.columns, &self.missing) {
                Ok((row, rest)) => {
                    beyond = rest;
                    row
                }
                Err(codec::Malformed) => return self.corrupted(),
            },
            Decode::Key => Row::new(),
            _ => vec![Value::Blob(value.to_vec())],
        };
        if self.identity {
            row.push(Value::Blob(key.to_vec()));
            row.push(encode_version(version));
            row.push(Value::Blob(beyond.to_vec()));
        }
        out.push(row, 1);
        Ok(())
    }
}

/// A fragment that is run over records.
struct Running<'a> {
    plan: &'a FragmentPlan,
    budget: &'a Budget,
    operators: Vec<Box<dyn Operator>>,
    partial: Partial,
}

impl<'a> Running<'a> {
    fn new(plan: &'a FragmentPlan, budget: &'a Budget) -> Result<Running<'a>, Error> {
        if plan.version != PLAN_VERSION {
            return fail(UNSUPPORTED, format!("plan version {}, expected {PLAN_VERSION}", plan.version));
        }
        Ok(Running { plan, budget, operators: plan.operators(), partial: Partial::default() })
    }

    /// Takes in some rows; whether these are enough.
    #[inline(never)]
    fn push(&mut self, input: Batch) -> Result<bool, Error> {
        push(&mut self.operators, input, &mut self.partial.batch)?;
        let rows = self.partial.batch.len();
        // Operators that hold rows cut back by themselves or hold no more than there are records.
        if rows > self.budget.rows_max {
            let limit = self.budget.rows_max;
            return fail(BUDGET, format!("a partial answer of {rows} rows (query_rows_max = {limit})"));
        }
        Ok(matches!(self.plan.output, Output::First(count) if rows as u64 >= count))
    }

    /// The end of a peer's own records.
    fn over_records(mut self) -> Result<Partial, Error> {
        self.partial.reach = Reach::of(self.partial.scanned);
        self.end()
    }

    fn end(mut self) -> Result<Partial, Error> {
        end(&mut self.operators, &mut self.partial.batch)?;
        if let Output::Beside(beside) = &self.plan.output {
            let rows = core::mem::take(&mut self.partial.batch);
            let Partial { scanned, reach, .. } = self.partial;
            return Ok(Partial { scanned, reach, ..beside.run(rows, self.budget)? });
        }
        self.partial.bytes = size(&self.partial.batch);
        self.budget.check(&mut self.partial)?;
        Ok(self.partial)
    }
}

/// Pushes a batch through a chain of operators.
fn push(operators: &mut [Box<dyn Operator>], mut batch: Batch, out: &mut Batch) -> Result<(), Error> {
    for operator in operators {
        if batch.is_empty() {
            return Ok(());
        }
        let mut next = Batch::default();
        let input = if operator.by_column() { batch } else { batch.by_row() };
        operator.on_batch(0, input, &mut next)?;
        batch = next;
    }
    out.append(batch);
    Ok(())
}

/// Ends a chain of operators, first to last.
fn end(operators: &mut [Box<dyn Operator>], out: &mut Batch) -> Result<(), Error> {
    for index in 0..operators.len() {
        let mut last = Batch::default();
        operators[index].on_end(0, &mut last)?;
        push(&mut operators[index + 1..], last, out)?;
    }
    Ok(())
}

fn add_weights(into: &mut SignedRow, other: SignedRow) -> Result<(), Error> {
    into.weight = into.weight.saturating_add(other.weight);
    Ok(())
}

/// Merges two sorted lists; equal items become one.
fn merge<T>(
    into: &mut Vec<T>,
    other: Vec<T>,
    compare: impl Fn(&T, &T) -> Ordering,
    mut unite: impl FnMut(&mut T, T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = core::mem::take(into).into_iter().peekable();
    let mut right = other.into_iter().peekable();
    into.reserve(left.len() + right.len());
    loop {
        let order = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => compare(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return Ok(()),
        };
        if order != Ordering::Greater {
            into.extend(left.next());
        }
        if order != Ordering::Less
            && let Some(item) = right.next()
        {
            match into.last_mut() {
                Some(last) if order == Ordering::Equal => unite(last, item)?,
                _ => into.push(item),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Id, data::Nested, exec::ops::aggregate::AggregateFunction};

    const BUDGET: Budget = Budget { rows_max: 10_000, bytes_max: 1 << 20 };
    const VERSION: Version = Version { wall_us: 1, counter: 0, author: Id::ZERO };

    fn plan(output: Output) -> FragmentPlan {
        FragmentPlan {
            version: PLAN_VERSION,
            namespace: "t".to_owned(),
            locality_bits: 0,
            decode: Decode::Row,
            columns: vec![0, 1],
            identity: false,
            filter: None,
            project: None,
            output,
            missing: Vec::new(),
        }
    }

    fn outputs() -> Vec<Output> {
        let key = |column, descending| SortKey { column, descending, nulls_first: descending };
        let call = |function| AggregateCall { function, arg: Some(Scalar::Column(1)), distinct: false };
        vec![
            Output::Rows,
            Output::Distinct,
            Output::Top(vec![key(1, true)], 3),
            Output::Groups(
                vec![Scalar::Column(0)],
                vec![
                    call(AggregateFunction::Count),
                    call(AggregateFunction::Avg),
                    call(AggregateFunction::Min),
                    call(AggregateFunction::Max),
                ],
            ),
        ]
    }

    fn run(plan: &FragmentPlan, values: &[Vec<u8>]) -> Partial {
        plan.run(values.iter().map(|value| (&b"k"[..], &value[..], &VERSION)), &BUDGET).unwrap()
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_whole(
            rows in prop::collection::vec((0_i64..4, prop::option::of(-3_i64..3), 0_usize..5), 0..60),
            order in any::<[usize; 4]>(),
        ) {
            let value = |row: &(i64, Option<i64>, usize)| {
                codec::encode_row(&[Value::Integer(row.0), row.1.map_or(Value::Null, Value::Integer)])
            };
            for output in outputs() {
                let plan = plan(output);
                let whole = run(&plan, &rows.iter().map(value).collect::<Vec<_>>());
                let part = |part| {
                    let values: Vec<_> = rows.iter().filter(|row| row.2 == part).map(value).collect();
                    run(&plan, &values)
                };
                let mut parts: Vec<Partial> = (0..5).map(part).collect();
                // A random tree: two of the parts become one until one is left.
                for pick in order {
                    let right = parts.remove(pick % parts.len());
                    let index = pick / 7 % parts.len();
                    plan.combine(&mut parts[index], right, &BUDGET).unwrap();
                }
                let mut combined = parts.remove(0);
                let mut whole = whole;
                (combined.batch, whole.batch) = (combined.batch.by_row(), whole.batch.by_row());
                if plan.output == Output::Rows {
                    sort::sort_and_cut(&mut combined.batch.rows, &[], None);
                    sort::sort_and_cut(&mut whole.batch.rows, &[], None);
                }
                prop_assert_eq!((combined.batch, combined.scanned), (whole.batch, whole.scanned));
            }
        }

        #[test]
        fn hostile_plans_do_not_panic(
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            which in 0_usize..4,
        ) {
            let mut bytes = plan(outputs().remove(which)).encode();
            noise.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
            if let Ok(plan) = FragmentPlan::decode(&bytes) {
                let value = codec::encode_row(&[Value::Integer(1), Value::Null]);
                let records = [(&b"k"[..], &value[..], &VERSION), (b"k", b"junk", &VERSION)];
                let _ = plan.run(records.into_iter().take(1), &BUDGET);
                let _ = plan.run(records.into_iter(), &BUDGET);
                let mut into = Partial::default();
                for output in outputs() {
                    let mut other = super::tests::plan(output).run(records.into_iter().take(1), &BUDGET).unwrap();
                    other.batch.rows.push(SignedRow { row: Vec::new(), weight: i64::MIN });
                    let _ = plan.combine(&mut into, other, &BUDGET);
                }
            }
        }
    }

    #[test]
    fn a_plan_that_nests_too_deep_is_refused() {
        let mut deep = Scalar::Column(0);
        for _ in 0..1_000 {
            deep = Scalar::Not(Nested::new(deep));
        }
        let plan = FragmentPlan { filter: Some(deep), ..plan(Output::Rows) };
        assert_eq!(FragmentPlan::decode(&plan.encode()).unwrap_err().code(), UNSUPPORTED);
    }

    #[test]
    fn another_plan_version_is_a_typed_error() {
        let plan = FragmentPlan { version: PLAN_VERSION + 1, ..plan(Output::Rows) };
        assert_eq!(FragmentPlan::decode(&plan.encode()).unwrap_err().code(), UNSUPPORTED);
    }

    #[test]
    fn a_budget_that_is_used_up_is_a_typed_error() {
        let value = codec::encode_row(&[Value::Integer(1)]);
        let budget = Budget { rows_max: 2, bytes_max: 1 << 20 };
        let records = [(&b"k"[..], &value[..], &VERSION); 3];
        assert_eq!(plan(Output::Rows).run(records.into_iter(), &budget).unwrap_err().code(), super::BUDGET);
    }
}
