//! A statement under way: what it needs is asked of the engine, and its result, or a promise of it, is given.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::{Array, Date, Function, Promise, Uint8Array};
use pontoon_core::{
    crypto::Secret,
    data::{Cost, QueryResult, SignedRow},
    exec::{FragmentPlan, Need},
    sql::{
        asking::Asking,
        progress::{Progress, Tracked},
        system::{PEERS, gathered_peers},
    },
    store::Outcome,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::{
    Engine, Memory, decode, encode,
    near::{Answer, Own},
    thrown, values,
};

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
    /// Gathers and joins that the engine has under way.
    open: RefCell<Vec<(u32, Promise)>>,
    progress: Option<Function>,
    tracked: RefCell<Tracked>,
    /// First rows that are to be told.
    early: RefCell<Option<QueryResult>>,
    /// What is to be told in a microtask, if one is on its way.
    telling: Cell<Option<Progress>>,
}

/// A statement under way.
#[wasm_bindgen]
pub struct Query(Rc<Running>);

impl Query {
    pub(super) fn begin(
        engine: Engine,
        memory: Rc<Memory>,
        asking: Asking,
        (started, timeout): (f64, Option<f64>),
        progress: Option<Function>,
    ) -> Query {
        let running = Rc::new(Running {
            engine,
            memory,
            asking: RefCell::new(asking),
            settle: RefCell::default(),
            started,
            timeout,
            open: RefCell::default(),
            progress,
            tracked: RefCell::default(),
            early: RefCell::default(),
            telling: Cell::default(),
        });
        running.advance();
        Query(running)
    }
}

#[wasm_bindgen]
impl Query {
    /// The result, or a promise of it; once.
    pub fn result(&self) -> Result<JsValue, JsValue> {
        self.0.settled()
    }

    /// Ends it with `query_canceled`, if it is not over. What it has written stays written.
    pub fn cancel(&self) {
        self.0.cancel();
    }
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
                result.cost.elapsed_us = self.elapsed_us();
                values::query_result(&result)
            }));
        }
    }

    fn elapsed_us(&self) -> u64 {
        ((Date::now() - self.started) * 1_000.0) as u64
    }

    /// Asks the engine. What it knows at once is taken in at once.
    fn serve(self: &Rc<Self>, need: Need) -> Result<(), JsValue> {
        let left = self.timeout.map(|timeout| (self.started + timeout - Date::now()).max(0.0));
        let mut told = None;
        let (asked, answer) = match need {
            Need::Ops { need, ops } => (Asked::Ops(need), self.engine.keys(&encode(&ops)?, left)?),
            Need::Agree { need, with } => {
                let agreed: Vec<Option<[u8; 32]>> = decode(&self.engine.agree(&encode(&with)?))?;
                let agreed = agreed.into_iter().map(|one| one.map(Secret::new)).collect();
                self.asking.borrow_mut().on_agreed(&mut self.memory.definitions.borrow_mut(), need, agreed);
                return Ok(());
            }
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
                told = self.told(need, own.as_ref().map_or(0, Own::rows));
                let answer = self.engine.gather(&fragment.encode(), &encode(&except)?, left, function(&told))?;
                (Asked::Gather(need, own.map(|own| Box::new((fragment, own)))), answer)
            }
            Need::Join { need, plan } => {
                told = self.told(need, 0);
                let answer = self.engine.join(&encode(&plan)?, left, function(&told))?;
                (Asked::Gather(need, None), answer)
            }
        };
        let Ok(promise) = answer.clone().dyn_into::<Promise>() else { return self.take(asked, &answer) };
        match &asked {
            Asked::Ops(_) => self.tell(),
            Asked::Gather(need, _) => self.open.borrow_mut().push((*need, promise.clone())),
        }
        let running = self.clone();
        spawn_local(async move {
            let answer = JsFuture::from(promise).await;
            drop(told);
            match answer.and_then(|answer| running.take(asked, &answer)) {
                Ok(()) => running.advance(),
                Err(error) => running.end(Err(error)),
            }
        });
        Ok(())
    }

    /// Hears how far a gather or a join has come, where that is wanted. So many rows of it are here already.
    fn told(self: &Rc<Self>, need: u32, own: u64) -> Option<Told> {
        self.progress.as_ref()?;
        let running = Rc::downgrade(self);
        Some(Closure::new(move |coverage: f64, rows: f64, early: Option<Vec<u8>>| {
            if let Some(running) = running.upgrade() {
                running.came_early(need, early);
                running.goes_on(need, Progress { coverage, rows: own + rows as u64 });
            }
        }))
    }

    /// The next ones of the first rows of a gather or a join, encoded.
    fn came_early(&self, need: u32, early: Option<Vec<u8>>) {
        let early: Option<Vec<SignedRow>> = early.and_then(|early| decode(&early).ok());
        let shown = early.and_then(|early| self.asking.borrow_mut().preview(need, early));
        match (&mut *self.early.borrow_mut(), shown) {
            (Some(early), Some(mut more)) => early.rows.append(&mut more.rows),
            (early, shown) => *early = early.take().or(shown),
        }
    }

    /// Some of what was asked has answered.
    fn goes_on(self: &Rc<Self>, need: u32, progress: Progress) {
        self.tracked.borrow_mut().on_progress(need, progress);
        self.tell();
    }

    /// Tells how far it is, where that is wanted: in a microtask, when the engine is done.
    fn tell(self: &Rc<Self>) {
        let progress = self.tracked.borrow().progress();
        if self.progress.is_some() && self.telling.replace(Some(progress)).is_none() {
            let running = self.clone();
            spawn_local(async move {
                let told = running.telling.take();
                let waits = matches!(&*running.settle.borrow(), Settle::Promised(..));
                if let (Some(listener), Some(Progress { coverage, rows }), true) = (&running.progress, told, waits) {
                    let early = running.early.take();
                    let early = early.as_ref().map_or(JsValue::UNDEFINED, values::query_result);
                    // The TypeScript side reports listeners that throw.
                    let _ = listener.call3(&JsValue::UNDEFINED, &coverage.into(), &(rows as f64).into(), &early);
                }
            });
        }
    }

    fn cancel(self: &Rc<Self>) {
        if matches!(&*self.settle.borrow(), Settle::Ended(_) | Settle::Over) {
            return;
        }
        self.asking.borrow_mut().cancel();
        let open = self.open.take();
        self.advance();
        open.iter().for_each(|(_, promise)| self.engine.cancel(promise));
    }

    /// Takes in what the engine has answered.
    fn take(&self, asked: Asked, answer: &JsValue) -> Result<(), JsValue> {
        let bytes = answer.unchecked_ref::<Uint8Array>().to_vec();
        self.asking.borrow_mut().at(self.elapsed_us());
        match asked {
            Asked::Ops(need) => {
                let (outcomes, cost): (Vec<Outcome>, Cost) = decode(&bytes)?;
                self.asking.borrow_mut().on_ops(&mut self.memory.definitions.borrow_mut(), need, outcomes, cost);
            }
            Asked::Gather(need, own) => {
                self.open.borrow_mut().retain(|(other, _)| *other != need);
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
        self.tracked.borrow_mut().on_end(need, partial.batch.len() as u64);
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

/// Is given the share that has answered, the rows that came and, encoded, the next ones of the first rows.
type Told = Closure<dyn FnMut(f64, f64, Option<Vec<u8>>)>;

fn function(told: &Option<Told>) -> Option<&Function> {
    told.as_ref().map(|told| told.as_ref().unchecked_ref())
}
