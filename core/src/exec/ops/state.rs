//! Partial states of aggregates: what some rows of a group come to, and how two of them become one.
//!
//! They add up, so the result does not depend on how rows are spread (Madden et al., *TAG*, OSDI 2002, section 3). Weights are
//! respected: a row of weight -1 takes its contribution away. Minimum, maximum and [sketches](super::sketch) refuse to
//! take rows away. The result of a sketch is the state itself, encoded: only the asker reads off what it says
//! ([`functions`](crate::exec::functions)).

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::sketch::{common::Common, digest::Digest, distinct::Distinct};
use crate::{
    Error,
    data::{Numeric, Row, Value, cell::Cell},
    exec::{
        columns::COLUMNS,
        eval::{mismatch, overflow},
        functions::listed,
    },
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
    /// A sketch of the different values.
    Distinct,
    /// A sketch of the frequent values.
    Common,
    /// A sketch of how numbers are spread.
    Digest,
    /// Bytes of the values, about.
    Width,
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
    /// Which values there are.
    Distinct(Distinct),
    /// Which are frequent.
    Common(Common),
    /// How they are spread.
    Digest(Digest),
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
    /// That of no rows.
    pub fn new(function: AggregateFunction) -> State {
        match function {
            AggregateFunction::Count | AggregateFunction::Width => State::Count(0),
            AggregateFunction::Sum | AggregateFunction::SumReal | AggregateFunction::Avg => {
                State::Sum { count: 0, integers: 0, reals: 0.0, lost: 0.0 }
            }
            AggregateFunction::Min | AggregateFunction::Max => State::Best(None),
            AggregateFunction::SumNumeric | AggregateFunction::AvgNumeric => {
                State::Decimals { count: 0, whole: 0, scale: 0 }
            }
            AggregateFunction::Distinct => State::Distinct(Distinct::default()),
            AggregateFunction::Common => State::Common(Common::default()),
            AggregateFunction::Digest => State::Digest(Digest::default()),
        }
    }

    /// The bytes that it takes beyond itself, about.
    pub fn bytes(&self) -> usize {
        match self {
            State::Distinct(sketch) => sketch.bytes(),
            State::Common(sketch) => sketch.bytes(),
            State::Digest(sketch) => sketch.bytes(),
            _ => 0,
        }
    }

    /// Takes in a value (NULL for the row itself in `count(*)` never comes here).
    pub(super) fn absorb(&mut self, function: AggregateFunction, value: &Value, weight: i64) -> Result<(), Error> {
        self.absorb_cell(function, &Cell::from(value), weight)
    }

    /// The same of a value in a column.
    #[cfg_attr(feature = "columns", inline(always))]
    pub(super) fn absorb_cell(
        &mut self,
        function: AggregateFunction,
        cell: &Cell<'_>,
        weight: i64,
    ) -> Result<(), Error> {
        match self {
            State::Count(count) => {
                let each = if function == AggregateFunction::Width { width(cell) } else { 1 };
                *count = weight.checked_mul(each).and_then(|all| count.checked_add(all)).ok_or_else(overflow)?;
            }
            State::Sum { count, integers, reals, lost } => {
                *count = count.checked_add(weight).ok_or_else(overflow)?;
                match cell {
                    Cell::Integer(number) => {
                        // Wide products are slow where words are narrow.
                        let wide = i128::from(*number);
                        let product = if weight == 1 { wide } else { wide * i128::from(weight) };
                        *integers = integers.checked_add(product).ok_or_else(overflow)?;
                    }
                    Cell::Real(number) => add(reals, lost, number * weight as f64),
                    other => return mismatch("sum", &other.clone().into()),
                }
            }
            State::Decimals { count, whole, scale } => {
                let (Cell::Other(Value::Numeric(number)) | Cell::Owned(Value::Numeric(number))) = cell else {
                    return mismatch("sum", &cell.clone().into());
                };
                *count = count.checked_add(weight).ok_or_else(overflow)?;
                let product = number.whole().checked_mul(i128::from(weight)).ok_or_else(overflow)?;
                add_decimal(whole, scale, product, number.scale())?;
            }
            _ if weight < 0 => return fail(UNSUPPORTED, "min, max and sketches over rows that disappear"),
            State::Best(best) => improve(best, function, cell),
            State::Distinct(sketch) => sketch.absorb(cell),
            State::Common(sketch) => sketch.absorb(cell, weight as u64),
            State::Digest(sketch) => match cell {
                Cell::Integer(number) => sketch.absorb(*number as f64, weight as u64),
                Cell::Real(number) => sketch.absorb(*number, weight as u64),
                other => return mismatch("approx_percentile", &other.clone().into()),
            },
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, function: AggregateFunction, other: &State) -> Result<(), Error> {
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
            (State::Best(best), State::Best(Some(value))) => improve(best, function, &Cell::from(value)),
            (State::Best(_), State::Best(None)) => {}
            (State::Distinct(sketch), State::Distinct(other)) => sketch.merge(other),
            (State::Common(sketch), State::Common(other)) => sketch.merge(other),
            (State::Digest(sketch), State::Digest(other)) => sketch.merge(other),
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
            sketch => Value::Blob(sketch.encode()),
        })
    }

    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// From a result of [`State::encode`].
    pub fn decode(bytes: &[u8]) -> Option<State> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The bytes of a value, about.
fn width(cell: &Cell<'_>) -> i64 {
    match cell {
        Cell::Text(text) => text.len() as i64 + 8,
        Cell::Other(value) => value.bytes() as i64,
        Cell::Owned(value) => value.bytes() as i64,
        _ => 8,
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

fn improve(best: &mut Option<Value>, function: AggregateFunction, cell: &Cell<'_>) {
    let wanted = if function == AggregateFunction::Min { Ordering::Less } else { Ordering::Greater };
    if COLUMNS {
        match (best.as_mut(), cell) {
            (Some(Value::Integer(best)), Cell::Integer(number)) => {
                if number.cmp(best) == wanted {
                    *best = *number;
                }
                return;
            }
            (Some(Value::Real(best)), Cell::Real(number)) if !best.is_nan() && !number.is_nan() => {
                if number.partial_cmp(best) == Some(wanted) {
                    *best = *number;
                }
                return;
            }
            _ => {}
        }
    }
    if best.as_ref().is_none_or(|best| cell.compare(&Cell::from(best)) == wanted) {
        *best = Some(cell.clone().into());
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
