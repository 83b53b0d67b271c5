//! Evaluates bound expressions over columns, as [`eval`](super::eval) does over each row.
//!
//! What is common and cannot fail goes column by column: columns as they are, and the conditions in front of a filter
//! that compare a column with a constant. Everything else is evaluated row by row, in the order of the rows, so that
//! it fails where and as it would.

use core::cmp::Ordering;
use std::borrow::Cow;

use super::{
    columns::{Column, Columns, Made},
    eval::{compared, eval, truth},
};
use crate::{
    Error,
    data::{Row, Type, Value, cell::Cell},
    sql::{ast::BinaryOp, scalar::Scalar},
};

/// The values of an expression over rows.
pub fn evaluate<'a>(scalar: &Scalar, rows: &'a Columns) -> Result<Made<'a>, Error> {
    match scalar {
        _ if rows.is_empty() => return Ok(Cow::Owned(Column::default())),
        Scalar::Column(position) => return rows.column(*position).map(Cow::Borrowed),
        Scalar::Literal(value) => return Ok(Cow::Owned(Column::constant(value, rows.len()))),
        Scalar::Cast(operand, Type::Real) => {
            let operand = evaluate(operand, rows)?;
            if let Some(numbers) = operand.integers() {
                return Ok(Cow::Owned(Column::of_reals(numbers.iter().map(|number| *number as f64).collect())));
            }
        }
        _ => {}
    }
    let (mut column, mut row) = (Column::default(), Row::new());
    for at in 0..rows.len() {
        rows.fill(at, &mut row);
        match eval(scalar, &row)? {
            Cow::Borrowed(value) => column.push(Cell::from(value)),
            Cow::Owned(value) => column.push(Cell::Owned(value)),
        }
    }
    Ok(Cow::Owned(column))
}

/// The values of several expressions.
pub fn evaluate_all<'a>(scalars: &[Scalar], rows: &'a Columns) -> Result<Vec<Made<'a>>, Error> {
    scalars.iter().map(|scalar| evaluate(scalar, rows)).collect()
}

/// The places of the rows for which a condition is true, ascending.
pub fn select(condition: &Scalar, rows: &Columns) -> Result<Vec<u32>, Error> {
    let mut places: Vec<u32> = (0..rows.len() as u32).collect();
    if !narrow(condition, rows, &mut places)? {
        let mut row = Row::new();
        let mut failed = Ok(());
        places.retain(|at| {
            rows.fill(*at as usize, &mut row);
            match failed.is_ok().then(|| truth(condition, &row)) {
                Some(Err(error)) => {
                    failed = Err(error);
                    false
                }
                Some(Ok(truth)) => truth == Some(true),
                None => false,
            }
        });
        failed?;
    }
    Ok(places)
}

/// Drops the places for which a condition is not true, if it is made of what cannot fail. Otherwise drops those for
/// which it is false before what can fail is looked at, and says so: the condition is to be evaluated for the others.
fn narrow(condition: &Scalar, rows: &Columns, places: &mut Vec<u32>) -> Result<bool, Error> {
    let mut simple = Vec::new();
    let whole = leading(condition, &mut simple);
    for (position, op, literal) in simple {
        let (column, literal) = (rows.column(position)?, Cell::from(literal));
        // What is said of what is less, equal and greater.
        let said = [Ordering::Less, Ordering::Equal, Ordering::Greater].map(|order| compared(op, order) == Some(true));
        let stays = |order: Ordering| said[(order as i8 + 1) as usize];
        match (column.integers(), &literal) {
            (Some(numbers), Cell::Integer(other)) => places.retain(|at| stays(numbers[*at as usize].cmp(other))),
            _ => places.retain(|at| {
                let cell = column.cell(*at as usize);
                if cell.is_null() || literal.is_null() { !whole } else { stays(cell.compare(&literal)) }
            }),
        }
    }
    Ok(whole)
}

/// The comparisons of a column with a constant that a condition begins with, and whether it is made of nothing else.
fn leading<'a>(condition: &'a Scalar, simple: &mut Vec<(u32, BinaryOp, &'a Value)>) -> bool {
    let Scalar::Binary(op, left, right) = condition else { return false };
    match (op, &**left, &**right) {
        (BinaryOp::And, left, right) => leading(left, simple) && leading(right, simple),
        (op, Scalar::Column(position), Scalar::Literal(value)) if compared(*op, Ordering::Equal).is_some() => {
            simple.push((*position, *op, value));
            true
        }
        _ => false,
    }
}

#[cfg(test)]
pub(in crate::exec) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        data::{Nested, SignedRow},
        exec::ops::{Batch, Operator, filter::Filter, project::Project},
    };

    /// Values that meet one another: of every kind of column, NULLs, and of any type.
    pub fn value(kind: usize) -> BoxedStrategy<Value> {
        let any = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            (0_i64..3).prop_map(Value::Timestamp),
            (0_i64..3).prop_map(Value::Integer),
            (0_i8..6).prop_map(|half| Value::Real(f64::from(half) / 2.0)),
            Just(Value::Real(f64::NAN)),
            Just(Value::Real(-0.0)),
            "[ab]{0,2}".prop_map(Value::Text),
        ];
        match kind {
            0 => (-2_i64..4).prop_map(Value::Integer).boxed(),
            1 => prop_oneof![4 => (-2_i64..4).prop_map(Value::Integer), 1 => Just(Value::Null)].boxed(),
            2 => (-4_i8..6).prop_map(|half| Value::Real(f64::from(half) / 2.0)).boxed(),
            3 => prop_oneof![4 => "[aé]{0,2}".prop_map(Value::Text), 1 => Just(Value::Null)].boxed(),
            _ => any.boxed(),
        }
    }

    /// Rows of three columns of random kinds.
    pub fn rows(most: usize) -> impl Strategy<Value = Vec<SignedRow>> {
        prop::array::uniform3(0_usize..5).prop_flat_map(move |kinds| {
            let row = kinds.map(value).prop_map(|row| row.to_vec());
            prop::collection::vec((row, prop_oneof![4 => Just(1_i64), 1 => 2_i64..4]), 0..most)
                .prop_map(|rows| rows.into_iter().map(|(row, weight)| SignedRow { row, weight }).collect())
        })
    }

    /// Conditions and other expressions over such rows; some of them fail.
    pub fn scalar() -> impl Strategy<Value = Scalar> {
        let leaf = || prop_oneof![(0_u32..3).prop_map(Scalar::Column), value(4).prop_map(Scalar::Literal)];
        let op = prop_oneof![
            Just(BinaryOp::Eq),
            Just(BinaryOp::Ne),
            Just(BinaryOp::Lt),
            Just(BinaryOp::Ge),
            Just(BinaryOp::IsDistinct),
            Just(BinaryOp::Div),
        ];
        let compared =
            || (op.clone(), leaf(), leaf()).prop_map(|(op, a, b)| Scalar::Binary(op, Nested::new(a), Nested::new(b)));
        let both = |op| move |(a, b)| Scalar::Binary(op, Nested::new(a), Nested::new(b));
        prop_oneof![
            leaf(),
            compared(),
            leaf().prop_map(|operand| Scalar::Cast(Nested::new(operand), Type::Real)),
            leaf().prop_map(|operand| Scalar::IsNull(Nested::new(operand))),
            (compared(), compared()).prop_map(both(BinaryOp::And)),
            (compared(), compared()).prop_map(both(BinaryOp::Or)),
        ]
    }

    /// Rows as text: NaN is not equal to itself.
    pub fn shown(rows: &[SignedRow]) -> Vec<String> {
        rows.iter().map(|signed| format!("{signed:?}")).collect()
    }

    /// What an operator makes of rows in columns, a few at a time.
    pub fn by_column(operator: &mut dyn Operator, rows: &[SignedRow]) -> Result<Batch, Error> {
        let mut out = Batch::default();
        for part in rows.chunks(7) {
            let mut batch = Batch::default();
            batch.push_columns(Columns::of(part.to_vec())?);
            operator.on_batch(0, batch, &mut out)?;
        }
        operator.on_end(0, &mut out)?;
        Ok(out.by_row())
    }

    proptest! {
        #[test]
        fn rows_come_back_and_are_found(rows in rows(20), places in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
            let columns = Columns::of(rows.clone()).unwrap();
            prop_assert_eq!(shown(&columns.rows().collect::<Vec<_>>()), shown(&rows));
            let mut twice = columns.clone();
            twice.append(columns.clone()).unwrap();
            prop_assert_eq!(shown(&twice.rows().collect::<Vec<_>>()), shown(&[rows.clone(), rows.clone()].concat()));
            if !rows.is_empty() {
                let places: Vec<u32> = places.iter().map(|at| at.index(rows.len()) as u32).collect();
                let taken: Vec<_> = places.iter().map(|at| rows[*at as usize].clone()).collect();
                prop_assert_eq!(shown(&columns.take(&places).rows().collect::<Vec<_>>()), shown(&taken));
            }
        }

        #[test]
        fn equal_cells_have_equal_hashes(a in value(4), b in value(4), seed in any::<u64>()) {
            let (a, b) = (Cell::from(&a), Cell::from(&b));
            prop_assert_eq!(a.compare(&b), crate::data::order::compare(&a.clone().into(), &b.clone().into()));
            if a.compare(&b).is_eq() {
                prop_assert_eq!(a.hash(seed), b.hash(seed));
            }
        }

        #[test]
        fn columns_are_filtered_as_rows_are(rows in rows(30), condition in scalar()) {
            let expected: Result<Vec<_>, Error> = rows
                .iter()
                .filter_map(|signed| match truth(&condition, &signed.row) {
                    Ok(truth) => (truth == Some(true)).then(|| Ok(signed.clone())),
                    Err(error) => Some(Err(error)),
                })
                .collect();
            let found = by_column(&mut Filter::new(condition), &rows).map(|batch| shown(&batch.rows));
            prop_assert_eq!(found, expected.map(|rows| shown(&rows)));
        }

        #[test]
        fn columns_are_projected_as_rows_are(rows in rows(30), exprs in prop::collection::vec(scalar(), 1..3)) {
            let project = |signed: &SignedRow| {
                let row = exprs.iter().map(|expr| Ok(eval(expr, &signed.row)?.into_owned()));
                Ok(SignedRow { row: row.collect::<Result<_, Error>>()?, weight: signed.weight })
            };
            let expected: Result<Vec<_>, Error> = rows.iter().map(project).collect();
            let found = by_column(&mut Project::new(exprs.clone()), &rows);
            prop_assert_eq!(found.is_err(), expected.is_err());
            if let (Ok(found), Ok(expected)) = (found, expected) {
                prop_assert_eq!(shown(&found.rows), shown(&expected));
            }
        }
    }
}
