//! `churn`: clients come, prove themselves, stay for a moment and go, every other one without a goodbye, for minutes; the
//! supernode's memory at the end beside that after the first minute.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    options::Options,
    peer::Peer,
    program::{NETWORK, Supernode, rounded, source},
};

/// Memory is looked at so often.
const EVERY: Duration = Duration::from_secs(5);
/// What a client stays.
const STAY: Duration = Duration::from_millis(500);

pub async fn run(options: &Options) -> Result<(), String> {
    let (minutes, peers) = (options.minutes.unwrap_or(10), options.peers.unwrap_or(100));
    let supernode = Supernode::start(&[]).await?;
    let (came, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..peers {
        let (address, came, failed) = (supernode.address, Arc::clone(&came), Arc::clone(&failed));
        clients.spawn(async move {
            for life in 0.. {
                // Never the same identity twice: what is kept of one is kept of each.
                let number = (client as u64) << 32 | life;
                let Ok(mut peer) = Peer::link(address, Some(source(client)), NETWORK, number).await else {
                    failed.fetch_add(1, Ordering::Relaxed);
                    sleep(STAY).await;
                    continue;
                };
                came.fetch_add(1, Ordering::Relaxed);
                let _ = timeout(STAY, async { while peer.next().await.is_some() {} }).await;
                if life % 2 == 0 {
                    let _ = peer.socket.close(None).await;
                }
            }
        });
    }
    let begun = Instant::now();
    let mut resident = Vec::new();
    for look in 1..=minutes * 60 / EVERY.as_secs() {
        sleep_until(begun + EVERY * u32::try_from(look).unwrap_or(u32::MAX)).await;
        resident.push(supernode.resident_bytes()?);
    }
    clients.shutdown().await;
    let connections = came.load(Ordering::Relaxed);
    // The mean of a minute, after the first and at the end, of a third of the time if that is less: memory goes up and
    // down. The two never overlap.
    let minute = (60 / EVERY.as_secs()) as usize;
    let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len().max(1) as f64;
    let part_len = minute.min(resident.len() / 3).max(1);
    let early = mean(resident.get(part_len..2 * part_len).unwrap_or(&resident));
    let late = mean(resident.get(resident.len().saturating_sub(part_len)..).unwrap_or(&resident));
    let line = serde_json::json!({
        "scenario": "relay-churn",
        "connections": connections,
        "connections_failed": failed.load(Ordering::Relaxed),
        "minutes": minutes,
        "resident_bytes_early": early.round(),
        "resident_bytes_late": late.round(),
        "growth": rounded(late / early, 3),
    });
    println!("{line}");
    Ok(())
}
