//! Judges writes where they are stored.

use std::collections::VecDeque;

use super::{
    Case, Guard, INDEXES, Privileges, Proof, RIGHTS, Realm, Rights, TABLES, User,
    guard::{TREES, guarded, may_decide},
    policy::RowChange,
    proof::{Hash, What, reading},
    verified::Verified,
};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    map::Map,
    store::{Action, Expect, KeyOp, Outcome, Record, Refusal, Version, record::EARLIER_MAX},
};

/// Rights that were read hold for so long: a change of rights is over after this, microseconds.
pub const LEASE_US: u64 = 3 * SECOND_US;
/// So long before its end a lease that is used is renewed.
const RENEW_US: u64 = SECOND_US;
/// Rights that could not be read are read again after so long.
const AGAIN_US: u64 = SECOND_US / 3;
/// Realms whose rights are known, and the bytes of these.
const REALMS_MAX: usize = 1_024;
const RIGHTS_BYTES: usize = 8 << 20;
/// Who wrote something may take it back for so long: a statement that fails does.
const TAKE_BACK_US: u64 = 60 * SECOND_US;

/// What is to become of a write, or of a read in a private realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be.
    Allowed,
    /// It may not.
    Refused(Refusal),
    /// The rights are being read.
    Later,
}

/// Who reads.
pub enum Reader<'a> {
    /// This node's own application.
    Own,
    /// Whom a credential names, if there is one.
    Shown(Option<&'a Proof>),
}

impl Reader<'_> {
    /// Who reads by an operation that this node executes: itself, unless it shows another's credential.
    pub fn here(op: &KeyOp) -> Reader<'_> {
        op.proof.as_deref().map_or(Reader::Own, |proof| Reader::Shown(Some(proof)))
    }
}

/// The rights of a realm as they were read.
struct Known {
    /// `None`: there are none, so nobody may do anything.
    rights: Option<Rights>,
    /// The latest version that was ever read: an older one is not believed.
    newest: u64,
    bytes: usize,
    /// Monotone clock.
    until_us: u64,
}

/// See the module.
#[derive(Default)]
pub struct Keeper {
    known: Map<Realm, Known>,
    /// Rights that are being read, by ticket, and since when.
    asking: Map<u64, (Realm, u64)>,
    due: VecDeque<Realm>,
    /// Realms whose rights could not be read, and when that was.
    failed: Map<Realm, u64>,
    verified: Verified,
}

impl Keeper {
    /// An operation that this node is asked for as the key's owner. `clock_us` is what its version will be above.
    pub fn judge(
        &mut self,
        ctx: &mut Ctx,
        (op, author, tag): (&mut KeyOp, Id, u64),
        held: Option<&Record>,
        clock_us: u64,
    ) -> Verdict {
        let signed = op.proof.take();
        if !Guard::may_concern(op) {
            return Verdict::Allowed;
        }
        if !Guard::in_place(&op.namespace, op.locality_bits) {
            return Verdict::Refused(Refusal::Malformed);
        }
        let what = What::of(&op.action);
        let (namespace, key, value) = (&op.namespace[..], &op.key[..], op.action.value());
        let case = Case { namespace, key, what, value, held, copy: false, donated: false };
        let guard = Guard::of(&case, ctx.now.wall);
        if guard == Guard::Open {
            return Verdict::Allowed;
        }
        let Some(mut proof) = signed else {
            ctx.count("trust.unsigned");
            return Verdict::Refused(Refusal::Unsigned);
        };
        let leaf = proof.leaf_of_op(op, tag);
        if what != Some(proof.what) || proof.author() != author || !self.proves(ctx, &mut proof, leaf) {
            ctx.count("trust.forged");
            return Verdict::Refused(Refusal::Forged);
        }
        if !timely(ctx, &proof, held, clock_us) {
            ctx.count("trust.late");
            return Verdict::Refused(Refusal::Late);
        }
        let verdict = self.decide(ctx, &case, Some(proof.pass.session.user), &guard, None);
        op.proof = Some(proof);
        verdict
    }

    /// Somebody wants to know what is in a namespace.
    pub fn judge_reader(&mut self, ctx: &mut Ctx, namespace: &str, reader: &Reader<'_>) -> Verdict {
        let Some(realm) = Realm::private(namespace) else { return Verdict::Allowed };
        let user = match reader {
            Reader::Own => ctx.signer.user(),
            Reader::Shown(None) => None,
            Reader::Shown(Some(proof)) => {
                let mut proof = (*proof).clone();
                if proof.what != What::Read || !self.proves(ctx, &mut proof, reading(&realm)) {
                    ctx.count("trust.forged");
                    return Verdict::Refused(Refusal::Forged);
                }
                if !fresh(ctx, &proof) {
                    ctx.count("trust.late");
                    return Verdict::Refused(Refusal::Late);
                }
                Some(proof.pass.session.user)
            }
        };
        let Some(user) = user else {
            ctx.count("trust.unsigned");
            return Verdict::Refused(Refusal::Unsigned);
        };
        match self.may(ctx, realm, &user, Privileges::READ, false, None) {
            Some(true) => Verdict::Allowed,
            Some(false) => forbidden(ctx),
            None => Verdict::Later,
        }
    }

    /// Whether a user may read in a private namespace, as far as is known.
    pub fn may_read(&mut self, ctx: &Ctx, namespace: &str, user: &User) -> bool {
        let realm = Realm::private(namespace);
        realm.is_none_or(|realm| self.may(ctx, realm, user, Privileges::READ, false, None) == Some(true))
    }

    /// A record that another peer has judged, and that is to be held here beside or instead of what is held: by the owner of
    /// its key, or, `donated`, in another history of the network, as anybody may say.
    pub fn judge_copy(&mut self, ctx: &mut Ctx, record: &mut Record, held: Option<&Record>, donated: bool) -> Verdict {
        if !self.lawful(ctx, record) {
            return Verdict::Refused(Refusal::Forged);
        }
        // What is held already was judged when it came.
        if held.is_some_and(|held| held.version == record.version) {
            return Verdict::Allowed;
        }
        let what = record.proof.as_ref().map(|proof| proof.what);
        let (namespace, key, value) = (&record.namespace[..], &record.key[..], record.value.as_deref());
        let case = Case { namespace, key, what, value, held, copy: true, donated };
        let guard = Guard::of(&case, ctx.now.wall);
        if guard == Guard::Open {
            return Verdict::Allowed;
        }
        if held.is_some_and(|held| repeats(held, record, donated)) {
            ctx.count("trust.replayed");
            return Verdict::Refused(Refusal::Late);
        }
        let user = record.proof.as_ref().map(|proof| proof.pass.session.user);
        // Whoever ordered it judged it when it was written; of a stranger's word only what may be written now is taken.
        let at_us = (!donated).then_some(record.version.wall_us);
        self.decide(ctx, &case, user, &guard, at_us)
    }

    /// Whether a record is what its author signed, as far as that must be. What need not be proven keeps no proof.
    pub fn lawful(&mut self, ctx: &mut Ctx, record: &mut Record) -> bool {
        if !guarded(&record.namespace) {
            record.proof = None;
            return true;
        }
        let in_place = Guard::in_place(&record.namespace, record.locality_bits);
        let lawful = in_place
            && match record.proof.take() {
                None => !Guard::must_prove(record),
                Some(mut proof) => {
                    let proven = self.proven(ctx, record, &mut proof);
                    record.proof = Some(proof);
                    proven
                }
            };
        if !lawful {
            ctx.count("trust.unproven");
        }
        lawful
    }

    fn proven(&mut self, ctx: &Ctx, record: &Record, proof: &mut Proof) -> bool {
        let (wall_us, skew_us) = (record.version.wall_us, ctx.config.clock_skew_max_us);
        let fits = match proof.what {
            What::Put { .. } => record.value.is_some(),
            // Of an edit the value is not signed.
            What::Edit(_) => record.value.is_some() && record.namespace.starts_with(TREES),
            What::Remove { .. } => record.value.is_none(),
            What::Read => false,
        };
        let parent = match proof.what.expect() {
            Some(Expect::Version(version)) => record.parent == Some(version),
            _ => true,
        };
        let expires = match (proof.what, record.expiry_us) {
            (What::Put { ttl_us: Some(ttl_us), .. }, Some(expiry_us)) => {
                expiry_us.abs_diff(wall_us.saturating_add(ttl_us)) <= 2 * skew_us
            }
            (What::Put { ttl_us: Some(_), .. }, None) | (_, Some(_)) => false,
            (_, None) => true,
        };
        let leaf = proof.leaf_of(record);
        fits && parent
            && expires
            && proof.author() == record.version.author
            && wall_us.abs_diff(proof.pass.at_us) <= 2 * skew_us
            && wall_us <= ctx.now.wall.saturating_add(skew_us)
            && proof.pass.at_us <= ctx.now.wall.saturating_add(skew_us)
            && self.proves(ctx, proof, leaf)
            && (record.namespace != RIGHTS || rights_of(record, &proof.pass.session.user))
    }

    /// Whether a proof is one, of this leaf.
    fn proves(&mut self, ctx: &Ctx, proof: &mut Proof, leaf: Hash) -> bool {
        self.verified.proves(&*ctx.signer.identity, &ctx.config.network, proof, leaf)
    }

    /// Whether `user` may, now; or at a time, as far as is remembered.
    fn decide(
        &mut self,
        ctx: &mut Ctx,
        case: &Case<'_>,
        user: Option<User>,
        guard: &Guard,
        at_us: Option<u64>,
    ) -> Verdict {
        let Some(user) = user else {
            return if *guard == Guard::Open { Verdict::Allowed } else { forbidden(ctx) };
        };
        let realms = match guard {
            Guard::Open => return Verdict::Allowed,
            Guard::Realms(realms) => realms,
            Guard::Rights => {
                let held = case.held.filter(|held| held.visible(ctx.now.wall));
                let held = held.and_then(|held| Rights::decode(held.value.as_deref()?));
                let may = may_decide(&user, case, held.as_ref());
                return if may { Verdict::Allowed } else { forbidden(ctx) };
            }
        };
        if takes_back(ctx, case, &user) {
            return Verdict::Allowed;
        }
        let mut verdict = Verdict::Allowed;
        for (realm, privileges) in realms {
            match self.may(ctx, *realm, &user, *privileges, case.copy, at_us) {
                Some(true) if self.polices(ctx, *realm, &user, case, *privileges, at_us) => {}
                Some(true) => {
                    ctx.count("trust.policed");
                    return Verdict::Refused(Refusal::Forbidden);
                }
                Some(false) => return forbidden(ctx),
                None => verdict = Verdict::Later,
            }
        }
        verdict
    }

    /// Whether a user has one of these privileges; `None`: that is being asked for.
    fn may(
        &mut self,
        ctx: &Ctx,
        realm: Realm,
        user: &User,
        privileges: Privileges,
        copy: bool,
        at_us: Option<u64>,
    ) -> Option<bool> {
        let now = ctx.now.mono;
        let known = self.known.get(&realm).filter(|known| now < known.until_us);
        let has = |rights: &Rights| match at_us {
            Some(at_us) => rights.at(user, at_us).any(privileges),
            // What is there already is told to who writes: in a private realm writes only who may read, too.
            None => rights.of(user).any(privileges) && (!realm.is_private() || rights.of(user).any(Privileges::READ)),
        };
        // Where there are no rights nobody writes; what comes of another history may be there before they are.
        let may = known.map(|known| known.rights.as_ref().map_or(copy, has));
        if known.is_none_or(|known| now + RENEW_US >= known.until_us) {
            self.ask(now, realm);
        }
        may
    }

    /// Whether the policies of a realm allow what is to become of a row to a user who may write in this way.
    fn polices(
        &self,
        ctx: &Ctx,
        realm: Realm,
        user: &User,
        case: &Case<'_>,
        on: Privileges,
        at_us: Option<u64>,
    ) -> bool {
        let rights = self.known.get(&realm).and_then(|known| known.rights.as_ref());
        let rights = rights.filter(|rights| !rights.policies.is_empty() && rights.owner != *user);
        let row = !matches!(case.namespace, TABLES | INDEXES) && !case.namespace.starts_with(TREES);
        let Some(rights) = rights.filter(|_| row) else { return true };
        // Whoever ordered it judged it by those that held then.
        if at_us.is_some_and(|at_us| at_us <= rights.policed_us) {
            return true;
        }
        let expected = case.what.and_then(|what| what.expect());
        let there = |held: &&Record| {
            let matters = match (case.copy, case.donated) {
                (_, true) => true,
                // What is held of a copy's key may be older than what was there.
                (true, false) => expected == Some(Expect::Version(held.version)),
                // What must not be there is a conflict, which is not for policies to say.
                (false, false) => expected != Some(Expect::Absent),
            };
            matters && held.visible(ctx.now.wall)
        };
        let old = case.held.filter(there).and_then(RowChange::row);
        RowChange { old, new: case.value.map(|value| (case.key, value)) }.allowed(&rights.policies, user, on)
    }

    fn ask(&mut self, now_us: u64, realm: Realm) {
        let asked = self.due.contains(&realm) || self.asking.values().any(|(asked, _)| *asked == realm);
        if self.failed.len() >= REALMS_MAX {
            self.failed.retain(|_, since_us| now_us < *since_us + AGAIN_US);
        }
        let lately = self.failed.get(&realm).is_some_and(|since_us| now_us < since_us + AGAIN_US);
        // What failed and has no place to be noted must not be asked for again at once.
        let lately = lately || self.failed.len() >= REALMS_MAX;
        if !asked && !lately && self.asking.len() + self.due.len() < REALMS_MAX {
            self.due.push_back(realm);
        }
    }

    /// The next rights to be read, with their ticket.
    pub fn poll(&mut self, ctx: &mut Ctx) -> Option<(u64, KeyOp)> {
        let realm = self.due.pop_front()?;
        let ticket = ctx.serial();
        self.asking.insert(ticket, (realm, ctx.now.mono));
        ctx.count("trust.asked");
        Some((ticket, rights_op(realm, Action::Prove)))
    }

    /// Whether a ticket is of rights that are being read: here they are.
    pub fn done(&mut self, ctx: &mut Ctx, ticket: u64, outcome: &Outcome) -> bool {
        let Some((realm, since_us)) = self.asking.remove(&ticket) else { return false };
        match self.read(ctx, realm, outcome) {
            Some(rights) => {
                self.failed.remove(&realm);
                self.know(realm, rights, since_us);
            }
            None => {
                ctx.count("trust.unread");
                if self.failed.len() < REALMS_MAX {
                    self.failed.insert(realm, ctx.now.mono);
                }
            }
        }
        true
    }

    /// The rights that an outcome tells; `None`: nothing to be believed.
    fn read(&mut self, ctx: &mut Ctx, realm: Realm, outcome: &Outcome) -> Option<Option<Rights>> {
        let newest = self.known.get(&realm).map_or(0, |known| known.newest);
        let rights = match outcome {
            Outcome::Absent => None,
            Outcome::Proven(record) => {
                let mut record = (**record).clone();
                let named = record.namespace == RIGHTS && record.key == realm.0;
                let rights = record.value.as_deref().and_then(Rights::decode);
                Some(rights.filter(|_| named && self.lawful(ctx, &mut record))?)
            }
            _ => return None,
        };
        if rights.as_ref().map_or(0, |rights| rights.version) < newest {
            ctx.count("trust.rolled_back");
            return None;
        }
        Some(rights)
    }

    fn know(&mut self, realm: Realm, rights: Option<Rights>, since_us: u64) {
        let bytes = rights.as_ref().map_or(0, Rights::bytes);
        self.known.remove(&realm);
        let all = |known: &Map<Realm, Known>| known.values().map(|known| known.bytes).sum::<usize>();
        while self.known.len() >= REALMS_MAX || !self.known.is_empty() && all(&self.known) + bytes > RIGHTS_BYTES {
            // Invented realms push out one another, not those that there are.
            let least = self.known.iter().min_by_key(|(_, known)| (known.rights.is_some(), known.until_us));
            let Some(least) = least.map(|(realm, _)| *realm) else { break };
            self.known.remove(&least);
        }
        let newest = rights.as_ref().map_or(0, |rights| rights.version);
        self.known.insert(realm, Known { rights, newest, bytes, until_us: since_us + LEASE_US });
    }
}

/// An operation on the rights of a realm.
pub fn rights_op(realm: Realm, action: Action) -> KeyOp {
    KeyOp { namespace: RIGHTS.to_owned(), locality_bits: 0, key: realm.0.to_vec(), action, proof: None }
}

/// Whether an operation changes rights that somebody may hold by now.
pub fn revises(op: &KeyOp) -> bool {
    let rights = op.action.value().filter(|_| op.namespace == RIGHTS).and_then(Rights::decode);
    rights.is_some_and(|rights| rights.version > 1)
}

fn forbidden(ctx: &mut Ctx) -> Verdict {
    ctx.count("trust.forbidden");
    Verdict::Refused(Refusal::Forbidden)
}

/// Whether a write only removes a row that its user has just added: a statement that fails takes back what it wrote.
fn takes_back(ctx: &Ctx, case: &Case<'_>, user: &User) -> bool {
    let Some((held, proof)) = case.held.and_then(|held| Some((held, held.proof.as_ref()?))) else { return false };
    let row = !matches!(case.namespace, RIGHTS | TABLES | INDEXES);
    let added = matches!(proof.what, What::Put { expect: Expect::Absent, .. }) && proof.pass.session.user == *user;
    let removes = case.what == Some(What::Remove { expect: Expect::Version(held.version) });
    row && added && removes && ctx.now.wall.saturating_sub(held.version.wall_us) <= TAKE_BACK_US
}

/// Whether a signed write, which takes effect once, took it before what is held; or may have, as far as anybody can tell. A node
/// of a tree, whose value nobody signs, is no other history's.
fn repeats(held: &Record, record: &Record, donated: bool) -> bool {
    let Version { author, counter, .. } = record.version;
    let newer = held.version < record.version;
    let known = held.wrote(author, counter).is_some();
    let follows = record.descends(&held.version);
    let full = held.earlier.len() >= EARLIER_MAX;
    let before = |proof: &Proof| full && held.earlier.first().is_some_and(|(wall_us, _)| proof.pass.at_us <= *wall_us);
    let edited = |proof: &Proof| matches!(proof.what, What::Edit(_));
    let doubtful = |proof: &Proof| donated && !follows && (before(proof) || edited(proof));
    newer && (known || record.proof.as_deref().is_some_and(doubtful))
}

/// Whether a write was signed lately, and a copy of it that came before would be known: a record remembers the writes
/// before it for longer than a signature is good for, unless there were many.
fn timely(ctx: &Ctx, proof: &Proof, held: Option<&Record>, clock_us: u64) -> bool {
    let (at_us, skew_us) = (proof.pass.at_us, ctx.config.clock_skew_max_us);
    // Nobody would believe a version that is far from its signature.
    let near = clock_us <= at_us.saturating_add(2 * skew_us);
    // A version never comes back, and an edit names what it meets.
    let unconditional = matches!(proof.what.expect(), Some(Expect::Any | Expect::Absent));
    let full = held.filter(|held| held.earlier.len() >= EARLIER_MAX).and_then(|held| held.earlier.first());
    let forgotten = full.is_some_and(|(wall_us, _)| at_us <= wall_us + skew_us / 2);
    fresh(ctx, proof) && near && !(unconditional && forgotten)
}

fn fresh(ctx: &Ctx, proof: &Proof) -> bool {
    let (at_us, skew_us) = (proof.pass.at_us, ctx.config.clock_skew_max_us);
    at_us <= ctx.now.wall + skew_us / 2 && at_us + skew_us.min(ctx.config.tombstone_us) >= ctx.now.wall
}

/// Whether a record of rights is of the realm that is its key, and its owner's.
fn rights_of(record: &Record, user: &User) -> bool {
    let rights = record.value.as_deref().and_then(Rights::decode);
    rights.is_some_and(|rights| rights.owner == *user && rights.realm().0 == *record.key)
}
