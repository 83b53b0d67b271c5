//! A live query at its asker, from tree to changes: a sans-IO state machine beside a node.
//!
//! ```text
//!   tree ─▶ definitions of its tables ─▶ Standing ─▶ watches ─▶ View ─▶ changes
//!                    ▲                                  │ a table is another one by now
//!                    └──────────────────────────────────┘
//! ```
//!
//! The host calls [`Live::poll`] until it gives `None`, lets a node carry out each [`LiveNeed`], and tells what came by
//! [`Live::on_ops`] and [`Live::on_watched`], polling again after each. [`Live::change`] gives what is new; the more is
//! told before it is called, the more is one change. The entries of its tables in the catalog are watched as well: a
//! query over a table that becomes another one is planned again, and goes on from what was told.

use std::{collections::VecDeque, sync::Arc};

use super::{
    asking::{Asking, Definitions},
    ast::Statement,
    standing::{Stand, Standing, stand_entry},
};
use crate::{
    Error, Region,
    data::{Column, Cost, Row, Value},
    exec::{
        Env, FragmentPlan, Need,
        fragment::decode_version,
        view::{Difference, Splice, View},
    },
    live::Watched,
    store::{KeyOp, Outcome, Version},
};

/// What a live query asks its host to do.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveNeed {
    /// Operations on keys; answered once by [`Live::on_ops`] with one outcome for each, in order.
    Ops {
        /// Names this need.
        need: u32,
        /// The operations.
        ops: Vec<KeyOp>,
    },
    /// Watch a fragment; each thing that comes of it is told by [`Live::on_watched`].
    Watch {
        /// Names the watch.
        watch: u32,
        /// What stands at its owners.
        fragment: Box<FragmentPlan>,
        /// Where; `None`: the whole namespace.
        region: Option<Region>,
    },
    /// End a watch.
    Unwatch {
        /// Its name.
        watch: u32,
    },
}

/// What is new of a live query. The first one has all rows as added.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Rows that came, each as often as it did, in the order of the result.
    pub added: Vec<Row>,
    /// Rows that went, each as often as it did.
    pub removed: Vec<Row>,
    /// What makes of the whole result as it was told last the one that it is, one after the other.
    pub splices: Vec<Splice>,
    /// The rows that come with them, in their order; `None`: those are `added`.
    pub window: Option<Vec<Row>>,
    /// The share of the key space asked whose owners keep this view up to date: exactly 1.0, or below.
    pub coverage: f64,
    /// Whether one of them had given up a majority of an earlier epoch for lost.
    pub assumed_lost: bool,
}

/// A fragment that is watched.
struct Watching {
    watch: u32,
    of: What,
    /// Coverage, and whether something is assumed lost; `None`: it was not read yet.
    covered: Option<(f64, bool)>,
}

/// What a watch is for.
enum What {
    /// A source of the view.
    Source(usize),
    /// The catalog's entry of a table, and the version that the plan is of.
    Entry(String, Version),
}

/// See the module's documentation.
pub struct Live {
    statement: Arc<Statement>,
    params: Vec<Value>,
    env: Env,
    /// The plan is being made.
    asking: Option<Asking>,
    view: Option<View>,
    columns: Vec<Column>,
    watching: Vec<Watching>,
    queue: VecDeque<LiveNeed>,
    serial: u32,
    /// Coverage as it was told last.
    told: Option<(f64, bool)>,
    /// It is over; the error is there until it is told.
    over: Option<Option<Error>>,
}

impl Live {
    /// A query with its parameters (`$1` is `params[0]`).
    pub fn new(
        statement: impl Into<Arc<Statement>>,
        params: Vec<Value>,
        env: Env,
        definitions: &mut Definitions,
    ) -> Live {
        let mut live = Live {
            statement: statement.into(),
            params,
            env,
            asking: None,
            view: None,
            columns: Vec::new(),
            watching: Vec::new(),
            queue: VecDeque::new(),
            serial: 0,
            told: None,
            over: None,
        };
        live.plan(definitions);
        live
    }

    /// Begins to plan, once more perhaps.
    fn plan(&mut self, definitions: &mut Definitions) {
        let (statement, params, env) = (self.statement.clone(), self.params.clone(), self.env.clone());
        self.asking = Some(Asking::standing(statement, params, env, self.serial, definitions));
        self.planned();
    }

    /// The next thing it needs, if any.
    pub fn poll(&mut self) -> Option<LiveNeed> {
        if let Some(asking) = &mut self.asking
            && let Some(Need::Ops { need, ops }) = asking.poll()
        {
            self.serial = self.serial.max(need);
            return Some(LiveNeed::Ops { need, ops });
        }
        self.queue.pop_front()
    }

    /// The outcomes of [`LiveNeed::Ops`], in the order of the operations.
    pub fn on_ops(&mut self, definitions: &mut Definitions, need: u32, outcomes: Vec<Outcome>, cost: Cost) {
        if let Some(asking) = &mut self.asking {
            asking.on_ops(definitions, need, outcomes, cost);
            self.planned();
        }
    }

    /// Something came of a watch.
    pub fn on_watched(&mut self, definitions: &mut Definitions, watch: u32, event: Watched) {
        let Some(watching) = self.watching.iter_mut().find(|watching| watching.watch == watch) else { return };
        if let Watched::Covered { coverage, assumed_lost } = event {
            watching.covered = Some((coverage, assumed_lost));
            return;
        }
        let result = match &watching.of {
            What::Source(source) => match &mut self.view {
                Some(view) => view.take_in(*source, event).map(|()| None),
                None => Ok(None),
            },
            What::Entry(table, version) => match entry(&event, table) {
                Ok(Some(now)) if now != Some(*version) => Ok(Some(table.clone())),
                Ok(_) => Ok(None),
                Err(error) => Err(error),
            },
        };
        match result {
            Ok(None) => {}
            Ok(Some(table)) => {
                definitions.forget(&table);
                self.end();
                self.plan(definitions);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Whether the plan is there now.
    fn planned(&mut self) {
        let Some(asking) = &mut self.asking else { return };
        match asking.planned() {
            None => {}
            Some(Err(error)) => self.fail(error),
            Some(Ok(standing)) => {
                self.asking = None;
                self.begin(*standing);
            }
        }
    }

    fn begin(&mut self, standing: Standing) {
        let Standing { flow, columns, sources, tables } = standing;
        let rows = self.view.take().map_or_else(|| Ok(Vec::new()), |view| view.rows());
        match rows.and_then(|rows| View::new(flow, &sources, rows)) {
            Ok(view) => self.view = Some(view),
            Err(error) => return self.fail(error),
        }
        self.columns = columns;
        for (name, version) in tables {
            let stand = stand_entry(&name, self.env.locality_bits);
            self.watch(What::Entry(name, version), stand);
        }
        for (source, stand) in sources.into_iter().enumerate() {
            self.watch(What::Source(source), stand);
        }
    }

    fn watch(&mut self, of: What, Stand { fragment, region }: Stand) {
        self.serial += 1;
        let watch = self.serial;
        self.watching.push(Watching { watch, of, covered: None });
        self.queue.push_back(LiveNeed::Watch { watch, fragment: Box::new(fragment), region });
    }

    /// What is new, if something is; an error is the last thing.
    pub fn change(&mut self) -> Option<Result<Change, Error>> {
        if let Some(over) = &mut self.over {
            return over.take().map(Err);
        }
        if self.asking.is_some() {
            return None;
        }
        // Before everything was asked once nothing is known.
        let mut covered = (1.0_f64, false);
        for watching in &self.watching {
            let (coverage, assumed_lost) = watching.covered?;
            match watching.of {
                // Whether the plan is still right must be known once.
                What::Entry(..) if coverage < 1.0 && self.told.is_none() => return None,
                What::Entry(..) => {}
                What::Source(_) => covered = (covered.0.min(coverage), covered.1 | assumed_lost),
            }
        }
        match self.view.as_mut()?.follow() {
            Err(error) => {
                self.fail(error);
                self.change()
            }
            Ok(Difference { added, removed, splices, window }) => {
                if splices.is_empty() && self.told == Some(covered) {
                    return None;
                }
                self.told = Some(covered);
                let (coverage, assumed_lost) = covered;
                Some(Ok(Change { added, removed, splices, window, coverage, assumed_lost }))
            }
        }
    }

    /// The rows of the result as of the last change, in its order.
    pub fn rows(&self) -> Result<Vec<Row>, Error> {
        self.view.as_ref().map_or_else(|| Ok(Vec::new()), View::rows)
    }

    /// What they are.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// It is over: what it watches is to be ended, and nothing is told any more.
    pub fn close(&mut self) {
        self.end();
        self.over.get_or_insert(None);
    }

    fn fail(&mut self, error: Error) {
        self.end();
        self.over.get_or_insert(Some(error));
    }

    fn end(&mut self) {
        self.asking = None;
        // What the host was not asked for yet need not begin.
        self.queue.retain(|need| matches!(need, LiveNeed::Unwatch { .. }));
        let ended = self.watching.drain(..);
        self.queue.extend(ended.map(|watching| LiveNeed::Unwatch { watch: watching.watch }));
    }
}

/// What is told of the catalog's entry of a table: its version, or that there is none; `None`: nothing is.
fn entry(event: &Watched, table: &str) -> Result<Option<Option<Version>>, Error> {
    let its = |row: &&Row| matches!(row.last(), Some(Value::Blob(key)) if key == table.as_bytes());
    let version = |row: Option<&Row>| row.and_then(|row| row.first()).map(decode_version).transpose();
    match event {
        Watched::Read { batch, .. } => version(batch.rows.iter().map(|signed| &signed.row).find(its)).map(Some),
        Watched::Changed(delta) => version(delta.rows.iter().find(its)).map(Some),
        Watched::Covered { .. } => Ok(None),
        Watched::Failed(fault) => Err(fault.clone().into()),
    }
}
