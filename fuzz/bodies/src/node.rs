//! A live node, and what a peer says to it that has proven who it is.

use pontoon_core::{
    Config, Now,
    crypto::KeyedHash,
    node::{CallId, Command, Input, LinkId, Node, Origin, Output},
    store::{Action, Expect, KeyOp},
    wire::WIRE_VERSION,
};

use crate::pieces::pieces;

const SECOND_US: u64 = 1_000_000;
/// What comes after what was said: leases, probes and retries of some seconds.
const AFTER_US: u64 = 5 * SECOND_US;
/// The link of the peer that has proven itself, and one of somebody who has not.
const PROVEN: LinkId = LinkId(1);
const UNPROVEN: LinkId = LinkId(2);

/// What one input may make a node do: thousands of times what is said to it.
const OUTPUTS_MAX: usize = 20_000;
const SENT_BYTES_MAX: usize = 64 << 20;

/// Kind of a part: a frame without its version. Of others than these the length in milliseconds passes.
pub const FRAME: u8 = 0;
/// A chunk.
pub const CHUNK: u8 = 1;
/// A chunk of who has not proven itself.
const STRANGER: u8 = 2;

pub(crate) fn node(input: &[u8]) {
    let mut world = World::new();
    for (kind, bytes) in pieces(input) {
        match kind {
            FRAME => {
                let length = (bytes.len() as u16).saturating_add(1).to_be_bytes();
                let chunk = [&[0, length[0], length[1], WIRE_VERSION], bytes].concat();
                world.hear(PROVEN, chunk);
            }
            CHUNK => world.hear(PROVEN, bytes.to_vec()),
            STRANGER => world.hear(UNPROVEN, bytes.to_vec()),
            _ => world.pass(bytes.len() as u64 * 1_000),
        }
    }
    world.pass(AFTER_US);
    let inspect = world.node.inspect(world.now);
    assert!(inspect.links.len() <= 2 && inspect.peers.len() <= 400, "{} peers", inspect.peers.len());
    assert!(inspect.store.bytes <= 1 << 20, "{} bytes", inspect.store.bytes);
}

struct World {
    node: Node,
    now: Now,
    wake_us: u64,
    outputs: usize,
    sent: usize,
}

impl World {
    /// A node that founded a network and holds a record, and has a link to a peer.
    fn new() -> World {
        let now = Now { mono: SECOND_US, wall: 1_700_000_000 * SECOND_US };
        let make = |name: u8, founder: bool| {
            let config = Config { network: "f".to_owned(), founder, alone: founder, ..Config::default() };
            Node::new(config, Box::new(KeyedHash([name; 32])), [name; 32], now, Vec::new())
        };
        let mut world = World { node: make(1, true), now, wake_us: 0, outputs: 0, sent: 0 };
        world.tell(Input::Wake);
        let action = Action::Put { value: b"value".to_vec(), expect: Expect::Any, ttl_us: None };
        let op = KeyOp { namespace: "n".to_owned(), locality_bits: 0, key: b"k".to_vec(), action, proof: None };
        world.tell(Input::Command { call: CallId(1), command: Command::Keys { ops: vec![op], deadline_us: None } });
        world.meet(make(2, false));
        world.tell(Input::LinkUp { link: UNPROVEN, origin: Origin::Accepted });
        world
    }

    /// The handshake with a peer, which is not heard of any more afterwards.
    fn meet(&mut self, mut peer: Node) {
        let up = |link| Input::LinkUp { link, origin: Origin::Accepted };
        let mut said = self.tell(up(PROVEN));
        peer.handle_input(self.now, Input::Wake);
        peer.handle_input(self.now, up(PROVEN));
        for _ in 0..2 {
            let mut answers = Vec::new();
            for bytes in std::mem::take(&mut said) {
                peer.handle_input(self.now, Input::Chunk { link: PROVEN, bytes });
            }
            while let Some(output) = peer.poll_output() {
                if let Output::Send { bytes, .. } = output {
                    answers.push(bytes);
                }
            }
            for bytes in answers {
                said.extend(self.tell(Input::Chunk { link: PROVEN, bytes }));
            }
        }
        assert_eq!(self.node.inspect(self.now).links.len(), 1);
    }

    fn hear(&mut self, link: LinkId, bytes: Vec<u8>) {
        self.tell(Input::Chunk { link, bytes });
    }

    /// Tells the node, answers what it asks of its driver; gives what it sends to its peer.
    fn tell(&mut self, input: Input) -> Vec<Vec<u8>> {
        let (mut inputs, mut sent) = (vec![input], Vec::new());
        while let Some(input) = inputs.pop() {
            self.node.handle_input(self.now, input);
            while let Some(output) = self.node.poll_output() {
                self.outputs += 1;
                assert!(self.outputs < OUTPUTS_MAX, "outputs without end");
                match output {
                    Output::Send { link, bytes } => {
                        self.sent += bytes.len();
                        assert!(self.sent < SENT_BYTES_MAX, "frames without end");
                        if link == PROVEN {
                            sent.push(bytes);
                        }
                    }
                    Output::Persist { token, .. } => inputs.push(Input::Persisted { token }),
                    Output::RtcOpen { session, .. } => {
                        inputs.push(Input::RtcFailed { session, reason: "none here".to_owned() });
                    }
                    Output::Dial { address } => inputs.push(Input::DialFailed { address }),
                    Output::Wake(at) => self.wake_us = at,
                    _ => {}
                }
            }
        }
        sent
    }

    fn pass(&mut self, us: u64) {
        let end = self.now.mono + us;
        while self.wake_us <= end {
            let step = self.wake_us.saturating_sub(self.now.mono).max(1_000);
            self.now = Now { mono: self.now.mono + step, wall: self.now.wall + step };
            self.tell(Input::Wake);
        }
    }
}
