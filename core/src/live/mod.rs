//! Live queries between peers: fragments that stand at owners, and the stream that their asker makes of what comes.
//!
//! ```text
//!   asker   Watches ── task over the table's region, again and again ──▶ owners   Queries
//!              ▲ │        (installs, renews the lease, reads)                │      a record is committed, or lapses
//!              │ ▼                                                           ▼
//!         Watched: Read, Changed, Covered  ◀── Changed { session, seq, .. } ─┘
//! ```
//!
//! An owner keeps for each of its fragments and each standing query a *session*: a random name, and a number that counts
//! what it told. The task that installs the query answers with the rows of new sessions, and of all sessions how far they
//! have counted. So the asker knows without comparing rows whether it has everything: a session of which it read the
//! rows, and heard each number since. Any other one (a new owner, a new epoch, a restart, a message that was lost) it reads
//! again. Sequence numbers and re-reading in place of acknowledged deltas: an owner keeps nothing of what it told.
//!
//! Invariants: of one session everything is handed on in order and once; a region is handed on as read only by a task
//! that began after all tasks before it had ended, so what is read replaces what was known there. Nothing outlives its
//! lease: an asker that is gone leaves nothing behind.
//!
//! Who owns a region next is told what stands there, and begins sessions when it owns it; an owner that dies hands nothing
//! over, and its heir hears of the query when it is renewed.

mod asker;
mod owner;

pub use asker::{Start, WATCHES_MAX, Watches};
use serde::{Deserialize, Serialize};

pub use owner::Queries;

use crate::{
    config::SECOND_US,
    data::Row,
    exec::{Fault, ops::Batch},
    id::{Id, Region},
    trust::Proof,
};

/// How long a standing query stands without being renewed.
pub const LEASE_US: u64 = 10 * SECOND_US;
/// Between two renewals.
const RENEW_US: u64 = 3 * SECOND_US;

/// What a task installs at the owners of a region, or renews.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The asker's name for it.
    pub watch: u64,
    /// An encoded `FragmentPlan` whose output is rows.
    #[serde(with = "crate::wire::bytes")]
    pub plan: Vec<u8>,
    /// All of the region that it is about, whichever part the task is for.
    pub region: Region,
    /// For how long; owners may allow less.
    pub lease_us: u64,
    /// A peer that is linked to the asker.
    pub relay: Option<Id>,
    /// Whether rows of sessions that are known are wanted, too.
    pub read: bool,
    /// For whom, where that must be said.
    pub reader: Option<Box<Proof>>,
}

/// What an owner answers for a part of its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fed {
    /// The part.
    pub region: Region,
    /// The session.
    pub session: u64,
    /// How far it has counted.
    pub seq: u64,
    /// Whether the rows of the part are in the answer; they say all that was told so far.
    pub read: bool,
}

/// What peers say to one another beside tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Owner → asker.
    Changed {
        /// The asker's name of the query.
        watch: u64,
        /// The session.
        session: u64,
        /// From 1 on.
        seq: u64,
        /// What changed.
        delta: Delta,
    },
    /// Asker → owner: it has no such query any more.
    Unknown {
        /// From `Changed`.
        watch: u64,
    },
    /// Owner → the next owner: this stands here.
    HandOver {
        /// For whom.
        asker: Id,
        /// What.
        request: Request,
    },
    /// Owner → asker: a session began, of a region whose rows are to be read.
    Opened {
        /// The asker's name of the query.
        watch: u64,
        /// The session.
        session: u64,
        /// Where.
        region: Region,
    },
}

/// Rows by the keys of their records, of which each is named once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// What records give now. The last column is the record's key.
    pub rows: Vec<Row>,
    /// The keys of records that give nothing any more, whether they gave something before or not.
    pub gone: Vec<Vec<u8>>,
    /// The fragment failed over a record.
    pub fault: Option<Fault>,
}

/// What an asker is told of a watched fragment, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Watched {
    /// All rows of these disjoint regions as they are now, which replace what was there. The last column is the record's
    /// key. Rows of other regions do not count.
    Read {
        /// Where.
        regions: Vec<Region>,
        /// The rows.
        batch: Batch,
    },
    /// Some rows changed.
    Changed(Delta),
    /// How much of the region is in step with its owners, as far as is known: once everything was read that could be, and
    /// when that changes.
    Covered {
        /// The share: exactly 1.0, or below.
        coverage: f64,
        /// Whether a fragment that answered had given up a majority of an earlier epoch for lost.
        assumed_lost: bool,
    },
    /// It cannot go on; nothing follows.
    Failed(Fault),
}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// Records lapse, or leases do.
    Lapse,
    /// Look after a watch.
    Watch(u64),
}
