//! The command line, the environment and the configuration file, in this order. A mistake is one line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind};

use crate::{
    Settings, SettingsError, TrafficArgs, Upkeep,
    api::AccessArgs,
    config::{self, ConfigError, Sources},
    logs::LogFormat,
    reach::ReachArgs,
    tls::TlsArgs,
};

/// Pontoon's native peer: meeting point, relay and durable peer of a network of browsers.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pontoon-supernode",
    version,
    about,
    after_help = "Commands for a supernode that runs: sql, put, get, import, ring, health (pontoon-supernode sql --help)"
)]
pub struct Args {
    /// A file (TOML) with settings: flags with _ for -, as in clients_max = 100; flags and environment say more than it
    #[arg(long, env = "PONTOON_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "PONTOON_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The directory of the store; one process at a time
    #[arg(long, env = "PONTOON_DATA", default_value = "pontoon-data", value_name = "DIRECTORY", global = true)]
    pub data: PathBuf,
    /// The network's name; peers of other networks are refused
    #[arg(long, env = "PONTOON_NETWORK", default_value = "pontoon", value_name = "NAME")]
    pub network: String,
    /// Another supernode, as wss://host:port/pontoon or ws://; may be given several times (in the environment: with commas)
    #[arg(long = "peer", env = "PONTOON_SUPERNODES", value_name = "URL", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// Start the network if nobody else has; what a supernode without --peer does anyway
    #[arg(long, env = "PONTOON_FOUND", overrides_with = "no_found")]
    pub found: bool,
    /// Wait for somebody else's network
    #[arg(long, overrides_with = "found")]
    pub no_found: bool,
    /// Hold a copy of every record of the network, beside those that there are anyway
    #[arg(long, env = "PONTOON_ARCHIVE")]
    pub archive: bool,
    /// Act for a user of its own: the tables that requests over HTTP create belong to it, and others may write to them only
    /// what they are granted
    #[arg(long, env = "PONTOON_USER")]
    pub user: bool,
    /// Bytes of records, in memory and on disk, beyond which it takes no writes as their owner
    #[arg(long, env = "PONTOON_STORE_BYTES_MAX", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub store_bytes_max: Option<u64>,
    /// WebSocket clients at once
    #[arg(long, env = "PONTOON_CLIENTS_MAX", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub clients_max: Option<u32>,
    /// How browsers behind NATs are reached
    #[command(flatten)]
    pub reach: ReachArgs,
    /// Certificates
    #[command(flatten)]
    pub tls: TlsArgs,
    /// The file with the tokens of which peers need one to join, as /pontoon?token=TOKEN; one a line
    #[arg(long, env = "PONTOON_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,
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
    /// Where the values come from
    #[arg(skip)]
    pub sources: Sources,
}

/// Why there are no settings.
#[derive(Debug)]
pub enum Stop {
    /// `--help` or `--version` was asked for: the text.
    Told(String),
    /// A mistake, in one line.
    Mistake(String),
}

impl From<ConfigError> for Stop {
    fn from(error: ConfigError) -> Stop {
        Stop::Mistake(error.to_string())
    }
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Stop {
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Told(error.to_string()),
            _ => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                Stop::Mistake(format!("{} (--help tells more)", line.trim_start_matches("error: ")))
            }
        }
    }
}

impl Args {
    /// Reads arguments, the program's name first, the environment, and the configuration file.
    pub fn read(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Args, Stop> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let command = Args::command();
        let told = command.clone().try_get_matches_from(&arguments)?;
        let (arguments, sources) = config::merge(&command, arguments, &told)?;
        let args = Args::from_arg_matches(&command.try_get_matches_from(arguments)?)?;
        Ok(Args { sources, ..args })
    }

    /// The settings that they mean.
    pub fn settings(&self) -> Result<Settings, Stop> {
        let mut settings = Settings { listen: self.listen, data: self.data.clone(), ..Settings::default() };
        settings.engine.network.clone_from(&self.network);
        settings.engine.supernodes = self.peers.iter().filter(|peer| !peer.is_empty()).cloned().collect();
        settings.engine.founder = !self.no_found && (self.found || settings.engine.supernodes.is_empty());
        settings.engine.archive = self.archive;
        settings.user = self.user;
        settings.engine.store_bytes_max = self.store_bytes_max.unwrap_or(settings.engine.store_bytes_max);
        if let Some(clients) = self.clients_max {
            let pages = settings.limits.connections_max - settings.limits.clients_max;
            settings.limits.clients_max = clients as usize;
            settings.limits.connections_max = clients as usize + pages;
            settings.engine.links_supernode_max = clients as usize;
        }
        settings.tls = self.tls.settings();
        settings.join_token_file = self.join_token_file.clone().filter(|file| !file.as_os_str().is_empty());
        settings.api = self.access().settings().map_err(|error| self.mistake(&error.into()))?;
        settings.reach = self.reach.settings().map_err(|error| self.mistake(&error.into()))?;
        settings.traffic = self.traffic.settings();
        settings.metrics_listen = self.metrics_listen;
        settings.check().map_err(|error| self.mistake(&error))?;
        Ok(settings)
    }

    /// `PONTOON_TOKEN` is of the environment, and says more than the file's name of another token.
    fn access(&self) -> AccessArgs {
        let mut access = self.access.clone();
        if self.sources.is_file("token-file") && std::env::var_os("PONTOON_TOKEN").is_some_and(|it| !it.is_empty()) {
            access.token_file = None;
        }
        access
    }

    /// What is wrong, and where it was said.
    fn mistake(&self, error: &SettingsError) -> Stop {
        let place = match error.key() {
            "token-file" if self.access().token_file.is_none() => "PONTOON_TOKEN".to_owned(),
            key => self.sources.of(key),
        };
        Stop::Mistake(format!("{place}: {error}"))
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
        assert!(settings.engine.supernode && settings.engine.founder);

        let peers = ["--peer", "ws://a:1/pontoon", "--peer", "ws://b:2/pontoon"];
        let settings = read(&peers).unwrap();
        assert_eq!(settings.engine.supernodes, ["ws://a:1/pontoon", "ws://b:2/pontoon"]);
        assert!(!settings.engine.founder, "who has somebody to ask waits");
        assert!(read(&[&peers[..], &["--found"]].concat()).unwrap().engine.founder);
        assert!(!read(&["--no-found"]).unwrap().engine.founder);

        let settings = read(&["--archive", "--store-bytes-max", "1073741824"]).unwrap();
        assert!(settings.engine.archive && settings.engine.store_bytes_max == 1 << 30);
        assert!(!read(&[]).unwrap().engine.archive);
    }

    #[test]
    fn a_mistake_is_one_line() {
        for wrong in [
            &["--listen", "nowhere"][..],
            &["--peer", "http://a"],
            &["--network", ""],
            &["--clients-max", "many"],
            &["--store-bytes-max", "0"],
            &["--listne", "127.0.0.1:1"],
            &["surprise"],
        ] {
            match read(wrong) {
                Err(Stop::Mistake(line)) => assert!(!line.is_empty() && line.lines().count() == 1, "{line}"),
                other => panic!("{wrong:?}: {other:?}"),
            }
        }
    }

    fn file(content: &str) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("supernode.toml");
        std::fs::write(&file, content).unwrap();
        let argument = format!("--config={}", file.display());
        (directory, argument)
    }

    #[test]
    fn what_a_file_means_and_what_says_more() {
        let content = "listen = \"0.0.0.0:9\"\nnetwork = \"shop\"\nclients_max = 1_000\nfound = false\n\
            peer = [\"ws://a/pontoon\", \"wss://b/pontoon?token=0123456789abcdef\"]\n\
            origin = [\"https://shop.example.org\"]\nopen = true\n";
        let (_directory, file) = file(content);
        let settings = read(&[&file]).unwrap();
        assert_eq!((settings.listen.port(), settings.engine.network.as_str()), (9, "shop"));
        assert_eq!((settings.limits.clients_max, settings.engine.founder, settings.api.open), (1_000, false, true));
        assert_eq!(settings.engine.supernodes.len(), 2);
        assert_eq!(settings.api.origins, ["https://shop.example.org"]);

        // A flag says more, a list as a whole; before and after the file's.
        let flags = ["--found", "--network", "toys", "--peer", "ws://c/pontoon"];
        for arguments in [[&flags[..], &[&file]].concat(), [&[&file[..]], &flags[..]].concat()] {
            let settings = read(&arguments).unwrap();
            assert_eq!(settings.engine.network, "toys");
            assert_eq!(settings.engine.supernodes, ["ws://c/pontoon"]);
            assert!(settings.engine.founder && settings.listen.port() == 9);
        }
    }

    #[test]
    fn upkeep_reads_it_too() {
        let (_directory, file) = file("data = \"/srv/pontoon\"\nlog = \"warn\"\n");
        let read = |arguments: &[&str]| {
            let arguments = ["pontoon-supernode"].iter().chain(arguments).map(std::ffi::OsString::from);
            Args::read(arguments).unwrap()
        };
        let args = read(&["verify", &file]);
        assert!(args.upkeep.is_some() && args.data == std::path::Path::new("/srv/pontoon") && args.log == "warn");
        let args = read(&[&file, "verify", "--data", "here"]);
        assert_eq!(args.data, std::path::Path::new("here"));
    }

    #[test]
    fn where_values_come_from() {
        let (_directory, file) = file("\nnetwork = \"\"\n");
        let Err(Stop::Mistake(line)) = read(&[&file]) else { panic!() };
        assert!(line.contains("supernode.toml:2: network: the network's name"), "{line}");
        let Err(Stop::Mistake(line)) = read(&[&file, "--network="]) else { panic!() };
        assert!(line.starts_with("--network: the network's name"), "{line}");
        assert!(read(&[&file, "--network=shop"]).is_ok());
    }

    /// The sample that is delivered, with the names of its files.
    #[test]
    fn the_sample_reads() {
        let sample = include_str!("../../deploy/supernode.toml");
        // What is commented out is a setting too; what is said about it begins with another sign.
        let whole: String = sample.lines().map(|line| line.trim_start_matches("#: ").to_owned() + "\n").collect();
        for content in [sample, &whole] {
            let (_directory, file) = file(content);
            let arguments = ["pontoon-supernode", &file].map(std::ffi::OsString::from);
            let args = Args::read(arguments).unwrap();
            assert_eq!(args.network, "shop");
        }
    }

    #[test]
    fn help_is_no_mistake() {
        assert!(matches!(read(&["--help"]), Err(Stop::Told(text)) if text.contains("PONTOON_LISTEN")));
    }
}
