//! The STUN and TURN server: one task that owns the protocol (`turn-server-proto`, sans-IO), and one socket with a task for
//! each allocation.
//!
//! ```text
//!   client ──► the server's port ──► protocol ──► an allocation's port ──► peer
//!   client ◄── the server's port ◄── protocol ◄── Packet (bounded, dropped when full) ◄── peer
//! ```
//!
//! Credentials are for everybody who dials and change every hour; those of the hour before still open an allocation,
//! older ones do not, and an allocation that stands may be refreshed with those it was opened with. What is dropped is
//! dropped as by a network: what goes over TURN is encrypted and repeated by its ends.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until},
};
use turn_server_proto::{
    api::{SocketAllocateError, TurnServerApi as _, TurnServerPollRet},
    server::TurnServer,
    stun::{Instant as ProtocolInstant, agent::Transmit},
    types::{
        AddressFamily, TransportType,
        message::{ALLOCATE, CREATE_PERMISSION},
        stun::{
            attribute::{AttributeStaticType as _, Userhash, Username},
            message::{BINDING, Message, MessageClass},
        },
    },
};

use super::{Credentials, ReachSettings, destinations::is_open, ports};

const REALM: &str = "pontoon";
/// The largest datagram that is carried.
const DATAGRAM_BYTES_MAX: usize = 2_048;
/// Packets of all allocations that wait for the server's task.
const PACKETS_MAX: usize = 1_024;
/// What was sent through an allocation within this time counts against its rate.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Who asks for more than an address: so many are known at once,
const SOURCES_MAX: usize = 20_000;
/// and may ask so often within this time.
const ASKED_MAX: u32 = 300;
const ASKED_WITHIN: Duration = Duration::from_secs(300);
/// The longest request for permissions: some ten addresses. Browsers ask for one at a time.
const PERMISSION_BYTES_MAX: usize = 320;
/// Before a socket that said an error is read again.
const AFTER_ERROR: Duration = Duration::from_millis(1);

/// Ports that answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// STUN and TURN.
    pub(crate) udp: Option<u16>,
    /// STUN alone.
    pub(crate) stun: Option<u16>,
}

/// What the server counts.
#[derive(Debug, Default)]
pub(crate) struct TurnFigures {
    allocations: AtomicUsize,
    allocations_made: AtomicU64,
    allocations_refused: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
}

/// What TURN did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turned {
    /// Allocations now.
    pub allocations: usize,
    /// Allocations made since the start.
    pub allocations_made: u64,
    /// Allocations refused: with credentials that have expired or that nobody gave out, or too many.
    pub allocations_refused: u64,
    /// Bytes carried, both ways.
    pub bytes: u64,
    /// Datagrams dropped: to addresses that are not open, over the rate, or because a queue was full.
    pub dropped: u64,
}

impl TurnFigures {
    pub(crate) fn now(&self) -> Turned {
        Turned {
            allocations: self.allocations.load(Ordering::Relaxed),
            allocations_made: self.allocations_made.load(Ordering::Relaxed),
            allocations_refused: self.allocations_refused.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }
}

/// A running server.
pub(crate) struct Turn {
    pub(crate) ports: Ports,
    pub(crate) credentials: watch::Receiver<Option<Credentials>>,
    pub(crate) figures: Arc<TurnFigures>,
}

/// Where the server is unless it is told: beside HTTP. Who listens at IPv6 has it at all addresses of IPv4, where address
/// translation is.
pub(crate) fn beside(http: SocketAddr) -> SocketAddr {
    let ip = if http.is_ipv6() { Ipv4Addr::UNSPECIFIED.into() } else { http.ip() };
    SocketAddr::new(ip, http.port())
}

/// Starts the server at an address; it ends with the runtime, or when nobody holds `credentials` any more.
pub(crate) async fn start(listen: SocketAddr, settings: &ReachSettings) -> io::Result<Turn> {
    let socket = UdpSocket::bind(listen).await?;
    let listen = socket.local_addr()?;
    // Another port beside it, where that is free.
    let beside = UdpSocket::bind((listen.ip(), listen.port().wrapping_add(1))).await.ok();
    let stun = beside.as_ref().and_then(|socket| socket.local_addr().ok()).map(|address| address.port());
    let mut tasks = JoinSet::new();
    if let Some(socket) = beside {
        tasks.spawn(answer_stun(socket));
    }
    let (renewed, credentials) = watch::channel(None);
    let (packets_in, packets) = mpsc::channel(PACKETS_MAX);
    let figures = Arc::new(TurnFigures::default());
    let mut server = Server {
        protocol: protocol(listen),
        sources: HashMap::new(),
        _tasks: tasks,
        socket,
        listen,
        began: std::time::Instant::now(),
        allocations: HashMap::new(),
        packets_in,
        credentials: Vec::new(),
        settings: settings.clone(),
        figures: Arc::clone(&figures),
    };
    server.renew(&renewed);
    tokio::spawn(server.run(packets, renewed));
    Ok(Turn { ports: Ports { udp: Some(listen.port()), stun }, credentials, figures })
}

fn protocol(listen: SocketAddr) -> TurnServer {
    TurnServer::new(TransportType::Udp, listen, REALM.to_owned())
}

/// Answers what asks for its own address, and nothing else.
async fn answer_stun(socket: UdpSocket) {
    let Ok(listen) = socket.local_addr() else { return };
    let mut protocol = protocol(listen);
    let (began, mut buffer) = (std::time::Instant::now(), [0; DATAGRAM_BYTES_MAX]);
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            sleep(AFTER_ERROR).await;
            continue;
        };
        if !Message::from_bytes(&buffer[..length]).is_ok_and(|message| message.method() == BINDING) {
            continue;
        }
        let transmit = Transmit::new(&buffer[..length], TransportType::Udp, from, listen);
        if let Some(answer) = protocol.recv(transmit, ProtocolInstant::from_std(began)) {
            let answer = answer.build();
            let _ = socket.send_to(&answer.data, asker(answer.to, from, listen)).await;
        }
    }
}

/// Who is to have an answer: `turn-server-proto` 0.7.3 addresses those to Binding requests to the server itself.
fn asker(to: SocketAddr, from: SocketAddr, listen: SocketAddr) -> SocketAddr {
    if to == listen { from } else { to }
}

/// What a peer sent to an allocation.
struct Packet {
    relayed: SocketAddr,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// The outer end of an allocation. Dropping it closes its port.
struct Allocation {
    socket: Arc<UdpSocket>,
    client: IpAddr,
    reader: JoinHandle<()>,
    /// Bytes since then.
    carried: (Instant, u64),
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Allocation {
    /// Whether so many bytes more are within the rate.
    fn admit(&mut self, bytes: usize, per_s: u64) -> bool {
        let now = Instant::now();
        if now >= self.carried.0 + RATE_WINDOW {
            self.carried = (now, 0);
        }
        self.carried.1 += bytes as u64;
        self.carried.1 <= per_s
    }
}

struct Server {
    protocol: TurnServer,
    socket: UdpSocket,
    listen: SocketAddr,
    /// The protocol's time is counted from here.
    began: std::time::Instant,
    /// Who asked, since when, how often.
    sources: HashMap<SocketAddr, (Instant, u32)>,
    /// Ends with this one.
    _tasks: JoinSet<()>,
    /// By the address that peers see.
    allocations: HashMap<SocketAddr, Allocation>,
    packets_in: mpsc::Sender<Packet>,
    /// Those that open an allocation; the latest last.
    credentials: Vec<Credentials>,
    settings: ReachSettings,
    figures: Arc<TurnFigures>,
}

impl Server {
    async fn run(mut self, mut packets: mpsc::Receiver<Packet>, renewed: watch::Sender<Option<Credentials>>) {
        let every = self.settings.credentials / 2;
        let mut renew = interval_at(Instant::now() + every, every);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let mut wake = Instant::now();
        loop {
            tokio::select! {
                _ = renew.tick() => self.renew(&renewed),
                () = renewed.closed() => return,
                received = self.socket.recv_from(&mut buffer) => match received {
                    Ok((length, from)) => self.on_datagram(&buffer[..length], from),
                    // A client's port was closed: the system says so of what was sent there before.
                    Err(error) => {
                        tracing::debug!(%error, "nothing received");
                        sleep(AFTER_ERROR).await;
                    }
                },
                Some(packet) = packets.recv() => self.on_packet(packet),
                () = sleep_until(wake) => {}
            }
            wake = self.progress().await;
        }
    }

    fn now(&self) -> ProtocolInstant {
        ProtocolInstant::from_std(self.began)
    }

    /// Makes new credentials.
    fn renew(&mut self, renewed: &watch::Sender<Option<Credentials>>) {
        let now = Instant::now();
        let mut secret = [0; 24];
        if getrandom::fill(&mut secret).is_err() {
            tracing::error!("the system gives no random bytes: TURN's credentials are not renewed");
            return;
        }
        let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let (username, password) = text.split_at(16);
        let until = now + self.settings.credentials;
        let fresh = Credentials { username: username.to_owned(), password: password.to_owned(), until };
        self.protocol.add_user(fresh.username.clone(), fresh.password.clone());
        self.credentials.retain(|old| old.until > now);
        self.credentials.push(fresh.clone());
        // Nobody is left to tell only at the end.
        let _ = renewed.send(Some(fresh));
    }

    fn on_datagram(&mut self, bytes: &[u8], from: SocketAddr) {
        if !self.may_pass(bytes, from) {
            self.figures.allocations_refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let transmit = Transmit::new(bytes, TransportType::Udp, from, self.listen);
        let now = self.now();
        if let Some(answer) = self.protocol.recv(transmit, now) {
            let answer = answer.build();
            self.send(answer.from, asker(answer.to, from, self.listen), &answer.data);
        }
    }

    /// Whether the protocol is to see a datagram. It keeps something of everybody who asks for more than an address, and as
    /// many permissions as it is asked for: that is bounded here. And it knows credentials for ever.
    fn may_pass(&mut self, bytes: &[u8], from: SocketAddr) -> bool {
        // What is no message is data of a channel, or nothing.
        let Ok(message) = Message::from_bytes(bytes) else { return true };
        if message.class() != MessageClass::Request || message.method() == BINDING {
            return true;
        }
        if !self.admit(from) || message.method() == CREATE_PERMISSION && bytes.len() > PERMISSION_BYTES_MAX {
            return false;
        }
        if message.method() != ALLOCATE {
            return true;
        }
        // Who names itself by a hash could do so with credentials that are over; beside a name, the hash would count.
        if message.has_attribute(Userhash::TYPE) {
            return false;
        }
        let now = Instant::now();
        let known = |username: &str| self.credentials.iter().any(|it| it.username == username && it.until > now);
        message.attribute::<Username>().map_or(true, |username| known(username.username()))
    }

    /// Whether somebody may ask once more.
    fn admit(&mut self, from: SocketAddr) -> bool {
        let now = Instant::now();
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&from) {
            if !self.allocations.is_empty() {
                return false;
            }
            // Nobody misses what the protocol knows.
            self.sources.clear();
            self.protocol = protocol(self.listen);
            for known in &self.credentials {
                self.protocol.add_user(known.username.clone(), known.password.clone());
            }
        }
        let source = self.sources.entry(from).or_insert((now, 0));
        if now >= source.0 + ASKED_WITHIN {
            *source = (now, 0);
        }
        source.1 += 1;
        source.1 <= ASKED_MAX
    }

    fn on_packet(&mut self, Packet { relayed, from, bytes }: Packet) {
        let (per_s, length) = (self.settings.allocation_bytes_per_s, bytes.len());
        let transmit = Transmit::new(bytes, TransportType::Udp, from, relayed);
        let now = self.now();
        // From whom its client did not permit nothing comes out, and nothing counts against its rate.
        let Some(forward) = self.protocol.recv(transmit, now) else { return };
        if self.allocations.get_mut(&relayed).is_some_and(|allocation| allocation.admit(length, per_s)) {
            let forward = forward.build();
            self.send(forward.from, forward.to, &forward.data);
        } else {
            self.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends from the server's port or from an allocation's. What the system does not take at once is dropped.
    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let sent = if from == self.listen {
            self.socket.try_send_to(bytes, to).is_ok()
        } else if let Some(allocation) = self.allocations.get_mut(&from) {
            let open = self.settings.turn_private || is_open(to.ip());
            open && allocation.admit(bytes.len(), self.settings.allocation_bytes_per_s)
                && allocation.socket.try_send_to(bytes, to).is_ok()
        } else {
            false
        };
        match sent {
            true => self.figures.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed),
            false => self.figures.dropped.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Does what the protocol wants; gives when it wants more.
    async fn progress(&mut self) -> Instant {
        loop {
            let now = self.now();
            let next = self.protocol.poll(now);
            while let Some(transmit) = self.protocol.poll_transmit(now) {
                self.send(transmit.from, transmit.to, &transmit.data);
            }
            match next {
                TurnServerPollRet::WaitUntil(until) => return Instant::from_std(until.to_std(self.began)),
                TurnServerPollRet::AllocateSocket {
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                } => {
                    let socket = self.allocate(client_addr, allocation_transport, family).await;
                    let (count, counter) = match socket {
                        Ok(_) => ("made", &self.figures.allocations_made),
                        Err(_) => ("refused", &self.figures.allocations_refused),
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(client = %client_addr, ?socket, "allocation {count}");
                    let now = self.now();
                    self.protocol.allocated_socket(
                        transport,
                        listen_addr,
                        client_addr,
                        allocation_transport,
                        family,
                        socket,
                        now,
                    );
                }
                TurnServerPollRet::SocketClose { listen_addr, .. } => {
                    self.allocations.remove(&listen_addr);
                    self.figures.allocations.store(self.allocations.len(), Ordering::Relaxed);
                }
                // No TCP is allocated.
                TurnServerPollRet::TcpConnect { .. } | TurnServerPollRet::TcpClose { .. } => {}
            }
        }
    }

    async fn allocate(
        &mut self,
        client: SocketAddr,
        transport: TransportType,
        family: AddressFamily,
    ) -> Result<SocketAddr, SocketAllocateError> {
        let ours = if self.listen.is_ipv4() { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
        if transport != TransportType::Udp || family != ours {
            return Err(SocketAllocateError::AddressFamilyNotSupported);
        }
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let of_client = self.allocations.values().filter(|other| other.client == client.ip()).count();
        if self.allocations.len() >= self.settings.allocations_max || of_client >= self.settings.allocations_address_max
        {
            tracing::warn!(client = %client.ip(), of_client, "too many TURN allocations: one refused");
            return Err(SocketAllocateError::InsufficientCapacity);
        }
        let made = async {
            let socket = Arc::new(ports::bind(self.listen.ip(), self.settings.udp_ports.as_ref()).await?);
            let ip = match self.settings.outer_address {
                Some(outer) => outer,
                None if self.listen.ip().is_unspecified() => ports::local_address(client).await?,
                None => self.listen.ip(),
            };
            let relayed = SocketAddr::new(ip, socket.local_addr()?.port());
            // The first datagram goes at once only if the runtime knows that it may.
            socket.writable().await?;
            io::Result::Ok((socket, relayed))
        };
        let (socket, relayed) = made.await.map_err(|error| {
            tracing::warn!(%error, "no port for a TURN allocation");
            SocketAllocateError::InsufficientCapacity
        })?;
        let reader =
            tokio::spawn(read(Arc::clone(&socket), relayed, self.packets_in.clone(), Arc::clone(&self.figures)));
        let carried = (Instant::now(), 0);
        self.allocations.insert(relayed, Allocation { socket, client: client.ip(), reader, carried });
        self.figures.allocations.store(self.allocations.len(), Ordering::Relaxed);
        Ok(relayed)
    }
}

/// Hands on what arrives at an allocation's port.
async fn read(socket: Arc<UdpSocket>, relayed: SocketAddr, packets: mpsc::Sender<Packet>, figures: Arc<TurnFigures>) {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            // A peer's port is closed.
            sleep(AFTER_ERROR).await;
            continue;
        };
        match packets.try_send(Packet { relayed, from, bytes: buffer[..length].to_vec() }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => drop(figures.dropped.fetch_add(1, Ordering::Relaxed)),
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

#[cfg(test)]
mod tests;
