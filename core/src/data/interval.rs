//! Intervals: months, days and microseconds, which do not convert into one another until they are compared.
//!
//! They read and print as PostgreSQL's do (`1 year 2 mons -3 days +04:05:06.7`); a month counts as 30 days and a day as
//! 24 hours where intervals are compared.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::numeric::Numeric;

const SECOND_US: i64 = 1_000_000;
const DAY_US: i64 = 86_400 * SECOND_US;
const MONTH_DAYS: i64 = 30;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub us: i64,
}

/// What is being read, before it is known to fit.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    us: i64,
}

impl Sum {
    /// So many times a unit of months, days or microseconds; fractions go to the next smaller unit.
    fn plus(&mut self, count: Numeric, unit: (i64, i64, i64)) -> Option<()> {
        let whole = |number: Numeric| i64::try_from(number.trunc(0)?.whole()).ok();
        let fraction = |number: Numeric| number.plus(number.trunc(0)?.negated());
        let (months, days, us) = unit;
        let months = count.times(Numeric::from(months))?;
        self.months = self.months.checked_add(whole(months)?)?;
        let days = count.times(Numeric::from(days))?.plus(fraction(months)?.times(Numeric::from(MONTH_DAYS))?)?;
        self.days = self.days.checked_add(whole(days)?)?;
        let us = count.times(Numeric::from(us))?.plus(fraction(days)?.times(Numeric::from(DAY_US))?)?;
        self.us = self.us.checked_add(us.to_integer()?)?;
        Some(())
    }

    fn interval(&self) -> Option<Interval> {
        Interval::new(self.months, self.days, self.us)
    }
}

/// Months, days and microseconds of a unit by its name.
fn unit(name: &str) -> Option<(i64, i64, i64)> {
    Some(match name {
        "millennium" | "millenniums" | "millennia" | "mil" | "mils" => (12_000, 0, 0),
        "century" | "centuries" | "cent" | "c" => (1_200, 0, 0),
        "decade" | "decades" | "dec" | "decs" => (120, 0, 0),
        "year" | "years" | "yr" | "yrs" | "y" => (12, 0, 0),
        "month" | "months" | "mon" | "mons" => (1, 0, 0),
        "week" | "weeks" | "w" => (0, 7, 0),
        "day" | "days" | "d" => (0, 1, 0),
        "hour" | "hours" | "hr" | "hrs" | "h" => (0, 0, 3_600 * SECOND_US),
        "minute" | "minutes" | "min" | "mins" | "m" => (0, 0, 60 * SECOND_US),
        "second" | "seconds" | "sec" | "secs" | "s" => (0, 0, SECOND_US),
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => (0, 0, 1_000),
        "microsecond" | "microseconds" | "usec" | "usecs" | "us" => (0, 0, 1),
        _ => return None,
    })
}

impl Interval {
    /// An interval; `None` when it does not fit.
    pub fn new(months: i64, days: i64, us: i64) -> Option<Interval> {
        Some(Interval { months: i32::try_from(months).ok()?, days: i32::try_from(days).ok()?, us })
    }

    /// Microseconds, with months of 30 days: what comparisons look at.
    pub fn total_us(&self) -> i128 {
        let days = i64::from(self.months) * MONTH_DAYS + i64::from(self.days);
        i128::from(days) * i128::from(DAY_US) + i128::from(self.us)
    }

    /// The sum of both.
    pub fn plus(self, other: Interval) -> Option<Interval> {
        Some(Interval {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            us: self.us.checked_add(other.us)?,
        })
    }

    /// The interval backwards.
    pub fn negated(self) -> Option<Interval> {
        Some(Interval {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            us: self.us.checked_neg()?,
        })
    }

    /// So many times the interval; fractions of months become days, those of days time.
    pub fn times(self, factor: f64) -> Option<Interval> {
        // As PostgreSQL does it, to the microsecond.
        let rounded = |number: f64| (number * 1e6).round_ties_even() / 1e6;
        let (months, days) = (f64::from(self.months) * factor, f64::from(self.days) * factor);
        let month_days = rounded((months - months.trunc()) * MONTH_DAYS as f64);
        let mut seconds = rounded((days - days.trunc() + month_days - month_days.trunc()) * 86_400.0);
        let mut whole_days = days.trunc() + month_days.trunc();
        if seconds.abs() >= 86_400.0 {
            whole_days += (seconds / 86_400.0).trunc();
            seconds %= 86_400.0;
        }
        let us = (self.us as f64 * factor + seconds * 1e6).round_ties_even();
        let fits = |number: f64, bound: f64| (number.abs() < bound).then_some(number as i64);
        Interval::new(fits(months.trunc(), 2e9)?, fits(whole_days, 2e9)?, fits(us, 9.2e18)?)
    }

    /// 30 days as months, 24 hours as days, and one sign for all.
    pub fn justified(self, hours: bool, days: bool) -> Option<Interval> {
        let (mut months, mut whole_days, mut us) = (i64::from(self.months), i64::from(self.days), self.us);
        if hours {
            whole_days += us / DAY_US;
            us %= DAY_US;
        }
        if days {
            months += whole_days / MONTH_DAYS;
            whole_days %= MONTH_DAYS;
        }
        if days && months > 0 && (whole_days < 0 || whole_days == 0 && us < 0 && hours) {
            (months, whole_days) = (months - 1, whole_days + MONTH_DAYS);
        } else if days && months < 0 && (whole_days > 0 || whole_days == 0 && us > 0 && hours) {
            (months, whole_days) = (months + 1, whole_days - MONTH_DAYS);
        }
        if hours && whole_days > 0 && us < 0 {
            (whole_days, us) = (whole_days - 1, us + DAY_US);
        } else if hours && whole_days < 0 && us > 0 {
            (whole_days, us) = (whole_days + 1, us - DAY_US);
        }
        Interval::new(months, whole_days, us)
    }

    /// Reads `1 year 2 days 03:04:05`, `1.5 hours ago`, `P1Y2M3DT4H5M6S`; `None` when it is none or does not fit.
    pub fn parse(text: &str) -> Option<Interval> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(iso) = text.strip_prefix('p') {
            return parse_iso(iso);
        }
        let mut sum = Sum::default();
        let mut words = words(&text)?.into_iter().peekable();
        words.peek()?;
        let mut backwards = false;
        while let Some(word) = words.next() {
            if word == "ago" {
                backwards = words.peek().is_none();
                if !backwards {
                    return None;
                }
            } else if word == "@" {
            } else if word.contains(':') {
                sum.us = sum.us.checked_add(clock_us(&word)?)?;
            } else {
                let number = Numeric::parse(&word)?;
                // A number alone is seconds.
                let named = match words.peek() {
                    Some(name) if name.starts_with(|first: char| first.is_ascii_alphabetic()) && name != "ago" => {
                        let named = unit(name)?;
                        words.next();
                        named
                    }
                    _ => unit("s")?,
                };
                sum.plus(number, named)?;
            }
        }
        let interval = sum.interval()?;
        if backwards { interval.negated() } else { Some(interval) }
    }
}

/// Numbers and names apart, also where nothing is between them.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    for part in text.split_ascii_whitespace() {
        let mut rest = part;
        while let Some(first) = rest.chars().next() {
            let named = first.is_ascii_alphabetic() || first == '@';
            let other = |char: char| char.is_ascii_alphabetic() != named || char == '@';
            let end = rest.char_indices().skip(1).find(|(_, char)| other(*char)).map_or(rest.len(), |(at, _)| at);
            let (word, tail) = rest.split_at_checked(end)?;
            words.push(word.to_owned());
            rest = tail;
        }
    }
    Some(words)
}

/// `[-]HH:MM[:SS[.ffffff]]`.
fn clock_us(word: &str) -> Option<i64> {
    let (negative, clock) = match word.strip_prefix('-') {
        Some(clock) => (true, clock),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let mut fields = clock.splitn(3, ':');
    let number = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.parse::<i64>().ok())?;
    let (hours, minutes) = (number(fields.next()?)?, number(fields.next()?)?);
    let seconds = fields.next().map_or(Some(Numeric::ZERO), Numeric::parse)?;
    let seconds_us = seconds.times(Numeric::from(SECOND_US))?.to_integer()?;
    if minutes > 59 || !(0..60 * SECOND_US).contains(&seconds_us) {
        return None;
    }
    let us = hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60 * SECOND_US)?.checked_add(seconds_us)?;
    Some(if negative { -us } else { us })
}

/// What stands behind the P of ISO 8601.
fn parse_iso(text: &str) -> Option<Interval> {
    let (mut sum, mut clock, mut rest) = (Sum::default(), false, text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('t') {
            (clock, rest) = (true, tail);
            continue;
        }
        let end = rest.char_indices().find(|(_, char)| char.is_ascii_alphabetic()).map(|(at, _)| at)?;
        let (number, tail) = rest.split_at_checked(end)?;
        let name = match (tail.as_bytes().first()?, clock) {
            (b'y', false) => "year",
            (b'm', false) => "month",
            (b'w', false) => "week",
            (b'd', false) => "day",
            (b'h', true) => "hour",
            (b'm', true) => "minute",
            (b's', true) => "second",
            _ => return None,
        };
        sum.plus(Numeric::parse(number)?, unit(name)?)?;
        rest = tail.get(1..)?;
    }
    sum.interval()
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut first, mut negative) = (true, false);
        for (count, name) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if count != 0 {
                let (gap, sign) = (if first { "" } else { " " }, if negative && count > 0 { "+" } else { "" });
                write!(f, "{gap}{sign}{count} {name}{}", if count == 1 { "" } else { "s" })?;
                (first, negative) = (false, count < 0);
            }
        }
        if self.us != 0 || first {
            let sign = if self.us < 0 {
                "-"
            } else if negative {
                "+"
            } else {
                ""
            };
            let us = self.us.unsigned_abs();
            let (seconds, fraction) = (us / SECOND_US as u64, us % SECOND_US as u64);
            let gap = if first { "" } else { " " };
            write!(f, "{gap}{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)?;
            if fraction != 0 {
                f.write_str(".")?;
                f.write_str(format!("{fraction:06}").trim_end_matches('0'))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_read_and_print() {
        for (text, printed) in [
            ("1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
            ("-1 days 02:03", "-1 days +02:03:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 days", "1 day 12:00:00"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("2 weeks ago", "-14 days"),
            ("90 minutes", "01:30:00"),
            ("1d2h", "1 day 02:00:00"),
            ("5", "00:00:05"),
            ("0 days", "00:00:00"),
            ("-1 year -2 mons +3 days -04:05:06", "-1 years -2 mons +3 days -04:05:06"),
        ] {
            assert_eq!(Interval::parse(text).map(|interval| interval.to_string()).as_deref(), Some(printed), "{text}");
        }
        for wrong in ["", "x", "1 fortnight", "p", "p1", "1:2:3:4", "1:99", "ago 1 day", "999999999999 years", "1e9 é"]
        {
            assert_eq!(Interval::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(months in -99_999_i32..99_999, days in any::<i32>(), us in any::<i64>()) {
            let interval = Interval { months, days, us };
            // The smallest number of microseconds has no counterpart.
            prop_assert_eq!(Interval::parse(&interval.to_string()), Some(interval));
            let _ = (interval.times(1e10), interval.times(f64::NAN), interval.negated(), interval.justified(true, true));
        }

        #[test]
        fn any_text_is_handled(text in ".{0,20}", dense in "[-+0-9.: ptdmsy]{0,20}") {
            let _ = (Interval::parse(&text), Interval::parse(&dense));
        }
    }
}
