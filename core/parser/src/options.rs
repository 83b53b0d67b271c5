//! `WITH (..)` of CREATE TABLE. What is not known is refused: a table that was to be private or sealed must not come to be open.

use pontoon_core::{
    data::Value,
    sql::{
        ast::{EncryptionDef, Expr},
        fault::INVALID_DEFINITION,
    },
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
    pub encryption: Option<EncryptionDef>,
}

pub(crate) fn options(options: parsed::CreateTableOptions) -> Result<Options> {
    let given = match options {
        parsed::CreateTableOptions::None => Vec::new(),
        parsed::CreateTableOptions::With(options) => options,
        other => return unsupported(format!("{other} of CREATE TABLE")),
    };
    let (mut private, mut keyring, mut columns, mut equality) = (false, None, None, None);
    for option in given {
        let parsed::SqlOption::KeyValue { key, value } = option else {
            return unsupported(format!("WITH ({option})"));
        };
        match (&name(key)[..], expr(value, 0)?) {
            ("private", Expr::Literal(Value::Boolean(truth))) => private = truth,
            ("encryption", Expr::Literal(Value::Text(text))) if !text.is_empty() => keyring = Some(text),
            ("encrypted_columns", Expr::Literal(Value::Text(text))) => {
                columns = Some(text.split(',').map(|one| one.trim().to_owned()).collect());
            }
            ("encryption_equality", Expr::Literal(Value::Boolean(truth))) => equality = Some(truth),
            (known @ ("private" | "encryption" | "encrypted_columns" | "encryption_equality"), _) => {
                let message = "private = true or false, encryption = 'keyring', encrypted_columns = 'a, b', \
                               encryption_equality = true or false";
                return Err(ParseError::new(INVALID_DEFINITION, format!("{known}: options are {message}")));
            }
            (other, _) => return unsupported(format!("WITH ({other} = ..)")),
        }
    }
    if keyring.is_none() && (columns.is_some() || equality.is_some()) {
        let message = "WITH (encryption = 'keyring') says whose keys they are sealed with";
        return Err(ParseError::new(INVALID_DEFINITION, message));
    }
    let encryption = keyring.map(|keyring| EncryptionDef { keyring, columns, equality: equality.unwrap_or(true) });
    Ok(Options { private, encryption })
}
