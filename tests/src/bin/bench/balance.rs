//! `store-balance`: what locality bits cost and what they buy. With `L` bits a namespace lies in one part in `2^L` of
//! the key space: a scan meets fewer peers, and fewer peers carry the records.
//!
//! One network; for each `L` [`TABLES`] tables with the same rows. `load_max_over_mean` is of records held by a node,
//! copies included: of all tables together (`of` = `all`), and of each table alone, averaged (`of` = `one`).

use std::collections::{BTreeMap, BTreeSet};

use pontoon_core::{data::Value, sql::asking::Definitions};
use pontoon_tests::sim::Sim;
use serde_json::json;

use crate::report::Report;

const BITS: [u8; 5] = [0, 2, 4, 6, 8];
const TABLES: usize = 16;
const ROWS: usize = 200;
const BATCH_ROWS: usize = 50;
const SECOND_US: u64 = 1_000_000;

/// The `store-balance` scenario.
pub fn store_balance(report: &Report) -> Result<(), String> {
    let config = report.options.network(300);
    let mut sim = Sim::new(config.clone());
    sim.settle(300 * SECOND_US).map_err(|unsettled| unsettled.to_string())?;
    for bits in BITS {
        let known = held(&sim).into_keys().collect();
        sim.set_locality_bits(bits);
        let tables: Vec<String> = (0..TABLES).map(|table| format!("t{bits}_{table}")).collect();
        fill(&mut sim, &tables)?;
        let scans = scan(&mut sim, &tables)?;
        let (one, all) = loads(&sim, &known)?;
        let count = scans.len() as f64;
        let mean = |of: fn(&Scan) -> u64| scans.iter().map(|scan| of(scan) as f64).sum::<f64>() / count;
        let figure = |name: &str, value: f64, unit: &str, of: Option<&str>| {
            let mut more = vec![
                ("locality_bits", json!(bits)),
                ("nodes", json!(config.nodes)),
                ("seed", json!(config.seed)),
                ("namespaces", json!(TABLES)),
                ("records", json!(TABLES * ROWS)),
            ];
            more.extend(of.map(|of| ("of", json!(of))));
            report.measured("store-balance", name, value, unit, &more);
        };
        figure("load_max_over_mean", one, "", Some("one"));
        figure("load_max_over_mean", all, "", Some("all"));
        figure("peers_per_scan", mean(|scan| scan.peers), "peers", None);
        figure("messages_per_scan", mean(|scan| scan.messages), "messages", None);
        figure("scan_ms", mean(|scan| scan.took_us) / 1e3, "ms", None);
    }
    Ok(())
}

/// Runs statements at random nodes, some at a time; fails if one fails.
fn statements(sim: &mut Sim, texts: &[String]) -> Result<(), String> {
    for texts in texts.chunks(32) {
        let (mut definitions, mut asks) = (Definitions::default(), Vec::new());
        for text in texts {
            let node = sim.draw(sim.len() as u64) as usize;
            asks.push(sim.ask(node, &mut definitions, text, None).map_err(|error| error.to_string())?);
        }
        for (text, answer) in texts.iter().zip(sim.answers(asks, &mut definitions, 120 * SECOND_US)) {
            answer.map_err(|error| format!("{text:.60}: {error}"))?;
        }
    }
    Ok(())
}

fn fill(sim: &mut Sim, tables: &[String]) -> Result<(), String> {
    let create: Vec<String> =
        tables.iter().map(|table| format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, note TEXT)")).collect();
    statements(sim, &create)?;
    let mut inserts = Vec::new();
    for table in tables {
        for first in (0..ROWS).step_by(BATCH_ROWS) {
            let rows: Vec<String> = (first..first + BATCH_ROWS).map(|id| format!("({id}, 'note {id}')")).collect();
            inserts.push(format!("INSERT INTO {table} VALUES {}", rows.join(", ")));
        }
    }
    statements(sim, &inserts)
}

/// What one scan cost.
struct Scan {
    peers: u64,
    messages: u64,
    took_us: u64,
}

/// Counts each table at a random node, which knows its definition already.
fn scan(sim: &mut Sim, tables: &[String]) -> Result<Vec<Scan>, String> {
    let mut scans = Vec::new();
    for table in tables {
        let node = sim.draw(sim.len() as u64) as usize;
        let mut definitions = Definitions::default();
        for known in [false, true] {
            let text = format!("SELECT count(*) FROM {table}");
            let begun_us = sim.now_us();
            let ask = sim.ask(node, &mut definitions, &text, None).map_err(|error| error.to_string())?;
            let answer = sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0);
            let result = answer.map_err(|error| format!("{text}: {error}"))?;
            if result.coverage < 1.0 || result.rows != [vec![Value::Integer(ROWS as i64)]] {
                return Err(format!("{text}: {:?} with coverage {}", result.rows, result.coverage));
            }
            if known {
                let cost = result.cost;
                scans.push(Scan { peers: cost.peers, messages: cost.messages, took_us: sim.now_us() - begun_us });
            }
        }
    }
    Ok(scans)
}

/// Records held, copies included, by namespace and node.
fn held(sim: &Sim) -> BTreeMap<String, Vec<usize>> {
    let mut held: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for node in 0..sim.len() {
        let Some(seen) = sim.inspect(node) else { continue };
        for space in seen.store.namespaces {
            held.entry(space.namespace).or_insert_with(|| vec![0; sim.len()])[node] = space.records;
        }
    }
    held
}

/// The largest load over the mean: of the new tables, each alone and averaged, and of all of them together.
fn loads(sim: &Sim, known: &BTreeSet<String>) -> Result<(f64, f64), String> {
    let held = held(sim);
    let new: Vec<&Vec<usize>> = held.iter().filter(|(name, _)| !known.contains(*name)).map(|(_, held)| held).collect();
    let tables: Vec<&&Vec<usize>> = new.iter().filter(|held| held.iter().sum::<usize>() >= ROWS).collect();
    if tables.len() != TABLES {
        return Err(format!("{} namespaces with rows, {TABLES} tables", tables.len()));
    }
    let ratio = |load: &[usize]| {
        let mean = load.iter().sum::<usize>() as f64 / load.len() as f64;
        load.iter().max().map_or(0.0, |max| *max as f64 / mean)
    };
    let one = tables.iter().map(|load| ratio(load)).sum::<f64>() / TABLES as f64;
    let all: Vec<usize> = (0..sim.len()).map(|node| tables.iter().map(|load| load[node]).sum()).collect();
    Ok((one, ratio(&all)))
}
