//! Groups rows and computes aggregates that need all their values at once: `string_agg`, variance, those with an order.
//!
//! ```text
//!   rows ──▶ by group, each aggregate's arguments kept ──▶ at the end: in order, one row for each group
//! ```
//!
//! Only the asker runs it; owners send the different rows of keys and arguments, with their weights. Values are put in
//! order before they are computed with, also where no order is asked for, so that the result does not depend on how rows
//! are spread. Other aggregates of the same grouping are computed along. Emits in group order.

use super::{
    Batch, Operator,
    project::project,
    sort::{SortKey, compare_by},
    state::{State, add},
};
use crate::{
    Error,
    data::{Row, Value, json::Json, order::Key},
    exec::{
        eval::{as_real, eval, overflow},
        functions::{json, listed},
        plan::{Call, Collected, OrderKey},
    },
    map::LargeMap,
    sql::{
        fault::{BUDGET, UNSUPPORTED, fail},
        scalar::Scalar,
    },
};

/// Bytes of a text that `string_agg` makes.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// One aggregate over rows that are told one by one.
pub struct Accumulator {
    call: Call,
    held: Held,
}

enum Held {
    State(State),
    /// Different values and their weights.
    Values(LargeMap<Key, i64>),
    /// Keys of the order, then the arguments, and their weights.
    Rows(Vec<(Row, i64)>),
}

impl Accumulator {
    /// Over no rows.
    pub fn new(call: &Call) -> Accumulator {
        let held = match call {
            Call::Basic(call) if call.distinct => Held::Values(LargeMap::new()),
            Call::Basic(call) => Held::State(State::new(call.function)),
            Call::Collected { .. } => Held::Rows(Vec::new()),
        };
        Accumulator { call: call.clone(), held }
    }

    /// Takes in a row.
    pub fn absorb(&mut self, row: &[Value], weight: i64) -> Result<(), Error> {
        let value = match &self.call {
            Call::Basic(call) => match &call.arg {
                Some(arg) => eval(arg, row)?.into_owned(),
                None => Value::Boolean(true),
            },
            Call::Collected { args, order, .. } => {
                let values = project(args, row)?;
                if values.first().is_none_or(Value::is_null) {
                    return Ok(());
                }
                let keys = order.iter().map(|key| Ok(eval(&key.scalar, row)?.into_owned()));
                let mut kept = keys.collect::<Result<Row, Error>>()?;
                kept.extend(values);
                if let Held::Rows(rows) = &mut self.held {
                    rows.push((kept, weight));
                }
                return Ok(());
            }
        };
        match (&mut self.held, &self.call) {
            _ if value.is_null() => {}
            (Held::State(state), Call::Basic(call)) => state.absorb(call.function, &value, weight)?,
            (Held::Values(values), _) => {
                let times = values.get_or_insert_with(Key(vec![value]), || 0);
                *times = times.checked_add(weight).ok_or_else(overflow)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What it comes to.
    pub fn result(&mut self) -> Result<Value, Error> {
        match (&mut self.held, &self.call) {
            (Held::State(state), Call::Basic(call)) => state.result(call.function),
            (Held::Values(values), Call::Basic(call)) => {
                let mut state = State::new(call.function);
                for (value, _) in values.iter().filter(|(_, times)| **times > 0) {
                    state.absorb(call.function, &value.0[0], 1)?;
                }
                state.result(call.function)
            }
            (Held::Rows(rows), Call::Collected { function, distinct, order, .. }) => {
                collected(*function, *distinct, order, rows)
            }
            _ => Ok(Value::Null),
        }
    }
}

fn collected(
    function: Collected,
    distinct: bool,
    order: &[OrderKey],
    rows: &mut Vec<(Row, i64)>,
) -> Result<Value, Error> {
    let key = |(column, key): (usize, &OrderKey)| SortKey {
        column: column as u32,
        descending: key.descending,
        nulls_first: key.nulls_first,
    };
    let keys: Vec<SortKey> = order.iter().enumerate().map(key).collect();
    rows.sort_by(|a, b| compare_by(&keys, &a.0, &b.0));
    // Equal rows are neighbours now.
    rows.dedup_by(|later, earlier| {
        let same = compare_by(&keys, &later.0, &earlier.0).is_eq();
        if same {
            earlier.1 = earlier.1.saturating_add(later.1);
        }
        same
    });
    let mut seen = LargeMap::new();
    let mut values: Vec<(&[Value], i64)> = Vec::with_capacity(rows.len());
    for (row, weight) in rows.iter() {
        if *weight < 0 {
            return fail(UNSUPPORTED, "this aggregate over rows that disappear");
        }
        let args = row.get(order.len()..).unwrap_or_default();
        let again = distinct && core::mem::replace(seen.get_or_insert_with(Key(args.to_vec()), || false), true);
        if *weight > 0 && !again {
            values.push((args, if distinct { 1 } else { *weight }));
        }
    }
    match function {
        Collected::StringAgg => joined(&values),
        Collected::Spread { sample, root } => spread(&values, sample, root),
        Collected::Span { mean } => total(&values, mean),
        Collected::Pairs(pairs) => pairs_of(&values).map(|of| pairs.of(&of)),
        Collected::Percentile { continuous } => percentile(&values, continuous),
        // Of several the first in the order.
        Collected::Mode => {
            let most = values.iter().rev().max_by_key(|(_, weight)| *weight);
            Ok(most.and_then(|(args, _)| args.first()).cloned().unwrap_or(Value::Null))
        }
        Collected::Json { object } => gathered(&values, object),
    }
}

/// The sum of intervals, or their mean.
fn total(values: &[(&[Value], i64)], mean: bool) -> Result<Value, Error> {
    let (mut sum, mut count) = (Value::Null, 0_i64);
    for (args, weight) in values {
        let Some(value) = args.first() else { continue };
        let times = listed::by_name("*", &[value, &Value::Real(*weight as f64)])?;
        sum = if sum.is_null() { times } else { listed::by_name("+", &[&sum, &times])? };
        count = count.saturating_add(*weight);
    }
    if mean && !sum.is_null() { listed::by_name("/", &[&sum, &Value::Real(count as f64)]) } else { Ok(sum) }
}

/// JSON values as elements of an array, or objects as one.
fn gathered(values: &[(&[Value], i64)], object: bool) -> Result<Value, Error> {
    let (mut elements, mut members, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for (args, weight) in values {
        let Some(Value::Json(text)) = args.first() else { continue };
        for _ in 0..*weight {
            bytes = bytes.saturating_add(text.len() + 2);
            if bytes > TEXT_BYTES_MAX {
                return fail(BUDGET, format!("a result of json_agg of more than {TEXT_BYTES_MAX} bytes"));
            }
            match json::read(text)? {
                Json::Object(more) if object => members.extend(more),
                element => elements.push(element),
            }
        }
    }
    Ok(match (values.is_empty(), object) {
        (true, _) => Value::Null,
        (false, true) => Value::Json(Json::object(members).print()),
        (false, false) => Value::Json(Json::Array(elements).print()),
    })
}

/// Texts one after the other, each after its separator but the first.
fn joined(values: &[(&[Value], i64)]) -> Result<Value, Error> {
    let mut text: Option<String> = None;
    for (args, weight) in values {
        for _ in 0..*weight {
            let (Some(value), separator) = (args.first(), args.get(1)) else { continue };
            text = Some(match text {
                None => value.to_string(),
                Some(mut text) => {
                    if let Some(separator) = separator.filter(|separator| !separator.is_null()) {
                        text.push_str(&separator.to_string());
                    }
                    text.push_str(&value.to_string());
                    text
                }
            });
            if text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
                return fail(BUDGET, format!("a result of string_agg of more than {TEXT_BYTES_MAX} bytes"));
            }
        }
    }
    Ok(text.map_or(Value::Null, Value::Text))
}

/// The value below which a share of the values lies, which are in order.
fn percentile(values: &[(&[Value], i64)], continuous: bool) -> Result<Value, Error> {
    let count: i64 = values.iter().map(|(_, weight)| *weight).sum();
    let Some((args, _)) = values.first() else { return Ok(Value::Null) };
    let share = args.get(1).map_or(Ok(0.0), as_real)?;
    let at = |index: f64| {
        let mut before = 0;
        let found = values.iter().find(|(_, weight)| {
            before += weight;
            before as f64 > index
        });
        found.or(values.last()).and_then(|(args, _)| args.first()).cloned().unwrap_or(Value::Null)
    };
    if !continuous {
        return Ok(at((share * count as f64).ceil().max(1.0) - 1.0));
    }
    let place = share * (count - 1) as f64;
    let (below, above) = (as_real(&at(place.floor()))?, as_real(&at(place.ceil()))?);
    Ok(Value::Real(below + (above - below) * (place - place.floor())))
}

fn pairs_of(values: &[(&[Value], i64)]) -> Result<Vec<(f64, f64, f64)>, Error> {
    let mut pairs = Vec::with_capacity(values.len());
    for (args, weight) in values {
        if let [y, x] = args
            && !x.is_null()
        {
            pairs.push((as_real(y)?, as_real(x)?, *weight as f64));
        }
    }
    Ok(pairs)
}

/// How far values are from their mean, in two passes.
fn spread(values: &[(&[Value], i64)], sample: bool, root: bool) -> Result<Value, Error> {
    let mut numbers = Vec::with_capacity(values.len());
    for (args, weight) in values {
        if let Some(value) = args.first() {
            numbers.push((as_real(value)?, *weight as f64));
        }
    }
    let total = |of: &dyn Fn(f64) -> f64| {
        let (mut sum, mut lost) = (0.0, 0.0);
        numbers.iter().for_each(|(number, weight)| add(&mut sum, &mut lost, of(*number) * weight));
        sum + lost
    };
    let count = total(&|_| 1.0);
    let divisor = if sample { count - 1.0 } else { count };
    if divisor <= 0.0 {
        return Ok(Value::Null);
    }
    let mean = total(&|number| number) / count;
    let spread = total(&|number| (number - mean) * (number - mean)) / divisor;
    Ok(Value::Real(if root { spread.sqrt() } else { spread }))
}

/// See the module's documentation.
pub struct Collect {
    keys: Vec<Scalar>,
    calls: Vec<Call>,
    groups: LargeMap<Key, (i64, Vec<Accumulator>)>,
}

impl Collect {
    /// Groups by `keys` and computes `calls`.
    pub fn new(keys: Vec<Scalar>, calls: Vec<Call>) -> Collect {
        Collect { keys, calls, groups: LargeMap::new() }
    }

    fn group(&mut self, key: Row) -> &mut (i64, Vec<Accumulator>) {
        let calls = &self.calls;
        self.groups.get_or_insert_with(Key(key), || (0, calls.iter().map(Accumulator::new).collect()))
    }
}

impl Operator for Collect {
    fn on_batch(&mut self, _port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        for signed in batch.rows {
            let key = project(&self.keys, &signed.row)?;
            let (weight, calls) = self.group(key);
            *weight = weight.checked_add(signed.weight).ok_or_else(overflow)?;
            calls.iter_mut().try_for_each(|call| call.absorb(&signed.row, signed.weight))?;
        }
        Ok(())
    }

    fn on_end(&mut self, _port: usize, out: &mut Batch) -> Result<(), Error> {
        if self.keys.is_empty() {
            self.group(Row::new());
        }
        for (Key(mut row), (weight, mut calls)) in core::mem::take(&mut self.groups) {
            if weight == 0 && !self.keys.is_empty() {
                continue;
            }
            for call in &mut calls {
                row.push(call.result()?);
            }
            out.push(row, 1);
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("collect", self.groups.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(function: Collected, distinct: bool, descending: bool, rows: &[(&str, i64)]) -> Value {
        let order = vec![OrderKey { scalar: Scalar::Column(0), descending, nulls_first: descending }];
        let separator = Scalar::Literal(Value::Text("-".to_owned()));
        let column = u32::from(matches!(function, Collected::Spread { .. }));
        let args = vec![Scalar::Column(column), separator];
        let mut collect = Collect::new(Vec::new(), vec![Call::Collected { function, args, distinct, order }]);
        let (mut batch, mut out) = (Batch::default(), Batch::default());
        for (text, number) in rows {
            batch.push(vec![Value::Text((*text).to_owned()), Value::Integer(*number)], 1);
        }
        collect.on_batch(0, batch, &mut out).unwrap();
        collect.on_end(0, &mut out).unwrap();
        out.rows[0].row[0].clone()
    }

    #[test]
    fn texts_are_joined_in_order() {
        let rows = [("b", 2), ("a", 4), ("b", 2), ("c", 6)];
        assert_eq!(run(Collected::StringAgg, false, false, &rows), Value::Text("a-b-b-c".to_owned()));
        assert_eq!(run(Collected::StringAgg, true, true, &rows), Value::Text("c-b-a".to_owned()));
        assert_eq!(run(Collected::StringAgg, false, false, &[]), Value::Null);
    }

    #[test]
    fn variance_is_that_of_the_definition() {
        let rows = [("", 2), ("", 4), ("", 4), ("", 4), ("", 5), ("", 5), ("", 7), ("", 9)];
        let spread = |sample, root, rows: &[(&str, i64)]| run(Collected::Spread { sample, root }, false, false, rows);
        assert_eq!(spread(false, true, &rows), Value::Real(2.0));
        assert_eq!(spread(false, false, &rows), Value::Real(4.0));
        assert_eq!(spread(true, false, &rows[..1]), Value::Null, "one value says nothing of a sample");
        // Far from zero nothing is lost.
        let far = [("", 1_000_000_000_001), ("", 1_000_000_000_003)];
        assert_eq!(spread(false, false, &far), Value::Real(1.0));
    }
}
