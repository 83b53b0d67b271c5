//! Physical plans: what runs where.
//!
//! A scan becomes a [`FragmentPlan`] that the owners of the table run, and a *gather* of their answers; when
//! conditions pin the primary key, a *key lookup* instead: one get for each key, the same fragment then runs at the
//! asker over what was found; and when conditions pin columns of an index, or the first rows of its order are wanted, its
//! entries first ([`access`](super::access), [`ordered`]), and then the same. What may run at the owners is pushed into the fragment: filters and projections
//! always, and the first step of an aggregation, DISTINCT, top-k or LIMIT directly above. The rest runs at the asker.
//!
//! In these plans [`Scalar::Column`] and `SortKey::column` are positions in the operator's input row. What is run
//! of them is [`exec::plan`](crate::exec::plan).

use super::{
    access::index_scan,
    ast::{BinaryOp, SetOp},
    cost::{Cost, Weighed, results},
    estimate::Estimator,
    fault::{TOO_COMPLEX, fail},
    logical::{ColumnId, Logical, Mark, SUBSTITUTED_MAX, Scan},
    lookup::lookup_keys,
    ordered::{self, Way},
    recursion,
    scalar::Scalar,
    select::lost_column,
    statistics::Statistics,
    strategy::{JoinStrategy, Reached, meet, sizes},
};
use crate::{
    Error,
    data::{DEPTH_MAX, Nested, Type, Value},
    exec::{
        fragment::{FragmentPlan, Output},
        ops::{
            aggregate::{AggregateCall, Mode},
            sort::SortKey,
        },
        plan::{Call, Flow, Join, JoinKind, MarkJoin, MarkKind, On, Op, Source},
    },
    map::Map,
    wire::PLAN_VERSION,
};

/// An operator with its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// Where its rows come from, by port.
    pub inputs: Vec<Node>,
    /// The columns of its rows, by identity.
    pub schema: Vec<ColumnId>,
    /// What a recursion repeats; only EXPLAIN asks.
    pub step: Option<Box<Node>>,
    /// How many rows are expected, where that is known; only EXPLAIN asks.
    pub expected: Option<u64>,
    /// Of a join: what this and other ways cost, this one first; only EXPLAIN asks.
    pub ways: Vec<Weighed>,
}

impl Node {
    /// An operator over its inputs.
    pub fn new(op: Op, inputs: Vec<Node>, schema: Vec<ColumnId>) -> Node {
        Node { op, inputs, schema, step: None, expected: None, ways: Vec::new() }
    }
}

impl Node {
    /// How many operators there are.
    pub fn count(&self) -> usize {
        1 + self.inputs.iter().map(Node::count).sum::<usize>()
    }

    /// The operators one after the other.
    pub fn into_flow(self) -> Flow {
        let mut ops = Vec::new();
        self.append_to(&mut ops);
        Flow(ops)
    }

    fn append_to(self, ops: &mut Vec<Op>) {
        let mut inputs = self.inputs.into_iter();
        if let Op::Share(..) = self.op {
            // What is shared stands before all that recalls it.
            inputs.next().into_iter().for_each(|definition| definition.append_to(ops));
            ops.push(self.op);
            return inputs.for_each(|body| body.append_to(ops));
        }
        inputs.for_each(|input| input.append_to(ops));
        ops.push(self.op);
    }
}

/// The physical plan of a logical one.
pub fn lower(plan: Logical, join_strategy: JoinStrategy, statistics: &Statistics) -> Result<Node, Error> {
    Lowering { shared: Map::new(), join_strategy, estimator: Estimator::new(statistics) }.lower(plan)
}

/// INTERSECT and EXCEPT as a join, which peers can make: rows of the left side with, or without, the same on the right, each once.
fn half(op: SetOp, left: Box<Logical>, right: Box<Logical>, columns: &[[ColumnId; 3]]) -> Logical {
    let kind = if op == SetOp::Intersect { Mark::Semi } else { Mark::Anti };
    let column = |id: ColumnId| Nested::new(Scalar::Column(id));
    let same = |[_, a, b]: &[ColumnId; 3]| Scalar::Binary(BinaryOp::IsNotDistinct, column(*a), column(*b));
    let on = columns.iter().map(same).collect();
    let input = Box::new(Logical::Mark { left, right, kind, on, compare: None });
    let exprs = columns.iter().map(|[id, left, _]| (*id, Scalar::Column(*left))).collect();
    Logical::Distinct { input: Box::new(Logical::Project { input, exprs }) }
}

/// Whether rows are those of a table, of joined ones, or a part of them: owners can send them to where they meet others.
fn is_of_tables(plan: &Logical) -> bool {
    match plan {
        Logical::Scan(_) => true,
        Logical::Filter { input, .. } | Logical::Project { input, .. } => is_of_tables(input),
        Logical::Join { left, right, .. } => is_of_tables(left) && is_of_tables(right),
        _ => false,
    }
}

/// What lowering knows beside the plan.
pub struct Lowering<'a> {
    /// The columns of what is evaluated once, by slot.
    shared: Map<u32, Vec<ColumnId>>,
    /// How the sides of joins meet.
    pub join_strategy: JoinStrategy,
    /// How many rows are expected.
    pub estimator: Estimator<'a>,
}

impl Lowering<'_> {
    pub(super) fn lower(&mut self, plan: Logical) -> Result<Node, Error> {
        let expected = self.estimator.expected(&plan);
        let mut node = self.lowered(plan)?;
        node.expected = expected;
        // What owners do of an operator gives what that is expected to give.
        if let [input] = &mut node.inputs[..]
            && let Op::Source(source) = &input.op
            && source.fragment.output != Output::Rows
        {
            let same = source.fragment.output != Output::Distinct || node.op == Op::Distinct;
            input.expected = expected.filter(|_| same);
        }
        Ok(node)
    }

    fn lowered(&mut self, plan: Logical) -> Result<Node, Error> {
        let fewer = self.results(&plan);
        match plan {
            Logical::Unit => Ok(Node::new(Op::Unit, Vec::new(), Vec::new())),
            Logical::Values { columns, rows } => Ok(Node::new(Op::Rows(rows), Vec::new(), columns)),
            Logical::Scan(scan) => source(scan),
            Logical::Filter { input, conjuncts } => {
                let input = self.lower(*input)?;
                let condition = positions(&all(conjuncts), &input.schema)?;
                Ok(above(Op::Filter(condition), input))
            }
            Logical::Project { input, exprs } => project(self.lower(*input)?, exprs),
            plan @ (Logical::Join { .. } | Logical::Mark { kind: Mark::Semi | Mark::Anti, .. }) => {
                Ok(self.meeting(plan)?.node)
            }
            Logical::Aggregate { input, keys, calls } => match ordered::extremes(&input, &keys, &calls) {
                Some(extremes) => self.extremes(extremes, calls.iter().map(|(id, _)| *id).collect()),
                None => aggregate(self.fewer(*input, fewer)?, keys, calls),
            },
            Logical::Distinct { input } => {
                let mut input = self.fewer(*input, fewer)?;
                give(&mut input, &Output::Distinct);
                Ok(above(Op::Distinct, input))
            }
            Logical::Sort { input, keys } => sort(self.lower(*input)?, keys, None, None),
            Logical::Limit { input, skip, count } => self.limit(*input, skip, count),
            Logical::Window { input, mut window, columns } => {
                let input = self.lower(*input)?;
                for scalar in window.scalars_mut() {
                    *scalar = positions(scalar, &input.schema)?;
                }
                let schema = [&input.schema[..], &columns].concat();
                Ok(Node::new(Op::Window(window), vec![input], schema))
            }
            Logical::Set { op, all, left, right, columns } => self.set(op, all, left, right, &columns),
            Logical::Mark { left, right, kind, on, compare } => {
                mark_join(self.lower(*left)?, self.lower(*right)?, kind, on, compare)
            }
            Logical::With { slot, name, definition, body } => {
                let rows = self.estimator.of(&definition);
                let definition = self.lower(*definition)?;
                self.estimator.share(slot, rows);
                self.shared.insert(slot, definition.schema.clone());
                let body = self.lower(*body)?;
                let schema = body.schema.clone();
                Ok(Node::new(Op::Share(slot, name), vec![definition, body], schema))
            }
            Logical::Shared { slot, name, columns } => {
                let schema = self.shared.get(&slot).cloned().ok_or_else(lost_column)?;
                let exprs = columns.into_iter().map(|(id, source)| (id, Scalar::Column(source))).collect();
                project(Node::new(Op::Recall(slot, name), Vec::new(), schema), exprs)
            }
            Logical::Recursive { slot, name, all, base, step, columns } => {
                let schema: Vec<ColumnId> = columns.iter().map(|[id, ..]| *id).collect();
                let base = self.side(*base, &columns, 1)?;
                self.shared.insert(slot, schema.clone());
                let step = self.side(*step, &columns, 2)?;
                Ok(recursion::node(slot, name, all, base, step, schema))
            }
        }
    }

    /// Whether rows of two sides may meet at peers at all.
    fn may_meet(&self) -> bool {
        match self.join_strategy {
            JoinStrategy::Gather => false,
            JoinStrategy::Auto => !self.estimator.statistics().is_empty(),
            _ => true,
        }
    }

    /// What it costs to bring home what peers make of the rows of a join, where that may be fewer than these.
    fn results(&mut self, plan: &Logical) -> Option<Cost> {
        let counts = matches!(plan, Logical::Aggregate { .. } | Logical::Distinct { .. });
        (counts && self.join_strategy == JoinStrategy::Auto && !self.estimator.statistics().is_empty()).then(|| {
            let expected = self.estimator.of(plan);
            results(expected.rows, expected.bytes(&plan.schema()), &self.estimator.network())
        })
    }

    /// The input of an operator of which peers do the first step, so that no more than `results` comes home from a join.
    fn fewer(&mut self, plan: Logical, results: Option<Cost>) -> Result<Node, Error> {
        let Some(results) = results else { return self.lower(plan) };
        let Reached { node, cost, there } = self.reached(plan)?;
        let network = self.estimator.network();
        Ok(match there {
            Some((there, found)) if network.time_us(&found.then(results)) < network.time_us(&cost) => there,
            _ => node,
        })
    }

    /// A side of a join.
    fn reached(&mut self, plan: Logical) -> Result<Reached, Error> {
        let expected = self.estimator.expected(&plan);
        let mut reached = match plan {
            Logical::Join { .. } | Logical::Mark { kind: Mark::Semi | Mark::Anti, .. } => self.meeting(plan)?,
            Logical::Project { input, exprs } => self.reached(*input)?.map(&|node| project(node, exprs.clone()))?,
            plan => return Ok(Reached::from(self.lower(plan)?)),
        };
        reached.node.expected = expected;
        if let Some((node, _)) = &mut reached.there {
            node.expected = expected;
        }
        Ok(reached)
    }

    /// Two sides, and where they meet.
    fn meeting(&mut self, plan: Logical) -> Result<Reached, Error> {
        let (left, right, mark, kind, on) = match plan {
            Logical::Join { left, right, kind, on } => (left, right, None, kind, on),
            Logical::Mark { left, right, kind, on, compare } => {
                let half = if kind == Mark::Anti { JoinKind::Anti } else { JoinKind::Semi };
                (left, right, Some((kind, compare)), half, on)
            }
            plan => return Ok(Reached::from(self.lower(plan)?)),
        };
        let make = |left: Node, right: Node| match &mark {
            None => join(left, right, kind, on.clone()),
            Some((mark, compare)) => mark_join(left, right, *mark, on.clone(), compare.clone()),
        };
        if self.join_strategy == JoinStrategy::Gather {
            return Ok(Reached::from(make(self.lower(*left)?, self.lower(*right)?)?));
        }
        let compared = mark
            .iter()
            .filter_map(|(_, compare)| compare.clone())
            .map(|(operand, op, value)| Scalar::Binary(op, Nested::new(operand), Nested::new(value)));
        let on_all: Vec<Scalar> = on.iter().cloned().chain(compared).collect();
        let sizes = sizes(&mut self.estimator, [&left, &right], kind, &on_all);
        let sides = [self.reached(*left)?, self.reached(*right)?];
        meet(sides, self.join_strategy, &sizes, &make)
    }

    /// An operation on sets.
    fn set(
        &mut self,
        op: SetOp,
        all: bool,
        left: Box<Logical>,
        right: Box<Logical>,
        columns: &[[ColumnId; 3]],
    ) -> Result<Node, Error> {
        if op != SetOp::Union && !all && self.may_meet() && is_of_tables(&left) && is_of_tables(&right) {
            return self.lower(half(op, left, right, columns));
        }
        let (left, right) = (self.side(*left, columns, 1)?, self.side(*right, columns, 2)?);
        Ok(Node::new(Op::Set(op, all), vec![left, right], columns.iter().map(|[id, ..]| *id).collect()))
    }

    /// A side of an operation whose columns go by position.
    fn side(&mut self, plan: Logical, columns: &[[ColumnId; 3]], at: usize) -> Result<Node, Error> {
        let exprs = columns.iter().map(|all| (all[at], Scalar::Column(all[at]))).collect();
        project(self.lower(plan)?, exprs)
    }

    fn limit(&mut self, input: Logical, skip: u64, count: Option<u64>) -> Result<Node, Error> {
        let first = count.map(|count| count.saturating_add(skip));
        let input = match (input, first) {
            (Logical::Sort { input, keys }, Some(count)) => {
                let way = ordered::way(&input, &keys, count);
                sort(self.lower(*input)?, keys, first, way)?
            }
            (input, first) => {
                let mut input = self.lower(input)?;
                if let Some(first) = first {
                    give(&mut input, &Output::First(first));
                }
                input
            }
        };
        // A top-k from the first row has cut already.
        let cut = matches!(&input.op, Op::Sort(_, Some(_))) && skip == 0;
        Ok(if cut { input } else { above(Op::Limit(skip, count), input) })
    }
}

fn above(op: Op, input: Node) -> Node {
    let schema = input.schema.clone();
    Node::new(op, vec![input], schema)
}

fn all(conjuncts: Vec<Scalar>) -> Scalar {
    Scalar::all(conjuncts).unwrap_or(Scalar::Literal(Value::Boolean(true)))
}

fn positions(scalar: &Scalar, schema: &[ColumnId]) -> Result<Scalar, Error> {
    scalar.remap(schema).ok_or_else(lost_column)
}

fn sort_positions(keys: Vec<SortKey>, schema: &[ColumnId]) -> Result<Vec<SortKey>, Error> {
    let position = |key: SortKey| {
        let at = schema.iter().position(|id| *id == key.column).ok_or_else(lost_column)?;
        Ok(SortKey { column: at as u32, ..key })
    };
    keys.into_iter().map(position).collect()
}

/// Owners give this in place of plain rows, those of each side of a union: what is above it comes to the same.
fn give(node: &mut Node, output: &Output) {
    if let Some(source) = rows_of(node) {
        source.fragment.output = output.clone();
    } else if node.op == Op::Set(SetOp::Union, true) {
        for input in &mut node.inputs {
            give(input, output);
            if matches!(&input.op, Op::Source(source) if source.fragment.output == *output) {
                input.expected = None;
            }
        }
    }
}

/// The source, if the node is one that still gives plain rows.
fn rows_of(node: &mut Node) -> Option<&mut Source> {
    match &mut node.op {
        Op::Source(source) if source.fragment.output == Output::Rows => Some(source),
        _ => None,
    }
}

/// The scan of a table.
pub fn source(mut scan: Scan) -> Result<Node, Error> {
    // What owners cannot judge is judged above what they give.
    let above: Vec<Scalar> = scan.filter.extract_if(.., |conjunct| !conjunct.is_portable()).collect();
    if let Some(filter) = Scalar::all(above) {
        let given = [&scan.columns.iter().map(|(id, ..)| *id).collect::<Vec<_>>()[..], &scan.identity].concat();
        let wanted = core::mem::replace(&mut scan.output, given);
        let input = source(scan)?;
        let filtered = self::above(Op::Filter(positions(&filter, &input.schema)?), input);
        return project(filtered, wanted.into_iter().map(|id| (id, Scalar::Column(id))).collect());
    }
    let keys = lookup_keys(&scan);
    let index = if keys.is_none() { index_scan(&scan).map(Box::new) } else { None };
    let read: Vec<ColumnId> = scan.columns.iter().map(|(id, ..)| *id).collect();
    let planned = Box::new(scan.clone());
    let filter = match Scalar::all(scan.filter) {
        Some(filter) => Some(positions(&filter, &read)?),
        None => None,
    };
    // What a fragment with identity gives: all that it reads, then key, version and rest.
    let given = [&read[..], &scan.identity].concat();
    let project = if scan.output == given {
        None
    } else {
        let output = scan.output.iter().map(|id| positions(&Scalar::Column(*id), &given));
        Some(output.collect::<Result<_, _>>()?)
    };
    let missing = |(id, ..): &(ColumnId, u32, Type)| {
        scan.missing.iter().find(|(other, _)| other == id).map_or(Value::Null, |(_, value)| value.clone())
    };
    let mut missing: Vec<Value> = scan.columns.iter().map(missing).collect();
    missing.truncate(missing.iter().rposition(|value| !value.is_null()).map_or(0, |last| last + 1));
    let fragment = FragmentPlan {
        version: PLAN_VERSION,
        namespace: scan.namespace,
        locality_bits: scan.locality_bits,
        decode: scan.decode,
        columns: scan.columns.iter().map(|(_, position, _)| *position).collect(),
        identity: !scan.identity.is_empty(),
        filter,
        project,
        output: Output::Rows,
        missing,
    };
    check(&fragment)?;
    let source = Source {
        name: scan.name,
        fragment,
        keys,
        index,
        read,
        number: 0,
        after: None,
        scan: Some(planned),
        join: None,
    };
    Ok(Node::new(Op::Source(source), Vec::new(), scan.output))
}

/// Whether owners will be able to decode a fragment.
fn check(fragment: &FragmentPlan) -> Result<(), Error> {
    if let Output::Groups(keys, calls) = &fragment.output {
        shallow(&mut operands(keys, calls))?;
    }
    shallow(&mut fragment.filter.iter().chain(fragment.project.iter().flatten()))
}

/// What an aggregation evaluates over a row.
fn operands<'a>(keys: &'a [Scalar], calls: &'a [AggregateCall]) -> impl Iterator<Item = &'a Scalar> {
    keys.iter().chain(calls.iter().filter_map(|call| call.arg.as_ref()))
}

/// Whether expressions can be decoded where they are evaluated.
fn shallow(scalars: &mut dyn Iterator<Item = &Scalar>) -> Result<(), Error> {
    for scalar in scalars {
        if depth(scalar) > DEPTH_MAX - 8 {
            return fail(TOO_COMPLEX, "an expression that nests too deep");
        }
    }
    Ok(())
}

fn depth(scalar: &Scalar) -> u32 {
    let mut deepest = 0;
    let _ = scalar.map_children::<()>(&mut |child| {
        deepest = deepest.max(depth(child) + 1);
        Ok(Scalar::Literal(Value::Null))
    });
    deepest
}

fn project(mut input: Node, exprs: Vec<(ColumnId, Scalar)>) -> Result<Node, Error> {
    let schema: Vec<ColumnId> = exprs.iter().map(|(id, _)| *id).collect();
    let computed = exprs.iter().map(|(_, scalar)| positions(scalar, &input.schema)).collect::<Result<Vec<_>, _>>()?;
    if let Some(source) = rows_of(&mut input)
        && computed.iter().all(Scalar::is_portable)
        && small(&computed, &source.fragment.project)
    {
        source.fragment.project = Some(through(&computed, &source.fragment.project)?);
        check(&source.fragment)?;
        return Ok(Node { schema, ..input });
    }
    if schema == input.schema && exprs.iter().all(|(id, scalar)| *scalar == Scalar::Column(*id)) {
        return Ok(input);
    }
    Ok(Node::new(Op::Project(computed), vec![input], schema))
}

/// Whether expressions over the result of a projection stay small as expressions over its input.
fn small(exprs: &[Scalar], projection: &Option<Vec<Scalar>>) -> bool {
    let size_of =
        |position: u32| projection.as_ref().and_then(|all| all.get(position as usize)).map_or(1, Scalar::size);
    exprs.iter().all(|expr| expr.size_with(&size_of) <= SUBSTITUTED_MAX.max(expr.size()))
}

/// Expressions over the result of a projection, as expressions over its input.
pub(super) fn through(exprs: &[Scalar], projection: &Option<Vec<Scalar>>) -> Result<Vec<Scalar>, Error> {
    let Some(projection) = projection else { return Ok(exprs.to_vec()) };
    let over = |expr: &Scalar| expr.replace(&mut |position| projection.get(position as usize).cloned());
    exprs.iter().map(|expr| over(expr).ok_or_else(lost_column)).collect()
}

fn sort(mut input: Node, keys: Vec<SortKey>, first: Option<u64>, way: Option<Way>) -> Result<Node, Error> {
    let keys = sort_positions(keys, &input.schema)?;
    if let Some(first) = first {
        if let (Some(source), Some(way)) = (rows_of(&mut input), way) {
            way.replace(&mut source.index, &keys);
        }
        give(&mut input, &Output::Top(keys.clone(), first));
    }
    Ok(above(Op::Sort(keys, first), input))
}

fn aggregate(mut input: Node, keys: Vec<(ColumnId, Scalar)>, calls: Vec<(ColumnId, Call)>) -> Result<Node, Error> {
    let schema = keys.iter().map(|(id, _)| *id).chain(calls.iter().map(|(id, _)| *id)).collect();
    let mut keys = keys.iter().map(|(_, key)| positions(key, &input.schema)).collect::<Result<Vec<_>, _>>()?;
    let mut calls: Vec<Call> = calls.into_iter().map(|(_, call)| call).collect();
    for scalar in calls.iter_mut().flat_map(Call::scalars_mut) {
        *scalar = positions(scalar, &input.schema)?;
    }
    let basic = |call: &Call| match call {
        Call::Basic(call) => Some(call.clone()),
        Call::Collected { .. } => None,
    };
    let mut mode = Mode::Complete;
    if let Some(source) = rows_of(&mut input)
        && keys
            .iter()
            .chain(calls.iter().flat_map(Call::scalars))
            .all(|scalar| scalar.is_portable() && small(core::slice::from_ref(scalar), &source.fragment.project))
    {
        let fragment = &mut source.fragment;
        let partial: Option<Vec<AggregateCall>> = calls.iter().map(basic).collect();
        match partial.filter(|calls| calls.iter().all(|call| !call.distinct)) {
            Some(calls) => {
                fragment.output = Output::Groups(keys.clone(), calls);
                mode = Mode::Final;
            }
            None => {
                // Values must be told apart over all owners: they send different keys and arguments, weights added up.
                let mut columns: Vec<Scalar> = Vec::new();
                for scalar in keys.iter_mut().chain(calls.iter_mut().flat_map(Call::scalars_mut)) {
                    let at = columns.iter().position(|column| column == scalar).unwrap_or_else(|| {
                        columns.push(scalar.clone());
                        columns.len() - 1
                    });
                    *scalar = Scalar::Column(at as u32);
                }
                fragment.project = Some(through(&columns, &fragment.project)?);
                fragment.output = Output::Distinct;
            }
        }
        check(fragment)?;
    }
    let op = match calls.iter().map(basic).collect::<Option<Vec<_>>>() {
        Some(calls) => Op::Aggregate { keys, calls, mode },
        None => Op::Collect(keys, calls),
    };
    Ok(Node::new(op, vec![input], schema))
}

pub(super) fn join(left: Node, right: Node, kind: JoinKind, on: Vec<Scalar>) -> Result<Node, Error> {
    let schema = [&left.schema[..], &right.schema].concat();
    let on = matched(&left, &right, on)?;
    let widths = [left.schema.len(), right.schema.len()];
    Ok(Node::new(Op::HashJoin(Join { kind, on, widths }), vec![left, right], schema))
}

/// Conditions over two rows: equations of one with the other, and the rest.
fn matched(left: &Node, right: &Node, conjuncts: Vec<Scalar>) -> Result<On, Error> {
    let schema = [&left.schema[..], &right.schema].concat();
    let (mut on, mut residual) = (On::default(), Vec::new());
    for conjunct in conjuncts {
        if let Scalar::Binary(op @ (BinaryOp::Eq | BinaryOp::IsNotDistinct), a, b) = &conjunct {
            let pair = match (a.remap(&left.schema), b.remap(&right.schema)) {
                (Some(a), Some(b)) => Some((a, b)),
                _ => a.remap(&right.schema).and_then(|a| Some((b.remap(&left.schema)?, a))),
            };
            if let Some((a, b)) = pair {
                on.left.push(a);
                on.right.push(b);
                on.null_safe.push(*op == BinaryOp::IsNotDistinct);
                continue;
            }
        }
        residual.push(positions(&conjunct, &schema)?);
    }
    on.residual = Scalar::all(residual);
    Ok(on)
}

fn mark_join(
    left: Node,
    right: Node,
    kind: Mark,
    on: Vec<Scalar>,
    compare: Option<(Scalar, BinaryOp, Scalar)>,
) -> Result<Node, Error> {
    let on = matched(&left, &right, on)?;
    let over = |(operand, op, value): (Scalar, BinaryOp, Scalar)| {
        Ok::<_, Error>((positions(&operand, &left.schema)?, op, positions(&value, &right.schema)?))
    };
    let compare = compare.map(over).transpose()?;
    let schema = left.schema.iter().copied().chain(kind.column()).collect();
    let kind = match kind {
        Mark::Semi => MarkKind::Semi,
        Mark::Anti => MarkKind::Anti,
        Mark::Truth(_) => MarkKind::Mark,
        Mark::Single(_, value) => {
            let at = right.schema.iter().position(|id| *id == value).ok_or_else(lost_column)?;
            MarkKind::Single(at as u32)
        }
    };
    Ok(Node::new(Op::MarkJoin(MarkJoin { kind, on, compare }), vec![left, right], schema))
}
