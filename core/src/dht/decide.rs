//! What one operation does to one key: a pure function.

use crate::{
    config::Config,
    id::Id,
    pht,
    store::{Action, Expect, KeyOp, Outcome, Record, Refusal},
};

/// See [`decide`].
pub enum Decision {
    /// Nothing is to be written.
    Answer(Outcome),
    /// This is the key's next record.
    Write {
        /// `None` removes it.
        value: Option<Vec<u8>>,
        /// When it lapses, wall clock.
        expiry_us: Option<u64>,
    },
}

/// What becomes of `op`, asked by `author` under `tag`, given the newest record of its key (acknowledged), what an
/// earlier attempt is known to have been answered, and how many bytes the store has left.
pub fn decide(
    (op, author, tag): (&KeyOp, Id, u64),
    held: Option<&Record>,
    known: Option<&Outcome>,
    wall_us: u64,
    room: u64,
    config: &Config,
) -> Decision {
    let seen = held.filter(|held| held.visible(wall_us));
    let value = seen.and_then(|seen| seen.value.as_deref());
    if !op.action.reads()
        && let Some(version) = held.and_then(|held| held.wrote(author, tag))
    {
        return Decision::Answer(Outcome::Stored { version });
    }
    let current = || value.map(<[u8]>::to_vec).zip(seen.map(|seen| seen.version));
    if let Some(known) = known.filter(|_| !op.action.reads()) {
        // Of an edit only that it had no effect is remembered, not the node that it met.
        let edited = matches!((&op.action, known), (Action::Edit { .. }, Outcome::Conflict { .. }));
        return Decision::Answer(if edited { Outcome::Conflict { current: current() } } else { known.clone() });
    }
    let holds = |expect: &Expect| match expect {
        Expect::Any => true,
        Expect::Absent => seen.is_none(),
        Expect::Version(version) => seen.is_some_and(|seen| seen.version == *version),
    };
    let too_large = |value: &[u8]| value.len() > config.value_bytes_max;
    let KeyOp { namespace, key, .. } = op;
    if key.len() > config.key_bytes_max || namespace.len() > config.key_bytes_max {
        return Decision::Answer(Outcome::Refused(Refusal::TooLarge));
    }
    match &op.action {
        Action::Get | Action::GetStale | Action::GetVerified => Decision::Answer(match (value, seen) {
            (Some(value), Some(seen)) => {
                Outcome::Found { value: value.to_vec(), version: seen.version, expiry_us: seen.expiry_us }
            }
            _ => Outcome::Absent,
        }),
        Action::Prove => Decision::Answer(seen.map_or(Outcome::Absent, |seen| Outcome::Proven(Box::new(seen.clone())))),
        Action::Put { value, .. } | Action::PutHinted { value, .. } if too_large(value) => {
            Decision::Answer(Outcome::Refused(Refusal::TooLarge))
        }
        Action::Put { value, .. } | Action::PutHinted { value, .. } if value.len() as u64 + key.len() as u64 > room => {
            Decision::Answer(Outcome::Refused(Refusal::QuotaExceeded))
        }
        Action::Put { expect, .. } | Action::Remove { expect } if !holds(expect) => {
            Decision::Answer(Outcome::Conflict { current: current() })
        }
        Action::Put { value, ttl_us, .. } => {
            Decision::Write { value: Some(value.clone()), expiry_us: ttl_us.map(|ttl| wall_us.saturating_add(ttl)) }
        }
        Action::PutHinted { value, ttl_us, at_us } => {
            // Without a tombstone nobody knows whether the key was removed since.
            let forgotten = at_us.saturating_add(config.tombstone_us) <= wall_us;
            let expiry_us = ttl_us.map(|ttl| at_us.saturating_add(ttl));
            if forgotten || held.is_some_and(|held| held.version.wall_us >= *at_us) {
                Decision::Answer(Outcome::Conflict { current: current() })
            } else if expiry_us.is_some_and(|expiry_us| expiry_us <= wall_us) {
                Decision::Answer(Outcome::Absent)
            } else {
                Decision::Write { value: Some(value.clone()), expiry_us }
            }
        }
        Action::Edit { edit } => match pht::apply(key, value, edit, wall_us) {
            Ok(next) if too_large(&next) => Decision::Answer(Outcome::Refused(Refusal::TooLarge)),
            Ok(next) if next.len() as u64 > room.saturating_add(seen.map_or(0, |seen| seen.bytes() as u64)) => {
                Decision::Answer(Outcome::Refused(Refusal::QuotaExceeded))
            }
            Ok(next) => Decision::Write { value: Some(next), expiry_us: None },
            Err(pht::Refused::Nothing) => Decision::Answer(Outcome::Absent),
            Err(pht::Refused::Malformed) => Decision::Answer(Outcome::Refused(Refusal::Malformed)),
            Err(_) => Decision::Answer(Outcome::Conflict { current: current() }),
        },
        Action::Remove { .. } if seen.is_none() => Decision::Answer(Outcome::Absent),
        Action::Remove { .. } => Decision::Write { value: None, expiry_us: None },
        Action::Renew { .. } if seen.is_none() => Decision::Answer(Outcome::Absent),
        Action::Renew { ttl_us } => {
            Decision::Write { value: value.map(<[u8]>::to_vec), expiry_us: Some(wall_us.saturating_add(*ttl_us)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Version;

    const AT_US: u64 = 1_000_000;

    /// What a hint given at `AT_US` for a minute of life comes to at `wall_us`.
    fn hinted(held: Option<&Record>, wall_us: u64) -> Decision {
        let action = Action::PutHinted { value: b"v".to_vec(), ttl_us: Some(60_000_000), at_us: AT_US };
        let op = KeyOp { namespace: "n".to_owned(), locality_bits: 0, key: b"k".to_vec(), action, proof: None };
        let config = Config { tombstone_us: 120_000_000, ..Config::default() };
        decide((&op, Id::ZERO, 7), held, None, wall_us, u64::MAX, &config)
    }

    fn removed(wall_us: u64) -> Record {
        Record {
            namespace: "n".to_owned(),
            key: b"k".to_vec(),
            locality_bits: 0,
            value: None,
            version: Version { wall_us, counter: 1, author: Id::ZERO },
            parent: None,
            expiry_us: None,
            earlier: Vec::new(),
            proof: None,
        }
    }

    #[test]
    fn a_hint_is_written_where_nothing_came_later() {
        let written = |decision| matches!(decision, Decision::Write { expiry_us: Some(61_000_000), .. });
        assert!(written(hinted(None, AT_US + 5)));
        assert!(written(hinted(Some(&removed(AT_US - 1)), AT_US + 5)));
        let refused = |decision| matches!(decision, Decision::Answer(Outcome::Conflict { .. }));
        assert!(refused(hinted(Some(&removed(AT_US)), AT_US + 5)));
    }

    #[test]
    fn of_an_edit_without_effect_a_copy_meets_the_node_as_it_is_now() {
        use pht::{Change, Edit, Held, What};
        let set = |expect| Change { key: b"k".to_vec(), what: What::Set(b"v".to_vec(), 1), expect };
        let edit = |expect| Edit::Entries { changes: vec![set(expect)], low: false }.encode();
        let root = pht::Label::default().to_key();
        let node = pht::apply(&root, None, &edit(Held::Any), 0).unwrap_or_default();
        let held = Record { key: root.clone(), value: Some(node.clone()), ..removed(AT_US) };
        let decided = |expect, known: Option<&Outcome>, held| {
            let action = Action::Edit { edit: edit(expect) };
            let op = KeyOp { namespace: "n".to_owned(), locality_bits: 0, key: root.clone(), action, proof: None };
            decide((&op, Id::ZERO, 7), held, known, AT_US, u64::MAX / 2, &Config::default())
        };
        let refused =
            |decision| matches!(decision, Decision::Answer(Outcome::Conflict { current: Some((it, _)) }) if it == node);
        assert!(refused(decided(Held::Absent, None, Some(&held))));
        // It was answered with a conflict, of which nothing else is remembered; by now it would have an effect.
        let known = Outcome::Conflict { current: None };
        assert!(refused(decided(Held::Any, Some(&known), Some(&held))));
        assert!(matches!(
            decided(Held::Absent, Some(&known), None),
            Decision::Answer(Outcome::Conflict { current: None })
        ));
        assert!(matches!(decided(Held::Absent, None, None), Decision::Write { value: Some(_), .. }));
    }

    #[test]
    fn a_hint_lapses_and_is_given_up_when_nobody_remembers_removals() {
        assert!(matches!(hinted(None, AT_US + 60_000_000), Decision::Answer(Outcome::Absent)));
        assert!(matches!(hinted(None, AT_US + 120_000_000), Decision::Answer(Outcome::Conflict { .. })));
    }
}
