//! SQL over HTTP: results in three forms, errors that say where, and what ends when nobody reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{net::SocketAddr, path::Path, time::Duration};

use common::{Response, open, send, settings, start, until};
use pontoon_core::{Command, sql::standing::stand_entry};
use pontoon_supernode::{Access, ApiLimits, Settings, Supernode, Token};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const PATIENCE: Duration = Duration::from_secs(10);
const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn ask(node: SocketAddr, accept: &str, ask: &Value) -> Response {
    send(node, "POST", "/v1/sql", &[JSON, ("Accept", accept)], ask.to_string().as_bytes()).await
}

async fn sql(node: SocketAddr, text: &str) -> Response {
    ask(node, "*/*", &json!({ "sql": text })).await
}

#[tokio::test]
async fn results_in_three_forms() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    let made = sql(
        node,
        "CREATE TABLE bids (id INTEGER PRIMARY KEY, item TEXT, amount REAL); \
         INSERT INTO bids VALUES (1, 'boat', 12.5), (2, NULL, 3)",
    )
    .await;
    assert_eq!((made.status, &made.json()["affected"]), (200, &json!(2)), "{:?}", made.json());

    let query = json!({ "sql": "SELECT * FROM bids WHERE id <= $1 ORDER BY id", "params": [2] });
    let result = ask(node, "application/json", &query).await;
    assert_eq!((result.status, result.header("content-type")), (200, Some("application/json")));
    let result = result.json();
    let rows = json!([{ "id": 1, "item": "boat", "amount": 12.5 }, { "id": 2, "item": null, "amount": 3.0 }]);
    assert_eq!(result["rows"], rows);
    assert_eq!(result["columns"][2], json!({ "name": "amount", "type": "REAL" }));
    assert_eq!(
        (&result["coverage"], &result["assumedLost"], &result["warnings"]),
        (&json!(1.0), &json!(false), &json!([]))
    );
    assert!(result["cost"]["elapsedMs"].as_f64().is_some());

    let lines = ask(node, "application/x-ndjson", &query).await;
    assert_eq!(lines.header("pontoon-coverage"), Some("1"));
    let read: Vec<Value> =
        str::from_utf8(&lines.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(read), rows);

    let csv = ask(node, "text/csv", &query).await;
    assert_eq!(str::from_utf8(&csv.body).unwrap(), "id,item,amount\r\n1,boat,12.5\r\n2,,3\r\n");
    assert_eq!(ask(node, "text/html", &query).await.code(), "not_acceptable");
    let kinds =
        sql(node, "SELECT DATE '2026-11-20' AS day, 1.50::numeric AS price, '\\x00ff'::bytea AS bytes").await.json();
    assert_eq!(kinds["rows"], json!([{ "day": "2026-11-20", "price": "1.50", "bytes": "\\x00ff" }]));
}

#[tokio::test]
async fn a_large_result_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let text = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n";
    let lines = ask(supernode.local_addr(), "application/x-ndjson", &json!({ "sql": text })).await;
    assert_eq!(lines.status, 200);
    assert_eq!(str::from_utf8(&lines.body).unwrap().lines().count(), 20_000);
}

#[tokio::test]
async fn errors_say_what_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    sql(node, "CREATE TABLE t (id INTEGER PRIMARY KEY, CHECK (id > 0)); INSERT INTO t VALUES (1)").await;
    for (text, status, code, sqlstate, position) in [
        ("SELEC 1", 400, "syntax_error", "42601", Some(1)),
        ("SELECT 1; SELECT nothing FROM t", 400, "undefined_column", "42703", Some(18)),
        ("SELECT * FROM nowhere", 400, "undefined_table", "42P01", Some(15)),
        ("SELECT 1 / 0", 400, "division_by_zero", "22012", None),
        ("INSERT INTO t VALUES (1)", 409, "unique_violation", "23505", None),
        ("INSERT INTO t VALUES (-1)", 409, "check_violation", "23514", None),
        ("", 400, "syntax_error", "42601", None),
    ] {
        let told = sql(node, text).await;
        assert_eq!((told.status, &told.code()[..]), (status, code), "{text}");
        let error = &told.json()["error"];
        assert_eq!(error["sqlstate"], sqlstate, "{text}");
        if position.is_some() {
            assert_eq!(error["position"].as_u64(), position, "{text}: {error}");
        }
    }
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(sql(node, &deep).await.code(), "statement_too_complex");
    let wrong = [(JSON, "{}", 400), (JSON, "{\"sql\": 1}", 400), (("Content-Type", "text/plain"), "SELECT 1", 415)];
    for (header, content, status) in wrong {
        assert_eq!(send(node, "POST", "/v1/sql", &[header], content.as_bytes()).await.status, status, "{content}");
    }
    assert_eq!(sql(node, &format!("SELECT '{}'", "x".repeat(1 << 20))).await.status, 413);
}

#[tokio::test]
async fn a_request_is_a_session_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    let show = "SHOW pontoon.dialect";
    let shown = |response: Response| response.json()["rows"][0]["pontoon.dialect"].clone();
    assert_eq!(shown(sql(node, &format!("SET pontoon.dialect = 'sqlite'; {show}")).await), "sqlite");
    assert_eq!(shown(sql(node, show).await), "postgres");
    assert_eq!(shown(ask(node, "*/*", &json!({ "sql": show, "dialect": "sqlite" })).await), "sqlite");
}

#[tokio::test]
async fn it_needs_the_token_and_a_turn() {
    let directory = tempfile::tempdir().unwrap();
    let limits = ApiLimits { sql_max: 0, ..ApiLimits::default() };
    let token = Some(Token::new("0123456789abcdef").unwrap());
    let access = Access { token, limits, ..Access::default() };
    let supernode = start(Settings { api: access, ..settings(directory.path()) }).await;
    let node = supernode.local_addr();
    assert_eq!(sql(node, "SELECT 1").await.code(), "unauthorized");
    let headers = [JSON, ("Authorization", "Bearer 0123456789abcdef")];
    let full = send(node, "POST", "/v1/sql", &headers, b"{\"sql\": \"SELECT 1\"}").await;
    assert_eq!((full.status, &full.code()[..], full.header("retry-after")), (429, "overloaded", Some("1")));
}

/// A supernode that waits for a network that does not come: what it is asked takes until its deadline.
async fn waiting(directory: &Path) -> Supernode {
    let mut waiting = settings(directory);
    waiting.engine.founder = false;
    waiting.engine.supernodes.push("ws://127.0.0.1:9/pontoon".to_owned());
    waiting.api.open = true;
    waiting.api.limits.sql_max = 1;
    Supernode::start(waiting).await.unwrap()
}

#[tokio::test]
async fn who_goes_away_leaves_its_turn() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = waiting(directory.path()).await;
    let node = supernode.local_addr();
    let mut gone = TcpStream::connect(node).await.unwrap();
    let text = "{\"sql\": \"SELECT * FROM t\"}";
    let head = "POST /v1/sql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    gone.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).await.unwrap();
    let next = || async { ask(node, "*/*", &json!({ "sql": "SELECT * FROM t", "timeout": 100 })).await.status };
    until("it runs", PATIENCE, || async { (next().await == 429).then_some(()) }).await;
    drop(gone);
    until("it does not", PATIENCE, || async { (next().await == 503).then_some(()) }).await;
}

#[tokio::test]
async fn what_nobody_waits_for_is_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = waiting(directory.path()).await;
    let running = || async { supernode.inspect().await.unwrap().counters["queries_running"] };
    let fragment = stand_entry("t", 0).fragment;
    let gather = supernode.call(Command::Gather { fragment, except: Box::default(), deadline_us: None });
    tokio::select! {
        answer = gather => panic!("{answer:?}"),
        () = until("it runs", PATIENCE, || async { (running().await == 1).then_some(()) }) => {}
    }
    until("it does not", PATIENCE, || async { (running().await == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_belongs_to_the_supernode_that_creates_it_for_its_user() {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let run = |at: usize, listen: &str, flags: &[&str]| {
        let mut program = common::command(directories[at].path(), listen);
        program.arg("--open").args(flags);
        common::Program::run(program)
    };
    let owner = run(0, "127.0.0.1:0", &["--user"]);
    let first = format!("ws://{}/pontoon", owner.address);
    let (other, nobody) =
        (run(1, "127.0.0.1:0", &["--user", "--peer", &first]), run(2, "127.0.0.1:0", &["--peer", &first]));
    let ready = |node: SocketAddr| async move {
        until("an answer", Duration::from_secs(60), || async {
            (sql(node, "SELECT count(*) FROM pontoon_tables").await.status == 200).then_some(())
        })
        .await;
    };
    for node in [owner.address, other.address, nobody.address] {
        ready(node).await;
    }
    let user =
        |node: SocketAddr| async move { sql(node, "SELECT current_user AS me").await.json()["rows"][0]["me"].clone() };
    let (mine, theirs) = (user(owner.address).await, user(other.address).await);
    assert!(mine.as_str().unwrap().len() == 64 && mine != theirs && user(nobody.address).await.is_null());

    let made =
        sql(owner.address, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'mine')").await;
    assert_eq!(made.status, 200, "{:?}", made.json());
    for (node, status, code) in [(other.address, 403, "insufficient_privilege"), (nobody.address, 403, "unsigned")] {
        for text in ["DROP TABLE t", "DELETE FROM t", "INSERT INTO t VALUES (2, 'x')", "UPDATE t SET v = 'x'"] {
            let refused = sql(node, text).await;
            assert_eq!((refused.status, &refused.json()["error"]["code"]), (status, &json!(code)), "{text}");
        }
    }
    let theirs = theirs.as_str().unwrap();
    let granted = sql(owner.address, &format!("GRANT INSERT ON t TO '{theirs}'")).await;
    assert_eq!(granted.status, 200, "{:?}", granted.json());
    assert_eq!(sql(other.address, "INSERT INTO t VALUES (2, 'granted')").await.status, 200);

    // A private table is read by whom SELECT was granted, a policy says of which rows others write.
    let made = "CREATE TABLE diary (id INTEGER PRIMARY KEY, line TEXT) WITH (private = true); \
                INSERT INTO diary VALUES (1, 'dear diary'), (2, 'another day'); \
                CREATE TABLE board (id INTEGER PRIMARY KEY, author TEXT); GRANT INSERT, DELETE ON board TO PUBLIC; \
                CREATE POLICY own ON board USING (author = current_user); INSERT INTO board VALUES (1, current_user)";
    let made = sql(owner.address, made).await;
    assert_eq!(made.status, 200, "{:?}", made.json());
    for (node, code) in [(other.address, "insufficient_privilege"), (nobody.address, "unsigned")] {
        for text in ["SELECT * FROM diary", "SELECT line FROM diary WHERE id = 1", "SELECT count(*) FROM diary"] {
            let refused = sql(node, text).await;
            assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!(code)), "{text}");
        }
        let refused = sql(node, "DELETE FROM board").await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!(code)));
    }
    assert_eq!(sql(other.address, "INSERT INTO board VALUES (2, current_user)").await.status, 200);
    assert_eq!(sql(owner.address, &format!("GRANT SELECT ON diary TO '{theirs}'")).await.status, 200);
    let lines = sql(other.address, "SELECT line FROM diary ORDER BY id").await.json()["rows"].clone();
    assert_eq!(lines, json!([{ "line": "dear diary" }, { "line": "another day" }]));
    assert_eq!(sql(owner.address, &format!("REVOKE SELECT ON diary FROM '{theirs}'")).await.status, 200);
    assert_eq!(sql(other.address, "SELECT line FROM diary WHERE id = 2").await.status, 403);
    // The user is in the store: after a kill it is the same one.
    let listen = owner.address.to_string();
    owner.kill();
    let owner = run(0, &listen, &["--user"]);
    ready(owner.address).await;
    assert_eq!(user(owner.address).await, mine);
    assert_eq!(sql(owner.address, "UPDATE t SET v = 'still mine' WHERE id = 1").await.status, 200);
    let rows = sql(nobody.address, "SELECT id, v FROM t ORDER BY id").await.json()["rows"].clone();
    assert_eq!(rows, json!([{ "id": 1, "v": "still mine" }, { "id": 2, "v": "granted" }]));
}
