//! Windows over time: `tumble` as an expression, and `tumble` and `hop` in FROM, which give a row for each window that a
//! time lies in. Names and meaning follow Begoli et al., *One SQL to Rule Them All*, SIGMOD 2019, section 6.4.1; a window
//! holds its start and not its end, and the first one of a size starts with 1970.
//!
//! Nothing here is of its own: `hop(at, slide, size)` is the LATERAL query
//!
//! ```sql
//! SELECT tumble(at, slide) - back AS window_start, tumble(at, slide) - back + size AS window_end
//!   FROM (VALUES (0 * slide), (1 * slide), ..) AS windows (back) WHERE tumble(at, slide) - back + size > at
//! ```

use super::{
    ast::{BinaryOp, Body, Expr, Select, SelectItem, TableRef},
    fault::{INVALID_ARGUMENT, UNDEFINED_FUNCTION, fail},
    scalar::{Function, Scalar},
    scope::{Binder, Scope, Typed},
};
use crate::{
    Error,
    data::{Interval, Nested, Type, Value},
};

/// Windows that one time may lie in.
const WINDOWS_MAX: i64 = 1_000;
/// What the list of windows is called inside; no column of a table has that name.
const LIST: &str = "windows of a time";
const BACK: &str = "back";
const EPOCH: Scalar = Scalar::Literal(Value::Timestamp(0));

impl Binder<'_> {
    /// `tumble(time, size [, origin])` and, where stride and origin are constants, `date_bin(stride, time, origin)`: what
    /// owners compute, too.
    pub(super) fn binned(&mut self, name: &str, args: &[Typed]) -> Result<Option<Typed>, Error> {
        match (name, args) {
            ("tumble", [time, size]) => bin(time, size, &Typed::new(EPOCH, Some(Type::Timestamp))).map(Some),
            ("tumble", [time, size, origin]) => bin(time, size, origin).map(Some),
            ("tumble", _) => fail(UNDEFINED_FUNCTION, "tumble takes a time, a size and perhaps an origin"),
            // Any other is the asker's.
            ("date_bin", [stride, time, origin]) => Ok(bin(time, stride, origin).ok()),
            _ => Ok(None),
        }
    }

    /// The query that a function in FROM stands for.
    pub(super) fn windows(&mut self, name: &str, args: &[Nested<Expr>], depth: u32) -> Result<Select, Error> {
        let mut constant = |arg: &Expr| {
            let typed = self.nested(arg, &Scope::default(), depth)?.coerce(Type::Interval)?;
            match typed.scalar {
                Scalar::Literal(value) => micros(&value),
                _ => fail(INVALID_ARGUMENT, format!("the widths of {name} are constants")),
            }
        };
        let (time, slide, size) = match (name, args) {
            ("tumble", [time, size]) => (time, constant(size)?, constant(size)?),
            ("hop", [time, slide, size]) => (time, constant(slide)?, constant(size)?),
            ("tumble", _) => return fail(UNDEFINED_FUNCTION, "tumble in FROM takes a time and a size"),
            ("hop", _) => return fail(UNDEFINED_FUNCTION, "hop takes a time, a slide and a size"),
            _ => return fail(UNDEFINED_FUNCTION, format!("there is no function {name} that gives rows")),
        };
        let count = size.saturating_add(slide - 1) / slide;
        if count > WINDOWS_MAX {
            let message = format!("a time would lie in {count} windows of {name}, and {WINDOWS_MAX} are allowed");
            return fail(INVALID_ARGUMENT, message);
        }
        let span = |us: i64| Expr::Literal(Interval::new(0, 0, us).map_or(Value::Null, Value::Interval));
        let binary = |op, a, b| Expr::Binary(op, Nested::new(a), Nested::new(b));
        let last = Expr::Call {
            name: "tumble".to_owned(),
            args: vec![time.clone(), Nested::new(span(slide))],
            distinct: false,
            star: false,
        };
        let back = Expr::Column { table: Some(LIST.to_owned()), name: BACK.to_owned() };
        let start = binary(BinaryOp::Sub, last, back);
        let end = binary(BinaryOp::Add, start.clone(), span(size));
        let list = (0..count).map(|number| vec![span(number * slide)]).collect();
        let list = Select { body: Body::Values(list), ..Select::default() };
        let list = TableRef::Derived { query: Nested::new(list), alias: LIST.to_owned() };
        let named = |expr, name: &str| SelectItem::Expr(expr, Some(name.to_owned()));
        Ok(Select {
            filter: Some(binary(BinaryOp::Gt, end.clone(), (**time).clone())),
            items: vec![named(start, "window_start"), named(end, "window_end")],
            from: vec![TableRef::Renamed { item: Nested::new(list), columns: vec![BACK.to_owned()] }],
            ..Select::default()
        })
    }
}

fn bin(time: &Typed, size: &Typed, origin: &Typed) -> Result<Typed, Error> {
    let coerced = |typed: &Typed, to| typed.clone().coerce(to).map(|typed| typed.scalar);
    let constants = (coerced(size, Type::Interval)?, coerced(origin, Type::Timestamp)?);
    let (Scalar::Literal(size), Scalar::Literal(Value::Timestamp(origin))) = constants else {
        return fail(INVALID_ARGUMENT, "size and origin of tumble are constants");
    };
    let width = [micros(&size)?, origin].map(|us| Scalar::Literal(Value::Integer(us)));
    let args = core::iter::once(coerced(time, Type::Timestamp)?).chain(width);
    let call = Scalar::Call(Function::Bin, args.map(Nested::new).collect());
    Ok(Typed::new(call, Some(Type::Timestamp)))
}

/// The width of a window in microseconds.
fn micros(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Interval(width) if width.months == 0 => match i64::try_from(width.total_us()) {
            Ok(us) if us > 0 => Ok(us),
            _ => fail(INVALID_ARGUMENT, "the width of a window is above zero"),
        },
        _ => fail(INVALID_ARGUMENT, "the width of a window is an interval without months"),
    }
}
