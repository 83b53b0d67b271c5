//! Binds aggregates.
//!
//! `FILTER` is an argument that is NULL elsewhere, `bool_and` is the smallest truth value, `total` a sum that is 0 over
//! nothing: what owners run stays as small as it is. Only what needs all values at once is of a kind of its own, which
//! the asker computes.

use super::{
    ast::{Expr, OrderBy},
    bind::{boxed, call_listed, cast_to, numeric},
    fault::{GROUPING, OUT_OF_RANGE, SYNTAX, UNDEFINED_FUNCTION, UNSUPPORTED, fail},
    logical::ColumnId,
    scalar::{Function, Scalar},
    scope::{Binder, Scope, Typed},
};
use crate::{
    Error,
    data::{Nested, Type, Value},
    exec::{
        functions::listed,
        ops::{
            aggregate::{AggregateCall, AggregateFunction},
            sort::SortKey,
        },
        plan::{Call, Collected, OrderKey, Pairs},
    },
    map::Set,
};

/// The call of an aggregate function.
pub struct Aggregating<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its arguments.
    pub args: &'a [Nested<Expr>],
    /// `DISTINCT`.
    pub distinct: bool,
    /// `(*)`.
    pub star: bool,
    /// `FILTER (WHERE ..)`.
    pub filter: Option<&'a Nested<Expr>>,
    /// `ORDER BY` among the arguments.
    pub order_by: &'a [Nested<OrderBy>],
}

impl<'a> Aggregating<'a> {
    /// The call in an expression.
    pub fn of(
        call: &'a Expr,
        filter: Option<&'a Nested<Expr>>,
        order_by: &'a [Nested<OrderBy>],
    ) -> Result<Aggregating<'a>, Error> {
        match call {
            Expr::Call { name, args, distinct, star } if is_aggregate(name) => {
                Ok(Aggregating { name, args, distinct: *distinct, star: *star, filter, order_by })
            }
            Expr::Call { name, .. } => {
                fail(UNDEFINED_FUNCTION, format!("FILTER and ORDER BY: {name} is not an aggregate function"))
            }
            _ => fail(SYNTAX, "FILTER and ORDER BY of what is not a call"),
        }
    }
}

/// A bound aggregate.
pub struct Bound {
    /// What is computed.
    pub call: Call,
    /// The type of what it gives.
    pub data_type: Option<Type>,
    /// How its value is read.
    reading: Reading,
}

/// How the value of an aggregate is read from the column that holds it.
enum Reading {
    /// It is that.
    Plain,
    /// 0 over nothing.
    Total,
    /// A function of the lists reads it off a sketch, with these arguments.
    Sketch(&'static str, Vec<Scalar>),
}

impl Bound {
    /// The value of the aggregate from the column that holds it.
    pub fn value(&self, id: ColumnId) -> Typed {
        let column = Scalar::Column(id);
        let call = |function, more: Vec<Scalar>| {
            Scalar::Call(function, core::iter::once(column.clone()).chain(more).map(Nested::new).collect())
        };
        let scalar = match &self.reading {
            Reading::Plain => column,
            Reading::Total => call(Function::Coalesce, vec![Scalar::Literal(Value::Real(0.0))]),
            Reading::Sketch(name, more) => {
                let number = listed::named(name).next().map_or(u16::MAX, |(number, _)| number);
                call(Function::Listed(number), more.clone())
            }
        };
        Typed::new(scalar, self.data_type)
    }
}

impl From<SortKey> for OrderKey {
    fn from(key: SortKey) -> OrderKey {
        let SortKey { column, descending, nulls_first } = key;
        OrderKey { scalar: Scalar::Column(column), descending, nulls_first }
    }
}

/// Whether a function is an aggregate.
pub fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "total"
            | "bool_and"
            | "bool_or"
            | "every"
            | "string_agg"
            | "group_concat"
            | "variance"
            | "var_samp"
            | "var_pop"
            | "stddev"
            | "stddev_samp"
            | "stddev_pop"
            | "json_agg"
            | "jsonb_agg"
            | "json_object_agg"
            | "jsonb_object_agg"
            | "percentile_cont"
            | "percentile_disc"
            | "median"
            | "mode"
            | "approx_count_distinct"
            | "approx_percentile"
    ) || Pairs::by_name(name).is_some()
}

impl Binder<'_> {
    /// An aggregate over the rows of a group.
    pub(super) fn aggregate(&mut self, of: &Aggregating<'_>, scope: &Scope, depth: u32) -> Result<Typed, Error> {
        // Aggregates do not nest: while the argument is bound there are none. Neither are windows, which come later.
        let Some(mut found) = self.aggregates.take() else {
            return fail(GROUPING, format!("aggregate function {} is not allowed here", of.name));
        };
        let windows = self.windows.take();
        let (bound, below) = self.finding(|binder| binder.aggregate_call(of, scope, depth))?;
        self.below.extend(below);
        self.windows = windows;
        let read: Set<ColumnId> = bound.call.scalars().into_iter().flat_map(Scalar::columns).collect();
        let local = |id: &ColumnId| scope.columns.iter().any(|column| column.id == *id);
        let around = |id: &ColumnId| self.outer.iter().flat_map(|scope| &scope.columns).any(|column| column.id == *id);
        if !read.is_empty() && !read.iter().any(local) && read.iter().all(around) {
            return fail(UNSUPPORTED, "an aggregate of a surrounding query within a subquery");
        }
        let id = match found.iter().find(|(_, other)| *other == bound.call) {
            Some((id, _)) => *id,
            None => {
                let name = self.aggregate_name(of.name, &bound.call);
                let id = self.column(name, bound.data_type);
                found.push((id, bound.call.clone()));
                id
            }
        };
        self.aggregates = Some(found);
        Ok(bound.value(id))
    }

    /// What EXPLAIN calls an aggregate.
    pub(super) fn aggregate_name(&self, name: &str, call: &Call) -> String {
        let shown = |scalar: &Scalar| super::explain::scalar(scalar, &|id| self.name(id).to_owned());
        let (distinct, args) = match call {
            Call::Basic(AggregateCall { arg, distinct, .. }) => (*distinct, arg.as_ref().map_or("*".to_owned(), shown)),
            Call::Collected { args, distinct, .. } => {
                (*distinct, args.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
        };
        format!("{name}({}{args})", if distinct { "DISTINCT " } else { "" })
    }

    /// Binds the arguments of an aggregate.
    pub(super) fn aggregate_call(&mut self, of: &Aggregating<'_>, scope: &Scope, depth: u32) -> Result<Bound, Error> {
        let (name, distinct) = (of.name, of.distinct);
        let counted = |binder: &Self, arg: &Expr| match name {
            "count" => binder.sealed_presence(arg, distinct, scope),
            _ => Ok(None),
        };
        let mut args = Vec::with_capacity(of.args.len());
        for arg in of.args {
            args.push(match counted(self, arg)? {
                Some(sealed) => sealed,
                None => self.nested(arg, scope, depth)?,
            });
        }
        let filter = match of.filter {
            Some(filter) => Some(self.nested(filter, scope, depth)?).map(|filter| self.truth(filter)).transpose()?,
            None => None,
        };
        let mut order = Vec::with_capacity(of.order_by.len());
        for by in of.order_by {
            let scalar = self.nested(&by.expr, scope, depth)?.scalar;
            let (descending, nulls_first) = (by.descending, self.nulls_first(by.nulls_first, by.descending));
            order.push(OrderKey { scalar, descending, nulls_first });
        }
        let only = |typed: Typed| match &filter {
            None => typed.scalar,
            Some(filter) => {
                let null = Nested::new(Scalar::Literal(Value::Null));
                Scalar::Case(vec![(Nested::new(filter.scalar.clone()), boxed(typed))], null)
            }
        };
        let basic = |function, arg: Option<Scalar>, data_type| {
            let call = Call::Basic(AggregateCall { function, arg, distinct });
            let reading = if name == "total" { Reading::Total } else { Reading::Plain };
            Ok(Bound { call, data_type, reading })
        };
        if of.star {
            if name != "count" || distinct || !args.is_empty() {
                return fail(UNDEFINED_FUNCTION, format!("{name}(*) does not exist"));
            }
            let all = Typed::new(Scalar::Literal(Value::Boolean(true)), Some(Type::Boolean));
            let arg = filter.is_some().then(|| only(all));
            return basic(AggregateFunction::Count, arg, Some(Type::Integer));
        }
        if let ("percentile_cont" | "percentile_disc" | "mode", [by]) = (name, of.order_by) {
            let value = self.nested(&by.expr, scope, depth)?;
            let value = if name == "percentile_cont" { numeric(value)?.coerce(Type::Real)? } else { value };
            let function = match name {
                "mode" => Collected::Mode,
                _ => Collected::Percentile { continuous: name == "percentile_cont" },
            };
            let data_type = value.data_type;
            let mut values = vec![only(value)];
            match (name, args.pop(), args.pop()) {
                ("mode", None, None) => {}
                ("percentile_cont" | "percentile_disc", Some(share), None) => values.push(share_of(share)?),
                _ => return fail(UNDEFINED_FUNCTION, format!("{name} does not take such arguments")),
            }
            if distinct {
                return fail(SYNTAX, "DISTINCT together with WITHIN GROUP");
            }
            let call = Call::Collected { function, args: values, distinct, order };
            return Ok(Bound { call, data_type, reading: Reading::Plain });
        }
        if name == "median" {
            let [_] = &args[..] else { return fail(UNDEFINED_FUNCTION, "median takes one argument") };
            let value = args.remove(0);
            let value = if let Some(Type::Numeric(_)) = value.data_type { value } else { numeric(self.number(value))? };
            let half = Scalar::Literal(Value::Real(0.5));
            let value = value.coerce(Type::Real)?;
            let order = vec![OrderKey { scalar: value.scalar.clone(), descending: false, nulls_first: false }];
            let args = vec![only(value), half];
            let call = Call::Collected { function: Collected::Percentile { continuous: true }, args, distinct, order };
            return Ok(Bound { call, data_type: Some(Type::Real), reading: Reading::Plain });
        }
        let separated = matches!(name, "string_agg" | "group_concat");
        let members = matches!(name, "json_object_agg" | "jsonb_object_agg");
        let pairs = Pairs::by_name(name);
        let wanted = if name == "string_agg" || name == "approx_percentile" || members || pairs.is_some() {
            2..=2
        } else if separated {
            1..=2
        } else {
            1..=1
        };
        if !wanted.contains(&args.len()) {
            return fail(UNDEFINED_FUNCTION, format!("{name} does not take {} arguments", args.len()));
        }
        if name == "group_concat" && distinct && args.len() > 1 && self.is_lenient() {
            return fail(SYNTAX, "DISTINCT aggregates must have exactly one argument");
        }
        let separator = if args.len() > 1 { args.pop() } else { None };
        let Some(mut arg) = args.pop() else { return fail(UNDEFINED_FUNCTION, "an aggregate of nothing") };
        if matches!(
            name,
            "sum" | "avg" | "total" | "variance" | "var_samp" | "var_pop" | "stddev" | "stddev_samp" | "stddev_pop"
        ) {
            let sums = matches!(name, "sum" | "avg");
            arg = match arg.data_type {
                Some(Type::Interval) if sums => arg,
                Some(Type::Numeric(_)) if sums => arg,
                Some(Type::Numeric(_)) => arg.coerce(Type::Real)?,
                _ => numeric(self.number(arg))?,
            };
        }
        let real = |binder: &Self, typed: Typed| numeric(binder.number(typed))?.coerce(Type::Real);
        let of_type = arg.data_type;
        let collected = |function, args| {
            let call = Call::Collected { function, args, distinct, order };
            let data_type = match function {
                Collected::StringAgg => Some(Type::Text),
                Collected::Spread { .. } => Some(Type::Real),
                Collected::Span { .. } => Some(Type::Interval),
                Collected::Json { .. } => Some(Type::Json),
                Collected::Pairs(Pairs::RegrCount) => Some(Type::Integer),
                Collected::Pairs(_) => Some(Type::Real),
                Collected::Percentile { .. } | Collected::Mode => of_type,
            };
            Ok(Bound { call, data_type, reading: Reading::Plain })
        };
        if let (Some(pairs), Some(x)) = (pairs, &separator) {
            let (y, x) = (real(self, arg)?, real(self, x.clone())?);
            return collected(Collected::Pairs(pairs), vec![only(y), x.scalar]);
        }
        let sketch = |function, arg, data_type, name, more| {
            let call = Call::Basic(AggregateCall { function, arg: Some(arg), distinct });
            Ok(Bound { call, data_type: Some(data_type), reading: Reading::Sketch(name, more) })
        };
        match name {
            "approx_count_distinct" => {
                sketch(AggregateFunction::Distinct, only(arg), Type::Integer, "distinct of sketch", Vec::new())
            }
            "approx_percentile" => {
                let number = match arg.data_type {
                    Some(Type::Numeric(_)) => arg.coerce(Type::Real)?,
                    _ => real(self, arg)?,
                };
                let share = separator.map(share_of).transpose()?.into_iter().collect();
                sketch(AggregateFunction::Digest, only(number), Type::Real, "percentile of sketch", share)
            }
            "count" => basic(AggregateFunction::Count, Some(only(arg)), Some(Type::Integer)),
            "total" => {
                let real = Typed::new(Scalar::Cast(boxed(arg), Type::Real), Some(Type::Real));
                basic(AggregateFunction::SumReal, Some(only(real)), Some(Type::Real))
            }
            "sum" | "avg" if of_type == Some(Type::Interval) => {
                collected(Collected::Span { mean: name == "avg" }, vec![only(arg)])
            }
            "sum" | "avg" if matches!(of_type, Some(Type::Numeric(_))) => {
                let function = match name {
                    "sum" => AggregateFunction::SumNumeric,
                    _ => AggregateFunction::AvgNumeric,
                };
                basic(function, Some(only(arg)), of_type)
            }
            "json_agg" | "jsonb_agg" => {
                let element = call_listed("json element", vec![arg])?;
                collected(Collected::Json { object: false }, vec![only(element)])
            }
            "json_object_agg" | "jsonb_object_agg" => {
                let Some(value) = separator else { return fail(UNDEFINED_FUNCTION, "an object of names alone") };
                let member = call_listed("json_build_object", vec![arg, value])?;
                collected(Collected::Json { object: true }, vec![only(member)])
            }
            "sum" if of_type == Some(Type::Real) => basic(AggregateFunction::SumReal, Some(only(arg)), of_type),
            "sum" => basic(AggregateFunction::Sum, Some(only(arg)), Some(Type::Integer)),
            "avg" => basic(AggregateFunction::Avg, Some(only(arg)), Some(Type::Real)),
            "bool_and" | "every" | "bool_or" => {
                let arg = self.truth(arg)?;
                let function = if name == "bool_or" { AggregateFunction::Max } else { AggregateFunction::Min };
                basic(function, Some(only(arg)), Some(Type::Boolean))
            }
            "min" => basic(AggregateFunction::Min, Some(only(arg)), of_type),
            "max" => basic(AggregateFunction::Max, Some(only(arg)), of_type),
            "string_agg" | "group_concat" => {
                let text = match of_type {
                    Some(Type::Text) | None => arg,
                    _ if name == "group_concat" => cast_to(arg, Type::Text)?,
                    _ => arg.coerce(Type::Text)?,
                };
                let separator = match separator {
                    Some(separator) => separator.coerce(Type::Text)?.scalar,
                    None => Scalar::Literal(Value::Text(",".to_owned())),
                };
                collected(Collected::StringAgg, vec![only(text), separator])
            }
            _ => {
                let (sample, root) = (!name.ends_with("_pop"), name.starts_with("stddev"));
                collected(Collected::Spread { sample, root }, vec![only(arg)])
            }
        }
    }
}

/// A constant from 0 to 1.
fn share_of(typed: Typed) -> Result<Scalar, Error> {
    match numeric(typed)?.coerce(Type::Real)?.scalar {
        Scalar::Literal(Value::Real(share)) if (0.0..=1.0).contains(&share) => Ok(Scalar::Literal(Value::Real(share))),
        Scalar::Literal(_) => fail(OUT_OF_RANGE, "a percentile value is between 0 and 1"),
        _ => fail(UNSUPPORTED, "a percentile value that is not constant"),
    }
}
