//! Groups rows and computes aggregates, in one step or in two.
//!
//! ```text
//!   complete:  rows ───────────────────────────────────▶ one row for each group      (at the asker)
//!   partial:   rows ──▶ groups with partial states ─┐                                (at each owner)
//!                                     combined up the region tree
//!   final:     groups with partial states ──────────┴──▶ one row for each group      (at the asker)
//! ```
//!
//! Partial states add up ([`Group::merge`]), so the result does not depend on how rows are spread. Weights are
//! respected: a row of weight -1 takes its contribution away; a group whose rows come to nothing disappears.
//! Minimum and maximum keep one value and refuse to take rows away. DISTINCT aggregates keep their values with
//! weights and therefore run complete; only different values travel to them.
//! Without grouping expressions there is one row, also over no rows at all. Emits in group order.

use std::borrow::Cow;

pub use super::state::{AggregateCall, AggregateFunction, Group, State};
use super::{Batch, Operator, sort::sort_and_cut};
use crate::{
    Error,
    data::{
        SignedRow, Value,
        cell::Cell,
        order::{Key, compare},
    },
    exec::{
        columns::{COLUMNS, Columns, Made},
        eval::{eval, overflow},
        table::Table,
        vector::{evaluate, evaluate_all},
    },
    map::LargeMap,
    sql::{
        fault::{INTERNAL, fail},
        scalar::Scalar,
    },
};

/// What an [`Aggregate`] consumes and emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rows in, rows out.
    Complete,
    /// Rows in, groups out.
    Partial,
    /// Groups in, rows out.
    Final,
}

/// See the module's documentation.
pub struct Aggregate {
    keys: Vec<Scalar>,
    calls: Vec<AggregateCall>,
    mode: Mode,
    /// Finds a group by the hash of its key.
    table: Table,
    /// The same without hashes: what else finds rows in order is there anyway where a module has to be small.
    ordered: LargeMap<Key, i64>,
    /// The keys of the groups one after the other.
    groups: Vec<Value>,
    weights: Vec<i64>,
    /// The states of a group one after the other.
    states: Vec<State>,
    /// The values of each DISTINCT aggregate with their weights, by group; none of the others.
    values: Vec<Vec<LargeMap<Key, i64>>>,
}

impl Aggregate {
    /// Groups by `keys` and computes `calls`.
    pub fn new(keys: Vec<Scalar>, calls: Vec<AggregateCall>, mode: Mode) -> Aggregate {
        Aggregate {
            groups: Vec::new(),
            values: vec![Vec::new(); calls.len()],
            keys,
            calls,
            mode,
            table: Table::default(),
            ordered: LargeMap::new(),
            weights: Vec::new(),
            states: Vec::new(),
        }
    }

    /// A group whose key is there already.
    fn begin(&mut self, hash: u64) -> usize {
        self.weights.push(0);
        self.states.extend(self.calls.iter().map(|call| State::new(call.function)));
        for (values, _) in self.values.iter_mut().zip(&self.calls).filter(|(_, call)| call.distinct) {
            values.push(LargeMap::new());
        }
        if COLUMNS {
            self.table.insert(hash);
        }
        self.weights.len() - 1
    }

    /// The group of a key; a new one is made.
    fn group_of(&mut self, key: &[Cow<'_, Value>]) -> usize {
        let hash =
            if COLUMNS { key.iter().fold(self.table.seed(), |hash, value| Cell::from(&**value).hash(hash)) } else { 0 };
        let owned = || key.iter().map(|value| value.clone().into_owned());
        let same = |group: usize| {
            self.groups[group * key.len()..].iter().zip(key).all(|(held, value)| compare(held, value).is_eq())
        };
        let known = if COLUMNS {
            self.table.find(hash, same)
        } else {
            let new = self.weights.len();
            let group = *self.ordered.get_or_insert_with(Key(owned().collect()), || new as i64) as usize;
            (group < new).then_some(group)
        };
        if let Some(group) = known {
            return group;
        }
        self.groups.extend(owned());
        self.begin(hash)
    }

    fn absorb_row(&mut self, row: &[Value], weight: i64) -> Result<(), Error> {
        let keys = core::mem::take(&mut self.keys);
        let key: Result<Vec<Cow<'_, Value>>, Error> = keys.iter().map(|key| eval(key, row)).collect();
        let group = key.map(|key| self.group_of(&key));
        self.keys = keys;
        let group = group?;
        self.weights[group] = self.weights[group].checked_add(weight).ok_or_else(overflow)?;
        let width = self.calls.len();
        for (index, call) in self.calls.iter().enumerate() {
            let value = match &call.arg {
                None => Cow::Owned(Value::Boolean(true)),
                Some(arg) => eval(arg, row)?,
            };
            if value.is_null() {
                continue;
            }
            if call.distinct {
                let times = self.values[index][group].get_or_insert_with(Key(vec![value.into_owned()]), || 0);
                *times = times.checked_add(weight).ok_or_else(overflow)?;
            } else {
                self.states[group * width + index].absorb(call.function, &value, weight)?;
            }
        }
        Ok(())
    }

    /// The group of each row of some keys; new ones are made.
    fn groups_of(&mut self, keys: &[Made<'_>], count: usize) -> Vec<u32> {
        let hashes = self.table.hash(keys, count);
        let mut places = Vec::with_capacity(count);
        for (at, hash) in hashes.into_iter().enumerate() {
            let same = |group: usize| {
                let held = &self.groups[group * keys.len()..];
                keys.iter().zip(held).all(|(key, held)| match (key.cell(at), held) {
                    (Cell::Integer(number), Value::Integer(held)) => number == *held,
                    (cell, held) => cell.compare(&Cell::from(held)).is_eq(),
                })
            };
            let group = match self.table.find(hash, same) {
                Some(group) => group,
                None => {
                    self.groups.extend(keys.iter().map(|key| Value::from(key.cell(at))));
                    self.begin(hash)
                }
            };
            places.push(group as u32);
        }
        places
    }

    fn absorb(&mut self, rows: &Columns) -> Result<(), Error> {
        let keys = evaluate_all(&self.keys, rows)?;
        let places = self.groups_of(&keys, rows.len());
        for (at, group) in places.iter().enumerate() {
            let weight = &mut self.weights[*group as usize];
            *weight = weight.checked_add(rows.weight(at)).ok_or_else(overflow)?;
        }
        let width = self.calls.len();
        for (index, call) in self.calls.iter().enumerate() {
            let values = call.arg.as_ref().map(|arg| evaluate(arg, rows)).transpose()?;
            let values = values.as_deref();
            if call.distinct {
                for (at, group) in places.iter().enumerate() {
                    let cell = values.map_or(Cell::Integer(1), |values| values.cell(at));
                    if !cell.is_null() {
                        let values = &mut self.values[index][*group as usize];
                        let times = values.get_or_insert_with(Key(vec![cell.into()]), || 0);
                        *times = times.checked_add(rows.weight(at)).ok_or_else(overflow)?;
                    }
                }
                continue;
            }
            let mut absorb = |at: usize, group: u32, cell: &Cell<'_>| {
                let state = &mut self.states[group as usize * width + index];
                if cell.is_null() { Ok(()) } else { state.absorb_cell(call.function, cell, rows.weight(at)) }
            };
            let mut places = places.iter().copied().enumerate();
            match values.map(|values| (values, values.integers(), values.reals())) {
                None => places.try_for_each(|(at, group)| absorb(at, group, &Cell::Integer(1)))?,
                Some((_, Some(numbers), _)) => {
                    places
                        .zip(numbers)
                        .try_for_each(|((at, group), number)| absorb(at, group, &Cell::Integer(*number)))?;
                }
                Some((_, _, Some(numbers))) => {
                    places
                        .zip(numbers)
                        .try_for_each(|((at, group), number)| absorb(at, group, &Cell::Real(*number)))?;
                }
                Some((values, ..)) => places.try_for_each(|(at, group)| absorb(at, group, &values.cell(at)))?,
            }
        }
        Ok(())
    }

    /// Adds partial states.
    fn merge(&mut self, groups: Vec<Group>) -> Result<(), Error> {
        let width = self.calls.len();
        for group in groups {
            if group.states.len() != width || group.key.len() != self.keys.len() {
                return fail(INTERNAL, "partial aggregates of another plan");
            }
            let key: Vec<Cow<'_, Value>> = group.key.iter().map(Cow::Borrowed).collect();
            let held = self.group_of(&key);
            self.weights[held] = self.weights[held].checked_add(group.weight).ok_or_else(overflow)?;
            let states = self.states[held * width..].iter_mut();
            for ((state, other), call) in states.zip(&group.states).zip(&self.calls) {
                state.merge(call.function, other)?;
            }
        }
        Ok(())
    }
}

impl Operator for Aggregate {
    fn by_column(&self) -> bool {
        COLUMNS
    }

    fn on_batch(&mut self, _port: usize, mut batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        self.merge(core::mem::take(&mut batch.groups))?;
        if COLUMNS {
            return batch.into_columns()?.iter().try_for_each(|rows| self.absorb(rows));
        }
        batch.rows.iter().try_for_each(|signed| self.absorb_row(&signed.row, signed.weight))
    }

    fn on_end(&mut self, _port: usize, out: &mut Batch) -> Result<(), Error> {
        if self.keys.is_empty() && self.mode != Mode::Partial {
            self.group_of(&[]);
        }
        let mut all = core::mem::replace(self, Aggregate::new(Vec::new(), Vec::new(), self.mode));
        (self.keys, self.calls) = (core::mem::take(&mut all.keys), core::mem::take(&mut all.calls));
        let width = self.calls.len();
        // In order, each with its group's number behind it: no two are equal.
        let strides = self.keys.len();
        let groups = (0..all.weights.len()).filter(|group| all.weights[*group] != 0 || strides == 0);
        let mut order: Vec<SignedRow> = groups
            .map(|group| {
                let key = all.groups[group * strides..][..strides].iter().cloned();
                SignedRow { row: key.chain([Value::Integer(group as i64)]).collect(), weight: 1 }
            })
            .collect();
        sort_and_cut(&mut order, &[], None);
        for SignedRow { mut row, .. } in order {
            let Some(Value::Integer(group)) = row.pop() else { continue };
            let group = group as usize;
            let states = &mut all.states[group * width..][..width];
            for ((state, call), values) in states.iter_mut().zip(&self.calls).zip(&mut all.values) {
                let values = values.get_mut(group).map(core::mem::take).unwrap_or_default();
                for (value, _) in values.into_iter().filter(|(_, times)| *times > 0) {
                    state.absorb(call.function, &value.0[0], 1)?;
                }
            }
            if self.mode == Mode::Partial {
                out.groups.push(Group { key: row, weight: all.weights[group], states: states.to_vec() });
                continue;
            }
            for (state, call) in states.iter().zip(&self.calls) {
                row.push(state.result(call.function)?);
            }
            out.push(row, 1);
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        let name = match self.mode {
            Mode::Complete => "aggregate",
            Mode::Partial => "aggregate (partial)",
            Mode::Final => "aggregate (final)",
        };
        (name, self.weights.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::state::add, *};
    use crate::{
        data::Row,
        exec::vector::tests::{by_column, rows, shown},
    };

    fn calls() -> Vec<AggregateCall> {
        let over = |function, distinct| AggregateCall { function, arg: Some(Scalar::Column(1)), distinct };
        vec![
            AggregateCall { function: AggregateFunction::Count, arg: None, distinct: false },
            over(AggregateFunction::Sum, false),
            over(AggregateFunction::Avg, false),
            over(AggregateFunction::Count, true),
        ]
    }

    fn batch(rows: &[(i64, Option<i64>, i64)]) -> Batch {
        let mut batch = Batch::default();
        for (group, number, weight) in rows {
            batch.push(vec![Value::Integer(*group), number.map_or(Value::Null, Value::Integer)], *weight);
        }
        batch
    }

    fn run(rows: &[(i64, Option<i64>, i64)]) -> Vec<Row> {
        let mut aggregate = Aggregate::new(vec![Scalar::Column(0)], calls(), Mode::Complete);
        let mut out = Batch::default();
        aggregate.on_batch(0, batch(rows), &mut out).unwrap();
        aggregate.on_end(0, &mut out).unwrap();
        out.rows.into_iter().map(|signed| signed.row).collect()
    }

    #[test]
    fn nulls_do_not_count_and_weights_do() {
        let integer = Value::Integer;
        let rows = [(1, Some(4), 2), (1, None, 1), (2, Some(5), 1), (1, Some(1), 1), (2, Some(5), -1)];
        let expected = vec![integer(1), integer(4), integer(9), Value::Real(3.0), integer(2)];
        assert_eq!(run(&rows), [expected], "group 2 comes to nothing and disappears");
    }

    #[test]
    fn no_rows_at_all_are_one_group_without_keys() {
        let mut aggregate = Aggregate::new(Vec::new(), calls(), Mode::Final);
        let mut out = Batch::default();
        aggregate.on_end(0, &mut out).unwrap();
        let expected = vec![Value::Integer(0), Value::Null, Value::Null, Value::Integer(0)];
        assert_eq!(out.rows[0].row, expected);
    }

    #[test]
    fn a_sum_may_pass_through_what_an_integer_cannot_hold() {
        let rows = [(1, Some(i64::MAX), 1), (1, Some(i64::MAX), 1), (1, Some(-i64::MAX), 1)];
        assert_eq!(run(&rows)[0][2], Value::Integer(i64::MAX));
    }

    #[test]
    fn reals_keep_what_rounding_loses() {
        let (mut sum, mut lost) = (0.0, 0.0);
        [1e100, 1.0, -1e100].iter().for_each(|number| add(&mut sum, &mut lost, *number));
        assert_eq!(sum + lost, 1.0);
    }

    proptest! {
        #[test]
        fn groups_of_columns_are_those_of_rows(rows in rows(40), keys in prop::collection::vec(0_u32..3, 0..3)) {
            let call = |function, distinct| AggregateCall { function, arg: Some(Scalar::Column(2)), distinct };
            let calls = vec![
                AggregateCall { function: AggregateFunction::Count, arg: None, distinct: false },
                call(AggregateFunction::Count, true),
                call(AggregateFunction::Min, false),
                call(AggregateFunction::Max, false),
            ];
            let mut groups: LargeMap<Key, Vec<&SignedRow>> = LargeMap::new();
            for signed in &rows {
                let key = Key(keys.iter().map(|at| signed.row[*at as usize].clone()).collect());
                groups.get_or_insert_with(key, Vec::new).push(signed);
            }
            if keys.is_empty() {
                groups.get_or_insert_with(Key(Vec::new()), Vec::new);
            }
            let mut expected = Vec::new();
            for (Key(mut row), of) in groups {
                let mut different: LargeMap<Key, ()> = LargeMap::new();
                let mut states: Vec<State> = calls.iter().map(|call| State::new(call.function)).collect();
                for SignedRow { row, weight } in of {
                    states[0].absorb(AggregateFunction::Count, &Value::Integer(0), *weight).unwrap();
                    if row[2].is_null() {
                        continue;
                    }
                    if different.insert(Key(vec![row[2].clone()]), ()).is_none() {
                        states[1].absorb(AggregateFunction::Count, &row[2], 1).unwrap();
                    }
                    states[2].absorb(AggregateFunction::Min, &row[2], *weight).unwrap();
                    states[3].absorb(AggregateFunction::Max, &row[2], *weight).unwrap();
                }
                row.extend(states.iter().zip(&calls).map(|(state, call)| state.result(call.function).unwrap()));
                expected.push(SignedRow { row, weight: 1 });
            }
            let keys = keys.into_iter().map(Scalar::Column).collect();
            let (mut by_row, mut out) = (Aggregate::new(keys, calls, Mode::Complete), Batch::default());
            let (keys, calls) = (by_row.keys.clone(), by_row.calls.clone());
            rows.iter().for_each(|signed| by_row.absorb_row(&signed.row, signed.weight).unwrap());
            by_row.on_end(0, &mut out).unwrap();
            prop_assert_eq!(shown(&out.rows), shown(&expected));
            let found = by_column(&mut Aggregate::new(keys, calls, Mode::Complete), &rows).unwrap();
            prop_assert_eq!(shown(&found.rows), shown(&expected));
        }
    }
}
