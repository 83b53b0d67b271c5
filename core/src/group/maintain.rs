//! The tick: founding, repair, hand-over, take-over, giving up, reminding.

use chacha20::rand_core::Rng as _;

use super::{
    Env, Groups, Timer,
    certificate::{Change, Name},
    fragment::{Fragment, Phase, Stage},
    jitter,
    message::Message,
    plan,
};
use crate::{config::SECOND_US, ctx::Ctx, id::Id, map::Set, overlay::TICK_US};

/// A peer must have been there for so long to be handed anything.
pub(super) const SETTLED_US: u64 = SECOND_US;
/// A founder listens for so long before it founds.
const FOUND_AFTER_US: u64 = 2 * SECOND_US;
/// A member is replaced when it has been gone for so long.
const REPAIR_AFTER_US: u64 = SECOND_US + SECOND_US / 2;
/// An owner is replaced when it has been gone for so long and its lease is over.
const TAKE_OVER_AFTER_US: u64 = SECOND_US;
/// Delay of a take-over for each live member that is nearer to the dead owner.
const RANK_US: u64 = SECOND_US / 2;
/// An attempt of somebody who is not the owner lasts so long.
const ATTEMPT_US: u64 = 6 * SECOND_US;
/// Between two reminders to the successors of a retired fragment.
const REMIND_US: u64 = 3 * SECOND_US;
/// Fragments that change at once.
const CHANGES_MAX: usize = 8;
/// While nothing is due everything is looked at in every so many-th tick only.
const REST_TICKS: u64 = 8;
/// Silent peers that are asked in one tick.
const PINGS_MAX: usize = 16;

impl Groups {
    /// Sets the first tick.
    pub fn start(ctx: &mut Ctx) {
        let first_us = if ctx.config.alone { 0 } else { TICK_US };
        ctx.timer(first_us, crate::node::Timer::Group(Timer::Tick));
    }

    /// The tick. `quiet` says that no write of a fragment is under way.
    pub fn tick(&mut self, env: &mut Env, quiet: impl Fn(&Name) -> bool) {
        env.ctx.timer(TICK_US, crate::node::Timer::Group(Timer::Tick));
        self.ticks += 1;
        self.peers.awake(env.ctx.now.mono);
        let unchanged = self.at_rest.is_some() && self.at_rest == env.view.version();
        let at_rest = unchanged && !self.ticks.is_multiple_of(REST_TICKS);
        if !at_rest {
            self.maintain(env);
        }
        let every = (env.ctx.config.lease_renew_us / TICK_US).max(1);
        if self.ticks.is_multiple_of(every) {
            self.renew(env, quiet, None);
        }
        self.enlist(env);
        if at_rest {
            return;
        }
        if self.ticks.is_multiple_of(4) {
            self.see_to_orphans(env);
            self.spread_losses(env);
            self.at_rest = env.view.version().filter(|_| self.nothing_due(env));
        }
        if self.ticks.is_multiple_of(2) {
            let gone: Vec<Id> = self.peers.gone().copied().collect();
            // Not always the same ones when there are many.
            let skip = if gone.len() > PINGS_MAX { self.ticks as usize % gone.len() } else { 0 };
            for id in gone.iter().cycle().skip(skip).take(PINGS_MAX.min(gone.len())) {
                env.ctx.send(*id, Message::Ping);
            }
        }
    }

    /// Looks at everything once.
    pub fn maintain(&mut self, env: &mut Env) {
        let now = env.ctx.now.mono;
        let mut wanted: Set<Id> = env.view.peers().into_iter().collect();
        for fragment in self.fragments.values() {
            wanted.extend(&fragment.certificate().members);
            wanted.extend(fragment.certificate().sources.iter().flat_map(|source| source.members.iter()));
        }
        wanted.extend(self.last_members(env.ctx));
        self.forget_archives(now);
        wanted.extend(self.archives.keys());
        wanted.remove(&self.me);
        self.peers.look(env.view, &wanted, now);
        self.goodbyes.retain(|_, until| *until > now);
        let may_found = env.ctx.config.founder && !self.established && !self.leaving && self.fragments.is_empty();
        if may_found && (env.ctx.config.alone || now.saturating_sub(self.started_us) >= FOUND_AFTER_US) {
            self.found(env);
        }
        if self.fragments.is_empty() {
            return;
        }
        let candidates = self.candidates(env);
        let names: Vec<Name> = self.fragments.keys().copied().collect();
        for name in names {
            let Some(fragment) = self.fragments.get(&name) else {
                continue;
            };
            if fragment.kept.forked {
                self.donate(env, name);
                continue;
            }
            if fragment.retired() {
                self.remind(env, name);
                self.drop_if_done(env, name);
                continue;
            }
            if !fragment.certificate().has(&self.me) {
                self.stand_by(env, name);
                continue;
            }
            self.press(env, name);
            self.press_merge(env, name);
            self.bring_in_step(env, name);
            self.next_step(env, name, &candidates);
        }
        if self.leaving {
            self.say_goodbye(env);
        }
    }

    /// Whether nothing is under way, and nothing will be due as long as nothing happens.
    fn nothing_due(&self, env: &Env) -> bool {
        let idle = |fragment: &Fragment| {
            matches!(fragment.stage, Stage::Member | Stage::Active)
                && fragment.certificate().has(&self.me)
                && fragment.proposal.is_none()
                && !(fragment.retired() || fragment.kept.forked || fragment.frozen() || fragment.contested)
                && fragment.pushes.is_empty()
                && !fragment.certificate().may_have_rivals()
                && (fragment.certificate().owner != self.me
                    || fragment.certificate().members.iter().all(|id| fragment.confirmed.contains(id)))
        };
        // Archives are heard of, or not, by those who have no link to them.
        let archive = |id: &Id| self.archives.contains_key(id);
        !self.leaving
            && !self.fragments.is_empty()
            && self.orphans.is_empty()
            && self.goodbyes.is_empty()
            && self.peers.all_settled(env.view, env.ctx.now.mono.saturating_sub(SETTLED_US), archive)
            && self.fragments.values().all(idle)
    }

    /// A fragment is active: what is to be done next with it is done at once.
    pub fn go_on(&mut self, env: &mut Env, name: Name) {
        let candidates = self.candidates(env);
        self.next_step(env, name, &candidates);
    }

    fn bring_in_step(&mut self, env: &mut Env, name: Name) {
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        if !matches!(fragment.stage, Stage::Syncing | Stage::Active) {
            return;
        }
        let late: Vec<Id> = fragment
            .certificate()
            .members
            .iter()
            .filter(|id| !fragment.confirmed.contains(id) && self.peer_alive(env, id))
            .copied()
            .collect();
        if late.contains(&self.me) {
            self.save(env, &name, Vec::new(), Vec::new(), super::Step::Synced(name));
        }
        for id in late {
            self.offer_sync(env, name, id);
        }
        self.press_pushes(env, name);
        self.activate_if_ready(env, name);
    }

    /// Whether this fragment wants another epoch, and which.
    fn next_step(&mut self, env: &mut Env, name: Name, candidates: &[Id]) {
        let now = env.ctx.now;
        if let Some(fragment) = self.fragments.get_mut(&name)
            && let Some(proposal) = &fragment.proposal
        {
            let stuck = now.mono.saturating_sub(proposal.since_us) > ATTEMPT_US && proposal.ballot.round > 0;
            if stuck {
                fragment.proposal = None;
            }
        }
        let Some(fragment) = self.fragments.get(&name).filter(|fragment| fragment.quiet_until_us <= now.mono) else {
            return;
        };
        let majority = fragment.quorum(&[], |id| self.peer_alive(env, id));
        if self.is_to_back_up(env, fragment) {
            self.back_up(env, name, candidates, majority);
        } else if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.backup = None;
        }
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        if let Some(lost) = self.given_up(env, fragment) {
            let pending = fragment.proposal.as_ref().is_some_and(|proposal| !proposal.lost.is_empty());
            if !pending && self.my_turn(env, name) {
                let members = self.survivors(env, name, candidates);
                self.propose_owner(env, name, self.me, members, lost);
            }
            return;
        }
        if fragment.kept.yielded.is_some() {
            self.await_union(env, name);
            return;
        }
        if !majority {
            self.ask_around(env, name);
        }
        let Some(fragment) = self.fragments.get(&name).filter(|fragment| fragment.proposal.is_none()) else {
            return;
        };
        if fragment.certificate().owner != self.me {
            self.consider_take_over(env, name, candidates);
            return;
        }
        let settled = env.ctx.config.alone || now.mono.saturating_sub(self.started_us) >= SETTLED_US;
        let alone = env.ctx.config.supernode || env.ctx.config.founder;
        match fragment.stage {
            Stage::Restarted if settled && (env.view.joined() || alone) => {
                let members = fragment.certificate().members.clone();
                self.propose_owner(env, name, self.me, members, Vec::new());
            }
            _ if fragment.frozen() || fragment.contested => {
                let members = fragment.certificate().members.clone();
                self.propose_owner(env, name, self.me, members, Vec::new());
            }
            // Whom no majority hears can decide nothing, and answers while its lease holds.
            Stage::Active if majority && fragment.serving(&self.me, now, env.ctx.config.lease_us) => {
                self.improve(env, name, candidates);
            }
            _ => {}
        }
    }

    /// The owner's choice while all is well: hand over what is closer to others, else mend the group.
    fn improve(&mut self, env: &mut Env, name: Name, candidates: &[Id]) {
        let changing = self.fragments.values().filter(|fragment| fragment.proposal.is_some()).count();
        if changing >= CHANGES_MAX || self.awaited(env, name) {
            return;
        }
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        let replicas = env.ctx.config.replicas;
        let members = &fragment.certificate().members;
        let staying = |id: &Id| !self.gone_for(env, id, 0);
        let mut near: Vec<Id> = candidates.to_vec();
        near.extend(members.iter().filter(|id| staying(id)));
        if self.leaving {
            near.retain(|id| *id != self.me);
            let heir = candidates.iter().min_by_key(|id| id.distance(&name.region.nearest(&self.me))).copied();
            if let Some(heir) = heir {
                let archives = self.archives(env, members, |id| !staying(id));
                let members = plan::members(heir, near, replicas, &archives);
                self.propose_owner(env, name, heir, members, Vec::new());
            }
            return;
        }
        near.push(self.me);
        let heirs: Vec<Id> = candidates.iter().filter(|id| self.may_inherit(fragment, id)).copied().collect();
        if let Some((heir, part, rest)) = plan::hand_over(self.me, name.region, &heirs) {
            let gone = |id: &Id| !staying(id);
            let archives = self.archives(env, members, gone);
            let theirs = plan::members(heir, near.iter().copied(), replicas, &archives);
            let mut into = fragment.next(part, heir, theirs, &[], 0);
            let kept = rest.and_then(|rest| {
                let mine = plan::repaired(self.me, members, gone, near.iter().copied(), replicas, &archives);
                fragment.next(rest, self.me, mine, &[], 0)
            });
            if rest.is_some() == kept.is_some()
                && let Some(part) = into.take()
            {
                let change = Change::to(std::iter::once(part).chain(kept).collect());
                self.propose(env, name, change, Vec::new());
            }
            return;
        }
        let gone = |id: &Id| self.gone_for(env, id, REPAIR_AFTER_US);
        let archives = self.archives(env, members, gone);
        let wanted = plan::members(self.me, near.iter().copied(), replicas, &archives);
        let strayed = |id: &Id| env.ctx.config.near_groups && !wanted.contains(id);
        let gone = |id: &Id| gone(id) || strayed(id);
        let repaired = plan::repaired(self.me, members, gone, candidates.iter().copied(), replicas, &archives);
        let before: Set<&Id> = members.iter().collect();
        if repaired.iter().collect::<Set<_>>() != before {
            self.propose_owner(env, name, self.me, repaired, Vec::new());
        } else {
            self.unite(env, name, candidates);
        }
    }

    pub(super) fn propose_owner(&mut self, env: &mut Env, name: Name, owner: Id, members: Vec<Id>, lost: Vec<Id>) {
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        fragment.contested = false;
        let Some(next) = fragment.next(name.region, owner, members, &lost, env.ctx.rng.next_u64()) else {
            env.ctx.count("group.sources_full");
            return;
        };
        let members_lost = lost.into_iter().filter(|id| fragment.certificate().has(id)).collect();
        self.propose(env, name, Change::to(vec![next]), members_lost);
    }

    /// The group that goes on after its owner or others died: who is left, filled up from near.
    fn survivors(&self, env: &Env, name: Name, candidates: &[Id]) -> Vec<Id> {
        let members = self.fragments.get(&name).map_or(&[][..], |fragment| &fragment.certificate().members[..]);
        let gone = |id: &Id| !self.peer_alive(env, id) || self.goodbyes.contains_key(id);
        let archives = self.archives(env, members, gone);
        plan::repaired(
            self.me,
            &with_first(self.me, members),
            gone,
            candidates.iter().copied(),
            env.ctx.config.replicas,
            &archives,
        )
    }

    /// Holders that are to be given up for lost, when without them no majority of members or of a source is left.
    fn given_up(&self, env: &Env, fragment: &Fragment) -> Option<Vec<Id>> {
        let certificate = fragment.certificate();
        let alone = env.ctx.config.supernode || env.ctx.config.founder || !env.view.siblings().is_empty();
        // Who said goodbye has yet to consent to an epoch without it.
        let gone = |id: &&Id| self.silent_for(env, id, env.ctx.config.assumed_lost_us);
        let minority = |members: &[Id]| members.iter().filter(gone).count() >= members.len() - members.len() / 2;
        let merging = match &fragment.stage {
            Stage::Merging(merge) => certificate.sources.get(merge.index),
            _ => None,
        };
        let read = merging.is_some_and(|source| {
            minority(&source.members) && !source.members.iter().all(|id| !gone(&id) || certificate.lost.contains(id))
        });
        let mine = read && certificate.owner == self.me;
        if !alone || !(minority(&certificate.members) || mine) {
            return None;
        }
        // What an epoch that was active began with is in it.
        let sources = certificate.sources.iter().filter(|_| !fragment.kept.active);
        let sources = sources.flat_map(|source| source.members.iter());
        let lost: Set<Id> = certificate.members.iter().chain(sources).filter(gone).copied().collect();
        Some(lost.into_iter().collect())
    }

    /// Whether it is this member's turn to propose: nearest living member to the owner first.
    fn my_turn(&mut self, env: &mut Env, name: Name) -> bool {
        let now = env.ctx.now.mono;
        let me = self.me;
        let Some(fragment) = self.fragments.get(&name) else {
            return false;
        };
        let turn = fragment.turn_us.unwrap_or_else(|| {
            let owner = fragment.certificate().owner;
            let members = &fragment.certificate().members;
            let before = |id: &&Id| owner.distance(id) < owner.distance(&me) && self.peer_alive(env, id);
            let rank = if members.contains(&me) { members.iter().filter(before).count() as u64 } else { 0 };
            now + rank * RANK_US + jitter(env.ctx, RANK_US / 2)
        });
        if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.turn_us = (turn > now).then_some(turn);
        }
        turn <= now
    }

    fn consider_take_over(&mut self, env: &mut Env, name: Name, candidates: &[Id]) {
        let now = env.ctx.now.mono;
        let lease_us = env.ctx.config.lease_us;
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        let owner = fragment.certificate().owner;
        let bound = now < fragment.granted_until_us || now.saturating_sub(self.started_us) < lease_us;
        let idle_us = now.saturating_sub(fragment.granted_until_us.max(fragment.since_us));
        let gone = self.gone_for(env, &owner, TAKE_OVER_AFTER_US) || idle_us > 3 * lease_us;
        let living = fragment.quorum(&[], |id| self.peer_alive(env, id));
        // An archive that is not in step leaves it to the others while there are any.
        let others = fragment.certificate().members.iter().any(|id| *id != self.me && self.peer_alive(env, id));
        let fit = !env.ctx.config.archive || fragment.kept.synced || !others;
        let due = !bound && gone && !self.leaving && fit;
        if !due || !living {
            if let Some(fragment) = self.fragments.get_mut(&name) {
                fragment.turn_us = None;
            }
            return;
        }
        if self.my_turn(env, name) {
            env.ctx.count("group.take_over");
            let members = self.survivors(env, name, candidates);
            self.propose_owner(env, name, self.me, members, Vec::new());
        }
    }

    /// Nobody of a group is there: whoever answers near its region may know what became of it.
    pub(super) fn ask_around(&mut self, env: &mut Env, name: Name) {
        if self.ticks.is_multiple_of(4) && !env.view.siblings().is_empty() {
            env.ctx.route(name.region.nearest(&self.me), Message::Who { region: name.region });
        }
    }

    /// Tells the successors of a retired fragment until they say that they are active.
    fn remind(&mut self, env: &mut Env, name: Name) {
        let now = env.ctx.now.mono;
        let Some(fragment) = self.fragments.get_mut(&name).filter(|fragment| fragment.remind_us <= now) else {
            return;
        };
        fragment.remind_us = now + REMIND_US;
        let rest = fragment.kept.retired.clone().unwrap_or_default();
        let mut told = Set::new();
        for certificate in fragment.kept.successors.clone() {
            if !rest.iter().any(|part| part.intersect(&certificate.name.region).is_some()) {
                continue;
            }
            for to in certificate.members.iter().filter(|id| **id != self.me) {
                if self.peers.alive(env.view, to, now) {
                    told.insert(*to);
                    env.ctx.send(*to, Message::Newer { certificates: vec![certificate.clone()] });
                }
            }
        }
        if told.is_empty()
            && let Some(part) = rest.first()
            && !env.view.siblings().is_empty()
        {
            env.ctx.route(part.nearest(&self.me), Message::Who { region: *part });
        }
    }

    /// Starts to hand everything over.
    pub fn leave(&mut self, env: &mut Env) {
        self.leaving = true;
        self.maintain(env);
    }

    /// Whether nothing is held any more, or nobody is there to take it.
    pub fn left(&self) -> bool {
        let done = |held: &Fragment| held.kept.retired.as_ref().is_some_and(Vec::is_empty);
        self.leaving && (self.fragments.values().all(done) || self.nobody)
    }

    /// A member leaves: it waits until it is replaced in every group.
    pub(super) fn release(&mut self, env: &mut Env, id: &Id) {
        let candidates = self.candidates(env);
        let names: Vec<Name> = self.fragments.keys().copied().collect();
        for name in names {
            let certificate = self.fragments.get(&name).map(Fragment::certificate);
            if certificate.is_some_and(|certificate| certificate.owner == self.me && certificate.has(id)) {
                self.next_step(env, name, &candidates);
            }
        }
    }

    fn say_goodbye(&mut self, env: &mut Env) {
        self.nobody = env.view.siblings().is_empty();
        let mut told: Set<Id> = env.view.siblings().iter().copied().collect();
        for fragment in self.fragments.values() {
            let certificate = fragment.certificate();
            told.insert(certificate.owner);
            if fragment.retired() || fragment.serving(&self.me, env.ctx.now, env.ctx.config.lease_us) {
                continue;
            }
            // They may have gone on without this node while it was away: then they say so.
            for member in certificate.members.iter().filter(|id| **id != self.me) {
                env.ctx.send(*member, Message::Newer { certificates: vec![certificate.clone()] });
            }
        }
        told.remove(&self.me);
        for to in told {
            env.ctx.send(to, Message::Leaving);
        }
    }

    /// Whether a phase of Paxos is under way for a fragment.
    pub(super) fn changing(fragment: &Fragment) -> bool {
        fragment
            .proposal
            .as_ref()
            .is_some_and(|proposal| matches!(proposal.phase, Phase::Prepare(_) | Phase::Accept(_)))
    }
}

/// `members` with `first` in front.
fn with_first(first: Id, members: &[Id]) -> Vec<Id> {
    std::iter::once(first).chain(members.iter().copied().filter(|id| *id != first)).collect()
}
