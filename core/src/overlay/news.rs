//! What probes tell: flags always, and beside them only what changed since this link was told last (its frames arrive in
//! order).
//!
//! Each side tells which links came and went, so each knows what the other lacks, and tells it of peers that it would link
//! to: who is nearer to it than the farthest of its siblings, one for each of its empty slots, and while it has few links
//! whoever has few as well. What it needs it is told again while it lacks it; in a network at rest nobody is told of anybody.

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::{Id, nearest},
    map::Set,
    overlay::{
        Event, Overlay,
        frame::{Changes, News},
        peer::{Peer, Told},
        table::SLOTS,
    },
    wire::Contact,
};

/// Contacts near to a peer that it is told of at once, and as many that fill its slots.
pub(super) const GOSSIP_CONTACTS: usize = 8;
/// What a peer needs and was told of, it is told again after so long.
const TELL_AGAIN_US: u64 = 20 * SECOND_US;
/// Of so many it is remembered that a peer was told of them.
const TOLD_MAX: usize = 64;
/// Bytes of one entry in `Changes::linked`.
const HEAD_BYTES: usize = 4;

impl Overlay {
    pub(super) fn flags(&self, ctx: &Ctx<'_>, id: &Id) -> News {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let others = self.slots[self.slot_of(id) as usize % SLOTS];
        let counted = self.peers.get(id).is_some_and(|peer| peer.usable() && !peer.crowded);
        let alone = others <= u8::from(counted);
        let crowded = !ctx.config.supernode && self.is_to_look_elsewhere(ctx, id);
        let flags = flag(self.established, News::ESTABLISHED)
            | flag(self.siblings.contains(id), News::SIBLING)
            | flag(alone, News::NEEDED)
            | flag(crowded, News::CROWDED);
        News { flags, changes: None }
    }

    /// Whether a peer is one of those that are linked for a slot of theirs only, and one of as many as there are links too
    /// many: in shallow slots first, where there are most others.
    fn is_to_look_elsewhere(&self, ctx: &Ctx<'_>, id: &Id) -> bool {
        let excess = self.peers.len().saturating_sub(ctx.config.links_max);
        let theirs = |(other, peer): &(&Id, &Peer)| {
            peer.needs_us && !peer.wants_us && !peer.supernode && !self.siblings.contains(other)
        };
        let rank = |other: &Id| (self.slot_of(other), *other);
        excess > 0
            && self.live().filter(|it| it.0 == id).any(|it| theirs(&it))
            && self.live().filter(theirs).filter(|(other, _)| rank(other) < rank(id)).count() < excess
    }

    /// What this node tells a peer now.
    pub(super) fn news(&mut self, ctx: &Ctx<'_>, id: &Id) -> News {
        let mut news = self.flags(ctx, id);
        let (home, end, now) = (self.home(), self.links_log.end(), ctx.now.mono);
        let Some(peer) = self.peers.get(id) else { return news };
        let (told, version) = (&peer.told, self.table_version);
        let looked = told.version == version && now < told.again_us;
        if told.links == Some(end) && looked && told.home == home {
            return news;
        }
        let from = told.links;
        let mut told = Told { links: Some(end), version, home, again_us: told.again_us, near: told.near.clone() };
        let moved = peer.told.home != home;
        let mut contacts = Vec::new();
        let again = now >= told.again_us;
        if again {
            told.again_us = now + TELL_AGAIN_US;
        }
        // Until its first news it is not known what it lacks; a supernode does not note it, and tells of the nearest.
        if !looked && (!peer.ahead.is_empty() || ctx.config.supernode) {
            contacts = self.lacking(ctx, id, &told.near, again);
            told.near.extend(contacts.iter().map(|contact| contact.id.head()));
            let forgotten = told.near.len().saturating_sub(TOLD_MAX);
            told.near.drain(..forgotten);
        }
        let (linked, unlinked) = self.links_log.since(from);
        let whole = linked.is_none();
        let linked = linked.unwrap_or_else(|| self.published.clone());
        if !contacts.is_empty() || whole || !linked.is_empty() || !unlinked.is_empty() || moved {
            let (linked, unlinked) = (bytes(&linked), bytes(&unlinked));
            news.changes = Some(Box::new(Changes { home, contacts, whole, linked, unlinked }));
        }
        if let Some(peer) = self.peers.get_mut(id) {
            *peer.told = told;
        }
        news
    }

    /// Linked peers that another one would link to if it knew them: see the module. `told` are those that it was told of
    /// before, which counts for nothing with what it needs when it is told `again`.
    fn lacking(&self, ctx: &Ctx<'_>, id: &Id, told: &[u32], again: bool) -> Vec<Contact> {
        let Some(peer) = self.peers.get(id) else { return Vec::new() };
        let head = id.head();
        let filled = peer.ahead.iter().fold(0_u64, |filled, other| filled | 1 << slot_at(head, other ^ head));
        let few = |links: usize| links < ctx.config.links_opened_max;
        let mut near: Vec<Id> = Vec::new();
        // In each empty slot one, who has room if there is one.
        let mut far: Vec<(u32, bool, Id)> = Vec::new();
        for (other, linked) in self.live().filter(|(other, _)| *other != id) {
            let distance = other.head() ^ head;
            let nearer = peer.ahead.iter().filter(|of| (*of ^ head) < distance).count();
            let (full, slot) = (!few(linked.ahead.len()), slot_at(head, distance));
            let empty = filled & 1 << slot == 0;
            let needed = nearer < ctx.config.siblings || empty;
            let wanted = needed || !full && few(peer.ahead.len());
            let untold = needed && again || !told.contains(&other.head());
            if !wanted || !untold || peer.ahead.contains(&other.head()) {
                continue;
            }
            near.push(*other);
            let same = far.iter().position(|(of, ..)| *of == slot);
            match same {
                Some(at) if empty && far[at].1 && !full => far[at] = (slot, full, *other),
                None if empty => far.push((slot, full, *other)),
                _ => {}
            }
            if far.len() > GOSSIP_CONTACTS {
                // Shallow slots first: deep ones hold who is near.
                let deepest = far.iter().enumerate().max_by_key(|(_, (slot, ..))| *slot).map(|(at, _)| at);
                deepest.map(|at| far.swap_remove(at));
            }
        }
        let near = nearest(&near, id, GOSSIP_CONTACTS);
        let chosen: Set<Id> = near.into_iter().chain(far.into_iter().map(|(.., other)| other)).collect();
        chosen.iter().filter_map(|other| self.contact_of(ctx, other)).collect()
    }

    pub(super) fn heard_news(&mut self, ctx: &mut Ctx<'_>, id: Id, news: News) {
        let ahead_max = if ctx.config.supernode { 0 } else { ctx.config.lookahead_max };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.wants_us = news.says(News::SIBLING);
        peer.needs_us = news.says(News::NEEDED);
        let crowded = news.says(News::CROWDED);
        if core::mem::replace(&mut peer.crowded, crowded) != crowded {
            self.table_changed(ctx);
        }
        if news.says(News::ESTABLISHED) && !self.established {
            self.events.push_back(Event::Established(id));
        }
        let (Some(changes), Some(peer)) = (news.changes, self.peers.get_mut(&id)) else { return };
        peer.home = changes.home;
        peer.told.version = 0;
        if changes.whole {
            peer.ahead.clear();
        }
        let gone: Vec<u32> = heads(&changes.unlinked).collect();
        peer.ahead.retain(|head| !gone.contains(head));
        let room = ahead_max.saturating_sub(peer.ahead.len());
        peer.ahead.extend(heads(&changes.linked).take(room));
        let contact = Contact { id, relay: peer.home, supernode: peer.supernode, full: false };
        self.heard_of(ctx, contact);
        self.told_of(ctx, id, changes.contacts);
    }
}

/// The slot (below 64), in the table of the peer whose id begins with `head`, of who is at this distance from it.
fn slot_at(head: u32, distance: u32) -> u32 {
    let bucket = distance.leading_zeros().min(31);
    let second = (head ^ distance) << ((bucket + 1) % 32) >> 31;
    2 * bucket + if bucket.is_multiple_of(2) { second } else { 0 }
}

fn bytes(heads: &[u32]) -> Vec<u8> {
    heads.iter().flat_map(|head| head.to_be_bytes()).collect()
}

fn heads(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<HEAD_BYTES>().0.iter().map(|head| u32::from_be_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        overlay::harness::{ids, linked, with},
    };

    fn told(overlay: &mut Overlay, to: &Id) -> Vec<Id> {
        let news = with(overlay, |overlay, ctx| overlay.news(ctx, to));
        news.changes.map(|changes| changes.contacts.iter().map(|contact| contact.id).collect()).unwrap_or_default()
    }

    #[test]
    fn slots_by_heads_are_those_by_ids() {
        for id in ids(200) {
            let overlay = Overlay::new(Id::hash(&[7; 32]));
            assert_eq!(slot_at(overlay.me.head(), overlay.me.head() ^ id.head()), overlay.slot_of(&id));
        }
    }

    #[test]
    fn a_contact_names_a_relay_far_away() {
        let mut overlay = linked(&ids(40), |_| Vec::new());
        overlay.joined = true;
        let relay = with(&mut overlay, |overlay, ctx| overlay.contact(ctx).relay).unwrap();
        assert_eq!(overlay.me.common_prefix(&relay), 0);
    }

    #[test]
    fn a_peer_that_lacks_nobody_is_told_of_nobody() {
        let ids = ids(20);
        let to = ids[0];
        let mut overlay = linked(&ids, |_| ids.clone());
        assert_eq!(told(&mut overlay, &to), []);
    }

    #[test]
    fn a_peer_is_told_of_a_sibling_that_it_lacks_and_again_only_after_a_while() {
        let ids = ids(40);
        let to = ids[0];
        let sibling = crate::id::nearest(&ids[1..], &to, 1)[0];
        let mut overlay = linked(&ids, |_| ids.iter().filter(|id| **id != sibling).copied().collect());
        assert_eq!(told(&mut overlay, &to), [sibling]);
        let changed = |overlay: &mut Overlay| with(overlay, |overlay, ctx| overlay.table_changed(ctx));
        changed(&mut overlay);
        assert_eq!(told(&mut overlay, &to), [], "it has just been told");
        overlay.peers.get_mut(&to).unwrap().told.again_us = 0;
        assert_eq!(told(&mut overlay, &to), [sibling], "it lacks it still");
    }

    #[test]
    fn a_peer_that_lost_a_sibling_is_told_without_any_change_here() {
        let ids = ids(40);
        let to = ids[0];
        let sibling = crate::id::nearest(&ids[1..], &to, 1)[0];
        let mut overlay = linked(&ids, |_| ids.clone());
        assert_eq!(told(&mut overlay, &to), []);
        let unlinked = bytes(&[sibling.head()]);
        let changes = Changes { unlinked, ..Changes::default() };
        let news = News { flags: 0, changes: Some(Box::new(changes)) };
        with(&mut overlay, |overlay, ctx| overlay.heard_news(ctx, to, news));
        assert_eq!(told(&mut overlay, &to), [sibling]);
    }

    #[test]
    fn a_newcomer_is_told_of_who_is_near_and_of_one_for_each_slot() {
        let ids = ids(300);
        let to = Id::hash(b"newcomer");
        let all: Vec<Id> = ids.iter().copied().chain([to]).collect();
        let mut overlay = linked(&all, |id| if *id == to { vec![to] } else { ids.clone() });
        let told: Set<Id> = told(&mut overlay, &to).into_iter().collect();
        assert!(crate::id::nearest(&ids, &to, GOSSIP_CONTACTS).iter().all(|near| told.contains(near)));
        for bucket in 0..4 {
            assert!(told.iter().any(|id| id.common_prefix(&to) == bucket), "nobody in bucket {bucket}");
        }
        assert!(told.len() <= 2 * GOSSIP_CONTACTS);
    }

    #[test]
    fn as_many_peers_as_there_are_links_too_many_are_to_look_elsewhere() {
        let ids = ids(60);
        let mut overlay = linked(&ids, |_| ids.clone());
        let to_leave = |overlay: &mut Overlay| {
            let all: Vec<Id> = overlay.peers.keys().copied().collect();
            let crowded = |id: &&Id| with(overlay, |overlay, ctx| overlay.flags(ctx, id)).says(News::CROWDED);
            all.iter().filter(crowded).count()
        };
        assert_eq!(to_leave(&mut overlay), 60 - Config::default().links_max);
        overlay.peers.values_mut().for_each(|peer| peer.needs_us = false);
        assert_eq!(to_leave(&mut overlay), 0, "who needs no link here is not asked: the link is closed");
    }

    #[test]
    fn a_slot_whose_only_peer_is_crowded_is_to_be_filled_and_the_peer_is_needed_until_then() {
        let me = Overlay::new(Id::hash(&[7; 32])).me;
        let mut ids = ids(40);
        ids.retain(|id| id.common_prefix(&me) > 0);
        let far = Id::hash(&(0_u32..).map(u32::to_be_bytes).find(|it| Id::hash(it).common_prefix(&me) == 0).unwrap());
        ids.push(far);
        let mut overlay = linked(&ids, |_| Vec::new());
        let slot = overlay.slot_of(&far);
        assert!(!overlay.unknown_slots(8).contains(&slot));
        let news = News { flags: News::CROWDED, changes: None };
        with(&mut overlay, |overlay, ctx| overlay.heard_news(ctx, far, news));
        assert!(overlay.unknown_slots(8).contains(&slot));
        assert!(with(&mut overlay, |overlay, ctx| overlay.flags(ctx, &far)).says(News::NEEDED));
    }
}
