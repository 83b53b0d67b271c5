//! What peers say to one another about keys.

use serde::{Deserialize, Serialize};

use super::verified::answer::Along;
use crate::{
    group::{Certificate, Name},
    id::Id,
    store::{KeyOp, Outcome, Record},
};

/// See the variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Asker → owner (routed to the key): do this.
    Request {
        /// Names the request for ever: random, the same in every retry.
        request: u64,
        /// What to do.
        op: KeyOp,
        /// The epoch in which it is to be done, as far as the asker knows; 0 if it does not.
        epoch: u64,
    },
    /// Owner → asker.
    Reply {
        /// From `Request`.
        request: u64,
        /// What came of it.
        outcome: Outcome,
        /// The epoch in which it was decided; 0 if that is over.
        epoch: u64,
    },
    /// Not the owner, or not yet: try again, with this peer if one is named.
    Elsewhere {
        /// From `Request`.
        request: u64,
        /// Who may be the owner.
        hint: Option<Id>,
        /// The sender owns the key, since lately: it is to be asked again in this epoch.
        certificate: Option<Box<Certificate>>,
    },
    /// Owner → member: hold these. Answered by `Replicated` once on disk.
    Replicate {
        /// The fragment.
        of: Name,
        /// Names the batch.
        serial: u64,
        /// Newest versions.
        records: Vec<Record>,
    },
    /// Member → owner.
    Replicated {
        /// The fragment.
        of: Name,
        /// From `Replicate`.
        serial: u64,
    },
    /// Member → owner: this fragment is frozen, or superseded as told.
    Frozen {
        /// The fragment.
        of: Name,
        /// Known successors.
        newer: Vec<Certificate>,
    },
    /// Asker → neighbour: read this for me, my own request is late. Answered by `Reply` if it comes to anything.
    ReadFor {
        /// The asker's name of the request.
        request: u64,
        /// What to read.
        op: KeyOp,
    },
    /// A word of a verified get, on a way that its asker chose.
    Along(Box<Along>),
}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// A request of this peer is due for another attempt.
    Retry(u64),
    /// A read of this peer is late: another way is tried beside.
    Hedge(u64),
    /// Nobody holds rights any more that are older than what was written with this ticket.
    Lapsed(u64),
    /// A verified get of this peer goes on.
    Verify(u64),
}
