//! The event queue: ordered by (time, serial), so that what was asked for first happens first.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use pontoon_core::Input;

use super::channel::Item;

/// Something that will happen. `life` names the life of a node that it is meant for; a later life never sees it.
#[derive(Debug)]
pub enum Event {
    /// A node starts, or starts again.
    Start {
        /// Which.
        node: usize,
    },
    /// A node wakes from sleep.
    Resume {
        /// Which.
        node: usize,
        /// How long its monotone clock stood still.
        stood_still_us: u64,
    },
    /// A node is told something.
    Input {
        /// Which.
        node: usize,
        /// In this life.
        life: u32,
        /// What. Boxed: rare, and larger than the rest.
        input: Box<Input>,
    },
    /// A node asked to be woken.
    Wake {
        /// Which.
        node: usize,
        /// In this life.
        life: u32,
    },
    /// The oldest batch under way is done.
    Persisted {
        /// Whose.
        node: usize,
        /// In this life.
        life: u32,
    },
    /// Something arrives at an end of a channel.
    Arrive {
        /// The channel.
        channel: usize,
        /// The end.
        to: usize,
        /// What.
        item: Item,
    },
    /// What a channel held may go on.
    Release {
        /// The channel.
        channel: usize,
        /// The end that waits.
        to: usize,
    },
    /// An end of a channel opens.
    Open {
        /// The channel.
        channel: usize,
        /// The end.
        end: usize,
    },
}

impl Event {
    /// A node is told something.
    pub fn input(node: usize, life: u32, input: Input) -> Event {
        Event::Input { node, life, input: Box::new(input) }
    }
}

#[derive(Debug)]
struct Scheduled {
    at_us: u64,
    serial: u64,
    event: Event,
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
        (self.at_us, self.serial).cmp(&(other.at_us, other.serial))
    }
}

/// Events by time, then by order of scheduling.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    serial: u64,
}

impl Queue {
    /// Schedules an event.
    pub fn push(&mut self, at_us: u64, event: Event) {
        self.serial += 1;
        self.heap.push(Reverse(Scheduled { at_us, serial: self.serial, event }));
    }

    /// The next event, if it is due by `until_us`.
    pub fn pop_until(&mut self, until_us: u64) -> Option<(u64, Event)> {
        if self.heap.peek()?.0.at_us > until_us {
            return None;
        }
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.at_us, scheduled.event))
    }
}
