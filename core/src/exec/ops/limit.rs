//! Lets some rows pass: `OFFSET skip LIMIT count`.
//!
//! ```text
//!   rows ──▶ the first `skip` are dropped ──▶ the next `count` pass ──▶ the rest is dropped
//! ```
//!
//! A row of weight w counts as w rows. Which rows pass depends on the order of arrival, so it follows a sort where
//! the order matters. Rows of negative weight are refused: taking away from a prefix needs the whole order, which a
//! live query keeps in its top-k.

use super::{Batch, Operator};
use crate::{
    Error,
    sql::fault::{UNSUPPORTED, fail},
};

/// See the module's documentation.
pub struct Limit {
    skip: u64,
    count: u64,
}

impl Limit {
    /// Drops `skip` rows, then lets `count` pass.
    pub fn new(skip: u64, count: u64) -> Limit {
        Limit { skip, count }
    }
}

impl Operator for Limit {
    fn on_batch(&mut self, _port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error> {
        for mut signed in batch.rows {
            let Ok(mut times) = u64::try_from(signed.weight) else {
                return fail(UNSUPPORTED, "LIMIT over rows that disappear");
            };
            let skipped = times.min(self.skip);
            self.skip -= skipped;
            times = (times - skipped).min(self.count);
            self.count -= times;
            if times > 0 {
                signed.weight = times as i64;
                out.rows.push(signed);
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("limit", 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Value;

    #[test]
    fn weights_count_as_rows() {
        let (mut limit, mut input, mut out) = (Limit::new(2, 3), Batch::default(), Batch::default());
        [(1, 1), (2, 3), (3, 5)].iter().for_each(|(number, weight)| input.push(vec![Value::Integer(*number)], *weight));
        limit.on_batch(0, input, &mut out).unwrap();
        let weights: Vec<i64> = out.rows.iter().map(|signed| signed.weight).collect();
        assert_eq!(weights, [2, 1]);
    }
}
