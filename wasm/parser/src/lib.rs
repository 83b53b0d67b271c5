//! The parser of SQL as a wasm module of its own, loaded when a page first runs SQL text: text in, statements out.
//!
//! Statements are run in another module (`wasm/sql`), with which this one shares no memory: they cross as bytes, as the
//! catalog keeps them. So each of the two is fetched, compiled and optimised as it should be: this one for its size.

use js_sys::Reflect;
use pontoon_core::sql::{fault::INTERNAL, sqlstate::sqlstate};
use wasm_bindgen::prelude::*;

/// The statements of `text` in PostgreSQL's syntax, or SQLite's, encoded. Throws an `Error` with a `code`, a `sqlstate`
/// and, where it is known, a `position`.
#[wasm_bindgen]
pub fn parse(text: &str, sqlite: bool) -> Result<Vec<u8>, JsValue> {
    let parsed = if sqlite { pontoon_parser::parse_sqlite(text) } else { pontoon_parser::parse(text) };
    let statements = parsed.map_err(|error| thrown(error.code, &error.message, error.position))?;
    postcard::to_extend(&statements, Vec::new()).map_err(|cause| thrown(INTERNAL, &cause.to_string(), None))
}

/// The character of `text`, from 1, where a name first stands in the statement of that index.
#[wasm_bindgen]
pub fn locate(text: &str, statement: usize, name: &str) -> Option<u32> {
    pontoon_parser::locate(text, statement, name)
}

fn thrown(code: &str, message: &str, position: Option<u32>) -> JsValue {
    let error = js_sys::Error::new(message);
    // Setting a property of a fresh Error succeeds.
    let set = |name: &str, value: JsValue| drop(Reflect::set(&error, &name.into(), &value));
    set("code", code.into());
    set("sqlstate", sqlstate(code).into());
    position.iter().for_each(|position| set("position", (*position).into()));
    error.into()
}
