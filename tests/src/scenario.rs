//! The large scenario: a network joins, stores, broadcasts and counts, and then loses some of its nodes while it counts.
//!
//! [`Scale`] runs step by step, so that tests assert, the bench prints and both time each step from outside.

use std::collections::{BTreeMap, BTreeSet};

use pontoon_core::{
    Command, Reply,
    data::Value,
    sql::asking::Definitions,
    store::{Expect, Outcome},
};

use crate::{
    model::KeyModel,
    ops::{get, keys, outcomes, put, put_if},
    sim::{Crash, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const NAMESPACE: &str = "things";

/// A network and what it must remember.
pub struct Scale {
    /// The network.
    pub sim: Sim,
    /// What was acknowledged.
    pub model: KeyModel,
    rows: usize,
}

/// What came of storing and reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Writes acknowledged.
    pub acknowledged: usize,
    /// Writes not acknowledged.
    pub refused: usize,
    /// Reads that found what was acknowledged.
    pub found: usize,
    /// Reads that did not.
    pub lost: usize,
}

/// What came of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broadcast {
    /// Other nodes that got it exactly once.
    pub once: usize,
    /// Deliveries beyond the first at some node.
    pub repeated: usize,
    /// Nodes that the asker was told of.
    pub told: u64,
    /// The share of the key space that confirmed.
    pub coverage: f64,
    /// Task messages spent.
    pub messages: u64,
    /// When the last node got it, virtual time.
    pub last_us: u64,
}

/// What came of `count(*)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Counted {
    /// Coverage 1 and every row.
    Exact,
    /// Coverage below 1, and said so.
    Partial(f64),
    /// No result before the deadline.
    Failed,
    /// Coverage 1, and not the right number.
    Wrong(i64),
}

impl Scale {
    /// A network that has not begun.
    pub fn new(config: SimConfig) -> Scale {
        Scale { sim: Sim::new(config), model: KeyModel::default(), rows: 0 }
    }

    /// Writes `count` keys at random nodes and reads each at another one.
    pub fn store(&mut self, count: usize) -> Stored {
        let mut stored = Stored::default();
        let mut calls = Vec::new();
        for number in 0..count {
            let (key, value) = (format!("key {number}").into_bytes(), format!("value {number}").into_bytes());
            let node = self.any_node();
            let call = self.sim.command(node, keys(vec![put(NAMESPACE, &key, &value)]));
            calls.push((call, key, value));
            self.sim.run_for(2_000);
        }
        let answers = self.sim.wait(&calls.iter().map(|(call, ..)| *call).collect::<Vec<_>>(), 60 * SECOND_US);
        for ((_, key, value), answer) in calls.iter().zip(answers) {
            if matches!(outcomes(answer, 1)[..], [Outcome::Stored { .. }]) {
                stored.acknowledged += 1;
                self.model.put(NAMESPACE, key, value);
            } else {
                stored.refused += 1;
            }
        }
        (stored.found, stored.lost) = self.read_all();
        stored
    }

    /// Reads everything acknowledged, each key at a random node: how many were found, and how many were not.
    pub fn read_all(&mut self) -> (usize, usize) {
        let expected: Vec<(Vec<u8>, Vec<u8>)> =
            self.model.iter().map(|(_, key, value)| (key.to_vec(), value.to_vec())).collect();
        let mut calls = Vec::new();
        for (key, _) in &expected {
            let node = self.any_node();
            calls.push(self.sim.command(node, keys(vec![get(NAMESPACE, key)])));
            self.sim.run_for(2_000);
        }
        let answers = self.sim.wait(&calls, 60 * SECOND_US);
        let right = |(answer, (_, value)): &(Option<_>, &(_, Vec<u8>))| matches!(&outcomes(answer.clone(), 1)[..], [Outcome::Found { value: found, .. }] if found == value);
        let found = answers.into_iter().zip(&expected).filter(right).count();
        (found, expected.len() - found)
    }

    /// One message to all, from a random node.
    pub fn broadcast(&mut self) -> Broadcast {
        let asker = self.any_node();
        self.sim.take_deliveries();
        let before = self.counter("tasks_sent");
        let payload = b"to all".to_vec();
        let answer = self.sim.call(asker, Command::SendAll { payload: payload.clone() }, 60 * SECOND_US);
        let messages = self.counter("tasks_sent") - before;
        let mut reached: BTreeMap<usize, usize> = BTreeMap::new();
        let mut last_us = 0;
        for delivery in self.sim.take_deliveries().iter().filter(|delivery| delivery.payload == payload) {
            last_us = delivery.at_us;
            *reached.entry(delivery.node).or_default() += 1;
        }
        reached.remove(&asker);
        let (told, coverage) = match answer {
            Some(Ok(Reply::Reached { nodes, coverage })) => (nodes, coverage),
            _ => (0, 0.0),
        };
        let once = reached.values().filter(|count| **count == 1).count();
        let repeated = reached.values().map(|count| count - 1).sum();
        Broadcast { once, repeated, told, coverage, messages, last_us }
    }

    /// Creates the table and inserts `count` rows; how many were acknowledged.
    pub fn insert(&mut self, count: usize) -> usize {
        let creator = self.any_node();
        let created = self.sim.sql(creator, "CREATE TABLE IF NOT EXISTS counted (id INTEGER PRIMARY KEY, note TEXT)");
        if created.is_err() {
            return 0;
        }
        let (mut definitions, mut asks) = (Definitions::default(), Vec::new());
        for first in (0..count).step_by(50) {
            let node = self.any_node();
            let values: Vec<String> = (first..count.min(first + 50)).map(|id| format!("({id}, 'note {id}')")).collect();
            let text = format!("INSERT INTO counted VALUES {}", values.join(", "));
            asks.extend(self.sim.ask(node, &mut definitions, &text, None));
        }
        let answers = self.sim.answers(asks, &mut definitions, 90 * SECOND_US);
        self.rows = answers.into_iter().flatten().map(|result| result.affected as usize).sum();
        self.rows
    }

    /// `count(*)` at `askers` random nodes at once; `crashing` of the others die while it runs.
    pub fn count(&mut self, askers: usize, crashing: usize) -> Vec<Counted> {
        let mut asking = BTreeSet::new();
        while asking.len() < askers {
            asking.insert(self.any_node());
        }
        // With the definition known the counting itself begins at once, and goes on while nodes die.
        let (reader, mut definitions) = (self.any_node(), Definitions::default());
        let known = self.sim.ask(reader, &mut definitions, "EXPLAIN SELECT count(*) FROM counted", None);
        self.sim.answers(known.into_iter().collect(), &mut definitions, 60 * SECOND_US);
        let (mut asks, deadline_us) = (Vec::new(), Some(12 * SECOND_US));
        for node in &asking {
            asks.extend(self.sim.ask(*node, &mut definitions, "SELECT count(*) FROM counted", deadline_us));
        }
        for _ in 0..crashing {
            let victim = self.any_node();
            if victim == 0 || asking.contains(&victim) {
                continue;
            }
            let how = if self.sim.draw(2) == 0 { Crash::Silent } else { Crash::Noticed };
            self.sim.crash(victim, how);
            let pause = self.sim.draw(2 * 400_000 / crashing as u64);
            self.sim.run_for(pause);
        }
        let answers = self.sim.answers(asks, &mut definitions, 30 * SECOND_US);
        answers
            .into_iter()
            .map(|answer| match answer {
                Err(_) => Counted::Failed,
                Ok(result) if result.coverage < 1.0 => Counted::Partial(result.coverage),
                Ok(result) => match result.rows.first().map(Vec::as_slice) {
                    Some([Value::Integer(count)]) if *count == self.rows as i64 => Counted::Exact,
                    Some([Value::Integer(count)]) => Counted::Wrong(*count),
                    _ => Counted::Wrong(-1),
                },
            })
            .collect()
    }

    /// Two nodes insert the same absent key at once; how many won, for each of `count` keys.
    pub fn race(&mut self, count: usize) -> Vec<usize> {
        let mut wins = Vec::new();
        for number in 0..count {
            let key = format!("race {number}").into_bytes();
            let (a, b) = (self.any_node(), self.any_node());
            let calls = [(a, b"a"), (b, b"b")].map(|(node, value)| {
                self.sim.command(node, keys(vec![put_if(NAMESPACE, &key, value, Expect::Absent)]))
            });
            let answers = self.sim.wait(&calls, 60 * SECOND_US);
            let won = |answer: &Option<_>| matches!(outcomes(answer.clone(), 1)[..], [Outcome::Stored { .. }]);
            wins.push(answers.iter().filter(|answer| won(answer)).count());
        }
        wins
    }

    /// A counter summed over all live nodes.
    pub fn counter(&self, name: &str) -> u64 {
        let of = |node| self.sim.inspect(node).and_then(|inspect| inspect.counters.get(name).copied());
        self.sim.live().into_iter().filter_map(of).sum()
    }

    /// The most that one live node holds right now of what queries gather and join, bytes.
    pub fn held_max(&self) -> u64 {
        let held = |node| {
            let counters = self.sim.inspect(node)?.counters;
            Some(["task_bytes", "exchange_bytes"].iter().filter_map(|name| counters.get(*name)).sum())
        };
        self.sim.live().into_iter().filter_map(held).max().unwrap_or(0)
    }

    /// A random live node.
    pub fn any_node(&mut self) -> usize {
        let live = self.sim.live();
        live[self.sim.draw(live.len() as u64) as usize]
    }
}
