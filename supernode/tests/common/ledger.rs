//! A ledger of numbered entries that a peer in this process writes and reads, and how it lies on a disk.

use std::{collections::BTreeMap, ops::Range, path::Path, time::Duration};

use pontoon_core::{
    Command, Reply,
    store::{Action, Expect, KeyOp, Outcome, disk::record_key},
};
use pontoon_supernode::{Store, Supernode};

use super::{Program, get, until};

pub const NAMESPACE: &str = "ledger";
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Well below the time after which a survivor goes on without the other, and acknowledges alone.
const DEADLINE: Duration = Duration::from_secs(5);

pub fn op(key: u32, action: Action) -> KeyOp {
    KeyOp { namespace: NAMESPACE.to_owned(), locality_bits: 0, key: key.to_be_bytes().to_vec(), action, proof: None }
}

pub fn put_op(key: u32, value: Vec<u8>) -> KeyOp {
    op(key, Action::Put { value, expect: Expect::Any, ttl_us: None })
}

pub fn value(key: u32) -> Vec<u8> {
    format!("entry {key}.").into_bytes()
}

pub async fn run(supernode: &Supernode, ops: Vec<KeyOp>) -> Vec<Outcome> {
    run_within(DEADLINE, supernode, ops).await
}

pub async fn run_within(deadline: Duration, supernode: &Supernode, ops: Vec<KeyOp>) -> Vec<Outcome> {
    match supernode.call(Command::Keys { ops, deadline_us: Some(deadline.as_micros() as u64) }).await {
        Ok(Reply::Keys(outcomes, _)) => outcomes,
        other => panic!("{other:?}"),
    }
}

/// Writes entries; gives those that were acknowledged.
pub async fn put(supernode: &Supernode, keys: Range<u32>) -> Vec<u32> {
    put_within(DEADLINE, supernode, keys).await
}

pub async fn put_within(deadline: Duration, supernode: &Supernode, keys: Range<u32>) -> Vec<u32> {
    let outcomes = run_within(deadline, supernode, keys.clone().map(|key| put_op(key, value(key))).collect()).await;
    keys.zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Stored { .. })).map(|(key, _)| key).collect()
}

/// Reads keys until every one is found; a key that is known to be absent, or has another value, fails the test.
pub async fn read_all(supernode: &Supernode, keys: &[u32]) {
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
pub async fn both_hold_the_key_space(peer: &Supernode) {
    until("both hold the key space", PATIENCE, || async {
        let fragments = peer.inspect().await.unwrap().fragments;
        let held: f64 = fragments.iter().filter(|part| part.members.len() == 2).map(|part| part.share).sum();
        (held == 1.0).then_some(())
    })
    .await;
}

/// Records of the ledger that the program says it holds.
pub async fn held(program: &Program) -> u64 {
    let inspect = get(program.address, "/v1/inspect").await.json();
    let namespaces = inspect["store"]["namespaces"].as_array().unwrap().clone();
    let ours = namespaces.iter().find(|namespace| namespace["namespace"] == NAMESPACE);
    ours.map_or(0, |namespace| namespace["records"].as_u64().unwrap())
}

/// The entries in a store at rest: of `entry 7.` the 7.
pub fn on_disk(directory: &Path) -> BTreeMap<u32, String> {
    let saved: BTreeMap<Vec<u8>, Vec<u8>> = Store::open(directory).unwrap().saved.into_iter().collect();
    let prefix = record_key(NAMESPACE, b"");
    let ours = saved.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
    let entry = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        let key = u32::from_be_bytes(key[prefix.len()..].try_into().unwrap());
        let text = String::from_utf8_lossy(value);
        let entry = text.split_once("entry ").and_then(|(_, rest)| rest.split_once('.'));
        (key, entry.map_or_else(String::new, |(entry, _)| entry.to_owned()))
    };
    ours.map(entry).collect()
}
