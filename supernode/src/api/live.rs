//! `GET /v1/live?sql=…`: what is new of a query's result, as Server-Sent Events.
//!
//! ```text
//!   engine's task ── Watched (bounded; overflow ends the watch) ──▶ Live ── events (bounded; a stalled reader is cut) ──▶
//! ```
//!
//! `change` has the rows that came and went, and how the whole changed: by one splice after the other, `gone` rows from place
//! `at` on are now `rows`. The first one has all rows. `error` is the last thing. Whoever comes again begins anew with all
//! rows, so nothing is kept for who went away.

use std::{cell::Cell, sync::Arc};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{HeaderMap, Response, StatusCode, header},
    response::IntoResponse,
};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use pontoon_core::{
    Command, Error, Reply,
    data::Row,
    exec::view::Splice,
    live::Watched,
    map::Map,
    sql::{
        ast::Statement,
        fault::{SYNTAX, error},
        live::{Change, Live, LiveNeed},
    },
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Duration, interval, timeout},
};

use super::{
    Api, GRACE,
    error::ApiError,
    guard, query,
    sql::{Ask, environment, json_row, names},
    stream::{self, Piece},
};
use crate::engine::Watch;

/// Events that wait for a reader.
const EVENTS_MAX: usize = 2;
/// Rows of one event: a query whose changes are larger ends.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// Things that came of the watches of a query and wait for it.
const WATCHED_MAX: usize = 1_024;
/// A comment is sent so often: proxies cut what is silent.
const STILL_THERE: Duration = Duration::from_secs(15);

/// `GET`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    guard::no_foreign_page(&api, &headers)?;
    guard::token(&api, &headers)?;
    let [sql, params, dialect] = query::parameters(query.as_deref(), ["sql", "params", "dialect"])?;
    let sql = sql.ok_or_else(|| ApiError::invalid("the parameter sql is missing"))?;
    let params = params.as_deref().unwrap_or("[]");
    let params =
        serde_json::from_str(params).map_err(|_| ApiError::invalid("the parameter params is an array in JSON"))?;
    let ask = Ask::new(sql, params, dialect.as_deref(), api.access.limits.sql_timeout)?;
    let statement = match &ask.statements().map_err(|error| ApiError::sql(error, &ask, 0))?[..] {
        [statement @ Statement::Select(_)] => Arc::new(statement.clone()),
        _ => return Err(ApiError::sql(error(SYNTAX, "a live query is one SELECT"), &ask, 0)),
    };
    let turn = Arc::clone(&api.live_turns).try_acquire_owned().map_err(|_| {
        let max = api.access.limits.live_max;
        let message = format!("this supernode keeps {max} live queries for its callers already");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", message)
    })?;
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    let mut telling = Telling::begin(Arc::clone(&api), ask, statement, events)?;
    // What cannot be planned is an error of the request, not of the stream.
    let first = timeout(api.access.limits.sql_timeout + GRACE, telling.first()).await;
    let late = || ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the first result did not come in time");
    let first = first.map_err(|_| late())??;
    tokio::spawn(telling.run(first, turn));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(stream::received(receiver))).into_response())
}

/// A live query and its reader.
struct Telling {
    api: Arc<Api>,
    ask: Ask,
    live: Live,
    definitions: pontoon_core::sql::asking::Definitions,
    watches: Map<u32, Watch>,
    came: mpsc::Receiver<(u32, Watched)>,
    coming: mpsc::Sender<(u32, Watched)>,
    asked: FuturesUnordered<futures_util::future::BoxFuture<'static, (u32, Result<Reply, Error>)>>,
    events: mpsc::Sender<Piece>,
    told: u64,
}

impl Telling {
    fn begin(
        api: Arc<Api>,
        ask: Ask,
        statement: Arc<Statement>,
        events: mpsc::Sender<Piece>,
    ) -> Result<Telling, ApiError> {
        let mut definitions = api.sessions.take(ask.dialect);
        let env = environment(&api.engine)?;
        let live = heavy(|| Live::new(statement, ask.params.clone(), env, &mut definitions));
        let (coming, came) = mpsc::channel(WATCHED_MAX);
        let (watches, asked) = (Map::new(), FuturesUnordered::new());
        Ok(Telling { api, ask, live, definitions, watches, came, coming, asked, events, told: 0 })
    }

    /// Lets the engine do what the query needs.
    fn serve(&mut self) {
        while let Some(need) = self.live.poll() {
            match need {
                LiveNeed::Ops { need, ops } => {
                    let engine = self.api.engine.clone();
                    let deadline_us = u64::try_from(self.ask.timeout.as_micros()).ok();
                    let asked = async move { (need, engine.call(Command::Keys { ops, deadline_us }).await) };
                    self.asked.push(Box::pin(asked));
                }
                LiveNeed::Watch { watch, fragment, region } => {
                    let (name, asked) = self.api.engine.watch((fragment, region), watch, self.coming.clone());
                    self.watches.insert(watch, name);
                    self.asked.push(Box::pin(async move { (watch, asked.await) }));
                }
                LiveNeed::Unwatch { watch } => drop(self.watches.remove(&watch)),
            }
        }
    }

    /// Waits for something, and takes it in.
    async fn turn(&mut self) -> Result<(), Error> {
        tokio::select! {
            // Any other reply says that a watch stands.
            Some((need, answer)) = self.asked.next() => if let Reply::Keys(outcomes, cost) = answer? {
                heavy(|| self.live.on_ops(&mut self.definitions, need, outcomes, cost));
            },
            Some((watch, event)) = self.came.recv() => {
                heavy(|| {
                    self.live.on_watched(&mut self.definitions, watch, event);
                    // What came meanwhile is one change with it.
                    while let Ok((watch, event)) = self.came.try_recv() {
                        self.live.on_watched(&mut self.definitions, watch, event);
                    }
                });
                self.keeps_up()?;
            }
        }
        Ok(())
    }

    /// Whether all that came of its watches was heard.
    fn keeps_up(&self) -> Result<(), Error> {
        if self.watches.values().any(Watch::lost) {
            return Err(Error::Overloaded { limit: "WATCHED_MAX", max: WATCHED_MAX });
        }
        Ok(())
    }

    /// The first change.
    async fn first(&mut self) -> Result<Change, ApiError> {
        loop {
            self.serve();
            if let Some(change) = heavy(|| self.live.change()) {
                return change.map_err(|error| ApiError::sql(error, &self.ask, 0));
            }
            self.turn().await.map_err(|error| ApiError::sql(error, &self.ask, 0))?;
        }
    }

    /// Tells changes until the reader or the query ends.
    async fn run(mut self, first: Change, _turn: OwnedSemaphorePermit) {
        let mut still_there = interval(STILL_THERE);
        still_there.reset();
        let mut event = match self.change(&first) {
            Ok(event) => event,
            Err(error) => return self.fail(error).await,
        };
        let patience = self.api.access.limits.stall_timeout;
        loop {
            if !matches!(timeout(patience, self.events.send(Some(event))).await, Ok(Ok(()))) {
                break;
            }
            event = loop {
                self.serve();
                if let Some(change) = heavy(|| self.live.change()) {
                    match change.and_then(|change| self.change(&change)) {
                        Ok(event) => break event,
                        Err(error) => return self.fail(error).await,
                    }
                }
                let (events, requests) = (self.events.clone(), self.api.engine.requests.clone());
                tokio::select! {
                    turned = self.turn() => if let Err(error) = turned {
                        return self.fail(error).await;
                    },
                    // Of a watch that was lost just as the last thing of it was taken in, nothing comes any more.
                    _ = still_there.tick() => match self.keeps_up() {
                        Ok(()) => break ":\n\n".to_owned(),
                        Err(error) => return self.fail(error).await,
                    },
                    () = events.closed() => return self.close(),
                    () = requests.closed() => return self.fail(Error::Closed).await,
                }
            };
        }
        self.close();
    }

    /// Tells that it is over.
    async fn fail(self, error: Error) {
        let told = ApiError::sql(error, &self.ask, 0).told;
        let event = format!("event: error\ndata: {}\n\n", serde_json::json!({ "error": told }));
        let patience = self.api.access.limits.stall_timeout;
        for piece in [Some(event), None] {
            let _ = timeout(patience, self.events.send(piece)).await;
        }
        self.close();
    }

    /// Its watches end as they are dropped.
    fn close(self) {
        self.api.sessions.give_back(self.definitions);
    }

    fn change(&mut self, change: &Change) -> Result<String, Error> {
        self.told += 1;
        let (number, names) = (self.told, names(self.live.columns()));
        heavy(|| event(number, &names, change))
    }
}

/// A change as an event.
fn event(number: u64, names: &[String], change: &Change) -> Result<String, Error> {
    // What is left of the bound; `None`: it was not enough.
    let left = Cell::new(Some(EVENT_BYTES_MAX));
    let rows = |rows: &[Row]| {
        let mut text = String::from("[");
        for (at, row) in rows.iter().enumerate() {
            let before = text.len();
            if at > 0 {
                text.push(',');
            }
            json_row(&mut text, names, row);
            left.set(left.get().and_then(|left| left.checked_sub(text.len() - before)));
            if left.get().is_none() {
                break;
            }
        }
        text + "]"
    };
    let Change { added, removed, splices, window, coverage, assumed_lost } = change;
    let mut window = window.as_ref().unwrap_or(added).as_slice();
    let spliced = splices.iter().map(|Splice { at, gone, came }| {
        let (its, rest) = window.split_at((*came).min(window.len()));
        window = rest;
        format!("{{\"at\":{at},\"gone\":{gone},\"rows\":{}}}", rows(its))
    });
    let splices = spliced.collect::<Vec<_>>().join(",");
    let (added, removed) = (rows(added), rows(removed));
    if left.get().is_none() {
        return Err(Error::Overloaded { limit: "EVENT_BYTES_MAX", max: EVENT_BYTES_MAX });
    }
    Ok(format!(
        "id: {number}\nevent: change\ndata: {{\"added\":{added},\"removed\":{removed},\"splices\":[{splices}],\
             \"coverage\":{coverage},\"assumedLost\":{assumed_lost}}}\n\n"
    ))
}

/// Does what may take long, and lets other threads take over meanwhile what this one has to do.
fn heavy<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::data::Value;

    use super::*;

    #[test]
    fn an_event_is_bounded() {
        let change = |bytes: usize| Change {
            added: vec![vec![Value::Text("x".repeat(bytes))]; 8],
            removed: vec![],
            splices: vec![Splice { at: 0, gone: 0, came: 8 }],
            window: None,
            coverage: 1.0,
            assumed_lost: false,
        };
        let names = ["\"t\"".to_owned()];
        assert!(event(1, &names, &change(1 << 10)).unwrap().len() < EVENT_BYTES_MAX);
        assert_eq!(event(1, &names, &change(1 << 20)).unwrap_err().code(), "overloaded");
    }
}
