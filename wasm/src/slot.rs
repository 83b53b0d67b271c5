//! Slots: each tab of an origin is a peer with an identity and a store of its own, and a reload gets its own back.
//!
//! A slot is a lock that the browser frees however the page ends: a Web Lock, or where there are none (plain `http` on
//! a LAN address) the one connection to a database of the slot's own. The tab's last slot stands in its `sessionStorage`
//! and is tried first.

use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;

use crate::{
    error::DriverError,
    js,
    limits::{SLOT_WAIT_MS, SLOTS_MAX},
};

#[wasm_bindgen(module = "/src/slot.js")]
extern "C" {
    #[wasm_bindgen(catch)]
    async fn claim(key: &str, wait_ms: u32, most: u32) -> Result<JsValue, JsValue>;
}

/// A claimed slot; dropping it lets go.
pub struct Slot {
    name: String,
    release: Function,
}

impl Slot {
    /// Claims the slot that this tab had last, else the first free one.
    pub async fn claim(network: &str) -> Result<Slot, DriverError> {
        let claimed = claim(&format!("pontoon:{network}:slot"), SLOT_WAIT_MS, SLOTS_MAX).await;
        let claimed = claimed.map_err(|error| DriverError::Internal(js::describe(&error)))?;
        if claimed.is_undefined() {
            return Err(DriverError::NoSlot(SLOTS_MAX));
        }
        let pair = Array::from(&claimed);
        Ok(Slot { name: pair.get(0).as_string().unwrap_or_default(), release: pair.get(1).unchecked_into() })
    }

    /// Which slot it is: part of the name of its database.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // It does not throw.
        let _ = self.release.call0(&JsValue::UNDEFINED);
    }
}
