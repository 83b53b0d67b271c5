//! GRANT, REVOKE and policies: a conditional write of a realm's rights, which counts as done when nobody holds older ones any
//! more. Where it is about reading an encrypted table, its keyring is written before.

use super::{
    host::Host,
    job::{Job, Step},
};
use crate::{
    Error,
    exec::schema::{Grant, RightsChange},
    sql::fault::{
        CORRUPTED, DUPLICATE_OBJECT, INSUFFICIENT_PRIVILEGE, SERIALIZATION, STALE_PLAN, TOO_COMPLEX, UNDEFINED_OBJECT,
        fail,
    },
    store::{Action, Expect, Outcome},
    trust::{LEASE_US, POLICIES_MAX, RIGHTS_BYTES_MAX, Rights, rights_op},
};

/// Attempts against somebody else who changes the same rights: another page of the same user.
const ATTEMPTS_MAX: u8 = 8;
/// Clocks of owners and of who revokes differ by less, microseconds.
const SLACK_US: u64 = 60_000_000;

/// See the module's documentation.
pub(super) struct GrantJob {
    grant: Grant,
    /// The keyring is being written.
    rekeying: bool,
    attempts: u8,
}

impl GrantJob {
    pub fn new(grant: Grant) -> GrantJob {
        GrantJob { grant, rekeying: false, attempts: 0 }
    }

    fn read(&mut self, host: &mut Host) -> Step {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            return fail(SERIALIZATION, "the rights keep changing");
        }
        host.ops(vec![rights_op(self.grant.realm, Action::Get)]);
        Ok(None)
    }

    /// Writes them with what is granted, or without what is revoked.
    fn change(&mut self, host: &mut Host, value: &[u8], expect: Expect) -> Step {
        let Grant { table, change, .. } = &self.grant;
        let Some(mut rights) = Rights::decode(value) else { return fail(CORRUPTED, "rights that do not read") };
        if host.env.user != Some(rights.owner) {
            let message = format!("must be owner of table \"{table}\", which is {}", rights.owner);
            return fail(INSUFFICIENT_PRIVILEGE, message);
        }
        let before = rights.version;
        // Whoever judged by what was may still have judged so a lease later, by another clock.
        let until_us = host.env.now_us.cast_unsigned().saturating_add(LEASE_US + SLACK_US);
        match change {
            RightsChange::Grant { to, privileges, give } => {
                if !to.iter().all(|to| rights.change(*to, *privileges, *give, until_us)) {
                    return fail(TOO_COMPLEX, format!("table \"{table}\" is granted to too many users"));
                }
                // An earlier REVOKE may have been stored a moment ago: this one waits as if it had revoked.
                if rights.version == before && *give {
                    return Ok(Some(host.done(0)));
                }
            }
            RightsChange::Police(policy) => {
                let mut policies = rights.policies.clone();
                if policies.iter().any(|other| other.name == policy.name) {
                    let message = format!("policy \"{}\" for table \"{table}\" already exists", policy.name);
                    return fail(DUPLICATE_OBJECT, message);
                }
                if policies.len() >= POLICIES_MAX {
                    return fail(TOO_COMPLEX, format!("table \"{table}\" has {POLICIES_MAX} policies"));
                }
                policies.push((**policy).clone());
                rights.police(policies, until_us);
            }
            RightsChange::Unpolice(name, if_exists) => {
                let mut policies = rights.policies.clone();
                policies.retain(|other| other.name != *name);
                if policies.len() == rights.policies.len() && !if_exists {
                    return fail(UNDEFINED_OBJECT, format!("policy \"{name}\" for table \"{table}\" does not exist"));
                }
                rights.police(policies, until_us);
            }
        }
        rights.version = before + 1;
        if rights.encode().len() > RIGHTS_BYTES_MAX {
            return fail(TOO_COMPLEX, format!("the rights of table \"{table}\" would be too large"));
        }
        let action = Action::Put { value: rights.encode(), expect, ttl_us: None };
        host.ops(vec![rights_op(self.grant.realm, action)]);
        Ok(None)
    }
}

impl Job for GrantJob {
    fn start(&mut self, host: &mut Host) -> Step {
        // Keys first: of rights that are told of, keys are there, and of rights that are gone they are, too.
        if let Some(ring) = self.grant.ring.take() {
            self.rekeying = true;
            host.ops(vec![ring]);
            return Ok(None);
        }
        self.read(host)
    }

    fn on_ops(&mut self, host: &mut Host, _need: u32, mut outcomes: Vec<Outcome>) -> Step {
        let rekeyed = core::mem::take(&mut self.rekeying);
        match outcomes.pop() {
            Some(Outcome::Stored { .. }) if rekeyed => self.read(host),
            Some(Outcome::Conflict { .. }) if rekeyed => fail(STALE_PLAN, "the keyring is another one by now"),
            Some(Outcome::Found { value, version, .. }) => self.change(host, &value, Expect::Version(version)),
            Some(Outcome::Stored { .. }) => Ok(Some(host.done(0))),
            Some(Outcome::Refused(refusal)) => Err(refusal.into()),
            Some(Outcome::Unreachable) => Err(Error::Unreachable),
            Some(Outcome::Absent) => fail(CORRUPTED, "a table that is protected has no rights"),
            _ => self.read(host),
        }
    }
}
