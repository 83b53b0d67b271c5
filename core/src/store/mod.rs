//! Records and the disk as an effect.

pub mod digest;
pub mod record;

pub use digest::Digest;
pub use record::{Action, Expect, KeyOp, Outcome, Record, Refusal, Version};

/// What a driver writes to its disk in one atomic step: `None` deletes the key.
pub type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;
