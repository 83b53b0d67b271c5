//! Pieces of what a peer owns become one, and nothing is lost whatever happens meanwhile.

use super::swarm::{Swarm, id};
use crate::{
    group::{Change, Message},
    id::Id,
    store::Outcome,
    wire::Body,
};

const SECOND: u64 = 1_000_000;
const KEYS: u64 = 60;

/// Eight peers, of which one goes for good: others inherit from it.
fn heirs(seed: u64) -> Swarm {
    let mut swarm = Swarm::new(seed, 8);
    swarm.until(30 * SECOND, Swarm::settled);
    for number in 0..KEYS {
        assert!(matches!(swarm.put(id(1), &number.to_be_bytes(), b"v"), Outcome::Stored { .. }));
    }
    swarm.crash(id(7));
    swarm
}

#[track_caller]
fn all_is_there(swarm: &mut Swarm, seed: u64) {
    swarm.until(30 * SECOND, Swarm::settled);
    assert!(swarm.owners().iter().all(|(_, _, lost)| !lost), "seed {seed}: somebody was given up");
    let asker = swarm.owners()[0].0;
    for number in 0..KEYS {
        assert_eq!(swarm.get(asker, &number.to_be_bytes()), Some(b"v".to_vec()), "seed {seed} key {number}");
    }
}

#[test]
fn who_inherits_ends_up_with_one_piece() {
    for seed in 0..5 {
        let mut swarm = heirs(seed);
        all_is_there(&mut swarm, seed);
        assert_eq!(swarm.owners().len(), 7, "seed {seed}");
        assert!(swarm.counted("group.yield").is_some(), "seed {seed}: nobody inherited");
    }
}

/// Its owner dies at one moment or another of a union.
#[test]
fn an_owner_that_dies_in_the_middle_of_it_loses_nothing() {
    for seed in 0..24 {
        let mut swarm = heirs(seed);
        swarm.until(30 * SECOND, |swarm| swarm.counted("group.yield").is_some());
        let owner = swarm.counted("group.yield").unwrap();
        swarm.pass(seed * 8_000);
        swarm.crash(owner);
        all_is_there(&mut swarm, seed);
        // It comes back with what it had promised and accepted.
        swarm.start(owner, owner == id(0));
        all_is_there(&mut swarm, seed);
        assert_eq!(swarm.owners().len(), 7, "seed {seed}");
    }
}

fn unites(change: &Change) -> bool {
    change.union.is_none() && change.into[0].sources.first().is_some_and(|source| source.twin.is_some())
}

/// One half has yielded, and nobody hears that the other is to decide for the union: it decides for another owner.
#[test]
fn a_half_that_yielded_to_nothing_goes_on_alone() {
    for seed in 0..5 {
        let mut swarm = heirs(seed);
        swarm.filter = Box::new(
            |_: &Id, _: &Id, body: &Body| !matches!(body, Body::Group(Message::Accept { change, .. }) if unites(change)),
        );
        swarm.until(30 * SECOND, |swarm| swarm.counted("group.yield").is_some());
        let owner = swarm.counted("group.yield").unwrap();
        swarm.pass(SECOND);
        swarm.crash(owner);
        swarm.filter = Box::new(|_, _, _| true);
        all_is_there(&mut swarm, seed);
        assert!(swarm.counted("group.alone").is_some(), "seed {seed}: the other half decided for it after all");
    }
}
