//! Certificates: who owns a region in which epoch, and what an epoch change decides.
//!
//! Regions only ever split, so of two certificates for one key in one history the one of the higher epoch is newer.

use serde::{Deserialize, Serialize};

use crate::id::{Id, Region};

/// Members of one group at most; bounds what a peer may be told to remember.
pub const MEMBERS_MAX: usize = 16;
/// Epochs that may follow one another without any of them having become active.
pub const SOURCES_MAX: usize = 12;

/// A fragment: a region in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The part of the key space.
    pub region: Region,
    /// Counts the decisions about it.
    pub epoch: u64,
}

/// Where the records of a new epoch come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The earlier fragment.
    pub name: Name,
    /// Who owned it.
    pub owner: Id,
    /// Who held it, owner included.
    pub members: Vec<Id>,
}

/// Who may vouch for a region in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// What is certified.
    pub name: Name,
    /// Orders writes and answers reads.
    pub owner: Id,
    /// Who holds copies, owner included.
    pub members: Vec<Id>,
    /// A majority of this or an earlier epoch was given up for lost.
    pub assumed_lost: bool,
    /// Holders of the sources that this very epoch gives up: it starts with what the others have.
    pub lost: Vec<Id>,
    /// Earlier epochs, newest first, back to the last one that may have been active: their records are merged.
    pub sources: Vec<Source>,
}

impl Certificate {
    /// The first certificate of a network.
    pub fn founding(owner: Id) -> Certificate {
        Certificate {
            name: Name { region: Region::ALL, epoch: 1 },
            owner,
            members: vec![owner],
            assumed_lost: false,
            lost: Vec::new(),
            sources: Vec::new(),
        }
    }

    /// How many members are a majority.
    pub fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Whether a peer holds a copy.
    pub fn has(&self, id: &Id) -> bool {
        self.members.contains(id)
    }

    /// As a source of a later epoch.
    pub fn source(&self) -> Source {
        Source { name: self.name, owner: self.owner, members: self.members.clone() }
    }

    /// Whether it keeps the bounds and makes sense in itself.
    pub fn well_formed(&self) -> bool {
        self.has(&self.owner)
            && self.members.len() <= MEMBERS_MAX
            && self.sources.len() <= SOURCES_MAX
            && self.lost.len() <= MEMBERS_MAX * (SOURCES_MAX + 1)
            && self.sources.iter().all(|source| {
                source.name.epoch < self.name.epoch
                    && source.members.len() <= MEMBERS_MAX
                    && source.name.region.covers(&self.name.region)
            })
    }
}

/// The value that one epoch change decides: what becomes of a fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// One certificate for new members or a new owner, two for a split; together they cover the fragment.
    pub into: Vec<Certificate>,
}

impl Change {
    /// Whether it is a lawful successor of the fragment `of`.
    pub fn follows(&self, of: Name) -> bool {
        let regions = self.into.iter().map(|certificate| &certificate.name.region);
        (1..=2).contains(&self.into.len())
            && self.into.iter().all(|certificate| {
                certificate.well_formed()
                    && certificate.name.epoch == of.epoch + 1
                    && of.region.covers(&certificate.name.region)
            })
            && of.region.subtract_all(regions).is_empty()
    }
}

/// The number of a proposal: round 0 belongs to the owner, later rounds to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// Grows with every attempt.
    pub round: u32,
    /// Tells proposers of one round apart.
    pub proposer: Id,
}
