//! A handle on the engine's task: what callers in this process hold, the HTTP interface among them.
//!
//! Invariant: a gather or a join whose caller went away is cancelled, so nobody works for an answer that nobody reads.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use pontoon_core::{CallId, Command, Error, Reply, inspect::Inspect};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use crate::driver::{Health, Request};

/// Names of calls: unique in a process, never used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<AtomicU64>);

impl Calls {
    pub(crate) fn next(&self) -> CallId {
        CallId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    /// Of bare namespaces and of new tables.
    pub(crate) locality_bits: u8,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) calls: Calls,
}

impl Engine {
    /// Runs a command; `Error::Closed` once the engine is shutting down.
    pub(crate) async fn call(&self, command: Command) -> Result<Reply, Error> {
        let call = self.calls.next();
        let works_elsewhere = matches!(command, Command::Gather { .. } | Command::Join { .. });
        let (reply, answer) = oneshot::channel();
        let asked = self.ask(Request::Call { call, command: Box::new(command), reply }, answer);
        if !works_elsewhere {
            return asked.await?;
        }
        let mut cancels = Cancels { engine: self, call, armed: true };
        let result = asked.await;
        cancels.armed = false;
        result?
    }

    /// A snapshot of the engine.
    pub(crate) async fn inspect(&self) -> Result<Inspect, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Inspect { reply }, answer).await
    }

    /// How it is.
    pub(crate) async fn health(&self) -> Result<Health, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Health { reply }, answer).await
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        self.requests.send(request).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)
    }

    /// Tells the engine without waiting; what does not fit into its queue goes as soon as it does.
    fn tell(&self, request: Request) {
        if let Err(mpsc::error::TrySendError::Full(request)) = self.requests.try_send(request)
            && let Ok(runtime) = Handle::try_current()
        {
            let requests = self.requests.clone();
            runtime.spawn(async move { drop(requests.send(request).await) });
        }
    }
}

/// Cancels a call when it is dropped armed.
struct Cancels<'a> {
    engine: &'a Engine,
    call: CallId,
    armed: bool,
}

impl Drop for Cancels<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.engine.tell(Request::Cancel { call: self.call });
        }
    }
}
