//! How the rows of two tables of a join meet: the planner chooses, or `SET pontoon.join_strategy` does.
//!
//! Four of the strategies are PIER's (Huebsch et al., VLDB 2003, section 4.1).

use super::{
    fault::{INVALID_ARGUMENT, fail},
    physical::Node,
    scalar::Scalar,
    system::PEERS,
};
use crate::{
    Error,
    exec::{
        exchange::Way,
        fragment::{Decode, FragmentPlan, Output},
        plan::{JoinKind, Joined, Op, Source},
    },
    wire::PLAN_VERSION,
};

/// Places at which the rows of a join meet, if there are so many peers.
const BUCKETS: u16 = 64;
/// Bytes of the Bloom filter of a side's keys.
const FILTER_BYTES: u32 = 8 * 1_024;

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

/// Lets peers make a join, where both sides are plain rows of tables and the strategy is one of theirs.
pub fn distribute(mut node: Node, strategy: JoinStrategy) -> Node {
    let Op::HashJoin(join) = &node.op else { return node };
    let portable = |all: &[Scalar]| all.iter().all(Scalar::is_portable);
    let portable = portable(&join.on.left) && portable(&join.on.right) && portable(join.on.residual.as_slice());
    let way = way(strategy, join.kind).filter(|_| portable && !join.on.left.is_empty());
    let Some(way) = way else { return node };
    match &node.inputs[..] {
        [Node { op: Op::Source(left), .. }, Node { op: Op::Source(right), .. }]
            if is_plain(left) && is_plain(right) =>
        {
            let inputs = [left.clone(), right.clone()];
            let joined = Joined { inputs, join: join.clone(), way, buckets: BUCKETS };
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
            node
        }
        _ => node,
    }
}

/// How peers go about it; `None` where the strategy is not for this join.
fn way(strategy: JoinStrategy, kind: JoinKind) -> Option<Way> {
    match (strategy, kind) {
        (JoinStrategy::SymmetricHash, _) => Some(Way::Hash),
        // Rows of a side that is preserved are needed whether they match or not.
        (JoinStrategy::Bloom, JoinKind::Inner) => Some(Way::Bloom(1, FILTER_BYTES)),
        (JoinStrategy::Bloom, JoinKind::Left) => Some(Way::Bloom(0, FILTER_BYTES)),
        (JoinStrategy::Broadcast, JoinKind::Inner | JoinKind::Left) => Some(Way::Broadcast(1)),
        _ => None,
    }
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
