//! The interface for programs, below `/v1`: keys and values, SQL, the ring and its peers. Answers are JSON where they are
//! not a value or a result in another form.
//!
//! 1. `guard`: pages of other origins, how much is done at once, who may write;
//! 2. a handler reads the request, asks the engine's task within a time limit, and says what came of it;
//! 3. `error`: every failure has a status and a stable code, that of the npm package where it has one.
//!
//! Invariant: of a request nothing waits without a limit of time, and nothing is kept without a limit of size.

mod access;
mod condition;
mod content;
mod error;
mod guard;
mod kv;
mod live;
mod query;
mod ring;
mod sql;
mod stream;
mod token;
mod value;

use std::sync::Arc;

pub use access::{Access, AccessArgs, AccessError, ApiLimits};
use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{get, post},
};
use error::ApiError;
pub use token::Token;
use tokio::{sync::Semaphore, time::Duration};

use crate::{engine::Engine, metrics::Metrics, traffic::Addresses};

/// Beyond its deadline the engine answers at once.
const GRACE: Duration = Duration::from_secs(2);

/// What the handlers share.
pub(crate) struct Api {
    pub(crate) engine: Engine,
    access: Access,
    sizes: Sizes,
    /// One for each request that is carried out.
    turns: Semaphore,
    /// One for each request with statements, until its result was read.
    sql_turns: Arc<Semaphore>,
    /// One for each live query.
    live_turns: Arc<Semaphore>,
    sessions: sql::Sessions,
    /// Of these turns, those of requests without the token.
    strangers: Semaphore,
    /// Turns by address.
    addresses: Addresses,
    metrics: Arc<Metrics>,
}

/// The network's bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) key_bytes_max: usize,
    pub(crate) value_bytes_max: usize,
}

impl Api {
    pub(crate) fn new(
        engine: Engine,
        access: Access,
        sizes: Sizes,
        (addresses, metrics): (Addresses, Arc<Metrics>),
    ) -> Arc<Api> {
        let turns = Semaphore::new(access.limits.requests_max);
        let sql_turns = Arc::new(Semaphore::new(access.limits.sql_max));
        let live_turns = Arc::new(Semaphore::new(access.limits.live_max));
        let sessions = sql::Sessions::default();
        let strangers = Semaphore::new((access.limits.requests_max * 3).div_ceil(4));
        Arc::new(Api { engine, access, sizes, turns, sql_turns, live_turns, sessions, strangers, addresses, metrics })
    }
}

impl Api {
    /// Whether a request has the token, or needs none.
    pub(crate) fn knows(&self, headers: &HeaderMap) -> bool {
        self.access.admits(headers).is_ok()
    }
}

/// All of `/v1` but `/v1/inspect`.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(api: &Arc<Api>) -> Router<S> {
    let methods = get(kv::read).post(kv::create).put(kv::set).delete(kv::remove);
    let routes = Router::new()
        .route("/kv/{namespace}/{key}", methods)
        .route("/sql", post(sql::post))
        .route("/live", get(live::get))
        .route("/openapi.json", get(document))
        .route("/ring", get(ring::ring))
        .route("/peers", get(ring::peers))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .layer(middleware::from_fn_with_state(Arc::clone(api), guard::guard))
        .with_state(Arc::clone(api));
    Router::new().nest("/v1", routes)
}

/// What `/v1` offers, for programs that read such.
const DOCUMENT: &str = include_str!("openapi.json");

async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}

async fn nowhere(request: Request) -> ApiError {
    let path = request.uri().path();
    ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path:?}"))
}

async fn not_so(request: Request) -> ApiError {
    let message = format!("{} is not for this: Allow says what is", request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}
