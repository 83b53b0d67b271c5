//! Rules that rewrite a logical plan into a cheaper one that means the same.
//!
//! - *Predicates go down* to the scan that can judge them, through projections, distinct, sorts, grouping keys and
//!   inner joins, to the kept side of left joins; conditions of a left join go to its other side.
//! - *Inner joins are ordered* so that each next input is connected to what is joined already by a condition, where
//!   there is one: comma joins become hash joins instead of products.
//! - *Columns that nobody reads are dropped* where they are read.

use super::{
    ast::JoinKind,
    logical::{ColumnId, Logical, SUBSTITUTED_MAX},
    scalar::Scalar,
};
use crate::map::Set;

/// Applies all rules.
pub fn optimise(plan: Logical) -> Logical {
    let needed = plan.schema().into_iter().collect();
    prune(push(plan, Vec::new()), &needed)
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
        Logical::Unit | Logical::Limit { .. } => {
            let plan = match plan {
                Logical::Limit { input, skip, count } => {
                    Logical::Limit { input: Box::new(push(*input, Vec::new())), skip, count }
                }
                other => other,
            };
            filtered(plan, conjuncts)
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
        Logical::Join { kind: JoinKind::Inner, .. } => {
            let mut inputs = Vec::new();
            flatten(plan, &mut inputs, &mut conjuncts);
            join_all(inputs, conjuncts)
        }
    }
}

fn substitute(conjunct: &Scalar, exprs: &[(ColumnId, Scalar)]) -> Option<Scalar> {
    conjunct.replace(&mut |id| exprs.iter().find(|(other, _)| *other == id).map(|(_, scalar)| scalar.clone()))
}

/// How large a conjunct becomes below a projection.
fn grown(conjunct: &Scalar, exprs: &[(ColumnId, Scalar)]) -> usize {
    conjunct.size_with(&|id| exprs.iter().find(|(other, _)| *other == id).map_or(1, |(_, scalar)| scalar.size()))
}

/// The inputs and conditions of neighbouring inner joins.
fn flatten(plan: Logical, inputs: &mut Vec<Logical>, conjuncts: &mut Vec<Scalar>) {
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
    let mut inputs: Vec<Logical> = inputs
        .into_iter()
        .map(|input| {
            let own = take_within(&mut conjuncts, &input.schema());
            push(input, own)
        })
        .collect();
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
fn prune(plan: Logical, needed: &Set<ColumnId>) -> Logical {
    let reads = |needed: &Set<ColumnId>, scalars: &mut dyn Iterator<Item = &Scalar>| {
        let mut all = needed.clone();
        scalars.for_each(|scalar| all.extend(scalar.columns()));
        all
    };
    let none = Set::new();
    match plan {
        Logical::Unit => Logical::Unit,
        Logical::Scan(mut scan) => {
            scan.output.retain(|id| needed.contains(id));
            let read = reads(needed, &mut scan.filter.iter());
            scan.columns.retain(|(id, ..)| read.contains(id));
            Logical::Scan(scan)
        }
        Logical::Join { left, right, kind, on } => {
            let needed = reads(needed, &mut on.iter());
            let (left, right) = (Box::new(prune(*left, &needed)), Box::new(prune(*right, &needed)));
            Logical::Join { left, right, kind, on }
        }
        Logical::Filter { input, conjuncts } => {
            let needed = reads(needed, &mut conjuncts.iter());
            Logical::Filter { input: Box::new(prune(*input, &needed)), conjuncts }
        }
        Logical::Project { input, mut exprs } => {
            exprs.retain(|(id, _)| needed.contains(id));
            let needed = reads(&none, &mut exprs.iter().map(|(_, scalar)| scalar));
            Logical::Project { input: Box::new(prune(*input, &needed)), exprs }
        }
        Logical::Aggregate { input, keys, calls } => {
            let args = calls.iter().filter_map(|(_, call)| call.arg.as_ref());
            let needed = reads(&none, &mut keys.iter().map(|(_, scalar)| scalar).chain(args));
            Logical::Aggregate { input: Box::new(prune(*input, &needed)), keys, calls }
        }
        // All columns make a row different.
        Logical::Distinct { input } => {
            let needed = input.schema().into_iter().collect();
            Logical::Distinct { input: Box::new(prune(*input, &needed)) }
        }
        Logical::Sort { input, keys } => {
            let mut needed = needed.clone();
            needed.extend(keys.iter().map(|key| key.column));
            Logical::Sort { input: Box::new(prune(*input, &needed)), keys }
        }
        Logical::Limit { input, skip, count } => Logical::Limit { input: Box::new(prune(*input, needed)), skip, count },
    }
}
