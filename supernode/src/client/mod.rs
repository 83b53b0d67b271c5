//! The command line against a supernode that runs: `pontoon-supernode sql 'SELECT …'`, `put`, `get`, `import`, `ring`,
//! `health`.
//!
//! It speaks HTTP as any program may (`docs/http.md`); nothing here knows the engine.

mod connection;
pub(crate) mod import;
mod table;

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum, error::ErrorKind};
use connection::{Answer, Connection};
use serde_json::json;

/// Commands that are for a supernode that runs; anything else starts one.
pub const COMMANDS: [&str; 6] = ["sql", "put", "get", "import", "ring", "health"];

/// What went wrong, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not an address that can be asked.
    #[error("{0:?} is not the address of a supernode: it should look like http://127.0.0.1:8080")]
    Server(String),
    /// It was not reached, or broke off.
    #[error("{server}: {reason}")]
    Unreached {
        /// Its address.
        server: String,
        /// For people.
        reason: String,
    },
    /// It said no.
    #[error("{code}: {message}")]
    Refused {
        /// The stable code.
        code: String,
        /// For people.
        message: String,
    },
    /// Something of this side does not read or write.
    #[error("{0}")]
    Local(String),
}

#[derive(Debug, Parser)]
#[command(name = "pontoon-supernode", about = "Commands for a supernode that runs")]
struct Args {
    /// The supernode
    #[arg(long, global = true, env = "PONTOON_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// The file with the token; PONTOON_TOKEN is the token itself
    #[arg(long, global = true, env = "PONTOON_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Check an https:// supernode against the certificates in this file (PEM) instead of the system's
    #[arg(long, global = true, env = "PONTOON_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs SQL statements and prints the result of the last one
    Sql {
        /// The statements, separated by semicolons
        statements: String,
        /// Parameters: JSON, or text that is none
        params: Vec<String>,
        /// How to print it
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Stores a value: JSON, or text that is none; - reads standard input
    Put {
        /// The namespace
        namespace: String,
        /// The key
        key: String,
        /// The value
        value: String,
    },
    /// Prints a value
    Get {
        /// The namespace
        namespace: String,
        /// The key
        key: String,
    },
    /// Inserts the rows of a file into a table; - reads standard input
    Import {
        /// CSV with a header, or JSON: an array of objects, or one a line
        #[arg(value_enum)]
        kind: import::Kind,
        /// The table, which exists
        table: String,
        /// The file
        file: PathBuf,
    },
    /// Prints what the supernode knows of the ring
    Ring {
        /// For Graphviz
        #[arg(long)]
        dot: bool,
    },
    /// Prints how the supernode is; exits with 1 if it does not answer
    Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Ndjson,
    Csv,
}

/// Runs a command, the program's name first. What is printed goes to standard output, a mistake is one line on standard
/// error: exit code 2 for the arguments', 1 for every other.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            let _ = write!(std::io::stdout(), "{error}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let _ = writeln!(std::io::stderr(), "pontoon-supernode: {line} (--help tells more)");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(ClientError::Local(format!("no runtime: {error}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pontoon-supernode: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), ClientError> {
    let token = match &args.token_file {
        Some(file) => Some(local(std::fs::read_to_string(file), &file.display())?),
        None => std::env::var("PONTOON_TOKEN").ok(),
    };
    let token = token.as_deref().map(str::trim).filter(|token| !token.is_empty());
    let ca = args.ca.as_deref().filter(|file| !file.as_os_str().is_empty());
    let server = Connection::new(&args.server, token, ca)?;
    match args.command {
        Command::Sql { statements, params, format } => {
            let params: Vec<_> = params.iter().map(|text| value(text)).collect();
            let ask = json!({ "sql": statements, "params": params }).to_string();
            let accept = match format {
                Format::Table | Format::Json => "application/json",
                Format::Ndjson => "application/x-ndjson",
                Format::Csv => "text/csv",
            };
            let headers = [("content-type", "application/json"), ("accept", accept)];
            let answer = server.ask("POST", "/v1/sql", &headers, ask.into_bytes()).await?;
            match format {
                Format::Table => print(table::of(&answer.json().await?).as_bytes()),
                _ => copy(answer).await,
            }
        }
        Command::Put { namespace, key, value } => {
            let content = if value == "-" { input()? } else { value.into_bytes() };
            let kind = match (serde_json::from_slice::<serde::de::IgnoredAny>(&content), str::from_utf8(&content)) {
                (Ok(_), _) => "application/json",
                (_, Ok(_)) => "text/plain",
                _ => "application/octet-stream",
            };
            let path = connection::path(&namespace, &key);
            let answer = server.ask("PUT", &path, &[("content-type", kind)], content).await?;
            let version = answer.json().await?["version"].as_str().unwrap_or_default().to_owned();
            print(format!("{version}\n").as_bytes())
        }
        Command::Get { namespace, key } => {
            copy(server.ask("GET", &connection::path(&namespace, &key), &[], Vec::new()).await?).await
        }
        Command::Import { kind, table, file } => {
            let name = file.display().to_string();
            let content = if name == "-" { input()? } else { local(std::fs::read(&file), &name)? };
            let count = import::run(&server, kind, &table, &content).await?;
            print(format!("{}\n", rows(count as u64)).as_bytes())
        }
        Command::Ring { dot } => {
            let path = if dot { "/v1/ring?format=dot" } else { "/v1/ring" };
            let answer = server.ask("GET", path, &[], Vec::new()).await?;
            if dot { copy(answer).await } else { print(table::ring(&answer.json().await?).as_bytes()) }
        }
        Command::Health => {
            copy(server.ask("GET", "/healthz", &[], Vec::new()).await?).await?;
            print(b"\n")
        }
    }
}

/// So many rows, in words.
fn rows(count: u64) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

/// JSON, or text that is none.
fn value(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn input() -> Result<Vec<u8>, ClientError> {
    let mut content = Vec::new();
    local(std::io::stdin().read_to_end(&mut content), &"standard input")?;
    Ok(content)
}

fn local<T>(result: std::io::Result<T>, what: &dyn std::fmt::Display) -> Result<T, ClientError> {
    result.map_err(|error| ClientError::Local(format!("{what}: {error}")))
}

fn print(text: &[u8]) -> Result<(), ClientError> {
    match std::io::stdout().write_all(text).and_then(|()| std::io::stdout().flush()) {
        // Who reads the beginning only has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => local(done, &"standard output"),
    }
}

async fn copy(mut answer: Answer) -> Result<(), ClientError> {
    while let Some(piece) = answer.next().await? {
        print(&piece)?;
    }
    Ok(())
}
