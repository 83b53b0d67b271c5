//! `WITH (..)` of CREATE TABLE. What is not known is refused: a table that was to be private must not come to be open.

use pontoon_core::{
    data::Value,
    sql::{ast::Expr, fault::INVALID_DEFINITION},
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    expr::{expr, name},
    unsupported,
};

/// What a table's options say.
#[derive(Default)]
pub(crate) struct Options {
    pub private: bool,
}

pub(crate) fn options(options: parsed::CreateTableOptions) -> Result<Options> {
    let given = match options {
        parsed::CreateTableOptions::None => Vec::new(),
        parsed::CreateTableOptions::With(options) => options,
        other => return unsupported(format!("{other} of CREATE TABLE")),
    };
    let mut options = Options::default();
    for option in given {
        let parsed::SqlOption::KeyValue { key, value } = option else {
            return unsupported(format!("WITH ({option})"));
        };
        match (&name(key)[..], expr(value, 0)?) {
            ("private", Expr::Literal(Value::Boolean(truth))) => options.private = truth,
            ("private", _) => return Err(ParseError::new(INVALID_DEFINITION, "private = true, or false")),
            (other, _) => return unsupported(format!("WITH ({other} = ..)")),
        }
    }
    Ok(options)
}
