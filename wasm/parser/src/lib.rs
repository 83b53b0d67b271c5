//! SQL as a wasm module of its own, loaded when a page first runs SQL text: parser, planner, and the asker's half of
//! the dataflow.
//!
//! The engine in its own module carries out operations on keys and gathers; the two share no memory, so these and their
//! answers cross as bytes. What the engine answers at once is taken in at once, so that most statements of a page alone
//! wait for nothing. A peer that only serves loads none of this. Prefix hash trees are such a client of the engine,
//! too, and are here with SQL, whose indexes they are.

mod live;
mod near;
mod tree;
mod values;

use std::{cell::RefCell, rc::Rc, sync::Arc};

use js_sys::{Array, Date, Function, Promise, Uint8Array};
use pontoon_core::{
    Error, Id,
    data::Cost,
    exec::{Env, FragmentPlan, Need},
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
use wasm_bindgen_futures::{JsFuture, spawn_local};

pub use live::LiveQuery;
use near::{Answer, Near, Own};

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
    fn gather(this: &Engine, fragment: &[u8], except: &[u8], timeout: Option<f64>) -> Result<JsValue, JsValue>;
    /// Bytes, or a promise of them.
    #[wasm_bindgen(method, catch)]
    fn join(this: &Engine, plan: &[u8], timeout: Option<f64>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method)]
    fn owned(this: &Engine, namespace: &str, locality_bits: u8, known: &[u8], most: usize) -> Option<Vec<u8>>;
    #[wasm_bindgen(method, catch)]
    fn watch(this: &Engine, fragment: &[u8], region: &[u8], listener: &Function) -> Result<f64, JsValue>;
    #[wasm_bindgen(method)]
    fn unwatch(this: &Engine, watch: f64);
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

/// The statements of `text` in PostgreSQL's syntax, or SQLite's. Throws an `Error` with a `code`.
#[wasm_bindgen]
pub fn parse(text: &str, sqlite: bool) -> Result<Statements, JsValue> {
    let parsed = if sqlite { pontoon_parser::parse_sqlite(text) } else { pontoon_parser::parse(text) };
    let statements = parsed.map_err(|error| thrown(&error.into()))?;
    Ok(Statements(statements.into_iter().map(Arc::new).collect()))
}

/// The statements of a text, to be run any number of times.
#[wasm_bindgen]
pub struct Statements(Vec<Arc<Statement>>);

#[wasm_bindgen]
impl Statements {
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
        Ok(Sql { locality_bits: engine.locality_bits(), engine, me, memory: Rc::default() })
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
        if timeout.is_some_and(|timeout| !timeout.is_finite() || timeout < 0.0) {
            return Err(thrown(&Error::Invalid("`timeout` is a number of milliseconds".to_owned())));
        }
        let statement = statements.0.get(index).ok_or_else(|| thrown(&error(INTERNAL, "no such statement")))?;
        let started = Date::now();
        let env = self.env(started)?;
        let params = values::parameters(params).map_err(|error| thrown(&error))?;
        let asking = Asking::new(statement.clone(), params, env, &mut self.memory.definitions.borrow_mut());
        let run = Rc::new(Running {
            engine: self.engine.clone(),
            memory: self.memory.clone(),
            asking: RefCell::new(asking),
            settle: RefCell::default(),
            started,
            timeout,
        });
        run.advance();
        run.settled()
    }

    /// Begins the live query of one of some statements. `listener` is called with what came and what went, as results,
    /// whenever something does; in the end perhaps with an error alone.
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
        let (me, locality_bits) = (self.me, self.locality_bits);
        Ok(Env { now_us: (at_ms * 1_000.0) as i64, random: self.memory.draw()?, me, locality_bits })
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

/// A statement that is carried out.
struct Running {
    engine: Engine,
    memory: Rc<Memory>,
    asking: RefCell<Asking>,
    settle: RefCell<Settle>,
    started: f64,
    timeout: Option<f64>,
}

/// What becomes of a statement's result.
#[derive(Default)]
enum Settle {
    /// It is not there, and nobody waits.
    #[default]
    Open,
    /// It is there before anybody waits.
    Ended(Result<JsValue, JsValue>),
    /// Who waits.
    Promised(Function, Function),
    /// It was given.
    Over,
}

impl Running {
    /// Lets the engine do what the statement needs next; gives the result when it is there.
    fn advance(self: &Rc<Self>) {
        loop {
            // The borrow ends here: what follows tells `asking` more.
            let need = self.asking.borrow_mut().poll();
            let Some(need) = need else { break };
            if let Err(error) = self.serve(need) {
                return self.end(Err(error));
            }
        }
        let finished = self.asking.borrow_mut().finished();
        if let Some(result) = finished {
            self.end(result.map_err(|error| thrown(&error)).map(|mut result| {
                result.cost.elapsed_us = ((Date::now() - self.started) * 1_000.0) as u64;
                values::query_result(&result)
            }));
        }
    }

    /// Asks the engine. What it knows at once is taken in at once.
    fn serve(self: &Rc<Self>, need: Need) -> Result<(), JsValue> {
        let left = self.timeout.map(|timeout| (self.started + timeout - Date::now()).max(0.0));
        let (asked, answer) = match need {
            Need::Ops { need, ops } => (Asked::Ops(need), self.engine.keys(&encode(&ops)?, left)?),
            Need::Gather { need, fragment } if fragment.namespace() == PEERS => {
                let read: Array = PARTS.iter().map(|name| JsValue::from_str(name)).collect();
                let snapshot = js_sys::JSON::stringify_with_replacer(&self.engine.inspect()?, &read)?;
                self.gathered(need, gathered_peers(&fragment, &String::from(snapshot)));
                return Ok(());
            }
            Need::Gather { need, fragment } => {
                let own = self.memory.near.borrow_mut().run(&self.engine, &fragment)?;
                let own = match own {
                    Some(own) if own.is_all() => {
                        self.gathered(need, own.answer());
                        return Ok(());
                    }
                    own => own,
                };
                let except = own.as_ref().map_or(&[][..], |own| own.regions());
                let answer = self.engine.gather(&fragment.encode(), &encode(&except)?, left)?;
                (Asked::Gather(need, own.map(|own| Box::new((fragment, own)))), answer)
            }
            Need::Join { need, plan } => (Asked::Gather(need, None), self.engine.join(&encode(&plan)?, left)?),
        };
        let Ok(promise) = answer.clone().dyn_into::<Promise>() else { return self.take(asked, &answer) };
        let running = self.clone();
        spawn_local(async move {
            match JsFuture::from(promise).await.and_then(|answer| running.take(asked, &answer)) {
                Ok(()) => running.advance(),
                Err(error) => running.end(Err(error)),
            }
        });
        Ok(())
    }

    /// Takes in what the engine has answered.
    fn take(&self, asked: Asked, answer: &JsValue) -> Result<(), JsValue> {
        let bytes = answer.unchecked_ref::<Uint8Array>().to_vec();
        match asked {
            Asked::Ops(need) => {
                let (outcomes, cost): (Vec<Outcome>, Cost) = decode(&bytes)?;
                self.asking.borrow_mut().on_ops(&mut self.memory.definitions.borrow_mut(), need, outcomes, cost);
            }
            Asked::Gather(need, own) => {
                let answer: Answer = decode(&bytes)?;
                let answer = match own {
                    Some(both) => both.1.beside(&both.0, answer),
                    None => answer,
                };
                self.gathered(need, answer);
            }
        }
        Ok(())
    }

    fn gathered(&self, need: u32, (partial, end): Answer) {
        self.asking.borrow_mut().on_gathered(&mut self.memory.definitions.borrow_mut(), need, partial, end);
    }

    /// The result, or a promise of it.
    fn settled(&self) -> Result<JsValue, JsValue> {
        if let Settle::Ended(result) = self.settle.replace(Settle::Over) {
            return result;
        }
        let mut functions = None;
        let promise = Promise::new(&mut |resolve, reject| functions = Some((resolve, reject)));
        if let Some((resolve, reject)) = functions {
            self.settle.replace(Settle::Promised(resolve, reject));
        }
        Ok(promise.into())
    }

    fn end(&self, result: Result<JsValue, JsValue>) {
        match (self.settle.replace(Settle::Over), result) {
            (Settle::Open, result) => drop(self.settle.replace(Settle::Ended(result))),
            // The functions of a promise do not throw.
            (Settle::Promised(resolve, _), Ok(value)) => drop(resolve.call1(&JsValue::UNDEFINED, &value)),
            (Settle::Promised(_, reject), Err(error)) => drop(reject.call1(&JsValue::UNDEFINED, &error)),
            // It was an error that ended it.
            (ended @ (Settle::Ended(_) | Settle::Over), _) => drop(self.settle.replace(ended)),
        }
    }
}

/// What the engine was asked for.
enum Asked {
    Ops(u32),
    /// With the fragment and this peer's own part of its answer, where it is there.
    Gather(u32, Option<Box<(FragmentPlan, Own)>>),
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
