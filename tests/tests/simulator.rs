//! Scenarios of a few dozen nodes, each on several seeds: joining, leaving, crashing, parting, racing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    Command, Id, Reply,
    store::{Expect, Outcome},
};
use pontoon_tests::{
    ops::{get, get_stale, keys, outcomes, put, put_hinted, put_if, remove},
    scenario::{Counted, Scale},
    sim::{Crash, Latency, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;

/// Runs a scenario on several seeds; says which one failed.
fn seeds(count: u64, scenario: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let alone = std::env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    for seed in alone.map_or(1..=count, |seed: u64| seed..=seed) {
        if let Err(panic) = std::panic::catch_unwind(|| scenario(seed)) {
            eprintln!("seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

fn settled(config: SimConfig) -> Scale {
    let mut scale = Scale::new(config);
    scale.sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("not settled: {unsettled}"));
    scale
}

fn settle(scale: &mut Scale, limit_s: u64) {
    scale.sim.settle(limit_s * SECOND_US).unwrap_or_else(|unsettled| panic!("not settled: {unsettled}"));
}

/// Stores, and expects that nothing is refused.
fn store(scale: &mut Scale, count: usize) {
    let stored = scale.store(count);
    assert_eq!((stored.acknowledged, stored.found), (count, count), "{stored:?}");
}

fn all_found(scale: &mut Scale) {
    let expected = scale.model.count("things");
    assert!(expected > 0);
    assert_eq!(scale.read_all(), (expected, 0), "(found, lost)");
}

#[test]
fn one_node_alone_is_a_database() {
    let mut scale = settled(SimConfig::new(1, 1));
    assert_eq!(scale.store(20).found, 20);
    assert_eq!(scale.sim.keys(0, vec![get("things", b"no such key")]), vec![Outcome::Absent]);
    assert_eq!(scale.insert(20), 20);
    assert_eq!(scale.count(1, 0), vec![Counted::Exact]);
}

#[test]
fn thirty_join_at_once() {
    seeds(5, |seed| {
        let mut scale = settled(SimConfig { join_every_us: 0, ..SimConfig::new(seed, 30) });
        store(&mut scale, 100);
    });
}

#[test]
fn links_become_direct_and_stay_within_budget() {
    seeds(2, |seed| {
        let mut scale = settled(SimConfig::new(seed, 60));
        scale.sim.run_for(60 * SECOND_US);
        for node in 1..60 {
            let links = scale.sim.inspect(node).unwrap().links;
            assert!(links.len() <= 48, "node {node} has {} links", links.len());
            let relayed: Vec<_> = links.iter().filter(|link| link.kind == "relayed").collect();
            assert!(relayed.is_empty(), "node {node} still relays to {relayed:?}");
        }
    });
}

#[test]
fn relayed_peers_take_part() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig { relayed_every: 2, ..SimConfig::new(seed, 20) });
        store(&mut scale, 60);
        assert_eq!(scale.broadcast().once, 19);
    });
}

#[test]
fn owners_are_told_of_new_data_once() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 20));
        let subscribe = |namespace: &str, on| Command::Subscribe { namespace: namespace.to_owned(), on };
        for node in 0..20 {
            for (namespace, on) in [("news", true), ("old", true), ("old", false)] {
                let done = scale.sim.call(node, subscribe(namespace, on), SECOND_US);
                assert_eq!(done, Some(Ok(Reply::Done)));
            }
        }
        let mut expected = Vec::new();
        for number in 0..60_u32 {
            let (key, node) = (number.to_be_bytes(), scale.any_node());
            let ops = vec![put("news", &key, b"new"), put("old", &key, b"old")];
            let last = if number == 0 { remove("news", &key) } else { put("news", &key, b"newer") };
            for outcome in scale.sim.keys(node, ops).into_iter().take(1).chain(scale.sim.keys(node, vec![last])) {
                let Outcome::Stored { version } = outcome else { panic!("{outcome:?}") };
                let owner = scale.sim.owner_of(&Id::object("news", &key, 0)).expect("somebody lives");
                expected.push((owner, key.to_vec(), version));
            }
        }
        let told = scale.sim.take_new_data();
        assert!(told.iter().all(|(_, record)| record.namespace == "news"));
        assert_eq!(told.iter().filter(|(_, record)| record.value.is_none()).count(), 1, "one removal");
        let mut told: Vec<_> = told.into_iter().map(|(node, record)| (node, record.key, record.version)).collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
    });
}

#[test]
fn nobody_has_webrtc() {
    let mut scale = settled(SimConfig { relayed_every: 1, ..SimConfig::new(3, 12) });
    assert_eq!(scale.store(40).found, 40);
    assert_eq!(scale.broadcast().once, 11);
}

#[test]
fn slow_and_skewed_machines() {
    seeds(3, |seed| {
        let config = SimConfig {
            latency: Latency::HeavyTailed,
            spike_ppm: 5_000,
            rtc_fail_ppm: 100_000,
            wall_skew_us: 20 * SECOND_US,
            drift_ppm: 200,
            disk_us: 50_000,
            inbound_bits_per_s: Some(10_000_000),
            ..SimConfig::new(seed, 30)
        };
        let mut scale = settled(config);
        store(&mut scale, 100);
    });
}

#[test]
fn a_table_is_counted_exactly_while_nodes_crash() {
    seeds(5, |seed| {
        let mut scale = settled(SimConfig::new(seed, 40));
        assert_eq!(scale.insert(200), 200);
        assert_eq!(scale.count(4, 0), vec![Counted::Exact; 4]);
        let disturbed = scale.count(4, 2);
        assert!(!disturbed.iter().any(|counted| matches!(counted, Counted::Wrong(_))), "{disturbed:?}");
        scale.sim.run_for(40 * SECOND_US);
        assert_eq!(scale.count(4, 0), vec![Counted::Exact; 4]);
    });
}

#[test]
fn a_crashed_node_is_replaced_and_nothing_is_lost() {
    seeds(5, |seed| {
        for how in [Crash::Silent, Crash::Noticed] {
            let mut scale = settled(SimConfig::new(seed, 20));
            store(&mut scale, 100);
            scale.sim.crash(1 + seed as usize, how);
            scale.sim.run_for(2 * SECOND_US);
            all_found(&mut scale);
            settle(&mut scale, 60);
            scale.sim.crash(10 + seed as usize, how);
            settle(&mut scale, 60);
            all_found(&mut scale);
        }
    });
}

#[test]
fn the_supernode_dies_and_comes_back() {
    seeds(4, |seed| {
        let mut scale = settled(SimConfig::new(seed, 12));
        scale.sim.run_for(30 * SECOND_US);
        store(&mut scale, 60);
        scale.sim.crash(0, Crash::Noticed);
        scale.sim.run_for(15 * SECOND_US);
        all_found(&mut scale);
        let reached = scale.broadcast();
        assert_eq!((reached.once, reached.coverage), (10, 1.0), "{reached:?}");
        store(&mut scale, 80);
        scale.sim.restart(0);
        settle(&mut scale, 60);
        all_found(&mut scale);
        let newcomer = scale.sim.add_node(0);
        settle(&mut scale, 60);
        assert!(scale.sim.inspect(newcomer).unwrap().joined);
    });
}

#[test]
fn everybody_restarts_from_disk() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 8));
        store(&mut scale, 60);
        for node in 0..8 {
            scale.sim.crash(node, Crash::Noticed);
        }
        scale.sim.run_for(SECOND_US);
        for node in 0..8 {
            scale.sim.restart(node);
        }
        settle(&mut scale, 90);
        all_found(&mut scale);
    });
}

#[test]
fn leaving_in_order_loses_nothing() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 12));
        store(&mut scale, 60);
        for node in (1..12).rev() {
            let answer = scale.sim.call(node, Command::Leave, 30 * SECOND_US);
            assert_eq!(answer, Some(Ok(Reply::Done)), "node {node}");
            scale.sim.stop(node);
        }
        settle(&mut scale, 60);
        all_found(&mut scale);
    });
}

#[test]
fn a_partition_heals() {
    seeds(4, |seed| {
        let mut scale = settled(SimConfig::new(seed, 16));
        store(&mut scale, 60);
        scale.sim.partition(|node| node >= 12);
        scale.sim.run_for(8 * SECOND_US);
        scale.sim.heal();
        settle(&mut scale, 120);
        all_found(&mut scale);
    });
}

#[test]
fn a_laptop_that_slept_answers_nothing_stale() {
    seeds(4, |seed| {
        for clock_stops in [false, true] {
            let mut scale = settled(SimConfig::new(seed, 12));
            store(&mut scale, 40);
            let sleeper = 1 + (seed as usize) % 11;
            scale.sim.sleep(sleeper, 60 * SECOND_US, clock_stops);
            scale.sim.run_for(20 * SECOND_US);
            // Overwritten while it slept; whoever answers after must know.
            let keys: Vec<Vec<u8>> = scale.model.iter().map(|(_, key, _)| key.to_vec()).collect();
            let writer = (sleeper + 1) % 12;
            for key in &keys {
                if let [Outcome::Stored { .. }] = scale.sim.keys(writer, vec![put("things", key, b"new")])[..] {
                    scale.model.put("things", key, b"new");
                }
            }
            scale.sim.run_until(scale.sim.now_us() + 60 * SECOND_US);
            for key in &keys {
                let expected = scale.model.get("things", key).unwrap().to_vec();
                let outcome = scale.sim.keys(sleeper, vec![get("things", key)]).remove(0);
                assert!(matches!(&outcome, Outcome::Found { value, .. } if *value == expected), "{outcome:?}");
            }
        }
    });
}

#[test]
fn any_replica_answers_a_stale_get_and_says_so() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 16));
        store(&mut scale, 40);
        let sim = &mut scale.sim;
        let stale = |key: &[u8]| Command::Keys { ops: vec![get_stale("things", key)], deadline_us: Some(SECOND_US) };
        let keys: Vec<Vec<u8>> = scale.model.iter().map(|(_, key, _)| key.to_vec()).collect();
        let (mut told, mut fresh) = (0, 0);
        for (index, key) in keys.iter().enumerate() {
            let expected = scale.model.get("things", key).unwrap();
            match &outcomes(sim.call(index % 16, stale(key), 2 * SECOND_US), 1)[0] {
                Outcome::Stale { value: Some(value), .. } => {
                    assert_eq!(value, expected);
                    told += 1;
                }
                Outcome::Found { value, .. } => {
                    assert_eq!(value, expected);
                    fresh += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(told > 0 && fresh > 0, "{told} replicas answered, {fresh} owners");
        // In a part that has no majority, reads are refused, and those of replicas go on.
        sim.partition(|node| node % 3 == 0);
        sim.run_for(10 * SECOND_US);
        let (mut answered, mut refused) = (0, 0);
        for (index, key) in keys.iter().enumerate() {
            let node = index % 16 / 3 * 3;
            let read = Command::Keys { ops: vec![get("things", key)], deadline_us: Some(SECOND_US) };
            let begun = sim.now_us();
            let replica = outcomes(sim.call(node, stale(key), 2 * SECOND_US), 1).remove(0);
            if let Outcome::Stale { value: Some(value), .. } = replica {
                assert_eq!(&value, scale.model.get("things", key).unwrap());
                assert!(sim.now_us() - begun < SECOND_US);
                answered += 1;
                let exact = outcomes(sim.call(node, read, 2 * SECOND_US), 1).remove(0);
                refused += usize::from(exact == Outcome::Unreachable);
            }
        }
        assert!(answered > 5 && refused > 0, "{answered} answered, {refused} of them not by an owner");
    });
}

#[test]
fn a_put_that_reaches_nobody_is_hinted_if_it_may_be() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 16));
        let sim = &mut scale.sim;
        let within = |op| Command::Keys { ops: vec![op], deadline_us: Some(2 * SECOND_US) };
        let key = |index: usize| format!("key {index}").into_bytes();
        // Where the owner answers, it is a put like any other.
        assert!(matches!(sim.keys(3, vec![put_hinted("hints", b"near", b"v")])[..], [Outcome::Stored { .. }]));
        sim.partition(|node| node == 5);
        sim.run_for(6 * SECOND_US);
        let mut hinted = Vec::new();
        for index in 0..20 {
            let outcome =
                outcomes(sim.call(5, within(put_hinted("hints", &key(index), b"hint")), MINUTE_US), 1).remove(0);
            assert!(matches!(outcome, Outcome::Hinted | Outcome::Stored { .. }), "{outcome:?}");
            hinted.extend((outcome == Outcome::Hinted).then_some(index));
            // One that has a condition never is.
            let refused = put_if("hints", &key(100 + index), b"v", Expect::Absent);
            let outcome = outcomes(sim.call(5, within(refused), MINUTE_US), 1).remove(0);
            assert!(matches!(outcome, Outcome::Unreachable | Outcome::Stored { .. }), "{outcome:?}");
        }
        assert!(hinted.len() > 5, "{} hinted", hinted.len());
        // What is written after it was given stays.
        let (before, after) = hinted.split_at(hinted.len() / 2);
        for index in after {
            assert_eq!(sim.keys(1, vec![get("hints", &key(*index))]), vec![Outcome::Absent]);
            assert!(matches!(sim.keys(1, vec![put("hints", &key(*index), b"later")])[..], [Outcome::Stored { .. }]));
        }
        // A hint is on the disk.
        sim.crash(5, Crash::Noticed);
        sim.heal();
        sim.restart(5);
        settle(&mut scale, 90);
        scale.sim.run_for(10 * SECOND_US);
        for (indexes, expected) in [(before, b"hint".to_vec()), (after, b"later".to_vec())] {
            for index in indexes {
                let outcome = scale.sim.keys(7, vec![get("hints", &key(*index))]).remove(0);
                assert!(matches!(&outcome, Outcome::Found { value, .. } if *value == expected), "{outcome:?}");
            }
        }
    });
}

#[test]
fn a_late_get_is_hedged() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 20));
        store(&mut scale, 60);
        let mut hedged = 0;
        for key in scale.model.iter().map(|(_, key, _)| key.to_vec()).take(30).collect::<Vec<_>>() {
            let owner = scale.sim.owner_of(&Id::object("things", &key, 0)).expect("somebody lives");
            let asker = (owner + 1) % 20;
            let before = scale.counter("dht.hedged");
            let begun = scale.sim.now_us();
            scale.sim.stall(asker, owner, SECOND_US);
            let outcome = outcomes(scale.sim.call(asker, keys(vec![get("things", &key)]), 5 * SECOND_US), 1).remove(0);
            let expected = scale.model.get("things", &key).unwrap();
            assert!(matches!(&outcome, Outcome::Found { value, .. } if value == expected), "{outcome:?}");
            if scale.counter("dht.hedged") > before {
                hedged += 1;
                assert!(scale.sim.now_us() - begun < SECOND_US * 3 / 4, "took {} us", scale.sim.now_us() - begun);
            }
            scale.sim.run_for(2 * SECOND_US);
        }
        assert!(hedged > 5, "{hedged} hedged");
    });
}

#[test]
fn two_insert_the_same_key_and_one_wins() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 20));
        assert_eq!(scale.race(40), vec![1; 40]);
    });
}

#[test]
fn conditions_hold_at_the_owner() {
    let mut scale = settled(SimConfig::new(5, 15));
    let sim = &mut scale.sim;
    let [Outcome::Stored { version }] = sim.keys(3, vec![put_if("c", b"k", b"1", Expect::Absent)])[..] else {
        panic!("not stored")
    };
    assert_eq!(
        sim.keys(4, vec![put_if("c", b"k", b"2", Expect::Absent)]),
        vec![Outcome::Conflict { current: Some((b"1".to_vec(), version)) }]
    );
    let [Outcome::Stored { version: second }] =
        sim.keys(5, vec![put_if("c", b"k", b"3", Expect::Version(version))])[..]
    else {
        panic!("not stored")
    };
    assert!(second > version);
    assert!(matches!(
        sim.keys(6, vec![put_if("c", b"k", b"4", Expect::Version(version))])[..],
        [Outcome::Conflict { .. }]
    ));
    assert!(matches!(&sim.keys(7, vec![get("c", b"k")])[..], [Outcome::Found { value, .. }] if value == b"3"));
}

#[test]
fn what_is_removed_or_lapsed_is_absent() {
    use pontoon_core::store::Action;
    use pontoon_tests::ops::{op, remove};
    let mut scale = settled(SimConfig::new(6, 15));
    let sim = &mut scale.sim;
    let soft =
        |ttl_us| op("soft", b"k", Action::Put { value: b"v".to_vec(), expect: Expect::Any, ttl_us: Some(ttl_us) });
    assert!(matches!(sim.keys(1, vec![soft(5 * SECOND_US)])[..], [Outcome::Stored { .. }]));
    sim.run_for(3 * SECOND_US);
    let renew = op("soft", b"k", Action::Renew { ttl_us: 5 * SECOND_US });
    assert!(matches!(sim.keys(2, vec![renew.clone()])[..], [Outcome::Stored { .. }]));
    sim.run_for(3 * SECOND_US);
    assert!(matches!(sim.keys(3, vec![get("soft", b"k")])[..], [Outcome::Found { .. }]));
    sim.run_for(3 * SECOND_US);
    assert_eq!(sim.keys(4, vec![get("soft", b"k"), renew]), vec![Outcome::Absent, Outcome::Absent]);
    sim.keys(5, vec![put("hard", b"k", b"v")]);
    assert!(matches!(sim.keys(6, vec![remove("hard", b"k")])[..], [Outcome::Stored { .. }]));
    assert_eq!(sim.keys(7, vec![get("hard", b"k")]), vec![Outcome::Absent]);
}

#[test]
fn a_newcomer_gets_the_globals() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig::new(seed, 15));
        let set = |name: &str, value: &[u8]| Command::SetGlobal { name: name.to_owned(), value: Some(value.to_vec()) };
        assert_eq!(scale.sim.call(3, set("colour", b"red"), 30 * SECOND_US), Some(Ok(Reply::Done)));
        scale.sim.run_for(5 * SECOND_US);
        assert_eq!(scale.sim.call(4, set("colour", b"blue"), 30 * SECOND_US), Some(Ok(Reply::Done)));
        let newcomer = scale.sim.add_node(0);
        scale.sim.run_for(20 * SECOND_US);
        for node in 0..=newcomer {
            assert_eq!(scale.sim.global(node, "colour").as_deref(), Some(&b"blue"[..]), "node {node}");
        }
    });
}

#[test]
fn messages_arrive_at_their_node_and_at_the_owner_of_their_key() {
    let mut scale = settled(SimConfig::new(9, 25));
    for (from, to) in [(3, 17), (17, 3), (0, 24), (24, 0), (5, 5)] {
        let to_id = scale.sim.id(to);
        let answer = scale.sim.call(from, Command::SendNode { to: to_id, payload: b"hi".to_vec() }, 30 * SECOND_US);
        assert_eq!(answer, Some(Ok(Reply::Delivered(to_id))));
        let delivered = scale.sim.take_deliveries();
        assert_eq!(delivered.iter().map(|delivery| delivery.node).collect::<Vec<_>>(), vec![to]);
    }
    for key in 0..20_u8 {
        let send = Command::Send { namespace: "n".to_owned(), key: vec![key], payload: vec![key] };
        let owner = scale.sim.owner_of(&pontoon_core::Id::object("n", &[key], 0)).unwrap();
        let answer = scale.sim.call(usize::from(key), send, 30 * SECOND_US);
        assert_eq!(answer, Some(Ok(Reply::Delivered(scale.sim.id(owner)))), "key {key}");
        let delivered = scale.sim.take_deliveries();
        assert_eq!(delivered.iter().map(|delivery| delivery.node).collect::<Vec<_>>(), vec![owner]);
    }
    let nobody = pontoon_core::Id::hash(b"nobody");
    let answer = scale.sim.call(2, Command::SendNode { to: nobody, payload: Vec::new() }, 60 * SECOND_US);
    assert!(matches!(answer, Some(Err(_))), "{answer:?}");
}

#[test]
fn a_disk_that_fails_acknowledges_nothing_that_is_gone() {
    seeds(3, |seed| {
        let mut scale = settled(SimConfig { disk_fail_ppm: 20_000, ..SimConfig::new(seed, 12) });
        assert!(scale.store(60).acknowledged > 30);
        all_found(&mut scale);
        scale.sim.crash(3, Crash::Silent);
        settle(&mut scale, 60);
        all_found(&mut scale);
    });
}
