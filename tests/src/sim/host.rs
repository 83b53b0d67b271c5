//! One node and its machine: what happens to it, and what it asks for. Touches nothing of other nodes.

use std::collections::{BTreeMap, VecDeque};

use pontoon_core::{
    Id, Input, LinkId, Output, SessionId,
    crypto::{Ed25519, Identity, KeyedHash},
    node::Node,
    store::Batch,
    wire,
};

use super::{
    Recorded,
    channel::{End, Item},
    clock::Clock,
    config::{Ppm, Signing, SimConfig},
    disk::Disk,
    event::{Event, Queue, Scheduled},
    hash::{TraceHash, mix},
    malice::Malice,
    net::Session,
    notes::What,
    window::Turn,
};

/// One node and its machine.
pub struct Host {
    pub index: usize,
    pub node: Option<Node>,
    pub id: Id,
    pub clock: Clock,
    pub disk: Disk,
    pub sessions: BTreeMap<SessionId, Session>,
    /// Ends of channels of this life, open or opening.
    pub ends: BTreeMap<LinkId, End>,
    pub life: u32,
    /// How often it came back as somebody else.
    pub incarnation: u32,
    pub direct: bool,
    pub asleep: bool,
    pub hash: TraceHash,
    pub queue: Queue,
    /// When the node wants to be woken, virtual time; `u64::MAX` for never.
    wake_us: u64,
    /// What arrived while asleep.
    backlog: VecDeque<Scheduled>,
    inbound_free_us: u64,
    links: u64,
    serial: u64,
    draws: u64,
    /// It runs another program than ours.
    malice: Option<Malice>,
}

impl Host {
    /// A machine whose node has not started.
    pub fn new(config: &SimConfig, index: usize) -> Host {
        let every = config.relayed_every;
        let mut host = Host {
            index,
            node: None,
            id: Id::ZERO,
            clock: Clock::draw(config, index),
            disk: Disk::default(),
            sessions: BTreeMap::new(),
            ends: BTreeMap::new(),
            life: 0,
            incarnation: 0,
            direct: (index > 0 || !config.supernode) && (every == 0 || !index.is_multiple_of(every)),
            asleep: false,
            hash: TraceHash::default(),
            queue: Queue::default(),
            wake_us: u64::MAX,
            backlog: VecDeque::new(),
            inbound_free_us: 0,
            links: 0,
            serial: 0,
            draws: 0,
            malice: None,
        };
        host.id = host.identity(config).id();
        host
    }

    /// The key pair of this incarnation.
    pub fn identity(&self, config: &SimConfig) -> Box<dyn Identity> {
        let seed = config.secret(1, self.index as u64 | u64::from(self.incarnation) << 40);
        match config.signing {
            Signing::Ed25519 => Box::new(Ed25519::from_seed(&seed)),
            Signing::KeyedHash => Box::new(KeyedHash(seed)),
        }
    }

    /// When something happens next.
    pub fn next_us(&self) -> u64 {
        self.queue.next_us().min(if self.asleep { u64::MAX } else { self.wake_us })
    }

    /// Lets everything happen that is due before `end_us`.
    pub fn run(&mut self, turn: &mut Turn<'_>, end_us: u64) {
        while self.next_us() < end_us {
            turn.notes.stats.events += 1;
            if self.queue.next_us() <= self.next_us() {
                let Some(scheduled) = self.queue.pop() else { break };
                turn.now_us = scheduled.at_us;
                self.handle(turn, scheduled);
            } else {
                turn.now_us = self.wake_us;
                self.wake_us = u64::MAX;
                self.feed(turn, Input::Wake);
            }
        }
    }

    fn handle(&mut self, turn: &mut Turn<'_>, scheduled: Scheduled) {
        if self.asleep && !matches!(scheduled.event, Event::Start | Event::Resume { .. }) {
            return self.backlog.push_back(scheduled);
        }
        let from = scheduled.from;
        match scheduled.event {
            Event::Start => self.boot(turn),
            Event::Resume { stood_still_us } => self.resume(turn, stood_still_us),
            Event::Input { life, input } => self.feed_in(turn, life, *input),
            Event::Persisted { life } => self.persisted(turn, life),
            Event::Dialled { theirs } => self.dialled(turn, from, theirs),
            Event::Connect { session, life, theirs } => self.connect(turn, from, session, life, theirs),
            Event::Answered { link, theirs } => self.answered(turn, from, link, theirs),
            Event::Open { link } => self.open_rtc(turn, link),
            Event::RtcFailed { session, life } => self.rtc_failed(turn, session, life),
            Event::Arrive { link, item } => self.arrive(turn, link, item),
            Event::Received { link, item } => self.hand_over(turn, link, item),
            Event::Release { link } => self.release(turn, link),
        }
    }

    /// Starts the node, or starts it again on what its disk holds.
    fn boot(&mut self, turn: &mut Turn<'_>) {
        if self.node.is_some() {
            return;
        }
        let config = turn.world.config.node(self.index, self.life, self.incarnation, self.direct);
        let seed = turn.world.config.secret(2 + (u64::from(self.life) << 8), self.index as u64);
        let identity = self.identity(&turn.world.config);
        let now = self.clock.at(turn.now_us);
        let mut node = Node::new(config, identity, seed, now, self.disk.saved());
        node.set_tracing(turn.world.tracing);
        self.node = Some(node);
        self.feed(turn, Input::Wake);
    }

    fn resume(&mut self, turn: &mut Turn<'_>, stood_still_us: u64) {
        self.asleep = false;
        self.clock.slept_us += stood_still_us;
        // The wake that was due is stale where the clock stood still: the node will ask again.
        self.wake_us = if self.node.is_some() { turn.now_us } else { u64::MAX };
        for scheduled in std::mem::take(&mut self.backlog) {
            self.handle(turn, scheduled);
        }
    }

    /// The node is gone, and all but `kept` of the batches under way; its ends.
    pub fn end_life(&mut self, kept: usize) -> BTreeMap<LinkId, End> {
        self.node = None;
        self.life += 1;
        self.sessions.clear();
        self.wake_us = u64::MAX;
        self.disk.crash(kept);
        self.disk.busy_until_us = 0;
        std::mem::take(&mut self.ends)
    }

    /// Tells a node that still lives the life meant.
    pub fn feed_in(&mut self, turn: &mut Turn<'_>, life: u32, input: Input) {
        if self.life == life {
            self.feed(turn, input);
        }
    }

    /// From now on a filter hears first what the others say.
    pub fn turn_hostile(&mut self, malice: Malice) {
        self.malice = Some(malice);
    }

    /// Tells the node, if it runs, and carries out what it asks for.
    pub fn feed(&mut self, turn: &mut Turn<'_>, input: Input) {
        if let (Input::Chunk { link, bytes }, Some(malice)) = (&input, &mut self.malice)
            && let (link, Some(turned)) = (*link, malice.turn(*link, bytes))
        {
            let chunk_bytes = turn.world.config.core.chunk_bytes;
            for chunk in turned.said.iter().flat_map(|frame| wire::cut(frame, chunk_bytes)) {
                self.send(turn, link, chunk);
            }
            for bytes in turned.heard.iter().flat_map(|frame| wire::cut(frame, chunk_bytes)) {
                self.tell(turn, Input::Chunk { link, bytes });
            }
            return;
        }
        self.tell(turn, input);
    }

    fn tell(&mut self, turn: &mut Turn<'_>, input: Input) {
        let Some(node) = &mut self.node else { return };
        node.handle_input(self.clock.at(turn.now_us), input);
        while let Some(output) = self.node.as_mut().and_then(Node::poll_output) {
            self.hash.output(turn.now_us, &output);
            self.carry_out(turn, output);
        }
    }

    fn carry_out(&mut self, turn: &mut Turn<'_>, output: Output) {
        match output {
            Output::Send { link, bytes } => self.send(turn, link, bytes),
            Output::Close { link } => self.close(turn, link),
            Output::Dial { address } => self.dial(turn, address),
            Output::RtcOpen { session, initiator, .. } => self.rtc_open(turn, session, initiator),
            Output::RtcSignal { session, payload } => self.rtc_signal(turn, session, &payload),
            Output::RtcClose { session } => {
                // An attempt under way fails at the other end.
                self.sessions.remove(&session);
            }
            Output::Persist { token, batch } => self.persist(turn, token, batch),
            Output::Reply { call, result } => self.note(turn, What::Reply(call, result)),
            Output::Progress { call, rows, share, early } => {
                self.note(turn, What::Progress(call, rows, share, early));
            }
            Output::Message { from, to_key, payload } => self.note(turn, What::Message { from, to_key, payload }),
            Output::Global { name, value } => self.note(turn, What::Global(name, value)),
            Output::NewData(record) => self.note(turn, What::NewData(record)),
            Output::Watched { call, event } => self.note(turn, What::Watched(call, event)),
            Output::Joined(_) => {}
            Output::Trace(trace) => self.note(turn, What::Trace(trace)),
            Output::Wake(mono) => {
                self.wake_us = if mono == u64::MAX { u64::MAX } else { self.clock.when(mono).max(turn.now_us) };
            }
        }
    }

    fn persist(&mut self, turn: &mut Turn<'_>, token: u64, batch: Batch) {
        self.disk.begin(token, batch);
        self.disk.busy_until_us = self.disk.busy_until_us.max(turn.now_us) + turn.world.config.disk_us;
        self.later(self.disk.busy_until_us, Event::Persisted { life: self.life });
    }

    fn persisted(&mut self, turn: &mut Turn<'_>, life: u32) {
        if self.life != life {
            return;
        }
        let fails = self.chance(turn, turn.world.config.disk_fail_ppm);
        turn.notes.stats.batches += 1;
        if let Some((token, durable)) = self.disk.finish(fails) {
            let reason = || "no space left".to_owned();
            let input =
                if durable { Input::Persisted { token } } else { Input::PersistFailed { token, reason: reason() } };
            self.feed(turn, input);
        }
    }

    /// Something that happens to this node and that it caused itself.
    pub fn later(&mut self, at_us: u64, event: Event) {
        let scheduled = self.caused(at_us, event);
        self.queue.push(scheduled);
    }

    /// An event that this node caused, here or elsewhere.
    pub fn caused(&mut self, at_us: u64, event: Event) -> Scheduled {
        self.serial += 1;
        Scheduled { at_us, from: self.index, serial: self.serial, event }
    }

    fn note(&mut self, turn: &mut Turn<'_>, what: What) {
        self.serial += 1;
        turn.notes.add(turn.now_us, self.index, self.serial, what);
    }

    /// A new end; its name here.
    pub fn new_end(&mut self, end: End) -> LinkId {
        self.links += 1;
        let link = LinkId(self.links);
        self.ends.insert(link, end);
        link
    }

    /// A number of this node's own sequence.
    pub fn draw(&mut self, config: &SimConfig) -> u64 {
        self.draws += 1;
        mix(mix(mix(config.seed, 15), self.index as u64), self.draws)
    }

    /// Whether something happens with a chance of `ppm` in a million.
    pub fn chance(&mut self, turn: &Turn<'_>, ppm: Ppm) -> bool {
        ppm > 0 && self.draw(&turn.world.config) % 1_000_000 < u64::from(ppm)
    }

    /// When a chunk that arrives now has come in through the node's own line.
    pub fn received_us(&mut self, turn: &Turn<'_>, item: &Item) -> u64 {
        let Some(rate) = turn.world.config.inbound_bits_per_s else { return turn.now_us };
        let bytes = match item {
            Item::Bytes(bytes) => bytes.len() as u64,
            Item::Down => 0,
        };
        self.inbound_free_us = self.inbound_free_us.max(turn.now_us) + bytes * 8_000_000 / rate.max(1);
        self.inbound_free_us
    }

    /// Writes down a chunk, if anybody wants to know.
    pub fn record(&mut self, turn: &mut Turn<'_>, to: usize, bytes: &[u8]) {
        turn.notes.stats.chunks += 1;
        turn.notes.stats.bytes += bytes.len() as u64;
        if turn.world.recording {
            let recorded = Recorded { from: self.index, to, bytes: bytes.to_vec() };
            self.note(turn, What::Chunk(recorded));
        }
    }
}
