//! Churn: nodes stay for exponentially distributed sessions, and somebody comes for each that goes, while others write
//! and read; and what came of it.
//!
//! After Rhea et al., *Handling Churn in a DHT* (USENIX 2004): a constant population, a median session time. Sessions
//! are memoryless, so each step of [`STEP_US`] ends each of them with the same chance; no floating point is needed, and
//! a seed replays a run. Keys are written once, with a value of their own: whatever else is read is wrong.

use std::collections::BTreeMap;

use pontoon_core::{CallId, Command, Id, group::Certificate, store::Outcome};

use crate::{
    ops::{get, keys, outcomes, put},
    sim::{Crash, Ppm, Sim, SimConfig, Unsettled},
    watch,
};

const SECOND_US: u64 = 1_000_000;
const STEP_US: u64 = 100_000;
const NAMESPACE: &str = "churn";
/// What nodes count their bytes under.
pub const PURPOSES: [&str; 7] = [
    "bytes_keepalive",
    "bytes_tables",
    "bytes_lookahead",
    "bytes_leases",
    "bytes_setup",
    "bytes_repair",
    "bytes_calls",
];

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The network.
    pub config: SimConfig,
    /// Half of the sessions are shorter.
    pub median_session_us: u64,
    /// Departures that say goodbye; all others are crashes, every second one of them silent.
    pub leave_ppm: Ppm,
    /// Departed nodes that come back with their disk; all others come back as somebody else.
    pub old_disk_ppm: Ppm,
    /// How long the place of a departed node is empty.
    pub away_us: u64,
    /// How long it goes on.
    pub lasts_us: u64,
    /// Between two reads.
    pub get_every_us: u64,
    /// Between two writes.
    pub put_every_us: u64,
    /// Every so often the invariants are checked on every node.
    pub check_every_us: u64,
}

impl Plan {
    /// Half of the nodes leave and half crash, half of them come back with their disk.
    pub fn mixed(config: SimConfig, median_session_us: u64) -> Plan {
        Plan {
            config,
            median_session_us,
            leave_ppm: 500_000,
            old_disk_ppm: 500_000,
            away_us: SECOND_US,
            lasts_us: 1_800 * SECOND_US,
            get_every_us: 50_000,
            put_every_us: 200_000,
            check_every_us: 10 * SECOND_US,
        }
    }

    /// All crash, and lose their disks.
    pub fn crashes(config: SimConfig, median_session_us: u64) -> Plan {
        Plan { leave_ppm: 0, old_disk_ppm: 0, ..Plan::mixed(config, median_session_us) }
    }
}

/// A node that went.
#[derive(Clone, Debug)]
pub struct Departure {
    /// When, virtual time.
    pub at_us: u64,
    /// Which.
    pub node: usize,
    /// `left`, `crashed` or `fell silent`.
    pub how: &'static str,
    /// Patterns of the regions that it held, as owner or member.
    held: Vec<String>,
}

/// An acknowledged write that is gone.
#[derive(Clone, Debug)]
pub struct Lost {
    /// The key.
    pub key: String,
    /// When it was acknowledged, and when it was read last.
    pub acknowledged_us: u64,
    /// When it was last found.
    pub seen_us: u64,
    /// Whether its owner says that a majority was given up for lost.
    pub said_so: bool,
    /// Nodes that held its region and went after it was last seen.
    pub departures: Vec<Departure>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// How long the first settling took.
    pub settled_us: u64,
    /// How many went, by manner.
    pub departures: BTreeMap<&'static str, u64>,
    /// Reads whose asker lived to hear.
    pub gets: u64,
    /// Reads that found what was written.
    pub found: u64,
    /// Reads that were told that it is absent, by an owner that says that a majority was given up for lost.
    pub absent_and_said_so: u64,
    /// Reads that were told that nobody could be reached.
    pub unreachable: u64,
    /// Reads of acknowledged keys that were told that they are absent, and nobody says why.
    pub absent: u64,
    /// What is known of each of these.
    pub unexplained: Vec<String>,
    /// Reads that found something else.
    pub wrong: u64,
    /// Reads without any answer.
    pub unanswered: u64,
    /// How long answered reads took, sorted.
    pub get_us: Vec<u64>,
    /// Writes whose asker lived to hear.
    pub puts: u64,
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Acknowledged writes that are gone.
    pub lost: Vec<Lost>,
    /// Acknowledged writes that could not be read after all, nobody being reached.
    pub unread: u64,
    /// Bytes of frames by purpose.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Bytes of chunks.
    pub bytes_all: u64,
    /// Node-seconds lived meanwhile.
    pub node_s: u64,
    /// Why the network did not settle when it was over.
    pub unsettled: Option<String>,
    /// Invariants that did not hold.
    pub broken: Vec<String>,
    /// Times that two nodes were seen to answer for the same keys, in histories that forked when a majority was given up.
    pub forked: u64,
}

struct Written {
    acknowledged_us: u64,
    seen_us: u64,
}

struct Asked {
    call: CallId,
    node: usize,
    life: u32,
    key: usize,
    at_us: u64,
    put: bool,
}

/// A run under way.
pub struct Churn {
    /// The network.
    pub sim: Sim,
    plan: Plan,
    written: BTreeMap<usize, Written>,
    keys: usize,
    asked: Vec<Asked>,
    leaving: Vec<(usize, CallId, u64)>,
    departures: Vec<Departure>,
    out: Outcomes,
}

fn key(number: usize) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

fn value(number: usize) -> Vec<u8> {
    format!("value {number}").into_bytes()
}

impl Churn {
    /// A network that has not begun.
    pub fn new(plan: Plan) -> Churn {
        Churn {
            sim: Sim::new(plan.config.clone()),
            plan,
            written: BTreeMap::new(),
            keys: 0,
            asked: Vec::new(),
            leaving: Vec::new(),
            departures: Vec::new(),
            out: Outcomes::default(),
        }
    }

    /// Settles, churns, settles and reads everything. `watch` is called after every step.
    pub fn run(mut self, mut watch: impl FnMut(&mut Sim)) -> Result<Outcomes, Unsettled> {
        self.out.settled_us = self.sim.settle_watched(300 * SECOND_US, &mut watch)?;
        let (begun, bytes) = (self.sim.now_us(), self.sim.stats().bytes);
        let before = self.counted();
        while self.sim.now_us() < begun + self.plan.lasts_us {
            self.step(begun);
            watch(&mut self.sim);
        }
        for (purpose, bytes) in self.counted() {
            *self.out.bytes.entry(purpose).or_default() += bytes;
        }
        for (purpose, bytes) in before {
            let sum = self.out.bytes.entry(purpose).or_default();
            *sum = sum.saturating_sub(bytes);
        }
        self.out.bytes_all = self.sim.stats().bytes - bytes;
        self.out.node_s /= SECOND_US / STEP_US;
        self.end(&mut watch);
        Ok(self.out)
    }

    fn step(&mut self, begun: u64) {
        let since = self.sim.now_us() - begun;
        self.depart();
        for (every, is_put) in [(self.plan.put_every_us, true), (self.plan.get_every_us, false)] {
            // As many as fall into this step.
            for _ in since.div_ceil(every)..(since + STEP_US).div_ceil(every) {
                self.ask(is_put);
            }
        }
        self.sim.run_for(STEP_US);
        self.out.node_s += self.sim.live().len() as u64;
        self.hear();
        if (since / STEP_US).is_multiple_of((self.plan.check_every_us / STEP_US).max(1)) {
            let look = watch::check(&self.sim);
            self.out.broken.extend(look.broken);
            self.out.forked += look.forked;
        }
    }

    /// Ends sessions.
    fn depart(&mut self) {
        let first = usize::from(self.plan.config.supernode);
        // ln 2 over the median, in parts per million.
        let chance = 693_147 * STEP_US / self.plan.median_session_us.max(1);
        for node in first..self.sim.len() {
            if !self.sim.is_up(node) || self.leaving.iter().any(|(other, ..)| *other == node) {
                continue;
            }
            if self.sim.draw(1_000_000) < chance {
                if self.sim.draw(1_000_000) < u64::from(self.plan.leave_ppm) {
                    let call = self.sim.command(node, Command::Leave);
                    self.leaving.push((node, call, self.sim.now_us() + 30 * SECOND_US));
                } else if self.sim.draw(2) == 0 {
                    self.go(node, "crashed");
                } else {
                    self.go(node, "fell silent");
                }
            }
        }
        self.farewells();
    }

    /// Who leaves is gone when it has said so, or when that takes too long.
    fn farewells(&mut self) {
        for (node, call, until_us) in std::mem::take(&mut self.leaving) {
            if self.sim.reply(call).is_some() {
                self.go(node, "left");
            } else if self.sim.now_us() >= until_us {
                self.go(node, "crashed");
            } else {
                self.leaving.push((node, call, until_us));
            }
        }
    }

    fn go(&mut self, node: usize, how: &'static str) {
        let held = self.sim.inspect(node).map(|inspect| inspect.fragments).unwrap_or_default();
        let held = held.into_iter().filter(|held| held.state != "retired").map(|held| held.region).collect();
        self.departures.push(Departure { at_us: self.sim.now_us(), node, how, held });
        *self.out.departures.entry(how).or_default() += 1;
        for purpose in PURPOSES {
            *self.out.bytes.entry(purpose).or_default() += self.sim.counted(node, purpose);
        }
        match how {
            "left" => self.sim.stop(node),
            "crashed" => self.sim.crash(node, Crash::Noticed),
            _ => self.sim.crash(node, Crash::Silent),
        }
        if self.sim.draw(1_000_000) >= u64::from(self.plan.old_disk_ppm) {
            self.sim.renew(node);
        }
        self.sim.restart_after(node, self.plan.away_us);
    }

    /// One operation at a random node that has joined.
    fn ask(&mut self, is_put: bool) {
        let live: Vec<usize> = self.sim.live();
        let node = live[self.sim.draw(live.len() as u64) as usize];
        if self.leaving.iter().any(|(other, ..)| *other == node) || !self.sim.standing(node).is_some_and(|it| it.joined)
        {
            return;
        }
        let number = if is_put {
            self.keys += 1;
            self.keys
        } else {
            if self.written.is_empty() {
                return;
            }
            let place = self.sim.draw(self.written.len() as u64) as usize;
            self.written.keys().nth(place).copied().unwrap_or_default()
        };
        let op = if is_put { put(NAMESPACE, &key(number), &value(number)) } else { get(NAMESPACE, &key(number)) };
        let call = self.sim.command(node, keys(vec![op]));
        let (life, at_us) = (self.sim.life(node), self.sim.now_us());
        self.asked.push(Asked { call, node, life, key: number, at_us, put: is_put });
    }

    fn hear(&mut self) {
        for asked in std::mem::take(&mut self.asked) {
            if let Some((at_us, answer)) = self.sim.reply(asked.call) {
                let outcome = outcomes(Some(answer), 1).remove(0);
                self.heard(&asked, at_us, outcome);
            } else if !self.sim.is_up(asked.node) || self.sim.life(asked.node) != asked.life {
                // Nobody is there to hear.
            } else if self.sim.now_us() > asked.at_us + 60 * SECOND_US {
                self.out.puts += u64::from(asked.put);
                self.out.gets += u64::from(!asked.put);
                self.out.unanswered += u64::from(!asked.put);
            } else {
                self.asked.push(asked);
            }
        }
    }

    fn heard(&mut self, asked: &Asked, at_us: u64, outcome: Outcome) {
        if asked.put {
            self.out.puts += 1;
            if matches!(outcome, Outcome::Stored { .. }) {
                self.out.acknowledged += 1;
                self.written.insert(asked.key, Written { acknowledged_us: at_us, seen_us: at_us });
            }
            return;
        }
        self.out.gets += 1;
        match outcome {
            Outcome::Found { value: found, .. } if found == value(asked.key) => {
                self.out.found += 1;
                self.out.get_us.push(at_us - asked.at_us);
                if let Some(written) = self.written.get_mut(&asked.key) {
                    written.seen_us = written.seen_us.max(asked.at_us);
                }
            }
            Outcome::Found { .. } => self.out.wrong += 1,
            Outcome::Absent if self.assumed_lost(asked.key) => self.out.absent_and_said_so += 1,
            Outcome::Absent => {
                self.out.absent += 1;
                self.out.unexplained.push(self.unexplained(asked, at_us));
            }
            _ => self.out.unreachable += 1,
        }
    }

    /// What is known of a key that was told to be absent while nobody says why.
    fn unexplained(&self, asked: &Asked, at_us: u64) -> String {
        let id = Id::object(NAMESPACE, &key(asked.key), self.plan.config.core.locality_bits);
        let of = |node: usize| {
            let held = self.sim.certificates(node).into_iter().filter(|(held, ..)| held.name.region.contains(&id));
            held.map(move |(held, retired, serving)| {
                let name = held.name;
                let owner = self.sim.index_of(&held.owner);
                format!(
                    "node {node}: {} epoch {} owner {owner:?} retired {retired} serving {serving}",
                    name.region, name.epoch
                )
            })
        };
        let held: Vec<String> = self.sim.live().into_iter().flat_map(of).collect();
        let (asked_s, at_s) = (asked.at_us as f64 / 1e6, at_us as f64 / 1e6);
        format!(
            "key {} asked at {asked_s:.3} s by node {}, absent at {at_s:.3} s: {}",
            asked.key,
            asked.node,
            held.join(", ")
        )
    }

    /// Whether the certificate that all others of a key give way to says that a majority was given up for lost. Its holder
    /// is not always the nearest node: one that came just now has been handed nothing.
    fn assumed_lost(&self, number: usize) -> bool {
        let id = Id::object(NAMESPACE, &key(number), self.plan.config.core.locality_bits);
        let held = self.sim.live().into_iter().flat_map(|node| self.sim.certificates(node));
        let about = held.filter(|(held, retired, _)| !retired && held.name.region.contains(&id));
        let about: Vec<Certificate> = about.map(|(held, ..)| held).collect();
        Certificate::latest(about.iter()).is_some_and(|latest| latest.assumed_lost)
    }

    /// The churn is over: everybody is back, and everything acknowledged is read.
    fn end(&mut self, watch: &mut impl FnMut(&mut Sim)) {
        while !self.leaving.is_empty() {
            self.farewells();
            self.sim.run_for(STEP_US);
            watch(&mut self.sim);
        }
        self.asked.clear();
        self.out.unsettled = self.sim.settle_watched(300 * SECOND_US, watch).err().map(|unsettled| unsettled.0);
        self.out.get_us.sort_unstable();
        let mut left: Vec<usize> = self.written.keys().copied().collect();
        let mut absent = Vec::new();
        for _ in 0..3 {
            let mut again = Vec::new();
            for part in left.chunks(200) {
                let live = self.sim.live();
                let calls: Vec<CallId> = part
                    .iter()
                    .map(|number| {
                        let node = live[self.sim.draw(live.len() as u64) as usize];
                        self.sim.command(node, keys(vec![get(NAMESPACE, &key(*number))]))
                    })
                    .collect();
                for _ in 0..40 {
                    self.sim.run_for(SECOND_US);
                    watch(&mut self.sim);
                    if calls.iter().all(|call| self.sim.answered(*call)) {
                        break;
                    }
                }
                for (number, call) in part.iter().zip(calls) {
                    match outcomes(self.sim.reply(call).map(|(_, answer)| answer), 1).remove(0) {
                        Outcome::Found { value: found, .. } if found == value(*number) => {}
                        Outcome::Found { .. } | Outcome::Absent => absent.push(*number),
                        _ => again.push(*number),
                    }
                }
            }
            left = again;
        }
        self.out.unread = left.len() as u64;
        for number in absent {
            let id = Id::object(NAMESPACE, &key(number), self.plan.config.core.locality_bits);
            let (said_so, written) = (self.assumed_lost(number), &self.written[&number]);
            let explain = |it: &&Departure| it.at_us >= written.seen_us && it.held.iter().any(|held| holds(held, &id));
            self.out.lost.push(Lost {
                key: format!("key {number}"),
                acknowledged_us: written.acknowledged_us,
                seen_us: written.seen_us,
                said_so,
                departures: self.departures.iter().filter(explain).cloned().collect(),
            });
        }
    }

    /// Bytes that live nodes counted, by purpose.
    fn counted(&self) -> BTreeMap<&'static str, u64> {
        let live = self.sim.live();
        PURPOSES.map(|purpose| (purpose, live.iter().map(|node| self.sim.counted(*node, purpose)).sum())).into()
    }
}

/// Whether an id lies in the region with this pattern.
pub fn holds(pattern: &str, id: &Id) -> bool {
    pattern.bytes().enumerate().all(|(index, digit)| match digit {
        b'1' => id.bit(index as u32),
        b'0' => !id.bit(index as u32),
        _ => true,
    })
}

impl Lost {
    /// One line for people.
    pub fn line(&self) -> String {
        let gone =
            self.departures.iter().map(|it| format!("{:.1} s: node {} {}", it.at_us as f64 / 1e6, it.node, it.how));
        format!(
            "{} acknowledged at {:.1} s, last seen at {:.1} s, {}: {}",
            self.key,
            self.acknowledged_us as f64 / 1e6,
            self.seen_us as f64 / 1e6,
            if self.said_so { "given up for lost" } else { "LOST SILENTLY" },
            gone.collect::<Vec<_>>().join(", ")
        )
    }
}
