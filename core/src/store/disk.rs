//! How records and groups' states lie on the driver's disk: keys, checksums.
//!
//! A key is a kind byte and a name, a value is eight bytes of SHA-1 over key and content, then the content. A disk
//! may give back flipped bytes without an error; such a value is never served.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    group::Name,
    id::{Id, Region},
};

/// First byte of the keys of records.
pub const RECORD: u8 = b'r';
/// First byte of the keys of fragments.
pub const FRAGMENT: u8 = b'g';
/// First byte of the keys of regions held once.
pub const CLOSED: u8 = b'c';
/// First byte of the keys of losers set aside.
pub const ASIDE: u8 = b'l';
/// First byte of the keys of hinted puts.
pub const HINT: u8 = b'h';

const CHECK_BYTES: usize = 8;
/// What a small record takes, with its proof.
const SEALED_BYTES: usize = 640;

/// Where a record lies.
pub fn record_key(namespace: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + namespace.len() + key.len());
    out.push(RECORD);
    out.extend((namespace.len() as u32).to_be_bytes());
    out.extend(namespace.as_bytes());
    out.extend(key);
    out
}

/// Where a fragment's state lies.
pub fn fragment_key(name: &Name) -> Vec<u8> {
    let mut out = vec![FRAGMENT];
    out.extend(name.region.mask().0);
    out.extend(name.region.value().0);
    out.extend(name.epoch.to_be_bytes());
    out
}

/// Where it lies what came after a region that was held.
pub fn closed_key(region: &Region) -> Vec<u8> {
    let mut out = vec![CLOSED];
    out.extend(region.mask().0);
    out.extend(region.value().0);
    out
}

/// Where a hinted put lies.
pub fn hint_key(namespace: &str, key: &[u8]) -> Vec<u8> {
    let mut out = record_key(namespace, key);
    out[0] = HINT;
    out
}

/// Where a loser lies that is set aside under this name.
pub fn aside_key(name: &[u8]) -> Vec<u8> {
    let mut out = vec![ASIDE];
    out.extend(name);
    out
}

/// A value with its checksum.
pub fn seal(key: &[u8], content: &impl Serialize) -> Vec<u8> {
    let mut value = Vec::with_capacity(SEALED_BYTES);
    value.resize(CHECK_BYTES, 0);
    match postcard::to_extend(content, value) {
        Ok(mut value) => {
            let sum = check(key, &value[CHECK_BYTES..]);
            value[..CHECK_BYTES].copy_from_slice(&sum);
            value
        }
        Err(error) => {
            debug_assert!(false, "plain data always encodes: {error}");
            Vec::new()
        }
    }
}

/// The content of a value; `None` if it is not what was sealed under this key.
pub fn open<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Option<T> {
    let (sum, content) = value.split_at_checked(CHECK_BYTES)?;
    if sum != check(key, content) {
        return None;
    }
    // What was written before records and operations had proofs has none.
    postcard::from_bytes(content).or_else(|_| postcard::from_bytes(&[content, &[0]].concat())).ok()
}

pub(crate) fn check(key: &[u8], content: &[u8]) -> [u8; CHECK_BYTES] {
    let mut sum = [0; CHECK_BYTES];
    let hash = Id::hash_of(&[&(key.len() as u32).to_be_bytes(), key, content]);
    sum.copy_from_slice(&hash.0[..CHECK_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_is_seen() {
        let key = record_key("flights", b"LAX");
        let sealed = seal(&key, &(7_u32, "value".to_owned()));
        assert_eq!(open(&key, &sealed), Some((7_u32, "value".to_owned())));
        for index in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[index / 8] ^= 1 << (index % 8);
            assert_eq!(open::<(u32, String)>(&key, &flipped), None, "bit {index}");
        }
        assert_eq!(open::<(u32, String)>(b"rother", &sealed), None);
        assert_eq!(open::<(u32, String)>(&key, b"short"), None);
    }
}
