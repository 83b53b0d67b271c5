//! Identifiers, the XOR metric and ternary regions of the key space.
//!
//! Ids are 160 bits (SHA-1). Distance is XOR read as an unsigned number (Maymounkov and Mazières, *Kademlia*,
//! IPTPS 2002, section 2.1). A [`Region`] fixes some bits of an id and leaves the others free; regions that split
//! by fixing one more free bit stay disjoint, which is what makes scans exact.

use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use sha1::{Digest, Sha1};

/// Bits of an [`Id`].
pub const ID_BITS: u32 = 160;
const ID_BYTES: usize = 20;

/// A point of the key space: the name of a node or of an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Id(#[serde(deserialize_with = "array")] pub [u8; ID_BYTES]);

/// What the derive gives, as a loop: in wasm the unrolled one is six times as long.
pub(crate) fn array<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    struct Bytes<const N: usize>;
    impl<'de, const N: usize> Visitor<'de> for Bytes<N> {
        type Value = [u8; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{N} bytes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut bytes = [0; N];
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = items.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
            }
            Ok(bytes)
        }
    }
    deserializer.deserialize_tuple(N, Bytes::<N>)
}

/// As a big-endian number, in two words: ids are compared all the time, and a call of `memcmp` each time is dear.
impl Ord for Id {
    #[inline]
    fn cmp(&self, other: &Id) -> core::cmp::Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for Id {
    #[inline]
    fn partial_cmp(&self, other: &Id) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Id {
    /// All bits zero.
    pub const ZERO: Id = Id([0; ID_BYTES]);

    /// SHA-1 of `bytes`. A node's id is the hash of its Ed25519 public key.
    pub fn hash(bytes: &[u8]) -> Id {
        Id(Sha1::digest(bytes).into())
    }

    /// The SHA-1 hash of bytes that come in several parts.
    pub fn hash_of(parts: &[&[u8]]) -> Id {
        let mut hasher = Sha1::new();
        parts.iter().for_each(|part| hasher.update(part));
        Id(hasher.finalize().into())
    }

    /// Where the object `(namespace, key)` lives: the first `locality_bits` bits of SHA-1(namespace), then
    /// SHA-1(namespace, key). The namespace is length-prefixed, so no two pairs hash the same bytes.
    pub fn object(namespace: &str, key: &[u8], locality_bits: u8) -> Id {
        let object = Id::hash_of(&[&(namespace.len() as u32).to_be_bytes(), namespace.as_bytes(), key]);
        if locality_bits == 0 {
            return object;
        }
        let mask = Id::prefix_mask(u32::from(locality_bits));
        Id::hash(namespace.as_bytes()).and(mask).or(object.and(!mask))
    }

    /// Bit `index`, counted from the most significant (0) to the least (159).
    pub fn bit(&self, index: u32) -> bool {
        self.0[(index / 8) as usize] & (0x80 >> (index % 8)) != 0
    }

    /// The same id with bit `index` set to `value`.
    #[must_use]
    pub fn with_bit(mut self, index: u32, value: bool) -> Id {
        let bit = 0x80 >> (index % 8);
        let byte = &mut self.0[(index / 8) as usize];
        *byte = if value { *byte | bit } else { *byte & !bit };
        self
    }

    /// The XOR distance to `other`; compare distances as numbers.
    pub fn distance(&self, other: &Id) -> Distance {
        Distance(self.zip(*other, |a, b| a ^ b))
    }

    /// How many leading bits two ids share (160 for equal ids). The k-bucket of `other` in a table of `self`.
    pub fn common_prefix(&self, other: &Id) -> u32 {
        let ((high, low), (other_high, other_low)) = (self.words(), other.words());
        match (high ^ other_high).leading_zeros() {
            u128::BITS => u128::BITS + (low ^ other_low).leading_zeros(),
            bits => bits,
        }
    }

    /// The first `bits` bits one, the rest zero.
    pub fn prefix_mask(bits: u32) -> Id {
        let mut mask = Id::ZERO;
        for (index, byte) in mask.0.iter_mut().enumerate() {
            let ones = bits.saturating_sub(index as u32 * 8).min(8);
            *byte = (0xff00_u16 >> ones) as u8;
        }
        mask
    }

    /// Bitwise and.
    #[must_use]
    pub fn and(self, other: Id) -> Id {
        self.zip(other, |a, b| a & b)
    }

    /// Bitwise or.
    #[must_use]
    pub fn or(self, other: Id) -> Id {
        self.zip(other, |a, b| a | b)
    }

    /// Number of one bits.
    pub fn count_ones(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// The first 32 bits: they rank ids by distance where a hint is enough.
    #[inline]
    pub fn head(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The first eight hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }

    #[inline]
    fn words(&self) -> (u128, u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t] = self.0;
        let high = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        (high, u32::from_be_bytes([q, r, s, t]))
    }

    #[inline]
    fn zip(self, other: Id, op: impl Fn(u8, u8) -> u8) -> Id {
        let mut out = [0; ID_BYTES];
        for (out, (a, b)) in out.iter_mut().zip(self.0.iter().zip(other.0)) {
            *out = op(*a, b);
        }
        Id(out)
    }
}

impl core::ops::Not for Id {
    type Output = Id;

    fn not(self) -> Id {
        self.zip(self, |a, _| !a)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Text that is not 40 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 40 hexadecimal digits")]
pub struct BadId;

impl core::str::FromStr for Id {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Id, BadId> {
        let digits = text.as_bytes();
        if digits.len() != 2 * ID_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadId);
        }
        let mut id = Id::ZERO;
        for (byte, pair) in id.0.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = core::str::from_utf8(pair).map_err(|_| BadId)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| BadId)?;
        }
        Ok(id)
    }
}

/// The `count` nearest to `to` of some ids, nearest first, each once.
pub fn nearest(ids: &[Id], to: &Id, count: usize) -> Vec<Id> {
    // Distances are kept, not ids: the one is the other's XOR with `to`.
    let mut near: Vec<Distance> = Vec::with_capacity(count.min(ids.len()));
    for id in ids {
        let distance = id.distance(to);
        if near.len() == count && near.last().is_none_or(|last| *last <= distance) {
            continue;
        }
        let rank = near.partition_point(|other| *other < distance);
        if near.get(rank) != Some(&distance) {
            near.truncate(count - 1);
            near.insert(rank, distance);
        }
    }
    near.iter().map(|distance| distance.0.zip(*to, |a, b| a ^ b)).collect()
}

/// An XOR distance, ordered as an unsigned 160-bit number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distance(Id);

impl Distance {
    /// Its first 32 bits.
    #[inline]
    pub fn head(&self) -> u32 {
        self.0.head()
    }
}

/// A ternary pattern: where `mask` has a one the id's bit equals `value`'s, elsewhere it is free.
///
/// Invariant: `value` is zero outside `mask`, so equal regions compare equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(Id, Id)", into = "(Id, Id)")]
pub struct Region {
    mask: Id,
    value: Id,
}

impl From<(Id, Id)> for Region {
    fn from((mask, value): (Id, Id)) -> Region {
        Region::new(mask, value)
    }
}

impl From<Region> for (Id, Id) {
    fn from(region: Region) -> (Id, Id) {
        (region.mask, region.value)
    }
}

impl Region {
    /// The whole key space.
    pub const ALL: Region = Region { mask: Id::ZERO, value: Id::ZERO };

    /// Ids that equal `value` wherever `mask` has a one.
    pub fn new(mask: Id, value: Id) -> Region {
        Region { mask, value: value.and(mask) }
    }

    /// Ids that share their first `bits` bits with `id`.
    pub fn prefix(id: &Id, bits: u32) -> Region {
        Region::new(Id::prefix_mask(bits), *id)
    }

    /// Where all objects of a namespace live.
    pub fn namespace(namespace: &str, locality_bits: u8) -> Region {
        Region::prefix(&Id::hash(namespace.as_bytes()), u32::from(locality_bits))
    }

    /// The fixed bits.
    pub fn mask(&self) -> Id {
        self.mask
    }

    /// The values of the fixed bits; zero elsewhere.
    pub fn value(&self) -> Id {
        self.value
    }

    /// Whether bit `index` is fixed.
    pub fn fixes(&self, index: u32) -> bool {
        self.mask.bit(index)
    }

    /// Whether `id` lies in the region.
    #[inline]
    pub fn contains(&self, id: &Id) -> bool {
        // Every record that a query looks at comes by here: no branches, so that whole words are compared.
        let bytes = id.0.iter().zip(&self.mask.0).zip(&self.value.0);
        bytes.fold(0, |differ, ((id, mask), value)| differ | ((id & mask) ^ value)) == 0
    }

    /// Whether every id of `other` lies in this region.
    pub fn covers(&self, other: &Region) -> bool {
        self.mask.and(other.mask) == self.mask && self.contains(&other.value)
    }

    /// The region with bit `index` fixed to `value`. A bit already fixed keeps its value: fix free bits only.
    #[must_use]
    pub fn fix(&self, index: u32, value: bool) -> Region {
        if self.fixes(index) {
            return *self;
        }
        Region { mask: self.mask.with_bit(index, true), value: self.value.with_bit(index, value) }
    }

    /// The ids that lie in both, if any do.
    pub fn intersect(&self, other: &Region) -> Option<Region> {
        let common = self.mask.and(other.mask);
        if self.value.and(common) != other.value.and(common) {
            return None;
        }
        Some(Region { mask: self.mask.or(other.mask), value: self.value.or(other.value) })
    }

    /// The ids of this region outside `other`, as disjoint regions: one for each bit that `other` fixes and this
    /// region does not, from the most significant down.
    pub fn subtract(&self, other: &Region) -> Vec<Region> {
        if self.intersect(other).is_none() {
            return vec![*self];
        }
        let mut rest = Vec::new();
        let mut inside = *self;
        for index in 0..ID_BITS {
            if other.fixes(index) && !self.fixes(index) {
                rest.push(inside.fix(index, !other.value.bit(index)));
                inside = inside.fix(index, other.value.bit(index));
            }
        }
        rest
    }

    /// [`Region::subtract`] of several regions, one after the other.
    pub fn subtract_all<'a>(&self, others: impl IntoIterator<Item = &'a Region>) -> Vec<Region> {
        others.into_iter().fold(vec![*self], |rest, other| rest.iter().flat_map(|part| part.subtract(other)).collect())
    }

    /// Two regions that differ in the value of one fixed bit only, as the one region they make up together.
    pub fn join(&self, other: &Region) -> Option<Region> {
        let differing = self.value.zip(other.value, |a, b| a ^ b);
        if self.mask != other.mask || differing.count_ones() != 1 {
            return None;
        }
        let mask = self.mask.and(!differing);
        Some(Region::new(mask, self.value))
    }

    /// The id of this region nearest to `id`.
    pub fn nearest(&self, id: &Id) -> Id {
        id.and(!self.mask).or(self.value)
    }

    /// The size as a coverage.
    pub fn size(&self) -> Coverage {
        Coverage::power_of_two(ID_BITS - self.mask.count_ones())
    }
}

impl fmt::Display for Region {
    /// The bits down to the last fixed one, free ones as `*`: `01*1`. The whole space is `*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = (0..ID_BITS).rev().find(|index| self.fixes(*index)) else {
            return f.write_str("*");
        };
        (0..=last).try_for_each(|index| {
            f.write_str(match (self.fixes(index), self.value.bit(index)) {
                (false, _) => "*",
                (true, true) => "1",
                (true, false) => "0",
            })
        })
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many ids of the key space something covers: an exact integer from 0 to 2^160.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Coverage([u64; 3]);

impl Coverage {
    /// Nothing.
    pub const NONE: Coverage = Coverage([0; 3]);

    /// 2^`exponent` ids.
    fn power_of_two(exponent: u32) -> Coverage {
        let mut limbs = [0; 3];
        limbs[2 - (exponent / 64) as usize] = 1 << (exponent % 64);
        Coverage(limbs)
    }

    /// The sum; disjoint regions never exceed 2^160, and anything above saturates there.
    #[must_use]
    pub fn plus(self, other: Coverage) -> Coverage {
        let mut limbs = [0; 3];
        let mut carry = 0_u128;
        for index in (0..3).rev() {
            let sum = u128::from(self.0[index]) + u128::from(other.0[index]) + carry;
            limbs[index] = sum as u64;
            carry = sum >> 64;
        }
        Coverage(limbs).min(Region::ALL.size())
    }

    /// Without a part of it.
    #[must_use]
    pub fn minus(self, part: Coverage) -> Coverage {
        let mut limbs = [0; 3];
        let mut borrow = 0_i128;
        for index in (0..3).rev() {
            let rest = i128::from(self.0[index]) - i128::from(part.0[index]) + borrow;
            limbs[index] = rest as u64;
            borrow = rest >> 64;
        }
        if part <= self { Coverage(limbs) } else { Coverage::NONE }
    }

    /// The sum of the sizes of disjoint regions.
    pub fn of<'a>(regions: impl IntoIterator<Item = &'a Region>) -> Coverage {
        regions.into_iter().fold(Coverage::NONE, |sum, region| sum.plus(region.size()))
    }

    /// The share of `whole` as a number for people: exactly 1.0 only when equal, below 1.0 otherwise.
    pub fn share_of(self, whole: Coverage) -> f64 {
        if self >= whole {
            return 1.0;
        }
        let number = |coverage: Coverage| {
            coverage.0.iter().fold(0.0, |sum, limb| sum * 18_446_744_073_709_551_616.0 + *limb as f64)
        };
        (number(self) / number(whole)).min(1.0 - f64::EPSILON)
    }
}

impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.share_of(Region::ALL.size()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids() -> impl Strategy<Value = Id> {
        any::<[u8; 20]>().prop_map(Id)
    }

    /// Regions that fix some of the first 12 bits, so that two of them often meet.
    fn regions() -> impl Strategy<Value = Region> {
        (any::<u16>(), any::<u16>()).prop_map(|(mask, value)| {
            let spread = |bits: u16| (0..12).fold(Id::ZERO, |id, bit| id.with_bit(bit, bits & (1 << bit) != 0));
            Region::new(spread(mask), spread(value))
        })
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_bytes(a in ids(), b in ids()) {
            prop_assert_eq!(a.cmp(&b), a.0.cmp(&b.0));
        }

        #[test]
        fn text_and_back(id in ids()) {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn the_nearest_are_the_head_of_all_sorted(
            few in prop::collection::vec(ids(), 0..20),
            to in ids(),
            count in 0_usize..30,
        ) {
            let twice = [few.clone(), few.clone()].concat();
            let mut sorted = few;
            sorted.sort_unstable_by_key(|id| id.distance(&to));
            sorted.dedup();
            sorted.truncate(count);
            prop_assert_eq!(nearest(&twice, &to, count), sorted);
        }

        #[test]
        fn nearer_means_a_longer_common_prefix(a in ids(), b in ids(), c in ids()) {
            if a.common_prefix(&b) > a.common_prefix(&c) {
                prop_assert!(a.distance(&b) < a.distance(&c));
            }
        }

        #[test]
        fn subtract_and_intersect_partition(a in regions(), b in regions(), id in ids()) {
            let rest = a.subtract(&b);
            let hits = rest.iter().filter(|part| part.contains(&id)).count()
                + usize::from(a.intersect(&b).is_some_and(|common| common.contains(&id)));
            prop_assert_eq!(hits, usize::from(a.contains(&id)));
            let sizes = Coverage::of(&rest).plus(a.intersect(&b).map_or(Coverage::NONE, |common| common.size()));
            prop_assert_eq!(sizes, a.size());
        }

        #[test]
        fn halves_join(region in regions(), bit in 12_u32..160) {
            let (zero, one) = (region.fix(bit, false), region.fix(bit, true));
            prop_assert_eq!(zero.join(&one), Some(region));
            prop_assert!(region.covers(&zero) && !zero.covers(&region));
        }

        #[test]
        fn nearest_is_inside_and_nearest(region in regions(), id in ids(), other in ids()) {
            let nearest = region.nearest(&id);
            prop_assert!(region.contains(&nearest));
            let other = region.nearest(&other);
            prop_assert!(id.distance(&nearest) <= id.distance(&other));
        }
    }

    #[test]
    fn coverage_is_exact() {
        let mut parts = Vec::new();
        let mut rest = Region::ALL;
        for index in 0..ID_BITS {
            parts.push(rest.fix(index, true));
            rest = rest.fix(index, false);
        }
        let almost = Coverage::of(&parts);
        assert!(almost < Region::ALL.size());
        assert!(almost.share_of(Region::ALL.size()) < 1.0);
        parts.push(rest);
        assert_eq!(Coverage::of(&parts), Region::ALL.size());
    }

    #[test]
    fn locality_keeps_a_namespace_together() {
        let region = Region::namespace("flights", 6);
        for key in 0..100_u8 {
            assert!(region.contains(&Id::object("flights", &[key], 6)));
        }
        assert_eq!(Id::prefix_mask(6).0[0], 0b1111_1100);
    }
}
