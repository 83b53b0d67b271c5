//! Tells tables who refers to them.
//!
//! ```text
//!   CREATE TABLE   the parents' entries name the child ──▶ the child's entry ──▶ do they name it still?
//!   DROP TABLE     the child's entry goes ──▶ the parents' entries name it no more
//! ```
//!
//! Each step is a put on condition of the version read. So a table that has rows which refer to others is named by these;
//! who dies on the way leaves a name too many. Names that stand for nothing go when the next one comes, if they are
//! [`OLD_US`] old: somebody may be about to create that table.

use super::host::Host;
use crate::{
    Error,
    map::{Map, Set},
    sql::{
        catalog::{TableDescriptor, entry},
        fault::{SERIALIZATION, STALE_PLAN, fail},
        references::Dependent,
    },
    store::{Action, Expect, Outcome, Version},
};

/// Attempts against somebody else who changes the parents.
const ATTEMPTS_MAX: u8 = 16;
/// For so long a name may stand for nothing, microseconds.
const OLD_US: i64 = 600_000_000;

/// See the module's documentation.
pub(super) struct Parents {
    /// The child's name.
    child: String,
    /// By name of the parent: the namespace of its rows, and what stands for the child there.
    wanted: Map<String, (String, Vec<Dependent>)>,
    /// The child is gone.
    leaves: bool,
    stage: Stage,
    attempts: u8,
}

enum Stage {
    /// The parents' entries are read.
    Reading,
    /// Tables that were named long ago are read, before these entries are written.
    Looking(Vec<(TableDescriptor, Version)>, Vec<String>),
    /// The parents' entries are written.
    Writing,
}

/// Whether nobody is about to create the table that something stands for.
fn is_old(host: &Host, dependent: &Dependent) -> bool {
    dependent.since_us + OLD_US < host.env.now_us
}

/// Whether it is over.
type Over = Result<bool, Error>;

impl Parents {
    /// For a table that comes, or gets more references; the new ones get their stamps.
    pub fn enter(host: &Host, table: &mut TableDescriptor) -> Result<Option<Parents>, Error> {
        let mut details = table.details()?;
        let stamp = (host.env.random ^ host.env.random >> 64) as u64;
        let new = details.references.iter_mut().filter(|reference| reference.stamp == 0);
        new.for_each(|reference| reference.stamp = stamp);
        table.set_details(&details)?;
        Parents::of(host, table, false)
    }

    /// For a table that is gone.
    pub fn leave(host: &Host, table: &TableDescriptor) -> Result<Option<Parents>, Error> {
        Parents::of(host, table, true)
    }

    fn of(host: &Host, table: &TableDescriptor, leaves: bool) -> Result<Option<Parents>, Error> {
        let mut wanted: Map<String, (String, Vec<Dependent>)> = Map::new();
        for reference in table.details()?.references.into_iter().filter(|it| !it.namespace.is_empty()) {
            let (_, dependents) = wanted.entry(reference.table).or_insert((reference.namespace, Vec::new()));
            let (columns, stamp, since_us) = (reference.to, reference.stamp, host.env.now_us);
            dependents.push(Dependent { table: table.name.clone(), columns, stamp, since_us });
        }
        let (child, stage, attempts) = (table.name.clone(), Stage::Reading, 0);
        Ok((!wanted.is_empty()).then_some(Parents { child, wanted, leaves, stage, attempts }))
    }

    /// Begins, or begins anew.
    pub fn begin(&mut self, host: &mut Host) {
        self.stage = Stage::Reading;
        let get = |name: &String| entry(name, host.env.locality_bits, Action::Get);
        let ops = self.wanted.keys().map(get).collect();
        host.ops(ops);
    }

    /// Takes in what came.
    pub fn on_ops(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Over {
        match core::mem::replace(&mut self.stage, Stage::Writing) {
            Stage::Reading => self.read(host, outcomes),
            Stage::Looking(parents, names) => {
                let gone = names.into_iter().zip(outcomes).filter(|(_, it)| *it == Outcome::Absent);
                let gone = gone.map(|(name, _)| name).collect();
                self.write(host, parents, &gone)
            }
            Stage::Writing => self.written(host, outcomes),
        }
    }

    fn read(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Over {
        let (mut parents, mut old) = (Vec::new(), Set::new());
        for ((name, (namespace, _)), outcome) in self.wanted.iter().zip(outcomes) {
            match outcome {
                Outcome::Found { value, version, .. } => {
                    let parent = TableDescriptor::decode(&value)?;
                    if parent.namespace == *namespace {
                        let dependents = parent.details()?.dependents.into_iter().filter(|it| is_old(host, it));
                        old.extend(dependents.map(|it| it.table).filter(|name| *name != self.child));
                        parents.push((parent, version));
                        continue;
                    }
                }
                Outcome::Unreachable if !self.leaves => return Err(Error::Unreachable),
                Outcome::Refused(refusal) if !self.leaves => return Err(refusal.into()),
                _ => {}
            }
            if !self.leaves {
                return fail(STALE_PLAN, format!("relation \"{name}\" is another one by now"));
            }
        }
        let old: Vec<String> = old.into_iter().collect();
        if self.leaves || old.is_empty() {
            return self.write(host, parents, &Set::new());
        }
        let get = |name: &String| entry(name, host.env.locality_bits, Action::Get);
        host.ops(old.iter().map(get).collect());
        self.stage = Stage::Looking(parents, old);
        Ok(false)
    }

    /// Writes what is not as it should be.
    fn write(&mut self, host: &mut Host, parents: Vec<(TableDescriptor, Version)>, gone: &Set<String>) -> Over {
        let mut ops = Vec::new();
        for (mut parent, version) in parents {
            let Some((_, wanted)) = self.wanted.get(&parent.name) else { continue };
            let mut details = parent.details()?;
            let before = details.dependents.len();
            let own = |it: &Dependent| wanted.iter().any(|own| own.stamp == it.stamp && own.table == it.table);
            let there = |one: &&Dependent| {
                details.dependents.iter().any(|it| own(it) && it.stamp == one.stamp && it.columns == one.columns)
            };
            let missing: Vec<Dependent> = wanted.iter().filter(|one| !there(one)).cloned().collect();
            let gone = |it: &Dependent| gone.contains(&it.table) || it.table == self.child && is_old(host, it);
            details.dependents.retain(|it| if own(it) { !self.leaves } else { self.leaves || !gone(it) });
            if !self.leaves {
                details.dependents.extend(missing.iter().cloned());
            }
            if before != details.dependents.len() || !self.leaves && !missing.is_empty() {
                parent.set_details(&details)?;
                let action = Action::Put { value: parent.encode(), expect: Expect::Version(version), ttl_us: None };
                ops.push(entry(&parent.name, host.env.locality_bits, action));
            }
        }
        if ops.is_empty() {
            return Ok(true);
        }
        host.ops(ops);
        self.stage = Stage::Writing;
        Ok(false)
    }

    fn written(&mut self, host: &mut Host, outcomes: Vec<Outcome>) -> Over {
        for outcome in &outcomes {
            match outcome {
                Outcome::Unreachable if !self.leaves => return Err(Error::Unreachable),
                Outcome::Refused(refusal) if !self.leaves => return Err((*refusal).into()),
                _ => {}
            }
        }
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored { .. } | Outcome::Unreachable)) {
            return Ok(true);
        }
        self.attempts += 1;
        match (self.attempts > ATTEMPTS_MAX, self.leaves) {
            (true, true) => return Ok(true),
            (true, false) => return fail(SERIALIZATION, "the catalog keeps changing"),
            _ => {}
        }
        self.begin(host);
        Ok(false)
    }
}
