//! TLS with real certificates: pages, WebSockets, other supernodes, the program's commands, and a certificate that is
//! replaced while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{
    certificates::{Authority, Certificate},
    get, send, settings, start, until,
};
use futures_util::{SinkExt as _, StreamExt as _};
use pontoon_supernode::{Settings, Supernode, Tls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    Connector, connect_async, connect_async_tls_with_config,
    tungstenite::{self, Message},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn secured(directory: &Path, tls: Tls) -> Settings {
    Settings { tls, ..settings(directory) }
}

#[tokio::test]
async fn pages_and_sockets_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let tls = authority.issue().save(directory.path());
    let supernode = Supernode::start(secured(directory.path(), tls)).await.unwrap();
    let address = supernode.local_addr();
    assert_eq!(supernode.address(), format!("wss://{address}/pontoon"));

    let mut page = authority.connect(address).await.unwrap();
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let connector = Connector::Rustls(authority.client());
    let dialled = connect_async_tls_with_config(supernode.address(), None, true, Some(connector)).await;
    let (mut socket, _) = dialled.unwrap();
    socket.send(Message::Ping(vec![7].into())).await.unwrap();
    let answered = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Pong(bytes) = message {
                return bytes;
            }
        }
        panic!("no answer");
    };
    assert_eq!(answered.await[..], [7]);

    // Who does not know the authority does not connect.
    assert!(Authority::new().connect(address).await.is_err());
    supernode.shutdown().await;
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let directory = tempfile::tempdir().unwrap();
    let settings = secured(directory.path(), Authority::new().issue().save(directory.path()));
    let metrics_listen = Some(([127, 0, 0, 1], 0).into());
    let supernode = Supernode::start(Settings { metrics_listen, ..settings }).await.unwrap();
    let address = supernode.local_addr();
    // The answer arrives although nobody reads the content.
    for answer in [get(address, "/healthz").await, send(address, "PUT", "/v1/kv/notes/a", &[], &vec![0; 50_000]).await]
    {
        let text = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == 400 && text.contains("https://") && text.contains("wss://"), "{text}");
        assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
    }
    match connect_async(format!("ws://{address}/pontoon")).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 400),
        other => panic!("{other:?}"),
    }
    // What is neither is let go of without an answer.
    let mut neither = TcpStream::connect(address).await.unwrap();
    neither.write_all(&[0; 100]).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, neither.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let shown = get(supernode.metrics_addr().unwrap(), "/metrics").await.body;
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("pontoon_refused_total{reason=\"plain_http\"} 3\n"), "{shown}");
    supernode.shutdown().await;
}

#[tokio::test]
async fn who_does_not_begin_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = secured(directory.path(), Authority::new().issue().save(directory.path()));
    settings.limits.request_timeout = Duration::from_millis(200);
    settings.limits.connections_max = 1;
    let supernode = Supernode::start(settings).await.unwrap();
    let mut silent = TcpStream::connect(supernode.local_addr()).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test]
async fn supernodes_over_wss_are_one_network() {
    let [a, b, c] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let authority = Authority::new();
    let hub = start(secured(a.path(), authority.issue().save(a.path()))).await;
    let peer = |directory: &Path, ca| {
        let mut settings = secured(directory, Tls { ca: Some(ca), ..Tls::default() });
        settings.engine.supernodes.push(hub.address());
        settings.engine.founder = false;
        Supernode::start(settings)
    };
    let good = peer(b.path(), authority.save(b.path())).await.unwrap();
    let bad = peer(c.path(), Authority::new().save(c.path())).await.unwrap();
    until("linked over TLS", PATIENCE, || async {
        let links = good.inspect().await.unwrap().links;
        links.iter().any(|link| link.peer == hub.id()).then_some(())
    })
    .await;
    until("a certificate of a stranger is refused", PATIENCE, || async {
        (bad.health().await.unwrap().counters.dials_failed > 0).then_some(())
    })
    .await;
    assert_eq!(bad.health().await.unwrap().counters.sockets_opened, 0);
    for supernode in [bad, good, hub] {
        supernode.shutdown().await;
    }
}

/// Waits until this certificate is served.
async fn serves(supernode: &Supernode, authority: &Authority, certificate: &Certificate) {
    until("the certificate is served", PATIENCE, || async {
        let stream = authority.connect(supernode.local_addr()).await.ok()?;
        let served = stream.get_ref().1.peer_certificates()?.first()?.clone();
        (served == certificate.der()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_replaced_and_a_broken_one_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let [first, second, third] = [(); 3].map(|()| authority.issue());
    let mut settings = secured(directory.path(), first.save(directory.path()));
    settings.limits.reload_every = Duration::from_millis(50);
    let supernode = Supernode::start(settings).await.unwrap();
    serves(&supernode, &authority, &first).await;
    let mut old = authority.connect(supernode.local_addr()).await.unwrap();

    second.save(directory.path());
    serves(&supernode, &authority, &second).await;
    old.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "connections from before go on");

    // The certificate of another key, then no certificate at all.
    let file = directory.path().join("cert.pem");
    for broken in [first.cert.as_str(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""] {
        fs::write(&file, broken).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        serves(&supernode, &authority, &second).await;
    }
    third.save(directory.path());
    serves(&supernode, &authority, &third).await;
    supernode.shutdown().await;
}

#[cfg(unix)]
mod program {
    use std::time::SystemTime;

    use common::{Program, bare_command, command};

    use super::*;

    #[tokio::test]
    async fn a_certificate_that_ends_soon_is_said_and_shown() {
        const DAY_S: u64 = 24 * 3_600;
        let directory = tempfile::tempdir().unwrap();
        let (authority, log) = (Authority::new(), directory.path().join("log"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let [soon, sooner, late] = [3, 2, 90].map(|days| now + days * DAY_S + DAY_S / 2);
        let tls = authority.issue_until(soon).save(directory.path());
        let mut command = command(directory.path(), "127.0.0.1:0");
        command.arg("--tls-cert").arg(tls.cert.unwrap()).arg("--tls-key").arg(tls.key.unwrap());
        // A port that was free a moment ago.
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        command.args(["--metrics-listen", &metrics.to_string()]).stderr(fs::File::create(&log).unwrap());
        let program = Program::run(command);

        let shows = async |end: u64| {
            let line = format!("\npontoon_certificate_not_after_seconds {end}\n");
            until(&line, PATIENCE, || async {
                let shown = String::from_utf8(get(metrics, "/metrics").await.body).unwrap();
                shown.contains(&line).then_some(())
            })
            .await;
        };
        let said = || fs::read_to_string(&log).unwrap().matches("the certificate ends soon").count();
        shows(soon).await;
        until("it is said at the start", PATIENCE, || async { (said() == 1).then_some(()) }).await;
        assert!(fs::read_to_string(&log).unwrap().contains("days=3"));
        for (end, times) in [(sooner, 2), (late, 2)] {
            authority.issue_until(end).save(directory.path());
            program.hang_up();
            shows(end).await;
            until("it is said of each that ends soon", PATIENCE, || async { (said() >= times).then_some(()) }).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(said(), 2, "not of one that ends late");
        program.terminated().await;
    }

    #[tokio::test]
    async fn the_program_and_its_commands() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let (first, second) = (authority.issue(), authority.issue());
        let tls = first.save(directory.path());
        let mut command = command(directory.path(), "127.0.0.1:0");
        command.arg("--tls-cert").arg(tls.cert.unwrap()).arg("--tls-key").arg(tls.key.unwrap());
        let program = Program::run(command);

        let health = |ca: &Path| {
            let mut command = bare_command();
            command.arg("health").arg("--server").arg(format!("https://{}", program.address)).arg("--ca").arg(ca);
            command.output().unwrap()
        };
        let good = health(&authority.save(directory.path()));
        let text = String::from_utf8(good.stdout).unwrap();
        assert!(good.status.success() && text.contains("\"status\":\"ok\""), "{text}");
        let elsewhere = tempfile::tempdir().unwrap();
        let bad = health(&Authority::new().save(elsewhere.path()));
        let text = String::from_utf8(bad.stderr).unwrap();
        assert!(bad.status.code() == Some(1) && text.lines().count() == 1 && text.contains("certificate"), "{text}");

        second.save(directory.path());
        program.hang_up();
        until("SIGHUP reads it again", PATIENCE, || async {
            let stream = authority.connect(program.address).await.ok()?;
            let served = stream.get_ref().1.peer_certificates()?.first()?.clone();
            (served == second.der()).then_some(())
        })
        .await;
        program.terminated().await;
    }

    #[tokio::test]
    async fn without_anything_to_read_again_a_hangup_ends_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let program = Program::start(directory.path());
        program.hang_up();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(get(program.address, "/healthz").await.status, 200);
        program.terminated().await;
    }
}
