//! Parameters and results as JavaScript sees them.

use js_sys::{Array, BigInt, Date, JSON, Number, Object, Uint8Array};
use pontoon_core::{
    Error,
    data::{QueryResult, Type, Value, json::Json, time},
};
use wasm_bindgen::{JsCast, JsValue};

/// A parameter of a statement. A safe integer is an INTEGER, any other number a REAL.
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

/// A result: columns, and the values of all rows in one flat list (fewer crossings between wasm and JavaScript).
pub fn query_result(result: &QueryResult) -> JsValue {
    let columns = Array::new();
    for column in &result.columns {
        let data_type = column.data_type.map_or(JsValue::NULL, |data_type| type_name(data_type).into());
        columns.push(&object([("name", JsValue::from_str(&column.name)), ("type", data_type)]));
    }
    let values = Array::new();
    for value in result.rows.iter().flatten() {
        values.push(&to_js(value));
    }
    let cost = object([
        ("messages", number(result.cost.messages)),
        ("bytes", number(result.cost.bytes)),
        ("peers", number(result.cost.peers)),
        ("elapsedMs", JsValue::from_f64(result.cost.elapsed_us as f64 / 1_000.0)),
    ]);
    object([
        ("columns", columns.into()),
        ("values", values.into()),
        ("affected", number(result.affected)),
        ("coverage", JsValue::from_f64(result.coverage)),
        ("assumedLost", JsValue::from_bool(result.assumed_lost)),
        ("cost", cost),
    ])
}

fn number(count: u64) -> JsValue {
    JsValue::from_f64(count as f64)
}

/// A plain object.
fn object<const N: usize>(pairs: [(&str, JsValue); N]) -> JsValue {
    let entries = Array::new();
    for (name, value) in pairs {
        entries.push(&Array::of2(&JsValue::from_str(name), &value));
    }
    // Entries made here are always pairs.
    Object::from_entries(&entries).unwrap_or_default().into()
}

fn type_name(data_type: Type) -> &'static str {
    match data_type {
        Type::Integer => "INTEGER",
        Type::Real => "REAL",
        Type::Text => "TEXT",
        Type::Boolean => "BOOLEAN",
        Type::Timestamp => "TIMESTAMP",
        Type::Blob => "BLOB",
        Type::Numeric(_) => "NUMERIC",
        Type::Date => "DATE",
        Type::Interval => "INTERVAL",
        Type::Json => "JSON",
        Type::Uuid => "UUID",
    }
}
