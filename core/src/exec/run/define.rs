//! CREATE TABLE and DROP TABLE: conditional writes at the owner of the table's name.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
};
use crate::{
    Error,
    data::Value,
    exec::fragment::{Decode, FragmentPlan, Output, Partial},
    sql::{
        catalog::{TableDescriptor, entry},
        fault::{DUPLICATE_TABLE, INTERNAL, SERIALIZATION, UNDEFINED_TABLE, fail},
    },
    store::{Action, Expect, KeyOp, Outcome, Version},
    wire::PLAN_VERSION,
};

/// Attempts against somebody else who defines the same name.
const ATTEMPTS_MAX: u8 = 8;
/// Rows that a DROP removes at once.
const PURGE_OPS: usize = 1_000;

/// CREATE TABLE: whoever comes first defines; the same definition again has no effect.
pub(super) struct CreateJob {
    table: TableDescriptor,
    if_not_exists: bool,
    attempts: u8,
}

impl CreateJob {
    pub fn new(table: TableDescriptor, if_not_exists: bool) -> CreateJob {
        CreateJob { table, if_not_exists, attempts: 0 }
    }
}

impl Job for CreateJob {
    fn start(&mut self, host: &mut Host) -> Step {
        self.attempts += 1;
        self.table.place(host.env.random, host.env.locality_bits);
        let action = Action::Put { value: self.table.encode(), expect: Expect::Absent, ttl_us: None };
        host.ops(vec![entry(&self.table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, outcomes: Vec<Outcome>) -> Step {
        match outcomes.into_iter().next() {
            Some(Outcome::Stored { .. }) => Ok(Some(host.done(0))),
            Some(Outcome::Conflict { current: Some((value, _)) }) => {
                let table = TableDescriptor::decode(&value)?;
                if self.if_not_exists || table.same_definition(&self.table) {
                    return Ok(Some(host.done(0)));
                }
                fail(DUPLICATE_TABLE, format!("relation \"{}\" already exists with another definition", table.name))
            }
            // Dropped in between.
            Some(Outcome::Conflict { current: None }) if self.attempts < ATTEMPTS_MAX => self.start(host),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            _ => fail(SERIALIZATION, "the catalog keeps changing"),
        }
    }
}

/// DROP TABLE: the entry goes first, conditionally; then the rows, which nobody can name any more.
pub(super) struct DropJob {
    name: String,
    if_exists: bool,
    stage: Stage,
    attempts: u8,
    table: Option<TableDescriptor>,
    keys: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Look,
    Remove,
    Purge,
}

impl DropJob {
    pub fn new(name: String, if_exists: bool) -> DropJob {
        DropJob { name, if_exists, stage: Stage::Look, attempts: 0, table: None, keys: Vec::new() }
    }

    fn gone(&self, host: &Host) -> Step {
        if self.if_exists {
            return Ok(Some(host.done(0)));
        }
        fail(UNDEFINED_TABLE, format!("table \"{}\" does not exist", self.name))
    }

    fn remove(&mut self, host: &mut Host, value: &[u8], version: Version) -> Step {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            return fail(SERIALIZATION, "the catalog keeps changing");
        }
        // An entry that does not read can be dropped, too; its rows then stay, unnamed.
        self.table = TableDescriptor::decode(value).ok();
        self.stage = Stage::Remove;
        let action = Action::Remove { expect: Expect::Version(version) };
        host.ops(vec![entry(&self.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    fn purge(&mut self, host: &mut Host) -> Step {
        let Some(table) = &self.table else { return Ok(Some(host.done(0))) };
        if self.keys.is_empty() {
            return Ok(Some(host.done(0)));
        }
        let keys = self.keys.split_off(self.keys.len().saturating_sub(PURGE_OPS));
        let remove = |key| KeyOp {
            namespace: table.namespace.clone(),
            locality_bits: table.locality_bits,
            key,
            action: Action::Remove { expect: Expect::Any },
        };
        host.ops(keys.into_iter().map(remove).collect());
        Ok(None)
    }
}

impl Job for DropJob {
    fn start(&mut self, host: &mut Host) -> Step {
        host.ops(vec![entry(&self.name, host.env.locality_bits, Action::Get)]);
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, mut outcomes: Vec<Outcome>) -> Step {
        if self.stage == Stage::Purge {
            // A row that could not be removed is out of sight all the same.
            return self.purge(host);
        }
        match outcomes.pop() {
            Some(Outcome::Found { value, version, .. }) => self.remove(host, &value, version),
            Some(Outcome::Conflict { current: Some((value, version)) }) => self.remove(host, &value, version),
            Some(Outcome::Absent | Outcome::Conflict { current: None }) => self.gone(host),
            Some(Outcome::Stored { .. }) => {
                self.stage = Stage::Purge;
                let Some(table) = &self.table else { return Ok(Some(host.done(0))) };
                host.gather(FragmentPlan {
                    version: PLAN_VERSION,
                    namespace: table.namespace.clone(),
                    locality_bits: table.locality_bits,
                    decode: Decode::Row,
                    columns: Vec::new(),
                    identity: true,
                    filter: None,
                    project: None,
                    output: Output::Rows,
                });
                Ok(None)
            }
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Stale { .. } | Outcome::Hinted) | None => fail(INTERNAL, "an operation without outcome"),
        }
    }

    fn on_batch(&mut self, _host: &mut Host, _need: u32, partial: Partial) -> Step {
        for mut signed in partial.batch.rows {
            if signed.row.len() == 2
                && let Value::Blob(key) = signed.row.swap_remove(0)
            {
                self.keys.push(key);
            }
        }
        Ok(None)
    }

    fn on_gathered(&mut self, host: &mut Host, _need: u32, _end: &GatherEnd) -> Step {
        self.purge(host)
    }
}
