//! Checksums of ours: one for each value, and one for all of them together.
//!
//! A value is stored behind eight bytes of SHA-1 over table, key and content, so one that was altered, or lies under
//! another key, is not taken for what was written. Values that are missing, or older ones in their place, no checksum
//! of a value can tell: so the sum of all checksums is kept, too (the additive hash of a multiset), and each
//! transaction brings it along. See docs/decisions/032-store-checksums.md.

use sha1::{Digest as _, Sha1};

/// What a checksum takes.
pub(super) const CHECK_BYTES: usize = 8;
const TOTAL_BYTES: usize = 24;

fn check(table: &str, key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha1::new();
    for part in [table.as_bytes(), key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(value);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.finalize()[..CHECK_BYTES]);
    check
}

/// A value as it is stored.
pub(super) fn seal(table: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
    [&check(table, key, value)[..], value].concat()
}

/// The value, if it is what was written under this key of this table.
pub(super) fn unseal<'a>(table: &str, key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (stored, value) = sealed.split_at_checked(CHECK_BYTES)?;
    (check(table, key, value) == *stored).then_some(value)
}

/// What a store holds, in three numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Total {
    /// Transactions since the store was made.
    pub(super) generation: u64,
    /// Records.
    pub(super) records: u64,
    /// Their checksums, added up.
    sum: u64,
}

impl Total {
    /// A sealed value came.
    pub(super) fn put(&mut self, sealed: &[u8]) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(number(sealed));
    }

    /// A sealed value went.
    pub(super) fn take(&mut self, sealed: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(number(sealed));
    }

    /// Whether both have the same records.
    pub(super) fn agrees(&self, other: &Total) -> bool {
        (self.records, self.sum) == (other.records, other.sum)
    }

    pub(super) fn encode(&self) -> [u8; TOTAL_BYTES] {
        let mut bytes = [0; TOTAL_BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.generation, self.records, self.sum]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Total> {
        let bytes: &[u8; TOTAL_BYTES] = bytes.try_into().ok()?;
        let mut numbers = bytes.chunks_exact(8).map(number);
        Some(Total { generation: numbers.next()?, records: numbers.next()?, sum: numbers.next()? })
    }
}

/// The first eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(CHECK_BYTES).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_itself_only_in_its_place() {
        let sealed = seal("records", b"key", b"value");
        assert_eq!(unseal("records", b"key", &sealed), Some(&b"value"[..]));
        assert_eq!(unseal("meta", b"key", &sealed), None, "another table");
        assert_eq!(unseal("records", b"ke", &sealed), None, "another key");
        assert_eq!(unseal("records", b"keyv", &seal("records", b"key", b"v")), None, "a border moved");
        assert_eq!(unseal("records", b"key", &sealed[..7]), None, "cut");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal("records", b"key", &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn the_total_tells_what_is_there_whatever_the_order() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|key| seal("records", key, b"value"));
        let of = |values: &[&[u8]]| {
            let mut total = Total::default();
            values.iter().for_each(|value| total.put(value));
            total
        };
        assert!(of(&[&a, &b]).agrees(&of(&[&b, &a])));
        assert!(!of(&[&a, &b]).agrees(&of(&[&a, &c])), "another value");
        assert!(!of(&[&a, &b]).agrees(&of(&[&a])), "one is missing");
        let mut total = of(&[&a, &b, &c]);
        total.take(&c);
        assert!(total.agrees(&of(&[&a, &b])));
        assert_eq!(Total::decode(&total.encode()), Some(total));
        assert_eq!(Total::decode(&[0; 23]), None);
    }
}
