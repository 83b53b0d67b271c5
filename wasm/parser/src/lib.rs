//! The SQL parser as a wasm module of its own, loaded when a page first runs SQL text.
//!
//! Statements leave as bytes, as `Command::Execute` takes them: the two modules share no memory.

use js_sys::{Error, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

/// The statements of `text`, each encoded. Throws an `Error` with a `code`.
#[wasm_bindgen(unchecked_return_type = "Uint8Array[]")]
pub fn parse(text: &str) -> Result<Vec<Uint8Array>, JsValue> {
    let statements = pontoon_parser::parse(text).map_err(|error| coded(error.code, &error.message))?;
    let encode = |statement| {
        postcard::to_extend(statement, Vec::new())
            .map(|bytes| Uint8Array::from(&bytes[..]))
            .map_err(|error| coded("internal", &error.to_string()))
    };
    statements.iter().map(encode).collect()
}

fn coded(code: &str, message: &str) -> JsValue {
    let error = Error::new(message);
    // Setting a property of a fresh Error succeeds.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}
