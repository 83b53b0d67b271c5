//! The tables of the store, its format's version, and how a transaction brings them along.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | the version, one byte |
//! | | `seed` | the node's secret, sealed |
//! | | `total` | what the records come to ([`Total`]), sealed |
//! | `records` | the engine's | the engine's, sealed |
//!
//! Format 1 had the records in `pairs`, under checksums that did not cover the table, and no total; it is brought up
//! in one transaction.

use std::path::Path;

use pontoon_core::{Id, store::Batch};
use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError, WriteTransaction,
};

use super::{
    error::{Fault, StoreError},
    file::Missing,
    seal::{CHECK_BYTES, Total, seal, unseal},
};

const FORMAT: u8 = 2;
pub(super) const META_NAME: &str = "meta";
pub(super) const RECORDS_NAME: &str = "records";
pub(super) const SEED: &str = "seed";
const TOTAL: &str = "total";
const META: TableDefinition<&str, &[u8]> = TableDefinition::new(META_NAME);
pub(super) const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new(RECORDS_NAME);
const PAIRS_1: TableDefinition<&[u8], &[u8]> = TableDefinition::new("pairs");

/// Makes the tables of a new store, in one transaction with its identity, unless that is refused; brings those of an
/// older format up.
pub(super) fn prepare(
    path: &Path,
    database: &Database,
    acknowledged: Option<u64>,
    new: Missing,
) -> Result<(), StoreError> {
    let redb = |error: redb::Error| StoreError::redb(path, error);
    match read_format(database).map_err(redb)? {
        Format::Is(FORMAT) => Ok(()),
        Format::Is(1) => from_1(path, database),
        Format::Is(later @ FORMAT..) => Err(StoreError::Later { path: path.to_owned(), format: later }),
        Format::Is(0) | Format::Unclear => Err(StoreError::damaged(path, "no format")),
        Format::New => match acknowledged {
            Some(acknowledged) => Err(StoreError::damaged(path, Fault::Behind { found: 0, acknowledged }.to_string())),
            None if new == Missing::Refuse => Err(StoreError::New(path.to_owned())),
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(StoreError::Random)?;
                make(database, &seal(META_NAME, SEED.as_bytes(), &seed), Total::default()).map_err(redb)
            }
        },
    }
}

enum Format {
    New,
    Is(u8),
    Unclear,
}

fn read_format(database: &Database) -> Result<Format, redb::Error> {
    let transaction = database.begin_read()?;
    if transaction.list_tables()?.next().is_none() {
        return Ok(Format::New);
    }
    let format = read_meta(&transaction, "format")?;
    Ok(match format.as_deref() {
        Some([format]) => Format::Is(*format),
        _ => Format::Unclear,
    })
}

/// Makes the tables of an empty database.
pub(super) fn make(database: &Database, sealed_seed: &[u8], total: Total) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    write_meta(&transaction, sealed_seed, &total)?;
    transaction.commit()?;
    Ok(())
}

fn write_meta(transaction: &WriteTransaction, sealed_seed: &[u8], total: &Total) -> Result<(), redb::Error> {
    let mut meta = transaction.open_table(META)?;
    meta.insert("format", &[FORMAT][..])?;
    meta.insert(SEED, sealed_seed)?;
    meta.insert(TOTAL, &seal_total(total)[..])?;
    Ok(())
}

fn from_1(path: &Path, database: &Database) -> Result<(), StoreError> {
    let wrong = || StoreError::damaged(path, "of format 1, and fails its checksums");
    let redb = |error: redb::Error| StoreError::redb(path, error);
    let transaction = database.begin_write().map_err(|error| redb(error.into()))?;
    let copy = || -> Result<Option<()>, redb::Error> {
        let sealed = transaction.open_table(META)?.get(SEED)?.map(|seed| seed.value().to_vec()).unwrap_or_default();
        let Some(seed) = unseal_1(SEED.as_bytes(), &sealed) else { return Ok(None) };
        let mut total = Total::default();
        {
            let (pairs, mut records) = (transaction.open_table(PAIRS_1)?, transaction.open_table(RECORDS)?);
            for pair in pairs.iter()? {
                let (key, value) = pair?;
                let Some(value) = unseal_1(key.value(), value.value()) else { return Ok(None) };
                let sealed = seal(RECORDS_NAME, key.value(), value);
                total.put(&sealed);
                records.insert(key.value(), &sealed[..])?;
            }
        }
        total.generation = 1;
        transaction.delete_table(PAIRS_1)?;
        write_meta(&transaction, &seal(META_NAME, SEED.as_bytes(), seed), &total)?;
        Ok(Some(()))
    };
    copy().map_err(redb)?.ok_or_else(wrong)?;
    transaction.commit().map_err(|error| redb(error.into()))
}

fn unseal_1<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (check, value) = sealed.split_at_checked(CHECK_BYTES)?;
    let digest = Id::hash(&[&(key.len() as u64).to_be_bytes()[..], key, value].concat());
    (digest.0[..CHECK_BYTES] == *check).then_some(value)
}

/// What was under a key before, sealed; in the order of writing.
pub(super) type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One transaction: the batches in order, and what the records come to after them. `undo` has what they replaced.
pub(super) fn write(
    database: &Database,
    batches: &[Batch],
    mut total: Total,
    undo: &mut Undo,
) -> Result<Total, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for (key, value) in batches.iter().flatten() {
            let before = match value {
                Some(value) => {
                    let sealed = seal(RECORDS_NAME, key, value);
                    total.put(&sealed);
                    records.insert(&key[..], &sealed[..])?
                }
                None => records.remove(&key[..])?,
            };
            let before = before.map(|before| before.value().to_vec());
            if let Some(before) = &before {
                total.take(before);
            }
            undo.push((key.clone(), before));
        }
    }
    total.generation += 1;
    transaction.open_table(META)?.insert(TOTAL, &seal_total(&total)[..])?;
    transaction.commit()?;
    Ok(total)
}

/// Takes a transaction back that turned out to be on disk although its commit failed. `total` is what there was before
/// it, `found` what there is.
pub(super) fn take_back(
    database: &Database,
    undo: &Undo,
    mut total: Total,
    found: Total,
) -> Result<Total, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for (key, before) in undo.iter().rev() {
            match before {
                Some(sealed) => records.insert(&key[..], &sealed[..])?,
                None => records.remove(&key[..])?,
            };
        }
    }
    total.generation = found.generation + 1;
    transaction.open_table(META)?.insert(TOTAL, &seal_total(&total)[..])?;
    transaction.commit()?;
    Ok(total)
}

/// Adds values that are sealed already, to a store that is being restored.
pub(super) fn write_sealed(database: &Database, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for (key, sealed) in pairs {
            records.insert(&key[..], &sealed[..])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What the last transaction says that the records come to.
pub(super) fn read_total(path: &Path, database: &Database) -> Result<Total, StoreError> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> { read_meta(&database.begin_read()?, TOTAL) };
    let sealed = read().map_err(|error| StoreError::redb(path, error))?;
    sealed.as_deref().and_then(unseal_total).ok_or_else(|| StoreError::damaged(path, total_fault().to_string()))
}

/// The sealed secret and the total, each if it is what was written.
pub(super) fn read_sealed_meta(transaction: &ReadTransaction) -> Result<(Option<Vec<u8>>, Option<Total>), redb::Error> {
    let seed = read_meta(transaction, SEED)?.filter(|seed| unseal(META_NAME, SEED.as_bytes(), seed).is_some());
    let total = read_meta(transaction, TOTAL)?.as_deref().and_then(unseal_total);
    Ok((seed, total))
}

pub(super) fn seed_fault() -> Fault {
    Fault::Value { table: META_NAME, key: SEED.into() }
}

pub(super) fn total_fault() -> Fault {
    Fault::Value { table: META_NAME, key: TOTAL.into() }
}

pub(super) fn seal_total(total: &Total) -> Vec<u8> {
    seal(META_NAME, TOTAL.as_bytes(), &total.encode())
}

pub(super) fn unseal_total(sealed: &[u8]) -> Option<Total> {
    unseal(META_NAME, TOTAL.as_bytes(), sealed).and_then(Total::decode)
}

fn read_meta(transaction: &ReadTransaction, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = match transaction.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    let value = table.get(key)?.map(|value| value.value().to_vec());
    Ok(value)
}
