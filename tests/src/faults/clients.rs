//! Clients: operations on a few keys from many nodes, queries over a table, broadcasts; all that was asked and answered.

use std::collections::{BTreeMap, BTreeSet};

use pontoon_core::{
    CallId, Command, Reply,
    data::Value,
    sql::asking::Definitions,
    store::{Action, Expect, Outcome, Version},
};

use super::{SECOND_US, mischief::Mischief};
use crate::{
    checker::Event,
    ops::{Ask, get, op},
    sim::Sim,
};

/// Of the keys.
const NAMESPACE: &str = "faults";
const KEYS: usize = 6;
const CLIENTS: usize = 16;
const ROWS: i64 = 40;
/// How long an operation is tried.
const DEADLINE_US: u64 = 5 * SECOND_US;

/// A call with operations on keys.
struct Call {
    node: usize,
    call: CallId,
    begun_us: u64,
    ops: Vec<(usize, Action)>,
}

/// See the module.
pub struct Clients {
    open: Vec<Call>,
    /// What happened to each key.
    pub histories: Vec<Vec<Event>>,
    /// The last version of each key that anybody was told.
    known: Vec<Option<Version>>,
    values: u64,
    query: Option<(usize, Ask, Definitions)>,
    broadcast: Option<(CallId, Vec<u8>)>,
    /// Copies of each broadcast that arrived, by payload and node.
    delivered: BTreeMap<(Vec<u8>, usize), usize>,
    /// Queries that covered everything and were right, and those that said that they did not.
    pub queries: (usize, usize),
    /// Broadcasts that were confirmed by all, and others.
    pub broadcasts: (usize, usize),
    /// What must never be.
    pub violations: Vec<String>,
    /// Queries over regions whose majority was given up for lost that lacked rows, and said so.
    pub lossy: usize,
}

/// The name of a key.
pub fn key(index: usize) -> Vec<u8> {
    format!("key {index}").into_bytes()
}

/// Where a key lives.
pub fn place(index: usize) -> pontoon_core::Id {
    pontoon_core::Id::object(NAMESPACE, &key(index), 0)
}

impl Clients {
    /// Makes the table.
    pub fn new(sim: &mut Sim) -> Result<Clients, String> {
        let failed = |error| format!("the table was not made: {error}");
        sim.sql(1, "CREATE TABLE marks (id INTEGER PRIMARY KEY)").map_err(failed)?;
        let values: Vec<String> = (0..ROWS).map(|id| format!("({id})")).collect();
        let inserted = sim.sql(2, &format!("INSERT INTO marks VALUES {}", values.join(", "))).map_err(failed)?;
        if inserted.affected != ROWS as u64 {
            return Err("not all rows were inserted".to_owned());
        }
        Ok(Clients {
            open: Vec::new(),
            histories: vec![Vec::new(); KEYS],
            known: vec![None; KEYS],
            values: 0,
            query: None,
            broadcast: None,
            delivered: BTreeMap::new(),
            queries: (0, 0),
            broadcasts: (0, 0),
            violations: Vec::new(),
            lossy: 0,
        })
    }

    /// Whether anything is under way.
    pub fn busy(&self) -> bool {
        !self.open.is_empty() || self.query.is_some() || self.broadcast.is_some()
    }

    /// A node died: what it was asked is never answered.
    pub fn died(&mut self, node: usize) {
        for call in std::mem::take(&mut self.open) {
            if call.node == node {
                self.record(&call, u64::MAX, &[]);
            } else {
                self.open.push(call);
            }
        }
        if self.query.as_ref().is_some_and(|(at, ..)| *at == node) {
            self.query = None;
        }
        // Its next life knows nothing of what reached this one.
        self.delivered.retain(|(_, at), _| *at != node);
    }

    /// What is not answered by now never will be.
    pub fn give_up(&mut self) {
        for call in std::mem::take(&mut self.open) {
            self.record(&call, u64::MAX, &[]);
        }
        self.query = None;
        self.broadcast = None;
    }

    fn record(&mut self, call: &Call, ended_us: u64, outcomes: &[Outcome]) {
        for (at, (key, action)) in call.ops.iter().enumerate() {
            let outcome = outcomes.get(at).cloned().unwrap_or(Outcome::Unreachable);
            match &outcome {
                Outcome::Found { version, .. } | Outcome::Stored { version } => self.known[*key] = Some(*version),
                Outcome::Conflict { current } => self.known[*key] = current.as_ref().map(|(_, version)| *version),
                _ => {}
            }
            self.histories[*key].push(Event {
                node: call.node,
                begun_us: call.begun_us,
                ended_us,
                action: action.clone(),
                outcome,
            });
        }
    }

    /// Takes in what was answered.
    pub fn look(&mut self, sim: &mut Sim, asleep: impl Fn(usize) -> bool) {
        for call in std::mem::take(&mut self.open) {
            match sim.reply(call.call) {
                Some((at_us, Ok(Reply::Keys(outcomes, _)))) => self.record(&call, at_us, &outcomes),
                Some((at_us, _)) => self.record(&call, at_us, &[]),
                None => self.open.push(call),
            }
        }
        for delivery in sim.take_deliveries() {
            let count = self.delivered.entry((delivery.payload, delivery.node)).or_default();
            *count += 1;
            if *count > 1 {
                self.violations.push(format!("a broadcast reached node {} twice", delivery.node));
            }
        }
        if let Some((call, payload)) = self.broadcast.take() {
            match sim.reply(call) {
                Some((_, Ok(Reply::Reached { coverage: 1.0, .. }))) => {
                    let reached = self.delivered.keys().filter(|(sent, _)| *sent == payload).count();
                    self.broadcasts.0 += usize::from(reached > 0);
                }
                Some(_) => self.broadcasts.1 += 1,
                None => self.broadcast = Some((call, payload)),
            }
        }
        if let Some((node, mut ask, mut definitions)) = self.query.take() {
            match sim.look(&mut ask, &mut definitions) {
                Some(result) => self.judge(sim.now_us(), node, result),
                None if asleep(node) || sim.is_up(node) => self.query = Some((node, ask, definitions)),
                None => {}
            }
        }
    }

    /// A result with coverage 1 is complete, unless it says that a majority was lost; no row is there twice.
    fn judge(
        &mut self,
        now_us: u64,
        node: usize,
        result: Result<pontoon_core::data::QueryResult, pontoon_core::Error>,
    ) {
        let Ok(result) = result else {
            self.queries.1 += 1;
            return;
        };
        let rows: Vec<i64> = result
            .rows
            .iter()
            .filter_map(|row| match row.first() {
                Some(Value::Integer(id)) => Some(*id),
                _ => None,
            })
            .collect();
        let unique: BTreeSet<i64> = rows.iter().copied().collect();
        let text = |what: &str| format!("at {:.3} s node {node} was told {what}: {rows:?}", now_us as f64 / 1e6);
        if unique.len() != rows.len() {
            self.violations.push(text("of a row twice"));
        }
        if unique.iter().any(|id| !(0..ROWS).contains(id)) {
            self.violations.push(text("of a row that nobody inserted"));
        }
        if result.coverage < 1.0 {
            self.queries.1 += 1;
        } else if unique.len() == ROWS as usize {
            self.queries.0 += 1;
        } else if result.assumed_lost {
            self.lossy += 1;
        } else {
            self.violations.push(text("that these are all rows"));
        }
    }

    /// Asks anew.
    pub fn step(&mut self, sim: &mut Sim, mischief: &Mischief, chaos: bool) {
        if !chaos {
            return;
        }
        if self.open.len() < CLIENTS
            && let Some(node) = Self::anybody(sim, mischief)
        {
            self.ask(sim, node);
        }
        if self.query.is_none()
            && sim.draw(40) == 0
            && let Some(node) = Self::anybody(sim, mischief)
        {
            let mut definitions = Definitions::default();
            if let Ok(ask) = sim.ask(node, &mut definitions, "SELECT id FROM marks", Some(2 * DEADLINE_US)) {
                self.query = Some((node, ask, definitions));
            }
        }
        if self.broadcast.is_none()
            && sim.draw(60) == 0
            && let Some(node) = Self::anybody(sim, mischief)
        {
            self.values += 1;
            let payload = self.values.to_be_bytes().to_vec();
            self.broadcast = Some((sim.command(node, Command::SendAll { payload: payload.clone() }), payload));
        }
    }

    fn anybody(sim: &mut Sim, mischief: &Mischief) -> Option<usize> {
        let live = sim.live();
        let node = live[sim.draw(live.len() as u64) as usize];
        (!mischief.is_away(node, sim.now_us())).then_some(node)
    }

    fn ask(&mut self, sim: &mut Sim, node: usize) {
        let mut ops = Vec::new();
        let first = sim.draw(KEYS as u64) as usize;
        for at in 0..if sim.draw(6) == 0 { 2 } else { 1 } {
            let key = (first + at) % KEYS;
            let expect = match (sim.draw(4), self.known[key]) {
                (0, _) => Expect::Absent,
                (1 | 2, Some(version)) => Expect::Version(version),
                _ => Expect::Any,
            };
            let action = match sim.draw(10) {
                0..5 => Action::Get,
                5..9 => {
                    self.values += 1;
                    Action::Put { value: self.values.to_be_bytes().to_vec(), expect, ttl_us: None }
                }
                _ => Action::Remove { expect },
            };
            ops.push((key, action));
        }
        self.send(sim, node, ops);
    }

    fn send(&mut self, sim: &mut Sim, node: usize, ops: Vec<(usize, Action)>) {
        let wanted = ops.iter().map(|(index, action)| op(NAMESPACE, &key(*index), action.clone())).collect();
        let call = sim.command(node, Command::Keys { ops: wanted, deadline_us: Some(DEADLINE_US) });
        self.open.push(Call { node, call, begun_us: sim.now_us(), ops });
    }

    /// All has settled: every key is read at three nodes, the table at one, and everybody answers.
    pub fn read_back(&mut self, sim: &mut Sim) {
        let live = sim.live();
        for index in 0..KEYS {
            for _ in 0..3 {
                let node = live[sim.draw(live.len() as u64) as usize];
                let begun_us = sim.now_us();
                let outcome = sim.keys(node, vec![get(NAMESPACE, &key(index))]).remove(0);
                if !matches!(outcome, Outcome::Found { .. } | Outcome::Absent) {
                    self.violations.push(format!("key {index} is not answered at node {node} at the end: {outcome:?}"));
                }
                let ended_us = sim.now_us();
                self.histories[index].push(Event { node, begun_us, ended_us, action: Action::Get, outcome });
            }
        }
        let node = live[sim.draw(live.len() as u64) as usize];
        let result = sim.sql(node, "SELECT id FROM marks");
        if result.as_ref().map_or(true, |result| result.coverage < 1.0) {
            self.violations.push(format!("the table is not answered at the end: {result:?}"));
        }
        self.judge(sim.now_us(), node, result);
    }
}
