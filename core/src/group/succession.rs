//! How certificates follow one another at one node: learning, taking up, retiring, dropping.
//!
//! A node acts on a certificate whoever brings it: that it exists proves that it is decided. What an earlier epoch
//! holds is kept until a later one is known to have all of it. Of what it held once a node remembers, on disk, what came
//! after: a member that took up an epoch again without what it had promised could help to decide over it twice.

use chacha20::rand_core::Rng as _;

use super::{
    CLOSED_MAX, Env, Event, Groups, SUCCESSORS_MAX, Step,
    certificate::{Certificate, Name, Relation, Source},
    fragment::{Fragment, Kept, Stage},
    message::{Message, Page},
};
use crate::{
    id::{Id, Region},
    store::{Batch, disk},
    wire::Body,
};

impl Groups {
    /// The first peer of a network is a group of one.
    pub(super) fn found(&mut self, env: &mut Env) {
        let certificate = Certificate::founding(self.me, env.ctx.rng.next_u64());
        env.ctx.count("group.founded");
        self.learn(env, &certificate);
    }

    /// Somebody names decided certificates; who waits for one that is active here is told so, and who is behind is
    /// told what is known.
    pub(super) fn on_newer(&mut self, env: &mut Env, from: Id, certificates: Vec<Certificate>) {
        for certificate in certificates.into_iter().take(SUCCESSORS_MAX) {
            self.learn(env, &certificate);
            let mut told = false;
            for fragment in self.fragments.values().filter(|fragment| !fragment.retired()) {
                let held = fragment.certificate();
                if held.name.region.intersect(&certificate.name.region).is_none() {
                    continue;
                }
                let relation = held.relation(&certificate);
                let later = matches!(relation, Relation::Same | Relation::Newer);
                if later && matches!(fragment.stage, Stage::Active) {
                    told = true;
                    env.ctx.send(from, Message::Active { certificate: held.clone() });
                }
            }
            if !told {
                self.tell_superseding(env, from, &certificate);
            }
        }
    }

    /// Tells a peer the certificates known that `certificate` gives way to, if there are.
    pub(super) fn tell_superseding(&self, env: &mut Env, to: Id, certificate: &Certificate) -> bool {
        let later = |known: &&Certificate| matches!(known.relation(certificate), Relation::Newer | Relation::Preferred);
        let about = self.about(&certificate.name.region).into_iter();
        let certificates: Vec<Certificate> = about.filter(later).take(SUCCESSORS_MAX).cloned().collect();
        let known = !certificates.is_empty();
        if known && to != self.me {
            env.ctx.send(to, Message::Newer { certificates });
        }
        known
    }

    /// Tells a peer what is known to come after `name`, if anything.
    pub(super) fn tell_newer(&mut self, env: &mut Env, to: Id, name: &Name) -> bool {
        let certificates = self.newer_than(name);
        let known = !certificates.is_empty();
        if known && to != self.me {
            env.ctx.send(to, Message::Newer { certificates });
        }
        known
    }

    /// A certificate is decided: older fragments of its region retire, and this node takes up its part in it.
    pub fn learn(&mut self, env: &mut Env, certificate: &Certificate) {
        if !certificate.well_formed() {
            env.ctx.count("group.malformed");
            return;
        }
        self.established = true;
        let name = certificate.name;
        let overlapping = |other: &&Certificate| other.name.region.intersect(&name.region).is_some();
        let mut newer = false;
        for other in self.about(&name.region) {
            match certificate.relation(other) {
                // A history that is given up is learnt of by those alone who are in it.
                Relation::Inferior => {
                    env.ctx.count("group.inferior");
                    return;
                }
                Relation::Older => newer = true,
                Relation::Same | Relation::Newer | Relation::Preferred => {}
            }
        }
        let older: Vec<(Name, bool)> = self
            .fragments
            .values()
            .map(Fragment::certificate)
            .filter(overlapping)
            .filter_map(|held| match certificate.relation(held) {
                Relation::Newer => {
                    // Given up for lost, or gone before: what was acknowledged then may have been lost on others.
                    let left_behind = held.lineage.last() != certificate.lineage.last()
                        && (certificate.lost.contains(&self.me)
                            || !held.has(&self.me) && certificate.owner != self.me
                            || !certificate.sources.iter().any(|source| source.is(&held.name)));
                    Some((held.name, left_behind))
                }
                Relation::Preferred => Some((held.name, true)),
                Relation::Same | Relation::Older | Relation::Inferior => None,
            })
            .collect();
        for (held, forked) in &older {
            self.retire(env, held, certificate, *forked);
        }
        self.known.remember(certificate);
        if certificate.has(&self.me) && !newer && !self.fragments.contains_key(&name) {
            self.adopt(env, certificate);
        }
        for (held, _) in older {
            self.drop_if_done(env, held);
        }
        self.settle_unions(env);
    }

    /// The fragment `held` has a successor, of its own history or (`forked`) of a preferred one.
    pub(super) fn retire(&mut self, env: &mut Env, held: &Name, successor: &Certificate, forked: bool) {
        let Some(fragment) = self.fragments.get_mut(held) else {
            return;
        };
        let mut news = false;
        if fragment.kept.retired.is_none() {
            news = true;
            fragment.kept.retired = Some(vec![held.region]);
            fragment.proposal = None;
            fragment.pushes.clear();
            fragment.remind_us = if forked { 0 } else { env.ctx.now.mono + 2_000_000 };
            self.events.push_back(Event::Retired(*held));
        }
        if forked && !fragment.kept.forked {
            news = true;
            fragment.kept.forked = true;
            env.ctx.count("group.forked");
            env.ctx.trace("group", "forked", Some(successor.owner), || format!("{} epoch {}", held.region, held.epoch));
        }
        let covers = |later: &Certificate, other: &Certificate| {
            later.name.region.covers(&other.name.region)
                && (later == other || matches!(later.relation(other), Relation::Newer | Relation::Preferred))
        };
        let successors = &mut fragment.kept.successors;
        if !successors.iter().any(|known| covers(known, successor)) {
            successors.retain(|known| !covers(successor, known));
            if successors.len() < SUCCESSORS_MAX {
                news = true;
                successors.push(successor.clone());
            }
        }
        // An epoch that does not want this one's records follows one that had them and was active.
        let spent = !fragment.kept.forked && !successor.sources.iter().any(|source| source.is(held));
        if spent && let Some(rest) = &mut fragment.kept.retired {
            let left: Vec<Region> = rest.iter().flat_map(|part| part.subtract(&successor.name.region)).collect();
            news |= left != *rest;
            *rest = left;
        }
        if news {
            self.save(env, held, Vec::new(), Vec::new(), Step::None);
        }
    }

    /// Writes a fragment's state, after `batch` and in one step with it.
    pub(super) fn save(&mut self, env: &mut Env, name: &Name, mut batch: Batch, sends: Vec<(Id, Body)>, step: Step) {
        if let Some(fragment) = self.fragments.get(name) {
            let key = disk::fragment_key(name);
            let value = disk::seal(&key, &fragment.kept);
            batch.push((key, Some(value)));
            self.persist(env, batch, sends, step);
        }
    }

    /// Takes up this node's part in a decided certificate.
    pub(super) fn adopt(&mut self, env: &mut Env, certificate: &Certificate) {
        let name = certificate.name;
        env.ctx
            .trace("group", "certificate", Some(certificate.owner), || format!("{} epoch {}", name.region, name.epoch));
        let batch = self.clear(env, certificate);
        env.store.track(name);
        self.fragments.insert(name, Fragment::new(Kept::new(certificate.clone()), Stage::Member, env.ctx.now.mono));
        self.save(env, &name, batch, Vec::new(), Step::None);
        if certificate.owner == self.me {
            self.inherit_archives(env, certificate);
            self.begin_merge(env, name);
        } else if env.ctx.config.archive {
            env.ctx.send(certificate.owner, Message::Enlist);
        }
    }

    /// Before an epoch is taken up: what is here of its region for an epoch that came before its sources may be removed
    /// since, and those who merge would not be told of that, so it goes. Of a history that is given up all stays that is
    /// younger than a tombstone.
    fn clear(&self, env: &mut Env, certificate: &Certificate) -> Batch {
        if self.damaged {
            return Batch::new();
        }
        let region = certificate.name.region;
        let regions = |of: &dyn Fn(&Fragment) -> bool| -> Vec<Region> {
            self.fragments.values().filter(|held| of(held)).map(|held| held.name().region).collect()
        };
        let mine = |source: &Source| source.members.contains(&self.me);
        let forked = regions(&|held| held.kept.forked);
        let before_us = self.cleared_before_us(env, certificate);
        let whole = |held: &Fragment| held.kept.synced || before_us == u64::MAX;
        let source = |held: &Fragment| certificate.sources.iter().any(|source| source.is(&held.name()));
        let mut kept = regions(&|held| source(held) && whole(held));
        let mut batch = Batch::new();
        if !forked.is_empty() && !certificate.sources.iter().any(mine) {
            let oldest = env.ctx.now.wall.saturating_sub(env.ctx.config.tombstone_us);
            batch = env.store.set_aside_old(&region, &kept, &Page::default(), oldest);
        }
        kept.extend(forked);
        if before_us > 0 {
            batch.extend(env.store.retain(&region, &kept, before_us));
        }
        batch
    }

    /// An epoch is active: what earlier ones keep of its region may go.
    pub(super) fn on_active(&mut self, env: &mut Env, certificate: Certificate) {
        self.learn(env, &certificate);
        let name = certificate.name;
        if let Some(fragment) = self.fragments.get_mut(&name)
            && *fragment.certificate() == certificate
            && !fragment.kept.active
        {
            fragment.kept.active = true;
            if matches!(fragment.stage, Stage::Merging(_) | Stage::Syncing) {
                // It was this owner that activated it: its disk is another one since, and the members know more.
                env.ctx.count("group.forgotten");
                fragment.stage = Stage::Restarted;
                fragment.kept.synced = false;
            }
            self.save(env, &name, Vec::new(), Vec::new(), Step::None);
        }
        let older: Vec<Name> = self
            .fragments
            .values()
            .filter(|held| held.retired() && !held.kept.forked && held.name().region.intersect(&name.region).is_some())
            .filter(|held| certificate.relation(held.certificate()) == Relation::Newer)
            .map(Fragment::name)
            .collect();
        for held in older {
            if let Some(rest) = self.fragments.get_mut(&held).and_then(|fragment| fragment.kept.retired.as_mut()) {
                *rest = rest.iter().flat_map(|part| part.subtract(&name.region)).collect();
                self.drop_if_done(env, held);
            }
        }
    }

    /// Forgets a retired fragment that nobody wants any more, and the records that lie in no other one.
    pub(super) fn drop_if_done(&mut self, env: &mut Env, name: Name) {
        let done = |fragment: &Fragment| fragment.kept.retired.as_ref().is_some_and(Vec::is_empty);
        if !self.fragments.get(&name).is_some_and(done) || self.is_last_copy(env, &name) {
            return;
        }
        let Some((fragment, mut batch)) = self.forget(env, name) else {
            return;
        };
        self.close(&name.region, fragment.kept.successors, &mut batch);
        self.persist(env, batch, Vec::new(), Step::None);
        env.ctx.trace("group", "dropped", None, || format!("{} epoch {}", name.region, name.epoch));
    }

    /// Remembers what came after a region that was held; the oldest are forgotten when there are too many.
    fn close(&mut self, region: &Region, successors: Vec<Certificate>, batch: &mut Batch) {
        let key = disk::closed_key(region);
        let value = disk::seal(&key, &(region, &successors));
        batch.push((key, Some(value)));
        self.closed.insert(*region, successors);
        self.closed_order.retain(|other| other != region);
        self.closed_order.push(*region);
        if self.closed.len() > CLOSED_MAX {
            let oldest = self.closed_order.remove(0);
            self.closed.remove(&oldest);
            batch.push((disk::closed_key(&oldest), None));
        }
    }
}
