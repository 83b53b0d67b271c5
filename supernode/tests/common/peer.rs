//! A peer that speaks links only: the real handshake over a real WebSocket, answers to probes, and frames by hand. For loads
//! and attacks, where thousands of whole peers would measure themselves.

use std::net::{IpAddr, SocketAddr};

use futures_util::{SinkExt as _, StreamExt as _};
use pontoon_core::{
    Id,
    crypto::{Ed25519, Identity as _},
    overlay::{Hello, LinkFrame, Want},
    wire::{Chunks, Frame, PLAN_VERSION, WIRE_VERSION, cut, decode, encode},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

const CHUNK_BYTES: usize = 16 << 10;
const FRAME_BYTES_MAX: usize = 2 << 20;

/// A socket to a supernode, before any handshake of the engine.
pub type Wire = WebSocketStream<TcpStream>;

/// A TCP connection from an address of this machine.
pub async fn connect(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::from((from, 0)))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A WebSocket from an address of this machine, with small buffers.
pub async fn dial(to: SocketAddr, from: Option<IpAddr>) -> Result<Wire, String> {
    let stream = connect(to, from).await.map_err(|error| error.to_string())?;
    let config = WebSocketConfig::default().read_buffer_size(16 << 10).write_buffer_size(16 << 10);
    let url = format!("ws://{to}/pontoon");
    let (socket, _) = client_async_with_config(url, stream, Some(config)).await.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// The chunks of a frame.
pub fn chunks(frame: &Frame) -> impl Iterator<Item = Message> {
    let chunks: Vec<_> = cut(&encode(frame), CHUNK_BYTES).collect();
    chunks.into_iter().map(Message::binary)
}

/// What a frame that arrived is answered with, if anything: probes and hops want an answer.
pub fn answer(frame: &Frame) -> Option<Frame> {
    match frame {
        Frame::Link(LinkFrame::Ping { number, .. }) => {
            Some(Frame::Link(LinkFrame::Pong { number: *number, news: Default::default() }))
        }
        Frame::Routed(routed) => Some(Frame::Link(LinkFrame::HopAck { serial: routed.serial })),
        _ => None,
    }
}

/// A linked peer.
pub struct Peer {
    pub id: Id,
    /// The supernode.
    pub hub: Id,
    pub socket: Wire,
    chunks: Chunks,
    came: std::collections::VecDeque<Frame>,
}

impl Peer {
    /// Connects and proves itself, and waits until the supernode has done so.
    pub async fn link(to: SocketAddr, from: Option<IpAddr>, network: &str, number: u64) -> Result<Peer, String> {
        let mut seed = [0x5a; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        let identity = Ed25519::from_seed(&seed);
        let socket = dial(to, from).await?;
        let nowhere = Id::hash(b"");
        let mut peer =
            Peer { id: identity.id(), hub: nowhere, socket, chunks: Chunks::default(), came: Default::default() };
        let hello = Hello {
            wire: WIRE_VERSION,
            plan: PLAN_VERSION,
            network: network.to_owned(),
            public_key: identity.public_key(),
            nonce: [9; 16],
            supernode: false,
            direct_links: false,
            established: true,
            want: Want::Sibling,
            wall_us: std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros() as u64),
        };
        peer.send(&Frame::Link(LinkFrame::Hello(hello))).await?;
        loop {
            match peer.next().await.ok_or("the supernode closed the link")? {
                Frame::Link(LinkFrame::Hello(hello)) => {
                    peer.hub = Id::hash(&hello.public_key);
                    let name = b"pontoon link\0" as &[u8];
                    let said = [name, network.as_bytes(), b"\0", &hello.nonce, &peer.id.0, &peer.hub.0, &[0]].concat();
                    let signature = identity.sign(&said);
                    peer.send(&Frame::Link(LinkFrame::Proof { signature, direct: false })).await?;
                }
                Frame::Link(LinkFrame::Proof { .. }) => return Ok(peer),
                Frame::Link(LinkFrame::Refuse(refusal)) => return Err(refusal.to_string()),
                _ => {}
            }
        }
    }

    pub async fn send(&mut self, frame: &Frame) -> Result<(), String> {
        for chunk in chunks(frame) {
            self.socket.send(chunk).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The next frame; what wants an answer is answered. `None` when the link is closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            // Answered before it is taken out: a caller may stop waiting in between.
            if let Some(answer) = self.came.front().and_then(answer) {
                self.send(&answer).await.ok()?;
            }
            if let Some(frame) = self.came.pop_front() {
                return Some(frame);
            }
            if let Message::Binary(chunk) = self.socket.next().await?.ok()? {
                self.came.extend(frames(&mut self.chunks, &chunk));
            }
        }
    }

    /// Does nothing but answer probes, until the link is closed.
    pub async fn idle(mut self) {
        while self.next().await.is_some() {}
    }

    /// The socket, and what was not read to its end.
    pub fn into_parts(self) -> (Wire, Chunks) {
        (self.socket, self.chunks)
    }
}

/// The frames that a chunk completes.
pub fn frames(chunks: &mut Chunks, chunk: &[u8]) -> Vec<Frame> {
    let whole = chunks.push(chunk, FRAME_BYTES_MAX);
    whole.into_iter().filter_map(|frame| decode(&frame.ok()?).ok()).collect()
}

/// A frame for another peer of the same supernode.
pub fn relay(from: Id, to: Id, payload: Vec<u8>) -> Frame {
    Frame::Link(LinkFrame::Relay { from, to, frame: payload })
}
