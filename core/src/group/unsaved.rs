//! What memory holds and the disk refused.
//!
//! A member answers "stored" for whatever its memory holds, once the disk has answered. So a pair that the disk refused
//! goes along with every later batch until one is taken: without it, the second request to store a record would find it
//! in memory, write nothing, and vouch for what a crash then loses.

use crate::{map::Map, store::Batch};

/// Pairs to be written, by key.
#[derive(Debug, Default)]
pub struct Unsaved(Map<Vec<u8>, Option<Vec<u8>>>);

impl Unsaved {
    /// Takes the pairs out, to go before a batch.
    pub fn take(&mut self) -> Batch {
        core::mem::take(&mut self.0).into_iter().collect()
    }

    /// The disk refused `batch`; `later` are the batches under way behind it, which have newer values.
    pub fn refused<'a>(&mut self, batch: Batch, later: impl Iterator<Item = &'a Batch> + Clone) {
        for (key, value) in batch {
            let newer = later.clone().flatten().any(|(other, _)| *other == key);
            if !newer {
                self.0.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(pairs: &[(&str, &str)]) -> Batch {
        pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))).collect()
    }

    #[test]
    fn refused_pairs_go_along_unless_newer_ones_are_under_way() {
        let mut unsaved = Unsaved::default();
        let later = [batch(&[("b", "2")])];
        unsaved.refused(batch(&[("a", "1"), ("b", "1")]), later.iter());
        assert_eq!(unsaved.take(), batch(&[("a", "1")]));
        assert_eq!(unsaved.take(), batch(&[]));
        unsaved.refused(batch(&[("a", "1")]), [].iter());
        unsaved.refused(batch(&[("a", "2")]), [].iter());
        assert_eq!(unsaved.take(), batch(&[("a", "2")]));
    }
}
