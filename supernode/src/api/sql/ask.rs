//! What a request asks: statements, parameters, and how they are meant.

use pontoon_core::{
    Error,
    data::{Value, json::Json},
    sql::{ast::Statement, fault::SYNTAX, plan::Dialect},
};
use serde::Deserialize;
use tokio::time::Duration;

use crate::api::error::ApiError;

/// Parameters of a statement.
const PARAMS_MAX: usize = 1_000;

/// As it comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    sql: String,
    #[serde(default)]
    params: Vec<serde_json::Value>,
    dialect: Option<String>,
    timeout: Option<u64>,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(in crate::api) struct Ask {
    pub(in crate::api) sql: String,
    pub(in crate::api) params: Vec<Value>,
    pub(in crate::api) dialect: Dialect,
    pub(in crate::api) timeout: Duration,
}

impl Ask {
    /// From JSON: `{"sql", "params"?, "dialect"?, "timeout"?}`. More time than `timeout_max` nobody gets.
    pub(super) fn read(content: &[u8], timeout_max: Duration) -> Result<Ask, ApiError> {
        let told: Told = serde_json::from_slice(content).map_err(|error| ApiError::invalid(error.to_string()))?;
        let timeout = match told.timeout {
            None => timeout_max,
            Some(0) => return Err(ApiError::invalid("timeout is a number of milliseconds, at least 1")),
            Some(ms) => Duration::from_millis(ms).min(timeout_max),
        };
        Ask::new(told.sql, told.params, told.dialect.as_deref(), timeout)
    }

    pub(in crate::api) fn new(
        sql: String,
        params: Vec<serde_json::Value>,
        dialect: Option<&str>,
        timeout: Duration,
    ) -> Result<Ask, ApiError> {
        if params.len() > PARAMS_MAX {
            return Err(ApiError::invalid(format!("a statement has at most {PARAMS_MAX} parameters")));
        }
        let dialect = match dialect {
            None | Some("postgres") => Dialect::Postgres,
            Some("sqlite") => Dialect::Sqlite,
            Some(_) => return Err(ApiError::invalid("dialect is \"postgres\" or \"sqlite\"")),
        };
        let params = params.into_iter().enumerate().map(|(index, value)| parameter(index, value));
        Ok(Ask { sql, params: params.collect::<Result<_, _>>()?, dialect, timeout })
    }

    /// Its statements; at least one.
    pub(in crate::api) fn statements(&self) -> Result<Vec<Statement>, Error> {
        let statements = match self.dialect {
            Dialect::Postgres => pontoon_parser::parse(&self.sql),
            Dialect::Sqlite => pontoon_parser::parse_sqlite(&self.sql),
        };
        match statements {
            Ok(statements) if statements.is_empty() => pontoon_core::sql::fault::fail(SYNTAX, "no statement"),
            Ok(statements) => Ok(statements),
            Err(error) => Err(error.into()),
        }
    }
}

/// As the npm package takes them: an object or an array is JSON; a number is an INTEGER where it is written as one.
fn parameter(index: usize, value: serde_json::Value) -> Result<Value, ApiError> {
    use serde_json::Value as Told;
    let bad = |what: &str| ApiError::invalid(format!("parameter ${}: {what}", index + 1));
    Ok(match value {
        Told::Null => Value::Null,
        Told::Bool(truth) => Value::Boolean(truth),
        Told::String(text) => Value::Text(text),
        Told::Number(number) => match (number.as_i64(), number.is_u64(), number.as_f64()) {
            (Some(integer), ..) => Value::Integer(integer),
            (None, false, Some(real)) => Value::Real(real),
            _ => return Err(bad("beyond 64 bits")),
        },
        Told::Array(_) | Told::Object(_) => match Json::parse(&value.to_string()) {
            Some(json) => Value::Json(json.print()),
            None => return Err(bad("JSON that nests too deep, or with a number of too many digits")),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Ask, ApiError> {
        Ask::read(text.as_bytes(), Duration::from_secs(30))
    }

    #[test]
    fn what_is_asked() {
        let ask = read(r#"{"sql": "SELECT $1", "params": [1, 1.5, 1e3, "a", true, null, {"b": [2]}], "timeout": 5}"#);
        let Ask { params, dialect, timeout, .. } = ask.unwrap();
        let json = Value::Json("{\"b\": [2]}".to_owned());
        let (real, text) = (Value::Real(1.5), Value::Text("a".to_owned()));
        let expected = [Value::Integer(1), real, Value::Real(1e3), text, Value::Boolean(true), Value::Null, json];
        assert_eq!(params, expected);
        assert_eq!((dialect, timeout), (Dialect::Postgres, Duration::from_millis(5)));
        let longest = read(r#"{"sql": "SELECT 1", "timeout": 9999999999}"#).unwrap().timeout;
        assert_eq!(longest, Duration::from_secs(30));
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"sql": 1}"#,
            r#"{"sql": "", "parms": []}"#,
            r#"{"sql": "", "dialect": "oracle"}"#,
            r#"{"sql": "", "timeout": 0}"#,
            r#"{"sql": "", "params": [18446744073709551615]}"#,
        ] {
            assert_eq!(read(wrong).unwrap_err().told.code, "invalid_argument", "{wrong}");
        }
        assert_eq!(read(r#"{"sql": " ; "}"#).unwrap().statements().unwrap_err().code(), SYNTAX);
    }
}
