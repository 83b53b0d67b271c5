//! Writes: what acknowledges them, what is promised of them.

use super::swarm::{Swarm, id, put};
use crate::{
    dht,
    id::Id,
    store::{Action, Expect, Outcome, Refusal},
    wire::Body,
};

const SECOND: u64 = 1_000_000;

/// Exactly three peers, so that everybody is a member of every group.
fn three(seed: u64) -> Swarm {
    let mut swarm = Swarm::new(seed, 3);
    swarm.until(20 * SECOND, Swarm::settled);
    swarm.pass(3 * SECOND);
    swarm
}

/// A write is acknowledged by the owner and one member of three; the other member never heard of it; the owner
/// crashes. Whoever answers next answers with the write, or not at all.
#[test]
fn an_heir_never_answers_without_an_acknowledged_write() {
    for seed in 0..20 {
        let mut swarm = three(seed);
        let (owner, members) = swarm.members_of(b"key");
        assert_eq!(members.len(), 3);
        let others: Vec<Id> = members.into_iter().filter(|id| *id != owner).collect();
        assert!(matches!(swarm.put(owner, b"key", b"old"), Outcome::Stored { .. }));
        swarm.pass(3 * SECOND);
        for deaf in [others[0], others[1]] {
            let mut swarm = three(seed);
            assert!(matches!(swarm.put(owner, b"key", b"old"), Outcome::Stored { .. }));
            // The digest in a renewal would mend it within seconds: nothing of the kind reaches it either.
            swarm.filter = Box::new(move |_, to, body| {
                *to != deaf
                    || !matches!(
                        body,
                        Body::Dht(dht::Message::Replicate { .. })
                            | Body::Group(crate::group::Message::Push { .. } | crate::group::Message::Sync { .. })
                    )
            });
            assert!(matches!(swarm.put(owner, b"key", b"new"), Outcome::Stored { .. }));
            swarm.crash(owner);
            swarm.filter = Box::new(|_, _, _| true);
            for _ in 0..20 {
                let asker = others[swarm.random(2) as usize];
                let ticket = swarm.ask(asker, b"key", Action::Get, 1_500_000);
                swarm.pass(2 * SECOND);
                match &swarm.done[&ticket] {
                    Outcome::Found { value, .. } => assert_eq!(value, b"new", "seed {seed}"),
                    Outcome::Unreachable => {}
                    other => panic!("seed {seed}: {other:?}"),
                }
            }
            assert_eq!(swarm.get(deaf, b"key"), Some(b"new".to_vec()), "in the end somebody answers");
        }
    }
}

/// The same, and the one member that knows is gone as well: nobody may answer until it is given up for lost.
#[test]
fn without_a_majority_nobody_answers() {
    let mut swarm = three(3);
    let (owner, members) = swarm.members_of(b"key");
    let others: Vec<Id> = members.into_iter().filter(|id| *id != owner).collect();
    assert!(matches!(swarm.put(owner, b"key", b"new"), Outcome::Stored { .. }));
    swarm.crash(owner);
    swarm.crash(others[0]);
    let ticket = swarm.ask(others[1], b"key", Action::Get, 12 * SECOND);
    swarm.pass(13 * SECOND);
    assert_eq!(swarm.done[&ticket], Outcome::Unreachable);
}

#[test]
fn conditions_hold_or_tell_what_is_there() {
    let mut swarm = three(4);
    let absent = |value: &[u8]| Action::Put { value: value.to_vec(), expect: Expect::Absent, ttl_us: None };
    let Outcome::Stored { version: first } = swarm.now_do(id(1), b"k", absent(b"1")) else { panic!() };
    let Outcome::Conflict { current: Some((value, version)) } = swarm.now_do(id(2), b"k", absent(b"2")) else {
        panic!()
    };
    assert_eq!((value.as_slice(), version), (&b"1"[..], first));
    let next =
        |value: &[u8], version| Action::Put { value: value.to_vec(), expect: Expect::Version(version), ttl_us: None };
    let Outcome::Stored { version: second } = swarm.now_do(id(0), b"k", next(b"2", first)) else { panic!() };
    assert!(second > first);
    assert!(matches!(swarm.now_do(id(0), b"k", next(b"3", first)), Outcome::Conflict { .. }));
    let remove = |version| Action::Remove { expect: Expect::Version(version) };
    assert!(matches!(swarm.now_do(id(1), b"k", remove(first)), Outcome::Conflict { .. }));
    assert!(matches!(swarm.now_do(id(1), b"k", remove(second)), Outcome::Stored { .. }));
    assert_eq!(swarm.now_do(id(2), b"k", Action::Get), Outcome::Absent);
    assert_eq!(swarm.now_do(id(2), b"k", Action::Remove { expect: Expect::Any }), Outcome::Absent);
    assert!(matches!(swarm.now_do(id(1), b"k", absent(b"4")), Outcome::Stored { .. }));
}

#[test]
fn soft_state_lapses_unless_renewed() {
    let mut swarm = three(5);
    let soft = Action::Put { value: b"v".to_vec(), expect: Expect::Any, ttl_us: Some(5 * SECOND) };
    assert!(matches!(swarm.now_do(id(1), b"k", soft), Outcome::Stored { .. }));
    swarm.pass(3 * SECOND);
    assert!(matches!(swarm.now_do(id(2), b"k", Action::Renew { ttl_us: 5 * SECOND }), Outcome::Stored { .. }));
    swarm.pass(3 * SECOND);
    assert_eq!(swarm.get(id(0), b"k"), Some(b"v".to_vec()));
    swarm.pass(3 * SECOND);
    assert_eq!(swarm.get(id(0), b"k"), None);
    assert_eq!(swarm.now_do(id(2), b"k", Action::Renew { ttl_us: 5 * SECOND }), Outcome::Absent);
    swarm.pass(120 * SECOND);
    let held: usize = swarm.nodes.values().map(|node| node.dht.store_info(swarm.clocks()).records).sum();
    assert_eq!(held, 0, "and is forgotten");
}

#[test]
fn bounds_are_refused_for_good() {
    let mut swarm = three(6);
    let large = vec![0; swarm.config.value_bytes_max + 1];
    assert_eq!(swarm.put(id(1), b"k", &large), Outcome::Refused(Refusal::TooLarge));
    let filling = vec![0; swarm.config.value_bytes_max];
    let full = (0..20_u8).map(|key| swarm.put(id(1), &[key], &filling)).collect::<Vec<_>>();
    assert!(full.contains(&Outcome::Refused(Refusal::QuotaExceeded)));
}

#[test]
fn a_broken_disk_acknowledges_nothing() {
    let mut swarm = Swarm::new(7, 1);
    swarm.until(5 * SECOND, Swarm::whole);
    assert!(matches!(swarm.put(id(0), b"k", b"1"), Outcome::Stored { .. }));
    swarm.broken.insert(id(0));
    assert_eq!(swarm.put(id(0), b"k", b"2"), Outcome::Refused(Refusal::DiskFailed));
    assert_eq!(swarm.get(id(0), b"k"), Some(b"1".to_vec()));
    // With others there, their disks are a majority.
    let mut swarm = three(8);
    let (owner, _) = swarm.members_of(b"k");
    swarm.broken.insert(owner);
    assert!(matches!(swarm.put(owner, b"k", b"1"), Outcome::Stored { .. }));
}

/// Requests and replies are lost and repeated: a conditional write still happens once and says so.
#[test]
fn a_retried_write_is_not_repeated() {
    for seed in 0..10 {
        let mut swarm = three(seed);
        swarm.loss = 300;
        let absent =
            |value: u64| Action::Put { value: value.to_be_bytes().to_vec(), expect: Expect::Absent, ttl_us: None };
        let mut unknown = 0;
        for key in 0..30_u64 {
            match swarm.now_do(id(key % 3), &key.to_be_bytes(), absent(key)) {
                Outcome::Stored { .. } => {}
                Outcome::Unreachable => unknown += 1,
                other => panic!("seed {seed} key {key}: {other:?}"),
            }
        }
        assert!(unknown < 10, "{unknown}");
    }
}

#[test]
fn a_reader_never_sees_what_may_yet_be_lost() {
    let mut swarm = three(9);
    let (owner, members) = swarm.members_of(b"k");
    swarm.put(owner, b"k", b"old");
    swarm.filter = Box::new(move |_, _, body| !matches!(body, Body::Dht(dht::Message::Replicate { .. })));
    let write = swarm.ask(owner, b"k", put(b"new"), 2 * SECOND);
    swarm.pass(100_000);
    let read = swarm.ask(members[1], b"k", Action::Get, SECOND);
    swarm.pass(3 * SECOND);
    assert_eq!((&swarm.done[&write], &swarm.done[&read]), (&Outcome::Unreachable, &Outcome::Unreachable));
    let all = [crate::id::Region::ALL];
    let seen: Vec<_> = swarm.nodes[&owner].dht.scan("t", &all, swarm.clocks().wall).cloned().collect();
    assert_eq!(seen[0].value.as_deref(), Some(&b"old"[..]), "scans see what is acknowledged");
    swarm.filter = Box::new(|_, _, _| true);
    swarm.pass(2 * SECOND);
    assert_eq!(swarm.get(members[1], b"k"), Some(b"new".to_vec()));
}
