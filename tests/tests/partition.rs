//! A long partition in halves, written to on both sides, and what is there after it: `docs/consistency.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::collections::BTreeMap;

use pontoon_core::{
    Command, Reply,
    dht::conflict::CONFLICTS,
    store::{KeyOp, Outcome, Record, Version},
};
use pontoon_tests::{
    faults::Witness,
    ops::{get, outcomes, put},
    scenario::Scale,
    sim::{Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const NODES: usize = 24;
const KEYS: usize = 12;
/// Nobody waits long for a part of the keys that a side cannot vouch for.
const DEADLINE_US: u64 = 3 * SECOND_US;

fn within(deadline_us: u64, op: KeyOp) -> Command {
    Command::Keys { ops: vec![op], deadline_us: Some(deadline_us) }
}

fn key(index: usize) -> Vec<u8> {
    format!("both {index}").into_bytes()
}

/// What a node holds of the namespaces of this test.
fn held(sim: &mut Sim, node: usize) -> Vec<Record> {
    let namespaces = ["things", "halves", CONFLICTS].map(str::to_owned).to_vec();
    match sim.call(node, Command::LocalScan { namespaces }, 5 * SECOND_US) {
        Some(Ok(Reply::Records(records))) => records,
        other => panic!("{other:?}"),
    }
}

/// Every member of every group holds exactly what its owner holds.
fn replicas_are_equal(sim: &mut Sim) -> Result<(), String> {
    let stores: Vec<Vec<Record>> = (0..NODES).map(|node| held(sim, node)).collect();
    for owner in 0..NODES {
        for (certificate, _, serving) in sim.certificates(owner) {
            if !serving {
                continue;
            }
            let within = |node: usize| -> BTreeMap<_, _> {
                let inside = stores[node].iter().filter(|record| certificate.name.region.contains(&record.id()));
                inside.map(|record| ((record.namespace.clone(), record.key.clone()), record.clone())).collect()
            };
            for member in &certificate.members {
                let member = sim.index_of(member).unwrap();
                if within(member) != within(owner) {
                    return Err(format!(
                        "node {member} does not hold what node {owner} holds of {}",
                        certificate.name.region
                    ));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn halves_that_were_parted_for_five_minutes_become_one_and_lose_nothing_without_a_trace() {
    let seeds = std::env::var("SEED").map_or(1..=3, |seed| seed.parse().map(|seed: u64| seed..=seed).unwrap());
    for seed in seeds {
        let mut scale = Scale::new(SimConfig::new(seed, NODES));
        scale.sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: {unsettled}"));
        assert_eq!(scale.store(40).found, 40);
        let sim = &mut scale.sim;
        let mut witness = Witness::default();
        // The last acknowledged write of each key on each side.
        let mut last: BTreeMap<(usize, usize), (Version, Vec<u8>)> = BTreeMap::new();
        sim.partition(|node| node % 2 == 1);
        let until = sim.now_us() + 300 * SECOND_US;
        let mut number = 0_u64;
        while sim.now_us() < until {
            let mut calls = Vec::new();
            for side in 0..2 {
                let index = sim.draw(KEYS as u64) as usize;
                let node = 2 * sim.draw(NODES as u64 / 2) as usize + side;
                number += 1;
                let value = format!("{number} of side {side}").into_bytes();
                calls.push((
                    side,
                    index,
                    value.clone(),
                    sim.command(node, within(DEADLINE_US, put("halves", &key(index), &value))),
                ));
            }
            let ids: Vec<_> = calls.iter().map(|(.., call)| *call).collect();
            for ((side, index, value, _), answer) in calls.into_iter().zip(sim.wait(&ids, 40 * SECOND_US)) {
                if let [Outcome::Stored { version }] = outcomes(answer, 1)[..] {
                    last.insert((side, index), (version, value));
                }
            }
            for _ in 0..8 {
                sim.run_for(SECOND_US / 4);
                witness.look(sim, &|_| false);
            }
        }
        let both = (0..KEYS).filter(|index| (0..2).all(|side| last.contains_key(&(side, *index)))).count();
        // Where all members are on one side, the other has no history of its own.
        assert!(both >= KEYS / 4, "seed {seed}: {both} keys were written on both sides");
        sim.heal();
        let healed = sim.now_us();
        loop {
            sim.run_for(SECOND_US / 2);
            witness.look(sim, &|_| false);
            match sim.settled() {
                Ok(()) => break,
                Err(unsettled) => {
                    let late = sim.now_us() > healed + 60 * SECOND_US;
                    assert!(!late, "seed {seed}: not one overlay after a minute: {unsettled}");
                }
            }
        }
        let settled_s = (sim.now_us() - healed) / SECOND_US;
        assert_eq!(witness.violations, Vec::<String>::new(), "seed {seed}: what two vouched for");
        // Then what the other history wrote is handed over, and members are brought in step.
        let equal_us = sim.now_us() + 60 * SECOND_US;
        loop {
            let kept = (0..NODES).flat_map(|node| sim.certificates(node)).all(|(_, retired, _)| !retired);
            match replicas_are_equal(sim) {
                Ok(()) if kept => break,
                Err(differing) if sim.now_us() > equal_us => panic!("seed {seed}: {differing}"),
                _ => assert!(sim.now_us() <= equal_us, "seed {seed}: histories given up are still held"),
            }
            sim.run_for(SECOND_US);
        }
        let equal_s = (sim.now_us() - healed) / SECOND_US;
        let mut listed = 0;
        for index in 0..KEYS {
            let written: Vec<&(Version, Vec<u8>)> = (0..2).filter_map(|side| last.get(&(side, index))).collect();
            let Some(winner) = written.iter().max() else { continue };
            let outcome = sim.keys(index % NODES, vec![get("halves", &key(index))]).remove(0);
            let Outcome::Found { value, version, .. } = outcome else {
                panic!("seed {seed} key {index}: {outcome:?}");
            };
            assert_eq!((&version, &value), (&winner.0, &winner.1), "seed {seed} key {index}: the last writer wins");
            for (version, value) in written.iter().filter(|write| write != &winner) {
                let name = postcard::to_allocvec(&("halves", key(index), version)).unwrap();
                let outcome = sim.keys((index + 5) % NODES, vec![get(CONFLICTS, &name)]).remove(0);
                let Outcome::Found { value: kept, .. } = outcome else {
                    panic!("seed {seed} key {index}: the loser is not listed: {outcome:?}");
                };
                let loser: Record = postcard::from_bytes(&kept).unwrap();
                assert_eq!((loser.value.as_ref(), loser.version), (Some(value), *version));
                listed += 1;
            }
        }
        assert!(listed >= both, "seed {seed}: {listed} listed of {both}");
        let expected = scale.model.count("things");
        assert_eq!(scale.read_all(), (expected, 0), "seed {seed}: (found, lost)");
        println!(
            "seed {seed}: one overlay after {settled_s} s, replicas equal after {equal_s} s, {listed} conflicts listed, {} forked looks",
            witness.forked
        );
    }
}
