//! What a simulated network is like. Everything random in a run comes from `seed`.

use pontoon_core::{Config, config::SECOND_US};

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
    /// Nodes at the start; node 0 is the supernode that the others dial.
    pub nodes: usize,
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
            core: Config { network: "sim".to_owned(), ..Config::default() },
            signing: if nodes <= 1_000 { Signing::Ed25519 } else { Signing::KeyedHash },
            join_every_us: 20_000,
            latency: Latency::Fixed(50_000),
            inbound_bits_per_s: None,
            spike_ppm: 0,
            spike_us: 400_000,
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
}
