//! WebRTC sessions: signalling carried by the overlay, glare resolved by id. How many connections a page may still open,
//! its driver knows: a session beyond them fails like any other.

use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    node::{Origin, Output, SessionId},
    overlay::{
        Overlay,
        channel::Path,
        frame::{Message, SessionName},
    },
    wire::{Contact, Frame},
};

const SIGNAL_BYTES_MAX: usize = 64 * 1_024;
const SESSIONS_MAX: usize = 64;
/// A session whose other end has not said anything by then was not heard of there.
const UNHEARD_US: u64 = 3 * SECOND_US;

/// A session that is not a link yet, or the one behind a link.
#[derive(Debug)]
pub struct Session {
    /// The other end.
    pub peer: Id,
    /// Its name at both ends.
    pub name: SessionName,
    /// A peer linked to the other end.
    pub via: Option<Id>,
    /// When it began.
    pub since_us: u64,
    /// The other end has said something.
    pub heard: bool,
    /// It became a channel.
    pub open: bool,
}

impl Overlay {
    /// Whether this node may start another session.
    pub(super) fn may_open_rtc(&self, ctx: &Ctx<'_>) -> bool {
        ctx.config.direct_links
            && !self.leaving
            && self.sessions.values().filter(|session| !session.open).count() < SESSIONS_MAX
    }

    pub(super) fn session_with(&self, peer: &Id) -> Option<SessionId> {
        self.sessions.iter().find(|(_, session)| session.peer == *peer).map(|(id, _)| *id)
    }

    /// Begins a session to a peer.
    pub(super) fn open_rtc(&mut self, ctx: &mut Ctx<'_>, peer: Id, via: Option<Id>) {
        if self.session_with(&peer).is_some() {
            return;
        }
        let number = ctx.serial();
        let name = SessionName { initiator: self.me, number };
        self.begin(ctx, peer, name, via);
    }

    fn begin(&mut self, ctx: &mut Ctx<'_>, peer: Id, name: SessionName, via: Option<Id>) -> SessionId {
        let session = SessionId(ctx.serial());
        ctx.count("rtc_sessions");
        self.sessions.insert(session, Session { peer, name, via, since_us: ctx.now.mono, heard: false, open: false });
        ctx.output(Output::RtcOpen { session, peer, initiator: name.initiator == self.me });
        session
    }

    /// The driver has something for the other end.
    pub(super) fn local_signal(&mut self, ctx: &mut Ctx<'_>, session: SessionId, payload: Vec<u8>) {
        let Some(known) = self.sessions.get(&session) else { return };
        if payload.len() > SIGNAL_BYTES_MAX {
            ctx.count("signals_too_long");
            return;
        }
        let (peer, via) = (known.peer, known.via);
        let signal = Message::Signal { session: known.name, payload };
        // Once it is open there is something to say when it is interrupted: past the channel, where there is another way.
        match self.peers.get(&peer).and_then(|linked| linked.relay).filter(|_| known.open) {
            Some(relay) => {
                self.transmit(ctx, Path::Relay { peer, via: relay }, &Frame::Direct(signal.into()));
            }
            None => ctx.send_via(peer, via, signal),
        }
    }

    /// The other end says something.
    pub(super) fn remote_signal(&mut self, ctx: &mut Ctx<'_>, from: Contact, name: SessionName, payload: Vec<u8>) {
        if payload.len() > SIGNAL_BYTES_MAX {
            ctx.count("signals_too_long");
            return;
        }
        let found = self.sessions.iter_mut().find(|(_, session)| session.name == name && session.peer == from.id);
        if let Some((session, known)) = found {
            known.heard = true;
            ctx.output(Output::RtcSignal { session: *session, payload });
            return;
        }
        if name.initiator != from.id {
            // An answer to a session that is over: who waits for more of it need not.
            ctx.send_via(from.id, from.relay, Message::SignalRefused { session: name });
            return;
        }
        if let Some(other) = self.session_with(&from.id) {
            let mine = self.sessions.get(&other).is_some_and(|session| session.name.initiator == self.me);
            if mine && self.me < from.id && self.sessions.get(&other).is_some_and(|session| !session.open) {
                ctx.send_via(from.id, from.relay, Message::SignalRefused { session: name });
                return;
            }
            let link = self.channels.iter().find(|(_, channel)| channel.origin == Some(Origin::Rtc { session: other }));
            match link.map(|(link, _)| *link) {
                Some(link) => self.close_link(ctx, link),
                None => self.forget_session(ctx, other),
            }
        }
        if !self.may_open_rtc(ctx) {
            ctx.send_via(from.id, from.relay, Message::SignalRefused { session: name });
            return;
        }
        let session = self.begin(ctx, from.id, name, from.relay);
        if let Some(begun) = self.sessions.get_mut(&session) {
            begun.heard = true;
        }
        ctx.output(Output::RtcSignal { session, payload });
    }

    /// The other end does not want the session.
    pub(super) fn remote_refused(&mut self, ctx: &mut Ctx<'_>, from: Id, name: SessionName) {
        let found = self.sessions.iter().find(|(_, known)| known.name == name && known.peer == from && !known.open);
        if let Some((session, _)) = found {
            let session = *session;
            self.attempt_failed(ctx, from);
            self.forget_session(ctx, session);
        }
    }

    pub(super) fn session_failed(&mut self, ctx: &mut Ctx<'_>, session: SessionId, reason: &str) {
        let Some(known) = self.sessions.get(&session) else { return };
        let peer = known.peer;
        ctx.count("rtc_failed");
        ctx.trace("link", "rtc-failed", Some(peer), || reason.to_owned());
        self.attempt_failed(ctx, peer);
        self.forget_session(ctx, session);
    }

    /// The channel of a session is gone.
    pub(super) fn session_over(&mut self, ctx: &mut Ctx<'_>, session: SessionId) {
        if self.sessions.contains_key(&session) {
            self.forget_session(ctx, session);
        }
    }

    fn forget_session(&mut self, ctx: &mut Ctx<'_>, session: SessionId) {
        if self.sessions.remove(&session).is_some() {
            ctx.output(Output::RtcClose { session });
        }
    }

    /// Backs off before the next attempt at this peer.
    fn attempt_failed(&mut self, ctx: &mut Ctx<'_>, peer: Id) {
        let retry = |failures: u32| ctx.now.mono + (ctx.config.upgrade_retry_us << failures.min(5));
        let soon = |failures: u32| ctx.now.mono + (SECOND_US << failures.min(5));
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.upgrade_due_us = retry(peer.upgrade_failures);
            peer.upgrade_failures += 1;
        } else if let Some(known) = self.contacts.get_mut(&peer) {
            // Not linked at all: sooner than to replace a relayed channel.
            known.retry_us = soon(known.failures);
            known.failures += 1;
        }
    }

    /// Sessions that took too long.
    pub(super) fn expire_sessions(&mut self, ctx: &mut Ctx<'_>) {
        let timeout = |heard: bool| if heard { ctx.config.rtc_timeout_us } else { UNHEARD_US };
        let late: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| !session.open && ctx.now.mono > session.since_us + timeout(session.heard))
            .map(|(session, _)| *session)
            .collect();
        for session in late {
            self.session_failed(ctx, session, "not open in time");
        }
    }
}
