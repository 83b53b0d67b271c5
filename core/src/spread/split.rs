//! How a task over a region is split: what this peer covers itself, what it hands on and to whom, what nobody here
//! may vouch for. Pure, so that its exactness can be tested by properties.

use crate::id::{ID_BITS, Id, Region};

/// What a node knows of the ground that a task is spread over.
pub trait Ground {
    /// Regions that this node may vouch for right now (disjoint), and whether a majority was given up for lost there.
    fn owned(&self) -> Vec<(Region, bool)>;
    /// This node's own region in the trie of live nodes, by its routing table.
    fn table_region(&self) -> Region;
    /// A live linked peer inside a region.
    fn peer_in(&self, region: &Region) -> Option<Id>;
    /// A live peer that is known to own some of a region without living in it, and which part.
    fn owner_of(&self, region: &Region) -> Option<(Id, Region)>;
    /// Whether this node knows nobody nearer to `key` than itself.
    fn nearest_to(&self, key: &Id) -> bool;
    /// Whether nobody lives where `key` differs from this node's id first; a slot that is not known is not empty.
    fn known_empty(&self, key: &Id) -> bool;
    /// Whether a peer is linked and not suspected.
    fn alive(&self, peer: &Id) -> bool;
    /// Whether a peer is linked.
    fn linked(&self, peer: &Id) -> bool;
}

/// Where a part of a region goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To this linked peer.
    Peer(Id),
    /// To the live peer closest to this key.
    Key(Id),
}

/// The parts of a region; together they are the region, and no two meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Covered here.
    pub own: Vec<Region>,
    /// Handed on.
    pub parts: Vec<(Region, To)>,
    /// Nobody known may vouch for it.
    pub missing: Vec<Region>,
    /// Some of `own` had given up a majority for lost.
    pub assumed_lost: bool,
}

/// Splits by certificates: for answers that must be exact.
pub fn by_certificate(me: &Id, ground: &dyn Ground, region: &Region) -> Split {
    let mut split = Split::default();
    let owned = ground.owned();
    for (fragment, assumed_lost) in &owned {
        if let Some(part) = region.intersect(fragment) {
            split.own.push(part);
            split.assumed_lost |= assumed_lost;
        }
    }
    let rest = region.subtract_all(owned.iter().map(|(fragment, _)| fragment));
    let table = ground.table_region();
    for part in rest {
        // What the trie gives to this node but no certificate does yet: only a known owner can help.
        if part.contains(me) || region.contains(me) && part.intersect(&table).is_some() {
            let hole = part.intersect(&table);
            for beyond in part.subtract(&table) {
                hand_on(me, ground, beyond, &mut split);
            }
            if let Some(hole) = hole {
                to_known_owner(ground, hole, &mut split);
            }
        } else {
            hand_on(me, ground, part, &mut split);
        }
    }
    split
}

/// Splits by the routing table: to reach every live peer, certificates or not.
pub fn by_table(me: &Id, ground: &dyn Ground, region: &Region) -> Split {
    let mut split = Split::default();
    let rest = if region.contains(me) {
        let table = ground.table_region();
        split.own.extend(region.intersect(&table));
        region.subtract(&table)
    } else {
        vec![*region]
    };
    for part in rest {
        reach(me, ground, part, &mut split);
    }
    split
}

fn reach(me: &Id, ground: &dyn Ground, part: Region, split: &mut Split) {
    if let Some(halves) = halves(me, ground, &part) {
        halves.into_iter().for_each(|half| reach(me, ground, half, split));
    } else if let Some(peer) = ground.peer_in(&part) {
        split.parts.push((part, To::Peer(peer)));
    } else if !ground.nearest_to(&part.nearest(me)) {
        split.parts.push((part, To::Key(part.nearest(me))));
    } else if ground.known_empty(&part.nearest(me)) {
        split.own.push(part);
    } else {
        split.missing.push(part);
    }
}

fn hand_on(me: &Id, ground: &dyn Ground, part: Region, split: &mut Split) {
    if let Some(halves) = halves(me, ground, &part) {
        halves.into_iter().for_each(|half| hand_on(me, ground, half, split));
    } else if let Some(peer) = ground.peer_in(&part) {
        split.parts.push((part, To::Peer(peer)));
    } else if ground.nearest_to(&part.nearest(me)) {
        to_known_owner(ground, part, split);
    } else {
        split.parts.push((part, To::Key(part.nearest(me))));
    }
}

/// A part in which this node has links on both sides of the next bit: handed on in two, it goes less deep. Only the bit
/// right behind those that are fixed may be split: below one that is left free, a half may have no peer of its own.
fn halves(me: &Id, ground: &dyn Ground, part: &Region) -> Option<[Region; 2]> {
    let bucket = (0..ID_BITS).find(|bit| part.fixes(*bit) && part.value().bit(*bit) != me.bit(*bit))?;
    let next = (bucket + 1..ID_BITS).find(|bit| !part.fixes(*bit))?;
    let halves = [part.fix(next, false), part.fix(next, true)];
    halves.iter().all(|half| ground.peer_in(half).is_some()).then_some(halves)
}

fn to_known_owner(ground: &dyn Ground, part: Region, split: &mut Split) {
    match ground.owner_of(&part) {
        Some((owner, known)) => match part.intersect(&known) {
            Some(common) => {
                split.parts.push((common, To::Peer(owner)));
                split.missing.extend(part.subtract(&known));
            }
            None => split.missing.push(part),
        },
        None => split.missing.push(part),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;
    use crate::id::Coverage;

    /// Everybody knows everybody; certificates as the trie gives them, but for those nodes that have none.
    struct World<'a> {
        me: Id,
        ids: &'a BTreeSet<Id>,
        certified: bool,
        links: Vec<Id>,
    }

    fn trie_region(ids: &BTreeSet<Id>, me: &Id) -> Region {
        ids.iter().filter(|id| *id != me).fold(Region::ALL, |region, id| {
            let bit = me.common_prefix(id);
            region.fix(bit, me.bit(bit))
        })
    }

    impl Ground for World<'_> {
        fn alive(&self, _: &Id) -> bool {
            true
        }
        fn linked(&self, _: &Id) -> bool {
            true
        }
        fn owned(&self) -> Vec<(Region, bool)> {
            if self.certified { vec![(trie_region(self.ids, &self.me), false)] } else { Vec::new() }
        }
        fn table_region(&self) -> Region {
            trie_region(self.ids, &self.me)
        }
        fn peer_in(&self, region: &Region) -> Option<Id> {
            self.links.iter().find(|id| region.contains(id)).copied()
        }
        fn owner_of(&self, _: &Region) -> Option<(Id, Region)> {
            None
        }
        fn nearest_to(&self, key: &Id) -> bool {
            self.ids.iter().all(|id| id.distance(key) >= self.me.distance(key))
        }
        fn known_empty(&self, key: &Id) -> bool {
            let slot = self.me.common_prefix(key);
            self.ids.iter().all(|id| self.me.common_prefix(id) != slot)
        }
    }

    /// Runs a task to its end; how much was covered, by whom, and the messages.
    fn spread(
        ids: &BTreeSet<Id>,
        uncertified: &BTreeSet<Id>,
        region: Region,
        table: bool,
    ) -> (Vec<Region>, Vec<Region>, Vec<Id>) {
        let root = *ids.first().unwrap();
        let mut todo = VecDeque::from([(root, region)]);
        let (mut covered, mut missing, mut visited) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((me, region)) = todo.pop_front() {
            visited.push(me);
            assert!(visited.len() < 10_000, "it ends");
            // Two links a bucket are enough.
            let mut buckets: BTreeMap<u32, Vec<Id>> = BTreeMap::new();
            for id in ids.iter().filter(|id| **id != me) {
                buckets.entry(me.common_prefix(id)).or_default().push(*id);
            }
            let links = buckets.into_values().flat_map(|ids| ids.into_iter().take(2)).collect();
            let world = World { me, ids, certified: !uncertified.contains(&me), links };
            let split = if table { by_table(&me, &world, &region) } else { by_certificate(&me, &world, &region) };
            let all: Vec<Region> = split
                .own
                .iter()
                .chain(split.parts.iter().map(|(part, _)| part))
                .chain(&split.missing)
                .copied()
                .collect();
            assert_eq!(Coverage::of(&all), region.size(), "a split is a partition");
            covered.extend(split.own);
            missing.extend(split.missing);
            for (part, to) in split.parts {
                let next = match to {
                    To::Peer(id) => id,
                    To::Key(key) => *ids.iter().min_by_key(|id| id.distance(&key)).unwrap(),
                };
                todo.push_back((next, part));
            }
        }
        (covered, missing, visited)
    }

    fn some_ids() -> impl Strategy<Value = BTreeSet<Id>> {
        prop::collection::btree_set(any::<[u8; 20]>().prop_map(Id), 1..60)
    }

    proptest! {
        #[test]
        fn everybody_once_and_everything(ids in some_ids()) {
            for table in [false, true] {
                let (covered, missing, mut visited) = spread(&ids, &BTreeSet::new(), Region::ALL, table);
                prop_assert_eq!(Coverage::of(&covered), Region::ALL.size());
                prop_assert!(missing.is_empty());
                visited.sort_unstable();
                prop_assert_eq!(visited, ids.iter().copied().collect::<Vec<_>>());
            }
        }

        #[test]
        fn who_has_no_certificate_is_missing_and_nothing_is_counted_twice(ids in some_ids(), pick in any::<u64>()) {
            let uncertified: BTreeSet<Id> = ids.iter().enumerate().filter(|(i, _)| pick >> (i % 64) & 1 == 1).map(|(_, id)| *id).collect();
            let (covered, missing, _) = spread(&ids, &uncertified, Region::ALL, false);
            let expected: Vec<Region> = ids.difference(&uncertified).map(|id| trie_region(&ids, id)).collect();
            prop_assert_eq!(Coverage::of(&covered), Coverage::of(&expected));
            prop_assert_eq!(Coverage::of(covered.iter().chain(&missing)), Region::ALL.size());
        }

        #[test]
        fn a_namespace_is_covered_without_asking_everybody(ids in some_ids(), name in "[a-z]{1,8}", bits in 0_u8..12) {
            let region = Region::namespace(&name, bits);
            let (covered, missing, _) = spread(&ids, &BTreeSet::new(), region, false);
            prop_assert_eq!(Coverage::of(&covered), region.size());
            prop_assert!(missing.is_empty());
        }
    }
}
