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
    linked: bool,
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
    fn linked(&self, _: &Id) -> bool {
        self.linked
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

/// Who owns what: 0* hands 1* to the owner of 10*, which hands 11* on.
const PLACES: [&[bool]; 3] = [&[false], &[true, false], &[true, true]];

/// Rows of 100 kB: 39 pieces.
const WIDE_ROWS: usize = 50;

/// What peers do with their leaves.
#[derive(Clone, Copy, PartialEq)]
enum Leaves {
    Answer,
    Fail,
    Wait,
    /// With some megabytes of rows.
    Wide,
}

/// Three peers and the messages between them.
struct Three {
    peers: Vec<Peer>,
    leaves: [Leaves; 3],
    config: Config,
    now: Now,
    messages: VecDeque<(Id, usize, Message)>,
    done: Option<Report>,
    progress: Vec<(Coverage, u64)>,
}

impl Three {
    fn new(leaves: [Leaves; 3]) -> Three {
        let links = [1, 2, 1];
        let peer = |(bits, link): (&&[bool], usize)| Peer {
            known: Known { me: id(bits), own: region(bits), peer: id(PLACES[link]), alive: false, linked: false },
            spread: Spread::default(),
            out: Outbox::default(),
            rng: Rng::from_seed([7; 32]),
        };
        Three {
            peers: PLACES.iter().zip(links).map(peer).collect(),
            leaves,
            config: Config::default(),
            now: Now::default(),
            messages: VecDeque::new(),
            done: None,
            progress: Vec::new(),
        }
    }

    /// Calls into a peer's layer; what it posts is on its way then.
    fn call(&mut self, at: usize, f: impl FnOnce(&mut Spread, &mut Ctx<'_>, &Known)) {
        let Peer { known, spread, out, rng } = &mut self.peers[at];
        let mut ctx = Ctx {
            now: self.now,
            me: known.me,
            config: &self.config,
            signer: &crate::trust::Signer::nobody(),
            rng,
            out,
        };
        f(spread, &mut ctx, known);
        while let Some(event) = spread.poll_event() {
            match event {
                Event::Leaf { job, .. } => {
                    let mut report = Report::default();
                    match self.leaves[at] {
                        Leaves::Answer => {}
                        Leaves::Fail => report.fault = Some((&crate::Error::Conflict).into()),
                        Leaves::Wait => continue,
                        Leaves::Wide => {
                            let row = || vec![crate::data::Value::Text("x".repeat(100_000))];
                            (0..WIDE_ROWS).for_each(|_| report.partial.batch.push(row(), 1));
                        }
                    }
                    spread.leaf_done(&mut ctx, known, job, report);
                }
                Event::Done { report, .. } => self.done = Some(*report),
                Event::Progress { covered, rows, .. } => self.progress.push((covered, rows)),
            }
        }
        for post in self.peers[at].out.posts.drain(..) {
            let (to, Body::Spread(message)) = (match post {
                Post::Node { to, body, .. } => (to, body),
                Post::Key { key, body } => (key, body),
            }) else {
                panic!("not of this layer");
            };
            let to = PLACES.iter().position(|bits| region(bits).contains(&to)).unwrap();
            self.messages.push_back((id(PLACES[at]), to, message));
        }
    }

    /// The owner of 0* begins the task over everything but some regions.
    fn start(&mut self, except: &[Region], deadline_us: u64) {
        let work = Work::Query { plan: plan(), reader: None };
        self.call(0, |spread, ctx, known| spread.start(ctx, known, 1, Region::ALL, except, work, deadline_us));
    }

    /// All messages arrive, and what they cause; the owner of 10* is handed another plan, if there is one.
    fn deliver(&mut self, foreign: Option<&[u8]>) {
        while let Some((from, to, mut message)) = self.messages.pop_front() {
            if let (1, Some(foreign), Message::Task { work: Work::Query { plan, .. }, .. }) =
                (to, foreign, &mut message)
            {
                *plan = foreign.to_vec();
            }
            self.hand(from, to, message);
        }
    }

    fn hand(&mut self, from: Id, to: usize, message: Message) {
        let from = Contact { id: from, relay: None, supernode: false, full: false };
        self.call(to, |spread, ctx, known| spread.on_message(ctx, known, from, message));
    }

    /// Ten milliseconds pass.
    fn tick(&mut self) {
        self.now.mono += 10_000;
        for at in 0..self.peers.len() {
            while let Some(timer) = self.peers[at].out.timers.pop_due(self.now.mono) {
                if let node::Timer::Spread(timer) = timer {
                    self.call(at, |spread, ctx, known| spread.on_timer(ctx, known, timer));
                }
            }
        }
    }

    /// Jobs of each, and branches.
    fn open(&self) -> Vec<(usize, usize)> {
        self.peers.iter().map(|peer| (peer.spread.jobs.len(), peer.spread.branches.len())).collect()
    }
}

/// Nothing is left anywhere.
const NOTHING: [(usize, usize); 3] = [(0, 0); 3];

/// The task over everything, begun by the owner of 0*; 10* is the region of the peer that it hands 1* to, and that is
/// handed `foreign` in place of the plan. Gives the report, and how much time passed.
fn ask(foreign: &[u8]) -> (Report, u64) {
    ask_beside(foreign, &[])
}

/// The same where some regions are covered already.
fn ask_beside(foreign: &[u8], except: &[Region]) -> (Report, u64) {
    let mut three = Three::new([Leaves::Answer; 3]);
    three.start(except, 20 * SECOND_US);
    while three.now.mono < 30 * SECOND_US {
        three.deliver(Some(foreign));
        three.tick();
        if three.messages.is_empty() && three.peers[0].spread.jobs.is_empty() {
            break;
        }
    }
    (three.done.expect("the task ends"), three.now.mono)
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

#[test]
fn who_asks_hears_how_far_it_is() {
    let mut three = Three::new([Leaves::Answer; 3]);
    three.start(&[region(&[false, false])], 20 * SECOND_US);
    assert_eq!(three.progress, [(region(&[false]).size(), 0)], "what is covered already, and its own part");
    three.deliver(None);
    assert_eq!(three.progress.len(), 1, "the last answer is the end");
    assert_eq!(three.done.unwrap().covered, Region::ALL.size());
}

#[test]
fn a_task_that_is_cancelled_is_dropped_by_all() {
    let mut three = Three::new([Leaves::Wait; 3]);
    three.start(&[], 20 * SECOND_US);
    three.deliver(None);
    assert_eq!(three.open(), [(1, 1), (1, 1), (1, 0)]);
    three.call(0, |spread, ctx, _| spread.cancel(ctx, 2));
    three.deliver(None);
    assert_eq!(three.open(), [(1, 1), (1, 1), (1, 0)], "another one");
    three.call(0, |spread, ctx, _| spread.cancel(ctx, 1));
    assert_eq!(three.messages.len(), 1);
    three.deliver(None);
    assert_eq!((three.open(), three.done), (NOTHING.to_vec(), None));
}

#[test]
fn nobody_but_its_parent_cancels_a_job() {
    let mut three = Three::new([Leaves::Answer, Leaves::Answer, Leaves::Wait]);
    three.start(&[], 20 * SECOND_US);
    let Some((asker, 1, Message::Task { branch, .. })) = three.messages.front().cloned() else { panic!("a task") };
    three.deliver(None);
    let open = [(1, 1), (1, 1), (1, 0)];
    for (from, named) in [(id(PLACES[2]), branch), (asker, branch + 1)] {
        three.hand(from, 1, Message::Cancel { branch: named });
        three.deliver(None);
        assert_eq!(three.open(), open);
    }
    three.hand(asker, 1, Message::Cancel { branch });
    three.deliver(None);
    assert_eq!(three.open(), [(1, 1), (0, 0), (0, 0)]);
}

#[test]
fn where_one_fails_nobody_goes_on() {
    for failing in 0..2 {
        let mut leaves = [Leaves::Wait; 3];
        leaves[failing] = Leaves::Fail;
        let mut three = Three::new(leaves);
        three.start(&[], 20 * SECOND_US);
        three.deliver(None);
        assert_eq!(three.open(), NOTHING, "{failing}");
        assert!(three.done.unwrap().fault.is_some());
    }
}

#[test]
fn where_time_is_over_nobody_goes_on() {
    let mut three = Three::new([Leaves::Answer, Leaves::Answer, Leaves::Wait]);
    three.start(&[], 20 * SECOND_US);
    while three.done.is_none() {
        three.deliver(None);
        three.tick();
    }
    assert!((20 * SECOND_US..22 * SECOND_US).contains(&three.now.mono));
    three.deliver(None);
    assert_eq!(three.open(), NOTHING);
    assert_eq!(three.done.unwrap().covered, region(&[false]).size());
}

#[test]
fn who_is_given_up_does_not_go_on() {
    let mut three = Three::new([Leaves::Answer, Leaves::Answer, Leaves::Wait]);
    three.start(&[], 20 * SECOND_US);
    three.deliver(None);
    // The owner of 10* loses its link to that of 11*.
    three.call(1, |spread, ctx, _| spread.on_peer_down(ctx, id(PLACES[2])));
    while three.open()[2] == (1, 0) {
        assert!(three.now.mono < 3 * SECOND_US);
        three.tick();
        three.messages.retain(|(_, _, message)| matches!(message, Message::Cancel { .. }));
        three.deliver(None);
    }
}

/// The owner of 11* has many rows, and the owner of 10* has not read any of them yet; how many pieces of them are on their way.
fn wide() -> (Three, usize) {
    let mut three = Three::new([Leaves::Answer, Leaves::Answer, Leaves::Wide]);
    three.start(&[], 20 * SECOND_US);
    let piece =
        |(from, _, message): &(Id, usize, Message)| *from == id(PLACES[2]) && matches!(message, Message::Piece { .. });
    while !three.messages.iter().any(piece) {
        let (from, to, message) = three.messages.pop_front().unwrap();
        three.hand(from, to, message);
    }
    let pieces = three.messages.iter().filter(|message| piece(message)).count();
    (three, pieces)
}

#[test]
fn a_parent_is_sent_no_more_than_it_reads() {
    let (mut three, sent) = wide();
    assert_eq!(sent, 16);
    let (count, bytes) = three.peers[2].spread.held();
    assert!(count == 1 && bytes.div_ceil(128 * 1_024) == 23, "the rest waits: {bytes} bytes");
    three.deliver(None);
    let report = three.done.unwrap();
    assert_eq!((report.covered, report.partial.batch.len()), (Region::ALL.size(), WIDE_ROWS));
    assert!(three.peers.iter().all(|peer| peer.spread.held() == (0, 0)));
}

#[test]
fn what_waits_for_a_parent_waits_no_longer_than_the_parent() {
    let (mut three, _) = wide();
    let Some((_, 1, Message::Piece { branch, .. })) = three.messages.back().cloned() else { panic!("a piece") };
    for (from, named) in [(id(PLACES[0]), branch), (id(PLACES[1]), branch + 1)] {
        three.hand(from, 2, Message::Cancel { branch: named });
        assert_eq!(three.peers[2].spread.held().0, 1, "nobody but its parent");
    }
    // It keeps its asker's place meanwhile.
    three.config.asker_tasks_max = 1;
    let more = Message::Task {
        branch: branch + 2,
        asker: id(PLACES[0]),
        region: region(PLACES[2]),
        depth: 1,
        patience_us: SECOND_US,
        work: Work::Query { plan: plan(), reader: None },
    };
    three.hand(id(PLACES[1]), 2, more);
    assert_eq!(three.peers[2].out.counters.get("tasks_refused"), 1);
    three.hand(id(PLACES[1]), 2, Message::Cancel { branch });
    assert_eq!(three.peers[2].spread.held(), (0, 0));
    // A parent that has vanished says nothing; one that is slow is told that there is more.
    let (mut three, _) = wide();
    three.messages.clear();
    let mut working = 0;
    while three.peers[2].spread.held() != (0, 0) {
        assert!(three.now.mono < 22 * SECOND_US);
        three.tick();
        working += three.messages.drain(..).filter(|(from, _, _)| *from == id(PLACES[2])).count();
    }
    assert!(three.now.mono >= 20 * SECOND_US && working > 15, "{working}");
}

/// A peer that is handed tasks by the peer of 1*, and what it says.
fn told(config: &Config, messages: Vec<Message>) -> (Spread, Vec<Message>) {
    let known = Known { me: id(&[false]), own: region(&[false]), peer: id(&[true]), alive: false, linked: false };
    let (mut spread, mut out, mut rng) = (Spread::default(), Outbox::default(), Rng::from_seed([7; 32]));
    for message in messages {
        let from = Contact { id: id(&[true]), relay: None, supernode: false, full: false };
        let mut ctx = Ctx {
            now: Now::default(),
            me: known.me,
            config,
            signer: &crate::trust::Signer::nobody(),
            rng: &mut rng,
            out: &mut out,
        };
        spread.on_message(&mut ctx, &known, from, message);
        while let Some(event) = spread.poll_event() {
            if let Event::Leaf { job, .. } = event {
                spread.leaf_done(&mut ctx, &known, job, Report::default());
            }
        }
    }
    (spread, posted(&mut out))
}

fn posted(out: &mut Outbox) -> Vec<Message> {
    let message = |post| match post {
        Post::Node { body: Body::Spread(message), .. } | Post::Key { body: Body::Spread(message), .. } => Some(message),
        _ => None,
    };
    out.posts.drain(..).filter_map(message).collect()
}

fn task(branch: u64, asker: Id) -> Message {
    let work = Work::Query { plan: plan(), reader: None };
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

/// What is asked of a peer that was handed a part and says nothing, and when, in milliseconds; and when the part is given up.
fn silence_ms(alive: bool, linked: bool) -> (Vec<u64>, Option<u64>) {
    let config = Config::default();
    let known = Known { me: id(&[false]), own: region(&[false]), peer: id(&[true]), alive, linked };
    let (mut spread, mut out, mut rng) = (Spread::default(), Outbox::default(), Rng::from_seed([7; 32]));
    let mut now = Now::default();
    let work = Work::Query { plan: plan(), reader: None };
    let mut ctx = Ctx {
        now,
        me: known.me,
        config: &config,
        signer: &crate::trust::Signer::nobody(),
        rng: &mut rng,
        out: &mut out,
    };
    spread.start(&mut ctx, &known, 1, Region::ALL, &[], work, 60 * SECOND_US);
    let (mut asked, mut given_up) = (Vec::new(), None);
    while now.mono < 10 * SECOND_US && given_up.is_none() {
        now.mono += 100_000;
        while let Some(timer) = out.timers.pop_due(now.mono) {
            let mut ctx = Ctx {
                now,
                me: known.me,
                config: &config,
                signer: &crate::trust::Signer::nobody(),
                rng: &mut rng,
                out: &mut out,
            };
            let node::Timer::Spread(timer) = timer else { continue };
            spread.on_timer(&mut ctx, &known, timer);
        }
        for message in posted(&mut out) {
            if let Message::Ask { region: asked_about, .. } = message {
                assert_eq!(asked_about, region(&[true]));
                asked.push(now.mono / 1_000);
            }
        }
        given_up = (out.counters.get("branches_given_up") > 0).then_some(now.mono / 1_000);
    }
    (asked, given_up)
}

#[test]
fn a_peer_that_lives_and_is_silent_is_asked_before_its_part_is_given_up() {
    assert_eq!(silence_ms(false, false), (vec![], Some(3_000)));
    assert_eq!(silence_ms(false, true), (vec![3_000], Some(6_000)), "suspected: once");
    assert_eq!(silence_ms(true, true), (vec![3_000, 6_000, 9_000], None));
}

#[test]
fn who_is_asked_says_whether_it_works_on_a_part() {
    let asker = id(&[true, false]);
    let ask = |branch| Message::Ask { branch, region: region(&[true]) };
    let (_, said) = told(&Config::default(), vec![task(1, asker), ask(1), ask(2)]);
    let [.., Message::Working { branch: 1 }, Message::Piece { branch: 2, index: 0, last: true, bytes }] = &said[..]
    else {
        panic!("{said:?}");
    };
    let report: Report = postcard::from_bytes(bytes).unwrap();
    assert_eq!(report, Report { missing: vec![region(&[true])], ..Report::default() });
}
