//! Why a store does not open or does not take a batch.

use std::{
    any::Any,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// Why a store did not open or did not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another supernode of this process, has it open.
    #[error("{} is in use: another supernode runs on this data directory", .0.display())]
    InUse(PathBuf),
    /// There is none, where one is wanted.
    #[error("there is no store at {}", .0.display())]
    Missing(PathBuf),
    /// There is a file, and no supernode has written to it yet.
    #[error("{} holds no store yet: starting a supernode, or `restore`, makes one", .0.display())]
    New(PathBuf),
    /// The file is there but does not hold what was written.
    #[error(
        "{} is damaged ({detail}); `pontoon-supernode verify` tells more, `restore` brings a backup back, \
         and without one an empty data directory starts as a new peer",
        path.display()
    )]
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
    /// The disk, or what this process may use of it, is full.
    #[error("no room for {}: {source}", path.display())]
    Full {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
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

impl StoreError {
    pub(super) fn damaged(path: &Path, detail: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), detail: detail.into() }
    }

    pub(super) fn io(path: &Path, error: io::Error) -> StoreError {
        use io::ErrorKind::{FileTooLarge, NotFound, QuotaExceeded, StorageFull};
        let path = path.to_owned();
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => StoreError::Full { path, source: error },
            NotFound => StoreError::Missing(path),
            _ => StoreError::Disk { path, source: error.into() },
        }
    }

    pub(super) fn redb(path: &Path, error: impl Into<redb::Error>) -> StoreError {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                StoreError::damaged(path, "it ends too early")
            }
            // So it says that the first bytes are not its own.
            redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                StoreError::damaged(path, error.to_string())
            }
            redb::Error::Io(error) => StoreError::io(path, error),
            error @ (redb::Error::PreviousIo
            | redb::Error::LockPoisoned(_)
            | redb::Error::ValueTooLarge(_)
            | redb::Error::DatabaseClosed) => StoreError::Disk { path: path.to_owned(), source: error.into() },
            redb::Error::Corrupted(detail) => StoreError::damaged(path, detail),
            // A table that is another one or not there, a file of another format: nothing that this program does.
            error => StoreError::damaged(path, error.to_string()),
        }
    }
}

/// Runs what reads or writes the file. On a damaged one redb may panic where it takes something for granted.
pub(super) fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(StoreError::damaged(path, message(&*panic))))
}

/// In one line.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic.downcast_ref::<&str>().copied().unwrap_or("redb gave up on it"),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Something in a store that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A value does not match its checksum.
    Value {
        /// The table.
        table: &'static str,
        /// The key.
        key: Vec<u8>,
    },
    /// The values do not add up: some are missing, or older than they should be.
    Total {
        /// Records found.
        found: u64,
        /// Records that there should be.
        stated: u64,
    },
    /// Acknowledged transactions are missing.
    Behind {
        /// The last transaction found.
        found: u64,
        /// The last one acknowledged.
        acknowledged: u64,
    },
    /// The pages do not match their checksums, or hold what cannot be.
    Pages(String),
}

/// Bytes of a key that are shown.
const SHOWN_BYTES: usize = 80;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Value { table, key } => {
                write!(f, "table {table}, key 0x")?;
                key.iter().take(SHOWN_BYTES).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                if key.len() > SHOWN_BYTES {
                    write!(f, ".. ({} bytes)", key.len())?;
                }
                write!(f, ": the value fails its checksum")
            }
            Fault::Total { found, stated } if found == stated => write!(f, "the {stated} records do not add up"),
            Fault::Total { found, stated } => write!(f, "{found} records where {stated} were written"),
            Fault::Behind { found, acknowledged } => {
                write!(f, "it ends with transaction {found}, and {acknowledged} were acknowledged")
            }
            Fault::Pages(detail) => write!(f, "its pages: {detail}"),
        }
    }
}
