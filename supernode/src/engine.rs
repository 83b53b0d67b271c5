//! A handle on the engine's task: what callers in this process hold, the HTTP interface among them.
//!
//! Invariant: a gather, a join or a watch whose caller went away is ended, so nobody works for what nobody reads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use pontoon_core::{
    CallId, Command, Error, Id, Region, Reply, exec::FragmentPlan, inspect::Inspect, live::Watched, trust::User,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
};

use crate::{driver::Request, health::Health, metrics::Looks};

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
    pub(crate) id: Id,
    /// For whom it acts.
    pub(crate) user: Option<User>,
    /// Of bare namespaces and of new tables.
    pub(crate) locality_bits: u8,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) calls: Calls,
    /// One for each snapshot that is asked for at once: it takes the engine long, and others' requests stand behind it.
    pub(crate) looking: Arc<Semaphore>,
}

/// See [`Engine::looking`].
pub(crate) const LOOKING_MAX: usize = 2;

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

    /// Lets a fragment stand. What comes of it goes to `events` under `name`, until the watch is dropped; the future is
    /// the engine's reply.
    pub(crate) fn watch(
        &self,
        (fragment, region): (Box<FragmentPlan>, Option<Region>),
        name: u32,
        events: mpsc::Sender<(u32, Watched)>,
    ) -> (Watch, impl Future<Output = Result<Reply, Error>> + use<>) {
        let (call, lost) = (self.calls.next(), Arc::new(AtomicBool::new(false)));
        let watcher = Watcher { name, events, lost: Arc::clone(&lost) };
        let (reply, answer) = oneshot::channel();
        let command = Box::new(Command::Watch { fragment, region });
        let (engine, request) = (self.clone(), Request::Watch { call, command, watcher, reply });
        let asked = async move { engine.ask(request, answer).await? };
        (Watch { engine: self.clone(), call, lost }, asked)
    }

    /// A snapshot of the engine.
    pub(crate) async fn inspect(&self) -> Result<Inspect, Error> {
        let _turn = self.looking.acquire().await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Inspect { reply }, answer).await
    }

    /// How it is.
    pub(crate) async fn health(&self) -> Result<Health, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Health { reply }, answer).await
    }

    /// All that `/metrics` shows.
    pub(crate) async fn looks(&self) -> Result<Looks, Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Looks { reply }, answer).await
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

/// A watch; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    engine: Engine,
    call: CallId,
    lost: Arc<AtomicBool>,
}

impl Watch {
    /// Whether something of it was lost, since who watches did not keep up: it has ended.
    pub(crate) fn lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.engine.tell(Request::Unwatch { call: self.call });
    }
}

/// Where the driver tells what comes of a watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    name: u32,
    events: mpsc::Sender<(u32, Watched)>,
    lost: Arc<AtomicBool>,
}

impl Watcher {
    /// Tells; an error when nobody hears it, or does not keep up.
    pub(crate) fn tell(&self, event: Watched) -> Result<(), ()> {
        self.events.try_send((self.name, event)).map_err(|_| self.lost.store(true, Ordering::Release))
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
