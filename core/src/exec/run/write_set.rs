//! The rows of a statement as they were and as they become, for who has to judge them together.

use super::write::{Change, Write};
use crate::{
    Error,
    data::{Row, Value, codec},
    exec::{
        change::{BEHIND, Target},
        fragment::decode_version,
    },
    map::LargeMap,
    sql::fault::{CORRUPTED, fail},
    store::{Action, Expect, Version},
};

/// A row before a statement and after it.
#[derive(Debug)]
pub(super) struct Final {
    pub old: Option<Row>,
    pub new: Option<Row>,
}

/// What was stored of a write.
#[derive(Debug)]
pub(super) struct Wrote {
    key: Vec<u8>,
    /// The row moved there.
    to: Option<Vec<u8>>,
    old: Option<Vec<u8>>,
    new: Option<Vec<u8>>,
}

impl Wrote {
    /// Of a write that is stored; `to` is where the row is that it was before it moved.
    pub fn of(key: &[u8], to: Option<&[u8]>, change: &Change) -> Wrote {
        let (old, new) = match change {
            Change::Insert(new) => (None, Some(new.clone())),
            Change::Replace(old, _, new) => (Some(old.clone()), Some(new.clone())),
            Change::Delete(old, _) => (Some(old.clone()), None),
            Change::TakeBack(_) | Change::Look(_) => (None, None),
        };
        Wrote { key: key.to_vec(), to: to.map(<[u8]>::to_vec), old, new }
    }

    /// Whether a row was there before.
    pub fn replaces(&self) -> bool {
        self.old.is_some()
    }

    /// Whether it is of the row of that key.
    pub fn is_of(&self, key: &[u8]) -> bool {
        self.key == key
    }
}

/// What takes back of a record, which somebody else has changed since, what was written of it.
pub(super) fn back(
    target: &Target,
    wrote: &[Wrote],
    key: &[u8],
    current: &[u8],
    version: Version,
) -> Result<Option<Action>, Error> {
    let expect = Expect::Version(version);
    match wrote.iter().rev().find(|wrote| wrote.is_of(key)) {
        Some(Wrote { old: None, new: Some(_), .. }) => Ok(Some(Action::Remove { expect })),
        Some(Wrote { old: Some(old), new: Some(new), .. }) => {
            let ((old, _), (new, _), (mut row, rest)) = (target.read(old)?, target.read(new)?, target.read(current)?);
            let before = row.clone();
            for ((value, old), new) in row.iter_mut().zip(old).zip(&new) {
                if old != *new && value == new {
                    *value = old;
                }
            }
            let value = codec::encode_row(&[&row[..], &rest].concat());
            Ok((row != before).then_some(Action::Put { value, expect, ttl_us: None }))
        }
        _ => Ok(None),
    }
}

/// A record before and after.
type Records<'a> = (Option<&'a Vec<u8>>, Option<&'a Vec<u8>>);

/// What became of the rows of a table by all that was stored, in its order, each with its key.
pub(super) fn finals<'a>(
    target: &Target,
    wrote: impl Iterator<Item = &'a Wrote>,
) -> Result<Vec<(Vec<u8>, Final)>, Error> {
    // By key of the row as it is now.
    let mut rows: LargeMap<&[u8], Records<'_>> = LargeMap::new();
    for Wrote { key, to, old, new } in wrote {
        match to.as_ref().and_then(|to| rows.get_mut(&to[..])) {
            Some((before, _)) => *before = old.as_ref(),
            None => match rows.get_mut(&key[..]) {
                Some((_, after)) => *after = new.as_ref(),
                None => drop(rows.insert(key, (old.as_ref(), new.as_ref()))),
            },
        }
    }
    let read = |record: Option<&Vec<u8>>| record.map(|it| Ok::<Row, Error>(target.read(it)?.0)).transpose();
    let change = |(key, (old, new)): (&[u8], _)| Ok((key.to_vec(), Final { old: read(old)?, new: read(new)? }));
    rows.into_iter().map(change).collect()
}

/// A row that is there and is to be changed.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub old: Row,
    /// What it is to be; `None`: gone.
    pub new: Option<Row>,
    /// What its record has beyond the slots known, encoded.
    rest: Vec<u8>,
    version: Version,
    /// The position of the statement's own write.
    pub own: Option<usize>,
    /// It is to be another one than the statement's own write makes of it.
    pub merged: bool,
}

/// With the key of the row.
type Keyed = (Vec<u8>, Planned);

impl Planned {
    /// A row that a write changes, with its key; or the row that it inserts.
    pub fn of(target: &Target, write: &Write, at: usize) -> Result<Result<Keyed, Row>, Error> {
        let (key, old, version, new) = match (&write.change, &write.then) {
            (Change::Replace(old, version, new), _) => (&write.key, old, version, Some(new)),
            (Change::Delete(old, version), _) => (&write.key, old, version, None),
            (Change::Insert(new), Some(then)) => match &then.change {
                Change::Delete(old, version) => (&then.key, old, version, Some(new)),
                _ => return fail(CORRUPTED, "a move to nowhere"),
            },
            (Change::Insert(new), None) => return Ok(Err(target.read(new)?.0)),
            (Change::TakeBack(_) | Change::Look(_), _) => return fail(CORRUPTED, "nothing is written yet"),
        };
        let (old, rest) = target.read(old)?;
        let rest = codec::encode_row(&rest).split_off(1);
        let new = new.map(|new| Ok::<Row, Error>(target.read(new)?.0)).transpose()?;
        Ok(Ok((key.clone(), Planned { old, new, rest, version: *version, own: Some(at), merged: false })))
    }

    /// A row that was found, with its key: it stands in slots, then key, version and rest.
    pub fn found(target: &Target, mut row: Row) -> Result<Keyed, Error> {
        let width = target.missing.len();
        let behind = row.split_off(width.min(row.len()));
        let [Value::Blob(key), version, Value::Blob(rest)] = &behind[..] else {
            return fail(CORRUPTED, "a found row has no key and version");
        };
        debug_assert_eq!(behind.len(), BEHIND);
        let (version, rest) = (decode_version(version)?, rest.clone());
        Ok((key.clone(), Planned { new: Some(row.clone()), old: row, rest, version, own: None, merged: false }))
    }

    /// Before and after.
    pub fn change(&self) -> Final {
        Final { old: Some(self.old.clone()), new: self.new.clone() }
    }

    /// How it is written.
    pub fn into_write(self, target: &Target, key: Vec<u8>, index: usize, shown: Option<Row>) -> Write {
        let record = |row: &Row| [&codec::encode_row(row)[..], &self.rest].concat();
        let old = record(&self.old);
        match &self.new {
            None => Write::new(key, Change::Delete(old, self.version), index, shown),
            Some(new) => Write::changed(target, key, (old, self.version), (new, record(new)), index, shown),
        }
    }
}
