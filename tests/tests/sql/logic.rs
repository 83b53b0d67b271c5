//! Scripts of SQLite's sqllogictest, in SQLite's dialect.
//!
//! `SQLLOGICTEST_DIR` names a directory with scripts; all `*.test` files in it and below are run, or those whose path has
//! `SQLLOGICTEST_ONLY` in it. A record that is refused as `feature_not_supported`, or that comes after one that was and
//! finds no table, counts as not supported yet and is printed as a number; anything else that does not give the expected
//! result is a failure, is printed, and fails the test.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use pontoon_core::{
    Error,
    data::{Type, Value},
    sql::{plan::Dialect, strategy::JoinStrategy},
};
use pontoon_tests::database::Database;
use sqllogictest::{
    DB, DBOutput, DefaultColumnType, ExpectedError, QueryExpect, Record, RecordOutput, ResultMode, Runner,
};

/// What engine and runner tell each other about the record under way.
#[derive(Default)]
struct Shared {
    /// How the script wants to see each column.
    types: Vec<DefaultColumnType>,
    /// How the statement ended.
    error: Option<Error>,
}

struct Engine {
    database: Database,
    shared: Arc<Mutex<Shared>>,
}

/// A value as sqllogictest prints a column of that type.
fn printed(value: &Value, wanted: &DefaultColumnType) -> String {
    let number = |value: &Value| match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        Value::Boolean(truth) => f64::from(u8::from(*truth)),
        Value::Text(text) => {
            let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(text.len());
            text[..digits].parse().unwrap_or(0.0)
        }
        _ => 0.0,
    };
    match (value, wanted) {
        (Value::Null, _) => "NULL".to_owned(),
        (Value::Integer(number), DefaultColumnType::Integer) => number.to_string(),
        (value, DefaultColumnType::Integer) => (number(value) as i64).to_string(),
        (value, DefaultColumnType::FloatingPoint) => format!("{:.3}", number(value)),
        (Value::Boolean(truth), _) => i64::from(*truth).to_string(),
        (Value::Text(text), _) if text.is_empty() => "(empty)".to_owned(),
        (value, _) => value.to_string(),
    }
}

impl DB for Engine {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let mut statements = pontoon_parser::parse_sqlite(sql).map_err(Error::from);
        let statement = statements.as_mut().ok().and_then(Vec::pop);
        let result = match (statements, statement) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(statement)) => self.database.run(statement),
            (Ok(_), None) => panic!("no statement: {sql}"),
        };
        let mut shared = self.shared.lock().unwrap();
        shared.error = result.as_ref().err().cloned();
        let result = result?;
        if result.columns.is_empty() {
            return Ok(DBOutput::StatementComplete(result.affected));
        }
        let types: Vec<DefaultColumnType> = if shared.types.len() == result.columns.len() {
            shared.types.clone()
        } else {
            let of = |data_type| match data_type {
                Some(Type::Integer | Type::Boolean) => DefaultColumnType::Integer,
                Some(Type::Real) => DefaultColumnType::FloatingPoint,
                _ => DefaultColumnType::Text,
            };
            result.columns.iter().map(|column| of(column.data_type)).collect()
        };
        let row = |row: &Vec<Value>| row.iter().zip(&types).map(|(value, wanted)| printed(value, wanted)).collect();
        let rows = result.rows.iter().map(row).collect();
        Ok(DBOutput::Rows { types, rows })
    }

    fn engine_name(&self) -> &str {
        "sqlite"
    }
}

#[derive(Default)]
struct Counts {
    passed: u32,
    unsupported: u32,
    failed: u32,
}

impl Counts {
    fn total(&self) -> u32 {
        self.passed + self.unsupported + self.failed
    }
}

impl core::fmt::Display for Counts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} passed, {} not supported yet, {} failed", self.passed, self.unsupported, self.failed)
    }
}

/// Runs a script, or its first records, over so many nodes.
fn run_script(path: &Path, nodes: usize, records_max: usize, strategy: JoinStrategy) -> Counts {
    let mut counts = Counts::default();
    let shared = Arc::new(Mutex::new(Shared::default()));
    let mut runner = Runner::new(|| async {
        let mut engine = Engine { database: Database::new(nodes), shared: shared.clone() };
        engine.database.speak(Dialect::Sqlite);
        engine.database.join_by(strategy);
        Ok(engine)
    });
    runner.with_hash_threshold(8);
    let value_wise = Record::Control(sqllogictest::Control::ResultMode(ResultMode::ValueWise));
    runner.run(value_wise).unwrap();
    // The parser knows no remarks behind conditions.
    let plain = |line: &str| match line.split_once('#') {
        Some((before, _)) if line.starts_with("skipif") || line.starts_with("onlyif") => before.trim_end().to_owned(),
        _ => line.to_owned(),
    };
    let text = std::fs::read_to_string(path).unwrap();
    let mut text: Vec<String> = text.lines().map(plain).collect();
    // Nor conditions of `halt`.
    for at in 1..text.len() {
        let others = text[at - 1].starts_with("onlyif") != text[at - 1].ends_with(" sqlite");
        if text[at] == "halt" && text[at - 1].contains("if ") && others {
            (text[at - 1], text[at]) = (String::new(), String::new());
        }
    }
    for mut record in sqllogictest::parse::<DefaultColumnType>(&text.join("\n")).unwrap() {
        settle(path, &mut record);
        if counts.total() as usize >= records_max {
            break;
        }
        let about = match &record {
            Record::Statement { sql, .. } | Record::Query { sql, .. } => sql.clone(),
            Record::Halt { .. } => break,
            _ => String::new(),
        };
        let mut before = shared.lock().unwrap();
        before.error = None;
        before.types = match &record {
            Record::Query { expected: QueryExpect::Results { types, .. }, .. } => types.clone(),
            _ => Vec::new(),
        };
        drop(before);
        match runner.run(record) {
            Ok(RecordOutput::Nothing) => {}
            Ok(_) => counts.passed += 1,
            Err(error) => {
                let code = shared.lock().unwrap().error.as_ref().map(|error| error.code().to_owned());
                let unsupported = match code.as_deref() {
                    Some("feature_not_supported") => true,
                    // Its CREATE was refused.
                    Some("undefined_table") => counts.unsupported > 0,
                    _ => false,
                };
                if unsupported {
                    counts.unsupported += 1;
                    if std::env::var_os("SQLLOGICTEST_VERBOSE").is_some() && counts.unsupported <= 20 {
                        println!("not supported: {about}\n{error}");
                    }
                } else {
                    counts.failed += 1;
                    if counts.failed <= 10 {
                        println!("{}: {about}\n{error}", path.display());
                    }
                }
            }
        }
    }
    counts
}

/// The scripts in a directory and below.
fn scripts_in(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "test") {
            found.push(path);
        }
    }
}

/// Queries at the end of a script that leaves their result open, and what SQLite gives; none: an error.
const LEFT_OPEN: (&str, [(&str, Option<&str>); 4]) = (
    "evidence/slt_lang_aggfunc.test",
    [
        ("SELECT sum(x) FROM t1", None),
        ("SELECT sum(DISTINCT x) FROM t1", Some("-9223372036854775808.000")),
        ("SELECT total(x) FROM t1", Some("-18446744073709551616.000")),
        ("SELECT total(DISTINCT x) FROM t1", Some("-9223372036854775808.000")),
    ],
);

/// The result of a query that its script leaves open.
fn settle(path: &Path, record: &mut Record<DefaultColumnType>) {
    let Record::Query { sql, expected, .. } = record else { return };
    let QueryExpect::Results { results, .. } = expected else { return };
    let (script, queries) = LEFT_OPEN;
    let open = results.is_empty() && path.ends_with(script);
    match queries.iter().find(|(query, _)| open && sql == query) {
        Some((_, Some(value))) => results.push((*value).to_owned()),
        Some((_, None)) => *expected = QueryExpect::Error(ExpectedError::Empty),
        None => {}
    }
}

/// Nodes of the simulated network.
const NODES: usize = 8;
/// Records of each script that run there; with `CONFORMANCE=1` all do.
const RECORDS_ON_NETWORK: usize = 60;

#[test]
fn scripts_give_the_expected_results() {
    run_scripts(1, usize::MAX);
}

#[test]
fn scripts_give_the_expected_results_on_a_network() {
    run_scripts(NODES, if conformance() { usize::MAX } else { RECORDS_ON_NETWORK });
}

fn conformance() -> bool {
    std::env::var_os("CONFORMANCE").is_some()
}

fn run_scripts(nodes: usize, records_max: usize) {
    let Some(directory) = std::env::var_os("SQLLOGICTEST_DIR") else {
        println!("SQLLOGICTEST_DIR is not set: no scripts are run");
        return;
    };
    let mut scripts = Vec::new();
    scripts_in(Path::new(&directory), &mut scripts);
    if let Some(only) = std::env::var("SQLLOGICTEST_ONLY").ok().filter(|only| !only.is_empty()) {
        scripts.retain(|script| script.to_string_lossy().contains(&only));
    }
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {directory:?}");
    let (mut failed, mut all) = (Vec::new(), Counts::default());
    // Each script with another strategy, or all with one.
    let forced = std::env::var("JOIN_STRATEGY").ok().map(|name| JoinStrategy::by_name(&name).unwrap());
    for (script, turn) in scripts.into_iter().zip(JoinStrategy::ALL.into_iter().cycle()) {
        let strategy = forced.unwrap_or(turn);
        let counts = run_script(&script, nodes, records_max, strategy);
        assert!(counts.passed > 0, "nothing of {} ran", script.display());
        if counts.failed > 0 {
            failed.push(script.clone());
        }
        println!("{nodes} nodes, {}: {}: {counts}", strategy.name(), script.display());
        all.passed += counts.passed;
        all.unsupported += counts.unsupported;
        all.failed += counts.failed;
    }
    println!("{nodes} nodes: all scripts: {all}");
    assert_eq!(failed, Vec::<PathBuf>::new());
}
