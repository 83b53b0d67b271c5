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

use serde::{Deserialize, Serialize};

use super::{Batch, Operator, project::project};
use crate::{
    Error,
    data::{
        Numeric, Row, Value,
        order::{Key, compare},
    },
    exec::{
        eval::{eval, mismatch, overflow},
        functions::listed,
    },
    map::LargeMap,
    sql::{
        fault::{INTERNAL, UNSUPPORTED, fail},
        scalar::Scalar,
    },
};

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// `count(*)`, `count(e)`.
    Count,
    /// `sum(integer)`.
    Sum,
    /// `sum(real)`.
    SumReal,
    /// `avg(e)`.
    Avg,
    /// `min(e)`.
    Min,
    /// `max(e)`.
    Max,
    /// `sum(numeric)`.
    SumNumeric,
    /// `avg(numeric)`.
    AvgNumeric,
}

/// An aggregate over an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// Over what; NULLs do not count. `None` is `count(*)`.
    pub arg: Option<Scalar>,
    /// Over different values only.
    pub distinct: bool,
}

/// The partial state of an aggregate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// How many.
    Count(i64),
    /// How many and their sum: integers exactly, reals with what rounding lost (Neumaier's summation).
    Sum {
        /// How many.
        count: i64,
        /// Sum of the integers.
        integers: i128,
        /// Sum of the reals.
        reals: f64,
        /// What adding up the reals has lost.
        lost: f64,
    },
    /// The best value so far.
    Best(Option<Value>),
    /// How many decimals, and their sum.
    Decimals {
        /// How many.
        count: i64,
        /// The sum without its point.
        whole: i128,
        /// Digits behind the point.
        scale: u8,
    },
}

/// One group with the partial states of its aggregates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Values of the grouping expressions.
    pub key: Row,
    /// Rows in it.
    pub weight: i64,
    /// One for each aggregate.
    pub states: Vec<State>,
}

impl State {
    pub(super) fn new(function: AggregateFunction) -> State {
        match function {
            AggregateFunction::Count => State::Count(0),
            AggregateFunction::Sum | AggregateFunction::SumReal | AggregateFunction::Avg => {
                State::Sum { count: 0, integers: 0, reals: 0.0, lost: 0.0 }
            }
            AggregateFunction::Min | AggregateFunction::Max => State::Best(None),
            AggregateFunction::SumNumeric | AggregateFunction::AvgNumeric => {
                State::Decimals { count: 0, whole: 0, scale: 0 }
            }
        }
    }

    /// Takes in a value (NULL for the row itself in `count(*)` never comes here).
    pub(super) fn absorb(&mut self, function: AggregateFunction, value: &Value, weight: i64) -> Result<(), Error> {
        match self {
            State::Count(count) => *count = count.checked_add(weight).ok_or_else(overflow)?,
            State::Sum { count, integers, reals, lost } => {
                *count = count.checked_add(weight).ok_or_else(overflow)?;
                match value {
                    Value::Integer(number) => {
                        let product = i128::from(*number) * i128::from(weight);
                        *integers = integers.checked_add(product).ok_or_else(overflow)?;
                    }
                    Value::Real(number) => add(reals, lost, number * weight as f64),
                    other => return mismatch("sum", other),
                }
            }
            State::Decimals { count, whole, scale } => {
                let Value::Numeric(number) = value else { return mismatch("sum", value) };
                *count = count.checked_add(weight).ok_or_else(overflow)?;
                let product = number.whole().checked_mul(i128::from(weight)).ok_or_else(overflow)?;
                add_decimal(whole, scale, product, number.scale())?;
            }
            State::Best(best) => {
                if weight < 0 {
                    return fail(UNSUPPORTED, "min and max over rows that disappear");
                }
                improve(best, function, value);
            }
        }
        Ok(())
    }

    fn merge(&mut self, function: AggregateFunction, other: &State) -> Result<(), Error> {
        match (self, other) {
            (State::Count(count), State::Count(more)) => *count = count.checked_add(*more).ok_or_else(overflow)?,
            (
                State::Sum { count, integers, reals, lost },
                State::Sum { count: more, integers: more_integers, reals: more_reals, lost: more_lost },
            ) => {
                *count = count.checked_add(*more).ok_or_else(overflow)?;
                *integers = integers.checked_add(*more_integers).ok_or_else(overflow)?;
                add(reals, lost, *more_reals);
                *lost += more_lost;
            }
            (
                State::Decimals { count, whole, scale },
                State::Decimals { count: more, whole: more_whole, scale: more_scale },
            ) => {
                *count = count.checked_add(*more).ok_or_else(overflow)?;
                add_decimal(whole, scale, *more_whole, *more_scale)?;
            }
            (State::Best(best), State::Best(Some(value))) => improve(best, function, value),
            (State::Best(_), State::Best(None)) => {}
            _ => return fail(INTERNAL, "partial aggregates of different kinds"),
        }
        Ok(())
    }

    pub(super) fn result(&self, function: AggregateFunction) -> Result<Value, Error> {
        Ok(match self {
            State::Count(count) => Value::Integer(*count),
            State::Sum { count: 0, .. } => Value::Null,
            State::Sum { count, integers, reals, lost } => {
                // A sum that is not finite has lost NaN.
                let reals = if lost.is_finite() { reals + lost } else { *reals };
                match function {
                    AggregateFunction::Sum => Value::Integer(i64::try_from(*integers).map_err(|_| overflow())?),
                    AggregateFunction::SumReal => Value::Real(*integers as f64 + reals),
                    _ => Value::Real((*integers as f64 + reals) / *count as f64),
                }
            }
            State::Best(best) => best.clone().unwrap_or(Value::Null),
            State::Decimals { count: 0, .. } => Value::Null,
            State::Decimals { count, whole, scale } => {
                let sum = Value::Numeric(Numeric::new(*whole, *scale).ok_or_else(overflow)?);
                match function {
                    AggregateFunction::AvgNumeric => listed::by_name("/", &[&sum, &Value::Integer(*count)])?,
                    _ => sum,
                }
            }
        })
    }
}

/// Adds to a sum of decimals, in the larger of both scales.
fn add_decimal(sum: &mut i128, scale: &mut u8, more: i128, more_scale: u8) -> Result<(), Error> {
    let common = more_scale.max(*scale);
    let aligned = |whole: i128, scale: u8| {
        let unit = 10_i128.checked_pow(u32::from(common - scale))?;
        whole.checked_mul(unit)
    };
    let total = aligned(*sum, *scale).zip(aligned(more, more_scale)).and_then(|(sum, more)| sum.checked_add(more));
    *sum = total.ok_or_else(overflow)?;
    *scale = common;
    Ok(())
}

/// Adds to a sum of reals and keeps what rounding loses.
pub(super) fn add(sum: &mut f64, lost: &mut f64, number: f64) {
    let total = *sum + number;
    *lost += if sum.abs() >= number.abs() { (*sum - total) + number } else { (number - total) + *sum };
    *sum = total;
}

fn improve(best: &mut Option<Value>, function: AggregateFunction, value: &Value) {
    let wanted =
        if function == AggregateFunction::Min { core::cmp::Ordering::Less } else { core::cmp::Ordering::Greater };
    if best.as_ref().is_none_or(|best| compare(value, best) == wanted) {
        *best = Some(value.clone());
    }
}

impl Group {
    /// Adds the partial states of the same group.
    pub fn merge(&mut self, calls: &[AggregateCall], other: &Group) -> Result<(), Error> {
        if self.states.len() != calls.len() || other.states.len() != calls.len() {
            return fail(INTERNAL, "partial aggregates of another plan");
        }
        self.weight = self.weight.checked_add(other.weight).ok_or_else(overflow)?;
        for ((state, other), call) in self.states.iter_mut().zip(&other.states).zip(calls) {
            state.merge(call.function, other)?;
        }
        Ok(())
    }
}

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

struct Held {
    weight: i64,
    states: Vec<State>,
    /// The values of DISTINCT aggregates with their weights, by aggregate; empty for others.
    values: Vec<LargeMap<Key, i64>>,
}

/// See the module's documentation.
pub struct Aggregate {
    keys: Vec<Scalar>,
    calls: Vec<AggregateCall>,
    mode: Mode,
    groups: LargeMap<Key, Held>,
}

impl Aggregate {
    /// Groups by `keys` and computes `calls`.
    pub fn new(keys: Vec<Scalar>, calls: Vec<AggregateCall>, mode: Mode) -> Aggregate {
        Aggregate { keys, calls, mode, groups: LargeMap::new() }
    }

    fn absorb_row(&mut self, row: &[Value], weight: i64) -> Result<(), Error> {
        let key = project(&self.keys, row)?;
        let held = held(&mut self.groups, &self.calls, key);
        held.weight = held.weight.checked_add(weight).ok_or_else(overflow)?;
        for (index, call) in self.calls.iter().enumerate() {
            let value = match &call.arg {
                None => std::borrow::Cow::Owned(Value::Boolean(true)),
                Some(arg) => eval(arg, row)?,
            };
            if value.is_null() {
                continue;
            }
            if call.distinct {
                let times = held.values[index].get_or_insert_with(Key(vec![value.into_owned()]), || 0);
                *times = times.checked_add(weight).ok_or_else(overflow)?;
            } else {
                held.states[index].absorb(call.function, &value, weight)?;
            }
        }
        Ok(())
    }
}

fn held<'a>(groups: &'a mut LargeMap<Key, Held>, calls: &[AggregateCall], key: Row) -> &'a mut Held {
    groups.get_or_insert_with(Key(key), || Held {
        weight: 0,
        states: calls.iter().map(|call| State::new(call.function)).collect(),
        values: vec![LargeMap::new(); calls.len()],
    })
}

impl Operator for Aggregate {
    fn on_batch(&mut self, _port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        for signed in batch.rows {
            self.absorb_row(&signed.row, signed.weight)?;
        }
        for group in batch.groups {
            let held = held(&mut self.groups, &self.calls, group.key);
            if group.states.len() != self.calls.len() {
                return fail(INTERNAL, "partial aggregates of another plan");
            }
            held.weight = held.weight.checked_add(group.weight).ok_or_else(overflow)?;
            for ((state, other), call) in held.states.iter_mut().zip(&group.states).zip(&self.calls) {
                state.merge(call.function, other)?;
            }
        }
        Ok(())
    }

    fn on_end(&mut self, _port: usize, out: &mut Batch) -> Result<(), Error> {
        if self.keys.is_empty() && self.mode != Mode::Partial {
            held(&mut self.groups, &self.calls, Row::new());
        }
        for (Key(key), mut held) in core::mem::take(&mut self.groups) {
            if held.weight == 0 && !self.keys.is_empty() {
                continue;
            }
            for ((state, call), values) in held.states.iter_mut().zip(&self.calls).zip(held.values) {
                for (value, _) in values.into_iter().filter(|(_, times)| *times > 0) {
                    state.absorb(call.function, &value.0[0], 1)?;
                }
            }
            if self.mode == Mode::Partial {
                out.groups.push(Group { key, weight: held.weight, states: held.states });
                continue;
            }
            let mut row = key;
            for (state, call) in held.states.iter().zip(&self.calls) {
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
        (name, self.groups.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
