//! Binds expressions: names to columns, parameters to values, operators to types.
//!
//! Typing is PostgreSQL's as far as it goes: integers and reals mix, text constants become what their surroundings
//! want, everything else must agree or is `datatype_mismatch`. Expressions of constants are computed here.

use super::{
    aggregates::{Aggregating, is_aggregate},
    ast::{BinaryOp, Expr, UnaryOp},
    fault::{DATATYPE_MISMATCH, SYNTAX, TOO_COMPLEX, UNDEFINED_FUNCTION, UNDEFINED_PARAMETER, WINDOWING, error, fail},
    scalar::{Function, Scalar},
    scope::{Binder, Scope, Typed},
    windows::is_window_function,
};
use crate::{
    Error,
    data::{DEPTH_MAX, Nested, Type, Value},
    exec::{cast::cast, eval::eval},
};

/// Parts of one expression after what is repeated is written out.
const NODES_MAX: u32 = 100_000;

impl Typed {
    /// An expression of a type.
    pub(super) fn new(scalar: Scalar, data_type: Option<Type>) -> Typed {
        Typed { scalar, data_type, untyped: false }
    }

    fn constant(value: Value) -> Typed {
        let data_type = value.data_type();
        Typed { scalar: Scalar::Literal(value), data_type, untyped: data_type == Some(Type::Text) }
    }

    /// The same as a value of `to`, where PostgreSQL converts without being asked.
    pub fn coerce(self, to: Type) -> Result<Typed, Error> {
        match (self.data_type, to) {
            (None, _) => Ok(self),
            (Some(from), to) if from == to => Ok(self),
            (Some(Type::Integer), Type::Real) => cast_to(self, to),
            _ if self.untyped => cast_to(self, to),
            (Some(from), to) => fail(DATATYPE_MISMATCH, format!("expected {}, found {}", to.name(), from.name())),
        }
    }

    /// The same as a value for a column of type `to` (an assignment also narrows).
    pub fn assign(self, to: Type, column: &str) -> Result<Typed, Error> {
        match (self.data_type, to) {
            (Some(Type::Real), Type::Integer) | (Some(_), Type::Text) => cast_to(self, to),
            (Some(from), _) if from != to && !self.untyped && (from, to) != (Type::Integer, Type::Real) => fail(
                DATATYPE_MISMATCH,
                format!("column \"{column}\" is of type {} but expression is of type {}", to.name(), from.name()),
            ),
            _ => self.coerce(to),
        }
    }
}

pub(super) fn cast_to(typed: Typed, to: Type) -> Result<Typed, Error> {
    let scalar = match typed.scalar {
        Scalar::Literal(value) => Scalar::Literal(cast(value, to)?),
        other if typed.data_type == Some(to) => other,
        other => Scalar::Cast(Nested::new(other), to),
    };
    Ok(Typed::new(scalar, Some(to)))
}

/// Brings two operands to types that compare; gives the common type.
pub(super) fn unify(a: Typed, b: Typed) -> Result<(Typed, Typed, Option<Type>), Error> {
    match (a.data_type, b.data_type) {
        (None, other) | (other, None) => Ok((a, b, other)),
        (Some(left), Some(right)) if left == right => Ok((a, b, Some(left))),
        (Some(Type::Integer), Some(Type::Real)) | (Some(Type::Real), Some(Type::Integer)) => {
            Ok((a, b, Some(Type::Real)))
        }
        (Some(left), _) if b.untyped => {
            let b = cast_to(b, left)?;
            Ok((a, b, Some(left)))
        }
        (_, Some(right)) if a.untyped => {
            let a = cast_to(a, right)?;
            Ok((a, b, Some(right)))
        }
        (Some(left), Some(right)) => {
            fail(DATATYPE_MISMATCH, format!("{} and {} do not go together", left.name(), right.name()))
        }
    }
}

/// Brings expressions to one type.
pub(super) fn unify_all(items: Vec<Typed>) -> Result<(Vec<Typed>, Option<Type>), Error> {
    let mut common: Option<Type> = None;
    for item in items.iter().filter(|item| !item.untyped) {
        common = match (common, item.data_type) {
            (None, other) | (other, None) => other,
            (Some(Type::Integer), Some(Type::Real)) | (Some(Type::Real), Some(Type::Integer)) => Some(Type::Real),
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(a), Some(b)) => {
                return fail(DATATYPE_MISMATCH, format!("{} and {} do not go together", a.name(), b.name()));
            }
        };
    }
    if common.is_none() && items.iter().any(|item| item.untyped) {
        common = Some(Type::Text);
    }
    let Some(to) = common else { return Ok((items, None)) };
    Ok((items.into_iter().map(|item| item.coerce(to)).collect::<Result<_, _>>()?, common))
}

pub(super) fn boxed(typed: Typed) -> Nested<Scalar> {
    Nested::new(typed.scalar)
}

/// Computes an expression whose operands are constants; one that fails stays, to fail only if it is ever reached.
pub(super) fn fold(scalar: Scalar) -> Scalar {
    let constant = |scalar: &Nested<Scalar>| matches!(**scalar, Scalar::Literal(_));
    let folds = match &scalar {
        Scalar::Not(a) | Scalar::Neg(a) | Scalar::IsNull(a) | Scalar::Cast(a, _) | Scalar::IsBool(a, _) => constant(a),
        Scalar::Binary(_, a, b) | Scalar::Like(a, b, _) => constant(a) && constant(b),
        Scalar::In(a, list) => constant(a) && list.iter().all(constant),
        Scalar::Call(_, args) => args.iter().all(constant),
        Scalar::Column(_) | Scalar::Literal(_) | Scalar::Case(..) => false,
    };
    let value = if folds { eval(&scalar, &[]).ok().map(std::borrow::Cow::into_owned) } else { None };
    value.map_or(scalar, Scalar::Literal)
}

impl Binder<'_> {
    /// Binds an expression.
    pub fn expr(&mut self, expr: &Expr, scope: &Scope) -> Result<Typed, Error> {
        self.bound = 0;
        self.nested(expr, scope, self.depth)
    }

    /// Binds a condition.
    pub fn condition(&mut self, expr: &Expr, scope: &Scope) -> Result<Scalar, Error> {
        let typed = self.expr(expr, scope)?;
        Ok(self.truth(typed)?.scalar)
    }

    pub(super) fn nested(&mut self, expr: &Expr, scope: &Scope, depth: u32) -> Result<Typed, Error> {
        // Binding adds a few levels (BETWEEN, NOT, casts); what is bound must still decode at an owner.
        if depth > DEPTH_MAX / 2 {
            return fail(TOO_COMPLEX, "an expression that nests too deep");
        }
        // BETWEEN and CASE repeat their operand, so nesting them multiplies.
        self.bound += 1;
        if self.bound > NODES_MAX {
            return fail(TOO_COMPLEX, "an expression with too many parts");
        }
        let depth = depth + 1;
        let typed = match expr {
            Expr::Literal(value) => Typed::constant(value.clone()),
            Expr::Param(number) => match self.params.get(usize::from(*number).wrapping_sub(1)) {
                Some(value) => Typed::constant(value.clone()),
                None => return fail(UNDEFINED_PARAMETER, format!("there is no parameter ${number}")),
            },
            Expr::Column { table, name } => self.column_ref(self.resolve(scope, table.as_deref(), name)?),
            Expr::Unary(UnaryOp::Not, operand) => {
                let operand = self.nested(operand, scope, depth)?;
                let operand = self.truth(operand)?;
                Typed::new(Scalar::Not(boxed(operand)), Some(Type::Boolean))
            }
            Expr::Unary(UnaryOp::Neg, operand) => {
                let operand = self.nested(operand, scope, depth)?;
                let operand = numeric(self.number(operand))?;
                let data_type = operand.data_type;
                Typed::new(Scalar::Neg(boxed(operand)), data_type)
            }
            Expr::Binary(op, left, right) => {
                let (left, right) = (self.nested(left, scope, depth)?, self.nested(right, scope, depth)?);
                self.operation(*op, left, right)?
            }
            Expr::IsNull { expr, negated } => {
                let operand = self.nested(expr, scope, depth)?;
                negate(Scalar::IsNull(boxed(operand)), *negated)
            }
            Expr::IsBool { expr, value, negated } => {
                let operand = self.nested(expr, scope, depth)?;
                let operand = self.truth(operand)?;
                negate(Scalar::IsBool(boxed(operand), *value), *negated)
            }
            Expr::InList { expr, list, negated } => {
                let operand = self.nested(expr, scope, depth)?;
                let items = list.iter().map(|item| self.nested(item, scope, depth)).collect::<Result<_, _>>()?;
                negate(self.in_list(operand, items)?, *negated)
            }
            Expr::Between { expr, low, high, negated } => {
                let (first, low) = (self.nested(expr, scope, depth)?, self.nested(low, scope, depth)?);
                let low = self.comparison(BinaryOp::Ge, first, low)?;
                let (second, high) = (self.nested(expr, scope, depth)?, self.nested(high, scope, depth)?);
                let high = self.comparison(BinaryOp::Le, second, high)?;
                negate(Scalar::Binary(BinaryOp::And, boxed(low), boxed(high)), *negated)
            }
            Expr::Like { expr, pattern, negated, fold_case } => {
                let (operand, pattern) = (self.nested(expr, scope, depth)?, self.nested(pattern, scope, depth)?);
                let (operand, pattern) = (self.text(operand)?, self.text(pattern)?);
                let fold_case = self.folds_case(*fold_case);
                negate(Scalar::Like(boxed(operand), boxed(pattern), fold_case), *negated)
            }
            Expr::Case { operand, whens, otherwise } => {
                let mut conditions = Vec::with_capacity(whens.len());
                let mut results = Vec::with_capacity(whens.len() + 1);
                for (when, then) in whens {
                    let when = self.nested(when, scope, depth)?;
                    conditions.push(match operand {
                        Some(operand) => {
                            let operand = self.nested(operand, scope, depth)?;
                            self.comparison(BinaryOp::Eq, operand, when)?
                        }
                        None => self.truth(when)?,
                    });
                    results.push(self.nested(then, scope, depth)?);
                }
                results.push(match otherwise {
                    Some(otherwise) => self.nested(otherwise, scope, depth)?,
                    None => Typed::constant(Value::Null),
                });
                let (results, data_type) = self.unify_all(results)?;
                let mut results: Vec<_> = results.into_iter().map(boxed).collect();
                let otherwise = results.pop().unwrap_or_else(|| Nested::new(Scalar::Literal(Value::Null)));
                let whens = conditions.into_iter().map(boxed).zip(results).collect();
                Typed::new(Scalar::Case(whens, otherwise), data_type)
            }
            Expr::Cast(operand, to) => {
                let operand = self.nested(operand, scope, depth)?;
                self.casted_to(operand, *to)
            }
            Expr::Call { name, args, distinct, star } => self.call(name, args, *distinct, *star, scope, depth)?,
            Expr::Default => return fail(SYNTAX, "DEFAULT is not allowed in this context"),
            Expr::Subquery(query) => self.value_of(query, scope, depth)?,
            Expr::Exists(query) => self.exists(query, scope, depth)?,
            Expr::InSubquery { expr, query, negated } => {
                let operand = self.nested(expr, scope, depth)?;
                let any = self.any(operand, BinaryOp::Eq, query, scope, depth)?;
                negate(any.scalar, *negated)
            }
            Expr::Quantified { expr, op, all, query } => {
                let operand = self.nested(expr, scope, depth)?;
                // What holds for all is what fails for none.
                let op = if *all { opposite(*op) } else { *op };
                let any = self.any(operand, op, query, scope, depth)?;
                negate(any.scalar, *all)
            }
            Expr::Aggregate { call, filter, order_by } => {
                let call = Aggregating::of(call, filter.as_ref(), order_by)?;
                self.aggregate(&call, scope, depth)?
            }
            Expr::Over { call, window } => self.over(call, window, scope, depth)?,
        };
        Ok(Typed { scalar: fold(typed.scalar), ..typed })
    }

    fn call(
        &mut self,
        name: &str,
        args: &[Nested<Expr>],
        distinct: bool,
        star: bool,
        scope: &Scope,
        depth: u32,
    ) -> Result<Typed, Error> {
        if is_aggregate(name) {
            let call = Aggregating { name, args, distinct, star, filter: None, order_by: &[] };
            return self.aggregate(&call, scope, depth);
        }
        if is_window_function(name) {
            return fail(WINDOWING, format!("window function {name} requires an OVER clause"));
        }
        if distinct || star {
            return fail(UNDEFINED_FUNCTION, format!("{name} is not an aggregate function"));
        }
        if let ("now" | "current_timestamp", []) = (name, args) {
            return Ok(Typed::new(Scalar::Literal(Value::Timestamp(self.settings.now_us)), Some(Type::Timestamp)));
        }
        let name = if name == "ifnull" { "coalesce" } else { name };
        let Some((function, arity)) = Function::by_name(name) else {
            return fail(UNDEFINED_FUNCTION, format!("function {name} does not exist"));
        };
        if !arity.contains(&args.len()) {
            return fail(UNDEFINED_FUNCTION, format!("function {name} does not take {} arguments", args.len()));
        }
        let mut args = args.iter().map(|arg| self.nested(arg, scope, depth)).collect::<Result<Vec<_>, _>>()?;
        if matches!(function, Function::Abs | Function::Sign | Function::Round | Function::Floor | Function::Ceil) {
            args = args.into_iter().map(|arg| self.number(arg)).collect();
        }
        let first = args.first().and_then(|arg| arg.data_type);
        let data_type = match function {
            Function::Lower
            | Function::Upper
            | Function::Substr
            | Function::Trim
            | Function::LTrim
            | Function::RTrim
            | Function::Replace
            | Function::Concat => Some(Type::Text),
            Function::Length | Function::StrPos => Some(Type::Integer),
            Function::Round if args.len() == 2 => Some(Type::Real),
            Function::Abs | Function::Sign | Function::Round | Function::Floor | Function::Ceil => first,
            Function::Mod if args.iter().all(|arg| arg.data_type == Some(Type::Integer)) => Some(Type::Integer),
            Function::Mod | Function::Sqrt | Function::Power | Function::LeadingNumber => Some(Type::Real),
            Function::Coalesce | Function::Greatest | Function::Least => {
                let common;
                (args, common) = self.unify_all(args)?;
                common
            }
            Function::NullIf => {
                let (Some(b), Some(a)) = (args.pop(), args.pop()) else {
                    return fail(UNDEFINED_FUNCTION, "nullif takes two arguments");
                };
                let (a, b) = self.pair(a, b)?;
                let data_type = a.data_type;
                args = vec![a, b];
                data_type
            }
            Function::DatePart | Function::DateTrunc => {
                let at = args.pop().map(|at| at.coerce(Type::Timestamp)).transpose()?;
                args.extend(at);
                Some(if function == Function::DatePart { Type::Real } else { Type::Timestamp })
            }
        };
        Ok(Typed::new(Scalar::Call(function, args.into_iter().map(boxed).collect()), data_type))
    }
}

/// The comparison that holds of two values exactly where `op` does not.
fn opposite(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Eq => BinaryOp::Ne,
        BinaryOp::Ne => BinaryOp::Eq,
        BinaryOp::Lt => BinaryOp::Ge,
        BinaryOp::Le => BinaryOp::Gt,
        BinaryOp::Gt => BinaryOp::Le,
        BinaryOp::Ge => BinaryOp::Lt,
        other => other,
    }
}

fn negate(scalar: Scalar, negated: bool) -> Typed {
    let scalar = if negated { Scalar::Not(Nested::new(fold(scalar))) } else { scalar };
    Typed::new(scalar, Some(Type::Boolean))
}

/// A number.
pub(super) fn numeric(typed: Typed) -> Result<Typed, Error> {
    match typed.data_type {
        None | Some(Type::Integer | Type::Real) => Ok(typed),
        _ if typed.untyped => {
            let integer = cast_to(typed.clone(), Type::Integer);
            integer.or_else(|_| cast_to(typed, Type::Real))
        }
        Some(other) => fail(DATATYPE_MISMATCH, format!("expected a number, found {}", other.name())),
    }
}

pub(super) fn binary(op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Error> {
    let data_type = match op {
        BinaryOp::And | BinaryOp::Or => {
            let (left, right) = (left.coerce(Type::Boolean)?, right.coerce(Type::Boolean)?);
            return Ok(Typed::new(fold(Scalar::Binary(op, boxed(left), boxed(right))), Some(Type::Boolean)));
        }
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem => {
            let (left, right) = (numeric(left)?, numeric(right)?);
            let (left, right, data_type) = unify(left, right)?;
            return Ok(Typed::new(fold(Scalar::Binary(op, boxed(left), boxed(right))), data_type));
        }
        BinaryOp::Concat => {
            if let (Some(Type::Blob), Some(Type::Blob)) = (left.data_type, right.data_type) {
                Type::Blob
            } else if [&left, &right].iter().any(|side| matches!(side.data_type, None | Some(Type::Text))) {
                Type::Text
            } else {
                return Err(error(DATATYPE_MISMATCH, "|| takes at least one text"));
            }
        }
        _ => {
            let (left, right, _) = unify(left, right)?;
            return Ok(Typed::new(fold(Scalar::Binary(op, boxed(left), boxed(right))), Some(Type::Boolean)));
        }
    };
    Ok(Typed::new(fold(Scalar::Binary(op, boxed(left), boxed(right))), Some(data_type)))
}
