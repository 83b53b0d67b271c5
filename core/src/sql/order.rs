//! The order of inner joins.
//!
//! Neighbouring inner joins are one set of inputs with conditions between them, which may be joined in any order. Of all
//! orders in which one input after the other is joined to what is there, the one with the fewest rows in between is
//! found by dynamic programming over subsets (Selinger et al., SIGMOD 1979), beyond [`INPUTS_MAX`] inputs greedily, smallest
//! result first. A product has many rows, so it comes only where there is no way around it. Outer joins and what is below
//! them are inputs as they stand. Without statistics of all inputs, and without a clear gain, the order stays as it is.

use super::{
    estimate::{Estimate, Estimator},
    logical::Logical,
    rules::{flatten, join_in_order},
    scalar::Scalar,
};
use crate::{exec::plan::JoinKind, map::Set};

/// Inputs of which all orders are looked at.
const INPUTS_MAX: usize = 8;
/// Inputs with which it begins where not all orders are looked at.
const STARTS: usize = 4;
/// Inputs beyond which the order stays as it is.
const GREEDY_MAX: usize = 32;
/// How many times as many rows the order that is there has to have.
const GAIN: f64 = 1.25;

/// The plan with its inner joins in a better order.
pub fn order(plan: Logical, estimator: &mut Estimator<'_>) -> Logical {
    if !matches!(plan, Logical::Join { kind: JoinKind::Inner, .. }) {
        let mut plan = plan;
        if let Logical::With { slot, definition, body, .. } = &mut plan {
            below(definition, estimator);
            let shared = estimator.of(definition);
            estimator.share(*slot, shared);
            below(body, estimator);
        } else {
            plan.inputs_mut().into_iter().for_each(|input| below(input, estimator));
        }
        return plan;
    }
    let (mut inputs, mut conjuncts) = (Vec::new(), Vec::new());
    flatten(plan, &mut inputs, &mut conjuncts);
    let mut inputs: Vec<Logical> = inputs.into_iter().map(|input| order(input, estimator)).collect();
    if (3..=GREEDY_MAX).contains(&inputs.len()) {
        let estimates: Vec<Estimate<'_>> = inputs.iter().map(|input| estimator.of(input)).collect();
        if estimates.iter().all(|estimate| estimate.known) {
            let reads: Vec<Set<u32>> = conjuncts.iter().map(Scalar::columns).collect();
            let schemas = inputs.iter().map(Logical::schema).collect();
            let joins = Joins { estimates, schemas, conjuncts: &conjuncts, reads };
            let mut slots: Vec<Option<Logical>> = inputs.into_iter().map(Some).collect();
            inputs = joins.best().into_iter().filter_map(|at| slots[at].take()).collect();
        }
    }
    join_in_order(inputs, conjuncts)
}

fn below(plan: &mut Logical, estimator: &mut Estimator<'_>) {
    *plan = order(core::mem::replace(plan, Logical::Unit), estimator);
}

/// Inputs and the conditions between them.
struct Joins<'a, 's> {
    estimates: Vec<Estimate<'a>>,
    schemas: Vec<Vec<u32>>,
    conjuncts: &'s [Scalar],
    /// The columns that each condition reads.
    reads: Vec<Set<u32>>,
}

/// Some inputs joined: in which order, what that gives, how many rows there were on the way.
#[derive(Clone)]
struct Joined<'a> {
    order: Vec<usize>,
    estimate: Estimate<'a>,
    rows: f64,
}

impl<'a> Joins<'a, '_> {
    fn alone(&self, at: usize) -> Joined<'a> {
        Joined { order: vec![at], estimate: self.estimates[at].clone(), rows: 0.0 }
    }

    /// One more input joined to others, by the conditions that can be judged then and could not before.
    fn joined(&self, before: &Joined<'a>, next: usize) -> Joined<'a> {
        let within = |inputs: &[usize], read: &Set<u32>| {
            read.iter().all(|id| inputs.iter().any(|at| self.schemas[*at].contains(id)))
        };
        let order: Vec<usize> = before.order.iter().copied().chain([next]).collect();
        let judged = self
            .conjuncts
            .iter()
            .zip(&self.reads)
            .filter(|(_, read)| within(&order, read) && !within(&before.order, read) && !within(&[next], read));
        let on: Vec<Scalar> = judged.map(|(conjunct, _)| conjunct.clone()).collect();
        let estimate = before.estimate.joined(&self.estimates[next], &on);
        let rows = before.rows + estimate.rows;
        Joined { order, estimate, rows }
    }

    /// Rows on the way when inputs are joined as they stand.
    fn as_it_is(&self) -> Joined<'a> {
        (1..self.estimates.len()).fold(self.alone(0), |before, next| self.joined(&before, next))
    }

    fn best(&self) -> Vec<usize> {
        let count = self.estimates.len();
        let found = if count <= INPUTS_MAX { self.exact() } else { self.greedy() };
        match found {
            // The last step gives the same rows in any order.
            Some(found) if (found.rows - found.estimate.rows) * GAIN < self.as_it_is().rows - found.estimate.rows => {
                found.order
            }
            _ => (0..count).collect(),
        }
    }

    /// The best order of each subset from the best orders of those with one input less.
    fn exact(&self) -> Option<Joined<'a>> {
        let count = self.estimates.len();
        let mut best: Vec<Option<Joined<'a>>> = vec![None; 1 << count];
        for subset in 1_usize..1 << count {
            let inputs = (0..count).filter(|at| subset & 1 << at != 0);
            let ways = inputs.filter_map(|last| {
                let before = subset & !(1 << last);
                if before == 0 { Some((0.0, last)) } else { best[before].as_ref().map(|before| (before.rows, last)) }
            });
            // How many rows the subset gives does not depend on which input comes last. Of equals the order that is there.
            let (_, last) = ways.rev().min_by(|(a, _), (b, _)| a.total_cmp(b))?;
            let before = best[subset & !(1 << last)].as_ref();
            best[subset] = Some(before.map_or_else(|| self.alone(last), |before| self.joined(before, last)));
        }
        best.pop().flatten()
    }

    /// From some of the smallest inputs on, always what gives the fewest rows next.
    fn greedy(&self) -> Option<Joined<'a>> {
        let count = self.estimates.len();
        let from = |first: usize| {
            let mut joined = self.alone(first);
            while joined.order.len() < count {
                let open = (0..count).filter(|at| !joined.order.contains(at));
                let next = open.map(|next| self.joined(&joined, next));
                joined = next.min_by(|a, b| a.estimate.rows.total_cmp(&b.estimate.rows))?;
            }
            Some(joined)
        };
        let mut starts: Vec<usize> = (0..count).collect();
        starts.sort_by(|a, b| self.estimates[*a].rows.total_cmp(&self.estimates[*b].rows));
        starts.into_iter().take(STARTS).filter_map(from).min_by(|a, b| a.rows.total_cmp(&b.rows))
    }
}
