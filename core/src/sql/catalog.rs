//! What is known about tables, and where that is kept.
//!
//! A table is one record of the namespace [`CATALOG`]: key = its name, value = a `postcard` encoding of
//! [`TableDescriptor`], which all peers read (the system tables show it), and behind it [`Details`], which only who plans
//! a statement reads. Views are entries of the same namespace. A table's rows are records of a namespace of their own that is new with every CREATE, so a table
//! that is dropped and created again never shows rows of its former life.

use serde::{Deserialize, Serialize};

use super::{
    ast::{ColumnDef, CreateTable, Expr},
    details::Details,
    fault::{CORRUPTED, DUPLICATE_COLUMN, INVALID_DEFINITION, UNDEFINED_COLUMN, error, fail},
    index::Index,
};
use crate::{
    Error,
    data::{Type, Value},
    seal::Keys,
    store::{Action, KeyOp},
    trust::{self, Realm},
};

/// The namespace of the catalog.
pub const CATALOG: &str = trust::TABLES;
/// Columns that a table may have.
pub const COLUMNS_MAX: usize = 1_000;
/// Bytes that a name may have.
pub const NAME_BYTES_MAX: usize = 128;

/// The namespace of the names of indexes: key = name, value = a `postcard` encoding of [`IndexEntry`].
pub const INDEXES: &str = trust::INDEXES;

/// What is known of an index by its name. What counts is in the details of its table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Its name.
    pub name: String,
    /// The name of its table.
    pub table: String,
    /// The names of its columns, each with whether it descends.
    pub columns: Vec<(String, bool)>,
    /// Whether no two rows may have the same values.
    pub unique: bool,
    /// The namespace that its tree had first.
    pub namespace: String,
    /// Whether it has all rows.
    pub ready: bool,
}

impl IndexEntry {
    /// The entry of an index of a table.
    pub fn of(table: &TableDescriptor, details: &Details, index: &Index) -> IndexEntry {
        let name = |slot: &u32| {
            // An index on a sealed column is one on its tags.
            let of_tag = |tag: u32| details.sealing.iter().flat_map(|it| &it.slots).find(|it| it.tag == Some(tag));
            let slot = of_tag(*slot).map_or(*slot, |it| it.cell);
            let position = details.slots.iter().position(|other| *other == slot);
            position.and_then(|at| table.columns.get(at)).map_or_else(String::new, |column| column.name.clone())
        };
        IndexEntry {
            name: index.name.clone(),
            table: table.name.clone(),
            columns: index.columns.iter().map(|(slot, descending)| (name(slot), *descending)).collect(),
            unique: index.unique,
            namespace: index.namespace.clone(),
            ready: index.ready,
        }
    }

    /// From the value of its record.
    pub fn decode(bytes: &[u8]) -> Result<IndexEntry, Error> {
        let (_, bytes) = trust::unclaimed(bytes);
        postcard::from_bytes(bytes).map_err(|_| error(CORRUPTED, "the entry of an index does not read"))
    }

    /// The value of its record.
    pub fn encode(&self) -> Vec<u8> {
        let realm = Realm::of_namespace(&self.namespace).map(|(realm, _)| realm);
        trust::claimed(realm, postcard::to_allocvec(self).unwrap_or_default())
    }

    /// Its columns as SQL has them.
    pub fn shown(&self) -> String {
        let column =
            |(name, descending): &(String, bool)| if *descending { format!("{name} DESC") } else { name.clone() };
        self.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }
}

/// An operation on the entry of an index.
pub fn index_entry(name: &str, locality_bits: u8, action: Action) -> KeyOp {
    KeyOp { namespace: INDEXES.to_owned(), locality_bits, key: name.as_bytes().to_vec(), action, proof: None }
}

/// An operation on a table's entry in the catalog.
pub fn entry(name: &str, locality_bits: u8, action: Action) -> KeyOp {
    KeyOp { namespace: CATALOG.to_owned(), locality_bits, key: name.as_bytes().to_vec(), action, proof: None }
}

/// Whether something may have this name.
pub fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return fail(INVALID_DEFINITION, format!("a name has 1 to {NAME_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Whether a table or view may have this name.
pub fn check_relation(name: &str) -> Result<(), Error> {
    check_name(name)?;
    if name.starts_with("pontoon_") {
        return fail(INVALID_DEFINITION, "names that begin with pontoon_ are reserved");
    }
    Ok(())
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDescriptor {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<TableColumn>,
    /// Positions of the primary key's columns, in key order; empty: keys are hidden row ids.
    pub primary_key: Vec<u32>,
    /// The namespace of its rows, new with every CREATE.
    pub namespace: String,
    /// Locality bits of that namespace.
    pub locality_bits: u8,
    /// What stands behind it in its record: [`Details`].
    #[serde(skip)]
    tail: Vec<u8>,
    /// The keys of what it seals, at an asker.
    #[serde(skip)]
    pub keys: Keys,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: Type,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What an INSERT that does not name the column puts there: an encoded expression, which only planners decode.
    default: Option<Vec<u8>>,
}

impl TableColumn {
    /// A column of these properties.
    pub fn define(column: &ColumnDef) -> Result<TableColumn, Error> {
        check_name(&column.name)?;
        let mut defined = TableColumn {
            name: column.name.clone(),
            data_type: column.data_type,
            not_null: column.not_null,
            default: None,
        };
        defined.set_default(column.default.as_ref())?;
        Ok(defined)
    }

    /// From now on this is the default.
    pub fn set_default(&mut self, default: Option<&Expr>) -> Result<(), Error> {
        let encoded = default.map(postcard::to_allocvec).transpose();
        self.default = encoded.map_err(|_| error(INVALID_DEFINITION, "a default that cannot be kept"))?;
        Ok(())
    }

    /// What an INSERT that does not name the column puts there.
    pub fn default(&self) -> Result<Expr, Error> {
        match &self.default {
            Some(bytes) => postcard::from_bytes(bytes).map_err(|_| error(CORRUPTED, "a default does not read")),
            None => Ok(Expr::Literal(Value::Null)),
        }
    }
}

impl TableDescriptor {
    /// The table that a CREATE TABLE defines; where its rows are is still to be said ([`TableDescriptor::place`]).
    pub fn define(create: &CreateTable) -> Result<TableDescriptor, Error> {
        if create.columns.is_empty() || create.columns.len() > COLUMNS_MAX {
            return fail(INVALID_DEFINITION, format!("a table has 1 to {COLUMNS_MAX} columns"));
        }
        check_relation(&create.name)?;
        let names: Vec<&str> = create.columns.iter().map(|column| column.name.as_str()).collect();
        let mut columns = create.columns.iter().map(TableColumn::define).collect::<Result<Vec<_>, _>>()?;
        let mut primary_key = Vec::new();
        for key in &create.primary_key {
            let Some(position) = columns.iter().position(|column| column.name == *key) else {
                return fail(UNDEFINED_COLUMN, format!("column \"{key}\" named in key does not exist"));
            };
            if primary_key.contains(&(position as u32)) {
                return fail(DUPLICATE_COLUMN, format!("column \"{key}\" appears twice in primary key"));
            }
            columns[position].not_null = true;
            primary_key.push(position as u32);
        }
        if let Some((_, twice)) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
            return fail(DUPLICATE_COLUMN, format!("column \"{twice}\" specified more than once"));
        }
        Ok(TableDescriptor {
            name: create.name.clone(),
            columns,
            primary_key,
            namespace: String::new(),
            locality_bits: 0,
            tail: Vec::new(),
            keys: Keys::None,
        })
    }

    /// What a view looks like from outside: its columns are typed, and it has no rows of its own.
    pub fn view(name: &str, columns: Vec<(String, Type)>, details: &Details) -> Result<TableDescriptor, Error> {
        check_relation(name)?;
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            return fail(INVALID_DEFINITION, format!("a view has 1 to {COLUMNS_MAX} columns"));
        }
        let mut table = TableDescriptor {
            name: name.to_owned(),
            columns: Vec::with_capacity(columns.len()),
            primary_key: Vec::new(),
            namespace: String::new(),
            locality_bits: 0,
            tail: Vec::new(),
            keys: Keys::None,
        };
        for (name, data_type) in columns {
            check_name(&name)?;
            if table.columns.iter().any(|column| column.name == name) {
                return fail(DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once"));
            }
            table.columns.push(TableColumn { name, data_type, not_null: false, default: None });
        }
        table.set_details(details)?;
        Ok(table)
    }

    /// What only planners read of it.
    pub fn details(&self) -> Result<Details, Error> {
        Details::decode(&self.tail, self.columns.len())
    }

    /// Changes what only planners read of it.
    pub fn set_details(&mut self, details: &Details) -> Result<(), Error> {
        self.tail = details.encode(self.columns.len())?;
        Ok(())
    }

    /// To what realm it belongs.
    pub fn realm(&self) -> Option<Realm> {
        Realm::of_namespace(&self.namespace).map(|(realm, _)| realm)
    }

    /// Gives its rows a namespace, and its indexes: `generation` tells the table from every other of that name. A view has
    /// one, too, that says to what realm it belongs.
    pub fn place(&mut self, generation: u128, locality_bits: u8, realm: Option<Realm>) -> Result<(), Error> {
        let mut details = self.details()?;
        let kind = if details.view.is_some() { "view" } else { "rows" };
        let suffix = realm.map(|realm| realm.suffix(locality_bits)).unwrap_or_default();
        self.namespace = match details.view {
            Some(_) if realm.is_none() => String::new(),
            _ => format!("pontoon.{kind}.{}.{generation:032x}{suffix}", self.name),
        };
        self.locality_bits = locality_bits;
        if !details.indexes.is_empty() {
            for (number, index) in details.indexes.iter_mut().enumerate() {
                index.place(&self.name, generation, number, realm.map(|realm| realm.suffix(locality_bits)));
                // There are no rows.
                index.ready = true;
            }
            self.set_details(&details)?;
        }
        Ok(())
    }

    /// Whether its parts fit together.
    pub fn is_consistent(&self) -> bool {
        self.primary_key.iter().all(|position| (*position as usize) < self.columns.len())
    }

    /// A table from the value of its record.
    pub fn decode(bytes: &[u8]) -> Result<TableDescriptor, Error> {
        let (realm, bytes) = trust::unclaimed(bytes);
        let (mut table, tail): (TableDescriptor, &[u8]) =
            postcard::take_from_bytes(bytes).map_err(|_| error(CORRUPTED, "a catalog entry does not read"))?;
        table.tail = tail.to_vec();
        if table.is_consistent() && table.realm() == realm {
            Ok(table)
        } else {
            fail(CORRUPTED, "a catalog entry contradicts itself")
        }
    }

    /// The value of its record.
    pub fn encode(&self) -> Vec<u8> {
        let value = [postcard::to_allocvec(self).unwrap_or_default(), self.tail.clone()].concat();
        trust::claimed(self.realm(), value)
    }

    /// Whether it is as `wanted` defines it, whenever and by whomever that was; indexes may have come since.
    pub fn same_definition(&self, wanted: &TableDescriptor) -> bool {
        let details = |table: &TableDescriptor| {
            let mut details = table.details().ok()?;
            let indexes = core::mem::take(&mut details.indexes);
            // Each index had a slot.
            details.width = 0;
            // Who refers to it may come and go.
            details.dependents.clear();
            details.references.iter_mut().for_each(|reference| reference.stamp = 0);
            Some((details, indexes))
        };
        let (Some((is, there)), Some((should, indexes))) = (details(self), details(wanted)) else { return false };
        let same = |a: &Index, b: &Index| a.name == b.name && a.columns == b.columns && a.unique == b.unique;
        self.name == wanted.name
            && self.columns == wanted.columns
            && self.primary_key == wanted.primary_key
            && is == should
            && indexes.iter().all(|index| there.iter().any(|other| same(index, other)))
    }

    /// The key of a row without a primary key, in the order of insertion: when its statement began, random bits that no
    /// other statement of that microsecond has, the number of the row.
    pub fn hidden_key(began_us: u64, random: u128, index: u32) -> Vec<u8> {
        let mut key = began_us.to_be_bytes().to_vec();
        key.extend((random as u64).to_be_bytes());
        key.extend(index.to_be_bytes());
        key
    }
}
