//! Scenarios of the simulated network.

use std::time::Instant;

use pontoon_core::{CallId, Command, Id, Reply};
use pontoon_tests::{
    scenario::{Counted, Scale},
    sim::{Crash, Latency, Sim, SimConfig},
};

use crate::report::{Options, Report};

const SECOND_US: u64 = 1_000_000;
/// Between two joins of a large network, unless the command line says otherwise.
const JOIN_US: u64 = 2_000;

pub fn settled(config: &SimConfig) -> Result<(Scale, f64), String> {
    let mut scale = Scale::new(config.clone());
    let mut watch = |sim: &mut Sim| {
        let seconds = sim.now_us() / SECOND_US;
        if let Err(unsettled) = sim.settled()
            && seconds.is_multiple_of(20)
        {
            eprintln!("after {seconds} virtual seconds: {unsettled}");
        }
    };
    let took = scale.sim.settle_watched(300 * SECOND_US, &mut watch).map_err(|unsettled| unsettled.to_string())?;
    Ok((scale, took as f64 / 1e6))
}

/// A network without a supernode that the others join quickly, unless the command line says otherwise.
pub fn alone(options: &Options, nodes: usize) -> SimConfig {
    let mut config = options.network(nodes);
    config.supernode = options.supernode.unwrap_or(false);
    config.join_every_us = options.join_us.unwrap_or(JOIN_US);
    config
}

/// The `broadcast` scenario: to a network at rest, and again right after a twentieth of it crashed.
pub fn broadcast(report: &Report) -> Result<(), String> {
    let config = alone(&report.options, 1_000);
    let Latency::Fixed(latency) = config.latency else { return Err("hops need a fixed latency".to_owned()) };
    let (mut scale, settled_s) = settled(&config)?;
    report.simulated(&config, "broadcast", "settled_s", settled_s, "s", &[]);
    for crashed in [0, config.nodes / 20] {
        for _ in 0..crashed {
            let (victim, silent) = (scale.any_node(), scale.sim.draw(2) == 0);
            scale.sim.crash(victim, if silent { Crash::Silent } else { Crash::Noticed });
        }
        let (begun, live) = (scale.sim.now_us(), scale.sim.live().len());
        let cast = scale.broadcast();
        let more = [("crashed", crashed.to_string())];
        let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
        let figure =
            |name: &str, value: f64, unit: &str| report.simulated(&config, "broadcast", name, value, unit, &more);
        figure("live", live as f64, "nodes");
        figure("messages", cast.messages as f64, "messages");
        figure("reached", cast.once as f64, "nodes");
        figure("repeated", cast.repeated as f64, "nodes");
        figure("coverage", cast.coverage, "");
        if crashed == 0 {
            figure("hops_max", cast.last_us.saturating_sub(begun) as f64 / latency as f64, "hops");
        } else {
            figure("last_s", cast.last_us.saturating_sub(begun) as f64 / 1e6, "s");
        }
    }
    Ok(())
}

/// The `dht-lookup` scenario: messages to the owners of random keys, and one asker's to the same keys again. Hops are
/// counted by the clock, every hop being paid the same latency.
pub fn dht_lookup(report: &Report) -> Result<(), String> {
    let sizes = report.options.nodes.map_or(vec![100, 1_000, 10_000], |nodes| vec![nodes]);
    sizes.into_iter().try_for_each(|nodes| lookups(report, nodes))
}

fn lookups(report: &Report, nodes: usize) -> Result<(), String> {
    const LOOKUPS: u32 = 2_000;
    const REPEATED: u32 = 20;
    const TIMES: u32 = 10;
    let begun = Instant::now();
    let config = alone(&report.options, nodes);
    let Latency::Fixed(latency) = config.latency else { return Err("hops need a fixed latency".to_owned()) };
    let (mut scale, settled_s) = settled(&config)?;
    let mut correct = 0;
    // All at once: they hardly meet, and a large network need not live through one after the other.
    let mut look_up = |scale: &mut Scale, asked: &[(usize, u32)]| {
        scale.sim.take_deliveries();
        let sent_us = scale.sim.now_us();
        let send = |(node, number): &(usize, u32)| {
            let key = number.to_be_bytes().to_vec();
            (*node, Command::Send { namespace: "lookup".to_owned(), key, payload: Vec::new() })
        };
        let commands: Vec<(usize, Command)> = asked.iter().map(send).collect();
        let calls: Vec<CallId> = commands.into_iter().map(|(node, command)| scale.sim.command(node, command)).collect();
        let answers = scale.sim.wait(&calls, 30 * SECOND_US);
        for ((_, number), answer) in asked.iter().zip(answers) {
            let owner = scale.sim.owner_of(&Id::object("lookup", &number.to_be_bytes(), 0));
            let owner = owner.map(|owner| scale.sim.id(owner));
            correct += usize::from(matches!(answer, Some(Ok(Reply::Delivered(to))) if Some(to) == owner));
        }
        let deliveries = scale.sim.take_deliveries();
        deliveries.iter().map(|delivery| (delivery.at_us - sent_us) / latency).collect::<Vec<u64>>()
    };
    let random: Vec<(usize, u32)> = (0..LOOKUPS).map(|number| (scale.any_node(), number)).collect();
    let mut hops = look_up(&mut scale, &random);
    let repeated: Vec<(usize, u32)> = (0..REPEATED).map(|number| (scale.any_node(), LOOKUPS + number)).collect();
    look_up(&mut scale, &repeated);
    let mut again = Vec::new();
    for _ in 0..TIMES {
        again.extend(look_up(&mut scale, &repeated));
        scale.sim.run_for(SECOND_US / 2);
    }
    hops.sort_unstable();
    let asked = LOOKUPS + REPEATED * (1 + TIMES);
    let links = |node| scale.sim.inspect(node).map_or(0, |inspect| inspect.links.len());
    let ordinary = usize::from(config.supernode);
    let links: Vec<usize> = scale.sim.live().into_iter().skip(ordinary).map(links).collect();
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "dht-lookup", name, value, unit, &[]);
    let mean = |of: &[u64]| of.iter().sum::<u64>() as f64 / of.len().max(1) as f64;
    figure("settled_s", settled_s, "s");
    figure("hops_mean", mean(&hops), "hops");
    figure("hops_p99", hops.get(hops.len() * 99 / 100).copied().unwrap_or(0) as f64, "hops");
    // Each digit of two bits that differs is a hop, and one in four agrees by chance.
    figure("hops_theory", 0.75 * (config.nodes as f64).log(4.0), "hops");
    figure("hops_repeat_mean", mean(&again), "hops");
    figure("owner_correct", correct as f64 / f64::from(asked), "");
    figure("links_mean", links.iter().sum::<usize>() as f64 / links.len().max(1) as f64, "links");
    figure("links_max", links.iter().copied().max().unwrap_or(0) as f64, "links");
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
