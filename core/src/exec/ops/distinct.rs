//! Equal rows become one.
//!
//! ```text
//!   at an owner (partial):  r × 1, r × 2, s × 1 ──▶ r × 3, s × 1      weights add up: linear, so parts combine
//!   at the asker (final):   r × 3, s × 1, t × 0 ──▶ r × 1, s × 1      what has a positive weight appears once
//! ```
//!
//! State: every different row with its weight. Emits at the end, in row order.

use super::{Batch, Operator};
use crate::{Error, data::order::Key, map::LargeMap};

/// See the module's documentation.
pub struct Distinct {
    weights: LargeMap<Key, i64>,
    partial: bool,
}

impl Distinct {
    /// Adds up weights only (`partial`), or also brings them to one.
    pub fn new(partial: bool) -> Distinct {
        Distinct { weights: LargeMap::new(), partial }
    }
}

impl Operator for Distinct {
    fn on_batch(&mut self, _port: usize, batch: Batch, _out: &mut Batch) -> Result<(), Error> {
        for signed in batch.rows {
            let weight = self.weights.get_or_insert_with(Key(signed.row), || 0);
            *weight = weight.saturating_add(signed.weight);
        }
        Ok(())
    }

    fn on_end(&mut self, _port: usize, out: &mut Batch) -> Result<(), Error> {
        for (key, weight) in core::mem::take(&mut self.weights) {
            if self.partial && weight != 0 {
                out.push(key.0, weight);
            } else if weight > 0 {
                out.push(key.0, 1);
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("distinct", self.weights.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Value;

    fn run(partial: bool, weights: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let (mut distinct, mut input, mut out) = (Distinct::new(partial), Batch::default(), Batch::default());
        weights.iter().for_each(|(number, weight)| input.push(vec![Value::Integer(*number)], *weight));
        distinct.on_batch(0, input, &mut out).unwrap();
        assert!(out.is_empty());
        distinct.on_end(0, &mut out).unwrap();
        let number = |row: &[Value]| if let Value::Integer(number) = row[0] { number } else { panic!("{row:?}") };
        out.rows.iter().map(|signed| (number(&signed.row), signed.weight)).collect()
    }

    #[test]
    fn weights_add_up_and_come_to_one() {
        let input = [(2, 1), (1, 1), (2, 2), (3, 1), (3, -1)];
        assert_eq!(run(true, &input), [(1, 1), (2, 3)]);
        assert_eq!(run(false, &input), [(1, 1), (2, 1)]);
    }
}
