//! The operators of the dataflow, a file each.
//!
//! Operators *push*: a host that waits for a network cannot be pulled from. Each consumes batches of signed rows on
//! its input ports and appends what follows from them to its output; [`Operator::on_end`] says that a port gives no
//! more, upon which an operator that had to wait for everything emits. A row's weight says how often it appears;
//! a negative weight takes it away again (Budiu et al., *DBSP*, VLDB 2023, section 2), so that what is one-shot
//! here can stand as a live query.
//!
//! Many rows come as columns ([`Columns`]). An operator that has nothing of it gets rows.

pub mod aggregate;
pub mod collect;
pub mod distinct;
pub mod filter;
pub mod hash_join;
pub mod limit;
pub mod mark_join;
pub mod matcher;
mod pairs;
pub mod project;
pub mod recursive;
pub mod set;
pub mod sketch;
pub mod sort;
pub mod state;
pub mod window;

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use self::aggregate::Group;
use super::columns::{COLUMNS, Columns};
use crate::{
    Error,
    data::{SignedRow, Value},
};

/// So many of the first rows are shown to the application before all are there.
pub const EARLY_MAX: usize = 100;

/// What flows between operators: rows, and partial aggregates between the partial and the final aggregation.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Batch {
    /// Rows one by one.
    pub rows: Vec<SignedRow>,
    /// Partial aggregates, by group.
    pub groups: Vec<Group>,
    /// More rows, by column. They travel as rows.
    #[serde(skip)]
    columns: Vec<Columns>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and groups in it.
    pub fn len(&self) -> usize {
        self.rows.len() + self.groups.len() + self.by_column().iter().map(Columns::len).sum::<usize>()
    }

    /// Adds a row.
    pub fn push(&mut self, row: crate::data::Row, weight: i64) {
        self.rows.push(SignedRow { row, weight });
    }

    /// Adds rows by column.
    pub fn push_columns(&mut self, columns: Columns) {
        if !COLUMNS {
            self.rows.extend(columns.rows());
        } else if !columns.is_empty() {
            self.columns.push(columns);
        }
    }

    /// Adds everything of another one.
    pub fn append(&mut self, mut other: Batch) {
        self.columns.append(&mut other.take_columns());
        self.rows.append(&mut other.rows);
        self.groups.append(&mut other.groups);
    }

    /// Of the first rows, up to [`EARLY_MAX`], those behind so many; none that are there by column.
    pub fn early(&self, told: usize) -> Vec<SignedRow> {
        self.rows.get(told..self.rows.len().min(EARLY_MAX)).unwrap_or_default().to_vec()
    }

    /// All rows one by one.
    #[must_use]
    pub fn by_row(mut self) -> Batch {
        for columns in self.take_columns() {
            self.rows.extend(columns.rows());
        }
        self
    }

    /// All rows by column.
    pub fn into_columns(mut self) -> Result<Vec<Columns>, Error> {
        let mut all = self.take_columns();
        if !self.rows.is_empty() {
            all.insert(0, Columns::of(self.rows)?);
        }
        Ok(all)
    }

    /// The values of a column.
    pub fn values(&self, column: usize) -> impl Iterator<Item = Value> + '_ {
        let by_row = self.rows.iter().filter_map(move |signed| signed.row.get(column).cloned());
        by_row.chain(self.by_column().iter().flat_map(move |columns| columns.values(column)))
    }

    /// The rows that are there by column: none where nothing works so.
    fn by_column(&self) -> &[Columns] {
        if COLUMNS { &self.columns } else { &[] }
    }

    /// Takes out the rows that are there by column.
    pub fn take_columns(&mut self) -> Vec<Columns> {
        if COLUMNS { core::mem::take(&mut self.columns) } else { Vec::new() }
    }

    /// Bytes of the rows that are there by column, about.
    pub fn columns_bytes(&self) -> usize {
        self.by_column().iter().map(Columns::bytes).fold(0, usize::saturating_add)
    }

    fn all_rows(&self) -> Cow<'_, [SignedRow]> {
        if self.by_column().is_empty() { Cow::Borrowed(&self.rows) } else { Cow::Owned(self.clone().by_row().rows) }
    }
}

impl PartialEq for Batch {
    fn eq(&self, other: &Batch) -> bool {
        self.groups == other.groups && self.all_rows() == other.all_rows()
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.all_rows(), &self.groups).serialize(serializer)
    }
}

/// What an operator waits for on a port that is asked for as needed.
#[derive(Clone, Debug, PartialEq)]
pub enum Wants {
    /// It does not wait: its turn has not come, or it has been asked for already.
    Nothing,
    /// Rows with these values.
    Values(Vec<Value>),
    /// Nothing any more.
    Over,
}

/// One step of the dataflow.
pub trait Operator: Send {
    /// Takes in a batch on an input port and appends what follows from it to `out`.
    fn on_batch(&mut self, port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error>;

    /// Whether it takes rows by column, too; otherwise it gets all of them one by one.
    fn by_column(&self) -> bool {
        false
    }

    /// Whether what it makes of a row depends on no other row.
    fn is_row_wise(&self) -> bool {
        false
    }

    /// Some rows of a port are missing: what is so only without them is not said. Before the port ends.
    fn on_lack(&mut self, port: usize) {
        let _ = port;
    }

    /// What it waits for on a port that is asked for as needed.
    fn wants(&mut self, port: usize) -> Wants {
        let _ = port;
        Wants::Nothing
    }

    /// Such a port will be given everything after all, from the beginning.
    fn on_all(&mut self, port: usize) {
        let _ = port;
    }

    /// A port gives no more; or, if it is asked for as needed, what was asked for is there.
    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        let _ = (port, out);
        Ok(())
    }

    /// What it is, in a word, and what it holds at the moment: for debug pages.
    fn describe(&self) -> (&'static str, usize);
}
