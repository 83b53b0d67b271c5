//! How far a statement has come: what its gathers and joins tell of themselves, as one share for a progress bar.
//!
//! What is not asked yet is not known: where a source waits for another one, the share of what has been asked falls when
//! it begins. What is told never falls.

use crate::map::Map;

/// How far a statement has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The share of what was asked of peers that has answered.
    pub coverage: f64,
    /// Rows, or groups, that have come of them.
    pub rows: u64,
}

/// The gathers and joins of one statement.
#[derive(Debug, Default)]
pub struct Tracked {
    open: Map<u32, Progress>,
    /// Those that have ended, and their rows.
    ended: u32,
    rows: u64,
    told: f64,
}

impl Tracked {
    /// A gather or a join goes on.
    pub fn on_progress(&mut self, need: u32, progress: Progress) {
        self.open.insert(need, progress);
        let shares: f64 = self.open.values().map(|open| open.coverage).sum();
        let asked = f64::from(self.ended) + self.open.len() as f64;
        self.told = self.told.max((f64::from(self.ended) + shares) / asked);
    }

    /// What is to be told: at first, that nothing has come.
    pub fn progress(&self) -> Progress {
        Progress { coverage: self.told, rows: self.open.values().fold(self.rows, |rows, open| rows + open.rows) }
    }

    /// It has ended, and has given so many rows.
    pub fn on_end(&mut self, need: u32, rows: u64) {
        self.open.remove(&need);
        self.ended += 1;
        self.rows += rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_that_was_asked_and_never_fall() {
        let mut tracked = Tracked::default();
        assert_eq!(tracked.progress(), Progress::default());
        let mut told = |need, coverage, rows| {
            tracked.on_progress(need, Progress { coverage, rows });
            let progress = tracked.progress();
            (progress.coverage, progress.rows)
        };
        assert_eq!(told(1, 0.5, 10), (0.5, 10));
        assert_eq!(told(2, 0.0, 0), (0.5, 10), "of the second one nothing has come");
        assert_eq!(told(2, 0.75, 4), (0.625, 14));
        tracked.on_end(1, 20);
        tracked.on_progress(2, Progress { coverage: 0.75, rows: 5 });
        assert_eq!(tracked.progress(), Progress { coverage: 0.875, rows: 25 });
        tracked.on_end(2, 6);
        tracked.on_progress(3, Progress::default());
        assert_eq!(tracked.progress(), Progress { coverage: 0.875, rows: 26 });
    }
}
