//! Serialisable snapshots and the trace stream: the only things that a debug page reads.

use serde::{Serialize, Serializer};

use crate::{id::Id, map::Map};

fn hex<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn hex_option<S: Serializer>(id: &Option<Id>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

fn hex_list<S: Serializer>(ids: &[Id], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(Id::to_string))
}

/// One event of the trace stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// Wall clock, milliseconds.
    pub at_ms: u64,
    /// `link`, `route`, `group`, `store`, `spread`, `query`, `message` or `global`.
    pub layer: &'static str,
    /// What happened, in one word.
    pub event: &'static str,
    /// The other peer, if there is one (hexadecimal).
    #[serde(serialize_with = "hex_option")]
    pub peer: Option<Id>,
    /// For people.
    pub detail: String,
}

/// A node at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspect {
    /// This node (hexadecimal).
    #[serde(serialize_with = "hex")]
    pub id: Id,
    /// The network's name.
    pub network: String,
    /// `supernode` or `peer`.
    pub role: &'static str,
    /// Whether the node has joined: it routes and its siblings are known.
    pub joined: bool,
    /// Wall clock, milliseconds.
    pub now_ms: u64,
    /// Open links.
    pub links: Vec<LinkInfo>,
    /// Every live peer this node has heard of lately, linked or not (the ring).
    pub peers: Vec<PeerInfo>,
    /// What this node holds, as owner or as member.
    pub fragments: Vec<FragmentInfo>,
    /// What this node stores.
    pub store: StoreInfo,
    /// Globals by name; values as bytes.
    pub globals: Map<String, Vec<u8>>,
    /// Everything counted since the start.
    pub counters: Map<String, u64>,
}

/// An open link.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkInfo {
    /// The peer at the other end.
    #[serde(serialize_with = "hex")]
    pub peer: Id,
    /// `direct` or `relayed`.
    pub kind: &'static str,
    /// `websocket`, `webrtc` or `relay`.
    pub transport: &'static str,
    /// The relaying peer of a relayed link.
    #[serde(serialize_with = "hex_option")]
    pub via: Option<Id>,
    /// `supernode` or `peer`.
    pub role: &'static str,
    /// Smoothed round trip, microseconds; 0 until measured.
    pub rtt_us: u64,
    /// Whether the peer is one of the nearest.
    pub sibling: bool,
    /// Frame bytes sent to this peer.
    pub sent_bytes: u64,
    /// Frame bytes received from this peer.
    pub received_bytes: u64,
}

/// A live peer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Its id.
    #[serde(serialize_with = "hex")]
    pub id: Id,
    /// `supernode` or `peer`.
    pub role: &'static str,
    /// Whether this node has a link to it.
    pub linked: bool,
}

/// A fragment that this node holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentInfo {
    /// The ternary pattern: `01*1`, `*` for everything.
    pub region: String,
    /// The share of the key space.
    pub share: f64,
    /// The epoch.
    pub epoch: u64,
    /// Who owns it.
    #[serde(serialize_with = "hex")]
    pub owner: Id,
    /// Whether this copy has been in step with its owner's: nothing that was acknowledged before is missing.
    pub in_step: bool,
    /// Who holds copies, owner included.
    #[serde(serialize_with = "hex_list")]
    pub members: Vec<Id>,
    /// `active`, `merging`, `syncing`, `changing`, `member`, `backup` or `retired`.
    pub state: &'static str,
    /// Whether a majority of an earlier epoch was given up for lost.
    pub assumed_lost: bool,
    /// What is left of the owner's lease, milliseconds.
    pub lease_ms: u64,
    /// Records in it, tombstones included.
    pub records: usize,
}

/// What a node stores.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreInfo {
    /// Records, tombstones included.
    pub records: usize,
    /// Bytes, about.
    pub bytes: u64,
    /// By namespace.
    pub namespaces: Vec<NamespaceInfo>,
}

/// What a node stores of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceInfo {
    /// The namespace.
    pub namespace: String,
    /// Visible records held, copies for others included.
    pub records: usize,
    /// Visible records that this node owns.
    pub owned: usize,
    /// Bytes, about.
    pub bytes: u64,
}
