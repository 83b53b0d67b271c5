//! UPDATE and DELETE: rows are found with key and version, then changed conditionally on that version.
//!
//! ```text
//!   the table's rows ──▶ found ─┐
//!                               ├─▶ pairs for which WHERE is true, one for each row ──▶ conditional writes
//!   FROM, USING ───▶ others ────┘        ▲ a row that somebody else changed meets the others again
//! ```
//!
//! A row that somebody else changed in between is read again from the refusal, judged again by WHERE and computed
//! again. When a part of a table could not be seen nothing is written at all: no row is silently skipped. Where several
//! rows of the other tables fit one row, the first of them in the order of their values is taken, so that the same
//! statement does the same however rows are spread.
//!
//! With subqueries the rows found are those for which WHERE is true already. One that was changed in between cannot be
//! judged again alone: what was written is taken back, and the statement is planned and run once more.

use super::{
    GatherEnd,
    host::Host,
    job::{Job, Step},
    query::QueryJob,
    references::Guard,
    refusal::{duplicate, violation},
    write::{Change, Write},
};
use crate::{
    Error,
    data::{Row, Value, codec, order::compare_rows},
    exec::{
        change::{BEHIND, Modify, assign},
        eval::truth,
        fragment::{Partial, decode_version},
        ops::{Batch, Operator, hash_join::HashJoin},
    },
    sql::{
        fault::{CORRUPTED, INCOMPLETE, STALE_PLAN, fail},
        index::Index,
    },
    store::{Outcome, Version},
};

/// See the module's documentation.
pub(super) struct ModifyJob {
    modify: Modify,
    /// While rows are looked for: of the table, and of the others.
    finding: Option<(QueryJob, Option<QueryJob>)>,
    found: Option<Vec<Row>>,
    /// The rows of the other tables, in order.
    others: Option<Vec<Row>>,
    writer: Guard,
}

impl ModifyJob {
    pub fn new(mut modify: Modify) -> Result<ModifyJob, Error> {
        let found = QueryJob::new(core::mem::take(&mut modify.found), Vec::new())?;
        let flow = modify.others.as_mut().map(|others| core::mem::take(&mut others.flow));
        let others = flow.map(|flow| QueryJob::new(flow, Vec::new())).transpose()?;
        Ok(ModifyJob {
            writer: Guard::new(&modify.target, core::mem::take(&mut modify.references), true),
            modify,
            finding: Some((found, others)),
            found: None,
            others: None,
        })
    }

    /// Goes on to write once all rows are found.
    fn found(&mut self, host: &mut Host) -> Step {
        let Some((found, others)) = &mut self.finding else { return Ok(None) };
        if self.found.is_none() {
            self.found = found.rows()?;
        }
        if let (Some(others), None) = (others, &self.others) {
            self.others = others.rows()?;
        }
        if self.found.is_none() || self.modify.others.is_some() && self.others.is_none() {
            return Ok(None);
        }
        if host.done(0).coverage < 1.0 {
            let table = &self.modify.target.name;
            return fail(INCOMPLETE, format!("a part of \"{table}\" could not be reached; nothing was changed"));
        }
        self.finding = None;
        if let Some(others) = &mut self.others {
            others.sort_by(|a, b| compare_rows(a, b));
        }
        for (index, row) in self.pairs()?.into_iter().enumerate() {
            let write = self.modify.write(row, index)?;
            self.writer.push(write);
        }
        let done = self.writer.begin(host)?;
        Ok(self.result(host, done))
    }

    /// The rows found, each with the first of the others that fits, in the order of their keys.
    fn pairs(&mut self) -> Result<Vec<Row>, Error> {
        let width = self.modify.target.missing.len();
        let mut rows = self.found.take().unwrap_or_default();
        let beyond = self.modify.whole.unwrap_or(0) as usize;
        if rows.iter().any(|row| row.len() != width + BEHIND + beyond) {
            return unreadable();
        }
        if let (Some(part), Some(others)) = (&self.modify.others, &self.others) {
            let mut join = HashJoin::new(part.join.clone());
            for other in others {
                first_pair(&mut join, 1, other, width)?;
            }
            join.on_end(1, &mut Batch::default())?;
            let paired = rows.iter().map(|row| first_pair(&mut join, 0, row, width));
            rows = paired.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        }
        rows.sort_by(|a, b| compare_rows(&a[width..], &b[width..]));
        Ok(rows)
    }

    fn result(&mut self, host: &Host, done: bool) -> Option<crate::data::QueryResult> {
        let columns = self.modify.returning.as_ref().map_or(&[][..], |returning| &returning.columns);
        done.then(|| self.writer.result(host, columns))
    }
}

/// Of the pairs that a row of one side makes, the first in the order of the other tables' values.
fn first_pair(join: &mut HashJoin, port: usize, row: &Row, width: usize) -> Result<Option<Row>, Error> {
    let (mut batch, mut out) = (Batch::default(), Batch::default());
    batch.push(row.clone(), 1);
    join.on_batch(port, batch, &mut out)?;
    let pairs = out.by_row().rows.into_iter().map(|signed| signed.row);
    Ok(pairs.min_by(|a, b| compare_rows(&a[width + BEHIND..], &b[width + BEHIND..])))
}

fn unreadable<T>() -> Result<T, Error> {
    fail(CORRUPTED, "a found row has no key and version")
}

impl Modify {
    /// What becomes of a row that is concerned: stored row, key, version, rest of the record, other tables.
    fn write(&self, row: Row, index: usize) -> Result<Write, Error> {
        let width = self.target.missing.len();
        let Some([Value::Blob(key), version, Value::Blob(rest)]) = row.get(width..width + BEHIND) else {
            return unreadable();
        };
        let (key, version) = (key.clone(), decode_version(version)?);
        let old = [&codec::encode_row(&row[..width])[..], rest].concat();
        let show = |row: &Row| self.returning.as_ref().map(|returning| returning.show(row)).transpose();
        let Some(assignments) = &self.assignments else {
            return Ok(Write::new(key, Change::Delete(old, version), index, show(&row)?));
        };
        let mut new = row.clone();
        assign(&mut new[..width], assignments, &row)?;
        self.target.admit(&new[..width])?;
        let assigned = |slot| assignments.iter().any(|(other, _)| *other == slot);
        self.target.seal(&key, &mut new[..width], assigned)?;
        let value = [&codec::encode_row(&new[..width])[..], rest].concat();
        let shown = show(&new)?;
        Ok(Write::changed(&self.target, key, (old, version), (&new, value), index, shown))
    }

    /// What becomes of a row that somebody else has changed; `None` when it is no longer concerned.
    fn redo(
        &self,
        write: &Write,
        current: Option<(Vec<u8>, Version)>,
        index: Option<&Index>,
        others: Option<&[Row]>,
    ) -> Result<Option<Write>, Error> {
        if let Some(index) = index {
            return Err(violation(&self.target, index));
        }
        if matches!(write.change, Change::Insert(_)) {
            return Err(duplicate(&self.target, &write.key));
        }
        // Somebody else removed it: there is nothing left to do.
        let Some((value, version)) = current else { return Ok(None) };
        if self.whole.is_some() {
            return fail(STALE_PLAN, format!("a row of \"{}\" was changed meanwhile", self.target.name));
        }
        let (mut row, rest) = self.target.read(&value)?;
        let rest = codec::encode_row(&rest).split_off(1);
        let version = crate::exec::fragment::encode_version(&version);
        row.extend([Value::Blob(write.key.clone()), version, Value::Blob(rest)]);
        let none = [Row::new()];
        for other in others.unwrap_or(&none) {
            let pair = [&row[..], other].concat();
            if match &self.filter {
                Some(filter) => truth(filter, &pair)? == Some(true),
                None => true,
            } {
                return self.write(pair, write.index).map(Some);
            }
        }
        Ok(None)
    }
}

impl Job for ModifyJob {
    fn start(&mut self, host: &mut Host) -> Step {
        if let Some((found, others)) = &mut self.finding {
            found.open(host)?;
            others.as_mut().map(|others| others.open(host)).transpose()?;
        }
        self.found(host)
    }

    fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Step {
        if let Some((found, others)) = &mut self.finding {
            match others {
                Some(others) if others.awaits(need) => others.take_ops(host, need, outcomes)?,
                _ => found.take_ops(host, need, outcomes)?,
            }
            return self.found(host);
        }
        let (modify, others) = (&self.modify, self.others.as_deref());
        let done = self
            .writer
            .on_ops(host, need, outcomes, &|write, current, index| modify.redo(write, current, index, others))?;
        Ok(self.result(host, done))
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        match &mut self.finding {
            Some((_, Some(others))) if others.awaits(need) => others.on_batch(host, need, partial),
            Some((found, _)) => found.on_batch(host, need, partial),
            None => {
                let done = self.writer.on_batch(host, need, partial)?;
                Ok(self.result(host, done))
            }
        }
    }

    fn on_fault(&mut self, host: &mut Host, fault: Error) -> Step {
        let done = self.writer.give_up(host, fault)?;
        Ok(self.result(host, done))
    }

    fn on_gathered(&mut self, host: &mut Host, need: u32, _end: &GatherEnd) -> Step {
        let Some((found, others)) = &mut self.finding else {
            let done = self.writer.on_gathered(host, need)?;
            return Ok(self.result(host, done));
        };
        found.take_end(host, need)?;
        others.as_mut().map(|others| others.take_end(host, need)).transpose()?;
        self.found(host)
    }
}
