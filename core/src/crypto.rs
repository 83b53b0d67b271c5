//! Identities: a public key, its signature and the proof that a peer is who its id says.
//!
//! Signing and verifying are injected, so that a simulation of thousands of nodes may use [`KeyedHash`] (and says
//! so) where real peers use `Ed25519`.

use core::fmt;

use zeroize::Zeroizing;

use crate::id::Id;

/// 32 bytes that nobody else may know: never printed, and wiped from memory when they are of no use any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: [u8; 32]) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes, for who computes with them.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A peer's key pair and the means to check other peers' signatures.
pub trait Identity: Send {
    /// The public key; the peer's id is its SHA-1.
    fn public_key(&self) -> Vec<u8>;
    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Vec<u8>;
    /// Whether `signature` over `message` was made by the holder of `public_key`. Never panics on hostile bytes.
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool;

    /// A secret that only this key pair and the one of `public_key` can compute (Diffie and Hellman, *New Directions in
    /// Cryptography*, 1976). `None`: that is no public key, or this key pair does not do so.
    fn agree(&self, public_key: &[u8]) -> Option<Secret> {
        let _ = public_key;
        None
    }

    /// The id that belongs to the public key.
    fn id(&self) -> Id {
        Id::hash(&self.public_key())
    }
}

/// Ed25519 (RFC 8032), strict verification.
#[cfg(feature = "ed25519")]
pub struct Ed25519(ed25519_dalek::SigningKey);

#[cfg(feature = "ed25519")]
impl Ed25519 {
    /// The key pair of a 32-byte secret seed.
    pub fn from_seed(seed: &[u8; 32]) -> Ed25519 {
        Ed25519(ed25519_dalek::SigningKey::from_bytes(seed))
    }
}

#[cfg(feature = "ed25519")]
impl Identity for Ed25519 {
    fn public_key(&self) -> Vec<u8> {
        self.0.verifying_key().to_bytes().to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        use ed25519_dalek::Signer as _;
        self.0.sign(message).to_bytes().to_vec()
    }

    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) = (public_key.try_into(), ed25519_dalek::Signature::from_slice(signature)) else {
            return false;
        };
        ed25519_dalek::VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    /// X25519 (RFC 7748) with both keys taken to the curve's other form. That one key signs and agrees weakens neither
    /// (Thormarker, *On using the same key pair for Ed25519 and an X25519 based KEM*, 2021).
    fn agree(&self, public_key: &[u8]) -> Option<Secret> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(public_key.try_into().ok()?).ok()?;
        let shared = Secret::new(key.to_montgomery().mul_clamped(self.0.to_scalar_bytes()).to_bytes());
        // Of a point of small order everybody knows what comes out.
        (*shared.bytes() != [0; 32]).then_some(shared)
    }
}

/// No security at all: the "signature" is a hash that anybody can make. For large simulations only.
pub struct KeyedHash(pub [u8; 32]);

impl Identity for KeyedHash {
    fn public_key(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        Id::hash(&[&self.0[..], message].concat()).0.to_vec()
    }

    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        Id::hash(&[public_key, message].concat()).0[..] == *signature
    }
}

#[cfg(all(test, feature = "ed25519"))]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let (alice, bob) = (Ed25519::from_seed(&[1; 32]), Ed25519::from_seed(&[2; 32]));
        let signature = alice.sign(b"hello");
        assert!(bob.verify(&alice.public_key(), b"hello", &signature));
        assert!(!bob.verify(&alice.public_key(), b"hullo", &signature));
        assert!(!bob.verify(&bob.public_key(), b"hello", &signature));
        assert!(!bob.verify(b"short", b"hello", b"junk"));
    }

    #[test]
    fn two_agree_on_a_secret_and_nobody_else() {
        let (alice, bob, eve) =
            (Ed25519::from_seed(&[1; 32]), Ed25519::from_seed(&[2; 32]), Ed25519::from_seed(&[3; 32]));
        let secret = alice.agree(&bob.public_key());
        assert!(secret.is_some() && secret == bob.agree(&alice.public_key()));
        assert_ne!(secret, eve.agree(&alice.public_key()));
        assert_ne!(secret, eve.agree(&bob.public_key()));
        assert_eq!(format!("{secret:?}"), "Some(Secret)");
        // Not a point, too short, and points of small order: 1 and the one at y = 0.
        let one = [&[1_u8][..], &[0; 31]].concat();
        for junk in [&[2; 32][..], b"short", &one, &[0; 32]] {
            assert_eq!(alice.agree(junk), None, "{junk:?}");
        }
    }
}
