//! Tasks among three peers, one of which runs plans of another version.

use std::collections::VecDeque;

use chacha20::rand_core::SeedableRng as _;

use super::*;
use crate::{
    Error,
    config::Config,
    ctx::{Now, Outbox, Post, Rng},
    exec::fragment::{Decode, Output},
    node,
    wire::{Body, PLAN_VERSION},
};

/// What a peer knows: its own region, and the one other peer that it is linked to.
struct Known {
    me: Id,
    own: Region,
    peer: Id,
    alive: bool,
}

impl Ground for Known {
    fn owned(&self) -> Vec<(Region, bool)> {
        vec![(self.own, false)]
    }
    fn table_region(&self) -> Region {
        self.own
    }
    fn peer_in(&self, region: &Region) -> Option<Id> {
        region.contains(&self.peer).then_some(self.peer)
    }
    fn owner_of(&self, _: &Region) -> Option<(Id, Region)> {
        None
    }
    fn nearest_to(&self, key: &Id) -> bool {
        self.own.contains(key)
    }
    fn known_empty(&self, _: &Id) -> bool {
        false
    }
    fn alive(&self, _: &Id) -> bool {
        self.alive
    }
}

struct Peer {
    known: Known,
    spread: Spread,
    out: Outbox,
    rng: Rng,
}

/// All rows of a table.
fn plan() -> Vec<u8> {
    let plan = FragmentPlan {
        version: PLAN_VERSION,
        namespace: "t".to_owned(),
        locality_bits: 0,
        decode: Decode::Row,
        columns: Vec::new(),
        identity: false,
        filter: None,
        project: None,
        output: Output::Rows,
        missing: Vec::new(),
    };
    plan.encode()
}

/// Bits of the region's value, from the first on; the others are free.
fn region(bits: &[bool]) -> Region {
    bits.iter().enumerate().fold(Region::ALL, |region, (index, bit)| region.fix(index as u32, *bit))
}

fn id(bits: &[bool]) -> Id {
    region(bits).nearest(&Id::ZERO)
}

/// The task over everything, begun by the owner of 0*; 10* is the region of the peer that it hands 1* to, and that is
/// handed `foreign` in place of the plan. Gives the report, and how much time passed.
fn ask(foreign: &[u8]) -> (Report, u64) {
    ask_beside(foreign, &[])
}

/// The same where some regions are covered already.
fn ask_beside(foreign: &[u8], except: &[Region]) -> (Report, u64) {
    let places: [&[bool]; 3] = [&[false], &[true, false], &[true, true]];
    let links = [1, 2, 1];
    let mut peers: Vec<Peer> = places
        .iter()
        .zip(links)
        .map(|(bits, link)| Peer {
            known: Known { me: id(bits), own: region(bits), peer: id(places[link]), alive: false },
            spread: Spread::default(),
            out: Outbox::default(),
            rng: Rng::from_seed([7; 32]),
        })
        .collect();
    let config = Config::default();
    let mut now = Now::default();
    let mut done = None;
    let mut call = |peer: &mut Peer, now: Now, f: &mut dyn FnMut(&mut Spread, &mut Ctx<'_>, &Known)| {
        let Peer { known, spread, out, rng } = peer;
        let mut ctx = Ctx { now, me: known.me, config: &config, rng, out };
        f(spread, &mut ctx, known);
        while let Some(event) = spread.poll_event() {
            match event {
                Event::Leaf { job, .. } => spread.leaf_done(&mut ctx, known, job, Report::default()),
                Event::Done { report, .. } => done = Some(*report),
            }
        }
    };
    let work = Work::Query { plan: plan() };
    call(&mut peers[0], now, &mut |spread, ctx, known| {
        spread.start(ctx, known, 1, Region::ALL, except, work.clone(), 20 * SECOND_US);
    });
    let mut messages: VecDeque<(Id, usize, Message)> = VecDeque::new();
    while now.mono < 30 * SECOND_US {
        for peer in &mut peers {
            for post in peer.out.posts.drain(..) {
                let (to, Body::Spread(message)) = (match post {
                    Post::Node { to, body, .. } => (to, body),
                    Post::Key { key, body } => (key, body),
                }) else {
                    panic!("not of this layer");
                };
                let to = places.iter().position(|bits| region(bits).contains(&to)).unwrap();
                messages.push_back((peer.known.me, to, message));
            }
        }
        if let Some((from, to, mut message)) = messages.pop_front() {
            if let (1, Message::Task { work: Work::Query { plan }, .. }) = (to, &mut message) {
                *plan = foreign.to_vec();
            }
            let from = Contact { id: from, relay: None, supernode: false, full: false };
            call(&mut peers[to], now, &mut |spread, ctx, known| spread.on_message(ctx, known, from, message.clone()));
            continue;
        }
        now.mono += 10_000;
        for peer in &mut peers {
            while let Some(timer) = peer.out.timers.pop_due(now.mono) {
                if let node::Timer::Spread(timer) = timer {
                    call(peer, now, &mut |spread, ctx, known| spread.on_timer(ctx, known, timer.clone()));
                }
            }
        }
        if peers[0].spread.jobs.is_empty() {
            break;
        }
    }
    (done.expect("the task ends"), now.mono)
}

#[test]
fn who_knows_the_plan_covers_all() {
    let (report, _) = ask(&plan());
    assert_eq!((report.covered, report.fault), (Region::ALL.size(), None));
}

#[test]
fn what_is_covered_already_is_asked_of_nobody_and_counts() {
    let peers = |except: &[Region]| {
        let (report, _) = ask_beside(&plan(), except);
        assert_eq!((report.covered, report.fault), (Region::ALL.size(), None));
        report.peers
    };
    assert_eq!(peers(&[]), 3);
    assert_eq!(peers(&[region(&[false])]), 2, "the asker's own part");
    assert_eq!(peers(&[region(&[false]), region(&[true])]), 0);
    let (report, _) = ask_beside(b"\xff\xff", &[region(&[false]), region(&[true, false])]);
    assert_eq!(report.covered, Region::ALL.size(), "who does not know the plan need not");
}

#[test]
fn who_does_not_know_the_plan_is_not_covered_and_hides_nobody_else() {
    let mut later = plan();
    assert_eq!(u16::from(later[0]), PLAN_VERSION, "a plan begins with its version");
    later[0] += 1;
    for foreign in [&later[..], b"\xff\xff"] {
        let (report, took_us) = ask(foreign);
        let rest = Coverage::of([&region(&[false]), &region(&[true, true])]);
        assert_eq!((report.covered, report.fault), (rest, None));
        assert_eq!((report.unknown, report.missing), (vec![region(&[true, false])], vec![]));
        assert!(took_us < SECOND_US, "it is not asked again until the deadline");
    }
}

/// A peer that is handed tasks by the peer of 1*, and what it says.
fn told(config: &Config, messages: Vec<Message>) -> (Spread, Vec<Message>) {
    let known = Known { me: id(&[false]), own: region(&[false]), peer: id(&[true]), alive: false };
    let (mut spread, mut out, mut rng) = (Spread::default(), Outbox::default(), Rng::from_seed([7; 32]));
    for message in messages {
        let from = Contact { id: id(&[true]), relay: None, supernode: false, full: false };
        let mut ctx = Ctx { now: Now::default(), me: known.me, config, rng: &mut rng, out: &mut out };
        spread.on_message(&mut ctx, &known, from, message);
        while let Some(event) = spread.poll_event() {
            if let Event::Leaf { job, .. } = event {
                spread.leaf_done(&mut ctx, &known, job, Report::default());
            }
        }
    }
    let said = out.posts.drain(..).filter_map(|post| match post {
        Post::Node { body: Body::Spread(message), .. } | Post::Key { body: Body::Spread(message), .. } => Some(message),
        _ => None,
    });
    (spread, said.collect())
}

fn task(branch: u64, asker: Id) -> Message {
    let work = Work::Query { plan: plan() };
    Message::Task { branch, asker, region: Region::ALL, depth: 0, patience_us: SECOND_US, work }
}

#[test]
fn one_asker_does_not_take_the_place_of_the_others() {
    let config = Config { asker_tasks_max: 3, ..Config::default() };
    let (greedy, other) = (id(&[true, false]), id(&[true, true]));
    let tasks = (0..5).map(|branch| task(branch, greedy)).chain([task(9, other)]).collect();
    let (spread, said) = told(&config, tasks);
    assert_eq!(spread.held().0, 4, "three of the one, and one of the other");
    // Who is refused is told at once, and may ask again.
    let refused = said.iter().filter_map(|message| match message {
        Message::Piece { branch, bytes, .. } => {
            let report: Report = postcard::from_bytes(bytes).unwrap();
            assert_eq!(report.missing, [Region::ALL]);
            Some(*branch)
        }
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<u64>>(), [3, 4]);
}

#[test]
fn queries_of_one_asker_hold_no_more_than_one_may() {
    let config = Config { query_bytes_max: 10_000, ..Config::default() };
    let asker = id(&[true, false]);
    let (_, said) = told(&config, vec![task(1, asker), task(2, asker)]);
    let handed: Vec<u64> = said
        .iter()
        .filter_map(|message| match message {
            Message::Task { branch, .. } => Some(*branch),
            _ => None,
        })
        .collect();
    assert_eq!(handed.len(), 2);
    let piece = |branch: u64| Message::Piece { branch, index: 0, last: false, bytes: vec![0; 6_000] };
    let tasks = vec![task(1, asker), task(2, asker), piece(handed[0]), piece(handed[1])];
    let (spread, said) = told(&config, tasks);
    let Some(Message::Piece { branch: 2, bytes, .. }) = said.last() else { panic!("{said:?}") };
    let report: Report = postcard::from_bytes(bytes).unwrap();
    let error = Error::from(report.fault.unwrap());
    assert_eq!(error.code(), BUDGET);
    assert!(error.to_string().contains("query_bytes_max = 10000"), "{error}");
    assert_eq!(spread.held(), (1, 6_000), "the first one goes on");
}

/// When the part that was handed to a peer that never answers is given up, milliseconds.
fn given_up_ms(alive: bool) -> u64 {
    let config = Config::default();
    let known = Known { me: id(&[false]), own: region(&[false]), peer: id(&[true]), alive };
    let (mut spread, mut out, mut rng) = (Spread::default(), Outbox::default(), Rng::from_seed([7; 32]));
    let mut now = Now::default();
    let work = Work::Query { plan: plan() };
    let mut ctx = Ctx { now, me: known.me, config: &config, rng: &mut rng, out: &mut out };
    spread.start(&mut ctx, &known, 1, Region::ALL, &[], work, 60 * SECOND_US);
    while out.counters.get("branches_given_up") == 0 {
        now.mono += 100_000;
        while let Some(timer) = out.timers.pop_due(now.mono) {
            let mut ctx = Ctx { now, me: known.me, config: &config, rng: &mut rng, out: &mut out };
            let node::Timer::Spread(timer) = timer else { continue };
            spread.on_timer(&mut ctx, &known, timer);
        }
        assert!(now.mono < 50 * SECOND_US, "the peer is waited for forever");
    }
    now.mono / 1_000
}

#[test]
fn an_answer_of_a_live_peer_may_stand_in_a_queue() {
    assert_eq!(given_up_ms(false), 3_000);
    assert_eq!(given_up_ms(true), Config::default().queue_us / 1_000);
}
