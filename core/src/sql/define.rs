//! Plans CREATE TABLE: columns, defaults and constraints as they are kept.

use super::{
    ast::{self, ColumnDef, CreateTable, Insert, InsertSource, Select, UniqueDef},
    catalog::{TableDescriptor, check_name},
    details::{Details, SLOTS_MAX},
    fault::{DUPLICATE_COLUMN, DUPLICATE_OBJECT, INVALID_DEFINITION, fail},
    index::Index,
    physical,
    scope::Binder,
    sealing::index_slot,
    target::{Planned, position},
    view::named,
};
use crate::{
    Error,
    data::Nested,
    exec::{
        plan::Op,
        schema::{CreateAs, CreateIndex},
    },
    store::Version,
};

impl Binder<'_> {
    /// The table that a CREATE TABLE defines; where its rows are is said when it is carried out.
    pub fn define(&mut self, create: &CreateTable) -> Result<TableDescriptor, Error> {
        let mut table = TableDescriptor::define(create)?;
        self.defaults(&table)?;
        let mut details = table.details()?;
        if let Some(def) = &create.encryption {
            details.sealing = Some(self.sealing(&table, &mut details, def)?);
        }
        for def in &create.checks {
            let check = self.define_check(&table, &details, def)?;
            details.checks.push(check);
        }
        for UniqueDef { name, columns } in &create.uniques {
            let columns = columns.iter().map(|name| (name.clone(), false)).collect();
            let def = ast::CreateIndex {
                name: name.clone(),
                table: create.name.clone(),
                columns,
                unique: true,
                if_not_exists: false,
            };
            add_index(&table, &mut details, &def, "key", true)?;
        }
        for def in &create.references {
            let reference = self.define_reference(&table, &details, def)?;
            details.references.push(reference);
        }
        table.set_details(&details)?;
        Ok(table)
    }

    /// Plans a CREATE INDEX.
    pub fn create_index(
        &mut self,
        create: &ast::CreateIndex,
        table: &TableDescriptor,
        version: Version,
    ) -> Result<CreateIndex, Error> {
        let mut details = table.details()?;
        add_index(table, &mut details, create, "idx", false)?;
        let mut to = table.clone();
        to.set_details(&details)?;
        let mut target = self.target(&to)?;
        target.indexes.drain(..target.indexes.len() - 1);
        let (mut scan, _, ids) = self.stored(table, &table.name)?;
        scan.identity = ["key", "version", "rest"].map(|name| self.column(name.to_owned(), None)).into();
        let read = |(slot, _): &(u32, bool)| ids.get(*slot as usize).copied();
        scan.output = target.indexes.iter().flat_map(|index| index.columns.iter().filter_map(read)).collect();
        scan.output.push(scan.identity[0]);
        scan.columns.retain(|(id, ..)| scan.output.contains(id));
        let Op::Source(source) = physical::source(scan)?.op else {
            return fail(super::fault::INTERNAL, "not a source");
        };
        Ok(CreateIndex {
            from: table.clone(),
            version,
            to,
            if_not_exists: create.if_not_exists,
            target,
            fragment: source.fragment,
        })
    }

    /// Plans a CREATE TABLE .. AS.
    pub fn create_as(
        &mut self,
        name: &str,
        if_not_exists: bool,
        query: &Nested<Select>,
    ) -> Result<Planned<CreateAs>, Error> {
        let column = |(name, data_type)| ColumnDef { name, data_type, not_null: false, default: None };
        let columns = named(&self.select(query)?.columns, &[])?.into_iter().map(column).collect();
        let table = TableDescriptor::define(&CreateTable {
            name: name.to_owned(),
            if_not_exists,
            columns,
            primary_key: Vec::new(),
            checks: Vec::new(),
            uniques: Vec::new(),
            references: Vec::new(),
            private: false,
            encryption: None,
        })?;
        let insert = Insert {
            table: name.to_owned(),
            columns: Vec::new(),
            source: InsertSource::Query(query.clone()),
            alias: None,
            conflict: None,
            returning: Vec::new(),
        };
        let planned = self.insert(&insert, &table)?;
        Ok(Planned {
            plan: CreateAs { table, if_not_exists, insert: planned.plan },
            node: planned.node,
            notes: planned.notes,
        })
    }
}

/// Adds an index to the details of a table, under a name of its own.
fn add_index(
    table: &TableDescriptor,
    details: &mut Details,
    create: &ast::CreateIndex,
    suffix: &str,
    ready: bool,
) -> Result<(), Error> {
    let mut columns: Vec<(u32, bool)> = Vec::new();
    for (name, descending) in &create.columns {
        let slot = index_slot(table, details, position(table, name)?)?;
        if columns.iter().any(|(other, _)| *other == slot) {
            return fail(DUPLICATE_COLUMN, format!("column \"{name}\" appears twice in an index"));
        }
        columns.push((slot, *descending));
    }
    let taken = |name: &str| details.indexes.iter().any(|index| index.name == name);
    let name = match &create.name {
        // IF NOT EXISTS is decided by the name alone.
        Some(name) if taken(name) && !create.if_not_exists => {
            return fail(DUPLICATE_OBJECT, format!("relation \"{name}\" already exists"));
        }
        Some(name) => name.clone(),
        None => {
            let columns: Vec<&str> = create.columns.iter().map(|(name, _)| name.as_str()).collect();
            let base = format!("{}_{}_{suffix}", table.name, columns.join("_"));
            let mut numbered = (1..).map(|number| format!("{base}{number}"));
            if taken(&base) { numbered.find(|name| !taken(name)).unwrap_or(base) } else { base }
        }
    };
    check_name(&name)?;
    if details.width >= SLOTS_MAX {
        return fail(INVALID_DEFINITION, format!("a table that had more than {SLOTS_MAX} columns and indexes"));
    }
    let stamp = details.width;
    details.width += 1;
    let (unique, namespace) = (create.unique, String::new());
    details.indexes.push(Index { name, columns, stamp, namespace, unique, ready });
    Ok(())
}
