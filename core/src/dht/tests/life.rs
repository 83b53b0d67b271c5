//! The life of groups: founding, joining, dying, coming back, leaving.

use super::swarm::{Swarm, id};
use crate::store::Outcome;

const SECOND: u64 = 1_000_000;

#[test]
fn a_founder_alone_serves_everything() {
    let mut swarm = Swarm::new(1, 1);
    let took = swarm.until(4 * SECOND, Swarm::whole);
    assert!(took >= 2 * SECOND, "it listens first");
    assert!(matches!(swarm.put(id(0), b"a", b"1"), Outcome::Stored { .. }));
    assert_eq!(swarm.get(id(0), b"a"), Some(b"1".to_vec()));
    assert_eq!(swarm.get(id(0), b"b"), None);
}

#[test]
fn joining_peers_end_up_owning_what_is_closest() {
    let mut swarm = Swarm::new(2, 1);
    swarm.until(4 * SECOND, Swarm::whole);
    for number in 0..100_u64 {
        assert!(matches!(swarm.put(id(0), &number.to_be_bytes(), b"v"), Outcome::Stored { .. }));
    }
    for number in 1..12 {
        swarm.start(id(number), false);
        swarm.pass(500_000);
    }
    swarm.until(20 * SECOND, Swarm::settled);
    for number in 0..100_u64 {
        assert_eq!(swarm.get(id(number % 12), &number.to_be_bytes()), Some(b"v".to_vec()));
        assert_eq!(swarm.members_of(&number.to_be_bytes()).1.len(), 3);
    }
}
