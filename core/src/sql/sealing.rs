//! Plans what definitions and grants say of encryption: what a table seals, with which keys, and who gets these.

use std::sync::Arc;

use super::{
    ast::EncryptionDef,
    catalog::{TableDescriptor, check_name},
    details::Details,
    fault::{DUPLICATE_COLUMN, INSUFFICIENT_PRIVILEGE, INVALID_DEFINITION, UNSUPPORTED, advise, fail},
    plan::Settings,
    scope::Binder,
    target::position,
};
use crate::{
    Error,
    seal::{Keyring, Keys, Sealer, Sealing, Slot, realm_of, ring_op},
    store::{Action, Expect, KeyOp},
    trust::Grantee,
};

/// The keys of what has that name, if they are at hand.
pub(super) fn opened<'a>(keys: &'a Keys, name: &str) -> Result<&'a Arc<Keyring>, Error> {
    let why = match keys {
        Keys::Open(keyring) => return Ok(keyring),
        Keys::Shut(why, _) => why,
        Keys::None => "its keyring was not looked at",
    };
    fail(INSUFFICIENT_PRIVILEGE, format!("{name} is encrypted: {why}"))
}

impl Binder<'_> {
    /// What a table that is created seals.
    pub(super) fn sealing(
        &self,
        table: &TableDescriptor,
        details: &mut Details,
        def: &EncryptionDef,
    ) -> Result<Sealing, Error> {
        let Some(user) = self.settings.user else {
            return fail(INSUFFICIENT_PRIVILEGE, "an encrypted table belongs to a user, and this peer acts for nobody");
        };
        check_name(&def.keyring)?;
        if table.primary_key.is_empty() {
            let message = "an encrypted table needs a PRIMARY KEY: what is sealed is bound to its row by it";
            return fail(INVALID_DEFINITION, message);
        }
        let all = || (0..table.columns.len() as u32).filter(|at| !table.primary_key.contains(at)).collect();
        let named = |names: &Vec<String>| names.iter().map(|name| position(table, name)).collect::<Result<Vec<_>, _>>();
        let positions: Vec<u32> = def.columns.as_ref().map_or_else(|| Ok(all()), named)?;
        let mut sealing = Sealing {
            realm: realm_of(&user, &def.keyring),
            name: def.keyring.clone(),
            slots: Vec::new(),
            every: def.columns.is_none(),
            tags: def.equality,
        };
        for (at, position) in positions.iter().enumerate() {
            let name = &table.columns[*position as usize].name;
            if table.primary_key.contains(position) {
                let why = "is in the primary key, which cannot be encrypted: it says where a row is kept";
                return fail(UNSUPPORTED, format!("column \"{name}\" {why}"));
            }
            if positions[..at].contains(position) {
                return fail(DUPLICATE_COLUMN, format!("column \"{name}\" is to be encrypted twice"));
            }
            sealing.add(details, details.slots[*position as usize]);
        }
        Ok(sealing)
    }

    /// What seals the rows that are written of a table, where that is to be done and can be done.
    pub(super) fn sealer(&self, table: &TableDescriptor, details: &Details) -> Option<Sealer> {
        let (Some(sealing), Keys::Open(keyring)) = (&details.sealing, &table.keys) else { return None };
        Some(Sealer { keyring: keyring.clone(), slots: sealing.slots.clone(), random: self.settings.random })
    }

    /// Whether new values can be sealed in a table, or in one column of it.
    pub(super) fn may_seal(&self, table: &TableDescriptor, details: &Details, slot: Option<u32>) -> Result<(), Error> {
        let concerned = slot.map_or(details.sealing.is_some(), |slot| details.sealed(slot).is_some());
        if concerned { opened(&table.keys, &format!("table \"{}\"", table.name)).map(drop) } else { Ok(()) }
    }
}

impl Sealing {
    /// One more column is sealed.
    pub(super) fn add(&mut self, details: &mut Details, cell: u32) {
        let tag = self.tags.then(|| {
            details.width += 1;
            details.width - 1
        });
        self.slots.push(Slot { cell, tag });
    }
}

/// What becomes of the keyring of a table where users are granted to read it, or no longer.
pub(super) fn granted(
    table: &TableDescriptor,
    to: &[Grantee],
    give: bool,
    settings: &Settings,
) -> Result<Option<KeyOp>, Error> {
    let mut members = Vec::with_capacity(to.len());
    for to in to {
        match to {
            Grantee::User(user) => members.push(*user),
            Grantee::Public => {
                let message = format!("SELECT on table \"{}\", which is encrypted, by PUBLIC", table.name);
                let hint = "Its keys are given to users, each by name; other privileges may be granted to PUBLIC.";
                return advise(UNSUPPORTED, message, hint);
            }
        }
    }
    let keyring = opened(&table.keys, &format!("table \"{}\"", table.name))?;
    let (user, random) = (settings.user.as_ref(), settings.random);
    let ring = match give {
        true => keyring.with(user, &members, random)?,
        false => keyring.without(user, &members, random)?,
    };
    Ok(ring.map(|ring| {
        let expect = Expect::Version(keyring.version());
        ring_op(keyring.realm(), Action::Put { value: ring.encode(), expect, ttl_us: None })
    }))
}

/// The slot by which an index has a column: of a sealed one its tag.
pub(super) fn index_slot(table: &TableDescriptor, details: &Details, position: u32) -> Result<u32, Error> {
    let slot = details.slots[position as usize];
    match details.sealed(slot) {
        None => Ok(slot),
        Some(Slot { tag: Some(tag), .. }) => Ok(tag),
        Some(_) => {
            let name = &table.columns[position as usize].name;
            fail(
                UNSUPPORTED,
                format!("column \"{name}\" was sealed WITH (encryption_equality = false): it has no tags to index"),
            )
        }
    }
}
