//! Who was away and comes back: reloaded, frozen, cut off.

use pontoon_core::{
    crypto::{Ed25519, Identity},
    node::{Command, Input, LinkId, Node, Reply},
    overlay::{Hello, LinkFrame, Want},
    wire::{self, Frame, PLAN_VERSION, WIRE_VERSION},
};

use crate::world::{World, config, node, reborn, supernode};

/// A supernode and two peers, who are linked over it and, beside that, by a channel of their own.
fn linked_twice() -> World {
    let mut world = World::new(vec![supernode(1), node(2, config("a")), node(3, config("a"))]);
    world.link(0, 1);
    world.link(0, 2);
    world.run(3_000_000);
    assert_eq!(world.kind(1, 2), Some("relayed"));
    world.link(1, 2);
    world.run(3_000_000);
    assert_eq!((world.kind(1, 2), world.kind(2, 1)), (Some("direct"), Some("direct")));
    world
}

#[test]
fn who_comes_back_joins_though_its_neighbour_takes_a_dead_link_for_its_own() {
    // The neighbour is nearer to the place that is looked for than the supernode, and so answers.
    let neighbours = (3..60).map(|seed| node(seed, config("a")));
    let (home, page) = (supernode(1), node(2, config("a")));
    let near = |other: &Node| other.id().distance(&page.id());
    let neighbour = neighbours.min_by_key(|other| near(other)).unwrap();
    assert!(near(&neighbour) < near(&home));
    let mut world = World::new(vec![home, page, neighbour]);
    for (a, b) in [(0, 2), (0, 1), (1, 2)] {
        world.link(a, b);
    }
    world.run(2_000_000);
    // The supernode's socket ends with the page.
    world.lose(0, 1);
    let fresh = reborn(2, config("a"));
    world.reload(1, fresh);
    world.link(0, 1);
    world.run(500_000);
    assert!(world.nodes[1].joined(), "it need not wait until its neighbour misses it");
}

#[test]
fn a_peer_that_comes_back_over_a_relay_is_not_sought_on_its_dead_channel() {
    for back in [1, 2] {
        let mut world = linked_twice();
        let stays = 3 - back;
        let fresh = reborn(back as u8 + 1, config("a"));
        world.reload(back, fresh);
        world.sessions.clear();
        world.link(0, back);

        world.run(1_000_000);
        assert_eq!((world.kind(stays, back), world.kind(back, stays)), (Some("relayed"), Some("relayed")));
        let (one, other) = (world.nodes[1].id(), world.nodes[2].id());
        let opened = world.sessions.iter().any(|pair| [(1, other), (2, one)].contains(pair));
        assert!(opened, "the way to a direct link is open again");

        let to = world.nodes[back].id();
        let call = world.call(stays, Command::SendNode { to, payload: b"welcome back".to_vec() });
        assert!(world.replies.contains(&(stays, call, Ok(Reply::Delivered(to)))));
    }
}

#[test]
fn a_relay_that_feigns_a_return_does_not_cut_a_direct_channel() {
    let mut world = linked_twice();
    let victim = Ed25519::from_seed(&[3; 32]);
    let hello = Frame::Link(LinkFrame::Hello(Hello {
        wire: WIRE_VERSION,
        plan: PLAN_VERSION,
        network: "a".to_owned(),
        public_key: victim.public_key(),
        nonce: [3; 16],
        supernode: false,
        direct_links: true,
        established: false,
        want: Want::Sibling,
        wall_us: 0,
    }));
    let signature = Ed25519::from_seed(&[9; 32]).sign(b"anything");
    let proof = Frame::Link(LinkFrame::Proof { signature, direct: false });
    let (from, to) = (victim.id(), world.nodes[1].id());
    for frame in [hello, proof] {
        // What the supernode, turned hostile, hands to the first peer in the other's name.
        let frame = Frame::Link(LinkFrame::Relay { from, to, frame: wire::encode(&frame) });
        for bytes in wire::cut(&wire::encode(&frame), 16 * 1_024) {
            world.nodes[1].handle_input(world.now, Input::Chunk { link: LinkId(100), bytes });
        }
    }
    world.settle();
    world.run(3_000_000);
    assert_eq!((world.kind(1, 2), world.kind(2, 1)), (Some("direct"), Some("direct")));
    assert_eq!(world.counter(1, "links_begun_anew"), 0);
    assert!(world.counter(1, "identities_refused") > 0, "the false proof was heard");
}

#[test]
fn a_hello_that_was_lost_is_said_again_when_the_other_side_begins() {
    let mut world = World::new(vec![supernode(1), node(2, config("a")), node(3, config("a"))]);
    world.link(0, 2);
    // What the relay hands on to the second is lost: it does not know of the first, whose hello goes nowhere.
    let towards = (0, LinkId(2));
    let end = world.ends.remove(&towards).unwrap();
    world.link(0, 1);
    world.run(3_000_000);
    assert_eq!(world.kind(1, 2), None);
    world.ends.insert(towards, end);
    world.run(2_000_000);
    assert_eq!((world.kind(1, 2), world.kind(2, 1)), (Some("relayed"), Some("relayed")));
}

#[test]
fn an_answer_to_a_session_that_is_over_ends_it_at_the_other_side_too() {
    let mut world = World::new(vec![supernode(1), node(2, config("a")), node(3, config("a"))]);
    world.link(0, 1);
    world.link(0, 2);
    world.run(1_000_000);
    let (caller, called) = if world.opened.contains_key(&1) { (1, 2) } else { (2, 1) };
    let offered = world.opened[&caller];
    world.tell(caller, Input::RtcSignal { session: offered, payload: b"an offer".to_vec() });
    let answering = world.opened[&called];
    world.tell(caller, Input::RtcFailed { session: offered, reason: "it was too long".to_owned() });
    world.tell(called, Input::RtcSignal { session: answering, payload: b"an answer".to_vec() });
    assert!(world.closed.contains(&(called, answering)), "nobody waits for it");
}

#[test]
fn no_session_is_begun_that_nobody_can_hear_of() {
    let mut world = linked_twice();
    for (a, b) in [(1, 2), (2, 1), (1, 0), (0, 1)] {
        world.lose(a, b);
    }
    world.sessions.clear();
    world.run(700_000);
    let other = world.nodes[2].id();
    assert!(!world.sessions.contains(&(1, other)), "it has no link at all");
    world.link(0, 1);
    world.run(300_000);
    assert_eq!((world.kind(1, 2), world.kind(2, 1)), (Some("relayed"), Some("relayed")));
}

/// A page is frozen; meanwhile another one dies, and is back when it thaws. Whom it takes for alive is the dead one only.
#[test]
fn who_thaws_does_not_wait_for_a_relay_that_died_meanwhile() {
    for seeds in [[2, 3, 4], [4, 3, 2], [3, 4, 2], [2, 4, 3], [12, 13, 14], [14, 13, 12]] {
        let pages = seeds.map(|seed| node(seed, config("a")));
        let mut world = World::new([supernode(1)].into_iter().chain(pages).collect());
        (1..4).for_each(|page| world.link(0, page));
        world.run(3_000_000);
        for (a, b) in [(1, 2), (1, 3), (2, 3)] {
            world.link(a, b);
        }
        world.run(3_000_000);

        world.asleep.insert(1);
        world.run(40_000_000);
        assert_eq!(world.kind(2, 1), None, "it is missed");
        let fresh = reborn(seeds[2], config("a"));
        world.reload(3, fresh);
        world.link(0, 3);
        world.run(1_000_000);
        world.wake(1);
        world.run(800_000);
        world.link(0, 1);
        world.run(1_500_000);
        assert!(world.kind(1, 2).is_some() && world.kind(2, 1).is_some(), "{seeds:?}");
    }
}
