//! Slots by Web Lock and, as on plain `http`, without. `sessionStorage` of the test's page stands for the tab's.

use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

use super::fresh;

#[wasm_bindgen(module = "/js/slot.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    async fn claim(network: &str) -> Result<JsValue, JsValue>;
}

/// A claimed slot's name, and what lets go of it.
async fn claimed(network: &str) -> (String, Function) {
    let pair = Array::from(&claim(network).await.unwrap());
    (pair.get(0).as_string().unwrap(), pair.get(1).unchecked_into())
}

/// Hides `navigator.locks`, as an insecure origin does, until it is dropped.
struct NoLocks(Object);

impl NoLocks {
    fn new() -> NoLocks {
        let navigator: Object = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap().unchecked_into();
        let hidden = Object::new();
        Reflect::set(&hidden, &"value".into(), &JsValue::UNDEFINED).unwrap();
        Reflect::set(&hidden, &"configurable".into(), &JsValue::TRUE).unwrap();
        Object::define_property(&navigator, &"locks".into(), &hidden);
        assert!(Reflect::get(&navigator, &"locks".into()).unwrap().is_undefined());
        NoLocks(navigator)
    }
}

impl Drop for NoLocks {
    fn drop(&mut self) {
        let _ = Reflect::delete_property(&self.0, &"locks".into());
    }
}

#[wasm_bindgen_test]
async fn each_claim_gets_the_first_free_slot_and_a_reload_its_own() {
    claims().await;
}

#[wasm_bindgen_test]
async fn without_web_locks_it_is_the_same() {
    let _hidden = NoLocks::new();
    claims().await;
}

async fn claims() {
    let network = fresh("slots");
    let (zero, release_zero) = claimed(&network).await;
    assert_eq!(zero, "0");
    // This tab's last slot is 0, which is held: like a duplicated tab it takes the next one.
    let (one, release_one) = claimed(&network).await;
    assert_eq!(one, "1");
    for release in [release_zero, release_one] {
        release.call0(&JsValue::UNDEFINED).unwrap();
    }
    // Both are free now; the tab had 1 last.
    assert_eq!(claimed(&network).await.0, "1");
    assert_eq!(claimed(&fresh("other")).await.0, "0", "networks have slots of their own");
}
