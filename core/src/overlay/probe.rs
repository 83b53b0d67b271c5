//! Probes: liveness, round trips, suspicion. They carry the news.
//!
//! Whatever is heard from a peer is as good as a pong, so links with traffic are hardly probed.

use chacha20::rand_core::Rng as _;

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    overlay::{
        Overlay,
        channel::Path,
        frame::{LinkFrame, News},
    },
    wire::Frame,
};

/// A link's round trip is measured at least so often.
const MEASURE_US: u64 = 10 * SECOND_US;

impl Overlay {
    pub(super) fn probe(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        let mut due = Vec::new();
        let mut silent = Vec::new();
        let mut closed = Vec::new();
        for (id, peer) in self.peers.iter_mut() {
            if let Some(until) = peer.closing_us {
                if now >= until {
                    closed.push(*id);
                }
                continue;
            }
            match peer.ping {
                Some((_, sent)) if peer.heard_us > sent => peer.ping = None,
                Some((_, sent)) if now > sent + peer.patience_us(ctx.config) => silent.push(*id),
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
        for id in closed {
            self.unlink(ctx, id);
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
}
