//! Foreign keys: what a definition keeps of them, and which of them a statement that writes has to look after.
//!
//! A table keeps what its rows refer to, by slots, and who may refer to its rows. The second is written first, when a
//! referencing table is created, and so may name a table that is not there: whoever reads it asks that table.
//! The name of a table tells not enough, for it may be dropped and created again: the namespace of its rows does.

use serde::{Deserialize, Serialize};

use super::{
    ast::{
        AlterTable, BinaryOp, ConflictAction, Expr, Insert, InsertSource, ReferenceDef, ReferentialAction, Select,
        SelectItem, Statement, TableRef, UnaryOp,
    },
    catalog::{TableDescriptor, check_name},
    details::Details,
    fault::{
        DATATYPE_MISMATCH, DUPLICATE_COLUMN, DUPLICATE_OBJECT, INTERNAL, INVALID_FOREIGN_KEY, UNDEFINED_OBJECT,
        UNDEFINED_TABLE, UNSUPPORTED, WRONG_OBJECT, advise, fail,
    },
    physical,
    plan::Tables,
    scope::Binder,
    system::system_table,
    target::position,
};
use crate::{
    Error, Id,
    data::{Nested, Type, Value},
    exec::{
        plan::{IndexScan, Op},
        references::{ForeignKey, References, Related, Way},
        schema::Dangling,
    },
    map::Set,
    store::Version,
};

/// What the rows of a table refer to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The name of the constraint.
    pub name: String,
    /// The slots of the referencing columns.
    pub columns: Vec<u32>,
    /// The name of the table that they refer to.
    pub table: String,
    /// The namespace of its rows; empty: it is the table itself.
    pub namespace: String,
    /// The slots there.
    pub to: Vec<u32>,
    /// What becomes of a row when the one that it refers to is removed.
    pub on_delete: ReferentialAction,
    /// What becomes of it when that one gets other values.
    pub on_update: ReferentialAction,
    /// That of the [`Dependent`] of the other table which stands for it.
    pub stamp: u64,
}

/// Who may refer to the rows of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dependent {
    /// The name of the referencing table.
    pub table: String,
    /// The slots that it refers to.
    pub columns: Vec<u32>,
    /// Tells it from a table of that name that was there before, or that came to nothing.
    pub stamp: u64,
    /// When it was written, microseconds since the Unix epoch.
    pub since_us: i64,
}

/// What happens to rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// New rows; with the flag several, of which some may be taken back when others fail.
    Insert(bool),
    /// Other values in these slots.
    Update(Vec<u32>),
    /// Rows go.
    Delete,
}

impl Reference {
    /// Whether it refers to that table, which is `own` if it is the table that has the reference.
    pub fn is_to(&self, table: &TableDescriptor, own: bool) -> bool {
        self.table == table.name && (own && self.namespace.is_empty() || self.namespace == table.namespace)
    }
}

/// What a statement does to the rows of the table that it names.
pub fn events(statement: &Statement, known: &Tables) -> Option<(String, Vec<Event>)> {
    match statement {
        Statement::Insert(insert) => Some((insert.table.clone(), inserting(insert, known))),
        Statement::Update(update) => {
            Some((update.table.clone(), vec![updating(&update.table, &update.assignments, known)]))
        }
        Statement::Delete(delete) => Some((delete.table.clone(), vec![Event::Delete])),
        // Whoever may refer to it is looked at.
        Statement::Truncate(table) | Statement::AlterTable(AlterTable { table, .. }) => {
            Some((table.clone(), vec![Event::Delete]))
        }
        Statement::Explain(inner) => events(inner, known),
        _ => None,
    }
}

/// What an INSERT does.
pub fn inserting(insert: &Insert, known: &Tables) -> Vec<Event> {
    let several = match &insert.source {
        InsertSource::Values(rows) => rows.len() > 1,
        InsertSource::Query(_) => true,
        InsertSource::Defaults => false,
    };
    let mut events = vec![Event::Insert(several)];
    match insert.conflict.as_ref().map(|conflict| &conflict.action) {
        Some(ConflictAction::Update { assignments, .. }) => events.push(updating(&insert.table, assignments, known)),
        Some(ConflictAction::Replace) => {
            let details = known.get(&insert.table).and_then(|(table, _)| table.details().ok());
            events.push(Event::Update(details.map(|details| details.slots).unwrap_or_default()));
        }
        Some(ConflictAction::Nothing | ConflictAction::Ignore) | None => {}
    }
    events
}

/// What assignments do.
pub fn updating(table: &str, assignments: &[(String, Expr)], known: &Tables) -> Event {
    let Some((table, details)) = known.get(table).and_then(|(table, _)| Some((table, table.details().ok()?))) else {
        return Event::Update(Vec::new());
    };
    let slot = |name: &String| position(table, name).ok().and_then(|at| details.slots.get(at as usize).copied());
    Event::Update(assignments.iter().filter_map(|(name, _)| slot(name)).collect())
}

/// The foreign keys that events concern, as far as tables are known.
#[derive(Default)]
pub struct Reach {
    /// The tables.
    pub tables: Set<String>,
    /// Those of them that may refer to rows that go.
    pub children: Set<String>,
    /// Referencing table, and position among its references.
    keys: Set<(String, usize)>,
}

/// What events lead to: through foreign keys, and through what these do to other rows.
pub fn reach(table: &str, events: Vec<Event>, known: &Tables) -> Result<Reach, Error> {
    let mut reach = Reach::default();
    let mut open: Vec<(String, Event)> = events.into_iter().map(|event| (table.to_owned(), event)).collect();
    let mut seen: Set<(String, Event)> = open.iter().cloned().collect();
    while let Some((name, event)) = open.pop() {
        let Some((table, _)) = known.get(&name) else { continue };
        let details = table.details()?;
        let concerns = |slots: &[u32]| match &event {
            Event::Update(changed) => slots.iter().any(|slot| changed.contains(slot)),
            Event::Insert(_) | Event::Delete => true,
        };
        if event != Event::Delete {
            for (at, reference) in details.references.iter().enumerate().filter(|(_, it)| concerns(&it.columns)) {
                reach.keys.insert((name.clone(), at));
                reach.tables.insert(reference.table.clone());
            }
        }
        if event == Event::Insert(false) {
            continue;
        }
        let mut children: Set<&String> =
            details.dependents.iter().filter(|it| concerns(&it.columns)).map(|it| &it.table).collect();
        if details.references.iter().any(|reference| reference.is_to(table, true)) {
            children.insert(&table.name);
        }
        for child in children {
            reach.tables.insert(child.clone());
            reach.children.insert(child.clone());
            let Some((other, _)) = known.get(child) else { continue };
            for (at, reference) in other.details()?.references.iter().enumerate() {
                if !reference.is_to(table, *child == table.name) || !concerns(&reference.to) {
                    continue;
                }
                reach.keys.insert((child.clone(), at));
                let action = if event == Event::Delete { reference.on_delete } else { reference.on_update };
                let next = match action {
                    _ if event == Event::Insert(true) => continue,
                    ReferentialAction::NoAction | ReferentialAction::Restrict => continue,
                    ReferentialAction::Cascade if event == Event::Delete => Event::Delete,
                    _ => Event::Update(reference.columns.clone()),
                };
                let next = (child.clone(), next);
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
    }
    Ok(reach)
}

/// The tables among some that refer to a table, with the names of the constraints.
pub fn referring<'a>(
    table: &TableDescriptor,
    others: impl Iterator<Item = &'a TableDescriptor>,
) -> Result<Vec<(String, String)>, Error> {
    let mut found = Vec::new();
    for other in others.filter(|other| other.name != table.name) {
        for reference in other.details()?.references.iter().filter(|it| it.is_to(table, false)) {
            found.push((other.name.clone(), reference.name.clone()));
        }
    }
    Ok(found)
}

impl Binder<'_> {
    /// The reference that a definition says, under a name of its own.
    pub fn define_reference(
        &mut self,
        table: &TableDescriptor,
        details: &Details,
        def: &ReferenceDef,
    ) -> Result<Reference, Error> {
        let own = def.table == table.name;
        let (parent, of_parent) = match self.tables.get(&def.table) {
            _ if own => (table, details.clone()),
            Some((parent, _)) => (parent, parent.details()?),
            None if system_table(&def.table).is_none() => {
                return fail(UNDEFINED_TABLE, format!("relation \"{}\" does not exist", def.table));
            }
            None => return fail(WRONG_OBJECT, format!("referenced relation \"{}\" is not a table", def.table)),
        };
        if of_parent.view.is_some() {
            return fail(WRONG_OBJECT, format!("referenced relation \"{}\" is not a table", def.table));
        }
        let positions = |table: &TableDescriptor, names: &[String]| {
            let mut found: Vec<u32> = Vec::new();
            for name in names {
                let at = position(table, name)?;
                if found.contains(&at) {
                    let message = format!("column \"{name}\" appears twice in a foreign key");
                    return fail(DUPLICATE_COLUMN, message);
                }
                found.push(at);
            }
            Ok(found)
        };
        let from = positions(table, &def.columns)?;
        let to = if def.to.is_empty() { parent.primary_key.clone() } else { positions(parent, &def.to)? };
        if to.is_empty() {
            let message = format!("there is no primary key for referenced table \"{}\"", def.table);
            return fail(UNDEFINED_OBJECT, message);
        }
        if from.len() != to.len() {
            let message = "number of referencing and referenced columns for foreign key disagree";
            return fail(INVALID_FOREIGN_KEY, message);
        }
        let slots = |details: &Details, positions: &[u32]| -> Vec<u32> {
            positions.iter().filter_map(|at| details.slots.get(*at as usize).copied()).collect()
        };
        let (columns, target) = (slots(details, &from), slots(&of_parent, &to));
        if columns.iter().any(|slot| details.sealed(*slot).is_some())
            || target.iter().any(|slot| of_parent.sealed(*slot).is_some())
        {
            return fail(UNSUPPORTED, "a foreign key of, or to, an encrypted column: who keeps it has no keys");
        }
        let stays = matches!(def.on_update, ReferentialAction::NoAction | ReferentialAction::Restrict);
        let keeps = stays && !matches!(def.on_delete, ReferentialAction::SetNull | ReferentialAction::SetDefault);
        if details.sealing.is_some() && !keeps && from.iter().any(|at| table.primary_key.contains(at)) {
            let message =
                "ON UPDATE or ON DELETE would change the primary key of an encrypted table, by which rows are sealed";
            return fail(UNSUPPORTED, message);
        }
        let name = self.reference_name(table, details, def)?;
        if way(parent, &of_parent, None, &target, true) == Way::Scan {
            let columns: Vec<&str> = to.iter().map(|at| parent.columns[*at as usize].name.as_str()).collect();
            let (table, columns) = (&def.table, columns.join(", "));
            return advise(
                INVALID_FOREIGN_KEY,
                format!("there is no unique constraint matching given keys for referenced table \"{table}\""),
                format!("CREATE UNIQUE INDEX ON {table} ({columns}) makes one."),
            );
        }
        for (from, to) in from.iter().zip(&to) {
            let (a, b) = (&table.columns[*from as usize], &parent.columns[*to as usize]);
            if a.data_type.base() != b.data_type.base() {
                let message = format!(
                    "foreign key constraint \"{name}\" cannot be implemented: key columns \"{}\" and \"{}\" are of \
                     incompatible types: {} and {}",
                    a.name,
                    b.name,
                    a.data_type.name(),
                    b.data_type.name()
                );
                return fail(DATATYPE_MISMATCH, message);
            }
        }
        Ok(Reference {
            name,
            columns,
            table: def.table.clone(),
            namespace: if own { String::new() } else { parent.namespace.clone() },
            to: target,
            on_delete: def.on_delete,
            on_update: def.on_update,
            stamp: 0,
        })
    }

    fn reference_name(&self, table: &TableDescriptor, details: &Details, def: &ReferenceDef) -> Result<String, Error> {
        let taken = |name: &str| details.has_constraint(name);
        let name = match &def.name {
            Some(name) if taken(name) => {
                let message = format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
                return fail(DUPLICATE_OBJECT, message);
            }
            Some(name) => name.clone(),
            None => {
                let base = format!("{}_{}_fkey", table.name, def.columns.join("_"));
                let mut numbered = (1..).map(|number| format!("{base}{number}"));
                if taken(&base) { numbered.find(|name| !taken(name)).unwrap_or(base) } else { base }
            }
        };
        check_name(&name)?;
        Ok(name)
    }

    /// Finds a row of a table, as it is known, that does not keep to a new reference.
    pub fn dangling(&mut self, table: &TableDescriptor, reference: &Reference) -> Result<Dangling, Error> {
        let parent = match self.tables.get(&reference.table) {
            Some((parent, _)) => parent,
            None => return fail(INTERNAL, "a table that is not known"),
        };
        let name = |table: &TableDescriptor, slot: &u32| -> Result<String, Error> {
            let position = table.details()?.slots.iter().position(|other| other == slot);
            let column = position.and_then(|at| table.columns.get(at));
            match column {
                Some(column) => Ok(column.name.clone()),
                None => {
                    fail(UNSUPPORTED, "a foreign key of, or to, a column that the same statement adds; add it first")
                }
            }
        };
        let column = |label: &str, name: &str| Expr::Column { table: Some(label.to_owned()), name: name.to_owned() };
        let and = |a: Option<Expr>, b: Expr| match a {
            None => Some(b),
            Some(a) => Some(Expr::Binary(BinaryOp::And, Nested::new(a), Nested::new(b))),
        };
        let from =
            |name: &str, label: &str| vec![TableRef::Table { name: name.to_owned(), alias: Some(label.to_owned()) }];
        let (mut filter, mut equal, mut items, mut names) = (None, None, Vec::new(), Vec::new());
        for (slot, to) in reference.columns.iter().zip(&reference.to) {
            let (a, b) = (name(table, slot)?, name(parent, to)?);
            let expr = Nested::new(column("c", &a));
            filter = and(filter, Expr::IsNull { expr: expr.clone(), negated: true });
            equal = and(equal, Expr::Binary(BinaryOp::Eq, Nested::new(column("p", &b)), expr));
            items.push(SelectItem::Expr(column("c", &a), None));
            names.push(a);
        }
        let one = vec![SelectItem::Expr(Expr::Literal(Value::Integer(1)), None)];
        let there = Select { items: one, from: from(&parent.name, "p"), filter: equal, ..Select::default() };
        let missing = Expr::Unary(UnaryOp::Not, Nested::new(Expr::Exists(Nested::new(there))));
        let select = Select {
            items,
            from: from(&table.name, "c"),
            filter: and(filter, missing),
            limit: Some(Expr::Literal(Value::Integer(1))),
            ..Select::default()
        };
        let (flow, names) = (self.physical(&select)?.0.into_flow(), names.join(", "));
        let (child, parent, key) = (&table.name, &parent.name, &reference.name);
        let what = format!("insert or update on table \"{child}\" violates foreign key constraint \"{key}\"");
        Ok(Dangling { flow, message: format!("{what}: Key ({names})=(?) is not present in table \"{parent}\".") })
    }

    /// The foreign keys that a statement may touch.
    pub fn references(&mut self, table: &TableDescriptor, events: Vec<Event>) -> Result<References, Error> {
        let mut reach = reach(&table.name, events, self.tables)?;
        reach.children.remove(&table.name);
        let known = self.tables;
        let version = |name: &String| known.get(name).map(|(_, version)| *version);
        let mut found = References {
            children: reach.children.iter().map(|name| (name.clone(), version(name))).collect(),
            ..References::default()
        };
        if !reach.keys.is_empty() {
            self.related(&table.name, &mut found)?;
        }
        for (child, at) in reach.keys {
            let Some((table, _)) = known.get(&child) else { continue };
            let details = table.details()?;
            let Some(reference) = details.references.get(at) else { continue };
            let parent = known.get(&reference.table).filter(|(it, _)| reference.is_to(it, it.name == child));
            let Some((parent, _)) = parent else {
                let (name, parent) = (&reference.name, &reference.table);
                let message = format!("relation \"{parent}\", which constraint \"{name}\" refers to, is gone");
                return advise(
                    UNDEFINED_TABLE,
                    message,
                    format!("ALTER TABLE {child} DROP CONSTRAINT {name} does without."),
                );
            };
            let defaults = match reference.on_delete == ReferentialAction::SetDefault
                || reference.on_update == ReferentialAction::SetDefault
            {
                true => self.defaults(table)?,
                false => Vec::new(),
            };
            let default = |slot: &u32| {
                let position = details.slots.iter().position(|other| other == slot)?;
                defaults.get(position).cloned()
            };
            let key = ForeignKey {
                name: reference.name.clone(),
                child: self.related(&child, &mut found)?,
                columns: reference.columns.clone(),
                parent: self.related(&reference.table, &mut found)?,
                to: reference.to.clone(),
                on_delete: reference.on_delete,
                on_update: reference.on_update,
                defaults: reference.columns.iter().filter_map(default).collect(),
                to_parent: way(parent, &parent.details()?, version(&parent.name), &reference.to, true),
                to_child: way(table, &details, version(&child), &reference.columns, false),
            };
            found.keys.push(key);
        }
        Ok(found)
    }

    /// The position of a table among those of foreign keys.
    fn related(&mut self, name: &str, found: &mut References) -> Result<usize, Error> {
        if let Some(at) = found.tables.iter().position(|other| other.target.name == name) {
            return Ok(at);
        }
        let Some((table, _)) = self.tables.get(name) else { return fail(INTERNAL, "a table that is not known") };
        let target = self.target(table)?;
        let (mut scan, _, _) = self.stored(table, name)?;
        scan.identity = ["key", "version", "rest"].map(|name| self.column(name.to_owned(), Some(Type::Blob))).into();
        scan.output = [&scan.output[..], &scan.identity].concat();
        let Op::Source(source) = physical::source(scan)?.op else { return fail(INTERNAL, "not a source") };
        found.tables.push(Related { target, source });
        Ok(found.tables.len() - 1)
    }
}

/// What EXPLAIN says of foreign keys.
pub fn note(references: &References, notes: &mut Vec<String>) {
    for key in &references.keys {
        let (child, parent) = (&references.tables[key.child].target, &references.tables[key.parent].target);
        let way = |way: &Way| match way {
            Way::Key(_) => "by key".to_owned(),
            Way::Index(scan, _) => format!("by index {}", scan.name),
            Way::Scan => "by a gather".to_owned(),
        };
        let (to_parent, to_child) = (way(&key.to_parent), way(&key.to_child));
        let (name, child, parent) = (&key.name, &child.name, &parent.name);
        notes
            .push(format!("Reference [asker] {name}: {child} to {parent} {to_parent}, {parent} to {child} {to_child}"));
    }
}

/// How the rows of a table are found that have values in some slots: for `one` of them, whose values no other has.
fn way(table: &TableDescriptor, details: &Details, version: Option<Version>, slots: &[u32], one: bool) -> Way {
    let at = |slot: &u32| slots.iter().position(|other| other == slot);
    let key = table.primary_key.iter().filter_map(|at| details.slots.get(*at as usize));
    let key: Option<Vec<usize>> = key.map(at).collect();
    if let Some(key) = key.filter(|key| key.len() == slots.len()) {
        return Way::Key(key);
    }
    for index in details.indexes.iter().filter(|index| index.ready) {
        if one && (!index.unique || index.columns.len() != slots.len()) {
            continue;
        }
        let first = index.columns.iter().take(slots.len()).map(|(slot, descending)| Some((at(slot)?, *descending)));
        let Some(order) = first.collect::<Option<Vec<_>>>().filter(|order| order.len() == slots.len()) else {
            continue;
        };
        let scan = IndexScan {
            name: index.name.clone(),
            namespace: index.namespace.clone(),
            locality_bits: table.locality_bits,
            table: (table.name.clone(), version.unwrap_or(Version { wall_us: 0, counter: 0, author: Id::ZERO })),
            ranges: Vec::new(),
            order: None,
        };
        return Way::Index(Box::new(scan), order);
    }
    Way::Scan
}
