//! The engine's disk in a browser: one IndexedDB database for each slot, or memory.
//!
//! Invariant: batches are written in the order in which they were given, each wholly or not at all; a token is
//! answered only on the transaction's `complete` event. Batches that arrive while a transaction runs share the next one.
//!
//! Durability is the browser's default: on `complete` the bytes are with the operating system, so they survive a
//! killed tab and a crashed browser; a power cut is what the record's other replicas are for.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::{Array, Function, Promise, Uint8Array};
use pontoon_core::{Saved, store::Batch};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::{error::DriverError, js, limits::BATCHES_PER_TRANSACTION};

#[wasm_bindgen(module = "/src/disk.js")]
extern "C" {
    /// An `IDBDatabase`.
    type Database;
    #[wasm_bindgen(method)]
    fn close(this: &Database);

    #[wasm_bindgen(catch)]
    async fn open(name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    async fn seed(database: &Database, fresh: Vec<u8>) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    async fn load(database: &Database) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    async fn write(database: &Database, keys: &Array, values: &Array) -> Result<JsValue, JsValue>;
}

/// What became of a batch.
pub type Written = Result<(), String>;

/// Who is told, by token.
type Answer = Box<dyn Fn(u64, Written)>;

/// See the module's documentation.
#[derive(Clone)]
pub struct Disk(Rc<Shared>);

struct Shared {
    /// `None`: memory only; what was written is forgotten with the page.
    database: Option<Database>,
    answer: RefCell<Option<Answer>>,
    waiting: RefCell<Vec<(u64, Batch)>>,
    writing: Cell<bool>,
    /// Who closes waits for the last transaction.
    on_idle: RefCell<Option<Function>>,
    transactions: Cell<u64>,
}

impl Disk {
    /// A disk that forgets.
    pub fn memory() -> Disk {
        Disk::new(None)
    }

    /// The database of a slot; made when it is not there.
    pub async fn indexed_db(name: &str) -> Result<Disk, DriverError> {
        let database = open(name).await.map_err(failed)?;
        Ok(Disk::new(Some(database.unchecked_into())))
    }

    fn new(database: Option<Database>) -> Disk {
        Disk(Rc::new(Shared {
            database,
            answer: RefCell::new(None),
            waiting: RefCell::default(),
            writing: Cell::new(false),
            on_idle: RefCell::new(None),
            transactions: Cell::new(0),
        }))
    }

    /// Whether it outlives the page.
    pub fn is_durable(&self) -> bool {
        self.0.database.is_some()
    }

    /// Transactions completed, and batches that wait.
    pub fn figures(&self) -> (u64, usize) {
        (self.0.transactions.get(), self.0.waiting.borrow().len())
    }

    /// The identity kept in this slot; made by `fresh` and kept when there is none.
    pub async fn seed(&self, fresh: [u8; 32]) -> Result<[u8; 32], DriverError> {
        let Some(database) = &self.0.database else { return Ok(fresh) };
        let kept = seed(database, fresh.to_vec()).await.map_err(failed)?;
        bytes_of(&kept).try_into().map_err(|_| DriverError::Disk("the identity was not kept".to_owned()))
    }

    /// Everything that was written and not deleted.
    pub async fn load(&self) -> Result<Saved, DriverError> {
        let Some(database) = &self.0.database else { return Ok(Saved::new()) };
        let both = Array::from(&load(database).await.map_err(failed)?);
        let (keys, values) = (Array::from(&both.get(0)), Array::from(&both.get(1)));
        Ok(keys.iter().zip(values.iter()).map(|(key, value)| (bytes_of(&key), bytes_of(&value))).collect())
    }

    /// Who is told what became of each batch.
    pub fn on_written(&self, answer: impl Fn(u64, Written) + 'static) {
        self.0.answer.replace(Some(Box::new(answer)));
    }

    /// Writes a batch; the answer comes later, never during this call.
    pub fn write(&self, token: u64, batch: Batch) {
        self.0.waiting.borrow_mut().push((token, batch));
        if !self.0.writing.replace(true) {
            let shared = self.0.clone();
            spawn_local(async move { shared.write_all().await });
        }
    }

    /// Closes the database once everything that waits is written; tells nothing more.
    pub async fn close(&self) {
        self.0.answer.replace(None);
        if self.0.writing.get() {
            let idle = Promise::new(&mut |resolve, _| drop(self.0.on_idle.replace(Some(resolve))));
            // Never rejected.
            let _ = JsFuture::from(idle).await;
        }
        if let Some(database) = &self.0.database {
            // The browser lets running transactions complete first.
            database.close();
        }
    }
}

impl Shared {
    async fn write_all(self: Rc<Self>) {
        loop {
            let batches: Vec<(u64, Batch)> = {
                let mut waiting = self.waiting.borrow_mut();
                let count = waiting.len().min(BATCHES_PER_TRANSACTION);
                waiting.drain(..count).collect()
            };
            if batches.is_empty() {
                self.writing.set(false);
                if let Some(tell) = self.on_idle.take() {
                    let _ = tell.call0(&JsValue::UNDEFINED);
                }
                return;
            }
            let (tokens, batches): (Vec<u64>, Vec<Batch>) = batches.into_iter().unzip();
            let written = self.transact(batches).await;
            for token in tokens {
                if let Some(answer) = &*self.answer.borrow() {
                    answer(token, written.clone());
                }
            }
        }
    }

    async fn transact(&self, batches: Vec<Batch>) -> Written {
        let Some(database) = &self.database else { return Ok(()) };
        let (keys, values) = (Array::new(), Array::new());
        for (key, value) in batches.iter().flatten() {
            keys.push(&Uint8Array::from(&key[..]));
            values.push(&value.as_ref().map_or(JsValue::UNDEFINED, |value| Uint8Array::from(&value[..]).into()));
        }
        write(database, &keys, &values).await.map_err(|error| failed(error).to_string())?;
        self.transactions.set(self.transactions.get() + 1);
        Ok(())
    }
}

fn bytes_of(value: &JsValue) -> Vec<u8> {
    Uint8Array::new(value).to_vec()
}

fn failed(error: JsValue) -> DriverError {
    DriverError::Disk(js::describe(&error))
}

/// Whether this environment has IndexedDB at all.
pub fn indexed_db_exists() -> bool {
    js::global("indexedDB").is_some()
}
