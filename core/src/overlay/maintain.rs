//! The tick: dialling, probes, suspicion, finding peers, opening, upgrading and pruning links.

use chacha20::rand_core::Rng as _;

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::{Id, Region, nearest},
    map::Map,
    node::{LinkId, Output},
    overlay::{
        Event, Message, Overlay, Timer,
        channel::Path,
        frame::{LinkFrame, News},
        peer::Peer,
        table::Slot,
    },
    wire::{Body, Contact, Frame},
};

const TICK_US: u64 = 500_000;
const HANDSHAKE_US: u64 = 10 * SECOND_US;
const FIND_US: u64 = 2 * SECOND_US;
const FIND_OWN_US: u64 = 15 * SECOND_US;
const FINDS_MAX: usize = 4;
const MEASURE_US: u64 = 10 * SECOND_US;
const OPEN_US: u64 = SECOND_US;
const GOSSIP_FULL_US: u64 = 10 * SECOND_US;
const GOSSIP_CONTACTS: usize = 8;
const OPENS_A_TICK: usize = 4;
/// Links fewer than the most that there may be, so that newcomers find room.
const ROOM_KEPT: usize = 8;
const PRUNES_A_TICK: usize = 4;
const UPGRADES_A_TICK: usize = 4;
const JOIN_PATIENCE_US: u64 = 5 * SECOND_US;
const CONTACT_FAILURES_MAX: u32 = 3;

/// A supernode's address.
#[derive(Debug, Default)]
pub struct Dial {
    busy: bool,
    reached: Option<Id>,
    failures: u32,
    retry_us: u64,
}

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub struct Finds {
    waiting: Map<u64, Find>,
    own_due_us: u64,
    own_answered: bool,
    linked_us: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Find {
    bucket: Option<u32>,
    until_us: u64,
}

impl Overlay {
    /// Begins: the first tick is at once.
    pub fn start(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.config.supernode {
            self.joined = true;
            self.events.push_back(Event::Joined(true));
        }
        self.tick(ctx);
    }

    pub(super) fn tick(&mut self, ctx: &mut Ctx<'_>) {
        if self.leaving {
            return;
        }
        let jitter = ctx.rng.next_u64() % (TICK_US / 5);
        ctx.timer(TICK_US - TICK_US / 10 + jitter, crate::node::Timer::Overlay(Timer::Tick));
        self.dial(ctx);
        self.expire_handshakes(ctx);
        self.expire_sessions(ctx);
        self.expire_table(ctx.now.mono);
        self.probe(ctx);
        self.progress(ctx);
        self.prune(ctx);
    }

    /// Whatever can be done next towards the links that this node wants.
    pub(super) fn progress(&mut self, ctx: &mut Ctx<'_>) {
        self.ask_around(ctx);
        self.open_wanted(ctx);
        self.upgrade(ctx);
        self.check_joined(ctx);
    }

    // Supernodes by address.

    fn dial(&mut self, ctx: &mut Ctx<'_>) {
        for address in &ctx.config.supernodes {
            let dial = self.dials.entry(address.clone()).or_default();
            let linked = dial.reached.and_then(|id| self.peers.get(&id)).is_some_and(|peer| peer.direct.is_some());
            if !dial.busy && !linked && ctx.now.mono >= dial.retry_us {
                dial.busy = true;
                ctx.output(Output::Dial { address: address.clone() });
            }
        }
    }

    pub(super) fn dial_succeeded(&mut self, address: &str) {
        if let Some(dial) = self.dials.get_mut(address) {
            dial.failures = 0;
        }
    }

    /// This peer answers at the address.
    pub(super) fn dial_reached(&mut self, address: &str, id: Id) {
        if let Some(dial) = self.dials.get_mut(address) {
            dial.reached = Some(id);
        }
    }

    pub(super) fn dial_failed(&mut self, ctx: &mut Ctx<'_>, address: &str) {
        let jitter = ctx.rng.next_u64() % (SECOND_US / 2);
        if let Some(dial) = self.dials.get_mut(address) {
            dial.busy = false;
            dial.retry_us = ctx.now.mono + ((SECOND_US / 2) << dial.failures.min(4)) + jitter;
            dial.failures += 1;
            ctx.trace("link", "dial-failed", None, || address.to_owned());
        }
    }

    pub(super) fn dial_lost(&mut self, ctx: &mut Ctx<'_>, address: &str) {
        self.dial_failed(ctx, address);
    }

    fn expire_handshakes(&mut self, ctx: &mut Ctx<'_>) {
        let late = |channel: &super::Channel| channel.peer.is_none() && ctx.now.mono > channel.since_us + HANDSHAKE_US;
        let links: Vec<LinkId> =
            self.channels.iter().filter(|(_, channel)| late(channel)).map(|(link, _)| *link).collect();
        let relayed: Vec<(Id, Option<Id>)> =
            self.relayed.iter().filter(|(_, channel)| late(channel)).map(|(id, channel)| (*id, channel.via)).collect();
        for link in links {
            ctx.count("handshakes_late");
            self.drop_channel(ctx, Path::Transport(link));
        }
        for (id, via) in relayed {
            ctx.count("handshakes_late");
            self.contact_failed(ctx, id);
            if let Some(via) = via {
                self.relayed_gone(ctx, id, via);
            }
        }
    }

    // Liveness.

    fn probe(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        let mut due = Vec::new();
        let mut silent = Vec::new();
        for (id, peer) in &mut self.peers {
            match peer.ping {
                Some((_, sent)) if peer.heard_us > sent => peer.ping = None,
                Some((_, sent)) if now > sent + ctx.config.suspect_after_us => silent.push(*id),
                _ => {}
            }
            if peer.ping.is_none() && now >= peer.ping_due_us {
                // Whatever was heard is as good as a pong; its own ping brought the news.
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
        let news = self.news(ctx, &id);
        let sibling = self.siblings.contains(&id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let number = ctx.rng.next_u32();
        peer.ping = Some((number, ctx.now.mono));
        peer.ping_due_us = ctx.now.mono + peer.ping_interval(ctx.config, sibling);
        self.send_frame(ctx, &id, &Frame::Link(LinkFrame::Ping { number, news }));
    }

    pub(super) fn pinged(&mut self, ctx: &mut Ctx<'_>, id: Id, path: Path, number: u32, news: News) {
        self.heard_news(ctx, id, news);
        let news = self.news(ctx, &id);
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

    /// What this node tells a peer: contacts near to it when the table changed since, and now and then anyway.
    fn news(&mut self, ctx: &Ctx<'_>, id: &Id) -> News {
        let mut contacts = Vec::new();
        if let Some(peer) = self.peers.get_mut(id) {
            let (version, at) = peer.gossiped;
            if version != self.table_version || ctx.now.mono >= at + GOSSIP_FULL_US {
                peer.gossiped = (self.table_version, ctx.now.mono);
                contacts = self.contacts_near(id, GOSSIP_CONTACTS, id);
            }
        }
        let bucket = self.me.common_prefix(id);
        let alike = self.live().filter(|(other, _)| self.me.common_prefix(other) == bucket).count();
        News {
            established: self.established,
            home: self.home(),
            sibling: self.siblings.contains(id),
            needed: alike <= ctx.config.bucket_links,
            contacts,
        }
    }

    fn heard_news(&mut self, ctx: &mut Ctx<'_>, id: Id, news: News) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.wants_us = news.sibling;
        peer.needs_us = news.needed;
        peer.home = news.home;
        let contact = Contact { id, relay: news.home, supernode: peer.supernode };
        self.heard_of(ctx, contact);
        if news.established && !self.established {
            self.events.push_back(Event::Established(id));
        }
        for contact in news.contacts.into_iter().take(2 * GOSSIP_CONTACTS) {
            self.heard_of(ctx, contact);
        }
    }

    // Finding peers.

    /// Asks for this node's own place and for the slots that are not known.
    fn ask_around(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        self.finds.waiting.retain(|_, find| now < find.until_us);
        if self.peers.is_empty() {
            self.finds.linked_us = None;
            return;
        }
        self.finds.linked_us.get_or_insert(now);
        let own_waiting = self.finds.waiting.values().any(|find| find.bucket.is_none());
        if now >= self.finds.own_due_us && !own_waiting {
            self.ask(ctx, self.me, None);
        }
        if !self.finds.own_answered {
            return;
        }
        for bucket in self.unknown_slots(ctx) {
            if self.finds.waiting.len() >= FINDS_MAX {
                break;
            }
            if self.finds.waiting.values().any(|find| find.bucket == Some(bucket)) {
                continue;
            }
            let mut random = Id::ZERO;
            ctx.rng.fill_bytes(&mut random.0);
            let target = Region::prefix(&self.me, bucket).fix(bucket, !self.me.bit(bucket)).nearest(&random);
            self.ask(ctx, target, Some(bucket));
        }
    }

    /// Buckets that may hold somebody unknown, or fewer links than wished for.
    fn unknown_slots(&self, ctx: &Ctx<'_>) -> Vec<u32> {
        let deepest = self.live().map(|(id, _)| self.me.common_prefix(id)).max().unwrap_or(0);
        (0..=deepest).filter(|index| self.slot(*index, ctx.config.siblings) == Slot::Unknown).collect()
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, target: Id, bucket: Option<u32>) {
        let first = self.next_hop(&target, &self.me, &[]).or_else(|| {
            let live: Vec<Id> = self.live().map(|(id, _)| *id).collect();
            // Drawn before it is narrowed: a 32-bit platform must draw the same.
            let pick = (ctx.rng.next_u64() % live.len().max(1) as u64) as usize;
            live.get(pick).copied()
        });
        let Some(first) = first else { return };
        let number = ctx.serial();
        self.finds.waiting.insert(number, Find { bucket, until_us: ctx.now.mono + FIND_US });
        let message = Message::Find { target, number, asker: self.contact(ctx) };
        self.send_frame(ctx, &first, &Frame::Direct(Body::Overlay(message)));
    }

    pub(super) fn find(&mut self, ctx: &mut Ctx<'_>, target: Id, number: u64, asker: Contact) {
        if let Some(next) = self.next_hop(&target, &asker.id, &[]) {
            let message = Message::Find { target, number, asker };
            self.send_frame(ctx, &next, &Frame::Direct(Body::Overlay(message)));
            return;
        }
        let contacts = self.contacts_near(&target, ctx.config.siblings, &asker.id);
        let responder = self.contact(ctx);
        ctx.send_via(asker.id, asker.relay, Message::Found { number, responder, contacts });
    }

    pub(super) fn found(&mut self, ctx: &mut Ctx<'_>, number: u64, responder: Contact, contacts: Vec<Contact>) {
        let Some(find) = self.finds.waiting.remove(&number) else { return };
        let ids: Vec<Id> = contacts.iter().map(|contact| contact.id).chain([responder.id]).collect();
        self.heard_of(ctx, responder);
        for contact in contacts.into_iter().take(2 * GOSSIP_CONTACTS) {
            self.heard_of(ctx, contact);
        }
        match find.bucket {
            None => {
                self.finds.own_answered = true;
                self.finds.own_due_us = ctx.now.mono + FIND_OWN_US;
            }
            Some(bucket) if !ids.iter().any(|id| self.me.common_prefix(id) == bucket) => {
                self.empty_slots.insert(bucket, ctx.now.mono);
            }
            Some(_) => {}
        }
        self.progress(ctx);
    }

    fn check_joined(&mut self, ctx: &mut Ctx<'_>) {
        if self.joined || !self.finds.own_answered || self.peers.is_empty() {
            return;
        }
        let nearest = self.contacts.keys().min_by_key(|id| id.distance(&self.me));
        let placed = nearest.is_none_or(|id| self.peers.contains_key(id));
        let patient = self.finds.linked_us.is_some_and(|since| ctx.now.mono < since + JOIN_PATIENCE_US);
        if placed || !patient {
            self.joined = true;
            ctx.trace("link", "joined", None, || format!("{} links", self.peers.len()));
            self.events.push_back(Event::Joined(true));
        }
    }

    // Links.

    /// Opens links to the nearest peers heard of, and to those that fill a bucket.
    fn open_wanted(&mut self, ctx: &mut Ctx<'_>) {
        if ctx.now.mono < self.open_due_us {
            return;
        }
        self.open_due_us = ctx.now.mono + OPEN_US;
        let heard_of: Vec<Id> = self.contacts.keys().chain(self.peers.keys()).copied().collect();
        let nearest = nearest(&heard_of, &self.me, heard_of.len());
        let mut opened = 0;
        let mut buckets: Map<u32, usize> = Map::new();
        for (rank, id) in nearest.iter().enumerate() {
            let count = buckets.entry(self.me.common_prefix(id)).or_default();
            // A bucket without any link is a hole in this node's routing: it is filled even beyond the links that a node
            // opens for comfort.
            let wanted = rank < ctx.config.siblings
                || *count == 0
                || (*count < ctx.config.bucket_links && self.peers.len() < ctx.config.links_opened_max);
            if self.peers.contains_key(id) {
                *count += 1;
            } else if wanted && opened < OPENS_A_TICK && self.open(ctx, *id) {
                *count += 1;
                opened += 1;
            }
        }
        if opened >= OPENS_A_TICK {
            self.open_due_us = ctx.now.mono;
        }
    }

    /// Tries to link to a peer heard of: over a relay if there is one, else by WebRTC at once.
    fn open(&mut self, ctx: &mut Ctx<'_>, id: Id) -> bool {
        let Some(known) = self.contacts.get(&id) else { return false };
        if ctx.now.mono < known.retry_us || self.relayed.contains_key(&id) || self.session_with(&id).is_some() {
            return false;
        }
        if !ctx.config.supernode && self.peers.len() >= ctx.config.links_max {
            return false;
        }
        let relay = known.contact.relay.filter(|relay| self.usable_relay(relay)).or_else(|| self.home());
        if let Some(via) = relay.filter(|via| *via != id) {
            self.open_relayed(ctx, id, via);
            return true;
        }
        if self.may_open_rtc(ctx) && !known.contact.supernode {
            let via = known.contact.relay;
            self.open_rtc(ctx, id, via);
            return true;
        }
        false
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

    /// Replaces relayed links by direct ones. The smaller id begins; the other follows when nothing happens.
    fn upgrade(&mut self, ctx: &mut Ctx<'_>) {
        if !self.may_open_rtc(ctx) {
            return;
        }
        let now = ctx.now.mono;
        let wanted = |(id, peer): &(&Id, &Peer)| {
            let turn = self.me < **id || now > peer.since_us + 10 * SECOND_US;
            peer.direct.is_none() && peer.direct_links && now >= peer.upgrade_due_us && turn
        };
        let due: Vec<Id> =
            self.live().filter(wanted).map(|(id, _)| *id).filter(|id| self.session_with(id).is_none()).collect();
        for id in due.into_iter().take(UPGRADES_A_TICK) {
            if self.may_open_rtc(ctx) {
                self.open_rtc(ctx, id, None);
            }
        }
    }

    /// Closes links that neither side counts among its siblings, and that fill no bucket of the other side, while room
    /// for newcomers is short.
    fn prune(&mut self, ctx: &mut Ctx<'_>) {
        let peers = self.peers.values().filter(|peer| !peer.supernode).count();
        let keep = ctx.config.links_max.saturating_sub(ROOM_KEPT);
        if ctx.config.supernode || peers <= keep {
            return;
        }
        let mut buckets: Map<u32, usize> = Map::new();
        for id in self.peers.keys() {
            *buckets.entry(self.me.common_prefix(id)).or_default() += 1;
        }
        let old = ctx.now.mono.saturating_sub(10 * SECOND_US);
        let mut spare: Vec<(usize, bool, Id)> = self
            .peers
            .iter()
            .filter(|(id, peer)| {
                let wanted = peer.wants_us || peer.needs_us || self.siblings.contains(id);
                !peer.supernode && !wanted && peer.since_us < old
            })
            .map(|(id, peer)| {
                (buckets.get(&self.me.common_prefix(id)).copied().unwrap_or(0), peer.direct.is_none(), *id)
            })
            .filter(|(count, ..)| *count > ctx.config.bucket_links)
            .collect();
        let surplus = (peers - keep).min(PRUNES_A_TICK);
        for _ in 0..surplus {
            let Some((worst, (_, _, id))) = spare.iter().copied().enumerate().max_by_key(|(_, peer)| *peer) else {
                break;
            };
            spare.swap_remove(worst);
            ctx.count("links_pruned");
            self.say_bye(ctx, id);
            self.unlink(ctx, id);
            if let Some(known) = self.contacts.get_mut(&id) {
                known.retry_us = ctx.now.mono + 30 * SECOND_US;
            }
        }
    }
}
