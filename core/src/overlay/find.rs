//! Finding peers: this node's own place, and somebody for each slot that is not known.
//!
//! A node asks for its own place often while its siblings change, and ever more rarely while they do not, as Trickle's
//! timer does (Levis et al., NSDI 2004, section 4.1).

use chacha20::rand_core::Rng as _;

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    map::{Map, Set},
    overlay::{Message, Overlay},
    wire::{Body, Contact, Frame},
};

/// A question is asked again after so long,
const FIND_US: u64 = 2 * SECOND_US;
/// and its answer taken for so much longer: over a slow link none comes sooner.
const LATE_US: u64 = 8 * SECOND_US;
const FIND_OWN_MIN_US: u64 = 2 * SECOND_US;
const FIND_OWN_MAX_US: u64 = 16 * SECOND_US;
const FINDS_MAX: usize = 4;
/// Between two questions about a slot in which somebody was found.
const AGAIN_US: u64 = 10 * SECOND_US;

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub struct Finds {
    waiting: Map<u64, Find>,
    /// Slots that were answered for: not asked for again before.
    answered: Map<u32, u64>,
    own_due_us: u64,
    own_wait_us: u64,
    /// The siblings when it was answered last.
    own_siblings: Vec<Id>,
    pub own_answered: bool,
    pub linked_us: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Find {
    slot: Option<u32>,
    until_us: u64,
}

impl Overlay {
    /// There is another way in: others may be found over it who were not.
    pub(super) fn find_anew(&mut self, now: u64) {
        self.finds.own_wait_us = 0;
        self.finds.own_due_us = now;
    }

    /// Asks for this node's own place and for the slots that are not known.
    pub(super) fn ask_around(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        self.finds.waiting.retain(|_, find| now < find.until_us + LATE_US);
        if self.peers.is_empty() {
            self.finds.linked_us = None;
            return;
        }
        self.finds.linked_us.get_or_insert(now);
        let own_waiting = self.finds.waiting.values().any(|find| find.slot.is_none() && now < find.until_us);
        if now >= self.finds.own_due_us && !own_waiting {
            // Who is nearest to this node does not know all who are near: every other time, by lot, it is a sibling's place
            // that is looked at.
            let draw = ctx.rng.next_u64();
            let theirs = self.finds.own_answered && draw.is_multiple_of(2);
            let sibling = self.siblings.get((draw / 2 % self.siblings.len().max(1) as u64) as usize);
            let place = sibling.filter(|_| theirs).copied().unwrap_or(self.me);
            self.ask(ctx, place, None);
        }
        let mut waiting: Vec<Option<u32>> =
            self.finds.waiting.values().filter(|find| now < find.until_us).map(|find| find.slot).collect();
        if !self.finds.own_answered || waiting.len() >= FINDS_MAX {
            return;
        }
        self.finds.answered.retain(|_, until| now < *until);
        let unknown = self.unknown_slots(ctx.config.siblings);
        if unknown.is_empty() {
            return;
        }
        // Who was told of is tried first.
        let tried = self.contacts.iter().filter(|(_, known)| known.failures == 0 && now >= known.retry_us);
        let known: Set<u32> = tried.map(|(id, _)| self.slot_of(id)).collect();
        for slot in unknown {
            if waiting.len() >= FINDS_MAX {
                break;
            }
            if known.contains(&slot) || self.finds.answered.contains_key(&slot) || waiting.contains(&Some(slot)) {
                continue;
            }
            waiting.push(Some(slot));
            let mut random = Id::ZERO;
            ctx.rng.fill_bytes(&mut random.0);
            let target = self.slot_region(slot).nearest(&random);
            self.ask(ctx, target, Some(slot));
        }
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, target: Id, slot: Option<u32>) {
        let first = self.next_hop(&target, &self.me, &[]).or_else(|| {
            let live: Vec<Id> = self.live().map(|(id, _)| *id).collect();
            // Drawn before it is narrowed: a 32-bit platform must draw the same.
            let pick = (ctx.rng.next_u64() % live.len().max(1) as u64) as usize;
            live.get(pick).copied()
        });
        let Some(first) = first else { return };
        let number = ctx.serial();
        self.finds.waiting.insert(number, Find { slot, until_us: ctx.now.mono + FIND_US });
        let message = Message::Find { target, number, asker: self.contact(ctx) };
        self.send_frame(ctx, &first, &Frame::Direct(Body::Overlay(message)));
    }

    pub(super) fn find(&mut self, ctx: &mut Ctx<'_>, target: Id, number: u64, asker: Contact) {
        if let Some(next) = self.next_hop(&target, &asker.id, &[]) {
            let message = Message::Find { target, number, asker };
            self.send_frame(ctx, &next, &Frame::Direct(Body::Overlay(message)));
            return;
        }
        let contacts = self.contacts_near(ctx, &target, ctx.config.siblings, &asker.id);
        let responder = self.contact(ctx);
        let found = Message::Found { number, responder, contacts };
        let relayed = asker.relay.is_some_and(|relay| relay != self.me && self.usable(&relay));
        if relayed && self.direct(&asker.id).is_some() {
            // It may have begun anew, and that link be one of its former life: it is reached where it says it is.
            self.route_past_link(ctx, asker, found.into());
        } else {
            ctx.send_via(asker.id, asker.relay, found);
        }
    }

    pub(super) fn found(&mut self, ctx: &mut Ctx<'_>, number: u64, responder: Contact, contacts: Vec<Contact>) {
        let Some(find) = self.finds.waiting.remove(&number) else { return };
        let ids: Vec<Id> = contacts.iter().map(|contact| contact.id).chain([responder.id]).collect();
        self.heard_of(ctx, responder);
        self.told_of(ctx, responder.id, contacts);
        match find.slot {
            None => {
                self.finds.own_answered = true;
                let steady = self.finds.own_siblings == self.siblings;
                let wait = if steady { 2 * self.finds.own_wait_us } else { FIND_OWN_MIN_US };
                self.finds.own_wait_us = wait.clamp(FIND_OWN_MIN_US, FIND_OWN_MAX_US);
                self.finds.own_siblings.clone_from(&self.siblings);
                self.finds.own_due_us = ctx.now.mono + self.finds.own_wait_us;
            }
            Some(slot) if !ids.iter().any(|id| self.slot_of(id) == slot) => {
                self.empty_slots.insert(slot, ctx.now.mono);
                // Certificates may say that somebody is there all the same: it is not asked for again at once.
                self.finds.answered.insert(slot, ctx.now.mono + FIND_US);
            }
            Some(slot) => {
                self.finds.answered.insert(slot, ctx.now.mono + AGAIN_US);
            }
        }
        self.progress(ctx);
    }
}
