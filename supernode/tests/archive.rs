//! An archive among supernodes, all of them programs that are killed: it has everything when it is the only one left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{net::SocketAddr, path::Path, time::Duration};

use common::{Program, command, get, send, until};
use futures_util::{StreamExt as _, stream};

const KEYS: usize = 500;

fn run(directory: &Path, listen: &str, flags: &[&str]) -> Program {
    let mut program = command(directory, listen);
    program.arg("--open").args(flags);
    Program::run(program)
}

fn path(number: usize) -> String {
    format!("/v1/kv/shop/key-{number}")
}

/// The share of the key space of which a node has a copy in step.
async fn share(node: SocketAddr) -> f64 {
    let ring = get(node, "/v1/ring").await.json();
    let replicas = ring["replicas"].as_array().unwrap().iter();
    let held = replicas.filter(|it| it["inStep"] == true && (it["state"] == "active" || it["state"] == "member"));
    held.map(|it| it["share"].as_f64().unwrap()).sum()
}

async fn whole(node: SocketAddr) {
    until("a copy of everything", Duration::from_secs(90), || async { (share(node).await >= 1.0).then_some(()) }).await;
}

async fn readable(node: SocketAddr) {
    let one = |number: usize| async move {
        until("readable", Duration::from_secs(90), || async move {
            let read = get(node, &path(number)).await;
            assert_ne!(read.status, 404, "key {number} is lost");
            (read.status == 200 && read.body == number.to_string().as_bytes()).then_some(())
        })
        .await;
    };
    stream::iter(0..KEYS).for_each_concurrent(32, one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_everything_when_all_others_are_killed() {
    let directories: Vec<_> = (0..6).map(|_| tempfile::tempdir().unwrap()).collect();
    let archive = run(directories[0].path(), "127.0.0.1:0", &["--archive"]);
    let dialled = format!("ws://{}/pontoon", archive.address);
    let others: Vec<Program> =
        directories[1..].iter().map(|directory| run(directory.path(), "127.0.0.1:0", &["--peer", &dialled])).collect();
    // Who has everything beside the archive is chance; that all have is not.
    let least = || async {
        let shares: Vec<f64> = stream::iter(&others).then(|other| share(other.address)).collect().await;
        shares.into_iter().fold(1.0, f64::min)
    };
    until("six that share", Duration::from_secs(90), || async { (least().await < 0.9).then_some(()) }).await;
    whole(archive.address).await;
    let put = |number: usize| {
        let node = others[number % others.len()].address;
        async move {
            let headers = [("Content-Type", "application/json")];
            let put = send(node, "PUT", &path(number), &headers, number.to_string().as_bytes()).await;
            assert!([200, 201].contains(&put.status), "{}", put.status);
        }
    };
    stream::iter(0..KEYS).for_each_concurrent(32, put).await;
    assert!(least().await < 0.9, "the others do not have everything");

    // Three others may have acknowledged what it is yet to have.
    until("all of it on its disk", Duration::from_secs(30), || async {
        let health = get(archive.address, "/healthz").await.json();
        (health["records"].as_u64() >= Some(KEYS as u64) && health["diskPendingBytes"] == 0).then_some(())
    })
    .await;
    // It is killed itself first: the others go on without it, and have not taken it in again when they are killed.
    let listen = archive.address.to_string();
    archive.kill();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let archive = run(directories[0].path(), &listen, &["--archive"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    others.into_iter().for_each(Program::kill);
    readable(archive.address).await;
    whole(archive.address).await;
}
