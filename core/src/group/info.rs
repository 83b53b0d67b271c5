//! What a debug page is shown of groups.

use super::{Certificate, Groups, fragment::Stage};
use crate::{config::Config, ctx::Now, id::Region, inspect::FragmentInfo, store::Store};

/// A fragment that a node holds, for checkers.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its certificate.
    pub certificate: &'a Certificate,
    /// Whether the next epoch is known here to be decided.
    pub retired: bool,
    /// Whether the node may answer for it.
    pub serving: bool,
}

impl Groups {
    /// Every fragment held.
    pub fn held<'a>(&'a self, now: Now, config: &'a Config) -> impl Iterator<Item = Held<'a>> {
        self.fragments.values().map(move |fragment| Held {
            certificate: fragment.certificate(),
            retired: fragment.retired(),
            serving: fragment.serving(&self.me, now, config.lease_us),
        })
    }

    /// Every fragment held, by region.
    pub fn info(&self, now: Now, config: &Config, store: &Store) -> Vec<FragmentInfo> {
        let info = |fragment: &super::fragment::Fragment| {
            let certificate = fragment.certificate();
            let name = fragment.name();
            let owner = certificate.owner == self.me;
            let state = match &fragment.stage {
                _ if fragment.retired() => "retired",
                Stage::Member if !certificate.has(&self.me) => "backup",
                Stage::Member => "member",
                _ if Groups::changing(fragment) || matches!(fragment.stage, Stage::Restarted) => "changing",
                Stage::Merging(_) => "merging",
                Stage::Syncing => "syncing",
                Stage::Active | Stage::Restarted => "active",
            };
            let lease_us = if owner { fragment.lease_us(&self.me, now, config.lease_us) } else { 0 };
            FragmentInfo {
                region: name.region.to_string(),
                share: name.region.size().share_of(Region::ALL.size()),
                epoch: name.epoch,
                owner: certificate.owner,
                members: certificate.members.clone(),
                in_step: fragment.kept.synced,
                state,
                assumed_lost: certificate.assumed_lost,
                lease_ms: lease_us / 1_000,
                records: store.digest(&name).count as usize,
            }
        };
        self.fragments.values().map(info).collect()
    }
}
