//! `WITH RECURSIVE`: a flow is repeated over the rows of its last iteration until it gives no more.
//!
//! ```text
//!   base (port 0) ──▶ rows ──▶ step ──▶ new rows ──▶ step ──▶ .. ──▶ none: all rows come out
//!   other inputs (ports 1, ..) ──▶ kept, and read by each iteration
//! ```
//!
//! Semi-naive evaluation (Bancilhon and Ramakrishnan, *An amateur's introduction to recursive query processing
//! strategies*, SIGMOD 1986): each iteration sees only the rows that are new. Without ALL a row that was there before is
//! not new, so a walk around a circle ends. What never ends by itself ends as `program_limit_exceeded`.

use super::{Batch, Operator};
use crate::{
    Error,
    data::{SignedRow, order::Key},
    exec::{
        dataflow::{Dataflow, RESULT_ROWS_MAX},
        plan::Recursion,
    },
    map::{LargeMap, Set},
    sql::fault::{BUDGET, UNSUPPORTED, fail},
};

/// How often a step is repeated at most.
pub const ITERATIONS_MAX: u32 = 100_000;
/// Rows that iterations read beside their own, all iterations together.
const READ_MAX: u64 = 100_000_000;

/// See the module's documentation.
pub struct Recursive {
    recursion: Recursion,
    /// What came on each port.
    inputs: Vec<Vec<SignedRow>>,
    ended: Set<usize>,
}

impl Recursive {
    /// The recursion that a plan describes.
    pub fn new(recursion: Recursion) -> Recursive {
        let inputs = (0..recursion.inputs).map(|_| Vec::new()).collect();
        Recursive { recursion, inputs, ended: Set::new() }
    }

    /// One iteration.
    fn step(&self, rows: Vec<SignedRow>) -> Result<Vec<SignedRow>, Error> {
        let mut flow = Dataflow::new(self.recursion.step.clone())?;
        for (port, more) in self.inputs.iter().enumerate().skip(1) {
            flow.input(port as u32, Batch { rows: more.clone(), ..Batch::default() })?;
        }
        flow.input(0, Batch { rows, ..Batch::default() })?;
        Ok(flow.into_signed())
    }

    fn run(&mut self, out: &mut Batch) -> Result<(), Error> {
        let beside: u64 = self.inputs.iter().skip(1).map(|rows| rows.len() as u64).sum();
        let (mut seen, mut total) = (LargeMap::new(), 0_usize);
        let mut rows = core::mem::take(&mut self.inputs[0]);
        for iteration in 0.. {
            if !self.recursion.all {
                // A map that is told of each row once: the rows that it did not have.
                rows.retain_mut(|signed| {
                    let before = core::mem::replace(seen.get_or_insert_with(Key(signed.row.clone()), || false), true);
                    signed.weight = 1;
                    !before
                });
            }
            if rows.iter().any(|signed| signed.weight < 0) {
                return fail(UNSUPPORTED, "WITH RECURSIVE over rows that disappear");
            }
            if rows.is_empty() {
                return Ok(());
            }
            total = total.saturating_add(rows.len());
            let read = beside.saturating_mul(u64::from(iteration));
            if total > RESULT_ROWS_MAX || iteration >= ITERATIONS_MAX || read > READ_MAX {
                let name = &self.recursion.name;
                return fail(BUDGET, format!("\"{name}\" goes on after {iteration} iterations and {total} rows"));
            }
            out.rows.extend(rows.iter().cloned());
            rows = self.step(rows)?;
        }
        Ok(())
    }
}

impl Operator for Recursive {
    fn on_batch(&mut self, port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        self.inputs[port].extend(batch.rows);
        Ok(())
    }

    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        self.ended.insert(port);
        if self.ended.len() == self.inputs.len() { self.run(out) } else { Ok(()) }
    }

    fn describe(&self) -> (&'static str, usize) {
        ("recursion", self.inputs.iter().map(Vec::len).sum())
    }
}
