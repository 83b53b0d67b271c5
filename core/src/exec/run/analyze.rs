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
    exec::{
        dataflow::Gave,
        fragment::{Partial, Reach},
        plan::Analyze,
    },
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
    /// How far gathers went.
    pub reach: Reach,
    /// When it was asked for first, microseconds since the statement began.
    pub asked_us: Option<u64>,
    /// Broadcasts of a side that turned out too large, and went by hash.
    pub fell_back: u64,
}

/// What a query came to.
pub(super) struct Measured {
    pub rows: Vec<Row>,
    /// What each operator of the flow gave.
    pub gave: Vec<Gave>,
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
            let Gave { rows, first_us, ended_us } = gave.get(*step).copied().unwrap_or_default();
            let mut all = vec![("rows", rows.to_string())];
            let spent = spent.get(step);
            // Without a clock nothing is known of times.
            if host.at_us.is_some() {
                let times =
                    [("asked_ms", spent.and_then(|spent| spent.asked_us)), ("first_ms", first_us), ("ms", ended_us)];
                all.extend(times.iter().filter_map(|(name, us)| Some((*name, milliseconds((*us)?)))));
            }
            if let Some(Spent { ops, records, messages, bytes, peers, reach, fell_back, .. }) = spent {
                // Where one is as the other there is nothing to say.
                let (least, most) = reach.records().filter(|(least, most)| least < most).unwrap_or_default();
                let numbers = [
                    ("gets", *ops),
                    ("records", *records),
                    ("messages", *messages),
                    ("bytes", *bytes),
                    ("peers", *peers),
                    ("hops", reach.hops),
                    ("fell_back", *fell_back),
                ];
                let number = |(name, number): &(&'static str, u64)| (*name, number.to_string());
                all.extend(numbers.iter().filter(|(_, number)| *number > 0).map(number));
                if most > 0 {
                    all.extend([("records_least", least), ("records_most", most)].iter().map(number));
                }
            }
            measures.entry(*line).or_default().extend(all);
        }
        let done = host.done(0);
        let (cost, total) = (done.cost, lines.len());
        lines.push("Total [asker]".to_owned());
        let mut all = vec![("rows", rows.len().to_string()), ("coverage", done.coverage.to_string())];
        all.extend(host.at_us.map(|us| ("ms", milliseconds(us))));
        all.extend([
            ("messages", cost.messages.to_string()),
            ("bytes", cost.bytes.to_string()),
            ("peers", cost.peers.to_string()),
        ]);
        measures.insert(total, all);
        let (rows, columns) = report(&lines, &measures, self.analyze.json);
        Ok(Some(QueryResult { columns, rows, ..done }))
    }
}

/// To the tenth of a millisecond.
fn milliseconds(us: u64) -> String {
    format!("{}.{}", us / 1_000, us % 1_000 / 100)
}

impl Job for AnalyzeJob {
    fn writes(&self) -> bool {
        false
    }

    fn start(&mut self, host: &mut Host) -> Step {
        self.query.at(host);
        self.query.open(host)?;
        self.result(host)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        self.query.at(host);
        self.query.take_ops(host, need, outcomes)?;
        self.result(host)
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        self.query.at(host);
        self.query.on_batch(host, need, partial)
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        self.query.at(host);
        self.query.take_end(host, need)?;
        self.result(host)
    }
}
