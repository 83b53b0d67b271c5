//! Computes expressions over each row.
//!
//! ```text
//!   (a, b) × w ──▶ [e1(a, b), e2(a, b), ..] ──▶ (e1, e2, ..) × w        state: none
//! ```

use std::sync::Arc;

use super::{Batch, Operator};
use crate::{
    Error,
    data::{Row, Value},
    exec::{
        columns::{COLUMNS, Columns},
        eval::eval,
        vector::evaluate,
    },
    sql::scalar::Scalar,
};

/// See the module's documentation.
pub struct Project {
    exprs: Vec<Scalar>,
}

impl Project {
    /// Computes `exprs` over each row.
    pub fn new(exprs: Vec<Scalar>) -> Project {
        Project { exprs }
    }
}

/// The values of expressions over a row.
pub fn project(exprs: &[Scalar], row: &[Value]) -> Result<Row, Error> {
    exprs.iter().map(|expr| Ok(eval(expr, row)?.into_owned())).collect()
}

impl Operator for Project {
    fn by_column(&self) -> bool {
        COLUMNS
    }

    fn is_row_wise(&self) -> bool {
        true
    }

    fn on_batch(&mut self, _port: usize, mut batch: Batch, out: &mut Batch) -> Result<(), Error> {
        for columns in batch.take_columns() {
            let made = self.exprs.iter().map(|expr| match expr {
                Scalar::Column(position) => columns.shared(*position),
                expr => Ok(Arc::new(evaluate(expr, &columns)?.into_owned())),
            });
            out.push_columns(Columns::with(made.collect::<Result<_, Error>>()?, &columns));
        }
        out.rows.reserve(batch.rows.len());
        for signed in batch.rows {
            out.push(project(&self.exprs, &signed.row)?, signed.weight);
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("project", 0)
    }
}
