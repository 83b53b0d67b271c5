//! Keeps the rows for which a condition is true (neither false nor unknown).
//!
//! ```text
//!   rows ──▶ [condition] ──▶ the same rows and weights, fewer of them        state: none
//! ```

use super::{Batch, Operator};
use crate::{Error, exec::eval::truth, sql::scalar::Scalar};

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
    fn on_batch(&mut self, _port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error> {
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
