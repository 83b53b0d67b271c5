//! What a write must be allowed for.

use super::{Privilege, Privileges, Realm, Rights, User, What};
use crate::store::{Expect, KeyOp, Record};

/// The namespace of [`Rights`]: a key is a realm. Where records go in the order of their namespaces it comes before what it
/// is about.
pub const RIGHTS: &str = "pontoon.grants";
/// The namespace of tables and views by name: an entry may be claimed.
pub const TABLES: &str = "pontoon.tables";
/// The namespace of indexes by name: an entry may be claimed.
pub const INDEXES: &str = "pontoon.indexes";

/// What the namespaces of index entries begin with.
pub const TREES: &str = "pontoon.index.";
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

/// A write, as far as it must be allowed.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The key.
    pub key: &'a [u8],
    /// What it does, if that can be signed.
    pub what: Option<What>,
    /// The value that it brings.
    pub value: Option<&'a [u8]>,
    /// What is held of its key.
    pub held: Option<&'a Record>,
    /// It was judged before, by who ordered it: what is held here may be older than what was there.
    pub copy: bool,
    /// By who has another history of the network, and may be anybody.
    pub donated: bool,
}

/// What a write must be allowed for.
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
        !op.action.reads() && guarded(&op.namespace)
    }

    /// What a write must be allowed for.
    pub fn of(case: &Case<'_>, wall_us: u64) -> Guard {
        let there = case.held.filter(|held| held.visible(wall_us)).and_then(|held| held.value.as_deref());
        match case.namespace {
            RIGHTS => Guard::Rights,
            TABLES | INDEXES => of_entry(case, there),
            namespace => match Realm::of_namespace(namespace) {
                None => Guard::Open,
                Some((realm, _)) if namespace.starts_with(TREES) => {
                    Guard::Realms(vec![(realm, of_node(case.what.as_ref()))])
                }
                Some((realm, _)) => Guard::Realms(vec![(realm, of_row(case, there.is_some()))]),
            },
        }
    }

    /// Whether a record is one that must be signed, whatever was there before.
    pub fn must_prove(record: &Record) -> bool {
        match &record.namespace[..] {
            RIGHTS => true,
            TABLES | INDEXES => record.value.as_deref().is_some_and(|value| unclaimed(value).0.is_some()),
            namespace => Realm::of_namespace(namespace).is_some(),
        }
    }

    /// Whether a record may take the place of another one of its key: what must be proven gives way to what is proven, at the
    /// same place.
    pub fn gives_way(held: &Record, record: &Record) -> bool {
        let same = held.locality_bits == record.locality_bits;
        !guarded(&held.namespace) || same && (record.proof.is_some() || !Guard::must_prove(held))
    }

    /// Whether something lies where it belongs: elsewhere nobody would know what is there already. Where an entry of the
    /// catalog belongs only who asks knows; a store keeps one of a name.
    pub fn in_place(namespace: &str, locality_bits: u8) -> bool {
        let bits = Realm::of_namespace(namespace).map(|(_, bits)| bits);
        bits.or((namespace == RIGHTS).then_some(0)).is_none_or(|bits| bits == locality_bits)
    }
}

/// Whether writes of a namespace may have to be signed.
pub fn guarded(namespace: &str) -> bool {
    matches!(namespace, RIGHTS | TABLES | INDEXES) || Realm::of_namespace(namespace).is_some()
}

/// Entries of the catalog: who claims one for a realm, or takes it out of one, owns that.
fn of_entry(case: &Case<'_>, there: Option<&[u8]>) -> Guard {
    let alter = Privileges::these(&[Privilege::Alter]);
    let index = case.namespace == INDEXES;
    let (was, is) = (there.and_then(|it| unclaimed(it).0), case.value.and_then(|it| unclaimed(it).0));
    let own = if index { alter } else { Privileges::OWN };
    // Who has not seen the entry as it was does not know that it was claimed already.
    let claim = if case.copy && there.is_none() { own.and(alter) } else { own };
    let realms = match (was, is) {
        (Some(was), Some(is)) if was == is => vec![(was, alter)],
        (was, is) => was.map(|was| (was, own)).into_iter().chain(is.map(|is| (is, claim))).collect(),
    };
    if realms.is_empty() { Guard::Open } else { Guard::Realms(realms) }
}

/// Rows: the condition says what a write is, where it has one.
fn of_row(case: &Case<'_>, there: bool) -> Privileges {
    let (insert, update) = (Privileges::these(&[Privilege::Insert]), Privileges::these(&[Privilege::Update]));
    match case.what {
        Some(What::Put { .. }) if case.donated && there => update,
        Some(What::Put { expect: Expect::Absent, .. }) => insert,
        Some(What::Put { expect: Expect::Version(_), .. }) => update,
        Some(What::Put { expect: Expect::Any, .. }) if case.copy => insert.and(update),
        Some(What::Put { expect: Expect::Any, .. }) => {
            if there {
                update
            } else {
                insert
            }
        }
        Some(What::Remove { .. }) => Privileges::these(&[Privilege::Delete]),
        // A node of a tree where rows are, or what cannot be signed.
        Some(What::Edit(_) | What::Read) | None => Privileges::default(),
    }
}

/// Nodes of index trees: who writes rows edits, splits and unites them, as they were when that began.
fn of_node(what: Option<&What>) -> Privileges {
    let alter = Privileges::these(&[Privilege::Alter]);
    match what.map(What::expect) {
        Some(None | Some(Expect::Absent | Expect::Version(_))) => Privileges::WRITE.and(alter),
        _ => Privileges::OWN.and(alter),
    }
}

/// Whether a user may make this of the rights of a realm. They are never removed: a realm that nobody could name would be
/// nobody's.
pub fn may_decide(user: &User, case: &Case<'_>, held: Option<&Rights>) -> bool {
    let rights = case.value.and_then(Rights::decode);
    rights.is_some_and(|new| {
        let before = held.map_or(0, |held| held.version);
        let follows = if case.copy { new.version > before } else { new.version == before + 1 };
        new.owner == *user && new.realm().0 == *case.key && follows
    })
}
