//! What `SET` sets: settings of one connection, kept by whoever asks.
//!
//! They are no part of a statement's tree, and no other peer learns of them: they say how trees are planned.

use super::{
    fault::{INVALID_ARGUMENT, UNDEFINED_OBJECT, fail},
    plan::Dialect,
    strategy::JoinStrategy,
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
    /// `pontoon.join_strategy`: how the sides of joins meet.
    pub join_strategy: JoinStrategy,
}

const DIALECT: &str = "pontoon.dialect";
const JOIN_STRATEGY: &str = "pontoon.join_strategy";

impl Session {
    /// `SET name = value`, or the default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), Error> {
        match name {
            DIALECT => self.dialect = value.map(dialect).transpose()?.unwrap_or_default(),
            JOIN_STRATEGY => {
                self.join_strategy = value.map(JoinStrategy::by_name).transpose()?.unwrap_or_default();
            }
            _ => return unknown(name),
        }
        Ok(())
    }

    /// `SHOW name`.
    pub fn show(&self, name: &str) -> Result<QueryResult, Error> {
        let value = match (name, self.dialect) {
            (DIALECT, Dialect::Postgres) => "postgres",
            (DIALECT, Dialect::Sqlite) => "sqlite",
            (JOIN_STRATEGY, _) => self.join_strategy.name(),
            _ => return unknown(name),
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

fn dialect(name: &str) -> Result<Dialect, Error> {
    match name {
        _ if name.eq_ignore_ascii_case("postgres") => Ok(Dialect::Postgres),
        _ if name.eq_ignore_ascii_case("sqlite") => Ok(Dialect::Sqlite),
        _ => {
            let message = format!("invalid value for {DIALECT}: \"{name}\"; it is 'postgres' or 'sqlite'");
            fail(INVALID_ARGUMENT, message)
        }
    }
}

fn unknown<T>(name: &str) -> Result<T, Error> {
    fail(UNDEFINED_OBJECT, format!("there is no setting \"{name}\""))
}
