//! A flat hash table: from a hash to the numbers of the entries that have it.
//!
//! Entries are numbered as they come and kept by whoever asks; the table knows their hashes only. Open addressing with
//! linear probing, at most half full. Nothing that a query answers depends on the order in it, so its seed need not be
//! reproducible: it is not for outsiders to know which values collide.

/// See the module's documentation.
pub struct Table {
    /// An entry's number and one, or 0.
    slots: Vec<u32>,
    hashes: Vec<u64>,
    seed: u64,
}

/// Slots that a table begins with.
const SLOTS_MIN: usize = 64;

impl Default for Table {
    fn default() -> Table {
        let slots = vec![0; SLOTS_MIN];
        let seed = slots.as_ptr() as u64;
        Table { slots, hashes: Vec::new(), seed }
    }
}

impl Table {
    /// An empty table whose hashes are those of this one.
    pub fn like(&self) -> Table {
        Table { slots: vec![0; SLOTS_MIN], hashes: Vec::new(), seed: self.seed }
    }

    /// What the hashes begin with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The hashes of `count` rows with these keys.
    pub fn hash(&self, keys: &[super::columns::Made<'_>], count: usize) -> Vec<u64> {
        let mut hashes = vec![self.seed; count];
        keys.iter().for_each(|key| key.hash_all(&mut hashes));
        hashes
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The entry of that hash that is the same.
    #[inline]
    pub fn find(&self, hash: u64, mut same: impl FnMut(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(entry) = (self.slots[slot] as usize).checked_sub(1) {
            if self.hashes[entry] == hash && same(entry) {
                return Some(entry);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// A new entry's number; no other that is the same may be there.
    pub fn insert(&mut self, hash: u64) -> usize {
        self.hashes.push(hash);
        if self.hashes.len() * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            (0..self.hashes.len() - 1).for_each(|entry| self.place(entry));
        }
        let entry = self.hashes.len() - 1;
        self.place(entry);
        entry
    }

    fn place(&mut self, entry: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.hashes[entry] as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = entry as u32 + 1;
    }
}
