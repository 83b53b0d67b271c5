//! What peers say to one another about an exchange.

use serde::{Deserialize, Serialize};

use crate::{
    exec::{
        Fault,
        exchange::{Name, Open, To},
    },
    overlay::Step,
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
        /// The bucket's life: of another one at the same place nothing is to be mixed in.
        life: u64,
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
    /// From the owners of records to the asker: what became of rows that came by.
    Followed {
        /// Of which exchange.
        name: Name,
        /// At which stop.
        stop: u8,
        /// Parcels that came, and the sum of their names.
        taken: (u32, u64),
        /// Parcels that went on; at the last stop, further pieces of what was found.
        next: (u32, u64),
        /// A majority was given up for lost where something was looked for.
        assumed_lost: bool,
        /// It failed.
        fault: Option<Fault>,
        /// An encoded [`Partial`](crate::exec::Partial): the first piece of what was found at the last stop, or a further one.
        #[serde(with = "crate::wire::bytes")]
        partial: Vec<u8>,
    },
    /// From the asker to a bucket: it may send some more pieces.
    More {
        /// Of which exchange.
        name: Name,
        /// Which bucket.
        bucket: u16,
        /// The life of the bucket whose pieces were read.
        life: u64,
    },
}

/// Something for a bucket, or for the owner of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cargo {
    /// Which.
    pub to: To,
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
        /// A bit for each side of which rows are missing: what has no match among the rest may have one.
        missing: u8,
    },
    /// Nobody waits for the bucket any more.
    Close,
}

impl Message {
    /// Bytes of rows in it, about.
    pub fn bytes(&self) -> usize {
        match self {
            Message::Ship { cargo, .. } => cargo.iter().map(Cargo::bytes).sum(),
            Message::Found { partial, .. } | Message::Followed { partial, .. } => partial.len(),
            Message::Waiting { .. } | Message::More { .. } => 0,
        }
    }
}

impl Cargo {
    /// Bytes on the wire, about.
    pub fn bytes(&self) -> usize {
        16 + if let Load::Rows { rows, .. } = &self.load { rows.len() + 16 } else { 0 }
    }
}
