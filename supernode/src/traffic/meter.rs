//! What one WebSocket client sends: too much is not read for a while; who goes on like that is cut.

use tokio::time::{Duration, Instant};

use super::{
    TrafficLimits,
    bucket::{Bucket, Rate},
};

/// Seconds' worth that may come at once.
const BURST_S: f64 = 2.0;

/// What becomes of a client that sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is read on.
    Go,
    /// It is read on after so long.
    Wait(Duration),
    /// It was to wait for too long without a pause. For people: what there was too much of.
    Cut(&'static str),
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes: (Rate, Bucket),
    chunks: (Rate, Bucket),
    patience: Duration,
    /// Since when it is held back without a pause.
    held_since: Option<Instant>,
}

impl Meter {
    pub(crate) fn new(limits: &TrafficLimits, now: Instant) -> Meter {
        let bucket = |per_s| {
            let rate = Rate::new(per_s, BURST_S);
            (rate, Bucket::full(rate, now))
        };
        Meter {
            bytes: bucket(limits.client_bytes_per_s),
            chunks: bucket(limits.client_chunks_per_s),
            patience: limits.flood_patience,
            held_since: None,
        }
    }

    /// Counts one message of so many bytes.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> Verdict {
        let recovered = self.bytes.1.recovered(self.bytes.0, now) & self.chunks.1.recovered(self.chunks.0, now);
        if recovered {
            self.held_since = None;
        }
        let by_bytes = self.bytes.1.take(self.bytes.0, bytes as f64, now);
        let by_chunks = self.chunks.1.take(self.chunks.0, 1.0, now);
        let wait = by_bytes.max(by_chunks);
        if wait.is_zero() {
            return Verdict::Go;
        }
        let since = *self.held_since.get_or_insert(now);
        match now.saturating_duration_since(since) > self.patience {
            true if by_bytes >= by_chunks => Verdict::Cut("too many bytes a second for too long"),
            true => Verdict::Cut("too many messages a second for too long"),
            false => Verdict::Wait(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(start: Instant) -> Meter {
        let limits = TrafficLimits {
            client_bytes_per_s: 1_000,
            client_chunks_per_s: 10,
            flood_patience: Duration::from_secs(5),
            ..TrafficLimits::default()
        };
        Meter::new(&limits, start)
    }

    /// Sends messages as quickly as it may; gives what it was cut for and after how long, or `None` after `most`.
    fn flood(meter: &mut Meter, start: Instant, bytes: usize, most: Duration) -> Option<(&'static str, Duration)> {
        let mut now = start;
        while now < start + most {
            match meter.take(bytes, now) {
                Verdict::Go => {}
                Verdict::Wait(wait) => now += wait,
                Verdict::Cut(reason) => return Some((reason, now - start)),
            }
        }
        None
    }

    #[test]
    fn a_flood_is_held_back_and_then_cut() {
        let start = Instant::now();
        let (reason, after) = flood(&mut meter(start), start, 10, Duration::from_secs(60)).unwrap();
        assert!(reason.contains("messages") && after > Duration::from_secs(5), "{reason} after {after:?}");
        let (reason, _) = flood(&mut meter(start), start, 500, Duration::from_secs(60)).unwrap();
        assert!(reason.contains("bytes"));
    }

    #[test]
    fn bursts_with_pauses_are_never_cut() {
        let start = Instant::now();
        let mut meter = meter(start);
        for burst in 0..100 {
            let at = start + Duration::from_secs(10) * burst;
            assert_eq!(flood(&mut meter, at, 10, Duration::from_secs(4)), None, "{burst}");
        }
    }
}
