//! One peer asks for everything at once, a thousand times; what another peer's point queries notice of it.

use std::collections::BTreeMap;

use pontoon_core::{Error, sql::asking::Definitions};
use pontoon_tests::{ops::Ask, scenario::Scale};

use crate::{pier, report::Report, swarm};

const SECOND_US: u64 = 1_000_000;
/// Questions of the storm.
const QUESTIONS: usize = 1_000;
/// Rows of each of the tables that the storm multiplies, and of the one that the other peer reads.
const ROWS: usize = 2_000;
/// Characters of text in a row.
const TEXT: usize = 200;
/// Point queries with nothing else going on.
const QUIET: usize = 400;

/// One point query after another, `count` of them or until `over` says so; microseconds that each took.
fn points(
    scale: &mut Scale,
    node: usize,
    count: usize,
    mut over: impl FnMut(&mut Scale) -> bool,
) -> Result<Vec<u64>, String> {
    let (mut definitions, mut took) = (Definitions::default(), Vec::new());
    while took.len() < count && !over(scale) {
        let text = format!("SELECT value FROM points WHERE id = {}", scale.sim.draw(ROWS as u64));
        let begun = scale.sim.now_us();
        let ask = scale.sim.ask(node, &mut definitions, &text, None).map_err(|error| error.to_string())?;
        let result = scale.sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0);
        let result = result.map_err(|error| format!("a point query: {error}"))?;
        if (result.rows.len(), result.coverage) != (1, 1.0) {
            return Err(format!("{} rows at a key, coverage {}", result.rows.len(), result.coverage));
        }
        took.push(scale.sim.now_us() - begun);
    }
    took.sort_unstable();
    Ok(took)
}

fn quantile(sorted: &[u64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(f64::NAN, |us| *us as f64 / 1e3)
}

/// The `storm` scenario.
pub fn storm(report: &Report) -> Result<(), String> {
    let options =
        crate::report::Options { inbound_mbit: report.options.inbound_mbit.or(Some(10)), ..report.options.clone() };
    let report = &Report { options };
    let config = swarm::alone(&report.options, 256);
    let (mut scale, _) = swarm::settled(&config)?;
    let creator = scale.any_node();
    for table in ["many", "more", "points"] {
        let text = format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, value TEXT)");
        scale.sim.sql(creator, &text).map_err(|error| error.to_string())?;
    }
    let text = "x".repeat(TEXT);
    let values = || (0..ROWS).map(|id| format!("({id}, '{text}')")).collect::<Vec<_>>();
    pier::insert(&mut scale, vec![("many", values()), ("more", values()), ("points", values())])?;

    let (stormer, reader) = (scale.any_node(), scale.any_node());
    if stormer == reader {
        return Err("one node was drawn twice: another seed".to_owned());
    }
    let mut definitions = Definitions::default();
    for table in ["many", "more"] {
        let ask = scale.sim.ask(stormer, &mut definitions, &format!("EXPLAIN SELECT * FROM {table}"), None);
        let ask = ask.map_err(|error| error.to_string())?;
        scale.sim.answers(vec![ask], &mut definitions, 60 * SECOND_US);
    }
    points(&mut scale, reader, 20, |_| false)?;
    let quiet = points(&mut scale, reader, QUIET, |_| false)?;

    let begun = scale.sim.now_us();
    let mut open: Vec<Ask> = (0..QUESTIONS)
        .map(|_| scale.sim.ask(stormer, &mut definitions, "SELECT * FROM many, more", None))
        .collect::<Result<_, Error>>()
        .map_err(|error| error.to_string())?;
    let (mut outcomes, mut held_max) = (BTreeMap::<String, usize>::new(), 0_u64);
    let during = points(&mut scale, reader, usize::MAX, |scale| {
        held_max = held_max.max(scale.held_max());
        open.retain_mut(|ask| {
            let Some(outcome) = scale.sim.look(ask, &mut definitions) else { return true };
            let outcome = match outcome {
                Ok(result) => format!("{} rows, coverage {}", result.rows.len(), result.coverage),
                Err(error) => format!("{}: {error}", error.code()),
            };
            *outcomes.entry(outcome).or_default() += 1;
            false
        });
        open.is_empty()
    })?;
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "storm", name, value, unit, &[]);
    figure("quiet_points", quiet.len() as f64, "queries");
    figure("quiet_p50_ms", quantile(&quiet, 0.5), "ms");
    figure("quiet_p95_ms", quantile(&quiet, 0.95), "ms");
    figure("storm_s", (scale.sim.now_us() - begun) as f64 / 1e6, "s");
    figure("storm_points", during.len() as f64, "queries");
    figure("storm_p50_ms", quantile(&during, 0.5), "ms");
    figure("storm_p95_ms", quantile(&during, 0.95), "ms");
    figure("p95_ratio", quantile(&during, 0.95) / quantile(&quiet, 0.95), "");
    figure("held_bytes_max", held_max as f64, "B");
    for (outcome, count) in &outcomes {
        report.simulated(&config, "storm", "outcome", *count as f64, "queries", &[("is", outcome)]);
    }
    Ok(())
}
