//! The order of rows that nobody orders: rows without a primary key come as they were inserted, whoever inserted them,
//! others in the order of their keys. Seen in aggregates that show it.

use pontoon_core::{
    data::Value,
    exec::local::Local,
    sql::{asking::Definitions, plan::Dialect},
};
use pontoon_tests::{
    database::Database,
    sim::{Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;

/// The only value of a query.
fn value(database: &mut Database, sql: &str) -> String {
    let mut rows = database.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).rows;
    match (rows.len(), rows.pop().as_deref()) {
        (1, Some([value])) => value.to_string(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[test]
fn rows_come_as_they_were_inserted_or_in_the_order_of_their_keys() {
    for nodes in [1, 8] {
        let mut database = Database::new(nodes);
        for sql in [
            "CREATE TABLE log (what TEXT, who INTEGER)",
            "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)",
            "INSERT INTO log VALUES ('wake', 2), ('eat', 1), ('wake', 1)",
            "INSERT INTO log VALUES ('nap', 2)",
            "INSERT INTO log SELECT 'again ' || what, who FROM log WHERE who = 2 ORDER BY what DESC",
            "INSERT INTO log VALUES ('eat', 1), ('eat', 3)",
            "INSERT INTO people VALUES (3, 'Ada'), (-1, 'Zoe'), (20, 'Eve'), (1, 'Cyd')",
        ] {
            database.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            database.speak(dialect);
            let all = "wake,eat,wake,nap,again wake,again nap,eat,eat";
            assert_eq!(value(&mut database, "SELECT string_agg(what, ',') FROM log"), all);
            let json = format!("[\"{}\"]", all.replace(',', "\", \""));
            assert_eq!(value(&mut database, "SELECT json_agg(what) FROM log"), json);
            for (query, expected) in [
                ("SELECT group_concat(what) FILTER (WHERE who = 1) FROM log", "eat,wake,eat"),
                ("SELECT group_concat(name) FROM people", "Zoe,Cyd,Ada,Eve"),
                // Conditions, queries and views in between change nothing.
                ("SELECT group_concat(name) FROM people WHERE id IN (20, 3, 1)", "Cyd,Ada,Eve"),
                ("SELECT group_concat(w) FROM (SELECT upper(what) AS w FROM log WHERE who <> 2) AS l", "EAT,WAKE,EAT,EAT"),
                // A query's own order counts, then that of its rows.
                ("SELECT group_concat(what) FROM (SELECT what FROM log WHERE who < 3 ORDER BY who) AS l",
                    "eat,wake,eat,wake,nap,again wake,again nap"),
                ("SELECT group_concat(what) FROM (SELECT what FROM log ORDER BY what DESC LIMIT 3) AS l", "wake,wake,nap"),
                ("SELECT group_concat(n) FROM (SELECT count(*) AS n FROM log GROUP BY who) AS l", "3,4,1"),
                ("SELECT group_concat(b) FROM (VALUES (2, 'x'), (1, 'b'), (3, 'k')) AS v (a, b)", "x,b,k"),
                // Of a join that of the left side, then that of the right one.
                ("SELECT group_concat(name || ' ' || what) FROM people JOIN log ON who = id", "Cyd eat,Cyd wake,Cyd eat,Ada eat"),
                ("SELECT group_concat(all_of) FROM (SELECT (SELECT group_concat(what, '+') FROM log WHERE who = id) AS all_of
                    FROM people) AS p", "eat+wake+eat,eat"),
                (
                    "WITH l AS (SELECT what, who FROM log), m AS (SELECT * FROM l ORDER BY who DESC)
                    SELECT (SELECT group_concat(what) FROM l WHERE who <> 2) || ';' || group_concat(what) FROM m WHERE who <> 2",
                    "eat,wake,eat,eat;eat,eat,wake,eat",
                ),
                // Where another order is asked for it counts.
                ("SELECT group_concat(what ORDER BY what) FROM log WHERE who <> 2", "eat,eat,eat,wake"),
            ] {
                assert_eq!(value(&mut database, query), expected, "{nodes} nodes, {dialect:?}: {query}");
            }
            // Different values: PostgreSQL sorts them, SQLite takes them as they come.
            let expected = if dialect == Dialect::Sqlite { "wake,eat,nap" } else { "eat,nap,wake" };
            let query = "SELECT group_concat(DISTINCT what) FROM log WHERE what NOT LIKE 'again%'";
            assert_eq!(value(&mut database, query), expected, "{nodes} nodes, {dialect:?}");
        }
        let grouped = database.sql("SELECT who, group_concat(what) FROM log GROUP BY who ORDER BY who").unwrap().rows;
        let second = |row: &Vec<Value>| row[1].to_string();
        let expected = ["eat,wake,eat", "wake,nap,again wake,again nap", "eat"];
        assert_eq!(grouped.iter().map(second).collect::<Vec<_>>(), expected, "{nodes} nodes");
    }
}

#[test]
fn a_clock_that_goes_back_does_not_change_the_order() {
    let mut local = Local::new();
    let mut run = |wall_us: u64, sql: &str| {
        local.wall_us = wall_us;
        local.execute(pontoon_parser::parse_one(sql).unwrap(), Vec::new()).unwrap()
    };
    run(9_000_000, "CREATE TABLE t (a INTEGER)");
    let clocks = [9_000_000, 9_000_000, 8_000_000, 0, 8_500_000, 9_500_000];
    for (number, wall_us) in clocks.into_iter().enumerate() {
        run(wall_us, &format!("INSERT INTO t VALUES ({number})"));
    }
    let shown = run(7_000_000, "SELECT string_agg(a::text, ''), now() FROM t").rows.remove(0);
    assert_eq!(shown[0], Value::Text("012345".to_owned()));
    assert_eq!(shown[1], Value::Timestamp(7_000_000), "now() is what the clock shows");
}

/// Statements of many askers at once: each one's rows stay together and in order, and what began later comes later.
#[test]
fn many_askers_at_once() {
    const NODES: usize = 8;
    let mut sim = Sim::new(SimConfig::new(11, NODES));
    sim.settle(120 * SECOND_US).unwrap();
    sim.sql(0, "CREATE TABLE t (wave INTEGER, node INTEGER, n INTEGER)").unwrap();
    for wave in 0..3 {
        let mut asks = Vec::new();
        let mut definitions: Vec<Definitions> = (0..NODES).map(|_| Definitions::default()).collect();
        for (node, definitions) in definitions.iter_mut().enumerate() {
            let rows: Vec<String> = (0..5).map(|n| format!("({wave}, {node}, {n})")).collect();
            let sql = format!("INSERT INTO t VALUES {}", rows.join(", "));
            asks.push(sim.ask(node, definitions, &sql, None).unwrap());
        }
        for (node, ask) in asks.into_iter().enumerate() {
            sim.answers(vec![ask], &mut definitions[node], 60 * SECOND_US).remove(0).unwrap();
        }
    }
    let sql = "SELECT string_agg(wave || '.' || node || '.' || n, ' ') FROM t";
    let shown = sim.sql(3, sql).unwrap().rows[0][0].to_string();
    let rows: Vec<Vec<i64>> =
        shown.split(' ').map(|row| row.split('.').map(|part| part.parse().unwrap()).collect()).collect();
    assert_eq!(rows.len(), 3 * NODES * 5);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row[0], (at / (NODES * 5)) as i64, "waves one after the other: {shown}");
        assert_eq!((row[1], row[2]), (rows[at - at % 5][1], (at % 5) as i64), "statements stay together: {shown}");
    }
}
