//! The memory of a supernode with thousands of peers that are linked and do nothing.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use crate::{
    peer::Peer,
    program::{NETWORK, Supernode, source},
};

/// Handshakes at once.
const AT_ONCE: usize = 32;
/// Those that are there before memory is measured: what the first ones cost once is not theirs.
const FIRST: usize = 64;
/// For probes to have gone both ways.
const SETTLE: Duration = Duration::from_secs(20);

pub struct Idle {
    pub peers: usize,
    pub bytes_per_peer: f64,
}

/// Links so many peers, and gives what each takes of the supernode's memory.
pub async fn measure(peers: usize) -> Result<Idle, String> {
    let supernode = Supernode::start(&[]).await?;
    let mut idle = JoinSet::new();
    link(&supernode, 0..FIRST, &mut idle).await?;
    sleep(Duration::from_secs(3)).await;
    let before = supernode.resident_bytes()?;
    link(&supernode, FIRST..FIRST + peers, &mut idle).await?;
    sleep(SETTLE).await;
    let linked = supernode.metric("pontoon_links{transport=\"websocket\"}").await?;
    if (linked as usize) < FIRST + peers {
        return Err(format!("{linked} links of {}", FIRST + peers));
    }
    let grown = supernode.resident_bytes()?.saturating_sub(before);
    Ok(Idle { peers, bytes_per_peer: grown as f64 / peers as f64 })
}

async fn link(supernode: &Supernode, numbers: std::ops::Range<usize>, idle: &mut JoinSet<()>) -> Result<(), String> {
    let mut linking = JoinSet::new();
    let mut numbers = numbers.peekable();
    while numbers.peek().is_some() || !linking.is_empty() {
        while linking.len() < AT_ONCE
            && let Some(number) = numbers.next()
        {
            let address = supernode.address;
            linking.spawn(async move { Peer::link(address, Some(source(number)), NETWORK, number as u64).await });
        }
        if let Some(peer) = linking.join_next().await {
            idle.spawn(peer.map_err(|error| error.to_string())??.idle());
        }
    }
    Ok(())
}
