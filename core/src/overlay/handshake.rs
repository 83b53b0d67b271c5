//! The handshake of a channel.
//!
//! 1. Both sides send `Hello` as soon as the channel is there, in the oldest version that they speak; from then on the
//!    channel speaks the older of their two newest.
//! 2. Each answers the other's `Hello` with a `Proof`: its signature over the other's nonce, both ids and the network,
//!    and whether it has a direct channel to the other.
//! 3. A channel whose `Proof` verified is open and belongs to the peer with that key. Nothing but `Hello`, `Proof` and
//!    `Refuse` is heard on a channel before.
//!
//! A peer that proves itself anew and has no direct channel, where this side has one, began a new life or lost its end:
//! the dead channel is closed at once, not when probes fail.

use super::{
    Channel, Overlay,
    channel::Path,
    frame::{Hello, LinkFrame, Refusal, Want},
};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    node::Origin,
    wire::{Frame, PLAN_VERSION},
};

/// A hello is said again where nothing came for so long: the other side may have begun anew since, or the relay be gone.
pub(super) const HELLO_AGAIN_US: u64 = 2 * SECOND_US;
/// What a clock may say: from 2020 to 2100.
const PLAUSIBLE_US: core::ops::Range<u64> = 1_577_836_800_000_000..4_102_444_800_000_000;

/// The bytes that a proof signs.
fn challenge(network: &str, nonce: &[u8; 16], prover: &Id, verifier: &Id, direct: bool) -> Vec<u8> {
    let name = b"pontoon link\0" as &[u8];
    [name, network.as_bytes(), b"\0", nonce, &prover.0, &verifier.0, &[u8::from(direct)]].concat()
}

impl Overlay {
    pub(super) fn say_hello(&mut self, ctx: &mut Ctx<'_>, path: Path, nonce: [u8; 16], expected: Option<Id>) {
        let hello = Hello {
            wire: *ctx.config.wire.end(),
            plan: PLAN_VERSION,
            network: ctx.config.network.clone(),
            public_key: ctx.signer.identity.public_key(),
            nonce,
            supernode: ctx.config.supernode,
            direct_links: ctx.config.direct_links,
            established: self.established,
            want: expected.map_or(Want::Sibling, |peer| self.want(ctx, &peer)),
            wall_us: ctx.now.wall,
        };
        self.transmit(ctx, path, &Frame::Link(LinkFrame::Hello(hello)));
    }

    /// Of relayed channels on which nothing was heard yet: a hello may be lost on the way to a relay that is gone.
    pub(super) fn say_hellos_again(&mut self, ctx: &mut Ctx<'_>, of: impl Fn(&Channel) -> bool) {
        let silent = |channel: &Channel| channel.peer.is_none() && channel.heard.is_none();
        let again = self.relayed.iter().filter(|(_, channel)| silent(channel) && of(channel));
        let again: Vec<_> = again.filter_map(|(id, channel)| Some((*id, channel.via?, channel.nonce))).collect();
        for (peer, via, nonce) in again {
            self.say_hello(ctx, Path::Relay { peer, via }, nonce, Some(peer));
        }
    }

    /// Why a link to who says this is not to be.
    pub(super) fn objection(&self, ctx: &Ctx<'_>, expected: Option<Id>, hello: &Hello) -> Option<Refusal> {
        let id = Id::hash(&hello.public_key);
        if hello.wire < *ctx.config.wire.start() {
            Some(Refusal::Version)
        } else if hello.network != ctx.config.network {
            Some(Refusal::Network)
        } else if id == self.me {
            Some(Refusal::Myself)
        } else if expected.is_some_and(|expected| expected != id) {
            Some(Refusal::Identity)
        } else if !self.room_for(ctx, &id, hello.want) {
            Some(Refusal::Full)
        } else {
            None
        }
    }

    pub(super) fn hello(&mut self, ctx: &mut Ctx<'_>, path: Path, hello: Hello) {
        let id = Id::hash(&hello.public_key);
        let expected = match path {
            Path::Relay { peer, .. } => Some(peer),
            Path::Transport(_) => self.channel(path).and_then(|channel| channel.expected),
        };
        if let Some(refusal) = self.objection(ctx, expected, &hello) {
            self.refuse(ctx, path, refusal);
            self.contact_refused(ctx, id, refusal);
            return;
        }
        // Over a relay the other side may have begun anew since ours was said: then it has not heard it. Of a data channel the
        // first messages may be lost where the other end was not ready for them.
        if let Some(channel) = self.channel(path) {
            let (late, first) = (channel.since_us + HELLO_AGAIN_US < ctx.now.mono, channel.heard.is_none());
            let again = match (path, &channel.origin) {
                (Path::Relay { .. }, _) => late,
                (Path::Transport(_), Some(Origin::Rtc { .. })) => first,
                (Path::Transport(_), _) => false,
            };
            let nonce = channel.nonce;
            if again {
                self.say_hello(ctx, path, nonce, expected);
            }
        }
        let direct = self.direct(&id).is_some();
        let signature = ctx.signer.identity.sign(&challenge(&ctx.config.network, &hello.nonce, &self.me, &id, direct));
        if let Some(channel) = self.channel(path) {
            channel.heard = Some(hello.nonce);
            channel.wire = hello.wire.min(*ctx.config.wire.end());
            channel.hello = Some(Box::new(hello));
        }
        self.transmit(ctx, path, &Frame::Link(LinkFrame::Proof { signature, direct }));
    }

    pub(super) fn proof(&mut self, ctx: &mut Ctx<'_>, path: Path, signature: &[u8], direct: bool) {
        let me = self.me;
        let Some(channel) = self.channel(path) else { return };
        let (hello, nonce) = (channel.hello.clone(), channel.nonce);
        let proven = hello.filter(|hello| {
            let message = challenge(&ctx.config.network, &nonce, &Id::hash(&hello.public_key), &me, direct);
            ctx.signer.identity.verify(&hello.public_key, &message, signature)
        });
        let Some(hello) = proven else {
            ctx.count("identities_refused");
            // Over a relay it may be meant for an earlier channel between the two. Refusing it would close this one,
            // and two peers that both begin anew each time would go on for ever; a handshake without proof expires.
            if let Path::Transport(_) = path {
                self.refuse(ctx, path, Refusal::Identity);
            }
            return;
        };
        let id = Id::hash(&hello.public_key);
        let Some(channel) = self.channel(path) else { return };
        channel.peer = Some(id);
        channel.hello = None;
        let beside = channel.beside;
        if let Some(standing) = self.direct(&id).filter(|_| !direct) {
            let dead = match path {
                // What was said in answer to our nonce is true of a channel that was there before it.
                Path::Relay { .. } => beside == Some(standing),
                // Two that the two sides began may have crossed.
                Path::Transport(link) => self.began_by_us(standing) == self.began_by_us(link),
            };
            if dead {
                self.begin_anew(ctx, path, id, standing);
            }
        }
        self.opened(ctx, path, id, &hello);
    }

    /// A peer that is linked with nobody takes the time of the first that it links to, if its own is far from that: versions
    /// from a clock that is wrong by a day would be refused by all, or refuse all others. A supernode's operator sees to its clock.
    pub(super) fn take_time(&mut self, ctx: &mut Ctx<'_>, id: Id, wall_us: u64) {
        let ahead_us = wall_us.cast_signed().wrapping_sub(ctx.now.wall.cast_signed());
        let near = ahead_us.unsigned_abs() <= ctx.config.clock_skew_max_us / 2;
        if near || ctx.config.supernode || self.live().next().is_some() || !PLAUSIBLE_US.contains(&wall_us) {
            return;
        }
        self.clock_us = self.clock_us.saturating_add(ahead_us);
        ctx.count("clock_set");
        ctx.trace("link", "clock", Some(id), || {
            format!("its time is {} s from this one's, and taken", ahead_us / 1_000_000)
        });
    }
}
