//! What was verified lately: a batch costs its verifier one signature and about one hash for each write, a session one
//! signature.
//!
//! Who follows a proof's path to a root that was signed knows all hashes on it and beside it; the next write of the batch ends
//! where it meets one of them.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Session,
    proof::{Hash, Pass, Proof, parent},
};
use crate::crypto::Identity;

/// Batches whose signatures are known to hold: at most 8 KiB each.
const BATCHES_MAX: usize = 128;
/// Sessions that are known to be their users'.
const SESSIONS_MAX: usize = 64;
/// Not known, or the padding of a level, which nobody can prove.
const UNKNOWN: Hash = [0; 16];

/// See the module.
#[derive(Default)]
pub struct Verified {
    batches: VecDeque<Batch>,
    sessions: VecDeque<Session>,
}

struct Batch {
    pass: Arc<Pass>,
    /// By place: see [`Proof::at`].
    known: Vec<Hash>,
}

impl Verified {
    /// Whether a proof is one, of this leaf. Its batch is shared with what came before of it.
    pub fn proves(&mut self, verifier: &dyn Identity, network: &str, proof: &mut Proof, leaf: Hash) -> bool {
        let Some(at) = proof.at() else { return false };
        let same = |batch: &&mut Batch| Arc::ptr_eq(&batch.pass, &proof.pass) || batch.pass == proof.pass;
        if let Some(batch) = self.batches.iter_mut().find(same) {
            let proven = batch.contains(at, leaf, &proof.path);
            proof.pass = batch.pass.clone();
            return proven;
        }
        let holds = |root: &Hash| {
            proof.pass.signed(verifier, network, root) && self.holds(verifier, network, &proof.pass.session)
        };
        let Some(root) = proof.root(leaf).filter(holds) else { return false };
        let mut known = vec![UNKNOWN; 2 << proof.path.len()];
        known[1] = root;
        let mut batch = Batch { pass: proof.pass.clone(), known };
        batch.contains(at, leaf, &proof.path);
        self.batches.push_front(batch);
        self.batches.truncate(BATCHES_MAX);
        true
    }

    fn holds(&mut self, verifier: &dyn Identity, network: &str, session: &Session) -> bool {
        if self.sessions.contains(session) {
            return true;
        }
        let holds = session.holds(verifier, network);
        if holds {
            self.sessions.push_front(session.clone());
            self.sessions.truncate(SESSIONS_MAX);
        }
        holds
    }
}

impl Batch {
    /// Whether a leaf is at a place of this tree. What lies on its way and beside it is known from then on.
    fn contains(&mut self, leaf_at: usize, leaf: Hash, path: &[Hash]) -> bool {
        if self.known.len() != 2 << path.len() {
            return false;
        }
        let (mut at, mut here, mut way) = (leaf_at, leaf, Vec::new());
        for (level, beside) in path.iter().enumerate() {
            if self.known[at] != UNKNOWN {
                // What is above and beside it is known, too; the path says nothing else, or others could not follow it.
                let mut rest = path[level..].iter().enumerate();
                if !rest.all(|(up, beside)| self.known[(at >> up) ^ 1] == *beside) {
                    return false;
                }
                break;
            }
            way.push((at, here));
            way.push((at ^ 1, *beside));
            here = parent(at, &here, beside);
            at >>= 1;
        }
        let proven = self.known[at] == here;
        if proven {
            way.into_iter().for_each(|(at, hash)| self.known[at] = hash);
        }
        proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::{NETWORK, leaf_of, signed};

    fn proofs(count: u32) -> (impl Identity, Vec<(Proof, Hash)>) {
        let (peer, ops) = signed(count);
        let proofs = ops.into_iter().map(|(index, op)| (*op.proof.clone().unwrap(), leaf_of(&op, index)));
        (peer, proofs.collect())
    }

    #[test]
    fn every_write_of_a_batch_holds_in_any_order_and_no_other() {
        for count in [1, 2, 3, 100, 256] {
            let (peer, mut proofs) = proofs(count);
            for step in [1, 3, 255] {
                let mut verified = Verified::default();
                for at in (0..count as usize).map(|at| at * step % count as usize) {
                    let (proof, leaf) = &mut proofs[at];
                    assert!(verified.proves(&peer, NETWORK, proof, *leaf), "{at} of {count}");
                    let mut other = *leaf;
                    other[0] ^= 1;
                    assert!(!verified.proves(&peer, NETWORK, proof, other));
                    for level in 0..proof.path.len() {
                        let mut astray = proof.clone();
                        astray.path[level][15] ^= 1;
                        assert!(!verified.proves(&peer, NETWORK, &mut astray, *leaf), "{at} of {count}: {level}");
                    }
                    let mut moved = proof.clone();
                    moved.place ^= 1;
                    assert!(!verified.proves(&peer, NETWORK, &mut moved, *leaf));
                }
                assert_eq!((verified.batches.len(), verified.sessions.len()), (1, 1));
            }
        }
    }

    #[test]
    fn what_is_known_of_one_batch_proves_nothing_of_another() {
        let (peer, proofs) = proofs(300);
        let mut verified = Verified::default();
        let ((mut first, of_first), (other, leaf)) = (proofs[0].clone(), proofs[256].clone());
        assert!(verified.proves(&peer, NETWORK, &mut first, of_first));
        let mut stolen = first.clone();
        stolen.path.truncate(other.path.len());
        assert!(!verified.proves(&peer, NETWORK, &mut stolen, leaf));
        // A path that is too short ends at what is known, and is no proof.
        let inner = first.path[7];
        (first.path, first.place) = (vec![inner], 1);
        assert!(!verified.proves(&peer, NETWORK, &mut first, inner));
    }
}
