//! The OpenAPI document is true: each of its operations and statuses is met, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use common::{get, open, send, settings, start};
use pontoon_supernode::{Supernode, Token};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: &str = "/v1/kv/{namespace}/{key}";
/// What takes a fault of the engine or its end, a full store, or writers that never rest.
const RARE: [(&str, &str, u16); 16] = [
    ("get", KEY, 504),
    ("post", KEY, 504),
    ("post", KEY, 507),
    ("put", KEY, 409),
    ("put", KEY, 504),
    ("put", KEY, 507),
    ("delete", KEY, 409),
    ("delete", KEY, 504),
    ("post", "/v1/sql", 500),
    ("post", "/v1/sql", 504),
    ("post", "/v1/sql", 507),
    ("get", "/v1/live", 504),
    ("get", "/v1/ring", 503),
    ("get", "/v1/ring", 504),
    ("get", "/v1/peers", 503),
    ("get", "/v1/peers", 504),
];

/// Operations with the statuses that they were answered, or are documented to be.
type Statuses = BTreeMap<(String, String), BTreeSet<u16>>;

struct Met(Statuses);

impl Met {
    /// A request of an operation.
    async fn ask(
        &mut self,
        node: SocketAddr,
        operation: (&str, &str),
        path: &str,
        headers: &[(&str, &str)],
        content: &str,
    ) {
        let (method, template) = operation;
        let answer = send(node, &method.to_uppercase(), path, headers, content.as_bytes()).await;
        if answer.status >= 400 {
            assert!(!answer.code().is_empty(), "{method} {path}");
        }
        self.note(method, template, answer.status);
    }

    fn note(&mut self, method: &str, template: &str, status: u16) {
        self.0.entry((method.to_owned(), template.to_owned())).or_default().insert(status);
    }

    /// The status of what is sent in parts.
    async fn raw(&mut self, node: SocketAddr, operation: (&str, &str), request: &str) {
        let mut stream = TcpStream::connect(node).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        self.note(operation.0, operation.1, str::from_utf8(&head[9..]).unwrap().parse().unwrap());
    }
}

fn documented(document: &Value) -> Statuses {
    let mut all = Statuses::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let statuses = operation["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap());
            all.insert((method.clone(), path.clone()), statuses.collect());
        }
    }
    all
}

/// Every reference leads somewhere.
fn check_references(document: &Value, within: &Value) {
    match within {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            members.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn each_operation_and_status_is_met_and_no_other() {
    let directories = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let anybody = open(directories[0].path()).await;
    let mut locked = settings(directories[1].path());
    locked.api.token = Some(Token::new("0123456789abcdef").unwrap());
    let locked = start(locked).await;
    // Nobody answers this one, and it waits for nothing for long.
    let mut alone = settings(directories[2].path());
    alone.engine.founder = false;
    alone.engine.supernodes.push("ws://127.0.0.1:9/pontoon".to_owned());
    alone.api.open = true;
    let short = Duration::from_millis(100);
    (alone.api.limits.timeout, alone.api.limits.content_timeout, alone.api.limits.sql_timeout) = (short, short, short);
    let alone = Supernode::start(alone).await.unwrap();
    let mut full = settings(directories[3].path());
    full.api.open = true;
    full.api.limits.requests_max = 0;
    let full = start(full).await;
    let [anybody_at, locked_at, alone_at, full_at] = [&anybody, &locked, &alone, &full].map(Supernode::local_addr);

    let document = get(anybody_at, "/v1/openapi.json").await.json();
    check_references(&document, &document);
    let documented = documented(&document);
    let mut met = Met(Statuses::new());
    let (read, create, set, remove) = (("get", KEY), ("post", KEY), ("put", KEY), ("delete", KEY));
    let (sql, live) = (("post", "/v1/sql"), ("get", "/v1/live"));
    let (large, long) = ("x".repeat(256 << 10), format!("/v1/kv/n/{}", "k".repeat(4_097)));
    let foreign = ("Origin", "https://evil.example.org");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let (system, key) = ("/v1/kv/pontoon.x/k", "/v1/kv/n/k");
    for (operation, path, headers, content) in [
        (read, key, &[][..], ""),
        (create, key, &[JSON], "1"),
        (create, key, &[JSON], "1"),
        (read, key, &[], ""),
        (read, key, &[("If-None-Match", "*")], ""),
        (read, key, &[("If-Match", "\"x\"")], ""),
        (read, "/v1/kv/n/k?x", &[], ""),
        (read, system, &[], ""),
        (read, &long, &[], ""),
        (set, key, &[JSON], "1"),
        (set, "/v1/kv/n/other", &[JSON], "1"),
        (set, key, &[("If-Match", "\"x\"")], "1"),
        (create, "/v1/kv/n/third", &[("If-Match", "\"x\"")], "1"),
        (remove, key, &[("If-Match", "\"x\"")], ""),
        (remove, key, &[], ""),
        (remove, key, &[], ""),
        (remove, "/v1/kv/n/k?x", &[], ""),
        (sql, "/v1/sql", &[JSON], "{\"sql\": \"CREATE TABLE t (id INTEGER PRIMARY KEY)\"}"),
        (sql, "/v1/sql", &[JSON], "{\"sql\": \"INSERT INTO t VALUES (1), (1)\"}"),
        (sql, "/v1/sql", &[JSON], "{\"sql\": \"SELEC\"}"),
        (sql, "/v1/sql", &[JSON, ("Accept", "text/html")], "{\"sql\": \"SELECT 1\"}"),
        (sql, "/v1/sql", &[JSON], &format!("{{\"sql\": \"{}\"}}", "x".repeat(1 << 20))),
        (sql, "/v1/sql", &[form], "x"),
        (sql, "/v1/sql", &[JSON, foreign], "x"),
        (live, "/v1/live", &[], ""),
        (live, "/v1/live?sql=SELECT+1", &[foreign], ""),
        (("get", "/v1/ring"), "/v1/ring", &[], ""),
        (("get", "/v1/ring"), "/v1/ring?format=svg", &[], ""),
        (("get", "/v1/peers"), "/v1/peers", &[], ""),
        (("get", "/v1/peers"), "/v1/peers?x", &[], ""),
        (("get", "/v1/openapi.json"), "/v1/openapi.json", &[], ""),
    ] {
        met.ask(anybody_at, operation, path, headers, content).await;
    }
    let stands = "GET /v1/live?sql=SELECT+id+FROM+t HTTP/1.1\r\nHost: x\r\n\r\n";
    met.raw(anybody_at, live, stands).await;
    let longest = "k".repeat(17 << 10);
    for (method, path) in [("get", KEY), ("post", KEY), ("put", KEY), ("delete", KEY), ("get", "/v1/live")] {
        let asked = path.replace("{namespace}", "n").replace("{key}", "k");
        let request = format!("{} {asked}?{longest} HTTP/1.1\r\nHost: x\r\n\r\n", method.to_uppercase());
        met.raw(anybody_at, (method, path), &request).await;
    }
    for operation in [create, set, remove] {
        met.ask(anybody_at, operation, system, &[], "1").await;
        met.ask(anybody_at, operation, &long, &[], "1").await;
        met.ask(locked_at, operation, key, &[], "1").await;
    }
    for operation in [create, set] {
        met.ask(anybody_at, operation, key, &[JSON], "{").await;
        met.ask(anybody_at, operation, key, &[form], "1").await;
        met.ask(anybody_at, operation, key, &[], &large).await;
    }
    for (method, path) in [("POST", key), ("PUT", key), ("POST", "/v1/sql")] {
        let template = if path == key { KEY } else { path };
        let late = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
        );
        met.raw(alone_at, (&method.to_lowercase(), template), &late).await;
    }
    for operation in [read, create, set, remove] {
        met.ask(alone_at, operation, key, &[], "1").await;
    }
    met.ask(alone_at, sql, "/v1/sql", &[JSON], "{\"sql\": \"SELECT * FROM t\"}").await;
    met.ask(locked_at, sql, "/v1/sql", &[JSON], "{\"sql\": \"SELECT 1\"}").await;
    met.ask(locked_at, live, "/v1/live?sql=SELECT+1", &[], "").await;
    met.ask(alone_at, live, "/v1/live?sql=SELECT+*+FROM+t", &[], "").await;
    for (method, path) in documented.keys() {
        let asked = path.replace("{namespace}", "n").replace("{key}", "k");
        met.ask(full_at, (method, path), &asked, &[], "").await;
    }
    for (method, template, status) in RARE {
        met.note(method, template, status);
    }
    assert_eq!(met.0, documented);
}
