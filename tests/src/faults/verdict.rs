//! What `docs/consistency.md` promises, checked against what was seen.

use std::collections::BTreeSet;

use pontoon_core::{
    Id,
    store::{Action, Outcome, Version},
};

use super::{Mischief, Report, Run, SECOND_US, clients, mischief::DIALLING_US};
use crate::checker::{Event, check};

/// Silence for which the last of a majority may be given up, by the clock of who gives up: 15 s, less what clocks drift.
const SILENCE_US: u64 = 14_900_000;
/// Finding each other again takes so long at most.
const FINDING_US: u64 = 6 * SECOND_US;

/// What was promised, or all that was not kept.
pub fn verdict(run: &Run) -> Result<Report, Vec<String>> {
    let mut violations: Vec<String> =
        run.witness.violations.iter().chain(&run.clients.violations).take(8).cloned().collect();
    let mut report = Report {
        queries: run.clients.queries,
        broadcasts: run.clients.broadcasts,
        faults: run.mischief.counts(),
        ..Report::default()
    };
    for loss in &run.witness.losses {
        if let Err(why) = explained(run, loss) {
            violations.push(why);
        }
    }
    for (index, history) in run.clients.histories.iter().enumerate() {
        let unreachable = history.iter().filter(|event| event.outcome == Outcome::Unreachable).count();
        report.unreachable += unreachable;
        report.answered += history.len() - unreachable;
        let place = clients::place(index);
        let losses: Vec<String> = run
            .witness
            .losses
            .iter()
            .filter(|loss| loss.certificate.name.region.contains(&place))
            .map(|loss| {
                let names = |ids: &[Id]| {
                    ids.iter()
                        .map(|id| run.sim.index_of(id).map_or("?".to_owned(), |node| node.to_string()))
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                let sources: Vec<String> =
                    loss.certificate.sources.iter().map(|source| names(&source.members)).collect();
                format!(
                    "key {index}: at {:.3} s {} of {sources:?} were given up",
                    loss.at_us as f64 / 1e6,
                    names(&loss.certificate.lost)
                )
            })
            .collect();
        if losses.is_empty() {
            match check(history) {
                Ok(()) => report.linearizable += 1,
                Err(violation) => {
                    let mut events: Vec<&Event> = history.iter().collect();
                    events.sort_by_key(|event| event.begun_us);
                    let all: Vec<String> = events.iter().map(|event| event.to_string()).collect();
                    violations.push(format!("key {index} ({place:?}): {violation}\nof\n{}", all.join("\n")));
                }
            }
            continue;
        }
        match after_a_loss(run, &place, history) {
            Ok(gone) => report.gone += gone,
            Err(why) => violations.push(format!("key {index}, whose majority was given up: {why}; {losses:?}")),
        }
        report.lost.extend(losses);
    }
    if violations.is_empty() { Ok(report) } else { Err(violations) }
}

/// A majority is given up only when it is not heard of for 15 s: for every member that a certificate gives up there are
/// faults that kept it apart from who gave it up, and they are a majority of a group that came before.
fn explained(run: &Run, loss: &super::Loss) -> Result<(), String> {
    let certificate = &loss.certificate;
    let text = |what: String| Err(format!("at {:.3} s {what}: {certificate:?}", loss.at_us as f64 / 1e6));
    let most = |members: &[Id]| members.iter().filter(|id| certificate.lost.contains(id)).count() * 2 >= members.len();
    if !certificate.sources.iter().any(|source| most(&source.members)) {
        return text("a minority was given up".to_owned());
    }
    let Some(owner) = run.sim.index_of(&certificate.owner) else {
        return text("nobody gave up".to_owned());
    };
    for id in &certificate.lost {
        let Some(node) = run.sim.index_of(id) else {
            return text(format!("somebody unknown was given up: {id:?}"));
        };
        let mut spans = run.mischief.apart(owner, node, FINDING_US);
        // Who cannot open direct links hears others over the supernode alone.
        for relayed in [owner, node].into_iter().filter(|node| run.relayed(*node)) {
            spans.extend(run.mischief.apart(relayed, 0, DIALLING_US));
        }
        // And who was linked to it over a relay lost it with the relay.
        let before_us = loss.at_us.saturating_sub(SILENCE_US);
        for relay in run.witness.relays(owner, node, before_us) {
            spans.extend([owner, node].into_iter().flat_map(|end| run.mischief.apart(end, relay, FINDING_US)));
        }
        let apart = Mischief::within_us(&spans, before_us, loss.at_us);
        if apart < SILENCE_US - SECOND_US {
            return text(format!("node {owner} gave up node {node}, from which it was apart for {apart} us"));
        }
    }
    Ok(())
}

/// Where a majority was given up, reads may miss what the others wrote, until all are back: then the last of all
/// acknowledged writes is there, unless the disks of a majority of a group that held it are lost. Nothing is made up.
/// Gives how many acknowledged writes are gone with their disks.
fn after_a_loss(run: &Run, place: &Id, history: &[Event]) -> Result<usize, String> {
    let mut puts = Vec::new();
    for event in history {
        if let Action::Put { value, .. } = &event.action {
            puts.push(value);
        }
    }
    for event in history {
        let told = match &event.outcome {
            Outcome::Found { value, .. } | Outcome::Conflict { current: Some((value, _)) } => Some(value),
            _ => None,
        };
        if let Some(value) = told.filter(|value| !puts.contains(value)) {
            return Err(format!("nobody wrote {value:?}"));
        }
    }
    let acknowledged = |event: &&Event| matches!(event.outcome, Outcome::Stored { .. });
    let version = |event: &Event| match event.outcome {
        Outcome::Stored { version } => Some(version),
        _ => None,
    };
    let last = history.iter().filter(acknowledged).max_by_key(|event| version(event));
    let (Some(last), Some(read)) = (last, history.last()) else { return Ok(0) };
    let removing = |event: &Event| matches!(event.action, Action::Remove { .. });
    let kept = match &read.outcome {
        Outcome::Found { version: found, .. } => Some(*found) >= version(last),
        // A removal's version is not told to readers.
        Outcome::Absent => {
            removing(last) || history.iter().any(|event| removing(event) && event.outcome == Outcome::Unreachable)
        }
        other => return Err(format!("not answered at the end: {other:?}")),
    };
    if kept {
        return Ok(0);
    }
    let ruined: BTreeSet<Id> =
        run.mischief.away.iter().filter(|away| away.disk_lost).map(|away| run.sim.id(away.node)).collect();
    let explained = run
        .witness
        .groups_of(place)
        .any(|group| group.members.iter().filter(|id| ruined.contains(id)).count() * 2 >= group.members.len());
    if explained {
        let reached: Option<Version> = match &read.outcome {
            Outcome::Found { version, .. } => Some(*version),
            _ => None,
        };
        return Ok(history.iter().filter(acknowledged).filter(|event| version(event) > reached).count());
    }
    Err(format!("the last acknowledged write is gone: {last:?}, and at the end {:?}", read.outcome))
}
