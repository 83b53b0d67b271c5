//! Calls in flight: each a promise that the engine's reply settles, in the shape the call wants.

use js_sys::{Array, Function, Promise, Uint8Array};
use pontoon_core::{
    CallId, Error, Reply,
    map::Map,
    store::{Outcome, Refusal, Version},
};
use serde::Serialize;
use wasm_bindgen::JsValue;

use crate::{
    error::{DriverError, coded, from_core},
    js, values,
};

/// What the answer of a call looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{value, version, expires, stale}` or null.
    Entry,
    /// The new version, as text.
    Version,
    /// Whether the key was there.
    Renewed,
    /// The whole reply, encoded.
    Encoded,
    /// What the reply itself says.
    Plain,
}

/// See the module's documentation.
#[derive(Default)]
pub struct Calls {
    pending: Map<CallId, Pending>,
    last: u64,
}

struct Pending {
    shape: Shape,
    resolve: Function,
    reject: Function,
}

/// A promise's fate, to be carried out when nothing is borrowed.
pub struct Settle {
    with: Function,
    value: JsValue,
}

impl Settle {
    /// Resolves or rejects.
    pub fn carry_out(self) {
        // The functions of a promise do not throw.
        let _ = self.with.call1(&JsValue::UNDEFINED, &self.value);
    }
}

impl Calls {
    /// A fresh call and its promise.
    pub fn open(&mut self, shape: Shape) -> (CallId, Promise) {
        self.last += 1;
        let call = CallId(self.last);
        let mut functions = None;
        let promise = Promise::new(&mut |resolve, reject| functions = Some((resolve, reject)));
        if let Some((resolve, reject)) = functions {
            self.pending.insert(call, Pending { shape, resolve, reject });
        }
        (call, promise)
    }

    /// The engine's reply.
    pub fn settle(&mut self, call: CallId, result: Result<Reply, Error>) -> Option<Settle> {
        let Pending { shape, resolve, reject } = self.pending.remove(&call)?;
        Some(match result.map_err(|error| from_core(&error)).and_then(|reply| shaped(shape, reply)) {
            Ok(value) => Settle { with: resolve, value },
            Err(value) => Settle { with: reject, value },
        })
    }

    /// Nobody will reply any more.
    pub fn close(&mut self) -> Vec<Settle> {
        let pending = core::mem::take(&mut self.pending);
        pending.into_values().map(|call| Settle { with: call.reject, value: DriverError::Closed.into() }).collect()
    }
}

fn shaped(shape: Shape, reply: Reply) -> Result<JsValue, JsValue> {
    match reply {
        Reply::Keys(outcomes, cost) if shape == Shape::Encoded => encoded(&(outcomes, cost)),
        Reply::Gathered(partial, end) => encoded(&(partial, end)),
        Reply::Keys(outcomes, _) => match outcomes.into_iter().next() {
            Some(outcome) => key_outcome(shape, outcome),
            None => Err(DriverError::Internal("an empty reply".to_owned()).into()),
        },
        Reply::Records(records) => {
            let list = Array::new();
            for record in records.iter().filter(|record| record.value.is_some()) {
                list.push(&values::record(record));
            }
            Ok(list.into())
        }
        Reply::Delivered(id) => Ok(id.to_string().into()),
        Reply::Reached { nodes, coverage } => {
            Ok(js::object([("nodes", values::number(nodes)), ("coverage", coverage.into())]))
        }
        Reply::Done => Ok(JsValue::UNDEFINED),
    }
}

fn encoded<T: Serialize>(reply: &T) -> Result<JsValue, JsValue> {
    match postcard::to_allocvec(reply) {
        Ok(bytes) => Ok(Uint8Array::from(&bytes[..]).into()),
        Err(error) => Err(DriverError::Internal(error.to_string()).into()),
    }
}

fn key_outcome(shape: Shape, outcome: Outcome) -> Result<JsValue, JsValue> {
    match outcome {
        Outcome::Found { value, version, expiry_us } => Ok(match shape {
            Shape::Renewed => JsValue::TRUE,
            _ => entry(&value, &version, expiry_us, false),
        }),
        Outcome::Stale { value: Some(value), version: Some(version), expiry_us } => {
            Ok(entry(&value, &version, expiry_us, true))
        }
        Outcome::Stale { .. } | Outcome::Hinted => Ok(JsValue::NULL),
        Outcome::Absent => Ok(if shape == Shape::Renewed { JsValue::FALSE } else { JsValue::NULL }),
        Outcome::Stored { version } => Ok(match shape {
            Shape::Renewed => JsValue::TRUE,
            _ => values::version_text(&version).into(),
        }),
        Outcome::Conflict { .. } => Err(from_core(&Error::Conflict)),
        Outcome::Unreachable => Err(from_core(&Error::Unreachable)),
        Outcome::Refused(refusal) => Err(refused(refusal)),
    }
}

fn entry(value: &[u8], version: &Version, expiry_us: Option<u64>, stale: bool) -> JsValue {
    js::object([
        ("value", Uint8Array::from(value).into()),
        ("version", values::version_text(version).into()),
        ("expires", values::expiry(expiry_us)),
        ("stale", stale.into()),
    ])
}

fn refused(refusal: Refusal) -> JsValue {
    let error = Error::Refused(refusal);
    coded(error.code(), &error.to_string())
}
