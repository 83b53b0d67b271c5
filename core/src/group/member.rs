//! A member's side of writes, and forgetting what has lapsed.

use super::{
    Env, Groups, Step,
    certificate::{Certificate, Name},
    fragment::Fragment,
    message::Message,
};
use crate::{
    dht,
    id::{Id, Region},
    store::{Batch, Record},
};

/// Records forgotten in one tick at most.
const PURGE_MAX: usize = 256;

impl Groups {
    /// The owner's writes: held, and answered once they are on disk, unless the fragment is frozen.
    pub fn on_replicate(&mut self, env: &mut Env, from: Id, of: Name, serial: u64, records: Vec<Record>) {
        let limit_us = env.ctx.now.wall.saturating_add(env.ctx.config.clock_skew_max_us);
        if !self.takes(&of, &from) {
            let newer = self.newer_than(&of);
            env.ctx.send(from, dht::Message::Frozen { of, newer });
            return;
        }
        if self.waiting.len() > env.ctx.config.owner_ops_max {
            env.ctx.count("group.disk_behind");
            return;
        }
        let lawful = |record: &Record| record.version.wall_us <= limit_us && of.region.contains(&record.id());
        if !records.iter().all(lawful) {
            env.ctx.count("group.absurd_version");
            return;
        }
        let Some(mut batch) = self.set_aside(env, &of.region, &records) else {
            return;
        };
        batch.extend(records.into_iter().filter_map(|record| env.store.merge(record, limit_us)));
        let answer = dht::Message::Replicated { of, serial };
        self.persist(env, batch, vec![(from, answer.into())], Step::None);
    }

    /// Whether this node takes writes of a fragment from a peer: its owner, unless the fragment is frozen.
    pub fn takes(&self, of: &Name, from: &Id) -> bool {
        let open = |fragment: &Fragment| fragment.certificate().owner == *from && !fragment.frozen();
        self.fragments.get(of).is_some_and(open)
    }

    /// Before records of a region are taken in: where a history that is given up is held too, the two share one place, and
    /// losers are set aside. `None`: there is no room, so nothing may be taken in now.
    pub(super) fn set_aside(&self, env: &mut Env, region: &Region, records: &[Record]) -> Option<Batch> {
        let forked = self.fragments.values().filter(|held| held.kept.forked).map(|held| held.name().region);
        let shared: Vec<Region> = forked.filter_map(|forked| forked.intersect(region)).collect();
        if shared.is_empty() {
            return Some(Batch::new());
        }
        let inside = |record: &&Record| shared.iter().any(|region| region.contains(&record.id()));
        let batch = env.store.set_aside(records.iter().filter(inside));
        if batch.is_none() {
            env.ctx.count("group.aside_full");
        }
        batch
    }

    /// A member takes no writes of a fragment: it is superseded, or unknown to it.
    pub fn on_frozen(&mut self, env: &mut Env, from: Id, of: Name, newer: Vec<Certificate>) {
        if newer.is_empty() {
            self.offer_sync(env, of, from);
        } else {
            self.on_message(env, from, Message::Newer { certificates: newer });
        }
    }

    /// The newest certificate known for some of a region.
    pub fn newest_for(&self, region: &Region) -> Option<&Certificate> {
        Certificate::latest(self.about(region).into_iter())
    }

    /// Forgets records that have lapsed. Owners decide: members learn of it by their digests.
    pub fn purge(&mut self, env: &mut Env, may: impl Fn(&(String, Vec<u8>)) -> bool) {
        let lapsed: Vec<(String, Vec<u8>)> = env
            .store
            .lapsed(env.ctx.now.wall)
            .take(PURGE_MAX)
            .map(|(_, record)| (record.namespace.clone(), record.key.clone()))
            .filter(|key| may(key))
            .collect();
        if lapsed.is_empty() {
            return;
        }
        env.ctx.add("store.purged", lapsed.len() as u64);
        let batch = lapsed.iter().filter_map(|(namespace, key)| env.store.remove(namespace, key)).collect();
        self.persist(env, batch, Vec::new(), Step::None);
    }
}
