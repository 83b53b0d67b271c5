//! Conditional writes of one statement, all or (as far as peers can be reached) nothing.
//!
//! ```text
//!   changes ──▶ batches of conditional puts and removes, few at once ──▶ all stored: done
//!                 │ a record is not as expected: the job says what becomes of it now
//!                 └ a violation, or a key nobody can be reached for: what was stored is taken back, then the error
//! ```
//!
//! Every write is conditional on the version it was computed from, so is every undo: neither ever overwrites what
//! somebody else wrote in between. There are no transactions: others may see rows of a statement before its end. What
//! cannot be taken back because its owner is out of reach stands, and the error says which rows.
//! Where there are indexes a batch claims its entries first ([`entries`](super::entries)); rows that were written while
//! an index was being created get theirs in the end ([`catch_up`](super::catch_up)).

use std::collections::VecDeque;

use super::{
    catch_up::{CatchUp, Caught},
    entries::{CLAIMS_MAX, Entries, Place, Taken},
    host::Host,
    refusal::{denied, duplicate, standing, violation},
    write::{Change, Redo, Write, Written},
    write_set::{Wrote, back},
};
use crate::{
    Error,
    data::{Column, QueryResult, Row},
    exec::change::Target,
    map::{Map, Set},
    sql::fault::{SERIALIZATION, STALE_PLAN, error, fail},
    store::{Action, KeyOp, Outcome, Version},
};

/// Operations in one batch.
const BATCH_OPS: usize = 1_000;
/// Operations in one batch that takes back.
const UNDO_OPS: usize = BATCH_OPS / 4;
/// Bytes of values in one batch, unless a single one is larger.
const BATCH_BYTES: usize = 256 << 10;
/// Batches under way at once.
const IN_FLIGHT: usize = 2;
/// How often one row is computed again because somebody else changed it.
const REDO_MAX: u8 = 16;

/// What is asked of index entries.
enum Asked {
    /// To be those of these writes.
    Claims(Vec<Write>),
    /// To be those of these rows still.
    Rows(Vec<Written>),
}

/// See the module's documentation.
pub(super) struct Writer {
    target: Target,
    queue: VecDeque<Write>,
    in_flight: Map<u32, Vec<Write>>,
    /// The index entries, where there are indexes.
    entries: Option<Entries>,
    /// What is asked of index entries.
    asked: Option<Asked>,
    /// Rows that are written, in unique indexes, and not confirmed yet.
    written: VecDeque<Written>,
    caught: Caught,
    /// What the statement does about a key that is there already comes before what it violates beside.
    key_first: bool,
    /// Index entries that are not needed go, and then it is over.
    settling: bool,
    /// Keys of rows that are again what they were.
    restored: Vec<Vec<u8>>,
    /// Whether the unique values of rows that are to be what they were are claimed.
    reclaiming: bool,
    /// Keys of rows of which it is not known that they are not as this statement wrote them.
    stand: Set<Vec<u8>>,
    undo: Vec<(Vec<u8>, Action)>,
    undoing: Option<(u32, Vec<Vec<u8>>)>,
    /// Keys of rows that could not be taken back.
    standing: Vec<Vec<u8>>,
    /// Keys whose owner was out of reach when they were written: they may stand.
    unsure: Vec<Vec<u8>>,
    failed: Option<Error>,
    /// When all is written it waits for who judges it; until then it keeps what was.
    held: bool,
    wrote: Vec<Wrote>,
    /// Rows that are taken back even if somebody else changed them since, and how often that was tried.
    doomed: Map<Vec<u8>, u8>,
    /// Tells the stamps of several writers of one statement apart.
    number: usize,
    /// Rows written.
    affected: u64,
    shown: Vec<(usize, Row)>,
}

impl Writer {
    pub fn new(target: &Target) -> Writer {
        Writer {
            target: target.clone(),
            queue: VecDeque::new(),
            in_flight: Map::new(),
            entries: None,
            asked: None,
            written: VecDeque::new(),
            caught: Caught::Open,
            key_first: false,
            settling: false,
            restored: Vec::new(),
            reclaiming: false,
            stand: Set::new(),
            undo: Vec::new(),
            undoing: None,
            standing: Vec::new(),
            unsure: Vec::new(),
            failed: None,
            held: false,
            wrote: Vec::new(),
            doomed: Map::new(),
            number: 0,
            affected: 0,
            shown: Vec::new(),
        }
    }

    /// What the statement does about a key that is there already comes before what the row violates beside.
    pub fn key_first(&mut self) {
        self.key_first = true;
    }

    /// One more change to make.
    pub fn push(&mut self, write: Write) {
        self.queue.push_back(write);
    }

    /// Lets it wait when all is written, until [`Writer::release`] or [`Writer::take_all_back`].
    pub fn hold(&mut self, number: usize) {
        (self.held, self.number) = (true, number);
    }

    /// What it is to write, before it begins.
    pub fn queued(&mut self) -> &mut VecDeque<Write> {
        &mut self.queue
    }

    /// Whether it waits, with all written.
    pub fn is_ready(&self) -> bool {
        let idle =
            self.queue.is_empty() && self.in_flight.is_empty() && self.asked.is_none() && self.written.is_empty();
        self.held && idle && self.failed.is_none() && matches!(self.caught, Caught::Up)
    }

    /// What it wrote so far, if it waits.
    pub fn wrote(&self) -> &[Wrote] {
        &self.wrote
    }

    /// Whether a row is to be taken back even if somebody else changes it before.
    pub fn is_doomed(&self, key: &[u8]) -> bool {
        self.doomed.get(key).is_some()
    }

    /// A row is to be taken back even if somebody else changes it before.
    pub fn doom(&mut self, key: &[u8]) {
        self.doomed.insert(key.to_vec(), 0);
    }

    /// It stands; as [`Writer::advance`].
    pub fn release(&mut self, host: &mut Host) -> Result<bool, Error> {
        self.held = false;
        self.advance(host)
    }

    /// It does not stand; as [`Writer::advance`].
    pub fn take_all_back(&mut self, host: &mut Host, error: Error) -> Result<bool, Error> {
        if self.failed.is_none() {
            (self.failed, self.caught) = (Some(error), Caught::Open);
        }
        self.advance(host)
    }

    /// The result of the statement, whose rows are shown under these columns.
    pub fn result(&mut self, host: &Host, columns: &[Column]) -> QueryResult {
        let mut shown = core::mem::take(&mut self.shown);
        shown.sort_by_key(|(index, _)| *index);
        let rows = shown.into_iter().map(|(_, row)| row).collect();
        QueryResult { columns: columns.to_vec(), rows, ..host.done(self.affected) }
    }

    fn op(&self, key: Vec<u8>, action: Action) -> KeyOp {
        KeyOp {
            namespace: self.target.namespace.clone(),
            locality_bits: self.target.locality_bits,
            key,
            action,
            proof: None,
        }
    }

    /// Asks for what comes next; `true` when all is written, an error when all that can be taken back is.
    pub fn advance(&mut self, host: &mut Host) -> Result<bool, Error> {
        if self.failed.is_some() {
            return self.take_back(host);
        }
        self.confirm(host);
        while self.in_flight.len() < IN_FLIGHT && self.asked.is_none() && !self.queue.is_empty() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(write) = self.queue.front() {
                bytes += write.bytes();
                if batch.len() >= BATCH_OPS || !batch.is_empty() && bytes > BATCH_BYTES {
                    break;
                }
                batch.extend(self.queue.pop_front());
            }
            if let Err(error) = self.claim(host, batch) {
                self.failed = Some(error);
                return self.take_back(host);
            }
        }
        if !self.in_flight.is_empty() || self.asked.is_some() {
            return Ok(false);
        }
        Ok(self.settled(host, false))
    }

    /// Claims the index entries of writes; those that need none are carried out.
    fn claim(&mut self, host: &mut Host, mut batch: Vec<Write>) -> Result<(), Error> {
        let mut claims = Vec::new();
        if !self.target.indexes.is_empty() {
            let (target, random) = (&self.target, host.env.random ^ self.number as u128);
            let entries = self.entries.get_or_insert_with(|| Entries::new(target, random));
            for (at, write) in batch.iter_mut().enumerate() {
                claims.extend(write.claims(target, entries.stamp(), at)?);
            }
            if !claims.is_empty() {
                entries.begin(host, claims);
                if !entries.idle() {
                    self.asked = Some(Asked::Claims(batch));
                    return Ok(());
                }
                // Nobody had to be asked, so nothing is taken.
                entries.outcome()?;
            }
        }
        self.send(host, batch);
        Ok(())
    }

    /// Asks whether rows that are written still have their unique values.
    fn confirm(&mut self, host: &mut Host) {
        let over = self.queue.is_empty() && self.in_flight.is_empty();
        let now = over || self.written.len() >= CLAIMS_MAX || self.written.iter().any(|row| row.then.is_some());
        let Some(entries) = self.entries.as_mut().filter(|_| now && self.asked.is_none()) else { return };
        let rows: Vec<Written> = self.written.drain(..self.written.len().min(CLAIMS_MAX)).collect();
        if !rows.is_empty() {
            entries.confirm(host, &rows);
            self.asked = Some(Asked::Rows(rows));
        }
    }

    fn confirmed(&mut self, rows: Vec<Written>) {
        let failed = match self.entries.as_mut().map(Entries::outcome) {
            Some(Err(error)) => Some(error),
            Some(Ok(taken)) => taken.first().map(|taken| match taken.by {
                Some(_) => violation(&self.target, &self.target.indexes[taken.index]),
                None => {
                    error(SERIALIZATION, format!("somebody else writes the same values into \"{}\"", self.target.name))
                }
            }),
            None => None,
        };
        match failed {
            Some(failed) => drop(self.failed.get_or_insert(failed)),
            None => self.queue.extend(rows.into_iter().filter_map(|row| row.then).map(|then| *then)),
        }
    }

    fn send(&mut self, host: &mut Host, batch: Vec<Write>) {
        if !batch.is_empty() {
            let ops = batch.iter().map(|write| self.op(write.key.clone(), write.action())).collect();
            self.in_flight.insert(host.ops(ops), batch);
        }
    }

    /// The index entries of writes are claimed, but for those that are taken.
    fn claimed(&mut self, host: &mut Host, batch: Vec<Write>, redo: Redo<'_>) {
        let taken = match self.entries.as_mut().map(Entries::outcome) {
            Some(Err(error)) => {
                self.failed.get_or_insert(error);
                return;
            }
            Some(Ok(taken)) => taken,
            None => Vec::new(),
        };
        if self.failed.is_some() {
            return;
        }
        let mut taken: Map<usize, Taken> = taken.into_iter().map(|taken| (taken.write, taken)).collect();
        let mut free = Vec::new();
        for (at, write) in batch.into_iter().enumerate() {
            match taken.remove(&at) {
                None => free.push(write),
                Some(taken) => {
                    if let Err(error) = self.violated(write, taken, redo) {
                        self.failed.get_or_insert(error);
                        return;
                    }
                }
            }
        }
        self.send(host, free);
    }

    fn violated(&mut self, mut write: Write, taken: Taken, redo: Redo<'_>) -> Result<(), Error> {
        let index = &self.target.indexes[taken.index];
        if write.then.is_some() {
            return Err(violation(&self.target, index));
        }
        if write.redone >= REDO_MAX {
            return fail(SERIALIZATION, format!("a row of \"{}\" keeps changing", self.target.name));
        }
        if self.key_first && matches!(write.change, Change::Insert(_)) {
            write.change = Change::Look(taken.index);
            self.queue.push_back(write);
            return Ok(());
        }
        let current = taken.by.map(|(key, value, version)| {
            write.key = key;
            (value, version)
        });
        if let Some(mut again) = redo(&write, current, Some(index))? {
            again.redone = write.redone + 1;
            self.queue.push_back(again);
        }
        Ok(())
    }

    /// All is written; `true` when the rows have the entries of all indexes, and no entry is left over.
    fn settled(&mut self, host: &mut Host, failed: bool) -> bool {
        if matches!(self.caught, Caught::Open) {
            let keys = match failed {
                true => core::mem::take(&mut self.restored),
                false => self.undo.iter().map(|(key, _)| key.clone()).collect(),
            };
            let known = self.target.version.is_none() || keys.is_empty();
            let changed = self.undo.iter().any(|(_, action)| matches!(action, Action::Put { .. }));
            self.caught = match known {
                true => Caught::Up,
                false => Caught::Going(Box::new(CatchUp::begin(host, &self.target, keys, failed, changed))),
            };
        }
        if !matches!(self.caught, Caught::Up) || self.held && !failed {
            return false;
        }
        let Some(entries) = &mut self.entries else { return true };
        if !self.settling {
            self.settling = true;
            self.stand.extend(self.unsure.iter().cloned());
            entries.settle(host, failed, &self.stand);
        }
        entries.idle()
    }

    /// The last writes first, and never two of one key at once.
    fn take_back(&mut self, host: &mut Host) -> Result<bool, Error> {
        if !self.in_flight.is_empty() || self.undoing.is_some() || self.asked.is_some() {
            return Ok(false);
        }
        if let Some(entries) = &mut self.entries {
            if !self.reclaiming {
                self.reclaiming = true;
                entries.reclaim(host);
            }
            if !self.settling && !entries.idle() {
                return Ok(false);
            }
            // Somebody else has their values by now: they stay as this statement left them.
            for key in entries.overtaken() {
                self.undo.retain(|(other, _)| *other != key);
                self.standing.push(key);
            }
        }
        let (mut keys, mut ops) = (Set::new(), Vec::new());
        while ops.len() < UNDO_OPS && self.undo.last().is_some_and(|(key, _)| keys.insert(key.clone())) {
            if let Some((key, action)) = self.undo.pop() {
                if matches!(action, Action::Put { .. }) {
                    self.restored.push(key.clone());
                }
                ops.push(self.op(key, action));
            }
        }
        if !ops.is_empty() {
            let keys = ops.iter().map(|op| op.key.clone()).collect();
            self.undoing = Some((host.ops(ops), keys));
            return Ok(false);
        }
        if !self.settled(host, true) {
            return Ok(false);
        }
        match self.failed.take() {
            // Somebody wrote on top of what was to be taken back: it would be done twice.
            Some(failed) if failed.code() == STALE_PLAN && !self.stand.is_empty() => {
                fail(SERIALIZATION, format!("rows of \"{}\" were changed meanwhile, and stand", self.target.name))
            }
            Some(failed) => Err(standing(&self.target, failed, &self.unsure, &self.standing)),
            None => Ok(true),
        }
    }

    /// Takes in what came of a batch; then as [`Writer::advance`].
    pub fn on_ops(
        &mut self,
        host: &mut Host,
        need: u32,
        outcomes: Vec<Outcome>,
        redo: Redo<'_>,
    ) -> Result<bool, Error> {
        if self.entries.as_ref().is_some_and(|entries| entries.awaits(need)) {
            let idle = self.entries.as_mut().is_some_and(|entries| entries.on_ops(host, need, outcomes));
            match self.asked.take_if(|_| idle) {
                Some(Asked::Claims(batch)) => self.claimed(host, batch, redo),
                Some(Asked::Rows(rows)) => self.confirmed(rows),
                None => {}
            }
        } else if let Caught::Going(catch_up) = &mut self.caught
            && catch_up.awaits(need)
        {
            match (catch_up.on_ops(host, need, outcomes), self.failed.is_some()) {
                (None, _) => {}
                (Some(Err(error)), false) => {
                    self.failed = Some(error);
                    self.caught = Caught::Open;
                }
                // What is again as it was stands, whether it has its entries or not.
                (Some(_), _) => self.caught = Caught::Up,
            }
        } else if let Some((_, keys)) = self.undoing.take_if(|(undoing, _)| *undoing == need) {
            let undone = |outcome: &Outcome| matches!(outcome, Outcome::Stored { .. });
            for (key, outcome) in keys.iter().zip(&outcomes) {
                if undone(outcome) {
                    self.stand.remove(key);
                } else {
                    self.stand.insert(key.clone());
                }
                let (Outcome::Conflict { current: Some((value, version)) }, Some(tries)) =
                    (outcome, self.doomed.get_mut(key).filter(|tries| **tries < REDO_MAX))
                else {
                    continue;
                };
                *tries += 1;
                let action = back(&self.target, &self.wrote, key, value, *version).ok().flatten();
                self.undo.extend(action.map(|action| (key.clone(), action)));
            }
            // Where somebody else wrote meanwhile the row is no longer this statement's.
            let out_of_reach = |outcome: &Outcome| matches!(outcome, Outcome::Unreachable | Outcome::Refused(_));
            let stand = keys.into_iter().zip(&outcomes).filter(|(_, outcome)| out_of_reach(outcome));
            self.standing.extend(stand.map(|(key, _)| key));
        } else {
            for (write, outcome) in self.in_flight.remove(&need).unwrap_or_default().into_iter().zip(outcomes) {
                if let Err(error) = self.on_outcome(write, outcome, redo) {
                    self.failed.get_or_insert(error);
                }
            }
        }
        self.advance(host)
    }

    fn on_outcome(&mut self, write: Write, outcome: Outcome, redo: Redo<'_>) -> Result<(), Error> {
        match outcome {
            Outcome::Stored { version } => {
                self.stored(write, version);
                Ok(())
            }
            Outcome::Conflict { current } => self.conflict(write, current, redo),
            Outcome::Found { value, version, .. } if matches!(write.change, Change::Look(_)) => {
                self.conflict(write, Some((value, version)), redo)
            }
            Outcome::Absent => match write.change {
                Change::Look(index) => Err(violation(&self.target, &self.target.indexes[index])),
                _ => self.conflict(write, None, redo),
            },
            Outcome::Found { .. }
            | Outcome::Stale { .. }
            | Outcome::Hinted
            | Outcome::Proven(_)
            | Outcome::Verified(_)
            | Outcome::Unverified(_) => Ok(()),
            Outcome::Unreachable => {
                if !matches!(write.change, Change::Look(_)) {
                    self.unsure.push(write.key);
                }
                Err(Error::Unreachable)
            }
            Outcome::Refused(refusal) => Err(denied(refusal, &self.target.name)),
        }
    }

    fn stored(&mut self, mut write: Write, version: Version) {
        let taken_back = matches!(write.change, Change::TakeBack(_));
        if let Some(entries) = &mut self.entries {
            if taken_back {
                entries.unwritten(&write.key);
            }
            entries.written(&write.places, core::mem::take(&mut write.old_places));
        }
        let unique = |(index, _): &Place| self.target.indexes.get(*index).is_some_and(|index| index.unique);
        let places: Vec<Place> = write.places.iter().filter(|place| unique(place)).cloned().collect();
        match write.then.take() {
            Some(mut then) => {
                if !taken_back {
                    then.moved = Some((write.key.clone(), version));
                    then.redone = write.redone;
                }
                match places.is_empty() {
                    true => self.queue.push_back(*then),
                    false => self.written.push_back(Written { row: write.key.clone(), places, then: Some(then) }),
                }
            }
            None if taken_back => {}
            None => {
                if !places.is_empty() {
                    self.written.push_back(Written { row: write.key.clone(), places, then: None });
                }
                self.affected += 1;
                self.shown.extend(write.shown.take().map(|row| (write.index, row)));
            }
        }
        if taken_back {
            self.undo.retain(|(key, _)| *key != write.key);
            self.wrote.retain(|wrote| !wrote.is_of(&write.key));
        } else if self.held {
            let to = write.moved.as_ref().map(|(to, _)| &to[..]);
            self.wrote.push(Wrote::of(&write.key, to, &write.change));
        }
        self.undo.extend(write.undo(version));
    }

    fn conflict(&mut self, mut write: Write, current: Option<(Vec<u8>, Version)>, redo: Redo<'_>) -> Result<(), Error> {
        if write.redone >= REDO_MAX || matches!(write.change, Change::TakeBack(_)) {
            return fail(SERIALIZATION, format!("a row of \"{}\" keeps changing", self.target.name));
        }
        if matches!(write.change, Change::Insert(_)) && write.then.is_some() {
            return Err(duplicate(&self.target, &write.key));
        }
        let mut again = redo(&write, current, None)?;
        if let Some(again) = &mut again {
            again.redone = write.redone + 1;
        }
        match (write.moved.take(), again) {
            // The row that moves was changed meanwhile: what moved is not it any more.
            (Some((key, version)), again) => self.queue.push_back(Write {
                then: again.map(Box::new),
                ..Write::new(key, Change::TakeBack(version), write.index, None)
            }),
            (None, Some(again)) => self.queue.push_back(again),
            (None, None) => {}
        }
        Ok(())
    }
}
