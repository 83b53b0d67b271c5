//! Chunks and frames of a link.

use pontoon_core::wire::{Chunks, decode, encode_as};

const FRAME_BYTES_MAX: usize = 1 << 20;

pub(crate) fn wire(input: &[u8]) {
    let frames: Vec<_> = Chunks::default().push(input, FRAME_BYTES_MAX).collect();
    assert!(frames.iter().rev().skip(1).all(Result::is_ok), "nothing follows an error");
    frames.iter().flatten().for_each(|frame| comes_back(frame));
    comes_back(input);
}

/// What decodes has one encoding, which is no longer, and decodes to the same.
fn comes_back(frame: &[u8]) {
    let Ok(decoded) = decode(frame) else { return };
    let encoded = encode_as(frame[0], &decoded);
    assert!(encoded.len() <= frame.len());
    // Frames carry floats: bytes say more than equality.
    let again = decode(&encoded).expect("what was encoded");
    assert_eq!(encode_as(frame[0], &again), encoded);
}
