//! The operators of the dataflow, a file each.
//!
//! Operators *push*: a host that waits for a network cannot be pulled from. Each consumes batches of signed rows on
//! its input ports and appends what follows from them to its output; [`Operator::on_end`] says that a port gives no
//! more, upon which an operator that had to wait for everything emits. A row's weight says how often it appears;
//! a negative weight takes it away again (Budiu et al., *DBSP*, VLDB 2023, section 2), so that what is one-shot
//! here can stand as a live query.

pub mod aggregate;
pub mod collect;
pub mod distinct;
pub mod filter;
pub mod hash_join;
pub mod limit;
pub mod mark_join;
pub mod project;
pub mod recursive;
pub mod set;
pub mod sort;
pub mod window;

use serde::{Deserialize, Serialize};

use self::aggregate::Group;
use crate::{Error, data::SignedRow};

/// What flows between operators: rows, and partial aggregates between the partial and the final aggregation.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Rows.
    pub rows: Vec<SignedRow>,
    /// Partial aggregates, by group.
    pub groups: Vec<Group>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.groups.is_empty()
    }

    /// Rows and groups in it.
    pub fn len(&self) -> usize {
        self.rows.len() + self.groups.len()
    }

    /// Adds a row.
    pub fn push(&mut self, row: crate::data::Row, weight: i64) {
        self.rows.push(SignedRow { row, weight });
    }
}

/// One step of the dataflow.
pub trait Operator: Send {
    /// Takes in a batch on an input port and appends what follows from it to `out`.
    fn on_batch(&mut self, port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error>;

    /// A port gives no more.
    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        let _ = (port, out);
        Ok(())
    }

    /// What it is, in a word, and what it holds at the moment: for debug pages.
    fn describe(&self) -> (&'static str, usize);
}
