//! A write acknowledged by its owner and one member of three must survive the owner: the heir never answers without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{Id, store::Outcome};
use pontoon_tests::{
    ops::{get, outcomes, put},
    scenario::Scale,
    sim::{Crash, SimConfig},
};

const SECOND_US: u64 = 1_000_000;

/// The group of a key: owner, then members.
fn group(scale: &Scale, key: &[u8]) -> (usize, Vec<usize>) {
    let id = Id::object("heir", key, 0);
    let owner = scale.sim.owner_of(&id).unwrap();
    let fragments = scale.sim.inspect(owner).unwrap().fragments;
    let bit = |index: usize| if id.bit(index as u32) { '1' } else { '0' };
    let held = fragments
        .iter()
        .find(|fragment| {
            fragment.state == "active"
                && fragment.region.chars().enumerate().all(|(index, digit)| digit == '*' || digit == bit(index))
        })
        .expect("the nearest node owns the key");
    let members = held.members.iter().filter(|member| **member != scale.sim.id(owner));
    (owner, members.map(|member| scale.sim.index_of(member).unwrap()).collect())
}

#[test]
fn the_heir_never_answers_without_what_was_acknowledged() {
    let mut tested = 0;
    for seed in 1..=6 {
        for (number, slow) in [(0, 0), (1, 1), (2, 0), (3, 1)] {
            let mut scale = Scale::new(SimConfig::new(seed, 12));
            scale.sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: {unsettled}"));
            let key = format!("key {number}").into_bytes();
            let (owner, members) = group(&scale, &key);
            assert_eq!(members.len(), 2, "three copies");
            // What the owner sends to one member does not arrive before the owner is dead; the node that writes is
            // none of the three.
            scale.sim.stall(owner, members[slow], 4 * SECOND_US);
            let writer = (0..12).find(|node| *node != owner && !members.contains(node)).unwrap();
            let call = scale.sim.start(writer, put("heir", &key, b"acknowledged"));
            let answer = scale.sim.wait(&[call], 3 * SECOND_US).remove(0);
            if !matches!(outcomes(answer, 1)[..], [Outcome::Stored { .. }]) {
                continue;
            }
            tested += 1;
            let how = if number % 2 == 0 { Crash::Silent } else { Crash::Noticed };
            scale.sim.crash(owner, how);
            // Ask all the time from everywhere: unreachable is honest, absent is not.
            let mut found = false;
            for round in 0..40 {
                let asker = (writer + round) % 12;
                if asker == owner {
                    continue;
                }
                match &scale.sim.keys(asker, vec![get("heir", &key)])[..] {
                    [Outcome::Found { value, .. }] => {
                        assert_eq!(value, b"acknowledged");
                        found = true;
                    }
                    [Outcome::Unreachable] => {}
                    other => panic!("seed {seed} key {number}: {other:?} in round {round}"),
                }
                scale.sim.run_for(SECOND_US / 2);
            }
            assert!(found, "seed {seed} key {number}: nobody ever answered");
        }
    }
    assert!(tested >= 12, "only {tested} writes were acknowledged while one member was slow");
}
