//! What leaves the parser's module, the engine can read.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use js_sys::Reflect;
use pontoon_core::sql::ast::Statement;
use pontoon_wasm_parser::parse;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn statements_decode_in_the_engine() {
    let text = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); SELECT b, count(*) FROM t WHERE a > $1 GROUP BY b";
    let decoded: Vec<Statement> =
        parse(text, false).unwrap().iter().map(|bytes| postcard::from_bytes(&bytes.to_vec()).unwrap()).collect();
    assert_eq!(decoded, pontoon_parser::parse(text).unwrap());
    assert_eq!(decoded.len(), 2);
}

#[wasm_bindgen_test]
fn an_error_has_a_code() {
    let error = parse("SELECT FROM WHERE", false).unwrap_err();
    assert_eq!(Reflect::get(&error, &"code".into()).unwrap(), "syntax_error");
}
