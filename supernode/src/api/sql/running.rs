//! Statements under way: what they need is asked of the engine's task, at once what can be.
//!
//! ```text
//!   text ─▶ Asking ─ needs ─▶ Engine::call, any number at once
//!              ▲ └─ result       │
//!              └──── answers ◀───┘
//! ```
//!
//! Planning and the asker's half of the dataflow may take seconds, so each step of them runs where tokio keeps threads that
//! may block. Dropping the future drops the calls, which cancels what peers do for them.

use std::{
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use pontoon_core::{
    Command, Error, Reply,
    data::QueryResult,
    exec::{Env, Need},
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
        fault::{INTERNAL, error},
        plan::Dialect,
        strategy::JoinStrategy,
        system::{PEERS, gathered_peers},
    },
};
use tokio::time::{Duration, Instant};

use super::Ask;
use crate::{api::error::ApiError, engine::Engine};

/// Sessions that are kept for those who ask next, with what they remember of tables.
const IDLE_MAX: usize = 16;

/// What is remembered from one request to the next, in as many pieces as were needed at once.
#[derive(Debug, Default)]
pub(in crate::api) struct Sessions(Mutex<Vec<Definitions>>);

impl Sessions {
    /// One that nobody else uses, as nobody has set anything.
    pub(in crate::api) fn take(&self, dialect: Dialect) -> Definitions {
        let mut definitions = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        definitions.speak(dialect);
        definitions.join_by(JoinStrategy::default());
        definitions
    }

    pub(in crate::api) fn give_back(&self, definitions: Definitions) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(definitions);
        }
    }
}

/// Runs the statements one after the other; the result of the last one.
pub(super) async fn run(engine: &Engine, sessions: &Sessions, ask: &Ask) -> Result<QueryResult, ApiError> {
    let latest = Instant::now() + ask.timeout;
    let parsed = ask.clone();
    let statements = blocking(move || parsed.statements()).await?.map_err(|error| ApiError::sql(error, ask, 0))?;
    let mut definitions = sessions.take(ask.dialect);
    let mut last = Err(error(INTERNAL, "no statement"));
    for (index, statement) in statements.into_iter().enumerate() {
        let (result, given_back) = statement_of(engine, definitions, (statement, ask), latest).await?;
        definitions = given_back;
        last = result;
        if let Err(error) = last {
            sessions.give_back(definitions);
            return Err(ApiError::sql(error, ask, index));
        }
    }
    sessions.give_back(definitions);
    last.map_err(|error| ApiError::sql(error, ask, 0))
}

/// What goes to a thread that may block, and comes back.
struct Step {
    asking: Asking,
    definitions: Definitions,
    needs: Vec<Need>,
    result: Option<Result<QueryResult, Error>>,
}

impl Step {
    /// Takes in what came, and sees what follows.
    fn on(mut self, answer: Option<(u32, Reply)>, since_us: u64) -> Step {
        self.asking.at(since_us);
        match answer {
            Some((need, Reply::Keys(outcomes, cost))) => {
                self.asking.on_ops(&mut self.definitions, need, outcomes, cost);
            }
            Some((need, Reply::Agreed(agreed))) => self.asking.on_agreed(&mut self.definitions, need, agreed),
            Some((need, Reply::Gathered(partial, end))) => {
                self.asking.on_gathered(&mut self.definitions, need, *partial, end);
            }
            _ => {}
        }
        while let Some(need) = self.asking.poll() {
            self.needs.push(need);
        }
        self.result = self.asking.finished();
        self
    }
}

async fn statement_of(
    engine: &Engine,
    definitions: Definitions,
    (statement, ask): (Statement, &Ask),
    latest: Instant,
) -> Result<(Result<QueryResult, Error>, Definitions), ApiError> {
    let started = Instant::now();
    let since = |started: Instant| u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (env, params) = (environment(engine)?, ask.params.clone());
    let mut step = blocking(move || {
        let mut definitions = definitions;
        let asking = Asking::new(statement, params, env, &mut definitions);
        Step { asking, definitions, needs: Vec::new(), result: None }.on(None, 0)
    })
    .await?;
    let mut open = FuturesUnordered::new();
    loop {
        if let Some(mut result) = step.result.take() {
            if let Ok(result) = &mut result {
                result.cost.elapsed_us = since(started);
            }
            return Ok((result, step.definitions));
        }
        for need in std::mem::take(&mut step.needs) {
            open.push(answered(engine, need, latest));
        }
        let answer = match open.next().await {
            Some((need, Ok(reply))) => (need, reply),
            Some((_, Err(error))) => return Ok((Err(error), step.definitions)),
            None => return Ok((Err(error(INTERNAL, "a statement that waits for nothing")), step.definitions)),
        };
        let since_us = since(started);
        step = blocking(move || step.on(Some(answer), since_us)).await?;
    }
}

/// What the engine says to one need.
async fn answered(engine: &Engine, need: Need, latest: Instant) -> (u32, Result<Reply, Error>) {
    let left = latest.saturating_duration_since(Instant::now());
    let deadline_us = Some(u64::try_from(left.as_micros()).unwrap_or(u64::MAX));
    match need {
        Need::Ops { need, ops } => (need, engine.call(Command::Keys { ops, deadline_us }).await),
        Need::Gather { need, fragment } if fragment.namespace() == PEERS => {
            let snapshot = engine.inspect().await.map(|seen| serde_json::to_string(&seen).unwrap_or_default());
            let answer = snapshot.map(|snapshot| {
                let (partial, end) = gathered_peers(&fragment, &snapshot);
                Reply::Gathered(Box::new(partial), end)
            });
            (need, answer)
        }
        Need::Gather { need, fragment } => {
            (need, engine.call(Command::Gather { fragment, except: Box::default(), deadline_us }).await)
        }
        Need::Join { need, plan } => (need, engine.call(Command::Join { plan, deadline_us }).await),
        Need::Agree { need, with } => (need, engine.call(Command::Agree { with }).await),
    }
}

/// What a statement is told of its surroundings.
pub(in crate::api) fn environment(engine: &Engine) -> Result<Env, ApiError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| ApiError::internal("the system gave no random bytes"))?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let now_us = i64::try_from(wall.as_micros()).unwrap_or(i64::MAX);
    let (random, locality_bits) = (u128::from_le_bytes(random), engine.locality_bits);
    Ok(Env { now_us, random, me: engine.id, user: engine.user, locality_bits })
}

/// Does on a thread that may block what may take long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::internal("the statement's task failed; the log says why"))
}
