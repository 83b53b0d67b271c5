//! SQL: our own AST, binding, planning and EXPLAIN.

pub mod ast;
pub mod scalar;
