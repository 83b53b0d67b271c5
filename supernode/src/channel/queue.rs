//! What is to be sent to one client: the driver's end, which queues, and the other end, which takes.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pontoon_core::LinkId;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Sockets, tell_cut};
use crate::{
    metrics::{Cut, Metrics},
    reach::is_open,
    settings::Limits,
};

/// What a queued chunk takes beside its bytes, about.
const OVERHEAD_BYTES: usize = 64;

/// What is queued.
pub(crate) enum Item {
    Chunk(Vec<u8>),
    Close(CloseCode),
}

/// Bytes that wait in all queues together.
#[derive(Clone, Debug, Default)]
pub(super) struct AllQueued(Arc<AtomicUsize>);

impl AllQueued {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that wait in one queue, and in all.
#[derive(Debug)]
struct Queued {
    own: AtomicUsize,
    all: AllQueued,
}

impl Queued {
    /// Bytes that wait with these: in this queue, in all.
    fn add(&self, bytes: usize) -> (usize, usize) {
        let own = self.own.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (own, self.all.0.fetch_add(bytes, Ordering::Relaxed) + bytes)
    }

    fn subtract(&self, bytes: usize) {
        self.own.fetch_sub(bytes, Ordering::Relaxed);
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.all.0.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

/// The driver's end of a socket or data channel. Dropping it cuts that.
#[derive(Debug)]
pub(crate) struct Client {
    queue: mpsc::UnboundedSender<Item>,
    queued: Arc<Queued>,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    /// Where it connects from, or was dialled.
    address: Option<IpAddr>,
    /// When to cut what has not left by then.
    patience: oneshot::Sender<Duration>,
}

/// Of [`Limits`], those of queues.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    queue_bytes_max: usize,
    queues_bytes_max: usize,
    queue_fair_bytes: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        let Limits { queue_bytes_max, queues_bytes_max, queue_fair_bytes, .. } = *limits;
        Bounds { queue_bytes_max, queues_bytes_max, queue_fair_bytes }
    }
}

/// The client does not take what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Client {
    /// Queues one chunk.
    pub(crate) fn send(&self, bytes: Vec<u8>) -> Result<(), Overflow> {
        let (own, all) = self.queued.add(bytes.len() + OVERHEAD_BYTES);
        let crowded = all > self.bounds.queues_bytes_max && own > self.bounds.queue_fair_bytes;
        if own > self.bounds.queue_bytes_max || crowded {
            return Err(Overflow);
        }
        // An error says that the socket is gone; its `Event::Down` is on the way.
        let _ = self.queue.send(Item::Chunk(bytes));
        Ok(())
    }

    /// Whether it is on this machine or in a network that others do not reach.
    pub(crate) fn is_near(&self) -> bool {
        self.address.is_some_and(|address| !is_open(address))
    }

    /// Counts that it is cut, and says so in the log.
    pub(crate) fn tell_cut(&self, link: LinkId, why: Cut, reason: &str) {
        tell_cut(&self.metrics, (link, self.address), why, reason);
    }

    /// Lets what is queued leave, then says goodbye.
    pub(crate) fn close(self, code: CloseCode, patience: Duration) {
        let _ = self.queue.send(Item::Close(code));
        let _ = self.patience.send(patience);
    }
}

/// What a socket or data channel takes from the driver's end.
pub(crate) struct Outgoing {
    items: mpsc::UnboundedReceiver<Item>,
    queued: Arc<Queued>,
}

impl Outgoing {
    /// The next item; nothing when the driver's end is gone.
    pub(crate) async fn next(&mut self) -> Option<Item> {
        let item = self.items.recv().await?;
        Some(self.taken(item))
    }

    /// The next one if it waits already.
    pub(crate) fn waiting(&mut self) -> Option<Item> {
        let item = self.items.try_recv().ok()?;
        Some(self.taken(item))
    }

    fn taken(&self, item: Item) -> Item {
        if let Item::Chunk(bytes) = &item {
            self.queued.subtract(bytes.len() + OVERHEAD_BYTES);
        }
        item
    }
}

/// The driver's end, the other one, and what [`cut`] waits for.
pub(crate) fn client(
    limits: &Limits,
    sockets: &Sockets,
    address: Option<IpAddr>,
) -> (Client, Outgoing, oneshot::Receiver<Duration>) {
    let (queue, items) = mpsc::unbounded_channel();
    let queued = Arc::new(Queued { own: AtomicUsize::new(0), all: sockets.all.clone() });
    let (patience, patient) = oneshot::channel();
    let (bounds, metrics) = (Bounds::from(limits), Arc::clone(&sockets.metrics));
    let client = Client { queue, queued: Arc::clone(&queued), bounds, metrics, address, patience };
    (client, Outgoing { items, queued }, patient)
}

/// Waits until the driver has cut a client, or its patience with one that it closed has run out.
pub(crate) async fn cut(patient: oneshot::Receiver<Duration>) {
    if let Ok(patience) = patient.await {
        sleep(patience).await;
    }
}
