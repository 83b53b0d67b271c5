//! What travels for a verified get: a question on a way that its asker chose, and an answer that nobody on the way can
//! make or change.
//!
//! An answer is signed with its speaker's own key over the asker's random number, so it is of now, about this key, and the
//! word of the peer whose id the key hashes to. Also whom it names is signed: who carries it hides nobody.

use serde::{Deserialize, Serialize};

use crate::{crypto::Identity, id::Id, store::Record};

/// Peers on a way, the one at its end included, at most.
pub const WAY_MAX: usize = 5;
/// Peers that one answer names at most.
pub const NEAR_MAX: usize = 24;

/// From peer to peer along a way that its origin chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Along {
    /// Who is still to come; nobody: it is for who has it.
    pub path: Vec<Id>,
    /// Of a question: by whom it came, the asker first. The answer goes back the same way.
    pub behind: Vec<Id>,
    /// What travels.
    pub word: Word,
}

/// What travels along a way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Word {
    /// What do you hold of this key, and whom do you know near to it?
    Ask(Ask),
    /// What its speaker says.
    Answer(Signed),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Random: what answers are signed over.
    pub request: u64,
    /// What the key belongs to.
    pub namespace: String,
    /// See [`Record::locality_bits`].
    pub locality_bits: u8,
    /// The key within the namespace.
    #[serde(with = "crate::wire::bytes")]
    pub key: Vec<u8>,
}

impl Ask {
    /// Where the key lives.
    pub fn id(&self) -> Id {
        Id::object(&self.namespace, &self.key, self.locality_bits)
    }
}

/// What a peer says of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// From `Ask`.
    pub request: u64,
    /// Where the key lives.
    pub id: Id,
    /// What it holds.
    pub held: Held,
    /// Peers that it is linked to or in a group with, nearest to the key first.
    pub near: Vec<Id>,
}

/// What a peer holds of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// It is not in the key's group.
    Outside,
    /// It is, and holds none.
    Nothing,
    /// It is, and holds this; it may be a tombstone, or have lapsed.
    Record(Box<Record>),
}

/// An answer as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signed {
    /// The speaker's public key; its SHA-1 is the speaker's id.
    #[serde(with = "crate::wire::bytes")]
    pub public_key: Vec<u8>,
    /// An [`Answer`], encoded.
    #[serde(with = "crate::wire::bytes")]
    pub answer: Vec<u8>,
    /// Over the answer and the network's name.
    #[serde(with = "crate::wire::bytes")]
    pub signature: Vec<u8>,
}

impl Signed {
    /// Signs an answer.
    pub fn new(identity: &dyn Identity, network: &str, answer: &Answer) -> Signed {
        let answer = postcard::to_allocvec(answer).unwrap_or_default();
        let signature = identity.sign(&message(network, &answer));
        Signed { public_key: identity.public_key(), answer, signature }
    }

    /// Who is said to speak, and what is said, if it reads as something.
    pub fn read(&self) -> Option<(Id, Answer)> {
        Some((Id::hash(&self.public_key), postcard::from_bytes(&self.answer).ok()?))
    }

    /// Whether that is so.
    pub fn holds(&self, verifier: &dyn Identity, network: &str) -> bool {
        verifier.verify(&self.public_key, &message(network, &self.answer), &self.signature)
    }
}

fn message(network: &str, answer: &[u8]) -> Vec<u8> {
    let length = (network.len() as u64).to_be_bytes();
    [b"pontoon answer\0" as &[u8], &length, network.as_bytes(), answer].concat()
}

#[cfg(all(test, feature = "ed25519"))]
mod tests {
    use super::*;
    use crate::crypto::Ed25519;

    #[test]
    fn an_answer_is_its_speakers_in_its_network_and_nobody_elses() {
        let (alice, bob) = (Ed25519::from_seed(&[1; 32]), Ed25519::from_seed(&[2; 32]));
        let answer = Answer { request: 7, id: Id::hash(b"key"), held: Held::Nothing, near: vec![bob.id()] };
        let signed = Signed::new(&alice, "net", &answer);
        assert_eq!(signed.read(), Some((alice.id(), answer.clone())));
        assert!(signed.holds(&bob, "net") && !signed.holds(&bob, "ten"));
        let other = Signed::new(&alice, "net", &Answer { near: Vec::new(), ..answer });
        assert!(!Signed { answer: other.answer.clone(), ..signed.clone() }.holds(&bob, "net"), "another answer");
        assert!(!Signed { public_key: bob.public_key(), ..signed.clone() }.holds(&bob, "net"), "another speaker");
        assert_eq!(Signed { answer: vec![0xff; 9], ..signed }.read(), None);
    }
}
