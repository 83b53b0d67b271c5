//! Binds window functions: each becomes a column of its own, which a window computes after grouping and HAVING.
//!
//! Calls over the same rows in the same order share one pass.

use super::{
    aggregates::{Aggregating, is_aggregate},
    ast::{Expr, Frame, FrameBound, FrameUnit, Window},
    fault::{INVALID_ARGUMENT, SYNTAX, TOO_COMPLEX, UNDEFINED_FUNCTION, UNSUPPORTED, WINDOWING, fail},
    logical::{ColumnId, Logical},
    scalar::Scalar,
    scope::{Binder, Scope, Typed},
};
use crate::{
    Error,
    data::{Type, Value},
    exec::plan::{self, Bound, OrderKey, WindowCall, WindowFrame, WindowFunction},
};

/// How many named windows may go back to one another.
const BASES_MAX: u32 = 32;

/// A window function that an expression found.
pub struct Windowed {
    /// The column that stands for it.
    id: ColumnId,
    /// Its window, with this one call.
    pub window: plan::Window,
}

/// Whether a function is one of windows only.
pub fn is_window_function(name: &str) -> bool {
    ranking(name).is_some() || valued(name).is_some()
}

fn ranking(name: &str) -> Option<(WindowFunction, Type)> {
    Some(match name {
        "row_number" => (WindowFunction::RowNumber, Type::Integer),
        "rank" => (WindowFunction::Rank, Type::Integer),
        "dense_rank" => (WindowFunction::DenseRank, Type::Integer),
        "percent_rank" => (WindowFunction::PercentRank, Type::Real),
        "cume_dist" => (WindowFunction::CumeDist, Type::Real),
        _ => return None,
    })
}

/// A function of a value, and how many arguments it takes.
fn valued(name: &str) -> Option<(WindowFunction, core::ops::RangeInclusive<usize>)> {
    Some(match name {
        "ntile" => (WindowFunction::Ntile, 1..=1),
        "lag" => (WindowFunction::Lag, 1..=3),
        "lead" => (WindowFunction::Lead, 1..=3),
        "first_value" => (WindowFunction::FirstValue, 1..=1),
        "last_value" => (WindowFunction::LastValue, 1..=1),
        "nth_value" => (WindowFunction::NthValue, 2..=2),
        _ => return None,
    })
}

impl Binder<'_> {
    /// `call OVER (window)`.
    pub(super) fn over(&mut self, call: &Expr, window: &Window, scope: &Scope, depth: u32) -> Result<Typed, Error> {
        // Windows do not nest: while the parts of one are bound there are none.
        let Some(mut found) = self.windows.take() else {
            return fail(WINDOWING, "window functions are not allowed here");
        };
        let bound = self.windowed(call, window, scope, depth);
        let (name, call, value) = bound?;
        let id = match found.iter().find(|other| other.window == call) {
            Some(other) => other.id,
            None => {
                let id = self.column(name, value.data_type);
                found.push(Windowed { id, window: call });
                id
            }
        };
        self.windows = Some(found);
        // What stands around the value of an aggregate (`total`) stands around the column.
        let scalar = value.scalar.replace(&mut |_| Some(Scalar::Column(id))).unwrap_or(Scalar::Column(id));
        Ok(Typed { scalar, ..value })
    }

    fn windowed(
        &mut self,
        call: &Expr,
        window: &Window,
        scope: &Scope,
        depth: u32,
    ) -> Result<(String, plan::Window, Typed), Error> {
        let (inner, filter, order_by) = match call {
            Expr::Aggregate { call, filter, order_by } => (&**call, filter.as_ref(), &order_by[..]),
            call => (call, None, &[][..]),
        };
        let Expr::Call { name, args, distinct, star } = inner else {
            return fail(SYNTAX, "OVER of what is not a call");
        };
        if *distinct || !order_by.is_empty() {
            return fail(UNSUPPORTED, "DISTINCT and ORDER BY in the call of a window function");
        }
        let (function, values, typed) = if is_aggregate(name) {
            let bound = self.aggregate_call(&Aggregating::of(inner, filter, order_by)?, scope, depth)?;
            let typed = bound.value(0);
            (WindowFunction::Aggregate(bound.call), Vec::new(), typed)
        } else if *star || filter.is_some() {
            return fail(UNSUPPORTED, format!("(*) and FILTER of {name}"));
        } else if let (Some((function, data_type)), []) = (ranking(name), &args[..]) {
            (function, Vec::new(), Typed::new(Scalar::Column(0), Some(data_type)))
        } else if let Some((function, arity)) = valued(name)
            && arity.contains(&args.len())
        {
            let mut values = args.iter().map(|arg| self.nested(arg, scope, depth)).collect::<Result<Vec<_>, _>>()?;
            let mut data_type = values.first().and_then(|value| value.data_type);
            match &function {
                WindowFunction::Ntile => data_type = Some(Type::Integer),
                WindowFunction::Lag | WindowFunction::Lead if values.len() == 3 => {
                    let otherwise = values.pop();
                    let offset = values.pop();
                    let (both, common) = self.unify_all(values.into_iter().chain(otherwise).collect())?;
                    let mut both = both.into_iter();
                    values = both.next().into_iter().chain(offset).chain(both).collect();
                    data_type = common;
                }
                _ => {}
            }
            if let Some(number) = values.get(1).filter(|_| function != WindowFunction::Ntile)
                && !matches!(number.data_type, None | Some(Type::Integer))
            {
                return fail(UNDEFINED_FUNCTION, format!("the second argument of {name} is a whole number"));
            }
            let values = values.into_iter().map(|value| value.scalar).collect();
            (function, values, Typed::new(Scalar::Column(0), data_type))
        } else {
            let message = format!("window function {name} with {} arguments does not exist", args.len());
            return fail(UNDEFINED_FUNCTION, message);
        };
        let shown = match &function {
            WindowFunction::Aggregate(aggregate) => self.aggregate_name(name, aggregate),
            _ => {
                let shown = |scalar| super::explain::scalar(scalar, &|id| self.name(id).to_owned());
                format!("{name}({})", values.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
        };
        let whole = self.resolved(window)?;
        let mut partition = Vec::with_capacity(whole.partition_by.len());
        for expr in &whole.partition_by {
            partition.push(self.nested(expr, scope, depth)?.scalar);
        }
        let mut order = Vec::with_capacity(whole.order_by.len());
        let mut types = Vec::with_capacity(whole.order_by.len());
        for by in &whole.order_by {
            let typed = self.nested(&by.expr, scope, depth)?;
            types.push(typed.data_type);
            let (descending, nulls_first) = (by.descending, self.nulls_first(by.nulls_first, by.descending));
            order.push(OrderKey { scalar: typed.scalar, descending, nulls_first });
        }
        let frame = self.frame(whole.frame.as_ref(), &types)?;
        let call = WindowCall { function, args: values, frame };
        Ok((format!("{shown} OVER"), plan::Window { partition, order, calls: vec![call] }, typed))
    }

    /// A window with what it takes from the ones that it names.
    fn resolved(&self, window: &Window) -> Result<Window, Error> {
        let mut whole = window.clone();
        let mut steps = 0;
        while let Some(base) = whole.base.take() {
            steps += 1;
            if steps > BASES_MAX {
                return fail(TOO_COMPLEX, "windows that name one another");
            }
            let Some((_, other)) = self.named.iter().find(|(name, _)| *name == base) else {
                return fail(WINDOWING, format!("window \"{base}\" does not exist"));
            };
            if !whole.partition_by.is_empty() || !whole.order_by.is_empty() && !other.order_by.is_empty() {
                return fail(WINDOWING, format!("cannot override what window \"{base}\" says"));
            }
            whole.partition_by.clone_from(&other.partition_by);
            if whole.order_by.is_empty() {
                whole.order_by.clone_from(&other.order_by);
            }
            whole.frame = whole.frame.or_else(|| other.frame.clone());
            whole.base.clone_from(&other.base);
        }
        Ok(whole)
    }

    fn frame(&mut self, frame: Option<&Frame>, types: &[Option<Type>]) -> Result<WindowFrame, Error> {
        let Some(frame) = frame else {
            return Ok(WindowFrame { unit: FrameUnit::Range, start: Bound::First, end: Bound::Current });
        };
        if frame.unit == FrameUnit::Groups && types.is_empty() {
            return fail(WINDOWING, "GROUPS needs an ORDER BY clause");
        }
        let mut bound = |bound: &FrameBound| {
            let (expr, after) = match bound {
                FrameBound::First => return Ok(Bound::First),
                FrameBound::Current => return Ok(Bound::Current),
                FrameBound::Last => return Ok(Bound::Last),
                FrameBound::Before(expr) => (expr, false),
                FrameBound::After(expr) => (expr, true),
            };
            let range = frame.unit == FrameUnit::Range;
            if range && !matches!(types, [None | Some(Type::Integer | Type::Real)]) {
                return fail(WINDOWING, "RANGE with an offset needs exactly one ORDER BY expression, a number");
            }
            let amount = match self.expr(expr, &Scope::default())?.scalar {
                Scalar::Literal(Value::Integer(amount)) if amount >= 0 => Value::Integer(amount),
                Scalar::Literal(Value::Real(amount)) if range && amount >= 0.0 => Value::Real(amount),
                Scalar::Literal(_) => {
                    return fail(INVALID_ARGUMENT, "the offset of a frame must be a number that is not negative");
                }
                _ => return fail(UNSUPPORTED, "an offset of a frame that is not constant"),
            };
            Ok(if after { Bound::After(amount) } else { Bound::Before(amount) })
        };
        let (start, end) = (bound(&frame.start)?, bound(&frame.end)?);
        let rank = |bound: &Bound| match bound {
            Bound::First => 0,
            Bound::Before(_) => 1,
            Bound::Current => 2,
            Bound::After(_) => 3,
            Bound::Last => 4,
        };
        if rank(&start) > rank(&end) || start == Bound::Last || end == Bound::First {
            return fail(WINDOWING, "a frame that ends before it starts");
        }
        Ok(WindowFrame { unit: frame.unit, start, end })
    }

    /// The plan with the columns of window functions.
    pub(super) fn with_windows(&mut self, mut plan: Logical, found: Vec<Windowed>) -> Logical {
        let mut passes: Vec<(plan::Window, Vec<ColumnId>)> = Vec::new();
        for Windowed { id, window } in found {
            let same = |(other, _): &&mut (plan::Window, Vec<ColumnId>)| {
                other.partition == window.partition && other.order == window.order
            };
            match passes.iter_mut().find(same) {
                Some((pass, ids)) => {
                    pass.calls.extend(window.calls);
                    ids.push(id);
                }
                None => passes.push((window, vec![id])),
            }
        }
        for (window, columns) in passes {
            plan = Logical::Window { input: Box::new(plan), window, columns };
        }
        plan
    }

    /// Some of the rows of each partition, counted in an order.
    pub(super) fn numbered(
        &mut self,
        plan: Logical,
        partition: Vec<Scalar>,
        order: Vec<OrderKey>,
        skip: u64,
        count: Option<u64>,
    ) -> Logical {
        let id = self.column("row_number() OVER".to_owned(), Some(Type::Integer));
        let frame = WindowFrame { unit: FrameUnit::Rows, start: Bound::First, end: Bound::Last };
        let call = WindowCall { function: WindowFunction::RowNumber, args: Vec::new(), frame };
        let window = plan::Window { partition, order, calls: vec![call] };
        let numbered = Logical::Window { input: Box::new(plan), window, columns: vec![id] };
        let bound = |op, limit: u64| {
            let limit = Scalar::Literal(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
            Scalar::Binary(op, crate::data::Nested::new(Scalar::Column(id)), crate::data::Nested::new(limit))
        };
        let last = count.map(|count| bound(super::ast::BinaryOp::Le, count.saturating_add(skip)));
        let conjuncts = core::iter::once(bound(super::ast::BinaryOp::Gt, skip)).chain(last).collect();
        Logical::Filter { input: Box::new(numbered), conjuncts }
    }
}
