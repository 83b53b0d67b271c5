//! A thousand nodes: what was acknowledged is found, a broadcast costs N−1 messages, a count is exact or says so.
//! Five seeds; `SOAK_SEEDS=50` runs more. Every failing seed is printed and replays alone with `SEED=n`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::time::Instant;

use pontoon_tests::{
    scenario::{Counted, Scale},
    seeds::{self, number},
    sim::{Signing, SimConfig},
};

const NODES: usize = 1_000;
const SECOND_US: u64 = 1_000_000;

fn one(seed: u64) -> String {
    let begun = Instant::now();
    // Real signatures on the first seed; they are a quarter of the time, and decide nothing here.
    let signing = if seed == 1 { Signing::Ed25519 } else { Signing::KeyedHash };
    let mut scale = Scale::new(SimConfig { signing, ..SimConfig::new(seed, NODES) });
    let settled = scale.sim.settle(300 * SECOND_US).unwrap_or_else(|unsettled| panic!("not settled: {unsettled}"));

    let stored = scale.store(500);
    assert_eq!((stored.acknowledged, stored.found), (500, 500), "{stored:?}");

    let broadcast = scale.broadcast();
    assert_eq!((broadcast.once, broadcast.repeated), (NODES - 1, 0), "{broadcast:?}");
    assert_eq!((broadcast.told, broadcast.coverage), (NODES as u64 - 1, 1.0), "{broadcast:?}");
    assert_eq!(broadcast.messages, NODES as u64 - 1, "{broadcast:?}");

    assert_eq!(scale.insert(300), 300);
    let counted = scale.count(5, 0);
    assert_eq!(counted, vec![Counted::Exact; 5]);

    let disturbed = scale.count(5, NODES / 20);
    assert!(!disturbed.iter().any(|counted| matches!(counted, Counted::Wrong(_))), "{disturbed:?}");

    let stats = scale.sim.stats();
    let wall = begun.elapsed().as_secs_f64();
    format!(
        "{signing:?}, settled in {:.0} s, {} s of {NODES} nodes in {wall:.1} s of wall time, {} events, {broadcast:?}, with 5% crashing: {disturbed:?}",
        settled as f64 / 1e6,
        scale.sim.now_us() / SECOND_US,
        stats.events
    )
}

#[test]
fn a_thousand_nodes_remember_reach_and_count() {
    seeds::each("scale", number("SOAK_SEEDS").unwrap_or(5), |seed| Ok(one(seed)));
}

/// Five hundred begin each second, and nobody is there who is linked to all.
#[test]
fn a_thousand_begin_at_once_without_a_supernode() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let config = SimConfig { supernode: false, join_every_us: 2_000, threads, ..SimConfig::new(1, NODES) };
    let mut scale = Scale::new(config);
    scale.sim.settle(60 * SECOND_US).unwrap_or_else(|unsettled| panic!("not settled: {unsettled}"));
}
