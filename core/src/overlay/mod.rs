//! Links, routing, join and leave: a Kademlia-metric overlay with *recursive* routing over standing links.
//!
//! Metric and k-buckets are Kademlia's (Maymounkov and Mazières, IPTPS 2002); requests hop from peer to peer as in
//! Pastry and Bamboo (Rhea et al., USENIX 2004) because links are dear in a browser and messages are cheap. Each hop
//! acknowledges to the one before, which tries another first hop when the acknowledgement is late.
//!
//! A *link* to a peer is one or two proven channels: a transport of the driver (WebSocket, WebRTC) or a path through a
//! relaying peer. A peer starts with one WebSocket to a supernode, opens relayed links at once and replaces them by
//! WebRTC in the background; offers and candidates travel as messages of this overlay.
//!
//! - [`frame`]: what travels; `channel`: handshake and transports; `peer`: what is known of a linked peer
//! - `table`: buckets, siblings, which slots are filled, known to be empty, or unknown
//! - `route`: next hops, acknowledgements, retries; `relay`: relayed channels; `rtc`: WebRTC sessions and signalling
//! - `maintain`: the tick, dialling, joining; `probe`: liveness; `news`: what probes tell; `find`: finding peers; `links`: which links are
//!   opened and closed; `log`: which came and went
//!
//! Invariant: `peers` holds exactly the peers with at least one open (proven) channel.

mod bulk;
mod channel;
mod find;
pub mod frame;
mod handshake;
#[cfg(test)]
mod harness;
mod links;
mod log;
mod maintain;
mod news;
mod peer;
mod probe;
mod relay;
mod route;
mod rtc;
mod table;
mod traffic;
mod view;

use std::collections::VecDeque;

pub use frame::{Dest, Hello, LinkFrame, Message, Refusal, Routed, SessionName, Step, Want};
pub use maintain::TICK_US;
pub use view::View;

use self::{
    channel::Channel,
    find::Finds,
    log::Log,
    maintain::Dial,
    peer::Peer,
    route::{Pending, Seen},
    rtc::Session,
    table::Known,
    traffic::Traffic,
};
use crate::{
    ctx::Ctx,
    id::{Id, Region},
    inspect::{LinkInfo, PeerInfo},
    map::Map,
    node::{Input, LinkId, Origin, Output, SessionId},
    wire::{Body, Contact},
};

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {
    /// The periodic look at everything.
    Tick,
    /// The next hop of this message should have acknowledged by now.
    Hop(u64),
}

/// What this layer tells the layers above.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message for this node, or for a key that it is closest to.
    Deliver {
        /// Who sent it first.
        from: Contact,
        /// The key that it was routed to, if it was.
        key: Option<Id>,
        /// The message.
        body: Box<Body>,
    },
    /// A peer has an open link now.
    PeerUp(Id),
    /// A peer has no open link any more.
    PeerDown {
        /// The peer.
        peer: Id,
        /// It has one link less, and goes on.
        lives: bool,
    },
    /// The siblings changed.
    ViewChanged,
    /// A linked peer says that it belongs to a network that was founded.
    Established(Id),
    /// The node has joined, or has lost every link again.
    Joined(bool),
}

/// The overlay of one node.
pub struct Overlay {
    me: Id,
    channels: Map<LinkId, Channel>,
    relayed: Map<Id, Channel>,
    peers: Map<Id, Peer>,
    contacts: Map<Id, Known>,
    dead: Map<Id, u64>,
    sessions: Map<SessionId, Session>,
    dials: Map<String, Dial>,
    /// Addresses that the driver heard of.
    learnt: Vec<String>,
    pending: Map<u64, Pending>,
    /// Bytes of rows in it.
    pending_bytes: usize,
    seen: Seen,
    siblings: Vec<Id>,
    /// Live links in each slot, to peers that are not crowded.
    slots: Box<[u8; table::SLOTS]>,
    /// Whether one of the linked peers is a supernode.
    supernode_linked: bool,
    empty_slots: Map<u32, u64>,
    finds: Finds,
    /// When peers that are not linked answered last.
    answers: Map<Id, u64>,
    /// Links that this node tells its peers of, and how they came and went.
    published: Vec<u32>,
    links_log: Log,
    /// What was sent, by purpose.
    pub traffic: Traffic,
    events: VecDeque<Event>,
    open_due_us: u64,
    spare_due_us: u64,
    expire_due_us: u64,
    table_version: u64,
    joined: bool,
    leaving: bool,
    /// Whether this node belongs to a network that was founded; told to peers.
    pub established: bool,
    /// The regions that this node owns by certificate: they tell which buckets are inhabited.
    pub owned: Vec<Region>,
    /// How far the network's time is from this node's wall clock.
    clock_us: i64,
}

impl Overlay {
    /// An overlay without links.
    pub fn new(me: Id) -> Overlay {
        Overlay {
            me,
            channels: Map::new(),
            relayed: Map::new(),
            peers: Map::new(),
            contacts: Map::new(),
            dead: Map::new(),
            sessions: Map::new(),
            dials: Map::new(),
            learnt: Vec::new(),
            pending: Map::new(),
            pending_bytes: 0,
            seen: Seen::default(),
            siblings: Vec::new(),
            slots: Box::new([0; table::SLOTS]),
            supernode_linked: false,
            empty_slots: Map::new(),
            finds: Finds::default(),
            answers: Map::new(),
            published: Vec::new(),
            links_log: Log::default(),
            traffic: Traffic::default(),
            events: VecDeque::new(),
            open_due_us: 0,
            spare_due_us: 0,
            expire_due_us: 0,
            table_version: 1,
            joined: false,
            leaving: false,
            established: false,
            clock_us: 0,
            owned: Vec::new(),
        }
    }

    /// The next thing that the layers above should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// An input of the driver that concerns links.
    pub fn handle_input(&mut self, ctx: &mut Ctx<'_>, input: Input) {
        match input {
            Input::LinkUp { link, origin } => self.link_up(ctx, link, origin),
            Input::LinkDown { link } => self.link_down(ctx, link),
            Input::Chunk { link, bytes } => self.chunk(ctx, link, &bytes),
            Input::DialFailed { address } => self.dial_failed(ctx, &address),
            Input::Supernodes { addresses } => self.learn(ctx, addresses),
            Input::RtcSignal { session, payload } => self.local_signal(ctx, session, payload),
            Input::RtcFailed { session, reason } => self.session_failed(ctx, session, &reason),
            Input::Persisted { .. } | Input::PersistFailed { .. } | Input::Command { .. } | Input::Wake => {}
        }
    }

    /// A timer of this layer fired.
    pub fn on_timer(&mut self, ctx: &mut Ctx<'_>, timer: Timer) {
        match timer {
            Timer::Tick => self.tick(ctx),
            Timer::Hop(serial) => self.hop_late(ctx, serial),
        }
    }

    /// A message of this layer arrived from another peer's.
    pub fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Contact, message: Message) {
        match message {
            Message::Find { target, number, asker } => self.find(ctx, target, number, asker),
            Message::Found { number, responder, contacts } => self.found(ctx, number, responder, contacts),
            Message::Signal { session, payload } => self.remote_signal(ctx, from, session, payload),
            Message::SignalRefused { session } => self.remote_refused(ctx, from.id, session),
        }
    }

    /// Says goodbye on every link and closes it.
    pub fn close(&mut self, ctx: &mut Ctx<'_>) {
        self.leaving = true;
        let peers: Vec<Id> = self.peers.keys().copied().collect();
        for peer in peers {
            self.say_bye(ctx, peer);
        }
        let links: Vec<LinkId> = self.channels.keys().copied().collect();
        for link in links {
            self.channels.remove(&link);
            ctx.output(Output::Close { link });
        }
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.sessions.remove(&session);
            ctx.output(Output::RtcClose { session });
        }
        self.relayed.clear();
        self.peers.clear();
        self.siblings.clear();
    }

    /// How others reach this node: its id, and a supernode that it is linked to, or else one of its direct links. This
    /// one leads far away, and is the oldest there: neighbours that do not know this node do not know its neighbours
    /// either, where newcomers found one another before they were found. A newcomer names its way in.
    pub fn contact(&self, ctx: &Ctx<'_>) -> Contact {
        let direct = self.live().filter(|(_, peer)| peer.direct.is_some());
        let far = |id: &Id| if self.joined { self.me.common_prefix(id) } else { 0 };
        let relay = direct.min_by_key(|(id, peer)| (!peer.supernode, far(id), peer.since_us, **id));
        let full = !ctx.config.supernode && self.peers.len() >= ctx.config.links_opened_max;
        Contact { id: self.me, relay: relay.map(|(id, _)| *id), supernode: ctx.config.supernode, full }
    }

    /// A supernode that this node is directly linked to.
    fn home(&self) -> Option<Id> {
        if !self.supernode_linked {
            return None;
        }
        self.peers.iter().find(|(_, peer)| peer.supernode && peer.direct.is_some()).map(|(id, _)| *id)
    }

    /// Links for people.
    pub fn link_infos(&self) -> Vec<LinkInfo> {
        let info = |(id, peer): (&Id, &Peer)| LinkInfo {
            peer: *id,
            kind: if peer.direct.is_some() { "direct" } else { "relayed" },
            transport: match peer.direct.and_then(|link| self.channels.get(&link)) {
                None => "relay",
                Some(channel) if matches!(channel.origin, Some(Origin::Rtc { .. })) => "webrtc",
                Some(_) => "websocket",
            },
            via: if peer.direct.is_some() { None } else { peer.relay },
            role: role(peer.supernode),
            rtt_us: peer.rtt.smoothed_us(),
            sibling: self.siblings.contains(id),
            sent_bytes: peer.sent_bytes,
            received_bytes: peer.received_bytes,
        };
        self.peers.iter().map(info).collect()
    }

    /// Peers for people: linked ones, and those heard of lately that have not failed to answer.
    pub fn peer_infos(&self, mono: u64) -> Vec<PeerInfo> {
        let linked = self.peers.iter().map(|(id, peer)| PeerInfo { id: *id, role: role(peer.supernode), linked: true });
        let known = self
            .contacts
            .iter()
            .filter(|(id, known)| !self.peers.contains_key(id) && known.is_shown(mono))
            .map(|(id, known)| PeerInfo { id: *id, role: role(known.contact.supernode), linked: false });
        linked.chain(known).collect()
    }

    /// What is added to the driver's wall clock.
    pub fn clock_us(&self) -> i64 {
        self.clock_us
    }

    /// Linked peers that are neither suspected nor closing.
    pub fn live(&self) -> impl Iterator<Item = (&Id, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.usable())
    }

    /// Ids of linked peers, in order.
    pub fn linked(&self) -> impl Iterator<Item = Id> + '_ {
        self.peers.keys().copied()
    }
}

impl View for Overlay {
    fn siblings(&self) -> &[Id] {
        &self.siblings
    }

    fn alive(&self, id: &Id) -> bool {
        self.usable(id)
    }

    fn joined(&self) -> bool {
        self.joined
    }

    fn version(&self) -> Option<u64> {
        Some(self.table_version)
    }

    fn peers(&self) -> Vec<Id> {
        self.live().map(|(id, _)| *id).collect()
    }
}

fn role(supernode: bool) -> &'static str {
    if supernode { "supernode" } else { "peer" }
}
