//! Casts to and from the types with which only askers compute.

use super::listed::{Listed, types::*};
use crate::{
    Error,
    data::{Interval, Numeric, Type, Value, json::Json, time},
    exec::cast::unhex,
    sql::fault::{DATATYPE_MISMATCH, DATETIME_OVERFLOW, INVALID_DATETIME, INVALID_TEXT, OUT_OF_RANGE, error, fail},
};

/// Casts by the name of the type: what `CAST` to another type is where the value's own is one of these.
pub(super) const LIST: &[Listed] = &[
    Listed::new("integer", &[ANY], Type::Integer, |all| cast(all[0].clone(), Type::Integer)),
    Listed::new("real", &[ANY], Type::Real, |all| cast(all[0].clone(), Type::Real)),
    Listed::new("boolean", &[ANY], Type::Boolean, |all| cast(all[0].clone(), Type::Boolean)),
    Listed::new("timestamp", &[ANY], Type::Timestamp, |all| cast(all[0].clone(), Type::Timestamp)),
    Listed::new("text", &[ANY], Type::Text, |all| Ok(Value::Text(print(all[0])))),
    Listed::new("blob", &[ANY], Type::Blob, |all| cast(all[0].clone(), Type::Blob)),
];

/// The text of a value.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Numeric(number) => number.to_string(),
        Value::Date(days) => time::format_date(*days),
        Value::Interval(interval) => interval.to_string(),
        Value::Uuid(bytes) => {
            let hyphen = |at| if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
            bytes.iter().enumerate().map(|(at, byte)| format!("{}{byte:02x}", hyphen(at))).collect()
        }
        other => other.to_string(),
    }
}

/// The error of a number that does not fit.
pub(super) fn too_large() -> Error {
    error(OUT_OF_RANGE, "numeric value out of range")
}

/// The error of a date, a time or an interval that does not fit.
pub(super) fn out_of_time() -> Error {
    error(DATETIME_OVERFLOW, "date or time out of range")
}

/// `CAST(value AS to)`, where one of the types is one with which only askers compute.
pub(super) fn cast(value: Value, to: Type) -> Result<Value, Error> {
    Ok(match (value, to) {
        (Value::Null, _) => Value::Null,
        (Value::Text(text), to) => return parse(&text, to),
        (value, Type::Text) => Value::Text(print(&value)),
        (Value::Numeric(number), Type::Numeric(digits)) => Value::Numeric(fitted(number, digits)?),
        (Value::Integer(number), Type::Numeric(digits)) => Value::Numeric(fitted(Numeric::from(number), digits)?),
        (Value::Real(number), Type::Numeric(digits)) => {
            Value::Numeric(fitted(Numeric::from_real(number).ok_or_else(too_large)?, digits)?)
        }
        (Value::Numeric(number), Type::Integer) => Value::Integer(number.to_integer().ok_or_else(too_large)?),
        (Value::Numeric(number), Type::Real) => Value::Real(number.to_real()),
        (Value::Date(days), Type::Timestamp) => Value::Timestamp(time::at_midnight(days).ok_or_else(out_of_time)?),
        (Value::Timestamp(at_us), Type::Date) => Value::Date(time::day_of(at_us)),
        (Value::Uuid(bytes), Type::Blob) => Value::Blob(bytes.to_vec()),
        (Value::Blob(bytes), Type::Uuid) => match bytes.try_into() {
            Ok(bytes) => Value::Uuid(bytes),
            Err(_) => return fail(INVALID_TEXT, "a uuid has 16 bytes"),
        },
        (Value::Json(text), to @ (Type::Integer | Type::Real | Type::Numeric(_) | Type::Boolean)) => {
            match (super::json::read(&text)?, to) {
                (Json::Null, _) => Value::Null,
                (Json::Boolean(truth), Type::Boolean) => Value::Boolean(truth),
                (Json::Number(number), Type::Integer | Type::Real | Type::Numeric(_)) => {
                    let number = Value::Numeric(number);
                    return cast(number, to);
                }
                (other, _) => {
                    let message = format!("cannot cast json {} to {}", other.kind(), to.name());
                    return fail(INVALID_TEXT, message);
                }
            }
        }
        (value, to) if value.data_type() == Some(to) => value,
        (value, to) => {
            let from = value.data_type().map_or("NULL", Type::name);
            return fail(DATATYPE_MISMATCH, format!("cannot cast {from} to {}", to.name()));
        }
    })
}

fn fitted(number: Numeric, digits: Option<(u8, u8)>) -> Result<Numeric, Error> {
    let Some(digits) = digits else { return Ok(number) };
    number.fitted(digits).ok_or_else(|| {
        let (precision, scale) = digits;
        error(OUT_OF_RANGE, format!("numeric field overflow: it has precision {precision}, scale {scale}"))
    })
}

fn parse(text: &str, to: Type) -> Result<Value, Error> {
    let trimmed = text.trim();
    let value = match to {
        Type::Numeric(digits) => match Numeric::parse(trimmed) {
            Some(number) => return Ok(Value::Numeric(fitted(number, digits)?)),
            // A number all the same, but one with too many digits.
            None if crate::data::real::parse(trimmed).is_some_and(f64::is_finite) => return Err(too_large()),
            None => None,
        },
        Type::Date => return date(trimmed).map(Value::Date),
        Type::Interval => match Interval::parse(trimmed) {
            Some(interval) => Some(Value::Interval(interval)),
            None => {
                return fail(INVALID_DATETIME, format!("invalid input syntax for type interval: \"{text}\""));
            }
        },
        Type::Json => Json::parse(trimmed).map(|json| Value::Json(json.print())),
        Type::Uuid => uuid(trimmed).map(Value::Uuid),
        _ => None,
    };
    match value {
        Some(value) => Ok(value),
        None => fail(INVALID_TEXT, format!("invalid input syntax for type {}: \"{text}\"", to.name())),
    }
}

fn date(text: &str) -> Result<i32, Error> {
    match time::parse(text) {
        Some(at_us) => Ok(time::day_of(at_us)),
        None => Err(crate::exec::cast::no_time(text, Type::Date)),
    }
}

/// 32 hexadecimal digits, perhaps in groups by `-`, perhaps in braces.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    if text.starts_with('-') || text.ends_with('-') {
        return None;
    }
    let digits: String = text.chars().filter(|char| *char != '-').collect();
    unhex(&digits)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::fault;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn texts_become_values_and_texts_again() {
        for (written, to, printed) in [
            ("12.345", Type::Numeric(Some((5, 2))), "12.35"),
            ("2024-02-29", Type::Date, "2024-02-29"),
            ("1 day 2 hours", Type::Interval, "1 day 02:00:00"),
            ("{\"a\":1}", Type::Json, "{\"a\": 1}"),
            ("A0EEBC99-9C0B4EF8BB6D6BB9BD380A11", Type::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ] {
            assert_eq!(print(&cast(text(written), to).unwrap()), printed);
        }
    }

    #[test]
    fn what_does_not_read_has_its_code() {
        for (written, to, code) in [
            ("x", Type::Numeric(None), fault::INVALID_TEXT),
            ("1e40", Type::Numeric(None), fault::OUT_OF_RANGE),
            ("1000", Type::Numeric(Some((3, 0))), fault::OUT_OF_RANGE),
            ("2023-02-29", Type::Date, fault::DATETIME_OVERFLOW),
            ("yesterday?", Type::Date, fault::INVALID_DATETIME),
            ("1 fortnight", Type::Interval, fault::INVALID_DATETIME),
            ("{", Type::Json, fault::INVALID_TEXT),
            ("12", Type::Uuid, fault::INVALID_TEXT),
        ] {
            assert_eq!(cast(text(written), to).unwrap_err().code(), code, "{written}");
        }
        assert_eq!(cast(Value::Real(f64::NAN), Type::Numeric(None)).unwrap_err().code(), fault::OUT_OF_RANGE);
        assert_eq!(cast(Value::Date(0), Type::Integer).unwrap_err().code(), fault::DATATYPE_MISMATCH);
        assert_eq!(cast(Value::Date(i32::MAX), Type::Timestamp).unwrap_err().code(), fault::DATETIME_OVERFLOW);
    }
}
