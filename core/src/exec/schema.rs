//! Statements that change definitions, as they are run.

use super::{
    change::{Insert, Target},
    fragment::FragmentPlan,
    plan::Flow,
};
use crate::{
    Error,
    sql::{catalog::TableDescriptor, scalar::Scalar},
    store::{KeyOp, Version},
    trust::{Grantee, Policy, Privileges, Realm},
};

/// A table's definition becomes another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Alter {
    /// The table.
    pub from: TableDescriptor,
    /// The version of its entry in the catalog.
    pub version: Version,
    /// What it becomes, perhaps under another name.
    pub to: TableDescriptor,
    /// What its rows have to keep to.
    pub validations: Vec<Validation>,
    /// What its rows have to refer to.
    pub references: Vec<Dangling>,
    /// TRUNCATE: its rows are to be in a new namespace, and those of the old one are removed.
    pub empty: bool,
}

/// Something that must not be found.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Gives a row where it is; or all rows, where only the asker can tell.
    pub fragment: FragmentPlan,
    /// Then what is true of it.
    pub judged: Option<Scalar>,
    /// The error then.
    pub error: Error,
}

/// Rows that must not be found, for they refer to nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Dangling {
    /// Gives the referencing values of a row where there is one.
    pub flow: Flow,
    /// The error then, with `?` for these.
    pub message: String,
}

/// A new view, or another one of that name.
#[derive(Clone, Debug, PartialEq)]
pub struct Show {
    /// Its entry.
    pub view: TableDescriptor,
    /// Nothing is done when there is something of that name.
    pub if_not_exists: bool,
    /// It takes the place of a view of that name.
    pub or_replace: bool,
    /// The same view again is an error, too.
    pub once: bool,
}

/// Who may do what with a table becomes another thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The table, for people.
    pub table: String,
    /// Its realm.
    pub realm: Realm,
    /// What becomes of its rights.
    pub change: RightsChange,
    /// What makes of its keyring what it becomes, on condition of what it was.
    pub ring: Option<KeyOp>,
}

/// A change of rights.
#[derive(Clone, Debug, PartialEq)]
pub enum RightsChange {
    /// `GRANT`, or `REVOKE`.
    Grant {
        /// What is granted or revoked.
        privileges: Privileges,
        /// To whom or from whom.
        to: Vec<Grantee>,
        /// Whether it is granted.
        give: bool,
    },
    /// `CREATE POLICY`.
    Police(Box<Policy>),
    /// `DROP POLICY`; with the flag there need be none.
    Unpolice(String, bool),
}

/// A table made of the rows of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateAs {
    /// The table.
    pub table: TableDescriptor,
    /// Nothing is done when there is something of that name.
    pub if_not_exists: bool,
    /// Its rows.
    pub insert: Insert,
}

/// A table gets an index.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateIndex {
    /// The table.
    pub from: TableDescriptor,
    /// The version of its entry in the catalog.
    pub version: Version,
    /// What it becomes: the index is the last one of its details.
    pub to: TableDescriptor,
    /// Nothing is done when there is an index of that name.
    pub if_not_exists: bool,
    /// The table, with this index alone.
    pub target: Target,
    /// Gives the indexed values of each row, then key, version and rest.
    pub fragment: FragmentPlan,
}
