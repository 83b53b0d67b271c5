//! A user's word that a peer acts for it.

use serde::{Deserialize, Serialize};

use super::User;
use crate::{crypto::Identity, id::Id};

/// Signatures are no longer.
const SIGNATURE_MAX: usize = 64;

/// A user's word that a peer acts for it, from a time until another, in one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Session {
    /// The user.
    pub user: User,
    /// The peer's public key.
    pub peer: [u8; 32],
    /// Wall clock, microseconds: not before.
    pub from_us: u64,
    /// Not after.
    pub until_us: u64,
    /// The user's, over [`Session::message`].
    #[serde(with = "crate::wire::bytes")]
    pub signature: Vec<u8>,
}

impl Session {
    /// What the user signs. For keys that are not at hand as an [`Identity`].
    pub fn message(network: &str, user: &User, peer: &[u8; 32], from_us: u64, until_us: u64) -> Vec<u8> {
        let name = b"pontoon session\0" as &[u8];
        let (from, until) = (from_us.to_be_bytes(), until_us.to_be_bytes());
        [name, &user.0, peer, &from, &until, network.as_bytes()].concat()
    }

    /// A session signed by a user whose key is at hand; `None`: one of the keys is none of 32 bytes.
    pub fn begin(
        user: &dyn Identity,
        network: &str,
        peer: &dyn Identity,
        from_us: u64,
        until_us: u64,
    ) -> Option<Session> {
        let (key, peer) = (User(user.public_key().try_into().ok()?), peer.public_key().try_into().ok()?);
        let signature = user.sign(&Session::message(network, &key, &peer, from_us, until_us));
        Some(Session { user: key, peer, from_us, until_us, signature })
    }

    /// Whether the user signed it.
    pub fn holds(&self, verifier: &dyn Identity, network: &str) -> bool {
        let message = Session::message(network, &self.user, &self.peer, self.from_us, self.until_us);
        self.signature.len() <= SIGNATURE_MAX && verifier.verify(&self.user.0, &message, &self.signature)
    }

    /// The peer that acts.
    pub fn peer(&self) -> Id {
        Id::hash(&self.peer)
    }
}
