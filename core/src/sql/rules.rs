//! Rules that rewrite a logical plan into a cheaper one that means the same.
//!
//! - *Predicates go down* to the scan that can judge them, through projections, distinct, sorts, grouping keys and
//!   inner joins, to both sides of set operations, to the kept side of left joins and of joins with subqueries;
//!   conditions of a left join go to its other side.
//! - *What is evaluated once but read once only* is put where it is read; what nobody reads is left out.
//! - *Inner joins are ordered* so that each next input is connected to what is joined already by a condition, where
//!   there is one: comma joins become hash joins instead of products; and by how many rows are between them, where that is
//!   known ([`order`](super::order)).
//! - *Columns that nobody reads are dropped* where they are read.

use super::{
    ast::SetOp,
    estimate::Estimator,
    logical::{ColumnId, Logical, Mark, SUBSTITUTED_MAX},
    order::order,
    scalar::Scalar,
    statistics::Statistics,
};
use crate::{
    exec::plan::JoinKind,
    map::{Map, Set},
};

/// The columns that are read of what is evaluated once, by slot.
type Uses = Map<u32, Set<ColumnId>>;

/// Applies all rules.
pub fn optimise(mut plan: Logical, statistics: &Statistics) -> Logical {
    inline(&mut plan);
    let needed = plan.schema().into_iter().collect();
    plan = push(plan, Vec::new());
    if !statistics.is_empty() {
        plan = order(plan, &mut Estimator::new(statistics));
    }
    prune(plan, &needed, &mut Uses::new())
}

/// Puts what is read once where it is read.
fn inline(plan: &mut Logical) {
    if let Logical::With { slot, definition, body, .. } = plan {
        let uses = body.uses(*slot);
        if uses < 2 {
            let mut definition = Some(core::mem::replace(&mut **definition, Logical::Unit));
            fill(body, *slot, &mut definition);
            *plan = core::mem::replace(&mut **body, Logical::Unit);
            return inline(plan);
        }
    }
    plan.inputs_mut().into_iter().for_each(inline);
}

/// Puts a definition in the place of the one that reads it.
fn fill(plan: &mut Logical, slot: u32, definition: &mut Option<Logical>) {
    match plan {
        Logical::Shared { slot: other, columns, .. } if *other == slot => {
            if let Some(definition) = definition.take() {
                let exprs = columns.iter().map(|(id, source)| (*id, Scalar::Column(*source))).collect();
                *plan = Logical::Project { input: Box::new(definition), exprs };
            }
        }
        plan => plan.inputs_mut().into_iter().for_each(|input| fill(input, slot, definition)),
    }
}

/// Takes the conjuncts that `schema` suffices for.
fn take_within(conjuncts: &mut Vec<Scalar>, schema: &[ColumnId]) -> Vec<Scalar> {
    conjuncts.extract_if(.., |conjunct| conjunct.within(schema)).collect()
}

fn filtered(plan: Logical, conjuncts: Vec<Scalar>) -> Logical {
    if conjuncts.is_empty() { plan } else { Logical::Filter { input: Box::new(plan), conjuncts } }
}

/// The plan restricted to rows for which all conjuncts are true.
fn push(plan: Logical, mut conjuncts: Vec<Scalar>) -> Logical {
    match plan {
        Logical::Unit | Logical::Values { .. } | Logical::Shared { .. } => filtered(plan, conjuncts),
        Logical::Limit { input, skip, count } => {
            filtered(Logical::Limit { input: Box::new(push(*input, Vec::new())), skip, count }, conjuncts)
        }
        Logical::Set { op, all, left, right, columns } => {
            let side = |at: usize| {
                let of = |id| columns.iter().find(|[out, ..]| *out == id).map(|all| Scalar::Column(all[at]));
                conjuncts.iter().filter_map(|conjunct| conjunct.replace(&mut |id| of(id))).collect::<Vec<_>>()
            };
            let (left, right) = (Box::new(push(*left, side(1))), Box::new(push(*right, side(2))));
            Logical::Set { op, all, left, right, columns }
        }
        Logical::Mark { left, right, kind, mut on, compare } => {
            let kept = take_within(&mut conjuncts, &left.schema());
            let other = take_within(&mut on, &right.schema());
            let (left, right) = (Box::new(push(*left, kept)), Box::new(push(*right, other)));
            filtered(Logical::Mark { left, right, kind, on, compare }, conjuncts)
        }
        Logical::Window { input, window, columns } => {
            // What is true of a whole partition or of none of its rows may go below.
            let by = window.partition.iter().filter_map(|scalar| match scalar {
                Scalar::Column(id) => Some(*id),
                _ => None,
            });
            let kept = take_within(&mut conjuncts, &by.collect::<Vec<_>>());
            filtered(Logical::Window { input: Box::new(push(*input, kept)), window, columns }, conjuncts)
        }
        Logical::With { slot, name, definition, body } => {
            let (definition, body) = (Box::new(push(*definition, Vec::new())), Box::new(push(*body, conjuncts)));
            Logical::With { slot, name, definition, body }
        }
        Logical::Recursive { slot, name, all, base, step, columns } => {
            let (base, step) = (Box::new(push(*base, Vec::new())), Box::new(push(*step, Vec::new())));
            filtered(Logical::Recursive { slot, name, all, base, step, columns }, conjuncts)
        }
        Logical::Scan(mut scan) => {
            scan.filter.extend(conjuncts);
            Logical::Scan(scan)
        }
        Logical::Filter { input, conjuncts: more } => {
            conjuncts.extend(more);
            push(*input, conjuncts)
        }
        Logical::Distinct { input } => Logical::Distinct { input: Box::new(push(*input, conjuncts)) },
        Logical::Sort { input, keys } => Logical::Sort { input: Box::new(push(*input, conjuncts)), keys },
        Logical::Project { input, exprs } => {
            let small = conjuncts.extract_if(.., |conjunct| grown(conjunct, &exprs) <= SUBSTITUTED_MAX);
            let below = small.filter_map(|conjunct| substitute(&conjunct, &exprs)).collect();
            filtered(Logical::Project { input: Box::new(push(*input, below)), exprs }, conjuncts)
        }
        Logical::Aggregate { input, keys, calls } => {
            // Without keys there is a group even when no row is left, so nothing may go below.
            let ids: Vec<ColumnId> = keys.iter().map(|(id, _)| *id).collect();
            let below = conjuncts.extract_if(.., |conjunct| {
                !keys.is_empty() && conjunct.within(&ids) && grown(conjunct, &keys) <= SUBSTITUTED_MAX
            });
            let below: Vec<Scalar> = below.collect();
            let below = below.iter().filter_map(|conjunct| substitute(conjunct, &keys)).collect();
            filtered(Logical::Aggregate { input: Box::new(push(*input, below)), keys, calls }, conjuncts)
        }
        Logical::Join { kind: JoinKind::Left, left, right, mut on } => {
            let kept = take_within(&mut conjuncts, &left.schema());
            let other = take_within(&mut on, &right.schema());
            let (left, right) = (Box::new(push(*left, kept)), Box::new(push(*right, other)));
            filtered(Logical::Join { left, right, kind: JoinKind::Left, on }, conjuncts)
        }
        Logical::Join { kind: kind @ (JoinKind::Full | JoinKind::Semi | JoinKind::Anti), left, right, on } => {
            let (left, right) = (Box::new(push(*left, Vec::new())), Box::new(push(*right, Vec::new())));
            filtered(Logical::Join { left, right, kind, on }, conjuncts)
        }
        Logical::Join { kind: JoinKind::Inner, .. } => {
            let mut inputs = Vec::new();
            flatten(plan, &mut inputs, &mut conjuncts);
            join_all(inputs, conjuncts)
        }
    }
}

/// A condition over the result of a projection, as one over its input.
pub fn substitute(conjunct: &Scalar, exprs: &[(ColumnId, Scalar)]) -> Option<Scalar> {
    conjunct.replace(&mut |id| exprs.iter().find(|(other, _)| *other == id).map(|(_, scalar)| scalar.clone()))
}

/// How large a conjunct becomes below a projection.
pub fn grown(conjunct: &Scalar, exprs: &[(ColumnId, Scalar)]) -> usize {
    conjunct.size_with(&|id| exprs.iter().find(|(other, _)| *other == id).map_or(1, |(_, scalar)| scalar.size()))
}

/// The inputs and conditions of neighbouring inner joins.
pub(super) fn flatten(plan: Logical, inputs: &mut Vec<Logical>, conjuncts: &mut Vec<Scalar>) {
    match plan {
        Logical::Join { left, right, kind: JoinKind::Inner, on } => {
            conjuncts.extend(on);
            flatten(*left, inputs, conjuncts);
            flatten(*right, inputs, conjuncts);
        }
        other => inputs.push(other),
    }
}

fn join_all(inputs: Vec<Logical>, mut conjuncts: Vec<Scalar>) -> Logical {
    let inputs = inputs
        .into_iter()
        .map(|input| {
            let own = take_within(&mut conjuncts, &input.schema());
            push(input, own)
        })
        .collect();
    join_in_order(inputs, conjuncts)
}

/// Joins one input after the other, next the first one that a condition connects with those before.
pub(super) fn join_in_order(mut inputs: Vec<Logical>, mut conjuncts: Vec<Scalar>) -> Logical {
    let mut joined = inputs.remove(0);
    while !inputs.is_empty() {
        let schema = joined.schema();
        let connected = |input: &Logical| {
            let both = [&schema[..], &input.schema()].concat();
            conjuncts.iter().any(|conjunct| conjunct.within(&both))
        };
        let next = inputs.remove(inputs.iter().position(connected).unwrap_or(0));
        let on = take_within(&mut conjuncts, &[schema, next.schema()].concat());
        joined = Logical::Join { left: Box::new(joined), right: Box::new(next), kind: JoinKind::Inner, on };
    }
    filtered(joined, conjuncts)
}

/// The plan without columns that are not needed.
fn prune(plan: Logical, needed: &Set<ColumnId>, uses: &mut Uses) -> Logical {
    let reads = |needed: &Set<ColumnId>, scalars: &mut dyn Iterator<Item = &Scalar>| {
        let mut all = needed.clone();
        scalars.for_each(|scalar| all.extend(scalar.columns()));
        all
    };
    let none = Set::new();
    match plan {
        Logical::Unit => Logical::Unit,
        Logical::Values { mut columns, mut rows } => {
            let kept: Vec<bool> = columns.iter().map(|id| needed.contains(id)).collect();
            let keep = |at: usize| kept.get(at) == Some(&true);
            columns = columns.into_iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, id)| id).collect();
            for row in &mut rows {
                let values = core::mem::take(row).into_iter().enumerate();
                *row = values.filter(|(at, _)| keep(*at)).map(|(_, value)| value).collect();
            }
            Logical::Values { columns, rows }
        }
        Logical::Set { op, all, left, right, mut columns } => {
            if op == SetOp::Union {
                columns.retain(|[id, ..]| needed.contains(id));
            }
            let of = |at: usize| columns.iter().map(|all| all[at]).collect::<Set<ColumnId>>();
            let (left, right) = (prune(*left, &of(1), uses), prune(*right, &of(2), uses));
            Logical::Set { op, all, left: Box::new(left), right: Box::new(right), columns }
        }
        Logical::Mark { left, right, kind, on, compare } => {
            let operands = compare.iter().flat_map(|(operand, _, value)| [operand, value]);
            let mut needed = reads(needed, &mut on.iter().chain(operands));
            if let Mark::Single(_, value) = kind {
                needed.insert(value);
            }
            let (left, right) = (Box::new(prune(*left, &needed, uses)), Box::new(prune(*right, &needed, uses)));
            Logical::Mark { left, right, kind, on, compare }
        }
        Logical::With { slot, name, definition, body } => {
            let body = Box::new(prune(*body, needed, uses));
            let needed = uses.remove(&slot).unwrap_or_default();
            Logical::With { slot, name, definition: Box::new(prune(*definition, &needed, uses)), body }
        }
        Logical::Window { input, mut window, mut columns } => {
            let kept: Vec<bool> = columns.iter().map(|id| needed.contains(id)).collect();
            let keep = |at: usize| kept.get(at) == Some(&true);
            columns = columns.into_iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, id)| id).collect();
            let calls = window.calls.into_iter().enumerate();
            window.calls = calls.filter(|(at, _)| keep(*at)).map(|(_, call)| call).collect();
            let needed = reads(needed, &mut window.scalars().into_iter());
            let input = Box::new(prune(*input, &needed, uses));
            if columns.is_empty() { *input } else { Logical::Window { input, window, columns } }
        }
        Logical::Shared { slot, name, mut columns } => {
            columns.retain(|(id, _)| needed.contains(id));
            uses.entry(slot).or_default().extend(columns.iter().map(|(_, source)| *source));
            Logical::Shared { slot, name, columns }
        }
        // All columns take part in the next iteration.
        Logical::Recursive { slot, name, all, base, step, columns } => {
            let of = |at: usize| columns.iter().map(|all| all[at]).collect::<Set<ColumnId>>();
            let (base, step) = (Box::new(prune(*base, &of(1), uses)), Box::new(prune(*step, &of(2), uses)));
            Logical::Recursive { slot, name, all, base, step, columns }
        }
        Logical::Scan(mut scan) => {
            scan.output.retain(|id| needed.contains(id));
            if !scan.identity.iter().any(|id| scan.output.contains(id)) {
                scan.identity.clear();
            }
            let read = reads(needed, &mut scan.filter.iter());
            scan.columns.retain(|(id, ..)| read.contains(id));
            Logical::Scan(scan)
        }
        Logical::Join { left, right, kind, on } => {
            let needed = reads(needed, &mut on.iter());
            let (left, right) = (Box::new(prune(*left, &needed, uses)), Box::new(prune(*right, &needed, uses)));
            Logical::Join { left, right, kind, on }
        }
        Logical::Filter { input, conjuncts } => {
            let needed = reads(needed, &mut conjuncts.iter());
            Logical::Filter { input: Box::new(prune(*input, &needed, uses)), conjuncts }
        }
        Logical::Project { input, mut exprs } => {
            exprs.retain(|(id, _)| needed.contains(id));
            let needed = reads(&none, &mut exprs.iter().map(|(_, scalar)| scalar));
            Logical::Project { input: Box::new(prune(*input, &needed, uses)), exprs }
        }
        Logical::Aggregate { input, keys, mut calls } => {
            calls.retain(|(id, _)| needed.contains(id));
            let args = calls.iter().flat_map(|(_, call)| call.scalars());
            let needed = reads(&none, &mut keys.iter().map(|(_, scalar)| scalar).chain(args));
            Logical::Aggregate { input: Box::new(prune(*input, &needed, uses)), keys, calls }
        }
        // All columns make a row different.
        Logical::Distinct { input } => {
            let needed = input.schema().into_iter().collect();
            Logical::Distinct { input: Box::new(prune(*input, &needed, uses)) }
        }
        Logical::Sort { input, keys } => {
            let mut needed = needed.clone();
            needed.extend(keys.iter().map(|key| key.column));
            Logical::Sort { input: Box::new(prune(*input, &needed, uses)), keys }
        }
        Logical::Limit { input, skip, count } => {
            Logical::Limit { input: Box::new(prune(*input, needed, uses)), skip, count }
        }
    }
}
