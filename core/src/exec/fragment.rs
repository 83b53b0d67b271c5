//! What the owners of a namespace run over their records, and how two partial answers become one.
//!
//! Invariant: [`FragmentPlan::combine`] is associative and commutative up to the order of equal rows, so the answer
//! does not depend on how the records are spread over owners or on the shape of the tree that combines them
//! (Madden et al., *TAG*, OSDI 2002, section 3: partial state records).

use serde::{Deserialize, Serialize};

use crate::{Error, config::Config, data::SignedRow, store::Version};

/// What one peer spends on one query at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows and groups of a partial answer.
    pub rows_max: usize,
    /// Bytes of a partial answer, about.
    pub bytes_max: usize,
}

impl From<&Config> for Budget {
    fn from(config: &Config) -> Budget {
        Budget { rows_max: config.query_rows_max, bytes_max: config.query_bytes_max }
    }
}

/// What owners run over the records of one namespace in their regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FragmentPlan {
    version: u16,
    namespace: String,
    locality_bits: u8,
}

/// A partial answer.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Partial {
    /// Rows.
    pub rows: Vec<SignedRow>,
    /// Records looked at.
    pub scanned: u64,
}

/// An error on its way to the asker.
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
        Error::Sql { code: "internal_error", message: fault.message }
    }
}

impl FragmentPlan {
    /// A plan from bytes that came from anywhere: a plan of another version or with parts this peer does not know
    /// is a `feature_not_supported` error, and the peer's region is then not covered.
    pub fn decode(bytes: &[u8]) -> Result<FragmentPlan, Error> {
        postcard::from_bytes(bytes)
            .map_err(|error| Error::Sql { code: "feature_not_supported", message: error.to_string() })
    }

    /// The plan as bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// The namespace whose records it reads.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The locality bits of that namespace: with them, which part of the key space to ask.
    pub fn locality_bits(&self) -> u8 {
        self.locality_bits
    }

    /// Runs over the visible records of the namespace in one region: key, value and version of each.
    pub fn run<'a>(
        &self,
        records: impl Iterator<Item = (&'a [u8], &'a [u8], &'a Version)>,
        budget: &Budget,
    ) -> Result<Partial, Error> {
        let _ = (records, budget);
        Err(Error::Invalid("not yet".to_owned()))
    }

    /// Adds `other`'s answer to `into`'s.
    pub fn combine(&self, into: &mut Partial, other: Partial, budget: &Budget) -> Result<(), Error> {
        let _ = (into, other, budget);
        Err(Error::Invalid("not yet".to_owned()))
    }
}
