//! Exchanges on a network of one peer, which asks, owns and keeps the buckets.

use chacha20::rand_core::SeedableRng as _;

use super::*;
use crate::{
    config::Config,
    ctx::{Now, Outbox, Post, Rng},
    data::{Nested, Row, Value, codec},
    exec::{
        exchange::{Follow, Input, Sides, Stop, Way},
        fragment::{Decode, Output},
        plan::{Join, JoinKind, On},
    },
    sql::scalar::Scalar,
    wire::{Body, PLAN_VERSION},
};

/// Everything is here; of what is not, nobody knows whether it is lost, if `lost`.
struct Alone {
    me: Id,
    lost: bool,
}

impl Ways for Alone {
    fn towards(&self, _key: &Id, _step: Step) -> Option<(Id, Step)> {
        None
    }

    fn contact(&self, _ctx: &Ctx<'_>) -> Contact {
        Contact { id: self.me, relay: None, supernode: false, full: false }
    }

    fn linked(&self) -> usize {
        40
    }

    fn record(&self, _namespace: &str, _key: &[u8], _id: &Id) -> Option<Looked<'_>> {
        Some((None, self.lost))
    }
}

fn fragment(namespace: &str, width: u32) -> FragmentPlan {
    FragmentPlan {
        version: PLAN_VERSION,
        namespace: namespace.to_owned(),
        locality_bits: 0,
        decode: Decode::Row,
        columns: (0..width).collect(),
        identity: false,
        filter: None,
        project: None,
        output: Output::Rows,
        missing: Vec::new(),
    }
}

pub(super) fn table(namespace: &str) -> Input {
    Input::Table(fragment(namespace, 2))
}

/// Rows whose columns of these numbers are equal.
pub(super) fn join(kind: JoinKind, inputs: [Input; 2], on: [u32; 2], widths: [usize; 2], way: Way) -> JoinPlan {
    let [left, right] = on.map(|at| vec![Scalar::Column(at)]);
    let on = On { left, right, null_safe: vec![false], residual: None };
    let width = if matches!(kind, JoinKind::Semi | JoinKind::Anti) { widths[0] } else { widths.iter().sum() };
    let sides = Sides { inputs, join: Join { kind, on, widths }, way, buckets: 8, follow: None };
    JoinPlan { sides, tail: fragment("", width as u32) }
}

/// A table: its name, its rows, and how much of it answers.
type Table<'a> = (&'a str, &'a [[i64; 2]], f64);

/// A peer that is alone, and what it says to itself.
struct Peer {
    ways: Alone,
    config: Config,
    rng: Rng,
    out: Outbox,
    exchanges: Exchanges,
}

impl Peer {
    fn new(plan: JoinPlan, lost: bool) -> Peer {
        let ways = Alone { me: Id::hash_of(&[b"me"]), lost };
        let (exchanges, rng, out) = (Exchanges::default(), Rng::from_seed([3; 32]), Outbox::default());
        let mut peer = Peer { ways, config: Config::default(), rng, out, exchanges };
        peer.call(|exchanges, ctx, ways| {
            exchanges.start(ctx, ways, Whose::Call(CallId(1)), Box::new(plan), 20 * SECOND_US);
        });
        peer
    }

    fn call<T>(&mut self, what: impl FnOnce(&mut Exchanges, &mut Ctx<'_>, &dyn Ways) -> T) -> T {
        let Peer { ways, config, rng, out, exchanges } = self;
        what(
            exchanges,
            &mut Ctx { now: Now::default(), me: ways.me, config, signer: &crate::trust::Signer::nobody(), rng, out },
            ways,
        )
    }

    fn receive(&mut self, message: Message) {
        self.call(|exchanges, ctx, ways| {
            exchanges.on_message(ctx, ways, ways.contact(ctx), message);
        });
    }

    /// Goes on until nothing happens by itself, but for what the asker says to buckets, which is kept; what the join gave if it is over.
    fn run(&mut self, tables: &[Table<'_>], kept: &mut Vec<Message>) -> Option<(Vec<Row>, GatherEnd)> {
        loop {
            while let Some(Post::Node { body: Body::Exchange(message), .. }) = self.out.posts.pop_front() {
                if matches!(message, Message::More { .. }) { kept.push(message) } else { self.receive(message) }
            }
            match self.exchanges.poll_event()? {
                Event::Gather { number, side, fragment, .. } => self.answer(tables, number, side, &fragment),
                Event::Join { whose, plan, deadline_us } => {
                    self.call(|exchanges, ctx, ways| exchanges.start(ctx, ways, whose, plan, deadline_us));
                }
                Event::Done { whose: Whose::Side { number, side }, partial, end } => {
                    self.call(|exchanges, ctx, ways| exchanges.side_done(ctx, ways, number, side, *partial, *end));
                }
                Event::Done { partial, end, .. } => {
                    assert_eq!(self.exchanges.held(), (0, 0, 0), "nothing is left behind");
                    let mut rows: Vec<Row> = partial.batch.by_row().rows.into_iter().map(|signed| signed.row).collect();
                    rows.sort_by(|a, b| crate::data::order::compare_rows(a, b));
                    return Some((rows, *end));
                }
                Event::Over { .. } | Event::Progress { .. } => {}
            }
        }
    }

    fn answer(&mut self, tables: &[Table<'_>], number: u64, side: u8, fragment: &FragmentPlan) {
        let (_, rows, coverage) = tables.iter().find(|(name, ..)| *name == fragment.namespace()).unwrap();
        let answering = (rows.len() as f64 * coverage) as usize;
        let value = |row: &[i64; 2]| codec::encode_row(&row.map(Value::Integer));
        let values: Vec<Vec<u8>> = rows[..answering].iter().map(value).collect();
        let budget = Budget::from(&self.config);
        let mut partial = fragment.run_values(values.iter().map(|value| &value[..]), &budget).unwrap();
        self.call(|exchanges, ctx, ways| {
            if let Some(buckets) = fragment.onward() {
                let batch = core::mem::take(&mut partial.batch);
                let (sent, _) = exchanges.send(ctx, ways, buckets, batch).unwrap();
                partial.sent = sent;
            }
            let end = GatherEnd { coverage: *coverage, peers: 1, ..GatherEnd::default() };
            exchanges.side_done(ctx, ways, number, side, partial, end);
        });
    }
}

/// Carries a join out.
fn run(plan: JoinPlan, tables: &[Table<'_>], lost: bool) -> (Vec<Row>, GatherEnd) {
    let (mut peer, mut kept) = (Peer::new(plan, lost), Vec::new());
    let done = peer.run(tables, &mut kept);
    assert!(kept.is_empty(), "so little needs no word");
    done.expect("the join ends")
}

fn numbers(rows: &[Row]) -> Vec<Vec<Option<i64>>> {
    let number = |value: &Value| if let Value::Integer(number) = value { Some(*number) } else { None };
    rows.iter().map(|row| row.iter().map(number).collect()).collect()
}

const LEFT: [[i64; 2]; 4] = [[1, 10], [2, 20], [3, 30], [4, 40]];
const RIGHT: [[i64; 2]; 4] = [[1, 5], [2, 6], [2, 7], [3, 5]];

#[test]
fn who_has_no_match_is_told_only_where_all_is_there() {
    for way in [Way::Hash, Way::Bloom(0, 1_024), Way::Broadcast(1)] {
        let of = |kind, coverage| {
            let plan = join(kind, [table("left"), table("right")], [0, 0], [2, 2], way);
            let (rows, end) = run(plan, &[("left", &LEFT, 1.0), ("right", &RIGHT, coverage)], false);
            assert_eq!(end.coverage, coverage);
            rows.len()
        };
        assert_eq!((of(JoinKind::Left, 1.0), of(JoinKind::Left, 0.5)), (5, 2), "{way:?}");
        assert_eq!((of(JoinKind::Anti, 1.0), of(JoinKind::Anti, 0.5)), (1, 0), "{way:?}");
        assert_eq!((of(JoinKind::Semi, 1.0), of(JoinKind::Semi, 0.5)), (3, 2), "{way:?}");
    }
    // Rows of the side that is missing prove nothing of the other; of its own they are just not there.
    let plan = |kind| join(kind, [table("left"), table("right")], [0, 0], [2, 2], Way::Hash);
    let (rows, _) = run(plan(JoinKind::Anti), &[("left", &LEFT, 0.5), ("right", &RIGHT[..1], 1.0)], false);
    assert_eq!(numbers(&rows), [[Some(2), Some(20)]]);
    let (rows, _) = run(plan(JoinKind::Full), &[("left", &LEFT, 0.5), ("right", &RIGHT, 1.0)], false);
    assert_eq!(numbers(&rows).len(), 3, "the third right row may have a match: {rows:?}");
}

#[test]
fn what_a_join_finds_is_a_side_of_the_next() {
    const THIRD: [[i64; 2]; 3] = [[5, 500], [5, 501], [6, 600]];
    for below in [Way::Hash, Way::Bloom(1, 1_024), Way::Broadcast(0), Way::Broadcast(1)] {
        for above in [Way::Hash, Way::Bloom(0, 1_024), Way::Bloom(1, 1_024), Way::Broadcast(0), Way::Broadcast(1)] {
            let first = join(JoinKind::Inner, [table("left"), table("right")], [0, 0], [2, 2], below);
            let sides = [Input::Join(Nested::new(first)), table("third")];
            let of = |kind, coverage| {
                let plan = join(kind, sides.clone(), [3, 0], [4, 2], above);
                let tables: [Table<'_>; 3] =
                    [("left", &LEFT, 1.0), ("right", &RIGHT, coverage), ("third", &THIRD, 1.0)];
                let (rows, end) = run(plan, &tables, false);
                assert_eq!(end.coverage, coverage);
                numbers(&rows)
            };
            let row = |of: [i64; 6]| of.map(Some).to_vec();
            let all = [
                row([1, 10, 1, 5, 5, 500]),
                row([1, 10, 1, 5, 5, 501]),
                row([2, 20, 2, 6, 6, 600]),
                row([3, 30, 3, 5, 5, 500]),
                row([3, 30, 3, 5, 5, 501]),
            ];
            assert_eq!(of(JoinKind::Inner, 1.0), all, "{below:?}, {above:?}");
            assert_eq!(of(JoinKind::Inner, 0.5), all[..3], "{below:?}, {above:?}");
            let outer = !matches!(above, Way::Broadcast(0) | Way::Bloom(1, _));
            if outer {
                assert_eq!(of(JoinKind::Left, 1.0).len(), 6, "{below:?}, {above:?}");
                assert_eq!(of(JoinKind::Anti, 1.0), [[2, 20, 2, 7].map(Some)], "{below:?}, {above:?}");
            }
        }
    }
}

#[test]
fn where_a_row_was_looked_for_that_may_be_lost_the_answer_says_so() {
    let stop = Stop { key: vec![Scalar::Column(0)], stored: false, fragment: fragment("right", 2) };
    for (kind, keep) in [(JoinKind::Inner, None), (JoinKind::Left, Some(2))] {
        let follow = Follow { stops: vec![stop.clone()], keep, order: (0..4).collect(), condition: None };
        let mut plan = join(kind, [table("left"), table("right")], [0, 0], [2, 2], Way::Fetch(1));
        plan.sides.follow = Some(follow);
        for lost in [false, true] {
            let (rows, end) = run(plan.clone(), &[("left", &LEFT, 1.0)], lost);
            assert_eq!(rows.len(), if keep.is_some() { 4 } else { 0 });
            assert_eq!((end.coverage, end.assumed_lost), (1.0, lost));
        }
    }
}

#[test]
fn a_bucket_makes_no_more_than_its_asker_reads() {
    // All of one bucket: 104,000 pairs, more than a MiB, of each parcel of the right side.
    let (left, right): (Vec<[i64; 2]>, Vec<[i64; 2]>) =
        ((0..80).map(|at| [1, at]).collect(), (0..5_200).map(|at| [1, at]).collect());
    let tables: [Table<'_>; 2] = [("left", &left, 1.0), ("right", &right, 1.0)];
    let mut peer = Peer::new(join(JoinKind::Inner, [table("left"), table("right")], [0, 0], [2, 2], Way::Hash), false);
    let mut kept = Vec::new();
    assert!(peer.run(&tables, &mut kept).is_none());
    assert_eq!(kept.len(), 2, "what was sent ahead was read");
    let (buckets, asked, bytes) = peer.exchanges.held();
    assert_eq!((buckets, asked), (1, 1));
    // What others say in the asker's name counts for nothing.
    let (name, life) = match kept[0] {
        Message::More { name, life, .. } => (name, life),
        _ => unreachable!(),
    };
    peer.call(|exchanges, ctx, ways| {
        let other = Contact { id: Id::hash_of(&[b"other"]), ..ways.contact(ctx) };
        exchanges.on_message(ctx, ways, other, Message::More { name, bucket: 0, life });
    });
    assert!(peer.out.posts.is_empty());
    let mut words = 0;
    let (rows, end) = loop {
        peer.receive(kept.remove(0));
        words += 1;
        if let Some(done) = peer.run(&tables, &mut kept) {
            break done;
        }
    };
    assert_eq!((rows.len(), end.coverage), (416_000, 1.0));
    assert!(words >= 6, "{words}");
    let found = end.parts.iter().find(|part| part.place == 0).unwrap();
    assert_eq!(found.rows, Some(416_000));
    assert!(found.bytes > 3 * bytes as u64, "a parcel's were made of four: {bytes} of {}", found.bytes);
    let sides: Vec<_> = end.parts.iter().filter(|part| part.place > 0).map(|part| (part.place, part.rows)).collect();
    assert_eq!(sides, [(1, Some(80)), (2, Some(5_200))]);
}
