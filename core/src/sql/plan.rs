//! From a statement's tree to the plan that is run: a pure function of tree, parameters and table definitions.

use super::{
    ast::{Insert, InsertSource, Select, Statement},
    catalog::{self, TableDescriptor},
    explain,
    fault::{UNDEFINED_TABLE, UNSUPPORTED, fail},
    names,
    physical::{self, Node},
    rules,
    scope::Binder,
};
use crate::{
    Error,
    data::{Column, Type, Value},
    exec::plan::{Plan, Task},
    map::{Map, Set},
    store::Version,
};

/// What is known of the tables that a statement names, with the versions of their catalog entries.
pub type Tables = Map<String, (TableDescriptor, Version)>;

/// What a plan depends on beside statement and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The value of `now()`: microseconds since the Unix epoch.
    pub now_us: i64,
    /// Locality bits of the catalog.
    pub locality_bits: u8,
    /// How expressions are typed.
    pub dialect: Dialect,
}

/// Whose typing a statement follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dialect {
    /// PostgreSQL's.
    #[default]
    Postgres,
    /// SQLite's, where it differs.
    Sqlite,
}

/// The plan of a statement; `$1` is `params[0]`. A table that is not in `tables` does not exist.
pub fn plan(statement: &Statement, params: &[Value], tables: &Tables, settings: Settings) -> Result<Plan, Error> {
    let mut binder = Binder::new(tables, params, settings);
    let task = match statement {
        Statement::CreateTable(create) => Task::Create(TableDescriptor::define(create)?, create.if_not_exists),
        Statement::DropTable { name, if_exists } => Task::Drop(name.clone(), *if_exists),
        Statement::Select(select) => {
            let (plan, columns) = binder.physical(select)?;
            Task::Query(plan.into_flow(), columns)
        }
        Statement::Insert(insert) => {
            let table = table(tables, &insert.table)?;
            Task::Insert(match &insert.source {
                InsertSource::Values(rows) => binder.insert_values(insert, table, rows)?,
                InsertSource::Query(select) => {
                    let (query, columns) = binder.physical(select)?;
                    binder.insert_query(insert, table, query, &columns)?
                }
            })
        }
        Statement::Update(update) => Task::Modify(Box::new(binder.update(update, table(tables, &update.table)?)?.0)),
        Statement::Delete(delete) => Task::Modify(Box::new(binder.delete(delete, table(tables, &delete.table)?)?.0)),
        Statement::Explain(inner) => {
            let column = Column { name: "QUERY PLAN".to_owned(), data_type: Some(Type::Text) };
            let lines = explained(inner, binder)?;
            Task::Rows(lines.into_iter().map(|line| vec![Value::Text(line)]).collect(), vec![column])
        }
    };
    let used = tables_of(statement).into_iter().filter_map(|name| Some((tables.get(&name)?.1, name)));
    Ok(Plan { tables: used.map(|(version, name)| (name, version)).collect(), task })
}

impl Binder<'_> {
    /// The physical plan of a query.
    fn physical(&mut self, select: &Select) -> Result<(Node, Vec<Column>), Error> {
        let query = self.select(select)?;
        Ok((physical::lower(rules::optimise(query.plan))?, query.columns))
    }
}

/// The table that a statement changes.
fn table(tables: &Tables, name: &str) -> Result<TableDescriptor, Error> {
    if catalog::system_table(name).is_some() {
        return fail(UNSUPPORTED, format!("\"{name}\" is read-only"));
    }
    match tables.get(name) {
        Some((table, _)) => Ok(table.clone()),
        None => fail(UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")),
    }
}

/// The lines of EXPLAIN.
fn explained(statement: &Statement, mut binder: Binder<'_>) -> Result<Vec<String>, Error> {
    let tables = binder.tables;
    let (head, plan) = match statement {
        Statement::Select(select) => (None, Some(binder.physical(select)?.0)),
        Statement::Insert(insert) => {
            let head = format!("Insert [exchange] {}: puts where the key is absent", insert.table);
            table(tables, &insert.table)?;
            match &insert.source {
                InsertSource::Values(rows) => (Some(format!("{head}, {} row(s)", rows.len())), None),
                InsertSource::Query(select) => (Some(head), Some(binder.physical(select)?.0)),
            }
        }
        Statement::Update(update) => {
            let head = format!("Update [exchange] {}: puts conditional on the version read", update.table);
            (Some(head), Some(binder.update(update, table(tables, &update.table)?)?.1))
        }
        Statement::Delete(delete) => {
            let head = format!("Delete [exchange] {}: removes conditional on the version read", delete.table);
            (Some(head), Some(binder.delete(delete, table(tables, &delete.table)?)?.1))
        }
        Statement::CreateTable(create) => {
            (Some(format!("CreateTable [exchange] {}: put where the name is absent", create.name)), None)
        }
        Statement::DropTable { name, .. } => {
            (Some(format!("DropTable [exchange] {name}: remove conditional on the version read, then its rows")), None)
        }
        Statement::Explain(_) => return fail(UNSUPPORTED, "EXPLAIN of EXPLAIN"),
    };
    let names = binder.into_names();
    let depth = usize::from(head.is_some());
    let tree = plan.map(|plan| explain::explain(&plan, &names, depth)).unwrap_or_default();
    Ok(head.into_iter().chain(tree).collect())
}

/// The tables that a statement names and whose definitions it needs.
pub fn tables_of(statement: &Statement) -> Set<String> {
    let mut names = Set::new();
    collect(statement, &mut names);
    names.retain(|name| catalog::system_table(name).is_none());
    names
}

fn collect(statement: &Statement, names: &mut Set<String>) {
    match statement {
        Statement::CreateTable(_) | Statement::DropTable { .. } => {}
        Statement::Insert(Insert { table, source, .. }) => {
            names.insert(table.clone());
            if let InsertSource::Query(select) = source {
                names::of_query(select, names);
            }
        }
        Statement::Update(update) => {
            names.insert(update.table.clone());
        }
        Statement::Delete(delete) => {
            names.insert(delete.table.clone());
        }
        Statement::Select(select) => names::of_query(select, names),
        Statement::Explain(inner) => collect(inner, names),
    }
}
