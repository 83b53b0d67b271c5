//! Sketches: what many values come to, in a few bytes, and about.
//!
//! Each is a partial state of an aggregate: a peer makes one of its values, and two become one on the way up the region
//! tree. Taking in values and uniting is the peers' part; what a sketch says is read off at the asker.
//!
//! | sketch | says | error |
//! |---|---|---|
//! | [`Distinct`](distinct::Distinct) | how many different values there are | 3.3% (one standard deviation) |
//! | [`Common`](common::Common) | which values are frequent, and how | at most a 17th of all values, too few |
//! | [`Digest`](digest::Digest) | which value has so many below it | about 0.6% of the ranks in the middle, none at the ends |

pub mod common;
pub mod digest;
pub mod distinct;
