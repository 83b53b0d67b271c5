//! A maintained view: the rows of a query's sources are kept, and its result follows them.
//!
//! ```text
//!   Read, Changed ──▶ rows of each source, by key ──▶ the flow ──▶ result ──▶ what came and what went since it was told
//! ```
//!
//! Changes that come together are one step of the flow, of which most follows changes row by row ([`Incremental`]), and every
//! operator may be part. What is told is the difference of two results as multisets, so no change is told twice.

use super::{
    dataflow::RESULT_ROWS_MAX,
    incremental::Incremental,
    ops::Batch,
    plan::{Flow, Op},
};
use crate::{
    Error, Id, Region,
    data::{Row, SignedRow, Value, codec},
    live::Watched,
    map::LargeMap,
    sql::{
        fault::{BUDGET, CORRUPTED, fail},
        standing::Stand,
    },
};

/// Bytes of the rows of all sources of one view, about.
const BYTES_MAX: usize = 256 << 20;
/// Rows of all sources of one view.
const ROWS_MAX: usize = RESULT_ROWS_MAX;

/// The rows of one source.
struct Kept {
    namespace: String,
    locality_bits: u8,
    /// By the key of the record: where it lives, and the row.
    rows: LargeMap<Vec<u8>, (Id, Row)>,
    /// What changed of them since the last step.
    changes: Vec<SignedRow>,
}

/// See the module's documentation.
pub struct View {
    flow: Incremental,
    sources: Vec<Kept>,
    bytes: usize,
    /// Whether the sources have changed since the result was made.
    stale: bool,
    rows: Vec<Row>,
    /// Whether somebody asked for an order.
    ordered: bool,
}

/// Rows that came and rows that went, each as often as it did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// In the order of the result as it is.
    pub added: Vec<Row>,
    /// In the order of the result as it was.
    pub removed: Vec<Row>,
    /// Rows came or went, or stand in another order than before, where one was asked for.
    pub moved: bool,
    /// Where the two lists of rows differ.
    pub splice: Splice,
}

/// What makes of one list of rows another: from one place on, so many rows in place of so many others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Splice {
    /// Rows before that place, the same in both.
    pub at: usize,
    /// Rows of the old list that go.
    pub gone: usize,
    /// Rows of the new list that take their place.
    pub came: usize,
}

impl View {
    /// The view of a flow, whose sources have no rows yet; `rows` are those that were told last.
    pub fn new(flow: Flow, sources: &[Stand], rows: Vec<Row>) -> Result<View, Error> {
        let kept = |stand: &Stand| Kept {
            namespace: stand.fragment.namespace().to_owned(),
            locality_bits: stand.fragment.locality_bits(),
            rows: LargeMap::default(),
            changes: Vec::new(),
        };
        let ordered = flow.0.iter().any(|op| matches!(op, Op::Sort(..)));
        let flow = Incremental::new(flow)?;
        Ok(View { flow, sources: sources.iter().map(kept).collect(), bytes: 0, stale: true, rows, ordered })
    }

    /// Takes in what came of a source.
    pub fn take_in(&mut self, source: usize, event: Watched) -> Result<(), Error> {
        match event {
            Watched::Read { regions, batch } => self.read(source, &regions, batch)?,
            Watched::Changed(delta) => {
                delta.gone.iter().for_each(|key| self.set(source, key, None));
                for row in delta.rows {
                    let (key, row) = keyed(row)?;
                    self.set(source, &key, Some(row));
                }
            }
            Watched::Covered { .. } => return Ok(()),
            Watched::Failed(fault) => return Err(fault.into()),
        }
        if self.bytes > BYTES_MAX || self.sources.iter().map(|kept| kept.rows.len()).sum::<usize>() > ROWS_MAX {
            return fail(BUDGET, format!("a live query over more than {ROWS_MAX} rows or {BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// Regions are as they were read.
    fn read(&mut self, source: usize, regions: &[Region], batch: Batch) -> Result<(), Error> {
        let Some(kept) = self.sources.get(source) else { return Ok(()) };
        let within = |id: &Id| regions.iter().any(|region| region.contains(id));
        let mut given = LargeMap::default();
        for signed in batch.by_row().rows {
            let (key, row) = keyed(signed.row)?;
            if within(&Id::object(&kept.namespace, &key, kept.locality_bits)) {
                given.insert(key, row);
            }
        }
        let gone = kept.rows.iter().filter(|(key, (id, _))| within(id) && given.get(&key[..]).is_none());
        let gone: Vec<Vec<u8>> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| self.set(source, key, None));
        for (key, row) in given.iter() {
            self.set(source, key, Some(row.clone()));
        }
        Ok(())
    }

    fn set(&mut self, source: usize, key: &[u8], row: Option<Row>) {
        let Some(kept) = self.sources.get_mut(source) else { return };
        if kept.rows.get(key).map(|(_, old)| old) == row.as_ref() {
            return;
        }
        self.stale = true;
        let old = match row {
            Some(row) => {
                let id = Id::object(&kept.namespace, key, kept.locality_bits);
                self.bytes += size(key, &row);
                kept.changes.push(SignedRow { row: row.clone(), weight: 1 });
                kept.rows.insert(key.to_vec(), (id, row))
            }
            None => kept.rows.remove(key),
        };
        if let Some((_, row)) = old {
            self.bytes -= size(key, &row);
            kept.changes.push(SignedRow { row, weight: -1 });
        }
    }

    /// What came and went since the last time.
    pub fn follow(&mut self) -> Result<Difference, Error> {
        if !core::mem::take(&mut self.stale) {
            return Ok(Difference::default());
        }
        let changes = self.sources.iter_mut().map(|kept| core::mem::take(&mut kept.changes)).collect();
        let old = core::mem::replace(&mut self.rows, self.flow.step(changes)?);
        let moved = self.ordered && old != self.rows;
        Ok(Difference { moved, ..difference(&old, &self.rows) })
    }

    /// The result as it was told last.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The same, taken out.
    pub fn into_rows(self) -> Vec<Row> {
        self.rows
    }
}

/// A row and the key of its record, which stands last.
fn keyed(mut row: Row) -> Result<(Vec<u8>, Row), Error> {
    match row.pop() {
        Some(Value::Blob(key)) => Ok((key, row)),
        _ => fail(CORRUPTED, "a row without the key of its record"),
    }
}

fn size(key: &[u8], row: &Row) -> usize {
    64 + key.len() + row.iter().map(Value::bytes).sum::<usize>()
}

/// What one list of rows has beyond the other, both ways.
fn difference(old: &[Row], new: &[Row]) -> Difference {
    // Most of it is the same, and where it was.
    let first = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - last], &new[..new.len() - last]);
    let splice = Splice { at: first, gone: old.len(), came: new.len() };
    let mut counts: LargeMap<Vec<u8>, usize> = LargeMap::default();
    for row in old {
        *counts.get_or_insert_with(codec::encode_row(row), || 0) += 1;
    }
    let mut take = |row: &&Row| match counts.get_mut(&codec::encode_row(row)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let added = new.iter().filter(&mut take).cloned().collect();
    // What is left over went; of equal rows the first ones.
    let removed = old.iter().filter(|row| !take(row)).cloned().collect();
    Difference { added, removed, moved: false, splice }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_difference_leads_from_one_to_the_other(
            old in prop::collection::vec(0_i64..5, 0..12),
            new in prop::collection::vec(0_i64..5, 0..12),
        ) {
            let rows = |numbers: &[i64]| numbers.iter().map(|number| vec![Value::Integer(*number)]).collect::<Vec<_>>();
            let Difference { added, removed, splice: Splice { at, gone, came }, .. } = difference(&rows(&old), &rows(&new));
            let mut spliced = rows(&old);
            spliced.splice(at..at + gone, rows(&new)[at..at + came].to_vec());
            prop_assert_eq!(spliced, rows(&new));
            let count = |rows: &[Row], number: i64| rows.iter().filter(|row| row[0] == Value::Integer(number)).count();
            for number in 0..5 {
                let (was, is) = (count(&rows(&old), number), count(&rows(&new), number));
                prop_assert_eq!((count(&added, number), count(&removed, number)), (is.saturating_sub(was), was.saturating_sub(is)));
            }
        }
    }
}
