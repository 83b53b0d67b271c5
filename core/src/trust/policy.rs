//! Row policies: beside what was granted, of which rows. Whoever stores a row tests what it is and what it is to be.
//!
//! As in PostgreSQL (*Row Security Policies*): where a table has policies, what none of them allows is forbidden, and its owner is
//! bound by none. They are about writes; who may read a row is the table's matter.

use serde::{Deserialize, Serialize};

use super::{Grantee, Privileges, User};
use crate::{
    data::Value,
    exec::{
        Budget,
        fragment::{Decode, FragmentPlan, Output},
    },
    id::Id,
    sql::scalar::Scalar,
    store::{Record, Version},
};

/// Policies that a realm may have.
pub const POLICIES_MAX: usize = 32;
/// What a test takes, encoded, at most.
pub const TEST_BYTES_MAX: usize = 4_096;
/// What a row may give while it is tested.
const ROW: Budget = Budget { rows_max: 1, bytes_max: 4 << 20 };

/// Which rows may be written, by whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which kinds of writes it is about.
    pub on: Privileges,
    /// Whose.
    pub to: Vec<Grantee>,
    /// Rows that may be changed or removed.
    pub using: Option<Test>,
    /// Rows that may come of it; `None`: the same.
    pub check: Option<Test>,
}

/// A test of a row, and of who writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// As it was written, for people.
    pub text: String,
    /// An encoded [`FragmentPlan`] whose filter takes the user for one more column.
    #[serde(with = "crate::wire::bytes")]
    pub plan: Vec<u8>,
}

/// A row: the key of its record, and its value.
pub type StoredRow<'a> = (&'a [u8], &'a [u8]);

impl Test {
    /// Whether a row passes for a user. What cannot be told does not.
    fn passes(&self, user: &User, (key, value): StoredRow<'_>) -> bool {
        let Ok(plan) = FragmentPlan::decode(&self.plan) else { return false };
        let at = plan.columns.len() as u32;
        let user = Scalar::Literal(Value::Text(user.to_string()));
        let of = &mut |column| Some(if column == at { user.clone() } else { Scalar::Column(column) });
        let Some(filter) = plan.filter.as_ref().and_then(|filter| filter.replace(of)) else { return false };
        // Of what its author says nothing but the columns and the filter counts.
        let (decode, identity, project, output) = (Decode::Row, false, None, Output::Rows);
        let plan = FragmentPlan { decode, identity, filter: Some(filter), project, output, ..plan };
        let version = Version { wall_us: 0, counter: 0, author: Id::ZERO };
        plan.run(core::iter::once((key, value, &version)), &ROW).is_ok_and(|partial| partial.batch.len() == 1)
    }
}

impl Policy {
    /// Whether it is no larger than a policy may be.
    pub fn is_bounded(&self) -> bool {
        let tests = || self.using.iter().chain(&self.check);
        tests().all(|test| test.plan.len() <= TEST_BYTES_MAX && test.text.len() <= TEST_BYTES_MAX)
    }
}

/// What becomes of a row, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct RowChange<'a> {
    /// What it is.
    pub old: Option<StoredRow<'a>>,
    /// What it is to be.
    pub new: Option<StoredRow<'a>>,
}

impl<'a> RowChange<'a> {
    /// The row of a record, if it has one.
    pub fn row(record: &'a Record) -> Option<StoredRow<'a>> {
        Some((&record.key, record.value.as_deref()?))
    }

    /// Whether one of some policies allows it to a user, who writes in this way; where there are none they all do.
    pub fn allowed(&self, policies: &[Policy], user: &User, on: Privileges) -> bool {
        let concerned = || policies.iter().filter(|it| it.on.any(on) && it.to.iter().any(|to| to.includes(user)));
        let passes = |test: Option<&Test>, row| test.is_some_and(|test| test.passes(user, row));
        let old = self.old.is_none_or(|row| concerned().any(|it| passes(it.using.as_ref(), row)));
        let new = self.new.is_none_or(|row| concerned().any(|it| passes(it.check.as_ref().or(it.using.as_ref()), row)));
        policies.is_empty() || old && new
    }
}
