//! Channels: ordered, reliable, two-way, each hop paid in latency. A partition or a stall holds what is on its way.
//!
//! A channel has no state of its own, only its two ends have: each belongs to its node, and they tell one another
//! nothing but by what travels. So nodes can be simulated side by side.

use std::collections::VecDeque;

use pontoon_core::{LinkId, SessionId};

/// One direction's traffic, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// A chunk.
    Bytes(Vec<u8>),
    /// The other side closed.
    Down,
}

/// How an end comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This node dialled.
    Dialled {
        /// What it dialled.
        address: String,
    },
    /// The other node dialled.
    Accepted,
    /// A WebRTC session.
    Rtc(SessionId),
}

/// One end, as its node keeps it.
#[derive(Debug)]
pub struct End {
    /// The node at the other end.
    pub peer: usize,
    /// What the channel is called there, once that is known.
    pub theirs: Option<LinkId>,
    /// How it comes to be.
    pub kind: Kind,
    /// Whether the node was told that the channel is up.
    pub open: bool,
    /// One way.
    pub latency_us: u64,
    /// What is sent arrives at the other end after this.
    pub arrives_after_us: u64,
    /// Nothing is handed to this node before.
    pub stalled_until_us: u64,
    /// What waits for this node until the way is free again.
    pub held: VecDeque<Item>,
}

impl End {
    /// An end that is not open yet.
    pub fn new(peer: usize, theirs: Option<LinkId>, kind: Kind, latency_us: u64) -> End {
        End {
            peer,
            theirs,
            kind,
            open: false,
            latency_us,
            arrives_after_us: 0,
            stalled_until_us: 0,
            held: VecDeque::new(),
        }
    }
}
