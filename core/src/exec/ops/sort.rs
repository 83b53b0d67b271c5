//! Puts rows in order, and keeps only the first of them if asked to (top-k).
//!
//! ```text
//!   rows ──▶ held, cut back to the best `count` whenever twice as many are held ──▶ at the end: in order
//! ```
//!
//! Rows that the keys leave equal are ordered by all their values: the answer is then the same however the rows are
//! spread over peers. Equal rows add their weights up.

use core::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::{Batch, COLUMNS, Operator};
use crate::{
    Error,
    data::{
        SignedRow, Value,
        order::{compare, compare_rows},
    },
};

/// One key of an order: a column of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortKey {
    /// Position in the row.
    pub column: u32,
    /// Largest first.
    pub descending: bool,
    /// NULLs before everything else, or after.
    pub nulls_first: bool,
}

impl SortKey {
    fn compare(&self, a: &[Value], b: &[Value]) -> Ordering {
        // A row that is too short (a hostile one) counts as NULL there.
        let at = |row: &'_ [Value]| row.get(self.column as usize).is_none_or(Value::is_null);
        match (at(a), at(b)) {
            (true, true) => Ordering::Equal,
            (true, false) if self.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if self.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let order = compare(&a[self.column as usize], &b[self.column as usize]);
                if self.descending { order.reverse() } else { order }
            }
        }
    }
}

/// Compares two rows by keys, and by all their values where the keys leave them equal.
pub fn compare_by(keys: &[SortKey], a: &[Value], b: &[Value]) -> Ordering {
    keys.iter()
        .map(|key| key.compare(a, b))
        .find(|order| *order != Ordering::Equal)
        .unwrap_or_else(|| compare_rows(a, b))
}

/// Sorts rows, adds up the weights of equal ones and keeps the first `count` (a row of weight w counts as w).
pub fn sort_and_cut(rows: &mut Vec<SignedRow>, keys: &[SortKey], count: Option<u64>) {
    // Rows that compare as equal are equal, so nothing has to be stable: where a download counts, a heap is less code.
    if COLUMNS {
        rows.sort_by(|a, b| compare_by(keys, &a.row, &b.row));
    } else {
        heap_sort(rows, keys);
    }
    consolidate(rows);
    if let Some(count) = count {
        cut(rows, count);
    }
}

/// A row that knows the order.
struct Ranked<'a>(SignedRow, &'a [SortKey]);

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_by(self.1, &self.0.row, &other.0.row)
    }
}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked<'_> {}

fn heap_sort(rows: &mut Vec<SignedRow>, keys: &[SortKey]) {
    let heap: BinaryHeap<Ranked<'_>> = rows.drain(..).map(|row| Ranked(row, keys)).collect();
    rows.extend(heap.into_sorted_vec().into_iter().map(|ranked| ranked.0));
}

/// Adds up the weights of equal neighbours and drops what comes to nothing.
pub fn consolidate(rows: &mut Vec<SignedRow>) {
    rows.dedup_by(|later, earlier| {
        let equal = compare_rows(&later.row, &earlier.row) == Ordering::Equal;
        if equal {
            earlier.weight = earlier.weight.saturating_add(later.weight);
        }
        equal
    });
    rows.retain(|signed| signed.weight != 0);
}

/// Keeps the first `count` rows, weights counted.
pub fn cut(rows: &mut Vec<SignedRow>, count: u64) {
    let mut room = i64::try_from(count).unwrap_or(i64::MAX);
    rows.retain_mut(|signed| {
        signed.weight = signed.weight.min(room);
        room -= signed.weight.max(0);
        signed.weight != 0
    });
}

/// See the module's documentation.
pub struct Sort {
    keys: Vec<SortKey>,
    count: Option<u64>,
    rows: Vec<SignedRow>,
}

impl Sort {
    /// Sorts by `keys`; with `count`, keeps only the first so many rows.
    pub fn new(keys: Vec<SortKey>, count: Option<u64>) -> Sort {
        Sort { keys, count, rows: Vec::new() }
    }
}

impl Operator for Sort {
    fn on_batch(&mut self, _port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        self.rows.extend(batch.rows);
        if let Some(count) = self.count
            && self.rows.len() as u64 > count.saturating_mul(2).saturating_add(1_024)
        {
            sort_and_cut(&mut self.rows, &self.keys, Some(count));
        }
        Ok(())
    }

    fn on_end(&mut self, _port: usize, out: &mut Batch) -> Result<(), Error> {
        sort_and_cut(&mut self.rows, &self.keys, self.count);
        out.rows.append(&mut self.rows);
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        (if self.count.is_some() { "top-k" } else { "sort" }, self.rows.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(keys: Vec<SortKey>, count: Option<u64>, numbers: &[Option<i64>]) -> Vec<Option<i64>> {
        let (mut sort, mut out) = (Sort::new(keys, count), Batch::default());
        for number in numbers {
            let mut batch = Batch::default();
            batch.push(vec![number.map_or(Value::Null, Value::Integer)], 1);
            sort.on_batch(0, batch, &mut out).unwrap();
        }
        sort.on_end(0, &mut out).unwrap();
        let number = |signed: &SignedRow| match signed.row[0] {
            Value::Integer(number) => vec![Some(number); signed.weight as usize],
            _ => vec![None; signed.weight as usize],
        };
        out.rows.iter().flat_map(number).collect()
    }

    #[test]
    fn directions_and_nulls() {
        let key = |descending, nulls_first| vec![SortKey { column: 0, descending, nulls_first }];
        let input = [Some(2), None, Some(1), Some(3), Some(2)];
        assert_eq!(sorted(key(false, false), None, &input), [Some(1), Some(2), Some(2), Some(3), None]);
        assert_eq!(sorted(key(true, true), None, &input), [None, Some(3), Some(2), Some(2), Some(1)]);
        assert_eq!(sorted(key(true, false), Some(3), &input), [Some(3), Some(2), Some(2)]);
    }

    #[test]
    fn a_heap_gives_the_same_order() {
        let key = |column, descending| SortKey { column, descending, nulls_first: descending };
        let value = |number: i64| if number % 11 == 0 { Value::Null } else { Value::Integer(number) };
        let row = |at: i64| vec![value(at * 7_919 % 13), value(at * 104_729 % 97)];
        let mut rows: Vec<SignedRow> = (0..2_000).map(|at| SignedRow { row: row(at), weight: 1 }).collect();
        let (mut other, keys) = (rows.clone(), [key(0, true), key(1, false)]);
        rows.sort_by(|a, b| compare_by(&keys, &a.row, &b.row));
        heap_sort(&mut other, &keys);
        assert_eq!(other, rows);
    }

    #[test]
    fn top_k_of_many_is_the_head_of_the_sort() {
        let numbers: Vec<_> = (0..5_000_i64).map(|number| Some(number * 7_919 % 5_000)).collect();
        let key = vec![SortKey { column: 0, descending: false, nulls_first: false }];
        assert_eq!(sorted(key, Some(3), &numbers), [Some(0), Some(1), Some(2)]);
    }
}
