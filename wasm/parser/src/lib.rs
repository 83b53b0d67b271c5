//! SQL as a wasm module of its own, loaded when a page first runs SQL text: parser, planner, and the asker's half of
//! the dataflow.
//!
//! The engine in its own module carries out operations on keys and gathers; the two share no memory, so these and their
//! answers cross as bytes. A peer that only serves loads none of this. Prefix hash trees are such a client of the engine,
//! too, and are here with SQL, whose indexes they are.

mod tree;
mod values;

use std::{cell::RefCell, rc::Rc};

use js_sys::{Date, Function, Promise, Uint8Array};
use pontoon_core::{
    Error, Id,
    data::Cost,
    exec::{Env, GatherEnd, Need, Partial},
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
        fault::{INTERNAL, error},
        plan::Dialect,
        sqlstate::sqlstate,
        system::{PEERS, gathered_peers},
    },
    store::Outcome,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

#[wasm_bindgen]
extern "C" {
    /// The engine, in the other module.
    #[derive(Clone)]
    pub type Engine;
    #[wasm_bindgen(method, catch)]
    async fn keys(this: &Engine, ops: &[u8], timeout: Option<f64>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    async fn gather(this: &Engine, fragment: &[u8], timeout: Option<f64>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn inspect(this: &Engine) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method, getter)]
    fn id(this: &Engine) -> String;
    #[wasm_bindgen(method, getter, js_name = localityBits)]
    fn locality_bits(this: &Engine) -> u8;

    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues, catch)]
    fn get_random_values(bytes: &mut [u8]) -> Result<JsValue, JsValue>;
}

/// The character of `text`, from 1, where a name first stands in the statement of that index.
#[wasm_bindgen]
pub fn locate(text: &str, statement: usize, name: &str) -> Option<u32> {
    pontoon_parser::locate(text, statement, name)
}

/// The statements of `text` in PostgreSQL's syntax, or SQLite's, each encoded. Throws an `Error` with a `code`.
#[wasm_bindgen(unchecked_return_type = "Uint8Array[]")]
pub fn parse(text: &str, sqlite: bool) -> Result<Vec<Uint8Array>, JsValue> {
    let parsed = if sqlite { pontoon_parser::parse_sqlite(text) } else { pontoon_parser::parse(text) };
    let statements = parsed.map_err(|error| thrown(&error.into()))?;
    statements.iter().map(|statement| Ok(Uint8Array::from(&encode(statement)?[..]))).collect()
}

/// SQL over one engine; remembers the definitions of its network's tables.
#[wasm_bindgen]
pub struct Sql {
    engine: Engine,
    me: Id,
    definitions: Rc<RefCell<Definitions>>,
}

#[wasm_bindgen]
impl Sql {
    /// SQL over an engine.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: Engine) -> Result<Sql, JsValue> {
        let me = engine.id().parse().map_err(|_| thrown(&error(INTERNAL, "an engine without an id")))?;
        Ok(Sql { engine, me, definitions: Rc::default() })
    }

    /// Whether `SET pontoon.dialect` has chosen SQLite's.
    #[wasm_bindgen(getter)]
    pub fn sqlite(&self) -> bool {
        self.definitions.borrow().dialect() == Dialect::Sqlite
    }

    /// Runs one encoded statement within `timeout` ms: a promise of its result.
    pub fn run(&self, statement: &[u8], params: Vec<JsValue>, timeout: Option<f64>) -> Result<Promise, JsValue> {
        if timeout.is_some_and(|timeout| !timeout.is_finite() || timeout < 0.0) {
            return Err(thrown(&Error::Invalid("`timeout` is a number of milliseconds".to_owned())));
        }
        let started = Date::now();
        let mut random = [0; 16];
        get_random_values(&mut random)?;
        let env = Env {
            now_us: (started * 1_000.0) as i64,
            random: u128::from_le_bytes(random),
            me: self.me,
            locality_bits: self.engine.locality_bits(),
        };
        let statement: Statement = decode(statement)?;
        let params = params.iter().enumerate().map(|(index, value)| values::parameter(index, value));
        let params = params.collect::<Result<_, Error>>().map_err(|error| thrown(&error))?;
        let asking = Asking::new(statement, params, env, &mut self.definitions.borrow_mut());
        let mut settle = None;
        let promise = Promise::new(&mut |resolve, reject| settle = Some((resolve, reject)));
        let run = Rc::new(Running {
            engine: self.engine.clone(),
            definitions: self.definitions.clone(),
            asking: RefCell::new(asking),
            settle: RefCell::new(settle),
            started,
            timeout,
        });
        run.advance();
        Ok(promise)
    }
}

/// What `pontoon_peers` reads of a snapshot of the engine.
const PARTS: [&str; 17] = [
    "id",
    "role",
    "links",
    "peer",
    "kind",
    "transport",
    "via",
    "rttUs",
    "sibling",
    "sentBytes",
    "receivedBytes",
    "peers",
    "linked",
    "fragments",
    "owner",
    "share",
    "state",
];

/// A statement under way.
struct Running {
    engine: Engine,
    definitions: Rc<RefCell<Definitions>>,
    asking: RefCell<Asking>,
    /// Resolves and rejects its promise; taken by whichever comes first.
    settle: RefCell<Option<(Function, Function)>>,
    started: f64,
    timeout: Option<f64>,
}

impl Running {
    /// Lets the engine do what the statement needs next, or settles its promise.
    fn advance(self: &Rc<Self>) {
        loop {
            let Some(need) = self.asking.borrow_mut().poll() else { break };
            let running = self.clone();
            spawn_local(async move {
                if let Err(error) = running.serve(need).await {
                    running.end(Err(error));
                }
            });
        }
        let finished = self.asking.borrow_mut().finished();
        if let Some(result) = finished {
            self.end(result.map_err(|error| thrown(&error)).map(|mut result| {
                result.cost.elapsed_us = ((Date::now() - self.started) * 1_000.0) as u64;
                values::query_result(&result)
            }));
        }
    }

    async fn serve(self: &Rc<Self>, need: Need) -> Result<(), JsValue> {
        let left = self.timeout.map(|timeout| (self.started + timeout - Date::now()).max(0.0));
        match need {
            Need::Ops { need, ops } => {
                let answer = Uint8Array::from(self.engine.keys(&encode(&ops)?, left).await?).to_vec();
                let (outcomes, cost): (Vec<Outcome>, Cost) = decode(&answer)?;
                self.asking.borrow_mut().on_ops(&mut self.definitions.borrow_mut(), need, outcomes, cost);
            }
            Need::Gather { need, fragment } if fragment.namespace() == PEERS => {
                let read: js_sys::Array = PARTS.iter().map(|name| JsValue::from_str(name)).collect();
                let snapshot = js_sys::JSON::stringify_with_replacer(&self.engine.inspect()?, &read)?;
                let (partial, end) = gathered_peers(&fragment, &String::from(snapshot));
                self.asking.borrow_mut().on_gathered(&mut self.definitions.borrow_mut(), need, partial, end);
            }
            Need::Gather { need, fragment } => {
                let answer = Uint8Array::from(self.engine.gather(&fragment.encode(), left).await?).to_vec();
                let (partial, end): (Partial, GatherEnd) = decode(&answer)?;
                self.asking.borrow_mut().on_gathered(&mut self.definitions.borrow_mut(), need, partial, end);
            }
        }
        self.advance();
        Ok(())
    }

    fn end(&self, result: Result<JsValue, JsValue>) {
        if let Some((resolve, reject)) = self.settle.take() {
            let (settle, value) = match result {
                Ok(value) => (resolve, value),
                Err(error) => (reject, error),
            };
            // The functions of a promise do not throw.
            let _ = settle.call1(&JsValue::UNDEFINED, &value);
        }
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, JsValue> {
    postcard::to_extend(value, Vec::new()).map_err(|cause| coded(INTERNAL, &cause.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, JsValue> {
    postcard::from_bytes(bytes).map_err(|cause| coded(INTERNAL, &cause.to_string()))
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
