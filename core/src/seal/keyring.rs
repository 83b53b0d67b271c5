//! The keys of a keyring: how they are kept in its record, who may have them, how they change.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use super::{Key, derive, mac};
use crate::{
    Error,
    crypto::Secret,
    data::{Value, codec},
    map::Map,
    sql::fault::{INSUFFICIENT_PRIVILEGE, TAMPERED, TOO_COMPLEX, fail},
    store::{Action, KeyOp, Version},
    trust::{Realm, Rights, User},
};

/// Users who may have the keys of a keyring.
const MEMBERS_MAX: usize = 1_000;
/// Epochs that a keyring may have.
const EPOCHS_MAX: usize = 1_000;
/// Bytes of a wrapped key: nonce, key and tag.
const WRAPPED_BYTES: usize = 72;

/// What the realm of a keyring, which everybody reads, is made of beside its owner.
fn nonce_of(name: &str) -> u128 {
    let hash = Sha512::new().chain_update(b"pontoon keyring\0").chain_update(name).finalize();
    u128::from_be_bytes(core::array::from_fn(|at| hash[at])) & !1
}

/// The realm of an owner's keyring of that name.
pub fn realm_of(owner: &User, name: &str) -> Realm {
    Realm::of(owner, nonce_of(name))
}

/// The rights in that realm: nobody else may change the ring.
pub fn rights_of(owner: User, name: &str) -> Rights {
    Rights::new(owner, nonce_of(name), false, &format!("keyring {name}"))
}

/// An operation on the ring of a realm.
pub fn ring_op(realm: Realm, action: Action) -> KeyOp {
    let namespace = format!("pontoon.keyring{}", realm.suffix(0));
    KeyOp { namespace, locality_bits: 0, key: b"ring".to_vec(), action, proof: None }
}

/// A keyring as it is stored: everybody may read it, its members can use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// Of the encoding.
    format: u8,
    /// Who says who has the keys.
    pub owner: User,
    /// Its name.
    pub name: String,
    /// Who has them, with the key of this epoch wrapped for each.
    members: Vec<(User, Vec<u8>)>,
    /// The key of each epoch before, wrapped with the next one.
    chain: Vec<Vec<u8>>,
    /// That its owner made it so, as only the owner can say and tell.
    mark: Vec<u8>,
}

impl Ring {
    /// From the value of its record; it must be the one of that realm.
    pub fn decode(bytes: &[u8], realm: Realm) -> Option<Ring> {
        let ring: Ring = postcard::from_bytes(bytes).ok()?;
        let wrapped = ring.members.iter().map(|(_, wrapped)| wrapped).chain(&ring.chain);
        let bounded = ring.members.len() <= MEMBERS_MAX && ring.chain.len() < EPOCHS_MAX;
        let whole = wrapped.into_iter().all(|wrapped| wrapped.len() == WRAPPED_BYTES);
        (ring.format == 1 && bounded && whole && ring.realm() == realm).then_some(ring)
    }

    /// The value of its record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// The realm that it lies in.
    pub fn realm(&self) -> Realm {
        realm_of(&self.owner, &self.name)
    }

    /// Who has the keys.
    pub fn members(&self) -> impl Iterator<Item = &User> {
        self.members.iter().map(|(user, _)| user)
    }

    fn epoch(&self) -> u32 {
        self.chain.len() as u32 + 1
    }

    /// A ring whose only member is its owner. `own` is what the owner agrees on with itself.
    pub fn new(owner: User, name: &str, own: &Secret, random: u128) -> Ring {
        let (members, chain) = (Vec::new(), Vec::new());
        let mut ring = Ring { format: 1, owner, name: name.to_owned(), members, chain, mark: Vec::new() };
        let key = ring.fresh(own, random);
        ring.wrap(owner, own, &key, random);
        ring.mark = ring.marked(own);
        ring
    }

    /// What its owner marks it with. Who stores it could name itself a member, and be given the next key; or leave out who is to go.
    fn marked(&self, own: &Secret) -> Vec<u8> {
        let all = postcard::to_allocvec(&(&self.members, &self.chain)).unwrap_or_default();
        derive(own, &[b"pontoon ring", &self.realm().0, &all]).bytes().to_vec()
    }

    /// The key of the epoch, as nobody else can compute it who does not have the owner's own.
    fn fresh(&self, own: &Secret, random: u128) -> Secret {
        let (realm, epoch) = (self.realm().0, self.epoch().to_be_bytes());
        derive(own, &[b"pontoon epoch key", &realm, &epoch, &random.to_be_bytes()])
    }

    /// What a wrapped key is about.
    fn about(&self, epoch: u32) -> Vec<u8> {
        [&self.realm().0[..], &epoch.to_be_bytes()].concat()
    }

    /// The key that wraps keys for a member, of what it and the owner agree on.
    fn wrapping(&self, member: &User, agreed: &Secret) -> Key {
        Key::of(&derive(agreed, &[b"pontoon member", &self.realm().0, &member.0]))
    }

    fn wrap(&mut self, member: User, agreed: &Secret, key: &Secret, random: u128) {
        let wrapped = self.wrapping(&member, agreed).seal(&self.about(self.epoch()), random, key.bytes());
        self.members.push((member, wrapped));
    }
}

fn unwrap(key: &Key, about: &[u8], wrapped: &[u8]) -> Option<Secret> {
    let opened = key.open(about, wrapped)?;
    <[u8; 32]>::try_from(&opened[..]).ok().map(Secret::new)
}

/// What an asker has of a table's keyring.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Keys {
    /// Nothing: the table is not sealed, or nobody looked.
    #[default]
    None,
    /// It cannot use it; the reason is for people. The version is the ring's, if there is one.
    Shut(&'static str, Option<Version>),
    /// Its keys.
    Open(Arc<Keyring>),
}

impl Keys {
    /// The version of the ring that was looked at.
    pub fn version(&self) -> Option<Version> {
        match self {
            Keys::None => None,
            Keys::Shut(_, version) => *version,
            Keys::Open(keyring) => Some(keyring.version),
        }
    }
}

/// The opened keys of a keyring.
#[derive(Clone)]
pub struct Keyring {
    ring: Ring,
    version: Version,
    /// The secret of the newest epoch, and what seals in each, the first one first.
    newest: Secret,
    epochs: Vec<Key>,
    tags: Secret,
    /// What the owner agrees on with others, where that was asked for.
    agreed: Map<User, Secret>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({}, epoch {})", self.ring.name, self.ring.epoch())
    }
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Keyring) -> bool {
        self.ring == other.ring && self.version == other.version
    }
}

impl Keyring {
    /// Opens a ring as a user, who agrees with its owner on a secret.
    pub fn open(ring: Ring, version: Version, user: &User, agreed: Map<User, Secret>) -> Result<Keys, Error> {
        let Some((_, wrapped)) = ring.members.iter().find(|(member, _)| member == user) else {
            return Ok(Keys::Shut("its keys were not granted to this user", Some(version)));
        };
        let Some(with_owner) = agreed.get(&ring.owner) else {
            return Ok(Keys::Shut("the user's own key is not at hand here, only a session of the user", Some(version)));
        };
        let broken = || fail(TAMPERED, format!("keyring \"{}\" does not open: it was changed on its way", ring.name));
        let epoch = ring.epoch();
        let Some(newest) = unwrap(&ring.wrapping(user, with_owner), &ring.about(epoch), wrapped) else {
            return broken();
        };
        let (mut secret, mut epochs) = (newest.clone(), vec![Key::of(&newest)]);
        for (epoch, wrapped) in (1..epoch).zip(&ring.chain).rev() {
            let Some(before) = epochs.last().and_then(|key| unwrap(key, &ring.about(epoch), wrapped)) else {
                return broken();
            };
            epochs.push(Key::of(&before));
            secret = before;
        }
        epochs.reverse();
        let tags = derive(&secret, &[b"pontoon tags"]);
        Ok(Keys::Open(Arc::new(Keyring { ring, version, newest, epochs, tags, agreed })))
    }

    /// Its realm.
    pub fn realm(&self) -> Realm {
        self.ring.realm()
    }

    /// The version of its ring.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.ring.name
    }

    /// What seals now, and the number of its epoch.
    pub(super) fn now(&self) -> (u32, Option<&Key>) {
        (self.ring.epoch(), self.epochs.last())
    }

    /// What sealed in an epoch.
    pub(super) fn of(&self, epoch: u32) -> Option<&Key> {
        self.epochs.get(epoch.checked_sub(1)? as usize)
    }

    /// The tag of a value: that of no other one of its type, for who does not have the keys. Of other types it says nothing.
    pub fn tag(&self, value: &Value) -> Value {
        let Some(data_type) = value.data_type() else { return Value::Null };
        let encoded = codec::encode_key(core::slice::from_ref(value));
        Value::Blob(mac(&self.tags, &[data_type.name().as_bytes(), &encoded])[..16].to_vec())
    }

    fn own(&self, user: Option<&User>) -> Result<&Secret, Error> {
        match self.agreed.get(&self.ring.owner) {
            Some(own) if user == Some(&self.ring.owner) => Ok(own),
            _ => {
                let message = format!("must be owner of keyring \"{}\", which is {}", self.ring.name, self.ring.owner);
                fail(INSUFFICIENT_PRIVILEGE, message)
            }
        }
    }

    /// What the owner agrees on with itself, if it made the ring as it is.
    fn own_of_genuine(&self, user: Option<&User>) -> Result<&Secret, Error> {
        let own = self.own(user)?;
        if self.ring.mark == self.ring.marked(own) {
            return Ok(own);
        }
        fail(TAMPERED, format!("keyring \"{}\" is not as its owner made it: it was changed on its way", self.ring.name))
    }

    fn agreed(&self, member: &User) -> Result<&Secret, Error> {
        match self.agreed.get(member) {
            Some(agreed) => Ok(agreed),
            None => fail(INSUFFICIENT_PRIVILEGE, format!("{member} is no user's public key")),
        }
    }

    /// The ring once these users have its keys, too; `None`: they have them.
    pub fn with(&self, user: Option<&User>, members: &[User], random: u128) -> Result<Option<Ring>, Error> {
        let own = self.own_of_genuine(user)?;
        let mut ring = self.ring.clone();
        for member in members {
            if !ring.members().any(|other| other == member) {
                ring.wrap(*member, self.agreed(member)?, &self.newest, random);
            }
        }
        if ring.members.len() > MEMBERS_MAX {
            return fail(TOO_COMPLEX, format!("a keyring of more than {MEMBERS_MAX} users"));
        }
        ring.mark = ring.marked(own);
        Ok((ring != self.ring).then_some(ring))
    }

    /// The ring once these users do not get its keys any more: a new epoch for the others; `None`: they never had them.
    pub fn without(&self, user: Option<&User>, members: &[User], random: u128) -> Result<Option<Ring>, Error> {
        let own = self.own_of_genuine(user)?;
        let goes = |member: &User| members.contains(member) && *member != self.ring.owner;
        if !self.ring.members().any(goes) {
            return Ok(None);
        }
        if self.ring.chain.len() + 1 >= EPOCHS_MAX {
            return fail(TOO_COMPLEX, format!("a keyring of more than {EPOCHS_MAX} epochs"));
        }
        let mut ring = Ring { members: Vec::new(), ..self.ring.clone() };
        ring.chain.push(Vec::new());
        let key = ring.fresh(own, random);
        let before = Key::of(&key).seal(&ring.about(ring.epoch() - 1), random, self.newest.bytes());
        if let Some(last) = ring.chain.last_mut() {
            *last = before;
        }
        for member in self.ring.members().filter(|member| !goes(member)) {
            ring.wrap(*member, self.agreed(member)?, &key, random);
        }
        ring.mark = ring.marked(own);
        Ok(Some(ring))
    }
}
