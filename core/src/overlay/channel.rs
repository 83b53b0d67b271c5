//! Channels: their beginning and end, frames in and out.

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    node::{LinkId, Origin, Output},
    overlay::{
        Event, Overlay,
        frame::{Hello, LinkFrame, Refusal, Want},
        peer::{Peer, Rtt, Told},
    },
    wire::{self, Chunks, Frame, WireError},
};

/// A way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Over a transport of the driver.
    Transport(LinkId),
    /// Over a relaying peer.
    Relay {
        /// The peer at the other end.
        peer: Id,
        /// The relaying peer.
        via: Id,
    },
}

/// A channel in or after its handshake.
#[derive(Debug)]
pub struct Channel {
    /// Chunks of a frame that is not complete yet.
    pub chunks: Chunks,
    /// How a transport came to be; `None` for a relayed channel.
    pub origin: Option<Origin>,
    /// The relaying peer of a relayed channel.
    pub via: Option<Id>,
    /// Monotone time at which it came up.
    pub since_us: u64,
    /// Who must be at the other end, if that is known beforehand.
    pub expected: Option<Id>,
    /// The direct channel to the peer of a relayed one that stood when our nonce was sent.
    pub beside: Option<LinkId>,
    /// Our nonce.
    pub(super) nonce: [u8; 16],
    /// The other side's nonce, once its hello was heard.
    pub(super) heard: Option<[u8; 16]>,
    /// The other side's hello, until it is proven.
    pub(super) hello: Option<Box<Hello>>,
    /// The version that both ends speak; before the other side's hello, the oldest that this one speaks.
    pub(super) wire: u8,
    /// The proven peer: the channel is open.
    pub peer: Option<Id>,
}

impl Overlay {
    /// A new channel; says hello.
    pub(super) fn open_channel(
        &mut self,
        ctx: &mut Ctx<'_>,
        path: Path,
        origin: Option<Origin>,
        expected: Option<Id>,
    ) -> Channel {
        use chacha20::rand_core::Rng as _;
        let mut nonce = [0; 16];
        ctx.rng.fill_bytes(&mut nonce);
        let (via, beside) = match path {
            Path::Relay { peer, via } => (Some(via), self.direct(&peer)),
            Path::Transport(_) => (None, None),
        };
        self.say_hello(ctx, path, nonce, expected);
        Channel {
            chunks: Chunks::default(),
            origin,
            via,
            since_us: ctx.now.mono,
            expected,
            beside,
            nonce,
            heard: None,
            hello: None,
            wire: *ctx.config.wire.start(),
            peer: None,
        }
    }

    pub(super) fn link_up(&mut self, ctx: &mut Ctx<'_>, link: LinkId, origin: Origin) {
        let room = if ctx.config.supernode { ctx.config.links_supernode_max } else { 2 * ctx.config.links_max };
        if self.leaving || self.channels.len() >= room {
            ctx.count("links_refused");
            ctx.output(Output::Close { link });
            return;
        }
        let expected = match &origin {
            Origin::Rtc { session } => match self.sessions.get_mut(session) {
                Some(session) => {
                    session.open = true;
                    Some(session.peer)
                }
                None => {
                    ctx.output(Output::Close { link });
                    return;
                }
            },
            Origin::Dialled { address } => {
                self.dial_succeeded(address);
                None
            }
            Origin::Accepted => None,
        };
        let channel = self.open_channel(ctx, Path::Transport(link), Some(origin), expected);
        self.channels.insert(link, channel);
    }

    pub(super) fn link_down(&mut self, ctx: &mut Ctx<'_>, link: LinkId) {
        let Some(channel) = self.channels.remove(&link) else { return };
        self.channel_gone(ctx, link, channel);
    }

    /// Cleans up behind a transport that is out of `channels` already.
    fn channel_gone(&mut self, ctx: &mut Ctx<'_>, link: LinkId, channel: Channel) {
        match &channel.origin {
            Some(Origin::Dialled { address }) => self.dial_lost(ctx, address),
            Some(Origin::Rtc { session }) => self.session_over(ctx, *session),
            _ => {}
        }
        let Some(id) = channel.peer else { return };
        if let Some(peer) = self.peers.get_mut(&id)
            && peer.direct == Some(link)
        {
            peer.direct = None;
            peer.ping = None;
            peer.ping_due_us = ctx.now.mono;
            ctx.trace("link", "down", Some(id), || "the direct channel closed".to_owned());
            if peer.relay.is_none() {
                self.peer_down(ctx, id);
            } else {
                // What was on its way over the channel is lost.
                self.reroute_from(ctx, id);
            }
        }
        self.relays_through_lost(ctx, id);
    }

    /// Closes a transport from this side.
    pub(super) fn close_link(&mut self, ctx: &mut Ctx<'_>, link: LinkId) {
        if let Some(channel) = self.channels.remove(&link) {
            ctx.output(Output::Close { link });
            self.channel_gone(ctx, link, channel);
        }
    }

    /// The last channel to a peer is gone.
    pub(super) fn peer_down(&mut self, ctx: &mut Ctx<'_>, id: Id) {
        let Some(peer) = self.peers.remove(&id) else { return };
        let lives = peer.closing_us.is_some();
        self.relayed.remove(&id);
        if let Some(known) = self.contacts.get_mut(&id) {
            known.heard_us = ctx.now.mono;
        }
        ctx.count("peers_down");
        ctx.trace("link", "gone", Some(id), || "no channel to the peer is left".to_owned());
        self.events.push_back(Event::PeerDown { peer: id, lives });
        self.relays_through_lost(ctx, id);
        self.table_changed(ctx);
        self.reroute_from(ctx, id);
    }

    pub(super) fn chunk(&mut self, ctx: &mut Ctx<'_>, link: LinkId, bytes: &[u8]) {
        let Some(channel) = self.channels.get_mut(&link) else { return };
        for frame in channel.chunks.push(bytes, ctx.config.frame_bytes_max + 4_096) {
            match frame.and_then(|frame| Ok((wire::decode_among(&ctx.config.wire, &frame)?, frame.len()))) {
                Ok((frame, length)) => self.frame(ctx, Path::Transport(link), frame, length),
                Err(error) => {
                    ctx.count(match error {
                        WireError::Version(_) => "versions_differ",
                        _ => "frames_malformed",
                    });
                    ctx.trace("link", "malformed", self.channels.get(&link).and_then(|channel| channel.peer), || {
                        error.to_string()
                    });
                    return self.refuse(ctx, Path::Transport(link), Refusal::Version);
                }
            }
        }
    }

    /// Whether this hello was heard on the channel before.
    pub(super) fn heard(channel: &Channel, frame: &Frame) -> bool {
        matches!(frame, Frame::Link(LinkFrame::Hello(hello)) if Some(hello.nonce) == channel.heard)
    }

    pub(super) fn channel(&mut self, path: Path) -> Option<&mut Channel> {
        match path {
            Path::Transport(link) => self.channels.get_mut(&link),
            Path::Relay { peer, via } => self.relayed.get_mut(&peer).filter(|channel| channel.via == Some(via)),
        }
    }

    /// The version that a channel speaks.
    pub(super) fn wire_of(&self, ctx: &Ctx<'_>, path: Path) -> u8 {
        let channel = match path {
            Path::Transport(link) => self.channels.get(&link),
            Path::Relay { peer, via } => self.relayed.get(&peer).filter(|channel| channel.via == Some(via)),
        };
        channel.map_or(*ctx.config.wire.start(), |channel| channel.wire)
    }

    /// One whole frame arrived.
    pub(super) fn frame(&mut self, ctx: &mut Ctx<'_>, path: Path, frame: Frame, length: usize) {
        let Some(channel) = self.channel(path) else { return };
        if Overlay::heard(channel, &frame) {
            return;
        }
        match (channel.peer, frame) {
            (None, Frame::Link(LinkFrame::Hello(hello))) => self.hello(ctx, path, hello),
            (None, Frame::Link(LinkFrame::Proof { signature, direct })) => self.proof(ctx, path, &signature, direct),
            (_, Frame::Link(LinkFrame::Refuse(refusal))) => {
                ctx.count("links_refused_by_peer");
                if refusal == Refusal::Version {
                    ctx.count("versions_differ");
                }
                let expected = match path {
                    Path::Relay { peer, .. } => Some(peer),
                    Path::Transport(_) => self.channel(path).and_then(|channel| channel.expected),
                };
                ctx.trace("link", "refused", expected, || refusal.to_string());
                self.drop_channel(ctx, path);
                if let Some(id) = expected {
                    self.contact_refused(ctx, id, refusal);
                }
            }
            (None, _) => {
                ctx.count("frames_before_proof");
                // Over a relay it may be left over from an earlier channel between the two.
                if let Path::Transport(_) = path {
                    self.refuse(ctx, path, Refusal::Identity);
                }
            }
            (Some(id), frame) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.heard_us = ctx.now.mono;
                    peer.received_bytes += length as u64;
                    if core::mem::take(&mut peer.suspected) {
                        self.table_changed(ctx);
                    }
                }
                self.peer_frame(ctx, id, path, frame);
            }
        }
    }

    /// A channel is open: the peer is linked, or linked better than before.
    pub(super) fn opened(&mut self, ctx: &mut Ctx<'_>, path: Path, id: Id, hello: &Hello) {
        if let Path::Transport(link) = path
            && !self.keep_newer(ctx, link, &id, hello.supernode)
        {
            self.close_link(ctx, link);
            return;
        }
        self.take_time(ctx, id, hello.wall_us);
        let now = ctx.now.mono;
        let new = !self.peers.contains_key(&id);
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(hello.supernode, hello.direct_links, now));
        let better = peer.direct.is_none() && peer.relay.is_some() && matches!(path, Path::Transport(_));
        // What a relayed channel would tell waits for the direct one, which comes soon if it comes.
        let waits = new && matches!(path, Path::Relay { .. }) && peer.direct_links && ctx.config.direct_links;
        peer.heard_us = now;
        let back = core::mem::take(&mut peer.suspected) | peer.closing_us.take().is_some();
        if !better {
            // What was on its way over the old channel may be lost: all is told again.
            *peer.told = Told::default();
        }
        peer.ping = None;
        peer.ping_due_us = now + if waits { SECOND_US } else { 0 };
        let (mut replaced, mut stale) = (None, None);
        match path {
            Path::Transport(link) => {
                peer.upgrade_failures = 0;
                peer.rtt = Rtt::default();
                peer.measured_us = 0;
                replaced = peer.direct.replace(link);
                ctx.trace("link", "direct", Some(id), || "a direct channel is open".to_owned());
            }
            Path::Relay { via, .. } => {
                peer.relay = Some(via);
                // An attempt at WebRTC from before may be one that the other side knows nothing of any more.
                stale = self.session_with(&id).filter(|_| new);
                ctx.trace("link", "relayed", Some(id), || format!("over {}", via.short()));
            }
        }
        if let Some(old) = replaced {
            self.close_link(ctx, old);
            // What was on its way over it may be lost; what arrived is known there.
            self.reroute_from(ctx, id);
            self.say_hellos_again(ctx, |channel| channel.via == Some(id));
        }
        if let Some(old) = stale {
            self.session_over(ctx, old);
        }
        self.dead.remove(&id);
        if hello.established {
            self.events.push_back(Event::Established(id));
        }
        if new {
            ctx.count("peers_up");
            self.events.push_back(Event::PeerUp(id));
        }
        if new || back {
            self.table_changed(ctx);
        }
        if !waits {
            self.ping(ctx, id);
        }
        self.progress(ctx);
    }

    /// A peer does not have its end of a direct channel any more: the link is over, and a new one begins over `path`.
    pub(super) fn begin_anew(&mut self, ctx: &mut Ctx<'_>, path: Path, id: Id, dead: LinkId) {
        ctx.count("links_begun_anew");
        ctx.trace("link", "anew", Some(id), || "the other end of the direct channel is gone".to_owned());
        let relayed = self.relayed.remove(&id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.relay = None;
        }
        self.close_link(ctx, dead);
        if let (Path::Relay { .. }, Some(channel)) = (path, relayed) {
            self.relayed.insert(id, channel);
        }
    }

    /// Whether a new transport to a peer replaces the one that stands. Of two that the two sides began, both keep the
    /// one that the smaller id began; a second one from the same side replaces the first.
    fn keep_newer(&mut self, ctx: &Ctx<'_>, link: LinkId, id: &Id, supernode: bool) -> bool {
        if let Some(Channel { origin: Some(Origin::Dialled { address }), .. }) = self.channels.get(&link) {
            let address = address.clone();
            self.dial_reached(ctx, &address, *id, supernode);
        }
        let Some(standing) = self.direct(id) else { return true };
        let (old, new) = (self.began_by_us(standing), self.began_by_us(link));
        old == new || new == (self.me < *id)
    }

    pub(super) fn began_by_us(&self, link: LinkId) -> bool {
        match self.channels.get(&link).and_then(|channel| channel.origin.as_ref()) {
            Some(Origin::Dialled { .. }) => true,
            Some(Origin::Rtc { session }) => {
                self.sessions.get(session).is_some_and(|session| session.name.initiator == self.me)
            }
            Some(Origin::Accepted) | None => false,
        }
    }

    pub(super) fn refuse(&mut self, ctx: &mut Ctx<'_>, path: Path, refusal: Refusal) {
        ctx.count("links_refused");
        ctx.trace("link", "refuse", None, || refusal.to_string());
        self.transmit(ctx, path, &Frame::Link(LinkFrame::Refuse(refusal)));
        self.drop_channel(ctx, path);
    }

    /// Forgets a channel and closes its transport.
    pub(super) fn drop_channel(&mut self, ctx: &mut Ctx<'_>, path: Path) {
        match path {
            Path::Transport(link) => self.close_link(ctx, link),
            Path::Relay { peer, via } => self.relayed_gone(ctx, peer, via),
        }
    }

    /// The direct channel to a peer.
    pub(super) fn direct(&self, id: &Id) -> Option<LinkId> {
        self.peers.get(id)?.direct
    }

    /// The best way to a linked peer.
    pub(super) fn path_to(&self, id: &Id) -> Option<Path> {
        let peer = self.peers.get(id)?;
        match (peer.direct, peer.relay) {
            (Some(link), _) => Some(Path::Transport(link)),
            (None, Some(via)) => Some(Path::Relay { peer: *id, via }),
            (None, None) => None,
        }
    }

    /// Sends a frame to a linked peer; false if there is no link.
    pub(super) fn send_frame(&mut self, ctx: &mut Ctx<'_>, to: &Id, frame: &Frame) -> bool {
        let Some(path) = self.path_to(to) else { return false };
        let bytes = self.transmit(ctx, path, frame);
        if let Some(peer) = self.peers.get_mut(to) {
            peer.sent_bytes += bytes as u64;
        }
        true
    }

    /// Encodes and sends; the bytes of the frame. What the other end would not understand is not sent.
    pub(super) fn transmit(&mut self, ctx: &mut Ctx<'_>, path: Path, frame: &Frame) -> usize {
        let version = self.wire_of(ctx, path);
        if frame.since() > version {
            ctx.count("frames_too_new");
            return 0;
        }
        let bytes = wire::encode_as(version, frame);
        let sent = self.transmit_bytes(ctx, path, bytes);
        self.traffic.count(frame, sent);
        sent
    }

    pub(super) fn transmit_bytes(&mut self, ctx: &mut Ctx<'_>, path: Path, bytes: Vec<u8>) -> usize {
        let length = bytes.len();
        if length > ctx.config.frame_bytes_max {
            debug_assert!(false, "a layer made a frame of {length} bytes");
            ctx.count("frames_too_long");
            return 0;
        }
        match path {
            Path::Transport(link) => {
                ctx.count("frames_sent");
                ctx.add("bytes_sent", length as u64);
                ctx.transmit(link, &bytes);
            }
            Path::Relay { peer, via } => {
                let Some(link) = self.direct(&via) else { return 0 };
                let relay = Frame::Link(LinkFrame::Relay { from: self.me, to: peer, frame: bytes });
                let bytes = wire::encode_as(self.wire_of(ctx, Path::Transport(link)), &relay);
                ctx.count("frames_sent");
                ctx.add("bytes_sent", bytes.len() as u64);
                ctx.transmit(link, &bytes);
            }
        }
        length
    }

    /// Whether another link may be: the more it is to one of the ends, the more there may be already.
    pub(super) fn room_for(&self, ctx: &Ctx<'_>, id: &Id, theirs: Want) -> bool {
        // Those whose proof is to come count already.
        let coming = |channel: &&Channel| {
            let new = channel.expected.is_none_or(|expected| expected != *id && !self.peers.contains_key(&expected));
            channel.peer.is_none() && channel.heard.is_some() && new
        };
        let links = self.peers.len() + self.channels.values().chain(self.relayed.values()).filter(coming).count();
        if ctx.config.supernode {
            return links < ctx.config.links_supernode_max;
        }
        let most = ctx.config.links_max + ctx.config.siblings;
        let room = match (theirs, self.want(ctx, id)) {
            (Want::Sibling, _) | (_, Want::Sibling) => most,
            (_, Want::Slot) if self.needed(ctx, id) => most,
            (Want::Slot, _) | (_, Want::Slot) => ctx.config.links_max + ctx.config.siblings / 2,
            (Want::Spare, Want::Spare) => ctx.config.links_opened_max,
        };
        links < room || self.peers.contains_key(id)
    }

    pub(super) fn say_bye(&mut self, ctx: &mut Ctx<'_>, id: Id) {
        let leaving = self.leaving;
        self.send_frame(ctx, &id, &Frame::Link(LinkFrame::Bye { leaving }));
    }

    /// The peer closes the link.
    pub(super) fn said_bye(&mut self, ctx: &mut Ctx<'_>, id: Id, path: Path, leaving: bool) {
        if !leaving && let Path::Relay { peer, via } = path {
            self.relayed_gone(ctx, peer, via);
            return;
        }
        ctx.trace("link", "bye", Some(id), || if leaving { "it leaves" } else { "it has too many links" }.to_owned());
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| !leaving) {
            peer.closing_us = Some(ctx.now.mono);
        }
        self.unlink(ctx, id);
        if leaving {
            self.contacts.remove(&id);
            self.mark_dead(ctx, id, 20 * SECOND_US);
        } else {
            self.contact_refused(ctx, id, Refusal::Full);
        }
    }

    /// Drops every channel to a peer.
    pub(super) fn unlink(&mut self, ctx: &mut Ctx<'_>, id: Id) {
        if let Some(link) = self.direct(&id) {
            self.close_link(ctx, link);
        }
        if let Some(via) = self.peers.get(&id).and_then(|peer| peer.relay) {
            self.relayed_gone(ctx, id, via);
        }
        if let Some(session) = self.session_with(&id) {
            self.session_over(ctx, session);
        }
    }

    /// Does not listen to what others say of a peer for a while.
    pub(super) fn mark_dead(&mut self, ctx: &Ctx<'_>, id: Id, for_us: u64) {
        if self.dead.len() < ctx.config.contacts_max {
            self.dead.insert(id, ctx.now.mono + for_us);
        }
    }
}
