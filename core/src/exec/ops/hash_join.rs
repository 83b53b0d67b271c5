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

use super::{Batch, Operator, project::project};
use crate::{
    Error,
    data::{Row, SignedRow, Value, order::Key},
    exec::{
        eval::truth,
        plan::{Join, JoinKind, On},
    },
    map::LargeMap,
    sql::fault::{BUDGET, fail},
};

/// Pairs that one join makes at most.
pub const PAIRS_MAX: u64 = 50_000_000;

struct Kept {
    signed: SignedRow,
    matched: bool,
}

/// See the module's documentation.
pub struct HashJoin {
    kind: JoinKind,
    on: On,
    widths: [usize; 2],
    kept: [LargeMap<Key, Vec<Kept>>; 2],
    /// Rows with a NULL key, of a side whose rows all come out.
    lonely: [Vec<SignedRow>; 2],
    ended: [bool; 2],
    pairs: u64,
}

impl HashJoin {
    /// The join that a plan describes.
    pub fn new(join: Join) -> HashJoin {
        HashJoin {
            kind: join.kind,
            on: join.on,
            widths: join.widths,
            kept: [LargeMap::new(), LargeMap::new()],
            lonely: [Vec::new(), Vec::new()],
            ended: [false; 2],
            pairs: 0,
        }
    }

    /// Whether rows of a side come out that match nothing.
    fn preserves(&self, port: usize) -> bool {
        self.kind == JoinKind::Full || self.kind == JoinKind::Left && port == 0
    }

    fn absorb(&mut self, port: usize, signed: SignedRow, out: &mut Batch) -> Result<(), Error> {
        let key = project(if port == 0 { &self.on.left } else { &self.on.right }, &signed.row)?;
        if self.on.matches_nothing(&key) {
            if self.preserves(port) {
                self.lonely[port].push(signed);
            }
            return Ok(());
        }
        let key = Key(key);
        let mut matched = false;
        if let Some(others) = self.kept[1 - port].get_mut(&key) {
            self.pairs += others.len() as u64;
            if self.pairs > PAIRS_MAX {
                return fail(BUDGET, "a join of too many pairs");
            }
            for other in others {
                let (left, right) = if port == 0 { (&signed, &other.signed) } else { (&other.signed, &signed) };
                let row: Row = left.row.iter().chain(&right.row).cloned().collect();
                if match &self.on.residual {
                    Some(residual) => truth(residual, &row)? == Some(true),
                    None => true,
                } {
                    out.push(row, left.weight.saturating_mul(right.weight));
                    other.matched = true;
                    matched = true;
                }
            }
        }
        // Nothing will look it up any more: only an outer join must remember it.
        if !self.ended[1 - port] || self.preserves(port) && !matched {
            self.kept[port].get_or_insert_with(key, Vec::new).push(Kept { signed, matched });
        }
        Ok(())
    }
}

impl Operator for HashJoin {
    fn on_batch(&mut self, port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error> {
        batch.rows.into_iter().try_for_each(|signed| self.absorb(port, signed, out))
    }

    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        self.ended[port] = true;
        if self.ended != [true; 2] {
            return Ok(());
        }
        for side in [0, 1] {
            if !self.preserves(side) {
                continue;
            }
            let kept = core::mem::take(&mut self.kept[side]).into_iter().flat_map(|(_, kept)| kept);
            let unmatched = kept.filter(|kept| !kept.matched).map(|kept| kept.signed);
            for SignedRow { row, weight } in unmatched.chain(core::mem::take(&mut self.lonely[side])) {
                let nulls = core::iter::repeat_n(Value::Null, self.widths[1 - side]);
                let row = if side == 0 { row.into_iter().chain(nulls).collect() } else { nulls.chain(row).collect() };
                out.push(row, weight);
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("hash join", self.kept.iter().flat_map(LargeMap::values).map(Vec::len).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::scalar::Scalar;

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
}
