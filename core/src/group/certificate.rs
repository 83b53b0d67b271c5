//! Certificates: who owns a region in which epoch, and what an epoch change decides.
//!
//! Every change of a fragment raises the epoch of all its keys, so of two certificates for one key in one history the one
//! of the higher epoch is newer.
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
/// Two fragments that become one leave out so many epochs: whatever else one of them may have become is told from it by
/// its epoch.
const UNION_GAP: u64 = 1 << 10;
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
    /// The other one, if two became one: they had the same owner and members.
    pub twin: Option<Name>,
    /// Who owned it.
    pub owner: Id,
    /// Who held it, owner included.
    pub members: Vec<Id>,
}

impl Source {
    /// The one or two fragments.
    pub fn parts(&self) -> Vec<Name> {
        self.twin.map_or_else(|| vec![self.name], |twin| vec![self.name, twin])
    }

    /// Whether a fragment is this source, or a part of it.
    pub fn is(&self, name: &Name) -> bool {
        self.name == *name || self.twin == Some(*name)
    }

    /// What it covers; `None` if its parts are not two halves.
    pub fn region(&self) -> Option<Region> {
        self.twin.map_or(Some(self.name.region), |twin| self.name.region.join(&twin.region))
    }
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

    /// A certificate for a region of which nobody knows who held it: the first of the members owns it. Its history began
    /// before that of any network, so all others are preferred to it.
    pub fn from_nothing(name: Name, members: Vec<Id>, history: u64) -> Certificate {
        let owner = members.first().copied().unwrap_or(Id::ZERO);
        Certificate {
            name,
            members,
            assumed_lost: true,
            lineage: vec![(history, 0)],
            ..Certificate::founding(owner, 0)
        }
    }

    /// Whether there may be another history of its region.
    pub fn may_have_rivals(&self) -> bool {
        self.lineage.len() > 1 || self.lineage.iter().any(|(_, from)| *from == 0)
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
        Source { name: self.name, twin: None, owner: self.owner, members: self.members.clone() }
    }

    /// A certificate for two active fragments of one group together; `None` if they are not two halves, or differ in
    /// more than their keys.
    pub fn union(&self, twin: &Certificate) -> Option<Certificate> {
        let region = self.name.region.join(&twin.name.region)?;
        let one_group = self.owner == twin.owner && self.same_members(twin) && self.lineage == twin.lineage;
        let name = Name { region, epoch: self.name.epoch.max(twin.name.epoch) + UNION_GAP };
        one_group.then(|| Certificate {
            name,
            assumed_lost: self.assumed_lost || twin.assumed_lost,
            lost: Vec::new(),
            sources: vec![Source { twin: Some(twin.name), ..self.source() }],
            ..self.clone()
        })
    }

    /// This one, which follows an epoch, in another history that left at that epoch: the same whoever says so.
    pub fn forked(&self, epoch: u64, history: u64) -> Certificate {
        let mut forked = self.clone();
        forked.assumed_lost = true;
        forked.lineage.push((history, epoch + 1));
        let surplus = forked.lineage.len().saturating_sub(LINEAGE_MAX);
        forked.lineage.drain(..surplus);
        forked.name.epoch = epoch + 1 + history % GAP_MAX;
        forked
    }

    /// Whether the same peers hold both.
    pub fn same_members(&self, other: &Certificate) -> bool {
        self.members.len() == other.members.len() && self.members.iter().all(|id| other.has(id))
    }

    /// Whether it is what two fragments become together, of which this is one.
    pub fn unites(&self, part: &Name) -> bool {
        let whole =
            |source: &Source| source.twin.is_some() && source.is(part) && source.region() == Some(self.name.region);
        self.well_formed() && self.sources.first().is_some_and(whole)
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
                    && source.twin.is_none_or(|twin| twin.epoch < self.name.epoch)
                    && (1..=MEMBERS_MAX).contains(&source.members.len())
                    && source.region().is_some_and(|region| region.covers(&self.name.region))
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
    /// One certificate for new members or a new owner, two for a split; together they cover the fragment. Or the one for
    /// this fragment and another that has yielded to it.
    pub into: Vec<Certificate>,
    /// The fragment yields to another: it is part of this union if that one's members decide so, and `into` if not.
    pub union: Option<Box<Certificate>>,
}

impl Change {
    /// These certificates, come what may.
    pub fn to(into: Vec<Certificate>) -> Change {
        Change { into, union: None }
    }

    /// Whether it is a lawful successor of the fragment `of`.
    pub fn follows(&self, of: Name) -> bool {
        if let ([union], None) = (&self.into[..], &self.union)
            && union.unites(&of)
        {
            return true;
        }
        let regions = self.into.iter().map(|certificate| &certificate.name.region);
        (1..=2).contains(&self.into.len())
            && self.union.as_ref().is_none_or(|union| union.unites(&of) && union.sources[0].name != of)
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

    #[test]
    fn two_halves_of_one_group_unite_and_nothing_else_does() {
        let half = |bit: bool, epoch: u64| {
            let mut half = certificate(epoch, &[(7, 1)]);
            half.name.region = Region::ALL.fix(3, bit);
            half
        };
        let (a, b) = (half(false, 4), half(true, 9));
        let union = a.union(&b).expect("two halves");
        assert_eq!((union.name.region, union.name.epoch > 9), (Region::ALL, true));
        assert!(union.unites(&a.name) && union.unites(&b.name) && !union.unites(&half(true, 8).name));
        let alone = Certificate { name: Name { epoch: 10, ..b.name }, sources: vec![b.source()], ..b.clone() };
        let yields = Change { into: vec![alone.clone()], union: Some(Box::new(union.clone())) };
        assert!(yields.follows(b.name), "it yields to the other half");
        assert!(!yields.follows(a.name), "no half yields to itself");
        assert!(Change::to(vec![union.clone()]).follows(a.name));
        let forked = alone.forked(b.name.epoch, 77);
        assert!(forked.well_formed() && forked.assumed_lost);
        assert_eq!((forked.relation(&b), union.relation(&forked)), (Relation::Newer, Relation::Preferred));
        assert!(!Change::to(vec![union]).follows(half(false, 5).name));
        let others = Certificate { members: vec![Id::ZERO, Id::hash(b"another")], ..b.clone() };
        let forked = Certificate { lineage: vec![(7, 1), (8, 9)], ..b.clone() };
        let elsewhere = Certificate { name: Name { region: Region::ALL.fix(4, true), ..b.name }, ..b };
        assert!([others, forked, elsewhere].iter().all(|other| a.union(other).is_none()));
    }
}
