//! Statements that change rows, as they are run: what is written where, under which conditions, and what is shown of it.
//!
//! In these plans a row is a *stored row*: [`Scalar::Column`] is the slot where a record keeps the value, so columns
//! that a table lost are there, too, and survive a change. Only the asker needs any of it.

use std::sync::Arc;

use super::{
    eval::{eval, truth},
    ops::project::project,
    plan::{Flow, Join},
    references::References,
};
use crate::{
    Error,
    data::{Column, Row, Type, Value, codec},
    seal::{Opening, Sealer},
    sql::{
        fault::{CHECK_VIOLATION, CORRUPTED, NOT_NULL_VIOLATION, error, fail},
        index::Index,
        references::Dependent,
        scalar::Scalar,
    },
    store::Version,
};

/// What a writer knows of the table that it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The table's name.
    pub name: String,
    /// Where its rows are.
    pub namespace: String,
    /// Locality bits of that namespace.
    pub locality_bits: u8,
    /// Its columns.
    pub columns: Vec<TargetColumn>,
    /// The slots of the primary key, in key order; empty: keys are hidden row ids.
    pub key: Vec<u32>,
    /// What a record that ends before a slot has there; as long as a stored row.
    pub missing: Row,
    /// What must not be false of a stored row, by name of the constraint.
    pub checks: Vec<(String, Scalar)>,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// The version of its entry in the catalog; `None` while nobody else knows the table.
    pub version: Option<Version>,
    /// Who refers to its rows.
    pub dependents: Vec<Dependent>,
    /// What seals new values.
    pub sealer: Option<Sealer>,
}

/// A column of a [`Target`].
#[derive(Clone, Debug, PartialEq)]
pub struct TargetColumn {
    /// Its name.
    pub name: String,
    /// Where it is in a stored row.
    pub slot: u32,
    /// Its type.
    pub data_type: Type,
    /// Whether NULL is refused.
    pub not_null: bool,
}

/// What a statement shows of each row that it wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Returning {
    /// Over the stored row as it is now, and what stands behind it ([`Modify`]).
    pub exprs: Vec<Scalar>,
    /// The columns of the result.
    pub columns: Vec<Column>,
    /// How they are opened, where they are sealed.
    pub openings: Vec<Option<Arc<Opening>>>,
}

/// New rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// The table.
    pub target: Target,
    /// The column that each value of a source row goes to.
    pub columns: Vec<u32>,
    /// What each column gets that no value goes to.
    pub defaults: Vec<Scalar>,
    /// The source rows, unless a query gives them.
    pub rows: Vec<Row>,
    /// The query that gives them.
    pub query: Option<Flow>,
    /// What becomes of a row whose key is there already.
    pub conflict: Conflict,
    /// Which conflicts that is about.
    pub arbiter: Arbiter,
    /// What its rows refer to, and who refers to them.
    pub references: References,
    /// What is shown of it.
    pub returning: Option<Returning>,
}

/// Which conflicts are dealt with; any other fails the statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Arbiter {
    /// All of them.
    #[default]
    Any,
    /// Of the primary key.
    PrimaryKey,
    /// Of the unique index with this namespace.
    Index(String),
}

/// What becomes of a new row whose key is there already.
#[derive(Clone, Debug, PartialEq)]
pub enum Conflict {
    /// The statement fails.
    Refuse,
    /// The row is left out; with the flag so is one that breaks a constraint.
    Skip(bool),
    /// The row takes the place of the other.
    Replace,
    /// The other is changed.
    Update(Upsert),
}

/// `DO UPDATE`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upsert {
    /// Slot and new value, over the stored row and then the one that was to be inserted.
    pub assignments: Vec<(u32, Scalar)>,
    /// Whether it is changed at all, over the same.
    pub filter: Option<Scalar>,
}

/// Changes of the rows of a table.
///
/// The rows found are stored rows, then key, version and what the record has beyond the slots known; behind them stand
/// the columns of the other tables, if there are any.
#[derive(Clone, Debug, PartialEq)]
pub struct Modify {
    /// The table.
    pub target: Target,
    /// Finds the rows.
    pub found: Flow,
    /// Which rows, over all that was found.
    pub filter: Option<Scalar>,
    /// Slot and new value, over all that was found; `None` deletes.
    pub assignments: Option<Vec<(u32, Scalar)>>,
    /// The other tables of FROM or USING.
    pub others: Option<Others>,
    /// What is shown of it.
    pub returning: Option<Returning>,
    /// Subqueries are in it: how many columns the rows found have beyond, with what assignments read of them. What
    /// they gave is true of the rows as they were found, so a row that was changed since has the statement begin anew.
    pub whole: Option<u32>,
    /// What its rows refer to, and who refers to them.
    pub references: References,
}

/// The other tables of an UPDATE or DELETE.
#[derive(Clone, Debug, PartialEq)]
pub struct Others {
    /// Gives their rows.
    pub flow: Flow,
    /// How these meet the rows found.
    pub join: Join,
}

/// Columns that a found row has behind its slots: key, version, the rest of the record.
pub const BEHIND: usize = 3;

impl Target {
    /// The key of a row's record; `None` when the table has no primary key.
    pub fn key(&self, row: &[Value]) -> Option<Vec<u8>> {
        if self.key.is_empty() {
            return None;
        }
        let part = |slot: &u32| row.get(*slot as usize).cloned().unwrap_or(Value::Null);
        Some(codec::encode_key(&self.key.iter().map(part).collect::<Row>()))
    }

    /// Seals values in the slots of a row that `which` names.
    pub fn seal(&self, key: &[u8], row: &mut [Value], which: impl Fn(u32) -> bool) -> Result<(), Error> {
        match &self.sealer {
            Some(sealer) => sealer.seal((&self.namespace, key), row, which),
            None => Ok(()),
        }
    }

    /// A record as a stored row, and what it has beyond: columns that this definition does not know.
    pub fn read(&self, record: &[u8]) -> Result<(Row, Row), Error> {
        let mut row = codec::decode_row(record).map_err(|_| error(CORRUPTED, "a record does not read as a row"))?;
        let rest = row.split_off(row.len().min(self.missing.len()));
        row.extend_from_slice(&self.missing[row.len()..]);
        Ok((row, rest))
    }

    /// Whether a row may be written.
    pub fn admit(&self, row: &[Value]) -> Result<(), Error> {
        for column in self.columns.iter().filter(|column| column.not_null) {
            if row.get(column.slot as usize).is_none_or(Value::is_null) {
                let message = format!("null value in column \"{}\" of relation \"{}\"", column.name, self.name);
                return fail(NOT_NULL_VIOLATION, message);
            }
        }
        for (name, check) in &self.checks {
            if truth(check, row)? == Some(false) {
                let message = format!("new row for relation \"{}\" violates check constraint \"{name}\"", self.name);
                return fail(CHECK_VIOLATION, message);
            }
        }
        Ok(())
    }
}

impl Returning {
    /// What is shown of a row.
    pub fn show(&self, row: &[Value]) -> Result<Row, Error> {
        project(&self.exprs, row)
    }
}

/// Sets slots of a row to what expressions over `from` give.
pub fn assign(row: &mut [Value], assignments: &[(u32, Scalar)], from: &[Value]) -> Result<(), Error> {
    for (slot, scalar) in assignments {
        if let Some(value) = row.get_mut(*slot as usize) {
            *value = eval(scalar, from)?.into_owned();
        }
    }
    Ok(())
}
