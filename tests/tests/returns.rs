//! Nodes that return after long: with an old store, or from sleep with a lease. Nothing that was removed comes back, and
//! nobody is told what is not so any more: `docs/consistency.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    Command, Config, Id, Reply,
    store::{Expect, KeyOp, Outcome, Version},
};
use pontoon_tests::{
    ops::{get, keys, outcomes, put, put_if, remove},
    sim::{Crash, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const TOMBSTONE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 3_600 * SECOND_US;

fn seeds(count: u64) -> std::ops::RangeInclusive<u64> {
    let alone = std::env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    alone.map_or(1..=count, |seed: u64| seed..=seed)
}

fn settled(seed: u64, nodes: usize) -> Sim {
    let mut config = SimConfig::new(seed, nodes);
    config.core = Config { tombstone_us: TOMBSTONE_US, ..config.core };
    let mut sim = Sim::new(config);
    settle(&mut sim, seed);
    sim
}

fn settle(sim: &mut Sim, seed: u64) {
    sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: not settled: {unsettled}"));
}

fn key(index: usize) -> Vec<u8> {
    format!("key {index}").into_bytes()
}

fn one(sim: &mut Sim, node: usize, op: KeyOp) -> Outcome {
    sim.keys(node, vec![op]).remove(0)
}

fn stored(sim: &mut Sim, node: usize, op: KeyOp) -> Version {
    match one(sim, node, op) {
        Outcome::Stored { version } => version,
        other => panic!("not stored: {other:?}"),
    }
}

/// The keys of `things` that a node holds.
fn held(sim: &mut Sim, node: usize) -> Vec<Vec<u8>> {
    let command = Command::LocalScan { namespaces: vec!["things".to_owned()] };
    match sim.call(node, command, 5 * SECOND_US) {
        Some(Ok(Reply::Records(records))) => records.into_iter().map(|record| record.key).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_that_was_away_longer_than_a_tombstone_brings_nothing_back() {
    const NODES: usize = 16;
    const KEYS: usize = 60;
    for seed in seeds(6) {
        let mut sim = settled(seed, NODES);
        for index in 0..KEYS {
            stored(&mut sim, index % NODES, put("things", &key(index), b"old"));
        }
        // A majority of each group stays.
        let returning = 1 + sim.draw(NODES as u64 - 1) as usize;
        let holds = held(&mut sim, returning);
        assert!(!holds.is_empty());
        sim.crash(returning, if seed % 2 == 0 { Crash::Silent } else { Crash::Noticed });
        settle(&mut sim, seed);
        let node = (returning + 1) % NODES;
        for index in (0..KEYS).filter(|index| index % 3 > 0) {
            stored(&mut sim, node, remove("things", &key(index)));
        }
        sim.run_for(3 * TOMBSTONE_US);
        sim.restart(returning);
        // From its first moment on, and when all is quiet again.
        for round in 0..20 {
            for index in 0..KEYS {
                let asked = [returning, node][index % 2];
                let op = Command::Keys { ops: vec![get("things", &key(index))], deadline_us: Some(SECOND_US) };
                let outcome = outcomes(sim.call(asked, op, 2 * SECOND_US), 1).remove(0);
                let lawful = match outcome {
                    Outcome::Found { ref value, .. } => index % 3 == 0 && value == b"old",
                    Outcome::Absent => index % 3 > 0,
                    Outcome::Unreachable => round < 10,
                    _ => false,
                };
                assert!(lawful, "seed {seed} round {round} key {index}: {outcome:?}");
            }
            if round == 10 {
                settle(&mut sim, seed);
                sim.run_for(30 * SECOND_US);
            }
        }
        for node in 0..NODES {
            for key in held(&mut sim, node) {
                let index: usize = String::from_utf8(key).unwrap()[4..].parse().unwrap();
                assert_eq!(index % 3, 0, "seed {seed}: node {node} holds what was removed");
            }
        }
    }
}

#[test]
fn a_side_that_was_cut_off_longer_than_a_tombstone_brings_nothing_back() {
    const NODES: usize = 16;
    const KEYS: usize = 40;
    for seed in seeds(6) {
        let mut sim = settled(seed, NODES);
        for index in 0..KEYS {
            stored(&mut sim, index % NODES, put("things", &key(index), b"old"));
        }
        sim.partition(|node| node % 2 == 1);
        sim.run_for(30 * SECOND_US);
        let mut removed = Vec::new();
        for index in 0..KEYS {
            // Where one side kept its majority, its history is the one that all prefer.
            let id = Id::object("things", &key(index), 0);
            let node = (0..NODES).find(|node| {
                let mut held = sim.certificates(*node).into_iter();
                held.any(|(it, _, serving)| serving && !it.assumed_lost && it.name.region.contains(&id))
            });
            let Some(node) = node else { continue };
            stored(&mut sim, node, remove("things", &key(index)));
            removed.push(index);
        }
        assert!(removed.len() > KEYS / 2, "seed {seed}: {} removed", removed.len());
        sim.run_for(3 * TOMBSTONE_US);
        sim.heal();
        settle(&mut sim, seed);
        sim.run_for(90 * SECOND_US);
        for index in 0..KEYS {
            let outcome = one(&mut sim, index % NODES, get("things", &key(index)));
            let found = matches!(outcome, Outcome::Found { .. });
            assert_eq!(found, !removed.contains(&index), "seed {seed} key {index}: {outcome:?}");
        }
    }
}

#[test]
fn who_slept_an_hour_with_a_lease_serves_nothing_stale() {
    const NODES: usize = 12;
    const KEYS: usize = 30;
    for seed in seeds(3) {
        for clock_stops in [false, true] {
            let mut sim = settled(seed, NODES);
            let versions: Vec<Version> =
                (0..KEYS).map(|index| stored(&mut sim, index % NODES, put("things", &key(index), b"old"))).collect();
            let sleeper = 1 + sim.draw(NODES as u64 - 1) as usize;
            let awake = (sleeper + 1) % NODES;
            let serving: Vec<_> =
                sim.certificates(sleeper).into_iter().filter(|(.., serving)| *serving).map(|(it, ..)| it).collect();
            let own = |index: &usize| {
                let id = Id::object("things", &key(*index), 0);
                serving.iter().any(|it| it.name.region.contains(&id))
            };
            let own: Vec<usize> = (0..KEYS).filter(own).collect();
            assert!(!own.is_empty(), "seed {seed}: the sleeper owns nothing");
            // Requests that reach the sleeper while it sleeps, and lie there when it wakes.
            let early: Vec<_> =
                own.iter().map(|index| sim.command(awake, keys(vec![put("things", &key(*index), b"early")]))).collect();
            sim.sleep(sleeper, HOUR_US, clock_stops);
            let wakes = sim.now_us() + HOUR_US;
            let early = sim.wait(&early, 60 * SECOND_US);
            assert!(early.iter().all(|answer| matches!(outcomes(answer.clone(), 1)[0], Outcome::Stored { .. })));
            sim.run_until(wakes - 60 * SECOND_US);
            for index in 0..KEYS {
                stored(&mut sim, awake, put("things", &key(index), b"new"));
            }
            sim.run_until(wakes - 1);
            // What the sleeper's own application asks in its first moment, and what others ask it.
            let within = |op| Command::Keys { ops: vec![op], deadline_us: Some(5 * SECOND_US) };
            let reads: Vec<_> =
                (0..KEYS).map(|index| sim.command(sleeper, within(get("things", &key(index))))).collect();
            let old = |index: usize| Expect::Version(versions[index]);
            let writes: Vec<_> = (0..KEYS)
                .map(|index| sim.command(sleeper, within(put_if("things", &key(index), b"late", old(index)))))
                .collect();
            let elsewhere: Vec<_> =
                (0..KEYS).map(|index| sim.command(awake, within(get("things", &key(index))))).collect();
            for (what, calls) in [("reads", reads), ("writes", writes), ("reads elsewhere", elsewhere)] {
                for (index, answer) in sim.wait(&calls, 10 * SECOND_US).into_iter().enumerate() {
                    let outcome = outcomes(answer, 1).remove(0);
                    let value = match &outcome {
                        Outcome::Found { value, .. } | Outcome::Conflict { current: Some((value, _)) } => Some(value),
                        Outcome::Unreachable => None,
                        other => panic!("seed {seed}, {what} of key {index}: {other:?}"),
                    };
                    assert!(
                        value.is_none_or(|value| value == b"new"),
                        "seed {seed}, {what} of key {index}: {outcome:?}"
                    );
                }
            }
            settle(&mut sim, seed);
            for index in 0..KEYS {
                for node in [sleeper, awake] {
                    let outcome = one(&mut sim, node, get("things", &key(index)));
                    assert!(matches!(&outcome, Outcome::Found { value, .. } if value == b"new"), "{outcome:?}");
                }
            }
        }
    }
}
