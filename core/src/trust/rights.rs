//! Who may do what in a realm.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::{POLICIES_MAX, Policy, User, proof};

/// Grants that a realm may have.
const GRANTS_MAX: usize = 1_000;

/// Rights are no larger, encoded.
pub const BYTES_MAX: usize = 96 * 1_024;
/// The encoding of [`Rights`].
const FORMAT: u8 = 2;

/// The name of what is protected together: a hash of its owner and a random number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Realm(pub [u8; 16]);

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::print_hex(f, &self.0)
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Realm {
    /// The realm of an owner. Its last bit is that of the nonce: see [`Realm::is_private`].
    pub fn of(owner: &User, nonce: u128) -> Realm {
        let mut hash = proof::hash(&[b"pontoon realm\0", &owner.0, &nonce.to_be_bytes()]);
        hash[15] = hash[15] & 0xfe | (nonce & 1) as u8;
        Realm(hash)
    }

    /// Whether only those read who have the privilege. Its name says so: where everybody reads nobody has to look.
    pub fn is_private(&self) -> bool {
        self.0[15] & 1 == 1
    }

    /// The private realm to which a namespace belongs.
    pub fn private(namespace: &str) -> Option<Realm> {
        Realm::of_namespace(namespace).map(|(realm, _)| realm).filter(Realm::is_private)
    }

    /// The realm to which a namespace belongs and the namespace's locality bits, by the end of its name: see
    /// [`Realm::suffix`].
    pub fn of_namespace(namespace: &str) -> Option<(Realm, u8)> {
        let (_, end) = namespace.split_at_checked(namespace.len().checked_sub(36)?)?;
        let (realm, bits) = end.strip_prefix(".@")?.split_at_checked(32)?;
        Some((Realm(super::hex(realm)?), u8::from_be_bytes(super::hex(bits)?)))
    }

    /// What the name of a namespace ends in.
    pub fn suffix(&self, locality_bits: u8) -> String {
        format!(".@{self}{locality_bits:02x}")
    }
}

/// Something that may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Privilege {
    /// To read rows.
    Select = 1,
    /// To add rows.
    Insert = 2,
    /// To change rows.
    Update = 4,
    /// To remove rows.
    Delete = 8,
    /// To change the definition: columns, indexes, references to it.
    Alter = 16,
}

impl Privilege {
    /// All there are.
    pub const ALL: [Privilege; 5] =
        [Privilege::Select, Privilege::Insert, Privilege::Update, Privilege::Delete, Privilege::Alter];

    /// As SQL has it.
    pub fn name(self) -> &'static str {
        match self {
            Privilege::Select => "SELECT",
            Privilege::Insert => "INSERT",
            Privilege::Update => "UPDATE",
            Privilege::Delete => "DELETE",
            Privilege::Alter => "ALTER",
        }
    }
}

/// A set of privileges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges(u8);

impl Privileges {
    /// To read rows.
    pub const READ: Privileges = Privileges(Privilege::Select as u8);
    /// To add, change and remove rows.
    pub const WRITE: Privileges =
        Privileges(Privilege::Insert as u8 | Privilege::Update as u8 | Privilege::Delete as u8);
    /// All that can be granted.
    pub const ALL: Privileges = Privileges(Privileges::WRITE.0 | Privilege::Select as u8 | Privilege::Alter as u8);
    /// What only the owner may: to drop it, and to say who may do what.
    pub const OWN: Privileges = Privileges(128);

    /// These.
    pub fn these(privileges: &[Privilege]) -> Privileges {
        Privileges(privileges.iter().fold(0, |all, one| all | *one as u8))
    }

    /// Both together.
    pub fn and(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }

    /// Without the others.
    pub fn without(self, other: Privileges) -> Privileges {
        Privileges(self.0 & !other.0)
    }

    /// Whether one of the others is among them.
    pub fn any(self, of: Privileges) -> bool {
        self.0 & of.0 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One by one.
    pub fn each(self) -> impl Iterator<Item = Privilege> {
        Privilege::ALL.into_iter().filter(move |one| self.0 & *one as u8 != 0)
    }
}

/// To whom something is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Grantee {
    /// Every user.
    Public,
    /// A user.
    User(User),
}

impl fmt::Display for Grantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grantee::Public => f.write_str("PUBLIC"),
            Grantee::User(user) => user.fmt(f),
        }
    }
}

impl Grantee {
    /// Whether a user is meant.
    pub fn includes(&self, user: &User) -> bool {
        match self {
            Grantee::Public => true,
            Grantee::User(other) => other == user,
        }
    }
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub to: Grantee,
    /// What.
    pub privileges: Privileges,
}

/// Who may do what in a realm: the value of its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rights {
    /// Of the encoding.
    format: u8,
    /// Who may do everything, and says who else may do what.
    pub owner: User,
    /// With the owner it gives the realm's name.
    pub nonce: u128,
    /// Counts the changes, from 1.
    pub version: u64,
    /// The name of the table or view when it was created: for people.
    pub name: String,
    /// What others may do.
    pub grants: Vec<Grant>,
    /// What they might do once: until then copies of what they wrote are good.
    pub former: Vec<(Grant, u64)>,
    /// Of which rows.
    pub policies: Vec<Policy>,
    /// Until then, by the wall clock, others may have held.
    pub policed_us: u64,
}

impl Rights {
    /// Those of a new realm: everybody may read, or nobody else.
    pub fn new(owner: User, nonce: u128, private: bool, name: &str) -> Rights {
        let nonce = nonce & !1 | u128::from(private);
        let all = Grant { to: Grantee::Public, privileges: Privileges::READ };
        let grants = if private { Vec::new() } else { vec![all] };
        let (name, former, policies) = (name.to_owned(), Vec::new(), Vec::new());
        Rights { format: FORMAT, owner, nonce, version: 1, name, grants, former, policies, policed_us: 0 }
    }

    /// The realm that they are of.
    pub fn realm(&self) -> Realm {
        Realm::of(&self.owner, self.nonce)
    }

    /// What a user may do.
    pub fn of(&self, user: &User) -> Privileges {
        if *user == self.owner {
            return Privileges::ALL.and(Privileges::OWN);
        }
        let to = |grant: &&Grant| grant.to.includes(user);
        self.grants.iter().filter(to).fold(Privileges::default(), |all, grant| all.and(grant.privileges))
    }

    /// What a user may have done at a time, by what is remembered.
    pub fn at(&self, user: &User, wall_us: u64) -> Privileges {
        let former = self.former.iter().filter(|(grant, until_us)| grant.to.includes(user) && wall_us <= *until_us);
        former.fold(self.of(user), |all, (grant, _)| all.and(grant.privileges))
    }

    /// Gives privileges, or takes them; a change of the version, if it is one. What is taken was good until `until_us`.
    /// False: there would be too many grants.
    pub fn change(&mut self, to: Grantee, privileges: Privileges, give: bool, until_us: u64) -> bool {
        let before = self.grants.iter().find(|grant| grant.to == to).map_or(Privileges::default(), |it| it.privileges);
        let after = if give { before.and(privileges) } else { before.without(privileges) };
        if after == before {
            return true;
        }
        let taken = before.without(after);
        if !taken.is_empty() {
            self.former.retain(|(grant, _)| *grant != Grant { to, privileges: taken });
            self.former.push((Grant { to, privileges: taken }, until_us));
            self.former.drain(..self.former.len().saturating_sub(GRANTS_MAX));
        }
        self.grants.retain(|grant| grant.to != to);
        if !after.is_empty() {
            self.grants.push(Grant { to, privileges: after });
        }
        self.version += 1;
        self.grants.len() <= GRANTS_MAX
    }

    /// Has another set of policies from now on; others were good until `until_us`.
    pub fn police(&mut self, policies: Vec<Policy>, until_us: u64) {
        (self.policies, self.policed_us) = (policies, until_us);
        self.version += 1;
    }

    /// What they take in memory, about.
    pub fn bytes(&self) -> usize {
        let policies: usize = self.policies.iter().map(Policy::bytes).sum();
        128 + policies + self.grants.len() * size_of::<Grant>() + self.former.len() * size_of::<(Grant, u64)>()
    }

    /// From the value of a record.
    pub fn decode(bytes: &[u8]) -> Option<Rights> {
        if bytes.len() > BYTES_MAX {
            return None;
        }
        let rights: Rights = postcard::from_bytes(bytes).ok()?;
        let bounded = rights.grants.len() <= GRANTS_MAX && rights.former.len() <= GRANTS_MAX;
        let bounded =
            bounded && rights.policies.len() <= POLICIES_MAX && rights.policies.iter().all(Policy::is_bounded);
        (rights.format == FORMAT && bounded).then_some(rights)
    }

    /// The value of its record.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }
}
