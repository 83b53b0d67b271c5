//! Values of columns: sealed into rows, carried with the key of their row, opened in results.
//!
//! A cell is the number of its epoch and what the epoch's key sealed: the value, about the table, the slot and the row's
//! key. So a cell that is put elsewhere does not open. NULL stays NULL. What a peer still sees: how long a cell is, where
//! NULLs are, and by tags which values are equal.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Keyring, Keys};
use crate::{
    Error,
    data::{Type, Value, codec},
    sql::fault::{INTERNAL, TAMPERED, fail},
    trust::Realm,
};

/// What a table's definition says of what it seals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sealing {
    /// The realm of its keyring.
    pub realm: Realm,
    /// The keyring's name.
    pub name: String,
    /// What is sealed.
    pub slots: Vec<Slot>,
    /// Columns that are added are sealed, too.
    pub every: bool,
    /// Columns have tags.
    pub tags: bool,
}

/// A sealed column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Where rows have its cell.
    pub cell: u32,
    /// Where they have its tag, if it has one.
    pub tag: Option<u32>,
}

/// What a cell is about.
fn about(namespace: &str, slot: u32, key: &[u8], epoch: u32) -> Vec<u8> {
    postcard::to_allocvec(&("pontoon cell", namespace, slot, key, epoch)).unwrap_or_default()
}

/// Seals what a statement writes into the rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealer {
    /// The keys.
    pub keyring: Arc<Keyring>,
    /// What is sealed.
    pub slots: Vec<Slot>,
    /// The statement's.
    pub random: u128,
}

impl Sealer {
    /// Puts cells and tags in the place of values of a stored row, where its key is, in the slots that `which` names.
    pub fn seal(
        &self,
        (namespace, key): (&str, &[u8]),
        row: &mut [Value],
        which: impl Fn(u32) -> bool,
    ) -> Result<(), Error> {
        let (epoch, Some(now)) = self.keyring.now() else { return fail(INTERNAL, "a keyring without a key") };
        for slot in self.slots.iter().filter(|slot| which(slot.cell)) {
            let Some(value) = row.get(slot.cell as usize).cloned() else { continue };
            if let Some(tag) = slot.tag.and_then(|tag| row.get_mut(tag as usize)) {
                *tag = self.keyring.tag(&value);
            }
            if value.is_null() {
                continue;
            }
            let plain = codec::encode_row(core::slice::from_ref(&value));
            let sealed = now.seal(&about(namespace, slot.cell, key, epoch), self.random, &plain);
            row[slot.cell as usize] = Value::Blob([&epoch.to_be_bytes()[..], &sealed].concat());
        }
        Ok(())
    }
}

/// A cell on its way to who opens it: the row where it was found goes along.
pub fn pack(cell: &Value, key: &[&Value]) -> Value {
    if cell.is_null() {
        return Value::Null;
    }
    let key: Vec<Value> = key.iter().map(|value| (*value).clone()).collect();
    Value::Blob(codec::encode_row(&[cell.clone(), Value::Blob(codec::encode_key(&key))]))
}

/// Opens the cells of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// The keys; only an open one opens.
    pub keys: Keys,
    /// The namespace of the table's rows.
    pub namespace: String,
    /// The column's slot.
    pub slot: u32,
    /// Table and column, for people.
    pub name: String,
    /// The type of the values.
    pub data_type: Type,
}

impl Opening {
    /// The value in a packed cell.
    pub fn open(&self, packed: &Value) -> Result<Value, Error> {
        if packed.is_null() {
            return Ok(Value::Null);
        }
        match self.opened(packed) {
            Some(value) => Ok(value),
            None => fail(TAMPERED, format!("a value of {} does not open: it is not what its author sealed", self.name)),
        }
    }

    fn opened(&self, packed: &Value) -> Option<Value> {
        let (Value::Blob(packed), Keys::Open(keyring)) = (packed, &self.keys) else { return None };
        let both = codec::decode_row(packed).ok()?;
        let [Value::Blob(cell), Value::Blob(key)] = &both[..] else { return None };
        let (epoch, sealed) = cell.split_first_chunk::<4>()?;
        let epoch = u32::from_be_bytes(*epoch);
        let plain = keyring.of(epoch)?.open(&about(&self.namespace, self.slot, key, epoch), sealed)?;
        let mut value = codec::decode_row(&plain[..]).ok()?;
        value.pop().filter(|value| value.data_type().map(Type::base) == Some(self.data_type.base()))
    }
}
