//! Joins that peers make: the same rows as in one place, whatever the strategy; and under faults the whole or honestly less.
//!
//! `JOINS_SEEDS=500` runs more seeds than the 30 of `make test`; `SEED=n` one of them.
#![allow(clippy::unwrap_used, clippy::panic)] // how a test fails, helpers included

use std::collections::BTreeMap;

use pontoon_core::{
    Error,
    data::{QueryResult, Row, order::compare_rows},
    exec::local::Local,
    sql::asking::Definitions,
};
use pontoon_tests::{
    database::Database,
    seeds::{self, number},
    sim::{Crash, Signing, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const STRATEGIES: [&str; 6] = ["symmetric-hash", "bloom", "broadcast", "fetch-matches", "semi-join", "gather"];

const TABLES: [&str; 3] = [
    "CREATE TABLE bids (id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER)",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, shelf REAL)",
    "CREATE TABLE shelves (shelf REAL PRIMARY KEY, label TEXT)",
];

/// Queries, and how many joins of each peers make by each of [`STRATEGIES`] but the last.
const QUERIES: [(&str, [usize; 5]); 37] = [
    ("SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id", [1, 1, 1, 1, 1]),
    ("SELECT b.id, i.name FROM bids b LEFT JOIN items i ON b.item = i.id", [1, 1, 1, 1, 0]),
    ("SELECT b.id, i.name FROM bids b RIGHT JOIN items i ON b.item = i.id", [1, 1, 1, 0, 0]),
    ("SELECT b.id, i.id, i.name FROM bids b FULL JOIN items i ON b.item = i.id AND b.amount > 40", [1, 0, 0, 0, 0]),
    ("SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id AND b.amount > i.shelf WHERE b.amount % 2 = 0", [1, 1, 1, 1, 1]),
    // An integer equals a real.
    ("SELECT b.id, i.id FROM bids b JOIN items i ON b.amount = i.shelf", [1, 1, 1, 0, 1]),
    ("SELECT b.id, i.id FROM bids b LEFT JOIN items i ON b.item IS NOT DISTINCT FROM i.id", [1, 1, 1, 0, 0]),
    ("SELECT i.name, count(*), sum(b.amount), min(b.amount) FROM bids b JOIN items i ON b.item = i.id GROUP BY i.name", [1, 1, 1, 1, 1]),
    ("SELECT count(*), count(i.id), avg(b.amount) FROM bids b LEFT JOIN items i ON b.item = i.id", [1, 1, 1, 1, 0]),
    ("SELECT DISTINCT i.name FROM bids b JOIN items i ON b.item = i.id", [1, 1, 1, 1, 1]),
    ("SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id ORDER BY b.amount DESC, b.id LIMIT 7", [1, 1, 1, 1, 1]),
    ("SELECT b.id, i.name, c.id FROM bids b JOIN items i ON b.item = i.id JOIN bids c ON c.amount = b.amount", [2, 2, 2, 1, 1]),
    ("SELECT i.name FROM items i WHERE i.id IN (SELECT b.item FROM bids b JOIN items j ON b.item = j.id WHERE b.amount < 30)", [2, 2, 2, 1, 1]),
    ("WITH RECURSIVE chain(id, n) AS (SELECT b.id, 0 FROM bids b JOIN items i ON b.item = i.id WHERE b.id < 3
       UNION SELECT b.id, n + 1 FROM chain c JOIN bids b ON b.id = c.id + 1 WHERE n < 5) SELECT id, n FROM chain", [1, 1, 1, 1, 1]),
    // Rows with a match, and rows without one.
    ("SELECT i.id, i.name FROM items i WHERE EXISTS (SELECT 1 FROM bids b WHERE b.item = i.id AND b.amount > i.shelf)", [1, 1, 1, 0, 0]),
    ("SELECT b.id FROM bids b WHERE b.item IN (SELECT i.id FROM items i WHERE i.shelf < 60)", [1, 1, 1, 1, 0]),
    ("SELECT b.id FROM bids b WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.id = b.item)", [1, 1, 1, 0, 0]),
    ("SELECT i.id FROM items i WHERE NOT EXISTS (SELECT 1 FROM bids b WHERE b.item = i.id AND b.amount < i.shelf)", [1, 1, 1, 0, 0]),
    ("SELECT b.id FROM bids b WHERE b.id NOT IN (SELECT i.id FROM items i WHERE i.shelf > 20)", [1, 1, 1, 0, 0]),
    // Whether the item is NULL is known of each bid, but it may be, and so this is not asked of peers.
    ("SELECT b.id FROM bids b WHERE b.item NOT IN (SELECT i.id FROM items i WHERE i.shelf > 90)", [0, 0, 0, 0, 0]),
    // NULL among the values of a group: nobody knows.
    ("SELECT i.id FROM items i WHERE i.id + 3 NOT IN (SELECT b.item FROM bids b WHERE b.amount = i.id)", [1, 1, 1, 0, 0]),
    ("SELECT count(*), sum(b.amount) FROM bids b WHERE b.item NOT IN (SELECT i.id FROM items i WHERE i.id = b.amount % 45)", [1, 1, 1, 0, 0]),
    ("SELECT count(*) FROM items i WHERE i.id IN (SELECT b.item FROM bids b)", [1, 1, 1, 0, 0]),
    // Three tables and more.
    ("SELECT b.id, i.name, c.id FROM bids b JOIN items i ON b.item = i.id LEFT JOIN bids c ON c.item = i.id + 1 AND c.amount > 50", [2, 2, 2, 1, 1]),
    ("SELECT b.id, i.name, s.label FROM bids b JOIN items i ON b.item = i.id JOIN shelves s ON s.shelf = i.shelf", [2, 2, 2, 2, 1]),
    ("SELECT b.id, s.label, t.label FROM bids b JOIN items i ON b.item = i.id LEFT JOIN shelves s ON s.shelf = i.shelf
       LEFT JOIN shelves t ON t.shelf = b.amount", [3, 3, 3, 2, 1]),
    ("SELECT s.label, count(*), max(b.amount) FROM bids b JOIN items i ON b.item = i.id JOIN shelves s ON s.shelf = i.shelf
       GROUP BY s.label", [2, 2, 2, 2, 1]),
    ("SELECT b.id, c.id, d.id, s.label FROM bids b JOIN bids c ON c.item = b.item JOIN bids d ON d.amount = c.amount
       JOIN items i ON i.id = d.item LEFT JOIN shelves s ON s.shelf = i.shelf WHERE b.id < 40", [4, 4, 4, 0, 1]),
    ("SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id
       WHERE EXISTS (SELECT 1 FROM shelves s WHERE s.shelf = i.shelf)", [2, 2, 2, 2, 1]),
    ("SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id
       WHERE NOT EXISTS (SELECT 1 FROM shelves s WHERE s.shelf = i.shelf)", [2, 2, 2, 1, 1]),
    ("SELECT s.label FROM shelves s WHERE s.shelf NOT IN (SELECT i.shelf FROM items i JOIN bids b ON b.item = i.id
       WHERE i.shelf IS NOT NULL)", [2, 2, 2, 1, 1]),
    ("SELECT i.id, i.name FROM items i FULL JOIN (SELECT b.item, s.label FROM bids b JOIN shelves s ON s.shelf = b.amount) x
       ON x.item = i.id", [2, 1, 1, 0, 1]),
    ("SELECT b.id, i.name, s.label FROM bids b JOIN items i ON b.item = i.id JOIN shelves s ON s.shelf = i.shelf
       ORDER BY b.amount DESC, b.id, s.shelf LIMIT 9", [2, 2, 2, 2, 1]),
    // Operations on sets, NULL being the same as NULL.
    ("SELECT b.item FROM bids b WHERE b.amount < 60 INTERSECT SELECT c.item FROM bids c WHERE c.amount > 30", [1, 1, 1, 0, 0]),
    ("SELECT b.item, b.amount > 50 FROM bids b EXCEPT SELECT i.id, i.shelf > 50 FROM items i", [1, 1, 1, 0, 0]),
    ("SELECT i.id FROM items i EXCEPT SELECT b.item FROM bids b JOIN items j ON b.item = j.id", [2, 2, 2, 1, 1]),
    // A walk, whose rows are got by their keys.
    ("WITH RECURSIVE chain(id, n) AS (SELECT id, 0 FROM items WHERE id = 7
       UNION SELECT b.item, n + 1 FROM chain c JOIN bids b ON b.id = c.id WHERE n < 9) SELECT id, n FROM chain", [0, 0, 0, 0, 0]),
];

/// Rows of all tables: some bids are for nothing, some items have none, some keys are NULL; not every shelf has a label.
fn rows(draw: &mut impl FnMut(u64) -> u64) -> [String; 3] {
    let bids: Vec<String> = (0..150)
        .map(|id| {
            let item = if draw(12) == 0 { "NULL".to_owned() } else { draw(60).to_string() };
            format!("({id}, {item}, {})", draw(100))
        })
        .collect();
    let items: Vec<String> =
        (0..45).map(|id| format!("({id}, 'item {}', {}.{})", draw(20), draw(100), draw(2) * 5)).collect();
    let shelves: Vec<String> = (0..200)
        .filter(|_| draw(2) == 0)
        .map(|at| format!("({}.{}, 'label {}')", at / 2, at % 2 * 5, at % 30))
        .collect();
    let insert = |table: &str, rows: Vec<String>| format!("INSERT INTO {table} VALUES {}", rows.join(", "));
    [insert("bids", bids), insert("items", items), insert("shelves", shelves)]
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| compare_rows(a, b));
    rows
}

fn text(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    rows.iter().for_each(|row| *counted.entry(format!("{row:?}")).or_default() += 1);
    counted
}

fn local(statements: &[String]) -> Local {
    let mut local = Local::default();
    let tables = TABLES.iter().map(|table| (*table).to_owned());
    for statement in tables.chain(statements.iter().cloned()) {
        local.execute(pontoon_parser::parse_one(&statement).unwrap(), Vec::new()).unwrap();
    }
    local
}

fn ask(local: &mut Local, query: &str) -> Vec<Row> {
    sorted(local.execute(pontoon_parser::parse_one(query).unwrap(), Vec::new()).unwrap().rows)
}

#[test]
fn every_strategy_gives_the_same_rows() {
    for nodes in [1, 7] {
        let mut database = Database::new(nodes);
        let rows = rows(&mut drawn(7));
        let mut reference = local(&rows);
        for statement in TABLES.iter().copied().chain(rows.iter().map(String::as_str)) {
            database.session(statement).unwrap();
        }
        for (at, strategy) in STRATEGIES.into_iter().enumerate() {
            database.session(&format!("SET pontoon.join_strategy = '{strategy}'")).unwrap();
            for (query, at_peers) in QUERIES {
                let expected = ask(&mut reference, query);
                let plan = format!("{:?}", database.session(&format!("EXPLAIN {query}")).unwrap().rows);
                let names = ["HashJoin [buckets]", "HashJoin [owners]", "FetchMatches", "SymmetricSemiJoin"];
                let found: usize = names.iter().map(|name| plan.matches(name).count()).sum();
                assert_eq!(found, at_peers.get(at).copied().unwrap_or(0), "{strategy}, {query}: {plan}");
                let result = database.session(query).unwrap();
                assert_eq!(sorted(result.rows), expected, "{nodes} nodes, {strategy}: {query}");
                assert!(!expected.is_empty(), "{query}");
            }
        }
    }
}

#[test]
fn what_is_found_may_be_larger_than_a_frame() {
    let mut definitions = Definitions::default();
    let mut sim = swarm(&mut definitions);
    let wide = "x".repeat(20_000);
    // Three bids of each of a few items, padded to more than a message between two peers may have.
    let query = format!(
        "SELECT b.id, i.id, '{wide}' || b.amount AS pad FROM bids b JOIN items i ON b.item = i.id WHERE i.id < 40"
    );
    let grouped =
        format!("SELECT '{wide}' || b.id AS pad, count(*) FROM bids b JOIN items i ON b.item = i.id GROUP BY 1");
    for strategy in ["symmetric-hash", "fetch-matches", "semi-join", "broadcast"] {
        for query in [&query, &grouped] {
            let statements = [format!("SET pontoon.join_strategy = '{strategy}'"), query.clone()];
            let mut rows = Vec::new();
            for statement in statements {
                let begun = sim.now_us();
                let ask = sim.ask(1, &mut definitions, &statement, Some(20 * SECOND_US)).unwrap();
                let result = sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0).unwrap();
                assert_eq!(result.coverage, 1.0, "{strategy}");
                assert!(sim.now_us() < begun + 5 * SECOND_US, "{strategy}: nothing was tried again");
                rows = result.rows;
            }
            assert!(rows.len() > 60, "{strategy}: {} rows", rows.len());
        }
    }
}

/// What came of one query.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    exact: usize,
    /// Of coverage 1, where a group had lost its majority: that is said of its region for ever.
    marked: usize,
    short: usize,
    failed: usize,
}

/// Whether an answer is the whole, or says that it is not and is a part of it.
fn judge(query: &str, answer: &Result<QueryResult, Error>, expected: &[Row], counts: &mut Counts) {
    match answer {
        Err(Error::Unreachable) => counts.failed += 1,
        Err(error) => panic!("{query}: {error:?}"),
        Ok(result) if result.coverage == 1.0 && !result.assumed_lost => {
            assert_eq!(sorted(result.rows.clone()), expected, "{query}: coverage 1");
            counts.exact += 1;
        }
        Ok(result) => {
            assert!(result.coverage < 1.0 || result.assumed_lost);
            if result.coverage == 1.0 {
                counts.marked += 1;
            } else {
                counts.short += 1;
            }
            // What is aggregated is another row, not a part of the whole; and of rows that are lost for good nobody knows.
            let has = |words: &[&str]| words.iter().any(|word| query.contains(word));
            let lost = result.assumed_lost && has(&["LEFT", "RIGHT", "FULL", "NOT EXISTS", "NOT IN", "EXCEPT"]);
            if has(&["count(", "LIMIT"]) || lost {
                return;
            }
            let whole = text(expected);
            for (row, count) in text(&result.rows) {
                assert!(count <= whole.get(&row).copied().unwrap_or(0), "{query}: {row} is not in the whole");
            }
        }
    }
}

fn faulty(seed: u64) -> Counts {
    let mut config = SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(seed, 64) };
    config.spike_ppm = 2_000;
    let mut sim = Sim::new(config);
    sim.settle(300 * SECOND_US).unwrap();
    let rows = rows(&mut |bound| sim.draw(bound));
    let mut reference = local(&rows);
    let mut definitions = Definitions::default();
    for statement in TABLES.iter().copied().chain(rows.iter().map(String::as_str)) {
        let ask = sim.ask(1, &mut definitions, statement, None).unwrap();
        sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0).unwrap();
    }
    let mut counts = Counts::default();
    for round in 0..6_u64 {
        let strategy = STRATEGIES[(round % 5) as usize];
        let mut asked = Vec::new();
        let set = sim.ask(1, &mut definitions, &format!("SET pontoon.join_strategy = '{strategy}'"), None).unwrap();
        sim.answers(vec![set], &mut definitions, SECOND_US).remove(0).unwrap();
        for _ in 0..3 {
            let (query, _) = QUERIES[sim.draw(QUERIES.len() as u64) as usize];
            asked.push((query, sim.ask(1, &mut definitions, query, Some(20 * SECOND_US)).unwrap()));
        }
        for _ in 0..2 {
            let pause = sim.draw(500_000);
            sim.run_for(pause);
            let victim = 2 + sim.draw(62) as usize;
            if sim.is_up(victim) {
                let how = if sim.draw(2) == 0 { Crash::Silent } else { Crash::Noticed };
                sim.crash(victim, how);
            }
            if sim.draw(2) == 0 {
                sim.add_node(0);
            }
        }
        let (queries, asks): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let answers = sim.answers(asks, &mut definitions, 60 * SECOND_US);
        for (query, answer) in queries.iter().zip(&answers) {
            judge(query, answer, &ask(&mut reference, query), &mut counts);
        }
        sim.run_for(20 * SECOND_US);
    }
    counts
}

#[test]
fn under_faults_the_whole_or_honestly_less() {
    let all = seeds::each("joins", number("JOINS_SEEDS").unwrap_or(30), |seed| Ok(faulty(seed)));
    let mut total = Counts::default();
    for (_, counts) in &all {
        total.exact += counts.exact;
        total.marked += counts.marked;
        total.short += counts.short;
        total.failed += counts.failed;
    }
    println!("{total:?}");
    assert!(total.exact * 2 > all.len() * 18, "most are whole: {total:?}");
}

/// Numbers that look random, always the same.
fn drawn(mut number: u64) -> impl FnMut(u64) -> u64 {
    move |bound| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) % bound
    }
}

/// Twelve nodes with all tables; node 1 joins by hash.
fn swarm(definitions: &mut Definitions) -> Sim {
    let mut sim = Sim::new(SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(3, 12) });
    sim.settle(300 * SECOND_US).unwrap();
    let rows = rows(&mut drawn(3));
    let setting = "SET pontoon.join_strategy = 'symmetric-hash'";
    for statement in TABLES.iter().copied().chain(rows.iter().map(String::as_str)).chain([setting]) {
        let ask = sim.ask(1, definitions, statement, None).unwrap();
        sim.answers(vec![ask], definitions, 60 * SECOND_US).remove(0).unwrap();
    }
    sim
}

fn held_by_all(sim: &Sim) -> u64 {
    (0..12).map(|node| held(sim, node)).sum()
}

#[test]
fn a_query_that_fails_frees_its_buckets() {
    let mut definitions = Definitions::default();
    let mut sim = swarm(&mut definitions);
    let query = "SELECT 1 / (b.amount - b.amount) FROM bids b JOIN items i ON b.item = i.id";
    let ask = sim.ask(1, &mut definitions, query, Some(20 * SECOND_US)).unwrap();
    let answer = sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0);
    assert_eq!(answer.unwrap_err().code(), "division_by_zero");
    assert!(held_by_all(&sim) > 0, "other buckets wait to be told how much there is");
    sim.run_for(SECOND_US);
    assert_eq!(held_by_all(&sim), 0);
}

#[test]
fn a_query_that_succeeds_frees_its_buckets() {
    let mut definitions = Definitions::default();
    let mut sim = swarm(&mut definitions);
    // Rows of one bid meet at one bucket of many.
    let query = "SELECT b.id, i.name FROM bids b JOIN items i ON b.item = i.id AND b.id < 3";
    let ask = sim.ask(1, &mut definitions, query, Some(20 * SECOND_US)).unwrap();
    sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0).unwrap();
    sim.run_for(SECOND_US);
    assert_eq!(held_by_all(&sim), 0);
}

#[test]
fn an_asker_that_dies_leaves_nothing_behind() {
    let mut definitions = Definitions::default();
    let mut sim = swarm(&mut definitions);
    // The asker dies while its query runs.
    let mut open = sim.ask(1, &mut definitions, QUERIES[0].0, Some(20 * SECOND_US)).unwrap();
    let begun = sim.now_us();
    while held_by_all(&sim) == 0 {
        assert!(sim.now_us() < begun + 5 * SECOND_US, "some bucket is open");
        assert!(sim.look(&mut open, &mut definitions).is_none(), "it goes on");
        sim.run_for(10_000);
    }
    sim.crash(1, Crash::Silent);
    drop(open);
    sim.run_for(30 * SECOND_US);
    assert_eq!(held_by_all(&sim), 0);
}

/// What one node asks and is answered.
fn answer(sim: &mut Sim, definitions: &mut Definitions, sql: &str, patience_us: u64) -> Result<QueryResult, Error> {
    let ask = sim.ask(1, definitions, sql, Some(patience_us)).unwrap();
    sim.answers(vec![ask], definitions, 60 * SECOND_US).remove(0)
}

#[test]
fn a_join_that_nobody_answers_in_time_says_so() {
    let mut counts = Counts::default();
    for cut in 0..3 {
        let mut definitions = Definitions::default();
        let mut sim = swarm(&mut definitions);
        let rows = rows(&mut drawn(3));
        let mut reference = local(&rows);
        // Four of twelve do not hear anybody, and nobody hears them.
        sim.partition(|node| node >= 2 && node % 3 == cut);
        for (at, strategy) in STRATEGIES.into_iter().enumerate() {
            let set = format!("SET pontoon.join_strategy = '{strategy}'");
            answer(&mut sim, &mut definitions, &set, SECOND_US).unwrap();
            for (query, _) in QUERIES.iter().skip(at).step_by(4) {
                let begun = sim.now_us();
                // Sooner than anybody else could vouch for what they have.
                let found = answer(&mut sim, &mut definitions, query, SECOND_US);
                assert!(sim.now_us() < begun + 3 * SECOND_US, "{query}: late by {} us", sim.now_us() - begun);
                judge(query, &found, &ask(&mut reference, query), &mut counts);
            }
            sim.heal();
            sim.run_for(60 * SECOND_US);
            sim.partition(|node| node >= 2 && node % 3 == cut);
        }
    }
    println!("{counts:?}");
    assert!(counts.short > 30, "most are answered in part: {counts:?}");
}

#[test]
fn a_side_that_is_too_large_to_be_sent_everywhere_goes_by_hash() {
    let mut definitions = Definitions::default();
    let mut sim = swarm(&mut definitions);
    for sql in [
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, item INTEGER, text TEXT)",
        "SET pontoon.join_strategy = 'broadcast'",
    ] {
        answer(&mut sim, &mut definitions, sql, 20 * SECOND_US).unwrap();
    }
    let ships = |sim: &Sim| -> u64 {
        let of = |node| sim.inspect(node).and_then(|it| it.counters.get("exchange_ships").copied()).unwrap_or(0);
        (0..12).map(of).sum()
    };
    // The right side is what is sent where the left one has to stay: 90 texts of 2 KB, then 180 of them.
    for (part, too_large) in [(0..90, false), (90..180, true)] {
        let notes: Vec<String> = part.map(|id| format!("({id}, {}, repeat('n', 2000) || {id})", id % 50)).collect();
        let insert = format!("INSERT INTO notes VALUES {}", notes.join(", "));
        answer(&mut sim, &mut definitions, &insert, 20 * SECOND_US).unwrap();
        for (query, large) in [
            ("SELECT b.id, n.text FROM bids b LEFT JOIN notes n ON n.item = b.item", too_large),
            (
                "SELECT b.id FROM bids b WHERE NOT EXISTS (SELECT 1 FROM notes n WHERE n.item = b.item AND n.text < 'nn' || b.id)",
                too_large,
            ),
            // Of these one of each is enough.
            (
                "SELECT b.id FROM bids b WHERE b.item NOT IN (SELECT n.item FROM notes n WHERE n.item IS NOT NULL) AND b.item IS NOT NULL",
                false,
            ),
            (
                "SELECT b.id, n.text, i.name FROM bids b LEFT JOIN notes n ON n.item = b.item LEFT JOIN items i ON i.id = b.item",
                too_large,
            ),
        ] {
            answer(&mut sim, &mut definitions, "SET pontoon.join_strategy = 'gather'", SECOND_US).unwrap();
            let expected = answer(&mut sim, &mut definitions, query, 20 * SECOND_US).unwrap();
            answer(&mut sim, &mut definitions, "SET pontoon.join_strategy = 'broadcast'", SECOND_US).unwrap();
            let before = ships(&sim);
            let found = answer(&mut sim, &mut definitions, query, 20 * SECOND_US).unwrap();
            let shipped = ships(&sim) - before;
            assert_eq!((found.coverage, expected.coverage), (1.0, 1.0), "{query}");
            assert!(!expected.rows.is_empty(), "{query}");
            assert_eq!(sorted(found.rows), sorted(expected.rows), "{query}");
            let analyzed =
                answer(&mut sim, &mut definitions, &format!("EXPLAIN ANALYZE {query}"), 20 * SECOND_US).unwrap();
            assert_eq!(format!("{:?}", analyzed.rows).contains("fell_back 1"), large, "{query}: {:?}", analyzed.rows);
            assert_eq!(shipped > 0, large, "{query}: {shipped} ships");
        }
    }
}

fn held(sim: &Sim, node: usize) -> u64 {
    let inspect = if sim.is_up(node) { sim.inspect(node) } else { None };
    inspect.map_or(0, |it| it.counters.get("exchange_buckets").copied().unwrap_or(0))
}
