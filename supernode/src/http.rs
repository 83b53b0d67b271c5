//! The HTTP end: the page, health, inspection, the interface for programs ([`crate::api`]), and the upgrade to a
//! WebSocket.
//!
//! 1. a TCP connection takes a seat, or is closed unheard when there is none, in all or for its address;
//! 2. where there is a certificate, TLS begins in time ([`crate::tls`]); plain HTTP is told so there;
//! 3. its requests are answered; headers must come in time, and what is answered must be taken;
//! 4. `GET /pontoon` with an upgrade passes the door ([`crate::door`]) and takes a client's seat, or is answered 503; from
//!    then on it is a link ([`crate::socket`]) and keeps its seats until it ends.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{Request as HttpRequest, State},
    http::{Response, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::get,
};
use hyper::{server::conn::http1, service::Service as _};
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
    channel::Sockets,
    door::{Door, Refused},
    driver::{Event, Links},
    metrics::{self, Cut, Metrics},
    observe::{self, Asker},
    reach::Reach,
    settings::{Limits, SOCKET_PATH},
    site::{self, Site, plain},
    socket,
    tls::{server::Acceptor, unsecured},
    traffic::{Addresses, Caller, Held, Stalling},
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
    pub(crate) sockets: Sockets,
    pub(crate) addresses: Addresses,
    pub(crate) reach: Reach,
    /// Set before the engine is told to leave: nobody new is taken.
    pub(crate) leaving: Arc<AtomicBool>,
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

impl App {
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }
}

/// A connection's places, held while it is open.
pub(crate) struct Seated {
    _one: OwnedSemaphorePermit,
    /// Among those of its address, unless it is a proxy's.
    own: Option<Held>,
    metrics: Arc<Metrics>,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.metrics.connections_ended.add(1);
    }
}

type Seat = Arc<Seated>;

/// Accepts connections until told to stop.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, stop: watch::Receiver<()>) {
    let seats = Arc::new(Semaphore::new(app.limits.connections_max));
    let router = Router::new()
        .route(SOCKET_PATH, get(upgrade))
        .route("/healthz", get(health))
        .route("/readyz", get(observe::ready))
        .route("/v1/inspect", get(inspect))
        .fallback(page)
        .with_state(Arc::clone(&app))
        .merge(api::router(&app.api))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe));
    let mut stopped = stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let (stream, address) = match accepted {
            Ok((stream, peer)) => (stream, peer.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match seat(&app, &seats, address) {
            Ok(seat) => {
                let caller = Caller { address, proxy: app.sockets.traffic.trusted_proxies.contains(&address) };
                tokio::spawn(connection(stream, router.clone(), (caller, seat), Arc::clone(&app), stop.clone()));
            }
            Err(reason) => metrics::refused(&app.sockets.metrics, reason, address),
        }
    }
}

/// A connection's places; why there are none, if not.
fn seat(app: &App, seats: &Arc<Semaphore>, address: IpAddr) -> Result<Seat, metrics::Refused> {
    let proxy = app.sockets.traffic.trusted_proxies.contains(&address);
    let own = if proxy { None } else { Some(app.addresses.connection(address)?) };
    let seat = Arc::clone(seats).try_acquire_owned().map_err(|_| metrics::Refused::Connections)?;
    let metrics = Arc::clone(&app.sockets.metrics);
    metrics.connections.add(1);
    Ok(Arc::new(Seated { _one: seat, own, metrics }))
}

async fn connection(stream: TcpStream, router: Router, from: (Caller, Seat), app: Arc<App>, stop: watch::Receiver<()>) {
    // Chunks are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let patience = app.limits.request_timeout;
    let http = match &app.tls {
        Some(_) => timeout(patience, unsecured::is_http(&stream)).await,
        None => Ok(true),
    };
    let stream = Stalling::new(stream, app.sockets.traffic.stall_timeout, Arc::clone(&app.sockets.metrics));
    match (&app.tls, http) {
        (None, _) => requests(stream, router, from, &app, stop).await,
        (Some(_), Err(_)) => tracing::debug!("a connection did not begin TLS in time"),
        (Some(_), Ok(true)) => {
            // Browsers and scanners try it: counted, and not in the log.
            let _ = app.sockets.metrics.refuse(metrics::Refused::PlainHttp);
            let _ = timeout(patience, unsecured::refuse(stream)).await;
        }
        (Some(tls), Ok(false)) => {
            if let Some(stream) = tls.accept(stream, patience).await {
                requests(stream, router, from, &app, stop).await;
            }
        }
    }
}

async fn requests<S>(
    stream: S,
    router: Router,
    (caller, seat): (Caller, Seat),
    app: &App,
    mut stop: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    let service = hyper::service::service_fn(move |mut request| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(Arc::clone(&seat));
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.limits.request_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
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
        let address = caller.address;
        tracing::debug!(%error, %address, "connection ended");
        // One that asked before was kept open in case of another request, as browsers do, and ends like that.
        if error.is_timeout()
            && !asked.load(Ordering::Relaxed)
            && let Some(count) = app.sockets.metrics.cut(Cut::SlowHeader)
        {
            tracing::info!(%address, count, "a connection was cut: no request came in time (the last one's address)");
        }
    }
}

async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(seat): Extension<Seat>,
    Extension(Asker(address)): Extension<Asker>,
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
    let places = match client_seat(&app, &seat, address) {
        Ok(places) => places,
        Err(reason) => {
            metrics::refused(&app.sockets.metrics, reason, address);
            return plain(
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                match reason {
                    metrics::Refused::Leaving => "this supernode is leaving\n",
                    metrics::Refused::Clients => "too many clients\n",
                    _ => "too many clients of this address\n",
                },
            );
        }
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _held = (seat, places);
        let upgraded = match timeout(app.limits.request_timeout, upgraded).await {
            Ok(Ok(upgraded)) => TokioIo::new(upgraded),
            _ => return,
        };
        let config = socket::config(app.chunk_bytes);
        let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
        let _busy = app.busy.clone();
        let (events, sockets, reach) = (app.events.clone(), app.sockets.clone(), Some(app.reach.clone()));
        let origin = (Origin::Accepted, Some(address));
        socket::run(socket, app.links.next(), origin, events, sockets, reach, &app.limits).await;
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

/// A client's places: among all clients, and among those of its address if a proxy brings it.
fn client_seat(
    app: &App,
    seat: &Seat,
    address: IpAddr,
) -> Result<(OwnedSemaphorePermit, Option<Held>), metrics::Refused> {
    if app.is_leaving() {
        return Err(metrics::Refused::Leaving);
    }
    let own = if seat.own.is_some() { None } else { Some(app.addresses.connection(address)?) };
    Ok((Arc::clone(&app.clients).try_acquire_owned().map_err(|_| metrics::Refused::Clients)?, own))
}

pub(crate) async fn health(State(app): State<Arc<App>>) -> Response<Body> {
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
