//! What a supernode's sockets carry and what attacks on them cost others, on real sockets of this machine:
//!
//! ```text
//!   cargo bench -p pontoon-supernode --bench traffic -- relay [--seconds S] [--pairs P] [--in-flight W] [--bytes B] [--peers N]
//!   cargo bench -p pontoon-supernode --bench traffic -- churn [--minutes M] [--peers N]
//!   cargo bench -p pontoon-supernode --bench traffic -- abuse [--seconds S] [--peers N] [--only ATTACK]
//! ```
//!
//! The supernode is the program, in a process of its own; so are the echo server that it is compared with, and who attacks it.
//! A mode prints one JSON object, `abuse` one for each attack.
#![allow(clippy::disallowed_methods, reason = "a bench measures wall time")]

mod abuse;
mod attack;
mod churn;
mod echo;
mod idle;
mod options;
#[path = "../../tests/common/peer.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod peer;
mod program;
mod relay;

use std::process::ExitCode;

use options::Options;

fn main() -> ExitCode {
    // `cargo bench` adds it.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let Some((mode, rest)) = arguments.split_first() else {
        return Err("relay, churn or abuse".to_owned());
    };
    program::raise_open_files();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let result = match mode.as_str() {
        "relay" => runtime.block_on(relay::run(&Options::parse(rest)?)),
        "churn" => runtime.block_on(churn::run(&Options::parse(rest)?)),
        "abuse" => runtime.block_on(abuse::run(&Options::parse(rest)?)),
        // The processes beside it.
        echo::CHILD => runtime.block_on(echo::serve()),
        attack::CHILD => runtime.block_on(attack::run(rest)),
        other => Err(format!("no mode {other:?}")),
    };
    runtime.shutdown_background();
    result
}
