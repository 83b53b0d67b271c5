//! Whether the recorded history of one key is linearizable: whether each operation can be given one moment between its
//! call and its answer, so that a single register that does them in this order gives the same answers (Herlihy and
//! Wing, *Linearizability*, TOPLAS 1990).
//!
//! The search is Wing and Gong's (*Testing and verifying concurrent objects*, JPDC 1993) with Lowe's memory of the
//! configurations that were met (*Testing for linearizability*, CCPE 2017). A history is linearizable if that of each
//! key is (locality), so keys are checked one by one.
//!
//! A write that ended unreachable may take effect at any moment after its call, or never. Where one takes effect, the
//! next operation must answer differently for it: else the order without it would do as well, and is tried anyway.
//!
//! Every put of a key must write another value: so each value names its write, and two writes are never confused.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use pontoon_core::store::{Action, Expect, Outcome, Version};

/// Configurations looked at before the search gives up.
const BUDGET: usize = 20_000_000;

/// One operation on the key.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where it was asked.
    pub node: usize,
    /// When it was asked.
    pub begun_us: u64,
    /// When it was answered. What was never answered is [`Outcome::Unreachable`].
    pub ended_us: u64,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub outcome: Outcome,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: &[u8]| value.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        let version = |version: &Version| format!("v{}", version.wall_us % 1_000_000_000);
        let expect = |expect: &Expect| match expect {
            Expect::Any => String::new(),
            Expect::Absent => " if absent".to_owned(),
            Expect::Version(expected) => format!(" if {}", version(expected)),
        };
        let asked = match &self.action {
            Action::Get | Action::GetStale | Action::GetVerified | Action::Prove => "get".to_owned(),
            Action::PutHinted { value, .. } => format!("put {} if need be as a hint", number(value)),
            Action::Put { value, expect: it, .. } => format!("put {}{}", number(value), expect(it)),
            Action::Remove { expect: it } => format!("remove{}", expect(it)),
            Action::Renew { .. } => "renew".to_owned(),
            Action::Edit { .. } => "edit".to_owned(),
        };
        let told = match &self.outcome {
            Outcome::Found { value, version: it, .. } => format!("found {} {}", number(value), version(it)),
            Outcome::Stored { version: it } => format!("stored {}", version(it)),
            Outcome::Conflict { current: Some((value, it)) } => format!("conflict {} {}", number(value), version(it)),
            other => format!("{other:?}"),
        };
        let until = if self.ended_us == u64::MAX { "?".to_owned() } else { self.ended_us.to_string() };
        write!(f, "{}..{until} node {}: {asked} -> {told}", self.begun_us, self.node)
    }
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Violation {
    /// Somebody was told a value that nobody wrote, or another version for it than others were.
    #[error("nobody wrote what this was told: {0}")]
    Invented(Box<Event>),
    /// The history is not one that this checker reads: two puts of one value, or a soft-state operation.
    #[error("not for this checker: {0}")]
    Unsupported(Box<Event>),
    /// There is no order: the longest that was found, and what could not follow.
    #[error(
        "no order explains the history; after {done} operations, with [{state}] there, none of these fits:\n{}",
        lines(next)
    )]
    NoOrder {
        /// How many operations the longest order has.
        done: usize,
        /// What the register holds then.
        state: String,
        /// The operations that were to come next.
        next: Vec<Event>,
    },
    /// The search was given up.
    #[error("undecided after {BUDGET} configurations")]
    Undecided,
}

fn lines(events: &[Event]) -> String {
    events.iter().map(Event::to_string).collect::<Vec<_>>().join("\n")
}

/// Checks the history of one key that was absent at first.
pub fn check(history: &[Event]) -> Result<(), Violation> {
    let mut events: Vec<&Event> = history.iter().filter(|event| matters(event)).collect();
    events.sort_by_key(|event| event.begun_us);
    let mut search = Search::new(&events)?;
    let mut done = vec![0; events.len().div_ceil(64)];
    if search.order(&mut done, 0, State(None), None) {
        return Ok(());
    }
    if search.left == 0 {
        return Err(Violation::Undecided);
    }
    let (count, done, state) = search.deepest;
    let undone = |index: &usize| done[index / 64] >> (index % 64) & 1 == 0;
    let limit = (0..events.len())
        .filter(undone)
        .filter(|index| !optional(events[*index]))
        .map(|index| events[index].ended_us)
        .min();
    let next = (0..events.len())
        .filter(undone)
        .map(|index| events[index].clone())
        .filter(|event| limit.is_none_or(|limit| event.begun_us <= limit))
        .collect();
    let state = state.0.map_or("nothing".to_owned(), |index| events[index].to_string());
    Err(Violation::NoOrder { done: count, state, next })
}

/// Reads without an answer and what was refused had no effect.
fn matters(event: &Event) -> bool {
    match event.outcome {
        Outcome::Refused(_) => false,
        Outcome::Unreachable => event.action != Action::Get,
        _ => true,
    }
}

/// Whether it may have had no effect at all.
fn optional(event: &Event) -> bool {
    event.outcome == Outcome::Unreachable
}

/// What the register holds: the index of the put that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State(Option<usize>);

/// What is done, what the register holds, and what it would hold without the last operation if that is to matter.
type Configuration = (Vec<u64>, State, Option<State>);

struct Search<'a> {
    events: &'a [&'a Event],
    /// The put of each value.
    by_value: BTreeMap<&'a [u8], usize>,
    /// The version of each put, where anybody was told.
    versions: BTreeMap<usize, Version>,
    required: usize,
    met: HashSet<Configuration>,
    left: usize,
    deepest: (usize, Vec<u64>, State),
}

impl<'a> Search<'a> {
    fn new(events: &'a [&'a Event]) -> Result<Search<'a>, Violation> {
        let mut by_value: BTreeMap<&[u8], usize> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            let unsupported = || Violation::Unsupported(Box::new((*event).clone()));
            match &event.action {
                Action::Put { ttl_us: Some(_), .. }
                | Action::Renew { .. }
                | Action::GetStale
                | Action::GetVerified
                | Action::Edit { .. }
                | Action::PutHinted { .. } => {
                    return Err(unsupported());
                }
                Action::Put { value, .. } => {
                    if by_value.insert(value, index).is_some() {
                        return Err(unsupported());
                    }
                }
                Action::Get | Action::Prove | Action::Remove { .. } => {}
            }
        }
        let mut versions: BTreeMap<usize, Version> = BTreeMap::new();
        for (index, event) in events.iter().enumerate() {
            let told = match (&event.outcome, &event.action) {
                (Outcome::Stored { version }, Action::Put { .. }) => Some((Some(index), *version)),
                (Outcome::Found { value, version, .. }, _)
                | (Outcome::Conflict { current: Some((value, version)) }, _) => {
                    Some((by_value.get(value.as_slice()).copied(), *version))
                }
                _ => None,
            };
            if let Some((put, version)) = told {
                let known = put.map(|put| *versions.entry(put).or_insert(version));
                if known != Some(version) {
                    return Err(Violation::Invented(Box::new((*event).clone())));
                }
            }
        }
        let required = events.iter().filter(|event| !optional(event)).count();
        let deepest = (0, vec![0; events.len().div_ceil(64)], State(None));
        Ok(Search { events, by_value, versions, required, met: HashSet::new(), left: BUDGET, deepest })
    }

    /// Whether the rest can be put in order. `unless`: the next operation must answer otherwise than from there.
    fn order(&mut self, done: &mut Vec<u64>, count: usize, state: State, unless: Option<State>) -> bool {
        if count == self.required {
            return true;
        }
        if self.left == 0 || !self.met.insert((done.clone(), state, unless)) {
            return false;
        }
        self.left -= 1;
        if count > self.deepest.0 {
            self.deepest = (count, done.clone(), state);
        }
        let undone = |done: &[u64], index: usize| done[index / 64] >> (index % 64) & 1 == 0;
        let first = (0..self.events.len()).find(|index| undone(done, *index)).unwrap_or(0);
        let limit = (first..self.events.len())
            .filter(|index| undone(done, *index) && !optional(self.events[*index]))
            .map(|index| self.events[index].ended_us)
            .min()
            .unwrap_or(0);
        // What was surely done goes first: so that few orders are tried where all is well.
        for maybe in [false, true] {
            for index in first..self.events.len() {
                let event = self.events[index];
                if event.begun_us > limit {
                    break;
                }
                if !undone(done, index) || optional(event) != maybe {
                    continue;
                }
                let Some(next) = self.answer(index, state) else { continue };
                if unless.is_some_and(|unless| self.answer(index, unless) == Some(next)) {
                    continue;
                }
                done[index / 64] |= 1 << (index % 64);
                let found = self.order(done, count + usize::from(!maybe), next, maybe.then_some(state));
                if found {
                    return true;
                }
                done[index / 64] &= !(1 << (index % 64));
            }
        }
        false
    }

    /// What the register holds after an operation, if from `state` it is answered as it was.
    fn answer(&self, index: usize, state: State) -> Option<State> {
        let event = self.events[index];
        let holds = |expect: &Expect| match expect {
            Expect::Any => true,
            Expect::Absent => state.0.is_none(),
            Expect::Version(version) => state.0.is_some_and(|put| self.versions.get(&put) == Some(version)),
        };
        let is = |value: &Vec<u8>| state.0.is_some() && state.0 == self.by_value.get(value.as_slice()).copied();
        let right = match (&event.action, &event.outcome) {
            (Action::Get, Outcome::Found { value, .. }) => is(value),
            (Action::Get, Outcome::Absent) => state.0.is_none(),
            (Action::Put { expect, .. }, Outcome::Stored { .. } | Outcome::Unreachable) if holds(expect) => {
                return Some(State(Some(index)));
            }
            (Action::Remove { expect }, Outcome::Stored { .. } | Outcome::Unreachable) => {
                return (holds(expect) && state.0.is_some()).then_some(State(None));
            }
            (Action::Remove { expect }, Outcome::Absent) => holds(expect) && state.0.is_none(),
            (Action::Put { expect, .. } | Action::Remove { expect }, Outcome::Conflict { current }) => {
                !holds(expect) && current.as_ref().map_or(state.0.is_none(), |(value, _)| is(value))
            }
            _ => false,
        };
        right.then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::Id;
    use proptest::prelude::*;

    use super::*;

    fn version(number: u64) -> Version {
        Version { wall_us: number, counter: 0, author: Id::ZERO }
    }

    fn event(begun_us: u64, ended_us: u64, action: Action, outcome: Outcome) -> Event {
        Event { node: 0, begun_us, ended_us, action, outcome }
    }

    fn put(number: u64, expect: Expect) -> Action {
        Action::Put { value: vec![number as u8], expect, ttl_us: None }
    }

    fn stored(number: u64) -> Outcome {
        Outcome::Stored { version: version(number) }
    }

    fn found(number: u64) -> Outcome {
        Outcome::Found { value: vec![number as u8], version: version(number), expiry_us: None }
    }

    fn conflict(number: u64) -> Outcome {
        Outcome::Conflict { current: Some((vec![number as u8], version(number))) }
    }

    fn remove() -> Action {
        Action::Remove { expect: Expect::Any }
    }

    #[test]
    fn one_after_the_other() {
        let history = [
            event(0, 1, Action::Get, Outcome::Absent),
            event(2, 3, put(1, Expect::Absent), stored(1)),
            event(4, 5, put(2, Expect::Absent), conflict(1)),
            event(6, 7, put(3, Expect::Version(version(1))), stored(3)),
            event(8, 9, Action::Get, found(3)),
            event(10, 11, remove(), stored(9)),
            event(12, 13, remove(), Outcome::Absent),
            event(14, 15, put(4, Expect::Version(version(3))), Outcome::Conflict { current: None }),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn a_read_of_what_was_overwritten_before_is_seen() {
        let history = [
            event(0, 1, put(1, Expect::Any), stored(1)),
            event(2, 3, put(2, Expect::Any), stored(2)),
            event(4, 5, Action::Get, found(1)),
        ];
        assert!(matches!(check(&history), Err(Violation::NoOrder { done: 2, .. })), "{:?}", check(&history));
        // At the same time either may be the last.
        let history = [
            event(0, 3, put(1, Expect::Any), stored(1)),
            event(2, 3, put(2, Expect::Any), stored(2)),
            event(4, 5, Action::Get, found(1)),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn readers_agree_on_the_order() {
        let writes = [event(0, 9, put(1, Expect::Any), stored(1)), event(0, 9, put(2, Expect::Any), stored(2))];
        let read = |at: u64, number| event(at, at + 1, Action::Get, found(number));
        let with = |reads: &[Event]| check(&[&writes[..], reads].concat());
        assert_eq!(with(&[read(3, 1), read(5, 2), read(7, 2)]), Ok(()));
        assert!(matches!(with(&[read(3, 1), read(5, 2), read(7, 1)]), Err(Violation::NoOrder { .. })));
    }

    #[test]
    fn an_acknowledged_write_is_not_forgotten() {
        let history = [event(0, 1, put(1, Expect::Any), stored(1)), event(2, 3, Action::Get, Outcome::Absent)];
        assert!(matches!(check(&history), Err(Violation::NoOrder { .. })));
        let history = [
            event(0, 1, put(1, Expect::Any), stored(1)),
            event(1, 9, remove(), Outcome::Unreachable),
            event(2, 3, Action::Get, found(1)),
            event(4, 5, Action::Get, Outcome::Absent),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn an_unreachable_write_may_come_late_or_never_but_not_twice() {
        let late = event(0, 1, put(1, Expect::Any), Outcome::Unreachable);
        let read = |at: u64, outcome| event(at, at + 1, Action::Get, outcome);
        let write = event(4, 5, put(2, Expect::Any), stored(2));
        let with = |reads: &[Event]| check(&[&[late.clone(), write.clone()], reads].concat());
        assert_eq!(with(&[read(2, Outcome::Absent), read(6, found(2)), read(8, found(2))]), Ok(()));
        assert_eq!(with(&[read(2, Outcome::Absent), read(6, found(2)), read(8, found(1))]), Ok(()));
        assert_eq!(with(&[read(2, found(1)), read(6, found(2))]), Ok(()));
        assert!(matches!(
            with(&[read(2, found(1)), read(6, found(2)), read(8, found(1))]),
            Err(Violation::NoOrder { .. })
        ));
        // Not before it was asked either.
        let early = [read(0, found(1)), event(5, 6, put(1, Expect::Any), Outcome::Unreachable)];
        assert!(matches!(check(&early), Err(Violation::NoOrder { .. })));
    }

    #[test]
    fn of_two_that_expect_absence_one_wins() {
        let both = [event(0, 9, put(1, Expect::Absent), stored(1)), event(0, 9, put(2, Expect::Absent), stored(2))];
        assert!(matches!(check(&both), Err(Violation::NoOrder { .. })));
        // A conflict that names the own write is a write that was said not to have happened.
        let own = [event(0, 9, put(1, Expect::Absent), conflict(1))];
        assert!(matches!(check(&own), Err(Violation::NoOrder { .. })));
    }

    #[test]
    fn values_are_not_made_up() {
        let history = [event(0, 1, put(1, Expect::Any), stored(1)), event(2, 3, Action::Get, found(2))];
        assert!(matches!(check(&history), Err(Violation::Invented(_))));
        let other = Outcome::Found { value: vec![1], version: version(7), expiry_us: None };
        let history = [event(0, 1, put(1, Expect::Any), stored(1)), event(2, 3, Action::Get, other)];
        assert!(matches!(check(&history), Err(Violation::Invented(_))));
    }

    #[test]
    fn many_writes_without_an_answer_are_no_trouble() {
        let mut history: Vec<Event> =
            (1..60).map(|number| event(0, 1, put(number, Expect::Any), Outcome::Unreachable)).collect();
        let reads = |order: &[u64]| -> Vec<Event> {
            order.iter().zip(10..).map(|(number, at)| event(at * 2, at * 2 + 1, Action::Get, found(*number))).collect()
        };
        history.extend(reads(&[50, 7, 30, 31, 2, 59, 1]));
        assert_eq!(check(&history), Ok(()));
        history.truncate(59);
        history.extend(reads(&[50, 7, 30, 7]));
        assert!(matches!(check(&history), Err(Violation::NoOrder { .. })), "{:?}", check(&history));
    }

    /// What a true register answered, with calls and answers moved apart and some answers lost.
    fn lawful(steps: &[(u8, u64, u64, bool)]) -> Vec<Event> {
        let mut held: Option<u64> = None;
        let mut told = Vec::new();
        let mut history = Vec::new();
        for (at, (what, before, after, lost)) in steps.iter().enumerate() {
            let (at, number) = (at as u64 * 10 + 100, at as u64 + 1);
            let current = held.map(|held| (vec![held as u8], version(held)));
            let (action, outcome) = match what % 5 {
                0 => (Action::Get, held.map_or(Outcome::Absent, found)),
                1 => (put(number, Expect::Any), stored(number)),
                2 if held.is_none() => (put(number, Expect::Absent), stored(number)),
                2 => (put(number, Expect::Absent), Outcome::Conflict { current }),
                3 => match held {
                    Some(seen) if told.contains(&seen) => (put(number, Expect::Version(version(seen))), stored(number)),
                    _ => (Action::Get, held.map_or(Outcome::Absent, found)),
                },
                _ => (remove(), if held.is_some() { stored(number) } else { Outcome::Absent }),
            };
            match (&action, &outcome) {
                (Action::Put { .. }, Outcome::Stored { .. }) => held = Some(number),
                (Action::Remove { .. }, Outcome::Stored { .. }) => held = None,
                _ => {}
            }
            // Only what somebody was told of can be expected.
            told.extend(held.filter(|_| !lost));
            let outcome = if *lost { Outcome::Unreachable } else { outcome };
            history.push(event(at - before, at + after, action, outcome));
        }
        history
    }

    proptest! {
        #[test]
        fn what_a_register_answers_is_linearizable(
            steps in prop::collection::vec((any::<u8>(), 0_u64..60, 0_u64..60, prop::bool::weighted(0.2)), 1..40),
        ) {
            prop_assert_eq!(check(&lawful(&steps)), Ok(()));
        }

        /// A read, long after, of something else than what is there is never explained.
        #[test]
        fn a_late_read_of_something_else_is_seen(
            steps in prop::collection::vec((any::<u8>(), 0_u64..60, 0_u64..60, Just(false)), 2..40), pick in any::<prop::sample::Index>(),
        ) {
            let mut history = lawful(&steps);
            let ask = |outcome| event(10_000, 10_001, Action::Get, outcome);
            let puts: Vec<u64> = history.iter().filter_map(|event| match (&event.action, &event.outcome) {
                (Action::Put { value, .. }, Outcome::Stored { .. }) => Some(u64::from(value[0])),
                _ => None,
            }).collect();
            prop_assume!(!puts.is_empty());
            let number = puts[pick.index(puts.len())];
            history.push(ask(found(number)));
            let explained = check(&history);
            // It may only be that write if no other write began after it ended, in every order.
            let write = history.iter().find(|event| matches!(&event.action, Action::Put { value, .. } if value[0] == number as u8)).unwrap();
            let later = history.iter().any(|event| {
                event.begun_us > write.ended_us && matches!((&event.action, &event.outcome), (Action::Put { .. } | Action::Remove { .. }, Outcome::Stored { .. }))
            });
            prop_assert!(!later || explained.is_err(), "{explained:?}");
        }
    }
}
