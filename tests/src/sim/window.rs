//! Time: windows in which no node can hear of what another does, so that nodes may be simulated side by side.
//!
//! Whatever a node does to another takes at least the least latency of the network: within a window of that length
//! each node can be run on its own, on whatever thread, and what it sends waits in inboxes for a later window
//! (conservative lookahead: Chandy and Misra, IEEE TSE 1979). Each node takes its events in an order of their own
//! ([`Scheduled`]), so that neither threads nor the cut of the windows change anything.
//!
//! Invariant: `next[node]` is at most the time of the node's next event, and `blocks[b]` at most that of its nodes.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Barrier, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

use super::{
    config::SimConfig,
    event::{Event, Scheduled},
    fault::Cut,
    host::Host,
    notes::Notes,
};

/// Nodes that a thread takes at once.
const BLOCK: usize = 16;

/// The nodes and what they share.
pub struct World {
    /// The settings.
    pub config: SimConfig,
    /// A partition.
    pub cut: Option<Cut>,
    /// Whether chunks are written down.
    pub recording: bool,
    /// Whether nodes that start trace.
    pub tracing: bool,
    hosts: Vec<Mutex<Host>>,
    inboxes: Vec<Mutex<Vec<Scheduled>>>,
    next: Vec<AtomicU64>,
    blocks: Vec<AtomicU64>,
}

/// A node's turn.
pub struct Turn<'a> {
    /// What the nodes share.
    pub world: &'a World,
    /// The time of the event at hand.
    pub now_us: u64,
    /// What is left behind.
    pub notes: &'a mut Notes,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Without nodes.
    pub fn new(config: SimConfig) -> World {
        World {
            config,
            cut: None,
            recording: false,
            tracing: false,
            hosts: Vec::new(),
            inboxes: Vec::new(),
            next: Vec::new(),
            blocks: Vec::new(),
        }
    }

    /// One more node.
    pub fn add(&mut self, host: Host) {
        if self.hosts.len().is_multiple_of(BLOCK) {
            self.blocks.push(AtomicU64::new(u64::MAX));
        }
        self.hosts.push(Mutex::new(host));
        self.inboxes.push(Mutex::default());
        self.next.push(AtomicU64::new(u64::MAX));
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// A node, between windows.
    pub fn host(&self, index: usize) -> MutexGuard<'_, Host> {
        lock(&self.hosts[index])
    }

    /// Does something to a node at `now_us`, between windows.
    pub fn with<T>(
        &self,
        index: usize,
        now_us: u64,
        notes: &mut Notes,
        act: impl FnOnce(&mut Host, &mut Turn<'_>) -> T,
    ) -> T {
        let mut host = self.host(index);
        let done = act(&mut host, &mut Turn { world: self, now_us, notes });
        self.expect(index, host.next_us());
        done
    }

    /// Something that happens to a node and that it caused itself, between windows.
    pub fn later(&self, index: usize, at_us: u64, event: Event) {
        let mut host = self.host(index);
        host.later(at_us, event);
        self.expect(index, at_us);
    }

    /// Something that another node does to `to`.
    pub fn post(&self, to: usize, scheduled: Scheduled) {
        let at_us = scheduled.at_us;
        let mut inbox = lock(&self.inboxes[to]);
        inbox.push(scheduled);
        self.expect(to, at_us);
    }

    fn expect(&self, index: usize, at_us: u64) {
        self.next[index].fetch_min(at_us, SeqCst);
        self.blocks[index / BLOCK].fetch_min(at_us, SeqCst);
    }

    /// When something happens next, at the earliest.
    fn next_us(&self) -> u64 {
        self.blocks.iter().map(|block| block.load(SeqCst)).min().unwrap_or(u64::MAX)
    }

    /// Runs the nodes of one block after the other until none is left.
    fn run_blocks(&self, cursor: &AtomicUsize, end_us: u64, notes: &mut Notes) {
        loop {
            let block = cursor.fetch_add(1, SeqCst);
            let Some(bound) = self.blocks.get(block) else { return };
            if bound.load(SeqCst) >= end_us {
                continue;
            }
            // What others post meanwhile lowers it again.
            bound.store(u64::MAX, SeqCst);
            let nodes = block * BLOCK..self.len().min((block + 1) * BLOCK);
            for index in nodes {
                if self.next[index].load(SeqCst) < end_us {
                    self.run_host(index, end_us, notes);
                }
                bound.fetch_min(self.next[index].load(SeqCst), SeqCst);
            }
        }
    }

    fn run_host(&self, index: usize, end_us: u64, notes: &mut Notes) {
        let mut host = self.host(index);
        {
            let mut inbox = lock(&self.inboxes[index]);
            self.next[index].store(u64::MAX, SeqCst);
            inbox.drain(..).for_each(|scheduled| host.queue.push(scheduled));
        }
        host.run(&mut Turn { world: self, now_us: 0, notes }, end_us);
        self.next[index].fetch_min(host.next_us(), SeqCst);
    }

    /// Runs what is due next, if it is by `until_us`, and nothing else. The time, or `None`.
    pub fn step(&self, until_us: u64, notes: &mut Notes) -> Option<u64> {
        let at_us = self.next_us();
        if at_us > until_us {
            return None;
        }
        self.run_blocks(&AtomicUsize::new(0), at_us + 1, notes);
        Some(at_us)
    }

    /// The end of the next window, if there is something to do by `until_us`; else 0.
    fn window(&self, until_us: u64) -> u64 {
        let at_us = self.next_us();
        if at_us > until_us { 0 } else { (at_us + self.config.latency.least_us()).min(until_us + 1) }
    }

    /// Runs everything that is due by `until_us`.
    pub fn run(&self, until_us: u64, notes: &mut Notes) {
        let threads = self.config.threads.clamp(1, self.blocks.len().max(1));
        if threads > 1 {
            return self.run_parallel(threads, until_us, notes);
        }
        loop {
            match self.window(until_us) {
                0 => return,
                end_us => self.run_blocks(&AtomicUsize::new(0), end_us, notes),
            }
        }
    }

    fn run_parallel(&self, threads: usize, until_us: u64, notes: &mut Notes) {
        let (cursor, end) = (AtomicUsize::new(0), AtomicU64::new(self.window(until_us)));
        let barrier = Barrier::new(threads);
        let panicked: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
        let work = |notes: &mut Notes| loop {
            let end_us = end.load(SeqCst);
            if end_us == 0 {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run_blocks(&cursor, end_us, notes))) {
                lock(&panicked).get_or_insert(panic);
            }
            // The last to come opens the next window, all others wait for that.
            if barrier.wait().is_leader() {
                cursor.store(0, SeqCst);
                end.store(if lock(&panicked).is_some() { 0 } else { self.window(until_us) }, SeqCst);
            }
            barrier.wait();
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut notes = Notes::default();
                        work(&mut notes);
                        notes
                    })
                })
                .collect();
            work(notes);
            for other in others {
                match other.join() {
                    Ok(theirs) => notes.merge(theirs),
                    Err(panic) => resume_unwind(panic),
                }
            }
        });
        if let Some(panic) = panicked.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(panic);
        }
    }
}
