//! Queries.

use pontoon_core::{
    data::Nested,
    sql::{
        ast::{Expr, JoinKind, JoinOn, OrderBy, Select, SelectItem, TableRef},
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
    if query.with.is_some() {
        return unsupported("WITH");
    }
    if query.fetch.is_some() || !query.locks.is_empty() || query.for_clause.is_some() {
        return unsupported("FETCH and FOR");
    }
    let body = match *query.body {
        parsed::SetExpr::Select(body) => *body,
        parsed::SetExpr::Query(inner) if query.order_by.is_none() && query.limit_clause.is_none() => {
            return select(*inner, depth + 1);
        }
        parsed::SetExpr::SetOperation { op, .. } => return unsupported(op),
        parsed::SetExpr::Values(_) => return unsupported("VALUES outside of INSERT"),
        other => return unsupported(other),
    };
    if body.having.is_none() && body.projection.is_empty() {
        return Err(ParseError::new(SYNTAX, "SELECT of nothing"));
    }
    if body.into.is_some() || body.qualify.is_some() || body.top.is_some() || !body.named_window.is_empty() {
        return unsupported("SELECT INTO, QUALIFY, TOP and WINDOW");
    }
    let distinct = match body.distinct {
        None | Some(parsed::Distinct::All) => false,
        Some(parsed::Distinct::Distinct) => true,
        Some(parsed::Distinct::On(_)) => return unsupported("DISTINCT ON"),
    };
    let group_by = match body.group_by {
        parsed::GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
        _ => return unsupported("GROUP BY ALL and modifiers"),
    };
    let (limit, offset) = match query.limit_clause {
        None => (None, None),
        Some(parsed::LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
            (limit, offset.map(|offset| offset.value))
        }
        Some(parsed::LimitClause::OffsetCommaLimit { offset, limit }) => (Some(limit), Some(offset)),
        Some(_) => return unsupported("LIMIT BY"),
    };
    Ok(Select {
        distinct,
        items: body.projection.into_iter().map(item).collect::<Result<_>>()?,
        from: body.from.into_iter().map(|item| joined(item, depth)).collect::<Result<_>>()?,
        filter: optional(body.selection)?,
        group_by: group_by.into_iter().map(|key| expr(key, 0)).collect::<Result<_>>()?,
        having: optional(body.having)?,
        order_by: order_by(query.order_by)?,
        limit: optional(limit)?,
        offset: optional(offset)?,
    })
}

fn optional(optional: Option<parsed::Expr>) -> Result<Option<Expr>> {
    optional.map(|parsed| expr(parsed, 0)).transpose()
}

pub(crate) fn values(values: parsed::Values) -> Result<Vec<Vec<Expr>>> {
    let row = |row: parsed::Parens<Vec<parsed::Expr>>| row.content.into_iter().map(value).collect::<Result<_>>();
    values.rows.into_iter().map(row).collect()
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

pub(crate) fn item(item: parsed::SelectItem) -> Result<SelectItem> {
    Ok(match item {
        parsed::SelectItem::UnnamedExpr(item) => SelectItem::Expr(expr(item, 0)?, None),
        parsed::SelectItem::ExprWithAlias { expr: item, alias } => SelectItem::Expr(expr(item, 0)?, Some(name(alias))),
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
            J::Right(_) | J::RightOuter(_) | J::FullOuter(_) => return unsupported("RIGHT and FULL JOIN"),
            _ => return unsupported("this kind of join"),
        };
        let on = match constraint {
            parsed::JoinConstraint::On(on) => JoinOn::Expr(expr(on, 0)?),
            parsed::JoinConstraint::Using(columns) => {
                JoinOn::Using(columns.into_iter().map(object_name).collect::<Result<_>>()?)
            }
            parsed::JoinConstraint::None => JoinOn::Nothing,
            parsed::JoinConstraint::Natural => return unsupported("NATURAL JOIN"),
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
    let plain = |alias: Option<parsed::TableAlias>| match alias {
        Some(alias) if !alias.columns.is_empty() => unsupported("names of columns in an alias"),
        alias => Ok(alias.map(|alias| name(alias.name))),
    };
    match factor {
        parsed::TableFactor::Table { name: table, alias, args: None, sample: None, .. } => {
            Ok(TableRef::Table { name: object_name(table)?, alias: plain(alias)? })
        }
        parsed::TableFactor::Derived { lateral: false, subquery, alias, sample: None } => match plain(alias)? {
            Some(alias) => Ok(TableRef::Derived { query: Nested::new(select(*subquery, depth + 1)?), alias }),
            None => Err(ParseError::new(SYNTAX, "a subquery in FROM must have an alias")),
        },
        parsed::TableFactor::NestedJoin { table_with_joins, alias: None } => joined(*table_with_joins, depth + 1),
        other => unsupported(other),
    }
}

fn order_by(order: Option<parsed::OrderBy>) -> Result<Vec<OrderBy>> {
    let items = match order.map(|order| order.kind) {
        None => return Ok(Vec::new()),
        Some(parsed::OrderByKind::Expressions(items)) => items,
        Some(parsed::OrderByKind::All(_)) => return unsupported("ORDER BY ALL"),
    };
    let item = |item: parsed::OrderByExpr| {
        let descending = match item.options.sort {
            None | Some(parsed::OrderBySort::Asc) => false,
            Some(parsed::OrderBySort::Desc) => true,
            Some(parsed::OrderBySort::Using(_)) => return unsupported("ORDER BY .. USING"),
        };
        Ok(OrderBy { expr: expr(item.expr, 0)?, descending, nulls_first: item.options.nulls_first })
    };
    items.into_iter().map(item).collect()
}
