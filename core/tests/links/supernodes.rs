//! Supernodes: which addresses are dialled, and how a page leaves the socket that it dialled.

use pontoon_core::{
    Config,
    node::{Command, Input, LinkId, Node, Origin, Reply},
};

use crate::world::{World, config, node, supernode};

const FIRST: &str = "ws://first/pontoon";
const SECOND: &str = "ws://second/pontoon";

fn page() -> Config {
    Config { supernodes: vec![FIRST.to_owned()], ..config("a") }
}

fn dialled(world: &World, address: &str) -> usize {
    world.dialled.iter().filter(|(_, dialled)| dialled == address).count()
}

fn reach(world: &mut World, address: &str, supernode: usize) {
    world.link_as(1, supernode, Origin::Dialled { address: address.to_owned() });
}

fn learn(world: &mut World, addresses: &[&str]) {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    world.tell(1, Input::Supernodes { addresses });
}

#[test]
fn what_was_learnt_is_dialled_when_no_supernode_is_left() {
    let mut world = World::new(vec![supernode(1), node(2, page()), supernode(3)]);
    reach(&mut world, FIRST, 0);
    learn(&mut world, &[FIRST, SECOND]);
    world.run(3_000_000);
    assert_eq!(dialled(&world, SECOND), 0, "one supernode is enough");
    world.lose(1, 0);
    world.run(1_000_000);
    assert_eq!(dialled(&world, SECOND), 1);
    reach(&mut world, SECOND, 2);
    world.run(1_000_000);
    assert_eq!(world.kind(1, 2), Some("direct"));
    // The first one is tried on, for it is the one that this peer was given.
    let before = dialled(&world, FIRST);
    world.tell(1, Input::DialFailed { address: FIRST.to_owned() });
    world.run(20_000_000);
    assert!(dialled(&world, FIRST) > before);
}

#[test]
fn addresses_that_were_learnt_are_bounded_and_forgotten() {
    let mut world = World::new(vec![supernode(1), node(2, page())]);
    let many: Vec<String> = (0..100).map(|number| format!("ws://{number}/pontoon")).collect();
    world.tell(1, Input::Supernodes { addresses: many });
    world.run(1_000_000);
    let most = Config::default().supernodes_learnt_max;
    assert_eq!(world.dialled.iter().filter(|(_, address)| address != FIRST).count(), most);
    learn(&mut world, &[SECOND]);
    world.dialled.clear();
    for number in 0..most {
        world.tell(1, Input::DialFailed { address: format!("ws://{number}/pontoon") });
    }
    world.run(30_000_000);
    assert!(world.dialled.iter().all(|(_, address)| [FIRST, SECOND].contains(&address.as_str())));
}

fn with_webrtc(seed: u8) -> Node {
    node(seed, Config { supernode: true, founder: true, ..config("a") })
}

#[test]
fn a_page_leaves_its_socket_for_webrtc_where_it_is_told_to() {
    for leave_sockets in [false, true] {
        let mut world = World::new(vec![with_webrtc(1), node(2, Config { leave_sockets, ..page() })]);
        reach(&mut world, FIRST, 0);
        world.run(3_000_000);
        let home = world.nodes[0].id();
        assert_eq!(world.sessions.contains(&(1, home)), leave_sockets);
        if !leave_sockets {
            continue;
        }
        assert!(!world.sessions.iter().any(|(from, _)| *from == 0), "only who dialled begins");
        // The session opens: its channel takes the place of the socket, which is closed and not dialled again.
        let session = world.opened[&1];
        world.tell(1, Input::RtcSignal { session, payload: b"an offer".to_vec() });
        let answering = world.opened[&0];
        world.dialled.clear();
        world.raise_rtc((1, session), (0, answering));
        world.run(5_000_000);
        assert_eq!(world.transport(1, 0), Some("webrtc"));
        assert_eq!(world.transport(0, 1), Some("webrtc"));
        assert_eq!(dialled(&world, FIRST), 0);
        let to = world.nodes[1].id();
        let call = world.call(0, Command::SendNode { to, payload: b"ahoy".to_vec() });
        assert!(world.replies.contains(&(0, call, Ok(Reply::Delivered(to)))));
        // When that is lost the address is dialled again.
        world.part(1, 0);
        world.run(2_000_000);
        assert!(dialled(&world, FIRST) > 0);
        // It did not hold for long: the next socket is kept for a while.
        world.sessions.clear();
        reach(&mut world, FIRST, 0);
        world.run(10_000_000);
        assert!(!world.sessions.contains(&(1, home)));
        world.run(10_000_000);
        assert!(world.sessions.contains(&(1, home)));
    }
}

#[test]
fn a_hello_that_a_data_channel_lost_is_said_again() {
    let mut world = World::new(vec![with_webrtc(1), node(2, Config { leave_sockets: true, ..page() })]);
    reach(&mut world, FIRST, 0);
    world.run(3_000_000);
    let session = world.opened[&1];
    world.tell(1, Input::RtcSignal { session, payload: b"an offer".to_vec() });
    let answering = world.opened[&0];
    let (page, home) = (LinkId(1_000_000), LinkId(2_000_000));
    world.tell(1, Input::LinkUp { link: page, origin: Origin::Rtc { session } });
    // What the page said so far came too early for the other end.
    world.ends.insert((1, page), (0, home));
    world.ends.insert((0, home), (1, page));
    world.tell(0, Input::LinkUp { link: home, origin: Origin::Rtc { session: answering } });
    assert_eq!((world.transport(1, 0), world.transport(0, 1)), (Some("webrtc"), Some("webrtc")));
    for counter in ["identities_refused", "frames_malformed", "frames_before_proof"] {
        assert_eq!((world.counter(0, counter), world.counter(1, counter)), (0, 0), "{counter}");
    }
}
