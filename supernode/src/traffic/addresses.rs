//! What each address has of this supernode at the moment.
//!
//! Invariant: the table has at most [`ADDRESSES_MAX`] addresses and those that hold something, whose number the bounds of
//! connections and requests bound. When it is full, those that hold nothing are forgotten all at once.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::time::{Duration, Instant};

use super::{
    TrafficLimits,
    bucket::{Bucket, Rate},
};
use crate::metrics::Refused;

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 32_768;
/// Seconds' worth of new connections that may come at once,
const BURST_S: f64 = 5.0;
/// and of requests.
const REQUESTS_BURST_S: f64 = 2.0;

/// Who shares bounds: an IPv4 address, or the /64 of an IPv6 one, which is what one customer gets at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source(bool, [u8; 8]);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Source {
        let mut bytes = [0; 8];
        let six = match address.to_canonical() {
            IpAddr::V4(four) => {
                bytes[..4].copy_from_slice(&four.octets());
                false
            }
            IpAddr::V6(six) => {
                bytes.copy_from_slice(&six.octets()[..8]);
                true
            }
        };
        Source(six, bytes)
    }
}

#[derive(Debug)]
struct Entry {
    connections: u32,
    requests: u32,
    connects: Bucket,
    asks: Bucket,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Connection,
    Request,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    table: Arc<Mutex<BTreeMap<Source, Entry>>>,
    connections_max: u32,
    requests_max: u32,
    connects: Rate,
    asks: Rate,
}

impl Addresses {
    pub(crate) fn new(limits: &TrafficLimits) -> Addresses {
        let bound = |max: u32| if max == 0 { u32::MAX } else { max };
        Addresses {
            table: Arc::default(),
            connections_max: bound(limits.address_connections_max),
            requests_max: bound(limits.address_requests_max),
            connects: Rate::new(limits.address_connects_per_s, BURST_S),
            asks: Rate::new(limits.address_requests_per_s, REQUESTS_BURST_S),
        }
    }

    /// A place for one more connection.
    pub(crate) fn connection(&self, address: IpAddr) -> Result<Held, Refused> {
        let (now, rate) = (Instant::now(), self.connects);
        self.hold(address, What::Connection, |entry| {
            if entry.connections >= self.connections_max {
                return Err(Refused::AddressConnections);
            }
            if !entry.connects.try_take(rate, now) {
                return Err(Refused::AddressRate);
            }
            entry.connections += 1;
            Ok(())
        })
    }

    /// A turn for one more request.
    pub(crate) fn request(&self, address: IpAddr) -> Result<Held, Refused> {
        self.hold(address, What::Request, |entry| {
            if entry.requests >= self.requests_max {
                return Err(Refused::AddressRequests);
            }
            entry.requests += 1;
            Ok(())
        })
    }

    /// Counts one more request; gives how long it is to wait, since its address asks too quickly. A connection has one request at a time, so
    /// that those who wait are as many as the address has connections.
    pub(crate) fn pace(&self, address: IpAddr) -> Duration {
        self.entry(address, |entry, now| entry.asks.take(self.asks, 1.0, now))
    }

    /// Addresses that are remembered.
    pub(crate) fn count(&self) -> usize {
        self.table().len()
    }

    fn hold(
        &self,
        address: IpAddr,
        what: What,
        take: impl FnOnce(&mut Entry) -> Result<(), Refused>,
    ) -> Result<Held, Refused> {
        self.entry(address, |entry, _| take(entry))?;
        Ok(Held { addresses: self.clone(), source: Source::from(address), what })
    }

    fn entry<T>(&self, address: IpAddr, take: impl FnOnce(&mut Entry, Instant) -> T) -> T {
        let (source, now) = (Source::from(address), Instant::now());
        let mut table = self.table();
        if table.len() >= ADDRESSES_MAX && !table.contains_key(&source) {
            table.retain(|_, entry| entry.connections + entry.requests > 0);
        }
        let fresh = || Entry {
            connections: 0,
            requests: 0,
            connects: Bucket::full(self.connects, now),
            asks: Bucket::full(self.asks, now),
        };
        take(table.entry(source).or_insert_with(fresh), now)
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<Source, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that an address has; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    addresses: Addresses,
    source: Source,
    what: What,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(entry) = self.addresses.table().get_mut(&self.source) {
            let count = match self.what {
                What::Connection => &mut entry.connections,
                What::Request => &mut entry.requests,
            };
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(connections: u32, per_s: u32) -> Addresses {
        Addresses::new(&TrafficLimits {
            address_connections_max: connections,
            address_connects_per_s: per_s,
            address_requests_max: 1,
            address_requests_per_s: 10,
            ..TrafficLimits::default()
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_places() {
        let addresses = addresses(2, 0);
        let held = [(); 2].map(|()| addresses.connection(ip("192.0.2.1")).unwrap());
        assert_eq!(addresses.connection(ip("192.0.2.1")).unwrap_err(), Refused::AddressConnections);
        assert_eq!(addresses.connection(ip("::ffff:192.0.2.1")).unwrap_err(), Refused::AddressConnections);
        let _other = addresses.connection(ip("192.0.2.2")).unwrap();
        drop(held);
        assert!(addresses.connection(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let addresses = addresses(1, 0);
        let _held = addresses.connection(ip("2001:db8::1")).unwrap();
        assert!(addresses.connection(ip("2001:db8::ffff:1")).is_err());
        assert!(addresses.connection(ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn too_quickly_and_requests_at_once() {
        let addresses = addresses(0, 2);
        let came = (0..100).filter(|_| addresses.connection(ip("192.0.2.1")).is_ok()).count();
        assert!((10..=11).contains(&came), "five seconds' worth at once, not {came}");
        assert_eq!(addresses.connection(ip("192.0.2.1")).unwrap_err(), Refused::AddressRate);
        assert_eq!(addresses.pace(ip("192.0.2.1")), Duration::ZERO);
        let waits = (0..50).map(|_| addresses.pace(ip("192.0.2.1"))).max().unwrap();
        assert!(waits > Duration::from_secs(1), "{waits:?}");
        assert_eq!(addresses.pace(ip("192.0.2.9")), Duration::ZERO);
        let turn = addresses.request(ip("192.0.2.1")).unwrap();
        assert_eq!(addresses.request(ip("192.0.2.1")).unwrap_err(), Refused::AddressRequests);
        drop(turn);
        assert!(addresses.request(ip("192.0.2.1")).is_ok());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_nobody_who_holds_something() {
        let addresses = addresses(1, 0);
        let held = addresses.connection(ip("192.0.2.1")).unwrap();
        for number in 0..3 * ADDRESSES_MAX as u32 {
            drop(addresses.connection(IpAddr::from((0x0a00_0000 + number).to_be_bytes())).unwrap());
            assert!(addresses.count() <= ADDRESSES_MAX);
        }
        assert!(addresses.connection(ip("192.0.2.1")).is_err());
        drop(held);
        assert!(addresses.connection(ip("192.0.2.1")).is_ok());
    }
}
