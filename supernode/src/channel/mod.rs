//! What carries the engine's chunks to one peer and back, a WebSocket ([`crate::socket`]) or a data channel
//! ([`crate::reach`]), as far as it is the same for both.
//!
//! ```text
//!   driver ── Client::send ──► queue (bounded in bytes) ──► Outgoing ──► what sends
//!   driver ◄── Event (bounded channel, waits) ◄── Taking ◄────────────── what reads
//! ```
//!
//! A client that lets its queue overflow is cut at once, so that it costs nobody else memory or time; a full event channel
//! stops reading, so that the transport holds the sender back. What one channel has in there is bounded as well, so that
//! others do not wait behind all that a flood brings; how much a client may send a second, [`crate::traffic`] says.

mod queue;
mod taking;

use std::{net::IpAddr, sync::Arc};

use pontoon_core::LinkId;
use queue::AllQueued;
#[cfg(test)]
pub(crate) use queue::Overflow;
pub(crate) use queue::{Client, Item, Outgoing, client, cut};
pub(crate) use taking::{Taking, Turn};

use crate::{
    metrics::{Cut, Metrics},
    traffic::TrafficLimits,
};

/// What all sockets and data channels share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    all: AllQueued,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traffic: Arc<TrafficLimits>,
}

impl Sockets {
    pub(crate) fn new(traffic: TrafficLimits) -> Sockets {
        Sockets { traffic: Arc::new(traffic), ..Sockets::default() }
    }

    /// Bytes that wait in all queues together.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.all.bytes()
    }
}

/// Counts who is cut, and says so in the log, once a second for each reason.
pub(crate) fn tell_cut(metrics: &Metrics, (link, address): (LinkId, Option<IpAddr>), why: Cut, reason: &str) {
    if let Some(count) = metrics.cut(why) {
        let (link, address) = (link.0, address.map(tracing::field::display));
        tracing::warn!(link, address, reason = why.name(), count, "a client was cut (the last one's link): {reason}");
    }
}
