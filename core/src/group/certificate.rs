//! Certificates: who owns a region in which epoch, and what an epoch change decides.
//!
//! Regions only ever split, so of two certificates for one key in one history the one of the higher epoch is newer.
//! Giving members up for lost begins a new history, for those given up may do the same, or go on with a majority:
//! each certificate names the histories it comes from, so that two of them are known for what they are to one another,
//! and of two that forked everybody prefers the same one: that which went the common way for longer. Histories that fork
//! leave different gaps in the count of epochs, so that a name stands for one certificate.

use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::id::{Id, Region};

/// Members of one group at most; bounds what a peer may be told to remember.
pub const MEMBERS_MAX: usize = 32;
/// Epochs that may follow one another without any of them having become active.
pub const SOURCES_MAX: usize = 12;

/// A history that forks leaves out less than so many epochs.
pub const GAP_MAX: u64 = 1 << 20;
/// No fragment lives through so many epochs.
const EPOCHS_MAX: u64 = u64::MAX / 2;
/// Histories that a certificate names at most.
pub const LINEAGE_MAX: usize = 16;

/// A fragment: a region in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The part of the key space.
    pub region: Region,
    /// Counts the decisions about it.
    pub epoch: u64,
}

impl Name {
    /// A short name among the fragments of one owner.
    pub fn tag(&self) -> u64 {
        let (mask, value) = (self.region.mask(), self.region.value());
        let epoch = self.epoch.to_be_bytes();
        let bytes = mask.0.iter().chain(&value.0).chain(&epoch).copied();
        // FNV-1a, 64 bits, finished by a multiplication so that all bits matter in all.
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
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
    /// The histories it comes from, with the epoch after the one that each left; the last is its own.
    pub lineage: Vec<(u64, u64)>,
    /// Earlier epochs, newest first, back to the last one that may have been active: their records are merged.
    pub sources: Vec<Source>,
}

impl Certificate {
    /// The first certificate of a network.
    pub fn founding(owner: Id, history: u64) -> Certificate {
        Certificate {
            name: Name { region: Region::ALL, epoch: 1 },
            owner,
            members: vec![owner],
            assumed_lost: false,
            lost: Vec::new(),
            lineage: vec![(history, 1)],
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

    /// What this certificate is to `other`, where both speak of one key.
    pub fn relation(&self, other: &Certificate) -> Relation {
        let (mine, theirs) = (&self.lineage, &other.lineage);
        let at = |lineage: &[(u64, u64)], of: &[(u64, u64)]| {
            of.last().and_then(|(own, _)| lineage.iter().position(|(id, _)| id == own))
        };
        if mine.last().map(|last| last.0) == theirs.last().map(|last| last.0) {
            return match self.name.epoch.cmp(&other.name.epoch) {
                Ordering::Less => Relation::Older,
                Ordering::Equal => Relation::Same,
                Ordering::Greater => Relation::Newer,
            };
        }
        // A history that others left by giving somebody up goes before theirs: it kept its majority.
        if let Some(next) = at(theirs, mine).and_then(|index| theirs.get(index + 1)) {
            return if self.name.epoch < next.1 { Relation::Older } else { Relation::Preferred };
        }
        if let Some(next) = at(mine, theirs).and_then(|index| mine.get(index + 1)) {
            return if other.name.epoch < next.1 { Relation::Newer } else { Relation::Inferior };
        }
        let parted = |lineage: &[(u64, u64)], of: &[(u64, u64)]| {
            let common = lineage.iter().rposition(|(id, _)| of.iter().any(|(other, _)| other == id));
            lineage.get(common.map_or(0, |index| index + 1)).map(|(id, from)| (*from, *id))
        };
        let (ours, others) = (parted(mine, theirs), parted(theirs, mine));
        let common = mine.iter().any(|(id, _)| theirs.iter().any(|(other, _)| other == id));
        // Without a common history the one whose beginning is forgotten is the longer one.
        let preferred = if common { ours > others } else { (ours, self.name.epoch) > (others, other.name.epoch) };
        if preferred { Relation::Preferred } else { Relation::Inferior }
    }

    /// Of certificates for one key the one that all give way to. Epochs alone tell only within one history.
    pub fn latest<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> Option<&'a Certificate> {
        certificates.reduce(|latest, other| {
            let later = matches!(other.relation(latest), Relation::Newer | Relation::Preferred);
            if later { other } else { latest }
        })
    }

    /// Whether it keeps the bounds and makes sense in itself.
    pub fn well_formed(&self) -> bool {
        self.has(&self.owner)
            && self.name.epoch < EPOCHS_MAX
            && self.members.len() <= MEMBERS_MAX
            && self.sources.len() <= SOURCES_MAX
            && (1..=LINEAGE_MAX).contains(&self.lineage.len())
            && self.lineage.is_sorted_by_key(|(_, from)| from)
            && self.lineage.last().is_some_and(|(_, from)| *from <= self.name.epoch)
            && self.lost.len() <= MEMBERS_MAX * (SOURCES_MAX + 1)
            && self.sources.iter().all(|source| {
                source.name.epoch < self.name.epoch
                    && (1..=MEMBERS_MAX).contains(&source.members.len())
                    && source.name.region.covers(&self.name.region)
            })
    }
}

/// What one certificate is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same epoch of one history.
    Same,
    /// An earlier epoch of the other's history.
    Older,
    /// A later epoch of the other's history.
    Newer,
    /// Histories forked; this one goes on.
    Preferred,
    /// Histories forked; the other goes on.
    Inferior,
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
                let gap = certificate.name.epoch.checked_sub(of.epoch.saturating_add(1));
                certificate.well_formed()
                    && gap.is_some_and(|gap| gap == 0 || gap < GAP_MAX && !certificate.lost.is_empty())
                    && of.region.covers(&certificate.name.region)
            })
            && of.region.subtract_all(regions).is_empty()
    }

    /// Whether it gives somebody up for lost, and so begins a new history.
    pub fn forks(&self) -> bool {
        self.into.iter().all(|certificate| !certificate.lost.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(epoch: u64, lineage: &[(u64, u64)]) -> Certificate {
        let mut certificate = Certificate::founding(Id::ZERO, 0);
        certificate.name.epoch = epoch;
        certificate.lineage = lineage.to_vec();
        certificate
    }

    #[test]
    fn one_history_is_ordered_by_its_epochs() {
        let (old, new) = (certificate(3, &[(7, 1)]), certificate(5, &[(7, 1)]));
        assert_eq!((old.relation(&new), new.relation(&old)), (Relation::Older, Relation::Newer));
        assert_eq!(old.relation(&old), Relation::Same);
        // Giving up was the only way on.
        let lonely = certificate(4, &[(7, 1), (9, 4)]);
        assert_eq!((old.relation(&lonely), lonely.relation(&old)), (Relation::Older, Relation::Newer));
    }

    #[test]
    fn of_two_histories_all_prefer_the_same() {
        let majority = certificate(6, &[(7, 1)]);
        let lonely = certificate(9, &[(7, 1), (9, 4)]);
        assert_eq!((majority.relation(&lonely), lonely.relation(&majority)), (Relation::Preferred, Relation::Inferior));
        let lonelier = certificate(20, &[(7, 1), (9, 4), (3, 15)]);
        assert_eq!(
            (majority.relation(&lonelier), lonelier.relation(&majority)),
            (Relation::Preferred, Relation::Inferior)
        );
        let other = certificate(5, &[(7, 1), (8, 5)]);
        assert_eq!((other.relation(&lonely), lonely.relation(&other)), (Relation::Preferred, Relation::Inferior));
        assert_eq!((other.relation(&lonelier), lonelier.relation(&other)), (Relation::Preferred, Relation::Inferior));
        // Whoever was preferred to one goes on to be when it is left itself.
        let (left, later) = (certificate(8, &[(7, 1)]), certificate(9, &[(7, 1), (2, 9)]));
        assert_eq!((left.relation(&other), left.relation(&later)), (Relation::Preferred, Relation::Older));
        assert_eq!((later.relation(&other), other.relation(&later)), (Relation::Preferred, Relation::Inferior));
        // A list that has lost its beginning against one that ended before.
        let long = certificate(90, &[(30, 70), (31, 80)]);
        assert_eq!((other.relation(&long), long.relation(&other)), (Relation::Inferior, Relation::Preferred));
    }
}
