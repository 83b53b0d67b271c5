//! Hostile bytes to a node with live links: random chunks, mutated, truncated, joined and replayed real ones. No panic,
//! the node stays within its bounds, and the network goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    store::Outcome,
    wire::{self, Chunks},
};
use pontoon_tests::{
    ops::{get, put},
    sim::{Recorded, Sim, SimConfig},
};
use proptest::{prelude::*, test_runner::TestRunner};

const SECOND_US: u64 = 1_000_000;
const NODES: usize = 6;
const FRAME_MAX: usize = 1 << 20;

fn small(seed: u64) -> Sim {
    Sim::new(SimConfig { join_every_us: 100_000, ..SimConfig::new(seed, NODES) })
}

/// What nodes really say while they join, store and read.
fn recorded() -> Vec<Recorded> {
    let mut sim = small(1);
    sim.record(true);
    sim.settle(60 * SECOND_US).unwrap();
    for number in 0..20_u8 {
        sim.keys(usize::from(number) % NODES, vec![put("n", &[number], &[number; 50]), get("n", &[number])]);
    }
    sim.sql(2, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)").unwrap();
    sim.sql(3, "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')").unwrap();
    sim.sql(4, "SELECT count(*), max(name) FROM t").unwrap();
    sim.call(5, pontoon_core::Command::SendAll { payload: b"all".to_vec() }, 30 * SECOND_US);
    sim.call(5, pontoon_core::Command::Leave, 30 * SECOND_US);
    sim.record(false)
}

/// How a chunk is made from a real one.
#[derive(Clone, Debug)]
enum Attack {
    Random(Vec<u8>),
    Replay(usize),
    Flip(usize, Vec<(usize, u8)>),
    Truncate(usize, usize),
    Splice(usize, usize, usize),
    Endless(usize),
}

fn attacks() -> impl Strategy<Value = Attack> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Attack::Random),
        // A header that says "whole", a length, the version, and then junk: reaches the decoder.
        prop::collection::vec(any::<u8>(), 0..200)
            .prop_map(|junk| Attack::Random([&[0, 0, junk.len() as u8 + 1, wire::WIRE_VERSION][..], &junk].concat())),
        any::<usize>().prop_map(Attack::Replay),
        (any::<usize>(), prop::collection::vec((any::<usize>(), any::<u8>()), 1..6))
            .prop_map(|(chunk, flips)| Attack::Flip(chunk, flips)),
        (any::<usize>(), any::<usize>()).prop_map(|(chunk, length)| Attack::Truncate(chunk, length)),
        (any::<usize>(), any::<usize>(), any::<usize>()).prop_map(|(a, b, at)| Attack::Splice(a, b, at)),
        (1_usize..64).prop_map(Attack::Endless),
    ]
}

fn chunks(attack: &Attack, real: &[Recorded]) -> Vec<Vec<u8>> {
    let pick = |index: usize| real[index % real.len()].bytes.clone();
    match attack {
        Attack::Random(bytes) => vec![bytes.clone()],
        Attack::Replay(index) => vec![pick(*index)],
        Attack::Flip(index, flips) => {
            let mut bytes = pick(*index);
            for (at, value) in flips {
                let at = at % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= value;
                }
            }
            vec![bytes]
        }
        Attack::Truncate(index, length) => {
            let mut bytes = pick(*index);
            bytes.truncate(length % (bytes.len() + 1));
            vec![bytes]
        }
        Attack::Splice(a, b, at) => {
            let (mut head, tail) = (pick(*a), pick(*b));
            head.truncate(at % (head.len() + 1));
            head.extend_from_slice(&tail[(at / 7) % (tail.len() + 1)..]);
            vec![head]
        }
        Attack::Endless(count) => vec![vec![1; 16 * 1_024]; *count],
    }
}

/// The frame decoder alone, on everything the attacks make.
#[test]
fn decoding_gives_an_error_and_no_panic() {
    let real = recorded();
    assert!(real.len() > 200);
    for chunk in real.iter().filter(|chunk| chunk.bytes.first() == Some(&0)).take(2_000) {
        for frame in Chunks::default().push(&chunk.bytes, FRAME_MAX) {
            let frame = frame.unwrap();
            assert_eq!(wire::encode_as(frame[0], &wire::decode(&frame).unwrap()), &frame[..]);
        }
    }
    let mut runner = TestRunner::new(ProptestConfig { cases: 20_000, failure_persistence: None, ..Default::default() });
    runner
        .run(&attacks(), |attack| {
            let _ = attack.malformed(&real);
            Ok(())
        })
        .unwrap();
}

impl Attack {
    /// Whether the decoder takes nothing of it for a frame. The other attacks may forge frames that an insider could have
    /// sent, and insiders can do harm: there only the bounds are checked.
    fn malformed(&self, real: &[Recorded]) -> bool {
        let mut together = Chunks::default();
        chunks(self, real).iter().all(|chunk| {
            together.push(chunk, FRAME_MAX).all(|frame| frame.and_then(|frame| wire::decode(&frame)).is_err())
        })
    }
}

/// A network under attack. `replayed` takes the one that was recorded: what is replayed there was once true.
fn under_attack(replayed: bool, blows: &[(usize, usize, Attack)], real: &[Recorded]) -> Result<(), TestCaseError> {
    let mut sim = small(if replayed { 1 } else { 2 });
    sim.settle(60 * SECOND_US).unwrap();
    for (node, link, attack) in blows {
        for chunk in chunks(attack, real) {
            sim.inject(*node, *link, chunk);
        }
        sim.run_for(100_000);
    }
    sim.run_for(30 * SECOND_US);
    for node in 0..NODES {
        let inspect = sim.inspect(node).unwrap();
        prop_assert!(inspect.links.len() <= 48);
        prop_assert!(inspect.peers.len() <= 400, "{} peers", inspect.peers.len());
        prop_assert!(inspect.store.bytes <= 1 << 20, "{} bytes", inspect.store.bytes);
    }
    if blows.iter().all(|(.., attack)| attack.malformed(real)) {
        // It still works: a link that was closed for junk is replaced.
        let outcome = sim.keys(1, vec![put("after", b"k", b"v")]);
        prop_assert!(matches!(outcome[..], [Outcome::Stored { .. }]), "{outcome:?}");
        let outcome = sim.keys(4, vec![get("after", b"k")]);
        prop_assert!(matches!(&outcome[..], [Outcome::Found { value, .. }] if value == b"v"), "{outcome:?}");
    }
    Ok(())
}

#[test]
fn a_node_survives_hostile_chunks_and_stays_bounded() {
    let real = recorded();
    let forged = prop::collection::vec((0..NODES, any::<usize>(), attacks()), 1..60);
    let junk = attacks().prop_filter("well-formed", |attack| attack.malformed(&real));
    let malformed = prop::collection::vec((0..NODES, any::<usize>(), junk), 1..60);
    let mut runner = TestRunner::new(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() });
    runner
        .run(&(any::<bool>(), prop_oneof![forged, malformed]), |(replayed, blows)| {
            under_attack(replayed, &blows, &real)
        })
        .unwrap();
}
