//! Rows on their way over a link: a next hop is sent so many bytes ahead of what it has acknowledged.
//!
//! What is more waits here, in its order, and goes when acknowledgements come. So the queue of a link stays short: its
//! receiver, who may be busy or have a slow link of its own, is not sent more than it takes in, and what is short (probes,
//! operations on keys) does not wait behind everything that anybody asked for.

use super::{Overlay, route::Pending};
use crate::{ctx::Ctx, id::Id, spread::Message, wire::Body};

/// The bytes of a message that brings rows, about; 0: it brings none.
pub(super) fn weight(body: &Body) -> usize {
    match body {
        Body::Exchange(message) => 64 + message.bytes(),
        Body::Spread(Message::Piece { bytes, .. }) => 64 + bytes.len(),
        _ => 0,
    }
}

impl Overlay {
    /// Whether bytes for a hop have to wait; if not, they are on their way now.
    pub(super) fn waits(&mut self, ctx: &Ctx<'_>, hop: &Id, weight: usize) -> bool {
        let Some(peer) = self.peers.get_mut(hop).filter(|_| weight > 0) else { return false };
        if peer.unacknowledged >= ctx.config.hop_bytes_max {
            peer.waiting = true;
            return true;
        }
        peer.unacknowledged += weight;
        false
    }

    /// A message waits for nothing any more.
    pub(super) fn unpend(&mut self, serial: u64) -> Option<Pending> {
        let pending = self.pending.remove(&serial)?;
        self.pending_bytes -= pending.weight;
        Some(pending)
    }

    /// A hop has taken so many bytes: what waits for it goes on.
    pub(super) fn release(&mut self, ctx: &mut Ctx<'_>, hop: Id, weight: usize) {
        let Some(peer) = self.peers.get_mut(&hop) else { return };
        peer.unacknowledged = peer.unacknowledged.saturating_sub(weight);
        while let Some(peer) = self.peers.get_mut(&hop)
            && peer.waiting
            && peer.unacknowledged < ctx.config.hop_bytes_max
        {
            match self
                .pending
                .iter()
                .find(|(_, pending)| pending.waits && pending.hop == hop)
                .map(|(serial, _)| *serial)
            {
                Some(serial) => {
                    if let Some(Pending { routed, tried, .. }) = self.unpend(serial) {
                        self.forward(ctx, routed, tried);
                    }
                }
                None => peer.waiting = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        ctx::{Outbox, Post},
        node::LinkId,
        overlay::{
            frame::LinkFrame,
            harness::{ids, linked, sending},
        },
        wire::{Chunks, Frame, decode},
    };

    /// The routed messages that go out, by link: their serials, and the branch that tells them apart.
    fn sent(out: &mut Outbox) -> Vec<(LinkId, u64, u64)> {
        let (mut chunks, mut all) = (Chunks::default(), Vec::new());
        for (link, bytes) in out.outgoing.take() {
            for frame in chunks.push(&bytes, 1 << 20) {
                let Frame::Routed(routed) = decode(&frame.unwrap()).unwrap() else { continue };
                let Body::Spread(Message::Piece { branch, .. }) = routed.body else { unreachable!() };
                all.push((link, routed.serial, branch));
            }
        }
        all
    }

    #[test]
    fn what_a_hop_has_not_acknowledged_is_bounded_and_the_rest_goes_in_its_order() {
        const PIECE: usize = 200_000;
        let (ids, mut out) = (ids(2), Outbox::default());
        let mut overlay = linked(&ids, |_| ids.clone());
        let post = |overlay: &mut Overlay, out: &mut Outbox, branch: u64| {
            let body = Message::Piece { branch, index: 0, last: true, bytes: vec![7; PIECE] }.into();
            sending(overlay, out, |overlay, ctx| overlay.post(ctx, Post::Node { to: ids[0], via: None, body }));
        };
        (0..40).for_each(|branch| post(&mut overlay, &mut out, branch));
        let first = sent(&mut out);
        let ahead = Config::default().hop_bytes_max.div_ceil(PIECE + 64) as u64;
        assert_eq!(first.iter().map(|(.., branch)| *branch).collect::<Vec<_>>(), (0..ahead).collect::<Vec<_>>());
        assert!(first.iter().all(|(link, ..)| *link == LinkId(0)));
        assert_eq!(overlay.pending_bytes, 40 * (PIECE + 64));
        // Who did not get a message does not acknowledge it.
        let ack = |overlay: &mut Overlay, out: &mut Outbox, from: Id, serial: u64| {
            let frame = Frame::Link(LinkFrame::HopAck { serial });
            sending(overlay, out, |overlay, ctx| {
                overlay.peer_frame(ctx, from, crate::overlay::channel::Path::Transport(LinkId(0)), frame);
            });
        };
        let unsent = overlay.pending.iter().find(|(_, pending)| pending.waits).map(|(serial, _)| *serial).unwrap();
        ack(&mut overlay, &mut out, ids[0], unsent);
        ack(&mut overlay, &mut out, ids[1], first[0].1);
        assert_eq!(sent(&mut out), []);
        for (_, serial, _) in &first[..5] {
            ack(&mut overlay, &mut out, ids[0], *serial);
        }
        let second = sent(&mut out);
        assert_eq!(
            second.iter().map(|(.., branch)| *branch).collect::<Vec<_>>(),
            (ahead..ahead + 5).collect::<Vec<_>>()
        );
        // What it does not take any more goes over the other, no faster than that takes it.
        overlay.peers.get_mut(&ids[0]).unwrap().suspected = true;
        sending(&mut overlay, &mut out, |overlay, ctx| overlay.reroute_from(ctx, ids[0]));
        let mut others = sent(&mut out);
        assert_eq!(others.len() as u64, ahead);
        let mut came: Vec<u64> = Vec::new();
        while let Some((link, serial, branch)) = others.pop() {
            assert_eq!(link, LinkId(1));
            came.push(branch);
            ack(&mut overlay, &mut out, ids[1], serial);
            others.extend(sent(&mut out));
        }
        came.sort_unstable();
        assert_eq!(came, (5..40).collect::<Vec<_>>());
        assert_eq!((overlay.pending.len(), overlay.pending_bytes), (0, 0));
    }
}
