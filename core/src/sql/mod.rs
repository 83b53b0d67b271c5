//! SQL: our own AST, binding, planning and EXPLAIN.
//!
//! ```text
//!   text ──(pontoon-parser)──▶ ast ──bind, select, unnest──▶ logical ──rules──▶ logical ──physical──▶ exec::Plan, explain
//! ```
//!
//! All this happens beside the node, at whoever asks in SQL ([`asking`]). A node knows of it what plans are made of:
//! [`scalar`], [`catalog`], [`fault`].

mod access;
mod aggregates;
mod alter;
mod arrival;
pub mod asking;
pub mod ast;
pub mod bind;
pub mod catalog;
pub mod cost;
mod define;
pub mod details;
mod dialect;
pub mod estimate;
pub mod explain;
pub mod fault;
mod from;
mod hint;
pub mod index;
mod insert;
pub mod live;
pub mod logical;
mod lookup;
mod modify;
pub mod names;
mod order;
mod ordered;
mod pairing;
pub mod physical;
pub mod plan;
mod policy;
pub mod prepared;
pub mod progress;
mod recursion;
pub mod reduce;
pub mod references;
pub mod report;
pub mod rules;
pub mod scalar;
pub mod schema;
pub mod scope;
mod sealed;
mod sealing;
pub mod select;
pub mod selectivity;
pub mod session;
mod set;
pub mod sqlstate;
pub mod standing;
pub mod statistics;
pub mod strategy;
mod subquery;
pub mod system;
mod target;
mod time_windows;
mod unlock;
mod unnest;
mod view;
mod windows;
