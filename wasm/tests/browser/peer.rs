//! A page as a peer, against a real supernode.

use js_sys::{Function, Object, Reflect};
use pontoon_wasm::api::Engine;
use wasm_bindgen::{JsCast, JsValue, prelude::Closure};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{fresh, until};

/// Where the harness started a supernode for the network `pontoon`. Without one these tests fail: they are not skipped.
fn supernode() -> &'static str {
    match option_env!("PONTOON_TEST_SUPERNODE") {
        Some(address) => address,
        None => panic!("PONTOON_TEST_SUPERNODE is not set: run these tests by `npm test` in wasm/"),
    }
}

fn open() -> Engine {
    let options = Object::new();
    let supernodes = js_sys::Array::of1(&JsValue::from_str(supernode()));
    for (name, value) in
        [("network", JsValue::from_str("pontoon")), ("direct", false.into()), ("supernodes", JsValue::from(supernodes))]
    {
        Reflect::set(&options, &name.into(), &value).unwrap();
    }
    let nothing = || JsValue::UNDEFINED;
    Engine::open(options.unchecked_into(), nothing().unchecked_into(), nothing().unchecked_into()).unwrap()
}

/// Collects the types of the engine's events.
fn events(engine: &Engine) -> js_sys::Array {
    let events = js_sys::Array::new();
    let told = events.clone();
    let listener = Closure::<dyn Fn(JsValue)>::new(move |event| {
        told.push(&event);
    });
    engine.listen(listener.into_js_value().unchecked_into::<Function>());
    events
}

fn has_joined(events: &js_sys::Array) -> bool {
    events.iter().any(|event| {
        Reflect::get(&event, &"type".into()).unwrap() == "joined"
            && Reflect::get(&event, &"joined".into()).unwrap().is_truthy()
    })
}

#[wasm_bindgen_test]
async fn a_page_says_hello_over_websocket_to_a_supernode() {
    let engine = open();
    let told = events(&engine);
    until("the page joins", || has_joined(&told)).await;
    let snapshot = engine.inspect().unwrap();
    let links = js_sys::Array::from(&Reflect::get(&snapshot, &"links".into()).unwrap());
    let transport = Reflect::get(&links.get(0), &"transport".into()).unwrap();
    assert_eq!(transport, "websocket");
    JsFuture::from(js_sys::Promise::from(JsValue::from(engine.close(true)))).await.unwrap();
}

#[wasm_bindgen_test]
async fn two_peers_of_one_page_put_and_get() {
    let (a, b) = (open(), open());
    let (told_a, told_b) = (events(&a), events(&b));
    until("both join", || has_joined(&told_a) && has_joined(&told_b)).await;
    let key = fresh("key").into_bytes();
    let put = a.put("test".to_owned(), key.clone(), b"value".to_vec(), None, None, None).unwrap();
    JsFuture::from(js_sys::Promise::from(JsValue::from(put))).await.unwrap();
    let get = b.get("test".to_owned(), key, false, None).unwrap();
    let found = JsFuture::from(js_sys::Promise::from(JsValue::from(get))).await.unwrap();
    let value = js_sys::Uint8Array::new(&Reflect::get(&found, &"value".into()).unwrap()).to_vec();
    assert_eq!(value, b"value");
    for engine in [a, b] {
        JsFuture::from(js_sys::Promise::from(JsValue::from(engine.close(true)))).await.unwrap();
    }
}
