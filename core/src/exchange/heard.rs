//! What the asker of a join has heard of its sides, its buckets, and the owners that rows go past.

use crate::{
    data::SignedRow,
    exec::{EARLY_MAX, Fault, GatherEnd, Partial, ops::Batch},
    map::{Map, Set},
};

/// What a bucket said.
pub(super) enum Told {
    Found {
        bucket: u16,
        life: u64,
        index: u32,
        last: bool,
        fault: Option<Fault>,
        partial: Vec<u8>,
    },
    Waiting {
        bucket: u16,
        flowing: bool,
    },
    Followed {
        stop: u8,
        taken: (u32, u64),
        next: (u32, u64),
        assumed_lost: bool,
        fault: Option<Fault>,
        partial: Vec<u8>,
    },
}

/// What is known of the rows of this round that go past owners.
#[derive(Default)]
pub(super) struct Trail {
    /// By stop: parcels sent there and taken there, and the sums of their names.
    pub stops: Vec<[(u32, u64); 2]>,
    /// What was told: a message that comes twice counts once.
    pub told: Set<(u8, u64, u64)>,
    pub found: Partial,
    pub heard_us: u64,
}

impl Trail {
    pub fn add(&mut self, stop: usize, taken: bool, (count, sum): (u32, u64)) {
        if let Some(stop) = self.stops.get_mut(stop) {
            let into = &mut stop[usize::from(taken)];
            *into = (into.0.saturating_add(count), into.1.wrapping_add(sum));
        }
    }

    pub fn is_whole(&self) -> bool {
        self.stops.iter().all(|[sent, taken]| sent == taken)
    }
}

/// Rows that came.
#[derive(Default)]
pub(super) struct Came {
    pub rows: u64,
    /// When the first ones came, monotone.
    pub first_us: Option<u64>,
    /// How many of the first ones were kept for the application, and those that it was not told of yet.
    first: usize,
    pub early: Vec<SignedRow>,
}

impl Came {
    /// More rows; whether the application is to see the first ones. What is tried again it has seen.
    pub fn add(&mut self, now_us: u64, batch: &Batch, show: bool) {
        if !batch.is_empty() {
            self.first_us.get_or_insert(now_us);
        }
        self.rows += batch.len() as u64;
        if show && self.first < EARLY_MAX {
            let before = self.early.len();
            self.early.extend(batch.early(0).into_iter().take(EARLY_MAX - self.first));
            self.first += self.early.len() - before;
        }
    }
}

/// A side of the join.
#[derive(Default)]
pub(super) struct Side {
    /// When it was asked for, monotone.
    pub asked_us: Option<u64>,
    /// How much of it has answered.
    pub share: f64,
    pub answer: Option<(Partial, GatherEnd)>,
}

impl Side {
    /// It is being asked for; whether it had not been before.
    pub fn ask(&mut self, now_us: u64) -> bool {
        let first = self.asked_us.is_none();
        self.asked_us.get_or_insert(now_us);
        first
    }
}

/// What is known of a bucket of this round.
pub(super) struct Awaited {
    /// By life of the bucket and number; and the last of the life that has ended.
    pub pieces: Map<(u64, u32), Partial>,
    pub last: Option<(u64, u32)>,
    pub bytes: usize,
    pub heard_us: u64,
    pub failed: bool,
}
