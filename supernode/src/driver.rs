//! The task that owns the engine: feeds it what happened, carries out what it asks for.
//!
//! ```text
//!   sockets ── Event (bounded) ──┐                       ┌──► Client queues (bounded, overflow cuts)
//!   callers ── Request (bounded) ┼──► Node, one at a time ┼──► Disk ──► Done
//!   disk ───── Done ─────────────┤                       ├──► dial tasks
//!   clock ──── Wake ─────────────┘                       └──► replies
//! ```
//!
//! Invariant: after every input the engine is drained before anything else happens. While too much waits for the disk,
//! events of sockets wait too; time, the disk's answers and calls do not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use pontoon_core::{
    CallId, Command, Error, Id, Input, LinkId, Origin, Output, Reply, SessionId, inspect::Inspect, node::Node,
};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Duration, Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_tls_with_config, tungstenite::protocol::frame::coding::CloseCode,
};

use crate::{
    channel::{Client, Sockets, Turn},
    clock::Clock,
    disk::{Disk, DiskState, Done},
    door::{without_query, without_tokens},
    engine::{Calls, Watcher},
    figures::Looked,
    health::{Counters, Health},
    metrics::{Cut, Looks},
    reach::{Supernodes, TurnFigures, rtc::Rtc},
    settings::Limits,
    socket,
    tls::client::Dialling,
};

/// For so long, events of sockets are taken in before the disk, the clock and callers are looked at again.
const EVENTS_MOMENT: Duration = Duration::from_micros(200);

/// What sockets and dial tasks report.
#[derive(Debug)]
pub(crate) enum Event {
    Up {
        link: LinkId,
        origin: Origin,
        client: Box<Client>,
    },
    /// The turn is given back when the chunk was taken in.
    Chunk {
        link: LinkId,
        bytes: Vec<u8>,
        turn: Option<Turn>,
    },
    Down {
        link: LinkId,
    },
    DialFailed {
        address: String,
        reason: String,
    },
    /// The supernode at the other end says how it is dialled from outside.
    Public {
        /// Where it was dialled.
        address: String,
        public: String,
    },
    RtcSignal {
        session: SessionId,
        payload: Vec<u8>,
    },
    RtcFailed {
        session: SessionId,
        reason: String,
    },
}

/// What the application asks.
#[derive(Debug)]
pub(crate) enum Request {
    Call {
        call: CallId,
        command: Box<Command>,
        reply: oneshot::Sender<Result<Reply, Error>>,
    },
    /// A call of which more comes than its reply.
    Watch {
        call: CallId,
        command: Box<Command>,
        watcher: Watcher,
        reply: oneshot::Sender<Result<Reply, Error>>,
    },
    Unwatch {
        call: CallId,
    },
    /// Nobody waits for a call any more.
    Cancel {
        call: CallId,
    },
    Inspect {
        reply: oneshot::Sender<Inspect>,
    },
    Health {
        reply: oneshot::Sender<Health>,
    },
    /// All that `/metrics` shows.
    Looks {
        reply: oneshot::Sender<Looks>,
    },
    Shutdown,
}

/// Names of links: unique in a process, never used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Arc<AtomicU64>);

impl Links {
    pub(crate) fn next(&self) -> LinkId {
        LinkId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) rtc: Rtc,
    pub(crate) supernodes: Supernodes,
    pub(crate) turn: Option<Arc<TurnFigures>>,
    pub(crate) limits: Limits,
    pub(crate) network: String,
    pub(crate) chunk_bytes: usize,
    pub(crate) links: Links,
    pub(crate) calls: Calls,
    /// How to check whom it dials.
    pub(crate) dialling: Dialling,
    pub(crate) sockets: Sockets,
    /// For the tasks that dial.
    pub(crate) events_in: mpsc::Sender<Event>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) requests: mpsc::Receiver<Request>,
}

pub(crate) struct Driver {
    parts: Parts,
    id: Id,
    clients: BTreeMap<LinkId, Client>,
    /// Those of them that are data channels.
    channels: BTreeSet<LinkId>,
    calls: BTreeMap<CallId, oneshot::Sender<Result<Reply, Error>>>,
    watchers: BTreeMap<CallId, Watcher>,
    dials: JoinSet<()>,
    joined: bool,
    wake: Instant,
    counters: Counters,
    leaving: Option<Leaving>,
    looked: Looked,
}

struct Leaving {
    call: CallId,
    done: bool,
    latest: Instant,
}

/// Runs the engine until [`Request::Shutdown`] has been carried out: goodbyes said, everything on disk.
pub(crate) async fn run(parts: Parts) {
    let id = parts.node.id();
    let wake = Instant::now();
    let mut driver = Driver {
        parts,
        id,
        clients: BTreeMap::new(),
        channels: BTreeSet::new(),
        calls: BTreeMap::new(),
        watchers: BTreeMap::new(),
        dials: JoinSet::new(),
        joined: false,
        wake,
        counters: Counters::default(),
        leaving: None,
        looked: Looked::default(),
    };
    driver.parts.node.set_tracing(tracing::enabled!(target: "pontoon", tracing::Level::TRACE));
    driver.feed(Input::Wake);
    while !driver.left() {
        driver.turn().await;
    }
    driver.close().await;
}

impl Driver {
    /// Waits for one thing to happen, and sees to it.
    async fn turn(&mut self) {
        while self.dials.try_join_next().is_some() {}
        let listening = self.parts.disk.pending_bytes() <= self.parts.limits.disk_bytes_max;
        let wake = self.leaving.as_ref().map_or(self.wake, |leaving| leaving.latest.min(self.wake));
        tokio::select! {
            Some(done) = self.parts.disk.done() => self.on_done(done),
            Some(request) = self.parts.requests.recv() => self.on_request(request),
            Some(event) = self.parts.events.recv(), if listening => self.on_events(event),
            () = sleep_until(wake) => self.feed(Input::Wake),
        }
    }

    fn feed(&mut self, input: Input) {
        // The last output says better.
        self.wake = self.parts.clock.instant(u64::MAX);
        self.parts.node.handle_input(self.parts.clock.now(), input);
        // What follows at once from an output is fed when the engine is drained.
        let mut next = VecDeque::new();
        loop {
            while let Some(output) = self.parts.node.poll_output() {
                next.extend(self.carry_out(output));
            }
            let Some(input) = next.pop_front() else { break };
            self.parts.node.handle_input(self.parts.clock.now(), input);
        }
    }

    /// Carries one output out; gives what follows from it at once.
    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Send { link, bytes } => {
                let overflow = self.clients.get(&link).is_some_and(|client| client.send(bytes).is_err());
                if let Some(client) = overflow.then(|| self.let_go(link)).flatten() {
                    // Dropping its client cuts the socket.
                    self.counters.clients_cut += 1;
                    client.tell_cut(link, Cut::Overflow, "it does not take what it is sent");
                    return Some(Input::LinkDown { link });
                }
            }
            Output::Close { link } => {
                if let Some(client) = self.let_go(link) {
                    let code = if self.leaving.is_some() { CloseCode::Away } else { CloseCode::Normal };
                    client.close(code, self.parts.limits.close_timeout);
                }
            }
            Output::Dial { address } => self.dial(address),
            Output::RtcOpen { session, initiator, .. } => {
                let near = self.clients.values().any(Client::is_near);
                if let Err(reason) = self.parts.rtc.open(session, initiator, near) {
                    return Some(Input::RtcFailed { session, reason: reason.to_owned() });
                }
            }
            Output::RtcSignal { session, payload } => self.parts.rtc.signal(session, &payload),
            Output::RtcClose { session } => self.parts.rtc.close(session),
            // The supernode's application subscribes to nothing.
            Output::NewData(_) => {}
            Output::Watched { call, event } => {
                let told = self.watchers.get(&call).map(|watcher| watcher.tell(event));
                if told.is_some_and(|told| told.is_err()) {
                    self.watchers.remove(&call);
                    let command = Command::Unwatch { watch: call };
                    return Some(Input::Command { call: self.parts.calls.next(), command });
                }
            }
            Output::Persist { token, batch } => {
                if self.parts.disk.write(token, batch).is_err() {
                    return Some(Input::PersistFailed { token, reason: "the store is closed".to_owned() });
                }
            }
            Output::Reply { call, result } => self.on_reply(call, result),
            Output::Message { from, payload, .. } => {
                tracing::debug!(%from, bytes = payload.len(), "a message for this supernode: nobody listens");
            }
            Output::Global { name, value } => tracing::debug!(name, set = value.is_some(), "global"),
            Output::Joined(joined) => {
                self.joined = joined;
                tracing::info!(joined, network = self.parts.network, "{}", if joined { "joined" } else { "alone" });
            }
            // Who asks a supernode waits for the answer.
            Output::Progress { .. } => {}
            Output::Trace(event) => {
                let peer = event.peer.map(|peer| peer.short()).unwrap_or_default();
                tracing::trace!(target: "pontoon", layer = event.layer, peer, "{} {}", event.event, without_tokens(&event.detail));
            }
            Output::Wake(at) => self.wake = self.parts.clock.instant(at),
        }
        None
    }

    /// What waits is taken in at once, for a moment: waiting anew for each chunk would cost as much as the chunk.
    fn on_events(&mut self, first: Event) {
        self.on_event(first);
        let until = Instant::now() + EVENTS_MOMENT;
        while self.parts.disk.pending_bytes() <= self.parts.limits.disk_bytes_max
            && Instant::now() < until
            && let Ok(event) = self.parts.events.try_recv()
        {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        let input = match event {
            Event::Up { link, origin, client } => {
                match origin {
                    Origin::Rtc { .. } => {
                        self.counters.channels_opened += 1;
                        self.channels.insert(link);
                    }
                    _ => self.counters.sockets_opened += 1,
                }
                self.clients.insert(link, *client);
                Input::LinkUp { link, origin }
            }
            // What arrives from a link that was let go of is nobody's any more.
            Event::Chunk { link, .. } if !self.clients.contains_key(&link) => return,
            Event::Chunk { link, bytes, turn } => {
                self.feed(Input::Chunk { link, bytes });
                return drop(turn);
            }
            Event::Down { link } if self.let_go(link).is_none() => return,
            Event::Down { link } => Input::LinkDown { link },
            Event::DialFailed { address, reason } => {
                self.counters.dials_failed += 1;
                self.parts.supernodes.gone(&address);
                tracing::info!(address = without_query(&address), reason, "supernode not reached");
                Input::DialFailed { address }
            }
            Event::Public { address, public } => return self.parts.supernodes.told(address, public),
            Event::RtcSignal { session, payload } => Input::RtcSignal { session, payload },
            Event::RtcFailed { session, reason } => {
                self.counters.channels_failed += 1;
                Input::RtcFailed { session, reason }
            }
        };
        self.feed(input);
    }

    fn let_go(&mut self, link: LinkId) -> Option<Client> {
        self.channels.remove(&link);
        self.clients.remove(&link)
    }

    fn on_done(&mut self, done: Done) {
        let count = done.tokens.len() as u64;
        match &done.result {
            Ok(()) => self.counters.batches_written += count,
            Err(_) => self.counters.batches_failed += count,
        }
        for token in done.tokens {
            self.feed(match &done.result {
                Ok(()) => Input::Persisted { token },
                Err(reason) => Input::PersistFailed { token, reason: reason.clone() },
            });
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Call { call, command, reply } => {
                self.calls.insert(call, reply);
                self.feed(Input::Command { call, command: *command });
            }
            Request::Watch { call, command, watcher, reply } => {
                self.calls.insert(call, reply);
                self.watchers.insert(call, watcher);
                self.feed(Input::Command { call, command: *command });
            }
            Request::Unwatch { call } => {
                if self.watchers.remove(&call).is_some() {
                    let command = Command::Unwatch { watch: call };
                    self.feed(Input::Command { call: self.parts.calls.next(), command });
                }
            }
            Request::Cancel { call } => {
                self.calls.remove(&call);
                self.feed(Input::Command { call: self.parts.calls.next(), command: Command::Cancel { call } });
            }
            Request::Inspect { reply } => {
                let _ = reply.send(self.parts.node.inspect(self.parts.clock.now()));
            }
            Request::Health { reply } => {
                let _ = reply.send(self.looks().health);
            }
            Request::Looks { reply } => {
                let _ = reply.send(self.looks());
            }
            Request::Shutdown if self.leaving.is_none() => {
                let call = self.parts.calls.next();
                let latest = Instant::now() + self.parts.limits.leave_timeout;
                self.leaving = Some(Leaving { call, done: false, latest });
                self.feed(Input::Command { call, command: Command::Leave });
            }
            Request::Shutdown => {}
        }
    }

    fn on_reply(&mut self, call: CallId, result: Result<Reply, Error>) {
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.call == call) {
            leaving.done = true;
        } else if let Some(reply) = self.calls.remove(&call) {
            // The caller may have given up.
            let _ = reply.send(result);
        }
    }

    fn looks(&mut self) -> Looks {
        let parts = &self.parts;
        let figures = self.looked.look(|| parts.node.inspect(parts.clock.now()));
        let disk = self.parts.disk.state();
        let status = match disk {
            _ if self.leaving.is_some() => "leaving",
            DiskState::Ok => "ok",
            _ => "degraded",
        };
        let health = Health {
            status,
            version: env!("CARGO_PKG_VERSION"),
            id: self.id.to_string(),
            network: self.parts.network.clone(),
            joined: self.joined,
            in_network: figures.links > 0 || figures.fragments.values().any(|count| *count > 0),
            sockets: self.clients.len() - self.channels.len(),
            webrtc: self.parts.rtc.len(),
            turn: self.parts.turn.as_ref().map(|figures| figures.now()),
            links: figures.links,
            records: figures.records,
            uptime_s: self.parts.clock.uptime().as_secs(),
            disk,
            disk_pending_bytes: self.parts.disk.pending_bytes(),
            counters: Counters { disk_outages: self.parts.disk.outages(), ..self.counters },
        };
        Looks { health, figures }
    }

    fn dial(&mut self, address: String) {
        let parts = &self.parts;
        let (events, limits, link) = (parts.events_in.clone(), parts.limits.clone(), parts.links.next());
        let (sockets, tls) = (parts.sockets.clone(), parts.dialling.clone());
        let config = socket::config(parts.chunk_bytes);
        let crowded = self.dials.len() >= limits.dials_max;
        self.dials.spawn(async move {
            let attempt = async {
                if crowded {
                    return Err("too many attempts at once".to_owned());
                }
                let nodelay = true;
                let connector = tls.connector(&address).map_err(|error| error.to_string())?;
                let dialling = connect_async_tls_with_config(&address, Some(config), nodelay, Some(connector));
                match timeout(limits.dial_timeout, dialling).await {
                    Err(_) => Err("no answer in time".to_owned()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Ok(Ok((socket, _))) => Ok(socket),
                }
            };
            match attempt.await {
                Ok(socket) => {
                    let from = (Origin::Dialled { address }, other_end(&socket));
                    socket::run(socket, link, from, events, sockets, None, &limits).await;
                }
                Err(reason) => {
                    let _ = events.send(Event::DialFailed { address, reason }).await;
                }
            }
        });
    }

    fn left(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.done || Instant::now() >= leaving.latest)
    }

    /// Says goodbye to the sockets that are left, and waits for the disk.
    async fn close(mut self) {
        if !self.leaving.as_ref().is_some_and(|leaving| leaving.done) {
            tracing::warn!("leaving before everything was handed over");
        }
        for client in std::mem::take(&mut self.clients).into_values() {
            client.close(CloseCode::Away, self.parts.limits.close_timeout);
        }
        for reply in self.calls.into_values() {
            let _ = reply.send(Err(Error::Closed));
        }
        let patience = self.parts.limits.close_timeout * 2;
        // Sockets report their end to nobody: the channel must not fill up and hold them.
        drop(self.parts.events);
        let _ = timeout(patience, async { while self.dials.join_next().await.is_some() {} }).await;
        self.parts.disk.close().await;
    }
}

/// The address that was dialled.
fn other_end(socket: &WebSocketStream<MaybeTlsStream<TcpStream>>) -> Option<IpAddr> {
    let stream = match socket.get_ref() {
        MaybeTlsStream::Plain(stream) => stream,
        MaybeTlsStream::Rustls(stream) => stream.get_ref().0,
        _ => return None,
    };
    stream.peer_addr().ok().map(|address| address.ip().to_canonical())
}
