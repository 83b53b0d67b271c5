//! Links, routing, join and leave.

use serde::{Deserialize, Serialize};

/// Frames of a link itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LinkFrame {}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {}

/// What overlays say to one another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}
