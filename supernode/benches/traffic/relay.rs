//! `relay`: messages from one peer over the supernode to another one, beside a bare echo of messages of the same size with as
//! many under way; and the memory of an idle peer.
//!
//! Both servers take a message from one socket and write it to one. The supernode's limits for one client are lifted, since
//! a client here is the whole load.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use pontoon_core::{
    overlay::LinkFrame,
    wire::{Chunks, Frame},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    echo, idle,
    options::Options,
    peer::{self, Peer, Wire},
    program::{NETWORK, Process, Supernode, percentile, rounded},
};

const ROUNDS: usize = 3;
/// Before counting.
const WARM_UP: Duration = Duration::from_millis(500);

/// What sender and receiver of a pair share.
#[derive(Clone)]
pub struct Flow {
    /// One for each message that arrived.
    pub credits: Arc<Semaphore>,
    pub arrived: Arc<AtomicU64>,
}

pub async fn run(options: &Options) -> Result<(), String> {
    let seconds = options.seconds.unwrap_or(5);
    let (pairs, in_flight) = (options.pairs.unwrap_or(8), options.in_flight.unwrap_or(64));
    let bytes = options.bytes.unwrap_or(1_000);
    let supernode = Supernode::start(&["--client-bytes-per-s", "0", "--client-chunks-per-s", "0"]).await?;
    let (_echo, line) = Process::again(&[echo::CHILD], false)?;
    let echo: SocketAddr = line.parse().map_err(|_| format!("no address but {line:?}"))?;

    let (mut relayed, mut echoed, mut message_bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let mut tasks = JoinSet::new();
        let flow = || Flow { credits: Arc::new(Semaphore::new(in_flight)), arrived: Arc::new(AtomicU64::new(0)) };
        let mut flows = Vec::new();
        for pair in 0..pairs as u64 {
            let link = |number| Peer::link(supernode.address, None, NETWORK, number);
            let (from, to) = (link(2 * pair + 1).await?, link(2 * pair + 2).await?);
            let message = peer::chunks(&peer::relay(from.id, to.id, vec![7; bytes])).next().ok_or("no chunk")?;
            message_bytes = message.len();
            let flow = flow();
            carry(&mut tasks, (from, to), message, (flow.credits.clone(), &flow));
            flows.push(flow);
        }
        relayed.push(rate(&flows, seconds).await);
        tasks.shutdown().await;

        let mut flows = Vec::new();
        for _ in 0..pairs {
            let (sink, source) = peer::dial(echo, None).await?.split();
            let (message, flow) = (Message::binary(vec![7; message_bytes]), flow());
            let (_none, replies) = mpsc::channel(1);
            tasks.spawn(write(sink, message, flow.credits.clone(), replies));
            tasks.spawn(count(source, flow.clone()));
            flows.push(flow);
        }
        echoed.push(rate(&flows, seconds).await);
        tasks.shutdown().await;
    }
    drop(supernode);
    let idle = idle::measure(options.peers.unwrap_or(5_000)).await?;
    let (messages, echoes) = (percentile(&mut relayed, 0.5), percentile(&mut echoed, 0.5));
    let line = serde_json::json!({
        "scenario": "relay",
        "messages_per_s": messages.round(),
        "echo_messages_per_s": echoes.round(),
        "ratio": rounded(messages / echoes, 3),
        "bytes_per_idle_peer": idle.bytes_per_peer.round(),
        "idle_peers": idle.peers,
        "message_bytes": message_bytes,
        "pairs": pairs,
        "in_flight": in_flight,
        "rounds": ROUNDS,
        "seconds": seconds,
    });
    println!("{line}");
    Ok(())
}

/// Messages a second that arrive.
async fn rate(flows: &[Flow], seconds: u64) -> f64 {
    let sum = || flows.iter().map(|flow| flow.arrived.load(Ordering::Relaxed)).sum::<u64>();
    sleep(WARM_UP).await;
    let (before, begun) = (sum(), Instant::now());
    sleep(Duration::from_secs(seconds)).await;
    (sum() - before) as f64 / begun.elapsed().as_secs_f64()
}

/// Sends a message from one peer to the other for each permit, and counts those that arrive.
pub fn carry(
    tasks: &mut JoinSet<()>,
    (from, to): (Peer, Peer),
    message: Message,
    (sends, flow): (Arc<Semaphore>, &Flow),
) {
    for (peer, credits) in [(from, sends), (to, Arc::new(Semaphore::new(0)))] {
        let (socket, chunks) = peer.into_parts();
        let (sink, source) = socket.split();
        let (answers, replies) = mpsc::channel(64);
        tasks.spawn(write(sink, message.clone(), credits, replies));
        tasks.spawn(read(source, chunks, flow.clone(), answers));
    }
}

/// Sends a message for each credit, and answers.
async fn write(
    mut sink: SplitSink<Wire, Message>,
    message: Message,
    credits: Arc<Semaphore>,
    mut replies: mpsc::Receiver<Message>,
) {
    loop {
        let next = tokio::select! {
            permit = credits.acquire() => match permit {
                Ok(permit) => {
                    permit.forget();
                    message.clone()
                }
                Err(_) => return,
            },
            Some(reply) = replies.recv() => reply,
        };
        let mut sent = sink.feed(next).await;
        while sent.is_ok()
            && let Ok(permit) = credits.try_acquire()
        {
            permit.forget();
            sent = sink.feed(message.clone()).await;
        }
        if sent.is_err() || sink.flush().await.is_err() {
            return;
        }
    }
}

/// Counts what is relayed, and answers what wants an answer.
async fn read(mut source: SplitStream<Wire>, mut chunks: Chunks, flow: Flow, answers: mpsc::Sender<Message>) {
    while let Some(Ok(message)) = source.next().await {
        let Message::Binary(chunk) = message else { continue };
        for frame in peer::frames(&mut chunks, &chunk) {
            if let Frame::Link(LinkFrame::Relay { .. }) = frame {
                flow.arrived.fetch_add(1, Ordering::Relaxed);
                flow.credits.add_permits(1);
            } else if let Some(answer) = peer::answer(&frame) {
                for chunk in peer::chunks(&answer) {
                    let _ = answers.send(chunk).await;
                }
            }
        }
    }
}

/// Counts what comes back.
async fn count(mut source: SplitStream<Wire>, flow: Flow) {
    while let Some(Ok(message)) = source.next().await {
        if message.is_binary() {
            flow.arrived.fetch_add(1, Ordering::Relaxed);
            flow.credits.add_permits(1);
        }
    }
}
