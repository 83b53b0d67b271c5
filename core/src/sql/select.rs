//! Binds a query to a logical plan.
//!
//! ```text
//!   FROM ─▶ WHERE ─▶ GROUP BY ─▶ HAVING ─▶ windows ─▶ select list ─▶ DISTINCT ─▶ ORDER BY ─▶ LIMIT ─▶ drop what only
//!   ORDER BY used
//! ```
//!
//! Subqueries that a clause contains are joined to the plan just before the clause ([`subquery`](super::subquery)).

use super::{
    ast::{Body, Expr, Select, SelectItem},
    fault::{
        GROUPING, INTERNAL, INVALID_ARGUMENT, INVALID_REFERENCE, TOO_COMPLEX, UNDEFINED_TABLE, UNSUPPORTED, advise,
        error, fail,
    },
    logical::{ColumnId, Logical},
    scalar::Scalar,
    scope::{Binder, Scope, Typed, Visible},
    sealed::Openings,
    subquery::Subquery,
    windows::Windowed,
};
use crate::{
    Error,
    data::{Column, Type, Value},
    exec::{
        ops::{
            aggregate::{AggregateCall, AggregateFunction},
            sort::SortKey,
        },
        plan::{Call, OrderKey},
    },
    map::Set,
};

/// Queries within queries, and joins within joins.
pub const NESTING_MAX: u32 = 64;

/// A bound query.
pub struct Query {
    /// Its plan; the rows have exactly `columns`.
    pub plan: Logical,
    /// The columns of the result.
    pub columns: Vec<Column>,
}

impl Binder<'_> {
    /// Binds a query.
    pub fn select(&mut self, select: &Select) -> Result<Query, Error> {
        self.query(select, 0)
    }

    /// Binds a query that stands `depth` queries and joins deep.
    pub(super) fn query(&mut self, select: &Select, depth: u32) -> Result<Query, Error> {
        if depth > NESTING_MAX {
            return fail(TOO_COMPLEX, "a query that nests too deep");
        }
        // What surrounding clauses have found so far is none of its business.
        let found = (self.aggregates.take(), self.subqueries.take(), self.windows.take());
        let around = (core::mem::take(&mut self.below), core::mem::take(&mut self.named), self.queries);
        self.queries = depth;
        let query = self.with(select, depth);
        (self.aggregates, self.subqueries, self.windows) = found;
        (self.below, self.named, self.queries) = around;
        query
    }

    /// Binds a query whose WITH is bound.
    pub(super) fn without_with(&mut self, select: &Select, depth: u32) -> Result<Query, Error> {
        let (plan, columns) = match &select.body {
            Body::Select => return self.plain(select, depth),
            Body::Values(rows) => self.values(rows)?,
            Body::Set { op, all, left, right } => self.set(*op, *all, left, right, depth)?,
        };
        let ids = plan.schema();
        let named = columns.iter().zip(&ids).map(|(column, id)| Visible::new("", column.name.clone(), *id));
        let scope = Scope { columns: named.collect() };
        let exprs = ids.into_iter().map(|id| (id, Scalar::Column(id))).collect();
        self.subqueries = Some(Vec::new());
        let mut order = Vec::with_capacity(select.order_by.len());
        for by in &select.order_by {
            let target = match &by.expr {
                Expr::Literal(Value::Integer(ordinal)) => {
                    Target::Item(ordinal_index(*ordinal, columns.len(), "ORDER BY")?)
                }
                expr => Target::Extra(self.expr(expr, &scope)?),
            };
            order.push((target, by.descending, by.nulls_first));
        }
        let found = self.subqueries.take().unwrap_or_default();
        let plan = self.attached(plan, found)?;
        self.finish(select, plan, exprs, order, Vec::new(), columns)
    }

    fn plain(&mut self, select: &Select, depth: u32) -> Result<Query, Error> {
        let (mut plan, scope) = self.from(&select.from, depth)?;
        if let Some(filter) = &select.filter {
            let (condition, found) = self.finding(|binder| binder.condition(filter, &scope))?;
            plan = self.filtered(plan, condition.conjuncts(), found)?;
        }

        let items = expand(&select.items, &scope)?;
        let (keys, found) = self.finding(|binder| {
            select.group_by.iter().map(|expr| binder.group_key(expr, &items, &scope)).collect::<Result<Vec<_>, _>>()
        })?;
        plan = self.attached(plan, found)?;
        self.aggregates = Some(Vec::new());
        let (having, in_having) =
            self.finding(|binder| select.having.as_ref().map(|expr| binder.condition(expr, &scope)).transpose())?;
        self.named.clone_from(&select.windows);
        self.windows = Some(Vec::new());
        let (bound, in_items) = self.finding(|binder| binder.items_and_order(select, &items, &scope))?;
        let windows = self.windows.take().unwrap_or_default();
        let calls = self.aggregates.take().unwrap_or_default();
        let below = core::mem::take(&mut self.below);
        let mut clauses = Clauses { bound, having, in_having, in_items, windows };

        plan = self.attached(plan, below)?;
        if !keys.is_empty() || !calls.is_empty() || clauses.having.is_some() {
            plan = self.grouped(plan, keys, calls, &mut clauses)?;
        }
        let Clauses { bound, having, in_having, in_items, windows } = clauses;
        let Bound { outputs, shown, order, distinct_on } = bound;
        if let Some(having) = having {
            plan = self.filtered(plan, having.conjuncts(), in_having)?;
        }
        plan = self.attached(plan, in_items)?;
        plan = self.with_windows(plan, windows);

        let mut columns = Vec::with_capacity(outputs.len());
        let mut exprs = Vec::with_capacity(outputs.len());
        for ((typed, name), opening) in outputs.into_iter().zip(shown) {
            let id = self.column(name.clone(), typed.data_type);
            exprs.push((id, typed.scalar));
            let data_type = opening.as_ref().map_or(typed.data_type, |opening| Some(opening.data_type));
            columns.push(Column { name, data_type });
            self.mark_shown(id, opening);
        }
        self.finish(select, plan, exprs, order, distinct_on, columns)
    }

    /// Binds something, and gives the subqueries in it.
    pub(super) fn finding<T>(
        &mut self,
        bind: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<(T, Vec<Subquery>), Error> {
        let around = self.subqueries.replace(Vec::new());
        let bound = bind(self);
        let found = core::mem::replace(&mut self.subqueries, around).unwrap_or_default();
        Ok((bound?, found))
    }

    /// The aggregation below HAVING, select list and ORDER BY, which are over groups from now on.
    fn grouped(
        &mut self,
        mut plan: Logical,
        keys: Vec<Typed>,
        calls: Vec<(ColumnId, Call)>,
        clauses: &mut Clauses,
    ) -> Result<Logical, Error> {
        let mut grouped = Vec::new();
        for key in keys {
            if !grouped.iter().any(|(_, other)| *other == key.scalar) {
                let name = super::explain::scalar(&key.scalar, &|id| self.name(id).to_owned());
                grouped.push((self.column(name, key.data_type), key.scalar));
            }
        }
        // What no row of a group has by itself: columns of the rows. What surrounding queries have is a constant.
        let local: Set<ColumnId> = plan.schema().into_iter().collect();
        let known = calls.len();
        let mut calls = calls;
        if self.is_lenient() {
            // SQLite gives any of the values that a column has in the group; this one is the smallest. Those that nobody
            // reads are dropped again.
            for id in local.iter().filter(|id| !grouped.iter().any(|(_, key)| *key == Scalar::Column(**id))) {
                let arg = Some(Scalar::Column(*id));
                let call = AggregateCall { function: AggregateFunction::Min, arg, distinct: false };
                calls.push((self.like(*id), Call::Basic(call)));
            }
        }
        // A cell is shown that is in the group, with its row: any one, for all have the same value.
        let keys: Set<ColumnId> = grouped.iter().flat_map(|(_, key)| key.columns()).collect();
        for ((packed, _), opening) in clauses.bound.outputs.iter().zip(&clauses.bound.shown) {
            let Some(opening) = opening.as_ref().filter(|_| matches!(packed.scalar, Scalar::Call(..))) else {
                continue;
            };
            if !self.is_grouped(&packed.scalar, &keys) {
                let message = format!("column {} must appear in the GROUP BY clause", opening.name);
                return fail(GROUPING, message);
            }
            let arg = Some(packed.scalar.clone());
            let call = AggregateCall { function: AggregateFunction::Min, arg, distinct: false };
            calls.push((self.column(opening.name.clone(), Some(Type::Blob)), Call::Basic(call)));
        }
        let over_groups = |scalar: &Scalar| over_groups(scalar, &grouped, &local, &calls[known..]);
        let over = |scalar: &mut Scalar| {
            *scalar = over_groups(scalar)?;
            Ok(())
        };
        let outputs = clauses.bound.outputs.iter_mut().map(|(typed, _)| &mut typed.scalar);
        let targets = clauses.bound.order.iter_mut().map(|(target, ..)| target).chain(&mut clauses.bound.distinct_on);
        let extra = targets.filter_map(|target| match target {
            Target::Extra(typed) => Some(&mut typed.scalar),
            Target::Item(_) => None,
        });
        let windows = clauses.windows.iter_mut().flat_map(|windowed| windowed.window.scalars_mut());
        let mut all = outputs.chain(clauses.having.as_mut()).chain(extra).chain(windows);
        let mut result = all.try_for_each(over);
        for subquery in clauses.in_having.iter_mut().chain(&mut clauses.in_items) {
            result = result.and_then(|()| subquery.over_groups(&mut |scalar| over_groups(scalar)));
        }
        result.map_err(|id| {
            let message = format!("column \"{}\" must appear in the GROUP BY clause", self.name(id));
            error(GROUPING, message)
        })?;
        self.in_order(&mut plan, &mut calls);
        Ok(Logical::Aggregate { input: Box::new(plan), keys: grouped, calls })
    }

    /// From the select list to the end.
    fn finish(
        &mut self,
        select: &Select,
        mut plan: Logical,
        mut exprs: Vec<(ColumnId, Scalar)>,
        order: Vec<Ordering>,
        distinct_on: Vec<Target>,
        columns: Vec<Column>,
    ) -> Result<Query, Error> {
        let visible: Vec<ColumnId> = exprs.iter().map(|(id, _)| *id).collect();
        let mut sort = Vec::new();
        for (target, descending, nulls_first) in order {
            let column = self.column_of(target, &visible, &mut exprs, select.distinct)?;
            sort.push(SortKey { column, descending, nulls_first: self.nulls_first(nulls_first, descending) });
        }
        let keys = distinct_on.into_iter().map(|target| self.column_of(target, &visible, &mut exprs, false));
        let keys = keys.collect::<Result<Vec<ColumnId>, _>>()?;
        let extra = exprs.len() > visible.len();
        plan = Logical::Project { input: Box::new(plan), exprs };
        if select.distinct {
            plan = Logical::Distinct { input: Box::new(plan) };
        }
        if !keys.is_empty() {
            if sort.iter().take(keys.len()).any(|key| !keys.contains(&key.column)) {
                return fail(
                    INVALID_REFERENCE,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                );
            }
            let schema = plan.schema();
            let partition = keys.into_iter().map(Scalar::Column).collect();
            let order = sort.iter().map(|key| OrderKey::from(*key)).collect();
            let first = self.numbered(plan, partition, order, 0, Some(1));
            let exprs = schema.into_iter().map(|id| (id, Scalar::Column(id))).collect();
            plan = Logical::Project { input: Box::new(first), exprs };
        }
        if !sort.is_empty() {
            plan = Logical::Sort { input: Box::new(plan), keys: sort };
        }
        let (count, skip) = (self.count(&select.limit)?, self.count(&select.offset)?.unwrap_or(0));
        if count.is_some() || skip > 0 {
            plan = Logical::Limit { input: Box::new(plan), skip, count };
        }
        if extra {
            let exprs = visible.into_iter().map(|id| (id, Scalar::Column(id))).collect();
            plan = Logical::Project { input: Box::new(plan), exprs };
        }
        Ok(Query { plan, columns })
    }

    /// The column of the select list, or beside it, that ORDER BY or DISTINCT ON means.
    fn column_of(
        &mut self,
        target: Target,
        visible: &[ColumnId],
        exprs: &mut Vec<(ColumnId, Scalar)>,
        distinct: bool,
    ) -> Result<ColumnId, Error> {
        let typed = match target {
            Target::Item(index) => return Ok(visible[index]),
            Target::Extra(typed) => typed,
        };
        if let Some((id, _)) = exprs.iter().find(|(_, scalar)| *scalar == typed.scalar) {
            return Ok(*id);
        }
        if distinct {
            return fail(INVALID_REFERENCE, "for SELECT DISTINCT, ORDER BY expressions must be selected");
        }
        let name = super::explain::scalar(&typed.scalar, &|id| self.name(id).to_owned());
        let id = self.column(name, typed.data_type);
        exprs.push((id, typed.scalar));
        Ok(id)
    }

    fn items_and_order(&mut self, select: &Select, items: &[Item], scope: &Scope) -> Result<Bound, Error> {
        let (mut outputs, mut shown) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for item in items {
            let (typed, opening) = match (self.sealed_item(item, scope), item) {
                (Some(id), _) => self.shown(id)?,
                (None, Item::Column(column)) => (self.column_ref(column.id), None),
                (None, Item::Expr(expr, _)) => (self.expr(expr, scope)?, None),
            };
            if let (Some(opening), true) = (&opening, select.distinct) {
                let name = &opening.name;
                return advise(
                    UNSUPPORTED,
                    format!("column {name} is encrypted: SELECT DISTINCT would compare its values"),
                    format!("GROUP BY {name} gives each value once."),
                );
            }
            outputs.push((typed, item.name()));
            shown.push(opening);
        }
        let mut order = Vec::with_capacity(select.order_by.len());
        for by in &select.order_by {
            order.push((self.named_or_bound(&by.expr, items, scope)?, by.descending, by.nulls_first));
        }
        let distinct_on = select.distinct_on.iter().map(|expr| self.named_or_bound(expr, items, scope));
        Ok(Bound { distinct_on: distinct_on.collect::<Result<_, _>>()?, order, outputs, shown })
    }

    /// The sealed column that an item is, if it is one.
    fn sealed_item(&self, item: &Item, scope: &Scope) -> Option<ColumnId> {
        match item {
            Item::Column(column) => self.sealed.contains_key(&column.id).then_some(column.id),
            Item::Expr(expr, _) => self.sealed_column(expr, scope).map(|(id, _)| id),
        }
    }

    /// An expression of ORDER BY: an ordinal, an alias of the select list, or any expression.
    fn named_or_bound(&mut self, expr: &Expr, items: &[Item], scope: &Scope) -> Result<Target, Error> {
        let alias = match expr {
            Expr::Literal(Value::Integer(ordinal)) => Some(ordinal_index(*ordinal, items.len(), "ORDER BY")?),
            Expr::Column { table: None, name } => items.iter().position(|item| item.alias() == Some(name)),
            _ => None,
        };
        if let Some(id) = alias.and_then(|index| self.sealed_item(&items[index], scope)) {
            self.plain_column(id)?;
        }
        Ok(match alias {
            Some(index) => Target::Item(index),
            None => Target::Extra(self.expr(expr, scope)?),
        })
    }

    /// A grouping expression: an ordinal, a column of FROM, an alias of the select list, or any expression.
    fn group_key(&mut self, expr: &Expr, items: &[Item], scope: &Scope) -> Result<Typed, Error> {
        let index = match expr {
            Expr::Literal(Value::Integer(ordinal)) => Some(ordinal_index(*ordinal, items.len(), "GROUP BY")?),
            Expr::Column { table: None, name } if scope.resolve(None, name).is_err() => {
                items.iter().position(|item| item.alias() == Some(name))
            }
            _ => None,
        };
        let expr = match index.map(|index| &items[index]) {
            Some(Item::Column(column)) => return self.group_column(column.id),
            Some(Item::Expr(expr, _)) => expr,
            None => expr,
        };
        match self.sealed_column(expr, scope) {
            Some((id, _)) => self.group_column(id),
            None => self.expr(expr, scope),
        }
    }

    /// The value of LIMIT or OFFSET; NULL is none.
    fn count(&mut self, expr: &Option<Expr>) -> Result<Option<u64>, Error> {
        let Some(expr) = expr else { return Ok(None) };
        match self.expr(expr, &Scope::default())?.coerce(Type::Integer)?.scalar {
            Scalar::Literal(Value::Null) => Ok(None),
            Scalar::Literal(Value::Integer(count)) => match u64::try_from(count) {
                Ok(count) => Ok(Some(count)),
                Err(_) => fail(INVALID_ARGUMENT, "LIMIT and OFFSET must not be negative"),
            },
            _ => fail(UNSUPPORTED, "LIMIT and OFFSET must be constants"),
        }
    }
}

/// An item of the select list after `*` is spelled out.
enum Item {
    Column(Visible),
    Expr(Expr, Option<String>),
}

/// The clauses that are evaluated over groups, if there are any.
struct Clauses {
    bound: Bound,
    having: Option<Scalar>,
    in_having: Vec<Subquery>,
    in_items: Vec<Subquery>,
    windows: Vec<Windowed>,
}

struct Bound {
    outputs: Vec<(Typed, String)>,
    /// How each of them is opened, if it is sealed.
    shown: Openings,
    order: Vec<Ordering>,
    /// Indices of items, or expressions beside them.
    distinct_on: Vec<Target>,
}

/// By what, descending, NULLs first.
type Ordering = (Target, bool, Option<bool>);

/// What ORDER BY orders by.
enum Target {
    Item(usize),
    Extra(Typed),
}

impl Item {
    /// What ORDER BY and GROUP BY may call it.
    fn alias(&self) -> Option<&str> {
        match self {
            Item::Column(column) => Some(&column.name),
            Item::Expr(_, Some(alias)) => Some(alias),
            Item::Expr(Expr::Column { name, .. }, None) => Some(name),
            Item::Expr(..) => None,
        }
    }

    /// The name of the result's column.
    fn name(&self) -> String {
        let name = match self {
            Item::Expr(Expr::Call { name, .. }, None) => name,
            Item::Expr(Expr::Case { .. }, None) => "case",
            Item::Expr(Expr::Exists(_), None) => "exists",
            Item::Expr(Expr::Aggregate { call, .. } | Expr::Over { call, .. }, None) => match &**call {
                Expr::Call { name, .. } => name,
                _ => "?column?",
            },
            _ => self.alias().unwrap_or("?column?"),
        };
        name.to_owned()
    }
}

fn expand(items: &[SelectItem], scope: &Scope) -> Result<Vec<Item>, Error> {
    let mut all = Vec::new();
    for item in items {
        match item {
            SelectItem::Expr(expr, alias) => all.push(Item::Expr(expr.clone(), alias.clone())),
            SelectItem::Star(table) => {
                let wanted = |column: &&Visible| table.as_ref().map_or(!column.merged, |table| column.table == *table);
                let before = all.len();
                all.extend(scope.columns.iter().filter(wanted).cloned().map(Item::Column));
                if all.len() == before {
                    let name = table.as_deref().unwrap_or("*");
                    return fail(UNDEFINED_TABLE, format!("nothing to select from: {name}"));
                }
            }
        }
    }
    Ok(all)
}

fn ordinal_index(ordinal: i64, items: usize, clause: &str) -> Result<usize, Error> {
    match usize::try_from(ordinal) {
        Ok(index) if (1..=items).contains(&index) => Ok(index - 1),
        _ => fail(INVALID_REFERENCE, format!("{clause} position {ordinal} is not in select list")),
    }
}

/// An expression over groups: grouping expressions become their columns; another column of the rows is an error.
fn over_groups(
    scalar: &Scalar,
    grouped: &[(ColumnId, Scalar)],
    local: &Set<ColumnId>,
    any: &[(ColumnId, Call)],
) -> Result<Scalar, ColumnId> {
    let of = |call: &Call| matches!(call, Call::Basic(call) if call.arg.as_ref() == Some(scalar));
    let any_of = || any.iter().find(|(_, call)| of(call)).map(|(id, _)| *id);
    if let Some(id) = grouped.iter().find(|(_, key)| key == scalar).map(|(id, _)| *id).or_else(any_of) {
        return Ok(Scalar::Column(id));
    }
    match scalar {
        Scalar::Column(id) if local.contains(id) => Err(*id),
        scalar => scalar.map_children(&mut |child| over_groups(child, grouped, local, any)),
    }
}

/// The error of a plan that lost a column on its way.
pub fn lost_column() -> Error {
    error(INTERNAL, "a plan lost a column")
}
