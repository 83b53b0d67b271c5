//! When histories that forked meet again.
//!
//! Only giving members up for lost can fork a history, so fragments whose certificates carry that mark are told to a
//! random peer now and then. Everybody prefers the same history ([`super::Certificate::relation`]); holders of the
//! other retire their fragment at once and give its records to the owner of the preferred one, which writes those that
//! are newer than its own: the last writer wins.

use super::{
    Env, Event, Groups,
    certificate::{Certificate, Name},
    fragment::Stage,
    jitter,
    message::{Cursor, Message, Page},
};
use crate::{config::SECOND_US, id::Id};

/// Between two attempts to give a page away.
const DONATE_US: u64 = SECOND_US;
/// Members wait for their owner to do it.
const MEMBERS_WAIT_US: u64 = 10 * SECOND_US;
/// Records of one page, about.
const PAGE_BYTES: usize = 100 * 1_024;

impl Groups {
    /// Tells somebody of the fragments here whose history began with a loss.
    pub(super) fn spread_losses(&mut self, env: &mut Env) {
        let certificates: Vec<Certificate> = self
            .fragments
            .values()
            .filter(|fragment| matches!(fragment.stage, Stage::Active) && !fragment.retired())
            .map(|fragment| fragment.certificate())
            .filter(|certificate| certificate.may_have_rivals())
            .take(16)
            .cloned()
            .collect();
        let peers = env.view.peers();
        if certificates.is_empty() || peers.is_empty() {
            return;
        }
        let index = jitter(env.ctx, peers.len() as u64) as usize;
        if let Some(to) = peers.get(index) {
            env.ctx.send(*to, Message::Newer { certificates });
        }
    }

    /// Gives the next page of a forked fragment to the owner of the preferred history.
    pub(super) fn donate(&mut self, env: &mut Env, name: Name) {
        let now = env.ctx.now.mono;
        let me = self.me;
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        if fragment.remind_us == 0 {
            let waits = fragment.certificate().owner != me && fragment.certificate().has(&me);
            let wait = if waits { MEMBERS_WAIT_US } else { 0 };
            fragment.remind_us = now + wait;
        }
        if fragment.remind_us > now {
            return;
        }
        fragment.remind_us = now + DONATE_US;
        let Some(part) = fragment.kept.retired.as_ref().and_then(|rest| rest.first().copied()) else {
            return;
        };
        let successors = fragment.kept.successors.clone();
        // Those who hold this history's copies learn of the preferred one as this node did.
        for member in fragment.certificate().members.iter().filter(|id| **id != me) {
            env.ctx.send(*member, Message::Newer { certificates: successors.clone() });
        }
        let donated = fragment.donated.clone();
        if self.ticks.is_multiple_of(8) && !env.view.siblings().is_empty() {
            env.ctx.route(part.nearest(&me), Message::Who { region: part });
        }
        let about = |successor: &&Certificate| successor.name.region.intersect(&part).is_some();
        let Some(to) = Certificate::latest(successors.iter().filter(about)) else {
            return;
        };
        let Some(shared) = to.name.region.intersect(&name.region) else {
            return;
        };
        // Another receiver starts from the beginning.
        let after = donated.filter(|(receiver, _)| *receiver == to.name).and_then(|(_, after)| after);
        if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.donated = Some((to.name, after.clone()));
        }
        let page = env.store.page(&shared, after, PAGE_BYTES);
        let (owner, to) = (to.owner, to.name);
        if owner == me {
            self.on_donate(env, me, to, name, page);
        } else {
            env.ctx.send(owner, Message::Donate { to, of: name, page });
        }
    }

    pub(super) fn on_donate(&mut self, env: &mut Env, from: Id, to: Name, of: Name, page: Page) {
        let lease_us = env.ctx.config.lease_us;
        match self.fragments.get(&to) {
            Some(fragment) if fragment.serving(&self.me, env.ctx.now, lease_us) => {
                self.events.push_back(Event::Donated { from, of, to, page });
            }
            Some(fragment) if !fragment.retired() => {}
            _ => {
                self.tell_newer(env, from, &to);
            }
        }
    }

    /// The owner has all of a page.
    pub(super) fn on_donated(&mut self, env: &mut Env, _from: Id, to: Name, of: Name, until: Option<Cursor>) {
        let Some(fragment) = self.fragments.get_mut(&of).filter(|fragment| fragment.kept.forked) else {
            return;
        };
        let Some((_, after)) = fragment.donated.clone().filter(|(receiver, _)| *receiver == to) else {
            return;
        };
        if until.is_some() && after < until {
            fragment.donated = Some((to, until));
            fragment.remind_us = env.ctx.now.mono;
            self.donate(env, of);
        } else if until.is_none() {
            fragment.donated = None;
            fragment.remind_us = env.ctx.now.mono;
            if let Some(rest) = &mut fragment.kept.retired {
                *rest = rest.iter().flat_map(|part| part.subtract(&to.region)).collect();
            }
            self.save(env, &of, Vec::new(), Vec::new(), super::Step::None);
            self.drop_if_done(env, of);
        }
    }

    /// Answers a donor whose page is acknowledged here.
    pub fn thank(&mut self, env: &mut Env, from: Id, of: Name, to: Name, until: Option<Cursor>) {
        if from == self.me {
            self.on_donated(env, from, to, of, until);
        } else {
            env.ctx.send(from, Message::Donated { to, of, until });
        }
    }
}
