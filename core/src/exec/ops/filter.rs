//! Keeps the rows for which a condition is true (neither false nor unknown).
//!
//! ```text
//!   rows ──▶ [condition] ──▶ the same rows and weights, fewer of them        state: none
//! ```

use super::{Batch, Operator};
use crate::{
    Error,
    exec::{columns::COLUMNS, eval::truth, vector::select},
    sql::scalar::Scalar,
};

/// See the module's documentation.
pub struct Filter {
    condition: Scalar,
}

impl Filter {
    /// Keeps rows for which `condition` is true.
    pub fn new(condition: Scalar) -> Filter {
        Filter { condition }
    }
}

impl Operator for Filter {
    fn by_column(&self) -> bool {
        COLUMNS
    }

    fn is_row_wise(&self) -> bool {
        true
    }

    fn on_batch(&mut self, _port: usize, mut batch: Batch, out: &mut Batch) -> Result<(), Error> {
        for columns in batch.take_columns() {
            let places = select(&self.condition, &columns)?;
            out.push_columns(if places.len() == columns.len() { columns } else { columns.take(&places) });
        }
        for signed in batch.rows {
            if truth(&self.condition, &signed.row)? == Some(true) {
                out.rows.push(signed);
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("filter", 0)
    }
}
