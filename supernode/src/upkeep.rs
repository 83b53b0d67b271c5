//! What is done to a store besides running a supernode on it: verify, back up, restore, compact.
//!
//! A store that a supernode runs on is asked for over its control socket ([`crate::control`]); one that is at rest is
//! opened here.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use clap::Subcommand;

#[cfg(unix)]
use crate::control::{self, Question};
use crate::store::{self, Backup, BackupError, Offline, Sizes, StoreError};

/// A task.
#[derive(Clone, Debug, Subcommand)]
pub enum Upkeep {
    /// Check every record of a store, running or not, or of a backup; exits with 1 if something is not what was written
    Verify {
        /// A backup, instead of the store of --data
        #[arg(long, value_name = "FILE")]
        backup: Option<PathBuf>,
    },
    /// Write the whole store, its secret key included, to a file; the supernode may be running
    Backup {
        /// Replaced when it is there, once the new one is whole
        file: PathBuf,
    },
    /// Make a store of a backup
    Restore {
        /// Replace a store that is there
        #[arg(long)]
        force: bool,
        /// What `backup` wrote
        file: PathBuf,
    },
    /// Give the free room of a store that is not running back; starting a supernode does it where more than half is free
    Compact,
}

/// Why a task was not done.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup.
    #[error("{}: {source}", file.display())]
    Backup {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        source: BackupError,
    },
    /// A file of a backup.
    #[error("{}: {source}", file.display())]
    File {
        /// Its name.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The supernode that runs on the directory.
    #[error("the supernode on {}: {source}", directory.display())]
    Running {
        /// The data directory.
        directory: PathBuf,
        /// What it says, or why it does not answer.
        source: io::Error,
    },
    /// What was found cannot be told.
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl Upkeep {
    /// Does it, and tells what came of it, line by line; gives whether all is well.
    pub fn run(&self, directory: &Path, out: &mut dyn Write) -> Result<bool, UpkeepError> {
        let (well, line) = match self {
            Upkeep::Verify { backup: None } => return verify(directory, out),
            Upkeep::Verify { backup: Some(file) } => {
                let backup = store::check_backup(open(file)?).map_err(of(file))?;
                (true, told("sound", &backup))
            }
            Upkeep::Backup { file } => (true, told("backed up", &back_up(directory, file)?)),
            Upkeep::Restore { force, file } => {
                let backup = store::restore(directory, open(file)?, *force).map_err(of(file))?;
                (true, told("restored", &backup))
            }
            Upkeep::Compact => {
                let Sizes { before, after } = Offline::open(directory)?.compact()?;
                (true, format!("compacted: {before} bytes before, {after} after"))
            }
        };
        writeln!(out, "{line}").map_err(UpkeepError::Output)?;
        Ok(well)
    }
}

fn told(done: &str, backup: &Backup) -> String {
    let Backup { records, bytes, generation } = backup;
    format!("{done}: {records} records ({bytes} bytes), {generation} transactions")
}

fn open(file: &Path) -> Result<fs::File, UpkeepError> {
    fs::File::open(file).map_err(|source| UpkeepError::File { file: file.to_owned(), source })
}

fn of(file: &Path) -> impl FnOnce(BackupError) -> UpkeepError {
    move |source| match source {
        BackupError::Store(error) => error.into(),
        source => UpkeepError::Backup { file: file.to_owned(), source },
    }
}

fn verify(directory: &Path, out: &mut dyn Write) -> Result<bool, UpkeepError> {
    #[cfg(unix)]
    if let Some(mut answer) = running(directory, Question::Verify)? {
        let (mut text, mut last) = (String::new(), String::new());
        while io::BufRead::read_line(&mut answer, &mut text)
            .map_err(|source| UpkeepError::Running { directory: directory.to_owned(), source })?
            > 0
        {
            // An empty line is a sign of life.
            if !text.trim_end().is_empty() {
                out.write_all(text.as_bytes()).map_err(UpkeepError::Output)?;
                std::mem::swap(&mut last, &mut text);
            }
            text.clear();
        }
        return Ok(last.starts_with(store::SOUND));
    }
    let offline = Offline::open(directory)?;
    let mut written = Ok(());
    let verified = offline.verify(|fault| {
        if written.is_ok() {
            written = writeln!(out, "{fault}");
        }
    })?;
    written.and_then(|()| writeln!(out, "{verified}")).map_err(UpkeepError::Output)?;
    Ok(verified.faults == 0)
}

fn back_up(directory: &Path, file: &Path) -> Result<Backup, UpkeepError> {
    #[cfg(unix)]
    if let Some(answer) = running(directory, Question::Backup)? {
        // Checked on its way.
        return store::save(file, |out| store::check_backup(Tee { input: answer, out })).map_err(of(file));
    }
    let offline = Offline::open(directory)?;
    let snapshot = offline.snapshot()?;
    store::save(file, |out| store::write_backup(&snapshot, out)).map_err(of(file))
}

#[cfg(unix)]
type Answer = io::BufReader<std::os::unix::net::UnixStream>;

#[cfg(unix)]
fn running(directory: &Path, question: Question) -> Result<Option<Answer>, UpkeepError> {
    control::ask(directory, question).map_err(|source| UpkeepError::Running { directory: directory.to_owned(), source })
}

/// What is read, and written on its way.
#[cfg(unix)]
struct Tee<R, W> {
    input: R,
    out: W,
}

#[cfg(unix)]
impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.out.write_all(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}
