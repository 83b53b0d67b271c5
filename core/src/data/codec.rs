//! Rows and keys as bytes.
//!
//! A *row* (the value of a record) is a format byte, then for each column a tag and its payload; columns that nobody
//! asks for are skipped without being built, and columns beyond the end (a table that grew) read as NULL.
//! A *key* (the primary key) is order-preserving: bytes compare as the values do, and no key is a prefix of another.
//! Hostile bytes give an error, never a panic.

use super::{Interval, Numeric, Row, Value, cell::Cell};

const ROW_FORMAT: u8 = 1;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const FALSE: u8 = 4;
const TRUE: u8 = 5;
const TIMESTAMP: u8 = 6;
const BLOB: u8 = 7;
const NUMERIC: u8 = 8;
const DATE: u8 = 9;
const INTERVAL: u8 = 10;
const JSON: u8 = 11;
const UUID: u8 = 12;

/// Bytes that are not a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A row as the value of a record.
pub fn encode_row(row: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + row.len() * 9);
    out.push(ROW_FORMAT);
    for value in row {
        match value {
            Value::Null => out.push(NULL),
            Value::Integer(number) => put_number(&mut out, INTEGER, *number),
            Value::Timestamp(at_us) => put_number(&mut out, TIMESTAMP, *at_us),
            Value::Real(number) => {
                out.push(REAL);
                out.extend(number.to_bits().to_le_bytes());
            }
            Value::Text(text) => put_bytes(&mut out, TEXT, text.as_bytes()),
            Value::Blob(bytes) => put_bytes(&mut out, BLOB, bytes),
            Value::Boolean(truth) => out.push(if *truth { TRUE } else { FALSE }),
            Value::Date(days) => put_number(&mut out, DATE, i64::from(*days)),
            Value::Json(text) => put_bytes(&mut out, JSON, text.as_bytes()),
            Value::Uuid(bytes) => put_fixed(&mut out, UUID, bytes),
            Value::Numeric(number) => {
                // As few bytes of the whole number as keep its sign.
                let bytes = number.whole().to_be_bytes();
                let filler = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
                let plain = |pair: &[u8]| pair[0] == filler && (pair[1] ^ filler) & 0x80 == 0;
                let from = bytes.windows(2).take_while(|pair| plain(pair)).count();
                out.extend([NUMERIC, number.scale(), (bytes.len() - from) as u8]);
                out.extend_from_slice(&bytes[from..]);
            }
            Value::Interval(interval) => {
                put_number(&mut out, INTERVAL, i64::from(interval.months));
                put_varint(&mut out, zigzag(i64::from(interval.days)));
                put_varint(&mut out, zigzag(interval.us));
            }
        }
    }
    out
}

fn put_fixed(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: i64) {
    out.push(tag);
    put_varint(out, zigzag(number));
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The columns named by `wanted` (ascending positions) of an encoded row, and the bytes behind the last of them. Where
/// the row ends before a column, `missing` says what is there, and NULL is where `missing` ends.
pub fn decode_columns<'a>(bytes: &'a [u8], wanted: &[u32], missing: &[Value]) -> Result<(Row, &'a [u8]), Malformed> {
    let Some((&ROW_FORMAT, mut rest)) = bytes.split_first() else {
        return Err(Malformed);
    };
    let mut row = Vec::with_capacity(wanted.len());
    let mut position = 0;
    for (index, &column) in wanted.iter().enumerate() {
        while position < column && !rest.is_empty() {
            skip(&mut rest)?;
            position += 1;
        }
        row.push(match missing.get(index) {
            _ if !rest.is_empty() => take(&mut rest)?,
            Some(value) => value.clone(),
            None => Value::Null,
        });
        position += 1;
    }
    Ok((row, rest))
}

/// All the columns of an encoded row.
pub fn decode_row(bytes: &[u8]) -> Result<Row, Malformed> {
    let Some((&ROW_FORMAT, mut rest)) = bytes.split_first() else {
        return Err(Malformed);
    };
    let mut row = Vec::new();
    while !rest.is_empty() {
        row.push(take(&mut rest)?);
    }
    Ok(row)
}

/// The columns named by `wanted` of an encoded row as [`decode_columns`] finds them, borrowed where they are of a
/// common type; `each` is told every one of them, in order.
pub fn visit_columns<'a>(
    bytes: &'a [u8],
    wanted: &[u32],
    missing: &'a [Value],
    mut each: impl FnMut(usize, Cell<'a>),
) -> Result<(), Malformed> {
    let Some((&ROW_FORMAT, mut rest)) = bytes.split_first() else {
        return Err(Malformed);
    };
    let mut position = 0;
    for (index, &column) in wanted.iter().enumerate() {
        while position < column && !rest.is_empty() {
            skip(&mut rest)?;
            position += 1;
        }
        position += 1;
        let Some((&tag, mut after)) = rest.split_first() else {
            each(index, missing.get(index).map_or(Cell::Null, Cell::from));
            continue;
        };
        let cell = match tag {
            NULL => Cell::Null,
            INTEGER => Cell::Integer(take_number(&mut after)?),
            REAL => Cell::Real(take_real(&mut after)?),
            TEXT => Cell::Text(take_text(&mut after)?),
            _ => {
                each(index, Cell::Owned(take(&mut rest)?));
                continue;
            }
        };
        rest = after;
        each(index, cell);
    }
    Ok(())
}

fn take_real(rest: &mut &[u8]) -> Result<f64, Malformed> {
    let bytes: [u8; 8] = take_slice(rest, 8)?.try_into().map_err(|_| Malformed)?;
    Ok(f64::from_bits(u64::from_le_bytes(bytes)))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Malformed> {
    core::str::from_utf8(take_bytes(rest)?).map_err(|_| Malformed)
}

fn take(rest: &mut &[u8]) -> Result<Value, Malformed> {
    Ok(match take_slice(rest, 1)?[0] {
        NULL => Value::Null,
        INTEGER => Value::Integer(take_number(rest)?),
        TIMESTAMP => Value::Timestamp(take_number(rest)?),
        REAL => Value::Real(take_real(rest)?),
        TEXT => Value::Text(take_text(rest)?.to_owned()),
        BLOB => Value::Blob(take_bytes(rest)?.to_vec()),
        FALSE => Value::Boolean(false),
        TRUE => Value::Boolean(true),
        DATE => Value::Date(take_number(rest)?.try_into().map_err(|_| Malformed)?),
        JSON => Value::Json(core::str::from_utf8(take_bytes(rest)?).map_err(|_| Malformed)?.to_owned()),
        UUID => Value::Uuid(take_slice(rest, 16)?.try_into().map_err(|_| Malformed)?),
        NUMERIC => {
            let scale = take_slice(rest, 1)?[0];
            let bytes = take_bytes(rest)?;
            if bytes.is_empty() || bytes.len() > 16 {
                return Err(Malformed);
            }
            let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
            let whole = bytes.iter().fold(sign, |whole, byte| whole << 8 | i128::from(*byte));
            Value::Numeric(Numeric::new(whole, scale).ok_or(Malformed)?)
        }
        INTERVAL => {
            let (months, days, us) = (take_number(rest)?, take_number(rest)?, take_number(rest)?);
            Value::Interval(Interval::new(months, days, us).ok_or(Malformed)?)
        }
        _ => return Err(Malformed),
    })
}

fn skip(rest: &mut &[u8]) -> Result<(), Malformed> {
    match take_slice(rest, 1)?[0] {
        NULL | FALSE | TRUE => {}
        INTEGER | TIMESTAMP | DATE => {
            take_varint(rest)?;
        }
        REAL => {
            take_slice(rest, 8)?;
        }
        TEXT | BLOB | JSON => {
            take_bytes(rest)?;
        }
        UUID => {
            take_slice(rest, 16)?;
        }
        NUMERIC => {
            take_slice(rest, 1)?;
            take_bytes(rest)?;
        }
        INTERVAL => {
            take_varint(rest)?;
            take_varint(rest)?;
            take_varint(rest)?;
        }
        _ => return Err(Malformed),
    }
    Ok(())
}

fn take_slice<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Malformed> {
    let (head, tail) = rest.split_at_checked(count).ok_or(Malformed)?;
    *rest = tail;
    Ok(head)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let count = usize::try_from(take_varint(rest)?).map_err(|_| Malformed)?;
    take_slice(rest, count)
}

fn take_number(rest: &mut &[u8]) -> Result<i64, Malformed> {
    let number = take_varint(rest)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_slice(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

/// A primary key as the key of a record: compares as the values do.
pub fn encode_key(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 10);
    for value in values {
        match value {
            Value::Integer(number) => put_ordered(&mut out, INTEGER, *number),
            Value::Timestamp(at_us) => put_ordered(&mut out, TIMESTAMP, *at_us),
            Value::Real(number) => {
                // One zero and one NaN, as `compare` has it; then IEEE 754 bits order as sign-magnitude.
                let bits = if number.is_nan() { f64::NAN } else { *number + 0.0 }.to_bits();
                out.push(REAL);
                out.extend(if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }.to_be_bytes());
            }
            Value::Text(text) => put_escaped(&mut out, TEXT, text.as_bytes()),
            Value::Blob(bytes) => put_escaped(&mut out, BLOB, bytes),
            Value::Boolean(truth) => out.push(if *truth { TRUE } else { FALSE }),
            Value::Date(days) => put_ordered(&mut out, DATE, i64::from(*days)),
            Value::Json(text) => put_escaped(&mut out, JSON, text.as_bytes()),
            Value::Uuid(bytes) => put_fixed(&mut out, UUID, bytes),
            Value::Numeric(number) => put_decimal(&mut out, *number),
            Value::Interval(interval) => {
                // What compares equal has one key: it is of days and microseconds, both of the whole.
                let total = interval.total_us();
                put_ordered(&mut out, INTERVAL, total.div_euclid(DAY_US) as i64);
                out.extend((total.rem_euclid(DAY_US) as u64).to_be_bytes());
            }
            Value::Null => out.push(u8::MAX),
        }
    }
    out
}

const DAY_US: i128 = 86_400_000_000;

/// The sign and the place of the first digit, then the digits in pairs without zeros at the end; all bits turned around
/// where the number is negative.
fn put_decimal(out: &mut Vec<u8>, number: Numeric) {
    out.push(NUMERIC);
    let digits = number.whole().unsigned_abs().to_string();
    let behind = i32::from(number.scale());
    let from = out.len();
    let significant = digits.trim_end_matches('0').as_bytes();
    if significant.is_empty() {
        return out.push(ZERO);
    }
    out.push((i32::from(ZERO) + 64 + digits.len() as i32 - behind) as u8);
    let digit = |byte: &u8| byte - b'0';
    out.extend(significant.chunks(2).map(|pair| 1 + digit(&pair[0]) * 10 + pair.get(1).map_or(0, digit)));
    out.push(0);
    if number.whole() < 0 {
        out[from..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// In place of sign and exponent: below it is what is negative, above what is positive.
const ZERO: u8 = 128;

fn take_decimal(rest: &mut &[u8]) -> Result<Numeric, Malformed> {
    let first = take_slice(rest, 1)?[0];
    if first == ZERO {
        return Ok(Numeric::ZERO);
    }
    let turned = if first < ZERO { 0xff } else { 0 };
    let before = i32::from(first ^ turned) - i32::from(ZERO) - 64;
    let (mut whole, mut digits) = (0_i128, 0);
    loop {
        let pair = take_slice(rest, 1)?[0] ^ turned;
        if pair == 0 {
            break;
        }
        if pair > 100 || digits > 34 {
            return Err(Malformed);
        }
        whole = whole * 100 + i128::from(pair - 1);
        digits += 2;
    }
    if whole % 10 == 0 {
        (whole, digits) = (whole / 10, digits - 1);
    }
    while digits < before {
        whole = whole.checked_mul(10).ok_or(Malformed)?;
        digits += 1;
    }
    let scale = u8::try_from(digits - before).map_err(|_| Malformed)?;
    Numeric::new(if turned == 0 { whole } else { -whole }, scale).ok_or(Malformed)
}

fn put_ordered(out: &mut Vec<u8>, tag: u8, number: i64) {
    out.push(tag);
    out.extend((number as u64 ^ 1 << 63).to_be_bytes());
}

/// A zero byte becomes `00 ff`; `00 00` ends, below anything that could go on.
fn put_escaped(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
}

/// The values of a key, for people to read: at most the first `max` of them.
pub fn decode_key(mut bytes: &[u8], max: usize) -> Result<Row, Malformed> {
    let rest = &mut bytes;
    let mut row = Row::new();
    while !rest.is_empty() && row.len() < max {
        row.push(match take_slice(rest, 1)?[0] {
            INTEGER => Value::Integer(take_ordered(rest)?),
            TIMESTAMP => Value::Timestamp(take_ordered(rest)?),
            REAL => {
                let bits = (take_ordered(rest)? as u64) ^ 1 << 63;
                Value::Real(f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits }))
            }
            TEXT => Value::Text(String::from_utf8(take_escaped(rest)?).map_err(|_| Malformed)?),
            BLOB => Value::Blob(take_escaped(rest)?),
            FALSE => Value::Boolean(false),
            TRUE => Value::Boolean(true),
            DATE => Value::Date(take_ordered(rest)?.try_into().map_err(|_| Malformed)?),
            JSON => Value::Json(String::from_utf8(take_escaped(rest)?).map_err(|_| Malformed)?),
            UUID => Value::Uuid(take_slice(rest, 16)?.try_into().map_err(|_| Malformed)?),
            NUMERIC => Value::Numeric(take_decimal(rest)?),
            INTERVAL => {
                let (days, us) = (take_ordered(rest)?, take_ordered(rest)? ^ i64::MIN);
                // An interval that is equal: as many months as there are, then days, then time.
                let most = |number: i64| number.clamp(i32::MIN.into(), i32::MAX.into());
                let months = most(days / 30);
                let more = days - months * 30;
                let over = (more - most(more)).checked_mul(DAY_US as i64).and_then(|over| over.checked_add(us));
                Value::Interval(Interval::new(months, most(more), over.ok_or(Malformed)?).ok_or(Malformed)?)
            }
            u8::MAX => Value::Null,
            _ => return Err(Malformed),
        });
    }
    Ok(row)
}

fn take_ordered(rest: &mut &[u8]) -> Result<i64, Malformed> {
    let bytes: [u8; 8] = take_slice(rest, 8)?.try_into().map_err(|_| Malformed)?;
    Ok((u64::from_be_bytes(bytes) ^ 1 << 63) as i64)
}

fn take_escaped(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Vec::new();
    loop {
        match take_slice(rest, 1)?[0] {
            0 if take_slice(rest, 1)?[0] == 0 => return Ok(bytes),
            byte => bytes.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::order::compare_rows, *};

    fn value(tag: u8) -> BoxedStrategy<Value> {
        match tag {
            0 => prop_oneof![any::<i64>(), -2_i64..2].prop_map(Value::Integer).boxed(),
            1 => prop_oneof![any::<f64>(), Just(0.0), Just(-0.0)].prop_map(Value::Real).boxed(),
            2 => "[\0ab]{0,3}".prop_map(Value::Text).boxed(),
            3 => any::<bool>().prop_map(Value::Boolean).boxed(),
            4 => any::<i64>().prop_map(Value::Timestamp).boxed(),
            5 => {
                let whole =
                    prop_oneof![-200_i128..200, any::<i64>().prop_map(i128::from), any::<i128>().prop_map(|n| n >> 12)];
                let number = (whole, prop_oneof![0_u8..4, 0_u8..=35]);
                number.prop_map(|(whole, scale)| Value::Numeric(Numeric::new(whole, scale).unwrap())).boxed()
            }
            6 => any::<i32>().prop_map(Value::Date).boxed(),
            7 => {
                let near = (-2_i32..2, -40_i32..40, prop_oneof![Just(0), -90_000_000_000_i64..90_000_000_000]);
                let all = (any::<i32>(), any::<i32>(), any::<i64>());
                let interval = prop_oneof![near, all];
                interval.prop_map(|(months, days, us)| Value::Interval(Interval { months, days, us })).boxed()
            }
            8 => "[\\[\\]0-9\"]{0,3}".prop_map(Value::Json).boxed(),
            9 => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
            _ => {
                prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 0..4).prop_map(Value::Blob).boxed()
            }
        }
    }

    fn pair_of_rows() -> impl Strategy<Value = (Row, Row)> {
        prop::collection::vec(0_u8..11, 1..4).prop_flat_map(|tags| {
            let row = || tags.iter().map(|tag| value(*tag)).collect::<Vec<_>>();
            (row(), row())
        })
    }

    proptest! {
        #[test]
        fn keys_order_as_values_do((a, b) in pair_of_rows()) {
            prop_assert_eq!(encode_key(&a).cmp(&encode_key(&b)), compare_rows(&a, &b));
        }

        #[test]
        fn keys_come_back((mut a, _) in pair_of_rows()) {
            a.push(Value::Null);
            let key = encode_key(&a);
            let back = decode_key(&key, a.len()).unwrap();
            prop_assert_eq!(compare_rows(&back, &a), core::cmp::Ordering::Equal);
            prop_assert_eq!(encode_key(&back), key.clone());
            let _ = (decode_key(&key[1..], 9), decode_key(&key[..key.len() - 2], 9));
        }

        #[test]
        fn rows_come_back((a, b) in pair_of_rows()) {
            let mut row = a;
            row.push(Value::Null);
            row.extend(b);
            let bytes = encode_row(&row);
            let all: Vec<u32> = (0..row.len() as u32).collect();
            prop_assert_eq!(decode_columns(&bytes, &all, &[]), Ok((row.clone(), &[][..])));
            prop_assert_eq!(decode_row(&bytes), Ok(row.clone()));
            let last = [row.len() as u32 - 1, row.len() as u32];
            let end = row[row.len() - 1].clone();
            prop_assert_eq!(decode_columns(&bytes, &last, &[]), Ok((vec![end.clone(), Value::Null], &[][..])));
            let missing = [Value::Boolean(false), Value::Integer(7)];
            prop_assert_eq!(decode_columns(&bytes, &last, &missing), Ok((vec![end, Value::Integer(7)], &[][..])));
            let (first, beyond) = decode_columns(&bytes, &[0], &[]).unwrap();
            prop_assert_eq!([&encode_row(&first), beyond].concat(), bytes);
        }

        #[test]
        fn hostile_rows_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let framed: Vec<u8> = core::iter::once(ROW_FORMAT).chain(bytes.iter().map(|byte| byte % 16)).collect();
            let _ = (decode_key(&framed, 9), decode_row(&framed), decode_columns(&framed, &[1, 3], &[]), decode_row(&bytes));
        }
    }
}
