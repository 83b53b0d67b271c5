//! CREATE POLICY: what storing peers test of a row before they take it.

use super::{
    ast::{CreatePolicy, Expr},
    catalog::TableDescriptor,
    fault::{INVALID_DEFINITION, TOO_COMPLEX, UNSUPPORTED, fail},
    scalar::Scalar,
    scope::Binder,
    select::lost_column,
};
use crate::{
    Error,
    data::Type,
    trust::{Policy, Privilege, Privileges, Test},
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
        let policy = Policy { name: create.name.clone(), on: create.on, to: create.to.clone(), using, check };
        if policy.is_bounded() { Ok(policy) } else { fail(TOO_COMPLEX, "a policy that is too large") }
    }

    fn row_test(&mut self, table: &TableDescriptor, expr: &Expr, text: &str) -> Result<Test, Error> {
        if table.details()?.view.is_some() {
            return fail(UNSUPPORTED, "a policy of a view; its tables have rows");
        }
        let (_, scope, ids) = self.stored(table, &table.name)?;
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
        let details = table.details()?;
        let sealed = details.sealing.iter().flat_map(|it| &it.slots).flat_map(|it| [Some(it.cell), it.tag]).flatten();
        if sealed.into_iter().any(|slot| condition.columns().contains(&slot)) {
            return fail(UNSUPPORTED, "a policy by an encrypted column: what it compares with would be in clear");
        }
        let key: Vec<u32> = table.primary_key.iter().map(|at| details.slots[*at as usize]).collect();
        let mut slots: Vec<u32> = condition.columns().into_iter().chain(key.clone()).filter(|it| *it != USER).collect();
        slots.sort_unstable();
        slots.dedup();
        let place = |slot: &u32| slots.iter().position(|other| other == slot).unwrap_or(slots.len()) as u32;
        let condition = condition.replace(&mut |slot| Some(Scalar::Column(place(&slot)))).ok_or_else(lost_column)?;
        let missing = details.missing_row();
        let test = Test {
            text: text.to_owned(),
            missing: slots.iter().filter_map(|slot| missing.get(*slot as usize)).cloned().collect(),
            key: key.iter().map(place).collect(),
            condition: postcard::to_allocvec(&condition).unwrap_or_default(),
            columns: slots,
        };
        Ok(test)
    }
}
