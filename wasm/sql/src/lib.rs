//! SQL as a wasm module of its own, loaded when a page first runs SQL: planner, and the asker's half of the dataflow.
//!
//! The engine in its own module carries out operations on keys and gathers; the two share no memory, so these and their
//! answers cross as bytes. What the engine answers at once is taken in at once, so that most statements of a page alone
//! wait for nothing. A peer that only serves loads none of this. Text is parsed in a third module (`wasm/parser`), once;
//! statements come from there as bytes. Prefix hash trees are such a client of the engine, too, and are here with SQL,
//! whose indexes they are.

mod live;
mod near;
mod running;
mod tree;
mod values;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use js_sys::{Array, Date, Function, Promise};
use pontoon_core::{
    Error, Id,
    exec::Env,
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
        fault::{INTERNAL, TOO_COMPLEX, error},
        plan::Dialect,
        sqlstate::sqlstate,
    },
    trust::User,
};
use wasm_bindgen::prelude::*;

pub use live::LiveQuery;
use near::Near;
pub use running::Query;

#[wasm_bindgen]
extern "C" {
    /// The engine, in the other module.
    #[derive(Clone)]
    pub type Engine;
    /// Bytes, or a promise of them.
    #[wasm_bindgen(method, catch)]
    fn keys(this: &Engine, ops: &[u8], timeout: Option<f64>) -> Result<JsValue, JsValue>;
    /// Bytes, or a promise of them.
    #[wasm_bindgen(method, catch)]
    fn gather(
        this: &Engine,
        fragment: &[u8],
        except: &[u8],
        timeout: Option<f64>,
        told: Option<&Function>,
    ) -> Result<JsValue, JsValue>;
    /// Bytes, or a promise of them.
    #[wasm_bindgen(method, catch)]
    fn join(this: &Engine, plan: &[u8], timeout: Option<f64>, told: Option<&Function>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method)]
    fn cancel(this: &Engine, promise: &Promise);
    #[wasm_bindgen(method)]
    fn agree(this: &Engine, with: &[u8]) -> Vec<u8>;
    #[wasm_bindgen(method)]
    fn owned(this: &Engine, namespace: &str, locality_bits: u8, known: &[u8], most: usize) -> Option<Vec<u8>>;
    #[wasm_bindgen(method, catch)]
    fn watch(this: &Engine, fragment: &[u8], region: &[u8], listener: &Function) -> Result<f64, JsValue>;
    #[wasm_bindgen(method)]
    fn unwatch(this: &Engine, watch: f64);
    #[wasm_bindgen(method)]
    fn soon(this: &Engine, each: &Function);
    #[wasm_bindgen(method, catch)]
    fn inspect(this: &Engine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter)]
    fn id(this: &Engine) -> String;
    #[wasm_bindgen(method, getter)]
    fn user(this: &Engine) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = localityBits)]
    fn locality_bits(this: &Engine) -> u8;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
}

/// The statements of a text, to be run any number of times.
#[wasm_bindgen]
pub struct Statements(Vec<Arc<Statement>>);

#[wasm_bindgen]
impl Statements {
    /// What the parser's module made of a text. What it encodes is deeper at most than what is decoded.
    #[wasm_bindgen(constructor)]
    pub fn new(encoded: &[u8]) -> Result<Statements, JsValue> {
        let decoded: Result<Vec<Statement>, _> = postcard::from_bytes(encoded);
        let statements = decoded.map_err(|_| coded(TOO_COMPLEX, "a statement that nests too deep"))?;
        Ok(Statements(statements.into_iter().map(Arc::new).collect()))
    }

    /// How many there are.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.0.len()
    }
}

/// SQL over one engine; remembers the definitions of its network's tables.
#[wasm_bindgen]
pub struct Sql {
    engine: Engine,
    me: Id,
    user: Option<User>,
    locality_bits: u8,
    memory: Rc<Memory>,
}

/// What is remembered from one statement to the next.
#[derive(Default)]
struct Memory {
    definitions: RefCell<Definitions>,
    near: RefCell<Near>,
    /// Random bytes that were drawn together.
    random: RefCell<Vec<u8>>,
}

impl Memory {
    /// A random number. The browser is asked for many at once, for each call takes longer than a short statement.
    fn draw(&self) -> Result<u128, JsValue> {
        let mut random = self.random.borrow_mut();
        if random.is_empty() {
            random.resize(256 * 16, 0);
            get_random_values(&mut random)?;
        }
        let rest = random.len() - 16;
        let drawn = random.split_off(rest).try_into().unwrap_or_default();
        Ok(u128::from_le_bytes(drawn))
    }
}

#[wasm_bindgen]
impl Sql {
    /// SQL over an engine.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: Engine) -> Result<Sql, JsValue> {
        let me = engine.id().parse().map_err(|_| thrown(&error(INTERNAL, "an engine without an id")))?;
        let user = engine.user().and_then(|user| user.parse().ok());
        Ok(Sql { locality_bits: engine.locality_bits(), engine, me, user, memory: Rc::default() })
    }

    /// Whether `SET pontoon.dialect` has chosen SQLite's.
    #[wasm_bindgen(getter)]
    pub fn sqlite(&self) -> bool {
        self.memory.definitions.borrow().dialect() == Dialect::Sqlite
    }

    /// Runs one of some statements within `timeout` ms: its result, or a promise of it where others are to be asked.
    pub fn run(
        &self,
        statements: &Statements,
        index: usize,
        params: &Array,
        timeout: Option<f64>,
    ) -> Result<JsValue, JsValue> {
        self.begin(statements, index, params, timeout, None)?.result()
    }

    /// The same of a statement that may be cancelled. `progress` is called with the share of what was asked that has
    /// answered, the rows that came of it and, as a result, the next ones of the first rows.
    pub fn begin(
        &self,
        statements: &Statements,
        index: usize,
        params: &Array,
        timeout: Option<f64>,
        progress: Option<Function>,
    ) -> Result<Query, JsValue> {
        if timeout.is_some_and(|timeout| !timeout.is_finite() || timeout < 0.0) {
            return Err(thrown(&Error::Invalid("`timeout` is a number of milliseconds".to_owned())));
        }
        let statement = statements.0.get(index).ok_or_else(|| thrown(&error(INTERNAL, "no such statement")))?;
        let started = Date::now();
        let env = self.env(started)?;
        let params = values::parameters(params).map_err(|error| thrown(&error))?;
        let asking = Asking::new(statement.clone(), params, env, &mut self.memory.definitions.borrow_mut());
        Ok(Query::begin(self.engine.clone(), self.memory.clone(), asking, (started, timeout), progress))
    }

    /// Begins the live query of one of some statements. `listener` is called with a change whenever there is one: what came
    /// and what went, as results, and how the whole changed: rows of a result, from which place on, in place of how many.
    /// In the end perhaps with an error alone.
    pub fn live(
        &self,
        statements: &Statements,
        index: usize,
        params: &Array,
        listener: Function,
    ) -> Result<LiveQuery, JsValue> {
        let statement = statements.0.get(index).ok_or_else(|| thrown(&error(INTERNAL, "no such statement")))?;
        let env = self.env(Date::now())?;
        let params = values::parameters(params).map_err(|error| thrown(&error))?;
        Ok(LiveQuery::begin(self.engine.clone(), self.memory.clone(), (statement.clone(), params, env), listener))
    }

    fn env(&self, at_ms: f64) -> Result<Env, JsValue> {
        let (me, user, locality_bits) = (self.me, self.user, self.locality_bits);
        Ok(Env { now_us: (at_ms * 1_000.0) as i64, random: self.memory.draw()?, me, user, locality_bits })
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, JsValue> {
    postcard::to_extend(value, Vec::new()).map_err(|cause| coded(INTERNAL, &cause.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, JsValue> {
    decode_first(bytes).map(|(value, _)| value)
}

/// The same, and what follows.
fn decode_first<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), JsValue> {
    postcard::take_from_bytes(bytes).map_err(|cause| coded(INTERNAL, &cause.to_string()))
}

/// An error as JavaScript sees it: `code`, `sqlstate`, and where they are known `hint`, `position` and the name that it
/// is about, `subject`.
fn thrown(error: &Error) -> JsValue {
    let thrown = coded(error.code(), &error.to_string());
    let set = |name: &str, value: JsValue| drop(js_sys::Reflect::set(&thrown, &name.into(), &value));
    if let Some(help) = error.help() {
        help.hint.iter().for_each(|hint| set("hint", hint.into()));
        help.subject.iter().for_each(|subject| set("subject", subject.into()));
        help.position.iter().for_each(|position| set("position", (*position).into()));
    }
    thrown
}

fn coded(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // Setting a property of a fresh Error succeeds.
    let _ = js_sys::Reflect::set(&error, &"code".into(), &code.into());
    let _ = js_sys::Reflect::set(&error, &"sqlstate".into(), &sqlstate(code).into());
    error.into()
}
