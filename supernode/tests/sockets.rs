//! The sockets of a supernode in this process: HTTP, and WebSockets that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::time::Duration;

use common::{dial, get, settings, until};
use futures_util::{SinkExt as _, StreamExt as _};
use pontoon_core::{
    overlay::{Hello, LinkFrame, Refusal, Want},
    wire::{Chunks, Frame, PLAN_VERSION, WIRE_OLDEST, WIRE_VERSION, cut, decode, encode},
};
use pontoon_supernode::{Limits, Supernode};
use tokio_tungstenite::tungstenite::{self, Message, protocol::frame::coding::CloseCode};

/// The code that a socket is closed with; `None` if it just ends.
async fn closed_with(socket: &mut common::Socket) -> Option<CloseCode> {
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    None
}

#[tokio::test]
async fn pages_and_health() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = Supernode::start(settings(directory.path())).await.unwrap();
    let address = supernode.local_addr();

    // The demo page, or the one that says how to build it.
    let index = get(address, "/").await;
    assert_eq!(index.status, 200);
    assert!(index.head.contains("content-type: text/html"), "{}", index.head);
    assert_eq!(get(address, "/no/such/file").await.status, 404);
    assert_eq!(get(address, "/pontoon").await.status, 426, "the socket's path wants an upgrade");

    let health = get(address, "/healthz").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json()["status"], "ok");
    assert_eq!(health.json()["id"], supernode.id().to_string());
    assert_eq!(health.json()["network"], "test");
    supernode.shutdown().await;
}

#[tokio::test]
async fn misbehaving_sockets_are_closed_and_the_node_lives_on() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = Supernode::start(settings(directory.path())).await.unwrap();

    let mut text = dial(&supernode.address()).await;
    text.send(Message::text("{\"hello\":1}")).await.unwrap();
    assert_eq!(closed_with(&mut text).await, Some(CloseCode::Unsupported));

    let mut large = dial(&supernode.address()).await;
    large.send(Message::binary(vec![0; 100_000])).await.unwrap();
    assert_eq!(closed_with(&mut large).await, Some(CloseCode::Size));

    // A good socket, opened before the next bad one, is none the worse for it.
    let mut good = dial(&supernode.address()).await;
    let mut unmasked = tokio::net::TcpStream::connect(supernode.local_addr()).await.unwrap();
    raw_unmasked_frame(&mut unmasked).await;
    good.send(Message::Ping(vec![1, 2].into())).await.unwrap();
    let answered = async {
        loop {
            match good.next().await {
                Some(Ok(Message::Pong(bytes))) => return bytes,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(answered.await[..], [1, 2]);
    assert_eq!(supernode.health().await.unwrap().status, "ok");
    supernode.shutdown().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_by_the_engine() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = Supernode::start(settings(directory.path())).await.unwrap();
    let hello = |network: &str, wire| {
        Frame::Link(LinkFrame::Hello(Hello {
            wire,
            plan: PLAN_VERSION,
            network: network.to_owned(),
            public_key: vec![7; 32],
            nonce: [7; 16],
            supernode: false,
            direct_links: false,
            established: false,
            want: Want::Sibling,
            wall_us: 0,
        }))
    };
    for (frame, reason) in
        [(hello("another", WIRE_VERSION), Refusal::Network), (hello("test", WIRE_OLDEST - 1), Refusal::Version)]
    {
        let mut socket = dial(&supernode.address()).await;
        for chunk in cut(&encode(&frame), 16 << 10) {
            socket.send(Message::binary(chunk)).await.unwrap();
        }
        let mut refused = None;
        while let Some(Ok(message)) = socket.next().await {
            let Message::Binary(chunk) = message else { continue };
            for frame in Chunks::default().push(&chunk, 1 << 20) {
                if let Frame::Link(LinkFrame::Refuse(refusal)) = decode(&frame.unwrap()).unwrap() {
                    refused = Some(refusal);
                }
            }
        }
        assert_eq!(refused, Some(reason), "and then the socket ends");
    }
    for garbage in [&[][..], &[0], &[9; 100], &[0, 1, 255, 255, 255, 255, 255, 255, 255, 255]] {
        let mut socket = dial(&supernode.address()).await;
        socket.send(Message::binary(garbage.to_vec())).await.unwrap();
        assert_eq!(closed_with(&mut socket).await, Some(CloseCode::Normal), "{garbage:?}");
    }
    until("all are forgotten", Duration::from_secs(5), || async {
        (supernode.health().await.unwrap().sockets == 0).then_some(())
    })
    .await;
    supernode.shutdown().await;
}

/// Upgrades by hand and sends a frame as only servers may.
async fn raw_unmasked_frame(stream: &mut tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let request = "GET /pontoon HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(&[0x82, 1, 0]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    let protocol_error = 1002_u16.to_be_bytes();
    assert!(answer.ends_with(&protocol_error), "closed for breaking the protocol: {answer:?}");
}

#[tokio::test]
async fn one_client_too_many_is_refused_until_another_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.limits = Limits { clients_max: 2, ..Limits::default() };
    let supernode = Supernode::start(settings).await.unwrap();
    let address = supernode.address();
    let (first, _second) = (dial(&address).await, dial(&address).await);
    match tokio_tungstenite::connect_async(&address).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    assert_eq!(get(supernode.local_addr(), "/healthz").await.status, 200, "pages are still served");
    drop(first);
    until("a seat is free again", Duration::from_secs(5), || async {
        tokio_tungstenite::connect_async(&address).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_request_that_never_comes_is_not_waited_for() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.limits.request_timeout = Duration::from_millis(200);
    let supernode = Supernode::start(settings).await.unwrap();
    let mut stream = tokio::net::TcpStream::connect(supernode.local_addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection is still open");
}
