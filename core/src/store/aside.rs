//! Losers of conflicts that are set aside until they are kept elsewhere.
//!
//! A key has one place in a store. A peer that holds it for a history that is given up, and takes up the preferred one
//! before it has given its records away, would write the one over the other. So the loser is set aside, on the disk in
//! the same step. So is what is older than any tombstone: the preferred history may have removed it and forgotten that,
//! so it may neither come back nor go without a trace.

use super::{Record, Version, disk};
use crate::map::Map;

/// Where losers of conflicts are kept: system records, which never conflict.
pub const CONFLICTS: &str = "pontoon_conflicts";
/// Losers set aside at most; until there is room nothing is written over.
const ASIDE_MAX: usize = 4_096;

/// What names a loser, on the disk and in [`CONFLICTS`].
pub fn name(loser: &Record) -> Vec<u8> {
    let name: (&str, &[u8], &Version) = (&loser.namespace, &loser.key, &loser.version);
    postcard::to_allocvec(&name).unwrap_or_default()
}

/// See the module.
#[derive(Default)]
pub struct Aside(Map<Vec<u8>, Record>);

impl Aside {
    /// How many more there is room for.
    pub fn room(&self) -> usize {
        ASIDE_MAX.saturating_sub(self.0.len())
    }

    /// Sets a loser aside. Gives what is to be written.
    pub fn put(&mut self, loser: Record) -> (Vec<u8>, Option<Vec<u8>>) {
        let name = name(&loser);
        let key = disk::aside_key(&name);
        let value = disk::seal(&key, &loser);
        self.0.insert(name, loser);
        (key, Some(value))
    }

    /// A loser is kept elsewhere. Gives what is to be written.
    pub fn remove(&mut self, loser: &Record) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let name = name(loser);
        self.0.remove(&name).map(|_| (disk::aside_key(&name), None))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }
}
