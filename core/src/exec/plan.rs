//! A statement as it is run: names are resolved, parameters are filled in, operators are chosen.
//!
//! [`sql::plan`](crate::sql::plan) makes it, [`Run`](super::Run) carries it out, both at the peer that asks. What other
//! peers run of it are its [`FragmentPlan`]s.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    change::{Insert, Modify},
    exchange::{Follow, Input, JoinPlan, Sides, Way},
    fragment::FragmentPlan,
    ops::{
        aggregate::{AggregateCall, Mode},
        sort::SortKey,
    },
    schema::{Alter, CreateAs, CreateIndex, Grant, Show},
};
use crate::{
    data::{Column, Nested, Row, Value},
    seal::Opening,
    sql::{
        ast::{BinaryOp, FrameUnit, SetOp},
        catalog::TableDescriptor,
        cost::Weighed,
        explain::Lines,
        logical::Scan,
        scalar::Scalar,
    },
    store::{KeyOp, Version},
    trust::Realm,
};

/// A statement as it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The tables that it was planned with, and the version of each one's catalog entry: if it is another by now, the
    /// plan is of no use any more.
    pub(crate) tables: Vec<(String, Version)>,
    /// The keyrings of these tables, and the version of each one's ring: the same holds.
    pub(crate) rings: Vec<(Realm, Version)>,
    /// What to do.
    pub(crate) task: Task,
}

/// What a plan does.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Defines a table, unless there is one of that name; with the first flag any definition will do, with the second only who
    /// may reads it. The operations come before it, one by one, and may find that they were done already.
    Create(TableDescriptor, (bool, bool), Vec<KeyOp>),
    /// Drops a table; with the first flag it need not be there, with the second references to it go, too.
    Drop(String, bool, bool),
    /// Answers with the rows of a flow.
    Query(Flow, Vec<Column>),
    /// Answers with rows that are known already.
    Rows(Vec<Row>, Vec<Column>),
    /// Puts new rows.
    Insert(Box<Insert>),
    /// Changes rows, or removes them.
    Modify(Box<Modify>),
    /// Changes the definition of a table.
    Alter(Box<Alter>),
    /// Defines a view.
    Show(Box<Show>),
    /// Drops a view; with the flag it need not be there.
    DropView(String, bool),
    /// Defines a table with the rows of a query.
    CreateAs(Box<CreateAs>),
    /// Gives a table an index.
    CreateIndex(Box<CreateIndex>),
    /// Drops an index; with the flag it need not be there.
    DropIndex(String, bool),
    /// Changes who may do what with a table.
    Grant(Box<Grant>),
    /// Carries a query out and tells what each operator gave.
    Analyze(Box<Analyze>),
    /// Gathers statistics of a table, or of all.
    Profile(Option<Box<TableDescriptor>>),
    /// Does something, and opens what is sealed in the rows of the result.
    Opened(Box<Task>, Vec<Option<Arc<Opening>>>),
}

impl Task {
    /// The same, with the columns of its result opened so.
    pub(crate) fn opened(self, openings: Vec<Option<Arc<Opening>>>) -> Task {
        if openings.iter().all(Option::is_none) { self } else { Task::Opened(Box::new(self), openings) }
    }
}

/// See [`Task::Analyze`].
#[derive(Clone, Debug, PartialEq)]
pub struct Analyze {
    /// The query.
    pub flow: Flow,
    /// What EXPLAIN says of it.
    pub lines: Lines,
    /// It is told as JSON.
    pub json: bool,
}

/// The operators of a query: the inputs of each stand before it, in the order of its ports; the last one gives the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow(pub(crate) Vec<Op>);

/// What an operator does. [`Scalar::Column`] and `SortKey::column` are positions in its input row.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// One row without columns.
    Unit,
    /// Gathers what the owners of a table make of it.
    Source(Source),
    /// Keeps rows for which the condition is true.
    Filter(Scalar),
    /// Computes columns.
    Project(Vec<Scalar>),
    /// Joins on equal expressions over the left and the right row, and a condition over both.
    HashJoin(Join),
    /// Groups.
    Aggregate {
        /// Grouping expressions.
        keys: Vec<Scalar>,
        /// Aggregates.
        calls: Vec<AggregateCall>,
        /// From rows, or from partial aggregates.
        mode: Mode,
    },
    /// Different rows.
    Distinct,
    /// Rows in order, perhaps only the first.
    Sort(Vec<SortKey>, Option<u64>),
    /// Some rows.
    Limit(u64, Option<u64>),
    /// Rows that are known.
    Rows(Vec<Row>),
    /// Two inputs as sets of rows; with the flag rows keep their multiplicity.
    Set(SetOp, bool),
    /// Looks at the rows of a subquery for each row.
    MarkJoin(MarkJoin),
    /// Keeps its input under a number, for [`Op::Recall`]; hands nothing on. The name is for EXPLAIN only.
    Share(u32, String),
    /// The rows that are kept under a number.
    Recall(u32, String),
    /// Within [`Recursion::step`]: the rows of the iteration before (0), or another input of the recursion.
    Input(u32),
    /// Repeats a flow over its own rows.
    Recursive(Recursion),
    /// Groups, with aggregates that need all their values at once.
    Collect(Vec<Scalar>, Vec<Call>),
    /// Computes over the rows around each row.
    Window(Window),
}

/// An aggregate as a statement has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// One whose partial states add up.
    Basic(AggregateCall),
    /// One that needs all its values at once.
    Collected {
        /// Which.
        function: Collected,
        /// Over what; a row whose first argument is NULL does not count.
        args: Vec<Scalar>,
        /// Over different arguments only.
        distinct: bool,
        /// In which order.
        order: Vec<OrderKey>,
    },
}

/// An aggregate function that needs all its values at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// `string_agg(text, separator)`.
    StringAgg,
    /// `var_pop`, `var_samp`, `stddev_pop`, `stddev_samp`.
    Spread {
        /// Of a sample: divided by one less than there are.
        sample: bool,
        /// The root of it.
        root: bool,
    },
    /// `sum(interval)`, `avg(interval)`.
    Span {
        /// Divided by how many there are.
        mean: bool,
    },
    /// `corr(y, x)`, `regr_slope(y, x)`, ..
    Pairs(Pairs),
    /// `percentile_cont(share) WITHIN GROUP (ORDER BY value)`, `percentile_disc`; over the value, then the share.
    Percentile {
        /// Between two values what lies between them.
        continuous: bool,
    },
    /// `mode() WITHIN GROUP (ORDER BY value)`.
    Mode,
    /// `json_agg`, `json_object_agg`.
    Json {
        /// One object of objects; else an array.
        object: bool,
    },
}

/// What is asked of pairs of numbers `(y, x)`, by PostgreSQL's names of the functions.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    Corr,
    CovarPop,
    CovarSamp,
    RegrAvgx,
    RegrAvgy,
    RegrCount,
    RegrIntercept,
    RegrR2,
    RegrSlope,
    RegrSxx,
    RegrSxy,
    RegrSyy,
}

/// One key of an order: an expression over the row.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderKey {
    /// By what.
    pub scalar: Scalar,
    /// Largest first.
    pub descending: bool,
    /// NULLs before everything else, or after.
    pub nulls_first: bool,
}

/// See [`Op::Window`].
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Rows for which these are equal are around each other.
    pub partition: Vec<Scalar>,
    /// Their order.
    pub order: Vec<OrderKey>,
    /// What is computed.
    pub calls: Vec<WindowCall>,
}

/// A window function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowCall {
    /// Which.
    pub function: WindowFunction,
    /// Over the row.
    pub args: Vec<Scalar>,
    /// Which rows around it.
    pub frame: WindowFrame,
}

/// A window function.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowFunction {
    /// `row_number()`.
    RowNumber,
    /// `rank()`.
    Rank,
    /// `dense_rank()`.
    DenseRank,
    /// `percent_rank()`.
    PercentRank,
    /// `cume_dist()`.
    CumeDist,
    /// `ntile(buckets)`.
    Ntile,
    /// `lag(value [, offset [, default]])`.
    Lag,
    /// `lead(value [, offset [, default]])`.
    Lead,
    /// `first_value(value)`.
    FirstValue,
    /// `last_value(value)`.
    LastValue,
    /// `nth_value(value, n)`.
    NthValue,
    /// An aggregate of the rows in the frame.
    Aggregate(Call),
}

/// Which rows of the partition count for a row.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowFrame {
    /// What bounds count.
    pub unit: FrameUnit,
    /// The first one.
    pub start: Bound,
    /// The last one.
    pub end: Bound,
}

/// A bound of a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// The first row of the partition.
    First,
    /// So much before.
    Before(Value),
    /// The row itself; where peers count, all of them.
    Current,
    /// So much after.
    After(Value),
    /// The last row of the partition.
    Last,
}

impl Call {
    /// What it evaluates over a row.
    pub fn scalars(&self) -> Vec<&Scalar> {
        match self {
            Call::Basic(call) => call.arg.iter().collect(),
            Call::Collected { args, order, .. } => args.iter().chain(order.iter().map(|key| &key.scalar)).collect(),
        }
    }

    /// The same, to be changed.
    pub fn scalars_mut(&mut self) -> Vec<&mut Scalar> {
        match self {
            Call::Basic(call) => call.arg.iter_mut().collect(),
            Call::Collected { args, order, .. } => {
                args.iter_mut().chain(order.iter_mut().map(|key| &mut key.scalar)).collect()
            }
        }
    }
}

impl Window {
    /// What it evaluates over a row.
    pub fn scalars(&self) -> Vec<&Scalar> {
        let mut all: Vec<&Scalar> = self.partition.iter().chain(self.order.iter().map(|key| &key.scalar)).collect();
        for call in &self.calls {
            all.extend(&call.args);
            if let WindowFunction::Aggregate(aggregate) = &call.function {
                all.extend(aggregate.scalars());
            }
        }
        all
    }

    /// The same, to be changed.
    pub fn scalars_mut(&mut self) -> Vec<&mut Scalar> {
        let order = self.order.iter_mut().map(|key| &mut key.scalar);
        let mut all: Vec<&mut Scalar> = self.partition.iter_mut().chain(order).collect();
        for call in &mut self.calls {
            all.extend(&mut call.args);
            if let WindowFunction::Aggregate(aggregate) = &mut call.function {
                all.extend(aggregate.scalars_mut());
            }
        }
        all
    }
}

/// Which join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// Pairs that match, and rows of the left side without a match.
    Left,
    /// Pairs that match, and rows of both sides without a match.
    Full,
    /// Rows of the left side with a match, each once. Peers make it; at the asker it is a [`MarkJoin`].
    Semi,
    /// Rows of the left side without a match; the same.
    Anti,
}

/// What becomes of a row for which a subquery was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// It stays if the subquery is true for it.
    Semi,
    /// It stays if the subquery is false for it, neither true nor unknown.
    Anti,
    /// It gets a column that says whether the subquery is true for it.
    Mark,
    /// It gets the value of the subquery's only row: the column of that position in the right row.
    Single(u32),
}

/// See [`Op::MarkJoin`].
#[derive(Clone, Debug, PartialEq)]
pub struct MarkJoin {
    /// What becomes of the left row.
    pub kind: MarkKind,
    /// Which right rows are the subquery's for a left row.
    pub on: On,
    /// What is asked of their values (`IN`, `ANY`): an operand over the left row, a value of the right row. Without it:
    /// whether there is a row at all.
    pub compare: Option<(Scalar, BinaryOp, Scalar)>,
}

/// What two rows must have in common.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct On {
    /// Over the left row.
    pub left: Vec<Scalar>,
    /// Over the right row, to be equal to the expression over the left row.
    pub right: Vec<Scalar>,
    /// Where NULL equals NULL (`IS NOT DISTINCT FROM`).
    pub null_safe: Vec<bool>,
    /// Over the joined row.
    pub residual: Option<Scalar>,
}

/// See [`Op::Recursive`]. Its inputs: where it begins, then what the step reads beside.
#[derive(Clone, Debug, PartialEq)]
pub struct Recursion {
    /// What it calls its rows; only EXPLAIN and errors ask.
    pub name: String,
    /// From the rows of one iteration to those of the next.
    pub step: Flow,
    /// `UNION ALL`: a row that was there before counts again.
    pub all: bool,
    /// How many inputs it has.
    pub inputs: usize,
    /// The input that is asked for as the iterations need it.
    pub walk: Option<Walk>,
}

/// An input of a recursion, a table, of which an iteration needs the rows that match its own: so what is reached is read, and
/// nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Walk {
    /// Which input.
    pub port: usize,
    /// The column of an iteration's rows of which the table's rows have a value.
    pub column: usize,
}

/// See [`Op::HashJoin`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Which join.
    pub kind: JoinKind,
    /// When rows match.
    pub on: On,
    /// How many columns the left and the right row have.
    pub widths: [usize; 2],
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What runs over its records.
    pub fragment: FragmentPlan,
    /// The keys to get; `None`: all records, by a gather.
    pub keys: Option<Vec<Vec<u8>>>,
    /// Or the entries of an index that lead to keys; where these are many, all records after all.
    pub index: Option<Box<IndexScan>>,
    /// What the statement calls the table; only EXPLAIN asks.
    pub name: String,
    /// The columns read, by identity; only EXPLAIN asks.
    pub read: Vec<u32>,
    /// Its place among the sources of the flow.
    pub number: usize,
    /// What it waits for.
    pub after: Option<After>,
    /// What it was planned from; `None` where it is as it is.
    pub scan: Option<Box<Scan>>,
    /// What peers join in its place; the fragment then is what becomes of the pairs.
    pub join: Option<Box<Joined>>,
}

/// Two sources that peers join.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// The left and the right one; each may itself be a join that peers make.
    pub inputs: [Source; 2],
    /// The columns of their rows, by identity; only EXPLAIN asks.
    pub schemas: [Vec<u32>; 2],
    /// When rows match.
    pub join: Join,
    /// How they are brought together.
    pub way: Way,
    /// At how many places at most.
    pub buckets: u16,
    /// The way of rows past the owners of others, and for a semi-join what owners send beforehand.
    pub follow: Option<(Follow, Option<[FragmentPlan; 2]>)>,
    /// What this and other ways cost by estimate, this one first; only EXPLAIN asks.
    pub ways: Vec<Weighed>,
}

impl Joined {
    /// What the node is asked for.
    pub fn plan(&self, tail: &FragmentPlan) -> JoinPlan {
        let first = self.follow.as_ref().and_then(|(_, first)| first.clone());
        let inputs = match first {
            Some(first) => first.map(Input::Table),
            None => [0, 1].map(|port: usize| {
                let Source { fragment, join, .. } = &self.inputs[port];
                match join {
                    Some(joined) => Input::Join(Nested::new(joined.plan(fragment))),
                    None => Input::Table(fragment.clone()),
                }
            }),
        };
        let follow = self.follow.as_ref().map(|(follow, _)| follow.clone());
        let sides = Sides { inputs, join: self.join.clone(), way: self.way, buckets: self.buckets, follow };
        JoinPlan { sides, tail: tail.clone() }
    }
}

/// What a source waits for: only those of its rows count that have one of the values which another source gives.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// The number of the other source.
    pub source: usize,
    /// Which of the other's columns.
    pub column: usize,
    /// Which column of its own must be equal to that one, by identity.
    pub equals: u32,
    /// That one, by identity; only EXPLAIN asks.
    pub value: u32,
    /// How much the conditions of the other source say; only the planner asks.
    pub weight: u8,
}

/// Entries of an index.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexScan {
    /// The name of the index; only EXPLAIN asks.
    pub name: String,
    /// The namespace of its tree.
    pub namespace: String,
    /// Locality bits of that namespace.
    pub locality_bits: u8,
    /// The table, and the version of its entry with which the index was there.
    pub table: (String, Version),
    /// Ranges of keys, each from the first on and before the second.
    pub ranges: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether the first rows of an order are wanted: the ranges are read one after the other, no further than they lead
    /// to these.
    pub order: Option<IndexOrder>,
}

/// How the entries of an index stand for the order of [`Output::Top`](super::fragment::Output::Top).
#[derive(Clone, Debug, PartialEq)]
pub struct IndexOrder {
    /// So many rows are wanted.
    pub first: u64,
    /// The last entries of a range come first.
    pub backwards: bool,
    /// What the keys of all entries begin with.
    pub begin: Vec<u8>,
    /// With which columns of the row they go on, and whether these are turned round.
    pub columns: Vec<(u32, bool)>,
    /// Whether rows that are equal in all these may differ.
    pub ties: bool,
    /// What is read where that comes to too much; `None`: all records.
    pub otherwise: Option<Box<IndexScan>>,
}

impl Op {
    /// How many inputs it has.
    pub fn inputs(&self) -> usize {
        match self {
            Op::Unit | Op::Source(_) | Op::Rows(_) | Op::Recall(..) | Op::Input(_) => 0,
            Op::HashJoin(_) | Op::Set(..) | Op::MarkJoin(_) => 2,
            Op::Recursive(recursion) => recursion.inputs,
            _ => 1,
        }
    }
}

impl On {
    /// Whether a key matches nothing, for it is NULL where NULL equals nothing.
    pub fn matches_nothing(&self, key: &[Value]) -> bool {
        key.iter().enumerate().any(|(at, value)| value.is_null() && self.null_safe.get(at) != Some(&true))
    }
}
