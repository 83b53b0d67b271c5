//! Verified gets: an answer that no fifth of hostile peers can make wrong, or none.
//!
//! ```text
//! asker: Lookup ── Ask, on ways of its own choice ──▶ peers ever nearer to the key
//!           ▲ ◀── Answer, signed: what it holds, whom it knows near ──┘
//!           └── Heard: the group by its own view, claims of its members ─▶ verdict, or again, or unverified
//! ```
//!
//! A plain get believes whoever answers as the owner. Here nobody is believed for what another one says: routing is done
//! by the asker ([`lookup`]), each member speaks for itself ([`answer`]), records prove their authors, whose rights are
//! read in the same way, and what follows from all of it is decided in one place ([`verdict`]).
//!
//! Invariant: what is found was written by somebody who might, as far as that is provable, or is what most of the group
//! say; a get that comes to neither ends as [`Outcome::Unverified`] and names who said otherwise.

pub mod answer;
mod lookup;
mod verdict;

use std::collections::VecDeque;

use chacha20::rand_core::Rng as _;

use self::{
    answer::{Along, Answer, Ask, Held, NEAR_MAX, Signed, WAY_MAX, Word},
    lookup::Lookup,
    verdict::{Claim, Heard},
};
use super::message::{Message, Timer};
use crate::{
    config::SECOND_US,
    group::{Env, Groups},
    id::{Id, nearest},
    map::Map,
    store::{Action, KeyOp, Outcome, Record, Refusal, Verified},
    trust::{self, Case, Guard, Privileges, Realm, Rights, TREES},
};

/// Verified gets under way, reads of rights included.
const LOOKUPS_MAX: usize = 256;
/// What does not add up is asked again so often,
const ROUNDS_MAX: u32 = 3;
/// after so long: a write may have been under way.
const REST_US: u64 = SECOND_US / 2;
/// Words from one linked peer in a second, its own and those that it hands on; further ones are dropped.
const WORDS_MAX: u32 = 512;
/// Peers that are heard in a second: who is not linked may say any name.
const SPEAKERS_MAX: usize = 1_024;
/// Realms whose rights are kept.
const REALMS_MAX: usize = 64;

/// The rights of a realm as a verified get found them, and until when they are good.
type Known = (Option<Rights>, u64);

/// What ends with a lookup.
enum Whose {
    /// An operation of this node.
    Operation,
    /// The rights by which another one is judged.
    Rights { of: u64, realm: Realm },
}

/// A node's verified gets, and its part in those of others.
#[derive(Default)]
pub struct Verifier {
    lookups: Map<u64, (Lookup, Whose)>,
    rights: Map<Realm, Known>,
    /// Words that came from each peer in the second at hand.
    words: (u64, Map<Id, u32>),
    over: VecDeque<(u64, Outcome)>,
}

impl Verifier {
    /// Begins a verified get; [`Verifier::poll`] tells how it ended.
    pub fn open(&mut self, env: &mut Env, groups: &Groups, ticket: u64, op: KeyOp, deadline_us: u64) {
        if self.lookups.len() >= LOOKUPS_MAX {
            self.over.push_back((ticket, Outcome::Refused(Refusal::Overloaded)));
        } else {
            self.begin(env, groups, ticket, op, deadline_us, Whose::Operation);
        }
    }

    fn begin(&mut self, env: &mut Env, groups: &Groups, ticket: u64, op: KeyOp, deadline_us: u64, whose: Whose) {
        let request = env.ctx.rng.next_u64();
        let alive: Vec<Id> = env.view.peers().into_iter().filter(|peer| env.view.alive(peer)).collect();
        let mut lookup = Lookup::new(ticket, op, deadline_us, &alive);
        lookup.own(env.ctx.me, held(env, groups, &lookup.ask(request)));
        let realm = Realm::of_namespace(&lookup.op.namespace).map(|(realm, _)| realm);
        self.lookups.insert(request, (lookup, whose));
        if let Some(realm) = realm.filter(|realm| self.known(env, realm).is_none()) {
            // Its rows will be judged by these.
            self.read_rights(env, groups, realm, request, deadline_us);
        }
        let left_us = deadline_us.saturating_sub(env.ctx.now.mono);
        env.ctx.timer(left_us, crate::node::Timer::Dht(Timer::Verify(request)));
        self.advance(env, groups, request);
    }

    fn read_rights(&mut self, env: &mut Env, groups: &Groups, realm: Realm, of: u64, deadline_us: u64) {
        let read = trust::rights_op(realm, Action::GetVerified);
        self.begin(env, groups, 0, read, deadline_us, Whose::Rights { of, realm });
    }

    /// The rights of a realm as they were found lately; `None` within: they could not be verified, or there are none.
    fn known(&self, env: &Env, realm: &Realm) -> Option<Option<&Rights>> {
        let (rights, until_us) = self.rights.get(realm)?;
        (env.ctx.now.mono < *until_us).then_some(rights.as_ref())
    }

    /// What ended, with its ticket.
    pub fn poll(&mut self) -> Option<(u64, Outcome)> {
        self.over.pop_front()
    }

    /// A word came along its way, over the link of `from`.
    pub fn on_along(&mut self, env: &mut Env, groups: &Groups, from: Id, mut along: Along) {
        if !self.may_speak(env, from) || along.path.len() + along.behind.len() > WAY_MAX {
            env.ctx.count("verify.dropped");
            return;
        }
        if matches!(along.word, Word::Ask(_)) {
            along.behind.push(from);
        }
        if !along.path.is_empty() {
            let next = along.path.remove(0);
            env.ctx.count("verify.handed_on");
            env.ctx.send(next, Message::Along(Box::new(along)));
            return;
        }
        match along.word {
            Word::Ask(ask) => answer(env, groups, &ask, along.behind),
            Word::Answer(signed) => self.on_answer(env, groups, &signed),
        }
    }

    /// Nobody makes this node sign and carry more than it has time for.
    fn may_speak(&mut self, env: &Env, from: Id) -> bool {
        let second = env.ctx.now.mono / SECOND_US;
        if self.words.0 != second {
            self.words = (second, Map::new());
        }
        if self.words.1.len() >= SPEAKERS_MAX && !self.words.1.contains_key(&from) {
            return false;
        }
        let words = self.words.1.entry(from).or_default();
        *words += 1;
        *words <= WORDS_MAX
    }

    fn on_answer(&mut self, env: &mut Env, groups: &Groups, signed: &Signed) {
        let Some((speaker, answer)) = signed.read() else { return };
        let request = answer.request;
        let Some((lookup, _)) = self.lookups.get_mut(&request) else { return };
        if answer.id != lookup.id || !lookup.waits_for(&speaker) {
            return;
        }
        if !signed.holds(&*env.ctx.signer.identity, &env.ctx.config.network) {
            env.ctx.count("verify.forged");
            return;
        }
        lookup.heard(&env.ctx.me, speaker, answer);
        self.advance(env, groups, request);
    }

    /// Asks who is to be asked now, and ends what is known.
    pub fn advance(&mut self, env: &mut Env, groups: &Groups, request: u64) {
        let (now_us, replicas) = (env.ctx.now.mono, env.ctx.config.replicas);
        let Some((lookup, _)) = self.lookups.get_mut(&request) else { return };
        if now_us >= lookup.deadline_us {
            return self.give_up(env, groups, request);
        }
        if now_us < lookup.rests_until_us {
            return;
        }
        if lookup.settled(now_us, replicas) {
            return self.decide(env, groups, request);
        }
        let ask = lookup.ask(request);
        for (mut path, wait_us) in lookup.due(now_us, env.ctx.config) {
            let first = path.remove(0);
            let along = Along { path, behind: Vec::new(), word: Word::Ask(ask.clone()) };
            env.ctx.count("verify.asked");
            env.ctx.send(first, Message::Along(Box::new(along)));
            env.ctx.timer(wait_us, crate::node::Timer::Dht(Timer::Verify(request)));
        }
    }

    fn decide(&mut self, env: &mut Env, groups: &Groups, request: u64) {
        let Some(heard) = self.weigh(env, groups, request) else { return };
        match heard.verdict() {
            Some(verdict) => {
                let (agreed, outliers) = heard.sides(verdict);
                let visible = verdict.filter(|record| record.visible(env.ctx.now.wall)).cloned();
                for peer in &outliers {
                    env.ctx.trace("verify", "outlier", Some(*peer), || "said otherwise".to_owned());
                }
                let verified = Verified { record: visible, agreed: agreed.len() as u32, outliers };
                self.end(env, groups, request, Outcome::Verified(Box::new(verified)));
            }
            None => {
                let Some((lookup, _)) = self.lookups.get_mut(&request) else { return };
                if lookup.rounds + 1 >= ROUNDS_MAX {
                    return self.give_up(env, groups, request);
                }
                lookup.again(&env.ctx.me);
                lookup.rests_until_us = env.ctx.now.mono + REST_US;
                env.ctx.timer(REST_US, crate::node::Timer::Dht(Timer::Verify(request)));
            }
        }
    }

    /// No answer can be verified: who of the group said what others did not is named.
    fn give_up(&mut self, env: &mut Env, groups: &Groups, request: u64) {
        let Some((lookup, _)) = self.lookups.get(&request) else { return };
        let speakers = lookup.said().filter(|(_, held)| **held != Held::Outside).map(|(peer, _)| peer).collect();
        env.ctx.count("verify.unverified");
        self.end(env, groups, request, Outcome::Unverified(speakers));
    }

    fn end(&mut self, env: &mut Env, groups: &Groups, request: u64, outcome: Outcome) {
        let Some((lookup, whose)) = self.lookups.remove(&request) else { return };
        match whose {
            Whose::Operation => self.over.push_back((lookup.ticket, outcome)),
            Whose::Rights { of, realm } => {
                let (rights, good_us) = match outcome {
                    Outcome::Verified(verified) => {
                        (verified.record.and_then(|it| Rights::decode(it.value.as_deref()?)), trust::LEASE_US)
                    }
                    // They are read again when what they are for begins anew.
                    _ => (None, REST_US / 2),
                };
                if self.rights.len() >= REALMS_MAX {
                    let oldest = self.rights.iter().min_by_key(|(_, (_, until_us))| *until_us).map(|(realm, _)| *realm);
                    oldest.map(|realm| self.rights.remove(&realm));
                }
                self.rights.insert(realm, (rights, env.ctx.now.mono + good_us));
                self.advance(env, groups, of);
            }
        }
    }

    /// What was heard, judged; `None`: rights are being read for it.
    fn weigh(&mut self, env: &mut Env, groups: &Groups, request: u64) -> Option<Heard> {
        let (lookup, _) = self.lookups.get(&request)?;
        let said: Vec<(Id, Held)> = lookup.said().map(|(peer, held)| (peer, held.clone())).collect();
        let (op, deadline_us, known) = (lookup.op.clone(), lookup.deadline_us, lookup.known(env.ctx.config.replicas));
        let mut claims = Vec::new();
        let mut unknown: Vec<Realm> = Vec::new();
        for (peer, held) in said {
            let claim = match held {
                Held::Outside => continue,
                Held::Nothing => Claim::Nothing,
                Held::Record(mut record) => match self.believes(env, &op, &mut record) {
                    Ok(true) => Claim::Record(record),
                    Ok(false) => Claim::Forged,
                    Err(realm) => {
                        unknown.push(realm);
                        continue;
                    }
                },
            };
            claims.push((peer, claim));
        }
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() {
            let read_for = |whose: &Whose| matches!(whose, Whose::Rights { of, .. } if *of == request);
            let waits = self.lookups.values().any(|(_, whose)| read_for(whose));
            // Of records of one key few realms can be meant; a stranger's are not read for long.
            for realm in unknown.into_iter().take(if waits { 0 } else { 2 }) {
                self.read_rights(env, groups, realm, request, deadline_us);
            }
            return None;
        }
        Some(Heard {
            id: op.id(),
            known,
            claims,
            proven: proven(&op.namespace),
            replicas: env.ctx.config.replicas,
            late_us: env.ctx.config.deadline_us,
            skew_us: env.ctx.config.clock_skew_max_us,
        })
    }

    /// Whether a record is one of this key that its author might write; or whose rights are to be read for that.
    fn believes(&self, env: &mut Env, op: &KeyOp, record: &mut Record) -> Result<bool, Realm> {
        let named =
            (&record.namespace, record.locality_bits, &record.key) == (&op.namespace, op.locality_bits, &op.key);
        if !named || !env.keeper.lawful(env.ctx, record) {
            return Ok(false);
        }
        let Some(proof) = &record.proof else { return Ok(true) };
        let (namespace, key) = (&record.namespace[..], &record.key[..]);
        let (what, value) = (Some(proof.what), record.value.as_deref());
        let case = Case { namespace, key, what, value, held: None, copy: true, donated: false };
        let Guard::Realms(realms) = Guard::of(&case, env.ctx.now.wall) else { return Ok(true) };
        let user = proof.pass.session.user;
        let may = |rights: &Rights, privileges: Privileges| rights.at(&user, record.version.wall_us).any(privileges);
        for (realm, privileges) in realms {
            match self.known(env, &realm) {
                None => return Err(realm),
                Some(rights) if rights.is_some_and(|rights| may(rights, privileges)) => {}
                Some(_) => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Whether all records of a namespace prove their authors, value and all.
fn proven(namespace: &str) -> bool {
    namespace == trust::RIGHTS || Realm::of_namespace(namespace).is_some() && !namespace.starts_with(TREES)
}

/// What this node holds of a key as a member of its group. Of what is private it says nothing: questions show no credentials.
fn held(env: &Env, groups: &Groups, ask: &Ask) -> Held {
    if groups.member_of(&ask.id()).is_none() || Realm::private(&ask.namespace).is_some() {
        return Held::Outside;
    }
    let record = env.store.acknowledged(&ask.namespace, &ask.key);
    let record = record.filter(|record| record.locality_bits == ask.locality_bits);
    record.map_or(Held::Nothing, |record| Held::Record(Box::new(record.clone())))
}

/// Says what this node knows, and sends it back the way that the question came.
fn answer(env: &mut Env, groups: &Groups, ask: &Ask, behind: Vec<Id>) {
    if ask.key.len().max(ask.namespace.len()) > env.ctx.config.key_bytes_max {
        return;
    }
    let id = ask.id();
    let alive: Vec<Id> = env.view.peers().into_iter().filter(|peer| env.view.alive(peer)).collect();
    let members = groups.member_of(&id).map_or(&[][..], |certificate| &certificate.members);
    let all: Vec<Id> = alive.iter().chain(members).copied().filter(|peer| *peer != env.ctx.me).collect();
    let said = Answer { request: ask.request, id, held: held(env, groups, ask), near: nearest(&all, &id, NEAR_MAX) };
    let signed = Signed::new(&*env.ctx.signer.identity, &env.ctx.config.network, &said);
    let mut path: Vec<Id> = behind.into_iter().rev().collect();
    let first = path.remove(0);
    env.ctx.count("verify.answered");
    env.ctx.send(first, Message::Along(Box::new(Along { path, behind: Vec::new(), word: Word::Answer(signed) })));
}
