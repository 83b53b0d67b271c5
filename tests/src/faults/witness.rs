//! What all nodes hold, looked at all along: certificates, and who answers for what.

use std::collections::BTreeMap;

use pontoon_core::{Id, group::Certificate};

use crate::sim::Sim;

/// A certificate that gave somebody up for lost.
#[derive(Clone, Debug)]
pub struct Loss {
    /// When it was first seen.
    pub at_us: u64,
    /// The certificate.
    pub certificate: Certificate,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Witness {
    /// By history and epoch.
    decided: BTreeMap<(u64, u64), Vec<Certificate>>,
    /// Certificates that gave somebody up, in the order in which they were seen.
    pub losses: Vec<Loss>,
    /// Who heard whom over which relay alone, and when that was seen last.
    relays: BTreeMap<(usize, usize, usize), u64>,
    /// What must never be.
    pub violations: Vec<String>,
    /// Looks at which two nodes answered for one id, in histories that forked.
    pub forked: usize,
}

impl Witness {
    /// Notes every certificate that somebody holds: one that gave somebody up may have a successor soon.
    pub fn read(&mut self, sim: &Sim) {
        for node in sim.live() {
            for (certificate, ..) in sim.certificates(node) {
                self.note(sim.now_us(), &certificate);
            }
        }
    }

    /// Looks at who answers for what; who sleeps answers nobody.
    pub fn look(&mut self, sim: &Sim, asleep: &dyn Fn(usize) -> bool) {
        let awake = sim.live().into_iter().filter(|node| !asleep(*node));
        let serving: Vec<(usize, Certificate)> = awake
            .flat_map(|node| sim.certificates(node).into_iter().map(move |held| (node, held)))
            .filter(|(_, (.., serves))| *serves)
            .map(|(node, (certificate, ..))| (node, certificate))
            .collect();
        for (index, (node, certificate)) in serving.iter().enumerate() {
            for (other, theirs) in &serving[..index] {
                if certificate.name.region.intersect(&theirs.name.region).is_none() {
                    continue;
                }
                let history = |of: &Certificate| of.lineage.last().map(|(history, _)| *history);
                match certificate.relation(theirs) {
                    // Those who were given up may live, and not know.
                    _ if history(certificate) != history(theirs) => self.forked += 1,
                    relation => self.violations.push(format!(
                        "at {:.3} s nodes {node} and {other} answer for one id: {} epoch {} and {} epoch {} ({relation:?})",
                        sim.now_us() as f64 / 1e6,
                        certificate.name.region,
                        certificate.name.epoch,
                        theirs.name.region,
                        theirs.name.epoch,
                    )),
                }
            }
        }
    }

    /// Notes who hears whom over a relay.
    pub fn note_relays(&mut self, sim: &Sim) {
        for node in sim.live() {
            for link in sim.inspect(node).into_iter().flat_map(|inspect| inspect.links) {
                if let (Some(peer), Some(via)) = (sim.index_of(&link.peer), link.via.and_then(|via| sim.index_of(&via)))
                {
                    self.relays.insert((node, peer, via), sim.now_us());
                }
            }
        }
    }

    /// The relays over which `node` heard `peer` at some time since `since_us`.
    pub fn relays(&self, node: usize, peer: usize, since_us: u64) -> Vec<usize> {
        let range = (node, peer, 0)..=(node, peer, usize::MAX);
        self.relays.range(range).filter(|(_, seen_us)| **seen_us >= since_us).map(|((.., via), _)| *via).collect()
    }

    /// Of one history and epoch there are no two decisions about one id.
    fn note(&mut self, at_us: u64, certificate: &Certificate) {
        let history = certificate.lineage.last().map_or(0, |(history, _)| *history);
        let known = self.decided.entry((history, certificate.name.epoch)).or_default();
        if known.contains(certificate) {
            return;
        }
        if let Some(other) = known.iter().find(|other| other.name.region.intersect(&certificate.name.region).is_some())
        {
            self.violations.push(format!("two decisions about one fragment: {certificate:?} and {other:?}"));
        }
        known.push(certificate.clone());
        if !certificate.lost.is_empty() {
            self.losses.push(Loss { at_us, certificate: certificate.clone() });
        }
    }

    /// Every group that was ever seen to hold an id.
    pub fn groups_of<'a>(&'a self, id: &'a Id) -> impl Iterator<Item = &'a Certificate> {
        self.decided.values().flatten().filter(|certificate| certificate.name.region.contains(id))
    }
}
