//! Names in sight: which column a name means, and what a statement knows while it is bound.

use super::{
    ast::Window,
    fault::{AMBIGUOUS_COLUMN, UNDEFINED_COLUMN, UNDEFINED_TABLE, fail},
    logical::ColumnId,
    plan::{Settings, Tables},
    scalar::Scalar,
    sealed::Sealed,
    set::InSight,
    statistics::Statistics,
    subquery::Subquery,
    windows::Windowed,
};
use crate::{
    Error,
    data::{Numeric, Type, Value},
    exec::{
        functions::listed,
        plan::{Call, OrderKey},
    },
    map::Map,
};

/// A column in sight.
#[derive(Clone, Debug)]
pub struct Visible {
    /// The table's alias or name.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: ColumnId,
    /// Only found with the table's name (one of two that USING joined).
    pub merged: bool,
}

impl Visible {
    /// A column that a name without a table finds.
    pub fn new(table: &str, name: String, id: ColumnId) -> Visible {
        Visible { table: table.to_owned(), name, id, merged: false }
    }
}

/// The columns in sight.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// In the order of `*`.
    pub columns: Vec<Visible>,
}

impl Scope {
    /// The column that a name means.
    pub fn resolve(&self, table: Option<&str>, name: &str) -> Result<ColumnId, Error> {
        let fits = |column: &&Visible| column.name == name && table.map_or(!column.merged, |t| column.table == t);
        let mut found = self.columns.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column.id),
            (Some(_), Some(_)) => fail(AMBIGUOUS_COLUMN, format!("column reference \"{name}\" is ambiguous")),
            (None, _) => match table {
                Some(table) if !self.columns.iter().any(|column| column.table == table) => {
                    fail(UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{table}\""))
                }
                Some(table) => fail(UNDEFINED_COLUMN, format!("column {table}.{name} does not exist")),
                None => fail(UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")),
            },
        }
    }
}

/// A bound expression and what is known of its type.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The expression, over identities.
    pub scalar: Scalar,
    /// Its type; `None` for NULL.
    pub data_type: Option<Type>,
    /// A text constant, which PostgreSQL reads as whatever type its surroundings want.
    pub untyped: bool,
    /// What the text of a decimal constant says exactly: its value beside a decimal.
    pub exact: Option<Numeric>,
}

/// Binds one statement: hands out identities and knows names and types by them.
pub struct Binder<'a> {
    pub(super) tables: &'a Tables,
    pub(super) statistics: &'a Statistics,
    pub(super) params: &'a [Value],
    pub(super) settings: Settings,
    names: Vec<String>,
    types: Vec<Option<Type>>,
    /// What stands for the user where that is not the asker: in a policy.
    pub(super) tested_user: Option<ColumnId>,
    /// Columns whose values peers cannot read.
    pub(super) sealed: Map<ColumnId, Sealed>,
    /// Parts of the expression that is being bound.
    pub(super) bound: u32,
    /// Aggregates found so far; `None` where none may be.
    pub(super) aggregates: Option<Vec<(ColumnId, Call)>>,
    /// Subqueries found so far, to be joined to the plan; `None` where none may be.
    pub(super) subqueries: Option<Vec<Subquery>>,
    /// Subqueries among the arguments of aggregates: they are joined below the aggregation.
    pub(super) below: Vec<Subquery>,
    /// Window functions found so far; `None` where none may be.
    pub(super) windows: Option<Vec<Windowed>>,
    /// The windows that the query names.
    pub(super) named: Vec<(String, Window)>,
    /// The columns in sight of the queries around this one, the innermost last.
    pub(super) outer: Vec<Scope>,
    /// Queries of `WITH` in sight, the innermost last.
    pub(super) ctes: Vec<InSight>,
    /// The order of the rows of what is evaluated once, by slot.
    pub(super) shared: Vec<(u32, Vec<OrderKey>)>,
    /// How deep the expression nests in which the query stands.
    pub(super) depth: u32,
    /// How deep queries nest.
    pub(super) queries: u32,
    slots: u32,
    /// Views that the query being bound is in.
    pub(super) views: u32,
}

impl<'a> Binder<'a> {
    /// A binder that knows these tables and parameters.
    pub fn new(tables: &'a Tables, statistics: &'a Statistics, params: &'a [Value], settings: Settings) -> Binder<'a> {
        // Who binds expressions computes all of them.
        listed::enable();
        Binder {
            tables,
            statistics,
            params,
            settings,
            names: Vec::new(),
            types: Vec::new(),
            tested_user: None,
            sealed: Map::new(),
            bound: 0,
            aggregates: None,
            subqueries: None,
            below: Vec::new(),
            windows: None,
            named: Vec::new(),
            outer: Vec::new(),
            ctes: Vec::new(),
            shared: Vec::new(),
            depth: 0,
            queries: 0,
            slots: 0,
            views: 0,
        }
    }

    /// A name for what is evaluated once.
    pub fn slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots
    }

    /// A new column of the name and type of another one.
    pub fn like(&mut self, id: ColumnId) -> ColumnId {
        let like = self.column(self.name(id).to_owned(), self.data_type(id));
        self.mark_like(like, id);
        like
    }

    /// The column that a name means: of this query, or of one around it.
    pub fn resolve(&self, scope: &Scope, table: Option<&str>, name: &str) -> Result<ColumnId, Error> {
        let unknown = |error: &Error| [UNDEFINED_COLUMN, UNDEFINED_TABLE].contains(&error.code());
        match scope.resolve(table, name) {
            Err(error) if unknown(&error) => {
                let around = self.outer.iter().rev().map(|scope| scope.resolve(table, name));
                around.into_iter().find(|found| !found.as_ref().is_err_and(unknown)).unwrap_or(Err(error))
            }
            found => found,
        }
    }

    /// A new column.
    pub fn column(&mut self, name: String, data_type: Option<Type>) -> ColumnId {
        self.names.push(name);
        self.types.push(data_type.map(Type::base));
        self.names.len() as ColumnId - 1
    }

    /// What EXPLAIN calls a column.
    pub fn name(&self, id: ColumnId) -> &str {
        self.names.get(id as usize).map_or("?", String::as_str)
    }

    /// The names of all columns, by identity.
    pub fn into_names(self) -> Vec<String> {
        self.names
    }

    /// The type of a column.
    pub fn data_type(&self, id: ColumnId) -> Option<Type> {
        self.types.get(id as usize).copied().flatten()
    }

    /// From now on a column is of this type.
    pub(super) fn retype(&mut self, id: ColumnId, data_type: Type) {
        if let Some(known) = self.types.get_mut(id as usize) {
            *known = Some(data_type.base());
        }
    }

    /// A column as an expression.
    pub fn column_ref(&self, id: ColumnId) -> Typed {
        Typed::new(Scalar::Column(id), self.data_type(id))
    }
}
