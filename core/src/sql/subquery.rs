//! Subqueries in expressions: each becomes a column of its own, which a join to the plan computes.
//!
//! ```text
//!   x IN (SELECT ..)  ─▶  column 7, and: for column 7, ask the query whether x is in it
//!   ... AND column 7  ─▶  a condition that is nothing else is a semi join, NOT EXISTS an anti join
//! ```
//!
//! So nothing is evaluated again for each row: the query is evaluated once, as a whole, whether it depends on the row
//! ([`unnest`](super::unnest)) or not. It is also evaluated where CASE or OR would not have looked at it.

use super::{
    ast::{BinaryOp, Select},
    fault::{COLUMN_COUNT, UNSUPPORTED, fail},
    logical::{ColumnId, Logical, Mark, SUBSTITUTED_MAX},
    rules::{grown, substitute},
    scalar::Scalar,
    scope::{Binder, Scope, Typed},
    select::Query,
};
use crate::{
    Error,
    data::{Nested, Type},
    exec::plan,
};

/// A subquery that an expression found.
pub struct Subquery {
    /// The column that stands for it in the expression.
    pub id: ColumnId,
    plan: Logical,
    ask: Ask,
}

/// What is asked of a subquery.
enum Ask {
    /// Whether it has rows.
    Exists,
    /// The value of that column in its only row.
    Value(ColumnId),
    /// Whether the comparison holds between the operand and that column of any row.
    Any(Scalar, BinaryOp, ColumnId),
}

impl Subquery {
    /// Makes it one over groups: `over` gives an expression over groups, or the column that is not grouped.
    pub fn over_groups(&mut self, over: &mut dyn FnMut(&Scalar) -> Result<Scalar, ColumnId>) -> Result<(), ColumnId> {
        if let Ask::Any(operand, ..) = &mut self.ask {
            *operand = over(operand)?;
        }
        let mut open = vec![&mut self.plan];
        while let Some(plan) = open.pop() {
            for scalar in plan.scalars_mut() {
                let mut failed = None;
                let replaced = scalar.replace(&mut |id| over(&Scalar::Column(id)).map_err(|id| failed = Some(id)).ok());
                match (replaced, failed) {
                    (Some(replaced), _) => *scalar = replaced,
                    (None, failed) => return Err(failed.unwrap_or_default()),
                }
            }
            open.extend(plan.inputs_mut());
        }
        Ok(())
    }
}

impl Binder<'_> {
    /// `(SELECT ..)` as a value.
    pub(super) fn value_of(&mut self, query: &Select, scope: &Scope, depth: u32) -> Result<Typed, Error> {
        let query = self.inner(query, scope, depth)?;
        let query = self.unsealed(query, "a subquery that is a value")?;
        let value = only_column(&query)?;
        let data_type = query.columns[0].data_type;
        Ok(self.found("(subquery)", query.plan, Ask::Value(value), data_type))
    }

    /// `EXISTS (SELECT ..)`.
    pub(super) fn exists(&mut self, query: &Select, scope: &Scope, depth: u32) -> Result<Typed, Error> {
        let query = self.inner(query, scope, depth)?;
        Ok(self.found("EXISTS (subquery)", query.plan, Ask::Exists, Some(Type::Boolean)))
    }

    /// `operand op ANY (SELECT ..)`.
    pub(super) fn any(
        &mut self,
        operand: Typed,
        op: BinaryOp,
        query: &Select,
        scope: &Scope,
        depth: u32,
    ) -> Result<Typed, Error> {
        let query = self.inner(query, scope, depth)?;
        let query = self.unsealed(query, "a comparison with a subquery")?;
        let value = only_column(&query)?;
        let typed = Typed::new(Scalar::Column(value), query.columns[0].data_type);
        let compared = self.comparison(op, operand, typed)?.scalar;
        match compared {
            Scalar::Binary(op, operand, right) if *right == Scalar::Column(value) => {
                let ask = Ask::Any(operand.into_inner(), op, value);
                Ok(self.found("IN (subquery)", query.plan, ask, Some(Type::Boolean)))
            }
            // The value is to be converted first.
            Scalar::Binary(op, operand, right) => {
                let id = self.column(query.columns[0].name.clone(), None);
                let exprs = vec![(id, right.into_inner())];
                let plan = Logical::Project { input: Box::new(query.plan), exprs };
                let ask = Ask::Any(operand.into_inner(), op, id);
                Ok(self.found("IN (subquery)", plan, ask, Some(Type::Boolean)))
            }
            _ => fail(UNSUPPORTED, "this comparison with a subquery"),
        }
    }

    /// Binds the query, which sees the columns around it.
    fn inner(&mut self, query: &Select, scope: &Scope, depth: u32) -> Result<Query, Error> {
        if self.subqueries.is_none() {
            return fail(UNSUPPORTED, "a subquery in this place");
        }
        let (bound, around) = (self.bound, self.depth);
        self.outer.push(scope.clone());
        self.depth = depth + 1;
        let query = self.query(query, self.queries + 1);
        self.outer.pop();
        (self.bound, self.depth) = (bound, around);
        query
    }

    fn found(&mut self, name: &str, plan: Logical, ask: Ask, data_type: Option<Type>) -> Typed {
        let id = self.column(name.to_owned(), data_type);
        self.subqueries.get_or_insert_default().push(Subquery { id, plan, ask });
        self.column_ref(id)
    }

    /// The plan with the columns of subqueries.
    pub(super) fn attached(&mut self, mut plan: Logical, found: Vec<Subquery>) -> Result<Logical, Error> {
        for subquery in found {
            plan = self.asked(plan, subquery, None)?;
        }
        Ok(plan)
    }

    /// The rows for which all conjuncts are true, with the subqueries in them.
    pub(super) fn filtered(
        &mut self,
        mut plan: Logical,
        mut conjuncts: Vec<Scalar>,
        found: Vec<Subquery>,
    ) -> Result<Logical, Error> {
        let asks = |conjunct: &Scalar| found.iter().any(|subquery| conjunct.columns().contains(&subquery.id));
        let first: Vec<Scalar> = conjuncts.extract_if(.., |conjunct| !asks(conjunct)).collect();
        if !first.is_empty() {
            plan = Logical::Filter { input: Box::new(plan), conjuncts: first };
        }
        let mut read: Vec<ColumnId> = Vec::new();
        for subquery in &found {
            if let Ask::Any(operand, ..) = &subquery.ask {
                read.extend(operand.columns());
            }
        }
        read.extend(conjuncts.iter().flat_map(Scalar::columns));
        for subquery in found {
            let itself = Scalar::Column(subquery.id);
            let not = Scalar::Not(Nested::new(itself.clone()));
            let once = read.iter().filter(|id| **id == subquery.id).count() == 1;
            let whole = conjuncts.iter().position(|conjunct| *conjunct == itself || *conjunct == not);
            let kind = match whole {
                Some(at) if once && !matches!(subquery.ask, Ask::Value(_)) => {
                    Some(if conjuncts.remove(at) == itself { Mark::Semi } else { Mark::Anti })
                }
                _ => None,
            };
            plan = self.asked(plan, subquery, kind)?;
        }
        Ok(if conjuncts.is_empty() { plan } else { Logical::Filter { input: Box::new(plan), conjuncts } })
    }

    /// An outer join whose condition has subqueries: each may look at one of the sides.
    pub(super) fn outer_join(
        &mut self,
        mut left: Logical,
        mut right: Logical,
        on: Vec<Scalar>,
        found: Vec<Subquery>,
    ) -> Result<Logical, Error> {
        for subquery in found {
            let mut read = subquery.plan.reads();
            if let Ask::Any(operand, ..) = &subquery.ask {
                read.extend(operand.columns());
            }
            let reads = |side: &Logical| side.schema().iter().any(|id| read.contains(id));
            match (reads(&left), reads(&right)) {
                (true, true) => {
                    return fail(UNSUPPORTED, "a subquery over both sides in the condition of an outer join");
                }
                (true, false) => left = self.asked(left, subquery, None)?,
                (false, _) => right = self.asked(right, subquery, None)?,
            }
        }
        self.joined(left, right, plan::JoinKind::Left, on)
    }

    /// The plan with the column of a subquery, or the rows for which it is true.
    fn asked(&mut self, plan: Logical, subquery: Subquery, kind: Option<Mark>) -> Result<Logical, Error> {
        let Subquery { id, plan: query, ask } = subquery;
        let outer = plan.schema();
        let (query, kind, on, compare) = match ask {
            Ask::Value(value) => (self.one_row(query), Mark::Single(id, value), Vec::new(), None),
            Ask::Exists => {
                let (query, on) = lift(query, &outer, &mut None);
                (query, kind.unwrap_or(Mark::Truth(id)), on, None)
            }
            Ask::Any(operand, op, column) => {
                let mut value = Some(Scalar::Column(column));
                let (lifted, on) = lift(query.clone(), &outer, &mut value);
                let value = value.filter(|value| !value.columns().iter().any(|id| outer.contains(id)));
                let (query, on, value) = match value {
                    Some(value) => (lifted, on, value),
                    None => (query, Vec::new(), Scalar::Column(column)),
                };
                (query, kind.unwrap_or(Mark::Truth(id)), on, Some((operand, op, value)))
            }
        };
        self.dependent_join(plan, query, |left, right, matched| {
            let on = on.into_iter().chain(matched).collect();
            Logical::Mark { left: Box::new(left), right: Box::new(right), kind, on, compare }
        })
    }
}

fn only_column(query: &Query) -> Result<ColumnId, Error> {
    match &query.plan.schema()[..] {
        [id] => Ok(*id),
        _ => fail(COLUMN_COUNT, "subquery must return only one column"),
    }
}

/// Takes from a query whose rows are only asked for (not counted) what does not matter for that, and the conditions
/// that depend on `outer`, so that they become conditions of the join. `value` is the expression that is asked for.
fn lift(mut plan: Logical, outer: &[ColumnId], value: &mut Option<Scalar>) -> (Logical, Vec<Scalar>) {
    let depends = |scalar: &Scalar| scalar.columns().iter().any(|id| outer.contains(id));
    loop {
        plan = match plan {
            Logical::Project { input, exprs } => {
                if let Some(asked) = value {
                    match substitute(asked, &exprs) {
                        Some(below) if grown(asked, &exprs) <= SUBSTITUTED_MAX => *asked = below,
                        _ => return (Logical::Project { input, exprs }, Vec::new()),
                    }
                }
                *input
            }
            Logical::Distinct { input } | Logical::Sort { input, .. } => *input,
            Logical::Filter { input, mut conjuncts } => {
                if input.reads().iter().any(|id| outer.contains(id)) {
                    return (Logical::Filter { input, conjuncts }, Vec::new());
                }
                let on = conjuncts.extract_if(.., |conjunct| depends(conjunct)).collect();
                let plain = if conjuncts.is_empty() { *input } else { Logical::Filter { input, conjuncts } };
                return (plain, on);
            }
            other => return (other, Vec::new()),
        };
    }
}
