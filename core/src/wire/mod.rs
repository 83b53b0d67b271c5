//! Frames: what travels over a link.
//!
//! A frame is one byte, the version that its link speaks ([`WIRE_VERSION`]), and a `postcard` encoding of [`Frame`]. Enums are append-only:
//! `postcard` numbers variants by position. Ordered, reliable links carry chunks of at most `chunk_bytes`: several short
//! frames, or a part of a long one; see [`Chunks`].
//! Decoding hostile bytes gives a [`WireError`], never a panic, never more memory than the frame's bound.

pub mod bytes;
mod chunk;

use core::ops::RangeInclusive;

pub use chunk::{Chunks, Frames, Outgoing, cut};
use serde::{Deserialize, Serialize};

use crate::{dht, exchange, globals, group, id::Id, live, messaging, overlay, spread};

/// The version of this encoding. Two ends of a link speak the older of their two newest ones, if both still know it:
/// [`WIRE_OLDEST`]. A frame that came with a version is not sent where an older one is spoken.
pub const WIRE_VERSION: u8 = 11;
/// The oldest version that this program speaks: the one before [`WIRE_VERSION`], once there is one that negotiates.
pub const WIRE_OLDEST: u8 = 11;
/// The version of query plans: a peer that does not know a plan says so and is not covered.
pub const PLAN_VERSION: u16 = 5;

/// One frame between the two ends of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// Keeps the link itself: handshake, probes, relaying, acknowledgements of hops.
    Link(overlay::LinkFrame),
    /// A message on its way through the overlay.
    Routed(overlay::Routed),
    /// A message for the peer at the other end of the link.
    Direct(Body),
}

impl Frame {
    /// The version that it came with.
    pub fn since(&self) -> u8 {
        // Nothing came with a version that is not the oldest.
        WIRE_OLDEST
    }
}

/// A message of a layer above the overlay to the same layer of another peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Join, tables, signalling.
    Overlay(overlay::Message),
    /// Who may vouch for a region.
    Group(group::Message),
    /// Operations on one key.
    Dht(dht::Message),
    /// Dissemination over regions.
    Spread(spread::Message),
    /// The application's messages.
    App(messaging::Message),
    /// The replicated map.
    Globals(globals::Message),
    /// Rows on their way to where they meet.
    Exchange(exchange::Message),
    /// What standing queries have to tell.
    Live(live::Message),
}

macro_rules! body_from {
    ($($variant:ident($message:ty)),+) => {$(
        impl From<$message> for Body {
            fn from(message: $message) -> Body {
                Body::$variant(message)
            }
        }
    )+};
}
body_from!(
    Overlay(overlay::Message),
    Group(group::Message),
    Dht(dht::Message),
    Spread(spread::Message),
    App(messaging::Message),
    Globals(globals::Message),
    Exchange(exchange::Message),
    Live(live::Message)
);

/// Bytes that are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The sender speaks a version that is not known here.
    #[error("wire version {0}, known are {WIRE_OLDEST} to {WIRE_VERSION}")]
    Version(u8),
    /// Too long.
    #[error("a frame of more than {0} bytes")]
    TooLong(usize),
    /// Nothing at all, or a chunk without header.
    #[error("an empty frame")]
    Empty,
    /// Not a valid encoding.
    #[error("a malformed frame: {0}")]
    Malformed(String),
}

/// Encodes a frame with the newest version.
pub fn encode(frame: &Frame) -> Vec<u8> {
    encode_as(WIRE_VERSION, frame)
}

/// Encodes a frame for who speaks that version.
pub fn encode_as(version: u8, frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.push(version);
    postcard::to_extend(frame, bytes).unwrap_or_else(|error| {
        debug_assert!(false, "frames always encode: {error}");
        Vec::new()
    })
}

/// Decodes one whole frame of a known version; trailing bytes are an error.
pub fn decode(bytes: &[u8]) -> Result<Frame, WireError> {
    decode_among(&(WIRE_OLDEST..=WIRE_VERSION), bytes)
}

/// The same for who knows these versions. A hello reads the same in the one before them.
pub fn decode_among(versions: &RangeInclusive<u8>, bytes: &[u8]) -> Result<Frame, WireError> {
    match bytes.split_first() {
        None => Err(WireError::Empty),
        Some((version, body)) if versions.contains(version) => match postcard::take_from_bytes(body) {
            Ok((frame, [])) => Ok(frame),
            Ok((_, rest)) => Err(WireError::Malformed(format!("{} trailing bytes", rest.len()))),
            // What `postcard` says of it is long, and nobody can do anything with it.
            Err(_) => Err(WireError::Malformed("it does not read as one".to_owned())),
        },
        // Who speaks the version before, and another one before that, says hello in that: it does not know whom it meets.
        Some((version, body)) if version.checked_add(1) == Some(*versions.start()) => {
            match postcard::from_bytes(body) {
                Ok(hello @ Frame::Link(overlay::LinkFrame::Hello(_))) => Ok(hello),
                _ => Err(WireError::Version(*version)),
            }
        }
        Some((version, _)) => Err(WireError::Version(*version)),
    }
}

/// A node's name and how to reach it when routing does not know it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Contact {
    /// The node.
    pub id: Id,
    /// A peer that is linked to it and relays.
    pub relay: Option<Id>,
    /// Whether it is a supernode.
    pub supernode: bool,
    /// Whether it has all the links that it opens: one more is welcome only where it is needed.
    pub full: bool,
}
