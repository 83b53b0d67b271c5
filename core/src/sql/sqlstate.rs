//! PostgreSQL's five characters for each stable code of an error: what drivers and tools of other databases know.

use super::fault::*;

/// The `SQLSTATE` of a code; `XX000` for one that has none.
pub fn sqlstate(code: &str) -> &'static str {
    match code {
        SYNTAX => "42601",
        UNSUPPORTED => "0A000",
        UNDEFINED_TABLE => "42P01",
        UNDEFINED_COLUMN => "42703",
        UNDEFINED_FUNCTION => "42883",
        UNDEFINED_PARAMETER => "42P02",
        UNDEFINED_OBJECT => "42704",
        AMBIGUOUS_COLUMN => "42702",
        DUPLICATE_ALIAS => "42712",
        DUPLICATE_TABLE => "42P07",
        DUPLICATE_COLUMN => "42701",
        DUPLICATE_OBJECT => "42710",
        DEPENDENT_OBJECTS => "2BP01",
        INVALID_DEFINITION => "42P16",
        WRONG_OBJECT => "42809",
        INSUFFICIENT_PRIVILEGE => "42501",
        // Nobody is known to ask, or not to be who it says.
        "unsigned" | "forged" => "28000",
        UNIQUE_VIOLATION => "23505",
        NOT_NULL_VIOLATION => "23502",
        CHECK_VIOLATION => "23514",
        FOREIGN_KEY_VIOLATION => "23503",
        INVALID_FOREIGN_KEY => "42830",
        CARDINALITY => "21000",
        DATATYPE_MISMATCH => "42804",
        DIVISION_BY_ZERO => "22012",
        OUT_OF_RANGE => "22003",
        INVALID_TEXT => "22P02",
        INVALID_DATETIME => "22007",
        DATETIME_OVERFLOW => "22008",
        INVALID_ARGUMENT | "invalid_argument" => "22023",
        INVALID_POWER => "2201F",
        INVALID_LOGARITHM => "2201E",
        INVALID_REGEX => "2201B",
        GROUPING => "42803",
        INVALID_REFERENCE => "42P10",
        COLUMN_COUNT => "42601",
        CANCELED => "57014",
        TOO_COMPLEX => "54001",
        BUDGET | "too_large" => "54000",
        SERIALIZATION | STALE_PLAN | "conflict" | "late" => "40001",
        "windowing_error" => "42P20",
        "invalid_recursion" => "42P19",
        CORRUPTED | TAMPERED => "XX001",
        // The swarm is the connection: a part of it could not be reached.
        INCOMPLETE | "unreachable" => "08006",
        "closed" => "08003",
        "overloaded" => "53000",
        "quota_exceeded" => "53100",
        "disk_failed" => "58030",
        _ => "XX000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_state_of_five_characters() {
        for code in ALL {
            let state = sqlstate(code);
            assert_eq!(state.len(), 5, "{code}");
            assert_eq!(state == "XX000", *code == INTERNAL, "{code}");
        }
    }
}
