//! The part of a flow that follows changes row by row.
//!
//! ```text
//!   changes of sources ──▶ filter, project ──▶ inner join ──▶ groups ──▶ rows kept ──┐
//!                              row by row    both sides kept  rows kept              ├──▶ the rest, run anew ──▶ result
//!   changes of sources ──────────────────────────────────────────────▶ rows kept ──┘
//!
//!                                                             .. ──▶ a list in order ([`Listed`]) ──▶ what moved in it
//! ```
//!
//! Filters, projections and joins are (bi)linear: what a change of their inputs changes of their output is found from the
//! change and, of a join, the other side (Budiu et al., *DBSP*, VLDB 2023, section 3). Of groups those are computed anew, from
//! the rows that are kept of them, that a row came to or went from, so any aggregate will do. From the first operator on that
//! is none of these (a window, an outer join, ..) a flow is run anew over what comes to it, which behind groups is little;
//! unless all that is left is to put rows in order, cut and project them.

use super::{
    dataflow::{Dataflow, RESULT_ROWS_MAX},
    eval::truth,
    listed::Listed,
    ops::{
        Batch, Operator,
        aggregate::{Aggregate, Mode},
        collect::Collect,
        filter::Filter,
        project::{Project, project},
    },
    plan::{Flow, Join, JoinKind, Op, Source},
};
use crate::{
    Error,
    data::{Row, SignedRow, codec, order::Key},
    map::{LargeMap, Set},
    sql::{
        fault::{BUDGET, INTERNAL, fail},
        scalar::Scalar,
    },
};

/// Rows that all operators hold, and that one gives in one step.
pub(super) const HELD_MAX: usize = 4 * RESULT_ROWS_MAX;

/// Rows with their weights, by their encoding.
#[derive(Default)]
struct Rows(LargeMap<Vec<u8>, SignedRow>);

impl Rows {
    /// Adds a weight to that of a row.
    fn add(&mut self, signed: &SignedRow) {
        let key = codec::encode_row(&signed.row);
        let held = self.0.get_or_insert_with(key.clone(), || SignedRow { weight: 0, ..signed.clone() });
        held.weight = held.weight.saturating_add(signed.weight);
        if held.weight == 0 {
            self.0.remove(&key);
        }
    }
}

/// A group: its rows, and what they give.
#[derive(Default)]
struct Group {
    rows: Rows,
    gives: Vec<SignedRow>,
}

/// What an operator does with changes.
enum What {
    /// Hands on those of a source.
    Source(usize),
    Filter(Scalar),
    Project(Vec<Scalar>),
    Join(Box<Join>, [LargeMap<Key, Rows>; 2]),
    Groups(Box<Op>, LargeMap<Key, Group>),
}

struct Node {
    what: What,
    inputs: Vec<usize>,
    /// What changed of its output in this step.
    out: Vec<SignedRow>,
    /// Its output, where the rest begins.
    bound: Option<Rows>,
}

/// See the module's documentation.
pub struct Incremental {
    /// Each behind its inputs.
    nodes: Vec<Node>,
    rest: Flow,
    /// Which node each source of the rest is.
    bounds: Vec<usize>,
    /// The rest, where it is a list.
    listed: Option<Listed>,
}

/// What a step gives.
pub enum Stepped {
    /// The whole result.
    Rows(Vec<Row>),
    /// The rows that came and went, of a result that is a list: it takes them in.
    Changes(Vec<SignedRow>),
}

/// A part of a flow.
enum Part {
    /// It follows changes: the node.
    Node(usize),
    /// It is run anew.
    Rest(Vec<Op>),
}

impl Incremental {
    /// Divides a flow, none of whose sources has rows yet.
    pub fn new(flow: Flow) -> Result<Incremental, Error> {
        let mut made = Incremental { nodes: Vec::new(), rest: Flow::default(), bounds: Vec::new(), listed: None };
        let (mut parts, mut shared): (Vec<Part>, Vec<Op>) = (Vec::new(), Vec::new());
        let (mut sources, mut example) = (0, None);
        for op in flow.0 {
            let Some(first) = parts.len().checked_sub(op.inputs()) else { return unfit() };
            let inputs: Vec<Part> = parts.drain(first..).collect();
            let follows = || inputs.iter().all(|part| matches!(part, Part::Node(_)));
            let what = match &op {
                Op::Source(source) => {
                    example.get_or_insert_with(|| source.clone());
                    sources += 1;
                    Some(What::Source(sources - 1))
                }
                Op::Filter(condition) if follows() => Some(What::Filter(condition.clone())),
                Op::Project(exprs) if follows() => Some(What::Project(exprs.clone())),
                Op::HashJoin(join) if follows() && join.kind == JoinKind::Inner => {
                    Some(What::Join(Box::new(join.clone()), Default::default()))
                }
                Op::Aggregate { keys, mode: Mode::Complete, .. } | Op::Collect(keys, _)
                    if follows() && !keys.is_empty() =>
                {
                    Some(What::Groups(Box::new(op.clone()), LargeMap::default()))
                }
                _ => None,
            };
            if let Some(what) = what {
                let node = |part: &Part| if let Part::Node(node) = part { Some(*node) } else { None };
                let inputs = inputs.iter().filter_map(node).collect();
                parts.push(Part::Node(made.nodes.len()));
                made.nodes.push(Node { what, inputs, out: Vec::new(), bound: None });
                continue;
            }
            let mut ops = Vec::new();
            for part in inputs {
                ops.extend(made.run_anew(part, example.as_ref())?);
            }
            let shares = matches!(op, Op::Share(..));
            ops.push(op);
            // What is shared stands before all that recalls it.
            if shares { shared.extend(ops) } else { parts.push(Part::Rest(ops)) }
        }
        let (Some(last), true) = (parts.pop(), parts.is_empty()) else { return unfit() };
        let last = made.run_anew(last, example.as_ref())?;
        made.rest = Flow(shared.into_iter().chain(last).collect());
        let number = |op: &Op| if let Op::Source(source) = op { Some(source.number) } else { None };
        made.bounds = made.rest.0.iter().filter_map(number).collect();
        made.listed = Listed::of(&made.rest.0);
        Ok(made)
    }

    /// A part as one that is run anew; one that follows changes is a source of it.
    fn run_anew(&mut self, part: Part, example: Option<&Source>) -> Result<Vec<Op>, Error> {
        match (part, example) {
            (Part::Rest(ops), _) => Ok(ops),
            (Part::Node(node), Some(source)) => {
                self.nodes[node].bound = Some(Rows::default());
                Ok(vec![Op::Source(Source { number: node, ..source.clone() })])
            }
            (Part::Node(_), None) => unfit(),
        }
    }

    /// The list that the result is, if it is one.
    pub fn list(&self) -> Option<&Listed> {
        self.listed.as_ref()
    }

    /// The same, to take in what a step gave.
    pub fn list_mut(&mut self) -> Option<&mut Listed> {
        self.listed.as_mut()
    }

    /// What changes of the sources make.
    pub fn step(&mut self, mut changes: Vec<Vec<SignedRow>>) -> Result<Stepped, Error> {
        for at in 0..self.nodes.len() {
            let inputs: Vec<Vec<SignedRow>> = self.nodes[at]
                .inputs
                .clone()
                .into_iter()
                .map(|input| core::mem::take(&mut self.nodes[input].out))
                .collect();
            let node = &mut self.nodes[at];
            node.out = match &mut node.what {
                What::Source(source) => changes.get_mut(*source).map(core::mem::take).unwrap_or_default(),
                What::Filter(condition) => through(&mut Filter::new(condition.clone()), inputs, false)?,
                What::Project(exprs) => through(&mut Project::new(exprs.clone()), inputs, false)?,
                What::Join(join, sides) => pairs(join, sides, &inputs)?,
                What::Groups(op, groups) => regroup(op, groups, &inputs)?,
            };
            if node.out.len() > HELD_MAX {
                return fail(BUDGET, format!("a live query whose join gives more than {HELD_MAX} rows"));
            }
            if let Some(bound) = &mut node.bound {
                node.out.drain(..).for_each(|signed| bound.add(&signed));
            }
        }
        let listed = self.listed.as_ref().map_or(0, Listed::held);
        if self.nodes.iter().map(Node::held).sum::<usize>() + listed > HELD_MAX {
            return fail(BUDGET, format!("a live query that holds more than {HELD_MAX} rows"));
        }
        // What is a list keeps its rows itself.
        if let (Some(_), Some(node)) = (&self.listed, self.bounds.first()) {
            let changes = self.nodes[*node].bound.as_mut().map(core::mem::take).unwrap_or_default();
            return Ok(Stepped::Changes(changes.0.into_iter().map(|(_, signed)| signed).collect()));
        }
        let mut rest = Dataflow::new(self.rest.clone())?;
        for (source, node) in self.bounds.iter().enumerate() {
            let mut batch = Batch::default();
            if let Some(bound) = &self.nodes[*node].bound {
                let all = bound.0.values().fold(0_i64, |sum, signed| sum.saturating_add(signed.weight));
                if all > HELD_MAX as i64 {
                    return fail(BUDGET, format!("a live query that holds more than {HELD_MAX} rows"));
                }
                // Not every operator knows weights: each as often as it is there.
                for SignedRow { row, weight } in bound.0.values() {
                    (0..*weight).for_each(|_| batch.push(row.clone(), 1));
                }
            }
            rest.feed(source, batch)?;
            rest.end(source, true)?;
        }
        rest.into_rows().map(Stepped::Rows)
    }
}

impl Node {
    /// How many rows it holds.
    fn held(&self) -> usize {
        let own: usize = match &self.what {
            What::Join(_, sides) => sides.iter().flat_map(LargeMap::values).map(|rows| rows.0.len()).sum(),
            What::Groups(_, groups) => groups.values().map(|group| group.rows.0.len()).sum(),
            _ => 0,
        };
        own + self.bound.as_ref().map_or(0, |bound| bound.0.len())
    }
}

/// What an operator makes of its inputs.
fn through(operator: &mut dyn Operator, inputs: Vec<Vec<SignedRow>>, ends: bool) -> Result<Vec<SignedRow>, Error> {
    let mut out = Batch::default();
    for rows in inputs {
        let mut batch = Batch::default();
        batch.rows = rows;
        operator.on_batch(0, batch, &mut out)?;
    }
    if ends {
        operator.on_end(0, &mut out)?;
    }
    Ok(out.by_row().rows)
}

/// The pairs that come and go: changes of the left side with the right one as it was, then changes of the right side with
/// the left one as it is.
fn pairs(
    join: &Join,
    sides: &mut [LargeMap<Key, Rows>; 2],
    inputs: &[Vec<SignedRow>],
) -> Result<Vec<SignedRow>, Error> {
    let mut out = Vec::new();
    for (port, changes) in inputs.iter().enumerate().take(2) {
        let exprs = if port == 0 { &join.on.left } else { &join.on.right };
        for change in changes {
            let key = project(exprs, &change.row)?;
            if join.on.matches_nothing(&key) {
                continue;
            }
            let key = Key(key);
            for other in sides[1 - port].get(&key).into_iter().flat_map(|rows| rows.0.values()) {
                let (left, right) = if port == 0 { (change, other) } else { (other, change) };
                let row = [&left.row[..], &right.row].concat();
                let matches = match &join.on.residual {
                    Some(residual) => truth(residual, &row)? == Some(true),
                    None => true,
                };
                if matches {
                    out.push(SignedRow { row, weight: left.weight.saturating_mul(right.weight) });
                }
            }
            if out.len() > HELD_MAX {
                return fail(BUDGET, format!("a live query whose join gives more than {HELD_MAX} rows"));
            }
            let rows = sides[port].get_or_insert_with(key.clone(), Rows::default);
            rows.add(change);
            if rows.0.is_empty() {
                sides[port].remove(&key);
            }
        }
    }
    Ok(out)
}

/// What groups gave before, taken back, and what they give now: those that rows came to or went from.
fn regroup(op: &Op, groups: &mut LargeMap<Key, Group>, inputs: &[Vec<SignedRow>]) -> Result<Vec<SignedRow>, Error> {
    let (Op::Aggregate { keys, .. } | Op::Collect(keys, _)) = op else { return unfit() };
    let mut touched = Set::new();
    for change in inputs.iter().flatten() {
        let key = Key(project(keys, &change.row)?);
        groups.get_or_insert_with(key.clone(), Group::default).rows.add(change);
        touched.insert(key);
    }
    let mut out = Vec::new();
    for key in touched {
        let Some(group) = groups.get_mut(&key) else { continue };
        let gave = core::mem::take(&mut group.gives);
        out.extend(gave.into_iter().map(|signed| SignedRow { weight: -signed.weight, ..signed }));
        if group.rows.0.is_empty() {
            groups.remove(&key);
            continue;
        }
        let mut operator: Box<dyn Operator> = match op.clone() {
            Op::Aggregate { keys, calls, mode } => Box::new(Aggregate::new(keys, calls, mode)),
            Op::Collect(keys, calls) => Box::new(Collect::new(keys, calls)),
            _ => return unfit(),
        };
        group.gives = through(&mut *operator, vec![group.rows.0.values().cloned().collect()], true)?;
        out.extend(group.gives.iter().cloned());
    }
    Ok(out)
}

fn unfit<T>() -> Result<T, Error> {
    fail(INTERNAL, "a plan whose operators do not fit together")
}
