//! INSERT, UPDATE and DELETE.

use pontoon_core::{
    data::Nested,
    sql::{
        ast::{
            ConflictAction, Delete, Expr, Insert, InsertSource, OnConflict, SelectItem, Statement, TableRef, Update,
        },
        fault::SYNTAX,
    },
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    expr::{expr, name, object_name},
    query::{item, joined, select, value, values},
    unsupported,
};

pub(crate) fn insert(insert: parsed::Insert) -> Result<Statement> {
    if insert.ignore || insert.overwrite || insert.partitioned.is_some() || !insert.assignments.is_empty() {
        return unsupported("INSERT IGNORE, OVERWRITE, PARTITION and SET");
    }
    let parsed::TableObject::TableName(table) = insert.table else {
        return unsupported("INSERT into something that is no table");
    };
    let source = match insert.source {
        None => InsertSource::Defaults,
        Some(query) if matches!(*query.body, parsed::SetExpr::Values(_)) => match *query.body {
            parsed::SetExpr::Values(rows) => InsertSource::Values(values(rows)?),
            other => return unsupported(other),
        },
        Some(query) => InsertSource::Query(Nested::new(select(*query, 0)?)),
    };
    let columns = insert.columns.into_iter().map(object_name).collect::<Result<_>>()?;
    use parsed::SqliteOnConflict as Or;
    let conflict = match (insert.or, insert.on) {
        (None, None) | (Some(Or::Abort | Or::Rollback), None) => None,
        (Some(Or::Replace), None) => Some(OnConflict { target: Vec::new(), action: ConflictAction::Replace }),
        (Some(Or::Ignore), None) => Some(OnConflict { target: Vec::new(), action: ConflictAction::Ignore }),
        (None, Some(parsed::OnInsert::OnConflict(on_conflict))) => Some(conflict(on_conflict)?),
        (Some(Or::Fail), _) => return unsupported("INSERT OR FAIL"),
        (Some(_), Some(_)) => return Err(ParseError::new(SYNTAX, "INSERT OR .. with ON CONFLICT")),
        (_, Some(_)) => return unsupported("ON DUPLICATE KEY UPDATE; use ON CONFLICT"),
    };
    Ok(Statement::Insert(Insert {
        table: object_name(table)?,
        columns,
        source,
        alias: insert.table_alias.map(|alias| name(alias.alias)),
        conflict,
        returning: returning(insert.returning)?,
    }))
}

fn conflict(on_conflict: parsed::OnConflict) -> Result<OnConflict> {
    let target = match on_conflict.conflict_target {
        None => Vec::new(),
        Some(parsed::ConflictTarget::Columns(columns)) => columns.into_iter().map(name).collect(),
        Some(parsed::ConflictTarget::OnConstraint(_)) => return unsupported("ON CONFLICT ON CONSTRAINT; name columns"),
    };
    let action = match on_conflict.action {
        parsed::OnConflictAction::DoNothing => ConflictAction::Nothing,
        parsed::OnConflictAction::DoUpdate(update) => ConflictAction::Update {
            assignments: assignments(update.assignments)?,
            filter: update.selection.map(|filter| expr(filter, 0)).transpose()?,
        },
    };
    Ok(OnConflict { target, action })
}

pub(crate) fn update(update: parsed::Update) -> Result<Statement> {
    if !update.table.joins.is_empty() {
        return unsupported("joins in the table of an UPDATE; use FROM");
    }
    if update.or.is_some() || update.limit.is_some() || !update.order_by.is_empty() {
        return unsupported("UPDATE OR .., ORDER BY and LIMIT");
    }
    let from = match update.from {
        None => Vec::new(),
        Some(parsed::UpdateTableFromKind::BeforeSet(from) | parsed::UpdateTableFromKind::AfterSet(from)) => from,
    };
    let (table, alias) = one_table(update.table)?;
    Ok(Statement::Update(Update {
        table,
        alias,
        assignments: assignments(update.assignments)?,
        filter: update.selection.map(|filter| expr(filter, 0)).transpose()?,
        from: tables(from)?,
        returning: returning(update.returning)?,
    }))
}

pub(crate) fn delete(delete: parsed::Delete) -> Result<Statement> {
    if !delete.tables.is_empty() || delete.limit.is_some() || !delete.order_by.is_empty() {
        return unsupported("DELETE from several tables, ORDER BY and LIMIT");
    }
    let (parsed::FromTable::WithFromKeyword(mut from) | parsed::FromTable::WithoutKeyword(mut from)) = delete.from;
    let (table, alias) = match (from.pop(), from.is_empty()) {
        (Some(table), true) if table.joins.is_empty() => one_table(table)?,
        (None, _) => return Err(ParseError::new(SYNTAX, "DELETE without a table")),
        _ => return unsupported("DELETE from several tables"),
    };
    Ok(Statement::Delete(Delete {
        table,
        alias,
        filter: delete.selection.map(|filter| expr(filter, 0)).transpose()?,
        using: tables(delete.using.unwrap_or_default())?,
        returning: returning(delete.returning)?,
    }))
}

fn tables(from: Vec<parsed::TableWithJoins>) -> Result<Vec<TableRef>> {
    from.into_iter().map(|item| joined(item, 0)).collect()
}

fn returning(items: Option<Vec<parsed::SelectItem>>) -> Result<Vec<SelectItem>> {
    items.unwrap_or_default().into_iter().map(|it| item(it, 0)).collect()
}

/// The one plain table of an UPDATE or DELETE, and its alias.
fn one_table(table: parsed::TableWithJoins) -> Result<(String, Option<String>)> {
    match table.relation {
        parsed::TableFactor::Table { name: table, alias, args: None, .. } => {
            Ok((object_name(table)?, alias.map(|alias| name(alias.name))))
        }
        other => unsupported(format!("changes of {other}")),
    }
}

/// Column and new value; `(a, b) = (1, 2)` is two of them.
fn assignments(parsed: Vec<parsed::Assignment>) -> Result<Vec<(String, Expr)>> {
    let mut assignments = Vec::with_capacity(parsed.len());
    for assignment in parsed {
        match assignment.target {
            parsed::AssignmentTarget::ColumnName(column) => {
                assignments.push((object_name(column)?, value(assignment.value)?));
            }
            parsed::AssignmentTarget::Tuple(columns) => {
                let values = match assignment.value {
                    parsed::Expr::Tuple(values) => values,
                    parsed::Expr::Nested(one) => vec![*one],
                    other => return unsupported(format!("assignment of {other} to several columns")),
                };
                if values.len() != columns.len() {
                    return Err(ParseError::new(SYNTAX, "number of columns does not match number of values"));
                }
                for (column, one) in columns.into_iter().zip(values) {
                    assignments.push((object_name(column)?, value(one)?));
                }
            }
        }
    }
    Ok(assignments)
}
