//! A statement as it is run: names are resolved, parameters are filled in, operators are chosen.
//!
//! [`sql::plan`](crate::sql::plan) makes it, [`Run`](super::Run) carries it out, both at the peer that asks. What other
//! peers run of it are its [`FragmentPlan`]s.

use super::{
    change::{Insert, Modify},
    fragment::FragmentPlan,
    ops::{
        aggregate::{AggregateCall, Mode},
        sort::SortKey,
    },
    schema::{Alter, CreateAs, Show},
};
use crate::{
    data::{Column, Row},
    sql::{ast::JoinKind, catalog::TableDescriptor, scalar::Scalar},
    store::Version,
};

/// A statement as it is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The tables that it was planned with, and the version of each one's catalog entry: if it is another by now, the
    /// plan is of no use any more.
    pub(crate) tables: Vec<(String, Version)>,
    /// What to do.
    pub(crate) task: Task,
}

/// What a plan does.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Defines a table, unless there is one of that name; with the flag any definition will do.
    Create(TableDescriptor, bool),
    /// Drops a table; with the flag it need not be there.
    Drop(String, bool),
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
}

/// See [`Op::HashJoin`].
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// Which join.
    pub kind: JoinKind,
    /// Over the left row.
    pub left: Vec<Scalar>,
    /// Over the right row.
    pub right: Vec<Scalar>,
    /// Over the joined row.
    pub residual: Option<Scalar>,
    /// How many columns the right row has.
    pub right_width: usize,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What runs over its records.
    pub fragment: FragmentPlan,
    /// The keys to get; `None`: all records, by a gather.
    pub keys: Option<Vec<Vec<u8>>>,
    /// What the statement calls the table; only EXPLAIN asks.
    pub name: String,
    /// The columns read, by identity; only EXPLAIN asks.
    pub read: Vec<u32>,
}

impl Op {
    /// How many inputs it has.
    pub fn inputs(&self) -> usize {
        match self {
            Op::Unit | Op::Source(_) => 0,
            Op::HashJoin(_) => 2,
            _ => 1,
        }
    }
}
