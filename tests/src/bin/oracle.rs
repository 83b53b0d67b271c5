//! What SQLite answers: the reference that the browsers' answers are compared with, end to end.
//!
//! Reads one JSON object from standard input,
//! `{"tables": [{"create": "CREATE TABLE ...", "name": "airports", "csv": "path"}], "statements": [{"sql": "...", "params": [..]}]}`,
//! loads the files into an empty database of memory, runs the statements in order and prints one JSON array: for each
//! statement `{"columns": [..], "rows": [[..]]}`, or `{"affected": n}` when it gives no rows. Parameters are `$1`, `$2`, ...
//! LIKE compares letters as they are, as PostgreSQL does.

use std::{error::Error, io, path::PathBuf};

use rusqlite::{Connection, params_from_iter, types::Value as Sql, types::ValueRef};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
struct Task {
    tables: Vec<Table>,
    statements: Vec<Statement>,
}

#[derive(Deserialize)]
struct Table {
    create: String,
    name: String,
    csv: PathBuf,
}

#[derive(Deserialize)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Vec<Json>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let task: Task = serde_json::from_reader(io::stdin().lock())?;
    let database = Connection::open_in_memory()?;
    database.execute_batch("PRAGMA case_sensitive_like = ON")?;
    for table in &task.tables {
        load(&database, table)?;
    }
    let answers = task
        .statements
        .iter()
        .map(|statement| answer(&database, statement).map_err(|error| format!("{}: {error}", statement.sql)));
    let answers = answers.collect::<Result<Vec<Json>, String>>()?;
    println!("{}", serde_json::to_string(&answers)?);
    Ok(())
}

/// Creates a table and inserts every row of its file; SQLite's column affinity makes numbers of the texts.
fn load(database: &Connection, table: &Table) -> Result<(), Box<dyn Error>> {
    database.execute_batch("BEGIN")?;
    database.execute(&table.create, [])?;
    let mut file = csv::Reader::from_path(&table.csv)?;
    let marks = vec!["?"; file.headers()?.len()].join(", ");
    let mut insert = database.prepare(&format!("INSERT INTO {} VALUES ({marks})", table.name))?;
    for record in file.records() {
        insert.execute(params_from_iter(record?.iter()))?;
    }
    database.execute_batch("COMMIT")?;
    Ok(())
}

fn answer(database: &Connection, statement: &Statement) -> Result<Json, Box<dyn Error>> {
    let mut prepared = database.prepare(&statement.sql)?;
    for (at, value) in statement.params.iter().enumerate() {
        if let Some(index) = prepared.parameter_index(&format!("${}", at + 1))? {
            prepared.raw_bind_parameter(index, sql(value)?)?;
        }
    }
    let width = prepared.column_count();
    if width == 0 {
        return Ok(json!({ "affected": prepared.raw_execute()? }));
    }
    let columns: Vec<String> = prepared.column_names().map(str::to_owned).collect();
    let mut found = prepared.raw_query();
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(
            (0..width).map(|column| Ok(json(row.get_ref(column)?))).collect::<Result<Vec<Json>, rusqlite::Error>>()?,
        );
    }
    Ok(json!({ "columns": columns, "rows": rows }))
}

fn sql(value: &Json) -> Result<Sql, Box<dyn Error>> {
    match value {
        Json::Null => Ok(Sql::Null),
        Json::Bool(value) => Ok(Sql::Integer((*value).into())),
        Json::String(value) => Ok(Sql::Text(value.clone())),
        Json::Number(value) => match value.as_i64() {
            Some(integer) => Ok(Sql::Integer(integer)),
            None => Ok(value.as_f64().map_or(Sql::Null, Sql::Real)),
        },
        Json::Array(_) | Json::Object(_) => Err("a parameter is a single value".into()),
    }
}

fn json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(value) => json!(value),
        ValueRef::Real(value) => json!(value),
        ValueRef::Text(value) => json!(String::from_utf8_lossy(value)),
        ValueRef::Blob(value) => json!(value),
    }
}
