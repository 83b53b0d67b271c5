//! The first rows of an order, by an index: entries from one end on, until it is certain that nothing else comes before.
//!
//! ```text
//!   entries in order ──▶ their rows, so many at a time ──▶ judged, put in order, cut ──▶ are all of these before
//!        ▲                                                                               what is not read yet?
//!        └────────────────────────────────────── no ─────────────────────────────────────────────┘ yes: done
//! ```
//!
//! An entry says where a row may be, and the row what it is: a row stands where its own values put it, and counts once.
//! One that was changed meanwhile is found by its other entry, or stands further on than it was found and is certain
//! when that is read. Of long values entries have the beginning only, and an order may have more columns than the index:
//! entries that do not tell rows apart are read to the last of them.
//!
//! What is read is bounded: where conditions leave few rows, or very many are equal, rows are found as without an order.

use std::collections::VecDeque;

use super::query::{ASKER_BUDGET, INDEX_ROWS_MAX, LOOKUP_OPS};
use crate::{
    Error,
    data::Row,
    exec::{
        fragment::Partial,
        ops::Batch,
        plan::{IndexOrder, IndexScan, Source},
    },
    map::Set,
    pht::{Answer, Entry, Range},
    sql::index::{ROWS_MAX, position, value_to_rows},
};

/// Rows that are got beside some for each that is wanted.
const ROWS_MORE: usize = 500;
/// Entries whose rows are got at once: in one round, for what is certain is judged between rounds.
const GETS_MAX: usize = LOOKUP_OPS / ROWS_MAX;
/// So many times more each time.
const GROWTH: usize = 4;

/// See the module's documentation.
pub(super) struct Ordered {
    pub source: Source,
    scan: IndexScan,
    order: IndexOrder,
    /// The range that is read.
    at: usize,
    /// How far it was read.
    last: Option<Vec<u8>>,
    /// Entries whose rows were not got, with their ranges.
    entries: VecDeque<(usize, Entry)>,
    /// Rows that were got.
    seen: Set<Vec<u8>>,
    /// The first of them in order.
    found: Partial,
    /// Entries that were read.
    read: usize,
    /// Rows that are got next at most.
    step: usize,
    coverage: f64,
}

/// What is to be done next.
pub(super) enum Next {
    /// Read entries.
    Read(Range),
    /// Get rows.
    Get(Vec<Vec<u8>>),
    /// These are enough, at that coverage.
    Done(Batch, f64),
    /// There are too many rows to go on like that: this is read instead, or all records.
    Many(Option<Box<IndexScan>>),
}

impl Ordered {
    /// `None`: the source is not wanted in an order.
    pub fn new(source: &Source) -> Option<Ordered> {
        let scan = (**source.index.as_ref()?).clone();
        let order = scan.order.clone()?;
        Some(Ordered {
            source: source.clone(),
            scan,
            at: 0,
            last: None,
            entries: VecDeque::new(),
            seen: Set::new(),
            found: Partial::default(),
            read: 0,
            step: order.first as usize,
            order,
            coverage: 1.0,
        })
    }

    /// Takes in the entries of the range that was to be read.
    pub fn on_entries(&mut self, range: &Range, answer: Answer) {
        self.coverage = self.coverage.min(answer.coverage());
        self.read += answer.entries.len();
        let ended = range.limit.is_none_or(|limit| answer.entries.len() < limit);
        self.last = answer.entries.last().map(|entry| entry.key.clone());
        self.entries.extend(answer.entries.into_iter().map(|entry| (self.at, entry)));
        if ended {
            (self.at, self.last) = (self.at + 1, None);
        }
    }

    /// Takes in what the fragment makes of rows that were got.
    pub fn on_rows(&mut self, partial: Partial) -> Result<(), Error> {
        self.source.fragment.combine(&mut self.found, partial, &ASKER_BUDGET)
    }

    pub fn next(&mut self) -> Next {
        let first = self.order.first as usize;
        let (mut have, mut certain, mut last) = (0, 0, None);
        for signed in &self.found.batch.rows {
            let weight = usize::try_from(signed.weight).unwrap_or(0);
            let at = self.place(&signed.row);
            have += weight;
            certain += if self.is_before_rest(&at) { weight } else { 0 };
            last = Some(at);
        }
        if certain >= first || self.at >= self.scan.ranges.len() && self.entries.is_empty() {
            return Next::Done(core::mem::take(&mut self.found.batch), self.coverage);
        }
        // Rows beside the last one that is wanted: all of these are.
        let tie = last.filter(|_| have >= first).map_or(0, |at| self.beside(&at));
        let goes_on = self.entries.back().is_none_or(|(at, _)| *at == self.at);
        if tie > self.room() {
            return self.many();
        }
        if tie == self.entries.len() && goes_on {
            return self.read();
        }
        if tie > 0 {
            return self.get(tie);
        }
        // As many as it takes if the others are like those before.
        let missing = first - certain;
        let likely = (missing * self.seen.len()).checked_div(certain).map_or(usize::MAX, |likely| likely + 1);
        let wanted = likely.min(self.step).max(missing);
        self.step = self.step.saturating_mul(GROWTH);
        self.get(wanted)
    }

    fn many(&mut self) -> Next {
        Next::Many(self.order.otherwise.take())
    }

    /// How many rows more may be got.
    fn room(&self) -> usize {
        let most = GROWTH * self.order.first as usize + ROWS_MORE;
        most.min(INDEX_ROWS_MAX).saturating_sub(self.seen.len())
    }

    /// Where a row stands, as the beginning of its entry's key, and whether other rows at that place may differ.
    fn place(&self, row: &Row) -> (Vec<u8>, bool) {
        let values = self.order.columns.iter().filter_map(|(at, turned)| Some((row.get(*at as usize)?, *turned)));
        let (place, whole) = position(&self.order.begin, values);
        (place, self.order.ties || !whole)
    }

    /// The range that a place is in.
    fn range_of(&self, place: &[u8]) -> usize {
        let has = |(from, to): &(Vec<u8>, Option<Vec<u8>>)| {
            place >= &from[..] && to.as_ref().is_none_or(|to| place < &to[..])
        };
        self.scan.ranges.iter().position(has).unwrap_or(self.scan.ranges.len())
    }

    /// Whether a place comes before all whose rows were not got.
    fn is_before_rest(&self, (place, ties): &(Vec<u8>, bool)) -> bool {
        let (at, key) = match self.entries.front() {
            Some((at, entry)) => (*at, Some(&entry.key)),
            None => (self.at, self.last.as_ref()),
        };
        let own = self.range_of(place);
        let passed = |key: &Vec<u8>| {
            if key.starts_with(place) {
                return !ties;
            }
            if self.order.backwards { key < place } else { key > place }
        };
        at >= self.scan.ranges.len() || own < at || own == at && key.is_some_and(passed)
    }

    /// How many of the next entries are at the same place.
    fn beside(&self, (place, _): &(Vec<u8>, bool)) -> usize {
        self.entries.iter().take_while(|(_, entry)| entry.key.starts_with(place)).count()
    }

    fn read(&mut self) -> Next {
        let Some((from, to)) = self.scan.ranges.get(self.at).cloned() else { return self.many() };
        if self.read >= INDEX_ROWS_MAX {
            return self.many();
        }
        // One more shows whether the last row that is wanted is the last of its kind.
        let more = (self.order.first as usize + 1).max(self.read * (GROWTH - 1));
        let useful = (self.room() + 1).saturating_sub(self.entries.len()).max(1);
        let limit = Some(more.min(useful));
        let backwards = self.order.backwards;
        Next::Read(match self.last.clone() {
            Some(last) if backwards => Range { from, to: Some(last), backwards, limit },
            Some(last) => Range { from: [&last[..], &[0]].concat(), to, backwards, limit },
            None => Range { from, to, backwards, limit },
        })
    }

    fn get(&mut self, wanted: usize) -> Next {
        let most = wanted.min(self.room()).min(GETS_MAX);
        if most == 0 {
            return self.many();
        }
        let mut keys = Vec::new();
        while keys.len() < most
            && let Some((_, entry)) = self.entries.pop_front()
        {
            keys.extend(value_to_rows(&entry.value).into_iter().filter(|key| self.seen.insert(key.clone())));
        }
        Next::Get(keys)
    }
}
