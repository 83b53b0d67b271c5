//! A running supernode: what tests and the program hold.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use pontoon_core::{
    Command, Error, Id, Reply, crypto::Ed25519, crypto::Identity as _, inspect::Inspect, node::Node, trust::user_secret,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    api::{Api, Sizes, Token},
    channel::Sockets,
    clock::Clock,
    disk::Disk,
    door::{Door, JoinError, JoinTokens},
    driver::{self, Links, Parts, Request},
    engine::{Calls, Engine, LOOKING_MAX},
    health::Health,
    http::{self, App},
    metrics, observe,
    reach::{
        Reach, ReachSettings, Supernodes,
        rtc::Rtc,
        session::Around,
        turn::{self, Turn},
    },
    reload::{self, Source},
    settings::{SOCKET_PATH, Settings, SettingsError},
    store::{Opened, Store, StoreError},
    tls::{
        TlsError,
        client::Dialling,
        server::{Acceptor, Served},
    },
    traffic::Addresses,
};

/// Why a supernode did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be meant.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// As set.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// STUN and TURN cannot be answered there.
    #[error(
        "cannot answer STUN and TURN on UDP {address}: {source} (--turn-listen names another address, --no-turn does without)"
    )]
    Turn {
        /// As set.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The system gave no thread or no random bytes.
    #[error("the system gave no {0}")]
    System(&'static str),
}

/// A running supernode. Dropping it without [`Supernode::shutdown`] lets it run on until the runtime ends.
#[derive(Debug)]
pub struct Supernode {
    id: Id,
    local_addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    leaving: Arc<AtomicBool>,
    engine: Engine,
    secure: bool,
    reload: Arc<Notify>,
    stop: watch::Sender<()>,
    busy: mpsc::Receiver<Infallible>,
    driver: JoinHandle<()>,
    close_timeout: std::time::Duration,
    turn_port: Option<u16>,
}

impl Supernode {
    /// Opens the store, listens, and starts the engine. Needs a tokio runtime.
    pub async fn start(settings: Settings) -> Result<Supernode, StartError> {
        settings.check()?;
        let Settings {
            listen,
            data,
            mut engine,
            site,
            limits,
            api,
            tls,
            join_token_file,
            reach: reaching,
            user: acts,
            ..
        } = settings;
        let (traffic, metrics_listen) = (settings.traffic, settings.metrics_listen);
        let settings_error = |error: TlsError| StartError::Settings(error.into());
        let served = Served::load(&tls).map_err(settings_error)?;
        let acceptor = served.clone().map(Acceptor::new).transpose().map_err(settings_error)?;
        let join_error = |error: JoinError| StartError::Settings(error.into());
        let tokens = JoinTokens::load(join_token_file.as_deref()).map_err(join_error)?;
        let token = api.token.as_ref().and_then(Token::source);
        let directory = data.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&directory)).await;
        let Opened { store, seed, saved } = opened.map_err(|_| StartError::System("thread"))??;
        let (listener, local_addr) = bind(listen).await?;
        let watched = match metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        engine.direct_links = reaching.webrtc;
        let supernodes = Supernodes::new(reaching.public.clone());
        let (reach, turn) = start_reach(local_addr, &reaching, &supernodes).await?;
        let disk = Disk::start(store).map_err(|_| StartError::System("thread"))?;

        let identity = Ed25519::from_seed(&seed);
        let id = identity.id();
        let mut generator = [0; 32];
        getrandom::fill(&mut generator).map_err(|_| StartError::System("random bytes"))?;
        tracing::info!(%id, network = engine.network, records = saved.len(), "starting");
        let clock = Clock::start();
        let (network, chunk_bytes) = (engine.network.clone(), engine.chunk_bytes);
        let (locality_bits, value_bytes_max, key_bytes_max) =
            (engine.locality_bits, engine.value_bytes_max, engine.key_bytes_max);
        let mut node = Node::new(engine, Box::new(identity), generator, clock.now(), saved);
        if acts {
            node.act_with(Box::new(Ed25519::from_seed(&user_secret(&seed))));
        }
        let user = node.user();
        if let Some(user) = user {
            tracing::info!(%user, "acts for a user of its own");
        }

        let (events_in, events) = mpsc::channel(limits.events_max);
        let (requests_in, requests) = mpsc::channel(limits.requests_max);
        let (busy_in, busy) = mpsc::channel(1);
        let busy_around = busy_in.clone();
        let (stop, stopped) = watch::channel(());
        let (addresses, sockets) = (Addresses::new(&traffic), Sockets::new(traffic));
        let (links, calls, leaving) = (Links::default(), Calls::default(), Arc::new(AtomicBool::new(false)));
        let looking = Arc::new(Semaphore::new(LOOKING_MAX));
        let engine = Engine { id, user, locality_bits, requests: requests_in, calls: calls.clone(), looking };
        let bounds = (addresses.clone(), Arc::clone(&sockets.metrics));
        let app = App {
            events: events_in.clone(),
            api: Api::new(engine.clone(), api, Sizes { key_bytes_max, value_bytes_max }, bounds),
            links: links.clone(),
            reach,
            sockets: sockets.clone(),
            addresses,
            leaving: Arc::clone(&leaving),
            chunk_bytes,
            site,
            tls: acceptor,
            door: Door::new(tokens.clone(), Arc::clone(&sockets.metrics)),
            clients: Arc::new(Semaphore::new(limits.clients_max)),
            busy: busy_in,
            limits: limits.clone(),
        };
        let (close_timeout, reload_every) = (limits.close_timeout, limits.reload_every);
        let around = Around {
            events: events_in.clone(),
            links: links.clone(),
            sockets: sockets.clone(),
            _busy: busy_around,
            limits: Arc::new(limits.clone()),
        };
        let parts = Parts {
            node,
            clock,
            disk,
            rtc: Rtc::new(around, reaching, local_addr),
            supernodes,
            turn: turn.as_ref().map(|turn| Arc::clone(&turn.figures)),
            limits,
            network,
            chunk_bytes,
            links,
            calls,
            dialling: Dialling::new(&tls),
            sockets,
            events_in,
            events,
            requests,
        };
        #[cfg(unix)]
        crate::control::start(&data, parts.disk.snapshots(), stopped.clone());
        let driver = tokio::spawn(driver::run(parts));
        let (secure, reload) = (served.is_some(), Arc::new(Notify::new()));
        let (served, tokens) = (served.map(|it| it as Arc<dyn Source>), tokens.map(|it| it as Arc<dyn Source>));
        let sources = [served, tokens, token].into_iter().flatten().collect();
        tokio::spawn(reload::run(sources, reload_every, Arc::clone(&reload), stopped.clone()));
        let app = Arc::new(app);
        let metrics_addr = watched.map(|(listener, address)| {
            tracing::info!("metrics at http://{address}/metrics");
            let (router, patience) = (observe::watching(&app), app.limits.request_timeout);
            tokio::spawn(metrics::serve(listener, router, patience, app.busy.clone(), stopped.clone()));
            address
        });
        tokio::spawn(http::serve(listener, app, stopped));
        let turn_port = turn.and_then(|turn| turn.ports.udp);
        Ok(Supernode {
            id,
            local_addr,
            metrics_addr,
            leaving,
            secure,
            reload,
            engine,
            stop,
            busy,
            driver,
            close_timeout,
            turn_port,
        })
    }

    /// Where STUN and TURN are answered, if they are.
    pub fn turn_port(&self) -> Option<u16> {
        self.turn_port
    }

    /// The node's id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Where it listens; the port is the one that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where `/metrics` is, if it was to be anywhere.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// The address that peers dial.
    pub fn address(&self) -> String {
        format!("{}://{}{SOCKET_PATH}", if self.secure { "wss" } else { "ws" }, self.local_addr)
    }

    /// Whether it serves `https` and `wss`.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Reads the certificate, the join tokens and the token of HTTP again, soon. What does not read is logged, and changes nothing.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Runs a command of the engine; `Error::Closed` once it is shutting down.
    pub async fn call(&self, command: Command) -> Result<Reply, Error> {
        self.engine.call(command).await
    }

    /// A snapshot of the engine.
    pub async fn inspect(&self) -> Result<Inspect, Error> {
        self.engine.inspect().await
    }

    /// How it is.
    pub async fn health(&self) -> Result<Health, Error> {
        self.engine.health().await
    }

    /// Ends only if the engine's task ends by itself, which only a defect makes it do.
    pub async fn failed(&mut self) {
        let _ = (&mut self.driver).await;
    }

    /// From now on `/readyz` answers 503 and no client is taken; those that are there are served on. What comes before
    /// [`Supernode::shutdown`] where something in front of supernodes is to hear of it first.
    pub fn drain(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Hands everything over, writes what waits for the disk, says goodbye (1001) to every client. Takes at most the
    /// sum of the timeouts for it in [`crate::Limits`], 8.5 s by default, and what the disk takes.
    pub async fn shutdown(mut self) {
        self.drain();
        let _ = self.engine.requests.send(Request::Shutdown).await;
        if self.driver.await.is_err() {
            tracing::error!("the engine's task failed");
        }
        drop(self.engine);
        let _ = self.stop.send(());
        let _ = timeout(self.close_timeout * 2, self.busy.recv()).await;
    }
}

/// Starts the STUN and TURN server; gives what there is to tell of it and of supernodes.
async fn start_reach(
    local_addr: SocketAddr,
    settings: &ReachSettings,
    supernodes: &Supernodes,
) -> Result<(Reach, Option<Turn>), StartError> {
    let turn = match settings.answers_turn(local_addr) {
        true => {
            let address = settings.turn_listen.unwrap_or_else(|| turn::beside(local_addr));
            let mut started = turn::start(address, settings).await;
            if let (Err(error), None) = (&started, settings.turn_listen) {
                // Peers are told the port, whatever it is.
                tracing::warn!(%address, %error, "UDP is taken there: STUN and TURN are answered at another port");
                started = turn::start((address.ip(), 0).into(), settings).await;
            }
            Some(started.map_err(|source| StartError::Turn { address, source })?)
        }
        false => None,
    };
    let (ports, credentials) = match &turn {
        Some(turn) => (turn.ports, turn.credentials.clone()),
        None => (turn::Ports::default(), watch::channel(None).1),
    };
    Ok((Reach::new(ports, credentials, supernodes), turn))
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let taken = listener.local_addr().map_err(error)?;
    Ok((listener, taken))
}
