//! What one client sends: held back where it is too much, then given to the engine.

use std::sync::Arc;

use pontoon_core::LinkId;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep},
};

use super::Sockets;
use crate::{
    driver::Event,
    metrics::Metrics,
    traffic::{Meter, Verdict},
};

/// What a chunk counts for beside its bytes, where it waits for the engine.
const CHUNK_COSTS_BYTES: u32 = 1_024;

/// A chunk's share of what its client may have waiting for the engine.
pub(crate) type Turn = OwnedSemaphorePermit;

/// What a client may have waiting for the engine.
struct Window {
    turns: Arc<Semaphore>,
    bytes: u32,
}

impl Window {
    fn new(bytes: u32) -> Window {
        Window { turns: Arc::new(Semaphore::new(bytes as usize)), bytes }
    }

    /// Waits until there is room for a chunk. A small one counts for more than its bytes, since it takes time as well.
    async fn room(&self, bytes: usize) -> Option<Turn> {
        let share = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(CHUNK_COSTS_BYTES).min(self.bytes);
        Arc::clone(&self.turns).acquire_many_owned(share).await.ok()
    }
}

/// The end of a socket or data channel that reads.
pub(crate) struct Taking<'a> {
    link: LinkId,
    events: &'a mpsc::Sender<Event>,
    metrics: &'a Metrics,
    meter: Option<Meter>,
    window: Window,
}

impl<'a> Taking<'a> {
    /// Of one that may send without bounds, or is `metered`.
    pub(crate) fn new(
        link: LinkId,
        events: &'a mpsc::Sender<Event>,
        sockets: &'a Sockets,
        metered: bool,
    ) -> Taking<'a> {
        let traffic = &sockets.traffic;
        let meter = metered.then(|| Meter::new(traffic, Instant::now()));
        Taking { link, events, metrics: &sockets.metrics, meter, window: Window::new(traffic.client_window_bytes) }
    }

    /// Gives a chunk to the engine, when there is room for it; false when the engine is gone.
    pub(crate) async fn hand_over(&self, bytes: Vec<u8>) -> bool {
        let turn = self.window.room(bytes.len()).await;
        self.tell(Event::Chunk { link: self.link, bytes, turn }).await
    }

    /// Tells the driver; false when it is gone.
    pub(crate) async fn tell(&self, event: Event) -> bool {
        self.events.send(event).await.is_ok()
    }

    /// Waits where the client sends too much: meanwhile nothing is read. Gives why it is to be cut, if it is.
    pub(crate) async fn hold_back(&mut self, bytes: usize) -> Option<&'static str> {
        self.metrics.received_chunks.add(1);
        let now = Instant::now();
        match self.meter.as_mut()?.take(bytes, now) {
            Verdict::Go => None,
            Verdict::Wait(wait) => {
                sleep(wait).await;
                self.metrics.held_back_us.add(u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX));
                None
            }
            Verdict::Cut(reason) => Some(reason),
        }
    }
}
