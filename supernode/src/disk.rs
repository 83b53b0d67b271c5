//! The thread that owns the disk: takes batches in order, writes all that wait in one transaction (group commit), and
//! says which are written.
//!
//! Invariant: the engine is told "written" only of batches that a durable transaction holds. Nothing here blocks the
//! driver: it counts the bytes under way and takes no more from sockets while they exceed a bound.

use std::{collections::VecDeque, sync::mpsc, thread};

use pontoon_core::store::Batch;
use tokio::sync::mpsc as answers;

use crate::store::{Store, StoreError};

/// Batches written together, at most.
const GROUP_MAX: usize = 4_096;
/// Bytes written together, about.
const GROUP_BYTES: usize = 16 << 20;

/// What became of some batches.
#[derive(Debug)]
pub(crate) struct Done {
    /// Their tokens, in order.
    pub(crate) tokens: Vec<u64>,
    /// What they took of [`Disk::pending_bytes`].
    pub(crate) bytes: usize,
    /// Written, or the reason why none of them is.
    pub(crate) result: Result<(), String>,
}

/// The thread that writes has ended, which only a defect can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadGone;

struct Job {
    token: u64,
    batch: Batch,
    bytes: usize,
}

/// What can take batches; a store, or a test's.
pub(crate) trait Medium: Send + 'static {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError>;
}

impl Medium for Store {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        Store::write(self, batches)
    }
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Disk {
    jobs: mpsc::Sender<Job>,
    done: answers::UnboundedReceiver<Done>,
    thread: thread::JoinHandle<()>,
    pending_bytes: usize,
}

impl Disk {
    pub(crate) fn start(medium: impl Medium) -> std::io::Result<Disk> {
        let (jobs, todo) = mpsc::channel();
        // Bounded by the batches under way, which the driver bounds.
        let (answer, done) = answers::unbounded_channel();
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || work(medium, &todo, &answer))?;
        Ok(Disk { jobs, done, thread, pending_bytes: 0 })
    }

    /// Hands a batch over; its token is in a later [`Done`].
    pub(crate) fn write(&mut self, token: u64, batch: Batch) -> Result<(), ThreadGone> {
        let pair = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| 32 + key.len() + value.as_ref().map_or(0, Vec::len);
        let bytes = batch.iter().map(pair).sum();
        self.jobs.send(Job { token, batch, bytes }).map_err(|_| ThreadGone)?;
        self.pending_bytes += bytes;
        Ok(())
    }

    /// Bytes handed over and not answered.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// The next answer; `None` when the thread is gone.
    pub(crate) async fn done(&mut self) -> Option<Done> {
        let done = self.done.recv().await?;
        self.pending_bytes -= done.bytes;
        Some(done)
    }

    /// Writes what was handed over and closes the store.
    pub(crate) async fn close(self) {
        drop(self.jobs);
        let thread = self.thread;
        if !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the store's thread did not end well");
        }
    }
}

fn work(mut medium: impl Medium, todo: &mpsc::Receiver<Job>, answer: &answers::UnboundedSender<Done>) {
    let mut waiting = VecDeque::new();
    let mut failing = false;
    while let Some(first) = waiting.pop_front().or_else(|| todo.recv().ok()) {
        waiting.extend(todo.try_iter());
        let (mut tokens, mut bytes, mut batches) = (vec![first.token], first.bytes, vec![first.batch]);
        while tokens.len() < GROUP_MAX
            && bytes < GROUP_BYTES
            && let Some(job) = waiting.pop_front()
        {
            tokens.push(job.token);
            bytes += job.bytes;
            batches.push(job.batch);
        }
        let result = medium.write(&batches).map_err(|error| error.to_string());
        // A full disk is told once, not for every write.
        match &result {
            Err(error) if !failing => tracing::error!(error, "the store takes no writes"),
            Ok(()) if failing => tracing::warn!("the store takes writes again"),
            _ => {}
        }
        failing = result.is_err();
        // Nobody listens any more while the driver closes; the batches are written all the same.
        let _ = answer.send(Done { tokens, bytes, result });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Groups = Arc<Mutex<Vec<Vec<Batch>>>>;

    /// Fails the groups that hold the key `bad`, waits for permission before each, remembers what it took.
    struct Slow {
        permits: mpsc::Receiver<()>,
        groups: Groups,
    }

    impl Medium for Slow {
        fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
            let _ = self.permits.recv();
            if batches.iter().flatten().any(|(key, _)| key == b"bad") {
                return Err(StoreError::InUse("full".into()));
            }
            self.groups.lock().unwrap().push(batches.to_vec());
            Ok(())
        }
    }

    fn slow() -> (Disk, mpsc::Sender<()>, Groups) {
        let (permit, permits) = mpsc::channel();
        let groups = Groups::default();
        let disk = Disk::start(Slow { permits, groups: Arc::clone(&groups) }).unwrap();
        (disk, permit, groups)
    }

    fn batch(key: &str) -> Batch {
        vec![(key.into(), Some(vec![0; 100]))]
    }

    #[tokio::test]
    async fn what_waits_is_written_together_and_in_order() {
        let (mut disk, permit, groups) = slow();
        for token in 0..10 {
            disk.write(token, batch(&token.to_string())).unwrap();
        }
        assert!(disk.pending_bytes() > 1_000);
        let mut tokens = Vec::new();
        while tokens.len() < 10 {
            permit.send(()).unwrap();
            let done = disk.done().await.unwrap();
            done.result.unwrap();
            tokens.extend(done.tokens);
        }
        assert_eq!(tokens, (0..10).collect::<Vec<_>>());
        assert_eq!(disk.pending_bytes(), 0);
        let written: Vec<Batch> = groups.lock().unwrap().concat();
        assert_eq!(written, (0..10).map(|token| batch(&token.to_string())).collect::<Vec<_>>());
        assert!(groups.lock().unwrap().len() <= 10);
    }

    #[tokio::test]
    async fn a_failed_group_says_so_and_the_next_one_is_tried() {
        let (mut disk, permit, groups) = slow();
        disk.write(1, batch("bad")).unwrap();
        permit.send(()).unwrap();
        let done = disk.done().await.unwrap();
        assert_eq!((done.tokens, done.result.is_err()), (vec![1], true));
        disk.write(2, batch("good")).unwrap();
        permit.send(()).unwrap();
        let done = disk.done().await.unwrap();
        assert_eq!((done.tokens, done.result), (vec![2], Ok(())));
        assert_eq!(*groups.lock().unwrap(), [vec![batch("good")]]);
    }

    #[tokio::test]
    async fn closing_writes_what_was_handed_over() {
        let directory = tempfile::tempdir().unwrap();
        let mut disk = Disk::start(Store::open(directory.path()).unwrap().store).unwrap();
        for token in 0..100 {
            disk.write(token, batch(&format!("{token:03}"))).unwrap();
        }
        disk.close().await;
        assert_eq!(Store::open(directory.path()).unwrap().saved.len(), 100);
    }
}
