//! A SELECT at its asker: gathers and gets feed the dataflow; when all have ended the result is complete.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
};
use crate::{
    Error,
    data::{Column, QueryResult, Row},
    exec::{
        dataflow::Dataflow,
        fragment::{Budget, FragmentPlan, Partial},
        plan::{Flow, Source},
    },
    map::Map,
    store::{Action, KeyOp, Outcome, Version},
};

/// What one statement holds of its own sources at most.
pub(super) const ASKER_BUDGET: Budget = Budget { rows_max: 1_000_000, bytes_max: 256 << 20 };

/// The operations of a key lookup.
pub(super) fn lookup(fragment: &FragmentPlan, keys: &[Vec<u8>]) -> Vec<KeyOp> {
    let get = |key: &Vec<u8>| KeyOp {
        namespace: fragment.namespace().to_owned(),
        locality_bits: fragment.locality_bits(),
        key: key.clone(),
        action: Action::Get,
    };
    keys.iter().map(get).collect()
}

/// What a fragment makes of the records that a key lookup found.
pub(super) fn looked_up(fragment: &FragmentPlan, keys: &[Vec<u8>], outcomes: Vec<Outcome>) -> Result<Partial, Error> {
    let mut found: Vec<(&[u8], Vec<u8>, Version)> = Vec::new();
    for (key, outcome) in keys.iter().zip(outcomes) {
        match outcome {
            Outcome::Found { value, version, .. } => found.push((key, value, version)),
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Unreachable => return Err(Error::Unreachable),
            _ => {}
        }
    }
    fragment.run(found.iter().map(|(key, value, version)| (*key, &value[..], version)), &ASKER_BUDGET)
}

/// See the module's documentation.
pub(super) struct QueryJob {
    columns: Vec<Column>,
    flow: Option<Dataflow>,
    /// The source that each need feeds.
    feeds: Map<u32, (usize, Source)>,
}

impl QueryJob {
    pub fn new(flow: Flow, columns: Vec<Column>) -> Result<QueryJob, Error> {
        Ok(QueryJob { columns, flow: Some(Dataflow::new(flow)?), feeds: Map::new() })
    }

    /// The rows, once all sources have ended.
    pub fn rows(&mut self) -> Result<Option<Vec<Row>>, Error> {
        if !self.feeds.is_empty() {
            return Ok(None);
        }
        self.flow.take().map(Dataflow::into_rows).transpose()
    }

    /// Asks for everything that the sources need.
    pub fn open(&mut self, host: &mut Host) -> Result<(), Error> {
        let sources: Vec<Source> = self.flow()?.sources().cloned().collect();
        // A join keeps what came before its other side ended, and the right side is the small one most of the time.
        for (index, source) in sources.into_iter().enumerate().rev() {
            let need = match &source.keys {
                // A key that must be NULL, say: nothing to ask.
                Some(keys) if keys.is_empty() => {
                    self.fill(index, &source, Vec::new())?;
                    continue;
                }
                Some(keys) => host.ops(lookup(&source.fragment, keys)),
                None => host.gather(source.fragment.clone()),
            };
            self.feeds.insert(need, (index, source));
        }
        Ok(())
    }

    /// Whether a need is one of its own.
    pub fn awaits(&self, need: u32) -> bool {
        self.feeds.get(&need).is_some()
    }

    /// Takes in what a key lookup found.
    pub fn take_ops(&mut self, need: u32, outcomes: Vec<Outcome>) -> Result<(), Error> {
        match self.feeds.remove(&need) {
            Some((index, source)) => self.fill(index, &source, outcomes),
            None => Ok(()),
        }
    }

    /// A gather is over.
    pub fn take_end(&mut self, need: u32) -> Result<(), Error> {
        match self.feeds.remove(&need) {
            Some((index, _)) => self.flow()?.end(index),
            None => Ok(()),
        }
    }

    fn fill(&mut self, index: usize, source: &Source, outcomes: Vec<Outcome>) -> Result<(), Error> {
        let partial = looked_up(&source.fragment, source.keys.as_deref().unwrap_or(&[]), outcomes)?;
        let flow = self.flow()?;
        flow.feed(index, partial.batch)?;
        flow.end(index)
    }

    fn result(&mut self, host: &Host) -> Step {
        let rows = self.rows()?;
        Ok(rows.map(|rows| QueryResult { columns: core::mem::take(&mut self.columns), rows, ..host.done(0) }))
    }

    fn flow(&mut self) -> Result<&mut Dataflow, Error> {
        self.flow.as_mut().ok_or(Error::Closed)
    }
}

impl Job for QueryJob {
    fn writes(&self) -> bool {
        false
    }

    fn start(&mut self, host: &mut Host) -> Step {
        self.open(host)?;
        self.result(host)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        self.take_ops(need, outcomes)?;
        self.result(host)
    }

    fn on_batch(&mut self, _host: &mut Host, need: u32, partial: Partial) -> Step {
        if let Some((index, _)) = self.feeds.get(&need) {
            let index = *index;
            self.flow()?.feed(index, partial.batch)?;
        }
        Ok(None)
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        self.take_end(need)?;
        self.result(host)
    }
}
