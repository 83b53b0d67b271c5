//! What the steps of a statement share: needs on their way out, answers awaited, cost and coverage so far.

use std::collections::VecDeque;

use super::{Env, GatherEnd, Learned, Need, Part, Shapes};
use crate::{
    data::{Cost, QueryResult},
    exec::{
        exchange::JoinPlan,
        fragment::{Decode, FragmentPlan},
    },
    map::Map,
    store::KeyOp,
};

/// See the module's documentation.
pub(super) struct Host {
    pub env: Env,
    /// Microseconds since the statement began, where that is told.
    pub at_us: Option<u64>,
    pub queue: VecDeque<Need>,
    /// How many outcomes each open need awaits; `None` for a gather.
    open: Map<u32, Option<usize>>,
    /// The tables that open gathers read whole, and how many rows they met so far.
    scans: Map<u32, (String, u64)>,
    /// The number of the last need.
    pub serial: u32,
    /// What is known of the shapes of trees.
    pub shapes: Shapes,
    /// What was found out beside the result.
    pub learned: Learned,
    cost: Cost,
    /// What the last answer cost.
    pub last: Cost,
    /// What the parts of the last join came to.
    pub parts: Vec<Part>,
    /// Whether the last gather did not get everything.
    pub lacked: bool,
    coverage: f64,
    assumed_lost: bool,
}

impl Host {
    pub fn new(env: Env, serial: u32) -> Host {
        Host {
            env,
            at_us: None,
            queue: VecDeque::new(),
            open: Map::new(),
            scans: Map::new(),
            serial,
            shapes: Shapes::default(),
            learned: Learned::default(),
            cost: Cost::default(),
            last: Cost::default(),
            parts: Vec::new(),
            lacked: false,
            coverage: 1.0,
            assumed_lost: false,
        }
    }

    pub fn ops(&mut self, ops: Vec<KeyOp>) -> u32 {
        self.serial += 1;
        self.open.insert(self.serial, Some(ops.len()));
        self.queue.push_back(Need::Ops { need: self.serial, ops });
        self.serial
    }

    pub fn gather(&mut self, fragment: FragmentPlan) -> u32 {
        self.serial += 1;
        self.open.insert(self.serial, None);
        if fragment.decode == Decode::Row && !fragment.stops_early() {
            self.scans.insert(self.serial, (fragment.namespace.clone(), 0));
        }
        self.queue.push_back(Need::Gather { need: self.serial, fragment });
        self.serial
    }

    pub fn join(&mut self, plan: JoinPlan) -> u32 {
        self.serial += 1;
        self.open.insert(self.serial, None);
        self.queue.push_back(Need::Join { need: self.serial, plan: Box::new(plan) });
        self.serial
    }

    /// Whether these operations were awaited, and so many of them.
    pub fn take_ops(&mut self, need: u32, outcomes: usize, cost: Cost) -> bool {
        self.spend(cost);
        match self.open.get(&need) {
            Some(Some(count)) if *count == outcomes => self.open.remove(&need).is_some(),
            _ => false,
        }
    }

    /// Whether this gather is going on.
    pub fn gathering(&self, need: u32) -> bool {
        self.open.get(&need) == Some(&None)
    }

    /// Owners have looked at so many more records for this gather.
    pub fn scanned(&mut self, need: u32, records: u64) {
        if let Some((_, rows)) = self.scans.get_mut(&need) {
            *rows = rows.saturating_add(records);
        }
    }

    /// Whether this gather was going on; it no longer is.
    pub fn take_gather(&mut self, need: u32, end: &GatherEnd) -> bool {
        let going_on = self.gathering(need);
        if going_on {
            self.open.remove(&need);
            self.spend(Cost { messages: end.messages, bytes: end.bytes, peers: end.peers, elapsed_us: 0 });
            self.parts.clone_from(&end.parts);
            // One gather that is not complete is a result that is not complete.
            self.coverage = self.coverage.min(end.coverage);
            self.lacked = end.coverage < 1.0;
            self.assumed_lost |= end.assumed_lost;
            if let Some(scan) = self.scans.remove(&need).filter(|_| end.coverage == 1.0 && end.fault.is_none()) {
                self.learned.counts.push(scan);
                self.learned.peers = end.peers;
            }
        }
        going_on
    }

    /// A part of what was asked answered.
    pub fn cover(&mut self, coverage: f64) {
        self.coverage = self.coverage.min(coverage);
    }

    fn spend(&mut self, cost: Cost) {
        self.last = cost;
        self.cost.messages = self.cost.messages.saturating_add(cost.messages);
        self.cost.bytes = self.cost.bytes.saturating_add(cost.bytes);
        self.cost.peers = self.cost.peers.max(cost.peers);
    }

    /// A result without rows.
    pub fn done(&self, affected: u64) -> QueryResult {
        QueryResult {
            columns: Vec::new(),
            rows: Vec::new(),
            affected,
            coverage: self.coverage,
            assumed_lost: self.assumed_lost,
            cost: self.cost,
        }
    }
}
