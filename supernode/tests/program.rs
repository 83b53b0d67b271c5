//! The program as a process: its store survives being killed, its signals and mistakes are answered as promised.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::time::Duration;

use common::{Program, bare_command, command, dial, get, run_to_end};
use futures_util::StreamExt as _;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

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
