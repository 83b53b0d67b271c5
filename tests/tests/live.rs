//! Live queries on simulated networks: what they show follows what is written, whoever dies meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    data::{Row, Value},
    sql::{asking::Definitions, ast::Statement},
};
use pontoon_tests::{
    live::Living,
    sim::{Signing, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;

fn network(seed: u64, nodes: usize) -> Sim {
    let mut sim = Sim::new(SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(seed, nodes) });
    sim.settle(600 * SECOND_US).expect("a quiet network settles");
    sim
}

fn run(sim: &mut Sim, node: usize, texts: &[&str]) {
    texts.iter().for_each(|text| drop(sim.sql(node, text).unwrap_or_else(|error| panic!("{text}: {error}"))));
}

/// Runs on, and lets live queries follow.
fn follow(sim: &mut Sim, livings: &mut [&mut Living], us: u64) {
    let until = sim.now_us() + us;
    while sim.now_us() < until {
        sim.run_for(50_000);
        for living in livings.iter_mut() {
            sim.attend(living);
        }
    }
}

fn fresh(sim: &mut Sim, node: usize, text: &str) -> Vec<Row> {
    let statement: Statement = pontoon_parser::parse_one(text).unwrap();
    let mut definitions = Definitions::default();
    let ask = sim.ask_statement(node, &mut definitions, statement, None);
    let result = sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0).unwrap();
    assert_eq!(result.coverage, 1.0);
    result.rows
}

fn integers(rows: &[Row]) -> Vec<Vec<i64>> {
    let number = |value: &Value| match value {
        Value::Integer(number) => *number,
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| row.iter().map(number).collect()).collect()
}

#[test]
fn a_view_follows_what_is_written() {
    let mut sim = network(1, 12);
    run(
        &mut sim,
        1,
        &[
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER)",
            "CREATE TABLE u (a INTEGER PRIMARY KEY, name INTEGER)",
            "INSERT INTO t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 30), (4, 3, 40)",
            "INSERT INTO u VALUES (1, 100), (2, 200)",
        ],
    );
    let top = "SELECT id, b FROM t WHERE b > 10 ORDER BY b DESC LIMIT 2";
    let grouped = "SELECT u.name, count(*), sum(t.b) FROM t JOIN u ON t.a = u.a GROUP BY u.name ORDER BY 1";
    let one = "SELECT b FROM t WHERE id = 3";
    let (mut top, mut grouped, mut one) =
        (sim.begin_live(2, top).unwrap(), sim.begin_live(5, grouped).unwrap(), sim.begin_live(7, one).unwrap());
    let all = &mut [&mut top, &mut grouped, &mut one];
    follow(&mut sim, all, 2 * SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40], [3, 30]]);
    assert_eq!(integers(all[1].rows()), [[100, 2, 30], [200, 1, 30]]);
    assert_eq!(integers(all[2].rows()), [[30]]);
    assert!(all.iter().all(|living| living.coverage == 1.0 && living.changes == 1));

    run(&mut sim, 3, &["UPDATE t SET b = 35, a = 1 WHERE id = 3"]);
    follow(&mut sim, all, SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40], [3, 35]]);
    assert_eq!(integers(all[1].rows()), [[100, 3, 65]]);
    assert_eq!(integers(all[2].rows()), [[35]]);
    run(&mut sim, 4, &["DELETE FROM t WHERE id = 3", "INSERT INTO u VALUES (3, 300)"]);
    follow(&mut sim, all, SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40], [2, 20]]);
    assert_eq!(integers(all[1].rows()), [[100, 2, 30], [300, 1, 40]]);
    assert_eq!(integers(all[2].rows()), [[0_i64; 0]; 0]);
    assert!(all.iter().all(|living| living.adds_up() && living.error.is_none()));
    let _ = fresh(&mut sim, 1, "SELECT * FROM t");
}
