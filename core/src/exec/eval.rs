//! Evaluates bound expressions over a row, with SQL's three-valued logic.
//!
//! A NULL operand makes arithmetic, comparison and most functions NULL; AND, OR, CASE, IN and COALESCE look at no
//! more operands than they need. Rows and plans may come from other peers, so every mismatch of types is an error
//! and nothing panics; the depth of an expression is bounded by [`Nested`](crate::data::Nested).

use core::cmp::Ordering;
use std::borrow::Cow;

use super::{cast::cast, functions};
use crate::{
    Error,
    data::{Value, order::compare},
    sql::{
        ast::BinaryOp,
        fault::{DATATYPE_MISMATCH, DIVISION_BY_ZERO, INTERNAL, OUT_OF_RANGE, error, fail},
        scalar::Scalar,
    },
};

/// The value of an expression over a row.
pub fn eval<'a>(scalar: &'a Scalar, row: &'a [Value]) -> Result<Cow<'a, Value>, Error> {
    Ok(match scalar {
        Scalar::Column(position) => match row.get(*position as usize) {
            Some(value) => Cow::Borrowed(value),
            None => return fail(INTERNAL, format!("no column {position} in a row of {}", row.len())),
        },
        Scalar::Literal(value) => Cow::Borrowed(value),
        Scalar::Not(_)
        | Scalar::IsNull(_)
        | Scalar::IsBool(..)
        | Scalar::In(..)
        | Scalar::Like(..)
        | Scalar::Binary(BinaryOp::And | BinaryOp::Or, ..) => {
            Cow::Owned(truth(scalar, row)?.map_or(Value::Null, Value::Boolean))
        }
        Scalar::Neg(operand) => Cow::Owned(match &*eval(operand, row)? {
            Value::Null => Value::Null,
            Value::Integer(number) => Value::Integer(number.checked_neg().ok_or_else(overflow)?),
            Value::Real(number) => Value::Real(-number),
            other => return mismatch("-", other),
        }),
        Scalar::Binary(op, left, right) => {
            let (left, right) = (eval(left, row)?, eval(right, row)?);
            Cow::Owned(binary(*op, &left, &right)?)
        }
        Scalar::Case(whens, otherwise) => {
            for (when, then) in whens {
                if truth(when, row)? == Some(true) {
                    return eval(then, row);
                }
            }
            return eval(otherwise, row);
        }
        Scalar::Cast(operand, to) => {
            let value = eval(operand, row)?;
            if value.data_type().is_none_or(|from| from == *to) {
                value
            } else {
                Cow::Owned(cast(value.into_owned(), *to)?)
            }
        }
        Scalar::Call(function, args) => functions::call(*function, args, row)?,
    })
}

/// The truth value of an expression over a row; `None` is unknown.
pub fn truth(scalar: &Scalar, row: &[Value]) -> Result<Option<bool>, Error> {
    Ok(match scalar {
        Scalar::Not(operand) => truth(operand, row)?.map(|truth| !truth),
        Scalar::IsNull(operand) => Some(eval(operand, row)?.is_null()),
        Scalar::IsBool(operand, value) => Some(truth(operand, row)? == Some(*value)),
        Scalar::Binary(BinaryOp::And, left, right) => match truth(left, row)? {
            Some(false) => Some(false),
            left => match (left, truth(right, row)?) {
                (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
        },
        Scalar::Binary(BinaryOp::Or, left, right) => match truth(left, row)? {
            Some(true) => Some(true),
            left => match (left, truth(right, row)?) {
                (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        },
        Scalar::In(operand, list) => {
            let operand = eval(operand, row)?;
            let mut answer = Some(false);
            for item in list {
                let item = eval(item, row)?;
                if operand.is_null() || item.is_null() {
                    answer = None;
                } else if compare(&operand, &item) == Ordering::Equal {
                    return Ok(Some(true));
                }
            }
            answer
        }
        Scalar::Like(operand, pattern, fold_case) => match (&*eval(operand, row)?, &*eval(pattern, row)?) {
            (Value::Null, _) | (_, Value::Null) => None,
            (Value::Text(text), Value::Text(pattern)) => Some(functions::like(text, pattern, *fold_case)),
            (other, _) => return mismatch("LIKE", other),
        },
        other => match &*eval(other, row)? {
            Value::Null => None,
            Value::Boolean(truth) => Some(*truth),
            other => return mismatch("a condition", other),
        },
    })
}

fn binary(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, Error> {
    match op {
        BinaryOp::IsDistinct => return Ok(Value::Boolean(compare(left, right) != Ordering::Equal)),
        BinaryOp::IsNotDistinct => return Ok(Value::Boolean(compare(left, right) == Ordering::Equal)),
        _ if left.is_null() || right.is_null() => return Ok(Value::Null),
        _ => {}
    }
    match (compared(op, compare(left, right)), op) {
        (Some(truth), _) => Ok(Value::Boolean(truth)),
        (None, BinaryOp::Concat) => concat(left, right),
        (None, _) => arithmetic(op, left, right),
    }
}

/// What a comparison says of two values of that order; `None` for another operator.
pub fn compared(op: BinaryOp, order: Ordering) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => order == Ordering::Equal,
        BinaryOp::Ne => order != Ordering::Equal,
        BinaryOp::Lt => order == Ordering::Less,
        BinaryOp::Le => order != Ordering::Greater,
        BinaryOp::Gt => order == Ordering::Greater,
        BinaryOp::Ge => order != Ordering::Less,
        _ => return None,
    })
}

fn concat(left: &Value, right: &Value) -> Result<Value, Error> {
    Ok(match (left, right) {
        (Value::Blob(left), Value::Blob(right)) => Value::Blob([&left[..], right].concat()),
        (left, right) => Value::Text(format!("{left}{right}")),
    })
}

/// Arithmetic on numbers that are not NULL. Integer division truncates; overflow is an error.
pub fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Value::Integer(left), Value::Integer(right)) = (left, right) {
        let (left, right) = (*left, *right);
        let result = match op {
            BinaryOp::Add => left.checked_add(right),
            BinaryOp::Sub => left.checked_sub(right),
            BinaryOp::Mul => left.checked_mul(right),
            BinaryOp::Div | BinaryOp::Rem if right == 0 => return fail(DIVISION_BY_ZERO, "division by zero"),
            BinaryOp::Div => left.checked_div(right),
            // The one overflow, i64::MIN % -1, has the result 0.
            BinaryOp::Rem => Some(left.wrapping_rem(right)),
            _ => return fail(INTERNAL, "not an arithmetic operator"),
        };
        return result.map(Value::Integer).ok_or_else(overflow);
    }
    let (left, right) = (as_real(left)?, as_real(right)?);
    Ok(Value::Real(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div | BinaryOp::Rem if right == 0.0 => return fail(DIVISION_BY_ZERO, "division by zero"),
        BinaryOp::Div => left / right,
        BinaryOp::Rem => left % right,
        _ => return fail(INTERNAL, "not an arithmetic operator"),
    }))
}

/// A number as a real.
pub fn as_real(value: &Value) -> Result<f64, Error> {
    match value {
        Value::Integer(number) => Ok(*number as f64),
        Value::Real(number) => Ok(*number),
        other => mismatch("arithmetic", other),
    }
}

/// The error of an integer that does not fit.
pub fn overflow() -> Error {
    error(OUT_OF_RANGE, "integer out of range")
}

/// The error of an operand of the wrong type.
pub fn mismatch<T>(what: &str, value: &Value) -> Result<T, Error> {
    let found = value.data_type().map_or("NULL", crate::data::Type::name);
    fail(DATATYPE_MISMATCH, format!("{what} does not take {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Nested;

    fn boolean(truth: Option<bool>) -> Nested<Scalar> {
        Nested::new(Scalar::Literal(truth.map_or(Value::Null, Value::Boolean)))
    }

    #[test]
    fn three_valued_logic_follows_the_truth_tables() {
        let all = [Some(true), Some(false), None];
        for left in all {
            assert_eq!(truth(&Scalar::Not(boolean(left)), &[]), Ok(left.map(|truth| !truth)));
            for right in all {
                // Kleene: AND is the minimum and OR the maximum of false < unknown < true.
                let rank = |truth: Option<bool>| truth.map_or(1, |truth| if truth { 2 } else { 0 });
                let and = truth(&Scalar::Binary(BinaryOp::And, boolean(left), boolean(right)), &[]).unwrap();
                let or = truth(&Scalar::Binary(BinaryOp::Or, boolean(left), boolean(right)), &[]).unwrap();
                assert_eq!(rank(and), rank(left).min(rank(right)));
                assert_eq!(rank(or), rank(left).max(rank(right)));
            }
        }
    }

    #[test]
    fn in_with_null_is_unknown_unless_found() {
        let literal = |number| Nested::new(Scalar::Literal(Value::Integer(number)));
        let null = || Nested::new(Scalar::Literal(Value::Null));
        assert_eq!(truth(&Scalar::In(literal(1), vec![null(), literal(1)]), &[]), Ok(Some(true)));
        assert_eq!(truth(&Scalar::In(literal(2), vec![null(), literal(1)]), &[]), Ok(None));
        assert_eq!(truth(&Scalar::In(literal(2), vec![literal(1)]), &[]), Ok(Some(false)));
        assert_eq!(truth(&Scalar::In(null(), vec![literal(1)]), &[]), Ok(None));
    }

    #[test]
    fn arithmetic_is_checked() {
        let run = |op, left, right| arithmetic(op, &Value::Integer(left), &Value::Integer(right));
        assert_eq!(run(BinaryOp::Div, -7, 2), Ok(Value::Integer(-3)));
        assert_eq!(run(BinaryOp::Rem, -7, 2), Ok(Value::Integer(-1)));
        assert_eq!(run(BinaryOp::Rem, i64::MIN, -1), Ok(Value::Integer(0)));
        assert_eq!(run(BinaryOp::Div, 1, 0).unwrap_err().code(), DIVISION_BY_ZERO);
        assert_eq!(run(BinaryOp::Add, i64::MAX, 1).unwrap_err().code(), OUT_OF_RANGE);
        assert_eq!(run(BinaryOp::Div, i64::MIN, -1).unwrap_err().code(), OUT_OF_RANGE);
    }

    #[test]
    fn a_plan_that_does_not_fit_its_rows_is_an_error() {
        assert_eq!(eval(&Scalar::Column(3), &[Value::Null]).unwrap_err().code(), INTERNAL);
        let text = Nested::new(Scalar::Literal(Value::Text("x".to_owned())));
        assert_eq!(eval(&Scalar::Neg(text), &[]).unwrap_err().code(), DATATYPE_MISMATCH);
    }
}
