//! The log on disk: batches in the order in which they were written, packed into pieces.
//!
//! A piece is a row of entries: the key's length in four bytes (the low one first), the key, the value's length in the same way
//! (all ones: the key is deleted) and the value. Later entries win. Few pieces are read faster than many records: 50,000 of
//! them are some 200 pieces.
//!
//! The log is written anew, and what was overwritten is gone, when it has grown to twice its size since that was done last (as
//! Redis rewrites its append-only file); so it is at most twice what was in it then and a little, and each byte is written about
//! twice more. Many short pieces at its end are packed together before that.

use pontoon_core::map::LargeMap;

/// What a piece is cut at: short of where Chromium keeps a value in a file of its own.
const PIECE_BYTES: usize = 48 << 10;
/// Shorter pieces are packed together when there are so many of them at the end.
const SHORT_BYTES: usize = 16 << 10;
const SHORT_MAX: usize = 64;
/// A log that has grown by less is not written anew.
const GROWTH_BYTES_MIN: usize = 4 << 20;
const DELETED: u32 = u32::MAX;

/// Entries by key; without a value: deleted.
pub type Entries = LargeMap<Vec<u8>, Option<Vec<u8>>>;

/// The pieces of a log that are on disk.
#[derive(Debug, Default)]
pub struct Log {
    /// Their numbers, ascending, and lengths.
    pieces: Vec<(u64, usize)>,
    bytes: usize,
    /// Its bytes when it was written anew, or that was tried.
    anew_bytes: usize,
    /// The number of its next piece when its end was packed together, or that was tried.
    packed_at: u64,
}

/// All pieces from one on, to be written anew behind them.
#[derive(Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The first one.
    pub from: u64,
    /// Whether it is the whole log: what is deleted needs no entry then.
    pub whole: bool,
}

impl Log {
    /// The log that was found, and of how many bytes of entries it should be.
    pub fn of(pieces: Vec<(u64, usize)>, anew_bytes: usize) -> Log {
        Log { bytes: pieces.iter().map(|(_, length)| length).sum(), pieces, anew_bytes, packed_at: 0 }
    }

    /// Pieces, and their bytes.
    pub fn figures(&self) -> (usize, usize) {
        (self.pieces.len(), self.bytes)
    }

    /// The number of the next piece.
    pub fn next(&self) -> u64 {
        self.pieces.last().map_or(0, |(number, _)| number + 1)
    }

    /// What is to be rewritten now, if anything; told once.
    pub fn due(&mut self) -> Option<Rewrite> {
        let first = self.pieces.first()?.0;
        if self.bytes > 2 * self.anew_bytes + GROWTH_BYTES_MIN {
            self.anew_bytes = self.bytes;
            return Some(Rewrite { from: first, whole: true });
        }
        let short = self.pieces.iter().rev().take_while(|(_, length)| *length < SHORT_BYTES);
        let (count, last) = short.fold((0_usize, first), |(count, _), (number, _)| (count + 1, *number));
        let due = count > 0 && count.is_multiple_of(SHORT_MAX) && self.packed_at != self.next();
        due.then(|| {
            self.packed_at = self.next();
            Rewrite { from: last, whole: last == first }
        })
    }

    /// Pieces were written in place of those from `from` on; with `from` the next number: at the end.
    pub fn wrote(&mut self, from: u64, pieces: &[Vec<u8>]) {
        let next = self.next();
        self.pieces.retain(|(number, _)| *number < from);
        self.pieces.extend((next..).zip(pieces.iter().map(Vec::len)));
        self.bytes = self.pieces.iter().map(|(_, length)| length).sum();
        if from < next && self.pieces.len() == pieces.len() {
            self.anew_bytes = self.bytes;
        }
    }
}

/// Packs entries into pieces.
pub fn pack<'a>(entries: impl Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>) -> Vec<Vec<u8>> {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for (key, value) in entries {
        let bytes = 8 + key.len() + value.as_ref().map_or(0, Vec::len);
        if pieces.last().is_none_or(|piece| piece.len() + bytes > PIECE_BYTES) {
            pieces.push(Vec::with_capacity(bytes));
        }
        let Some(piece) = pieces.last_mut() else { continue };
        piece.extend_from_slice(&(key.len() as u32).to_le_bytes());
        piece.extend_from_slice(key);
        piece.extend_from_slice(&value.as_ref().map_or(DELETED, |value| value.len() as u32).to_le_bytes());
        piece.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    pieces
}

/// Takes in the entries of a piece; whether that is what it is made of.
pub fn replay(mut piece: &[u8], into: &mut Entries) -> bool {
    fn take<'a>(piece: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
        let (taken, rest) = piece.split_at_checked(length as usize)?;
        *piece = rest;
        Some(taken)
    }
    fn length(piece: &mut &[u8]) -> Option<u32> {
        let (length, rest) = piece.split_first_chunk()?;
        *piece = rest;
        Some(u32::from_le_bytes(*length))
    }
    fn entry<'a>(piece: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let key = length(piece)?;
        let key = take(piece, key)?;
        Some(match length(piece)? {
            DELETED => (key, None),
            value => (key, Some(take(piece, value)?)),
        })
    }
    while !piece.is_empty() {
        let Some((key, value)) = entry(&mut piece) else { return false };
        into.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }
    true
}
