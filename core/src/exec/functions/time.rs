//! Functions of dates, timestamps and intervals.

use super::{
    convert::out_of_time,
    listed::{Listed, types::*},
    pattern,
    text::{integer, text},
};
use crate::{
    Error,
    data::{
        Interval, Type, Value,
        time::{self, Parts},
    },
    exec::eval::{as_real, mismatch},
    sql::fault::{DIVISION_BY_ZERO, INVALID_ARGUMENT, fail},
};

type Answer = Result<Value, Error>;

/// Microseconds of a second.
pub(super) const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;

pub(super) const LIST: &[Listed] = &[
    Listed::new("+", &[DATE, INT], Type::Date, |all| moved(all[0], integer(all[1])?)),
    Listed::new("+", &[INT, DATE], Type::Date, |all| moved(all[1], integer(all[0])?)),
    Listed::new("+", &[TIME, SPAN], Type::Timestamp, |all| later(instant(all[0])?, span(all[1])?)),
    Listed::new("+", &[SPAN, TIME], Type::Timestamp, |all| later(instant(all[1])?, span(all[0])?)),
    Listed::new("+", &[SPAN, SPAN], Type::Interval, |all| interval(span(all[0])?.plus(span(all[1])?))),
    Listed::new("-", &[DATE, DATE], Type::Integer, |all| {
        Ok(Value::Integer(i64::from(day(all[0])?) - i64::from(day(all[1])?)))
    }),
    Listed::new("-", &[DATE, INT], Type::Date, |all| {
        moved(all[0], integer(all[1])?.checked_neg().ok_or_else(out_of_time)?)
    }),
    Listed::new("-", &[TIME, TIME], Type::Interval, |all| {
        let us = instant(all[0])?.checked_sub(instant(all[1])?).ok_or_else(out_of_time)?;
        interval(Interval::new(0, us / DAY_US, us % DAY_US))
    }),
    Listed::new("-", &[TIME, SPAN], Type::Timestamp, |all| {
        later(instant(all[0])?, span(all[1])?.negated().ok_or_else(out_of_time)?)
    }),
    Listed::new("-", &[SPAN, SPAN], Type::Interval, |all| {
        interval(span(all[1])?.negated().and_then(|other| span(all[0]).ok()?.plus(other)))
    }),
    Listed::new("-", &[SPAN], Type::Interval, |all| interval(span(all[0])?.negated())),
    Listed::new("*", &[SPAN, REAL], Type::Interval, |all| interval(span(all[0])?.times(as_real(all[1])?))),
    Listed::new("*", &[REAL, SPAN], Type::Interval, |all| interval(span(all[1])?.times(as_real(all[0])?))),
    Listed::new("/", &[SPAN, REAL], Type::Interval, |all| match as_real(all[1])? {
        0.0 => fail(DIVISION_BY_ZERO, "division by zero"),
        divisor => interval(span(all[0])?.times(1.0 / divisor)),
    }),
    Listed::new("date", &[TIME], Type::Date, |all| Ok(Value::Date(time::day_of(instant(all[0])?)))),
    Listed::new("date_part", &[TEXT, TIME], Type::Real, |all| part(text(all[0])?, instant(all[1])?)),
    Listed::new("date_part", &[TEXT, SPAN], Type::Real, |all| part_of_span(text(all[0])?, span(all[1])?)),
    Listed::new("date_trunc", &[TEXT, TIME], Type::Timestamp, |all| truncated(text(all[0])?, instant(all[1])?)),
    Listed::new("date_trunc", &[TEXT, SPAN], Type::Interval, |all| truncated_span(text(all[0])?, span(all[1])?)),
    Listed::new("date_bin", &[SPAN, TIME, TIME], Type::Timestamp, bin),
    Listed::new("age", &[TIME, TIME], Type::Interval, |all| age(instant(all[0])?, instant(all[1])?)),
    Listed::new("justify_days", &[SPAN], Type::Interval, |all| interval(span(all[0])?.justified(false, true))),
    Listed::new("justify_hours", &[SPAN], Type::Interval, |all| interval(span(all[0])?.justified(true, false))),
    Listed::new("justify_interval", &[SPAN], Type::Interval, |all| interval(span(all[0])?.justified(true, true))),
    Listed::new("make_date", &[INT, INT, INT], Type::Date, |all| {
        Ok(Value::Date(time::day_of(midnight(integer(all[0])?, integer(all[1])?, integer(all[2])?)?)))
    }),
    Listed::new("make_timestamp", &[INT, INT, INT, INT, INT, REAL], Type::Timestamp, make_timestamp),
    Listed::new("make_interval", &[INT], Type::Interval, make_interval),
    Listed::new("make_interval", &[INT, INT], Type::Interval, make_interval),
    Listed::new("make_interval", &[INT, INT, INT], Type::Interval, make_interval),
    Listed::new("make_interval", &[INT, INT, INT, INT], Type::Interval, make_interval),
    Listed::new("make_interval", &[INT, INT, INT, INT, INT], Type::Interval, make_interval),
    Listed::new("make_interval", &[INT, INT, INT, INT, INT, INT], Type::Interval, make_interval),
    Listed::new("make_interval", &[INT, INT, INT, INT, INT, INT, REAL], Type::Interval, make_interval),
    Listed::new("to_timestamp", &[REAL], Type::Timestamp, |all| {
        let us = (as_real(all[0])? * 1e6).round_ties_even();
        // Within what the calendar knows.
        if us.abs() < 9.1e18 { Ok(Value::Timestamp(us as i64)) } else { Err(out_of_time()) }
    }),
    Listed::new("to_timestamp", &[TEXT, TEXT], Type::Timestamp, |all| {
        pattern::parse(text(all[0])?, text(all[1])?).map(Value::Timestamp)
    }),
    Listed::new("to_date", &[TEXT, TEXT], Type::Date, |all| {
        pattern::parse(text(all[0])?, text(all[1])?).map(|at_us| Value::Date(time::day_of(at_us)))
    }),
    Listed::new("to_char", &[TIME, TEXT], Type::Text, |all| {
        pattern::of_time(instant(all[0])?, text(all[1])?).map(Value::Text)
    }),
    Listed::new("to_char", &[SPAN, TEXT], Type::Text, |all| {
        pattern::of_span(span(all[0])?, text(all[1])?).map(Value::Text)
    }),
    Listed::new("to_char", &[NUM, TEXT], Type::Text, |all| {
        pattern::of_number(super::math::numeric(all[0])?, text(all[1])?).map(Value::Text)
    }),
    Listed::new("to_char", &[REAL, TEXT], Type::Text, |all| {
        let number = crate::data::Numeric::from_real(as_real(all[0])?).ok_or_else(super::convert::too_large)?;
        pattern::of_number(number, text(all[1])?).map(Value::Text)
    }),
];

/// Parts of timestamps that owners know, too; others are for askers.
pub fn is_common(field: &str) -> bool {
    matches!(field, "year" | "month" | "day" | "hour" | "minute" | "second" | "epoch" | "dow" | "doy" | "quarter")
}

fn day(value: &Value) -> Result<i32, Error> {
    match value {
        Value::Date(days) => Ok(*days),
        other => mismatch("a function of dates", other),
    }
}

fn instant(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Timestamp(at_us) => Ok(*at_us),
        Value::Date(days) => time::at_midnight(*days).ok_or_else(out_of_time),
        other => mismatch("a function of timestamps", other),
    }
}

fn span(value: &Value) -> Result<Interval, Error> {
    match value {
        Value::Interval(interval) => Ok(*interval),
        other => mismatch("a function of intervals", other),
    }
}

fn interval(interval: Option<Interval>) -> Answer {
    interval.map(Value::Interval).ok_or_else(out_of_time)
}

fn moved(date: &Value, days: i64) -> Answer {
    let moved = i64::from(day(date)?).checked_add(days).and_then(|days| i32::try_from(days).ok());
    moved.map(Value::Date).ok_or_else(out_of_time)
}

/// A timestamp and an interval: months first, where a month that is too short ends the day; then days; then time.
fn later(at_us: i64, span: Interval) -> Answer {
    let mut at_us = at_us;
    if span.months != 0 {
        let mut parts = Parts::of(at_us);
        let months = parts.year * 12 + parts.month - 1 + i64::from(span.months);
        (parts.year, parts.month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        parts.day = parts.day.min(time::days_in_month(parts.year, parts.month));
        at_us = parts.at_us().ok_or_else(out_of_time)?;
    }
    let days = i64::from(span.days).checked_mul(DAY_US);
    let moved = days.and_then(|days| at_us.checked_add(days)).and_then(|at_us| at_us.checked_add(span.us));
    moved.map(Value::Timestamp).ok_or_else(out_of_time)
}

fn midnight(year: i64, month: i64, day: i64) -> Result<i64, Error> {
    Parts { year, month, day, hour: 0, minute: 0, minute_us: 0 }.at_us().ok_or_else(out_of_time)
}

fn unknown<T>(field: &str, of: &str) -> Result<T, Error> {
    fail(INVALID_ARGUMENT, format!("unit \"{field}\" not recognized for type {of}"))
}

fn part(field: &str, at_us: i64) -> Answer {
    let parts = Parts::of(at_us);
    let day_of_week = time::day_of_week(at_us);
    // There is no year, no century and no millennium zero.
    let nth = |years: i64| if parts.year > 0 { (parts.year + years - 1) / years } else { parts.year / years - 1 };
    Ok(Value::Real(match field.to_ascii_lowercase().as_str() {
        "year" | "years" => parts.year,
        "month" | "months" => parts.month,
        "day" | "days" => parts.day,
        "hour" | "hours" => parts.hour,
        "minute" | "minutes" => parts.minute,
        "dow" => day_of_week,
        "isodow" => {
            if day_of_week == 0 {
                7
            } else {
                day_of_week
            }
        }
        "doy" => time::day_of_year(at_us),
        "quarter" => (parts.month - 1) / 3 + 1,
        "week" => time::week_of(at_us).1,
        "isoyear" => time::week_of(at_us).0,
        "decade" => parts.year.div_euclid(10),
        "century" => nth(100),
        "millennium" => nth(1_000),
        "microseconds" => parts.minute_us,
        "julian" => return Ok(Value::Real(at_us as f64 / DAY_US as f64 + 2_440_588.0)),
        "milliseconds" => return Ok(Value::Real(parts.minute_us as f64 / 1e3)),
        "second" | "seconds" => return Ok(Value::Real(parts.minute_us as f64 / 1e6)),
        "epoch" => return Ok(Value::Real(at_us as f64 / 1e6)),
        _ => return unknown(field, "timestamp"),
    } as f64))
}

fn part_of_span(field: &str, span: Interval) -> Answer {
    let (months, us) = (i64::from(span.months), span.us);
    let minute_us = us % (60 * SECOND_US);
    Ok(Value::Real(match field.to_ascii_lowercase().as_str() {
        "year" | "years" => months / 12,
        "month" | "months" => months % 12,
        "quarter" => months % 12 / 3 + 1,
        "decade" => months / 120,
        "century" => months / 1_200,
        "millennium" => months / 12_000,
        "day" | "days" => i64::from(span.days),
        "hour" | "hours" => us / (3_600 * SECOND_US),
        "minute" | "minutes" => us / (60 * SECOND_US) % 60,
        "microseconds" => minute_us,
        "milliseconds" => return Ok(Value::Real(minute_us as f64 / 1e3)),
        "second" | "seconds" => return Ok(Value::Real(minute_us as f64 / 1e6)),
        "epoch" => {
            // A year has 365.25 days here.
            let days = (months / 12) as f64 * 365.25 + (months % 12 * 30 + i64::from(span.days)) as f64;
            return Ok(Value::Real(days * 86_400.0 + us as f64 / 1e6));
        }
        _ => return unknown(field, "interval"),
    } as f64))
}

/// Where a unit of time stands among them, the longest first.
fn depth(field: &str) -> Option<u8> {
    Some(match field {
        "millennium" => 0,
        "century" => 1,
        "decade" => 2,
        "year" | "years" => 3,
        "quarter" => 4,
        "month" | "months" => 5,
        "week" => 6,
        "day" | "days" => 7,
        "hour" | "hours" => 8,
        "minute" | "minutes" => 9,
        "second" | "seconds" => 10,
        "milliseconds" => 11,
        "microseconds" => 12,
        _ => return None,
    })
}

/// The longest of these units that divides the length of a unit of time.
fn unit_us(depth: u8) -> i64 {
    match depth {
        7 => DAY_US,
        8 => 3_600 * SECOND_US,
        9 => 60 * SECOND_US,
        10 => SECOND_US,
        11 => 1_000,
        _ => 1,
    }
}

fn truncated(field: &str, at_us: i64) -> Answer {
    let Some(depth) = depth(&field.to_ascii_lowercase()) else { return unknown(field, "timestamp") };
    if depth > 6 {
        let unit = unit_us(depth);
        return at_us.div_euclid(unit).checked_mul(unit).map(Value::Timestamp).ok_or_else(out_of_time);
    }
    let Parts { year, month, .. } = Parts::of(at_us);
    let (year, month) = match depth {
        0 => ((year - 1).div_euclid(1_000) * 1_000 + 1, 1),
        1 => ((year - 1).div_euclid(100) * 100 + 1, 1),
        2 => (year.div_euclid(10) * 10, 1),
        3 => (year, 1),
        4 => (year, (month - 1) / 3 * 3 + 1),
        5 => (year, month),
        _ => {
            let days = at_us.div_euclid(DAY_US);
            let monday = days - (days + 3).rem_euclid(7);
            return monday.checked_mul(DAY_US).map(Value::Timestamp).ok_or_else(out_of_time);
        }
    };
    midnight(year, month, 1).map(Value::Timestamp)
}

fn truncated_span(field: &str, span: Interval) -> Answer {
    let Some(depth) = depth(&field.to_ascii_lowercase()).filter(|depth| *depth != 6) else {
        return unknown(field, "interval");
    };
    let Interval { mut months, mut days, mut us } = span;
    let months_of = [12_000, 1_200, 120, 12, 3, 1];
    match months_of.get(usize::from(depth)) {
        Some(unit) => (months, days, us) = (months / unit * unit, 0, 0),
        None if depth == 7 => us = 0,
        None => us = us / unit_us(depth) * unit_us(depth),
    }
    Ok(Value::Interval(Interval { months, days: core::mem::take(&mut days), us }))
}

fn bin(all: &[&Value]) -> Answer {
    let (stride, at_us, origin) = (span(all[0])?, instant(all[1])?, instant(all[2])?);
    let stride = match i64::try_from(stride.total_us()) {
        Ok(us) if us > 0 && stride.months == 0 => us,
        _ => return fail(INVALID_ARGUMENT, "a stride is above zero and has no months"),
    };
    let past = at_us.checked_sub(origin).ok_or_else(out_of_time)?.rem_euclid(stride);
    at_us.checked_sub(past).map(Value::Timestamp).ok_or_else(out_of_time)
}

/// Years, months, days and time from the second instant to the first.
fn age(at_us: i64, since_us: i64) -> Answer {
    let backwards = at_us < since_us;
    let (from, to) = if backwards { (at_us, since_us) } else { (since_us, at_us) };
    let (a, b) = (Parts::of(to), Parts::of(from));
    let clock = |parts: &Parts| (parts.hour * 60 + parts.minute) * 60 * SECOND_US + parts.minute_us;
    let mut us = clock(&a) - clock(&b);
    let mut days = a.day - b.day;
    let mut months = (a.year - b.year) * 12 + a.month - b.month;
    if us < 0 {
        (us, days) = (us + DAY_US, days - 1);
    }
    if days < 0 {
        // PostgreSQL borrows from the month of the earlier one.
        (days, months) = (days + time::days_in_month(b.year, b.month), months - 1);
    }
    let age = Interval::new(months, days, us);
    interval(if backwards { age.and_then(Interval::negated) } else { age })
}

/// Seconds as microseconds.
fn micros(seconds: &Value) -> Result<i64, Error> {
    let us = (as_real(seconds)? * 1e6).round_ties_even();
    if us.abs() < 9.2e18 { Ok(us as i64) } else { Err(out_of_time()) }
}

fn make_timestamp(all: &[&Value]) -> Answer {
    let field = |at: usize| integer(all[at]);
    let minute_us = micros(all[5])?;
    let parts =
        Parts { year: field(0)?, month: field(1)?, day: field(2)?, hour: field(3)?, minute: field(4)?, minute_us };
    parts.at_us().map(Value::Timestamp).ok_or_else(out_of_time)
}

fn make_interval(all: &[&Value]) -> Answer {
    let field = |at: usize| all.get(at).map_or(Ok(0), |value| integer(value));
    let seconds = all.get(6).map_or(Ok(0), |seconds| micros(seconds))?;
    let sum = |a: i64, unit: i64, b: i64| a.checked_mul(unit)?.checked_add(b);
    let months = sum(field(0)?, 12, field(1)?);
    let days = sum(field(2)?, 7, field(3)?);
    let minutes = sum(field(4)?, 60, field(5)?);
    let us = minutes.and_then(|minutes| sum(minutes, 60 * SECOND_US, seconds));
    interval(months.zip(days).zip(us).and_then(|((months, days), us)| Interval::new(months, days, us)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        time::parse(text).unwrap()
    }

    #[test]
    fn months_end_where_they_end() {
        super::super::listed::enable();
        let month = Interval { months: 1, days: 0, us: 0 };
        assert_eq!(later(at("2024-01-31 10:00"), month), Ok(Value::Timestamp(at("2024-02-29 10:00"))));
        assert_eq!(later(at("2023-12-31"), month), Ok(Value::Timestamp(at("2024-01-31"))));
        let age = |a, b| age(at(a), at(b)).unwrap().to_string();
        assert_eq!(age("2001-04-10", "1957-06-13"), "43 years 9 mons 27 days");
        assert_eq!(age("1957-06-13", "2001-04-10"), "-43 years -9 mons -27 days");
        assert_eq!(age("2024-03-01 01:00", "2024-02-29 02:00"), "23:00:00");
    }

    proptest! {
        #[test]
        fn nothing_panics(at_us in any::<i64>(), other in any::<i64>(), months in any::<i32>(), days in any::<i32>(), us in any::<i64>()) {
            let span = Interval { months, days, us };
            let _ = (later(at_us, span), age(at_us, other));
            for field in ["millennium", "century", "decade", "year", "quarter", "month", "week", "day", "second", "epoch", "isoyear", "julian"] {
                let _ = (part(field, at_us), truncated(field, at_us), part_of_span(field, span), truncated_span(field, span));
            }
            let stride = Value::Interval(span);
            let _ = bin(&[&stride, &Value::Timestamp(at_us), &Value::Timestamp(other)]);
        }

        #[test]
        fn an_age_leads_back(from in 0_i64..4_000_000_000, seconds in 0_i64..2_000_000_000) {
            let (from, to) = (from * SECOND_US, (from + seconds) * SECOND_US);
            let Ok(Value::Interval(span)) = age(to, from) else { panic!() };
            // Months differ in length, by three days at most.
            let Ok(Value::Timestamp(back)) = later(from, span) else { panic!() };
            prop_assert!((back - to).abs() <= 3 * DAY_US, "{} {}", back, to);
            prop_assert!(span.months >= 0 && (0..31).contains(&span.days) && (0..DAY_US).contains(&span.us));
        }
    }
}
