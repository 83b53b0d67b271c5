//! A statement at its asker, from tree to result: a sans-IO state machine beside a node.
//!
//! ```text
//!   tree ─▶ definitions of its tables ─▶ plan ─▶ Run ─▶ result
//!                    ▲                            │ a table is another one by now
//!                    └────────────────────────────┘
//! ```
//!
//! The host calls [`Asking::poll`] until it gives `None`, lets a node carry out each [`Need`] (any order, any number at
//! once), and tells what came by [`Asking::on_ops`] and [`Asking::on_gathered`], polling again after each. When
//! [`Asking::finished`] gives a result the statement is over.
//!
//! A node knows nothing of it: operations on keys and gathers are all that SQL wants of one. So a peer that only serves
//! has neither planner nor the asker's half of the dataflow (docs/decisions/015-size.md).
//!
//! Definitions are remembered ([`Definitions`]), so most statements are planned at once; a run that finds that one of
//! them is no longer true has changed nothing, and the statement is planned again.

use std::sync::Arc;

use super::{
    ast::{
        AlterTable, Alteration, CreateIndex, CreateTable, CreateView, Insert, InsertSource, Select, Statement, TableRef,
    },
    catalog::{TableDescriptor, entry},
    fault::{CANCELED, INTERNAL, SERIALIZATION, TOO_COMPLEX, fail},
    hint::helped,
    plan::{Dialect, Settings, Tables, tables_of},
    prepared::Plans,
    session::{Session, done},
    standing::{Standing, standing},
    statistics::{self, Statistics, TableStatistics},
    strategy::JoinStrategy,
    unlock::Unlocking,
};
use crate::{
    Error,
    crypto::Secret,
    data::{Cost, QueryResult, SignedRow, Value},
    exec::{
        Partial,
        plan::Task,
        run::{Env, GatherEnd, Learned, Need, Run, Shapes},
    },
    store::{Action, KeyOp, Outcome},
};

/// Tables that one statement may name.
const TABLES_MAX: usize = 64;
/// Definitions that are remembered.
const REMEMBERED_MAX: usize = 1_000;
/// How often a statement is planned again because a table became another one.
const AGAIN_MAX: u32 = 3;

/// What an asker remembers from one statement to the next.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Definitions of tables. They may be old: nothing depends on their being true.
    tables: Tables,
    /// Plans made with them.
    plans: Plans,
    /// The shapes of the trees of indexes. They may be old, too.
    shapes: Shapes,
    /// What is known of their rows, old or not.
    statistics: Statistics,
    /// What `SET` set.
    session: Session,
    /// The latest time that a statement began.
    began_us: i64,
}

impl Definitions {
    /// The definition of a table may not be true any more.
    pub fn forget(&mut self, table: &str) {
        self.tables.remove(table);
    }

    /// From now on statements are typed as in this dialect.
    pub fn speak(&mut self, dialect: Dialect) {
        self.session.dialect = dialect;
    }

    /// From now on joins are made so, where that gives the right rows.
    pub fn join_by(&mut self, strategy: JoinStrategy) {
        self.session.join_strategy = strategy;
    }

    /// When a statement begins that comes after all before it, whatever the clock shows.
    fn begin(&mut self, now_us: i64) -> i64 {
        self.began_us = now_us.max(self.began_us.saturating_add(1));
        self.began_us
    }

    /// Takes in what a run has found out.
    fn learn(&mut self, learned: Learned, now_us: i64) {
        self.statistics.meet(learned.peers);
        for (namespace, rows) in learned.counts {
            self.statistics.count(namespace, rows, now_us);
        }
        for found in learned.statistics {
            self.statistics.learn(&found.table.clone(), Some(found), now_us);
        }
    }

    /// The dialect that `SET pontoon.dialect` has chosen.
    pub fn dialect(&self) -> Dialect {
        self.session.dialect
    }
}

/// See the module's documentation.
pub struct Asking {
    statement: Arc<Statement>,
    params: Vec<Value>,
    env: Env,
    names: Vec<String>,
    /// The tables whose statistics are asked for.
    wanted: Vec<String>,
    state: State,
    /// The number of the last need.
    serial: u32,
    again: u32,
    /// How often the catalog was asked since the statement was planned last: views name tables that were not named yet.
    rounds: usize,
    /// It is planned, not run.
    live: bool,
    /// How long it takes already, where that is told.
    at_us: Option<u64>,
}

enum State {
    /// The catalog is to be asked for the tables; or nothing but their statistics.
    Unknown(bool),
    /// So it is, by the need of that number.
    Defining(bool, u32),
    /// Keyrings of its tables are opened.
    Unlocking(Box<Unlocking>),
    /// A plan is carried out.
    Running(Box<Run>),
    /// The plan of a live query is made; it is there until it is taken.
    Planned(Option<Box<Standing>>),
    /// It is over without a run; the result is there until it is taken.
    Over(Option<Result<QueryResult, Error>>),
}

impl Asking {
    /// A statement with its parameters (`$1` is `params[0]`).
    pub fn new(
        statement: impl Into<Arc<Statement>>,
        params: Vec<Value>,
        env: Env,
        definitions: &mut Definitions,
    ) -> Asking {
        Asking::begin(statement.into(), params, env, (0, false), definitions)
    }

    /// The same of a live query, which is not run: see [`Asking::planned`]. Needs are numbered from behind `serial`.
    pub fn standing(
        statement: Arc<Statement>,
        params: Vec<Value>,
        env: Env,
        serial: u32,
        definitions: &mut Definitions,
    ) -> Asking {
        Asking::begin(statement, params, env, (serial, true), definitions)
    }

    fn begin(
        statement: Arc<Statement>,
        params: Vec<Value>,
        env: Env,
        (serial, live): (u32, bool),
        definitions: &mut Definitions,
    ) -> Asking {
        if let Some(name) = defines(&statement) {
            definitions.tables.remove(name);
        }
        let settled = match &*statement {
            _ if live => None,
            Statement::Set { name, value } => Some(definitions.session.set(name, value.as_deref()).map(|()| done())),
            Statement::Show(name) => Some(definitions.session.show(name)),
            _ => None,
        };
        let names = tables_of(&statement, &definitions.tables).into_iter().collect();
        let (wanted, state) = (Vec::new(), State::Unknown(true));
        let mut asking =
            Asking { statement, params, env, names, wanted, state, serial, again: 0, rounds: 0, live, at_us: None };
        asking.want(definitions);
        let bounded = asking.bounded();
        if settled.is_some() {
            asking.state = State::Over(settled);
        } else if bounded.is_err() {
            asking.fail(bounded, definitions);
        } else if asking.names.iter().all(|name| definitions.tables.contains_key(name)) {
            if !asking.wanted.is_empty() {
                asking.state = State::Unknown(false);
                return asking;
            }
            // With what is remembered it may be wrong and right all the same.
            match asking.go(definitions) {
                Err(error) if asking.names.is_empty() => asking.fail(Err(error), definitions),
                _ => {}
            }
        }
        asking
    }

    /// The next thing it needs, if any.
    pub fn poll(&mut self) -> Option<Need> {
        match &mut self.state {
            State::Unknown(tables) => {
                let (tables, bits) = (*tables, self.env.locality_bits);
                self.serial += 1;
                self.state = State::Defining(tables, self.serial);
                let names = if tables { &self.names[..] } else { &[] };
                let entries = names.iter().map(|name| entry(name, bits, Action::Get));
                let known = self.wanted.iter().map(|name| statistics::entry(name, bits, Action::Get));
                Some(Need::Ops { need: self.serial, ops: entries.chain(known).collect() })
            }
            State::Running(run) => run.poll(),
            State::Unlocking(unlocking) => unlocking.poll(&mut self.serial),
            State::Defining(..) | State::Planned(_) | State::Over(_) => None,
        }
    }

    /// So much time has passed since the statement began, in microseconds. A host that tells it before each answer gets the
    /// times of operators from EXPLAIN ANALYZE.
    pub fn at(&mut self, us: u64) {
        self.at_us = Some(us);
        if let State::Running(run) = &mut self.state {
            run.at(us);
        }
    }

    /// The outcomes of [`Need::Ops`], in the order of the operations.
    pub fn on_ops(&mut self, definitions: &mut Definitions, need: u32, outcomes: Vec<Outcome>, cost: Cost) {
        match &mut self.state {
            State::Defining(tables, asked) if *asked == need => {
                let tables = if *tables { self.names.len() } else { 0 };
                if outcomes.len() == tables + self.wanted.len() {
                    let result = self.define(definitions, tables, outcomes);
                    let result = result.and_then(|()| self.look_further(definitions));
                    self.fail(result, definitions);
                }
            }
            State::Unlocking(unlocking) => {
                let result = unlocking.on_ops(need, outcomes);
                let result = result.and_then(|()| self.unlocked(definitions));
                self.fail(result, definitions);
            }
            State::Running(run) => {
                run.knowing(&mut definitions.shapes, |run| run.on_ops(need, outcomes, cost));
                definitions.learn(run.learned(), self.env.now_us);
                self.check(definitions);
            }
            _ => {}
        }
    }

    /// The answer of [`Need::Agree`]: with each, in order.
    pub fn on_agreed(&mut self, definitions: &mut Definitions, need: u32, agreed: Vec<Option<Secret>>) {
        if let State::Unlocking(unlocking) = &mut self.state {
            let result = unlocking.on_agreed(need, agreed);
            let result = result.and_then(|()| self.unlocked(definitions));
            self.fail(result, definitions);
        }
    }

    /// The answer of [`Need::Gather`].
    pub fn on_gathered(&mut self, definitions: &mut Definitions, need: u32, partial: Partial, end: GatherEnd) {
        if let State::Running(run) = &mut self.state {
            run.knowing(&mut definitions.shapes, |run| {
                run.on_batch(need, partial);
                run.on_gathered(need, end);
            });
            definitions.learn(run.learned(), self.env.now_us);
            self.check(definitions);
        }
    }

    /// What the result will have of the first rows of a gather or a join ([`Output::Progress`](crate::Output::Progress)), where
    /// each of them says that by itself: a query that neither groups nor sorts, over what peers find. Some may still be
    /// dropped. `cost` and `coverage` say nothing.
    pub fn preview(&mut self, need: u32, early: Vec<SignedRow>) -> Option<QueryResult> {
        match &mut self.state {
            State::Running(run) => run.preview(need, early),
            _ => None,
        }
    }

    /// The result, once. `cost.elapsed_us` is left to the host.
    pub fn finished(&mut self) -> Option<Result<QueryResult, Error>> {
        match &mut self.state {
            State::Running(run) => run.finished(),
            State::Over(result) => result.take(),
            State::Unknown(_) | State::Defining(..) | State::Unlocking(_) | State::Planned(_) => None,
        }
    }

    /// Ends it, with `query_canceled`: nothing more is asked, and what is still answered is of no use. What a statement has
    /// written by then stays written.
    pub fn cancel(&mut self) {
        self.state = State::Over(Some(fail(CANCELED, "the query was canceled")));
    }

    /// The plan of a live query, once.
    pub fn planned(&mut self) -> Option<Result<Box<Standing>, Error>> {
        match &mut self.state {
            State::Planned(standing) => standing.take().map(Ok),
            State::Over(result) => result.take().and_then(Result::err).map(Err),
            _ => None,
        }
    }

    /// Which statistics are to be asked for: a plan of several tables depends on them, and EXPLAIN shows them.
    fn want(&mut self, definitions: &Definitions) {
        let wants = match &*self.statement {
            Statement::Select(select) => self.names.len() > 1 || joins(select),
            Statement::CreateTableAs { query, .. } => self.names.len() > 1 || joins(query),
            Statement::Insert(Insert { source: InsertSource::Query(query), .. }) => joins(query),
            Statement::Update(update) => !update.from.is_empty(),
            Statement::Delete(delete) => !delete.using.is_empty(),
            Statement::Explain(_) | Statement::ExplainWith { .. } => true,
            _ => false,
        };
        let wanted = self.names.iter().filter(|name| wants && definitions.statistics.wants(name, self.env.now_us));
        self.wanted = wanted.cloned().collect();
    }

    /// Asks for what views name that is not known yet; when everything is known, plans.
    fn look_further(&mut self, definitions: &mut Definitions) -> Result<(), Error> {
        let names: Vec<String> = tables_of(&self.statement, &definitions.tables).into_iter().collect();
        if names.iter().all(|name| self.names.contains(name)) {
            self.rounds = 0;
            return self.go(definitions);
        }
        self.names = names;
        self.want(definitions);
        self.rounds += 1;
        self.bounded()?;
        self.state = State::Unknown(true);
        Ok(())
    }

    fn bounded(&self) -> Result<(), Error> {
        if self.names.len() > TABLES_MAX || self.rounds > TABLES_MAX {
            return fail(TOO_COMPLEX, format!("a statement that names more than {TABLES_MAX} tables"));
        }
        Ok(())
    }

    /// Opens the keyrings of its tables that are not open, if there are any; then plans.
    fn go(&mut self, definitions: &mut Definitions) -> Result<(), Error> {
        let (user, random) = (self.env.user, self.env.random);
        match Unlocking::new(&self.statement, &self.names, &definitions.tables, (user, random))? {
            Some(unlocking) if !self.live => {
                self.state = State::Unlocking(Box::new(unlocking));
                Ok(())
            }
            _ => self.run(definitions, Vec::new()),
        }
    }

    /// Plans once the keyrings are open.
    fn unlocked(&mut self, definitions: &mut Definitions) -> Result<(), Error> {
        let State::Unlocking(unlocking) = &mut self.state else { return Ok(()) };
        let Some(opened) = unlocking.finished() else { return Ok(()) };
        opened.attach(&self.names, &mut definitions.tables)?;
        self.run(definitions, opened.made)
    }

    /// Plans with what is known, and begins to run. What is `made` comes before a table that is created.
    fn run(&mut self, definitions: &mut Definitions, made: Vec<KeyOp>) -> Result<(), Error> {
        let Env { now_us, random, me, user, locality_bits } = self.env;
        let Session { dialect, join_strategy } = definitions.session;
        let settings = Settings { now_us, random, me, user, locality_bits, dialect, join_strategy };
        let known = (&definitions.tables, &definitions.statistics);
        if self.live {
            let plan = standing(&self.statement, &self.params, known, settings)?;
            self.state = State::Planned(Some(Box::new(plan)));
            return Ok(());
        }
        let mut plan = definitions.plans.plan(&self.statement, &self.params, known, settings)?;
        if let Task::Create(_, _, before) = &mut plan.task {
            *before = made;
        }
        let env = Env { now_us: definitions.begin(now_us), ..self.env.clone() };
        self.state = State::Running(Box::new(Run::new(plan, env, (self.serial, self.at_us), &mut definitions.shapes)));
        if let Statement::AlterTable(AlterTable { table, .. })
        | Statement::CreateIndex(CreateIndex { table, .. })
        | Statement::Grant { table, .. }
        | Statement::Truncate(table) = &*self.statement
        {
            // It will be another one.
            definitions.tables.remove(table);
        }
        // So will the tables that it is to refer to.
        match &*self.statement {
            Statement::CreateTable(create) => {
                create.references.iter().for_each(|it| drop(definitions.tables.remove(&it.table)));
            }
            Statement::AlterTable(alter) => {
                for change in &alter.changes {
                    if let Alteration::AddReference(it) = change {
                        definitions.tables.remove(&it.table);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes in the catalog's entries. A name that it does not know is an error only where it is used.
    fn define(
        &mut self,
        definitions: &mut Definitions,
        tables: usize,
        mut outcomes: Vec<Outcome>,
    ) -> Result<(), Error> {
        // Without statistics it is planned, too.
        for (name, outcome) in self.wanted.drain(..).zip(outcomes.split_off(tables)) {
            let found = match outcome {
                Outcome::Found { value, .. } => TableStatistics::decode(&value).ok(),
                _ => None,
            };
            definitions.statistics.learn(&name, found, self.env.now_us);
        }
        if definitions.tables.len() + outcomes.len() > REMEMBERED_MAX {
            definitions.tables.clear();
        }
        for (name, outcome) in self.names.iter().zip(outcomes) {
            match outcome {
                Outcome::Found { value, version, .. } => {
                    definitions.tables.insert(name.clone(), (TableDescriptor::decode(&value)?, version));
                }
                Outcome::Absent => {
                    definitions.tables.remove(name);
                }
                Outcome::Unreachable => return Err(Error::Unreachable),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                _ => {
                    return fail(INTERNAL, "not what a get is answered");
                }
            }
        }
        Ok(())
    }

    /// Begins again when the run has found a table to be another one.
    fn check(&mut self, definitions: &mut Definitions) {
        let State::Running(run) = &mut self.state else { return };
        if !run.is_stale() {
            return;
        }
        self.again += 1;
        if self.again > AGAIN_MAX {
            self.fail(fail(SERIALIZATION, "what the statement reads keeps changing"), definitions);
            return;
        }
        // Answers to what that run asked for may still come: they must not meet needs of the next one.
        self.serial = run.serial();
        self.names.iter().for_each(|name| drop(definitions.tables.remove(name)));
        self.names = tables_of(&self.statement, &definitions.tables).into_iter().collect();
        self.want(definitions);
        self.state = State::Unknown(true);
    }

    fn fail(&mut self, result: Result<(), Error>, definitions: &Definitions) {
        if let Err(error) = result {
            self.state = State::Over(Some(Err(helped(error, &self.names, &definitions.tables))));
        }
    }
}

/// The name that a statement defines anew.
fn defines(statement: &Statement) -> Option<&String> {
    match statement {
        Statement::CreateTable(CreateTable { name, .. })
        | Statement::CreateTableAs { name, .. }
        | Statement::CreateView(CreateView { name, .. })
        | Statement::DropView { name, .. }
        | Statement::DropTable { name, .. } => Some(name),
        _ => None,
    }
}

/// Whether a query reads something beside something else.
fn joins(select: &Select) -> bool {
    select.from.len() > 1 || select.from.iter().any(|item| matches!(item, TableRef::Join { .. }))
}
