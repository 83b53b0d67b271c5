//! What was acknowledged is on the supernode's disk, whatever happens to its process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{collections::BTreeMap, time::Duration};

use common::{Program, get, settings, start_peer, until};
use pontoon_core::{
    Command, Reply,
    store::{Action, Expect, KeyOp, Outcome},
};
use pontoon_supernode::Supernode;

const NAMESPACE: &str = "ledger";
const PATIENCE: Duration = Duration::from_secs(60);
/// Well below the time after which a survivor goes on without the other, and acknowledges alone.
const DEADLINE_US: u64 = 5_000_000;

fn op(key: u32, action: Action) -> KeyOp {
    KeyOp { namespace: NAMESPACE.to_owned(), locality_bits: 0, key: key.to_be_bytes().to_vec(), action }
}

fn value(key: u32) -> Vec<u8> {
    format!("entry {key}").into_bytes()
}

async fn run(supernode: &Supernode, ops: Vec<KeyOp>) -> Vec<Outcome> {
    match supernode.call(Command::Keys { ops, deadline_us: Some(DEADLINE_US) }).await {
        Ok(Reply::Keys(outcomes, _)) => outcomes,
        other => panic!("{other:?}"),
    }
}

async fn put(supernode: &Supernode, keys: std::ops::Range<u32>) -> Vec<u32> {
    let put = |key| op(key, Action::Put { value: value(key), expect: Expect::Any, ttl_us: None });
    let outcomes = run(supernode, keys.clone().map(put).collect()).await;
    keys.zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Stored { .. })).map(|(key, _)| key).collect()
}

/// Reads keys until every one is found; a key that is known to be absent, or has another value, fails the test.
async fn read_all(supernode: &Supernode, keys: &[u32]) {
    let mut missing: BTreeMap<u32, ()> = keys.iter().map(|key| (*key, ())).collect();
    let start = std::time::Instant::now();
    while !missing.is_empty() {
        assert!(start.elapsed() < PATIENCE, "{} of {} keys are not reached", missing.len(), keys.len());
        let asked: Vec<u32> = missing.keys().copied().collect();
        let outcomes = run(supernode, asked.iter().map(|key| op(*key, Action::Get)).collect()).await;
        for (key, outcome) in asked.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Found { value: found, .. } if found == value(key) => missing.remove(&key),
                Outcome::Unreachable => None,
                lost => panic!("key {key} was acknowledged, and now: {lost:?}"),
            };
        }
    }
}

/// Two peers are a group of two: from then on each acknowledged write is on both disks.
async fn both_hold_the_key_space(peer: &Supernode) {
    until("both hold the key space", PATIENCE, || async {
        let fragments = peer.inspect().await.unwrap().fragments;
        let held: f64 = fragments.iter().filter(|part| part.members.len() == 2).map(|part| part.share).sum();
        (held == 1.0).then_some(())
    })
    .await;
}

/// Records of the ledger that the program says it holds.
async fn held(program: &Program) -> u64 {
    let inspect = get(program.address, "/v1/inspect").await.json();
    let namespaces = inspect["store"]["namespaces"].as_array().unwrap().clone();
    let ours = namespaces.iter().find(|namespace| namespace["namespace"] == NAMESPACE);
    ours.map_or(0, |namespace| namespace["records"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_survive_kill_9() {
    let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let program = Program::start(a.path());
    let listen = program.address.to_string();
    let writer = start_peer(b.path(), &program.socket_address()).await;
    both_hold_the_key_space(&writer).await;
    let mut acknowledged = put(&writer, 0..300).await;
    assert_eq!(acknowledged.len(), 300);

    // Killed in the middle of writing: what is acknowledged until the deadline is on both disks all the same.
    let (more, ()) = tokio::join!(put(&writer, 300..2_000), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        program.kill();
    });
    acknowledged.extend(more);

    let program = Program::start_at(a.path(), &listen);
    let on_disk = held(&program).await;
    assert!(on_disk >= acknowledged.len() as u64, "{on_disk} of {} acknowledged records", acknowledged.len());
    let reader = start_peer(c.path(), &program.socket_address()).await;
    read_all(&reader, &acknowledged).await;
    reader.shutdown().await;
    writer.shutdown().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let program = Program::start_on_a_small_disk(a.path());
    let listen = program.address.to_string();
    let writer = start_peer(b.path(), &program.socket_address()).await;
    both_hold_the_key_space(&writer).await;
    let acknowledged = put(&writer, 0..100).await;
    assert_eq!(acknowledged.len(), 100);

    let large = |key| op(key, Action::Put { value: vec![1; 100_000], expect: Expect::Any, ttl_us: None });
    let outcomes = run(&writer, (1_000..1_200).map(large).collect()).await;
    let stored = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Stored { .. })).count();
    assert!(stored < 150, "{stored} of 200 large records are said to be on a disk that takes some 80");
    let health = get(program.address, "/healthz").await.json();
    assert!(health["counters"]["batchesFailed"].as_u64().unwrap() > 0, "{health}");

    // With room again, it goes on where it was.
    program.kill();
    let program = Program::start_at(a.path(), &listen);
    let on_disk = held(&program).await;
    assert!(on_disk >= 100 + stored as u64, "{on_disk} records of {}", 100 + stored);
    read_all(&writer, &acknowledged).await;
    writer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_one_remembers() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let supernode = Supernode::start(settings(directory.path())).await.unwrap();
        let keys: Vec<u32> = (0..100).collect();
        if round == 0 {
            assert_eq!(put(&supernode, 0..100).await, keys);
        } else {
            read_all(&supernode, &keys).await;
        }
        supernode.shutdown().await;
    }
}
