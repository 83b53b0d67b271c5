//! The rules by which owners choose members and hand parts to closer peers: pure functions.

use crate::id::{Id, Region, nearest};

/// The members of a group: the owner, the nearest to it among `candidates`, so that there are `replicas` of them, and all
/// `archives` beside.
pub fn members(owner: Id, candidates: impl IntoIterator<Item = Id>, replicas: usize, archives: &[Id]) -> Vec<Id> {
    repaired(owner, &[], |_| true, candidates, replicas, archives)
}

/// The same group without those that are gone, filled up again from `candidates`.
pub fn repaired(
    owner: Id,
    members: &[Id],
    gone: impl Fn(&Id) -> bool,
    candidates: impl IntoIterator<Item = Id>,
    replicas: usize,
    archives: &[Id],
) -> Vec<Id> {
    let archive = |id: &Id| archives.contains(id);
    let ordinary = |id: &Id| *id != owner && !archive(id);
    let most = replicas.max(1) - usize::from(!archive(&owner));
    let mut kept: Vec<Id> = members.iter().copied().filter(|id| ordinary(id) && !gone(id)).take(most).collect();
    let others: Vec<Id> = candidates.into_iter().filter(|id| ordinary(id) && !kept.contains(id)).collect();
    kept.extend(nearest(&others, &owner, most - kept.len()));
    kept.insert(0, owner);
    kept.extend(archives.iter().copied().filter(|id| *id != owner));
    kept
}

/// What of `region`, owned by `me`, is closer to some of `peers`: the greatest such part and the peer of its half of
/// the key space that is nearest to `me`. The rest, if any, stays.
pub fn hand_over(me: Id, region: Region, peers: &[Id]) -> Option<(Id, Region, Option<Region>)> {
    let mut best: Option<(u32, Id)> = None;
    for peer in peers.iter().filter(|peer| **peer != me) {
        let bit = me.common_prefix(peer);
        if region.fixes(bit) && region.value().bit(bit) == me.bit(bit) {
            continue;
        }
        let better = best.is_none_or(|(least, other)| (bit, me.distance(peer)) < (least, me.distance(&other)));
        if better {
            best = Some((bit, *peer));
        }
    }
    let (bit, peer) = best?;
    if region.fixes(bit) {
        return Some((peer, region, None));
    }
    Some((peer, region.fix(bit, peer.bit(bit)), Some(region.fix(bit, me.bit(bit)))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(max: usize) -> impl Strategy<Value = Vec<Id>> {
        prop::collection::vec(any::<[u8; 20]>().prop_map(Id), 2..max)
    }

    proptest! {
        /// Handing on until nobody is closer, starting anywhere, gives every id to the peer closest to it.
        #[test]
        fn handing_over_ends_at_the_closest(peers in ids(12), key in any::<[u8; 20]>().prop_map(Id)) {
            let mut todo = vec![(peers[0], Region::ALL)];
            let mut owners = Vec::new();
            let mut steps = 0;
            while let Some((owner, region)) = todo.pop() {
                steps += 1;
                prop_assert!(steps < 1_000, "no end");
                match hand_over(owner, region, &peers) {
                    None => owners.push((owner, region)),
                    Some((other, part, rest)) => {
                        prop_assert!(region.covers(&part));
                        prop_assert!(other.distance(&part.nearest(&key)) < owner.distance(&part.nearest(&key)));
                        todo.push((other, part));
                        todo.extend(rest.map(|rest| (owner, rest)));
                    }
                }
            }
            let holders: Vec<&Id> = owners.iter().filter(|(_, region)| region.contains(&key)).map(|(o, _)| o).collect();
            prop_assert_eq!(holders, vec![peers.iter().min_by_key(|peer| peer.distance(&key)).unwrap()]);
        }

        #[test]
        fn repair_keeps_the_living_and_the_size(peers in ids(12), gone in any::<u16>()) {
            let owner = peers[0];
            let group = members(owner, peers.iter().copied(), 3, &[]);
            let dead = |id: &Id| peers.iter().position(|peer| peer == id).is_some_and(|at| at > 0 && gone >> at & 1 == 1);
            let living: Vec<Id> = peers.iter().copied().filter(|id| !dead(id)).collect();
            let repaired = repaired(owner, &group, dead, living.iter().copied(), 3, &[]);
            prop_assert_eq!(repaired.len(), living.len().min(3));
            prop_assert!(repaired.contains(&owner) && repaired.iter().all(|id| living.contains(id)));
            prop_assert!(group.iter().all(|id| dead(id) || repaired.contains(id)));
        }

        #[test]
        fn archives_are_beside_the_others(peers in ids(12), archives in 0_usize..4) {
            let archives = &peers[..archives.min(peers.len())];
            let ordinary = peers.len() - archives.len();
            for owner in &peers {
                let group = members(*owner, peers.iter().copied(), 3, archives);
                let distinct: std::collections::BTreeSet<&Id> = group.iter().collect();
                prop_assert_eq!(group.len(), distinct.len());
                prop_assert_eq!(group.len(), ordinary.min(3) + archives.len());
                prop_assert!(group[0] == *owner && archives.iter().all(|id| group.contains(id)));
                let again = repaired(*owner, &group, |_| false, peers.iter().copied(), 3, archives);
                prop_assert_eq!(again, group);
            }
        }
    }
}
