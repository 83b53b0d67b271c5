//! What was acknowledged is on the supernode's disk, whatever happens to its process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use common::{
    Program, get,
    ledger::{both_hold_the_key_space, held, on_disk, put, put_op, read_all, run, run_within},
    settings, start_peer,
};
use pontoon_core::store::Outcome;
use pontoon_supernode::Supernode;

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

/// Entries are written over and over, round by round, and the program killed somewhere among them. `PONTOON_KILL_ROUNDS`
/// and `PONTOON_KILL_WRITES` make more of it: see docs/operations.md.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_on_the_killed_ones_disk() {
    let number = |name: &str, default: u32| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, writes) = (number("PONTOON_KILL_ROUNDS", 2), number("PONTOON_KILL_WRITES", 1_000));
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut program = Program::start(a.path());
    let listen = program.address.to_string();
    let writer = start_peer(b.path(), &program.socket_address()).await;
    let mut last = Acknowledged::default();
    let mut seed = 7_u32;
    for round in 1..=rounds {
        both_hold_the_key_space(&writer).await;
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let kill_at = (writes / 10 + (seed >> 8) % (writes * 8 / 10)) as usize;
        let mut rest: Vec<u32> = (0..writes).collect();
        let mut done = 0;
        let mut killed = false;
        while !rest.is_empty() {
            // Some at a time, so that a kill meets transactions on their way.
            let chunks: Vec<Vec<u32>> = rest.chunks(25).take(8).map(<[u32]>::to_vec).collect();
            let writing = futures_util::future::join_all(chunks.iter().map(|keys| write(&writer, keys, round)));
            let stored: Vec<u32> = if !killed && done + 200 > kill_at {
                let pause = Duration::from_micros(u64::from(seed % 30_000));
                let (stored, ()) = tokio::join!(writing, async {
                    tokio::time::sleep(pause).await;
                    program.kill();
                });
                killed = true;
                last.extend(&stored.concat(), round);
                let (kept, after) = last.check(&on_disk(a.path()), round);
                println!(
                    "round {round}: killed after {done}, {kept} acknowledged entries on disk, {after} of the round"
                );
                program = Program::start_at(a.path(), &listen);
                both_hold_the_key_space(&writer).await;
                stored.concat()
            } else {
                writing.await.concat()
            };
            last.extend(&stored, round);
            done += stored.len();
            let stored: BTreeSet<u32> = stored.into_iter().collect();
            rest.retain(|key| !stored.contains(key));
        }
        assert!(killed, "all {writes} entries were written before the kill");
    }
    program.kill();
    last.check(&on_disk(a.path()), rounds);
    writer.shutdown().await;
}

async fn write(writer: &Supernode, keys: &[u32], round: u32) -> Vec<u32> {
    let entry = |key: &u32| put_op(*key, format!("entry {round}.").into_bytes());
    let outcomes = run_within(Duration::from_secs(2), writer, keys.iter().map(entry).collect()).await;
    let stored = keys.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, Outcome::Stored { .. }));
    stored.map(|(key, _)| *key).collect()
}

/// In which round each entry was acknowledged last.
#[derive(Default)]
struct Acknowledged(BTreeMap<u32, u32>);

impl Acknowledged {
    fn extend(&mut self, keys: &[u32], round: u32) {
        self.0.extend(keys.iter().map(|key| (*key, round)));
    }

    /// Each is there, of that round or of one that was not acknowledged in time. How many, and of this round.
    fn check(&self, on_disk: &BTreeMap<u32, String>, round: u32) -> (usize, usize) {
        for (key, acknowledged) in &self.0 {
            let found: Option<u32> = on_disk.get(key).map(|entry| entry.parse().unwrap());
            assert!(
                found.is_some_and(|found| (*acknowledged..=round).contains(&found)),
                "entry {key} was acknowledged in round {acknowledged}, and on disk it is {found:?}"
            );
        }
        (self.0.len(), on_disk.values().filter(|entry| **entry == round.to_string()).count())
    }
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

    let large = |key| put_op(key, vec![1; 100_000]);
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
