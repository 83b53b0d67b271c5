//! Scalar functions: here those that owners compute, too; in the lists those of askers alone.

mod convert;
pub(crate) mod json;
pub mod listed;
mod math;
mod pattern;
mod regex;
mod sealed;
mod sketch;
mod stored;
mod text;
pub(crate) mod time;

use core::cmp::Ordering;
use std::borrow::Cow;

use super::{
    cast::leading_number,
    eval::{arithmetic, as_real, eval, mismatch, overflow},
};
use crate::{
    Error,
    data::{
        Nested, Value, case,
        order::compare,
        time::{self as calendar, Parts},
    },
    sql::{
        ast::BinaryOp,
        fault::{INTERNAL, INVALID_ARGUMENT, INVALID_POWER, fail},
        scalar::{Function, Scalar},
    },
};

/// Text that a function makes is at most this long.
const TEXT_BYTES_MAX: usize = 1 << 20;

impl Function {
    /// The function of a name, and how many arguments it takes.
    pub fn by_name(name: &str) -> Option<(Function, core::ops::RangeInclusive<usize>)> {
        const MANY: usize = 64;
        Some(match name {
            "lower" => (Function::Lower, 1..=1),
            "upper" => (Function::Upper, 1..=1),
            "length" | "char_length" | "character_length" => (Function::Length, 1..=1),
            "abs" => (Function::Abs, 1..=1),
            "round" => (Function::Round, 1..=2),
            "floor" => (Function::Floor, 1..=1),
            "ceil" | "ceiling" => (Function::Ceil, 1..=1),
            "sqrt" => (Function::Sqrt, 1..=1),
            "coalesce" => (Function::Coalesce, 1..=MANY),
            "nullif" => (Function::NullIf, 2..=2),
            "substr" | "substring" => (Function::Substr, 2..=3),
            "trim" | "btrim" => (Function::Trim, 1..=2),
            "ltrim" => (Function::LTrim, 1..=2),
            "rtrim" => (Function::RTrim, 1..=2),
            "replace" => (Function::Replace, 3..=3),
            "concat" => (Function::Concat, 0..=MANY),
            "greatest" => (Function::Greatest, 1..=MANY),
            "least" => (Function::Least, 1..=MANY),
            "date_part" => (Function::DatePart, 2..=2),
            "date_trunc" => (Function::DateTrunc, 2..=2),
            "strpos" => (Function::StrPos, 2..=2),
            "mod" => (Function::Mod, 2..=2),
            "sign" => (Function::Sign, 1..=1),
            _ => return None,
        })
    }
}

/// Calls a function with arguments that are evaluated over a row.
pub fn call<'a>(function: Function, args: &'a [Nested<Scalar>], row: &'a [Value]) -> Result<Cow<'a, Value>, Error> {
    match function {
        Function::Coalesce => {
            for arg in args {
                let value = eval(arg, row)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(Cow::Owned(Value::Null));
        }
        Function::Greatest | Function::Least => {
            let wanted = if function == Function::Greatest { Ordering::Greater } else { Ordering::Less };
            let mut best: Cow<'a, Value> = Cow::Owned(Value::Null);
            for arg in args {
                let value = eval(arg, row)?;
                if !value.is_null() && (best.is_null() || compare(&value, &best) == wanted) {
                    best = value;
                }
            }
            return Ok(best);
        }
        _ => {}
    }
    let values = args.iter().map(|arg| eval(arg, row)).collect::<Result<Vec<_>, _>>()?;
    if function == Function::Concat {
        let parts = values.iter().filter(|value| !value.is_null());
        return Ok(Cow::Owned(Value::Text(parts.map(|value| value.to_string()).collect())));
    }
    if function == Function::NullIf {
        let [a, b] = &values[..] else { return fail(INTERNAL, "nullif takes two arguments") };
        let equal = !a.is_null() && !b.is_null() && compare(a, b) == Ordering::Equal;
        return Ok(if equal { Cow::Owned(Value::Null) } else { a.clone() });
    }
    let values: Vec<&Value> = values.iter().map(|value| &**value).collect();
    if let Function::Listed(number) = function {
        return listed::call(number, &values).map(Cow::Owned);
    }
    if values.iter().any(|value| value.is_null()) {
        return Ok(Cow::Owned(Value::Null));
    }
    strict(function, &values).map(Cow::Owned)
}

/// A function whose arguments are not NULL.
fn strict(function: Function, values: &[&Value]) -> Result<Value, Error> {
    Ok(match (function, values) {
        (Function::Lower, [Value::Text(text)]) => Value::Text(text.chars().map(case::lower).collect()),
        (Function::Upper, [Value::Text(text)]) => Value::Text(text.chars().map(case::upper).collect()),
        (Function::Length, [Value::Text(text)]) => Value::Integer(text.chars().count() as i64),
        (Function::Length, [Value::Blob(bytes)]) => Value::Integer(bytes.len() as i64),
        (Function::Abs, [Value::Integer(number)]) => Value::Integer(number.checked_abs().ok_or_else(overflow)?),
        (Function::Abs, [Value::Real(number)]) => Value::Real(number.abs()),
        (Function::Sign, [Value::Integer(number)]) => Value::Integer(number.signum()),
        (Function::Sign, [Value::Real(number)]) => Value::Real(if *number == 0.0 { 0.0 } else { number.signum() }),
        (Function::Round | Function::Floor | Function::Ceil, [Value::Integer(number)]) => Value::Integer(*number),
        (Function::Round, [Value::Real(number)]) => Value::Real(number.round()),
        (Function::Round, [number, Value::Integer(digits)]) => Value::Real(round_to(as_real(number)?, *digits)),
        (Function::Floor, [Value::Real(number)]) => Value::Real(number.floor()),
        (Function::Ceil, [Value::Real(number)]) => Value::Real(number.ceil()),
        (Function::Sqrt, [number]) => match as_real(number)? {
            number if number < 0.0 => {
                return fail(INVALID_POWER, "cannot take the square root of a negative number");
            }
            number => Value::Real(number.sqrt()),
        },
        (Function::Power, _) => listed::by_name("power", values)?,
        (Function::LeadingNumber, [Value::Text(text)]) => Value::Real(as_real(&leading_number(text))?),
        (Function::Bin, [Value::Timestamp(at_us), Value::Integer(width), Value::Integer(origin)]) => {
            // The binder has seen to it that a width is above zero; times are far from the ends of what a number holds.
            Value::Timestamp(at_us.saturating_sub(at_us.saturating_sub(*origin).rem_euclid((*width).max(1))))
        }
        (Function::Mod, [a, b]) => arithmetic(BinaryOp::Rem, a, b)?,
        (Function::Substr, [Value::Text(text), Value::Integer(from)]) => Value::Text(substr(text, *from, i64::MAX)?),
        (Function::Substr, [Value::Text(text), Value::Integer(from), Value::Integer(count)]) => {
            Value::Text(substr(text, *from, *count)?)
        }
        (Function::Trim | Function::LTrim | Function::RTrim, [Value::Text(text), rest @ ..]) => {
            let set = match rest {
                [Value::Text(set)] => set.as_str(),
                [other, ..] => return mismatch("trim", other),
                [] => " ",
            };
            let mut text = text.as_str();
            if function != Function::RTrim {
                text = text.trim_start_matches(|char| set.chars().any(|other| other == char));
            }
            if function != Function::LTrim {
                text = text.trim_end_matches(|char| set.chars().any(|other| other == char));
            }
            Value::Text(text.to_owned())
        }
        (Function::Replace, [Value::Text(text), Value::Text(from), Value::Text(to)]) => {
            if from.is_empty() {
                return Ok(Value::Text(text.clone()));
            }
            let places = places(text, from);
            if text.len().saturating_add(places.len().saturating_mul(to.len())) > TEXT_BYTES_MAX {
                return fail(INVALID_ARGUMENT, "the result of replace is too long");
            }
            let (mut replaced, mut rest) = (String::new(), 0);
            for place in places {
                replaced.push_str(text.get(rest..place).unwrap_or_default());
                replaced.push_str(to);
                rest = place + from.len();
            }
            replaced.push_str(text.get(rest..).unwrap_or_default());
            Value::Text(replaced)
        }
        (Function::StrPos, [Value::Text(text), Value::Text(part)]) => {
            let found = if part.is_empty() { Some(0) } else { places(text, part).first().copied() };
            let before = |at| text.char_indices().take_while(|(place, _)| *place < at).count();
            Value::Integer(found.map_or(0, |at| before(at) as i64 + 1))
        }
        (Function::DatePart, [Value::Text(field), Value::Timestamp(at_us)]) => date_part(field, *at_us)?,
        (Function::DateTrunc, [Value::Text(field), Value::Timestamp(at_us)]) => date_trunc(field, *at_us)?,
        (_, [first, ..]) => return mismatch("the function", first),
        (_, []) => return fail(INTERNAL, "a function without arguments"),
    })
}

/// Where `part`, which is not empty, begins in `text`; no two overlap (Knuth, Morris, Pratt, *Fast pattern matching in
/// strings*, SIAM J. Comput. 1977). By bytes, which UTF-8 allows: the standard library's search and its panics would be
/// two kilobytes of every page's download.
fn places(text: &str, part: &str) -> Vec<usize> {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    // For each end: how much of the part's beginning ends there too.
    let mut border = vec![0; part.len()];
    let step = |border: &[usize], mut matched: usize, byte: u8| loop {
        if part[matched] == byte {
            return matched + 1;
        }
        match matched.checked_sub(1) {
            Some(last) => matched = border[last],
            None => return 0,
        }
    };
    for at in 1..part.len() {
        border[at] = step(&border, border[at - 1], part[at]);
    }
    let (mut places, mut matched) = (Vec::new(), 0);
    for (at, byte) in text.iter().enumerate() {
        matched = step(&border, matched, *byte);
        if matched == part.len() {
            places.push(at + 1 - matched);
            matched = 0;
        }
    }
    places
}

/// Rounds half away from zero, as the decimal digits that people see would have it (2.675 to 2.68).
fn round_to(number: f64, digits: i64) -> f64 {
    if digits >= 16 || !number.is_finite() {
        return number;
    }
    let scale = 10_f64.powi(digits.clamp(-308, 16) as i32);
    let scaled = number * scale;
    if !scaled.is_finite() {
        return number;
    }
    // A product just below a half because of representation: nudge by one part in 2^52.
    let rounded = (scaled + scaled.signum() * scaled.abs() * f64::EPSILON).round();
    rounded / scale
}

fn substr(text: &str, from: i64, count: i64) -> Result<String, Error> {
    if count < 0 {
        return fail(INVALID_ARGUMENT, "negative substring length not allowed");
    }
    let end = from.saturating_add(count).max(1);
    let from = from.max(1);
    Ok(text.chars().skip(from as usize - 1).take(end.saturating_sub(from).max(0) as usize).collect())
}

fn date_part(field: &str, at_us: i64) -> Result<Value, Error> {
    let parts = Parts::of(at_us);
    Ok(Value::Real(match field {
        "year" => parts.year as f64,
        "month" => parts.month as f64,
        "day" => parts.day as f64,
        "hour" => parts.hour as f64,
        "minute" => parts.minute as f64,
        "second" => parts.minute_us as f64 / 1e6,
        "epoch" => at_us as f64 / 1e6,
        "dow" => calendar::day_of_week(at_us) as f64,
        "doy" => calendar::day_of_year(at_us) as f64,
        "quarter" => ((parts.month - 1) / 3 + 1) as f64,
        _ => return fail(INVALID_ARGUMENT, format!("unknown field \"{field}\" of a timestamp")),
    }))
}

fn date_trunc(field: &str, at_us: i64) -> Result<Value, Error> {
    let mut parts = Parts::of(at_us);
    let depth = match field {
        "year" => 0,
        "quarter" => {
            parts.month = (parts.month - 1) / 3 * 3 + 1;
            1
        }
        "month" => 1,
        "day" => 2,
        "hour" => 3,
        "minute" => 4,
        "second" => 5,
        _ => return fail(INVALID_ARGUMENT, format!("unknown field \"{field}\" of a timestamp")),
    };
    if depth < 1 {
        parts.month = 1;
    }
    if depth < 2 {
        parts.day = 1;
    }
    if depth < 3 {
        parts.hour = 0;
    }
    if depth < 4 {
        parts.minute = 0;
    }
    parts.minute_us = if depth < 5 { 0 } else { parts.minute_us / 1_000_000 * 1_000_000 };
    parts.at_us().map(Value::Timestamp).ok_or_else(overflow)
}

/// Whether `text` matches a LIKE pattern: `%` any text, `_` any character, `\` takes the next character literally.
/// Time is at most the product of the lengths: only the last `%` is ever tried again.
pub fn like(text: &str, pattern: &str, fold_case: bool) -> bool {
    let same = |a: char, b: char| a == b || fold_case && case::lower(a) == case::lower(b);
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    // The text and the pattern after the last `%`, to go on from when what follows does not match here.
    let mut retry: Option<(core::str::Chars, core::str::Chars)> = None;
    loop {
        let mut ahead = pattern.clone();
        let matched = match ahead.next() {
            Some('%') => {
                retry = Some((text.clone(), ahead.clone()));
                pattern = ahead;
                continue;
            }
            None if text.clone().next().is_none() => return true,
            None => false,
            Some('_') => text.next().is_some(),
            Some('\\') => match (ahead.next(), text.next()) {
                (Some(wanted), Some(found)) => same(wanted, found),
                _ => false,
            },
            Some(wanted) => text.next().is_some_and(|found| same(wanted, found)),
        };
        if matched {
            pattern = ahead;
            continue;
        }
        let Some((from, after)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        (text, pattern) = (from.clone(), after.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// LIKE by its definition.
    fn like_by_definition(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|at| like_by_definition(&text[at..], rest)),
            ['_', rest @ ..] => !text.is_empty() && like_by_definition(&text[1..], rest),
            [char, rest @ ..] => text.first() == Some(char) && like_by_definition(&text[1..], rest),
        }
    }

    proptest! {
        #[test]
        fn parts_are_found_where_the_standard_library_finds_them(text in "[abé]{0,24}", part in "[abé]{1,4}") {
            let found: Vec<usize> = text.match_indices(part.as_str()).map(|(at, _)| at).collect();
            prop_assert_eq!(places(&text, &part), found);
        }

        #[test]
        fn like_is_what_its_definition_says(text in "[ab]{0,8}", pattern in "[ab%_]{0,6}") {
            let (chars, wanted): (Vec<_>, Vec<_>) = (text.chars().collect(), pattern.chars().collect());
            prop_assert_eq!(like(&text, &pattern, false), like_by_definition(&chars, &wanted));
        }
    }

    #[test]
    fn like_escapes_and_folds() {
        assert!(like("50%", "50\\%", false) && !like("505", "50\\%", false));
        assert!(like("Ärger", "ä%", true) && !like("Ärger", "ä%", false));
    }

    #[test]
    fn functions_have_their_values() {
        let text = |text: &str| Value::Text(text.to_owned());
        let run = |function, values: &[Value]| strict(function, &values.iter().collect::<Vec<_>>());
        assert_eq!(run(Function::Substr, &[text("Zürich"), Value::Integer(2), Value::Integer(2)]), Ok(text("ür")));
        assert_eq!(run(Function::Substr, &[text("abc"), Value::Integer(-1), Value::Integer(3)]), Ok(text("a")));
        assert_eq!(run(Function::Length, &[text("Zürich")]), Ok(Value::Integer(6)));
        assert_eq!(run(Function::Round, &[Value::Real(2.675), Value::Integer(2)]), Ok(Value::Real(2.68)));
        assert_eq!(run(Function::Round, &[Value::Real(-2.5)]), Ok(Value::Real(-3.0)));
        assert_eq!(run(Function::StrPos, &[text("añb"), text("b")]), Ok(Value::Integer(3)));
        assert_eq!(run(Function::Replace, &[text("aa"), text("a"), text("xy")]), Ok(text("xyxy")));
        let at = Value::Timestamp(calendar::parse("2024-05-17 10:20:30.5").unwrap());
        assert_eq!(run(Function::DatePart, &[text("quarter"), at.clone()]), Ok(Value::Real(2.0)));
        let month = Value::Timestamp(calendar::parse("2024-05-01").unwrap());
        assert_eq!(run(Function::DateTrunc, &[text("month"), at]), Ok(month));
        assert!(run(Function::Lower, &[Value::Integer(1)]).is_err());
    }
}
