//! What is fuzzed: for each kind of bytes that strangers hand over, a function that takes any bytes, and asserts what must
//! hold of what the engine and the supernode make of them. None of it is a copy of theirs.
//!
//! `fuzz/fuzz_targets/` hands these functions to libFuzzer (`make fuzz`); `tests/short.rs` runs them over the seeds and
//! mutations of them (`make test`).
#![allow(clippy::expect_used)] // how a target fails

mod ast;
mod catalog;
mod database;
mod eval;
mod http;
mod node;
mod pieces;
mod plan;
mod record;
mod signal;
mod sql;
mod store;
mod tree;
mod wire;

pub use catalog::{COUNTED, INDEX, TABLE};
pub use database::SCHEMA;
pub use node::{CHUNK, FRAME};
pub use pieces::{edits, join};
pub use sql::SQLITE;

/// Any bytes: what does not read as what the target is about is an error there, and no panic.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const TARGETS: [(&str, Target); 15] = [
    ("wire", wire::wire),
    ("node", node::node),
    ("ast", ast::ast),
    ("plan", plan::plan),
    ("catalog", catalog::catalog),
    ("row", record::row),
    ("record", record::record),
    ("tree", tree::tree),
    ("store", store::store),
    ("backup", store::backup),
    ("sql", sql::sql),
    ("eval", eval::eval),
    ("signal", signal::signal),
    ("http", http::http),
    ("import", http::import),
];

/// Runs a target by name.
///
/// # Panics
///
/// Where the target finds a fault, or there is none of that name.
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name");
    target(input);
}
