//! How a supernode is: what `/healthz` shows, and `/readyz` answers by.

use serde::Serialize;

use crate::{disk::DiskState, reach::Turned};

/// How the supernode is: what `/healthz` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `ok`; `degraded` while the disk takes no writes; `leaving` while it shuts down.
    pub status: &'static str,
    /// This program's version.
    pub version: &'static str,
    /// The node's id (hexadecimal).
    pub id: String,
    /// The network's name.
    pub network: String,
    /// Whether the node has joined its network.
    pub joined: bool,
    /// Whether it is a part of one: it holds a region or is linked. A supernode calls itself joined from the start.
    pub in_network: bool,
    /// Open sockets, accepted and dialled, before and after their handshake.
    pub sockets: usize,
    /// WebRTC sessions, those that are being negotiated too.
    pub webrtc: usize,
    /// What TURN carries; nothing where there is none.
    pub turn: Option<Turned>,
    /// Open links to other peers, relayed ones included.
    pub links: usize,
    /// Records kept, tombstones included.
    pub records: usize,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whether the disk takes writes.
    pub disk: DiskState,
    /// Bytes that wait for the disk.
    pub disk_pending_bytes: usize,
    /// What the driver counted since the start.
    pub counters: Counters,
}

impl Health {
    /// Whether work may be sent here; why not, if not.
    pub fn ready(&self) -> Result<(), &'static str> {
        match self {
            Health { status: "leaving", .. } => Err("leaving"),
            Health { joined: false, .. } | Health { in_network: false, .. } => Err("not joined"),
            Health { disk: DiskState::Ok, .. } => Ok(()),
            Health { disk: DiskState::Full, .. } => Err("the disk is full"),
            Health { disk: DiskState::Failing, .. } => Err("the disk gives errors"),
            Health { disk: DiskState::Damaged, .. } => Err("the store is damaged"),
        }
    }
}

/// Things counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Sockets opened.
    pub sockets_opened: u64,
    /// WebRTC data channels opened.
    pub channels_opened: u64,
    /// WebRTC sessions that came to nothing.
    pub channels_failed: u64,
    /// Clients cut because they did not take what they were sent.
    pub clients_cut: u64,
    /// Attempts to reach another supernode that failed.
    pub dials_failed: u64,
    /// Batches on disk.
    pub batches_written: u64,
    /// Batches that the disk did not take.
    pub batches_failed: u64,
    /// Times that the disk stopped taking writes.
    pub disk_outages: u64,
}
