//! `abuse`: how long requests of a quiet client take before and during each attack, and what the supernode counted. In
//! between the same attack goes to another server of this machine (`elsewhere`): what the attacker's own work costs here.
//!
//! Two kinds of requests: a question to the engine over HTTP (`/readyz`), and a message from one peer over the supernode to another one. The supernode has its
//! usual limits, but that a flood is cut after a few seconds and not half a minute, so that it is within a measurement.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    attack::{self, ATTACKS},
    echo,
    options::Options,
    peer::{self, Peer},
    program::{NETWORK, Process, Supernode, percentile, rounded},
    relay::{Flow, carry},
};

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);
/// For an attack to have got going.
const BUILD_UP: Duration = Duration::from_secs(5);

/// 95 of 100 took no longer, in milliseconds.
struct Quiet {
    read_ms: f64,
    relayed_ms: f64,
}

pub async fn run(options: &Options) -> Result<(), String> {
    let seconds = options.seconds.unwrap_or(20);
    for (name, counter) in ATTACKS {
        if options.only.as_deref().is_none_or(|only| only == name) {
            let count = options.peers.unwrap_or(0);
            measure(name, counter, count, seconds).await.map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

async fn measure(name: &str, counter: &str, count: usize, seconds: u64) -> Result<(), String> {
    let mut flags = vec!["--flood-seconds", "5"];
    if name == "slow-body" {
        // Content without the token is not waited for.
        flags.push("--open");
    }
    let supernode = Supernode::start(&flags).await?;
    let mut client = Client::start(&supernode).await?;
    client.quiet(2).await?;
    let before = client.quiet(seconds).await?;
    let elsewhere = {
        let (_echo, decoy) = Process::again(&[echo::CHILD], false)?;
        let (_attacker, _) = Process::again(&[attack::CHILD, name, &decoy, &count.to_string()], true)?;
        sleep(BUILD_UP).await;
        client.quiet(seconds).await?
    };
    sleep(BUILD_UP).await;
    let counted = supernode.metric(counter).await?;
    let address = supernode.address.to_string();
    let (attacker, _) = Process::again(&[attack::CHILD, name, &address, &count.to_string()], true)?;
    sleep(BUILD_UP).await;
    let during = client.quiet(seconds).await?;
    let connections = supernode.metric("pontoon_connections").await?;
    // Limits of time may need longer than a short measurement.
    let mut told = supernode.metric(counter).await? - counted;
    let waiting = Instant::now();
    while told < 1.0 && waiting.elapsed() < PATIENCE {
        sleep(Duration::from_millis(500)).await;
        told = supernode.metric(counter).await? - counted;
    }
    let resident = supernode.resident_bytes()?;
    drop(attacker);
    let line = serde_json::json!({
        "scenario": "relay-abuse",
        "attack": name,
        "read_p95_ms_before": rounded(before.read_ms, 3),
        "read_p95_ms_elsewhere": rounded(elsewhere.read_ms, 3),
        "read_p95_ms_during": rounded(during.read_ms, 3),
        "read_ratio": rounded(during.read_ms / before.read_ms, 2),
        "relayed_p95_ms_before": rounded(before.relayed_ms, 3),
        "relayed_p95_ms_elsewhere": rounded(elsewhere.relayed_ms, 3),
        "relayed_p95_ms_during": rounded(during.relayed_ms, 3),
        "relayed_ratio": rounded(during.relayed_ms / before.relayed_ms, 2),
        "connections_open": connections,
        "counter": counter,
        "counted": told,
        "resident_bytes": resident,
        "seconds": seconds,
    });
    println!("{line}");
    Ok(())
}

/// A client that goes about its business.
struct Client {
    stream: TcpStream,
    address: SocketAddr,
    sends: Arc<Semaphore>,
    arrivals: Arc<Semaphore>,
    /// The two peers, which answer probes whatever the client does.
    _peers: JoinSet<()>,
}

impl Client {
    async fn start(supernode: &Supernode) -> Result<Client, String> {
        let address = supernode.address;
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let link = |number| Peer::link(address, None, NETWORK, number);
        let (from, to) = (link(1).await?, link(2).await?);
        let message = peer::chunks(&peer::relay(from.id, to.id, vec![7; 100])).next().ok_or("no chunk")?;
        let (sends, arrivals) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let flow = Flow { credits: Arc::clone(&arrivals), arrived: Arc::default() };
        let mut peers = JoinSet::new();
        carry(&mut peers, (from, to), message, (Arc::clone(&sends), &flow));
        Ok(Client { stream, address, sends, arrivals, _peers: peers })
    }

    async fn quiet(&mut self, seconds: u64) -> Result<Quiet, String> {
        // The one before may have been idle for too long.
        self.stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let (mut reads, mut relayed) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            let at = Instant::now();
            timeout(PATIENCE, self.read()).await.map_err(|_| "a read is not answered")??;
            reads.push(at.elapsed().as_secs_f64() * 1e3);
            let at = Instant::now();
            timeout(PATIENCE, self.message()).await.map_err(|_| "a message does not arrive")??;
            relayed.push(at.elapsed().as_secs_f64() * 1e3);
            sleep(PAUSE).await;
        }
        Ok(Quiet { read_ms: percentile(&mut reads, 0.95), relayed_ms: percentile(&mut relayed, 0.95) })
    }

    /// What takes a turn of the engine. No key: the peers of this bench hold no records, and would be asked for some.
    async fn read(&mut self) -> Result<(), String> {
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut bytes = [0; 4_096];
        let count = self.stream.read(&mut bytes).await.map_err(|error| error.to_string())?;
        let answer = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(format!("answered {answer:?}")) }
    }

    async fn message(&mut self) -> Result<(), String> {
        self.sends.add_permits(1);
        self.arrivals.acquire().await.map_err(|error| error.to_string())?.forget();
        Ok(())
    }
}
