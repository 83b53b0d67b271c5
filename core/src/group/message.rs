//! What members of groups say to one another.

use serde::{Deserialize, Serialize};

use super::certificate::{Ballot, Certificate, Change, Name};
use crate::{
    id::{Id, Region},
    store::{Digest, Record},
};

/// The key after which the next page starts: namespace and key.
pub type Cursor = (String, Vec<u8>);

/// Records of a key range of one fragment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The range starts after this key; `None`: at the start.
    pub after: Option<Cursor>,
    /// The range ends with this key; `None`: at the end.
    pub until: Option<Cursor>,
    /// Every record of the fragment within the range.
    pub records: Vec<Record>,
}

/// See the variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Owner → member: renew my leases. Answered by `Granted`.
    Renew {
        /// Owner's monotone clock, echoed.
        sent_us: u64,
        /// Fragments by their tags, with the digest of what they hold: now and then, and when it changed.
        leases: Vec<(u64, Option<u64>)>,
    },
    /// Member → owner.
    Granted {
        /// From `Renew`.
        sent_us: u64,
        /// Tags of those renewed.
        granted: Vec<u64>,
        /// Tags of those held by this member in another state than the owner's: to be synchronised (unknown ones included).
        lacking: Vec<u64>,
    },
    /// Proposer → members: promise not to take part in lower ballots. Paxos phase 1a.
    Prepare {
        /// The current certificate.
        of: Certificate,
        /// The attempt.
        ballot: Ballot,
        /// Members given up for lost; the others must all consent. Empty: a majority decides.
        lost: Vec<Id>,
    },
    /// Member → proposer. Paxos phase 1b.
    Promise {
        /// The fragment.
        of: Name,
        /// The attempt.
        ballot: Ballot,
        /// What was accepted before.
        accepted: Option<(Ballot, Change)>,
    },
    /// Proposer → members: accept this. Paxos phase 2a.
    Accept {
        /// The current certificate.
        of: Certificate,
        /// The attempt.
        ballot: Ballot,
        /// As in `Prepare`.
        lost: Vec<Id>,
        /// The value.
        change: Change,
    },
    /// Member → proposer. Paxos phase 2b.
    Accepted {
        /// The fragment.
        of: Name,
        /// The attempt.
        ballot: Ballot,
    },
    /// Member → proposer: not now.
    Refused {
        /// The fragment.
        of: Name,
        /// The attempt.
        ballot: Ballot,
        /// The higher ballot that was promised, if that is the reason; else a lease still holds.
        promised: Option<Ballot>,
    },
    /// Anybody → old and new members: this is decided.
    Decided {
        /// The fragment that it replaces.
        of: Name,
        /// Its successors.
        change: Change,
    },
    /// The fragment that you speak of has successors; here are some that are decided.
    Newer {
        /// The successors known.
        certificates: Vec<Certificate>,
    },
    /// New owner → holders of a source: your records of my region. Proves that the source is frozen.
    Fetch {
        /// The new certificate.
        certificate: Certificate,
        /// Which of its sources.
        source: Name,
        /// Start after this key.
        after: Option<Cursor>,
        /// What the asker has already of the region.
        digest: Digest,
    },
    /// The answer of `Fetch`.
    Fetched {
        /// The new fragment.
        to: Name,
        /// The source.
        source: Name,
        /// Whether this peer was its active owner until it froze: nothing acknowledged is missing here.
        complete: bool,
        /// Whether this peer was in step with its owner once.
        synced: bool,
        /// The page. Empty to the end when the digests were equal.
        page: Page,
    },
    /// Owner → member: do you hold what I hold? Renews the lease too. Answered by `Synced` or `Lacking`.
    Sync {
        /// The certificate.
        certificate: Certificate,
        /// What it holds.
        digest: Digest,
        /// Owner's monotone clock, echoed.
        sent_us: u64,
    },
    /// Member → owner: it is all on my disk. Grants the lease.
    Synced {
        /// The fragment.
        of: Name,
        /// From `Sync`.
        sent_us: u64,
    },
    /// Member → owner: push it. `Pushed` answers each page.
    Lacking {
        /// The fragment.
        of: Name,
    },
    /// Owner → member: this is the truth about a key range.
    Push {
        /// The fragment.
        of: Name,
        /// Records of the range that are not in the page and not newer than this are no more.
        as_of_us: u64,
        /// The range.
        page: Page,
    },
    /// Member → owner: taken up to here; on my disk when it was the last.
    Pushed {
        /// The fragment.
        of: Name,
        /// End of the page's range.
        until: Option<Cursor>,
    },
    /// New owner → holders of earlier epochs: I answer now; what you keep of my region for earlier epochs may go.
    Active {
        /// The certificate.
        certificate: Certificate,
    },
    /// Routed to a region: which certificates do you know for it? Answered by `Newer`.
    Who {
        /// The region.
        region: Region,
    },
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// Holder of a fragment whose history is given up → owner of the preferred one: hold these too, where they are
    /// newer. Sent again until `Donated` answers.
    Donate {
        /// The receiver's fragment.
        to: Name,
        /// The sender's.
        of: Name,
        /// Of the range, what the sender has.
        page: Page,
    },
    /// The page's records, or newer ones, are acknowledged here.
    Donated {
        /// The receiver's fragment.
        to: Name,
        /// The donor's.
        of: Name,
        /// End of the page's range.
        until: Option<Cursor>,
    },
    /// I am going: take me out of your groups.
    Leaving,
    /// Member of a group without a majority → the nearest peer outside: keep this until the group is itself again.
    /// `BackedUp` answers each page.
    Backup {
        /// The group's certificate.
        certificate: Box<Certificate>,
        /// Of the range, what the sender has.
        page: Page,
    },
    /// It is on my disk up to here.
    BackedUp {
        /// The fragment.
        of: Name,
        /// End of the page's range.
        until: Option<Cursor>,
    },
    /// Archive → owner of a fragment, or routed to a region of which it holds nothing: have me in your groups.
    Enlist,
}

impl Message {
    /// The records that it carries.
    pub fn page_mut(&mut self) -> Option<&mut Page> {
        match self {
            Message::Fetched { page, .. }
            | Message::Push { page, .. }
            | Message::Donate { page, .. }
            | Message::Backup { page, .. } => Some(page),
            _ => None,
        }
    }
}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// The periodic look at every fragment.
    Tick,
}
