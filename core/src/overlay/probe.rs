//! Probes: liveness, round trips, suspicion, and the news that probes carry.
//!
//! Whatever is heard from a peer is as good as a pong, so links with traffic are hardly probed. News is told once: flags
//! always, and beside them only what changed since this link was told last (its frames arrive in order).

use chacha20::rand_core::Rng as _;

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    map::Set,
    overlay::{
        Event, Overlay,
        channel::Path,
        frame::{Changes, LinkFrame, News},
        peer::{Peer, Told},
        table::SLOTS,
    },
    wire::{Contact, Frame},
};

/// A link's round trip is measured at least so often.
const MEASURE_US: u64 = 10 * SECOND_US;
/// Contacts near to a peer that it is told of.
pub(super) const GOSSIP_CONTACTS: usize = 8;
/// What a peer was told of and lacks still, it is told again after so long.
const TELL_AGAIN_US: u64 = 20 * SECOND_US;
/// Bytes of one entry in `Changes::linked`.
const HEAD_BYTES: usize = 4;

impl Overlay {
    pub(super) fn probe(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        let mut due = Vec::new();
        let mut silent = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.closing_us.is_none()) {
            match peer.ping {
                Some((_, sent)) if peer.heard_us > sent => peer.ping = None,
                Some((_, sent)) if now > sent + ctx.config.suspect_after_us => silent.push(*id),
                _ => {}
            }
            if peer.ping.is_none() && now >= peer.ping_due_us {
                // Its own ping brought the news.
                let quiet = peer.heard_us + peer.ping_interval(ctx.config, self.siblings.contains(id));
                if now < quiet && now < peer.measured_us + MEASURE_US {
                    peer.ping_due_us = quiet;
                } else {
                    due.push(*id);
                }
            }
        }
        for id in due {
            self.ping(ctx, id);
        }
        for id in silent {
            self.silent(ctx, id);
        }
    }

    /// A ping was not answered in time: first the direct channel is given up for the relayed one, then the peer is
    /// suspected, then it is gone.
    fn silent(&mut self, ctx: &mut Ctx<'_>, id: Id) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.ping = None;
        if let (Some(link), Some(_)) = (peer.direct, peer.relay) {
            ctx.trace("link", "silent", Some(id), || "back to the relayed channel".to_owned());
            self.close_link(ctx, link);
            self.ping(ctx, id);
        } else if !peer.suspected {
            peer.suspected = true;
            ctx.count("peers_suspected");
            ctx.trace("link", "suspected", Some(id), String::new);
            self.table_changed(ctx);
            self.reroute_from(ctx, id);
            self.ping(ctx, id);
        } else {
            self.unlink(ctx, id);
            self.contacts.remove(&id);
            self.mark_dead(ctx, id, 10 * SECOND_US);
        }
    }

    pub(super) fn ping(&mut self, ctx: &mut Ctx<'_>, id: Id) {
        let news = self.news(ctx, &id);
        let sibling = self.siblings.contains(&id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // Small: a link's pings are answered in order.
        let number = ctx.rng.next_u32() % 128;
        peer.ping = Some((number, ctx.now.mono));
        peer.ping_due_us = ctx.now.mono + peer.ping_interval(ctx.config, sibling);
        self.send_frame(ctx, &id, &Frame::Link(LinkFrame::Ping { number, news }));
    }

    pub(super) fn pinged(&mut self, ctx: &mut Ctx<'_>, id: Id, path: Path, number: u32, news: News) {
        self.heard_news(ctx, id, news);
        let news = if self.path_to(&id) == Some(path) { self.news(ctx, &id) } else { self.flags(ctx, &id) };
        self.transmit(ctx, path, &Frame::Link(LinkFrame::Pong { number, news }));
    }

    pub(super) fn ponged(&mut self, ctx: &mut Ctx<'_>, id: Id, number: u32, news: News) {
        if let Some(peer) = self.peers.get_mut(&id)
            && let Some((expected, sent)) = peer.ping
            && expected == number
        {
            peer.ping = None;
            peer.measured_us = ctx.now.mono;
            peer.rtt.sample(ctx.now.mono.saturating_sub(sent));
        }
        self.heard_news(ctx, id, news);
    }

    fn flags(&self, ctx: &Ctx<'_>, id: &Id) -> News {
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
    fn news(&mut self, ctx: &Ctx<'_>, id: &Id) -> News {
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
        if now >= told.again_us {
            told.again_us = now + TELL_AGAIN_US;
            told.near.clear();
        }
        // Until its first news it is not known what it lacks; a supernode does not note it, and tells of the nearest.
        if !looked && (!peer.ahead.is_empty() || ctx.config.supernode) {
            contacts = self.lacking(ctx, id, &told.near);
            told.near.extend(contacts.iter().map(|contact| contact.id.head()));
        }
        let (linked, unlinked) = self.links_log.since(from);
        let whole = linked.is_none();
        let linked = linked.unwrap_or_else(|| self.published.clone());
        if !contacts.is_empty() || whole || !linked.is_empty() || !unlinked.is_empty() || moved {
            let (linked, unlinked) = (bytes(&linked), bytes(&unlinked));
            news.changes = Some(Box::new(Changes { home, contacts, whole, linked, unlinked }));
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.told = told;
        }
        news
    }

    /// Linked peers that another one would link to if it knew them, by what it told of its links: nearer to it than the
    /// farthest of its siblings, or one into each empty slot, or while it has few links, whoever has few as well.
    fn lacking(&self, ctx: &Ctx<'_>, id: &Id, told: &[u32]) -> Vec<Contact> {
        let Some(peer) = self.peers.get(id) else { return Vec::new() };
        let head = id.head();
        let mut distances: Vec<u32> = peer.ahead.iter().map(|other| other ^ head).collect();
        distances.sort_unstable();
        let farthest = distances.get(ctx.config.siblings - 1).copied().unwrap_or(u32::MAX);
        let mut filled = 0_u64;
        distances.iter().for_each(|distance| filled |= 1 << slot_at(head, *distance));
        let few = |links: usize| links < ctx.config.links_opened_max;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for (other, linked) in self.live() {
            let distance = other.head() ^ head;
            let full = !few(linked.ahead.len());
            let slot = slot_at(head, distance);
            let empty = filled & 1 << slot == 0;
            let wanted = distance < farthest || empty || !full && few(peer.ahead.len());
            if wanted && other != id && distances.binary_search(&distance).is_err() && !told.contains(&other.head()) {
                near.push((distance, *other));
                if empty {
                    far.push((slot, full, distance, *other));
                }
            }
        }
        if near.len() > GOSSIP_CONTACTS {
            near.select_nth_unstable(GOSSIP_CONTACTS);
            near.truncate(GOSSIP_CONTACTS);
        }
        near.sort_unstable();
        let mut chosen: Vec<Id> = near.into_iter().map(|(_, other)| other).collect();
        far.sort_unstable();
        far.dedup_by_key(|(slot, ..)| *slot);
        far.truncate(GOSSIP_CONTACTS);
        chosen.extend(far.into_iter().map(|(.., other)| other));
        let mut seen = Set::new();
        chosen.retain(|other| seen.insert(*other));
        chosen.iter().filter_map(|other| self.contact_of(ctx, other)).collect()
    }

    fn heard_news(&mut self, ctx: &mut Ctx<'_>, id: Id, news: News) {
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
