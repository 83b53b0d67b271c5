//! The browser driver in a real browser: `npm test` in wasm/ starts a supernode and runs these by wasm-pack.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "browser/disk.rs"]
mod disk;
#[path = "browser/links.rs"]
mod links;
#[path = "browser/peer.rs"]
mod peer;
#[path = "browser/slots.rs"]
mod slots;

use std::time::Duration;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &js_sys::Function, delay_ms: f64);
}

/// Lets the browser work for a while.
async fn pause(duration: Duration) {
    let promise = Promise::new(&mut |resolve, _| set_timeout(&resolve, duration.as_secs_f64() * 1_000.0));
    JsFuture::from(promise).await.unwrap();
}

/// Waits until `condition` holds; fails after thirty seconds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if condition() {
            return;
        }
        pause(Duration::from_millis(10)).await;
    }
    panic!("waited thirty seconds in vain: {what}");
}

/// A name that no other run has used.
fn fresh(name: &str) -> String {
    format!("{name}-{}", js_sys::Math::random())
}
