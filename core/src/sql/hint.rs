//! What helps with an error beside its code: the name that it is about, and the name that may have been meant.
//!
//! An error about a name says the name in its message: in quotes, or as its second word (`column t.x`, `function f`). Of the
//! names that could stand there the nearest is offered, by edit distance (Damerau, *A technique for computer detection
//! and correction of spelling errors*, 1964), if it is near enough. All this happens at who asks.

use super::{
    fault::{UNDEFINED_COLUMN, UNDEFINED_FUNCTION, UNDEFINED_TABLE},
    plan::Tables,
    scalar::Function,
    system::SYSTEM_TABLES,
};
use crate::{Error, error::Help};

/// Names that are compared: more are not looked at.
const CANDIDATES_MAX: usize = 5_000;
/// Longer names are not compared.
const LENGTH_MAX: usize = 64;

/// Functions that a name may have meant.
const FUNCTIONS: &[&str] = &[
    "abs",
    "avg",
    "ceil",
    "coalesce",
    "concat",
    "count",
    "date_part",
    "date_trunc",
    "floor",
    "greatest",
    "least",
    "length",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "now",
    "nullif",
    "power",
    "replace",
    "round",
    "rtrim",
    "sign",
    "sqrt",
    "strpos",
    "substr",
    "sum",
    "trim",
    "upper",
];

/// The error, with what helps; `names` are the tables of the statement.
pub fn helped(error: Error, names: &[String], known: &Tables) -> Error {
    let Error::Sql { code, message, help: None } = error else { return error };
    let subject = subject(code, &message);
    let hint = subject.as_deref().and_then(|subject| hint(code, subject, names, known));
    let help = (subject.is_some() || hint.is_some()).then(|| Box::new(Help { hint, subject, position: None }));
    Error::Sql { code, message, help }
}

/// The name that an error is about.
fn subject(code: &str, message: &str) -> Option<String> {
    if ![UNDEFINED_COLUMN, UNDEFINED_FUNCTION, UNDEFINED_TABLE, super::fault::AMBIGUOUS_COLUMN].contains(&code) {
        return None;
    }
    let quoted = message.split('"').nth(1);
    let name = quoted.or_else(|| message.split(' ').nth(1).filter(|_| message.starts_with(['c', 'f'])))?;
    Some(name.to_owned())
}

fn hint(code: &str, subject: &str, names: &[String], known: &Tables) -> Option<String> {
    let table = |name: &String| known.get(name).map(|(table, _)| table);
    let (what, found) = match code {
        UNDEFINED_TABLE => {
            let system = SYSTEM_TABLES.iter().copied();
            let all = known.iter().map(|(name, _)| name.as_str()).chain(system);
            ("table", nearest(subject, all))
        }
        UNDEFINED_COLUMN => {
            // Only the column's own name is looked for.
            let name = subject.rsplit('.').next().unwrap_or(subject);
            let columns = names.iter().filter_map(table).flat_map(|table| &table.columns);
            ("column", nearest(name, columns.map(|column| column.name.as_str())))
        }
        UNDEFINED_FUNCTION if Function::by_name(subject).is_none() => {
            ("function", nearest(subject, FUNCTIONS.iter().copied()))
        }
        _ => return None,
    };
    found.map(|name| format!("Perhaps you meant the {what} \"{name}\"."))
}

/// The nearest of some names, if it is near enough to have been meant.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() > LENGTH_MAX {
        return None;
    }
    let near = 1 + letters.len() / 4;
    let with_distance = |candidate: &'a str| {
        let other: Vec<char> = candidate.chars().take(LENGTH_MAX + 1).collect();
        Some((distance(&letters, &other), candidate))
            .filter(|(distance, _)| (1..=near).contains(distance) && other.len() > 1)
    };
    candidates.take(CANDIDATES_MAX).filter_map(with_distance).min().map(|(_, name)| name)
}

/// Letters to insert, remove, change or swap with their neighbour to get from one to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = [vec![0; b.len() + 1], vec![0; b.len() + 1], (0..=b.len()).collect::<Vec<usize>>()];
    for (i, x) in a.iter().enumerate() {
        rows.rotate_left(1);
        let [before, above, row] = &mut rows;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = above[j] + usize::from(x != y);
            row[j + 1] = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
    }
    rows[2][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::functions::listed;

    #[test]
    fn the_nearest_name_is_found_if_it_is_near() {
        let names = ["amount", "item", "id"];
        let meant = |name: &str| nearest(name, names.into_iter());
        assert_eq!(meant("amuont"), Some("amount"));
        assert_eq!(meant("itm"), Some("item"));
        assert_eq!(meant("items"), Some("item"));
        assert_eq!(meant("price"), None);
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&letters("kitten"), &letters("sitting")), 3);
        assert_eq!(distance(&letters(""), &letters("abc")), 3);
    }

    #[test]
    fn functions_that_are_offered_exist() {
        for name in FUNCTIONS {
            let aggregate = ["avg", "count", "max", "min", "now", "sum"].contains(name);
            let listed = listed::named(name).next().is_some();
            assert!(aggregate || listed || Function::by_name(name).is_some(), "{name}");
        }
    }
}
