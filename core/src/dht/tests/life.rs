//! The life of groups: founding, joining, dying, coming back, leaving.

use super::swarm::{Swarm, id};
use crate::store::Outcome;

const SECOND: u64 = 1_000_000;

#[test]
fn a_founder_alone_serves_everything() {
    let mut swarm = Swarm::new(1, 1);
    let took = swarm.until(4 * SECOND, Swarm::whole);
    assert!(took >= 2 * SECOND, "it listens first");
    assert!(matches!(swarm.put(id(0), b"a", b"1"), Outcome::Stored { .. }));
    assert_eq!(swarm.get(id(0), b"a"), Some(b"1".to_vec()));
    assert_eq!(swarm.get(id(0), b"b"), None);
}

#[test]
fn who_is_alone_waits_for_nobody() {
    let mut swarm = Swarm::new(1, 0);
    swarm.config.alone = true;
    for life in 0..3 {
        swarm.start(id(0), true);
        swarm.until(SECOND / 10, Swarm::whole);
        if life == 0 {
            assert!(matches!(swarm.put(id(0), b"a", b"1"), Outcome::Stored { .. }));
        }
        assert_eq!(swarm.get(id(0), b"a"), Some(b"1".to_vec()), "life {life}");
        swarm.crash(id(0));
    }
}

#[test]
fn joining_peers_end_up_owning_what_is_closest() {
    let mut swarm = Swarm::new(2, 1);
    swarm.until(4 * SECOND, Swarm::whole);
    for number in 0..100_u64 {
        assert!(matches!(swarm.put(id(0), &number.to_be_bytes(), b"v"), Outcome::Stored { .. }));
    }
    for number in 1..12 {
        swarm.start(id(number), false);
        swarm.pass(500_000);
    }
    swarm.until(20 * SECOND, Swarm::settled);
    for number in 0..100_u64 {
        assert_eq!(swarm.get(id(number % 12), &number.to_be_bytes()), Some(b"v".to_vec()));
        assert_eq!(swarm.members_of(&number.to_be_bytes()).1.len(), 3);
    }
}

fn four(seed: u64) -> Swarm {
    let mut swarm = Swarm::new(seed, 4);
    swarm.until(20 * SECOND, Swarm::settled);
    swarm.pass(2 * SECOND);
    swarm
}

#[test]
fn a_dead_owner_is_replaced_and_nothing_is_forgotten() {
    for seed in 0..5 {
        let mut swarm = four(seed);
        for number in 0..40_u64 {
            swarm.put(id(0), &number.to_be_bytes(), b"v");
        }
        let (owner, _) = swarm.members_of(&7_u64.to_be_bytes());
        swarm.crash(owner);
        let took = swarm.until(15 * SECOND, Swarm::settled);
        assert!(took > SECOND, "a lease is waited for");
        let asker = *swarm.nodes.keys().next().unwrap();
        for number in 0..40_u64 {
            assert_eq!(swarm.get(asker, &number.to_be_bytes()), Some(b"v".to_vec()), "seed {seed} key {number}");
        }
        swarm.pass(10 * SECOND);
        assert_eq!(swarm.members_of(&7_u64.to_be_bytes()).1.len(), 3, "the group is mended");
        swarm.start(owner, false);
        swarm.until(20 * SECOND, Swarm::settled);
        for number in 0..40_u64 {
            assert_eq!(swarm.get(owner, &number.to_be_bytes()), Some(b"v".to_vec()), "seed {seed} key {number}");
        }
        assert!(swarm.owners().iter().all(|(_, _, lost)| !lost));
    }
}

#[test]
fn everybody_crashes_and_comes_back() {
    let mut swarm = four(11);
    for number in 0..40_u64 {
        swarm.put(id(1), &number.to_be_bytes(), b"v");
    }
    for number in 0..4 {
        swarm.crash(id(number));
    }
    swarm.pass(30 * SECOND);
    for number in 0..4 {
        swarm.start(id(number), number == 0);
    }
    swarm.until(20 * SECOND, Swarm::settled);
    for number in 0..40_u64 {
        assert_eq!(swarm.get(id(2), &number.to_be_bytes()), Some(b"v".to_vec()));
    }
    assert!(swarm.owners().iter().all(|(_, _, lost)| !lost));
}

#[test]
fn a_supernode_serves_again_alone_when_its_only_tab_vanishes() {
    let mut swarm = Swarm::new(5, 2);
    swarm.until(20 * SECOND, Swarm::settled);
    swarm.pass(3 * SECOND);
    for number in 0..20_u64 {
        swarm.put(id(1), &number.to_be_bytes(), b"v");
    }
    swarm.crash(id(1));
    let took = swarm.until(30 * SECOND, Swarm::settled);
    assert!(took >= 15 * SECOND, "a majority is not given up lightly");
    assert!(swarm.owners().iter().all(|(_, _, lost)| *lost), "and it is said");
    for number in 0..20_u64 {
        assert_eq!(swarm.get(id(0), &number.to_be_bytes()), Some(b"v".to_vec()));
        swarm.put(id(0), &number.to_be_bytes(), b"w");
    }
    swarm.start(id(1), false);
    swarm.until(20 * SECOND, Swarm::settled);
    for number in 0..20_u64 {
        assert_eq!(swarm.get(id(1), &number.to_be_bytes()), Some(b"w".to_vec()));
    }
}

#[test]
fn who_leaves_in_order_leaves_no_gap_behind() {
    let mut swarm = four(6);
    for number in 0..40_u64 {
        swarm.put(id(1), &number.to_be_bytes(), b"v");
    }
    swarm.call(id(3), |dht, ctx, view| dht.leave(ctx, view));
    swarm.until(6 * SECOND, |swarm| swarm.nodes[&id(3)].dht.left());
    assert!(swarm.nodes[&id(3)].dht.fragments_info(swarm.clocks()).is_empty());
    swarm.crash(id(3));
    swarm.until(SECOND, Swarm::whole);
    for number in 0..40_u64 {
        assert_eq!(swarm.get(id(2), &number.to_be_bytes()), Some(b"v".to_vec()));
    }
}

#[test]
fn an_orderly_leave_waits_for_round_trips_and_not_for_ticks() {
    for count in [2, 3, 4, 6, 10] {
        for leaver in 0..count.min(4) {
            let mut swarm = Swarm::new(100 * count + leaver, count);
            swarm.until(30 * SECOND, Swarm::settled);
            swarm.pass(5 * SECOND);
            for number in 0..40_u64 {
                swarm.put(id(0), &number.to_be_bytes(), b"v");
            }
            swarm.call(id(leaver), |dht, ctx, view| dht.leave(ctx, view));
            let took = swarm.until(12 * SECOND, |swarm| swarm.nodes[&id(leaver)].dht.left());
            assert!(took < SECOND / 2, "{took} us for {leaver} of {count}");
            assert!(swarm.owners().iter().all(|(_, _, lost)| !lost), "nothing was given up");
            swarm.crash(id(leaver));
            swarm.until(SECOND, Swarm::whole);
            let asker = *swarm.nodes.keys().next().unwrap();
            for number in 0..40_u64 {
                assert_eq!(swarm.get(asker, &number.to_be_bytes()), Some(b"v".to_vec()));
            }
        }
    }
}

#[test]
fn who_was_replaced_while_away_does_not_wait_to_be_replaced() {
    for seed in 0..4 {
        let mut swarm = four(seed);
        swarm.call(id(3), |dht, ctx, view| dht.leave(ctx, view));
        swarm.crash(id(3));
        swarm.pass(12 * SECOND);
        swarm.start(id(3), false);
        swarm.pass(SECOND / 2);
        assert!(!swarm.nodes[&id(3)].dht.fragments_info(swarm.clocks()).is_empty(), "it holds what it held");
        swarm.call(id(3), |dht, ctx, view| dht.leave(ctx, view));
        let took = swarm.until(12 * SECOND, |swarm| swarm.nodes[&id(3)].dht.left());
        assert!(took < SECOND, "{took} us, seed {seed}");
        assert!(swarm.owners().iter().all(|(_, _, lost)| !lost), "nothing was given up");
    }
}

#[test]
fn in_a_partition_only_the_majority_answers() {
    let mut swarm = four(7);
    for number in 0..40_u64 {
        swarm.put(id(1), &number.to_be_bytes(), b"v");
    }
    // Short of giving up: the one that is cut off answers nothing, the others everything.
    for number in [0, 1, 3] {
        swarm.cut(id(2), id(number));
    }
    swarm.pass(12 * SECOND);
    assert!(swarm.owners().iter().all(|(owner, _, _)| *owner != id(2)));
    swarm.until(SECOND, Swarm::whole);
    for number in 0..40_u64 {
        swarm.put(id(1), &number.to_be_bytes(), b"w");
    }
    swarm.heal();
    swarm.until(20 * SECOND, Swarm::settled);
    for number in 0..40_u64 {
        assert_eq!(swarm.get(id(2), &number.to_be_bytes()), Some(b"w".to_vec()));
    }
}

#[test]
fn a_damaged_record_is_never_served() {
    let mut swarm = four(8);
    for number in 0..40_u64 {
        swarm.put(id(1), &number.to_be_bytes(), b"v");
    }
    for number in 0..4 {
        swarm.crash(id(number));
    }
    assert!(swarm.flip(id(2), b'r'), "it holds a record");
    for number in 0..4 {
        swarm.start(id(number), number == 0);
    }
    swarm.until(20 * SECOND, Swarm::settled);
    for number in 0..40_u64 {
        assert_eq!(swarm.get(id(3), &number.to_be_bytes()), Some(b"v".to_vec()));
    }
}

/// An owner that is cut off from everybody goes on answering while its lease holds, and nobody else does by then:
/// that no two answer at once is checked after every event.
#[test]
fn a_lease_is_waited_out() {
    for seed in 0..4 {
        let mut swarm = Swarm::empty(seed);
        swarm.config.lease_us = 8 * SECOND;
        for number in 0..4 {
            swarm.start(id(number), number == 0);
        }
        swarm.until(20 * SECOND, Swarm::settled);
        swarm.pass(2 * SECOND);
        for other in [0, 1, 3] {
            swarm.cut(id(2), id(other));
        }
        swarm.pass(5 * SECOND);
        let answers = |swarm: &Swarm| swarm.owners().iter().any(|(owner, _, _)| *owner == id(2));
        assert!(answers(&swarm), "its lease holds still");
        swarm.until(10 * SECOND, |swarm| !answers(swarm));
        swarm.until(10 * SECOND, Swarm::whole);
    }
}
