//! The `hostile` scenario: a loaded network of which a fifth turns hostile at once; everything is read by honest peers,
//! plainly and verified, in networks with ever more copies of a record.

use pontoon_core::store::Action;
use pontoon_tests::{
    hostile::{Kind, Siege, Tally},
    sim::{SimConfig, Vice},
};

use crate::{report::Report, swarm::alone};

const NODES: usize = 1_000;
/// Rows, and open records, unless `--ops` says how many.
const ROWS: usize = 500;
const HOSTILE_PERCENT: usize = 20;
const REPLICAS: [usize; 3] = [3, 5, 7];
const PROVEN: [Kind; 3] = [Kind::Row, Kind::Removed, Kind::Never];

/// Each number of copies, among liars of all kinds and among those who only drop.
pub fn hostile(report: &Report) -> Result<(), String> {
    let replicas = report.options.replicas.map_or(REPLICAS.to_vec(), |replicas| vec![replicas]);
    replicas.into_iter().try_for_each(|replicas| {
        let mut config = alone(&report.options, NODES);
        (config.core.replicas, config.core.near_groups) = (replicas, true);
        run(report, &config, "mixed", &Vice::ALL)?;
        run(report, &config, "drop", &[Vice::Drop])
    })
}

fn run(report: &Report, config: &SimConfig, vices: &str, which: &[Vice]) -> Result<(), String> {
    let mut siege = Siege::begin(config.clone(), report.options.ops.unwrap_or(ROWS))?;
    let replicas = config.core.replicas.to_string();
    let figures = |when: &str, gets: &str, tally: &Tally| {
        for (kinds, of) in [(&PROVEN[..], "proven"), (&[Kind::Open], "open")] {
            let more = [("replicas", &replicas[..]), ("vices", vices), ("when", when), ("gets", gets), ("of", of)];
            let reads = tally.of(kinds);
            let figure =
                |name: &str, value: f64, unit: &str| report.simulated(config, "hostile", name, value, unit, &more);
            figure("reads", reads.all() as f64, "gets");
            figure("right", reads.right as f64 / reads.all().max(1) as f64, "");
            figure("wrong", reads.wrong as f64, "gets");
            figure("refused", reads.refused as f64, "gets");
            figure("honest_accused", reads.accused as f64, "peers");
        }
        let all = tally.took_us.len().max(1);
        let more = [("replicas", &replicas[..]), ("vices", vices), ("when", when), ("gets", gets)];
        let figure = |name: &str, value: f64, unit: &str| report.simulated(config, "hostile", name, value, unit, &more);
        figure("messages", tally.messages as f64 / all as f64, "messages");
        figure("bytes", tally.bytes as f64 / all as f64, "B");
        for (name, percent) in [("took_p50_s", 50), ("took_p99_s", 99)] {
            figure(name, tally.took_us.get(all * percent / 100).copied().unwrap_or(0) as f64 / 1e6, "s");
        }
    };
    if vices == "mixed" {
        figures("honest", "plain", &siege.read(&Action::Get));
        figures("honest", "verified", &siege.read(&Action::GetVerified));
    }
    siege.turn(HOSTILE_PERCENT, which);
    let more = [("replicas", &replicas[..]), ("vices", vices)];
    report.simulated(config, "hostile", "groups_without_honest", siege.lost_groups() as f64, "groups", &more);
    figures("hostile", "verified", &siege.read(&Action::GetVerified));
    figures("hostile", "plain", &siege.read(&Action::Get));
    Ok(())
}
