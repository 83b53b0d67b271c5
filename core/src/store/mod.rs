//! Records and the disk as an effect.
//!
//! The index of everything this node holds lies in memory; [`Store::put`] and its like give what is to be written,
//! and whoever calls them hands that to the driver's disk and acknowledges only when the disk has answered.
//! Invariants: a record's id is computed once; the digest of every tracked fragment is that of the records in it.

mod aside;
pub mod digest;
pub mod disk;
mod key;
pub mod record;

use std::ops::Bound;

pub use aside::{CONFLICTS, name as conflict_name};
pub use digest::Digest;
pub use record::{Action, Expect, KeyOp, Outcome, Record, Refusal, Verified, Version};

use self::{aside::Aside, key::Key};
use crate::{
    group::{
        Name,
        message::{Cursor, Page},
    },
    id::{Id, Region},
    map::{LargeMap, Map, Set},
    trust::Guard,
};

/// What a driver writes to its disk in one atomic step: `None` deletes the key.
pub type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Lapsed soft state stays so long beyond its life, so that every copy has learnt of its last version.
const LAPSED_KEEP_US: u64 = 60_000_000;

struct Entry {
    id: Id,
    record: Record,
    /// While the record is not acknowledged yet: the last one that is.
    prior: Option<Option<Box<Record>>>,
}

impl Entry {
    /// The newest record that is acknowledged, as far as this node knows.
    fn acknowledged(&self) -> Option<&Record> {
        match &self.prior {
            Some(prior) => prior.as_deref(),
            None => Some(&self.record),
        }
    }
}

/// The records of a namespace.
#[derive(Default)]
struct Space {
    entries: LargeMap<Key, Box<Entry>>,
    /// The number of the last change.
    change: u64,
    /// Records that lapse.
    lapsing: usize,
}

/// All records that this node holds.
#[derive(Default)]
pub struct Store {
    spaces: Map<String, Space>,
    /// How many changes there were.
    changes: u64,
    /// How many records are not acknowledged yet.
    uncommitted: usize,
    totals: Totals,
    aside: Aside,
    /// The hybrid logical clock: the highest wall time of any version seen or given.
    clock_us: u64,
    damaged: u64,
}

/// What all records held come to.
#[derive(Default)]
struct Totals {
    tracked: Map<Name, Digest>,
    /// When records may be forgotten.
    lapsing: LargeMap<(u64, Cursor), ()>,
    tombstone_us: u64,
    records: usize,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, id: &Id, record: &Record) {
        for (_, digest) in self.tracked.iter_mut().filter(|(name, _)| name.region.contains(id)) {
            digest.add(id, &record.version);
        }
        self.records += 1;
        self.bytes += record.bytes() as u64;
        if let Some(due) = due(record, self.tombstone_us) {
            self.lapsing.insert((due, (record.namespace.clone(), record.key.clone())), ());
        }
    }

    fn remove(&mut self, id: &Id, record: &Record) {
        for (_, digest) in self.tracked.iter_mut().filter(|(name, _)| name.region.contains(id)) {
            digest.remove(id, &record.version);
        }
        self.records -= 1;
        self.bytes -= record.bytes() as u64;
        if let Some(due) = due(record, self.tombstone_us) {
            self.lapsing.remove(&(due, (record.namespace.clone(), record.key.clone())));
        }
    }
}

impl Store {
    /// An empty store.
    pub fn new(tombstone_us: u64) -> Store {
        Store { totals: Totals { tombstone_us, ..Totals::default() }, ..Store::default() }
    }

    /// Takes in one value of the disk; a damaged one is counted and left out.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) {
        match disk::open::<Record>(key, value) {
            Some(record) if key.first() == Some(&disk::ASIDE) => drop(self.aside.put(record)),
            Some(record) => {
                self.clock_us = self.clock_us.max(record.version.wall_us);
                self.put(record);
            }
            None => self.damaged += 1,
        }
    }

    /// Values of the disk that were not what was written.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Records held, tombstones included.
    pub fn len(&self) -> usize {
        self.totals.records
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.totals.records == 0
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// The reading of the hybrid logical clock.
    pub fn clock_us(&self) -> u64 {
        self.clock_us
    }

    /// Brings the clock up to the wall clock; gives its reading.
    pub fn advance(&mut self, wall_us: u64) -> u64 {
        self.clock_us = self.clock_us.max(wall_us);
        self.clock_us
    }

    /// The newest record of a key, acknowledged or not.
    pub fn get(&self, namespace: &str, key: &[u8]) -> Option<&Record> {
        self.entry(namespace, key).map(|entry| &entry.record)
    }

    fn entry(&self, namespace: &str, key: &[u8]) -> Option<&Entry> {
        self.spaces.get(namespace)?.entries.get(key).map(|entry| &**entry)
    }

    /// The newest record of a key that is acknowledged, as far as this node knows.
    pub fn acknowledged(&self, namespace: &str, key: &[u8]) -> Option<&Record> {
        self.entry(namespace, key)?.acknowledged()
    }

    /// A version above `above` and everything seen (Kulkarni et al., *Logical physical clocks*, OPODIS 2014).
    pub fn next_version(&mut self, wall_us: u64, author: Id, tag: u64, above: Option<Version>) -> Version {
        let floor = self.clock_us.max(above.map_or(0, |version| version.wall_us));
        self.clock_us = wall_us.max(floor.saturating_add(1));
        Version { wall_us: self.clock_us, counter: tag, author }
    }

    /// Notes a version of somebody else, unless it lies beyond `limit_us`.
    pub fn observe(&mut self, version: &Version, limit_us: u64) {
        if version.wall_us <= limit_us {
            self.clock_us = self.clock_us.max(version.wall_us);
        }
    }

    /// Holds `record`, whatever was held of its key. Gives what is to be written.
    pub fn put(&mut self, record: Record) -> (Vec<u8>, Option<Vec<u8>>) {
        self.put_at(record.id(), record)
    }

    /// The same of a record whose id is known.
    pub fn put_at(&mut self, id: Id, record: Record) -> (Vec<u8>, Option<Vec<u8>>) {
        self.hold(id, record, false)
    }

    /// The same of a record that is not acknowledged before [`Store::commit`]: until then readers get what was there.
    pub fn put_uncommitted(&mut self, id: Id, record: Record) -> (Vec<u8>, Option<Vec<u8>>) {
        self.hold(id, record, true)
    }

    fn hold(&mut self, id: Id, record: Record, uncommitted: bool) -> (Vec<u8>, Option<Vec<u8>>) {
        let disk_key = disk::record_key(&record.namespace, &record.key);
        let value = disk::seal(&disk_key, &record);
        self.changes += 1;
        let space = match self.spaces.get_mut(&record.namespace) {
            Some(space) => space,
            None => self.spaces.entry(record.namespace.clone()).or_default(),
        };
        space.change = self.changes;
        space.lapsing += usize::from(record.expiry_us.is_some());
        match space.entries.get_mut(&record.key[..]) {
            Some(entry) => {
                self.totals.remove(&entry.id, &entry.record);
                self.totals.add(&id, &record);
                entry.id = id;
                let old = core::mem::replace(&mut entry.record, record);
                space.lapsing -= usize::from(old.expiry_us.is_some());
                if uncommitted && entry.prior.is_none() {
                    self.uncommitted += 1;
                    entry.prior = Some(Some(Box::new(old)));
                }
            }
            None => {
                self.totals.add(&id, &record);
                self.uncommitted += usize::from(uncommitted);
                let prior = uncommitted.then_some(None);
                space.entries.insert(Key::from(&record.key[..]), Box::new(Entry { id, record, prior }));
            }
        }
        (disk_key, Some(value))
    }

    /// Holds `record` if it is newer than what is held of its key. Gives what is to be written, if anything.
    pub fn merge(&mut self, record: Record, limit_us: u64) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        self.observe(&record.version, limit_us);
        match self.get(&record.namespace, &record.key) {
            Some(held) if held.version >= record.version => None,
            Some(held) if !Guard::gives_way(held, &record) => None,
            _ => Some(self.put(record)),
        }
    }

    /// Sets the losers aside where one of `records` and what is held of its key are of two histories. Gives what is to be
    /// written; `None`: there is no room, so nothing may be written over.
    pub fn set_aside<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Option<Batch> {
        let mut batch = Batch::new();
        for record in records {
            let held = self.get(&record.namespace, &record.key).filter(|held| held.conflicts(record));
            let Some(held) = held else { continue };
            let loser = if held.version > record.version { record } else { held }.clone();
            if self.aside.room() == 0 {
                return None;
            }
            batch.push(self.aside.put(loser));
        }
        Some(batch)
    }

    /// Sets aside what is here of `region`, outside of `kept`, and not newer than `before_us`, within a page's range what the
    /// page does not list. Gives what is to be written; what there is no room for stays.
    pub fn set_aside_old(&mut self, region: &Region, kept: &[Region], page: &Page, before_us: u64) -> Batch {
        let listed: Set<(&String, &Vec<u8>)> =
            page.records.iter().map(|record| (&record.namespace, &record.key)).collect();
        let old: Vec<Record> = self
            .from(page.after.as_ref())
            .take_while(|(namespace, key, _)| {
                page.until.as_ref().is_none_or(|until| (*namespace, *key) <= (&until.0, &until.1))
            })
            .filter(|(.., entry)| entry.record.version.wall_us <= before_us && region.contains(&entry.id))
            .filter(|(.., entry)| !kept.iter().any(|region| region.contains(&entry.id)))
            .filter(|(namespace, key, _)| !listed.contains(&(*namespace, *key)))
            .map(|(.., entry)| entry.record.clone())
            .take(self.aside.room())
            .collect();
        let mut batch = Batch::new();
        for record in old {
            batch.extend(self.remove(&record.namespace, &record.key));
            if record.value.is_some() && record.namespace != CONFLICTS {
                batch.push(self.aside.put(record));
            }
        }
        batch
    }

    /// Losers that are set aside.
    pub fn aside(&self) -> impl Iterator<Item = &Record> {
        self.aside.iter()
    }

    /// A loser that was set aside is kept elsewhere. Gives what is to be written, if anything.
    pub fn kept_elsewhere(&mut self, loser: &Record) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        self.aside.remove(loser)
    }

    /// Drops what is held of a key. Gives what is to be written, if anything.
    pub fn remove(&mut self, namespace: &str, key: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        self.forget(namespace, key).then(|| (disk::record_key(namespace, key), None))
    }

    fn forget(&mut self, namespace: &str, key: &[u8]) -> bool {
        let Some(space) = self.spaces.get_mut(namespace) else {
            return false;
        };
        let Some(entry) = space.entries.remove(key) else {
            return false;
        };
        let Entry { id, record, prior } = *entry;
        self.changes += 1;
        space.change = self.changes;
        space.lapsing -= usize::from(record.expiry_us.is_some());
        if space.entries.is_empty() {
            self.spaces.remove(namespace);
        }
        self.uncommitted -= usize::from(prior.is_some());
        self.totals.remove(&id, &record);
        true
    }

    /// The newest record of a key is acknowledged (or nobody will ask any more). Gives what readers saw before.
    pub fn commit(&mut self, namespace: &str, key: &[u8]) -> Option<Option<Record>> {
        let prior = self.spaces.get_mut(namespace)?.entries.get_mut(key)?.prior.take()?;
        self.uncommitted -= 1;
        Some(prior.map(|prior| *prior))
    }

    /// Starts to keep a digest of a fragment: one look at every record.
    pub fn track(&mut self, name: Name) {
        if !self.totals.tracked.contains_key(&name) {
            let digest = self.digest_of(&name.region);
            self.totals.tracked.insert(name, digest);
        }
    }

    /// Stops keeping a digest.
    pub fn untrack(&mut self, name: &Name) {
        self.totals.tracked.remove(name);
    }

    /// The digest of a tracked fragment.
    pub fn digest(&self, name: &Name) -> Digest {
        self.totals.tracked.get(name).copied().unwrap_or_default()
    }

    /// The digest of a region: one look at every record.
    pub fn digest_of(&self, region: &Region) -> Digest {
        let mut digest = Digest::default();
        let entries = self.spaces.values().flat_map(|space| space.entries.values());
        for entry in entries.filter(|entry| region.contains(&entry.id)) {
            digest.add(&entry.id, &entry.record.version);
        }
        digest
    }

    fn from(&self, after: Option<&Cursor>) -> impl Iterator<Item = (&String, &Vec<u8>, &Entry)> {
        let start = after.map_or(Bound::Unbounded, |(namespace, _)| Bound::Included(namespace.clone()));
        let after = after.cloned();
        self.spaces.range((start, Bound::Unbounded)).flat_map(move |(namespace, space)| {
            let from = match &after {
                Some((first, key)) if first == namespace => Bound::Excluded(Key::from(&key[..])),
                _ => Bound::Unbounded,
            };
            space
                .entries
                .range((from, Bound::Unbounded))
                .map(move |(_, entry)| (namespace, &entry.record.key, &**entry))
        })
    }

    /// The records of a region from a key on, up to about `bytes_max`.
    pub fn page(&self, region: &Region, after: Option<Cursor>, bytes_max: usize) -> Page {
        let mut page = Page { after, until: None, records: Vec::new() };
        let mut bytes = 0;
        for (namespace, key, entry) in self.from(page.after.as_ref()) {
            if !region.contains(&entry.id) {
                continue;
            }
            bytes += entry.record.bytes();
            page.records.push(entry.record.clone());
            if bytes >= bytes_max {
                page.until = Some((namespace.clone(), key.clone()));
                break;
            }
        }
        page
    }

    /// Makes a key range of a region what the page says. What is not in the page and not newer than `as_of_us` goes.
    pub fn apply(&mut self, region: &Region, page: Page, as_of_us: u64, limit_us: u64) -> Batch {
        let listed: Set<Cursor> =
            page.records.iter().map(|record| (record.namespace.clone(), record.key.clone())).collect();
        let gone: Vec<Cursor> = self
            .from(page.after.as_ref())
            .map(|(namespace, key, entry)| ((namespace, key), entry))
            .take_while(|(key, _)| page.until.as_ref().is_none_or(|until| *key <= (&until.0, &until.1)))
            .filter(|(_, entry)| region.contains(&entry.id) && entry.record.version.wall_us <= as_of_us)
            .map(|((namespace, key), _)| (namespace.clone(), key.clone()))
            .filter(|key| !listed.contains(key))
            .collect();
        let mut batch: Batch = gone.iter().filter_map(|(namespace, key)| self.remove(namespace, key)).collect();
        for record in page.records {
            self.observe(&record.version, limit_us);
            let held = self.get(&record.namespace, &record.key);
            let gives_way = held.is_none_or(|held| Guard::gives_way(held, &record));
            let held = held.map(|held| held.version);
            if region.contains(&record.id())
                && gives_way
                && held.is_none_or(|held| held < record.version || held != record.version && held.wall_us <= as_of_us)
            {
                batch.push(self.put(record));
            }
        }
        batch
    }

    /// Drops every record of `region` that lies in none of `kept` and is not newer than `before_us`.
    pub fn retain(&mut self, region: &Region, kept: &[Region], before_us: u64) -> Batch {
        let gone: Vec<Cursor> = self
            .from(None)
            .filter(|(_, _, entry)| entry.record.version.wall_us <= before_us)
            .filter(|(_, _, entry)| region.contains(&entry.id) && !kept.iter().any(|region| region.contains(&entry.id)))
            .map(|(namespace, key, _)| (namespace.clone(), key.clone()))
            .collect();
        gone.iter().filter_map(|(namespace, key)| self.remove(namespace, key)).collect()
    }

    /// Keys whose records may be forgotten by now, the longest due first.
    pub fn lapsed(&self, wall_us: u64) -> impl Iterator<Item = (&Id, &Record)> {
        self.totals
            .lapsing
            .iter()
            .map(|(lapsing, ())| lapsing)
            .take_while(move |(due, _)| *due <= wall_us)
            .filter_map(|(_, key)| self.entry(&key.0, &key.1))
            .map(|entry| (&entry.id, &entry.record))
    }

    /// Acknowledged, visible records of a namespace within some disjoint regions, by key.
    pub fn scan<'a>(
        &'a self,
        namespace: &str,
        regions: impl Fn(&Id) -> bool + 'a,
        wall_us: u64,
    ) -> impl Iterator<Item = &'a Record> + 'a {
        let space = self.spaces.get(namespace);
        space
            .into_iter()
            .flat_map(|space| space.entries.values())
            .filter(move |entry| regions(&entry.id))
            .filter_map(|entry| entry.acknowledged())
            .filter(move |record| record.visible(wall_us))
    }

    /// Acknowledged records of a namespace that lapse.
    pub fn lapsing<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Record> + 'a {
        let space = self.spaces.get(namespace).filter(|space| space.lapsing > 0);
        let entries = space.into_iter().flat_map(|space| space.entries.values());
        entries.filter_map(|entry| entry.acknowledged()).filter(|record| record.expiry_us.is_some())
    }

    /// A number that is another one once what [`Store::scan`] gives of a namespace may be; `None` while that changes by
    /// itself: writes are under way, or records lapse.
    pub fn unchanged(&self, namespace: &str) -> Option<u64> {
        let space = self.spaces.get(namespace).filter(|space| space.lapsing == 0 && self.uncommitted == 0)?;
        Some(space.change)
    }

    /// For inspection: namespaces with their records and ids.
    pub fn namespaces(&self) -> impl Iterator<Item = (&String, impl Iterator<Item = (&Id, &Record)>)> {
        self.spaces.iter().map(|(name, space)| (name, space.entries.values().map(|entry| (&entry.id, &entry.record))))
    }
}

/// When a record may be forgotten: a tombstone after its time, lapsed soft state a little later than it lapses.
fn due(record: &Record, tombstone_us: u64) -> Option<u64> {
    match (&record.value, record.expiry_us) {
        (None, _) => Some(record.version.wall_us.saturating_add(tombstone_us)),
        (Some(_), Some(expiry)) => Some(expiry.saturating_add(LAPSED_KEEP_US)),
        (Some(_), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(wall_us: u64) -> Record {
        Record {
            namespace: "n".to_owned(),
            key: b"k".to_vec(),
            locality_bits: 0,
            value: Some(vec![wall_us as u8]),
            version: Version { wall_us, counter: 0, author: Id::ZERO },
            parent: None,
            expiry_us: None,
            earlier: Vec::new(),
            proof: None,
        }
    }

    #[test]
    fn readers_get_what_is_acknowledged() {
        let mut store = Store::new(1_000_000);
        let seen = |store: &Store| {
            let scanned: Vec<u64> = store.scan("n", |_| true, 9).map(|record| record.version.wall_us).collect();
            let got = store.acknowledged("n", b"k").map(|record| record.version.wall_us);
            assert_eq!(scanned, got.into_iter().collect::<Vec<_>>());
            (got, store.unchanged("n").is_some())
        };
        let put = |store: &mut Store, wall_us| store.put_uncommitted(record(wall_us).id(), record(wall_us));
        put(&mut store, 1);
        assert_eq!(seen(&store), (None, false));
        assert_eq!(store.commit("n", b"k"), Some(None));
        assert_eq!(seen(&store), (Some(1), true));
        put(&mut store, 2);
        // The disk refused it; it is written again.
        store.put(record(2));
        assert_eq!((seen(&store), store.len()), ((Some(1), false), 1));
        assert_eq!(store.commit("n", b"k"), Some(Some(record(1))));
        assert_eq!((seen(&store), store.commit("n", b"k")), ((Some(2), true), None));
        put(&mut store, 3);
        store.remove("n", b"k");
        store.put(record(4));
        assert_eq!(seen(&store), (Some(4), true), "what went is not waited for");
        let only = Store::digest_of(&store, &Region::ALL);
        store.track(Name { region: Region::ALL, epoch: 1 });
        put(&mut store, 5);
        store.put(record(4));
        assert_eq!(
            (store.digest(&Name { region: Region::ALL, epoch: 1 }), store.bytes()),
            (only, record(4).bytes() as u64)
        );
    }
}
