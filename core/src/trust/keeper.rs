//! Judges writes where they are stored.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Guard, Pass, Privileges, Proof, RIGHTS, Realm, Rights, User,
    guard::may_decide,
    proof::{Hash, What},
};
use crate::{
    config::SECOND_US,
    ctx::Ctx,
    id::Id,
    map::Map,
    store::{Action, Expect, KeyOp, Outcome, Record, Refusal, record::EARLIER_MAX},
};

/// Rights that were read hold for so long: a change of rights is over after this, microseconds.
pub const LEASE_US: u64 = 3 * SECOND_US;
/// So long before its end a lease that is used is renewed.
const RENEW_US: u64 = SECOND_US;
/// Realms whose rights are known.
const REALMS_MAX: usize = 1_024;
/// Batches whose signatures are known to hold.
const PASSES_MAX: usize = 256;
/// Who wrote something may take it back for so long: a statement that fails does.
const TAKE_BACK_US: u64 = 60 * SECOND_US;

/// What is to become of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be.
    Allowed,
    /// It may not.
    Refused(Refusal),
    /// The rights are being read.
    Later,
}

/// The rights of a realm as they were read.
struct Known {
    /// `None`: there are none, so nobody may do anything.
    rights: Option<Rights>,
    /// The latest version that was ever read: an older one is not believed.
    newest: u64,
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
    passes: VecDeque<(Hash, Arc<Pass>)>,
}

/// A write as its judge sees it.
pub struct Case<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What it does, if that can be signed.
    pub what: Option<What>,
    /// The value that it brings.
    pub value: Option<&'a [u8]>,
    /// Who wrote it, if that is proven.
    pub user: Option<User>,
    /// What is held of its key.
    pub held: Option<&'a Record>,
}

impl Keeper {
    /// An operation that this node is asked for as the key's owner.
    pub fn judge(&mut self, ctx: &mut Ctx, (op, author, tag): (&mut KeyOp, Id, u64), held: Option<&Record>) -> Verdict {
        let signed = op.proof.take();
        if !Guard::may_concern(op) {
            return Verdict::Allowed;
        }
        let what = What::of(&op.action);
        let guard = Guard::of(&op.namespace, what.as_ref(), op.action.value(), held, ctx.now.wall);
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
        if !timely(ctx, &proof, held) {
            ctx.count("trust.late");
            return Verdict::Refused(Refusal::Late);
        }
        let user = Some(proof.pass.session.user);
        let case = Case { key: &op.key, what, value: op.action.value(), user, held };
        let verdict = self.decide(ctx, &case, &guard);
        op.proof = Some(proof);
        verdict
    }

    /// A write that this node is to hold as a member.
    pub fn judge_copy(&mut self, ctx: &mut Ctx, record: &mut Record, held: Option<&Record>) -> Verdict {
        if !self.lawful(ctx, record) {
            return Verdict::Refused(Refusal::Forged);
        }
        // What is held already was judged.
        if held.is_some_and(|held| held.version >= record.version) {
            return Verdict::Allowed;
        }
        let what = record.proof.as_ref().map(|proof| proof.what);
        let value = record.value.as_deref();
        let guard = Guard::of(&record.namespace, what.as_ref(), value, held, ctx.now.wall);
        let user = record.proof.as_ref().map(|proof| proof.pass.session.user);
        let case = Case { key: &record.key, what, value, user, held };
        self.decide(ctx, &case, &guard)
    }

    /// Whether a record is what its author signed. For copies of what others have judged.
    pub fn lawful(&mut self, ctx: &mut Ctx, record: &mut Record) -> bool {
        if !Guard::must_prove(record) {
            return true;
        }
        let Some(mut proof) = record.proof.take() else {
            ctx.count("trust.unproven");
            return false;
        };
        let leaf = proof.leaf_of(record);
        let wall_us = record.version.wall_us;
        let fits = match proof.what {
            What::Put { expect, .. } => record.value.is_some() && fulfilled(&expect, record),
            What::Remove { expect } => record.value.is_none() && fulfilled(&expect, record),
            What::Edit(_) => record.value.is_some(),
        };
        let lawful = fits
            && proof.author() == record.version.author
            && wall_us.abs_diff(proof.pass.at_us) <= 2 * ctx.config.clock_skew_max_us
            && self.proves(ctx, &mut proof, leaf)
            && (record.namespace != RIGHTS || rights_of(record, &proof.pass.session.user));
        if !lawful {
            ctx.count("trust.unproven");
        }
        record.proof = Some(proof);
        lawful
    }

    /// Whether a proof is one, of this leaf. Its batch is shared with what came before of it.
    fn proves(&mut self, ctx: &Ctx, proof: &mut Proof, leaf: Hash) -> bool {
        let Some(root) = proof.root(leaf) else { return false };
        if let Some((_, pass)) = self.passes.iter().find(|(known, pass)| *known == root && **pass == *proof.pass) {
            proof.pass = pass.clone();
            return true;
        }
        let holds = proof.pass.holds(&*ctx.signer.identity, &ctx.config.network, &root);
        if holds {
            self.passes.push_front((root, proof.pass.clone()));
            self.passes.truncate(PASSES_MAX);
        }
        holds
    }

    fn decide(&mut self, ctx: &mut Ctx, case: &Case<'_>, guard: &Guard) -> Verdict {
        let realms = match guard {
            Guard::Open => return Verdict::Allowed,
            Guard::Realms(realms) => realms,
            Guard::Rights => {
                let held = case.held.filter(|held| held.visible(ctx.now.wall));
                let held = held.and_then(|held| Rights::decode(held.value.as_deref()?));
                let may = case.user.is_some_and(|user| may_decide(&user, case.key, case.value, held.as_ref()));
                return if may { Verdict::Allowed } else { forbidden(ctx) };
            }
        };
        let Some(user) = case.user else { return forbidden(ctx) };
        let own = takes_back(ctx, case, &user);
        let mut verdict = Verdict::Allowed;
        for (realm, privileges) in realms {
            match self.may(ctx, *realm, &user, *privileges) {
                Some(true) => {}
                Some(false) if own => {}
                Some(false) => return forbidden(ctx),
                None => verdict = Verdict::Later,
            }
        }
        verdict
    }

    /// Whether a user has one of these privileges; `None`: that is being asked for.
    fn may(&mut self, ctx: &Ctx, realm: Realm, user: &User, privileges: Privileges) -> Option<bool> {
        let now = ctx.now.mono;
        let known = self.known.get(&realm).filter(|known| now < known.until_us);
        let may = known.map(|known| known.rights.as_ref().is_some_and(|rights| rights.of(user).any(privileges)));
        if known.is_none_or(|known| now + RENEW_US >= known.until_us) {
            self.ask(realm);
        }
        may
    }

    fn ask(&mut self, realm: Realm) {
        let asked = self.due.contains(&realm) || self.asking.values().any(|(asked, _)| *asked == realm);
        if !asked && self.asking.len() + self.due.len() < REALMS_MAX {
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
        let rights = match outcome {
            Outcome::Absent => None,
            Outcome::Proven(record) => {
                let mut record = (**record).clone();
                let named = record.namespace == RIGHTS && record.key == realm.0;
                let rights = record.value.as_deref().and_then(Rights::decode);
                match rights.filter(|_| named && self.lawful(ctx, &mut record)) {
                    Some(rights) => Some(rights),
                    None => return true,
                }
            }
            _ => return true,
        };
        let newest = self.known.get(&realm).map_or(0, |known| known.newest);
        let version = rights.as_ref().map_or(newest, |rights| rights.version);
        if version < newest {
            ctx.count("trust.rolled_back");
            return true;
        }
        if self.known.len() >= REALMS_MAX && !self.known.contains_key(&realm) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.until_us).map(|(realm, _)| *realm);
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        self.known.insert(realm, Known { rights, newest: version, until_us: since_us + LEASE_US });
        true
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

/// Whether a write only takes back what its user wrote just now.
fn takes_back(ctx: &Ctx, case: &Case<'_>, user: &User) -> bool {
    let Some((held, proof)) = case.held.and_then(|held| Some((held, held.proof.as_ref()?))) else { return false };
    let expected = match case.what.and_then(|what| what.expect()) {
        Some(Expect::Version(version)) => version == held.version,
        Some(Expect::Absent) => held.value.is_none(),
        _ => false,
    };
    let age_us = ctx.now.wall.saturating_sub(held.version.wall_us);
    expected && proof.pass.session.user == *user && age_us <= TAKE_BACK_US
}

/// Whether a write was signed lately, and a copy of it that came before would be known: a record remembers the writes
/// before it for longer than a signature is good for, unless there were many.
fn timely(ctx: &Ctx, proof: &Proof, held: Option<&Record>) -> bool {
    let (at_us, skew_us) = (proof.pass.at_us, ctx.config.clock_skew_max_us);
    let fresh = at_us <= ctx.now.wall + skew_us / 2 && at_us + skew_us.min(ctx.config.tombstone_us) >= ctx.now.wall;
    // A version never comes back, and an edit names what it meets.
    let unconditional = matches!(proof.what.expect(), Some(Expect::Any | Expect::Absent));
    let full = held.filter(|held| held.earlier.len() >= EARLIER_MAX).and_then(|held| held.earlier.first());
    let forgotten = full.is_some_and(|(wall_us, _)| at_us <= wall_us + skew_us / 2);
    fresh && !(unconditional && forgotten)
}

fn fulfilled(expect: &Expect, record: &Record) -> bool {
    match expect {
        Expect::Any | Expect::Absent => true,
        Expect::Version(version) => record.parent == Some(*version),
    }
}

/// Whether a record of rights is of the realm that is its key, and its owner's.
fn rights_of(record: &Record, user: &User) -> bool {
    let rights = record.value.as_deref().and_then(Rights::decode);
    rights.is_some_and(|rights| rights.owner == *user && rights.realm().0 == *record.key)
}
