//! A maintained view: the rows of a query's sources are kept, and its result follows them.
//!
//! ```text
//!   Read, Changed ──▶ rows of each source, by key ──▶ the flow ──▶ result ──▶ what came and what went since it was told
//! ```
//!
//! Changes that come together are one step of the flow, of which most follows changes row by row ([`Incremental`]), and every
//! operator may be part. What is told is the difference of two results as multisets, so no change is told twice. Of a
//! result that is a list ([`Listed`]) and not cut that is what moved in it; else two results are compared.

use super::{
    dataflow::RESULT_ROWS_MAX,
    incremental::{Incremental, Stepped},
    listed::{Listed, Moved, same},
    ops::Batch,
    plan::{Flow, Op},
};
use crate::{
    Error, Id, Region,
    data::{Row, SignedRow, Value, codec},
    live::Watched,
    map::LargeMap,
    sql::{
        fault::{BUDGET, CORRUPTED, INTERNAL, fail},
        standing::Stand,
    },
};

/// Bytes of the rows of all sources of one view, about.
const BYTES_MAX: usize = 256 << 20;
/// Rows of all sources of one view.
const ROWS_MAX: usize = RESULT_ROWS_MAX;
/// Rows of a list whose moves are told; of more the results are compared.
const MOVES_MAX: u64 = if cfg!(test) { 6 } else { 1_024 };

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
    /// What was told last; of a list that tells what moves it is told once, then the list has it.
    rows: Vec<Row>,
    /// Whether the list has been told.
    told: bool,
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
    /// What makes of one list of rows the other, one after the other at ascending places; none: nothing is new.
    pub splices: Vec<Splice>,
    /// The rows that come with them, in their order; `None`: those are `added`.
    pub window: Option<Vec<Row>>,
}

/// From one place of a list on, so many rows take the place of so many others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Splice {
    /// Rows before that place.
    pub at: usize,
    /// Rows that go.
    pub gone: usize,
    /// Rows that take their place.
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
        let sources = sources.iter().map(kept).collect();
        Ok(View { flow, sources, bytes: 0, stale: true, rows, told: false, ordered })
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
        match (kept.rows.get(key), &row) {
            (None, None) => return,
            (Some((_, old)), Some(new)) if same(old, new) => return,
            _ => {}
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
        let rows = match (self.flow.step(changes)?, self.flow.list_mut()) {
            (Stepped::Rows(rows), _) => rows,
            (Stepped::Changes(changes), Some(list)) if self.told && list.whole() && few(&changes) => {
                let mut told = Vec::new();
                list.apply(changes, Some(&mut told))?;
                return Ok(moves(told));
            }
            (Stepped::Changes(changes), Some(list)) => {
                if self.told && list.whole() {
                    self.rows = list.shown()?;
                }
                list.apply(changes, None)?;
                list.shown()?
            }
            (Stepped::Changes(_), None) => return fail(INTERNAL, "changes of a list that is none"),
        };
        let difference = difference(&self.rows, &rows);
        self.told = true;
        if self.flow.list().is_some_and(Listed::whole) {
            // From now on the list has what was told.
            self.rows = Vec::new();
        } else if !self.ordered && difference.added.is_empty() && difference.removed.is_empty() {
            // At most in another order, which nobody asked for: what was told stays.
            return Ok(Difference::default());
        } else {
            self.rows = rows;
        }
        Ok(difference)
    }

    /// The result as it was told last.
    pub fn rows(&self) -> Result<Vec<Row>, Error> {
        match self.flow.list() {
            Some(list) if self.told && list.whole() => list.shown(),
            _ => Ok(self.rows.clone()),
        }
    }
}

fn few(changes: &[SignedRow]) -> bool {
    changes.iter().fold(0_u64, |sum, change| sum.saturating_add(change.weight.unsigned_abs())) <= MOVES_MAX
}

/// What moved in a list, as a difference.
fn moves(moved: Vec<Moved>) -> Difference {
    let mut splices: Vec<(Splice, Vec<Row>, Vec<Row>)> = Vec::new();
    for Moved { at, weight, row } in moved {
        // Behind the one before, most of the time: the same splice.
        if splices.last().is_none_or(|(last, ..)| at != last.at + last.came) {
            splices.push((Splice { at, ..Splice::default() }, Vec::new(), Vec::new()));
        }
        let Some((splice, goes, comes)) = splices.last_mut() else { continue };
        let (rows, count) = if weight > 0 { (comes, &mut splice.came) } else { (goes, &mut splice.gone) };
        rows.extend((0..weight.unsigned_abs()).map(|_| row.clone()));
        *count = rows.len();
    }
    // What is not shown of a row may change without it.
    splices.retain(|(_, goes, comes)| goes.len() != comes.len() || !goes.iter().zip(comes).all(|(a, b)| same(a, b)));
    let (mut gone, mut came) = (Vec::new(), Vec::new());
    let merge = |(splice, goes, comes)| {
        gone.extend::<Vec<Row>>(goes);
        came.extend::<Vec<Row>>(comes);
        splice
    };
    let splices: Vec<Splice> = splices.into_iter().map(merge).collect();
    let (added, removed) = (beyond(&came, &gone), beyond(&gone, &came));
    let window = (added.len() != came.len()).then_some(came);
    Difference { added, removed, splices, window }
}

/// Rows that there are more of than of the others.
fn beyond(rows: &[Row], others: &[Row]) -> Vec<Row> {
    let mut counts: LargeMap<Vec<u8>, usize> = LargeMap::default();
    for row in others {
        *counts.get_or_insert_with(codec::encode_row(row), || 0) += 1;
    }
    let more = |row: &&Row| match counts.get_mut(&codec::encode_row(row)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    rows.iter().filter(more).cloned().collect()
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
    let first = old.iter().zip(new).take_while(|(old, new)| same(old, new)).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| same(old, new)).count();
    let (old, new) = (&old[..old.len() - last], &new[..new.len() - last]);
    let splice = Splice { at: first, gone: old.len(), came: new.len() };
    let (added, removed) = (beyond(new, old), beyond(old, new));
    let window = (added.len() != new.len()).then(|| new.to_vec());
    let splices = if old.len() + new.len() == 0 { Vec::new() } else { vec![splice] };
    Difference { added, removed, splices, window }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        data::order::compare_rows,
        exec::{dataflow::Dataflow, ops::sort::SortKey, plan::Source},
        live::Delta,
        sql::{scalar::Scalar, standing::stand_entry},
    };

    fn rows(numbers: &[i64]) -> Vec<Row> {
        numbers.iter().map(|number| vec![Value::Integer(*number)]).collect()
    }

    /// A list after what is told of it.
    fn spliced(mut list: Vec<Row>, difference: &Difference) -> Vec<Row> {
        let mut window = difference.window.as_ref().unwrap_or(&difference.added).iter().cloned();
        let mut past = 0;
        for Splice { at, gone, came } in &difference.splices {
            assert!(*at >= past, "places ascend");
            past = at + came;
            drop(list.splice(*at..at + gone, window.by_ref().take(*came)));
        }
        assert_eq!(window.next(), None, "a row that came nowhere");
        list
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_one_to_the_other(
            old in prop::collection::vec(0_i64..5, 0..12),
            new in prop::collection::vec(0_i64..5, 0..12),
        ) {
            let difference = difference(&rows(&old), &rows(&new));
            prop_assert_eq!(spliced(rows(&old), &difference), rows(&new));
            let Difference { added, removed, .. } = difference;
            let count = |rows: &[Row], number: i64| rows.iter().filter(|row| row[0] == Value::Integer(number)).count();
            for number in 0..5 {
                let (was, is) = (count(&rows(&old), number), count(&rows(&new), number));
                prop_assert_eq!((count(&added, number), count(&removed, number)), (is.saturating_sub(was), was.saturating_sub(is)));
            }
        }

        #[test]
        fn what_moves_in_a_list_leads_to_what_the_flow_gives_anew(
            steps in prop::collection::vec(prop::collection::vec((0_u8..20, prop::option::of((value(), value()))), 0..9), 1..9),
            descending in any::<bool>(),
            shape in 0..6_u8,
            (skipped, count) in (0..3_u64, 0..6_u64),
            planned_again in 0..9_usize,
        ) {
            let key = |column| SortKey { column, descending, nulls_first: false };
            let sort = |count| Op::Sort(vec![key(1)], count);
            let project = || Op::Project(vec![Scalar::Column(0)]);
            let rest = match shape {
                0 => vec![],
                1 => vec![sort(None)],
                2 => vec![sort(None), project()],
                3 => vec![sort(Some(count + skipped)), Op::Limit(skipped, Some(count)), project()],
                4 => vec![Op::Limit(skipped, Some(count))],
                _ => vec![sort(None), Op::Limit(skipped, None)],
            };
            let flow = Flow([Op::Source(source())].into_iter().chain(rest).collect());
            let mut view = View::new(flow.clone(), &[stand()], Vec::new()).unwrap();
            prop_assert!(view.flow.list().is_some());
            let (mut records, mut told) = (LargeMap::default(), Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                let mut changed = step;
                if number == planned_again {
                    view = View::new(flow.clone(), &[stand()], view.rows().unwrap()).unwrap();
                    changed.splice(0..0, records.iter().map(|(key, row): (&Vec<u8>, &Option<Row>)| {
                        (key[0], row.as_ref().map(|row| (row[0].clone(), row[1].clone())))
                    }));
                }
                for (key, values) in changed {
                    let mut delta = Delta::default();
                    let row = values.map(|(a, b)| vec![a, b]);
                    match row.clone() {
                        Some(mut row) => {
                            row.push(Value::Blob(vec![key]));
                            delta.rows.push(row);
                        }
                        None => delta.gone.push(vec![key]),
                    }
                    records.insert(vec![key], row);
                    view.take_in(0, Watched::Changed(delta)).unwrap();
                }
                let difference = view.follow().unwrap();
                let before = told.len();
                told = spliced(told, &difference);
                prop_assert_eq!(difference.added.len() + before, difference.removed.len() + told.len());
                prop_assert_eq!(encoded(&view.rows().unwrap()), encoded(&told));
                let mut anew = Dataflow::new(flow.clone()).unwrap();
                let mut batch = Batch::default();
                let mut all: Vec<Row> = records.values().flatten().cloned().collect();
                all.sort_by(|a, b| compare_rows(a, b).then_with(|| codec::encode_row(a).cmp(&codec::encode_row(b))));
                all.into_iter().for_each(|row| batch.push(row, 1));
                anew.feed(0, batch).unwrap();
                anew.end(0, true).unwrap();
                let anew = anew.into_rows().unwrap();
                // Which of rows that compare as equal comes first, an order does not say.
                let alike = anew.iter().zip(&told).all(|(a, b)| compare_rows(a, b).is_eq());
                prop_assert!(anew.len() == told.len() && alike, "{anew:?}, {told:?}");
            }
        }
    }

    /// Values that compare as equal and are not are among them.
    fn value() -> impl Strategy<Value = Value> {
        prop::sample::select(vec![0.0, -0.0, f64::NAN, 1.0, 2.0, 3.0]).prop_map(Value::Real)
    }

    fn encoded(rows: &[Row]) -> Vec<Vec<u8>> {
        rows.iter().map(|row| codec::encode_row(row)).collect()
    }

    fn stand() -> Stand {
        stand_entry("t", 0)
    }

    fn source() -> Source {
        Source {
            fragment: stand().fragment,
            keys: None,
            index: None,
            name: "t".to_owned(),
            read: vec![0, 1],
            number: 0,
            after: None,
            scan: None,
            join: None,
        }
    }
}
