//! Archives hold everything, and have it when all others are gone.

use super::swarm::{Swarm, id, put};
use crate::{
    id::{Id, Region},
    store::{Action, Outcome},
};

const SECOND: u64 = 1_000_000;
const KEYS: u64 = 60;

fn key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Eight peers, of which the last is an archive.
fn eight(seed: u64) -> (Swarm, Id) {
    eight_with(seed, id(7))
}

fn eight_with(seed: u64, archive: Id) -> (Swarm, Id) {
    let mut swarm = Swarm::empty(seed);
    swarm.archives.insert(archive);
    (0..8).for_each(|number| swarm.start(id(number), number == 0));
    swarm.until(30 * SECOND, Swarm::settled);
    swarm.until(30 * SECOND, |swarm| holds_all(swarm, archive));
    (swarm, archive)
}

/// Whether a peer is a member, in step, of groups for everything.
fn holds_all(swarm: &Swarm, archive: Id) -> bool {
    let fragments = swarm.nodes[&archive].dht.fragments_info(swarm.clocks());
    let held = fragments.iter().filter(|it| it.in_step && matches!(it.state, "member" | "active"));
    held.map(|it| it.share).sum::<f64>() >= 1.0
}

fn write(swarm: &mut Swarm, keys: std::ops::Range<u64>) {
    for number in keys {
        let at = id(number % 7);
        assert!(matches!(swarm.put(at, &key(number), b"v"), Outcome::Stored { .. }));
    }
}

fn all_but(swarm: &mut Swarm, archive: Id) {
    let others: Vec<Id> = swarm.nodes.keys().copied().filter(|id| *id != archive).collect();
    others.into_iter().for_each(|id| swarm.crash(id));
}

fn has_all(swarm: &mut Swarm, at: Id, seed: u64) {
    swarm.until(90 * SECOND, Swarm::whole);
    for number in 0..KEYS {
        assert_eq!(swarm.get(at, &key(number)), Some(b"v".to_vec()), "seed {seed}, key {number}");
    }
}

#[test]
fn an_archive_is_in_every_group_beside_the_others() {
    let (mut swarm, archive) = eight(1);
    write(&mut swarm, 0..KEYS);
    swarm.pass(10 * SECOND);
    for number in 0..KEYS {
        let (_, members) = swarm.members_of(&key(number));
        assert_eq!(members.len(), 4, "{members:?}");
        assert!(members.contains(&archive));
    }
}

#[test]
fn all_others_go_at_once() {
    for seed in 0..6 {
        let (mut swarm, archive) = eight(seed);
        write(&mut swarm, 0..KEYS);
        all_but(&mut swarm, archive);
        has_all(&mut swarm, archive, seed);
    }
}

#[test]
fn without_archives_more_than_a_group_is_lost_with_it() {
    let mut swarm = Swarm::new(1, 8);
    swarm.until(30 * SECOND, Swarm::settled);
    write(&mut swarm, 0..KEYS);
    (0..6).for_each(|number| swarm.crash(id(number)));
    swarm.until(200 * SECOND, Swarm::whole);
    let found = (0..KEYS).filter(|number| swarm.get(id(7), &key(*number)).is_some()).count();
    assert!(found < KEYS as usize, "the tests here prove something");
}

#[test]
fn one_that_comes_late_gets_everything() {
    let mut swarm = Swarm::new(3, 7);
    swarm.until(30 * SECOND, Swarm::settled);
    write(&mut swarm, 0..KEYS);
    let archive = id(7);
    swarm.archives.insert(archive);
    swarm.start(archive, false);
    swarm.until(30 * SECOND, |swarm| holds_all(swarm, archive));
    all_but(&mut swarm, archive);
    has_all(&mut swarm, archive, 3);
}

/// It was down, the others went on without it, and go before they have taken it in again.
#[test]
fn what_it_has_stays_until_it_is_in_step_again() {
    for seed in 0..6 {
        for back_us in [100_000, 2 * SECOND, 3 * SECOND, 4 * SECOND] {
            let (mut swarm, archive) = eight(seed);
            write(&mut swarm, 0..KEYS);
            swarm.crash(archive);
            swarm.pass(20 * SECOND);
            swarm.start(archive, false);
            swarm.pass(back_us);
            all_but(&mut swarm, archive);
            has_all(&mut swarm, archive, seed);
        }
    }
}

#[test]
fn one_that_left_in_order_has_everything_when_it_is_back() {
    for seed in 0..4 {
        // The founder, or it would wait for somebody else's network when it is back.
        let (mut swarm, archive) = eight_with(seed, id(0));
        write(&mut swarm, 0..KEYS);
        swarm.call(archive, |dht, ctx, view| dht.leave(ctx, view));
        swarm.until(10 * SECOND, |swarm| swarm.nodes[&archive].dht.left());
        swarm.crash(archive);
        swarm.until(30 * SECOND, Swarm::settled);
        all_but(&mut swarm, archive);
        swarm.pass(5 * SECOND);
        swarm.start(archive, true);
        swarm.until(200 * SECOND, Swarm::whole);
        has_all(&mut swarm, archive, seed);
    }
}

/// It was down, the others went on without it; then its group is gone, and some live on who have nothing of that.
#[test]
fn what_it_has_is_there_when_its_groups_are_gone_and_others_are_not() {
    for seed in 0..6 {
        let (mut swarm, archive) = eight(seed);
        write(&mut swarm, 0..KEYS);
        swarm.crash(archive);
        swarm.pass(20 * SECOND);
        swarm.start(archive, false);
        swarm.pass(100_000);
        swarm.exclusive = false;
        (1..6).for_each(|number| swarm.crash(id(number)));
        swarm.until(200 * SECOND, Swarm::whole);
        swarm.pass(60 * SECOND);
        has_all(&mut swarm, id(6), seed);
    }
}

#[test]
fn a_network_that_is_founded_anew_does_not_empty_it() {
    for seed in 0..8 {
        let (mut swarm, archive) = eight(seed);
        write(&mut swarm, 0..KEYS);
        if seed % 2 == 0 {
            swarm.call(archive, |dht, ctx, view| dht.leave(ctx, view));
            swarm.until(10 * SECOND, |swarm| swarm.nodes[&archive].dht.left());
        }
        (0..8).for_each(|number| swarm.crash(id(number)));
        (0..7).for_each(|number| swarm.wipe(id(number)));
        swarm.pass(10 * SECOND);
        swarm.exclusive = false;
        (0..3).for_each(|number| swarm.start(id(number), number == 0));
        swarm.until(30 * SECOND, Swarm::whole);
        assert_eq!(swarm.get(id(1), &key(1)), None, "it is another network");
        assert!(matches!(swarm.put(id(1), b"new", b"v"), Outcome::Stored { .. }));
        swarm.start(archive, false);
        swarm.pass(120 * SECOND);
        has_all(&mut swarm, id(1), seed);
        assert_eq!(swarm.get(archive, b"new"), Some(b"v".to_vec()), "seed {seed}");
    }
}

/// Removed while it was away, so long ago that nobody has a tombstone any more: it is not to come back.
#[test]
fn what_was_removed_while_it_was_away_stays_removed() {
    for seed in 0..6 {
        let mut swarm = Swarm::empty(seed);
        swarm.config.tombstone_us = 30 * SECOND;
        let archive = id(7);
        swarm.archives.insert(archive);
        (0..8).for_each(|number| swarm.start(id(number), number == 0));
        swarm.until(30 * SECOND, |swarm| swarm.settled() && holds_all(swarm, archive));
        write(&mut swarm, 0..KEYS);
        swarm.crash(archive);
        swarm.until(30 * SECOND, Swarm::settled);
        for number in 0..KEYS {
            swarm.now_do(id(number % 7), &key(number), Action::Remove { expect: crate::store::Expect::Any });
        }
        swarm.pass(60 * SECOND);
        swarm.start(archive, false);
        // Somebody dies while it is being taken in: groups change in the middle of it.
        let pause = swarm.random(4 * SECOND);
        swarm.pass(pause);
        swarm.crash(id(seed));
        swarm.until(60 * SECOND, |swarm| swarm.settled() && holds_all(swarm, archive));
        for number in 0..KEYS {
            assert_eq!(swarm.get(archive, &key(number)), None, "seed {seed}, key {number}");
        }
    }
}

#[test]
fn one_that_is_none_any_more_is_let_go() {
    let (mut swarm, archive) = eight(5);
    swarm.archives.clear();
    swarm.pass(90 * SECOND);
    let held = swarm.nodes[&archive].dht.fragments_info(swarm.clocks());
    let share: f64 = held.iter().filter(|it| it.state == "member" || it.state == "active").map(|it| it.share).sum();
    assert!(share < 0.9, "{share}");
    assert!(swarm.settled() && swarm.coverage() == Region::ALL.size());
}

#[test]
fn a_group_takes_so_many() {
    let mut swarm = Swarm::empty(9);
    swarm.config.archives_max = 2;
    swarm.archives.extend([id(5), id(6), id(7)]);
    (0..8).for_each(|number| swarm.start(id(number), number == 0));
    swarm.until(30 * SECOND, Swarm::settled);
    swarm.pass(20 * SECOND);
    assert!(matches!(swarm.now_do(id(0), b"k", put(b"v")), Outcome::Stored { .. }));
    assert!(swarm.members_of(b"k").1.len() <= 3 + 3, "three, the two, and the third where it is near");
    assert!(swarm.counted("group.archives_refused").is_some());
}
