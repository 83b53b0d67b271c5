//! A small replicated map: last writer wins, newcomers get a snapshot.

use serde::{Deserialize, Serialize};

/// What carries globals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {}
