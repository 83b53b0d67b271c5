//! The trace hash: one number over everything that every node asked for, and when.
//!
//! A multiply-rotate chain over 64-bit words. It tells two runs apart; it is no defence against anybody.

use std::fmt::Write as _;

use pontoon_core::Output;

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// A running hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceHash(u64);

impl TraceHash {
    /// The value so far.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Takes in one number.
    pub fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }

    /// Takes in bytes and their number.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    /// Takes in what a node asked for at `now_us`.
    pub fn output(&mut self, now_us: u64, output: &Output) {
        self.word(now_us);
        match output {
            Output::Send { link, bytes } => {
                self.word(link.0);
                self.bytes(bytes);
            }
            Output::Wake(at) => self.word(*at),
            // Often and long: their bytes, as they are.
            Output::Persist { token, batch } => {
                self.word(*token);
                for (key, value) in batch {
                    self.bytes(key);
                    self.bytes(value.as_deref().unwrap_or_default());
                }
            }
            Output::RtcSignal { session, payload } => {
                self.word(session.0);
                self.bytes(payload);
            }
            other => {
                // `Write for TraceHash` below never fails.
                let _ = write!(self, "{other:?}");
            }
        }
    }
}

impl std::fmt::Write for TraceHash {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// A well-spread number from two: draws that must not depend on the order of events.
pub fn mix(a: u64, b: u64) -> u64 {
    let mut hash = TraceHash::default();
    hash.word(a);
    hash.word(b);
    let mut z = hash.0;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
