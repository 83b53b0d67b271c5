//! Slots by Web Lock and, as on plain `http`, without. `sessionStorage` of the test's page stands for the tab's.

use js_sys::{Object, Reflect};
use pontoon_wasm::slot::Slot;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

use super::fresh;

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
    let zero = Slot::claim(&network).await.unwrap();
    assert_eq!(zero.name(), "0");
    // This tab's last slot is 0, which is held: like a duplicated tab it takes the next one.
    let one = Slot::claim(&network).await.unwrap();
    assert_eq!(one.name(), "1");
    drop(zero);
    drop(one);
    // Both are free now; the tab had 1 last.
    let again = Slot::claim(&network).await.unwrap();
    assert_eq!(again.name(), "1");
    let other = Slot::claim(&fresh("other")).await.unwrap();
    assert_eq!(other.name(), "0", "networks have slots of their own");
}
