//! PIER's workload (Huebsch et al., *Querying the Internet with PIER*, VLDB 2003, section 5.1):
//!
//! ```sql
//! SELECT R.pkey, S.pkey, R.pad FROM R, S
//!  WHERE R.num1 = S.pkey AND R.num2 > c1 AND S.num2 > c2 AND f(R.num3, S.num3) > c3
//! ```
//!
//! R has ten times as many rows as S, nine of ten rows of R have a match in S, each condition lets half of the rows
//! through, and what is padded to 1 KB is R's row on its way. The padding is made by the owners: it is on the
//! wire, not on their disks.

use std::collections::VecDeque;

use pontoon_core::{Id, data::QueryResult, sql::asking::Definitions};
use pontoon_tests::{
    scenario::Scale,
    sim::{Latency, Sim, SimConfig},
};

use crate::{report::Report, swarm};

const SECOND_US: u64 = 1_000_000;
/// Bytes of padding.
const PAD: usize = 960;
/// PIER's times to the last tuple, seconds, at 1,024 nodes with unlimited bandwidth (VLDB 2003, table 4).
const STRATEGIES: [(&str, f64); 4] =
    [("symmetric-hash", 3.73), ("fetch-matches", 3.78), ("semi-join", 4.47), ("bloom", 6.85)];

/// What tells that a network has trouble.
const TROUBLES: [&str; 13] = [
    "answers_late",
    "branches_given_up",
    "exchange_late",
    "exchange_not_owned",
    "exchange_rounds",
    "hops_late",
    "peers_down",
    "peers_suspected",
    "routed_given_up",
    "routed_twice",
    "routes_refused",
    "tasks_again",
    "tasks_sent",
];

/// Statements that insert at once.
const STATEMENTS: usize = 32;

/// Conditions of a run: what `num2` of R and of S must be above, of 0 to 99.
struct Conditions {
    r: u64,
    s: u64,
}

/// Rows of R with what decides which of them match.
struct Data {
    r: Vec<[u64; 3]>,
    s: Vec<[u64; 2]>,
}

impl Data {
    fn new(sim: &mut Sim, r: usize) -> Data {
        let s = (r / 10).max(1);
        let row = |sim: &mut Sim| {
            // One of ten refers to nothing.
            let to = if sim.draw(10) == 0 { s as u64 + sim.draw(s as u64) } else { sim.draw(s as u64) };
            [to, sim.draw(100), sim.draw(100)]
        };
        let r = (0..r).map(|_| row(sim)).collect();
        Data { r, s: (0..s).map(|_| [sim.draw(100), sim.draw(100)]).collect() }
    }

    /// Numbers of the rows of R and S that match.
    fn pairs(&self, conditions: &Conditions) -> Vec<(usize, usize)> {
        let matching = |(number, [to, num2, num3]): (usize, &[u64; 3])| {
            let [other2, other3] = self.s.get(*to as usize)?;
            let matches = *num2 >= conditions.r && *other2 >= conditions.s && num3 + other3 >= 99;
            matches.then_some((number, *to as usize))
        };
        self.r.iter().enumerate().filter_map(matching).collect()
    }
}

/// Puts rows into tables, a few statements at a time.
pub fn insert(scale: &mut Scale, all: Vec<(&str, Vec<String>)>) -> Result<(), String> {
    let (mut definitions, mut rows) = (Definitions::default(), 0);
    let wanted: usize = all.iter().map(|(_, values)| values.len()).sum();
    for (table, values) in all {
        for some in values.chunks(500).collect::<Vec<_>>().chunks(STATEMENTS) {
            let mut asks = Vec::new();
            for values in some {
                let node = scale.any_node();
                let text = format!("INSERT INTO {table} VALUES {}", values.join(", "));
                asks.extend(scale.sim.ask(node, &mut definitions, &text, None));
            }
            for answer in scale.sim.answers(asks, &mut definitions, 90 * SECOND_US) {
                rows += answer.map_err(|error| error.to_string())?.affected as usize;
            }
            eprintln!("{rows} of {wanted} rows inserted after {} virtual seconds", scale.sim.now_us() / SECOND_US);
        }
    }
    if rows == wanted { Ok(()) } else { Err(format!("{rows} rows inserted of {wanted}")) }
}

/// Puts both tables into a network.
fn load(scale: &mut Scale, data: &Data) -> Result<(), String> {
    let tables = [
        "CREATE TABLE r (pkey INTEGER PRIMARY KEY, num1 INTEGER, num2 INTEGER, num3 INTEGER)",
        "CREATE TABLE s (pkey INTEGER PRIMARY KEY, num2 INTEGER, num3 INTEGER)",
    ];
    let creator = scale.any_node();
    for table in tables {
        scale.sim.sql(creator, table).map_err(|error| error.to_string())?;
    }
    let r = data.r.iter().enumerate().map(|(key, [a, b, c])| format!("({key}, {a}, {b}, {c})"));
    let s = data.s.iter().enumerate().map(|(key, [a, b])| format!("({key}, {a}, {b})"));
    insert(scale, vec![("r", r.collect()), ("s", s.collect())])
}

fn query(conditions: &Conditions) -> String {
    // An expression that owners know, and over the row, so that nobody computes it beforehand.
    let pad = "x".repeat(PAD);
    format!(
        "SELECT r.pkey, s.pkey, r.pad FROM (SELECT pkey, num1, num3, '{pad}' || CAST(num2 AS TEXT) AS pad FROM r
           WHERE num2 >= {}) r JOIN (SELECT pkey, num3 FROM s WHERE num2 >= {}) s ON r.num1 = s.pkey WHERE r.num3 + s.num3 >= 99",
        conditions.r, conditions.s
    )
}

/// What one run of the query came to.
struct Run {
    /// When the first, the 30th and the last row came, microseconds from the question.
    first_us: u64,
    thirtieth_us: u64,
    last_us: u64,
    over_us: u64,
    bytes: u64,
    result: QueryResult,
}

/// Runs the query. Where rows of both tables are gathered, those that come meanwhile are no pairs yet.
fn run(
    scale: &mut Scale,
    asker: usize,
    definitions: &mut Definitions,
    text: &str,
    at_peers: bool,
) -> Result<Run, String> {
    let before = scale.counter("bytes_calls");
    let counted = |scale: &Scale| TROUBLES.map(|name| scale.counter(name));
    let troubles = counted(scale);
    scale.sim.take_progress();
    let begun = scale.sim.now_us();
    let ask = scale.sim.ask(asker, definitions, text, Some(120 * SECOND_US)).map_err(|error| error.to_string())?;
    let result =
        scale.sim.answers(vec![ask], definitions, 150 * SECOND_US).remove(0).map_err(|error| error.to_string())?;
    let over_us = scale.sim.now_us() - begun;
    let more = TROUBLES.iter().zip(counted(scale)).zip(troubles).map(|((name, after), before)| (name, after - before));
    eprintln!("over after {} s: {:?}", over_us as f64 / 1e6, more.filter(|(_, more)| *more > 0).collect::<Vec<_>>());
    let progress = scale.sim.take_progress();
    let progress: Vec<(u64, u64)> =
        progress.iter().filter(|_| at_peers).map(|(at, _, rows, _)| (at - begun, *rows)).collect();
    let when = |rows: u64| progress.iter().find(|(_, so_far)| *so_far >= rows).map_or(over_us, |(at, _)| *at);
    let count = result.rows.len() as u64;
    Ok(Run {
        first_us: when(1),
        thirtieth_us: when(count.min(30)),
        last_us: when(count),
        over_us,
        bytes: scale.counter("bytes_calls") - before,
        result,
    })
}

/// Hops over open links from one node to all others.
fn hops(sim: &Sim, links: &[Vec<usize>], from: usize) -> Vec<u64> {
    let (mut hops, mut open) = (vec![u64::MAX; sim.len()], VecDeque::from([from]));
    hops[from] = 0;
    while let Some(node) = open.pop_front() {
        for next in &links[node] {
            if hops[*next] == u64::MAX {
                hops[*next] = hops[node] + 1;
                open.push_back(*next);
            }
        }
    }
    hops
}

/// The least time to the last tuple that open links allow where rows meet at the owner of a random key: the question goes
/// to the owner of R's row, the row to where it meets S's, and the pair to the asker, each on a shortest way.
fn floor_us(scale: &mut Scale, asker: usize, data: &Data, conditions: &Conditions, latency_us: u64) -> u64 {
    let sim = &mut scale.sim;
    let linked = |sim: &Sim, node: usize| {
        let standing = sim.standing(node);
        let ids = standing.map(|standing| standing.linked).unwrap_or_default();
        ids.iter().filter_map(|id| sim.index_of(id)).collect::<Vec<usize>>()
    };
    let links: Vec<Vec<usize>> = (0..sim.len()).map(|node| linked(sim, node)).collect();
    let from_asker = hops(sim, &links, asker);
    let mut least = 0;
    for (r, s) in data.pairs(conditions) {
        let owner = |table: &str, key: usize| {
            let key = pontoon_core::data::codec::encode_key(&[pontoon_core::data::Value::Integer(key as i64)]);
            sim.owner_of(&Id::object(table, &key, 0))
        };
        // The table's own namespace is of no matter here: its rows are spread as evenly under any name.
        let (Some(r), Some(s), Some(meet)) = (owner("r", r), owner("s", s), owner("bucket", s)) else { continue };
        let to_meet = hops(sim, &links, meet);
        let rows = (from_asker[r] + to_meet[r]).max(from_asker[s] + to_meet[s]);
        least = least.max(rows + from_asker[meet]);
    }
    least * latency_us
}

/// PIER's network, settled, with both tables in it.
fn prepared(report: &Report, nodes: usize, rows_per_node: usize) -> Result<(SimConfig, Scale, Data), String> {
    let mut config = swarm::alone(&report.options, nodes);
    if report.options.latency_ms.is_none() {
        config.latency = Latency::Fixed(100_000);
    }
    let (mut scale, _) = swarm::settled(&config)?;
    let rows = report.options.ops.unwrap_or(rows_per_node * config.nodes);
    let data = Data::new(&mut scale.sim, rows);
    load(&mut scale, &data)?;
    Ok((config, scale, data))
}

/// The `pier-joins` scenario: each strategy forced; and where links are narrow, by how much the conditions let through.
pub fn joins(report: &Report) -> Result<(), String> {
    let (config, mut scale, data) = prepared(report, 1_024, 10)?;
    let Latency::Fixed(latency_us) = config.latency else { return Err("PIER's network has one latency".to_owned()) };
    let asker = scale.any_node();
    let links_before = scale.sim.stats().rtc;
    let narrow = config.inbound_bits_per_s.is_some();
    let cells: Vec<Conditions> = match narrow {
        false => vec![Conditions { r: 50, s: 50 }],
        true => [(0, 0), (0, 50), (0, 90), (0, 99), (50, 0), (50, 50), (50, 90), (90, 50)]
            .map(|(r, s)| Conditions { r, s })
            .into(),
    };
    for conditions in cells {
        let expected = data.pairs(&conditions).len();
        let floor = floor_us(&mut scale, asker, &data, &conditions, latency_us);
        let pass = format!("{}% of r, {}% of s", 100 - conditions.r, 100 - conditions.s);
        let others = [("broadcast", 0.0), ("gather", 0.0), ("auto", 0.0)];
        for (strategy, pier_s) in STRATEGIES.into_iter().chain(others) {
            let (run, Chosen { way, cost_s }) = strategy_run(&mut scale, asker, strategy, &conditions)?;
            let found = (run.result.rows.len(), run.result.coverage);
            if found != (expected, 1.0) {
                return Err(format!("{strategy}: {} rows of {expected}, coverage {}", found.0, found.1));
            }
            let more = [("strategy", strategy), ("pass", &pass)];
            let figure =
                |name: &str, value: f64, unit: &str| report.simulated(&config, "pier-joins", name, value, unit, &more);
            let seconds = |us: u64| us as f64 / 1e6;
            figure("rows", expected as f64, "rows");
            figure("first_tuple_s", seconds(run.first_us), "s");
            figure("tuple_30_s", seconds(run.thirtieth_us), "s");
            figure("last_tuple_s", seconds(run.last_us), "s");
            figure("over_s", seconds(run.over_us), "s");
            figure("network_bytes", run.bytes as f64, "B");
            figure("floor_s", seconds(floor), "s");
            if let Some(cost_s) = cost_s {
                figure("estimated_s", cost_s, "s");
            }
            if pier_s > 0.0 && !narrow {
                figure("pier_s", pier_s, "s");
            }
            if strategy == "auto" {
                let more = [("chosen", &way[..]), ("pass", &pass)];
                report.simulated(&config, "pier-joins", "chosen", seconds(run.last_us), "s", &more);
            }
        }
    }
    let opened = scale.sim.stats().rtc - links_before;
    report.simulated(&config, "pier-joins", "links_opened", opened as f64, "links", &[]);
    Ok(())
}

/// The `pier-scale` scenario: the load grows with the network, and so should not the time to the 30th tuple.
pub fn scale(report: &Report) -> Result<(), String> {
    let sizes = report.options.nodes.map_or(vec![1_024, 10_000], |nodes| vec![nodes]);
    for nodes in sizes {
        let options =
            crate::report::Options { inbound_mbit: report.options.inbound_mbit.or(Some(10)), ..report.options.clone() };
        let report = Report { options };
        let (config, mut scale, data) = prepared(&report, nodes, 100)?;
        let asker = scale.any_node();
        let conditions = Conditions { r: 50, s: 50 };
        let expected = data.pairs(&conditions).len();
        let mut definitions = Definitions::default();
        prepare(&mut scale, asker, &mut definitions, "symmetric-hash", &query(&conditions))?;
        let figure =
            |name: &str, value: f64, unit: &str| report.simulated(&config, "pier-scale", name, value, unit, &[]);
        figure("rows", expected as f64, "rows");
        let (thirtieth_us, bytes) = thirtieth(&mut scale, asker, &mut definitions, &query(&conditions))?;
        figure("tuple_30_s", thirtieth_us as f64 / 1e6, "s");
        figure("network_bytes", bytes as f64, "B");
    }
    Ok(())
}

/// Runs the query until 30 tuples are there, and cancels it: the time, and bytes in the network until then. How long the rest takes is
/// for the asker's link to say, as the result grows with the network.
fn thirtieth(scale: &mut Scale, asker: usize, definitions: &mut Definitions, text: &str) -> Result<(u64, u64), String> {
    let before = scale.counter("bytes_calls");
    scale.sim.take_progress();
    let begun = scale.sim.now_us();
    let mut ask = scale.sim.ask(asker, definitions, text, Some(120 * SECOND_US)).map_err(|error| error.to_string())?;
    while scale.sim.now_us() < begun + 120 * SECOND_US {
        scale.sim.run_for(10_000);
        if let Some((at, ..)) = scale.sim.take_progress().iter().find(|(_, _, rows, _)| *rows >= 30) {
            let bytes = scale.counter("bytes_calls") - before;
            scale.sim.cancel(&mut ask);
            return Ok((at - begun, bytes));
        }
    }
    Err("30 tuples did not come within two minutes".to_owned())
}

/// Runs the query with a strategy; and how the planner joins.
fn strategy_run(
    scale: &mut Scale,
    asker: usize,
    strategy: &str,
    conditions: &Conditions,
) -> Result<(Run, Chosen), String> {
    let (mut definitions, text) = (Definitions::default(), query(conditions));
    let plan = prepare(scale, asker, &mut definitions, strategy, &text)?;
    let join = ["Join [", "FetchMatches [", "SemiJoin ["];
    let chosen = plan.lines().find(|line| join.iter().any(|name| line.contains(name))).unwrap_or_default();
    let chosen = chosen.trim().split(" on ").next().unwrap_or_default().to_owned();
    let way = if plan.contains("Bloom") { format!("{chosen}, Bloom") } else { chosen };
    let at_peers = !way.contains("[asker]");
    let cost = plan.lines().find(|line| line.contains("Chosen [asker]")).unwrap_or_default();
    let cost_ms = cost.strip_suffix(" ms").and_then(|cost| cost.rsplit(", ").next()?.parse::<f64>().ok());
    let cost_s = cost_ms.map(|ms| ms / 1e3);
    Ok((run(scale, asker, &mut definitions, &text, at_peers)?, Chosen { way, cost_s }))
}

/// How the planner joins.
struct Chosen {
    /// The operator, and where pairs are found.
    way: String,
    /// How long it is expected to take, where the plan says so.
    cost_s: Option<f64>,
}

/// Has the asker know the definitions of the tables, and what is in them; the plan of the query.
fn prepare(
    scale: &mut Scale,
    asker: usize,
    definitions: &mut Definitions,
    strategy: &str,
    text: &str,
) -> Result<String, String> {
    let mut plan = String::new();
    for before in ["ANALYZE".to_owned(), format!("SET pontoon.join_strategy = '{strategy}'"), format!("EXPLAIN {text}")]
    {
        eprintln!(
            "{} after {} virtual seconds",
            before.split('\n').next().unwrap_or_default(),
            scale.sim.now_us() / SECOND_US
        );
        let ask = scale.sim.ask(asker, definitions, &before, None).map_err(|error| error.to_string())?;
        let answer = scale.sim.answers(vec![ask], definitions, 60 * SECOND_US).remove(0);
        let lines = answer.map_err(|error| error.to_string())?.rows;
        plan = lines.iter().map(|line| format!("{}\n", line[0])).collect();
    }
    Ok(plan)
}
