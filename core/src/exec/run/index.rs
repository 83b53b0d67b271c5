//! CREATE and DROP INDEX.
//!
//! ```text
//!   its name, where nothing is ──▶ the table's entry, with the index ──▶ all rows ──▶ their entries ──▶ it is ready
//!                                    ▲ from here on whoever writes a row writes its entry
//! ```
//!
//! A statement that was planned before and writes after the rows were read finds, before it answers, that the table has
//! got an index, and writes the entries of its rows ([`catch_up`](super::catch_up)). So every row whose write was
//! acknowledged has its entry when the index is ready, and until then nobody reads it. A creator that dies on the way
//! leaves an index that is never ready: DROP INDEX removes it.

use super::{
    GatherEnd,
    entries::{CLAIMS_MAX, Entries, Place},
    host::Host,
    job::{Job, Step},
    purge::Purge,
};
use crate::{
    Error,
    data::Value,
    exec::{fragment::Partial, schema::CreateIndex},
    map::Set,
    sql::{
        catalog::{IndexEntry, TableDescriptor, entry, index_entry},
        fault::{
            DEPENDENT_OBJECTS, DUPLICATE_TABLE, INCOMPLETE, INTERNAL, SERIALIZATION, STALE_PLAN, UNDEFINED_OBJECT,
            UNIQUE_VIOLATION, error, fail,
        },
        index::Index,
        references::Reference,
    },
    store::{Action, Expect, Outcome, Version},
};

/// Attempts against somebody else who changes the table.
const ATTEMPTS_MAX: u8 = 16;

/// CREATE INDEX.
pub(super) struct CreateIndexJob {
    create: CreateIndex,
    stage: Stage,
    /// The version of the entry of its name.
    named: Option<Version>,
    /// The index as it is to be.
    index: Index,
    /// The keys of entries that are to be claimed, and of their rows, in order.
    found: Vec<(Place, Vec<u8>)>,
    entries: Option<Entries>,
    attempts: u8,
    /// Why it ends.
    failed: Option<Error>,
    purge: Option<Purge>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Its name.
    Name,
    /// The table's entry gets it.
    Define,
    /// All rows.
    Read,
    /// Their entries.
    Fill,
    /// The table's entry says that it is ready, or does not have it any more.
    Finish,
    /// So does the entry of its name.
    Tell,
    /// What there is of it goes.
    Purge,
}

impl CreateIndexJob {
    pub fn new(create: CreateIndex) -> Result<CreateIndexJob, Error> {
        let Some(index) = create.target.indexes.first().cloned() else { return fail(INTERNAL, "no index") };
        Ok(CreateIndexJob {
            create,
            stage: Stage::Name,
            named: None,
            index,
            found: Vec::new(),
            entries: None,
            attempts: 0,
            failed: None,
            purge: None,
        })
    }

    fn entry(&self, ready: bool) -> Result<IndexEntry, Error> {
        let (table, details) = (&self.create.to, self.create.to.details()?);
        Ok(IndexEntry { ready, ..IndexEntry::of(table, &details, &self.index) })
    }

    /// The table's entry, without the index or with it.
    fn put(&mut self, host: &mut Host, table: &TableDescriptor, version: Version) -> Step {
        let action = Action::Put { value: table.encode(), expect: Expect::Version(version), ttl_us: None };
        host.ops(vec![entry(&table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn define(&mut self, host: &mut Host, named: Version) -> Step {
        self.named = Some(named);
        self.stage = Stage::Define;
        let (table, version) = (self.create.to.clone(), self.create.version);
        self.put(host, &table, version)
    }

    fn fill(&mut self, host: &mut Host) -> Step {
        self.found.sort_unstable();
        self.found.dedup();
        if self.found.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            self.failed.get_or_insert(self.violation());
        }
        self.stage = Stage::Fill;
        self.entries = Some(Entries::building(&self.create.target));
        self.go_on(host)
    }

    /// Claims the entries of some more rows.
    fn go_on(&mut self, host: &mut Host) -> Step {
        while let (None, Some(entries)) = (&self.failed, &mut self.entries) {
            let part = self.found.split_off(self.found.len().saturating_sub(CLAIMS_MAX));
            if part.is_empty() {
                break;
            }
            let claims = part.into_iter().enumerate().map(|(at, (place, row))| Entries::claim(place, row, None, at));
            entries.begin(host, claims.collect());
            if !entries.idle() {
                return Ok(None);
            }
            self.claimed();
        }
        self.finish(host)
    }

    fn claimed(&mut self) {
        match self.entries.as_mut().map(Entries::outcome) {
            Some(Err(error)) => self.failed = Some(error),
            Some(Ok(taken)) if !taken.is_empty() => self.failed = Some(self.violation()),
            _ => {}
        }
    }

    fn violation(&self) -> Error {
        let message = format!("rows of \"{}\" have the same values: no unique index", self.create.from.name);
        error(UNIQUE_VIOLATION, message)
    }

    /// Reads the table's entry, which may be another one by now.
    fn finish(&mut self, host: &mut Host) -> Step {
        self.stage = Stage::Finish;
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            let keeps = error(SERIALIZATION, format!("relation \"{}\" keeps changing", self.create.from.name));
            return Err(self.failed.take().unwrap_or(keeps));
        }
        host.ops(vec![entry(&self.create.from.name, host.env.locality_bits, Action::Get)]);
        Ok(None)
    }

    /// The table's entry as it is now.
    fn conclude(&mut self, host: &mut Host, value: &[u8], version: Version) -> Step {
        let mut table = TableDescriptor::decode(value)?;
        let mut details = table.details()?;
        // TRUNCATE gives it another place: there it is ready, for the table is empty.
        let same = |index: &Index| index.stamp == self.index.stamp && index.name == self.index.name;
        let at = details.indexes.iter().position(same);
        match (at, self.failed.is_some()) {
            (Some(at), false) if details.indexes[at].namespace != self.index.namespace => return self.tell(host),
            (Some(at), false) => details.indexes[at].ready = true,
            (Some(at), true) => drop(details.indexes.remove(at)),
            (None, _) => {
                let dropped = error(SERIALIZATION, format!("index \"{}\" was dropped meanwhile", self.index.name));
                self.failed.get_or_insert(dropped);
                return self.tell(host);
            }
        }
        table.set_details(&details)?;
        self.put(host, &table, version)
    }

    /// The entry of its name says so, too.
    fn tell(&mut self, host: &mut Host) -> Step {
        self.stage = Stage::Tell;
        let expect = self.named.map_or(Expect::Absent, Expect::Version);
        let action = match &self.failed {
            None => Action::Put { value: self.entry(true)?.encode(), expect, ttl_us: None },
            Some(_) => Action::Remove { expect },
        };
        host.ops(vec![index_entry(&self.index.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn told(&mut self, host: &mut Host) -> Step {
        if self.failed.is_none() {
            return Ok(Some(host.done(0)));
        }
        self.stage = Stage::Purge;
        let (namespace, bits) = (self.index.namespace.clone(), self.create.from.locality_bits);
        self.purge = Some(Purge::begin(vec![namespace], bits, host));
        Ok(None)
    }

    fn purged(&mut self, host: &mut Host) -> Step {
        if self.purge.as_mut().is_some_and(|purge| purge.advance(host)) {
            return Ok(None);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(Some(host.done(0))),
        }
    }
}

impl Job for CreateIndexJob {
    fn start(&mut self, host: &mut Host) -> Step {
        let (bits, realm) = (self.create.from.locality_bits, self.create.from.realm());
        let realm = realm.map(|realm| realm.suffix(bits));
        self.index.place(&self.create.from.name, host.env.random, 0, realm);
        let mut details = self.create.to.details()?;
        if let Some(last) = details.indexes.last_mut() {
            last.namespace.clone_from(&self.index.namespace);
        }
        self.create.to.set_details(&details)?;
        self.create.target.indexes = vec![self.index.clone()];
        let value = self.entry(false)?.encode();
        let action = Action::Put { value, expect: Expect::Absent, ttl_us: None };
        host.ops(vec![index_entry(&self.index.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, mut outcomes: Vec<Outcome>) -> Step {
        if let Some(entries) = self.entries.as_mut().filter(|entries| entries.awaits(need)) {
            if !entries.on_ops(host, need, outcomes) {
                return Ok(None);
            }
            self.claimed();
            return self.go_on(host);
        }
        match (self.stage, outcomes.pop()) {
            (Stage::Purge, _) => self.purged(host),
            (Stage::Name, Some(Outcome::Stored { version })) => self.define(host, version),
            (Stage::Name, Some(Outcome::Conflict { .. })) if self.create.if_not_exists => Ok(Some(host.done(0))),
            (Stage::Name, Some(Outcome::Conflict { .. })) => {
                fail(DUPLICATE_TABLE, format!("relation \"{}\" already exists", self.index.name))
            }
            (Stage::Define, Some(Outcome::Stored { .. })) => {
                self.stage = Stage::Read;
                host.gather(self.create.fragment.clone());
                Ok(None)
            }
            (Stage::Define, Some(Outcome::Conflict { .. } | Outcome::Absent)) => {
                let message = format!("relation \"{}\" is another one by now", self.create.from.name);
                self.failed = Some(error(STALE_PLAN, message));
                self.tell(host)
            }
            (Stage::Finish, Some(Outcome::Found { value, version, .. })) => self.conclude(host, &value, version),
            (Stage::Finish, Some(Outcome::Stored { .. })) => self.tell(host),
            (Stage::Finish, Some(Outcome::Conflict { .. })) => self.finish(host),
            (Stage::Finish, Some(Outcome::Absent)) => {
                let dropped = error(SERIALIZATION, format!("\"{}\" was dropped meanwhile", self.create.from.name));
                self.failed.get_or_insert(dropped);
                self.tell(host)
            }
            // Where somebody dropped it meanwhile it has no name any more.
            (Stage::Tell, Some(Outcome::Stored { .. } | Outcome::Absent | Outcome::Conflict { .. })) => self.told(host),
            (_, Some(Outcome::Refused(refusal))) => Err(self.failed.take().unwrap_or(refusal.into())),
            (_, Some(Outcome::Unreachable)) => Err(self.failed.take().unwrap_or(Error::Unreachable)),
            _ => fail(SERIALIZATION, "the catalog keeps changing"),
        }
    }

    fn on_batch(&mut self, _host: &mut Host, _need: u32, partial: Partial) -> Step {
        if let Some(purge) = &mut self.purge {
            purge.found(partial);
            return Ok(None);
        }
        let width = self.create.target.missing.len();
        for signed in partial.batch.rows {
            let mut values = signed.row;
            let Some(Value::Blob(key)) = values.pop() else { return fail(INTERNAL, "a row without a key") };
            let mut row = vec![Value::Null; width];
            for ((slot, _), value) in self.index.columns.iter().zip(values) {
                row[*slot as usize] = value;
            }
            self.found.push(((0, self.index.key(&row, &key)), key));
        }
        Ok(None)
    }

    fn on_fault(&mut self, host: &mut Host, fault: Error) -> Step {
        if self.purge.is_some() {
            return self.purged(host);
        }
        self.failed.get_or_insert(fault);
        self.finish(host)
    }

    fn on_gathered(&mut self, host: &mut Host, _need: u32, end: &GatherEnd) -> Step {
        if self.purge.is_some() {
            return self.purged(host);
        }
        if end.coverage < 1.0 {
            let message = format!("a part of \"{}\" could not be reached; there is no index", self.create.from.name);
            self.failed = Some(error(INCOMPLETE, message));
        }
        self.fill(host)
    }
}

/// DROP INDEX: it is not ready any more, then out of the table's entry; then its name goes, then its entries. One that
/// foreign keys of other tables need stays.
pub(super) struct DropIndexJob {
    name: String,
    if_exists: bool,
    entry: Option<(IndexEntry, Version)>,
    bits: u8,
    attempts: u8,
    stage: Dropping,
    /// The table, while it is asked who needs the index.
    needed: Option<(TableDescriptor, Index)>,
    purge: Option<Purge>,
}

#[derive(Clone, Copy, PartialEq)]
enum Dropping {
    /// What is it?
    Find,
    /// Is it all that makes columns a key?
    Key,
    /// Do others refer to these?
    Children,
    /// The entry of its name says that it is no longer ready.
    Mark,
    /// The table's entry.
    Table,
    /// Its name.
    Name,
}

impl DropIndexJob {
    pub fn new(name: String, if_exists: bool) -> DropIndexJob {
        let stage = Dropping::Find;
        DropIndexJob { name, if_exists, entry: None, bits: 0, attempts: 0, stage, needed: None, purge: None }
    }

    fn attempt(&mut self) -> Result<(), Error> {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX { fail(SERIALIZATION, "the catalog keeps changing") } else { Ok(()) }
    }

    fn find(&mut self, host: &mut Host) -> Step {
        self.attempt()?;
        self.stage = Dropping::Find;
        host.ops(vec![index_entry(&self.name, host.env.locality_bits, Action::Get)]);
        Ok(None)
    }

    /// Reads the table's entry.
    fn table(&mut self, host: &mut Host, stage: Dropping) -> Step {
        self.attempt()?;
        self.stage = stage;
        let Some((index, _)) = &self.entry else { return Ok(None) };
        host.ops(vec![entry(&index.table, host.env.locality_bits, Action::Get)]);
        Ok(None)
    }

    /// Asks the tables that may refer to the columns of the index, if nothing else makes them a key.
    fn ask(&mut self, host: &mut Host, value: &[u8]) -> Step {
        let (table, name) = (TableDescriptor::decode(value)?, &self.name);
        let details = table.details()?;
        let Some(index) = details.indexes.iter().find(|index| index.name == *name && index.unique) else {
            return self.mark(host);
        };
        let slots = index.columns.iter().map(|(slot, _)| *slot).collect();
        let others = details.indexes.iter().filter(|other| other.unique && other.ready && other.name != *name);
        let mut keys = others.map(|other| other.columns.iter().map(|(slot, _)| *slot).collect::<Set<u32>>());
        let primary = table.primary_key.iter().filter_map(|at| details.slots.get(*at as usize).copied());
        if primary.collect::<Set<u32>>() == slots || keys.any(|key| key == slots) {
            return self.mark(host);
        }
        let refers = details.dependents.iter().filter(|it| it.columns.iter().copied().collect::<Set<u32>>() == slots);
        let children: Set<&str> = refers.map(|it| it.table.as_str()).collect();
        let own = |it: &Reference| it.is_to(&table, true) && it.to.iter().copied().collect::<Set<u32>>() == slots;
        if let Some(reference) = details.references.iter().find(|it| own(it)) {
            return self.is_needed(&reference.name, &table.name);
        }
        if children.is_empty() {
            return self.mark(host);
        }
        host.ops(children.iter().map(|name| entry(name, host.env.locality_bits, Action::Get)).collect());
        self.needed = Some((table.clone(), index.clone()));
        self.stage = Dropping::Children;
        Ok(None)
    }

    fn asked(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Step {
        let Some((table, index)) = self.needed.take() else { return Ok(None) };
        let slots: Set<u32> = index.columns.iter().map(|(slot, _)| *slot).collect();
        for outcome in outcomes {
            match outcome {
                Outcome::Found { value, .. } => {
                    let child = TableDescriptor::decode(&value)?;
                    let references = child.details()?.references;
                    let to = |it: &&Reference| it.to.iter().copied().collect::<Set<u32>>() == slots;
                    if let Some(it) = references.iter().filter(|it| it.is_to(&table, false)).find(to) {
                        return self.is_needed(&it.name, &child.name);
                    }
                }
                Outcome::Unreachable => return Err(Error::Unreachable),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                _ => {}
            }
        }
        self.mark(host)
    }

    fn is_needed(&self, by: &str, of: &str) -> Step {
        let by = format!("constraint \"{by}\" of table \"{of}\" depends on it");
        fail(DEPENDENT_OBJECTS, format!("cannot drop index \"{}\": {by}", self.name))
    }

    /// It is not ready any more.
    fn mark(&mut self, host: &mut Host) -> Step {
        let Some((entry, version)) = &self.entry else { return Ok(None) };
        let action = Action::Put { value: entry.encode(), expect: Expect::Version(*version), ttl_us: None };
        host.ops(vec![index_entry(&self.name, host.env.locality_bits, action)]);
        self.stage = Dropping::Mark;
        Ok(None)
    }

    fn without(&mut self, host: &mut Host, value: &[u8], version: Version) -> Step {
        let Some((index, _)) = &self.entry else { return Ok(None) };
        let mut table = TableDescriptor::decode(value)?;
        self.bits = table.locality_bits;
        let mut details = table.details()?;
        let Some(at) = details.indexes.iter().position(|other| other.name == index.name) else {
            return self.forget(host);
        };
        // Where it is by now.
        let namespace = details.indexes.remove(at).namespace;
        if let Some((index, _)) = &mut self.entry {
            index.namespace = namespace;
        }
        table.set_details(&details)?;
        let action = Action::Put { value: table.encode(), expect: Expect::Version(version), ttl_us: None };
        host.ops(vec![entry(&table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn forget(&mut self, host: &mut Host) -> Step {
        self.stage = Dropping::Name;
        let Some((_, version)) = &self.entry else { return Ok(None) };
        let action = Action::Remove { expect: Expect::Version(*version) };
        host.ops(vec![index_entry(&self.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn advance(&mut self, host: &mut Host) -> Step {
        let more = self.purge.as_mut().is_some_and(|purge| purge.advance(host));
        Ok((!more).then(|| host.done(0)))
    }
}

impl Job for DropIndexJob {
    fn start(&mut self, host: &mut Host) -> Step {
        self.find(host)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, mut outcomes: Vec<Outcome>) -> Step {
        if self.purge.is_some() {
            return self.advance(host);
        }
        if self.stage == Dropping::Children {
            return self.asked(host, outcomes);
        }
        match (self.stage, outcomes.pop()) {
            (Dropping::Find, Some(Outcome::Found { value, version, .. })) => {
                let entry = IndexEntry { ready: false, ..IndexEntry::decode(&value)? };
                self.entry = Some((entry, version));
                self.table(host, Dropping::Key)
            }
            (Dropping::Key, Some(Outcome::Found { value, .. })) => self.ask(host, &value),
            (Dropping::Key, Some(Outcome::Absent)) => self.mark(host),
            (Dropping::Mark, Some(Outcome::Stored { version })) => {
                if let Some((_, marked)) = &mut self.entry {
                    *marked = version;
                }
                self.table(host, Dropping::Table)
            }
            (Dropping::Mark, Some(Outcome::Conflict { .. })) => self.find(host),
            (Dropping::Find, Some(Outcome::Absent)) if self.if_exists => Ok(Some(host.done(0))),
            (Dropping::Find, Some(Outcome::Absent)) => {
                fail(UNDEFINED_OBJECT, format!("index \"{}\" does not exist", self.name))
            }
            (Dropping::Table, Some(Outcome::Found { value, version, .. })) => self.without(host, &value, version),
            (Dropping::Table, Some(Outcome::Conflict { .. })) => self.table(host, Dropping::Table),
            // The table is gone, or has it no more.
            (Dropping::Table, Some(Outcome::Absent | Outcome::Stored { .. })) => self.forget(host),
            (Dropping::Name, Some(Outcome::Stored { .. } | Outcome::Absent | Outcome::Conflict { .. })) => {
                let namespace = self.entry.as_ref().map(|(index, _)| index.namespace.clone());
                self.purge = Some(Purge::begin(namespace.into_iter().collect(), self.bits, host));
                Ok(None)
            }
            (_, Some(Outcome::Unreachable)) => Err(Error::Unreachable),
            (_, Some(Outcome::Refused(refusal))) => Err(refusal.into()),
            _ => fail(INTERNAL, "an operation without outcome"),
        }
    }

    fn on_batch(&mut self, _host: &mut Host, _need: u32, partial: Partial) -> Step {
        if let Some(purge) = &mut self.purge {
            purge.found(partial);
        }
        Ok(None)
    }

    fn on_gathered(&mut self, host: &mut Host, _need: u32, _end: &GatherEnd) -> Step {
        self.advance(host)
    }
}
