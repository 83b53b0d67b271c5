//! Reading everything in a store, each value checked and all of them added up: what opening, verifying and backing up
//! have in common.

use std::{fmt, path::Path};

use redb::{ReadTransaction, ReadableTable as _};

use super::{
    error::{Fault, StoreError},
    format::{self, META_NAME, RECORDS, RECORDS_NAME, SEED},
    seal::{Total, unseal},
};

/// One thing found.
pub(super) enum Item<'a> {
    /// A record that is what was written.
    Record { key: &'a [u8], value: &'a [u8], sealed: &'a [u8] },
    /// Something that is not.
    Fault(Fault),
}

/// What there is beside the records.
pub(super) struct Contents {
    /// The node's secret, if it is what was written.
    pub(super) seed: Option<[u8; 32]>,
    /// What the records should come to.
    pub(super) stated: Total,
    pub(super) found: Total,
}

/// Shows everything in the order of keys. `acknowledged`: the transactions that there must be.
pub(super) fn walk<E: From<StoreError>>(
    path: &Path,
    transaction: &ReadTransaction,
    acknowledged: Option<u64>,
    mut visit: impl FnMut(Item<'_>) -> Result<(), E>,
) -> Result<Contents, E> {
    let redb = |error: redb::Error| StoreError::redb(path, error);
    let (sealed_seed, stated) = format::read_sealed_meta(transaction).map_err(redb)?;
    let seed = sealed_seed.as_deref().and_then(|seed| unseal(META_NAME, SEED.as_bytes(), seed)?.try_into().ok());
    if seed.is_none() {
        visit(Item::Fault(format::seed_fault()))?;
    }
    let mut found = Total::default();
    let mut damaged = false;
    let table = transaction.open_table(RECORDS).map_err(|error| redb(error.into()))?;
    for pair in table.iter().map_err(|error| redb(error.into()))? {
        let (key, sealed) = pair.map_err(|error| redb(error.into()))?;
        let (key, sealed) = (key.value(), sealed.value());
        found.put(sealed);
        match unseal(RECORDS_NAME, key, sealed) {
            Some(value) => visit(Item::Record { key, value, sealed })?,
            None => {
                damaged = true;
                visit(Item::Fault(Fault::Value { table: RECORDS_NAME, key: key.to_vec() }))?;
            }
        }
    }
    match stated {
        None => visit(Item::Fault(format::total_fault()))?,
        // A damaged checksum is told once.
        Some(stated) if !found.agrees(&stated) && (!damaged || found.records != stated.records) => {
            visit(Item::Fault(Fault::Total { found: found.records, stated: stated.records }))?;
        }
        Some(_) => {}
    }
    let stated = stated.unwrap_or_default();
    found.generation = stated.generation;
    if let Some(acknowledged) = acknowledged.filter(|acknowledged| *acknowledged > stated.generation) {
        visit(Item::Fault(Fault::Behind { found: stated.generation, acknowledged }))?;
    }
    Ok(Contents { seed, stated, found })
}

/// What a store was found to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records that are what was written.
    pub records: u64,
    /// Their bytes, keys included.
    pub bytes: u64,
    /// The last transaction's number.
    pub generation: u64,
    /// Things that are not what was written.
    pub faults: u64,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verified { records, bytes, generation, faults } = self;
        match faults {
            0 => write!(f, "{SOUND} {records} records ({bytes} bytes), {generation} transactions"),
            _ => write!(f, "damaged: {faults} faults; {records} records are what was written"),
        }
    }
}

/// How the line begins that says that there is no fault.
pub(crate) const SOUND: &str = "sound:";

/// Checks everything; `each` has each record that is right, as `None`, and each fault.
pub(super) fn verify(
    path: &Path,
    transaction: &ReadTransaction,
    acknowledged: Option<u64>,
    each: &mut dyn FnMut(Option<&Fault>),
) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let contents = walk(path, transaction, acknowledged, |item| {
        match item {
            Item::Record { key, value, .. } => {
                verified.records += 1;
                verified.bytes += (key.len() + value.len()) as u64;
                each(None);
            }
            Item::Fault(fault) => {
                verified.faults += 1;
                each(Some(&fault));
            }
        }
        Ok::<(), StoreError>(())
    })?;
    verified.generation = contents.stated.generation;
    Ok(verified)
}
