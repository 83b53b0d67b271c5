//! What a simulated network is like. Everything random in a run comes from `seed`.

use chacha20::rand_core::{Rng as _, SeedableRng as _};
use pontoon_core::{Config, config::SECOND_US, ctx::Rng};

use super::{address, hash::mix};

/// Parts per million: probabilities without floating point, so that every platform draws the same.
pub type Ppm = u32;

/// One way delay between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Every pair the same.
    Fixed(u64),
    /// Each pair draws once from the quantiles in [`HEAVY_TAIL`]: half of the pairs below 40 ms, one in a hundred
    /// above 300 ms.
    HeavyTailed,
}

/// Quantiles of [`Latency::HeavyTailed`]: (ppm, one-way microseconds), linear in between.
pub const HEAVY_TAIL: [(Ppm, u64); 6] =
    [(0, 5_000), (500_000, 40_000), (900_000, 120_000), (990_000, 300_000), (999_000, 600_000), (1_000_000, 1_000_000)];

impl Latency {
    /// Nothing gets from one node to another sooner.
    pub fn least_us(self) -> u64 {
        match self {
            Latency::Fixed(us) => us.max(1),
            Latency::HeavyTailed => HEAVY_TAIL[0].1,
        }
    }
}

/// How nodes sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// As real peers do.
    Ed25519,
    /// A keyed hash: no security, for simulations of thousands of nodes.
    KeyedHash,
}

/// The settings of a simulation.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Decides everything random.
    pub seed: u64,
    /// Nodes at the start; node 0 founds the network.
    pub nodes: usize,
    /// Whether node 0 is a supernode that the others dial. Without, all are ordinary peers, and each dials one that
    /// began before it, drawn from the seed.
    pub supernode: bool,
    /// Threads that simulate; the run is the same for any number.
    pub threads: usize,
    /// Settings of every node (role, supernodes and direct links are filled in).
    pub core: Config,
    /// How nodes sign.
    pub signing: Signing,
    /// Node `i` starts at `i * join_every_us`.
    pub join_every_us: u64,
    /// One-way delay.
    pub latency: Latency,
    /// Bits a second into each node; `None` for no limit.
    pub inbound_bits_per_s: Option<u64>,
    /// Chunks that are delayed by `spike_us` more (a retransmission below the ordered channel).
    pub spike_ppm: Ppm,
    /// See `spike_ppm`.
    pub spike_us: u64,
    /// Chunks that are lost together with their channel.
    pub break_ppm: Ppm,
    /// WebRTC sessions that fail.
    pub rtc_fail_ppm: Ppm,
    /// Every so many-th node cannot open direct links; 0 for none.
    pub relayed_every: usize,
    /// A batch is on disk after so long.
    pub disk_us: u64,
    /// Batches that the disk refuses.
    pub disk_fail_ppm: Ppm,
    /// Wall clocks are off by up to so much either way.
    pub wall_skew_us: u64,
    /// Monotone clocks run fast or slow by up to so much.
    pub drift_ppm: Ppm,
    /// A noticed crash drops the links at the other ends within so long.
    pub notice_us: u64,
    /// A silent crash is noticed by the transports themselves after so long at the latest.
    pub silence_us: u64,
}

impl SimConfig {
    /// A quiet network of `nodes`, 50 ms apart, honest signatures, everybody able to open direct links.
    pub fn new(seed: u64, nodes: usize) -> SimConfig {
        SimConfig {
            seed,
            nodes,
            supernode: true,
            threads: 1,
            core: Config { network: "sim".to_owned(), ..Config::default() },
            signing: if nodes <= 1_000 { Signing::Ed25519 } else { Signing::KeyedHash },
            join_every_us: 20_000,
            latency: Latency::Fixed(50_000),
            inbound_bits_per_s: None,
            spike_ppm: 0,
            spike_us: 400_000,
            break_ppm: 0,
            rtc_fail_ppm: 0,
            relayed_every: 0,
            disk_us: 2_000,
            disk_fail_ppm: 0,
            wall_skew_us: 0,
            drift_ppm: 0,
            notice_us: 200_000,
            silence_us: 30 * SECOND_US,
        }
    }

    /// One way between two nodes.
    pub fn latency_us(&self, a: usize, b: usize) -> u64 {
        match self.latency {
            Latency::Fixed(us) => us.max(1),
            Latency::HeavyTailed => {
                let pair = mix(a.min(b) as u64, a.max(b) as u64);
                let ppm = (mix(mix(self.seed, 14), pair) % 1_000_000) as u32;
                let above = HEAVY_TAIL.iter().position(|(quantile, _)| *quantile > ppm).unwrap_or(1).max(1);
                let ((from, low), (to, high)) = (HEAVY_TAIL[above - 1], HEAVY_TAIL[above]);
                low + (high - low) * u64::from(ppm - from) / u64::from(to - from)
            }
        }
    }

    /// The settings of node `index` in one of its lives.
    pub fn node(&self, index: usize, life: u32, incarnation: u32, direct_links: bool) -> Config {
        let supernodes = match (self.supernode, index) {
            (true, 0) => Vec::new(),
            (true, _) => vec![address(0)],
            (false, 0) if life == 0 => Vec::new(),
            (false, _) => vec!["sim://any".to_owned()],
        };
        Config {
            supernode: self.supernode && index == 0,
            founder: index == 0 && incarnation == 0,
            supernodes,
            direct_links,
            ..self.core.clone()
        }
    }

    /// 32 bytes that depend on the seed, a purpose and a number only.
    pub fn secret(&self, purpose: u64, number: u64) -> [u8; 32] {
        let mut rng = Rng::seed_from_u64(mix(mix(self.seed, purpose), number));
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        bytes
    }
}
