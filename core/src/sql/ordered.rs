//! The first rows of an order, and the least and greatest values, by an index.
//!
//! The entries of an index stand in the order of its columns, so `ORDER BY a, b LIMIT k` reads them from one end until k
//! rows are known to come before everything that is not read yet. An index serves that whose columns are, from the first
//! on: some that conditions give one value each, then those of the order, all as they stand or all turned round. It need
//! not have all of these: where it has no more, rows of equal values are read on to the last of them and put in order.
//! NULL is above every value; an order that has it at the other end reads the entries of NULLs by themselves, before the
//! others or after them.
//!
//! `min(a)` is the first row of that order where `a` is no NULL, and `max(a)` that of the other direction.

use super::{
    access::{bounds, columns_given, entries},
    ast::SetOp,
    index::{Index, KeyRange, beginning, encode, range},
    logical::{ColumnId, Logical, Scan},
    lookup::{lookup_keys, pinned},
    physical::{Lowering, Node},
    scalar::Scalar,
};
use crate::{
    Error,
    data::{Nested, Type, Value},
    exec::{
        ops::{
            aggregate::{AggregateCall, AggregateFunction, Mode},
            sort::SortKey,
        },
        plan::{Call, IndexOrder, IndexScan, Op},
    },
};

/// First rows that are read by an index: more of them are found by a scan.
const FIRST_MAX: u64 = 1_000;
/// Values that are looked for by indexes in one statement's aggregation; more of them are found by one scan.
const EXTREMES_MAX: usize = 4;

/// A way to the first rows of an order.
#[derive(Clone, Debug)]
pub struct Way {
    scan: IndexScan,
    order: IndexOrder,
    /// How many columns have values by conditions, and how many of the order's the index has.
    given: (usize, usize),
}

impl Way {
    /// Takes the place of what would be read of an index, where the keys of the order are at these positions of the row.
    pub fn replace(mut self, index: &mut Option<Box<IndexScan>>, keys: &[SortKey]) {
        for (column, _) in &mut self.order.columns {
            let Some(key) = keys.get(*column as usize) else { return };
            *column = key.column;
        }
        self.order.otherwise = index.take();
        self.scan.order = Some(self.order);
        *index = Some(Box::new(self.scan));
    }
}

/// The best way to the first rows of a plan in an order, if there is one.
pub fn way(plan: &Logical, keys: &[SortKey], first: u64) -> Option<Way> {
    let (scan, columns) = under(plan)?;
    let stored = |id: ColumnId| columns.iter().find(|(other, _)| *other == id).map(|(_, column)| *column);
    let keys: Vec<SortKey> =
        keys.iter().map_while(|key| Some(SortKey { column: stored(key.column)?, ..*key })).collect();
    let portable = scan.filter.iter().all(Scalar::is_portable);
    if first == 0 || first > FIRST_MAX || keys.is_empty() || !portable || lookup_keys(scan).is_some() {
        return None;
    }
    let ways = scan.indexes.iter().filter(|index| index.ready).filter_map(|index| serves(scan, index, &keys));
    let mut way = ways.max_by_key(|way| way.given).filter(|way| way.given.0 >= columns_given(scan))?;
    way.order.first = first;
    // Where a row has nothing but these, which of several equal ones it is makes no difference.
    let known = |id: ColumnId| match stored(id) {
        Some(column) => {
            let read = |(at, _): &(u32, bool)| keys.get(*at as usize).is_some_and(|key| key.column == column);
            way.order.columns.iter().any(read) || one_value(scan, column).is_some()
        }
        None => false,
    };
    way.order.ties = !plan.schema().into_iter().all(known);
    Some(way)
}

/// The scan that a plan shows columns of, and which column of it each one is.
fn under(plan: &Logical) -> Option<(&Scan, Vec<(ColumnId, ColumnId)>)> {
    match plan {
        Logical::Scan(scan) => Some((scan, scan.output.iter().map(|id| (*id, *id)).collect())),
        Logical::Project { input, exprs } => {
            let (scan, below) = under(input)?;
            let stored = |(id, scalar): &(ColumnId, Scalar)| match scalar {
                Scalar::Column(source) => below.iter().find(|(other, _)| other == source).map(|(_, at)| (*id, *at)),
                _ => None,
            };
            Some((scan, exprs.iter().filter_map(stored).collect()))
        }
        _ => None,
    }
}

fn type_of(scan: &Scan, id: ColumnId) -> Option<Type> {
    scan.columns.iter().find(|(other, ..)| *other == id).map(|(.., data_type)| *data_type)
}

/// The only value that conditions leave to a column.
fn one_value(scan: &Scan, id: ColumnId) -> Option<Value> {
    let data_type = type_of(scan, id)?;
    let mut values = scan.filter.iter().find_map(|conjunct| pinned(conjunct, id, data_type))?;
    values.pop().filter(|_| values.is_empty())
}

/// What an index has of an order: the way's columns are numbers of keys.
fn serves(scan: &Scan, index: &Index, keys: &[SortKey]) -> Option<Way> {
    let column = |slot: u32| scan.columns.iter().find(|(_, other, _)| *other == slot).map(|(id, ..)| *id);
    let (mut begin, mut given) = (Vec::new(), 0);
    for (slot, descending) in &index.columns {
        let Some(value) = column(*slot).and_then(|id| one_value(scan, id)) else { break };
        begin.extend(encode(&value, *descending));
        given += 1;
    }
    // What has one value puts nothing in order.
    let keys = keys.iter().enumerate().filter(|(_, key)| one_value(scan, key.column).is_none());
    let (mut columns, mut backwards, mut nulls) = (Vec::new(), None, None);
    for ((number, key), (slot, descending)) in keys.zip(index.columns.iter().skip(given)) {
        let turned = key.descending != *descending;
        if column(*slot) != Some(key.column) || backwards.is_some_and(|backwards| backwards != turned) {
            break;
        }
        let elsewhere = key.nulls_first != key.descending && !is_never_null(scan, key.column);
        if elsewhere && !columns.is_empty() {
            break;
        }
        if columns.is_empty() {
            nulls = elsewhere.then_some(key.nulls_first);
        }
        backwards = Some(turned);
        columns.push((number as u32, *descending));
    }
    let (backwards, (slot, descending)) = (backwards?, index.columns.get(given)?);
    let id = column(*slot)?;
    let null = encode(&Value::Null, false);
    let values = match bounds(&scan.filter, id, type_of(scan, id)?) {
        None if is_never_null(scan, id) || nulls.is_some() => Some((Vec::new(), null)),
        bounds => bounds,
    };
    let values: KeyRange = match values {
        Some((low, high)) => range(&begin, low, high, *descending),
        None => beginning(begin.clone()),
    };
    let of_nulls = || beginning([&begin[..], &encode(&Value::Null, *descending)].concat());
    let ranges = match nulls {
        None => vec![values],
        Some(true) => vec![of_nulls(), values],
        Some(false) => vec![values, of_nulls()],
    };
    let given = (given, columns.len());
    let order = IndexOrder { first: 0, backwards, begin, columns, ties: true, otherwise: None };
    Some(Way { scan: entries(scan, index, ranges)?, order, given })
}

/// Whether rows that fulfil the conditions have a value there.
fn is_never_null(scan: &Scan, id: ColumnId) -> bool {
    let says = |conjunct: &Scalar| matches!(conjunct, Scalar::Not(inner) if **inner == is_null(id));
    scan.primary_key.contains(&id)
        || scan.filter.iter().any(says)
        || type_of(scan, id).is_some_and(|data_type| bounds(&scan.filter, id, data_type).is_some())
}

fn is_null(id: ColumnId) -> Scalar {
    Scalar::IsNull(Nested::new(Scalar::Column(id)))
}

/// A call as what the first row of an order has: that row, and the function.
type Extreme = (Logical, AggregateFunction);

/// What the calls of an aggregation without keys are the first rows of, if indexes have all of them.
pub fn extremes(input: &Logical, keys: &[(ColumnId, Scalar)], calls: &[(ColumnId, Call)]) -> Option<Vec<Extreme>> {
    if !keys.is_empty() || calls.is_empty() || calls.len() > EXTREMES_MAX {
        return None;
    }
    let (scan, columns) = under(input)?;
    let extreme = |(_, call): &(ColumnId, Call)| {
        let Call::Basic(AggregateCall { function, arg: Some(Scalar::Column(id)), .. }) = call else { return None };
        let descending = match function {
            AggregateFunction::Min => false,
            AggregateFunction::Max => true,
            _ => return None,
        };
        let column = columns.iter().find(|(other, _)| other == id).map(|(_, column)| *column)?;
        let mut scan = scan.clone();
        if !is_never_null(&scan, column) {
            scan.filter.push(Scalar::Not(Nested::new(is_null(column))));
        }
        let read = |id: &ColumnId| *id == column || scan.filter.iter().any(|conjunct| conjunct.columns().contains(id));
        let columns = scan.columns.iter().filter(|(id, ..)| read(id)).copied().collect();
        (scan.columns, scan.output) = (columns, vec![column]);
        let keys = vec![SortKey { column, descending, nulls_first: descending }];
        let input = Logical::Scan(scan);
        way(&input, &keys, 1)?;
        let sorted = Logical::Sort { input: Box::new(input), keys };
        Some((Logical::Limit { input: Box::new(sorted), skip: 0, count: Some(1) }, *function))
    };
    calls.iter().map(extreme).collect()
}

impl Lowering<'_> {
    /// The aggregation over first rows: where there are several, each has its own column.
    pub(super) fn extremes(&mut self, extremes: Vec<Extreme>, schema: Vec<ColumnId>) -> Result<Node, Error> {
        let (width, mut rows, mut calls) = (extremes.len(), None, Vec::with_capacity(extremes.len()));
        for (at, (plan, function)) in extremes.into_iter().enumerate() {
            let own = |place: usize| if place == at { Scalar::Column(0) } else { Scalar::Literal(Value::Null) };
            let mut node = self.lower(plan)?;
            if width > 1 {
                node = Node::new(Op::Project((0..width).map(own).collect()), vec![node], schema.clone());
            }
            rows = Some(match rows {
                None => node,
                Some(others) => Node::new(Op::Set(SetOp::Union, true), vec![others, node], schema.clone()),
            });
            calls.push(AggregateCall { function, arg: Some(Scalar::Column(at as u32)), distinct: false });
        }
        let op = Op::Aggregate { keys: Vec::new(), calls, mode: Mode::Complete };
        Ok(Node::new(op, rows.into_iter().collect(), schema))
    }
}
