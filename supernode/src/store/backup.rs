//! Backups: one file that holds a whole store as it was at one moment, and cannot be taken for something else.
//!
//! ```text
//! "pontoon-backup" version(1)
//! seed:    1, the sealed secret
//! record:  2, bytes of key, bytes of value (u32, big-endian), key, sealed value      any number, in the order of keys
//! end:     0, the sealed total
//! SHA-1 of everything before
//! ```
//!
//! Values keep the checksums that they have in the store, and are checked when a backup is written and when it is read.
//! A file that ends early, has more behind its end or a flipped bit is refused, and nothing of it is used.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use redb::Database;
use sha1::{Digest as _, Sha1};

use super::{
    Snapshot, create_new_private,
    error::{Fault, StoreError, guarded},
    file, format, make_directory,
    seal::{Total, unseal},
    sync_directory,
    walk::{Item, walk},
    witness::Witness,
};

const MAGIC: &[u8] = b"pontoon-backup";
const VERSION: u8 = 1;
const END: u8 = 0;
const SEED: u8 = 1;
const RECORD: u8 = 2;
const SEED_BYTES: usize = 40;
const TOTAL_BYTES: usize = 32;
const HASH_BYTES: usize = 20;
/// Written to a store in one transaction, about.
const GROUP_BYTES: usize = 16 << 20;

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file is something else.
    #[error("this is not a backup")]
    Foreign,
    /// A later version of this program wrote it.
    #[error("the backup was written by a later version (format {0})")]
    Later(u8),
    /// The file ends before the backup does.
    #[error("the backup is cut short")]
    Cut,
    /// The file holds something that was not written.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
    /// There is a store already.
    #[error("there is a store already: {}; --force replaces it", .0.display())]
    Exists(PathBuf),
    /// A damaged value in the store: such a backup would be worth nothing.
    #[error("the store is damaged, and not backed up: {0}")]
    Fault(Fault),
    /// The store that is read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file or the stream.
    #[error("{0}")]
    Io(io::Error),
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Records.
    pub records: u64,
    /// The file's bytes.
    pub bytes: u64,
    /// The last transaction's number.
    pub generation: u64,
}

/// Writes all of a snapshot. What is written without success has no end, and is refused by whoever reads it.
pub fn write_backup(snapshot: &Snapshot, out: impl Write) -> Result<Backup, BackupError> {
    guarded(&snapshot.path, || Ok(write_all(snapshot, out))).map_err(BackupError::from).and_then(|written| written)
}

fn write_all(snapshot: &Snapshot, out: impl Write) -> Result<Backup, BackupError> {
    let mut out = Summed::new(BufWriter::new(out));
    out.write(&[MAGIC, &[VERSION]])?;
    let (sealed_seed, _) =
        format::read_sealed_meta(&snapshot.transaction).map_err(|error| StoreError::redb(&snapshot.path, error))?;
    out.write(&[&[SEED], &sealed_seed.ok_or_else(|| BackupError::Fault(format::seed_fault()))?])?;
    let contents = walk(&snapshot.path, &snapshot.transaction, None, |item| match item {
        Item::Record { key, sealed, .. } => out.write(&[&[RECORD], &length(key)?, &length(sealed)?, key, sealed]),
        Item::Fault(fault) => Err(BackupError::Fault(fault)),
    })?;
    out.write(&[&[END], &format::seal_total(&contents.stated)])?;
    let hash = out.hash.clone().finalize();
    out.write(&[&hash])?;
    out.inner.flush().map_err(BackupError::Io)?;
    Ok(Backup { records: contents.found.records, bytes: out.bytes, generation: contents.stated.generation })
}

fn length(bytes: &[u8]) -> Result<[u8; 4], BackupError> {
    let length = u32::try_from(bytes.len()).map_err(|_| BackupError::Damaged("a value of more than 4 GiB"))?;
    Ok(length.to_be_bytes())
}

/// Reads a whole backup and uses nothing of it.
pub fn check_backup(input: impl Read) -> Result<Backup, BackupError> {
    read(input, &mut |_| Ok(()))
}

/// Makes the store of a directory of a backup: whole, or not at all. Where there is one already it is replaced if
/// `force` says so, and refused otherwise.
pub fn restore(directory: &Path, input: impl Read, force: bool) -> Result<Backup, BackupError> {
    make_directory(directory).map_err(|error| StoreError::io(directory, error))?;
    let path = directory.join(file::FILE);
    let (mut witness, _) = Witness::open(directory)?;
    if path.exists() && !force {
        return Err(BackupError::Exists(path));
    }
    let new = path.with_extension("restoring");
    let _ = fs::remove_file(&new);
    let restored = guarded(&new, || Ok(fill(&new, input))).map_err(BackupError::from).and_then(|restored| restored);
    let backup = restored.inspect_err(|_| drop(fs::remove_file(&new)))?;
    let replaced = witness.forget().and_then(|()| fs::rename(&new, &path)).and_then(|()| sync_directory(directory));
    replaced.map_err(|error| StoreError::io(&path, error))?;
    witness.note(backup.generation);
    Ok(backup)
}

fn fill(path: &Path, input: impl Read) -> Result<Backup, BackupError> {
    let redb = |error: redb::Error| StoreError::redb(path, error);
    let database: Database = file::open(path, file::Missing::Make)?;
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut total = Total::default();
    let mut sealed_seed = Vec::new();
    let backup = read(input, &mut |part| {
        match part {
            Part::Seed(sealed) => {
                format::make(&database, &sealed, Total::default()).map_err(redb)?;
                sealed_seed = sealed;
            }
            Part::Record(key, sealed) => {
                bytes += key.len() + sealed.len();
                group.push((key, sealed));
                if bytes >= GROUP_BYTES {
                    format::write_sealed(&database, &group).map_err(redb)?;
                    group.clear();
                    bytes = 0;
                }
            }
            Part::Total(stated) => total = stated,
        }
        Ok(())
    })?;
    format::write_sealed(&database, &group).map_err(redb)?;
    format::make(&database, &sealed_seed, total).map_err(redb)?;
    Ok(backup)
}

/// Writes a file that is there whole or not at all, and that nobody else may read.
pub(crate) fn save(
    path: &Path,
    write: impl FnOnce(&mut fs::File) -> Result<Backup, BackupError>,
) -> Result<Backup, BackupError> {
    // Two at once for one name do not meet.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    let partial = PathBuf::from(name);
    let written = || -> Result<Backup, BackupError> {
        // Left by one that was killed, or put there by somebody else: a link, say, or a file that others may read.
        let _ = fs::remove_file(&partial);
        let mut file = create_new_private(&partial).map_err(BackupError::Io)?;
        let backup = write(&mut file)?;
        file.sync_all().map_err(BackupError::Io)?;
        fs::rename(&partial, path).map_err(BackupError::Io)?;
        Ok(backup)
    };
    let backup = written().inspect_err(|_| drop(fs::remove_file(&partial)))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_directory(directory).map_err(BackupError::Io)?;
    Ok(backup)
}

enum Part {
    /// Sealed.
    Seed(Vec<u8>),
    /// A key and its sealed value.
    Record(Vec<u8>, Vec<u8>),
    Total(Total),
}

/// Shows the parts of a backup; only the result says whether they are what was written.
fn read(input: impl Read, visit: &mut dyn FnMut(Part) -> Result<(), BackupError>) -> Result<Backup, BackupError> {
    let mut input = Summed::new(BufReader::new(input));
    let magic = input.read(MAGIC.len()).map_err(|error| match error {
        BackupError::Cut => BackupError::Foreign,
        error => error,
    })?;
    if magic != MAGIC {
        return Err(BackupError::Foreign);
    }
    match input.byte()? {
        VERSION => {}
        later => return Err(BackupError::Later(later)),
    }
    let seed = match input.byte()? {
        SEED => input.read(SEED_BYTES)?,
        _ => return Err(BackupError::Damaged("no identity")),
    };
    unseal(format::META_NAME, format::SEED.as_bytes(), &seed).ok_or(BackupError::Damaged("its identity"))?;
    visit(Part::Seed(seed))?;
    let mut found = Total::default();
    loop {
        match input.byte()? {
            RECORD => {
                let (key_bytes, value_bytes) = (input.length()?, input.length()?);
                let (key, sealed) = (input.read(key_bytes)?, input.read(value_bytes)?);
                unseal(format::RECORDS_NAME, &key, &sealed).ok_or(BackupError::Damaged("a record"))?;
                found.put(&sealed);
                visit(Part::Record(key, sealed))?;
            }
            END => break,
            _ => return Err(BackupError::Damaged("a part that is none")),
        }
    }
    let stated = format::unseal_total(&input.read(TOTAL_BYTES)?).ok_or(BackupError::Damaged("its end"))?;
    if !stated.agrees(&found) {
        return Err(BackupError::Damaged("the records do not add up"));
    }
    let hash = input.hash.clone().finalize();
    if *input.read(HASH_BYTES)? != *hash {
        return Err(BackupError::Damaged("the checksum of the whole"));
    }
    let backup = Backup { records: found.records, bytes: input.bytes, generation: stated.generation };
    match input.byte() {
        Err(BackupError::Cut) => {}
        Err(error) => return Err(error),
        Ok(_) => return Err(BackupError::Damaged("something behind its end")),
    }
    visit(Part::Total(stated))?;
    Ok(backup)
}

/// A stream, and the hash of what went through it.
struct Summed<T> {
    inner: T,
    hash: Sha1,
    bytes: u64,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Summed<T> {
        Summed { inner, hash: Sha1::new(), bytes: 0 }
    }

    fn saw(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<T: Write> Summed<T> {
    fn write(&mut self, parts: &[&[u8]]) -> Result<(), BackupError> {
        for part in parts {
            self.inner.write_all(part).map_err(BackupError::Io)?;
            self.saw(part);
        }
        Ok(())
    }
}

impl<T: Read> Summed<T> {
    /// Exactly so many bytes. Memory is taken as they come, whatever a damaged length says.
    fn read(&mut self, count: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        self.inner.by_ref().take(count as u64).read_to_end(&mut bytes).map_err(BackupError::Io)?;
        if bytes.len() < count {
            return Err(BackupError::Cut);
        }
        self.saw(&bytes);
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, BackupError> {
        self.read(1)?.first().copied().ok_or(BackupError::Cut)
    }

    fn length(&mut self) -> Result<usize, BackupError> {
        let bytes = self.read(4)?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }
}
