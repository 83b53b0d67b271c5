//! Pontoon's engine: a peer-to-peer relational database as a sans-IO state machine.
//!
//! A driver (the browser's, the supernode's, the simulator's) feeds [`node::Node`] and carries out what it asks for:
//!
//! ```text
//!   sockets, WebRTC, disk, clocks, application
//!        │ Input                      ▲ Output
//!        ▼                            │
//!   ┌─ node ──────────────────────────┴──────────────────┐
//!   │ sql, exec     statements as push-based dataflow    │
//!   │ pht           ordered indexes over keys            │
//!   │ live          queries that stand at owners         │
//!   │ spread        tasks over exact regions             │
//!   │ dht, messaging, globals                            │
//!   │ seal, trust   who may read; who may write          │
//!   │ group, store  who may vouch; records               │
//!   │ overlay       links, routing, join, signalling     │
//!   │ wire, id      frames; the key space                │
//!   └────────────────────────────────────────────────────┘
//! ```
//!
//! Each layer knows only those below. Nothing here reads a clock, a socket, a disk or a random source.
#![forbid(unsafe_code)]

pub mod config;
pub mod crypto;
pub mod ctx;
pub mod data;
pub mod dht;
pub mod error;
pub mod exchange;
pub mod exec;
pub mod globals;
pub mod group;
pub mod id;
pub mod inspect;
pub mod live;
pub mod map;
pub mod messaging;
pub mod node;
pub mod overlay;
pub mod pht;
pub mod seal;
pub mod spread;
pub mod sql;
pub mod store;
pub mod trust;
pub mod wire;

pub use config::Config;
pub use ctx::Now;
pub use error::Error;
pub use id::{Id, Region};
pub use node::{CallId, Command, Input, LinkId, Origin, Output, Reply, Saved, SessionId};
