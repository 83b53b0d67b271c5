//! The thread that owns the disk: takes batches in order, writes all that wait in one transaction (group commit), and
//! says which are written.
//!
//! Invariant: the engine is told "written" only of batches that a durable transaction holds. Nothing here blocks the
//! driver: it counts the bytes under way and takes no more from sockets while they exceed a bound. After a write that
//! failed (a full disk, say) further ones are refused at once, and tried again after a while, longer each time; so it
//! goes on by itself when the disk does.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use pontoon_core::store::Batch;
use serde::Serialize;
use tokio::sync::{mpsc as answers, oneshot};

use crate::store::{Snapshot, Store, StoreError};

/// Batches written together, at most.
const GROUP_MAX: usize = 4_096;
/// Bytes written together, about.
const GROUP_BYTES: usize = 16 << 20;
/// From a failed write to the next one, at first and at most: trying means to open the store anew.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// An outage that soon after another one is taken for the same: a disk that has room for little.
const CALM: Duration = Duration::from_secs(60);

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

/// Whether the disk takes writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskState {
    /// It does.
    #[default]
    Ok,
    /// There is no room.
    Full,
    /// It gives errors.
    Failing,
    /// The store's file is not what was written.
    Damaged,
}

impl DiskState {
    pub(crate) const ALL: [DiskState; 4] = [DiskState::Ok, DiskState::Full, DiskState::Failing, DiskState::Damaged];

    /// As `/healthz` shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            DiskState::Ok => "ok",
            DiskState::Full => "full",
            DiskState::Failing => "failing",
            DiskState::Damaged => "damaged",
        }
    }

    fn after(error: &StoreError) -> DiskState {
        match error {
            StoreError::Full { .. } => DiskState::Full,
            StoreError::Damaged { .. } | StoreError::Missing(_) | StoreError::New(_) | StoreError::Later { .. } => {
                DiskState::Damaged
            }
            StoreError::InUse(_) | StoreError::Disk { .. } | StoreError::Random(_) => DiskState::Failing,
        }
    }
}

/// The thread that writes has ended, which only a defect or the end of the supernode does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadGone;

enum Job {
    Write(Write),
    Snapshot(oneshot::Sender<Result<Snapshot, StoreError>>),
    Close,
}

struct Write {
    token: u64,
    batch: Batch,
    bytes: usize,
}

/// What can take batches; a store, or a test's.
pub(crate) trait Medium: Send + 'static {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError>;

    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// Sees to it that what was refused is not on disk, as far as the disk lets it.
    fn settle(&mut self) -> Result<(), StoreError>;
}

impl Medium for Store {
    fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        Store::write(self, batches)
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        Store::snapshot(self)
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        Store::settle(self)
    }
}

/// What the thread tells everybody.
#[derive(Debug, Default)]
struct Shown {
    state: AtomicU8,
    outages: AtomicU64,
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Disk {
    jobs: mpsc::Sender<Job>,
    done: answers::UnboundedReceiver<Done>,
    thread: thread::JoinHandle<()>,
    shown: Arc<Shown>,
    /// Handed over and not answered, in order.
    pending: VecDeque<u64>,
    pending_bytes: usize,
}

/// Asks for snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots(mpsc::Sender<Job>);

impl Snapshots {
    /// The store with everything that was handed over before; `None` when it is closed.
    pub(crate) async fn take(&self) -> Option<Result<Snapshot, StoreError>> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Job::Snapshot(reply)).ok()?;
        answer.await.ok()
    }
}

impl Disk {
    pub(crate) fn start(medium: impl Medium) -> std::io::Result<Disk> {
        Disk::start_with(medium, RETRY_FIRST)
    }

    fn start_with(medium: impl Medium, retry_first: Duration) -> std::io::Result<Disk> {
        let (jobs, todo) = mpsc::channel();
        // Bounded by the batches under way, which the driver bounds.
        let (answer, done) = answers::unbounded_channel();
        let shown = Arc::new(Shown::default());
        let worker = Worker { medium, answer, shown: Arc::clone(&shown), outage: None, ended: None, retry_first };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || worker.work(&todo))?;
        Ok(Disk { jobs, done, thread, shown, pending: VecDeque::new(), pending_bytes: 0 })
    }

    /// Hands a batch over; its token is in a later [`Done`].
    pub(crate) fn write(&mut self, token: u64, batch: Batch) -> Result<(), ThreadGone> {
        let pair = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| 32 + key.len() + value.as_ref().map_or(0, Vec::len);
        let bytes = batch.iter().map(pair).sum();
        self.jobs.send(Job::Write(Write { token, batch, bytes })).map_err(|_| ThreadGone)?;
        self.pending.push_back(token);
        self.pending_bytes += bytes;
        Ok(())
    }

    /// Bytes handed over and not answered.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Whether it takes writes.
    pub(crate) fn state(&self) -> DiskState {
        let index = usize::from(self.shown.state.load(Ordering::Relaxed));
        DiskState::ALL.get(index).copied().unwrap_or_default()
    }

    /// How often it stopped taking writes.
    pub(crate) fn outages(&self) -> u64 {
        self.shown.outages.load(Ordering::Relaxed)
    }

    /// For backups.
    pub(crate) fn snapshots(&self) -> Snapshots {
        Snapshots(self.jobs.clone())
    }

    /// The next answer; `None` when the thread is gone, after one that refuses what it left unanswered.
    pub(crate) async fn done(&mut self) -> Option<Done> {
        match self.done.recv().await {
            Some(done) => {
                self.pending.drain(..done.tokens.len().min(self.pending.len()));
                self.pending_bytes -= done.bytes;
                Some(done)
            }
            None if self.pending.is_empty() => None,
            None => {
                self.shown.state.store(DiskState::Failing as u8, Ordering::Relaxed);
                let tokens = std::mem::take(&mut self.pending).into();
                let bytes = std::mem::take(&mut self.pending_bytes);
                Some(Done { tokens, bytes, result: Err("the store's thread has ended".to_owned()) })
            }
        }
    }

    /// Writes what was handed over and closes the store.
    pub(crate) async fn close(self) {
        let _ = self.jobs.send(Job::Close);
        let thread = self.thread;
        if !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the store's thread did not end well");
        }
    }
}

struct Worker<M> {
    medium: M,
    answer: answers::UnboundedSender<Done>,
    shown: Arc<Shown>,
    outage: Option<Outage>,
    /// When the last outage ended, and how long its last pause was.
    ended: Option<(Instant, Duration)>,
    /// The first pause of an outage.
    retry_first: Duration,
}

/// Since a write failed, until one succeeds.
struct Outage {
    since: Instant,
    reason: String,
    retry_at: Instant,
    pause: Duration,
}

impl<M: Medium> Worker<M> {
    fn work(mut self, todo: &mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        loop {
            let job = match waiting.pop_front() {
                Some(job) => job,
                None => match self.next(todo) {
                    Ok(Some(job)) => job,
                    Ok(None) => continue,
                    Err(ThreadGone) => return,
                },
            };
            waiting.extend(todo.try_iter());
            match job {
                Job::Write(first) => self.write(first, &mut waiting),
                Job::Snapshot(reply) => {
                    // Who asked may have gone.
                    let _ = reply.send(self.medium.snapshot());
                }
                Job::Close => return self.settle(),
            }
        }
    }

    /// A write whose fsync failed may be on disk, and was refused: it is to be gone at the next start.
    fn settle(&mut self) {
        if self.outage.is_none() {
            return;
        }
        if let Err(error) = self.medium.settle() {
            tracing::warn!(%error, "closed during an outage: the write that failed may be in the store at the next start");
        }
    }

    /// Waits for a job; during an outage, tries meanwhile whether it is over.
    fn next(&mut self, todo: &mpsc::Receiver<Job>) -> Result<Option<Job>, ThreadGone> {
        let Some(outage) = &self.outage else {
            return todo.recv().map(Some).map_err(|_| ThreadGone);
        };
        match todo.recv_timeout(outage.retry_at.saturating_duration_since(Instant::now())) {
            Ok(job) => Ok(Some(job)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let result = self.medium.write(&[]);
                self.note(result.err());
                Ok(None)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(ThreadGone),
        }
    }

    fn write(&mut self, first: Write, waiting: &mut VecDeque<Job>) {
        let (mut tokens, mut bytes, mut batches) = (vec![first.token], first.bytes, vec![first.batch]);
        while tokens.len() < GROUP_MAX && bytes < GROUP_BYTES {
            match waiting.pop_front() {
                Some(Job::Write(job)) => {
                    tokens.push(job.token);
                    bytes += job.bytes;
                    batches.push(job.batch);
                }
                Some(other) => {
                    waiting.push_front(other);
                    break;
                }
                None => break,
            }
        }
        let result = match &self.outage {
            Some(outage) if Instant::now() < outage.retry_at => Err(outage.reason.clone()),
            _ => {
                let error = self.medium.write(&batches).err();
                let reason = error.as_ref().map(ToString::to_string);
                self.note(error);
                reason.map_or(Ok(()), Err)
            }
        };
        // Nobody listens any more while the driver closes; the batches are written all the same.
        let _ = self.answer.send(Done { tokens, bytes, result });
    }

    /// What came of trying to write. An outage is told once, not for every write.
    fn note(&mut self, error: Option<StoreError>) {
        let now = Instant::now();
        let state = error.as_ref().map_or(DiskState::Ok, DiskState::after);
        self.shown.state.store(state as u8, Ordering::Relaxed);
        let Some(error) = error else {
            if let Some(outage) = self.outage.take() {
                let seconds = outage.since.elapsed().as_secs();
                tracing::warn!(seconds, "the store takes writes again");
                self.ended = Some((now, outage.pause));
            }
            return;
        };
        let reason = error.to_string();
        match &mut self.outage {
            Some(outage) => {
                outage.pause = (outage.pause * 2).min(RETRY_MAX);
                outage.retry_at = now + outage.pause;
                outage.reason = reason;
            }
            None => {
                self.shown.outages.fetch_add(1, Ordering::Relaxed);
                let pause = match self.ended {
                    Some((ended, pause)) if now.duration_since(ended) < CALM => (pause * 2).min(RETRY_MAX),
                    _ => self.retry_first,
                };
                tracing::error!(
                    error = reason,
                    ?state,
                    "the store takes no writes; what is stored is served, and writing tried again"
                );
                self.outage = Some(Outage { since: now, reason, retry_at: now + pause, pause });
            }
        }
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
                let source = std::io::ErrorKind::StorageFull.into();
                return Err(StoreError::Full { path: "test".into(), source });
            }
            self.groups.lock().unwrap().push(batches.to_vec());
            Ok(())
        }

        fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
            Err(StoreError::Missing("a test's".into()))
        }

        fn settle(&mut self) -> Result<(), StoreError> {
            self.groups.lock().unwrap().push(batch_of("settled"));
            Ok(())
        }
    }

    fn batch_of(key: &str) -> Vec<Batch> {
        vec![batch(key)]
    }

    async fn next(disk: &mut Disk) -> Done {
        tokio::time::timeout(Duration::from_secs(60), disk.done()).await.expect("an answer").unwrap()
    }

    /// For a retry that a test waits for, and one that it never comes to.
    const SHORT: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(3_600);

    fn slow(retry_first: Duration) -> (Disk, mpsc::Sender<()>, Groups) {
        let (permit, permits) = mpsc::channel();
        let groups = Groups::default();
        let disk = Disk::start_with(Slow { permits, groups: Arc::clone(&groups) }, retry_first).unwrap();
        (disk, permit, groups)
    }

    fn batch(key: &str) -> Batch {
        vec![(key.into(), Some(vec![0; 100]))]
    }

    #[tokio::test]
    async fn what_waits_is_written_together_and_in_order() {
        let (mut disk, permit, groups) = slow(NEVER);
        for token in 0..10 {
            disk.write(token, batch(&token.to_string())).unwrap();
        }
        assert!(disk.pending_bytes() > 1_000);
        let mut tokens = Vec::new();
        while tokens.len() < 10 {
            permit.send(()).unwrap();
            let done = next(&mut disk).await;
            done.result.unwrap();
            tokens.extend(done.tokens);
        }
        assert_eq!(tokens, (0..10).collect::<Vec<_>>());
        assert_eq!(disk.pending_bytes(), 0);
        let written: Vec<Batch> = groups.lock().unwrap().concat();
        assert_eq!(written, (0..10).map(|token| batch(&token.to_string())).collect::<Vec<_>>());
        assert!(groups.lock().unwrap().len() <= 10);
    }

    /// A disk that refused a first write.
    async fn failed(retry_first: Duration) -> (Disk, mpsc::Sender<()>, Groups) {
        let (mut disk, permit, groups) = slow(retry_first);
        disk.write(1, batch("bad")).unwrap();
        permit.send(()).unwrap();
        let done = next(&mut disk).await;
        assert_eq!((done.tokens, done.result.is_err()), (vec![1], true));
        assert_eq!((disk.state(), disk.outages()), (DiskState::Full, 1));
        (disk, permit, groups)
    }

    #[tokio::test]
    async fn after_a_failed_write_others_are_refused() {
        let (mut disk, _permit, groups) = failed(NEVER).await;
        // Without asking the disk, which would wait for a permit.
        disk.write(2, batch("good")).unwrap();
        let done = next(&mut disk).await;
        assert_eq!((done.tokens, done.result.is_err()), (vec![2], true));
        assert_eq!((disk.state(), disk.outages()), (DiskState::Full, 1));
        // The last thing that is done to it is to take back what failed.
        disk.close().await;
        assert_eq!(*groups.lock().unwrap(), [batch_of("settled")]);
    }

    #[tokio::test]
    async fn it_goes_on_by_itself_when_the_disk_does() {
        let (mut disk, permit, groups) = failed(SHORT).await;
        // Nobody writes, and it is tried all the same.
        permit.send(()).unwrap();
        let ok = async {
            while disk.state() != DiskState::Ok {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ok).await.expect("it takes writes again");
        disk.write(3, batch("good")).unwrap();
        permit.send(()).unwrap();
        let done = next(&mut disk).await;
        assert_eq!((done.tokens, done.result), (vec![3], Ok(())));
        assert_eq!(*groups.lock().unwrap(), [vec![], vec![batch("good")]]);
        assert_eq!(disk.outages(), 1);
    }

    /// As when the thread ends by a defect.
    #[tokio::test]
    async fn what_a_thread_that_is_gone_leaves_is_refused() {
        struct Broken;
        impl Medium for Broken {
            fn write(&mut self, _: &[Batch]) -> Result<(), StoreError> {
                panic!("a test's");
            }

            fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
                Err(StoreError::Missing("a test's".into()))
            }

            fn settle(&mut self) -> Result<(), StoreError> {
                Ok(())
            }
        }
        let mut disk = Disk::start(Broken).unwrap();
        disk.write(1, batch("a")).unwrap();
        let done = next(&mut disk).await;
        assert_eq!((done.tokens, done.result.is_err()), (vec![1], true));
        assert_eq!((disk.pending_bytes(), disk.state()), (0, DiskState::Failing));
        assert!(disk.done().await.is_none());
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
