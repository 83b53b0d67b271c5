//! One fragment as a member or owner holds it.
//!
//! What a member promised, accepted or learnt as decided is on its disk before it is answered; leases and the owner's
//! stage are not on disk: after a restart leases are void, and the owner changes the epoch before it serves again.

use serde::{Deserialize, Serialize};

use super::{
    backup::Backup,
    certificate::{Ballot, Certificate, Change, GAP_MAX, LINEAGE_MAX, Name, SOURCES_MAX, Source},
    message::Cursor,
};
use crate::{
    ctx::Now,
    id::{Id, Region},
    map::{Map, Set},
    store::Digest,
};

/// What is on the disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The certificate.
    pub certificate: Certificate,
    /// The highest ballot promised for the next epoch.
    pub promised: Option<Ballot>,
    /// What was accepted for the next epoch.
    pub accepted: Option<(Ballot, Change)>,
    /// Held everything that its owner held when the epoch became active.
    pub synced: bool,
    /// The epoch is known to have been active.
    pub active: bool,
    /// What is decided, if it depends on another fragment: this one yields to it.
    pub yielded: Option<Change>,
    /// Set once the next epoch is decided: the parts that nobody has taken over yet. Gone when empty.
    pub retired: Option<Vec<Region>>,
    /// The successors are of another history: they know nothing of this one's records, and are to be told.
    pub forked: bool,
    /// Known successors.
    pub successors: Vec<Certificate>,
}

impl Kept {
    /// A fragment just learnt of.
    pub fn new(certificate: Certificate) -> Kept {
        Kept {
            certificate,
            promised: None,
            accepted: None,
            synced: false,
            active: false,
            yielded: None,
            retired: None,
            forked: false,
            successors: Vec::new(),
        }
    }
}

/// A fragment held.
pub struct Fragment {
    /// What is on the disk, or about to be.
    pub kept: Kept,
    /// The owner's work; members are `Member`.
    pub stage: Stage,
    /// As member: no help for other proposers before this time of the monotone clock.
    pub granted_until_us: u64,
    /// As owner: when the requests were sent that members granted last.
    pub grants: Map<Id, Now>,
    /// As owner: members known to be in step.
    pub confirmed: Set<Id>,
    /// As owner: pages under way to members: the key after which the last one starts, and when it was sent.
    pub pushes: Map<Id, (Option<Cursor>, u64)>,
    /// This node's proposal for the next epoch.
    pub proposal: Option<Proposal>,
    /// No proposal of this node before this time.
    pub quiet_until_us: u64,
    /// The highest round heard of.
    pub round: u32,
    /// This node was the active owner from activation until now, or until the fragment froze.
    pub complete: bool,
    /// Its name, short.
    pub tag: u64,
    /// As owner: the digest that members were told last, and in how many renewals since it changed.
    pub told: (Digest, u32),
    /// As owner: since when, monotone clock, and since which epoch this node has owned it without a break.
    pub owned_since: Option<(u64, u64)>,
    /// As member: renewals in a row whose digest differed.
    pub differing: u32,
    /// As owner: members are frozen under somebody's attempt at the next epoch.
    pub contested: bool,
    /// As member: when it is this node's turn to take over.
    pub turn_us: Option<u64>,
    /// While a member is silent: to whom a copy is given.
    pub backup: Option<Backup>,
    /// When this node took it up, monotone clock.
    pub since_us: u64,
    /// As holder of a forked fragment: to whom its records are being given, and up to where they are.
    pub donated: Option<(Name, Option<Cursor>)>,
    /// As holder of a retired fragment: when to tell the successors again.
    pub remind_us: u64,
}

/// What the owner is about.
#[derive(Debug)]
pub enum Stage {
    /// Not the owner.
    Member,
    /// The owner, after a restart: must change the epoch first.
    Restarted,
    /// Fetching the records of earlier epochs.
    Merging(Merge),
    /// Bringing members in step.
    Syncing,
    /// Serving, while leased.
    Active,
}

/// Progress of fetching.
#[derive(Debug, Default)]
pub struct Merge {
    /// Which of the certificate's sources is being read.
    pub index: usize,
    /// Holders asked: where their next page starts, or how they ended.
    pub holders: Map<Id, Progress>,
    /// Whether somebody answered since the last look.
    pub moved: bool,
}

/// Progress of one holder.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Asked for the page after this key.
    Asked(Option<Cursor>),
    /// All read; whether it was synced.
    Done(bool),
}

/// An attempt at the next epoch.
#[derive(Debug)]
pub struct Proposal {
    /// Its ballot.
    pub ballot: Ballot,
    /// What this node would have.
    pub change: Change,
    /// Members given up.
    pub lost: Vec<Id>,
    /// Where it stands.
    pub phase: Phase,
    /// When it began.
    pub since_us: u64,
}

/// Paxos' phases.
#[derive(Debug)]
pub enum Phase {
    /// Promises and what was accepted before.
    Prepare(Map<Id, Option<(Ballot, Change)>>),
    /// Acceptances.
    Accept(Set<Id>),
}

impl Fragment {
    /// With no promise and no lease.
    pub fn new(kept: Kept, stage: Stage, since_us: u64) -> Fragment {
        Fragment {
            tag: kept.certificate.name.tag(),
            told: (Digest::default(), 0),
            kept,
            stage,
            granted_until_us: 0,
            grants: Map::new(),
            confirmed: Set::new(),
            pushes: Map::new(),
            proposal: None,
            quiet_until_us: 0,
            round: 0,
            complete: false,
            owned_since: None,
            differing: 0,
            contested: false,
            donated: None,
            turn_us: None,
            backup: None,
            since_us,
            remind_us: 0,
        }
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.kept.certificate
    }

    /// Its name.
    pub fn name(&self) -> Name {
        self.kept.certificate.name
    }

    /// Whether the next epoch is decided.
    pub fn retired(&self) -> bool {
        self.kept.retired.is_some()
    }

    /// Whether something was promised or accepted for the next epoch: no writes, no reads.
    pub fn frozen(&self) -> bool {
        self.kept.promised.is_some() || self.kept.accepted.is_some() || self.kept.yielded.is_some() || self.retired()
    }

    /// Whether it froze under somebody else's proposal than `proposer`'s.
    pub fn frozen_by_another(&self, proposer: &Id) -> bool {
        self.retired() || self.kept.promised.is_some_and(|ballot| ballot.proposer != *proposer)
    }

    /// How much longer a majority's leases hold at the owner, on its own clocks. A sixteenth is left for clocks that
    /// run differently; a clock that jumps ends the lease.
    pub fn lease_us(&self, me: &Id, now: Now, lease_us: u64) -> u64 {
        let left: Vec<u64> =
            self.certificate().members.iter().map(|member| self.granted_us(member, me, now, lease_us)).collect();
        let by_majority = |us: &&u64| left.iter().filter(|other| other >= us).count() >= self.certificate().majority();
        left.iter().filter(by_majority).max().copied().unwrap_or(0)
    }

    fn granted_us(&self, member: &Id, me: &Id, now: Now, lease_us: u64) -> u64 {
        let Some(sent) = (if member == me { Some(&now) } else { self.grants.get(member) }) else {
            return 0;
        };
        let elapsed = now.mono.saturating_sub(sent.mono).max(now.wall.saturating_sub(sent.wall));
        (lease_us - lease_us / 16).saturating_sub(elapsed)
    }

    /// Whether a majority's leases hold.
    pub fn leased(&self, me: &Id, now: Now, lease_us: u64) -> bool {
        let certificate = self.certificate();
        let granting = certificate.members.iter().filter(|member| self.granted_us(member, me, now, lease_us) > 0);
        granting.count() >= certificate.majority()
    }

    /// Whether this node answers for it.
    pub fn serving(&self, me: &Id, now: Now, lease_us: u64) -> bool {
        matches!(self.stage, Stage::Active) && !self.frozen() && self.leased(me, now, lease_us)
    }

    /// Whether these members may decide, with `lost` given up: a majority, or all others.
    pub fn quorum(&self, lost: &[Id], has: impl Fn(&Id) -> bool) -> bool {
        let members = &self.certificate().members;
        let count = members.iter().filter(|member| has(member)).count();
        if lost.is_empty() {
            count >= self.certificate().majority()
        } else {
            count > 0 && members.iter().all(|member| lost.contains(member) || has(member))
        }
    }

    /// The sources of the next epoch: this one, and those before it unless this one is known to have been active.
    /// `None` when too many epochs in a row came to nothing.
    pub fn sources(&self) -> Option<Vec<Source>> {
        let mut sources = vec![self.certificate().source()];
        if !self.kept.active {
            sources.extend(self.certificate().sources.iter().cloned());
        }
        (sources.len() <= SOURCES_MAX).then_some(sources)
    }

    /// A certificate of the next epoch for a part of the region.
    /// Giving up `lost` begins the history `history`.
    pub fn next(&self, region: Region, owner: Id, members: Vec<Id>, lost: &[Id], history: u64) -> Option<Certificate> {
        let mut lineage = self.certificate().lineage.clone();
        let mut epoch = self.name().epoch + 1;
        if !lost.is_empty() {
            lineage.push((history, epoch));
            epoch += history % GAP_MAX;
            let surplus = lineage.len().saturating_sub(LINEAGE_MAX);
            lineage.drain(..surplus);
        }
        Some(Certificate {
            name: Name { region, epoch },
            owner,
            members,
            assumed_lost: self.certificate().assumed_lost || !lost.is_empty(),
            lost: lost.to_vec(),
            lineage,
            sources: self.sources()?,
        })
    }
}
