//! The examples of `docs/sql.md` give what they say, in one map and on a network.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use pontoon_core::data::QueryResult;
use pontoon_tests::database::Database;

const DOCS: &str = include_str!("../../docs/sql.md");

/// A statement and the remarks below it.
#[derive(Default)]
struct Example {
    sql: String,
    says: Vec<String>,
}

fn examples() -> Vec<Example> {
    let mut all: Vec<Example> = Vec::new();
    let mut fence = None;
    let mut open = false;
    for line in DOCS.lines() {
        match (line.strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language),
            (Some(_), Some(_)) => {
                assert!(!open, "a statement without an end: {}", all.last().unwrap().sql);
                fence = None;
            }
            (None, Some("sql")) => match line.strip_prefix("-- ") {
                Some(remark) => all.last_mut().unwrap().says.push(remark.to_owned()),
                None => {
                    if !open {
                        all.push(Example::default());
                    }
                    let sql = &mut all.last_mut().unwrap().sql;
                    *sql += line;
                    sql.push('\n');
                    open = !line.ends_with(';');
                }
            },
            (None, _) => {}
        }
    }
    all
}

/// What the documentation would have to say of a result.
fn says(result: &QueryResult, example: &Example) -> Vec<String> {
    if !result.columns.is_empty() {
        return result
            .rows
            .iter()
            .map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "))
            .collect();
    }
    // Said where it matters.
    if example.says.is_empty() { Vec::new() } else { vec![format!("changes {}", result.affected)] }
}

#[test]
fn examples_give_what_they_say() {
    for nodes in [1, 5] {
        let mut database = Database::new(nodes);
        let mut wrong = Vec::new();
        let examples = examples();
        assert!(examples.len() > 60, "{} examples", examples.len());
        for example in examples {
            let found = match database.session(&example.sql) {
                // What a plan looks like is the business of other tests.
                Ok(result) if example.sql.starts_with("EXPLAIN") => {
                    assert!(!result.rows.is_empty());
                    continue;
                }
                Ok(result) => says(&result, &example),
                Err(error) => vec![format!("error: {}", error.code())],
            };
            if found != example.says {
                wrong.push(format!("{}  found {found:#?}", example.sql));
            }
        }
        assert!(wrong.is_empty(), "on {nodes} nodes:\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_function_has_an_example() {
    let examples: String = examples().iter().map(|example| example.sql.to_lowercase()).collect();
    for group in ["**Aggregates.**", "**Windows.**", "**Functions.**"] {
        let start = DOCS.find(group).unwrap();
        let text = DOCS[start..].split("\n\n").next().unwrap();
        // The names between backticks.
        let names = text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        let names: Vec<&str> = names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
        assert!(names.len() > 8, "{group} {names:?}");
        for name in names {
            assert!(examples.contains(&format!("{name}(")), "no example of {name}");
        }
    }
}
