//! What must hold at any moment of a simulation, seen from outside.

use pontoon_core::Region;

use crate::sim::Sim;

/// What does not hold right now: a queue or table beyond its bound, or two nodes that answer for the same keys.
pub fn check(sim: &Sim) -> Vec<String> {
    let core = &sim.config().core;
    let (mut broken, mut owned) = (Vec::new(), Vec::new());
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
        let standing = sim.standing(node).map(|standing| standing.owned).unwrap_or_default();
        owned.extend(standing.into_iter().map(|region| (region, node)));
    }
    if let Some(((region, node), (other_region, other))) = overlap(&owned, 0) {
        broken.push(format!(
            "{:.3} s: node {node} answers for {region} and node {other} for {other_region}",
            sim.now_us() as f64 / 1e6
        ));
    }
    broken
}

type Owned = (Region, usize);

/// Two regions that have keys in common, if there are: halves the key space until one region at most is left.
fn overlap(owned: &[Owned], bit: u32) -> Option<(Owned, Owned)> {
    let [first, second, ..] = owned else { return None };
    // The first bit that tells any two apart.
    let Some(bit) = (bit..pontoon_core::id::ID_BITS).find(|bit| owned.iter().any(|(region, _)| region.fixes(*bit)))
    else {
        return Some((*first, *second));
    };
    [false, true].into_iter().find_map(|value| {
        let there = |(region, _): &&Owned| !region.fixes(bit) || region.value().bit(bit) == value;
        overlap(&owned.iter().filter(there).copied().collect::<Vec<_>>(), bit + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_is_found_and_a_partition_has_none() {
        let (zero, one) = (Region::ALL.fix(0, false), Region::ALL.fix(0, true));
        let parts = [(zero.fix(3, false), 1), (zero.fix(3, true), 2), (one, 3)];
        assert_eq!(overlap(&parts, 0), None);
        let more = [parts[0], parts[1], parts[2], (one.fix(9, true), 4)];
        assert_eq!(overlap(&more, 0), Some((parts[2], more[3])));
        assert!(overlap(&[(zero, 1), (zero, 2)], 0).is_some());
    }
}
