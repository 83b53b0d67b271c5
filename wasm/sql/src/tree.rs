//! Prefix hash trees over one engine.

use std::{cell::RefCell, rc::Rc};

use js_sys::{Array, Date, Number, Object, Promise, Uint8Array};
use pontoon_core::{
    Error,
    data::{Cost, Value, codec},
    pht::{Answer, Change, Held, Range, Request, Shape, Task, What, Wrote},
    store::Outcome,
};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::{Engine, decode, encode, get_random_values, thrown, values};

/// Namespaces of trees begin so.
const PREFIX: &str = "pontoon.pht.";

/// A prefix hash tree; remembers its shape.
#[wasm_bindgen]
pub struct Tree {
    engine: Engine,
    namespace: String,
    shape: Rc<RefCell<Shape>>,
}

#[wasm_bindgen]
impl Tree {
    /// The tree of a name.
    #[wasm_bindgen(constructor)]
    pub fn new(engine: Engine, name: &str) -> Tree {
        Tree { engine, namespace: format!("{PREFIX}{name}"), shape: Rc::default() }
    }

    /// Sets entries, or removes those whose value is null: a promise of nothing. Where `absent`, a key that is there already
    /// is a `conflict`.
    pub fn write(
        &self,
        keys: Vec<JsValue>,
        values: Vec<JsValue>,
        absent: bool,
        timeout: Option<f64>,
    ) -> Result<Promise, JsValue> {
        let mut random = [0; 8];
        get_random_values(&mut random)?;
        let change = |(key, value): (JsValue, &JsValue)| {
            let what = match value.dyn_ref::<Uint8Array>() {
                Some(bytes) => What::Set(bytes.to_vec(), u64::from_le_bytes(random)),
                None => What::Remove(0),
            };
            Ok(Change { key: key_of(&key)?, what, expect: if absent { Held::Absent } else { Held::Any } })
        };
        let changes = keys.into_iter().zip(&values).map(change).collect::<Result<_, Error>>();
        let request = Request::Write(changes.map_err(|error| thrown(&error))?);
        Ok(self.run(request, timeout, |answer| match answer.wrote.iter().find(|wrote| **wrote != Wrote::Done) {
            None => Ok(JsValue::UNDEFINED),
            Some(Wrote::Unexpected(_)) => Err(thrown(&Error::Conflict)),
            Some(Wrote::Refused(refusal)) => Err(thrown(&Error::Refused(*refusal))),
            Some(_) => Err(thrown(&Error::Unreachable)),
        }))
    }

    /// The entries from a key on and before another one; a promise of keys, values, and their coverage.
    pub fn range(
        &self,
        from: &JsValue,
        to: &JsValue,
        backwards: bool,
        limit: Option<u32>,
        timeout: Option<f64>,
    ) -> Result<Promise, JsValue> {
        let bound = |key: &JsValue| -> Result<Option<Vec<u8>>, JsValue> {
            if key.is_undefined() { Ok(None) } else { key_of(key).map(Some).map_err(|error| thrown(&error)) }
        };
        let limit = limit.map(|limit| limit as usize);
        let range = Range { from: bound(from)?.unwrap_or_default(), to: bound(to)?, backwards, limit };
        Ok(self.run(Request::Range(range), timeout, |answer| Ok(found(&answer))))
    }

    /// The entry of a key: as a range.
    pub fn get(&self, key: &JsValue, timeout: Option<f64>) -> Result<Promise, JsValue> {
        let from = key_of(key).map_err(|error| thrown(&error))?;
        let to = Some([&from[..], &[0]].concat());
        let range = Range { from, to, ..Range::default() };
        Ok(self.run(Request::Range(range), timeout, |answer| match answer.missing {
            0 => Ok(found(&answer)),
            _ => Err(thrown(&Error::Unreachable)),
        }))
    }

    fn run(
        &self,
        request: Request,
        timeout: Option<f64>,
        end: impl FnOnce(Answer) -> Result<JsValue, JsValue> + 'static,
    ) -> Promise {
        let (engine, shape) = (self.engine.clone(), self.shape.clone());
        let mut task = Task::new(self.namespace.clone(), 0, request, &shape.borrow());
        let started = Date::now();
        future_to_promise(async move {
            loop {
                let ops = task.poll();
                if ops.is_empty() {
                    return end(task.into_answer());
                }
                let left = timeout.map(|timeout| (started + timeout - Date::now()).max(0.0));
                // What is there at once is waited for as well: a promise of bytes, or bytes.
                let answer = JsFuture::from(Promise::resolve(&engine.keys(&encode(&ops)?, left)?)).await?;
                let answer = answer.unchecked_ref::<Uint8Array>().to_vec();
                let (outcomes, _): (Vec<Outcome>, Cost) = decode(&answer)?;
                task.on_outcomes(&mut shape.borrow_mut(), outcomes);
            }
        })
    }
}

/// A key, of one value or several. All numbers order as numbers, all bigints as such.
fn key_of(key: &JsValue) -> Result<Vec<u8>, Error> {
    let part = |index: usize, part: JsValue| match values::parameter(index, &part)? {
        Value::Integer(_) if !part.is_bigint() => Ok(Value::Real(Number::unchecked_from_js(part).value_of())),
        Value::Json(_) => Err(Error::Invalid("objects and arrays are no parts of keys".to_owned())),
        value => Ok(value),
    };
    let parts = if Array::is_array(key) { Array::from(key) } else { Array::of1(key) };
    let row = parts.iter().enumerate().map(|(index, value)| part(index, value)).collect::<Result<Vec<_>, Error>>()?;
    if row.is_empty() {
        return Err(Error::Invalid("a key has at least one part".to_owned()));
    }
    Ok(codec::encode_key(&row))
}

fn found(answer: &Answer) -> JsValue {
    let (keys, values) = (Array::new(), Array::new());
    for entry in &answer.entries {
        let row = codec::decode_key(&entry.key, usize::MAX).unwrap_or_default();
        let parts: Array = row.iter().map(values::to_js).collect();
        keys.push(&if row.len() == 1 { parts.get(0) } else { parts.into() });
        values.push(&Uint8Array::from(&entry.value[..]));
    }
    let coverage = JsValue::from_f64(answer.coverage());
    let pairs = [("keys", keys.into()), ("values", values.into()), ("coverage", coverage)];
    let entries: Array =
        pairs.into_iter().map(|(name, value): (&str, JsValue)| Array::of2(&name.into(), &value)).collect();
    // Entries made here are always pairs.
    Object::from_entries(&entries).unwrap_or_default().into()
}
