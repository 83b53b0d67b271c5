//! What the bytes that a node sends are for: the price of upkeep apart from that of the application's traffic.

use crate::{
    group,
    overlay::{
        Message,
        frame::{LinkFrame, News},
    },
    wire::{Body, Frame},
};

/// See the module: bytes sent by purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Probes and their answers, without what they tell.
    pub keepalive: u64,
    /// Contacts told and looked for.
    pub tables: u64,
    /// Which links came and went.
    pub lookahead: u64,
    /// Leases asked for and granted.
    pub leases: u64,
    /// Handshakes, signalling, goodbyes.
    pub setup: u64,
    /// Epochs, records brought to new owners and members.
    pub repair: u64,
    /// The application's operations, tasks and messages, with the acknowledgements of their hops.
    pub calls: u64,
}

impl Traffic {
    /// Counts a frame of so many bytes.
    pub fn count(&mut self, frame: &Frame, bytes: usize) {
        let bytes = bytes as u64;
        match frame {
            Frame::Link(LinkFrame::Ping { news, .. } | LinkFrame::Pong { news, .. }) => self.probe(news, bytes),
            Frame::Link(LinkFrame::HopAck { .. }) => self.calls += bytes,
            Frame::Link(_) => self.setup += bytes,
            Frame::Routed(routed) => *self.purpose(&routed.body) += bytes,
            Frame::Direct(body) => *self.purpose(body) += bytes,
        }
    }

    fn probe(&mut self, news: &News, bytes: u64) {
        let Some(changes) = &news.changes else {
            self.keepalive += bytes;
            return;
        };
        let lookahead = (changes.linked.len() + changes.unlinked.len()) as u64;
        let tables = bytes.saturating_sub(lookahead + PROBE_BYTES);
        self.lookahead += lookahead;
        self.tables += tables;
        self.keepalive += bytes - lookahead - tables;
    }

    fn purpose(&mut self, body: &Body) -> &mut u64 {
        match body {
            Body::Overlay(Message::Find { .. } | Message::Found { .. }) | Body::Globals(_) => &mut self.tables,
            Body::Overlay(Message::Signal { .. } | Message::SignalRefused { .. }) => &mut self.setup,
            Body::Group(group::Message::Renew { .. } | group::Message::Granted { .. }) => &mut self.leases,
            Body::Group(group::Message::Ping | group::Message::Pong) => &mut self.keepalive,
            Body::Group(_) => &mut self.repair,
            Body::Dht(_) | Body::Spread(_) | Body::App(_) | Body::Exchange(_) | Body::Live(_) => &mut self.calls,
        }
    }

    /// Names and bytes.
    pub fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("bytes_keepalive", self.keepalive),
            ("bytes_tables", self.tables),
            ("bytes_lookahead", self.lookahead),
            ("bytes_leases", self.leases),
            ("bytes_setup", self.setup),
            ("bytes_repair", self.repair),
            ("bytes_calls", self.calls),
        ]
    }
}

/// A probe that tells nothing.
const PROBE_BYTES: u64 = 6;
