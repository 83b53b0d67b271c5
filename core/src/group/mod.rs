//! Groups: who may vouch for a region (after Scatter, SOSP 2011).

use serde::{Deserialize, Serialize};

/// What members say to one another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}
