//! Which values are frequent: the summary of Misra and Gries.
//!
//! Sixteen counters of values. A value without a counter gets one; where there is none left, all counters go down together
//! until one is free. So a counter says at most how often its value came, and at most a 17th of all values less. Two
//! summaries unite by adding their counters up and taking the 17th largest off all.
//!
//! Misra and Gries, *Finding repeated elements*, 1982; Agarwal, Cormode, Huang, Phillips, Wei and Yi, *Mergeable
//! summaries*, PODS 2012, section 3.

use serde::{Deserialize, Serialize};

use crate::data::{Value, cell::Cell};

/// Counters of a summary.
pub const COUNTERS: usize = 16;
/// Bytes of a value that is counted; a longer one counts as none.
const VALUE_BYTES_MAX: usize = 128;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Common {
    counters: Vec<(Value, u64)>,
}

impl Common {
    /// Takes in a value that came so many times.
    pub fn absorb(&mut self, cell: &Cell<'_>, times: u64) {
        self.add(cell, times);
        self.cut();
    }

    /// Takes in all that another one has.
    pub fn merge(&mut self, other: &Common) {
        // More than there can be are a hostile peer's.
        other.counters.iter().take(COUNTERS).for_each(|(value, times)| self.add(&Cell::from(value), *times));
        self.cut();
    }

    /// The bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.counters.iter().map(|(value, _)| 16 + value.bytes()).sum()
    }

    fn add(&mut self, cell: &Cell<'_>, times: u64) {
        match self.counters.iter_mut().find(|(value, _)| cell.compare(&Cell::from(value)).is_eq()) {
            Some((_, held)) => *held = held.saturating_add(times),
            None => {
                let value = Value::from(cell.clone());
                if value.bytes() <= VALUE_BYTES_MAX {
                    self.counters.push((value, times));
                }
            }
        }
    }

    /// Takes off all counters what the first one beyond the number has.
    fn cut(&mut self) {
        if self.counters.len() <= COUNTERS {
            return;
        }
        let larger = |than: u64| self.counters.iter().filter(|(_, times)| *times > than).count();
        let enough = self.counters.iter().map(|(_, times)| *times).filter(|times| larger(*times) <= COUNTERS);
        let off = enough.min().unwrap_or(u64::MAX);
        self.counters.retain_mut(|(_, times)| {
            *times = times.saturating_sub(off);
            *times > 0
        });
    }

    /// The values, the most frequent first, each with how often it came at least.
    pub fn into_values(mut self) -> Vec<(Value, u64)> {
        self.counters
            .sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| Cell::from(a).compare(&Cell::from(b))));
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[i64]) -> Common {
        let mut summary = Common::default();
        values.iter().for_each(|value| summary.absorb(&Cell::Integer(*value), 1));
        summary
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let mut summary = of(&[3, 1, 3, 2, 3, 2]);
        summary.absorb(&Cell::Text(&"x".repeat(VALUE_BYTES_MAX + 1)), 9);
        let expected = [(3, 3), (2, 2), (1, 1)].map(|(value, times)| (Value::Integer(value), times));
        assert_eq!(summary.into_values(), expected);
    }

    #[test]
    fn a_frequent_value_is_found_among_many() {
        let values: Vec<i64> = (0..10_000).map(|at| if at % 5 == 0 { -1 } else { at }).collect();
        let found = of(&values).into_values();
        assert_eq!(found[0].0, Value::Integer(-1));
        assert!((2_000 - 10_000 / 17..=2_000).contains(&found[0].1), "{found:?}");
    }

    proptest! {
        #[test]
        fn counters_are_within_a_seventeenth(parts in prop::collection::vec(prop::collection::vec(0_i64..40, 0..200), 1..6), by_hand in any::<bool>()) {
            let all: Vec<i64> = parts.iter().flatten().copied().collect();
            let merged = if by_hand {
                of(&all)
            } else {
                parts.iter().fold(Common::default(), |mut merged, part| {
                    merged.merge(&of(part));
                    merged
                })
            };
            prop_assert!(merged.counters.len() <= COUNTERS);
            for value in 0..40 {
                let times = all.iter().filter(|other| **other == value).count() as u64;
                let held = merged.counters.iter().find(|(other, _)| *other == Value::Integer(value)).map_or(0, |(_, held)| *held);
                prop_assert!(held <= times && held + all.len() as u64 / 17 >= times, "{value}: {held} of {times}");
            }
        }
    }
}
