//! `live`: how long from a write's commit to its change at who asks, in seconds and in one-way latencies, and whether views
//! are what a fresh query gives afterwards.
//!
//! Every pair of nodes is equally far apart (100 ms unless given). A write is committed when its owner knows it on a
//! majority of disks, which is when the owner's application is told of it (`onData`). `first_result_s` is the time until a query
//! has its first result. One one-way latency is the least that word of a write can take.

use std::collections::BTreeMap;

use pontoon_core::Command;
use pontoon_tests::{
    live::Living,
    sim::{Latency, Sim},
};
use serde_json::json;

use crate::report::Report;

const SECOND_US: u64 = 1_000_000;
const ROWS: usize = 200;
const QUERIES: [(&str, &str); 4] = [
    ("filter", "SELECT id, amount FROM bids WHERE amount >= 0"),
    ("join", "SELECT b.id, b.amount, i.name FROM bids b JOIN items i ON b.item = i.id"),
    ("group", "SELECT i.name, count(*), sum(b.amount) FROM bids b JOIN items i ON b.item = i.id GROUP BY i.name"),
    ("top", "SELECT id, amount FROM bids ORDER BY amount DESC, id LIMIT 10"),
];

/// The `live` scenario.
pub fn live(report: &Report) -> Result<(), String> {
    let mut config = report.options.network(100);
    let one_way_us = report.options.latency_ms.unwrap_or(100) * 1_000;
    config.latency = Latency::Fixed(one_way_us);
    let (nodes, seed) = (config.nodes, config.seed);
    let mut sim = Sim::new(config);
    sim.settle(600 * SECOND_US).map_err(|unsettled| unsettled.to_string())?;
    let failed = |error: pontoon_core::Error| error.to_string();
    sim.sql(1, "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)").map_err(failed)?;
    sim.sql(1, "CREATE TABLE bids (id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER)").map_err(failed)?;
    let items: Vec<String> = (0..20).map(|id| format!("({id}, 'item {id}')")).collect();
    sim.sql(1, &format!("INSERT INTO items VALUES {}", items.join(", "))).map_err(failed)?;
    let bids: Vec<String> = (0..ROWS).map(|id| format!("({id}, {}, {id})", id % 20)).collect();
    sim.sql(1, &format!("INSERT INTO bids VALUES {}", bids.join(", "))).map_err(failed)?;
    let namespace = sim.sql(1, "SELECT namespace FROM pontoon_tables WHERE name = 'bids'").map_err(failed)?;
    let pontoon_core::data::Value::Text(namespace) = namespace.rows[0][0].clone() else {
        return Err("no namespace".to_owned());
    };
    for node in 0..nodes {
        sim.command(node, Command::Subscribe { namespace: namespace.clone(), on: true });
    }
    sim.run_for(SECOND_US);

    let figure = |name: &str, value: f64, unit: &str, more: &[(&str, serde_json::Value)]| {
        let all = [&[("nodes", json!(nodes)), ("seed", json!(seed))], more].concat();
        report.measured("live", name, value, unit, &all);
    };
    let mut livings: Vec<Living> = Vec::new();
    for (at, (op, text)) in QUERIES.iter().enumerate() {
        let begun_us = sim.now_us();
        let mut living = sim.begin_live(nodes / 2 + at, text).map_err(failed)?;
        while living.changes == 0 && sim.now_us() < begun_us + 60 * SECOND_US {
            sim.run_for(1_000);
            sim.attend(&mut living);
        }
        figure("first_result_s", (sim.now_us() - begun_us) as f64 / 1e6, "s", &[("op", json!(op))]);
        livings.push(living);
    }

    let writes = report.options.ops.unwrap_or(100);
    let mut latencies: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    sim.take_new_data();
    for write in 0..writes {
        let (writer, id) = (sim.draw(nodes as u64) as usize, sim.draw(ROWS as u64));
        let text = format!("UPDATE bids SET amount = {} WHERE id = {id}", 1_000 + write);
        let mut definitions = Default::default();
        let mut ask = sim.ask(writer, &mut definitions, &text, None).map_err(failed)?;
        let (mut committed_us, mut seen) = (None, vec![false; livings.len()]);
        let until_us = sim.now_us() + 20 * SECOND_US;
        while !seen.iter().all(|seen| *seen) && sim.now_us() < until_us {
            sim.run_for(1_000);
            sim.look(&mut ask, &mut definitions);
            if !sim.take_new_data().is_empty() {
                committed_us = Some(sim.now_us());
            }
            for (at, living) in livings.iter_mut().enumerate() {
                let changes = sim.attend(living);
                if changes.iter().any(|change| !change.added.is_empty()) {
                    seen[at] = true;
                    let committed_us = committed_us.ok_or("a change that was not committed")?;
                    latencies.entry(QUERIES[at].0).or_default().push(sim.now_us() - committed_us);
                }
            }
        }
    }
    for (op, mut all) in latencies {
        all.sort_unstable();
        for (name, at) in [("delta_latency_s", all.len() / 2), ("delta_latency_p95_s", all.len() * 95 / 100)] {
            let us = all[at.min(all.len() - 1)] as f64;
            let hops = json!((us / one_way_us as f64 * 100.0).round() / 100.0);
            figure(
                name,
                us / 1e6,
                "s",
                &[("op", json!(op)), ("one_way_latencies", hops), ("writes", json!(all.len()))],
            );
        }
    }
    let mut equal = 0;
    for ((_, text), living) in QUERIES.iter().zip(&mut livings) {
        let sorted = |rows: &[pontoon_core::data::Row]| {
            let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
            if !text.contains("ORDER BY") {
                rows.sort();
            }
            rows
        };
        let fresh = sim.sql(1, text).map_err(failed)?;
        sim.attend(living);
        equal += usize::from(sorted(&fresh.rows) == sorted(living.rows()) && living.adds_up());
    }
    figure("views_equal", equal as f64 / QUERIES.len() as f64, "", &[("views", json!(QUERIES.len()))]);
    Ok(())
}
