//! The operators of one query at its asker, wired up.
//!
//! ```text
//!   source 0 ──▶ operator ──▶ operator ─┐
//!                                       ├─▶ operator ──▶ .. ──▶ result
//!   source 1 ──▶ operator ──────────────┘
//! ```
//!
//! Each operator pushes into one port of one other. Which source delivers when does not matter.

use super::ops::{
    Batch, Operator, aggregate::Aggregate, distinct::Distinct, filter::Filter, hash_join::HashJoin, limit::Limit,
    project::Project, sort::Sort,
};
use crate::{
    Error,
    data::{Row, SignedRow},
    sql::{
        fault::{BUDGET, fail},
        physical::{Node, Op, Source},
    },
};

/// Rows that a result may have.
pub const RESULT_ROWS_MAX: usize = 1_000_000;

/// Where an operator pushes to: another one's port, or the result.
type Target = Option<(usize, usize)>;

/// The operators of one query. Feed its sources; when all have ended the result is complete.
pub struct Dataflow {
    operators: Vec<(Box<dyn Operator>, Target)>,
    sources: Vec<(Source, Target)>,
    /// Constant rows that wait to be pushed at the start.
    units: Vec<Target>,
    /// How many inputs of each operator have not ended.
    open: Vec<usize>,
    result: Vec<SignedRow>,
}

impl Dataflow {
    /// The dataflow of a plan.
    pub fn new(plan: Node) -> Result<Dataflow, Error> {
        let mut flow = Dataflow {
            operators: Vec::new(),
            sources: Vec::new(),
            units: Vec::new(),
            open: Vec::new(),
            result: Vec::new(),
        };
        flow.add(plan, None);
        for target in core::mem::take(&mut flow.units) {
            let mut batch = Batch::default();
            batch.push(Row::new(), 1);
            flow.push(target, batch)?;
            flow.close(target)?;
        }
        Ok(flow)
    }

    fn add(&mut self, node: Node, target: Target) {
        let width = |port: usize| node.inputs.get(port).map_or(0, |input: &Node| input.schema.len());
        let operator: Box<dyn Operator> = match node.op {
            Op::Unit => return self.units.push(target),
            Op::Source(source) => return self.sources.push((source, target)),
            Op::Filter(condition) => Box::new(Filter::new(condition)),
            Op::Project(exprs) => Box::new(Project::new(exprs)),
            Op::HashJoin { kind, left, right, residual } => {
                Box::new(HashJoin::new(kind, left, right, residual, width(1)))
            }
            Op::Aggregate { keys, calls, mode } => Box::new(Aggregate::new(keys, calls, mode)),
            Op::Distinct => Box::new(Distinct::new(false)),
            Op::Sort(keys, count) => Box::new(Sort::new(keys, count)),
            Op::Limit(skip, count) => Box::new(Limit::new(skip, count.unwrap_or(u64::MAX))),
        };
        self.operators.push((operator, target));
        self.open.push(node.inputs.len());
        let index = self.operators.len() - 1;
        for (port, input) in node.inputs.into_iter().enumerate() {
            self.add(input, Some((index, port)));
        }
    }

    /// The sources, to be fed by their index.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().map(|(source, _)| source)
    }

    /// Takes in some of what a source delivers.
    pub fn feed(&mut self, source: usize, batch: Batch) -> Result<(), Error> {
        match self.sources.get(source) {
            Some((_, target)) => self.push(*target, batch),
            None => Ok(()),
        }
    }

    /// A source has delivered everything.
    pub fn end(&mut self, source: usize) -> Result<(), Error> {
        match self.sources.get(source) {
            Some((_, target)) => self.close(*target),
            None => Ok(()),
        }
    }

    fn push(&mut self, mut target: Target, mut batch: Batch) -> Result<(), Error> {
        while let Some((index, port)) = target {
            if batch.is_empty() {
                return Ok(());
            }
            let (operator, next) = &mut self.operators[index];
            let mut out = Batch::default();
            operator.on_batch(port, batch, &mut out)?;
            (batch, target) = (out, *next);
        }
        self.result.append(&mut batch.rows);
        if self.result.len() > RESULT_ROWS_MAX {
            return fail(BUDGET, format!("a result of more than {RESULT_ROWS_MAX} rows"));
        }
        Ok(())
    }

    fn close(&mut self, mut target: Target) -> Result<(), Error> {
        while let Some((index, port)) = target {
            let mut out = Batch::default();
            let (operator, next) = &mut self.operators[index];
            operator.on_end(port, &mut out)?;
            target = *next;
            self.push(target, out)?;
            self.open[index] -= 1;
            if self.open[index] > 0 {
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
        self.operators.iter().map(|(operator, _)| operator.describe()).collect()
    }
}
