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
    purge::Purge,
};
use crate::{
    Error,
    exec::{
        fragment::Partial,
        schema::{Alter, Validation},
    },
    map::Map,
    sql::{
        catalog::{TableDescriptor, entry},
        fault::{DUPLICATE_TABLE, INCOMPLETE, SERIALIZATION, STALE_PLAN, error, fail},
    },
    store::{Action, Expect, Outcome, Version},
};

/// See the module's documentation.
pub(super) struct AlterJob {
    alter: Alter,
    stage: Stage,
    /// The validations under way.
    open: Map<u32, Validation>,
    /// Why it ends.
    failed: Option<Error>,
    purge: Option<Purge>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Looks for wrong rows.
    Before,
    /// Writes the entry.
    Write,
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
        AlterJob { alter, stage: Stage::Before, open: Map::new(), failed: None, purge: None }
    }

    fn put(host: &mut Host, table: &TableDescriptor, expect: Expect) -> Step {
        let action = Action::Put { value: table.encode(), expect, ttl_us: None };
        host.ops(vec![entry(&table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn remove(host: &mut Host, name: &str, version: Version) -> Step {
        let action = Action::Remove { expect: Expect::Version(version) };
        host.ops(vec![entry(name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn renames(&self) -> bool {
        self.alter.from.name != self.alter.to.name
    }

    fn validate(&mut self, host: &mut Host) {
        for validation in &self.alter.validations {
            self.open.insert(host.gather(validation.fragment.clone()), validation.clone());
        }
    }

    /// All validations are over.
    fn validated(&mut self, host: &mut Host) -> Step {
        match (self.stage, self.failed.clone()) {
            (Stage::After(version), Some(_)) => {
                self.stage = Stage::Revert;
                Self::put(host, &self.alter.from, Expect::Version(version))
            }
            (_, Some(error)) => Err(error),
            (Stage::After(_), None) => Ok(Some(host.done(0))),
            (_, None) => self.write(host),
        }
    }

    fn write(&mut self, host: &mut Host) -> Step {
        self.stage = Stage::Write;
        if self.alter.empty {
            self.alter.to.place(host.env.random, self.alter.from.locality_bits)?;
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
        if self.alter.validations.is_empty() {
            return Ok(Some(host.done(0)));
        }
        self.stage = Stage::After(version);
        self.validate(host);
        Ok(None)
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

impl Job for AlterJob {
    fn start(&mut self, host: &mut Host) -> Step {
        self.validate(host);
        if self.open.is_empty() { self.write(host) } else { Ok(None) }
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, mut outcomes: Vec<Outcome>) -> Step {
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
            (Stage::Before | Stage::After(_) | Stage::Revert, _) => {
                Err(self.failed.take().unwrap_or_else(|| error(SERIALIZATION, "the catalog keeps changing")))
            }
        }
    }

    fn on_batch(&mut self, _host: &mut Host, need: u32, partial: Partial) -> Step {
        match (&mut self.purge, self.open.get(&need)) {
            (Some(purge), _) => purge.found(partial),
            (None, Some(validation)) if !partial.batch.is_empty() => {
                self.failed.get_or_insert_with(|| validation.error.clone());
            }
            _ => {}
        }
        Ok(None)
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, end: &GatherEnd) -> Step {
        if self.purge.is_some() {
            return self.purged(host);
        }
        self.open.remove(&need);
        if end.coverage < 1.0 && self.failed.is_none() {
            let message = format!("a part of \"{}\" could not be reached; nothing was changed", self.alter.from.name);
            self.failed = Some(error(INCOMPLETE, message));
        }
        if self.open.is_empty() { self.validated(host) } else { Ok(None) }
    }
}
