//! `WITH (..)` of CREATE TABLE. What is not known is refused: a table that was to be sealed must not come to be in clear.

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

/// What a table's options say of encryption.
pub(crate) fn encryption(options: parsed::CreateTableOptions) -> Result<Option<EncryptionDef>> {
    let options = match options {
        parsed::CreateTableOptions::None => Vec::new(),
        parsed::CreateTableOptions::With(options) => options,
        other => return unsupported(format!("{other} of CREATE TABLE")),
    };
    let (mut keyring, mut columns, mut equality) = (None, None, None);
    for option in options {
        let parsed::SqlOption::KeyValue { key, value: given } = option else {
            return unsupported(format!("WITH ({option})"));
        };
        match (&name(key)[..], expr(given, 0)?) {
            ("encryption", Expr::Literal(Value::Text(text))) if !text.is_empty() => keyring = Some(text),
            ("encrypted_columns", Expr::Literal(Value::Text(text))) => {
                columns = Some(text.split(',').map(|one| one.trim().to_owned()).collect());
            }
            ("encryption_equality", Expr::Literal(Value::Boolean(truth))) => equality = Some(truth),
            (known @ ("encryption" | "encrypted_columns" | "encryption_equality"), _) => {
                let message = "encryption = 'keyring', encrypted_columns = 'a, b', encryption_equality = true or false";
                return Err(ParseError::new(INVALID_DEFINITION, format!("{known}: options are {message}")));
            }
            (other, _) => return unsupported(format!("WITH ({other} = ..)")),
        }
    }
    match keyring {
        Some(keyring) => Ok(Some(EncryptionDef { keyring, columns, equality: equality.unwrap_or(true) })),
        None if columns.is_some() || equality.is_some() => Err(ParseError::new(
            INVALID_DEFINITION,
            "WITH (encryption = 'keyring') says whose keys they are sealed with",
        )),
        None => Ok(None),
    }
}
