//! Prefix hash trees: ordered indexes over the DHT.
//!
//! A tree is a namespace whose records are its nodes, each under its label ([`label`], [`node`]). Owners of labels carry out
//! edits of entries themselves ([`apply`], as [`Action::Edit`](crate::store::Action::Edit)): nobody reads a leaf, changes it
//! and writes it back. Everything else is a client's: finding a label ([`search`]), reading ranges and writing ([`task`]),
//! splitting and merging ([`mend`]). A node of a tree is a record like any other, so what groups promise of keys
//! (linearizable under a certificate, copies, repair) holds for nodes.
//!
//! After Ramabhadran et al. (*Prefix Hash Tree*, 2004) and Chawathe et al. (SIGCOMM 2005), with two changes: the tree is
//! path-compressed and searched by fat binary search, so that long shared prefixes cost nothing; and inner nodes tell of
//! names some levels below, which takes the place of links between leaves: a range of `k` leaves meets few inner nodes, in
//! both directions, and in parallel.

pub mod label;
pub mod mend;
pub mod node;
pub mod search;
pub mod task;

pub use label::Label;
pub use node::{Change, Edit, Entry, Held, Refused, What, apply};
pub use search::Shape;
pub use task::{Answer, Range, Request, Task, Wrote};

#[cfg(test)]
mod tests;
