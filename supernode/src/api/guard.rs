//! What every request below `/v1` passes: its origin, a turn, and for what is not just reading the token.
//!
//! Browsers let any page send a simple request anywhere and only hide the answer. So a write that comes from a page of an
//! origin that is neither listed nor this supernode's own is refused, whether or not it has a token.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse,
};

use super::{Api, access::Denied, error::ApiError};
use crate::{
    metrics::{Refused, refused},
    observe::Asker,
};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, accept, if-match, if-none-match, x-request-id");
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, retry-after, www-authenticate, pontoon-expires, pontoon-stale, pontoon-coverage, pontoon-assumed-lost, \
     pontoon-affected, x-request-id",
);
/// Seconds for which a browser need not ask again whether it may ask.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response<Body> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let listed = origin.filter(|origin| is_listed(&api, origin));
    let foreign = foreign(&api, request.headers());
    let mut response = match request.method() {
        &Method::OPTIONS if asks_whether(request.headers()) => preflight(listed.is_some()),
        method if foreign && !method.is_safe() => foreign_page().into_response(),
        _ => admitted(&api, request, next).await.unwrap_or_else(ApiError::into_response),
    };
    let headers = response.headers_mut();
    if let Some(origin) = listed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn admitted(api: &Api, request: Request, next: Next) -> Result<Response<Body>, ApiError> {
    let known = api.access.admits(request.headers()).is_ok();
    if !known && !request.method().is_safe() {
        token(api, request.headers())?;
    }
    let limits = &api.access.limits;
    let from = request.extensions().get::<Asker>().map(|Asker(address)| *address);
    let overloaded = |reason: Refused, message: String| {
        if let Some(address) = from {
            refused(&api.metrics, reason, address);
        }
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message)
    };
    let own = from.map(|address| api.addresses.request(address)).transpose();
    let _own = own.map_err(|reason| overloaded(reason, "too many requests of this address at once".to_owned()))?;
    // Whoever may only read leaves turns for those with the token.
    let full = |_| {
        let max = limits.requests_max;
        overloaded(Refused::Requests, format!("this supernode carries out {max} requests at once already"))
    };
    let _stranger = (!known).then(|| api.strangers.try_acquire()).transpose().map_err(full)?;
    let _turn = api.turns.try_acquire().map_err(full)?;
    Ok(next.run(request).await)
}

/// Whether a request may write or ask SQL.
pub(super) fn token(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    api.access.admits(headers).map_err(|denied| {
        let (message, challenge) = match denied {
            Denied::Unconfigured => (
                "this supernode takes neither writes nor SQL over HTTP: start it with a token (PONTOON_TOKEN or \
                 --token-file FILE), or with --open where nobody else reaches it",
                "Bearer realm=\"pontoon\"",
            ),
            Denied::Missing => {
                ("writes and SQL need the token: Authorization: Bearer TOKEN", "Bearer realm=\"pontoon\"")
            }
            Denied::Wrong => {
                ("this is not the token of this supernode", "Bearer realm=\"pontoon\", error=\"invalid_token\"")
            }
        };
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    })
}

/// Refuses pages of other origins what keeps a supernode busy. A page may send a simple `GET` without saying where it comes
/// from; then browsers say at least whether it is another site.
pub(super) fn no_foreign_page(api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get("sec-fetch-site").filter(|_| !headers.contains_key(header::ORIGIN));
    let elsewhere = site.is_some_and(|site| site == "cross-site" || site == "same-site");
    if elsewhere || foreign(api, headers) { Err(foreign_page()) } else { Ok(()) }
}

/// Whether a page asks whose origin is neither listed nor this supernode's own.
fn foreign(api: &Api, headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| !is_listed(api, origin) && !is_own(origin, headers))
}

impl Api {
    /// Whether a page asks that may not join: where no origins are listed, pages of all of them may.
    pub(crate) fn keeps_out(&self, headers: &HeaderMap) -> bool {
        !self.access.origins.is_empty() && foreign(self, headers)
    }
}

fn is_listed(api: &Api, origin: &HeaderValue) -> bool {
    origin.to_str().is_ok_and(|origin| api.access.lists(origin))
}

fn asks_whether(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether a page of this supernode, or of the proxy in front of it, asks.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.zip(host).is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

fn preflight(may: bool) -> Response<Body> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if may {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    response
}

fn foreign_page() -> ApiError {
    let message = "pages of this origin may neither write nor ask SQL here: --origin lists those that may";
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}
