//! Joins two inputs, inner, left or full, on equal keys and perhaps a further condition.
//!
//! ```text
//!   left  (port 0) ──▶ kept by key ──▶ looked up among the right rows kept so far ─┐
//!                                                                                  ├─▶ left ++ right × (wl · wr)
//!   right (port 1) ──▶ kept by key ──▶ looked up among the left rows kept so far ──┘
//!   both ended, left and full join: left rows that never matched ──▶ left ++ NULLs
//!              full join:           right rows that never matched ──▶ NULLs ++ right
//! ```
//!
//! A symmetric hash join (Wilschut and Apers, *Dataflow query execution in a parallel main-memory environment*, 1991):
//! pairs come out as soon as both halves are there, whichever side is slow. NULL keys match nothing, unless the plan
//! says that NULL equals NULL. Without keys every pair is tried (a nested loop). The product of weights makes it
//! bilinear, hence incremental; unmatched rows are decided at the end.

use core::mem::take;

use super::{Batch, Operator};
use crate::{
    Error,
    exec::{
        columns::{Column, Columns, Made},
        plan::{Join, JoinKind, On},
        table::Table,
        vector::{evaluate_all, select},
    },
    sql::{
        fault::{BUDGET, INTERNAL, fail},
        scalar::Scalar,
    },
};

/// Pairs that one join makes at most.
pub const PAIRS_MAX: u64 = 50_000_000;
/// Pairs that are made at once.
const PAIRS_AT_ONCE: usize = 4_096;
/// No further row.
const END: u32 = u32::MAX;

/// The rows of one side.
#[derive(Default)]
struct Side {
    rows: Columns,
    /// For each row: the next one of its key, and whether it matched.
    next: Vec<u32>,
    matched: Vec<bool>,
    /// Finds a key by its hash.
    table: Table,
    /// The different keys, a column for each expression; and the first and the last row of each.
    keys: Vec<Column>,
    ends: Vec<(u32, u32)>,
    /// Rows that are not looked up, of a side whose rows all come out.
    lonely: Columns,
}

/// See the module's documentation.
pub struct HashJoin {
    kind: JoinKind,
    on: On,
    widths: [usize; 2],
    sides: [Side; 2],
    ended: [bool; 2],
    /// The sides of which rows are missing: nobody knows what has no match there.
    lacks: [bool; 2],
    pairs: u64,
}

impl Side {
    /// The key that equals that of a row.
    fn find(&self, keys: &[Made<'_>], hash: u64, at: usize) -> Option<usize> {
        self.table.find(hash, |entry| self.keys.iter().zip(keys).all(|(held, key)| held.same(entry, key, at)))
    }

    fn keep(&mut self, rows: Columns, keys: &[Made<'_>], hashes: &[u64], matched: Vec<bool>) -> Result<(), Error> {
        self.keys.resize(keys.len(), Column::default());
        for (at, hash) in hashes.iter().enumerate() {
            let row = self.next.len() as u32;
            self.next.push(END);
            match self.find(keys, *hash, at) {
                Some(entry) => {
                    let (_, last) = &mut self.ends[entry];
                    self.next[*last as usize] = row;
                    *last = row;
                }
                None => {
                    self.keys.iter_mut().zip(keys).for_each(|(held, key)| held.push(key.cell(at)));
                    self.table.insert(*hash);
                    self.ends.push((row, row));
                }
            }
        }
        self.matched.extend(matched);
        self.rows.append(rows)
    }
}

impl HashJoin {
    /// The join that a plan describes.
    pub fn new(join: Join) -> HashJoin {
        let left = Side::default();
        let right = Side { table: left.table.like(), ..Side::default() };
        HashJoin {
            kind: join.kind,
            on: join.on,
            widths: join.widths,
            sides: [left, right],
            ended: [false; 2],
            lacks: [false; 2],
            pairs: 0,
        }
    }

    /// Whether rows of a side come out that match nothing.
    fn preserves(&self, port: usize) -> bool {
        self.kind == JoinKind::Full || self.kind == JoinKind::Left && port == 0
    }

    fn exprs(&self, port: usize) -> &[Scalar] {
        if port == 0 { &self.on.left } else { &self.on.right }
    }

    fn absorb(&mut self, port: usize, mut rows: Columns, out: &mut Batch) -> Result<(), Error> {
        if rows.width() != self.widths[port] {
            return fail(INTERNAL, "rows of another width than the join's");
        }
        let keys = evaluate_all(self.exprs(port), &rows)?;
        let strict = |(index, key): &(usize, &Made<'_>)| key.nullable() && self.on.null_safe.get(*index) != Some(&true);
        let strict: Vec<&Made<'_>> = keys.iter().enumerate().filter(strict).map(|(_, key)| key).collect();
        if !strict.is_empty() {
            let nothing = |at: &u32| strict.iter().any(|key| key.cell(*at as usize).is_null());
            let (lonely, places): (Vec<u32>, Vec<u32>) = (0..rows.len() as u32).partition(nothing);
            drop(keys);
            if self.preserves(port) {
                self.sides[port].lonely.append(rows.take(&lonely))?;
            }
            rows = rows.take(&places);
        }
        let keys = evaluate_all(self.exprs(port), &rows)?;
        let hashes = self.sides[port].table.hash(&keys, rows.len());
        let mut matched = vec![false; rows.len()];
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        let probed = if self.sides[1 - port].table.is_empty() { &[][..] } else { &hashes };
        for (at, hash) in probed.iter().enumerate() {
            let other = &self.sides[1 - port];
            let mut row = other.find(&keys, *hash, at).map_or(END, |entry| other.ends[entry].0);
            while row != END {
                mine.push(at as u32);
                theirs.push(row);
                row = self.sides[1 - port].next[row as usize];
                if mine.len() >= PAIRS_AT_ONCE {
                    self.pair(port, &rows, (&mine, &theirs), &mut matched, out)?;
                    mine.clear();
                    theirs.clear();
                }
            }
        }
        self.pair(port, &rows, (&mine, &theirs), &mut matched, out)?;
        // Nothing will look it up any more: only an outer join must remember it.
        if !self.ended[1 - port] {
            let keys: Vec<Made<'_>> = keys.into_iter().map(|key| Made::Owned(key.into_owned())).collect();
            self.sides[port].keep(rows, &keys, &hashes, matched)?;
        } else if self.preserves(port) {
            let places: Vec<u32> = (0..rows.len() as u32).filter(|at| !matched[*at as usize]).collect();
            self.sides[port].lonely.append(rows.take(&places))?;
        }
        Ok(())
    }

    /// Makes pairs of rows and of those of the other side; those for which the condition is true match.
    fn pair(
        &mut self,
        port: usize,
        rows: &Columns,
        (mine, theirs): (&[u32], &[u32]),
        matched: &mut [bool],
        out: &mut Batch,
    ) -> Result<(), Error> {
        // A side that has no rows yet has no columns either.
        if mine.is_empty() {
            return Ok(());
        }
        self.pairs += mine.len() as u64;
        if self.pairs > PAIRS_MAX {
            return fail(BUDGET, format!("a join of more than {PAIRS_MAX} pairs"));
        }
        let other = &mut self.sides[1 - port];
        let (rows, others) = (rows.take(mine), other.rows.take(theirs));
        let mut joined = if port == 0 { rows.beside(others) } else { others.beside(rows) };
        let mut matches = |at: usize| {
            matched[mine[at] as usize] = true;
            other.matched[theirs[at] as usize] = true;
        };
        match &self.on.residual {
            None => (0..mine.len()).for_each(matches),
            Some(residual) => {
                let places = select(residual, &joined)?;
                places.iter().for_each(|at| matches(*at as usize));
                joined = joined.take(&places);
            }
        }
        out.push_columns(joined);
        Ok(())
    }
}

impl Operator for HashJoin {
    fn by_column(&self) -> bool {
        true
    }

    fn on_batch(&mut self, port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error> {
        batch.into_columns()?.into_iter().try_for_each(|rows| self.absorb(port, rows, out))
    }

    fn on_lack(&mut self, port: usize) {
        self.lacks[port] = true;
    }

    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        self.ended[port] = true;
        if self.ended != [true; 2] {
            return Ok(());
        }
        for port in [0, 1] {
            if !self.preserves(port) || self.lacks[1 - port] {
                continue;
            }
            let Side { rows, matched, lonely, .. } = take(&mut self.sides[port]);
            let places: Vec<u32> = (0..rows.len() as u32).filter(|at| !matched[*at as usize]).collect();
            for rows in [rows.take(&places), lonely] {
                let nulls = Columns::nulls(self.widths[1 - port], rows.len());
                out.push_columns(if port == 0 { rows.beside(nulls) } else { nulls.beside(rows) });
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("hash join", self.sides.iter().map(|side| side.rows.len() + side.lonely.len()).sum())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        data::{SignedRow, Value, order::compare_rows},
        exec::{
            eval::truth,
            ops::project::project,
            vector::tests::{rows, scalar, shown},
        },
    };

    fn side(rows: &[(Option<i64>, i64)]) -> Batch {
        let mut batch = Batch::default();
        for (key, number) in rows {
            batch.push(vec![key.map_or(Value::Null, Value::Integer), Value::Integer(*number)], 1);
        }
        batch
    }

    /// Joins on the first column, the sides arriving in either order.
    fn run(kind: JoinKind, residual: Option<Scalar>, right_first: bool) -> Vec<String> {
        let left = side(&[(Some(1), 10), (Some(2), 20), (None, 30), (Some(2), 21)]);
        let right = side(&[(Some(2), 200), (Some(3), 300), (None, 400), (Some(2), 201)]);
        let keys = || vec![Scalar::Column(0)];
        let on = On { left: keys(), right: keys(), null_safe: vec![false], residual };
        let (mut join, mut out) = (HashJoin::new(Join { kind, on, widths: [2, 2] }), Batch::default());
        let mut order = [(0, left), (1, right)];
        if right_first {
            order.reverse();
        }
        for (port, batch) in order {
            join.on_batch(port, batch, &mut out).unwrap();
            join.on_end(port, &mut out).unwrap();
        }
        let out = out.by_row();
        let mut rows: Vec<String> =
            out.rows.iter().map(|signed| format!("{} {}", signed.row[1], signed.row[3])).collect();
        rows.sort();
        rows
    }

    #[test]
    fn either_side_may_come_first() {
        for right_first in [false, true] {
            let inner = run(JoinKind::Inner, None, right_first);
            assert_eq!(inner, ["20 200", "20 201", "21 200", "21 201"]);
            let left = run(JoinKind::Left, None, right_first);
            assert_eq!(left, ["10 NULL", "20 200", "20 201", "21 200", "21 201", "30 NULL"]);
            let full = run(JoinKind::Full, None, right_first);
            let mut expected = left;
            expected.extend(["NULL 300".to_owned(), "NULL 400".to_owned()]);
            assert_eq!(full, expected);
        }
    }

    #[test]
    fn a_left_row_that_fails_the_condition_everywhere_is_unmatched() {
        let condition = Scalar::Binary(
            crate::sql::ast::BinaryOp::Eq,
            crate::data::Nested::new(Scalar::Column(1)),
            crate::data::Nested::new(Scalar::Literal(Value::Integer(20))),
        );
        for right_first in [false, true] {
            let left = run(JoinKind::Left, Some(condition.clone()), right_first);
            assert_eq!(left, ["10 NULL", "20 200", "20 201", "21 NULL", "30 NULL"]);
        }
    }

    proptest! {
        #[test]
        fn columns_are_joined_as_rows_are(
            left in rows(30),
            right in rows(30),
            kind in prop_oneof![Just(JoinKind::Inner), Just(JoinKind::Left), Just(JoinKind::Full)],
            keys in prop::collection::vec((0_u32..3, 0_u32..3, any::<bool>()), 0..3),
            residual in prop::option::of(scalar()),
            order in prop::collection::vec(any::<bool>(), 0..12),
        ) {
            let on = On {
                left: keys.iter().map(|key| Scalar::Column(key.0)).collect(),
                right: keys.iter().map(|key| Scalar::Column(key.1)).collect(),
                null_safe: keys.iter().map(|key| key.2).collect(),
                residual,
            };
            let expected = nested_loop(kind, &on, [&left, &right]);
            let found = || {
                let (mut join, mut out) = (HashJoin::new(Join { kind, on: on.clone(), widths: [3, 3] }), Batch::default());
                let mut parts = [left.chunks(5), right.chunks(5)];
                for port in order.iter().map(|right| usize::from(*right)) {
                    let mut batch = Batch::default();
                    batch.push_columns(Columns::of(parts[port].next().unwrap_or_default().to_vec())?);
                    join.on_batch(port, batch, &mut out)?;
                }
                for port in [0, 1] {
                    for part in parts[port].by_ref() {
                        join.on_batch(port, Batch { rows: part.to_vec(), ..Batch::default() }, &mut out)?;
                    }
                    join.on_end(port, &mut out)?;
                }
                let mut rows = shown(&out.by_row().rows);
                rows.sort();
                Ok::<_, Error>(rows)
            };
            // Which of several errors comes first depends on what arrives first.
            prop_assert_eq!(found().ok(), expected.ok());
        }
    }

    /// What a join is, pair by pair.
    fn nested_loop(kind: JoinKind, on: &On, [left, right]: [&[SignedRow]; 2]) -> Result<Vec<String>, Error> {
        let (mut out, mut met) = (Vec::new(), [vec![false; left.len()], vec![false; right.len()]]);
        for (at, a) in left.iter().enumerate() {
            for (other, b) in right.iter().enumerate() {
                let (x, y) = (project(&on.left, &a.row)?, project(&on.right, &b.row)?);
                let row = [&a.row[..], &b.row].concat();
                if on.matches_nothing(&x) || compare_rows(&x, &y).is_ne() {
                    continue;
                }
                if on.residual.as_ref().is_none_or(|residual| matches!(truth(residual, &row), Ok(Some(true)))) {
                    (met[0][at], met[1][other]) = (true, true);
                    out.push(SignedRow { row, weight: a.weight * b.weight });
                } else if let Some(residual) = &on.residual {
                    truth(residual, &row)?;
                }
            }
        }
        let nulls = || vec![Value::Null; 3];
        let alone = |side: usize| {
            let preserved = kind == JoinKind::Full || kind == JoinKind::Left && side == 0;
            let rows = [left, right][side].iter().zip(&met[side]);
            rows.filter(move |(_, met)| preserved && !**met).map(|(signed, _)| signed.clone())
        };
        out.extend(alone(0).map(|signed| SignedRow { row: [signed.row, nulls()].concat(), ..signed }));
        out.extend(alone(1).map(|signed| SignedRow { row: [nulls(), signed.row].concat(), ..signed }));
        let mut rows = shown(&out);
        rows.sort();
        Ok(rows)
    }
}
