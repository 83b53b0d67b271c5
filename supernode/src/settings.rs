//! What an operator or a test may set, and the bounds of everything that the driver keeps. One place.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use axum::http::Uri;
use pontoon_core::Config;

use crate::{
    api::{Access, AccessError},
    door::{JoinError, JoinTokens, without_query},
    reach::{ReachError, ReachSettings, check_public},
    site,
    tls::{Tls, TlsError, client::is_secure},
    traffic::TrafficLimits,
};

/// The path of the WebSocket end.
pub const SOCKET_PATH: &str = "/pontoon";

/// Settings of a supernode.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory of the store; created when missing, used by one process at a time.
    pub data: PathBuf,
    /// The engine's settings: network, addresses of other supernodes, whether to found the network.
    pub engine: Config,
    /// The files that `/` serves.
    pub site: site::Site,
    /// Bounds.
    pub limits: Limits,
    /// Who may do what over HTTP, and how much of it.
    pub api: Access,
    /// How browsers that no address leads to are reached.
    pub reach: ReachSettings,
    /// Certificates: the own one, and those that others are checked against.
    pub tls: Tls,
    /// The file with the tokens of which peers need one to join; `None`: everybody may.
    pub join_token_file: Option<PathBuf>,
    /// Whether requests are made for a user of this supernode's, who owns the tables that they create.
    pub user: bool,
    /// What one address and one client may take.
    pub traffic: TrafficLimits,
    /// Where `/metrics` is to be asked for; `None`: nowhere. Whoever reaches it may read it.
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("pontoon-data"),
            engine: Config { supernode: true, founder: true, direct_links: false, ..Config::default() },
            site: site::demo,
            limits: Limits::default(),
            api: Access::default(),
            reach: ReachSettings::default(),
            tls: Tls::default(),
            join_token_file: None,
            user: false,
            traffic: TrafficLimits::default(),
            metrics_listen: None,
        }
    }
}

/// Bounds of the driver. The engine's own are in [`Config`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// WebSocket clients at once; one more is answered 503.
    pub clients_max: usize,
    /// TCP connections at once, clients included; one more is closed unheard.
    pub connections_max: usize,
    /// Bytes waiting to be sent to one client; one more chunk and the client is cut. Above what the engine sends in one
    /// burst (a batch of large records) to a client that takes it.
    pub queue_bytes_max: usize,
    /// Bytes waiting to be sent to all clients. Beyond it, whoever has more than [`Limits::queue_fair_bytes`] waiting
    /// and is to be sent another chunk is cut.
    pub queues_bytes_max: usize,
    /// See [`Limits::queues_bytes_max`].
    pub queue_fair_bytes: usize,
    /// Events of all sockets that wait for the engine; sockets are not read meanwhile.
    pub events_max: usize,
    /// Calls of the application that wait for the engine; callers wait meanwhile.
    pub requests_max: usize,
    /// Bytes waiting for the disk; the engine takes nothing from sockets meanwhile.
    pub disk_bytes_max: usize,
    /// Sockets dialled to other supernodes, open ones included; one more fails at once.
    pub dials_max: usize,
    /// For TLS to begin, for the header of an HTTP request, and for an upgrade to complete.
    pub request_timeout: Duration,
    /// For a dialled supernode to answer.
    pub dial_timeout: Duration,
    /// Between two pings of a client.
    pub ping_every: Duration,
    /// A client that is silent for so long, pongs included, is gone.
    pub idle_timeout: Duration,
    /// For what is queued to leave when a client is let go.
    pub close_timeout: Duration,
    /// For the engine to hand everything over at shutdown.
    pub leave_timeout: Duration,
    /// Between two looks whether a certificate or tokens have changed.
    pub reload_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            clients_max: 10_000,
            connections_max: 11_000,
            queue_bytes_max: 64 << 20,
            queues_bytes_max: 512 << 20,
            queue_fair_bytes: 1 << 20,
            events_max: 1_024,
            requests_max: 256,
            disk_bytes_max: 64 << 20,
            dials_max: 32,
            request_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(1),
            // Above the engine's own limit for it, which gives the orderly answer.
            leave_timeout: Duration::from_millis(4_500),
            reload_every: Duration::from_secs(30),
        }
    }
}

/// A setting that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The network's name is empty or too long.
    #[error("the network's name must have 1 to 64 bytes, not {0}")]
    Network(usize),
    /// An address of another supernode is not a WebSocket address that this program can dial.
    #[error("{address:?} is not the address of another supernode: {reason}")]
    Peer {
        /// As given.
        address: String,
        /// For people.
        reason: &'static str,
    },
    /// Who may do what over HTTP is not said right.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// How peers are reached is not said right.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// No clients at all.
    #[error("it must be 1 at least")]
    Clients,
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Join tokens.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl SettingsError {
    /// The flag that it is about, without its dashes.
    pub fn key(&self) -> &'static str {
        match self {
            SettingsError::Network(_) => "network",
            SettingsError::Peer { .. } => "peer",
            SettingsError::Access(error) => error.key(),
            SettingsError::Reach(error) => error.key(),
            SettingsError::Clients => "clients-max",
            SettingsError::Tls(error) => error.key(),
            SettingsError::Join(_) => "join-token-file",
        }
    }
}

impl Settings {
    /// Refuses what cannot be meant before anything is opened.
    pub fn check(&self) -> Result<(), SettingsError> {
        let network = self.engine.network.len();
        if !(1..=64).contains(&network) {
            return Err(SettingsError::Network(network));
        }
        if self.limits.clients_max == 0 {
            return Err(SettingsError::Clients);
        }
        self.api.check()?;
        self.reach.check()?;
        if let Some(public) = &self.reach.public {
            let refuse = |reason| ReachError::Public { address: without_query(public).to_owned(), reason };
            check_public(public).map_err(refuse)?;
        }
        let supernodes = &self.engine.supernodes;
        supernodes.iter().try_for_each(|address| check_address(address, self.listen))?;
        self.tls.check(supernodes.iter().any(|address| is_secure(address)))?;
        JoinTokens::load(self.join_token_file.as_deref())?;
        Ok(())
    }
}

/// The host and port of an address that a peer can dial, or why it is none.
pub(crate) fn dialable(address: &str) -> Result<(String, u16), &'static str> {
    let uri = address.parse::<Uri>().map_err(|_| "it is not a URL")?;
    let port = match uri.scheme_str() {
        Some("ws") => 80,
        Some("wss") => 443,
        _ => return Err("it should look like wss://host/pontoon or ws://host:8080/pontoon"),
    };
    match uri.host() {
        Some(host) if !host.is_empty() => {
            Ok((host.trim_matches(['[', ']']).to_owned(), uri.port_u16().unwrap_or(port)))
        }
        _ => Err("it names no host"),
    }
}

fn check_address(address: &str, own: SocketAddr) -> Result<(), SettingsError> {
    // Its query may be a token.
    let refuse = |reason| Err(SettingsError::Peer { address: without_query(address).to_owned(), reason });
    match dialable(address) {
        Err(reason) => refuse(reason),
        Ok((host, port)) if host.parse().is_ok_and(|host| SocketAddr::new(host, port) == own) => {
            refuse("it is this supernode itself, see --listen")
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_peer(address: &str) -> Result<(), SettingsError> {
        let mut settings = Settings::default();
        settings.engine.supernodes.push(address.to_owned());
        settings.check()
    }

    #[test]
    fn addresses_of_other_supernodes() {
        assert_eq!(with_peer("ws://127.0.0.1:8081/pontoon"), Ok(()));
        assert_eq!(with_peer("ws://sn.example.org/pontoon"), Ok(()));
        assert_eq!(with_peer("ws://sn.example.org/pontoon?token=0123456789abcdef"), Ok(()));
        for wrong in ["", "sn.example.org:8080", "http://sn.example.org/pontoon", "ws://", "ws:///pontoon"] {
            assert!(with_peer(wrong).is_err(), "{wrong:?}");
        }
        let itself = with_peer("ws://127.0.0.1:8080/pontoon?token=0123456789abcdef").unwrap_err();
        assert!(!itself.to_string().contains("0123456789abcdef"), "{itself}");
    }

    #[test]
    fn names_of_networks() {
        let mut settings = Settings::default();
        settings.engine.network = String::new();
        assert_eq!(settings.check(), Err(SettingsError::Network(0)));
        settings.engine.network = "n".repeat(65);
        assert_eq!(settings.check(), Err(SettingsError::Network(65)));
    }
}
