//! The asker's own part of a gather, run here.
//!
//! ```text
//!   fragment ──▶ what may the engine answer for? ──▶ its records, here ──▶ by column ──▶ own part ─┐
//!                     │ nothing                      (none, while columns are kept)                ├─▶ answer
//!                     └──────────▶ everybody gathers the rest ◀── but for that ────────────────────┘
//! ```
//!
//! The engine's module is small and works row by row; this one has columns and is compiled for speed. So what this peer
//! owns of a table crosses as bytes once after a change, and is kept decoded here (`Kept`).

use pontoon_core::{
    Config, Region,
    exec::{Budget, Fault, FragmentPlan, GatherEnd, Partial, kept::Kept},
    node::Owned,
};
use wasm_bindgen::JsValue;

use super::{Engine, decode_first, encode};

/// What a gather gives.
pub type Answer = (Partial, GatherEnd);

/// See the module's documentation.
pub struct Near {
    kept: Kept,
    budget: Budget,
    bytes_max: usize,
}

impl Default for Near {
    fn default() -> Near {
        let config = Config::default();
        Near { kept: Kept::default(), budget: Budget::from(&config), bytes_max: config.columns_bytes_max }
    }
}

/// This peer's part of an answer.
pub struct Own {
    owned: Owned,
    /// What is left to others.
    rest: bool,
    partial: Partial,
    fault: Option<Fault>,
}

impl Near {
    /// This peer's own part, where it is better run here.
    pub fn run(&mut self, engine: &Engine, plan: &FragmentPlan) -> Result<Option<Own>, JsValue> {
        if !plan.reads_columns() {
            return Ok(None);
        }
        let kept = self.kept.holds(plan);
        // A few records are found without having all of them here.
        if kept.is_none() && plan.stops_early() {
            return Ok(None);
        }
        let known = kept.map_or(Ok(Vec::new()), |kept| encode(&kept))?;
        let answer = engine.owned(plan.namespace(), plan.locality_bits(), &known, self.bytes_max);
        let Some(answer) = answer else { return Ok(None) };
        let (owned, records): (Owned, &[u8]) = decode_first(&answer)?;
        let as_known = !known.is_empty() && answer.starts_with(&known);
        let space = self.kept.space(plan, &owned.regions, owned.change, self.bytes_max, values(records));
        let result = match space {
            Some(space) => plan.run_kept(space, &self.budget),
            None if as_known => return Ok(None),
            None => plan.run_values(values(records), &self.budget),
        };
        let whole = Region::namespace(plan.namespace(), plan.locality_bits());
        let rest = !whole.subtract_all(&owned.regions).is_empty();
        Ok(Some(match result {
            Ok(partial) => Own { owned, rest, partial, fault: None },
            Err(error) => Own { owned, rest, partial: Partial::default(), fault: Some((&error).into()) },
        }))
    }
}

impl Own {
    /// Whether nobody else is to be asked.
    pub fn is_all(&self) -> bool {
        !self.rest || self.fault.is_some()
    }

    /// How many rows or groups it gives.
    pub fn rows(&self) -> u64 {
        self.partial.batch.len() as u64
    }

    /// Where it is from.
    pub fn regions(&self) -> &[Region] {
        &self.owned.regions
    }

    /// The answer, where it is all of it.
    pub fn answer(self) -> Answer {
        let assumed_lost = self.owned.assumed_lost;
        let end = GatherEnd { assumed_lost, peers: 1, fault: self.fault, ..GatherEnd::default() };
        (self.partial, end)
    }

    /// The answer together with what others gave, whose coverage counts this part.
    pub fn beside(self, plan: &FragmentPlan, (partial, mut end): Answer) -> Answer {
        let mut all = self.partial;
        if let Err(error) = plan.combine(&mut all, partial, &Budget::from(&Config::default())) {
            end.fault.get_or_insert((&error).into());
        }
        end.assumed_lost |= self.owned.assumed_lost;
        end.peers += 1;
        (all, end)
    }
}

/// Records as the engine gives them: each after its length in four bytes.
fn values(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(value)
    })
}
