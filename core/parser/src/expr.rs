//! Expressions and names.

use pontoon_core::{
    data::{Nested, Numeric, Type, Value},
    exec::cast::{cast, unhex},
    sql::{
        ast::{BinaryOp, Expr, Select, UnaryOp, Window},
        fault::{INVALID_TEXT, SYNTAX, TOO_COMPLEX},
    },
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    query::{inner_order, select, window},
    statement::data_type,
    unsupported,
};

/// Expressions within one another: well within what peers decode.
const DEPTH_MAX: u32 = 60;

/// Folded as PostgreSQL does it: lower case unless quoted.
pub(crate) fn name(ident: parsed::Ident) -> String {
    if ident.quote_style.is_some() { ident.value } else { ident.value.to_lowercase() }
}

/// A name without a schema.
pub(crate) fn object_name(mut object: parsed::ObjectName) -> Result<String> {
    match (object.0.pop(), object.0.is_empty()) {
        (Some(parsed::ObjectNamePart::Identifier(ident)), true) => Ok(name(ident)),
        _ => unsupported("names with a schema"),
    }
}

pub(crate) fn expr(parsed: parsed::Expr, depth: u32) -> Result<Expr> {
    use parsed::Expr as E;
    if depth > DEPTH_MAX {
        return Err(ParseError::new(TOO_COMPLEX, "an expression that nests too deep"));
    }
    let nested = |parsed: Box<E>| -> Result<_> { Ok(Nested::new(expr(*parsed, depth + 1)?)) };
    let is_bool =
        |parsed: Box<E>, value, negated| -> Result<_> { Ok(Expr::IsBool { expr: nested(parsed)?, value, negated }) };
    let call = |name: &str, args: Vec<Expr>| Expr::Call {
        name: name.to_owned(),
        args: args.into_iter().map(Nested::new).collect(),
        distinct: false,
        star: false,
    };
    Ok(match parsed {
        E::Identifier(ident) => Expr::Column { table: None, name: name(ident) },
        E::CompoundIdentifier(mut idents) => match (idents.pop(), idents.pop(), idents.is_empty()) {
            (Some(column), Some(table), true) => Expr::Column { table: Some(name(table)), name: name(column) },
            _ => return unsupported("names with a schema"),
        },
        E::Value(value) => literal(value.value)?,
        E::TypedString(typed) => {
            let text = Expr::Literal(Value::Text(typed.value.into_string().unwrap_or_default()));
            Expr::Cast(Nested::new(text), data_type(&typed.data_type)?)
        }
        E::Interval(interval) => self::interval(interval)?,
        // Parentheses leave nothing behind; sqlparser bounds how many there are.
        E::Nested(inner) => expr(*inner, depth)?,
        E::IsNull(operand) => Expr::IsNull { expr: nested(operand)?, negated: false },
        E::IsNotNull(operand) => Expr::IsNull { expr: nested(operand)?, negated: true },
        E::IsUnknown(operand) => Expr::IsNull { expr: nested(operand)?, negated: false },
        E::IsNotUnknown(operand) => Expr::IsNull { expr: nested(operand)?, negated: true },
        E::IsTrue(operand) => is_bool(operand, true, false)?,
        E::IsNotTrue(operand) => is_bool(operand, true, true)?,
        E::IsFalse(operand) => is_bool(operand, false, false)?,
        E::IsNotFalse(operand) => is_bool(operand, false, true)?,
        E::IsDistinctFrom(a, b) => Expr::Binary(BinaryOp::IsDistinct, nested(a)?, nested(b)?),
        E::IsNotDistinctFrom(a, b) => Expr::Binary(BinaryOp::IsNotDistinct, nested(a)?, nested(b)?),
        E::InList { expr: operand, list, negated } => {
            let item = |item| Ok(Nested::new(expr(item, depth + 1)?));
            Expr::InList { expr: nested(operand)?, list: list.into_iter().map(item).collect::<Result<_>>()?, negated }
        }
        E::Between { expr: operand, negated, low, high } => {
            Expr::Between { expr: nested(operand)?, low: nested(low)?, high: nested(high)?, negated }
        }
        E::Like { negated, any: false, expr: operand, pattern, escape_char } => {
            let pattern = like_pattern(nested(pattern)?, escape_char)?;
            Expr::Like { expr: nested(operand)?, pattern, negated, fold_case: false }
        }
        E::ILike { negated, any: false, expr: operand, pattern, escape_char } => {
            let pattern = like_pattern(nested(pattern)?, escape_char)?;
            Expr::Like { expr: nested(operand)?, pattern, negated, fold_case: true }
        }
        E::UnaryOp { op, expr: operand } => match (op, *operand) {
            (parsed::UnaryOperator::Plus, operand) => expr(operand, depth + 1)?,
            (parsed::UnaryOperator::Not, operand) => Expr::Unary(UnaryOp::Not, Nested::new(expr(operand, depth + 1)?)),
            // The sign belongs to the number: -2^63 has no positive counterpart.
            (parsed::UnaryOperator::Minus, E::Value(value)) if matches!(value.value, parsed::Value::Number(..)) => {
                number(&format!("-{value}"))?
            }
            (parsed::UnaryOperator::Minus, operand) => {
                Expr::Unary(UnaryOp::Neg, Nested::new(expr(operand, depth + 1)?))
            }
            (parsed::UnaryOperator::BitwiseNot, operand) => call("~", vec![expr(operand, depth + 1)?]),
            (op, _) => return unsupported(format!("operator {op}")),
        },
        E::BinaryOp { left, op: op @ (parsed::BinaryOperator::And | parsed::BinaryOperator::Or), right } => {
            chain(*left, op, *right, depth)?
        }
        E::BinaryOp { left, op, right } => match named_operator(&op) {
            Some(name) => call(name, vec![expr(*left, depth + 1)?, expr(*right, depth + 1)?]),
            None => Expr::Binary(operator(&op)?, nested(left)?, nested(right)?),
        },
        E::Case { operand, conditions, else_result, .. } => {
            let when = |when: parsed::CaseWhen| {
                Ok((Nested::new(expr(when.condition, depth + 1)?), Nested::new(expr(when.result, depth + 1)?)))
            };
            Expr::Case {
                operand: operand.map(nested).transpose()?,
                whens: conditions.into_iter().map(when).collect::<Result<_>>()?,
                otherwise: else_result.map(nested).transpose()?,
            }
        }
        E::Cast {
            kind: parsed::CastKind::Cast | parsed::CastKind::DoubleColon, expr: operand, data_type: to, ..
        } => Expr::Cast(nested(operand)?, data_type(&to)?),
        E::Extract { field, expr: operand, .. } => {
            let field = Expr::Literal(Value::Text(field.to_string().to_lowercase()));
            call("date_part", vec![field, expr(*operand, depth + 1)?])
        }
        E::Overlay { expr: operand, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![expr(*operand, depth + 1)?, expr(*overlay_what, depth + 1)?];
            args.push(expr(*overlay_from, depth + 1)?);
            if let Some(count) = overlay_for {
                args.push(expr(*count, depth + 1)?);
            }
            call("overlay", args)
        }
        // Times are UTC.
        E::AtTimeZone { timestamp, time_zone } => match *time_zone {
            E::Value(zone) if is_utc(&zone.value) => Expr::Cast(nested(timestamp)?, Type::Timestamp),
            other => return unsupported(format!("AT TIME ZONE {other}; times are UTC")),
        },
        E::Ceil { expr: operand, .. } => call("ceil", vec![expr(*operand, depth + 1)?]),
        E::Floor { expr: operand, .. } => call("floor", vec![expr(*operand, depth + 1)?]),
        E::Position { expr: part, r#in } => call("strpos", vec![expr(*r#in, depth + 1)?, expr(*part, depth + 1)?]),
        E::Substring { expr: operand, substring_from, substring_for, .. } => {
            let mut args = vec![expr(*operand, depth + 1)?];
            args.push(match substring_from {
                Some(from) => expr(*from, depth + 1)?,
                None => Expr::Literal(Value::Integer(1)),
            });
            if let Some(count) = substring_for {
                args.push(expr(*count, depth + 1)?);
            }
            call("substr", args)
        }
        E::Trim { trim_where, trim_what, expr: operand, trim_characters } => {
            let name = match trim_where {
                None | Some(parsed::TrimWhereField::Both) => "trim",
                Some(parsed::TrimWhereField::Leading) => "ltrim",
                Some(parsed::TrimWhereField::Trailing) => "rtrim",
            };
            let mut args = vec![expr(*operand, depth + 1)?];
            let mut set = trim_what.map(|set| *set).into_iter().chain(trim_characters.into_iter().flatten());
            if let Some(set) = set.next() {
                args.push(expr(set, depth + 1)?);
            }
            call(name, args)
        }
        E::Function(function) => self::call(function, depth)?,
        E::Subquery(query) => Expr::Subquery(subquery(*query, depth)?),
        E::Exists { subquery: query, negated } => {
            let exists = Expr::Exists(subquery(*query, depth)?);
            if negated { Expr::Unary(UnaryOp::Not, Nested::new(exists)) } else { exists }
        }
        E::InSubquery { expr: operand, subquery: query, negated } => {
            Expr::InSubquery { expr: nested(operand)?, query: subquery(*query, depth)?, negated }
        }
        E::AnyOp { left, compare_op, right, .. } => quantified(*left, &compare_op, *right, false, depth)?,
        E::AllOp { left, compare_op, right } => quantified(*left, &compare_op, *right, true, depth)?,
        other => return unsupported(other),
    })
}

/// A chain of AND or OR as a balanced tree: as long as one likes, but never deep.
fn chain(left: parsed::Expr, op: parsed::BinaryOperator, right: parsed::Expr, depth: u32) -> Result<Expr> {
    let ours = operator(&op)?;
    let (mut operands, mut open) = (Vec::new(), vec![left, right]);
    while let Some(operand) = open.pop() {
        match operand {
            parsed::Expr::BinaryOp { left, op: other, right } if other == op => open.extend([*left, *right]),
            parsed::Expr::Nested(inner)
                if matches!(&*inner, parsed::Expr::BinaryOp { op: other, .. } if *other == op)
                    || matches!(&*inner, parsed::Expr::Nested(_)) =>
            {
                open.push(*inner);
            }
            other => operands.push(other),
        }
    }
    // Levels that balancing adds.
    let depth = depth + operands.len().next_power_of_two().ilog2();
    let mut level = operands.into_iter().rev().map(|operand| expr(operand, depth)).collect::<Result<Vec<_>>>()?;
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        let mut rest = level.into_iter();
        while let Some(a) = rest.next() {
            next.push(match rest.next() {
                Some(b) => Expr::Binary(ours, Nested::new(a), Nested::new(b)),
                None => a,
            });
        }
        level = next;
    }
    level.pop().ok_or_else(|| ParseError::new(SYNTAX, "an operator without operands"))
}

/// Operators that are calls of functions by their name.
fn named_operator(op: &parsed::BinaryOperator) -> Option<&'static str> {
    use parsed::BinaryOperator as B;
    Some(match op {
        B::Arrow => "->",
        B::LongArrow => "->>",
        B::HashArrow => "#>",
        B::HashLongArrow => "#>>",
        B::AtArrow => "@>",
        B::ArrowAt => "<@",
        B::Question => "?",
        B::PGExp => "power",
        B::PGRegexMatch => "~",
        B::PGRegexIMatch => "~*",
        B::PGRegexNotMatch => "!~",
        B::PGRegexNotIMatch => "!~*",
        B::BitwiseAnd => "&",
        B::BitwiseOr => "|",
        B::PGBitwiseXor => "#",
        B::PGBitwiseShiftLeft => "<<",
        B::PGBitwiseShiftRight => ">>",
        _ => return None,
    })
}

/// `LIKE pattern ESCAPE 'c'`: the pattern with a backslash in place of the character.
fn like_pattern(pattern: Nested<Expr>, escape: Option<Box<parsed::Expr>>) -> Result<Nested<Expr>> {
    let Some(escape) = escape else { return Ok(pattern) };
    let escape = match *escape {
        parsed::Expr::Value(value) => value.value.into_string(),
        _ => None,
    };
    let (Some(escape), Expr::Literal(Value::Text(text))) = (escape, &*pattern) else {
        return unsupported("ESCAPE of a pattern or character that is not constant");
    };
    let mut escapes = escape.chars();
    let (escape, None) = (escapes.next(), escapes.next()) else {
        return Err(ParseError::new(SYNTAX, "an escape character is one character"));
    };
    let (mut rewritten, mut chars) = (String::with_capacity(text.len()), text.chars());
    while let Some(char) = chars.next() {
        let (char, escaped) = if Some(char) == escape { (chars.next(), true) } else { (Some(char), char == '\\') };
        if escaped {
            rewritten.push('\\');
        }
        rewritten.extend(char);
    }
    Ok(Nested::new(Expr::Literal(Value::Text(rewritten))))
}

fn is_utc(zone: &parsed::Value) -> bool {
    matches!(zone, parsed::Value::SingleQuotedString(name) if ["utc", "gmt", "z"].contains(&&*name.to_lowercase()))
}

/// `INTERVAL '1 day'`, `INTERVAL '1' DAY`.
fn interval(interval: parsed::Interval) -> Result<Expr> {
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return unsupported("INTERVAL .. TO ..; write '1 day 02:00'");
    }
    let text = match *interval.value {
        parsed::Expr::Value(value) => match value.value {
            parsed::Value::SingleQuotedString(text) => text,
            other => other.to_string(),
        },
        other => return unsupported(format!("INTERVAL {other}; write {other} * INTERVAL '1 day'")),
    };
    let text = match interval.leading_field {
        Some(field) => format!("{text} {}", field.to_string().to_lowercase()),
        None => text,
    };
    Ok(Expr::Cast(Nested::new(Expr::Literal(Value::Text(text))), Type::Interval))
}

fn operator(op: &parsed::BinaryOperator) -> Result<BinaryOp> {
    use parsed::BinaryOperator as B;
    Ok(match op {
        B::Plus => BinaryOp::Add,
        B::Minus => BinaryOp::Sub,
        B::Multiply => BinaryOp::Mul,
        B::Divide => BinaryOp::Div,
        B::Modulo => BinaryOp::Rem,
        B::StringConcat => BinaryOp::Concat,
        B::Eq => BinaryOp::Eq,
        B::NotEq => BinaryOp::Ne,
        B::Lt => BinaryOp::Lt,
        B::LtEq => BinaryOp::Le,
        B::Gt => BinaryOp::Gt,
        B::GtEq => BinaryOp::Ge,
        B::And => BinaryOp::And,
        B::Or => BinaryOp::Or,
        other => return unsupported(format!("operator {other}")),
    })
}

fn literal(value: parsed::Value) -> Result<Expr> {
    use parsed::Value as V;
    Ok(match value {
        V::Number(text, _) => number(&text)?,
        V::SingleQuotedString(text) | V::EscapedStringLiteral(text) | V::NationalStringLiteral(text) => {
            Expr::Literal(Value::Text(text))
        }
        V::DollarQuotedString(text) => Expr::Literal(Value::Text(text.value)),
        V::HexStringLiteral(digits) => match unhex(&digits) {
            Some(bytes) => Expr::Literal(Value::Blob(bytes)),
            None => return Err(ParseError::new(INVALID_TEXT, "pairs of hexadecimal digits expected")),
        },
        V::Boolean(truth) => Expr::Literal(Value::Boolean(truth)),
        V::Null => Expr::Literal(Value::Null),
        V::Placeholder(text) => match text.strip_prefix('$').and_then(|number| number.parse().ok()) {
            Some(number) if number > 0 => Expr::Param(number),
            _ => return Err(ParseError::new(SYNTAX, format!("a parameter is $1, $2, ..; found {text}"))),
        },
        other => return unsupported(other),
    })
}

/// An integer where it fits; else a decimal, which is a real unless it stands beside one; else a real.
fn number(text: &str) -> Result<Expr> {
    if let Ok(number) = text.parse() {
        return Ok(Expr::Literal(Value::Integer(number)));
    }
    if let Some(number) = Numeric::parse(text).filter(|_| !text.contains(['e', 'E'])) {
        return Ok(Expr::Literal(Value::Numeric(number)));
    }
    match cast(Value::Text(text.to_owned()), Type::Real) {
        Ok(number) => Ok(Expr::Literal(number)),
        Err(_) => Err(ParseError::new(SYNTAX, format!("not a number: {text}"))),
    }
}

/// A query within an expression.
fn subquery(query: parsed::Query, depth: u32) -> Result<Nested<Select>> {
    Ok(Nested::new(select(query, depth + 2)?))
}

fn quantified(
    left: parsed::Expr,
    op: &parsed::BinaryOperator,
    right: parsed::Expr,
    all: bool,
    depth: u32,
) -> Result<Expr> {
    let op = operator(op)?;
    if !matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge) {
        return unsupported("ANY and ALL of what is not a comparison");
    }
    match right {
        parsed::Expr::Subquery(query) => {
            let expr = Nested::new(expr(left, depth + 1)?);
            Ok(Expr::Quantified { expr, op, all, query: subquery(*query, depth)? })
        }
        _ => unsupported("ANY and ALL of what is not a query"),
    }
}

fn call(function: parsed::Function, depth: u32) -> Result<Expr> {
    if function.null_treatment.is_some() {
        return unsupported("IGNORE NULLS and RESPECT NULLS");
    }
    let name = object_name(function.name)?;
    let within = !function.within_group.is_empty();
    if within != matches!(&*name, "percentile_cont" | "percentile_disc" | "mode") {
        let message = format!("WITHIN GROUP {} {name}", if within { "does not belong to" } else { "is required for" });
        return Err(ParseError::new(SYNTAX, message));
    }
    if within && function.over.is_some() {
        return unsupported(format!("OVER of {name}"));
    }
    let list = match function.args {
        parsed::FunctionArguments::None => None,
        parsed::FunctionArguments::List(list) => Some(list),
        parsed::FunctionArguments::Subquery(_) => return unsupported("a subquery as an argument"),
    };
    let (mut args, mut distinct, mut star, mut order_by) = (Vec::new(), false, false, Vec::new());
    if let Some(list) = list {
        for clause in list.clauses {
            match clause {
                parsed::FunctionArgumentClause::OrderBy(items) => order_by = inner_order(items, depth + 1)?,
                _ => return unsupported("clauses among arguments"),
            }
        }
        distinct = list.duplicate_treatment == Some(parsed::DuplicateTreatment::Distinct);
        for arg in list.args {
            match arg {
                parsed::FunctionArg::Unnamed(parsed::FunctionArgExpr::Expr(arg)) => {
                    args.push(Nested::new(expr(arg, depth + 1)?));
                }
                parsed::FunctionArg::Unnamed(parsed::FunctionArgExpr::Wildcard) => star = true,
                other => return unsupported(format!("argument {other}")),
            }
        }
    }
    if within {
        order_by = inner_order(function.within_group, depth + 1)?;
    }
    let mut call = Expr::Call { name, args, distinct, star };
    let filter = function.filter.map(|filter| expr(*filter, depth + 1)).transpose()?.map(Nested::new);
    if filter.is_some() || !order_by.is_empty() {
        call = Expr::Aggregate { call: Nested::new(call), filter, order_by };
    }
    let window = match function.over {
        None => return Ok(call),
        Some(parsed::WindowType::NamedWindow(base)) => Window { base: Some(self::name(base)), ..Window::default() },
        Some(parsed::WindowType::WindowSpec(spec)) => window(spec, depth + 1)?,
    };
    Ok(Expr::Over { call: Nested::new(call), window: Nested::new(window) })
}
