//! The driver: feeds the node, drains it, and carries out what it wants.
//!
//! Everything that happens becomes an [`Input`] in the inbox; `pump` works it off. Invariant: the node is borrowed
//! only while it is fed and drained, never while JavaScript, the link host or the disk run, and one pump runs at a time:
//! what these cause meanwhile waits in the inbox, so that the node sees one order of events.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use js_sys::{Function, Promise, Uint8Array};
use pontoon_core::{CallId, Command, Input, LinkId, Output, live::Watched, map::Map, node::Node, wire::Outgoing};
use wasm_bindgen::prelude::*;

use crate::{
    calls::{Calls, Shape, encoded},
    clock::{self, Alarm, Timer},
    disk::Disk,
    error::DriverError,
    host::{self, LinkHost},
    js,
    limits::{EVENTS_WAITING_MAX, LEAVE_TIMEOUT_MS},
    values,
};

#[wasm_bindgen(module = "/js/soon.js")]
extern "C" {
    /// Calls it when what waits in this thread's queue is done.
    pub fn soon(each: &Function);
}

/// See the module's documentation.
pub struct Driver {
    node: RefCell<Node>,
    inbox: RefCell<VecDeque<Input>>,
    pumping: Cell<bool>,
    closed: Cell<bool>,
    host: LinkHost,
    disk: Disk,
    alarm: Alarm,
    /// What is sent soon, so that what comes together goes together.
    outgoing: RefCell<Outgoing>,
    sending: Cell<bool>,
    send_all: Closure<dyn Fn()>,
    chunk_bytes: usize,
    calls: RefCell<Calls>,
    /// Who is told of what is watched, by the call that began it.
    watches: RefCell<Map<CallId, Function>>,
    listener: RefCell<Option<Function>>,
    /// Events that came before the listener.
    events: RefCell<VecDeque<JsValue>>,
}

impl Driver {
    /// Starts a node.
    pub fn start(node: Node, disk: Disk, negotiator: Option<host::Negotiator>) -> Rc<Driver> {
        let driver = Rc::new_cyclic(|weak: &Weak<Driver>| {
            let feed = {
                let weak = weak.clone();
                move |input| {
                    if let Some(driver) = weak.upgrade() {
                        driver.feed(input);
                    }
                }
            };
            let (on_host, on_disk, on_alarm) = (feed.clone(), feed.clone(), feed);
            disk.on_written(move |token, written| {
                on_disk(match written {
                    Ok(()) => Input::Persisted { token },
                    Err(reason) => Input::PersistFailed { token, reason },
                });
            });
            Driver {
                chunk_bytes: node.config().chunk_bytes,
                node: RefCell::new(node),
                inbox: RefCell::default(),
                pumping: Cell::new(false),
                closed: Cell::new(false),
                host: LinkHost::new(negotiator, move |event| on_host(event.into())),
                disk,
                alarm: Alarm::new(move || on_alarm(Input::Wake)),
                outgoing: RefCell::default(),
                sending: Cell::new(false),
                send_all: {
                    let weak = weak.clone();
                    Closure::new(move || {
                        if let Some(driver) = weak.upgrade() {
                            driver.send_all();
                        }
                    })
                },
                calls: RefCell::default(),
                watches: RefCell::default(),
                listener: RefCell::new(None),
                events: RefCell::default(),
            }
        });
        driver.feed(Input::Wake);
        driver
    }

    /// Something happened.
    fn feed(&self, input: Input) {
        if self.closed.get() {
            return;
        }
        self.inbox.borrow_mut().push_back(input);
        self.pump();
    }

    fn pump(&self) {
        if self.pumping.replace(true) {
            return;
        }
        loop {
            let Some(input) = self.inbox.borrow_mut().pop_front() else { break };
            let outputs: Vec<Output> = {
                let mut node = self.node.borrow_mut();
                node.handle_input(clock::now(), input);
                std::iter::from_fn(|| node.poll_output()).collect()
            };
            for output in outputs {
                self.carry_out(output);
            }
        }
        self.pumping.set(false);
    }

    fn send(&self, link: LinkId, chunk: Vec<u8>) {
        self.outgoing.borrow_mut().push(link, chunk, self.chunk_bytes);
        if !self.sending.replace(true) {
            soon(self.send_all.as_ref().unchecked_ref());
        }
    }

    fn send_all(&self) {
        self.sending.set(false);
        let chunks = self.outgoing.borrow_mut().take();
        // What a link that fails causes waits until the others have what was for them.
        let pumping = self.pumping.replace(true);
        for (link, bytes) in chunks {
            self.host.execute(host::Command::Send { link, bytes });
        }
        self.pumping.set(pumping);
        if !pumping {
            self.pump();
        }
    }

    fn carry_out(&self, output: Output) {
        match host::Command::try_from(output) {
            Ok(host::Command::Send { link, bytes }) => self.send(link, bytes),
            Ok(command) => {
                self.send_all();
                self.host.execute(command);
            }
            Err(Output::Persist { token, batch }) => self.disk.write(token, batch),
            Err(Output::Wake(at)) => self.alarm.set(at),
            Err(Output::Watched { call, event }) => self.tell_watched(call, &event),
            Err(Output::Progress { call, rows, share, early }) => {
                let told = self.calls.borrow().told(call);
                if let Some(told) = told {
                    let early = if early.is_empty() { Ok(JsValue::UNDEFINED) } else { encoded(&early) };
                    // It is a function of SQL's module, which does not throw.
                    let _ = told.call3(
                        &JsValue::UNDEFINED,
                        &share.into(),
                        &values::number(rows),
                        &early.unwrap_or_default(),
                    );
                }
            }
            Err(Output::Reply { call, result }) => {
                if let Err(error) = &result {
                    self.tell_watched(call, &Watched::Failed(error.into()));
                }
                let settle = self.calls.borrow_mut().settle(call, result);
                if let Some(settle) = settle {
                    settle.carry_out();
                }
            }
            Err(output) => {
                if let Some(event) = event(output) {
                    self.tell(event);
                }
            }
        }
    }

    /// Starts a call of the application; a promise of its answer.
    pub fn call(&self, command: Command, shape: Shape) -> Promise {
        match self.call_now(command, shape, None) {
            // A promise of a promise is that promise.
            Ok(answer) => Promise::resolve(&answer),
            Err(error) => Promise::reject(&error),
        }
    }

    /// Starts a call of the application: its answer if it is there at once, otherwise a promise of it. `told` is given the
    /// share that is done and the rows that came, while it goes on.
    pub fn call_now(&self, command: Command, shape: Shape, told: Option<Function>) -> Result<JsValue, JsValue> {
        if self.closed.get() {
            return Err(DriverError::Closed.into());
        }
        let call = self.calls.borrow_mut().open(shape, told);
        self.feed(Input::Command { call, command });
        self.calls.borrow_mut().answer(call)
    }

    /// Ends the call whose answer was promised so.
    pub fn cancel(&self, promise: &Promise) {
        let promised = self.calls.borrow().promised(promise);
        if let Some(canceled) = promised {
            let call = self.calls.borrow_mut().name();
            self.feed(Input::Command { call, command: Command::Cancel { call: canceled } });
        }
    }

    /// Lets a fragment stand; `listener` is given each event of it, encoded.
    pub fn watch(&self, command: Command, listener: Function) -> Result<CallId, JsValue> {
        if self.closed.get() {
            return Err(DriverError::Closed.into());
        }
        let call = self.calls.borrow_mut().name();
        self.watches.borrow_mut().insert(call, listener);
        self.feed(Input::Command { call, command });
        Ok(call)
    }

    /// It stands no longer.
    pub fn unwatch(&self, watch: CallId) {
        self.watches.borrow_mut().remove(&watch);
        let call = self.calls.borrow_mut().name();
        self.feed(Input::Command { call, command: Command::Unwatch { watch } });
    }

    fn tell_watched(&self, call: CallId, event: &Watched) {
        let listener = self.watches.borrow().get(&call).cloned();
        if let (Some(listener), Ok(bytes)) = (listener, postcard::to_allocvec(event)) {
            // It is a function of SQL's module, which does not throw.
            let _ = listener.call1(&JsValue::UNDEFINED, &Uint8Array::from(&bytes[..]));
        }
    }

    /// Who is told of messages, globals, new data, joining and traces; at once of those that came before.
    pub fn listen(&self, listener: Function) {
        self.listener.replace(Some(listener));
        let waiting = core::mem::take(&mut *self.events.borrow_mut());
        waiting.into_iter().for_each(|event| self.tell(event));
    }

    fn tell(&self, event: JsValue) {
        let listener = self.listener.borrow().clone();
        match listener {
            // A listener that throws is the application's fault; the TypeScript side reports it.
            Some(listener) => drop(listener.call1(&JsValue::UNDEFINED, &event)),
            None => {
                let mut events = self.events.borrow_mut();
                if events.len() < EVENTS_WAITING_MAX {
                    events.push_back(event);
                }
            }
        }
    }

    /// Gives `look` the node; not while the node works.
    pub fn node<T>(&self, look: impl FnOnce(&mut Node) -> T) -> T {
        look(&mut self.node.borrow_mut())
    }

    /// What this driver counts.
    pub fn figures(&self) -> JsValue {
        let host = self.host.figures();
        let (transactions, waiting) = self.disk.figures();
        js::object([
            ("storage", if self.disk.is_durable() { "indexeddb" } else { "memory" }.into()),
            ("rtcOpen", values::number(host.rtc_open as u64)),
            ("websocketsOpen", values::number(host.websockets_open as u64)),
            ("transactions", values::number(transactions)),
            ("batchesWaiting", values::number(waiting as u64)),
        ])
    }

    /// Leaves in good order, if wanted (or gives up on that after a while), and lets go of everything.
    pub async fn close(self: Rc<Self>, leave: bool) {
        if leave && !self.closed.get() {
            let leave = self.call(Command::Leave, Shape::Plain);
            // A page that goes has no other turn.
            self.send_all();
            let mut patience = None;
            let gave_up = Promise::new(&mut |resolve, _| {
                patience = Some(Timer::after(LEAVE_TIMEOUT_MS, move || {
                    let _ = resolve.call0(&JsValue::UNDEFINED);
                }));
            });
            let both = js_sys::Array::of2(&leave, &gave_up);
            // However the leave ends, the rest is the same.
            let _ = wasm_bindgen_futures::JsFuture::from(Promise::race(&both)).await;
        }
        if self.closed.replace(true) {
            return;
        }
        self.alarm.cancel();
        self.send_all();
        self.host.execute(host::Command::Shutdown);
        self.inbox.borrow_mut().clear();
        self.watches.borrow_mut().clear();
        let settles = self.calls.borrow_mut().close();
        settles.into_iter().for_each(crate::calls::Settle::carry_out);
        self.disk.close().await;
    }
}

/// An event for the application's listener.
fn event(output: Output) -> Option<JsValue> {
    Some(match output {
        Output::Message { from, to_key, payload } => {
            let (namespace, key) = match to_key {
                Some((namespace, key)) => (JsValue::from_str(&namespace), Uint8Array::from(&key[..]).into()),
                None => (JsValue::UNDEFINED, JsValue::UNDEFINED),
            };
            js::object([
                ("type", "message".into()),
                ("from", from.to_string().into()),
                ("payload", Uint8Array::from(&payload[..]).into()),
                ("namespace", namespace),
                ("key", key),
            ])
        }
        Output::Global { name, value } => {
            let value = value.map_or(JsValue::UNDEFINED, |value| Uint8Array::from(&value[..]).into());
            js::object([("type", "global".into()), ("name", name.into()), ("value", value)])
        }
        Output::NewData(record) => js::object([("type", "data".into()), ("record", values::record(&record))]),
        Output::Joined(joined) => js::object([("type", "joined".into()), ("joined", joined.into())]),
        Output::Trace(trace) => js::object([
            ("type", "trace".into()),
            ("atMs", values::number(trace.at_ms)),
            ("layer", trace.layer.into()),
            ("event", trace.event.into()),
            ("peer", trace.peer.map_or(JsValue::NULL, |peer| peer.to_string().into())),
            ("detail", trace.detail.into()),
        ]),
        _ => return None,
    })
}
