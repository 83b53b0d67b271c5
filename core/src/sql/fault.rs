//! The stable codes of SQL errors, and errors on their way between peers.

use serde::{Deserialize, Serialize};

use crate::{Error, error::Help};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        $($(#[$doc])* pub const $name: &str = $text;)+
        pub(super) const ALL: &[&str] = &[$($text),+];
    };
}

codes! {
    /// The text is not a statement.
    SYNTAX = "syntax_error",
    /// A statement or part of one that is not supported.
    UNSUPPORTED = "feature_not_supported",
    /// No such table.
    UNDEFINED_TABLE = "undefined_table",
    /// No such column.
    UNDEFINED_COLUMN = "undefined_column",
    /// No such function.
    UNDEFINED_FUNCTION = "undefined_function",
    /// No such parameter was given.
    UNDEFINED_PARAMETER = "undefined_parameter",
    /// A column name that several tables have.
    AMBIGUOUS_COLUMN = "ambiguous_column",
    /// A name that two items of FROM have.
    DUPLICATE_ALIAS = "duplicate_alias",
    /// Another table of that name exists.
    DUPLICATE_TABLE = "duplicate_table",
    /// A column named twice.
    DUPLICATE_COLUMN = "duplicate_column",
    /// A table definition that makes no sense.
    INVALID_DEFINITION = "invalid_table_definition",
    /// The user has no right to do that.
    INSUFFICIENT_PRIVILEGE = "insufficient_privilege",
    /// A primary key that is there already.
    UNIQUE_VIOLATION = "unique_violation",
    /// NULL where the column refuses it.
    NOT_NULL_VIOLATION = "not_null_violation",
    /// Types that do not go together.
    DATATYPE_MISMATCH = "datatype_mismatch",
    /// Division by zero.
    DIVISION_BY_ZERO = "division_by_zero",
    /// A number that the type cannot hold.
    OUT_OF_RANGE = "numeric_value_out_of_range",
    /// Text that does not read as the type.
    INVALID_TEXT = "invalid_text_representation",
    /// Text that does not read as a date, a time or an interval.
    INVALID_DATETIME = "invalid_datetime_format",
    /// A date, a time or an interval that does not exist or does not fit.
    DATETIME_OVERFLOW = "datetime_field_overflow",
    /// A root or a power that is no real number.
    INVALID_POWER = "invalid_argument_for_power_function",
    /// A logarithm of what has none.
    INVALID_LOGARITHM = "invalid_argument_for_logarithm",
    /// A regular expression that is none.
    INVALID_REGEX = "invalid_regular_expression",
    /// An argument outside of what the function takes.
    INVALID_ARGUMENT = "invalid_parameter_value",
    /// An aggregate where none may be, or a column that is not grouped.
    GROUPING = "grouping_error",
    /// An ORDER BY or GROUP BY ordinal or expression that the select list does not have.
    INVALID_REFERENCE = "invalid_column_reference",
    /// More columns or fewer than there should be.
    COLUMN_COUNT = "column_count_mismatch",
    /// A statement that is too long, too deep or too wide.
    TOO_COMPLEX = "statement_too_complex",
    /// More rows or bytes than a peer gives to one query.
    BUDGET = "program_limit_exceeded",
    /// UPDATE or DELETE could not see a part of the table, so nothing was written.
    INCOMPLETE = "incomplete_coverage",
    /// A sealed value is not what its author sealed.
    TAMPERED = "tampered",
    /// A stored value does not read as a row of its table.
    CORRUPTED = "data_corrupted",
    /// Somebody else kept changing the rows.
    SERIALIZATION = "serialization_failure",
    /// A table is another one than when the statement was planned: it has to be planned again.
    STALE_PLAN = "stale_plan",
    /// More than one row where there may be one, or one that ON CONFLICT DO UPDATE would change twice.
    CARDINALITY = "cardinality_violation",
    /// A window where none may be, or one that makes no sense.
    WINDOWING = "windowing_error",
    /// A recursive query that is not a start and a step.
    INVALID_RECURSION = "invalid_recursion",
    /// The engine contradicts itself.
    INTERNAL = "internal_error",
    /// A row of which a CHECK constraint is false.
    CHECK_VIOLATION = "check_violation",
    /// A table where a view should be, or the other way round.
    WRONG_OBJECT = "wrong_object_type",
    /// Something of that name, neither a table nor a column, does not exist.
    UNDEFINED_OBJECT = "undefined_object",
    /// Something else depends on it.
    DEPENDENT_OBJECTS = "dependent_objects",
    /// Something of that name, neither a table nor a column, exists.
    DUPLICATE_OBJECT = "duplicate_object",
    /// A row that refers to one that is not there, or one that others refer to.
    FOREIGN_KEY_VIOLATION = "foreign_key_violation",
    /// A reference to columns that are no key.
    INVALID_FOREIGN_KEY = "invalid_foreign_key",
    /// Whoever asked does not wait any more.
    CANCELED = "query_canceled",
}

/// An SQL error.
pub fn error(code: &'static str, message: impl Into<String>) -> Error {
    Error::Sql { code, message: message.into(), help: None }
}

/// An SQL error as a result.
pub fn fail<T>(code: &'static str, message: impl Into<String>) -> Result<T, Error> {
    Err(error(code, message))
}

/// An SQL error as a result, with what to do about it.
pub fn advise<T>(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Result<T, Error> {
    let help = Help { hint: Some(hint.into()), ..Help::default() };
    Err(Error::Sql { code, message: message.into(), help: Some(Box::new(help)) })
}

/// An error of a fragment on its way to the asker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    code: String,
    message: String,
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Fault {
        Fault { code: error.code().to_owned(), message: error.to_string() }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        let below = ["unsigned", "forged", "late", "unreachable", "overloaded"];
        let code = ALL.iter().chain(&below).find(|code| **code == fault.code);
        error(code.unwrap_or(&INTERNAL), fault.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_way() {
        let zero = error(DIVISION_BY_ZERO, "division by zero");
        assert_eq!(Error::from(Fault::from(&zero)), zero);
        let refused = Error::Refused(crate::store::Refusal::Unsigned);
        assert_eq!(Error::from(Fault::from(&refused)).code(), refused.code());
        let unknown = Fault { code: "from_the_future".to_owned(), message: "?".to_owned() };
        assert_eq!(Error::from(unknown).code(), INTERNAL);
    }
}
