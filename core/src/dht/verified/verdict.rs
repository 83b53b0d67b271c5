//! What follows from what peers said of a key. Pure.
//!
//! - **Records that prove their author** (rows of tables that have an owner, rights): one honest member is enough to learn
//!   of the newest. What is older by what authors signed is never taken for newer, whatever time a storing peer gives it.
//! - **Everything else** is what most of the group says alike; nobody but them knows.
//!
//! The group is who is nearest by the asker's own view, as owners choose it: the peer nearest to the key, and those
//! nearest to that one.

use crate::{
    id::{Id, nearest},
    store::{Expect, Record},
};

/// What a member said, as far as it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It holds nothing.
    Nothing,
    /// It holds this.
    Record(Box<Record>),
    /// It holds what nobody could or may have written.
    Forged,
}

/// What is known when everybody near was asked.
#[derive(Debug)]
pub struct Heard {
    /// Where the key lives.
    pub id: Id,
    /// Peers that exist, by what the asker knows.
    pub known: Vec<Id>,
    /// Claims of those who say that they are members.
    pub claims: Vec<(Id, Claim)>,
    /// Records of this namespace prove their authors.
    pub proven: bool,
    /// Copies of a record.
    pub replicas: usize,
    /// A request is signed, and tried for so long.
    pub late_us: u64,
    /// Clocks of two peers differ by less.
    pub skew_us: u64,
}

impl Heard {
    /// The key's group.
    pub fn group(&self) -> Vec<Id> {
        let owner = nearest(&self.known, &self.id, 1);
        owner.first().map_or(Vec::new(), |owner| nearest(&self.known, owner, self.replicas))
    }

    /// What is so: a record (perhaps a tombstone), or that there is none; `None`: it does not follow.
    pub fn verdict(&self) -> Option<Option<&Record>> {
        if self.proven {
            let group = self.group();
            let heard = |(peer, claim): &&(Id, Claim)| group.contains(peer) && *claim != Claim::Forged;
            // One less than a majority: with a fifth hostile and silent a majority of seven is missing too often.
            let enough = (self.replicas / 2).max(2).min(group.len());
            if self.claims.iter().filter(heard).count() < enough {
                return None;
            }
            if let Some(newest) = self.newest() {
                return Some(newest);
            }
        }
        self.agreed()
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.claims.iter().filter_map(|(_, claim)| match claim {
            Claim::Record(record) => Some(&**record),
            Claim::Nothing | Claim::Forged => None,
        })
    }

    /// The newest record, if by what was signed nothing else may be; `None`: that is open.
    fn newest(&self) -> Option<Option<&Record>> {
        let stands = |record: &&Record| !self.records().any(|other| self.follows(other, record));
        let Some(newest) = self.records().filter(stands).max_by_key(|record| record.version) else {
            return self.records().next().is_none().then_some(None);
        };
        let later = |other: &Record| other.version != newest.version && signed_us(other) > signed_us(newest);
        (!self.records().any(|other| later(other) && !self.follows(newest, other))).then_some(Some(newest))
    }

    /// Whether a record came after another one by what their authors signed: it names the other, or was signed so much
    /// later that the other's request was over.
    fn follows(&self, record: &Record, other: &Record) -> bool {
        let write = |record: &Record| (record.version.author, record.version.counter);
        let named = record.proof.as_ref().and_then(|proof| proof.what.expect());
        let names =
            matches!(named, Some(Expect::Version(version)) if (version.author, version.counter) == write(other));
        let apart_us = self.late_us + if record.version.author == other.version.author { 0 } else { self.skew_us };
        names || signed_us(record).zip(signed_us(other)).is_some_and(|(at, before)| at > before + apart_us)
    }

    /// What most of the group say alike.
    fn agreed(&self) -> Option<Option<&Record>> {
        let group = self.group();
        let said: Vec<Option<&Record>> = self
            .claims
            .iter()
            .filter(|(peer, _)| group.contains(peer))
            .filter_map(|(_, claim)| match claim {
                Claim::Record(record) => Some(Some(&**record)),
                Claim::Nothing => Some(None),
                Claim::Forged => None,
            })
            .collect();
        let alike = |one: &Option<&Record>| said.iter().filter(|other| same(**other, *one)).count();
        said.iter().copied().find(|one| 2 * alike(one) > group.len())
    }

    /// Who of the members says what the verdict says, and who says otherwise.
    pub fn sides(&self, verdict: Option<&Record>) -> (Vec<Id>, Vec<Id>) {
        let says = |claim: &Claim| match claim {
            Claim::Record(record) => same(Some(record), verdict),
            Claim::Nothing => verdict.is_none(),
            Claim::Forged => false,
        };
        let (with, against): (Vec<_>, Vec<_>) = self.claims.iter().partition(|(_, claim)| says(claim));
        let ids = |claims: Vec<&(Id, Claim)>| claims.into_iter().map(|(peer, _)| *peer).collect();
        (ids(with), ids(against))
    }
}

/// When the author signed it.
fn signed_us(record: &Record) -> Option<u64> {
    record.proof.as_ref().map(|proof| proof.pass.at_us)
}

fn same(one: Option<&Record>, other: Option<&Record>) -> bool {
    let said = |record: &Record| (record.version, record.expiry_us);
    one.map(said) == other.map(said) && one.map(|record| &record.value) == other.map(|record| &record.value)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        store::Version,
        trust::{Pass, Proof, Session, User, What},
    };

    const SECOND_US: u64 = 1_000_000;

    fn peer(number: u8) -> Id {
        Id::hash(&[number])
    }

    /// A row that `author` signed at a second, which a storing peer says was written at another.
    fn row(author: u8, signed_s: u64, stored_s: u64, expect: Expect) -> Record {
        let session =
            Session { user: User([1; 32]), peer: [author; 32], from_us: 0, until_us: u64::MAX, signature: Vec::new() };
        let pass = Arc::new(Pass { session, at_us: signed_s * SECOND_US, signature: Vec::new() });
        let proof = Proof { pass, what: What::Put { expect, ttl_us: None }, place: 0, path: Vec::new() };
        Record {
            namespace: "rows".to_owned(),
            key: vec![1],
            locality_bits: 0,
            value: Some(vec![signed_s as u8]),
            version: Version { wall_us: stored_s * SECOND_US, counter: signed_s, author: peer(author) },
            parent: None,
            expiry_us: None,
            earlier: Vec::new(),
            proof: Some(Box::new(proof)),
        }
    }

    fn heard(proven: bool, replicas: usize, claims: &[(u8, Option<&Record>)]) -> Heard {
        let claim = |record: &Option<&Record>| record.map_or(Claim::Nothing, |it| Claim::Record(Box::new(it.clone())));
        Heard {
            id: peer(0),
            known: (0..replicas as u8).map(peer).collect(),
            claims: claims.iter().map(|(by, record)| (peer(*by), claim(record))).collect(),
            proven,
            replicas,
            late_us: 30 * SECOND_US,
            skew_us: 600 * SECOND_US,
        }
    }

    #[test]
    fn one_honest_member_is_enough_to_learn_of_the_newest() {
        let (old, new) = (row(1, 10, 10, Expect::Any), row(1, 100, 100, Expect::Any));
        let found = heard(true, 3, &[(0, None), (1, Some(&old)), (2, Some(&new))]);
        assert_eq!(found.verdict(), Some(Some(&new)));
        assert_eq!(found.sides(Some(&new)), (vec![peer(2)], vec![peer(0), peer(1)]));
        assert_eq!(heard(true, 3, &[(0, None), (1, None)]).verdict(), Some(None));
        assert_eq!(heard(true, 3, &[(2, Some(&new))]).verdict(), None, "one voice of three");
    }

    /// A storing peer says of an old write that it came last: what was signed says otherwise, or nobody is believed.
    #[test]
    fn an_old_write_with_a_new_time_is_not_the_newest() {
        let replayed = row(1, 10, 500, Expect::Any);
        let named = Expect::Version(Version { wall_us: 10 * SECOND_US, ..replayed.version });
        for (author, signed_s, expect, told) in [
            (1, 100, Expect::Any, true),  // by the same peer, long after
            (1, 12, named, true),         // it says what it replaced
            (2, 700, Expect::Any, true),  // whatever the clocks of the two
            (1, 12, Expect::Any, false),  // the requests may have met
            (2, 100, Expect::Any, false), // clocks may differ by so much
        ] {
            let new = row(author, signed_s, signed_s.min(499), expect);
            let split = heard(true, 2, &[(0, Some(&replayed)), (1, Some(&new))]);
            assert_eq!(split.verdict(), told.then_some(Some(&new)), "{author} {signed_s}");
            // Where nothing signed tells it is for the majority to say.
            let most = heard(true, 3, &[(0, Some(&replayed)), (1, Some(&new)), (2, Some(&new))]);
            assert_eq!(most.verdict(), Some(Some(&new)), "{author} {signed_s}");
        }
    }

    #[test]
    fn what_proves_nothing_is_what_most_of_the_group_say() {
        let (one, other) = (row(1, 10, 10, Expect::Any), row(2, 20, 20, Expect::Any));
        let found = heard(false, 3, &[(0, Some(&one)), (1, Some(&one)), (2, Some(&other))]);
        assert_eq!(found.verdict(), Some(Some(&one)));
        assert_eq!(heard(false, 3, &[(0, Some(&one)), (1, None), (2, Some(&other))]).verdict(), None);
        // Who is not of the group has no voice, however many they are.
        let strangers = heard(false, 3, &[(0, Some(&one)), (1, Some(&one)), (7, None), (8, None), (9, None)]);
        assert_eq!(strangers.verdict(), Some(Some(&one)));
    }
}
