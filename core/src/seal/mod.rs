//! Secrecy: values are sealed where they are written and opened where they are asked for. Peers, relays and disks hold
//! what they cannot read.
//!
//! ```text
//!   two users' keys ─ X25519 ─▶ a secret of the two ─▶ wraps the key of the epoch     } one record, the ring
//!   key of epoch n ─▶ wraps the key of epoch n-1 ─▶ .. ─▶ key of epoch 1              }
//!        └─▶ cell = n, XChaCha20-Poly1305 of the value, about its table, column and row
//!   key of epoch 1 ─▶ tag = HMAC-SHA512 of the value, 128 bits: equal values have equal tags
//! ```
//!
//! - A **keyring** has a name, an owner and members. Tables of one keyring share its keys, so that tags of one table meet
//!   those of another. Its [`Ring`] lies in a realm of its own, whose name is a hash of the owner's key and its name.
//! - A member can read everything that was ever sealed, for each key wraps the one before. Who is removed keeps what it
//!   knows: what comes after is sealed with another key.
//! - Wraps are made of a secret that only owner and member can compute. So nobody else can hand a writer a key of its own.
//!
//! Invariants: no key and no plaintext is printed, logged or handed to a node. A nonce is a keyed hash of all that it is
//! used with, and of the statement's random number (as in Rogaway and Shrimpton, *Deterministic Authenticated
//! Encryption*, EUROCRYPT 2006): never are two values sealed with the same key and nonce, however often a statement is tried.

mod keyring;
#[cfg(test)]
mod tests;
mod value;

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Aead, KeyInit, Payload},
};
use hmac::{Hmac, Mac};
pub use keyring::{Keyring, Keys, Ring, realm_of, rights_of, ring_op};
use sha2::Sha512;
pub use value::{Opening, Sealer, Sealing, Slot, pack};
use zeroize::Zeroizing;

use crate::crypto::Secret;

const NONCE_BYTES: usize = 24;

/// HMAC-SHA512 (RFC 2104) of parts, each with its length: no two lists of parts are the same bytes.
fn mac(key: &Secret, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
    // A key that is shorter than a block ends in zeros.
    let mut block = Zeroizing::new([0; 128]);
    block[..32].copy_from_slice(key.bytes());
    let mut mac = <Hmac<Sha512> as KeyInit>::new((&*block).into());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// The first bytes of a hash.
fn head<const N: usize>(hash: &[u8; 64]) -> [u8; N] {
    core::array::from_fn(|at| hash[at])
}

/// Another secret, of this one.
fn derive(key: &Secret, parts: &[&[u8]]) -> Secret {
    Secret::new(head(&mac(key, parts)))
}

/// What seals and opens.
#[derive(Clone)]
struct Key {
    cipher: Secret,
    nonce: Secret,
}

impl Key {
    fn of(secret: &Secret) -> Key {
        Key { cipher: derive(secret, &[b"pontoon cipher"]), nonce: derive(secret, &[b"pontoon nonce"]) }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.cipher.bytes().into())
    }

    /// Nonce, ciphertext and tag. What it is about has to be known to open it.
    fn seal(&self, about: &[u8], random: u128, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = head(&mac(&self.nonce, &[&random.to_be_bytes(), about, plain]));
        // It fails only beyond 256 GiB.
        let sealed = self.cipher().encrypt(&nonce.into(), Payload { msg: plain, aad: about }).unwrap_or_default();
        [&nonce[..], &sealed].concat()
    }

    /// `None`: it was not sealed with this key, about this, or was changed since.
    fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let opened = self.cipher().decrypt(nonce.into(), Payload { msg: sealed, aad: about });
        opened.ok().map(Zeroizing::new)
    }
}
