//! What those who watch a supernode see: metrics that Prometheus reads and the dashboard asks for, readiness, request ids.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use common::{dial, get, peer::Peer, send, settings, start, until};
use pontoon_supernode::{Settings, Supernode};
use tokio_tungstenite::tungstenite;

async fn watched(directory: &Path) -> Supernode {
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    start(Settings { metrics_listen: listen, ..settings(directory) }).await
}

async fn metrics(supernode: &Supernode) -> String {
    let page = get(supernode.metrics_addr().unwrap(), "/metrics").await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(page.body).unwrap()
}

/// A supernode's metrics after it has done a bit of everything.
async fn busy(directory: &Path) -> String {
    let supernode = watched(directory).await;
    let address = supernode.local_addr();
    for path in ["/", "/healthz", "/readyz", "/v1/ring", "/v1/kv/notes/a", "/no/such/file"] {
        get(address, path).await;
    }
    send(address, "PUT", "/v1/kv/notes/a", &[], b"x").await;
    // Last, since it holds no records, and would be asked for some.
    let _peer = Peer::link(address, None, "test", 1).await.unwrap();
    // The hub may still look at the peer's proof; and what it has is looked at ten times a second.
    let linked = "pontoon_links{transport=\"websocket\"} 1\n";
    let text = until("linked", Duration::from_secs(5), || async {
        Some(metrics(&supernode).await).filter(|text| text.contains(linked))
    });
    let text = text.await;
    supernode.shutdown().await;
    text
}

/// Metrics by name: the type, and the labels that values have.
fn parsed(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let is_name = |name: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.bytes().all(plain) && name.starts_with(|first: char| first.is_ascii_lowercase())
    };
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    let (mut helped, mut current, mut samples) = (String::new(), String::new(), BTreeSet::new());
    assert!(text.ends_with('\n'), "the last line ends as well");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(is_name(name) && !help.is_empty(), "{line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "HELP stands before TYPE");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            current = name.to_owned();
            assert!(found.insert(current.clone(), (kind.to_owned(), BTreeSet::new())).is_none(), "{name} twice");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample), "{sample} twice");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let (kind, seen) = found.get_mut(&current).unwrap();
            let base = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap(),
                _ => name,
            };
            assert_eq!(base, current, "{line} is not below its TYPE");
            for label in labels.strip_suffix('}').unwrap().split("\",").filter(|label| !label.is_empty()) {
                let (label, of) = label.split_once("=\"").unwrap();
                assert!(is_name(label) && !of.trim_end_matches('"').contains(['"', '\n', '\\']), "{line}");
                seen.insert(label.to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn metrics_follow_the_format_and_say_what_happened() {
    let directory = tempfile::tempdir().unwrap();
    let text = busy(directory.path()).await;
    let found = parsed(&text);
    assert!(found.len() > 30, "{}", found.len());
    for line in [
        "pontoon_joined 1",
        "pontoon_ready 1",
        "pontoon_websockets 1",
        "pontoon_links{transport=\"websocket\"} 1",
        "pontoon_disk_state{state=\"ok\"} 1",
        "pontoon_http_requests_total{route=\"/readyz\",status=\"200\"} 1",
        "pontoon_http_requests_total{route=\"/v1/kv/{namespace}/{key}\",status=\"401\"} 1",
        "pontoon_http_request_duration_seconds_bucket{route=\"/v1/ring\",le=\"+Inf\"} 1",
        "pontoon_cut_total{reason=\"flood\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let labels: BTreeSet<&String> = found.values().flat_map(|(_, labels)| labels).collect();
    let few =
        ["event", "le", "purpose", "reason", "result", "route", "state", "status", "transport", "version", "what"];
    assert!(labels.iter().all(|label| few.contains(&label.as_str())), "{labels:?}");
}

/// The histogram's numbers grow with its bounds, and the last one is all.
#[tokio::test]
async fn histograms_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let text = busy(directory.path()).await;
    let mut by_route: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("pontoon_http_request_duration_seconds_bucket{route=\"") {
            let route = rest.split_once('"').unwrap().0;
            by_route.entry(route).or_default().push(line.rsplit_once(' ').unwrap().1.parse().unwrap());
        }
    }
    assert!(!by_route.is_empty());
    for (route, counts) in by_route {
        assert!(counts.is_sorted(), "{route}: {counts:?}");
        let count =
            format!("pontoon_http_request_duration_seconds_count{{route=\"{route}\"}} {}", counts.last().unwrap());
        assert!(text.contains(&count), "{count}");
    }
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let text = busy(directory.path()).await;
    let checking = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut checking) = checking else {
        println!("SKIPPED: there is no promtool (Debian's package prometheus has it)");
        return;
    };
    checking.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = checking.wait_with_output().unwrap();
    let all = [said.stdout, said.stderr].concat();
    assert!(said.status.success() && all.is_empty(), "{}", String::from_utf8_lossy(&all));
}

/// Every name in the dashboard's queries is a metric with such labels.
#[tokio::test]
async fn the_dashboard_asks_for_metrics_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let found = parsed(&busy(directory.path()).await);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let names: Vec<&str> =
                words.filter(|word| word.starts_with("pontoon_") || word.starts_with("process_")).collect();
            assert!(!names.is_empty(), "{query} asks for nothing of this program");
            for name in names {
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                let (_, labels) = found.get(base).or(found.get(name)).unwrap_or_else(|| panic!("{name} in {query}"));
                let by = query.split("by (").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
                for label in by.split(", ").filter(|label| !label.is_empty() && *label != "instance") {
                    assert!(labels.contains(label), "{name} has no {label}: {query}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked >= 10, "{asked}");
}

#[tokio::test]
async fn metrics_are_not_at_the_network_s_port_and_nowhere_unless_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = watched(directory.path()).await;
    assert_eq!(get(supernode.local_addr(), "/metrics").await.status, 404);
    assert_eq!(get(supernode.metrics_addr().unwrap(), "/v1/inspect").await.status, 404);
    assert_eq!(get(supernode.metrics_addr().unwrap(), "/readyz").await.status, 200);
    supernode.shutdown().await;
    let supernode = start(settings(directory.path())).await;
    assert_eq!(supernode.metrics_addr(), None);
}

#[tokio::test]
async fn readiness_is_joined_and_not_leaving() {
    let directory = tempfile::tempdir().unwrap();
    let mut alone = settings(directory.path());
    // Nobody is there to join.
    alone.engine.founder = false;
    alone.engine.supernodes.push("ws://127.0.0.1:1/pontoon".to_owned());
    let waiting = Supernode::start(alone).await.unwrap();
    let answer = get(waiting.local_addr(), "/readyz").await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (503, Some("not joined")));
    assert_eq!(get(waiting.local_addr(), "/healthz").await.status, 200, "it lives all the same");
    waiting.shutdown().await;

    let supernode = start(settings(directory.path())).await;
    let address = supernode.local_addr();
    let answer = get(address, "/readyz").await;
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &true.into()));
    let client = dial(&supernode.address()).await;

    supernode.drain();
    let answer = get(address, "/readyz").await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (503, Some("leaving")));
    match tokio_tungstenite::connect_async(&supernode.address()).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    assert_eq!(supernode.health().await.unwrap().sockets, 1, "who is there stays until it shuts down");
    assert_eq!(get(address, "/v1/kv/notes/a").await.status, 404, "and is served");
    drop(client);
    supernode.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_drained_program_serves_on_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = common::command(directory.path(), "127.0.0.1:0");
    command.args(["--drain-seconds", "1"]);
    let program = common::Program::run(command);
    let address = program.address;
    until("joined", Duration::from_secs(10), || async { (get(address, "/readyz").await.status == 200).then_some(()) })
        .await;
    program.terminate();
    until("it says so", Duration::from_secs(1), || async {
        (get(address, "/readyz").await.status == 503).then_some(())
    })
    .await;
    assert_eq!(get(address, "/healthz").await.status, 200);
    assert!(program.ended(Duration::from_secs(12)).await.success());
}

#[tokio::test]
async fn requests_have_ids() {
    let directory = tempfile::tempdir().unwrap();
    let supernode = start(settings(directory.path())).await;
    let address = supernode.local_addr();
    let id = async |headers: &[(&str, &str)]| {
        let answer = send(address, "GET", "/v1/kv/notes/a", headers, b"").await;
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(id(&[("X-Request-Id", "trace-17.a")]).await, "trace-17.a");
    let (first, second) = (id(&[]).await, id(&[("X-Request-Id", "not \"sane\"")]).await);
    assert!(first != second && !second.contains('"'));
}
