//! What follows from a change of rows through foreign keys: which other rows change with them, and what has to be there.
//!
//! Rows are collected before any is written, each once, however many ways lead to it: so cycles end, and a row that is to
//! be changed twice is written once. One wave of rows is looked at after the other.

use super::{
    host::Host,
    references::{ByValues, Guard, Held, Lost, RowId, Slot, Stage},
    refusal::columns,
    write::Write,
    write_set::{Final, Planned},
    writer::Writer,
};
use crate::{
    Error,
    data::{Row, Value, codec, order::compare_rows},
    exec::{
        eval::eval,
        references::{ForeignKey, References, encoded, values},
    },
    map::{LargeMap, Map},
    sql::{
        ast::ReferentialAction,
        fault::{BUDGET, FOREIGN_KEY_VIOLATION, INTERNAL, TOO_COMPLEX, error, fail},
    },
};

/// Rows that a statement changes through foreign keys.
const ROWS_MAX: usize = 100_000;
/// From row to row, so often.
const DEPTH_MAX: usize = 256;

impl Guard {
    /// What the actions of foreign keys make of the rows found.
    pub(super) fn apply(&mut self, host: &mut Host) -> Result<(), Error> {
        let mut wave: Vec<RowId> = Vec::new();
        let lost = core::mem::take(&mut self.lost);
        let mut found = core::mem::take(&mut self.found);
        found.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| compare_rows(&a.1, &b.1)));
        for (at, row) in found {
            let key = &self.references.keys[at];
            let target = &self.references.tables[key.child].target;
            let planned = Planned::found(target, row)?;
            let id = (key.child, planned.0);
            let now = match self.planned.get(&id) {
                Some((earlier, _)) => earlier.new.clone(),
                None => Some(planned.1.old.clone()),
            };
            // It goes already, or does not refer to it any more.
            let Some(mut row) = now else { continue };
            let Some(encoded) = encoded(&row, &key.columns) else { continue };
            let Some(gone) = lost.get(&at).and_then(|lost| lost.get(&encoded)) else { continue };
            let action = if gone.to.is_none() { key.on_delete } else { key.on_update };
            let new = match (action, &gone.to) {
                (ReferentialAction::NoAction | ReferentialAction::Restrict, to) => {
                    let lost = Lost { values: gone.values.clone(), to: to.clone() };
                    self.held.push(Held { key: at, row: id, value: encoded, lost });
                    continue;
                }
                (ReferentialAction::Cascade, None) => None,
                (action, to) => {
                    let defaults = key.defaults.iter();
                    let values: Row = match (action, to) {
                        (ReferentialAction::Cascade, Some(to)) => to.clone(),
                        (ReferentialAction::SetDefault, _) => {
                            defaults.map(|it| Ok(eval(it, &[])?.into_owned())).collect::<Result<_, Error>>()?
                        }
                        _ => vec![Value::Null; key.columns.len()],
                    };
                    for (slot, value) in key.columns.iter().zip(values) {
                        row[*slot as usize] = value;
                    }
                    if encoded_as(&row, &key.columns, &encoded) {
                        // The default is what goes.
                        let lost = Lost { values: gone.values.clone(), to: gone.to.clone() };
                        self.held.push(Held { key: at, row: id, value: encoded, lost });
                        continue;
                    }
                    target.admit(&row)?;
                    Some(row)
                }
            };
            wave.push(id.clone());
            let depth = self.depth + 1;
            match self.planned.get_mut(&id) {
                Some((earlier, at)) => {
                    (earlier.new, earlier.merged) = (new, true);
                    *at = (*at).max(depth);
                }
                None => {
                    let mut found = planned.1;
                    found.new = new;
                    self.planned.insert(id, (found, depth));
                }
            }
        }
        if self.planned.len() > ROWS_MAX + self.slots[0].writer.queued().len() {
            return fail(BUDGET, format!("more than {ROWS_MAX} rows refer to what goes"));
        }
        wave.sort();
        wave.dedup();
        self.next_wave(host, &wave)
    }

    /// Looks for who refers to values that rows of a wave have no longer; when nobody can, goes on to the other question.
    pub(super) fn next_wave(&mut self, host: &mut Host, wave: &[RowId]) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return fail(TOO_COMPLEX, format!("rows refer to rows more than {DEPTH_MAX} deep"));
        }
        self.lost.clear();
        for id in wave {
            if let Some(change) = self.planned.get(id).map(|(planned, _)| planned.change()) {
                self.lose(id.0, &change);
            }
        }
        for (key, lost) in &mut self.lost {
            let asked = self.asked.entry(*key).or_default();
            keep(lost, |value| asked.insert(value.clone(), ()).is_none());
        }
        self.found.clear();
        self.look_for_children(host)?;
        self.stage = Stage::Wave;
        if self.looks.is_empty() { self.planned(host) } else { Ok(()) }
    }

    /// Values that a row had and has no longer.
    pub(super) fn lose(&mut self, table: usize, change: &Final) {
        let Some(old) = &change.old else { return };
        for (at, key) in self.references.keys.iter().enumerate().filter(|(_, key)| key.parent == table) {
            let (Some(before), Some(values)) = (encoded(old, &key.to), values(old, &key.to)) else { continue };
            let to = change.new.as_ref().map(|new| -> Row {
                key.to.iter().map(|slot| new.get(*slot as usize).cloned().unwrap_or(Value::Null)).collect()
            });
            if to.as_ref().is_none_or(|to| codec::encode_key(to) != before) {
                self.lost.entry(at).or_default().insert(before, Lost { values, to });
            }
        }
    }

    /// Values that a row refers to and did not refer to before; or all, for what it was before may be taken back by others.
    pub(super) fn need(&mut self, table: usize, change: &Final, all: bool) {
        let Some(new) = &change.new else { return };
        for (at, key) in self.references.keys.iter().enumerate().filter(|(_, key)| key.child == table) {
            let (Some(now), Some(values)) = (encoded(new, &key.columns), values(new, &key.columns)) else { continue };
            let before = change.old.as_ref().and_then(|old| encoded(old, &key.columns));
            if all || before.as_ref() != Some(&now) {
                self.needed.entry(at).or_default().insert(now, values);
            }
        }
    }

    /// It is known which rows are to be changed: what they refer to has to be there, or among them.
    fn planned(&mut self, host: &mut Host) -> Result<(), Error> {
        let changes: Vec<(usize, Final)> =
            self.planned.iter().map(|((table, _), (planned, _))| (*table, planned.change())).collect();
        let inserted = core::mem::take(&mut self.inserted).into_iter();
        let inserted = inserted.map(|row| (0, Final { old: None, new: Some(row) }));
        let changes: Vec<(usize, Final)> = changes.into_iter().chain(inserted).collect();
        let mut given: ByValues<()> = Map::new();
        for (at, key) in self.references.keys.iter().enumerate() {
            let rows = changes.iter().filter(|(table, _)| *table == key.parent);
            let given = given.entry(at).or_default();
            for value in rows.filter_map(|(_, change)| encoded(change.new.as_ref()?, &key.to)) {
                given.insert(value, ());
            }
        }
        let given = |key: usize, value: &Vec<u8>| given.get(&key).is_some_and(|given| given.get(value).is_some());
        for Held { key: at, row, value, lost } in core::mem::take(&mut self.held) {
            let key = &self.references.keys[at];
            let refers = self.planned.get(&row).is_none_or(|(planned, _)| {
                planned.new.as_ref().and_then(|row| encoded(row, &key.columns)).as_ref() == Some(&value)
            });
            let action = if lost.to.is_none() { key.on_delete } else { key.on_update };
            if refers && (action == ReferentialAction::Restrict || !given(at, &value)) {
                return Err(self.still_referenced(key, &lost.values));
            }
        }
        self.needed.clear();
        for (table, change) in &changes {
            self.need(*table, change, false);
        }
        for (key, needed) in &mut self.needed {
            keep(needed, |value| !given(*key, value));
            // It is there still, and goes with this statement.
            let goes = |value: &Vec<u8>| self.asked.get(key).is_some_and(|asked| asked.get(value).is_some());
            if let Some((_, values)) = needed.iter().find(|(value, _)| goes(value)) {
                return Err(not_present(&self.references, *key, values));
            }
        }
        self.look_for_parents(host)?;
        self.stage = Stage::Needed;
        Ok(())
    }

    /// Whether all is there that rows refer to.
    pub(super) fn all_there(&self) -> Result<(), Error> {
        for (at, needed) in &self.needed {
            let there = |value: &Vec<u8>| self.there.get(at).is_some_and(|there| there.get(value).is_some());
            if let Some((_, values)) = needed.iter().find(|(value, _)| !there(value)) {
                return Err(not_present(&self.references, *at, values));
            }
        }
        Ok(())
    }

    /// Rows get their writers, those that refer before those that are referred to.
    pub(super) fn write(&mut self) -> Result<(), Error> {
        let mut writes: Map<usize, (usize, Vec<Write>)> = Map::new();
        for ((table, key), (planned, depth)) in core::mem::take(&mut self.planned) {
            let target = &self.references.tables[table].target;
            match planned.own {
                Some(at) if planned.merged => {
                    let queued = self.slots[0].writer.queued();
                    let Some(write) = queued.get_mut(at) else { return fail(INTERNAL, "a write that is not there") };
                    *write = planned.into_write(target, key, write.index, write.shown.take());
                }
                Some(_) => {}
                None => {
                    let (deepest, writes) = writes.entry(table).or_default();
                    *deepest = depth.max(*deepest);
                    let at = writes.len();
                    writes.push(planned.into_write(target, key, at, None));
                }
            }
        }
        let mut writes: Vec<(usize, (usize, Vec<Write>))> = writes.into_iter().collect();
        writes.sort_by_key(|(_, (depth, _))| core::cmp::Reverse(*depth));
        for (table, (_, writes)) in writes {
            let mut writer = Writer::new(&self.references.tables[table].target);
            writer.hold(self.slots.len());
            writes.into_iter().for_each(|write| writer.push(write));
            self.order.push_back(self.slots.len());
            self.slots.push(Slot { table, writer });
        }
        if self.began.is_empty() || !self.began.contains(&0) {
            self.order.push_back(0);
        }
        self.stage = Stage::Writing;
        Ok(())
    }

    fn still_referenced(&self, key: &ForeignKey, values: &[Value]) -> Error {
        let (child, parent) = (&self.references.tables[key.child].target, &self.references.tables[key.parent].target);
        let (values, columns) = (listed(values), columns(parent, key.to.iter().copied()));
        let (child, parent, name) = (&child.name, &parent.name, &key.name);
        let what = format!(
            "update or delete on table \"{parent}\" violates foreign key constraint \"{name}\" on table \"{child}\""
        );
        let detail = format!("Key ({columns})=({values}) is still referenced from table \"{child}\".");
        error(FOREIGN_KEY_VIOLATION, format!("{what}: {detail}"))
    }
}

/// The error of a row that refers to nothing.
fn not_present(references: &References, key: usize, values: &[Value]) -> Error {
    let key = &references.keys[key];
    let (child, parent) = (&references.tables[key.child].target, &references.tables[key.parent].target);
    let (values, columns) = (listed(values), columns(child, key.columns.iter().copied()));
    let (child, parent, name) = (&child.name, &parent.name, &key.name);
    let what = format!("insert or update on table \"{child}\" violates foreign key constraint \"{name}\"");
    error(FOREIGN_KEY_VIOLATION, format!("{what}: Key ({columns})=({values}) is not present in table \"{parent}\"."))
}

fn encoded_as(row: &[Value], slots: &[u32], value: &[u8]) -> bool {
    encoded(row, slots).is_some_and(|encoded| encoded == value)
}

/// Keeps some values.
fn keep<V>(all: &mut LargeMap<Vec<u8>, V>, mut keep: impl FnMut(&Vec<u8>) -> bool) {
    for (value, it) in core::mem::take(all) {
        if keep(&value) {
            all.insert(value, it);
        }
    }
}

fn listed(values: &[Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
