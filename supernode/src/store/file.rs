//! The redb file: opening, verifying its pages, compacting.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{Builder, Database};

use super::{create_private, error::StoreError};

pub(super) const FILE: &str = "pontoon.redb";
const CACHE_BYTES: usize = 32 << 20;
/// Below, free pages are not worth the time.
const COMPACT_FROM_BYTES: u64 = 32 << 20;

/// What to do where there is no file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

/// Whether there is nothing to lose.
pub(super) fn is_missing(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Opens the file and verifies the checksum of every page: redb itself does that after a crash only.
pub(super) fn open(path: &Path, missing: Missing) -> Result<Database, StoreError> {
    let file = match missing {
        // The file holds the node's secret.
        Missing::Make => create_private(path),
        Missing::Refuse => fs::OpenOptions::new().read(true).write(true).open(path),
    };
    let file = file.map_err(|error| StoreError::io(path, error))?;
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let mut database = Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_repair_callback(move |_| seen.store(true, Ordering::Relaxed))
        .create_file(file)
        .map_err(|error| StoreError::redb(path, error))?;
    if !repaired.load(Ordering::Relaxed) {
        match database.check_integrity() {
            Ok(true) => {}
            // What it could not know is whether something is missing now; the total and the witness do.
            Ok(false) => tracing::warn!(path = %path.display(), "redb repaired its file"),
            Err(error) => return Err(StoreError::redb(path, error)),
        }
    }
    Ok(database)
}

/// A file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Before it was compacted.
    pub before: u64,
    /// After it.
    pub after: u64,
}

/// Whether more than half of a large file is free.
pub(super) fn is_wasteful(path: &Path, database: &Database) -> bool {
    let bytes = bytes_of(path);
    let used = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let stats = transaction.stats()?;
        transaction.abort()?;
        Ok(stats.allocated_pages() * stats.page_size() as u64)
    };
    bytes >= COMPACT_FROM_BYTES && used().is_ok_and(|used| used < bytes / 2)
}

/// Gives free pages back to the file system.
pub(super) fn compact(path: &Path, database: &mut Database) -> Result<Sizes, StoreError> {
    let before = bytes_of(path);
    database.compact().map_err(|error| StoreError::redb(path, error))?;
    Ok(Sizes { before, after: bytes_of(path) })
}

fn bytes_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
