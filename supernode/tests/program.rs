//! The program as a process: its store survives being killed, its signals and mistakes are answered as promised.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{fs, time::Duration};

use common::{Program, bare_command, command, dial, get, run_to_end, send, until};
use futures_util::StreamExt as _;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

#[tokio::test]
async fn it_keeps_its_identity_when_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let program = Program::start(directory.path());
        ids.push(get(program.address, "/healthz").await.json()["id"].clone());
        program.kill();
    }
    assert!(ids[0].is_string());
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_directory_serves_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let first = Program::start(directory.path());
    let (code, text) = run_to_end(command(directory.path(), "127.0.0.1:0"));
    assert_eq!(code, Some(1));
    assert!(text.contains("is in use") && text.lines().count() == 1, "{text}");
    assert_eq!(get(first.address, "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_mistake_is_one_line_and_code_2() {
    let directory = tempfile::tempdir().unwrap();
    for mistake in [["--peer", "http://example.org"], ["--listen", "nowhere"], ["--network", ""], ["--log", "a=b=c"]] {
        let mut program = bare_command();
        program.arg("--data").arg(directory.path()).args(mistake);
        let (code, text) = run_to_end(program);
        assert_eq!(code, Some(2), "{mistake:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[tokio::test]
async fn sigterm_says_goodbye_and_exits_with_0() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let mut client = dial(&program.socket_address()).await;
    program.terminate();
    let goodbye = loop {
        match client.next().await {
            Some(Ok(Message::Close(Some(frame)))) => break frame.code,
            Some(Ok(_)) => {}
            other => panic!("no goodbye but {other:?}"),
        }
    };
    assert_eq!(goodbye, CloseCode::Away);
    // Its answer leaves with the next read.
    while let Some(Ok(_)) = client.next().await {}
    assert!(program.ended(Duration::from_secs(6)).await.success());
}

/// Sooner than the program looks by itself.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_hangup_reads_tokens_again() {
    let directory = tempfile::tempdir().unwrap();
    let [joining, http] = ["join-tokens", "token"].map(|name| directory.path().join(name));
    let write = |number: u32| {
        fs::write(&joining, format!("a-join-token-number-{number}\n")).unwrap();
        fs::write(&http, format!("a-http-token-number-{number}\n")).unwrap();
    };
    write(1);
    let mut command = command(directory.path(), "127.0.0.1:0");
    command.arg("--join-token-file").arg(&joining).arg("--token-file").arg(&http);
    let program = Program::run(command);
    let joins =
        async |number| connect_async(format!("{}?token=a-join-token-number-{number}", program.socket_address())).await;
    let writes = async |number| {
        let token = format!("Bearer a-http-token-number-{number}");
        let answer = send(program.address, "PUT", "/v1/kv/notes/a", &[("Authorization", &token)], b"x").await;
        answer.status != 401
    };
    assert!(joins(1).await.is_ok() && joins(2).await.is_err());
    assert!(writes(1).await && !writes(2).await);

    write(2);
    program.hang_up();
    until("the new ones open", SOON, || async { (joins(2).await.is_ok() && writes(2).await).then_some(()) }).await;
    assert!(joins(1).await.is_err() && !writes(1).await, "and the old ones do not");
    program.terminated().await;
}
