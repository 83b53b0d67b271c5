//! The engine's disk in a browser: one IndexedDB database for each slot, or memory.
//!
//! Invariant: batches are written in the order in which they were given, each wholly or not at all; a token is
//! answered only on the transaction's `complete` event. Batches that arrive while a transaction runs share the next one.
//! They go to a log ([`crate::log`]), which is rewritten between two of them.
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

use crate::{
    error::DriverError,
    js,
    limits::BATCHES_PER_TRANSACTION,
    log::{Entries, Log, Rewrite, pack, replay},
};

#[wasm_bindgen(module = "/js/disk.js")]
extern "C" {
    /// What `open` of that file gives.
    pub type Opened;
    #[wasm_bindgen(method, getter)]
    fn seed(this: &Opened) -> Uint8Array;
    #[wasm_bindgen(method, getter)]
    fn numbers(this: &Opened) -> Array;
    #[wasm_bindgen(method, getter)]
    fn pieces(this: &Opened) -> Array;
    #[wasm_bindgen(method, setter)]
    fn set_pieces(this: &Opened, pieces: &Array);

    #[wasm_bindgen(catch)]
    async fn open(name: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    async fn write(opened: &Opened, first: f64, number: f64, pieces: &Array) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    async fn read(opened: &Opened, first: f64) -> Result<JsValue, JsValue>;
    fn close(opened: &Opened);
}

/// What became of a batch.
pub type Written = Result<(), String>;

/// Who is told, by token.
type Answer = Box<dyn Fn(u64, Written)>;

/// See the module's documentation.
#[derive(Clone)]
pub struct Disk(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// `None`: memory only; what was written is forgotten with the page.
    database: Option<Opened>,
    log: RefCell<Log>,
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
        Disk(Rc::default())
    }

    /// The database of a slot, made when it is not there; its seed, and everything that was written and not deleted.
    pub async fn indexed_db(name: &str) -> Result<(Disk, [u8; 32], Saved), DriverError> {
        let opened = open(name).await.map_err(failed)?;
        if opened.is_undefined() {
            return Err(DriverError::Disk("no database opens".to_owned()));
        }
        Disk::of(opened.unchecked_into())
    }

    /// The same of a database that `open` of `js/disk.js` has opened.
    pub fn of(database: Opened) -> Result<(Disk, [u8; 32], Saved), DriverError> {
        let damaged = |what: &str| DriverError::Disk(format!("{what} in the database is damaged"));
        let seed = database.seed().to_vec().try_into().map_err(|_| damaged("the seed"))?;
        let (mut entries, mut pieces) = (Entries::default(), Vec::new());
        for (number, piece) in database.numbers().iter().zip(database.pieces().iter()) {
            let piece = bytes_of(&piece);
            let number = number.as_f64().filter(|_| replay(&piece, &mut entries)).ok_or_else(|| damaged("a piece"))?;
            pieces.push((number as u64, piece.len()));
        }
        database.set_pieces(&Array::new());
        let saved: Saved = entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let bytes = saved.iter().map(|(key, value)| key.len() + value.len()).sum();
        let log = RefCell::new(Log::of(pieces, bytes));
        Ok((Disk(Rc::new(Shared { database: Some(database), log, ..Shared::default() })), seed, saved))
    }

    /// Whether it outlives the page.
    pub fn is_durable(&self) -> bool {
        self.0.database.is_some()
    }

    /// Transactions completed, and batches that wait.
    pub fn figures(&self) -> (u64, usize) {
        (self.0.transactions.get(), self.0.waiting.borrow().len())
    }

    /// Pieces of the log, and their bytes.
    pub fn log_figures(&self) -> (usize, usize) {
        self.0.log.borrow().figures()
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
            close(database);
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
            // Who closes does not wait for it.
            let due = if self.on_idle.borrow().is_none() { self.log.borrow_mut().due() } else { None };
            if let (Some(rewrite), Some(database)) = (due, &self.database) {
                // If it fails, the log is as it was; it is tried again when it has grown by as much.
                let _ = self.rewrite(database, &rewrite).await;
            }
        }
    }

    async fn transact(&self, batches: Vec<Batch>) -> Written {
        let Some(database) = &self.database else { return Ok(()) };
        let pieces = pack(batches.iter().flatten().map(|(key, value)| (key, value)));
        let from = self.log.borrow().next();
        self.put(database, from, &pieces).await
    }

    async fn rewrite(&self, database: &Opened, rewrite: &Rewrite) -> Written {
        let pieces = read(database, rewrite.from as f64).await.map_err(|error| failed(error).to_string())?;
        let mut entries = Entries::default();
        if !Array::from(&pieces).iter().all(|piece| replay(&bytes_of(&piece), &mut entries)) {
            return Err("a piece in the database is damaged".to_owned());
        }
        let pieces = pack(entries.iter().filter(|(_, value)| value.is_some() || !rewrite.whole));
        self.put(database, rewrite.from, &pieces).await
    }

    /// Writes pieces in place of those from `from` on.
    async fn put(&self, database: &Opened, from: u64, pieces: &[Vec<u8>]) -> Written {
        let number = self.log.borrow().next();
        let bytes: Array = pieces.iter().map(|piece| Uint8Array::from(&piece[..])).collect();
        write(database, from as f64, number as f64, &bytes).await.map_err(|error| failed(error).to_string())?;
        self.log.borrow_mut().wrote(from, pieces);
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
