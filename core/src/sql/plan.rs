//! From a statement's tree to the plan that is run: a pure function of tree, parameters and table definitions.

use super::{
    ast::{Alteration, Insert, InsertSource, ReferenceDef, Select, Statement},
    catalog::TableDescriptor,
    explain::{self, Lines},
    fault::{UNDEFINED_TABLE, UNSUPPORTED, WRONG_OBJECT, advise, fail},
    names,
    physical::{self, Node},
    reduce::reduce,
    references,
    report::report,
    rules,
    scope::Binder,
    sealed::Openings,
    sealing,
    statistics::Statistics,
    strategy::JoinStrategy,
    system, view,
};
use crate::{
    Error,
    data::{Column, Value},
    exec::{
        change::Modify,
        plan::{Analyze, Plan, Task},
        schema::{Alter, Dangling, Grant, RightsChange, Show, Validation},
    },
    id::Id,
    map::{Map, Set},
    store::Version,
    trust::{Grantee, Privileges, Realm, User},
};

/// What is known of the tables that a statement names, with the versions of their catalog entries.
pub type Tables = Map<String, (TableDescriptor, Version)>;

/// What a plan depends on beside statement and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The value of `now()`: microseconds since the Unix epoch.
    pub now_us: i64,
    /// What random functions draw from.
    pub random: u128,
    /// The value of `current_peer`.
    pub me: Id,
    /// The value of `current_user`.
    pub user: Option<User>,
    /// Locality bits of the catalog.
    pub locality_bits: u8,
    /// How values are typed and compared where databases differ.
    pub dialect: Dialect,
    /// How the sides of joins meet.
    pub join_strategy: JoinStrategy,
}

/// Whose SQL it is, where databases differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL's.
    #[default]
    Postgres,
    /// SQLite's.
    Sqlite,
}

/// The plan of a statement; `$1` is `params[0]`. A table that is not in `tables` does not exist; of one that is not in
/// `statistics` nothing is known.
pub fn plan(
    statement: &Statement,
    params: &[Value],
    (tables, statistics): (&Tables, &Statistics),
    settings: Settings,
) -> Result<Plan, Error> {
    let mut binder = Binder::new(tables, statistics, params, settings);
    let task = match statement {
        Statement::CreateTable(create) => {
            Task::Create(binder.define(create)?, (create.if_not_exists, create.private), Vec::new())
        }
        Statement::DropTable { name, if_exists, cascade } => {
            writable(name)?;
            Task::Drop(name.clone(), *if_exists, *cascade)
        }
        Statement::Select(select) => {
            let (plan, columns, openings) = binder.physical(select)?;
            Task::Query(plan.into_flow(), columns).opened(openings)
        }
        Statement::Insert(insert) => {
            let table = table(tables, &insert.table)?;
            let plan = binder.insert(insert, &table)?.plan;
            let openings = plan.returning.as_ref().map_or(Vec::new(), |returning| returning.openings.clone());
            Task::Insert(Box::new(plan)).opened(openings)
        }
        Statement::Update(update) => {
            let table = table(tables, &update.table)?;
            modified(binder.update(update, &table)?.plan)
        }
        Statement::Delete(delete) => {
            let table = table(tables, &delete.table)?;
            modified(binder.delete(delete, &table)?.plan)
        }
        Statement::AlterTable(alter) if alter.if_exists && !tables.contains_key(&alter.table) => nothing(),
        Statement::AlterTable(alter) => {
            let (table, version) = entry(tables, &alter.table)?;
            binder.alter(alter, &table, version)?.map_or_else(nothing, |alter| Task::Alter(Box::new(alter)))
        }
        Statement::Truncate(name) => {
            let (from, version) = entry(tables, name)?;
            truncated(&from, tables)?;
            let to = from.clone();
            let (validations, references) = (Vec::new(), Vec::new());
            Task::Alter(Box::new(Alter { from, version, to, validations, references, empty: true }))
        }
        Statement::Grant { table, privileges, to, give } => {
            let grant = granted(&entry(tables, table)?.0, (*privileges, *give), to, &settings)?;
            Task::Grant(Box::new(grant))
        }
        Statement::CreatePolicy(create) => {
            let (table, _) = entry(tables, &create.table)?;
            Task::Grant(Box::new(Grant {
                table: table.name.clone(),
                realm: owned(&table)?,
                change: RightsChange::Police(Box::new(binder.define_policy(create, &table)?)),
                ring: None,
            }))
        }
        Statement::DropPolicy { name, table, if_exists } => {
            let (table, _) = entry(tables, table)?;
            let change = RightsChange::Unpolice(name.clone(), *if_exists);
            Task::Grant(Box::new(Grant { table: table.name.clone(), realm: owned(&table)?, change, ring: None }))
        }
        Statement::CreateView(create) => Task::Show(Box::new(Show {
            view: binder.define_view(create)?,
            if_not_exists: create.if_not_exists,
            or_replace: create.or_replace,
            once: binder.settings.dialect == Dialect::Sqlite,
        })),
        Statement::DropView { name, if_exists } => Task::DropView(name.clone(), *if_exists),
        Statement::CreateTableAs { name, if_not_exists, query } => {
            Task::CreateAs(Box::new(binder.create_as(name, *if_not_exists, query)?.plan))
        }
        Statement::CreateIndex(create) => {
            let (table, version) = entry(tables, &create.table)?;
            Task::CreateIndex(Box::new(binder.create_index(create, &table, version)?))
        }
        Statement::DropIndex { name, if_exists } => Task::DropIndex(name.clone(), *if_exists),
        Statement::Analyze(None) => Task::Profile(None),
        Statement::Analyze(Some(name)) => Task::Profile(Some(Box::new(analyzed(tables, name)?))),
        Statement::Set { .. } | Statement::Show(_) => return fail(UNSUPPORTED, "settings belong to a session"),
        Statement::Explain(inner) => {
            let lines = explained(inner, binder)?;
            let (rows, columns) = report(&lines.text, &lines.expected(), false);
            Task::Rows(rows, columns)
        }
        Statement::ExplainWith { statement: inner, analyze: false, json } => {
            let lines = explained(inner, binder)?;
            let (rows, columns) = report(&lines.text, &lines.expected(), *json);
            Task::Rows(rows, columns)
        }
        Statement::ExplainWith { statement: inner, analyze: true, json } => {
            let Statement::Select(select) = &**inner else {
                return fail(UNSUPPORTED, "EXPLAIN ANALYZE of a statement that writes");
            };
            let (node, ..) = binder.physical(select)?;
            let lines = explain::explain(&node, &binder.into_names(), 0);
            Task::Analyze(Box::new(Analyze { flow: node.into_flow(), lines, json: *json }))
        }
    };
    let used = tables_of(statement, tables);
    let known = used.iter().filter_map(|name| tables.get(name));
    let mut rings = Vec::new();
    for (table, _) in known {
        // Of a ring that was not there nothing was planned that needs it.
        let ring = table.details()?.sealing.and_then(|sealing| Some((sealing.realm, table.keys.version()?)));
        rings.extend(ring.filter(|ring| !rings.contains(ring)));
    }
    let used = used.into_iter().filter_map(|name| Some((tables.get(&name)?.1, name)));
    Ok(Plan { tables: used.map(|(version, name)| (name, version)).collect(), rings, task })
}

impl Binder<'_> {
    /// The physical plan of a query.
    pub(super) fn physical(&mut self, select: &Select) -> Result<(Node, Vec<Column>, Openings), Error> {
        let query = self.select(select)?;
        let openings = self.openings(&query.plan.schema());
        let plan = rules::optimise(query.plan, self.statistics);
        let mut node = physical::lower(plan, self.settings.join_strategy, self.statistics)?;
        reduce(&mut node);
        Ok((node, query.columns, openings))
    }
}

fn modified(plan: Modify) -> Task {
    let openings = plan.returning.as_ref().map_or(Vec::new(), |returning| returning.openings.clone());
    Task::Modify(Box::new(plan)).opened(openings)
}

/// What changes nothing.
fn nothing() -> Task {
    Task::Rows(Vec::new(), Vec::new())
}

/// The table that a statement changes.
fn table(tables: &Tables, name: &str) -> Result<TableDescriptor, Error> {
    Ok(entry(tables, name)?.0)
}

/// The table that a statement changes, and the version of its entry.
fn entry(tables: &Tables, name: &str) -> Result<(TableDescriptor, Version), Error> {
    writable(name)?;
    match tables.get(name) {
        Some((table, _)) if table.details()?.view.is_some() => {
            fail(WRONG_OBJECT, format!("\"{name}\" is a view, and what views show cannot be changed through them"))
        }
        Some((table, version)) => Ok((table.clone(), *version)),
        None => fail(UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")),
    }
}

/// The table that is to be analyzed.
fn analyzed(tables: &Tables, name: &str) -> Result<TableDescriptor, Error> {
    match tables.get(name) {
        Some((table, _)) if table.details()?.view.is_some() => {
            fail(WRONG_OBJECT, format!("\"{name}\" is a view, which has no rows of its own"))
        }
        _ => table(tables, name),
    }
}

/// Whether it is no system table.
fn writable(name: &str) -> Result<(), Error> {
    match system::system_table(name) {
        Some(_) => fail(UNSUPPORTED, format!("\"{name}\" is a system table, which is read-only")),
        None => Ok(()),
    }
}

/// Whether all rows of a table may go at once.
fn truncated(table: &TableDescriptor, tables: &Tables) -> Result<(), Error> {
    let dependents = table.details()?.dependents;
    let others = dependents.iter().filter_map(|it| tables.get(&it.table)).map(|(other, _)| other);
    let Some((other, _)) = references::referring(table, others)?.into_iter().next() else { return Ok(()) };
    let name = &table.name;
    let message = format!("cannot truncate table \"{name}\", which a foreign key of \"{other}\" references");
    advise(UNSUPPORTED, message, format!("DELETE FROM {name} looks after the rows of \"{other}\"."))
}

/// The lines of EXPLAIN.
fn explained(statement: &Statement, mut binder: Binder<'_>) -> Result<Lines, Error> {
    let tables = binder.tables;
    let (lines, plan) = match statement {
        Statement::Select(select) => (Vec::new(), Some(binder.physical(select)?.0)),
        Statement::Insert(insert) => {
            let planned = binder.insert(insert, &table(tables, &insert.table)?)?;
            let head = format!("Insert [exchange] {}: puts where the key is absent", insert.table);
            let head = match &planned.node {
                None => format!("{head}, {} row(s)", planned.plan.rows.len()),
                Some(_) => head,
            };
            (noted(head, planned.notes), planned.node)
        }
        Statement::Update(update) => {
            let planned = binder.update(update, &table(tables, &update.table)?)?;
            let head = format!("Update [exchange] {}: puts conditional on the version read", update.table);
            (noted(head, planned.notes), planned.node)
        }
        Statement::Delete(delete) => {
            let planned = binder.delete(delete, &table(tables, &delete.table)?)?;
            let head = format!("Delete [exchange] {}: removes conditional on the version read", delete.table);
            (noted(head, planned.notes), planned.node)
        }
        Statement::CreateTable(create) => {
            let line = format!("CreateTable [exchange] {}: put where the name is absent", create.name);
            let refers = |it: &ReferenceDef| format!("Refer [exchange] {}: its entry says who refers to it", it.table);
            (noted(line, create.references.iter().map(refers).collect()), None)
        }
        Statement::DropTable { name, .. } => {
            let line = format!("DropTable [exchange] {name}: remove conditional on the version read, then its rows");
            (vec![line], None)
        }
        Statement::Explain(_) | Statement::ExplainWith { .. } => return fail(UNSUPPORTED, "EXPLAIN of EXPLAIN"),
        Statement::AlterTable(alter) => {
            let (table, version) = entry(tables, &alter.table)?;
            let head = format!("AlterTable [exchange] {}: put conditional on the version read", alter.table);
            let notes = match binder.alter(alter, &table, version)? {
                None => vec!["Nothing changes".to_owned()],
                Some(alter) => {
                    let check = |validation: &Validation| format!("Validate [owners] no row: {}", validation.error);
                    let refer = |it: &Dangling| format!("Validate [asker] no row: {}", it.message);
                    alter.validations.iter().map(check).chain(alter.references.iter().map(refer)).collect()
                }
            };
            (noted(head, notes), None)
        }
        Statement::Truncate(name) => {
            truncated(&entry(tables, name)?.0, tables)?;
            (vec![format!("Truncate [exchange] {name}: a new namespace for its rows, then the old ones go")], None)
        }
        Statement::Grant { table, privileges, to, give } => {
            granted(&entry(tables, table)?.0, (*privileges, *give), to, &binder.settings)?;
            let verb = if *give { "Grant" } else { "Revoke" };
            (vec![format!("{verb} [exchange] {table}: its rights change, conditional on the version read")], None)
        }
        Statement::CreatePolicy(create) => {
            binder.define_policy(create, &entry(tables, &create.table)?.0)?;
            let line =
                format!("Police [exchange] {}: its rights change, conditional on the version read", create.table);
            (vec![line], None)
        }
        Statement::DropPolicy { table, .. } => {
            (vec![format!("Unpolice [exchange] {table}: its rights change, conditional on the version read")], None)
        }
        Statement::CreateView(create) => {
            binder.define_view(create)?;
            let head = format!("CreateView [exchange] {}: put where the name is absent", create.name);
            (vec![head], Some(binder.physical(&create.query)?.0))
        }
        Statement::DropView { name, .. } => {
            (vec![format!("DropView [exchange] {name}: remove conditional on the version read")], None)
        }
        Statement::CreateTableAs { name, if_not_exists, query } => {
            let planned = binder.create_as(name, *if_not_exists, query)?;
            (vec![format!("CreateTable [exchange] {name}: put where the name is absent, then its rows")], planned.node)
        }
        Statement::CreateIndex(create) => {
            let (table, version) = entry(tables, &create.table)?;
            let plan = binder.create_index(create, &table, version)?;
            let name = plan.target.indexes.first().map(|index| index.name.clone()).unwrap_or_default();
            let head = format!("CreateIndex [exchange] {name}: puts where nothing is, then its entries");
            let scan = format!("Gather [exchange] {}: rows, combined up the region tree", table.name);
            (noted(head, vec![scan]), None)
        }
        Statement::DropIndex { name, .. } => {
            (vec![format!("DropIndex [exchange] {name}: out of the table's entry, then its entries go")], None)
        }
        Statement::Analyze(_) => return fail(UNSUPPORTED, "EXPLAIN of ANALYZE"),
        Statement::Set { .. } | Statement::Show(_) => return fail(UNSUPPORTED, "EXPLAIN of a setting"),
    };
    let names = binder.into_names();
    let depth = usize::from(!lines.is_empty());
    Ok(plan.map(|plan| explain::explain(&plan, &names, depth)).unwrap_or_default().below(lines))
}

/// A line and what is said of it below.
fn noted(head: String, notes: Vec<String>) -> Vec<String> {
    core::iter::once(head).chain(notes.into_iter().map(|note| format!("  {note}"))).collect()
}

/// The tables that a statement names and whose definitions it needs, and those that views among them name.
pub fn tables_of(statement: &Statement, known: &Tables) -> Set<String> {
    let mut names = Set::new();
    collect(statement, &mut names);
    let events = references::events(statement, known);
    let reach = events.and_then(|(table, events)| references::reach(&table, events, known).ok());
    names.extend(reach.unwrap_or_default().tables);
    with_views(names, known)
}

/// The tables that a query names, and those that views among them name.
pub fn named_by(select: &Select, known: &Tables) -> Set<String> {
    let mut names = Set::new();
    names::of_query(select, &mut names);
    with_views(names, known)
}

fn with_views(mut names: Set<String>, known: &Tables) -> Set<String> {
    let mut open: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(query) = known.get(&name).and_then(|(table, _)| view::query_of(table)) else { continue };
        let mut more = Set::new();
        names::of_query(&query, &mut more);
        open.extend(more.into_iter().filter(|name| names.insert(name.clone())));
    }
    names.retain(|name| system::system_table(name).is_none());
    names
}

fn collect(statement: &Statement, names: &mut Set<String>) {
    match statement {
        Statement::CreateTable(create) => {
            names.extend(create.references.iter().map(|it| it.table.clone()).filter(|name| *name != create.name));
        }
        Statement::DropTable { .. } => {}
        Statement::Insert(Insert { table, source, .. }) => {
            names.insert(table.clone());
            if let InsertSource::Query(select) = source {
                names::of_query(select, names);
            }
        }
        Statement::Update(update) => {
            names.insert(update.table.clone());
            names::of_items(&update.from, names);
            let exprs = update.assignments.iter().map(|(_, expr)| expr).chain(&update.filter);
            exprs.for_each(|expr| names::of_expr(expr, names));
        }
        Statement::Delete(delete) => {
            names.insert(delete.table.clone());
            names::of_items(&delete.using, names);
            delete.filter.iter().for_each(|expr| names::of_expr(expr, names));
        }
        Statement::Select(select) => names::of_query(select, names),
        Statement::Explain(inner) | Statement::ExplainWith { statement: inner, .. } => collect(inner, names),
        Statement::AlterTable(alter) => {
            names.insert(alter.table.clone());
            names.extend(alter.changes.iter().filter_map(|change| match change {
                Alteration::AddReference(reference) => Some(reference.table.clone()),
                _ => None,
            }));
        }
        Statement::Truncate(name)
        | Statement::Grant { table: name, .. }
        | Statement::DropPolicy { table: name, .. } => {
            names.insert(name.clone());
        }
        Statement::CreatePolicy(create) => {
            names.insert(create.table.clone());
        }
        Statement::CreateView(create) => names::of_query(&create.query, names),
        Statement::CreateTableAs { query, .. } => names::of_query(query, names),
        Statement::CreateIndex(create) => {
            names.insert(create.table.clone());
        }
        Statement::Analyze(name) => names.extend(name.iter().cloned()),
        Statement::DropIndex { .. } | Statement::DropView { .. } | Statement::Set { .. } | Statement::Show(_) => {}
    }
}

/// A change of the rights of a table or view.
fn granted(
    table: &TableDescriptor,
    (privileges, give): (Privileges, bool),
    to: &[Grantee],
    settings: &Settings,
) -> Result<Grant, Error> {
    let (name, realm) = (&table.name, owned(table)?);
    let mut ring = None;
    if privileges.any(Privileges::READ) && table.details()?.sealing.is_some() {
        ring = sealing::granted(table, to, give, settings)?;
    } else if !give && privileges.any(Privileges::READ) && !realm.is_private() {
        let message = format!("REVOKE SELECT: everybody may read table \"{name}\"");
        let hint = "CREATE TABLE .. WITH (private = true) makes one that only those read who may.";
        return advise(UNSUPPORTED, message, hint);
    }
    let change = RightsChange::Grant { privileges, to: to.to_vec(), give };
    Ok(Grant { table: name.clone(), realm, change, ring })
}

/// The realm of a table that belongs to somebody.
fn owned(table: &TableDescriptor) -> Result<Realm, Error> {
    let Some(realm) = table.realm() else {
        let message = format!("table \"{}\" belongs to nobody: everybody may do everything", table.name);
        return advise(WRONG_OBJECT, message, "Whoever acts for a user when it creates a table is its owner.");
    };
    Ok(realm)
}
