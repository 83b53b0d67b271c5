//! Conditional writes of one statement, all or (as far as peers can be reached) nothing.
//!
//! ```text
//!   changes ──▶ batches of conditional puts and removes, few at once ──▶ all stored: done
//!                 │ a row was changed by somebody else: the job says what becomes of it now
//!                 └ a violation, or a key nobody can be reached for: what was stored is taken back, then the error
//! ```
//!
//! Every write is conditional on the version it was computed from, so is every undo: neither ever overwrites what
//! somebody else wrote in between. There are no transactions: others may see rows of a statement before its end.

use std::collections::VecDeque;

use super::host::Host;
use crate::{
    Error,
    map::Map,
    sql::fault::{SERIALIZATION, UNIQUE_VIOLATION, fail},
    store::{Action, Expect, KeyOp, Outcome, Version},
};

/// Operations in one batch.
const BATCH_OPS: usize = 1_000;
/// Bytes of values in one batch, unless a single one is larger.
const BATCH_BYTES: usize = 256 << 10;
/// Batches under way at once.
const IN_FLIGHT: usize = 2;
/// How often one row is computed again because somebody else changed it.
const REDO_MAX: u8 = 16;

/// A change of one record.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A new record.
    Insert(Vec<u8>),
    /// Another value. Holds the old one, its version, and the new one.
    Replace(Vec<u8>, Version, Vec<u8>),
    /// Gone. Holds the old value and its version.
    Delete(Vec<u8>, Version),
}

/// A change on its way.
#[derive(Clone, Debug)]
pub(super) struct Write {
    pub key: Vec<u8>,
    pub change: Change,
    /// Follows when this one is stored: the other half of a row that moves to another key.
    pub then: Option<Box<Write>>,
    pub redone: u8,
}

impl Write {
    pub fn new(key: Vec<u8>, change: Change) -> Write {
        Write { key, change, then: None, redone: 0 }
    }

    fn action(&self) -> Action {
        let put = |value: &Vec<u8>, expect| Action::Put { value: value.clone(), expect, ttl_us: None };
        match &self.change {
            Change::Insert(value) => put(value, Expect::Absent),
            Change::Replace(_, version, value) => put(value, Expect::Version(*version)),
            Change::Delete(_, version) => Action::Remove { expect: Expect::Version(*version) },
        }
    }

    fn bytes(&self) -> usize {
        match &self.change {
            Change::Insert(value) | Change::Replace(_, _, value) => value.len(),
            Change::Delete(..) => 0,
        }
    }

    /// What takes it back after it was stored as `version`.
    fn undo(self, version: Version) -> (Vec<u8>, Action) {
        let put = |value, expect| Action::Put { value, expect, ttl_us: None };
        let action = match self.change {
            Change::Insert(_) => Action::Remove { expect: Expect::Version(version) },
            Change::Replace(old, ..) => put(old, Expect::Version(version)),
            Change::Delete(old, _) => put(old, Expect::Absent),
        };
        (self.key, action)
    }
}

/// What becomes of a row that somebody else has changed; `None` when it is no longer concerned.
pub(super) type Redo<'a> = &'a dyn Fn(&[u8], Vec<u8>, Version) -> Result<Option<Write>, Error>;

/// See the module's documentation.
pub(super) struct Writer {
    table: String,
    namespace: String,
    locality_bits: u8,
    queue: VecDeque<Write>,
    in_flight: Map<u32, Vec<Write>>,
    undo: Vec<(Vec<u8>, Action)>,
    undoing: Map<u32, usize>,
    failed: Option<Error>,
    /// Rows written.
    pub affected: u64,
}

impl Writer {
    pub fn new(table: &crate::sql::catalog::TableDescriptor) -> Writer {
        Writer {
            table: table.name.clone(),
            namespace: table.namespace.clone(),
            locality_bits: table.locality_bits,
            queue: VecDeque::new(),
            in_flight: Map::new(),
            undo: Vec::new(),
            undoing: Map::new(),
            failed: None,
            affected: 0,
        }
    }

    /// One more change to make.
    pub fn push(&mut self, write: Write) {
        self.queue.push_back(write);
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

    fn take_back(&mut self, host: &mut Host) -> Result<bool, Error> {
        if !self.in_flight.is_empty() {
            return Ok(false);
        }
        while self.undoing.len() < IN_FLIGHT && !self.undo.is_empty() {
            let batch = self.undo.split_off(self.undo.len().saturating_sub(BATCH_OPS / 4));
            let ops: Vec<KeyOp> = batch.into_iter().map(|(key, action)| self.op(key, action)).collect();
            let count = ops.len();
            self.undoing.insert(host.ops(ops), count);
        }
        match self.failed.take() {
            Some(error) if self.undoing.is_empty() => Err(error),
            error => {
                self.failed = error;
                Ok(false)
            }
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
        if self.undoing.remove(&need).is_none() {
            for (write, outcome) in self.in_flight.remove(&need).unwrap_or_default().into_iter().zip(outcomes) {
                if let Err(error) = self.on_outcome(write, outcome, redo) {
                    self.failed.get_or_insert(error);
                }
            }
        }
        self.advance(host)
    }

    fn on_outcome(&mut self, mut write: Write, outcome: Outcome, redo: Redo<'_>) -> Result<(), Error> {
        match outcome {
            Outcome::Stored { version } => {
                match write.then.take() {
                    Some(then) => self.queue.push_back(*then),
                    None => self.affected += 1,
                }
                self.undo.push(write.undo(version));
                Ok(())
            }
            Outcome::Conflict { current } => match (&write.change, current) {
                (Change::Insert(_), _) => {
                    let message = format!("duplicate key value violates the primary key of \"{}\"", self.table);
                    fail(UNIQUE_VIOLATION, message)
                }
                // Somebody else removed it: there is nothing left to do.
                (_, None) => Ok(()),
                (_, Some((value, version))) => {
                    if write.redone >= REDO_MAX {
                        return fail(SERIALIZATION, format!("a row of \"{}\" keeps changing", self.table));
                    }
                    if let Some(again) = redo(&write.key, value, version)? {
                        self.queue.push_back(Write { redone: write.redone + 1, ..again });
                    }
                    Ok(())
                }
            },
            // Removing what is absent has no effect.
            Outcome::Absent | Outcome::Found { .. } | Outcome::Stale { .. } | Outcome::Hinted => Ok(()),
            Outcome::Unreachable => Err(Error::Unreachable),
            Outcome::Refused(refusal) => Err(refusal.into()),
        }
    }
}
