//! The address that `/metrics` is asked at (`--metrics-listen`): another one than the network's, so that whom a firewall lets
//! reach it is who may read it. `/healthz` and `/readyz` are there as well.

use std::{convert::Infallible, sync::Arc};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    time::{Duration, sleep, timeout},
};

/// Connections at once; one more is closed unheard.
const CONNECTIONS_MAX: usize = 32;
/// A connection ends after so long, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    request_timeout: Duration,
    busy: mpsc::Sender<Infallible>,
    mut stop: watch::Receiver<()>,
) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else { continue };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(request_timeout)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let (mut stop, _busy) = (stop.clone(), busy.clone());
        tokio::spawn(async move {
            let _held = (seat, _busy);
            tokio::select! {
                _ = timeout(CONNECTION_TIMEOUT, connection) => {}
                _ = stop.changed() => {}
            }
        });
    }
}
