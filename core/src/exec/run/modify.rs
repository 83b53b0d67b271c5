//! UPDATE and DELETE: rows are found with key and version, then changed conditionally on that version.
//!
//! A row that somebody else changed in between is read again from the refusal, judged again by WHERE and computed
//! again. When a part of the table could not be seen nothing is written at all: no row is silently skipped.

use super::{
    GatherEnd,
    host::Host,
    insert::check_not_null,
    job::{Job, Step},
    query::{ASKER_BUDGET, looked_up, lookup},
    writer::{Change, Write, Writer},
};
use crate::{
    Error,
    data::{Row, SignedRow, Value, codec},
    exec::{
        eval::{eval, truth},
        fragment::{Partial, decode_version},
    },
    sql::{
        ast::{Delete, Expr, Update},
        catalog::TableDescriptor,
        fault::{BUDGET, CORRUPTED, DUPLICATE_COLUMN, INCOMPLETE, INTERNAL, UNDEFINED_COLUMN, error, fail},
        logical::Logical,
        physical::{self, Node, Op, Source},
        scalar::Scalar,
        scope::Binder,
    },
    store::{Outcome, Version},
};

/// See the module's documentation.
pub(super) struct ModifyJob {
    change: Computed,
    source: Source,
    found: Vec<SignedRow>,
    finding: Option<u32>,
    writer: Writer,
}

/// What becomes of a row.
struct Computed {
    table: TableDescriptor,
    /// Over all columns of the table.
    filter: Option<Scalar>,
    /// Column and new value, over all columns; `None` deletes.
    assignments: Option<Vec<(u32, Scalar)>>,
}

impl ModifyJob {
    pub fn update(update: &Update, binder: &mut Binder<'_>, table: TableDescriptor) -> Result<ModifyJob, Error> {
        let label = update.alias.as_deref().unwrap_or(&update.table);
        let (scan, scope) = binder.scan_of(&table, label);
        let ids = scan.schema();
        let mut assignments: Vec<(u32, Scalar)> = Vec::new();
        for (name, expr) in &update.assignments {
            let Some(position) = table.columns.iter().position(|column| column.name == *name) else {
                return fail(UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"));
            };
            if assignments.iter().any(|(other, _)| *other == position as u32) {
                return fail(DUPLICATE_COLUMN, format!("multiple assignments to column \"{name}\""));
            }
            let column = &table.columns[position];
            let expr = match (expr, &column.default) {
                (Expr::Default, Some(default)) => default,
                (Expr::Default, None) => &crate::sql::catalog::NO_DEFAULT,
                (expr, _) => expr,
            };
            let typed = binder.expr(expr, &scope)?.assign(column.data_type, name)?;
            let scalar = typed.scalar.remap(&ids).ok_or_else(|| error(INTERNAL, "an assignment lost a column"))?;
            assignments.push((position as u32, scalar));
        }
        let filter = update.filter.as_ref().map(|filter| binder.condition(filter, &scope)).transpose()?;
        ModifyJob::new(scan, filter, Some(assignments), table)
    }

    pub fn delete(delete: &Delete, binder: &mut Binder<'_>, table: TableDescriptor) -> Result<ModifyJob, Error> {
        let label = delete.alias.as_deref().unwrap_or(&delete.table);
        let (scan, scope) = binder.scan_of(&table, label);
        let filter = delete.filter.as_ref().map(|filter| binder.condition(filter, &scope)).transpose()?;
        ModifyJob::new(scan, filter, None, table)
    }

    fn new(
        scan: Logical,
        filter: Option<Scalar>,
        assignments: Option<Vec<(u32, Scalar)>>,
        table: TableDescriptor,
    ) -> Result<ModifyJob, Error> {
        let ids = scan.schema();
        let Logical::Scan(mut scan) = scan else { return fail(INTERNAL, "not a scan") };
        scan.filter = filter.clone().map(Scalar::conjuncts).unwrap_or_default();
        let Node { op: Op::Source(source), .. } = physical::source(scan, true)? else {
            return fail(INTERNAL, "not a source");
        };
        let filter = filter.and_then(|filter| filter.remap(&ids));
        Ok(ModifyJob {
            writer: Writer::new(&table),
            change: Computed { table, filter, assignments },
            source,
            found: Vec::new(),
            finding: None,
        })
    }

    /// Where it finds its rows, for EXPLAIN.
    pub fn plan(&self) -> Node {
        Node { op: Op::Source(self.source.clone()), inputs: Vec::new(), schema: self.source.read.clone() }
    }

    /// Goes on to write once all rows are found.
    fn write(&mut self, host: &mut Host) -> Step {
        let width = self.change.table.columns.len();
        for signed in core::mem::take(&mut self.found) {
            let mut row = signed.row;
            let (Some(version), Some(Value::Blob(key)), true) = (row.pop(), row.pop(), row.len() == width) else {
                return fail(CORRUPTED, "a found row has no key and version");
            };
            if let Some(write) = self.change.write(key, row, decode_version(&version)?)? {
                self.writer.push(write);
            }
        }
        let done = self.writer.advance(host)?;
        Ok(done.then(|| host.done(self.writer.affected)))
    }
}

impl Computed {
    /// What becomes of a row that is concerned.
    fn write(&self, key: Vec<u8>, row: Row, version: Version) -> Result<Option<Write>, Error> {
        let old = codec::encode_row(&row);
        let Some(assignments) = &self.assignments else {
            return Ok(Some(Write::new(key, Change::Delete(old, version))));
        };
        let mut new = row.clone();
        for (position, scalar) in assignments {
            new[*position as usize] = eval(scalar, &row)?.into_owned();
        }
        check_not_null(&self.table, &new)?;
        let value = codec::encode_row(&new);
        Ok(Some(match self.table.key(&new) {
            Some(moved) if moved != key => Write {
                then: Some(Box::new(Write::new(key, Change::Delete(old, version)))),
                ..Write::new(moved, Change::Insert(value))
            },
            _ => Write::new(key, Change::Replace(old, version, value)),
        }))
    }

    /// What becomes of a row that somebody else has changed to `value`.
    fn redo(&self, key: &[u8], value: Vec<u8>, version: Version) -> Result<Option<Write>, Error> {
        let mut row = codec::decode_row(&value).map_err(|_| error(CORRUPTED, "a record does not read as a row"))?;
        row.resize(self.table.columns.len(), Value::Null);
        match &self.filter {
            Some(filter) if truth(filter, &row)? != Some(true) => Ok(None),
            _ => self.write(key.to_vec(), row, version),
        }
    }
}

impl Job for ModifyJob {
    fn start(&mut self, host: &mut Host) -> Step {
        self.finding = match &self.source.keys {
            Some(keys) if keys.is_empty() => return self.write(host),
            Some(keys) => Some(host.ops(lookup(&self.source.fragment, keys))),
            None => Some(host.gather(self.source.fragment.clone())),
        };
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        if self.finding == Some(need) {
            self.finding = None;
            let keys = self.source.keys.as_deref().unwrap_or(&[]);
            self.found = looked_up(&self.source.fragment, keys, outcomes)?.batch.rows;
            return self.write(host);
        }
        let change = &self.change;
        let redo = |key: &[u8], value: Vec<u8>, version: Version| change.redo(key, value, version);
        let done = self.writer.on_ops(host, need, outcomes, &redo)?;
        Ok(done.then(|| host.done(self.writer.affected)))
    }

    fn on_batch(&mut self, _host: &mut Host, _need: u32, partial: Partial) -> Step {
        self.found.extend(partial.batch.rows);
        if self.found.len() > ASKER_BUDGET.rows_max {
            return fail(BUDGET, "too many rows to change in one statement");
        }
        Ok(None)
    }

    fn on_gathered(&mut self, host: &mut Host, _need: u32, end: &GatherEnd) -> Step {
        self.finding = None;
        if end.coverage < 1.0 {
            let table = &self.change.table.name;
            return fail(INCOMPLETE, format!("a part of \"{table}\" could not be reached; nothing was changed"));
        }
        self.write(host)
    }
}
