//! Small files that an operator writes: read whole within a bound, and looked at again when they change.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// More is no file of settings, certificates or tokens.
const BYTES_MAX: u64 = 1 << 20;

/// Why a file does not read: its name, and the system's reason, or that it is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", file.display())]
pub struct FileError {
    /// As given.
    pub file: PathBuf,
    /// For people.
    pub reason: String,
}

impl FileError {
    pub(crate) fn new(file: &Path, reason: impl ToString) -> FileError {
        FileError { file: file.to_owned(), reason: reason.to_string() }
    }
}

/// All of a file.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(BYTES_MAX + 1).read_to_end(&mut content));
    read.map_err(|error| FileError::new(file, error))?;
    if content.len() as u64 > BYTES_MAX {
        return Err(FileError::new(file, format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok(content)
}

/// All of a file of text.
pub(crate) fn read_text(file: &Path) -> Result<String, FileError> {
    String::from_utf8(read(file)?).map_err(|_| FileError::new(file, "it is no UTF-8 text"))
}

/// When a file was written, and its size; `None` while it is not there.
type Stamp = Option<(SystemTime, u64)>;

/// Files of which one wants to know when they have changed.
#[derive(Debug)]
pub(crate) struct Watched {
    files: Vec<PathBuf>,
    seen: Mutex<Vec<Stamp>>,
}

impl Watched {
    /// To be made before the files are read: what is written meanwhile is a change then.
    pub(crate) fn new(files: Vec<PathBuf>) -> Watched {
        let seen = Mutex::new(stamps(&files));
        Watched { files, seen }
    }

    /// Whether one of them is another than when this was asked last.
    pub(crate) fn changed(&self) -> bool {
        let now = stamps(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *seen != now;
        *seen = now;
        changed
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let metadata = fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_and_what_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let missing = read(&file).unwrap_err();
        assert!(missing.to_string().starts_with(&file.display().to_string()), "{missing}");
        fs::write(&file, "text").unwrap();
        assert_eq!(read_text(&file).unwrap(), "text");
        fs::write(&file, [0xff]).unwrap();
        assert!(read_text(&file).is_err());
        fs::write(&file, vec![b' '; BYTES_MAX as usize + 1]).unwrap();
        assert!(read(&file).is_err());
        assert!(read(directory.path()).is_err());
    }

    #[test]
    fn a_change_is_seen_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        let watched = Watched::new(vec![file.clone()]);
        assert!(!watched.changed());
        for content in ["a", "ab"] {
            fs::write(&file, content).unwrap();
            assert!(watched.changed() && !watched.changed());
        }
        fs::remove_file(&file).unwrap();
        assert!(watched.changed() && !watched.changed());
    }
}
