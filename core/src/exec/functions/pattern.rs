//! The patterns of `to_char`, `to_timestamp` and `to_date`.

use super::time::SECOND_US;
use crate::{
    Error,
    data::{
        Interval, Numeric,
        time::{self, Parts},
    },
    sql::fault::{DATETIME_OVERFLOW, INVALID_ARGUMENT, INVALID_DATETIME, fail},
};

/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 1_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Elements of patterns of time; of two that begin alike the longer one first.
const ELEMENTS: &[&str] = &[
    "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY", "IY", "ID", "IW", "IDDD", "I", "MONTH", "Month", "month", "MON",
    "Mon", "mon", "MM", "MI", "MS", "DAY", "Day", "day", "DDD", "DD", "DY", "Dy", "dy", "D", "HH24", "HH12", "HH",
    "SSSSS", "SSSS", "SS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "A.M.", "P.M.", "a.m.", "p.m.", "AM", "PM",
    "am", "pm", "WW", "W", "Q", "CC", "J", "TZ", "tz", "OF", "FM", "TH", "th",
];

/// A piece of a pattern.
enum Piece<'a> {
    Element(&'static str),
    Literal(&'a str),
}

fn pieces(pattern: &str) -> Result<Vec<Piece<'_>>, Error> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return fail(INVALID_ARGUMENT, "a pattern that is too long");
    }
    let (mut pieces, mut rest) = (Vec::new(), pattern);
    while let Some(first) = rest.chars().next() {
        let element = ELEMENTS.iter().find(|element| rest.starts_with(**element)).copied().or_else(|| {
            // Other mixtures of cases mean the same as upper case.
            let upper = |element: &&&str| {
                let head = rest.get(..element.len());
                head.is_some_and(|head| head.eq_ignore_ascii_case(element)) && **element == element.to_ascii_uppercase()
            };
            ELEMENTS.iter().find(upper).copied()
        });
        let length = if let Some(element) = element {
            pieces.push(Piece::Element(element));
            element.len()
        } else if let Some(inner) = rest.strip_prefix('"') {
            let end = inner.find('"').unwrap_or(inner.len());
            pieces.push(Piece::Literal(inner.get(..end).unwrap_or_default()));
            (end + 2).min(rest.len())
        } else {
            pieces.push(Piece::Literal(rest.get(..first.len_utf8()).unwrap_or_default()));
            first.len_utf8()
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(pieces)
}

/// What elements show.
struct Shown {
    year: i64,
    month: i64,
    day: i64,
    hours: i64,
    minute: i64,
    minute_us: i64,
    /// The instant; an interval has none, and so no days of weeks and years.
    at_us: Option<i64>,
}

/// `to_char(timestamp, pattern)`.
pub(super) fn of_time(at_us: i64, pattern: &str) -> Result<String, Error> {
    let Parts { year, month, day, hour, minute, minute_us } = Parts::of(at_us);
    shown(&Shown { year, month, day, hours: hour, minute, minute_us, at_us: Some(at_us) }, pattern)
}

/// `to_char(interval, pattern)`.
pub(super) fn of_span(span: Interval, pattern: &str) -> Result<String, Error> {
    let (months, minutes) = (i64::from(span.months), span.us / (60 * SECOND_US));
    shown(
        &Shown {
            year: months / 12,
            month: months % 12,
            day: i64::from(span.days),
            hours: minutes / 60,
            minute: minutes % 60,
            minute_us: span.us % (60 * SECOND_US),
            at_us: None,
        },
        pattern,
    )
}

fn shown(of: &Shown, pattern: &str) -> Result<String, Error> {
    let (mut out, mut bare) = (String::new(), false);
    for piece in pieces(pattern)? {
        let element = match piece {
            Piece::Literal(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Element("FM") => {
                bare = true;
                continue;
            }
            Piece::Element(ending @ ("TH" | "th")) => {
                let ordinal = ordinal(&out);
                out.push_str(&if ending == "TH" { ordinal.to_ascii_uppercase() } else { ordinal.to_owned() });
                continue;
            }
            Piece::Element(element) => element,
        };
        out.push_str(&one(of, element, bare)?);
        bare = false;
    }
    Ok(out)
}

/// The ending of the number at the end of a text.
fn ordinal(text: &str) -> &'static str {
    let digit = |back: usize| text.len().checked_sub(back).and_then(|at| text.as_bytes().get(at));
    match (digit(2), digit(1)) {
        (Some(b'1'), _) => "th",
        (_, Some(b'1')) => "st",
        (_, Some(b'2')) => "nd",
        (_, Some(b'3')) => "rd",
        _ => "th",
    }
}

fn one(of: &Shown, element: &str, bare: bool) -> Result<String, Error> {
    let number = |number: i64, width: usize| {
        let digits = number.unsigned_abs().to_string();
        let zeros = if bare { 0 } else { width.saturating_sub(digits.len()) };
        format!("{}{}{digits}", if number < 0 { "-" } else { "" }, "0".repeat(zeros))
    };
    let at_us = || match of.at_us {
        Some(at_us) => Ok(at_us),
        None => fail(INVALID_DATETIME, format!("an interval has no {element}")),
    };
    let named = |name: &str, length: usize| {
        // As the pattern's first letters are.
        let name = name.get(..length).unwrap_or(name);
        let cased = match element.as_bytes() {
            [b'A'..=b'Z', b'A'..=b'Z', ..] => name.to_ascii_uppercase(),
            [b'A'..=b'Z', ..] => name.to_owned(),
            _ => name.to_ascii_lowercase(),
        };
        let width = if length > 3 && !bare { 9 } else { 0 };
        format!("{cased:width$}")
    };
    let month = |length: usize| match MONTHS.get((of.month - 1) as usize) {
        Some(name) => named(name, length),
        None => String::new(),
    };
    let weekday = |length: usize| Ok::<_, Error>(named(DAYS[time::day_of_week(at_us()?) as usize % 7], length));
    let us = of.minute_us % SECOND_US;
    let twelve = if of.hours % 12 == 0 { 12 } else { of.hours % 12 };
    let half = |upper: bool, points: bool| {
        let half = match (of.hours.rem_euclid(24) >= 12, points) {
            (false, false) => "am",
            (true, false) => "pm",
            (false, true) => "a.m.",
            (true, true) => "p.m.",
        };
        if upper { half.to_ascii_uppercase() } else { half.to_owned() }
    };
    Ok(match element {
        "YYYY" => number(of.year, 4),
        "YYY" => number(of.year % 1_000, 3),
        "YY" => number(of.year % 100, 2),
        "Y" => number(of.year % 10, 1),
        "Y,YYY" => format!("{},{:03}", of.year / 1_000, (of.year % 1_000).abs()),
        "IYYY" => number(time::week_of(at_us()?).0, 4),
        "IYY" => number(time::week_of(at_us()?).0 % 1_000, 3),
        "IY" => number(time::week_of(at_us()?).0 % 100, 2),
        "I" => number(time::week_of(at_us()?).0 % 10, 1),
        "IW" => number(time::week_of(at_us()?).1, 2),
        "IDDD" => {
            let weekday = (time::day_of_week(at_us()?) + 6) % 7 + 1;
            number((time::week_of(at_us()?).1 - 1) * 7 + weekday, 3)
        }
        "ID" => number((time::day_of_week(at_us()?) + 6) % 7 + 1, 1),
        "MM" => number(of.month, 2),
        "MONTH" | "Month" | "month" => month(9),
        "MON" | "Mon" | "mon" => month(3),
        "DAY" | "Day" | "day" => weekday(9)?,
        "DY" | "Dy" | "dy" => weekday(3)?,
        "DDD" => number(time::day_of_year(at_us()?), 3),
        "DD" => number(of.day, 2),
        "D" => number(time::day_of_week(at_us()?) + 1, 1),
        "HH24" => number(of.hours, 2),
        "HH12" | "HH" => number(twelve, 2),
        "MI" => number(of.minute, 2),
        "SS" => number(of.minute_us / SECOND_US, 2),
        "SSSS" | "SSSSS" => number((of.hours * 60 + of.minute) * 60 + of.minute_us / SECOND_US, 1),
        "MS" => number(us / 1_000, 3),
        "US" => number(us, 6),
        "FF1" => number(us / 100_000, 1),
        "FF2" => number(us / 10_000, 2),
        "FF3" => number(us / 1_000, 3),
        "FF4" => number(us / 100, 4),
        "FF5" => number(us / 10, 5),
        "FF6" => number(us, 6),
        "AM" | "PM" => half(true, false),
        "am" | "pm" => half(false, false),
        "A.M." | "P.M." => half(true, true),
        "a.m." | "p.m." => half(false, true),
        "WW" => number((time::day_of_year(at_us()?) - 1) / 7 + 1, 2),
        "W" => number((of.day - 1) / 7 + 1, 1),
        "Q" => number((at_us().map(|_| of.month)? - 1) / 3 + 1, 1),
        "CC" => number((of.year + 99).div_euclid(100), 2),
        "J" => number(i64::from(time::day_of(at_us()?)) + 2_440_588, 1),
        "TZ" => at_us().map(|_| "UTC".to_owned())?,
        "tz" => at_us().map(|_| "utc".to_owned())?,
        "OF" => at_us().map(|_| "+00".to_owned())?,
        _ => String::new(),
    })
}

/// `to_timestamp(text, pattern)`: microseconds since the Unix epoch.
pub(super) fn parse(text: &str, pattern: &str) -> Result<i64, Error> {
    let mut parts = Parts { year: 1, month: 1, day: 1, hour: 0, minute: 0, minute_us: 0 };
    let (mut rest, mut afternoon, mut day_of_year, mut us) = (text.trim_start(), None, None, 0);
    let pieces = pieces(pattern)?;
    let wrong = |element: &str| fail(INVALID_DATETIME, format!("\"{text}\" does not read as {element} of the pattern"));
    let mut bare = false;
    for (index, piece) in pieces.iter().enumerate() {
        let element = match piece {
            Piece::Element("FM") => {
                bare = true;
                continue;
            }
            Piece::Element("TH" | "th") => {
                rest = rest.get(2..).unwrap_or_default();
                continue;
            }
            Piece::Element(element) => *element,
            // What is between fields need not be the same.
            Piece::Literal(literal) => {
                for _ in literal.chars() {
                    let mut chars = rest.chars();
                    if chars.next().is_some_and(|next| !next.is_ascii_digit()) {
                        rest = chars.as_str();
                    }
                }
                continue;
            }
        };
        rest = rest.trim_start();
        // Fields that are not told apart have as many digits as their pattern.
        let touching = !bare && matches!(pieces.get(index + 1), Some(Piece::Element(_)));
        bare = false;
        let digits = |most: usize| {
            let most = if touching || most != 4 { most } else { 9 };
            let end = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
            rest.split_at_checked(end).and_then(|(digits, tail)| Some((digits.parse::<i64>().ok()?, end, tail)))
        };
        let width = match element {
            "YYYY" | "IYYY" => 4,
            "YYY" | "DDD" | "MS" | "FF3" => 3,
            "US" | "FF6" => 6,
            "Y" => 1,
            "YY" | "MM" | "DD" | "HH24" | "HH12" | "HH" | "MI" | "SS" => 2,
            "MONTH" | "Month" | "month" | "MON" | "Mon" | "mon" => {
                let short = element.len() == 3;
                let found = MONTHS.iter().position(|month| {
                    let name = if short { month.get(..3).unwrap_or(month) } else { month };
                    rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
                });
                let Some(at) = found else { return wrong(element) };
                parts.month = at as i64 + 1;
                rest = rest.get(if short { 3 } else { MONTHS[at].len() }..).unwrap_or_default();
                continue;
            }
            "DAY" | "Day" | "day" | "DY" | "Dy" | "dy" => {
                rest = rest.trim_start_matches(|char: char| char.is_ascii_alphabetic());
                continue;
            }
            "AM" | "PM" | "am" | "pm" | "A.M." | "P.M." | "a.m." | "p.m." => {
                afternoon = match rest.as_bytes().first() {
                    Some(b'a' | b'A') => Some(false),
                    Some(b'p' | b'P') => Some(true),
                    _ => return wrong(element),
                };
                rest = rest.get(element.len()..).unwrap_or_default();
                continue;
            }
            other => return fail(INVALID_ARGUMENT, format!("{other} is not understood in a pattern to read by")),
        };
        let Some((number, length, tail)) = digits(width) else { return wrong(element) };
        rest = tail;
        match element {
            "YYYY" | "IYYY" => parts.year = number,
            "YYY" => parts.year = 2_000 + number,
            "YY" => parts.year = if number < 70 { 2_000 } else { 1_900 } + number,
            "Y" => parts.year = 2_020 + number,
            "MM" => parts.month = number,
            "DD" => parts.day = number,
            "DDD" => day_of_year = Some(number),
            "HH24" | "HH12" | "HH" => parts.hour = number,
            "MI" => parts.minute = number,
            "SS" => parts.minute_us = number * SECOND_US,
            // A fraction: 5 are 500 milliseconds.
            _ => us = number * 10_i64.pow(6_u32.saturating_sub(length as u32)),
        }
    }
    if let Some(afternoon) = afternoon {
        if !(1..=12).contains(&parts.hour) {
            return fail(INVALID_DATETIME, format!("hour \"{}\" is invalid for the 12-hour clock", parts.hour));
        }
        parts.hour = parts.hour % 12 + if afternoon { 12 } else { 0 };
    }
    if let Some(day) = day_of_year {
        let january = Parts { month: 1, day: 1, ..parts }.at_us();
        let moved = january.map(|at_us| Parts::of(at_us.saturating_add((day - 1).saturating_mul(86_400 * SECOND_US))));
        if let Some(found) = moved {
            (parts.month, parts.day) = (found.month, found.day);
        }
    }
    parts.minute_us += us;
    match parts.at_us() {
        Some(at_us) => Ok(at_us),
        None => fail(DATETIME_OVERFLOW, format!("date/time field value out of range: \"{text}\"")),
    }
}

/// `to_char(number, pattern)`.
pub(super) fn of_number(number: Numeric, pattern: &str) -> Result<String, Error> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return fail(INVALID_ARGUMENT, "a pattern that is too long");
    }
    let upper = pattern.to_ascii_uppercase();
    let (bare, body) = match upper.strip_prefix("FM") {
        Some(body) => (true, body),
        None => (false, upper.as_str()),
    };
    for unknown in ["EEEE", "RN", "V", "TH", "L"] {
        if body.contains(unknown) {
            return fail(INVALID_ARGUMENT, format!("{unknown} is not understood in a pattern of numbers"));
        }
    }
    let (before, behind) = body.find(['.', 'D']).and_then(|at| body.split_at_checked(at)).unwrap_or((body, ""));
    let places = |part: &str| part.bytes().filter(|byte| matches!(byte, b'9' | b'0')).count();
    let (whole_places, places_behind) = (places(before), places(behind));
    let rounded = number.round(places_behind as i64).and_then(|number| number.at_scale(places_behind.min(35) as u8));
    let printed = rounded.map(|number| number.to_string());
    let negative = rounded.is_some_and(|number| number.whole() < 0);
    let printed = printed.unwrap_or_default();
    let (whole, fraction) =
        printed.trim_start_matches('-').split_once('.').unwrap_or((printed.trim_start_matches('-'), ""));
    // A zero before the point is shown only where nothing is behind it.
    let whole = if whole == "0" && places_behind > 0 { "" } else { whole };
    let overflow = rounded.is_none() || whole.len() > whole_places;
    let skipped = whole_places.saturating_sub(whole.len());
    let (mut digits, mut fraction) = (whole.chars(), fraction.chars());
    // Digits of a fraction that `FM` leaves out: zeros behind the last 0 of the pattern.
    let kept = {
        let last_zero = behind.chars().filter(|char| matches!(char, '9' | '0')).collect::<Vec<_>>();
        let forced = last_zero.iter().rposition(|char| *char == '0').map_or(0, |at| at + 1);
        let counting = fraction.as_str().trim_end_matches('0').len();
        if bare { forced.max(counting) } else { places_behind }
    };
    let own_sign = ["S", "MI", "PL", "SG", "PR"].iter().any(|sign| body.contains(sign));
    let sign_in_front = body.starts_with('S') && !body.starts_with("SG");
    let sign = match (negative, sign_in_front) {
        (true, true) => "-",
        (false, true) => "+",
        (true, false) if !own_sign => "-",
        (true, false) if body.contains("PR") => "<",
        _ if !own_sign || body.contains("PR") => {
            if bare {
                ""
            } else {
                " "
            }
        }
        _ => "",
    };
    let (mut out, mut place, mut begun, mut point, mut at_behind) = (String::new(), 0, false, false, 0);
    let begin = |out: &mut String, begun: &mut bool| {
        if !core::mem::replace(begun, true) {
            out.push_str(sign);
        }
    };
    let mut rest = body;
    while let Some(first) = rest.chars().next() {
        let pair = rest.get(..2).unwrap_or_default();
        let mut length = first.len_utf8();
        match first {
            '9' | '0' if point => {
                begin(&mut out, &mut begun);
                let digit = fraction.next().unwrap_or('0');
                if at_behind < kept {
                    out.push(if overflow { '#' } else { digit });
                }
                at_behind += 1;
            }
            '9' | '0' => {
                if place >= skipped || overflow {
                    begin(&mut out, &mut begun);
                    let digit = digits.next().unwrap_or('0');
                    out.push(if overflow { '#' } else { digit });
                } else if first == '0' || begun {
                    begin(&mut out, &mut begun);
                    out.push('0');
                } else if !bare {
                    out.push(' ');
                }
                place += 1;
            }
            '.' | 'D' => {
                begin(&mut out, &mut begun);
                point = true;
                out.push('.');
            }
            ',' | 'G' => {
                if begun {
                    out.push(',');
                } else if !bare {
                    out.push(' ');
                }
            }
            'S' if pair == "SG" => {
                out.push(if negative { '-' } else { '+' });
                length = 2;
            }
            'M' if pair == "MI" => {
                out.push_str(if negative {
                    "-"
                } else if bare {
                    ""
                } else {
                    " "
                });
                length = 2;
            }
            'P' if pair == "PL" => {
                out.push_str(if !negative {
                    "+"
                } else if bare {
                    ""
                } else {
                    " "
                });
                length = 2;
            }
            'P' if pair == "PR" => {
                out.push_str(if negative {
                    ">"
                } else if bare {
                    ""
                } else {
                    " "
                });
                length = 2;
            }
            'S' if !sign_in_front => out.push(if negative { '-' } else { '+' }),
            'S' => {}
            // Quoted text as it stands, in its own case.
            _ => {
                let from = pattern.len() - rest.len();
                out.push_str(pattern.get(from..from + length).unwrap_or_default());
            }
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_pattern_is_handled(at_us in any::<i64>(), pattern in "[YMDHISFQWTCJAPSU0-9.,:\" -]{0,20}", text in "[0-9a-zA-Z:. é-]{0,20}") {
            let _ = (of_time(at_us, &pattern), parse(&text, &pattern));
            let span = Interval { months: at_us as i32, days: (at_us >> 20) as i32, us: at_us };
            let _ = of_span(span, &pattern);
            let _ = of_number(Numeric::new(i128::from(at_us), (at_us & 15) as u8).unwrap(), &pattern);
        }

        #[test]
        fn written_and_read_again(seconds in 0_i64..4_000_000_000) {
            let pattern = "YYYY-MM-DD\"T\"HH24:MI:SS.US Day DDD";
            let text = of_time(seconds * SECOND_US, pattern).unwrap();
            prop_assert_eq!(parse(&text, pattern), Ok(seconds * SECOND_US));
        }
    }
}
