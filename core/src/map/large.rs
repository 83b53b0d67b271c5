//! The map for many entries.
//!
//! Entries lie sorted in chunks of at most [`CHUNK_MAX`], so that an insertion moves one chunk's tail and not the whole
//! map: a B-tree of two levels.
//!
//! Invariant: no chunk is empty, keys ascend strictly within and across chunks, `len` counts the entries.

use std::{
    borrow::Borrow,
    iter::Flatten,
    ops::{Bound, RangeBounds},
    vec,
};

/// A full chunk is halved.
pub(super) const CHUNK_MAX: usize = 64;

/// A map ordered by key, for any number of entries.
#[derive(Clone)]
pub struct LargeMap<K, V> {
    pub(super) chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

/// Chunk and place in it. One past the last entry is `(chunks.len(), 0)`.
type Place = (usize, usize);

impl<K, V> Default for LargeMap<K, V> {
    fn default() -> LargeMap<K, V> {
        LargeMap::new()
    }
}

impl<K, V> LargeMap<K, V> {
    /// Nothing in it.
    pub const fn new() -> LargeMap<K, V> {
        LargeMap { chunks: Vec::new(), len: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: &self.chunks, front: (0, 0), back: (self.chunks.len(), 0) }
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// The values, to be changed, in the order of their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.chunks.iter_mut().flatten().map(|(_, value)| value)
    }
}

impl<K: Ord, V> LargeMap<K, V> {
    /// Where the key is, or where it would be inserted.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        // The last chunk that begins at or before the key. Keys that come in order are in the last one of all.
        let before = |chunk: &Vec<(K, V)>| chunk[0].0.borrow() <= key;
        let after = if self.chunks.last().is_some_and(before) {
            self.chunks.len()
        } else {
            self.chunks.partition_point(before)
        };
        let Some(chunk) = after.checked_sub(1) else { return Err((0, 0)) };
        match self.chunks[chunk].binary_search_by(|(other, _)| other.borrow().cmp(key)) {
            Ok(at) => Ok((chunk, at)),
            Err(at) => Err((chunk, at)),
        }
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|(chunk, at)| &self.chunks[chunk][at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|(chunk, at)| &mut self.chunks[chunk][at].1)
    }

    /// Sets the value of a key; gives the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((chunk, at)) => Some(std::mem::replace(&mut self.chunks[chunk][at].1, value)),
            Err(place) => {
                self.put(place, key, value);
                None
            }
        }
    }

    /// Inserts a new entry where `find` said; gives where it ended up.
    fn put(&mut self, (mut chunk, mut at): Place, key: K, value: V) -> Place {
        self.len += 1;
        if self.chunks.is_empty() {
            self.chunks.push(Vec::new());
        }
        if self.chunks[chunk].len() == CHUNK_MAX {
            // Behind the end of the last chunk begins a new one: keys that come in order fill their chunks.
            let middle = if at == CHUNK_MAX && chunk + 1 == self.chunks.len() { CHUNK_MAX } else { CHUNK_MAX / 2 };
            let upper = self.chunks[chunk].split_off(middle);
            self.chunks.insert(chunk + 1, upper);
            if at > middle || middle == CHUNK_MAX {
                (chunk, at) = (chunk + 1, at - middle);
            }
        }
        self.chunks[chunk].insert(at, (key, value));
        (chunk, at)
    }

    /// Takes out the value of a key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key).ok()?;
        let (_, value) = self.chunks[chunk].remove(at);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        self.len -= 1;
        Some(value)
    }

    /// The value of a key; made by `make` when there is none.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (chunk, at) = match self.find(&key) {
            Ok(place) => place,
            Err(place) => self.put(place, key, make()),
        };
        &mut self.chunks[chunk][at].1
    }

    /// Entries within bounds, in the order of their keys. Bounds that exclude one another give none.
    pub fn range<Q: Ord + ?Sized>(&self, bounds: impl RangeBounds<Q>) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let place = |key: &Q, behind: bool| match self.find(key) {
            Ok((chunk, at)) => (chunk, at + usize::from(behind)),
            Err(place) => place,
        };
        let front = match bounds.start_bound() {
            Bound::Included(key) => place(key, false),
            Bound::Excluded(key) => place(key, true),
            Bound::Unbounded => (0, 0),
        };
        let back = match bounds.end_bound() {
            Bound::Included(key) => place(key, true),
            Bound::Excluded(key) => place(key, false),
            Bound::Unbounded => (self.chunks.len(), 0),
        };
        Iter { chunks: &self.chunks, front, back }
    }
}

/// Borrowed entries of a large map.
pub struct Iter<'a, K, V> {
    chunks: &'a [Vec<(K, V)>],
    front: Place,
    back: Place,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Iter { ..*self }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            let (chunk, at) = self.front;
            if let Some((key, value)) = self.chunks[chunk].get(at) {
                self.front.1 += 1;
                return Some((key, value));
            }
            self.front = (chunk + 1, 0);
        }
        None
    }
}

impl<K, V> IntoIterator for LargeMap<K, V> {
    type Item = (K, V);
    type IntoIter = Flatten<vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flatten()
    }
}
