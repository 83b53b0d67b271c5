//! Keys and values over HTTP: what each status says is true. `http_eight.rs` has eight nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{Response, open, send, settings, start, until};
use pontoon_core::{
    Command, Reply,
    store::{Action, Expect, KeyOp, Outcome},
};
use pontoon_supernode::{Access, ApiLimits, Settings, Supernode, Token};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

const TOKEN: &str = "0123456789abcdef";
const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn at(node: SocketAddr, method: &str, key: &str, headers: &[(&str, &str)], content: &str) -> Response {
    send(node, method, &format!("/v1/kv/shop/{key}"), headers, content.as_bytes()).await
}

#[tokio::test]
async fn a_key_from_its_beginning_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();

    let nothing = at(node, "GET", "boat", &[], "").await;
    assert_eq!((nothing.status, &nothing.code()[..]), (404, "not_found"));
    let created = at(node, "POST", "boat", &[JSON], "{\"amount\": 12.50}").await;
    assert_eq!(created.status, 201);
    let tag = created.header("etag").unwrap().to_owned();
    assert_eq!(format!("\"{}\"", created.json()["version"].as_str().unwrap()), tag);
    let again = at(node, "POST", "boat", &[JSON], "{}").await;
    assert_eq!((again.status, &again.code()[..]), (409, "conflict"));

    let read = at(node, "GET", "boat", &[], "").await;
    assert_eq!((read.status, &read.body[..]), (200, &b"{\"amount\": 12.50}"[..]), "as it was given");
    assert_eq!((read.header("etag"), read.header("content-type")), (Some(&tag[..]), Some("application/json")));
    let known = at(node, "GET", "boat", &[("If-None-Match", &tag)], "").await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = at(node, "HEAD", "boat", &[], "").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("17"), 0));

    let set = at(node, "PUT", "boat", &[("Content-Type", "text/plain")], "rød").await;
    assert_eq!(set.status, 200);
    let newer = set.header("etag").unwrap().to_owned();
    assert_ne!(newer, tag);
    for (method, condition, status) in [
        ("PUT", ("If-Match", &tag[..]), 412),
        ("PUT", ("If-None-Match", "*"), 412),
        ("DELETE", ("If-Match", &tag), 412),
        ("GET", ("If-Match", &tag), 412),
        ("GET", ("If-None-Match", &tag), 200),
        ("GET", ("If-Match", "*"), 200),
        ("PUT", ("If-None-Match", &tag), 200),
    ] {
        assert_eq!(at(node, method, "boat", &[condition], "x").await.status, status, "{method} {condition:?}");
    }
    let latest = at(node, "GET", "boat", &[], "").await.header("etag").unwrap().to_owned();
    assert_eq!(at(node, "PUT", "boat", &[("If-Match", &format!("\"other\", {latest}"))], "y").await.status, 200);
    let latest = at(node, "GET", "boat", &[], "").await.header("etag").unwrap().to_owned();
    assert_eq!(at(node, "DELETE", "boat", &[("If-Match", &latest)], "").await.status, 204);

    // What is gone.
    assert_eq!(at(node, "GET", "boat", &[("If-Match", &latest)], "").await.status, 404);
    assert_eq!(at(node, "DELETE", "boat", &[], "").await.status, 404);
    assert_eq!(at(node, "DELETE", "boat", &[("If-Match", "*")], "").await.status, 404);
    assert_eq!(at(node, "PUT", "boat", &[("If-Match", "*")], "").await.status, 412);
    assert_eq!(at(node, "PUT", "boat", &[("If-Match", &latest)], "").await.status, 412);
    assert_eq!(at(node, "POST", "boat", &[("If-Match", "*")], "").await.status, 412);
    assert_eq!(at(node, "PUT", "boat", &[("If-None-Match", "*")], "").await.status, 201);
    assert_eq!(at(node, "DELETE", "boat", &[("If-Match", "*")], "").await.status, 204);
    assert_eq!(at(node, "PUT", "boat", &[], "").await.status, 201);
}

#[tokio::test]
async fn what_pages_write_is_read_and_the_other_way_round() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    // As the npm package's `put` does.
    let op = |key: &str, action| KeyOp {
        namespace: "bøts & co".to_owned(),
        locality_bits: 0,
        key: key.into(),
        action,
        proof: None,
    };
    let put = |value: &[u8]| Action::Put { value: value.to_vec(), expect: Expect::Any, ttl_us: None };
    let ops = vec![op("a/b ?", put(b"\xb2[1]")), op("text", put("\u{1}hei".as_bytes())), op("raw", put(b"\xb0\0"))];
    supernode.call(Command::Keys { ops, deadline_us: None }).await.unwrap();

    let json = send(node, "GET", "/v1/kv/b%C3%B8ts%20%26%20co/a%2Fb%20%3F", &[], b"").await;
    assert_eq!(
        (json.status, json.header("content-type"), &json.body[..]),
        (200, Some("application/json"), &b"[1]"[..])
    );
    let raw = send(node, "GET", "/v1/kv/b%C3%B8ts%20%26%20co/raw", &[], b"").await;
    assert_eq!((raw.header("content-type"), &raw.body[..]), (Some("application/octet-stream"), &b"\0"[..]));

    send(node, "PUT", "/v1/kv/b%C3%B8ts%20%26%20co/text", &[("Content-Type", "text/plain")], "å".as_bytes()).await;
    let ops = vec![op("text", Action::Get)];
    match supernode.call(Command::Keys { ops, deadline_us: None }).await {
        Ok(Reply::Keys(outcomes, _)) => {
            assert!(matches!(&outcomes[..], [Outcome::Found { value, .. }] if value[..] == "\u{b1}å".as_bytes()[1..]));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn soft_state_lapses() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    assert_eq!(at(node, "PUT", "soft?ttl=5000", &[], "x").await.status, 201);
    let read = at(node, "GET", "soft?stale=true", &[], "").await;
    assert_eq!(read.status, 200);
    assert!(read.header("pontoon-expires").unwrap().ends_with('z'), "{}", read.head);
    until("lapsed", Duration::from_secs(20), || async {
        (at(node, "GET", "soft", &[], "").await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn mistakes_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = open(directory.path()).await;
    let node = supernode.local_addr();
    let long = "k".repeat(4_097);
    let large = "x".repeat(256 << 10);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    for (method, path, header, content, status, code) in [
        ("GET", "/v1/kv/n/%ff", JSON, "", 400, "invalid_argument"),
        ("GET", "/v1/kv/n/k?what=1", JSON, "", 400, "invalid_argument"),
        ("PUT", "/v1/kv/n/k?ttl=soon", JSON, "1", 400, "invalid_argument"),
        ("PUT", "/v1/kv/n/k", JSON, "{", 400, "invalid_argument"),
        ("PUT", "/v1/kv/n/k", ("If-Match", "1.2.3"), "1", 400, "invalid_argument"),
        ("PUT", "/v1/kv/n/k", form, "1", 415, "unsupported_media_type"),
        ("PUT", "/v1/kv/n/k", ("X-Plain", ""), &large, 413, "too_large"),
        ("GET", &format!("/v1/kv/n/{long}"), JSON, "", 414, "too_large"),
        ("GET", "/v1/kv/pontoon.tables/bids", JSON, "", 403, "forbidden"),
        ("PATCH", "/v1/kv/n/k", JSON, "", 405, "method_not_allowed"),
        ("GET", "/v1/kv/n", JSON, "", 404, "not_found"),
        ("GET", "/v1", JSON, "", 404, "not_found"),
        ("GET", "/v1/no/such/thing", JSON, "", 404, "not_found"),
    ] {
        let told = send(node, method, path, &[header], content.as_bytes()).await;
        assert_eq!((told.status, &told.code()[..]), (status, code), "{method} {path}");
        assert!(!told.json()["error"]["message"].as_str().unwrap().is_empty());
    }
    let methods = send(node, "PATCH", "/v1/kv/n/k", &[], b"").await;
    assert!(methods.header("allow").is_some_and(|allow| allow.contains("put")), "{}", methods.head);
}

#[tokio::test]
async fn writes_need_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let shut = start(settings(directory.path())).await;
    let refused = at(shut.local_addr(), "PUT", "k", &[("Authorization", "Bearer ")], "x").await;
    assert_eq!((refused.status, &refused.code()[..]), (401, "unauthorized"));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("PONTOON_TOKEN"));
    assert!(refused.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("bearer")));
    assert_eq!(at(shut.local_addr(), "GET", "k", &[], "").await.status, 404, "whoever comes may read");
    shut.shutdown().await;

    let access = Access { token: Some(Token::new(TOKEN).unwrap()), ..Access::default() };
    let locked = start(Settings { api: access, ..settings(directory.path()) }).await;
    let node = locked.local_addr();
    for wrong in ["", "Bearer 0123456789abcdeX", "Basic 0123456789abcdef"] {
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(at(node, method, "k", &[("Authorization", wrong)], "x").await.status, 401, "{wrong}");
        }
    }
    let right = ("Authorization", &*format!("Bearer {TOKEN}"));
    assert_eq!(at(node, "PUT", "k", &[right], "x").await.status, 201);
    assert_eq!(at(node, "DELETE", "k", &[right], "").await.status, 204);
}

#[tokio::test]
async fn pages_of_listed_origins_may() {
    let directory = tempfile::tempdir().unwrap();
    let origins = vec!["https://shop.example.org".to_owned()];
    let access = Access { open: true, origins, ..Access::default() };
    let supernode = start(Settings { api: access, ..settings(directory.path()) }).await;
    let node = supernode.local_addr();
    let own = format!("http://{node}");
    let asks = ("Access-Control-Request-Method", "PUT");
    for (origin, listed, writes) in [
        ("https://shop.example.org", true, 200),
        ("https://evil.example.org", false, 403),
        ("null", false, 403),
        (&own, false, 200),
    ] {
        let origin = ("Origin", origin);
        at(node, "PUT", "k", &[], "x").await;
        let shown = |response: &Response| response.header("access-control-allow-origin").is_some();
        let preflight = at(node, "OPTIONS", "k", &[origin, asks], "").await;
        assert_eq!((preflight.status, shown(&preflight)), (204, listed), "{origin:?}");
        let allowed =
            preflight.header("access-control-allow-headers").is_some_and(|names| names.contains("authorization"));
        assert_eq!(allowed, listed);
        let read = at(node, "GET", "k", &[origin], "").await;
        assert_eq!((read.status, shown(&read)), (200, listed), "browsers hide what is not shown");
        assert!(read.header("vary").is_some_and(|vary| vary.contains("origin")));
        let written = at(node, "PUT", "k", &[origin], "x").await;
        assert_eq!((written.status, shown(&written)), (writes, listed), "{origin:?}");
    }
}

#[tokio::test]
async fn too_much_at_once_may_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let limits = ApiLimits { requests_max: 1, content_timeout: Duration::from_secs(3), ..ApiLimits::default() };
    let access = Access { open: true, limits, ..Access::default() };
    let supernode = start(Settings { api: access, ..settings(directory.path()) }).await;
    let node = supernode.local_addr();
    let mut slow = TcpStream::connect(node).await.unwrap();
    slow.write_all(b"PUT /v1/kv/shop/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").await.unwrap();
    let refused = until("refused", Duration::from_secs(5), || async {
        let other = at(node, "GET", "k", &[], "").await;
        (other.status == 429).then_some(other)
    })
    .await;
    assert_eq!((&refused.code()[..], refused.header("retry-after")), ("overloaded", Some("1")));
    // The slow one does not hold its turn forever.
    until("a turn", Duration::from_secs(10), || async {
        (at(node, "GET", "k", &[], "").await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_reaches_nobody_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut alone = settings(directory.path());
    // It waits for a network that does not come.
    alone.engine.founder = false;
    alone.engine.supernodes.push("ws://127.0.0.1:9/pontoon".to_owned());
    let limits = ApiLimits { timeout: Duration::from_millis(300), ..ApiLimits::default() };
    alone.api = Access { open: true, limits, ..Access::default() };
    let supernode = Supernode::start(alone).await.unwrap();
    for method in ["GET", "POST", "PUT", "DELETE"] {
        let answer = at(supernode.local_addr(), method, "k", &[], "").await;
        assert_eq!((answer.status, &answer.code()[..]), (503, "unreachable"), "{method}");
        assert!(answer.header("retry-after").is_some());
    }
}
