//! In which order the rows of a query come, for aggregates that show it and are not told another: `group_concat(x)`.
//!
//! Rows of a table come in the order of their keys, which is that of insertion where the key is a hidden one
//! ([`hidden_key`](super::catalog::TableDescriptor::hidden_key)); rows of a query in the order that it asks for, or as its
//! tables have them, the left one first. Where there is none (a set operation, a recursion, different rows) the arguments
//! themselves are the order.

use super::{
    logical::{ColumnId, Logical},
    scalar::Scalar,
    scope::Binder,
};
use crate::{
    data::{Type, Value},
    exec::plan::{Call, Collected, OrderKey},
};

impl Binder<'_> {
    /// Orders the aggregates that show in which order rows come, where nothing orders them.
    pub(super) fn in_order(&mut self, plan: &mut Logical, calls: &mut [(ColumnId, Call)]) {
        // Of different values PostgreSQL's come in their own order, SQLite's when they are met first.
        let lenient = self.is_lenient();
        let mut open: Vec<&mut Vec<OrderKey>> = Vec::new();
        for (_, call) in calls {
            if let Call::Collected { function: Collected::StringAgg | Collected::Json { .. }, distinct, order, .. } =
                call
                && order.is_empty()
                && (lenient || !*distinct)
            {
                open.push(order);
            }
        }
        if !open.is_empty() {
            let keys = self.arrival(plan);
            open.into_iter().for_each(|order| order.clone_from(&keys));
        }
    }

    /// The order of the rows of a plan, in columns that it gives from now on.
    pub(super) fn arrival(&mut self, plan: &mut Logical) -> Vec<OrderKey> {
        match plan {
            Logical::Scan(scan) => {
                if scan.identity.is_empty() {
                    let name = |part: &str| format!("{}.{part}", scan.name);
                    let column = |part: &str| self.column(name(part), Some(Type::Blob));
                    scan.identity = ["key", "version", "rest"].map(column).into();
                    scan.output.push(scan.identity[0]);
                }
                vec![ascending(scan.identity[0])]
            }
            Logical::Values { columns, rows } => {
                let id = self.column("row".to_owned(), Some(Type::Integer));
                columns.push(id);
                rows.iter_mut().enumerate().for_each(|(at, row)| row.push(Value::Integer(at as i64)));
                vec![ascending(id)]
            }
            Logical::Filter { input, .. } | Logical::Limit { input, .. } | Logical::Window { input, .. } => {
                self.arrival(input)
            }
            Logical::Mark { left, .. } => self.arrival(left),
            Logical::With { slot, definition, body, .. } => {
                let keys = self.arrival(definition);
                self.shared.push((*slot, keys));
                let keys = self.arrival(body);
                self.shared.pop();
                keys
            }
            Logical::Shared { slot, columns, .. } => {
                let known = self.shared.iter().rev().find(|(other, _)| other == slot);
                let mut keys = known.map(|(_, keys)| keys.clone()).unwrap_or_default();
                for key in &mut keys {
                    for source in key.scalar.columns() {
                        let here = columns.iter().find(|(_, other)| *other == source).map(|(id, _)| *id);
                        key.scalar = Scalar::Column(here.unwrap_or_else(|| {
                            columns.push((self.like(source), source));
                            columns[columns.len() - 1].0
                        }));
                    }
                }
                keys
            }
            Logical::Sort { input, keys } => {
                keys.iter().map(|key| OrderKey::from(*key)).chain(self.arrival(input)).collect()
            }
            Logical::Join { left, right, .. } => {
                let left = self.arrival(left);
                left.into_iter().chain(self.arrival(right)).collect()
            }
            Logical::Aggregate { keys, .. } => keys.iter().map(|(id, _)| ascending(*id)).collect(),
            Logical::Project { input, exprs } => {
                let keys = self.arrival(input);
                for column in keys.iter().flat_map(|key| key.scalar.columns()) {
                    let scalar = Scalar::Column(column);
                    if !exprs.iter().any(|(id, _)| *id == column) {
                        exprs.push((column, scalar));
                    }
                }
                keys
            }
            Logical::Unit | Logical::Distinct { .. } | Logical::Set { .. } | Logical::Recursive { .. } => Vec::new(),
        }
    }
}

fn ascending(column: ColumnId) -> OrderKey {
    OrderKey { scalar: Scalar::Column(column), descending: false, nulls_first: false }
}
