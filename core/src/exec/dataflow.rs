//! The operators of one query at its asker, wired up.
//!
//! ```text
//!   source 0 ──▶ operator ──▶ operator ─┐
//!                                       ├─▶ operator ──▶ .. ──▶ result
//!   source 1 ──▶ operator ──────────────┘
//! ```
//!
//! Each operator pushes into one port of one other; what is shared is pushed to each place that recalls it. Which
//! source delivers when does not matter. A flow whose operators do not fit together is an error when it is wired up.

use super::ops::{
    Batch, Operator, Wants, aggregate::Aggregate, collect::Collect, distinct::Distinct, filter::Filter,
    hash_join::HashJoin, limit::Limit, mark_join::MarkJoin, project::Project, recursive::Recursive, set::Set,
    sort::Sort, window::Window,
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
    /// Each input of a recursion's step and the step it is.
    inputs: Vec<(u32, usize)>,
    result: Vec<SignedRow>,
    /// Microseconds since the statement began.
    pub at_us: u64,
}

/// What an operator gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gave {
    /// How many rows.
    pub rows: u64,
    /// When the first came, microseconds since the statement began; `None`: none did.
    pub first_us: Option<u64>,
    /// When it was known to be the last; `None` where nobody says so.
    pub ended_us: Option<u64>,
}

impl Gave {
    fn add(&mut self, rows: usize, at_us: u64) {
        if rows > 0 {
            self.rows += rows as u64;
            self.first_us.get_or_insert(at_us);
        }
    }
}

struct Step {
    /// `None` where rows only come from: a source, rows that are known, or what is shared.
    operator: Option<Box<dyn Operator>>,
    target: Target,
    /// The steps that recall what this one shares.
    readers: Vec<usize>,
    /// How many inputs have not ended.
    open: usize,
    gave: Gave,
    /// Whether some of its rows are missing.
    lacks: bool,
}

impl Dataflow {
    /// Wires up a flow.
    pub fn new(flow: Flow) -> Result<Dataflow, Error> {
        let (steps, sources, inputs, result) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut dataflow = Dataflow { steps, sources, inputs, result, at_us: 0 };
        let (mut known, mut loose): (Vec<(usize, Vec<Row>)>, Vec<usize>) = (Vec::new(), Vec::new());
        // The step that shares, by number.
        let mut shared: Vec<(u32, usize)> = Vec::new();
        for op in flow.0 {
            let (index, open) = (dataflow.steps.len(), op.inputs());
            let Some(first) = loose.len().checked_sub(open) else { return unfit() };
            for (port, input) in loose.drain(first..).enumerate() {
                dataflow.steps[input].target = Some((index, port));
            }
            if !matches!(op, Op::Share(..)) {
                loose.push(index);
            }
            let operator: Option<Box<dyn Operator>> = match op {
                Op::Unit => {
                    known.push((index, vec![Row::new()]));
                    None
                }
                Op::Rows(rows) => {
                    known.push((index, rows));
                    None
                }
                Op::Source(source) => {
                    dataflow.sources.push((source, index));
                    None
                }
                Op::Input(number) => {
                    dataflow.inputs.push((number, index));
                    None
                }
                Op::Share(number, _) => {
                    shared.push((number, index));
                    None
                }
                Op::Recall(number, _) => {
                    let Some((_, from)) = shared.iter().find(|(other, _)| *other == number) else { return unfit() };
                    dataflow.steps[*from].readers.push(index);
                    None
                }
                Op::Filter(condition) => Some(Box::new(Filter::new(condition))),
                Op::Project(exprs) => Some(Box::new(Project::new(exprs))),
                Op::HashJoin(join) => Some(Box::new(HashJoin::new(join))),
                Op::MarkJoin(join) => Some(Box::new(MarkJoin::new(join))),
                Op::Aggregate { keys, calls, mode } => Some(Box::new(Aggregate::new(keys, calls, mode))),
                Op::Distinct => Some(Box::new(Distinct::new(false))),
                Op::Set(op, all) => Some(Box::new(Set::new(op, all))),
                Op::Sort(keys, count) => Some(Box::new(Sort::new(keys, count))),
                Op::Limit(skip, count) => Some(Box::new(Limit::new(skip, count.unwrap_or(u64::MAX)))),
                Op::Collect(keys, calls) => Some(Box::new(Collect::new(keys, calls))),
                Op::Window(window) => Some(Box::new(Window::new(window))),
                Op::Recursive(recursion) => Some(Box::new(Recursive::new(recursion))),
            };
            let gave = Gave::default();
            dataflow.steps.push(Step { operator, target: None, readers: Vec::new(), open, gave, lacks: false });
        }
        if loose.len() != 1 {
            return unfit();
        }
        for (step, rows) in known {
            let mut batch = Batch::default();
            rows.into_iter().for_each(|row| batch.push(row, 1));
            dataflow.steps[step].gave = Gave { rows: batch.len() as u64, first_us: Some(0), ended_us: Some(0) };
            dataflow.push(dataflow.steps[step].target, batch)?;
            dataflow.close(dataflow.steps[step].target, false)?;
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
            Some((_, step)) => {
                self.steps[*step].gave.add(batch.len(), self.at_us);
                self.push(self.steps[*step].target, batch)
            }
            None => Ok(()),
        }
    }

    /// What the result will have of rows that a source is about to deliver, where each says that by itself.
    pub fn preview(&mut self, source: usize, mut batch: Batch) -> Option<Vec<Row>> {
        let mut target = self.steps[self.sources.get(source)?.1].target;
        while let Some((index, port)) = target {
            let step = self.steps.get_mut(index)?;
            let operator = step.operator.as_mut().filter(|operator| operator.is_row_wise())?;
            let rows = core::mem::take(&mut batch);
            operator.on_batch(port, rows, &mut batch).ok()?;
            target = step.target;
        }
        Some(batch.by_row().rows.into_iter().filter(|signed| signed.weight > 0).map(|signed| signed.row).collect())
    }

    /// A source has delivered everything that came of it; whether that is all of its rows.
    pub fn end(&mut self, source: usize, whole: bool) -> Result<(), Error> {
        match self.sources.get(source) {
            Some((_, step)) => {
                self.steps[*step].gave.ended_us = Some(self.at_us);
                self.steps[*step].lacks = !whole;
                self.close(self.steps[*step].target, !whole)
            }
            None => Ok(()),
        }
    }

    /// What is waited for of a source that is asked for as needed.
    pub fn wants(&mut self, source: usize) -> Wants {
        self.reader(source).map_or(Wants::Over, |(operator, port)| operator.wants(port))
    }

    /// Such a source will give everything, from the beginning.
    pub fn gives_all(&mut self, source: usize) {
        if let Some((operator, port)) = self.reader(source) {
            operator.on_all(port);
        }
    }

    /// What was asked of such a source is there; whether that is all of it.
    pub fn answered(&mut self, source: usize, whole: bool) -> Result<(), Error> {
        let (mut out, at_us) = (Batch::default(), self.at_us);
        let Some((_, step)) = self.sources.get(source) else { return Ok(()) };
        let Some((index, port)) = self.steps[*step].target else { return Ok(()) };
        let step = &mut self.steps[index];
        if let Some(operator) = &mut step.operator {
            if !whole {
                step.lacks = true;
                operator.on_lack(port);
            }
            operator.on_end(port, &mut out)?;
            step.gave.add(out.len(), at_us);
        }
        let target = step.target;
        self.push(target, out)
    }

    /// The operator that a source pushes to, and its port.
    fn reader(&mut self, source: usize) -> Option<(&mut Box<dyn Operator>, usize)> {
        let (_, step) = self.sources.get(source)?;
        let (index, port) = self.steps[*step].target?;
        Some((self.steps.get_mut(index)?.operator.as_mut()?, port))
    }

    /// All of an input of a recursion's step.
    pub fn input(&mut self, number: u32, batch: Batch) -> Result<(), Error> {
        let steps: Vec<usize> = self.inputs.iter().filter(|(other, _)| *other == number).map(|(_, at)| *at).collect();
        for step in steps {
            self.push(self.steps[step].target, batch.clone())?;
            self.close(self.steps[step].target, false)?;
        }
        Ok(())
    }

    fn push(&mut self, target: Target, batch: Batch) -> Result<(), Error> {
        let mut open = vec![(target, batch)];
        while let Some((target, batch)) = open.pop() {
            if batch.is_empty() {
                continue;
            }
            let Some((index, port)) = target else {
                self.result.append(&mut batch.by_row().rows);
                if self.result.len() > RESULT_ROWS_MAX {
                    return fail(BUDGET, format!("a result of more than {RESULT_ROWS_MAX} rows"));
                }
                continue;
            };
            let step = &mut self.steps[index];
            match &mut step.operator {
                Some(operator) => {
                    let mut out = Batch::default();
                    let batch = if operator.by_column() { batch } else { batch.by_row() };
                    operator.on_batch(port, batch, &mut out)?;
                    step.gave.add(out.len(), self.at_us);
                    open.push((step.target, out));
                }
                None => {
                    step.gave.add(batch.len(), self.at_us);
                    for reader in step.readers.clone() {
                        self.steps[reader].gave.add(batch.len(), self.at_us);
                        open.push((self.steps[reader].target, batch.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, target: Target, lacks: bool) -> Result<(), Error> {
        let mut ended = vec![(target, lacks)];
        while let Some((target, lacks)) = ended.pop() {
            let Some((index, port)) = target else { continue };
            let step = &mut self.steps[index];
            let mut out = Batch::default();
            step.lacks |= lacks;
            if let Some(operator) = &mut step.operator {
                if lacks {
                    operator.on_lack(port);
                }
                operator.on_end(port, &mut out)?;
                step.gave.add(out.len(), self.at_us);
            }
            step.open -= 1;
            let (target, last, lacks) = (step.target, step.open == 0, step.lacks);
            if last {
                step.gave.ended_us = Some(self.at_us);
            }
            if step.operator.is_some() {
                self.push(target, out)?;
            }
            if last && self.steps[index].operator.is_some() {
                ended.push((target, lacks));
            } else if last {
                ended.extend(self.steps[index].readers.iter().map(|reader| (self.steps[*reader].target, lacks)));
            }
        }
        Ok(())
    }

    /// What each operator gave.
    pub fn gave(&self) -> Vec<Gave> {
        self.steps.iter().map(|step| step.gave).collect()
    }

    /// The place of a source among the operators.
    pub fn place(&self, source: usize) -> Option<usize> {
        self.sources.get(source).map(|(_, step)| *step)
    }

    /// The rows of the result with their weights.
    pub fn into_signed(self) -> Vec<SignedRow> {
        self.result
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
