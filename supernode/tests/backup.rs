//! Backups of a supernode that runs, and of one that does not; and what is restored of them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use common::{
    Program, get,
    ledger::{both_hold_the_key_space, on_disk, put, value},
    start_peer, upkeep,
};

fn entry(key: u32) -> String {
    String::from_utf8(value(key)).unwrap().trim_start_matches("entry ").trim_end_matches('.').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_others_write_and_restores_elsewhere() {
    let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let program = Program::start(a.path());
    let writer = start_peer(b.path(), &program.socket_address()).await;
    both_hold_the_key_space(&writer).await;
    let before = put(&writer, 0..500).await;
    assert_eq!(before.len(), 500);

    let file = c.path().join("backup");
    // Written before the backup begins, while it is made, and after its end.
    let (begin, made) = (tokio::sync::Notify::new(), AtomicBool::new(false));
    let ((written, stored), backup) = tokio::join!(
        async {
            let (mut end, mut stored) = (500, 0);
            loop {
                let last = made.load(Ordering::Relaxed) && end >= 2_000;
                stored += put(&writer, end..end + 100).await.len();
                end += 100;
                begin.notify_one();
                if last {
                    return (end, stored);
                }
            }
        },
        async {
            begin.notified().await;
            let (directory, file) = (a.path().to_owned(), file.clone());
            let backup = tokio::task::spawn_blocking(move || upkeep(&directory, "backup", &[&file])).await.unwrap();
            made.store(true, Ordering::Relaxed);
            backup
        }
    );
    assert_eq!((stored, backup.code), (written as usize - 500, Some(0)), "{backup:?}");
    let health = get(program.address, "/healthz").await.json();
    assert_eq!((&health["disk"], &health["status"]), (&"ok".into(), &"ok".into()));
    let verified = upkeep(a.path(), "verify", &[]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.said.starts_with("sound: "), "{verified:?}");
    assert_eq!(upkeep(a.path(), "compact", &[]).code, Some(1), "not while it runs");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(&a.path().join("control.sock"))), (0o600, 0o600));
    program.kill();
    writer.shutdown().await;

    let restored = c.path().join("restored");
    assert_eq!(upkeep(&restored, "restore", &[&file]).code, Some(0));
    assert_eq!(upkeep(&restored, "verify", &[]).code, Some(0));
    let entries = on_disk(&restored);
    assert!((600..written as usize).contains(&entries.len()), "{} of {written}", entries.len());
    for key in before {
        assert_eq!(entries[&key], entry(key));
    }
    // A supernode starts on it, as the node that it was.
    let [one, other] = [restored.as_path(), a.path()].map(Program::start);
    let id = async |program: &Program| get(program.address, "/healthz").await.json()["id"].clone();
    assert_eq!(id(&one).await, id(&other).await);
}

#[tokio::test]
async fn a_store_at_rest_is_backed_up_too() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    Program::start(a.path()).kill();
    assert!(a.path().join("control.sock").exists(), "nobody listens on it");
    let file = b.path().join("backup");
    let backup = upkeep(a.path(), "backup", &[&file]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    let whole = fs::read(&file).unwrap();
    assert_eq!(upkeep(a.path(), "verify", &[Path::new("--backup"), &file]).code, Some(0));

    let exists = upkeep(a.path(), "restore", &[&file]);
    assert_eq!(exists.code, Some(1));
    assert!(exists.error.contains("--force") && exists.error.lines().count() == 1, "{exists:?}");
    for (wrong, said) in
        [(&whole[..whole.len() - 1], "cut short"), (&whole[..5], "not a backup"), (&[], "not a backup")]
    {
        fs::write(&file, wrong).unwrap();
        for task in [&["restore"][..], &["restore", "--force"]] {
            let mut arguments: Vec<&Path> = task[1..].iter().map(Path::new).collect();
            arguments.push(&file);
            let refused = upkeep(a.path(), task[0], &arguments);
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.error.contains(if task.len() == 1 { "--force" } else { said }), "{refused:?}");
        }
        assert_eq!(upkeep(a.path(), "verify", &[Path::new("--backup"), &file]).code, Some(1));
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(upkeep(a.path(), "restore", &[Path::new("--force"), &file]).code, Some(0));
    assert_eq!(upkeep(a.path(), "compact", &[]).code, Some(0));
    Program::start(a.path()).terminated().await;
    let nowhere = upkeep(a.path(), "backup", &[Path::new("/no/such/directory/backup")]);
    assert_eq!((nowhere.code, nowhere.error.lines().count()), (Some(1), 1), "{nowhere:?}");
}

#[tokio::test]
async fn what_the_control_socket_does_not_understand_it_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let ask = |question: &[u8]| {
        let mut stream = UnixStream::connect(directory.path().join("control.sock")).unwrap();
        stream.write_all(question).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for wrong in [&b""[..], b"backup please\n", b"\n", &[b'a'; 64], &[b'b'; 20]] {
        assert!(ask(wrong).starts_with("-no such question"), "{wrong:?}");
    }
    assert!(ask(b"verify\n").starts_with("+sound: "));
    // Many at once are not kept; the last ones may hold their seat for a moment yet.
    let idle: Vec<UnixStream> =
        (0..6).map(|_| UnixStream::connect(directory.path().join("control.sock")).unwrap()).collect();
    let mut busy = 0;
    for mut stream in idle {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        busy += usize::from(answer.starts_with("-busy"));
    }
    assert!(busy >= 4, "{busy}");
    assert_eq!(get(program.address, "/healthz").await.status, 200);
}
