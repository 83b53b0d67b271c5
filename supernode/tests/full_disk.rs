//! A real disk that is full: nothing is acknowledged that is not on it, what is stored is served, and when room returns
//! the supernode goes on by itself. The disk is a `tmpfs` of some megabytes that is mounted for the program alone.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{fs::OpenOptions, io::Write as _, time::Duration};

use common::{
    Program, get,
    ledger::{both_hold_the_key_space, on_disk, op, put, put_within, read_all, run, value},
    start_peer, until, upkeep,
};
use pontoon_core::store::{Action, Outcome};

/// For what a full disk may never do.
const SOON: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(40);

async fn until_the_disk_is(program: &Program, state: &str) {
    until(&format!("the disk is {state}"), PATIENCE, || async {
        (get(program.address, "/healthz").await.json()["disk"] == state).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_room_returns_it_goes_on_by_itself() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let Some(program) = Program::start_on_a_mount(a.path(), 16) else {
        println!("NOT TESTED: no mounts here (unshare -rm); durability.rs has a limit of the file's size instead");
        return;
    };
    let writer = start_peer(b.path(), &program.socket_address()).await;
    both_hold_the_key_space(&writer).await;
    let mut acknowledged = put(&writer, 0..200).await;
    assert_eq!(acknowledged.len(), 200);

    let ballast = program.seen(&a.path().join("ballast"));
    let mut file = OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
    while file.write_all(&[7; 4_096]).is_ok() {}
    while file.write_all(&[7; 1]).is_ok() {}
    // An empty write may fit meanwhile, after which the disk counts as one that takes writes until the next one fails.
    let mut full = None;
    for from in (1_000..9_000).step_by(500) {
        acknowledged.extend(put_within(SOON, &writer, from..from + 500).await);
        let health = get(program.address, "/healthz").await;
        if health.json()["disk"] == "full" {
            full = Some(health);
            break;
        }
    }
    let health = full.expect("a disk that is full");
    assert_eq!(health.status, 200, "what it has, it serves");
    let health = health.json();
    assert_eq!((&health["status"], &health["disk"]), (&"degraded".into(), &"full".into()), "{health}");
    assert!(health["counters"]["batchesFailed"].as_u64().unwrap() > 0, "{health}");
    // Whatever of these is acknowledged must be on the disk at the end, as all of them.
    acknowledged.extend(put_within(SOON, &writer, 20_000..20_020).await);
    read_all(&writer, &acknowledged[..200]).await;
    let verified = upkeep(&program.seen(&a.path().join("data")), "verify", &[]);
    assert_eq!(verified.code, Some(0), "{verified:?}");

    std::fs::remove_file(ballast).unwrap();
    drop(file);
    until_the_disk_is(&program, "ok").await;
    let health = get(program.address, "/healthz").await.json();
    assert_eq!(health["status"], "ok");
    assert!(health["counters"]["diskOutages"].as_u64().unwrap() > 0, "{health}");
    let more = until("writes are acknowledged again", PATIENCE, || async {
        let more = put_within(SOON, &writer, 30_000..30_100).await;
        (more.len() == 100).then_some(more)
    })
    .await;
    acknowledged.extend(more);
    read_all(&writer, &acknowledged).await;
    let outcomes = run(&writer, vec![op(20_000, Action::Get)]).await;
    assert!(matches!(&outcomes[..], [Outcome::Absent | Outcome::Found { .. }]), "it is known: {outcomes:?}");

    // All of it is on that disk: what a backup of it says.
    let file = b.path().join("backup");
    let backup = upkeep(&program.seen(&a.path().join("data")), "backup", &[&file]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    let restored = b.path().join("restored");
    assert_eq!(upkeep(&restored, "restore", &[&file]).code, Some(0));
    let entries = on_disk(&restored);
    for key in acknowledged {
        assert_eq!(format!("entry {}.", entries[&key]).into_bytes(), value(key));
    }
    program.kill();
    writer.shutdown().await;
}
