//! Simulator, reference model, conformance and benches.
