//! The routing table: k-buckets, siblings and the state of each slot.
//!
//! Bucket `i` holds the peers that share exactly `i` leading bits with this node. Digits have two bits: a bucket that
//! begins a digit falls into two slots by the digit's second bit, the other is one slot. A slot is *filled*, *known to be
//! empty* (probed, or deeper than the farthest of a full set of siblings), or *unknown*; an unknown one is never
//! taken for empty. Certificates say more than any probe: a bucket in which this node owns something is empty, and one
//! in which an owner of its own place owns nothing is somebody else's, so that somebody lives there.

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::{ID_BITS, Id, Region, nearest},
    overlay::{Event, Overlay, Peer, links::FULL_US, news::GOSSIP_CONTACTS},
    wire::Contact,
};

/// How long a contact that nobody speaks of any more is remembered.
const CONTACT_US: u64 = 45 * SECOND_US;
/// How long a peer that is heard of no more is shown.
const SHOWN_US: u64 = 20 * SECOND_US;
/// How long a probe's "nobody there" holds.
const EMPTY_US: u64 = 120 * SECOND_US;

/// Slots of the table: two for each bucket, of which every other one is used.
pub(super) const SLOTS: usize = 2 * ID_BITS as usize;

/// A peer heard of.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// How to reach it.
    pub contact: Contact,
    /// When it was last heard of.
    pub heard_us: u64,
    /// Not to be tried again before.
    pub retry_us: u64,
    /// Failed attempts in a row.
    pub failures: u32,
    /// It has no room for links that are not wanted at either end until then.
    pub full_until_us: u64,
    /// The application's traffic earned it a link of its own until then.
    pub used_until_us: u64,
}

impl Known {
    /// Heard of lately.
    pub fn fresh(&self, mono: u64) -> bool {
        mono < self.heard_us + CONTACT_US
    }

    /// Shown to people, who take it for one that lives.
    pub fn is_shown(&self, mono: u64) -> bool {
        mono < self.heard_us + SHOWN_US && self.failures == 0
    }
}

/// What is known of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// A live linked peer is in it.
    Filled,
    /// Nobody is in it.
    Empty,
    /// Not known.
    Unknown,
}

impl Overlay {
    /// A peer tells of others.
    pub(super) fn told_of(&mut self, ctx: &mut Ctx<'_>, teller: Id, contacts: Vec<Contact>) {
        for contact in contacts.into_iter().take(2 * GOSSIP_CONTACTS) {
            self.heard_of(ctx, Contact { relay: contact.relay.or(Some(teller)), ..contact });
        }
    }

    /// Another peer was heard of.
    pub(super) fn heard_of(&mut self, ctx: &mut Ctx<'_>, contact: Contact) {
        self.note(ctx, contact, false);
    }

    /// Notes a peer, if it is `wanted` even where it is not needed.
    pub(super) fn note(&mut self, ctx: &mut Ctx<'_>, contact: Contact, wanted: bool) {
        let now = ctx.now.mono;
        if contact.id == self.me || self.dead.get(&contact.id).is_some_and(|until| now < *until) {
            return;
        }
        if !self.contacts.contains_key(&contact.id) && !self.room_for_contact(ctx, &contact.id, wanted) {
            return;
        }
        let known = self.contacts.entry(contact.id).or_insert_with(|| Known {
            contact,
            heard_us: now,
            retry_us: 0,
            failures: 0,
            full_until_us: 0,
            used_until_us: 0,
        });
        known.heard_us = now;
        if contact.relay.is_some() {
            known.contact.relay = contact.relay;
        }
        if contact.full {
            known.full_until_us = now + FULL_US;
        }
        if !self.empty_slots.is_empty() {
            self.empty_slots.remove(&self.slot_of(&contact.id));
        }
    }

    /// Whether a peer not heard of before is to be remembered: who is needed, or may be while there are few links; while the
    /// table is full only who is needed more than another.
    fn room_for_contact(&mut self, ctx: &Ctx<'_>, id: &Id, wanted: bool) -> bool {
        let needed = wanted || self.needed(ctx, id);
        if !needed && self.peers.len() >= ctx.config.links_opened_max {
            return self.peers.contains_key(id);
        }
        if self.contacts.len() >= ctx.config.contacts_max {
            let rank = |id: &Id| (!self.needed(ctx, id), id.distance(&self.me));
            let others = self.contacts.keys().filter(|id| needed && !self.peers.contains_key(id));
            match others.map(|id| (rank(id), *id)).max() {
                Some((least, other)) if least > rank(id) => {
                    self.contacts.remove(&other);
                }
                _ => return false,
            }
        }
        self.open_due_us = ctx.now.mono;
        true
    }

    /// Whether this node would link to a peer however many links it has: it is near, or the only one in its slot.
    pub(super) fn needed(&self, ctx: &Ctx<'_>, id: &Id) -> bool {
        self.slots[self.slot_of(id) as usize % SLOTS] == 0 || self.nearer_than_siblings(ctx, id)
    }

    /// Forgets contacts that nobody speaks of, and old probes.
    pub(super) fn expire_table(&mut self, ctx: &Ctx<'_>) {
        let now = ctx.now.mono;
        let few = self.peers.len() < ctx.config.links_opened_max;
        let mut contacts = core::mem::take(&mut self.contacts);
        contacts.retain(|id, known| {
            let wanted = few || now < known.used_until_us || self.needed(ctx, id);
            known.fresh(now) && wanted || self.peers.contains_key(id)
        });
        self.contacts = contacts;
        // News is told once: what was said of who was taken for dead is asked for again.
        if self.dead.iter().any(|(id, until)| now >= *until && self.nearer_than_siblings(ctx, id)) {
            self.find_anew(now);
        }
        self.dead.retain(|_, until| now < *until);
        self.empty_slots.retain(|_, at| now < *at + EMPTY_US);
    }

    /// The linked peers changed.
    pub(super) fn table_changed(&mut self, ctx: &mut Ctx<'_>) {
        self.open_due_us = ctx.now.mono;
        self.table_version += 1;
        let live: Vec<Id> = self.live().map(|(id, _)| *id).collect();
        let mut slots = [0_u8; SLOTS];
        for (id, _) in self.live().filter(|(_, peer)| !peer.crowded) {
            let count = &mut slots[self.slot_of(id) as usize % SLOTS];
            *count = count.saturating_add(1);
        }
        *self.slots = slots;
        self.supernode_linked = self.peers.values().any(|peer| peer.supernode);
        let nearest = nearest(&live, &self.me, ctx.config.siblings);
        if nearest != self.siblings {
            self.siblings = nearest;
            self.events.push_back(Event::ViewChanged);
        }
        self.publish(ctx);
        if self.peers.is_empty() && self.joined && !ctx.config.supernode && !self.leaving {
            self.joined = false;
            self.events.push_back(Event::Joined(false));
        }
    }

    /// Notes what changed in the list of links that peers are told. A supernode, which has many, tells of its siblings and
    /// of one peer in each slot: it is not to be everybody's next hop.
    fn publish(&mut self, ctx: &Ctx<'_>) {
        let mut filled = [false; SLOTS];
        let mut links: Vec<u32> = Vec::new();
        for (id, _) in self.live() {
            let first = !core::mem::replace(&mut filled[self.slot_of(id) as usize % SLOTS], true);
            let told = !ctx.config.supernode || first || self.siblings.contains(id);
            if told && links.len() < ctx.config.lookahead_max {
                links.push(id.head());
            }
        }
        for gone in self.published.iter().filter(|head| !links.contains(head)) {
            self.links_log.push(*gone, false);
        }
        for new in links.iter().filter(|head| !self.published.contains(head)) {
            self.links_log.push(*new, true);
        }
        self.published = links;
    }

    /// The slot of another peer: twice its bucket, one more if the digit begins with the bucket and its second bit is set.
    pub(super) fn slot_of(&self, id: &Id) -> u32 {
        let bucket = self.me.common_prefix(id).min(ID_BITS - 1);
        2 * bucket + u32::from(bucket.is_multiple_of(2) && id.bit(bucket + 1))
    }

    /// Where the peers of a slot live.
    pub(super) fn slot_region(&self, slot: u32) -> Region {
        let bucket = slot / 2;
        let region = Region::prefix(&self.me, bucket).fix(bucket, !self.me.bit(bucket));
        if bucket.is_multiple_of(2) { region.fix(bucket + 1, slot % 2 == 1) } else { region }
    }

    /// Slots that may hold somebody, and no link goes there.
    pub(super) fn unknown_slots(&self, siblings_max: usize) -> Vec<u32> {
        let filled = |slot: u32| self.slots.get(slot as usize).is_some_and(|count| *count > 0);
        let Some(deepest) = self.slots.iter().rposition(|count| *count > 0) else { return Vec::new() };
        let deepest = deepest as u32 / 2;
        let bottom = match self.siblings.last() {
            Some(last) if self.siblings.len() >= siblings_max => deepest.min(self.me.common_prefix(last)),
            _ => deepest,
        };
        (0..=bottom)
            .flat_map(|bucket| {
                let even = u32::from(bucket.is_multiple_of(2));
                let vacant = (0..=even).all(|half| !filled(2 * bucket + half));
                let certified = vacant && self.inhabited(bucket);
                (0..=even).map(move |half| (2 * bucket + half, certified))
            })
            .filter(|(slot, certified)| !filled(*slot) && (*certified || !self.empty_slots.contains_key(slot)))
            .map(|(slot, _)| slot)
            .collect()
    }

    /// Whether a peer is nearer than the farthest sibling, or there are too few siblings.
    pub(super) fn nearer_than_siblings(&self, ctx: &Ctx<'_>, id: &Id) -> bool {
        self.siblings.len() < ctx.config.siblings
            || self.siblings.last().is_some_and(|last| id.distance(&self.me) < last.distance(&self.me))
    }

    /// The state of bucket `index`.
    pub fn slot(&self, index: u32, siblings_max: usize) -> Slot {
        if self.live().any(|(id, _)| self.me.common_prefix(id) == index) {
            return Slot::Filled;
        }
        let deep = self.siblings.len() >= siblings_max
            && self.siblings.last().is_some_and(|last| index > self.me.common_prefix(last));
        let even = u32::from(index.is_multiple_of(2));
        let probed =
            (0..=even).all(|half| self.empty_slots.contains_key(&(2 * index + half))) && !self.inhabited(index);
        if deep || probed || (self.joined && self.peers.is_empty()) {
            return Slot::Empty;
        }
        Slot::Unknown
    }

    /// Whether certificates say that somebody lives in bucket `index`: this node owns its own place, and nothing there.
    fn inhabited(&self, index: u32) -> bool {
        let bucket = Region::prefix(&self.me, index).fix(index, !self.me.bit(index));
        self.owned.iter().any(|region| region.contains(&self.me))
            && !self.owned.iter().any(|region| region.intersect(&bucket).is_some())
    }

    /// Whether the slot that `key` falls into is known to be empty.
    pub fn known_empty(&self, key: &Id, siblings_max: usize) -> bool {
        let alone = self.joined && self.peers.is_empty();
        alone || self.slot(self.me.common_prefix(key), siblings_max) == Slot::Empty
    }

    /// The bits of this node's region in the trie of live nodes, as far as the table knows: those where the trie
    /// branches or may branch.
    pub fn region(&self, siblings_max: usize) -> Region {
        let mut filled = [false; ID_BITS as usize];
        let mut deepest = 0;
        for (id, _) in self.live() {
            let bucket = self.me.common_prefix(id).min(ID_BITS - 1);
            filled[bucket as usize] = true;
            deepest = deepest.max(bucket);
        }
        let mut region = Region::ALL;
        if self.peers.is_empty() {
            return region;
        }
        for index in 0..=deepest {
            if filled[index as usize] || self.slot(index, siblings_max) == Slot::Unknown {
                region = region.fix(index, self.me.bit(index));
            }
        }
        region
    }

    /// A live linked peer inside `region`: measured round trips first, supernodes last.
    pub fn peer_in(&self, region: &Region, except: &[Id]) -> Option<Id> {
        self.live()
            .filter(|(id, _)| region.contains(id) && !except.contains(id))
            .min_by_key(|(id, peer)| (peer.supernode, peer.direct.is_none(), peer.rtt.smoothed_us(), **id))
            .map(|(id, _)| *id)
    }

    /// Whether this node is the nearest to `key` of all peers that it knows links to.
    pub fn nearest_to(&self, key: &Id) -> bool {
        self.next_hop(key, &self.me, &[]).is_none()
    }

    /// Live linked peers nearest to `target`, as contacts for others.
    pub(super) fn contacts_near(&self, ctx: &Ctx<'_>, target: &Id, count: usize, except: &Id) -> Vec<Contact> {
        let others: Vec<Id> = self.live().map(|(id, _)| *id).filter(|id| id != except).collect();
        nearest(&others, target, count).iter().filter_map(|id| self.contact_of(ctx, id)).collect()
    }

    /// How a linked peer is reached by others: over its supernode, or (`None`) over who tells of it.
    pub(super) fn contact_of(&self, ctx: &Ctx<'_>, id: &Id) -> Option<Contact> {
        let peer = self.peers.get(id)?;
        let home = peer.home.filter(|home| *home == self.me || self.usable_relay(ctx, home));
        let relay = if peer.direct.is_some() { home } else { home.or(peer.relay) };
        let relay = relay.filter(|relay| *relay != self.me);
        let full = !peer.supernode && peer.ahead.len() >= ctx.config.links_opened_max;
        Some(Contact { id: *id, relay, supernode: peer.supernode, full })
    }

    pub(super) fn usable_relay(&self, ctx: &Ctx<'_>, id: &Id) -> bool {
        let usable = |peer: &Peer| peer.direct.is_some() && peer.usable();
        self.peers.get(id).is_some_and(|peer| usable(peer) && peer.heard_lately(ctx.config, ctx.now.mono))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_overrules_a_probe_that_found_nobody() {
        let mut overlay = Overlay::new(Id::hash(&[7; 32]));
        let me = overlay.me;
        assert_eq!(overlay.slot(3, 8), Slot::Unknown);
        overlay.empty_slots.insert(6, 0);
        assert_eq!(overlay.slot(3, 8), Slot::Empty, "a newcomer owns nothing: it has its probes alone");
        overlay.owned = vec![Region::ALL];
        assert_eq!(overlay.slot(3, 8), Slot::Empty, "what this node owns nobody else lives in");
        overlay.owned = vec![Region::ALL.fix(3, me.bit(3))];
        assert_eq!(overlay.slot(3, 8), Slot::Unknown, "somebody else owns it, whatever the probe said");
        overlay.owned.push(Region::ALL.fix(3, !me.bit(3)).fix(4, me.bit(4)));
        assert_eq!(overlay.slot(3, 8), Slot::Empty, "a second fragment reaches into the bucket");
    }
}
