//! Plans INSERT, UPDATE and DELETE: which columns are given, what they become, how the rows are found.

use super::{
    ast::{Delete, Expr, Insert, Update},
    catalog::TableDescriptor,
    fault::{COLUMN_COUNT, DATATYPE_MISMATCH, DUPLICATE_COLUMN, INTERNAL, UNDEFINED_COLUMN, error, fail},
    logical::Logical,
    physical::{self, Node},
    scalar::Scalar,
    scope::{Binder, Scope},
};
use crate::{
    Error,
    data::{Column, Row, Type, Value},
    exec::{
        eval::eval,
        plan::{self, Modify, Op},
    },
};

impl Binder<'_> {
    /// Plans an INSERT of constant rows.
    pub fn insert_values(
        &mut self,
        insert: &Insert,
        table: TableDescriptor,
        source: &[Vec<Expr>],
    ) -> Result<plan::Insert, Error> {
        let (targets, defaults) = (targets(insert, &table)?, self.defaults(&table)?);
        let mut rows = Vec::with_capacity(source.len());
        for exprs in source {
            check_width(insert, exprs.len(), targets.len())?;
            let mut row = Row::with_capacity(exprs.len());
            for (expr, target) in exprs.iter().zip(&targets) {
                let column = &table.columns[*target as usize];
                row.push(match expr {
                    Expr::Default => defaults[*target as usize].clone(),
                    expr => self.constant(expr, column.data_type, &column.name)?,
                });
            }
            rows.push(row);
        }
        Ok(plan::Insert { table, targets, defaults, rows, query: None })
    }

    /// Plans an INSERT of what a query gives.
    pub fn insert_query(
        &mut self,
        insert: &Insert,
        table: TableDescriptor,
        query: Node,
        columns: &[Column],
    ) -> Result<plan::Insert, Error> {
        let (targets, defaults) = (targets(insert, &table)?, self.defaults(&table)?);
        check_width(insert, columns.len(), targets.len())?;
        for (column, target) in columns.iter().zip(&targets) {
            let target = &table.columns[*target as usize];
            let fits = match (column.data_type, target.data_type) {
                (None, _) | (_, Type::Text) => true,
                (Some(Type::Integer | Type::Real), Type::Integer | Type::Real) => true,
                (Some(from), to) => from == to,
            };
            if !fits {
                return fail(DATATYPE_MISMATCH, format!("column \"{}\" is of another type", target.name));
            }
        }
        Ok(plan::Insert { table, targets, defaults, rows: Vec::new(), query: Some(query.into_flow()) })
    }

    /// Plans an UPDATE; also gives the plan that finds the rows, for EXPLAIN.
    pub fn update(&mut self, update: &Update, table: TableDescriptor) -> Result<(Modify, Node), Error> {
        let label = update.alias.as_deref().unwrap_or(&update.table);
        let (scan, scope) = self.scan_of(&table, label);
        let ids = scan.schema();
        let mut assignments: Vec<(u32, Scalar)> = Vec::new();
        for (name, expr) in &update.assignments {
            let position = position(&table, name)?;
            if assignments.iter().any(|(other, _)| *other == position) {
                return fail(DUPLICATE_COLUMN, format!("multiple assignments to column \"{name}\""));
            }
            let column = &table.columns[position as usize];
            let typed = match expr {
                Expr::Default => self.expr(&column.default()?, &scope)?,
                expr => self.expr(expr, &scope)?,
            };
            let scalar = typed.assign(column.data_type, name)?.scalar.remap(&ids);
            assignments.push((position, scalar.ok_or_else(|| error(INTERNAL, "an assignment lost a column"))?));
        }
        let filter = update.filter.as_ref().map(|filter| self.condition(filter, &scope)).transpose()?;
        modify(scan, filter, Some(assignments), table)
    }

    /// Plans a DELETE; also gives the plan that finds the rows, for EXPLAIN.
    pub fn delete(&mut self, delete: &Delete, table: TableDescriptor) -> Result<(Modify, Node), Error> {
        let label = delete.alias.as_deref().unwrap_or(&delete.table);
        let (scan, scope) = self.scan_of(&table, label);
        let filter = delete.filter.as_ref().map(|filter| self.condition(filter, &scope)).transpose()?;
        modify(scan, filter, None, table)
    }

    fn defaults(&mut self, table: &TableDescriptor) -> Result<Row, Error> {
        table.columns.iter().map(|column| self.constant(&column.default()?, column.data_type, &column.name)).collect()
    }

    fn constant(&mut self, expr: &Expr, to: Type, column: &str) -> Result<Value, Error> {
        let typed = self.expr(expr, &Scope::default())?.assign(to, column)?;
        Ok(eval(&typed.scalar, &[])?.into_owned())
    }
}

fn modify(
    scan: Logical,
    filter: Option<Scalar>,
    assignments: Option<Vec<(u32, Scalar)>>,
    table: TableDescriptor,
) -> Result<(Modify, Node), Error> {
    let ids = scan.schema();
    let Logical::Scan(mut scan) = scan else { return fail(INTERNAL, "not a scan") };
    scan.filter = filter.clone().map(Scalar::conjuncts).unwrap_or_default();
    let found = physical::source(scan, true)?;
    let Op::Source(source) = &found.op else { return fail(INTERNAL, "not a source") };
    let filter = filter.and_then(|filter| filter.remap(&ids));
    Ok((Modify { table, filter, assignments, source: source.clone() }, found))
}

/// The columns that an INSERT gives, in its order.
fn targets(insert: &Insert, table: &TableDescriptor) -> Result<Vec<u32>, Error> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len() as u32).collect());
    }
    let mut targets = Vec::new();
    for name in &insert.columns {
        let position = position(table, name)?;
        if targets.contains(&position) {
            return fail(DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"));
        }
        targets.push(position);
    }
    Ok(targets)
}

fn position(table: &TableDescriptor, name: &str) -> Result<u32, Error> {
    match table.columns.iter().position(|column| column.name == name) {
        Some(position) => Ok(position as u32),
        None => fail(UNDEFINED_COLUMN, format!("column \"{name}\" of relation \"{}\" does not exist", table.name)),
    }
}

/// A row may be shorter than the table when no columns are named, as in PostgreSQL; never longer.
fn check_width(insert: &Insert, width: usize, wanted: usize) -> Result<(), Error> {
    if width == 0 || width > wanted || !insert.columns.is_empty() && width < wanted {
        return fail(COLUMN_COUNT, format!("INSERT has {width} values for {wanted} columns"));
    }
    Ok(())
}
