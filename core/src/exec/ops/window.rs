//! Computes over the rows around each row: ranks, neighbours, aggregates of a frame.
//!
//! ```text
//!   rows ──▶ held ──▶ at the end: by partition, in order ──▶ each row ++ one value for each call
//!
//!   partition   . . . . [ . . . row . . ] . . .      a frame reaches from a bound to another one
//! ```
//!
//! Rows that the order leaves equal are *peers*; among each other they stand in the order of their values, so that the
//! result does not depend on how rows are spread. A frame that begins with the partition is aggregated as it grows, another
//! one anew for each row. All rows of a partition have to be there: it runs at the asker, and not over rows that
//! disappear.

use super::{Batch, Operator, collect::Accumulator, hash_join::PAIRS_MAX, project::project, sort};
use crate::{
    Error,
    data::{Row, Value, order::compare},
    exec::{
        dataflow::RESULT_ROWS_MAX,
        eval::{arithmetic, eval},
        plan::{self, Bound, Call, WindowCall, WindowFrame, WindowFunction},
    },
    sql::{
        ast::{BinaryOp, FrameUnit},
        fault::{BUDGET, INVALID_ARGUMENT, UNSUPPORTED, WINDOWING, fail},
    },
};

/// See the module's documentation.
pub struct Window {
    window: plan::Window,
    rows: Vec<Held>,
}

#[derive(Clone)]
struct Held {
    /// Partition and order.
    key: Row,
    row: Row,
}

/// The rows of one partition, in order.
struct Partition<'a> {
    rows: &'a [Held],
    /// Where the order's first key stands among the keys, and whether it descends.
    order: Option<(usize, bool)>,
    /// For each row: where its peers begin and end.
    peers: Vec<(usize, usize)>,
    /// Where each group of peers begins, and at last where the last one ends.
    groups: Vec<usize>,
}

impl Window {
    /// The window that a plan describes.
    pub fn new(window: plan::Window) -> Window {
        Window { window, rows: Vec::new() }
    }
}

impl Operator for Window {
    fn on_batch(&mut self, _port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        for signed in batch.rows {
            let Ok(times) = usize::try_from(signed.weight) else {
                return fail(UNSUPPORTED, "window functions over rows that disappear");
            };
            if self.rows.len().saturating_add(times) > RESULT_ROWS_MAX {
                return fail(BUDGET, format!("windows over more than {RESULT_ROWS_MAX} rows"));
            }
            let mut key = project(&self.window.partition, &signed.row)?;
            for order in &self.window.order {
                key.push(eval(&order.scalar, &signed.row)?.into_owned());
            }
            self.rows.extend(core::iter::repeat_n(Held { key, row: signed.row }, times));
        }
        Ok(())
    }

    fn on_end(&mut self, _port: usize, out: &mut Batch) -> Result<(), Error> {
        let width = self.window.partition.len();
        let ascending = |column| sort::SortKey { column, descending: false, nulls_first: false };
        let mut keys: Vec<sort::SortKey> = (0..width as u32).map(ascending).collect();
        for (at, order) in self.window.order.iter().enumerate() {
            let column = (width + at) as u32;
            keys.push(sort::SortKey { column, descending: order.descending, nulls_first: order.nulls_first });
        }
        let mut rows = core::mem::take(&mut self.rows);
        rows.sort_by(|a, b| {
            let order = sort::compare_by(&keys, &a.key, &b.key);
            order.then_with(|| sort::compare_by(&[], &a.row, &b.row))
        });
        let same = |a: &Held, b: &Held, from: usize, to: usize| {
            a.key[from..to].iter().zip(&b.key[from..to]).all(|(a, b)| compare(a, b).is_eq())
        };
        let all = width + self.window.order.len();
        let order = self.window.order.first().map(|key| (width, key.descending));
        let mut pairs = 0;
        for rows in rows.chunk_by(|a, b| same(a, b, 0, width)) {
            let (mut peers, mut groups) = (Vec::with_capacity(rows.len()), Vec::new());
            for group in rows.chunk_by(|a, b| same(a, b, width, all)) {
                let from = peers.len();
                groups.push(from);
                peers.extend(core::iter::repeat_n((from, from + group.len()), group.len()));
            }
            groups.push(rows.len());
            let partition = Partition { rows, order, peers, groups };
            let mut columns = Vec::with_capacity(self.window.calls.len());
            for call in &self.window.calls {
                columns.push(partition.compute(call, &mut pairs)?.into_iter());
            }
            for held in rows {
                let values = columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null));
                out.push(held.row.iter().cloned().chain(values).collect(), 1);
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("window", self.rows.len())
    }
}

impl Partition<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    /// The value of a call for each row.
    fn compute(&self, call: &WindowCall, pairs: &mut u64) -> Result<Vec<Value>, Error> {
        if let WindowFunction::Aggregate(aggregate) = &call.function {
            return self.aggregate(aggregate, &call.frame, pairs);
        }
        (0..self.len()).map(|at| self.value(call, at)).collect()
    }

    fn value(&self, call: &WindowCall, at: usize) -> Result<Value, Error> {
        let number = |number: usize| Value::Integer(number as i64);
        let (first, last) = self.peers[at];
        let group = || self.groups.partition_point(|from| *from <= at);
        Ok(match &call.function {
            WindowFunction::RowNumber => number(at + 1),
            WindowFunction::Rank => number(first + 1),
            WindowFunction::DenseRank => number(group()),
            WindowFunction::PercentRank if self.len() < 2 => Value::Real(0.0),
            WindowFunction::PercentRank => Value::Real(first as f64 / (self.len() - 1) as f64),
            WindowFunction::CumeDist => Value::Real(last as f64 / self.len() as f64),
            WindowFunction::Ntile => match self.argument(call, 0, at)? {
                Value::Null => Value::Null,
                Value::Integer(buckets) if buckets > 0 => {
                    // The first `more` buckets have one row more than the others.
                    let buckets = usize::try_from(buckets).unwrap_or(usize::MAX);
                    let (each, more) = (self.len() / buckets, self.len() % buckets);
                    let large = more * (each + 1);
                    number(if at < large { at / (each + 1) } else { more + (at - large) / each.max(1) } + 1)
                }
                _ => return fail(INVALID_ARGUMENT, "argument of ntile must be greater than zero"),
            },
            WindowFunction::Lag | WindowFunction::Lead => {
                let offset = if call.args.len() > 1 { self.argument(call, 1, at)? } else { Value::Integer(1) };
                let Value::Integer(offset) = offset else { return Ok(Value::Null) };
                let offset = if call.function == WindowFunction::Lag { offset.checked_neg() } else { Some(offset) };
                let other = offset.and_then(|offset| (at as i64).checked_add(offset));
                match other.and_then(|other| usize::try_from(other).ok()).filter(|other| *other < self.len()) {
                    Some(other) => self.argument(call, 0, other)?,
                    None if call.args.len() > 2 => self.argument(call, 2, at)?,
                    None => Value::Null,
                }
            }
            WindowFunction::FirstValue | WindowFunction::LastValue | WindowFunction::NthValue => {
                let (from, to) = self.frame(&call.frame, at)?;
                let wanted = match &call.function {
                    WindowFunction::FirstValue => from,
                    WindowFunction::LastValue => to.wrapping_sub(1),
                    _ => match self.argument(call, 1, at)? {
                        Value::Integer(nth) if nth > 0 => from.saturating_add(nth as usize - 1),
                        Value::Null => return Ok(Value::Null),
                        _ => return fail(INVALID_ARGUMENT, "argument of nth_value must be greater than zero"),
                    },
                };
                if from < to && (from..to).contains(&wanted) { self.argument(call, 0, wanted)? } else { Value::Null }
            }
            WindowFunction::Aggregate(_) => Value::Null,
        })
    }

    fn argument(&self, call: &WindowCall, index: usize, at: usize) -> Result<Value, Error> {
        match call.args.get(index) {
            Some(arg) => Ok(eval(arg, &self.rows[at].row)?.into_owned()),
            None => Ok(Value::Null),
        }
    }

    fn aggregate(&self, call: &Call, frame: &WindowFrame, pairs: &mut u64) -> Result<Vec<Value>, Error> {
        let mut values: Vec<Value> = Vec::with_capacity(self.len());
        let (mut running, mut done) = (Accumulator::new(call), (0, 0));
        for at in 0..self.len() {
            let (from, to) = self.frame(frame, at)?;
            if at > 0 && (from, to) == done {
                values.push(values[at - 1].clone());
                continue;
            }
            // A frame that only grows goes on from the one before.
            if from != done.0 || to < done.1 {
                (running, done) = (Accumulator::new(call), (from, from));
            }
            for held in self.rows.get(done.1..to).unwrap_or_default() {
                *pairs += 1;
                if *pairs > PAIRS_MAX {
                    return fail(BUDGET, format!("windows that read more than {PAIRS_MAX} rows"));
                }
                running.absorb(&held.row, 1)?;
            }
            done = (from, to.max(from));
            values.push(running.result()?);
        }
        Ok(values)
    }

    /// The rows of a frame: from, and to but not with.
    fn frame(&self, frame: &WindowFrame, at: usize) -> Result<(usize, usize), Error> {
        let from = self.bound(&frame.start, frame.unit, at, false)?;
        let to = self.bound(&frame.end, frame.unit, at, true)?;
        Ok((from, to.max(from)))
    }

    fn bound(&self, bound: &Bound, unit: FrameUnit, at: usize, end: bool) -> Result<usize, Error> {
        let (amount, after) = match bound {
            Bound::First => return Ok(0),
            Bound::Last => return Ok(self.len()),
            Bound::Current if unit == FrameUnit::Rows => return Ok(at + usize::from(end)),
            Bound::Current => return Ok(if end { self.peers[at].1 } else { self.peers[at].0 }),
            Bound::Before(amount) => (amount, false),
            Bound::After(amount) => (amount, true),
        };
        let count = match amount {
            Value::Integer(count) => usize::try_from(*count).unwrap_or(usize::MAX),
            _ => 0,
        };
        let moved = |from: usize| if after { from.saturating_add(count) } else { from.saturating_sub(count) };
        match unit {
            FrameUnit::Rows if !after && end => Ok((at + 1).saturating_sub(count)),
            FrameUnit::Rows => Ok(moved(at).saturating_add(usize::from(end)).min(self.len())),
            FrameUnit::Groups => {
                let group = self.groups.partition_point(|from| *from <= at) - 1;
                if !after && count > group {
                    return Ok(0);
                }
                let group = moved(group).saturating_add(usize::from(end)).min(self.groups.len() - 1);
                Ok(self.groups[group])
            }
            FrameUnit::Range => self.range(amount, after, at, end),
        }
    }

    /// A bound that is so far from the row's own value.
    fn range(&self, amount: &Value, after: bool, at: usize, end: bool) -> Result<usize, Error> {
        let Some((column, descending)) = self.order else {
            return fail(WINDOWING, "RANGE with an offset needs exactly one ORDER BY expression");
        };
        let value = |row: usize| &self.rows[row].key[column];
        if value(at).is_null() {
            return Ok(if end { self.peers[at].1 } else { self.peers[at].0 });
        }
        // Further in the order is larger, or smaller where it descends.
        let op = if after == descending { BinaryOp::Sub } else { BinaryOp::Add };
        let limit = arithmetic(op, value(at), amount)?;
        // NULLs stand all at one side of the numbers.
        let nulls_first = value(0).is_null();
        let before = |held: &Held| {
            let value = &held.key[column];
            if value.is_null() {
                return nulls_first;
            }
            let order = compare(value, &limit);
            let order = if descending { order.reverse() } else { order };
            if end { order.is_le() } else { order.is_lt() }
        };
        Ok(self.rows.partition_point(before))
    }
}
