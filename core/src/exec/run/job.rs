//! The steps of one kind of statement: what it asks for, and what it makes of the answers.

use super::{GatherEnd, host::Host};
use crate::{
    Error,
    data::QueryResult,
    exec::{fragment::Partial, ops::Batch},
    store::Outcome,
};

/// The result, when the statement is over; `None` while it waits for something.
pub(super) type Step = Result<Option<QueryResult>, Error>;

/// A statement under way.
pub(super) trait Job: Send {
    /// Whether it changes anything: then it starts only when its plan is known to be of the tables as they are.
    fn writes(&self) -> bool {
        true
    }

    /// Asks for the first things.
    fn start(&mut self, host: &mut Host) -> Step;

    /// Operations on keys are over: one outcome for each.
    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step;

    /// Some of what a gather gathers.
    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        let _ = (host, need, partial);
        Ok(None)
    }

    /// What a result will have of rows that a gather is about to give, where that is known.
    fn preview(&mut self, need: u32, rows: Batch) -> Option<QueryResult> {
        let _ = (need, rows);
        None
    }

    /// A gather ended with an error of the fragment at some owner.
    fn on_fault(&mut self, host: &mut Host, fault: Error) -> Step {
        let _ = host;
        Err(fault)
    }

    /// A gather is over, and without an error.
    fn on_gathered(&mut self, host: &mut Host, need: u32, end: &GatherEnd) -> Step {
        let _ = (host, need, end);
        Ok(None)
    }
}
