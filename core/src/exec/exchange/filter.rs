//! Which keys a side of a join has, about.

use serde::{Deserialize, Serialize};

/// Bytes of a filter at most.
const BYTES_MAX: u32 = 64 * 1_024;
/// Bits of a filter that a value sets.
const PROBES: u64 = 5;

/// A Bloom filter of keys (Bloom, *Space/time trade-offs in hash coding with allowable errors*, CACM 1970).
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Filter(#[serde(with = "crate::wire::bytes")] Vec<u8>);

impl Filter {
    /// An empty one of so many bytes, within its bound; `None`: of none.
    pub fn new(bytes: u32) -> Option<Filter> {
        (bytes > 0).then(|| Filter(vec![0; bytes.min(BYTES_MAX) as usize]))
    }

    fn bits(&self, hash: u64) -> impl Iterator<Item = (usize, u8)> + use<> {
        let bits = self.0.len() as u64 * 8;
        // Two hashes do for any number of probes (Kirsch and Mitzenmacher, ESA 2006).
        let step = hash >> 32 | 1;
        (0..PROBES).map(move |probe| {
            let bit = hash.wrapping_add(step.wrapping_mul(probe)) % bits.max(1);
            ((bit / 8) as usize, 1 << (bit % 8))
        })
    }

    /// Adds a key by its hash.
    pub fn insert(&mut self, hash: u64) {
        for (byte, bit) in self.bits(hash) {
            if let Some(byte) = self.0.get_mut(byte) {
                *byte |= bit;
            }
        }
    }

    /// Whether a key may be there.
    pub fn has(&self, hash: u64) -> bool {
        self.bits(hash).all(|(byte, bit)| self.0.get(byte).is_none_or(|byte| byte & bit != 0))
    }

    /// Adds the keys of another one.
    pub fn unite(&mut self, other: &Filter) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(into, byte)| *into |= byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_is_found_and_of_what_is_not_little() {
        let hash =
            |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 7;
        let (mut all, mut half) = (Filter::new(1_280).unwrap(), Filter::new(1_280).unwrap());
        (0..500).for_each(|number| all.insert(hash(number)));
        (500..1_000).for_each(|number| half.insert(hash(number)));
        all.unite(&half);
        assert!((0..1_000).all(|number| all.has(hash(number))));
        // Ten bits for each of a thousand keys.
        let wrong = (1_000..11_000).filter(|number| all.has(hash(*number))).count();
        assert!((1..300).contains(&wrong), "{wrong} of 10,000");
    }

    #[test]
    fn one_without_bits_lets_everything_through() {
        assert!(Filter::default().has(7));
        assert_eq!(Filter::new(0), None);
    }
}
