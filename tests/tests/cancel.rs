//! Queries that are cancelled, that fail or whose time is over: a round trip later no peer works for them any more. And
//! what a query tells while it runs.
#![allow(clippy::unwrap_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{data::Row, exec::EARLY_MAX, sql::asking::Definitions};
use pontoon_tests::{
    ops::Ask,
    sim::{Signing, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const NODES: usize = 64;
const HOP_US: u64 = 50_000;
/// How deep the region tree of so many nodes is at most.
const DEPTH: u64 = 6;
const ASKER: usize = 1;
/// They answer nobody for a while, so that what waits for them does not end by itself.
const SLEEPERS: [usize; 3] = [17, 33, 50];
const GATHER: &str = "SELECT id, item FROM bids WHERE amount < 90";
const JOIN: &str = "SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id";

/// Both tables, whose definitions the asker knows, and what it remembers.
fn swarm() -> (Sim, Definitions) {
    let config = SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(5, NODES) };
    let mut sim = Sim::new(config);
    sim.settle(300 * SECOND_US).unwrap();
    let mut definitions = Definitions::default();
    let rows = |count: u64, row: &dyn Fn(u64) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
    for statement in [
        "CREATE TABLE bids (id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER)",
        "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)",
        &format!("INSERT INTO bids VALUES {}", rows(400, &|id| format!("({id}, {}, {})", id % 70, id % 100))),
        &format!("INSERT INTO items VALUES {}", rows(60, &|id| format!("({id}, 'item {id}')"))),
        "SET pontoon.join_strategy = 'symmetric-hash'",
        // Then it is known that there are no statistics, and a join begins at once.
        &format!("EXPLAIN {JOIN}"),
    ] {
        run(&mut sim, &mut definitions, statement, None).unwrap();
    }
    (sim, definitions)
}

fn run(
    sim: &mut Sim,
    definitions: &mut Definitions,
    text: &str,
    deadline_us: Option<u64>,
) -> Result<pontoon_core::data::QueryResult, pontoon_core::Error> {
    let ask = sim.ask(ASKER, definitions, text, deadline_us).unwrap();
    sim.answers(vec![ask], definitions, 60 * SECOND_US).remove(0)
}

/// Tasks, joins and buckets that nodes have under way.
fn held(sim: &Sim, nodes: impl Iterator<Item = usize>) -> [u64; 3] {
    let mut all = [0; 3];
    for node in nodes {
        let counters = sim.inspect(node).unwrap().counters;
        for (sum, name) in all.iter_mut().zip(["tasks_open", "joins_open", "exchange_buckets"]) {
            *sum += counters[name];
        }
    }
    all
}

fn awake() -> impl Iterator<Item = usize> {
    (0..NODES).filter(|node| !SLEEPERS.contains(node))
}

/// Long after a task has reached everybody, and long before somebody is given up.
const WHILE_US: u64 = 2 * SECOND_US;

fn sleep(sim: &mut Sim) {
    SLEEPERS.into_iter().for_each(|node| sim.sleep(node, 3 * SECOND_US, false));
}

#[test]
fn what_is_cancelled_is_dropped_by_all_within_a_round_trip() {
    let (mut sim, mut definitions) = swarm();
    for (query, after_us, sleepers) in [
        (GATHER, HOP_US + 1, true),
        (GATHER, WHILE_US, true),
        (JOIN, HOP_US + 1, false),
        (JOIN, 3 * HOP_US + 1, false),
        (JOIN, HOP_US + 1, true),
        (JOIN, WHILE_US, true),
    ] {
        if sleepers {
            sleep(&mut sim);
        }
        let mut ask: Ask = sim.ask(ASKER, &mut definitions, query, Some(20 * SECOND_US)).unwrap();
        sim.run_for(after_us);
        assert!(sim.look(&mut ask, &mut definitions).is_none(), "{query}: it goes on");
        let [tasks, joins, buckets] = held(&sim, awake());
        assert!(tasks > 1, "{query} after {after_us}: others work");
        assert_eq!((joins > 0, buckets > 0), (query == JOIN, query == JOIN), "{query} after {after_us}");
        let begun = sim.now_us();
        let calls = sim.cancel(&mut ask);
        sim.run_for(2 * HOP_US + DEPTH * HOP_US);
        let [tasks, joins, buckets] = held(&sim, awake());
        assert_eq!((tasks, joins), (0, 0), "{query} after {after_us}");
        // What tells a bucket to close goes as cargo for it goes, perhaps by somebody who sleeps.
        assert!(buckets == 0 || sleepers && query == JOIN, "{query} after {after_us}: {buckets} buckets");
        let ended: Vec<_> = calls.into_iter().filter_map(|call| sim.reply(call)).collect();
        let canceled = ended.iter().filter(|(at, answer)| {
            *at == begun && answer.as_ref().is_err_and(|error| error.code() == "query_canceled")
        });
        assert_eq!(canceled.count(), 1, "{query} after {after_us}: {ended:?}");
        let result = sim.look(&mut ask, &mut definitions).unwrap();
        assert_eq!(result.unwrap_err().code(), "query_canceled");
        // Who slept is told, too.
        sim.run_for(6 * SECOND_US);
        assert_eq!(held(&sim, 0..NODES), [0; 3], "{query} after {after_us}");
    }
    for query in [GATHER, JOIN] {
        let result = run(&mut sim, &mut definitions, query, None).unwrap();
        assert_eq!((result.coverage, result.rows.is_empty()), (1.0, false), "{query}");
    }
}

#[test]
fn nothing_is_left_of_what_failed_or_took_too_long() {
    let (mut sim, mut definitions) = swarm();
    for query in [
        "SELECT 1 / (amount % 2) FROM bids",
        "SELECT 1 / (b.amount % 2), i.name FROM bids b JOIN items i ON b.item = i.id",
    ] {
        sleep(&mut sim);
        let begun = sim.now_us();
        let error = run(&mut sim, &mut definitions, query, Some(20 * SECOND_US)).unwrap_err();
        assert_eq!(error.code(), "division_by_zero");
        assert!(sim.now_us() < begun + SECOND_US, "nobody waits for those who sleep");
        sim.run_for(2 * HOP_US + DEPTH * HOP_US);
        assert_eq!(held(&sim, awake())[..2], [0; 2], "{query}");
        sim.run_for(12 * SECOND_US);
        assert_eq!(held(&sim, 0..NODES), [0; 3], "{query}");
    }
    for query in [GATHER, JOIN] {
        sleep(&mut sim);
        let result = run(&mut sim, &mut definitions, query, Some(2 * SECOND_US)).unwrap();
        assert!(result.coverage < 1.0);
        sim.run_for(DEPTH * HOP_US);
        assert_eq!(held(&sim, awake())[..2], [0; 2], "{query}");
        sim.run_for(12 * SECOND_US);
        assert_eq!(held(&sim, 0..NODES), [0; 3], "{query}");
    }
}

#[test]
fn a_query_tells_how_far_it_is() {
    let (mut sim, mut definitions) = swarm();
    let broadcast = ("SET pontoon.join_strategy = 'broadcast'", JOIN);
    for (set, query) in
        [("RESET pontoon.join_strategy", GATHER), ("SET pontoon.join_strategy = 'symmetric-hash'", JOIN), broadcast]
    {
        run(&mut sim, &mut definitions, set, None).unwrap();
        sim.take_progress();
        let begun = sim.now_us();
        let result = run(&mut sim, &mut definitions, query, None).unwrap();
        let told = sim.take_progress();
        assert!(told.len() > 4, "{query}: {told:?}");
        assert_eq!(told[0].0, begun, "at once");
        let mut last = 0.0;
        for (_, call, rows, share) in &told {
            assert_eq!(*call, told[0].1);
            assert!(*share >= last && *share < 1.0 && *rows <= result.rows.len() as u64, "{query}: {told:?}");
            last = *share;
        }
        assert!(told[0].3 < 0.2 && last > 0.6, "{query}: {told:?}");
        let rows: Vec<u64> = told.iter().map(|(_, _, rows, _)| *rows).collect();
        assert!(rows.is_sorted() && rows[0] == 0 && rows.iter().any(|rows| *rows > 0), "{query}: {rows:?}");
    }
}

/// What is shown of a query before its end, and its result.
fn shown(sim: &mut Sim, definitions: &mut Definitions, query: &str) -> (Vec<Row>, Vec<Row>) {
    sim.take_early();
    let mut ask = sim.ask(ASKER, definitions, query, None).unwrap();
    let mut early = Vec::new();
    loop {
        sim.run_for(1_000);
        early.extend(sim.preview(&mut ask));
        if let Some(result) = sim.look(&mut ask, definitions) {
            return (early, result.unwrap().rows);
        }
    }
}

#[test]
fn the_first_rows_are_shown_before_all_are_there() {
    let (mut sim, mut definitions) = swarm();
    let computed = "SELECT amount * 2 AS twice, id FROM bids";
    for (strategy, query) in [
        ("auto", GATHER),
        ("auto", computed),
        ("symmetric-hash", JOIN),
        ("semi-join", JOIN),
        ("fetch-matches", JOIN),
        ("bloom", JOIN),
        ("broadcast", JOIN),
    ] {
        run(&mut sim, &mut definitions, &format!("SET pontoon.join_strategy = '{strategy}'"), None).unwrap();
        let (early, mut result) = shown(&mut sim, &mut definitions, query);
        assert!((1..=EARLY_MAX).contains(&early.len()), "{strategy}, {query}: {}", early.len());
        for row in early {
            let at = result.iter().position(|other| *other == row);
            result.swap_remove(at.unwrap_or_else(|| panic!("{strategy}, {query}: {row:?} is not of the result")));
        }
    }
    // What one row means others say.
    for query in [
        "SELECT count(*) FROM bids",
        "SELECT id FROM bids ORDER BY amount, id LIMIT 3",
        "SELECT DISTINCT item FROM bids",
    ] {
        let (early, result) = shown(&mut sim, &mut definitions, query);
        assert!(early.is_empty() && !result.is_empty(), "{query}: {early:?}");
    }
}
