//! A fifth of the peers is hostile: drops, leads astray, hides, rolls back, forges. Verified gets of what proves its author
//! are right or refused, never wrong; plain ones of the same network are what this is measured beside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{Config, store::Action};
use pontoon_tests::{
    hostile::{Kind, Siege},
    sim::{SimConfig, Vice},
};

const PROVEN: [Kind; 3] = [Kind::Row, Kind::Removed, Kind::Never];

/// A network whose groups have this many members.
fn siege(seed: u64, nodes: usize, replicas: usize, rows: usize) -> Siege {
    let mut config = SimConfig::new(seed, nodes);
    config.core = Config { replicas, near_groups: true, ..config.core };
    Siege::begin(config, rows).unwrap()
}

#[test]
fn among_honest_peers_every_verified_get_is_right() {
    let mut siege = siege(1, 30, 3, 40);
    let tally = siege.read(&Action::GetVerified);
    let all = tally.of(&[Kind::Row, Kind::Removed, Kind::Never, Kind::Open]);
    assert_eq!((all.right, all.outliers), (all.all(), 0), "{tally:?}");
}

#[test]
fn verified_gets_are_right_or_refused_while_a_fifth_is_hostile() {
    let mut siege = siege(2, 120, 7, 100);
    siege.turn(20, &Vice::ALL);
    assert_eq!(siege.lost_groups(), 0, "somebody honest holds everything");
    let plain = siege.read(&Action::Get).of(&PROVEN);
    assert!(plain.wrong > 0, "hostile peers lie: {plain:?}");
    let tally = siege.read(&Action::GetVerified);
    eprintln!("plain {plain:?}\nverified {tally:?}");
    let verified = tally.of(&PROVEN);
    assert_eq!(verified.wrong, 0, "{tally:?}");
    assert!(100 * verified.right >= 99 * verified.all(), "{tally:?}");
    assert!(verified.outliers > 0 && verified.accused == 0, "{tally:?}");
}
