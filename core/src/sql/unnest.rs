//! Queries that depend on the rows of another one, as joins.
//!
//! ```text
//!   for each row of L: the rows of Q(row)        a *dependent join*: Q would run again for each row
//!     ─▶  L joined with Q', where Q' gives Q(d) for all different d at once, and d with each row
//! ```
//!
//! The method of Neumann and Kemper (*Unnesting Arbitrary Queries*, BTW 2015): the different values of what Q reads of L
//! (the *domain*) are pushed down into Q, operator by operator, until nothing below depends on L; there they are joined.
//! Where an equation binds each of them to a column below, the column is the domain and nothing need be joined. So every
//! subquery becomes one query over whole tables: each source is gathered once. L, which is then read twice, is evaluated
//! once.

use super::{
    ast::BinaryOp,
    fault::{UNSUPPORTED, fail},
    logical::{ColumnId, Logical},
    scalar::{Function, Scalar},
    scope::Binder,
};
use crate::{
    Error,
    data::{Nested, Type, Value},
    exec::{
        ops::state::{AggregateFunction, State},
        plan::{Call, JoinKind, OrderKey},
    },
};

/// What an aggregate over nothing is, where that is not NULL.
fn of_nothing(call: &Call) -> Option<Value> {
    match call {
        Call::Basic(call) if call.function == AggregateFunction::Count => Some(Value::Integer(0)),
        Call::Basic(call) if call.function == AggregateFunction::Distinct => {
            Some(Value::Blob(State::new(call.function).encode()))
        }
        _ => None,
    }
}

/// The different values that a query depends on.
struct Domain {
    /// The columns of the rows it depends on.
    outer: Vec<ColumnId>,
    /// Those rows, evaluated once.
    slot: u32,
    /// Whether it had to be joined somewhere.
    used: bool,
    /// What is evaluated once and depends on it: it carries the domain along in these columns.
    carrying: Vec<(u32, Vec<ColumnId>)>,
}

impl Domain {
    fn binds(&self, scalar: &Scalar) -> bool {
        scalar.columns().iter().any(|id| self.outer.contains(id))
    }

    fn in_plan(&self, plan: &Logical) -> bool {
        let carried = match plan {
            Logical::Shared { slot, .. } => self.carrying.iter().any(|(other, _)| other == slot),
            _ => false,
        };
        carried
            || plan.scalars().into_iter().any(|scalar| self.binds(scalar))
            || plan.inputs().into_iter().any(|input| self.in_plan(input))
    }

    /// An expression with the columns that it depends on replaced.
    fn over(&self, scalar: &Scalar, ids: &[ColumnId]) -> Scalar {
        let replaced = scalar.replace(&mut |id| {
            let at = self.outer.iter().position(|other| *other == id);
            Some(Scalar::Column(at.and_then(|at| ids.get(at)).copied().unwrap_or(id)))
        });
        replaced.unwrap_or_else(|| scalar.clone())
    }

    fn over_all(&self, scalars: Vec<Scalar>, ids: &[ColumnId]) -> Vec<Scalar> {
        scalars.iter().map(|scalar| self.over(scalar, ids)).collect()
    }
}

/// The same values, NULL equal to NULL.
fn same(a: &[ColumnId], b: &[ColumnId]) -> Vec<Scalar> {
    let column = |id: &ColumnId| Nested::new(Scalar::Column(*id));
    a.iter().zip(b).map(|(a, b)| Scalar::Binary(BinaryOp::IsNotDistinct, column(a), column(b))).collect()
}

fn pass(ids: impl IntoIterator<Item = ColumnId>) -> Vec<(ColumnId, Scalar)> {
    ids.into_iter().map(|id| (id, Scalar::Column(id))).collect()
}

impl Binder<'_> {
    /// What `make` makes of two sides, of which the right one may depend on the rows of the left one; `make` is given
    /// the conditions that bring them together again.
    pub(super) fn dependent_join(
        &mut self,
        left: Logical,
        right: Logical,
        make: impl FnOnce(Logical, Logical, Vec<Scalar>) -> Logical,
    ) -> Result<Logical, Error> {
        let (schema, read) = (left.schema(), right.reads());
        let outer: Vec<ColumnId> = schema.iter().copied().filter(|id| read.contains(id)).collect();
        if outer.is_empty() {
            return Ok(make(left, right, Vec::new()));
        }
        let mut domain = Domain { outer, slot: self.slot(), used: false, carrying: Vec::new() };
        let (right, ids) = self.unnested(right, &mut domain)?;
        let matched = same(&domain.outer, &ids);
        if !domain.used {
            return Ok(make(left, right, matched));
        }
        let (slot, name) = (domain.slot, "outer rows".to_owned());
        let shared =
            Logical::Shared { slot, name: name.clone(), columns: schema.iter().map(|id| (*id, *id)).collect() };
        let body = Box::new(make(shared, right, matched));
        Ok(Logical::With { slot, name, definition: Box::new(left), body })
    }

    /// The different values themselves, under new columns.
    fn domain(&mut self, domain: &mut Domain) -> (Logical, Vec<ColumnId>) {
        domain.used = true;
        let columns: Vec<(ColumnId, ColumnId)> = domain.outer.iter().map(|id| (self.like(*id), *id)).collect();
        let ids = columns.iter().map(|(id, _)| *id).collect();
        let shared = Logical::Shared { slot: domain.slot, name: "outer rows".to_owned(), columns };
        (Logical::Distinct { input: Box::new(shared) }, ids)
    }

    /// The rows that a plan gives for each value of the domain, and in which columns the value stands.
    fn unnested(&mut self, plan: Logical, domain: &mut Domain) -> Result<(Logical, Vec<ColumnId>), Error> {
        if !domain.in_plan(&plan) {
            let (values, ids) = self.domain(domain);
            let (left, right) = (Box::new(values), Box::new(plan));
            return Ok((Logical::Join { left, right, kind: JoinKind::Inner, on: Vec::new() }, ids));
        }
        Ok(match plan {
            Logical::Filter { input, conjuncts } if !domain.in_plan(&input) => {
                match self.equated(&input, &conjuncts, domain) {
                    Some((plan, ids)) => (plan, ids),
                    None => {
                        let (values, ids) = self.domain(domain);
                        let (left, on) = (Box::new(values), domain.over_all(conjuncts, &ids));
                        (Logical::Join { left, right: input, kind: JoinKind::Inner, on }, ids)
                    }
                }
            }
            Logical::Filter { input, conjuncts } => {
                let (input, ids) = self.unnested(*input, domain)?;
                let conjuncts = domain.over_all(conjuncts, &ids);
                (Logical::Filter { input: Box::new(input), conjuncts }, ids)
            }
            Logical::Project { input, exprs } => {
                let (input, ids) = self.unnested(*input, domain)?;
                let over = exprs.iter().map(|(id, scalar)| (*id, domain.over(scalar, &ids)));
                let exprs = over.chain(pass(ids.iter().copied())).collect();
                (Logical::Project { input: Box::new(input), exprs }, ids)
            }
            Logical::Distinct { input } => {
                let (input, ids) = self.unnested(*input, domain)?;
                (Logical::Distinct { input: Box::new(input) }, ids)
            }
            // An order is worth something only below LIMIT.
            Logical::Sort { input, .. } => self.unnested(*input, domain)?,
            Logical::Aggregate { input, keys, calls } => {
                let (input, ids) = self.unnested(*input, domain)?;
                let whole = keys.is_empty();
                let over = keys.iter().map(|(id, scalar)| (*id, domain.over(scalar, &ids)));
                let keys = over.chain(pass(ids.iter().copied())).collect();
                let mut calls = calls;
                for scalar in calls.iter_mut().flat_map(|(_, call)| call.scalars_mut()) {
                    *scalar = domain.over(scalar, &ids);
                }
                let groups = Logical::Aggregate { input: Box::new(input), keys, calls: calls.clone() };
                if !whole {
                    return Ok((groups, ids));
                }
                // One row for each value, also for one without a group: there nothing was counted.
                let (values, all) = self.domain(domain);
                let (left, right, on) = (Box::new(values), Box::new(groups), same(&all, &ids));
                let joined = Logical::Join { left, right, kind: JoinKind::Left, on };
                let exprs = calls.iter().map(|(id, call)| {
                    let value = Scalar::Column(*id);
                    let scalar = match of_nothing(call) {
                        Some(zero) => {
                            Scalar::Call(Function::Coalesce, [value, Scalar::Literal(zero)].map(Nested::new).into())
                        }
                        None => value,
                    };
                    (*id, scalar)
                });
                let exprs = exprs.chain(pass(all.iter().copied())).collect();
                (Logical::Project { input: Box::new(joined), exprs }, all)
            }
            Logical::Join { left, right, kind: JoinKind::Inner, on }
                if !domain.in_plan(&left) && !domain.in_plan(&right) =>
            {
                let product = Logical::Join { left, right, kind: JoinKind::Inner, on: Vec::new() };
                self.unnested(Logical::Filter { input: Box::new(product), conjuncts: on }, domain)?
            }
            Logical::Join { left, right, kind: JoinKind::Inner, on } if !domain.in_plan(&left) => {
                let (right, ids) = self.unnested(*right, domain)?;
                let on = domain.over_all(on, &ids);
                (Logical::Join { left, right: Box::new(right), kind: JoinKind::Inner, on }, ids)
            }
            Logical::Join { left, right, kind, on } => {
                let both = kind == JoinKind::Full || domain.in_plan(&right);
                let (left, ids) = self.unnested(*left, domain)?;
                let mut on = domain.over_all(on, &ids);
                let mut right = *right;
                let mut others = Vec::new();
                if both {
                    (right, others) = self.unnested(right, domain)?;
                    on.extend(same(&ids, &others));
                }
                let joined = Logical::Join { left: Box::new(left), right: Box::new(right), kind, on };
                if kind != JoinKind::Full {
                    return Ok((joined, ids));
                }
                // Of a row without a match only one side has the value.
                let value = |(a, b): (&ColumnId, &ColumnId)| {
                    let both = [a, b].map(|id| Nested::new(Scalar::Column(*id)));
                    Scalar::Call(Function::Coalesce, both.into())
                };
                let merged: Vec<Scalar> = ids.iter().zip(&others).map(value).collect();
                let fresh: Vec<ColumnId> = ids.iter().map(|id| self.like(*id)).collect();
                let exprs = pass(joined.schema()).into_iter().chain(fresh.iter().copied().zip(merged)).collect();
                (Logical::Project { input: Box::new(joined), exprs }, fresh)
            }
            Logical::Mark { left, right, kind, on, compare } => {
                let asked = compare.as_ref().is_some_and(|(_, _, value)| domain.binds(value));
                let depends = asked || domain.in_plan(&right);
                let (left, ids) = self.unnested(*left, domain)?;
                let mut on = domain.over_all(on, &ids);
                let (mut right, mut others) = (*right, Vec::new());
                if depends {
                    (right, others) = self.unnested(right, domain)?;
                    on.extend(same(&ids, &others));
                }
                let over = |(operand, op, value)| (domain.over(&operand, &ids), op, domain.over(&value, &others));
                let compare = compare.map(over);
                (Logical::Mark { left: Box::new(left), right: Box::new(right), kind, on, compare }, ids)
            }
            Logical::Set { op, all, left, right, mut columns } => {
                let (left, a) = self.unnested(*left, domain)?;
                let (right, b) = self.unnested(*right, domain)?;
                let ids: Vec<ColumnId> = a.iter().map(|id| self.like(*id)).collect();
                columns.extend(ids.iter().zip(a.iter().zip(&b)).map(|(id, (a, b))| [*id, *a, *b]));
                (Logical::Set { op, all, left: Box::new(left), right: Box::new(right), columns }, ids)
            }
            Logical::With { slot, name, definition, body } => {
                let mut definition = *definition;
                if domain.in_plan(&definition) {
                    let ids;
                    (definition, ids) = self.unnested(definition, domain)?;
                    domain.carrying.push((slot, ids));
                }
                let (body, ids) = self.unnested(*body, domain)?;
                domain.carrying.retain(|(other, _)| *other != slot);
                (Logical::With { slot, name, definition: Box::new(definition), body: Box::new(body) }, ids)
            }
            Logical::Shared { slot, name, mut columns } => {
                let carried = domain.carrying.iter().find(|(other, _)| *other == slot);
                let sources = carried.map(|(_, ids)| ids.clone()).unwrap_or_default();
                let ids: Vec<ColumnId> = sources.iter().map(|id| self.like(*id)).collect();
                columns.extend(ids.iter().copied().zip(sources));
                (Logical::Shared { slot, name, columns }, ids)
            }
            Logical::Window { input, mut window, columns } => {
                let (input, ids) = self.unnested(*input, domain)?;
                for scalar in window.scalars_mut() {
                    *scalar = domain.over(scalar, &ids);
                }
                window.partition.extend(ids.iter().map(|id| Scalar::Column(*id)));
                (Logical::Window { input: Box::new(input), window, columns }, ids)
            }
            Logical::Limit { input, skip, count } => {
                let schema = input.schema();
                let (input, keys) = match *input {
                    Logical::Sort { input, keys } => (*input, keys),
                    other => (other, Vec::new()),
                };
                let (input, ids) = self.unnested(input, domain)?;
                let order = keys.into_iter().map(OrderKey::from).collect();
                let partition = ids.iter().map(|id| Scalar::Column(*id)).collect();
                let limited = self.numbered(input, partition, order, skip, count);
                let exprs = pass(schema.into_iter().chain(ids.iter().copied()));
                (Logical::Project { input: Box::new(limited), exprs }, ids)
            }
            Logical::Recursive { .. } => {
                return fail(UNSUPPORTED, "WITH RECURSIVE in a subquery that depends on the row");
            }
            Logical::Unit | Logical::Scan(_) | Logical::Values { .. } => {
                return fail(UNSUPPORTED, "a subquery of this form");
            }
        })
    }

    /// A filter that says of each column of the domain which column below it equals: that one is the domain.
    fn equated(&mut self, input: &Logical, conjuncts: &[Scalar], domain: &Domain) -> Option<(Logical, Vec<ColumnId>)> {
        let schema = input.schema();
        let mut equal: Vec<ColumnId> = Vec::new();
        for outer in &domain.outer {
            let bound = conjuncts.iter().find_map(|conjunct| {
                let Scalar::Binary(BinaryOp::Eq, a, b) = conjunct else { return None };
                let other = match (&**a, &**b) {
                    (Scalar::Column(id), Scalar::Column(other)) if id == outer => *other,
                    (Scalar::Column(other), Scalar::Column(id)) if id == outer => *other,
                    _ => return None,
                };
                // Equal reals, decimals and intervals need not look the same.
                let exact = self.data_type(other) == self.data_type(*outer)
                    && !matches!(self.data_type(other), Some(Type::Real | Type::Numeric(_) | Type::Interval));
                (exact && schema.contains(&other)).then_some(other)
            })?;
            equal.push(bound);
        }
        let mut kept: Vec<Scalar> = conjuncts.iter().map(|conjunct| domain.over(conjunct, &equal)).collect();
        let itself = |scalar: &Scalar| matches!(scalar, Scalar::Binary(BinaryOp::Eq, a, b) if a == b);
        kept.retain(|conjunct| !itself(conjunct));
        for id in &equal {
            let null = Scalar::IsNull(Nested::new(Scalar::Column(*id)));
            kept.push(Scalar::Not(Nested::new(null)));
        }
        let ids: Vec<ColumnId> = domain.outer.iter().map(|id| self.like(*id)).collect();
        let bound = ids.iter().zip(&equal).map(|(id, column)| (*id, Scalar::Column(*column)));
        let exprs = pass(schema).into_iter().chain(bound).collect();
        let filter = Logical::Filter { input: Box::new(input.clone()), conjuncts: kept };
        Some((Logical::Project { input: Box::new(filter), exprs }, ids))
    }
}
