//! What is stored: records, their versions, and the operations on one key.

use serde::{Deserialize, Serialize};

use crate::{id::Id, trust::Proof};

/// A hybrid logical clock reading and its author: totally ordered, unique to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Wall clock of the owner that ordered the write, microseconds, never behind a version seen before.
    pub wall_us: u64,
    /// Names the request, and tells writes within one microsecond apart. Of 64 bits: a request taken for another one
    /// would be acknowledged without an effect.
    pub counter: u64,
    /// The peer that asked for the write.
    pub author: Id,
}

/// One stored version of one key. `value` is `None` in a tombstone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the key belongs to.
    pub namespace: String,
    /// The key within the namespace.
    #[serde(with = "crate::wire::bytes")]
    pub key: Vec<u8>,
    /// Bits of the namespace's hash that lead the object's id.
    pub locality_bits: u8,
    /// The value; `None` says that the key was removed.
    #[serde(with = "crate::wire::bytes::option")]
    pub value: Option<Vec<u8>>,
    /// Which write this is.
    pub version: Version,
    /// The version that this write replaced.
    pub parent: Option<Version>,
    /// Wall clock at which a soft-state record lapses.
    pub expiry_us: Option<u64>,
    /// The writes before this one, oldest first, by wall time and counter of their versions: the last few, and those
    /// that somebody may still be asking for. See [`Record::wrote`] and [`Record::descends`].
    pub earlier: Vec<(u64, u64)>,
    /// Who wrote it, where that must be proven: see [`trust`](crate::trust).
    pub proof: Option<Box<Proof>>,
}

/// Writes of a key that its record remembers beside its own.
pub const EARLIER_MAX: usize = 16;
/// So many of them however old they are: they tell a conflict from a successor.
const EARLIER_MIN: usize = 4;
/// Nobody asks for a write again after so long, by clocks that differ as they may, nor is its signature good any more.
const EARLIER_US: u64 = 1_200_000_000;

impl Record {
    /// What a record that replaces this one at `wall_us` remembers of the writes before it.
    pub fn earlier(&self, wall_us: u64) -> Vec<(u64, u64)> {
        let mut earlier = self.earlier.clone();
        earlier.push((self.version.wall_us, self.version.counter));
        let old = |(at_us, _): &&(u64, u64)| at_us.saturating_add(EARLIER_US) < wall_us;
        let old = earlier.iter().filter(old).count().min(earlier.len().saturating_sub(EARLIER_MIN));
        let surplus = earlier.len().saturating_sub(EARLIER_MAX).max(old);
        earlier.drain(..surplus);
        earlier
    }

    /// Whether this is the record of `version` or came after it, as far as it remembers.
    pub fn descends(&self, version: &Version) -> bool {
        self.version == *version
            || self.parent == Some(*version)
            || self.earlier.contains(&(version.wall_us, version.counter))
    }

    /// Whether neither this record nor the other, of the same key, came after the other.
    pub fn conflicts(&self, other: &Record) -> bool {
        self.namespace != super::CONFLICTS && !self.descends(&other.version) && !other.descends(&self.version)
    }

    /// The version that the write named by `author` and `tag` was given, if it is this record's or an earlier one's.
    pub fn wrote(&self, author: Id, tag: u64) -> Option<Version> {
        if (self.version.author, self.version.counter) == (author, tag) {
            return Some(self.version);
        }
        let (wall_us, counter) = self.earlier.iter().find(|(_, counter)| *counter == tag).copied()?;
        Some(Version { wall_us, counter, author })
    }

    /// Where the record lives.
    pub fn id(&self) -> Id {
        Id::object(&self.namespace, &self.key, self.locality_bits)
    }

    /// Whether a reader sees it: not a tombstone and not lapsed.
    pub fn visible(&self, wall_us: u64) -> bool {
        self.value.is_some() && self.expiry_us.is_none_or(|expiry| wall_us < expiry)
    }

    /// What it takes in the store, about.
    pub fn bytes(&self) -> usize {
        self.namespace.len()
            + self.key.len()
            + self.value.as_ref().map_or(0, Vec::len)
            + 80
            + self.proof.as_ref().map_or(0, |proof| proof.bytes())
    }
}

/// An operation on one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOp {
    /// What the key belongs to.
    pub namespace: String,
    /// See [`Record::locality_bits`].
    pub locality_bits: u8,
    /// The key within the namespace.
    #[serde(with = "crate::wire::bytes")]
    pub key: Vec<u8>,
    /// What to do.
    pub action: Action,
    /// Who wants it, where that must be proven; the asker's node sets it.
    pub proof: Option<Box<Proof>>,
}

impl KeyOp {
    /// Where the key lives.
    pub fn id(&self) -> Id {
        Id::object(&self.namespace, &self.key, self.locality_bits)
    }
}

/// What to do with one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Read it.
    Get,
    /// Write it, if `expect` holds.
    Put {
        /// The new value.
        #[serde(with = "crate::wire::bytes")]
        value: Vec<u8>,
        /// What must be true at the owner.
        expect: Expect,
        /// Soft state: lapses so long after the write unless renewed.
        ttl_us: Option<u64>,
    },
    /// Remove it, if `expect` holds. Removing an absent key has no effect.
    Remove {
        /// What must be true at the owner.
        expect: Expect,
    },
    /// Extend its life to `ttl_us` from now.
    Renew {
        /// Microseconds from now.
        ttl_us: u64,
    },
    /// Read it at once, from whichever replica is met first: [`Outcome::Stale`], unless that is the owner.
    GetStale,
    /// A plain put. Where no owner answers in time the asker keeps it and forwards it later: [`Outcome::Hinted`]. What is
    /// forwarded is written only if the key was not written since.
    PutHinted {
        /// The new value.
        #[serde(with = "crate::wire::bytes")]
        value: Vec<u8>,
        /// Soft state: lapses so long after the write unless renewed.
        ttl_us: Option<u64>,
        /// When it was given, by the asker's wall clock; the asker's node sets it.
        at_us: u64,
    },
    /// Change a node of a prefix hash tree at its owner: [`Outcome::Stored`]; [`Outcome::Conflict`] with the node as it is,
    /// where the edit may not be; [`Outcome::Absent`] where it would change nothing.
    Edit {
        /// A [`pht::Edit`](crate::pht::Edit), encoded.
        #[serde(with = "crate::wire::bytes")]
        edit: Vec<u8>,
    },
    /// Read the whole record, with what proves who wrote it: [`Outcome::Proven`].
    Prove,
    /// Read it so that hostile peers cannot make the answer wrong: [`Outcome::Verified`], or [`Outcome::Unverified`].
    GetVerified,
}

impl Action {
    /// Whether it changes nothing.
    pub fn reads(&self) -> bool {
        matches!(self, Action::Get | Action::GetStale | Action::GetVerified | Action::Prove)
    }

    /// The value that it brings.
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Action::Put { value, .. } | Action::PutHinted { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// The condition of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Write whatever is there.
    Any,
    /// Only if the key is absent.
    Absent,
    /// Only if this is the current version.
    Version(Version),
}

/// How an operation on one key ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The current value.
    Found {
        /// The value.
        #[serde(with = "crate::wire::bytes")]
        value: Vec<u8>,
        /// Its version, for a conditional write.
        version: Version,
        /// When it lapses, wall clock.
        expiry_us: Option<u64>,
    },
    /// Known to be absent (a get or a renew).
    Absent,
    /// Written, removed or renewed, on a majority of the group's disks.
    Stored {
        /// The new version.
        version: Version,
    },
    /// The condition did not hold; the current state is told.
    Conflict {
        /// The current value and version; `None` if the key is absent.
        current: Option<(Vec<u8>, Version)>,
    },
    /// Nobody who may vouch for the key could be reached in time. A write may or may not have happened.
    Unreachable,
    /// Refused for good.
    Refused(Refusal),
    /// What a replica holds, which may be older than what was acknowledged, or not acknowledged yet.
    Stale {
        /// The value; `None`: it holds none.
        #[serde(with = "crate::wire::bytes::option")]
        value: Option<Vec<u8>>,
        /// Its version.
        version: Option<Version>,
        /// When it lapses, wall clock.
        expiry_us: Option<u64>,
    },
    /// Nobody who may vouch for the key could be reached in time. The write is on the asker's disk and will be forwarded.
    Hinted,
    /// The current record.
    Proven(Box<Record>),
    /// What the members of the group said, verified.
    Verified(Box<Verified>),
    /// What these said of it does not add up to an answer that could be verified.
    Unverified(Vec<Id>),
}

/// What a verified get found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The current record; `None`: the key is absent.
    pub record: Option<Record>,
    /// So many members said so.
    pub agreed: u32,
    /// Who said otherwise: hostile, or not in step yet.
    pub outliers: Vec<Id>,
}

/// Why an operation was refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The value or key exceeds the network's bound.
    #[error("the key or value is too large")]
    TooLarge,
    /// The store's quota is used up.
    #[error("the owner's store is full")]
    QuotaExceeded,
    /// The disk did not take it.
    #[error("the owner's disk failed")]
    DiskFailed,
    /// The owner is too busy.
    #[error("the owner has too many operations in flight")]
    Overloaded,
    /// It is no edit of what the key holds.
    #[error("the edit does not fit what the key holds")]
    Malformed,
    /// It must be signed by a user, and is not.
    #[error("only a known user may do that: this peer acts for nobody")]
    Unsigned,
    /// Its signature is not its author's, or not of this operation.
    #[error("the signature does not hold")]
    Forged,
    /// It was signed too long ago, or by a clock that is far ahead; or so much was written since that nobody can tell
    /// whether it was done already.
    #[error("it was signed too long ago")]
    Late,
    /// The user has no right to do that.
    #[error("permission denied")]
    Forbidden,
}
