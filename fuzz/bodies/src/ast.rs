//! Statements as bytes: so they come from the parser's module, and lie in the catalog.

use pontoon_core::sql::ast::Statement;

use crate::database;

/// Statements of one input that are planned.
const STATEMENTS_MAX: usize = 4;

pub(crate) fn ast(input: &[u8]) {
    let Ok(statements) = postcard::from_bytes::<Vec<Statement>>(input) else { return };
    comes_back(&statements);
    statements.into_iter().take(STATEMENTS_MAX).for_each(database::plan);
}

/// What decodes, or was parsed, has one encoding. Bytes are compared, for a literal may be NaN.
pub(crate) fn comes_back(statements: &[Statement]) {
    let encoded = postcard::to_allocvec(statements).expect("plain data");
    // Text may nest deeper than what is decoded: see `pontoon_core::data::DEPTH_MAX`.
    if let Ok(again) = postcard::from_bytes::<Vec<Statement>>(&encoded) {
        assert_eq!(postcard::to_allocvec(&again).expect("plain data"), encoded);
    }
}
