//! Which links are opened, replaced by direct ones, and closed.
//!
//! Wanted are the siblings and one link into each slot; up to `links_opened_max` more links go where there are fewest.
//! Beyond that number only links that are more than that to one of the ends are opened and accepted: see [`Want`].

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::{Id, nearest},
    map::Set,
    node::Origin,
    overlay::{
        Overlay, Peer,
        frame::{Refusal, Want},
        table::SLOTS,
    },
    wire::Contact,
};

/// Between two looks for links to open,
const OPEN_US: u64 = SECOND_US;
/// or so long where there was nobody to open one to, and nobody new was heard of.
const OPEN_REST_US: u64 = 4 * SECOND_US;
const OPENS_A_TICK: usize = 4;
/// Between two links that nobody needs: while many join, the first ones found are soon too many.
const SPARE_US: u64 = SECOND_US;
/// Links fewer than the most that there may be, so that newcomers find room.
const ROOM_KEPT: usize = 8;
const PRUNES_A_TICK: usize = 4;
/// A link that was given up is closed by this node after so long, if the other side has not done so.
const CLOSING_US: u64 = 2 * SECOND_US;
const UPGRADES_A_TICK: usize = 4;
const CONTACT_FAILURES_MAX: u32 = 3;
/// A peer that had no room is not asked again for so long,
pub(super) const FULL_US: u64 = 30 * SECOND_US;
/// or for so long where the link is wanted.
const FULL_WANTED_US: u64 = 2 * SECOND_US;
/// A peer that no way leads to is not tried again for so long.
const NO_WAY_US: u64 = 5 * SECOND_US;
/// Answers from one peer within this time earn it a link of its own.
const USED_US: u64 = 60 * SECOND_US;
/// Peers whose answers are counted.
const ANSWERS_MAX: usize = 64;

/// A peer that a link may be opened to: the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    far: bool,
    unused: bool,
    /// Links into its slot.
    count: u8,
    slot: u32,
    failures: u32,
    /// It is known to have no room for comfort.
    full: bool,
    draw: u32,
    id: Id,
}

impl Overlay {
    /// How many links there are in each slot, to peers that have room for them.
    fn slot_counts(&self) -> [u8; SLOTS] {
        let mut counts = [0_u8; SLOTS];
        for (id, _) in self.peers.iter().filter(|(_, peer)| peer.closing_us.is_none() && !peer.crowded) {
            if let Some(count) = counts.get_mut(self.slot_of(id) as usize) {
                *count = count.saturating_add(1);
            }
        }
        counts
    }

    /// Opens links to the nearest peers heard of, and to those that fill a slot.
    pub(super) fn open_wanted(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        if now < self.open_due_us {
            return;
        }
        self.open_due_us = now + OPEN_US;
        let heard_of: Vec<Id> = self.contacts.keys().chain(self.peers.keys()).copied().collect();
        let siblings = nearest(&heard_of, &self.me, ctx.config.siblings);
        let farthest = siblings.last().map(|id| id.distance(&self.me));
        let mut counts = self.slot_counts();
        let mut links = self.peers.len();
        for id in self.opening() {
            links += 1;
            if let Some(count) = counts.get_mut(self.slot_of(&id) as usize) {
                *count = count.saturating_add(1);
            }
        }
        let few = links < ctx.config.links_opened_max && now >= self.spare_due_us;
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut waiting = false;
        for (id, known) in self.contacts.iter() {
            if now < known.retry_us || self.peers.contains_key(id) {
                waiting |= now < known.retry_us;
                continue;
            }
            let slot = self.slot_of(id);
            let count = counts.get(slot as usize).copied().unwrap_or(0);
            let near = farthest.is_some_and(|farthest| id.distance(&self.me) <= farthest);
            let used = now < known.used_until_us;
            // A hole in this node's routing is filled even beyond the links that a node opens for comfort.
            let wanted = near || used;
            let full = now < known.full_until_us;
            if wanted || count == 0 || few && !full {
                // Not everybody the same one.
                let failures = known.failures;
                let draw = id.head().wrapping_mul(self.me.head() | 1);
                candidates.push(Candidate { far: !near, unused: !used, count, slot, failures, full, draw, id: *id });
            }
        }
        waiting |= links < ctx.config.links_opened_max && now < self.spare_due_us;
        if candidates.is_empty() && !waiting {
            self.open_due_us = now + OPEN_REST_US;
        }
        let mut opened = 0;
        while opened < OPENS_A_TICK {
            let may = |it: &Candidate| {
                let room = !it.full && links < ctx.config.links_opened_max && now >= self.spare_due_us;
                !it.far || !it.unused || it.count == 0 || room
            };
            let best = candidates.iter().enumerate().filter(|(_, it)| may(it)).min_by_key(|(_, it)| **it);
            let Some((at, best)) = best.map(|(at, best)| (at, *best)) else { break };
            candidates.swap_remove(at);
            let spare = best.far && best.unused && best.count > 0;
            if self.open(ctx, best.id) {
                links += 1;
                opened += 1;
                if spare {
                    self.spare_due_us = now + SPARE_US;
                }
                let same_slot = |it: &&mut Candidate| it.slot == best.slot;
                candidates.iter_mut().filter(same_slot).for_each(|it| it.count = it.count.saturating_add(1));
            }
        }
        if opened >= OPENS_A_TICK {
            self.open_due_us = now;
        }
    }

    /// Peers that a link is being opened to.
    fn opening(&self) -> Set<Id> {
        let relayed = self.relayed.iter().filter(|(_, channel)| channel.peer.is_none()).map(|(id, _)| *id);
        let sessions = self.sessions.values().filter(|session| !session.open).map(|session| session.peer);
        relayed.chain(sessions).filter(|id| !self.peers.contains_key(id)).collect()
    }

    /// Tries to link to a peer heard of: over a relay if there is one, else by WebRTC at once.
    fn open(&mut self, ctx: &mut Ctx<'_>, id: Id) -> bool {
        let Some(known) = self.contacts.get(&id) else { return false };
        if ctx.now.mono < known.retry_us || self.relayed.contains_key(&id) || self.session_with(&id).is_some() {
            return false;
        }
        if !self.room_for(ctx, &id, Want::Spare) {
            return false;
        }
        let told = known.contact.relay.filter(|relay| self.usable_relay(ctx, relay));
        let home = |(id, peer): &(&Id, &Peer)| peer.supernode && self.usable_relay(ctx, id);
        let home = || self.peers.iter().find(home).map(|(id, _)| *id);
        let relay = told.or_else(|| self.relay_to(ctx, &id)).or_else(home);
        if let Some(via) = relay.filter(|via| *via != id) {
            self.open_relayed(ctx, id, via);
            return true;
        }
        if !self.live().any(|(_, peer)| peer.heard_lately(ctx.config, ctx.now.mono)) {
            // Nobody would hear of a session, and it would hold up the link that there may be as soon as somebody does.
            return false;
        }
        if self.may_open_rtc(ctx) && !known.contact.supernode {
            let via = known.contact.relay;
            self.open_rtc(ctx, id, via);
            return true;
        }
        // No way there is known: others are looked for meanwhile.
        if let Some(known) = self.contacts.get_mut(&id) {
            known.retry_us = ctx.now.mono + NO_WAY_US;
        }
        false
    }

    /// A directly linked peer that says that it is linked to `id`.
    fn relay_to(&self, ctx: &Ctx<'_>, id: &Id) -> Option<Id> {
        let head = id.head();
        let linked = |(id, peer): &(&Id, &Peer)| peer.ahead.contains(&head) && self.usable_relay(ctx, id);
        self.live().find(linked).map(|(id, _)| *id)
    }

    /// What a link to a peer is to this node.
    pub(super) fn want(&self, ctx: &Ctx<'_>, id: &Id) -> Want {
        let slot = self.slot_of(id);
        let beside = |other: &&Id| *other != id && self.slot_of(other) == slot;
        let only = !self.peers.iter().any(|(other, peer)| !peer.crowded && beside(&other));
        if self.nearer_than_siblings(ctx, id) || only && !self.contacts.keys().any(|other| beside(&other)) {
            Want::Sibling
        } else if only || self.contacts.get(id).is_some_and(|known| ctx.now.mono < known.used_until_us) {
            Want::Slot
        } else {
            Want::Spare
        }
    }

    /// A peer answered over other peers: one that does so again is worth a link of its own, so that what this node asks
    /// for again goes there in one hop.
    pub(super) fn answered_by(&mut self, ctx: &mut Ctx<'_>, from: Contact) {
        let now = ctx.now.mono;
        if from.supernode || ctx.config.supernode || self.peers.contains_key(&from.id) {
            return;
        }
        if self.answers.len() >= ANSWERS_MAX && !self.answers.contains_key(&from.id) {
            let oldest = self.answers.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id);
            oldest.map(|oldest| self.answers.remove(&oldest));
        }
        if self.answers.insert(from.id, now).is_some_and(|before| now < before + USED_US) {
            self.note(ctx, from, true);
            if let Some(known) = self.contacts.get_mut(&from.id) {
                known.used_until_us = now + USED_US;
            }
            self.open_due_us = now;
            self.open_wanted(ctx);
        }
    }

    /// Something of this node goes to a linked peer: a link that was earned is kept while it is used.
    pub(super) fn used(&mut self, ctx: &Ctx<'_>, to: &Id) {
        if self.answers.contains_key(to)
            && let Some(peer) = self.peers.get_mut(to)
        {
            peer.used_us = ctx.now.mono;
        }
    }

    /// A peer heard of could not be linked.
    pub(super) fn contact_failed(&mut self, ctx: &mut Ctx<'_>, id: Id) {
        let Some(known) = self.contacts.get_mut(&id) else { return };
        known.failures += 1;
        known.retry_us = ctx.now.mono + (SECOND_US << known.failures.min(5));
        if known.failures >= CONTACT_FAILURES_MAX && !self.peers.contains_key(&id) {
            self.contacts.remove(&id);
            self.mark_dead(ctx, id, 10 * SECOND_US);
        }
    }

    /// A peer heard of said why it is not to be linked.
    pub(super) fn contact_refused(&mut self, ctx: &mut Ctx<'_>, id: Id, refusal: Refusal) {
        match self.contacts.get_mut(&id) {
            Some(known) if refusal == Refusal::Full => {
                known.retry_us = ctx.now.mono + FULL_WANTED_US;
                known.full_until_us = ctx.now.mono + FULL_US;
            }
            _ => self.contact_failed(ctx, id),
        }
    }

    /// Replaces relayed links by direct ones. The smaller id begins; the other follows when nothing happens.
    pub(super) fn upgrade(&mut self, ctx: &mut Ctx<'_>) {
        if !self.may_open_rtc(ctx) {
            return;
        }
        let now = ctx.now.mono;
        let wanted = |(id, peer): &(&Id, &Peer)| {
            let turn = self.me < **id || now > peer.since_us + 10 * SECOND_US;
            let leaves = || ctx.config.leave_sockets && self.may_leave(ctx, peer);
            let better = if peer.direct.is_none() { turn } else { leaves() };
            better && peer.direct_links && now >= peer.upgrade_due_us
        };
        let due: Vec<Id> =
            self.live().filter(wanted).map(|(id, _)| *id).filter(|id| self.session_with(id).is_none()).collect();
        for id in due.into_iter().take(UPGRADES_A_TICK) {
            if self.may_open_rtc(ctx) {
                self.open_rtc(ctx, id, None);
            }
        }
    }

    /// Whether the channel to a peer is one that this node dialled, and may be left.
    fn may_leave(&self, ctx: &Ctx<'_>, peer: &Peer) -> bool {
        let channel = peer.direct.and_then(|link| self.channels.get(&link));
        match channel.and_then(|channel| channel.origin.as_ref()) {
            Some(Origin::Dialled { address }) => {
                self.dials.get(address).is_none_or(|dial| dial.may_leave(ctx.now.mono))
            }
            _ => false,
        }
    }

    /// Closes links that neither side counts among its siblings, and that fill no slot of the other side, while room
    /// for newcomers is short. Nothing is lost: the other side hears of it in order, and closes the link when it has
    /// said all.
    pub(super) fn prune(&mut self, ctx: &mut Ctx<'_>) {
        let keep = ctx.config.links_max.saturating_sub(ROOM_KEPT);
        if ctx.config.supernode || self.peers.len() <= keep {
            return;
        }
        let peers = self.peers.values().filter(|peer| !peer.supernode && peer.closing_us.is_none()).count();
        if peers <= keep {
            return;
        }
        let mut counts = self.slot_counts();
        let mut gone = 0;
        while gone < (peers - keep).min(PRUNES_A_TICK) && self.let_go(ctx, &mut counts, false) {
            gone += 1;
        }
        if gone == 0 && self.peers.len() >= ctx.config.links_max + ctx.config.siblings {
            // A sibling would find no room: who needs a link for a slot only finds somebody else.
            self.let_go(ctx, &mut counts, true);
        }
    }

    /// Closes one link that this node can do without, if there is one: one that the other side can do without as well, or
    /// at least that is neither's sibling if it `must`.
    fn let_go(&mut self, ctx: &mut Ctx<'_>, counts: &mut [u8; SLOTS], must: bool) -> bool {
        let now = ctx.now.mono;
        let spare = self.peers.iter().filter_map(|(id, peer)| {
            let count = counts.get(self.slot_of(id) as usize).copied().unwrap_or(0);
            let kept = peer.supernode
                || peer.closing_us.is_some()
                || peer.wants_us
                || count <= u8::from(!peer.crowded)
                || now < peer.since_us + 10 * SECOND_US
                || !must && (peer.needs_us || peer.used_us > 0 && now < peer.used_us + USED_US)
                || self.siblings.contains(id);
            (!kept).then_some((!peer.needs_us, count, peer.direct.is_none(), *id))
        });
        let Some((.., id)) = spare.max() else { return false };
        let slot = self.slot_of(&id);
        ctx.count("links_pruned");
        self.say_bye(ctx, id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.closing_us = Some(now + CLOSING_US);
            let count = &mut counts[slot as usize % SLOTS];
            *count = count.saturating_sub(u8::from(!peer.crowded));
        }
        self.table_changed(ctx);
        if let Some(known) = self.contacts.get_mut(&id) {
            known.full_until_us = now + FULL_US;
        }
        true
    }
}
