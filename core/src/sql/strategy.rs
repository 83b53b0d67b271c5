//! How the rows of two tables of a join meet: the planner chooses, or `SET pontoon.join_strategy` does.
//!
//! Four of the strategies are PIER's (Huebsch et al., VLDB 2003, section 4.1).

use super::{
    ast::BinaryOp,
    cost::{Choice, Cost, Network, Pair, Weighed, choose, costs, gather, gather_both, lookups},
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
    data::{Nested, Type},
    exec::{
        exchange::{BUCKETS_MAX, Follow, Stop, Way},
        fragment::{Decode, FragmentPlan, Output},
        plan::{Join, JoinKind, Joined, MarkJoin, MarkKind, Op, Source},
        run::VALUES_MAX,
    },
    trust::Realm,
    wire::PLAN_VERSION,
};

/// Joins at peers one below the other: each waits for the one below with a part of the time that there is.
const CHAIN_MAX: usize = 4;
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
    let half = matches!(kind, JoinKind::Semi | JoinKind::Anti);
    let wanted = if half { schemas[0].clone() } else { schemas.concat() };
    let (pair, known) = estimator.pair(sides, kind, on, &wanted);
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

/// A side of a join: what brings its rows to the asker, and what leaves them at peers, where they can be sent on from; with
/// what each costs, for which a table's rows are where they are.
pub struct Reached {
    /// Its rows come to the asker.
    pub node: Node,
    /// What that costs.
    pub cost: Cost,
    /// Its rows stay at peers; and what that costs.
    pub there: Option<(Node, Cost)>,
}

impl From<Node> for Reached {
    fn from(node: Node) -> Reached {
        let plain = matches!(&node.op, Op::Source(source) if is_plain(source));
        let there = plain.then(|| (node.clone(), Cost::default()));
        Reached { node, cost: Cost::default(), there }
    }
}

impl Reached {
    /// The same with something done to its rows.
    pub fn map(self, change: &dyn Fn(Node) -> Result<Node, Error>) -> Result<Reached, Error> {
        let there = self.there.map(|(node, cost)| Ok::<_, Error>((change(node)?, cost))).transpose()?;
        let there = there.filter(|(node, _)| matches!(&node.op, Op::Source(source) if is_plain(source)));
        Ok(Reached { node: change(self.node)?, cost: self.cost, there })
    }
}

/// Brings two sides together, at the asker or at peers; `make` is the join of two nodes at the asker.
pub fn meet(
    sides: [Reached; 2],
    wanted: JoinStrategy,
    sizes: &Sizes,
    make: &dyn Fn(Node, Node) -> Result<Node, Error>,
) -> Result<Reached, Error> {
    let network = &sizes.network;
    let mut peers = None;
    if let [Some((left, a)), Some((right, b))] = [&sides[0].there, &sides[1].there] {
        let node = make(left.clone(), right.clone())?;
        peers = at_peers(node, wanted, sizes).map(|found| (found, a.beside(*b)));
    }
    let [left, right] = sides;
    let gathered = left.cost.beside(right.cost).then(gather_both(&sizes.pair, network));
    let mut here = make(left.node, right.node)?;
    here.ways = ways(Choice { strategy: JoinStrategy::Gather, side: 0 }, &sizes.pair, sizes);
    let Some((AtPeers { home, there }, before)) = peers else {
        return Ok(Reached { node: here, cost: gathered, there: None });
    };
    let total = |(node, cost): (Node, Cost)| (node, before.then(cost));
    let (home, there) = (home.map(total), there.map(total));
    let better = |cost: &Cost| wanted != JoinStrategy::Auto || network.time_us(cost) < network.time_us(&gathered);
    let (node, cost) = match home {
        Some((node, cost)) if better(&cost) => (node, cost),
        _ => (here, gathered),
    };
    Ok(Reached { node, cost, there })
}

/// A join as peers make it, where they may and where that may be of use: with rows that come home, and with rows that stay.
struct AtPeers {
    home: Option<(Node, Cost)>,
    there: Option<(Node, Cost)>,
}

/// The join as peers make it.
fn at_peers(node: Node, wanted: JoinStrategy, sizes: &Sizes) -> Option<AtPeers> {
    if wanted == JoinStrategy::Auto && !sizes.known {
        return None;
    }
    let [left, right] = &node.inputs[..] else { return None };
    let (Op::Source(a), Op::Source(b)) = (&left.op, &right.op) else { return None };
    let join = as_join(&node.op, left, right)?;
    let portable = |all: &[Scalar]| all.iter().all(Scalar::is_portable);
    let portable = portable(&join.on.left) && portable(&join.on.right) && portable(join.on.residual.as_slice());
    if !portable || join.on.left.is_empty() || depth(a).max(depth(b)) >= CHAIN_MAX {
        return None;
    }
    let fetches = [fetch(&join, 0, left, right), fetch(&join, 1, left, right)];
    let mut pair = sizes.pair;
    for (side, source) in [a, b].into_iter().enumerate() {
        let side = &mut pair.sides[side];
        (side.at_asker, side.made) = (false, source.join.is_some());
    }
    (0..2).for_each(|inner| pair.sides[inner].keyed = fetches[inner].is_some());
    let found = |pair: &Pair| {
        let network = sizes.network;
        let (choice, cost) = choose(wanted, pair, &network);
        let few = |outer: usize| few_matches(outer, [a, b], pair, &network);
        if wanted == JoinStrategy::Auto && (0..2).filter_map(few).any(|few| few <= network.time_us(&cost)) {
            return None;
        }
        let (way, follow) = match choice.strategy {
            JoinStrategy::SymmetricHash => (Way::Hash, None),
            JoinStrategy::Broadcast => (Way::Broadcast(choice.side as u8), None),
            JoinStrategy::Bloom => (bloom(choice.side, sizes), None),
            JoinStrategy::FetchMatches => fetches[1 - choice.side].clone()?,
            JoinStrategy::SemiJoin => semi_join(&join, a, b)?,
            JoinStrategy::Auto | JoinStrategy::Gather => return None,
        };
        let rows = pair.sides[0].rows + pair.sides[1].rows;
        let buckets =
            if sizes.known { (rows / BUCKET_ROWS).clamp(1.0, f64::from(BUCKETS_MAX)) as u16 } else { BUCKETS };
        let schemas = [left.schema.clone(), right.schema.clone()];
        let ways = ways(choice, pair, sizes);
        let joined = Joined { inputs: [a.clone(), b.clone()], schemas, join: join.clone(), way, buckets, follow, ways };
        Some((source(&node.schema, joined), cost))
    };
    // Rows that stay where they are found cost nothing on their way home.
    let there = found(&Pair { bytes: 0.0, ..pair });
    Some(AtPeers { home: found(&pair), there })
}

/// What the chosen way and all others cost, the chosen one first and of the others the cheapest; nothing, where nothing is known.
fn ways(chosen: Choice, pair: &Pair, sizes: &Sizes) -> Vec<Weighed> {
    if !sizes.known {
        return Vec::new();
    }
    let weighed = |(choice, cost)| Weighed { choice, cost, time_us: sizes.network.time_us(&cost) };
    let mut all: Vec<Weighed> = costs(pair, &sizes.network).into_iter().map(weighed).collect();
    let first = |way: &Weighed| way.choice != chosen;
    all.sort_by(|a, b| first(a).cmp(&first(b)).then(a.time_us.total_cmp(&b.time_us)));
    all
}

/// Joins that a join is made of, one below the other.
fn depth(source: &Source) -> usize {
    source.join.as_ref().map_or(0, |joined| 1 + joined.inputs.iter().map(depth).max().unwrap_or(0))
}

/// A source that is a join at peers.
fn source(schema: &[ColumnId], joined: Joined) -> Node {
    let [left, right] = &joined.inputs;
    let name = match joined.join.kind {
        JoinKind::Semi | JoinKind::Anti => left.name.clone(),
        _ => format!("{} with {}", left.name, right.name),
    };
    let mut fragment = pairs(schema.len());
    // What was fetched says that there is a match, and is not wanted any more.
    if joined.join.is_half() && joined.follow.is_some() {
        fragment.project = Some((0..schema.len() as u32).map(Scalar::Column).collect());
    }
    let source = Source {
        name,
        fragment,
        keys: None,
        index: None,
        read: schema.to_vec(),
        number: 0,
        after: None,
        scan: None,
        join: Some(Box::new(joined)),
    };
    Node::new(Op::Source(source), Vec::new(), schema.to_vec())
}

/// What the operator is as a join of two rows.
///
/// `x NOT IN` says no more than that nothing is equal to it where neither side can be NULL. Else a row stays only if no
/// comparison is true or unknown.
fn as_join(op: &Op, left: &Node, right: &Node) -> Option<Join> {
    let MarkJoin { kind, on, compare } = match op {
        Op::HashJoin(join) => return Some(join.clone()),
        Op::MarkJoin(join) => join,
        _ => return None,
    };
    let kind = match kind {
        MarkKind::Semi => JoinKind::Semi,
        MarkKind::Anti => JoinKind::Anti,
        MarkKind::Mark | MarkKind::Single(_) => return None,
    };
    let (mut on, widths) = (on.clone(), [left.schema.len(), right.schema.len()]);
    if let Some((operand, op, value)) = compare {
        let known = kind == JoinKind::Semi || never_null(left, operand) && never_null(right, value);
        if known && *op == BinaryOp::Eq {
            on.left.push(operand.clone());
            on.right.push(value.clone());
            on.null_safe.push(false);
        } else {
            let value = over_right(value, widths[0])?;
            let mut condition = Scalar::Binary(*op, Nested::new(operand.clone()), Nested::new(value));
            if !known {
                condition = Scalar::Not(Nested::new(Scalar::IsBool(Nested::new(condition), false)));
            }
            on.residual = Scalar::all(on.residual.into_iter().chain([condition]).collect());
        }
    }
    Some(Join { kind, on, widths })
}

/// An expression over the right row, over the joined one.
fn over_right(expr: &Scalar, width: usize) -> Option<Scalar> {
    expr.replace(&mut |at| Some(Scalar::Column(at + width as u32)))
}

/// Whether an expression over the rows of a table, or of tables that peers join, is never NULL.
fn never_null(node: &Node, expr: &Scalar) -> bool {
    let Op::Source(source) = &node.op else { return false };
    match expr {
        Scalar::Literal(value) => !value.is_null(),
        expr => column(source, expr).is_some_and(|id| has_values(source, id)),
    }
}

/// Whether a column is never NULL in the rows that a source gives.
fn has_values(source: &Source, id: ColumnId) -> bool {
    let of_table = |scan: &Scan| {
        let null = Scalar::Not(Nested::new(Scalar::IsNull(Nested::new(Scalar::Column(id)))));
        scan.primary_key.contains(&id) || scan.not_null.contains(&id) || scan.filter.contains(&null)
    };
    // In rows that have no match the columns of the other side are NULL.
    let within = |Joined { join, inputs, .. }: &Joined| {
        (0..2).any(|port| (join.is_half() || !join.preserves(1 - port)) && has_values(&inputs[port], id))
    };
    source.scan.as_deref().is_some_and(of_table) || source.join.as_deref().is_some_and(within)
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
    let mut all = Vec::new();
    for ((left, right), null_safe) in join.on.left.iter().zip(&join.on.right).zip(&join.on.null_safe) {
        let op = if *null_safe { BinaryOp::IsNotDistinct } else { BinaryOp::Eq };
        all.push(Scalar::Binary(op, Nested::new(left.clone()), Nested::new(over_right(right, width)?)));
    }
    all.extend(join.on.residual.clone());
    Scalar::all(all)
}

/// Rows of one side go to the owners of those of the inner one, where what must be equal is their whole key.
fn fetch(join: &Join, inner: usize, left: &Node, right: &Node) -> Option<Followed> {
    let [a, b] = join.widths.map(|width| width as u32);
    let ((key, fragment), order) = match (join.kind, inner) {
        (JoinKind::Inner | JoinKind::Left | JoinKind::Semi, 1) => {
            (keys_of(join, 1, left, right)?, (0..a + b).collect())
        }
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
    let inner_scan = inside.scan.as_ref()?;
    if inner_scan.primary_key.is_empty() || is_private(inside) {
        return None;
    }
    let key = inner_scan.primary_key.iter().map(|id| {
        let at = join.on.exprs(port).iter().position(|expr| column(inside, expr) == Some(*id))?;
        let other = join.on.exprs(1 - port).get(at)?;
        // A value of another type has another key, if it is equal or not.
        let same = typed(outside, column(outside, other)?)? == typed(inside, *id)?;
        (same && join.on.null_safe.get(at) == Some(&false)).then(|| other.clone())
    });
    Some((key.collect::<Option<_>>()?, inside.fragment.clone()))
}

/// The type of a column.
fn typed(source: &Source, id: ColumnId) -> Option<Type> {
    let of = |scan: &Scan| scan.columns.iter().find(|(other, ..)| *other == id).map(|(.., typed)| *typed);
    let within = |joined: &Joined| joined.inputs.iter().find_map(|input| typed(input, id));
    source.scan.as_deref().and_then(of).or_else(|| source.join.as_deref().and_then(within))
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
    let plain = |source: &Source| source.join.is_none() && !is_private(source);
    if join.kind != JoinKind::Inner || !plain(left) || !plain(right) {
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

/// Whether owners tell its rows only to who shows that it may read: rows that come by show nothing.
fn is_private(source: &Source) -> bool {
    Realm::private(source.fragment.namespace()).is_some()
}

/// Whether it is all rows of a table that its conditions let through, or all that peers find in a join.
fn is_plain(source: &Source) -> bool {
    let Source { fragment, keys, index, join, .. } = source;
    let table = fragment.decode == Decode::Row && fragment.namespace() != PEERS;
    (table || join.is_some()) && fragment.output == Output::Rows && keys.is_none() && index.is_none()
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
