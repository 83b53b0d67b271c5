//! Where SQLite types otherwise than PostgreSQL does, and what that means in terms of the one engine.
//!
//! - A condition may be a number: true unless zero. A truth value may be a number: 0 or 1.
//! - Division by zero is NULL.
//! - Values of unlike types compare: numbers below text below bytes. A text constant that reads as a number is one beside
//!   a column of numbers, a number is text beside a column of text.
//! - `CAST` to an integer cuts off. `LIKE` takes no notice of case. NULLs are smaller than everything else.
//! - A column that is not grouped has one of the values that it has in the group: the smallest.
//! - Operators on bits cut their operands to integers; shifting by 64 and more leaves nothing, by less than 0 the other
//!   way.
//! - `IN ()` is false. A subquery that is a value gives the first of its rows.
//!
//! All of it is said by the expressions that the binder makes; owners know of no dialect.

use super::{
    ast::BinaryOp,
    bind::{binary, boxed, cast_to, converted, fold, numeric, unify, unify_all},
    fault::{SYNTAX, fail},
    logical::Logical,
    plan::Dialect,
    scalar::{Function, Scalar},
    scope::{Binder, Typed},
};
use crate::{
    Error,
    data::{Nested, Numeric, Type, Value, real},
    exec::cast::leading_number,
};

fn literal(value: Value) -> Nested<Scalar> {
    Nested::new(Scalar::Literal(value))
}

impl Binder<'_> {
    fn sqlite(&self) -> bool {
        self.settings.dialect == Dialect::Sqlite
    }

    /// A condition.
    pub(super) fn truth(&self, typed: Typed) -> Result<Typed, Error> {
        let known = matches!(&typed.scalar, Scalar::Literal(Value::Null)) || typed.data_type == Some(Type::Boolean);
        if !self.sqlite() || known {
            return typed.coerce(Type::Boolean);
        }
        let number = self.number(typed);
        Ok(Typed::new(fold(not_zero(number.scalar)), Some(Type::Boolean)))
    }

    /// What is to be a number.
    pub(super) fn number(&self, typed: Typed) -> Typed {
        if !self.sqlite() {
            return typed;
        }
        match (typed.data_type, typed.scalar) {
            (Some(Type::Boolean), scalar) => {
                Typed::new(fold(Scalar::Cast(Nested::new(scalar), Type::Integer)), Some(Type::Integer))
            }
            (Some(Type::Text), Scalar::Literal(Value::Text(text))) => {
                let number = leading_number(&text);
                let data_type = number.data_type();
                Typed::new(Scalar::Literal(number), data_type)
            }
            (Some(Type::Text), scalar) => {
                Typed::new(Scalar::Call(Function::LeadingNumber, vec![Nested::new(scalar)]), Some(Type::Real))
            }
            (data_type, scalar) => Typed { scalar, data_type, untyped: typed.untyped, exact: typed.exact },
        }
    }

    /// What is to be text.
    pub(super) fn text(&self, typed: Typed) -> Result<Typed, Error> {
        if !self.sqlite() || matches!(typed.data_type, None | Some(Type::Text)) {
            return typed.coerce(Type::Text);
        }
        let scalar = self.value_only(typed).scalar;
        Ok(Typed::new(fold(Scalar::Cast(Nested::new(scalar), Type::Text)), Some(Type::Text)))
    }

    /// A value that is no truth value.
    fn value_only(&self, typed: Typed) -> Typed {
        if typed.data_type == Some(Type::Boolean) { self.number(typed) } else { typed }
    }

    /// An operator between two operands.
    pub(super) fn operation(&self, op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Error> {
        match op {
            BinaryOp::And | BinaryOp::Or => binary(op, self.truth(left)?, self.truth(right)?),
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => match exactly(op, &left, &right) {
                Some(exact) if !self.sqlite() => Ok(Typed::written(Value::Numeric(exact))),
                _ => binary(op, self.number(left), self.number(right)),
            },
            BinaryOp::Div | BinaryOp::Rem => {
                let (left, mut right) = (self.number(left), self.number(right));
                if self.sqlite() {
                    let divisor = numeric(right)?;
                    let args = vec![Nested::new(divisor.scalar), literal(Value::Integer(0))];
                    right = Typed::new(fold(Scalar::Call(Function::NullIf, args)), divisor.data_type);
                }
                binary(op, left, right)
            }
            BinaryOp::Concat if self.sqlite() => binary(op, self.text(left)?, self.text(right)?),
            BinaryOp::Concat => binary(op, left, right),
            _ => self.comparison(op, left, right),
        }
    }

    /// A comparison.
    pub(super) fn comparison(&self, op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Error> {
        if !self.sqlite() {
            return binary(op, left, right);
        }
        let (left, right) = self.comparable(left, right);
        Ok(Typed::new(fold(Scalar::Binary(op, boxed(left), boxed(right))), Some(Type::Boolean)))
    }

    /// Two values that compare as SQLite's affinities have it.
    fn comparable(&self, left: Typed, right: Typed) -> (Typed, Typed) {
        let (left, right) = (self.value_only(left), self.value_only(right));
        let left_affinity = self.affine(&right, left.clone());
        let right_affinity = self.affine(&left, right);
        (left_affinity, right_affinity)
    }

    /// A constant as a column that it is compared with wants it.
    fn affine(&self, beside: &Typed, constant: Typed) -> Typed {
        let is_column = matches!(beside.scalar, Scalar::Column(_));
        match (&constant.scalar, beside.data_type) {
            (Scalar::Literal(Value::Text(text)), Some(Type::Integer | Type::Real)) if is_column => {
                let text = text.trim();
                let number = text.parse().map(Value::Integer).ok().or_else(|| real::parse(text).map(Value::Real));
                match number {
                    Some(number) => {
                        Typed { data_type: number.data_type(), scalar: Scalar::Literal(number), ..constant }
                    }
                    None => constant,
                }
            }
            (Scalar::Literal(Value::Integer(_) | Value::Real(_)), Some(Type::Text)) if is_column => {
                cast_to(constant.clone(), Type::Text).unwrap_or(constant)
            }
            _ => constant,
        }
    }

    /// Two operands of `nullif`.
    pub(super) fn pair(&self, a: Typed, b: Typed) -> Result<(Typed, Typed), Error> {
        if self.sqlite() {
            return Ok(self.comparable(a, b));
        }
        let (a, b, _) = unify(a, b)?;
        Ok((a, b))
    }

    /// `operand IN (items)`.
    pub(super) fn in_list(&self, operand: Typed, items: Vec<Typed>) -> Result<Scalar, Error> {
        if items.is_empty() {
            return if self.sqlite() {
                Ok(Scalar::Literal(Value::Boolean(false)))
            } else {
                fail(SYNTAX, "IN of an empty list")
            };
        }
        let mut operand = operand;
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            let item = if self.sqlite() {
                let (left, item) = self.comparable(operand.clone(), item);
                operand = left;
                item
            } else {
                let (left, item, _) = unify(operand, item)?;
                operand = left;
                item
            };
            all.push(boxed(item));
        }
        Ok(Scalar::In(boxed(operand), all))
    }

    /// Expressions as expressions of one type; in SQLite a value keeps the type it has.
    pub(super) fn unify_all(&self, items: Vec<Typed>) -> Result<(Vec<Typed>, Option<Type>), Error> {
        if !self.sqlite() {
            return unify_all(items);
        }
        let mut types: Vec<Type> = items.iter().filter_map(|item| item.data_type).collect();
        types.dedup();
        let common = match &types[..] {
            [] => None,
            [one] => Some(*one),
            all if all.iter().all(|one| matches!(one, Type::Integer | Type::Boolean)) => Some(Type::Integer),
            all if all.iter().all(|one| matches!(one, Type::Integer | Type::Real | Type::Boolean)) => Some(Type::Real),
            _ => None,
        };
        let mixed = types.len() > 1;
        Ok((items.into_iter().map(|item| if mixed { self.value_only(item) } else { item }).collect(), common))
    }

    /// `CAST(operand AS to)`.
    pub(super) fn casted_to(&self, operand: Typed, to: Type) -> Typed {
        if let (Some(exact), Type::Numeric(_)) = (operand.exact, to) {
            return Typed::new(converted(Scalar::Literal(Value::Numeric(exact)), None, to), Some(to.base()));
        }
        let operand = match to {
            Type::Integer | Type::Real | Type::Numeric(_) if operand.data_type != Some(Type::Timestamp) => {
                self.number(operand)
            }
            Type::Text => self.value_only(operand),
            _ => operand,
        };
        let from = operand.data_type;
        let cut = self.sqlite() && to == Type::Integer && operand.data_type == Some(Type::Real);
        let scalar = if cut {
            let zero = literal(Value::Integer(0));
            let negative = Scalar::Binary(BinaryOp::Lt, Nested::new(operand.scalar.clone()), zero);
            let round = |function| Nested::new(Scalar::Call(function, vec![Nested::new(operand.scalar.clone())]));
            Scalar::Case(vec![(Nested::new(negative), round(Function::Ceil))], round(Function::Floor))
        } else {
            operand.scalar
        };
        Typed::new(converted(scalar, from, to), Some(to.base()))
    }

    /// An operator on bits, which is called like a function, and its operands; what is none is left alone.
    pub(super) fn bits<'a>(&self, name: &'a str, args: Vec<Typed>) -> (&'a str, Vec<Typed>) {
        let of_bits = matches!((name, args.len()), ("~", 1) | ("&" | "|" | "<<" | ">>", 2));
        if !self.sqlite() || !of_bits {
            return (name, args);
        }
        let name = match name {
            "<<" => "shift left",
            ">>" => "shift right",
            name => name,
        };
        (name, args.into_iter().map(|arg| self.casted_to(arg, Type::Integer)).collect())
    }

    /// Whether LIKE takes no notice of case.
    pub(super) fn folds_case(&self, asked: bool) -> bool {
        asked || self.sqlite()
    }

    /// Whether NULLs come first, where the order does not say.
    pub(super) fn nulls_first(&self, asked: Option<bool>, descending: bool) -> bool {
        asked.unwrap_or(descending != self.sqlite())
    }

    /// Whether a column may have values of unlike types, and a group any value of a column that is not grouped.
    pub(super) fn is_lenient(&self) -> bool {
        self.sqlite()
    }

    /// A subquery that is a value.
    pub(super) fn one_row(&self, plan: Logical) -> Logical {
        if self.sqlite() { Logical::Limit { input: Box::new(plan), skip: 0, count: Some(1) } } else { plan }
    }
}

fn not_zero(scalar: Scalar) -> Scalar {
    Scalar::Binary(BinaryOp::Ne, Nested::new(scalar), literal(Value::Integer(0)))
}

/// Arithmetic of decimals as they are written: `0.06 + 0.01` is 0.07, which no sum of reals is.
fn exactly(op: BinaryOp, left: &Typed, right: &Typed) -> Option<Numeric> {
    let number = |typed: &Typed| match typed.scalar {
        Scalar::Literal(Value::Integer(number)) => Some(Numeric::from(number)),
        _ => typed.exact,
    };
    let (a, b) = (number(left)?, number(right)?);
    match op {
        _ if left.exact.or(right.exact).is_none() => None,
        BinaryOp::Add => a.plus(b),
        BinaryOp::Sub => a.plus(b.negated()),
        BinaryOp::Mul => a.times(b),
        _ => None,
    }
}
