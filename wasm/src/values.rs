//! Versions, times and records as JavaScript sees them.

use js_sys::{Date, Uint8Array};
use pontoon_core::{
    Id,
    store::{Record, Version},
};
use wasm_bindgen::JsValue;

use crate::{error::DriverError, js};

/// A `Date` of microseconds since the epoch.
fn date(micros: i64) -> JsValue {
    Date::new(&JsValue::from_f64(micros.div_euclid(1_000) as f64)).into()
}

/// A `Date` or null.
pub fn expiry(expiry_us: Option<u64>) -> JsValue {
    expiry_us.map_or(JsValue::NULL, |micros| date(i64::try_from(micros).unwrap_or(i64::MAX)))
}

/// A version as opaque text.
pub fn version_text(version: &Version) -> String {
    format!("{}.{}.{}", version.wall_us, version.counter, version.author)
}

/// The version of such a text.
pub fn version(text: &str) -> Result<Version, DriverError> {
    let parse = || {
        let mut parts = text.splitn(3, '.');
        let wall_us = parts.next()?.parse().ok()?;
        let counter = parts.next()?.parse().ok()?;
        let author: Id = parts.next()?.parse().ok()?;
        Some(Version { wall_us, counter, author })
    };
    parse().ok_or_else(|| DriverError::Invalid("not a version".to_owned()))
}

/// A record; without a value when it is a tombstone.
pub fn record(record: &Record) -> JsValue {
    let value = record.value.as_ref().map_or(JsValue::UNDEFINED, |value| Uint8Array::from(&value[..]).into());
    js::object([
        ("namespace", JsValue::from_str(&record.namespace)),
        ("key", Uint8Array::from(&record.key[..]).into()),
        ("value", value),
        ("version", JsValue::from_str(&version_text(&record.version))),
        ("expires", expiry(record.expiry_us)),
    ])
}

/// A count.
pub fn number(count: u64) -> JsValue {
    JsValue::from_f64(count as f64)
}
