//! Binds WITH, VALUES and operations on sets.
//!
//! A query of WITH is bound once, with a slot of its own; each place that names it reads the slot under new columns, so
//! it is evaluated once however often it is read. The recursive term of WITH RECURSIVE reads its own slot.

use super::{
    ast::{Body, Cte, Expr, Select, SetOp},
    bind::{converted, wider},
    fault::{COLUMN_COUNT, DATATYPE_MISMATCH, DUPLICATE_ALIAS, INVALID_RECURSION, UNSUPPORTED, fail},
    logical::{ColumnId, Logical},
    names,
    scalar::Scalar,
    scope::{Binder, Scope, Typed},
    select::Query,
};
use crate::{
    Error,
    data::{Column, Type, Value},
};

/// A query of WITH that may be named.
pub struct InSight {
    name: String,
    slot: u32,
    /// Its columns, and which of the slot each is.
    columns: Vec<(Column, ColumnId)>,
}

impl Binder<'_> {
    /// Binds WITH, and then the query itself.
    pub(super) fn with(&mut self, select: &Select, depth: u32) -> Result<Query, Error> {
        let before = self.ctes.len();
        let mut definitions = Vec::with_capacity(select.with.len());
        for cte in &select.with {
            if self.ctes[before..].iter().any(|other| other.name == cte.name) {
                return fail(DUPLICATE_ALIAS, format!("WITH query name \"{}\" specified more than once", cte.name));
            }
            let mut query = if select.recursive && names::mentions(&cte.query, &cte.name) {
                self.recursive(cte, depth)?
            } else {
                let mut query = self.query(&cte.query, depth + 1)?;
                rename(&mut query.columns, &cte.columns)?;
                query
            };
            let slot = self.slot();
            let columns = query.columns.into_iter().zip(query.plan.schema()).collect();
            let order = self.arrival(&mut query.plan);
            self.shared.push((slot, order));
            self.ctes.push(InSight { name: cte.name.clone(), slot, columns });
            definitions.push((slot, cte.name.clone(), query.plan));
        }
        let query = self.without_with(select, depth);
        self.ctes.truncate(before);
        let mut query = query?;
        for (slot, name, definition) in definitions.into_iter().rev() {
            let (definition, body) = (Box::new(definition), Box::new(query.plan));
            query.plan = Logical::With { slot, name, definition, body };
        }
        Ok(query)
    }

    /// The query of WITH of that name, to be read in one more place.
    pub(super) fn cte(&mut self, name: &str) -> Option<Query> {
        let found = self.ctes.iter().rev().find(|cte| cte.name == name)?;
        let (slot, columns) = (found.slot, found.columns.clone());
        let (mut ids, mut named) = (Vec::new(), Vec::new());
        for (column, source) in columns {
            let id = self.column(format!("{name}.{}", column.name), column.data_type);
            self.mark_like(id, source);
            ids.push((id, source));
            named.push(column);
        }
        Some(Query { plan: Logical::Shared { slot, name: name.to_owned(), columns: ids }, columns: named })
    }

    fn recursive(&mut self, cte: &Cte, depth: u32) -> Result<Query, Error> {
        let name = &cte.name;
        let Body::Set { op: SetOp::Union, all, left, right } = &cte.query.body else {
            let message = format!("recursive query \"{name}\" must be of the form: start UNION [ALL] step");
            return fail(INVALID_RECURSION, message);
        };
        if names::mentions(left, name) {
            return fail(INVALID_RECURSION, format!("recursive reference to \"{name}\" within its start"));
        }
        if !cte.query.order_by.is_empty() || cte.query.limit.is_some() || cte.query.offset.is_some() {
            return fail(UNSUPPORTED, "ORDER BY, LIMIT and OFFSET of a recursive query");
        }
        if !cte.query.with.is_empty() {
            return fail(UNSUPPORTED, "WITH of a recursive query");
        }
        let base = self.query(left, depth + 1)?;
        let mut base = self.unsealed(base, "a recursive query")?;
        rename(&mut base.columns, &cte.columns)?;
        let slot = self.slot();
        let columns: Vec<(Column, ColumnId)> = base
            .columns
            .iter()
            .map(|column| (column.clone(), self.column(format!("{name}.{}", column.name), column.data_type)))
            .collect();
        self.ctes.push(InSight { name: name.clone(), slot, columns: columns.clone() });
        let step = self.query(right, depth + 1);
        self.ctes.pop();
        let step = self.unsealed(step?, "a recursive query")?;
        if step.columns.len() != base.columns.len() {
            return fail(COLUMN_COUNT, "each UNION query must have the same number of columns");
        }
        let types: Vec<Option<Type>> = base.columns.iter().map(|column| column.data_type).collect();
        for (from, to) in step.columns.iter().zip(&types) {
            let fits = from.data_type.is_none() || from.data_type == *to || widens(from.data_type, *to);
            if !fits && to.is_some() && !self.is_lenient() {
                let message = format!("column \"{}\" of recursive query \"{name}\" changes its type", from.name);
                return fail(DATATYPE_MISMATCH, message);
            }
        }
        let step = self.casted(step, &types);
        let ids = columns.iter().zip(base.plan.schema()).zip(step.schema());
        let ids = ids.map(|(((_, id), base), step)| [*id, base, step]).collect();
        let plan = Logical::Recursive {
            slot,
            name: name.clone(),
            all: *all,
            base: Box::new(base.plan),
            step: Box::new(step),
            columns: ids,
        };
        Ok(Query { plan, columns: base.columns })
    }

    /// An operation on sets.
    pub(super) fn set(
        &mut self,
        op: SetOp,
        all: bool,
        left: &Select,
        right: &Select,
        depth: u32,
    ) -> Result<(Logical, Vec<Column>), Error> {
        let (left, right) = (self.query(left, depth + 1)?, self.query(right, depth + 1)?);
        let what = "an operation on sets";
        let (left, right) = (self.unsealed(left, what)?, self.unsealed(right, what)?);
        if left.columns.len() != right.columns.len() {
            return fail(COLUMN_COUNT, "the queries of UNION, INTERSECT and EXCEPT must have equally many columns");
        }
        let mut columns = left.columns.clone();
        for (column, other) in columns.iter_mut().zip(&right.columns) {
            column.data_type = self.common(column.data_type, other.data_type)?;
        }
        let types: Vec<Option<Type>> = columns.iter().map(|column| column.data_type).collect();
        let (left, right) = (self.casted(left, &types), self.casted(right, &types));
        let sides = left.schema().into_iter().zip(right.schema());
        let ids: Vec<[ColumnId; 3]> = columns
            .iter()
            .zip(sides)
            .map(|(column, (left, right))| [self.column(column.name.clone(), column.data_type), left, right])
            .collect();
        let mut plan = Logical::Set {
            op,
            all: all || op == SetOp::Union,
            left: Box::new(left),
            right: Box::new(right),
            columns: ids,
        };
        if op == SetOp::Union && !all {
            plan = Logical::Distinct { input: Box::new(plan) };
        }
        Ok((plan, columns))
    }

    /// The rows of VALUES. Rows that are not constant are a union of so many rows without FROM.
    pub(super) fn values(&mut self, rows: &[Vec<Expr>]) -> Result<(Logical, Vec<Column>), Error> {
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return fail(COLUMN_COUNT, "VALUES lists must all be the same length");
        }
        let mut columns: Vec<Vec<Typed>> = (0..width).map(|_| Vec::with_capacity(rows.len())).collect();
        let ((), found) = self.finding(|binder| {
            for row in rows {
                for (column, expr) in columns.iter_mut().zip(row) {
                    column.push(binder.expr(expr, &Scope::default())?);
                }
            }
            Ok(())
        })?;
        let mut named = Vec::with_capacity(width);
        let mut values: Vec<Vec<Scalar>> = rows.iter().map(|_| Vec::with_capacity(width)).collect();
        for (index, column) in columns.into_iter().enumerate() {
            let (column, data_type) = self.unify_all(column)?;
            named.push(Column { name: format!("column{}", index + 1), data_type });
            values.iter_mut().zip(column).for_each(|(row, typed)| row.push(typed.scalar));
        }
        let ids = |binder: &mut Self| -> Vec<ColumnId> {
            named.iter().map(|column| binder.column(column.name.clone(), column.data_type)).collect()
        };
        let constant = |scalar: &Scalar| match scalar {
            Scalar::Literal(value) => Some(value.clone()),
            _ => None,
        };
        let known: Option<Vec<Vec<Value>>> = values.iter().map(|row| row.iter().map(constant).collect()).collect();
        if let Some(rows) = known {
            return Ok((Logical::Values { columns: ids(self), rows }, named));
        }
        if values.len() > 64 {
            return fail(UNSUPPORTED, "VALUES of many rows that are not constant");
        }
        let unit = self.attached(Logical::Unit, found)?;
        let mut all: Option<Logical> = None;
        for row in values {
            let exprs = ids(self).into_iter().zip(row).collect();
            let next = Logical::Project { input: Box::new(unit.clone()), exprs };
            all = Some(match all {
                None => next,
                Some(left) => {
                    let columns = ids(self).into_iter().zip(left.schema()).zip(next.schema());
                    let columns = columns.map(|((id, left), right)| [id, left, right]).collect();
                    let (left, right) = (Box::new(left), Box::new(next));
                    Logical::Set { op: SetOp::Union, all: true, left, right, columns }
                }
            });
        }
        Ok((all.unwrap_or(Logical::Unit), named))
    }

    /// The type of a column that two queries give.
    fn common(&self, a: Option<Type>, b: Option<Type>) -> Result<Option<Type>, Error> {
        match (a, b) {
            (None, other) | (other, None) => Ok(other),
            (a, b) if a == b => Ok(a),
            (Some(a), Some(b)) if wider(a, b).is_some() => Ok(wider(a, b)),
            (Some(_), Some(_)) if self.is_lenient() => Ok(None),
            (Some(a), Some(b)) => {
                fail(DATATYPE_MISMATCH, format!("{} and {} do not go together in one column", a.name(), b.name()))
            }
        }
    }

    /// The plan of a query with its values in wider types where these say so.
    fn casted(&mut self, query: Query, types: &[Option<Type>]) -> Logical {
        let wider = |(column, to): (&Column, &Option<Type>)| widens(column.data_type, *to).then_some(*to).flatten();
        if query.columns.iter().zip(types).all(|pair| wider(pair).is_none()) {
            return query.plan;
        }
        let ids = query.plan.schema();
        let exprs = query.columns.iter().zip(types).zip(ids).map(|(pair, id)| match wider(pair) {
            Some(to) => {
                let wide = converted(Scalar::Column(id), pair.0.data_type, to);
                (self.column(pair.0.name.clone(), Some(to)), wide)
            }
            None => (id, Scalar::Column(id)),
        });
        let exprs = exprs.collect();
        Logical::Project { input: Box::new(query.plan), exprs }
    }
}

/// Whether values of one type become those of a wider one.
fn widens(from: Option<Type>, to: Option<Type>) -> bool {
    from.zip(to).is_some_and(|(from, to)| from != to && wider(from, to) == Some(to))
}

fn rename(columns: &mut [Column], names: &[String]) -> Result<(), Error> {
    if names.len() > columns.len() {
        return fail(COLUMN_COUNT, format!("{} columns available, {} named", columns.len(), names.len()));
    }
    columns.iter_mut().zip(names).for_each(|(column, name)| column.name.clone_from(name));
    Ok(())
}
