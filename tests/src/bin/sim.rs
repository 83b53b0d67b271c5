//! The simulator as an instrument: `sim --scenario NAME [--seed S] [--nodes N] [...]` runs one network and says what
//! came of it; `--events` prints a compact line for each event. Invariants are checked all along; when one does not
//! hold, the command that replays the run is printed and the exit code is 1.
#![allow(clippy::disallowed_methods)] // says how long it took

use std::{process::ExitCode, time::Instant};

use pontoon_tests::{
    churn::{Churn, Outcomes, Plan},
    faults,
    scenario::{Counted, Scale},
    sim::{Latency, Sim, SimConfig},
    watch,
};

const SECOND_US: u64 = 1_000_000;

const HELP: &str = "sim --scenario NAME [option value]... [--events]

scenarios
  join        everybody joins at once or one after the other, settles, stores, reads, broadcasts and counts
  churn       sessions of --session-s in the median, writes and reads all along
  crashes     the same, all departures crash and lose their disks
  partition   --minutes in two halves, writes on both sides, healed
  faults      everything that can go wrong while clients read and write, then what docs/consistency.md promises;
              latencies, clocks and disks are drawn from the seed, of the options it heeds the first three
  deadly      the same, and majorities of groups may go

options
  --seed S          decides everything random (1)
  --nodes N         how many (64)
  --minutes M       of virtual time that the scenario goes on (5)
  --session-s S     median session of churn (84)
  --supernode 0|1   node 0 is a supernode that the others dial (0)
  --every-us U      between two joins (20000; 0: all at once)
  --latency-ms MS   every pair so far apart (50; 0: heavy-tailed)
  --inbound-mbit M  into each node (no limit)
  --links L         links that a node opens, half as many again in all
  --relayed E       every E-th node is reached over relays only
  --loss PPM        chunks that come late, after a retransmission
  --break PPM       chunks that are lost together with their channel
  --threads T       that simulate (all processors); changes nothing else
  --events          one line an event";

/// What the command line says.
struct Options {
    scenario: String,
    minutes: u64,
    session_s: u64,
    events: bool,
    config: SimConfig,
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let (mut scenario, mut numbers, mut events) = (None, Vec::new(), false);
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        if name == "--events" {
            events = true;
            continue;
        }
        let value = rest.next().ok_or_else(|| format!("{name} wants a value"))?;
        if name == "--scenario" {
            scenario = Some(value.clone());
        } else {
            let number: u64 = value.parse().map_err(|_| format!("{name} wants a number, not {value:?}"))?;
            numbers.push((name.as_str(), number));
        }
    }
    let given = |name: &str| numbers.iter().find(|(other, _)| *other == name).map(|(_, number)| *number);
    let names = HELP.split_whitespace().filter(|word| word.starts_with("--"));
    if let Some((unknown, _)) = numbers.iter().find(|(name, _)| !names.clone().any(|other| other == *name)) {
        return Err(format!("no option {unknown}"));
    }
    let nodes = given("--nodes").unwrap_or(64) as usize;
    let mut config = SimConfig::new(given("--seed").unwrap_or(1), nodes);
    config.supernode = given("--supernode") == Some(1);
    config.join_every_us = given("--every-us").unwrap_or(config.join_every_us);
    config.latency = match given("--latency-ms") {
        Some(0) => Latency::HeavyTailed,
        Some(ms) => Latency::Fixed(ms * 1_000),
        None => config.latency,
    };
    config.inbound_bits_per_s = given("--inbound-mbit").map(|mbit| mbit * 1_000_000);
    if let Some(links) = given("--links") {
        config.core.links_opened_max = links as usize;
        config.core.links_max = (links + links / 2) as usize;
    }
    config.relayed_every = given("--relayed").unwrap_or(0) as usize;
    config.spike_ppm = given("--loss").unwrap_or(0) as u32;
    config.break_ppm = given("--break").unwrap_or(0) as u32;
    config.threads = given("--threads")
        .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |threads| threads as usize);
    Ok(Options {
        scenario: scenario.ok_or("which --scenario?")?,
        minutes: given("--minutes").unwrap_or(5),
        session_s: given("--session-s").unwrap_or(84),
        events,
        config,
    })
}

fn main() -> ExitCode {
    pontoon_tests::pages::ask_for_huge_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| ["--help", "-h"].contains(&argument.as_str())) {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match parse(&arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}; sim --help tells more");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    let result = match options.scenario.as_str() {
        "join" => join(&options),
        "churn" => churn(&options, Plan::mixed(options.config.clone(), options.session_s * SECOND_US)),
        "crashes" => churn(&options, Plan::crashes(options.config.clone(), options.session_s * SECOND_US)),
        "partition" => partition(&options),
        "faults" => faults(&options, false),
        "deadly" => faults(&options, true),
        other => {
            eprintln!("no scenario {other:?}; sim --help names them");
            return ExitCode::from(2);
        }
    };
    println!("{:.1} s of wall time", begun.elapsed().as_secs_f64());
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            broken.iter().for_each(|what| eprintln!("BROKEN {what}"));
            eprintln!("replay: cargo run --release -p pontoon-tests --bin sim -- {}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

type Verdict = Result<(), Vec<String>>;

fn verdict(broken: Vec<String>) -> Verdict {
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

/// Prints what the nodes traced since the last call.
fn print_events(sim: &mut Sim) {
    for (node, trace) in sim.take_traces() {
        let peer = trace.peer.map(|peer| peer.short()).unwrap_or_default();
        println!("{} {node} {}.{} {peer} {}", trace.at_ms, trace.layer, trace.event, trace.detail);
    }
}

impl Options {
    fn begin(&self) -> Scale {
        let mut scale = Scale::new(self.config.clone());
        scale.sim.trace_all(self.events);
        scale
    }

    fn settle(&self, scale: &mut Scale, broken: &mut Vec<String>) {
        match scale.sim.settle_watched(300 * SECOND_US, &mut print_events) {
            Ok(us) => println!("settled in {:.0} s", us as f64 / 1e6),
            Err(unsettled) => broken.push(format!("not settled: {unsettled}")),
        }
        broken.extend(watch::check(&scale.sim).broken);
    }

    /// Runs for a while, a second at a time, all invariants checked.
    fn live(&self, scale: &mut Scale, us: u64, broken: &mut Vec<String>) {
        let until = scale.sim.now_us() + us;
        while scale.sim.now_us() < until && broken.len() < 20 {
            scale.sim.run_for(SECOND_US.min(until - scale.sim.now_us()));
            print_events(&mut scale.sim);
            broken.extend(watch::check(&scale.sim).broken);
        }
    }
}

/// Nothing acknowledged may be gone.
fn all_found(scale: &mut Scale, broken: &mut Vec<String>) {
    let (found, lost) = scale.read_all();
    println!("{found} acknowledged writes found");
    if lost > 0 {
        broken.push(format!("{lost} acknowledged writes were not read"));
    }
}

fn counted(scale: &mut Scale, broken: &mut Vec<String>) {
    let counted = scale.count(4.min(scale.sim.live().len()), 0);
    println!("counted {counted:?}");
    broken.extend(counted.iter().filter(|counted| matches!(counted, Counted::Wrong(_))).map(|it| format!("{it:?}")));
}

fn join(options: &Options) -> Verdict {
    let (mut scale, mut broken) = (options.begin(), Vec::new());
    options.settle(&mut scale, &mut broken);
    println!("{:?}", scale.store(100));
    all_found(&mut scale, &mut broken);
    let cast = scale.broadcast();
    println!("{cast:?}");
    if cast.repeated > 0 || (cast.coverage >= 1.0 && cast.once + 1 != scale.sim.live().len()) {
        broken.push(format!("{cast:?} of {} nodes", scale.sim.live().len()));
    }
    println!("{} rows inserted", scale.insert(200));
    counted(&mut scale, &mut broken);
    options.live(&mut scale, options.minutes * 60 * SECOND_US, &mut broken);
    println!("{:?}; trace {:016x}", scale.sim.stats(), scale.sim.hash());
    verdict(broken)
}

fn churn(options: &Options, plan: Plan) -> Verdict {
    let plan = Plan { lasts_us: options.minutes * 60 * SECOND_US, check_every_us: SECOND_US, ..plan };
    let mut churn = Churn::new(plan);
    churn.sim.trace_all(options.events);
    let out = churn.run(print_events).map_err(|unsettled| vec![format!("not settled: {unsettled}")])?;
    let Outcomes { gets, found, absent_and_said_so, unreachable, absent, wrong, unanswered, .. } = &out;
    println!("settled in {:.0} s; departures {:?}", out.settled_us as f64 / 1e6, out.departures);
    println!(
        "{gets} gets: {found} found, {absent_and_said_so} given up for lost, {unreachable} unreachable, {absent} absent, {wrong} wrong, {unanswered} unanswered"
    );
    println!(
        "{} puts: {} acknowledged, {} of them lost, {} not read",
        out.puts,
        out.acknowledged,
        out.lost.len(),
        out.unread
    );
    out.lost.iter().for_each(|lost| println!("{}", lost.line()));
    let mut broken = out.broken.clone();
    broken.extend(out.lost.iter().filter(|lost| !lost.said_so).map(|lost| lost.line()));
    broken.extend(out.unsettled.iter().map(|why| format!("not settled afterwards: {why}")));
    if wrong + unanswered > 0 {
        broken.push(format!("{wrong} gets found something else, {unanswered} were never answered"));
    }
    verdict(broken)
}

fn partition(options: &Options) -> Verdict {
    let (mut scale, mut broken) = (options.begin(), Vec::new());
    options.settle(&mut scale, &mut broken);
    println!("{:?}", scale.store(100));
    scale.sim.partition(|node| node % 2 == 1);
    options.live(&mut scale, options.minutes * 30 * SECOND_US, &mut broken);
    println!("parted: {:?}", scale.store(200));
    options.live(&mut scale, options.minutes * 30 * SECOND_US, &mut broken);
    scale.sim.heal();
    options.settle(&mut scale, &mut broken);
    all_found(&mut scale, &mut broken);
    verdict(broken)
}

/// The scenario of `pontoon_tests::faults`; its network is drawn from the seed.
fn faults(options: &Options, deadly: bool) -> Verdict {
    let plan = faults::Plan {
        seed: options.config.seed,
        nodes: options.config.nodes,
        chaos_us: options.minutes * 60 * SECOND_US,
        deadly,
    };
    let report = faults::run(plan).map_err(|violations| vec![violations])?;
    println!("{report:?}");
    Ok(())
}
