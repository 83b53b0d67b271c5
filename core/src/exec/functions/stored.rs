//! Rows of tables as JSON, from how they are stored: for system tables, which show rows of any table.

use super::{
    json::of_value,
    listed::{Listed, types::*},
};
use crate::{
    Error,
    data::{Type, Value, codec, json::Json},
    sql::catalog::TableDescriptor,
};

pub(super) const LIST: &[Listed] = &[
    // Both take the catalog's entry of the table; what does not read is NULL.
    Listed::new("row of value", &[BYTES, BYTES], Type::Json, |all| read(all, of_stored)),
    Listed::new("row of key", &[BYTES, BYTES], Type::Json, |all| read(all, of_key)),
];

/// Names and values of columns.
type Named = Vec<(String, Value)>;

fn read(all: &[&Value], of: fn(&TableDescriptor, &[u8]) -> Option<Named>) -> Result<Value, Error> {
    let [Value::Blob(entry), Value::Blob(bytes)] = all else { return Ok(Value::Null) };
    let Some(named) = TableDescriptor::decode(entry).ok().and_then(|table| of(&table, bytes)) else {
        return Ok(Value::Null);
    };
    let members = named.into_iter().map(|(name, value)| Ok((name, of_value(&value)?)));
    Ok(Value::Json(Json::object(members.collect::<Result<_, Error>>()?).print()))
}

fn of_stored(table: &TableDescriptor, bytes: &[u8]) -> Option<Named> {
    let details = table.details().ok()?;
    let missing = details.missing_row();
    let missing: Vec<Value> =
        details.slots.iter().map(|slot| missing.get(*slot as usize).cloned().unwrap_or(Value::Null)).collect();
    let (row, _) = codec::decode_columns(bytes, &details.slots, &missing).ok()?;
    Some(table.columns.iter().map(|column| column.name.clone()).zip(row).collect())
}

/// Where the table has a primary key.
fn of_key(table: &TableDescriptor, bytes: &[u8]) -> Option<Named> {
    let names = table.primary_key.iter().filter_map(|at| table.columns.get(*at as usize));
    let key = codec::decode_key(bytes, table.primary_key.len()).ok()?;
    Some(names.map(|column| column.name.clone()).zip(key).collect()).filter(|named: &Named| !named.is_empty())
}
