//! `dht-ops`: puts and gets of 1 kB values from random nodes of one process, in real time, one at a time and 16 at a
//! time; with `--rival` beside rust-libp2p's Kademlia, measured by `tests/rivals/libp2p-kad` in the same run.
//!
//! | | Pontoon | libp2p-kad |
//! |---|---|---|
//! | transport | memory, plain | memory, plaintext upgrade, yamux |
//! | signed | link proofs, by Ed25519 | nothing after the handshake's key exchange |
//! | put | routed to the owner, on a majority of `k` disks (memory) when it is over | lookup, then stored at `k` peers; over when a majority confirmed |
//! | get | answered by the owner under its lease: the newest acknowledged value | the first record that any peer gives |

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command as Process,
    time::{Duration, Instant},
};

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use pontoon_core::{CallId, Config, Reply, store::Outcome};
use pontoon_tests::ops::{get, keys, put};
use serde_json::{Value, json};

use crate::{local::Local, report::Report};

const NODES: [usize; 2] = [16, 64];
const REPLICAS: [usize; 2] = [3, 20];
const IN_FLIGHT: [usize; 2] = [1, 16];
const OPS: usize = 500;
const VALUE_BYTES: usize = 1_000;
/// What is over sooner is measured for so long: a busy machine's pauses even out.
const AT_LEAST: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
const SECURITY: &str = "plaintext, link proofs signed by Ed25519";

/// Figures by (nodes, k, in flight, name).
type Figures = BTreeMap<(usize, usize, usize, String), f64>;

/// The `dht-ops` scenario.
pub fn dht_ops(report: &Report) -> Result<(), String> {
    let options = &report.options;
    let sizes = options.nodes.map_or(NODES.to_vec(), |nodes| vec![nodes]);
    for nodes in sizes {
        let (mut ours, mut theirs) = (Figures::new(), Figures::new());
        for replicas in REPLICAS {
            pontoon(report, nodes, replicas, &mut ours)?;
            if options.rival {
                for in_flight in IN_FLIGHT {
                    rival(report, nodes, replicas, in_flight, &mut theirs)?;
                }
            }
        }
        ratios(report, nodes, &ours, &theirs);
    }
    Ok(())
}

fn ops(report: &Report) -> usize {
    report.options.ops.unwrap_or(OPS).max(1)
}

/// Pontoon's figures for one network.
fn pontoon(report: &Report, nodes: usize, replicas: usize, figures: &mut Figures) -> Result<(), String> {
    // The owner's copies lie at its siblings.
    let siblings = Config::default().siblings.max(replicas - 1);
    let config = Config {
        network: "dht-ops".to_owned(),
        replicas,
        siblings,
        links_opened_max: Config::default().links_opened_max.max(siblings + 24),
        links_max: Config::default().links_max.max(2 * siblings + 24),
        ..Config::default()
    };
    let seed = report.options.seed();
    let mut local = Local::new(nodes, &config, seed);
    local.settle(replicas, PATIENCE).map_err(|why| format!("{nodes} nodes, {replicas} replicas: {why}"))?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let key = |series: usize, number: usize| format!("{series} {number}").into_bytes();
    operations(&mut local, ops(report), 1, &mut rng, |number| put("ops", &key(0, number), &[7; VALUE_BYTES]))?;
    for (series, in_flight) in (1..).zip(IN_FLIGHT) {
        let mut written = 0;
        for op in ["put", "get"] {
            let value = [7; VALUE_BYTES];
            let asked = |number| match op {
                "put" => put("ops", &key(series, number), &value),
                _ => get("ops", &key(series, number % written)),
            };
            let (took, all) = operations(&mut local, ops(report), in_flight, &mut rng, asked)?;
            written = took.len();
            let p95 = took[(took.len() * 95 / 100).min(took.len() - 1)];
            let per_s = took.len() as f64 / all.as_secs_f64();
            for (figure, value, unit) in
                [(format!("{op}_per_s"), per_s, "1/s"), (format!("{op}_p95_us"), p95.as_secs_f64() * 1e6, "us")]
            {
                let more = [
                    ("system", json!("pontoon")),
                    ("k", json!(replicas)),
                    ("nodes", json!(nodes)),
                    ("in_flight", json!(in_flight)),
                    ("threads", json!(1)),
                    ("security", json!(SECURITY)),
                    ("seed", json!(seed)),
                ];
                report.measured("dht-ops", &figure, value, unit, &more);
                figures.insert((nodes, replicas, in_flight, figure), value);
            }
        }
    }
    Ok(())
}

/// At least `count` operations at random nodes, `in_flight` at a time; how long each took (sorted), and all of them.
fn operations(
    local: &mut Local,
    count: usize,
    in_flight: usize,
    rng: &mut ChaCha8Rng,
    asked: impl Fn(usize) -> pontoon_core::store::KeyOp,
) -> Result<(Vec<Duration>, Duration), String> {
    let begun = Instant::now();
    let (mut open, mut took, mut next) = (BTreeMap::<CallId, Instant>::new(), Vec::new(), 0);
    loop {
        while open.len() < in_flight && (next < count || begun.elapsed() < AT_LEAST) {
            let node = (rng.next_u64() % local.len() as u64) as usize;
            let started = Instant::now();
            open.insert(local.command(node, keys(vec![asked(next)])), started);
            next += 1;
        }
        if open.is_empty() {
            break;
        }
        let answers = local.answers(Instant::now() + PATIENCE);
        if answers.is_empty() {
            return Err(format!("{} operations are not answered", open.len()));
        }
        for (call, answer) in answers {
            let fine = match &answer {
                Ok(Reply::Keys(outcomes, _)) => outcomes.iter().all(|outcome| match outcome {
                    Outcome::Stored { .. } => true,
                    Outcome::Found { value, .. } => value.len() == VALUE_BYTES,
                    _ => false,
                }),
                _ => false,
            };
            match open.remove(&call) {
                Some(started) if fine => took.push(started.elapsed()),
                _ => return Err(format!("an operation ended with {answer:?}")),
            }
        }
    }
    let all = begun.elapsed();
    took.sort_unstable();
    Ok((took, all))
}

/// Builds (once) and runs the rival, passes its lines on.
fn rival(report: &Report, nodes: usize, k: usize, in_flight: usize, figures: &mut Figures) -> Result<(), String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals/libp2p-kad/Cargo.toml");
    let run = Process::new("cargo")
        .args(["run", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(&manifest)
        .args(["--", "--nodes", &nodes.to_string(), "--k", &k.to_string(), "--ops", &ops(report).to_string()])
        .args(["--in-flight", &in_flight.to_string(), "--seed", &report.options.seed().to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !run.status.success() {
        return Err(format!("the rival ended with {}", run.status));
    }
    for line in String::from_utf8_lossy(&run.stdout).lines() {
        println!("{line}");
        let figure: Value =
            serde_json::from_str(line).map_err(|error| format!("the rival's line {line:?}: {error}"))?;
        if let (Some(name), Some(value)) = (figure["figure"].as_str(), figure["value"].as_f64()) {
            figures.insert((nodes, k, in_flight, name.to_owned()), value);
        }
    }
    Ok(())
}

/// Ours over theirs: at equal replication, and our default of three copies beside their default of 20. Above 1 we are
/// faster; `ratio_put_p95` and `ratio_get_p95` are their latency over ours, so there too.
fn ratios(report: &Report, nodes: usize, ours: &Figures, theirs: &Figures) {
    for (replicas, k) in [(3, 3), (20, 20), (3, 20)] {
        for in_flight in IN_FLIGHT {
            for op in ["put", "get"] {
                let figure = |of: &Figures, k: usize, what: &str| {
                    of.get(&(nodes, k, in_flight, format!("{op}_{what}"))).copied()
                };
                let more = [
                    ("k", json!(k)),
                    ("replicas", json!(replicas)),
                    ("nodes", json!(nodes)),
                    ("in_flight", json!(in_flight)),
                ];
                if let (Some(our), Some(their)) = (figure(ours, replicas, "per_s"), figure(theirs, k, "per_s")) {
                    report.measured("dht-ops", &format!("ratio_{op}"), our / their, "", &more);
                }
                if let (Some(our), Some(their)) = (figure(ours, replicas, "p95_us"), figure(theirs, k, "p95_us")) {
                    report.measured("dht-ops", &format!("ratio_{op}_p95"), their / our, "", &more);
                }
            }
        }
    }
}
