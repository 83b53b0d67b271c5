//! Dissemination over exact regions.

use serde::{Deserialize, Serialize};

/// What peers say to one another about a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {}

/// What this layer waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}
