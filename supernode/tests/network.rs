//! Supernodes that dial each other over real sockets form one network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{path::Path, time::Duration};

use common::{settings, start_peer, until};
use pontoon_core::{
    Command, Id, Reply,
    crypto::{Ed25519, Identity as _},
};
use pontoon_supernode::{Store, Supernode};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::watch,
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn linked(one: &Supernode, other: &Supernode) {
    until("linked", PATIENCE, || async {
        one.inspect().await.unwrap().links.iter().any(|link| link.peer == other.id()).then_some(())
    })
    .await;
}

/// A founder and its peers, each linked to it.
async fn network<const N: usize>(directories: [&Path; N]) -> Vec<Supernode> {
    let mut all = vec![Supernode::start(settings(directories[0])).await.unwrap()];
    for directory in &directories[1..] {
        let address = all[0].address();
        all.push(start_peer(directory, &address).await);
    }
    for peer in &all[1..] {
        linked(&all[0], peer).await;
        linked(peer, &all[0]).await;
    }
    all
}

async fn send(from: &Supernode, to: Id, payload: Vec<u8>) -> Result<Reply, pontoon_core::Error> {
    from.call(Command::SendNode { to, payload }).await
}

#[tokio::test]
async fn supernodes_that_dial_each_other_are_one_network() {
    let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let all = network([a.path(), b.path(), c.path()]).await;
    for from in &all {
        for to in &all {
            if from.id() != to.id() {
                assert_eq!(send(from, to.id(), b"hello".to_vec()).await, Ok(Reply::Delivered(to.id())));
            }
        }
    }
    let reached = until("everybody reached", PATIENCE, || async {
        match all[1].call(Command::SendAll { payload: b"all".to_vec() }).await {
            Ok(Reply::Reached { nodes, coverage: 1.0 }) => Some(nodes),
            _ => None,
        }
    })
    .await;
    assert_eq!(reached, 2);

    let name = "greeting".to_owned();
    all[2].call(Command::SetGlobal { name: name.clone(), value: Some(b"hei".to_vec()) }).await.unwrap();
    until("the global is everywhere", PATIENCE, || async {
        let global = all[1].inspect().await.unwrap().globals.get(&name).cloned();
        (global.as_deref() == Some(b"hei")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_network_is_refused_and_the_node_lives_on() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let ours = Supernode::start(settings(a.path())).await.unwrap();
    let mut stranger = settings(b.path());
    stranger.engine.network = "another".to_owned();
    stranger.engine.founder = false;
    stranger.engine.supernodes.push(ours.address());
    let stranger = Supernode::start(stranger).await.unwrap();

    until("the stranger was heard and closed", PATIENCE, || async {
        let health = ours.health().await.unwrap();
        (health.counters.sockets_opened > 0 && health.sockets == 0).then_some(())
    })
    .await;
    for supernode in [&ours, &stranger] {
        let seen = supernode.inspect().await.unwrap();
        assert_eq!((seen.links, seen.peers), (vec![], vec![]));
    }
}

/// Forwards connections to `to`; while told to hold, nothing that comes from `to` goes on.
async fn proxy(to: std::net::SocketAddr) -> (std::net::SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (hold, held) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.unwrap();
            let ((mut near_read, mut near_write), (far_read, mut far_write)) = (near.into_split(), far.into_split());
            let mut held = held.clone();
            tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 16 << 10];
                loop {
                    let _ = held.wait_for(|held| !held).await;
                    far_read.readable().await.unwrap();
                    match far_read.try_read(&mut bytes) {
                        Ok(0) => return,
                        Ok(count) if near_write.write_all(&bytes[..count]).await.is_err() => return,
                        Ok(_) => {}
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(_) => return,
                    }
                }
            });
        }
    });
    (address, hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_and_others_notice_nothing() {
    // The quick one must be no way to the slow one, or what is meant for the slow one would flood it too.
    let (a, b, c) = loop {
        let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [hub, slow, quick] = [&a, &b, &c].map(|directory| id(directory.path()));
        if hub.distance(&slow) < quick.distance(&slow) {
            break (a, b, c);
        }
    };
    let mut tight = settings(a.path());
    tight.limits.queue_bytes_max = 1 << 20;
    // Only the bound of the queue may end the link.
    tight.engine.suspect_after_us = 60_000_000;
    tight.engine.messages_in_flight_first = 400;
    tight.engine.messages_bytes_max = 64 << 20;
    tight.engine.messages_waiting_max = 400;
    let hub = Supernode::start(tight).await.unwrap();
    let (address, hold) = proxy(hub.local_addr()).await;
    let slow = start_peer(b.path(), &format!("ws://{address}/pontoon")).await;
    let quick = start_peer(c.path(), &hub.address()).await;
    for supernode in [&slow, &quick] {
        linked(&hub, supernode).await;
        linked(supernode, &hub).await;
    }
    send(&hub, slow.id(), b"before".to_vec()).await.unwrap();

    hold.send(true).unwrap();
    // The system's buffers take some megabytes before the queue has to.
    let flood = async {
        let messages = (0..400).map(|_| send(&hub, slow.id(), vec![0; 60_000]));
        futures_util::future::join_all(messages).await;
        std::future::pending::<()>().await;
    };
    let meanwhile = async {
        for _ in 0..20 {
            send(&quick, hub.id(), b"still there?".to_vec()).await.unwrap();
        }
    };
    let cut = until("the slow one is cut", PATIENCE, || async {
        (hub.health().await.unwrap().counters.clients_cut > 0).then_some(())
    });
    tokio::select! {
        _ = async { tokio::join!(meanwhile, cut) } => {}
        () = flood => {}
    }
    linked(&hub, &quick).await;
    send(&quick, hub.id(), b"and now?".to_vec()).await.unwrap();
    // The slow one may have come back and been cut again; the quick one was dialled to once and is still there.
    let quick = quick.health().await.unwrap();
    assert_eq!((quick.counters.sockets_opened, quick.sockets), (1, 1));
}

/// The id of the supernode of a directory.
fn id(directory: &Path) -> Id {
    Ed25519::from_seed(&Store::open(directory).unwrap().seed).id()
}
