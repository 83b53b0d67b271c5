//! The durable store: one redb file that holds what the engine asked to keep, and the node's secret seed.
//!
//! Invariants: a batch is on disk whole or not at all, batches in the order asked for, and is reported written only
//! after the disk said so. What is read is what was written: redb serves a flipped value without an error, so its
//! pages are verified when the store opens, each value has a checksum of ours, and all of them add up ([`seal`]); an
//! acknowledged transaction that is gone is noticed ([`witness`]). A store that fails any of it does not open,
//! because a peer that lost an acknowledged record must not answer as if it had it. One process at a time (a file lock).

mod backup;
mod error;
mod file;
mod format;
mod seal;
mod walk;
mod witness;

use std::{fs, io, path::Path, sync::Arc};

use pontoon_core::{Saved, store::Batch};
use redb::{Database, ReadTransaction, ReadableDatabase as _};

pub(crate) use backup::save;
pub use backup::{Backup, BackupError, check_backup, restore, write_backup};
pub use error::{Fault, StoreError};
pub use file::Sizes;
#[cfg(unix)]
pub(crate) use walk::SOUND;
pub use walk::Verified;

use error::guarded;
use format::Undo;
use seal::Total;
use walk::Item;
use witness::Witness;

/// Faults that are logged one by one when a store does not open.
const FAULTS_TOLD: u64 = 20;

/// An open store.
#[derive(Debug)]
pub struct Store {
    path: Arc<Path>,
    /// `None` after a failed write: redb takes no further ones until it is opened anew.
    database: Option<Database>,
    /// What the last acknowledged transaction left.
    total: Total,
    /// What a failed transaction replaced, should it be on disk all the same.
    undo: Undo,
    witness: Witness,
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
    /// Opens the store of a directory, and makes both when missing. Where more than half of a large file is free, that
    /// is given back. Slow: reads everything.
    pub fn open(directory: &Path) -> Result<Opened, StoreError> {
        make_directory(directory).map_err(|error| StoreError::io(directory, error))?;
        let path: Arc<Path> = directory.join(file::FILE).into();
        let (mut witness, acknowledged) = Witness::open(directory)?;
        let (mut database, total, seed, saved) = guarded(&path, || {
            match acknowledged {
                Some(count) if file::is_missing(&path) => {
                    let detail = format!("it is gone or empty, and {count} transactions were acknowledged");
                    return Err(StoreError::damaged(&path, detail));
                }
                None if file::is_missing(&path) => make(&path)?,
                _ => {}
            }
            let database = file::open(&path, file::Missing::Refuse)?;
            format::prepare(&path, &database, acknowledged, file::Missing::Make)?;
            let (total, seed, saved) = load(&path, &database, acknowledged)?;
            Ok((database, total, seed, saved))
        })?;
        if file::is_wasteful(&path, &database) {
            database = compact_at_start(&path, database)?;
        }
        witness.note(total.generation);
        Ok(Opened { store: Store { path, database: Some(database), total, undo: Undo::new(), witness }, seed, saved })
    }

    /// Writes some batches in one durable transaction: all of them or none.
    pub fn write(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let database = self.take()?;
        let (path, total, undo) = (&self.path, self.total, &mut self.undo);
        let (database, total) = guarded(path, || {
            // A failure drops the database, which closes the file.
            let total =
                format::write(&database, batches, total, undo).map_err(|error| StoreError::redb(path, error))?;
            Ok((database, total))
        })?;
        self.undo = Undo::new();
        self.database = Some(database);
        self.now_at(total);
        Ok(())
    }

    fn now_at(&mut self, total: Total) {
        self.total = total;
        self.witness.note(total.generation);
    }

    /// The store as it is now, for a backup: it stays so while others write.
    pub fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        let database = self.take()?;
        let (database, transaction) = guarded(&self.path, || {
            let transaction = database.begin_read().map_err(|error| StoreError::redb(&self.path, error))?;
            Ok((database, transaction))
        })?;
        self.database = Some(database);
        Ok(Snapshot { path: Arc::clone(&self.path), transaction })
    }

    /// Takes a failed write back, should it be on disk, before the store is closed.
    pub(crate) fn settle(&mut self) -> Result<(), StoreError> {
        self.database = Some(self.take()?);
        Ok(())
    }

    /// The database; opened anew if the last write failed, and without that write. A commit that failed at its very end,
    /// when the disk was to confirm it, may be in the file, and the engine was told that it is not and will not be. What
    /// it replaced is known to this process alone: one that crashes before this may bring that one transaction back, and no
    /// other, since nothing is written before this.
    fn take(&mut self) -> Result<Database, StoreError> {
        if let Some(database) = self.database.take() {
            return Ok(database);
        }
        let (path, known, undo) = (&self.path, self.total, &self.undo);
        let (database, total) = guarded(path, || {
            let database = file::open(path, file::Missing::Refuse)?;
            let found = format::read_total(path, &database)?;
            if found.generation < known.generation {
                let fault = Fault::Behind { found: found.generation, acknowledged: known.generation };
                return Err(StoreError::damaged(path, fault.to_string()));
            }
            let total = if found == known {
                known
            } else {
                format::take_back(&database, undo, known, found).map_err(|error| StoreError::redb(path, error))?
            };
            Ok((database, total))
        })?;
        self.undo = Undo::new();
        self.now_at(total);
        Ok(database)
    }
}

/// A store as it was at one moment.
pub struct Snapshot {
    path: Arc<Path>,
    transaction: ReadTransaction,
}

impl Snapshot {
    /// Checks every value, and that all are there; each fault is told.
    pub fn verify(&self, mut told: impl FnMut(&Fault)) -> Result<Verified, StoreError> {
        self.verify_each(&mut |fault| fault.into_iter().for_each(&mut told))
    }

    /// The same; each record that is right is shown too, as `None`.
    pub(crate) fn verify_each(&self, each: &mut dyn FnMut(Option<&Fault>)) -> Result<Verified, StoreError> {
        guarded(&self.path, || walk::verify(&self.path, &self.transaction, None, each))
    }
}

/// A store that no supernode runs on, for its upkeep. What a crash left is recovered as at a start.
#[derive(Debug)]
pub struct Offline {
    path: Arc<Path>,
    database: Database,
    acknowledged: Option<u64>,
    /// For its lock.
    _witness: Witness,
}

impl Offline {
    /// Opens the store of a directory, which must be there and not empty. One of an older format is brought up, for good.
    pub fn open(directory: &Path) -> Result<Offline, StoreError> {
        let path: Arc<Path> = directory.join(file::FILE).into();
        if !path.exists() {
            return Err(StoreError::Missing(path.to_path_buf()));
        }
        let (witness, acknowledged) = Witness::open(directory)?;
        guarded(&path, || {
            if acknowledged.is_none() && file::is_missing(&path) {
                return Err(StoreError::New(path.to_path_buf()));
            }
            let database = file::open(&path, file::Missing::Refuse)?;
            format::prepare(&path, &database, acknowledged, file::Missing::Refuse)?;
            Ok(Offline { path: Arc::clone(&path), database, acknowledged, _witness: witness })
        })
    }

    /// Checks every value, and that all are there; each fault is told.
    pub fn verify(&self, mut told: impl FnMut(&Fault)) -> Result<Verified, StoreError> {
        guarded(&self.path, || {
            let transaction = self.begin_read()?;
            let each = &mut |fault: Option<&Fault>| fault.into_iter().for_each(&mut told);
            walk::verify(&self.path, &transaction, self.acknowledged, each)
        })
    }

    /// For a backup.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot { path: Arc::clone(&self.path), transaction: self.begin_read()? })
    }

    /// Gives free pages back to the file system; tells the file's sizes before and after.
    pub fn compact(mut self) -> Result<Sizes, StoreError> {
        guarded(&self.path.clone(), move || file::compact(&self.path, &mut self.database))
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        guarded(&self.path, || self.database.begin_read().map_err(|error| StoreError::redb(&self.path, error)))
    }
}

fn load(path: &Path, database: &Database, acknowledged: Option<u64>) -> Result<(Total, [u8; 32], Saved), StoreError> {
    let transaction = database.begin_read().map_err(|error| StoreError::redb(path, error))?;
    let mut saved = Vec::new();
    let mut faults = 0;
    let mut first = None;
    let contents = walk::walk(path, &transaction, acknowledged, |item| {
        match item {
            Item::Record { key, value, .. } => saved.push((key.to_vec(), value.to_vec())),
            Item::Fault(fault) => {
                faults += 1;
                if faults <= FAULTS_TOLD {
                    tracing::error!(path = %path.display(), "damaged: {fault}");
                }
                first.get_or_insert(fault);
            }
        }
        Ok::<(), StoreError>(())
    })?;
    match (first, contents.seed) {
        (None, Some(seed)) => Ok((contents.stated, seed, saved)),
        (Some(fault), _) if faults > 1 => Err(StoreError::damaged(path, format!("{faults} faults; {fault}"))),
        (Some(fault), _) => Err(StoreError::damaged(path, fault.to_string())),
        (None, None) => Err(StoreError::damaged(path, "no identity")),
    }
}

/// Makes a store, which is there whole or not at all: where there is no room for it, say, nothing is in the way of a
/// later attempt.
fn make(path: &Path) -> Result<(), StoreError> {
    let making = path.with_extension("making");
    let io = |error| StoreError::io(path, error);
    let _ = fs::remove_file(&making);
    let made = file::open(&making, file::Missing::Make)
        .and_then(|database| format::prepare(&making, &database, None, file::Missing::Make));
    made.inspect_err(|_| drop(fs::remove_file(&making)))?;
    fs::rename(&making, path).map_err(io)?;
    path.parent().map_or(Ok(()), sync_directory).map_err(io)
}

/// So that a rename outlives a power failure.
fn sync_directory(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    fs::File::open(directory)?.sync_all()?;
    Ok(())
}

/// Room is a convenience: without success the store is as good as before.
fn compact_at_start(path: &Path, mut database: Database) -> Result<Database, StoreError> {
    let compacted = guarded(path, || {
        let sizes = file::compact(path, &mut database)?;
        Ok((database, sizes))
    });
    match compacted {
        Ok((database, Sizes { before, after })) => {
            tracing::info!(before, after, "the store's file was compacted");
            Ok(database)
        }
        Err(error) => {
            tracing::warn!(%error, "the store's file was not compacted");
            guarded(path, || file::open(path, file::Missing::Refuse))
        }
    }
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Opens a file for reading and writing, and makes it when missing; nobody else may read it.
fn create_private(path: &Path) -> io::Result<fs::File> {
    private().create(true).truncate(false).open(path)
}

/// Makes a file that is not there, nor a link of that name.
fn create_new_private(path: &Path) -> io::Result<fs::File> {
    private().create_new(true).open(path)
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests;
