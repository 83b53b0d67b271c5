//! Batches of writes signed at once, and what each record keeps of that.
//!
//! ```text
//!               root ◀── signed by the peer, with the time and the session
//!              /    \
//!            h01    h23        leaf i = H(0, what write i does)
//!           /  \    /  \       h      = H(1, left, right)
//!          l0  l1  l2  l3      the proof of write 2: l3, h01
//! ```
//!
//! Hashes are 128 bits of SHA-512: who forges a record needs a second preimage. Who writes may find two writes with one
//! hash in 2^64 steps, and could sign both as well.
//!
//! A verifier that has seen one write of a batch knows the hashes beside its way ([`Verified`](super::verified)).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use super::{Guard, Realm, Session};
use crate::{
    config::SECOND_US,
    crypto::Identity,
    ctx::Ctx,
    dht,
    id::Id,
    store::{Action, Expect, KeyOp, Record},
};

/// Writes that are signed together.
pub const BATCH_MAX: usize = 256;
/// A path is no longer.
pub(super) const PATH_MAX: usize = BATCH_MAX.ilog2() as usize;
const SIGNATURE_MAX: usize = 64;
/// A credential is shown for so long, then signed anew; owners take it for as long as other signatures.
const CREDENTIAL_US: u64 = 60 * SECOND_US;
/// Realms of which credentials are kept.
const CREDENTIALS_MAX: usize = 64;
/// The encoding of [`What`] is no longer.
const WHAT_BYTES_MAX: usize = 64;

/// A hash of the tree.
pub type Hash = [u8; 16];

/// What a batch has once: who signed it, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pass {
    /// For whom the peer acts.
    pub session: Session,
    /// When it was signed, by the asker's wall clock.
    pub at_us: u64,
    /// The peer's.
    #[serde(with = "crate::wire::bytes")]
    pub signature: Vec<u8>,
}

/// What a write does beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Writes a value.
    Put {
        /// The condition.
        expect: Expect,
        /// See [`Action::Put`].
        ttl_us: Option<u64>,
    },
    /// Removes the key.
    Remove {
        /// The condition.
        expect: Expect,
    },
    /// Changes a node of a tree; the hash is that of the edit.
    Edit(Hash),
    /// Reads in a private realm: no write, and of no one key.
    Read,
}

impl What {
    /// What an action does; `None`: nothing that can be signed.
    pub fn of(action: &Action) -> Option<What> {
        match action {
            Action::Put { expect, ttl_us, .. } => Some(What::Put { expect: *expect, ttl_us: *ttl_us }),
            Action::Remove { expect } => Some(What::Remove { expect: *expect }),
            Action::Edit { edit } => Some(What::Edit(hash(&[edit]))),
            // When a hint was given nobody proves.
            Action::PutHinted { .. } => None,
            Action::Get | Action::GetStale | Action::GetVerified | Action::Prove | Action::Renew { .. } => None,
        }
    }

    /// The condition; an edit has its own.
    pub fn expect(&self) -> Option<Expect> {
        match self {
            What::Put { expect, .. } | What::Remove { expect } => Some(*expect),
            What::Edit(_) | What::Read => None,
        }
    }
}

/// Proves who wrote a record, and what it was about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The batch's.
    #[serde(with = "shared")]
    pub pass: Arc<Pass>,
    /// What the write does.
    pub what: What,
    /// Its place in the batch.
    pub place: u8,
    /// The hashes beside the way to the root.
    #[serde(with = "flat")]
    pub path: Vec<Hash>,
}

impl Proof {
    /// What it takes in memory and on disk, about.
    pub fn bytes(&self) -> usize {
        224 + self.path.len() * size_of::<Hash>()
    }

    /// The peer that wrote.
    pub fn author(&self) -> Id {
        self.pass.session.peer()
    }

    /// The root of the batch's tree if this is the proof of a leaf.
    pub fn root(&self, leaf: Hash) -> Option<Hash> {
        let mut at = self.at()?;
        Some(self.path.iter().fold(leaf, |below, beside| {
            let above = parent(at, &below, beside);
            at >>= 1;
            above
        }))
    }

    /// The place of the leaf in the tree: the root is 1, what lies below `n` is `2n` and `2n + 1`. `None`: there is no such
    /// place.
    pub(super) fn at(&self) -> Option<usize> {
        let (leaves, place) = (1 << self.path.len().min(PATH_MAX), usize::from(self.place));
        (self.path.len() <= PATH_MAX && place < leaves).then_some(leaves + place)
    }

    /// The leaf of the write that made a record.
    pub fn leaf_of(&self, record: &Record) -> Hash {
        let Record { namespace, locality_bits, key, value, version, .. } = record;
        let content = value.as_deref().filter(|_| matches!(self.what, What::Put { .. }));
        leaf(namespace, *locality_bits, key, version.counter, &self.what, content)
    }

    /// The leaf of a write that is asked for under `tag`.
    pub fn leaf_of_op(&self, op: &KeyOp, tag: u64) -> Hash {
        leaf(&op.namespace, op.locality_bits, &op.key, tag, &self.what, op.action.value())
    }
}

impl Pass {
    /// What the peer signs.
    fn message(network: &str, session: &Session, at_us: u64, root: &Hash) -> Vec<u8> {
        let name = b"pontoon batch\0" as &[u8];
        [name, &session.user.0, &at_us.to_be_bytes(), root, network.as_bytes()].concat()
    }

    /// Whether the peer signed a batch with this root, and the user that the peer acts for it then.
    pub fn holds(&self, verifier: &dyn Identity, network: &str, root: &Hash) -> bool {
        self.signed(verifier, network, root) && self.session.holds(verifier, network)
    }

    /// Whether the peer of the session signed a batch with this root in the session's time.
    pub(super) fn signed(&self, verifier: &dyn Identity, network: &str, root: &Hash) -> bool {
        let message = Pass::message(network, &self.session, self.at_us, root);
        (self.session.from_us..=self.session.until_us).contains(&self.at_us)
            && self.signature.len() <= SIGNATURE_MAX
            && verifier.verify(&self.session.peer, &message, &self.signature)
    }
}

/// Says for whom this peer reads in a namespace, if that is wanted there and it acts for somebody.
pub fn credential(ctx: &Ctx, namespace: &str) -> Option<Box<Proof>> {
    let realm = Realm::private(namespace)?;
    let wall_us = ctx.now.wall;
    let mut credentials = ctx.signer.credentials.borrow_mut();
    let user = ctx.signer.user();
    let good = |proof: &Proof| {
        let Pass { session, at_us, .. } = &*proof.pass;
        Some(session.user) == user && *at_us <= wall_us && wall_us < at_us.saturating_add(CREDENTIAL_US)
    };
    if let Some(known) = credentials.get(&realm).filter(|known| good(known)) {
        return Some(known.clone());
    }
    let session = ctx.signer.session(&ctx.config.network, wall_us)?;
    let made = Box::new(credential_as(&*ctx.signer.identity, session, (&ctx.config.network, wall_us), &realm));
    if credentials.len() >= CREDENTIALS_MAX {
        credentials.clear();
    }
    credentials.insert(realm, made.clone());
    Some(made)
}

/// The same for a peer of that identity and session, in a network at a time.
pub fn credential_as(identity: &dyn Identity, session: Session, (network, at_us): (&str, u64), realm: &Realm) -> Proof {
    let signature = identity.sign(&Pass::message(network, &session, at_us, &reading(realm)));
    let pass = Arc::new(Pass { session, at_us, signature });
    Proof { pass, what: What::Read, place: 0, path: Vec::new() }
}

/// Signs the writes among operations of one request, if this peer acts for somebody, and says for whom it reads. Each
/// operation comes with its index in the request.
pub fn sign(ctx: &Ctx, request: u64, ops: &mut [(u32, KeyOp)]) {
    for (_, op) in ops.iter_mut().filter(|(_, op)| op.action.reads() && op.proof.is_none()) {
        op.proof = credential(ctx, &op.namespace);
    }
    let concerned = ops.iter().any(|(_, op)| Guard::may_concern(op));
    if concerned && let Some(session) = ctx.signer.session(&ctx.config.network, ctx.now.wall) {
        sign_as(&*ctx.signer.identity, &session, (&ctx.config.network, ctx.now.wall), request, ops);
    }
}

/// The same for a peer of that identity and session, in a network at a time.
pub fn sign_as(
    identity: &dyn Identity,
    session: &Session,
    (network, at_us): (&str, u64),
    request: u64,
    ops: &mut [(u32, KeyOp)],
) {
    let writes = ops.iter_mut().filter(|(_, op)| Guard::may_concern(op));
    let mut writes: Vec<(&mut KeyOp, What, Hash)> = writes
        .filter_map(|(index, op)| {
            let (what, tag) = (What::of(&op.action)?, dht::tag(request, *index));
            let leaf = leaf(&op.namespace, op.locality_bits, &op.key, tag, &what, op.action.value());
            Some((op, what, leaf))
        })
        .collect();
    for batch in writes.chunks_mut(BATCH_MAX) {
        let mut level: Vec<Hash> = batch.iter().map(|(.., leaf)| *leaf).collect();
        let levels = batch.len().next_power_of_two().ilog2() as usize;
        let mut paths: Vec<Vec<Hash>> = batch.iter().map(|_| Vec::with_capacity(levels)).collect();
        let mut height = 0;
        while level.len() > 1 {
            if level.len() % 2 == 1 {
                level.push([0; 16]);
            }
            for (place, path) in paths.iter_mut().enumerate() {
                path.push(level[(place >> height) ^ 1]);
            }
            level = level.chunks(2).map(|pair| node(&pair[0], &pair[1])).collect();
            height += 1;
        }
        let message = Pass::message(network, session, at_us, &level[0]);
        let signature = identity.sign(&message);
        let pass = Arc::new(Pass { session: session.clone(), at_us, signature });
        for (place, ((op, what, _), path)) in batch.iter_mut().zip(paths).enumerate() {
            op.proof = Some(Box::new(Proof { pass: pass.clone(), what: *what, place: place as u8, path }));
        }
    }
}

fn leaf(namespace: &str, locality_bits: u8, key: &[u8], tag: u64, what: &What, value: Option<&[u8]>) -> Hash {
    let mut room = [0; WHAT_BYTES_MAX];
    let what: &[u8] = postcard::to_slice(what, &mut room).map_or(&[], |what| what);
    let length = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes();
    let (name, content) = (namespace.as_bytes(), value.unwrap_or_default());
    let kinds = [0, locality_bits, u8::from(value.is_some())];
    let lengths = [length(name), length(key), length(what)];
    hash(&[&kinds, lengths.as_flattened(), &tag.to_be_bytes(), name, key, what, content])
}

/// What stands for reading in a realm.
pub(super) fn reading(realm: &Realm) -> Hash {
    hash(&[&[2], &realm.0])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

/// What lies above place `at` and the one beside it.
pub(super) fn parent(at: usize, here: &Hash, beside: &Hash) -> Hash {
    if at.is_multiple_of(2) { node(here, beside) } else { node(beside, here) }
}

pub(super) fn hash(parts: &[&[u8]]) -> Hash {
    let mut sha = Sha512::new();
    parts.iter().for_each(|part| sha.update(part));
    let digest = sha.finalize();
    core::array::from_fn(|at| digest[at])
}

/// Hashes are written as bytes in one piece.
mod flat {
    use serde::{Deserializer, Serializer, de::Error};

    use super::Hash;
    use crate::wire::bytes;

    pub fn serialize<S: Serializer>(hashes: &[Hash], serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(hashes.as_flattened(), serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
        let bytes = bytes::deserialize(deserializer)?;
        let (hashes, rest) = bytes.as_chunks();
        if rest.is_empty() { Ok(hashes.to_vec()) } else { Err(D::Error::custom("part of a hash")) }
    }
}

/// A shared value is written as it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        (**value).serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}
