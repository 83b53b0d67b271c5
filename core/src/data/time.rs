//! Timestamps as people write them: a proleptic Gregorian calendar, UTC, without a time zone database.
//!
//! Days and dates convert by counting in eras of 400 years (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;
const SECOND_US: i64 = 1_000_000;

/// The parts of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Year, astronomical.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59,999,999: microseconds within the minute.
    pub minute_us: i64,
}

impl Parts {
    /// The parts of `at_us` microseconds since the Unix epoch.
    pub fn of(at_us: i64) -> Parts {
        let (days, rest) = (at_us.div_euclid(DAY_US), at_us.rem_euclid(DAY_US));
        let (year, month, day) = date_of(days);
        let minutes = rest / (60 * SECOND_US);
        Parts { year, month, day, hour: minutes / 60, minute: minutes % 60, minute_us: rest % (60 * SECOND_US) }
    }

    /// Microseconds since the Unix epoch; `None` when out of range or no such date.
    pub fn at_us(&self) -> Option<i64> {
        let in_range = (-290_000..=290_000).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..60 * SECOND_US).contains(&self.minute_us);
        if !in_range {
            return None;
        }
        let days = days_of(self.year, self.month, self.day);
        if date_of(days) != (self.year, self.month, self.day) {
            return None;
        }
        let rest = (self.hour * 60 + self.minute) * 60 * SECOND_US + self.minute_us;
        days.checked_mul(DAY_US)?.checked_add(rest)
    }
}

/// Days since 1970-01-01 of a date; months run from March, so that the leap day comes last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Day of the week, 0 is Sunday.
pub fn day_of_week(at_us: i64) -> i64 {
    (at_us.div_euclid(DAY_US) + 4).rem_euclid(7)
}

/// Day of the year, from 1.
pub fn day_of_year(at_us: i64) -> i64 {
    let parts = Parts::of(at_us);
    at_us.div_euclid(DAY_US) - days_of(parts.year, 1, 1) + 1
}

/// `2026-11-20 23:30:00.5`; the fraction only where there is one.
pub fn format(at_us: i64) -> String {
    let Parts { year, month, day, hour, minute, minute_us } = Parts::of(at_us);
    let (second, fraction) = (minute_us / SECOND_US, minute_us % SECOND_US);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// `2026-11-20`.
pub fn format_date(days: i32) -> String {
    let (year, month, day) = date_of(i64::from(days));
    format!("{year:04}-{month:02}-{day:02}")
}

/// Midnight of a day.
pub fn at_midnight(days: i32) -> Option<i64> {
    i64::from(days).checked_mul(DAY_US)
}

/// The day of a timestamp.
pub fn day_of(at_us: i64) -> i32 {
    at_us.div_euclid(DAY_US) as i32
}

/// How many days a month has.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_of(next_year, next_month, 1) - days_of(year, month, 1)
}

/// Week of the year by ISO 8601, and the year that it belongs to: the one of its Thursday.
pub fn week_of(at_us: i64) -> (i64, i64) {
    let days = at_us.div_euclid(DAY_US);
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, ..) = date_of(thursday);
    (year, (thursday - days_of(year, 1, 1)) / 7 + 1)
}

/// Reads `YYYY-MM-DD`, `YYYY/MM/DD`, with `[T ]HH:MM[:SS[.ffffff]]` and `Z` or `±HH[:MM]`; `None` when it is not one.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let clock = clock.trim_start();
    let separator = if date.bytes().any(|byte| byte == b'/') { '/' } else { '-' };
    let mut fields = date.splitn(3, separator);
    let mut field = || number(fields.next()?, 6);
    let (year, month, day) = (field()?, field()?, field()?);
    let mut parts = Parts { year, month, day, hour: 0, minute: 0, minute_us: 0 };
    let mut offset_us = 0;
    if !clock.is_empty() {
        let (clock, zone) = match clock.find(['Z', 'z', '+', '-']) {
            Some(at) => clock.split_at_checked(at).unwrap_or((clock, "")),
            None => (clock, ""),
        };
        let mut fields = clock.trim_end().splitn(3, ':');
        parts.hour = number(fields.next()?, 2)?;
        parts.minute = number(fields.next()?, 2)?;
        if let Some(seconds) = fields.next() {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
            parts.minute_us = number(whole, 2)? * SECOND_US + number(&digits, 6)?;
        }
        offset_us = zone_us(zone)?;
    }
    parts.at_us()?.checked_sub(offset_us)
}

fn zone_us(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next() {
        None | Some('Z' | 'z') => return (zone.len() <= 1).then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':').unwrap_or((zone.get(1..)?, "0"));
    Some(sign * (number(hours, 2)? * 60 + number(minutes, 2)?) * 60 * SECOND_US)
}

fn number(digits: &str, most: usize) -> Option<i64> {
    let valid = !digits.is_empty() && digits.len() <= most && digits.bytes().all(|byte| byte.is_ascii_digit());
    if valid { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("2000-02-29 12:30:00"), Some(951_827_400_000_000));
        assert_eq!(parse("2001-01-01T00:00:00.25Z"), Some(978_307_200_250_000));
        assert_eq!(parse("2001/01/01 01:00+01:00"), Some(978_307_200_000_000));
        assert_eq!(format(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(day_of_week(parse("2026-11-20").unwrap()), 5);
        assert_eq!(day_of_year(parse("2024-12-31").unwrap()), 366);
        for wrong in ["", "2001-02-29", "2001-13-01", "x", "2001-1", "2001-01-01 25:00", "2001-01-01 1é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again(at_us in -60_000_000_000_000_000_i64..200_000_000_000_000_000) {
            prop_assert_eq!(parse(&format(at_us)), Some(at_us));
        }

        #[test]
        fn any_instant_and_text_is_handled(at_us in any::<i64>(), text in ".{0,20}") {
            let _ = (format(at_us), day_of_year(at_us), parse(&text));
        }
    }
}
