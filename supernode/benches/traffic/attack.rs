//! Attacks, each from a process of its own, until it is killed.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    peer::{self, Peer, connect, relay},
    program::{NETWORK, source},
};

pub const CHILD: &str = "child-attack";
/// By name, with the reason that the supernode counts for it.
pub const ATTACKS: [(&str, &str); 8] = [
    ("half-open", "pontoon_cut_total{reason=\"slow_header\"}"),
    ("half-open-one-address", "pontoon_refused_total{reason=\"address_connections\"}"),
    ("slowloris", "pontoon_cut_total{reason=\"slow_header\"}"),
    ("slow-body", "pontoon_refused_total{reason=\"address_requests\"}"),
    ("oversized", "pontoon_cut_total{reason=\"oversized\"}"),
    ("flood", "pontoon_cut_total{reason=\"flood\"}"),
    ("flood-pings", "pontoon_cut_total{reason=\"flood\"}"),
    ("reads", "pontoon_http_requests_held_back_total"),
];
/// A connection that ended is opened again after so long.
const AGAIN: Duration = Duration::from_millis(500);
const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 9, 9));
/// Connections of an attack that are to be there at once.
const HALF_OPEN: usize = 10_000;

/// `NAME ADDRESS COUNT`: attacks with so many connections, or as many as there are by default if it is 0.
pub async fn run(arguments: &[String]) -> Result<(), String> {
    let [name, address, count] = arguments else { return Err("an attack, an address, a number".to_owned()) };
    let address: SocketAddr = address.parse().map_err(|_| "no address")?;
    let count: usize = count.parse().map_err(|_| "no number")?;
    let many = |usual: usize| if count > 0 { count } else { usual };
    println!("attacking");
    let _ = std::io::stdout().flush();
    let mut tasks = JoinSet::new();
    let mut spread = 0;
    let mut spawn = |number: usize, attack: fn(SocketAddr, IpAddr, u64) -> Attack| {
        for connection in 0..number {
            spread += 1;
            let from = if name.ends_with("one-address") || name == "reads" || name == "slow-body" {
                ONE
            } else {
                source(10_000 + spread)
            };
            tasks.spawn(async move {
                loop {
                    let _ = attack(address, from, connection as u64).await;
                    sleep(AGAIN).await;
                }
            });
        }
    };
    match name.as_str() {
        "half-open" | "half-open-one-address" => spawn(many(HALF_OPEN), |to, from, _| Box::pin(half_open(to, from))),
        "slowloris" => spawn(many(2_000), |to, from, _| Box::pin(slowloris(to, from))),
        "slow-body" => spawn(many(500), |to, from, _| Box::pin(slow_body(to, from))),
        "oversized" => spawn(many(50), |to, from, _| Box::pin(oversized(to, from))),
        "flood" => spawn(many(1), |to, from, number| Box::pin(flood(to, from, number))),
        "flood-pings" => spawn(many(1), |to, from, number| Box::pin(flood_pings(to, from, number))),
        "reads" => spawn(many(400), |to, from, _| Box::pin(reads(to, from))),
        other => return Err(format!("no attack {other:?}")),
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

type Attack = std::pin::Pin<Box<dyn Future<Output = Option<()>> + Send>>;

/// Says nothing.
async fn half_open(to: SocketAddr, from: IpAddr) -> Option<()> {
    let mut stream = connect(to, Some(from)).await.ok()?;
    ended(&mut stream).await
}

/// Reads to the end of a connection.
async fn ended(stream: &mut TcpStream) -> Option<()> {
    let mut bytes = [0; 1_024];
    while stream.read(&mut bytes).await.ok()? > 0 {}
    Some(())
}

/// A header that comes a byte a second.
async fn slowloris(to: SocketAddr, from: IpAddr) -> Option<()> {
    let mut stream = connect(to, Some(from)).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ").await.ok()?;
    loop {
        stream.write_all(b"a").await.ok()?;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Content that comes a byte a second.
async fn slow_body(to: SocketAddr, from: IpAddr) -> Option<()> {
    let mut stream = connect(to, Some(from)).await.ok()?;
    stream.write_all(b"PUT /v1/kv/notes/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await.ok()?;
    loop {
        stream.write_all(b"a").await.ok()?;
        sleep(Duration::from_secs(1)).await;
    }
}

/// A message of a megabyte.
async fn oversized(to: SocketAddr, from: IpAddr) -> Option<()> {
    let mut socket = peer::dial(to, Some(from)).await.ok()?;
    let _ = socket.send(Message::binary(vec![0; 1 << 20])).await;
    while let Some(Ok(_)) = socket.next().await {}
    Some(())
}

/// A linked peer that sends frames as quickly as it can.
async fn flood(to: SocketAddr, from: IpAddr, number: u64) -> Option<()> {
    let mut peer = Peer::link(to, Some(from), NETWORK, 1_000_000 + number).await.ok()?;
    let frame = relay(peer.id, peer.hub, vec![0; 200]);
    let chunk = peer::chunks(&frame).next()?;
    loop {
        peer.socket.feed(chunk.clone()).await.ok()?;
    }
}

/// Pings, each of which wants an answer.
async fn flood_pings(to: SocketAddr, from: IpAddr, _number: u64) -> Option<()> {
    let socket = peer::dial(to, Some(from)).await.ok()?;
    let (mut sink, mut source) = socket.split();
    let reading = async { while let Some(Ok(_)) = source.next().await {} };
    let writing = async { while sink.send(Message::Ping(vec![0; 100].into())).await.is_ok() {} };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    Some(())
}

/// Asks for what costs much, without a pause.
async fn reads(to: SocketAddr, from: IpAddr) -> Option<()> {
    let mut stream = connect(to, Some(from)).await.ok()?;
    let mut bytes = vec![0; 64 << 10];
    loop {
        for path in ["/v1/ring", "/v1/inspect", "/v1/kv/notes/a", "/healthz"] {
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.ok()?;
            if stream.read(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }
}
