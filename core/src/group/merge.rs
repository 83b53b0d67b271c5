//! How a new owner comes to hold all that was ever acknowledged in its region, and its members with it.
//!
//! *Merging*: records of the earlier epoch come from its owner alone if it served until it froze, else from a majority
//! of its members, each of which is frozen by then: what was acknowledged lies on a majority, so it is met. If none of
//! that majority was ever in step, that epoch never served, and the one before it is read as well. A member that heard of
//! a later epoch first never takes up the one between: it has nothing of it, and never will.
//! *Syncing*: every member compares digests and is sent what differs; when a majority is in step and the lease holds,
//! the epoch is active, and those who keep records for earlier epochs are told.

use super::{
    Env, Event, Groups, Step,
    certificate::{Certificate, Name, Source},
    fragment::{Fragment, Merge, Progress, Stage},
    message::{Cursor, Message, Page},
};
use crate::{
    id::{Id, Region},
    map::Set,
    store::Digest,
};

/// Records of one page, about.
const PAGE_BYTES: usize = 200 * 1_024;
/// A page that is not answered in this time is sent again.
const STALLED_US: u64 = 1_500_000;

/// What a node holds of a source.
struct SourceHeld {
    complete: bool,
    synced: bool,
    retired: bool,
    owned_since: Option<(u64, u64)>,
}

impl Groups {
    pub(super) fn begin_merge(&mut self, env: &mut Env, name: Name) {
        if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.stage = Stage::Merging(Merge::default());
            self.advance_merge(env, name);
        }
    }

    /// Reads what is still missing, or goes on to bring members in step.
    fn advance_merge(&mut self, env: &mut Env, name: Name) {
        let me = self.me;
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        let certificate = fragment.certificate().clone();
        let Stage::Merging(merge) = &fragment.stage else {
            return;
        };
        let mut index = merge.index;
        let mut holders = merge.holders.clone();
        loop {
            let Some(source) = certificate.sources.get(index) else {
                return self.begin_sync(env, name);
            };
            if let Some(held) = self.held_of(source).filter(|_| source.members.contains(&me)) {
                if held.complete {
                    if let Some(fragment) = self.fragments.get_mut(&name) {
                        fragment.owned_since = held.owned_since;
                    }
                    return self.begin_sync(env, name);
                }
                holders.insert(me, Progress::Done(held.synced));
            } else if self.went_on(source, &name.region) {
                holders.insert(me, Progress::Done(true));
            } else if self.passed_over(source) {
                holders.insert(me, Progress::Done(false));
            }
            let done = |id: &&Id| matches!(holders.get(*id), Some(Progress::Done(_)));
            let majority = source.members.iter().filter(done).count() > source.members.len() / 2;
            let given_up = !certificate.lost.is_empty()
                && source.members.iter().all(|id| certificate.lost.contains(id) || done(&id));
            if !majority && !given_up {
                break;
            }
            let synced = source.members.iter().any(|id| holders.get(id) == Some(&Progress::Done(true)));
            if synced || index + 1 == certificate.sources.len() {
                return self.begin_sync(env, name);
            }
            index += 1;
            holders.clear();
        }
        let source = certificate.sources[index].clone();
        // Alone, the old owner knows everything; the others are asked when it does not say so soon.
        let alone = holders.is_empty() && source.owner != me && env.view.alive(&source.owner);
        let asked: Vec<Id> = if alone {
            vec![source.owner]
        } else {
            source.members.iter().filter(|id| **id != me && !holders.contains_key(id)).copied().collect()
        };
        for id in &asked {
            holders.insert(*id, Progress::Asked(None));
        }
        if let Some(Stage::Merging(merge)) = self.fragments.get_mut(&name).map(|fragment| &mut fragment.stage) {
            merge.index = index;
            merge.holders = holders;
            merge.moved = true;
        }
        for id in asked {
            self.fetch(env, &certificate, source.name, id, None);
        }
    }

    /// What this node holds of a source, if it holds all parts of it.
    fn held_of(&self, source: &Source) -> Option<SourceHeld> {
        let mut all = SourceHeld { complete: true, synced: true, retired: true, owned_since: None };
        for part in source.parts() {
            let held = self.fragments.get(&part)?;
            all.complete &= held.complete;
            all.synced &= held.kept.synced;
            all.retired &= held.retired();
            // Of both since the later one.
            let (since_us, epoch) = all.owned_since.unwrap_or_default();
            all.owned_since = held.owned_since.map(|(us, other)| (us.max(since_us), other.max(epoch)));
        }
        Some(all)
    }

    /// Whether this member of `source` dropped it for a history that is given up since: what it holds of `region` for
    /// that one is no less.
    fn went_on(&self, source: &Source, region: &Region) -> bool {
        let forked = self.fragments.values().filter(|held| held.kept.forked && held.certificate().has(&self.me));
        let regions: Vec<Region> = forked.map(|fragment| fragment.name().region).collect();
        source.members.contains(&self.me) && self.held_of(source).is_none() && region.subtract_all(&regions).is_empty()
    }

    /// Whether this member of `source`, which is known to be decided over, holds nothing of it. Had it dropped it, a later
    /// epoch would be active, and those who merge would find that one first.
    fn passed_over(&self, source: &Source) -> bool {
        source.members.contains(&self.me) && self.held_of(source).is_none() && !self.damaged
    }

    fn fetch(&mut self, env: &mut Env, certificate: &Certificate, source: Name, from: Id, after: Option<Cursor>) {
        let digest = env.store.digest(&certificate.name);
        env.ctx.send(from, Message::Fetch { certificate: certificate.clone(), source, after, digest });
    }

    /// Asks again those that do not answer, and the others too.
    pub(super) fn press_merge(&mut self, env: &mut Env, name: Name) {
        let me = self.me;
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        let Stage::Merging(merge) = &mut fragment.stage else {
            return;
        };
        let certificate = fragment.kept.certificate.clone();
        if std::mem::take(&mut merge.moved) {
            return;
        }
        let index = merge.index;
        let Some(source) = certificate.sources.get(index) else {
            return;
        };
        let mut todo = Vec::new();
        for id in source.members.iter().filter(|id| **id != me) {
            let progress = merge.holders.entry(*id).or_insert(Progress::Asked(None));
            if let Progress::Asked(after) = progress {
                todo.push((*id, after.clone()));
            }
        }
        for (id, after) in todo {
            self.fetch(env, &certificate, source.name, id, after);
        }
        // Of sources that were passed over because their members were given up for lost: whoever is back may know all,
        // while the holders of earlier ones may have dropped what was superseded.
        for source in &certificate.sources[..index] {
            for id in source.members.iter().filter(|id| **id != me) {
                self.fetch(env, &certificate, source.name, *id, None);
            }
        }
        self.advance_merge(env, name);
    }

    pub(super) fn on_fetch(
        &mut self,
        env: &mut Env,
        from: Id,
        certificate: Certificate,
        source: Name,
        after: Option<Cursor>,
        digest: Digest,
    ) {
        let name = certificate.name;
        let lawful = certificate.owner == from && certificate.sources.iter().any(|known| known.name == source);
        if !lawful || !certificate.well_formed() {
            env.ctx.count("group.malformed");
            return;
        }
        // The certificate proves that the source is decided over: from here on it is frozen.
        self.learn(env, &certificate);
        let known = certificate.sources.iter().find(|known| known.name == source);
        let held = known.and_then(|known| self.held_of(known)).filter(|held| held.retired);
        let (complete, synced) = match held {
            Some(held) => (held.complete, held.synced),
            None if known.is_some_and(|known| self.went_on(known, &name.region)) => (false, true),
            // Of one half it may have all.
            None if known.is_some_and(|known| known.parts().iter().any(|part| self.fragments.contains_key(part))) => {
                (false, false)
            }
            None => {
                let newer = self.tell_superseding(env, from, &certificate);
                if !newer && known.is_some_and(|known| self.passed_over(known)) {
                    let page = Page { after, until: None, records: Vec::new() };
                    env.ctx.send(from, Message::Fetched { to: name, source, complete: false, synced: false, page });
                }
                return;
            }
        };
        let same = after.is_none() && env.store.digest_of(&name.region) == digest;
        let page = if same {
            Page { after, until: None, records: Vec::new() }
        } else {
            self.given(env, env.store.page(&name.region, after, PAGE_BYTES), synced)
        };
        env.ctx.add("group.records_handed", page.records.len() as u64);
        env.ctx.send(from, Message::Fetched { to: name, source, complete, synced, page });
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn on_fetched(
        &mut self,
        env: &mut Env,
        from: Id,
        to: Name,
        source: Name,
        complete: bool,
        synced: bool,
        page: Page,
    ) {
        let limit_us = env.ctx.now.wall.saturating_add(env.ctx.config.clock_skew_max_us);
        let Some(fragment) = self.fragments.get_mut(&to) else {
            return;
        };
        let Stage::Merging(merge) = &mut fragment.stage else {
            return;
        };
        let certificate = fragment.kept.certificate.clone();
        let Some(index) = certificate.sources.iter().position(|known| known.name == source) else {
            return;
        };
        if index < merge.index && synced && page.after.is_none() && certificate.sources[index].members.contains(&from) {
            merge.index = index;
            merge.holders.clear();
            merge.holders.insert(from, Progress::Asked(None));
        }
        if index != merge.index || merge.holders.get(&from) != Some(&Progress::Asked(page.after.clone())) {
            return;
        }
        let Some(mut batch) = self.set_aside(env, &to.region, &page.records) else {
            return;
        };
        let Some(Stage::Merging(merge)) = self.fragments.get_mut(&to).map(|fragment| &mut fragment.stage) else {
            return;
        };
        merge.moved = true;
        let until = page.until.clone();
        let progress = match &until {
            Some(until) => Progress::Asked(Some(until.clone())),
            None => Progress::Done(synced),
        };
        merge.holders.insert(from, progress);
        batch.extend(env.store.apply(&to.region, page, 0, limit_us));
        if !batch.is_empty() {
            self.persist(env, batch, Vec::new(), Step::None);
        }
        match until {
            Some(until) => self.fetch(env, &certificate, source, from, Some(until)),
            None if complete => self.begin_sync(env, to),
            None => self.advance_merge(env, to),
        }
    }

    /// All is here: the members are brought in step.
    pub(super) fn begin_sync(&mut self, env: &mut Env, name: Name) {
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        fragment.stage = Stage::Syncing;
        fragment.kept.synced = true;
        fragment.confirmed.clear();
        let members = fragment.certificate().members.clone();
        self.save(env, &name, Vec::new(), Vec::new(), Step::Synced(name));
        for member in members {
            self.offer_sync(env, name, member);
        }
    }

    /// Asks a member whether it holds what this owner holds.
    pub(super) fn offer_sync(&mut self, env: &mut Env, name: Name, member: Id) {
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        let running = matches!(fragment.stage, Stage::Syncing | Stage::Active) && !fragment.retired();
        if !running
            || member == self.me
            || !fragment.certificate().has(&member)
            || fragment.pushes.contains_key(&member)
        {
            return;
        }
        let certificate = fragment.certificate().clone();
        let digest = env.store.digest(&name);
        let sent_us = self.stamp(env.ctx.now);
        env.ctx.send(member, Message::Sync { certificate, digest, sent_us });
    }

    pub(super) fn on_sync(&mut self, env: &mut Env, from: Id, certificate: Certificate, digest: Digest, sent_us: u64) {
        if certificate.owner != from {
            env.ctx.count("group.malformed");
            return;
        }
        self.learn(env, &certificate);
        let name = certificate.name;
        let lease_us = env.ctx.config.lease_us;
        let Some(fragment) = self.fragments.get_mut(&name).filter(|fragment| !fragment.retired()) else {
            self.tell_superseding(env, from, &certificate);
            return;
        };
        if fragment.certificate().owner != from || fragment.frozen_by_another(&from) {
            return;
        }
        fragment.granted_until_us = env.ctx.now.mono.saturating_add(lease_us);
        if env.store.digest(&name) == digest {
            fragment.kept.synced = true;
            let answer = Message::Synced { of: name, sent_us };
            self.save(env, &name, Vec::new(), vec![(from, answer.into())], Step::None);
        } else {
            // An owner whose disk was lost takes the epoch up as if it were new, and would have all become as empty.
            if fragment.kept.active {
                env.ctx.send(from, Message::Active { certificate });
            }
            env.ctx.send(from, Message::Lacking { of: name });
        }
    }

    pub(super) fn on_lacking(&mut self, env: &mut Env, from: Id, name: Name) {
        let Some(fragment) = self.fragments.get_mut(&name).filter(|fragment| fragment.certificate().has(&from)) else {
            return;
        };
        let running = matches!(fragment.stage, Stage::Syncing | Stage::Active) && !fragment.retired();
        if running && !fragment.pushes.contains_key(&from) {
            env.ctx.count("group.push");
            self.push(env, name, from, None);
        }
    }

    fn push(&mut self, env: &mut Env, name: Name, to: Id, after: Option<Cursor>) {
        let page = env.store.page(&name.region, after.clone(), PAGE_BYTES);
        // What is not here is no more, as of now: no write of this owner will be older.
        let as_of_us = env.store.advance(env.ctx.now.wall);
        if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.pushes.insert(to, (after, env.ctx.now.mono));
            env.ctx.add("group.records_pushed", page.records.len() as u64);
            env.ctx.send(to, Message::Push { of: name, as_of_us, page });
        }
    }

    /// Sends pages again that were not answered, while their receivers are there.
    pub(super) fn press_pushes(&mut self, env: &mut Env, name: Name) {
        let now = env.ctx.now.mono;
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        let stalled: Vec<(Id, Option<Cursor>)> = fragment
            .pushes
            .iter()
            .filter(|(_, (_, sent_us))| now.saturating_sub(*sent_us) > STALLED_US)
            .map(|(to, (after, _))| (*to, after.clone()))
            .collect();
        for (to, after) in stalled {
            if self.peer_alive(env, &to) {
                self.push(env, name, to, after);
            } else if let Some(fragment) = self.fragments.get_mut(&name) {
                fragment.pushes.remove(&to);
            }
        }
    }

    pub(super) fn on_push(&mut self, env: &mut Env, from: Id, name: Name, as_of_us: u64, page: Page) {
        let limit_us = env.ctx.now.wall.saturating_add(env.ctx.config.clock_skew_max_us);
        // What a history that is given up wrote is not the owner's to remove before it has been told of it.
        let forked = self
            .fragments
            .values()
            .any(|held| held.kept.forked && held.name().region.intersect(&name.region).is_some());
        let as_of_us = if forked { 0 } else { as_of_us };
        let open = |held: &Fragment| held.certificate().owner == from && !held.frozen_by_another(&from);
        if !self.fragments.get(&name).is_some_and(open) {
            return;
        }
        let Some(mut batch) = self.set_aside(env, &name.region, &page.records) else {
            return;
        };
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        if forked {
            let oldest = env.ctx.now.wall.saturating_sub(env.ctx.config.tombstone_us);
            batch.extend(env.store.set_aside_old(&name.region, &[], &page, oldest));
        }
        let until = page.until.clone();
        let last = until.is_none();
        batch.extend(env.store.apply(&name.region, page, as_of_us, limit_us));
        let mut answers = vec![(from, Message::Pushed { of: name, until }.into())];
        if last {
            fragment.kept.synced = true;
            answers.push((from, Message::Synced { of: name, sent_us: 0 }.into()));
            self.save(env, &name, batch, answers, Step::None);
        } else {
            self.persist(env, batch, answers, Step::None);
        }
    }

    pub(super) fn on_pushed(&mut self, env: &mut Env, from: Id, name: Name, until: Option<Cursor>) {
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        let Some((after, _)) = fragment.pushes.get(&from) else {
            return;
        };
        match until {
            None => {
                fragment.pushes.remove(&from);
            }
            Some(until) if after.as_ref().is_none_or(|after| *after < until) => {
                self.push(env, name, from, Some(until));
            }
            Some(_) => {}
        }
    }

    /// A member (or this node) has everything on its disk.
    pub(super) fn confirm(&mut self, env: &mut Env, from: Id, name: Name, sent_us: Option<u64>) {
        if let Some(fragment) = self.fragments.get_mut(&name)
            && fragment.certificate().has(&from)
            && matches!(fragment.stage, Stage::Syncing | Stage::Active)
        {
            fragment.confirmed.insert(from);
            if let Some(sent_us) = sent_us {
                self.grant(name, from, sent_us);
            }
            self.activate_if_ready(env, name);
            // In step by pages, which carry no lease: it is asked for at once.
            if sent_us == Some(0) && self.fragments.get(&name).is_some_and(|it| matches!(it.stage, Stage::Syncing)) {
                self.renew(env, |_| false, Some(name));
            }
        }
    }

    /// Serves from now on if a majority is in step and the lease holds.
    pub(super) fn activate_if_ready(&mut self, env: &mut Env, name: Name) {
        let (me, now, lease_us) = (self.me, env.ctx.now, env.ctx.config.lease_us);
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        if !matches!(fragment.stage, Stage::Syncing) || fragment.frozen() {
            return;
        }
        let majority = fragment.certificate().majority();
        if fragment.confirmed.len() < majority {
            return;
        }
        if !fragment.leased(&me, now, lease_us) {
            return;
        }
        fragment.stage = Stage::Active;
        fragment.complete = true;
        // Nobody owned the first one before.
        let since_us = if fragment.certificate().sources.is_empty() { 0 } else { now.mono };
        fragment.owned_since.get_or_insert((since_us, name.epoch));
        fragment.kept.active = true;
        let certificate = fragment.certificate().clone();
        self.save(env, &name, Vec::new(), Vec::new(), Step::None);
        env.ctx.count("group.activated");
        env.ctx.trace("group", "active", None, || format!("{} epoch {}", name.region, name.epoch));
        let mut told: Set<Id> = certificate.members.iter().copied().collect();
        told.extend(certificate.sources.iter().flat_map(|source| source.members.iter().copied()));
        for to in told.into_iter().filter(|id| *id != me) {
            env.ctx.send(to, Message::Active { certificate: certificate.clone() });
        }
        self.events.push_back(Event::Activated(name));
        self.on_active(env, certificate);
    }
}
