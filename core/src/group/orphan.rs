//! Regions of which nobody is left: the peer nearest to them begins them anew.
//!
//! When all disks of a group are gone nobody holds its certificate, and nobody would ever answer for its region again.
//! So who is nearest to ids that no fragment here covers asks its peers for the latest certificate known of them, and
//! that one's members too. If none of them answers, it goes on from that certificate as a survivor would who gives up all
//! others: a new history, marked `assumed_lost`, with what holders of earlier epochs still have. It gives way to the old
//! history if a majority of that is back after all. Without a certificate it asks on for as long again, as somebody whom it
//! does not know may hold the region while thousands join; then it begins a history of its own, to which any other is
//! preferred.

use chacha20::rand_core::Rng as _;

use super::{
    Env, Groups,
    certificate::{Certificate, GAP_MAX, Name},
    fragment::{Fragment, Kept, Stage},
    jitter,
    message::Message,
    plan,
};
use crate::{
    ctx::Ctx,
    id::{Id, Region},
    map::Set,
};

/// Orphaned regions that one peer sees to at once.
const ORPHANS_MAX: usize = 8;

impl Groups {
    /// Looks for what this node is nearest to and nobody answers for. What has been so for a while it asks about; what has
    /// been so for `orphaned_us` it begins anew.
    pub(super) fn see_to_orphans(&mut self, env: &mut Env) {
        let now = env.ctx.now.mono;
        let config = env.ctx.config;
        let peers = env.view.peers();
        let placed = env.view.joined() || config.supernode || config.founder;
        if self.leaving || !self.established || !placed {
            self.orphans.clear();
            return;
        }
        let held: Vec<Region> = self
            .fragments
            .values()
            .filter(|fragment| !fragment.retired() && fragment.certificate().has(&self.me))
            .map(Fragment::name)
            .map(|it| it.region)
            .collect();
        let before = std::mem::take(&mut self.orphans);
        for part in nearest_to(&self.me, &peers).subtract_all(&held).into_iter().take(ORPHANS_MAX) {
            let known = part.subtract_all(before.keys()).is_empty();
            let since = before.iter().filter(|(region, _)| region.intersect(&part).is_some()).map(|(_, since)| *since);
            let since_us = if known { since.max().unwrap_or(now) } else { now };
            self.orphans.insert(part, since_us);
        }
        for region in self.late_orphans(env.ctx) {
            let age_us = self.orphans.get(&region).map_or(0, |since_us| now.saturating_sub(*since_us));
            // One of the siblings and one of all peers, others each time: thousands may ask while a network begins.
            let siblings = env.view.siblings().to_vec();
            let asked = [&siblings, &peers].map(|among| {
                let index = jitter(env.ctx, among.len() as u64) as usize;
                among.get(index).copied()
            });
            let mut asked: Set<Id> = asked.into_iter().flatten().collect();
            let known = self.last_known(&region);
            let unknown = region.subtract_all(known.iter().map(|(part, _)| part));
            if age_us >= 2 * config.orphaned_us && known.len() < ORPHANS_MAX && !peers.is_empty() {
                unknown.into_iter().for_each(|part| self.begin_from_nothing(env, part));
            }
            for (part, last) in known {
                // Who is in it and does not know takes it up; who knows what came after says so.
                for to in last.members.iter().filter(|id| **id != self.me) {
                    asked.insert(*to);
                    env.ctx.send(*to, Message::Newer { certificates: vec![last.clone()] });
                }
                if age_us >= config.orphaned_us {
                    self.begin_anew(env, part, last);
                }
            }
            for to in asked {
                env.ctx.send(to, Message::Who { region });
            }
        }
    }

    /// What has been orphaned for a while: a part that is being handed over, or whose group fails over, is not covered for
    /// seconds either.
    fn late_orphans(&self, ctx: &Ctx) -> Vec<Region> {
        let late = |since_us: &u64| ctx.now.mono.saturating_sub(*since_us) >= ctx.config.orphaned_us / 2;
        self.orphans.iter().filter(|(_, since_us)| late(since_us)).map(|(region, _)| *region).collect()
    }

    /// Members of the last groups known of regions that are orphaned: they are watched.
    pub(super) fn last_members(&self, ctx: &Ctx) -> Set<Id> {
        let late = self.late_orphans(ctx);
        let last = late.iter().flat_map(|part| self.last_known(part)).map(|(_, last)| last);
        last.flat_map(|last| {
            let before = last.sources.iter().flat_map(|source| source.members.clone()).collect::<Vec<_>>();
            last.members.into_iter().chain(before)
        })
        .collect()
    }

    /// Somebody asks who may hold a region: the last certificates known of its parts.
    pub(super) fn on_who(&mut self, env: &mut Env, from: Id, region: &Region) {
        let certificates: Vec<Certificate> = self.last_known(region).into_iter().map(|(_, last)| last).collect();
        if !certificates.is_empty() && from != self.me {
            env.ctx.send(from, Message::Newer { certificates });
        }
    }

    /// The parts of a region of which certificates are known, each with the one that all others give way to.
    fn last_known(&self, region: &Region) -> Vec<(Region, Certificate)> {
        let mut found = Vec::new();
        let mut todo = vec![*region];
        while let Some(part) = todo.pop() {
            let Some(last) = Certificate::latest(self.about(&part).into_iter()) else { continue };
            let Some(shared) = last.name.region.intersect(&part) else { continue };
            found.push((shared, last.clone()));
            if found.len() == ORPHANS_MAX {
                break;
            }
            todo.extend(part.subtract(&shared));
        }
        found
    }

    /// Nobody who was asked knows who held a region.
    fn begin_from_nothing(&mut self, env: &mut Env, part: Region) {
        let members = self.new_group(env);
        let epoch = 1 + env.ctx.rng.next_u64() % GAP_MAX;
        let certificate = Certificate::from_nothing(Name { region: part, epoch }, members, env.ctx.rng.next_u64());
        env.ctx.count("group.begun_from_nothing");
        env.ctx.trace("group", "begun from nothing", None, || format!("{part}"));
        self.learn(env, &certificate);
    }

    /// Members where nobody of those before is there.
    fn new_group(&self, env: &Env) -> Vec<Id> {
        let archives = self.archives(env, &[], |_| true);
        plan::members(self.me, self.candidates(env), env.ctx.config.replicas, &archives)
    }

    pub(super) fn begin_anew(&mut self, env: &mut Env, part: Region, last: Certificate) {
        let lost_us = env.ctx.config.assumed_lost_us;
        // As member of an epoch that it does not hold, this node has nothing of it.
        let held = self.fragments.contains_key(&last.name);
        let gone = |id: &&Id| **id == self.me && !held || self.silent_for(env, id, lost_us);
        if !last.members.iter().all(|id| *id == self.me || gone(&id)) {
            return;
        }
        let before = last.sources.iter().flat_map(|source| &source.members).filter(|id| **id != self.me);
        let lost: Set<Id> = last.members.iter().chain(before).filter(gone).copied().collect();
        let lost: Vec<Id> = lost.into_iter().collect();
        let mut group = Fragment::new(Kept::new(last), Stage::Member, 0);
        if group.sources().is_none() {
            group.kept.active = true;
        }
        let members = self.new_group(env);
        let next = group.next(part, self.me, members, &lost, env.ctx.rng.next_u64());
        if let Some(next) = next {
            env.ctx.count("group.begun_anew");
            env.ctx.trace("group", "begun anew", None, || format!("{part} epoch {}", next.name.epoch));
            self.learn(env, &next);
        }
    }
}

/// The ids that are nearer to `me` than to any of `peers`.
fn nearest_to(me: &Id, peers: &[Id]) -> Region {
    let buckets: Set<u32> = peers.iter().filter(|peer| *peer != me).map(|peer| me.common_prefix(peer)).collect();
    buckets.into_iter().fold(Region::ALL, |own, bucket| own.fix(bucket, me.bit(bucket)))
}
