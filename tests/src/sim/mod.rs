//! The simulator: the third driver of [`pontoon_core::node::Node`], beside the browser's and the supernode's.
//!
//! Virtual time in microseconds; events ordered by (time, serial); everything random from one seed, so a seed replays
//! a run to the last byte ([`Sim::hash`]). It does not cheat: messages travel only over open channels, opening one
//! costs its signalling trips (WebRTC descriptions travel through the overlay itself), and each hop is paid.
//!
//! | file | models |
//! |---|---|
//! | `channel`, `net` | channels, dialling, WebRTC sessions, latency, bandwidth, partitions, stalls |
//! | `disk` | batches in order, after a while, lost by a crash |
//! | `clock` | two clocks a node, skewed and drifting |
//! | `fault` | crashes, restarts, partitions, sleep |
//! | `world` | what is true: who is nearest, whether everybody has settled |
//! | `hash` | the trace hash |

mod channel;
mod clock;
mod config;
mod disk;
mod event;
mod fault;
mod hash;
mod net;
mod world;

use std::collections::{BTreeMap, VecDeque};

use chacha20::rand_core::{Rng as _, SeedableRng as _};
use channel::Channel;
use clock::Clock;
pub use config::{HEAVY_TAIL, Latency, Ppm, Signing, SimConfig};
use disk::Disk;
use event::{Event, Queue};
pub use fault::Crash;
pub use hash::{TraceHash, mix};
use pontoon_core::{
    CallId, Command, Error, Id, Input, Now, Output, Reply,
    crypto::{Ed25519, Identity, KeyedHash},
    ctx::Rng,
    inspect::{Inspect, Trace},
    node::Node,
};

/// The address of the in-simulation supernode with this index.
pub fn address(node: usize) -> String {
    format!("sim://{node}")
}

/// What a command came to.
pub type Answer = Result<Reply, Error>;

/// One node and its machine.
struct Host {
    node: Option<Node>,
    id: Id,
    clock: Clock,
    disk: Disk,
    sessions: BTreeMap<pontoon_core::SessionId, net::Session>,
    /// Channels of this life, open or opening.
    channels: Vec<usize>,
    life: u32,
    direct: bool,
    /// When the node wants to be woken, virtual time; `u64::MAX` for never.
    wake_us: u64,
    asleep: bool,
    /// What arrived while asleep.
    backlog: VecDeque<Event>,
    inbound_free_us: u64,
    /// WebRTC sessions begun in this life.
    rtc_opened: u64,
}

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

/// A simulated network.
pub struct Sim {
    config: SimConfig,
    now_us: u64,
    hosts: Vec<Host>,
    channels: Vec<Channel>,
    queue: Queue,
    rng: Rng,
    hash: TraceHash,
    /// Side of a partition for each node; nodes on different sides do not hear one another.
    sides: Option<Vec<bool>>,
    calls: u64,
    replies: BTreeMap<CallId, (u64, Answer)>,
    deliveries: Vec<Delivery>,
    globals: Vec<(usize, String, Option<Vec<u8>>)>,
    traces: Vec<(usize, Trace)>,
    recorded: Option<Vec<Recorded>>,
    stats: Stats,
}

impl Sim {
    /// A network whose nodes start one after the other.
    pub fn new(config: SimConfig) -> Sim {
        let mut sim = Sim {
            now_us: 0,
            hosts: Vec::with_capacity(config.nodes),
            channels: Vec::new(),
            queue: Queue::default(),
            rng: Rng::seed_from_u64(config.seed),
            hash: TraceHash::default(),
            sides: None,
            calls: 0,
            replies: BTreeMap::new(),
            deliveries: Vec::new(),
            globals: Vec::new(),
            traces: Vec::new(),
            recorded: None,
            stats: Stats::default(),
            config,
        };
        for index in 0..sim.config.nodes {
            sim.add_node(index as u64 * sim.config.join_every_us);
        }
        sim
    }

    /// One more node, started `after_us` from now; its index.
    pub fn add_node(&mut self, after_us: u64) -> usize {
        let index = self.hosts.len();
        let every = self.config.relayed_every;
        self.hosts.push(Host {
            node: None,
            id: self.identity(index).id(),
            clock: Clock::draw(&self.config, index),
            disk: Disk::default(),
            sessions: BTreeMap::new(),
            channels: Vec::new(),
            life: 0,
            direct: index > 0 && (every == 0 || !index.is_multiple_of(every)),
            wake_us: u64::MAX,
            asleep: false,
            backlog: VecDeque::new(),
            inbound_free_us: 0,
            rtc_opened: 0,
        });
        self.queue.push(self.now_us + after_us, Event::Start { node: index });
        index
    }

    /// Virtual time.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// How many nodes there are, dead ones included.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// A node's id.
    pub fn id(&self, node: usize) -> Id {
        self.hosts[node].id
    }

    /// Whether a node runs (asleep or not).
    pub fn is_up(&self, node: usize) -> bool {
        self.hosts[node].node.is_some()
    }

    /// The hash over everything that every node asked for so far.
    pub fn hash(&self) -> u64 {
        self.hash.value()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// A number below `bound` from the simulation's generator.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    /// Runs until virtual time `until_us`, inclusive.
    pub fn run_until(&mut self, until_us: u64) {
        while self.step(until_us) {}
        self.now_us = self.now_us.max(until_us);
    }

    /// Runs for so many microseconds of virtual time.
    pub fn run_for(&mut self, us: u64) {
        self.run_until(self.now_us + us);
    }

    /// Gives a command to a node. A node that is down never replies.
    pub fn command(&mut self, node: usize, command: Command) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        let life = self.hosts[node].life;
        self.queue.push(self.now_us, Event::input(node, life, Input::Command { call, command }));
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
            while self.replies.len() == before && self.step(limit) {}
            if self.replies.len() == before {
                self.now_us = limit;
                break;
            }
        }
        calls.iter().map(|call| self.replies.remove(call).map(|(_, answer)| answer)).collect()
    }

    /// Gives a command and runs until it is answered; `None` if it is not within `limit_us`.
    pub fn call(&mut self, node: usize, command: Command, limit_us: u64) -> Option<Answer> {
        let call = self.command(node, command);
        self.wait(&[call], limit_us).pop().flatten()
    }

    /// A snapshot of a node; `None` if it is down.
    pub fn inspect(&self, node: usize) -> Option<Inspect> {
        let host = &self.hosts[node];
        host.node.as_ref().map(|running| running.inspect(host.clock.at(self.now_us)))
    }

    /// The locality bits of tables created from now on; those of the network are the settings'.
    pub fn set_locality_bits(&mut self, bits: u8) {
        self.config.core.locality_bits = bits;
    }

    /// See [`Sim::set_locality_bits`].
    pub fn locality_bits(&self) -> u8 {
        self.config.core.locality_bits
    }

    /// A node's clocks.
    pub fn clocks(&self, node: usize) -> Now {
        self.hosts[node].clock.at(self.now_us)
    }

    /// The value of a global as a node knows it.
    pub fn global(&self, node: usize, name: &str) -> Option<Vec<u8>> {
        self.hosts[node].node.as_ref()?.global(name).map(<[u8]>::to_vec)
    }

    /// Takes the application messages that arrived since the last call.
    pub fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }

    /// Takes the changes of globals that nodes told of: (node, name, value).
    pub fn take_globals(&mut self) -> Vec<(usize, String, Option<Vec<u8>>)> {
        std::mem::take(&mut self.globals)
    }

    /// Takes the trace events of nodes that trace.
    pub fn take_traces(&mut self) -> Vec<(usize, Trace)> {
        std::mem::take(&mut self.traces)
    }

    /// Turns a node's trace stream on or off.
    pub fn set_tracing(&mut self, node: usize, on: bool) {
        if let Some(running) = &mut self.hosts[node].node {
            running.set_tracing(on);
        }
    }

    /// Starts to record chunks, or stops and gives those recorded.
    pub fn record(&mut self, on: bool) -> Vec<Recorded> {
        let recorded = self.recorded.take().unwrap_or_default();
        self.recorded = on.then(Vec::new);
        recorded
    }

    /// Hands a node a chunk that nobody sent, on its `channel`-th open channel (modulo how many it has).
    pub fn inject(&mut self, node: usize, channel: usize, bytes: Vec<u8>) {
        let host = &self.hosts[node];
        let open: Vec<_> = host.channels.iter().filter_map(|index| self.open_end(*index, node)).collect();
        if let Some(link) = open.get(channel % open.len().max(1)) {
            let input = Input::Chunk { link: *link, bytes };
            self.feed(node, host.life, input);
        }
    }

    fn identity(&self, node: usize) -> Box<dyn Identity> {
        let seed = self.secret(1, node as u64);
        match self.config.signing {
            Signing::Ed25519 => Box::new(Ed25519::from_seed(&seed)),
            Signing::KeyedHash => Box::new(KeyedHash(seed)),
        }
    }

    /// 32 bytes that depend on the seed, a purpose and a number only.
    fn secret(&self, purpose: u64, number: u64) -> [u8; 32] {
        let mut rng = Rng::seed_from_u64(mix(mix(self.config.seed, purpose), number));
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        bytes
    }

    /// Whether something happens with a chance of `ppm` in a million.
    fn chance(&mut self, ppm: Ppm) -> bool {
        ppm > 0 && self.rng.next_u64() % 1_000_000 < u64::from(ppm)
    }

    /// Handles the next event, if it is due by `until_us`.
    fn step(&mut self, until_us: u64) -> bool {
        let Some((at_us, event)) = self.queue.pop_until(until_us) else { return false };
        self.now_us = at_us;
        self.handle(event);
        true
    }

    fn handle(&mut self, event: Event) {
        self.stats.events += 1;
        let target = match &event {
            Event::Start { .. } | Event::Resume { .. } | Event::Release { .. } => None,
            Event::Input { node, .. } | Event::Wake { node, .. } | Event::Persisted { node, .. } => Some(*node),
            Event::Arrive { channel, to, .. } | Event::Open { channel, end: to } => {
                Some(self.channels[*channel].ends[*to].node)
            }
        };
        if let Some(node) = target
            && self.hosts[node].asleep
        {
            self.hosts[node].backlog.push_back(event);
            return;
        }
        match event {
            Event::Start { node } => self.boot(node),
            Event::Resume { node, stood_still_us } => self.resume(node, stood_still_us),
            Event::Input { node, life, input } => self.feed(node, life, *input),
            Event::Wake { node, life } => {
                // Only the latest wish counts: earlier wakes are left in the queue and ignored.
                if self.hosts[node].life == life && self.hosts[node].wake_us <= self.now_us {
                    self.hosts[node].wake_us = u64::MAX;
                    self.feed(node, life, Input::Wake);
                }
            }
            Event::Persisted { node, life } => self.persisted(node, life),
            Event::Arrive { channel, to, item } => self.arrive(channel, to, item),
            Event::Release { channel, to } => self.release(channel, to),
            Event::Open { channel, end } => self.open(channel, end),
        }
    }

    /// Feeds a node that still lives the life meant, and carries out what it asks for.
    fn feed(&mut self, index: usize, life: u32, input: Input) {
        let host = &mut self.hosts[index];
        let Some(node) = host.node.as_mut().filter(|_| host.life == life) else { return };
        node.handle_input(host.clock.at(self.now_us), input);
        self.drain(index);
    }

    fn drain(&mut self, index: usize) {
        while let Some(output) = self.hosts[index].node.as_mut().and_then(Node::poll_output) {
            self.hash.output(self.now_us, index, &output);
            self.carry_out(index, output);
        }
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        match output {
            Output::Send { link, bytes } => self.send(index, link, bytes),
            Output::Close { link } => self.close(index, link),
            Output::Dial { address } => self.dial(index, address),
            Output::RtcOpen { session, peer, initiator } => self.rtc_open(index, session, peer, initiator),
            Output::RtcSignal { session, payload } => self.rtc_signal(index, session, &payload),
            Output::RtcClose { session } => self.rtc_close(index, session),
            Output::Persist { token, batch } => self.persist(index, token, batch),
            Output::Reply { call, result } => {
                self.replies.insert(call, (self.now_us, result));
            }
            Output::Message { from, to_key, payload } => {
                let at_us = self.now_us;
                self.deliveries.push(Delivery { at_us, node: index, from, to_key, payload });
            }
            Output::Global { name, value } => self.globals.push((index, name, value)),
            Output::Joined(_) => {}
            Output::Trace(trace) => self.traces.push((index, trace)),
            Output::Wake(mono) => self.wish_to_wake(index, mono),
        }
    }

    fn wish_to_wake(&mut self, index: usize, mono: u64) {
        let host = &mut self.hosts[index];
        let when = if mono == u64::MAX { u64::MAX } else { host.clock.when(mono).max(self.now_us) };
        // A wake already in the queue for the same time will do.
        if when != host.wake_us {
            host.wake_us = when;
            if when < u64::MAX {
                self.queue.push(when, Event::Wake { node: index, life: host.life });
            }
        }
    }

    fn persist(&mut self, index: usize, token: u64, batch: pontoon_core::store::Batch) {
        let host = &mut self.hosts[index];
        host.disk.begin(token, batch);
        host.disk.busy_until_us = host.disk.busy_until_us.max(self.now_us) + self.config.disk_us;
        self.queue.push(host.disk.busy_until_us, Event::Persisted { node: index, life: host.life });
    }

    fn persisted(&mut self, index: usize, life: u32) {
        if self.hosts[index].life != life {
            return;
        }
        let fails = self.chance(self.config.disk_fail_ppm);
        self.stats.batches += 1;
        if let Some((token, durable)) = self.hosts[index].disk.finish(fails) {
            let reason = || "no space left".to_owned();
            let input =
                if durable { Input::Persisted { token } } else { Input::PersistFailed { token, reason: reason() } };
            self.feed(index, life, input);
        }
    }
}
