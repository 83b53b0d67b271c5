//! The examples of `docs/sql.md` give what they say, in one map and on a network.

use pontoon_core::data::QueryResult;
use pontoon_tests::database::Database;

const DOCS: &str = include_str!("../../../docs/sql.md");

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
    let paragraph = |group: &str| DOCS[DOCS.find(group).unwrap()..].split("\n\n").next().unwrap();
    // The names between backticks: lists of nothing but names, or of operators.
    let listed = |text: &'static str| {
        let lists = text.split('`').skip(1).step_by(2).map(|list| list.split_whitespace().collect::<Vec<_>>());
        let is_name = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('_');
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let is_list = move |list: &Vec<&str>| {
            list.iter().all(|word| word.chars().all(plain) || !word.contains(|c: char| c.is_ascii_alphanumeric()))
        };
        lists.filter(is_list).flatten().filter(move |name| is_name(name)).collect::<Vec<&str>>()
    };
    for (group, least) in [("**Aggregates.**", 15), ("**Windows.**", 9), ("- **Text:**", 100)] {
        let names = listed(paragraph(group));
        assert!(names.len() >= least, "{group} {names:?}");
        // What has no argument is asked for without parentheses.
        let missing = |name: &&&str| {
            let call = if name.starts_with("current_") { (**name).to_owned() } else { format!("{name}(") };
            !examples.contains(&call)
        };
        let missing: Vec<&&str> = names.iter().filter(missing).collect();
        assert!(missing.is_empty(), "no example of {missing:?}");
    }
}
