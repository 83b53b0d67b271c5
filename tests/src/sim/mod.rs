//! The simulator: the third driver of [`pontoon_core::node::Node`], beside the browser's and the supernode's.
//!
//! Virtual time in microseconds; everything random from one seed, so a seed replays a run to the last byte
//! ([`Sim::hash`]), on any number of threads. It does not cheat: messages travel only over open channels, opening one
//! costs its signalling trips (WebRTC descriptions travel through the overlay itself), and each hop is paid.
//!
//! | file | models |
//! |---|---|
//! | `host`, `disk`, `clock` | one node, its batches (late, lost by a crash), its two clocks (skewed and drifting) |
//! | `channel`, `net` | channels, dialling, WebRTC sessions, latency, bandwidth, stalls |
//! | `event`, `window` | what happens next; windows of time in which nodes run side by side |
//! | `insider` | users, and what a peer says that runs another program |
//! | `malice` | hostile peers: drop, misroute, hide, roll back, forge |
//! | `fault` | crashes, restarts, partitions, sleep |
//! | `world` | what is true: who is nearest, whether everybody has settled |
//! | `hash`, `notes` | the trace hash; what a run leaves behind |

mod channel;
mod clock;
mod config;
mod disk;
mod event;
mod fault;
mod hash;
mod host;
mod insider;
mod malice;
mod net;
mod notes;
mod window;
mod world;

use std::collections::BTreeMap;

use chacha20::rand_core::{Rng as _, SeedableRng as _};
pub use config::{HEAVY_TAIL, Latency, Ppm, Signing, SimConfig};
use event::Event;
pub use fault::Crash;
pub use hash::{TraceHash, mix};
use host::Host;
pub use insider::{user, user_keys};
pub use malice::{Gang, Vice};
use notes::{Notes, What};
use pontoon_core::{
    CallId, Command, Error, Id, Input, LinkId, Now, Reply,
    ctx::Rng,
    data::SignedRow,
    inspect::{Inspect, Trace},
    live::Watched,
    store::Record,
};
use window::World;
pub use world::Unsettled;

/// The address of the in-simulation node with this index.
pub fn address(node: usize) -> String {
    format!("sim://{node}")
}

/// What a command came to.
pub type Answer = Result<Reply, Error>;

/// An application message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When, virtual time.
    pub at_us: u64,
    /// Where.
    pub node: usize,
    /// Its sender.
    pub from: Id,
    /// The key it was sent to.
    pub to_key: Option<(String, Vec<u8>)>,
    /// The message.
    pub payload: Vec<u8>,
}

/// What a simulation counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Chunks sent.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub bytes: u64,
    /// Channels opened by dialling.
    pub dialled: u64,
    /// Channels opened by WebRTC.
    pub rtc: u64,
    /// Batches written.
    pub batches: u64,
}

/// A chunk as it was sent, for tests that replay and mutate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// The chunk.
    pub bytes: Vec<u8>,
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.events += other.events;
        self.chunks += other.chunks;
        self.bytes += other.bytes;
        self.dialled += other.dialled;
        self.rtc += other.rtc;
        self.batches += other.batches;
    }
}

/// A simulated network.
pub struct Sim {
    world: World,
    now_us: u64,
    rng: Rng,
    calls: u64,
    notes: Notes,
    replies: BTreeMap<CallId, (u64, Answer)>,
    deliveries: Vec<Delivery>,
    globals: Vec<(usize, String, Option<Vec<u8>>)>,
    traces: Vec<(usize, Trace)>,
    new_data: Vec<(usize, Record)>,
    progress: Vec<(u64, CallId, u64, f64)>,
    early: Vec<(CallId, Vec<SignedRow>)>,
    watched: BTreeMap<CallId, Vec<(u64, Watched)>>,
    recorded: Vec<Recorded>,
}

impl Sim {
    /// A network whose nodes start one after the other.
    pub fn new(config: SimConfig) -> Sim {
        let (nodes, every) = (config.nodes, config.join_every_us);
        let mut sim = Sim {
            now_us: 0,
            rng: Rng::seed_from_u64(config.seed),
            world: World::new(config),
            calls: 0,
            notes: Notes::default(),
            replies: BTreeMap::new(),
            deliveries: Vec::new(),
            globals: Vec::new(),
            traces: Vec::new(),
            new_data: Vec::new(),
            progress: Vec::new(),
            early: Vec::new(),
            watched: BTreeMap::new(),
            recorded: Vec::new(),
        };
        for index in 0..nodes {
            sim.add_node(index as u64 * every);
        }
        sim
    }

    /// One more node, started `after_us` from now; its index.
    pub fn add_node(&mut self, after_us: u64) -> usize {
        let index = self.len();
        let host = Host::new(&self.world.config, index);
        self.world.add(host);
        self.world.later(index, self.now_us + after_us, Event::Start);
        index
    }

    /// The settings.
    pub fn config(&self) -> &SimConfig {
        &self.world.config
    }

    /// Virtual time.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How many nodes there are, dead ones included.
    pub fn len(&self) -> usize {
        self.world.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A node's id.
    pub fn id(&self, node: usize) -> Id {
        self.world.host(node).id
    }

    /// Whether a node runs (asleep or not).
    pub fn is_up(&self, node: usize) -> bool {
        self.world.host(node).node.is_some()
    }

    /// How often a node ended: its life right now.
    pub fn life(&self, node: usize) -> u32 {
        self.world.host(node).life
    }

    /// Whether a call was answered.
    pub fn answered(&self, call: CallId) -> bool {
        self.replies.contains_key(&call)
    }

    /// Turns the trace stream of every node on or off, also of those that start later.
    pub fn trace_all(&mut self, on: bool) {
        self.world.tracing = on;
        (0..self.len()).for_each(|node| self.set_tracing(node, on));
    }

    /// The hash over everything that every node asked for so far.
    pub fn hash(&self) -> u64 {
        let mut hash = TraceHash::default();
        (0..self.len()).for_each(|node| hash.word(self.world.host(node).hash.value()));
        hash.value()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.notes.stats
    }

    /// A number below `bound` from the simulation's generator.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    /// Runs until virtual time `until_us`, inclusive.
    pub fn run_until(&mut self, until_us: u64) {
        self.world.run(until_us, &mut self.notes);
        self.now_us = self.now_us.max(until_us);
        self.sort_notes();
    }

    /// Runs for so many microseconds of virtual time.
    pub fn run_for(&mut self, us: u64) {
        self.run_until(self.now_us + us);
    }

    /// Gives a command to a node. A node that is down never replies.
    pub fn command(&mut self, node: usize, command: Command) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        let life = self.world.host(node).life;
        let input = Box::new(Input::Command { call, command });
        self.world.later(node, self.now_us, Event::Input { life, input });
        call
    }

    /// Takes a command's answer and when it came, if it came.
    pub fn reply(&mut self, call: CallId) -> Option<(u64, Answer)> {
        self.replies.remove(&call)
    }

    /// Runs until all calls are answered or `limit_us` passed; the answers in the order of `calls`.
    pub fn wait(&mut self, calls: &[CallId], limit_us: u64) -> Vec<Option<Answer>> {
        let limit = self.now_us + limit_us;
        while calls.iter().any(|call| !self.replies.contains_key(call)) {
            let before = self.replies.len();
            while self.replies.len() == before {
                // Event by event, to stop at the very time of the answer.
                let Some(at_us) = self.world.step(limit, &mut self.notes) else {
                    self.now_us = limit;
                    return self.take_replies(calls);
                };
                self.now_us = at_us;
                self.sort_notes();
            }
        }
        self.take_replies(calls)
    }

    fn take_replies(&mut self, calls: &[CallId]) -> Vec<Option<Answer>> {
        calls.iter().map(|call| self.replies.remove(call).map(|(_, answer)| answer)).collect()
    }

    /// Gives a command and runs until it is answered; `None` if it is not within `limit_us`.
    pub fn call(&mut self, node: usize, command: Command, limit_us: u64) -> Option<Answer> {
        let call = self.command(node, command);
        self.wait(&[call], limit_us).pop().flatten()
    }

    /// A snapshot of a node; `None` if it is down.
    pub fn inspect(&self, node: usize) -> Option<Inspect> {
        let host = self.world.host(node);
        host.node.as_ref().map(|running| running.inspect(host.clock.at(self.now_us)))
    }

    /// The locality bits of tables created from now on; those of the network are the settings'.
    pub fn set_locality_bits(&mut self, bits: u8) {
        self.world.config.core.locality_bits = bits;
    }

    /// See [`Sim::set_locality_bits`].
    pub fn locality_bits(&self) -> u8 {
        self.world.config.core.locality_bits
    }

    /// A node's clocks.
    pub fn clocks(&self, node: usize) -> Now {
        self.world.host(node).clock.at(self.now_us)
    }

    /// The value of a global as a node knows it.
    pub fn global(&self, node: usize, name: &str) -> Option<Vec<u8>> {
        self.world.host(node).node.as_ref()?.global(name).map(<[u8]>::to_vec)
    }

    /// Takes the application messages that arrived since the last call.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Takes the changes of globals that nodes told of: (node, name, value).
    pub fn take_globals(&mut self) -> Vec<(usize, String, Option<Vec<u8>>)> {
        std::mem::take(&mut self.globals)
    }

    /// Takes the records that nodes told their applications of.
    pub fn take_new_data(&mut self) -> Vec<(usize, Record)> {
        std::mem::take(&mut self.new_data)
    }

    /// Takes what was told of commands that go on: when, of which, how many rows had come, and the share that was done.
    pub fn take_progress(&mut self) -> Vec<(u64, CallId, u64, f64)> {
        std::mem::take(&mut self.progress)
    }

    /// The first rows of calls that go on, in the order in which they came.
    pub fn take_early(&mut self) -> Vec<(CallId, Vec<SignedRow>)> {
        std::mem::take(&mut self.early)
    }

    /// Takes what came of a watch since the last call, and when.
    pub fn take_watched(&mut self, watch: CallId) -> Vec<(u64, Watched)> {
        self.watched.remove(&watch).unwrap_or_default()
    }

    /// How many live queries of all askers stand at a node.
    pub fn standing_queries(&self, node: usize) -> usize {
        self.world.host(node).node.as_ref().map_or(0, pontoon_core::node::Node::standing_queries)
    }

    /// Takes the trace events of nodes that trace.
    pub fn take_traces(&mut self) -> Vec<(usize, Trace)> {
        std::mem::take(&mut self.traces)
    }

    /// Turns a node's trace stream on or off.
    pub fn set_tracing(&mut self, node: usize, on: bool) {
        if let Some(running) = &mut self.world.host(node).node {
            running.set_tracing(on);
        }
    }

    /// Starts to record chunks, or stops and gives those recorded.
    pub fn record(&mut self, on: bool) -> Vec<Recorded> {
        self.world.recording = on;
        std::mem::take(&mut self.recorded)
    }

    /// Hands a node a chunk that nobody sent, on its `channel`-th open channel (modulo how many it has).
    pub fn inject(&mut self, node: usize, channel: usize, bytes: Vec<u8>) {
        self.world.with(node, self.now_us, &mut self.notes, |host, turn| {
            let open: Vec<LinkId> = host.ends.iter().filter(|(_, end)| end.open).map(|(link, _)| *link).collect();
            if let Some(link) = open.get(channel % open.len().max(1)) {
                host.feed(turn, Input::Chunk { link: *link, bytes });
            }
        });
        self.sort_notes();
    }

    /// Puts what the nodes left behind where it is asked for.
    fn sort_notes(&mut self) {
        for (at_us, node, _, what) in self.notes.take() {
            match what {
                What::Reply(call, answer) => {
                    self.replies.insert(call, (at_us, answer));
                }
                What::Progress(call, rows, share, early) => {
                    self.progress.push((at_us, call, rows, share));
                    if !early.is_empty() {
                        self.early.push((call, early));
                    }
                }
                What::Message { from, to_key, payload } => {
                    self.deliveries.push(Delivery { at_us, node, from, to_key, payload });
                }
                What::Global(name, value) => self.globals.push((node, name, value)),
                What::Trace(trace) => self.traces.push((node, trace)),
                What::NewData(record) => self.new_data.push((node, record)),
                What::Watched(call, event) => self.watched.entry(call).or_default().push((at_us, event)),
                What::Chunk(recorded) => self.recorded.push(recorded),
            }
        }
    }
}
