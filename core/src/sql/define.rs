//! Plans CREATE TABLE: columns, defaults and constraints as they are kept.

use super::{
    ast::{ColumnDef, CreateTable, Insert, InsertSource, Select},
    catalog::TableDescriptor,
    scope::Binder,
    target::Planned,
    view::named,
};
use crate::{Error, data::Nested, exec::schema::CreateAs};

impl Binder<'_> {
    /// The table that a CREATE TABLE defines; where its rows are is said when it is carried out.
    pub fn define(&mut self, create: &CreateTable) -> Result<TableDescriptor, Error> {
        let mut table = TableDescriptor::define(create)?;
        self.defaults(&table)?;
        let mut details = table.details()?;
        for def in &create.checks {
            let check = self.define_check(&table, &details, def)?;
            details.checks.push(check);
        }
        table.set_details(&details)?;
        Ok(table)
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
