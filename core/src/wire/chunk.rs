//! Frames cut to what a data channel takes in one message, and put together again within a bound.

use std::borrow::Cow;

use super::WireError;

const LAST: u8 = 0;
const MORE: u8 = 1;

/// Cuts a frame into chunks of at most `chunk_bytes`, header included (at least 2).
pub fn cut(frame: &[u8], chunk_bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let payload = chunk_bytes.max(2) - 1;
    let count = frame.len().div_ceil(payload).max(1);
    (0..count).map(move |index| {
        let part = &frame[index * payload..frame.len().min((index + 1) * payload)];
        let mut chunk = Vec::with_capacity(part.len() + 1);
        chunk.push(if index + 1 == count { LAST } else { MORE });
        chunk.extend_from_slice(part);
        chunk
    })
}

/// Puts the chunks of one link's frames together. Never holds more than the frame bound.
#[derive(Debug, Default)]
pub struct Chunks {
    partial: Vec<u8>,
}

impl Chunks {
    /// Takes one chunk; gives the frame that it completes.
    pub fn push<'a>(&mut self, chunk: &'a [u8], frame_bytes_max: usize) -> Result<Option<Cow<'a, [u8]>>, WireError> {
        let Some((header, payload)) = chunk.split_first() else {
            return Err(WireError::Empty);
        };
        if self.partial.len() + payload.len() > frame_bytes_max {
            self.partial = Vec::new();
            return Err(WireError::TooLong(frame_bytes_max));
        }
        if self.partial.is_empty() && *header == LAST {
            return Ok(Some(Cow::Borrowed(payload)));
        }
        self.partial.extend_from_slice(payload);
        match *header {
            LAST => Ok(Some(Cow::Owned(core::mem::take(&mut self.partial)))),
            MORE => Ok(None),
            other => Err(WireError::Malformed(format!("chunk header {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cut_and_put_together(frame in prop::collection::vec(any::<u8>(), 0..2_000), size in 2_usize..300) {
            let mut chunks = Chunks::default();
            let mut whole = None;
            for chunk in cut(&frame, size) {
                prop_assert!(chunk.len() <= size && whole.is_none());
                whole = chunks.push(&chunk, 2_000).unwrap().map(Cow::into_owned);
            }
            prop_assert_eq!(whole, Some(frame));
        }
    }

    #[test]
    fn an_endless_frame_is_refused() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.push(&[MORE; 60], 100), Ok(None));
        assert_eq!(chunks.push(&[MORE; 60], 100), Err(WireError::TooLong(100)));
        assert_eq!(chunks.push(&[], 100), Err(WireError::Empty));
    }
}
