//! Groups: who may vouch for a region (after Scatter, SOSP 2011).

pub mod certificate;
pub mod message;

pub use certificate::{Ballot, Certificate, Change, Name, Source};
pub use message::{Message, Timer};
