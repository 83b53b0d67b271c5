//! How the log is written: lines for people, or one JSON object a line for programs that collect them.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// JSON: `timestamp`, `level`, `target`, the message and its values in `fields`, a request's id in `span`.
    Json,
}

/// Starts logging on standard error; once in a process.
pub fn start(format: LogFormat, filter: EnvFilter) {
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.compact().with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().with_current_span(true).with_span_list(false).init(),
    }
}
