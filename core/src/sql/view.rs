//! Views: a query under a name, in the catalog beside the tables.
//!
//! The query is kept as a tree and bound anew wherever the view is named. The view's columns are those that it had when
//! it was made: what its tables gain since then is not shown, and what they lose is an error where the view is used.

use super::{
    ast::{CreateView, Select},
    catalog::TableDescriptor,
    details::{Details, View},
    fault::{COLUMN_COUNT, INVALID_DEFINITION, TOO_COMPLEX, UNDEFINED_COLUMN, fail},
    logical::Logical,
    plan::named_by,
    scope::{Binder, Scope, Visible},
};
use crate::{
    Error,
    data::{Column, Nested, Type},
};

/// Views within views.
const VIEWS_MAX: u32 = 8;
/// How much deeper a query counts as nested for each view that it is in.
const DEPTH_OF_VIEW: u32 = 6;

impl Binder<'_> {
    /// The entry of a new view.
    pub fn define_view(&mut self, create: &CreateView) -> Result<TableDescriptor, Error> {
        if named_by(&create.query, self.tables).contains(&create.name) {
            return fail(INVALID_DEFINITION, format!("view \"{}\" would show itself", create.name));
        }
        let params = core::mem::take(&mut self.params);
        self.views += 1;
        let query = self.query(&create.query, DEPTH_OF_VIEW);
        self.views -= 1;
        self.params = params;
        let outputs = query?.columns;
        let columns = named(&outputs, &create.columns)?;
        let view = View {
            query: Nested::new((*create.query).clone()),
            outputs: outputs.into_iter().map(|column| column.name).collect(),
        };
        TableDescriptor::view(&create.name, columns, &Details { view: Some(view), ..Details::default() })
    }

    /// A view as an item of FROM.
    pub fn view(&mut self, table: &TableDescriptor, view: &View, label: &str) -> Result<(Logical, Scope), Error> {
        if self.views >= VIEWS_MAX {
            return fail(TOO_COMPLEX, format!("view \"{}\" is in too many views", table.name));
        }
        self.views += 1;
        // It sees nothing of where it is named.
        let around =
            (core::mem::take(&mut self.params), core::mem::take(&mut self.ctes), core::mem::take(&mut self.outer));
        let query = self.query(&view.query, self.views * DEPTH_OF_VIEW);
        (self.params, self.ctes, self.outer) = around;
        self.views -= 1;
        let query = query?;
        let (ids, mut scope) = (query.plan.schema(), Scope::default());
        for (column, at) in table.columns.iter().zip(places(table, view, &query.columns)?) {
            let (table, name) = (label.to_owned(), column.name.clone());
            scope.columns.push(Visible::new(&table, name, ids[at]));
        }
        Ok((query.plan, scope))
    }
}

/// Names and types of the columns of a view or of a new table.
pub fn named(outputs: &[Column], names: &[String]) -> Result<Vec<(String, Type)>, Error> {
    if names.len() > outputs.len() {
        return fail(COLUMN_COUNT, format!("{} names for {} columns", names.len(), outputs.len()));
    }
    let names = names.iter().chain(outputs[names.len()..].iter().map(|column| &column.name));
    Ok(names.cloned().zip(outputs.iter().map(|column| column.data_type.unwrap_or(Type::Text))).collect())
}

/// Where the view's columns are among what its query gives now.
fn places(table: &TableDescriptor, view: &View, now: &[Column]) -> Result<Vec<usize>, Error> {
    let mut places = Vec::with_capacity(view.outputs.len());
    for name in &view.outputs {
        // Of several that have one name, the next.
        let found = (0..now.len()).find(|at| now[*at].name == *name && !places.contains(at));
        match found {
            Some(at) => places.push(at),
            None => {
                let message =
                    format!("column \"{name}\", which view \"{}\" shows, does not exist any more", table.name);
                return fail(UNDEFINED_COLUMN, message);
            }
        }
    }
    Ok(places)
}

/// The query that a name stands for, if it is a view.
pub fn query_of(table: &TableDescriptor) -> Option<Nested<Select>> {
    table.details().ok()?.view.map(|view| view.query)
}
