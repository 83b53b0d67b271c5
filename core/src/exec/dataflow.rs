//! The operators of one query at its asker, wired up.
//!
//! ```text
//!   source 0 ──▶ operator ──▶ operator ─┐
//!                                       ├─▶ operator ──▶ .. ──▶ result
//!   source 1 ──▶ operator ──────────────┘
//! ```
//!
//! Each operator pushes into one port of one other. Which source delivers when does not matter. A flow whose operators
//! do not fit together is an error when it is wired up.

use super::ops::{
    Batch, Operator, aggregate::Aggregate, distinct::Distinct, filter::Filter, hash_join::HashJoin, limit::Limit,
    project::Project, sort::Sort,
};
use super::plan::{Flow, Op, Source};
use crate::{
    Error,
    data::{Row, SignedRow},
    sql::fault::{BUDGET, INTERNAL, fail},
};

/// Rows that a result may have.
pub const RESULT_ROWS_MAX: usize = 1_000_000;

/// Where an operator pushes to: another one's port, or the result.
type Target = Option<(usize, usize)>;

/// The operators of one query. Feed its sources; when all have ended the result is complete.
pub struct Dataflow {
    steps: Vec<Step>,
    /// Each source and the step it is.
    sources: Vec<(Source, usize)>,
    result: Vec<SignedRow>,
}

struct Step {
    /// `None` where rows only come from: a source, or the row without columns.
    operator: Option<Box<dyn Operator>>,
    target: Target,
    /// How many inputs have not ended.
    open: usize,
}

impl Dataflow {
    /// Wires up a flow.
    pub fn new(flow: Flow) -> Result<Dataflow, Error> {
        let mut dataflow = Dataflow { steps: Vec::new(), sources: Vec::new(), result: Vec::new() };
        let (mut units, mut loose): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        for op in flow.0 {
            let (index, open) = (dataflow.steps.len(), op.inputs());
            let Some(first) = loose.len().checked_sub(open) else { return unfit() };
            for (port, input) in loose.drain(first..).enumerate() {
                dataflow.steps[input].target = Some((index, port));
            }
            loose.push(index);
            let operator: Option<Box<dyn Operator>> = match op {
                Op::Unit => {
                    units.push(index);
                    None
                }
                Op::Source(source) => {
                    dataflow.sources.push((source, index));
                    None
                }
                Op::Filter(condition) => Some(Box::new(Filter::new(condition))),
                Op::Project(exprs) => Some(Box::new(Project::new(exprs))),
                Op::HashJoin(join) => Some(Box::new(HashJoin::new(join))),
                Op::Aggregate { keys, calls, mode } => Some(Box::new(Aggregate::new(keys, calls, mode))),
                Op::Distinct => Some(Box::new(Distinct::new(false))),
                Op::Sort(keys, count) => Some(Box::new(Sort::new(keys, count))),
                Op::Limit(skip, count) => Some(Box::new(Limit::new(skip, count.unwrap_or(u64::MAX)))),
            };
            dataflow.steps.push(Step { operator, target: None, open });
        }
        if loose.len() != 1 {
            return unfit();
        }
        for unit in units {
            let target = dataflow.steps[unit].target;
            let mut batch = Batch::default();
            batch.push(Row::new(), 1);
            dataflow.push(target, batch)?;
            dataflow.close(target)?;
        }
        Ok(dataflow)
    }

    /// The sources, to be fed by their index.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().map(|(source, _)| source)
    }

    /// Takes in some of what a source delivers.
    pub fn feed(&mut self, source: usize, batch: Batch) -> Result<(), Error> {
        match self.sources.get(source) {
            Some((_, step)) => self.push(self.steps[*step].target, batch),
            None => Ok(()),
        }
    }

    /// A source has delivered everything.
    pub fn end(&mut self, source: usize) -> Result<(), Error> {
        match self.sources.get(source) {
            Some((_, step)) => self.close(self.steps[*step].target),
            None => Ok(()),
        }
    }

    fn push(&mut self, mut target: Target, mut batch: Batch) -> Result<(), Error> {
        while let Some((index, port)) = target {
            if batch.is_empty() {
                return Ok(());
            }
            let step = &mut self.steps[index];
            let Some(operator) = &mut step.operator else { return unfit() };
            let mut out = Batch::default();
            operator.on_batch(port, batch, &mut out)?;
            (batch, target) = (out, step.target);
        }
        self.result.append(&mut batch.rows);
        if self.result.len() > RESULT_ROWS_MAX {
            return fail(BUDGET, format!("a result of more than {RESULT_ROWS_MAX} rows"));
        }
        Ok(())
    }

    fn close(&mut self, mut target: Target) -> Result<(), Error> {
        while let Some((index, port)) = target {
            let step = &mut self.steps[index];
            let Some(operator) = &mut step.operator else { return unfit() };
            let mut out = Batch::default();
            operator.on_end(port, &mut out)?;
            step.open -= 1;
            let ended = step.open == 0;
            target = step.target;
            self.push(target, out)?;
            if !ended {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The rows of the result, each as often as its weight says.
    pub fn into_rows(self) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(self.result.len());
        for SignedRow { row, weight } in self.result {
            let more = usize::try_from(weight).unwrap_or(0);
            if rows.len().saturating_add(more) > RESULT_ROWS_MAX {
                return fail(BUDGET, format!("a result of more than {RESULT_ROWS_MAX} rows"));
            }
            rows.extend(core::iter::repeat_n(row, more));
        }
        Ok(rows)
    }

    /// The operators and what each holds: for debug pages.
    pub fn describe(&self) -> Vec<(&'static str, usize)> {
        self.steps.iter().filter_map(|step| Some(step.operator.as_ref()?.describe())).collect()
    }
}

fn unfit<T>() -> Result<T, Error> {
    fail(INTERNAL, "a plan whose operators do not fit together")
}
