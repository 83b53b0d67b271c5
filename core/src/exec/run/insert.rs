//! INSERT: rows are completed, checked and put where nothing is yet; where something is, ON CONFLICT says what happens.
//!
//! A row that ON CONFLICT changes is written on condition of the version that was read, and computed again from what
//! is there if somebody else was faster; one that has gone meanwhile is inserted again.

use std::borrow::Cow;

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
    data::{Column, Row, Value, codec},
    exec::{
        cast::cast,
        change::{Arbiter, Conflict, Insert, Returning, Target, Upsert, assign},
        eval::{eval, truth},
        fragment::Partial,
    },
    map::LargeMap,
    sql::{
        catalog::TableDescriptor,
        fault::{CARDINALITY, CHECK_VIOLATION, INCOMPLETE, NOT_NULL_VIOLATION, UNIQUE_VIOLATION, fail},
        index::Index,
        scalar::Scalar,
    },
    store::{Outcome, Version},
};

/// See the module's documentation.
pub(super) struct InsertJob {
    rules: Rules,
    /// The column that each value of a source row goes to.
    columns: Vec<u32>,
    /// What the other columns get.
    defaults: Vec<Scalar>,
    rows: Vec<Row>,
    query: Option<QueryJob>,
    writer: Guard,
}

/// What a row has to keep to.
struct Rules {
    target: Target,
    conflict: Conflict,
    arbiter: Arbiter,
    returning: Option<Returning>,
    /// The rows as they were to be inserted, where ON CONFLICT may ask for them.
    proposed: Vec<Row>,
}

impl InsertJob {
    pub fn new(insert: Insert) -> Result<InsertJob, Error> {
        let query = insert.query.map(|flow| QueryJob::new(flow, Vec::new())).transpose()?;
        // Of rows that may come to nothing it is not asked what they refer to, until they are written.
        let mut writer = Guard::new(&insert.target, insert.references, insert.conflict == Conflict::Refuse);
        if insert.conflict != Conflict::Refuse && insert.arbiter == Arbiter::PrimaryKey {
            writer.key_first();
        }
        Ok(InsertJob {
            writer,
            rules: Rules {
                target: insert.target,
                conflict: insert.conflict,
                arbiter: insert.arbiter,
                returning: insert.returning,
                proposed: Vec::new(),
            },
            columns: insert.columns,
            defaults: insert.defaults,
            rows: insert.rows,
            query,
        })
    }

    /// Rows as conditional puts.
    fn write(&mut self, host: &mut Host) -> Step {
        // The write of each key, to find keys that come twice.
        let mut keys: LargeMap<Vec<u8>, usize> = LargeMap::new();
        let mut writes: Vec<Option<Write>> = Vec::new();
        for (index, values) in core::mem::take(&mut self.rows).into_iter().enumerate() {
            let row = self.complete(values)?;
            if let Err(error) = self.rules.target.admit(&row) {
                let broken = [NOT_NULL_VIOLATION, CHECK_VIOLATION].contains(&error.code());
                if broken && self.rules.conflict == Conflict::Skip(true) {
                    continue;
                }
                return Err(error);
            }
            let key = match self.rules.target.key(&row) {
                Some(key) => {
                    let earlier = keys.get_or_insert_with(key.clone(), || writes.len());
                    if *earlier < writes.len() {
                        match &self.rules.conflict {
                            Conflict::Refuse => {
                                let message =
                                    format!("a key appears twice in the rows for \"{}\"", self.rules.target.name);
                                return fail(UNIQUE_VIOLATION, message);
                            }
                            Conflict::Skip(_) => continue,
                            Conflict::Replace => {
                                writes[*earlier] = None;
                                *earlier = writes.len();
                            }
                            Conflict::Update(_) => {
                                let message = "ON CONFLICT DO UPDATE cannot change one row twice";
                                return fail(CARDINALITY, message);
                            }
                        }
                    }
                    key
                }
                None => TableDescriptor::hidden_key(host.env.now_us.max(0) as u64, host.env.random, index as u32),
            };
            let sealed = self.rules.sealed(&key, &row)?;
            let shown = self.rules.show(&sealed)?;
            let change = Change::Insert(codec::encode_row(&sealed));
            writes.push(Some(Write::new(key, change, writes.len(), shown)));
            if !matches!(self.rules.conflict, Conflict::Refuse | Conflict::Skip(_)) {
                self.rules.proposed.push(row);
            }
        }
        writes.into_iter().flatten().for_each(|write| self.writer.push(write));
        let done = self.writer.begin(host)?;
        Ok(self.result(host, done))
    }

    /// A source row as a stored row.
    fn complete(&self, values: Row) -> Result<Row, Error> {
        let target = &self.rules.target;
        let mut row = vec![Value::Null; target.missing.len()];
        for (column, default) in target.columns.iter().zip(&self.defaults) {
            row[column.slot as usize] = match default {
                Scalar::Literal(value) => value.clone(),
                _ => Value::Null,
            };
        }
        let given = values.len().min(self.columns.len());
        for (index, (column, default)) in target.columns.iter().zip(&self.defaults).enumerate() {
            if !matches!(default, Scalar::Literal(_)) && !self.columns[..given].contains(&(index as u32)) {
                row[column.slot as usize] = eval(default, &[])?.into_owned();
            }
        }
        for (value, column) in values.into_iter().zip(&self.columns) {
            let column = &target.columns[*column as usize];
            row[column.slot as usize] = cast(value, column.data_type)?;
        }
        Ok(row)
    }

    fn result(&mut self, host: &Host, done: bool) -> Option<crate::data::QueryResult> {
        let columns: &[Column] = self.rules.returning.as_ref().map_or(&[], |returning| &returning.columns);
        done.then(|| self.writer.result(host, columns))
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

impl Rules {
    /// A new row as it is stored.
    fn sealed<'a>(&self, key: &[u8], row: &'a Row) -> Result<Cow<'a, Row>, Error> {
        let mut row = Cow::Borrowed(row);
        if self.target.sealer.is_some() {
            self.target.seal(key, row.to_mut(), |_| true)?;
        }
        Ok(row)
    }

    fn show(&self, row: &[Value]) -> Result<Option<Row>, Error> {
        self.returning.as_ref().map(|returning| returning.show(row)).transpose()
    }

    /// Whether a conflict is one that the statement deals with: of the primary key, or of an index.
    fn deals_with(&self, index: Option<&Index>) -> bool {
        self.conflict != Conflict::Refuse
            && match (&self.arbiter, index) {
                (Arbiter::Any, _) | (Arbiter::PrimaryKey, None) => true,
                (Arbiter::Index(namespace), Some(index)) => *namespace == index.namespace,
                _ => false,
            }
    }

    /// What becomes of a row whose key is not as expected, or whose values are another row's.
    fn redo(
        &self,
        write: &Write,
        current: Option<(Vec<u8>, Version)>,
        index: Option<&Index>,
    ) -> Result<Option<Write>, Error> {
        match (self.deals_with(index), index) {
            (false, Some(index)) => return Err(violation(&self.target, index)),
            (false, None) => return Err(duplicate(&self.target, &write.key)),
            (true, Some(index)) if current.is_none() && !matches!(self.conflict, Conflict::Skip(_)) => {
                return Err(violation(&self.target, index));
            }
            _ => {}
        }
        let Some(proposed) = self.proposed.get(write.index) else { return Ok(None) };
        let Some((value, version)) = current else {
            // Somebody else removed it: now there is room.
            let key = self.target.key(proposed).unwrap_or_else(|| write.key.clone());
            let sealed = self.sealed(&key, proposed)?;
            let change = Change::Insert(codec::encode_row(&sealed));
            return Ok(Some(Write::new(key, change, write.index, self.show(&sealed)?)));
        };
        match &self.conflict {
            Conflict::Refuse | Conflict::Skip(_) => Ok(None),
            Conflict::Replace => {
                let key = write.key.clone();
                // It may lie under a key of its own, where another one's index entry was in the way.
                let own = self.target.key(proposed).unwrap_or_else(|| key.clone());
                let sealed = self.sealed(&own, proposed)?;
                let shown = self.show(&sealed)?;
                let new = (&*sealed, codec::encode_row(&sealed));
                Ok(Some(Write::changed(&self.target, key, (value, version), new, write.index, shown)))
            }
            Conflict::Update(Upsert { assignments, filter }) => {
                let (existing, rest) = self.target.read(&value)?;
                let both = [&existing[..], proposed].concat();
                if let Some(filter) = filter
                    && truth(filter, &both)? != Some(true)
                {
                    return Ok(None);
                }
                let mut row = existing;
                assign(&mut row, assignments, &both)?;
                self.target.admit(&row)?;
                self.target.seal(&write.key, &mut row, |slot| assignments.iter().any(|(other, _)| *other == slot))?;
                let shown = self.show(&row)?;
                let new = codec::encode_row(&[&row[..], &rest].concat());
                let key = write.key.clone();
                Ok(Some(Write::changed(&self.target, key, (value, version), (&row, new), write.index, shown)))
            }
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
                let rules = &self.rules;
                let done = self
                    .writer
                    .on_ops(host, need, outcomes, &|write, current, index| rules.redo(write, current, index))?;
                Ok(self.result(host, done))
            }
            Some(query) => {
                query.take_ops(host, need, outcomes)?;
                self.after_query(host)
            }
        }
    }

    fn on_batch(&mut self, host: &mut Host, need: u32, partial: Partial) -> Step {
        match &mut self.query {
            Some(query) => query.on_batch(host, need, partial),
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
        let Some(query) = &mut self.query else {
            let done = self.writer.on_gathered(host, need)?;
            return Ok(self.result(host, done));
        };
        query.take_end(host, need)?;
        self.after_query(host)
    }
}
