//! The plan of one statement, carried out at its asker: a sans-IO state machine.
//!
//! First of all the catalog is asked whether the tables are still those that the plan was made with. If not, the run
//! ends with `stale_plan` and has changed nothing; what only reads begins meanwhile.
//!
//! The host calls [`Run::poll`] until it gives `None`, carries out each [`Need`] (any order, any number at once), and
//! tells what came by [`Run::on_ops`], [`Run::on_batch`] and [`Run::on_gathered`], polling again after each. When
//! [`Run::finished`] gives a result the statement is over.

mod alter;
mod analyze;
mod cascade;
mod catch_up;
mod create_as;
mod define;
mod entries;
mod grant;
mod host;
mod index;
mod insert;
mod job;
mod modify;
mod opened;
mod ordered;
mod parents;
mod profile;
mod purge;
mod query;
mod references;
mod refusal;
mod regret;
mod seek;
mod trees;
mod wait;
mod write;
mod write_set;
mod writer;

pub use trees::Shapes;
pub use wait::VALUES_MAX;

use serde::{Deserialize, Serialize};

use self::{
    alter::AlterJob,
    analyze::AnalyzeJob,
    create_as::CreateAsJob,
    define::{CreateJob, DropJob},
    grant::GrantJob,
    host::Host,
    index::{CreateIndexJob, DropIndexJob},
    insert::InsertJob,
    job::{Job, Step},
    modify::ModifyJob,
    opened::OpenedJob,
    profile::ProfileJob,
    query::QueryJob,
};
use super::{
    exchange::JoinPlan,
    fragment::{FragmentPlan, Partial, Reach},
    ops::Batch,
    plan::{Plan, Task},
};
use crate::{
    Error, Id,
    data::{Column, Cost, QueryResult, Row, SignedRow},
    seal::ring_op,
    sql::{
        catalog::entry,
        fault::{Fault, STALE_PLAN, fail},
        statistics::TableStatistics,
    },
    store::{Action, KeyOp, Outcome, Version},
    trust::User,
};

/// What a statement asks its host to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// Operations on keys, in any order; answered once by [`Run::on_ops`] with one outcome for each, in order.
    Ops {
        /// Names this need.
        need: u32,
        /// The operations.
        ops: Vec<KeyOp>,
    },
    /// Run a fragment at the owners; answered by any number of [`Run::on_batch`], then once by [`Run::on_gathered`].
    Gather {
        /// Names this need.
        need: u32,
        /// What they run.
        fragment: FragmentPlan,
    },
    /// Join two tables at the peers; answered as a gather is.
    Join {
        /// Names this need.
        need: u32,
        /// What is joined.
        plan: Box<JoinPlan>,
    },
    /// What the user for whom the node acts agrees on with others: [`Command::Agree`](crate::Command::Agree). Only before a
    /// statement is planned.
    Agree {
        /// Names this need.
        need: u32,
        /// With whom.
        with: Vec<User>,
    },
}

/// How a gather ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatherEnd {
    /// The share of the key space asked that answered: exactly 1.0, or below.
    pub coverage: f64,
    /// Whether a fragment that answered had given up a majority of an earlier epoch for lost.
    pub assumed_lost: bool,
    /// Peers that answered.
    pub peers: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// An error of the fragment at some owner, such as `division_by_zero`.
    pub fault: Option<Fault>,
    /// Of a join: what its parts came to.
    pub parts: Vec<Part>,
}

impl Default for GatherEnd {
    /// Nothing is missing.
    fn default() -> GatherEnd {
        GatherEnd {
            coverage: 1.0,
            assumed_lost: false,
            peers: 0,
            messages: 0,
            bytes: 0,
            fault: None,
            parts: Vec::new(),
        }
    }
}

/// What a part of a join came to. Times are microseconds since the join began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Which: 0 is where pairs are found, then come the sides, each with what is below it if it is a join itself.
    pub place: u32,
    /// When it was asked for.
    pub asked_us: u64,
    /// When the first rows came here.
    pub first_us: Option<u64>,
    /// When it had ended.
    pub ended_us: u64,
    /// Rows that it gave, at most what crossed the network of them.
    pub rows: Option<u64>,
    /// Records that owners looked at.
    pub records: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Peers that answered.
    pub peers: u64,
    /// How far the question went.
    pub reach: Reach,
}

impl Part {
    /// The join is a side of another one, at that place and begun then.
    pub fn shift(&mut self, place: u32, since_us: u64) {
        self.place += place;
        self.asked_us += since_us;
        self.ended_us += since_us;
        if let Some(first_us) = &mut self.first_us {
            *first_us += since_us;
        }
    }
}

/// What a run finds out beside its result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// How many rows there are in namespaces that were read whole.
    pub counts: Vec<(String, u64)>,
    /// How many peers answered the last gather of a table; 0 where there was none.
    pub peers: u64,
    /// What was gathered of tables.
    pub statistics: Vec<TableStatistics>,
}

/// Where a statement runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// When it started, microseconds since the Unix epoch: `now()` in SQL, and what hidden row ids begin with.
    pub now_us: i64,
    /// Fresh random bits: hidden row ids and generations of tables are made of them.
    pub random: u128,
    /// The asker.
    pub me: Id,
    /// For whom it acts: who owns the tables that it creates.
    pub user: Option<User>,
    /// Locality bits for tables that this statement creates, and of the catalog.
    pub locality_bits: u8,
}

/// One statement at its asker. See the module's documentation for the contract.
pub struct Run {
    host: Host,
    state: State,
    /// The tables as the plan knows them, until the catalog has answered the need of that number.
    check: Option<(u32, Vec<(String, Version)>)>,
}

enum State {
    /// It begins when its tables are known to be as planned.
    Waiting(Box<dyn Job>),
    /// It is under way.
    Running(Box<dyn Job>),
    /// It is over; the result is there until it is taken.
    Over(Option<Result<QueryResult, Error>>),
}

impl Run {
    /// Begins to carry out a plan; its needs are numbered from behind `serial`. See [`Run::at`] for the time.
    pub fn new(plan: Plan, env: Env, (serial, at_us): (u32, Option<u64>), shapes: &mut Shapes) -> Run {
        let mut run = Run { host: Host::new(env, serial), state: State::Over(None), check: None };
        run.host.at_us = at_us;
        run.knowing(shapes, |run| run.begin(plan));
        run
    }

    /// Does something with what is known of the shapes of trees, and learns.
    pub fn knowing(&mut self, shapes: &mut Shapes, act: impl FnOnce(&mut Run)) {
        core::mem::swap(&mut self.host.shapes, shapes);
        act(self);
        core::mem::swap(&mut self.host.shapes, shapes);
    }

    fn begin(&mut self, plan: Plan) {
        let bits = self.host.env.locality_bits;
        match job(plan.task) {
            Err(error) => self.over(Err(error)),
            Ok(job) => {
                if !plan.tables.is_empty() {
                    let gets = plan.tables.iter().map(|(name, _)| entry(name, bits, Action::Get));
                    let rings = plan.rings.iter().map(|(realm, _)| ring_op(*realm, Action::Get));
                    let gets = gets.chain(rings).collect();
                    let rings = plan.rings.into_iter().map(|(realm, version)| (format!("keyring {realm}"), version));
                    let known = plan.tables.into_iter().chain(rings).collect();
                    self.check = Some((self.host.ops(gets), known));
                }
                if self.check.is_some() && job.writes() {
                    self.state = State::Waiting(job);
                } else {
                    self.start(job);
                }
            }
        }
    }

    /// So much time has passed since the statement began, in microseconds: what comes next comes now.
    pub fn at(&mut self, us: u64) {
        self.host.at_us = Some(us);
    }

    /// The number of its last need.
    pub fn serial(&self) -> u32 {
        self.host.serial
    }

    /// The next thing it needs, if any.
    pub fn poll(&mut self) -> Option<Need> {
        self.host.queue.pop_front()
    }

    /// The outcomes of [`Need::Ops`], in the order of the operations.
    pub fn on_ops(&mut self, need: u32, outcomes: Vec<Outcome>, cost: Cost) {
        if !self.host.take_ops(need, outcomes.len(), cost) {
            return;
        }
        if let Some((_, tables)) = self.check.take_if(|(check, _)| *check == need) {
            match as_planned(&tables, &outcomes) {
                Err(error) => self.over(Err(error)),
                Ok(()) => match core::mem::replace(&mut self.state, State::Over(None)) {
                    State::Waiting(job) => self.start(job),
                    other => self.state = other,
                },
            }
        } else {
            self.step(|job, host| job.on_ops(host, need, outcomes));
        }
    }

    /// Some of what [`Need::Gather`] gathers; each owner's contribution is in exactly one batch.
    pub fn on_batch(&mut self, need: u32, partial: Partial) {
        if self.host.gathering(need) {
            self.host.scanned(need, partial.scanned);
            self.step(|job, host| job.on_batch(host, need, partial));
        }
    }

    /// What the result will have of the first rows of a gather or a join, where each of them says that by itself; some may
    /// still be dropped. Without what is known of the whole.
    pub fn preview(&mut self, need: u32, early: Vec<SignedRow>) -> Option<QueryResult> {
        let State::Running(job) = &mut self.state else { return None };
        let mut batch = Batch::default();
        batch.rows = early;
        job.preview(need, batch)
    }

    /// The end of [`Need::Gather`].
    pub fn on_gathered(&mut self, need: u32, end: GatherEnd) {
        if self.host.take_gather(need, &end) {
            self.step(|job, host| match &end.fault {
                Some(fault) => job.on_fault(host, fault.clone().into()),
                None => job.on_gathered(host, need, &end),
            });
        }
    }

    /// The result, once. `cost.elapsed_us` is left to the host.
    pub fn finished(&mut self) -> Option<Result<QueryResult, Error>> {
        match &mut self.state {
            State::Over(result) if self.check.is_none() => result.take(),
            _ => None,
        }
    }

    /// What it has found out since it was asked last.
    pub fn learned(&mut self) -> Learned {
        core::mem::take(&mut self.host.learned)
    }

    /// Whether a table is another one than the plan was made with: it has to be planned again.
    pub fn is_stale(&self) -> bool {
        matches!(&self.state, State::Over(Some(Err(error))) if error.code() == STALE_PLAN)
    }

    fn step(&mut self, step: impl FnOnce(&mut dyn Job, &mut Host) -> Step) {
        match core::mem::replace(&mut self.state, State::Over(None)) {
            State::Running(mut job) => {
                let step = step(&mut *job, &mut self.host);
                self.advance(job, step);
            }
            other => self.state = other,
        }
    }

    fn start(&mut self, mut job: Box<dyn Job>) {
        let step = job.start(&mut self.host);
        self.advance(job, step);
    }

    fn advance(&mut self, job: Box<dyn Job>, step: Step) {
        match step {
            Ok(None) => self.state = State::Running(job),
            Ok(Some(result)) => self.over(Ok(result)),
            Err(error) => self.over(Err(error)),
        }
    }

    fn over(&mut self, result: Result<QueryResult, Error>) {
        // What is still asked for is of no use any more, but for the catalog's answer.
        if self.check.is_none() {
            self.host.queue.clear();
        }
        self.state = State::Over(Some(result));
    }
}

fn job(task: Task) -> Result<Box<dyn Job>, Error> {
    Ok(match task {
        Task::Create(table, how, claims) => Box::new(CreateJob::new(table, how, claims)),
        Task::Drop(name, if_exists, cascade) => Box::new(DropJob::table(name, if_exists, cascade)),
        Task::Query(flow, columns) => Box::new(QueryJob::new(flow, columns)?),
        Task::Rows(rows, columns) => Box::new(Known(rows, columns)),
        Task::Insert(insert) => Box::new(InsertJob::new(*insert)?),
        Task::Modify(modify) => Box::new(ModifyJob::new(*modify)?),
        Task::Alter(alter) => Box::new(AlterJob::new(*alter)),
        Task::Show(show) => Box::new(CreateJob::view(*show)),
        Task::DropView(name, if_exists) => Box::new(DropJob::view(name, if_exists)),
        Task::CreateAs(create) => Box::new(CreateAsJob::new(*create)?),
        Task::CreateIndex(create) => Box::new(CreateIndexJob::new(*create)?),
        Task::Analyze(analyze) => Box::new(AnalyzeJob::new(*analyze)?),
        Task::Profile(table) => Box::new(ProfileJob::new(table.map(|table| *table))),
        Task::Grant(grant) => Box::new(GrantJob::new(*grant)),
        Task::DropIndex(name, if_exists) => Box::new(DropIndexJob::new(name, if_exists)),
        Task::Opened(task, openings) => Box::new(OpenedJob::new(job(*task)?, openings)),
    })
}

/// Whether the catalog's entries are those that a plan was made with.
fn as_planned(tables: &[(String, Version)], entries: &[Outcome]) -> Result<(), Error> {
    for ((name, planned), entry) in tables.iter().zip(entries) {
        match entry {
            Outcome::Found { version, .. } if version == planned => {}
            Outcome::Unreachable => return Err(Error::Unreachable),
            Outcome::Refused(refusal) => return Err((*refusal).into()),
            _ => return fail(STALE_PLAN, format!("relation \"{name}\" is another one by now")),
        }
    }
    Ok(())
}

/// A result that is there at once.
struct Known(Vec<Row>, Vec<Column>);

impl Job for Known {
    fn writes(&self) -> bool {
        false
    }

    fn start(&mut self, host: &mut Host) -> Step {
        let (rows, columns) = (core::mem::take(&mut self.0), core::mem::take(&mut self.1));
        Ok(Some(QueryResult { columns, rows, ..host.done(0) }))
    }

    fn on_ops(&mut self, _host: &mut Host, _need: u32, _outcomes: Vec<Outcome>) -> Step {
        Ok(None)
    }
}
