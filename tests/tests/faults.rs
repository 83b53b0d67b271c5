//! The mixed fault scenario on many seeds: `docs/consistency.md` is what they check. 50 seeds; `SOAK_SEEDS=1000` runs
//! more, `SEED=n` one. A seed that fails prints the command that replays it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::{sync::Mutex, time::Instant};

use pontoon_tests::faults::{Plan, Report, run};

const SECOND_US: u64 = 1_000_000;
const SEEDS: u64 = 50;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Runs a plan for each seed, on as many threads as there are cores; the reports, by seed.
fn reports(
    name: &str,
    share: u64,
    plan: impl Fn(u64) -> Plan + Sync + std::panic::RefUnwindSafe,
) -> Vec<(u64, Report)> {
    let seeds: Vec<u64> = match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SOAK_SEEDS").unwrap_or(SEEDS) / share).collect(),
    };
    let (next, failed, reports) = (Mutex::new(seeds.into_iter()), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = next.lock().unwrap().next() else { break };
                    let begun = Instant::now();
                    match std::panic::catch_unwind(|| run(plan(seed))).unwrap_or_else(|_| Err("a panic".to_owned())) {
                        Ok(report) => {
                            println!("seed {seed} in {:.1} s: {report:?}", begun.elapsed().as_secs_f64());
                            reports.lock().unwrap().push((seed, report));
                        }
                        Err(why) => {
                            println!("seed {seed} failed: {why}\nreplay: SEED={seed} cargo test -p pontoon-tests --test faults {name} -- --nocapture");
                            failed.lock().unwrap().push(seed);
                        }
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner().unwrap(), Vec::<u64>::new(), "seeds that failed");
    reports.into_inner().unwrap()
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
