//! Calls in flight: each a promise that the engine's reply settles, in the shape the call wants. What is answered before
//! anybody waits needs no promise.

use js_sys::{Array, Function, Object, Promise, Uint8Array};
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
    /// The answer of the call opened last, while nobody waits for it.
    answered: Option<(CallId, Result<JsValue, JsValue>)>,
}

struct Pending {
    shape: Shape,
    /// The promise, and what resolves and rejects it, once somebody waits.
    promise: Option<(Promise, Function, Function)>,
    /// Is told how far it has come.
    told: Option<Function>,
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
    /// The name of a fresh call, whose answer nobody waits for.
    pub fn name(&mut self) -> CallId {
        self.last += 1;
        CallId(self.last)
    }

    /// A fresh call.
    pub fn open(&mut self, shape: Shape, told: Option<Function>) -> CallId {
        let call = self.name();
        self.pending.insert(call, Pending { shape, promise: None, told });
        call
    }

    /// The call whose answer was promised so.
    pub fn promised(&self, promise: &Promise) -> Option<CallId> {
        let of = |pending: &Pending| pending.promise.as_ref().is_some_and(|(other, ..)| Object::is(other, promise));
        self.pending.iter().find(|(_, pending)| of(pending)).map(|(call, _)| *call)
    }

    /// Who is told how far a call has come.
    pub fn told(&self, call: CallId) -> Option<Function> {
        self.pending.get(&call)?.told.clone()
    }

    /// The answer of a call that was opened just now, or a promise of it.
    pub fn answer(&mut self, call: CallId) -> Result<JsValue, JsValue> {
        match self.answered.take() {
            Some((answered, result)) if answered == call => return result,
            other => self.answered = other,
        }
        let mut functions = None;
        let promise = Promise::new(&mut |resolve, reject| functions = Some((resolve, reject)));
        if let Some(pending) = self.pending.get_mut(&call) {
            pending.promise = functions.map(|(resolve, reject)| (promise.clone(), resolve, reject));
        }
        Ok(promise.into())
    }

    /// The engine's reply.
    pub fn settle(&mut self, call: CallId, result: Result<Reply, Error>) -> Option<Settle> {
        let Pending { shape, promise, .. } = self.pending.remove(&call)?;
        let result = result.map_err(|error| from_core(&error)).and_then(|reply| shaped(shape, reply));
        let Some((_, resolve, reject)) = promise else {
            self.answered = Some((call, result));
            return None;
        };
        Some(match result {
            Ok(value) => Settle { with: resolve, value },
            Err(value) => Settle { with: reject, value },
        })
    }

    /// Nobody will reply any more.
    pub fn close(&mut self) -> Vec<Settle> {
        let pending = core::mem::take(&mut self.pending);
        let reject = |(_, _, reject)| Settle { with: reject, value: DriverError::Closed.into() };
        pending.into_values().filter_map(|call| call.promise).map(reject).collect()
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
        // SQL asks for secrets by a way of its own.
        Reply::Agreed(_) | Reply::Done => Ok(JsValue::UNDEFINED),
    }
}

pub fn encoded<T: Serialize>(reply: &T) -> Result<JsValue, JsValue> {
    match postcard::to_allocvec(reply) {
        Ok(bytes) => Ok(Uint8Array::from(&bytes[..]).into()),
        Err(_) => Err(DriverError::Internal("a reply that cannot be written".to_owned()).into()),
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
        Outcome::Stale { .. }
        | Outcome::Hinted
        | Outcome::Proven(_)
        | Outcome::Verified(_)
        | Outcome::Unverified(_) => Ok(JsValue::NULL),
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
