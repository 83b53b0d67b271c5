//! Semi-join reduction: a table that is joined with few rows need not be read whole.
//!
//! ```text
//!   orders: WHERE id = 7  ──▶ the values of orders.customer ──▶ customers: IN (these values)  ──▶ join
//! ```
//!
//! A source *waits* for another one when a join drops its rows that match none of the other's, and the other's conditions
//! say more than its own. What the other one gave is then one more condition, and the source is planned again with it
//! ([`reduced`]): as gets by primary key, as entries of an index, or as a filter at the owners. Fetch-matches and
//! semi-join of PIER (Huebsch et al., VLDB 2003, section 4.1), with the asker as the one who matches.

use super::{
    access::index_scan,
    ast::BinaryOp,
    logical::{ColumnId, Scan},
    lookup::lookup_keys,
    physical::Node,
    scalar::Scalar,
    system::PEERS,
};
use crate::{
    data::{Nested, Value},
    exec::{
        fragment::Output,
        plan::{After, Join, JoinKind, MarkJoin, MarkKind, On, Op, Source, Walk},
    },
};

/// Values that owners compare with those of each record.
pub const FILTER_VALUES_MAX: usize = 100;

/// Makes sources wait for others where that is of use.
pub fn reduce(node: &mut Node) {
    number(node, &mut 0);
    joins(node);
    walks(node);
    forget(node);
}

/// What waits for nothing is not planned again.
fn forget(node: &mut Node) {
    if let Op::Source(source) = &mut node.op
        && source.after.is_none()
    {
        source.scan = None;
    }
    node.inputs.iter_mut().for_each(forget);
}

/// Gives every source its place in the flow.
fn number(node: &mut Node, next: &mut usize) {
    if let Op::Source(source) = &mut node.op {
        source.number = *next;
        *next += 1;
    }
    node.inputs.iter_mut().for_each(|input| number(input, next));
}

/// The joins of a plan, those of their inputs first.
fn joins(node: &mut Node) {
    node.inputs.iter_mut().for_each(joins);
    let (pairs, left_drops) = match &node.op {
        Op::HashJoin(Join { kind: JoinKind::Full, .. }) => return,
        Op::HashJoin(join) => (equal(&join.on), join.kind == JoinKind::Inner),
        Op::MarkJoin(MarkJoin { kind, on, compare }) => {
            let mut pairs = equal(on);
            // For a row that stays only if one is equal to it, what is not equal is as good as not there. For any other
            // answer a NULL among the values counts, too.
            if let (MarkKind::Semi, Some((Scalar::Column(a), BinaryOp::Eq, Scalar::Column(b)))) = (kind, compare) {
                pairs.push((*a, *b));
            }
            (pairs, *kind == MarkKind::Semi)
        }
        _ => return,
    };
    let [left, right] = &mut node.inputs[..] else { return };
    for (a, b) in pairs {
        let (Some(a), Some(b)) = (left.schema.get(a as usize), right.schema.get(b as usize)) else { continue };
        let (a, b) = (*a, *b);
        let (Some(from), Some(to)) = (origin(left, a), origin(right, b)) else { continue };
        if from.weight > to.weight {
            wait(right, b, &from);
        } else if left_drops && to.weight > from.weight {
            wait(left, a, &to);
        }
    }
}

/// A recursion that begins with few rows asks, in each iteration, for the rows of a table that match its own, if their key or an
/// index leads to these.
fn walks(node: &mut Node) {
    node.inputs.iter_mut().for_each(walks);
    let (Op::Recursive(recursion), Some(step)) = (&mut node.op, &node.step) else { return };
    if !node.inputs.first().is_some_and(is_few) {
        return;
    }
    for (column, port, theirs) in walked(step) {
        let (Some(input), Some(id)) = (node.inputs.get_mut(port), node.schema.get(column)) else { continue };
        let Op::Source(Source { number, .. }) = &input.op else { continue };
        // It waits for itself, as it were: for what comes of what it gives.
        let from = Origin { source: *number, column, id: *id, weight: 0 };
        wait(input, theirs, &from);
        let Op::Source(source) = &mut input.op else { continue };
        if source.after.is_some() {
            let few = reduced(source.clone(), vec![Value::Null]);
            if few.keys.is_some() || few.index.is_some() {
                recursion.walk = Some(Walk { port, column });
                return;
            }
            source.after = None;
        }
    }
}

/// Whether conditions say something of all rows that a node reads.
fn is_few(node: &Node) -> bool {
    match &node.op {
        Op::Source(source) => weight(source) > 0,
        _ => node.inputs.iter().all(is_few),
    }
}

/// Which columns of an iteration's rows must be equal to which column of another input: number, input, column. Of that input
/// no row that does not match has an effect.
fn walked(step: &Node) -> Vec<(usize, usize, ColumnId)> {
    let mut found: Vec<(usize, usize, ColumnId)> = step.inputs.iter().flat_map(walked).collect();
    if let (Op::HashJoin(join), [left, right]) = (&step.op, &step.inputs[..]) {
        for (a, b) in equal(&join.on) {
            let (Some(a), Some(b)) = (left.schema.get(a as usize), right.schema.get(b as usize)) else { continue };
            let pair = |(own, a): (&Node, ColumnId), (other, b): (&Node, ColumnId)| {
                let ((0, column, _), (port, _, theirs)) = (input(own, a)?, input(other, b)?) else { return None };
                (port > 0).then_some((column, port, theirs))
            };
            if join.kind != JoinKind::Full {
                found.extend(pair((left, *a), (right, *b)));
            }
            if join.kind == JoinKind::Inner {
                found.extend(pair((right, *b), (left, *a)));
            }
        }
    }
    found
}

/// The input of a recursion that a column comes from unchanged, and which of its columns it is there.
fn input(node: &Node, id: ColumnId) -> Option<(usize, usize, ColumnId)> {
    let at = node.schema.iter().position(|other| *other == id)?;
    match &node.op {
        Op::Input(port) => Some((*port as usize, at, id)),
        Op::Filter(_) => input(node.inputs.first()?, id),
        Op::Project(exprs) => match exprs.get(at)? {
            Scalar::Column(column) => {
                let below = node.inputs.first()?;
                input(below, *below.schema.get(*column as usize)?)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Columns of the left and the right row that must be equal, and not NULL.
fn equal(on: &On) -> Vec<(u32, u32)> {
    let pairs = on.left.iter().zip(&on.right).zip(&on.null_safe);
    pairs
        .filter_map(|pair| match pair {
            ((Scalar::Column(a), Scalar::Column(b)), false) => Some((*a, *b)),
            _ => None,
        })
        .collect()
}

/// Where a column comes from.
struct Origin {
    /// The number of the source.
    source: usize,
    /// Which of its columns.
    column: usize,
    id: ColumnId,
    /// How much its conditions say.
    weight: u8,
}

/// The source whose column it is, unchanged.
fn origin(node: &Node, id: ColumnId) -> Option<Origin> {
    let column = node.schema.iter().position(|other| *other == id)?;
    match &node.op {
        Op::Source(source) if matches!(source.fragment.output, Output::Groups(..)) => None,
        Op::Source(source) => Some(Origin { source: source.number, column, id, weight: weight(source) }),
        // What is grouped has other columns than it says where its owners do a part of that.
        Op::Aggregate { .. } | Op::Collect(..) => None,
        _ => node.inputs.iter().find_map(|input| origin(input, id)),
    }
}

/// How much conditions say of a source's rows, from nothing (0) to their keys.
pub(super) fn weight(source: &Source) -> u8 {
    let given = |conjunct: &Scalar| match conjunct {
        Scalar::Binary(BinaryOp::Eq, a, b) => {
            let pair = [&**a, &**b];
            pair.iter().any(|side| matches!(side, Scalar::Column(_)))
                && pair.iter().any(|side| matches!(side, Scalar::Literal(_)))
        }
        Scalar::In(a, list) => {
            matches!(&**a, Scalar::Column(_)) && list.iter().all(|item| matches!(&**item, Scalar::Literal(_)))
        }
        _ => false,
    };
    match source {
        // As much as what it waits for: so nobody waits for who waits for him.
        Source { after: Some(after), .. } => after.weight,
        Source { keys: Some(_), .. } => 3,
        Source { index: Some(_), .. } => 2,
        Source { scan: Some(scan), .. } => u8::from(scan.filter.iter().any(given)),
        Source { .. } => 0,
    }
}

/// Lets the source of a column wait, where a row of it that does not match has no effect on what `node` gives of others.
fn wait(node: &mut Node, id: ColumnId, from: &Origin) {
    let Some(at) = node.schema.iter().position(|other| *other == id) else { return };
    let inputs = match &mut node.op {
        Op::Source(source) => {
            let all = matches!(source.fragment.output, Output::Rows | Output::Distinct);
            // The column of the table that it is.
            let column = match &source.fragment.project {
                None => Some(at),
                Some(exprs) => match exprs.get(at) {
                    Some(Scalar::Column(column)) => Some(*column as usize),
                    _ => None,
                },
            };
            let equals = column.and_then(|column| source.read.get(column).copied());
            let records = source.fragment.of_system().is_none() && source.fragment.namespace() != PEERS;
            if let (Some(equals), true) = (equals, all && records && source.after.is_none() && source.scan.is_some()) {
                source.after = Some(After {
                    source: from.source,
                    column: from.column,
                    equals,
                    value: from.id,
                    weight: from.weight,
                });
            }
            return;
        }
        Op::Filter(_) | Op::Project(_) | Op::Distinct => 1,
        Op::HashJoin(join) => match join.kind {
            JoinKind::Inner => 2,
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti => 1,
            JoinKind::Full => 0,
        },
        Op::MarkJoin(_) => 1,
        _ => 0,
    };
    node.inputs.iter_mut().take(inputs).for_each(|input| wait(input, id, from));
}

/// The source with what it waited for: one of these values in the column. The same, where they are too many for that.
pub fn reduced(source: Source, values: Vec<Value>) -> Source {
    let Source { after: Some(After { equals, .. }), scan: Some(scan), .. } = &source else { return source };
    let count = values.len();
    let mut scan: Scan = (**scan).clone();
    let literals = values.into_iter().map(|value| Nested::new(Scalar::Literal(value))).collect();
    scan.filter.push(Scalar::In(Nested::new(Scalar::Column(*equals)), literals));
    let keys = lookup_keys(&scan);
    let index = if keys.is_none() { index_scan(&scan) } else { None };
    if keys.is_none() && index.is_none() && count > FILTER_VALUES_MAX {
        return source;
    }
    let read: Vec<ColumnId> = scan.columns.iter().map(|(id, ..)| *id).collect();
    let portable = scan.filter.iter().all(Scalar::is_portable);
    let Some(filter) = Scalar::all(scan.filter).filter(|_| portable).and_then(|filter| filter.remap(&read)) else {
        return source;
    };
    let mut source = source;
    source.fragment.filter = Some(filter);
    Source { keys, index: index.map(Box::new), after: None, ..source }
}
