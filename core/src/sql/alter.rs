//! Plans ALTER TABLE and TRUNCATE: what the definition becomes, and what rows must be seen to keep to.
//!
//! Columns are known by their slots ([`details`](super::details)), which are never given to another column. So no row is
//! rewritten, and a statement that was planned with an older definition and writes after the change still writes
//! each value to its own column.

use super::{
    ast::{AlterTable, Alteration, CheckDef, ColumnDef},
    catalog::{COLUMNS_MAX, TableColumn, TableDescriptor, check_name, check_relation},
    details::{Details, SLOTS_MAX},
    fault::{
        CHECK_VIOLATION, DEPENDENT_OBJECTS, DUPLICATE_COLUMN, INVALID_DEFINITION, NOT_NULL_VIOLATION, UNDEFINED_OBJECT,
        UNSUPPORTED, error, fail,
    },
    index::Index,
    physical,
    references::{Reference, referring},
    scalar::Scalar,
    scope::Binder,
    select::lost_column,
    target::{constant, position},
};
use crate::{
    Error,
    data::Nested,
    exec::{
        fragment::Output,
        plan::Op,
        schema::{Alter, Validation},
    },
    store::Version,
};

/// What no row may be.
enum Wrong {
    /// NULL in a slot.
    Null(u32, String),
    /// Such that a constraint is false.
    Breaks(Scalar, String),
}

/// A definition while it is changed.
struct Draft {
    table: TableDescriptor,
    details: Details,
    wrong: Vec<Wrong>,
    /// References that its rows may not keep to.
    references: Vec<Reference>,
}

impl Binder<'_> {
    /// Plans an ALTER TABLE; `None` when nothing changes.
    pub fn alter(
        &mut self,
        alter: &AlterTable,
        table: &TableDescriptor,
        version: Version,
    ) -> Result<Option<Alter>, Error> {
        let (wrong, references) = (Vec::new(), Vec::new());
        let mut draft = Draft { table: table.clone(), details: table.details()?, wrong, references };
        for change in &alter.changes {
            if matches!(change, Alteration::Rename(_)) && alter.changes.len() > 1 {
                return fail(UNSUPPORTED, "RENAME TO together with other changes");
            }
            self.change(&mut draft, change)?;
        }
        draft.table.set_details(&draft.details)?;
        if draft.table == *table {
            return Ok(None);
        }
        let validations = draft.wrong.iter().map(|wrong| self.validation(&draft.table, wrong));
        Ok(Some(Alter {
            validations: validations.collect::<Result<_, Error>>()?,
            references: draft.references.iter().map(|it| self.dangling(table, it)).collect::<Result<_, Error>>()?,
            from: table.clone(),
            version,
            to: draft.table,
            empty: false,
        }))
    }

    fn change(&mut self, draft: &mut Draft, change: &Alteration) -> Result<(), Error> {
        match change {
            Alteration::AddColumn { column, checks, if_not_exists } => {
                if *if_not_exists && position(&draft.table, &column.name).is_ok() {
                    return Ok(());
                }
                self.add_column(draft, column)?;
                checks.iter().try_for_each(|def| self.add_check(draft, def))
            }
            Alteration::DropColumn { name, if_exists } => match position(&draft.table, name) {
                Err(_) if *if_exists => Ok(()),
                Err(error) => Err(error),
                Ok(position) => self.drop_column(draft, position),
            },
            Alteration::RenameColumn { name, to } => {
                let position = position(&draft.table, name)?;
                draft.free(to)?;
                check_name(to)?;
                draft.table.columns[position as usize].name.clone_from(to);
                Ok(())
            }
            Alteration::Rename(to) => {
                if !draft.details.references.is_empty() || !draft.details.dependents.is_empty() {
                    return fail(UNSUPPORTED, "RENAME of a table with foreign keys, or that others may refer to");
                }
                if let Some(index) = draft.details.indexes.first() {
                    let name = &index.name;
                    return fail(UNSUPPORTED, format!("RENAME of a table with indexes; drop index \"{name}\" first"));
                }
                check_relation(to)?;
                draft.table.name.clone_from(to);
                Ok(())
            }
            Alteration::Default { name, default } => {
                let position = position(&draft.table, name)? as usize;
                draft.table.columns[position].set_default(default.as_ref())?;
                // Whether it fits.
                self.defaults(&draft.table).map(drop)
            }
            Alteration::NotNull { name, refused } => {
                let position = position(&draft.table, name)?;
                if !refused && draft.table.primary_key.contains(&position) {
                    return fail(INVALID_DEFINITION, format!("column \"{name}\" is in a primary key"));
                }
                let column = &mut draft.table.columns[position as usize];
                if *refused && !column.not_null {
                    draft.wrong.push(Wrong::Null(draft.details.slots[position as usize], name.clone()));
                }
                column.not_null = *refused;
                Ok(())
            }
            Alteration::AddCheck(def) => self.add_check(draft, def),
            Alteration::AddReference(def) => {
                let reference = self.define_reference(&draft.table, &draft.details, def)?;
                draft.details.references.push(reference.clone());
                draft.references.push(reference);
                Ok(())
            }
            Alteration::DropConstraint { name, if_exists } => {
                let details = &mut draft.details;
                let before = details.checks.len() + details.references.len();
                details.checks.retain(|check| check.name != *name);
                details.references.retain(|reference| reference.name != *name);
                draft.references.retain(|reference| reference.name != *name);
                if before == details.checks.len() + details.references.len() && !if_exists {
                    let table = &draft.table.name;
                    let message = format!("constraint \"{name}\" of relation \"{table}\" does not exist");
                    return fail(UNDEFINED_OBJECT, message);
                }
                Ok(())
            }
        }
    }

    fn add_column(&mut self, draft: &mut Draft, column: &ColumnDef) -> Result<(), Error> {
        draft.free(&column.name)?;
        if draft.table.columns.len() >= COLUMNS_MAX || draft.details.width >= SLOTS_MAX {
            return fail(INVALID_DEFINITION, format!("a table has 1 to {COLUMNS_MAX} columns, and {SLOTS_MAX} ever"));
        }
        let slot = draft.details.width;
        draft.table.columns.push(TableColumn::define(column)?);
        draft.details.slots.push(slot);
        draft.details.width += 1;
        // What the default is now is what older rows have.
        let value = self.defaults(&draft.table)?.last().map(constant).transpose()?;
        if let Some(mut sealing) = draft.details.sealing.take() {
            if sealing.every {
                if value.as_ref().is_some_and(|value| !value.is_null()) {
                    let message =
                        "a new column of an encrypted table with a default: rows that are there would have it in clear";
                    return fail(UNSUPPORTED, message);
                }
                sealing.add(&mut draft.details, slot);
            }
            draft.details.sealing = Some(sealing);
        }
        match value.filter(|value| !value.is_null()) {
            Some(value) => draft.details.missing.push((slot, value)),
            None if column.not_null => draft.wrong.push(Wrong::Null(slot, column.name.clone())),
            None => {}
        }
        Ok(())
    }

    fn add_check(&mut self, draft: &mut Draft, def: &CheckDef) -> Result<(), Error> {
        let check = self.define_check(&draft.table, &draft.details, def)?;
        let scalar = self.check(&draft.table, &draft.details, &check)?;
        draft.wrong.push(Wrong::Breaks(scalar, check.name.clone()));
        draft.details.checks.push(check);
        Ok(())
    }

    /// The column's slot stays, empty; constraints that read the column go with it.
    fn drop_column(&mut self, draft: &mut Draft, position: u32) -> Result<(), Error> {
        let name = &draft.table.columns[position as usize].name;
        if draft.table.primary_key.contains(&position) {
            return fail(UNSUPPORTED, format!("DROP COLUMN of \"{name}\", which is in the primary key"));
        }
        if draft.table.columns.len() == 1 {
            return fail(INVALID_DEFINITION, format!("\"{name}\" is the last column of \"{}\"", draft.table.name));
        }
        let slot = draft.details.slots[position as usize];
        let tag = draft.details.sealed(slot).and_then(|it| it.tag);
        let reads = |index: &&Index| index.columns.iter().any(|(other, _)| *other == slot || Some(*other) == tag);
        if let Some(index) = draft.details.indexes.iter().find(reads) {
            let message = format!("index \"{}\" is on column \"{name}\"; drop it first", index.name);
            return fail(DEPENDENT_OBJECTS, message);
        }
        for dependent in draft.details.dependents.iter().filter(|it| it.columns.contains(&slot)) {
            let known = self.tables.get(&dependent.table).map(|(other, _)| other);
            if let Some((other, by)) = referring(&draft.table, known.into_iter())?.first() {
                let message = format!("constraint \"{by}\" of \"{other}\" refers to column \"{name}\"; drop it first");
                return fail(DEPENDENT_OBJECTS, message);
            }
        }
        let own = |it: &Reference| it.is_to(&draft.table, true) && it.to.contains(&slot);
        draft.details.references.retain(|it| !it.columns.contains(&slot) && !own(it));
        draft.references.retain(|it| !it.columns.contains(&slot) && !own(it));
        let mut kept = Vec::new();
        for check in core::mem::take(&mut draft.details.checks) {
            if !self.check(&draft.table, &draft.details, &check)?.columns().contains(&slot) {
                kept.push(check);
            }
        }
        draft.details.checks = kept;
        draft.wrong.retain(|wrong| match wrong {
            Wrong::Null(other, _) => *other != slot,
            Wrong::Breaks(scalar, _) => !scalar.columns().contains(&slot),
        });
        if let Some(sealing) = &mut draft.details.sealing {
            sealing.slots.retain(|it| it.cell != slot);
        }
        draft.table.columns.remove(position as usize);
        draft.details.slots.remove(position as usize);
        draft.table.primary_key.iter_mut().filter(|key| **key > position).for_each(|key| *key -= 1);
        Ok(())
    }

    /// Finds a row that is wrong.
    fn validation(&mut self, table: &TableDescriptor, wrong: &Wrong) -> Result<Validation, Error> {
        let (mut scan, _, ids) = self.stored(table, &table.name)?;
        let (condition, error) = match wrong {
            Wrong::Null(slot, name) => {
                let message = format!("column \"{name}\" of relation \"{}\" contains null values", table.name);
                (Scalar::IsNull(Nested::new(Scalar::Column(*slot))), error(NOT_NULL_VIOLATION, message))
            }
            Wrong::Breaks(check, name) => {
                let message =
                    format!("check constraint \"{name}\" of relation \"{}\" is violated by some row", table.name);
                (Scalar::Not(Nested::new(check.clone())), error(CHECK_VIOLATION, message))
            }
        };
        let id = |slot: u32| ids.get(slot as usize).map(|id| Scalar::Column(*id));
        let portable = condition.is_portable();
        if portable {
            scan.filter = vec![condition.replace(&mut { id }).ok_or_else(lost_column)?];
            scan.output.clear();
        }
        let Op::Source(mut source) = physical::source(scan)?.op else { return Err(lost_column()) };
        if portable {
            source.fragment.output = Output::First(1);
        }
        // Of the stored row each slot has its place.
        Ok(Validation { fragment: source.fragment, judged: (!portable).then_some(condition), error })
    }
}

impl Draft {
    /// Whether a column of that name may come.
    fn free(&self, name: &str) -> Result<(), Error> {
        if self.table.columns.iter().any(|column| column.name == name) {
            let message = format!("column \"{name}\" of relation \"{}\" already exists", self.table.name);
            return fail(DUPLICATE_COLUMN, message);
        }
        Ok(())
    }
}
