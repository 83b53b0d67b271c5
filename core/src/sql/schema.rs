//! The syntax trees of statements that define tables and views: a part of [`ast`](super::ast), under the same rules.

use serde::{Deserialize, Serialize};

use super::ast::{Expr, Select};
use crate::data::{Nested, Type};

/// `CREATE TABLE name (columns, PRIMARY KEY (..))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateTable {
    /// The table.
    pub name: String,
    /// No error when a different table of that name exists.
    pub if_not_exists: bool,
    /// Its columns.
    pub columns: Vec<ColumnDef>,
    /// The columns of the primary key, in key order; empty: a hidden row id.
    pub primary_key: Vec<String>,
    /// `CHECK` constraints, of columns and of the table.
    pub checks: Vec<CheckDef>,
    /// `UNIQUE` constraints, of columns and of the table.
    pub uniques: Vec<UniqueDef>,
    /// `REFERENCES`, of columns and of the table.
    pub references: Vec<ReferenceDef>,
    /// `WITH (private = true)`: only those read it to whom SELECT is granted.
    pub private: bool,
    /// `WITH (encryption = ..)`.
    pub encryption: Option<EncryptionDef>,
}

/// `WITH (encryption = keyring, encrypted_columns = '..', encryption_equality = false)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncryptionDef {
    /// The keyring's name.
    pub keyring: String,
    /// The columns that are sealed; `None`: every one that is not in the primary key.
    pub columns: Option<Vec<String>>,
    /// Whether their values can be compared.
    pub equality: bool,
}

/// `CONSTRAINT name FOREIGN KEY (columns) REFERENCES table (to) ON DELETE .. ON UPDATE ..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferenceDef {
    /// Its name; made of table and columns where none is given.
    pub name: Option<String>,
    /// The referencing columns.
    pub columns: Vec<String>,
    /// The table that they refer to.
    pub table: String,
    /// Its columns; empty: its primary key.
    pub to: Vec<String>,
    /// What becomes of a row when the one that it refers to is removed.
    pub on_delete: ReferentialAction,
    /// What becomes of it when that one gets other values.
    pub on_update: ReferentialAction,
}

/// What becomes of a row when what it refers to goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferentialAction {
    /// `NO ACTION`: the statement fails, unless another row has the same values when it is over.
    #[default]
    NoAction,
    /// `RESTRICT`: the statement fails.
    Restrict,
    /// `CASCADE`: the row goes, too, or gets the new values.
    Cascade,
    /// `SET NULL`.
    SetNull,
    /// `SET DEFAULT`.
    SetDefault,
}

/// `CONSTRAINT name UNIQUE (columns)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UniqueDef {
    /// Its name; made of table and columns where none is given.
    pub name: Option<String>,
    /// The columns.
    pub columns: Vec<String>,
}

/// `CREATE [UNIQUE] INDEX name ON table (columns)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateIndex {
    /// Its name; made of table and columns where none is given.
    pub name: Option<String>,
    /// The table.
    pub table: String,
    /// The columns, each with whether it descends.
    pub columns: Vec<(String, bool)>,
    /// Whether no two rows may have the same values.
    pub unique: bool,
    /// Nothing is done when there is one of that name.
    pub if_not_exists: bool,
}

/// `CONSTRAINT name CHECK (expr)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDef {
    /// Its name; made of table and column where none is given.
    pub name: Option<String>,
    /// The column that it stands with, if it does.
    pub column: Option<String>,
    /// What must not be false.
    pub expr: Expr,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: Type,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// What an INSERT that does not name the column puts there.
    pub default: Option<Expr>,
}

/// `ALTER TABLE table changes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlterTable {
    /// The table.
    pub table: String,
    /// No error when it does not exist.
    pub if_exists: bool,
    /// One after the other.
    pub changes: Vec<Alteration>,
}

/// A change of a table's definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Alteration {
    /// `ADD [COLUMN] [IF NOT EXISTS]`.
    AddColumn {
        /// The column.
        column: ColumnDef,
        /// Its `CHECK` constraints.
        checks: Vec<CheckDef>,
        /// No error when there is one of that name.
        if_not_exists: bool,
    },
    /// `DROP [COLUMN] [IF EXISTS]`.
    DropColumn {
        /// The column.
        name: String,
        /// No error when there is none.
        if_exists: bool,
    },
    /// `RENAME [COLUMN] name TO to`.
    RenameColumn {
        /// The column.
        name: String,
        /// Its new name.
        to: String,
    },
    /// `RENAME TO`.
    Rename(String),
    /// `ALTER [COLUMN] .. SET DEFAULT`, `DROP DEFAULT`.
    Default {
        /// The column.
        name: String,
        /// The new default, if any.
        default: Option<Expr>,
    },
    /// `ALTER [COLUMN] .. SET NOT NULL`, `DROP NOT NULL`.
    NotNull {
        /// The column.
        name: String,
        /// Whether NULL is refused.
        refused: bool,
    },
    /// `ADD [CONSTRAINT name] CHECK`.
    AddCheck(CheckDef),
    /// `DROP CONSTRAINT [IF EXISTS]`.
    DropConstraint {
        /// The constraint.
        name: String,
        /// No error when there is none.
        if_exists: bool,
    },
    /// `ADD [CONSTRAINT name] FOREIGN KEY`.
    AddReference(ReferenceDef),
}

/// `CREATE VIEW name (columns) AS SELECT ..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateView {
    /// The view.
    pub name: String,
    /// Takes the place of a view of that name.
    pub or_replace: bool,
    /// Nothing is done when there is one of that name.
    pub if_not_exists: bool,
    /// Names of its columns; those of the query for the rest.
    pub columns: Vec<String>,
    /// What it shows.
    pub query: Nested<Select>,
}
