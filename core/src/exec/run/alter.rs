//! ALTER TABLE and TRUNCATE: the table's entry is written on condition of the version that was planned with.
//!
//! ```text
//!   are there wrong rows? ──▶ entry ──▶ are there wrong rows, written meanwhile? ─ yes ─▶ the entry as it was, error
//!                               │ RENAME: the new name first, then the old one goes
//!                               └ TRUNCATE: the rows of the old namespace go
//! ```
//!
//! A table that is another one by now is planned again: nothing was changed. Statements that were planned before and
//! write after see and write the same columns ([`sql::alter`](crate::sql)).

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    parents::Parents,
    purge::Purge,
    query::QueryJob,
};
use crate::{
    Error,
    exec::{
        eval::truth,
        fragment::Partial,
        schema::{Alter, Dangling, Validation},
    },
    map::Map,
    sql::{
        catalog::{TableDescriptor, entry},
        fault::{DUPLICATE_TABLE, FOREIGN_KEY_VIOLATION, INCOMPLETE, SERIALIZATION, STALE_PLAN, error, fail},
        references::Reference,
        statistics,
    },
    store::{Action, Expect, Outcome, Version},
};

/// See the module's documentation.
pub(super) struct AlterJob {
    alter: Alter,
    stage: Stage,
    /// The validations under way.
    open: Map<u32, Validation>,
    /// Rows that refer to nothing are looked for, for each new reference.
    dangling: Vec<(QueryJob, String)>,
    /// The tables that it is to refer to, which are told before and after.
    parents: Option<Parents>,
    /// Why it ends.
    failed: Option<Error>,
    purge: Option<Purge>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Looks for wrong rows.
    Before,
    /// The tables that it is to refer to are told.
    Enter,
    /// Writes the entry.
    Write,
    /// Do they know it still?
    Check(Version),
    /// Looks for wrong rows again: statements under way knew nothing of what they have to keep to.
    After(Version),
    /// Writes the entry as it was.
    Revert,
    /// The entry has its new name at that version; the old one goes.
    Forget(Version),
    /// The new name goes again, for the table is another one by now.
    Undo,
    /// Removes rows.
    Purge,
}

impl AlterJob {
    pub fn new(alter: Alter) -> AlterJob {
        let (open, dangling) = (Map::new(), Vec::new());
        AlterJob { alter, stage: Stage::Before, open, dangling, parents: None, failed: None, purge: None }
    }

    fn put(host: &mut Host, table: &TableDescriptor, expect: Expect) -> Step {
        let action = Action::Put { value: table.encode(), expect, ttl_us: None };
        host.ops(vec![entry(&table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn remove(host: &mut Host, name: &str, version: Version) -> Step {
        let (action, bits) = (Action::Remove { expect: Expect::Version(version) }, host.env.locality_bits);
        let known = statistics::entry(name, bits, Action::Remove { expect: Expect::Any });
        host.ops(vec![known, entry(name, bits, action)]);
        Ok(None)
    }

    fn renames(&self) -> bool {
        self.alter.from.name != self.alter.to.name
    }

    fn validate(&mut self, host: &mut Host) -> Result<(), Error> {
        for validation in &self.alter.validations {
            self.open.insert(host.gather(validation.fragment.clone()), validation.clone());
        }
        for Dangling { flow, message } in &self.alter.references {
            let mut job = QueryJob::new(flow.clone(), Vec::new())?;
            job.open(host)?;
            self.dangling.push((job, message.clone()));
        }
        Ok(())
    }

    /// Something came of a search for rows that refer to nothing.
    fn looked(&mut self, host: &mut Host, at: usize, taken: Result<(), Error>) -> Step {
        match taken.and_then(|()| self.dangling[at].0.rows()) {
            Ok(None) => return Ok(None),
            Ok(Some(rows)) => {
                let (_, message) = self.dangling.remove(at);
                if let Some(row) = rows.first() {
                    let values: Vec<String> = row.iter().map(ToString::to_string).collect();
                    let message = message.replace("(?)", &format!("({})", values.join(", ")));
                    self.failed.get_or_insert(error(FOREIGN_KEY_VIOLATION, message));
                }
            }
            Err(error) => {
                self.dangling.remove(at);
                self.failed.get_or_insert(error);
            }
        }
        self.over(host)
    }

    /// Goes on when all searches are over.
    fn over(&mut self, host: &mut Host) -> Step {
        if !self.open.is_empty() || !self.dangling.is_empty() {
            return Ok(None);
        }
        if host.done(0).coverage < 1.0 && self.failed.is_none() {
            let message = format!("a part of \"{}\" could not be reached; nothing was changed", self.alter.from.name);
            self.failed = Some(error(INCOMPLETE, message));
        }
        self.validated(host)
    }

    /// All validations are over.
    fn validated(&mut self, host: &mut Host) -> Step {
        match (self.stage, self.failed.clone()) {
            (Stage::After(version), Some(_)) => self.revert(host, version),
            (_, Some(error)) => Err(error),
            (Stage::After(_), None) => Ok(Some(host.done(0))),
            (_, None) => self.enter(host),
        }
    }

    fn enter(&mut self, host: &mut Host) -> Step {
        let unknown = |it: &Reference| it.stamp == 0 && !it.namespace.is_empty();
        if self.alter.to.details()?.references.iter().any(unknown) {
            self.parents = Parents::enter(host, &mut self.alter.to)?;
        }
        let Some(parents) = &mut self.parents else { return self.write(host) };
        parents.begin(host);
        self.stage = Stage::Enter;
        Ok(None)
    }

    fn told(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Step {
        let told = self.parents.as_mut().map_or(Ok(true), |parents| parents.on_ops(host, outcomes));
        match (told, self.stage) {
            (Ok(false), _) => Ok(None),
            (Ok(true), Stage::Check(version)) => self.after(host, version),
            (Ok(true), _) => self.write(host),
            (Err(error), Stage::Check(version)) => {
                self.failed = Some(error);
                self.revert(host, version)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn revert(&mut self, host: &mut Host, version: Version) -> Step {
        self.stage = Stage::Revert;
        Self::put(host, &self.alter.from, Expect::Version(version))
    }

    fn after(&mut self, host: &mut Host, version: Version) -> Step {
        if self.alter.validations.is_empty() && self.alter.references.is_empty() {
            return Ok(Some(host.done(0)));
        }
        self.stage = Stage::After(version);
        if let Err(error) = self.validate(host) {
            self.failed = Some(error);
            return self.revert(host, version);
        }
        Ok(None)
    }

    fn write(&mut self, host: &mut Host) -> Step {
        self.stage = Stage::Write;
        if self.alter.empty {
            self.alter.to.place(host.env.random, self.alter.from.locality_bits, self.alter.from.realm())?;
        }
        let expect = if self.renames() { Expect::Absent } else { Expect::Version(self.alter.version) };
        Self::put(host, &self.alter.to, expect)
    }

    fn written(&mut self, host: &mut Host, version: Version) -> Step {
        if self.renames() {
            self.stage = Stage::Forget(version);
            return Self::remove(host, &self.alter.from.name, self.alter.version);
        }
        if self.alter.empty {
            return self.empty(host);
        }
        match &mut self.parents {
            None => self.after(host, version),
            Some(parents) => {
                parents.begin(host);
                self.stage = Stage::Check(version);
                Ok(None)
            }
        }
    }

    /// The rows of the old place go.
    fn empty(&mut self, host: &mut Host) -> Step {
        self.stage = Stage::Purge;
        let from = &self.alter.from;
        self.purge = Some(Purge::begin(Purge::namespaces_of(from), from.locality_bits, host));
        Ok(None)
    }

    fn stale<T>(&self) -> Result<T, Error> {
        fail(STALE_PLAN, format!("relation \"{}\" is another one by now", self.alter.from.name))
    }

    fn purged(&mut self, host: &mut Host) -> Step {
        let more = self.purge.as_mut().is_some_and(|purge| purge.advance(host));
        Ok((!more).then(|| host.done(0)))
    }
}

/// Whether there is a wrong row.
fn wrong(validation: &Validation, found: Partial) -> Result<bool, Error> {
    let Some(judged) = &validation.judged else { return Ok(!found.batch.is_empty()) };
    for signed in found.batch.by_row().rows {
        if truth(judged, &signed.row)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Job for AlterJob {
    fn start(&mut self, host: &mut Host) -> Step {
        self.validate(host)?;
        if self.open.is_empty() && self.dangling.is_empty() { self.enter(host) } else { Ok(None) }
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, mut outcomes: Vec<Outcome>) -> Step {
        if let Some(at) = self.dangling.iter().position(|(job, _)| job.awaits(need)) {
            let taken = self.dangling[at].0.take_ops(host, need, outcomes);
            return self.looked(host, at, taken);
        }
        if matches!(self.stage, Stage::Enter | Stage::Check(_)) {
            return self.told(host, outcomes);
        }
        let outcome = outcomes.pop();
        match (self.stage, outcome) {
            (Stage::Purge, _) => self.purged(host),
            (_, Some(Outcome::Unreachable)) => Err(self.failed.take().unwrap_or(Error::Unreachable)),
            (_, Some(Outcome::Refused(refusal))) => Err(self.failed.take().unwrap_or(refusal.into())),
            (Stage::Write, Some(Outcome::Stored { version })) => self.written(host, version),
            (Stage::Write, Some(Outcome::Conflict { .. })) if self.renames() => {
                fail(DUPLICATE_TABLE, format!("relation \"{}\" already exists", self.alter.to.name))
            }
            (Stage::Write, _) => self.stale(),
            (Stage::Forget(_), Some(Outcome::Stored { .. })) => Ok(Some(host.done(0))),
            (Stage::Forget(version), _) => {
                self.stage = Stage::Undo;
                Self::remove(host, &self.alter.to.name, version)
            }
            (Stage::Undo, Some(Outcome::Stored { .. })) => self.stale(),
            (Stage::Undo, _) => fail(SERIALIZATION, "the catalog keeps changing"),
            // As it was, or changed by somebody else on top of it, which stands.
            (Stage::Before | Stage::Enter | Stage::Check(_) | Stage::After(_) | Stage::Revert, _) => {
                Err(self.failed.take().unwrap_or_else(|| error(SERIALIZATION, "the catalog keeps changing")))
            }
        }
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        if let Some((job, _)) = self.dangling.iter_mut().find(|(job, _)| job.awaits(need)) {
            return job.on_batch(host, need, partial);
        }
        match (&mut self.purge, self.open.get(&need)) {
            (Some(purge), _) => purge.found(partial),
            (None, Some(validation)) if wrong(validation, partial)? => {
                self.failed.get_or_insert_with(|| validation.error.clone());
            }
            _ => {}
        }
        Ok(None)
    }

    fn on_fault(&mut self, host: &mut Host, fault: Error) -> Step {
        let Stage::After(version) = self.stage else { return Err(fault) };
        self.open.clear();
        self.dangling.clear();
        self.failed.get_or_insert(fault);
        self.revert(host, version)
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        if self.purge.is_some() {
            return self.purged(host);
        }
        if let Some(at) = self.dangling.iter().position(|(job, _)| job.awaits(need)) {
            let taken = self.dangling[at].0.take_end(host, need);
            return self.looked(host, at, taken);
        }
        self.open.remove(&need);
        self.over(host)
    }
}
