//! Leases (Gray and Cheriton, SOSP 1989): while a majority grants, the owner may answer.
//!
//! A member that grants helps no other proposer for `lease_us` of its own monotone clock from receipt; the owner
//! counts from when it *sent* what was granted, and a sixteenth less. So the owner stops before anybody may go on
//! without it, as long as clocks run at nearly the same rate. Requests to one member travel as one message.

use super::{
    Env, Groups,
    certificate::Name,
    fragment::{Fragment, Stage},
    message::Message,
};
use crate::{ctx::Now, id::Id, map::Map, store::Digest};

/// Sent renewals whose clocks are remembered.
const SENT_MAX: usize = 32;
/// Leases in one message.
const LEASES_MAX: usize = 1_024;
/// Certificates told in one answer; the rest is told in the next one.
const NEWER_MAX: usize = 32;
/// Differing digests in a row, as far as they are told, after which a member asks to be brought in step.
const DIFFERING_MAX: u32 = 2;
/// A digest that does not change is told in every so many-th renewal.
const DIGEST_EVERY: u32 = 8;

impl Groups {
    /// Notes when a request for leases leaves; gives the stamp to be echoed.
    pub(super) fn stamp(&mut self, now: Now) -> u64 {
        if self.sent.last().is_none_or(|sent| sent.mono != now.mono) {
            self.sent.push(now);
            if self.sent.len() > SENT_MAX {
                self.sent.remove(0);
            }
        }
        now.mono
    }

    /// Asks all members for leases on what this node owns. `quiet` says that no write of a fragment is under way.
    pub(super) fn renew(&mut self, env: &mut Env, quiet: impl Fn(&Name) -> bool, only: Option<Name>) {
        let mut leases: Map<Id, Vec<(u64, Option<u64>)>> = Map::new();
        for (name, fragment) in self.fragments.iter_mut() {
            let owner = fragment.certificate().owner == self.me && !fragment.retired();
            let running = matches!(fragment.stage, Stage::Merging(_) | Stage::Syncing | Stage::Active);
            if !owner || !running || only.is_some_and(|only| only != *name) {
                continue;
            }
            let active = matches!(fragment.stage, Stage::Active) && quiet(name);
            let digest = if active { told(fragment, env.store.digest(name)) } else { None };
            for member in fragment.kept.certificate.members.iter().filter(|member| **member != self.me) {
                let list = leases.entry(*member).or_default();
                if list.len() < LEASES_MAX {
                    list.push((fragment.tag, digest));
                }
            }
        }
        if leases.is_empty() {
            return;
        }
        let sent_us = self.stamp(env.ctx.now);
        for (member, leases) in leases {
            env.ctx.send(member, Message::Renew { sent_us, leases });
        }
    }

    pub(super) fn on_renew(&mut self, env: &mut Env, from: Id, sent_us: u64, leases: Vec<(u64, Option<u64>)>) {
        let mut granted = Vec::new();
        let mut lacking = Vec::new();
        let mut newer = Vec::new();
        for (tag, digest) in leases.into_iter().take(LEASES_MAX) {
            let Some(fragment) = self.fragments.values_mut().find(|fragment| fragment.tag == tag) else {
                // The owner offers to bring this peer in step, by name, and is told what came after if that is known.
                lacking.push(tag);
                continue;
            };
            if fragment.certificate().owner != from {
                newer.push(fragment.certificate().clone());
                continue;
            }
            if fragment.retired() {
                newer.extend(fragment.kept.successors.iter().cloned());
                continue;
            }
            let name = fragment.name();
            if fragment.frozen_by_another(&from) {
                let (ballot, promised) = (super::Ballot { round: 0, proposer: from }, fragment.kept.promised);
                env.ctx.send(from, Message::Refused { of: name, ballot, promised });
                continue;
            }
            fragment.granted_until_us = env.ctx.now.mono.saturating_add(env.ctx.config.lease_us);
            granted.push(tag);
            if !fragment.kept.synced {
                lacking.push(tag);
            } else if let Some(digest) = digest {
                let differs = digest != env.store.digest(&name).word();
                fragment.differing = if differs { fragment.differing + 1 } else { 0 };
                if fragment.differing >= DIFFERING_MAX {
                    fragment.differing = 0;
                    lacking.push(tag);
                }
            }
        }
        newer.truncate(NEWER_MAX);
        if !newer.is_empty() {
            env.ctx.send(from, Message::Newer { certificates: newer });
        }
        if !granted.is_empty() || !lacking.is_empty() {
            env.ctx.send(from, Message::Granted { sent_us, granted, lacking });
        }
    }

    pub(super) fn on_granted(&mut self, env: &mut Env, from: Id, sent_us: u64, granted: Vec<u64>, lacking: Vec<u64>) {
        for name in self.named(&granted) {
            self.grant(name, from, sent_us);
            self.activate_if_ready(env, name);
        }
        for name in self.named(&lacking) {
            self.offer_sync(env, name, from);
        }
    }

    /// The fragments of this owner that go by these tags.
    fn named(&self, tags: &[u64]) -> Vec<Name> {
        let mine = |fragment: &&Fragment| fragment.certificate().owner == self.me;
        let fragments = self.fragments.values().filter(mine);
        fragments.filter(|fragment| tags.contains(&fragment.tag)).map(Fragment::name).collect()
    }

    /// A member granted what was asked at `sent_us`.
    pub(super) fn grant(&mut self, name: Name, from: Id, sent_us: u64) {
        let Some(sent) = self.sent.iter().rev().find(|sent| sent.mono == sent_us).copied() else {
            return;
        };
        if let Some(fragment) = self.fragments.get_mut(&name)
            && fragment.certificate().has(&from)
        {
            let known = fragment.grants.entry(from).or_insert(sent);
            if known.mono < sent.mono {
                *known = sent;
            }
        }
    }
}

/// The digest that members are told in this renewal: while it is new to them, and now and then.
fn told(fragment: &mut Fragment, digest: Digest) -> Option<u64> {
    let (before, times) = &mut fragment.told;
    if *before == digest {
        *times += 1;
    } else {
        (*before, *times) = (digest, 0);
    }
    (*times <= 2 * DIFFERING_MAX || times.is_multiple_of(DIGEST_EVERY)).then(|| digest.word())
}
