//! How many transactions were acknowledged, in a small file beside the store.
//!
//! After a crash redb falls back to the transaction before the last one where the last one's pages do not verify: right
//! for a transaction that was never finished, silent loss for one that was acknowledged and damaged since. Also a file
//! that was cut to nothing is a new store for it. So each transaction has a number, which is written here once it
//! is on disk; a store that has fewer is damaged. No fsync: a killed process leaves what it wrote, and after a power
//! failure the number may be behind, never ahead.
//!
//! Whoever has the store open, makes it or restores it holds a lock on this file: redb's own is on a file that may be
//! replaced.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{
    create_private,
    error::StoreError,
    seal::{seal, unseal},
};

const FILE: &str = "pontoon.witness";
const TABLE: &str = "witness";
const BYTES_MAX: u64 = 64;

#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    /// Kept while the store is open, whatever writing it comes to: it is the lock. `None` where it does not open.
    file: Option<File>,
    /// The last number was not written: said once, and the store does without until one is.
    behind: bool,
}

impl Witness {
    /// Opens or makes the file; gives the number in it. Where another one holds it, the store is in use.
    pub(super) fn open(directory: &Path) -> Result<(Witness, Option<u64>), StoreError> {
        let path = directory.join(FILE);
        let file = match create_private(&path) {
            Ok(file) => file,
            Err(error) => {
                let mut witness = Witness { path, file: None, behind: false };
                witness.lost(&error);
                return Ok((witness, None));
            }
        };
        // Where there are no locks, redb has not got its own either.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(StoreError::InUse(directory.join(super::file::FILE)));
        }
        let mut bytes = Vec::new();
        let read = (&file).take(BYTES_MAX).read_to_end(&mut bytes);
        let number = unseal(TABLE, b"", &bytes).and_then(|number| number.try_into().ok());
        if read.is_err() || number.is_none() && !bytes.is_empty() {
            tracing::warn!(path = %path.display(), "not readable: a store that went back in time would not be noticed");
        }
        Ok((Witness { path, file: Some(file), behind: false }, number.map(u64::from_be_bytes)))
    }

    /// Before the store is replaced by one that may have fewer.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.set_len(0)?;
        // Else, after a power failure, the old number may be beside the new store.
        file.sync_all()
    }

    /// So many transactions are on disk.
    pub(super) fn note(&mut self, generation: u64) {
        let Some(file) = &mut self.file else { return };
        let sealed = seal(TABLE, b"", &generation.to_be_bytes());
        if let Err(error) = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&sealed)) {
            self.lost(&error);
        } else {
            self.behind = false;
        }
    }

    fn lost(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.behind, true) {
            tracing::warn!(%error, path = %self.path.display(), "not written: a store that goes back in time may not be noticed");
        }
    }

    /// As on a disk that takes no writes: of the file only what reads is left, and its lock.
    #[cfg(test)]
    pub(super) fn stop_writing(&mut self) {
        let read_only = File::open(&self.path).unwrap();
        let locked = self.file.replace(read_only).unwrap();
        drop(locked);
        self.file.as_ref().unwrap().try_lock().unwrap();
    }
}
