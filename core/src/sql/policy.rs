//! CREATE POLICY: what storing peers test of a row before they take it.

use super::{
    ast::{CreatePolicy, Expr},
    catalog::TableDescriptor,
    fault::{BUDGET, INVALID_DEFINITION, UNSUPPORTED, fail},
    physical,
    scalar::Scalar,
    scope::Binder,
    select::lost_column,
};
use crate::{
    Error,
    data::Type,
    exec::plan::Op,
    trust::{Policy, Privilege, Privileges, TEST_BYTES_MAX, Test},
};

/// Stands for the user among the slots of a row.
const USER: u32 = u32::MAX;

impl Binder<'_> {
    /// The policy that a statement defines.
    pub fn define_policy(&mut self, create: &CreatePolicy, table: &TableDescriptor) -> Result<Policy, Error> {
        let of = |privilege| create.on == Privileges::these(&[privilege]);
        let wrong = match (&create.using, &create.check) {
            (Some(_), _) if of(Privilege::Insert) => "only WITH CHECK can be said of INSERT",
            (_, Some(_)) if of(Privilege::Delete) => "WITH CHECK cannot be said of DELETE",
            (None, None) => "a policy says USING (..), WITH CHECK (..) or both",
            _ => "",
        };
        if !wrong.is_empty() {
            return fail(INVALID_DEFINITION, wrong);
        }
        let mut test =
            |of: &Option<(Expr, String)>| of.as_ref().map(|(expr, text)| self.row_test(table, expr, text)).transpose();
        let (using, check) = (test(&create.using)?, test(&create.check)?);
        Ok(Policy { name: create.name.clone(), on: create.on, to: create.to.clone(), using, check })
    }

    fn row_test(&mut self, table: &TableDescriptor, expr: &Expr, text: &str) -> Result<Test, Error> {
        if table.details()?.view.is_some() {
            return fail(UNSUPPORTED, "a policy of a view; its tables have rows");
        }
        let (mut scan, scope, ids) = self.stored(table, &table.name)?;
        let user = self.column("current_user".to_owned(), Some(Type::Text));
        self.tested_user = Some(user);
        let bound = self.condition(expr, &scope);
        self.tested_user = None;
        let slot = |id| match ids.iter().position(|other| *other == id) {
            Some(slot) => Some(Scalar::Column(slot as u32)),
            None => (id == user).then_some(Scalar::Column(USER)),
        };
        let condition = bound?.replace(&mut { slot }).ok_or_else(lost_column)?;
        if !condition.is_portable() {
            return fail(UNSUPPORTED, format!("a policy by what storing peers do not compute: {text}"));
        }
        let slots: Vec<u32> = condition.columns().into_iter().filter(|slot| *slot != USER).collect();
        scan.output = slots.iter().filter_map(|slot| ids.get(*slot as usize)).copied().collect();
        scan.columns.retain(|(id, ..)| scan.output.contains(id));
        let Op::Source(source) = physical::source(scan)?.op else { return Err(lost_column()) };
        let place = |slot| match slots.iter().position(|other| *other == slot) {
            Some(place) => Some(Scalar::Column(place as u32)),
            None => Some(Scalar::Column(slots.len() as u32)),
        };
        let mut fragment = source.fragment;
        fragment.filter = condition.replace(&mut { place });
        let test = Test { text: text.to_owned(), plan: fragment.encode() };
        if test.plan.len() > TEST_BYTES_MAX || text.len() > TEST_BYTES_MAX {
            return fail(BUDGET, format!("a policy of more than {TEST_BYTES_MAX} bytes"));
        }
        Ok(test)
    }
}
