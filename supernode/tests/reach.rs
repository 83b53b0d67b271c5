//! STUN, TURN and data channels of supernodes, by real datagrams; TURN's client is the crate `webrtc`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use common::{dial, settings, start_peer, until};
use futures_util::StreamExt as _;
use pontoon_core::{Command, Reply};
use pontoon_supernode::{Settings, Supernode, Turned};
use serde_json::Value;
use tokio::{net::UdpSocket, sync::mpsc, time::timeout};
use tokio_tungstenite::tungstenite::Message;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceServer,
        RTCIceTransportPolicy, RTCPeerConnectionIceEvent,
    },
};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a supernode tells who dials it.
async fn told(supernode: &Supernode) -> Value {
    let mut socket = dial(&supernode.address()).await;
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            _ => continue,
        }
    }
}

/// Asks for the outer address of a socket: a Binding request and its XOR-MAPPED-ADDRESS (RFC 8489, sections 6 and 14.2).
async fn binding(socket: &UdpSocket, port: u16) -> SocketAddr {
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(&[7; 12]);
    socket.send_to(&request, ("127.0.0.1", port)).await.unwrap();
    let mut buffer = [0; 512];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer").unwrap();
    let answer = &buffer[..length];
    assert_eq!((&answer[..2], &answer[8..20]), (&[1, 1][..], &[7; 12][..]), "a success response to this request");
    let mut rest = &answer[20..];
    while rest.len() >= 4 {
        let (kind, size) =
            (u16::from_be_bytes([rest[0], rest[1]]), usize::from(u16::from_be_bytes([rest[2], rest[3]])));
        if kind == 0x20 {
            let value = &rest[4..4 + size];
            let port = u16::from_be_bytes([value[2] ^ 0x21, value[3] ^ 0x12]);
            let ip = [value[4] ^ 0x21, value[5] ^ 0x12, value[6] ^ 0xa4, value[7] ^ 0x42];
            return SocketAddr::from((ip, port));
        }
        rest = &rest[4 + size.next_multiple_of(4)..];
    }
    panic!("no address in {answer:?}");
}

#[tokio::test]
async fn who_dials_is_told_where_stun_answers() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = Supernode::start(settings(directory.path())).await.unwrap();
    let told = told(&supernode).await;
    assert_eq!(told["udp"].as_u64(), supernode.turn_port().map(u64::from));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let own = socket.local_addr().unwrap();
    for port in [&told["udp"], &told["stun"]] {
        // The other port is there if it was free.
        let Some(port) = port.as_u64() else { continue };
        assert_eq!(binding(&socket, port as u16).await, own);
    }
    supernode.shutdown().await;
}

#[tokio::test]
async fn without_turn_nothing_of_it_is_told_and_nothing_answers() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.reach.turn = false;
    settings.reach.public = Some("wss://sn.example.org/pontoon".to_owned());
    let supernode = Supernode::start(settings).await.unwrap();
    let public = "wss://sn.example.org/pontoon";
    assert_eq!(told(&supernode).await, serde_json::json!({ "public": public, "supernodes": [public] }));
    assert_eq!(supernode.turn_port(), None);
    supernode.shutdown().await;
}

#[tokio::test]
async fn supernodes_are_told_of_one_another() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut first = settings(one.path());
    first.reach.turn_listen = Some(([127, 0, 0, 1], 0).into());
    first.reach.public = Some("ws://first.example.org/pontoon".to_owned());
    let first = Supernode::start(first).await.unwrap();
    let mut second = settings(two.path());
    second.engine.founder = false;
    second.engine.supernodes.push(first.address());
    second.reach.public = Some("ws://second.example.org/pontoon".to_owned());
    let second = Supernode::start(second).await.unwrap();
    until("the second tells of both", PATIENCE, || async {
        let told = told(&second).await;
        let both = ["ws://second.example.org/pontoon", "ws://first.example.org/pontoon"];
        (told["supernodes"] == serde_json::json!(both)).then_some(())
    })
    .await;
    second.shutdown().await;
    first.shutdown().await;
}

/// One end of a connection that may only go over TURN.
struct End {
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    candidates: mpsc::UnboundedReceiver<RTCPeerConnectionIceEvent>,
}

struct Handler(mpsc::UnboundedSender<RTCPeerConnectionIceEvent>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let _ = self.0.send(event);
    }
}

impl End {
    async fn new(told: &Value, policy: RTCIceTransportPolicy) -> End {
        let (candidates_in, candidates) = mpsc::unbounded_channel();
        let server = RTCIceServer {
            urls: vec![format!("turn:127.0.0.1:{}?transport=udp", told["udp"])],
            username: told["username"].as_str().unwrap().to_owned(),
            credential: told["credential"].as_str().unwrap().to_owned(),
        };
        let configuration =
            RTCConfigurationBuilder::new().with_ice_servers(vec![server]).with_ice_transport_policy(policy).build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_handler(Arc::new(Handler(candidates_in)))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await
            .unwrap();
        let init = RTCDataChannelInit { negotiated: Some(0), ..RTCDataChannelInit::default() };
        let channel = connection.create_data_channel("test", Some(init)).await.unwrap();
        End { connection: Arc::new(connection), channel, candidates }
    }
}

/// Connects two ends; whether both opened.
async fn connect(one: &mut End, other: &mut End) -> bool {
    let offer = one.connection.create_offer(None).await.unwrap();
    one.connection.set_local_description(offer.clone()).await.unwrap();
    other.connection.set_remote_description(offer).await.unwrap();
    let answer = other.connection.create_answer(None).await.unwrap();
    other.connection.set_local_description(answer.clone()).await.unwrap();
    one.connection.set_remote_description(answer).await.unwrap();
    let (a, b) = (Arc::clone(&one.connection), Arc::clone(&other.connection));
    let trickle = async {
        loop {
            tokio::select! {
                Some(event) = one.candidates.recv() => {
                    let _ = b.add_ice_candidate(event.candidate.to_json().unwrap()).await;
                }
                Some(event) = other.candidates.recv() => {
                    let _ = a.add_ice_candidate(event.candidate.to_json().unwrap()).await;
                }
                else => std::future::pending().await,
            }
        }
    };
    let (first, second) = (Arc::clone(&one.channel), Arc::clone(&other.channel));
    let opened = |channel: Arc<dyn DataChannel>| async move {
        let open = async {
            while let Some(event) = channel.poll().await {
                if matches!(event, DataChannelEvent::OnOpen) {
                    return true;
                }
            }
            false
        };
        timeout(Duration::from_secs(12), open).await.unwrap_or(false)
    };
    tokio::select! {
        both = async { tokio::join!(opened(first), opened(second)) } => both.0 && both.1,
        () = trickle => false,
    }
}

async fn turned(supernode: &Supernode) -> Turned {
    supernode.health().await.unwrap().turn.unwrap()
}

/// A supernode whose TURN serves this machine.
fn private(mut settings: Settings) -> Settings {
    settings.reach.turn_private = true;
    settings
}

#[tokio::test]
async fn what_goes_over_turn_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = Supernode::start(private(settings(directory.path()))).await.unwrap();
    let told = told(&supernode).await;
    let (mut one, mut other) =
        (End::new(&told, RTCIceTransportPolicy::Relay).await, End::new(&told, RTCIceTransportPolicy::Relay).await);
    assert!(connect(&mut one, &mut other).await, "a connection from relay to relay");
    for number in 0..50_u8 {
        one.channel.send(BytesMut::from(&[number; 1_000][..])).await.unwrap();
    }
    for number in 0..50_u8 {
        let arrived = timeout(PATIENCE, async {
            loop {
                match other.channel.poll().await {
                    Some(DataChannelEvent::OnMessage(message)) => return message.data.to_vec(),
                    Some(_) => {}
                    None => panic!("the channel closed"),
                }
            }
        });
        assert_eq!(arrived.await.unwrap(), [number; 1_000]);
    }
    one.connection.close().await.unwrap();
    other.connection.close().await.unwrap();
    supernode.shutdown().await;
}

#[tokio::test]
async fn turn_sends_to_no_private_address_and_knows_no_old_credentials() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let closed = Supernode::start(settings(one.path())).await.unwrap();
    let told_closed = told(&closed).await;
    let (mut first, mut second) = (
        End::new(&told_closed, RTCIceTransportPolicy::Relay).await,
        End::new(&told_closed, RTCIceTransportPolicy::All).await,
    );
    assert!(!connect(&mut first, &mut second).await, "a relay into this machine");
    assert!(turned(&closed).await.dropped > 0, "what it was to send there");

    let mut brief = private(settings(two.path()));
    brief.reach.credentials = Duration::from_secs(2);
    let brief = Supernode::start(brief).await.unwrap();
    let old = told(&brief).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let new = told(&brief).await;
    assert_ne!(old["username"], new["username"], "credentials are renewed");
    let mut second = End::new(&new, RTCIceTransportPolicy::All).await;
    let mut first = End::new(&new, RTCIceTransportPolicy::Relay).await;
    assert!(connect(&mut first, &mut second).await, "the same with credentials of now, where it may");
    assert_eq!(turned(&brief).await.allocations_refused, 0);
    let (mut first, mut second) =
        (End::new(&old, RTCIceTransportPolicy::Relay).await, End::new(&old, RTCIceTransportPolicy::All).await);
    assert!(!connect(&mut first, &mut second).await, "credentials that have expired");
    assert!(turned(&brief).await.allocations_refused > 0);
    closed.shutdown().await;
    brief.shutdown().await;
}

#[tokio::test]
async fn supernodes_open_data_channels_to_one_another() {
    let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let home = Supernode::start(settings(a.path())).await.unwrap();
    let (one, other) = (start_peer(b.path(), &home.address()).await, start_peer(c.path(), &home.address()).await);
    let over = |from: Arc<Supernode>, to: pontoon_core::Id| async move {
        from.inspect().await.unwrap().links.iter().find(|link| link.peer == to).map(|link| link.transport)
    };
    let (one, other) = (Arc::new(one), Arc::new(other));
    for (from, to) in [(&one, other.id()), (&other, one.id())] {
        until("a data channel", PATIENCE, || async {
            (over(Arc::clone(from), to).await == Some("webrtc")).then_some(())
        })
        .await;
    }
    // What is longer than a chunk goes over it, both ways, and in order.
    for (from, to) in [(&one, other.id()), (&other, one.id())] {
        for number in 0..20_u8 {
            let payload = vec![number; 50_000];
            assert_eq!(from.call(Command::SendNode { to, payload }).await, Ok(Reply::Delivered(to)));
        }
    }
    let health = one.health().await.unwrap();
    assert!(health.counters.channels_opened >= 1 && health.webrtc >= 1, "{health:?}");
    for supernode in [one, other] {
        Arc::into_inner(supernode).unwrap().shutdown().await;
    }
    home.shutdown().await;
}
