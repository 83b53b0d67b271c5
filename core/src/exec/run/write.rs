//! Changes of records on their way: what each does, which index entries it needs, what takes it back.

use super::entries::{Claim, Entries, Old, Place};
use crate::{
    Error,
    data::{Row, Value, codec},
    exec::change::Target,
    sql::index::Index,
    store::{Action, Expect, Version},
};

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
    /// Whether there is a record of its key, before the row of it is refused for the index of that position.
    Look(usize),
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
    pub moved: Option<(Vec<u8>, Version)>,
    pub redone: u8,
    /// The index entries that it needs.
    pub places: Vec<Place>,
    /// The index entries of the row as it was.
    pub old_places: Vec<Old>,
}

impl Write {
    pub fn new(key: Vec<u8>, change: Change, index: usize, shown: Option<Row>) -> Write {
        let (places, old_places) = (Vec::new(), Vec::new());
        Write { key, change, then: None, index, shown, moved: None, redone: 0, places, old_places }
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

    pub fn action(&self) -> Action {
        let put = |value: &Vec<u8>, expect| Action::Put { value: value.clone(), expect, ttl_us: None };
        match &self.change {
            Change::Insert(value) => put(value, Expect::Absent),
            Change::Replace(_, version, value) => put(value, Expect::Version(*version)),
            Change::Delete(_, version) | Change::TakeBack(version) => {
                Action::Remove { expect: Expect::Version(*version) }
            }
            Change::Look(_) => Action::Get,
        }
    }

    /// The index entries that it needs, to be claimed; the new row gets their stamp.
    pub fn claims(&mut self, target: &Target, stamp: u64, at: usize) -> Result<Vec<Claim>, Error> {
        (self.places, self.old_places) = (Vec::new(), Vec::new());
        let (old, new) = match &mut self.change {
            Change::Insert(new) => (None, Some(new)),
            Change::Replace(old, _, new) => (Some(&*old), Some(new)),
            Change::Delete(old, _) => (Some(&*old), None),
            Change::TakeBack(_) | Change::Look(_) => (None, None),
        };
        let old = old.map(|old| target.read(old)).transpose()?.map(|(row, _)| row);
        let mut row = new.as_ref().map(|new| target.read(new)).transpose()?;
        let (mut claims, mut stamped) = (Vec::new(), false);
        for (number, index) in target.indexes.iter().enumerate() {
            let before = old.as_ref().map(|old| index.key(old, &self.key));
            let key = row.as_ref().map(|(row, _)| index.key(row, &self.key));
            if before == key {
                // The row keeps the stamp of its entry.
                if let (Some((row, _)), Some(old)) = (&mut row, &old) {
                    let (at, kept) = (index.stamp as usize, old[index.stamp as usize].clone());
                    stamped |= row[at] != kept;
                    row[at] = kept;
                }
                continue;
            }
            if let (Some(key), Some((row, _))) = (key, &mut row) {
                row[index.stamp as usize] = Value::Integer(stamp as i64);
                let also = self.then.as_ref().filter(|_| index.unique).map(|then| then.key.clone());
                stamped = true;
                self.places.push((number, key.clone()));
                claims.push(Entries::claim((number, key), self.key.clone(), also, at));
            }
            if let (Some(before), Some(old)) = (before, &old) {
                let (place, stamp) = ((number, before), index.stamp_of(old));
                self.old_places.push(Old { place, stamp, row: self.key.clone() });
            }
        }
        if let (Some(new), Some((row, rest)), true) = (new, row, stamped) {
            *new = codec::encode_row(&[row, rest].concat());
        }
        Ok(claims)
    }

    pub fn bytes(&self) -> usize {
        match &self.change {
            Change::Insert(value) | Change::Replace(_, _, value) => value.len(),
            Change::Delete(..) | Change::TakeBack(_) | Change::Look(_) => 0,
        }
    }

    /// What takes it back after it was stored as `version`.
    pub fn undo(self, version: Version) -> Option<(Vec<u8>, Action)> {
        let put = |value, expect| Action::Put { value, expect, ttl_us: None };
        let action = match self.change {
            Change::Insert(_) => Action::Remove { expect: Expect::Version(version) },
            Change::Replace(old, ..) => put(old, Expect::Version(version)),
            Change::Delete(old, _) => put(old, Expect::Absent),
            Change::TakeBack(_) | Change::Look(_) => return None,
        };
        Some((self.key, action))
    }
}

/// What becomes of a write whose record is not as expected, but is this now; `None` when nothing is left to do.
///
/// With an index it is a row of another key, that of the write, which has the same values there; `None` then: some row
/// that is about to be written has.
pub(super) type Redo<'a> =
    &'a dyn Fn(&Write, Option<(Vec<u8>, Version)>, Option<&Index>) -> Result<Option<Write>, Error>;

/// A row that is written in unique indexes.
pub(super) struct Written {
    /// Its key.
    pub row: Vec<u8>,
    /// Its entries there.
    pub places: Vec<Place>,
    /// What is to be written when they are confirmed: the other half of a row that moves.
    pub then: Option<Box<Write>>,
}
