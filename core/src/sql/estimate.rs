//! How many rows a plan gives, about, and how wide they are.
//!
//! Bottom up: a scan by the statistics of its table and what its conditions leave ([`selectivity`](super::selectivity)); a
//! join by `|L| |R| / max(V(L, a), V(R, a))` for each equation, V being the number of different values (Selinger et al.,
//! SIGMOD 1979; Swami and Schiefer, EDBT 1994); groups by the different values of their keys. Different values that are left
//! of a part of the rows follow Cardenas (*Analysis and performance of inverted data base structures*, CACM 1975). Of tables
//! without statistics fixed numbers are taken, and the estimate says that it is [not known](Estimate::known).

use super::{
    ast::{BinaryOp, SetOp},
    logical::{ColumnId, Logical, Mark, Scan},
    scalar::Scalar,
    selectivity::{Column, Columns, column_of, of_all},
    statistics::Statistics,
};
use crate::{
    data::{Nested, Type, Value},
    exec::{fragment::Decode, plan::JoinKind},
    map::Map,
};

/// Rows of a table of which nothing is known.
const ROWS: f64 = 1_000.0;
/// Different values of a column of which nothing is known.
const DISTINCT: f64 = 200.0;
/// Bytes of a text of which nothing is known.
const TEXT_BYTES: f64 = 32.0;
/// How often a recursion repeats.
const ROUNDS: f64 = 10.0;

/// What is expected of the rows of a plan.
#[derive(Clone, Debug)]
pub struct Estimate<'a> {
    /// How many.
    pub rows: f64,
    /// Whether all tables in it have statistics.
    pub known: bool,
    /// Of their columns.
    columns: Columns<'a>,
}

/// Equations and other conditions.
type Equations<'s> = (Vec<[&'s Scalar; 2]>, Vec<&'s Scalar>);

impl<'a> Estimate<'a> {
    /// Bytes of a row with these columns.
    pub fn bytes(&self, columns: &[ColumnId]) -> f64 {
        columns.iter().map(|id| self.columns.get(id).map_or(8.0, |column| column.bytes)).sum()
    }

    /// Bytes of what an expression gives.
    fn width(&self, scalar: &Scalar) -> f64 {
        match scalar {
            Scalar::Column(id) => self.bytes(&[*id]),
            Scalar::Literal(value) => value.bytes() as f64,
            Scalar::Cast(inner, _) => self.width(inner),
            Scalar::Binary(BinaryOp::Concat, a, b) => self.width(a) + self.width(b),
            Scalar::Case(arms, otherwise) => {
                arms.iter().map(|(_, then)| self.width(then)).fold(self.width(otherwise), f64::max)
            }
            _ => 8.0,
        }
    }

    /// How many different values expressions have together.
    pub fn distinct<'s>(&self, scalars: impl IntoIterator<Item = &'s Scalar>) -> f64 {
        let of = |id: ColumnId| self.columns.get(&id).map_or(DISTINCT, |column| column.distinct);
        let one = |scalar: &Scalar| match (column_of(scalar), scalar.columns()) {
            (Some(id), _) => of(id),
            (None, read) if read.is_empty() => 1.0,
            (None, read) => read.into_iter().map(of).product(),
        };
        scalars.into_iter().map(one).product::<f64>().min(self.rows).max(1.0)
    }

    /// The rows that are left when a share of them is.
    fn part(&mut self, share: f64) {
        let before = self.rows.max(1.0);
        self.rows *= share;
        for (_, column) in &mut self.columns {
            // A value is gone when all of its rows are.
            let left = 1.0 - (1.0 - share).powf(before / column.distinct.max(1.0));
            column.distinct = (column.distinct * left).max(1.0);
        }
    }

    /// There are no more rows than that.
    fn limit(&mut self, rows: f64) {
        self.rows = self.rows.min(rows);
        for (_, column) in &mut self.columns {
            column.distinct = column.distinct.min(self.rows.max(1.0));
        }
    }

    fn filter<'s>(&mut self, conjuncts: impl IntoIterator<Item = &'s Scalar> + Clone) {
        let share = of_all(conjuncts.clone(), &self.columns);
        self.part(share);
        for conjunct in conjuncts {
            let Scalar::Binary(BinaryOp::Eq, a, b) = conjunct else { continue };
            let pinned = match (column_of(a), &**b, column_of(b), &**a) {
                (Some(id), Scalar::Literal(_), ..) | (_, _, Some(id), Scalar::Literal(_)) => Some(id),
                _ => None,
            };
            if let Some(column) = pinned.and_then(|id| self.columns.get_mut(&id)) {
                column.distinct = 1.0;
            }
        }
    }

    /// Pairs of rows of two plans for which all of some conditions are true.
    pub fn joined(&self, right: &Estimate<'a>, on: &[Scalar]) -> Estimate<'a> {
        let (equations, rest) = self.equations(right, on);
        let mut both = self.clone();
        both.known &= right.known;
        both.columns.extend(right.columns.iter().map(|(id, column)| (*id, column.clone())));
        both.rows = self.rows * right.rows;
        if !equations.is_empty() {
            both.rows /= self.different(&equations, 0).max(right.different(&equations, 1));
            for [a, b] in &equations {
                both.rows *= (1.0 - self.nulls(a)) * (1.0 - right.nulls(b));
            }
        }
        both.rows *= of_all(rest, &both.columns);
        for [a, b] in equations {
            let (Some(a), Some(b)) = (column_of(a), column_of(b)) else { continue };
            let of = |id: &ColumnId| both.columns.get(id).map_or(DISTINCT, |column| column.distinct);
            let fewer = of(&a).min(of(&b));
            for id in [a, b] {
                if let Some(column) = both.columns.get_mut(&id) {
                    column.distinct = fewer;
                }
            }
        }
        both.limit(f64::INFINITY);
        both
    }

    /// The share of rows that have a match in another plan.
    pub fn matching(&self, right: &Estimate<'a>, on: &[Scalar]) -> f64 {
        let (equations, rest) = self.equations(right, on);
        if equations.is_empty() {
            return if right.rows < 1.0 { right.rows } else { 1.0 };
        }
        let nulls: f64 = equations.iter().map(|[a, _]| 1.0 - self.nulls(a)).product();
        let share = right.different(&equations, 1) / self.different(&equations, 0);
        let all = right.rows / right.different(&equations, 1) * of_all(rest, &self.columns);
        (nulls * share.min(1.0) * all.min(1.0)).clamp(0.0, 1.0)
    }

    /// Conditions over it and another plan: equations of one with the other, its own expression first, and the rest.
    pub fn equations<'s>(&self, right: &Estimate<'_>, on: &'s [Scalar]) -> Equations<'s> {
        let (mut pairs, mut rest) = (Vec::new(), Vec::new());
        let of = |plan: &Estimate<'_>, scalar: &Scalar| {
            let read = scalar.columns();
            !read.is_empty() && read.iter().all(|id| plan.has(*id))
        };
        for conjunct in on {
            match conjunct {
                Scalar::Binary(BinaryOp::Eq | BinaryOp::IsNotDistinct, a, b) if of(self, a) && of(right, b) => {
                    pairs.push([&**a, &**b]);
                }
                Scalar::Binary(BinaryOp::Eq | BinaryOp::IsNotDistinct, a, b) if of(self, b) && of(right, a) => {
                    pairs.push([&**b, &**a]);
                }
                other => rest.push(other),
            }
        }
        (pairs, rest)
    }

    fn different(&self, equations: &[[&Scalar; 2]], side: usize) -> f64 {
        self.distinct(equations.iter().map(|pair| pair[side]))
    }

    fn nulls(&self, scalar: &Scalar) -> f64 {
        column_of(scalar).and_then(|id| self.columns.get(&id)).map_or(0.0, |column| column.nulls)
    }

    /// Whether a column is one of it.
    fn has(&self, id: ColumnId) -> bool {
        self.columns.contains_key(&id)
    }
}

/// Estimates plans with what is known of tables.
pub struct Estimator<'a> {
    statistics: &'a Statistics,
    /// What is evaluated once, by slot.
    shared: Map<u32, Estimate<'a>>,
}

impl<'a> Estimator<'a> {
    /// With these statistics.
    pub fn new(statistics: &'a Statistics) -> Estimator<'a> {
        Estimator { statistics, shared: Map::new() }
    }

    /// What it estimates with.
    pub fn statistics(&self) -> &'a Statistics {
        self.statistics
    }

    /// Of what is evaluated once.
    pub fn share(&mut self, slot: u32, definition: Estimate<'a>) {
        self.shared.insert(slot, definition);
    }

    /// How many rows are expected of a plan, where that is known.
    pub fn expected(&mut self, plan: &Logical) -> Option<u64> {
        if self.statistics.is_empty() {
            return None;
        }
        let estimate = self.of(plan);
        estimate.known.then(|| estimate.rows.round().max(1.0) as u64)
    }

    /// What is expected of the rows of a plan.
    pub fn of(&mut self, plan: &Logical) -> Estimate<'a> {
        match plan {
            Logical::Unit => Estimate { rows: 1.0, known: true, columns: Columns::new() },
            Logical::Values { columns, rows } => {
                let count = rows.len() as f64;
                let column = |(at, id): (usize, &ColumnId)| {
                    let bytes: usize = rows.iter().filter_map(|row| row.get(at)).map(Value::bytes).sum();
                    (
                        *id,
                        Column {
                            distinct: count.max(1.0),
                            nulls: 0.0,
                            bytes: bytes as f64 / count.max(1.0),
                            found: None,
                        },
                    )
                };
                Estimate { rows: count, known: true, columns: columns.iter().enumerate().map(column).collect() }
            }
            Logical::Scan(scan) => self.scan(scan),
            Logical::Filter { input, conjuncts } => {
                let mut estimate = self.of(input);
                estimate.filter(conjuncts);
                estimate
            }
            Logical::Project { input, exprs } => {
                let input = self.of(input);
                self.computed(&input, input.rows, exprs.iter().map(|(id, scalar)| (*id, scalar)))
            }
            Logical::Join { left, right, kind, on } => {
                let (left, right) = (self.of(left), self.of(right));
                self.join(&left, &right, *kind, on)
            }
            Logical::Mark { left, right, kind, on, compare } => {
                let (mut left, right) = (self.of(left), self.of(right));
                let equation = compare.iter().map(|(operand, op, value)| {
                    Scalar::Binary(*op, Nested::new(operand.clone()), Nested::new(value.clone()))
                });
                let on: Vec<Scalar> = on.iter().cloned().chain(equation).collect();
                left.known &= right.known;
                match kind {
                    Mark::Semi => left.part(left.matching(&right, &on)),
                    Mark::Anti => left.part(1.0 - left.matching(&right, &on)),
                    Mark::Truth(_) | Mark::Single(..) => {}
                }
                if let Some(id) = kind.column() {
                    left.columns
                        .insert(id, Column { distinct: left.rows.max(1.0), nulls: 0.0, bytes: 8.0, found: None });
                }
                left
            }
            Logical::Aggregate { input, keys, calls } => {
                let input = self.of(input);
                let groups = input.distinct(keys.iter().map(|(_, key)| key));
                let rows = if keys.is_empty() { 1.0 } else { groups.min(input.rows) };
                let mut estimate = self.computed(&input, rows, keys.iter().map(|(id, scalar)| (*id, scalar)));
                for (id, _) in calls {
                    let column = Column { distinct: rows.max(1.0), nulls: 0.0, bytes: 8.0, found: None };
                    estimate.columns.insert(*id, column);
                }
                estimate
            }
            Logical::Distinct { input } => {
                let mut estimate = self.of(input);
                let columns: Vec<Scalar> = input.schema().into_iter().map(Scalar::Column).collect();
                estimate.limit(estimate.distinct(&columns));
                estimate
            }
            Logical::Sort { input, .. } => self.of(input),
            Logical::Window { input, columns, .. } => {
                let mut estimate = self.of(input);
                for id in columns {
                    let distinct = estimate.rows.max(1.0);
                    estimate.columns.insert(*id, Column { distinct, nulls: 0.0, bytes: 8.0, found: None });
                }
                estimate
            }
            Logical::Limit { input, skip, count } => {
                let mut estimate = self.of(input);
                let left = (estimate.rows - *skip as f64).max(0.0);
                estimate.limit(count.map_or(left, |count| left.min(count as f64)));
                estimate
            }
            Logical::Set { op, all, left, right, columns } => {
                let (left, right) = (self.of(left), self.of(right));
                let rows = match (op, all) {
                    (SetOp::Union, true) => left.rows + right.rows,
                    (SetOp::Union, false) => left.rows.max(right.rows) + left.rows.min(right.rows) / 2.0,
                    (SetOp::Intersect, _) => left.rows.min(right.rows) / 2.0,
                    (SetOp::Except, _) => left.rows / 2.0,
                };
                self.beside(&left, &right, rows, columns)
            }
            Logical::With { slot, definition, body, .. } => {
                let definition = self.of(definition);
                self.share(*slot, definition);
                self.of(body)
            }
            Logical::Shared { slot, columns, .. } => match self.shared.get(slot).cloned() {
                Some(definition) => {
                    let columns: Vec<(ColumnId, Scalar)> =
                        columns.iter().map(|(id, source)| (*id, Scalar::Column(*source))).collect();
                    self.computed(&definition, definition.rows, columns.iter().map(|(id, scalar)| (*id, scalar)))
                }
                None => Estimate { rows: ROWS, known: false, columns: Columns::new() },
            },
            Logical::Recursive { slot, base, step, columns, .. } => {
                let base = self.of(base);
                let rows = base.rows * ROUNDS;
                let renamed: Vec<(ColumnId, Scalar)> =
                    columns.iter().map(|[id, of, _]| (*id, Scalar::Column(*of))).collect();
                let before = self.computed(&base, base.rows, renamed.iter().map(|(id, scalar)| (*id, scalar)));
                self.share(*slot, before);
                let step = self.of(step);
                Estimate { known: false, ..self.beside(&base, &step, rows, columns) }
            }
        }
    }

    /// The rows of two plans, one below the other.
    fn beside(&self, left: &Estimate<'a>, right: &Estimate<'a>, rows: f64, columns: &[[ColumnId; 3]]) -> Estimate<'a> {
        let column = |[id, a, b]: &[ColumnId; 3]| {
            let of = |plan: &Estimate<'a>, id: &ColumnId| {
                plan.columns.get(id).map_or((DISTINCT, 8.0), |it| (it.distinct, it.bytes))
            };
            let ((more, bytes), (fewer, other)) = (of(left, a), of(right, b));
            let distinct = (more + fewer).min(rows).max(1.0);
            (*id, Column { distinct, nulls: 0.0, bytes: f64::max(bytes, other), found: None })
        };
        Estimate { rows, known: left.known && right.known, columns: columns.iter().map(column).collect() }
    }

    /// Pairs of rows.
    pub fn join(&self, left: &Estimate<'a>, right: &Estimate<'a>, kind: JoinKind, on: &[Scalar]) -> Estimate<'a> {
        let mut both = left.joined(right, on);
        let alone = |side: &Estimate<'a>, other: &Estimate<'a>| side.rows * (1.0 - side.matching(other, on));
        match kind {
            JoinKind::Inner => {}
            JoinKind::Semi => both.rows = left.rows - alone(left, right),
            JoinKind::Anti => both.rows = alone(left, right),
            JoinKind::Left => both.rows = (both.rows + alone(left, right)).max(left.rows),
            JoinKind::Full => {
                both.rows = (both.rows + alone(left, right) + alone(right, left)).max(left.rows.max(right.rows));
            }
        }
        both
    }

    /// So many rows of columns that are computed.
    fn computed<'s>(
        &self,
        input: &Estimate<'a>,
        rows: f64,
        exprs: impl Iterator<Item = (ColumnId, &'s Scalar)>,
    ) -> Estimate<'a> {
        let column = |(id, scalar): (ColumnId, &Scalar)| {
            let same = column_of(scalar).and_then(|of| input.columns.get(&of)).cloned();
            let (distinct, bytes) = (|| input.distinct([scalar]), || input.width(scalar));
            let other = || Column { distinct: distinct(), nulls: 0.0, bytes: bytes(), found: None };
            let mut column = same.unwrap_or_else(other);
            column.distinct = column.distinct.min(rows).max(1.0);
            (id, column)
        };
        Estimate { rows, known: input.known, columns: exprs.map(column).collect() }
    }

    fn scan(&self, scan: &Scan) -> Estimate<'a> {
        let found = self.statistics.of(scan);
        let count = self.statistics.rows(scan).map(|rows| rows as f64);
        let rows = count.unwrap_or(ROWS);
        let column = |(id, slot, data_type): &(ColumnId, u32, Type)| {
            let unique = scan.primary_key == [*id];
            let guessed = || {
                let bytes = if matches!(data_type, Type::Text | Type::Blob | Type::Json) { TEXT_BYTES } else { 8.0 };
                Column { distinct: if unique { rows } else { DISTINCT.min(rows) }, nulls: 0.0, bytes, found: None }
            };
            let mut column = found.and_then(|found| Column::gathered(found, *slot)).unwrap_or_else(guessed);
            // What the sketch says about.
            column.distinct = if unique { rows } else { column.distinct.min(rows) }.max(1.0);
            (*id, column)
        };
        let identity = scan
            .identity
            .iter()
            .map(|id| (*id, Column { distinct: rows.max(1.0), nulls: 0.0, bytes: 16.0, found: None }));
        let columns = scan.columns.iter().map(column).chain(identity).collect();
        // Peers and the catalog have no statistics, and need none.
        let known = count.is_some() || scan.decode != Decode::Row;
        let mut estimate = Estimate { rows, known, columns };
        estimate.filter(&scan.filter);
        let keys: Vec<Scalar> = scan.primary_key.iter().map(|id| Scalar::Column(*id)).collect();
        let pinned = |key: &Scalar| {
            scan.filter.iter().any(|conjunct| match conjunct {
                Scalar::Binary(BinaryOp::Eq, a, b) => {
                    (**a == *key && matches!(**b, Scalar::Literal(_)))
                        || (**b == *key && matches!(**a, Scalar::Literal(_)))
                }
                _ => false,
            })
        };
        if !keys.is_empty() && keys.iter().all(pinned) {
            estimate.limit(1.0);
        }
        estimate
    }
}
