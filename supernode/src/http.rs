//! The HTTP end: the page, health, inspection, the interface for programs ([`crate::api`]), and the upgrade to a
//! WebSocket.
//!
//! 1. a TCP connection takes a seat, or is closed unheard when there is none;
//! 2. where there is a certificate, TLS begins in time ([`crate::tls`]);
//! 3. its requests are answered; headers must come in time;
//! 4. `GET /pontoon` with an upgrade passes the door ([`crate::door`]) and takes a client's seat, or is answered 503; from then on it is a link
//!    ([`crate::socket`]) and keeps both seats until it ends.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    http::{Response, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use pontoon_core::{Error, Origin};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Duration, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::server::create_response_with_body, protocol::Role},
};

use crate::{
    api::{self, Api},
    door::{Door, Refused},
    driver::{Event, Links},
    reach::Reach,
    settings::{Limits, SOCKET_PATH},
    site::{self, Site, plain},
    socket::{self, AllQueued},
    tls::server::Acceptor,
};

const TEXT: &str = "text/plain; charset=utf-8";
/// The largest request header that is read.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// After accepting failed for want of something (file descriptors), before it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the handlers share.
pub(crate) struct App {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) api: Arc<Api>,
    pub(crate) links: Links,
    pub(crate) queued: AllQueued,
    pub(crate) reach: Reach,
    pub(crate) limits: Limits,
    pub(crate) chunk_bytes: usize,
    pub(crate) site: Site,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<Acceptor>,
    pub(crate) door: Door,
    pub(crate) clients: Arc<Semaphore>,
    /// Held by whatever serves a connection: when all are dropped, everybody has been said goodbye to.
    pub(crate) busy: mpsc::Sender<Infallible>,
}

type Seat = Arc<OwnedSemaphorePermit>;

/// Accepts connections until told to stop.
pub(crate) async fn serve(listener: TcpListener, app: App, stop: watch::Receiver<()>) {
    let app = Arc::new(app);
    let seats = Arc::new(Semaphore::new(app.limits.connections_max));
    let router = Router::new()
        .route(SOCKET_PATH, get(upgrade))
        .route("/healthz", get(health))
        .route("/v1/inspect", get(inspect))
        .fallback(page)
        .with_state(Arc::clone(&app))
        .merge(api::router(&app.api));
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&seats).try_acquire_owned() {
            Ok(seat) => {
                let router = router.clone().layer(Extension(Arc::new(seat)));
                tokio::spawn(connection(stream, router, Arc::clone(&app), stop.clone()));
            }
            Err(_) => tracing::warn!(max = app.limits.connections_max, "too many connections: one closed unheard"),
        }
    }
}

async fn connection(stream: TcpStream, router: Router, app: Arc<App>, stop: watch::Receiver<()>) {
    // Chunks are small and wanted at once.
    let _ = stream.set_nodelay(true);
    match &app.tls {
        None => requests(stream, router, &app, stop).await,
        Some(tls) => {
            if let Some(stream) = tls.accept(stream, app.limits.request_timeout).await {
                requests(stream, router, &app, stop).await;
            }
        }
    }
}

async fn requests<S>(stream: S, router: Router, app: &App, mut stop: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.request_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(seat): Extension<Seat>,
    mut request: HttpRequest,
) -> Response<Body> {
    let Ok(response) = create_response_with_body(&request, Body::empty) else {
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, TEXT, "peers connect here by WebSocket\n");
        response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        return response;
    };
    if let Err(refused) = app.door.admits(&app.api, request.uri(), request.headers()) {
        return turned_away(refused);
    }
    let Ok(client_seat) = Arc::clone(&app.clients).try_acquire_owned() else {
        tracing::warn!(max = app.limits.clients_max, "too many clients: one refused");
        return plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many clients\n");
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _seats = (seat, client_seat);
        let upgraded = match timeout(app.limits.request_timeout, upgraded).await {
            Ok(Ok(upgraded)) => TokioIo::new(upgraded),
            _ => return,
        };
        let config = socket::config(app.chunk_bytes);
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
        let _busy = app.busy.clone();
        let (events, queued, reach) = (app.events.clone(), app.queued.clone(), Some(app.reach.clone()));
        socket::run(socket, app.links.next(), Origin::Accepted, events, queued, reach, &app.limits).await;
    });
    response
}

fn turned_away(refused: Refused) -> Response<Body> {
    let text = format!("{refused}\n");
    match refused {
        Refused::Origin => plain(StatusCode::FORBIDDEN, TEXT, text),
        Refused::NoToken | Refused::WrongToken => {
            let mut response = plain(StatusCode::UNAUTHORIZED, TEXT, text);
            let challenge = header::HeaderValue::from_static("Bearer realm=\"pontoon\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

async fn health(State(app): State<Arc<App>>) -> Response<Body> {
    answer(&app, app.api.engine.health()).await
}

async fn inspect(State(app): State<Arc<App>>) -> Response<Body> {
    answer(&app, app.api.engine.inspect()).await
}

/// What the engine's task says, as JSON; 503 if it says nothing in time.
async fn answer<T: serde::Serialize>(app: &App, asked: impl Future<Output = Result<T, Error>>) -> Response<Body> {
    match timeout(app.limits.request_timeout, asked).await {
        Ok(Ok(answer)) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the engine does not answer\n"),
    }
}

async fn page(State(app): State<Arc<App>>, request: HttpRequest) -> Response<Body> {
    use axum::http::Method;
    match *request.method() {
        Method::GET | Method::HEAD => site::respond(app.site, request.uri().path(), request.headers()),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n"),
    }
}
