//! SQL, at one peer and on networks: one binary, a module for each subject.
#![allow(clippy::unwrap_used, clippy::panic)] // how a test fails, helpers included

mod analyze;
mod arrival;
mod docs;
mod fuzz;
mod indexes;
mod logic;
mod ordered;
mod plans;
mod random;
mod reference;
mod references;
mod run;
mod schema;
mod statements;
mod statistics;
mod system;
mod tpch;
mod types;
