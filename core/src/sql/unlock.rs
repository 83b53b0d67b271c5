//! Opens the keyrings of the tables that a statement names, before it is planned.
//!
//! ```text
//!   rings ──▶ what the user agrees on with their owners ──▶ keys, beside the definitions of the tables
//! ```
//!
//! CREATE TABLE finds the keyring that it names, or makes it. GRANT and REVOKE also need what its owner agrees on with
//! those who get its keys.

use super::{
    ast::{CreateTable, Statement},
    fault::{CORRUPTED, INSUFFICIENT_PRIVILEGE, INTERNAL, fail},
    plan::Tables,
};
use crate::{
    Error,
    crypto::Secret,
    exec::run::Need,
    map::Map,
    seal::{Keyring, Keys, Ring, realm_of, rights_of, ring_op},
    store::{Action, Expect, KeyOp, Outcome, Version},
    trust::{Grantee, Realm, User, rights_op},
};

/// See the module's documentation.
pub(super) struct Unlocking {
    user: Option<User>,
    random: u128,
    realms: Vec<Realm>,
    /// The keyring that is made, if it is not there.
    made: Option<String>,
    change: Change,
    stage: Stage,
}

/// What the statement does to who has the keys.
#[derive(PartialEq)]
enum Change {
    Nothing,
    Give(Vec<User>),
    Take,
}

enum Stage {
    /// The rings are to be read.
    Look,
    /// They are being read.
    Rings(u32),
    /// This is to be agreed on.
    Ask(Vec<Found>, Vec<User>),
    /// It is being agreed on.
    Agree(u32, Vec<Found>, Vec<User>),
    /// Everything is there.
    Over(Opened),
}

/// A ring, if there is one.
type Found = Option<(Ring, Version)>;

/// What came of it.
#[derive(Default)]
pub(super) struct Opened {
    /// By the realms of keyrings.
    keys: Map<Realm, Keys>,
    /// What makes the keyring that the statement names, one after the other.
    pub made: Vec<KeyOp>,
}

impl Unlocking {
    /// `None`: nothing is to be opened.
    pub fn new(
        statement: &Statement,
        names: &[String],
        tables: &Tables,
        (user, random): (Option<User>, u128),
    ) -> Result<Option<Unlocking>, Error> {
        let statement = match statement {
            Statement::Explain(inner) | Statement::ExplainWith { statement: inner, .. } => inner,
            other => other,
        };
        let (mut realms, mut made, mut change) = (Vec::new(), None, Change::Nothing);
        match statement {
            Statement::CreateTable(CreateTable { encryption: Some(def), .. }) => {
                // Without a user it is refused when it is planned.
                realms.extend(user.map(|user| realm_of(&user, &def.keyring)));
                made = user.is_some().then(|| def.keyring.clone());
            }
            Statement::Grant { give: true, to, .. } => {
                let user = |to: &Grantee| match to {
                    Grantee::User(user) => Some(*user),
                    Grantee::Public => None,
                };
                change = Change::Give(to.iter().filter_map(user).collect());
            }
            Statement::Grant { give: false, .. } => change = Change::Take,
            _ => {}
        }
        for (table, _) in names.iter().filter_map(|name| tables.get(name)) {
            if let Some(sealing) = table.details()?.sealing
                && (table.keys == Keys::None || change != Change::Nothing)
                && !realms.contains(&sealing.realm)
            {
                realms.push(sealing.realm);
            }
        }
        let stage = Stage::Look;
        Ok((!realms.is_empty()).then_some(Unlocking { user, random, realms, made, change, stage }))
    }

    /// The next thing it needs, if any, numbered from behind `serial`.
    pub fn poll(&mut self, serial: &mut u32) -> Option<Need> {
        let need = *serial + 1;
        let (stage, asked) = match core::mem::replace(&mut self.stage, Stage::Look) {
            Stage::Look => {
                let ops = self.realms.iter().map(|realm| ring_op(*realm, Action::Get)).collect();
                (Stage::Rings(need), Some(Need::Ops { need, ops }))
            }
            Stage::Ask(found, with) => (Stage::Agree(need, found, with.clone()), Some(Need::Agree { need, with })),
            other => (other, None),
        };
        self.stage = stage;
        *serial += u32::from(asked.is_some());
        asked
    }

    /// Takes in the rings.
    pub fn on_ops(&mut self, need: u32, outcomes: Vec<Outcome>) -> Result<(), Error> {
        if !matches!(self.stage, Stage::Rings(asked) if asked == need) || outcomes.len() != self.realms.len() {
            return Ok(());
        }
        let (mut rings, mut with) = (Vec::with_capacity(outcomes.len()), Vec::new());
        for (realm, outcome) in self.realms.iter().zip(outcomes) {
            rings.push(match outcome {
                Outcome::Found { value, version, .. } => match Ring::decode(&value, *realm) {
                    Some(ring) => Some((ring, version)),
                    None => return fail(CORRUPTED, "a keyring does not read"),
                },
                Outcome::Absent => None,
                Outcome::Unreachable => return Err(Error::Unreachable),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                _ => return fail(INTERNAL, "not what a get is answered"),
            });
        }
        for (ring, _) in rings.iter().flatten().filter(|(ring, _)| ring.members().any(|it| Some(*it) == self.user)) {
            with.push(ring.owner);
            match &self.change {
                _ if Some(ring.owner) != self.user => {}
                Change::Nothing => {}
                Change::Give(users) => with.extend(users),
                Change::Take => with.extend(ring.members()),
            }
        }
        with.extend(self.user.filter(|_| self.made.is_some()));
        with.sort_unstable();
        with.dedup();
        if with.is_empty() {
            return self.open(rings, Map::new());
        }
        self.stage = Stage::Ask(rings, with);
        Ok(())
    }

    /// Takes in what was agreed on.
    pub fn on_agreed(&mut self, need: u32, agreed: Vec<Option<Secret>>) -> Result<(), Error> {
        match core::mem::replace(&mut self.stage, Stage::Look) {
            Stage::Agree(asked, rings, with) if asked == need && with.len() == agreed.len() => {
                let agreed = with.into_iter().zip(agreed).filter_map(|(user, secret)| Some((user, secret?)));
                self.open(rings, agreed.collect())
            }
            other => {
                self.stage = other;
                Ok(())
            }
        }
    }

    fn open(&mut self, rings: Vec<Found>, agreed: Map<User, Secret>) -> Result<(), Error> {
        let mut opened = Opened::default();
        for (realm, found) in self.realms.iter().zip(rings) {
            let keys = match (found, self.user) {
                (Some((ring, version)), Some(user)) => Keyring::open(ring, version, &user, agreed.clone())?,
                (found, None) => Keys::Shut("this peer acts for nobody", found.map(|(_, version)| version)),
                (None, Some(_)) => Keys::Shut("its keyring is not there", None),
            };
            opened.keys.insert(*realm, keys);
        }
        if let (Some(name), Some(user)) = (&self.made, self.user) {
            let Some(own) = agreed.get(&user) else {
                let message = "only a session of the user is at hand, and to encrypt takes the user's own key";
                return fail(INSUFFICIENT_PRIVILEGE, message);
            };
            let absent = |keys: &Keys| keys.version().is_none();
            if opened.keys.get(&realm_of(&user, name)).is_some_and(absent) {
                let (ring, rights) = (Ring::new(user, name, own, self.random), rights_of(user, name));
                let put = |value| Action::Put { value, expect: Expect::Absent, ttl_us: None };
                opened.made =
                    vec![rights_op(rights.realm(), put(rights.encode())), ring_op(ring.realm(), put(ring.encode()))];
            }
        }
        self.stage = Stage::Over(opened);
        Ok(())
    }

    /// What came of it, once.
    pub fn finished(&mut self) -> Option<Opened> {
        match &mut self.stage {
            Stage::Over(opened) => Some(core::mem::take(opened)),
            _ => None,
        }
    }
}

impl Opened {
    /// Hands the keys to those who plan with these definitions.
    pub fn attach(&self, names: &[String], tables: &mut Tables) -> Result<(), Error> {
        for name in names {
            if let Some((table, _)) = tables.get_mut(name)
                && let Some(keys) = table.details()?.sealing.and_then(|sealing| self.keys.get(&sealing.realm))
            {
                table.keys = keys.clone();
            }
        }
        Ok(())
    }
}
