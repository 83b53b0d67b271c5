//! `POST /v1/sql`: statements in, the result of the last one out, as JSON, as lines of JSON, or as CSV.
//!
//! Each request is a session of its own: what it `SET`s ends with it. Whoever closes the connection cancels what still
//! runs.

mod ask;
mod render;
mod running;

use std::sync::Arc;

pub(super) use ask::Ask;
use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use pontoon_core::data::QueryResult;
use render::{Format, Render};
pub(super) use render::{json_row, names};
pub(super) use running::{Sessions, environment};
use tokio::time::timeout;

use super::{Api, GRACE, content, error::ApiError, query, stream};

/// The share of the key space asked that answered.
const COVERAGE: HeaderName = HeaderName::from_static("pontoon-coverage");
/// A part that answered had given up a majority of its group for lost.
const ASSUMED_LOST: HeaderName = HeaderName::from_static("pontoon-assumed-lost");
/// Rows written.
const AFFECTED: HeaderName = HeaderName::from_static("pontoon-affected");

/// `POST`.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    query::parameters(query.as_deref(), [])?;
    let limits = &api.access.limits;
    let format = Format::accepted(&headers)?;
    let content = content::json(&headers, body, limits.sql_bytes_max, limits.content_timeout).await?;
    let ask = Ask::read(&content, limits.sql_timeout)?;
    let turn = Arc::clone(&api.sql_turns).try_acquire_owned().map_err(|_| {
        let max = limits.sql_max;
        let message = format!("this supernode runs {max} statements for its callers at once already");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message)
    })?;
    let late = || {
        ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "the statement did not end in time; what it writes may have been written",
        )
    };
    let running = running::run(&api.engine, &api.sessions, &ask);
    let result = timeout(ask.timeout + GRACE, running).await.map_err(|_| late())??;
    let facts = facts(&result);
    let body = stream::body(Render::new(result, format), limits.stall_timeout, turn);
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, format.content_type())], facts, body).into_response())
}

/// What CSV and lines have no place for.
fn facts(result: &QueryResult) -> HeaderMap {
    let number = |number: String| HeaderValue::from_str(&number).unwrap_or(HeaderValue::from_static("0"));
    HeaderMap::from_iter([
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (COVERAGE, number(result.coverage.to_string())),
        (ASSUMED_LOST, HeaderValue::from_static(if result.assumed_lost { "true" } else { "false" })),
        (AFFECTED, number(result.affected.to_string())),
    ])
}
