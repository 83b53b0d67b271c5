//! INSERT: rows are completed, checked and put where nothing is yet.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    query::QueryJob,
    writer::{Change, Write, Writer},
};
use crate::{
    Error,
    data::{Row, Value, codec},
    exec::{cast::cast, fragment::Partial, plan::Insert},
    map::Set,
    sql::{
        catalog::TableDescriptor,
        fault::{INCOMPLETE, NOT_NULL_VIOLATION, UNIQUE_VIOLATION, fail},
    },
    store::Outcome,
};

/// See the module's documentation.
pub(super) struct InsertJob {
    table: TableDescriptor,
    /// Where each value of a source row goes.
    targets: Vec<u32>,
    /// What the other columns get.
    defaults: Row,
    rows: Vec<Row>,
    query: Option<QueryJob>,
    writer: Writer,
}

impl InsertJob {
    pub fn new(insert: Insert) -> Result<InsertJob, Error> {
        let query = insert.query.map(|flow| QueryJob::new(flow, Vec::new())).transpose()?;
        Ok(InsertJob {
            writer: Writer::new(&insert.table),
            table: insert.table,
            targets: insert.targets,
            defaults: insert.defaults,
            rows: insert.rows,
            query,
        })
    }

    /// Rows as conditional puts.
    fn write(&mut self, host: &mut Host) -> Step {
        let mut keys = Set::new();
        for (index, values) in core::mem::take(&mut self.rows).into_iter().enumerate() {
            let mut row = self.defaults.clone();
            for (value, target) in values.into_iter().zip(&self.targets) {
                row[*target as usize] = cast(value, self.table.columns[*target as usize].data_type)?;
            }
            check_not_null(&self.table, &row)?;
            let value = codec::encode_row(&row);
            let key = match self.table.key(&row) {
                Some(key) => {
                    if !keys.insert(key.clone()) {
                        let message = format!("a key appears twice in the rows for \"{}\"", self.table.name);
                        return fail(UNIQUE_VIOLATION, message);
                    }
                    key
                }
                None => TableDescriptor::hidden_key(&host.env.me, host.env.random, index as u64),
            };
            self.writer.push(Write::new(key, Change::Insert(value)));
        }
        let done = self.writer.advance(host)?;
        Ok(done.then(|| host.done(self.writer.affected)))
    }

    /// Goes on to write once the query is complete.
    fn after_query(&mut self, host: &mut Host) -> Step {
        let Some(query) = &mut self.query else { return Ok(None) };
        let Some(rows) = query.rows()? else { return Ok(None) };
        if host.done(0).coverage < 1.0 {
            return fail(INCOMPLETE, "a part of what INSERT selects from could not be read");
        }
        self.query = None;
        self.rows = rows;
        self.write(host)
    }
}

/// NULL in a column that refuses it is an error.
pub(super) fn check_not_null(table: &TableDescriptor, row: &[Value]) -> Result<(), Error> {
    match table.columns.iter().zip(row).find(|(column, value)| column.not_null && value.is_null()) {
        None => Ok(()),
        Some((column, _)) => {
            let message = format!("null value in column \"{}\" of relation \"{}\"", column.name, table.name);
            fail(NOT_NULL_VIOLATION, message)
        }
    }
}

impl Job for InsertJob {
    fn start(&mut self, host: &mut Host) -> Step {
        match &mut self.query {
            None => self.write(host),
            Some(query) => {
                query.open(host)?;
                self.after_query(host)
            }
        }
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        match &mut self.query {
            None => {
                let done = self.writer.on_ops(host, need, outcomes, &|_, _, _| Ok(None))?;
                Ok(done.then(|| host.done(self.writer.affected)))
            }
            Some(query) => {
                query.take_ops(need, outcomes)?;
                self.after_query(host)
            }
        }
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        match &mut self.query {
            Some(query) => query.on_batch(host, need, partial),
            None => Ok(None),
        }
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        if let Some(query) = &mut self.query {
            query.take_end(need)?;
        }
        self.after_query(host)
    }
}
