//! What must hold at any moment of a simulation, seen from outside.

use pontoon_core::{Region, group::Certificate};

use crate::sim::Sim;

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// What does not hold: a queue or table beyond its bound, or two nodes that answer for the same keys.
    pub broken: Vec<String>,
    /// Nodes that answer for keys for which another one answers too, in another history that says `assumed_lost`: those who
    /// were given up may live, and not know.
    pub forked: u64,
}

/// Looks at every node right now.
pub fn check(sim: &Sim) -> Look {
    let core = &sim.config().core;
    let (mut broken, mut serving) = (Vec::new(), Vec::new());
    for node in sim.live() {
        let Some(inspect) = sim.inspect(node) else { continue };
        let supernode = inspect.role == "supernode";
        // A sibling may be linked beyond the most.
        let links_max = if supernode { core.links_supernode_max } else { core.links_max + core.siblings };
        let bounds = [
            ("links", inspect.links.len(), links_max),
            ("peers", inspect.peers.len(), links_max + core.contacts_max),
            ("fragments", inspect.fragments.len(), core.fragments_max),
            ("store bytes", inspect.store.bytes as usize, core.store_bytes_max as usize),
            ("globals", inspect.globals.len(), core.globals_max),
        ];
        for (what, many, most) in bounds.into_iter().filter(|(_, many, most)| many > most) {
            broken.push(format!("{:.3} s: node {node} has {many} {what}, at most {most}", sim.now_us() as f64 / 1e6));
        }
        let held = sim.certificates(node).into_iter().filter(|(.., serves)| *serves);
        serving.extend(held.map(|(certificate, ..)| (certificate, node)));
    }
    let owned: Vec<Owned> =
        serving.iter().enumerate().map(|(index, (certificate, _))| (certificate.name.region, index)).collect();
    let mut pairs = Vec::new();
    overlaps(&owned, 0, &mut pairs);
    let mut forked = 0;
    for [(certificate, node), (theirs, other)] in pairs.into_iter().map(|pair| pair.map(|index| &serving[index])) {
        let history = |of: &Certificate| of.lineage.last().map(|(history, _)| *history);
        if history(certificate) != history(theirs) && (certificate.assumed_lost || theirs.assumed_lost) {
            forked += 1;
        } else {
            broken.push(format!(
                "{:.3} s: node {node} answers for {} epoch {} and node {other} for {} epoch {} ({:?})",
                sim.now_us() as f64 / 1e6,
                certificate.name.region,
                certificate.name.epoch,
                theirs.name.region,
                theirs.name.epoch,
                certificate.relation(theirs),
            ));
        }
    }
    Look { broken, forked }
}

/// A region, and which it is.
type Owned = (Region, usize);

/// Pairs that have keys in common, each once: halves the key space until one region at most is left, or all fix the same
/// bits. The first of these is told with each of the others.
fn overlaps(owned: &[Owned], bit: u32, pairs: &mut Vec<[usize; 2]>) {
    let [(_, first), rest @ ..] = owned else { return };
    if rest.is_empty() {
        return;
    }
    // The first bit that tells any two apart.
    let Some(bit) = (bit..pontoon_core::id::ID_BITS).find(|bit| owned.iter().any(|(region, _)| region.fixes(*bit)))
    else {
        let more = rest.iter().map(|(_, other)| [*first, *other]);
        pairs.extend(more.filter(|pair| !pairs.contains(pair)).collect::<Vec<_>>());
        return;
    };
    for value in [false, true] {
        let there = |(region, _): &&Owned| !region.fixes(bit) || region.value().bit(bit) == value;
        overlaps(&owned.iter().filter(there).copied().collect::<Vec<_>>(), bit + 1, pairs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_found_and_a_partition_has_none() {
        let found = |owned: &[Owned]| {
            let mut pairs = Vec::new();
            overlaps(owned, 0, &mut pairs);
            pairs
        };
        let (zero, one) = (Region::ALL.fix(0, false), Region::ALL.fix(0, true));
        let parts = [(zero.fix(3, false), 1), (zero.fix(3, true), 2), (one, 3)];
        assert!(found(&parts).is_empty());
        let more = [parts[0], parts[1], parts[2], (one.fix(9, true), 4)];
        assert_eq!(found(&more), [[3, 4]]);
        assert_eq!(found(&[(zero, 1), (zero, 2)]), [[1, 2]]);
    }
}
