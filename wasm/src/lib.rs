//! Pontoon's browser driver: the engine, its link host and its store, for the npm package `pontoon-db`.
//!
//! ```text
//!   TypeScript (wasm/js)      promises, values, types
//!        │ api::Engine (wasm-bindgen)        ▲ promises, one event callback
//!   ┌─ driver ───────────────────────────────┴──┐
//!   │ owns pontoon_core::Node: feeds it, drains it, wakes it │ ── disk (IndexedDB or memory)
//!   └──── host::Command ▼ ───────── ▲ host::Event ─────┘
//!   ┌─ host ────────────────────────────────────┐
//!   │ WebSockets and data channels; what negotiates the latter is on the page (js/rtc.js) │
//!   └────────────────────────────────────────────┘
//! ```
//!
//! All of it runs in a worker, or on the page where there is none; `RTCPeerConnection` exists on pages only.
//! Invariant: the node is never borrowed while JavaScript runs; whatever happens meanwhile waits in the inbox.

#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

pub mod api;
mod calls;
mod clock;
pub mod disk;
mod driver;
mod error;
pub mod host;
mod js;
mod limits;
pub mod log;
mod values;
