//! A whole network in one map: the naive reference that a swarm is compared with.
//!
//! [`Local`] hosts an [`Asking`] as a swarm does, but every record is in one `Map`, every operation succeeds, and
//! a gather runs the fragment over all records at once. [`Local::split`] cuts the records into parts as if so many
//! owners held them, runs the fragment over each and combines the answers pairwise.

use super::{
    exchange::{Input, JoinPlan},
    fragment::{Budget, FragmentPlan, Partial},
    run::{Env, GatherEnd, Need},
};
use crate::{
    Error, Id,
    data::{Cost, QueryResult, Value},
    map::LargeMap,
    pht,
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
        fault::{Fault, INTERNAL, fail},
        plan::Dialect,
        strategy::JoinStrategy,
    },
    store::{Action, Expect, KeyOp, Outcome, Refusal, Version},
};

const BUDGET: Budget = Budget { rows_max: 10_000_000, bytes_max: 1 << 30 };

/// Namespace and key.
type RecordKey = (String, Vec<u8>);

/// See the module's documentation.
#[derive(Default)]
pub struct Local {
    records: LargeMap<RecordKey, (Vec<u8>, Version)>,
    definitions: Definitions,
    writes: u64,
    statements: u128,
    /// Microseconds since the Unix epoch: `now()`.
    pub wall_us: u64,
    parts: usize,
    salt: u64,
}

impl Local {
    /// An empty database.
    pub fn new() -> Local {
        Local::default()
    }

    /// From now on records count as spread over `parts` owners; `salt` decides who has what and how answers combine.
    pub fn split(&mut self, parts: usize, salt: u64) {
        (self.parts, self.salt) = (parts, salt);
    }

    /// From now on statements are typed as in this dialect.
    pub fn speak(&mut self, dialect: Dialect) {
        self.definitions.speak(dialect);
    }

    /// From now on joins are made so, where that gives the right rows.
    pub fn join_by(&mut self, strategy: JoinStrategy) {
        self.definitions.join_by(strategy);
    }

    /// How many records a namespace has.
    pub fn len(&self, namespace: &str) -> usize {
        self.records.iter().filter(|((other, _), _)| other == namespace).count()
    }

    /// How many records there are, the catalog's included.
    pub fn total(&self) -> usize {
        self.records.len()
    }

    /// Runs a statement.
    pub fn execute(&mut self, statement: Statement, params: Vec<Value>) -> Result<QueryResult, Error> {
        self.statements += 1;
        let env =
            Env { now_us: self.wall_us as i64, random: self.statements, me: Id::ZERO, user: None, locality_bits: 0 };
        let mut definitions = core::mem::take(&mut self.definitions);
        let mut asking = Asking::new(statement, params, env, &mut definitions);
        let result = loop {
            let mut asked = false;
            while let Some(need) = asking.poll() {
                asked = true;
                match need {
                    Need::Ops { need, ops } => {
                        let outcomes = ops.iter().map(|op| self.apply(op)).collect();
                        asking.on_ops(&mut definitions, need, outcomes, Cost::default());
                    }
                    Need::Gather { need, fragment } => {
                        let (partial, end) = ended(self.gather(&fragment));
                        asking.on_gathered(&mut definitions, need, partial, end);
                    }
                    Need::Join { need, plan } => {
                        let (partial, end) = ended(self.join(&plan));
                        asking.on_gathered(&mut definitions, need, partial, end);
                    }
                    Need::Agree { need, with } => asking.on_agreed(&mut definitions, need, vec![None; with.len()]),
                }
            }
            if let Some(result) = asking.finished() {
                break result;
            }
            if !asked {
                break fail(INTERNAL, "a statement that asks for nothing and is not over");
            }
        };
        self.definitions = definitions;
        result
    }

    /// Joins two tables.
    pub fn join(&self, plan: &JoinPlan) -> Result<Partial, Error> {
        let [left, right] = &plan.whole();
        plan.run([self.input(left)?, self.input(right)?], &BUDGET)
    }

    fn input(&self, input: &Input) -> Result<Partial, Error> {
        match input {
            Input::Table(fragment) => self.gather(fragment),
            Input::Join(plan) => self.join(plan),
        }
    }

    /// Carries out one operation.
    pub fn apply(&mut self, op: &KeyOp) -> Outcome {
        let key = (op.namespace.clone(), op.key.clone());
        let current = self.records.get(&key).cloned();
        let admits = |expect: &Expect| match (expect, &current) {
            (Expect::Any, _) | (Expect::Absent, None) => true,
            (Expect::Version(wanted), Some((_, version))) => wanted == version,
            _ => false,
        };
        match &op.action {
            Action::Get | Action::GetStale | Action::GetVerified | Action::Prove => match current {
                Some((value, version)) => Outcome::Found { value, version, expiry_us: None },
                None => Outcome::Absent,
            },
            Action::Put { expect, .. } | Action::Remove { expect } if !admits(expect) => Outcome::Conflict { current },
            Action::Put { value, .. } | Action::PutHinted { value, .. } => {
                let version = self.next_version();
                self.records.insert(key, (value.clone(), version));
                Outcome::Stored { version }
            }
            Action::Edit { edit } => {
                match pht::apply(&op.key, current.as_ref().map(|(value, _)| &value[..]), edit, self.wall_us) {
                    Ok(value) => {
                        let version = self.next_version();
                        self.records.insert(key, (value, version));
                        Outcome::Stored { version }
                    }
                    Err(pht::Refused::Nothing) => Outcome::Absent,
                    Err(pht::Refused::Malformed) => Outcome::Refused(Refusal::Malformed),
                    Err(_) => Outcome::Conflict { current },
                }
            }
            Action::Remove { .. } => {
                self.records.remove(&key);
                Outcome::Stored { version: self.next_version() }
            }
            Action::Renew { .. } => match current {
                Some((_, version)) => Outcome::Stored { version },
                None => Outcome::Absent,
            },
        }
    }

    fn next_version(&mut self) -> Version {
        self.writes += 1;
        Version { wall_us: self.wall_us, counter: self.writes, author: Id::ZERO }
    }

    /// Runs a fragment over all records.
    pub fn gather(&self, fragment: &FragmentPlan) -> Result<Partial, Error> {
        let all = || {
            let from = (fragment.namespace().to_owned(), Vec::new());
            let records =
                self.records.range(from..).take_while(|((namespace, _), _)| namespace == fragment.namespace());
            records.map(|((_, key), (value, version))| (&key[..], &value[..], version))
        };
        if self.parts < 2 {
            return fragment.run(all(), &BUDGET);
        }
        let draw = |bytes: &[u8]| {
            let hash = Id::hash(&[&self.salt.to_be_bytes()[..], bytes].concat());
            usize::from(hash.0[0]) << 8 | usize::from(hash.0[1])
        };
        let mut partials = Vec::new();
        for part in 0..self.parts {
            let own = all().filter(|(key, ..)| draw(key) % self.parts == part);
            partials.push(fragment.run(own, &BUDGET)?);
        }
        while partials.len() > 1 {
            let other = partials.swap_remove(draw(&[1, partials.len() as u8]) % partials.len());
            let index = draw(&[2, partials.len() as u8]) % partials.len();
            fragment.combine(&mut partials[index], other, &BUDGET)?;
        }
        Ok(partials.pop().unwrap_or_default())
    }
}

fn ended(answer: Result<Partial, Error>) -> (Partial, GatherEnd) {
    let (partial, fault) = match answer {
        Ok(partial) => (partial, None),
        Err(error) => (Partial::default(), Some(Fault::from(&error))),
    };
    (partial, GatherEnd { peers: 1, fault, ..GatherEnd::default() })
}
