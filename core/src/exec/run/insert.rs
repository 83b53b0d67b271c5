//! INSERT: rows are evaluated, checked and put where nothing is yet.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    query::QueryJob,
    writer::{Change, Write, Writer},
};
use crate::{
    Error,
    data::{Row, Type, Value, codec},
    exec::{cast::cast, eval::eval, fragment::Partial},
    map::Set,
    sql::{
        ast::{Expr, Insert, InsertSource},
        catalog::TableDescriptor,
        fault::{
            COLUMN_COUNT, DATATYPE_MISMATCH, DUPLICATE_COLUMN, NOT_NULL_VIOLATION, UNDEFINED_COLUMN, UNIQUE_VIOLATION,
            fail,
        },
        physical, rules,
        scope::{Binder, Scope},
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
    pub fn new(insert: &Insert, binder: &mut Binder<'_>, table: TableDescriptor) -> Result<InsertJob, Error> {
        let targets = targets(insert, &table)?;
        let mut defaults = Row::with_capacity(table.columns.len());
        for column in &table.columns {
            defaults.push(match &column.default {
                Some(default) => constant(binder, default, column.data_type, &column.name)?,
                None => Value::Null,
            });
        }
        let mut job =
            InsertJob { writer: Writer::new(&table), table, targets, defaults, rows: Vec::new(), query: None };
        match &insert.source {
            InsertSource::Values(rows) => {
                for row in rows {
                    job.check_width(row.len(), insert.columns.is_empty())?;
                    let mut values = Row::with_capacity(row.len());
                    for (expr, target) in row.iter().zip(&job.targets) {
                        let column = &job.table.columns[*target as usize];
                        values.push(match expr {
                            Expr::Default => job.defaults[*target as usize].clone(),
                            expr => constant(binder, expr, column.data_type, &column.name)?,
                        });
                    }
                    job.rows.push(values);
                }
            }
            InsertSource::Query(select) => {
                let query = binder.select(select)?;
                job.check_width(query.columns.len(), insert.columns.is_empty())?;
                for (column, target) in query.columns.iter().zip(&job.targets) {
                    let target = &job.table.columns[*target as usize];
                    let known = [column.data_type, Some(target.data_type)];
                    let narrows = matches!(
                        known,
                        [None, _]
                            | [_, Some(Type::Text)]
                            | [Some(Type::Integer | Type::Real), Some(Type::Integer | Type::Real)]
                    );
                    if known[0] != known[1] && !narrows {
                        return fail(DATATYPE_MISMATCH, format!("column \"{}\" is of another type", target.name));
                    }
                }
                job.query = Some(QueryJob::new(physical::lower(rules::optimise(query.plan))?, query.columns)?);
            }
        }
        Ok(job)
    }

    /// A row may be shorter than the table when no columns are named, as in PostgreSQL; never longer.
    fn check_width(&self, width: usize, all: bool) -> Result<(), Error> {
        if width == 0 || width > self.targets.len() || !all && width < self.targets.len() {
            return fail(COLUMN_COUNT, format!("INSERT has {width} values for {} columns", self.targets.len()));
        }
        Ok(())
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
            return fail(crate::sql::fault::INCOMPLETE, "a part of what INSERT selects from could not be read");
        }
        self.query = None;
        self.rows = rows;
        self.write(host)
    }
}

/// The columns that an INSERT gives, in its order.
fn targets(insert: &Insert, table: &TableDescriptor) -> Result<Vec<u32>, Error> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len() as u32).collect());
    }
    let mut targets = Vec::new();
    for name in &insert.columns {
        let Some(position) = table.columns.iter().position(|column| column.name == *name) else {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
            return fail(UNDEFINED_COLUMN, message);
        };
        if targets.contains(&(position as u32)) {
            return fail(DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"));
        }
        targets.push(position as u32);
    }
    Ok(targets)
}

fn constant(binder: &mut Binder<'_>, expr: &Expr, to: Type, column: &str) -> Result<Value, Error> {
    let typed = binder.expr(expr, &Scope::default())?.assign(to, column)?;
    Ok(eval(&typed.scalar, &[])?.into_owned())
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
