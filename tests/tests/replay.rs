//! One seed replays everything: the same trace in two runs, and in the core compiled to wasm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::{path::PathBuf, process::Command};

use pontoon_tests::{
    mini,
    scenario::Scale,
    sim::{Crash, Latency, SimConfig},
};

#[test]
fn a_seed_replays_and_another_seed_differs() {
    let first = mini::run(7);
    println!("{first}");
    assert_eq!(first, mini::run(7));
    assert_ne!(first, mini::run(8));
}

#[test]
fn wasm_gives_the_same_trace() {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wasm");
    // Little optimisation: it runs for seconds only. No dev-dependencies are built for a library alone.
    let quick =
        ["\"*\"", "pontoon-core", "pontoon-tests"].map(|name| format!("profile.dev.package.{name}.opt-level=1"));
    let built = Command::new(env!("CARGO"))
        .args(["rustc", "--quiet", "--locked", "--lib", "--crate-type", "cdylib", "--target", "wasm32-unknown-unknown"])
        .args(quick.iter().flat_map(|setting| ["--config", setting.as_str()]))
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the simulator compiles to wasm32-unknown-unknown");
    let module = target.join("wasm32-unknown-unknown/debug/pontoon_tests.wasm");
    let output = Command::new("node")
        .arg(package.join("wasm/trace.mjs"))
        .arg(&module)
        .arg("7")
        .output()
        .expect("node runs (Node 20 or later is needed)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let wasm = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let native = mini::run(7);
    assert!(native.ends_with(&wasm) && wasm.len() == 16, "native: {native}\nwasm: {wasm}");
}

/// Threads share the work and change nothing: neither does the cut of time into windows.
#[test]
fn threads_and_windows_change_nothing() {
    let run = |threads: usize, step_us: u64| {
        let config = SimConfig {
            latency: Latency::HeavyTailed,
            spike_ppm: 5_000,
            break_ppm: 50,
            rtc_fail_ppm: 50_000,
            drift_ppm: 100,
            join_every_us: 5_000,
            inbound_bits_per_s: Some(10_000_000),
            threads,
            ..SimConfig::new(5, 60)
        };
        let mut scale = Scale::new(config);
        while scale.sim.now_us() < 12_000_000 {
            scale.sim.run_for(step_us);
        }
        scale.sim.crash(7, Crash::Noticed);
        let stored = scale.store(30);
        (stored, scale.sim.now_us(), scale.sim.stats(), scale.sim.hash())
    };
    let one = run(1, 1_000_000);
    assert!(one.0.found > 0, "{one:?}");
    assert_eq!(one, run(2, 1_000_000));
    assert_eq!(one, run(4, 3_000_000));
    assert_eq!(one, run(1, 1_000));
}
