//! Small helpers around `js_sys`: globals that may be missing, objects from pairs, random bytes.

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// As a template literal would print it; an object may refuse.
    #[wasm_bindgen(js_name = String, catch)]
    fn to_text(value: &JsValue) -> Result<String, JsValue>;
}

/// A property of the global object, unless it is missing (`undefined` or `null`) or may not be read.
pub fn global(name: &str) -> Option<JsValue> {
    property(&js_sys::global(), name)
}

/// A property of an object, unless it is missing (`undefined` or `null`) or may not be read.
pub fn property(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &JsValue::from_str(name)).ok().filter(|value| !value.is_undefined() && !value.is_null())
}

/// A property of an object as text.
pub fn text_property(object: &JsValue, name: &str) -> Option<String> {
    property(object, name)?.as_string()
}

/// The texts in a list; nothing of what is no list.
pub fn strings(list: &JsValue) -> Vec<String> {
    list.dyn_ref::<Array>().map(|list| list.iter().filter_map(|value| value.as_string()).collect()).unwrap_or_default()
}

/// A plain object.
pub fn object<const N: usize>(pairs: [(&str, JsValue); N]) -> JsValue {
    let entries = Array::new();
    for (name, value) in pairs {
        entries.push(&Array::of2(&JsValue::from_str(name), &value));
    }
    // Entries made here are always pairs.
    Object::from_entries(&entries).unwrap_or_default().into()
}

/// What a thrown value says, for people.
pub fn describe(value: &JsValue) -> String {
    if let Some(text) = value.as_string() {
        return text;
    }
    match value.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => text_property(value, "message").or_else(|| to_text(value).ok()).unwrap_or_default(),
    }
}

/// Random bytes fit for keys (`crypto.getRandomValues`, which insecure origins have too).
pub fn random_bytes() -> Result<[u8; 32], crate::error::DriverError> {
    let mut bytes = [0; 32];
    let crypto: web_sys::Crypto = global("crypto").ok_or(crate::error::DriverError::NoRandomness)?.unchecked_into();
    crypto.get_random_values_with_u8_array(&mut bytes).map_err(|_| crate::error::DriverError::NoRandomness)?;
    Ok(bytes)
}
