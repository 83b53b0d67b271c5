//! Rows of a file into a table, by `INSERT`s of many rows.
//!
//! The table says how a text of CSV is meant. What was inserted before a mistake stays, and is told.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::{ClientError, connection::Connection};

/// Parameters of one statement.
const PARAMS_MAX: usize = 1_000;
/// Rows of one statement.
const ROWS_MAX: usize = 200;

/// How the file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Csv,
    Json,
}

/// Inserts; gives how many rows.
pub(super) async fn run(server: &Connection, kind: Kind, table: &str, content: &[u8]) -> Result<usize, ClientError> {
    let types = types(server, table).await?;
    let rows = match kind {
        Kind::Csv => csv_rows(content, &types)?,
        Kind::Json => json_rows(content)?,
    };
    let mut done = 0;
    let mut rest = &rows[..];
    while let Some(first) = rest.first() {
        // One statement is of rows that have the same columns.
        let columns: Vec<&String> = first.keys().collect();
        if columns.is_empty() {
            return Err(ClientError::Local(format!("row {}: it has no columns", done + 1)));
        }
        let most = (PARAMS_MAX / columns.len()).clamp(1, ROWS_MAX);
        let count = rest.iter().take(most).take_while(|row| row.keys().eq(first.keys())).count();
        let (now, later) = rest.split_at(count);
        let ask = insert(table, &columns, now, &types);
        let answer = server.ask("POST", "/v1/sql", &[("content-type", "application/json")], ask).await;
        if let Err(error) = answer {
            let upto = done + now.len();
            return Err(ClientError::Local(format!(
                "rows {} to {upto}: {error} ({done} rows were inserted)",
                done + 1
            )));
        }
        done += now.len();
        rest = later;
    }
    Ok(done)
}

pub(crate) fn insert(
    table: &str,
    columns: &[&String],
    rows: &[Map<String, Value>],
    types: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut params = Vec::new();
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let places = columns.iter().map(|column| {
                params.push(row.get(*column).cloned().unwrap_or_default());
                placed(params.len(), types.get(*column).map(String::as_str))
            });
            format!("({})", places.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let sql = format!("INSERT INTO {} ({}) VALUES {}", quoted(table), columns.join(", "), rows.join(", "));
    json!({ "sql": sql, "params": params }).to_string().into_bytes()
}

/// A parameter for a column: types that JSON does not have come as text.
fn placed(number: usize, kind: Option<&str>) -> String {
    match kind {
        Some(kind @ ("TIMESTAMP" | "DATE" | "NUMERIC" | "INTERVAL" | "UUID" | "BLOB" | "JSON")) => {
            format!("CAST(${number} AS {kind})")
        }
        _ => format!("${number}"),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The types of a table's columns.
async fn types(server: &Connection, table: &str) -> Result<BTreeMap<String, String>, ClientError> {
    let ask = json!({ "sql": format!("SELECT * FROM {} LIMIT 0", quoted(table)) }).to_string();
    let headers = [("content-type", "application/json")];
    let answer = server.ask("POST", "/v1/sql", &headers, ask.into_bytes()).await?.json().await?;
    let columns = answer["columns"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(columns.iter().map(|column| (text(&column["name"]), text(&column["type"]))).collect())
}

/// Rows of CSV with a header. A field that is empty is NULL, but for a text's.
pub(crate) fn csv_rows(
    content: &[u8],
    types: &BTreeMap<String, String>,
) -> Result<Vec<Map<String, Value>>, ClientError> {
    let bad = |error: csv::Error| ClientError::Local(format!("the file is no CSV: {error}"));
    let mut reader = csv::Reader::from_reader(content);
    let names = reader.headers().map_err(bad)?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(bad)?;
        let fields = names.iter().zip(&record);
        rows.push(fields.map(|(name, field)| (name.to_owned(), typed(field, types.get(name)))).collect());
    }
    Ok(rows)
}

fn typed(field: &str, kind: Option<&String>) -> Value {
    match kind.map(String::as_str) {
        Some("TEXT") => field.into(),
        _ if field.is_empty() => Value::Null,
        Some("INTEGER") => field.trim().parse::<i64>().map_or_else(|_| field.into(), Value::from),
        Some("REAL") => field.trim().parse::<f64>().map_or_else(|_| field.into(), Value::from),
        Some("BOOLEAN") => match &field.trim().to_ascii_lowercase()[..] {
            "true" | "t" | "1" => true.into(),
            "false" | "f" | "0" => false.into(),
            _ => field.into(),
        },
        _ => field.into(),
    }
}

/// Objects: in an array, or one after the other.
pub(crate) fn json_rows(content: &[u8]) -> Result<Vec<Map<String, Value>>, ClientError> {
    let mut rows = Vec::new();
    for value in serde_json::Deserializer::from_slice(content).into_iter::<Value>() {
        let value = value.map_err(|error| ClientError::Local(format!("the file is no JSON: {error}")))?;
        match value {
            Value::Array(items) => rows.extend(items),
            other => rows.push(other),
        }
    }
    let object = |(at, row): (usize, Value)| match row {
        Value::Object(members) => Ok(members),
        _ => Err(ClientError::Local(format!("row {}: it is no object", at + 1))),
    };
    rows.into_iter().enumerate().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_what_the_table_says() {
        let types = [("id", "INTEGER"), ("item", "TEXT"), ("amount", "REAL"), ("sold", "BOOLEAN"), ("day", "DATE")];
        let types = types.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        let rows = csv_rows(b"id,item,amount,sold,day\n1,\"a,b\",2.5,t,2026-11-20\n2,,,,\n", &types).unwrap();
        assert_eq!(
            json!(rows),
            json!([
                {"id": 1, "item": "a,b", "amount": 2.5, "sold": true, "day": "2026-11-20"},
                {"id": 2, "item": "", "amount": null, "sold": null, "day": null},
            ])
        );
        let ask: Value =
            serde_json::from_slice(&insert("t", &[&"id".to_owned(), &"day".to_owned()], &rows, &types)).unwrap();
        let sql = "INSERT INTO \"t\" (\"id\", \"day\") VALUES ($1, CAST($2 AS DATE)), ($3, CAST($4 AS DATE))";
        assert_eq!((&ask["sql"], &ask["params"]), (&json!(sql), &json!([1, "2026-11-20", 2, null])));
        assert!(csv_rows(b"a,b\n1\n", &BTreeMap::new()).is_err());
    }

    #[test]
    fn objects_in_an_array_or_one_a_line() {
        let rows = json!([{"a": 1}, {"a": 2}]);
        assert_eq!(json!(json_rows(b"[{\"a\": 1}, {\"a\": 2}]").unwrap()), rows);
        assert_eq!(json!(json_rows(b"{\"a\": 1}\n{\"a\": 2}\n").unwrap()), rows);
        assert!(json_rows(b"[1]").is_err() && json_rows(b"{").is_err());
    }
}
