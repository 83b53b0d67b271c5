//! Indexes of tables: which entries a row has in them, and which entries a range of values is.
//!
//! An index is a prefix hash tree ([`pht`](crate::pht)). The key of an entry is made of the indexed values, each in the
//! order-preserving encoding of keys and turned round where the column descends, and then of the row's key, so that rows
//! of equal values stand beside each other; its value is the row's key. In a unique index the indexed values alone are the
//! key, unless one of them is NULL. A key that would be too long for the tree ends in its hash.

use serde::{Deserialize, Serialize};

use crate::{
    Id,
    data::{Value, codec},
    pht::node::KEY_MAX,
};

/// Bytes of an entry's key that are not its hash.
const PLAIN_MAX: usize = KEY_MAX / 2;
/// Rows that an entry may name.
pub const ROWS_MAX: usize = 4;
/// Indexes that a table may have.
pub const INDEXES_MAX: usize = 50;
/// Columns that an index may have.
pub const INDEX_COLUMNS_MAX: usize = 32;

/// An index, as the details of its table keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The slots of its columns, each with whether it descends.
    pub columns: Vec<(u32, bool)>,
    /// The slot where a row keeps the stamp of its entry; a row that was there before the index has none.
    pub stamp: u32,
    /// The namespace of its tree.
    pub namespace: String,
    /// Whether no two rows may have the same values, unless one of these is NULL.
    pub unique: bool,
    /// Whether it has all rows: until then it is written, and not read.
    pub ready: bool,
}

impl Index {
    /// The key of the entry of a row.
    pub fn key(&self, row: &[Value], row_key: &[u8]) -> Vec<u8> {
        let value = |slot: u32| row.get(slot as usize).unwrap_or(&Value::Null);
        let mut key = Vec::new();
        for (slot, descending) in &self.columns {
            key.extend(encode(value(*slot), *descending));
        }
        if !self.unique || self.columns.iter().any(|(slot, _)| value(*slot).is_null()) {
            key.extend_from_slice(row_key);
        }
        if key.len() > PLAIN_MAX {
            let hash = Id::hash(&key);
            key.truncate(PLAIN_MAX);
            key.extend_from_slice(&hash.0);
        }
        key
    }

    /// The stamp that a row's entry has.
    pub fn stamp_of(&self, row: &[Value]) -> u64 {
        match row.get(self.stamp as usize) {
            Some(Value::Integer(stamp)) => *stamp as u64,
            _ => 0,
        }
    }

    /// The namespace of the tree of a new index: `generation` and `number` tell it from every other;
    /// `realm` is what the names of its realm end in.
    pub fn place(&mut self, table: &str, generation: u128, number: usize, realm: Option<String>) {
        let realm = realm.unwrap_or_default();
        self.namespace = format!("pontoon.index.{table}.{generation:032x}.{number}{realm}");
    }
}

/// The value of an entry: the key of its row, while a row moves to another key that of the row as it was, and those of rows
/// whose entry it was before.
pub fn rows_to_value(rows: &[&[u8]]) -> Vec<u8> {
    postcard::to_allocvec(rows).unwrap_or_default()
}

/// The keys of the rows that an entry stands for.
pub fn value_to_rows(value: &[u8]) -> Vec<Vec<u8>> {
    let rows: Vec<Vec<u8>> = postcard::from_bytes(value).unwrap_or_default();
    if rows.len() > ROWS_MAX { Vec::new() } else { rows }
}

/// A value as a part of an entry's key.
pub fn encode(value: &Value, descending: bool) -> Vec<u8> {
    turned(codec::encode_key(core::slice::from_ref(value)), descending)
}

/// What the keys of entries begin with that have these values, each with whether it descends, after `begin`: of a long
/// one only what no hash takes the place of. The second says whether that is all of it.
pub fn position<'a>(begin: &[u8], values: impl Iterator<Item = (&'a Value, bool)>) -> (Vec<u8>, bool) {
    let mut position = begin.to_vec();
    values.for_each(|(value, descending)| position.extend(encode(value, descending)));
    let whole = position.len() < PLAIN_MAX;
    position.truncate(PLAIN_MAX);
    (position, whole)
}

fn turned(mut bytes: Vec<u8>, descending: bool) -> Vec<u8> {
    if descending {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    bytes
}

/// The least that is above everything that begins so; `None`: nothing is.
pub fn next(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return Some(prefix);
        }
    }
    None
}

/// A range of keys: from the first on, before the second.
pub type KeyRange = (Vec<u8>, Option<Vec<u8>>);

/// The entries that begin so and go on with a value from `low` on and before `high`, both encoded as if ascending.
pub fn range(begin: &[u8], low: Vec<u8>, high: Vec<u8>, descending: bool) -> KeyRange {
    let (from, to) = if descending {
        // What is from `low` on is, turned round, what begins with it or is less.
        (next(turned(high, true)).unwrap_or_default(), next(turned(low, true)))
    } else {
        (low, Some(high))
    };
    let from = [begin, &from].concat();
    let to = to.map_or_else(|| next(begin.to_vec()), |to| Some([begin, &to].concat()));
    cut(from, to)
}

/// The entries that begin so.
pub fn beginning(begin: Vec<u8>) -> KeyRange {
    let to = next(begin.clone());
    cut(begin, to)
}

/// Of keys longer than others the beginning counts only: what a hash stands for is looked at.
fn cut(mut from: Vec<u8>, to: Option<Vec<u8>>) -> KeyRange {
    from.truncate(PLAIN_MAX);
    let to = to.and_then(|mut to| {
        if to.len() <= PLAIN_MAX {
            return Some(to);
        }
        to.truncate(PLAIN_MAX);
        next(to)
    });
    (from, to)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::order::compare;

    fn index(unique: bool, descending: bool) -> Index {
        let columns = vec![(0, descending), (1, false)];
        Index { name: "i".into(), columns, stamp: 2, namespace: "n".into(), unique, ready: true }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::Integer), (-3i64..3).prop_map(Value::Integer),]
    }

    fn text() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[\u{0}ab\u{ff}]{0,4}".prop_map(Value::Text),
            Just(Value::Text("a".repeat(700))),
            Just(Value::Text("a".repeat(700) + "b")),
        ]
    }

    proptest! {
        #[test]
        fn entries_stand_in_the_order_of_their_values(a in value(), b in value(), c in text(), d in text(), turn: bool) {
            let index = index(false, turn);
            let (one, other) = (index.key(&[a.clone(), c.clone()], b"one"), index.key(&[b.clone(), d.clone()], b"other"));
            prop_assert!(!one.starts_with(&other) && !other.starts_with(&one));
            let first = compare(&a, &b);
            let values = if turn { first.reverse() } else { first }.then_with(|| compare(&c, &d));
            // Of long texts only the beginning is in order.
            if !values.is_eq() && [&c, &d].iter().all(|text| text.bytes() < 100) {
                prop_assert_eq!(one.cmp(&other), values);
            }
        }

        #[test]
        fn a_range_has_what_lies_in_it(low in -3i64..3, high in -3i64..4, a in value(), text in text(), turn: bool) {
            let index = index(false, turn);
            let encoded = |number| encode(&Value::Integer(number), false);
            let (from, to) = range(&[], encoded(low), encoded(high), turn);
            let key = index.key(&[a.clone(), text], b"row");
            let inside = matches!(a, Value::Integer(a) if (low..high).contains(&a));
            prop_assert_eq!(key >= from && to.is_none_or(|to| key < to), inside);
        }

        #[test]
        fn what_begins_so_is_found(a in text(), b in text()) {
            let index = index(true, false);
            let (from, to) = beginning(encode(&a, false));
            let key = index.key(&[b.clone(), Value::Integer(1)], b"row");
            let inside = key >= from && to.is_none_or(|to| key < to);
            prop_assert!(inside || compare(&a, &b).is_ne());
            if a.bytes() < 100 {
                prop_assert_eq!(inside, compare(&a, &b).is_eq());
            }
        }
    }

    #[test]
    fn unique_entries_are_one_for_all_rows_unless_a_value_is_null() {
        let index = index(true, false);
        let row = [Value::Integer(1), Value::Integer(2)];
        assert_eq!(index.key(&row, b"a"), index.key(&row, b"b"));
        let row = [Value::Integer(1), Value::Null];
        assert_ne!(index.key(&row, b"a"), index.key(&row, b"b"));
    }
}
