//! SQL: our own AST, binding, planning and EXPLAIN.
//!
//! ```text
//!   text ──(pontoon-parser)──▶ ast ──bind, select──▶ logical ──rules──▶ logical ──physical──▶ exec, explain
//! ```

pub mod ast;
pub mod bind;
pub mod catalog;
pub mod explain;
pub mod fault;
pub mod logical;
pub mod physical;
pub mod rules;
pub mod scalar;
pub mod scope;
pub mod select;
