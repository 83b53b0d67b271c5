//! Errors as JavaScript sees them: `Error` objects with a stable `code`.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

/// What goes wrong in the driver itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// An argument is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// The database was closed.
    #[error("the database is closed")]
    Closed,
    /// No source of random bytes.
    #[error("this environment has no crypto.getRandomValues")]
    NoRandomness,
    /// The browser's store failed.
    #[error("the browser's store failed: {0}")]
    Disk(String),
    /// A value could not be handed to JavaScript.
    #[error("internal: {0}")]
    Internal(String),
}

impl DriverError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            DriverError::Invalid(_) => "invalid_argument",
            DriverError::Closed => "closed",
            DriverError::NoRandomness => "unsupported",
            DriverError::Disk(_) => "disk_failed",
            DriverError::Internal(_) => "internal",
        }
    }
}

impl From<DriverError> for JsValue {
    fn from(error: DriverError) -> JsValue {
        coded(error.code(), &error.to_string())
    }
}

/// An `Error` with a `code`.
pub fn coded(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // Setting a property of a fresh Error succeeds.
    let _ = Reflect::set(&error, &JsValue::from_str("code"), &JsValue::from_str(code));
    error.into()
}

/// An engine's error.
pub fn from_core(error: &pontoon_core::Error) -> JsValue {
    coded(error.code(), &error.to_string())
}
