//! Foreign keys around the writer of a statement: what its rows refer to is there, and what goes leaves nothing behind.
//!
//! ```text
//!   rows to be written ──▶ who refers to what goes? ──▶ CASCADE, SET ..: more rows ─┐  NO ACTION: refused
//!           │                         ▲──────────────────────────────────────────────┘
//!           └▶ is there what they refer to? ──▶ write: deepest first, the statement's own rows last
//!                                                 │
//!   settle ◀── yes ── the same two questions again, of what was written
//!                       │ somebody refers by now: CASCADE goes on; anything else is taken back, and then the error
//! ```
//!
//! There is no lock. Rows have different owners, but operations on one row are linearizable, and each side writes first and
//! then looks: who writes a referencing row looks for the other one after it, who removes that one looks for referencing
//! rows after it. Whatever the order, one of the two at least sees the other. (This is Dekker's way to exclude; Bailis et
//! al., *Coordination Avoidance in Database Systems*, VLDB 2014, say why foreign keys need no more where nothing is
//! removed, and why removal does.) Definitions are looked at once more, too: a table that has begun to refer to this one, or
//! has got other rows, has the statement planned again.
//!
//! **Referencing rows go first**, so that who vanishes on the way has removed too little, which the same statement makes
//! good, and leaves no row that refers to nothing.

use std::collections::VecDeque;

use super::{
    host::Host,
    job::Job,
    query::QueryJob,
    refusal::violation,
    seek::seek,
    write::{Redo, Write},
    write_set::{Final, Planned, Wrote, finals},
    writer::Writer,
};
use crate::{
    Error,
    data::{Column, QueryResult, Row},
    exec::{
        change::Target,
        fragment::Partial,
        references::{References, encoded, values},
    },
    map::{LargeMap, Map},
    sql::{
        catalog::entry,
        fault::{INCOMPLETE, SERIALIZATION, STALE_PLAN, error, fail},
    },
    store::{Action, Outcome},
};

/// How often rows are looked for again that others write meanwhile.
const ROUNDS_MAX: usize = 8;

/// A row: its table, and its key.
pub(super) type RowId = (usize, Vec<u8>);
/// By foreign key, something for values of its columns, which stand encoded.
pub(super) type ByValues<V> = Map<usize, LargeMap<Vec<u8>, V>>;

/// Values that some row no longer has.
#[derive(Clone)]
pub(super) struct Lost {
    pub values: Row,
    /// What that row has in their place; `None`: it is gone.
    pub to: Option<Row>,
}

/// A row that refers to what may not go while it does.
pub(super) struct Held {
    /// The foreign key.
    pub key: usize,
    pub row: RowId,
    /// The values, encoded.
    pub value: Vec<u8>,
    pub lost: Lost,
}

/// A search under way.
pub(super) struct Look {
    key: usize,
    /// For the rows that are referred to; else for those that refer.
    to_parent: bool,
    job: QueryJob,
}

/// A writer, and the table that it writes.
pub(super) struct Slot {
    pub table: usize,
    pub writer: Writer,
}

/// What is under way.
pub(super) enum Stage {
    /// Rows are being told.
    Collecting,
    /// Who refers to what is to go?
    Wave,
    /// Is there what rows refer to that are to be written?
    Needed,
    /// They are being written.
    Writing,
    /// The same two questions, of what was written.
    Verify,
    /// Somebody refers to what is gone; or is it there again?
    Present,
    /// All is as it should be: what writers keep to take rows back goes.
    Settling(usize),
    /// What was written is taken back, the last writer first.
    TakingBack(Error),
    /// Who refers to rows that were inserted, and are taken back?
    Regretting(Error),
    /// Those rows are written again.
    Restoring(Error),
}

/// See the module's documentation.
pub(super) struct Guard {
    pub(super) references: References,
    /// The first is the statement's own.
    pub(super) slots: Vec<Slot>,
    pub(super) stage: Stage,
    /// Whether rows are looked at before they are written: not where some of them may come to nothing.
    early: bool,
    pub(super) looks: Vec<Look>,
    /// The catalog, under way.
    check: Option<u32>,
    stale: Option<Error>,
    /// Rows that refer, each through a key.
    pub(super) found: Vec<(usize, Row)>,
    /// Values that some row has.
    pub(super) there: ByValues<()>,
    pub(super) lost: ByValues<Lost>,
    /// Values that have to be there.
    pub(super) needed: ByValues<Row>,
    /// Rows that are to be changed, and how far from the statement's own.
    pub(super) planned: LargeMap<RowId, (Planned, usize)>,
    /// Rows that are to be inserted.
    pub(super) inserted: Vec<Row>,
    /// Values that were looked for.
    pub(super) asked: ByValues<()>,
    pub(super) held: Vec<Held>,
    pub(super) depth: usize,
    rounds: usize,
    /// Writers that are still to write, in order.
    pub(super) order: VecDeque<usize>,
    /// Those that have begun.
    pub(super) began: Vec<usize>,
}

impl Guard {
    /// Around the writer of a statement; `early` as in [`Guard`].
    pub fn new(target: &Target, references: References, early: bool) -> Guard {
        let mut writer = Writer::new(target);
        if !references.is_empty() {
            writer.hold(0);
        }
        Guard {
            references,
            slots: vec![Slot { table: 0, writer }],
            stage: Stage::Collecting,
            early,
            looks: Vec::new(),
            check: None,
            stale: None,
            found: Vec::new(),
            there: Map::new(),
            lost: Map::new(),
            needed: Map::new(),
            planned: LargeMap::new(),
            inserted: Vec::new(),
            asked: Map::new(),
            held: Vec::new(),
            depth: 0,
            rounds: 0,
            order: VecDeque::new(),
            began: Vec::new(),
        }
    }

    /// As [`Writer::key_first`].
    pub fn key_first(&mut self) {
        self.slots[0].writer.key_first();
    }

    /// One more change to make.
    pub fn push(&mut self, write: Write) {
        self.slots[0].writer.push(write);
    }

    /// The result of the statement, whose rows are shown under these columns.
    pub fn result(&mut self, host: &Host, columns: &[Column]) -> QueryResult {
        self.slots[0].writer.result(host, columns)
    }

    /// Begins; `true` when all is written, an error when all that can be taken back is.
    pub fn begin(&mut self, host: &mut Host) -> Result<bool, Error> {
        if self.references.is_empty() {
            return self.slots[0].writer.advance(host);
        }
        if !self.early || self.references.keys.is_empty() {
            self.order.push_back(0);
            self.stage = Stage::Writing;
            return self.proceed(host);
        }
        let mut wave = Vec::new();
        let target = &self.references.tables[0].target;
        for (at, write) in self.slots[0].writer.queued().iter().enumerate() {
            match Planned::of(target, write, at)? {
                Ok((key, planned)) => {
                    wave.push((0, key.clone()));
                    self.planned.insert((0, key), (planned, 0));
                }
                Err(row) => self.inserted.push(row),
            }
        }
        self.next_wave(host, &wave)?;
        self.proceed(host)
    }

    /// Takes in outcomes of operations; then as [`Guard::begin`].
    pub fn on_ops(
        &mut self,
        host: &mut Host,
        need: u32,
        outcomes: Vec<Outcome>,
        redo: Redo<'_>,
    ) -> Result<bool, Error> {
        if self.references.is_empty() {
            return self.slots[0].writer.on_ops(host, need, outcomes, redo);
        }
        if self.check.take_if(|check| *check == need).is_some() {
            let planned = self.references.children.iter().zip(outcomes);
            for ((name, version), outcome) in planned {
                let now = match outcome {
                    Outcome::Found { version, .. } => Some(version),
                    Outcome::Absent => None,
                    Outcome::Refused(refusal) => {
                        self.stale.get_or_insert(refusal.into());
                        continue;
                    }
                    _ => {
                        self.stale.get_or_insert(Error::Unreachable);
                        continue;
                    }
                };
                if now != *version {
                    let message = format!("relation \"{name}\" is another one by now");
                    self.stale.get_or_insert(error(STALE_PLAN, message));
                }
            }
            return self.proceed(host);
        }
        if let Some(at) = self.looks.iter().position(|look| look.job.awaits(need)) {
            let taken = self.looks[at].job.take_ops(host, need, outcomes);
            return self.looked(host, at, taken);
        }
        if let Stage::Restoring(error) = &self.stage {
            let Some(Slot { writer, .. }) = self.slots.last_mut() else { return Ok(false) };
            // What somebody else put there is left alone.
            return match writer.on_ops(host, need, outcomes, &|_, _, _| Ok(None)) {
                Ok(false) => Ok(false),
                _ => Err(error.clone()),
            };
        }
        let (at, own) = match self.stage {
            Stage::Writing => (self.order.front().copied(), true),
            Stage::Settling(at) => (Some(at), true),
            Stage::TakingBack(_) => (self.began.last().copied(), false),
            _ => (None, true),
        };
        let Some(at) = at else { return Ok(false) };
        let slot = &mut self.slots[at];
        let target = &self.references.tables.get(slot.table).map(|related| &related.target);
        let over = if at == 0 {
            slot.writer.on_ops(host, need, outcomes, redo)
        } else {
            // A row that was changed meanwhile is looked for again, if it refers to what is gone.
            let redo: Redo<'_> = &|_, _, index| match (index, target) {
                (Some(index), Some(target)) => Err(violation(target, index)),
                _ => Ok(None),
            };
            slot.writer.on_ops(host, need, outcomes, redo)
        };
        match (over, own) {
            (Err(error), _) => {
                self.began.retain(|other| *other != at);
                self.stage = Stage::TakingBack(error);
            }
            (Ok(_), true) => {}
            (Ok(_), false) => return Ok(false),
        }
        self.proceed(host)
    }

    /// Some of what a gather gathers.
    pub fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Result<bool, Error> {
        let Some(at) = self.looks.iter().position(|look| look.job.awaits(need)) else { return Ok(false) };
        let fed = self.looks[at].job.on_batch(host, need, partial);
        match fed {
            Ok(_) => Ok(false),
            Err(error) => self.give_up(host, error),
        }
    }

    /// A gather is over.
    pub fn on_gathered(&mut self, host: &mut Host, need: u32) -> Result<bool, Error> {
        let Some(at) = self.looks.iter().position(|look| look.job.awaits(need)) else { return Ok(false) };
        let taken = self.looks[at].job.take_end(host, need);
        self.looked(host, at, taken)
    }

    /// Ends with an error, when what was written is taken back.
    pub fn give_up(&mut self, host: &mut Host, error: Error) -> Result<bool, Error> {
        self.looks.clear();
        self.check = None;
        self.order.clear();
        if let Stage::Regretting(error) | Stage::Restoring(error) = &self.stage {
            return Err(error.clone());
        }
        self.stage = Stage::TakingBack(error);
        self.proceed(host)
    }

    /// Something came of a search.
    fn looked(&mut self, host: &mut Host, at: usize, taken: Result<(), Error>) -> Result<bool, Error> {
        let over = taken.and_then(|()| self.looks[at].job.rows());
        match over {
            Ok(None) => Ok(false),
            Ok(Some(rows)) => {
                let Look { key, to_parent, .. } = self.looks.remove(at);
                if to_parent {
                    let (to, there) = (&self.references.keys[key].to, self.there.entry(key).or_default());
                    for value in rows.iter().filter_map(|row| encoded(row, to)) {
                        there.insert(value, ());
                    }
                } else {
                    self.found.extend(rows.into_iter().map(|row| (key, row)));
                }
                self.proceed(host)
            }
            Err(error) => self.give_up(host, error),
        }
    }

    /// Goes on as far as it can.
    fn proceed(&mut self, host: &mut Host) -> Result<bool, Error> {
        loop {
            if !self.looks.is_empty() || self.check.is_some() {
                return Ok(false);
            }
            if let Stage::Regretting(error) = &self.stage {
                let error = error.clone();
                self.restore(error)?;
                continue;
            }
            let looking = matches!(self.stage, Stage::Wave | Stage::Needed | Stage::Verify | Stage::Present);
            if looking {
                let answered = self.answered(host);
                if let Err(error) = answered {
                    self.looks.clear();
                    self.check = None;
                    self.stage = Stage::TakingBack(error);
                }
                continue;
            }
            match &self.stage {
                Stage::Writing => {
                    let Some(at) = self.order.front().copied() else {
                        self.verify(host)?;
                        continue;
                    };
                    if !self.began.contains(&at) {
                        self.began.push(at);
                    }
                    let over = self.slots[at].writer.advance(host);
                    match over {
                        Ok(_) if self.slots[at].writer.is_ready() => drop(self.order.pop_front()),
                        Ok(_) => return Ok(false),
                        Err(error) => {
                            self.began.retain(|other| *other != at);
                            self.stage = Stage::TakingBack(error);
                        }
                    }
                }
                Stage::Settling(at) => {
                    let Some(slot) = self.slots.get_mut(*at) else { return Ok(true) };
                    if !slot.writer.release(host)? {
                        return Ok(false);
                    }
                    self.stage = Stage::Settling(*at + 1);
                }
                Stage::TakingBack(error) => {
                    let error = error.clone();
                    let Some(at) = self.began.last().copied() else {
                        self.regret(host, error)?;
                        continue;
                    };
                    match self.slots[at].writer.take_all_back(host, error) {
                        Ok(_) => return Ok(false),
                        Err(error) => {
                            self.began.pop();
                            self.stage = Stage::TakingBack(error);
                        }
                    }
                }
                Stage::Restoring(error) => {
                    let error = error.clone();
                    match self.slots.last_mut().map(|slot| slot.writer.release(host)) {
                        Some(Ok(false)) => return Ok(false),
                        // Somebody else put it there.
                        _ => return Err(error),
                    }
                }
                _ => return Ok(false),
            }
        }
    }

    /// What became of the rows of a table, each with its key.
    pub(super) fn finals(&self, table: usize) -> Result<Vec<(Vec<u8>, Final)>, Error> {
        let Some(related) = self.references.tables.get(table) else { return Ok(Vec::new()) };
        let slots = self.slots.iter().filter(|slot| slot.table == table);
        finals(&related.target, slots.flat_map(|slot| slot.writer.wrote()))
    }

    /// All searches are over.
    fn answered(&mut self, host: &mut Host) -> Result<(), Error> {
        if host.done(0).coverage < 1.0 {
            let message = format!("a part of what refers to \"{}\" could not be reached", self.own().name);
            return fail(INCOMPLETE, message);
        }
        if let Some(error) = self.stale.take() {
            return Err(error);
        }
        match self.stage {
            Stage::Wave => self.apply(host),
            Stage::Needed => {
                self.all_there()?;
                self.write()
            }
            Stage::Verify => {
                if let Err(error) = self.all_there() {
                    self.doom();
                    return Err(error);
                }
                self.only_lost();
                if self.found.is_empty() {
                    self.stage = Stage::Settling(0);
                    return Ok(());
                }
                // Somebody may have put it there again.
                self.there.clear();
                let mut wanted: ByValues<Row> = Map::new();
                for (key, row) in &self.found {
                    let columns = &self.references.keys[*key].columns;
                    if let (Some(encoded), Some(values)) = (encoded(row, columns), values(row, columns)) {
                        wanted.entry(*key).or_default().insert(encoded, values);
                    }
                }
                self.look_for_all(host, true, &wanted)?;
                self.stage = Stage::Present;
                Ok(())
            }
            Stage::Present => {
                for (key, values) in core::mem::take(&mut self.there) {
                    if let Some(lost) = self.lost.get_mut(&key) {
                        values.into_iter().for_each(|(value, ())| drop(lost.remove(&value)));
                    }
                }
                self.only_lost();
                if self.found.is_empty() {
                    self.stage = Stage::Settling(0);
                    return Ok(());
                }
                self.rounds += 1;
                if self.rounds > ROUNDS_MAX {
                    return fail(SERIALIZATION, format!("rows that refer to \"{}\" keep coming", self.own().name));
                }
                self.planned = LargeMap::new();
                self.inserted.clear();
                self.asked.clear();
                self.apply(host)
            }
            _ => Ok(()),
        }
    }

    fn own(&self) -> &Target {
        &self.references.tables[0].target
    }

    /// Of the rows found, those that refer to what is lost.
    pub(super) fn only_lost(&mut self) {
        let (keys, lost) = (&self.references.keys, &self.lost);
        self.found.retain(|(key, row)| {
            let encoded = encoded(row, &keys[*key].columns);
            encoded.is_some_and(|encoded| lost.get(key).is_some_and(|lost| lost.get(&encoded).is_some()))
        });
    }

    /// Asks of what was written what was asked before.
    fn verify(&mut self, host: &mut Host) -> Result<(), Error> {
        (self.depth, self.lost, self.needed) = (0, Map::new(), Map::new());
        self.found.clear();
        for table in 0..self.references.tables.len() {
            match self.finals(table) {
                Ok(finals) => {
                    for (_, change) in finals {
                        self.lose(table, &change);
                        self.need(table, &change, table == 0);
                    }
                }
                Err(error) => {
                    self.stage = Stage::TakingBack(error);
                    return Ok(());
                }
            }
        }
        let goes = self.slots.iter().flat_map(|slot| slot.writer.wrote()).any(Wrote::replaces);
        if !self.references.children.is_empty() && goes {
            let bits = host.env.locality_bits;
            let get = |(name, _): &(String, _)| entry(name, bits, Action::Get);
            self.check = Some(host.ops(self.references.children.iter().map(get).collect()));
        }
        self.stage = Stage::Verify;
        if let Err(error) = self.look_for_parents(host).and_then(|()| self.look_for_children(host)) {
            self.looks.clear();
            self.check = None;
            self.stage = Stage::TakingBack(error);
        }
        Ok(())
    }

    /// Begins to look for rows that have given values.
    pub(super) fn look(&mut self, host: &mut Host, at: usize, to_parent: bool, values: &[Row]) -> Result<(), Error> {
        let key = &self.references.keys[at];
        let (table, way, slots) = match to_parent {
            true => (key.parent, &key.to_parent, &key.to),
            false => (key.child, &key.to_child, &key.columns),
        };
        let jobs = seek(host, &self.references.tables[table], way, slots, values)?;
        self.looks.extend(jobs.into_iter().map(|job| Look { key: at, to_parent, job }));
        Ok(())
    }

    fn look_for_all(&mut self, host: &mut Host, to_parent: bool, all: &ByValues<Row>) -> Result<(), Error> {
        for (key, values) in all {
            let values: Vec<Row> = values.values().cloned().collect();
            self.look(host, *key, to_parent, &values)?;
        }
        Ok(())
    }

    pub(super) fn look_for_children(&mut self, host: &mut Host) -> Result<(), Error> {
        let values = |lost: &LargeMap<Vec<u8>, Lost>| lost.values().map(|lost| lost.values.clone()).collect();
        let all: Vec<(usize, Vec<Row>)> = self.lost.iter().map(|(key, lost)| (*key, values(lost))).collect();
        all.iter().try_for_each(|(key, values)| self.look(host, *key, false, values))
    }

    pub(super) fn look_for_parents(&mut self, host: &mut Host) -> Result<(), Error> {
        self.there.clear();
        let needed = core::mem::take(&mut self.needed);
        let begun = self.look_for_all(host, true, &needed);
        self.needed = needed;
        begun
    }
}
