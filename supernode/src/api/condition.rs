//! `If-Match` and `If-None-Match` (RFC 9110, sections 13.1.1 and 13.1.2), and versions as entity tags.

use axum::http::{HeaderMap, HeaderName, header};
use pontoon_core::{Id, store::Version};

use super::error::ApiError;

/// A version as text, the one that the npm package shows.
pub(super) fn text(version: &Version) -> String {
    format!("{}.{}.{}", version.wall_us, version.counter, version.author)
}

/// The version of such a text.
pub(super) fn version(text: &str) -> Option<Version> {
    let mut parts = text.splitn(3, '.');
    let wall_us = parts.next()?.parse().ok()?;
    let counter = parts.next()?.parse().ok()?;
    let author: Id = parts.next()?.parse().ok()?;
    Some(Version { wall_us, counter, author })
}

/// The entity tag of a version.
pub(super) fn tag(version: &Version) -> String {
    format!("\"{}\"", text(version))
}

/// What a request says of what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// `If-Match`.
    pub(super) matches: Option<Tags>,
    /// `If-None-Match`.
    pub(super) none_matches: Option<Tags>,
}

/// Entity tags of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: whichever there is.
    Any,
    /// One of these.
    Listed(Vec<Tag>),
}

/// One of them, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    weak: bool,
    text: String,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Conditions, ApiError> {
        let matches = tags(headers, &header::IF_MATCH)?;
        Ok(Conditions { matches, none_matches: tags(headers, &header::IF_NONE_MATCH)? })
    }

    /// Whether both hold for what is there. `If-Match` compares strongly, `If-None-Match` weakly.
    pub(super) fn hold(&self, current: Option<&Version>) -> bool {
        let matches = self.matches.as_ref().is_none_or(|tags| tags.has(current, false));
        matches && !self.none_matches.as_ref().is_some_and(|tags| tags.has(current, true))
    }

    /// The only version for which they can hold, if they name one.
    pub(super) fn only(&self) -> Option<Version> {
        match (&self.matches, &self.none_matches) {
            (Some(Tags::Listed(tags)), None) => match &tags[..] {
                [Tag { weak: false, text }] => version(text),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Tags {
    fn has(&self, current: Option<&Version>, weakly: bool) -> bool {
        match (self, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::Listed(tags), Some(current)) => {
                let current = text(current);
                tags.iter().any(|tag| (weakly || !tag.weak) && tag.text == current)
            }
        }
    }
}

/// The tags of a header, which may come in several lines.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, ApiError> {
    let bad = || ApiError::invalid(format!("{name} is * or a list of entity tags in quotes, as ETag says them"));
    let mut found = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| bad())?;
        match (line.trim(), &mut found) {
            ("*", None) => found = Some(Tags::Any),
            (line, found) => match found.get_or_insert(Tags::Listed(Vec::new())) {
                Tags::Listed(tags) => listed(line, tags).ok_or_else(bad)?,
                Tags::Any => return Err(bad()),
            },
        }
    }
    match found {
        Some(Tags::Listed(tags)) if tags.is_empty() => Err(bad()),
        found => Ok(found),
    }
}

/// `[W/]"..."`, separated by commas.
fn listed(mut rest: &str, tags: &mut Vec<Tag>) -> Option<()> {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(());
        }
        let weak = rest.starts_with("W/");
        let opened = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
        let (text, after) = opened.split_once('"')?;
        if text.contains([' ', '\t']) {
            return None;
        }
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        tags.push(Tag { weak, text: text.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn v(wall_us: u64) -> Version {
        Version { wall_us, counter: 7, author: Id::hash(b"author") }
    }

    fn conditions(lines: &[(HeaderName, &str)]) -> Result<Conditions, ApiError> {
        let lines = lines.iter().map(|(name, line)| (name.clone(), HeaderValue::from_str(line).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(name, line);
        }
        Conditions::of(&headers)
    }

    #[test]
    fn a_version_is_its_text() {
        assert_eq!(version(&text(&v(5))), Some(v(5)));
        for wrong in ["", "1.2", "1.2.x", "a.b.c", "1.2.3.4"] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_holds() {
        let (one, other, weak) = (tag(&v(1)), tag(&v(2)), format!("W/{}", tag(&v(1))));
        let both = format!("{other} ,{one}, \"of-somebody-else,with-a-comma\"");
        let table: [(HeaderName, &str, [bool; 3]); 7] = [
            // Absent, version 1, version 3.
            (header::IF_MATCH, "*", [false, true, true]),
            (header::IF_MATCH, &one, [false, true, false]),
            (header::IF_MATCH, &both, [false, true, false]),
            (header::IF_MATCH, &weak, [false, false, false]),
            (header::IF_NONE_MATCH, "*", [true, false, false]),
            (header::IF_NONE_MATCH, &one, [true, false, true]),
            (header::IF_NONE_MATCH, &weak, [true, false, true]),
        ];
        for (name, line, holds) in table {
            let conditions = conditions(&[(name.clone(), line)]).unwrap();
            let seen = [None, Some(v(1)), Some(v(3))].map(|current| conditions.hold(current.as_ref()));
            assert_eq!(seen, holds, "{name}: {line}");
        }
        assert!(Conditions::default().hold(None) && Conditions::default().hold(Some(&v(1))));
    }

    #[test]
    fn several_lines_are_one_list() {
        let (one, other) = (tag(&v(1)), tag(&v(2)));
        let both = conditions(&[(header::IF_MATCH, &one), (header::IF_MATCH, &other)]).unwrap();
        assert!(both.hold(Some(&v(1))) && both.hold(Some(&v(2))) && !both.hold(Some(&v(3))));
        assert_eq!(both.only(), None);
        assert_eq!(conditions(&[(header::IF_MATCH, &one)]).unwrap().only(), Some(v(1)));
    }

    #[test]
    fn what_is_no_list_of_tags() {
        for wrong in ["", ",", "1.2.3", "\"open", "\"a\" \"b\"", "w/\"a\"", "\"a\", *", "\"a b\"", "**"] {
            assert!(conditions(&[(header::IF_MATCH, wrong)]).is_err(), "{wrong}");
        }
        assert!(conditions(&[(header::IF_MATCH, "*"), (header::IF_MATCH, "\"a\"")]).is_err());
    }
}
