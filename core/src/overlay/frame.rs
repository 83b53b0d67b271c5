//! What overlays send one another.

use serde::{Deserialize, Serialize};

use crate::{
    id::Id,
    wire::{Body, Contact},
};

/// Frames of a link itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LinkFrame {
    /// The first frame, each way.
    Hello(Hello),
    /// Answers a `Hello`: the signature over its nonce proves the sender's key.
    Proof {
        /// See `handshake::challenge`.
        signature: Vec<u8>,
        /// The sender has a direct channel to the receiver; signed along.
        direct: bool,
    },
    /// The link will not be; the sender closes it.
    Refuse(Refusal),
    /// Are you there?
    Ping {
        /// Quoted by the pong.
        number: u32,
        /// News.
        news: News,
    },
    /// Yes.
    Pong {
        /// The ping's number.
        number: u32,
        /// News.
        news: News,
    },
    /// The sender took responsibility for a routed message.
    HopAck {
        /// The message's serial at the peer that sent it.
        serial: u64,
    },
    /// An encoded frame for a peer that the receiver of this is linked to.
    Relay {
        /// Who sends it; the relay checks that it is the link's peer.
        from: Id,
        /// Whom it is for.
        to: Id,
        /// A whole encoded frame.
        #[serde(with = "crate::wire::bytes")]
        frame: Vec<u8>,
    },
    /// The relay has no direct link to that peer.
    RelayFailed {
        /// The peer.
        to: Id,
    },
    /// The sender closes the link.
    Bye {
        /// It leaves the network, or is not there any more under this link; else it just has too many links.
        leaving: bool,
    },
}

/// Who the sender says it is. It reads the same in all versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest wire version that the sender speaks.
    pub wire: u8,
    /// Plan version.
    pub plan: u16,
    /// The network's name.
    pub network: String,
    /// The public key; its SHA-1 is the peer's id.
    pub public_key: Vec<u8>,
    /// To be signed by the other side.
    #[serde(deserialize_with = "crate::id::array")]
    pub nonce: [u8; 16],
    /// A supernode.
    pub supernode: bool,
    /// Can open WebRTC.
    pub direct_links: bool,
    /// Belongs to a network that was founded.
    pub established: bool,
    /// What the link is to the sender.
    pub want: Want,
    /// The sender's time, microseconds since the epoch.
    pub wall_us: u64,
}

/// What a link is to one of its ends: the more, the fuller the other end may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Want {
    /// One more where there are some.
    Spare,
    /// The only one in its slot, or earned by traffic.
    Slot,
    /// To a sibling, or to the only peer known in a slot.
    Sibling,
}

/// Why a link will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// No wire version in common. Peers of other plan versions are linked: what they cannot run is not covered.
    #[error("another protocol version")]
    Version,
    /// Other network.
    #[error("another network")]
    Network,
    /// The signature does not fit.
    #[error("the identity is not proven")]
    Identity,
    /// No room for another link.
    #[error("no room for another link")]
    Full,
    /// Linked to itself.
    #[error("a link to itself")]
    Myself,
}

/// What probes carry along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct News {
    /// [`News::ESTABLISHED`], [`News::SIBLING`], [`News::NEEDED`], [`News::CROWDED`].
    pub flags: u8,
    /// What changed since the last news over this link.
    pub changes: Option<Box<Changes>>,
}

impl News {
    /// The sender belongs to a network that was founded.
    pub const ESTABLISHED: u8 = 1;
    /// The receiver is one of the sender's siblings.
    pub const SIBLING: u8 = 2;
    /// The sender has no other link into the receiver's slot: it is not to be closed.
    pub const NEEDED: u8 = 4;
    /// The sender has more links than it should: the receiver, if it needs it for a slot only, is to find another one there.
    pub const CROWDED: u8 = 8;

    /// Whether one of the flags is set.
    pub fn says(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What changed at the sender since it last told the receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// A supernode that the sender is directly linked to.
    pub home: Option<Id>,
    /// Peers linked to the sender that are near to the receiver and were not told before.
    pub contacts: Vec<Contact>,
    /// `linked` is all: what was told before is void.
    pub whole: bool,
    /// Peers that the sender is linked to since: the first four bytes of each id.
    pub linked: Vec<u8>,
    /// Peers that it is not linked to any more, in the same way.
    pub unlinked: Vec<u8>,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dest {
    /// To the live peer closest to a key.
    Key(Id),
    /// To one node.
    Node {
        /// The node.
        id: Id,
        /// A peer linked to it; the message goes there first.
        via: Option<Id>,
    },
}

/// How the next hop of a message may be chosen: the guard against loops of routing with one step of lookahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// By what a neighbour is linked to as well.
    Free,
    /// The receiver was chosen for a neighbour of its own at less than this distance (its first 32 bits): it goes there,
    /// or to another one that keeps the promise.
    Promised(u32),
    /// A promise failed: only neighbours nearer than the holder count from here on.
    Strict,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    /// With the origin's id, names the message.
    pub number: u64,
    /// For the acknowledgement of this hop.
    pub serial: u64,
    /// Who sent it first.
    pub origin: Contact,
    /// Where it goes.
    pub dest: Dest,
    /// Hops so far.
    pub hops: u8,
    /// How the receiver may choose the next hop.
    pub step: Step,
    /// The message.
    pub body: Body,
}

/// What overlays say to one another across hops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Handed from peer to nearer peer: who is nearest to a key?
    Find {
        /// The key.
        target: Id,
        /// Quoted by the answer.
        number: u64,
        /// Who asks; never a next hop.
        asker: Contact,
    },
    /// The peer closest to the key answers.
    Found {
        /// The question's number.
        number: u64,
        /// Who answers.
        responder: Contact,
        /// Live peers that it is linked to, nearest to the key first.
        contacts: Vec<Contact>,
    },
    /// A description or candidate of a WebRTC session.
    Signal {
        /// The session.
        session: SessionName,
        /// Opaque.
        #[serde(with = "crate::wire::bytes")]
        payload: Vec<u8>,
    },
    /// The other side does not want this session.
    SignalRefused {
        /// The session.
        session: SessionName,
    },
}

/// Names a WebRTC session at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionName {
    /// Who makes the offer.
    pub initiator: Id,
    /// Unique at the initiator.
    pub number: u64,
}
