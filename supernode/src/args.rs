//! The command line and the environment. A mistake is one line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, error::ErrorKind};

use crate::{Settings, SettingsError, TrafficArgs, Upkeep, api::AccessArgs, logs::LogFormat};

/// Pontoon's native peer: meeting point, relay and durable peer of a network of browsers.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pontoon-supernode",
    version,
    about,
    after_help = "Commands for a supernode that runs: sql, put, get, import, ring (pontoon-supernode sql --help)"
)]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "PONTOON_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The directory of the store; one process at a time
    #[arg(long, env = "PONTOON_DATA", default_value = "pontoon-data", value_name = "DIRECTORY", global = true)]
    pub data: PathBuf,
    /// The network's name; peers of other networks are refused
    #[arg(long, env = "PONTOON_NETWORK", default_value = "pontoon", value_name = "NAME")]
    pub network: String,
    /// Another supernode, as ws://host:port/pontoon; may be given several times (in the environment: with commas)
    #[arg(long = "peer", env = "PONTOON_SUPERNODES", value_name = "URL", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Start the network if nobody else has; what a supernode without --peer does anyway
    #[arg(long, env = "PONTOON_FOUND", overrides_with = "no_found")]
    pub found: bool,
    /// Wait for somebody else's network
    #[arg(long, overrides_with = "found")]
    pub no_found: bool,
    /// WebSocket clients at once
    #[arg(long, env = "PONTOON_CLIENTS_MAX", value_name = "NUMBER")]
    pub clients_max: Option<u32>,
    /// Who may write and ask over HTTP
    #[command(flatten)]
    pub access: AccessArgs,
    /// What to log: error, warn, info, debug, trace, or a filter such as pontoon_supernode=debug
    #[arg(long, env = "PONTOON_LOG", default_value = "info", value_name = "FILTER", global = true)]
    pub log: String,
    /// How to log: lines for people, or JSON objects for programs
    #[arg(long, env = "PONTOON_LOG_FORMAT", default_value = "text", value_name = "FORMAT", global = true)]
    pub log_format: LogFormat,
    /// What one address and one client may take
    #[command(flatten)]
    pub traffic: TrafficArgs,
    /// Where Prometheus may ask for /metrics; whoever reaches it may read it
    #[arg(long, env = "PONTOON_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// After SIGTERM, seconds for which clients are served on while /readyz says no and no new ones are taken
    #[arg(long, env = "PONTOON_DRAIN_SECONDS", default_value_t = 0, value_name = "SECONDS")]
    pub drain_seconds: u32,
    /// Instead of running a supernode
    #[command(subcommand)]
    pub upkeep: Option<Upkeep>,
}

/// Why there are no settings.
#[derive(Debug)]
pub enum Stop {
    /// `--help` or `--version` was asked for: the text.
    Told(String),
    /// A mistake, in one line.
    Mistake(String),
}

impl From<SettingsError> for Stop {
    fn from(error: SettingsError) -> Stop {
        Stop::Mistake(error.to_string())
    }
}

impl Args {
    /// Reads arguments, the program's name first, and the environment.
    pub fn read(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Args, Stop> {
        Args::try_parse_from(arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Told(error.to_string()),
            _ => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                Stop::Mistake(format!("{} (--help tells more)", line.trim_start_matches("error: ")))
            }
        })
    }

    /// The settings that they mean.
    pub fn settings(&self) -> Result<Settings, Stop> {
        let mut settings = Settings { listen: self.listen, data: self.data.clone(), ..Settings::default() };
        settings.engine.network.clone_from(&self.network);
        settings.engine.supernodes = self.peers.iter().filter(|peer| !peer.is_empty()).cloned().collect();
        settings.engine.founder = !self.no_found && (self.found || settings.engine.supernodes.is_empty());
        if let Some(clients) = self.clients_max {
            let pages = settings.limits.connections_max - settings.limits.clients_max;
            settings.limits.clients_max = clients as usize;
            settings.limits.connections_max = clients as usize + pages;
            settings.engine.links_supernode_max = clients as usize;
        }
        settings.api = self.access.settings().map_err(|error| Stop::Mistake(error.to_string()))?;
        settings.traffic = self.traffic.settings();
        settings.metrics_listen = self.metrics_listen;
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Settings, Stop> {
        let arguments = ["pontoon-supernode"].iter().chain(arguments).map(std::ffi::OsString::from);
        Args::read(arguments).and_then(|args| args.settings())
    }

    #[test]
    fn what_flags_mean() {
        let settings = read(&["--listen", "0.0.0.0:0", "--data", "d", "--network", "shop"]).unwrap();
        assert_eq!((settings.listen.port(), settings.engine.network.as_str()), (0, "shop"));
        assert!(settings.engine.supernode && settings.engine.founder && !settings.engine.direct_links);

        let peers = ["--peer", "ws://a:1/pontoon", "--peer", "ws://b:2/pontoon"];
        let settings = read(&peers).unwrap();
        assert_eq!(settings.engine.supernodes, ["ws://a:1/pontoon", "ws://b:2/pontoon"]);
        assert!(!settings.engine.founder, "who has somebody to ask waits");
        assert!(read(&[&peers[..], &["--found"]].concat()).unwrap().engine.founder);
        assert!(!read(&["--no-found"]).unwrap().engine.founder);
    }

    #[test]
    fn a_mistake_is_one_line() {
        for wrong in [
            &["--listen", "nowhere"][..],
            &["--peer", "http://a"],
            &["--network", ""],
            &["--clients-max", "many"],
            &["--listne", "127.0.0.1:1"],
            &["surprise"],
        ] {
            match read(wrong) {
                Err(Stop::Mistake(line)) => assert!(!line.is_empty() && line.lines().count() == 1, "{line}"),
                other => panic!("{wrong:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn help_is_no_mistake() {
        assert!(matches!(read(&["--help"]), Err(Stop::Told(text)) if text.contains("PONTOON_LISTEN")));
    }
}
