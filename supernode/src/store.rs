//! The durable store: one redb file that holds what the engine asked to keep, and the node's secret seed.
//!
//! Invariants: a batch is on disk whole or not at all, batches in the order asked for, and is reported written only
//! after the disk said so. Every pair carries a checksum, since redb serves a flipped value without an error; a
//! damaged store does not open, because a peer that lost an acknowledged record must not answer as if it had it.
//! One process at a time (a file lock).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pontoon_core::{Id, Saved, store::Batch};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

const FILE: &str = "pontoon.redb";
const FORMAT: &[u8] = &[1];
const CHECK_BYTES: usize = 8;
const CACHE_BYTES: usize = 32 << 20;

/// `format` and `seed`.
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// The engine's pairs; a value is [`CHECK_BYTES`] of checksum and the engine's bytes.
const PAIRS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("pairs");

/// Why a store did not open or did not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another supernode of this process, has it open.
    #[error("{} is in use: another supernode runs on this data directory", .0.display())]
    InUse(PathBuf),
    /// The file is there but does not hold what was written.
    #[error("{} is damaged ({detail}); restore a copy, or move it away to start as a new peer", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A later version of this program wrote it.
    #[error("{} was written by a later version (format {format})", path.display())]
    Later {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u8,
    },
    /// The file system or the database says no.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// Its reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The system gave no random bytes for a new identity.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// `None` after a failed write: redb takes no further ones until it is opened anew.
    database: Option<Database>,
}

/// What an opened store has to say.
#[derive(Debug)]
pub struct Opened {
    /// For the batches to come.
    pub store: Store,
    /// The secret that the node's key pair is made of.
    pub seed: [u8; 32],
    /// What earlier batches left.
    pub saved: Saved,
}

impl Store {
    /// Opens the store of a directory, and makes both when missing. Slow: reads everything.
    pub fn open(directory: &Path) -> Result<Opened, StoreError> {
        make_directory(directory).map_err(|error| disk(directory, error))?;
        let path = directory.join(FILE);
        let database = open_file(&path)?;
        let seed = read_or_make_seed(&path, &database)?;
        let saved = read_pairs(&path, &database)?;
        Ok(Opened { store: Store { path, database: Some(database) }, seed, saved })
    }

    /// Writes some batches in one durable transaction: all of them or none.
    pub fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_file(&self.path)?,
        };
        write_pairs(&database, batches).map_err(|error| disk(&self.path, error))?;
        self.database = Some(database);
        Ok(())
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // The file holds the node's secret.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| disk(path, error))?;
    Database::builder().set_cache_size(CACHE_BYTES).create_file(file).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        DatabaseError::Storage(redb::StorageError::Corrupted(detail)) => damaged(path, detail),
        error => disk(path, error),
    })
}

fn read_or_make_seed(path: &Path, database: &Database) -> Result<[u8; 32], StoreError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StoreError::Random)?;
    let stored = read_or_write_meta(database, &seal(b"seed", &seed)).map_err(|error| disk(path, error))?;
    match stored {
        Meta { format, .. } if format != FORMAT => match format.first() {
            Some(format) => Err(StoreError::Later { path: path.to_owned(), format: *format }),
            None => Err(damaged(path, "no format")),
        },
        Meta { seed, .. } => unseal(b"seed", &seed)
            .and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| damaged(path, "the checksum of the identity does not match")),
    }
}

struct Meta {
    format: Vec<u8>,
    seed: Vec<u8>,
}

/// What the table says; on a new store, what is given. One transaction, so there is never a store without identity.
fn read_or_write_meta(database: &Database, seed: &[u8]) -> Result<Meta, redb::Error> {
    let transaction = database.begin_write()?;
    let meta = {
        let mut table = transaction.open_table(META)?;
        transaction.open_table(PAIRS)?;
        let format = table.get("format")?.map(|format| format.value().to_vec());
        match format {
            Some(format) => {
                let seed = table.get("seed")?.map(|seed| seed.value().to_vec()).unwrap_or_default();
                Meta { format, seed }
            }
            None => {
                table.insert("format", FORMAT)?;
                table.insert("seed", seed)?;
                Meta { format: FORMAT.to_vec(), seed: seed.to_vec() }
            }
        }
    };
    transaction.commit()?;
    Ok(meta)
}

fn read_pairs(path: &Path, database: &Database) -> Result<Saved, StoreError> {
    let mut saved = Vec::new();
    let mut wrong = 0_usize;
    let mut read = || -> Result<(), redb::Error> {
        for pair in database.begin_read()?.open_table(PAIRS)?.iter()? {
            let (key, value) = pair?;
            match unseal(key.value(), value.value()) {
                Some(value) => saved.push((key.value().to_vec(), value.to_vec())),
                None => wrong += 1,
            }
        }
        Ok(())
    };
    read().map_err(|error| disk(path, error))?;
    match wrong {
        0 => Ok(saved),
        wrong => Err(damaged(path, format!("{wrong} records fail their checksum"))),
    }
}

fn write_pairs(database: &Database, batches: &[Batch]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(PAIRS)?;
        for (key, value) in batches.iter().flatten() {
            match value {
                Some(value) => table.insert(&key[..], &seal(key, value)[..])?,
                None => table.remove(&key[..])?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Id::hash(&[&(key.len() as u64).to_be_bytes()[..], key, value].concat());
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest.0[..CHECK_BYTES]);
    check
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [&checksum(key, value)[..], value].concat()
}

fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (check, value) = sealed.split_at_checked(CHECK_BYTES)?;
    (checksum(key, value) == *check).then_some(value)
}

fn disk(path: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Disk { path: path.to_owned(), source: error.into() }
}

fn damaged(path: &Path, detail: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &[u8], value: &[u8]) -> Batch {
        vec![(key.to_vec(), Some(value.to_vec()))]
    }

    #[test]
    fn batches_and_the_identity_are_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let Opened { mut store, seed, saved } = Store::open(directory.path()).unwrap();
        assert!(saved.is_empty());
        store.write(&[put(b"a", b"1"), put(b"b", b"2"), put(b"a", b"3"), vec![(b"b".to_vec(), None)]]).unwrap();
        store.write(&[put(b"c", b"")]).unwrap();
        drop(store);

        let again = Store::open(directory.path()).unwrap();
        assert_eq!(again.seed, seed);
        assert_eq!(again.saved, [(b"a".to_vec(), b"3".to_vec()), (b"c".to_vec(), b"".to_vec())]);
    }

    #[test]
    fn two_stores_have_two_identities() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(Store::open(one.path()).unwrap().seed, Store::open(two.path()).unwrap().seed);
    }

    #[test]
    fn one_opener_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path()).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(StoreError::InUse(_))));
        drop(first);
        Store::open(directory.path()).unwrap();
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut opened = Store::open(directory.path()).unwrap();
        let value = [0x5a; 300];
        opened.store.write(&[put(b"key", &value)]).unwrap();
        drop(opened);

        let path = directory.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let mut flipped = 0;
        for at in 0..bytes.len() - value.len() {
            if bytes[at..at + value.len()] == value {
                bytes[at + 150] ^= 1;
                flipped += 1;
            }
        }
        assert!(flipped > 0, "the value is somewhere in the file");
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Store::open(directory.path()), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), vec![7; 10_000]).unwrap();
        assert!(Store::open(directory.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_read_the_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        let _opened = Store::open(&directory).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
    }
}
