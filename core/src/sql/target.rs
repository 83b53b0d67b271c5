//! What INSERT, UPDATE and DELETE have in common: the stored row that they change, its constraints, RETURNING.
//!
//! Their expressions are bound over columns like those of a query, and then put in terms of the stored row
//! ([`exec::change`](crate::exec::change)).

use std::sync::Arc;

use super::{
    ast::{CheckDef, Expr, SelectItem},
    catalog::TableDescriptor,
    details::{Check, Details},
    explain,
    fault::{
        DUPLICATE_COLUMN, INTERNAL, INVALID_REFERENCE, UNDEFINED_COLUMN, UNDEFINED_TABLE, UNSUPPORTED, advise, fail,
    },
    index::Index,
    logical::{ColumnId, Logical, Scan},
    physical::Node,
    plan::Dialect,
    scalar::Scalar,
    scope::{Binder, Scope, Typed, Visible},
    sealing::index_slot,
    select::lost_column,
};
use crate::{
    Error,
    data::{Column, Type, Value},
    exec::change::{Arbiter, Returning, Target, TargetColumn},
    seal::Opening,
};

/// A statement that changes rows, and what EXPLAIN says of it.
pub struct Planned<T> {
    /// What is run.
    pub plan: T,
    /// Where its rows come from.
    pub node: Option<Node>,
    /// What happens to them.
    pub notes: Vec<String>,
}

impl Binder<'_> {
    /// What a writer knows of a table.
    pub fn target(&mut self, table: &TableDescriptor) -> Result<Target, Error> {
        let details = table.details()?;
        let sealer = self.sealer(table, &details);
        let place = |(column, slot): (&super::catalog::TableColumn, &u32)| TargetColumn {
            name: column.name.clone(),
            slot: *slot,
            data_type: column.data_type,
            not_null: column.not_null,
        };
        let checks = details.checks.iter().map(|check| Ok((check.name.clone(), self.check(table, &details, check)?)));
        Ok(Target {
            sealer,
            name: table.name.clone(),
            namespace: table.namespace.clone(),
            locality_bits: table.locality_bits,
            checks: checks.collect::<Result<_, Error>>()?,
            columns: table.columns.iter().zip(&details.slots).map(place).collect(),
            key: table.primary_key.iter().map(|position| details.slots[*position as usize]).collect(),
            missing: details.missing_row(),
            version: self.tables.get(&table.name).map(|(_, version)| *version),
            indexes: details.indexes,
            dependents: details.dependents,
        })
    }

    /// The scan of a table's stored rows: columns that it lost are read, too. Also the columns in sight, and what is
    /// at each slot.
    pub fn stored(&mut self, table: &TableDescriptor, label: &str) -> Result<(Scan, Scope, Vec<ColumnId>), Error> {
        let width = table.details()?.width;
        let (Logical::Scan(mut scan), scope) = self.scan_of(table, label)? else {
            return fail(INTERNAL, "not a scan");
        };
        for slot in 0..width {
            if !scan.columns.iter().any(|(_, other, _)| *other == slot) {
                let id = self.column(format!("{label}.?"), None);
                scan.columns.push((id, slot, Type::Text));
            }
        }
        scan.columns.sort_by_key(|(_, slot, _)| *slot);
        let ids: Vec<ColumnId> = scan.columns.iter().map(|(id, ..)| *id).collect();
        scan.output.clone_from(&ids);
        Ok((scan, scope, ids))
    }

    /// A constraint, over the stored row.
    pub fn check(&mut self, table: &TableDescriptor, details: &Details, check: &Check) -> Result<Scalar, Error> {
        let (mut scope, mut slots) = (Scope::default(), Vec::new());
        for (name, slot) in &check.columns {
            let position = details.slots.iter().position(|other| other == slot);
            let data_type = position.and_then(|position| table.columns.get(position)).map(|column| column.data_type);
            let id = self.column(name.clone(), data_type);
            if details.sealed(*slot).is_some() {
                self.bar(id, name);
            }
            scope.columns.push(Visible { table: check.table.clone(), name: name.clone(), id, merged: false });
            slots.push((id, *slot));
        }
        let bound = self.condition(&check.expr, &scope)?;
        let slot = |id| slots.iter().find(|(other, _)| *other == id).map(|(_, slot)| Scalar::Column(*slot));
        bound.replace(&mut { slot }).ok_or_else(lost_column)
    }

    /// The constraint that a definition says, under a name of its own.
    pub fn define_check(&mut self, table: &TableDescriptor, details: &Details, def: &CheckDef) -> Result<Check, Error> {
        let taken = |name: &str| details.has_constraint(name);
        let name = match &def.name {
            Some(name) if taken(name) => {
                let message = format!("constraint \"{name}\" for relation \"{}\" already exists", table.name);
                return fail(super::fault::DUPLICATE_OBJECT, message);
            }
            Some(name) => name.clone(),
            None => {
                let parts: Vec<&str> =
                    [Some(table.name.as_str()), def.column.as_deref()].into_iter().flatten().collect();
                let base = format!("{}_check", parts.join("_"));
                let mut numbered = (1..).map(|number| format!("{base}{number}"));
                if taken(&base) { numbered.find(|name| !taken(name)).unwrap_or(base) } else { base }
            }
        };
        let all = table.columns.iter().map(|column| column.name.clone()).zip(details.slots.iter().copied()).collect();
        let mut check = Check { name, expr: def.expr.clone(), columns: all, table: table.name.clone() };
        let read = self.check(table, details, &check)?.columns();
        let few = check.columns.iter().filter(|(_, slot)| read.contains(slot)).cloned().collect();
        let all = core::mem::replace(&mut check.columns, few);
        if self.check(table, details, &check).is_err() {
            check.columns = all;
        }
        Ok(check)
    }

    /// What RETURNING shows, over rows of this schema.
    pub fn returning(
        &mut self,
        items: &[SelectItem],
        scope: &Scope,
        schema: &[ColumnId],
        notes: &mut Vec<String>,
    ) -> Result<Option<Returning>, Error> {
        let mut returning = Returning { exprs: Vec::new(), columns: Vec::new(), openings: Vec::new() };
        let mut names = Vec::new();
        let mut show = |binder: &Self, (typed, opening): (Typed, Option<Arc<Opening>>), name: &str| {
            names.push(explain::scalar(&typed.scalar, &|id| binder.name(id).to_owned()));
            returning.exprs.push(typed.scalar.remap(schema).ok_or_else(lost_column)?);
            let data_type = opening.as_ref().map_or(typed.data_type, |opening| Some(opening.data_type));
            returning.columns.push(Column { name: name.to_owned(), data_type });
            returning.openings.push(opening);
            Ok::<(), Error>(())
        };
        for item in items {
            match item {
                SelectItem::Expr(expr, alias) => {
                    let shown = match self.sealed_column(expr, scope) {
                        Some((id, _)) => self.shown(id)?,
                        None => (self.expr(expr, scope)?, None),
                    };
                    let name = match (alias, expr) {
                        (Some(alias), _) => alias,
                        (None, Expr::Column { name, .. } | Expr::Call { name, .. }) => name,
                        (None, Expr::Case { .. }) => "case",
                        (None, _) => "?column?",
                    };
                    show(self, shown, name)?;
                }
                SelectItem::Star(table) => {
                    let wanted =
                        |column: &&Visible| table.as_ref().map_or(!column.merged, |table| column.table == *table);
                    let columns: Vec<&Visible> = scope.columns.iter().filter(wanted).collect();
                    if let (Some(table), true) = (table, columns.is_empty()) {
                        return fail(UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{table}\""));
                    }
                    for column in columns {
                        show(self, self.shown(column.id)?, &column.name)?;
                    }
                }
            }
        }
        if items.is_empty() {
            return Ok(None);
        }
        notes.push(format!("Returning [asker] {}", names.join(", ")));
        Ok(Some(returning))
    }

    /// Slot and new value of each assignment.
    pub fn assignments(
        &mut self,
        table: &TableDescriptor,
        assignments: &[(String, Expr)],
        scope: &Scope,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(u32, Scalar)>, Error> {
        let details = table.details()?;
        let slots = &details.slots;
        let (mut bound, mut set): (Vec<(u32, Scalar)>, Vec<String>) = (Vec::new(), Vec::new());
        for (name, expr) in assignments {
            let position = position(table, name)?;
            let (column, slot) = (&table.columns[position as usize], slots[position as usize]);
            let before = bound.iter().position(|(other, _)| *other == slot);
            if let (Some(at), Dialect::Sqlite) = (before, self.settings.dialect) {
                // The last one counts.
                bound.remove(at);
                set.remove(at);
            } else if before.is_some() {
                return fail(DUPLICATE_COLUMN, format!("multiple assignments to column \"{name}\""));
            }
            let typed = match expr {
                Expr::Default => self.expr(&column.default()?, &Scope::default())?,
                expr => self.expr(expr, scope)?,
            };
            let scalar = typed.assign(column.data_type, name)?.scalar;
            self.may_seal(table, &details, Some(slot))?;
            if details.sealing.is_some() && table.primary_key.contains(&position) {
                let why = "what is encrypted is bound to its row by the primary key, which does not change";
                let hint = "INSERT the row anew, and DELETE it as it was.";
                return advise(UNSUPPORTED, format!("column \"{name}\": {why}"), hint);
            }
            let shown = match details.sealed(slot) {
                Some(_) => "sealed".to_owned(),
                None => explain::scalar(&scalar, &|id| self.name(id).to_owned()),
            };
            set.push(format!("{name} = {shown}"));
            bound.push((slot, scalar));
        }
        notes.push(set.join(", "));
        Ok(bound)
    }

    /// The defaults of a table's columns.
    pub fn defaults(&mut self, table: &TableDescriptor) -> Result<Vec<Scalar>, Error> {
        let default = |column: &super::catalog::TableColumn| {
            let typed = self.expr(&column.default()?, &Scope::default())?;
            Ok(typed.assign(column.data_type, &column.name)?.scalar)
        };
        table.columns.iter().map(default).collect()
    }
}

/// Assignments over rows of this schema.
pub fn over_rows(assignments: Vec<(u32, Scalar)>, schema: &[ColumnId]) -> Result<Vec<(u32, Scalar)>, Error> {
    let over = |(slot, scalar): (u32, Scalar)| Ok((slot, scalar.remap(schema).ok_or_else(lost_column)?));
    assignments.into_iter().map(over).collect()
}

/// What EXPLAIN says of constraints.
pub fn note_checks(target: &Target, notes: &mut Vec<String>) {
    if !target.checks.is_empty() {
        let names: Vec<&str> = target.checks.iter().map(|(name, _)| name.as_str()).collect();
        notes.push(format!("Check [asker] {}", names.join(", ")));
    }
}

/// The position of a column.
pub fn position(table: &TableDescriptor, name: &str) -> Result<u32, Error> {
    match table.columns.iter().position(|column| column.name == name) {
        Some(position) => Ok(position as u32),
        None => fail(UNDEFINED_COLUMN, format!("column \"{name}\" of relation \"{}\" does not exist", table.name)),
    }
}

/// The key that the columns are those of, in any order: the primary key, or a unique index.
pub fn arbiter(table: &TableDescriptor, columns: &[String]) -> Result<Arbiter, Error> {
    if columns.is_empty() {
        return Ok(Arbiter::Any);
    }
    let details = table.details()?;
    let slot = |position: u32| index_slot(table, &details, position).unwrap_or(u32::MAX);
    let mut wanted = columns.iter().map(|name| Ok(slot(position(table, name)?))).collect::<Result<Vec<_>, Error>>()?;
    wanted.sort_unstable();
    let same = |mut slots: Vec<u32>| {
        slots.sort_unstable();
        slots == wanted
    };
    if same(table.primary_key.iter().map(|position| slot(*position)).collect()) {
        return Ok(Arbiter::PrimaryKey);
    }
    let unique =
        |index: &&Index| index.unique && index.ready && same(index.columns.iter().map(|(slot, _)| *slot).collect());
    match details.indexes.iter().find(unique) {
        Some(index) => Ok(Arbiter::Index(index.namespace.clone())),
        None => {
            let message = "there is no unique constraint that matches the ON CONFLICT specification";
            fail(INVALID_REFERENCE, message)
        }
    }
}

/// A constant as it is written.
pub fn constant(scalar: &Scalar) -> Result<Value, Error> {
    Ok(crate::exec::eval::eval(scalar, &[])?.into_owned())
}
