//! What a channel takes in one message: several short frames at once, or a part of a long one.
//!
//! | first byte | then |
//! | --- | --- |
//! | 0 | whole frames, each behind its length: two bytes, the high one first |
//! | 1 | a part of one frame; more follow |
//! | 2 | the last part of it |

use std::borrow::Cow;

use super::WireError;
use crate::{map::Map, node::LinkId};

const WHOLE: u8 = 0;
const MORE: u8 = 1;
const LAST: u8 = 2;
/// Before each frame: its length.
const LENGTH: usize = 2;

/// Cuts a frame into chunks of at most `chunk_bytes` (at least 2).
pub fn cut(frame: &[u8], chunk_bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let whole = u16::try_from(frame.len()).ok().filter(|_| 1 + LENGTH + frame.len() <= chunk_bytes);
    let payload = if whole.is_some() { frame.len() } else { chunk_bytes.max(2) - 1 };
    let count = frame.len().div_ceil(payload.max(1)).max(1);
    (0..count).map(move |index| {
        let part = &frame[index * payload..frame.len().min((index + 1) * payload)];
        let mut chunk = Vec::with_capacity(1 + LENGTH + part.len());
        chunk.push(match whole {
            Some(_) => WHOLE,
            None if index + 1 == count => LAST,
            None => MORE,
        });
        chunk.extend(whole.iter().flat_map(|length| length.to_be_bytes()));
        chunk.extend_from_slice(part);
        chunk
    })
}

/// Chunks on their way out: of the frames for one link, short ones that come one after the other share a chunk.
#[derive(Debug, Default)]
pub struct Outgoing {
    chunks: Vec<(LinkId, Vec<u8>)>,
    /// Where the last chunk for each link is.
    last: Map<LinkId, usize>,
}

impl Outgoing {
    /// Takes the next chunk for a link, of at most `chunk_bytes`.
    pub fn push(&mut self, link: LinkId, chunk: Vec<u8>, chunk_bytes: usize) {
        if let Some((_, before)) = self.last.get(&link).and_then(|at| self.chunks.get_mut(*at))
            && before.first() == Some(&WHOLE)
            && chunk.first() == Some(&WHOLE)
            && before.len() + chunk.len() - 1 <= chunk_bytes
        {
            before.extend_from_slice(&chunk[1..]);
            return;
        }
        self.last.insert(link, self.chunks.len());
        self.chunks.push((link, chunk));
    }

    /// Takes everything out: the chunks of a link in their order.
    pub fn take(&mut self) -> Vec<(LinkId, Vec<u8>)> {
        self.last = Map::new();
        core::mem::take(&mut self.chunks)
    }
}

/// Puts the frames of one link together again. Never holds more than the frame bound.
#[derive(Debug, Default)]
pub struct Chunks {
    partial: Vec<u8>,
}

impl Chunks {
    /// Takes one chunk; gives the frames that it brings or completes.
    pub fn push<'a>(&mut self, chunk: &'a [u8], frame_bytes_max: usize) -> Frames<'a> {
        let (rest, whole) = match chunk.split_first() {
            None | Some((&WHOLE, [])) => (&[][..], Some(Err(WireError::Empty))),
            Some((&WHOLE, frames)) if self.partial.is_empty() => (frames, None),
            Some((header @ (&MORE | &LAST), part)) => (&[][..], self.join(part, *header == LAST, frame_bytes_max)),
            Some((header, _)) => (&[][..], Some(Err(WireError::Malformed(format!("chunk header {header}"))))),
        };
        Frames { rest, whole }
    }

    fn join<'a>(&mut self, part: &[u8], last: bool, max: usize) -> Option<Result<Cow<'a, [u8]>, WireError>> {
        if self.partial.len() + part.len() > max {
            self.partial = Vec::new();
            return Some(Err(WireError::TooLong(max)));
        }
        self.partial.extend_from_slice(part);
        last.then(|| Ok(Cow::Owned(core::mem::take(&mut self.partial))))
    }
}

/// The frames of one chunk; nothing follows an error.
#[derive(Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
    whole: Option<Result<Cow<'a, [u8]>, WireError>>,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Cow<'a, [u8]>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.whole.is_some() || self.rest.is_empty() {
            return self.whole.take();
        }
        let rest = core::mem::take(&mut self.rest);
        let frame = rest.split_first_chunk::<LENGTH>().and_then(|(length, rest)| {
            let (frame, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            self.rest = rest;
            Some(Cow::Borrowed(frame))
        });
        Some(frame.ok_or_else(|| WireError::Malformed("a frame that ends too early".to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: &mut Chunks, chunk: &[u8], max: usize) -> Result<Vec<Vec<u8>>, WireError> {
        chunks.push(chunk, max).map(|frame| frame.map(Cow::into_owned)).collect()
    }

    proptest! {
        #[test]
        fn cut_shared_and_put_together(
            sent in prop::collection::vec((0_u64..3, prop::collection::vec(any::<u8>(), 0..700)), 0..40),
            size in 2_usize..300,
        ) {
            let mut outgoing = Outgoing::default();
            for (link, frame) in &sent {
                cut(frame, size).for_each(|chunk| outgoing.push(LinkId(*link), chunk, size));
            }
            let mut ends = [(); 3].map(|()| (Chunks::default(), Vec::new()));
            for (LinkId(link), chunk) in outgoing.take() {
                prop_assert!(chunk.len() <= size);
                let (chunks, came) = &mut ends[link as usize];
                came.extend(frames(chunks, &chunk, 700).unwrap());
            }
            for (link, (_, came)) in ends.into_iter().enumerate() {
                let sent: Vec<_> = sent.iter().filter(|(to, _)| *to == link as u64).map(|(_, frame)| frame.clone()).collect();
                prop_assert_eq!(came, sent);
            }
        }

        #[test]
        fn hostile_chunks_are_errors(chunk in prop::collection::vec(0_u8..4, 0..40)) {
            let mut chunks = Chunks::default();
            let came: Vec<_> = chunks.push(&chunk, 30).collect();
            prop_assert!(came.iter().rev().skip(1).all(Result::is_ok), "nothing follows an error");
            prop_assert!(chunks.partial.len() <= 30);
        }
    }

    #[test]
    fn short_frames_share_a_chunk() {
        let mut outgoing = Outgoing::default();
        let mut push = |link, frame: &[u8]| cut(frame, 16).for_each(|chunk| outgoing.push(LinkId(link), chunk, 16));
        for (link, frame) in [(1, &[7; 4][..]), (2, &[8; 4]), (1, &[9; 7]), (1, &[5; 4]), (1, &[6; 20]), (1, &[4; 1])] {
            push(link, frame);
        }
        let lengths: Vec<_> = outgoing.take().into_iter().map(|(LinkId(link), chunk)| (link, chunk.len())).collect();
        assert_eq!(lengths, [(1, 16), (2, 7), (1, 7), (1, 16), (1, 6), (1, 4)]);
        assert!(outgoing.take().is_empty());
    }

    #[test]
    fn an_endless_frame_is_refused() {
        let mut chunks = Chunks::default();
        assert_eq!(frames(&mut chunks, &[MORE; 60], 100), Ok(vec![]));
        assert!(frames(&mut chunks, &[WHOLE, 0, 1, 5], 100).is_err(), "amid another one");
        assert_eq!(frames(&mut chunks, &[MORE; 60], 100), Err(WireError::TooLong(100)));
        assert_eq!(frames(&mut chunks, &[], 100), Err(WireError::Empty));
        assert_eq!(frames(&mut chunks, &[WHOLE], 100), Err(WireError::Empty));
        assert!(frames(&mut chunks, &[WHOLE, 0, 3, 1], 100).is_err());
    }
}
