//! The choices that a generator makes: drawn from a seed, or replayed from a list that a shrinker has made smaller.
//!
//! The smaller a choice, the simpler is what is generated; a list that has ended goes on with zeros.

use crate::sim::mix;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Choices {
    source: Source,
    made: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Source {
    Seed(u64),
    List(Vec<u32>),
}

impl Choices {
    /// Drawn from a seed.
    pub fn random(seed: u64) -> Choices {
        Choices { source: Source::Seed(seed), made: Vec::new() }
    }

    /// Replayed.
    pub fn replay(list: Vec<u32>) -> Choices {
        Choices { source: Source::List(list), made: Vec::new() }
    }

    /// What was chosen so far.
    pub fn made(self) -> Vec<u32> {
        self.made
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        let raw = match &self.source {
            Source::Seed(seed) => (mix(*seed, self.made.len() as u64) >> 16) as u32,
            Source::List(list) => list.get(self.made.len()).copied().unwrap_or(0),
        };
        let value = raw % bound.max(1) as u32;
        self.made.push(value);
        value as usize
    }

    /// True once in `bound` times.
    pub fn once_in(&mut self, bound: usize) -> bool {
        self.below(bound) + 1 == bound
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// The index of one of several that have weights.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut rest = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return index;
            }
            rest -= weight;
        }
        0
    }
}
