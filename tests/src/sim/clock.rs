//! A node's two clocks: off by an offset, and running fast or slow, against the simulation's time.

use pontoon_core::Now;

use super::{config::SimConfig, hash::mix};

/// Simulations begin at this wall clock (2026-11-20).
const EPOCH_US: u64 = 1_795_132_800_000_000;

/// How one node's clocks relate to virtual time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    mono_zero_us: u64,
    drift_ppm: i64,
    wall_offset_us: i64,
    /// Time that the monotone clock stood still (a machine asleep).
    pub slept_us: u64,
}

impl Clock {
    /// The clock of node `index`, drawn from the seed.
    pub fn draw(config: &SimConfig, index: usize) -> Clock {
        let draw = |salt: u64, bound: u64| {
            if bound == 0 {
                return 0;
            }
            (mix(mix(config.seed, salt), index as u64) % (2 * bound + 1)) as i64 - bound as i64
        };
        Clock {
            mono_zero_us: mix(mix(config.seed, 11), index as u64) % 1_000_000_000,
            drift_ppm: draw(12, u64::from(config.drift_ppm)),
            wall_offset_us: draw(13, config.wall_skew_us),
            slept_us: 0,
        }
    }

    /// What the clocks show at `time_us`.
    pub fn at(&self, time_us: u64) -> Now {
        let awake = time_us.saturating_sub(self.slept_us);
        let drift = match self.drift_ppm {
            0 => 0,
            ppm => i128::from(awake) * i128::from(ppm) / 1_000_000,
        };
        Now {
            mono: (i128::from(self.mono_zero_us) + i128::from(awake) + drift) as u64,
            wall: (EPOCH_US + time_us).saturating_add_signed(self.wall_offset_us),
        }
    }

    /// The first virtual time at which the monotone clock shows at least `mono`.
    pub fn when(&self, mono: u64) -> u64 {
        if self.drift_ppm == 0 {
            return mono.saturating_sub(self.mono_zero_us).saturating_add(self.slept_us);
        }
        let awake = u128::from(mono.saturating_sub(self.mono_zero_us));
        let rate = (1_000_000 + self.drift_ppm) as u128;
        let mut time =
            u64::try_from((awake * 1_000_000).div_ceil(rate)).unwrap_or(u64::MAX).saturating_add(self.slept_us);
        while self.at(time).mono < mono && time < u64::MAX {
            time += 1;
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wake_is_never_early(seed in any::<u64>(), drift in 0_u32..500, after in 0_u64..1 << 40, slept in 0_u64..1 << 30) {
            let config = SimConfig { drift_ppm: drift, ..SimConfig::new(seed, 1) };
            let mut clock = Clock::draw(&config, 3);
            clock.slept_us = slept;
            let mono = clock.at(slept).mono + after;
            let when = clock.when(mono);
            prop_assert!(clock.at(when).mono >= mono);
            prop_assert!(when == slept || clock.at(when - 1).mono <= mono);
        }
    }
}
