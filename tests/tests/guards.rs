//! What one peer asks for without measure does not take the network from the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::collections::BTreeMap;

use pontoon_core::{Config, Error, data::Value, sql::asking::Definitions};
use pontoon_tests::{
    ops::Ask,
    scenario::Scale,
    sim::{Signing, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const NODES: usize = 32;
const ROWS: usize = 1_100;

fn insert(scale: &mut Scale, table: &str) {
    let values: Vec<String> = (0..ROWS).map(|id| format!("({id}, {})", id * 2)).collect();
    let text = format!("INSERT INTO {table} VALUES {}", values.join(", "));
    assert_eq!(scale.sim.sql(1, &text).unwrap().affected as usize, ROWS);
}

#[test]
fn a_storm_is_refused_in_part_and_others_go_on() {
    let mut config = SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(3, NODES) };
    config.core.queries_waiting_max = 64;
    let mut scale = Scale::new(config);
    scale.sim.settle(600 * SECOND_US).unwrap();
    for table in ["many", "more"] {
        scale.sim.sql(1, &format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, value INTEGER)")).unwrap();
        insert(&mut scale, table);
    }
    let (stormer, reader) = (2, 3);
    let mut definitions = Definitions::default();
    let run = |scale: &mut Scale, node: usize, definitions: &mut Definitions, text: &str| {
        let ask = scale.sim.ask(node, definitions, text, None).unwrap();
        scale.sim.answers(vec![ask], definitions, 60 * SECOND_US).remove(0)
    };
    for table in ["many", "more"] {
        run(&mut scale, stormer, &mut definitions, &format!("EXPLAIN SELECT * FROM {table}")).unwrap();
    }
    let ask = |scale: &mut Scale, definitions: &mut Definitions| {
        scale.sim.ask(stormer, definitions, "SELECT * FROM many, more", None)
    };
    let storm: Result<Vec<Ask>, Error> = (0..1_000).map(|_| ask(&mut scale, &mut definitions)).collect();
    let mut open = storm.unwrap();
    let (mut outcomes, mut points, mut of_reader) = (BTreeMap::<String, usize>::new(), 0, Definitions::default());
    while !open.is_empty() {
        // Somebody else's questions are answered meanwhile.
        let text = format!("SELECT value FROM many WHERE id = {}", points % ROWS);
        let answer = run(&mut scale, reader, &mut of_reader, &text).unwrap();
        assert_eq!((answer.rows.len(), answer.coverage), (1, 1.0));
        points += 1;
        assert!(scale.held_max() <= Config::default().query_bytes_max as u64);
        open.retain_mut(|ask| {
            let Some(outcome) = scale.sim.look(ask, &mut definitions) else { return true };
            let error = outcome.expect_err("more rows than a result may have");
            *outcomes.entry(format!("{}: {error}", error.code())).or_default() += 1;
            false
        });
    }
    // Each needs two gathers: 16 run, 64 wait, the others are refused, and said why.
    let refused = "overloaded: this peer does as much at once as it may (queries_waiting_max = 64)";
    let tried = "program_limit_exceeded: a result of more than 1000000 rows";
    let expected = [(refused.to_owned(), 960), (tried.to_owned(), 40)];
    assert_eq!(outcomes, BTreeMap::from(expected));
    assert!(points > 3, "{points} point queries during the storm");
    // Nothing is left of it.
    scale.sim.run_for(SECOND_US);
    for name in ["queries_running", "queries_waiting", "tasks_open", "task_bytes", "joins_open", "exchange_buckets"] {
        assert_eq!(scale.counter(name), 0, "{name}");
    }
}

#[test]
fn what_stands_in_a_queue_is_sent_once() {
    // What there is takes more than three seconds into one node.
    let config = SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(4, NODES) };
    let mut scale = Scale::new(SimConfig { inbound_bits_per_s: Some(2_000_000), ..config });
    scale.sim.settle(600 * SECOND_US).unwrap();
    scale.sim.sql(1, "CREATE TABLE wide (id INTEGER PRIMARY KEY, value TEXT)").unwrap();
    let text = "x".repeat(1_000);
    for from in 0..20 {
        let values: Vec<String> = (0..40).map(|at| format!("({}, '{text}')", from * 40 + at)).collect();
        scale.sim.sql(1 + from % (NODES - 1), &format!("INSERT INTO wide VALUES {}", values.join(", "))).unwrap();
    }
    let (begun, bytes) = (scale.sim.now_us(), scale.counter("bytes_calls"));
    let all = scale.sim.sql(2, "SELECT * FROM wide").unwrap();
    assert_eq!((all.rows.len(), all.coverage), (800, 1.0));
    let took = scale.sim.now_us() - begun;
    assert!((3 * SECOND_US..9 * SECOND_US / 2).contains(&took), "as long as the link takes for the rows: {took} us");
    let bytes = scale.counter("bytes_calls") - bytes;
    assert!(bytes < 1_500_000, "each row makes a hop or two, once: {bytes} bytes");
}

#[test]
fn rows_on_their_way_leave_room_for_signs_of_life() {
    // Two peers send a third one four seconds of its link, and more to each other.
    let mut config = SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(6, 3) };
    config.inbound_bits_per_s = Some(10_000_000);
    config.core.hop_bytes_max = 1 << 20;
    let mut scale = Scale::new(config);
    scale.sim.settle(600 * SECOND_US).unwrap();
    scale.sim.sql(1, "CREATE TABLE wide (id INTEGER PRIMARY KEY, kind INTEGER, value TEXT)").unwrap();
    scale.sim.sql(1, "CREATE TABLE kinds (id INTEGER PRIMARY KEY, least INTEGER)").unwrap();
    let text = "x".repeat(10_000);
    for from in 0..60 {
        let values: Vec<String> = (0..40).map(|at| format!("({}, {}, '{text}')", from * 40 + at, at % 30)).collect();
        scale.sim.sql(1, &format!("INSERT INTO wide VALUES {}", values.join(", "))).unwrap();
    }
    let values: Vec<String> = (0..30).map(|id| format!("({id}, {})", id * 500)).collect();
    scale.sim.sql(1, &format!("INSERT INTO kinds VALUES {}", values.join(", "))).unwrap();
    scale.sim.run_for(60 * SECOND_US);
    let counted = |scale: &mut Scale| ["peers_suspected", "exchange_rounds"].map(|name| scale.counter(name));
    let (before, begun, mut definitions) = (counted(&mut scale), scale.sim.now_us(), Definitions::default());
    for text in [
        "SET pontoon.join_strategy = 'symmetric-hash'",
        "SELECT count(*) FROM wide JOIN kinds ON kinds.id = wide.kind AND length(wide.value) > kinds.least",
    ] {
        let ask = scale.sim.ask(2, &mut definitions, text, None).unwrap();
        let answer = scale.sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0).unwrap();
        if text.starts_with("SELECT") {
            assert_eq!((answer.rows, answer.coverage), (vec![vec![Value::Integer(1_800)]], 1.0));
        }
    }
    assert_eq!(counted(&mut scale), before);
    assert!(scale.sim.now_us() - begun > 4 * SECOND_US, "it is more than a moment's");
}
