//! The two clocks that the engine is told with every input.

use std::time::{Duration, SystemTime};

use pontoon_core::Now;
use tokio::time::Instant;

/// A moment so far away that nothing waits for it in earnest.
const FAR: Duration = Duration::from_secs(3_600);

/// Reads both clocks; the zero of the monotone one is its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: micros(self.start.elapsed()), wall: micros(wall) }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// When the monotone clock shows `mono`, or an hour from now if that is later: waking early does no harm.
    pub(crate) fn instant(&self, mono: u64) -> Instant {
        let latest = Instant::now() + FAR;
        self.start.checked_add(Duration::from_micros(mono)).map_or(latest, |at| at.min(latest))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
