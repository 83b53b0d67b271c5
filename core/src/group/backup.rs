//! A copy outside of a group of which somebody is silent.
//!
//! A silent member is replaced after a while only, for it may have been slow, and where no majority is left only when
//! those who are silent are given up for lost. A survivor may be the last one that has the group's records meanwhile. So
//! the first that is left, or without a majority everybody, gives them at once to the neighbour that would be the next
//! member: a *backup*, which answers for nothing and decides nothing. If the group comes to itself it is dropped. If all
//! members are silent for as long as a survivor would wait, and a little more, the backup goes on as one; should somebody
//! else begin the region anew, it gives that one what it has, as a history that is given up does.

use super::{
    Env, Groups, Step,
    certificate::{Certificate, Name},
    fragment::{Fragment, Kept, Stage},
    message::{Cursor, Message, Page},
};
use crate::{
    config::SECOND_US,
    id::{Id, nearest},
    store::Batch,
};

/// Records of one page, about.
const PAGE_BYTES: usize = 100 * 1_024;
/// Who does not answer a page in this time has no room, or has dropped what it had: the next peer is asked.
const STALLED_US: u64 = 4 * SECOND_US;
/// Among so many peers.
const ASKED: usize = 4;
/// Fragments that one peer is a backup of.
const BACKUPS_MAX: usize = 64;
/// A survivor goes first.
const BEHIND_US: u64 = 5 * SECOND_US;
/// Nobody came for a backup in all this time.
const FORGOTTEN_US: u64 = 600 * SECOND_US;

/// Of whoever gives a backup: how far it is.
pub struct Backup {
    to: Id,
    after: Option<Cursor>,
    sent_us: u64,
    done: bool,
    tries: usize,
    /// A majority of the group was there, and may have written since.
    majority: bool,
}

impl Groups {
    /// Whether somebody of a group is silent, and it is this member that gives a copy outside.
    pub(super) fn is_to_back_up(&self, env: &Env, fragment: &Fragment) -> bool {
        let here = |id: &Id| self.peer_alive(env, id);
        let members = &fragment.certificate().members;
        let first = members.iter().find(|id| here(id)) == Some(&self.me);
        !members.iter().all(here) && (first || !fragment.quorum(&[], here))
    }

    /// What this member holds is given to the nearest peer outside of the group; once more when the majority that went on
    /// writing is gone.
    pub(super) fn back_up(&mut self, env: &mut Env, name: Name, candidates: &[Id], majority: bool) {
        let now = env.ctx.now.mono;
        let Some(fragment) = self.fragments.get(&name).filter(|held| held.kept.synced) else {
            return;
        };
        let tries = match &fragment.backup {
            Some(backup) => {
                let fresh = backup.done || now.saturating_sub(backup.sent_us) < STALLED_US;
                let fresh = fresh && self.peer_alive(env, &backup.to);
                if fresh && (majority || !backup.majority) {
                    return;
                }
                backup.tries + usize::from(!fresh)
            }
            None => 0,
        };
        let outside: Vec<Id> = candidates.iter().copied().filter(|id| !fragment.certificate().has(id)).collect();
        let near = nearest(&outside, &self.me, ASKED);
        if let Some(to) = near.get(tries % near.len().max(1)) {
            let backup = Backup { to: *to, after: None, sent_us: now, done: false, tries, majority };
            self.send_backup(env, name, backup);
        }
    }

    fn send_backup(&mut self, env: &mut Env, name: Name, backup: Backup) {
        let (to, after) = (backup.to, backup.after.clone());
        let page = env.store.page(&name.region, after, PAGE_BYTES);
        if let Some(fragment) = self.fragments.get_mut(&name) {
            env.ctx.add("group.records_backed_up", page.records.len() as u64);
            fragment.backup = Some(backup);
            env.ctx.send(to, Message::Backup { certificate: Box::new(fragment.certificate().clone()), page });
        }
    }

    pub(super) fn on_backup(&mut self, env: &mut Env, from: Id, certificate: Certificate, page: Page) {
        if !certificate.has(&from) || !certificate.well_formed() {
            env.ctx.count("group.malformed");
            return;
        }
        self.learn(env, &certificate);
        let name = certificate.name;
        if self.tell_superseding(env, from, &certificate) {
            return;
        }
        let backups = self.fragments.values().filter(|held| !held.certificate().has(&self.me)).count();
        let held = self.fragments.get(&name).map(|held| *held.certificate() == certificate && !held.retired());
        // It begins at the beginning, or would be a backup of the end alone.
        let first = page.after.is_none();
        let room = first && env.store.bytes() < env.ctx.config.store_bytes_max && backups < BACKUPS_MAX;
        if certificate.has(&self.me) || held == Some(false) || held.is_none() && (!room || self.leaving) {
            return;
        }
        let limit_us = env.ctx.now.wall.saturating_add(env.ctx.config.clock_skew_max_us);
        let Some(mut batch) = self.set_aside(env, &name.region, &page.records) else {
            return;
        };
        if held.is_none() {
            env.store.track(name);
            self.fragments.insert(name, Fragment::new(Kept::new(certificate), Stage::Member, env.ctx.now.mono));
        }
        let answer = Message::BackedUp { of: name, until: page.until.clone() };
        batch.extend(env.store.apply(&name.region, page, 0, limit_us));
        self.save(env, &name, batch, vec![(from, answer.into())], Step::None);
    }

    pub(super) fn on_backed_up(&mut self, env: &mut Env, from: Id, name: Name, until: Option<Cursor>) {
        let backup = self.fragments.get_mut(&name).and_then(|held| held.backup.as_mut());
        let Some(backup) = backup.filter(|backup| backup.to == from && !backup.done) else {
            return;
        };
        match until {
            None => backup.done = true,
            Some(until) if backup.after.as_ref().is_none_or(|after| *after < until) => {
                let (tries, majority) = (backup.tries, backup.majority);
                let sent_us = env.ctx.now.mono;
                let backup = Backup { to: from, after: Some(until), sent_us, done: false, tries, majority };
                self.send_backup(env, name, backup);
            }
            Some(_) => {}
        }
    }

    /// As the backup of a group: it is dropped when the group is itself again, and goes on when nobody is left.
    pub(super) fn stand_by(&mut self, env: &mut Env, name: Name) {
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        let held_us = env.ctx.now.mono.saturating_sub(fragment.since_us);
        // Who gave it may have noticed sooner that somebody is silent.
        let whole = held_us > env.ctx.config.assumed_lost_us
            && fragment.certificate().members.iter().all(|id| self.peer_alive(env, id));
        let forgotten = held_us > FORGOTTEN_US;
        if whole || forgotten || self.leaving {
            if let Some((_, batch)) = self.forget(env, name) {
                self.persist(env, batch, Vec::new(), Step::None);
            }
            return;
        }
        let silent_us = env.ctx.config.assumed_lost_us + BEHIND_US;
        let certificate = fragment.certificate().clone();
        if certificate.members.iter().all(|id| self.silent_for(env, id, silent_us)) {
            self.begin_anew(env, name.region, certificate);
        } else {
            self.ask_around(env, name);
        }
    }

    /// Holds a fragment no more, nor the records that lie in no other one.
    pub(super) fn forget(&mut self, env: &mut Env, name: Name) -> Option<(Fragment, Batch)> {
        let fragment = self.fragments.remove(&name)?;
        env.store.untrack(&name);
        let held: Vec<_> = self.fragments.keys().map(|name| name.region).collect();
        let mut batch = Batch::new();
        if !name.region.subtract_all(&held).is_empty() {
            batch = env.store.retain(&name.region, &held, u64::MAX);
        }
        batch.push((crate::store::disk::fragment_key(&name), None));
        Some((fragment, batch))
    }
}
