//! ANALYZE: the owners of a table make sketches of its rows, and what these say is written beside the catalog.
//!
//! One row comes up the tree, so what the asker receives does not depend on how many rows there are. Tables come one after
//! the other.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    query::ASKER_BUDGET,
};
use crate::{
    Error,
    data::Value,
    exec::{
        fragment::{Decode, FragmentPlan, Output, Partial},
        ops::{
            Batch, Operator,
            aggregate::{Aggregate, Mode},
        },
    },
    sql::{
        catalog::{CATALOG, TableDescriptor},
        fault::{INCOMPLETE, INTERNAL, fail},
        statistics::{TableStatistics, entry, fragment},
    },
    store::{Action, Expect, Outcome},
    trust::Realm,
    wire::PLAN_VERSION,
};

/// See the module's documentation.
pub(super) struct ProfileJob {
    /// Tables to come; the last one is next.
    tables: Vec<TableDescriptor>,
    /// What is being gathered: the catalog first, where all tables are meant.
    fragment: FragmentPlan,
    /// What came of it so far.
    partial: Partial,
    stage: Stage,
}

enum Stage {
    /// Entries of the catalog come.
    Catalog,
    /// Sketches of a table come.
    Sketches(TableDescriptor),
    /// What they say is being written.
    Write(TableStatistics),
}

impl ProfileJob {
    /// Of one table, or of all.
    pub fn new(table: Option<TableDescriptor>) -> ProfileJob {
        let fragment = FragmentPlan {
            version: PLAN_VERSION,
            namespace: CATALOG.to_owned(),
            locality_bits: 0,
            decode: Decode::CatalogTables,
            columns: vec![0],
            identity: false,
            filter: None,
            project: None,
            output: Output::Rows,
            missing: Vec::new(),
        };
        let tables = table.into_iter().collect();
        ProfileJob { tables, fragment, partial: Partial::default(), stage: Stage::Catalog }
    }

    /// The next table.
    fn go_on(&mut self, host: &mut Host) -> Step {
        let Some(table) = self.tables.pop() else { return Ok(Some(host.done(0))) };
        self.fragment = fragment(&table)?;
        self.partial = Partial::default();
        self.stage = Stage::Sketches(table);
        host.gather(self.fragment.clone());
        Ok(None)
    }

    /// Takes in the catalog.
    fn list(&mut self) -> Result<(), Error> {
        for value in core::mem::take(&mut self.partial).batch.values(0) {
            let Value::Blob(bytes) = value else { continue };
            let table = TableDescriptor::decode(&bytes)?;
            // Of all: of those that everybody reads.
            if table.details()?.view.is_none() && Realm::private(&table.namespace).is_none() {
                self.tables.push(table);
            }
        }
        Ok(())
    }

    /// What the sketches of a table say.
    fn read(&mut self, host: &mut Host, table: &TableDescriptor) -> Step {
        let Output::Groups(_, calls) = &self.fragment.output else { return fail(INTERNAL, "not sketches") };
        let mut last = Aggregate::new(Vec::new(), calls.clone(), Mode::Final);
        let mut out = Batch::default();
        last.on_batch(0, core::mem::take(&mut self.partial).batch, &mut out)?;
        last.on_end(0, &mut out)?;
        let row = out.rows.pop().map(|signed| signed.row).unwrap_or_default();
        let statistics = TableStatistics::of(table, host.env.now_us, &row)?;
        let action = Action::Put { value: statistics.encode(), expect: Expect::Any, ttl_us: None };
        host.ops(vec![entry(&table.name, host.env.locality_bits, action)]);
        self.stage = Stage::Write(statistics);
        Ok(None)
    }
}

impl Job for ProfileJob {
    fn start(&mut self, host: &mut Host) -> Step {
        if !self.tables.is_empty() {
            return self.go_on(host);
        }
        self.fragment.locality_bits = host.env.locality_bits;
        host.gather(self.fragment.clone());
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, outcomes: Vec<Outcome>) -> Step {
        match (outcomes.into_iter().next(), core::mem::replace(&mut self.stage, Stage::Catalog)) {
            (Some(Outcome::Stored { .. }), Stage::Write(statistics)) => {
                host.learned.statistics.push(statistics);
                self.go_on(host)
            }
            (Some(Outcome::Refused(refusal)), _) => Err(refusal.into()),
            (Some(Outcome::Unreachable), _) => Err(Error::Unreachable),
            _ => fail(INTERNAL, "not what a put is answered"),
        }
    }

    fn on_batch(&mut self, _host: &mut Host, _need: u32, partial: Partial) -> Step {
        self.fragment.combine(&mut self.partial, partial, &ASKER_BUDGET)?;
        Ok(None)
    }

    fn on_gathered(&mut self, host: &mut Host, _need: u32, end: &GatherEnd) -> Step {
        if end.coverage < 1.0 {
            return fail(INCOMPLETE, "a part of what is to be analyzed could not be reached; nothing was written");
        }
        match core::mem::replace(&mut self.stage, Stage::Catalog) {
            Stage::Catalog => {
                self.list()?;
                self.go_on(host)
            }
            Stage::Sketches(table) => self.read(host, &table),
            Stage::Write(_) => fail(INTERNAL, "a gather that nobody asked for"),
        }
    }
}
