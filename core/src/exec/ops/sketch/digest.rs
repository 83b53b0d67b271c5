//! Which value has so many below it: a merging t-digest.
//!
//! Numbers in order, neighbours united to a mean with a weight: large in the middle, single at the ends, so that
//! extreme percentiles are exact. Neighbours unite where the united weight spans at most one unit of the scale function k1,
//! of which here is the slope: `2 pi / size * sqrt(q (1 - q))` of all, at the end of it that is nearer to the border. So
//! a peer needs no arc sine. Up to [`HELD_MAX`] numbers are all kept, and the answer is exact.
//!
//! Dunning and Ertl, *Computing extremely accurate quantiles using t-digests*, 2019, sections 2.1, 2.4 and 2.9.
//! What is not a number or not finite does not count. The order and the tree matter, within the error.

use serde::{Deserialize, Serialize};

/// Numbers that are held before neighbours are united.
pub const HELD_MAX: usize = 256;
/// Means that are left then, at most.
const SIZE: f64 = 128.0;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Digest {
    /// Ascending: means, and how many numbers each stands for.
    means: Vec<(f64, u64)>,
}

impl Digest {
    /// Takes in a number that came so many times.
    pub fn absorb(&mut self, number: f64, times: u64) {
        if !number.is_finite() || times == 0 {
            return;
        }
        let at = self.means.partition_point(|(mean, _)| *mean <= number);
        self.means.insert(at, (number, times));
        if self.means.len() > HELD_MAX {
            self.unite();
        }
    }

    /// Takes in all that another one has.
    pub fn merge(&mut self, other: &Digest) {
        other.means.iter().for_each(|(mean, times)| self.absorb(*mean, *times));
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        16 * self.means.len()
    }

    fn total(&self) -> f64 {
        self.means.iter().map(|(_, times)| *times as f64).sum()
    }

    /// Unites neighbours.
    fn unite(&mut self) {
        let total = self.total();
        let slope = |below: f64| {
            let q = below / total;
            (q * (1.0 - q)).max(0.0).sqrt()
        };
        let (mut kept, mut below) = (0, 0.0);
        for at in 1..self.means.len() {
            let ((mean, times), (next, more)) = (self.means[kept], self.means[at]);
            let both = times as f64 + more as f64;
            let limit = total * core::f64::consts::TAU / SIZE * slope(below).min(slope(below + both));
            if both <= limit {
                let mean = mean * (times as f64 / both) + next * (more as f64 / both);
                self.means[kept] = (mean, times.saturating_add(more));
            } else {
                below += times as f64;
                kept += 1;
                self.means[kept] = (next, more);
            }
        }
        self.means.truncate(kept + 1);
    }

    /// The number below which that share of all is, about; between two numbers what lies between them.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let rank = share * (self.total() - 1.0);
        let (mut below, mut before) = (0.0, None);
        for (mean, times) in &self.means {
            let centre = below + (*times as f64 - 1.0) / 2.0;
            match before {
                _ if centre < rank => {}
                Some((other, at)) if centre > at => {
                    let share = (rank - at) / (centre - at);
                    return Some(other * (1.0 - share) + mean * share);
                }
                _ => return Some(*mean),
            }
            below += *times as f64;
            before = Some((*mean, centre));
        }
        before.map(|(mean, _)| mean)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: &[f64]) -> Digest {
        let mut digest = Digest::default();
        numbers.iter().for_each(|number| digest.absorb(*number, 1));
        digest
    }

    /// `percentile_cont`.
    fn exact(numbers: &[f64], share: f64) -> f64 {
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let rank = share * (sorted.len() - 1) as f64;
        let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
        low + (high - low) * rank.fract()
    }

    /// By how many ranks, as a share of all, a number is off.
    fn off(numbers: &[f64], share: f64, number: f64) -> f64 {
        let count = |than: &dyn Fn(f64) -> bool| numbers.iter().filter(|other| than(**other)).count() as f64;
        let rank = share * (numbers.len() - 1) as f64;
        let (below, upto) = (count(&|other| other < number), count(&|other| other <= number));
        (below - 1.0 - rank).max(rank - upto).max(0.0) / numbers.len() as f64
    }

    fn scrambled(count: u64) -> Vec<f64> {
        (0..count).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64).map(|it| it * it).collect()
    }

    #[test]
    fn few_numbers_are_exact() {
        assert_eq!(Digest::default().percentile(0.5), None);
        let numbers = [4.0, 1.0, 7.0, 7.0, f64::NAN, 2.0, f64::INFINITY];
        let digest = of(&numbers);
        for share in [0.0, 0.1, 0.25, 0.5, 0.77, 1.0] {
            assert_eq!(digest.percentile(share), Some(exact(&[4.0, 1.0, 7.0, 7.0, 2.0], share)), "{share}");
        }
    }

    #[test]
    fn many_numbers_are_near() {
        for numbers in
            [scrambled(100_000), (0..50_000).map(f64::from).collect(), (0..50_000).rev().map(f64::from).collect()]
        {
            let digest = of(&numbers);
            assert!(digest.means.len() <= HELD_MAX);
            for share in [0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0] {
                let found = digest.percentile(share).unwrap();
                // A quarter of what a mean in the middle of it may stand for.
                let allowed = 0.25 * core::f64::consts::TAU / SIZE * (share * (1.0 - share)).sqrt() + 0.000_01;
                assert!(off(&numbers, share, found) <= allowed, "{share}: {}", off(&numbers, share, found));
            }
            assert_eq!(
                (digest.percentile(0.0), digest.percentile(1.0)),
                (Some(exact(&numbers, 0.0)), Some(exact(&numbers, 1.0)))
            );
        }
    }

    #[test]
    fn parts_are_as_good_as_the_whole() {
        let numbers = scrambled(64_000);
        let mut merged = Digest::default();
        numbers.chunks(1_000).for_each(|part| merged.merge(&of(part)));
        for share in [0.01, 0.25, 0.5, 0.75, 0.99] {
            let found = merged.percentile(share).unwrap();
            assert!(off(&numbers, share, found) <= 0.01, "{share}: {}", off(&numbers, share, found));
        }
    }

    proptest! {
        #[test]
        fn hostile_digests_do_no_harm(means in prop::collection::vec((any::<f64>(), any::<u64>()), 0..600)) {
            let hostile = Digest { means };
            let mut digest = of(&[1.0, 2.0]);
            digest.merge(&hostile);
            prop_assert!(digest.means.len() <= 2 * HELD_MAX);
            let mut other = hostile;
            other.absorb(1.0, 1);
            let _ = (digest.percentile(0.5), other.percentile(0.5));
        }
    }
}
