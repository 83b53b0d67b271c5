//! Rows, keys and records as they are stored and sent.

use pontoon_core::{
    data::{
        Row, Value,
        cell::Cell,
        codec::{decode_columns, decode_key, decode_row, encode_key, encode_row, visit_columns},
        order::compare_rows,
    },
    store::{Record, Store, disk},
};

/// Columns that a key is read for.
const COLUMNS_MAX: usize = 64;

pub(crate) fn row(input: &[u8]) {
    if let Ok(key) = decode_key(input, COLUMNS_MAX) {
        key_comes_back(&key);
    }
    let Ok(row) = decode_row(input) else { return };
    let encoded = encode_row(&row);
    assert_eq!(encode_row(&decode_row(&encoded).expect("what was encoded")), encoded);
    columns_are_those(&encoded, &row);
    key_comes_back(&row);
    let (a, b) = row.split_at(row.len() / 2);
    if a.iter().zip(b).all(|(a, b)| a.data_type() == b.data_type()) && a.len() == b.len() {
        assert_eq!(encode_key(a).cmp(&encode_key(b)), compare_rows(a, b));
    }
}

fn key_comes_back(row: &[Value]) {
    let key = encode_key(row);
    let back = decode_key(&key, row.len()).expect("what was encoded");
    assert!(compare_rows(row, &back).is_eq(), "{row:?} {back:?}");
    assert_eq!(encode_key(&back), key);
}

/// One column at a time, borrowed or owned, is what all of them at once are.
fn columns_are_those(encoded: &[u8], row: &[Value]) {
    let wanted: Vec<u32> = (0..row.len() as u32).filter(|at| at % 3 != 1).collect();
    let (owned, _) = decode_columns(encoded, &wanted, &[]).expect("a row");
    let mut seen = Vec::new();
    visit_columns(encoded, &wanted, &[], |_, cell: Cell<'_>| seen.push(Value::from(cell))).expect("a row");
    let expected: Row = wanted.iter().map(|at| row[*at as usize].clone()).collect();
    assert_eq!(encode_row(&owned), encode_row(&expected));
    assert_eq!(encode_row(&seen), encode_row(&expected));
}

pub(crate) fn record(input: &[u8]) {
    let mut store = Store::new(1_000_000);
    // Whatever lies on a disk.
    store.restore(&input[..input.len() / 2], &input[input.len() / 2..]);
    assert_eq!(store.damaged(), 1);
    let Ok(record) = postcard::from_bytes::<Record>(input) else { return };
    let key = disk::record_key(&record.namespace, &record.key);
    let sealed = disk::seal(&key, &record);
    assert_eq!(disk::open::<Record>(&key, &sealed).as_ref(), Some(&record));
    store.restore(&key, &sealed);
    assert_eq!((store.len(), store.damaged()), (1, 1));
    assert_eq!(store.get(&record.namespace, &record.key), Some(&record));
    let earlier = record.earlier(record.version.wall_us);
    assert!(earlier.len() <= record.earlier.len().max(16));
    assert!(record.descends(&record.version) && !record.conflicts(&record));
}
