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
    data::{DEPTH_MAX, Nested, Numeric, Type, Value, time},
    exec::{
        cast::cast,
        eval::eval,
        functions::{
            listed::{self, Listed},
            time::is_common,
        },
    },
};

/// Parts of one expression after what is repeated is written out.
const NODES_MAX: u32 = 100_000;

impl Typed {
    /// An expression of a type.
    pub(super) fn new(scalar: Scalar, data_type: Option<Type>) -> Typed {
        Typed { scalar, data_type, untyped: false, exact: None }
    }

    fn constant(value: Value) -> Typed {
        let data_type = value.data_type();
        Typed { untyped: data_type == Some(Type::Text), ..Typed::new(Scalar::Literal(value), data_type) }
    }

    /// A constant of an expression's text. A decimal one is a real, except beside a decimal.
    pub(super) fn written(value: Value) -> Typed {
        match value {
            Value::Numeric(exact) => Typed { exact: Some(exact), ..Typed::constant(Value::Real(exact.to_real())) },
            value => Typed::constant(value),
        }
    }

    /// The decimal that a constant real stands for.
    fn decimal(&self) -> Option<Numeric> {
        match self.scalar {
            Scalar::Literal(Value::Real(real)) => self.exact.or_else(|| Numeric::from_real(real)),
            _ => None,
        }
    }

    /// The day at whose beginning a constant time is.
    fn midnight(&self) -> Option<i32> {
        match self.scalar {
            Scalar::Literal(Value::Timestamp(at_us)) if at_us % time::DAY_US == 0 => Some(time::day_of(at_us)),
            _ => None,
        }
    }

    /// A constant time as its day.
    fn day(self) -> Typed {
        self.midnight().map_or(self, |day| Typed::constant(Value::Date(day)))
    }

    /// The same as a value of `to`, where PostgreSQL converts without being asked.
    pub fn coerce(self, to: Type) -> Result<Typed, Error> {
        match (self.data_type, to) {
            (None, _) => Ok(self),
            (Some(from), to) if from == to => Ok(self),
            _ if self.untyped => cast_to(self, to),
            (Some(from), to) if wider(from, to) == Some(to) => cast_to(self, to),
            (Some(Type::Real), Type::Numeric(_)) if self.decimal().is_some() => cast_to(self, to),
            (Some(from), to) => fail(DATATYPE_MISMATCH, format!("expected {}, found {}", to.name(), from.name())),
        }
    }

    /// The same as a value for a column of type `to` (an assignment also narrows).
    pub fn assign(self, to: Type, column: &str) -> Result<Typed, Error> {
        match (self.data_type, to) {
            (Some(_), Type::Text) => cast_to(self, to),
            (Some(Type::Real | Type::Numeric(_)), Type::Integer | Type::Numeric(_)) => cast_to(self, to),
            (Some(Type::Timestamp), Type::Date) => cast_to(self, to),
            (Some(from), _) if !self.untyped && wider(from, to.base()) != Some(to.base()) => fail(
                DATATYPE_MISMATCH,
                format!("column \"{column}\" is of type {} but expression is of type {}", to.name(), from.name()),
            ),
            (Some(_), Type::Numeric(_)) => cast_to(self, to),
            _ => self.coerce(to),
        }
    }
}

pub(super) fn cast_to(typed: Typed, to: Type) -> Result<Typed, Error> {
    let exact = if let Type::Numeric(_) = to { typed.decimal() } else { None };
    let scalar = match typed.scalar {
        Scalar::Literal(value) => Scalar::Literal(cast(exact.map_or(value, Value::Numeric), to)?),
        other if typed.data_type == Some(to) => other,
        other => converted(other, typed.data_type, to),
    };
    Ok(Typed::new(scalar, Some(to.base())))
}

/// `CAST(scalar AS to)`: owners do not convert from types with which only askers compute.
pub(super) fn converted(scalar: Scalar, from: Option<Type>, to: Type) -> Scalar {
    let from_wide = from.is_some_and(Type::is_wide) && !to.is_wide();
    match listed::named(to.name()).next() {
        Some((number, _)) if from_wide => Scalar::Call(Function::Listed(number), vec![Nested::new(scalar)]),
        _ => Scalar::Cast(Nested::new(scalar), to),
    }
}

/// The type that values of two types become where they meet; `None` where they do not go together.
pub(super) fn wider(a: Type, b: Type) -> Option<Type> {
    use Type::{Date, Integer, Numeric, Real, Timestamp};
    Some(match (a, b) {
        (a, b) if a == b => a,
        (Integer | Numeric(_), Real) | (Real, Integer | Numeric(_)) => Real,
        (Integer | Numeric(_), Numeric(_)) | (Numeric(_), Integer) => Numeric(None),
        (Date, Timestamp) | (Timestamp, Date) => Timestamp,
        _ => return None,
    })
}

/// A listed function by its number, with the arguments as it takes them.
type Found = (u16, &'static Listed, Vec<Typed>);

/// A call of a listed function of that name which takes these arguments, if there is one: the one that takes the most of
/// them as they are, of several the first.
fn listed(name: &str, args: &[Typed]) -> Result<Option<Found>, Error> {
    let fit = |arg: &Typed, wanted: Option<Type>| match (arg.data_type, wanted) {
        (None, _) | (_, None) => Some(0),
        (Some(from), Some(to)) if from == to => Some(3),
        (Some(_), Some(Type::Text)) if !arg.untyped => None,
        (Some(_), Some(_)) if arg.untyped => Some(0),
        (Some(Type::Integer), Some(Type::Numeric(_))) | (Some(Type::Date), Some(Type::Timestamp)) => Some(2),
        (Some(from), Some(to)) if wider(from, to) == Some(to) => Some(1),
        (Some(Type::Real), Some(Type::Numeric(_))) if arg.decimal().is_some() => Some(1),
        _ => None,
    };
    let mut best: Option<(u32, u16, &'static Listed)> = None;
    for (number, candidate) in listed::named(name).filter(|(_, candidate)| candidate.takes_count(args.len())) {
        let fits = args.iter().enumerate().try_fold(0, |sum, (at, arg)| Some(sum + fit(arg, candidate.wants(at))?));
        if let Some(fits) = fits
            && best.is_none_or(|(other, ..)| fits > other)
        {
            best = Some((fits, number, candidate));
        }
    }
    let Some((_, number, found)) = best else { return Ok(None) };
    let coerced = args.iter().enumerate().map(|(at, arg)| match found.wants(at) {
        Some(to) => arg.clone().coerce(to),
        None => Ok(arg.clone()),
    });
    Ok(Some((number, found, coerced.collect::<Result<_, _>>()?)))
}

/// A call of a listed function that is there.
pub(super) fn call_listed(name: &str, args: Vec<Typed>) -> Result<Typed, Error> {
    match listed(name, &args)? {
        Some((number, found, args)) => {
            let call = Scalar::Call(Function::Listed(number), args.into_iter().map(boxed).collect());
            Ok(Typed::new(fold(call), Some(found.gives)))
        }
        None => fail(UNDEFINED_FUNCTION, format!("function {name} does not take such arguments")),
    }
}

/// A value of a type that only askers print, as its text.
fn printed(typed: Typed) -> Typed {
    match typed.data_type {
        Some(wide) if wide.is_wide() => Typed::new(converted(typed.scalar, Some(wide), Type::Text), Some(Type::Text)),
        _ => typed,
    }
}

/// An operator of the lists.
fn listed_operator(op: &str, args: &[Typed]) -> Result<Typed, Error> {
    let Some((number, found, args)) = listed(op, args)? else {
        let name = |arg: &Typed| arg.data_type.map_or("unknown", Type::name);
        let (last, before) =
            args.split_last().map_or(("", ""), |(last, rest)| (name(last), rest.first().map_or("", name)));
        return fail(UNDEFINED_FUNCTION, format!("operator does not exist: {before} {op} {last}"));
    };
    let call = Scalar::Call(Function::Listed(number), args.into_iter().map(boxed).collect());
    Ok(Typed::new(fold(call), Some(found.gives)))
}

/// Whether operators with a value of the type are in the lists.
fn is_listed(typed: &Typed) -> bool {
    typed.data_type.is_some_and(|data_type| data_type.is_wide() || data_type == Type::Timestamp)
}

/// Brings two operands to types that compare; gives the common type.
pub(super) fn unify(a: Typed, b: Typed) -> Result<(Typed, Typed, Option<Type>), Error> {
    match (a.data_type, b.data_type) {
        (None, other) | (other, None) => Ok((a, b, other)),
        (Some(left), Some(right)) if left == right => Ok((a, b, Some(left))),
        (Some(Type::Integer), Some(Type::Real)) | (Some(Type::Real), Some(Type::Integer)) => {
            Ok((a, b, Some(Type::Real)))
        }
        (Some(Type::Numeric(_)), Some(Type::Real)) if b.decimal().is_some() => {
            let to = Type::Numeric(None);
            Ok((a, cast_to(b, to)?, Some(to)))
        }
        (Some(Type::Real), Some(Type::Numeric(_))) if a.decimal().is_some() => {
            let to = Type::Numeric(None);
            Ok((cast_to(a, to)?, b, Some(to)))
        }
        // So that owners compare days with days.
        (Some(Type::Date), Some(Type::Timestamp)) if b.midnight().is_some() => Ok((a, b.day(), Some(Type::Date))),
        (Some(Type::Timestamp), Some(Type::Date)) if a.midnight().is_some() => Ok((a.day(), b, Some(Type::Date))),
        (Some(left), Some(right)) if wider(left, right).is_some() => {
            let to = wider(left, right).unwrap_or(left);
            Ok((a.coerce(to)?, b.coerce(to)?, Some(to)))
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
    // Beside a decimal a constant real is one.
    let decimals = items.iter().any(|item| matches!(item.data_type, Some(Type::Numeric(_))));
    for item in items.iter().filter(|item| !item.untyped) {
        let data_type = if decimals && item.decimal().is_some() { Some(Type::Numeric(None)) } else { item.data_type };
        common = match (common, data_type) {
            (None, other) | (other, None) => other,
            (Some(a), Some(b)) => match wider(a, b) {
                Some(wider) => Some(wider),
                None => return fail(DATATYPE_MISMATCH, format!("{} and {} do not go together", a.name(), b.name())),
            },
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
        Scalar::Call(Function::Listed(number), _) if listed::numbered(*number).is_none_or(|one| one.volatile) => false,
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
            Expr::Literal(value) => Typed::written(value.clone()),
            Expr::Param(number) => match self.params.get(usize::from(*number).wrapping_sub(1)) {
                Some(value) => Typed::constant(value.clone()),
                None => return fail(UNDEFINED_PARAMETER, format!("there is no parameter ${number}")),
            },
            Expr::Column { table, name } => self.plain_column(self.resolve(scope, table.as_deref(), name)?)?,
            Expr::Unary(UnaryOp::Not, operand) => {
                let operand = self.nested(operand, scope, depth)?;
                let operand = self.truth(operand)?;
                Typed::new(Scalar::Not(boxed(operand)), Some(Type::Boolean))
            }
            Expr::Unary(UnaryOp::Neg, operand) => {
                let operand = self.nested(operand, scope, depth)?;
                if is_listed(&operand) {
                    return listed_operator("-", &[operand]);
                }
                let operand = numeric(self.number(operand))?;
                let data_type = operand.data_type;
                Typed::new(Scalar::Neg(boxed(operand)), data_type)
            }
            Expr::Binary(op, left, right) => match self.sealed_comparison(*op, (left, right), scope, depth)? {
                Some(by_tags) => by_tags,
                None => {
                    let (left, right) = (self.nested(left, scope, depth)?, self.nested(right, scope, depth)?);
                    self.operation(*op, left, right)?
                }
            },
            Expr::IsNull { expr, negated } => {
                let operand = match self.sealed_presence(expr, false, scope)? {
                    Some(cell) => cell,
                    None => self.nested(expr, scope, depth)?,
                };
                negate(Scalar::IsNull(boxed(operand)), *negated)
            }
            Expr::IsBool { expr, value, negated } => {
                let operand = self.nested(expr, scope, depth)?;
                let operand = self.truth(operand)?;
                negate(Scalar::IsBool(boxed(operand), *value), *negated)
            }
            Expr::InList { expr, list, negated } => {
                if let Some(by_tags) = self.sealed_in((expr, list), scope, depth)? {
                    return Ok(negate(by_tags, *negated));
                }
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
        let today = time::day_of(self.settings.now_us);
        match (name, args) {
            (
                "now"
                | "current_timestamp"
                | "localtimestamp"
                | "transaction_timestamp"
                | "statement_timestamp"
                | "clock_timestamp",
                [],
            ) => return Ok(Typed::constant(Value::Timestamp(self.settings.now_us))),
            ("current_user" | "session_user" | "user", []) => {
                if let Some(user) = self.tested_user {
                    return Ok(Typed::new(Scalar::Column(user), Some(Type::Text)));
                }
                let user = self.settings.user.map_or(Value::Null, |user| Value::Text(user.to_string()));
                return Ok(Typed::new(Scalar::Literal(user), Some(Type::Text)));
            }
            ("current_peer", []) => return Ok(Typed::constant(Value::Text(self.settings.me.to_string()))),
            ("current_date", []) => return Ok(Typed::constant(Value::Date(today))),
            _ => {}
        }
        let name = match name {
            "ifnull" => "coalesce",
            "date_part" | "extract" => "date_part",
            name => name,
        };
        let args = args.iter().map(|arg| self.nested(arg, scope, depth)).collect::<Result<Vec<_>, _>>()?;
        let (name, mut args) = self.bits(name, args);
        if let ("age", [_]) = (name, &args[..]) {
            args.insert(0, Typed::constant(Value::Date(today)));
        }
        if let Some(binned) = self.binned(name, &args)? {
            return Ok(binned);
        }
        let known = Function::by_name(name);
        let of_any = matches!(
            known,
            Some((Function::Coalesce | Function::NullIf | Function::Greatest | Function::Least | Function::Concat, _))
        );
        let rare = match (&known, args.first().map(|arg| &arg.scalar)) {
            (Some((Function::DatePart | Function::DateTrunc, _)), Some(Scalar::Literal(Value::Text(field)))) => {
                !is_common(field)
            }
            _ => false,
        };
        let wide = args.iter().any(|arg| arg.data_type.is_some_and(Type::is_wide));
        if !of_any
            && (known.is_none() || wide || rare)
            && let Some((number, found, mut args)) = listed(name, &args)?
        {
            if found.volatile {
                args.push(Typed::constant(Value::Uuid(self.settings.random.to_be_bytes())));
            }
            let call = Scalar::Call(Function::Listed(number), args.into_iter().map(boxed).collect());
            return Ok(Typed::new(call, Some(found.gives)));
        }
        let Some((function, arity)) = known else {
            if listed::named(name).next().is_some() {
                return fail(UNDEFINED_FUNCTION, format!("function {name} does not take such arguments"));
            }
            return fail(UNDEFINED_FUNCTION, format!("function {name} does not exist"));
        };
        if !arity.contains(&args.len()) {
            return fail(UNDEFINED_FUNCTION, format!("function {name} does not take {} arguments", args.len()));
        }
        if matches!(function, Function::Abs | Function::Sign | Function::Round | Function::Floor | Function::Ceil) {
            args = args.into_iter().map(|arg| self.number(arg)).collect();
        }
        if function == Function::Concat {
            args = args.into_iter().map(printed).collect();
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
            Function::Mod | Function::Sqrt | Function::LeadingNumber => Some(Type::Real),
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
            // Their types are in the lists.
            Function::Power | Function::Listed(_) | Function::Bin => None,
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
    let of_json = [&left, &right].iter().any(|side| side.data_type == Some(Type::Json));
    let (left, right) = match op {
        BinaryOp::Concat if of_json => return listed_operator("||", &[left, right]),
        BinaryOp::Concat => (printed(left), printed(right)),
        _ => (left, right),
    };
    let data_type = match op {
        BinaryOp::And | BinaryOp::Or => {
            let (left, right) = (left.coerce(Type::Boolean)?, right.coerce(Type::Boolean)?);
            return Ok(Typed::new(fold(Scalar::Binary(op, boxed(left), boxed(right))), Some(Type::Boolean)));
        }
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem
            if is_listed(&left) || is_listed(&right) =>
        {
            let symbol = match op {
                BinaryOp::Add => "+",
                BinaryOp::Sub => "-",
                BinaryOp::Mul => "*",
                BinaryOp::Div => "/",
                _ => "%",
            };
            return listed_operator(symbol, &[left, right]);
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
