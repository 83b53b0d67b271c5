//! Two fragments of one group become one, so that a network that lives long has no more fragments than peers.
//!
//! A peer that inherits from others holds its region in pieces. Two halves with one owner and the same members are made
//! one by two decisions: the one *yields* to the other, which is to say that it becomes part of a certain union if the
//! other's members decide for that, and what it would be alone if not; then the other decides. Each is a Paxos of its own,
//! so whoever takes over in between needs no more than what it needs anyway. That the other one decided for something
//! else is seen from any later epoch of it that is not beyond the union's, for whatever comes of the union is.
//!
//! Where the pieces' members differ, the smaller piece first changes its members to those of the other.

use super::{
    Env, Groups, Step,
    certificate::{Certificate, Change, Name},
    fragment::{Fragment, Stage},
    plan,
};
use crate::{config::SECOND_US, id::Id};

/// Fragments younger than this stay as they are: while many join they are about to be split.
const UNITE_AFTER_US: u64 = 2 * SECOND_US;

impl Groups {
    /// The owner, for whom all is well: begins to unite a fragment with its other half, if it holds that too.
    pub(super) fn unite(&mut self, env: &mut Env, name: Name, candidates: &[Id]) {
        // Nothing else is under way here, and no group is without a majority: whoever took a half over learns first what
        // became of the other one.
        let calm = |held: &Fragment| {
            let open = !held.frozen() && held.proposal.is_none() && !held.contested;
            held.retired() || open && held.quorum(&[], |id| self.peer_alive(env, id))
        };
        if !self.fragments.values().all(calm) {
            return;
        }
        let Some(own) = self.fragments.get(&name).filter(|own| self.unitable(env, own)) else {
            return;
        };
        let twin = self.fragments.values().find(|other| {
            other.name().region.join(&name.region).is_some()
                && other.certificate().owner == self.me
                && other.certificate().lineage == own.certificate().lineage
                && self.unitable(env, other)
                && plan::hand_over(self.me, other.name().region, candidates).is_none()
        });
        let Some(twin) = twin else {
            return;
        };
        let (mine, other) = (own.certificate(), twin.certificate());
        if !mine.same_members(other) {
            let weight = |certificate: &Certificate| (env.store.digest(&certificate.name).count, certificate.name);
            if weight(mine) < weight(other) {
                let members = other.members.clone();
                self.propose_owner(env, name, self.me, members, Vec::new());
            }
            return;
        }
        let alone = own.next(name.region, self.me, mine.members.clone(), &[], 0);
        if let (Some(union), Some(alone)) = (other.union(mine), alone) {
            env.ctx.count("group.yield");
            self.propose(env, name, Change { into: vec![alone], union: Some(Box::new(union)) }, Vec::new());
        }
    }

    /// Whether a fragment has been as it should be for a while.
    fn unitable(&self, env: &Env, held: &Fragment) -> bool {
        let (now, members) = (env.ctx.now, &held.certificate().members);
        held.serving(&self.me, now, env.ctx.config.lease_us)
            && now.mono.saturating_sub(held.since_us) >= UNITE_AFTER_US
            && members.iter().all(|id| held.confirmed.contains(id) && !self.gone_for(env, id, 0))
    }

    /// Whether another fragment here yields, or is about to yield, to this one; if it does, this one decides now.
    pub(super) fn awaited(&mut self, env: &mut Env, name: Name) -> bool {
        let mut awaited = false;
        let mut union = None;
        for held in self.fragments.values().filter(|held| !held.retired()) {
            if let Some(yielded) = held.kept.yielded.as_ref().and_then(|change| to(change, &name)) {
                union = Some(yielded.clone());
            }
            awaited |= held.proposal.as_ref().is_some_and(|proposal| to(&proposal.change, &name).is_some());
        }
        let Some(union) = union else {
            return awaited;
        };
        self.propose(env, name, Change::to(vec![union]), Vec::new());
        true
    }

    /// It is decided that a fragment yields.
    pub(super) fn yielded(&mut self, env: &mut Env, of: Name, change: Change) {
        let Some(fragment) = self.fragments.get_mut(&of).filter(|fragment| !fragment.retired()) else {
            return;
        };
        fragment.proposal = None;
        let waits_for = change.union.as_ref().and_then(|union| union.sources.first()).map(|source| source.name);
        if fragment.kept.yielded.is_none() {
            fragment.kept.yielded = Some(change);
            self.save(env, &of, Vec::new(), Vec::new(), Step::None);
        }
        self.settle_unions(env);
        let active = |held: &Fragment| matches!(held.stage, Stage::Active) && held.proposal.is_none();
        if let Some(other) = waits_for
            && self.fragments.get(&other).is_some_and(|held| active(held) && self.is_serving(env, held))
        {
            self.awaited(env, other);
        }
    }

    fn is_serving(&self, env: &Env, held: &Fragment) -> bool {
        held.serving(&self.me, env.ctx.now, env.ctx.config.lease_us)
    }

    /// What a fragment yielded to may be known to have become something else.
    pub(super) fn settle_unions(&mut self, env: &mut Env) {
        let mut alone = Vec::new();
        for held in self.fragments.values().filter(|held| !held.retired()) {
            let Some(Change { into, union: Some(union) }) = &held.kept.yielded else {
                continue;
            };
            if self.came_to_nothing(union) {
                alone.extend(into.clone());
            } else if let Some(history) = self.forked_off(union) {
                // Those given up may have decided for the union: this is of the other history, too.
                alone.extend(into.iter().map(|part| part.forked(held.name().epoch, history)));
            }
        }
        for certificate in &alone {
            env.ctx.count("group.alone");
            self.learn(env, certificate);
        }
    }

    /// Whether the first of a union's parts is known to be decided over by something else.
    fn came_to_nothing(&self, union: &Certificate) -> bool {
        let Some(part) = union.sources.first().map(|source| source.name) else {
            return false;
        };
        let otherwise = |other: &Certificate| {
            other.lineage.last() == union.lineage.last()
                && other.name != union.name
                && (part.epoch + 1..=union.name.epoch).contains(&other.name.epoch)
        };
        self.about(&part.region).into_iter().any(otherwise)
    }

    /// The history, if there is one, that the first of a union's parts went on in when somebody was given up.
    fn forked_off(&self, union: &Certificate) -> Option<u64> {
        let part = union.sources.first()?.name;
        let (own, _) = union.lineage.last()?;
        let next = |other: &Certificate| {
            let at = other.lineage.iter().position(|(history, _)| history == own)?;
            other.lineage.get(at + 1).filter(|(_, from)| *from == part.epoch + 1).map(|(history, _)| *history)
        };
        self.about(&part.region).into_iter().find_map(next)
    }

    /// Nothing is heard of what a fragment yielded to: whoever answers near it may know.
    pub(super) fn await_union(&mut self, env: &mut Env, name: Name) {
        self.settle_unions(env);
        let waits = self.fragments.get(&name).filter(|held| !held.retired());
        let other = waits.and_then(|held| held.kept.yielded.as_ref()?.union.as_ref()?.sources.first());
        if let Some(other) = other.map(|source| source.name) {
            self.ask_around(env, name);
            self.ask_around(env, other);
        }
    }
}

/// The union by which a change yields to a fragment.
fn to<'a>(change: &'a Change, name: &Name) -> Option<&'a Certificate> {
    change.union.as_deref().filter(|union| union.sources.first().is_some_and(|source| source.name == *name))
}
