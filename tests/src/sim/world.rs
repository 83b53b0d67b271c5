//! What is true of a simulated network, seen from outside: the nearest nodes, and whether everybody agrees.

use std::{collections::BTreeSet, ops::Range};

use pontoon_core::{
    Id, Region,
    group::Certificate,
    id::Coverage,
    node::{Node, Standing},
};

use super::Sim;

/// What keeps a network from being settled; for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsettled(pub String);

impl Sim {
    /// The nodes that run.
    pub fn live(&self) -> Vec<usize> {
        (0..self.len()).filter(|node| self.is_up(*node)).collect()
    }

    /// The live node nearest to `id`.
    pub fn owner_of(&self, id: &Id) -> Option<usize> {
        self.live().into_iter().min_by_key(|node| self.id(*node).distance(id))
    }

    /// The `count` live nodes nearest to a node, itself left out, nearest first.
    pub fn nearest(&self, node: usize, count: usize) -> Vec<usize> {
        let trie = self.trie();
        let place = trie.0.iter().position(|(_, other)| *other == node);
        place.map(|place| trie.nearest(place, count).into_iter().map(|(_, node)| node).collect()).unwrap_or_default()
    }

    /// Where a node stands; `None` if it is down.
    pub fn standing(&self, node: usize) -> Option<Standing> {
        let host = self.world.host(node);
        host.node.as_ref().map(|running| running.standing(host.clock.at(self.now_us)))
    }

    /// What a node counted under a name in this life; 0 if it is down.
    pub fn counted(&self, node: usize, name: &str) -> u64 {
        self.world.host(node).node.as_ref().map_or(0, |running| running.counted(name))
    }

    /// The live nodes by id.
    fn trie(&self) -> Trie {
        let mut ids: Vec<(Id, usize)> = self.live().into_iter().map(|node| (self.id(node), node)).collect();
        ids.sort_unstable();
        Trie(ids)
    }

    /// The index of a node by its id.
    pub fn index_of(&self, id: &Id) -> Option<usize> {
        (0..self.len()).find(|node| self.id(*node) == *id)
    }

    /// What a node holds, and whether it may answer for it now; nothing while it is down.
    pub fn certificates(&self, node: usize) -> Vec<(Certificate, bool, bool)> {
        let now = self.clocks(node);
        let host = self.world.host(node);
        let held = host.node.iter().flat_map(|running| running.certificates(now));
        held.map(|held| (held.certificate.clone(), held.retired, held.serving)).collect()
    }

    /// Whether all live nodes have joined, know their true siblings, have a link into every bucket where somebody
    /// lives, and own disjoint regions that make up the whole space, each nearest to its owner.
    pub fn settled(&self) -> Result<(), Unsettled> {
        let trie = self.trie();
        let joined = |node: usize| self.world.host(node).node.as_ref().is_some_and(Node::joined);
        let outside = trie.0.iter().filter(|(_, node)| !joined(*node)).count();
        if outside > 0 {
            return Err(Unsettled(format!("{outside} of {} nodes have not joined", trie.0.len())));
        }
        let mut covered = Coverage::NONE;
        let mut example = String::new();
        let (mut regions, mut lonely, mut blind, mut foreign) = (0, 0, 0, None);
        for (place, (id, node)) in trie.0.iter().enumerate() {
            let Some(standing) = self.standing(*node) else { continue };
            let siblings = trie.nearest(place, self.world.config.core.siblings);
            if let Some((_, missing)) = siblings.iter().find(|(sibling, _)| !standing.siblings.contains(sibling)) {
                lonely += 1;
                example = format!("node {node} does not know node {missing}");
            }
            let inhabited = trie.buckets(place);
            let linked: BTreeSet<u32> = standing.linked.iter().map(|peer| id.common_prefix(peer)).collect();
            if !linked.iter().eq(&inhabited) {
                blind += 1;
                example = format!("node {node} has links into {linked:?} of {inhabited:?}");
            }
            // Nobody is nearer to anything in it: so the regions of different nodes are disjoint.
            let own = inhabited.iter().fold(Region::ALL, |own, bucket| own.fix(*bucket, id.bit(*bucket)));
            for region in standing.owned {
                regions += 1;
                covered = covered.plus(region.size());
                if !own.covers(&region) {
                    foreign = Some(format!("node {node} owns {region}, and is the nearest in {own} only"));
                }
            }
        }
        let live = trie.0.len();
        if lonely > 0 {
            return Err(Unsettled(format!("{lonely} of {live} nodes do not know their siblings: {example}")));
        }
        if blind > 0 {
            return Err(Unsettled(format!("{blind} of {live} nodes lack a link into a bucket: {example}")));
        }
        if let Some(foreign) = foreign {
            return Err(Unsettled(foreign));
        }
        if covered != Region::ALL.size() {
            return Err(Unsettled(format!("{regions} regions cover {covered:?}")));
        }
        Ok(())
    }

    /// Runs until everybody has settled; the virtual time it took, or why not within `limit_us`.
    pub fn settle(&mut self, limit_us: u64) -> Result<u64, Unsettled> {
        self.settle_watched(limit_us, &mut |_| {})
    }

    /// [`Sim::settle`]; calls `watch` after each second.
    pub fn settle_watched(&mut self, limit_us: u64, watch: &mut impl FnMut(&mut Sim)) -> Result<u64, Unsettled> {
        let (begun, step) = (self.now_us, 1_000_000);
        loop {
            self.run_for(step);
            watch(self);
            match self.settled() {
                Ok(()) => return Ok(self.now_us - begun),
                Err(unsettled) if self.now_us - begun >= limit_us => return Err(unsettled),
                Err(_) => {}
            }
        }
    }
}

/// Ids in order: those that share a prefix lie together.
struct Trie(Vec<(Id, usize)>);

impl Trie {
    /// Those that share their first `bits` bits with the one at `place`.
    fn alike(&self, place: usize, bits: u32) -> Range<usize> {
        let id = &self.0[place].0;
        let (before, after) = self.0.split_at(place);
        let first = before.partition_point(|(other, _)| id.common_prefix(other) < bits);
        first..place + after.partition_point(|(other, _)| id.common_prefix(other) >= bits)
    }

    /// The `count` nearest to the one at `place`, itself left out, nearest first.
    fn nearest(&self, place: usize, count: usize) -> Vec<(Id, usize)> {
        let id = &self.0[place].0;
        let others = [place.checked_sub(1), Some(place + 1)].into_iter().flatten();
        let deepest = others.filter_map(|other| self.0.get(other)).map(|(other, _)| id.common_prefix(other)).max();
        let mut bits = deepest.unwrap_or(0);
        while bits > 0 && self.alike(place, bits).len() <= count {
            bits -= 1;
        }
        let mut near: Vec<_> =
            self.0[self.alike(place, bits)].iter().filter(|(other, _)| other != id).copied().collect();
        near.sort_unstable_by_key(|(other, _)| other.distance(id));
        near.truncate(count);
        near
    }

    /// The buckets of the one at `place` in which somebody lives, in order.
    fn buckets(&self, place: usize) -> Vec<u32> {
        let mut buckets = Vec::new();
        let (mut bits, mut alike) = (0, self.0.len());
        while alike > 1 {
            let deeper = self.alike(place, bits + 1).len();
            if deeper < alike {
                buckets.push(bits);
            }
            (bits, alike) = (bits + 1, deeper);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trie_says_what_a_look_at_everybody_says() {
        for size in [1, 2, 3, 10, 200] {
            let mut ids: Vec<(Id, usize)> =
                (0..size).map(|node: usize| (Id::hash(&node.to_be_bytes()), node)).collect();
            ids.sort_unstable();
            let trie = Trie(ids.clone());
            for (place, (id, _)) in ids.iter().enumerate() {
                let mut others: Vec<(Id, usize)> = ids.iter().filter(|(other, _)| other != id).copied().collect();
                others.sort_unstable_by_key(|(other, _)| other.distance(id));
                let buckets: BTreeSet<u32> = others.iter().map(|(other, _)| id.common_prefix(other)).collect();
                assert!(buckets.iter().eq(&trie.buckets(place)));
                for count in [0, 1, 8, 500] {
                    let nearest: Vec<_> = others.iter().take(count).copied().collect();
                    assert_eq!(trie.nearest(place, count), nearest);
                }
            }
        }
    }
}
