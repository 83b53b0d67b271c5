//! The SQL parser as a wasm module of its own, loaded when a page first runs SQL text.
