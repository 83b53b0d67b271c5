//! SQL: our own AST, binding, planning and EXPLAIN.
