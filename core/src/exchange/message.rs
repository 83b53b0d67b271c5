//! What peers say to one another about an exchange.

use serde::{Deserialize, Serialize};

use crate::{
    exec::{Fault, exchange::Name},
    overlay::Step,
    wire::Contact,
};

/// Between peers that take part in an exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Cargo on its way to buckets; who receives it keeps what is for buckets here and hands on the rest.
    Ship {
        /// Of which exchange.
        name: Name,
        /// What buckets that are opened are told.
        open: Option<Box<Open>>,
        /// What is on board.
        cargo: Vec<Cargo>,
    },
    /// From a bucket to the asker: some of what it found.
    Found {
        /// Of which exchange.
        name: Name,
        /// Which bucket.
        bucket: u16,
        /// From 0 on.
        index: u32,
        /// Nothing follows: all that was sent has been there.
        last: bool,
        /// It failed.
        fault: Option<Fault>,
        /// An encoded [`Partial`](crate::exec::Partial).
        #[serde(with = "crate::wire::bytes")]
        partial: Vec<u8>,
    },
    /// From a bucket to the asker: not all of what was sent has been there yet.
    Waiting {
        /// Of which exchange.
        name: Name,
        /// Which bucket.
        bucket: u16,
        /// Something came lately. If not, it will not come any more.
        flowing: bool,
    },
}

/// What a bucket is told first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Where to answer.
    pub asker: Contact,
    /// How long the asker waits, microseconds.
    pub patience_us: u64,
    /// An encoded [`BucketPlan`](crate::exec::exchange::BucketPlan).
    #[serde(with = "crate::wire::bytes")]
    pub plan: Vec<u8>,
}

/// Something for a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cargo {
    /// Which bucket.
    pub bucket: u16,
    /// How the receiver may hand it on.
    pub step: Step,
    /// What it is.
    pub load: Load,
}

/// See [`Cargo`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Load {
    /// The bucket is opened.
    Open,
    /// A parcel of rows.
    Rows {
        /// Of which side.
        side: u8,
        /// See [`Parcel::run`](crate::exec::exchange::Parcel::run).
        run: u64,
        /// Its number in the run.
        index: u32,
        /// Encoded rows.
        #[serde(with = "crate::wire::bytes")]
        rows: Vec<u8>,
    },
    /// So many parcels were sent, of both sides, and their names come to this.
    Expect {
        /// How many.
        count: u32,
        /// The sum of [`parcel_name`](crate::exec::exchange::parcel_name).
        sum: u64,
    },
}

impl Cargo {
    /// Bytes on the wire, about.
    pub fn bytes(&self) -> usize {
        16 + if let Load::Rows { rows, .. } = &self.load { rows.len() + 16 } else { 0 }
    }
}
