//! Inputs of several parts: a kind byte, two bytes of length, so many bytes, and again.

/// Parts of one input: with more it is only slower.
const PIECES_MAX: usize = 64;

/// The parts; the last one is as long as what there is.
pub(crate) fn pieces(mut input: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let next = move || {
        let ([kind, high, low], rest) = input.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        input = rest;
        Some((*kind, piece))
    };
    std::iter::from_fn(next).take(PIECES_MAX)
}

/// The other way round, for seeds. What is longer than a length can say is cut.
pub fn join<'a>(pieces: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut input = Vec::new();
    for (kind, piece) in pieces {
        let piece = &piece[..piece.len().min(usize::from(u16::MAX))];
        input.push(kind);
        input.extend((piece.len() as u16).to_be_bytes());
        input.extend_from_slice(piece);
    }
    input
}

/// Damages `bytes` as the parts of `input` say: of kind 255 the end is cut off, of others bytes are flipped; the first four
/// bytes of a part are where. An empty input changes nothing.
pub fn edits(bytes: &mut Vec<u8>, input: &[u8]) {
    for (kind, piece) in pieces(input) {
        let Some((at, flips)) = piece.split_first_chunk() else { continue };
        let at = u32::from_be_bytes(*at) as usize % (bytes.len() + 1);
        if kind == u8::MAX {
            bytes.truncate(at);
        } else {
            bytes[at..].iter_mut().zip(flips).for_each(|(byte, flip)| *byte ^= flip);
        }
    }
}
