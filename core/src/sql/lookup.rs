//! Scans that are key lookups: their conditions pin the whole primary key.

use super::{
    ast::BinaryOp,
    logical::{ColumnId, Scan},
    scalar::Scalar,
};
use crate::{
    data::{Nested, Row, Type, Value, codec},
    map::Set,
};

/// Keys that a lookup gets one by one; more of them are a scan.
const LOOKUP_KEYS_MAX: usize = 1_000;

/// The keys of the records that a scan's filter admits, when it pins every column of the primary key.
pub fn lookup_keys(scan: &Scan) -> Option<Vec<Vec<u8>>> {
    if scan.primary_key.is_empty() {
        return None;
    }
    let mut rows: Vec<Row> = vec![Vec::new()];
    for id in &scan.primary_key {
        let (_, _, data_type) = scan.columns.iter().find(|(other, ..)| other == id)?;
        let values = scan.filter.iter().find_map(|conjunct| pinned(conjunct, *id, *data_type))?;
        if rows.len() * values.len() > LOOKUP_KEYS_MAX {
            return None;
        }
        let with = |row: &Row| {
            let row = row.clone();
            values.iter().map(move |value| row.iter().chain([value]).cloned().collect::<Row>()).collect::<Vec<_>>()
        };
        rows = rows.iter().flat_map(with).collect();
    }
    let keys: Set<Vec<u8>> = rows.iter().map(|row| codec::encode_key(row)).collect();
    Some(keys.into_iter().collect())
}

/// The values that a conjunct admits for a column; `None` when it does not say.
pub fn pinned(conjunct: &Scalar, id: ColumnId, data_type: Type) -> Option<Vec<Value>> {
    let is_column = |scalar: &Scalar| *scalar == Scalar::Column(id);
    let items: Vec<&Nested<Scalar>> = match conjunct {
        Scalar::Binary(BinaryOp::Eq, a, b) if is_column(a) => vec![b],
        Scalar::Binary(BinaryOp::Eq, a, b) if is_column(b) => vec![a],
        Scalar::In(a, list) if is_column(a) => list.iter().collect(),
        _ => return None,
    };
    let values = items.into_iter().map(|item| constant(item, data_type)).collect::<Option<Vec<_>>>()?;
    Some(values.into_iter().filter(|value| !value.is_null()).collect())
}

/// A constant as a column of this type would have it; `None` if it is none, or such a column never has it.
pub fn constant(scalar: &Scalar, data_type: Type) -> Option<Value> {
    match scalar {
        Scalar::Literal(Value::Null) => Some(Value::Null),
        Scalar::Literal(value) if value.data_type() == Some(data_type.base()) => Some(value.clone()),
        // Up to 2^53 every integer is a real of its own.
        Scalar::Literal(Value::Integer(number)) if data_type == Type::Real && number.unsigned_abs() < 1 << 53 => {
            Some(Value::Real(*number as f64))
        }
        _ => None,
    }
}
