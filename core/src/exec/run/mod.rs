//! One statement at its asker, as a sans-IO state machine.
//!
//! The host calls [`Run::poll`] until it gives `None`, carries out each [`Need`] (any order, any number at once), and
//! tells what came by [`Run::on_ops`], [`Run::on_batch`] and [`Run::on_gathered`], polling again after each. When
//! [`Run::finished`] gives a result the statement is over.

mod define;
mod host;
mod insert;
mod job;
mod modify;
mod query;
mod writer;

use self::{
    define::{CreateJob, DropJob, entry},
    host::Host,
    insert::InsertJob,
    job::{Job, Step},
    modify::ModifyJob,
    query::QueryJob,
};
use super::fragment::{FragmentPlan, Partial};
use crate::{
    Error, Id, Now,
    data::{Column, Cost, Nested, QueryResult, Type, Value},
    map::{Map, Set},
    sql::{
        ast::{Insert, InsertSource, Select, Statement, TableRef},
        catalog::{self, TableDescriptor},
        explain,
        fault::{INTERNAL, TOO_COMPLEX, UNDEFINED_TABLE, UNSUPPORTED, fail},
        physical, rules,
        scope::Binder,
    },
    store::{Action, KeyOp, Outcome},
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
}

/// How a gather ended.
#[derive(Clone, Debug, PartialEq)]
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
    pub error: Option<Error>,
}

/// Where a statement runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// The clocks when it started: `now()` in SQL.
    pub now: Now,
    /// Fresh random bits: hidden row ids and generations of tables are made of them.
    pub random: u128,
    /// The asker.
    pub me: Id,
    /// Locality bits for tables that this statement creates, and of the catalog.
    pub locality_bits: u8,
}

/// Tables that one statement may name.
const TABLES_MAX: usize = 64;

/// One statement at its asker. See the module's documentation for the contract.
pub struct Run {
    host: Host,
    state: State,
}

enum State {
    /// The catalog is asked for the tables that the statement names.
    Resolving { statement: Statement, params: Vec<Value>, names: Vec<String> },
    /// It is under way.
    Running(Box<dyn Job>),
    /// It is over; the result is there until it is taken.
    Over(Option<Result<QueryResult, Error>>),
}

impl Run {
    /// A statement with its parameters (`$1` is `params[0]`).
    pub fn new(statement: Statement, params: Vec<Value>, env: Env) -> Run {
        let mut run = Run { host: Host::new(env), state: State::Over(None) };
        let mut names = Set::new();
        tables_of(&statement, &mut names);
        let names: Vec<String> = names.into_iter().filter(|name| catalog::system_table(name).is_none()).collect();
        if names.len() > TABLES_MAX {
            run.over(fail(TOO_COMPLEX, format!("a statement that names more than {TABLES_MAX} tables")));
        } else if names.is_empty() {
            run.begin(statement, params, &Map::new());
        } else {
            let bits = run.host.env.locality_bits;
            run.host.ops(names.iter().map(|name| entry(name, bits, Action::Get)).collect());
            run.state = State::Resolving { statement, params, names };
        }
        run
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
        match core::mem::replace(&mut self.state, State::Over(None)) {
            State::Resolving { statement, params, names } => match resolved(names, outcomes) {
                Ok(tables) => self.begin(statement, params, &tables),
                Err(error) => self.over(Err(error)),
            },
            State::Running(mut job) => {
                let step = job.on_ops(&mut self.host, need, outcomes);
                self.advance(job, step);
            }
            over @ State::Over(_) => self.state = over,
        }
    }

    /// Some of what [`Need::Gather`] gathers; each owner's contribution is in exactly one batch.
    pub fn on_batch(&mut self, need: u32, partial: Partial) {
        if self.host.gathering(need) {
            self.step(|job, host| job.on_batch(host, need, partial));
        }
    }

    /// The end of [`Need::Gather`].
    pub fn on_gathered(&mut self, need: u32, end: GatherEnd) {
        if self.host.take_gather(need, &end) {
            self.step(|job, host| match &end.error {
                Some(error) => Err(error.clone()),
                None => job.on_gathered(host, need, &end),
            });
        }
    }

    /// The result, once. `cost.elapsed_us` is left to the host.
    pub fn finished(&mut self) -> Option<Result<QueryResult, Error>> {
        match &mut self.state {
            State::Over(result) => result.take(),
            _ => None,
        }
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

    fn begin(&mut self, statement: Statement, params: Vec<Value>, tables: &Map<String, TableDescriptor>) {
        match self.plan(statement, &params, tables) {
            Ok(mut job) => {
                let step = job.start(&mut self.host);
                self.advance(job, step);
            }
            Err(error) => self.over(Err(error)),
        }
    }

    fn advance(&mut self, job: Box<dyn Job>, step: Step) {
        match step {
            Ok(None) => self.state = State::Running(job),
            Ok(Some(result)) => self.over(Ok(result)),
            Err(error) => self.over(Err(error)),
        }
    }

    fn over(&mut self, result: Result<QueryResult, Error>) {
        // What is still asked for is of no use any more.
        self.host.queue.clear();
        self.state = State::Over(Some(result));
    }

    fn plan(
        &self,
        statement: Statement,
        params: &[Value],
        tables: &Map<String, TableDescriptor>,
    ) -> Result<Box<dyn Job>, Error> {
        let env = &self.host.env;
        let mut binder = Binder::new(tables, params, env.now.wall as i64, env.locality_bits);
        Ok(match &statement {
            Statement::CreateTable(create) => Box::new(CreateJob::new(create.clone())),
            Statement::DropTable { name, if_exists } => Box::new(DropJob::new(name.clone(), *if_exists)),
            Statement::Select(select) => {
                let query = binder.select(select)?;
                Box::new(QueryJob::new(physical::lower(rules::optimise(query.plan))?, query.columns)?)
            }
            Statement::Insert(insert) => Box::new(InsertJob::new(insert, &mut binder, table(tables, &insert.table)?)?),
            Statement::Update(update) => {
                Box::new(ModifyJob::update(update, &mut binder, table(tables, &update.table)?)?)
            }
            Statement::Delete(delete) => {
                Box::new(ModifyJob::delete(delete, &mut binder, table(tables, &delete.table)?)?)
            }
            Statement::Explain(inner) => Box::new(Lines(explained(inner, binder, tables)?)),
        })
    }
}

fn table(tables: &Map<String, TableDescriptor>, name: &str) -> Result<TableDescriptor, Error> {
    if catalog::system_table(name).is_some() {
        return fail(UNSUPPORTED, format!("\"{name}\" is read-only"));
    }
    match tables.get(name) {
        Some(table) => Ok(table.clone()),
        None => fail(UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")),
    }
}

/// The tables that the catalog knows; a name it does not know is an error only where it is used.
fn resolved(names: Vec<String>, outcomes: Vec<Outcome>) -> Result<Map<String, TableDescriptor>, Error> {
    let mut tables = Map::new();
    for (name, outcome) in names.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Found { value, .. } => {
                tables.insert(name, TableDescriptor::decode(&value)?);
            }
            Outcome::Absent => {}
            Outcome::Unreachable => return Err(Error::Unreachable),
            Outcome::Refused(refusal) => return Err(refusal.into()),
            Outcome::Stored { .. } | Outcome::Conflict { .. } => return fail(INTERNAL, "a get that wrote"),
        }
    }
    Ok(tables)
}

/// The tables that a statement names and whose definition it needs.
fn tables_of(statement: &Statement, names: &mut Set<String>) {
    match statement {
        Statement::CreateTable(_) | Statement::DropTable { .. } => {}
        Statement::Insert(Insert { table, source, .. }) => {
            names.insert(table.clone());
            if let InsertSource::Query(select) = source {
                tables_of_select(select, names);
            }
        }
        Statement::Update(update) => {
            names.insert(update.table.clone());
        }
        Statement::Delete(delete) => {
            names.insert(delete.table.clone());
        }
        Statement::Select(select) => tables_of_select(select, names),
        Statement::Explain(inner) => tables_of(inner, names),
    }
}

fn tables_of_select(select: &Select, names: &mut Set<String>) {
    let mut open: Vec<&TableRef> = select.from.iter().collect();
    while let Some(item) = open.pop() {
        match item {
            TableRef::Table { name, .. } => {
                names.insert(name.clone());
            }
            TableRef::Join { left, right, .. } => open.extend([&**left, &**right]),
            TableRef::Derived { query, .. } => tables_of_select(query, names),
        }
    }
}

/// The lines of EXPLAIN.
fn explained(
    statement: &Nested<Statement>,
    mut binder: Binder<'_>,
    tables: &Map<String, TableDescriptor>,
) -> Result<Vec<String>, Error> {
    let (head, plan) = match &**statement {
        Statement::Select(select) => {
            let query = binder.select(select)?;
            (None, Some(physical::lower(rules::optimise(query.plan))?))
        }
        Statement::Insert(insert) => {
            let head = format!("Insert [exchange] {}: puts where the key is absent", insert.table);
            table(tables, &insert.table)?;
            match &insert.source {
                InsertSource::Values(rows) => (Some(format!("{head}, {} row(s)", rows.len())), None),
                InsertSource::Query(select) => {
                    let query = binder.select(select)?;
                    (Some(head), Some(physical::lower(rules::optimise(query.plan))?))
                }
            }
        }
        Statement::Update(update) => {
            let head = format!("Update [exchange] {}: puts conditional on the version read", update.table);
            (Some(head), Some(ModifyJob::update(update, &mut binder, table(tables, &update.table)?)?.plan()))
        }
        Statement::Delete(delete) => {
            let head = format!("Delete [exchange] {}: removes conditional on the version read", delete.table);
            (Some(head), Some(ModifyJob::delete(delete, &mut binder, table(tables, &delete.table)?)?.plan()))
        }
        Statement::CreateTable(create) => {
            (Some(format!("CreateTable [exchange] {}: put where the name is absent", create.name)), None)
        }
        Statement::DropTable { name, .. } => {
            (Some(format!("DropTable [exchange] {name}: remove conditional on the version read, then its rows")), None)
        }
        Statement::Explain(_) => return fail(UNSUPPORTED, "EXPLAIN of EXPLAIN"),
    };
    let names = binder.into_names();
    let depth = usize::from(head.is_some());
    let tree = plan.map(|plan| explain::explain(&plan, &names, depth)).unwrap_or_default();
    Ok(head.into_iter().chain(tree).collect())
}

/// A result that is there at once.
struct Lines(Vec<String>);

impl Job for Lines {
    fn start(&mut self, host: &mut Host) -> Step {
        let columns = vec![Column { name: "QUERY PLAN".to_owned(), data_type: Some(Type::Text) }];
        let rows = core::mem::take(&mut self.0).into_iter().map(|line| vec![Value::Text(line)]).collect();
        Ok(Some(QueryResult { columns, rows, ..host.done(0) }))
    }

    fn on_ops(&mut self, _host: &mut Host, _need: u32, _outcomes: Vec<Outcome>) -> Step {
        Ok(None)
    }
}
