//! A node's disk: batches are written in order, after a while, and a crash keeps a prefix of those under way.

use std::collections::{BTreeMap, VecDeque};

use pontoon_core::{Saved, store::Batch};

/// What is durable, and what is on its way.
#[derive(Debug, Default)]
pub struct Disk {
    durable: BTreeMap<Vec<u8>, Vec<u8>>,
    pending: VecDeque<(u64, Batch)>,
    /// The next so many batches fail.
    pub failures_due: u32,
    /// When the last batch under way is done, virtual time.
    pub busy_until_us: u64,
}

impl Disk {
    /// A batch to write.
    pub fn begin(&mut self, token: u64, batch: Batch) {
        self.pending.push_back((token, batch));
    }

    /// The oldest batch reaches the disk (or not, if `fails`); its token, and whether it is durable now.
    pub fn finish(&mut self, fails: bool) -> Option<(u64, bool)> {
        let (token, batch) = self.pending.pop_front()?;
        let fails = fails || self.failures_due > 0;
        self.failures_due = self.failures_due.saturating_sub(1);
        if !fails {
            self.apply(batch);
        }
        Some((token, !fails))
    }

    /// Power is gone: `kept` of the batches under way made it, without anybody being told.
    pub fn crash(&mut self, kept: usize) {
        for _ in 0..kept.min(self.pending.len()) {
            if let Some((_, batch)) = self.pending.pop_front() {
                self.apply(batch);
            }
        }
        self.pending.clear();
    }

    /// How many batches are under way.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What a restarted node finds.
    pub fn saved(&self) -> Saved {
        self.durable.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether a part of anything that it holds is this.
    pub fn has(&self, part: &[u8]) -> bool {
        let within = |bytes: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        self.durable.iter().any(|(key, value)| within(key) || within(value))
    }

    /// Loses everything (a new disk).
    pub fn wipe(&mut self) {
        *self = Disk::default();
    }

    fn apply(&mut self, batch: Batch) {
        for (key, value) in batch {
            match value {
                Some(value) => self.durable.insert(key, value),
                None => self.durable.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8) -> Batch {
        vec![(vec![key], Some(vec![key]))]
    }

    #[test]
    fn a_crash_keeps_a_prefix() {
        let mut disk = Disk::default();
        (1..=4).for_each(|key| disk.begin(u64::from(key), put(key)));
        assert_eq!(disk.finish(false), Some((1, true)));
        assert_eq!(disk.finish(true), Some((2, false)));
        disk.crash(1);
        assert_eq!(disk.saved(), vec![(vec![1], vec![1]), (vec![3], vec![3])]);
        assert_eq!(disk.finish(false), None);
    }
}
