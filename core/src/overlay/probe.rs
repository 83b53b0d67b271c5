//! Probes: liveness, round trips, suspicion, and the news that probes carry.
//!
//! Whatever is heard from a peer is as good as a pong, so links with traffic are hardly probed. News is told once: flags
//! always, and beside them only what changed since this link was told last (its frames arrive in order).

use chacha20::rand_core::Rng as _;

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    overlay::{
        Event, Overlay,
        channel::Path,
        frame::{Changes, LinkFrame, News},
        peer::Told,
    },
    wire::{Contact, Frame},
};

/// A link's round trip is measured at least so often.
const MEASURE_US: u64 = 10 * SECOND_US;
/// Contacts near to a peer that it is told of.
pub(super) const GOSSIP_CONTACTS: usize = 8;
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
                let quiet = peer.heard_us + peer.ping_interval(ctx.config, self.siblings.contains(id)) / 2;
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
        let news = self.news(&id);
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
        let news = if self.path_to(&id) == Some(path) { self.news(&id) } else { self.flags(&id) };
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

    fn flags(&self, id: &Id) -> News {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let slot = self.slot_of(id);
        let alone = !self.live().any(|(other, _)| other != id && self.slot_of(other) == slot);
        let flags = flag(self.established, News::ESTABLISHED)
            | flag(self.siblings.contains(id), News::SIBLING)
            | flag(alone, News::NEEDED);
        News { flags, changes: None }
    }

    /// What this node tells a peer now.
    fn news(&mut self, id: &Id) -> News {
        let mut news = self.flags(id);
        let home = self.home();
        let Some(told) = self.peers.get(id).map(|peer| peer.told.clone()) else { return news };
        let (from, version, end) = (told.links, self.table_version, self.links_log.end());
        if from == Some(end) && told.version == version && told.home == home {
            return news;
        }
        let mut contacts = Vec::new();
        let mut near = told.near;
        if told.version != version {
            let nearest = self.contacts_near(id, GOSSIP_CONTACTS, id);
            contacts = nearest.iter().filter(|contact| !near.contains(&contact.id.head())).copied().collect();
            near = nearest.iter().map(|contact| contact.id.head()).collect();
        }
        let (linked, unlinked) = self.links_log.since(from);
        let whole = linked.is_none();
        let linked = linked.unwrap_or_else(|| self.published.clone());
        if !contacts.is_empty() || whole || !linked.is_empty() || !unlinked.is_empty() || told.home != home {
            let (linked, unlinked) = (bytes(&linked), bytes(&unlinked));
            news.changes = Some(Box::new(Changes { home, contacts, whole, linked, unlinked }));
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.told = Told { links: Some(end), version, near, home };
        }
        news
    }

    fn heard_news(&mut self, ctx: &mut Ctx<'_>, id: Id, news: News) {
        let ahead_max = if ctx.config.supernode { 0 } else { ctx.config.lookahead_max };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.wants_us = news.says(News::SIBLING);
        peer.needs_us = news.says(News::NEEDED);
        if news.says(News::ESTABLISHED) && !self.established {
            self.events.push_back(Event::Established(id));
        }
        let mut contacts = Vec::new();
        if let Some(changes) = news.changes {
            peer.home = changes.home;
            if changes.whole {
                peer.ahead.clear();
            }
            let gone: Vec<u32> = heads(&changes.unlinked).collect();
            peer.ahead.retain(|head| !gone.contains(head));
            let room = ahead_max.saturating_sub(peer.ahead.len());
            peer.ahead.extend(heads(&changes.linked).take(room));
            contacts = changes.contacts;
        }
        let contact = Contact { id, relay: peer.home, supernode: peer.supernode };
        self.heard_of(ctx, contact);
        for contact in contacts.into_iter().take(2 * GOSSIP_CONTACTS) {
            self.heard_of(ctx, contact);
        }
    }
}

fn bytes(heads: &[u32]) -> Vec<u8> {
    heads.iter().flat_map(|head| head.to_be_bytes()).collect()
}

fn heads(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<HEAD_BYTES>().0.iter().map(|head| u32::from_be_bytes(*head))
}
