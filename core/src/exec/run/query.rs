//! A SELECT at its asker: gathers and gets feed the dataflow; when all have ended the result is complete.

use super::{
    GatherEnd,
    analyze::{Measured, Spent},
    as_planned,
    host::Host,
    job::{Job, Step},
    ordered::{Next, Ordered},
    trees::Trees,
    wait::Waits,
};
use crate::{
    Error,
    data::{Column, QueryResult, Row},
    exec::{
        dataflow::Dataflow,
        fragment::{Budget, FragmentPlan, Partial},
        ops::{Batch, Wants},
        plan::{Flow, IndexScan, Source},
    },
    map::{Map, Set},
    pht::{Answer, Range, Request},
    sql::{catalog::entry, index::value_to_rows, session::done, system::as_rows},
    store::{Action, KeyOp, Outcome, Version},
};

/// What one statement holds of its own sources at most.
pub(super) const ASKER_BUDGET: Budget = Budget { rows_max: 1_000_000, bytes_max: 256 << 20 };

/// Entries of an index that lead to rows one by one; where there are more, owners look through all rows.
pub(super) const INDEX_ROWS_MAX: usize = 4_000;
/// Keys that are got at once.
pub(super) const LOOKUP_OPS: usize = 1_000;

/// The operations of a key lookup.
pub(super) fn lookup(fragment: &FragmentPlan, keys: &[Vec<u8>]) -> Vec<KeyOp> {
    let get = |key: &Vec<u8>| KeyOp {
        namespace: fragment.namespace().to_owned(),
        locality_bits: fragment.locality_bits(),
        key: key.clone(),
        action: Action::Get,
        proof: None,
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

/// The number of a source, the source, and the keys where it is a lookup.
type Feed = (usize, Source, Option<Vec<Vec<u8>>>);

/// See the module's documentation.
pub(super) struct QueryJob {
    columns: Vec<Column>,
    flow: Option<Dataflow>,
    /// What each need feeds.
    feeds: Map<u32, Feed>,
    /// Index entries under way, by source.
    trees: Trees<(usize, Range)>,
    /// The index scans under way.
    scans: Map<usize, Entries>,
    /// Those for the first rows of an order.
    ordered: Map<usize, Ordered>,
    /// Sources that wait for others.
    waits: Waits,
    /// Tables whose index was read: whether it is still theirs, by need. What a dropped one says is not true.
    checks: Map<u32, (String, Version)>,
    /// What was spent on each source.
    spent: Map<usize, Spent>,
    /// Sources of which rows are missing.
    lacking: Set<usize>,
}

/// An index scan under way.
struct Entries {
    source: Source,
    /// Ranges that are not read yet.
    open: usize,
    /// Keys of rows.
    keys: Set<Vec<u8>>,
    /// There are more entries than were read: all rows are looked at.
    many: bool,
}

impl QueryJob {
    pub fn new(flow: Flow, columns: Vec<Column>) -> Result<QueryJob, Error> {
        Ok(QueryJob {
            columns,
            flow: Some(Dataflow::new(flow)?),
            feeds: Map::new(),
            trees: Trees::new(),
            scans: Map::new(),
            ordered: Map::new(),
            waits: Waits::default(),
            checks: Map::new(),
            spent: Map::new(),
            lacking: Set::new(),
        })
    }

    /// The rows, once all sources have ended.
    pub fn rows(&mut self) -> Result<Option<Vec<Row>>, Error> {
        if self.is_open() {
            return Ok(None);
        }
        self.flow.take().map(Dataflow::into_rows).transpose()
    }

    /// The same, with what was measured.
    pub fn measured(&mut self) -> Result<Option<Measured>, Error> {
        let Some(flow) = self.flow.as_ref().filter(|_| !self.is_open()) else { return Ok(None) };
        let spent =
            self.spent.iter().filter_map(|(source, spent)| Some((flow.place(*source)?, spent.clone()))).collect();
        let gave = flow.gave();
        Ok(self.rows()?.map(|rows| Measured { rows, gave, spent }))
    }

    fn is_open(&self) -> bool {
        let under_way = !self.feeds.is_empty() || !self.checks.is_empty();
        under_way || !self.scans.is_empty() || !self.ordered.is_empty() || !self.waits.is_empty()
    }

    /// What was asked for a source has an answer.
    fn spend(&mut self, host: &Host, index: usize, ops: usize) {
        let (spent, cost) = (self.spent.entry(index).or_default(), host.last);
        spent.ops += ops as u64;
        spent.messages = spent.messages.saturating_add(cost.messages);
        spent.bytes = spent.bytes.saturating_add(cost.bytes);
        spent.peers = spent.peers.max(cost.peers);
    }

    /// What comes next comes now.
    pub fn at(&mut self, host: &Host) {
        if let (Some(flow), Some(at_us)) = (&mut self.flow, host.at_us) {
            flow.at_us = at_us;
        }
    }

    /// Asks for everything that the sources need.
    pub fn open(&mut self, host: &mut Host) -> Result<(), Error> {
        let sources: Vec<Source> = self.flow()?.sources().cloned().collect();
        // A join keeps what came before its other side ended, and the right side is the small one most of the time.
        let sources = sources.into_iter().enumerate().rev();
        let at_once: Vec<_> =
            sources.filter_map(|(index, source)| Some((index, self.waits.push(index, source)?))).collect();
        at_once.into_iter().try_for_each(|(index, source)| self.begin(host, index, source))?;
        self.walk(host)
    }

    /// Asks for what recursions need next.
    fn walk(&mut self, host: &mut Host) -> Result<(), Error> {
        for index in self.waits.walks() {
            match self.flow()?.wants(index) {
                Wants::Nothing => {}
                Wants::Over => {
                    self.waits.walked(index);
                    self.ended(host, index)?;
                }
                Wants::Values(values) => {
                    let Some(source) = self.waits.walk(index, values) else { continue };
                    if source.after.is_some() {
                        self.flow()?.gives_all(index);
                    }
                    self.begin(host, index, source)?;
                }
            }
        }
        Ok(())
    }

    /// Asks for what a source needs.
    fn begin(&mut self, host: &mut Host, index: usize, source: Source) -> Result<(), Error> {
        self.spent.entry(index).or_default().asked_us.get_or_insert(host.at_us.unwrap_or(0));
        if let Some(joined) = &source.join {
            let need = host.join(joined.plan(&source.fragment));
            self.feeds.insert(need, (index, source, None));
        } else if let Some(keys) = source.keys.clone() {
            self.look_up(host, index, source, keys)?;
        } else if let Some(ordered) = Ordered::new(&source) {
            self.ordered.insert(index, ordered);
            self.go_on(host, index)?;
        } else if let Some(scan) = source.index.clone() {
            let open = scan.ranges.len();
            self.scans.insert(index, Entries { source, open, keys: Set::new(), many: false });
            for (from, to) in scan.ranges.clone() {
                let range = Range { from, to, backwards: false, limit: Some(INDEX_ROWS_MAX + 1) };
                if let Some(answer) = self.read(host, index, &scan, range) {
                    self.entries(host, index, answer)?;
                }
            }
            if open == 0 {
                self.scans.remove(&index);
                self.ended(host, index)?;
            }
        } else {
            let fragment = source.fragment.of_system().unwrap_or_else(|| source.fragment.clone());
            self.feeds.insert(host.gather(fragment), (index, source, None));
        }
        Ok(())
    }

    /// A source has given everything; who waited for that begins.
    fn ended(&mut self, host: &mut Host, index: usize) -> Result<(), Error> {
        let whole = !self.lacking.contains(&index);
        if self.waits.walks().contains(&index) {
            self.flow()?.answered(index, whole)?;
            return self.walk(host);
        }
        self.flow()?.end(index, whole)?;
        for (index, source) in self.waits.end(index) {
            self.begin(host, index, source)?;
        }
        self.walk(host)
    }

    /// What a source gives.
    fn feed(&mut self, index: usize, batch: Batch) -> Result<(), Error> {
        self.waits.see(index, &batch);
        self.flow()?.feed(index, batch)
    }

    /// Gets rows by their keys, which are all of the source.
    fn look_up(&mut self, host: &mut Host, index: usize, source: Source, keys: Vec<Vec<u8>>) -> Result<(), Error> {
        // A key that must be NULL, say: nothing to ask.
        if keys.is_empty() {
            return self.fill(host, index, &source, &[], Vec::new());
        }
        for keys in keys.chunks(LOOKUP_OPS) {
            let need = host.ops(lookup(&source.fragment, keys));
            self.feeds.insert(need, (index, source.clone(), Some(keys.to_vec())));
        }
        Ok(())
    }

    /// So much of an index was read for a source.
    fn cover(&mut self, host: &mut Host, index: usize, coverage: f64) {
        host.cover(coverage);
        if coverage < 1.0 {
            self.lacking.insert(index);
        }
    }

    /// Asks for the entries of a range of an index; they may be known already.
    fn read(&mut self, host: &mut Host, index: usize, scan: &IndexScan, range: Range) -> Option<Answer> {
        let (what, request) = ((index, range.clone()), Request::Range(range));
        self.trees.begin(host, what, &scan.namespace, scan.locality_bits, request).map(|(_, answer)| answer)
    }

    /// The next step to the first rows of an order.
    fn go_on(&mut self, host: &mut Host, index: usize) -> Result<(), Error> {
        while let Some(ordered) = self.ordered.get_mut(&index) {
            let source = ordered.source.clone();
            let Some(scan) = &source.index else { return Ok(()) };
            match ordered.next() {
                Next::Read(range) => match self.read(host, index, scan, range.clone()) {
                    Some(answer) => self.read_in_order(host, index, &range, answer),
                    None => return Ok(()),
                },
                Next::Get(keys) if keys.is_empty() => {}
                Next::Get(keys) => return self.look_up(host, index, source, keys),
                Next::Done(batch, coverage) => {
                    self.cover(host, index, coverage);
                    self.ordered.remove(&index);
                    self.feed(index, batch)?;
                    return self.ended(host, index);
                }
                Next::Many(otherwise) => {
                    self.ordered.remove(&index);
                    return self.begin(host, index, Source { index: otherwise, ..source });
                }
            }
        }
        Ok(())
    }

    /// Takes in entries that were read in order.
    fn read_in_order(&mut self, host: &mut Host, index: usize, range: &Range, answer: Answer) {
        let Some(ordered) = self.ordered.get_mut(&index) else { return };
        ordered.on_entries(range, answer);
        if let Some(scan) = &ordered.source.index {
            check(&mut self.checks, host, scan);
        }
    }

    /// Takes in the entries of a range of an index.
    fn entries(&mut self, host: &mut Host, index: usize, answer: Answer) -> Result<(), Error> {
        self.cover(host, index, answer.coverage());
        let Some(scan) = self.scans.get_mut(&index) else { return Ok(()) };
        scan.open -= 1;
        scan.many |= answer.entries.len() > INDEX_ROWS_MAX;
        scan.keys.extend(answer.entries.iter().flat_map(|entry| value_to_rows(&entry.value)));
        if scan.open > 0 {
            return Ok(());
        }
        let Some(Entries { source, keys, many, .. }) = self.scans.remove(&index) else { return Ok(()) };
        if let Some(scan) = &source.index {
            check(&mut self.checks, host, scan);
        }
        if !many && keys.len() <= INDEX_ROWS_MAX {
            return self.look_up(host, index, source, keys.into_iter().collect());
        }
        self.feeds.insert(host.gather(source.fragment.clone()), (index, source, None));
        Ok(())
    }

    /// Whether a need is one of its own.
    pub fn awaits(&self, need: u32) -> bool {
        self.feeds.contains_key(&need) || self.trees.awaits(need) || self.checks.contains_key(&need)
    }

    /// Takes in what operations on keys found.
    pub fn take_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Result<(), Error> {
        if let Some(index) = self.trees.purpose(need).map(|(index, _)| *index) {
            self.spend(host, index, outcomes.len());
            return match self.trees.on_ops(host, need, outcomes) {
                Some((_, Answer { refused: Some(refusal), .. })) => Err(refusal.into()),
                Some(((index, range), answer)) if self.ordered.contains_key(&index) => {
                    self.read_in_order(host, index, &range, answer);
                    self.go_on(host, index)
                }
                Some(((index, _), answer)) => self.entries(host, index, answer),
                None => Ok(()),
            };
        }
        if let Some(check) = self.checks.remove(&need) {
            return as_planned(&[check], &outcomes);
        }
        let Some((index, source, keys)) = self.feeds.remove(&need) else { return Ok(()) };
        let keys = keys.unwrap_or_default();
        self.spend(host, index, outcomes.len());
        match self.ordered.get_mut(&index) {
            Some(ordered) => {
                ordered.on_rows(looked_up(&source.fragment, &keys, outcomes)?)?;
                self.go_on(host, index)
            }
            None => self.fill(host, index, &source, &keys, outcomes),
        }
    }

    /// A gather is over.
    pub fn take_end(&mut self, host: &mut Host, need: u32) -> Result<(), Error> {
        match self.feeds.remove(&need) {
            Some((index, ..)) => {
                self.spend(host, index, 0);
                self.spent.entry(index).or_default().parts.append(&mut host.parts);
                if host.lacked {
                    self.lacking.insert(index);
                }
                self.ended(host, index)
            }
            None => Ok(()),
        }
    }

    /// Rows that were got; with the last of them the source has ended.
    fn fill(
        &mut self,
        host: &mut Host,
        index: usize,
        source: &Source,
        keys: &[Vec<u8>],
        outcomes: Vec<Outcome>,
    ) -> Result<(), Error> {
        let partial = looked_up(&source.fragment, keys, outcomes)?;
        let more = self.feeds.values().any(|(other, ..)| *other == index);
        self.feed(index, partial.batch)?;
        if more { Ok(()) } else { self.ended(host, index) }
    }

    fn result(&mut self, host: &Host) -> Step {
        let rows = self.rows()?;
        Ok(rows.map(|rows| QueryResult { columns: core::mem::take(&mut self.columns), rows, ..host.done(0) }))
    }

    fn flow(&mut self) -> Result<&mut Dataflow, Error> {
        self.flow.as_mut().ok_or(Error::Closed)
    }
}

/// Asks whether a table whose index was read still is what it was.
fn check(checks: &mut Map<u32, (String, Version)>, host: &mut Host, scan: &IndexScan) {
    let check = entry(&scan.table.0, host.env.locality_bits, Action::Get);
    checks.insert(host.ops(vec![check]), scan.table.clone());
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
        self.take_ops(host, need, outcomes)?;
        self.result(host)
    }

    fn on_batch(&mut self, _host: &mut Host, need: u32, partial: Partial) -> Step {
        if let Some((index, source, _)) = self.feeds.get(&need) {
            let index = *index;
            let spent = self.spent.entry(index).or_default();
            spent.records += partial.scanned;
            spent.reach.add(partial.reach);
            spent.fell_back += u64::from(partial.fell_back);
            let partial = as_rows(&source.fragment, partial)?;
            self.feed(index, partial.batch)?;
        }
        Ok(None)
    }

    fn preview(&mut self, need: u32, rows: Batch) -> Option<QueryResult> {
        let (index, source, _) = self.feeds.get(&need)?;
        // Rows of system tables are not what peers tell of them.
        let rows = if source.fragment.of_system().is_none() { rows } else { return None };
        let rows = self.flow.as_mut()?.preview(*index, rows)?;
        Some(QueryResult { columns: self.columns.clone(), rows, ..done() })
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        self.take_end(host, need)?;
        self.result(host)
    }
}
