//! A result as a list in order that follows changes of its rows: where the rest of a flow only orders, cuts and projects.
//!
//! Changes are sorted and merged into the list, each at a place that a search finds: nothing is compared but what changes.
//! Of a result that is cut (LIMIT, OFFSET) only the rows within are looked at. Rows that the order leaves equal are in the
//! order of all their values, as [`Sort`](super::ops::sort::Sort) has it, and those that compare as equal but are not
//! (`1.0`, `1.00`) in the order of their encodings.

use core::cmp::Ordering;

use super::{
    dataflow::RESULT_ROWS_MAX,
    incremental::HELD_MAX,
    ops::{
        project::project,
        sort::{SortKey, compare_by},
    },
    plan::Op,
};
use crate::{
    Error,
    data::{Row, SignedRow, Value, codec},
    sql::{
        fault::{BUDGET, INTERNAL, fail},
        scalar::Scalar,
    },
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Listed {
    keys: Vec<SortKey>,
    /// Rows that are not shown before those that are, and how many are; `None`: all are shown.
    window: Option<(usize, usize)>,
    /// What is shown of a row; `None`: all of it.
    exprs: Option<Vec<Scalar>>,
    /// All rows, in order.
    rows: Vec<Row>,
}

/// Equal rows that came to a place of a list or went from there.
#[derive(Debug)]
pub struct Moved {
    /// The place, ascending from one to the next, after those before.
    pub at: usize,
    /// How many came; below 0, how many went.
    pub weight: i64,
    /// Each of them, as it is shown.
    pub row: Row,
}

impl Listed {
    /// The list that a flow over one source makes, if it is one.
    pub fn of(rest: &[Op]) -> Option<Listed> {
        let (Op::Source(_), mut rest) = rest.split_first()? else { return None };
        let mut listed = Listed { keys: Vec::new(), window: None, exprs: None, rows: Vec::new() };
        if let Some((Op::Sort(keys, count), more)) = rest.split_first() {
            (listed.keys, rest) = (keys.clone(), more);
            listed.window = count.map(|count| (0, index(count)));
        }
        if let Some((Op::Limit(skipped, count), more)) = rest.split_first() {
            let most = listed.window.map_or(usize::MAX, |(_, most)| most.saturating_sub(index(*skipped)));
            listed.window = Some((index(*skipped), count.map_or(usize::MAX, index).min(most)));
            rest = more;
        }
        if let Some((Op::Project(exprs), more)) = rest.split_first() {
            (listed.exprs, rest) = (Some(exprs.clone()), more);
        }
        rest.is_empty().then_some(listed)
    }

    /// How many rows it holds.
    pub fn held(&self) -> usize {
        self.rows.len()
    }

    /// Whether all its rows are shown.
    pub fn whole(&self) -> bool {
        self.window.is_none()
    }

    /// Takes in changes of its rows, none twice; an error changes nothing. What moved is added to `told`.
    pub fn apply(&mut self, mut changes: Vec<SignedRow>, mut told: Option<&mut Vec<Moved>>) -> Result<(), Error> {
        changes.sort_unstable_by(|a, b| compare(&self.keys, &a.row, &b.row));
        let (mut places, mut from, mut length) = (Vec::with_capacity(changes.len()), 0, self.rows.len());
        for SignedRow { row, weight } in &changes {
            from += self.rows[from..].partition_point(|other| compare(&self.keys, other, row).is_lt());
            let gone = if *weight < 0 { index(weight.unsigned_abs()) } else { 0 };
            let equal = |other: &Row| compare(&self.keys, other, row).is_eq();
            if gone > 0
                && !from
                    .checked_add(gone)
                    .and_then(|to| self.rows.get(from..to))
                    .is_some_and(|all| all.iter().all(equal))
            {
                return fail(INTERNAL, "a row goes that never came");
            }
            length =
                length.saturating_sub(gone).saturating_add(if *weight > 0 { index(weight.unsigned_abs()) } else { 0 });
            places.push((from, gone));
            from += gone;
        }
        let (most, what) =
            if self.whole() { (RESULT_ROWS_MAX, "a result of") } else { (HELD_MAX, "a live query that holds") };
        if length > most {
            return fail(BUDGET, format!("{what} more than {most} rows"));
        }
        let mut rows = Vec::with_capacity(length);
        let (mut old, mut taken) = (core::mem::take(&mut self.rows).into_iter(), 0);
        for (SignedRow { row, weight }, (from, gone)) in changes.into_iter().zip(places) {
            rows.extend(old.by_ref().take(from - taken));
            old.by_ref().take(gone).for_each(drop);
            taken = from + gone;
            if let Some(told) = &mut told {
                told.push(Moved { at: rows.len(), weight, row: row.clone() });
            }
            if weight > 0 {
                rows.extend(core::iter::repeat_n(row, index(weight.unsigned_abs())));
            }
        }
        rows.extend(old);
        self.rows = rows;
        for Moved { row, .. } in told.into_iter().flatten() {
            if let Some(exprs) = &self.exprs {
                *row = project(exprs, row)?;
            }
        }
        Ok(())
    }

    /// The rows that are shown.
    pub fn shown(&self) -> Result<Vec<Row>, Error> {
        let (skipped, count) = self.window.unwrap_or((0, usize::MAX));
        let show = |row: &Row| match &self.exprs {
            Some(exprs) => project(exprs, row),
            None => Ok(row.clone()),
        };
        self.rows.iter().skip(skipped).take(count).map(show).collect()
    }
}

/// Whether two rows are one and the same: `0.0` and `-0.0` are not, and NaN is itself.
pub fn same(a: &Row, b: &Row) -> bool {
    let alike = |(a, b): (&Value, &Value)| match (a, b) {
        (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    };
    a.len() == b.len() && a.iter().zip(b).all(alike)
}

fn compare(keys: &[SortKey], a: &Row, b: &Row) -> Ordering {
    compare_by(keys, a, b).then_with(|| codec::encode_row(a).cmp(&codec::encode_row(b)))
}

fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
