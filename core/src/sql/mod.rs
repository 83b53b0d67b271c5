//! SQL: our own AST, binding, planning and EXPLAIN.
//!
//! ```text
//!   text ──(pontoon-parser)──▶ ast ──bind, select──▶ logical ──rules──▶ logical ──physical──▶ exec::Plan, explain
//! ```
//!
//! All this happens beside the node, at whoever asks in SQL ([`asking`]). A node knows of it what plans are made of:
//! [`scalar`], [`catalog`], [`fault`].

mod alter;
pub mod asking;
pub mod ast;
pub mod bind;
pub mod catalog;
mod define;
pub mod details;
pub mod explain;
pub mod fault;
mod hint;
mod insert;
pub mod logical;
mod modify;
pub mod physical;
pub mod plan;
pub mod rules;
pub mod scalar;
pub mod schema;
pub mod scope;
pub mod select;
pub mod session;
pub mod sqlstate;
mod target;
mod view;
