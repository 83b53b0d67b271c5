//! A tree among many clients: their operations one by one in any order, clients that vanish at any step, and what is in
//! the tree against an ordinary map.
#![allow(clippy::unwrap_used, clippy::panic)] // how a test fails, helpers included

use std::collections::{BTreeMap, BTreeSet};

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
    /// How far the clocks of owners are apart.
    skew_us: u64,
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
                    Err(Refused::Nothing) => return Outcome::Absent,
                    Err(_) => return Outcome::Conflict { current },
                }
            }
            other => panic!("{other:?}"),
        };
        self.writes += 1;
        // The clock of the label's owner.
        let skew = self.skew_us * u64::from(Id::hash(&op.key).0[0] % 16);
        let above = current.as_ref().map_or(0, |(_, held)| held.wall_us + 1);
        let version = Version { wall_us: (self.wall_us + skew).max(above), counter: self.writes, author: Id::ZERO };
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
    let leaves = records.nodes().into_iter().filter(|(_, node)| matches!(node.body, Body::Leaf(_))).count();
    let nodes = records.nodes().into_iter().filter(|(_, node)| !matches!(node.body, Body::Marker { .. })).count();
    assert!(nodes < 2 * leaves, "{nodes} nodes, {leaves} leaves");
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
fn an_emptied_tree_shrinks() {
    let (mut records, mut shape) = (Records::default(), Shape::default());
    let keys = numbers(2_000);
    records.set(&mut shape, &keys);
    let before = records.nodes().len();
    let (ones, rest) = keys.split_at(1_000);
    for key in ones {
        let answer = records.run(&mut shape, Request::Write(vec![removal(key)]));
        assert_eq!(answer.wrote, [Wrote::Done]);
    }
    let answer = records.run(&mut shape, Request::Write(rest.iter().map(|key| removal(key)).collect()));
    assert!(answer.rounds < 150, "{} rounds", answer.rounds);
    assert!(records.all().entries.is_empty());
    let left = records.nodes().into_iter().filter(|(_, node)| !matches!(node.body, Body::Marker { .. })).count();
    assert!(left <= before / 15, "{left} of {before} nodes are left");
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
    let other = Change { expect: Held::Stamp(7), ..removal(key) };
    assert!(matches!(write(other), Wrote::Unexpected(Some(held)) if held.stamp == 8));
    assert_eq!(write(removal(key)), Wrote::Done);
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
    // What all keys of a tree begin with is no key, nor is a part of it.
    let mut records = Records::default();
    let keys: Vec<Vec<u8>> = (0..100).map(|number| format!("aaaa{number:05}").into_bytes()).collect();
    records.set(&mut Shape::default(), &keys);
    for key in [&b"aa"[..], b"aaaa0", b"aaaa000001"] {
        let answer = records.run(&mut Shape::default(), Request::Write(vec![set(key, b"")]));
        assert!(refused(&answer.wrote[0]), "{:?}", answer.wrote);
    }
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
                assert!(node.bucket().iter().all(|entry| node.holds(&name, &entry.key)));
                let _ = apply(key, Some(&bytes), &edit, 0);
            }
            let mut hostile = edit.clone();
            let at = rng.next_u64() as usize % hostile.len();
            hostile[at] = rng.next_u64() as u8;
            let _ = apply(key, Some(value), &hostile, 0);
        }
    }
    // A node that knows of itself would be read for ever; one that knows too much would not be read at all.
    let (name, node) = records.nodes().into_iter().find(|(_, node)| matches!(node.body, Body::Inner { .. })).unwrap();
    let Body::Inner { extent, cut, .. } = &node.body else { panic!("not an inner node") };
    let value = node.encode();
    let long = |at: u32| (0..6).fold(extent.clone(), |it, bit| it.child(at >> bit & 1 == 1));
    for (old, new) in [(cut.clone(), vec![extent.clone()]), (vec![cut[0].clone(); 80], (0..64).map(long).collect())] {
        let edit = Edit::Cut { old, new }.encode();
        assert!(apply(&name.to_key(), Some(&value), &edit, 0).is_err());
    }
    assert_eq!(apply(b"\x00", None, &edit, 0), Err(Refused::Malformed));
    assert_eq!(apply(&Label::default().to_key(), Some(b"no node"), &edit, 0), Err(Refused::Elsewhere));
}

/// What becomes of a key.
type Effect = (Vec<u8>, Option<Vec<u8>>);
/// What must be seen of keys.
type Seen = BTreeMap<Vec<u8>, Vec<u8>>;

/// Prefixes of keys, one after the other: edges are split above and below.
const PREFIXES: [&str; 6] = ["", "aaaa", "aaab", "aaaaaaaa", "ab", "aaaaaaab"];

/// A client at work on keys of its own.
#[derive(Default)]
struct Client {
    shape: Shape,
    task: Option<(Task, Vec<Effect>)>,
    round: Vec<(KeyOp, Option<Outcome>)>,
    /// What it has been told is there.
    sure: Seen,
    /// Keys of which it cannot know.
    unsure: BTreeSet<Vec<u8>>,
    serial: u32,
    sleeps_until: u32,
}

impl Client {
    fn begin(&mut self, who: usize, phase: u32, draw: &mut dyn FnMut(u64) -> u64) {
        self.serial += 1;
        let prefix = PREFIXES[((phase / 2 + draw(2) as u32) % 6) as usize];
        let shrinking = phase % 2 == 1;
        let own: Vec<Vec<u8>> = self.sure.keys().cloned().collect();
        let mut effect: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for _ in 0..1 + draw(8) {
            let key = if shrinking && !own.is_empty() && draw(3) > 0 {
                own[draw(own.len() as u64) as usize].clone()
            } else {
                format!("{prefix}{:02}/{who}", draw(40)).into_bytes()
            };
            let stays = draw(8) >= if shrinking { 7 } else { 1 };
            effect.insert(key, stays.then(|| self.serial.to_be_bytes().to_vec()));
        }
        let change = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| match value {
            Some(value) => set(key, value),
            None => removal(key),
        };
        let request = Request::Write(effect.iter().map(change).collect());
        let task = Task::new("t".to_owned(), 0, request, &self.shape);
        self.task = Some((task, effect.into_iter().collect()));
    }

    fn take_in(&mut self, (key, value): Effect, done: bool) {
        match value {
            Some(value) if done => drop(self.sure.insert(key, value)),
            None if done => drop(self.sure.remove(&key)),
            _ => {
                self.sure.remove(&key);
                self.unsure.insert(key);
            }
        }
    }

    /// Whether it is about to change a key, or cannot know what it is.
    fn disturbs(&self, key: &[u8]) -> bool {
        let changes = |(_, effect): &(Task, Vec<Effect>)| effect.iter().any(|(other, _)| other == key);
        self.unsure.contains(key) || self.task.iter().any(changes)
    }
}

/// What all clients are sure of, and nobody is about to change.
fn undisturbed(clients: &[Client]) -> Seen {
    let sure = clients.iter().flat_map(|client| client.sure.clone());
    sure.filter(|(key, _)| !clients.iter().any(|client| client.disturbs(key))).collect()
}

fn seen(answer: Answer) -> Seen {
    answer.entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

/// Clients that write into one tree, operation by operation in any order. Some sleep, some vanish in the middle; answers are
/// lost, and what was asked takes effect at once, later or never; the clocks of owners differ.
fn clients(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = move |below: u64| rng.next_u64() % below;
    let mut records = Records { skew_us: [0, 300, 20_000][(seed % 3) as usize], ..Records::default() };
    let mut clients: Vec<Client> = (0..6).map(|_| Client::default()).collect();
    let mut late: Vec<KeyOp> = Vec::new();
    // Somebody who reads all the while: what nobody touches meanwhile must be seen.
    let mut reader: Option<(Task, Seen)> = None;
    let mut reads = 0;
    for step in 0..30_000_u32 {
        if !late.is_empty() && draw(40) == 0 {
            let op = late.swap_remove(draw(late.len() as u64) as usize);
            records.execute(&op);
        }
        let who = draw(clients.len() as u64) as usize;
        let client = &mut clients[who];
        if client.sleeps_until > step {
            continue;
        }
        if draw(300) == 0 {
            client.sleeps_until = step + draw(3_000) as u32;
            continue;
        }
        if client.task.is_none() {
            client.begin(who, step / 1_500, &mut draw);
            if let (Some((_, must)), Some((_, effect))) = (&mut reader, &client.task) {
                effect.iter().for_each(|(key, _)| drop(must.remove(key)));
            }
        }
        if client.round.is_empty() {
            let ops = client.task.as_mut().map(|(task, _)| task.poll()).unwrap_or_default();
            client.round = ops.into_iter().map(|op| (op, None)).collect();
        }
        if client.round.is_empty() {
            let Some((task, effect)) = client.task.take() else { continue };
            for (effect, wrote) in effect.into_iter().zip(task.into_answer().wrote) {
                assert!(matches!(wrote, Wrote::Done | Wrote::Unreachable), "seed {seed}: {wrote:?}");
                client.take_in(effect, wrote == Wrote::Done);
            }
            continue;
        }
        if draw(400) == 0 {
            // It vanishes, and what it asked for may come later.
            let effect = client.task.take().map(|(_, effect)| effect).unwrap_or_default();
            effect.into_iter().for_each(|effect| client.take_in(effect, false));
            let open = client.round.drain(..).filter(|(_, outcome)| outcome.is_none()).map(|(op, _)| op);
            late.extend(open.filter(|_| draw(2) == 0));
            client.shape = Shape::default();
            continue;
        }
        let open: Vec<usize> = (0..client.round.len()).filter(|at| client.round[*at].1.is_none()).collect();
        let at = open[draw(open.len() as u64) as usize];
        let op = &client.round[at].0;
        let outcome = if draw(60) > 0 {
            records.execute(op)
        } else {
            match draw(3) {
                0 => drop(records.execute(op)),
                1 if !op.action.reads() => late.push(op.clone()),
                _ => {}
            }
            Outcome::Unreachable
        };
        client.round[at].1 = Some(outcome);
        if open.len() == 1 {
            let outcomes = client.round.drain(..).filter_map(|(_, outcome)| outcome).collect();
            if let Some((task, _)) = &mut client.task {
                task.on_outcomes(&mut client.shape, outcomes);
            }
        }
        if step % 7 == 0 {
            match reader.take() {
                None => {
                    let range = Range { backwards: draw(2) == 0, ..Range::default() };
                    let task = Task::new("t".to_owned(), 0, Request::Range(range), &Shape::default());
                    reader = Some((task, undisturbed(&clients)));
                }
                Some((mut task, must)) => {
                    let ops = task.poll();
                    if !ops.is_empty() {
                        let outcomes = ops.iter().map(|op| records.execute(op)).collect();
                        task.on_outcomes(&mut Shape::default(), outcomes);
                        reader = Some((task, must));
                        continue;
                    }
                    let answer = task.into_answer();
                    let whole = answer.missing == 0;
                    let seen = seen(answer);
                    for (key, value) in must.iter().filter(|(key, _)| whole || seen.contains_key(*key)) {
                        let told = String::from_utf8_lossy(key);
                        assert_eq!(seen.get(key), Some(value), "seed {seed} step {step} {told}");
                    }
                    reads += u32::from(whole);
                }
            }
        }
        // Who reads all at once sees what there is, and only that.
        if step % 250 == 0 {
            let answer = records.all();
            assert_eq!(answer.coverage(), 1.0, "seed {seed} step {step}");
            let (seen, must) = (seen(answer), undisturbed(&clients));
            for (key, value) in &must {
                assert_eq!(seen.get(key), Some(value), "seed {seed} step {step} {}", String::from_utf8_lossy(key));
            }
            for key in seen.keys().filter(|key| !must.contains_key(*key)) {
                let known = clients.iter().any(|client| client.disturbs(key));
                assert!(known, "seed {seed} step {step}: {} is back", String::from_utf8_lossy(key));
            }
        }
    }
    assert!(reads > 20, "{reads} reads");
    // Everybody stops where it is. Who comes next finds a tree that it can write to everywhere.
    let mut shape = Shape::default();
    for prefix in PREFIXES {
        for number in 0..40 {
            let change = set(format!("{prefix}{number:02}/z").as_bytes(), b"");
            let answer = records.run(&mut shape, Request::Write(vec![change]));
            assert_eq!(answer.wrote, [Wrote::Done], "seed {seed}: {prefix}{number:02}");
        }
    }
    // And no node lives below a leaf.
    let alive = |node: &Node| {
        !matches!(node.state, State::Pending | State::Frozen) && !matches!(node.body, Body::Marker { .. })
    };
    let nodes: Vec<(Label, Node)> = records.nodes().into_iter().filter(|(_, node)| alive(node)).collect();
    for (leaf, _) in nodes.iter().filter(|(_, node)| matches!(node.body, Body::Leaf(_))) {
        let below = nodes.iter().filter(|(name, _)| name != leaf && leaf.is_prefix_of(name)).count();
        assert_eq!(below, 0, "seed {seed}: below {leaf:?}");
    }
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
                let op =
                    KeyOp { namespace: "t".to_owned(), locality_bits: 0, key: label.to_key(), action, proof: None };
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
fn what_is_lost_is_missing() {
    let lose = |of: fn(&Body) -> bool| {
        let mut records = Records::default();
        records.set(&mut Shape::default(), &numbers(1_000));
        let below_root = |(name, node): &(Label, Node)| name.len() > 2 && of(&node.body);
        let (name, _) = records.nodes().into_iter().find(below_root).unwrap();
        records.records.remove(&name.to_key());
        for _ in 0..2 {
            let all = records.all();
            assert!(all.entries.len() < 1_000 && all.coverage() < 1.0, "coverage {}", all.coverage());
        }
        (records, name)
    };
    // A leaf is begun anew by who writes to it.
    let (mut records, name) = lose(|body| matches!(body, Body::Leaf(_)));
    let lost: Vec<Vec<u8>> = numbers(1_000).into_iter().filter(|key| name.is_prefix_of(&Label::of(key))).collect();
    records.set(&mut Shape::default(), &lost);
    let all = records.all();
    assert_eq!((all.entries.len(), all.coverage()), (1_000, 1.0));
    // Below an inner node there are others: it is not.
    let (mut records, name) = lose(|body| matches!(body, Body::Inner { .. }));
    let below = numbers(1_000).into_iter().filter(|key| name.is_prefix_of(&Label::of(key)));
    let writes = below.map(|key| set(&key, b"")).collect();
    let answer = records.run(&mut Shape::default(), Request::Write(writes));
    assert!(answer.wrote.contains(&Wrote::Unreachable));
    assert!(records.all().coverage() < 1.0);
    // A node that does not read is not taken for an empty one.
    let root = records.records.get_mut(&Label::default().to_key()).unwrap();
    root.0.truncate(root.0.len() / 2);
    let all = records.all();
    assert!(all.entries.is_empty() && all.coverage() < 1.0);
    let answer = records.run(&mut Shape::default(), Request::Write(vec![set(b"x", b"")]));
    assert!(matches!(answer.wrote[0], Wrote::Refused(_)));
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
