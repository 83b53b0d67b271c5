//! Errors that a caller can act on. Each has a stable code; codes are append-only.

use crate::id::Id;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody who may answer could be reached before the deadline.
    #[error("no peer that may answer was reached in time")]
    Unreachable,
    /// A node is not there.
    #[error("node {0} is unreachable")]
    NodeUnreachable(Id),
    /// A condition did not hold, or somebody else wrote in between.
    #[error("the key was changed by somebody else")]
    Conflict,
    /// An operation was refused for good.
    #[error("refused: {0}")]
    Refused(#[from] crate::store::Refusal),
    /// An argument is outside its bounds.
    #[error("{0}")]
    Invalid(String),
    /// This peer already does as much at once as it may.
    #[error("this peer does as much at once as it may ({limit} = {max})")]
    Overloaded {
        /// The setting that says how much.
        limit: &'static str,
        /// Its value.
        max: usize,
    },
    /// The node was closed.
    #[error("the node is closed")]
    Closed,
    /// A statement failed.
    #[error("{message}")]
    Sql {
        /// A stable code such as `unique_violation`.
        code: &'static str,
        /// For people.
        message: String,
        /// What else is known, at who asks.
        help: Option<Box<Help>>,
    },
}

/// What helps with an SQL error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Help {
    /// What may have been meant, for people.
    pub hint: Option<String>,
    /// The name that the error is about, as the statement says it.
    pub subject: Option<String>,
    /// Where in the statement's text: a character, from 1.
    pub position: Option<u32>,
}

impl Error {
    /// What helps with it.
    pub fn help(&self) -> Option<&Help> {
        match self {
            Error::Sql { help, .. } => help.as_deref(),
            _ => None,
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Unreachable | Error::NodeUnreachable(_) => "unreachable",
            Error::Conflict => "conflict",
            Error::Refused(crate::store::Refusal::TooLarge) => "too_large",
            Error::Refused(crate::store::Refusal::QuotaExceeded) => "quota_exceeded",
            Error::Refused(crate::store::Refusal::DiskFailed) => "disk_failed",
            Error::Refused(crate::store::Refusal::Overloaded) | Error::Overloaded { .. } => "overloaded",
            Error::Refused(crate::store::Refusal::Malformed) | Error::Invalid(_) => "invalid_argument",
            Error::Refused(crate::store::Refusal::Unsigned) => "unsigned",
            Error::Refused(crate::store::Refusal::Forged) => "forged",
            Error::Refused(crate::store::Refusal::Late) => "late",
            Error::Refused(crate::store::Refusal::Forbidden) => "insufficient_privilege",
            Error::Closed => "closed",
            Error::Sql { code, .. } => code,
        }
    }
}
