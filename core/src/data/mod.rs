//! Values, rows and signed batches: what flows between operators.

pub mod case;
pub mod cell;
pub mod codec;
pub mod interval;
pub mod json;
mod nested;
pub mod numeric;
pub mod order;
pub mod real;
pub mod time;
mod whole;

use core::fmt;

pub use interval::Interval;
pub use nested::{DEPTH_MAX, Nested};
pub use numeric::Numeric;
use serde::{Deserialize, Serialize};

/// A SQL type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Type {
    /// 64-bit signed.
    Integer,
    /// 64-bit IEEE 754.
    Real,
    /// UTF-8.
    Text,
    /// True or false.
    Boolean,
    /// Microseconds since the Unix epoch, UTC.
    Timestamp,
    /// Bytes.
    Blob,
    /// Exact decimal; of a column that says so its precision and scale. Expressions know of none.
    Numeric(Option<(u8, u8)>),
    /// A day.
    Date,
    /// Months, days and microseconds.
    Interval,
    /// JSON.
    Json,
    /// 16 bytes.
    Uuid,
}

/// A SQL value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Unknown.
    Null,
    /// 64-bit signed.
    Integer(i64),
    /// 64-bit IEEE 754.
    Real(f64),
    /// UTF-8.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// Microseconds since the Unix epoch, UTC.
    Timestamp(i64),
    /// Bytes.
    Blob(Vec<u8>),
    /// Exact decimal.
    Numeric(Numeric),
    /// Days since the Unix epoch.
    Date(i32),
    /// Months, days and microseconds.
    Interval(Interval),
    /// JSON, its text in one form ([`json`]).
    Json(String),
    /// 16 bytes.
    Uuid(#[serde(deserialize_with = "crate::id::array")] [u8; 16]),
}

impl Type {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Type::Integer => "integer",
            Type::Real => "real",
            Type::Text => "text",
            Type::Boolean => "boolean",
            Type::Timestamp => "timestamp",
            Type::Blob => "blob",
            Type::Numeric(_) => "numeric",
            Type::Date => "date",
            Type::Interval => "interval",
            Type::Json => "json",
            Type::Uuid => "uuid",
        }
    }

    /// The type of expressions over columns of it.
    pub fn base(self) -> Type {
        if let Type::Numeric(_) = self { Type::Numeric(None) } else { self }
    }

    /// Whether owners only keep and compare its values: what computes with them, reads or prints them runs at the asker
    /// (docs/decisions/021-types.md).
    pub fn is_wide(self) -> bool {
        matches!(self, Type::Numeric(_) | Type::Date | Type::Interval | Type::Json | Type::Uuid)
    }
}

impl Value {
    /// Its type; `None` for NULL.
    pub fn data_type(&self) -> Option<Type> {
        Some(match self {
            Value::Null => return None,
            Value::Integer(_) => Type::Integer,
            Value::Real(_) => Type::Real,
            Value::Text(_) => Type::Text,
            Value::Boolean(_) => Type::Boolean,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Blob(_) => Type::Blob,
            Value::Numeric(_) => Type::Numeric(None),
            Value::Date(_) => Type::Date,
            Value::Interval(_) => Type::Interval,
            Value::Json(_) => Type::Json,
            Value::Uuid(_) => Type::Uuid,
        })
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        match self {
            Value::Text(text) | Value::Json(text) => 8 + text.len(),
            Value::Blob(bytes) => 8 + bytes.len(),
            Value::Numeric(_) | Value::Interval(_) | Value::Uuid(_) => 16,
            _ => 8,
        }
    }
}

/// As `CAST(value AS TEXT)` gives it; where nothing was ever asked, the values of types with which only askers compute
/// show their type.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Real(number) => f.write_str(&real::print(*number)),
            Value::Text(text) | Value::Json(text) => f.write_str(text),
            Value::Boolean(truth) => write!(f, "{truth}"),
            Value::Timestamp(at_us) => f.write_str(&time::format(*at_us)),
            Value::Blob(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            // Owners print none of these.
            Value::Numeric(_) | Value::Date(_) | Value::Interval(_) | Value::Uuid(_) => {
                f.write_str(&crate::exec::functions::listed::print(self))
            }
        }
    }
}

/// The values of a row, in column order.
pub type Row = Vec<Value>;

/// A row and its weight: +1 appears, -1 disappears (Z-sets; Budiu et al., *DBSP*, VLDB 2023).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignedRow {
    /// The values.
    pub row: Row,
    /// How many times it appears; negative takes away.
    pub weight: i64,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type; `None` where only NULLs are.
    pub data_type: Option<Type>,
}

/// What a statement cost the asker and the swarm, as far as the asker can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Messages sent for the statement by all who took part.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Peers that answered.
    pub peers: u64,
    /// Microseconds from the call to the result.
    pub elapsed_us: u64,
}

/// The result of a statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Columns; empty for a statement without rows.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Row>,
    /// Rows written by INSERT, UPDATE or DELETE.
    pub affected: u64,
    /// The share of the key space asked that answered: exactly 1.0, or below.
    pub coverage: f64,
    /// Whether a fragment that answered had given up a majority of an earlier epoch for lost.
    pub assumed_lost: bool,
    /// What it cost.
    pub cost: Cost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_small() {
        assert!(size_of::<Value>() <= 32, "rows are vectors of them");
    }
}
