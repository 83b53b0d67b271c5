//! Links between nodes, fed and drained by hand: who is let in, who is not, and what a link's peer may not do.

mod returns;
mod supernodes;
mod versions;
mod world;

use std::collections::BTreeMap;

use pontoon_core::{
    Config, Id, Now,
    crypto::{Ed25519, Identity},
    error::Error,
    node::{CallId, Command, Input, LinkId, Node, Origin, Output, Reply},
    overlay::{Hello, LinkFrame, Refusal, Want},
    store::{Action, Expect, KeyOp, Outcome},
    wire::{self, Chunks, Frame, PLAN_VERSION, WIRE_VERSION},
};
use world::{World, config, node, reborn, supernode};

#[test]
fn two_nodes_of_a_network_prove_themselves_and_are_linked() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("a"))]);
    world.link(0, 1);
    assert_eq!(world.peers(0), [world.nodes[1].id()]);
    assert_eq!(world.peers(1), [world.nodes[0].id()]);
    world.run(1_000_000);
    assert!(world.nodes[0].inspect(world.now).joined);
}

#[test]
fn another_network_is_refused() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("b"))]);
    world.link(0, 1);
    assert!(world.peers(0).is_empty() && world.peers(1).is_empty());
    assert!(world.ends.is_empty(), "the transport is closed");
}

/// A peer made of bare frames, to say what no node says.
struct Stranger {
    node: Node,
    chunks: Chunks,
}

const LINK: LinkId = LinkId(7);

impl Stranger {
    fn meet(config: Config) -> Stranger {
        let mut stranger = Stranger { node: node(1, config), chunks: Chunks::default() };
        stranger.node.handle_input(Now::default(), Input::LinkUp { link: LINK, origin: Origin::Accepted });
        stranger
    }

    fn say(&mut self, frame: &Frame) {
        for bytes in wire::cut(&wire::encode(frame), 16 * 1_024) {
            self.node.handle_input(Now::default(), Input::Chunk { link: LINK, bytes });
        }
    }

    /// What the node says, and whether it closes the link.
    fn hear(&mut self) -> (Vec<Frame>, bool) {
        let (mut frames, mut closed) = (Vec::new(), false);
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { link: LINK, bytes } => {
                    frames.extend(self.chunks.push(&bytes, 1 << 21).flatten().flat_map(|frame| wire::decode(&frame)));
                }
                Output::Close { link: LINK } => closed = true,
                _ => {}
            }
        }
        (frames, closed)
    }
}

fn hello(key: &Ed25519, wire: u8, plan: u16) -> Frame {
    Frame::Link(LinkFrame::Hello(Hello {
        wire,
        plan,
        network: "pontoon".to_owned(),
        public_key: key.public_key(),
        nonce: [3; 16],
        supernode: false,
        direct_links: false,
        established: false,
        want: Want::Sibling,
        wall_us: 0,
    }))
}

#[test]
fn somebody_elses_key_is_refused() {
    let mut stranger = Stranger::meet(Config::default());
    let (victim, thief) = (Ed25519::from_seed(&[8; 32]), Ed25519::from_seed(&[9; 32]));
    stranger.say(&hello(&victim, WIRE_VERSION, PLAN_VERSION));
    stranger.say(&Frame::Link(LinkFrame::Proof { signature: thief.sign(b"anything"), direct: false }));
    let (frames, closed) = stranger.hear();
    assert!(frames.contains(&Frame::Link(LinkFrame::Refuse(Refusal::Identity))) && closed);
    assert!(stranger.node.inspect(Now::default()).links.is_empty());
}

#[test]
fn another_plan_version_is_no_reason_to_refuse() {
    let mut stranger = Stranger::meet(Config::default());
    stranger.say(&hello(&Ed25519::from_seed(&[8; 32]), WIRE_VERSION, PLAN_VERSION + 1));
    let (frames, closed) = stranger.hear();
    assert!(!frames.iter().any(|frame| matches!(frame, Frame::Link(LinkFrame::Refuse(_)))) && !closed);
}

#[test]
fn nothing_is_heard_before_the_proof() {
    let mut stranger = Stranger::meet(Config::default());
    stranger.say(&Frame::Link(LinkFrame::HopAck { serial: 1 }));
    let (frames, closed) = stranger.hear();
    assert!(frames.contains(&Frame::Link(LinkFrame::Refuse(Refusal::Identity))) && closed);
}

#[test]
fn bytes_that_are_no_frame_close_the_link_and_nothing_else() {
    let mut stranger = Stranger::meet(Config::default());
    stranger
        .node
        .handle_input(Now::default(), Input::Chunk { link: LINK, bytes: vec![0, 0, 3, WIRE_VERSION, 0xff, 0xff] });
    let (_, closed) = stranger.hear();
    assert!(closed);
    assert_eq!(stranger.node.inspect(Now::default()).counters["frames_malformed"], 1);
}

#[test]
fn peers_of_one_supernode_are_linked_over_it_and_talk() {
    let peer = || Config { direct_links: false, ..config("a") };
    let mut world = World::new(vec![supernode(1), node(2, peer()), node(3, peer())]);
    world.link(0, 1);
    world.link(0, 2);
    world.run(3_000_000);
    let links = world.nodes[1].inspect(world.now).links;
    let relayed = links.iter().find(|link| link.peer == world.nodes[2].id()).unwrap();
    assert_eq!((relayed.kind, relayed.via), ("relayed", Some(world.nodes[0].id())));

    let to = world.nodes[2].id();
    let call = world.call(1, Command::SendNode { to, payload: b"ahoy".to_vec() });
    assert!(world.replies.contains(&(1, call, Ok(Reply::Delivered(to)))));
    assert_eq!(world.messages, [(2, world.nodes[1].id(), b"ahoy".to_vec())]);
}

#[test]
fn a_message_to_nobody_is_rejected_in_the_end() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("a"))]);
    world.link(0, 1);
    let nobody = Id::hash(b"nobody");
    let call = world.call(0, Command::SendNode { to: nobody, payload: b"ahoy".to_vec() });
    world.run(35_000_000);
    assert!(world.replies.contains(&(0, call, Err(Error::NodeUnreachable(nobody)))));
}

#[test]
fn a_peer_out_of_reach_is_not_flooded_and_hears_all_when_it_is_back() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("a"))]);
    world.link(0, 1);
    world.run(1_000_000);
    let fresh = reborn(2, config("a"));
    world.reload(1, fresh);
    let (to, most) = (world.nodes[1].id(), Config::default().messages_waiting_max as u64);
    for number in 0..most + 10 {
        let command = Command::SendNode { to, payload: number.to_be_bytes().to_vec() };
        world.nodes[0].handle_input(world.now, Input::Command { call: CallId(number), command });
    }
    world.settle();
    let refused = |world: &World| {
        world
            .replies
            .iter()
            .filter(|(.., result)| matches!(result, Err(Error::Overloaded { limit: "messages_waiting_max", .. })))
            .count()
    };
    assert_eq!(refused(&world), 10, "there is a bound, and who meets it is told");
    world.run(20_000_000);
    let attempts = world.counter(0, "messages_sent");
    let in_flight = Config::default().messages_in_flight_first as u64;
    assert!((in_flight..=6 * in_flight).contains(&attempts), "{attempts} attempts in 20 s");
    world.link(0, 1);
    let numbers: Vec<Vec<u8>> = (0..most).map(|number| number.to_be_bytes().to_vec()).collect();
    let heard: Vec<Vec<u8>> = world.messages.iter().map(|(.., payload)| payload.clone()).collect();
    assert_eq!(heard, numbers, "each once, in order, as soon as there is a link");
}

#[test]
fn what_becomes_too_late_in_the_queue_is_never_sent() {
    let mut world = World::new(vec![node(1, config("a"))]);
    let to = Id::hash(b"nobody");
    for number in 0..100 {
        let command = Command::SendNode { to, payload: vec![0] };
        world.nodes[0].handle_input(world.now, Input::Command { call: CallId(number), command });
    }
    world.run(29_000_000);
    let sent = world.counter(0, "messages_sent");
    world.run(5_000_000);
    let late = |(_, _, result): &&(usize, CallId, _)| *result == Err(Error::NodeUnreachable(to));
    assert_eq!((world.counter(0, "messages_sent"), world.replies.iter().filter(late).count()), (sent, 100));
}

#[test]
fn a_newcomer_gets_the_globals_and_later_changes() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("a"))]);
    let set = |value: &[u8]| Command::SetGlobal { name: "theme".to_owned(), value: Some(value.to_vec()) };
    world.call(0, set(b"dark"));
    world.link(0, 1);
    assert_eq!(world.nodes[1].global("theme"), Some(&b"dark"[..]));
    world.run(100_000);
    world.call(1, set(b"light"));
    assert_eq!(world.nodes[0].global("theme"), Some(&b"light"[..]));
    let changes: Vec<usize> = world.globals.iter().map(|(index, ..)| *index).collect();
    assert_eq!(changes, [0, 1, 1, 0], "each peer is told of each change once");
}

#[test]
fn who_knows_few_peers_dials_the_address_of_a_peer_again() {
    let address = "peer".to_owned();
    let with_address = Config { supernodes: vec![address.clone()], ..config("a") };
    let others = |count: u8| (2..2 + count).map(|seed| node(seed, config("a")));
    for (count, again) in [(1, 2), (9, 0)] {
        let mut world = World::new(std::iter::once(node(1, with_address.clone())).chain(others(count)).collect());
        world.link_as(0, 1, Origin::Dialled { address: address.clone() });
        (2..=usize::from(count)).for_each(|other| world.link(0, other));
        world.run(50_000_000);
        assert_eq!(world.dialled.len(), again, "with {count} peers");
    }
}

#[test]
fn a_silent_peer_is_suspected_then_gone() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("a"))]);
    world.link(0, 1);
    world.run(2_000_000);
    world.ends.clear(); // nothing arrives any more, and nobody says so
    world.run(5_000_000);
    assert_eq!(world.counter(0, "peers_suspected"), 1);
    world.run(6_000_000);
    assert!(world.peers(0).is_empty());
    assert_eq!(world.counter(0, "peers_down"), 1);
}

#[test]
fn a_peer_that_leaves_says_goodbye_and_is_closed() {
    let mut world = World::new(vec![node(1, config("a")), node(2, config("a"))]);
    world.link(0, 1);
    let call = world.call(0, Command::Leave);
    world.run(5_000_000);
    assert!(world.replies.contains(&(0, call, Ok(Reply::Done))));
    assert!(world.peers(1).is_empty());
    let call = world.call(0, Command::SendAll { payload: Vec::new() });
    assert!(world.replies.contains(&(0, call, Err(Error::Closed))));
}

#[test]
fn a_relay_does_not_carry_frames_in_another_name() {
    let mut world = World::new(vec![
        node(1, Config { supernode: true, ..config("a") }),
        node(2, config("a")),
        node(3, config("a")),
    ]);
    world.link(0, 1);
    world.link(0, 2);
    let forged =
        Frame::Link(LinkFrame::Relay { from: Id::hash(b"mallory"), to: world.nodes[2].id(), frame: vec![1, 2] });
    for bytes in wire::cut(&wire::encode(&forged), 16 * 1_024) {
        world.nodes[0].handle_input(world.now, Input::Chunk { link: LinkId(1), bytes });
    }
    world.settle();
    assert_eq!(world.counter(0, "relays_forged"), 1);
    assert_eq!(world.counter(2, "frames_malformed"), 0, "nothing reached the third");
}

#[test]
fn a_clock_that_is_far_off_is_set_by_the_first_link() {
    let mut world = World::new(vec![supernode(1), node(2, config("a")), node(3, config("a")), node(4, config("a"))]);
    world.now.wall = 1_700_000_000_000_000;
    let minute_us = 60_000_000;
    world.ahead_us = BTreeMap::from([(1, 24 * 60 * minute_us), (2, 4 * minute_us)]);
    for index in 1..4 {
        world.link(0, index);
    }
    world.link(3, 1);
    let set: Vec<u64> = (0..4).map(|index| world.counter(index, "clock_set")).collect();
    assert_eq!(set, [0, 1, 0, 0], "neither what is near is set, nor who has links, nor a supernode");
    world.run(3_000_000);
    let put = |key: &str, value: &[u8]| {
        let action = Action::Put { value: value.to_vec(), expect: Expect::Any, ttl_us: None };
        let (namespace, key) = ("clocks".to_owned(), key.as_bytes().to_vec());
        Command::Keys { ops: vec![KeyOp { namespace, locality_bits: 0, key, action, proof: None }], deadline_us: None }
    };
    let calls: Vec<CallId> = (0..20).map(|key| world.call(1, put(&key.to_string(), b"from ahead"))).collect();
    world.run(3_000_000);
    for call in calls {
        let reply = world.replies.iter().find(|(_, other, _)| *other == call);
        assert!(
            matches!(reply, Some((1, _, Ok(Reply::Keys(outcomes, _)))) if matches!(outcomes[0], Outcome::Stored { .. })),
            "{reply:?}"
        );
    }
}

#[test]
fn who_has_no_room_says_so_once_for_each_attempt() {
    let full = Config { links_max: 1, links_opened_max: 1, siblings: 0, ..config("a") };
    let mut world = World::new(vec![supernode(1), node(2, config("a")), node(3, full)]);
    world.link(0, 1);
    world.link(0, 2);
    world.run(20_000_000);
    assert_eq!(world.kind(1, 2), None);
    let refused = world.counter(2, "links_refused");
    assert!((1..=12).contains(&refused), "{refused} times in 20 s");
}

#[test]
fn many_at_once_find_no_more_room_than_there_is() {
    let tight = Config { links_max: 1, links_opened_max: 1, siblings: 1, ..config("a") };
    let mut world = World::new(vec![
        node(1, tight),
        node(2, config("a")),
        node(3, config("a")),
        node(4, config("a")),
        node(5, config("a")),
    ]);
    (1..5).for_each(|other| world.raise(0, other, Origin::Accepted));
    world.run(1_000_000);
    let linked = (1..5).filter(|other| world.kind(0, *other).is_some()).count();
    assert_eq!(linked, 2, "one link and one for a sibling");
    assert!(world.counter(0, "links_refused") >= 2);
}
