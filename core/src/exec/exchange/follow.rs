//! The way of a row past the owners of others.

use serde::{Deserialize, Serialize};

use super::{Parcel, To, pieces};
use crate::{
    Error, Id,
    data::{Row, SignedRow, Value, codec},
    exec::{
        eval::truth,
        fragment::{Budget, FragmentPlan},
        ops::{Batch, matcher::key_of},
    },
    map::Map,
    sql::{
        fault::{CORRUPTED, UNSUPPORTED, fail},
        scalar::Scalar,
    },
    store::Version,
};

/// The way of a row past the owners of others, each of which adds its own to it.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Follow {
    /// At whose owners it stops.
    pub stops: Vec<Stop>,
    /// A row to which nothing is added stays, with so many NULLs.
    pub keep: Option<usize>,
    /// Columns of the whole row that make the pair, in its order.
    pub order: Vec<u32>,
    /// Which pairs count.
    pub condition: Option<Scalar>,
}

/// See [`Follow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The key of a record, over the row so far.
    pub key: Vec<Scalar>,
    /// It is one value, which is that key as it is stored.
    pub stored: bool,
    /// What is added of the record.
    pub fragment: FragmentPlan,
}

impl Follow {
    /// Cuts rows into parcels for the owners at a stop.
    pub fn cut(&self, stop: usize, rows: Vec<SignedRow>, run: u64, first: u32) -> Result<Vec<Parcel>, Error> {
        let Stop { key: exprs, stored, fragment } = self.stop(stop)?;
        let mut by_key: Map<Vec<u8>, Vec<SignedRow>> = Map::new();
        for row in rows {
            let (key, _) = key_of(exprs, &row.row)?;
            let key = match &key[..] {
                [Value::Blob(key)] if *stored => key.clone(),
                key if self.keep.is_none() && key.iter().any(Value::is_null) => continue,
                key => codec::encode_key(key),
            };
            by_key.entry(key).or_default().push(row);
        }
        let mut parcels: Vec<Parcel> = Vec::new();
        for (key, rows) in by_key {
            let id = Id::object(fragment.namespace(), &key, fragment.locality_bits());
            for rows in pieces(rows) {
                let index = first + parcels.len() as u32;
                let rows = postcard::to_allocvec(&rows).unwrap_or_default();
                let to = To::Owner { id, key: key.clone(), stop: stop as u8 };
                parcels.push(Parcel { to, run, index, rows });
            }
        }
        Ok(parcels)
    }

    /// Adds what an owner has under the key of these rows, which is one row or none.
    pub fn add(
        &self,
        stop: usize,
        rows: Vec<SignedRow>,
        record: Option<(&[u8], &[u8], &Version)>,
        budget: &Budget,
    ) -> Result<Vec<SignedRow>, Error> {
        let found = self.stop(stop)?.fragment.run(record.into_iter(), budget)?.batch.by_row().rows;
        let mut added = Vec::new();
        for SignedRow { row, weight } in rows {
            let mut matched = false;
            for other in &found {
                let whole = [&row[..], &other.row].concat();
                let last = stop + 1 == self.stops.len();
                if last && let Some(condition) = &self.condition {
                    let pair = self.pair(&whole)?;
                    if truth(condition, &pair)? != Some(true) {
                        continue;
                    }
                }
                matched = true;
                added.push(SignedRow { row: whole, weight: weight.saturating_mul(other.weight) });
            }
            if let (false, Some(width)) = (matched, self.keep) {
                let mut whole = row;
                whole.extend(core::iter::repeat_n(Value::Null, width));
                added.push(SignedRow { row: whole, weight });
            }
        }
        Ok(added)
    }

    /// What is done at a stop.
    pub fn stop(&self, stop: usize) -> Result<&Stop, Error> {
        self.stops.get(stop).map_or_else(|| fail(UNSUPPORTED, "a stop that is not there"), Ok)
    }

    /// The pair that a whole row is.
    fn pair(&self, whole: &[Value]) -> Result<Row, Error> {
        let columns = self.order.iter().map(|at| whole.get(*at as usize).cloned());
        columns.collect::<Option<Row>>().map_or_else(|| fail(CORRUPTED, "a row of another width than the plan's"), Ok)
    }

    /// The pairs that whole rows are.
    pub fn pairs(&self, rows: Vec<SignedRow>) -> Result<Batch, Error> {
        let mut pairs = Batch::default();
        for SignedRow { row, weight } in rows {
            pairs.push(self.pair(&row)?, weight);
        }
        Ok(pairs)
    }
}
