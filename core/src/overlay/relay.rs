//! Relayed channels: frames wrapped for a peer that the relay has a direct link to. The relay keeps no state.

use crate::{
    ctx::Ctx,
    id::Id,
    overlay::{Channel, Overlay, channel::Path, frame::LinkFrame, handshake::HELLO_AGAIN_US},
    wire::{self, Frame},
};

impl Overlay {
    /// Opens a relayed channel to a peer through a directly linked one.
    pub(super) fn open_relayed(&mut self, ctx: &mut Ctx<'_>, peer: Id, via: Id) {
        if peer == self.me || via == peer || self.relayed.contains_key(&peer) {
            return;
        }
        let channel = self.open_channel(ctx, Path::Relay { peer, via }, None, Some(peer));
        self.relayed.insert(peer, channel);
    }

    /// A wrapped frame arrived over the link of `link_peer`: for us, or to be handed on.
    pub(super) fn relay(&mut self, ctx: &mut Ctx<'_>, link_peer: Id, from: Id, to: Id, frame: Vec<u8>) {
        if to == self.me {
            self.relayed_in(ctx, link_peer, from, &frame);
            return;
        }
        if from != link_peer {
            ctx.count("relays_forged");
            return;
        }
        let Some(link) = self.direct(&to) else {
            let failed = Frame::Link(LinkFrame::RelayFailed { to });
            self.send_frame(ctx, &link_peer, &failed);
            return;
        };
        ctx.count("frames_relayed");
        ctx.add("bytes_relayed", frame.len() as u64);
        self.transmit_wrapped(ctx, link, LinkFrame::Relay { from, to, frame });
    }

    fn transmit_wrapped(&mut self, ctx: &mut Ctx<'_>, link: crate::node::LinkId, frame: LinkFrame) {
        let bytes = wire::encode_as(self.wire_of(ctx, Path::Transport(link)), &Frame::Link(frame));
        ctx.transmit(link, &bytes);
    }

    fn relayed_in(&mut self, ctx: &mut Ctx<'_>, via: Id, from: Id, bytes: &[u8]) {
        let frame = match wire::decode_among(&ctx.config.wire, bytes) {
            Ok(frame) => frame,
            Err(error) => {
                ctx.count("frames_malformed");
                ctx.trace("link", "malformed", Some(from), || error.to_string());
                return;
            }
        };
        if matches!(frame, Frame::Link(LinkFrame::Relay { .. } | LinkFrame::RelayFailed { .. })) {
            ctx.count("frames_malformed");
            return;
        }
        let hello = matches!(frame, Frame::Link(LinkFrame::Hello(_)));
        let path = Path::Relay { peer: from, via };
        if let Frame::Link(LinkFrame::Hello(hello)) = &frame
            && !self.relayed.contains_key(&from)
            && let Some(refusal) = self.objection(ctx, Some(from), hello)
        {
            // Without a hello of ours, which would be taken for the beginning of another link.
            ctx.count("links_refused");
            self.transmit(ctx, path, &Frame::Link(LinkFrame::Refuse(refusal)));
            self.contact_refused(ctx, from, refusal);
            return;
        }
        let young = |channel: &Channel| ctx.now.mono <= channel.since_us + HELLO_AGAIN_US;
        let awaited = |channel: &Channel| channel.peer.is_none() && (channel.heard.is_some() || young(channel));
        match self.relayed.get(&from) {
            Some(channel) if channel.via == Some(via) && Overlay::heard(channel, &frame) => return,
            // Both sides opened one, over different relays: the smaller id's stays, unless its relay may be gone.
            Some(channel) if hello && channel.via != Some(via) && self.me < from && awaited(channel) => return,
            // The other side opened it anew (it restarted, or changed the relay): begin again.
            Some(channel) if hello && (channel.peer.is_some() || channel.via != Some(via)) => {
                let old = channel.via.unwrap_or(via);
                self.relayed_gone(ctx, from, old);
                self.accept_relayed(ctx, path, from);
            }
            Some(channel) if channel.via != Some(via) => return,
            Some(_) => {}
            None if hello && !self.leaving => self.accept_relayed(ctx, path, from),
            None => {
                ctx.count("relayed_strays");
                let bye = wire::encode_as(self.wire_of(ctx, path), &Frame::Link(LinkFrame::Bye { leaving: false }));
                if !matches!(frame, Frame::Link(LinkFrame::Bye { .. } | LinkFrame::Refuse(_))) {
                    self.transmit_bytes(ctx, path, bye);
                }
                return;
            }
        }
        self.frame(ctx, path, frame, bytes.len());
    }

    fn accept_relayed(&mut self, ctx: &mut Ctx<'_>, path: Path, from: Id) {
        let room = if ctx.config.supernode { ctx.config.links_supernode_max } else { 2 * ctx.config.links_max };
        if self.relayed.len() >= room {
            ctx.count("links_refused");
            return;
        }
        let channel = self.open_channel(ctx, path, None, Some(from));
        self.relayed.insert(from, channel);
    }

    /// The relay says that it has no direct link to a peer.
    pub(super) fn relay_failed(&mut self, ctx: &mut Ctx<'_>, via: Id, to: Id) {
        if let Some(known) = self.contacts.get_mut(&to)
            && known.contact.relay == Some(via)
        {
            known.contact.relay = None;
        }
        self.relayed_gone(ctx, to, via);
        if self.direct(&to).is_some() {
            // A direct channel came meanwhile; what went over the relay is lost all the same.
            self.reroute_from(ctx, to);
        }
    }

    /// A relayed channel is no more.
    pub(super) fn relayed_gone(&mut self, ctx: &mut Ctx<'_>, id: Id, via: Id) {
        if self.relayed.get(&id).is_none_or(|channel| channel.via != Some(via)) {
            return;
        }
        self.relayed.remove(&id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.relay == Some(via) {
            peer.relay = None;
            if peer.direct.is_none() {
                self.peer_down(ctx, id);
            }
        }
    }

    /// The direct link to a relay is gone, and with it every channel through it.
    pub(super) fn relays_through_lost(&mut self, ctx: &mut Ctx<'_>, via: Id) {
        if self.direct(&via).is_some() {
            return;
        }
        let lost: Vec<Id> =
            self.relayed.iter().filter(|(_, channel)| channel.via == Some(via)).map(|(id, _)| *id).collect();
        for id in lost {
            self.relayed_gone(ctx, id, via);
        }
    }
}
