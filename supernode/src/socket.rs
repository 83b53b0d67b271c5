//! One WebSocket, accepted or dialled, as a link of the engine.
//!
//! ```text
//!   driver ── Client::send ──► queue (bounded in bytes) ──► transmit ──► socket
//!   driver ◄── Event (bounded channel, waits) ◄── receive ◄──────────── socket
//! ```
//!
//! A binary message is one chunk of the engine. What is the same for data channels is in [`crate::channel`].

use std::{net::IpAddr, time::Duration};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use pontoon_core::{LinkId, Origin};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
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
    channel::{Item, Outgoing, Sockets, Taking, client, cut, tell_cut},
    driver::Event,
    metrics::{Cut, Metrics},
    reach::{Reach, public_told},
    settings::Limits,
};

/// What a message may have beyond a chunk.
const SLACK_BYTES: usize = 1_024;
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
            end = receive(&mut taking, source, dialled_at.as_deref(), limits.idle_timeout) => end,
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

async fn receive(
    taking: &mut Taking<'_>,
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
        if let Some(reason) = taking.hold_back(message.len()).await {
            return refused(Cut::Flood, CloseCode::Policy, reason);
        }
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) if let Some(address) = dialled => {
                let address = address.to_owned();
                if let Some(public) = public_told(&text)
                    && !taking.tell(Event::Public { address, public }).await
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
        if !taking.hand_over(bytes.into()).await {
            return End::Closing;
        }
    }
}

async fn transmit(
    mut sink: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    (mut outgoing, metrics): (Outgoing, &Metrics),
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
            item = outgoing.next() => item,
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
            metrics.sent_chunks.add(1);
            if sink.feed(Message::Binary(bytes.into())).await.is_err() {
                return End::Gone;
            }
            match outgoing.waiting() {
                Some(next) => item = next,
                None => break,
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
    use crate::channel::{Client, Overflow};

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
