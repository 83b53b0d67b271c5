//! What SQL's module gives to JavaScript.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use js_sys::Reflect;
use pontoon_core::{data::Nested, sql::ast::Statement};
use pontoon_wasm_sql::Statements;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn statements_come_as_bytes() {
    let statements = [Statement::Show("pontoon.dialect".to_owned()), Statement::Analyze(None)];
    let encoded = postcard::to_extend(&statements.to_vec(), Vec::new()).unwrap();
    assert_eq!(Statements::new(&encoded).ok().unwrap().length(), 2);
}

#[wasm_bindgen_test]
fn what_nests_too_deep_has_a_code() {
    let deep = (0..200).fold(Statement::Analyze(None), |inner, _| Statement::Explain(Nested::new(inner)));
    let encoded = postcard::to_extend(&vec![deep], Vec::new()).unwrap();
    let error = Statements::new(&encoded).err().unwrap();
    assert_eq!(Reflect::get(&error, &"code".into()).unwrap(), "statement_too_complex");
}
