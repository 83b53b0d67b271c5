//! Archives: peers that hold a copy of every record, beside the `replicas` of each group.
//!
//! An archive is a member of every group: it is brought in step, votes and grants leases like the others, and goes on when
//! they are all gone. It sees to that itself, by asking: the owners of what it holds, at once when they change and now and
//! then; and for what it does not hold, whoever is nearest to some id of it. An owner forgets one that asks no more. So
//! nobody else needs to know of archives, and none is left out where groups split, unite or begin anew.
//!
//! What an archive has of epochs that went on without it stays until it is in step with one that has it again, for if the
//! others go meanwhile there is nothing else. Till then others are given no more of it than what is younger than any
//! tombstone: of older records nobody may know any more that they were removed. For the same reason it owns only
//! what it is in step with, unless it is all that is left.

use chacha20::rand_core::Rng as _;

use super::{
    Env, Groups,
    certificate::{Certificate, Name},
    fragment::Fragment,
    jitter,
    maintain::SETTLED_US,
    message::{Message, Page},
};
use crate::{
    config::SECOND_US,
    id::{Id, Region},
    map::{Map, Set},
    overlay::TICK_US,
};

/// Between two rounds of asking,
const ASK_TICKS: u64 = SECOND_US / TICK_US;
/// of which every so many-th goes to owners that know.
const REMIND_TICKS: u64 = 20 * ASK_TICKS;
/// An archive that has not asked for so long is none any more.
const FORGOTTEN_US: u64 = 60 * SECOND_US;
/// Regions of which nothing is held that are asked for in one round.
const PARTS_MAX: usize = 32;

/// Archives that asked, and when they did last.
pub(super) type Archives = Map<Id, u64>;

impl Groups {
    /// As an archive: asks to be taken into all groups.
    pub(super) fn enlist(&mut self, env: &mut Env) {
        let placed = !env.view.siblings().is_empty() && self.established && !self.leaving;
        if !env.ctx.config.archive || !placed || !self.ticks.is_multiple_of(ASK_TICKS) {
            return;
        }
        if self.ticks.is_multiple_of(REMIND_TICKS) {
            let owners: Set<Id> =
                self.memberships().map(|held| held.certificate().owner).filter(|id| *id != self.me).collect();
            for owner in owners {
                env.ctx.send(owner, Message::Enlist);
            }
        }
        if env.store.bytes() >= env.ctx.config.store_bytes_max {
            env.ctx.count("group.archive_full");
            return;
        }
        let held: Vec<Region> = self.memberships().map(|held| held.name().region).collect();
        let parts = Region::ALL.subtract_all(&held);
        // Not always the same ones: there may be some where nobody takes it in.
        let first = jitter(env.ctx, parts.len() as u64) as usize;
        for part in parts.iter().cycle().skip(first).take(PARTS_MAX.min(parts.len())) {
            let mut anywhere = Id::ZERO;
            env.ctx.rng.fill_bytes(&mut anywhere.0);
            env.ctx.route(part.nearest(&anywhere), Message::Enlist);
        }
    }

    /// Fragments that this node is a member of.
    fn memberships(&self) -> impl Iterator<Item = &Fragment> {
        self.fragments.values().filter(|held| !held.retired() && held.certificate().has(&self.me))
    }

    /// An archive asks. Where there are too many, those that are there are preferred, and of these the smallest ids, so that
    /// all owners take the same.
    pub(super) fn on_enlist(&mut self, env: &mut Env, from: Id) {
        if from == self.me {
            return;
        }
        self.archives.insert(from, env.ctx.now.mono);
        if self.archives.len() > env.ctx.config.archives_max {
            env.ctx.count("group.archives_refused");
            let last = self.archives.keys().max_by_key(|id| (**id != from && !self.peer_alive(env, id), **id)).copied();
            last.map(|last| self.archives.remove(&last));
        }
    }

    /// As the new owner of a group: what is beyond the replicas are its archives, who have yet to say so themselves.
    pub(super) fn inherit_archives(&mut self, env: &Env, certificate: &Certificate) {
        let config = env.ctx.config;
        let beyond = certificate.members.iter().skip(config.replicas + usize::from(config.archive));
        for id in beyond.filter(|id| **id != self.me).take(config.archives_max) {
            if self.archives.len() < config.archives_max {
                self.archives.entry(*id).or_insert(env.ctx.now.mono);
            }
        }
    }

    pub(super) fn forget_archives(&mut self, now_us: u64) {
        self.archives.retain(|_, asked_us| now_us.saturating_sub(*asked_us) < FORGOTTEN_US);
    }

    /// The archives that a group with these members is to have: those in it that are not gone, and those that stay.
    pub(super) fn archives(&self, env: &Env, members: &[Id], gone: impl Fn(&Id) -> bool) -> Vec<Id> {
        let settled = |id: &Id| self.peers.alive_us(id, env.ctx.now.mono) >= SETTLED_US;
        let own = (env.ctx.config.archive && !self.leaving).then_some(self.me);
        let others = self.archives.keys().copied().filter(|id| !self.goodbyes.contains_key(id));
        let fit = |id: &Id| if members.contains(id) { !gone(id) } else { settled(id) };
        own.into_iter().chain(others.filter(fit)).take(env.ctx.config.archives_max).collect()
    }

    /// Whether a peer may be handed a fragment: an archive only what it is in step with.
    pub(super) fn may_inherit(&self, fragment: &Fragment, id: &Id) -> bool {
        !self.archives.contains_key(id) || fragment.confirmed.contains(id)
    }

    /// As an archive: whether nothing that is in step has taken the place of a fragment that is retired.
    pub(super) fn is_last_copy(&self, env: &Env, name: &Name) -> bool {
        let in_step = self.memberships().filter(|held| held.kept.synced);
        let in_step: Vec<Region> = in_step.map(|held| held.name().region).collect();
        let forked = self.fragments.get(name).is_some_and(|held| held.kept.forked);
        env.ctx.config.archive && !forked && !name.region.subtract_all(&in_step).is_empty()
    }

    /// Before an epoch is taken up: records that are here of its region and older than this go, if they belong to no source
    /// of it.
    pub(super) fn cleared_before_us(&self, env: &Env, certificate: &Certificate) -> u64 {
        let left = |id: &Id| *id != self.me && !certificate.lost.contains(id);
        let others = certificate.sources.iter().any(|source| source.members.iter().any(left));
        match (env.ctx.config.archive, certificate.owner == self.me && others) {
            (false, _) => u64::MAX,
            (true, false) => 0,
            // From now on this copy says what there is; it is not to say more than the others know.
            (true, true) => oldest(env),
        }
    }

    /// What a member that may not be in step gives of its copy.
    pub(super) fn given(&self, env: &Env, mut page: Page, in_step: bool) -> Page {
        if env.ctx.config.archive && !in_step {
            let oldest = oldest(env);
            page.records.retain(|record| record.version.wall_us > oldest);
        }
        page
    }
}

/// No tombstone is older.
fn oldest(env: &Env) -> u64 {
    env.ctx.now.wall.saturating_sub(env.ctx.config.tombstone_us)
}
