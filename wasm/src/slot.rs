//! Slots: each tab of an origin is a peer with an identity and a store of its own, and a reload gets its own back.
//!
//! A slot is a Web Lock, held as long as the page lives and freed by the browser however the page ends. The tab's last
//! slot stands in its `sessionStorage` and is tried first. Where there are no Web Locks (plain `http` on a LAN address)
//! `sessionStorage` alone keeps the name of a private slot, and it is taken out while in use, so that a duplicated tab
//! does not find it; a tab that crashes there leaves its slot behind.

use js_sys::{Array, Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Storage;

use crate::{
    error::DriverError,
    js,
    limits::{SLOT_WAIT_MS, SLOTS_MAX},
};

#[wasm_bindgen]
extern "C" {
    /// `navigator.locks`, of which web-sys knows only behind an unstable flag.
    type LockManager;
    #[wasm_bindgen(structural, method)]
    fn request(this: &LockManager, name: &str, options: &Object, callback: &Function) -> Promise;

    #[wasm_bindgen(js_namespace = AbortSignal, js_name = timeout, catch)]
    fn abort_after(delay_ms: u32) -> Result<JsValue, JsValue>;
}

/// A claimed slot; dropping it lets go.
pub struct Slot {
    name: String,
    hold: Hold,
}

enum Hold {
    /// Ends the promise for whose life the browser holds the lock.
    Lock { release: Function },
    /// Puts the name back for the next page of this tab.
    Session { key: String },
}

impl Slot {
    /// Claims the slot that this tab had last, else the first free one.
    pub async fn claim(network: &str) -> Result<Slot, DriverError> {
        let key = format!("pontoon:{network}:slot");
        let storage = session_storage();
        let last = storage.as_ref().and_then(|storage| storage.get_item(&key).ok().flatten());
        match js::global("navigator").and_then(|navigator| js::property(&navigator, "locks")) {
            Some(locks) => {
                let slot = Slot::claim_lock(locks.unchecked_ref(), &key, last).await?;
                if let Some(storage) = storage {
                    let _ = storage.set_item(&key, &slot.name); // Full or forbidden: the next page takes a free slot.
                }
                Ok(slot)
            }
            None => {
                if let Some(storage) = storage {
                    let _ = storage.remove_item(&key);
                }
                let name = match last {
                    Some(name) => name,
                    None => js::random_bytes()?[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
                };
                Ok(Slot { name, hold: Hold::Session { key } })
            }
        }
    }

    async fn claim_lock(locks: &LockManager, key: &str, last: Option<String>) -> Result<Slot, DriverError> {
        if let Some(name) = last {
            // The page that this one replaces may not be gone yet; a tab that was duplicated waits in vain.
            let options = Object::new();
            if let Ok(signal) = abort_after(SLOT_WAIT_MS) {
                set(&options, "signal", &signal);
            } else {
                set(&options, "ifAvailable", &JsValue::TRUE);
            }
            if let Some(slot) = try_lock(locks, key, &name, &options).await {
                return Ok(slot);
            }
        }
        for number in 0..SLOTS_MAX {
            let options = Object::new();
            set(&options, "ifAvailable", &JsValue::TRUE);
            if let Some(slot) = try_lock(locks, key, &number.to_string(), &options).await {
                return Ok(slot);
            }
        }
        Err(DriverError::NoSlot(SLOTS_MAX))
    }

    /// Which slot it is: part of the name of its database.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match &self.hold {
            Hold::Lock { release } => {
                let _ = release.call0(&JsValue::UNDEFINED);
            }
            Hold::Session { key } => {
                if let Some(storage) = session_storage() {
                    let _ = storage.set_item(key, &self.name);
                }
            }
        }
    }
}

/// The lock `<key>:<name>`, if it is granted.
async fn try_lock(locks: &LockManager, key: &str, name: &str, options: &Object) -> Option<Slot> {
    // `hold` lives until `release` is called, and the lock with it.
    let mut release = None;
    let hold = Promise::new(&mut |resolve, _| release = Some(resolve));
    let release = release?;
    let mut granted = None;
    let outcome = Promise::new(&mut |resolve, _| granted = Some(resolve));
    let granted = granted?;
    let callback = Closure::once_into_js(move |lock: JsValue| -> JsValue {
        let _ = granted.call1(&JsValue::UNDEFINED, &JsValue::from_bool(!lock.is_null()));
        if lock.is_null() { JsValue::UNDEFINED } else { hold.into() }
    });
    let request = locks.request(&format!("{key}:{name}"), options, callback.unchecked_ref());
    // The request ends first only when it fails (it waited in vain); the race also listens to its later end.
    let first = JsFuture::from(Promise::race(&Array::of2(&outcome, &request))).await;
    match first {
        Ok(granted) if granted.is_truthy() => Some(Slot { name: name.to_owned(), hold: Hold::Lock { release } }),
        _ => None,
    }
}

fn set(object: &Object, name: &str, value: &JsValue) {
    // Setting a property of a fresh object succeeds.
    let _ = Reflect::set(object, &JsValue::from_str(name), value);
}

fn session_storage() -> Option<Storage> {
    js::global("sessionStorage").map(JsValue::unchecked_into)
}
