//! Encrypted tables among real programs: their members read them, also after kill -9, and no store, no log and no socket has
//! anything of them in clear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Program, Response, bare_command, send, until};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
};

const CANARY: &str = "canary-b81c";
/// What is in clear on purpose, and so found wherever one looks rightly.
const CONTROL: &str = "control-b81c";

async fn sql(node: SocketAddr, text: &str) -> Response {
    let content = json!({ "sql": text }).to_string();
    send(node, "POST", "/v1/sql", &[("Content-Type", "application/json")], content.as_bytes()).await
}

async fn done(node: SocketAddr, text: &str) -> Value {
    let answer = sql(node, text).await;
    assert_eq!(answer.status, 200, "{text}: {:?}", answer.json());
    answer.json()
}

/// A supernode that everybody may ask, and that logs as much as it can.
fn program(directory: &Path, listen: &str, flags: &[&str]) -> Command {
    let mut program = bare_command();
    program.arg("--data").arg(directory.join("data")).args(["--listen", listen, "--network", "test", "--open"]);
    program.args(["--log", "trace"]).args(flags);
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    program.stderr(log);
    program
}

/// In how many files of a directory there is this.
fn files_with(directory: &Path, part: &str) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let within = |path: &Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(part.len()).any(|window| window == part.as_bytes())
    };
    entries.map(|path| if path.is_dir() { files_with(&path, part) } else { usize::from(within(&path)) }).sum()
}

/// What went over the sockets to a supernode, as a relay on the way would have it.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// An address that leads to another one, and keeps what passes.
async fn relay(to: SocketAddr, seen: Seen) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(to).await else { continue };
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(from_near, to_far, seen.clone()));
            tokio::spawn(pass(from_far, to_near, seen.clone()));
        }
    });
    address
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: Seen) {
    let (mut bytes, mut all) = (vec![0; 64 << 10], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        all.extend_from_slice(&bytes[..count]);
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
    seen.lock().unwrap().push(unmasked(&all));
}

/// The contents of WebSocket frames (RFC 6455, section 5.2); those of clients are masked.
fn unmasked(stream: &[u8]) -> Vec<u8> {
    let Some(head) = stream.windows(4).position(|window| window == b"\r\n\r\n") else { return stream.to_vec() };
    let (mut rest, mut all) = (&stream[head + 4..], stream[..head].to_vec());
    while let [_, second, more @ ..] = rest {
        let (length, more) = match second & 0x7f {
            126 if more.len() >= 2 => (usize::from(u16::from_be_bytes([more[0], more[1]])), &more[2..]),
            127 if more.len() >= 8 => (u64::from_be_bytes(more[..8].try_into().unwrap()) as usize, &more[8..]),
            length => (usize::from(length), more),
        };
        let (mask, more) = if second & 0x80 == 0 { (&[0; 4][..], more) } else { more.split_at(more.len().min(4)) };
        let (content, more) = more.split_at(length.min(more.len()));
        all.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        rest = more;
    }
    all
}

async fn ready(node: SocketAddr) {
    until("an answer", Duration::from_secs(60), || async {
        (sql(node, "SELECT count(*) FROM pontoon_tables").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_table_is_in_clear_nowhere_and_survives_kill_9() {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let (seen, path) = (Seen::default(), |at: usize| directories[at].path());
    let owner = Program::run(program(path(0), "127.0.0.1:0", &["--user"]));
    let listen = owner.address.to_string();
    let by = format!("ws://{}/pontoon", relay(owner.address, seen.clone()).await);
    let member = Program::run(program(path(1), "127.0.0.1:0", &["--user", "--peer", &by]));
    let nobody = Program::run(program(path(2), "127.0.0.1:0", &["--peer", &by]));
    for node in [owner.address, member.address, nobody.address] {
        ready(node).await;
    }
    let user = done(member.address, "SELECT current_user AS me").await["rows"][0]["me"].as_str().unwrap().to_owned();
    done(
        owner.address,
        &format!(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, author TEXT, body TEXT) WITH (encryption = 'team'); \
             CREATE INDEX ON notes (author); \
             INSERT INTO notes VALUES (1, '{CANARY}', 'body of {CANARY}'); \
             GRANT SELECT, INSERT ON notes TO \"{user}\"; \
             CREATE TABLE plain (id INTEGER PRIMARY KEY, body TEXT); \
             INSERT INTO plain VALUES (1, '{CONTROL}')"
        ),
    )
    .await;
    done(member.address, &format!("INSERT INTO notes VALUES (2, '{CANARY}', 'more of {CANARY}')")).await;
    let find = format!("SELECT body FROM notes WHERE author = '{CANARY}' ORDER BY id");
    let expected = json!([{ "body": format!("body of {CANARY}") }, { "body": format!("more of {CANARY}") }]);
    for node in [owner.address, member.address] {
        assert_eq!(done(node, &find).await["rows"], expected);
    }
    assert_eq!(sql(nobody.address, &find).await.code(), "insufficient_privilege");
    let found = until("the control's row", Duration::from_secs(30), || async {
        let rows = done(nobody.address, "SELECT id, (SELECT body FROM plain) AS body FROM notes ORDER BY id").await;
        (rows["coverage"] == 1.0).then(|| rows["rows"].clone())
    })
    .await;
    assert_eq!(found, json!([{ "id": 1, "body": CONTROL }, { "id": 2, "body": CONTROL }]));

    // Killed, all of it; what the stores have is what was acknowledged.
    owner.kill();
    member.kill();
    nobody.kill();
    until("the sockets' ends", Duration::from_secs(10), || async { (seen.lock().unwrap().len() >= 4).then_some(()) })
        .await;
    let within = |part: &str| {
        let seen = seen.lock().unwrap();
        seen.iter().filter(|bytes| bytes.windows(part.len()).any(|window| window == part.as_bytes())).count()
    };
    let kept = |part: &str| (0..3).map(|at| files_with(path(at), part)).sum::<usize>();
    assert!(within(CONTROL) > 0 && kept(CONTROL) > 0, "it would be found");
    assert_eq!((within(CANARY), kept(CANARY)), (0, 0));

    let owner = Program::run(program(path(0), &listen, &["--user"]));
    let member = Program::run(program(path(1), "127.0.0.1:0", &["--user", "--peer", &by]));
    let nobody = Program::run(program(path(2), "127.0.0.1:0", &["--peer", &by]));
    for node in [owner.address, member.address, nobody.address] {
        ready(node).await;
    }
    for node in [owner.address, member.address] {
        let rows = until("all rows", Duration::from_secs(60), || async {
            let answer = sql(node, &find).await;
            (answer.status == 200 && answer.json()["rows"] == expected).then_some(())
        });
        rows.await;
    }
    done(owner.address, &format!("REVOKE SELECT ON notes FROM \"{user}\"")).await;
    assert_eq!(sql(member.address, &find).await.code(), "insufficient_privilege");
    assert_eq!(done(owner.address, &find).await["rows"], expected);
}
