//! CREATE and DROP of tables and views: conditional writes at the owner of the name. Tables that are referred to are told
//! of it ([`parents`](super::parents)).

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    parents::Parents,
    purge::Purge,
};
use crate::{
    Error,
    exec::{fragment::Partial, schema::Show},
    map::Set,
    sql::{
        catalog::{IndexEntry, TableDescriptor, entry, index_entry},
        fault::{
            DEPENDENT_OBJECTS, DUPLICATE_TABLE, INTERNAL, SERIALIZATION, UNDEFINED_TABLE, WRONG_OBJECT, advise, fail,
        },
        index::Index,
        references::referring,
        statistics,
    },
    store::{Action, Expect, KeyOp, Outcome, Refusal, Version},
    trust::{Realm, Rights, rights_op},
};

/// Attempts against somebody else who defines the same name.
const ATTEMPTS_MAX: u8 = 8;

/// CREATE: whoever comes first defines; the same definition again has no effect.
pub(super) struct CreateJob {
    table: TableDescriptor,
    if_not_exists: bool,
    /// Only its owner is to read it at first.
    private: bool,
    or_replace: bool,
    once: bool,
    attempts: u8,
    /// The tables that it refers to, which are told before and after.
    parents: Option<Parents>,
    /// What comes first, the last one of these before the others: its rights, where it is to have an owner, and its keyring.
    claims: Vec<KeyOp>,
    stage: Creating,
}

enum Creating {
    /// Is there something of that name? Only then the parents are told.
    Look,
    /// Its rights are written, before there is anything that they are about.
    Claim,
    /// The parents are told.
    Enter,
    /// The entry is written.
    Put,
    /// Do the parents know it still?
    Check(Version),
    /// One of them does not: the entry goes again.
    Undo(Error),
    /// It is defined; its indexes get their names.
    Names,
}

impl CreateJob {
    pub fn new(table: TableDescriptor, (if_not_exists, private): (bool, bool), mut claims: Vec<KeyOp>) -> CreateJob {
        claims.reverse();
        let (or_replace, once, attempts, parents, stage) = (false, false, 0, None, Creating::Put);
        CreateJob { table, if_not_exists, private, or_replace, once, attempts, parents, claims, stage }
    }

    pub fn view(show: Show) -> CreateJob {
        let Show { view, if_not_exists, or_replace, once } = show;
        CreateJob { or_replace, once, ..CreateJob::new(view, (if_not_exists, false), Vec::new()) }
    }

    fn put(&mut self, host: &mut Host, expect: Expect) -> Step {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            return fail(SERIALIZATION, "the catalog keeps changing");
        }
        self.stage = Creating::Put;
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
        self.stage = Creating::Names;
        Ok(None)
    }

    /// There is nothing of that name: its rights come first, then its parents are told.
    fn begin(&mut self, host: &mut Host) -> Step {
        if let Some(claim) = self.claims.pop() {
            self.stage = Creating::Claim;
            host.ops(vec![claim]);
            return Ok(None);
        }
        if self.parents.is_none() { self.put(host, Expect::Absent) } else { self.tell(host, Creating::Enter) }
    }

    /// The parents are told, or asked again.
    fn tell(&mut self, host: &mut Host, stage: Creating) -> Step {
        self.stage = stage;
        if let Some(parents) = &mut self.parents {
            parents.begin(host);
        }
        Ok(None)
    }

    fn told(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Step {
        let told = self.parents.as_mut().map_or(Ok(true), |parents| parents.on_ops(host, outcomes));
        match (told, &self.stage) {
            (Ok(false), _) => Ok(None),
            (Ok(true), Creating::Check(_)) => self.name_indexes(host),
            (Ok(true), _) => self.put(host, Expect::Absent),
            (Err(error), Creating::Check(version)) => {
                let action = Action::Remove { expect: Expect::Version(*version) };
                host.ops(vec![entry(&self.table.name, host.env.locality_bits, action)]);
                self.stage = Creating::Undo(error);
                Ok(None)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// There is something of that name.
    fn exists(&mut self, host: &mut Host, value: &[u8], version: Version) -> Step {
        let other = TableDescriptor::decode(value)?;
        // Who wants a private table must not take an open one for it.
        let open = self.private && Realm::private(&other.namespace).is_none();
        if !open && (self.if_not_exists || !self.once && other.same_definition(&self.table)) {
            return Ok(Some(host.done(0)));
        }
        let (name, is_view) = (&other.name, other.details()?.view.is_some());
        match (self.or_replace, is_view) {
            (true, true) => {
                // Whose it is stays as it is.
                self.table.place(host.env.random, host.env.locality_bits, other.realm())?;
                self.put(host, Expect::Version(version))
            }
            (true, false) => fail(WRONG_OBJECT, format!("\"{name}\" is not a view")),
            (false, _) => {
                let other = match other.same_definition(&self.table) {
                    true if open => ", and is not private",
                    true => "",
                    false => " with another definition",
                };
                fail(DUPLICATE_TABLE, format!("relation \"{name}\" already exists{other}"))
            }
        }
    }
}

impl Job for CreateJob {
    fn start(&mut self, host: &mut Host) -> Step {
        let rights = rights_of(host, self.private, &self.table.name);
        if self.private && rights.is_none() {
            return Err(Refusal::Unsigned.into());
        }
        self.table.place(host.env.random, host.env.locality_bits, rights.as_ref().map(Rights::realm))?;
        self.claims.extend(rights.as_ref().map(claim));
        self.parents = Parents::enter(host, &mut self.table)?;
        if self.parents.is_none() && self.claims.is_empty() {
            return self.put(host, Expect::Absent);
        }
        self.stage = Creating::Look;
        host.ops(vec![entry(&self.table.name, host.env.locality_bits, Action::Get)]);
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, outcomes: Vec<Outcome>) -> Step {
        match &self.stage {
            Creating::Names => return Ok(Some(host.done(0))),
            Creating::Undo(error) => return Err(error.clone()),
            Creating::Enter | Creating::Check(_) => return self.told(host, outcomes),
            Creating::Look | Creating::Claim | Creating::Put => {}
        }
        match outcomes.into_iter().next() {
            Some(Outcome::Found { value, version, .. }) => self.exists(host, &value, version),
            Some(Outcome::Absent) => self.begin(host),
            Some(Outcome::Stored { .. }) if matches!(self.stage, Creating::Claim) => self.begin(host),
            // An earlier attempt of the same statement has stored them.
            Some(Outcome::Conflict { .. }) if matches!(self.stage, Creating::Claim) => self.begin(host),
            Some(Outcome::Stored { .. }) if self.parents.is_none() => self.name_indexes(host),
            Some(Outcome::Stored { version }) => self.tell(host, Creating::Check(version)),
            Some(Outcome::Conflict { current: Some((value, version)) }) => self.exists(host, &value, version),
            // Dropped in between.
            Some(Outcome::Conflict { current: None }) => self.put(host, Expect::Absent),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            _ => fail(SERIALIZATION, "the catalog keeps changing"),
        }
    }
}

/// The rights of what a user creates.
pub(super) fn rights_of(host: &Host, private: bool, name: &str) -> Option<Rights> {
    host.env.user.map(|user| Rights::new(user, host.env.random, private, name))
}

/// Makes rights known.
pub(super) fn claim(rights: &Rights) -> KeyOp {
    rights_op(rights.realm(), Action::Put { value: rights.encode(), expect: Expect::Absent, ttl_us: None })
}

/// DROP: the entry goes first, conditionally; then the rows, which nobody can name any more.
pub(super) struct DropJob {
    name: String,
    if_exists: bool,
    /// Whether it is to be a view.
    view: bool,
    /// References to it go, too.
    cascade: bool,
    attempts: u8,
    table: Option<TableDescriptor>,
    children: Option<Children>,
    names: Option<Names>,
    leaving: Option<Parents>,
    purge: Option<Purge>,
}

/// The tables that may refer to it.
enum Children {
    /// They are looked at; the table goes at that version.
    Look(Version),
    /// They lose their references; again from the beginning, if one of them changed meanwhile.
    Release(Version),
}

/// The names of its indexes, which go, too.
enum Names {
    /// They are looked at: another index may have one.
    Look(Vec<String>),
    /// They go.
    Remove,
}

impl DropJob {
    pub fn view(name: String, if_exists: bool) -> DropJob {
        DropJob { view: true, ..DropJob::table(name, if_exists, false) }
    }

    pub fn table(name: String, if_exists: bool, cascade: bool) -> DropJob {
        let (view, attempts, table, children, names, leaving, purge) = (false, 0, None, None, None, None, None);
        DropJob { name, if_exists, view, cascade, attempts, table, children, names, leaving, purge }
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
        let details = self.table.as_ref().and_then(|table| table.details().ok());
        match details.as_ref().map(|details| details.view.is_some()) {
            Some(false) if self.view => return fail(WRONG_OBJECT, format!("\"{}\" is not a view", self.name)),
            Some(true) if !self.view => return fail(WRONG_OBJECT, format!("\"{}\" is not a table", self.name)),
            _ => {}
        }
        let dependents = details.map(|details| details.dependents).unwrap_or_default();
        let children: Set<String> = dependents.into_iter().map(|it| it.table).collect();
        if children.is_empty() {
            return self.forget(host, version);
        }
        let get = |name: &String| entry(name, host.env.locality_bits, Action::Get);
        let ops = children.iter().map(get).collect();
        host.ops(ops);
        self.children = Some(Children::Look(version));
        Ok(None)
    }

    /// Whether its children refer to it still: if they may not, the references go.
    fn release(&mut self, host: &mut Host, version: Version, outcomes: Vec<Outcome>) -> Step {
        let Some(table) = &self.table else { return Ok(None) };
        let (mut ops, mut found) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Outcome::Found { value, version, .. } => {
                    let mut child = TableDescriptor::decode(&value)?;
                    let by = referring(table, core::iter::once(&child))?;
                    if by.is_empty() {
                        continue;
                    }
                    found.extend(by);
                    let mut details = child.details()?;
                    details.references.retain(|reference| !reference.is_to(table, false));
                    child.set_details(&details)?;
                    let action = Action::Put { value: child.encode(), expect: Expect::Version(version), ttl_us: None };
                    ops.push(entry(&child.name, host.env.locality_bits, action));
                }
                Outcome::Unreachable => return Err(Error::Unreachable),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                _ => {}
            }
        }
        if let (Some((child, name)), false) = (found.first(), self.cascade) {
            let table = &self.name;
            let by = format!("constraint \"{name}\" of table \"{child}\" depends on it");
            return advise(
                DEPENDENT_OBJECTS,
                format!("cannot drop table \"{table}\" because other objects depend on it: {by}"),
                format!("DROP TABLE {table} CASCADE drops the constraint, too."),
            );
        }
        if ops.is_empty() {
            return self.forget(host, version);
        }
        host.ops(ops);
        self.children = Some(Children::Release(version));
        Ok(None)
    }

    fn released(&mut self, host: &mut Host, version: Version, outcomes: Vec<Outcome>) -> Step {
        match outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Stored { .. })) {
            None => self.forget(host, version),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            Some(Outcome::Refused(refusal)) => Err((*refusal).into()),
            Some(_) => self.start(host),
        }
    }

    /// Its entry goes, and what is known of its rows.
    fn forget(&mut self, host: &mut Host, version: Version) -> Step {
        let (action, bits) = (Action::Remove { expect: Expect::Version(version) }, host.env.locality_bits);
        let known = statistics::entry(&self.name, bits, Action::Remove { expect: Expect::Any });
        host.ops(vec![known, entry(&self.name, bits, action)]);
        Ok(None)
    }

    /// The entry is gone: so go the names of its indexes, and then its rows and their entries.
    fn dropped(&mut self, host: &mut Host) -> Step {
        let Some(table) = self.table.as_ref().filter(|_| !self.view) else { return Ok(Some(host.done(0))) };
        let names: Vec<String> = table.details()?.indexes.into_iter().map(|index| index.name).collect();
        if names.is_empty() {
            return self.leave(host);
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
            return self.leave(host);
        }
        host.ops(ops);
        self.names = Some(Names::Remove);
        Ok(None)
    }

    /// The tables that it referred to are told.
    fn leave(&mut self, host: &mut Host) -> Step {
        self.leaving = self.table.as_ref().map(|table| Parents::leave(host, table)).transpose()?.flatten();
        match &mut self.leaving {
            None => self.begin_purge(host),
            Some(parents) => {
                parents.begin(host);
                Ok(None)
            }
        }
    }

    fn begin_purge(&mut self, host: &mut Host) -> Step {
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
        if let Some(parents) = &mut self.leaving {
            return if parents.on_ops(host, outcomes)? { self.begin_purge(host) } else { Ok(None) };
        }
        match self.children.take() {
            Some(Children::Look(version)) => return self.release(host, version, outcomes),
            Some(Children::Release(version)) => return self.released(host, version, outcomes),
            None => {}
        }
        match self.names.take() {
            Some(Names::Look(names)) => return self.remove_names(host, names, outcomes),
            Some(Names::Remove) => return self.leave(host),
            None => {}
        }
        match outcomes.pop() {
            Some(Outcome::Found { value, version, .. }) => self.remove(host, &value, version),
            Some(Outcome::Conflict { current: Some((value, version)) }) => self.remove(host, &value, version),
            Some(Outcome::Absent | Outcome::Conflict { current: None }) => self.gone(host),
            Some(Outcome::Stored { .. }) => self.dropped(host),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(
                Outcome::Stale { .. }
                | Outcome::Hinted
                | Outcome::Proven(_)
                | Outcome::Verified(_)
                | Outcome::Unverified(_),
            )
            | None => fail(INTERNAL, "an operation without outcome"),
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
