//! `WITH RECURSIVE`: a flow is repeated over the rows of its last iteration until it gives no more.
//!
//! ```text
//!   base (port 0) ──▶ rows ──▶ step ──▶ new rows ──▶ step ──▶ .. ──▶ none: all rows come out
//!   other inputs (ports 1, ..) ──▶ kept, and read by each iteration
//! ```
//!
//! One of the other inputs may be a table of which each iteration asks for the rows that match its own
//! ([`Walk`](crate::exec::plan::Walk)): a walk over a graph that lies on all peers reads what it reaches.
//!
//! Semi-naive evaluation (Bancilhon and Ramakrishnan, *An amateur's introduction to recursive query processing
//! strategies*, SIGMOD 1986): each iteration sees only the rows that are new. Without ALL a row that was there before is
//! not new, so a walk around a circle ends. What never ends by itself ends as `program_limit_exceeded`.

use super::{Batch, Operator, Wants};
use crate::{
    Error,
    data::{SignedRow, Value, order::Key},
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
    /// The rows that are new, once it has begun.
    rows: Option<Vec<SignedRow>>,
    seen: LargeMap<Key, bool>,
    iteration: u32,
    total: usize,
    /// Rows that iterations have read beside their own.
    read: u64,
    /// Values whose rows are there or were asked for, those that are to be asked for, and whether all rows are there.
    known: Set<Key>,
    wanted: Vec<Value>,
    all: bool,
}

impl Recursive {
    /// The recursion that a plan describes.
    pub fn new(recursion: Recursion) -> Recursive {
        Recursive {
            inputs: (0..recursion.inputs).map(|_| Vec::new()).collect(),
            all: recursion.walk.is_none(),
            recursion,
            ended: Set::new(),
            rows: None,
            seen: LargeMap::new(),
            iteration: 0,
            total: 0,
            read: 0,
            known: Set::new(),
            wanted: Vec::new(),
        }
    }

    fn is_walk(&self, port: usize) -> bool {
        self.recursion.walk.is_some_and(|walk| walk.port == port)
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

    /// Gives the rows of an iteration that are new.
    fn admit(&mut self, mut rows: Vec<SignedRow>, out: &mut Batch) -> Result<Vec<SignedRow>, Error> {
        if !self.recursion.all {
            // A map that is told of each row once: the rows that it did not have.
            rows.retain_mut(|signed| {
                let before = core::mem::replace(self.seen.get_or_insert_with(Key(signed.row.clone()), || false), true);
                signed.weight = 1;
                !before
            });
        }
        if rows.iter().any(|signed| signed.weight < 0) {
            return fail(UNSUPPORTED, "WITH RECURSIVE over rows that disappear");
        }
        self.total = self.total.saturating_add(rows.len());
        let (name, iteration, total) = (&self.recursion.name, self.iteration, self.total);
        if !rows.is_empty() && (total > RESULT_ROWS_MAX || iteration >= ITERATIONS_MAX || self.read > READ_MAX) {
            return fail(BUDGET, format!("\"{name}\" goes on after {iteration} iterations and {total} rows"));
        }
        out.rows.extend(rows.iter().cloned());
        Ok(rows)
    }

    /// Values of new rows whose matches are not there yet.
    fn lacking(&mut self, rows: &[SignedRow]) -> Vec<Value> {
        let Some(walk) = self.recursion.walk.filter(|_| !self.all) else { return Vec::new() };
        let values = rows.iter().filter_map(|signed| signed.row.get(walk.column)).filter(|value| !value.is_null());
        values.filter(|value| self.known.insert(Key(vec![(*value).clone()]))).cloned().collect()
    }

    /// Iterates until there is nothing new, or rows have to be asked for first.
    fn go_on(&mut self, out: &mut Batch) -> Result<(), Error> {
        while let Some(rows) = self.rows.take().filter(|rows| !rows.is_empty()) {
            self.wanted = self.lacking(&rows);
            if !self.wanted.is_empty() {
                self.rows = Some(rows);
                return Ok(());
            }
            self.read += self.inputs.iter().skip(1).map(|rows| rows.len() as u64).sum::<u64>();
            self.iteration += 1;
            let rows = self.step(rows)?;
            self.rows = Some(self.admit(rows, out)?);
        }
        self.rows = Some(Vec::new());
        Ok(())
    }
}

impl Operator for Recursive {
    fn on_batch(&mut self, port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        self.inputs[port].extend(batch.rows);
        Ok(())
    }

    fn wants(&mut self, port: usize) -> Wants {
        match &self.rows {
            Some(rows) if rows.is_empty() && self.is_walk(port) => Wants::Over,
            _ if self.wanted.is_empty() => Wants::Nothing,
            _ => Wants::Values(core::mem::take(&mut self.wanted)),
        }
    }

    fn on_all(&mut self, port: usize) {
        self.inputs[port].clear();
        self.all = true;
    }

    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        if self.is_walk(port) {
            return if self.rows.is_some() { self.go_on(out) } else { Ok(()) };
        }
        self.ended.insert(port);
        if self.ended.len() + usize::from(self.recursion.walk.is_some()) == self.inputs.len() {
            let base = core::mem::take(&mut self.inputs[0]);
            self.rows = Some(self.admit(base, out)?);
            self.go_on(out)?;
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("recursion", self.inputs.iter().map(Vec::len).sum())
    }
}
