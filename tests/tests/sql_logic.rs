//! Scripts of SQLite's sqllogictest, as far as the dialect goes.
//!
//! `SQLLOGICTEST_DIR` names a directory with scripts; all `*.test` files directly in it are run. A statement that is
//! refused as `feature_not_supported` counts as not supported yet and is printed as a number; anything else that
//! does not give the expected result is a failure, is printed, and fails the test.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use std::path::PathBuf;

use pontoon_core::{
    Error,
    data::{Type, Value},
    exec::local::Local,
};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Record, RecordOutput, ResultMode, Runner};

struct Engine(Local);

impl DB for Engine {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let result = self.0.execute(pontoon_parser::parse_one(sql)?, Vec::new())?;
        if result.columns.is_empty() {
            return Ok(DBOutput::StatementComplete(result.affected));
        }
        let types = result.columns.iter().map(|column| match column.data_type {
            Some(Type::Integer | Type::Boolean) => DefaultColumnType::Integer,
            Some(Type::Real) => DefaultColumnType::FloatingPoint,
            _ => DefaultColumnType::Text,
        });
        let text = |value: &Value| match value {
            Value::Real(number) => format!("{number:.3}"),
            Value::Boolean(truth) => i64::from(*truth).to_string(),
            Value::Text(text) if text.is_empty() => "(empty)".to_owned(),
            other => other.to_string(),
        };
        let rows = result.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        Ok(DBOutput::Rows { types: types.collect(), rows })
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

fn run_script(path: &PathBuf) -> Counts {
    let mut counts = Counts::default();
    let mut runner = Runner::new(|| async { Ok(Engine(Local::new())) });
    runner.with_hash_threshold(8);
    let value_wise = Record::Control(sqllogictest::Control::ResultMode(ResultMode::ValueWise));
    runner.run(value_wise).unwrap();
    for record in sqllogictest::parse_file::<DefaultColumnType>(path).unwrap() {
        let about = match &record {
            Record::Statement { sql, .. } | Record::Query { sql, .. } => sql.clone(),
            Record::Halt { .. } => break,
            _ => String::new(),
        };
        match runner.run(record) {
            Ok(RecordOutput::Nothing) => {}
            Ok(_) => counts.passed += 1,
            Err(error) => {
                // Ask again what the engine says: the runner's error tells only that something was not as expected.
                let unsupported =
                    pontoon_parser::parse_one(&about).is_err_and(|error| error.code == "feature_not_supported");
                if unsupported {
                    counts.unsupported += 1;
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

#[test]
fn scripts_give_the_expected_results() {
    let Some(directory) = std::env::var_os("SQLLOGICTEST_DIR") else {
        println!("SQLLOGICTEST_DIR is not set: no scripts are run");
        return;
    };
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {directory:?}");
    let mut failed = 0;
    for script in scripts {
        let counts = run_script(&script);
        println!(
            "{}: {} passed, {} not supported yet, {} failed",
            script.display(),
            counts.passed,
            counts.unsupported,
            counts.failed
        );
        assert!(counts.passed > 0, "nothing of {} ran", script.display());
        failed += counts.failed;
    }
    assert_eq!(failed, 0);
}
