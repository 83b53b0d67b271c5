//! EXPLAIN ANALYZE on a network: what each operator gave and when, and how far what is read of peers went.

use pontoon_core::{data::Value, sql::asking::Definitions};
use pontoon_tests::sim::{Signing, Sim, SimConfig};

const SECOND_US: u64 = 1_000_000;
/// A message takes so long, milliseconds.
const HOP_MS: f64 = 50.0;

const GATHER: &str = "SELECT kind, count(*) FROM boats WHERE length > 10 GROUP BY kind ORDER BY kind";
const JOIN: &str = "SELECT b.id, t.goal FROM boats b JOIN trips t ON t.boat = b.id WHERE b.length > 10";
const DEEP: &str =
    "SELECT b.kind, u.id FROM boats b JOIN trips t ON t.boat = b.id JOIN trips u ON u.goal = t.goal AND u.id < t.id
    WHERE b.length = 7";
const CHAIN: &str = "SELECT b.kind, t.goal FROM trips t JOIN boats b ON b.id = t.boat WHERE t.id = 7";

/// Forty nodes, and what the asker remembers.
fn swarm() -> (Sim, Definitions) {
    let mut sim = Sim::new(SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(9, 40) });
    sim.settle(300 * SECOND_US).unwrap();
    let mut definitions = Definitions::default();
    let rows = |count: u64, row: &dyn Fn(u64) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
    for statement in [
        "CREATE TABLE boats (id INTEGER PRIMARY KEY, kind TEXT, length INTEGER)",
        "CREATE TABLE trips (id INTEGER PRIMARY KEY, boat INTEGER, goal TEXT)",
        &format!("INSERT INTO boats VALUES {}", rows(200, &|id| format!("({id}, 'kind {}', {})", id % 3, id % 20))),
        &format!("INSERT INTO trips VALUES {}", rows(300, &|id| format!("({id}, {}, 'goal {}')", id % 220, id % 11))),
    ] {
        ask(&mut sim, &mut definitions, statement);
    }
    (sim, definitions)
}

/// The lines of the one column that EXPLAIN gives.
fn ask(sim: &mut Sim, definitions: &mut Definitions, text: &str) -> Vec<String> {
    let mut ask = sim.ask(1, definitions, text, None).unwrap();
    // Step by step: the asker hears of each answer when it comes.
    let until = sim.now_us() + 30 * SECOND_US;
    while sim.now_us() < until {
        if let Some(result) = sim.look(&mut ask, definitions) {
            return result.unwrap().rows.iter().map(|row| row[0].to_string()).collect();
        }
        sim.run_for(1_000);
    }
    unreachable!("{text}: it ends");
}

/// The number behind a name.
fn measured(line: &str, name: &str) -> Option<f64> {
    let (_, measures) = line.rsplit_once(" (")?;
    let named =
        measures.trim_end_matches(')').split(", ").find_map(|measure| measure.strip_prefix(name)?.strip_prefix(' '));
    named?.parse().ok()
}

/// Lines without what depends on when peers were asked and on how they encode.
fn masked(lines: &[String]) -> String {
    let mask = |line: &String| match line.rsplit_once(" (rows") {
        Some((operator, measures)) => {
            let measures: Vec<String> = format!("rows{}", measures.trim_end_matches(')'))
                .split(", ")
                .map(|measure| match measure.split_once(' ') {
                    Some((name @ ("asked_ms" | "first_ms" | "ms" | "messages" | "bytes" | "hops"), _)) => {
                        format!("{name} _")
                    }
                    _ => measure.to_owned(),
                })
                .collect();
            format!("{operator} ({})", measures.join(", "))
        }
        None => line.clone(),
    };
    lines.iter().map(mask).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_gather_says_how_far_it_went_and_when_it_came() {
    let (mut sim, mut definitions) = swarm();
    let lines = ask(&mut sim, &mut definitions, &format!("EXPLAIN ANALYZE {GATHER}"));
    println!("{}", lines.join("\n"));
    assert_eq!(masked(&lines), GATHERED);
    let gather = lines.iter().find(|line| line.trim_start().starts_with("Gather")).unwrap();
    let of = |name| measured(gather, name).unwrap();
    assert!(of("hops") >= 1.0 && of("hops") <= 6.0);
    assert!(of("ms") - of("asked_ms") >= 2.0 * HOP_MS * of("hops"), "there and back: {gather}");
    assert_eq!(of("first_ms"), of("ms"), "it comes at once");
    let (top, total) = (&lines[0], lines.last().unwrap());
    assert!(measured(top, "ms") >= measured(gather, "ms") && measured(total, "ms") >= measured(top, "ms"));
    let json = ask(&mut sim, &mut definitions, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {GATHER}")).remove(0);
    for name in ["first_ms", "ms", "hops", "records_least", "records_most"] {
        let number = json.split(&format!("\"{name}\": ")).nth(1).and_then(|rest| rest.split([',', '}']).next());
        assert!(number.is_some_and(|number| number.trim().parse::<f64>().is_ok()), "{name}: {json}");
    }
}

#[test]
fn a_source_that_waits_is_asked_later() {
    let (mut sim, mut definitions) = swarm();
    let lines = ask(&mut sim, &mut definitions, &format!("EXPLAIN ANALYZE {CHAIN}"));
    println!("{}", lines.join("\n"));
    let first = lines.iter().find(|line| line.contains("KeyLookup")).unwrap();
    let waits = lines.iter().find(|line| line.contains("SemiJoin")).unwrap();
    assert!(measured(first, "ms") > measured(first, "asked_ms"));
    assert_eq!(measured(waits, "asked_ms"), measured(first, "ms"));
    assert!(measured(waits, "ms") > measured(waits, "asked_ms"));
    assert_eq!(measured(&lines[0], "ms"), measured(waits, "ms"));
}

#[test]
fn a_join_at_peers_says_how_far_it_went() {
    let (mut sim, mut definitions) = swarm();
    for strategy in ["symmetric-hash", "bloom", "broadcast", "fetch-matches", "semi-join", "gather"] {
        ask(&mut sim, &mut definitions, &format!("SET pontoon.join_strategy = '{strategy}'"));
        let lines = ask(&mut sim, &mut definitions, &format!("EXPLAIN ANALYZE {JOIN}"));
        println!("{}", lines.join("\n"));
        let gather = lines.iter().find(|line| line.trim_start().starts_with("Gather")).unwrap();
        let of = |name| measured(gather, name).unwrap();
        assert!(of("hops") >= 1.0 && of("ms") - of("asked_ms") >= 2.0 * HOP_MS * of("hops"), "{strategy}: {gather}");
        assert!(of("records_least") < of("records_most") && of("records_most") < of("records"), "{strategy}: {gather}");
        if strategy == "symmetric-hash" {
            assert_eq!(masked(&lines), HASHED);
        }
        if strategy != "gather" {
            add_up(&lines);
        }
    }
}

/// What the parts of a join took is what all of it took.
fn add_up(lines: &[String]) {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let asked = |line: &String| ["Gather", "Exchange"].iter().any(|name| line.trim_start().starts_with(name));
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| asked(line)) {
        let below = lines[at + 1..].iter().take_while(|below| depth(below) > depth(line));
        let parts: Vec<&String> = below.filter(|line| measured(line, "messages").is_some()).collect();
        let Some(least) = parts.iter().map(|line| depth(line)).min() else { continue };
        // Where pairs are found stands above the sides.
        let sides = parts.iter().filter(|line| line.trim_start().starts_with("Exchange")).map(|line| depth(line)).min();
        let direct = parts.iter().filter(|line| depth(line) == least || Some(depth(line)) == sides);
        for name in ["messages", "bytes"] {
            let sum: f64 = direct.clone().filter_map(|line| measured(line, name)).sum();
            assert_eq!(measured(line, name), Some(sum), "{name} of {line}");
        }
        let ended = parts.iter().filter_map(|line| measured(line, "ms")).fold(0.0, f64::max);
        assert!(measured(line, "ms").is_some_and(|ms| ms >= ended), "{line}");
    }
}

#[test]
fn a_join_of_joins_says_so_of_each() {
    let (mut sim, mut definitions) = swarm();
    for strategy in ["symmetric-hash", "bloom", "broadcast"] {
        ask(&mut sim, &mut definitions, &format!("SET pontoon.join_strategy = '{strategy}'"));
        let lines = ask(&mut sim, &mut definitions, &format!("EXPLAIN ANALYZE {DEEP}"));
        println!("{}", lines.join("\n"));
        let exchanges: Vec<&String> = lines.iter().filter(|line| line.trim_start().starts_with("Exchange")).collect();
        assert_eq!(exchanges.len(), 4, "{strategy}");
        add_up(&lines);
    }
    let json = ask(&mut sim, &mut definitions, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {DEEP}")).remove(0);
    assert!(json.split("\"operator\": \"Exchange\"").skip(1).all(|part| part.contains("\"messages\": ")), "{json}");
}

#[test]
fn without_a_clock_nothing_is_said_of_times() {
    let mut local = pontoon_core::exec::local::Local::new();
    let mut run = |text: &str| local.execute(pontoon_parser::parse_one(text).unwrap(), Vec::new()).unwrap().rows;
    run("CREATE TABLE t (a INTEGER PRIMARY KEY)");
    for row in run("EXPLAIN ANALYZE SELECT count(*) FROM t") {
        assert!(matches!(&row[0], Value::Text(line) if !line.contains("ms ")), "{row:?}");
    }
}

const GATHERED: &str = "\
Sort [asker] kind (rows 3, first_ms _, ms _)
  Project [asker] boats.kind, count(*) (rows 3, first_ms _, ms _)
    Aggregate [asker] final count(*) by boats.kind (rows 3, first_ms _, ms _)
      Gather [exchange] boats: partial aggregates, combined up the region tree (rows 3, asked_ms _, first_ms _, ms _, \
     records 200, messages _, bytes _, peers 40, hops _, records_least 0, records_most 16)
        Aggregate [owners] partial count(*) by boats.kind
          Project [owners] boats.kind
            Filter [owners] boats.length > 10
              Scan [owners] boats (boats.kind, boats.length)
Total [asker] (rows 3, coverage 1, ms _, messages _, bytes _, peers 40)";

const HASHED: &str = "\
Gather [exchange] b with t: found at the buckets, sent to the asker (rows 126, asked_ms _, first_ms _, ms _, \
     records 500, messages _, bytes _, peers 40, hops _, records_least 0, records_most 29)
  Project [buckets] b.id, t.goal (rows 126, first_ms _, ms _, messages _, bytes _)
    HashJoin [buckets] inner on b.id = t.boat
      Exchange [exchange] b: by the hash of what must be equal, to up to 64 buckets (rows 90, asked_ms _, ms _, \
     records 200, messages _, bytes _, peers 40, hops _, records_least 0, records_most 16)
        Project [owners] b.id
          Filter [owners] b.length > 10
            Scan [owners] b (b.id, b.length)
      Exchange [exchange] t: by the hash of what must be equal, to up to 64 buckets (rows 300, asked_ms _, ms _, \
     records 300, messages _, bytes _, peers 40, hops _, records_least 0, records_most 29)
        Scan [owners] t (t.boat, t.goal)
Total [asker] (rows 126, coverage 1, ms _, messages _, bytes _, peers 40)";
