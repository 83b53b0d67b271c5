//! Joins as the cost model sees them: what is expected of both sides, and of what they give together.

use super::{
    cost::{Network, Pair, Side},
    estimate::{Estimate, Estimator},
    logical::{ColumnId, Logical},
    scalar::Scalar,
    selectivity::column_of,
};
use crate::exec::plan::JoinKind;

impl Estimator<'_> {
    /// Two sides of a join, of whose columns `wanted` are read above it. And whether something is known of both.
    pub fn pair(&mut self, sides: [&Logical; 2], kind: JoinKind, on: &[Scalar], wanted: &[ColumnId]) -> (Pair, bool) {
        let half = matches!(kind, JoinKind::Semi | JoinKind::Anti);
        let preserved = [!matches!(kind, JoinKind::Inner | JoinKind::Semi), kind == JoinKind::Full];
        let [left, right] = sides.map(|side| self.of(side));
        let (equations, _) = left.equations(&right, on);
        let keys = |side: usize| -> Vec<&Scalar> { equations.iter().map(|pair| pair[side]).collect() };
        let side = |at: usize, own: &Estimate<'_>, other: &Estimate<'_>| {
            let (plan, keys) = (sides[at], keys(at));
            let columns: Vec<ColumnId> = keys.iter().filter_map(|key| column_of(key)).collect();
            let mut read = plan.schema();
            read.retain(|id| wanted.contains(id) || keys.iter().any(|key| key.columns().contains(id)));
            Side {
                rows: own.rows,
                bytes: own.bytes(&read),
                key_bytes: own.bytes(&columns),
                matching: own.matching(other, on),
                keyed: key_of(plan).is_some_and(|key| key.iter().all(|id| columns.contains(id))),
                preserved: preserved[at],
                at_asker: key_of(plan).is_none(),
                made: false,
            }
        };
        let sides = [side(0, &left, &right), side(1, &right, &left)];
        let together = left.joined(&right, on);
        let alone: f64 = sides.iter().filter(|side| side.preserved).map(|side| side.rows * (1.0 - side.matching)).sum();
        let rows = match kind {
            JoinKind::Semi => sides[0].rows * sides[0].matching,
            JoinKind::Anti => alone,
            _ => together.rows + alone,
        };
        let equations = !equations.is_empty();
        let pair = Pair { sides, rows, bytes: together.bytes(wanted), equations, half };
        (pair, left.known && right.known)
    }

    /// The network as it was met last.
    pub fn network(&self) -> Network {
        let known = self.statistics().peers();
        known.map_or_else(Network::default, |peers| Network { peers: peers as f64, ..Network::default() })
    }
}

/// The primary key of the table whose rows these are, where owners can make them; a key without columns is none that
/// anything could be got by.
fn key_of(plan: &Logical) -> Option<Vec<ColumnId>> {
    match plan {
        Logical::Scan(scan) => Some(match &scan.primary_key[..] {
            [] => vec![ColumnId::MAX],
            key => key.to_vec(),
        }),
        Logical::Filter { input, .. } => key_of(input),
        Logical::Project { input, exprs } => {
            // Under the names that the projection gives.
            let renamed = |id: &ColumnId| {
                let same = exprs.iter().find(|(_, scalar)| *scalar == Scalar::Column(*id));
                same.map_or(ColumnId::MAX, |(id, _)| *id)
            };
            Some(key_of(input)?.iter().map(renamed).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Id,
        data::{Nested, Type, Value},
        exec::fragment::Decode,
        sql::{
            ast::BinaryOp,
            cost::choose,
            logical::Scan,
            statistics::{ColumnStatistics, Statistics, TableStatistics},
            strategy::JoinStrategy,
        },
        store::Version,
    };

    /// A table `name` with columns `first` (its key) and the next one.
    fn scan(name: &str, first: ColumnId) -> Logical {
        let columns = vec![(first, 0, Type::Integer), (first + 1, 1, Type::Text)];
        Logical::Scan(Scan {
            name: name.to_owned(),
            namespace: name.to_owned(),
            locality_bits: 0,
            decode: Decode::Row,
            output: columns.iter().map(|(id, ..)| *id).collect(),
            columns,
            primary_key: vec![first],
            filter: Vec::new(),
            missing: Vec::new(),
            indexes: Vec::new(),
            table: Some((name.to_owned(), Version { wall_us: 0, counter: 0, author: Id::ZERO })),
            identity: Vec::new(),
            not_null: Vec::new(),
        })
    }

    /// What is known of a table of so many rows, whose second column has so many different texts.
    fn known(statistics: &mut Statistics, name: &str, rows: u64, distinct: u64) {
        let column = |slot, distinct, bytes| ColumnStatistics {
            slot,
            name: String::new(),
            nulls: 0,
            bytes: rows * bytes,
            distinct,
            min: None,
            max: None,
            common: Vec::new(),
        };
        let (table, namespace, at_us) = (name.to_owned(), name.to_owned(), 0);
        let columns = vec![column(0, rows, 8), column(1, distinct, 100)];
        statistics.learn(name, Some(TableStatistics { table, namespace, at_us, rows, columns }), 0);
    }

    fn equation(a: ColumnId, b: ColumnId) -> Vec<Scalar> {
        let [a, b] = [a, b].map(|id| Nested::new(Scalar::Column(id)));
        vec![Scalar::Binary(BinaryOp::Eq, a, b)]
    }

    #[test]
    fn a_pair_is_measured_by_statistics() {
        let mut statistics = Statistics::default();
        let (big, small) = (scan("big", 0), scan("small", 10));
        assert!(!Estimator::new(&statistics).pair([&big, &small], JoinKind::Inner, &equation(1, 11), &[0]).1);
        known(&mut statistics, "big", 100_000, 1_000);
        known(&mut statistics, "small", 50, 10);
        let mut estimator = Estimator::new(&statistics);
        let pair = estimator.pair([&big, &small], JoinKind::Inner, &equation(1, 11), &[0]).0;
        // Every text of the small one is one of the thousand.
        assert!((pair.rows - 100_000.0 * 50.0 / 1_000.0).abs() < 1.0, "{pair:?}");
        assert!((pair.sides[0].matching - 0.01).abs() < 1e-9 && pair.sides[1].matching == 1.0, "{pair:?}");
        assert_eq!((pair.bytes, pair.sides[0].bytes, pair.sides[1].bytes), (8.0, 108.0, 100.0));
        assert_eq!((pair.sides[0].keyed, pair.sides[0].at_asker), (false, false));
        assert_eq!(choose(JoinStrategy::Auto, &pair, &estimator.network()).0.strategy, JoinStrategy::Broadcast);
        // By the key of the big one, whose rows need not all be met.
        let by_key = estimator.pair([&small, &big], JoinKind::Left, &equation(10, 0), &[11, 1]).0;
        assert!(by_key.sides[1].keyed && by_key.sides[0].keyed && by_key.sides[0].preserved, "{by_key:?}");
        assert_eq!(by_key.rows, 50.0);
        // What is joined already is at the asker.
        let (left, right) = (Box::new(big.clone()), Box::new(small));
        let both = Logical::Join { left, right, kind: JoinKind::Inner, on: equation(1, 11) };
        let three = estimator.pair([&both, &scan("big", 20)], JoinKind::Inner, &equation(0, 20), &[21]).0;
        assert_eq!((three.sides[0].at_asker, three.sides[1].at_asker), (true, false));
    }

    #[test]
    fn names_of_a_projection_are_seen_through() {
        let mut statistics = Statistics::default();
        known(&mut statistics, "t", 1_000, 100);
        let exprs = vec![(7, Scalar::Column(0)), (8, Scalar::Literal(Value::Integer(1)))];
        let project = Logical::Project { input: Box::new(scan("t", 0)), exprs };
        let mut estimator = Estimator::new(&statistics);
        let pair = estimator.pair([&scan("t", 20), &project], JoinKind::Inner, &equation(20, 7), &[21]).0;
        assert!(pair.sides[1].keyed && (pair.rows - 1_000.0).abs() < 1.0, "{pair:?}");
        let pair = estimator.pair([&scan("t", 20), &project], JoinKind::Inner, &equation(20, 8), &[21]).0;
        assert!(!pair.sides[1].keyed);
    }
}
