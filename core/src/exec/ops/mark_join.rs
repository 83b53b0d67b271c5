//! Looks at the rows of a subquery for each row: `EXISTS`, `IN`, `ANY`, `ALL`, and subqueries that are values.
//!
//! ```text
//!   right (port 1) ──▶ kept by key
//!   left  (port 0) ──▶ kept until the right side has ended ──▶ the right rows of its key are looked at ──┐
//!     semi    the left row, if it is true for one of them                                                ├──▶
//!     anti    the left row, if it is false for all of them, neither true nor unknown                     │
//!     mark    left ++ TRUE, FALSE or NULL                                                                │
//!     single  left ++ the value of the only one, NULL without one; an error when there are more          ┘
//! ```
//!
//! The mark join of Neumann, Leis and Kemper (*The Complete Story of Joins (in HyPer)*, BTW 2017). A comparison
//! (`x IN ..`) is three-valued: unknown where no row makes it true and one leaves it unknown. Equality is looked up
//! among the values of a key, other comparisons and further conditions look at each row.

use super::{Batch, Operator, hash_join::PAIRS_MAX, project::project, sort};
use crate::{
    Error,
    data::{
        Row, SignedRow, Value,
        order::{Key, compare},
    },
    exec::{
        eval::{compared, eval, truth},
        plan::{self, MarkKind},
    },
    map::{LargeMap, Set},
    sql::{
        ast::BinaryOp,
        fault::{BUDGET, CARDINALITY, fail},
    },
};

/// The right rows of a key.
#[derive(Default)]
struct Candidates {
    rows: Vec<SignedRow>,
    /// For `=` without a further condition: the different values, and whether NULL is among them.
    values: Option<(Set<Key>, bool)>,
}

/// See the module's documentation.
pub struct MarkJoin {
    join: plan::MarkJoin,
    left: Vec<SignedRow>,
    right: LargeMap<Key, Candidates>,
    /// Whether rows of the right side were taken away.
    retracted: bool,
    ended: [bool; 2],
    /// Rows of the right side are missing: nobody knows that nothing there is true.
    lacks: bool,
    pairs: u64,
}

impl MarkJoin {
    /// The join that a plan describes.
    pub fn new(join: plan::MarkJoin) -> MarkJoin {
        MarkJoin {
            join,
            left: Vec::new(),
            right: LargeMap::new(),
            retracted: false,
            ended: [false; 2],
            lacks: false,
            pairs: 0,
        }
    }

    /// All right rows are there.
    fn settle(&mut self) -> Result<(), Error> {
        let lookup = match (&self.join.compare, &self.join.on.residual) {
            (Some((_, BinaryOp::Eq, value)), None) => Some(value),
            _ => None,
        };
        if !self.retracted && lookup.is_none() {
            return Ok(());
        }
        for (key, mut candidates) in core::mem::take(&mut self.right) {
            if self.retracted {
                sort::sort_and_cut(&mut candidates.rows, &[], None);
                candidates.rows.retain(|signed| signed.weight > 0);
            }
            if let Some(value) = lookup {
                let values = candidates.rows.iter().map(|signed| Ok(eval(value, &signed.row)?.into_owned()));
                let values = values.collect::<Result<Vec<_>, Error>>()?;
                let unknown = values.iter().any(Value::is_null);
                let known = values.into_iter().filter(|value| !value.is_null()).map(|value| Key(vec![value]));
                candidates = Candidates { values: Some((known.collect(), unknown)), rows: candidates.rows };
            }
            if !candidates.rows.is_empty() {
                self.right.insert(key, candidates);
            }
        }
        Ok(())
    }

    fn decide(&mut self, signed: SignedRow, out: &mut Batch) -> Result<(), Error> {
        let SignedRow { mut row, weight } = signed;
        let key = project(&self.join.on.left, &row)?;
        let found = if self.join.on.matches_nothing(&key) { None } else { self.right.get(&Key(key)) };
        let pairs = &mut self.pairs;
        if let MarkKind::Single(column) = self.join.kind {
            let value = match found {
                Some(found) => single(&self.join, column, &row, found, pairs)?,
                None => Value::Null,
            };
            row.push(value);
            out.push(row, weight);
            return Ok(());
        }
        let answer = match found {
            Some(found) => answer(&self.join, &row, found, pairs)?,
            None => Some(false),
        };
        let stays = match self.join.kind {
            MarkKind::Semi => answer == Some(true),
            MarkKind::Anti => answer == Some(false) && !self.lacks,
            _ => {
                row.push(answer.map_or(Value::Null, Value::Boolean));
                true
            }
        };
        if stays {
            out.push(row, weight);
        }
        Ok(())
    }
}

/// The right rows that meet the further condition together with a left row.
fn matching<'a>(
    join: &'a plan::MarkJoin,
    left: &'a [Value],
    found: &'a Candidates,
    pairs: &'a mut u64,
) -> impl Iterator<Item = Result<&'a SignedRow, Error>> {
    let mut joined: Row = left.to_vec();
    found.rows.iter().filter_map(move |right| {
        *pairs += 1;
        if *pairs > PAIRS_MAX {
            return Some(fail(BUDGET, format!("a subquery that looks at more than {PAIRS_MAX} pairs of rows")));
        }
        let Some(residual) = &join.on.residual else { return Some(Ok(right)) };
        joined.truncate(left.len());
        joined.extend(right.row.iter().cloned());
        match truth(residual, &joined) {
            Ok(Some(true)) => Some(Ok(right)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    })
}

fn single(
    join: &plan::MarkJoin,
    column: u32,
    left: &[Value],
    found: &Candidates,
    pairs: &mut u64,
) -> Result<Value, Error> {
    let mut only = None;
    for right in matching(join, left, found, pairs) {
        let right = right?;
        if only.is_some() || right.weight > 1 {
            return fail(CARDINALITY, "more than one row returned by a subquery used as an expression");
        }
        only = right.row.get(column as usize).cloned();
    }
    Ok(only.unwrap_or(Value::Null))
}

fn answer(join: &plan::MarkJoin, left: &[Value], found: &Candidates, pairs: &mut u64) -> Result<Option<bool>, Error> {
    let Some((operand, op, value)) = &join.compare else {
        return Ok(Some(matching(join, left, found, pairs).next().transpose()?.is_some()));
    };
    let operand = eval(operand, left)?;
    if let Some((values, unknown)) = &found.values {
        if operand.is_null() {
            return Ok(None);
        }
        let is_in = values.contains(&Key(vec![operand.into_owned()]));
        return Ok(if is_in {
            Some(true)
        } else if *unknown {
            None
        } else {
            Some(false)
        });
    }
    let mut answer = Some(false);
    for right in matching(join, left, found, pairs) {
        let value = eval(value, &right?.row)?;
        if operand.is_null() || value.is_null() {
            answer = None;
        } else if compared(*op, compare(&operand, &value)) == Some(true) {
            return Ok(Some(true));
        }
    }
    Ok(answer)
}

impl Operator for MarkJoin {
    fn on_batch(&mut self, port: usize, batch: Batch, out: &mut Batch) -> Result<(), Error> {
        for signed in batch.rows {
            if port == 1 {
                let key = project(&self.join.on.right, &signed.row)?;
                if !self.join.on.matches_nothing(&key) {
                    self.retracted |= signed.weight < 0;
                    self.right.get_or_insert_with(Key(key), Candidates::default).rows.push(signed);
                }
            } else if self.ended[1] {
                self.decide(signed, out)?;
            } else {
                self.left.push(signed);
            }
        }
        Ok(())
    }

    fn on_lack(&mut self, port: usize) {
        self.lacks |= port == 1;
    }

    fn on_end(&mut self, port: usize, out: &mut Batch) -> Result<(), Error> {
        self.ended[port] = true;
        if port == 1 {
            self.settle()?;
            for signed in core::mem::take(&mut self.left) {
                self.decide(signed, out)?;
            }
        }
        Ok(())
    }

    fn describe(&self) -> (&'static str, usize) {
        ("mark join", self.left.len() + self.right.values().map(|found| found.rows.len()).sum::<usize>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exec::plan::On, sql::scalar::Scalar};

    /// Left rows `(group, x)`, right rows `(group, y)`; `x op ANY (y of the group)`.
    fn run(kind: MarkKind, op: Option<BinaryOp>, left: &[(i64, Option<i64>)]) -> Result<Vec<String>, Error> {
        let right = [(1, Some(5)), (1, None), (2, Some(7)), (2, Some(8)), (3, Some(9))];
        let key = || vec![Scalar::Column(0)];
        let on = On { left: key(), right: key(), null_safe: vec![false], residual: None };
        let compare = op.map(|op| (Scalar::Column(1), op, Scalar::Column(1)));
        let mut out = Vec::new();
        for right_first in [false, true] {
            let mut join = MarkJoin::new(plan::MarkJoin { kind, on: on.clone(), compare: compare.clone() });
            let mut emitted = Batch::default();
            let side = |rows: &[(i64, Option<i64>)]| {
                let mut batch = Batch::default();
                let row = |(a, b): &(i64, Option<i64>)| vec![Value::Integer(*a), b.map_or(Value::Null, Value::Integer)];
                rows.iter().for_each(|pair| batch.push(row(pair), 1));
                batch
            };
            let mut sides = [(0, side(left)), (1, side(&right))];
            if right_first {
                sides.reverse();
            }
            for (port, batch) in sides {
                join.on_batch(port, batch, &mut emitted)?;
                join.on_end(port, &mut emitted)?;
            }
            let text = |signed: &SignedRow| signed.row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
            out.push(emitted.rows.iter().map(text).collect::<Vec<_>>());
        }
        assert_eq!(out[0], out[1], "either side may come first");
        Ok(out.remove(0))
    }

    #[test]
    fn a_comparison_is_three_valued() {
        let left = [(1, Some(5)), (1, Some(6)), (1, None), (2, Some(8)), (2, None), (4, None)];
        let marks = run(MarkKind::Mark, Some(BinaryOp::Eq), &left).unwrap();
        assert_eq!(marks, ["1 5 true", "1 6 NULL", "1 NULL NULL", "2 8 true", "2 NULL NULL", "4 NULL false"]);
        assert_eq!(run(MarkKind::Semi, Some(BinaryOp::Eq), &left).unwrap(), ["1 5", "2 8"]);
        assert_eq!(run(MarkKind::Anti, Some(BinaryOp::Eq), &left).unwrap(), ["4 NULL"]);
        let greater = run(MarkKind::Mark, Some(BinaryOp::Gt), &left).unwrap();
        assert_eq!(greater, ["1 5 NULL", "1 6 true", "1 NULL NULL", "2 8 true", "2 NULL NULL", "4 NULL false"]);
        assert_eq!(run(MarkKind::Semi, None, &left).unwrap().len(), 5, "rows exist for 1 and 2");
    }

    #[test]
    fn a_value_has_one_row_at_most() {
        assert_eq!(run(MarkKind::Single(1), None, &[(3, None), (4, None)]).unwrap(), ["3 NULL 9", "4 NULL NULL"]);
        assert_eq!(run(MarkKind::Single(1), None, &[(2, None)]).unwrap_err().code(), CARDINALITY);
    }

    #[test]
    fn what_was_taken_away_is_not_there() {
        let join = plan::MarkJoin { kind: MarkKind::Semi, on: On::default(), compare: None };
        let (mut join, mut out, mut batch) = (MarkJoin::new(join), Batch::default(), Batch::default());
        batch.push(vec![Value::Integer(1)], 1);
        join.on_batch(0, batch.clone(), &mut out).unwrap();
        join.on_batch(1, batch.clone(), &mut out).unwrap();
        batch.rows[0].weight = -1;
        join.on_batch(1, batch, &mut out).unwrap();
        join.on_end(1, &mut out).unwrap();
        assert!(out.is_empty());
    }
}
