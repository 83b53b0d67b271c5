//! Who may do what, as those see to it that store: not whoever asks.
//!
//! - A **user** is an Ed25519 key. It signs rarely: a [`Session`] says that a peer acts for it until some time. So its
//!   key may be one that never leaves the browser's or the system's keeping, and everything else is signed by the peer.
//! - A **batch** of writes is signed once, over the root of a hash tree (Merkle, CRYPTO 1987); each record carries its
//!   [`Proof`]: the path to the root and the signature. So a record proves by itself who wrote it, wherever it is copied to.
//! - A **realm** is what is protected together: a table's rows, its index entries, its entry in the catalog. Namespaces say
//!   in their name to which realm they belong, and its name is a hash of its owner's key: nobody can claim another's.
//!   What has no realm is open to everybody.
//! - The [`Rights`] of a realm are one record. Who stores reads it, verifies it, and holds it under a lease ([`Keeper`]): a
//!   change of rights is over only when every lease on the old ones is (Gray and Cheriton, *Leases*, SOSP 1989).
//!
//! Invariants: a record of a realm whose proof does not hold is neither acknowledged nor stored nor handed on; a write is
//! judged by its key's owner and by each member that acknowledges it.

mod guard;
mod keeper;
mod policy;
mod proof;
mod rights;
mod session;
#[cfg(test)]
mod tests;
mod verified;

use core::{cell::RefCell, fmt, str::FromStr};

pub use guard::{Case, Guard, INDEXES, RIGHTS, TABLES, TREES, claimed, guarded, unclaimed};
pub use keeper::{Keeper, LEASE_US, Reader, Verdict, revises, rights_op};
pub use policy::{POLICIES_MAX, Policy, Test};
pub use proof::{BATCH_MAX, Hash, Pass, Proof, What, credential, credential_as, sign, sign_as};
use serde::{Deserialize, Serialize};

pub use rights::{BYTES_MAX as RIGHTS_BYTES_MAX, Grant, Grantee, Privilege, Privileges, Realm, Rights};
pub use session::Session;

use crate::{
    config::SECOND_US,
    crypto::{Identity, Secret},
    map::Map,
};

/// A user: its public key. As text it is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct User(pub [u8; 32]);

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_hex(f, &self.0)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user is 64 hexadecimal digits: the public key")]
pub struct NoUser;

impl FromStr for User {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<User, NoUser> {
        hex(text).map(User).ok_or(NoUser)
    }
}

fn print_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// So many bytes from twice as many hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 2 * N).then(|| bytes.try_into().ok())?
}

/// The secret of a user that belongs to a store: made of the secret of the peer that has the store, so that both are kept and
/// lost together.
pub fn user_secret(peer: &[u8; 32]) -> [u8; 32] {
    let half = |number: u8| proof::hash(&[b"pontoon user\0", &[number], peer]);
    let (first, second) = (half(0), half(1));
    core::array::from_fn(|at| if at < 16 { first[at] } else { second[at - 16] })
}

/// How long a peer acts for a user whose key is at hand, before the user says so again.
const SESSION_US: u64 = 24 * 3_600 * SECOND_US;

/// What a node signs with, and for whom.
pub struct Signer {
    /// The peer's own keys.
    pub identity: Box<dyn Identity>,
    /// The keys of the user for whom it acts, if they are at hand.
    user: Option<Box<dyn Identity>>,
    /// That user's word.
    session: RefCell<Option<Session>>,
    /// What was signed lately to read in private realms.
    credentials: RefCell<Map<Realm, Box<Proof>>>,
}

impl Signer {
    /// A signer for tests that sign nothing.
    #[cfg(test)]
    pub fn nobody() -> Signer {
        Signer::new(Box::new(crate::crypto::KeyedHash([7; 32])))
    }

    /// A peer that acts for nobody.
    pub fn new(identity: Box<dyn Identity>) -> Signer {
        Signer { identity, user: None, session: RefCell::default(), credentials: RefCell::default() }
    }

    /// From now on it acts for a user whose keys are at hand.
    pub fn act_with(&mut self, user: Box<dyn Identity>) {
        (self.user, self.session) = (Some(user), RefCell::default());
    }

    /// From now on it acts for whom this is the word of.
    pub fn act_for(&mut self, session: Option<Session>) {
        (self.user, self.session) = (None, RefCell::new(session));
    }

    /// For whom it acts.
    pub fn user(&self) -> Option<User> {
        match &self.user {
            Some(user) => user.public_key().try_into().ok().map(User),
            None => self.session.borrow().as_ref().map(|session| session.user),
        }
    }

    /// What the user for whom it acts agrees on with another one, if the user's keys are at hand.
    pub fn agree(&self, with: &User) -> Option<Secret> {
        self.user.as_ref()?.agree(&with.0)
    }

    /// The word of the user for whom it acts, good at this time, if the user's keys are at hand.
    fn session(&self, network: &str, wall_us: u64) -> Option<Session> {
        let mut session = self.session.borrow_mut();
        if let Some(user) = &self.user {
            let good = |session: &Session| {
                session.from_us <= wall_us && wall_us.saturating_add(SESSION_US / 2) <= session.until_us
            };
            if !session.as_ref().is_some_and(good) {
                let from_us = wall_us.saturating_sub(SESSION_US / 24);
                *session = Session::begin(&**user, network, &*self.identity, from_us, wall_us + SESSION_US);
            }
        }
        session.clone().filter(|session| (session.from_us..=session.until_us).contains(&wall_us))
    }
}
