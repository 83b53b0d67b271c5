//! Certificates that were heard of and are not held here: who owns what elsewhere, and what came after what was held.

use super::certificate::{Certificate, Name, Relation};
use crate::map::Map;

/// Certificates remembered: the ones heard of longest ago are forgotten first.
const KNOWN_MAX: usize = 512;

/// See the module.
#[derive(Default)]
pub struct Known {
    /// With when each was heard of last. Boxed: they are large, and the map moves its values.
    certificates: Map<Name, (u64, Box<Certificate>)>,
    heard: u64,
}

impl Known {
    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.values().map(|(_, certificate)| certificate.as_ref())
    }

    /// Takes a certificate in; what it supersedes as a whole is forgotten.
    pub fn remember(&mut self, certificate: &Certificate) {
        let name = certificate.name;
        self.certificates.retain(|_, (_, other)| {
            let superseded = matches!(certificate.relation(other), Relation::Newer | Relation::Preferred);
            !superseded || !name.region.covers(&other.name.region)
        });
        self.heard += 1;
        self.certificates.entry(name).or_insert_with(|| (0, Box::new(certificate.clone()))).0 = self.heard;
        if self.certificates.len() > KNOWN_MAX {
            let oldest = self.certificates.iter().min_by_key(|(_, (heard, _))| *heard).map(|(name, _)| *name);
            oldest.map(|name| self.certificates.remove(&name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Id, Region};

    #[test]
    fn the_ones_heard_of_longest_ago_are_forgotten() {
        let part = |number: u16| (0..10).fold(Region::ALL, |part, bit| part.fix(bit, number >> (9 - bit) & 1 == 1));
        let of = |number: u16| {
            let mut certificate = Certificate::founding(Id::hash(&number.to_be_bytes()), 1);
            certificate.name.region = part(number);
            certificate
        };
        let mut known = Known::default();
        (0..1_000).for_each(|number| {
            known.remember(&of(number));
            known.remember(&of(7));
        });
        let numbers: Vec<u32> = known.iter().map(|it| it.name.region.value().head() >> 22).collect();
        assert_eq!(numbers.len(), KNOWN_MAX);
        assert!(numbers.contains(&7) && numbers.contains(&999) && !numbers.contains(&8));
    }
}
