//! One total order over values: what ORDER BY, GROUP BY, DISTINCT and joins agree on.
//!
//! Integers and reals compare as numbers (exactly, not by way of rounding), text and bytes byte by byte, NaN above
//! every number, `-0.0` equal to `0.0`, decimals by value whatever their scale, intervals by their length with months
//! of 30 days, JSON by its text, and NULL above everything (PostgreSQL's default). Values of unlike types,
//! which a bound statement never compares, order by type, so that hostile rows cannot break a sort.

use core::cmp::Ordering;

use super::{Row, Value};

/// Compares two values.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Real(a), Value::Real(b)) => compare_reals(*a, *b),
        (Value::Integer(a), Value::Real(b)) => compare_mixed(*a, *b),
        (Value::Real(a), Value::Integer(b)) => compare_mixed(*b, *a).reverse(),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        (Value::Numeric(a), Value::Numeric(b)) => a.compare(*b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Interval(a), Value::Interval(b)) => a.total_us().cmp(&b.total_us()),
        (Value::Json(a), Value::Json(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn compare_reals(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn compare_mixed(a: i64, b: f64) -> Ordering {
    // 2^63 is exact as a real; within the range the integer part of `b` fits.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if b.is_nan() || b >= BOUND {
        Ordering::Less
    } else if b < -BOUND {
        Ordering::Greater
    } else {
        a.cmp(&(b as i64)).then_with(|| 0.0.partial_cmp(&(b - b.trunc())).unwrap_or(Ordering::Equal))
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Integer(_) | Value::Real(_) => 0,
        Value::Text(_) => 1,
        Value::Boolean(_) => 2,
        Value::Timestamp(_) => 3,
        Value::Blob(_) => 4,
        Value::Numeric(_) => 5,
        Value::Date(_) => 6,
        Value::Interval(_) => 7,
        Value::Json(_) => 8,
        Value::Uuid(_) => 9,
        Value::Null => 10,
    }
}

/// Compares two rows, value by value.
pub fn compare_rows(a: &[Value], b: &[Value]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        match compare(a, b) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
    }
    a.len().cmp(&b.len())
}

/// A row as the key of a map, equal where [`compare_rows`] says so (NULL equals NULL here).
#[derive(Clone, Debug)]
pub struct Key(pub Row);

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        compare_rows(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::Integer),
            (-3_i64..3).prop_map(Value::Integer),
            any::<f64>().prop_map(Value::Real),
            (-6_i8..6).prop_map(|half| Value::Real(f64::from(half) / 2.0)),
            Just(Value::Real(f64::NAN)),
            Just(Value::Real(9_223_372_036_854_775_808.0)),
            "[ab]{0,2}".prop_map(Value::Text),
            any::<bool>().prop_map(Value::Boolean),
            (-9_i128..9, 0_u8..2)
                .prop_map(|(whole, scale)| Value::Numeric(super::super::Numeric::new(whole, scale).unwrap())),
            (-2_i32..2).prop_map(Value::Date),
            (-1_i32..2, -31_i32..31)
                .prop_map(|(months, days)| { Value::Interval(super::super::Interval { months, days, us: 0 }) }),
        ]
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in value(), b in value(), c in value()) {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }
    }

    #[test]
    fn integers_and_reals_compare_exactly() {
        assert_eq!(compare(&Value::Integer(i64::MAX), &Value::Real(i64::MAX as f64)), Ordering::Less);
        assert_eq!(compare(&Value::Integer(-1), &Value::Real(-1.5)), Ordering::Greater);
        assert_eq!(compare(&Value::Integer(0), &Value::Real(-0.0)), Ordering::Equal);
    }
}
