//! What a set of records is, in 16 bytes: kept up to date one record at a time.

use serde::{Deserialize, Serialize};

use super::record::Version;
use crate::id::Id;

/// Count and XOR of hashes of (id, version). Equal digests mean equal sets but for chance; it is no defence against
/// a peer that lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Records.
    pub count: u64,
    /// XOR of their hashes.
    pub hash: u64,
}

impl Digest {
    /// Both in one word.
    pub fn word(&self) -> u64 {
        mix(self.hash ^ mix(self.count))
    }

    /// Puts a record in.
    pub fn add(&mut self, id: &Id, version: &Version) {
        self.count = self.count.wrapping_add(1);
        self.hash ^= hash(id, version);
    }

    /// Takes a record out.
    pub fn remove(&mut self, id: &Id, version: &Version) {
        self.count = self.count.wrapping_sub(1);
        self.hash ^= hash(id, version);
    }
}

fn hash(id: &Id, version: &Version) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |word, byte| (word << 8) | u64::from(*byte));
    let parts = [word(&id.0[..8]), word(&id.0[8..16]), version.wall_us, version.counter, word(&version.author.0[..8])];
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| mix(state ^ part))
}

/// The finaliser of SplitMix64 (Steele et al., OOPSLA 2014).
fn mix(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
