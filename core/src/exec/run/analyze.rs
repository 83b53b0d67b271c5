//! EXPLAIN ANALYZE: a query is carried out, and each line of its plan gets what its operator gave and cost.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    query::QueryJob,
};
use crate::{
    Error,
    data::{QueryResult, Row},
    exec::{fragment::Partial, plan::Analyze},
    map::Map,
    sql::report::report,
    store::Outcome,
};

/// What asking for the rows of one source has cost so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// Operations on keys.
    pub ops: u64,
    /// Records that owners looked at.
    pub records: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// The most peers that one request met.
    pub peers: u64,
    /// Broadcasts of a side that turned out too large, and went by hash.
    pub fell_back: u64,
}

/// What a query came to.
pub(super) struct Measured {
    pub rows: Vec<Row>,
    /// How many rows each operator of the flow gave.
    pub gave: Vec<u64>,
    /// What each source cost, by its place in the flow.
    pub spent: Map<usize, Spent>,
}

/// See the module's documentation.
pub(super) struct AnalyzeJob {
    query: QueryJob,
    analyze: Analyze,
}

impl AnalyzeJob {
    pub fn new(mut analyze: Analyze) -> Result<AnalyzeJob, Error> {
        let query = QueryJob::new(core::mem::take(&mut analyze.flow), Vec::new())?;
        Ok(AnalyzeJob { query, analyze })
    }

    fn result(&mut self, host: &Host) -> Step {
        let Some(Measured { rows, gave, spent }) = self.query.measured()? else { return Ok(None) };
        let mut lines = self.analyze.lines.text.clone();
        let mut measures = self.analyze.lines.expected();
        for (line, step) in &self.analyze.lines.steps {
            let mut all = vec![("rows", gave.get(*step).copied().unwrap_or(0).to_string())];
            if let Some(Spent { ops, records, messages, bytes, peers, fell_back }) = spent.get(step) {
                let numbers = [
                    ("gets", ops),
                    ("records", records),
                    ("messages", messages),
                    ("bytes", bytes),
                    ("peers", peers),
                    ("fell_back", fell_back),
                ];
                all.extend(
                    numbers.iter().filter(|(_, number)| **number > 0).map(|(name, number)| (*name, number.to_string())),
                );
            }
            measures.entry(*line).or_default().extend(all);
        }
        let done = host.done(0);
        let (cost, total) = (done.cost, lines.len());
        lines.push("Total [asker]".to_owned());
        measures.insert(
            total,
            vec![
                ("rows", rows.len().to_string()),
                ("coverage", done.coverage.to_string()),
                ("messages", cost.messages.to_string()),
                ("bytes", cost.bytes.to_string()),
                ("peers", cost.peers.to_string()),
            ],
        );
        let (rows, columns) = report(&lines, &measures, self.analyze.json);
        Ok(Some(QueryResult { columns, rows, ..done }))
    }
}

impl Job for AnalyzeJob {
    fn writes(&self) -> bool {
        false
    }

    fn start(&mut self, host: &mut Host) -> Step {
        self.query.open(host)?;
        self.result(host)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        self.query.take_ops(host, need, outcomes)?;
        self.result(host)
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        self.query.on_batch(host, need, partial)
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        self.query.take_end(host, need)?;
        self.result(host)
    }
}
