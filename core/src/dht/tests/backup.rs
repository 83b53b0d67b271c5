//! Whoever is left of a group gives a copy outside until the group is itself again.

use super::swarm::{Swarm, id};
use crate::store::Outcome;

const SECOND: u64 = 1_000_000;

/// Eight peers of which two of one group are gone, for long enough to be noticed and not to be given up: what its owner
/// wrote under which key, and who is left.
fn bereft(seed: u64) -> (Swarm, Vec<crate::id::Id>) {
    let mut swarm = Swarm::new(seed, 8);
    swarm.until(30 * SECOND, Swarm::settled);
    swarm.pass(3 * SECOND);
    assert!(matches!(swarm.put(id(1), b"key", b"v"), Outcome::Stored { .. }));
    let (_, members) = swarm.members_of(b"key");
    for gone in &members[..2] {
        swarm.crash(*gone);
    }
    swarm.pass(10 * SECOND);
    assert!(swarm.counted("group.records_backed_up").is_some(), "seed {seed}");
    (swarm, members)
}

#[test]
fn the_last_of_a_group_may_go_while_it_waits_for_the_others() {
    for seed in 0..6 {
        let (mut swarm, members) = bereft(seed);
        swarm.crash(members[2]);
        swarm.until(40 * SECOND, Swarm::whole);
        let asker = *swarm.nodes.keys().next().unwrap();
        assert_eq!(swarm.get(asker, b"key"), Some(b"v".to_vec()), "seed {seed}");
        // Those that come back go on with their own history until they meet the other one.
        swarm.exclusive = false;
        members.iter().for_each(|member| swarm.start(*member, *member == id(0)));
        swarm.until(60 * SECOND, Swarm::settled);
        swarm.pass(30 * SECOND);
        assert_eq!(swarm.get(asker, b"key"), Some(b"v".to_vec()), "seed {seed}");
        assert_eq!(backups(&swarm), 0, "seed {seed}");
    }
}

#[test]
fn a_backup_is_dropped_when_the_group_is_itself_again() {
    for seed in 0..6 {
        let (mut swarm, members) = bereft(seed);
        assert!(backups(&swarm) > 0, "seed {seed}");
        members[..2].iter().for_each(|member| swarm.start(*member, *member == id(0)));
        swarm.until(60 * SECOND, Swarm::settled);
        swarm.pass(10 * SECOND);
        assert_eq!(backups(&swarm), 0, "seed {seed}");
        assert_eq!(swarm.get(members[0], b"key"), Some(b"v".to_vec()), "seed {seed}");
        assert!(swarm.owners().iter().all(|(_, _, lost)| !lost), "seed {seed}");
    }
}

#[test]
fn a_group_may_die_faster_than_it_is_repaired() {
    for seed in 0..6 {
        for first in 0..3 {
            let mut swarm = Swarm::new(seed, 8);
            swarm.until(30 * SECOND, Swarm::settled);
            swarm.pass(3 * SECOND);
            let asker = *swarm.nodes.keys().next().unwrap();
            assert!(matches!(swarm.put(asker, b"key", b"v"), Outcome::Stored { .. }));
            let (_, mut members) = swarm.members_of(b"key");
            swarm.crash(members.remove(first));
            // It has just been noticed.
            swarm.pass(4 * SECOND);
            members.iter().for_each(|member| swarm.crash(*member));
            swarm.until(60 * SECOND, Swarm::whole);
            let asker = *swarm.nodes.keys().next().unwrap();
            assert_eq!(swarm.get(asker, b"key"), Some(b"v".to_vec()), "seed {seed}, member {first} first");
        }
    }
}

#[test]
fn what_a_majority_wrote_after_the_copy_is_given_again_when_it_is_gone() {
    for seed in 0..6 {
        let mut swarm = Swarm::new(seed, 8);
        swarm.until(30 * SECOND, Swarm::settled);
        swarm.pass(3 * SECOND);
        let (_, members) = swarm.members_of(b"key");
        let asker = *swarm.nodes.keys().find(|id| !members.contains(id)).unwrap();
        assert!(matches!(swarm.put(asker, b"key", b"before"), Outcome::Stored { .. }), "seed {seed}");
        swarm.crash(members[2]);
        swarm.pass(4 * SECOND);
        assert!(swarm.counted("group.records_backed_up").is_some(), "seed {seed}");
        assert!(matches!(swarm.put(asker, b"key", b"later"), Outcome::Stored { .. }), "seed {seed}");
        swarm.crash(members[1]);
        swarm.pass(4 * SECOND);
        swarm.crash(members[0]);
        swarm.until(60 * SECOND, Swarm::whole);
        assert_eq!(swarm.get(asker, b"key"), Some(b"later".to_vec()), "seed {seed}");
    }
}

fn backups(swarm: &Swarm) -> usize {
    let clocks = swarm.clocks();
    swarm.nodes.values().flat_map(|it| it.dht.fragments_info(clocks)).filter(|held| held.state == "backup").count()
}
