//! Foreign keys that a statement may touch, as it is run: who refers to what, and which way leads there.
//!
//! As in [`change`](super::change) rows are stored rows, and columns are slots. What the asker does with it:
//! [`run::references`](super::run).

use super::{change::Target, plan::IndexScan, plan::Source};
use crate::{
    data::{Row, Value, codec},
    sql::{ast::ReferentialAction, scalar::Scalar},
    store::Version,
};

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct References {
    /// The tables; the first is the statement's.
    pub tables: Vec<Related>,
    /// The foreign keys between them.
    pub keys: Vec<ForeignKey>,
    /// Tables that may refer to rows that go, with the versions of their entries; `None`: there was none.
    pub children: Vec<(String, Option<Version>)>,
}

/// A table of [`References`].
#[derive(Clone, Debug, PartialEq)]
pub struct Related {
    /// What a writer knows of it.
    pub target: Target,
    /// Gives its stored rows, each with key, version and rest.
    pub source: Source,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The referencing table, by position.
    pub child: usize,
    /// The slots there.
    pub columns: Vec<u32>,
    /// The table that is referred to.
    pub parent: usize,
    /// The slots there.
    pub to: Vec<u32>,
    /// What becomes of a row when the one that it refers to is removed.
    pub on_delete: ReferentialAction,
    /// What becomes of it when that one gets other values.
    pub on_update: ReferentialAction,
    /// What SET DEFAULT puts into the referencing columns.
    pub defaults: Vec<Scalar>,
    /// How rows are found that are referred to.
    pub to_parent: Way,
    /// How referencing rows are found.
    pub to_child: Way,
}

/// How the rows are found that have given values in some columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// The columns are the primary key: for each of its columns the position among them.
    Key(Vec<usize>),
    /// By an index whose first columns they are: for each of these the position among them, and whether it descends.
    Index(Box<IndexScan>, Vec<(usize, bool)>),
    /// Owners look through all rows.
    Scan,
}

impl References {
    /// Whether there is nothing to look after.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.children.is_empty()
    }
}

/// The values of some slots; `None` if one of them is NULL, for then the row refers to nothing.
pub fn values(row: &[Value], slots: &[u32]) -> Option<Row> {
    let value = |slot: &u32| row.get(*slot as usize).filter(|value| !value.is_null()).cloned();
    slots.iter().map(value).collect()
}

/// The same, as bytes that are the same for the same values.
pub fn encoded(row: &[Value], slots: &[u32]) -> Option<Vec<u8>> {
    values(row, slots).map(|values| codec::encode_key(&values))
}
