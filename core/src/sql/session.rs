//! What `SET` sets: settings of one connection, kept by whoever asks.
//!
//! They are no part of a statement's tree, and no other peer learns of them: they say how trees are planned.

use super::{
    fault::{INVALID_ARGUMENT, UNDEFINED_OBJECT, fail},
    plan::Dialect,
};
use crate::{
    Error,
    data::{Column, QueryResult, Type, Value},
};

/// The settings of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// `pontoon.dialect`: how values are typed and compared where databases differ.
    pub dialect: Dialect,
}

const DIALECT: &str = "pontoon.dialect";

impl Session {
    /// `SET name = value`, or the default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Error> {
        known(name)?;
        self.dialect = match value {
            None => Dialect::default(),
            Some(value) if value.eq_ignore_ascii_case("postgres") => Dialect::Postgres,
            Some(value) if value.eq_ignore_ascii_case("sqlite") => Dialect::Sqlite,
            Some(value) => {
                let message = format!("invalid value for {DIALECT}: \"{value}\"; it is 'postgres' or 'sqlite'");
                return fail(INVALID_ARGUMENT, message);
            }
        };
        Ok(())
    }

    /// `SHOW name`.
    pub fn show(&self, name: &str) -> Result<QueryResult, Error> {
        known(name)?;
        let value = match self.dialect {
            Dialect::Postgres => "postgres",
            Dialect::Sqlite => "sqlite",
        };
        Ok(QueryResult {
            columns: vec![Column { name: name.to_owned(), data_type: Some(Type::Text) }],
            rows: vec![vec![Value::Text(value.to_owned())]],
            ..done()
        })
    }
}

/// A result that needed nobody.
pub fn done() -> QueryResult {
    QueryResult {
        columns: Vec::new(),
        rows: Vec::new(),
        affected: 0,
        coverage: 1.0,
        assumed_lost: false,
        cost: Default::default(),
    }
}

fn known(name: &str) -> Result<(), Error> {
    if name == DIALECT { Ok(()) } else { fail(UNDEFINED_OBJECT, format!("there is no setting \"{name}\"")) }
}
