//! How the rows of two tables of a join meet: the planner chooses, or `SET pontoon.join_strategy` does.
//!
//! Four of the strategies are PIER's (Huebsch et al., VLDB 2003, section 4.1).

use super::{
    ast::BinaryOp,
    cost::{Network, Pair, choose, gather, lookups},
    estimate::Estimator,
    fault::{INVALID_ARGUMENT, fail},
    logical::{ColumnId, Logical, Scan},
    physical::{Node, through},
    reduce::weight,
    scalar::Scalar,
    system::PEERS,
};
use crate::{
    Error,
    data::Nested,
    exec::{
        exchange::{BUCKETS_MAX, Follow, Stop, Way},
        fragment::{Decode, FragmentPlan, Output},
        plan::{Join, JoinKind, Joined, Op, Source},
        run::VALUES_MAX,
    },
    wire::PLAN_VERSION,
};

/// Of fewer peers the asker has a good part of the rows itself.
const PEERS_MIN: u64 = 4;
/// Rows that meet at one place, about.
const BUCKET_ROWS: f64 = 16.0;
/// Places at which the rows of a join meet, where nothing is known.
const BUCKETS: u16 = 64;
/// Bytes of the Bloom filter of a side's keys: from, to, and where nothing is known.
const FILTER_BYTES: [u32; 3] = [1_024, 64 * 1_024, 8 * 1_024];

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JoinStrategy {
    /// The cheapest by estimate.
    #[default]
    Auto,
    /// The rows of both sides come to the asker.
    Gather,
    /// The rows of both sides go to peers by the hash of what must be equal.
    SymmetricHash,
    /// For the rows of one side those of the other are got by key.
    FetchMatches,
    /// What must be equal goes first, and only rows with a match follow.
    SemiJoin,
    /// A Bloom filter of each side's values goes to the owners of the other, which send what it lets through.
    Bloom,
    /// The rows of the small side go to all owners of the other.
    Broadcast,
}

impl JoinStrategy {
    /// All of them.
    pub const ALL: [JoinStrategy; 7] = [
        JoinStrategy::Auto,
        JoinStrategy::Gather,
        JoinStrategy::SymmetricHash,
        JoinStrategy::FetchMatches,
        JoinStrategy::SemiJoin,
        JoinStrategy::Bloom,
        JoinStrategy::Broadcast,
    ];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            JoinStrategy::Auto => "auto",
            JoinStrategy::Gather => "gather",
            JoinStrategy::SymmetricHash => "symmetric-hash",
            JoinStrategy::FetchMatches => "fetch-matches",
            JoinStrategy::SemiJoin => "semi-join",
            JoinStrategy::Bloom => "bloom",
            JoinStrategy::Broadcast => "broadcast",
        }
    }

    /// The strategy of a name.
    pub fn by_name(name: &str) -> Result<JoinStrategy, Error> {
        match JoinStrategy::ALL.into_iter().find(|strategy| strategy.name().eq_ignore_ascii_case(name)) {
            Some(strategy) => Ok(strategy),
            None => {
                let names = JoinStrategy::ALL.map(|strategy| format!("'{}'", strategy.name())).join(", ");
                fail(INVALID_ARGUMENT, format!("there is no join strategy \"{name}\"; it is one of {names}"))
            }
        }
    }
}

/// What is expected of a join.
pub struct Sizes {
    /// Whether there are statistics of both sides, and peers enough for that to be of use.
    known: bool,
    pair: Pair,
    network: Network,
    /// Different values of what must be equal, by side.
    distinct: [f64; 2],
}

/// What is expected of a join.
pub fn sizes(estimator: &mut Estimator<'_>, sides: [&Logical; 2], kind: JoinKind, on: &[Scalar]) -> Sizes {
    let schemas = sides.map(Logical::schema);
    let preserved = [kind != JoinKind::Inner, kind == JoinKind::Full];
    let (pair, known) = estimator.pair(sides, preserved, on, &schemas.concat());
    let distinct = [0, 1].map(|at: usize| {
        let own = |scalar: &Scalar| schemas[at].iter().any(|id| *scalar == Scalar::Column(*id));
        let keys = on.iter().filter_map(|conjunct| match conjunct {
            Scalar::Binary(BinaryOp::Eq, a, b) => [&**a, &**b].into_iter().find(|side| own(side)),
            _ => None,
        });
        estimator.of(sides[at]).distinct(keys)
    });
    let enough = estimator.statistics().peers().is_some_and(|peers| peers >= PEERS_MIN);
    Sizes { known: known && enough, pair, network: estimator.network(), distinct }
}

/// Lets peers make a join, where both sides are plain rows of tables and the strategy is one of theirs.
pub fn distribute(mut node: Node, wanted: JoinStrategy, sizes: &Sizes) -> Node {
    if let Some(joined) = joined(&node, wanted, sizes) {
        let [left, right] = &joined.inputs;
        node.op = Op::Source(Source {
            name: format!("{} with {}", left.name, right.name),
            fragment: pairs(node.schema.len()),
            keys: None,
            index: None,
            read: node.schema.clone(),
            number: 0,
            after: None,
            scan: None,
            join: Some(Box::new(joined)),
        });
        node.inputs.clear();
    }
    node
}

/// The join as peers make it, if they may, and if it is of use.
fn joined(node: &Node, wanted: JoinStrategy, sizes: &Sizes) -> Option<Joined> {
    if wanted == JoinStrategy::Auto && !sizes.known {
        return None;
    }
    let (Op::HashJoin(join), [left, right]) = (&node.op, &node.inputs[..]) else { return None };
    let (Op::Source(a), Op::Source(b)) = (&left.op, &right.op) else { return None };
    let portable = |all: &[Scalar]| all.iter().all(Scalar::is_portable);
    let portable = portable(&join.on.left) && portable(&join.on.right) && portable(join.on.residual.as_slice());
    if !portable || join.on.left.is_empty() || !is_plain(a) || !is_plain(b) {
        return None;
    }
    let fetches = [fetch(join, 0, left, right), fetch(join, 1, left, right)];
    let mut pair = sizes.pair;
    (0..2).for_each(|inner| pair.sides[inner].keyed = fetches[inner].is_some());
    let network = sizes.network;
    let (choice, cost) = choose(wanted, &pair, &network);
    let few = |outer: usize| few_matches(outer, [a, b], &pair, &network);
    if wanted == JoinStrategy::Auto && (0..2).filter_map(few).any(|few| few <= network.time_us(&cost)) {
        return None;
    }
    let [left_inner, right_inner] = fetches;
    let (way, follow) = match choice.strategy {
        JoinStrategy::SymmetricHash => (Way::Hash, None),
        JoinStrategy::Broadcast => (Way::Broadcast(choice.side as u8), None),
        JoinStrategy::Bloom => (bloom(choice.side, sizes), None),
        JoinStrategy::FetchMatches => {
            if choice.side == 0 {
                right_inner?
            } else {
                left_inner?
            }
        }
        JoinStrategy::SemiJoin => semi_join(join, a, b)?,
        JoinStrategy::Auto | JoinStrategy::Gather => return None,
    };
    let rows = pair.sides[0].rows + pair.sides[1].rows;
    let buckets = if sizes.known { (rows / BUCKET_ROWS).clamp(1.0, f64::from(BUCKETS_MAX)) as u16 } else { BUCKETS };
    Some(Joined { inputs: [a.clone(), b.clone()], join: join.clone(), way, buckets, follow })
}

/// What it takes to get the rows of one side by the values of the other, if [`reduce`](super::reduce) lets it.
fn few_matches(outer: usize, sources: [&Source; 2], pair: &Pair, network: &Network) -> Option<f64> {
    let (side, inner) = (&pair.sides[outer], &pair.sides[1 - outer]);
    let waits = weight(sources[outer]) > weight(sources[1 - outer]) && side.rows <= VALUES_MAX as f64;
    let got = lookups(side.rows, inner.rows * inner.matching, inner.bytes, network);
    (waits && inner.keyed && !inner.preserved).then(|| network.time_us(&gather(side, network).then(got)))
}

/// By a filter of that side's keys.
fn bloom(first: usize, sizes: &Sizes) -> Way {
    // Ten bits a value let one in a hundred of the others through.
    let wanted = (sizes.distinct[first] * 10.0 / 8.0) as u32;
    let [least, most, unknown] = FILTER_BYTES;
    Way::Bloom(first as u8, if sizes.known { wanted.clamp(least, most) } else { unknown })
}

/// What rows go past, and what owners send beforehand.
type Followed = (Way, Option<(Follow, Option<[FragmentPlan; 2]>)>);

/// Everything that must be true of a pair.
fn condition(join: &Join) -> Option<Scalar> {
    let [width, _] = join.widths;
    let over_right = |expr: &Scalar| expr.replace(&mut |at| Some(Scalar::Column(at + width as u32)));
    let mut all = Vec::new();
    for ((left, right), null_safe) in join.on.left.iter().zip(&join.on.right).zip(&join.on.null_safe) {
        let op = if *null_safe { BinaryOp::IsNotDistinct } else { BinaryOp::Eq };
        all.push(Scalar::Binary(op, Nested::new(left.clone()), Nested::new(over_right(right)?)));
    }
    all.extend(join.on.residual.clone());
    Scalar::all(all)
}

/// Rows of one side go to the owners of those of the inner one, where what must be equal is their whole key.
fn fetch(join: &Join, inner: usize, left: &Node, right: &Node) -> Option<Followed> {
    let [a, b] = join.widths.map(|width| width as u32);
    let ((key, fragment), order) = match (join.kind, inner) {
        (JoinKind::Inner | JoinKind::Left, 1) => (keys_of(join, 1, left, right)?, (0..a + b).collect()),
        (JoinKind::Inner, 0) => (keys_of(join, 0, right, left)?, (b..a + b).chain(0..b).collect()),
        _ => return None,
    };
    let keep = (join.kind == JoinKind::Left).then_some(join.widths[1]);
    let stops = vec![Stop { key, stored: false, fragment }];
    Some((Way::Fetch(inner as u8), Some((Follow { stops, keep, order, condition: Some(condition(join)?) }, None))))
}

/// The key of the inner side's records over the other's rows, and what owners give of a record.
fn keys_of(join: &Join, port: usize, outer: &Node, inner: &Node) -> Option<(Vec<Scalar>, FragmentPlan)> {
    let (Op::Source(outside), Op::Source(inside)) = (&outer.op, &inner.op) else { return None };
    let (outer_scan, inner_scan) = (outside.scan.as_ref()?, inside.scan.as_ref()?);
    let typed = |scan: &Scan, id| scan.columns.iter().find(|(other, ..)| *other == id).map(|(.., typed)| *typed);
    if inner_scan.primary_key.is_empty() {
        return None;
    }
    let key = inner_scan.primary_key.iter().map(|id| {
        let at = join.on.exprs(port).iter().position(|expr| column(inside, expr) == Some(*id))?;
        let other = join.on.exprs(1 - port).get(at)?;
        // A value of another type has another key, if it is equal or not.
        let same = typed(outer_scan, column(outside, other)?)? == typed(inner_scan, *id)?;
        (same && join.on.null_safe.get(at) == Some(&false)).then(|| other.clone())
    });
    Some((key.collect::<Option<_>>()?, inside.fragment.clone()))
}

/// The column of the table that an expression over what owners give is.
fn column(source: &Source, expr: &Scalar) -> Option<ColumnId> {
    let Scalar::Column(at) = expr else { return None };
    let at = match &source.fragment.project {
        None => *at,
        Some(exprs) => match exprs.get(*at as usize)? {
            Scalar::Column(at) => *at,
            _ => return None,
        },
    };
    source.read.get(at as usize).copied()
}

/// What must be equal is sent beforehand, with the keys of records.
fn semi_join(join: &Join, left: &Source, right: &Source) -> Option<Followed> {
    if join.kind != JoinKind::Inner {
        return None;
    }
    let first = |source: &Source, port: usize| {
        let fragment = source.fragment.clone();
        let mut project = through(join.on.exprs(port), &fragment.project).ok()?;
        project.push(Scalar::Column(fragment.columns.len() as u32));
        Some(FragmentPlan { identity: true, project: Some(project), ..fragment })
    };
    let stop = |at: u32, source: &Source| {
        let (key, fragment) = (vec![Scalar::Column(at)], source.fragment.clone());
        Stop { key, stored: true, fragment }
    };
    let stops = vec![stop(0, left), stop(1, right)];
    let order = (2..2 + join.widths.iter().sum::<usize>() as u32).collect();
    let follow = Follow { stops, keep: None, order, condition: Some(condition(join)?) };
    Some((Way::SemiJoin, Some((follow, Some([first(left, 0)?, first(right, 1)?])))))
}

/// Whether it is all rows of a table that its conditions let through.
fn is_plain(source: &Source) -> bool {
    let Source { fragment, keys, index, join, .. } = source;
    let table = fragment.decode == Decode::Row && fragment.namespace() != PEERS;
    table && fragment.output == Output::Rows && keys.is_none() && index.is_none() && join.is_none()
}

/// What becomes of pairs: at first they are as they are.
fn pairs(width: usize) -> FragmentPlan {
    FragmentPlan {
        version: PLAN_VERSION,
        namespace: String::new(),
        locality_bits: 0,
        decode: Decode::Key,
        columns: (0..width as u32).collect(),
        identity: false,
        filter: None,
        project: None,
        output: Output::Rows,
        missing: Vec::new(),
    }
}
