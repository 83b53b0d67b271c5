//! A WebRTC session as a link of the engine, whatever makes its connection: see [`Connection`].
//!
//! ```text
//!   driver ── Client::send ──► queue (bounded in bytes) ──► data channel (waits when it is full) ──► other end
//!   driver ◄── Event (bounded channel, waits) ◄── data channel ◄── other end
//! ```
//!
//! What the other end says is worked off in order, candidates only after the description that they belong to.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use pontoon_core::{LinkId, Origin, SessionId};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    channel::{Item, Outgoing, Sockets, Taking, client, cut, tell_cut},
    driver::{Event, Links},
    metrics::Cut,
    settings::Limits,
};

/// How long a session may take to open: until then it has a place that others want.
const OPEN: Duration = Duration::from_secs(15);
/// Before anything is sent on a channel that has opened. What comes in one datagram with the end of SCTP's handshake
/// (COOKIE ACK, RFC 9260, section 5.1) is lost at an end that is made by the crate `webrtc` 0.21: its data goes up before it
/// is known that the channel is open.
const SETTLE: Duration = Duration::from_millis(20);
/// Candidates that wait for a description.
const EARLY_MAX: usize = 64;

/// What one end of a session says to the other, as browsers write it: a description or a candidate.
pub(super) type Signal = Value;

/// What happens to a connection.
pub(super) enum Happened {
    /// There is something for the other end.
    Signal(Signal),
    /// The data channel is open.
    Open,
    /// A message arrived.
    Message(Vec<u8>),
    /// It is over: why, for people.
    Ended(&'static str),
}

/// One end of a WebRTC connection with one data channel: ordered, reliable, negotiated beforehand. Dropping it closes it.
pub(super) trait Connection: Sized + Send + 'static {
    /// Its data channel, to send on.
    type Channel: Channel;

    /// An offer.
    fn offer(&mut self) -> impl Future<Output = Result<Signal, String>> + Send;
    /// Takes the other end's description; gives the answer to an offer.
    fn describe(&mut self, description: Signal) -> impl Future<Output = Result<Option<Signal>, String>> + Send;
    /// Takes one of the other end's addresses.
    fn candidate(&mut self, candidate: Signal) -> impl Future<Output = Result<(), String>> + Send;
    /// The next thing that happens. May be dropped and called again.
    fn next(&mut self) -> impl Future<Output = Happened> + Send;
    /// To send on.
    fn channel(&self) -> Self::Channel;
    /// Closes it.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The sending half of a data channel.
pub(super) trait Channel: Send + Sync + 'static {
    /// Sends a message; waits while too much is under way.
    fn send(&self, bytes: Vec<u8>) -> impl Future<Output = Result<(), String>> + Send;
    /// Waits until everything is at the other end.
    fn flushed(&self) -> impl Future<Output = ()> + Send;
}

/// What a session works with.
#[derive(Clone)]
pub(crate) struct Around {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) links: Links,
    pub(crate) sockets: Sockets,
    /// Held while a session lasts: at shutdown its goodbye is waited for.
    pub(crate) _busy: mpsc::Sender<Infallible>,
    pub(crate) limits: Arc<Limits>,
}

/// Runs a session until it is over. `signals` ends when the driver closes it.
pub(super) async fn run<C: Connection>(
    connection: Result<C, String>,
    session: SessionId,
    initiator: bool,
    mut signals: mpsc::Receiver<Signal>,
    around: Around,
) {
    let failed = match connection {
        Err(reason) => Some(reason),
        Ok(mut connection) => {
            let opening = timeout(OPEN, negotiate(&mut connection, session, initiator, &mut signals, &around));
            let failed = match opening.await.unwrap_or_else(|_| Err("not open in time".to_owned())) {
                Ok(Negotiated::Open) => {
                    carry(&mut connection, session, &mut signals, &around).await;
                    None
                }
                Ok(Negotiated::Closed) => None,
                Err(reason) => Some(reason),
            };
            // Its place is free again, whatever becomes of the goodbye.
            let _ = timeout(around.limits.close_timeout, connection.close()).await;
            failed
        }
    };
    if let Some(reason) = failed {
        tracing::debug!(session = session.0, reason, "a WebRTC session failed");
        let _ = around.events.send(Event::RtcFailed { session, reason }).await;
    }
}

enum Negotiated {
    Open,
    /// The driver wants it no more.
    Closed,
}

/// Candidates that came before their description.
type Early = VecDeque<Signal>;

async fn negotiate<C: Connection>(
    connection: &mut C,
    session: SessionId,
    initiator: bool,
    signals: &mut mpsc::Receiver<Signal>,
    around: &Around,
) -> Result<Negotiated, String> {
    let (mut early, mut described) = (Early::new(), false);
    if initiator {
        let offer = connection.offer().await?;
        tell(session, offer, around).await;
    }
    loop {
        tokio::select! {
            signal = signals.recv() => match signal {
                None => return Ok(Negotiated::Closed),
                Some(signal) => hear(connection, session, signal, &mut early, &mut described, around).await?,
            },
            happened = connection.next() => match happened {
                Happened::Signal(signal) => tell(session, signal, around).await,
                Happened::Open => return Ok(Negotiated::Open),
                // Before it is open nothing arrives.
                Happened::Message(_) => return Err("a message before the channel was open".to_owned()),
                Happened::Ended(reason) => return Err(reason.to_owned()),
            },
        }
    }
}

/// Takes what the other end says.
async fn hear<C: Connection>(
    connection: &mut C,
    session: SessionId,
    signal: Signal,
    early: &mut Early,
    described: &mut bool,
    around: &Around,
) -> Result<(), String> {
    if let Some(candidate) = signal.get("candidate") {
        if *described {
            // An address that is not taken is one address less.
            if let Err(error) = connection.candidate(candidate.clone()).await {
                tracing::debug!(session = session.0, error, "a candidate was not taken");
            }
        } else if early.len() < EARLY_MAX {
            early.push_back(signal);
        }
        return Ok(());
    }
    let answer = connection.describe(signal).await?;
    *described = true;
    for signal in early.drain(..) {
        if let Some(candidate) = signal.get("candidate") {
            let _ = connection.candidate(candidate.clone()).await;
        }
    }
    if let Some(answer) = answer {
        tell(session, answer, around).await;
    }
    Ok(())
}

async fn tell(session: SessionId, signal: Signal, around: &Around) {
    let payload = signal.to_string().into_bytes();
    let _ = around.events.send(Event::RtcSignal { session, payload }).await;
}

/// Carries the engine's chunks over the open channel.
async fn carry<C: Connection>(
    connection: &mut C,
    session: SessionId,
    signals: &mut mpsc::Receiver<Signal>,
    around: &Around,
) {
    let link = around.links.next();
    let (client, mut outgoing, patient) = client(&around.limits, &around.sockets, None);
    let up = Event::Up { link, origin: Origin::Rtc { session }, client: Box::new(client) };
    if around.events.send(up).await.is_err() {
        return;
    }
    let channel = connection.channel();
    tokio::select! {
        reason = receive(connection, session, link, signals, around) => tracing::debug!(link = link.0, reason, "channel ended"),
        () = transmit(&channel, &mut outgoing, around.limits.close_timeout) => {}
        () = cut(patient) => {}
    }
    let _ = around.events.send(Event::Down { link }).await;
}

async fn receive<C: Connection>(
    connection: &mut C,
    session: SessionId,
    link: LinkId,
    signals: &mut mpsc::Receiver<Signal>,
    around: &Around,
) -> &'static str {
    let (mut early, mut described) = (Early::new(), true);
    let mut taking = Taking::new(link, &around.events, &around.sockets, true);
    let mut closed = None;
    loop {
        tokio::select! {
            // What is queued leaves first.
            signal = signals.recv(), if closed.is_none() => match signal {
                None => closed = Some(Instant::now() + 2 * around.limits.close_timeout),
                Some(signal) => if hear(connection, session, signal, &mut early, &mut described, around).await.is_err() {
                    return "what the other end said was not understood";
                }
            },
            happened = connection.next() => match happened {
                Happened::Signal(signal) => tell(session, signal, around).await,
                Happened::Open => {}
                Happened::Message(bytes) => {
                    if let Some(reason) = taking.hold_back(bytes.len()).await {
                        tell_cut(&around.sockets.metrics, (link, None), Cut::Flood, reason);
                        return reason;
                    }
                    if !taking.hand_over(bytes).await {
                        return "the engine is gone";
                    }
                }
                Happened::Ended(reason) => return reason,
            },
            () = async { sleep_until(closed.unwrap_or_else(Instant::now)).await }, if closed.is_some() => {
                return "the driver closed it";
            }
        }
    }
}

/// Sends what is queued, until the driver lets go of the link.
async fn transmit(channel: &impl Channel, outgoing: &mut Outgoing, patience: Duration) {
    sleep(SETTLE).await;
    while let Some(Item::Chunk(bytes)) = outgoing.next().await {
        if channel.send(bytes).await.is_err() {
            return;
        }
    }
    let _ = timeout(patience, channel.flushed()).await;
}
