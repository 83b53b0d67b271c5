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

use std::collections::VecDeque;

use super::host::Host;
use crate::{
    Error,
    data::{Column, QueryResult, Row, codec},
    exec::change::Target,
    map::{Map, Set},
    sql::fault::{SERIALIZATION, STALE_PLAN, UNIQUE_VIOLATION, error, fail},
    store::{Action, Expect, KeyOp, Outcome, Version},
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
/// Keys that an error names.
const NAMED_MAX: usize = 10;

/// A change of one record.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A new record.
    Insert(Vec<u8>),
    /// Another value. Holds the old one, its version, and the new one.
    Replace(Vec<u8>, Version, Vec<u8>),
    /// Gone. Holds the old value and its version.
    Delete(Vec<u8>, Version),
    /// What this statement inserted at that version is gone again, without a trace.
    TakeBack(Version),
}

/// A change on its way.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub key: Vec<u8>,
    pub change: Change,
    /// Follows when this one is stored: the other half of a row that moves to another key.
    pub then: Option<Box<Write>>,
    /// Which row of the statement it is, in the order of what is shown.
    pub index: usize,
    /// What is shown of the row when it is written.
    pub shown: Option<Row>,
    /// Where the first half of the move is, and its version.
    moved: Option<(Vec<u8>, Version)>,
    redone: u8,
}

impl Write {
    pub fn new(key: Vec<u8>, change: Change, index: usize, shown: Option<Row>) -> Write {
        Write { key, change, then: None, index, shown, moved: None, redone: 0 }
    }

    /// A row whose value changes from `old` to `new`, and with it perhaps its key: then it moves.
    pub fn changed(
        target: &Target,
        key: Vec<u8>,
        old: (Vec<u8>, Version),
        new: (&Row, Vec<u8>),
        index: usize,
        shown: Option<Row>,
    ) -> Write {
        let ((old, version), (row, value)) = (old, new);
        match target.key(row) {
            Some(moved) if moved != key => Write {
                then: Some(Box::new(Write::new(key, Change::Delete(old, version), index, shown))),
                ..Write::new(moved, Change::Insert(value), index, None)
            },
            _ => Write::new(key, Change::Replace(old, version, value), index, shown),
        }
    }

    fn action(&self) -> Action {
        let put = |value: &Vec<u8>, expect| Action::Put { value: value.clone(), expect, ttl_us: None };
        match &self.change {
            Change::Insert(value) => put(value, Expect::Absent),
            Change::Replace(_, version, value) => put(value, Expect::Version(*version)),
            Change::Delete(_, version) | Change::TakeBack(version) => {
                Action::Remove { expect: Expect::Version(*version) }
            }
        }
    }

    fn bytes(&self) -> usize {
        match &self.change {
            Change::Insert(value) | Change::Replace(_, _, value) => value.len(),
            Change::Delete(..) | Change::TakeBack(_) => 0,
        }
    }

    /// What takes it back after it was stored as `version`.
    fn undo(self, version: Version) -> Option<(Vec<u8>, Action)> {
        let put = |value, expect| Action::Put { value, expect, ttl_us: None };
        let action = match self.change {
            Change::Insert(_) => Action::Remove { expect: Expect::Version(version) },
            Change::Replace(old, ..) => put(old, Expect::Version(version)),
            Change::Delete(old, _) => put(old, Expect::Absent),
            Change::TakeBack(_) => return None,
        };
        Some((self.key, action))
    }
}

/// What becomes of a write whose record is not as expected, but is this now; `None` when nothing is left to do.
pub(super) type Redo<'a> = &'a dyn Fn(&Write, Option<(Vec<u8>, Version)>) -> Result<Option<Write>, Error>;

/// See the module's documentation.
pub(super) struct Writer {
    table: String,
    namespace: String,
    locality_bits: u8,
    /// Whether keys are made of values.
    keyed: bool,
    queue: VecDeque<Write>,
    in_flight: Map<u32, Vec<Write>>,
    undo: Vec<(Vec<u8>, Action)>,
    undoing: Option<(u32, Vec<Vec<u8>>)>,
    /// Keys of rows that could not be taken back.
    standing: Vec<Vec<u8>>,
    /// Keys whose owner was out of reach when they were written: they may stand.
    unsure: Vec<Vec<u8>>,
    failed: Option<Error>,
    /// Rows written.
    affected: u64,
    shown: Vec<(usize, Row)>,
}

impl Writer {
    pub fn new(target: &Target) -> Writer {
        Writer {
            table: target.name.clone(),
            namespace: target.namespace.clone(),
            locality_bits: target.locality_bits,
            keyed: !target.key.is_empty(),
            queue: VecDeque::new(),
            in_flight: Map::new(),
            undo: Vec::new(),
            undoing: None,
            standing: Vec::new(),
            unsure: Vec::new(),
            failed: None,
            affected: 0,
            shown: Vec::new(),
        }
    }

    /// One more change to make.
    pub fn push(&mut self, write: Write) {
        self.queue.push_back(write);
    }

    /// The result of the statement, whose rows are shown under these columns.
    pub fn result(&mut self, host: &Host, columns: &[Column]) -> QueryResult {
        let mut shown = core::mem::take(&mut self.shown);
        shown.sort_by_key(|(index, _)| *index);
        let rows = shown.into_iter().map(|(_, row)| row).collect();
        QueryResult { columns: columns.to_vec(), rows, ..host.done(self.affected) }
    }

    fn op(&self, key: Vec<u8>, action: Action) -> KeyOp {
        KeyOp { namespace: self.namespace.clone(), locality_bits: self.locality_bits, key, action }
    }

    /// Asks for what comes next; `true` when all is written, an error when all that can be taken back is.
    pub fn advance(&mut self, host: &mut Host) -> Result<bool, Error> {
        if self.failed.is_some() {
            return self.take_back(host);
        }
        while self.in_flight.len() < IN_FLIGHT && !self.queue.is_empty() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            while let Some(write) = self.queue.front() {
                bytes += write.bytes();
                if batch.len() >= BATCH_OPS || !batch.is_empty() && bytes > BATCH_BYTES {
                    break;
                }
                batch.extend(self.queue.pop_front());
            }
            let ops = batch.iter().map(|write| self.op(write.key.clone(), write.action())).collect();
            self.in_flight.insert(host.ops(ops), batch);
        }
        Ok(self.in_flight.is_empty())
    }

    /// The last writes first, and never two of one key at once.
    fn take_back(&mut self, host: &mut Host) -> Result<bool, Error> {
        if !self.in_flight.is_empty() || self.undoing.is_some() {
            return Ok(false);
        }
        let (mut keys, mut ops) = (Set::new(), Vec::new());
        while ops.len() < UNDO_OPS && self.undo.last().is_some_and(|(key, _)| keys.insert(key.clone())) {
            if let Some((key, action)) = self.undo.pop() {
                ops.push(self.op(key, action));
            }
        }
        if !ops.is_empty() {
            let keys = ops.iter().map(|op| op.key.clone()).collect();
            self.undoing = Some((host.ops(ops), keys));
            return Ok(false);
        }
        match self.failed.take() {
            Some(failed) => Err(self.standing(failed)),
            None => Ok(true),
        }
    }

    /// The error, and which rows stand in spite of it.
    fn standing(&self, failed: Error) -> Error {
        let mut message = failed.to_string();
        for (keys, what) in [(&self.unsure, "may be written"), (&self.standing, "could not be taken back and stand")] {
            if !keys.is_empty() {
                let named: Vec<String> = keys.iter().take(NAMED_MAX).map(|key| self.named(key)).collect();
                let more = if keys.len() > NAMED_MAX { ", .." } else { "" };
                let (count, table) = (keys.len(), &self.table);
                message.push_str(&format!("; {count} row(s) of \"{table}\" {what}: {}{more}", named.join(", ")));
            }
        }
        if self.unsure.is_empty() && self.standing.is_empty() {
            return failed;
        }
        // What stands would be done twice by a statement that begins anew.
        let code = if failed.code() == STALE_PLAN { SERIALIZATION } else { failed.code() };
        error(code, message)
    }

    /// A key for people.
    fn named(&self, key: &[u8]) -> String {
        match codec::decode_key(key, NAMED_MAX) {
            Ok(values) if self.keyed => {
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                format!("({})", values.join(", "))
            }
            _ => crate::data::Value::Blob(key.to_vec()).to_string(),
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
        if let Some((_, keys)) = self.undoing.take_if(|(undoing, _)| *undoing == need) {
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
            Outcome::Absent => self.conflict(write, None, redo),
            Outcome::Found { .. } | Outcome::Stale { .. } | Outcome::Hinted => Ok(()),
            Outcome::Unreachable => {
                self.unsure.push(write.key);
                Err(Error::Unreachable)
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
        }
    }

    fn stored(&mut self, mut write: Write, version: Version) {
        let taken_back = matches!(write.change, Change::TakeBack(_));
        match write.then.take() {
            Some(mut then) => {
                if !taken_back {
                    then.moved = Some((write.key.clone(), version));
                    then.redone = write.redone;
                }
                self.queue.push_back(*then);
            }
            None if taken_back => {}
            None => {
                self.affected += 1;
                self.shown.extend(write.shown.take().map(|row| (write.index, row)));
            }
        }
        if taken_back {
            self.undo.retain(|(key, _)| *key != write.key);
        }
        self.undo.extend(write.undo(version));
    }

    fn conflict(&mut self, mut write: Write, current: Option<(Vec<u8>, Version)>, redo: Redo<'_>) -> Result<(), Error> {
        if write.redone >= REDO_MAX || matches!(write.change, Change::TakeBack(_)) {
            return fail(SERIALIZATION, format!("a row of \"{}\" keeps changing", self.table));
        }
        if matches!(write.change, Change::Insert(_)) && write.then.is_some() {
            return Err(self.duplicate(&write.key));
        }
        let mut again = redo(&write, current)?;
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

    /// The error of a key that is there already.
    fn duplicate(&self, key: &[u8]) -> Error {
        let message = format!("duplicate key value {} violates the primary key of \"{}\"", self.named(key), self.table);
        error(UNIQUE_VIOLATION, message)
    }
}

/// The error of a key that is there already.
pub(super) fn duplicate(target: &Target, key: &[u8]) -> Error {
    Writer::new(target).duplicate(key)
}
