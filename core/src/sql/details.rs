//! What only who plans a statement reads of a table: where columns are stored, constraints, the query of a view.
//!
//! It stands behind the [`TableDescriptor`](super::catalog::TableDescriptor) in the table's record, so a peer that shows
//! the catalog, but runs no SQL, need not know expressions. Append only: what is added goes behind it in the same way.
//!
//! **Slots.** A column is stored at a place of its own in each row, its slot, which is never given to another column.
//! So who knows an older or a newer definition of the table never takes one column for another, and a row that was
//! written before a column was added ends before its slot: it has there what the default was when the column came
//! (PostgreSQL does the same with `attnum` and `attmissingval`).

use serde::{Deserialize, Serialize};

use super::{
    ast::{Expr, Select},
    fault::{CORRUPTED, INVALID_DEFINITION, error, fail},
    index::{INDEX_COLUMNS_MAX, INDEXES_MAX, Index},
    logical::Scan,
    references::{Dependent, Reference},
};
use crate::{
    Error,
    data::{Nested, Row, Value},
    seal::{Sealing, Slot},
};

/// Slots that a table may have given out.
pub const SLOTS_MAX: u32 = 4_000;
/// Constraints that a table may have.
pub const CONSTRAINTS_MAX: usize = 200;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// The slot of each column, ascending.
    pub slots: Vec<u32>,
    /// Slots that were ever given out.
    pub width: u32,
    /// What a row that ends before a slot has there; NULL where nothing is said.
    pub missing: Vec<(u32, Value)>,
    /// `CHECK` constraints.
    pub checks: Vec<Check>,
    /// It is a view.
    pub view: Option<View>,
    /// Indexes; they stand behind the rest.
    #[serde(skip)]
    pub indexes: Vec<Index>,
    /// What its rows refer to; it stands behind the indexes, with what follows.
    #[serde(skip)]
    pub references: Vec<Reference>,
    /// Who refers to its rows.
    #[serde(skip)]
    pub dependents: Vec<Dependent>,
    /// What is sealed in its rows; it stands behind all that.
    #[serde(skip)]
    pub sealing: Option<Sealing>,
}

/// A `CHECK` constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What must not be false.
    pub expr: Expr,
    /// What the expression calls the columns that it reads, and their slots: columns may be renamed.
    pub columns: Vec<(String, u32)>,
    /// What the expression calls the table.
    pub table: String,
}

/// What a view shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The query.
    pub query: Nested<Select>,
    /// What the query called its columns when the view was made.
    pub outputs: Vec<String>,
}

impl Details {
    /// Those of a table that was never altered.
    pub fn plain(columns: usize) -> Details {
        let width = u32::try_from(columns).unwrap_or(u32::MAX);
        Details { slots: (0..width).collect(), width, ..Details::default() }
    }

    /// From what stands behind the descriptor of a table with so many columns.
    pub fn decode(tail: &[u8], columns: usize) -> Result<Details, Error> {
        if tail.is_empty() {
            return Ok(Details::plain(columns));
        }
        let unreadable = |_| error(CORRUPTED, "the details of a catalog entry do not read");
        let (mut details, rest): (Details, &[u8]) = postcard::take_from_bytes(tail).map_err(unreadable)?;
        if !rest.is_empty() {
            let (indexes, rest): (Vec<Index>, &[u8]) = postcard::take_from_bytes(rest).map_err(unreadable)?;
            details.indexes = indexes;
            if !rest.is_empty() {
                let (refers, rest) = postcard::take_from_bytes(rest).map_err(unreadable)?;
                (details.references, details.dependents) = refers;
                if !rest.is_empty() {
                    details.sealing = Some(postcard::from_bytes(rest).map_err(unreadable)?);
                }
            }
        }
        let known = |slot: &u32| *slot < details.width;
        let consistent = details.width <= SLOTS_MAX
            && (details.view.is_some() || details.slots.len() == columns)
            && details.slots.is_sorted_by(|a, b| a < b)
            && details.slots.iter().all(known)
            && details.missing.iter().all(|(slot, _)| known(slot))
            && details.checks.iter().flat_map(|check| &check.columns).all(|(_, slot)| known(slot))
            && details.indexes.iter().flat_map(|index| &index.columns).all(|(slot, _)| known(slot))
            && details.indexes.iter().all(|index| known(&index.stamp) && !index.columns.is_empty())
            && details.indexes.iter().all(|index| !details.slots.contains(&index.stamp))
            && details.references.iter().all(|it| !it.columns.is_empty() && it.columns.len() == it.to.len())
            && details.references.iter().flat_map(|it| &it.columns).all(known)
            && details.dependents.iter().flat_map(|it| &it.columns).all(known)
            && details
                .sealing
                .iter()
                .flat_map(|it| &it.slots)
                .all(|it| known(&it.cell) && it.tag.is_none_or(|tag| known(&tag)))
            && (1..details.indexes.len())
                .all(|at| !details.indexes[..at].iter().any(|other| other.stamp == details.indexes[at].stamp));
        if consistent { Ok(details) } else { fail(CORRUPTED, "a catalog entry contradicts itself") }
    }

    /// What stands behind the descriptor.
    pub fn encode(&self, columns: usize) -> Result<Vec<u8>, Error> {
        if self.width > SLOTS_MAX {
            return fail(INVALID_DEFINITION, format!("a table that had more than {SLOTS_MAX} columns"));
        }
        if self.checks.len() + self.references.len() > CONSTRAINTS_MAX || self.dependents.len() > CONSTRAINTS_MAX {
            return fail(INVALID_DEFINITION, format!("a table with more than {CONSTRAINTS_MAX} constraints"));
        }
        if self.indexes.len() > INDEXES_MAX || self.indexes.iter().any(|it| it.columns.len() > INDEX_COLUMNS_MAX) {
            let message = format!("a table has {INDEXES_MAX} indexes at most, an index {INDEX_COLUMNS_MAX} columns");
            return fail(INVALID_DEFINITION, message);
        }
        if *self == Details::plain(columns) {
            return Ok(Vec::new());
        }
        let unfit = |_| error(INVALID_DEFINITION, "a definition that cannot be kept");
        let mut bytes = postcard::to_allocvec(self).map_err(unfit)?;
        let refers = !self.references.is_empty() || !self.dependents.is_empty() || self.sealing.is_some();
        if !self.indexes.is_empty() || refers {
            bytes.extend(postcard::to_allocvec(&self.indexes).map_err(unfit)?);
        }
        if refers {
            bytes.extend(postcard::to_allocvec(&(&self.references, &self.dependents)).map_err(unfit)?);
        }
        if let Some(sealing) = &self.sealing {
            bytes.extend(postcard::to_allocvec(sealing).map_err(unfit)?);
        }
        Ok(bytes)
    }

    /// Whether there is a constraint of that name.
    pub fn has_constraint(&self, name: &str) -> bool {
        self.checks.iter().any(|check| check.name == name) || self.references.iter().any(|it| it.name == name)
    }

    /// The sealed column whose cells are in a slot.
    pub fn sealed(&self, slot: u32) -> Option<Slot> {
        self.sealing.as_ref()?.slots.iter().find(|it| it.cell == slot).copied()
    }

    /// Where the columns of a scan are stored; it has all columns, in order.
    pub fn place(&self, scan: &mut Scan) {
        scan.indexes.clone_from(&self.indexes);
        for ((id, position, _), slot) in scan.columns.iter_mut().zip(&self.slots) {
            *position = *slot;
            let missing = self.missing.iter().find(|(other, _)| other == slot);
            scan.missing.extend(missing.map(|(_, value)| (*id, value.clone())));
        }
    }

    /// What an older row has at each slot.
    pub fn missing_row(&self) -> Row {
        let mut row = vec![Value::Null; self.width as usize];
        for (slot, value) in &self.missing {
            row[*slot as usize] = value.clone();
        }
        row
    }
}
