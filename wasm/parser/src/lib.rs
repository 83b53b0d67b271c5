//! The SQL parser as a wasm module of its own, loaded when a page first runs SQL text.

use wasm_bindgen::prelude::*;

/// The statements of `text`, each encoded as the engine takes it. Throws an `Error` with a `code`.
#[wasm_bindgen(unchecked_return_type = "Uint8Array[]")]
pub fn parse(text: &str) -> Result<Vec<js_sys::Uint8Array>, JsValue> {
    let error = js_sys::Error::new(&format!("not yet: {} bytes of SQL", text.len()));
    js_sys::Reflect::set(&error, &"code".into(), &"feature_not_supported".into())?;
    Err(error.into())
}
