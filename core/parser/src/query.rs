//! Queries.

use pontoon_core::{
    data::Nested,
    sql::{
        ast::{
            Body, Cte, Expr, Frame, FrameBound, FrameUnit, JoinKind, JoinOn, OrderBy, Select, SelectItem, SetOp,
            TableRef, Window,
        },
        fault::{SYNTAX, TOO_COMPLEX},
    },
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    expr::{expr, name, object_name},
    unsupported,
};

/// Joins and derived tables within one another: well within what peers decode.
const NESTING_MAX: u32 = 48;

pub(crate) fn select(query: parsed::Query, depth: u32) -> Result<Select> {
    if depth > NESTING_MAX {
        return Err(ParseError::new(TOO_COMPLEX, "a query that nests too deep"));
    }
    if query.fetch.is_some() || !query.locks.is_empty() || query.for_clause.is_some() {
        return unsupported("FETCH and FOR");
    }
    let plain = query.order_by.is_none() && query.limit_clause.is_none() && query.with.is_none();
    let mut select = match *query.body {
        parsed::SetExpr::Query(inner) if plain => return self::select(*inner, depth + 1),
        body => set(body, depth)?,
    };
    if let Some(with) = query.with {
        select.recursive = with.recursive;
        select.with = with.cte_tables.into_iter().map(|cte| self::cte(cte, depth)).collect::<Result<_>>()?;
    }
    let (limit, offset) = match query.limit_clause {
        None => (None, None),
        Some(parsed::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit, offset.map(|offset| offset.value))
        }
        Some(parsed::LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        Some(_) => return unsupported("LIMIT BY"),
    };
    select.order_by = order_by(query.order_by, depth)?;
    select.limit = optional(limit, depth)?;
    select.offset = optional(offset, depth)?;
    Ok(select)
}

fn cte(cte: parsed::Cte, depth: u32) -> Result<Cte> {
    let columns = cte.alias.columns.into_iter().map(|column| name(column.name)).collect();
    Ok(Cte { name: name(cte.alias.name), columns, query: Nested::new(select(*cte.query, depth + 1)?) })
}

/// What stands before ORDER BY, as a query without any.
fn set(body: parsed::SetExpr, depth: u32) -> Result<Select> {
    if depth > NESTING_MAX {
        return Err(ParseError::new(TOO_COMPLEX, "a query that nests too deep"));
    }
    match body {
        parsed::SetExpr::Select(body) => self::body(*body, depth),
        parsed::SetExpr::Query(inner) => {
            // ORDER BY and LIMIT of its own: a query within one.
            let inner = Nested::new(select(*inner, depth + 1)?);
            let items = vec![SelectItem::Star(None)];
            let from = vec![TableRef::Derived { query: inner, alias: String::new() }];
            Ok(Select { items, from, ..Select::default() })
        }
        parsed::SetExpr::Values(rows) => {
            let rows = values_at(rows, depth)?;
            Ok(Select { body: Body::Values(rows), ..Select::default() })
        }
        parsed::SetExpr::SetOperation { left, op, set_quantifier, right } => {
            let all = match set_quantifier {
                parsed::SetQuantifier::All => true,
                parsed::SetQuantifier::None | parsed::SetQuantifier::Distinct => false,
                _ => return unsupported("BY NAME"),
            };
            sets(*left, op, set_quantifier, all, *right, depth)
        }
        other => unsupported(other),
    }
}

/// A chain of one operation, balanced where it is associative: as long as one likes, but never deep.
fn sets(
    left: parsed::SetExpr,
    op: parsed::SetOperator,
    quantifier: parsed::SetQuantifier,
    all: bool,
    right: parsed::SetExpr,
    depth: u32,
) -> Result<Select> {
    let ours = match op {
        parsed::SetOperator::Union => SetOp::Union,
        parsed::SetOperator::Intersect => SetOp::Intersect,
        parsed::SetOperator::Except | parsed::SetOperator::Minus => SetOp::Except,
    };
    let (mut operands, mut rest) = (vec![right], left);
    loop {
        match rest {
            parsed::SetExpr::SetOperation { left, op: other, set_quantifier, right }
                if ours != SetOp::Except && other == op && set_quantifier == quantifier =>
            {
                operands.push(*right);
                rest = *left;
            }
            first => {
                operands.push(first);
                break;
            }
        }
    }
    let depth = depth + operands.len().ilog2() + 1;
    let mut level = operands.into_iter().rev().map(|operand| set(operand, depth)).collect::<Result<Vec<_>>>()?;
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        let mut rest = level.into_iter();
        while let Some(left) = rest.next() {
            next.push(match rest.next() {
                Some(right) => {
                    let body = Body::Set { op: ours, all, left: Nested::new(left), right: Nested::new(right) };
                    Select { body, ..Select::default() }
                }
                None => left,
            });
        }
        level = next;
    }
    level.pop().ok_or_else(|| ParseError::new(SYNTAX, "a set operation without operands"))
}

fn body(body: parsed::Select, depth: u32) -> Result<Select> {
    if body.having.is_none() && body.projection.is_empty() {
        return Err(ParseError::new(SYNTAX, "SELECT of nothing"));
    }
    if body.into.is_some() || body.qualify.is_some() || body.top.is_some() {
        return unsupported("SELECT INTO, QUALIFY and TOP");
    }
    let (distinct, distinct_on) = match body.distinct {
        None | Some(parsed::Distinct::All) => (false, Vec::new()),
        Some(parsed::Distinct::Distinct) => (true, Vec::new()),
        Some(parsed::Distinct::On(keys)) => (false, exprs(keys, depth)?),
    };
    let group_by = match body.group_by {
        parsed::GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
        _ => return unsupported("GROUP BY ALL and modifiers"),
    };
    let window = |parsed::NamedWindowDefinition(label, window)| {
        Ok((
            name(label),
            match window {
                parsed::NamedWindowExpr::NamedWindow(base) => Window { base: Some(name(base)), ..Window::default() },
                parsed::NamedWindowExpr::WindowSpec(spec) => self::window(spec, depth)?,
            },
        ))
    };
    Ok(Select {
        distinct,
        distinct_on,
        items: body.projection.into_iter().map(|item| self::item(item, depth)).collect::<Result<_>>()?,
        from: body.from.into_iter().map(|item| joined(item, depth)).collect::<Result<_>>()?,
        filter: optional(body.selection, depth)?,
        group_by: exprs(group_by, depth)?,
        having: optional(body.having, depth)?,
        windows: body.named_window.into_iter().map(window).collect::<Result<_>>()?,
        ..Select::default()
    })
}

fn exprs(list: Vec<parsed::Expr>, depth: u32) -> Result<Vec<Expr>> {
    list.into_iter().map(|parsed| expr(parsed, depth)).collect()
}

fn optional(optional: Option<parsed::Expr>, depth: u32) -> Result<Option<Expr>> {
    optional.map(|parsed| expr(parsed, depth)).transpose()
}

/// The rows of an INSERT.
pub(crate) fn values(values: parsed::Values) -> Result<Vec<Vec<Expr>>> {
    let row = |row: parsed::Parens<Vec<parsed::Expr>>| row.content.into_iter().map(value).collect::<Result<_>>();
    values.rows.into_iter().map(row).collect()
}

/// The rows of VALUES as a query.
fn values_at(values: parsed::Values, depth: u32) -> Result<Vec<Vec<Expr>>> {
    values.rows.into_iter().map(|row| exprs(row.content, depth)).collect()
}

/// A value of a row or an assignment; the word DEFAULT stands for itself.
pub(crate) fn value(value: parsed::Expr) -> Result<Expr> {
    match &value {
        parsed::Expr::Identifier(ident)
            if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
        {
            Ok(Expr::Default)
        }
        _ => expr(value, 0),
    }
}

pub(crate) fn item(item: parsed::SelectItem, depth: u32) -> Result<SelectItem> {
    Ok(match item {
        parsed::SelectItem::UnnamedExpr(item) => SelectItem::Expr(expr(item, depth)?, None),
        parsed::SelectItem::ExprWithAlias { expr: item, alias } => {
            SelectItem::Expr(expr(item, depth)?, Some(name(alias)))
        }
        parsed::SelectItem::Wildcard(_) => SelectItem::Star(None),
        parsed::SelectItem::QualifiedWildcard(parsed::SelectItemQualifiedWildcardKind::ObjectName(table), _) => {
            SelectItem::Star(Some(object_name(table)?))
        }
        other => return unsupported(other),
    })
}

pub(crate) fn joined(item: parsed::TableWithJoins, depth: u32) -> Result<TableRef> {
    let mut left = factor(item.relation, depth + 1)?;
    for (index, join) in item.joins.into_iter().enumerate() {
        if index as u32 + depth > NESTING_MAX {
            return Err(ParseError::new(TOO_COMPLEX, "too many joins"));
        }
        use parsed::JoinOperator as J;
        let (kind, constraint) = match join.join_operator {
            J::Join(on) | J::Inner(on) | J::CrossJoin(on) => (JoinKind::Inner, on),
            J::Left(on) | J::LeftOuter(on) => (JoinKind::Left, on),
            J::Right(on) | J::RightOuter(on) => (JoinKind::Right, on),
            J::FullOuter(on) => (JoinKind::Full, on),
            _ => return unsupported("this kind of join"),
        };
        let on = match constraint {
            parsed::JoinConstraint::On(on) => JoinOn::Expr(expr(on, depth)?),
            parsed::JoinConstraint::Using(columns) => {
                JoinOn::Using(columns.into_iter().map(object_name).collect::<Result<_>>()?)
            }
            parsed::JoinConstraint::None => JoinOn::Nothing,
            parsed::JoinConstraint::Natural => JoinOn::Natural,
        };
        let right = Nested::new(factor(join.relation, depth + 1)?);
        left = TableRef::Join { left: Nested::new(left), right, kind, on };
    }
    Ok(left)
}

fn factor(factor: parsed::TableFactor, depth: u32) -> Result<TableRef> {
    if depth > NESTING_MAX {
        return Err(ParseError::new(TOO_COMPLEX, "a query that nests too deep"));
    }
    let split = |alias: Option<parsed::TableAlias>| match alias {
        None => (None, Vec::new()),
        Some(alias) => (Some(name(alias.name)), alias.columns.into_iter().map(|column| name(column.name)).collect()),
    };
    let renamed = |item: TableRef, columns: Vec<String>| match columns.is_empty() {
        true => item,
        false => TableRef::Renamed { item: Nested::new(item), columns },
    };
    match factor {
        parsed::TableFactor::Table { name: table, alias, args: None, sample: None, .. } => {
            let (alias, columns) = split(alias);
            Ok(renamed(TableRef::Table { name: object_name(table)?, alias }, columns))
        }
        parsed::TableFactor::Table { name: function, alias, args: Some(list), sample: None, .. } => {
            let arg = |arg| match arg {
                parsed::FunctionArg::Unnamed(parsed::FunctionArgExpr::Expr(arg)) => Ok(Nested::new(expr(arg, depth)?)),
                other => unsupported(other),
            };
            let args = list.args.into_iter().map(arg).collect::<Result<_>>()?;
            let (name, (alias, columns)) = (object_name(function)?, split(alias));
            let alias = alias.unwrap_or_else(|| name.clone());
            Ok(renamed(TableRef::Function { name, args, alias }, columns))
        }
        parsed::TableFactor::Derived { lateral, subquery, alias, sample: None } => {
            let (alias, columns) = split(alias);
            let (query, alias) = (Nested::new(select(*subquery, depth + 1)?), alias.unwrap_or_default());
            let item = match lateral {
                true => TableRef::Lateral { query, alias },
                false => TableRef::Derived { query, alias },
            };
            Ok(renamed(item, columns))
        }
        parsed::TableFactor::NestedJoin { table_with_joins, alias: None } => joined(*table_with_joins, depth + 1),
        other => unsupported(other),
    }
}

fn order_by(order: Option<parsed::OrderBy>, depth: u32) -> Result<Vec<OrderBy>> {
    match order.map(|order| order.kind) {
        None => Ok(Vec::new()),
        Some(parsed::OrderByKind::Expressions(items)) => {
            items.into_iter().map(|item| order_item(item, depth)).collect()
        }
        Some(parsed::OrderByKind::All(_)) => unsupported("ORDER BY ALL"),
    }
}

fn order_item(item: parsed::OrderByExpr, depth: u32) -> Result<OrderBy> {
    let descending = match item.options.sort {
        None | Some(parsed::OrderBySort::Asc) => false,
        Some(parsed::OrderBySort::Desc) => true,
        Some(parsed::OrderBySort::Using(_)) => return unsupported("ORDER BY .. USING"),
    };
    Ok(OrderBy { expr: expr(item.expr, depth)?, descending, nulls_first: item.options.nulls_first })
}

/// ORDER BY within an expression.
pub(crate) fn inner_order(items: Vec<parsed::OrderByExpr>, depth: u32) -> Result<Vec<Nested<OrderBy>>> {
    items.into_iter().map(|item| Ok(Nested::new(order_item(item, depth)?))).collect()
}

/// What stands in the parentheses of OVER.
pub(crate) fn window(spec: parsed::WindowSpec, depth: u32) -> Result<Window> {
    let bound = |bound| -> Result<_> {
        use parsed::WindowFrameBound as B;
        Ok(match bound {
            B::CurrentRow => FrameBound::Current,
            B::Preceding(None) => FrameBound::First,
            B::Following(None) => FrameBound::Last,
            B::Preceding(Some(count)) => FrameBound::Before(Nested::new(expr(*count, depth)?)),
            B::Following(Some(count)) => FrameBound::After(Nested::new(expr(*count, depth)?)),
        })
    };
    let frame = |frame: parsed::WindowFrame| -> Result<_> {
        let unit = match frame.units {
            parsed::WindowFrameUnits::Rows => FrameUnit::Rows,
            parsed::WindowFrameUnits::Range => FrameUnit::Range,
            parsed::WindowFrameUnits::Groups => FrameUnit::Groups,
        };
        let end = frame.end_bound.map_or(Ok(FrameBound::Current), bound)?;
        Ok(Frame { unit, start: bound(frame.start_bound)?, end })
    };
    Ok(Window {
        base: spec.window_name.map(name),
        partition_by: exprs(spec.partition_by, depth)?.into_iter().map(Nested::new).collect(),
        order_by: inner_order(spec.order_by, depth)?,
        frame: spec.window_frame.map(frame).transpose()?,
    })
}
