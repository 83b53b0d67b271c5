//! Simulator, reference model, conformance and benches.
//!
//! The simulator is a library without clock, threads or sockets: it compiles to wasm32 too, where the same seed must
//! give the same trace ([`mini`]).

pub mod checker;
pub mod churn;
pub mod database;
pub mod faults;
#[cfg(not(target_arch = "wasm32"))]
pub mod fuzz;
pub mod hostile;
pub mod live;
pub mod mini;
pub mod model;
pub mod ops;
#[cfg(not(target_arch = "wasm32"))]
pub mod pages;
pub mod scenario;
#[cfg(not(target_arch = "wasm32"))]
pub mod seeds;
pub mod sim;
pub mod trees;
pub mod watch;

/// The simulator's threads free what other ones took, for which the system's allocator takes locks.
#[cfg(not(target_arch = "wasm32"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
