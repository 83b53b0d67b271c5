//! The two clocks and timers of the browser, on a page, in a worker or in Node.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use js_sys::Function;
use pontoon_core::Now;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, delay_ms: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

/// `performance.now()` and `Date.now()` in microseconds.
pub fn now() -> Now {
    Now { mono: (performance_now() * 1_000.0) as u64, wall: (js_sys::Date::now() * 1_000.0) as u64 }
}

/// A timer that fires once unless dropped before.
pub struct Timer {
    handle: JsValue,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// Calls `callback` after `delay_ms`.
    pub fn after(delay_ms: u32, callback: impl FnOnce() + 'static) -> Timer {
        let callback = Closure::once(callback);
        let handle = set_timeout(callback.as_ref().unchecked_ref(), f64::from(delay_ms));
        Timer { handle, _callback: callback }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}

/// One timer for many wishes: it is set for the earliest, and a ring that comes too early does no harm.
#[derive(Clone)]
pub struct Alarm(Rc<AlarmState>);

struct AlarmState {
    /// When it rings (monotone clock, microseconds), and the browser's handle.
    set: Cell<Option<(u64, JsValue)>>,
    callback: RefCell<Option<Closure<dyn Fn()>>>,
}

impl Alarm {
    /// An alarm that calls `ring`.
    pub fn new(ring: impl Fn() + 'static) -> Alarm {
        let state = Rc::new(AlarmState { set: Cell::new(None), callback: RefCell::new(None) });
        let weak = Rc::downgrade(&state);
        let callback = Closure::<dyn Fn()>::new(move || {
            if let Some(state) = weak.upgrade() {
                state.set.set(None);
                ring();
            }
        });
        state.callback.replace(Some(callback));
        Alarm(state)
    }

    /// Rings at `at` (monotone clock, microseconds) or earlier.
    pub fn set(&self, at: u64) {
        if let Some((pending, handle)) = self.0.set.take() {
            if pending <= at {
                return self.0.set.set(Some((pending, handle)));
            }
            clear_timeout(&handle);
        }
        let delay_ms = at.saturating_sub(now().mono).div_ceil(1_000).min(i32::MAX as u64);
        if let Some(callback) = &*self.0.callback.borrow() {
            let handle = set_timeout(callback.as_ref().unchecked_ref(), delay_ms as f64);
            self.0.set.set(Some((at, handle)));
        }
    }

    /// Never rings again unless set.
    pub fn cancel(&self) {
        if let Some((_, handle)) = self.0.set.take() {
            clear_timeout(&handle);
        }
    }
}
