//! Scenarios in real browsers: scripts in `tests/browsers`, which print their figures themselves.
//!
//! `--times` says how often: attempts, rounds, or peers that come and go.

use std::{path::Path, process::Command};

use crate::report::Report;

/// Runs a scenario of `tests/browsers/bench.mjs`.
fn run(report: &Report, scenario: &str) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browsers/bench.mjs");
    let mut node = Command::new("node");
    node.arg(&script).arg(scenario);
    if let Some(times) = report.options.times {
        node.args(["--rounds", &times.to_string()]);
    }
    let ended = node.status().map_err(|error| format!("node does not start: {error}"))?;
    if ended.success() { Ok(()) } else { Err(format!("{} ended with {ended}", script.display())) }
}

/// `links`: how long until a page is usable, and until it has a direct link.
pub fn links(report: &Report) -> Result<(), String> {
    run(report, "links")
}

/// `channel`: page to page, beside a bare data channel.
pub fn channel(report: &Report) -> Result<(), String> {
    run(report, "channel")
}

/// `reload`: a page that comes back to its rows, beside sql.js.
pub fn reload(report: &Report) -> Result<(), String> {
    run(report, "reload")
}

/// `longtask`: how long scans hold up a page.
pub fn longtask(report: &Report) -> Result<(), String> {
    run(report, "longtask")
}

/// `fanout`: records from one page to many, beside Yjs and GUN.
pub fn fanout(report: &Report) -> Result<(), String> {
    run(report, "fanout")
}

/// `churn`: direct links that come and go at one page.
pub fn churn(report: &Report) -> Result<(), String> {
    run(report, "churn")
}
