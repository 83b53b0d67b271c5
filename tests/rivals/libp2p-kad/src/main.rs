//! rust-libp2p's Kademlia, measured as `bench dht-ops` measures Pontoon: N nodes in one process over the memory
//! transport, puts and gets of 1 kB values from random nodes, real time.
//!
//!   --nodes 64 --k 20 --ops 500 --in-flight 1 --seed 1 --threads 1 --security plaintext|noise
//!
//! Set up in its favour: every node knows every other's address from the start, connections are open and warm, and
//! periodic jobs (republication, replication, bootstraps) are off. `k` is the replication factor, which is also the
//! breadth of a lookup; buckets keep the library's 20. A put is over when a majority of `k` peers confirmed it; a get
//! when the first record arrives (its query is ended then).

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use libp2p_core::{Multiaddr, Transport as _, multiaddr::Protocol, transport::MemoryTransport, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};
use libp2p_kad::{
    Behaviour, Config, Event, GetRecordOk, Mode, QueryId, QueryResult, Quorum, Record,
    store::{MemoryStore, MemoryStoreConfig},
};
use libp2p_swarm::{Swarm, SwarmEvent};
use tokio::sync::{mpsc, oneshot};

/// The allocator that `bench` has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const VALUE_BYTES: usize = 1_000;
/// What is over sooner is measured for so long, as `bench dht-ops` does.
const AT_LEAST: Duration = Duration::from_secs(1);
const AN_HOUR: Duration = Duration::from_secs(3_600);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a node is told to do; it answers whether that went well.
enum Ask {
    Bootstrap,
    Put(Vec<u8>),
    Get(Vec<u8>),
}

type Answer = oneshot::Sender<Result<(), String>>;

#[derive(Clone)]
struct Options {
    nodes: usize,
    k: usize,
    ops: usize,
    in_flight: usize,
    seed: u64,
    threads: usize,
    security: String,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            nodes: 64,
            k: 20,
            ops: 500,
            in_flight: 1,
            seed: 1,
            threads: 1,
            security: "plaintext".to_owned(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{name} wants a number, not {value:?}"));
            match name.as_str() {
                "--nodes" => options.nodes = number()?,
                "--k" => options.k = number()?,
                "--ops" => options.ops = number()?,
                "--in-flight" => options.in_flight = number()?,
                "--seed" => options.seed = number()? as u64,
                "--threads" => options.threads = number()?,
                "--security" if ["plaintext", "noise"].contains(&value.as_str()) => options.security = value,
                _ => return Err(format!("no option {name} {value}")),
            }
        }
        if options.nodes < 2 || options.k == 0 || options.ops == 0 || options.in_flight == 0 || options.threads == 0 {
            return Err("--nodes wants at least 2, the other numbers at least 1".to_owned());
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).map_err(Failure::from).and_then(|options| {
        let mut builder = match options.threads {
            1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.worker_threads(options.threads).enable_time().build()?;
        runtime.block_on(measure(&options))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("libp2p-kad: {error}");
            ExitCode::FAILURE
        }
    }
}

fn swarm(options: &Options, keys: &Keypair) -> Result<Swarm<Behaviour<MemoryStore>>, Failure> {
    let plain = MemoryTransport::default().upgrade(Version::V1);
    let yamux = libp2p_yamux::Config::default;
    let transport = match options.security.as_str() {
        "noise" => plain.authenticate(libp2p_noise::Config::new(keys)?).multiplex(yamux()).boxed(),
        _ => plain.authenticate(libp2p_plaintext::Config::new(keys)).multiplex(yamux()).boxed(),
    };
    let me = PeerId::from(keys.public());
    let store = MemoryStoreConfig { max_records: usize::MAX, ..MemoryStoreConfig::default() };
    let mut config = Config::new(libp2p_swarm::StreamProtocol::new("/pontoon-bench/kad"));
    config
        .set_replication_factor(NonZeroUsize::new(options.k).ok_or("--k wants at least 1")?)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_periodic_bootstrap_interval(None);
    let mut behaviour = Behaviour::with_config(me, MemoryStore::with_config(me, store), config);
    behaviour.set_mode(Some(Mode::Server));
    let config = libp2p_swarm::Config::with_executor(|future| drop(tokio::spawn(future)));
    Ok(Swarm::new(transport, behaviour, me, config.with_idle_connection_timeout(AN_HOUR)))
}

/// One node: takes what it is asked for, drives its swarm, answers.
async fn run(mut swarm: Swarm<Behaviour<MemoryStore>>, mut asked: mpsc::UnboundedReceiver<(Ask, Answer)>) {
    let mut open: HashMap<QueryId, Answer> = HashMap::new();
    loop {
        tokio::select! {
            asked = asked.recv() => {
                let Some((ask, answer)) = asked else { return };
                let kad = swarm.behaviour_mut();
                let query = match ask {
                    Ask::Bootstrap => kad.bootstrap().map_err(|error| error.to_string()),
                    Ask::Put(key) => {
                        let record = Record::new(key, vec![7; VALUE_BYTES]);
                        kad.put_record(record, Quorum::Majority).map_err(|error| error.to_string())
                    }
                    Ask::Get(key) => Ok(kad.get_record(key.into())),
                };
                match query {
                    Ok(query) => drop(open.insert(query, answer)),
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            event = swarm.select_next_some() => {
                let SwarmEvent::Behaviour(Event::OutboundQueryProgressed { id, result, step, .. }) = event else { continue };
                let done = match result {
                    QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => {
                        if let Some(mut query) = swarm.behaviour_mut().query_mut(&id) {
                            query.finish();
                        }
                        match found.record.value.len() {
                            VALUE_BYTES => Ok(()),
                            other => Err(format!("a value of {other} bytes")),
                        }
                    }
                    QueryResult::GetRecord(Err(error)) => Err(error.to_string()),
                    QueryResult::PutRecord(result) => result.map(drop).map_err(|error| error.to_string()),
                    QueryResult::Bootstrap(result) if step.last => result.map(drop).map_err(|error| error.to_string()),
                    _ => continue,
                };
                if let Some(answer) = open.remove(&id) {
                    drop(answer.send(done));
                }
            }
        }
    }
}

/// The nodes, as senders of what they are asked for.
async fn start(options: &Options) -> Result<Vec<mpsc::UnboundedSender<(Ask, Answer)>>, Failure> {
    let mut swarms = Vec::new();
    for index in 0..options.nodes {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&options.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(index as u64).to_le_bytes());
        let mut swarm = swarm(options, &Keypair::ed25519_from_bytes(seed)?)?;
        swarm.listen_on(address(index))?;
        swarms.push(swarm);
    }
    let peers: Vec<PeerId> = swarms.iter().map(|swarm| *swarm.local_peer_id()).collect();
    let mut nodes = Vec::new();
    for mut swarm in swarms {
        for (index, peer) in peers.iter().enumerate() {
            if peer != swarm.local_peer_id() {
                swarm.behaviour_mut().add_address(peer, address(index));
            }
        }
        let (ask, asked) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, asked));
        nodes.push(ask);
    }
    Ok(nodes)
}

fn address(index: usize) -> Multiaddr {
    Protocol::Memory(1 + index as u64).into()
}

async fn call(node: &mpsc::UnboundedSender<(Ask, Answer)>, ask: Ask) -> Result<(), Failure> {
    let (answer, answered) = oneshot::channel();
    node.send((ask, answer)).map_err(|_| "a node ended")?;
    tokio::time::timeout(Duration::from_secs(60), answered).await???;
    Ok(())
}

/// SplitMix64 (Steele et al., OOPSLA 2014): which node is asked next.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// At least `ops` operations, `in_flight` at a time; how long each took, and all of them.
async fn operations(
    nodes: &[mpsc::UnboundedSender<(Ask, Answer)>],
    options: &Options,
    random: &mut u64,
    ask: impl Fn(usize) -> Ask,
) -> Result<(Vec<Duration>, Duration), Failure> {
    let (begun, mut took, mut under_way) = (Instant::now(), Vec::new(), FuturesUnordered::new());
    let mut number = 0;
    while number < options.ops || begun.elapsed() < AT_LEAST {
        let node = &nodes[(draw(random) % nodes.len() as u64) as usize];
        let ask = ask(number);
        number += 1;
        under_way.push(async move {
            let begun = Instant::now();
            call(node, ask).await.map(|()| begun.elapsed())
        });
        if under_way.len() == options.in_flight
            && let Some(done) = under_way.next().await
        {
            took.push(done?);
        }
    }
    while let Some(done) = under_way.next().await {
        took.push(done?);
    }
    took.sort_unstable();
    Ok((took, begun.elapsed()))
}

async fn measure(options: &Options) -> Result<(), Failure> {
    let nodes = start(options).await?;
    for node in &nodes {
        call(node, Ask::Bootstrap).await?;
    }
    // Connections open and caches warm: what is measured does not include them.
    let mut random = options.seed;
    let key = |what: &str, number: usize| format!("{what} {number}").into_bytes();
    operations(&nodes, options, &mut random, |number| Ask::Put(key("warm", number))).await?;
    let mut written = 0;
    for op in ["put", "get"] {
        let ask = |number| match op {
            "put" => Ask::Put(key("ops", number)),
            _ => Ask::Get(key("ops", number % written)),
        };
        let (took, all) = operations(&nodes, options, &mut random, ask).await?;
        written = took.len();
        let p95 = took[(took.len() * 95 / 100).min(took.len() - 1)];
        print(options, &format!("{op}_per_s"), took.len() as f64 / all.as_secs_f64(), "1/s");
        print(options, &format!("{op}_p95_us"), p95.as_secs_f64() * 1e6, "us");
    }
    Ok(())
}

fn print(options: &Options, figure: &str, value: f64, unit: &str) {
    let line = serde_json::json!({
        "scenario": "dht-ops",
        "figure": figure,
        "value": value,
        "unit": unit,
        "system": "libp2p-kad",
        "k": options.k,
        "nodes": options.nodes,
        "in_flight": options.in_flight,
        "threads": options.threads,
        "security": format!("{}, nothing signed but handshakes", options.security),
        "seed": options.seed,
    });
    println!("{line}");
}
