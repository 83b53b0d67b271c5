//! Regular expressions as PostgreSQL calls them: `~`, `regexp_replace`, ..
//!
//! Matching is `regex-lite`'s: linear in the length of the text, so without back references and looking around; of
//! alternatives the first that fits is taken, not the longest. What PostgreSQL writes otherwise is rewritten: `\y`, `\m`,
//! `\M`, `\Z`, and in replacements `\1` and `\&`.

use std::cell::RefCell;

use regex_lite::{Captures, Regex, RegexBuilder};

use super::{
    TEXT_BYTES_MAX,
    listed::{Listed, types::*},
    text::text,
};
use crate::{
    Error,
    data::{Type, Value, json::Json},
    sql::fault::{INVALID_ARGUMENT, INVALID_REGEX, error, fail},
};

type Answer = Result<Value, Error>;

pub(super) const LIST: &[Listed] = &[
    Listed::new("~", &[TEXT, TEXT], Type::Boolean, |all| matches(all, "", true)),
    Listed::new("~*", &[TEXT, TEXT], Type::Boolean, |all| matches(all, "i", true)),
    Listed::new("!~", &[TEXT, TEXT], Type::Boolean, |all| matches(all, "", false)),
    Listed::new("!~*", &[TEXT, TEXT], Type::Boolean, |all| matches(all, "i", false)),
    Listed::new("regexp_like", &[TEXT, TEXT], Type::Boolean, |all| matches(all, "", true)),
    Listed::new("regexp_like", &[TEXT, TEXT, TEXT], Type::Boolean, |all| matches(all, text(all[2])?, true)),
    Listed::new("regexp_count", &[TEXT, TEXT], Type::Integer, |all| {
        let count = with(text(all[1])?, "", |regex, _| Ok(regex.find_iter(text(all[0])?).count()))?;
        Ok(Value::Integer(count as i64))
    }),
    Listed::new("regexp_substr", &[TEXT, TEXT], Type::Text, |all| {
        with(text(all[1])?, "", |regex, _| {
            Ok(regex.find(text(all[0])?).map_or(Value::Null, |found| Value::Text(found.as_str().to_owned())))
        })
    }),
    Listed::new("regexp_match", &[TEXT, TEXT], Type::Json, |all| first(all, "")),
    Listed::new("regexp_match", &[TEXT, TEXT, TEXT], Type::Json, |all| first(all, text(all[2])?)),
    Listed::new("regexp_replace", &[TEXT, TEXT, TEXT], Type::Text, |all| replaced(all, "")),
    Listed::new("regexp_replace", &[TEXT, TEXT, TEXT, TEXT], Type::Text, |all| replaced(all, text(all[3])?)),
];

/// Compiled expressions that are kept: a statement has few, and calls each for every row.
const KEPT_MAX: usize = 16;
/// Bytes that a pattern may have, and that it may take when it is compiled.
const PATTERN_BYTES_MAX: usize = 10_000;
const SIZE_MAX: usize = 1 << 20;

struct Kept {
    pattern: String,
    flags: String,
    regex: Regex,
    /// `g`: every match, not the first alone.
    global: bool,
}

thread_local! {
    static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Does something with a pattern, compiled.
fn with<T>(pattern: &str, flags: &str, run: impl FnOnce(&Regex, bool) -> Result<T, Error>) -> Result<T, Error> {
    KEPT.with_borrow_mut(|kept| {
        let at = match kept.iter().position(|one| one.pattern == pattern && one.flags == flags) {
            Some(at) => at,
            None => {
                let (regex, global) = compiled(pattern, flags)?;
                if kept.len() >= KEPT_MAX {
                    kept.remove(0);
                }
                kept.push(Kept { pattern: pattern.to_owned(), flags: flags.to_owned(), regex, global });
                kept.len() - 1
            }
        };
        run(&kept[at].regex, kept[at].global)
    })
}

fn compiled(pattern: &str, flags: &str) -> Result<(Regex, bool), Error> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return fail(INVALID_REGEX, "invalid regular expression: too long");
    }
    let rewritten = rewritten(pattern);
    let mut builder = RegexBuilder::new(&rewritten);
    let mut global = false;
    builder.dot_matches_new_line(true).size_limit(SIZE_MAX);
    for flag in flags.chars() {
        match flag {
            'g' => global = true,
            'i' => drop(builder.case_insensitive(true)),
            'c' => drop(builder.case_insensitive(false)),
            'n' | 'm' => drop(builder.dot_matches_new_line(false).multi_line(true)),
            's' => drop(builder.dot_matches_new_line(true).multi_line(false)),
            'x' => drop(builder.ignore_whitespace(true)),
            other => return fail(INVALID_ARGUMENT, format!("invalid regular expression option: \"{other}\"")),
        }
    }
    match builder.build() {
        Ok(regex) => Ok((regex, global)),
        Err(cause) => Err(error(INVALID_REGEX, format!("invalid regular expression: {cause}"))),
    }
}

/// PostgreSQL's escapes as those of the library.
fn rewritten(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        match chars.next() {
            Some('y') => out.push_str("\\b"),
            Some('Y') => out.push_str("\\B"),
            Some('m') => out.push_str("\\b{start}"),
            Some('M') => out.push_str("\\b{end}"),
            Some('Z') => out.push_str("\\z"),
            other => {
                out.push('\\');
                out.extend(other);
            }
        }
    }
    out
}

fn matches(all: &[&Value], flags: &str, wanted: bool) -> Answer {
    with(text(all[1])?, flags, |regex, _| Ok(Value::Boolean(regex.is_match(text(all[0])?) == wanted)))
}

/// What the first match has in its parentheses, or all of it where there are none.
fn first(all: &[&Value], flags: &str) -> Answer {
    with(text(all[1])?, flags, |regex, global| {
        if global {
            return fail(INVALID_ARGUMENT, "regexp_match does not support the \"global\" option");
        }
        let Some(found) = regex.captures(text(all[0])?) else { return Ok(Value::Null) };
        let part = |at| found.get(at).map_or(Json::Null, |part| Json::Text(part.as_str().to_owned()));
        let parts = if found.len() > 1 { 1..found.len() } else { 0..1 };
        Ok(Value::Json(Json::Array(parts.map(part).collect()).print()))
    })
}

fn replaced(all: &[&Value], flags: &str) -> Answer {
    let (subject, replacement) = (text(all[0])?, text(all[2])?);
    with(text(all[1])?, flags, |regex, global| {
        let (mut out, mut from) = (String::with_capacity(subject.len()), 0);
        for found in regex.captures_iter(subject).take(if global { usize::MAX } else { 1 }) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&subject[from..whole.start()]);
            replace(&found, replacement, &mut out);
            from = whole.end();
            if out.len() > TEXT_BYTES_MAX {
                return fail(INVALID_ARGUMENT, "a text that is too long");
            }
        }
        out.push_str(&subject[from..]);
        Ok(Value::Text(out))
    })
}

/// What stands in place of a match: `\1` is what its first parentheses hold, `\&` all of it.
fn replace(found: &Captures<'_>, replacement: &str, out: &mut String) {
    let mut chars = replacement.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.push(char);
            continue;
        }
        let part = |at: usize| found.get(at).map_or("", |part| part.as_str());
        match chars.next() {
            Some('&') => out.push_str(part(0)),
            Some(digit @ '1'..='9') => out.push_str(part(digit as usize - '0' as usize)),
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| Value::Text((*text).to_owned())).collect()
    }

    fn replace_in(texts: &[&str], flags: &str) -> String {
        let values = of(texts);
        replaced(&values.iter().collect::<Vec<_>>(), flags).unwrap().to_string()
    }

    fn is_match(text: &str, pattern: &str, flags: &str) -> Result<bool, Error> {
        let values = of(&[text, pattern]);
        Ok(matches(&values.iter().collect::<Vec<_>>(), flags, true)? == Value::Boolean(true))
    }

    #[test]
    fn what_postgresql_writes_otherwise_is_understood() {
        assert_eq!(replace_in(&["one two", r"\m(\w)(\w*)\M", r"\2\1\\\&"], "g"), r"neo\one wot\two");
        assert_eq!(replace_in(&["abc", "x*", "-"], "g"), "-a-b-c-");
        assert_eq!(replace_in(&["aaa", "a", ""], ""), "aa");
        // A line's end is no end, and a dot is any character, unless it is asked for.
        assert!(is_match("a\nb", "a.b", "").unwrap() && !is_match("a\nb", "^b", "").unwrap());
        assert!(!is_match("a\nb", "a.b", "n").unwrap() && is_match("a\nb", "^b$", "n").unwrap());
        assert!(is_match("AB", "a b", "ix").unwrap() && is_match("tab", r"[[:alpha:]]b\Z", "").unwrap());
    }

    #[test]
    fn no_pattern_takes_long_or_much() {
        let text = "a".repeat(20_000);
        assert!(!is_match(&text, "(a*)*(a*)*(a|aa)+$b", "").unwrap());
        for (pattern, code) in [("(", INVALID_REGEX), (r"(a)\1", INVALID_REGEX), ("a{1000}{1000}{1000}", INVALID_REGEX)]
        {
            assert_eq!(is_match("a", pattern, "").unwrap_err().code(), code, "{pattern}");
        }
        assert_eq!(is_match("a", &"a".repeat(PATTERN_BYTES_MAX + 1), "").unwrap_err().code(), INVALID_REGEX);
        assert_eq!(is_match("a", "a", "q").unwrap_err().code(), INVALID_ARGUMENT);
        (0..100).for_each(|number| assert!(is_match(&number.to_string(), &number.to_string(), "").unwrap()));
        KEPT.with_borrow(|kept| assert_eq!(kept.len(), KEPT_MAX));
    }
}
