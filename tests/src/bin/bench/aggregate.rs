//! Groups over many rows: what comes to the asker, beside what gathering the rows would bring there.

use pontoon_core::{data::QueryResult, sql::asking::Definitions};
use pontoon_tests::scenario::Scale;

use crate::{pier, report::Report, swarm};

const SECOND_US: u64 = 1_000_000;

/// A statement at a node: its result, and the bytes that came to that node meanwhile.
fn received(
    scale: &mut Scale,
    asker: usize,
    definitions: &mut Definitions,
    text: &str,
) -> Result<(QueryResult, f64), String> {
    scale.sim.record(true);
    let ask = scale.sim.ask(asker, definitions, text, Some(120 * SECOND_US)).map_err(|error| error.to_string())?;
    let result = scale.sim.answers(vec![ask], definitions, 150 * SECOND_US).remove(0);
    let recorded = scale.sim.record(false);
    let bytes: usize = recorded.iter().filter(|chunk| chunk.to == asker).map(|chunk| chunk.bytes.len()).sum();
    Ok((result.map_err(|error| error.to_string())?, bytes as f64))
}

/// The `aggregate` scenario.
pub fn aggregate(report: &Report) -> Result<(), String> {
    let config = swarm::alone(&report.options, 1_000);
    let rows = report.options.ops.unwrap_or(1_000 * config.nodes);
    let (mut scale, _) = swarm::settled(&config)?;
    let creator = scale.any_node();
    let table = "CREATE TABLE facts (id INTEGER PRIMARY KEY, kind INTEGER, amount INTEGER)";
    scale.sim.sql(creator, table).map_err(|error| error.to_string())?;
    let values = (0..rows).map(|id| format!("({id}, {}, {})", id % 16, scale.sim.draw(1_000))).collect();
    pier::insert(&mut scale, vec![("facts", values)])?;
    let (asker, mut definitions) = (scale.any_node(), Definitions::default());
    let grouped = "SELECT kind, count(*), sum(amount), min(amount), max(amount) FROM facts GROUP BY kind ORDER BY kind";
    received(&mut scale, asker, &mut definitions, &format!("EXPLAIN {grouped}"))?;
    let (result, asker_bytes) = received(&mut scale, asker, &mut definitions, grouped)?;
    let whole: i64 = result.rows.iter().filter_map(|row| row[1].to_string().parse::<i64>().ok()).sum();
    if (whole, result.coverage) != (rows as i64, 1.0) {
        return Err(format!("{whole} of {rows} rows counted, coverage {}", result.coverage));
    }
    let (all, gather_bytes) = received(&mut scale, asker, &mut definitions, "SELECT id, kind, amount FROM facts")?;
    if all.rows.len() != rows {
        return Err(format!("{} of {rows} rows gathered", all.rows.len()));
    }
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "aggregate", name, value, unit, &[]);
    figure("rows", rows as f64, "rows");
    figure("asker_bytes", asker_bytes, "B");
    figure("gather_bytes", gather_bytes, "B");
    figure("share", asker_bytes / gather_bytes, "");
    figure("messages", result.cost.messages as f64, "messages");
    figure("messages_per_node", result.cost.messages as f64 / config.nodes as f64, "messages");
    Ok(())
}
