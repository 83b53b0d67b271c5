//! EXPLAIN ANALYZE: a query is carried out, and each line of its plan gets what its operator gave and cost.

use super::{
    GatherEnd, Part,
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
#[derive(Clone, Debug, Default)]
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
    /// Of joins: what their parts came to.
    pub parts: Vec<Part>,
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
        // Without a clock nothing is known of times.
        let timed = host.at_us.is_some();
        for (line, step) in &self.analyze.lines.steps {
            let Gave { rows, first_us, ended_us } = gave.get(*step).copied().unwrap_or_default();
            let mut all = vec![("rows", rows.to_string())];
            let spent = spent.get(step);
            if timed {
                all.extend(times(spent.and_then(|spent| spent.asked_us), first_us, ended_us));
            }
            if let Some(Spent { ops, records, messages, bytes, peers, reach, fell_back, .. }) = spent {
                all.extend(numbers(&[("gets", *ops)]));
                all.extend(cost([*records, *messages, *bytes, *peers], reach));
                all.extend(numbers(&[("fell_back", *fell_back)]));
            }
            measures.entry(*line).or_default().extend(all);
        }
        for (line, step, place) in &self.analyze.lines.parts {
            let Some(Spent { asked_us, parts, .. }) = spent.get(step) else { continue };
            let Some(part) = parts.iter().filter(|part| part.place == *place).cloned().reduce(both) else { continue };
            let since = |us: u64| us + asked_us.unwrap_or(0);
            let mut all: Vec<_> = part.rows.map(|rows| ("rows", rows.to_string())).into_iter().collect();
            if timed {
                let asked_us = (part.place > 0).then(|| since(part.asked_us));
                all.extend(times(asked_us, part.first_us.map(since), Some(since(part.ended_us))));
            }
            all.extend(cost([part.records, part.messages, part.bytes, part.peers], &part.reach));
            measures.entry(*line).or_default().extend(all);
        }
        let done = host.done(0);
        let (spent, total) = (done.cost, lines.len());
        lines.push("Total [asker]".to_owned());
        let mut all = vec![("rows", rows.len().to_string()), ("coverage", done.coverage.to_string())];
        all.extend(host.at_us.map(|us| ("ms", milliseconds(us))));
        all.extend([
            ("messages", spent.messages.to_string()),
            ("bytes", spent.bytes.to_string()),
            ("peers", spent.peers.to_string()),
        ]);
        measures.insert(total, all);
        let (rows, columns) = report(&lines, &measures, self.analyze.json);
        Ok(Some(QueryResult { columns, rows, ..done }))
    }
}

/// What a part of a join came to in two of its rounds.
fn both(one: Part, other: Part) -> Part {
    let mut reach = one.reach;
    reach.add(other.reach);
    Part {
        place: one.place,
        asked_us: one.asked_us.min(other.asked_us),
        first_us: one.first_us.into_iter().chain(other.first_us).min(),
        ended_us: one.ended_us.max(other.ended_us),
        rows: one.rows.into_iter().chain(other.rows).reduce(u64::saturating_add),
        records: one.records.saturating_add(other.records),
        messages: one.messages.saturating_add(other.messages),
        bytes: one.bytes.saturating_add(other.bytes),
        peers: one.peers.max(other.peers),
        reach,
    }
}

type Named = (&'static str, String);

fn times(asked_us: Option<u64>, first_us: Option<u64>, ended_us: Option<u64>) -> Vec<Named> {
    let times = [("asked_ms", asked_us), ("first_ms", first_us), ("ms", ended_us)];
    times.iter().filter_map(|(name, us)| Some((*name, milliseconds((*us)?)))).collect()
}

/// Those that are not 0.
fn numbers(all: &[(&'static str, u64)]) -> Vec<Named> {
    all.iter().filter(|(_, number)| *number > 0).map(|(name, number)| (*name, number.to_string())).collect()
}

/// What it took to get rows from peers, and how far the question went.
fn cost([records, messages, bytes, peers]: [u64; 4], reach: &Reach) -> Vec<Named> {
    let mut all = numbers(&[
        ("records", records),
        ("messages", messages),
        ("bytes", bytes),
        ("peers", peers),
        ("hops", reach.hops),
    ]);
    // Where one is as the other there is nothing to say.
    if let Some((least, most)) = reach.records().filter(|(least, most)| least < most) {
        all.extend([("records_least", least.to_string()), ("records_most", most.to_string())]);
    }
    all
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
