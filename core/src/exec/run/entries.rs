//! The index entries of the rows that a statement writes.
//!
//! ```text
//!   claim an entry for what a row is to be ──▶ the row, conditionally ──▶ the entry of what it was goes
//!      │ taken, in a unique index, by a row that has these values: it is violated
//!      └ the statement fails: every entry is again what it was
//! ```
//!
//! A row that is there always has its entries: they come before it and go after it. Who reads an index looks at the rows,
//! so an entry too many is harmless. Each entry bears the stamp of the statement that wrote it, which its row keeps, too:
//! a statement takes away what it wrote itself, or what the row that it replaced had, and never what somebody else wrote
//! meanwhile under the same key. In a unique index an entry stands for two rows while one moves to another key.
//!
//! In a unique index an entry that stands for a row without these values is in the way only for [`LEASE_US`]: somebody may
//! be about to write that row. That one may be late. So who takes an entry over looks for its rows once more afterwards, and
//! names them in it until then; and who has written a row asks whether its entry is still its own ([`Entries::confirm`]). Of
//! two with the same values at least one sees the other.

use super::{host::Host, trees::Trees, write::Written};
use crate::{
    Error,
    exec::change::Target,
    map::{LargeMap, Map, Set},
    pht::{Answer, Change, Entry, Held, Request, What, Wrote},
    sql::{
        fault::{SERIALIZATION, error},
        index::{ROWS_MAX, rows_to_value, value_to_rows},
    },
    store::{Action, KeyOp, Outcome, Version},
};

/// For so long who claimed an entry may still write the row, microseconds.
const LEASE_US: u64 = 30_000_000;
/// Entries that are claimed at once.
pub(super) const CLAIMS_MAX: usize = 2_000;
/// How often an entry is claimed that somebody else changes again and again.
const TRIES_MAX: u8 = 16;

/// An index, by position, and the key of an entry.
pub(super) type Place = (usize, Vec<u8>);

/// An entry that a row needs.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Where.
    pub place: Place,
    /// The key of the row.
    pub row: Vec<u8>,
    /// The key of another row that goes when this one is written.
    pub also: Option<Vec<u8>>,
    /// The write that it is for.
    pub write: usize,
    /// The keys of rows whose entry it was.
    former: Vec<Vec<u8>>,
    /// Whether the row is written, and its entry claimed once more.
    again: bool,
    next: Next,
    tries: u8,
}

impl Claim {
    /// What the entry is to be.
    fn value(&self) -> Vec<u8> {
        let rows = core::iter::once(&self.row).chain(&self.also).chain(&self.former);
        rows_to_value(&rows.map(|row| &row[..]).collect::<Vec<_>>())
    }

    /// The rows that an entry stands for, but for those that this is about.
    fn others(&self, entry: &Entry) -> Vec<Vec<u8>> {
        let mut rows = value_to_rows(&entry.value);
        rows.retain(|row| *row != self.row && self.also.as_ref() != Some(row));
        rows
    }
}

#[derive(Clone, Debug)]
enum Next {
    /// Write it, where this is.
    Set(Held, Option<Entry>),
    /// Look at the rows of others that the entry stands for.
    Look(Entry),
    /// Look again, now that the entry is not that of others any more; with the flag it was evicted before.
    LookAgain(Entry, bool),
    /// Look whether the row, which is written, still has these values; then what there is in the place of its entry counts.
    Own(Option<Entry>),
    /// Take the entry away, which stands for nothing, if it is old enough.
    Evict(Entry),
}

impl Next {
    /// The entry that it puts another one in the place of.
    fn overwrites(&self) -> Option<Entry> {
        match self {
            Next::Set(Held::Stamp(stamp), Some(entry)) if entry.stamp == *stamp => Some(entry.clone()),
            _ => None,
        }
    }
}

/// What this statement wrote at a place.
struct Kept {
    /// What was there before.
    before: Option<Entry>,
    /// The key of the row that it stands for.
    row: Vec<u8>,
    /// Whether that row is written.
    used: bool,
}

/// The entry of a row as it was before this statement.
#[derive(Clone, Debug)]
pub(super) struct Old {
    /// Where.
    pub place: Place,
    /// The stamp that the row kept.
    pub stamp: u64,
    /// The key of the row.
    pub row: Vec<u8>,
}

/// Why a write cannot be carried out.
#[derive(Debug)]
pub(super) struct Taken {
    /// The write.
    pub write: usize,
    /// The index that it would violate.
    pub index: usize,
    /// The row that has these values, if it is there already.
    pub by: Option<(Vec<u8>, Vec<u8>, Version)>,
}

/// What is under way for.
enum Asked {
    Claims(Vec<Claim>),
    Undo,
    /// The rows of these keys are to be again what they were.
    Reclaim(Vec<Vec<u8>>),
}

/// A claim, and the keys of the rows that are looked at for it.
type Look = (Claim, Vec<Vec<u8>>);

/// Claims in the order of their places, so that the first ones of any part of it lie all over that part: where leaves are
/// full, what is written before they are split shows where they will be full again.
fn scattered(claims: Vec<Claim>) -> Vec<Claim> {
    let mut order: Vec<(u32, Claim)> = (0_u32..).map(u32::reverse_bits).zip(claims).collect();
    order.sort_unstable_by_key(|(place, _)| *place);
    order.into_iter().map(|(_, claim)| claim).collect()
}

/// See the module's documentation.
pub(super) struct Entries {
    target: Target,
    stamp: u64,
    /// An index is filled with rows that are there.
    building: bool,
    trees: Trees<Asked>,
    /// Rows of others that are looked at, and the entries that stand for them.
    looks: Map<u32, Vec<Look>>,
    /// Claims of the stages to come; unique indexes one after the other, so that of two who want the same one wins.
    stages: Vec<Vec<Claim>>,
    pending: Vec<Claim>,
    /// What is left to be undone, by index.
    leftovers: Vec<(usize, Vec<Change>)>,
    taken: Vec<Taken>,
    failed: Option<Error>,
    kept: LargeMap<Place, Kept>,
    /// Entries of rows as they were.
    old: Vec<Old>,
    /// Rows whose unique values are somebody else's by now.
    overtaken: Vec<Vec<u8>>,
}

impl Entries {
    pub fn new(target: &Target, random: u128) -> Entries {
        Entries {
            target: target.clone(),
            // Not that of a row that has none.
            stamp: (random ^ random >> 64) as u64 | 1 << 63,
            building: false,
            trees: Trees::new(),
            looks: Map::new(),
            stages: Vec::new(),
            pending: Vec::new(),
            leftovers: Vec::new(),
            taken: Vec::new(),
            failed: None,
            kept: LargeMap::new(),
            old: Vec::new(),
            overtaken: Vec::new(),
        }
    }

    /// For rows that were there before the index.
    pub fn building(target: &Target) -> Entries {
        Entries { stamp: 0, building: true, ..Entries::new(target, 0) }
    }

    /// What rows have as the stamp of their entries that this statement writes.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// An entry to claim.
    pub fn claim(place: Place, row: Vec<u8>, also: Option<Vec<u8>>, write: usize) -> Claim {
        Claim {
            place,
            row,
            also,
            write,
            former: Vec::new(),
            again: false,
            next: Next::Set(Held::Absent, None),
            tries: 0,
        }
    }

    /// Begins to claim entries.
    pub fn begin(&mut self, host: &mut Host, claims: Vec<Claim>) {
        let (mut stages, mut rest): (Map<usize, Vec<Claim>>, Vec<Claim>) = (Map::new(), Vec::new());
        for claim in claims {
            if self.target.indexes.get(claim.place.0).is_some_and(|index| index.unique) {
                stages.entry(claim.place.0).or_default().push(claim);
            } else {
                rest.push(claim);
            }
        }
        for mut claims in core::iter::once(rest).chain(stages.into_values().rev()) {
            while !claims.is_empty() {
                let part = claims.split_off(claims.len().saturating_sub(CLAIMS_MAX));
                self.stages.push(if self.building { scattered(part) } else { part });
            }
        }
        self.advance(host);
    }

    /// Whether nothing is under way.
    pub fn idle(&self) -> bool {
        let waiting = self.pending.is_empty() && self.stages.is_empty() && self.leftovers.is_empty();
        self.trees.is_empty() && self.looks.is_empty() && waiting
    }

    /// Whether a need is one of its own.
    pub fn awaits(&self, need: u32) -> bool {
        self.trees.awaits(need) || self.looks.contains_key(&need)
    }

    /// The writes that cannot be carried out, and an error if there was one; once it is idle.
    pub fn outcome(&mut self) -> Result<Vec<Taken>, Error> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(core::mem::take(&mut self.taken)),
        }
    }

    /// A row is written that needs these places, and does not need those any more.
    pub fn written(&mut self, places: &[Place], old: Vec<Old>) {
        for place in places {
            if let Some(kept) = self.kept.get_mut(place) {
                kept.used = true;
            }
        }
        self.old.extend(old);
    }

    /// A row that was written is gone again.
    pub fn unwritten(&mut self, row: &[u8]) {
        self.kept.values_mut().filter(|kept| kept.row == row).for_each(|kept| kept.used = false);
    }

    /// Claims the entries of rows that are written once more, which somebody else may have taken over; by position.
    pub fn confirm(&mut self, host: &mut Host, rows: &[Written]) {
        let again = |(at, written): (usize, &Written)| {
            let also = written.then.as_ref().map(|old| old.key.clone());
            let next = Next::Set(Held::Stamp(self.stamp), None);
            let claim = |place: &Place| Claim {
                next: next.clone(),
                again: true,
                ..Entries::claim(place.clone(), written.row.clone(), also.clone(), at)
            };
            written.places.iter().map(claim).collect::<Vec<_>>()
        };
        let claims = rows.iter().enumerate().flat_map(again).collect();
        self.begin(host, claims);
    }

    /// Rows that were changed are to be again what they were: their values in unique indexes are claimed as long as
    /// they still are theirs.
    pub fn reclaim(&mut self, host: &mut Host) {
        let mut changes: Map<usize, (Vec<Vec<u8>>, Vec<Change>)> = Map::new();
        for Old { place, stamp, row } in &self.old {
            let (index, key) = (place.0, place.1.clone());
            if !self.target.indexes.get(index).is_some_and(|index| index.unique && index.ready) {
                continue;
            }
            let (value, held) = match self.kept.get_mut(place) {
                None => (rows_to_value(&[row]), *stamp),
                // Written over, or taken by another row of this statement: when all is taken back it is the row's again.
                Some(kept) => {
                    if kept.before.as_ref().is_none_or(|before| before.stamp != *stamp) {
                        let value = rows_to_value(&[row]);
                        kept.before = Some(Entry { key: key.clone(), value, stamp: *stamp, at_us: 0 });
                    }
                    (rows_to_value(&[&kept.row, row]), self.stamp)
                }
            };
            let (rows, changes) = changes.entry(index).or_default();
            rows.push(row.clone());
            changes.push(Change { key, what: What::Set(value, held), expect: Held::Stamp(held) });
        }
        for (index, (rows, changes)) in changes {
            self.ask(host, Asked::Reclaim(rows), index, changes);
        }
    }

    /// The rows for which that failed.
    pub fn overtaken(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.overtaken)
    }

    /// The statement is over: what is not needed any more goes, and if it `failed` everything is as it was, but for the
    /// entries of rows that stand as it wrote them.
    pub fn settle(&mut self, host: &mut Host, failed: bool, standing: &Set<Vec<u8>>) {
        let mut changes: Map<usize, Vec<Change>> = Map::new();
        let mut change = |(index, key): Place, what, stamp| {
            changes.entry(index).or_default().push(Change { key, what, expect: Held::Stamp(stamp) });
        };
        let mut kept = core::mem::take(&mut self.kept);
        for Old { place, stamp, .. } in core::mem::take(&mut self.old) {
            match kept.get_mut(&place) {
                _ if failed => {}
                None => change(place, What::Remove(0), stamp),
                // It was written over for a row that came to nothing.
                Some(kept) if !kept.used && kept.before.as_ref().is_some_and(|before| before.stamp == stamp) => {
                    kept.before = None;
                }
                Some(_) => {}
            }
        }
        for (place, kept) in kept {
            if failed && !standing.contains(&kept.row) || !failed && !kept.used {
                let what = kept.before.map_or(What::Remove(0), |entry| What::Set(entry.value, entry.stamp));
                change(place, what, self.stamp);
            }
        }
        for (index, changes) in changes {
            self.leftovers.extend(changes.chunks(CLAIMS_MAX).map(|part| (index, part.to_vec())));
        }
        self.advance(host);
    }

    /// Takes in what came; `true` when nothing is under way any more.
    pub fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> bool {
        if let Some(looks) = self.looks.remove(&need) {
            let mut outcomes = outcomes.into_iter();
            for (claim, rows) in looks {
                let outcomes = outcomes.by_ref().take(rows.len()).collect();
                self.looked_at(claim, rows, outcomes);
            }
        } else if let Some((asked, answer)) = self.trees.on_ops(host, need, outcomes) {
            self.answered(asked, answer);
        }
        self.advance(host);
        self.idle()
    }

    fn advance(&mut self, host: &mut Host) {
        while self.trees.is_empty() && self.looks.is_empty() {
            if self.failed.is_some() {
                self.pending.clear();
                self.stages.clear();
            }
            if self.pending.is_empty() {
                let Some(mut stage) = self.stages.pop() else {
                    let Some((index, changes)) = self.leftovers.pop() else { return };
                    self.ask(host, Asked::Undo, index, changes);
                    continue;
                };
                // What is not written needs nothing.
                stage.retain(|claim| !self.taken.iter().any(|taken| taken.write == claim.write));
                self.pending = stage;
                continue;
            }
            self.ask_all(host);
        }
    }

    fn ask_all(&mut self, host: &mut Host) {
        let mut groups: Map<usize, (Vec<Claim>, Vec<Change>)> = Map::new();
        let (mut looks, mut gets) = (Vec::new(), Vec::new());
        for mut claim in core::mem::take(&mut self.pending) {
            claim.tries += 1;
            if claim.tries > TRIES_MAX {
                let message = format!("an index of \"{}\" keeps changing", self.target.name);
                self.failed.get_or_insert(error(SERIALIZATION, message));
                continue;
            }
            let key = claim.place.1.clone();
            let change = match &claim.next {
                Next::Set(expect, _) => Change { key, what: What::Set(claim.value(), self.stamp), expect: *expect },
                Next::Evict(entry) => Change { key, what: What::Remove(LEASE_US), expect: Held::Stamp(entry.stamp) },
                Next::Look(_) | Next::LookAgain(..) | Next::Own(_) => {
                    let rows = match &claim.next {
                        Next::Look(entry) | Next::LookAgain(entry, _) => claim.others(entry),
                        _ => vec![claim.row.clone()],
                    };
                    gets.extend(rows.iter().map(|row| KeyOp {
                        namespace: self.target.namespace.clone(),
                        locality_bits: self.target.locality_bits,
                        key: row.clone(),
                        action: Action::Get,
                        proof: None,
                    }));
                    looks.push((claim, rows));
                    continue;
                }
            };
            let (claims, changes) = groups.entry(claim.place.0).or_default();
            claims.push(claim);
            changes.push(change);
        }
        if !gets.is_empty() {
            self.looks.insert(host.ops(gets), looks);
        }
        for (index, (claims, changes)) in groups {
            self.ask(host, Asked::Claims(claims), index, changes);
        }
    }

    fn ask(&mut self, host: &mut Host, asked: Asked, index: usize, changes: Vec<Change>) {
        let Some(namespace) = self.target.indexes.get(index).map(|index| index.namespace.clone()) else { return };
        let over = self.trees.begin(host, asked, &namespace, self.target.locality_bits, Request::Write(changes));
        if let Some((asked, answer)) = over {
            self.answered(asked, answer);
        }
    }

    fn answered(&mut self, asked: Asked, answer: Answer) {
        let claims = match asked {
            Asked::Claims(claims) => claims,
            // What could not be undone is an entry too many.
            Asked::Undo => return,
            Asked::Reclaim(rows) => {
                let all = rows.into_iter().zip(answer.wrote);
                self.overtaken.extend(all.filter(|(_, wrote)| *wrote != Wrote::Done).map(|(row, _)| row));
                return;
            }
        };
        for (mut claim, wrote) in claims.into_iter().zip(answer.wrote) {
            match (wrote, claim.next.clone()) {
                (Wrote::Unexpected(found), _) if claim.again => {
                    (claim.again, claim.next) = (false, Next::Own(found));
                    self.pending.push(claim);
                }
                (Wrote::Done, next @ Next::Set(..)) => self.has(claim, &next),
                (Wrote::Done, Next::Evict(entry)) => {
                    claim.next = Next::Set(Held::Absent, Some(entry));
                    self.pending.push(claim);
                }
                (Wrote::Unexpected(None), _) => {
                    claim.next = Next::Set(Held::Absent, None);
                    self.pending.push(claim);
                }
                (Wrote::Unexpected(Some(entry)), next) => self.met(claim, entry, &next),
                (Wrote::Unreachable, next) => {
                    // It may have happened.
                    let before = next.overwrites();
                    self.keep(&claim, before);
                    self.failed.get_or_insert(Error::Unreachable);
                }
                (Wrote::Refused(refusal), _) => {
                    self.failed.get_or_insert(refusal.into());
                }
                (Wrote::Done, Next::Look(_) | Next::LookAgain(..) | Next::Own(_)) => {}
            }
        }
    }

    /// The entry is that of a claim.
    fn has(&mut self, mut claim: Claim, asked: &Next) {
        let before = asked.overwrites();
        match asked {
            // What was evicted may yet turn out to be the entry of a row that has come meanwhile.
            Next::Set(_, Some(other)) if !claim.others(other).is_empty() => {
                self.keep(&claim, Some(other.clone()));
                claim.next = Next::LookAgain(other.clone(), before.is_none());
                self.pending.push(claim);
            }
            _ => self.keep(&claim, before),
        }
    }

    fn keep(&mut self, claim: &Claim, before: Option<Entry>) {
        // Of an index that cannot be filled nothing is left.
        if self.building {
            return;
        }
        let row = claim.row.clone();
        self.kept.get_or_insert_with(claim.place.clone(), || Kept { before, row, used: false });
    }

    /// There is an entry already.
    fn met(&mut self, mut claim: Claim, entry: Entry, asked: &Next) {
        let others = claim.others(&entry);
        if entry.stamp == self.stamp && value_to_rows(&entry.value).first() == Some(&claim.row) {
            // This statement wrote it, perhaps just now, told twice.
            self.has(claim, asked);
        } else if others.is_empty() {
            // Also for rows that were there before the index: who claims it may yet take it back.
            claim.next = Next::Set(Held::Stamp(entry.stamp), Some(entry));
            self.pending.push(claim);
        } else if entry.stamp == self.stamp && !self.building {
            // Two rows of one statement.
            self.taken.push(Taken { write: claim.write, index: claim.place.0, by: None });
        } else if matches!(asked, Next::Set(_, Some(evicted)) if *evicted == entry) {
            // Too young to be taken away: somebody is about to write that row.
            self.taken.push(Taken { write: claim.write, index: claim.place.0, by: None });
        } else {
            claim.next = Next::Look(entry);
            self.pending.push(claim);
        }
    }

    /// What the rows are like that were looked at.
    fn looked_at(&mut self, mut claim: Claim, rows: Vec<Vec<u8>>, outcomes: Vec<Outcome>) {
        let Some(index) = self.target.indexes.get(claim.place.0) else { return };
        let mut by = None;
        for (key, outcome) in rows.iter().zip(outcomes) {
            let found = match outcome {
                Outcome::Found { value, version, .. } => {
                    self.target.read(&value).map(|(row, _)| Some((row, value, version)))
                }
                Outcome::Absent => Ok(None),
                Outcome::Refused(refusal) => Err(refusal.into()),
                _ => Err(Error::Unreachable),
            };
            match found {
                Ok(Some((row, value, version))) if index.key(&row, key) == claim.place.1 => {
                    by.get_or_insert((key.clone(), value, version));
                }
                Ok(_) => {}
                Err(error) => {
                    self.failed.get_or_insert(error);
                    return;
                }
            }
        }
        match (claim.next.clone(), by) {
            (Next::Own(None), Some(_)) => {
                claim.next = Next::Set(Held::Absent, None);
                self.pending.push(claim);
            }
            (Next::Own(Some(entry)), Some(_)) => self.met(claim, entry, &Next::Set(Held::Stamp(self.stamp), None)),
            // Somebody has changed the row since, and its entries with it.
            (Next::Own(_), None) => {}
            (_, by @ Some(_)) => self.taken.push(Taken { write: claim.write, index: claim.place.0, by }),
            (Next::LookAgain(_, evicted), None) => {
                if let Some(kept) = self.kept.get_mut(&claim.place).filter(|_| evicted) {
                    kept.before = None;
                }
            }
            (Next::Look(entry), None) => {
                claim.former = rows;
                if claim.former.len() + 1 + usize::from(claim.also.is_some()) > ROWS_MAX {
                    self.taken.push(Taken { write: claim.write, index: claim.place.0, by: None });
                    return;
                }
                // What stands for a row of ours, too, is not in the way.
                let shared = value_to_rows(&entry.value).len() > claim.former.len();
                claim.next = if shared { Next::Set(Held::Stamp(entry.stamp), Some(entry)) } else { Next::Evict(entry) };
                self.pending.push(claim);
            }
            (Next::Set(..) | Next::Evict(_), None) => {}
        }
    }
}
