//! Random operations under random crashes, joins, cuts and losses: what was acknowledged is never lost, a counter
//! that is only written conditionally never loses an increment, and at no moment do two peers answer for one id.

use std::collections::{BTreeMap, BTreeSet};

use super::swarm::{Swarm, id};
use crate::{
    id::Id,
    store::{Action, Expect, Outcome, Version},
};

const SECOND: u64 = 1_000_000;

/// One client counting one key up, one operation at a time.
struct Counter {
    key: Vec<u8>,
    /// The operation under way: its ticket, the value it writes, and what the key had reached when it was asked.
    ticket: Option<(u64, Option<u64>, Option<u64>)>,
    known: Option<(u64, Version)>,
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[..8].try_into().unwrap())
}

struct Run {
    swarm: Swarm,
    counters: Vec<Counter>,
    /// Per key: acknowledged increments, and the highest value anybody saw.
    acknowledged: BTreeMap<Vec<u8>, BTreeSet<u64>>,
    highest: BTreeMap<Vec<u8>, u64>,
    answered: usize,
}

impl Run {
    fn new(seed: u64, peers: u64) -> Run {
        Run::with(Swarm::new(seed, peers))
    }

    fn with(mut swarm: Swarm) -> Run {
        swarm.until(30 * SECOND, Swarm::settled);
        swarm.pass(4 * SECOND);
        let counters = (0..12_u8).map(|at| Counter { key: vec![at % 4], ticket: None, known: None }).collect();
        Run { swarm, counters, acknowledged: BTreeMap::new(), highest: BTreeMap::new(), answered: 0 }
    }

    /// Collects answers and asks anew.
    fn step(&mut self) {
        let up: Vec<Id> = self.swarm.nodes.keys().copied().collect();
        for at in 0..self.counters.len() {
            let counter = &mut self.counters[at];
            if let Some((ticket, wrote, floor)) = counter.ticket {
                let Some(outcome) = self.swarm.done.get(&ticket) else { continue };
                counter.ticket = None;
                counter.known = None;
                self.answered += usize::from(*outcome != Outcome::Unreachable);
                match outcome {
                    Outcome::Stored { version } => {
                        let value = wrote.unwrap();
                        let fresh = self.acknowledged.entry(counter.key.clone()).or_default().insert(value);
                        assert!(fresh, "two writers were told that they made {} the {value}th", at % 4);
                        counter.known = Some((value, *version));
                    }
                    Outcome::Found { value, version, .. } => counter.known = Some((number(value), *version)),
                    Outcome::Conflict { current } => {
                        counter.known = current.as_ref().map(|(value, version)| (number(value), *version));
                    }
                    Outcome::Absent => assert_eq!(floor, None, "an acknowledged write was forgotten"),
                    Outcome::Unreachable => {}
                    Outcome::Refused(refusal) => panic!("{refusal}"),
                    Outcome::Stale { .. }
                    | Outcome::Hinted
                    | Outcome::Proven(_)
                    | Outcome::Verified(_)
                    | Outcome::Unverified(_) => {
                        panic!("nobody asked for what may be old")
                    }
                }
                if let Some((value, _)) = counter.known {
                    assert!(Some(value) >= floor, "{value} after {floor:?} was seen");
                    let highest = self.highest.entry(counter.key.clone()).or_default();
                    *highest = (*highest).max(value);
                }
            }
            if self.swarm.random(3) > 0 {
                continue;
            }
            let peer = up[self.swarm.random(up.len() as u64) as usize];
            let counter = &self.counters[at];
            let (action, wrote) = match counter.known {
                Some((value, version)) => (
                    Action::Put {
                        value: (value + 1).to_be_bytes().to_vec(),
                        expect: Expect::Version(version),
                        ttl_us: None,
                    },
                    Some(value + 1),
                ),
                None if self.swarm.random(2) == 0 => {
                    (Action::Put { value: 1_u64.to_be_bytes().to_vec(), expect: Expect::Absent, ttl_us: None }, Some(1))
                }
                None => (Action::Get, None),
            };
            let key = counter.key.clone();
            let ticket = self.swarm.ask(peer, &key, action, 3 * SECOND);
            let floor = self.highest.get(&key).copied();
            self.counters[at].ticket = Some((ticket, wrote, floor));
        }
    }

    fn go(&mut self, us: u64) {
        let end = self.swarm.now + us;
        while self.swarm.now < end {
            self.step();
            self.swarm.pass(100_000);
        }
    }

    /// All is quiet: every counter stands at least where anybody was told that it stood.
    fn finish(&mut self) {
        self.swarm.loss = 0;
        self.swarm.heal();
        self.swarm.until(60 * SECOND, Swarm::settled);
        let peer = *self.swarm.nodes.keys().next().unwrap();
        for (key, highest) in self.highest.clone() {
            let value = self.swarm.get(peer, &key).map(|value| number(&value));
            assert!(value >= Some(highest), "key {key:?}: {value:?} after {highest} was seen");
            let acknowledged = self.acknowledged.get(&key).and_then(|all| all.last()).copied();
            assert!(value >= acknowledged);
        }
        assert!(self.swarm.owners().iter().all(|(_, _, lost)| !lost), "nobody was ever given up");
    }
}

/// `count` seeds from `first` on; `PONTOON_SEEDS` asks for another count.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("PONTOON_SEEDS").ok().and_then(|text| text.parse().ok());
    first..first + asked.unwrap_or(count)
}

/// A client whose node crashed gets no answer.
fn forget(run: &mut Run) {
    let done: BTreeSet<u64> = run.swarm.done.keys().copied().collect();
    for counter in &mut run.counters {
        if counter.ticket.is_some_and(|(ticket, ..)| !done.contains(&ticket)) {
            counter.ticket = None;
            counter.known = None;
        }
    }
}

#[test]
fn one_crash_after_another() {
    for seed in seeds(100, 10) {
        crashes(Swarm::new(seed, 5), seed);
    }
}

#[test]
fn one_crash_after_another_beside_archives() {
    for seed in seeds(400, 10) {
        let mut swarm = Swarm::empty(seed);
        swarm.archives.extend([id(3), id(4)].into_iter().take(1 + seed as usize % 2));
        (0..5 + seed % 2).for_each(|number| swarm.start(id(number), number == 0));
        crashes(swarm, seed);
    }
}

fn crashes(swarm: Swarm, seed: u64) {
    let mut run = Run::with(swarm);
    run.swarm.loss = if seed.is_multiple_of(2) { 0 } else { 30 };
    run.go(2 * SECOND);
    for _ in 0..5 {
        let up: Vec<Id> = run.swarm.nodes.keys().copied().collect();
        let victim = up[run.swarm.random(up.len() as u64) as usize];
        run.swarm.crash(victim);
        forget(&mut run);
        // Within a lease, within a take-over, or after it.
        let pause = run.swarm.random(12 * SECOND);
        run.go(pause);
        run.swarm.start(victim, victim == id(0));
        run.go(15 * SECOND);
    }
    run.finish();
    assert!(run.answered > 500, "seed {seed}: {}", run.answered);
}

#[test]
fn joins_and_goodbyes_in_the_middle_of_it() {
    for seed in seeds(200, 6) {
        let mut run = Run::new(seed, 3);
        for number in 3..9 {
            run.swarm.start(id(number), false);
            let pause = run.swarm.random(3 * SECOND);
            run.go(pause);
        }
        run.go(10 * SECOND);
        for number in 3..6 {
            let leaver = id(number);
            run.swarm.call(leaver, |dht, ctx, view| dht.leave(ctx, view));
            run.go(5 * SECOND);
            run.swarm.crash(leaver);
            forget(&mut run);
            run.go(2 * SECOND);
        }
        run.finish();
        assert!(run.answered > 300, "seed {seed}: {}", run.answered);
    }
}

#[test]
fn cuts_and_losses() {
    for seed in seeds(300, 8) {
        let mut run = Run::new(seed, 6);
        run.swarm.loss = 50;
        for _ in 0..4 {
            let alone = id(run.swarm.random(6));
            for number in 0..6 {
                if id(number) != alone {
                    run.swarm.cut(alone, id(number));
                }
            }
            let pause = run.swarm.random(10 * SECOND);
            run.go(pause);
            run.swarm.heal();
            run.go(12 * SECOND);
        }
        run.finish();
    }
}
