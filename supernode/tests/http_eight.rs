//! Eight supernodes that are one network, each asked over HTTP: any of them will do, and one may die.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{Program, Response, command, get, open, send, settings, start, until};
use futures_util::{StreamExt as _, stream};
use pontoon_supernode::Supernode;

const JSON: (&str, &str) = ("Content-Type", "application/json");

async fn at(node: SocketAddr, method: &str, key: &str, headers: &[(&str, &str)], content: &str) -> Response {
    send(node, method, &format!("/v1/kv/shop/{key}"), headers, content.as_bytes()).await
}

/// Seven in this process, and one that can be killed; all of one network.
async fn eight(directories: &[tempfile::TempDir]) -> (Vec<Supernode>, Program) {
    let mut all = vec![open(directories[0].path()).await];
    let founder = all[0].address();
    for directory in &directories[1..7] {
        let mut settings = settings(directory.path());
        settings.engine.supernodes.push(founder.clone());
        settings.engine.founder = false;
        settings.api.open = true;
        all.push(start(settings).await);
    }
    let mut eighth = command(directories[7].path(), "127.0.0.1:0");
    eighth.args(["--open", "--peer", &founder]);
    let eighth = Program::run(eighth);
    until("eight that know each other", Duration::from_secs(90), || async {
        for node in &all {
            let seen = node.inspect().await.unwrap();
            if seen.links.len() != 7 || !seen.fragments.iter().any(|fragment| fragment.owner == seen.id) {
                return None;
            }
        }
        Some(())
    })
    .await;
    (all, eighth)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_keys_through_eight_nodes() {
    let directories: Vec<_> = (0..8).map(|_| tempfile::tempdir().unwrap()).collect();
    let (all, eighth) = eight(&directories).await;
    let mut nodes: Vec<SocketAddr> = all.iter().map(Supernode::local_addr).collect();
    nodes.push(eighth.address);
    // Each step of a key at another node.
    let steps = |number: usize| {
        let nodes = nodes.clone();
        async move {
            let (key, first, second) = (format!("key-{number}"), format!("[{number}]"), format!("[{number}, 2]"));
            let node = |step: usize| nodes[(number + step) % nodes.len()];
            assert_eq!(at(node(0), "POST", &key, &[JSON], &first).await.status, 201);
            if number.is_multiple_of(10) {
                assert_eq!(at(node(1), "POST", &key, &[JSON], &first).await.status, 409);
            }
            let read = at(node(2), "GET", &key, &[], "").await;
            assert_eq!((read.status, &read.body[..]), (200, first.as_bytes()));
            let old = read.header("etag").unwrap();
            assert_eq!(at(node(3), "PUT", &key, &[JSON, ("If-Match", old)], &second).await.status, 200);
            if number.is_multiple_of(10) {
                assert_eq!(at(node(4), "PUT", &key, &[JSON, ("If-Match", old)], "0").await.status, 412);
            }
            assert_eq!(at(node(5), "GET", &key, &[], "").await.body, second.as_bytes());
            assert_eq!(at(node(6), "DELETE", &key, &[], "").await.status, 204);
            assert_eq!(at(node(7), "GET", &key, &[], "").await.status, 404);
            assert_eq!(at(node(8), "PUT", &key, &[JSON], &first).await.status, 201);
        }
    };
    stream::iter(0..1_000).for_each_concurrent(128, steps).await;

    let ids: BTreeSet<String> = stream::iter(&nodes).then(|node| id(*node)).collect().await;
    assert_eq!(ids.len(), 8);
    until("each ring is the ring", Duration::from_secs(90), || ring_is(&nodes, &ids)).await;

    let gone = id(eighth.address).await;
    eighth.kill();
    nodes.pop();
    let killed = Instant::now();
    let readable = |number: usize| {
        let node = nodes[number % nodes.len()];
        async move {
            until("readable", Duration::from_secs(90), || async {
                let read = at(node, "GET", &format!("key-{number}"), &[], "").await;
                (read.status == 200 && read.body == format!("[{number}]").as_bytes()).then_some(())
            })
            .await;
        }
    };
    stream::iter(0..1_000).for_each_concurrent(128, readable).await;
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    let left = ids.into_iter().filter(|id| *id != gone).collect();
    until("each ring is without it", Duration::from_secs(90), || ring_is(&nodes, &left)).await;
}

async fn id(node: SocketAddr) -> String {
    get(node, "/healthz").await.json()["id"].as_str().unwrap().to_owned()
}

/// Whether every node prints the ring of these ids, all regions have an owner among them, and whoever is said to hold a
/// region says so, too.
async fn ring_is(nodes: &[SocketAddr], ids: &BTreeSet<String>) -> Option<()> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (mut held, mut said, mut share) = (BTreeSet::new(), BTreeMap::new(), 0.0);
    for node in nodes {
        let ring = get(*node, "/v1/ring").await.json();
        let printed: Vec<String> = ring["nodes"].as_array().unwrap().iter().map(|node| text(&node["id"])).collect();
        assert!(printed.is_sorted());
        if !printed.iter().eq(ids) {
            return None;
        }
        let me = text(&ring["id"]);
        let fingers = ring["fingers"].as_array().unwrap().iter().flat_map(|finger| finger["peers"].as_array().unwrap());
        let fingers: BTreeSet<String> = fingers.map(text).collect();
        if !fingers.iter().eq(ids.iter().filter(|id| **id != me)) {
            return None;
        }
        for replica in ring["replicas"].as_array().unwrap() {
            let (region, owner) = (text(&replica["region"]), text(&replica["owner"]));
            let members: BTreeSet<String> = replica["members"].as_array().unwrap().iter().map(text).collect();
            if owner == me {
                share += replica["share"].as_f64().unwrap();
                said.insert(region.clone(), members);
            }
            held.insert((region, me.clone()));
        }
        let dot = String::from_utf8(get(*node, "/v1/ring?format=dot").await.body).unwrap();
        assert_eq!(dot.matches("dir=none").count(), ids.len());
        let peers = get(*node, "/v1/peers").await.json();
        assert_eq!(peers["peers"].as_array().unwrap().len(), ids.len() - 1);
    }
    let kept = said.iter().all(|(region, members)| {
        members.len() == 3 && members.iter().all(|member| held.contains(&(region.clone(), member.clone())))
    });
    (share == 1.0 && kept).then_some(())
}
