//! Live queries on a simulated network, as tests drive them.

use std::collections::BTreeMap;

use pontoon_core::{
    CallId, Command, Error, Reply,
    data::{Row, codec},
    exec::{Env, view::Splice},
    sql::{
        asking::Definitions,
        live::{Change, Live, LiveNeed},
    },
};

use crate::sim::Sim;

/// A live query of a node, and what became of the changes that it told.
pub struct Living {
    /// Where it was asked.
    pub node: usize,
    live: Live,
    definitions: Definitions,
    ops: Vec<(u32, CallId)>,
    watches: BTreeMap<u32, CallId>,
    /// What the changes come to: rows, encoded, and how often each is there.
    replayed: BTreeMap<Vec<u8>, usize>,
    /// Changes so far, and the coverage that the last one told.
    pub changes: usize,
    /// See `changes`.
    pub coverage: f64,
    /// The result, as the splices make it.
    spliced: Vec<Row>,
    /// A row went that was not there.
    pub went_twice: bool,
    /// It ended so.
    pub error: Option<Error>,
}

impl Living {
    /// The rows of the view, in its order, as what was told makes them.
    pub fn rows(&self) -> &[Row] {
        &self.spliced
    }

    /// Whether the changes that were told lead to the rows that there are.
    pub fn adds_up(&self) -> bool {
        let mut rows = BTreeMap::new();
        for row in self.rows() {
            *rows.entry(codec::encode_row(row)).or_insert(0) += 1;
        }
        let encoded = |rows: &[Row]| rows.iter().map(|row| codec::encode_row(row)).collect::<Vec<_>>();
        let spliced = self.live.rows().is_ok_and(|rows| encoded(&rows) == encoded(&self.spliced));
        !self.went_twice && self.replayed == rows && spliced
    }

    fn replay(&mut self, change: &Change) {
        for row in &change.removed {
            let key = codec::encode_row(row);
            match self.replayed.get_mut(&key) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => drop(self.replayed.remove(&key)),
                None => self.went_twice = true,
            }
        }
        for row in &change.added {
            *self.replayed.entry(codec::encode_row(row)).or_default() += 1;
        }
        let mut window = change.window.as_ref().unwrap_or(&change.added).iter().cloned();
        for Splice { at, gone, came } in &change.splices {
            drop(self.spliced.splice(*at..at + gone, window.by_ref().take(*came)));
        }
        self.changes += 1;
        self.coverage = change.coverage;
    }
}

impl Sim {
    /// Begins a live query at a node.
    pub fn begin_live(&mut self, node: usize, text: &str) -> Result<Living, Error> {
        let mut definitions = Definitions::default();
        let random = u128::from(self.draw(u64::MAX));
        let (now_us, locality_bits) = (self.clocks(node).wall as i64, self.locality_bits());
        let env = Env { now_us, random, me: self.id(node), user: self.user(node), locality_bits };
        let live = Live::new(pontoon_parser::parse_one(text)?, Vec::new(), env, &mut definitions);
        let mut living = Living {
            node,
            live,
            definitions,
            ops: Vec::new(),
            watches: BTreeMap::new(),
            replayed: BTreeMap::new(),
            spliced: Vec::new(),
            changes: 0,
            coverage: 0.0,
            went_twice: false,
            error: None,
        };
        self.serve(&mut living);
        Ok(living)
    }

    /// Lets a live query take in what came; the changes that it tells.
    pub fn attend(&mut self, living: &mut Living) -> Vec<Change> {
        let mut changes = Vec::new();
        for (need, call) in core::mem::take(&mut living.ops) {
            match self.reply(call) {
                Some((_, Ok(Reply::Keys(outcomes, cost)))) => {
                    living.live.on_ops(&mut living.definitions, need, outcomes, cost);
                }
                _ => living.ops.push((need, call)),
            }
        }
        for (watch, call) in living.watches.clone() {
            for (_, event) in self.take_watched(call) {
                living.live.on_watched(&mut living.definitions, watch, event);
            }
        }
        while let Some(change) = living.live.change() {
            match change {
                Ok(change) => {
                    living.replay(&change);
                    changes.push(change);
                }
                Err(error) => living.error = Some(error),
            }
        }
        self.serve(living);
        changes
    }

    /// Ends a live query.
    pub fn close(&mut self, living: &mut Living) {
        living.live.close();
        self.serve(living);
    }

    fn serve(&mut self, living: &mut Living) {
        while let Some(need) = living.live.poll() {
            match need {
                LiveNeed::Ops { need, ops } => {
                    let call = self.command(living.node, Command::Keys { ops, deadline_us: None });
                    living.ops.push((need, call));
                }
                LiveNeed::Watch { watch, fragment, region } => {
                    let call = self.command(living.node, Command::Watch { fragment, region });
                    living.watches.insert(watch, call);
                }
                LiveNeed::Unwatch { watch } => {
                    if let Some(watch) = living.watches.remove(&watch) {
                        self.command(living.node, Command::Unwatch { watch });
                    }
                }
            }
        }
    }
}
