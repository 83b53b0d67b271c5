//! Leases (Gray and Cheriton, SOSP 1989): while a majority grants, the owner may answer.
//!
//! A member that grants helps no other proposer for `lease_us` of its own monotone clock from receipt; the owner
//! counts from when it *sent* what was granted, and a sixteenth less. So the owner stops before anybody may go on
//! without it, as long as clocks run at nearly the same rate. Requests to one member travel as one message.

use super::{Env, Groups, certificate::Name, fragment::Stage, message::Message};
use crate::{ctx::Now, id::Id, map::Map, store::Digest};

/// Sent renewals whose clocks are remembered.
const SENT_MAX: usize = 32;
/// Leases in one message.
const LEASES_MAX: usize = 1_024;
/// Certificates told in one answer; the rest is told in the next one.
const NEWER_MAX: usize = 32;
/// Differing digests in a row after which a member asks to be brought in step.
const DIFFERING_MAX: u32 = 2;

impl Groups {
    /// Notes when a request for leases leaves; gives the stamp to be echoed.
    pub(super) fn stamp(&mut self, now: Now) -> u64 {
        if self.sent.back().is_none_or(|sent| sent.mono != now.mono) {
            self.sent.push_back(now);
            if self.sent.len() > SENT_MAX {
                self.sent.pop_front();
            }
        }
        now.mono
    }

    /// Asks all members for leases on what this node owns. `quiet` says that no write of a fragment is under way.
    pub(super) fn renew(&mut self, env: &mut Env, quiet: impl Fn(&Name) -> bool, only: Option<Name>) {
        let mut leases: Map<Id, Vec<(Name, Option<Digest>)>> = Map::new();
        for (name, fragment) in &self.fragments {
            let owner = fragment.certificate().owner == self.me && !fragment.retired();
            let running = matches!(fragment.stage, Stage::Merging(_) | Stage::Syncing | Stage::Active);
            if !owner || !running || only.is_some_and(|only| only != *name) {
                continue;
            }
            let active = matches!(fragment.stage, Stage::Active) && quiet(name);
            let digest = active.then(|| env.store.digest(name));
            for member in fragment.certificate().members.iter().filter(|member| **member != self.me) {
                let list = leases.entry(*member).or_default();
                if list.len() < LEASES_MAX {
                    list.push((*name, digest));
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

    pub(super) fn on_renew(&mut self, env: &mut Env, from: Id, sent_us: u64, leases: Vec<(Name, Option<Digest>)>) {
        let mut granted = Vec::new();
        let mut lacking = Vec::new();
        let mut newer = Vec::new();
        for (name, digest) in leases.into_iter().take(LEASES_MAX) {
            let Some(fragment) = self.fragments.get_mut(&name) else {
                let known = self.newer_than(&name);
                if known.is_empty() {
                    lacking.push(name);
                }
                newer.extend(known);
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
            if fragment.frozen_by_another(&from) {
                let (ballot, promised) = (super::Ballot { round: 0, proposer: from }, fragment.kept.promised);
                env.ctx.send(from, Message::Refused { of: name, ballot, promised });
                continue;
            }
            fragment.granted_until_us = env.ctx.now.mono.saturating_add(env.ctx.config.lease_us);
            granted.push(name);
            if !fragment.kept.synced {
                lacking.push(name);
            } else if digest.is_some_and(|digest| digest != env.store.digest(&name)) {
                fragment.differing += 1;
                if fragment.differing >= DIFFERING_MAX {
                    fragment.differing = 0;
                    lacking.push(name);
                }
            } else {
                fragment.differing = 0;
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

    pub(super) fn on_granted(&mut self, env: &mut Env, from: Id, sent_us: u64, granted: Vec<Name>, lacking: Vec<Name>) {
        for name in granted.into_iter().take(LEASES_MAX) {
            self.grant(name, from, sent_us);
            self.activate_if_ready(env, name);
        }
        for name in lacking.into_iter().take(LEASES_MAX) {
            self.offer_sync(env, name, from);
        }
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
