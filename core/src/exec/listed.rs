//! A result as a list in order that follows changes of its rows: where the rest of a flow only orders, cuts and projects.
//!
//! A row's place is found by a search, so a change costs what it moves, not what is there. Of a result that is cut
//! (LIMIT, OFFSET) only the rows within are looked at. Rows that the order leaves equal are in the order of all their
//! values, as [`Sort`](super::ops::sort::Sort) has it, and those that compare as equal but are not (`1.0`, `1.00`) in the
//! order of their encodings.

use core::cmp::Ordering;

use super::{
    dataflow::RESULT_ROWS_MAX,
    ops::{
        project::project,
        sort::{SortKey, compare_by, sort},
    },
    plan::Op,
};
use crate::{
    Error,
    data::{Row, SignedRow, codec},
    sql::{
        fault::{BUDGET, INTERNAL, fail},
        scalar::Scalar,
    },
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Listed {
    keys: Vec<SortKey>,
    /// Whether somebody asked for an order.
    pub ordered: bool,
    /// Rows that are not shown before those that are, and how many are; `None`: all are shown.
    window: Option<(usize, usize)>,
    /// What is shown of a row; `None`: all of it.
    exprs: Option<Vec<Scalar>>,
    /// All rows, in order.
    rows: Vec<Row>,
}

/// A row that came to a place of a list, or went from there.
#[derive(Debug)]
pub struct Moved {
    /// The place, at that moment: changes before this one are done, those behind it are not.
    pub at: usize,
    /// Whether the row came; else it went.
    pub came: bool,
    /// The row as it is shown.
    pub row: Row,
}

impl Listed {
    /// The list that a flow over one source makes, if it is one.
    pub fn of(rest: &[Op]) -> Option<Listed> {
        let (Op::Source(_), mut rest) = rest.split_first()? else { return None };
        let mut listed = Listed { keys: Vec::new(), ordered: false, window: None, exprs: None, rows: Vec::new() };
        if let Some((Op::Sort(keys, count), more)) = rest.split_first() {
            (listed.keys, listed.ordered, rest) = (keys.clone(), true, more);
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

    /// Takes in changes of its rows, each one once. Tells what moved where all rows are shown.
    pub fn apply(&mut self, mut changes: Vec<SignedRow>) -> Result<Vec<Moved>, Error> {
        sort(&mut changes, &self.keys);
        let mut told = Vec::new();
        for SignedRow { row, weight } in changes {
            for _ in 0..weight.unsigned_abs() {
                let at = self.rows.partition_point(|other| compare(&self.keys, other, &row) == Ordering::Less);
                let came = weight > 0;
                if came {
                    if self.rows.len() >= RESULT_ROWS_MAX {
                        return fail(BUDGET, format!("a result of more than {RESULT_ROWS_MAX} rows"));
                    }
                    self.rows.insert(at, row.clone());
                } else if self.rows.get(at).is_some_and(|other| compare(&self.keys, other, &row) == Ordering::Equal) {
                    self.rows.remove(at);
                } else {
                    return fail(INTERNAL, "a row goes that never came");
                }
                if self.whole() {
                    told.push(Moved { at, came, row: self.show(&row)? });
                }
            }
        }
        Ok(told)
    }

    /// The rows that are shown.
    pub fn shown(&self) -> Result<Vec<Row>, Error> {
        let (skipped, count) = self.window.unwrap_or((0, usize::MAX));
        self.rows.iter().skip(skipped).take(count).map(|row| self.show(row)).collect()
    }

    fn show(&self, row: &Row) -> Result<Row, Error> {
        match &self.exprs {
            Some(exprs) => project(exprs, row),
            None => Ok(row.clone()),
        }
    }
}

fn compare(keys: &[SortKey], a: &Row, b: &Row) -> Ordering {
    compare_by(keys, a, b)
        .then_with(|| if a == b { Ordering::Equal } else { codec::encode_row(a).cmp(&codec::encode_row(b)) })
}

fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
