//! What one address and one client may take: so that nobody who takes more costs the others.
//!
//! ```text
//!   TCP connection ──► Addresses::connection ── too many, too quickly ──► closed unheard
//!   HTTP request   ──► Addresses::pace ──────── too quickly ────────────► waits, and with it its connection
//!                  ──► Addresses::request ───── too many at once ───────► 429
//!   chunk          ──► Meter::take ── too quickly ──► not read for a while, so that TCP holds the sender back
//!                                  └─ for too long ─► cut, and told why
//! ```
//!
//! The defaults are those that the pages of one large household, school or company never feel.

mod addresses;
mod bucket;
mod meter;
mod proxy;
mod stall;

use std::{net::IpAddr, time::Duration};

pub(crate) use addresses::{Addresses, Held};
use clap::Args;
pub(crate) use meter::{Meter, Verdict};
pub(crate) use proxy::{Caller, client};
pub(crate) use stall::Stalling;

/// Bounds by address and by client. A number of 0 is no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficLimits {
    /// Connections at once from one address; IPv6 addresses of one /64 are one.
    pub address_connections_max: u32,
    /// New connections a second from one address; five seconds' worth may come at once.
    pub address_connects_per_s: u32,
    /// HTTP requests below `/v1` that are carried out at once for one address; one more is answered 429.
    pub address_requests_max: u32,
    /// HTTP requests a second of one address, two seconds' worth at once; more of them wait. Those with the token do not.
    pub address_requests_per_s: u32,
    /// Bytes a second that are taken from one WebSocket; two seconds' worth may come at once.
    pub client_bytes_per_s: u32,
    /// WebSocket messages a second that are taken from one client; two seconds' worth may come at once.
    pub client_chunks_per_s: u32,
    /// A client that is held back by one of these two without a pause is cut after so long.
    pub flood_patience: Duration,
    /// Bytes of one client that wait for the engine at once, about: what others wait for when it floods.
    pub client_window_bytes: u32,
    /// A connection that takes nothing of what it is sent for so long is cut.
    pub stall_timeout: Duration,
    /// Addresses of proxies: whom these connect for is in their `X-Forwarded-For`.
    pub trusted_proxies: Vec<IpAddr>,
}

impl Default for TrafficLimits {
    fn default() -> TrafficLimits {
        TrafficLimits {
            address_connections_max: 512,
            address_connects_per_s: 500,
            address_requests_max: 64,
            address_requests_per_s: 1_000,
            client_bytes_per_s: 32 << 20,
            client_chunks_per_s: 8_000,
            flood_patience: Duration::from_secs(30),
            client_window_bytes: 128 << 10,
            stall_timeout: Duration::from_secs(60),
            trusted_proxies: Vec::new(),
        }
    }
}

/// The flags for it.
#[derive(Clone, Debug, Default, Args)]
pub struct TrafficArgs {
    /// Connections at once from one address (IPv6: from one /64); 0: no bound
    #[arg(long, env = "PONTOON_ADDRESS_CONNECTIONS_MAX", value_name = "NUMBER")]
    pub address_connections_max: Option<u32>,
    /// New connections a second from one address; 0: no bound
    #[arg(long, env = "PONTOON_ADDRESS_CONNECTS_PER_S", value_name = "NUMBER")]
    pub address_connects_per_s: Option<u32>,
    /// HTTP requests carried out at once for one address; 0: no bound
    #[arg(long, env = "PONTOON_ADDRESS_REQUESTS_MAX", value_name = "NUMBER")]
    pub address_requests_max: Option<u32>,
    /// HTTP requests a second of one address, those with the token not counted; 0: no bound
    #[arg(long, env = "PONTOON_ADDRESS_REQUESTS_PER_S", value_name = "NUMBER")]
    pub address_requests_per_s: Option<u32>,
    /// Bytes a second taken from one WebSocket client; 0: no bound
    #[arg(long, env = "PONTOON_CLIENT_BYTES_PER_S", value_name = "BYTES")]
    pub client_bytes_per_s: Option<u32>,
    /// Messages a second taken from one WebSocket client; 0: no bound
    #[arg(long, env = "PONTOON_CLIENT_CHUNKS_PER_S", value_name = "NUMBER")]
    pub client_chunks_per_s: Option<u32>,
    /// A client that is over one of these two rates for so many seconds without a pause is cut
    #[arg(long, env = "PONTOON_FLOOD_SECONDS", value_name = "SECONDS")]
    pub flood_seconds: Option<u32>,
    /// A proxy whose X-Forwarded-For says whom it connects for; may be given several times (in the environment: with
    /// commas)
    #[arg(long = "trusted-proxy", env = "PONTOON_TRUSTED_PROXIES", value_name = "ADDRESS", value_delimiter = ',')]
    pub trusted_proxies: Vec<IpAddr>,
}

impl TrafficArgs {
    /// The settings that they mean.
    pub fn settings(&self) -> TrafficLimits {
        let usual = TrafficLimits::default();
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        TrafficLimits {
            address_connections_max: self.address_connections_max.unwrap_or(usual.address_connections_max),
            address_connects_per_s: self.address_connects_per_s.unwrap_or(usual.address_connects_per_s),
            address_requests_max: self.address_requests_max.unwrap_or(usual.address_requests_max),
            address_requests_per_s: self.address_requests_per_s.unwrap_or(usual.address_requests_per_s),
            client_bytes_per_s: self.client_bytes_per_s.unwrap_or(usual.client_bytes_per_s),
            client_chunks_per_s: self.client_chunks_per_s.unwrap_or(usual.client_chunks_per_s),
            flood_patience: self.flood_seconds.map_or(usual.flood_patience, seconds),
            trusted_proxies: self.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
            ..usual
        }
    }
}
