//! Settings of reach.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

/// How this supernode is reached, and helps others to be.
#[derive(Clone, Debug)]
pub struct ReachSettings {
    /// The address that others dial, told to who dials this supernode or another one of the network.
    pub public: Option<String>,
    /// Whether to answer STUN and TURN.
    pub turn: bool,
    /// Where; otherwise UDP at the address and port of HTTP.
    pub turn_listen: Option<SocketAddr>,
    /// The address that the ports of TURN and WebRTC are reached at from outside, where that is not the interface's own.
    pub outer_address: Option<IpAddr>,
    /// The UDP ports of TURN's allocations and of WebRTC; any where there is none.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Whether TURN and data channels send to private, loopback and link-local addresses too: into the operator's own
    /// network. Data channels do as well while somebody is connected from there.
    pub turn_private: bool,
    /// Whether to open data channels with browsers and other supernodes.
    pub webrtc: bool,
    /// TURN allocations at once,
    pub allocations_max: usize,
    /// of one client address,
    pub allocations_address_max: usize,
    /// and bytes a second that one allocation may carry, both ways together; more is dropped, as a network would.
    pub allocation_bytes_per_s: u64,
    /// How long credentials are good for; they are renewed after half of it.
    pub credentials: Duration,
    /// WebRTC sessions at once.
    pub sessions_max: usize,
}

impl Default for ReachSettings {
    fn default() -> ReachSettings {
        ReachSettings {
            public: None,
            turn: true,
            turn_listen: None,
            outer_address: None,
            udp_ports: None,
            turn_private: false,
            webrtc: true,
            allocations_max: 1_000,
            allocations_address_max: 100,
            allocation_bytes_per_s: 4 << 20,
            credentials: Duration::from_secs(2 * 3_600),
            sessions_max: 500,
        }
    }
}

/// A setting of reach that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    /// The public address is none that a peer can dial.
    #[error("{address:?} is not the address of a supernode: {reason}")]
    Public {
        /// As given.
        address: String,
        /// For people.
        reason: &'static str,
    },
    /// The range of ports is none, or too small to be of use.
    #[error("{0:?} is no range of ports: give one such as 49152-65535, of at least 16 ports above 1023")]
    Ports(String),
    /// TURN is for IPv4.
    #[error("{0} is no address of IPv4, where address translation is")]
    Family(SocketAddr),
    /// The outer address is not one that anybody reaches.
    #[error("{0} is not an IPv4 address that others reach")]
    Outer(IpAddr),
}

impl ReachError {
    /// The flag that it is about, without its dashes.
    pub fn key(&self) -> &'static str {
        match self {
            ReachError::Public { .. } => "public",
            ReachError::Ports(_) => "udp-ports",
            ReachError::Family(_) => "turn-listen",
            ReachError::Outer(_) => "outer-address",
        }
    }
}

impl ReachSettings {
    /// Whether STUN and TURN are answered by a supernode that listens at `http`. Behind a proxy on the same machine nobody
    /// would reach them there, unless they are told to be elsewhere.
    pub(crate) fn answers_turn(&self, http: SocketAddr) -> bool {
        self.turn && (self.turn_listen.is_some() || self.public.is_none() || !http.ip().is_loopback())
    }

    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), ReachError> {
        let nobodys = |outer: &IpAddr| outer.is_unspecified() || outer.is_multicast() || !outer.is_ipv4();
        if let Some(outer) = self.outer_address.filter(nobodys) {
            return Err(ReachError::Outer(outer));
        }
        if let Some(listen) = self.turn_listen.filter(|listen| !listen.is_ipv4()) {
            return Err(ReachError::Family(listen));
        }
        if let Some(ports) = self.udp_ports.as_ref().filter(|ports| ports.len() < 16 || *ports.start() < 1_024) {
            return Err(ReachError::Ports(format!("{}-{}", ports.start(), ports.end())));
        }
        Ok(())
    }
}

/// How browsers behind NATs are reached
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ReachArgs {
    /// The address that peers dial, such as wss://sn.example.org/pontoon: told to them and to other supernodes
    #[arg(long, env = "PONTOON_PUBLIC", value_name = "URL")]
    pub public: Option<String>,
    /// Answer neither STUN nor TURN
    #[arg(long, env = "PONTOON_NO_TURN")]
    pub no_turn: bool,
    /// Where to answer STUN and TURN over UDP [default: the address and port of --listen]
    #[arg(long, env = "PONTOON_TURN_LISTEN", value_name = "ADDRESS:PORT", conflicts_with = "no_turn")]
    pub turn_listen: Option<SocketAddr>,
    /// Let TURN and data channels send to private addresses too
    #[arg(long, env = "PONTOON_TURN_PRIVATE")]
    pub turn_private: bool,
    /// Open no WebRTC data channels
    #[arg(long, env = "PONTOON_NO_WEBRTC")]
    pub no_webrtc: bool,
    /// The address that UDP ports are reached at from outside, behind a one-to-one NAT
    #[arg(long, env = "PONTOON_OUTER_ADDRESS", value_name = "ADDRESS")]
    pub outer_address: Option<IpAddr>,
    /// UDP ports of TURN and WebRTC, such as 49152-65535 [default: any]
    #[arg(long, env = "PONTOON_UDP_PORTS", value_name = "LOW-HIGH")]
    pub udp_ports: Option<String>,
}

impl ReachArgs {
    /// The settings that they mean.
    pub fn settings(&self) -> Result<ReachSettings, ReachError> {
        let settings = ReachSettings {
            public: self.public.clone(),
            turn: !self.no_turn,
            turn_listen: self.turn_listen,
            outer_address: self.outer_address,
            udp_ports: self.udp_ports.as_deref().map(range).transpose()?,
            turn_private: self.turn_private,
            webrtc: !self.no_webrtc,
            ..ReachSettings::default()
        };
        settings.check()?;
        Ok(settings)
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, ReachError> {
    let ends = text.split_once('-').and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
    ends.map(|(low, high)| low..=high).ok_or_else(|| ReachError::Ports(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Result<ReachSettings, ReachError> {
        ReachArgs { udp_ports: Some(text.to_owned()), ..ReachArgs::default() }.settings()
    }

    #[test]
    fn ranges_of_ports() {
        assert_eq!(ports("49152-65535").unwrap().udp_ports, Some(49_152..=65_535));
        for wrong in ["", "5000", "5000-", "5000-4000", "5000-5004", "80-9000", "1-99999", "a-b"] {
            assert_eq!(ports(wrong).unwrap_err().key(), "udp-ports", "{wrong}");
        }
    }

    #[test]
    fn nobody_reaches_no_address() {
        let outer = |address: &str| {
            ReachArgs { outer_address: Some(address.parse().unwrap()), ..ReachArgs::default() }.settings()
        };
        assert!(outer("198.51.100.7").is_ok());
        assert!(outer("0.0.0.0").is_err() && outer("224.0.0.1").is_err() && outer("2001:db8::1").is_err());
    }
}
