//! How the rows of two tables of a join meet: the planner chooses, or `SET pontoon.join_strategy` does.
//!
//! Four of the strategies are PIER's (Huebsch et al., VLDB 2003, section 4.1).

use super::fault::{INVALID_ARGUMENT, fail};
use crate::Error;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinStrategy {
    /// The cheapest by estimate.
    #[default]
    Auto,
    /// The rows of both sides come to the asker.
    Gather,
    /// The rows of both sides go to peers by the hash of what must be equal.
    SymmetricHash,
    /// For the rows of one side those of the other are got by key.
    FetchMatches,
    /// What must be equal goes first, and only rows with a match follow.
    SemiJoin,
    /// A Bloom filter of each side's values goes to the owners of the other, which send what it lets through.
    Bloom,
    /// The rows of the small side go to all owners of the other.
    Broadcast,
}

impl JoinStrategy {
    /// All of them.
    pub const ALL: [JoinStrategy; 7] = [
        JoinStrategy::Auto,
        JoinStrategy::Gather,
        JoinStrategy::SymmetricHash,
        JoinStrategy::FetchMatches,
        JoinStrategy::SemiJoin,
        JoinStrategy::Bloom,
        JoinStrategy::Broadcast,
    ];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            JoinStrategy::Auto => "auto",
            JoinStrategy::Gather => "gather",
            JoinStrategy::SymmetricHash => "symmetric-hash",
            JoinStrategy::FetchMatches => "fetch-matches",
            JoinStrategy::SemiJoin => "semi-join",
            JoinStrategy::Bloom => "bloom",
            JoinStrategy::Broadcast => "broadcast",
        }
    }

    /// The strategy of a name.
    pub fn by_name(name: &str) -> Result<JoinStrategy, Error> {
        match JoinStrategy::ALL.into_iter().find(|strategy| strategy.name().eq_ignore_ascii_case(name)) {
            Some(strategy) => Ok(strategy),
            None => {
                let names = JoinStrategy::ALL.map(|strategy| format!("'{}'", strategy.name())).join(", ");
                fail(INVALID_ARGUMENT, format!("there is no join strategy \"{name}\"; it is one of {names}"))
            }
        }
    }
}
