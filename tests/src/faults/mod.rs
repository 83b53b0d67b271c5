//! The mixed fault scenario: nodes join, leave, crash, return, sleep, stall and are cut off, their disks fail and their
//! clocks differ, while clients read and write a few keys from everywhere; then all heals, settles and is read back.
//!
//! | file | does |
//! |---|---|
//! | `mischief` | which fault comes when, and who is away since when |
//! | `clients` | operations on few keys, queries, broadcasts; what was asked and answered |
//! | `witness` | every certificate that any node holds, and who answers for what, all along |
//! | `verdict` | what `docs/consistency.md` promises, checked |
//!
//! All that is random comes from the simulation's generator: a seed replays the run.

mod clients;
mod mischief;
mod verdict;
mod witness;

use clients::Clients;
use mischief::Mischief;
pub use mischief::{Away, Cut};
pub use witness::{Loss, Witness};

use pontoon_core::{Id, Region, group::Certificate};

use crate::sim::{Latency, Signing, Sim, SimConfig, mix};

const SECOND_US: u64 = 1_000_000;
/// Clients and faults are looked at so often.
const STEP_US: u64 = 50_000;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Decides everything random.
    pub seed: u64,
    /// Nodes at the start.
    pub nodes: usize,
    /// How long faults come.
    pub chaos_us: u64,
    /// Whether faults may take a group's majority away.
    pub deadly: bool,
}

/// What came of a run without a violation.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Operations on keys that were answered, unreachable ones left out.
    pub answered: usize,
    /// Operations without an answer, or unreachable.
    pub unreachable: usize,
    /// Keys whose history is linearizable.
    pub linearizable: usize,
    /// Keys of a region whose majority was given up for lost, with what explains it.
    pub lost: Vec<String>,
    /// Acknowledged writes that are gone with the disks that held them.
    pub gone: usize,
    /// Queries that covered everything and were right, and those that said that they did not.
    pub queries: (usize, usize),
    /// Broadcasts that reached everybody by their own account, and others.
    pub broadcasts: (usize, usize),
    /// Faults of each kind.
    pub faults: String,
    /// Virtual time until everybody had settled after the last fault.
    pub settled_us: u64,
    /// Virtual time in all.
    pub virtual_us: u64,
    /// The trace hash.
    pub hash: u64,
}

/// Runs a plan; what was violated, if anything.
pub fn run(plan: Plan) -> Result<Report, String> {
    let mut run = Run::new(plan)?;
    let until = run.sim.now_us() + plan.chaos_us;
    while run.sim.now_us() < until {
        run.step(true);
    }
    run.mischief.end(&mut run.sim);
    let healed = run.sim.now_us();
    run.finish_operations();
    let settled = loop {
        match run.sim.settled() {
            Ok(()) => break run.sim.now_us() - healed,
            Err(unsettled) if run.sim.now_us() > healed + 150 * SECOND_US => {
                return Err(run.failure(&[format!("not settled: {unsettled}"), run.uncovered()]));
            }
            Err(_) => (0..20).for_each(|_| run.step(false)),
        }
    };
    run.clients.read_back(&mut run.sim);
    run.witness.read(&run.sim);
    run.witness.look(&run.sim, &|_| false);
    match verdict::verdict(&run) {
        Ok(report) => Ok(Report { settled_us: settled, virtual_us: run.sim.now_us(), hash: run.sim.hash(), ..report }),
        Err(violations) => Err(run.failure(&violations)),
    }
}

struct Run {
    plan: Plan,
    sim: Sim,
    mischief: Mischief,
    clients: Clients,
    witness: Witness,
    relayed_every: usize,
    steps: u64,
}

impl Run {
    fn new(plan: Plan) -> Result<Run, String> {
        let draw = |salt: u64, bound: u64| mix(mix(plan.seed, 77), salt) % bound;
        let config = SimConfig {
            signing: Signing::KeyedHash,
            latency: if draw(1, 2) == 0 { Latency::HeavyTailed } else { Latency::Fixed(20_000 + draw(2, 80_000)) },
            spike_ppm: [0, 2_000][draw(3, 2) as usize],
            rtc_fail_ppm: [0, 50_000][draw(4, 2) as usize],
            relayed_every: [0, 5][draw(5, 2) as usize],
            wall_skew_us: [0, 20 * SECOND_US][draw(6, 2) as usize],
            drift_ppm: [0, 200][draw(7, 2) as usize],
            disk_fail_ppm: [0, 1_000][draw(8, 2) as usize],
            disk_us: [2_000, 20_000][draw(9, 2) as usize],
            ..SimConfig::new(plan.seed, plan.nodes)
        };
        let relayed_every = config.relayed_every;
        let mut sim = Sim::new(config);
        sim.settle(120 * SECOND_US).map_err(|unsettled| format!("not settled at first: {unsettled}"))?;
        let clients = Clients::new(&mut sim)?;
        let mischief = Mischief::new(plan.deadly);
        Ok(Run { plan, sim, mischief, clients, witness: Witness::default(), relayed_every, steps: 0 })
    }

    /// Whether a node cannot open direct links.
    fn relayed(&self, node: usize) -> bool {
        self.relayed_every > 0 && node.is_multiple_of(self.relayed_every)
    }

    fn step(&mut self, chaos: bool) {
        self.sim.run_for(STEP_US);
        self.steps += 1;
        let Run { sim, mischief, clients, witness, .. } = self;
        clients.look(sim, |node| mischief.asleep(node));
        witness.read(sim);
        if self.steps.is_multiple_of(20) && self.plan.deadly {
            witness.note_relays(sim);
        }
        if self.steps.is_multiple_of(4) {
            witness.look(sim, &|node| mischief.asleep(node));
        }
        mischief.step(sim, clients, chaos);
        clients.step(sim, mischief, chaos);
    }

    /// Waits for what is under way.
    fn finish_operations(&mut self) {
        let until = self.sim.now_us() + 40 * SECOND_US;
        while self.clients.busy() && self.sim.now_us() < until {
            self.step(false);
        }
        self.clients.give_up();
    }

    /// Who holds what of the parts that nobody answers for.
    fn uncovered(&self) -> String {
        let sim = &self.sim;
        let all: Vec<(usize, Certificate, bool, bool)> = sim
            .live()
            .into_iter()
            .flat_map(|node| {
                sim.certificates(node).into_iter().map(move |(it, retired, serving)| (node, it, retired, serving))
            })
            .collect();
        let served: Vec<Region> =
            all.iter().filter(|(.., serving)| *serving).map(|(_, it, ..)| it.name.region).collect();
        let names = |ids: &[Id]| {
            ids.iter()
                .map(|id| sim.index_of(id))
                .map(|node| {
                    node.map_or("?".to_owned(), |node| format!("{node}{}", if sim.is_up(node) { "" } else { "!" }))
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        let mut lines = Vec::new();
        for hole in Region::ALL.subtract_all(&served) {
            lines.push(format!("nobody answers for {hole}:"));
            for (node, it, retired, _) in all.iter().filter(|(_, it, ..)| it.name.region.intersect(&hole).is_some()) {
                let state = sim
                    .inspect(*node)
                    .into_iter()
                    .flat_map(|inspect| inspect.fragments)
                    .find(|held| held.region == it.name.region.to_string() && held.epoch == it.name.epoch)
                    .map_or("", |held| held.state);
                let sources: Vec<String> = it
                    .sources
                    .iter()
                    .map(|source| format!("e{} {} [{}]", source.name.epoch, source.name.region, names(&source.members)))
                    .collect();
                lines.push(format!(
                    "  node {node}{}: {} e{} {state} of {} [{}] lineage {:?} lost [{}] from {sources:?}",
                    if *retired { " retired" } else { "" },
                    it.name.region,
                    it.name.epoch,
                    names(&[it.owner]),
                    names(&it.members),
                    it.lineage.iter().map(|(id, from)| (id % 1000, *from)).collect::<Vec<_>>(),
                    names(&it.lost)
                ));
            }
        }
        lines.join("\n")
    }

    fn failure(&self, violations: &[String]) -> String {
        let log = self.mischief.log.join("\n");
        format!("{:?}\n{log}\n{}", self.plan, violations.join("\n"))
    }
}
