//! Slots by Web Lock. `sessionStorage` of the test's page stands for the tab's.

use pontoon_wasm::slot::Slot;
use wasm_bindgen_test::wasm_bindgen_test;

use super::fresh;

#[wasm_bindgen_test]
async fn each_claim_gets_the_first_free_slot_and_a_reload_its_own() {
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
