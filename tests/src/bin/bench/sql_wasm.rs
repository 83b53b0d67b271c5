//! `sql-wasm`: the built package beside sql.js and DuckDB-wasm, in one page of headless Chromium.
//!
//! Data and queries are those of [`sql`](crate::sql). `tests/rivals/sql-wasm` runs them: it serves the package and the
//! rivals to a real page, in which every engine does each operation in turn, and compares what they answer. `ratio` is
//! sql.js's time over ours, `ratio_duckdb` DuckDB's: above 1 we are faster.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use pontoon_core::data::{Row, Value};
use serde_json::{Value as Json, json};

use crate::{report::Report, sql};

/// Fresh pages; what each of them measured goes into one median.
const ROUNDS: usize = 3;
/// Rows that are selected by key: DuckDB takes milliseconds for each.
const POINTS: usize = 2_000;
/// How often a page runs each query.
const TIMES: usize = 9;

/// The columns of both tables, with their types.
const COLUMNS: [&[(&str, &str)]; 2] = [
    &[("id", "INTEGER"), ("item", "INTEGER"), ("amount", "REAL"), ("note", "TEXT"), ("day", "INTEGER")],
    &[("item", "INTEGER"), ("name", "TEXT"), ("kind", "INTEGER")],
];

/// `sql-wasm`: see the module.
pub fn sql_wasm(report: &Report) -> Result<(), String> {
    let (seed, rows) = (report.options.seed(), report.options.ops.unwrap_or(sql::ROWS));
    let job = job(seed, rows, report.options.times.unwrap_or(TIMES).max(1));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals/sql-wasm/run.mjs");
    let mut node = Command::new("node")
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("node does not start: {error}"))?;
    if let Some(mut stdin) = node.stdin.take() {
        // A script that ends before it has read everything has said why.
        let _ = stdin.write_all(job.to_string().as_bytes());
    }
    let ended = node.wait_with_output().map_err(|error| error.to_string())?;
    if !ended.status.success() {
        return Err(format!("{} ended with {}", script.display(), ended.status));
    }
    for line in String::from_utf8_lossy(&ended.stdout).lines() {
        let measured: Json = serde_json::from_str(line).map_err(|error| format!("the line {line:?}: {error}"))?;
        print(report, seed, &measured).ok_or_else(|| format!("the line {line:?} says not enough"))?;
    }
    Ok(())
}

/// What the page is to do.
fn job(seed: u64, rows: usize, times: usize) -> Json {
    let names = ["sales", "items"];
    let data = sql::data(seed, rows);
    let table = |at: usize| {
        let rows: Vec<Json> = data[at].iter().map(row).collect();
        json!({"name": names[at], "sql": sql::TABLES[at], "width": COLUMNS[at].len(), "columns": COLUMNS[at], "rows": rows})
    };
    json!({
        "rounds": ROUNDS,
        "times": times,
        "batch": sql::BATCH,
        "tables": [table(0), table(1)],
        "point": sql::POINT,
        "keys": sql::keys(seed, rows, POINTS),
        "queries": sql::QUERIES,
        "index": sql::INDEX,
    })
}

fn row(row: &Row) -> Json {
    row.iter()
        .map(|value| match value {
            Value::Null => Json::Null,
            Value::Integer(number) => json!(number),
            Value::Real(number) => json!(number),
            other => json!(other.to_string()),
        })
        .collect()
}

fn print(report: &Report, seed: u64, measured: &Json) -> Option<()> {
    let ms = |engine: &str| measured.get(engine)?.as_f64();
    let (ours, sqljs, duckdb) = (ms("pontoon_ms")?, ms("sqljs_ms")?, ms("duckdb_ms")?);
    let more = [
        ("op", measured.get("op")?.clone()),
        ("rows", measured.get("rows")?.clone()),
        ("pontoon_ms", json!(ours)),
        ("sqljs_ms", json!(sqljs)),
        ("duckdb_ms", json!(duckdb)),
        ("ratio_duckdb", json!(duckdb / ours)),
        ("seed", json!(seed)),
    ];
    report.measured("sql-wasm", "ratio", sqljs / ours, "", &more);
    Some(())
}
