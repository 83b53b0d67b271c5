//! What the parser's module gives to JavaScript.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use js_sys::Reflect;
use pontoon_wasm_parser::parse;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn a_text_may_have_several_statements() {
    let text = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); SELECT b, count(*) FROM t WHERE a > $1 GROUP BY b";
    assert_eq!(parse(text, false).ok().unwrap().length(), 2);
}

#[wasm_bindgen_test]
fn an_error_has_a_code() {
    let error = parse("SELECT FROM WHERE", false).err().unwrap();
    assert_eq!(Reflect::get(&error, &"code".into()).unwrap(), "syntax_error");
}
