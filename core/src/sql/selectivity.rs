//! What share of rows a condition is true for, about.
//!
//! Equality by the frequent values and, for the others, by how many there are; ranges by where a value stands between the
//! smallest and the largest; `AND`, `OR` and `NOT` as if conditions had nothing to do with one another, but for the two
//! ends of one range; fixed shares for the rest. Selinger et al., *Access path selection in a relational database management
//! system*, SIGMOD 1979, table 1; frequent values as PostgreSQL uses them (*The PostgreSQL documentation*, Row Estimation
//! Examples).

use super::{
    ast::BinaryOp,
    logical::ColumnId,
    scalar::Scalar,
    statistics::{ColumnStatistics, TableStatistics},
};
use crate::{
    data::{Nested, Value, cell::Cell},
    map::{Map, Set},
};

/// The share of rows for a condition of which nothing is known.
const SHARE: f64 = 1.0 / 3.0;
/// For a pattern that says how a text begins.
const BEGINS: f64 = 0.05;
/// For a pattern that says what is somewhere in a text.
const CONTAINS: f64 = 0.1;
/// For an equation of which nothing is known.
const EQUAL: f64 = 0.005;

/// What is known of a column where a condition looks at it.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    /// How many different values it has.
    pub distinct: f64,
    /// The share of NULLs.
    pub nulls: f64,
    /// Bytes of a value.
    pub bytes: f64,
    /// What was gathered, and of how many rows.
    pub found: Option<(&'a ColumnStatistics, f64)>,
}

impl<'a> Column<'a> {
    /// A column of a table, as it was gathered.
    pub fn gathered(table: &'a TableStatistics, slot: u32) -> Option<Column<'a>> {
        let found = table.column(slot)?;
        let rows = (table.rows as f64).max(1.0);
        let nulls = found.nulls as f64 / rows;
        let (distinct, bytes) = ((found.distinct as f64).max(1.0), found.bytes as f64 / rows);
        Some(Column { distinct, nulls, bytes, found: Some((found, rows)) })
    }

    /// The frequent values with their shares of all rows.
    fn common(&self) -> impl Iterator<Item = (&'a Value, f64)> {
        let found = self.found;
        let shares =
            found.map(|(found, rows)| found.common.iter().map(move |(value, times)| (value, *times as f64 / rows)));
        shares.into_iter().flatten()
    }

    /// The share of rows that have this value.
    fn equal(&self, value: &Value) -> f64 {
        if value.is_null() {
            return 0.0;
        }
        let (mut listed, mut share) = (0.0, 0.0);
        for (other, often) in self.common() {
            if Cell::from(other).compare(&Cell::from(value)).is_eq() {
                return often;
            }
            listed += 1.0;
            share += often;
        }
        if self.place(value).is_some_and(|place| !(0.0..=1.0).contains(&place)) {
            return 0.0;
        }
        let rest = 1.0 - self.nulls - share;
        // Where all values are listed no other is there.
        (rest / (self.distinct - listed).max(1.0)).clamp(0.0, 1.0)
    }

    /// The share of rows whose value is below this one.
    fn below(&self, value: &Value) -> Option<f64> {
        let place = self.place(value)?.clamp(0.0, 1.0);
        let (mut share, mut listed) = (0.0, 0.0);
        for (other, often) in self.common() {
            listed += often;
            if Cell::from(other).compare(&Cell::from(value)).is_lt() {
                share += often;
            }
        }
        Some((share + (1.0 - self.nulls - listed).max(0.0) * place).clamp(0.0, 1.0))
    }

    /// Where a value stands between the smallest (0) and the largest (1).
    fn place(&self, value: &Value) -> Option<f64> {
        let (found, _) = self.found?;
        let (min, max) = (found.min.as_ref()?, found.max.as_ref()?);
        let skip = match (min, max) {
            (Value::Text(min), Value::Text(max)) => min.bytes().zip(max.bytes()).take_while(|(a, b)| a == b).count(),
            _ => 0,
        };
        let (low, high, at) = (number(min, skip)?, number(max, skip)?, number(value, skip)?);
        if let (Value::Text(value), Value::Text(min)) = (value, min)
            && value.as_bytes().get(..skip) != min.as_bytes().get(..skip)
        {
            return Some(if value < min { -1.0 } else { 2.0 });
        }
        match high > low {
            true => Some((at - low) / (high - low)),
            false if at == low => Some(0.5),
            false => Some(if at < low { -1.0 } else { 2.0 }),
        }
    }
}

/// A value as a number in the same order; of a text what follows the first `skip` bytes.
fn number(value: &Value, skip: usize) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Real(number) => Some(*number).filter(|number| number.is_finite()),
        Value::Numeric(number) => Some(number.to_real()),
        Value::Boolean(truth) => Some(f64::from(u8::from(*truth))),
        Value::Date(days) => Some(f64::from(*days) * 86_400e6),
        Value::Timestamp(at_us) => Some(*at_us as f64),
        Value::Text(text) => {
            let bytes = text.bytes().skip(skip).chain(core::iter::repeat(0)).take(6);
            Some(bytes.fold(0.0, |number, byte| number * 256.0 + f64::from(byte)))
        }
        _ => None,
    }
}

/// The columns that conditions look at.
pub type Columns<'a> = Map<ColumnId, Column<'a>>;

/// The column that an expression is, but for its type.
pub fn column_of(scalar: &Scalar) -> Option<ColumnId> {
    match scalar {
        Scalar::Column(id) => Some(*id),
        Scalar::Cast(inner, _) => column_of(inner),
        _ => None,
    }
}

/// The share of rows for which all are true.
pub fn of_all<'s>(conjuncts: impl IntoIterator<Item = &'s Scalar>, columns: &Columns<'_>) -> f64 {
    let (mut share, mut ranges) = (1.0, Map::<ColumnId, [Option<f64>; 2]>::new());
    let mut open: Vec<&Scalar> = conjuncts.into_iter().collect();
    while let Some(conjunct) = open.pop() {
        if let Scalar::Binary(BinaryOp::And, a, b) = conjunct {
            open.extend([&**a, &**b]);
            continue;
        }
        match range(conjunct, columns) {
            Some((id, end, part)) => {
                let held = &mut ranges.entry(id).or_default()[end];
                *held = Some(held.map_or(part, |held| held.min(part)));
            }
            None => share *= of(conjunct, columns),
        }
    }
    for (id, ends) in &ranges {
        let nulls = columns.get(id).map_or(0.0, |column| column.nulls);
        share *= match *ends {
            // What both ends leave of the values between the smallest and the largest.
            [Some(low), Some(high)] => (low + high + nulls - 1.0).max(EQUAL * low.min(high)),
            [low, high] => low.or(high).unwrap_or(1.0),
        };
    }
    share.clamp(0.0, 1.0)
}

/// A comparison with a constant, where it is known what it leaves: the column, which end, the share.
fn range(scalar: &Scalar, columns: &Columns<'_>) -> Option<(ColumnId, usize, f64)> {
    let Scalar::Binary(op, a, b) = scalar else { return None };
    let (id, op, value) = match (column_of(a), &**b, column_of(b), &**a) {
        (Some(id), Scalar::Literal(value), ..) => (id, *op, value),
        (_, _, Some(id), Scalar::Literal(value)) => (id, turned(*op), value),
        _ => return None,
    };
    let column = columns.get(&id)?;
    let (below, equal) = (column.below(value)?, column.equal(value));
    let above = |share: f64| (1.0 - column.nulls - share).max(0.0);
    match op {
        BinaryOp::Lt => Some((id, 1, below)),
        BinaryOp::Le => Some((id, 1, (below + equal).min(1.0))),
        BinaryOp::Gt => Some((id, 0, above(below + equal))),
        BinaryOp::Ge => Some((id, 0, above(below))),
        _ => None,
    }
}

/// The comparison with its sides changed.
fn turned(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Ge => BinaryOp::Le,
        other => other,
    }
}

/// The share of rows for which a condition is true.
fn of(scalar: &Scalar, columns: &Columns<'_>) -> f64 {
    let known = |scalar: &Scalar| column_of(scalar).and_then(|id| columns.get(&id));
    let share = match scalar {
        Scalar::Literal(Value::Boolean(true)) => 1.0,
        Scalar::Literal(_) => 0.0,
        Scalar::Binary(BinaryOp::And, ..) => of_all([scalar], columns),
        Scalar::Binary(BinaryOp::Or, a, b) => {
            let (a, b) = (of_all([&**a], columns), of_all([&**b], columns));
            a + b - a * b
        }
        Scalar::Binary(BinaryOp::Eq | BinaryOp::IsNotDistinct, a, b) => equal(a, b, columns),
        Scalar::Binary(BinaryOp::Ne | BinaryOp::IsDistinct, a, b) => {
            let nulls = known(a).or(known(b)).map_or(0.0, |column| column.nulls);
            1.0 - nulls - equal(a, b, columns)
        }
        Scalar::Not(inner) => {
            // Of a NULL neither the condition nor its opposite is true.
            let read = if let Scalar::IsNull(_) = **inner { Set::new() } else { inner.columns() };
            let nulls = read.iter().filter_map(|id| columns.get(id)).map(|column| column.nulls).fold(0.0, f64::max);
            1.0 - of_all([&**inner], columns) - nulls
        }
        Scalar::IsNull(inner) => known(inner).map_or(EQUAL, |column| column.nulls),
        Scalar::In(operand, list) => list.iter().map(|item| equal(operand, item, columns)).sum(),
        Scalar::Like(_, pattern, _) => match &**pattern {
            Scalar::Literal(Value::Text(pattern)) if !pattern.contains(['%', '_']) => {
                let text = Nested::new(Scalar::Literal(Value::Text(pattern.clone())));
                if let Scalar::Like(operand, ..) = scalar { equal(operand, &text, columns) } else { EQUAL }
            }
            Scalar::Literal(Value::Text(pattern)) if !pattern.starts_with(['%', '_']) => BEGINS,
            _ => CONTAINS,
        },
        Scalar::Column(id) => columns.get(id).map_or(0.5, |column| match column.found {
            Some(_) => column.equal(&Value::Boolean(true)),
            None => 0.5,
        }),
        Scalar::IsBool(inner, true) => of_all([&**inner], columns),
        Scalar::IsBool(inner, false) => 1.0 - of_all([&**inner], columns),
        _ => SHARE,
    };
    share.clamp(0.0, 1.0)
}

/// The share of rows for which two expressions are equal.
fn equal(a: &Scalar, b: &Scalar, columns: &Columns<'_>) -> f64 {
    let known = |scalar: &Scalar| column_of(scalar).and_then(|id| columns.get(&id));
    match (known(a), a, known(b), b) {
        (Some(column), _, _, Scalar::Literal(value)) | (_, Scalar::Literal(value), Some(column), _) => {
            column.equal(value)
        }
        (Some(a), _, Some(b), _) => (1.0 - a.nulls) * (1.0 - b.nulls) / a.distinct.max(b.distinct),
        (Some(column), ..) | (_, _, Some(column), _) => (1.0 - column.nulls) / column.distinct,
        _ => EQUAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(distinct: u64, nulls: u64, min: Value, max: Value, common: Vec<(Value, u64)>) -> ColumnStatistics {
        let (min, max) = (Some(min), Some(max));
        ColumnStatistics { slot: 0, name: "c".to_owned(), nulls, bytes: 0, distinct, min, max, common }
    }

    /// Of 1,000 rows; column 1 is a number, column 2 a text.
    fn share(of: &Scalar) -> f64 {
        let number = column(100, 100, Value::Integer(0), Value::Integer(100), vec![(Value::Integer(7), 400)]);
        let text = |text: &str| Value::Text(text.to_owned());
        let city = column(2, 0, text("Bergen"), text("Oslo"), vec![(text("Oslo"), 900), (text("Bergen"), 100)]);
        let column = |found| Column { distinct: 0.0, nulls: 0.0, bytes: 8.0, found: Some((found, 1_000.0)) };
        let mut columns = Columns::new();
        columns.insert(1, Column { distinct: 100.0, nulls: 0.1, ..column(&number) });
        columns.insert(2, Column { distinct: 2.0, ..column(&city) });
        of_all([of], &columns)
    }

    fn compare(op: BinaryOp, id: ColumnId, value: Value) -> Scalar {
        Scalar::Binary(op, Nested::new(Scalar::Column(id)), Nested::new(Scalar::Literal(value)))
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 0.006, "{found}, expected {expected}");
    }

    #[test]
    fn frequent_values_are_told_from_others() {
        near(share(&compare(BinaryOp::Eq, 1, Value::Integer(7))), 0.4);
        near(share(&compare(BinaryOp::Eq, 1, Value::Integer(8))), 0.5 / 99.0);
        near(share(&compare(BinaryOp::Eq, 1, Value::Integer(101))), 0.0);
        near(share(&compare(BinaryOp::Eq, 1, Value::Null)), 0.0);
        near(share(&compare(BinaryOp::Ne, 1, Value::Integer(7))), 0.5);
        near(share(&compare(BinaryOp::Eq, 2, Value::Text("Oslo".to_owned()))), 0.9);
        near(share(&compare(BinaryOp::Eq, 2, Value::Text("Bodo".to_owned()))), 0.0);
    }

    #[test]
    fn ranges_are_measured() {
        near(share(&compare(BinaryOp::Lt, 1, Value::Integer(50))), 0.4 + 0.25);
        near(share(&compare(BinaryOp::Ge, 1, Value::Integer(50))), 0.25);
        near(share(&compare(BinaryOp::Gt, 1, Value::Integer(1_000))), 0.0);
        let both = Scalar::Binary(
            BinaryOp::And,
            Nested::new(compare(BinaryOp::Ge, 1, Value::Integer(50))),
            Nested::new(compare(BinaryOp::Le, 1, Value::Integer(70))),
        );
        near(share(&both), 0.1);
        near(share(&compare(BinaryOp::Gt, 2, Value::Text("Oslo".to_owned()))), 0.0);
    }

    #[test]
    fn conditions_add_up() {
        let seven = compare(BinaryOp::Eq, 1, Value::Integer(7));
        let oslo = compare(BinaryOp::Eq, 2, Value::Text("Oslo".to_owned()));
        let pair = |op| Scalar::Binary(op, Nested::new(seven.clone()), Nested::new(oslo.clone()));
        near(share(&pair(BinaryOp::And)), 0.36);
        near(share(&pair(BinaryOp::Or)), 0.94);
        near(share(&Scalar::Not(Nested::new(seven))), 0.5);
        let null = Scalar::IsNull(Nested::new(Scalar::Column(1)));
        near(share(&null), 0.1);
        near(share(&Scalar::Not(Nested::new(null))), 0.9);
        let list = [7, 8, 9].map(|number| Nested::new(Scalar::Literal(Value::Integer(number))));
        near(share(&Scalar::In(Nested::new(Scalar::Column(1)), list.into())), 0.41);
        near(share(&Scalar::Literal(Value::Null)), 0.0);
    }
}
