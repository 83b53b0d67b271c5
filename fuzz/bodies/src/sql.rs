//! SQL text, PostgreSQL's or with a byte before it SQLite's.

use crate::{ast::comes_back, database};

/// Before SQLite's text: in no statement.
pub const SQLITE: u8 = 1;

pub(crate) fn sql(input: &[u8]) {
    let (sqlite, text) = match input.split_first() {
        Some((&SQLITE, text)) => (true, text),
        _ => (false, input),
    };
    let Ok(text) = str::from_utf8(text) else { return };
    let parsed = if sqlite { pontoon_parser::parse_sqlite(text) } else { pontoon_parser::parse(text) };
    match parsed {
        Ok(statements) => {
            comes_back(&statements);
            for at in 0..statements.len() {
                let _ = pontoon_parser::locate(text, at, "many");
            }
            statements.into_iter().for_each(database::plan);
        }
        Err(error) => assert!(error.position.is_none_or(|at| at as usize <= text.chars().count() + 1), "{error:?}"),
    }
}
