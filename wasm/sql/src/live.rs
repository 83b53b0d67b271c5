//! A live query of a page: what the engine tells of the fragments that stand for it becomes changes of its result.
//!
//! Changes are told soon, in a turn of their own, so that what comes together is one change, and the engine is done when
//! JavaScript of the page runs.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use js_sys::{Array, Function, Promise, Uint8Array};
use pontoon_core::{
    Error,
    data::{Cost, QueryResult, Row, Value},
    exec::{Env, view::Splice},
    live::Watched,
    map::Map,
    sql::{
        ast::Statement,
        live::{Change, Live, LiveNeed},
    },
    store::Outcome,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::{Engine, Memory, decode, encode, thrown, values};

/// A live query.
#[wasm_bindgen]
pub struct LiveQuery(Rc<Living>);

/// The engine's name of a watch, and what hears of it.
type Listening = (f64, Closure<dyn FnMut(Uint8Array)>);

struct Living {
    engine: Engine,
    memory: Rc<Memory>,
    live: RefCell<Live>,
    /// The engine's name of each watch, and who is told of it.
    watches: RefCell<Map<u32, Listening>>,
    listener: Function,
    /// Whether a turn is on its way.
    awaited: RefCell<bool>,
}

#[wasm_bindgen]
impl LiveQuery {
    /// Ends it: nothing is told any more.
    pub fn close(&self) {
        self.0.live.borrow_mut().close();
        self.0.serve();
    }
}

impl LiveQuery {
    pub(super) fn begin(
        engine: Engine,
        memory: Rc<Memory>,
        (statement, params, env): (Arc<Statement>, Vec<Value>, Env),
        listener: Function,
    ) -> LiveQuery {
        let live = Live::new(statement, params, env, &mut memory.definitions.borrow_mut());
        let living = Rc::new(Living {
            engine,
            memory,
            live: RefCell::new(live),
            watches: RefCell::default(),
            listener,
            awaited: RefCell::default(),
        });
        living.go_on();
        LiveQuery(living)
    }
}

impl Living {
    /// Soon, as what comes together is one change: asks the engine for what is needed, and tells what changed.
    fn go_on(self: &Rc<Self>) {
        if self.awaited.replace(true) {
            return;
        }
        let living = self.clone();
        let each = Closure::once_into_js(move || {
            living.awaited.replace(false);
            living.serve();
            loop {
                let change = living.live.borrow_mut().change();
                match change {
                    Some(change) => living.tell(change),
                    None => break,
                }
            }
            living.serve();
        });
        self.engine.soon(each.unchecked_ref());
    }

    /// Lets the engine do what the query needs.
    fn serve(self: &Rc<Self>) {
        loop {
            let need = self.live.borrow_mut().poll();
            let Some(need) = need else { break };
            if let Err(error) = self.ask(need) {
                self.fail(&error);
            }
        }
    }

    fn ask(self: &Rc<Self>, need: LiveNeed) -> Result<(), JsValue> {
        match need {
            LiveNeed::Ops { need, ops } => {
                let answer = Promise::resolve(&self.engine.keys(&encode(&ops)?, None)?);
                let living = self.clone();
                spawn_local(async move {
                    match JsFuture::from(answer).await.and_then(|answer| living.take(need, &answer)) {
                        Ok(()) => living.go_on(),
                        Err(error) => living.fail(&error),
                    }
                });
            }
            LiveNeed::Watch { watch, fragment, region } => {
                let living = Rc::downgrade(self);
                let told = Closure::new(move |event: Uint8Array| {
                    if let Some(living) = living.upgrade() {
                        living.watched(watch, &event);
                    }
                });
                let name = self.engine.watch(&encode(&fragment)?, &encode(&region)?, told.as_ref().unchecked_ref())?;
                self.watches.borrow_mut().insert(watch, (name, told));
            }
            LiveNeed::Unwatch { watch } => {
                let ended = self.watches.borrow_mut().remove(&watch);
                if let Some((name, told)) = ended {
                    self.engine.unwatch(name);
                    drop(told);
                }
            }
        }
        Ok(())
    }

    fn take(&self, need: u32, answer: &JsValue) -> Result<(), JsValue> {
        let (outcomes, cost): (Vec<Outcome>, Cost) = decode(&answer.unchecked_ref::<Uint8Array>().to_vec())?;
        self.live.borrow_mut().on_ops(&mut self.memory.definitions.borrow_mut(), need, outcomes, cost);
        Ok(())
    }

    fn watched(self: &Rc<Self>, watch: u32, event: &Uint8Array) {
        match decode::<Watched>(&event.to_vec()) {
            Ok(event) => {
                self.live.borrow_mut().on_watched(&mut self.memory.definitions.borrow_mut(), watch, event);
                self.go_on();
            }
            Err(error) => self.fail(&error),
        }
    }

    fn tell(&self, change: Result<Change, Error>) {
        let (change, error) = match change {
            Ok(Change { added, removed, splices, window, coverage, assumed_lost }) => {
                let live = self.live.borrow();
                let show = |rows| shown(&live, rows, coverage, assumed_lost);
                let window = window.map_or(JsValue::UNDEFINED, show);
                let places = splices.iter().flat_map(|Splice { at, gone, came }| [*at, *gone, *came]);
                let places: Array = places.map(|place| JsValue::from(place as f64)).collect();
                let change = Array::of4(&show(added), &show(removed), &places, &window);
                (change.into(), JsValue::UNDEFINED)
            }
            Err(error) => (JsValue::UNDEFINED, thrown(&error)),
        };
        // The TypeScript side reports listeners that throw.
        let _ = self.listener.call2(&JsValue::UNDEFINED, &change, &error);
    }

    /// The engine does not do what is asked of it: it is closed.
    fn fail(&self, error: &JsValue) {
        let undefined = &JsValue::UNDEFINED;
        self.live.borrow_mut().close();
        let _ = self.listener.call2(undefined, undefined, error);
    }
}

/// Rows as a result.
fn shown(live: &Live, rows: Vec<Row>, coverage: f64, assumed_lost: bool) -> JsValue {
    let (columns, cost) = (live.columns().to_vec(), Cost::default());
    values::query_result(&QueryResult { columns, rows, affected: 0, coverage, assumed_lost, cost })
}
