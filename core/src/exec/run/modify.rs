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
        plan::Modify,
    },
    sql::fault::{BUDGET, CORRUPTED, INCOMPLETE, error, fail},
    store::{Outcome, Version},
};

/// See the module's documentation.
pub(super) struct ModifyJob {
    modify: Modify,
    found: Vec<SignedRow>,
    finding: Option<u32>,
    writer: Writer,
}

impl ModifyJob {
    pub fn new(modify: Modify) -> ModifyJob {
        ModifyJob { writer: Writer::new(&modify.table), modify, found: Vec::new(), finding: None }
    }

    /// Goes on to write once all rows are found.
    fn write(&mut self, host: &mut Host) -> Step {
        let width = self.modify.table.columns.len();
        for signed in core::mem::take(&mut self.found) {
            let mut row = signed.row;
            let (Some(version), Some(Value::Blob(key)), true) = (row.pop(), row.pop(), row.len() == width) else {
                return fail(CORRUPTED, "a found row has no key and version");
            };
            if let Some(write) = self.modify.write(key, row, decode_version(&version)?)? {
                self.writer.push(write);
            }
        }
        let done = self.writer.advance(host)?;
        Ok(done.then(|| host.done(self.writer.affected)))
    }
}

impl Modify {
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
        self.finding = match &self.modify.source.keys {
            Some(keys) if keys.is_empty() => return self.write(host),
            Some(keys) => Some(host.ops(lookup(&self.modify.source.fragment, keys))),
            None => Some(host.gather(self.modify.source.fragment.clone())),
        };
        Ok(None)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        if self.finding == Some(need) {
            self.finding = None;
            let keys = self.modify.source.keys.as_deref().unwrap_or(&[]);
            self.found = looked_up(&self.modify.source.fragment, keys, outcomes)?.batch.rows;
            return self.write(host);
        }
        let modify = &self.modify;
        let redo = |key: &[u8], value: Vec<u8>, version: Version| modify.redo(key, value, version);
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
            let table = &self.modify.table.name;
            return fail(INCOMPLETE, format!("a part of \"{table}\" could not be reached; nothing was changed"));
        }
        self.write(host)
    }
}
