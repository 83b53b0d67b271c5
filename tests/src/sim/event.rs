//! What will happen to a node: ordered by time, then by who caused it, then in the order in which that one did.
//!
//! The order does not depend on which node was simulated first, so a run is the same on one thread and on many.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use pontoon_core::{Input, LinkId, SessionId};

use super::channel::Item;

/// Something that will happen to a node. `life` names the life of it that is meant; a later one never sees it.
#[derive(Debug)]
pub enum Event {
    /// It starts, or starts again.
    Start,
    /// It wakes from sleep.
    Resume {
        /// How long its monotone clock stood still.
        stood_still_us: u64,
    },
    /// It is told something.
    Input {
        /// In this life.
        life: u32,
        /// What. Boxed: rare, and larger than the rest.
        input: Box<Input>,
    },
    /// Its oldest batch under way is done.
    Persisted {
        /// In this life.
        life: u32,
    },
    /// Somebody dials it.
    Dialled {
        /// What the channel is called there.
        theirs: LinkId,
    },
    /// The answer of somebody's WebRTC session found its way: both sides know each other's description.
    Connect {
        /// The session here.
        session: SessionId,
        /// In this life.
        life: u32,
        /// What the channel is called there.
        theirs: LinkId,
    },
    /// What became of a channel that it began.
    Answered {
        /// The channel.
        link: LinkId,
        /// What it is called at the other end; `None` when it will not be.
        theirs: Option<LinkId>,
    },
    /// A WebRTC channel that the other side began opens here.
    Open {
        /// The channel.
        link: LinkId,
    },
    /// A WebRTC session will not open.
    RtcFailed {
        /// The session.
        session: SessionId,
        /// In this life.
        life: u32,
    },
    /// Something arrives.
    Arrive {
        /// At this end.
        link: LinkId,
        /// What.
        item: Item,
    },
    /// Something has come in through the node's own narrow line.
    Received {
        /// At this end.
        link: LinkId,
        /// What.
        item: Item,
    },
    /// What an end holds may go on.
    Release {
        /// The end.
        link: LinkId,
    },
}

/// An event with its place in the order.
#[derive(Debug)]
pub struct Scheduled {
    /// When.
    pub at_us: u64,
    /// Who caused it.
    pub from: usize,
    /// The how manieth that it caused.
    pub serial: u64,
    /// What.
    pub event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        (self.at_us, self.from, self.serial).cmp(&(other.at_us, other.from, other.serial))
    }
}

/// The events of one node.
#[derive(Debug, Default)]
pub struct Queue(BinaryHeap<Reverse<Scheduled>>);

impl Queue {
    /// One more.
    pub fn push(&mut self, scheduled: Scheduled) {
        self.0.push(Reverse(scheduled));
    }

    /// When the next is due; `u64::MAX` for never.
    pub fn next_us(&self) -> u64 {
        self.0.peek().map_or(u64::MAX, |Reverse(scheduled)| scheduled.at_us)
    }

    /// The next.
    pub fn pop(&mut self) -> Option<Scheduled> {
        self.0.pop().map(|Reverse(scheduled)| scheduled)
    }
}
