//! The tables that a query names, in all its parts; what WITH defines is not a table.

use super::ast::{Body, Expr, JoinOn, OrderBy, Select, SelectItem, TableRef, Window};
use crate::map::Set;

/// The tables that a query names.
pub fn of_query(select: &Select, names: &mut Set<String>) {
    Walk { names, defined: Vec::new() }.select(select);
}

/// The tables that items of FROM name.
pub fn of_items(from: &[TableRef], names: &mut Set<String>) {
    let mut walk = Walk { names, defined: Vec::new() };
    from.iter().for_each(|item| walk.table(item));
}

/// The tables that an expression names.
pub fn of_expr(expr: &Expr, names: &mut Set<String>) {
    Walk { names, defined: Vec::new() }.expr(expr);
}

/// Whether a query names something.
pub fn mentions(select: &Select, name: &str) -> bool {
    let mut names = Set::new();
    of_query(select, &mut names);
    names.contains(name)
}

struct Walk<'a> {
    names: &'a mut Set<String>,
    /// What WITH of surrounding queries defines.
    defined: Vec<String>,
}

impl Walk<'_> {
    fn select(&mut self, select: &Select) {
        let before = self.defined.len();
        for cte in &select.with {
            if select.recursive {
                self.defined.push(cte.name.clone());
                self.select(&cte.query);
            } else {
                self.select(&cte.query);
                self.defined.push(cte.name.clone());
            }
        }
        match &select.body {
            Body::Select => {}
            Body::Values(rows) => rows.iter().flatten().for_each(|expr| self.expr(expr)),
            Body::Set { left, right, .. } => {
                self.select(left);
                self.select(right);
            }
        }
        for item in &select.items {
            if let SelectItem::Expr(expr, _) = item {
                self.expr(expr);
            }
        }
        select.from.iter().for_each(|item| self.table(item));
        let clauses = [&select.filter, &select.having, &select.limit, &select.offset];
        clauses.into_iter().flatten().chain(&select.group_by).chain(&select.distinct_on).for_each(|e| self.expr(e));
        select.order_by.iter().for_each(|by| self.expr(&by.expr));
        select.windows.iter().for_each(|(_, window)| self.window(window));
        self.defined.truncate(before);
    }

    fn table(&mut self, item: &TableRef) {
        match item {
            TableRef::Table { name, .. } => {
                if !self.defined.contains(name) {
                    self.names.insert(name.clone());
                }
            }
            TableRef::Join { left, right, on, .. } => {
                self.table(left);
                self.table(right);
                if let JoinOn::Expr(expr) = on {
                    self.expr(expr);
                }
            }
            TableRef::Derived { query, .. } | TableRef::Lateral { query, .. } => self.select(query),
            TableRef::Renamed { item, .. } => self.table(item),
            TableRef::Function { args, .. } => args.iter().for_each(|arg| self.expr(arg)),
        }
    }

    fn window(&mut self, window: &Window) {
        window.partition_by.iter().for_each(|expr| self.expr(expr));
        window.order_by.iter().for_each(|by| self.order(by));
    }

    fn order(&mut self, by: &OrderBy) {
        self.expr(&by.expr);
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Literal(_) | Expr::Param(_) | Expr::Column { .. } | Expr::Default => {}
            Expr::Unary(_, a) | Expr::Cast(a, _) => self.expr(a),
            Expr::IsNull { expr, .. } | Expr::IsBool { expr, .. } => self.expr(expr),
            Expr::Binary(_, a, b) => {
                self.expr(a);
                self.expr(b);
            }
            Expr::InList { expr, list, .. } => {
                self.expr(expr);
                list.iter().for_each(|item| self.expr(item));
            }
            Expr::Between { expr, low, high, .. } => [expr, low, high].into_iter().for_each(|part| self.expr(part)),
            Expr::Like { expr, pattern, .. } => [expr, pattern].into_iter().for_each(|part| self.expr(part)),
            Expr::Case { operand, whens, otherwise } => {
                let pairs = whens.iter().flat_map(|(when, then)| [when, then]);
                operand.iter().chain(otherwise).chain(pairs).for_each(|part| self.expr(part));
            }
            Expr::Call { args, .. } => args.iter().for_each(|arg| self.expr(arg)),
            Expr::Subquery(query) | Expr::Exists(query) => self.select(query),
            Expr::InSubquery { expr, query, .. } | Expr::Quantified { expr, query, .. } => {
                self.expr(expr);
                self.select(query);
            }
            Expr::Aggregate { call, filter, order_by } => {
                self.expr(call);
                filter.iter().for_each(|filter| self.expr(filter));
                order_by.iter().for_each(|by| self.order(by));
            }
            Expr::Over { call, window } => {
                self.expr(call);
                self.window(window);
            }
        }
    }
}
