//! Channels: ordered, reliable, two-way, each hop paid in latency. A partition or a stall holds what is on its way.

use std::collections::VecDeque;

/// One direction's traffic, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A chunk.
    Bytes(Vec<u8>),
    /// The other side closed.
    Down,
}

/// One end.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The node.
    pub node: usize,
    /// Which of its lives.
    pub life: u32,
    /// Whether the node was told that the channel is up, and neither side closed it as far as this end knows.
    pub open: bool,
}

/// How the channel comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// End 0 dialled end 1.
    Dialled {
        /// What end 0 dialled.
        address: String,
    },
    /// End 0 made the offer; the sessions of both.
    Rtc([pontoon_core::SessionId; 2]),
}

/// A channel between two nodes.
#[derive(Debug)]
pub struct Channel {
    /// Both ends.
    pub ends: [End; 2],
    /// How it comes to be.
    pub kind: Kind,
    /// One way.
    pub latency_us: u64,
    /// What arrives at each end arrives after this.
    pub arrives_after_us: [u64; 2],
    /// What waits for each end until the way is free again.
    pub held: [VecDeque<Item>; 2],
    /// Nothing passes before.
    pub stalled_until_us: u64,
}

impl Channel {
    /// A channel that is not open yet.
    pub fn new(ends: [(usize, u32); 2], kind: Kind, latency_us: u64) -> Channel {
        let end = |(node, life)| End { node, life, open: false };
        Channel {
            ends: ends.map(end),
            kind,
            latency_us,
            arrives_after_us: [0; 2],
            held: Default::default(),
            stalled_until_us: 0,
        }
    }
}
