//! The next epoch of a fragment, by single-decree Paxos among its members.
//!
//! Acceptors answer only from what is on their disk. The owner's round 0 needs no phase 1: nobody else uses it. A
//! lease binds its giver: no promise to anybody but the owner while it holds. Where members are given up for lost,
//! all others must consent instead of a majority; that is the one step that may split a group in two histories, so what
//! it decides always begins a new one, whatever was accepted in the old one before.

use super::{
    Env, Groups, Step,
    certificate::{Ballot, Certificate, Change, Name},
    fragment::{Phase, Proposal},
    jitter,
    message::Message,
};
use crate::{
    id::Id,
    map::{Map, Set},
    wire::Body,
};

impl Groups {
    /// Starts an attempt at `change`, in round 0 if this is the owner's first.
    pub(super) fn propose(&mut self, env: &mut Env, name: Name, change: Change, lost: Vec<Id>) {
        let me = self.me;
        let now = env.ctx.now.mono;
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        if fragment.retired() || !change.follows(name) {
            return;
        }
        let owner = fragment.certificate().owner == me;
        let first = Ballot { round: 0, proposer: me };
        let others = others(fragment.certificate(), &me);
        let of = fragment.certificate().clone();
        if owner && lost.is_empty() && fragment.round == 0 && !fragment.frozen() {
            fragment.kept.promised = Some(first);
            fragment.kept.accepted = Some((first, change.clone()));
            fragment.proposal = Some(Proposal {
                ballot: first,
                change: change.clone(),
                lost: Vec::new(),
                phase: Phase::Accept(Set::new()),
                since_us: now,
            });
            let message = Message::Accept { of, ballot: first, lost, change };
            self.save(env, &name, Vec::new(), to_all(&others, &message), Step::Accepted(name, first));
            return;
        }
        let round = fragment.round.max(fragment.kept.promised.map_or(0, |ballot| ballot.round)).saturating_add(1);
        let ballot = Ballot { round, proposer: me };
        fragment.round = round;
        fragment.kept.promised = Some(ballot);
        fragment.proposal =
            Some(Proposal { ballot, change, lost: lost.clone(), phase: Phase::Prepare(Map::new()), since_us: now });
        let message = Message::Prepare { of, ballot, lost };
        env.ctx.count("group.prepare");
        self.save(env, &name, Vec::new(), to_all(&others, &message), Step::Promised(name, ballot));
    }

    /// Sends again what members have not answered.
    pub(super) fn press(&mut self, env: &mut Env, name: Name) {
        let me = self.me;
        let Some(fragment) = self.fragments.get(&name) else {
            return;
        };
        let Some(proposal) = &fragment.proposal else {
            return;
        };
        let of = fragment.certificate().clone();
        let Proposal { ballot, lost, change, .. } = proposal;
        let (ballot, lost) = (*ballot, lost.clone());
        let (message, answered, step): (Message, Set<Id>, Step) = match &proposal.phase {
            Phase::Prepare(got) => {
                (Message::Prepare { of, ballot, lost }, got.keys().copied().collect(), Step::Promised(name, ballot))
            }
            Phase::Accept(got) => {
                let change = match &fragment.kept.accepted {
                    Some((_, accepted)) => accepted.clone(),
                    None => change.clone(),
                };
                (Message::Accept { of, ballot, lost, change }, got.clone(), Step::Accepted(name, ballot))
            }
        };
        let mut todo = others(fragment.certificate(), &me);
        todo.retain(|id| !answered.contains(id));
        if answered.contains(&me) {
            for (to, body) in to_all(&todo, &message) {
                env.ctx.send(to, body);
            }
        } else {
            self.save(env, &name, Vec::new(), to_all(&todo, &message), step);
        }
    }

    /// Whether this node may help `proposer` now; answers the proposer if not.
    fn may_help(&mut self, env: &mut Env, from: Id, of: &Certificate, ballot: Ballot, lost: &[Id]) -> bool {
        let name = of.name;
        if from != ballot.proposer || !of.has(&from) || !of.has(&self.me) || !of.well_formed() {
            env.ctx.count("group.malformed");
            return false;
        }
        if self.fragments.get(&name).is_none_or(|fragment| fragment.retired()) {
            if self.tell_newer(env, from, &name) || self.fragments.contains_key(&name) {
                return false;
            }
            // Learns of it, or tells of a history that is preferred.
            self.on_newer(env, from, vec![of.clone()]);
        }
        let given_up = lost.iter().all(|id| {
            *id != self.me && self.silent_for(env, id, env.ctx.config.assumed_lost_us.saturating_sub(3_000_000))
        });
        let me = self.me;
        let (now, started, lease_us) = (env.ctx.now, self.started_us, env.ctx.config.lease_us);
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return false;
        };
        if fragment.certificate() != of {
            let certificates = vec![fragment.certificate().clone()];
            env.ctx.send(from, Message::Newer { certificates });
            return false;
        }
        fragment.round = fragment.round.max(ballot.round);
        let owner = of.owner;
        let promised = fragment.kept.promised;
        let bound = from != owner
            && promised != Some(ballot)
            && (now.mono < fragment.granted_until_us
                || now.mono < started.saturating_add(lease_us)
                || owner == me && fragment.serving(&me, now, lease_us));
        let higher = promised.filter(|promised| *promised > ballot);
        if bound || higher.is_some() || !given_up {
            env.ctx.send(from, Message::Refused { of: name, ballot, promised: higher });
            return false;
        }
        let wait = 1_500_000 + jitter(env.ctx, 1_500_000);
        fragment.quiet_until_us = fragment.quiet_until_us.max(now.mono + wait);
        if fragment.proposal.as_ref().is_some_and(|proposal| proposal.ballot < ballot) {
            fragment.proposal = None;
        }
        true
    }

    pub(super) fn on_prepare(&mut self, env: &mut Env, from: Id, of: Certificate, ballot: Ballot, lost: Vec<Id>) {
        if ballot.round == 0 || !self.may_help(env, from, &of, ballot, &lost) {
            return;
        }
        let name = of.name;
        if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.kept.promised = Some(ballot);
            let accepted = fragment.kept.accepted.clone();
            let answer = Message::Promise { of: name, ballot, accepted };
            self.save(env, &name, Vec::new(), vec![(from, answer.into())], Step::None);
        }
    }

    pub(super) fn on_accept(
        &mut self,
        env: &mut Env,
        from: Id,
        of: Certificate,
        ballot: Ballot,
        lost: Vec<Id>,
        change: Change,
    ) {
        if !change.follows(of.name) || ballot.round == 0 && from != of.owner {
            env.ctx.count("group.malformed");
            return;
        }
        if !self.may_help(env, from, &of, ballot, &lost) {
            return;
        }
        let name = of.name;
        if let Some(fragment) = self.fragments.get_mut(&name) {
            fragment.kept.promised = Some(ballot);
            fragment.kept.accepted = Some((ballot, change));
            let answer = Message::Accepted { of: name, ballot };
            self.save(env, &name, Vec::new(), vec![(from, answer.into())], Step::None);
        }
    }

    pub(super) fn promised_by(
        &mut self,
        env: &mut Env,
        from: Id,
        name: Name,
        ballot: Ballot,
        accepted: Option<(Ballot, Change)>,
    ) {
        let me = self.me;
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        let own = fragment.kept.accepted.clone();
        let Some(proposal) = fragment.proposal.as_mut().filter(|proposal| proposal.ballot == ballot) else {
            return;
        };
        let Phase::Prepare(got) = &mut proposal.phase else {
            return;
        };
        got.insert(from, if from == me { own } else { accepted.filter(|(_, change)| change.follows(name)) });
        let (got, lost) = (got.clone(), proposal.lost.clone());
        if !got.contains_key(&me) || !fragment.quorum(&lost, |id| got.contains_key(id)) {
            return;
        }
        let may_bind = |(_, change): &(Ballot, Change)| lost.is_empty() || change.forks();
        let bound = got.into_values().flatten().filter(may_bind).max_by_key(|(ballot, _)| *ballot);
        let bound = bound.map(|(_, change)| change);
        if fragment.kept.promised != Some(ballot) {
            return;
        }
        let Some(proposal) = fragment.proposal.as_mut() else {
            return;
        };
        let change = bound.unwrap_or_else(|| proposal.change.clone());
        proposal.phase = Phase::Accept(Set::new());
        fragment.kept.accepted = Some((ballot, change.clone()));
        let others = others(fragment.certificate(), &me);
        let message = Message::Accept { of: fragment.certificate().clone(), ballot, lost, change };
        self.save(env, &name, Vec::new(), to_all(&others, &message), Step::Accepted(name, ballot));
    }

    pub(super) fn accepted_by(&mut self, env: &mut Env, from: Id, name: Name, ballot: Ballot) {
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        let Some(proposal) = fragment.proposal.as_mut().filter(|proposal| proposal.ballot == ballot) else {
            return;
        };
        let Phase::Accept(got) = &mut proposal.phase else {
            return;
        };
        got.insert(from);
        let (got, lost) = (got.clone(), proposal.lost.clone());
        if !fragment.quorum(&lost, |id| got.contains(id)) {
            return;
        }
        let change = match &fragment.kept.accepted {
            Some((accepted, change)) if *accepted == ballot => change.clone(),
            _ => return,
        };
        env.ctx.count("group.decided");
        let mut told: Set<Id> = fragment.certificate().members.iter().copied().collect();
        for certificate in &change.into {
            told.extend(&certificate.members);
        }
        for to in told.into_iter().filter(|id| *id != self.me) {
            env.ctx.send(to, Message::Decided { of: name, change: change.clone() });
        }
        self.decided(env, name, change);
    }

    /// What becomes of a fragment is decided.
    pub(super) fn decided(&mut self, env: &mut Env, of: Name, change: Change) {
        if change.union.is_some() {
            self.yielded(env, of, change);
            return;
        }
        for certificate in &change.into {
            self.learn(env, certificate);
        }
    }

    pub(super) fn on_refused(&mut self, env: &mut Env, name: Name, ballot: Ballot, promised: Option<Ballot>) {
        let wait = 300_000 + jitter(env.ctx, 1_200_000);
        let Some(fragment) = self.fragments.get_mut(&name) else {
            return;
        };
        fragment.round = fragment.round.max(promised.map_or(0, |ballot| ballot.round));
        if fragment.proposal.as_ref().is_some_and(|proposal| proposal.ballot == ballot) {
            // A lease that still holds may lapse by the next time; a higher ballot needs a new attempt.
            if promised.is_some() {
                fragment.proposal = None;
            }
            fragment.quiet_until_us = fragment.quiet_until_us.max(env.ctx.now.mono + wait);
        } else if promised.is_some() && !fragment.frozen() {
            // Members are frozen under somebody's attempt that this owner has not seen: it gets a while to succeed.
            if fragment.quiet_until_us <= env.ctx.now.mono && !fragment.contested {
                fragment.quiet_until_us = env.ctx.now.mono + 1_000_000 + wait;
            }
            fragment.contested = true;
        }
    }
}

fn others(certificate: &Certificate, me: &Id) -> Vec<Id> {
    certificate.members.iter().filter(|id| *id != me).copied().collect()
}

fn to_all(ids: &[Id], message: &Message) -> Vec<(Id, Body)> {
    ids.iter().map(|id| (*id, message.clone().into())).collect()
}
