//! Faults: which comes when, who is away since when, and which are forborne so that groups keep their majorities.

use std::collections::{BTreeMap, BTreeSet};

use pontoon_core::{CallId, Command, Id};

use super::{SECOND_US, clients::Clients};
use crate::sim::{Crash, Sim};

/// More than so many nodes do not join.
const JOINS_MAX: usize = 12;
/// Dialling a supernode takes so long at most: an attempt fails after 10 s, and the next is made within 8 s.
pub const DIALLING_US: u64 = 20 * SECOND_US;
/// A node that began a life has direct links after so long.
const NEW_US: u64 = 10 * SECOND_US;
/// Who is silent for so long is suspected, and links to it are closed.
const SUSPECTED_US: u64 = 3 * SECOND_US;
/// Who was away this short a time ago may not be found yet.
const RECOVERY_US: u64 = 5 * SECOND_US;

/// A node that took no part for a while.
#[derive(Clone, Debug)]
pub struct Away {
    /// Which.
    pub node: usize,
    /// Since when.
    pub from_us: u64,
    /// Until when; `u64::MAX` while nobody knows.
    pub until_us: u64,
    /// Why.
    pub why: &'static str,
    /// Whether what it stored is gone too.
    pub disk_lost: bool,
}

/// A partition.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Since when.
    pub from_us: u64,
    /// Until when.
    pub until_us: u64,
    /// Who is on the smaller side.
    pub side: BTreeSet<usize>,
}

/// See the module.
pub struct Mischief {
    deadly: bool,
    /// What was done, for people.
    pub log: Vec<String>,
    /// Who was away when.
    pub away: Vec<Away>,
    /// Partitions, one at a time.
    pub cuts: Vec<Cut>,
    /// Stalled pairs: since when, until when.
    pub stalls: Vec<(usize, usize, u64, u64)>,
    /// Nodes that return: when, and which.
    returns: Vec<(u64, usize)>,
    /// Nodes that leave: which, and the call.
    leaving: Vec<(usize, CallId, u64)>,
    joins: usize,
    /// When nodes joined.
    joined: Vec<(usize, u64)>,
    counts: BTreeMap<&'static str, usize>,
}

impl Mischief {
    /// Nothing has happened.
    pub fn new(deadly: bool) -> Mischief {
        Mischief {
            deadly,
            log: Vec::new(),
            away: Vec::new(),
            cuts: Vec::new(),
            stalls: Vec::new(),
            returns: Vec::new(),
            leaving: Vec::new(),
            joins: 0,
            joined: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Faults of each kind, for people.
    pub fn counts(&self) -> String {
        self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    fn note(&mut self, sim: &Sim, kind: &'static str, text: &str) {
        *self.counts.entry(kind).or_default() += 1;
        self.log.push(format!("{:9.3} s: {kind} {text}", sim.now_us() as f64 / 1e6));
    }

    /// Whether a node takes no part now.
    pub fn is_away(&self, node: usize, now_us: u64) -> bool {
        self.away.iter().any(|away| away.node == node && away.from_us <= now_us && now_us < away.until_us)
            || self.leaving.iter().any(|(leaving, ..)| *leaving == node)
    }

    /// Whether a node sleeps (as far as anybody has decided; the simulation wakes it).
    pub fn asleep(&self, node: usize) -> bool {
        self.away.iter().any(|away| away.node == node && away.why == "asleep" && away.until_us == u64::MAX)
    }

    fn impaired(&self, node: usize, now_us: u64) -> bool {
        let away = |away: &Away| away.node == node && away.until_us.saturating_add(RECOVERY_US) > now_us;
        let cut = |cut: &Cut| cut.side.contains(&node) && cut.until_us + RECOVERY_US > now_us;
        self.away.iter().any(away)
            || self.cuts.iter().any(cut)
            || self.leaving.iter().any(|(leaving, ..)| *leaving == node)
    }

    /// Whether every group keeps a majority that nothing happened to, with `victims` gone too.
    fn forgivable(&self, sim: &Sim, victims: &BTreeSet<usize>) -> bool {
        if self.deadly {
            return true;
        }
        let now = sim.now_us();
        let bad: BTreeSet<Id> = (0..sim.len())
            .filter(|node| victims.contains(node) || !sim.is_up(*node) || self.impaired(*node, now))
            .map(|node| sim.id(node))
            .collect();
        let most = |members: &[Id]| {
            members.len() < 2 || members.iter().filter(|id| bad.contains(*id)).count() * 2 < members.len()
        };
        sim.live().into_iter().all(|node| {
            sim.certificates(node).iter().filter(|(_, retired, _)| !retired).all(|(certificate, ..)| {
                most(&certificate.members) && certificate.sources.iter().take(1).all(|source| most(&source.members))
            })
        })
    }

    /// A running node to which nothing happens now, and whose loss is forgivable.
    fn victim(&self, sim: &mut Sim) -> Option<usize> {
        for _ in 0..6 {
            let live = sim.live();
            let node = live[sim.draw(live.len() as u64) as usize];
            let founder = node == 0 && sim.draw(3) > 0;
            if !founder && !self.impaired(node, sim.now_us()) && self.forgivable(sim, &BTreeSet::from([node])) {
                return Some(node);
            }
        }
        None
    }

    /// In the deadly variant: another member of a group that this node is in.
    fn companion(&self, sim: &mut Sim, node: usize) -> Option<usize> {
        let held = sim.certificates(node);
        let (certificate, ..) = held.get(sim.draw(held.len() as u64) as usize)?;
        let others: Vec<usize> = certificate.members.iter().filter_map(|id| sim.index_of(id)).collect();
        others.into_iter().find(|other| *other != node && sim.is_up(*other) && !self.is_away(*other, sim.now_us()))
    }

    /// What happens now.
    pub fn step(&mut self, sim: &mut Sim, clients: &mut Clients, chaos: bool) {
        let now = sim.now_us();
        let due: Vec<(u64, usize)> = self.returns.iter().filter(|(at, _)| *at <= now).copied().collect();
        self.returns.retain(|(at, _)| *at > now);
        for (_, node) in due {
            self.back(sim, node);
        }
        for (node, call, since) in std::mem::take(&mut self.leaving) {
            if sim.reply(call).is_some() || now - since > 10 * SECOND_US {
                sim.stop(node);
                clients.died(node);
                self.away.push(Away { node, from_us: now, until_us: u64::MAX, why: "left", disk_lost: false });
                self.log.push(format!("{:9.3} s: {node} has left", now as f64 / 1e6));
                // Who found nobody to hand over to has it all on its disk.
                if !chaos || sim.draw(2) == 0 {
                    self.returns.push((now + SECOND_US + sim.draw(8 * SECOND_US), node));
                }
            } else {
                self.leaving.push((node, call, since));
            }
        }
        if self.cuts.last().is_some_and(|cut| cut.until_us <= now && cut.until_us > now - super::STEP_US) {
            sim.heal();
        }
        // About one fault in 600 ms.
        if !chaos || sim.draw(12) > 0 {
            return;
        }
        match sim.draw(12) {
            0..4 => self.crash(sim, clients),
            4 => self.join(sim),
            5 => self.leave(sim),
            6 | 7 => self.sleep(sim),
            8 => self.stall(sim),
            9 => self.cut(sim),
            _ => self.disk(sim),
        }
    }

    fn crash(&mut self, sim: &mut Sim, clients: &mut Clients) {
        let Some(first) = self.victim(sim) else { return };
        let mut victims = vec![first];
        if self.deadly && sim.draw(3) == 0 {
            victims.extend(self.companion(sim, first));
        }
        for node in victims {
            let how = if sim.draw(2) == 0 { Crash::Silent } else { Crash::Noticed };
            // Where nobody is left who holds a region, nobody will ever answer for it: somebody keeps a disk.
            let lasting = sim.draw(if self.deadly { 3 } else { 5 }) == 0 && node != 0 && self.others_keep(sim, node);
            // A disk holds the keys of its peer: who returns without is somebody else, and joins as such.
            let back_us = match lasting {
                true => u64::MAX,
                false => sim.now_us() + SECOND_US / 2 + sim.draw(if self.deadly { 25 } else { 9 } * SECOND_US),
            };
            self.note(
                sim,
                "crash",
                &format!("{node} {how:?}, {}", if lasting { "its disk is lost" } else { "returns" }),
            );
            sim.crash(node, how);
            clients.died(node);
            let from_us = sim.now_us();
            self.away.push(Away { node, from_us, until_us: u64::MAX, why: "crashed", disk_lost: lasting });
            if lasting {
                let after = sim.draw(3 * SECOND_US);
                let newcomer = sim.add_node(after);
                self.joined.push((newcomer, from_us + after));
            } else {
                self.returns.push((back_us, node));
            }
        }
    }

    /// Whether in every group of a node somebody else keeps a disk. Who has left has handed over all that was on it.
    fn others_keep(&self, sim: &Sim, node: usize) -> bool {
        let ruined = |id: &Id| {
            let mut away = self.away.iter().filter(|away| sim.id(away.node) == *id);
            away.any(|away| away.disk_lost || away.why == "left")
        };
        sim.certificates(node)
            .iter()
            .all(|(certificate, ..)| certificate.members.iter().any(|id| *id != sim.id(node) && !ruined(id)))
    }

    fn back(&mut self, sim: &mut Sim, node: usize) {
        let now = sim.now_us();
        if let Some(away) = self.away.iter_mut().rfind(|away| away.node == node && away.until_us == u64::MAX) {
            away.until_us = now;
            if away.why != "asleep" {
                sim.restart(node);
            }
            self.log.push(format!("{:9.3} s: {node} is back", now as f64 / 1e6));
        }
    }

    fn join(&mut self, sim: &mut Sim) {
        if self.joins < JOINS_MAX {
            self.joins += 1;
            let node = sim.add_node(0);
            self.joined.push((node, sim.now_us()));
            self.note(sim, "join", &format!("{node}"));
        }
    }

    fn leave(&mut self, sim: &mut Sim) {
        let Some(node) = self.victim(sim).filter(|node| *node != 0) else { return };
        self.note(sim, "leave", &format!("{node}"));
        let call = sim.command(node, Command::Leave);
        self.leaving.push((node, call, sim.now_us()));
    }

    fn sleep(&mut self, sim: &mut Sim) {
        let Some(node) = self.victim(sim) else { return };
        let us = SECOND_US / 2 + sim.draw(if self.deadly { 25 } else { 12 } * SECOND_US);
        let stops = sim.draw(2) == 0;
        self.note(sim, "sleep", &format!("{node} for {us} us, clock {}", if stops { "stops" } else { "runs" }));
        sim.sleep(node, us, stops);
        let from_us = sim.now_us();
        self.away.push(Away { node, from_us, until_us: u64::MAX, why: "asleep", disk_lost: false });
        self.returns.push((from_us + us, node));
    }

    fn stall(&mut self, sim: &mut Sim) {
        let live = sim.live();
        let (a, b) = (live[sim.draw(live.len() as u64) as usize], live[sim.draw(live.len() as u64) as usize]);
        let us = SECOND_US / 2 + sim.draw(4 * SECOND_US);
        self.note(sim, "stall", &format!("{a} and {b} for {us} us"));
        sim.stall(a, b, us);
        self.stalls.push((a, b, sim.now_us(), sim.now_us() + us));
    }

    fn cut(&mut self, sim: &mut Sim) {
        let now = sim.now_us();
        if self.cuts.last().is_some_and(|cut| cut.until_us + RECOVERY_US > now) {
            return;
        }
        let share = 1 + sim.draw(3);
        let mut side = BTreeSet::new();
        for node in 0..sim.len() {
            if sim.draw(8) < share {
                side.insert(node);
            }
        }
        let us = SECOND_US + sim.draw(if self.deadly { 24 } else { 6 } * SECOND_US);
        self.note(sim, "cut", &format!("{side:?} off for {us} us"));
        sim.partition(|node| side.contains(&node));
        self.cuts.push(Cut { from_us: now, until_us: now + us, side });
    }

    fn disk(&mut self, sim: &mut Sim) {
        let live = sim.live();
        let node = live[sim.draw(live.len() as u64) as usize];
        let count = 1 + sim.draw(4) as u32;
        self.note(sim, "disk", &format!("of {node} refuses {count} batches"));
        sim.fail_disk(node, count);
    }

    /// The last fault was: the cut heals, everybody with a disk is back.
    pub fn end(&mut self, sim: &mut Sim) {
        let now = sim.now_us();
        sim.heal();
        if let Some(cut) = self.cuts.last_mut() {
            cut.until_us = cut.until_us.min(now);
        }
        // Who sleeps wakes by itself.
        let asleep: Vec<usize> = self
            .away
            .iter()
            .filter(|away| away.until_us == u64::MAX && away.why == "asleep")
            .map(|away| away.node)
            .collect();
        self.returns.retain(|(_, node)| asleep.contains(node));
        let gone: Vec<usize> = self
            .away
            .iter()
            .filter(|away| away.until_us == u64::MAX && away.why != "asleep" && !away.disk_lost)
            .map(|away| away.node)
            .collect();
        for node in gone {
            self.back(sim, node);
        }
        self.log.push(format!("{:9.3} s: all is healed", now as f64 / 1e6));
    }

    /// When two nodes could not hear one another directly; `grace_us` later they have found each other again.
    pub fn apart(&self, a: usize, b: usize, grace_us: u64) -> Vec<(u64, u64)> {
        let away = self.away.iter().filter(|away| away.node == a || away.node == b);
        let away = away.map(|away| (away.from_us, self.back_us(away, grace_us)));
        let cut = self
            .cuts
            .iter()
            .filter(|cut| {
                let parts = |a: usize, b: usize| cut.side.contains(&a) != cut.side.contains(&b);
                parts(a, b) || [a, b].into_iter().any(|node| parts(0, node) && self.is_new(node, cut))
            })
            .map(|cut| (cut.from_us, self.joined_us(cut, grace_us)));
        let stalled = self
            .stalls
            .iter()
            .filter(|(c, d, ..)| (*c, *d) == (a, b) || (*d, *c) == (a, b))
            .map(|(_, _, from, until)| (*from, *until));
        away.chain(cut).chain(stalled).map(|(begun, ended)| (begun, ended.saturating_add(grace_us))).collect()
    }

    /// Whether a node that began a life had no time to open direct links before a cut, or until its sides met again: it
    /// hears everybody over the supernode.
    fn is_new(&self, node: usize, cut: &Cut) -> bool {
        let back = self.away.iter().filter(|away| away.node == node).map(|away| away.until_us);
        let joined = self.joined.iter().filter(|(joined, _)| *joined == node).map(|(_, at_us)| *at_us);
        back.chain(joined)
            .any(|at_us| at_us < cut.until_us.saturating_add(DIALLING_US) && at_us.saturating_add(NEW_US) > cut.from_us)
    }

    /// When a node is back among others: who begins anew is, once it reaches the supernode, and so is who slept until the
    /// others had closed their links to it.
    fn back_us(&self, away: &Away, grace_us: u64) -> u64 {
        let linked = away.why == "asleep" && away.until_us.saturating_sub(away.from_us) < SUSPECTED_US;
        if linked || away.node == 0 || away.until_us == u64::MAX {
            return away.until_us;
        }
        self.dialled_us(away.until_us, grace_us, |cut| cut.side.contains(&0) != cut.side.contains(&away.node))
    }

    /// When the sides of a cut are one again: once the links between them are closed, when the side without the supernode
    /// has dialled it.
    fn joined_us(&self, cut: &Cut, grace_us: u64) -> u64 {
        if cut.until_us.saturating_sub(cut.from_us) < SUSPECTED_US {
            return cut.until_us;
        }
        let dialled = cut.until_us.saturating_add(DIALLING_US.saturating_sub(grace_us));
        dialled.max(self.dialled_us(cut.until_us, grace_us, |_| false))
    }

    /// When who would dial the supernode from `from_us` on reaches it, which is down at times, or cut off.
    fn dialled_us(&self, from_us: u64, grace_us: u64, parted: impl Fn(&Cut) -> bool) -> u64 {
        let mut back = from_us;
        let founder = self.away.iter().filter(|other| other.node == 0).map(|other| (other.from_us, other.until_us));
        let cut = self.cuts.iter().filter(|cut| parted(cut)).map(|cut| (cut.from_us, cut.until_us));
        for (begun, ended) in founder.chain(cut) {
            if begun < back.saturating_add(grace_us) && ended > back {
                back = ended.saturating_add(DIALLING_US);
            }
        }
        back
    }

    /// How much of the time from `from_us` to `at_us` some spans make up together.
    pub fn within_us(spans: &[(u64, u64)], from_us: u64, at_us: u64) -> u64 {
        let mut spans: Vec<(u64, u64)> = spans
            .iter()
            .map(|(begun, ended)| ((*begun).max(from_us), (*ended).min(at_us)))
            .filter(|(begun, ended)| begun < ended)
            .collect();
        spans.sort_unstable();
        let (mut sum, mut reached) = (0, 0);
        for (begun, ended) in spans {
            sum += ended.saturating_sub(begun.max(reached));
            reached = reached.max(ended);
        }
        sum
    }
}
