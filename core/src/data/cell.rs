//! One value of a column, borrowed where columns keep its type as it is.

use core::cmp::Ordering;

use super::{Value, order::compare};

/// See the module's documentation. What has no case of its own is a [`Value`], so that a new type needs none.
#[derive(Clone, Debug)]
pub enum Cell<'a> {
    /// Unknown.
    Null,
    /// 64-bit signed.
    Integer(i64),
    /// 64-bit IEEE 754.
    Real(f64),
    /// UTF-8.
    Text(&'a str),
    /// Any other, somewhere.
    Other(&'a Value),
    /// Any other.
    Owned(Value),
}

impl<'a> From<&'a Value> for Cell<'a> {
    fn from(value: &'a Value) -> Cell<'a> {
        match value {
            Value::Null => Cell::Null,
            Value::Integer(number) => Cell::Integer(*number),
            Value::Real(number) => Cell::Real(*number),
            Value::Text(text) => Cell::Text(text),
            other => Cell::Other(other),
        }
    }
}

impl From<Cell<'_>> for Value {
    fn from(cell: Cell<'_>) -> Value {
        match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(number),
            Cell::Real(number) => Value::Real(number),
            Cell::Text(text) => Value::Text(text.to_owned()),
            Cell::Other(value) => value.clone(),
            Cell::Owned(value) => value,
        }
    }
}

impl Cell<'_> {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Cell::Null)
    }

    /// As [`compare`] orders the values.
    pub fn compare(&self, other: &Cell<'_>) -> Ordering {
        match (self, other) {
            (Cell::Integer(a), Cell::Integer(b)) => a.cmp(b),
            (Cell::Real(a), Cell::Real(b)) => a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan())),
            (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
            (Cell::Other(a), Cell::Other(b)) => compare(a, b),
            (Cell::Owned(a), b) => Cell::from(a).compare(b),
            (a, Cell::Owned(b)) => a.compare(&Cell::from(b)),
            // Of two values one of which is no text, the text itself does not matter.
            (a, b) => compare(&a.outline(), &b.outline()),
        }
    }

    /// The value, a text without its letters.
    fn outline(&self) -> Value {
        match self {
            Cell::Text(_) => Value::Text(String::new()),
            other => other.clone().into(),
        }
    }

    /// Mixes the value into a hash; values that compare as equal have the same one.
    pub fn hash(&self, seed: u64) -> u64 {
        match self {
            Cell::Null => mix(seed, 1),
            Cell::Integer(number) => mix(seed, *number as u64),
            Cell::Real(number) => hash_real(seed, *number),
            Cell::Text(text) => hash_bytes(seed, text.as_bytes()),
            Cell::Other(value) => hash_value(seed, value),
            Cell::Owned(value) => hash_value(seed, value),
        }
    }
}

/// A new type that may equal a number has to be hashed as the number is.
fn hash_value(seed: u64, value: &Value) -> u64 {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_) => Cell::from(value).hash(seed),
        Value::Boolean(truth) => mix(seed, 2 + u64::from(*truth)),
        Value::Timestamp(at_us) => mix(seed, *at_us as u64),
        Value::Blob(bytes) => hash_bytes(seed, bytes),
        Value::Uuid(bytes) => hash_bytes(seed, bytes),
        Value::Json(text) => hash_bytes(seed, text.as_bytes()),
        Value::Date(days) => mix(seed, *days as u64),
        Value::Numeric(number) => {
            let number = number.trimmed();
            mix(hash_wide(seed, number.whole()), u64::from(number.scale()))
        }
        Value::Interval(interval) => hash_wide(seed, interval.total_us()),
    }
}

/// A whole real is hashed as the integer that equals it.
fn hash_real(seed: u64, number: f64) -> u64 {
    let whole = number as i64;
    if whole as f64 == number && whole != i64::MAX {
        return mix(seed, whole as u64);
    }
    mix(seed, if number.is_nan() { f64::NAN } else { number }.to_bits())
}

fn hash_wide(seed: u64, number: i128) -> u64 {
    mix(mix(seed, number as u64), (number >> 64) as u64)
}

fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(seed, bytes.len() as u64);
    for part in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    hash
}

/// A folded product, and the factors: both halves of the result depend on all bits, and no word makes it forget the others.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let (a, b) = (hash ^ 0x9e37_79b9_7f4a_7c15, word ^ 0xe703_7ed1_a0b4_28db);
    let (low, high) = product(a, b);
    a ^ b.rotate_left(32) ^ low ^ high
}

/// Both halves of a product.
#[inline]
fn product(a: u64, b: u64) -> (u64, u64) {
    if !cfg!(target_arch = "wasm32") {
        let product = u128::from(a) * u128::from(b);
        return (product as u64, (product >> 64) as u64);
    }
    // There such a product is a call.
    by_halves(a, b)
}

/// The same by four products of halves.
#[inline]
fn by_halves(a: u64, b: u64) -> (u64, u64) {
    let half = |word: u64| (word & 0xffff_ffff, word >> 32);
    let ((a_low, a_high), (b_low, b_high)) = (half(a), half(b));
    let (low_high, high_low) = (a_low * b_high, a_high * b_low);
    let middle = ((a_low * b_low) >> 32) + (low_high & 0xffff_ffff) + (high_low & 0xffff_ffff);
    (a.wrapping_mul(b), a_high * b_high + (low_high >> 32) + (high_low >> 32) + (middle >> 32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_product_by_halves_is_the_product(a in any::<u64>(), b in any::<u64>(), ends in any::<[bool; 2]>()) {
            let of = |word, end| if end { u64::MAX - (word & 1) } else { word };
            let (a, b) = (of(a, ends[0]), of(b, ends[1]));
            let product = u128::from(a) * u128::from(b);
            prop_assert_eq!(by_halves(a, b), (product as u64, (product >> 64) as u64));
        }
    }
}
