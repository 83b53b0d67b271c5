//! The application's messages.

use serde::{Deserialize, Serialize};

/// What carries an application message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {}
