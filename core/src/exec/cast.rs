//! Values to other types, as PostgreSQL's explicit casts do it.

use crate::{
    Error,
    data::{Type, Value, real, time},
    exec::functions::listed,
    sql::fault::{DATATYPE_MISMATCH, DATETIME_OVERFLOW, INVALID_DATETIME, INVALID_TEXT, OUT_OF_RANGE, error, fail},
};

/// `CAST(value AS to)`. NULL stays NULL.
pub fn cast(value: Value, to: Type) -> Result<Value, Error> {
    Ok(match (value, to) {
        (Value::Null, _) => Value::Null,
        (value, to) if to.is_wide() || value.data_type().is_some_and(Type::is_wide) => return listed::cast(value, to),
        (value, Type::Text) => match value {
            Value::Text(_) => value,
            other => Value::Text(other.to_string()),
        },
        (Value::Text(text), to) => return parse(&text, to),
        (value, to) if value.data_type() == Some(to) => value,
        (Value::Integer(number), Type::Real) => Value::Real(number as f64),
        (Value::Integer(number), Type::Boolean) => Value::Boolean(number != 0),
        (Value::Real(number), Type::Integer) => Value::Integer(to_integer(number.round_ties_even())?),
        (Value::Boolean(truth), Type::Integer) => Value::Integer(i64::from(truth)),
        (value, to) => {
            let from = value.data_type().map_or("NULL", Type::name);
            return fail(DATATYPE_MISMATCH, format!("cannot cast {from} to {}", to.name()));
        }
    })
}

/// A whole real as an integer.
pub fn to_integer(number: f64) -> Result<i64, Error> {
    // -2^63 and 2^63 are exact as reals.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        Ok(number as i64)
    } else {
        fail(OUT_OF_RANGE, "integer out of range")
    }
}

fn parse(text: &str, to: Type) -> Result<Value, Error> {
    let trimmed = text.trim();
    let value = match to {
        Type::Text => Some(Value::Text(text.to_owned())),
        Type::Integer => trimmed.parse().ok().map(Value::Integer),
        Type::Real => real::parse(trimmed).map(Value::Real),
        Type::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "t" | "true" | "yes" | "on" | "1" => Some(Value::Boolean(true)),
            "f" | "false" | "no" | "off" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        Type::Timestamp => return time::parse(text).map(Value::Timestamp).ok_or_else(|| no_time(text, to)),
        Type::Blob => match text.strip_prefix("\\x") {
            Some(digits) => unhex(digits).map(Value::Blob),
            None => Some(Value::Blob(text.as_bytes().to_vec())),
        },
        _ => None,
    };
    match value {
        Some(value) => Ok(value),
        None => fail(INVALID_TEXT, format!("invalid input for type {}: \"{text}\"", to.name())),
    }
}

/// The error of a text that is no date or timestamp.
pub(super) fn no_time(text: &str, to: Type) -> Error {
    let (first, mut all) = (text.bytes().next(), text.bytes());
    let looks_like_one = all.all(|byte| byte.is_ascii_digit() || b"-/: .TZ+".contains(&byte));
    let code = match first.is_some_and(|first| first.is_ascii_digit()) && looks_like_one {
        true => DATETIME_OVERFLOW,
        false => INVALID_DATETIME,
    };
    error(code, format!("invalid input for type {}: \"{text}\"", to.name()))
}

/// The number that a text begins with, as SQLite reads it; 0 if none.
pub fn leading_number(text: &str) -> Value {
    let text = text.trim_start();
    let mut best = Value::Integer(0);
    // The longest beginning that reads as a number; numbers are short.
    let of_number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let longest = text.find(|c| !of_number(c)).unwrap_or(text.len()).min(40);
    for end in 1..=longest {
        let part = text.get(..end).unwrap_or_default();
        if let Ok(number) = part.parse() {
            best = Value::Integer(number);
        } else if let Some(number) = real::parse(part) {
            best = Value::Real(number);
        }
    }
    best
}

/// Bytes from pairs of hexadecimal digits.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    digits.as_bytes().chunks_exact(2).map(|pair| Some((nibble(pair[0])? << 4 | nibble(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fault;

    #[test]
    fn text_reads_and_writes() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(cast(text(" 12 "), Type::Integer), Ok(Value::Integer(12)));
        assert_eq!(cast(text("\\x00ff"), Type::Blob), Ok(Value::Blob(vec![0, 255])));
        assert_eq!(cast(Value::Blob(vec![0, 255]), Type::Text), Ok(text("\\x00ff")));
        assert_eq!(cast(text("x"), Type::Integer).unwrap_err().code(), fault::INVALID_TEXT);
        assert_eq!(cast(text("\\xé"), Type::Blob).unwrap_err().code(), fault::INVALID_TEXT);
        assert_eq!(cast(Value::Real(2.5), Type::Integer), Ok(Value::Integer(2)));
        for (text, number) in
            [(" -12.5e1x", Value::Real(-125.0)), ("7 8", Value::Integer(7)), ("-inf", Value::Integer(0))]
        {
            assert_eq!(leading_number(text), number);
        }
        assert_eq!(cast(Value::Real(1e300), Type::Integer).unwrap_err().code(), fault::OUT_OF_RANGE);
        assert_eq!(cast(Value::Timestamp(0), Type::Integer).unwrap_err().code(), fault::DATATYPE_MISMATCH);
    }
}
