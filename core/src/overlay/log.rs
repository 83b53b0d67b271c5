//! Which links came and went, in order: what each peer was not told yet is the tail behind the entry it was told last.

/// Entries kept; who was told less gets the whole list.
const ENTRIES_MAX: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<(u32, bool)>,
    /// Entries forgotten.
    start: u64,
}

impl Log {
    /// A link to a peer (the first bits of its id) came or went.
    pub fn push(&mut self, head: u32, up: bool) {
        self.entries.push((head, up));
        if self.entries.len() > ENTRIES_MAX {
            self.entries.remove(0);
            self.start += 1;
        }
    }

    /// How many entries there were ever.
    pub fn end(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    /// What came and what went since entry `from`; `None` for what came if that is not known any more.
    pub fn since(&self, from: Option<u64>) -> (Option<Vec<u32>>, Vec<u32>) {
        let Some(skip) = from.and_then(|from| from.checked_sub(self.start)) else { return (None, Vec::new()) };
        let (mut linked, mut unlinked) = (Vec::new(), Vec::new());
        for (head, up) in self.entries.iter().skip(skip as usize) {
            linked.retain(|other| other != head);
            unlinked.retain(|other| other != head);
            if *up { &mut linked } else { &mut unlinked }.push(*head);
        }
        (Some(linked), unlinked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_what_came_and_went_on_balance() {
        let mut log = Log::default();
        log.push(1, true);
        let told = log.end();
        log.push(2, true);
        log.push(1, false);
        log.push(3, true);
        log.push(2, false);
        assert_eq!(log.since(Some(told)), (Some(vec![3]), vec![1, 2]));
        assert_eq!(log.since(Some(log.end())), (Some(Vec::new()), Vec::new()));
        assert_eq!(log.since(None), (None, Vec::new()));
        (0..ENTRIES_MAX as u32).for_each(|head| log.push(head, true));
        assert_eq!(log.since(Some(told)), (None, Vec::new()), "forgotten: the whole list is told");
    }
}
