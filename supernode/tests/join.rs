//! Who may join by WebSocket: tokens and origins at the door of a supernode that runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{fs, time::Duration};

use common::{dial, get, settings, start, start_peer, until};
use pontoon_supernode::{Access, Settings, Supernode};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, client::IntoClientRequest as _},
};

const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-token-for-the-shop";
const OTHER: &str = "a-token-for-somebody-else";

/// The status that a dialled address is answered with.
async fn status(address: &str, origin: Option<&str>) -> u16 {
    let mut request = address.into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((_, response)) => response.status().as_u16(),
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(error) => panic!("{error}"),
    }
}

/// How many were refused for a reason.
async fn refused(supernode: &Supernode, reason: &str) -> u64 {
    let shown = String::from_utf8(get(supernode.metrics_addr().unwrap(), "/metrics").await.body).unwrap();
    let sample = format!("pontoon_refused_total{{reason=\"{reason}\"}} ");
    shown.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok()).unwrap()
}

#[tokio::test]
async fn a_token_opens_the_door() {
    let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let file = a.path().join("tokens");
    fs::write(&file, format!("# the shop\n{TOKEN}\n")).unwrap();
    let mut settings = settings(a.path());
    settings.join_token_file = Some(file.clone());
    settings.limits.reload_every = Duration::from_millis(50);
    settings.metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let hub = start(settings).await;
    let address = hub.address();
    let with = |token: &str| format!("{address}?token={token}");

    assert_eq!(status(&address, None).await, 401);
    assert_eq!(status(&with("x"), None).await, 401);
    assert_eq!(status(&with(OTHER), None).await, 401);
    assert_eq!(status(&with(TOKEN), None).await, 101);
    assert_eq!((refused(&hub, "no_join_token").await, refused(&hub, "wrong_join_token").await), (1, 2));
    assert_eq!(get(hub.local_addr(), "/healthz").await.status, 200, "the token is for joining only");

    // Another supernode joins with it, and does not without it.
    let outside = start_peer(b.path(), &address).await;
    let inside = start_peer(c.path(), &with(TOKEN)).await;
    until("linked with the token", PATIENCE, || async {
        inside.inspect().await.unwrap().links.iter().any(|link| link.peer == hub.id()).then_some(())
    })
    .await;
    until("refused without", PATIENCE, || async {
        (outside.health().await.unwrap().counters.dials_failed > 0).then_some(())
    })
    .await;
    assert_eq!(outside.health().await.unwrap().counters.sockets_opened, 0);

    // Whose token is taken away does not come in again; who is in stays.
    fs::write(&file, format!("{OTHER}\n")).unwrap();
    until("the new token is in force", PATIENCE, || async { (status(&with(OTHER), None).await == 101).then_some(()) })
        .await;
    assert_eq!(status(&with(TOKEN), None).await, 401);
    fs::write(&file, "too short\n").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(status(&with(OTHER), None).await, 101, "a broken file changes nothing");
    assert!(inside.inspect().await.unwrap().links.iter().any(|link| link.peer == hub.id()));
    for supernode in [inside, outside, hub] {
        supernode.shutdown().await;
    }
}

#[tokio::test]
async fn pages_of_other_origins_stay_out_where_some_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let origins = vec!["https://shop.example.org".to_owned()];
    let access = Access { origins, ..Access::default() };
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let listed = Settings { api: access, metrics_listen, ..settings(directory.path()) };
    let listed = Supernode::start(listed).await.unwrap();
    let (address, own) = (listed.address(), format!("http://{}", listed.local_addr()));
    assert_eq!(status(&address, None).await, 101, "a program is no page");
    assert_eq!(status(&address, Some("https://shop.example.org")).await, 101);
    assert_eq!(status(&address, Some(&own)).await, 101, "the pages that it serves itself");
    for foreign in ["https://elsewhere.example.org", "http://shop.example.org", "null"] {
        assert_eq!(status(&address, Some(foreign)).await, 403, "{foreign}");
    }
    assert_eq!(refused(&listed, "origin").await, 3);
    listed.shutdown().await;

    let directory = tempfile::tempdir().unwrap();
    let open = Supernode::start(settings(directory.path())).await.unwrap();
    assert_eq!(status(&open.address(), Some("https://elsewhere.example.org")).await, 101, "none listed: everybody");
    open.shutdown().await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_log_says_who_was_refused_and_no_token() {
    use common::{Program, bare_command};
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (tokens, log) = (a.path().join("tokens"), a.path().join("log"));
    fs::write(&tokens, format!("{TOKEN}\n")).unwrap();
    let started = |directory: &std::path::Path, arguments: &[&str]| {
        let log = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = bare_command();
        command.arg("--data").arg(directory).args(["--listen", "127.0.0.1:0", "--log", "trace"]);
        command.args(arguments).stderr(log);
        Program::run(command)
    };
    let hub = started(a.path(), &["--join-token-file", tokens.to_str().unwrap()]);
    let wrong = format!("{}?token={OTHER}", hub.socket_address());
    let peer = started(b.path(), &["--peer", &wrong]);
    drop(dial(&format!("{}?token={TOKEN}", hub.socket_address())).await);
    let said = until("both have said so", PATIENCE, || async {
        let text = fs::read_to_string(&log).unwrap();
        (text.contains("a WebSocket was refused") && text.contains("supernode not reached")).then_some(text)
    })
    .await;
    assert!(said.contains("this join token is not known here"), "{said}");
    let inspect = get(peer.address, "/v1/inspect").await;
    for (program, shown) in [(hub, said), (peer, String::from_utf8(inspect.body).unwrap())] {
        assert!(!shown.contains(TOKEN) && !shown.contains(OTHER), "{shown}");
        program.terminated().await;
    }
    let whole = fs::read_to_string(&log).unwrap();
    assert!(!whole.contains(TOKEN) && !whole.contains(OTHER), "{whole}");
}
