//! Nodes of one process, in real time: the fourth driver of [`pontoon_core::node::Node`], for `dht-ops` and `sql-local`.
//!
//! One thread, real clocks, real Ed25519 identities. A chunk is handed to its receiver as soon as those sent before it
//! are; a disk answers at once from memory. Node 0 is the founder that the others dial; direct channels are opened as
//! pages do, with descriptions that travel through the overlay.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use pontoon_core::{
    CallId, Command, Config, Error, Id, Input, LinkId, Now, Origin, Output, Reply, SessionId, crypto::Ed25519,
    node::Node, trust::User,
};

/// A WebRTC session's ends, once both are known.
#[derive(Clone, Copy)]
struct Description {
    offer: bool,
    node: usize,
    session: SessionId,
}

impl Description {
    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.offer)];
        bytes.extend((self.node as u32).to_le_bytes());
        bytes.extend(self.session.0.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Description> {
        let node = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
        let session = SessionId(u64::from_le_bytes(bytes.get(5..13)?.try_into().ok()?));
        Some(Description { offer: *bytes.first()? == 1, node, session })
    }
}

/// What a command came to.
pub type Answer = Result<Reply, Error>;

/// Nodes and what is on its way between them.
pub struct Local {
    nodes: Vec<Node>,
    wakes_us: Vec<u64>,
    /// When the first of `wakes_us` is due.
    due_us: u64,
    queue: VecDeque<(usize, Input)>,
    /// Whose ends a channel has; `None` once closed. A link is named `channel * 2 + end`.
    channels: Vec<[Option<usize>; 2]>,
    /// Sessions that are not channels yet: whether this side makes the offer.
    sessions: BTreeMap<(usize, SessionId), bool>,
    begun: Instant,
    wall_us: u64,
    calls: u64,
    answers: Vec<(CallId, Answer)>,
}

impl Local {
    /// Starts `count` nodes with these settings; [`Local::settle`] waits until they are one network.
    pub fn new(count: usize, config: &Config, seed: u64) -> Local {
        let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let mut local = Local {
            nodes: Vec::new(),
            wakes_us: vec![u64::MAX; count],
            due_us: u64::MAX,
            queue: VecDeque::new(),
            channels: Vec::new(),
            sessions: BTreeMap::new(),
            begun: Instant::now(),
            wall_us,
            calls: 0,
            answers: Vec::new(),
        };
        for index in 0..count {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&seed.to_le_bytes());
            secret[8..16].copy_from_slice(&(index as u64).to_le_bytes());
            let first = index == 0;
            let config = Config {
                founder: first,
                supernode: first,
                supernodes: if first { Vec::new() } else { vec!["0".to_owned()] },
                direct_links: !first,
                ..config.clone()
            };
            let identity = Box::new(Ed25519::from_seed(&secret));
            local.nodes.push(Node::new(config, identity, secret, local.now(), Vec::new()));
            local.queue.push_back((index, Input::Wake));
        }
        local
    }

    /// A node acts for a user from now on; who that is.
    pub fn act_with(&mut self, node: usize, user: Ed25519) -> Option<User> {
        self.nodes[node].act_with(Box::new(user));
        self.nodes[node].user()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Who a node is.
    pub fn id(&self, node: usize) -> Id {
        self.nodes[node].id()
    }

    /// Microseconds since the Unix epoch.
    pub fn wall_us(&self) -> i64 {
        self.now().wall as i64
    }

    /// Gives a command to a node and runs until it is answered, or `until`.
    pub fn ask(&mut self, node: usize, command: Command, until: Instant) -> Option<Answer> {
        let asked = self.command(node, command);
        loop {
            if let Some(at) = self.answers.iter().position(|(call, _)| *call == asked) {
                return Some(self.answers.swap_remove(at).1);
            }
            if Instant::now() >= until {
                return None;
            }
            self.step(until);
        }
    }

    fn now(&self) -> Now {
        let mono = self.begun.elapsed().as_micros() as u64;
        Now { mono, wall: self.wall_us + mono }
    }

    /// Runs until everybody has joined, every region has an owner with `replicas` members under a lease, and the peers
    /// of a node are linked directly.
    pub fn settle(&mut self, replicas: usize, within: Duration) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let until = Instant::now() + Duration::from_millis(200);
            while Instant::now() < until {
                self.step(until);
            }
            match self.settled(replicas) {
                Ok(()) => return Ok(()),
                Err(why) if begun.elapsed() >= within => return Err(why),
                Err(_) => {}
            }
        }
    }

    fn settled(&self, replicas: usize) -> Result<(), String> {
        let members = replicas.min(self.len());
        let mut covered = 0.0;
        for (index, node) in self.nodes.iter().enumerate() {
            let seen = node.inspect(self.now());
            if !seen.joined {
                return Err(format!("node {index} has not joined"));
            }
            for held in seen.fragments.iter().filter(|held| held.state == "active" && held.owner == seen.id) {
                if held.members.len() != members {
                    return Err(format!("{} members of {members} in a group of node {index}", held.members.len()));
                }
                covered += held.share;
            }
            if seen.links.iter().any(|link| link.sibling && link.kind != "direct") {
                return Err(format!("node {index} reaches a sibling over a relay"));
            }
        }
        // Shares are powers of two: their sum is exact.
        if covered == 1.0 { Ok(()) } else { Err(format!("owners of {covered} of the key space")) }
    }

    /// Gives a command to a node; its answer comes with [`Local::answers`].
    pub fn command(&mut self, node: usize, command: Command) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        self.queue.push_back((node, Input::Command { call, command }));
        call
    }

    /// Runs until some commands are answered, or `until`; takes the answers.
    pub fn answers(&mut self, until: Instant) -> Vec<(CallId, Answer)> {
        while self.answers.is_empty() && Instant::now() < until {
            self.step(until);
        }
        std::mem::take(&mut self.answers)
    }

    /// The next thing that happens: a due timer, else what is first in the queue, else a sleep until a timer is due.
    fn step(&mut self, until: Instant) {
        let now = self.now();
        if self.due_us <= now.mono {
            for index in 0..self.nodes.len() {
                if self.wakes_us[index] <= now.mono {
                    self.wakes_us[index] = u64::MAX;
                    self.feed(index, now, Input::Wake);
                }
            }
            self.due_us = self.wakes_us.iter().copied().min().unwrap_or(u64::MAX);
        } else if let Some((index, input)) = self.queue.pop_front() {
            self.feed(index, now, input);
        } else {
            let timer = Duration::from_micros(self.due_us.saturating_sub(now.mono));
            std::thread::sleep(timer.min(until.saturating_duration_since(Instant::now())));
        }
    }

    fn feed(&mut self, index: usize, now: Now, input: Input) {
        self.nodes[index].handle_input(now, input);
        while let Some(output) = self.nodes[index].poll_output() {
            self.carry_out(index, output);
        }
    }

    fn carry_out(&mut self, index: usize, output: Output) {
        match output {
            Output::Send { link, bytes } => {
                if let Some((other, link)) = self.other_end(index, link) {
                    self.queue.push_back((other, Input::Chunk { link, bytes }));
                }
            }
            Output::Close { link } => {
                if let Some((other, other_link)) = self.other_end(index, link) {
                    self.channels[(link.0 / 2) as usize] = [None; 2];
                    self.queue.push_back((other, Input::LinkDown { link: other_link }));
                }
            }
            Output::Dial { address } => match address.parse::<usize>() {
                Ok(to) if to < self.nodes.len() => {
                    self.open([(to, Origin::Accepted), (index, Origin::Dialled { address })]);
                }
                _ => self.queue.push_back((index, Input::DialFailed { address })),
            },
            Output::RtcOpen { session, initiator, .. } => {
                self.sessions.insert((index, session), initiator);
                if initiator {
                    self.describe(index, true, session);
                }
            }
            Output::RtcSignal { session, payload } => self.described(index, session, &payload),
            Output::RtcClose { session } => drop(self.sessions.remove(&(index, session))),
            Output::Persist { token, .. } => self.queue.push_back((index, Input::Persisted { token })),
            Output::Reply { call, result } => self.answers.push((call, result)),
            Output::Wake(at_us) => {
                self.wakes_us[index] = at_us;
                self.due_us = self.due_us.min(at_us);
            }
            Output::Message { .. }
            | Output::Global { .. }
            | Output::NewData(_)
            | Output::Watched { .. }
            | Output::Joined(_)
            | Output::Progress { .. }
            | Output::Trace(_) => {}
        }
    }

    fn open(&mut self, ends: [(usize, Origin); 2]) {
        let channel = self.channels.len() as u64;
        self.channels.push([Some(ends[0].0), Some(ends[1].0)]);
        for (end, (node, origin)) in ends.into_iter().enumerate() {
            let link = LinkId(channel * 2 + end as u64);
            self.queue.push_back((node, Input::LinkUp { link, origin }));
        }
    }

    /// The node at the other end of a node's link, and the link's name there.
    fn other_end(&self, index: usize, link: LinkId) -> Option<(usize, LinkId)> {
        let ends = self.channels.get((link.0 / 2) as usize)?;
        let end = (link.0 % 2) as usize;
        (ends[end] == Some(index)).then(|| Some((ends[1 - end]?, LinkId(link.0 ^ 1))))?
    }

    fn describe(&mut self, node: usize, offer: bool, session: SessionId) {
        let payload = Description { offer, node, session }.encode();
        self.queue.push_back((node, Input::RtcSignal { session, payload }));
    }

    /// The other end's description: an offer is answered, an answer opens the channel.
    fn described(&mut self, index: usize, session: SessionId, payload: &[u8]) {
        let (Some(initiator), Some(remote)) =
            (self.sessions.get(&(index, session)).copied(), Description::decode(payload))
        else {
            return;
        };
        if remote.offer && !initiator {
            self.describe(index, false, session);
        } else if !remote.offer && initiator && self.sessions.remove(&(remote.node, remote.session)).is_some() {
            self.sessions.remove(&(index, session));
            let ends = [(index, session), (remote.node, remote.session)];
            self.open(ends.map(|(node, session)| (node, Origin::Rtc { session })));
        }
    }
}
