//! One WebSocket, accepted or dialled, as a link of the engine.
//!
//! ```text
//!   driver ── Client::send ──► queue (bounded in bytes) ──► transmit ──► socket
//!   driver ◄── Event (bounded channel, waits) ◄── receive ◄──────────── socket
//! ```
//!
//! A binary message is one chunk of the engine. A client that lets its queue overflow is cut at once, so that it costs
//! nobody else memory or time; a full event channel stops reading, so that TCP holds the sender back. What one socket has
//! in that channel is bounded as well, so that others do not wait behind all that a flood brings; how much a client may send a
//! second, [`crate::traffic`] says.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use pontoon_core::{LinkId, Origin};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        error::{CapacityError, ProtocolError},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    driver::Event,
    metrics::{Cut, Metrics},
    reach::{Reach, public_told},
    settings::Limits,
    traffic::{Meter, TrafficLimits, Verdict},
};

/// What a message may have beyond a chunk.
const SLACK_BYTES: usize = 1_024;
/// What a queued chunk takes beside its bytes, about.
const OVERHEAD_BYTES: usize = 64;
/// What a chunk counts for beside its bytes, where it waits for the engine.
const CHUNK_COSTS_BYTES: u32 = 1_024;
/// How much of what a client still sends is read and dropped, so that it sees why it was closed.
const DRAIN_BYTES: usize = 1 << 20;

/// Small buffers, since there may be thousands of sockets; nothing larger than a chunk comes in.
pub(crate) fn config(chunk_bytes: usize) -> WebSocketConfig {
    let message = chunk_bytes + SLACK_BYTES;
    WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .write_buffer_size(16 << 10)
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

enum Item {
    Chunk(Vec<u8>),
    Close(CloseCode),
}

/// Bytes that wait in all queues together.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllQueued(Arc<AtomicUsize>);

/// What all sockets share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    all: AllQueued,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) traffic: Arc<TrafficLimits>,
}

impl Sockets {
    pub(crate) fn new(traffic: TrafficLimits) -> Sockets {
        Sockets { traffic: Arc::new(traffic), ..Sockets::default() }
    }

    /// Bytes that wait in all queues together.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.all.0.load(Ordering::Relaxed)
    }
}

/// A chunk's share of what its socket may have waiting for the engine.
pub(crate) type Turn = OwnedSemaphorePermit;

/// Bytes that wait in one queue, and in all.
#[derive(Debug)]
struct Queued {
    own: AtomicUsize,
    all: AllQueued,
}

impl Queued {
    /// Bytes that wait with these: in this queue, in all.
    fn add(&self, bytes: usize) -> (usize, usize) {
        let own = self.own.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (own, self.all.0.fetch_add(bytes, Ordering::Relaxed) + bytes)
    }

    fn subtract(&self, bytes: usize) {
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.all.0.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

/// The driver's end of a socket. Dropping it cuts the socket.
#[derive(Debug)]
pub(crate) struct Client {
    queue: mpsc::UnboundedSender<Item>,
    queued: Arc<Queued>,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    /// Who it is, for the log.
    address: Option<IpAddr>,
    /// When to cut what has not left by then.
    patience: oneshot::Sender<Duration>,
}

/// Of [`Limits`], those of queues.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    queue_bytes_max: usize,
    queues_bytes_max: usize,
    queue_fair_bytes: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        let Limits { queue_bytes_max, queues_bytes_max, queue_fair_bytes, .. } = *limits;
        Bounds { queue_bytes_max, queues_bytes_max, queue_fair_bytes }
    }
}

/// The client does not take what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Client {
    /// Queues one chunk.
    pub(crate) fn send(&self, bytes: Vec<u8>) -> Result<(), Overflow> {
        let (own, all) = self.queued.add(bytes.len() + OVERHEAD_BYTES);
        let crowded = all > self.bounds.queues_bytes_max && own > self.bounds.queue_fair_bytes;
        if own > self.bounds.queue_bytes_max || crowded {
            return Err(Overflow);
        }
        // An error says that the socket is gone; its `Event::Down` is on the way.
        let _ = self.queue.send(Item::Chunk(bytes));
        Ok(())
    }

    /// Counts that it is cut, and says so in the log.
    pub(crate) fn tell_cut(&self, link: LinkId, why: Cut, reason: &str) {
        tell_cut(&self.metrics, (link, self.address), why, reason);
    }

    /// Lets what is queued leave, then says goodbye.
    pub(crate) fn close(self, code: CloseCode, patience: Duration) {
        let _ = self.queue.send(Item::Close(code));
        let _ = self.patience.send(patience);
    }
}

/// Why a socket ended.
#[derive(Debug)]
enum End {
    /// The driver let go of it.
    Let(CloseCode),
    /// The driver cut it.
    Cut,
    /// The other end closed or vanished.
    Gone,
    /// The other end was silent too long.
    Idle,
    /// The other end broke the rules.
    Refused(Cut, CloseCode, &'static str),
    /// The driver is gone.
    Closing,
}

/// What a socket or channel takes from the driver's end.
pub(crate) struct Outgoing {
    items: mpsc::UnboundedReceiver<Item>,
    queued: Arc<Queued>,
}

impl Outgoing {
    /// The next chunk; nothing when the driver has let go.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        match self.items.recv().await {
            Some(Item::Chunk(bytes)) => {
                self.queued.subtract(bytes.len() + OVERHEAD_BYTES);
                Some(bytes)
            }
            Some(Item::Close(_)) | None => None,
        }
    }
}

/// The driver's end, the other one, and what [`cut`] waits for.
pub(crate) fn client(
    limits: &Limits,
    sockets: &Sockets,
    address: Option<IpAddr>,
) -> (Client, Outgoing, oneshot::Receiver<Duration>) {
    let (queue, items) = mpsc::unbounded_channel();
    let queued = Arc::new(Queued { own: AtomicUsize::new(0), all: sockets.all.clone() });
    let (patience, patient) = oneshot::channel();
    let (bounds, metrics) = (Bounds::from(limits), Arc::clone(&sockets.metrics));
    let client = Client { queue, queued: Arc::clone(&queued), bounds, metrics, address, patience };
    (client, Outgoing { items, queued }, patient)
}

/// Serves a socket until it ends: one that came from an address, or was dialled. Who dialled it is told of `reach`.
pub(crate) async fn run<S>(
    mut socket: WebSocketStream<S>,
    link: LinkId,
    (origin, address): (Origin, Option<IpAddr>),
    events: mpsc::Sender<Event>,
    sockets: Sockets,
    reach: Option<Reach>,
    limits: &Limits,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (client, outgoing, patient) = client(limits, &sockets, address);
    let dialled_at = match &origin {
        Origin::Dialled { address } => Some(address.clone()),
        _ => None,
    };
    let dialled = dialled_at.is_some();
    // Who was dialled was chosen by the operator, and has the traffic of many.
    let mut taking = Taking::new(link, &events, &sockets, !dialled);
    let metrics = &sockets.metrics;
    tracing::debug!(link = link.0, address = address.map(tracing::field::display), dialled, "socket opened");
    if events.send(Event::Up { link, origin, client: Box::new(client) }).await.is_err() {
        return;
    }
    let end = {
        let (sink, source) = (&mut socket).split();
        tokio::select! {
            end = taking.receive(source, dialled_at.as_deref(), limits.idle_timeout) => end,
            end = transmit(sink, (outgoing, metrics), reach.filter(|_| !dialled), limits.ping_every) => end,
            () = cut(patient) => End::Cut,
        }
    };
    tracing::debug!(link = link.0, address = address.map(tracing::field::display), ?end, "socket ended");
    match end {
        End::Refused(why, _, reason) => tell_cut(metrics, (link, address), why, reason),
        End::Idle => tell_cut(metrics, (link, address), Cut::Idle, "it is silent"),
        _ => {}
    }
    let _ = timeout(limits.close_timeout, say_goodbye(&mut socket, &end)).await;
    let _ = events.send(Event::Down { link }).await;
}

/// Counts who is cut, and says so in the log, once a second for each reason.
pub(crate) fn tell_cut(metrics: &Metrics, (link, address): (LinkId, Option<IpAddr>), why: Cut, reason: &str) {
    if let Some(count) = metrics.cut(why) {
        let (link, address) = (link.0, address.map(tracing::field::display));
        tracing::warn!(link, address, reason = why.name(), count, "a client was cut (the last one's link): {reason}");
    }
}

/// What a socket may have waiting for the engine.
struct Window {
    turns: Arc<Semaphore>,
    bytes: u32,
}

impl Window {
    fn new(bytes: u32) -> Window {
        Window { turns: Arc::new(Semaphore::new(bytes as usize)), bytes }
    }

    /// Waits until there is room for a chunk. A small one counts for more than its bytes, since it takes time as well.
    async fn room(&self, bytes: usize) -> Option<Turn> {
        let share = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(CHUNK_COSTS_BYTES).min(self.bytes);
        Arc::clone(&self.turns).acquire_many_owned(share).await.ok()
    }
}

/// The end of a socket or channel that reads.
pub(crate) struct Taking<'a> {
    link: LinkId,
    events: &'a mpsc::Sender<Event>,
    metrics: &'a Metrics,
    meter: Option<Meter>,
    window: Window,
}

impl<'a> Taking<'a> {
    /// Of one that may send without bounds, or is `metered`.
    pub(crate) fn new(
        link: LinkId,
        events: &'a mpsc::Sender<Event>,
        sockets: &'a Sockets,
        metered: bool,
    ) -> Taking<'a> {
        let traffic = &sockets.traffic;
        let meter = metered.then(|| Meter::new(traffic, Instant::now()));
        Taking { link, events, metrics: &sockets.metrics, meter, window: Window::new(traffic.client_window_bytes) }
    }

    async fn receive(
        &mut self,
        mut source: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
        dialled: Option<&str>,
        idle: Duration,
    ) -> End {
        let refused = |why, code, reason| End::Refused(why, code, reason);
        loop {
            let message = match timeout(idle, source.next()).await {
                Err(_) => return End::Idle,
                Ok(Some(Ok(Message::Close(_))) | None) => return End::Gone,
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })))) => {
                    return refused(Cut::Oversized, CloseCode::Size, "a message is at most one chunk");
                }
                // It is gone, and did not say so.
                Ok(Some(Err(tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)))) => {
                    return End::Gone;
                }
                Ok(Some(Err(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)))) => {
                    return refused(Cut::Protocol, CloseCode::Protocol, "");
                }
                Ok(Some(Err(_))) => return End::Gone,
            };
            if let Some(reason) = self.hold_back(message.len()).await {
                return refused(Cut::Flood, CloseCode::Policy, reason);
            }
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) if let Some(address) = dialled => {
                    let address = address.to_owned();
                    let told = public_told(&text).map(|public| Event::Public { address, public });
                    if let Some(told) = told
                        && self.events.send(told).await.is_err()
                    {
                        return End::Closing;
                    }
                    continue;
                }
                Message::Text(_) => {
                    return refused(Cut::Protocol, CloseCode::Unsupported, "binary messages only");
                }
                _ => continue,
            };
            if !self.hand_over(bytes.into()).await {
                return End::Closing;
            }
        }
    }

    /// Gives a chunk to the engine, when there is room for it; false when the engine is gone.
    pub(crate) async fn hand_over(&self, bytes: Vec<u8>) -> bool {
        let turn = self.window.room(bytes.len()).await;
        self.events.send(Event::Chunk { link: self.link, bytes, turn }).await.is_ok()
    }

    /// Waits where the client sends too much: meanwhile nothing is read. Gives why it is to be cut, if it is.
    pub(crate) async fn hold_back(&mut self, bytes: usize) -> Option<&'static str> {
        self.metrics.received_chunks.add(1);
        let now = Instant::now();
        match self.meter.as_mut()?.take(bytes, now) {
            Verdict::Go => None,
            Verdict::Wait(wait) => {
                sleep(wait).await;
                self.metrics.held_back_us.add(u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX));
                None
            }
            Verdict::Cut(reason) => Some(reason),
        }
    }
}

async fn transmit(
    mut sink: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    (Outgoing { mut items, queued }, metrics): (Outgoing, &Metrics),
    mut reach: Option<Reach>,
    ping_every: Duration,
) -> End {
    if let Some(text) = reach.as_mut().and_then(Reach::text)
        && sink.send(Message::text(text)).await.is_err()
    {
        return End::Gone;
    }
    let mut ping = interval(ping_every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.tick().await;
    loop {
        let first = tokio::select! {
            item = items.recv() => item,
            _ = ping.tick() => match sink.send(Message::Ping(Vec::new().into())).await {
                Ok(()) => continue,
                Err(_) => return End::Gone,
            },
            text = renewed(&mut reach) => match sink.send(Message::text(text)).await {
                Ok(()) => continue,
                Err(_) => return End::Gone,
            },
        };
        let Some(mut item) = first else { return End::Cut };
        // One flush for all that waits.
        loop {
            let bytes = match item {
                Item::Chunk(bytes) => bytes,
                Item::Close(code) => return if sink.flush().await.is_ok() { End::Let(code) } else { End::Gone },
            };
            queued.subtract(bytes.len() + OVERHEAD_BYTES);
            metrics.sent_chunks.add(1);
            if sink.feed(Message::Binary(bytes.into())).await.is_err() {
                return End::Gone;
            }
            match items.try_recv() {
                Ok(next) => item = next,
                Err(_) => break,
            }
        }
        if sink.flush().await.is_err() {
            return End::Gone;
        }
    }
}

/// What there is to tell anew of how to be reached; waits for ever if there never will be.
async fn renewed(reach: &mut Option<Reach>) -> String {
    loop {
        match reach {
            Some(reach) => reach.changed().await,
            None => std::future::pending().await,
        }
        if let Some(text) = reach.as_mut().and_then(Reach::text) {
            return text;
        }
    }
}

/// Waits until the driver has cut a client, or its patience with one that it closed has run out.
pub(crate) async fn cut(patient: oneshot::Receiver<Duration>) {
    if let Ok(patience) = patient.await {
        sleep(patience).await;
    }
}

async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, end: &End) {
    let (code, reason) = match end {
        End::Cut => return,
        // Sends the answer to the other end's goodbye, if there was one.
        End::Gone => {
            let _ = socket.flush().await;
            return;
        }
        End::Let(code) => (*code, ""),
        End::Refused(_, code, reason) => (*code, *reason),
        End::Idle => (CloseCode::Policy, "silent for too long"),
        End::Closing => (CloseCode::Away, ""),
    };
    let _ = socket.close(Some(CloseFrame { code, reason: reason.into() })).await;
    // Waits for the other end's answer. A socket closed with unread bytes resets the connection, and the goodbye would
    // be lost, so even what is no frame any more is read.
    match end {
        End::Refused(..) => {
            let _ = tokio::io::copy(&mut socket.get_mut().take(DRAIN_BYTES as u64), &mut tokio::io::sink()).await;
        }
        _ => while let Some(Ok(_)) = socket.next().await {},
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::DuplexStream, task::JoinHandle};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    const LINK: LinkId = LinkId(7);

    struct End2End {
        far: WebSocketStream<DuplexStream>,
        client: Client,
        events: mpsc::Receiver<Event>,
        task: JoinHandle<()>,
    }

    /// A socket whose wire holds 4 KiB, its far end, and the driver's end of it.
    async fn socket(limits: Limits) -> End2End {
        socket_among(limits, Sockets::default()).await
    }

    async fn socket_among(limits: Limits, sockets: Sockets) -> End2End {
        let (near, far) = tokio::io::duplex(4 << 10);
        let near = WebSocketStream::from_raw_socket(near, Role::Server, Some(config(16 << 10))).await;
        let far = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let (events_in, mut events) = mpsc::channel(4);
        let task =
            tokio::spawn(
                async move { run(near, LINK, (Origin::Accepted, None), events_in, sockets, None, &limits).await },
            );
        let Some(Event::Up { client, .. }) = events.recv().await else { panic!("a socket is announced first") };
        End2End { far, client: *client, events, task }
    }

    async fn closed_with(far: &mut WebSocketStream<DuplexStream>) -> Option<CloseCode> {
        while let Some(message) = far.next().await {
            if let Ok(Message::Close(frame)) = message {
                return frame.map(|frame| frame.code);
            }
        }
        None
    }

    #[tokio::test]
    async fn chunks_go_both_ways_and_a_goodbye_ends_it() {
        let End2End { mut far, client, mut events, task } = socket(Limits::default()).await;
        for size in [0, 1, 16 << 10] {
            client.send(vec![1; size]).unwrap();
            assert_eq!(far.next().await.unwrap().unwrap(), Message::binary(vec![1; size]));
            far.send(Message::binary(vec![2; size])).await.unwrap();
            let Some(Event::Chunk { link: LINK, bytes, .. }) = events.recv().await else { panic!() };
            assert_eq!(bytes, vec![2; size]);
        }
        client.send(vec![3]).unwrap();
        client.close(CloseCode::Away, Duration::from_secs(5));
        assert_eq!(far.next().await.unwrap().unwrap(), Message::binary(vec![3]), "what was queued leaves first");
        assert_eq!(closed_with(&mut far).await, Some(CloseCode::Away));
        assert!(matches!(events.recv().await, Some(Event::Down { link: LINK })));
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_breaks_the_rules_is_told_which() {
        for (message, code) in [
            (Message::text("hello"), CloseCode::Unsupported),
            (Message::binary(vec![0; (17 << 10) + 1]), CloseCode::Size),
        ] {
            let End2End { mut far, client: _client, mut events, .. } = socket(Limits::default()).await;
            far.send(message).await.unwrap();
            assert_eq!(closed_with(&mut far).await, Some(code));
            assert!(matches!(events.recv().await, Some(Event::Down { link: LINK })));
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_overflows_within_the_bound() {
        let limits = Limits { queue_bytes_max: 100_000, ..Limits::default() };
        let End2End { far, client, mut events, task } = socket(limits).await;
        let mut sent = 0;
        while client.send(vec![0; 1_000]).is_ok() {
            sent += 1;
            tokio::task::yield_now().await;
            assert!(sent < 200, "the wire and the buffers hold some 20 chunks, the queue a hundred");
        }
        assert!(sent >= 90, "cut after {sent} chunks only");
        // The driver drops its end, and the socket is gone although the other end still takes nothing.
        drop(client);
        assert!(matches!(events.recv().await, Some(Event::Down { link: LINK })));
        task.await.unwrap();
        drop(far);
    }

    #[tokio::test]
    async fn when_all_queues_are_long_the_long_ones_are_cut() {
        let limits = Limits { queues_bytes_max: 100_000, queue_fair_bytes: 10_000, ..Limits::default() };
        let all = Sockets::default();
        let greedy = socket_among(limits.clone(), all.clone()).await;
        let modest = socket_among(limits, all.clone()).await;
        let sent = (0..200).take_while(|_| greedy.client.send(vec![0; 1_000]).is_ok()).count();
        assert!((90..100).contains(&sent), "{sent}");
        for _ in 0..9 {
            modest.client.send(vec![0; 1_000]).unwrap();
        }
        assert_eq!(modest.client.send(vec![0; 1_000]), Err(Overflow));
        // Cut, it gives back what it held.
        drop(greedy.client);
        greedy.task.await.unwrap();
        assert!(all.queued_bytes() < 20_000);
        modest.client.send(vec![0; 1_000]).unwrap();
    }

    #[tokio::test]
    async fn a_goodbye_to_who_takes_nothing_is_not_waited_for_long() {
        let End2End { far, client, mut events, .. } = socket(Limits::default()).await;
        for _ in 0..100 {
            client.send(vec![0; 1_000]).unwrap();
        }
        client.close(CloseCode::Normal, Duration::from_millis(50));
        let down = timeout(Duration::from_secs(5), events.recv()).await;
        assert!(matches!(down, Ok(Some(Event::Down { link: LINK }))));
        drop(far);
    }

    #[tokio::test]
    async fn the_silent_are_let_go_of_and_pongs_are_no_silence() {
        let limits = Limits {
            ping_every: Duration::from_millis(20),
            idle_timeout: Duration::from_millis(200),
            ..Limits::default()
        };
        let End2End { mut far, client: _client, mut events, .. } = socket(limits).await;
        // Reading answers pings.
        let answering = timeout(Duration::from_millis(600), async { while far.next().await.is_some() {} }).await;
        assert!(answering.is_err(), "still open after three times the limit");
        assert!(events.try_recv().is_err());
        // Not reading does not.
        assert!(matches!(events.recv().await, Some(Event::Down { link: LINK })));
    }
}
