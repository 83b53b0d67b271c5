//! What is asked of a running supernode from its own machine: a Unix socket in the data directory.
//!
//! Who may open the socket (mode 0600) may read the store's file as well, so it needs no password, and no network
//! reaches it. One line is asked (`backup` or `verify`); the answer is one byte, then
//!
//! | byte | |
//! |---|---|
//! | `+` | what was asked for: a backup; or a line for each fault, empty ones as signs of life, and one that sums up |
//! | `-` | one line: why not |
//!
//! The file of a backup is written by who asked, where and as whom it wishes.

use std::{
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
};

use crate::{
    disk::Snapshots,
    store::{Snapshot, write_backup},
};

const FILE: &str = "control.sock";
/// What is asked at once; each may hold a snapshot, and what is replaced meanwhile takes room until it is let go.
const ASKING_MAX: usize = 2;
const LINE_BYTES_MAX: u64 = 64;
/// For the line to come, and for each piece of the answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// From one sign of life of a check to the next.
const PROGRESS: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Backup,
    Verify,
}

impl Question {
    fn line(self) -> &'static str {
        match self {
            Question::Backup => "backup",
            Question::Verify => "verify",
        }
    }
}

/// Listens in the directory, whose store the caller has open. Without the socket a supernode is one all the same.
pub(crate) fn start(directory: &Path, snapshots: Snapshots, stop: watch::Receiver<()>) {
    match listen(directory).and_then(UnixListener::from_std) {
        Ok(listener) => drop(tokio::spawn(serve(listener, snapshots, stop))),
        Err(error) => tracing::warn!(%error, FILE, "no control socket: backups only while the supernode is stopped"),
    }
}

fn listen(directory: &Path) -> io::Result<StdListener> {
    // Never there under its name with other rights. Who connects before it has them is refused ([`may_ask`]).
    let new = directory.join("control.new");
    let _ = std::fs::remove_file(&new);
    let listener = StdListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, directory.join(FILE))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers until told to stop. The socket's name stays: the next supernode on the directory may have taken it already.
async fn serve(listener: UnixListener, snapshots: Snapshots, mut stop: watch::Receiver<()>) {
    let asking = Arc::new(Semaphore::new(ASKING_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match (accepted, Arc::clone(&asking).try_acquire_owned()) {
            (Ok((stream, _)), _) if !may_ask(&stream) => {
                let _ = stream.try_write(b"-only this user and root may ask\n");
            }
            (Ok((stream, _)), Ok(seat)) => {
                let snapshots = snapshots.clone();
                tokio::spawn(async move {
                    let _seat = seat;
                    if let Err(error) = answer(stream, snapshots).await {
                        tracing::warn!(%error, "the control socket's answer was not taken");
                    }
                });
            }
            (Ok((stream, _)), Err(_)) => {
                let _ = stream.try_write(b"-busy with others that asked\n");
            }
            (Err(error), _) => {
                tracing::warn!(%error, "the control socket was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether the other end belongs to who runs this program, or to root.
fn may_ask(stream: &UnixStream) -> bool {
    let own = || UnixStream::pair()?.0.peer_cred();
    match (stream.peer_cred(), own()) {
        (Ok(peer), Ok(own)) => peer.uid() == own.uid() || peer.uid() == 0,
        _ => false,
    }
}

async fn answer(stream: UnixStream, snapshots: Snapshots) -> io::Result<()> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let asked = blocking(move || {
        let mut line = String::new();
        BufReader::new(&stream).take(LINE_BYTES_MAX).read_line(&mut line)?;
        Ok((stream, line))
    });
    let (stream, line) = asked.await?;
    let Some(question) =
        [Question::Backup, Question::Verify].into_iter().find(|question| question.line() == line.trim_end())
    else {
        return refuse(&stream, "no such question");
    };
    match snapshots.take().await {
        Some(Ok(snapshot)) => blocking(move || tell(&stream, question, &snapshot)).await,
        Some(Err(error)) => refuse(&stream, &error.to_string()),
        None => refuse(&stream, "the supernode is leaving"),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn refuse(mut stream: &StdStream, why: &str) -> io::Result<()> {
    stream.write_all(format!("-{why}\n").as_bytes())
}

fn tell(mut stream: &StdStream, question: Question, snapshot: &Snapshot) -> io::Result<()> {
    match question {
        Question::Backup => {
            stream.write_all(b"+")?;
            // Cut before its end, it is refused by who reads it.
            let backup = write_backup(snapshot, stream).map_err(|error| {
                tracing::error!(%error, "no backup");
                io::Error::other(error)
            })?;
            tracing::info!(records = backup.records, bytes = backup.bytes, "backed up");
        }
        Question::Verify => {
            let mut out = BufWriter::new(stream);
            out.write_all(b"+")?;
            out.flush()?;
            let mut told = Ok(());
            let mut sent = Instant::now();
            let verified = snapshot.verify_each(&mut |fault| {
                let mut tell = || match fault {
                    Some(fault) => writeln!(out, "{fault}"),
                    None if sent.elapsed() >= PROGRESS => {
                        sent = Instant::now();
                        out.write_all(b"\n")?;
                        out.flush()
                    }
                    None => Ok(()),
                };
                if told.is_ok() {
                    told = tell();
                }
            });
            told?;
            match verified {
                Ok(verified) => writeln!(out, "{verified}")?,
                Err(error) => writeln!(out, "{error}")?,
            }
            out.flush()?;
        }
    }
    Ok(())
}

/// Asks the supernode that runs on a directory; `None` where none does.
pub(crate) fn ask(directory: &Path, question: Question) -> io::Result<Option<BufReader<StdStream>>> {
    let mut stream = match StdStream::connect(directory.join(FILE)) {
        Ok(stream) => stream,
        // What one left that runs no more; a path too long for a socket.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE * 10))?;
    stream.write_all(format!("{}\n", question.line()).as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut kind = [0];
    answer.read_exact(&mut kind)?;
    if kind == *b"+" {
        return Ok(Some(answer));
    }
    let mut why = String::new();
    answer.read_line(&mut why)?;
    Err(io::Error::other(why.trim_end().to_owned()))
}
