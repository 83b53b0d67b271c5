//! The server's bounds, by datagrams of real sockets.

use turn_server_proto::types::{
    attribute::{Data, RequestedTransport, XorPeerAddress},
    message::SEND,
    stun::{
        attribute::{ErrorCode, Nonce, Realm},
        message::{IntegrityAlgorithm, LongTermKeyCredentials, MessageType, MessageWriteVec, Method, TransactionId},
        prelude::{MessageWrite as _, MessageWriteExt as _},
    },
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server of this machine, for this machine.
async fn server(settings: ReachSettings) -> Turn {
    start(([127, 0, 0, 1], 0).into(), &ReachSettings { turn_private: true, ..settings }).await.unwrap()
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Success,
    /// An error with this code.
    Error(u16),
    /// The server did not let the protocol see it.
    Nothing,
}

use Answer::{Error, Nothing, Success};

/// Asks from one address.
struct Client {
    socket: UdpSocket,
    nonce: String,
}

impl Client {
    async fn at(ip: impl Into<IpAddr>, turn: &Turn) -> Client {
        let socket = UdpSocket::bind((ip.into(), 0)).await.unwrap();
        socket.connect(("127.0.0.1", turn.ports.udp.unwrap())).await.unwrap();
        Client { socket, nonce: String::new() }
    }

    /// What is answered to a request. After it a Binding request is sent, which is always answered: when that answer comes
    /// first, there is none to the other.
    async fn ask(&mut self, request: &[u8]) -> Answer {
        let binding = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
        self.socket.send(request).await.unwrap();
        self.socket.send(&binding).await.unwrap();
        let answer = self.next().await;
        if answer[4..20] == binding[4..20] {
            return Nothing;
        }
        assert_eq!(answer[4..20], request[4..20], "the answer to this request");
        assert_eq!(self.next().await[4..20], binding[4..20]);
        let answer = Message::from_bytes(&answer).unwrap();
        if let Ok(nonce) = answer.attribute::<Nonce>() {
            self.nonce = nonce.nonce().to_owned();
        }
        match answer.attribute::<ErrorCode>() {
            Ok(error) => Error(error.code()),
            Err(_) => Success,
        }
    }

    async fn next(&self) -> Vec<u8> {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        let length = tokio::time::timeout(PATIENCE, self.socket.recv(&mut buffer)).await.expect("an answer").unwrap();
        buffer[..length].to_vec()
    }

    /// A request with the credentials of now, and whatever `more` adds.
    fn signed(&self, turn: &Turn, method: Method, more: impl FnOnce(&mut MessageWriteVec)) -> Vec<u8> {
        let known = turn.credentials.borrow().clone().unwrap();
        let mut request = Message::builder_request(method, MessageWriteVec::new());
        request.add_attribute(&Username::new(&known.username).unwrap()).unwrap();
        request.add_attribute(&Realm::new(REALM).unwrap()).unwrap();
        request.add_attribute(&Nonce::new(&self.nonce).unwrap()).unwrap();
        more(&mut request);
        let credentials = LongTermKeyCredentials::new(known.username, known.password, REALM.to_owned());
        request.add_message_integrity(&credentials.into(), IntegrityAlgorithm::Sha1).unwrap();
        request.finish()
    }

    /// Asks for an allocation, first for a nonce.
    async fn allocate(&mut self, turn: &Turn) -> Answer {
        assert_eq!(self.ask(&bare(ALLOCATE)).await, Error(401), "who is nobody is told how to be somebody");
        self.ask(&self.signed(turn, ALLOCATE, for_udp)).await
    }

    /// Asks to hear from these.
    fn permission(&self, turn: &Turn, peers: impl Iterator<Item = SocketAddr>) -> Vec<u8> {
        self.signed(turn, CREATE_PERMISSION, |request| {
            for peer in peers {
                let of = request.transaction_id();
                request.add_attribute(&XorPeerAddress::new(peer, of)).unwrap();
            }
        })
    }
}

fn for_udp(request: &mut MessageWriteVec) {
    request.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
}

/// A request of nobody.
fn bare(method: Method) -> Vec<u8> {
    Message::builder_request(method, MessageWriteVec::new()).finish()
}

/// Many addresses of this machine.
fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + number as u32)
}

#[tokio::test]
async fn who_asks_too_often_is_not_heard() {
    let turn = server(ReachSettings::default()).await;
    let (mut eager, mut other) = (Client::at([127, 0, 0, 1], &turn).await, Client::at([127, 0, 0, 1], &turn).await);
    for time in 0..ASKED_MAX {
        assert_eq!(eager.ask(&bare(ALLOCATE)).await, Error(401), "{time}");
    }
    assert_eq!(eager.ask(&bare(ALLOCATE)).await, Nothing);
    assert_eq!(eager.ask(&bare(CREATE_PERMISSION)).await, Nothing, "whatever it asks for");
    assert_eq!(turn.figures.now().allocations_refused, 2);
    // Binding requests are not counted, as `ask` shows; nor does one port's eagerness count for another's.
    assert_eq!(other.allocate(&turn).await, Success);
}

/// All of 127.0.0.0/8 is this machine on Linux only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_table_of_who_asked_is_bounded() {
    async fn fill(turn: &Turn, from: usize, count: usize) {
        for number in from..from + count {
            let answer = Client::at(address(number), turn).await.ask(&bare(ALLOCATE)).await;
            assert_eq!(answer, Error(401), "{number}");
        }
    }
    let turn = server(ReachSettings::default()).await;
    let mut eager = Client::at([127, 0, 0, 1], &turn).await;
    while eager.ask(&bare(ALLOCATE)).await != Nothing {}
    fill(&turn, 0, SOURCES_MAX - 1).await;
    assert_eq!(eager.ask(&bare(ALLOCATE)).await, Nothing, "remembered among as many as there may be");
    // One more: nobody has an allocation, so all are forgotten. Credentials are not.
    let mut holder = Client::at([127, 0, 0, 1], &turn).await;
    assert_eq!(holder.allocate(&turn).await, Success);
    assert_eq!(eager.ask(&bare(ALLOCATE)).await, Error(401), "forgotten");

    // Now somebody would miss what is known: nobody new is heard.
    fill(&turn, SOURCES_MAX, SOURCES_MAX - 2).await;
    let mut late = Client::at([127, 0, 0, 1], &turn).await;
    assert_eq!(late.ask(&bare(ALLOCATE)).await, Nothing);
    assert_eq!(eager.ask(&bare(ALLOCATE)).await, Error(401), "who is known is heard");
    let peer = SocketAddr::from(([127, 0, 0, 1], 9));
    assert_eq!(holder.ask(&holder.permission(&turn, [peer].into_iter())).await, Success, "and served");
}

#[tokio::test]
async fn a_request_for_permissions_has_a_size() {
    let turn = server(ReachSettings::default()).await;
    let mut client = Client::at([127, 0, 0, 1], &turn).await;
    assert_eq!(client.allocate(&turn).await, Success);
    let of = |count: u16| client.permission(&turn, (1..=count).map(|port| ([127, 0, 0, 1], port).into()));
    let most = (1..).take_while(|count| of(*count).len() <= PERMISSION_BYTES_MAX).last().unwrap();
    let (fits, exceeds) = (of(most), of(most + 1));
    assert!(most >= 10, "browsers ask for one at a time: {most}");
    assert_eq!(client.ask(&fits).await, Success);
    assert_eq!(client.ask(&exceeds).await, Nothing);
    assert_eq!(turn.figures.now().allocations_refused, 1);
}

#[tokio::test]
async fn nobody_hides_behind_a_hash() {
    let turn = server(ReachSettings::default()).await;
    let mut client = Client::at([127, 0, 0, 1], &turn).await;
    assert_eq!(client.ask(&bare(ALLOCATE)).await, Error(401));
    let name = turn.credentials.borrow().clone().unwrap().username;
    let hash = Userhash::new(Userhash::compute(&name, REALM));
    let mut alone = Message::builder_request(ALLOCATE, MessageWriteVec::new());
    alone.add_attribute(&hash).unwrap();
    assert_eq!(client.ask(&alone.finish()).await, Nothing, "instead of a name");
    // The protocol would believe the hash, and not look at the name.
    let beside = client.signed(&turn, ALLOCATE, |request| {
        for_udp(request);
        request.add_attribute(&hash).unwrap();
    });
    assert_eq!(client.ask(&beside).await, Nothing, "beside a name that is good");
    assert_eq!(turn.figures.now().allocations_made, 0);
    assert_eq!(client.allocate(&turn).await, Success);
}

#[tokio::test]
async fn allocations_are_counted_by_address_and_in_all() {
    const INSUFFICIENT_CAPACITY: u16 = 508;
    let settings = ReachSettings { allocations_max: 3, allocations_address_max: 2, ..ReachSettings::default() };
    let turn = server(settings).await;
    let mut held = Vec::new();
    for expected in [Success, Success, Error(INSUFFICIENT_CAPACITY)] {
        let mut client = Client::at([127, 0, 0, 1], &turn).await;
        assert_eq!(client.allocate(&turn).await, expected);
        held.push(client);
    }
    assert_eq!(turn.figures.now().allocations, 2);
    #[cfg(target_os = "linux")]
    for (number, expected) in [(1, Success), (2, Error(INSUFFICIENT_CAPACITY))] {
        let mut client = Client::at(address(number), &turn).await;
        assert_eq!(client.allocate(&turn).await, expected, "another address");
        held.push(client);
    }
}

#[tokio::test]
async fn what_an_allocation_carries_is_bounded() {
    const BYTES: usize = 1_000;
    const SENT: u64 = 40;
    let turn = server(ReachSettings { allocation_bytes_per_s: 10 * BYTES as u64, ..ReachSettings::default() }).await;
    let mut client = Client::at([127, 0, 0, 1], &turn).await;
    assert_eq!(client.allocate(&turn).await, Success);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = peer.local_addr().unwrap();
    assert_eq!(client.ask(&client.permission(&turn, [to].into_iter())).await, Success);
    let began = Instant::now();
    for _ in 0..SENT {
        let kind = MessageType::from_class_method(MessageClass::Indication, SEND);
        let mut indication = Message::builder(kind, TransactionId::generate(), MessageWriteVec::new());
        let of = indication.transaction_id();
        indication.add_attribute(&XorPeerAddress::new(to, of)).unwrap();
        indication.add_attribute(&Data::new(&[7; BYTES])).unwrap();
        client.socket.send(&indication.finish()).await.unwrap();
    }
    // When this is answered, those before it are done with.
    assert_eq!(client.ask(&bare(ALLOCATE)).await, Error(401));
    let windows = began.elapsed().as_secs() + 2;
    let mut arrived = 0;
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    while let Ok(length) = peer.try_recv(&mut buffer) {
        assert_eq!(length, BYTES);
        arrived += 1;
    }
    assert!(arrived >= 10 && arrived <= 10 * windows, "{arrived} in {windows} windows at most");
    assert_eq!(turn.figures.now().dropped, SENT - arrived);
}
