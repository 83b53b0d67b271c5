//! Columns of what is scanned again and again, kept decoded beside the store.
//!
//! ```text
//!   a fragment over a namespace ──▶ changed since the scan before? ── yes ─▶ its records are decoded as it runs
//!                                          │ no
//!                                          ▼
//!                               columns kept ◀── the missing ones are decoded, once
//! ```
//!
//! A namespace is told apart from what it was by the number of the store's last change of it ([`Store::unchanged`]).
//! Columns are kept from the second scan on, so that who writes and scans in turn does not pay for them. All together
//! take no more than a bound; who was asked longest ago makes room.
//!
//! [`Store::unchanged`]: crate::store::Store::unchanged

use std::sync::Arc;

use super::{
    columns::{Builder, Column, Columns},
    fragment::{BATCH_ROWS, FragmentPlan},
};
use crate::{data::Value, id::Region};

/// Namespaces that are remembered, with or without columns.
const SPACES_MAX: usize = 64;
/// Columns of one that are kept.
const SLOTS_MAX: usize = 1_000;

/// See the module's documentation.
#[derive(Default)]
pub struct Kept {
    /// Who was asked last stands last.
    spaces: Vec<Space>,
}

/// The columns kept of a namespace.
pub struct Space {
    namespace: String,
    regions: Vec<Region>,
    change: u64,
    rows: usize,
    columns: Vec<Slot>,
    bytes: usize,
}

/// A stored column, in pieces of [`BATCH_ROWS`].
struct Slot {
    column: u32,
    pieces: Vec<Arc<Column>>,
}

impl Kept {
    /// Where all columns that a fragment reads are kept: of which regions, and as of which change. While these are the
    /// same, [`Kept::space`] needs no records.
    pub fn holds(&self, plan: &FragmentPlan) -> Option<(&[Region], u64)> {
        let space = self.spaces.iter().find(|space| space.namespace == plan.namespace)?;
        let all = (0..plan.columns.len()).all(|index| space.slot(plan, index).is_some());
        all.then_some((&space.regions, space.change))
    }

    /// The columns that a fragment reads, if its namespace is in these regions what it was when it was scanned before:
    /// `change` says so. `records` gives its values: while nothing changes, all of them and in one order.
    pub fn space<'a>(
        &mut self,
        plan: &FragmentPlan,
        regions: &[Region],
        change: u64,
        bytes_max: usize,
        records: impl Iterator<Item = &'a [u8]>,
    ) -> Option<&Space> {
        // Plans come from anybody: what is kept for all is only what the records say, column by column.
        let plain = plan.missing.iter().all(Value::is_null) && plan.columns.is_sorted_by(|a, b| a < b);
        if !plan.by_column() || plan.columns.is_empty() || !plain {
            return None;
        }
        let known = self.spaces.iter().position(|space| space.namespace == plan.namespace);
        let known = known.map(|at| self.spaces.remove(at));
        let same = |space: &Space| space.change == change && space.regions == regions;
        let mut space = match known.filter(same) {
            Some(space) => space,
            None => {
                let (namespace, regions) = (plan.namespace.clone(), regions.to_vec());
                let seen = Space { namespace, regions, change, rows: 0, columns: Vec::new(), bytes: 0 };
                self.spaces.push(seen);
                if self.spaces.len() > SPACES_MAX {
                    self.spaces.remove(0);
                }
                return None;
            }
        };
        let decoded = space.decode(plan, bytes_max, records);
        self.spaces.push(space);
        let mut all: usize = self.spaces.iter().map(|space| space.bytes).sum();
        while all > bytes_max {
            all -= self.spaces.remove(0).bytes;
        }
        if decoded { self.spaces.last() } else { None }
    }
}

impl Space {
    fn slot(&self, plan: &FragmentPlan, index: usize) -> Option<&Slot> {
        self.columns.iter().find(|slot| slot.column == plan.columns[index])
    }

    /// Decodes what is not there yet; whether all columns of the plan are.
    fn decode<'a>(&mut self, plan: &FragmentPlan, bytes_max: usize, records: impl Iterator<Item = &'a [u8]>) -> bool {
        let lacking = |index: &usize| self.slot(plan, *index).is_none();
        let lacking: Vec<usize> = (0..plan.columns.len()).filter(lacking).collect();
        if lacking.is_empty() {
            return true;
        }
        let wanted: Vec<u32> = lacking.iter().map(|index| plan.columns[*index]).collect();
        if self.columns.len() + wanted.len() > SLOTS_MAX {
            return false;
        }
        let (mut pieces, mut rows, mut bytes) = (vec![Vec::new(); wanted.len()], 0, self.bytes);
        let mut piece = Builder::new(wanted.len());
        let mut end = |piece: &mut Builder| {
            let columns = piece.take();
            bytes += columns.bytes();
            rows += columns.len();
            let columns = columns.into_columns();
            pieces.iter_mut().zip(columns).for_each(|(pieces, column)| pieces.push(column));
            bytes <= bytes_max
        };
        for record in records {
            if piece.decode(record, &wanted, &[]).is_err() || piece.len() == BATCH_ROWS && !end(&mut piece) {
                return false;
            }
        }
        if !piece.is_empty() && !end(&mut piece) {
            return false;
        }
        if !self.columns.is_empty() && rows != self.rows {
            return false;
        }
        (self.rows, self.bytes) = (rows, bytes);
        let slots = wanted.into_iter().zip(pieces);
        self.columns.extend(slots.map(|(column, pieces)| Slot { column, pieces }));
        true
    }

    /// The columns that a fragment reads, piece by piece.
    pub fn pieces<'a>(&'a self, plan: &'a FragmentPlan) -> impl Iterator<Item = Columns> + 'a {
        let slots: Vec<&Slot> = (0..plan.columns.len()).filter_map(|index| self.slot(plan, index)).collect();
        (0..self.rows.div_ceil(BATCH_ROWS)).map(move |at| {
            let columns: Vec<Arc<Column>> = slots.iter().filter_map(|slot| slot.pieces.get(at).cloned()).collect();
            Columns::of_columns(columns)
        })
    }
}
