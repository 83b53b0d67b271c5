//! Parameters and results as JavaScript sees them.

use js_sys::{Array, BigInt, Date, JSON, Number, Object, Uint8Array};
use pontoon_core::{
    Error,
    data::{QueryResult, Value, json::Json, time},
};
use wasm_bindgen::prelude::*;

// The tags of `values.js`.
const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const TRUE: u8 = 4;
const FALSE: u8 = 5;
const OTHER: u8 = 6;

#[wasm_bindgen(module = "/src/values.js")]
extern "C" {
    /// Values in bulk.
    type Parameters;
    #[wasm_bindgen(constructor)]
    fn new(values: &Array) -> Parameters;
    #[wasm_bindgen(method, getter)]
    fn tags(this: &Parameters) -> Vec<u8>;
    #[wasm_bindgen(method, getter)]
    fn numbers(this: &Parameters) -> Vec<f64>;
    #[wasm_bindgen(method, getter)]
    fn text(this: &Parameters) -> String;
    #[wasm_bindgen(method, getter)]
    fn others(this: &Parameters) -> Array;

    #[wasm_bindgen(js_name = result)]
    fn make_result(width: usize, tags: &[u8], numbers: &[f64], text: &str, others: &Array) -> JsValue;
}

/// The parameters of a statement.
pub fn parameters(values: &Array) -> Result<Vec<Value>, Error> {
    let bulk = Parameters::new(values);
    let (tags, numbers, text, others) = (bulk.tags(), bulk.numbers(), bulk.text(), bulk.others());
    let (mut numbers, mut rest, mut others) = (numbers.into_iter(), &text[..], others.iter());
    let ascii = text.is_ascii();
    let mut parameters = Vec::with_capacity(tags.len());
    for (index, tag) in tags.into_iter().enumerate() {
        parameters.push(match tag {
            INTEGER => Value::Integer(numbers.next().unwrap_or_default() as i64),
            REAL => Value::Real(numbers.next().unwrap_or_default()),
            TEXT => {
                let units = numbers.next().unwrap_or_default() as usize;
                let (text, more) =
                    rest.split_at_checked(if ascii { units } else { bytes_of(rest, units) }).unwrap_or((rest, ""));
                rest = more;
                Value::Text(text.to_owned())
            }
            TRUE => Value::Boolean(true),
            FALSE => Value::Boolean(false),
            OTHER => parameter(index, &others.next().unwrap_or_default())?,
            _ => Value::Null,
        });
    }
    Ok(parameters)
}

/// How many bytes the first so many units of UTF-16 take in UTF-8.
fn bytes_of(text: &str, units: usize) -> usize {
    let mut left = units;
    let ends = |(_, letter): &(usize, char)| match left.checked_sub(letter.len_utf16()) {
        Some(less) => {
            left = less;
            false
        }
        None => true,
    };
    text.char_indices().find(ends).map_or(text.len(), |(at, _)| at)
}

/// One parameter of a statement. A safe integer is an INTEGER, any other number a REAL.
pub fn parameter(index: usize, value: &JsValue) -> Result<Value, Error> {
    let bad = |what: &str| Error::Invalid(format!("parameter ${}: {what}", index + 1));
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let Some(text) = value.as_string() {
        return Ok(Value::Text(text));
    }
    if let Some(boolean) = value.as_bool() {
        return Ok(Value::Boolean(boolean));
    }
    if let Some(number) = value.as_f64() {
        return Ok(if Number::is_safe_integer(value) { Value::Integer(number as i64) } else { Value::Real(number) });
    }
    if value.is_bigint() {
        return i64::try_from(value.clone()).map(Value::Integer).map_err(|_| bad("beyond 64 bits"));
    }
    if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        return Ok(Value::Blob(bytes.to_vec()));
    }
    if let Some(date) = value.dyn_ref::<Date>() {
        let ms = date.get_time();
        return if ms.is_nan() { Err(bad("an invalid Date")) } else { Ok(Value::Timestamp(ms as i64 * 1_000)) };
    }
    // Anything else that JSON can say is JSON.
    let plain = value.is_object() && (Array::is_array(value) || is_plain(value));
    if let Some(text) = JSON::stringify(value).ok().and_then(|text| text.as_string()).filter(|_| plain) {
        return match Json::parse(&text) {
            Some(json) => Ok(Value::Json(json.print())),
            None => Err(bad("JSON that nests too deep, or with a number of too many digits")),
        };
    }
    Err(bad("a string, number, bigint, boolean, null, Date, Uint8Array, or a plain object or array for JSON is wanted"))
}

/// Whether it is an object of no class.
fn is_plain(value: &JsValue) -> bool {
    let prototype = Object::get_prototype_of(value);
    prototype.is_null() || Object::get_prototype_of(&prototype).is_null()
}

/// A value of a result.
pub fn to_js(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Integer(integer) => integer_to_js(*integer),
        Value::Real(real) => JsValue::from_f64(*real),
        Value::Text(text) => JsValue::from_str(text),
        Value::Boolean(boolean) => JsValue::from_bool(*boolean),
        Value::Timestamp(micros) => date(*micros),
        Value::Blob(bytes) => Uint8Array::from(&bytes[..]).into(),
        // Midnight, as a timestamp would be.
        Value::Date(days) => time::at_midnight(*days).map_or(JsValue::NULL, date),
        // What JavaScript has no exact value for is its text.
        Value::Numeric(_) | Value::Interval(_) | Value::Uuid(_) => JsValue::from_str(&value.to_string()),
        Value::Json(text) => JSON::parse(text).unwrap_or_else(|_| JsValue::from_str(text)),
    }
}

fn integer_to_js(integer: i64) -> JsValue {
    let float = integer as f64;
    if float.abs() <= Number::MAX_SAFE_INTEGER { JsValue::from_f64(float) } else { BigInt::from(integer).into() }
}

fn date(micros: i64) -> JsValue {
    Date::new(&JsValue::from_f64(micros.div_euclid(1_000) as f64)).into()
}

/// A result, as `values.js` reads it.
pub fn query_result(result: &QueryResult) -> JsValue {
    let QueryResult { columns, rows, affected, coverage, assumed_lost, cost } = result;
    let elapsed_ms = cost.elapsed_us as f64 / 1_000.0;
    let mut written = Written::default();
    written.numbers.extend([*affected as f64, *coverage, f64::from(*assumed_lost)]);
    written.numbers.extend([cost.messages as f64, cost.bytes as f64, cost.peers as f64, elapsed_ms]);
    for column in columns {
        written.text(&column.name);
        match column.data_type {
            Some(data_type) => written.text(&data_type.name().to_ascii_uppercase()),
            None => written.tags.push(NULL),
        }
    }
    rows.iter().flatten().for_each(|value| written.value(value));
    let Written { tags, numbers, text, others } = written;
    make_result(columns.len(), &tags, &numbers, &text, &others)
}

/// Values on their way to JavaScript.
#[derive(Default)]
struct Written {
    tags: Vec<u8>,
    numbers: Vec<f64>,
    text: String,
    others: Array,
}

impl Written {
    fn value(&mut self, value: &Value) {
        let (tag, number) = match value {
            Value::Null => (NULL, None),
            Value::Integer(integer) if (*integer as f64).abs() <= Number::MAX_SAFE_INTEGER => {
                (INTEGER, Some(*integer as f64))
            }
            Value::Real(real) => (REAL, Some(*real)),
            Value::Boolean(boolean) => (if *boolean { TRUE } else { FALSE }, None),
            Value::Text(text) => return self.text(text),
            other => {
                self.others.push(&to_js(other));
                (OTHER, None)
            }
        };
        self.tags.push(tag);
        self.numbers.extend(number);
    }

    fn text(&mut self, text: &str) {
        let units = if text.is_ascii() { text.len() } else { text.encode_utf16().count() };
        self.tags.push(TEXT);
        self.numbers.push(units as f64);
        self.text.push_str(text);
    }
}
