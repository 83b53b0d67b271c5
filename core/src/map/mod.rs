//! Ordered maps and sets that are small in wasm: the engine's only collections by key.
//!
//! Entries lie sorted in chunks of at most [`CHUNK_MAX`], so that an insertion moves one chunk's tail and not the whole
//! map: a B-tree of two levels. The standard library's is generic over every step of a deeper tree, and each pair of
//! key and value type compiles all of it again: at seventy pairs that was a third of the engine's module. The order of
//! iteration is that of the keys, so a seed replays a run.
//!
//! Invariant: no chunk is empty, keys ascend strictly within and across chunks, `len` counts the entries.

mod set;
#[cfg(test)]
mod tests;

use std::{
    borrow::Borrow,
    fmt,
    iter::{FromIterator, FusedIterator},
    ops::{Bound, RangeBounds},
    slice, vec,
};

use serde::{Serialize, Serializer};
pub use set::{Set, SetIter};

/// A full chunk is halved.
const CHUNK_MAX: usize = 64;

/// A map ordered by key.
#[derive(Clone)]
pub struct Map<K, V> {
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

/// Chunk and place in it. One past the last entry is `(chunks.len(), 0)`.
type Place = (usize, usize);

impl<K, V> Default for Map<K, V> {
    fn default() -> Map<K, V> {
        Map::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

// How entries lie in chunks does not matter.
impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Map<K, V>) -> bool {
        self.len == other.len && self.iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K, V> Map<K, V> {
    /// Nothing in it.
    pub const fn new() -> Map<K, V> {
        Map { chunks: Vec::new(), len: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        *self = Map::new();
    }

    /// Entries in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { chunks: &self.chunks, front: (0, 0), back: (self.chunks.len(), 0) }
    }

    /// Entries in the order of their keys, values to be changed.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.chunks.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// Keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// Values in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.chunks.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Keys in order, the map is used up.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> {
        self.chunks.into_iter().flatten().map(|(key, _)| key)
    }

    /// Values in the order of their keys, the map is used up.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> {
        self.chunks.into_iter().flatten().map(|(_, value)| value)
    }

    /// The entry of the least key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The entry of the greatest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Takes out the entry of the least key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (self.len > 0).then(|| self.take((0, 0)))
    }

    /// Takes out the entry of the greatest key.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        let last = self.chunks.len().checked_sub(1)?;
        let place = (last, self.chunks[last].len() - 1);
        Some(self.take(place))
    }

    /// Keeps the entries that `keep` says, asked in the order of the keys.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.chunks.retain_mut(|chunk| {
            chunk.retain_mut(|(key, value)| keep(key, value));
            !chunk.is_empty()
        });
        self.len = self.chunks.iter().map(Vec::len).sum();
    }

    fn take(&mut self, (chunk, at): Place) -> (K, V) {
        let entry = self.chunks[chunk].remove(at);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        self.len -= 1;
        entry
    }
}

impl<K: Ord, V> Map<K, V> {
    /// Where the key is, or where it would be inserted.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        // The last chunk that begins at or before the key.
        let after = self.chunks.partition_point(|chunk| chunk[0].0.borrow() <= key);
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

    /// Whether there is an entry for a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
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
        let place = self.find(key).ok()?;
        Some(self.take(place).1)
    }

    /// Takes out a key and its value.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.find(key).ok().map(|place| self.take(place))
    }

    /// The entry of a key, there or to be made.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        match self.find(&key) {
            Ok(place) => Entry { map: self, place, key: None },
            Err(place) => Entry { map: self, place, key: Some(key) },
        }
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

/// The entry of a key in a map, there or to be made.
pub struct Entry<'a, K, V> {
    map: &'a mut Map<K, V>,
    place: Place,
    /// `None` when it is there.
    key: Option<K>,
}

impl<'a, K: Ord, V> Entry<'a, K, V> {
    /// The value; made by `make` when there is none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        let (chunk, at) = match self.key {
            Some(key) => self.map.put(self.place, key, make()),
            None => self.place,
        };
        &mut self.map.chunks[chunk][at].1
    }

    /// The value; this one when there is none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value; the default when there is none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value if there is one.
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Entry<'a, K, V> {
        if self.key.is_none() {
            change(&mut self.map.chunks[self.place.0][self.place.1].1);
        }
        self
    }
}

/// Borrowed entries of a map.
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

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        while self.front < self.back {
            match self.back {
                (chunk, 0) => self.back = (chunk - 1, self.chunks[chunk - 1].len()),
                (chunk, at) => {
                    self.back.1 -= 1;
                    let (key, value) = &self.chunks[chunk][at - 1];
                    return Some((key, value));
                }
            }
        }
        None
    }
}

impl<K, V> FusedIterator for Iter<'_, K, V> {}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

type IterMut<'a, K, V> =
    std::iter::Map<std::iter::Flatten<slice::IterMut<'a, Vec<(K, V)>>>, fn(&'a mut (K, V)) -> (&'a K, &'a mut V)>;

impl<'a, K, V> IntoIterator for &'a mut Map<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flatten()
    }
}

impl<K: Ord, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Map<K, V> {
        let mut map = Map::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Map<K, V> {
    fn from(entries: [(K, V); N]) -> Map<K, V> {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> std::ops::Index<&Q> for Map<K, V> {
    type Output = V;

    /// Panics when there is no such key, as every `Index` does: for tests.
    #[allow(clippy::expect_used)]
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("an entry for the key")
    }
}
