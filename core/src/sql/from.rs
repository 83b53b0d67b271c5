//! Binds FROM: tables, queries, joins and their names.
//!
//! `RIGHT` is `LEFT` with its sides changed: plans know columns by identity, and only the scope knows their order.
//! `USING` and `NATURAL` put the columns that they join first, once; each side's own is found with its table's name.

use super::{
    ast::{BinaryOp, JoinKind, JoinOn, TableRef},
    catalog::TableDescriptor,
    fault::{COLUMN_COUNT, DUPLICATE_ALIAS, TOO_COMPLEX, UNDEFINED_TABLE, UNSUPPORTED, fail},
    logical::{Logical, Scan},
    scalar::{Function, Scalar},
    scope::{Binder, Scope, Visible},
    select::{NESTING_MAX, Query},
};
use crate::{
    Error,
    data::{Nested, Type},
    exec::{fragment::Decode, plan},
};

impl Binder<'_> {
    /// The items of FROM side by side.
    pub(super) fn from(&mut self, from: &[TableRef], depth: u32) -> Result<(Logical, Scope), Error> {
        if from.len() > NESTING_MAX as usize {
            return fail(TOO_COMPLEX, format!("FROM of more than {NESTING_MAX} tables"));
        }
        let mut all: Option<(Logical, Scope)> = None;
        for item in from {
            all = Some(match all {
                None => self.table_ref(item, depth + 1)?,
                Some((left, scope)) => {
                    let (right, more) = self.beside(&scope, item, depth)?;
                    let scope = beside(scope, more)?;
                    (self.joined(left, right, plan::JoinKind::Inner, Vec::new())?, scope)
                }
            });
        }
        Ok(all.unwrap_or((Logical::Unit, Scope::default())))
    }

    /// The item to the right of others: one that is LATERAL, or a function, sees them.
    fn beside(&mut self, left: &Scope, item: &TableRef, depth: u32) -> Result<(Logical, Scope), Error> {
        let mut inner = item;
        while let TableRef::Renamed { item, .. } = inner {
            inner = item;
        }
        if !matches!(inner, TableRef::Lateral { .. } | TableRef::Function { .. }) {
            return self.table_ref(item, depth + 1);
        }
        self.outer.push(left.clone());
        let bound = self.table_ref(item, depth + 1);
        self.outer.pop();
        bound
    }

    /// A join, of which the right side may depend on the left one.
    pub(super) fn joined(
        &mut self,
        left: Logical,
        right: Logical,
        kind: plan::JoinKind,
        on: Vec<Scalar>,
    ) -> Result<Logical, Error> {
        self.dependent_join(left, right, |left, right, matched| {
            let (left, right) = (Box::new(left), Box::new(right));
            Logical::Join { left, right, kind, on: on.into_iter().chain(matched).collect() }
        })
    }

    fn table_ref(&mut self, item: &TableRef, depth: u32) -> Result<(Logical, Scope), Error> {
        if depth > NESTING_MAX {
            return fail(TOO_COMPLEX, "a query that nests too deep");
        }
        match item {
            TableRef::Table { name, alias } => self.table(name, alias.as_deref()),
            TableRef::Derived { query, alias } | TableRef::Lateral { query, alias } => {
                let query = self.query(query, depth + 1)?;
                Ok(visible(query, alias))
            }
            TableRef::Function { name, args, alias } => {
                let query = self.windows(name, args, depth + 1)?;
                let query = self.query(&query, depth + 1)?;
                Ok(visible(query, alias))
            }
            TableRef::Renamed { item, columns } => {
                let (plan, mut scope) = self.table_ref(item, depth + 1)?;
                if columns.len() > scope.columns.len() {
                    let message = format!("{} columns available, {} named", scope.columns.len(), columns.len());
                    return fail(COLUMN_COUNT, message);
                }
                scope.columns.iter_mut().zip(columns).for_each(|(column, name)| column.name.clone_from(name));
                Ok((plan, scope))
            }
            TableRef::Join { left, right, kind, on } => {
                let (left, left_scope) = self.table_ref(left, depth + 1)?;
                let (right, right_scope) = self.beside(&left_scope, right, depth)?;
                self.join((left, left_scope), (right, right_scope), *kind, on)
            }
        }
    }

    fn join(
        &mut self,
        (left, mut left_scope): (Logical, Scope),
        (right, mut right_scope): (Logical, Scope),
        kind: JoinKind,
        on: &JoinOn,
    ) -> Result<(Logical, Scope), Error> {
        let common = |scope: &Scope, other: &Scope| {
            let named = |name: &str| other.columns.iter().any(|column| !column.merged && column.name == name);
            let names = scope.columns.iter().filter(|column| !column.merged && named(&column.name));
            names.map(|column| column.name.clone()).collect::<Vec<_>>()
        };
        let using = match on {
            JoinOn::Using(names) => names.clone(),
            JoinOn::Natural => common(&left_scope, &right_scope),
            JoinOn::Nothing | JoinOn::Expr(_) => Vec::new(),
        };
        let (mut conjuncts, mut merged, mut computed) = (Vec::new(), Vec::new(), Vec::new());
        for name in &using {
            let (a, b) = (left_scope.resolve(None, name)?, right_scope.resolve(None, name)?);
            conjuncts.push(self.sealed_pair(BinaryOp::Eq, a, b)?.scalar);
            let id = match kind {
                JoinKind::Inner | JoinKind::Left => a,
                JoinKind::Right => b,
                JoinKind::Full => {
                    self.plain_column(a)?;
                    let both = [a, b].map(|id| Nested::new(Scalar::Column(id)));
                    let id = self.like(a);
                    computed.push((id, Scalar::Call(Function::Coalesce, both.into())));
                    id
                }
            };
            merged.push(Visible::new("", name.clone(), id));
            for (scope, id) in [(&mut left_scope, a), (&mut right_scope, b)] {
                scope.columns.iter_mut().filter(|column| column.id == id).for_each(|column| column.merged = true);
                // What an earlier USING merged is now merged into this one.
                scope.columns.retain(|column| !(column.table.is_empty() && column.merged));
            }
        }
        let mut scope = beside(left_scope, right_scope)?;
        scope.columns.splice(..0, merged);
        let mut inside = None;
        if let JoinOn::Expr(expr) = on {
            let subqueries = self.subqueries.replace(Vec::new());
            let condition = self.condition(expr, &scope);
            let found = core::mem::replace(&mut self.subqueries, subqueries).unwrap_or_default();
            conjuncts = condition?.conjuncts();
            inside = Some(found).filter(|found| !found.is_empty());
        }
        let plan = match (kind, inside) {
            (JoinKind::Inner, Some(found)) => {
                let product = self.joined(left, right, plan::JoinKind::Inner, Vec::new())?;
                self.filtered(product, conjuncts, found)?
            }
            (JoinKind::Inner, None) => self.joined(left, right, plan::JoinKind::Inner, conjuncts)?,
            (JoinKind::Full, Some(_)) => return fail(UNSUPPORTED, "a subquery in the condition of a FULL JOIN"),
            (JoinKind::Left, Some(found)) => self.outer_join(left, right, conjuncts, found)?,
            (JoinKind::Right, Some(found)) => self.outer_join(right, left, conjuncts, found)?,
            (JoinKind::Left, None) => self.joined(left, right, plan::JoinKind::Left, conjuncts)?,
            (JoinKind::Right, None) => self.joined(right, left, plan::JoinKind::Left, conjuncts)?,
            (JoinKind::Full, None) => self.joined(left, right, plan::JoinKind::Full, conjuncts)?,
        };
        if computed.is_empty() {
            return Ok((plan, scope));
        }
        let pass = plan.schema().into_iter().map(|id| (id, Scalar::Column(id)));
        let exprs = pass.chain(computed).collect();
        Ok((Logical::Project { input: Box::new(plan), exprs }, scope))
    }

    /// The scan of a table.
    pub fn table(&mut self, name: &str, alias: Option<&str>) -> Result<(Logical, Scope), Error> {
        let label = alias.unwrap_or(name);
        if let Some(found) = self.cte(name) {
            return Ok(visible(found, label));
        }
        if let Some(found) = self.system(name, label) {
            return found;
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
            let named = scan.columns.iter().zip(&table.columns);
            scan.not_null = named.filter(|(_, column)| column.not_null).map(|((id, ..), _)| *id).collect();
            details.place(scan);
            self.seal_scan(table, &details, scan);
            scan.table = self.tables.get(&table.name).map(|(_, version)| (table.name.clone(), *version));
        }
        Ok((plan, scope))
    }

    pub(super) fn scan(
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
            scope.columns.push(Visible::new(label, name, id));
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
            indexes: Vec::new(),
            table: None,
            identity: Vec::new(),
            not_null: Vec::new(),
        };
        (Logical::Scan(scan), scope)
    }
}

/// A query and the names of its columns under an alias.
fn visible(query: Query, alias: &str) -> (Logical, Scope) {
    let ids = query.plan.schema();
    let columns = query.columns.into_iter().zip(ids).map(|(column, id)| Visible::new(alias, column.name, id)).collect();
    (query.plan, Scope { columns })
}

/// Two scopes side by side.
pub(super) fn beside(mut left: Scope, right: Scope) -> Result<Scope, Error> {
    let named = right.columns.iter().filter(|column| !column.table.is_empty());
    let twice = named.into_iter().find(|a| left.columns.iter().any(|b| a.table == b.table));
    if let Some(column) = twice {
        return fail(DUPLICATE_ALIAS, format!("table name \"{}\" specified more than once", column.table));
    }
    left.columns.extend(right.columns);
    Ok(left)
}
