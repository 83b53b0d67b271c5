//! Scenarios of the simulated network.

use std::time::Instant;

use pontoon_core::{Command, Id, Reply};
use pontoon_tests::{
    scenario::{Counted, Scale},
    sim::{Latency, SimConfig},
};

use crate::report::Report;

const SECOND_US: u64 = 1_000_000;

fn settled(config: &SimConfig) -> Result<(Scale, f64), String> {
    let mut scale = Scale::new(config.clone());
    let took = scale.sim.settle(300 * SECOND_US).map_err(|unsettled| unsettled.to_string())?;
    Ok((scale, took as f64 / 1e6))
}

/// The `broadcast` scenario.
pub fn broadcast(report: &Report) -> Result<(), String> {
    let config = report.options.network(1_000);
    let (mut scale, settled_s) = settled(&config)?;
    let begun = scale.sim.now_us();
    let cast = scale.broadcast();
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "broadcast", name, value, unit, &[]);
    figure("settled_s", settled_s, "s");
    figure("messages", cast.messages as f64, "messages");
    figure("reached", cast.once as f64, "nodes");
    figure("coverage", cast.coverage, "");
    if let Latency::Fixed(latency) = config.latency {
        figure("hops_max", cast.last_us.saturating_sub(begun) as f64 / latency as f64, "hops");
    }
    Ok(())
}

/// The `dht-lookup` scenario: hops are counted by the clock, every hop being paid the same latency.
pub fn dht_lookup(report: &Report) -> Result<(), String> {
    let begun = Instant::now();
    let config = report.options.network(1_000);
    let Latency::Fixed(latency) = config.latency else { return Err("hops need a fixed latency".to_owned()) };
    let (mut scale, _) = settled(&config)?;
    scale.sim.take_deliveries();
    let (mut hops, mut correct) = (Vec::new(), 0);
    for number in 0..1_000_u32 {
        let key = number.to_be_bytes().to_vec();
        let node = scale.any_node();
        let sent_us = scale.sim.now_us();
        let owner = scale.sim.owner_of(&Id::object("lookup", &key, 0)).map(|owner| scale.sim.id(owner));
        let command = Command::Send { namespace: "lookup".to_owned(), key, payload: Vec::new() };
        if let Some(Ok(Reply::Delivered(to))) = scale.sim.call(node, command, 30 * SECOND_US) {
            correct += usize::from(Some(to) == owner);
        }
        hops.extend(scale.sim.take_deliveries().iter().map(|delivery| (delivery.at_us - sent_us) / latency));
    }
    hops.sort_unstable();
    let links = |node| scale.sim.inspect(node).map_or(0, |inspect| inspect.links.len());
    let links_max = scale.sim.live().into_iter().skip(1).map(links).max().unwrap_or(0);
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "dht-lookup", name, value, unit, &[]);
    figure("hops_mean", hops.iter().sum::<u64>() as f64 / hops.len().max(1) as f64, "hops");
    figure("hops_p99", hops.get(hops.len() * 99 / 100).copied().unwrap_or(0) as f64, "hops");
    figure("hops_theory", (config.nodes as f64).log2() / 2.0, "hops");
    figure("owner_correct", f64::from(correct as u32) / 1_000.0, "");
    figure("links_max", links_max as f64, "links");
    figure("wall_s", begun.elapsed().as_secs_f64(), "s");
    Ok(())
}

/// The `scan-exact` scenario: runs on a fresh network each, as a crashed twentieth is not to be repeated.
pub fn scan_exact(report: &Report) -> Result<(), String> {
    let config = report.options.network(300);
    let (mut exact, mut short, mut wrong) = (0, 0, 0);
    for run in 0..3 {
        let (mut scale, _) = settled(&SimConfig { seed: config.seed + run, ..config.clone() })?;
        let inserted = scale.insert(200);
        if inserted != 200 {
            return Err(format!("{inserted} of 200 rows inserted"));
        }
        for counted in scale.count(5, config.nodes / 20) {
            match counted {
                Counted::Exact => exact += 1,
                Counted::Partial(_) | Counted::Failed => short += 1,
                Counted::Wrong(_) => wrong += 1,
            }
        }
    }
    let figure =
        |name: &str, value: i32| report.simulated(&config, "scan-exact", name, f64::from(value), "queries", &[]);
    figure("runs", exact + short + wrong);
    figure("exact", exact);
    figure("short_and_said_so", short);
    figure("wrong", wrong);
    Ok(())
}

/// The `sim-speed` scenario: joining within 20 s without a supernode, settling, and 60 s more.
pub fn sim_speed(report: &Report) -> Result<(), String> {
    let mut config = report.options.network(1_000);
    config.supernode = report.options.supernode.unwrap_or(false);
    config.join_every_us = report.options.join_us.unwrap_or(20 * SECOND_US / config.nodes.max(1) as u64);
    let begun = Instant::now();
    let (mut scale, settled_s) = settled(&config)?;
    let (settled_wall_s, before) = (begun.elapsed().as_secs_f64(), scale.sim.stats());
    scale.sim.run_for(60 * SECOND_US);
    let (wall_s, after) = (begun.elapsed().as_secs_f64(), scale.sim.stats());
    let virtual_s = scale.sim.now_us() as f64 / 1e6;
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "sim-speed", name, value, unit, &[]);
    figure("virtual_s", virtual_s, "s");
    figure("settled_s", settled_s, "s");
    figure("wall_s", wall_s, "s");
    figure("settled_wall_s", settled_wall_s, "s");
    figure("events_per_s", after.events as f64 / wall_s, "1/s");
    figure("events_per_node_s", (after.events - before.events) as f64 / 60.0 / config.nodes as f64, "1/s");
    figure("wall_us_per_node_s", wall_s * 1e6 / virtual_s / config.nodes as f64, "us");
    figure("maintenance_bytes_per_node_s", (after.bytes - before.bytes) as f64 / 60.0 / config.nodes as f64, "B/s");
    figure("threads", config.threads as f64, "");
    match resident_bytes() {
        Some(bytes) => {
            figure("rss_bytes", bytes, "B");
            figure("rss_bytes_per_node", bytes / config.nodes as f64, "B");
        }
        None => eprintln!("sim-speed: this system does not tell how much memory a process has"),
    }
    println!(
        "{}",
        serde_json::json!({"scenario": "sim-speed", "figure": "trace", "value": format!("{:016x}", scale.sim.hash())})
    );
    Ok(())
}

/// What Linux says of this process.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok().map(|kib: f64| kib * 1_024.0)
}
