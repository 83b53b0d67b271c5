//! CREATE and DROP of tables and views: conditional writes at the owner of the name.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    purge::Purge,
};
use crate::{
    Error,
    exec::{fragment::Partial, schema::Show},
    sql::{
        catalog::{IndexEntry, TableDescriptor, entry, index_entry},
        fault::{DUPLICATE_TABLE, INTERNAL, SERIALIZATION, UNDEFINED_TABLE, WRONG_OBJECT, fail},
        index::Index,
    },
    store::{Action, Expect, Outcome, Version},
};

/// Attempts against somebody else who defines the same name.
const ATTEMPTS_MAX: u8 = 8;

/// CREATE: whoever comes first defines; the same definition again has no effect.
pub(super) struct CreateJob {
    table: TableDescriptor,
    if_not_exists: bool,
    or_replace: bool,
    once: bool,
    attempts: u8,
    /// It is defined; its indexes get their names.
    defined: bool,
}

impl CreateJob {
    pub fn new(table: TableDescriptor, if_not_exists: bool) -> CreateJob {
        CreateJob { table, if_not_exists, or_replace: false, once: false, attempts: 0, defined: false }
    }

    pub fn view(show: Show) -> CreateJob {
        let Show { view, if_not_exists, or_replace, once } = show;
        CreateJob { or_replace, once, ..CreateJob::new(view, if_not_exists) }
    }

    fn put(&mut self, host: &mut Host, expect: Expect) -> Step {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            return fail(SERIALIZATION, "the catalog keeps changing");
        }
        let action = Action::Put { value: self.table.encode(), expect, ttl_us: None };
        host.ops(vec![entry(&self.table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    /// Names its indexes. A name that is taken already stands for the other one.
    fn name_indexes(&mut self, host: &mut Host) -> Step {
        let details = self.table.details()?;
        if details.indexes.is_empty() {
            return Ok(Some(host.done(0)));
        }
        let put = |index: &Index| {
            let value = IndexEntry::of(&self.table, &details, index).encode();
            let action = Action::Put { value, expect: Expect::Absent, ttl_us: None };
            index_entry(&index.name, host.env.locality_bits, action)
        };
        let ops = details.indexes.iter().map(put).collect();
        host.ops(ops);
        self.defined = true;
        Ok(None)
    }

    /// There is something of that name.
    fn exists(&mut self, host: &mut Host, value: &[u8], version: Version) -> Step {
        let other = TableDescriptor::decode(value)?;
        if self.if_not_exists || !self.once && other.same_definition(&self.table) {
            return Ok(Some(host.done(0)));
        }
        let (name, is_view) = (&other.name, other.details()?.view.is_some());
        match (self.or_replace, is_view) {
            (true, true) => self.put(host, Expect::Version(version)),
            (true, false) => fail(WRONG_OBJECT, format!("\"{name}\" is not a view")),
            (false, _) => {
                let other = if other.same_definition(&self.table) { "" } else { " with another definition" };
                fail(DUPLICATE_TABLE, format!("relation \"{name}\" already exists{other}"))
            }
        }
    }
}

impl Job for CreateJob {
    fn start(&mut self, host: &mut Host) -> Step {
        if self.table.details()?.view.is_none() {
            self.table.place(host.env.random, host.env.locality_bits)?;
        }
        self.put(host, Expect::Absent)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, outcomes: Vec<Outcome>) -> Step {
        if self.defined {
            return Ok(Some(host.done(0)));
        }
        match outcomes.into_iter().next() {
            Some(Outcome::Stored { .. }) => self.name_indexes(host),
            Some(Outcome::Conflict { current: Some((value, version)) }) => self.exists(host, &value, version),
            // Dropped in between.
            Some(Outcome::Conflict { current: None }) => self.put(host, Expect::Absent),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            _ => fail(SERIALIZATION, "the catalog keeps changing"),
        }
    }
}

/// DROP: the entry goes first, conditionally; then the rows, which nobody can name any more.
pub(super) struct DropJob {
    name: String,
    if_exists: bool,
    /// Whether it is to be a view.
    view: bool,
    attempts: u8,
    table: Option<TableDescriptor>,
    names: Option<Names>,
    purge: Option<Purge>,
}

/// The names of its indexes, which go, too.
enum Names {
    /// They are looked at: another index may have one.
    Look(Vec<String>),
    /// They go.
    Remove,
}

impl DropJob {
    pub fn new(name: String, if_exists: bool, view: bool) -> DropJob {
        DropJob { name, if_exists, view, attempts: 0, table: None, names: None, purge: None }
    }

    fn gone(&self, host: &Host) -> Step {
        if self.if_exists {
            return Ok(Some(host.done(0)));
        }
        let kind = if self.view { "view" } else { "table" };
        fail(UNDEFINED_TABLE, format!("{kind} \"{}\" does not exist", self.name))
    }

    fn remove(&mut self, host: &mut Host, value: &[u8], version: Version) -> Step {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            return fail(SERIALIZATION, "the catalog keeps changing");
        }
        // An entry that does not read can be dropped, too; its rows then stay, unnamed.
        self.table = TableDescriptor::decode(value).ok();
        let view = self.table.as_ref().and_then(|table| table.details().ok()).map(|details| details.view.is_some());
        match view {
            Some(false) if self.view => return fail(WRONG_OBJECT, format!("\"{}\" is not a view", self.name)),
            Some(true) if !self.view => return fail(WRONG_OBJECT, format!("\"{}\" is not a table", self.name)),
            _ => {}
        }
        let action = Action::Remove { expect: Expect::Version(version) };
        host.ops(vec![entry(&self.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    /// The entry is gone: so go the names of its indexes, and then its rows and their entries.
    fn dropped(&mut self, host: &mut Host) -> Step {
        let Some(table) = self.table.as_ref().filter(|_| !self.view) else { return Ok(Some(host.done(0))) };
        let names: Vec<String> = table.details()?.indexes.into_iter().map(|index| index.name).collect();
        if names.is_empty() {
            return self.begin_purge(host);
        }
        let get = |name: &String| index_entry(name, host.env.locality_bits, Action::Get);
        let ops = names.iter().map(get).collect();
        host.ops(ops);
        self.names = Some(Names::Look(names));
        Ok(None)
    }

    fn remove_names(&mut self, host: &mut Host, names: Vec<String>, outcomes: Vec<Outcome>) -> Step {
        let mut ops = Vec::new();
        for (name, outcome) in names.into_iter().zip(outcomes) {
            if let Outcome::Found { value, version, .. } = outcome
                && IndexEntry::decode(&value).is_ok_and(|entry| entry.table == self.name)
            {
                let action = Action::Remove { expect: Expect::Version(version) };
                ops.push(index_entry(&name, host.env.locality_bits, action));
            }
        }
        if ops.is_empty() {
            return self.begin_purge(host);
        }
        host.ops(ops);
        self.names = Some(Names::Remove);
        Ok(None)
    }

    fn begin_purge(&mut self, host: &mut Host) -> Step {
        self.names = None;
        let Some(table) = &self.table else { return Ok(Some(host.done(0))) };
        self.purge = Some(Purge::begin(Purge::namespaces_of(table), table.locality_bits, host));
        Ok(None)
    }

    fn advance(&mut self, host: &mut Host) -> Step {
        let more = self.purge.as_mut().is_some_and(|purge| purge.advance(host));
        Ok((!more).then(|| host.done(0)))
    }
}

impl Job for DropJob {
    fn start(&mut self, host: &mut Host) -> Step {
        host.ops(vec![entry(&self.name, host.env.locality_bits, Action::Get)]);
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, mut outcomes: Vec<Outcome>) -> Step {
        if self.purge.is_some() {
            return self.advance(host);
        }
        match self.names.take() {
            Some(Names::Look(names)) => return self.remove_names(host, names, outcomes),
            Some(Names::Remove) => return self.begin_purge(host),
            None => {}
        }
        match outcomes.pop() {
            Some(Outcome::Found { value, version, .. }) => self.remove(host, &value, version),
            Some(Outcome::Conflict { current: Some((value, version)) }) => self.remove(host, &value, version),
            Some(Outcome::Absent | Outcome::Conflict { current: None }) => self.gone(host),
            Some(Outcome::Stored { .. }) => self.dropped(host),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Stale { .. } | Outcome::Hinted) | None => fail(INTERNAL, "an operation without outcome"),
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
