//! Histories that forked because somebody was given up for lost, and meet again.

use super::swarm::{Swarm, id};
use crate::{dht, store::Outcome, wire::Body};

const SECOND: u64 = 1_000_000;

/// The supernode is cut off for so long that it goes on alone; so do the others, who are a majority. When they meet
/// again, both sides' writes are there, and one peer answers for each id.
#[test]
fn both_sides_of_a_long_partition_keep_their_writes() {
    for seed in 0..6 {
        let mut swarm = Swarm::new(seed, 5);
        swarm.until(20 * SECOND, Swarm::settled);
        swarm.pass(3 * SECOND);
        for number in 0..60_u64 {
            swarm.put(id(1), &number.to_be_bytes(), b"before");
        }
        swarm.exclusive = false;
        for number in 1..5 {
            swarm.cut(id(0), id(number));
        }
        swarm.pass(25 * SECOND);
        let now = swarm.clocks();
        assert!(swarm.nodes[&id(0)].dht.owned(now).iter().any(|(_, _, lost)| *lost), "the supernode goes on");
        let mut lonely = Vec::new();
        for number in 0..60_u64 {
            let deadline = if number < 30 { 20 * SECOND } else { SECOND / 2 };
            let action = super::swarm::put(if number < 30 { b"majority" } else { b"lonely" });
            let asker = if number < 30 { id(2) } else { id(0) };
            let ticket = swarm.ask(asker, &number.to_be_bytes(), action, deadline);
            swarm.until(21 * SECOND, |swarm| swarm.done.contains_key(&ticket));
            match swarm.done[&ticket] {
                Outcome::Stored { .. } if number >= 30 => lonely.push(number),
                Outcome::Stored { .. } | Outcome::Unreachable => {
                    assert!(number >= 30 || swarm.done[&ticket] != Outcome::Unreachable)
                }
                _ => panic!("{:?}", swarm.done[&ticket]),
            }
        }
        assert!(!lonely.is_empty());
        swarm.heal();
        swarm.until(60 * SECOND, Swarm::settled);
        swarm.pass(20 * SECOND);
        swarm.exclusive = true;
        swarm.pass(SECOND);
        assert!(swarm.settled());
        for number in 0..60_u64 {
            let want: &[u8] = match number {
                0..30 => b"majority",
                _ if lonely.contains(&number) => b"lonely",
                _ => b"before",
            };
            let value = swarm.get(id(number % 5), &number.to_be_bytes());
            assert_eq!(value.as_deref(), Some(want), "seed {seed} key {number}");
        }
    }
}

/// A write acknowledged by two of three who are then given up for lost is missing, and the regions say that somebody
/// was given up; when the two come back, it is there again.
#[test]
fn what_the_lost_knew_comes_back_with_them() {
    let mut swarm = Swarm::new(4, 3);
    swarm.until(20 * SECOND, Swarm::settled);
    swarm.pass(3 * SECOND);
    let keys: Vec<Vec<u8>> = (0..30_u8).map(|key| vec![key]).filter(|key| swarm.members_of(key).0 != id(0)).collect();
    let deaf = id(0);
    swarm.filter = Box::new(move |_, to, body| {
        let news =
            matches!(body, Body::Dht(dht::Message::Replicate { .. }) | Body::Group(crate::group::Message::Sync { .. }));
        *to != deaf || !news
    });
    for key in &keys {
        assert!(matches!(swarm.put(id(1), key, b"v"), Outcome::Stored { .. }));
    }
    swarm.crash(id(1));
    swarm.crash(id(2));
    swarm.filter = Box::new(|_, _, _| true);
    swarm.until(40 * SECOND, Swarm::whole);
    assert!(swarm.owners().iter().all(|(_, _, lost)| *lost));
    for key in &keys {
        assert_eq!(swarm.get(id(0), key), None);
    }
    swarm.exclusive = false;
    swarm.start(id(1), false);
    swarm.start(id(2), false);
    swarm.until(40 * SECOND, Swarm::settled);
    swarm.pass(20 * SECOND);
    swarm.exclusive = true;
    swarm.pass(SECOND);
    for key in &keys {
        assert_eq!(swarm.get(id(0), key), Some(b"v".to_vec()));
    }
}
