//! Row policies: beside what was granted, of which rows. Whoever stores a row tests what it is and what it is to be.
//!
//! As in PostgreSQL (*Row Security Policies*): where a table has policies, what none of them allows is forbidden, and its owner is
//! bound by none. They are about writes; who may read a row is the table's matter.

use serde::{Deserialize, Serialize};

use super::{Grantee, Privileges, User};
use crate::{
    data::{Row, Value, codec},
    exec::eval,
    sql::scalar::Scalar,
    store::Record,
};

/// Policies that a realm may have.
pub const POLICIES_MAX: usize = 16;
/// What a test takes at most.
const TEST_BYTES_MAX: usize = 4_096;
/// Bytes of a name.
const NAME_MAX: usize = 128;
/// To how many users one is.
const TO_MAX: usize = 64;

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
    /// The stored columns that are read, ascending.
    pub columns: Vec<u32>,
    /// What a row that ends before one of them has there.
    pub missing: Vec<Value>,
    /// Which of them its record's key is made of, in that order; none: it is made of none.
    pub key: Vec<u32>,
    /// An encoded [`Scalar`] over the columns, and the user as one more.
    #[serde(with = "crate::wire::bytes")]
    pub condition: Vec<u8>,
}

/// A row: the key of its record, and its value.
pub type StoredRow<'a> = (&'a [u8], &'a [u8]);

impl Test {
    /// Whether a row passes for a user. What cannot be told does not, nor does a row that lies under another one's key.
    fn passes(&self, user: &User, (key, value): StoredRow<'_>) -> bool {
        let Ok(condition) = postcard::from_bytes::<Scalar>(&self.condition) else { return false };
        let Ok((mut row, _)) = codec::decode_columns(value, &self.columns, &self.missing) else { return false };
        let named: Option<Row> = self.key.iter().map(|at| row.get(*at as usize).cloned()).collect();
        if !self.key.is_empty() && named.is_none_or(|named| codec::encode_key(&named) != key) {
            return false;
        }
        row.push(Value::Text(user.to_string()));
        matches!(eval::truth(&condition, &row), Ok(Some(true)))
    }

    /// What it takes in memory, about.
    fn bytes(&self) -> usize {
        let missing: usize = self.missing.iter().map(Value::bytes).sum();
        128 + self.text.len() + self.condition.len() + missing + 4 * (self.columns.len() + self.key.len())
    }
}

impl Policy {
    /// Whether it is no larger than a policy may be.
    pub fn is_bounded(&self) -> bool {
        let tests = self.using.iter().chain(&self.check);
        let names = self.name.len() <= NAME_MAX && self.to.len() <= TO_MAX;
        names && tests.map(Test::bytes).all(|bytes| bytes <= TEST_BYTES_MAX)
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let tests: usize = self.using.iter().chain(&self.check).map(Test::bytes).sum();
        tests + self.name.len() + self.to.len() * size_of::<Grantee>()
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
