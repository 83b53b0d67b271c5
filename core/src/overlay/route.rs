//! Recursive routing: each hop at least one bit closer, acknowledged, retried over another first hop.
//!
//! A hop that took a message answers `HopAck` at once and is responsible from then on. The sender judges *the next
//! hop only*: without an acknowledgement, or any other sign of life, within its measured round trips it tries the next best
//! neighbour.
//!
//! Neighbours tell which peers they are linked to, and the next hop is the one that is, or is linked to, the peer nearest
//! to the target (Manku, Naor, Wieder, *Know thy neighbor's neighbor*, STOC 2004). A hop taken for what lies behind it
//! leads away at first; [`Step`] says what was promised, so that no message goes round: those who hold it freely are
//! each nearer than the one before, and once a promise failed every hop is.

use std::collections::VecDeque;

use crate::{
    ctx::{Ctx, Post},
    id::{Distance, Id},
    map::Set,
    overlay::{
        Event, Overlay, Timer,
        bulk::weight,
        channel::Path,
        frame::{Dest, LinkFrame, Routed, Step},
    },
    wire::{Body, Contact, Frame},
};

const SEEN_MAX: usize = 4_096;

/// A message that waits for its next hop's acknowledgement.
#[derive(Debug)]
pub struct Pending {
    pub(super) routed: Routed,
    pub(super) hop: Id,
    pub(super) tried: Vec<Id>,
    sent_us: u64,
    /// Its bytes if it brings rows; and whether it was not sent yet, since too many others are on their way.
    pub(super) weight: usize,
    pub(super) waits: bool,
}

/// Messages delivered or handed on lately, so that a retry that crossed a late acknowledgement is not taken twice.
#[derive(Debug, Default)]
pub struct Seen {
    names: Set<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Whether a message is new here: at this hop of its way, or (`None`) as delivered.
    fn insert(&mut self, routed: &Routed, hop: Option<u8>) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = routed.origin.id.0;
        let number = routed.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hop = hop.map_or(u64::MAX, u64::from).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let name = u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ number ^ hop;
        if !self.names.insert(name) {
            return false;
        }
        self.order.push_back(name);
        if self.order.len() > SEEN_MAX
            && let Some(old) = self.order.pop_front()
        {
            self.names.remove(&old);
        }
        true
    }
}

/// Whether a message has to do with what the application asks for, rather than with upkeep.
fn asked_by_application(body: &Body) -> bool {
    matches!(body, Body::Dht(_) | Body::App(_) | Body::Exchange(_) | Body::Live(_))
}

/// Whether a message is acknowledged also by a peer that is linked, and goes another way if the link closes first. Who
/// waits for it would else find out late.
fn outlives_links(body: &Body) -> bool {
    use crate::spread::{Message, Work};
    match body {
        Body::Spread(Message::Task { work, .. }) => matches!(work, Work::Query { .. }),
        Body::Spread(message) => {
            matches!(message, Message::Piece { .. } | Message::More { .. } | Message::Cancel { .. })
        }
        body => matches!(body, Body::Exchange(_) | Body::Live(_)),
    }
}

enum Hop {
    Here,
    Next(Id, Step),
    Nowhere,
}

impl Overlay {
    /// Sends what a layer above posted.
    pub fn post(&mut self, ctx: &mut Ctx<'_>, post: Post) {
        match post {
            Post::Node { to, via: _, body } if to == self.me => {
                let from = self.contact(ctx);
                self.events.push_back(Event::Deliver { from, key: None, body: Box::new(body) });
            }
            Post::Node { to, via, body } => {
                if self.usable(&to) && !outlives_links(&body) {
                    if asked_by_application(&body) {
                        self.used(ctx, &to);
                    }
                    self.send_frame(ctx, &to, &Frame::Direct(body));
                } else {
                    let via = via.filter(|via| *via != self.me && *via != to);
                    self.route(ctx, Dest::Node { id: to, via }, body);
                }
            }
            Post::Key { key, body } => self.route(ctx, Dest::Key(key), body),
        }
    }

    fn route(&mut self, ctx: &mut Ctx<'_>, dest: Dest, body: Body) {
        let number = ctx.serial();
        let origin = self.contact(ctx);
        let routed = Routed { number, serial: number, origin, dest, hops: 0, step: Step::Free, body };
        self.forward(ctx, routed, Vec::new());
    }

    /// To a node over its relay, whether or not it is linked.
    pub(super) fn route_past_link(&mut self, ctx: &mut Ctx<'_>, to: Contact, body: Body) {
        let number = ctx.serial();
        let dest = Dest::Node { id: to.id, via: to.relay };
        let routed =
            Routed { number, serial: number, origin: self.contact(ctx), dest, hops: 0, step: Step::Free, body };
        self.forward(ctx, routed, vec![to.id]);
    }

    /// A routed message arrived from a linked peer.
    pub(super) fn routed_in(&mut self, ctx: &mut Ctx<'_>, link_peer: Id, mut routed: Routed) {
        let ack = Frame::Link(LinkFrame::HopAck { serial: routed.serial });
        self.send_frame(ctx, &link_peer, &ack);
        if !self.seen.insert(&routed, Some(routed.hops)) {
            ctx.count("routed_twice");
            return;
        }
        routed.hops = routed.hops.saturating_add(1);
        if routed.hops > ctx.config.hops_max {
            ctx.count("routed_too_far");
            return;
        }
        // What was said of a relay may be old: a node that is not linked here any more is looked for as if nobody had.
        if let Dest::Node { via, .. } = &mut routed.dest
            && *via == Some(self.me)
        {
            *via = None;
            routed.step = Step::Free;
        }
        self.forward(ctx, routed, Vec::new());
    }

    fn hop(&self, routed: &Routed, tried: &[Id]) -> Hop {
        let towards = |target: &Id| self.step(target, &routed.origin.id, tried, routed.step);
        // Whom a newcomer knows may all be farther than itself: away from it is a way too, as nothing comes back there.
        let first = |target: &Id| {
            let own = routed.origin.id == self.me && !self.joined;
            self.best_hop(target, &self.me, tried, |_, _| own).map(|hop| (hop, Step::Free))
        };
        match routed.dest {
            Dest::Node { id, .. } if id == self.me => Hop::Here,
            Dest::Node { id, .. } if self.usable(&id) && !tried.contains(&id) => Hop::Next(id, Step::Free),
            Dest::Node { id, via } => {
                match via.and_then(|via| towards(&via)).or_else(|| towards(&id)).or_else(|| first(&id)) {
                    Some((hop, step)) => Hop::Next(hop, step),
                    None => Hop::Nowhere,
                }
            }
            Dest::Key(key) => match towards(&key) {
                Some((hop, step)) => Hop::Next(hop, step),
                None => Hop::Here,
            },
        }
    }

    /// A relay that is gone, or that nobody nearby is linked to, does not keep the node from being found; it is forgotten,
    /// so that the message does not go to and fro between the ways to the one and to the other.
    fn forget_relay(&self, routed: &mut Routed, tried: &[Id]) {
        if let Dest::Node { via: Some(relay), .. } = routed.dest
            && self.step(&relay, &routed.origin.id, tried, routed.step).is_none()
            && let Dest::Node { via, .. } = &mut routed.dest
        {
            *via = None;
            routed.step = Step::Free;
        }
    }

    pub(super) fn usable(&self, id: &Id) -> bool {
        self.peers.get(id).is_some_and(|peer| peer.usable())
    }

    /// The next hop of a message, and how its receiver may go on; `None` where nobody is nearer.
    fn step(&self, target: &Id, origin: &Id, tried: &[Id], step: Step) -> Option<(Id, Step)> {
        let (own, own_head) = (self.me.distance(target), self.me.head() ^ target.head());
        match step {
            Step::Free => {
                let hop = self.best_hop(target, origin, tried, |distance, two| *distance < own || two < own_head)?;
                let nearer = hop.distance(target) < own;
                Some((hop, if nearer { Step::Free } else { Step::Promised(own_head) }))
            }
            Step::Promised(limit) => {
                match self.best_hop(target, origin, tried, |distance, _| distance.head() < limit) {
                    Some(hop) => Some((hop, Step::Free)),
                    None => self.step(target, origin, tried, Step::Strict),
                }
            }
            Step::Strict => {
                let hop = self.best_hop(target, origin, tried, |distance, _| *distance < own)?;
                Some((hop, Step::Strict))
            }
        }
    }

    /// Of the live neighbours that may be taken, the one that is or is linked to the nearest to `target`. `may` is handed
    /// a neighbour's distance and the first bits of the least distance over it. Nothing goes back to its origin.
    fn best_hop(&self, target: &Id, origin: &Id, tried: &[Id], may: impl Fn(&Distance, u32) -> bool) -> Option<Id> {
        let head = target.head();
        let mut best: Option<(u32, Distance, Id)> = None;
        for (id, peer) in self.live() {
            if id == origin || tried.contains(id) {
                continue;
            }
            let distance = id.distance(target);
            let two = peer.ahead.iter().fold(distance.head(), |two, other| two.min(other ^ head));
            let better = best.is_none_or(|(least, nearest, _)| (two, distance) < (least, nearest));
            if better && may(&distance, two) {
                best = Some((two, distance, *id));
            }
        }
        best.map(|(_, _, id)| id)
    }

    /// The next hop towards a key for what a layer above hands on by itself, and how its receiver may; `None`: nobody is
    /// nearer.
    pub fn towards(&self, key: &Id, step: Step) -> Option<(Id, Step)> {
        self.step(key, &self.me, &[], step)
    }

    /// A live neighbour that is nearer to `target` than this node.
    pub(super) fn next_hop(&self, target: &Id, origin: &Id, tried: &[Id]) -> Option<Id> {
        self.step(target, origin, tried, Step::Strict).map(|(hop, _)| hop)
    }

    pub(super) fn forward(&mut self, ctx: &mut Ctx<'_>, mut routed: Routed, tried: Vec<Id>) {
        self.forget_relay(&mut routed, &tried);
        match self.hop(&routed, &tried) {
            Hop::Here => {
                let key = match routed.dest {
                    Dest::Key(key) => Some(key),
                    Dest::Node { .. } => None,
                };
                if !self.seen.insert(&routed, None) {
                    ctx.count("routed_twice");
                    return;
                }
                ctx.add("routed_hops", u64::from(routed.hops));
                ctx.count("routed_delivered");
                if key.is_none() && asked_by_application(&routed.body) {
                    self.answered_by(ctx, routed.origin);
                }
                self.events.push_back(Event::Deliver { from: routed.origin, key, body: Box::new(routed.body) });
            }
            Hop::Next(hop, step) => {
                let weight = weight(&routed.body);
                let bytes = self.pending_bytes + weight;
                if self.pending.len() >= ctx.config.routes_pending_max || bytes > ctx.config.routes_bytes_max {
                    ctx.count("routes_refused");
                    return;
                }
                if routed.origin.id == self.me && asked_by_application(&routed.body) {
                    self.used(ctx, &hop);
                }
                let held = core::mem::replace(&mut routed.step, step);
                routed.serial = ctx.serial();
                let serial = routed.serial;
                let timeout = self.peers.get(&hop).map_or(0, |peer| peer.rtt.timeout_us(ctx.config));
                let waits = self.waits(ctx, &hop, weight);
                let frame = Frame::Routed(routed);
                if !waits {
                    self.send_frame(ctx, &hop, &frame);
                }
                if let Frame::Routed(mut routed) = frame {
                    routed.step = held;
                    // A link loses nothing while it is open: at its other end long rows may just have to queue.
                    let arrives = matches!(routed.dest, Dest::Node { id, .. } if id == hop);
                    // What is long is not sent twice because a queue is long.
                    let timed = weight == 0 && !(arrives && outlives_links(&routed.body));
                    self.pending_bytes = bytes;
                    self.pending.insert(serial, Pending { routed, hop, tried, sent_us: ctx.now.mono, weight, waits });
                    if timed {
                        ctx.timer(timeout, crate::node::Timer::Overlay(Timer::Hop(serial)));
                    }
                }
            }
            Hop::Nowhere => {
                ctx.count("routed_nowhere");
                ctx.trace("route", "nowhere", None, || format!("{:?}", routed.dest));
            }
        }
    }

    pub(super) fn hop_acked(&mut self, ctx: &mut Ctx<'_>, from: Id, serial: u64) {
        if self.pending.get(&serial).is_some_and(|pending| pending.hop == from && !pending.waits)
            && let Some(pending) = self.unpend(serial)
        {
            self.release(ctx, from, pending.weight);
        }
    }

    pub(super) fn hop_late(&mut self, ctx: &mut Ctx<'_>, serial: u64) {
        if let Some(timeout) = self.busy(ctx, serial) {
            ctx.timer(timeout, crate::node::Timer::Overlay(Timer::Hop(serial)));
            return;
        }
        if let Some(pending) = self.unpend(serial) {
            ctx.count("hops_late");
            if self.peers.get(&pending.hop).is_some_and(|peer| peer.ping.is_none()) {
                self.ping(ctx, pending.hop);
            }
            self.try_another(ctx, pending);
        }
    }

    /// A hop that is heard while it owes an acknowledgement has a queue before it: another way would make the queues longer.
    /// How long to wait on.
    fn busy(&self, ctx: &Ctx<'_>, serial: u64) -> Option<u64> {
        let pending = self.pending.get(&serial)?;
        let peer = self.peers.get(&pending.hop).filter(|peer| peer.usable())?;
        let (now, timeout) = (ctx.now.mono, peer.rtt.timeout_us(ctx.config));
        (peer.heard_us + timeout > now && now < pending.sent_us + ctx.config.queue_us).then_some(timeout)
    }

    fn try_another(&mut self, ctx: &mut Ctx<'_>, mut pending: Pending) {
        pending.tried.push(pending.hop);
        if pending.tried.len() >= usize::from(ctx.config.route_attempts) {
            ctx.count("routed_given_up");
            return;
        }
        // A message for a key whose only nearer neighbour is slow must not end here under a false owner.
        if matches!(self.hop(&pending.routed, &pending.tried), Hop::Here) && self.usable(&pending.hop) {
            pending.tried.retain(|id| *id != pending.hop);
            let attempts = pending.routed.hops;
            if attempts >= ctx.config.hops_max {
                ctx.count("routed_given_up");
                return;
            }
            pending.routed.hops = pending.routed.hops.saturating_add(1);
        }
        self.forward(ctx, pending.routed, pending.tried);
    }

    /// A peer went down: what waited for it goes another way at once.
    pub(super) fn reroute_from(&mut self, ctx: &mut Ctx<'_>, gone: Id) {
        if let Some(peer) = self.peers.get_mut(&gone) {
            (peer.unacknowledged, peer.waiting) = (0, false);
        }
        let waiting: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| pending.hop == gone).map(|(serial, _)| *serial).collect();
        for serial in waiting {
            match self.unpend(serial) {
                Some(Pending { routed, tried, waits: true, .. }) => self.forward(ctx, routed, tried),
                Some(pending) => self.try_another(ctx, pending),
                None => {}
            }
        }
    }

    /// A frame of an open link.
    pub(super) fn peer_frame(&mut self, ctx: &mut Ctx<'_>, id: Id, path: Path, frame: Frame) {
        match frame {
            Frame::Routed(routed) => self.routed_in(ctx, id, routed),
            Frame::Direct(body) => {
                let supernode = self.peers.get(&id).is_some_and(|peer| peer.supernode);
                let from = Contact { id, relay: None, supernode, full: false };
                self.events.push_back(Event::Deliver { from, key: None, body: Box::new(body) });
            }
            Frame::Link(frame) => match frame {
                LinkFrame::HopAck { serial } => self.hop_acked(ctx, id, serial),
                LinkFrame::Ping { number, news } => self.pinged(ctx, id, path, number, news),
                LinkFrame::Pong { number, news } => self.ponged(ctx, id, number, news),
                LinkFrame::Relay { from, to, frame } => match path {
                    Path::Transport(_) => self.relay(ctx, id, from, to, frame),
                    Path::Relay { .. } => ctx.count("frames_malformed"),
                },
                LinkFrame::RelayFailed { to } => self.relay_failed(ctx, id, to),
                LinkFrame::Bye { leaving } => self.said_bye(ctx, id, path, leaving),
                // A second handshake on an open channel: the other side began again.
                LinkFrame::Hello(_) | LinkFrame::Proof { .. } | LinkFrame::Refuse(_) => ctx.count("frames_malformed"),
            },
        }
    }
}
