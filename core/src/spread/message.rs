//! What peers say to one another about a task.

use serde::{Deserialize, Serialize};

use crate::{
    exec::{Fault, Partial},
    id::{Coverage, Id, Region},
    live,
    store::{KeyOp, Outcome},
    trust::Proof,
};

/// Between a peer that hands a part of a task on and the one that takes it. The receiver of a `Task` answers to its
/// sender; `branch` is the sender's name for the part, so that what comes late for a part given up is not counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Do this over this region.
    Task {
        /// The sender's name for this part.
        branch: u64,
        /// Who asked first.
        asker: Id,
        /// The part of the key space to cover.
        region: Region,
        /// How often it was handed on.
        depth: u8,
        /// How long the asker will still wait, microseconds.
        patience_us: u64,
        /// What to do.
        work: Work,
    },
    /// Still at it.
    Working {
        /// The part.
        branch: u64,
    },
    /// A piece of the encoded [`Report`].
    Piece {
        /// The part.
        branch: u64,
        /// From 0 on.
        index: u32,
        /// Nothing follows.
        last: bool,
        /// Some bytes of it.
        #[serde(with = "crate::wire::bytes")]
        bytes: Vec<u8>,
    },
    /// From a parent that heard nothing of this part for some time: who works on it says so, and who does not (any more)
    /// answers that all of it is missing, behind whatever it has sent before.
    Ask {
        /// The part.
        branch: u64,
        /// Its region.
        region: Region,
    },
    /// From a parent: nobody waits for this part any more.
    Cancel {
        /// The part.
        branch: u64,
    },
    /// From a parent that has read what came: the next pieces may.
    More {
        /// The part.
        branch: u64,
    },
}

/// What is done over a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Give this message of the application to every peer.
    Announce {
        /// The asker's name for it.
        number: u64,
        /// The message.
        #[serde(with = "crate::wire::bytes")]
        payload: Vec<u8>,
    },
    /// Run this encoded `FragmentPlan` over the records.
    Query {
        /// The plan.
        plan: Vec<u8>,
        /// For whom, where that must be said.
        reader: Option<Box<Proof>>,
    },
    /// Operations on keys, each with its index in the request.
    Keys {
        /// The asker's name for the request; retries repeat it.
        request: u64,
        /// Index and operation.
        ops: Vec<(u32, KeyOp)>,
    },
    /// Let a fragment stand, or go on standing.
    Watch(live::Request),
    /// It is not to stand any longer.
    Unwatch {
        /// The asker's name for it.
        watch: u64,
    },
}

/// The answer for a part, merged from all that took part in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How much of the part was covered. What was is disjoint by construction; `missing` and `unknown` are the rest.
    pub covered: Coverage,
    /// What nobody covered, and may be asked for again.
    pub missing: Vec<Region>,
    /// What is not covered because its owner does not know the plan: asking again is in vain.
    pub unknown: Vec<Region>,
    /// A fragment that answered had given up a majority of an earlier epoch for lost.
    pub assumed_lost: bool,
    /// Peers that answered.
    pub peers: u64,
    /// Messages spent.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Rows of a query.
    pub partial: Partial,
    /// Outcomes of operations by index.
    pub outcomes: Vec<(u32, Outcome)>,
    /// A query failed at some peer.
    pub fault: Option<Fault>,
    /// Sessions of a standing query.
    pub fed: Vec<live::Fed>,
}
