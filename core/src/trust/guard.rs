//! What a write must be allowed for.

use super::{Privilege, Privileges, Realm, Rights, User, What};
use crate::store::{KeyOp, Record};

/// The namespace of [`Rights`]: a key is a realm.
pub const RIGHTS: &str = "pontoon.rights";
/// The namespace of tables and views by name: an entry may be claimed.
pub const TABLES: &str = "pontoon.tables";
/// The namespace of indexes by name: an entry may be claimed.
pub const INDEXES: &str = "pontoon.indexes";

/// What the namespaces of index entries begin with.
const TREES: &str = "pontoon.index.";
/// What the value of a claimed entry begins with; then comes its realm. No table and no index has a name so long that an
/// entry that is not claimed could begin so.
const CLAIM: [u8; 2] = [0xff, b'@'];

/// The value of an entry that belongs to a realm.
pub fn claimed(realm: Option<Realm>, value: Vec<u8>) -> Vec<u8> {
    match realm {
        Some(realm) => [&CLAIM[..], &realm.0, &value].concat(),
        None => value,
    }
}

/// The realm of an entry, and the rest of its value.
pub fn unclaimed(value: &[u8]) -> (Option<Realm>, &[u8]) {
    let claim = value.strip_prefix(&CLAIM).and_then(|behind| behind.split_first_chunk::<16>());
    claim.map_or((None, value), |(realm, rest)| (Some(Realm(*realm)), rest))
}

/// What a write must be allowed for. Nothing: everybody may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Everybody may.
    Open,
    /// Who signs it must have one of these privileges in each realm.
    Realms(Vec<(Realm, Privileges)>),
    /// It is about the rights of a realm itself.
    Rights,
}

impl Guard {
    /// Whether an operation may be one that must be signed.
    pub fn may_concern(op: &KeyOp) -> bool {
        let namespace = &op.namespace[..];
        !op.action.reads()
            && (Realm::of_namespace(namespace).is_some() || matches!(namespace, RIGHTS | TABLES | INDEXES))
    }

    /// That of a write of a key: what it does, the value that it brings, and what is held.
    pub fn of(
        namespace: &str,
        what: Option<&What>,
        value: Option<&[u8]>,
        held: Option<&Record>,
        wall_us: u64,
    ) -> Guard {
        let there = held.filter(|held| held.visible(wall_us)).and_then(|held| held.value.as_deref());
        if namespace == RIGHTS {
            return Guard::Rights;
        }
        if matches!(namespace, TABLES | INDEXES) {
            let (was, is) = (there.and_then(|it| unclaimed(it).0), value.and_then(|it| unclaimed(it).0));
            let change = if value.is_some() { Privileges::these(&[Privilege::Alter]) } else { Privileges::OWN };
            // Names of indexes go with what is altered.
            let change = if namespace == INDEXES { Privileges::these(&[Privilege::Alter]) } else { change };
            let claim = is.filter(|is| was != Some(*is)).map(|is| (is, claim(namespace)));
            let realms: Vec<_> = was.map(|was| (was, change)).into_iter().chain(claim).collect();
            return if realms.is_empty() { Guard::Open } else { Guard::Realms(realms) };
        }
        let Some(realm) = Realm::of_namespace(namespace) else { return Guard::Open };
        let privileges = match what {
            _ if namespace.starts_with(TREES) => Privileges::WRITE.and(Privileges::these(&[Privilege::Alter])),
            Some(What::Put { .. }) if there.is_some() => Privileges::these(&[Privilege::Update]),
            Some(What::Put { .. }) => Privileges::these(&[Privilege::Insert]),
            Some(What::Remove { .. }) => Privileges::these(&[Privilege::Delete]),
            // A node of a tree where rows are, or what cannot be signed.
            Some(What::Edit(_)) | None => Privileges::default(),
        };
        Guard::Realms(vec![(realm, privileges)])
    }

    /// Whether a record is one that must be signed, whatever was there before.
    pub fn must_prove(record: &Record) -> bool {
        let claimed = || record.value.as_deref().is_some_and(|value| unclaimed(value).0.is_some());
        match &record.namespace[..] {
            RIGHTS => true,
            TABLES | INDEXES => claimed(),
            namespace => Realm::of_namespace(namespace).is_some(),
        }
    }
}

/// Who takes a realm's name for a table is its owner; an index gets its name from who alters the table.
fn claim(namespace: &str) -> Privileges {
    if namespace == TABLES { Privileges::OWN } else { Privileges::these(&[Privilege::Alter]) }
}

/// Whether a user may make this of the rights of a realm. They are never removed: a realm that nobody could name would be
/// nobody's.
pub fn may_decide(user: &User, key: &[u8], value: Option<&[u8]>, held: Option<&Rights>) -> bool {
    let rights = value.and_then(Rights::decode);
    rights.is_some_and(|new| {
        let next = held.map_or(0, |held| held.version) + 1;
        new.owner == *user && new.realm().0 == *key && new.version == next
    })
}
