//! Live queries as Server-Sent Events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{get, open, send, until};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Reads events of a stream.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn of(node: SocketAddr, path: &str) -> Events {
        let mut stream = TcpStream::connect(node).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {node}\r\n\r\n").as_bytes()).await.unwrap();
        Events(BufReader::new(stream))
    }

    /// The kind of the next event, and what it says.
    async fn next(&mut self) -> (String, Value) {
        let mut kind = String::new();
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("an event in time").unwrap();
            assert!(read > 0, "the stream ended");
            if let Some(told) = line.strip_prefix("event: ") {
                kind = told.trim().to_owned();
            }
            if let Some(told) = line.strip_prefix("data: ") {
                return (kind, serde_json::from_str(told).unwrap());
            }
        }
    }
}

async fn sql(node: SocketAddr, text: &str) {
    let ask = json!({ "sql": text }).to_string();
    let done = send(node, "POST", "/v1/sql", &[("Content-Type", "application/json")], ask.as_bytes()).await;
    assert_eq!(done.status, 200, "{text}: {:?}", done.json());
}

#[tokio::test]
async fn changes_come_as_they_are_made() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    sql(node, "CREATE TABLE bids (id INTEGER PRIMARY KEY, item TEXT); INSERT INTO bids VALUES (1, 'boat')").await;
    let query = "/v1/live?sql=SELECT+id,+item+FROM+bids+WHERE+id+%3C%3D+$1+ORDER+BY+id&params=%5B5%5D";
    let mut events = Events::of(node, query).await;
    let (kind, first) = events.next().await;
    assert_eq!(
        (&kind[..], &first["added"], &first["coverage"]),
        ("change", &json!([{"id": 1, "item": "boat"}]), &json!(1))
    );

    sql(node, "INSERT INTO bids VALUES (9, 'not asked for'), (2, 'oar')").await;
    let (_, second) = events.next().await;
    let oar = json!([{"id": 2, "item": "oar"}]);
    assert_eq!((&second["added"], &second["removed"]), (&oar, &json!([])));
    assert_eq!(second["splices"], json!([{"at": 1, "gone": 0, "rows": oar}]));
    sql(node, "DELETE FROM bids WHERE id = 1").await;
    let (_, third) = events.next().await;
    assert_eq!(third["removed"], json!([{"id": 1, "item": "boat"}]));

    // What nobody reads ends: the next one finds its turn.
    drop(events);
    sql(node, "DROP TABLE bids").await;
    let mistakes = [("SELECT+1+FROM+bids", 400), ("DELETE+FROM+bids", 400), ("SELEC", 400)];
    for (text, status) in mistakes {
        let told = get(node, &format!("/v1/live?sql={text}")).await;
        assert_eq!(told.status, status, "{text}");
        assert!(!told.code().is_empty());
    }
    assert_eq!(get(node, "/v1/live").await.code(), "invalid_argument");
    // With --open, too, a page of anywhere else keeps no query here, whether or not it says where it is from.
    for header in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        let told = send(node, "GET", "/v1/live?sql=SELECT+1", &[header], b"").await;
        assert_eq!((told.status, &told.code()[..]), (403, "forbidden"), "{header:?}");
    }
}

#[tokio::test]
async fn only_so_many_stand_and_a_supernode_that_ends_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut few = common::settings(directory.path());
    few.api.open = true;
    few.api.limits.live_max = 1;
    let supernode = common::start(few).await;
    let node = supernode.local_addr();
    sql(node, "CREATE TABLE t (id INTEGER PRIMARY KEY)").await;
    let path = "/v1/live?sql=SELECT+id+FROM+t";
    let mut events = Events::of(node, path).await;
    events.next().await;
    let refused = get(node, path).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    drop(events);
    let mut events = until("a place", PATIENCE, || async {
        let mut events = Events::of(node, path).await;
        let mut line = String::new();
        events.0.read_line(&mut line).await.unwrap();
        line.contains("200").then_some(events)
    })
    .await;
    events.next().await;
    supernode.shutdown().await;
    let (kind, told) = events.next().await;
    assert_eq!((&kind[..], &told["error"]["code"]), ("error", &json!("closed")));
}
