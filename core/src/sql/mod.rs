//! SQL: our own AST, binding, planning and EXPLAIN.
//!
//! ```text
//!   text ──(pontoon-parser)──▶ ast ──bind, select──▶ logical ──rules──▶ logical ──physical──▶ exec::Plan, explain
//! ```
//!
//! All this happens beside the node, at whoever asks in SQL ([`asking`]). A node knows of it what plans are made of:
//! [`scalar`], [`catalog`], [`fault`].

pub mod asking;
pub mod ast;
pub mod bind;
pub mod catalog;
pub mod explain;
pub mod fault;
pub mod logical;
pub mod physical;
pub mod plan;
pub mod rules;
pub mod scalar;
pub mod scope;
pub mod select;
mod write;
