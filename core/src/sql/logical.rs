//! Logical plans: what a query means, by the identity of columns.
//!
//! Every column of every table reference, every aggregate and every computed item has a number of its own within a
//! statement ([`ColumnId`]), so that moving a predicate or dropping a column never renumbers anything. In these
//! plans [`Scalar::Column`] and [`SortKey::column`] hold such identities.

use super::{
    ast::{BinaryOp, JoinKind},
    scalar::Scalar,
};
use crate::{
    data::{Nested, Type, Value},
    exec::{
        fragment::Decode,
        ops::{aggregate::AggregateCall, sort::SortKey},
    },
    map::Set,
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
        calls: Vec<(ColumnId, AggregateCall)>,
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
        }
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

    /// Takes a condition apart into what must all be true.
    pub fn conjuncts(self) -> Vec<Scalar> {
        let (mut open, mut parts) = (vec![self], Vec::new());
        while let Some(scalar) = open.pop() {
            match scalar {
                Scalar::Binary(BinaryOp::And, a, b) => open.extend([b.into_inner(), a.into_inner()]),
                other => parts.push(other),
            }
        }
        parts
    }

    /// The opposite of [`Scalar::conjuncts`], balanced so that many conjuncts do not nest deep; `None` for none.
    pub fn all(mut conjuncts: Vec<Scalar>) -> Option<Scalar> {
        while conjuncts.len() > 1 {
            let mut next = Vec::with_capacity(conjuncts.len().div_ceil(2));
            let mut rest = conjuncts.into_iter();
            while let Some(a) = rest.next() {
                next.push(match rest.next() {
                    Some(b) => Scalar::Binary(BinaryOp::And, Nested::new(a), Nested::new(b)),
                    None => a,
                });
            }
            conjuncts = next;
        }
        conjuncts.pop()
    }
}
