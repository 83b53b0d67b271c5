//! Expressions over the rows of one table: the list of a SELECT as text.

use pontoon_core::sql::{
    ast::{Body, Select, Statement, TableRef},
    plan::Dialect,
};

use crate::{database, sql::SQLITE};

pub(crate) fn eval(input: &[u8]) {
    let (dialect, text) = match input.split_first() {
        Some((&SQLITE, text)) => (Dialect::Sqlite, text),
        _ => (Dialect::Postgres, input),
    };
    let Ok(text) = str::from_utf8(text) else { return };
    // Queries within it could be of any size.
    let lower = text.to_ascii_lowercase();
    if ["select", "values", "table", "with"].iter().any(|word| lower.contains(word)) {
        return;
    }
    let text = format!("SELECT {text}");
    let parsed = match dialect {
        Dialect::Postgres => pontoon_parser::parse_one(&text),
        Dialect::Sqlite => pontoon_parser::parse_sqlite(&text).map(|mut all| all.swap_remove(0)),
    };
    let Ok(Statement::Select(mut select)) = parsed else { return };
    let Select { from, body: Body::Select, .. } = &mut *select else { return };
    if !from.is_empty() {
        return;
    }
    from.push(TableRef::Table { name: "many".to_owned(), alias: None });
    database::query(dialect, Statement::Select(select));
}
