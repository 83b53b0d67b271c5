//! `/v1/ring` and `/v1/peers`: what this node knows of the network, as JSON and as a graph for Graphviz.
//!
//! The ring is all ids in their order, this node's among them. Fingers are its links by how many leading bits the peer has
//! in common with it: the key space halves with each. Replicas are the regions that it holds, each with its owner and the
//! members of its group. A node is linked to its neighbours and to some peers in each half: of a network with more peers
//! than it has heard of, this is a part.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{RawQuery, State},
    http::{Response, StatusCode, header},
    response::IntoResponse,
};
use pontoon_core::{
    Id,
    inspect::{FragmentInfo, Inspect, LinkInfo},
};
use serde::Serialize;
use tokio::time::timeout;

use super::{Api, error::ApiError, query};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ring {
    network: String,
    /// The node that says so.
    id: String,
    joined: bool,
    nodes: Vec<Member>,
    fingers: Vec<Finger>,
    replicas: Vec<FragmentInfo>,
}

/// A node of the ring.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    #[serde(serialize_with = "shown")]
    id: Id,
    role: &'static str,
    linked: bool,
    sibling: bool,
}

/// Links into one part of the key space.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finger {
    /// Leading bits that the peers have in common with this node.
    bits: u32,
    #[serde(serialize_with = "all_shown")]
    peers: Vec<Id>,
}

/// Every peer that this node has heard of lately, with the link to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Peers {
    id: String,
    peers: Vec<Peer>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    #[serde(serialize_with = "shown")]
    id: Id,
    role: &'static str,
    /// Null where it is only known.
    link: Option<LinkInfo>,
}

fn shown<S: serde::Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn all_shown<S: serde::Serializer>(ids: &[Id], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(Id::to_string))
}

/// `GET /v1/ring`.
pub(super) async fn ring(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Response<Body>, ApiError> {
    let [format] = query::parameters(query.as_deref(), ["format"])?;
    let ring = Ring::of(inspect(&api).await?);
    match format.as_deref() {
        None | Some("json") => Ok(told(Json(ring))),
        Some("dot") => Ok(told(([(header::CONTENT_TYPE, "text/vnd.graphviz; charset=utf-8")], ring.dot()))),
        Some(_) => Err(ApiError::invalid("the parameter format is json or dot")),
    }
}

/// `GET /v1/peers`.
pub(super) async fn peers(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<Response<Body>, ApiError> {
    query::parameters(query.as_deref(), [])?;
    let Inspect { id, links, peers, .. } = inspect(&api).await?;
    let mut links: BTreeMap<Id, LinkInfo> = links.into_iter().map(|link| (link.peer, link)).collect();
    let peers = peers.into_iter().map(|peer| Peer { id: peer.id, role: peer.role, link: links.remove(&peer.id) });
    Ok(told(Json(Peers { id: id.to_string(), peers: peers.collect() })))
}

fn told(answer: impl IntoResponse) -> Response<Body> {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

async fn inspect(api: &Api) -> Result<Inspect, ApiError> {
    let late = || ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the engine did not answer in time");
    Ok(timeout(api.access.limits.timeout, api.engine.inspect()).await.map_err(|_| late())??)
}

impl Ring {
    fn of(seen: Inspect) -> Ring {
        let Inspect { id, network, role, joined, links, peers, fragments, .. } = seen;
        let siblings: Vec<Id> = links.iter().filter(|link| link.sibling).map(|link| link.peer).collect();
        let mut nodes = vec![Member { id, role, linked: true, sibling: false }];
        nodes.extend(peers.iter().map(|peer| Member {
            id: peer.id,
            role: peer.role,
            linked: peer.linked,
            sibling: siblings.contains(&peer.id),
        }));
        nodes.sort_by_key(|node| node.id);
        let mut fingers: BTreeMap<u32, Vec<Id>> = BTreeMap::new();
        for link in &links {
            fingers.entry(id.common_prefix(&link.peer)).or_default().push(link.peer);
        }
        let fingers = fingers.into_iter().map(|(bits, peers)| Finger { bits, peers }).collect();
        Ring { network, id: id.to_string(), joined, nodes, fingers, replicas: fragments }
    }

    /// The ring in solid lines, fingers dashed, and from each owner to the members of its groups an arrow.
    fn dot(&self) -> String {
        let mut text =
            String::from("digraph ring {\n  layout=circo;\n  node [shape=ellipse, fontname=\"monospace\"];\n");
        for node in &self.nodes {
            let (id, short) = (node.id, node.id.short());
            let shape = if node.role == "supernode" { ", shape=box" } else { "" };
            let bold = if id.to_string() == self.id { ", style=bold" } else { "" };
            let _ = writeln!(text, "  \"{id}\" [label=\"{short}\"{shape}{bold}];");
        }
        if self.nodes.len() > 1 {
            for (node, next) in self.nodes.iter().zip(self.nodes.iter().cycle().skip(1)) {
                let _ = writeln!(text, "  \"{}\" -> \"{}\" [dir=none, weight=10];", node.id, next.id);
            }
        }
        for Finger { bits, peers } in &self.fingers {
            for peer in peers {
                let (from, bits) = (&self.id, bits);
                let _ =
                    writeln!(text, "  \"{from}\" -> \"{peer}\" [style=dashed, label=\"{bits}\", constraint=false];");
            }
        }
        for FragmentInfo { region, owner, members, .. } in &self.replicas {
            for member in members.iter().filter(|member| *member != owner) {
                let look = "color=blue, constraint=false";
                let _ = writeln!(text, "  \"{owner}\" -> \"{member}\" [{look}, label=\"{region}\"];");
            }
        }
        text.push_str("}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::inspect::{PeerInfo, StoreInfo};

    use super::*;

    fn seen() -> Inspect {
        let [me, near, far] = [0x40, 0x60, 0xc0].map(|first| {
            let mut id = Id::ZERO;
            id.0[0] = first;
            id
        });
        let link = |peer, sibling| LinkInfo {
            peer,
            kind: "direct",
            transport: "websocket",
            via: None,
            role: "supernode",
            rtt_us: 5,
            sibling,
            sent_bytes: 1,
            received_bytes: 2,
        };
        let fragment = FragmentInfo {
            region: "0".to_owned(),
            share: 0.5,
            epoch: 3,
            owner: me,
            in_step: true,
            members: vec![me, near],
            state: "active",
            assumed_lost: false,
            lease_ms: 4_000,
            records: 7,
        };
        Inspect {
            id: me,
            network: "test".to_owned(),
            role: "supernode",
            joined: true,
            now_ms: 0,
            links: vec![link(far, false), link(near, true)],
            peers: [near, far].map(|id| PeerInfo { id, role: "supernode", linked: true }).to_vec(),
            fragments: vec![fragment],
            store: StoreInfo::default(),
            globals: Default::default(),
            counters: Default::default(),
        }
    }

    #[test]
    fn the_ring_is_in_order_and_fingers_by_their_bits() {
        let ring = Ring::of(seen());
        let first: Vec<u8> = ring.nodes.iter().map(|node| node.id.0[0]).collect();
        assert_eq!(first, [0x40, 0x60, 0xc0]);
        assert_eq!(ring.nodes.iter().map(|node| node.sibling).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(ring.fingers.iter().map(|finger| finger.bits).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn the_graph_has_ring_fingers_and_replicas() {
        let dot = Ring::of(seen()).dot();
        let lines = |what: &str| dot.lines().filter(|line| line.contains(what)).count();
        assert_eq!((lines("dir=none"), lines("dashed"), lines("color=blue")), (3, 2, 1), "{dot}");
        assert!(dot.starts_with("digraph ring {") && dot.ends_with("}\n"));
        let alone = Ring::of(Inspect { links: vec![], peers: vec![], fragments: vec![], ..seen() }).dot();
        assert!(!alone.contains("->"), "{alone}");
    }
}
