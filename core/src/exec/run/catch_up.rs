//! Rows that a statement wrote while their table got an index: they get their entries.
//!
//! Who creates an index changes the table's entry in the catalog first and reads the rows then. A statement that was
//! planned before does not know the index; so when its rows are written (or taken back) it looks at the table's entry once
//! more. If there is an index that it did not know its rows may have been read as they were in between, and it does for
//! them what the creator does for all others. If it is referred to by tables that the statement did not know, it begins
//! anew.

use super::{entries::Entries, host::Host};
use crate::{
    Error,
    exec::change::Target,
    sql::{
        catalog::{TableDescriptor, entry},
        fault::{STALE_PLAN, UNIQUE_VIOLATION, error, fail},
        index::Index,
    },
    store::{Action, KeyOp, Outcome},
};

/// Rows that are read at once.
const READ_OPS: usize = 1_000;

/// Whether the rows have the entries of indexes that the statement did not know.
pub(super) enum Caught {
    /// Not asked yet.
    Open,
    /// Under way.
    Going(Box<CatchUp>),
    /// They have.
    Up,
}

/// See the module's documentation.
pub(super) struct CatchUp {
    /// The table as the statement knew it; then with the new indexes alone.
    target: Target,
    keys: Vec<Vec<u8>>,
    /// The rows were taken back: an index that was not ready may have been filled with what they were in between.
    taken_back: bool,
    /// Some of the rows were there before, as others may refer to them.
    changed: bool,
    /// The need that is awaited, unless entries are under way.
    need: u32,
    /// The keys that are being read; none: the catalog is.
    reading: Vec<Vec<u8>>,
    entries: Option<Entries>,
}

/// What came of it, once it is over.
type Over = Option<Result<(), Error>>;

impl CatchUp {
    /// Begins to look, for rows of these keys.
    pub fn begin(host: &mut Host, target: &Target, keys: Vec<Vec<u8>>, taken_back: bool, changed: bool) -> CatchUp {
        let need = host.ops(vec![entry(&target.name, host.env.locality_bits, Action::Get)]);
        CatchUp { target: target.clone(), keys, taken_back, changed, need, reading: Vec::new(), entries: None }
    }

    /// Whether a need is one of its own.
    pub fn awaits(&self, need: u32) -> bool {
        self.need == need || self.entries.as_ref().is_some_and(|entries| entries.awaits(need))
    }

    /// Takes in what came.
    pub fn on_ops(&mut self, host: &mut Host, need: u32, mut outcomes: Vec<Outcome>) -> Over {
        if let Some(entries) = self.entries.as_mut().filter(|entries| entries.awaits(need)) {
            return if entries.on_ops(host, need, outcomes) { self.claimed(host) } else { None };
        }
        self.need = 0;
        if self.reading.is_empty() {
            match outcomes.pop() {
                Some(Outcome::Found { version, .. }) if Some(version) == self.target.version && !self.unready() => {
                    Some(Ok(()))
                }
                Some(Outcome::Found { value, .. }) => match self.look(&value) {
                    Ok(true) => self.read(host),
                    Ok(false) => Some(Ok(())),
                    Err(error) => Some(Err(error)),
                },
                Some(Outcome::Refused(refusal)) => Some(Err(refusal.into())),
                Some(Outcome::Absent) => Some(Ok(())),
                _ => Some(Err(Error::Unreachable)),
            }
        } else {
            self.claim(host, outcomes)
        }
    }

    /// Whether an index that the statement knew may have been filled meanwhile.
    fn unready(&self) -> bool {
        self.taken_back && self.target.indexes.iter().any(|index| !index.ready)
    }

    /// Whether there are indexes that the statement did not know.
    fn look(&mut self, value: &[u8]) -> Result<bool, Error> {
        let table = TableDescriptor::decode(value)?;
        let mut details = table.details()?;
        let taken_back = self.taken_back;
        let others = details.dependents != self.target.dependents && table.namespace == self.target.namespace;
        if others && self.changed && !taken_back {
            return fail(STALE_PLAN, format!("others refer to \"{}\" by now", self.target.name));
        }
        let known = |index: &Index| {
            let mut known = self.target.indexes.iter();
            known.any(|known| known.namespace == index.namespace && (known.ready || !taken_back))
        };
        details.indexes.retain(|index| !known(index));
        self.target.missing = details.missing_row();
        self.target.indexes = details.indexes;
        Ok(table.namespace == self.target.namespace && !self.target.indexes.is_empty())
    }

    fn read(&mut self, host: &mut Host) -> Over {
        self.reading = self.keys.split_off(self.keys.len().saturating_sub(READ_OPS));
        if self.reading.is_empty() {
            return Some(Ok(()));
        }
        let get = |key: &Vec<u8>| KeyOp {
            namespace: self.target.namespace.clone(),
            locality_bits: self.target.locality_bits,
            key: key.clone(),
            action: Action::Get,
            proof: None,
        };
        self.need = host.ops(self.reading.iter().map(get).collect());
        None
    }

    fn claim(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Over {
        let mut claims = Vec::new();
        for (key, outcome) in core::mem::take(&mut self.reading).into_iter().zip(outcomes) {
            let row = match outcome {
                Outcome::Found { value, .. } => self.target.read(&value).map(|(row, _)| row),
                Outcome::Absent => continue,
                Outcome::Refused(refusal) => Err(refusal.into()),
                _ => Err(Error::Unreachable),
            };
            let row = match row {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            for (number, index) in self.target.indexes.iter().enumerate() {
                let place = (number, index.key(&row, &key));
                claims.push(Entries::claim(place, key.clone(), None, claims.len()));
            }
        }
        let entries = self.entries.insert(Entries::building(&self.target));
        entries.begin(host, claims);
        if entries.idle() { self.claimed(host) } else { None }
    }

    fn claimed(&mut self, host: &mut Host) -> Over {
        match self.entries.take().map(|mut entries| entries.outcome()) {
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(taken)) if !taken.is_empty() => {
                let message = format!("duplicate key value violates a new unique index of \"{}\"", self.target.name);
                Some(Err(error(UNIQUE_VIOLATION, message)))
            }
            _ => self.read(host),
        }
    }
}
