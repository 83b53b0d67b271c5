//! Operations on keys: routed to the owner, replicated to its group, acknowledged by a majority.

use serde::{Deserialize, Serialize};

/// What peers say to one another about keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}
