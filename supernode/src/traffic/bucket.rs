//! A token bucket: so much a second, and a burst of what was not used. It may be overdrawn once; the debt is waited for.

use tokio::time::{Duration, Instant};

/// What a bucket lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    /// A second; 0 is no bound.
    pub(super) per_s: f64,
    /// At most at once.
    pub(super) burst: f64,
}

impl Rate {
    /// So much a second, and so many seconds' worth at once.
    pub(super) fn new(per_s: u32, seconds: f64) -> Rate {
        let per_s = f64::from(per_s);
        Rate { per_s, burst: per_s * seconds }
    }
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket { level: rate.burst, at: now }
    }

    /// Takes something, which may overdraw it; gives how long it then takes until nothing is owed.
    pub(super) fn take(&mut self, rate: Rate, amount: f64, now: Instant) -> Duration {
        if rate.per_s <= 0.0 {
            return Duration::ZERO;
        }
        self.fill(rate, now);
        self.level -= amount;
        Duration::from_secs_f64((-self.level).max(0.0) / rate.per_s)
    }

    /// Takes one if it is there.
    pub(super) fn try_take(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        let there = rate.per_s <= 0.0 || self.level >= 1.0;
        if there {
            self.level -= 1.0;
        }
        there
    }

    /// Whether half of the burst is there again: who takes what is too much never lets it come to that.
    pub(super) fn recovered(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        rate.per_s <= 0.0 || self.level >= rate.burst / 2.0
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.level = (self.level + passed * rate.per_s).min(rate.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let (rate, start) = (Rate::new(100, 2.0), Instant::now());
        let mut bucket = Bucket::full(rate, start);
        assert_eq!(bucket.take(rate, 200.0, start), Duration::ZERO);
        assert!(!bucket.recovered(rate, start));
        assert_eq!(bucket.take(rate, 50.0, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert!(!bucket.try_take(rate, later), "what was owed is paid, no more");
        assert!(bucket.try_take(rate, later + Duration::from_millis(20)));
        assert!(bucket.recovered(rate, later + Duration::from_secs(2)));
    }

    #[test]
    fn without_a_bound_nothing_waits() {
        let (rate, now) = (Rate::new(0, 2.0), Instant::now());
        let mut bucket = Bucket::full(rate, now);
        assert_eq!(bucket.take(rate, 1e12, now), Duration::ZERO);
        assert!(bucket.try_take(rate, now) && bucket.recovered(rate, now));
    }
}
