//! Joins rows of two sides where they meet: at the peer that a bucket of an exchange falls to, or at each owner of the
//! large side when the small one was sent there.
//!
//! ```text
//!   left rows  ──▶ kept by key ──▶ looked up among the right rows kept so far ─┐
//!                                                                              ├─▶ left ++ right × (wl · wr)
//!   right rows ──▶ kept by key ──▶ looked up among the left rows kept so far ──┘
//!   at the end: rows of a preserved side that matched nothing ──▶ with NULLs for the other
//!   semi: a left row ──▶ itself, at its first match; anti: at the end, if it had none
//! ```
//!
//! The symmetric hash join of Wilschut and Apers (*Dataflow query execution in a parallel main-memory environment*, 1991)
//! row by row: a serving peer keeps no columns. [`HashJoin`](super::hash_join::HashJoin) is the same for the asker.

use super::Batch;
use crate::{
    Error,
    data::{Row, SignedRow, Value, cell::Cell, order::compare},
    exec::{
        eval::{eval, truth},
        plan::{Join, JoinKind, On},
        table::Table,
    },
    sql::{
        fault::{BUDGET, INTERNAL, fail},
        scalar::Scalar,
    },
};

/// Pairs that one batch may make, and pairs that may be tried in all: a peer does nothing else meanwhile.
const PAIRS_MAX: usize = 1_000_000;
const TRIED_MAX: u64 = 20_000_000;
/// No further row.
const END: u32 = u32::MAX;

/// The rows of one side.
#[derive(Default)]
struct Side {
    rows: Vec<SignedRow>,
    /// For each row: the next one of its key, and whether it matched.
    next: Vec<u32>,
    matched: Vec<bool>,
    /// Finds a key by its hash.
    table: Table,
    /// The different keys, the first and the last row of each.
    keys: Vec<(Row, u32, u32)>,
}

/// See the module's documentation.
pub struct Matcher {
    join: Join,
    sides: [Side; 2],
    tried: u64,
}

/// The key of a row, and its hash: the same on all peers, and for values that are equal.
pub fn key_of(exprs: &[Scalar], row: &[Value]) -> Result<(Row, u64), Error> {
    let (mut key, mut hash) = (Row::with_capacity(exprs.len()), 0);
    for expr in exprs {
        let value = eval(expr, row)?.into_owned();
        hash = Cell::from(&value).hash(hash);
        key.push(value);
    }
    Ok((key, hash))
}

impl Join {
    /// Whether rows of a side come out that match nothing.
    pub fn preserves(&self, port: usize) -> bool {
        self.kind == JoinKind::Full || matches!(self.kind, JoinKind::Left | JoinKind::Anti) && port == 0
    }

    /// Whether nothing comes out but rows of the left side.
    pub fn is_half(&self) -> bool {
        matches!(self.kind, JoinKind::Semi | JoinKind::Anti)
    }
}

impl On {
    /// The expressions of a side.
    pub fn exprs(&self, port: usize) -> &[Scalar] {
        if port == 0 { &self.left } else { &self.right }
    }
}

impl Matcher {
    /// A join without rows.
    pub fn new(join: Join) -> Matcher {
        Matcher { join, sides: [Side::default(), Side::default()], tried: 0 }
    }

    /// Takes in rows of a side and appends what they make with those of the other.
    pub fn push(&mut self, port: usize, rows: Vec<SignedRow>, out: &mut Batch) -> Result<(), Error> {
        let [left, right] = &mut self.sides;
        let (mine, theirs) = if port == 0 { (left, right) } else { (right, left) };
        let (before, half) = (out.len(), self.join.is_half());
        for row in rows {
            if row.row.len() != self.join.widths[port] {
                return fail(INTERNAL, "rows of another width than the join's");
            }
            let (key, hash) = key_of(self.join.on.exprs(port), &row.row)?;
            let mut matched = false;
            let nothing = self.join.on.matches_nothing(&key);
            let found = |side: &Side| side.table.find(hash, |entry| same(&side.keys[entry].0, &key));
            let mut at = match found(theirs) {
                Some(entry) if !nothing => theirs.keys[entry].1,
                _ => END,
            };
            while at != END {
                self.tried += 1;
                if self.tried > TRIED_MAX {
                    return fail(BUDGET, format!("a join that tries more than {TRIED_MAX} pairs at one peer"));
                }
                let (other, settled) = (&theirs.rows[at as usize], half && port == 1 && theirs.matched[at as usize]);
                let (a, b) = if port == 0 { (&row, other) } else { (other, &row) };
                let pair = if settled { Row::new() } else { [&a.row[..], &b.row].concat() };
                if !settled && matches(&self.join.on.residual, &pair)? {
                    matched = true;
                    theirs.matched[at as usize] = true;
                    match self.join.kind {
                        JoinKind::Anti => {}
                        JoinKind::Semi => out.push(a.row.clone(), a.weight),
                        _ => out.push(pair, a.weight.saturating_mul(b.weight)),
                    }
                    if out.len() - before > PAIRS_MAX {
                        return fail(BUDGET, format!("a join of more than {PAIRS_MAX} pairs at once at one peer"));
                    }
                    // One match says it all.
                    if half && port == 0 {
                        break;
                    }
                }
                at = theirs.next[at as usize];
            }
            if !(half && port == 0 && matched) {
                mine.keep(row, key, hash, matched, nothing);
            }
        }
        Ok(())
    }

    /// Both sides have ended; of which of them all rows were there. Where some of the other side are missing, nobody knows
    /// that a row has no match.
    pub fn end(&mut self, whole: [bool; 2], out: &mut Batch) {
        for port in [0, 1] {
            if !self.join.preserves(port) || !whole[1 - port] {
                continue;
            }
            let nulls = vec![Value::Null; if self.join.is_half() { 0 } else { self.join.widths[1 - port] }];
            let side = core::mem::take(&mut self.sides[port]);
            for (signed, matched) in side.rows.into_iter().zip(side.matched) {
                if !matched {
                    let pair = if port == 0 { [signed.row, nulls.clone()] } else { [nulls.clone(), signed.row] };
                    out.push(pair.concat(), signed.weight);
                }
            }
        }
    }
}

impl Side {
    fn keep(&mut self, row: SignedRow, key: Row, hash: u64, matched: bool, nothing: bool) {
        let at = self.rows.len() as u32;
        self.rows.push(row);
        self.next.push(END);
        self.matched.push(matched);
        if nothing {
            return;
        }
        match self.table.find(hash, |entry| same(&self.keys[entry].0, &key)) {
            Some(entry) => {
                let last = core::mem::replace(&mut self.keys[entry].2, at);
                self.next[last as usize] = at;
            }
            None => {
                self.table.insert(hash);
                self.keys.push((key, at, at));
            }
        }
    }
}

/// Whether keys are equal; NULL equals NULL here.
fn same(a: &[Value], b: &[Value]) -> bool {
    a.iter().zip(b).all(|(a, b)| compare(a, b).is_eq())
}

fn matches(residual: &Option<Scalar>, pair: &[Value]) -> Result<bool, Error> {
    match residual {
        Some(condition) => Ok(truth(condition, pair)? == Some(true)),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        data::{Nested, order::compare_rows},
        exec::{
            ops::{Operator, hash_join::HashJoin, mark_join::MarkJoin},
            plan::{self, MarkKind},
        },
        sql::ast::BinaryOp,
    };

    fn signed(rows: &[(Option<i64>, i64)]) -> Vec<SignedRow> {
        let value = |key: &Option<i64>| key.map_or(Value::Null, Value::Integer);
        rows.iter().map(|(key, n)| SignedRow { row: vec![value(key), Value::Integer(*n)], weight: 1 }).collect()
    }

    fn join(kind: JoinKind, null_safe: bool, residual: bool) -> Join {
        let keys = || vec![Scalar::Column(0)];
        let column = |at| Nested::new(Scalar::Column(at));
        let less = Scalar::Binary(BinaryOp::Lt, column(1), column(3));
        let on = On { left: keys(), right: keys(), null_safe: vec![null_safe], residual: residual.then_some(less) };
        Join { kind, on, widths: [2, 2] }
    }

    fn sorted(batch: Batch) -> Vec<SignedRow> {
        let mut rows = batch.by_row().rows;
        rows.sort_by(|a, b| compare_rows(&a.row, &b.row));
        rows
    }

    fn side() -> impl Strategy<Value = Vec<(Option<i64>, i64)>> {
        prop::collection::vec((prop::option::of(0..5_i64), 0..9_i64), 0..20)
    }

    proptest! {
        /// Whatever the order of arrival, it gives what the asker's join gives.
        #[test]
        fn as_the_join_at_the_asker(
            left in side(), right in side(), pieces in 1..6_usize, null_safe in any::<bool>(), residual in any::<bool>(),
            kind in prop::sample::select(vec![
                JoinKind::Inner, JoinKind::Left, JoinKind::Full, JoinKind::Semi, JoinKind::Anti,
            ]),
        ) {
            let (left, right) = (signed(&left), signed(&right));
            let (mut matcher, mut out) = (Matcher::new(join(kind, null_safe, residual)), Batch::default());
            let (mut a, mut b) = (left.chunks(pieces), right.chunks(pieces));
            loop {
                let (a, b) = (a.next(), b.next());
                if a.is_none() && b.is_none() {
                    break;
                }
                matcher.push(0, a.unwrap_or_default().to_vec(), &mut out).unwrap();
                matcher.push(1, b.unwrap_or_default().to_vec(), &mut out).unwrap();
            }
            matcher.end([true; 2], &mut out);
            let marked = |kind| {
                let on = join(JoinKind::Inner, null_safe, residual).on;
                Box::new(MarkJoin::new(plan::MarkJoin { kind, on, compare: None }))
            };
            let mut reference: Box<dyn Operator> = match kind {
                JoinKind::Semi => marked(MarkKind::Semi),
                JoinKind::Anti => marked(MarkKind::Anti),
                kind => Box::new(HashJoin::new(join(kind, null_safe, residual))),
            };
            let mut expected = Batch::default();
            for (port, rows) in [(0, left), (1, right)] {
                let mut batch = Batch::default();
                rows.into_iter().for_each(|row| batch.push(row.row, row.weight));
                reference.on_batch(port, batch, &mut expected).unwrap();
                reference.on_end(port, &mut expected).unwrap();
            }
            prop_assert_eq!(sorted(out), sorted(expected));
        }

        /// Whatever is missing of the sides: what it gives is a part of what the whole sides give.
        #[test]
        fn a_part_of_the_sides_gives_a_part_of_the_rows(
            left in side(), right in side(), missing in any::<[bool; 2]>(), residual in any::<bool>(),
            kind in prop::sample::select(vec![
                JoinKind::Inner, JoinKind::Left, JoinKind::Full, JoinKind::Semi, JoinKind::Anti,
            ]),
        ) {
            let run = |left: &[SignedRow], right: &[SignedRow], whole| {
                let (mut matcher, mut out) = (Matcher::new(join(kind, false, residual)), Batch::default());
                matcher.push(1, right.to_vec(), &mut out).unwrap();
                matcher.push(0, left.to_vec(), &mut out).unwrap();
                matcher.end(whole, &mut out);
                sorted(out)
            };
            let (left, right) = (signed(&left), signed(&right));
            let part = |side: &[SignedRow], missing: bool| side[..side.len() / if missing { 2 } else { 1 }].to_vec();
            let whole = [!missing[0], !missing[1]];
            let some = run(&part(&left, missing[0]), &part(&right, missing[1]), whole);
            let mut all = run(&left, &right, [true; 2]);
            if whole == [true; 2] {
                prop_assert_eq!(&some, &all);
            }
            for row in some {
                let at = all.iter().position(|other| *other == row);
                prop_assert!(at.is_some(), "{row:?} is not in the whole");
                all.remove(at.unwrap());
            }
        }
    }
}
