//! Links, routing, join and leave.

mod view;

use serde::{Deserialize, Serialize};
pub use view::View;

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
