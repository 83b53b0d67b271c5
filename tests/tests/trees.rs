//! Prefix hash trees in simulated networks: many peers write and read one tree, while peers crash and join, against an
//! ordinary map.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::collections::BTreeMap;

use pontoon_core::pht::{Answer, Change, Held, Range, Request, Shape, What, Wrote};
use pontoon_tests::{
    sim::{Crash, Sim, SimConfig},
    trees::{Work, point},
};

const SECOND_US: u64 = 1_000_000;
const STEP_US: u64 = 50_000;

type Bytes = Vec<u8>;

fn seeds(count: u64) -> std::ops::RangeInclusive<u64> {
    let alone = std::env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    alone.map_or(1..=count, |seed: u64| seed..=seed)
}

fn settled(config: SimConfig) -> Sim {
    let seed = config.seed;
    let mut sim = Sim::new(config);
    sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: not settled: {unsettled}"));
    sim
}

fn set(key: &[u8], value: &[u8]) -> Change {
    Change { key: key.to_vec(), what: What::Set(value.to_vec(), 1), expect: Held::Any }
}

fn rows(answer: &Answer) -> Vec<(Bytes, Bytes)> {
    answer.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

#[test]
fn peers_that_write_at_once_make_one_tree() {
    let mut sim = settled(SimConfig::new(3, 24));
    let mut model = BTreeMap::new();
    let writers: Vec<usize> = (0..8).map(|writer| writer * 3).collect();
    let mut shapes: Vec<Shape> = writers.iter().map(|_| Shape::default()).collect();
    for batch in 0..6_u64 {
        let mut works: Vec<Work> = Vec::new();
        for (writer, node) in writers.iter().enumerate() {
            let changes: Vec<Change> = (0..40)
                .map(|_| {
                    let key = sim.draw(u64::MAX).to_be_bytes().to_vec();
                    let value = batch.to_be_bytes();
                    model.insert(key.clone(), value.to_vec());
                    set(&key, &value)
                })
                .collect();
            works.push(sim.begin(*node, "numbers", &shapes[writer], Request::Write(changes)));
        }
        let mut open: Vec<(usize, Work)> = works.into_iter().enumerate().collect();
        while !open.is_empty() {
            sim.run_for(STEP_US);
            let mut still = Vec::new();
            for (writer, mut work) in open {
                if sim.goes_on(&mut work, &mut shapes[writer]) {
                    still.push((writer, work));
                } else {
                    assert!(work.answer().wrote.iter().all(|wrote| *wrote == Wrote::Done));
                }
            }
            open = still;
        }
    }
    let all: Vec<(Bytes, Bytes)> = model.into_iter().collect();
    let answer = sim.tree(1, "numbers", &mut Shape::default(), Request::Range(Range::default()));
    assert_eq!((rows(&answer), answer.missing), (all.clone(), 0));
    // Parts of it in both directions, from a peer that knows nothing of the tree and one that does.
    let mut shape = Shape::default();
    for (from, to) in [(5, 6), (100, 400), (1_500, 1_920)] {
        for backwards in [false, true] {
            let range = Range {
                from: all[from].0.clone(),
                to: all.get(to).map(|(key, _)| key.clone()),
                backwards,
                limit: Some(100),
            };
            let mut expected = all[from..to].to_vec();
            if backwards {
                expected.reverse();
            }
            expected.truncate(100);
            assert_eq!(rows(&sim.tree(2, "numbers", &mut shape, Request::Range(range))), expected);
        }
    }
    let warm = sim.tree(2, "numbers", &mut shape, Request::Range(point(&all[7].0)));
    assert_eq!((rows(&warm), warm.probes <= 2), (vec![all[7].clone()], true));
}

/// Somebody who writes keys of its own at one peer.
struct Writer {
    node: usize,
    shape: Shape,
    work: Option<(Work, BTreeMap<Bytes, Option<Bytes>>)>,
    /// What it knows to be there, and what may be.
    sure: BTreeMap<Bytes, Bytes>,
    unsure: BTreeMap<Bytes, Vec<Option<Bytes>>>,
    serial: u32,
}

impl Writer {
    /// Mostly writes, or mostly removes.
    fn begin(&mut self, sim: &mut Sim, who: usize, shrinking: bool) {
        let mut effect = BTreeMap::new();
        for _ in 0..1 + sim.draw(20) {
            self.serial += 1;
            let key = format!("{:03}/{who}", sim.draw(120)).into_bytes();
            let value = (sim.draw(8) >= if shrinking { 7 } else { 1 }).then(|| self.serial.to_be_bytes().to_vec());
            effect.insert(key, value);
        }
        let change = |(key, value): (&Bytes, &Option<Bytes>)| match value {
            Some(value) => set(key, value),
            None => Change { key: key.clone(), what: What::Remove(0), expect: Held::Any },
        };
        let request = Request::Write(effect.iter().map(change).collect());
        self.work = Some((sim.begin(self.node, "busy", &self.shape, request), effect));
    }

    fn take_in(&mut self, key: Bytes, value: Option<Bytes>, done: bool) {
        if done {
            self.unsure.remove(&key);
            match value {
                Some(value) => drop(self.sure.insert(key, value)),
                None => drop(self.sure.remove(&key)),
            }
        } else {
            let before = self.sure.remove(&key);
            self.unsure.entry(key).or_insert_with(|| vec![before]).push(value);
        }
    }

    /// Whether it is about to change a key, or cannot know what it is.
    fn disturbs(&self, key: &[u8]) -> bool {
        self.unsure.contains_key(key) || self.work.iter().any(|(_, effect)| effect.contains_key(key))
    }

    fn may_be(&self, key: &[u8], value: &Bytes) -> bool {
        let wrote = |values: &Vec<Option<Bytes>>| values.contains(&Some(value.clone()));
        self.sure.get(key) == Some(value)
            || self.unsure.get(key).is_some_and(wrote)
            || self.work.iter().any(|(_, effect)| effect.contains_key(key))
    }
}

/// Who reads the whole tree, with what must be in it unless it is touched meanwhile.
struct Reader {
    node: usize,
    shape: Shape,
    work: Work,
    must: BTreeMap<Bytes, Bytes>,
}

fn churn(seed: u64) {
    // Wall clocks differ in every second run.
    let wall_skew_us = if seed.is_multiple_of(2) { 60 * SECOND_US } else { 0 };
    let mut sim = settled(SimConfig { wall_skew_us, ..SimConfig::new(seed, 32) });
    let mut writers: Vec<Writer> = (0..6)
        .map(|who| Writer {
            node: 1 + who * 5,
            shape: Shape::default(),
            work: None,
            sure: BTreeMap::new(),
            unsure: BTreeMap::new(),
            serial: 0,
        })
        .collect();
    let mut reader: Option<Reader> = None;
    let (mut whole, mut partial, mut crashes) = (0, 0, 0);
    let mut down: Vec<usize> = Vec::new();
    for step in 0..1_200_u64 {
        sim.run_for(STEP_US);
        // A peer crashes every two seconds, and returns with its disk in another one or so.
        if step % 40 == 20 {
            let node = 1 + sim.draw(31) as usize;
            if sim.is_up(node) && down.len() < 2 {
                let how = if sim.draw(2) == 0 { Crash::Noticed } else { Crash::Silent };
                sim.crash(node, how);
                down.push(node);
                crashes += 1;
            }
        }
        if step % 30 == 0 && !down.is_empty() {
            sim.restart(down.remove(0));
        }
        for (who, writer) in writers.iter_mut().enumerate() {
            match writer.work.take() {
                None if sim.is_up(writer.node) => {
                    writer.begin(&mut sim, who, step / 200 % 2 == 1);
                    if let (Some(reader), Some((_, effect))) = (&mut reader, &writer.work) {
                        reader.must.retain(|key, _| !effect.contains_key(key));
                    }
                }
                None => {}
                Some((mut work, effect)) => {
                    if sim.goes_on(&mut work, &mut writer.shape) {
                        writer.work = Some((work, effect));
                        continue;
                    }
                    let wrote = work.answer().wrote;
                    for ((key, value), wrote) in effect.into_iter().zip(wrote) {
                        writer.take_in(key, value, wrote == Wrote::Done);
                    }
                }
            }
        }
        match reader.take() {
            None => {
                let node = sim.draw(sim.len() as u64) as usize;
                if sim.is_up(node) {
                    let sure = writers.iter().flat_map(|writer| writer.sure.clone());
                    let must = sure.filter(|(key, _)| !writers.iter().any(|writer| writer.disturbs(key))).collect();
                    let range = Range { backwards: sim.draw(2) == 0, ..Range::default() };
                    let work = sim.begin(node, "busy", &Shape::default(), Request::Range(range));
                    reader = Some(Reader { node, shape: Shape::default(), work, must });
                }
            }
            Some(mut it) => {
                if sim.goes_on(&mut it.work, &mut it.shape) {
                    reader = Some(it);
                    continue;
                }
                let gone = !sim.is_up(it.node);
                let answer = it.work.answer();
                let seen: BTreeMap<Bytes, Bytes> = rows(&answer).into_iter().collect();
                for (key, value) in &seen {
                    let told = String::from_utf8_lossy(key);
                    let must = it.must.get(key).unwrap_or(value);
                    assert_eq!(must, value, "seed {seed} step {step}: {told}");
                }
                if answer.missing > 0 || gone {
                    assert!(answer.coverage() < 1.0 || gone);
                    partial += 1;
                } else {
                    for (key, value) in &it.must {
                        let told = String::from_utf8_lossy(key);
                        assert_eq!(seen.get(key), Some(value), "seed {seed} step {step}: {told}");
                    }
                    whole += 1;
                }
            }
        }
    }
    for node in down {
        sim.restart(node);
    }
    sim.settle(120 * SECOND_US).unwrap_or_else(|unsettled| panic!("seed {seed}: not settled: {unsettled}"));
    println!("seed {seed}: {crashes} crashes, {whole} whole reads, {partial} partial ones");
    assert!(whole > 10, "seed {seed}: {whole} whole reads");
    // At rest the tree is what was written.
    let answer = sim.tree(0, "busy", &mut Shape::default(), Request::Range(Range::default()));
    assert_eq!(answer.missing, 0, "seed {seed}");
    let seen: BTreeMap<Bytes, Bytes> = rows(&answer).into_iter().collect();
    for writer in &writers {
        for (key, value) in writer.sure.iter().filter(|(key, _)| !writer.disturbs(key)) {
            assert_eq!(seen.get(key), Some(value), "seed {seed}: {}", String::from_utf8_lossy(key));
        }
    }
    for (key, value) in &seen {
        let known = writers.iter().any(|writer| writer.may_be(key, value));
        assert!(known, "seed {seed}: {} is back", String::from_utf8_lossy(key));
    }
}

#[test]
fn a_tree_is_what_was_written_while_peers_crash() {
    seeds(6).for_each(churn);
}
