//! A small run of everything, for comparing platforms: the same seed gives the same line natively and in wasm.

use crate::{
    scenario::Scale,
    sim::{Latency, SimConfig},
};

/// Thirty nodes with heavy-tailed latencies, drifting clocks and a few relayed peers join, store, broadcast and count.
/// The line names what came of it and ends with the trace hash.
pub fn run(seed: u64) -> String {
    let config = SimConfig {
        latency: Latency::HeavyTailed,
        relayed_every: 7,
        rtc_fail_ppm: 50_000,
        drift_ppm: 100,
        ..SimConfig::new(seed, 30)
    };
    let mut scale = Scale::new(config);
    let settled = scale.sim.settle(120_000_000);
    let stored = scale.store(40);
    let broadcast = scale.broadcast();
    let inserted = scale.insert(60);
    let counted = scale.count(2, 0);
    format!(
        "settled {settled:?}; {stored:?}; {broadcast:?}; inserted {inserted}; counted {counted:?}; trace {:016x}",
        scale.sim.hash()
    )
}

/// The trace hash of [`run`] as the wasm module exports it.
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code)] // the only way to export a function without binding tools
#[unsafe(no_mangle)]
pub extern "C" fn mini_run(seed: u64) -> u64 {
    let line = run(seed);
    let digits = line.rsplit(' ').next().unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}
