//! Clients that take or send too much: each is cut or refused with a reason, in the log and in the metrics, and others are
//! served. How much others notice is measured by `cargo bench --bench traffic -- abuse`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use common::{
    Program, command, get,
    peer::{self, Peer, connect, relay},
    send, settings, start, until,
};
use futures_util::{SinkExt as _, StreamExt as _};
use pontoon_core::{overlay::LinkFrame, wire::Frame};
use pontoon_supernode::{ApiLimits, Limits, Settings, Supernode, Token, TrafficLimits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

const PATIENCE: Duration = Duration::from_secs(10);
const OTHER: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));

/// A supernode with metrics, and bounds of the test's.
async fn guarded(directory: &Path, traffic: TrafficLimits, limits: Limits) -> Supernode {
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    start(Settings { traffic, limits, metrics_listen: listen, ..settings(directory) }).await
}

/// A value of the metrics, as `name{label="value"}`.
async fn metric(supernode: &Supernode, name: &str) -> f64 {
    let page = get(supernode.metrics_addr().unwrap(), "/metrics").await;
    let text = String::from_utf8(page.body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Waits until a counter shows something.
async fn counted(supernode: &Supernode, name: &str) {
    until(name, PATIENCE, || async { (metric(supernode, name).await >= 1.0).then_some(()) }).await;
}

/// Waits for the other end to close a connection that says nothing more.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    answer
}

#[tokio::test]
async fn one_address_takes_its_share_of_connections_and_others_have_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let few = TrafficLimits { address_connections_max: 20, ..TrafficLimits::default() };
    let supernode = guarded(directory.path(), few, Limits::default()).await;
    let address = supernode.local_addr();

    let mut greedy = Vec::new();
    for _ in 0..20 {
        greedy.push(connect(address, OTHER).await.unwrap());
    }
    let mut more = connect(address, OTHER).await.unwrap();
    assert_eq!(closed(&mut more).await, b"", "closed unheard");
    counted(&supernode, "pontoon_refused_total{reason=\"address_connections\"}").await;
    assert_eq!(get(address, "/healthz").await.status, 200, "another address is served");

    drop(greedy);
    until("the address is served again", PATIENCE, || async {
        let mut stream = connect(address, OTHER).await.unwrap();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        closed(&mut stream).await.starts_with(b"HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn connections_that_come_too_quickly_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let slow = TrafficLimits { address_connects_per_s: 4, ..TrafficLimits::default() };
    let supernode = guarded(directory.path(), slow, Limits::default()).await;
    for _ in 0..40 {
        drop(connect(supernode.local_addr(), OTHER).await.unwrap());
    }
    counted(&supernode, "pontoon_refused_total{reason=\"address_rate\"}").await;
    assert_eq!(get(supernode.local_addr(), "/healthz").await.status, 200);
}

#[tokio::test]
async fn half_open_and_slow_requests_end_and_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let supernode = guarded(directory.path(), TrafficLimits::default(), limits).await;
    let address = supernode.local_addr();

    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(address, OTHER).await.unwrap());
    }
    let mut slow = connect(address, OTHER).await.unwrap();
    let slowly = async {
        for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: and so on and so on and so on" {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("a header is waited for for ever");
    };
    let meanwhile = async {
        for _ in 0..10 {
            assert_eq!(get(address, "/healthz").await.status, 200);
        }
    };
    tokio::join!(slowly, meanwhile);
    for stream in &mut silent {
        closed(stream).await;
    }
    counted(&supernode, "pontoon_cut_total{reason=\"slow_header\"}").await;
    until("all are forgotten", PATIENCE, || async {
        (metric(&supernode, "pontoon_connections").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_kept_open_ends_and_is_no_offender() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let supernode = guarded(directory.path(), TrafficLimits::default(), limits).await;
    let mut stream = connect(supernode.local_addr(), OTHER).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(closed(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(metric(&supernode, "pontoon_cut_total{reason=\"slow_header\"}").await, 0.0);
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.api.open = true;
    settings.api.limits = ApiLimits { content_timeout: Duration::from_millis(300), ..ApiLimits::default() };
    let supernode = start(settings).await;
    let head = "PUT /v1/kv/notes/a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let mut stream = connect(supernode.local_addr(), OTHER).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let (mut read, mut write) = stream.split();
    let slowly = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = [0; 12];
    let answered = async { read.read_exact(&mut answer).await.unwrap() };
    tokio::select! {
        () = slowly => panic!("closed without an answer"),
        _ = tokio::time::timeout(PATIENCE, answered) => {}
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test]
async fn who_takes_no_answer_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let traffic = TrafficLimits { stall_timeout: Duration::from_millis(300), ..TrafficLimits::default() };
    let supernode = guarded(directory.path(), traffic, Limits::default()).await;
    let mut stream = connect(supernode.local_addr(), OTHER).await.unwrap();
    // Requests go on and on, and answers are not read: the system's buffers fill, and then the supernode waits.
    let request = b"GET /v1/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000);
    let _ = tokio::time::timeout(PATIENCE, stream.write_all(&request)).await;
    counted(&supernode, "pontoon_cut_total{reason=\"stalled\"}").await;
    assert_eq!(get(supernode.local_addr(), "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_flood_is_held_back_and_cut_and_a_quiet_peer_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let traffic =
        TrafficLimits { client_chunks_per_s: 500, flood_patience: Duration::from_secs(1), ..TrafficLimits::default() };
    let supernode = guarded(directory.path(), traffic, Limits::default()).await;
    let link = |number| Peer::link(supernode.local_addr(), None, "test", number);
    let (mut one, mut other) = (link(1).await.unwrap(), link(2).await.unwrap());
    let mut flooder = link(3).await.unwrap();

    let flood = async {
        let frame = relay(flooder.id, flooder.hub, vec![0; 100]);
        let chunk = peer::chunks(&frame).next().unwrap();
        loop {
            let sent = async {
                flooder.socket.feed(chunk.clone()).await?;
                flooder.socket.flush().await
            };
            tokio::select! {
                sent = sent => if sent.is_err() { return },
                () = tokio::time::sleep(PATIENCE) => panic!("neither read nor cut"),
            }
        }
    };
    let meanwhile = async {
        loop {
            one.send(&relay(one.id, other.id, vec![7; 10])).await.unwrap();
            let arrived = async {
                while let Some(frame) = other.next().await {
                    if matches!(frame, Frame::Link(LinkFrame::Relay { .. })) {
                        return;
                    }
                }
                panic!("the quiet one's link ended");
            };
            tokio::time::timeout(PATIENCE, arrived).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = flood => {}
        () = meanwhile => {}
    }
    counted(&supernode, "pontoon_cut_total{reason=\"flood\"}").await;
    assert!(metric(&supernode, "pontoon_held_back_seconds_total").await > 0.5, "held back before it was cut");
    let goodbye = tokio::time::timeout(PATIENCE, async {
        loop {
            match flooder.socket.next().await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| (frame.code, frame.reason.to_string())),
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    });
    // Where its own bytes were in the way, the connection is reset and the goodbye lost.
    if let Some((code, reason)) = goodbye.await.unwrap() {
        assert_eq!(code, CloseCode::Policy);
        assert!(reason.contains("too many messages"), "{reason}");
    }
}

#[tokio::test]
async fn an_oversized_frame_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = guarded(directory.path(), TrafficLimits::default(), Limits::default()).await;
    let mut large = peer::dial(supernode.local_addr(), OTHER).await.unwrap();
    large.send(Message::binary(vec![0; 1 << 20])).await.unwrap();
    while let Some(Ok(_)) = large.next().await {}
    counted(&supernode, "pontoon_cut_total{reason=\"oversized\"}").await;
}

#[tokio::test]
async fn reads_without_the_token_leave_turns_to_those_with_it_and_to_other_addresses() {
    const SECRET: &str = "correct-horse-battery";
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.api.token = Some(Token::new(SECRET).unwrap());
    settings.api.limits =
        ApiLimits { requests_max: 4, content_timeout: Duration::from_secs(5), ..ApiLimits::default() };
    settings.traffic.address_requests_max = 2;
    let supernode = start(settings).await;
    let address = supernode.local_addr();

    // Writes whose content does not come hold their turns: two are all of the address's.
    let bearer = format!("Authorization: Bearer {SECRET}");
    let mut waiting = Vec::new();
    for from in [OTHER, OTHER, None] {
        let mut stream = connect(address, from).await.unwrap();
        let head = format!("PUT /v1/kv/notes/a HTTP/1.1\r\nHost: a\r\n{bearer}\r\nContent-Length: 5\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    let status = async |from| {
        let mut stream = connect(address, from).await.unwrap();
        let head = "GET /v1/kv/notes/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = closed(&mut stream).await;
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().to_owned()
    };
    until("the address has no turn left", PATIENCE, || async { (status(OTHER).await == "429").then_some(()) }).await;
    assert_eq!(status(None).await, "404", "the other address has one left");
    drop(waiting);
    until("turns come back", PATIENCE, || async { (status(OTHER).await == "404").then_some(()) }).await;
    let written = send(address, "PUT", "/v1/kv/notes/a", &[("Authorization", &format!("Bearer {SECRET}"))], b"x").await;
    assert!(written.status < 300, "{written:?}");
}

#[tokio::test]
async fn who_asks_too_quickly_waits_and_others_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let slow = TrafficLimits { address_requests_per_s: 10, ..TrafficLimits::default() };
    let supernode = guarded(directory.path(), slow, Limits::default()).await;
    let address = supernode.local_addr();
    let mut greedy = connect(address, OTHER).await.unwrap();
    let asked = async {
        let begun = Instant::now();
        let mut bytes = vec![0; 4_096];
        for _ in 0..25 {
            greedy.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert!(greedy.read(&mut bytes).await.unwrap() > 0);
        }
        begun.elapsed()
    };
    let took = asked.await;
    assert!(took > Duration::from_millis(300), "25 requests where 20 may come at once and 10 a second: {took:?}");
    counted(&supernode, "pontoon_http_requests_held_back_total").await;
    let begun = Instant::now();
    assert_eq!(get(address, "/healthz").await.status, 200);
    assert!(begun.elapsed() < took, "another address does not wait");
}

#[tokio::test]
async fn a_trusted_proxy_is_no_client_and_says_who_is() {
    let directory = tempfile::tempdir().unwrap();
    let traffic = TrafficLimits {
        address_connections_max: 1,
        trusted_proxies: vec![Ipv4Addr::new(127, 0, 0, 2).into()],
        ..TrafficLimits::default()
    };
    let supernode = guarded(directory.path(), traffic, Limits::default()).await;
    let upgrade = async |client: &str| {
        let mut stream = connect(supernode.local_addr(), OTHER).await.unwrap();
        let request = format!(
            "GET /pontoon HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
             13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Forwarded-For: {client}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        (String::from_utf8_lossy(&answer[9..]).into_owned(), stream)
    };
    let (first, _held) = upgrade("203.0.113.1").await;
    let (second, _) = upgrade("203.0.113.1").await;
    let (third, _) = upgrade("203.0.113.1, 203.0.113.2").await;
    assert_eq!([&first[..], &second, &third], ["101", "503", "101"]);
    counted(&supernode, "pontoon_refused_total{reason=\"address_connections\"}").await;
}

/// The program's own log, as JSON: a cut says whose link it was, where it came from and why.
#[tokio::test]
async fn the_log_says_who_was_cut_and_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut quick = command(directory.path(), "127.0.0.1:0");
    quick.args(["--log-format", "json", "--client-chunks-per-s", "100", "--flood-seconds", "1"]).stderr(Stdio::piped());
    let mut program = Program::run(quick);
    let log = BufReader::new(program.stderr().unwrap());
    let lines = std::thread::spawn(move || {
        let lines = log.lines().map_while(Result::ok);
        lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).expect("a line is JSON")).find(|line| {
            line["fields"]["reason"] == "flood" && line["level"] == "WARN" && line["fields"]["link"].is_u64()
        })
    });
    let mut flooder = Peer::link(program.address, OTHER, "test", 1).await.unwrap();
    while flooder.socket.send(Message::Ping(vec![0; 10].into())).await.is_ok() {}
    let told = tokio::task::spawn_blocking(move || {
        while !lines.is_finished() {
            std::thread::sleep(Duration::from_millis(50));
        }
        lines.join().unwrap()
    });
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap().expect("it is told");
    assert_eq!(told["fields"]["address"], "127.0.0.2", "{told}");
}
