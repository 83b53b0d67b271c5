//! What is counted of sockets and requests, for `/metrics`.
//!
//! Invariant: labels have few values that are known beforehand ([`Cut`], [`Refused`], [`Route`], statuses that this program
//! answers): nothing that a client sends becomes one. See docs/decisions/035-limits-and-metrics.md.

mod http;
mod page;
mod serve;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use http::{Requests, Route};
pub(crate) use page::{Looks, Now, page};
pub(crate) use serve::serve;
pub(crate) use text::TYPE;

/// Something that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reasons, each with its count; told in the log at most once a second, since there may be thousands.
#[derive(Debug)]
struct Reasons<const N: usize> {
    counts: [Count; N],
    told: [Told; N],
}

impl<const N: usize> Default for Reasons<N> {
    fn default() -> Reasons<N> {
        Reasons { counts: std::array::from_fn(|_| Count::default()), told: std::array::from_fn(|_| Told::default()) }
    }
}

#[derive(Debug, Default)]
struct Told {
    second: AtomicU64,
    count: AtomicU64,
}

impl<const N: usize> Reasons<N> {
    /// Counts one, and gives how many there were since they were last told, if it is time to tell again.
    fn count(&self, reason: usize) -> Option<u64> {
        let (count, told) = (self.counts.get(reason)?, self.told.get(reason)?);
        count.add(1);
        // Never 0, which is "not told yet".
        let second = uptime_s() + 1;
        if told.second.swap(second, Ordering::Relaxed) == second {
            return None;
        }
        let now = count.get();
        Some(now - told.count.swap(now, Ordering::Relaxed).min(now))
    }

    fn get(&self, reason: usize) -> u64 {
        self.counts.get(reason).map_or(0, Count::get)
    }
}

fn uptime_s() -> u64 {
    static START: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(tokio::time::Instant::now).elapsed().as_secs()
}

/// Why a client or a connection was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It does not take what it is sent: its queue is full.
    Overflow,
    /// It does not take what it is sent: nothing for too long.
    Stalled,
    /// It sent too much for too long.
    Flood,
    /// A message of more than a chunk.
    Oversized,
    /// It broke the protocol of WebSockets, or sent text.
    Protocol,
    /// It was silent for too long.
    Idle,
    /// The header of its request did not come in time.
    SlowHeader,
}

impl Cut {
    const ALL: [(Cut, &'static str); 7] = [
        (Cut::Overflow, "overflow"),
        (Cut::Stalled, "stalled"),
        (Cut::Flood, "flood"),
        (Cut::Oversized, "oversized"),
        (Cut::Protocol, "protocol"),
        (Cut::Idle, "idle"),
        (Cut::SlowHeader, "slow_header"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Cut::ALL[self as usize].1
    }
}

/// Why a connection, an upgrade or a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many connections in all.
    Connections,
    /// Too many WebSocket clients in all.
    Clients,
    /// Too many connections from one address.
    AddressConnections,
    /// Too many new connections a second from one address.
    AddressRate,
    /// Too many requests at once for one address.
    AddressRequests,
    /// Too many requests at once in all.
    Requests,
    /// The supernode is leaving.
    Leaving,
    /// A page of an origin that may not join.
    Origin,
    /// Joining without the token that it needs.
    NoJoinToken,
    /// Joining with a token that is none.
    WrongJoinToken,
    /// Plain HTTP where TLS is spoken.
    PlainHttp,
}

impl Refused {
    const ALL: [(Refused, &'static str); 11] = [
        (Refused::Connections, "connections"),
        (Refused::Clients, "clients"),
        (Refused::AddressConnections, "address_connections"),
        (Refused::AddressRate, "address_rate"),
        (Refused::AddressRequests, "address_requests"),
        (Refused::Requests, "requests"),
        (Refused::Leaving, "leaving"),
        (Refused::Origin, "origin"),
        (Refused::NoJoinToken, "no_join_token"),
        (Refused::WrongJoinToken, "wrong_join_token"),
        (Refused::PlainHttp, "plain_http"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Refused::ALL[self as usize].1
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Connections accepted.
    pub(crate) connections: Count,
    /// Of these, those that ended.
    pub(crate) connections_ended: Count,
    /// Bytes on all accepted connections.
    pub(crate) received_bytes: Count,
    pub(crate) sent_bytes: Count,
    /// Chunks on all WebSockets.
    pub(crate) received_chunks: Count,
    pub(crate) sent_chunks: Count,
    /// For how long WebSockets were not read because their clients sent too much.
    pub(crate) held_back_us: Count,
    pub(crate) requests: Requests,
    /// Requests that waited because their address asks too quickly.
    pub(crate) requests_held_back: Count,
    cut: Reasons<{ Cut::ALL.len() }>,
    refused: Reasons<{ Refused::ALL.len() }>,
}

impl Metrics {
    /// Counts somebody who was cut; gives how many were, since it was last told, if that is to be told now.
    pub(crate) fn cut(&self, reason: Cut) -> Option<u64> {
        self.cut.count(reason as usize)
    }

    /// The same of somebody who was refused.
    pub(crate) fn refuse(&self, reason: Refused) -> Option<u64> {
        self.refused.count(reason as usize)
    }

    /// How many were cut, by reason.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cut::ALL.iter().map(|(reason, name)| (*name, self.cut.get(*reason as usize)))
    }

    /// How many were refused, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL.iter().map(|(reason, name)| (*name, self.refused.get(*reason as usize)))
    }
}

/// Counts somebody who was refused, and says so in the log, once a second for each reason.
pub(crate) fn refused(metrics: &Metrics, reason: Refused, address: std::net::IpAddr) {
    if let Some(count) = metrics.refuse(reason) {
        tracing::warn!(reason = reason.name(), %address, count, "refused (the last one's address)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_their_reasons() {
        assert!(Cut::ALL.iter().enumerate().all(|(at, (reason, _))| *reason as usize == at));
        assert!(Refused::ALL.iter().enumerate().all(|(at, (reason, _))| *reason as usize == at));
    }

    #[test]
    fn all_are_counted_and_few_are_told() {
        let metrics = Metrics::default();
        let told: Vec<u64> = (0..1_000).filter_map(|_| metrics.cut(Cut::Flood)).collect();
        assert!(told.len() < 5 && told[0] == 1, "{told:?}");
        assert_eq!(metrics.cuts().find(|(name, _)| *name == "flood"), Some(("flood", 1_000)));
    }
}
