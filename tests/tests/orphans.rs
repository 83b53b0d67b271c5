//! Whole groups that die at once: their regions are begun anew, marked, and give way to the old history if that returns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{Id, Region, group::Certificate, store::Outcome};
use pontoon_tests::{
    ops::{get, put},
    scenario::Scale,
    sim::{Crash, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const KEYS: usize = 120;
/// Nodes that live on: they ask.
const ASKERS: usize = 3;

fn seeds() -> std::ops::RangeInclusive<u64> {
    let alone = std::env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    alone.map_or(1..=4, |seed: u64| seed..=seed)
}

fn key(index: usize) -> Vec<u8> {
    format!("key {index}").into_bytes()
}

fn within(regions: &[Region], index: usize) -> bool {
    regions.iter().any(|region| region.contains(&Id::object("things", &key(index), 0)))
}

fn served(sim: &Sim) -> Vec<Certificate> {
    let held = sim.live().into_iter().flat_map(|node| sim.certificates(node));
    held.filter(|(_, retired, serving)| *serving && !retired).map(|(certificate, ..)| certificate).collect()
}

fn settle(sim: &mut Sim, seed: u64) {
    sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: {unsettled}"));
}

/// A network after all members of a group that holds keys are killed: who they are, and the regions that nobody holds now.
fn killed(config: SimConfig) -> (Scale, Vec<usize>, Vec<Region>) {
    let seed = config.seed;
    let mut scale = Scale::new(config);
    settle(&mut scale.sim, seed);
    assert_eq!(scale.store(KEYS).found, KEYS);
    let sim = &mut scale.sim;
    let groups: Vec<(Vec<usize>, Region)> = served(sim)
        .into_iter()
        .map(|group| (group.members.iter().map(|id| sim.index_of(id).unwrap()).collect(), group.name.region))
        .collect();
    let apart = |(members, region): &&(Vec<usize>, Region)| {
        members.iter().all(|node| *node >= ASKERS) && (0..KEYS).any(|index| within(&[*region], index))
    };
    let (victims, _) = groups.iter().find(apart).expect("a group without the askers").clone();
    let all_gone = |(members, _): &&(Vec<usize>, Region)| members.iter().all(|node| victims.contains(node));
    let gone = groups.iter().filter(all_gone).map(|(_, region)| *region).collect();
    victims.iter().for_each(|node| sim.crash(*node, Crash::Silent));
    (scale, victims, gone)
}

#[test]
fn what_nobody_holds_any_more_is_begun_anew_and_says_so() {
    for seed in seeds() {
        let (mut scale, _, gone) = killed(SimConfig::new(seed, 20));
        let sim = &mut scale.sim;
        let first = (0..KEYS).find(|index| within(&gone, *index)).unwrap();
        sim.run_for(25 * SECOND_US);
        let outcome = sim.keys(1, vec![get("things", &key(first))]).remove(0);
        assert_eq!(outcome, Outcome::Unreachable, "seed {seed}: nobody vouches for it yet");
        settle(sim, seed);
        for index in 0..KEYS {
            match sim.keys(index % ASKERS, vec![get("things", &key(index))]).remove(0) {
                Outcome::Found { .. } if !within(&gone, index) => {}
                Outcome::Absent if within(&gone, index) => {}
                other => panic!("seed {seed} key {index}: {other:?}"),
            }
        }
        let outcome = sim.keys(2, vec![put("things", &key(first), b"again")]).remove(0);
        assert!(matches!(outcome, Outcome::Stored { .. }), "seed {seed}: {outcome:?}");
        for group in served(sim) {
            let anew = gone.iter().any(|region| region.intersect(&group.name.region).is_some());
            // Groups that lost two of their three are marked too.
            assert!((group.assumed_lost || !anew) && group.members.len() == 3, "seed {seed}: {group:?}");
        }
    }
}

/// As above, and one after the other those who live on are replaced by newcomers, who were never told.
#[test]
fn what_nobody_remembers_is_begun_from_nothing() {
    for seed in seeds() {
        let mut config = SimConfig::new(seed, 20);
        config.core.orphaned_us = 900 * SECOND_US;
        let (mut scale, victims, gone) = killed(config);
        let sim = &mut scale.sim;
        for node in sim.live() {
            sim.crash(node, Crash::Noticed);
            sim.renew(node);
            sim.restart(node);
            sim.run_for(20 * SECOND_US);
        }
        sim.settle(2_400 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: {unsettled}"));
        assert!(scale.counter("group.begun_from_nothing") > 0, "seed {seed}: somebody remembered");
        let lost: Vec<usize> = (0..KEYS).filter(|index| within(&gone, *index)).collect();
        let outcome = scale.sim.keys(2, vec![put("things", &key(lost[0]), b"again")]).remove(0);
        assert!(matches!(outcome, Outcome::Stored { .. }), "seed {seed}: {outcome:?}");
        scale.model.put("things", &key(lost[0]), b"again");
        // The old group is back, and with it all that it held: its history is the preferred one.
        victims.iter().for_each(|node| scale.sim.restart(*node));
        settle(&mut scale.sim, seed);
        scale.sim.run_for(60 * SECOND_US);
        assert_eq!(scale.read_all(), (KEYS, 0), "seed {seed}: (found, lost)");
    }
}

#[test]
fn a_group_that_returns_goes_on_with_what_was_written_meanwhile() {
    for seed in seeds() {
        let (mut scale, victims, gone) = killed(SimConfig::new(seed, 20));
        settle(&mut scale.sim, seed);
        let lost: Vec<usize> = (0..KEYS).filter(|index| within(&gone, *index)).collect();
        for index in &lost[..lost.len().div_ceil(2)] {
            let value = format!("meanwhile {index}").into_bytes();
            let outcome = scale.sim.keys(1, vec![put("things", &key(*index), &value)]).remove(0);
            assert!(matches!(outcome, Outcome::Stored { .. }), "seed {seed}: {outcome:?}");
            scale.model.put("things", &key(*index), &value);
        }
        victims.iter().for_each(|node| scale.sim.restart(*node));
        settle(&mut scale.sim, seed);
        scale.sim.run_for(30 * SECOND_US);
        assert_eq!(scale.read_all(), (KEYS, 0), "seed {seed}: (found, lost)");
    }
}
