//! What is known of the rows of tables: `ANALYZE` gathers it, planners estimate with it.
//!
//! Owners send sketches of their rows ([`ops::sketch`](crate::exec::ops::sketch)), which are combined on the way up; what
//! they say is one record of the namespace [`STATISTICS`], under the table's name. It stands beside the catalog and not
//! in it: a table's own entry stays as it is, and with it all plans. It may be old or missing: nothing but speed depends
//! on it. An asker remembers what it has read for [`AGE_MAX_US`], and beside it how many rows a table had when it last read
//! all of them.

use serde::{Deserialize, Serialize};

use super::{
    catalog::TableDescriptor,
    fault::{CORRUPTED, error},
    logical::Scan,
    scalar::Scalar,
};
use crate::{
    Error,
    data::{Row, Value, json::Json},
    exec::{
        fragment::{Decode, FragmentPlan, Output},
        functions::json::of_value,
        ops::state::{AggregateCall, AggregateFunction, State},
    },
    map::Map,
    store::{Action, KeyOp},
    trust::Realm,
    wire::PLAN_VERSION,
};

/// The namespace of statistics: key = the name of a table, value = a `postcard` encoding of [`TableStatistics`].
pub const STATISTICS: &str = "pontoon.statistics";
/// For so long what was read is used without asking again: ten minutes.
pub const AGE_MAX_US: i64 = 600_000_000;
/// Columns of a table of which something is known.
const COLUMNS_MAX: usize = 200;
/// Bytes of a smallest or largest value; of a longer one the beginning is kept.
const VALUE_BYTES_MAX: usize = 64;
/// Bytes of a record; frequent values are left out where it has more.
const BYTES_MAX: usize = 128 << 10;
/// Tables that are remembered.
const REMEMBERED_MAX: usize = 1_000;

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableStatistics {
    /// Its name.
    pub table: String,
    /// The namespace of its rows: of another table of that name it says nothing.
    pub namespace: String,
    /// When it was gathered: microseconds since the Unix epoch.
    pub at_us: i64,
    /// How many rows there were.
    pub rows: u64,
    /// Of the first columns.
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Its slot in rows.
    pub slot: u32,
    /// Its name.
    pub name: String,
    /// How many of its values are NULL.
    pub nulls: u64,
    /// Bytes of its values, about.
    pub bytes: u64,
    /// How many different values there are, about.
    pub distinct: u64,
    /// The smallest.
    pub min: Option<Value>,
    /// The largest.
    pub max: Option<Value>,
    /// The most frequent, each with how often it is there at least.
    pub common: Vec<(Value, u64)>,
}

/// An operation on the statistics of a table.
pub fn entry(table: &str, locality_bits: u8, action: Action) -> KeyOp {
    KeyOp { namespace: STATISTICS.to_owned(), locality_bits, key: table.as_bytes().to_vec(), action, proof: None }
}

/// Aggregates of a column, in this order behind the number of rows.
const OF_COLUMN: [AggregateFunction; 6] = [
    AggregateFunction::Count,
    AggregateFunction::Width,
    AggregateFunction::Min,
    AggregateFunction::Max,
    AggregateFunction::Distinct,
    AggregateFunction::Common,
];

/// The aggregates that [`TableStatistics::of`] reads, over so many columns.
pub fn calls(columns: usize) -> Vec<AggregateCall> {
    let call = |function, arg| AggregateCall { function, arg, distinct: false };
    let of_column = |at| OF_COLUMN.into_iter().map(move |function| call(function, Some(Scalar::Column(at))));
    core::iter::once(call(AggregateFunction::Count, None)).chain((0..columns as u32).flat_map(of_column)).collect()
}

/// What owners of a table run for its statistics.
pub fn fragment(table: &TableDescriptor) -> Result<FragmentPlan, Error> {
    let mut details = table.details()?;
    details.slots.truncate(COLUMNS_MAX);
    let row = details.missing_row();
    let missing = details.slots.iter().map(|slot| row.get(*slot as usize).cloned().unwrap_or(Value::Null));
    let mut missing: Vec<Value> = missing.collect();
    missing.truncate(missing.iter().rposition(|value| !value.is_null()).map_or(0, |last| last + 1));
    Ok(FragmentPlan {
        version: PLAN_VERSION,
        namespace: table.namespace.clone(),
        locality_bits: table.locality_bits,
        decode: Decode::Row,
        output: Output::Groups(Vec::new(), calls(details.slots.len())),
        columns: details.slots,
        identity: false,
        filter: None,
        project: None,
        missing,
    })
}

impl TableStatistics {
    /// From the results of [`calls`].
    pub fn of(table: &TableDescriptor, at_us: i64, row: &[Value]) -> Result<TableStatistics, Error> {
        let number = |value: Option<&Value>| match value {
            Some(Value::Integer(number)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let state = |value: &Value| match value {
            Value::Blob(bytes) => State::decode(bytes),
            _ => None,
        };
        let rows = number(row.first());
        // Everybody reads statistics: of a private table no value is in them.
        let private = Realm::private(&table.namespace).is_some();
        let (slots, results) = (table.details()?.slots, row.get(1..).unwrap_or_default());
        let mut columns = Vec::new();
        for ((column, slot), of) in table.columns.iter().zip(slots).zip(results.chunks_exact(OF_COLUMN.len())) {
            let bound = |at: usize| of.get(at).filter(|value| !private && !value.is_null()).map(short);
            let (distinct, common) = match (state(&of[4]), state(&of[5])) {
                (Some(State::Distinct(sketch)), Some(State::Common(sample))) => (sketch.estimate(), sample),
                _ => return Err(error(CORRUPTED, "not a sketch")),
            };
            columns.push(ColumnStatistics {
                slot,
                name: column.name.clone(),
                nulls: rows.saturating_sub(number(of.first())),
                bytes: number(of.get(1)),
                // No more than there are values.
                distinct: distinct.min(number(of.first())),
                min: bound(2),
                max: bound(3),
                common: if private { Vec::new() } else { common.into_values() },
            });
        }
        Ok(TableStatistics { table: table.name.clone(), namespace: table.namespace.clone(), at_us, rows, columns })
    }

    /// From the value of its record.
    pub fn decode(bytes: &[u8]) -> Result<TableStatistics, Error> {
        postcard::from_bytes(bytes).map_err(|_| error(CORRUPTED, "the statistics of a table do not read"))
    }

    /// The value of its record.
    pub fn encode(&self) -> Vec<u8> {
        let mut kept = self.clone();
        loop {
            let bytes = postcard::to_allocvec(&kept).unwrap_or_default();
            match kept.columns.iter_mut().rev().find(|column| !column.common.is_empty()) {
                Some(column) if bytes.len() > BYTES_MAX => column.common.clear(),
                _ => return bytes,
            }
        }
    }

    /// Of the column in a slot.
    pub fn column(&self, slot: u32) -> Option<&ColumnStatistics> {
        self.columns.iter().find(|column| column.slot == slot)
    }

    /// Its rows in the system table.
    pub fn shown(&self) -> Result<Vec<Row>, Error> {
        let count = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let share = |part: u64| Value::Real(if self.rows == 0 { 0.0 } else { part as f64 / self.rows as f64 });
        let text = |value: &Option<Value>| value.as_ref().map_or(Value::Null, |value| Value::Text(value.to_string()));
        let column = |column: &ColumnStatistics| {
            let common = column.common.iter().map(|(value, times)| {
                let frequency = of_value(&share(*times))?;
                Ok(Json::Array(vec![of_value(value)?, frequency]))
            });
            let common = Json::Array(common.collect::<Result<_, Error>>()?);
            Ok(vec![
                Value::Text(self.table.clone()),
                Value::Text(column.name.clone()),
                count(self.rows),
                share(column.nulls),
                share(column.bytes),
                count(column.distinct),
                text(&column.min),
                text(&column.max),
                Value::Json(common.print()),
                Value::Timestamp(self.at_us),
            ])
        };
        self.columns.iter().map(column).collect()
    }
}

/// A value, or its beginning.
fn short(value: &Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(text[..text.floor_char_boundary(VALUE_BYTES_MAX)].to_owned()),
        Value::Blob(bytes) => Value::Blob(bytes[..bytes.len().min(VALUE_BYTES_MAX)].to_vec()),
        Value::Json(text) if text.len() > VALUE_BYTES_MAX => Value::Null,
        other => other.clone(),
    }
}

/// What an asker remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// By table: what was read, or that there was nothing, and when.
    tables: Map<String, (Option<TableStatistics>, i64)>,
    /// Rows of tables that were read whole, and when, by namespace.
    counts: Map<String, (u64, i64)>,
    /// Peers that answered the last gather; 0 before there was one.
    peers: u64,
}

impl Statistics {
    /// Whether nothing is known of any table.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.tables.values().all(|(found, _)| found.is_none())
    }

    /// Whether it is to be asked for what is known of a table.
    pub fn wants(&self, table: &str, now_us: i64) -> bool {
        self.tables.get(table).is_none_or(|(_, at_us)| now_us.saturating_sub(*at_us) > AGE_MAX_US)
    }

    /// What there is of a table; `None` where there is nothing.
    pub fn learn(&mut self, table: &str, found: Option<TableStatistics>, now_us: i64) {
        if self.tables.len() >= REMEMBERED_MAX {
            self.tables.clear();
        }
        self.tables.insert(table.to_owned(), (found, now_us));
    }

    /// So many rows had a table when all of it was read.
    pub fn count(&mut self, namespace: String, rows: u64, now_us: i64) {
        if self.counts.len() >= REMEMBERED_MAX {
            self.counts.clear();
        }
        self.counts.insert(namespace, (rows, now_us));
    }

    /// So many peers answered a gather.
    pub fn meet(&mut self, peers: u64) {
        if peers > 0 {
            self.peers = peers;
        }
    }

    /// Peers that answered the last gather, if there was one.
    pub fn peers(&self) -> Option<u64> {
        Some(self.peers).filter(|peers| *peers > 0)
    }

    /// What is known of the table that is scanned.
    pub fn of(&self, scan: &Scan) -> Option<&TableStatistics> {
        let (name, _) = scan.table.as_ref()?;
        let (found, _) = self.tables.get(name)?;
        found.as_ref().filter(|found| found.namespace == scan.namespace)
    }

    /// How many rows the table has that is scanned, as far as is known.
    pub fn rows(&self, scan: &Scan) -> Option<u64> {
        let gathered = self.of(scan).map(|found| (found.rows, found.at_us));
        match (self.counts.get(&scan.namespace), gathered) {
            (Some((rows, at_us)), Some((_, before_us))) if *at_us >= before_us => Some(*rows),
            (Some((rows, _)), None) => Some(*rows),
            (_, gathered) => gathered.map(|(rows, _)| rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Id, store::Version};

    fn found(rows: u64, at_us: i64, columns: usize) -> TableStatistics {
        let text = |at: usize| Value::Text(format!("{at:0128}"));
        let column = |slot: usize| ColumnStatistics {
            slot: slot as u32,
            name: format!("c{slot}"),
            nulls: 0,
            bytes: 0,
            distinct: 1,
            min: Some(text(0)),
            max: Some(text(9)),
            common: (0..16).map(|at| (text(at), 1)).collect(),
        };
        let (table, namespace) = ("t".to_owned(), "rows of t".to_owned());
        TableStatistics { table, namespace, at_us, rows, columns: (0..columns).map(column).collect() }
    }

    fn scan(namespace: &str) -> Scan {
        Scan {
            name: "t".to_owned(),
            namespace: namespace.to_owned(),
            locality_bits: 0,
            decode: Decode::Row,
            columns: Vec::new(),
            primary_key: Vec::new(),
            filter: Vec::new(),
            output: Vec::new(),
            missing: Vec::new(),
            indexes: Vec::new(),
            table: Some(("t".to_owned(), Version { wall_us: 0, counter: 0, author: Id::ZERO })),
            identity: Vec::new(),
            not_null: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_bounded_and_reads_again() {
        let small = found(7, 1, 3);
        assert_eq!(TableStatistics::decode(&small.encode()).unwrap(), small);
        let bytes = found(7, 1, COLUMNS_MAX).encode();
        assert!(bytes.len() <= BYTES_MAX, "{}", bytes.len());
        let read = TableStatistics::decode(&bytes).unwrap();
        assert_eq!(read.columns.len(), COLUMNS_MAX);
        assert!(read.columns[0].common.len() == 16 && read.columns[COLUMNS_MAX - 1].common.is_empty());
        assert!(TableStatistics::decode(&bytes[..bytes.len() / 2]).is_err());
        let long = Value::Text("é".repeat(VALUE_BYTES_MAX));
        assert_eq!(short(&long), Value::Text("é".repeat(VALUE_BYTES_MAX / 2)));
    }

    #[test]
    fn what_is_newer_counts_and_what_is_old_is_asked_for_again() {
        let mut known = Statistics::default();
        assert!(known.wants("t", 0) && known.is_empty());
        known.learn("t", None, 5);
        assert!(!known.wants("t", 5 + AGE_MAX_US) && known.wants("t", 6 + AGE_MAX_US));
        assert!(known.is_empty() && known.rows(&scan("rows of t")).is_none());
        known.learn("t", Some(found(100, 10, 1)), 20);
        assert_eq!(known.rows(&scan("rows of t")), Some(100));
        assert_eq!((known.rows(&scan("other rows")), known.of(&scan("other rows"))), (None, None));
        known.count("rows of t".to_owned(), 150, 30);
        assert_eq!(known.rows(&scan("rows of t")), Some(150));
        known.learn("t", Some(found(200, 40, 1)), 50);
        assert_eq!(known.rows(&scan("rows of t")), Some(200));
        for number in 0..3 * REMEMBERED_MAX {
            known.learn(&number.to_string(), None, 60);
            known.count(number.to_string(), 1, 60);
        }
        assert!(known.tables.len() <= REMEMBERED_MAX && known.counts.len() <= REMEMBERED_MAX);
    }
}
