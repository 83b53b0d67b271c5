//! Programs of two versions in one network: what both know is spoken.

use std::ops::RangeInclusive;

use pontoon_core::{
    Config, Now,
    crypto::Ed25519,
    node::{Command, Input, Node, Reply},
    overlay::{LinkFrame, Refusal},
    wire::{Frame, PLAN_VERSION, WIRE_OLDEST, WIRE_VERSION},
};

use crate::{
    LINK, Stranger, hello,
    world::{World, config, node, supernode},
};

const OLD: u8 = WIRE_VERSION;

fn speaks(seed: u8, wire: RangeInclusive<u8>) -> Node {
    node(seed, Config { wire, direct_links: false, ..config("a") })
}

fn talk(world: &mut World, from: usize, to: usize) -> bool {
    let to = world.nodes[to].id();
    let call = world.call(from, Command::SendNode { to, payload: b"ahoy".to_vec() });
    world.run(1_000_000);
    world.replies.contains(&(from, call, Ok(Reply::Delivered(to))))
}

#[test]
fn a_version_talks_to_the_one_before() {
    for newer in [0, 1] {
        let versions = |index: usize| if index == newer { OLD..=OLD + 1 } else { WIRE_OLDEST.max(OLD - 1)..=OLD };
        let mut world = World::new(vec![speaks(1, versions(0)), speaks(2, versions(1))]);
        world.link(0, 1);
        world.run(1_000_000);
        assert!(talk(&mut world, 0, 1) && talk(&mut world, 1, 0));
        assert_eq!((world.counter(0, "versions_differ"), world.counter(1, "versions_differ")), (0, 0));
    }
}

#[test]
fn over_a_relay_the_ends_speak_what_they_know_and_the_relay_what_it_knows() {
    // Both pages are newer than their supernode.
    let mut world = World::new(vec![supernode(1), speaks(2, OLD..=OLD + 1), speaks(3, OLD..=OLD + 1)]);
    world.link(0, 1);
    world.link(0, 2);
    world.run(3_000_000);
    assert_eq!(world.kind(1, 2), Some("relayed"));
    assert!(talk(&mut world, 1, 2));
}

#[test]
fn two_versions_apart_is_refused_with_its_reason() {
    let mut world = World::new(vec![speaks(1, OLD + 1..=OLD + 2), speaks(2, OLD..=OLD)]);
    world.link(0, 1);
    world.run(1_000_000);
    assert!(world.peers(0).is_empty() && world.peers(1).is_empty());
    assert!(world.counter(1, "versions_differ") > 0);
}

#[test]
fn who_says_that_it_is_too_old_is_refused_and_who_is_newer_is_not() {
    for (wire, refused) in [(WIRE_OLDEST - 1, true), (WIRE_VERSION, false), (WIRE_VERSION + 1, false)] {
        let mut stranger = Stranger::meet(Config::default());
        stranger.say(&hello(&Ed25519::from_seed(&[8; 32]), wire, PLAN_VERSION));
        let (frames, closed) = stranger.hear();
        let told = frames.contains(&Frame::Link(LinkFrame::Refuse(Refusal::Version)));
        assert_eq!((told, closed), (refused, refused), "version {wire}");
    }
}

#[test]
fn a_frame_of_a_version_that_nobody_agreed_on_is_told_from_junk() {
    let mut stranger = Stranger::meet(Config::default());
    let bytes = vec![0, 0, 3, WIRE_VERSION + 1, 0xff, 0xff];
    stranger.node.handle_input(Now::default(), Input::Chunk { link: LINK, bytes });
    let (frames, closed) = stranger.hear();
    assert!(closed && frames.contains(&Frame::Link(LinkFrame::Refuse(Refusal::Version))));
    let counters = stranger.node.inspect(Now::default()).counters;
    assert_eq!((counters["versions_differ"], counters.get("frames_malformed")), (1, None));
}

#[test]
fn what_came_with_a_version_is_not_sent_where_an_older_one_is_spoken() {
    for theirs in [WIRE_OLDEST, WIRE_VERSION] {
        let wire = theirs..=theirs;
        let home = node(1, Config { supernode: true, founder: true, direct_links: false, wire, ..config("a") });
        let archive = node(2, Config { archive: true, ..config("a") });
        let mut world = World::new(vec![home, archive]);
        world.link(0, 1);
        world.run(10_000_000);
        assert_eq!((world.kind(0, 1), world.kind(1, 0)), (Some("direct"), Some("direct")), "version {theirs}");
        assert_eq!(world.counter(1, "frames_too_new") > 0, theirs < WIRE_VERSION, "version {theirs}");
        assert_eq!((world.counter(0, "frames_malformed"), world.counter(0, "versions_differ")), (0, 0));
        assert!(talk(&mut world, 0, 1) && talk(&mut world, 1, 0));
    }
}
