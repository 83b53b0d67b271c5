//! Statements.

use pontoon_core::{
    data::{Nested, Type},
    sql::{
        ast::{ColumnDef, CreateTable, Delete, Expr, Insert, InsertSource, Statement, Update},
        fault::{INVALID_DEFINITION, SYNTAX},
    },
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    expr::{expr, name, object_name},
    query::{select, value, values},
    unsupported,
};

pub(crate) fn statement(statement: parsed::Statement) -> Result<Statement> {
    Ok(match statement {
        parsed::Statement::Query(query) => Statement::Select(Nested::new(select(*query, 0)?)),
        parsed::Statement::CreateTable(create) => create_table(create)?,
        parsed::Statement::Insert(inserted) => insert(inserted)?,
        parsed::Statement::Update(updated) => update(updated)?,
        parsed::Statement::Delete(deleted) => delete(deleted)?,
        parsed::Statement::Drop { object_type: parsed::ObjectType::Table, if_exists, mut names, .. } => {
            match (names.pop(), names.is_empty()) {
                (Some(table), true) => Statement::DropTable { name: object_name(table)?, if_exists },
                _ => return unsupported("DROP TABLE of several tables"),
            }
        }
        parsed::Statement::Explain { analyze: true, .. } => return unsupported("EXPLAIN ANALYZE"),
        parsed::Statement::Explain { statement: inner, .. } => match self::statement(*inner)? {
            Statement::Explain(_) => return unsupported("EXPLAIN of EXPLAIN"),
            inner => Statement::Explain(Nested::new(inner)),
        },
        other => return unsupported(other),
    })
}

fn create_table(create: parsed::CreateTable) -> Result<Statement> {
    if create.query.is_some() || create.like.is_some() || create.clone.is_some() {
        return unsupported("CREATE TABLE from another table");
    }
    if create.temporary || create.or_replace || create.external {
        return unsupported("CREATE TEMPORARY, EXTERNAL or OR REPLACE TABLE");
    }
    let mut keys: Vec<Vec<String>> = Vec::new();
    let mut columns = Vec::with_capacity(create.columns.len());
    for column in create.columns {
        let mut defined = ColumnDef {
            name: name(column.name),
            data_type: data_type(&column.data_type)?,
            not_null: false,
            default: None,
        };
        for option in column.options {
            match option.option {
                parsed::ColumnOption::Null => {}
                parsed::ColumnOption::NotNull => defined.not_null = true,
                parsed::ColumnOption::Default(default) => defined.default = Some(constant(expr(default, 0)?)?),
                parsed::ColumnOption::PrimaryKey(_) => keys.push(vec![defined.name.clone()]),
                other => return unsupported(format!("column option {other}")),
            }
        }
        columns.push(defined);
    }
    for constraint in create.constraints {
        match constraint {
            parsed::TableConstraint::PrimaryKey(key) => {
                let column = |index: parsed::IndexColumn| match index.column.expr {
                    parsed::Expr::Identifier(ident) => Ok(name(ident)),
                    other => unsupported(format!("PRIMARY KEY ({other})")),
                };
                keys.push(key.columns.into_iter().map(column).collect::<Result<_>>()?);
            }
            other => return unsupported(format!("constraint {other}")),
        }
    }
    if keys.len() > 1 {
        return Err(ParseError::new(INVALID_DEFINITION, "multiple primary keys are not allowed"));
    }
    Ok(Statement::CreateTable(CreateTable {
        name: object_name(create.name)?,
        if_not_exists: create.if_not_exists,
        columns,
        primary_key: keys.pop().unwrap_or_default(),
    }))
}

/// A DEFAULT is a constant or `now()`.
fn constant(expr: Expr) -> Result<Expr> {
    match &expr {
        Expr::Literal(_) => Ok(expr),
        Expr::Call { name, args, .. } if args.is_empty() && matches!(name.as_str(), "now" | "current_timestamp") => {
            Ok(expr)
        }
        Expr::Unary(_, operand) if matches!(**operand, Expr::Literal(_)) => Ok(expr),
        _ => unsupported("DEFAULT other than a constant"),
    }
}

pub(crate) fn data_type(data_type: &parsed::DataType) -> Result<Type> {
    use parsed::DataType as T;
    Ok(match data_type {
        T::TinyInt(_)
        | T::SmallInt(_)
        | T::Int2(_)
        | T::MediumInt(_)
        | T::Int(_)
        | T::Int4(_)
        | T::Int8(_)
        | T::Int64
        | T::Integer(_)
        | T::BigInt(_) => Type::Integer,
        T::Real
        | T::Float(_)
        | T::Float4
        | T::Float8
        | T::Float64
        | T::Double(_)
        | T::DoublePrecision
        | T::Numeric(_)
        | T::Decimal(_) => Type::Real,
        T::Text
        | T::String(_)
        | T::Varchar(_)
        | T::CharacterVarying(_)
        | T::CharVarying(_)
        | T::Char(_)
        | T::Character(_)
        | T::Clob(_) => Type::Text,
        T::Bool | T::Boolean => Type::Boolean,
        T::Timestamp(..) | T::Datetime(_) | T::Date => Type::Timestamp,
        T::Blob(_) | T::Bytea | T::Binary(_) | T::Varbinary(_) => Type::Blob,
        other => return unsupported(format!("type {other}")),
    })
}

fn insert(insert: parsed::Insert) -> Result<Statement> {
    if insert.or.is_some() || insert.on.is_some() || insert.replace_into || insert.ignore {
        return unsupported("INSERT OR .., ON CONFLICT and REPLACE");
    }
    if insert.returning.is_some() {
        return unsupported("RETURNING");
    }
    let parsed::TableObject::TableName(table) = insert.table else {
        return unsupported("INSERT into something that is no table");
    };
    let Some(query) = insert.source else {
        return unsupported("INSERT without rows");
    };
    let source = match *query.body {
        parsed::SetExpr::Values(rows) => InsertSource::Values(values(rows)?),
        _ => InsertSource::Query(Nested::new(select(*query, 0)?)),
    };
    let columns = insert.columns.into_iter().map(object_name).collect::<Result<_>>()?;
    Ok(Statement::Insert(Insert { table: object_name(table)?, columns, source }))
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

fn update(update: parsed::Update) -> Result<Statement> {
    if update.from.is_some() || !update.table.joins.is_empty() || update.returning.is_some() || update.or.is_some() {
        return unsupported("UPDATE .. FROM and RETURNING");
    }
    if update.limit.is_some() || !update.order_by.is_empty() {
        return unsupported("UPDATE .. ORDER BY and LIMIT");
    }
    let (table, alias) = one_table(update.table)?;
    let mut assignments = Vec::with_capacity(update.assignments.len());
    for assignment in update.assignments {
        match assignment.target {
            parsed::AssignmentTarget::ColumnName(column) => {
                assignments.push((object_name(column)?, value(assignment.value)?));
            }
            parsed::AssignmentTarget::Tuple(_) => return unsupported("assignment to several columns at once"),
        }
    }
    let filter = update.selection.map(|filter| expr(filter, 0)).transpose()?;
    Ok(Statement::Update(Update { table, alias, assignments, filter }))
}

fn delete(delete: parsed::Delete) -> Result<Statement> {
    if delete.using.is_some() || delete.returning.is_some() || !delete.tables.is_empty() {
        return unsupported("DELETE .. USING and RETURNING");
    }
    if delete.limit.is_some() || !delete.order_by.is_empty() {
        return unsupported("DELETE .. ORDER BY and LIMIT");
    }
    let (parsed::FromTable::WithFromKeyword(mut from) | parsed::FromTable::WithoutKeyword(mut from)) = delete.from;
    let (table, alias) = match (from.pop(), from.is_empty()) {
        (Some(table), true) if table.joins.is_empty() => one_table(table)?,
        (None, _) => return Err(ParseError::new(SYNTAX, "DELETE without a table")),
        _ => return unsupported("DELETE from several tables"),
    };
    let filter = delete.selection.map(|filter| expr(filter, 0)).transpose()?;
    Ok(Statement::Delete(Delete { table, alias, filter }))
}
