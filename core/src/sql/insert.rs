//! Plans INSERT: which columns are given, what the others get, what happens where the key is there already.

use super::{
    ast::{ConflictAction, Expr, Insert, InsertSource},
    catalog::TableDescriptor,
    explain,
    fault::{COLUMN_COUNT, DATATYPE_MISMATCH, DUPLICATE_COLUMN, UNSUPPORTED, advise, fail},
    physical::Node,
    plan::Dialect,
    references::{inserting, note},
    scope::{Binder, Scope},
    select::lost_column,
    target::{Planned, arbiter, constant, note_checks, over_rows, position},
};
use crate::{
    Error,
    data::{Column, Row, Type, Value},
    exec::{
        change::{self, Conflict, Upsert},
        ops::sort::SortKey,
        plan::Op,
    },
};

impl Binder<'_> {
    /// Plans an INSERT.
    pub fn insert(&mut self, insert: &Insert, table: &TableDescriptor) -> Result<Planned<change::Insert>, Error> {
        let mut notes = Vec::new();
        let target = self.target(table)?;
        self.may_seal(table, &table.details()?, None)?;
        note_checks(&target, &mut notes);
        let references = self.references(table, inserting(insert, self.tables))?;
        note(&references, &mut notes);
        let (columns, defaults) = (targets(insert, table)?, self.defaults(table)?);
        let conflict = self.on_conflict(insert, table, &mut notes)?;
        let (_, scope, schema) = self.stored(table, insert.alias.as_deref().unwrap_or(&insert.table))?;
        let returning = self.returning(&insert.returning, &scope, &schema, &mut notes)?;
        let on = insert.conflict.as_ref().map(|conflict| arbiter(table, &conflict.target));
        let mut plan = change::Insert {
            target,
            columns,
            defaults,
            rows: Vec::new(),
            query: None,
            conflict,
            references,
            arbiter: on.transpose()?.unwrap_or_default(),
            returning,
        };
        let node = match &insert.source {
            InsertSource::Defaults => {
                plan.columns.clear();
                plan.rows.push(Row::new());
                None
            }
            InsertSource::Values(rows) => {
                plan.rows = self.rows(insert, table, rows, &plan)?;
                None
            }
            InsertSource::Query(select) => {
                let (mut node, columns, openings) = self.physical(select)?;
                if let Some(opening) = openings.into_iter().flatten().next() {
                    let why = "it cannot be read and written by one statement";
                    let message = format!("column {} is encrypted: {why}", opening.name);
                    return advise(UNSUPPORTED, message, "SELECT the values first, and INSERT them as parameters.");
                }
                check_width(insert, columns.len(), plan.columns.len())?;
                check_types(&columns, &plan.columns, table)?;
                // Which of two rows of one key counts must not depend on where they came from.
                if plan.conflict != Conflict::Refuse && select.order_by.is_empty() {
                    node = in_order(node);
                }
                plan.query = Some(node.clone().into_flow());
                Some(node)
            }
        };
        Ok(Planned { plan, node, notes })
    }

    /// The rows of VALUES.
    fn rows(
        &mut self,
        insert: &Insert,
        table: &TableDescriptor,
        source: &[Vec<Expr>],
        plan: &change::Insert,
    ) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(source.len());
        for exprs in source {
            check_width(insert, exprs.len(), plan.columns.len())?;
            let mut row = Row::with_capacity(exprs.len());
            for (expr, position) in exprs.iter().zip(&plan.columns) {
                let column = &table.columns[*position as usize];
                if let Some(value) = self.given(expr, column.data_type) {
                    row.push(value);
                    continue;
                }
                row.push(match expr {
                    Expr::Default => constant(&plan.defaults[*position as usize])?,
                    expr => {
                        let typed = self.expr(expr, &Scope::default())?;
                        constant(&typed.assign(column.data_type, &column.name)?.scalar)?
                    }
                });
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// A parameter that has the column's type already, or NULL: nothing is to be bound.
    fn given(&self, expr: &Expr, to: Type) -> Option<Value> {
        let Expr::Param(number) = expr else { return None };
        let value = self.params.get(usize::from(*number).checked_sub(1)?)?;
        let plain = matches!(to, Type::Integer | Type::Real | Type::Text) && value.data_type() == Some(to);
        (plain || value.is_null()).then(|| value.clone())
    }

    fn on_conflict(
        &mut self,
        insert: &Insert,
        table: &TableDescriptor,
        notes: &mut Vec<String>,
    ) -> Result<Conflict, Error> {
        let Some(on_conflict) = &insert.conflict else { return Ok(Conflict::Refuse) };
        let (conflict, note) = match &on_conflict.action {
            ConflictAction::Nothing => (Conflict::Skip(false), "leave what is there".to_owned()),
            ConflictAction::Ignore => (Conflict::Skip(true), "leave what is there".to_owned()),
            ConflictAction::Replace => (Conflict::Replace, "replace what is there".to_owned()),
            ConflictAction::Update { assignments, filter } => {
                let (_, mut scope, existing) = self.stored(table, insert.alias.as_deref().unwrap_or(&insert.table))?;
                let (_, mut excluded, proposed) = self.stored(table, "excluded")?;
                // In SQLite a name alone means the row that is there, in PostgreSQL it is ambiguous.
                let merged = self.settings.dialect == Dialect::Sqlite;
                excluded.columns.iter_mut().for_each(|column| column.merged = merged);
                self.in_clear(&excluded);
                scope.columns.extend(excluded.columns);
                let (schema, mut set) = ([existing, proposed].concat(), Vec::new());
                let assignments = over_rows(self.assignments(table, assignments, &scope, &mut set)?, &schema)?;
                let filter = filter.as_ref().map(|filter| self.condition(filter, &scope)).transpose()?;
                let mut note = format!("update {}", set.join(", "));
                if let Some(filter) = &filter {
                    let filter = explain::scalar(filter, &|id| self.name(id).to_owned());
                    note = format!("{note} where {filter}");
                }
                let filter = filter.map(|filter| filter.remap(&schema).ok_or_else(lost_column)).transpose()?;
                (Conflict::Update(Upsert { assignments, filter }), note)
            }
        };
        notes.insert(0, format!("OnConflict [asker] {note}, conditional on the version read"));
        Ok(conflict)
    }
}

/// The columns that an INSERT gives, in its order.
fn targets(insert: &Insert, table: &TableDescriptor) -> Result<Vec<u32>, Error> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len() as u32).collect());
    }
    let mut targets = Vec::new();
    for name in &insert.columns {
        let position = position(table, name)?;
        if targets.contains(&position) {
            return fail(DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"));
        }
        targets.push(position);
    }
    Ok(targets)
}

/// A row may be shorter than the table when no columns are named, as in PostgreSQL; never longer.
fn check_width(insert: &Insert, width: usize, wanted: usize) -> Result<(), Error> {
    if width == 0 || width > wanted || !insert.columns.is_empty() && width < wanted {
        return fail(COLUMN_COUNT, format!("INSERT has {width} values for {wanted} columns"));
    }
    Ok(())
}

/// Whether what a query gives may be assigned.
fn check_types(columns: &[Column], targets: &[u32], table: &TableDescriptor) -> Result<(), Error> {
    for (column, target) in columns.iter().zip(targets) {
        let target = &table.columns[*target as usize];
        let fits = match (column.data_type, target.data_type) {
            (None, _) | (_, Type::Text) => true,
            (Some(Type::Integer | Type::Real | Type::Numeric(_)), Type::Integer | Type::Real | Type::Numeric(_)) => {
                true
            }
            (Some(Type::Date | Type::Timestamp), Type::Date | Type::Timestamp) => true,
            (Some(from), to) => from == to,
        };
        if !fits {
            return fail(DATATYPE_MISMATCH, format!("column \"{}\" is of another type", target.name));
        }
    }
    Ok(())
}

/// The rows of a node in the order of their values.
fn in_order(node: Node) -> Node {
    let key = |column| SortKey { column, descending: false, nulls_first: false };
    let keys = (0..node.schema.len() as u32).map(key).collect();
    let schema = node.schema.clone();
    Node::new(Op::Sort(keys, None), vec![node], schema)
}
