//! Logical plans: what a query means, by the identity of columns.
//!
//! Every column of every table reference, every aggregate and every computed item has a number of its own within a
//! statement ([`ColumnId`]), so that moving a predicate or dropping a column never renumbers anything. In these
//! plans [`Scalar::Column`] and [`SortKey::column`] hold such identities.

use super::{
    ast::{BinaryOp, SetOp},
    index::Index,
    scalar::Scalar,
};
use crate::{
    data::{Nested, Row, Type, Value},
    exec::{
        fragment::Decode,
        ops::sort::SortKey,
        plan::{self, Call, JoinKind},
    },
    map::Set,
    store::Version,
};

/// Nodes that an expression may grow to when others are put into it: what computes `a + a` of `a + a` of `a + a` and
/// so on stays in steps.
pub const SUBSTITUTED_MAX: usize = 2_000;

/// Identifies a column within a statement.
pub type ColumnId = u32;

/// A relational expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Logical {
    /// One row without columns.
    Unit,
    /// The rows of a table.
    Scan(Scan),
    /// Pairs of rows.
    Join {
        /// The left side.
        left: Box<Logical>,
        /// The right side.
        right: Box<Logical>,
        /// Which join.
        kind: JoinKind,
        /// All must be true.
        on: Vec<Scalar>,
    },
    /// Rows for which all conjuncts are true.
    Filter {
        /// Of what.
        input: Box<Logical>,
        /// The conjuncts.
        conjuncts: Vec<Scalar>,
    },
    /// Computed columns.
    Project {
        /// Of what.
        input: Box<Logical>,
        /// New columns.
        exprs: Vec<(ColumnId, Scalar)>,
    },
    /// Groups.
    Aggregate {
        /// Of what.
        input: Box<Logical>,
        /// Grouping expressions.
        keys: Vec<(ColumnId, Scalar)>,
        /// Aggregates.
        calls: Vec<(ColumnId, Call)>,
    },
    /// Different rows.
    Distinct {
        /// Of what.
        input: Box<Logical>,
    },
    /// Rows in order.
    Sort {
        /// Of what.
        input: Box<Logical>,
        /// The order.
        keys: Vec<SortKey>,
    },
    /// Some rows.
    Limit {
        /// Of what.
        input: Box<Logical>,
        /// Rows dropped first.
        skip: u64,
        /// Rows that pass then.
        count: Option<u64>,
    },
    /// Rows that are known.
    Values {
        /// Their columns.
        columns: Vec<ColumnId>,
        /// The rows.
        rows: Vec<Row>,
    },
    /// Two inputs as sets of rows.
    Set {
        /// Which operation.
        op: SetOp,
        /// Rows keep their multiplicity.
        all: bool,
        /// The left side.
        left: Box<Logical>,
        /// The right side.
        right: Box<Logical>,
        /// Each column, and what it is on the left and on the right side.
        columns: Vec<[ColumnId; 3]>,
    },
    /// Rows of the left side, for each of which a subquery is looked at.
    Mark {
        /// The left side.
        left: Box<Logical>,
        /// The subquery.
        right: Box<Logical>,
        /// What becomes of a left row.
        kind: Mark,
        /// Which rows are the subquery's for a left row: those for which all are true.
        on: Vec<Scalar>,
        /// What is asked of their values: an operand over the left row, a value of the right row. Without it: whether
        /// there is a row at all.
        compare: Option<(Scalar, BinaryOp, Scalar)>,
    },
    /// A plan with another one in it that is evaluated once.
    With {
        /// Names it.
        slot: u32,
        /// What EXPLAIN calls it.
        name: String,
        /// What is evaluated once.
        definition: Box<Logical>,
        /// Where it is read.
        body: Box<Logical>,
    },
    /// Rows with what is computed over the rows around each.
    Window {
        /// Of what.
        input: Box<Logical>,
        /// What is around a row, and what is computed.
        window: plan::Window,
        /// The columns that it computes.
        columns: Vec<ColumnId>,
    },
    /// The rows of what is evaluated once.
    Shared {
        /// Names it.
        slot: u32,
        /// What EXPLAIN calls it.
        name: String,
        /// Each column, and which of the definition's it is.
        columns: Vec<(ColumnId, ColumnId)>,
    },
    /// Rows that follow from rows.
    Recursive {
        /// By which [`Logical::Shared`] in `step` reads the rows of the iteration before.
        slot: u32,
        /// What the statement calls it.
        name: String,
        /// A row that was there before counts again.
        all: bool,
        /// Where it begins.
        base: Box<Logical>,
        /// From the rows of one iteration to those of the next.
        step: Box<Logical>,
        /// Each column, and what it is in the base and in the step.
        columns: Vec<[ColumnId; 3]>,
    },
}

/// What becomes of a row for which a subquery is looked at; see [`MarkKind`](crate::exec::plan::MarkKind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It stays if the subquery is true for it.
    Semi,
    /// It stays if the subquery is false for it.
    Anti,
    /// It gets a column with the truth value.
    Truth(ColumnId),
    /// It gets a column with the one value of the subquery: the column, and which one of the subquery it is.
    Single(ColumnId, ColumnId),
}

impl Mark {
    /// The column that the row gets.
    pub fn column(self) -> Option<ColumnId> {
        match self {
            Mark::Truth(id) | Mark::Single(id, _) => Some(id),
            Mark::Semi | Mark::Anti => None,
        }
    }
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// What the statement calls it.
    pub name: String,
    /// Where its rows are.
    pub namespace: String,
    /// Locality bits of that namespace.
    pub locality_bits: u8,
    /// How its records read.
    pub decode: Decode,
    /// Identity, stored position and type of its columns.
    pub columns: Vec<(ColumnId, u32, Type)>,
    /// The columns of its primary key, in key order; empty when there is none.
    pub primary_key: Vec<ColumnId>,
    /// Conjuncts that were pushed into it.
    pub filter: Vec<Scalar>,
    /// The columns that somebody above needs, in order; starts with all.
    pub output: Vec<ColumnId>,
    /// What records have in a column that is younger than they are; NULL where nothing is said.
    pub missing: Vec<(ColumnId, Value)>,
    /// The indexes of the table.
    pub indexes: Vec<Index>,
    /// The table, and the version of its entry; `None` where it has none.
    pub table: Option<(String, Version)>,
    /// Key and version of each record, and the rest of it, where they are wanted; `output` has them, too.
    pub identity: Vec<ColumnId>,
    /// The columns that are never NULL.
    pub not_null: Vec<ColumnId>,
}

impl Logical {
    /// The columns of its rows, in order.
    pub fn schema(&self) -> Vec<ColumnId> {
        match self {
            Logical::Unit => Vec::new(),
            Logical::Scan(scan) => scan.output.clone(),
            Logical::Join { left, right, .. } => [left.schema(), right.schema()].concat(),
            Logical::Project { exprs, .. } => exprs.iter().map(|(id, _)| *id).collect(),
            Logical::Aggregate { keys, calls, .. } => {
                keys.iter().map(|(id, _)| *id).chain(calls.iter().map(|(id, _)| *id)).collect()
            }
            Logical::Filter { input, .. }
            | Logical::Distinct { input }
            | Logical::Sort { input, .. }
            | Logical::Limit { input, .. } => input.schema(),
            Logical::Values { columns, .. } => columns.clone(),
            Logical::Set { columns, .. } | Logical::Recursive { columns, .. } => {
                columns.iter().map(|[id, ..]| *id).collect()
            }
            Logical::Mark { left, kind, .. } => left.schema().into_iter().chain(kind.column()).collect(),
            Logical::With { body, .. } => body.schema(),
            Logical::Window { input, columns, .. } => [input.schema(), columns.clone()].concat(),
            Logical::Shared { columns, .. } => columns.iter().map(|(id, _)| *id).collect(),
        }
    }

    /// What it is computed from.
    pub fn inputs(&self) -> Vec<&Logical> {
        match self {
            Logical::Unit | Logical::Scan(_) | Logical::Values { .. } | Logical::Shared { .. } => Vec::new(),
            Logical::Filter { input, .. }
            | Logical::Project { input, .. }
            | Logical::Aggregate { input, .. }
            | Logical::Distinct { input }
            | Logical::Sort { input, .. }
            | Logical::Window { input, .. }
            | Logical::Limit { input, .. } => vec![input],
            Logical::Join { left, right, .. }
            | Logical::Set { left, right, .. }
            | Logical::Mark { left, right, .. } => {
                vec![left, right]
            }
            Logical::With { definition, body, .. } => vec![definition, body],
            Logical::Recursive { base, step, .. } => vec![base, step],
        }
    }

    /// The same, to be changed.
    pub fn inputs_mut(&mut self) -> Vec<&mut Logical> {
        match self {
            Logical::Unit | Logical::Scan(_) | Logical::Values { .. } | Logical::Shared { .. } => Vec::new(),
            Logical::Filter { input, .. }
            | Logical::Project { input, .. }
            | Logical::Aggregate { input, .. }
            | Logical::Distinct { input }
            | Logical::Sort { input, .. }
            | Logical::Window { input, .. }
            | Logical::Limit { input, .. } => vec![input],
            Logical::Join { left, right, .. }
            | Logical::Set { left, right, .. }
            | Logical::Mark { left, right, .. } => {
                vec![left, right]
            }
            Logical::With { definition, body, .. } => vec![definition, body],
            Logical::Recursive { base, step, .. } => vec![base, step],
        }
    }

    /// The expressions that it evaluates itself.
    pub fn scalars(&self) -> Vec<&Scalar> {
        match self {
            Logical::Scan(scan) => scan.filter.iter().collect(),
            Logical::Join { on, .. } => on.iter().collect(),
            Logical::Filter { conjuncts, .. } => conjuncts.iter().collect(),
            Logical::Project { exprs, .. } => exprs.iter().map(|(_, scalar)| scalar).collect(),
            Logical::Aggregate { keys, calls, .. } => {
                let args = calls.iter().flat_map(|(_, call)| call.scalars());
                keys.iter().map(|(_, scalar)| scalar).chain(args).collect()
            }
            Logical::Window { window, .. } => window.scalars(),
            Logical::Mark { on, compare, .. } => {
                on.iter().chain(compare.iter().flat_map(|(operand, _, value)| [operand, value])).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The same, to be changed.
    pub fn scalars_mut(&mut self) -> Vec<&mut Scalar> {
        match self {
            Logical::Scan(scan) => scan.filter.iter_mut().collect(),
            Logical::Join { on, .. } => on.iter_mut().collect(),
            Logical::Filter { conjuncts, .. } => conjuncts.iter_mut().collect(),
            Logical::Project { exprs, .. } => exprs.iter_mut().map(|(_, scalar)| scalar).collect(),
            Logical::Aggregate { keys, calls, .. } => {
                let args = calls.iter_mut().flat_map(|(_, call)| call.scalars_mut());
                keys.iter_mut().map(|(_, scalar)| scalar).chain(args).collect()
            }
            Logical::Window { window, .. } => window.scalars_mut(),
            Logical::Mark { on, compare, .. } => {
                on.iter_mut().chain(compare.iter_mut().flat_map(|(operand, _, value)| [operand, value])).collect()
            }
            _ => Vec::new(),
        }
    }

    /// All columns that expressions in it read.
    pub fn reads(&self) -> Set<ColumnId> {
        let mut read: Set<ColumnId> = self.scalars().into_iter().flat_map(|scalar| scalar.columns()).collect();
        self.inputs().into_iter().for_each(|input| read.extend(input.reads()));
        read
    }

    /// How often what is evaluated once is read in it.
    pub fn uses(&self, slot: u32) -> usize {
        let own = matches!(self, Logical::Shared { slot: other, .. } if *other == slot);
        usize::from(own) + self.inputs().into_iter().map(|input| input.uses(slot)).sum::<usize>()
    }
}

impl Scalar {
    /// The same with each operand replaced.
    pub fn map_children<E>(&self, map: &mut impl FnMut(&Scalar) -> Result<Scalar, E>) -> Result<Scalar, E> {
        let mut boxed = |scalar: &Nested<Scalar>| map(scalar).map(Nested::new);
        Ok(match self {
            Scalar::Column(_) | Scalar::Literal(_) => self.clone(),
            Scalar::Not(a) => Scalar::Not(boxed(a)?),
            Scalar::Neg(a) => Scalar::Neg(boxed(a)?),
            Scalar::Binary(op, a, b) => Scalar::Binary(*op, boxed(a)?, boxed(b)?),
            Scalar::IsNull(a) => Scalar::IsNull(boxed(a)?),
            Scalar::In(a, list) => Scalar::In(boxed(a)?, list.iter().map(boxed).collect::<Result<_, _>>()?),
            Scalar::Like(a, b, fold) => Scalar::Like(boxed(a)?, boxed(b)?, *fold),
            Scalar::Case(whens, otherwise) => {
                let pair = |(when, then): &(Nested<Scalar>, Nested<Scalar>)| Ok((boxed(when)?, boxed(then)?));
                let whens = whens.iter().map(pair).collect::<Result<_, _>>()?;
                Scalar::Case(whens, boxed(otherwise)?)
            }
            Scalar::Cast(a, to) => Scalar::Cast(boxed(a)?, *to),
            Scalar::Call(function, args) => Scalar::Call(*function, args.iter().map(boxed).collect::<Result<_, _>>()?),
            Scalar::IsBool(a, value) => Scalar::IsBool(boxed(a)?, *value),
        })
    }

    /// The same with each column replaced; `None` where `replace` knows none.
    pub fn replace(&self, replace: &mut dyn FnMut(ColumnId) -> Option<Scalar>) -> Option<Scalar> {
        if let Scalar::Column(id) = self {
            return replace(*id);
        }
        self.map_children(&mut |child| child.replace(replace).ok_or(())).ok()
    }

    /// How many nodes it would have with each column replaced by something of `size_of` nodes.
    pub fn size_with(&self, size_of: &dyn Fn(ColumnId) -> usize) -> usize {
        if let Scalar::Column(id) = self {
            return size_of(*id);
        }
        let mut size = 1_usize;
        let _ = self.map_children::<()>(&mut |child| {
            size = size.saturating_add(child.size_with(size_of));
            Ok(Scalar::Literal(Value::Null))
        });
        size
    }

    /// How many nodes it has.
    pub fn size(&self) -> usize {
        self.size_with(&|_| 1)
    }

    /// From identities of columns to their positions in `schema`.
    pub fn remap(&self, schema: &[ColumnId]) -> Option<Scalar> {
        self.replace(&mut |id| schema.iter().position(|other| *other == id).map(|at| Scalar::Column(at as u32)))
    }

    /// The columns that it reads.
    pub fn columns(&self) -> Set<ColumnId> {
        let mut columns = Set::new();
        let _ = self.replace(&mut |id| {
            columns.insert(id);
            Some(Scalar::Column(id))
        });
        columns
    }

    /// Whether it reads nothing beyond `schema`.
    pub fn within(&self, schema: &[ColumnId]) -> bool {
        self.columns().iter().all(|id| schema.contains(id))
    }

    /// Takes a condition apart into what must all be true: also what all alternatives of an OR share, so that a condition
    /// that joins is found there, too.
    pub fn conjuncts(self) -> Vec<Scalar> {
        let mut parts = self.operands(BinaryOp::And);
        for at in 0..parts.len() {
            if matches!(parts[at], Scalar::Binary(BinaryOp::Or, ..)) {
                let (shared, rest) = factored(parts[at].clone().operands(BinaryOp::Or));
                if !shared.is_empty() {
                    parts[at] = rest.unwrap_or(Scalar::Literal(Value::Boolean(true)));
                    parts.extend(shared);
                }
            }
        }
        parts
    }

    /// The opposite of [`Scalar::conjuncts`], balanced so that many conjuncts do not nest deep; `None` for none.
    pub fn all(conjuncts: Vec<Scalar>) -> Option<Scalar> {
        Scalar::balanced(BinaryOp::And, conjuncts)
    }

    /// The operands of a chain of AND or OR.
    fn operands(self, op: BinaryOp) -> Vec<Scalar> {
        let (mut open, mut parts) = (vec![self], Vec::new());
        while let Some(scalar) = open.pop() {
            match scalar {
                Scalar::Binary(other, a, b) if other == op => open.extend([b.into_inner(), a.into_inner()]),
                other => parts.push(other),
            }
        }
        parts
    }

    fn balanced(op: BinaryOp, mut operands: Vec<Scalar>) -> Option<Scalar> {
        while operands.len() > 1 {
            let mut next = Vec::with_capacity(operands.len().div_ceil(2));
            let mut rest = operands.into_iter();
            while let Some(a) = rest.next() {
                next.push(match rest.next() {
                    Some(b) => Scalar::Binary(op, Nested::new(a), Nested::new(b)),
                    None => a,
                });
            }
            operands = next;
        }
        operands.pop()
    }
}

/// What all alternatives share, and the alternatives without it: none where one of them is nothing more.
fn factored(alternatives: Vec<Scalar>) -> (Vec<Scalar>, Option<Scalar>) {
    let mut alternatives = alternatives.into_iter().map(|one| one.operands(BinaryOp::And)).collect::<Vec<_>>();
    let mut shared = alternatives.first().cloned().unwrap_or_default();
    for parts in &alternatives {
        shared.retain(|part| parts.contains(part));
        if shared.is_empty() {
            return (shared, None);
        }
    }
    alternatives.iter_mut().for_each(|parts| parts.retain(|part| !shared.contains(part)));
    let rest = alternatives.into_iter().map(Scalar::all).collect::<Option<Vec<_>>>();
    (shared, rest.and_then(|rest| Scalar::balanced(BinaryOp::Or, rest)))
}
