//! What a run leaves behind: answers, deliveries, counts. Each thread keeps its own; put in order when it is over.

use pontoon_core::{CallId, Id, data::SignedRow, inspect::Trace, live::Watched, store::Record};

use super::{Answer, Recorded, Stats};

/// Something to remember.
#[derive(Debug)]
pub enum What {
    /// A command was answered.
    Reply(CallId, Answer),
    /// A command goes on: rows so far, the share that is done, and the next ones of the first rows.
    Progress(CallId, u64, f64, Vec<SignedRow>),
    /// An application message arrived.
    Message {
        /// Its sender.
        from: Id,
        /// The key it was sent to.
        to_key: Option<(String, Vec<u8>)>,
        /// The message.
        payload: Vec<u8>,
    },
    /// A global changed.
    Global(String, Option<Vec<u8>>),
    /// A trace event.
    Trace(Trace),
    /// A node told its application of a record.
    NewData(Record),
    /// A node told its application of what it watches.
    Watched(CallId, Watched),
    /// A chunk was sent.
    Chunk(Recorded),
}

/// When, where, the how manieth there; and what.
pub type Note = (u64, usize, u64, What);

/// What one thread noted.
#[derive(Debug, Default)]
pub struct Notes {
    /// What happened.
    pub notes: Vec<Note>,
    /// What was counted.
    pub stats: Stats,
}

impl Notes {
    /// One more.
    pub fn add(&mut self, at_us: u64, node: usize, serial: u64, what: What) {
        self.notes.push((at_us, node, serial, what));
    }

    /// Takes everything of another thread's.
    pub fn merge(&mut self, other: Notes) {
        self.notes.extend(other.notes);
        self.stats.add(&other.stats);
    }

    /// What happened, in an order that does not depend on threads.
    pub fn take(&mut self) -> Vec<Note> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.sort_unstable_by_key(|(at_us, node, serial, _)| (*at_us, *node, *serial));
        notes
    }
}
