//! What every HTTP request passes: it has an id, is counted and timed, and is told in the log; and the paths by which a
//! supernode is watched: `/healthz`, `/readyz`, `/metrics`.
//!
//! The log tells requests at `debug`, since there may be thousands a second, and those that failed by this program's fault at
//! `warn`.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse,
    routing::get,
};
use tokio::time::{Duration, Instant, sleep, timeout};
use tracing::Instrument as _;

use crate::{
    http::App,
    metrics::{self, Now, Route},
    site::plain,
    tls::server::Acceptor,
    traffic::{self, Caller},
};

/// The header with a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 64;
const TEXT: &str = "text/plain; charset=utf-8";

/// The address that a request comes from, a proxy's client if a proxy brings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker(pub(crate) IpAddr);

/// Gives a request an id and counts it.
pub(crate) async fn observe(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let begun = Instant::now();
    let _in_flight = app.sockets.metrics.requests.begin();
    let address = traffic::client(caller, request.headers(), &app.sockets.traffic.trusted_proxies);
    request.extensions_mut().insert(Asker(address));
    let wait = if app.api.knows(request.headers()) { Duration::ZERO } else { app.addresses.pace(address) };
    if !wait.is_zero() {
        app.sockets.metrics.requests_held_back.add(1);
        sleep(wait).await;
    }
    let id = id_of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let matched = request.extensions().get::<MatchedPath>();
    let route = Route::of(matched.map(MatchedPath::as_str));
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %address);
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, took) = (response.status(), begun.elapsed());
    app.sockets.metrics.requests.answered(route, status.as_u16(), took);
    let (status, took_ms) = (status.as_u16(), took.as_secs_f64() * 1e3);
    span.in_scope(|| match status {
        500 => tracing::warn!(%method, path, status, took_ms, "request failed"),
        _ => tracing::debug!(%method, path, status, took_ms, "request"),
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The id that a request brings, if it is one that may stand in a log, or a new one.
fn id_of(headers: &HeaderMap) -> HeaderValue {
    let sane = |id: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(plain)
    };
    if let Some(id) = headers.get(REQUEST_ID).filter(sane) {
        return id.clone();
    }
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::OnceLock<[u8; 4]> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| {
        let mut bytes = [0; 4];
        // Without random bytes ids are unique in this process only.
        let _ = getrandom::fill(&mut bytes);
        bytes
    });
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-{number:x}", u32::from_be_bytes(*start));
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none"))
}

/// `GET /readyz`: 200 while work may be sent here, else 503 and why not.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response<Body> {
    let reason = if app.is_leaving() {
        Some("leaving")
    } else {
        match timeout(app.limits.request_timeout, app.api.engine.health()).await {
            Ok(Ok(health)) => health.ready().err(),
            _ => Some("the engine does not answer"),
        }
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let told = serde_json::json!({ "ready": reason.is_none(), "reason": reason });
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(told)).into_response()
}

/// `GET /metrics`.
async fn show(State(app): State<Arc<App>>) -> Response<Body> {
    let looks = match timeout(app.limits.request_timeout, app.api.engine.looks()).await {
        Ok(Ok(looks)) => looks,
        _ => return plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the engine does not answer\n"),
    };
    let now = Now {
        queue_bytes: app.sockets.queued_bytes(),
        addresses: app.addresses.count(),
        leaving: app.is_leaving(),
        certificate_end: app.tls.as_ref().and_then(Acceptor::end),
    };
    let text = metrics::page(&looks, &app.sockets.metrics, &now);
    ([(header::CONTENT_TYPE, metrics::TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

/// What `--metrics-listen` serves.
pub(crate) fn watching(app: &Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .route("/healthz", get(crate::http::health))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(app))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(given: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        given.map(|given| headers.insert(REQUEST_ID, given.parse().unwrap()));
        id_of(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn ids_are_taken_over_when_sane_and_never_the_same() {
        assert_eq!(id(Some("0af7651916cd43dd-1.x_Y")), "0af7651916cd43dd-1.x_Y");
        assert_ne!(id(None), id(None));
        for insane in ["", "a b", "a\"b", "a;b", &"a".repeat(65)] {
            assert_ne!(id(Some(insane)), insane);
        }
    }
}
