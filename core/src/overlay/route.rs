//! Recursive routing: each hop at least one bit closer, acknowledged, retried over another first hop.
//!
//! A hop that took a message answers `HopAck` at once and is responsible from then on. The sender judges *the next
//! hop only*: without an acknowledgement within its measured round trips it tries the next best neighbour.

use std::collections::VecDeque;

use crate::{
    ctx::{Ctx, Post},
    id::Id,
    map::Set,
    overlay::{
        Event, Overlay, Timer,
        channel::Path,
        frame::{Dest, LinkFrame, Routed},
    },
    wire::{Body, Contact, Frame},
};

const SEEN_MAX: usize = 4_096;

/// A message that waits for its next hop's acknowledgement.
#[derive(Debug)]
pub struct Pending {
    routed: Routed,
    hop: Id,
    tried: Vec<Id>,
}

/// Messages delivered or handed on lately, so that a retry that crossed a late acknowledgement is not taken twice.
#[derive(Debug, Default)]
pub struct Seen {
    names: Set<(Id, u64)>,
    order: VecDeque<(Id, u64)>,
}

impl Seen {
    /// Whether it is new.
    fn insert(&mut self, name: (Id, u64)) -> bool {
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

enum Hop {
    Here,
    Next(Id),
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
                if self.peers.get(&to).is_some_and(|peer| !peer.suspected) {
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
        let routed = Routed { number, serial: number, origin: self.contact(ctx), dest, hops: 0, body };
        self.forward(ctx, routed, Vec::new());
    }

    /// A routed message arrived from a linked peer.
    pub(super) fn routed_in(&mut self, ctx: &mut Ctx<'_>, link_peer: Id, mut routed: Routed) {
        let ack = Frame::Link(LinkFrame::HopAck { serial: routed.serial });
        self.send_frame(ctx, &link_peer, &ack);
        if !self.seen.insert((routed.origin.id, routed.number)) {
            ctx.count("routed_twice");
            return;
        }
        routed.hops += 1;
        if routed.hops > ctx.config.hops_max {
            ctx.count("routed_too_far");
            return;
        }
        if let Dest::Node { id, via } = &mut routed.dest
            && *via == Some(self.me)
        {
            *via = None;
            if !self.peers.contains_key(id) {
                ctx.count("routed_nowhere");
                return;
            }
        }
        self.forward(ctx, routed, Vec::new());
    }

    fn hop(&self, routed: &Routed, tried: &[Id]) -> Hop {
        match routed.dest {
            Dest::Node { id, .. } if id == self.me => Hop::Here,
            Dest::Node { id, .. } if self.usable(&id) && !tried.contains(&id) => Hop::Next(id),
            Dest::Node { id, via } => match self.next_hop(&via.unwrap_or(id), &routed.origin.id, tried) {
                Some(hop) => Hop::Next(hop),
                None => Hop::Nowhere,
            },
            Dest::Key(key) => match self.next_hop(&key, &routed.origin.id, tried) {
                Some(hop) => Hop::Next(hop),
                None => Hop::Here,
            },
        }
    }

    fn usable(&self, id: &Id) -> bool {
        self.peers.get(id).is_some_and(|peer| !peer.suspected)
    }

    /// The live neighbour nearest to `target`, if nearer than this node. Nothing goes back to its origin.
    pub(super) fn next_hop(&self, target: &Id, origin: &Id, tried: &[Id]) -> Option<Id> {
        let own = self.me.distance(target);
        self.live()
            .filter(|(id, _)| *id != origin && !tried.contains(id))
            .map(|(id, _)| (id.distance(target), *id))
            .filter(|(distance, _)| *distance < own)
            .min()
            .map(|(_, id)| id)
    }

    fn forward(&mut self, ctx: &mut Ctx<'_>, mut routed: Routed, tried: Vec<Id>) {
        match self.hop(&routed, &tried) {
            Hop::Here => {
                let key = match routed.dest {
                    Dest::Key(key) => Some(key),
                    Dest::Node { .. } => None,
                };
                ctx.add("routed_hops", u64::from(routed.hops));
                ctx.count("routed_delivered");
                self.events.push_back(Event::Deliver { from: routed.origin, key, body: Box::new(routed.body) });
            }
            Hop::Next(hop) => {
                if self.pending.len() >= ctx.config.routes_pending_max {
                    ctx.count("routes_refused");
                    return;
                }
                routed.serial = ctx.serial();
                let serial = routed.serial;
                let timeout = self.peers.get(&hop).map_or(0, |peer| peer.rtt.timeout_us(ctx.config));
                let frame = Frame::Routed(routed);
                self.send_frame(ctx, &hop, &frame);
                if let Frame::Routed(routed) = frame {
                    self.pending.insert(serial, Pending { routed, hop, tried });
                    ctx.timer(timeout, crate::node::Timer::Overlay(Timer::Hop(serial)));
                }
            }
            Hop::Nowhere => {
                ctx.count("routed_nowhere");
                ctx.trace("route", "nowhere", None, || format!("{:?}", routed.dest));
            }
        }
    }

    pub(super) fn hop_acked(&mut self, from: Id, serial: u64) {
        if self.pending.get(&serial).is_some_and(|pending| pending.hop == from) {
            self.pending.remove(&serial);
        }
    }

    pub(super) fn hop_late(&mut self, ctx: &mut Ctx<'_>, serial: u64) {
        if let Some(pending) = self.pending.remove(&serial) {
            ctx.count("hops_late");
            self.try_another(ctx, pending);
        }
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
            pending.routed.hops += 1;
        }
        self.forward(ctx, pending.routed, pending.tried);
    }

    /// A peer went down: what waited for it goes another way at once.
    pub(super) fn reroute_from(&mut self, ctx: &mut Ctx<'_>, gone: Id) {
        let waiting: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| pending.hop == gone).map(|(serial, _)| *serial).collect();
        for serial in waiting {
            if let Some(pending) = self.pending.remove(&serial) {
                self.try_another(ctx, pending);
            }
        }
    }

    /// A frame of an open link.
    pub(super) fn peer_frame(&mut self, ctx: &mut Ctx<'_>, id: Id, path: Path, frame: Frame) {
        match frame {
            Frame::Routed(routed) => self.routed_in(ctx, id, routed),
            Frame::Direct(body) => {
                let supernode = self.peers.get(&id).is_some_and(|peer| peer.supernode);
                let from = Contact { id, relay: None, supernode };
                self.events.push_back(Event::Deliver { from, key: None, body: Box::new(body) });
            }
            Frame::Link(frame) => match frame {
                LinkFrame::HopAck { serial } => self.hop_acked(id, serial),
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
