//! A statement whose result has sealed columns: they are opened at the very end. A value that does not open fails the
//! statement.

use std::sync::Arc;

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
};
use crate::{
    Error,
    data::QueryResult,
    exec::{fragment::Partial, ops::Batch},
    seal::Opening,
    store::Outcome,
};

/// See the module's documentation.
pub(super) struct OpenedJob {
    job: Box<dyn Job>,
    openings: Vec<Option<Arc<Opening>>>,
}

impl OpenedJob {
    pub fn new(job: Box<dyn Job>, openings: Vec<Option<Arc<Opening>>>) -> OpenedJob {
        OpenedJob { job, openings }
    }

    fn open(&self, mut result: QueryResult) -> Result<QueryResult, Error> {
        for row in &mut result.rows {
            for (value, opening) in row.iter_mut().zip(&self.openings) {
                if let Some(opening) = opening {
                    *value = opening.open(value)?;
                }
            }
        }
        Ok(result)
    }

    fn opened(&self, step: Step) -> Step {
        step?.map(|result| self.open(result)).transpose()
    }
}

impl Job for OpenedJob {
    fn writes(&self) -> bool {
        self.job.writes()
    }

    fn start(&mut self, host: &mut Host) -> Step {
        let step = self.job.start(host);
        self.opened(step)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        let step = self.job.on_ops(host, need, outcomes);
        self.opened(step)
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        let step = self.job.on_batch(host, need, partial);
        self.opened(step)
    }

    fn preview(&mut self, need: u32, rows: Batch) -> Option<QueryResult> {
        let early = self.job.preview(need, rows)?;
        self.open(early).ok()
    }

    fn on_fault(&mut self, host: &mut Host, fault: Error) -> Step {
        let step = self.job.on_fault(host, fault);
        self.opened(step)
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, end: &GatherEnd) -> Step {
        let step = self.job.on_gathered(host, need, end);
        self.opened(step)
    }
}
