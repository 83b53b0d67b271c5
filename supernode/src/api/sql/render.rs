//! A result as text: a piece at a time, so that a large one is not in memory twice.
//!
//! The shape is the npm package's. What JSON has no exact value for is text: INTEGERs beyond ±2^53, NUMERICs, dates and
//! times, INTERVALs, UUIDs, and BLOBs as `\x` and hexadecimal digits.

use std::fmt::Write as _;

use axum::http::{HeaderMap, StatusCode, header};
use pontoon_core::data::{Column, QueryResult, Value, json::Json, time};

use crate::api::{error::ApiError, stream::Pieces};

/// A piece has at least so many bytes, but for the last one.
const PIECE_BYTES: usize = 32 << 10;
/// Integers that every reader of JSON keeps.
const SAFE_MAX: u64 = (1 << 53) - 1;

/// How a result is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// A row a line.
    Lines,
    Csv,
}

/// By media type, and by the range that it is in.
const OFFERED: [(Format, &str, &str); 4] = [
    (Format::Json, "application/json", "application/*"),
    (Format::Lines, "application/x-ndjson", "application/*"),
    (Format::Lines, "application/ndjson", "application/*"),
    (Format::Csv, "text/csv", "text/*"),
];

impl Format {
    /// The one that `Accept` likes best; of equals the one that it names, then the first.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Format, ApiError> {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let items: Vec<&str> = lines.flat_map(|line| line.split(',')).filter(|item| !item.trim().is_empty()).collect();
        if items.is_empty() {
            return Ok(Format::Json);
        }
        let mut best: Option<(f32, bool, Format)> = None;
        for item in items {
            let mut parts = item.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
            let Some(quality) = quality.filter(|quality: &f32| *quality > 0.0) else { continue };
            let named = OFFERED.iter().find(|(_, name, _)| *name == range);
            let within = || OFFERED.iter().find(|(_, _, group)| *group == range || range == "*/*");
            let Some((format, ..)) = named.or_else(within) else { continue };
            let liking = (quality, named.is_some());
            if best.is_none_or(|(quality, named, _)| liking > (quality, named)) {
                best = Some((liking.0, liking.1, *format));
            }
        }
        let none = "results come as application/json, application/x-ndjson or text/csv";
        best.map(|(.., format)| format).ok_or_else(|| ApiError::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", none))
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Lines => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8; header=present",
        }
    }
}

/// A result on its way out.
pub(super) struct Render {
    result: QueryResult,
    format: Format,
    names: Vec<String>,
    next: usize,
    begun: bool,
    ended: bool,
}

impl Render {
    pub(super) fn new(result: QueryResult, format: Format) -> Render {
        let names = names(&result.columns);
        Render { result, format, names, next: 0, begun: false, ended: false }
    }

    fn begin(&self, text: &mut String) {
        match self.format {
            Format::Json => text.push_str("{\"rows\":["),
            Format::Lines => {}
            Format::Csv => record(text, self.result.columns.iter().map(|column| Some(column.name.clone()))),
        }
    }

    fn row(&self, at: usize, text: &mut String) {
        let row = &self.result.rows[at];
        match self.format {
            Format::Json => {
                if at > 0 {
                    text.push(',');
                }
                json_row(text, &self.names, row);
            }
            Format::Lines => {
                json_row(text, &self.names, row);
                text.push('\n');
            }
            Format::Csv => record(text, row.iter().map(plain)),
        }
    }

    fn end(&self, text: &mut String) {
        if self.format != Format::Json {
            return;
        }
        let QueryResult { columns, affected, coverage, assumed_lost, cost, .. } = &self.result;
        let columns: Vec<_> = columns
            .iter()
            .map(|Column { name, data_type }| serde_json::json!({ "name": name, "type": data_type.map(|it| it.name().to_ascii_uppercase()) }))
            .collect();
        let rest = serde_json::json!({
            "columns": columns,
            "affected": affected,
            "coverage": coverage,
            "assumedLost": assumed_lost,
            "warnings": warnings(&self.result),
            "cost": {
                "messages": cost.messages,
                "bytes": cost.bytes,
                "peers": cost.peers,
                "elapsedMs": cost.elapsed_us as f64 / 1_000.0,
            },
        });
        text.push_str("],");
        text.push_str(rest.to_string().trim_start_matches('{'));
        text.push('\n');
    }
}

impl Pieces for Render {
    fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(&mut text);
        }
        while self.next < self.result.rows.len() && text.len() < PIECE_BYTES {
            self.row(self.next, &mut text);
            self.next += 1;
        }
        if self.next == self.result.rows.len() {
            self.ended = true;
            self.end(&mut text);
        }
        Some(text)
    }

    fn more(&self) -> bool {
        !self.ended
    }
}

/// What a reader should know who does not look at figures.
fn warnings(result: &QueryResult) -> Vec<String> {
    let mut warnings = Vec::new();
    if result.coverage < 1.0 {
        let percent = result.coverage * 100.0;
        warnings.push(format!("only {percent:.1} % of the key space that was asked answered: the rest is missing"));
    }
    if result.assumed_lost {
        warnings.push("a part that answered had given up a majority of its group for lost".to_owned());
    }
    warnings
}

/// Names of columns in JSON.
pub(in crate::api) fn names(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| json_text(&column.name)).collect()
}

/// A row as an object, by names that are JSON already. Of several of one name the last is kept.
pub(in crate::api) fn json_row(text: &mut String, names: &[String], row: &[Value]) {
    text.push('{');
    let mut first = true;
    for (at, (name, value)) in names.iter().zip(row).enumerate() {
        if names[at + 1..].contains(name) {
            continue;
        }
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        json_value(text, value);
    }
    text.push('}');
}

fn json_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Boolean(truth) => text.push_str(if *truth { "true" } else { "false" }),
        // Writing to a string does not fail.
        Value::Integer(number) if number.unsigned_abs() <= SAFE_MAX => drop(write!(text, "{number}")),
        Value::Real(number) if number.is_finite() => text.push_str(&serde_json::json!(number).to_string()),
        // It may come from other peers, and need not be what its type says: printed again it is JSON, and one line.
        Value::Json(json) => match Json::parse(json) {
            Some(json) => text.push_str(&json.print()),
            None => text.push_str(&json_text(json)),
        },
        other => text.push_str(&json_text(&shown(other))),
    }
}

/// A text in JSON.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value as text; `None`: NULL.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        other => Some(shown(other)),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Timestamp(at_us) => time::format(*at_us).replace(' ', "T") + "Z",
        other => other.to_string(),
    }
}

/// A record of CSV (RFC 4180). NULL is nothing, an empty text is `""`.
fn record(text: &mut String, fields: impl Iterator<Item = Option<String>>) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            text.push(',');
        }
        match field {
            Some(field) if field.is_empty() || field.contains(['"', ',', '\r', '\n']) => {
                let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
            }
            Some(field) => text.push_str(&field),
            None => {}
        }
    }
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use pontoon_core::{data::Row, sql::session::done};

    use super::*;

    fn shown_as(format: Format, rows: Vec<Row>, names: &[&str]) -> (String, usize) {
        let columns = names.iter().map(|name| Column { name: (*name).to_owned(), data_type: None }).collect();
        let mut render = Render::new(QueryResult { columns, rows, ..done() }, format);
        let (mut text, mut pieces) = (String::new(), 0);
        while let Some(piece) = render.next() {
            text.push_str(&piece);
            pieces += 1;
        }
        (text, pieces)
    }

    #[test]
    fn values_in_json() {
        let row = vec![
            Value::Integer(-5),
            Value::Integer(1 << 53),
            Value::Real(2.0),
            Value::Real(f64::NAN),
            Value::Text("a\"\n".to_owned()),
            Value::Json("{\"a\": 1}".to_owned()),
            Value::Timestamp(1_500_000),
            Value::Blob(vec![0, 255]),
            Value::Null,
        ];
        let names = ["i", "big", "r", "nan", "t", "j", "at", "b", "n"];
        let (text, _) = shown_as(Format::Lines, vec![row], &names);
        assert_eq!(
            text,
            "{\"i\":-5,\"big\":\"9007199254740992\",\"r\":2.0,\"nan\":\"NaN\",\"t\":\"a\\\"\\n\",\"j\":{\"a\": 1},\
             \"at\":\"1970-01-01T00:00:01.5Z\",\"b\":\"\\\\x00ff\",\"n\":null}\n"
        );
    }

    #[test]
    fn what_is_no_json_forges_nothing() {
        for forged in ["1},{\"id\":2", "1}\n{\"id\":2", "{\"a\":1", "1}\n\nevent: error\ndata: {", "", "[1]]"] {
            let (text, _) = shown_as(Format::Lines, vec![vec![Value::Json(forged.to_owned())]], &["j"]);
            assert_eq!(text.lines().count(), 1, "{text}");
            let row: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(row, serde_json::json!({ "j": forged }));
        }
        let lines = Value::Json("{\"a\":\n\r\n[1,\n2]}".to_owned());
        assert_eq!(shown_as(Format::Lines, vec![vec![lines]], &["j"]).0, "{\"j\":{\"a\": [1, 2]}}\n");
    }

    #[test]
    fn a_large_result_comes_in_pieces() {
        let rows: Vec<Row> = (0..10_000).map(|number| vec![Value::Integer(number)]).collect();
        let (text, pieces) = shown_as(Format::Json, rows, &["n"]);
        assert!(pieces > 2, "{pieces}");
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["rows"].as_array().unwrap().len(), 10_000);
        assert_eq!((&result["rows"][9_999]["n"], &result["coverage"]), (&9_999.into(), &1.0.into()));
        let (nothing, pieces) = shown_as(Format::Json, vec![], &[]);
        assert_eq!(pieces, 1);
        assert!(
            serde_json::from_str::<serde_json::Value>(&nothing).unwrap()["warnings"].as_array().unwrap().is_empty()
        );
    }

    #[test]
    fn of_two_columns_of_one_name_the_later_is_kept() {
        let row = vec![Value::Integer(1), Value::Integer(2)];
        assert_eq!(shown_as(Format::Lines, vec![row], &["a", "a"]).0, "{\"a\":2}\n");
    }

    #[test]
    fn records_of_csv() {
        let text = |text: &str| Value::Text(text.to_owned());
        let row = vec![text("a,b"), text("say \"hei\""), text(""), Value::Null, Value::Boolean(true)];
        let (text, _) = shown_as(Format::Csv, vec![row], &["x", "y", "z", "n", "t"]);
        assert_eq!(text, "x,y,z,n,t\r\n\"a,b\",\"say \"\"hei\"\"\",\"\",,true\r\n");
    }

    #[test]
    fn a_part_says_that_it_is_one() {
        let part = QueryResult { coverage: 0.5, assumed_lost: true, ..done() };
        assert_eq!(warnings(&part).len(), 2);
        assert!(warnings(&part)[0].contains("50.0 %"));
    }

    #[test]
    fn what_accept_likes_best() {
        let accepted = |line: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(line).unwrap())]);
            Format::accepted(&headers)
        };
        for (line, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/csv", Format::Csv),
            ("text/*", Format::Csv),
            ("application/x-ndjson", Format::Lines),
            ("text/html, text/csv;q=0.5", Format::Csv),
            ("text/csv;q=0.5, application/json", Format::Json),
            ("*/*, text/csv", Format::Csv),
            ("text/csv, application/x-ndjson", Format::Csv),
        ] {
            assert_eq!(accepted(line).unwrap(), format, "{line}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()).unwrap(), Format::Json);
        for wrong in ["text/html", "text/csv;q=0", "json"] {
            assert_eq!(accepted(wrong).unwrap_err().status, StatusCode::NOT_ACCEPTABLE, "{wrong}");
        }
    }
}
