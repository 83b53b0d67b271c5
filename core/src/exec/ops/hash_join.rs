//! Joins two inputs, inner or left, on equal keys and perhaps a further condition.
//!
//! ```text
//!   left  (port 0) ──▶ kept by key ──▶ looked up among the right rows kept so far ─┐
//!                                                                                  ├─▶ left ++ right × (wl · wr)
//!   right (port 1) ──▶ kept by key ──▶ looked up among the left rows kept so far ──┘
//!   both ended, left join only: left rows that never matched ──▶ left ++ NULLs
//! ```
//!
//! A symmetric hash join (Wilschut and Apers, *Dataflow query execution in a parallel main-memory environment*, 1991):
//! pairs come out as soon as both halves are there, whichever side is slow. NULL keys match nothing. Without keys every
//! pair is tried (a nested loop). The product of weights makes it bilinear, hence incremental; unmatched left rows
//! are decided at the end.

use super::{Batch, Operator, project::project};
use crate::{
    Error,
    data::{Row, SignedRow, Value, order::Key},
    exec::{eval::truth, plan::Join},
    map::LargeMap,
    sql::{
        ast::JoinKind,
        fault::{BUDGET, fail},
        scalar::Scalar,
    },
};

/// Pairs that one join makes at most.
const PAIRS_MAX: u64 = 50_000_000;

struct Kept {
    signed: SignedRow,
    matched: bool,
}

/// See the module's documentation.
pub struct HashJoin {
    kind: JoinKind,
    /// Equal pairs of expressions: over a left row, over a right row.
    keys: [Vec<Scalar>; 2],
    /// Must be true over the joined row.
    residual: Option<Scalar>,
    right_width: usize,
    kept: [LargeMap<Key, Vec<Kept>>; 2],
    /// Left rows with a NULL key.
    lonely: Vec<SignedRow>,
    ended: [bool; 2],
    pairs: u64,
}

impl HashJoin {
    /// The join that a plan describes.
    pub fn new(join: Join) -> HashJoin {
        HashJoin {
            kind: join.kind,
            keys: [join.left, join.right],
            residual: join.residual,
            right_width: join.right_width,
            kept: [LargeMap::new(), LargeMap::new()],
            lonely: Vec::new(),
            ended: [false; 2],
            pairs: 0,
        }
    }

    fn absorb(&mut self, port: usize, signed: SignedRow, out: &mut Batch) -> Result<(), Error> {
        let key = project(&self.keys[port], &signed.row)?;
        if key.iter().any(Value::is_null) {
            if port == 0 && self.kind == JoinKind::Left {
                self.lonely.push(signed);
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
                if match &self.residual {
                    Some(residual) => truth(residual, &row)? == Some(true),
                    None => true,
                } {
                    out.push(row, left.weight.saturating_mul(right.weight));
                    other.matched = true;
                    matched = true;
                }
            }
        }
        // Nothing will look it up any more: only a left join must remember it.
        if !self.ended[1 - port] || port == 0 && self.kind == JoinKind::Left && !matched {
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
        if self.ended != [true; 2] || self.kind != JoinKind::Left {
            return Ok(());
        }
        let kept = core::mem::take(&mut self.kept[0]).into_iter().flat_map(|(_, kept)| kept);
        let unmatched = kept.filter(|kept| !kept.matched).map(|kept| kept.signed);
        for mut signed in unmatched.chain(core::mem::take(&mut self.lonely)) {
            signed.row.resize(signed.row.len() + self.right_width, Value::Null);
            out.rows.push(signed);
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
        let (mut join, mut out) =
            (HashJoin::new(Join { kind, left: keys(), right: keys(), residual, right_width: 2 }), Batch::default());
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
