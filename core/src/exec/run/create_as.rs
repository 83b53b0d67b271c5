//! CREATE TABLE .. AS: the query first, then the table, then its rows; without the rows there is no table.

use super::{
    GatherEnd,
    define::{claim, rights_of},
    host::Host,
    insert::InsertJob,
    job::{Job, Step},
    query::QueryJob,
};
use crate::{
    Error,
    data::Row,
    exec::{fragment::Partial, schema::CreateAs},
    sql::{
        catalog::{TableDescriptor, entry},
        fault::{DUPLICATE_TABLE, INCOMPLETE, SERIALIZATION, fail},
    },
    store::{Action, Expect, Outcome, Version},
};

/// See the module's documentation.
pub(super) struct CreateAsJob {
    create: CreateAs,
    /// Whether its rights are known, where it is to have an owner.
    claimed: bool,
    stage: Stage,
}

enum Stage {
    /// The query is under way.
    Reading(Box<QueryJob>),
    /// The table is being defined; these are its rows.
    Defining(Vec<Row>),
    /// The rows are being written.
    Filling(Box<InsertJob>, Version),
    /// The table goes again.
    Undoing(Error),
}

impl CreateAsJob {
    pub fn new(mut create: CreateAs) -> Result<CreateAsJob, Error> {
        let flow = create.insert.query.take().unwrap_or_default();
        let stage = Stage::Reading(Box::new(QueryJob::new(flow, Vec::new())?));
        Ok(CreateAsJob { create, claimed: true, stage })
    }

    fn entry(&self, host: &mut Host, action: Action) -> Step {
        host.ops(vec![entry(&self.create.table.name, host.env.locality_bits, action)]);
        Ok(None)
    }

    /// Goes on to define once the query is complete.
    fn read(&mut self, host: &mut Host) -> Step {
        let Stage::Reading(query) = &mut self.stage else { return Ok(None) };
        let Some(rows) = query.rows()? else { return Ok(None) };
        if host.done(0).coverage < 1.0 {
            return fail(INCOMPLETE, "a part of what the query reads could not be reached");
        }
        self.stage = Stage::Defining(rows);
        let table = &mut self.create.table;
        if let Some(rights) = rights_of(host, false, &table.name) {
            table.place(host.env.random, host.env.locality_bits, Some(rights.realm()))?;
            self.claimed = false;
            host.ops(vec![claim(&rights)]);
            return Ok(None);
        }
        table.place(host.env.random, host.env.locality_bits, None)?;
        self.put(host)
    }

    fn put(&mut self, host: &mut Host) -> Step {
        let table = &self.create.table;
        let action = Action::Put { value: table.encode(), expect: Expect::Absent, ttl_us: None };
        self.entry(host, action)
    }

    fn defined(&mut self, host: &mut Host, outcome: Option<Outcome>, rows: Vec<Row>) -> Step {
        match outcome {
            Some(Outcome::Stored { version }) => {
                let (table, mut insert) = (&self.create.table, self.create.insert.clone());
                insert.rows = rows;
                insert.target.namespace.clone_from(&table.namespace);
                insert.target.locality_bits = table.locality_bits;
                let mut job = Box::new(InsertJob::new(insert)?);
                let step = job.start(host);
                self.stage = Stage::Filling(job, version);
                self.filled(host, step)
            }
            Some(Outcome::Conflict { current: Some((value, _)) }) => {
                let name = TableDescriptor::decode(&value)?.name;
                if self.create.if_not_exists {
                    return Ok(Some(host.done(0)));
                }
                fail(DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
            }
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            _ => fail(SERIALIZATION, "the catalog keeps changing"),
        }
    }

    /// What became of writing the rows.
    fn filled(&mut self, host: &mut Host, step: Step) -> Step {
        match (step, &self.stage) {
            (Err(error), Stage::Filling(_, version)) => {
                let action = Action::Remove { expect: Expect::Version(*version) };
                self.stage = Stage::Undoing(error);
                self.entry(host, action)
            }
            (step, _) => step,
        }
    }
}

impl Job for CreateAsJob {
    fn start(&mut self, host: &mut Host) -> Step {
        if let Stage::Reading(query) = &mut self.stage {
            query.open(host)?;
        }
        self.read(host)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, mut outcomes: Vec<Outcome>) -> Step {
        match &mut self.stage {
            Stage::Reading(query) => {
                query.take_ops(host, need, outcomes)?;
                self.read(host)
            }
            Stage::Defining(_) if !self.claimed => {
                self.claimed = true;
                match outcomes.pop() {
                    Some(Outcome::Stored { .. } | Outcome::Conflict { .. }) => self.put(host),
                    Some(Outcome::Refused(refusal)) => Err(refusal.into()),
                    _ => Err(Error::Unreachable),
                }
            }
            Stage::Defining(rows) => {
                let rows = core::mem::take(rows);
                self.defined(host, outcomes.pop(), rows)
            }
            Stage::Filling(job, _) => {
                let step = job.on_ops(host, need, outcomes);
                self.filled(host, step)
            }
            Stage::Undoing(error) => Err(error.clone()),
        }
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        match &mut self.stage {
            Stage::Reading(query) => query.on_batch(host, need, partial),
            _ => Ok(None),
        }
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        if let Stage::Reading(query) = &mut self.stage {
            query.take_end(host, need)?;
        }
        self.read(host)
    }
}
