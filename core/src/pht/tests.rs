//! A tree among many clients: their operations one by one in any order, clients that vanish at any step, and what is in
//! the tree against an ordinary map.
#![allow(clippy::unwrap_used, clippy::panic)] // how a test fails, helpers included

use std::collections::BTreeMap;

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use super::{
    mend::{Mend, Want},
    node::{BUCKET_MAX, Body, Node, State},
    search::{Search, Step},
    *,
};
use crate::{
    id::Id,
    store::{Action, Expect, KeyOp, Outcome, Version},
};

/// Records of one namespace, each operation on its own.
#[derive(Default)]
struct Records {
    records: BTreeMap<Vec<u8>, (Vec<u8>, Version)>,
    writes: u64,
    wall_us: u64,
}

impl Records {
    fn execute(&mut self, op: &KeyOp) -> Outcome {
        self.wall_us += 1;
        let current = self.records.get(&op.key).cloned();
        let admits = |expect: &Expect| match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Version(version) => current.as_ref().is_some_and(|(_, held)| held == version),
        };
        let value = match &op.action {
            Action::Get => {
                return current.map_or(Outcome::Absent, |(value, version)| Outcome::Found {
                    value,
                    version,
                    expiry_us: None,
                });
            }
            Action::Put { expect, .. } | Action::Remove { expect } if !admits(expect) => {
                return Outcome::Conflict { current };
            }
            Action::Put { value, .. } => Some(value.clone()),
            Action::Remove { .. } => None,
            Action::Edit { edit } => {
                match apply(&op.key, current.as_ref().map(|(value, _)| &value[..]), edit, self.wall_us) {
                    Ok(value) => Some(value),
                    Err(Refused::Malformed) => panic!("no client edits like that"),
                    Err(_) => return Outcome::Conflict { current },
                }
            }
            other => panic!("{other:?}"),
        };
        self.writes += 1;
        let version = Version { wall_us: self.wall_us, counter: self.writes, author: Id::ZERO };
        match value {
            Some(value) => drop(self.records.insert(op.key.clone(), (value, version))),
            None => drop(self.records.remove(&op.key)),
        }
        Outcome::Stored { version }
    }

    fn run(&mut self, shape: &mut Shape, request: Request) -> Answer {
        let mut task = Task::new("t".to_owned(), 0, request, shape);
        loop {
            let ops = task.poll();
            if ops.is_empty() {
                return task.into_answer();
            }
            let outcomes = ops.iter().map(|op| self.execute(op)).collect();
            task.on_outcomes(shape, outcomes);
        }
    }

    fn set(&mut self, shape: &mut Shape, keys: &[Vec<u8>]) {
        let changes = keys.iter().map(|key| set(key, b"")).collect();
        let answer = self.run(shape, Request::Write(changes));
        assert!(answer.wrote.iter().all(|wrote| *wrote == Wrote::Done), "{:?}", answer.wrote);
    }

    fn all(&mut self) -> Answer {
        self.run(&mut Shape::default(), Request::Range(Range::default()))
    }

    fn nodes(&self) -> Vec<(Label, Node)> {
        let node = |(key, (value, _)): (&Vec<u8>, &(Vec<u8>, Version))| {
            let label = Label::from_key(key)?;
            Some((label.clone(), Node::decode(&label, value).unwrap()))
        };
        self.records.iter().filter_map(node).collect()
    }
}

fn set(key: &[u8], value: &[u8]) -> Change {
    Change { key: key.to_vec(), what: What::Set(value.to_vec(), 7), expect: Held::Any }
}

fn removal(key: &[u8]) -> Change {
    Change { key: key.to_vec(), what: What::Remove(0), expect: Held::Any }
}

fn keys_of(answer: &Answer) -> Vec<Vec<u8>> {
    answer.entries.iter().map(|entry| entry.key.clone()).collect()
}

fn numbers(count: u64) -> Vec<Vec<u8>> {
    let mut rng = ChaCha8Rng::seed_from_u64(count);
    (0..count).map(|_| rng.next_u64().to_be_bytes().to_vec()).collect()
}

#[test]
fn what_is_written_is_read_in_order() {
    let (mut records, mut shape) = (Records::default(), Shape::default());
    let mut keys = numbers(3_000);
    for chunk in keys.chunks(700) {
        records.set(&mut shape, chunk);
    }
    keys.sort();
    let all = records.all();
    assert_eq!((keys_of(&all), all.coverage()), (keys.clone(), 1.0));
    for (from, to) in [(0, 1), (17, 900), (2_990, 3_000)] {
        let range = Range { from: keys[from].clone(), to: keys.get(to).cloned(), ..Range::default() };
        let answer = records.run(&mut shape, Request::Range(range.clone()));
        assert_eq!(keys_of(&answer), keys[from..to]);
        let limit = (to - from).div_ceil(3);
        let few = Range { backwards: true, limit: Some(limit), ..range };
        let answer = records.run(&mut shape, Request::Range(few));
        let last: Vec<Vec<u8>> = keys[from..to].iter().rev().take(limit).cloned().collect();
        assert_eq!(keys_of(&answer), last);
    }
}

#[test]
fn a_lookup_costs_a_logarithm_of_the_bits_cold_and_two_probes_warm() {
    let (mut records, mut warm) = (Records::default(), Shape::default());
    let keys = numbers(20_000);
    for chunk in keys.chunks(1_000) {
        records.set(&mut warm, chunk);
    }
    let bound = u64::from(65_u32.ilog2() + 1);
    for key in keys.iter().step_by(37) {
        let point = Range { from: key.clone(), to: Some([&key[..], &[0]].concat()), ..Range::default() };
        let cold = records.run(&mut Shape::default(), Request::Range(point.clone()));
        assert_eq!(keys_of(&cold), core::slice::from_ref(key));
        assert!(cold.probes <= bound, "{} probes, {bound} allowed", cold.probes);
        let again = records.run(&mut warm, Request::Range(point));
        assert!(again.probes <= 2, "{} probes", again.probes);
    }
}

#[test]
fn a_range_meets_few_inner_nodes() {
    let (mut records, mut shape) = (Records::default(), Shape::default());
    let mut keys = numbers(40_000);
    for chunk in keys.chunks(1_000) {
        records.set(&mut shape, chunk);
    }
    keys.sort();
    for size in [1, 30, 100, 1_000, 10_000, 40_000] {
        for from in (0..=keys.len() - size).step_by(keys.len() / 9) {
            let to = keys.get(from + size).cloned();
            let range = Range { from: keys[from].clone(), to, ..Range::default() };
            let answer = records.run(&mut Shape::default(), Request::Range(range));
            assert_eq!(answer.entries.len(), size);
            let leaves = answer.buckets;
            let bound = leaves + leaves / 4 + 6 + 2;
            assert!(answer.probes <= bound, "{leaves} leaves, {} probes", answer.probes);
        }
    }
}

#[test]
fn a_prefix_that_all_share_costs_no_levels() {
    let (mut records, mut shape) = (Records::default(), Shape::default());
    let key = |number: u32| format!("https://example.org/products/{number:08}").into_bytes();
    let keys: Vec<Vec<u8>> = (0..400).map(|number| key(number * 7)).collect();
    records.set(&mut shape, &keys);
    assert!(records.nodes().len() < 40, "{} nodes", records.nodes().len());
    // What does not share it is held beside it, and when that is too much the edge is split.
    let others: Vec<Vec<u8>> = (0..400).map(|number| format!("https://example.com/{number:08}").into_bytes()).collect();
    records.set(&mut shape, &others);
    let mut all = [keys, others].concat();
    all.sort();
    assert_eq!(keys_of(&records.all()), all);
    let bound = u64::from((all[0].len() as u32 * 8 + 1).ilog2() + 1);
    for key in all.iter().step_by(13) {
        let point = Range { from: key.clone(), to: Some([&key[..], &[0]].concat()), ..Range::default() };
        let cold = records.run(&mut Shape::default(), Request::Range(point));
        assert_eq!(keys_of(&cold), core::slice::from_ref(key));
        assert!(cold.probes <= bound, "{} probes, {bound} allowed", cold.probes);
    }
}

#[test]
fn an_emptied_tree_becomes_one_leaf() {
    let (mut records, mut shape) = (Records::default(), Shape::default());
    let keys = numbers(2_000);
    records.set(&mut shape, &keys);
    let before = records.nodes().len();
    for key in &keys {
        let answer = records.run(&mut shape, Request::Write(vec![removal(key)]));
        assert_eq!(answer.wrote, [Wrote::Done]);
    }
    assert!(records.all().entries.is_empty());
    assert!(records.nodes().len() <= before / 8, "{} of {before} nodes are left", records.nodes().len());
}

#[test]
fn conditions_are_judged_by_the_owner() {
    let (mut records, mut shape) = (Records::default(), Shape::default());
    records.set(&mut shape, &numbers(500));
    let key = &numbers(500)[3];
    let mut write = |change: Change| records.run(&mut shape, Request::Write(vec![change])).wrote.remove(0);
    let absent = Change { expect: Held::Absent, ..set(key, b"x") };
    assert!(matches!(write(absent.clone()), Wrote::Unexpected(Some(held)) if held.key == *key && held.stamp == 7));
    let stamped = |stamp| Change { expect: Held::Stamp(stamp), what: What::Set(b"y".to_vec(), 8), key: key.clone() };
    assert!(matches!(write(stamped(6)), Wrote::Unexpected(Some(_))));
    assert_eq!(write(stamped(7)), Wrote::Done);
    assert_eq!(write(removal(key)), Wrote::Done);
    assert_eq!(write(absent), Wrote::Done);
}

#[test]
fn one_change_that_cannot_be_leaves_the_others_alone() {
    let mut records = Records::default();
    let long = vec![1; node::KEY_MAX + 1];
    let changes = [&b"ab"[..], b"abc", b"b", &long].map(|key| set(key, b"")).to_vec();
    let answer = records.run(&mut Shape::default(), Request::Write(changes));
    let refused = |wrote: &Wrote| matches!(wrote, Wrote::Refused(_));
    assert_eq!(answer.wrote.iter().map(refused).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(keys_of(&records.all()), [b"ab".to_vec(), b"b".to_vec()]);
}

#[test]
fn hostile_nodes_and_edits_are_refused() {
    let mut records = Records::default();
    records.set(&mut Shape::default(), &numbers(300));
    let edit = Edit::Entries { changes: vec![set(b"x", b"y")], low: false }.encode();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (key, (value, _)) in &records.records {
        let name = Label::from_key(key).unwrap();
        for _ in 0..2_000 {
            let mut bytes = value.clone();
            for _ in 0..1 + rng.next_u64() % 3 {
                let at = rng.next_u64() as usize % bytes.len();
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(bytes.len() - (rng.next_u64() % 2) as usize);
            // Whatever decodes is a node: its entries are its own and in order, its parts make up its extent.
            if let Some(node) = Node::decode(&name, &bytes) {
                assert!(node.bucket().iter().all(|entry| node.holds(&name, &Label::of(&entry.key))));
                let _ = apply(key, Some(&bytes), &edit, 0);
            }
            let mut hostile = edit.clone();
            let at = rng.next_u64() as usize % hostile.len();
            hostile[at] = rng.next_u64() as u8;
            let _ = apply(key, Some(value), &hostile, 0);
        }
    }
    assert_eq!(apply(b"\x00", None, &edit, 0), Err(Refused::Malformed));
    assert_eq!(apply(&Label::default().to_key(), Some(b"no node"), &edit, 0), Err(Refused::Elsewhere));
}

/// What becomes of a key.
type Effect = (Vec<u8>, Option<Vec<u8>>);
/// What must be seen of keys.
type Seen = BTreeMap<Vec<u8>, Vec<u8>>;

/// A client at work, and what it will have written.
struct Client {
    shape: Shape,
    task: Option<(Task, Vec<Effect>)>,
    round: Vec<(KeyOp, Option<Outcome>)>,
    /// What it has been told is there, and what it cannot know.
    sure: BTreeMap<Vec<u8>, Vec<u8>>,
    unsure: BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>>,
    serial: u32,
}

/// Clients that write keys of their own into one tree, operation by operation in any order; some vanish in the middle.
fn clients(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = move |below: u64| rng.next_u64() % below;
    let mut records = Records::default();
    let new = || Client {
        shape: Shape::default(),
        task: None,
        round: Vec::new(),
        sure: BTreeMap::new(),
        unsure: BTreeMap::new(),
        serial: 0,
    };
    let mut clients: Vec<Client> = (0..4).map(|_| new()).collect();
    // Somebody who reads all the while: what nobody touches meanwhile must be seen.
    let mut reader: Option<(Task, Seen)> = None;
    let mut reads = 0;
    let shared = draw(2) == 0;
    for step in 0..30_000_u32 {
        let who = draw(clients.len() as u64) as usize;
        let client = &mut clients[who];
        if client.task.is_none() {
            client.serial += 1;
            let shrinking = (step / 6_000) % 2 == 1;
            let changes: Vec<Change> = (0..1 + draw(12))
                .map(|_| {
                    let prefix = if shared && draw(4) > 0 { "aaaaaaaaaaaaaaaa" } else { "" };
                    let key = format!("{prefix}{:04}/{who}", draw(150)).into_bytes();
                    if draw(4) < if shrinking { 3 } else { 1 } {
                        removal(&key)
                    } else {
                        set(&key, &client.serial.to_be_bytes())
                    }
                })
                .collect::<Vec<_>>();
            let unique: BTreeMap<Vec<u8>, Change> =
                changes.into_iter().map(|change| (change.key.clone(), change)).collect();
            let changes: Vec<Change> = unique.into_values().collect();
            let written = |change: &Change| match &change.what {
                What::Set(value, _) => (change.key.clone(), Some(value.clone())),
                What::Remove(_) => (change.key.clone(), None),
            };
            let effect: Vec<Effect> = changes.iter().map(written).collect();
            if let Some((_, must)) = &mut reader {
                effect.iter().for_each(|(key, _)| drop(must.remove(key)));
            }
            let task = Task::new("t".to_owned(), 0, Request::Write(changes), &client.shape);
            client.task = Some((task, effect));
        }
        let (task, effect) = client.task.as_mut().unwrap();
        if client.round.is_empty() {
            client.round = task.poll().into_iter().map(|op| (op, None)).collect();
            if client.round.is_empty() {
                let (task, effect) = client.task.take().unwrap();
                let answer = task.into_answer();
                assert!(answer.wrote.iter().all(|wrote| *wrote == Wrote::Done), "seed {seed}: {:?}", answer.wrote);
                for (key, value) in effect {
                    client.unsure.remove(&key);
                    match value {
                        Some(value) => drop(client.sure.insert(key, value)),
                        None => drop(client.sure.remove(&key)),
                    }
                }
                continue;
            }
        }
        let open: Vec<usize> = (0..client.round.len()).filter(|at| client.round[*at].1.is_none()).collect();
        if draw(400) == 0 {
            // It vanishes; another one takes its place, and knows nothing of the tree.
            for (key, value) in effect.drain(..) {
                let before = client.sure.remove(&key);
                let unsure = client.unsure.entry(key).or_default();
                unsure.push(before);
                unsure.push(value);
            }
            let old = std::mem::replace(client, new());
            (client.sure, client.unsure, client.serial) = (old.sure, old.unsure, old.serial);
            continue;
        }
        let at = open[draw(open.len() as u64) as usize];
        let outcome = records.execute(&client.round[at].0);
        client.round[at].1 = Some(outcome);
        if open.len() == 1 {
            let outcomes = client.round.drain(..).filter_map(|(_, outcome)| outcome).collect();
            task.on_outcomes(&mut client.shape, outcomes);
        }
        if step % 7 == 0 {
            match &mut reader {
                None => {
                    let mut must = BTreeMap::new();
                    for client in &clients {
                        must.extend(client.sure.clone());
                    }
                    for (key, _) in clients.iter().flat_map(|client| &client.task).flat_map(|(_, effect)| effect) {
                        must.remove(key);
                    }
                    let range = Range { backwards: draw(2) == 0, ..Range::default() };
                    reader = Some((Task::new("t".to_owned(), 0, Request::Range(range), &Shape::default()), must));
                }
                Some((task, _)) => {
                    let ops = task.poll();
                    if !ops.is_empty() {
                        let outcomes = ops.iter().map(|op| records.execute(op)).collect();
                        task.on_outcomes(&mut Shape::default(), outcomes);
                    } else if let Some((task, must)) = reader.take() {
                        let answer = task.into_answer();
                        assert_eq!(answer.missing, 0, "seed {seed} step {step}");
                        let seen: BTreeMap<_, _> =
                            answer.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                        for (key, value) in must {
                            let key = String::from_utf8_lossy(&key).into_owned();
                            assert_eq!(seen.get(key.as_bytes()), Some(&value), "seed {seed} step {step} {key}");
                        }
                        reads += 1;
                    }
                }
            }
        }
        // Who reads all at once sees everything that nobody is about to change.
        if step % 500 == 0 {
            let all = records.all();
            assert_eq!(all.coverage(), 1.0, "seed {seed} step {step}");
            let seen: BTreeMap<Vec<u8>, Vec<u8>> =
                all.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
            for client in &clients {
                let busy = |key: &Vec<u8>| {
                    client.unsure.contains_key(key)
                        || client.task.iter().any(|(_, effect)| effect.iter().any(|(other, _)| other == key))
                };
                for (key, value) in client.sure.iter().filter(|(key, _)| !busy(key)) {
                    assert_eq!(seen.get(key), Some(value), "seed {seed} step {step} {}", String::from_utf8_lossy(key));
                }
            }
            for (key, value) in &seen {
                let wrote = clients.iter().any(|client| {
                    client.sure.get(key) == Some(value)
                        || client.unsure.get(key).is_some_and(|may| may.contains(&Some(value.clone())))
                        || client.task.iter().any(|(_, effect)| effect.iter().any(|(other, _)| other == key))
                });
                assert!(wrote, "seed {seed} step {step}: {} is back", String::from_utf8_lossy(key));
            }
        }
    }
    assert!(reads > 20, "{reads} reads");
    // Everybody stops where it is. Who comes next finds a tree that it can write to everywhere.
    let mut shape = Shape::default();
    let all = records.all();
    for key in keys_of(&all).into_iter().step_by(3) {
        let value = all.entries.iter().find(|entry| entry.key == key).unwrap().value.clone();
        let answer = records.run(&mut shape, Request::Write(vec![set(&key, &value)]));
        assert_eq!(answer.wrote, [Wrote::Done], "seed {seed}");
    }
    assert_eq!(keys_of(&records.all()), keys_of(&all), "seed {seed}");
}

#[test]
fn clients_that_vanish_lose_nothing() {
    let seeds = std::env::var("PONTOON_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    (0..seeds).for_each(clients);
}

#[test]
fn a_split_may_stop_anywhere() {
    for steps in 0..12 {
        let mut records = Records::default();
        let keys: Vec<Vec<u8>> = numbers(BUCKET_MAX as u64);
        records.set(&mut Shape::default(), &keys);
        let mut mend = Mend::new(Label::default(), Want::Split, None, None);
        let mut left = steps;
        'split: loop {
            let ops = mend.poll();
            if ops.is_empty() {
                break;
            }
            let mut outcomes = Vec::new();
            for (label, action) in ops {
                if left == 0 {
                    break 'split;
                }
                left -= 1;
                let op = KeyOp { namespace: "t".to_owned(), locality_bits: 0, key: label.to_key(), action };
                outcomes.push(records.execute(&op));
            }
            mend.on_outcomes(outcomes);
        }
        assert_eq!(records.all().entries.len(), keys.len(), "after {steps} steps");
        let more: Vec<Vec<u8>> = numbers(500);
        records.set(&mut Shape::default(), &more);
        assert_eq!(records.all().entries.len(), keys.len() + more.len(), "after {steps} steps");
        let blocked = records.nodes().iter().filter(|(_, node)| node.state == State::Pending).count();
        assert_eq!(blocked, 0, "after {steps} steps");
    }
}

#[test]
fn a_lost_leaf_is_written_to_again() {
    let mut records = Records::default();
    let keys = numbers(1_000);
    records.set(&mut Shape::default(), &keys);
    let leaf = records.nodes().into_iter().find(|(_, node)| matches!(node.body, Body::Leaf(_))).unwrap().0;
    records.records.remove(&leaf.to_key());
    let lost: Vec<Vec<u8>> = keys.iter().filter(|key| leaf.is_prefix_of(&Label::of(key))).cloned().collect();
    records.set(&mut Shape::default(), &lost);
    assert_eq!(records.all().entries.len(), keys.len());
}

#[test]
fn a_search_that_is_misled_walks() {
    let mut records = Records::default();
    let keys = numbers(1_000);
    records.set(&mut Shape::default(), &keys);
    // Markers of edges that are no more, on the way of every search.
    for key in keys.iter().take(50) {
        let label = Label::of(key);
        for bits in [15, 31, 47] {
            let marker = Node {
                of: None,
                ups: Vec::new(),
                state: State::Open,
                body: Body::Marker { name: bits - 1, extent: label.prefix(50) },
            };
            let value = marker.encode();
            records
                .records
                .entry(label.prefix(bits).to_key())
                .or_insert((value, Version { wall_us: 0, counter: 0, author: Id::ZERO }));
        }
    }
    for key in keys.iter().take(50) {
        let mut search = Search::new(Label::of(key), &Shape::default());
        let found = (0..60).find_map(|_| {
            let label = search.probe();
            let node = records.records.get(&label.to_key()).and_then(|(value, _)| Node::decode(&label, value));
            (search.on(node.as_ref()) == Step::Here).then_some(node)
        });
        assert!(found.flatten().unwrap().bucket().iter().any(|entry| entry.key == *key));
    }
}
