//! The mixed fault scenario on many seeds: `docs/consistency.md` is what they check. 50 seeds; `SOAK_SEEDS=1000` runs
//! more, `SEED=n` one. A seed that fails prints the command that replays it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_tests::{
    faults::{Plan, Report, run},
    seeds::{self, number},
};

const SECOND_US: u64 = 1_000_000;
const SEEDS: u64 = 50;

/// Runs a plan for each seed; the reports, by seed.
fn reports(
    name: &str,
    share: u64,
    plan: impl Fn(u64) -> Plan + Sync + std::panic::RefUnwindSafe,
) -> Vec<(u64, Report)> {
    let seeds = number("SOAK_SEEDS").unwrap_or(SEEDS) / share;
    seeds::each(&format!("faults {name}"), seeds, |seed| run(plan(seed)))
}

#[test]
fn groups_that_keep_their_majorities_are_linearizable() {
    let plan = |seed| Plan { seed, nodes: 64, chaos_us: 25 * SECOND_US, deadly: false };
    let reports = reports("groups_that_keep", 1, plan);
    let sum = |of: fn(&Report) -> usize| reports.iter().map(|(_, report)| of(report)).sum::<usize>();
    let (answered, unreachable) = (sum(|report| report.answered), sum(|report| report.unreachable));
    let (checked, lost) = (sum(|report| report.linearizable), sum(|report| report.lost.len()));
    println!("{answered} answered, {unreachable} unreachable, {checked} keys linearizable, {lost} losses");
    assert!(answered > 10 * unreachable, "most operations are answered");
    assert!(checked > 20 * lost, "most groups keep their majorities");
}

#[test]
fn what_a_lost_majority_means() {
    let plan = |seed| Plan { seed, nodes: 64, chaos_us: 25 * SECOND_US, deadly: true };
    let reports = reports("what_a_lost", 5, plan);
    let lost: usize = reports.iter().map(|(_, report)| report.lost.len()).sum();
    println!("{lost} losses");
    assert!(lost > 0 || reports.len() < 5, "some groups lost their majority");
}
