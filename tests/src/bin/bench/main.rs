//! Figures: `bench SCENARIO [--nodes N] [--seed S] [--links L] [--session-s S] [--latency-ms MS] [--inbound-mbit M]
//! [--threads T]` prints one JSON object a line.
//!
//! Simulated figures (seconds, hops, messages) are exact for a seed; wall-clock figures say what this machine did.
#![allow(clippy::disallowed_methods)] // a bench measures wall time

mod aggregate;
mod balance;
mod browsers;
mod churn;
mod hostile;
mod live;
mod local;
mod ops;
mod pier;
mod report;
mod size;
mod sql;
mod sql_wasm;
mod storm;
mod swarm;
mod trees;

use std::process::ExitCode;

use report::{Options, Report};

/// A scenario: its name, what it measures, and how.
type Scenario = (&'static str, &'static str, fn(&Report) -> Result<(), String>);

const SCENARIOS: [Scenario; 24] = [
    ("aggregate", "GROUP BY over a thousand rows a node: bytes at the asker, and messages", aggregate::aggregate),
    ("broadcast", "sendAll to every node: messages, reached, hops, coverage", swarm::broadcast),
    (
        "channel",
        "page to page in Chromium and Firefox, beside a bare data channel (after `make page`)",
        browsers::channel,
    ),
    ("churn", "a page to which a thousand direct links are opened and closed (after `make page`)", browsers::churn),
    ("dht-churn", "nodes come and go: consistent lookups, lost writes, upkeep", churn::dht_churn),
    ("dht-lookup", "messages to owners of random keys: hops, links, correct owners", swarm::dht_lookup),
    ("dht-ops", "puts and gets of in-process nodes in real time; --rival measures rust-libp2p kad too", ops::dht_ops),
    ("fanout", "500 records from one page to fifteen, beside Yjs and GUN (after `make page`)", browsers::fanout),
    ("hostile", "a fifth of the peers turns hostile: plain and verified gets right, wrong, refused", hostile::hostile),
    (
        "links",
        "pages of Chromium and Firefox: time until usable, and until linked directly (after `make page`)",
        browsers::links,
    ),
    ("live", "live queries: from a write's commit to its change at who asks; views equal afterwards", live::live),
    ("longtask", "scans over 200,000 rows of a page: how long they hold it up (after `make page`)", browsers::longtask),
    ("pht-range", "lookups and ranges of a prefix hash tree: probes cold and warm, leaves, time", trees::pht_range),
    (
        "pier-joins",
        "PIER's join by each strategy, 100 ms between any two: time to the first and last tuple",
        pier::joins,
    ),
    ("pier-scale", "the same as network and load grow, 10 Mbit/s into each node: time to the 30th tuple", pier::scale),
    ("reload", "a page that comes back to 50,000 rows, beside sql.js (after `make page`)", browsers::reload),
    ("scan-exact", "count(*) while 5% of the nodes crash: exact, short and said so, or wrong", swarm::scan_exact),
    ("sim-speed", "how fast the simulator runs a network that joins, settles and idles", swarm::sim_speed),
    ("size", "what a page downloads: raw, gzip and brotli bytes", size::size),
    (
        "sql-local",
        "SQL at one peer without a network beside SQLite in memory: insert, point, range, group, join",
        sql::sql_local,
    ),
    (
        "sql-wasm",
        "the same operations in a page, beside sql.js and DuckDB-wasm (after `make page`)",
        sql_wasm::sql_wasm,
    ),
    ("store-balance", "locality bits: how even the load is, how many peers a scan meets", balance::store_balance),
    (
        "storm",
        "1,000 cross joins asked by one peer, 10 Mbit/s into each node: another peer's point queries",
        storm::storm,
    ),
    ("short", "every simulated scenario on a small network", short),
];

/// What `short` leaves out: what needs built files, browsers or a rival in real time, and itself.
const NOT_SIMULATED: [&str; 10] =
    ["channel", "churn", "fanout", "links", "longtask", "reload", "short", "size", "sql-local", "sql-wasm"];

fn short(report: &Report) -> Result<(), String> {
    let (nodes, minutes) = (report.options.nodes.or(Some(100)), report.options.minutes.or(Some(1)));
    let small = Report { options: Options { nodes, minutes, ..report.options.clone() } };
    let simulated = SCENARIOS.iter().filter(|(name, ..)| !NOT_SIMULATED.contains(name));
    simulated.clone().try_for_each(|(name, _, run)| run(&small).map_err(|error| format!("{name}: {error}")))
}

fn main() -> ExitCode {
    pontoon_tests::pages::ask_for_huge_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_none_or(|first| ["--help", "-h"].contains(&first.as_str())) {
        println!(
            "bench SCENARIO [--nodes N] [--seed S] [--links L] [--session-s S] [--latency-ms MS] [--inbound-mbit M]\n\
             \x20              [--supernode 0|1] [--crashes 0|1] [--minutes M] [--join-us U] [--threads T] [--ops N] [--replicas R] [--times N] [--rival] [--signed]\n\
             bench --list"
        );
        return ExitCode::SUCCESS;
    }
    if arguments[0] == "--list" {
        SCENARIOS.iter().for_each(|(name, what, _)| println!("{name:12} {what}"));
        return ExitCode::SUCCESS;
    }
    let Some((name, _, run)) = SCENARIOS.iter().find(|(name, ..)| *name == arguments[0]) else {
        eprintln!("no scenario {:?}; bench --list names them", arguments[0]);
        return ExitCode::from(2);
    };
    let result = Options::parse(&arguments[1..]).and_then(|options| run(&Report { options }));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
