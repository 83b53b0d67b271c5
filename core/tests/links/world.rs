//! Nodes fed and drained by hand, and the links between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pontoon_core::{
    Config, Id, Now,
    crypto::Ed25519,
    error::Error,
    node::{CallId, Command, Input, LinkId, Node, Origin, Output, Reply, SessionId},
};

pub fn config(network: &str) -> Config {
    Config { network: network.to_owned(), ..Config::default() }
}

pub fn node(seed: u8, config: Config) -> Node {
    begun(seed, seed, config)
}

/// In another life a node draws other numbers.
pub fn reborn(seed: u8, config: Config) -> Node {
    begun(seed, seed + 100, config)
}

pub fn begun(seed: u8, draws: u8, config: Config) -> Node {
    let mut node =
        Node::new(config, Box::new(Ed25519::from_seed(&[seed; 32])), [draws; 32], Now::default(), Vec::new());
    node.handle_input(Now::default(), Input::Wake);
    while node.poll_output().is_some() {}
    node
}

pub fn supernode(seed: u8) -> Node {
    node(seed, Config { supernode: true, founder: true, direct_links: false, ..config("a") })
}

/// Inputs that one moment may take.
const TURNS_MAX: usize = 100_000;

/// Nodes joined by links whose ends are `(node, link)`; everything arrives at once and in order.
pub struct World {
    pub nodes: Vec<Node>,
    pub ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    pub replies: Vec<(usize, CallId, Result<Reply, Error>)>,
    pub messages: Vec<(usize, Id, Vec<u8>)>,
    pub globals: Vec<(usize, String, Option<Vec<u8>>)>,
    /// WebRTC sessions asked for: by whom, to whom.
    pub sessions: Vec<(usize, Id)>,
    /// The last one of each node.
    pub opened: BTreeMap<usize, SessionId>,
    /// Sessions closed.
    pub closed: Vec<(usize, SessionId)>,
    /// Addresses dialled, and by whom.
    pub dialled: Vec<(usize, String)>,
    /// Nodes that began a new life.
    pub lives: usize,
    pub now: Now,
    /// Nodes that are frozen: what happens to them waits in `held`.
    pub asleep: BTreeSet<usize>,
    held: VecDeque<(usize, Input)>,
    /// Nodes whose clocks are ahead, and by how much.
    pub ahead_us: BTreeMap<usize, u64>,
}

impl World {
    pub fn new(nodes: Vec<Node>) -> World {
        World {
            nodes,
            ends: BTreeMap::new(),
            replies: Vec::new(),
            messages: Vec::new(),
            globals: Vec::new(),
            sessions: Vec::new(),
            opened: BTreeMap::new(),
            closed: Vec::new(),
            dialled: Vec::new(),
            lives: 0,
            now: Now::default(),
            asleep: BTreeSet::new(),
            held: VecDeque::new(),
            ahead_us: BTreeMap::new(),
        }
    }

    /// What a node takes for the time.
    pub fn time(&self, index: usize) -> Now {
        let ahead_us = self.ahead_us.get(&index).copied().unwrap_or_default();
        Now { wall: self.now.wall + ahead_us, ..self.now }
    }

    /// A node begins a new life, as a page does when it is reloaded: its channels are dead, and nobody is told.
    pub fn reload(&mut self, index: usize, fresh: Node) {
        self.nodes[index] = fresh;
        self.lives += 1;
        self.ends.retain(|(from, _), (to, _)| *from != index && *to != index);
    }

    /// Something happens to a node.
    pub fn tell(&mut self, index: usize, input: Input) {
        if self.asleep.contains(&index) {
            self.held.push_back((index, input));
            return;
        }
        let now = self.time(index);
        self.nodes[index].handle_input(now, input);
        self.settle();
    }

    /// A node is told that its channel to another one is down.
    pub fn lose(&mut self, a: usize, b: usize) {
        let link = self.name(a, b);
        self.ends.remove(&(a, link));
        self.tell(a, Input::LinkDown { link });
    }

    /// The channel that one node has to another one in this life.
    pub fn name(&self, from: usize, to: usize) -> LinkId {
        LinkId((self.lives * 10_000 + from * 100 + to) as u64)
    }

    pub fn link(&mut self, a: usize, b: usize) {
        self.link_as(a, b, Origin::Accepted);
    }

    /// Links two nodes, the first by its own doing.
    pub fn link_as(&mut self, a: usize, b: usize, origin: Origin) {
        self.raise(a, b, origin);
        self.settle();
    }

    /// The data channel of a session opens, between two nodes' ends of it.
    pub fn raise_rtc(&mut self, one: (usize, SessionId), other: (usize, SessionId)) {
        let names = [LinkId(one.1.0 + 1_000_000), LinkId(other.1.0 + 2_000_000)];
        self.ends.insert((one.0, names[0]), (other.0, names[1]));
        self.ends.insert((other.0, names[1]), (one.0, names[0]));
        for ((index, session), link) in [one, other].into_iter().zip(names) {
            let now = self.time(index);
            self.nodes[index].handle_input(now, Input::LinkUp { link, origin: Origin::Rtc { session } });
        }
        self.settle();
    }

    /// Every channel between two nodes is down, and both are told.
    pub fn part(&mut self, a: usize, b: usize) {
        let between = |from: usize, to: usize| [(a, b), (b, a)].contains(&(from, to));
        let lost: Vec<_> =
            self.ends.iter().filter(|((from, _), (to, _))| between(*from, *to)).map(|(from, _)| *from).collect();
        for (index, link) in lost {
            self.ends.remove(&(index, link));
            self.tell(index, Input::LinkDown { link });
        }
    }

    /// Over what the link from one node to another goes.
    pub fn transport(&self, index: usize, to: usize) -> Option<&'static str> {
        let id = self.nodes[to].id();
        self.nodes[index].inspect(self.now).links.iter().find(|link| link.peer == id).map(|link| link.transport)
    }

    /// A transport between two nodes comes up: what they say over it is yet to travel.
    pub fn raise(&mut self, a: usize, b: usize, origin: Origin) {
        let names = [self.name(a, b), self.name(b, a)];
        self.ends.insert((a, names[0]), (b, names[1]));
        self.ends.insert((b, names[1]), (a, names[0]));
        let now = self.time(a);
        self.nodes[a].handle_input(now, Input::LinkUp { link: names[0], origin });
        let now = self.time(b);
        self.nodes[b].handle_input(now, Input::LinkUp { link: names[1], origin: Origin::Accepted });
    }

    pub fn settle(&mut self) {
        let mut todo: VecDeque<(usize, Input)> = VecDeque::new();
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "messages without end");
            for index in 0..self.nodes.len() {
                while let Some(output) = self.nodes[index].poll_output() {
                    match output {
                        Output::Send { link, bytes } => {
                            if let Some((to, link)) = self.ends.get(&(index, link)) {
                                todo.push_back((*to, Input::Chunk { link: *link, bytes }));
                            }
                        }
                        Output::Close { link } => {
                            if let Some(other) = self.ends.remove(&(index, link)) {
                                self.ends.remove(&other);
                                todo.push_back((other.0, Input::LinkDown { link: other.1 }));
                            }
                        }
                        Output::Persist { token, .. } => todo.push_back((index, Input::Persisted { token })),
                        Output::Reply { call, result } => self.replies.push((index, call, result)),
                        Output::Message { from, payload, .. } => self.messages.push((index, from, payload)),
                        Output::Global { name, value } => self.globals.push((index, name, value)),
                        Output::RtcOpen { session, peer, .. } => {
                            self.sessions.push((index, peer));
                            self.opened.insert(index, session);
                        }
                        Output::RtcClose { session } => self.closed.push((index, session)),
                        Output::Dial { address } => self.dialled.push((index, address)),
                        _ => {}
                    }
                }
            }
            let Some((to, input)) = todo.pop_front() else { break };
            if self.asleep.contains(&to) {
                self.held.push_back((to, input));
                continue;
            }
            let now = self.time(to);
            self.nodes[to].handle_input(now, input);
        }
    }

    /// Lets time pass in small steps.
    pub fn run(&mut self, us: u64) {
        for _ in 0..us / 100_000 {
            self.now.mono += 100_000;
            self.now.wall += 100_000;
            for index in (0..self.nodes.len()).filter(|index| !self.asleep.contains(index)) {
                let now = self.time(index);
                self.nodes[index].handle_input(now, Input::Wake);
            }
            self.settle();
        }
    }

    /// Wakes a frozen node: first it learns what happened meanwhile, then how late it is.
    pub fn wake(&mut self, index: usize) {
        self.asleep.remove(&index);
        for (to, input) in std::mem::take(&mut self.held) {
            self.tell(to, input);
        }
        self.tell(index, Input::Wake);
    }

    /// How two nodes are linked, as the first sees it.
    pub fn kind(&self, index: usize, to: usize) -> Option<&'static str> {
        let id = self.nodes[to].id();
        self.nodes[index].inspect(self.now).links.iter().find(|link| link.peer == id).map(|link| link.kind)
    }

    pub fn peers(&self, index: usize) -> Vec<Id> {
        self.nodes[index].inspect(self.now).links.iter().map(|link| link.peer).collect()
    }

    pub fn counter(&self, index: usize, name: &str) -> u64 {
        self.nodes[index].inspect(self.now).counters.get(name).copied().unwrap_or(0)
    }

    pub fn call(&mut self, index: usize, command: Command) -> CallId {
        let call = CallId(self.now.mono + index as u64);
        self.tell(index, Input::Command { call, command });
        call
    }
}
