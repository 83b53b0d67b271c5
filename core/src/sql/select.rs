//! Binds a SELECT to a logical plan.
//!
//! ```text
//!   FROM ─▶ WHERE ─▶ GROUP BY ─▶ HAVING ─▶ select list ─▶ DISTINCT ─▶ ORDER BY ─▶ LIMIT ─▶ drop what only ORDER BY used
//! ```

use super::{
    ast::{BinaryOp, Expr, JoinKind, JoinOn, Select, SelectItem, TableRef},
    catalog::{self, CATALOG, TableDescriptor},
    fault::{
        DATATYPE_MISMATCH, DUPLICATE_ALIAS, GROUPING, INTERNAL, INVALID_ARGUMENT, INVALID_REFERENCE, TOO_COMPLEX,
        UNDEFINED_TABLE, UNSUPPORTED, error, fail,
    },
    logical::{ColumnId, Logical, Scan},
    scalar::Scalar,
    scope::{Binder, Scope, Typed, Visible},
};
use crate::{
    Error,
    data::{Column, Nested, Type, Value},
    exec::{fragment::Decode, ops::sort::SortKey},
};

/// Queries within queries, and joins within joins.
const NESTING_MAX: u32 = 64;

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

    pub(super) fn query(&mut self, select: &Select, depth: u32) -> Result<Query, Error> {
        let (mut plan, scope) = self.from(&select.from, depth)?;
        if let Some(filter) = &select.filter {
            let conjuncts = self.condition(filter, &scope)?.conjuncts();
            plan = Logical::Filter { input: Box::new(plan), conjuncts };
        }

        let items = expand(&select.items, &scope)?;
        let keys =
            select.group_by.iter().map(|expr| self.group_key(expr, &items, &scope)).collect::<Result<Vec<_>, _>>()?;
        self.aggregates = Some(Vec::new());
        let bound = self.items_and_order(select, &items, &scope);
        let calls = self.aggregates.take().unwrap_or_default();
        let Bound { mut outputs, mut having, mut order } = bound?;

        if !keys.is_empty() || !calls.is_empty() || having.is_some() {
            let mut grouped = Vec::new();
            for key in keys {
                if !grouped.iter().any(|(_, other)| *other == key.scalar) {
                    let name = super::explain::scalar(&key.scalar, &|id| self.name(id).to_owned());
                    grouped.push((self.column(name, key.data_type), key.scalar));
                }
            }
            let known: Vec<ColumnId> = calls.iter().map(|(id, _)| *id).collect();
            let all = outputs.iter_mut().map(|(typed, _)| &mut typed.scalar).chain(having.as_mut());
            let extra = order.iter_mut().filter_map(|(target, ..)| match target {
                Target::Extra(typed) => Some(&mut typed.scalar),
                Target::Item(_) => None,
            });
            for scalar in all.chain(extra) {
                *scalar = over_groups(scalar, &grouped, &known).map_err(|id| {
                    let message = format!("column \"{}\" must appear in the GROUP BY clause", self.name(id));
                    error(GROUPING, message)
                })?;
            }
            plan = Logical::Aggregate { input: Box::new(plan), keys: grouped, calls };
            if let Some(having) = having {
                plan = Logical::Filter { input: Box::new(plan), conjuncts: having.conjuncts() };
            }
        }

        let mut columns = Vec::with_capacity(outputs.len());
        let mut exprs = Vec::with_capacity(outputs.len());
        for (typed, name) in outputs {
            exprs.push((self.column(name.clone(), typed.data_type), typed.scalar));
            columns.push(Column { name, data_type: typed.data_type });
        }
        let visible: Vec<ColumnId> = exprs.iter().map(|(id, _)| *id).collect();
        let mut sort = Vec::new();
        for (target, descending, nulls_first) in order {
            let id = match target {
                Target::Item(index) => visible[index],
                Target::Extra(typed) => match exprs.iter().find(|(_, scalar)| *scalar == typed.scalar) {
                    Some((id, _)) => *id,
                    None if select.distinct => {
                        return fail(INVALID_REFERENCE, "for SELECT DISTINCT, ORDER BY expressions must be selected");
                    }
                    None => {
                        let name = super::explain::scalar(&typed.scalar, &|id| self.name(id).to_owned());
                        exprs.push((self.column(name, typed.data_type), typed.scalar));
                        exprs[exprs.len() - 1].0
                    }
                },
            };
            sort.push(SortKey { column: id, descending, nulls_first: nulls_first.unwrap_or(descending) });
        }
        let extra = exprs.len() > visible.len();
        plan = Logical::Project { input: Box::new(plan), exprs };
        if select.distinct {
            plan = Logical::Distinct { input: Box::new(plan) };
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

    pub(super) fn from(&mut self, from: &[TableRef], depth: u32) -> Result<(Logical, Scope), Error> {
        if from.len() > NESTING_MAX as usize {
            return fail(TOO_COMPLEX, format!("FROM of more than {NESTING_MAX} tables"));
        }
        let mut all: Option<(Logical, Scope)> = None;
        for item in from {
            let next = self.table_ref(item, depth + 1)?;
            all = Some(match all {
                None => next,
                Some((left, scope)) => {
                    let scope = beside(scope, next.1)?;
                    let (left, right) = (Box::new(left), Box::new(next.0));
                    (Logical::Join { left, right, kind: JoinKind::Inner, on: Vec::new() }, scope)
                }
            });
        }
        Ok(all.unwrap_or((Logical::Unit, Scope::default())))
    }

    fn table_ref(&mut self, item: &TableRef, depth: u32) -> Result<(Logical, Scope), Error> {
        if depth > NESTING_MAX {
            return fail(TOO_COMPLEX, "a query that nests too deep");
        }
        match item {
            TableRef::Table { name, alias } => self.table(name, alias.as_deref()),
            TableRef::Derived { query, alias } => {
                let outer = self.aggregates.take();
                let query = self.query(query, depth)?;
                self.aggregates = outer;
                let ids = query.plan.schema();
                let visible = |(column, id): (Column, ColumnId)| Visible {
                    table: alias.clone(),
                    name: column.name,
                    id,
                    merged: false,
                };
                let columns = query.columns.into_iter().zip(ids).map(visible).collect();
                Ok((query.plan, Scope { columns }))
            }
            TableRef::Join { left, right, kind, on } => {
                let (left, left_scope) = self.table_ref(left, depth + 1)?;
                let (right, mut right_scope) = self.table_ref(right, depth + 1)?;
                let mut conjuncts = Vec::new();
                if let JoinOn::Using(names) = on {
                    for name in names {
                        let (a, b) = (left_scope.resolve(None, name)?, right_scope.resolve(None, name)?);
                        let equal = |id| Nested::new(Scalar::Column(id));
                        if self.data_type(a) != self.data_type(b) {
                            return fail(DATATYPE_MISMATCH, format!("USING ({name}) joins different types"));
                        }
                        conjuncts.push(Scalar::Binary(BinaryOp::Eq, equal(a), equal(b)));
                        let merged = right_scope.columns.iter_mut().filter(|column| column.id == b);
                        merged.for_each(|column| column.merged = true);
                    }
                }
                let scope = beside(left_scope, right_scope)?;
                if let JoinOn::Expr(expr) = on {
                    conjuncts = self.condition(expr, &scope)?.conjuncts();
                }
                let (left, right) = (Box::new(left), Box::new(right));
                Ok((Logical::Join { left, right, kind: *kind, on: conjuncts }, scope))
            }
        }
    }

    /// The scan of a table.
    pub fn table(&mut self, name: &str, alias: Option<&str>) -> Result<(Logical, Scope), Error> {
        let label = alias.unwrap_or(name);
        if let Some((columns, of_columns)) = catalog::system_table(name) {
            let columns = columns.into_iter().map(|(name, data_type)| (name.to_owned(), data_type)).collect();
            let decode = if of_columns { Decode::CatalogColumns } else { Decode::CatalogTables };
            return Ok(self.scan(label, CATALOG.to_owned(), self.settings.locality_bits, decode, columns, &[]));
        }
        let Some((table, _)) = self.tables.get(name) else {
            return fail(UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
        };
        if let Some(view) = table.details()?.view {
            return self.view(table, &view, label);
        }
        self.scan_of(table, label)
    }

    /// The scan of a table of the catalog.
    pub fn scan_of(&mut self, table: &TableDescriptor, label: &str) -> Result<(Logical, Scope), Error> {
        let details = table.details()?;
        let columns = table.columns.iter().map(|column| (column.name.clone(), column.data_type)).collect();
        let (mut plan, scope) =
            self.scan(label, table.namespace.clone(), table.locality_bits, Decode::Row, columns, &table.primary_key);
        if let Logical::Scan(scan) = &mut plan {
            details.place(scan);
        }
        Ok((plan, scope))
    }

    fn scan(
        &mut self,
        label: &str,
        namespace: String,
        locality_bits: u8,
        decode: Decode,
        columns: Vec<(String, Type)>,
        primary_key: &[u32],
    ) -> (Logical, Scope) {
        let (mut ids, mut scope) = (Vec::new(), Scope::default());
        for (position, (name, data_type)) in columns.into_iter().enumerate() {
            let id = self.column(format!("{label}.{name}"), Some(data_type));
            ids.push((id, position as u32, data_type));
            scope.columns.push(Visible { table: label.to_owned(), name, id, merged: false });
        }
        let scan = Scan {
            name: label.to_owned(),
            namespace,
            locality_bits,
            decode,
            primary_key: primary_key.iter().map(|position| ids[*position as usize].0).collect(),
            filter: Vec::new(),
            output: ids.iter().map(|(id, ..)| *id).collect(),
            columns: ids,
            missing: Vec::new(),
        };
        (Logical::Scan(scan), scope)
    }

    fn items_and_order(&mut self, select: &Select, items: &[Item], scope: &Scope) -> Result<Bound, Error> {
        let mut outputs = Vec::with_capacity(items.len());
        for item in items {
            let typed = match item {
                Item::Column(column) => self.column_ref(column.id),
                Item::Expr(expr, _) => self.expr(expr, scope)?,
            };
            outputs.push((typed, item.name()));
        }
        let having = select.having.as_ref().map(|expr| self.condition(expr, scope)).transpose()?;
        let mut order = Vec::with_capacity(select.order_by.len());
        for by in &select.order_by {
            let alias = match &by.expr {
                Expr::Literal(Value::Integer(ordinal)) => Some(ordinal_index(*ordinal, items.len(), "ORDER BY")?),
                Expr::Column { table: None, name } => items.iter().position(|item| item.alias() == Some(name)),
                _ => None,
            };
            let target = match alias {
                Some(index) => Target::Item(index),
                None => Target::Extra(self.expr(&by.expr, scope)?),
            };
            order.push((target, by.descending, by.nulls_first));
        }
        Ok(Bound { outputs, having, order })
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
        match index.map(|index| &items[index]) {
            Some(Item::Column(column)) => Ok(self.column_ref(column.id)),
            Some(Item::Expr(expr, _)) => self.expr(expr, scope),
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

struct Bound {
    outputs: Vec<(Typed, String)>,
    having: Option<Scalar>,
    order: Vec<(Target, bool, Option<bool>)>,
}

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

/// Two scopes side by side.
pub(super) fn beside(mut left: Scope, right: Scope) -> Result<Scope, Error> {
    let twice = right.columns.iter().find(|a| left.columns.iter().any(|b| a.table == b.table));
    if let Some(column) = twice {
        return fail(DUPLICATE_ALIAS, format!("table name \"{}\" specified more than once", column.table));
    }
    left.columns.extend(right.columns);
    Ok(left)
}

/// An expression over groups: grouping expressions become their columns; another column is an error.
fn over_groups(scalar: &Scalar, grouped: &[(ColumnId, Scalar)], aggregates: &[ColumnId]) -> Result<Scalar, ColumnId> {
    if let Some((id, _)) = grouped.iter().find(|(_, key)| key == scalar) {
        return Ok(Scalar::Column(*id));
    }
    if let Scalar::Column(id) = scalar {
        return if aggregates.contains(id) { Ok(scalar.clone()) } else { Err(*id) };
    }
    scalar.map_children(&mut |child| over_groups(child, grouped, aggregates))
}

/// The error of a plan that lost a column on its way.
pub fn lost_column() -> Error {
    error(INTERNAL, "a plan lost a column")
}
