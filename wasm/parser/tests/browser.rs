//! What the parser's module gives to JavaScript.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use js_sys::Reflect;
use pontoon_core::sql::ast::Statement;
use pontoon_wasm_parser::{locate, parse};
use wasm_bindgen::JsValue;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn a_text_may_have_several_statements() {
    let text = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); SELECT b, count(*) FROM t WHERE a > $1 GROUP BY b";
    let statements: Vec<Statement> = postcard::from_bytes(&parse(text, false).ok().unwrap()).unwrap();
    assert!(matches!(statements[..], [Statement::CreateTable(_), Statement::Select(_)]));
}

#[wasm_bindgen_test]
fn an_error_says_what_and_where() {
    let error = parse("SELECT a\n FROM t WHERE )", false).unwrap_err();
    let field = |name: &str| Reflect::get(&error, &name.into()).unwrap();
    assert_eq!((field("code"), field("sqlstate")), ("syntax_error".into(), "42601".into()));
    assert_eq!(field("position"), JsValue::from(24));
    let error = parse("BEGIN", false).unwrap_err();
    assert_eq!(Reflect::get(&error, &"code".into()).unwrap(), "feature_not_supported");
}

#[wasm_bindgen_test]
fn names_are_found() {
    assert_eq!(locate("SELECT 1; SELECT a, b FROM t", 1, "b"), Some(21));
}
