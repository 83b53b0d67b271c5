//! Labels: strings of bits that name the nodes of a tree.
//!
//! A label orders before its extensions and otherwise by the first bit that differs, so labels that are not prefixes of
//! one another order as the keys below them do.

use serde::{Deserialize, Serialize};

use super::node::KEY_MAX;

/// A prefix of keys, in bits. What is beyond its length is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    #[serde(with = "crate::wire::bytes")]
    bytes: Vec<u8>,
    bits: u16,
}

impl Label {
    /// All bits of a key; the first ones of a key that is longer than any in a tree.
    pub fn of(key: &[u8]) -> Label {
        let key = &key[..key.len().min(KEY_MAX + 1)];
        Label { bytes: key.to_vec(), bits: (key.len() * 8) as u16 }
    }

    /// The label as the key of a record: its length, then its bits.
    pub fn to_key(&self) -> Vec<u8> {
        [&self.bits.to_be_bytes()[..], &self.bytes].concat()
    }

    /// The label of a record's key; `None`: it is not one.
    pub fn from_key(key: &[u8]) -> Option<Label> {
        let (bits, bytes) = key.split_first_chunk()?;
        let label = Label { bytes: bytes.to_vec(), bits: u16::from_be_bytes(*bits) };
        label.is_sound().then_some(label)
    }

    /// Whether its bytes are those of its bits: a label that came from elsewhere may be anything.
    pub fn is_sound(&self) -> bool {
        self.bytes.len() == usize::from(self.bits).div_ceil(8)
            && self.bytes.len() <= KEY_MAX
            && *self == self.prefix(self.bits)
    }

    /// How many bits.
    pub fn len(&self) -> u16 {
        self.bits
    }

    /// Whether it is the root's.
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// A bit; what is beyond its length is zero.
    pub fn bit(&self, at: u16) -> bool {
        self.bytes.get(usize::from(at / 8)).is_some_and(|byte| byte << (at % 8) & 0x80 != 0)
    }

    /// Its first bits.
    pub fn prefix(&self, bits: u16) -> Label {
        let bits = bits.min(self.bits);
        let mut bytes: Vec<u8> = self.bytes.iter().take(usize::from(bits).div_ceil(8)).copied().collect();
        if let Some(last) = bytes.last_mut()
            && !bits.is_multiple_of(8)
        {
            *last &= 0xff << (8 - bits % 8);
        }
        Label { bytes, bits }
    }

    /// This and one bit more.
    pub fn child(&self, bit: bool) -> Label {
        let mut child = self.clone();
        if child.bits.is_multiple_of(8) {
            child.bytes.push(0);
        }
        if let Some(last) = child.bytes.last_mut()
            && bit
        {
            *last |= 0x80 >> (child.bits % 8);
        }
        child.bits += 1;
        child
    }

    /// The other child of its parent.
    pub fn sibling(&self) -> Label {
        self.prefix(self.bits.saturating_sub(1)).child(!self.bit(self.bits.saturating_sub(1)))
    }

    /// How many of the first bits agree.
    pub fn common(&self, other: &Label) -> u16 {
        let same = self.bytes.iter().zip(&other.bytes).take_while(|(a, b)| a == b).count();
        let more = match (self.bytes.get(same), other.bytes.get(same)) {
            (Some(a), Some(b)) => (a ^ b).leading_zeros() as usize,
            _ => 0,
        };
        ((same * 8 + more) as u16).min(self.bits).min(other.bits)
    }

    /// Whether a key begins with it.
    pub fn begins(&self, key: &[u8]) -> bool {
        let (whole, rest) = (usize::from(self.bits / 8), self.bits % 8);
        key.get(..whole) == self.bytes.get(..whole)
            && (rest == 0
                || matches!((key.get(whole), self.bytes.get(whole)), (Some(a), Some(b)) if (a ^ b) >> (8 - rest) == 0))
    }

    /// Whether `other` begins with it.
    pub fn is_prefix_of(&self, other: &Label) -> bool {
        self.common(other) == self.bits
    }
}

/// Where a node whose keys agree in the first `name..=extent` bits is found by binary search over prefix lengths: the
/// length of the interval that such a search meets first (the *2-fattest number* of fat binary search, shifted by one so
/// that the empty label is one of `2^k - 1` positions: Belazzougui, Boldi, Vigna, *Dynamic Z-Fast Tries*, SPIRE 2010).
pub fn handle(name: u16, extent: u16) -> u16 {
    let (low, high) = (u32::from(name), u32::from(extent) + 1);
    // The highest bit in which `low` and `high` differ, and all above it, of `high`.
    let keep = (low ^ high).checked_ilog2().map_or(0, |bit| u32::MAX << bit);
    ((high & keep) as u16).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn label() -> impl Strategy<Value = Label> {
        (prop::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 4), 0_u16..32)
            .prop_map(|(bytes, bits)| Label::of(&bytes).prefix(bits))
    }

    fn bits(label: &Label) -> Vec<bool> {
        (0..label.len()).map(|at| label.bit(at)).collect()
    }

    proptest! {
        #[test]
        fn labels_are_lists_of_bits(a in label(), b in label(), bit in any::<bool>()) {
            prop_assert_eq!(a.cmp(&b), bits(&a).cmp(&bits(&b)));
            let common = bits(&a).iter().zip(bits(&b)).take_while(|(a, b)| **a == *b).count();
            prop_assert_eq!(usize::from(a.common(&b)), common);
            prop_assert_eq!(a.is_prefix_of(&b), bits(&b).starts_with(&bits(&a)));
            let key = &b.to_key()[2..];
            prop_assert_eq!(a.begins(key), a.is_prefix_of(&Label::of(key)));
            let child = a.child(bit);
            prop_assert_eq!(bits(&child), [bits(&a), vec![bit]].concat());
            prop_assert_eq!(child.sibling(), a.child(!bit));
            prop_assert_eq!(child.prefix(a.len()), a.clone());
            prop_assert_eq!(Label::from_key(&a.to_key()), Some(a));
        }

        #[test]
        fn what_is_no_label_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..6)) {
            if let Some(label) = Label::from_key(&bytes) {
                prop_assert_eq!(label.to_key(), bytes);
            }
        }

        /// A search that always looks at the handle of what is left finds every interval of a path, in `log2` steps.
        #[test]
        fn fat_binary_search_finds_what_it_passes(mut cuts in prop::collection::vec(1_u16..70, 0..10), depth in 70_u16..75) {
            cuts.push(0);
            cuts.sort_unstable();
            cuts.dedup();
            let target = cuts[cuts.len() - 1];
            let (mut low, mut high, mut probes) = (0, depth, 0);
            loop {
                prop_assert!(low <= target && target <= high);
                probes += 1;
                let at = handle(low, high);
                if at == target {
                    break;
                } else if at > target {
                    high = at - 1;
                } else {
                    let index = cuts.partition_point(|cut| *cut <= at);
                    // The interval that `at` lies in has its handle here: the node is found and the search goes on behind it.
                    prop_assert_eq!(handle(cuts[index - 1], cuts[index] - 1), at);
                    low = cuts[index];
                }
            }
            prop_assert!(probes <= (depth + 1).ilog2() + 1, "{} probes", probes);
        }
    }
}
