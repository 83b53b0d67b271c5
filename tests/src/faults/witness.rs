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
    /// What must never be.
    pub violations: Vec<String>,
    /// Looks at which two nodes answered for one id, in histories that forked.
    pub forked: usize,
}

impl Witness {
    /// Looks at everybody; who sleeps answers nobody.
    pub fn look(&mut self, sim: &Sim, asleep: &dyn Fn(usize) -> bool) {
        let mut serving: Vec<(usize, Certificate)> = Vec::new();
        for node in sim.live() {
            for (certificate, _, serves) in sim.certificates(node) {
                self.note(sim.now_us(), &certificate);
                if serves && !asleep(node) {
                    serving.push((node, certificate));
                }
            }
        }
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
