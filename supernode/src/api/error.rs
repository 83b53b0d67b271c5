//! Failures as HTTP says them: a status, and `{"error":{"code","message"}}` whose codes are those of the npm package.

use axum::{
    Json,
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use pontoon_core::{Error, sql::sqlstate::sqlstate};
use serde::Serialize;

use super::sql::Ask;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) told: Box<Told>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// What the caller reads.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Of SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sqlstate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    /// A character of the statement's text, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u32>,
}

/// When a caller that is too much may come again: queues are short.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        let told = Told { code, message: message.into(), sqlstate: None, hint: None, position: None };
        let later = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let header = later.then(|| Box::new((header::RETRY_AFTER, RETRY_AFTER_S)));
        ApiError { status, told: Box::new(told), header }
    }

    /// An argument is not what it should be.
    pub(super) fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_argument", message)
    }

    /// A condition of the request's header does not hold.
    pub(super) fn precondition() -> ApiError {
        ApiError::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            "If-Match or If-None-Match does not hold for what the key has",
        )
    }

    /// A fault of this program.
    pub(super) fn internal(message: &str) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// A statement failed: the one of that index of its text.
    pub(super) fn sql(error: Error, ask: &Ask, index: usize) -> ApiError {
        let help = error.help().cloned().unwrap_or_default();
        let named = || pontoon_parser::locate(&ask.sql, index, help.subject.as_deref()?);
        let position = help.position.or_else(named);
        let mut failed = ApiError::from(error);
        let Told { code, message, .. } = *failed.told;
        failed.told = Box::new(Told { code, message, sqlstate: Some(sqlstate(code)), hint: help.hint, position });
        failed
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> ApiError {
        self.header = Some(Box::new((name, value)));
        self
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let code = error.code();
        let message = match &error {
            Error::Unreachable => {
                "nobody who may answer for it was reached in time; a write may have happened".to_owned()
            }
            other => other.to_string(),
        };
        ApiError::new(status(code), code, message)
    }
}

fn status(code: &str) -> StatusCode {
    match code {
        "invalid_argument" => StatusCode::BAD_REQUEST,
        "conflict" => StatusCode::CONFLICT,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "overloaded" => StatusCode::TOO_MANY_REQUESTS,
        "unreachable" | "closed" | "disk_failed" => StatusCode::SERVICE_UNAVAILABLE,
        "quota_exceeded" => StatusCode::INSUFFICIENT_STORAGE,
        "insufficient_privilege" | "unsigned" | "forged" => StatusCode::FORBIDDEN,
        // Of SQL, by the class of its state.
        code => match sqlstate(code).get(..2) {
            Some("23" | "40") => StatusCode::CONFLICT,
            Some("08" | "57") => StatusCode::SERVICE_UNAVAILABLE,
            Some("XX") => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let ApiError { status, told, header } = self;
        let body = Json(serde_json::json!({ "error": told }));
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
        if let Some((name, value)) = header.map(|header| *header) {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
