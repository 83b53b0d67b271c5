//! What the two ends of a WebRTC session say to each other through the overlay, as `postcard` bytes (append-only).

use serde::{Deserialize, Serialize};

use crate::limits::SIGNAL_BYTES_MAX;

/// One step of the offer/answer exchange (RFC 8829) with trickled candidates (RFC 8838).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// The initiator's description.
    Offer(String),
    /// The other side's description.
    Answer(String),
    /// An address to try.
    Candidate {
        /// The candidate line.
        candidate: String,
        /// The media section, by identification tag.
        mid: Option<String>,
        /// The media section, by index.
        line: Option<u16>,
    },
}

impl Signal {
    /// The bytes for the other end.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).unwrap_or_default()
    }

    /// A signal from the other end; `None` when the bytes are none.
    pub fn decode(bytes: &[u8]) -> Option<Signal> {
        if bytes.len() > SIGNAL_BYTES_MAX {
            return None;
        }
        match postcard::take_from_bytes(bytes) {
            Ok((signal, [])) => Some(signal),
            _ => None,
        }
    }
}
