//! `/v1/kv/{namespace}/{key}`: one key, by the methods of HTTP.
//!
//! | method | when it is there | when it is not |
//! |---|---|---|
//! | `GET` | 200, 304 | 404 |
//! | `POST` creates | 409 | 201 |
//! | `PUT` sets | 200, 412 | 201, 412 |
//! | `DELETE` | 204, 412 | 404 |
//!
//! The entity tag is the version. Every write is a conditional one at the key's owner, so what the status says of what was
//! there is true, whoever else writes. (A `PUT` without conditions that others forestalled eight times is written whatever
//! is there by then, and says what was there last.) The engine's own namespaces are no business of this interface: SQL is
//! the way to tables, and needs the token for reading, too.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{FromRequestParts, Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts},
    response::IntoResponse,
};
use pontoon_core::{
    Command, Error, Reply,
    data::time,
    store::{Action, Expect, KeyOp, Outcome, Version},
};
use tokio::time::{Instant, timeout};

use super::{
    Api, GRACE,
    condition::{self, Conditions},
    content,
    error::ApiError,
    query, value,
};

/// When a value lapses (RFC 3339).
const EXPIRES: HeaderName = HeaderName::from_static("pontoon-expires");
/// A replica said it, not who vouches for the key.
const STALE: HeaderName = HeaderName::from_static("pontoon-stale");
/// How often a write is tried again because somebody else wrote in between.
const TRIES_MAX: usize = 8;

/// Which key a request is about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    namespace: String,
    key: String,
}

impl FromRequestParts<Arc<Api>> for Place {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Place, ApiError> {
        let named = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((namespace, key)) =
            named.map_err(|_| ApiError::invalid("namespace and key are UTF-8, percent-encoded"))?;
        let max = api.sizes.key_bytes_max;
        if namespace.len().max(key.len()) > max {
            let message = format!("a namespace, and a key, has at most {max} bytes");
            return Err(ApiError::new(StatusCode::URI_TOO_LONG, "too_large", message));
        }
        if namespace.starts_with("pontoon.") || namespace.starts_with("pontoon_") {
            let message =
                "namespaces that begin with pontoon. or pontoon_ are the engine's: ask SQL for what is in tables";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message));
        }
        Ok(Place { namespace, key })
    }
}

/// `GET`, and `HEAD`.
pub(super) async fn read(
    State(api): State<Arc<Api>>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let [stale] = query::parameters(query.as_deref(), ["stale"])?;
    let action = if query::flag("stale", stale)? { Action::GetStale } else { Action::Get };
    let conditions = Conditions::of(&headers)?;
    let asking = Asking::begin(&api, place);
    let (value, version, expiry_us, stale) = match asking.ask(action).await? {
        Outcome::Found { value, version, expiry_us } => (value, version, expiry_us, false),
        Outcome::Stale { value: Some(value), version: Some(version), expiry_us } => (value, version, expiry_us, true),
        Outcome::Absent | Outcome::Stale { .. } => return Err(absent()),
        other => return Err(failed(other)),
    };
    let matches = Conditions { none_matches: None, ..conditions.clone() };
    if !matches.hold(Some(&version)) {
        return Err(ApiError::precondition());
    }
    let mut response = if conditions.hold(Some(&version)) {
        let (content_type, content) = value::decode(value);
        ([(header::CONTENT_TYPE, content_type)], content).into_response()
    } else {
        StatusCode::NOT_MODIFIED.into_response()
    };
    let headers = response.headers_mut();
    tag(headers, &version);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if stale {
        headers.insert(STALE, HeaderValue::from_static("true"));
    }
    let lapses = expiry_us.and_then(|us| i64::try_from(us).ok()).map(|us| time::format(us).replace(' ', "T") + "Z");
    if let Some(lapses) = lapses.and_then(|lapses| HeaderValue::from_str(&lapses).ok()) {
        headers.insert(EXPIRES, lapses);
    }
    Ok(response)
}

/// `POST`.
pub(super) async fn create(
    State(api): State<Arc<Api>>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let (write, conditions) = Write::read(&api, query, &headers, body).await?;
    let asking = Asking::begin(&api, place);
    // What is there decides before conditions do (RFC 9110, section 13.2.1); what is not there matches nothing.
    let outcome = match conditions.matches {
        Some(_) => asking.ask(Action::Get).await?,
        None => asking.ask(write.action(Expect::Absent)).await?,
    };
    match outcome {
        Outcome::Stored { version } => Ok(stored(StatusCode::CREATED, &version)),
        Outcome::Conflict { .. } | Outcome::Found { .. } => {
            Err(ApiError::new(StatusCode::CONFLICT, "conflict", "the key is there already: PUT writes over it"))
        }
        Outcome::Absent => Err(ApiError::precondition()),
        other => Err(failed(other)),
    }
}

/// `PUT`.
pub(super) async fn set(
    State(api): State<Arc<Api>>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let (write, conditions) = Write::read(&api, query, &headers, body).await?;
    let asking = Asking::begin(&api, place);
    // A first guess of what is there that the conditions allow; the owner says when it is wrong.
    let absent_fits = conditions.hold(None);
    let mut seen = match conditions.only() {
        Some(version) => Some(version),
        None if absent_fits => None,
        None => asking.version().await?,
    };
    for tried in 0..TRIES_MAX {
        if !conditions.hold(seen.as_ref()) {
            return Err(ApiError::precondition());
        }
        let status = if seen.is_none() { StatusCode::CREATED } else { StatusCode::OK };
        // Who set no condition gets written however much others write.
        let insists = tried + 1 == TRIES_MAX && conditions == Conditions::default();
        let expect = if insists { Expect::Any } else { seen.map_or(Expect::Absent, Expect::Version) };
        match asking.ask(write.action(expect)).await? {
            Outcome::Stored { version } => return Ok(stored(status, &version)),
            Outcome::Conflict { current } => seen = current.map(|(_, version)| version),
            other => return Err(failed(other)),
        }
    }
    Err(contended())
}

/// `DELETE`.
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    query::parameters(query.as_deref(), [])?;
    let conditions = Conditions::of(&headers)?;
    let asking = Asking::begin(&api, place);
    let mut seen = match conditions {
        Conditions { matches: None, none_matches: None } => None,
        _ => match conditions.only() {
            Some(version) => Some(version),
            None => Some(asking.version().await?.ok_or_else(absent)?),
        },
    };
    for _ in 0..TRIES_MAX {
        if seen.is_some() && !conditions.hold(seen.as_ref()) {
            return Err(ApiError::precondition());
        }
        let expect = seen.map_or(Expect::Any, Expect::Version);
        match asking.ask(Action::Remove { expect }).await? {
            Outcome::Stored { .. } => return Ok(StatusCode::NO_CONTENT.into_response()),
            Outcome::Absent | Outcome::Conflict { current: None } => return Err(absent()),
            Outcome::Conflict { current: Some((_, version)) } => seen = Some(version),
            other => return Err(failed(other)),
        }
    }
    Err(contended())
}

/// What is to be stored.
struct Write {
    value: Vec<u8>,
    ttl_us: Option<u64>,
}

impl Write {
    async fn read(
        api: &Api,
        query: Option<String>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Write, Conditions), ApiError> {
        let [ttl] = query::parameters(query.as_deref(), ["ttl"])?;
        let ttl_us = query::micros("ttl", ttl)?;
        let (conditions, kind) = (Conditions::of(headers)?, value::kind(headers)?);
        // One byte says what it is.
        let bytes_max = api.sizes.value_bytes_max - 1;
        let content = content::read(body, bytes_max, api.access.limits.content_timeout).await?;
        Ok((Write { value: value::encode(kind, &content)?, ttl_us }, conditions))
    }

    fn action(&self, expect: Expect) -> Action {
        Action::Put { value: self.value.clone(), expect, ttl_us: self.ttl_us }
    }
}

/// Operations on one key that have one deadline.
struct Asking<'a> {
    api: &'a Api,
    place: Place,
    latest: Instant,
}

impl Asking<'_> {
    fn begin(api: &Api, place: Place) -> Asking<'_> {
        Asking { api, place, latest: Instant::now() + api.access.limits.timeout }
    }

    async fn ask(&self, action: Action) -> Result<Outcome, ApiError> {
        let Place { namespace, key } = self.place.clone();
        let locality_bits = self.api.engine.locality_bits;
        let ops = vec![KeyOp { namespace, locality_bits, key: key.into_bytes(), action, proof: None }];
        let left = self.latest.saturating_duration_since(Instant::now());
        let deadline_us = Some(u64::try_from(left.as_micros()).unwrap_or(u64::MAX));
        let asked = self.api.engine.call(Command::Keys { ops, deadline_us });
        match timeout(left + GRACE, asked).await {
            Ok(Ok(Reply::Keys(outcomes, _))) => Ok(outcomes.into_iter().next().unwrap_or(Outcome::Unreachable)),
            Ok(Ok(_)) => Ok(Outcome::Unreachable),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the engine did not answer in time")),
        }
    }

    /// The version that is there.
    async fn version(&self) -> Result<Option<Version>, ApiError> {
        match self.ask(Action::Get).await? {
            Outcome::Found { version, .. } => Ok(Some(version)),
            Outcome::Absent => Ok(None),
            other => Err(failed(other)),
        }
    }
}

fn stored(status: StatusCode, version: &Version) -> Response<Body> {
    let body = Json(serde_json::json!({ "version": condition::text(version) }));
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
    tag(response.headers_mut(), version);
    response
}

fn tag(headers: &mut HeaderMap, version: &Version) {
    if let Ok(tag) = HeaderValue::from_str(&condition::tag(version)) {
        headers.insert(header::ETAG, tag);
    }
}

fn absent() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "the key is not there")
}

fn contended() -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "conflict", "others keep writing this key")
}

/// What an outcome means that no method asks for.
fn failed(outcome: Outcome) -> ApiError {
    match outcome {
        Outcome::Refused(refusal) => Error::Refused(refusal).into(),
        Outcome::Conflict { .. } => Error::Conflict.into(),
        _ => Error::Unreachable.into(),
    }
}
