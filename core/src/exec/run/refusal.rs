//! Errors of writes, for people.

use crate::{
    Error,
    data::{Value, codec},
    exec::change::Target,
    sql::{
        fault::{INSUFFICIENT_PRIVILEGE, SERIALIZATION, STALE_PLAN, UNIQUE_VIOLATION, error},
        index::Index,
    },
    store::Refusal,
};

/// Keys that an error names.
const NAMED_MAX: usize = 10;

/// What a refusal at the owner says of a table.
pub(super) fn denied(refusal: Refusal, table: &str) -> Error {
    match refusal {
        Refusal::Forbidden => error(INSUFFICIENT_PRIVILEGE, format!("permission denied for table \"{table}\"")),
        other => other.into(),
    }
}

/// A key of a row.
fn named(target: &Target, key: &[u8]) -> String {
    match codec::decode_key(key, NAMED_MAX) {
        Ok(values) if !target.key.is_empty() => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            format!("({})", values.join(", "))
        }
        _ => Value::Blob(key.to_vec()).to_string(),
    }
}

/// The names of slots.
pub(super) fn columns(target: &Target, slots: impl Iterator<Item = u32>) -> String {
    let tags = target.sealer.iter().flat_map(|sealer| &sealer.slots);
    let cells: Vec<(u32, u32)> = tags.filter_map(|slot| Some((slot.tag?, slot.cell))).collect();
    let name = |slot: u32| {
        // An index on a sealed column is one on its tags.
        let slot = cells.iter().find(|(tag, _)| *tag == slot).map_or(slot, |(_, cell)| *cell);
        let column = target.columns.iter().find(|column| column.slot == slot);
        column.map_or("", |column| column.name.as_str())
    };
    slots.map(name).collect::<Vec<_>>().join(", ")
}

/// The error of a statement, and which rows stand in spite of it: those that may be written, and those that could not be
/// taken back, or were not.
pub(super) fn standing(target: &Target, failed: Error, unsure: &[Vec<u8>], standing: &[Vec<u8>]) -> Error {
    let mut message = failed.to_string();
    for (keys, what) in [(unsure, "may be written"), (standing, "could not be taken back and stand")] {
        if !keys.is_empty() {
            let list: Vec<String> = keys.iter().take(NAMED_MAX).map(|key| named(target, key)).collect();
            let more = if keys.len() > NAMED_MAX { ", .." } else { "" };
            let (count, table) = (keys.len(), &target.name);
            message.push_str(&format!("; {count} row(s) of \"{table}\" {what}: {}{more}", list.join(", ")));
        }
    }
    if unsure.is_empty() && standing.is_empty() {
        return failed;
    }
    // What stands would be done twice by a statement that begins anew.
    let code = if failed.code() == STALE_PLAN { SERIALIZATION } else { failed.code() };
    error(code, message)
}

/// The error of a key that is there already.
pub(super) fn duplicate(target: &Target, key: &[u8]) -> Error {
    let (key, name) = (named(target, key), &target.name);
    error(UNIQUE_VIOLATION, format!("duplicate key value {key} violates the primary key of \"{name}\""))
}

/// The error of values that are there already, in a unique index.
pub(super) fn violation(target: &Target, index: &Index) -> Error {
    let columns = columns(target, index.columns.iter().map(|(slot, _)| *slot));
    let (name, table) = (&index.name, &target.name);
    error(
        UNIQUE_VIOLATION,
        format!("duplicate key value of ({columns}) violates unique index \"{name}\" of \"{table}\""),
    )
}
