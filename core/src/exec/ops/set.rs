//! Two inputs as sets of rows: `UNION ALL`, `INTERSECT [ALL]`, `EXCEPT [ALL]`.
//!
//! ```text
//!   union all      rows of both sides as they come                                    state: none
//!   intersect all  min(l, r) of each row that appears l times left, r times right     state: every different row
//!   except all     max(l - r, 0)
//!   without all    a row counts once on the left and, for INTERSECT, on the right
//! ```
//!
//! `UNION` is `UNION ALL` with [`Distinct`](super::distinct::Distinct) above. NULL equals NULL here. What waits for both
//! sides emits in row order.

use super::{Batch, Operator};
use crate::{Error, data::order::Key, map::LargeMap, sql::ast::SetOp};

/// See the module's documentation.
pub struct Set {
    op: SetOp,
    all: bool,
    /// How often each row appears on either side.
    weights: LargeMap<Key, [i64; 2]>,
    ended: [bool; 2],
    /// Rows of the right side are missing.
    lacks: bool,
}

impl Set {
    /// The operation; with `all` rows keep their multiplicity.
    pub fn new(op: SetOp, all: bool) -> Set {
        Set { op, all, weights: LargeMap::new(), ended: [false; 2], lacks: false }
    }
}

impl Operator for Set {
    fn on_batch(&mut self, port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error> {
        if self.op == SetOp::Union {
            out.rows.extend(batch.rows);
            return Ok(());
        }
        for signed in batch.rows {
            let weight = &mut self.weights.get_or_insert_with(Key(signed.row), || [0; 2])[port];
            *weight = weight.saturating_add(signed.weight);
        }
        Ok(())
    }

    fn on_lack(&mut self, port: usize) {
        self.lacks |= port == 1;
    }

    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        self.ended[port] = true;
        // Of what is missing some may be what would be left.
        if self.ended != [true; 2] || self.op == SetOp::Except && self.lacks {
            return Ok(());
        }
        for (Key(row), [left, right]) in core::mem::take(&mut self.weights) {
            let (left, right) = (left.max(0), right.max(0));
            let weight = match (self.op, self.all) {
                (SetOp::Except, true) => (left - right).max(0),
                (SetOp::Except, false) => i64::from(left > 0 && right == 0),
                (_, true) => left.min(right),
                (_, false) => left.min(right).min(1),
            };
            if weight > 0 {
                out.push(row, weight);
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("set operation", self.weights.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Value;

    fn run(op: SetOp, all: bool) -> Vec<(i64, i64)> {
        let (mut set, mut out) = (Set::new(op, all), Batch::default());
        for (port, rows) in [&[(1, 3), (2, 1), (3, 2)][..], &[(1, 2), (3, 5), (4, 1)]].into_iter().enumerate() {
            let mut batch = Batch::default();
            rows.iter().for_each(|(number, weight)| batch.push(vec![Value::Integer(*number)], *weight));
            set.on_batch(port, batch, &mut out).unwrap();
            set.on_end(port, &mut out).unwrap();
        }
        let number = |row: &[Value]| if let Value::Integer(number) = row[0] { number } else { panic!("{row:?}") };
        out.rows.iter().map(|signed| (number(&signed.row), signed.weight)).collect()
    }

    #[test]
    fn multiplicities_are_those_of_the_standard() {
        assert_eq!(run(SetOp::Intersect, true), [(1, 2), (3, 2)]);
        assert_eq!(run(SetOp::Intersect, false), [(1, 1), (3, 1)]);
        assert_eq!(run(SetOp::Except, true), [(1, 1), (2, 1)]);
        assert_eq!(run(SetOp::Except, false), [(2, 1)]);
        assert_eq!(run(SetOp::Union, true).iter().map(|(_, weight)| weight).sum::<i64>(), 14);
    }
}
