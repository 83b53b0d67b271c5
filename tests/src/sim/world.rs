//! What is true of a simulated network, seen from outside: the nearest nodes, and whether everybody agrees.

use std::collections::BTreeSet;

use pontoon_core::{Id, Region, group::Certificate, id::Coverage};

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
        let live: Vec<(usize, Id)> = self.live().into_iter().map(|node| (node, self.id(node))).collect();
        nearest(&live, node, &self.id(node), count)
    }

    /// The index of a node by its id.
    pub fn index_of(&self, id: &Id) -> Option<usize> {
        (0..self.len()).find(|node| self.id(*node) == *id)
    }

    /// What a node holds, and whether it may answer for it now; nothing while it is down.
    pub fn certificates(&self, node: usize) -> Vec<(Certificate, bool, bool)> {
        let now = self.clocks(node);
        let held = self.hosts[node].node.iter().flat_map(|running| running.certificates(now));
        held.map(|held| (held.certificate.clone(), held.retired, held.serving)).collect()
    }

    /// Whether all live nodes have joined, know their true siblings, have a link into every bucket where somebody
    /// lives, and own disjoint regions that make up the whole space, each nearest to its owner.
    pub fn settled(&self) -> Result<(), Unsettled> {
        let live = self.live();
        let ids: Vec<(usize, Id)> = live.iter().map(|node| (*node, self.id(*node))).collect();
        let mut owned: Vec<(Region, usize)> = Vec::new();
        let (mut outside, mut lonely, mut blind) = (0, 0, 0);
        for node in &live {
            let Some(inspect) = self.inspect(*node) else { continue };
            outside += usize::from(!inspect.joined);
            let siblings = nearest(&ids, *node, &inspect.id, self.config.core.siblings);
            let known = |id: &Id| inspect.links.iter().any(|link| link.sibling && link.peer == *id);
            lonely += usize::from(!siblings.iter().all(|sibling| known(&self.id(*sibling))));
            let buckets = |of: &mut dyn Iterator<Item = Id>| -> BTreeSet<u32> {
                of.filter(|id| *id != inspect.id).map(|id| inspect.id.common_prefix(&id)).collect()
            };
            let inhabited = buckets(&mut ids.iter().map(|(_, id)| *id));
            blind += usize::from(buckets(&mut inspect.links.iter().map(|link| link.peer)) != inhabited);
            for fragment in inspect.fragments.iter().filter(|held| held.state == "active" && held.owner == inspect.id) {
                owned.push((region(&fragment.region), *node));
            }
        }
        if outside > 0 {
            return Err(Unsettled(format!("{outside} of {} nodes have not joined", live.len())));
        }
        if lonely > 0 {
            return Err(Unsettled(format!("{lonely} of {} nodes do not know their siblings", live.len())));
        }
        if blind > 0 {
            return Err(Unsettled(format!("{blind} of {} nodes lack a link into a bucket", live.len())));
        }
        // No id of a region is nearer to somebody else: so regions of different owners are disjoint.
        for (region, node) in &owned {
            if let Some(other) = live.iter().find(|other| {
                let nearest = region.nearest(&self.id(**other));
                self.id(**other).distance(&nearest) < self.id(*node).distance(&nearest)
            }) {
                return Err(Unsettled(format!("node {node} owns {region}, which is nearer to node {other}")));
            }
        }
        let covered = Coverage::of(owned.iter().map(|(region, _)| region));
        if covered != Region::ALL.size() {
            return Err(Unsettled(format!("{} regions cover {covered:?}", owned.len())));
        }
        Ok(())
    }

    /// Runs until everybody has settled; the virtual time it took, or why not within `limit_us`.
    pub fn settle(&mut self, limit_us: u64) -> Result<u64, Unsettled> {
        let (begun, step) = (self.now_us, 1_000_000);
        loop {
            self.run_for(step);
            match self.settled() {
                Ok(()) => return Ok(self.now_us - begun),
                Err(unsettled) if self.now_us - begun >= limit_us => return Err(unsettled),
                Err(_) => {}
            }
        }
    }
}

/// The `count` of `nodes` nearest to `node` with id `me`, itself left out, nearest first.
fn nearest(nodes: &[(usize, Id)], node: usize, me: &Id, count: usize) -> Vec<usize> {
    let others = nodes.iter().filter(|(other, _)| *other != node);
    let mut others: Vec<_> = others.map(|(other, id)| (id.distance(me), *other)).collect();
    if others.len() > count {
        others.select_nth_unstable(count);
        others.truncate(count);
    }
    others.sort_unstable();
    others.into_iter().map(|(_, other)| other).collect()
}

/// Reads a ternary pattern.
fn region(pattern: &str) -> Region {
    let bits = pattern.chars().enumerate();
    bits.fold(Region::ALL, |region, (index, bit)| match bit {
        '*' => region,
        bit => region.fix(index as u32, bit == '1'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_as_it_is_printed() {
        for region in [Region::ALL, Region::prefix(&Id::hash(b"x"), 7), Region::ALL.fix(3, true).fix(9, false)] {
            assert_eq!(super::region(&region.to_string()), region);
        }
    }
}
