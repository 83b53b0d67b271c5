//! One request of a client, as rounds of operations on keys: a sans-IO state machine.
//!
//! The host calls [`Task::poll`], carries out the operations in any order, tells the outcomes by [`Task::on_outcomes`],
//! and so on until there are none; then [`Task::into_answer`]. All that can go on at once goes in one round: a range is
//! read in as many rounds as its tree is deep, and writes go to the owners of their leaves together.
//!
//! What blocks it (a leaf that is full, a split that somebody began and did not end) the task mends itself ([`Mend`]):
//! what somebody else is doing it leaves alone for one round trip first.

use super::{
    label::Label,
    mend::{Mend, Want},
    node::{
        BUCKET_BYTES, BUCKET_MAX, Body, Change, Edit, Entry, KEY_MAX, Node, Refused, State, VALUE_MAX, What, bytes,
    },
    search::{Search, Shape, Step},
};
use crate::{
    map::{Map, Set},
    store::{Action, KeyOp, Outcome, Refusal, Version},
};

/// Operations of one round at most.
const ROUND_MAX: usize = 256;
/// Changes of one leaf in one operation at most, when it is not known how many it has room for.
const CHANGES_MAX: usize = 32;
/// Bytes of those, about.
const CHANGES_BYTES: usize = BUCKET_BYTES * 3 / 4;
/// Entries of a range, and parts of it that are looked at at once: what is beyond is missing.
const FOUND_MAX: usize = 1_000_000;
const GOALS_MAX: usize = 65_536;
/// How often a node is looked for that should be there: it is lost, with all who held it.
const LOST_MAX: u32 = 8;
/// Rounds in which one goal comes to nothing.
const TRIES_MAX: u32 = 100;

/// What a client asks of a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The entries of a range, in order.
    Range(Range),
    /// Changes, each on its own.
    Write(Vec<Change>),
}

/// A range of keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Range {
    /// From this key on.
    pub from: Vec<u8>,
    /// Before this key; `None`: to the end.
    pub to: Option<Vec<u8>>,
    /// The last ones first.
    pub backwards: bool,
    /// No more than so many.
    pub limit: Option<usize>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrote {
    /// It is done.
    Done,
    /// It expected something else: what is there.
    Unexpected(Option<Entry>),
    /// The owner could not be reached. It may have happened.
    Unreachable,
    /// It was refused for good.
    Refused(Refusal),
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The entries of a range.
    pub entries: Vec<Entry>,
    /// What became of each change.
    pub wrote: Vec<Wrote>,
    /// Buckets read.
    pub buckets: u64,
    /// Parts of the range that could not be read.
    pub missing: u64,
    /// Why a part may not be read.
    pub refused: Option<Refusal>,
    /// Operations on keys.
    pub probes: u64,
    /// Rounds of them.
    pub rounds: u64,
}

impl Answer {
    /// The share of the buckets of a range that answered: exactly 1, or below.
    pub fn coverage(&self) -> f64 {
        if self.missing == 0 { 1.0 } else { self.buckets as f64 / (self.buckets + self.missing) as f64 }
    }
}

/// A part of a range to be read.
struct Goal {
    search: Search,
    tries: u32,
    /// How often nothing was where its parent says that a node is.
    lost: u32,
}

/// A change to be made.
struct Item {
    change: Change,
    search: Search,
    tries: u32,
    lost: u32,
    wrote: Option<Wrote>,
}

/// What an operation of a round is for.
enum Asked {
    Goal(usize),
    Items(Label, Vec<usize>),
    Mend(usize),
}

/// See the module.
pub struct Task {
    namespace: String,
    locality_bits: u8,
    range: Range,
    /// In the order of their targets, which are disjoint.
    goals: Vec<Goal>,
    found: Map<Vec<u8>, Entry>,
    items: Vec<Item>,
    /// Those that are not over, by the label where they are looked for next.
    waiting: Map<Label, Vec<usize>>,
    mends: Vec<Mend>,
    asked: Vec<Asked>,
    /// Versions of nodes that somebody else is busy with, seen once.
    busy: Map<Label, Option<Version>>,
    /// How many changes a leaf takes.
    room: Map<Label, usize>,
    /// Leaves that may have few entries left, with the bits of their parents' names.
    low: Map<Label, u16>,
    /// Leaves to look at when all is done.
    thin: Set<Label>,
    answer: Answer,
}

impl Task {
    /// Begins a request of the tree `namespace`.
    pub fn new(namespace: String, locality_bits: u8, request: Request, shape: &Shape) -> Task {
        let mut task = Task {
            namespace,
            locality_bits,
            range: Range::default(),
            goals: Vec::new(),
            found: Map::new(),
            items: Vec::new(),
            waiting: Map::new(),
            mends: Vec::new(),
            asked: Vec::new(),
            busy: Map::new(),
            room: Map::new(),
            low: Map::new(),
            thin: Set::new(),
            answer: Answer::default(),
        };
        match request {
            Request::Range(range) => {
                let from = Label::of(&range.from);
                let common = range.to.as_ref().map_or(0, |to| from.common(&Label::of(to)));
                if range.to.as_ref().is_none_or(|to| range.from < *to) {
                    task.goals.push(Goal { search: Search::new(from.prefix(common), shape), tries: 0, lost: 0 });
                }
                task.range = range;
            }
            Request::Write(changes) => {
                task.items = changes
                    .into_iter()
                    .map(|change| {
                        let target = Label::of(&change.key);
                        // From the root, which tells of the nodes below it.
                        let from = shape.guess(&target).unwrap_or(0);
                        let search = Search::at(target, from);
                        let large = change.key.len() > KEY_MAX
                            || matches!(&change.what, What::Set(value, _) if value.len() > VALUE_MAX);
                        let wrote = large.then_some(Wrote::Refused(Refusal::TooLarge));
                        Item { change, search, tries: 0, lost: 0, wrote }
                    })
                    .collect();
                (0..task.items.len()).for_each(|index| task.wait(index));
            }
        }
        task
    }

    /// A change is looked for where its search says, unless it is over.
    fn wait(&mut self, index: usize) {
        let item = &self.items[index];
        if item.wrote.is_none() {
            self.waiting.entry(item.search.probe()).or_default().push(index);
        }
    }

    /// The operations of the next round; none: it is over.
    pub fn poll(&mut self) -> Vec<KeyOp> {
        self.asked.clear();
        let mut ops = Vec::new();
        for mut mend in std::mem::take(&mut self.mends) {
            let next = mend.poll();
            if !next.is_empty() {
                self.asked.extend(next.iter().map(|_| Asked::Mend(self.mends.len())));
                self.mends.push(mend);
                ops.extend(next);
            }
        }
        self.read(&mut ops);
        self.write(&mut ops);
        if ops.is_empty() && !self.thin.is_empty() {
            let parent = |name: &Label| name.prefix(self.low.get(name).map_or(0, |bits| *bits));
            let parents: Set<Label> = self.thin.iter().map(parent).collect();
            self.thin.clear();
            self.mends.extend(parents.into_iter().map(|name| Mend::new(name, Want::Merge, None, None)));
            return self.poll();
        }
        self.answer.probes += ops.len() as u64;
        self.answer.rounds += u64::from(!ops.is_empty());
        let namespace = &self.namespace;
        let op = |(label, action): (Label, Action)| KeyOp {
            namespace: namespace.clone(),
            locality_bits: self.locality_bits,
            key: label.to_key(),
            action,
            proof: None,
        };
        ops.into_iter().map(op).collect()
    }

    /// What came of it.
    pub fn into_answer(self) -> Answer {
        let limit = self.range.limit.unwrap_or(usize::MAX);
        let mut answer = self.into_read();
        answer.entries.truncate(limit);
        answer
    }

    /// The same with entries beyond the limit of a range, as far as they were read: none is missing between them.
    pub fn into_read(mut self) -> Answer {
        let entries = self.found.into_values();
        self.answer.entries = if self.range.backwards { entries.rev().collect() } else { entries.collect() };
        self.answer.wrote = self.items.into_iter().map(|item| item.wrote.unwrap_or(Wrote::Unreachable)).collect();
        self.answer
    }

    /// The labels under which something is being mended.
    fn mended(&self) -> Set<Label> {
        self.mends.iter().flat_map(|mend| core::iter::once(mend.name()).chain(mend.blocked())).cloned().collect()
    }

    fn read(&mut self, ops: &mut Vec<(Label, Action)>) {
        let mut most = ROUND_MAX.saturating_sub(ops.len());
        if let Some(limit) = self.range.limit {
            let in_order = self.in_order();
            let have = self.found.keys().filter(|key| in_order(key)).count();
            if have >= limit {
                self.found.retain(|key, _| in_order(key));
                self.goals.clear();
            }
            most = most.min(1 + (limit - have.min(limit)) / (BUCKET_MAX / 2));
        }
        let mut order: Vec<usize> = (0..self.goals.len()).collect();
        if self.range.backwards {
            order.reverse();
        }
        let mended = self.mended();
        for index in order.into_iter().take(most) {
            let label = self.goals[index].search.probe();
            if !mended.contains(&label) {
                ops.push((label, Action::Get));
                self.asked.push(Asked::Goal(index));
            }
        }
    }

    /// Which entries come before everything that is not read yet.
    fn in_order(&self) -> impl Fn(&[u8]) -> bool + use<> {
        let backwards = self.range.backwards;
        let next = if backwards { self.goals.last() } else { self.goals.first() };
        let next = next.map(|goal| goal.search.target().clone());
        move |key| {
            next.as_ref().is_none_or(|next| {
                let key = Label::of(key);
                let common = key.common(next);
                common < next.len() && key.bit(common) == backwards
            })
        }
    }

    fn write(&mut self, ops: &mut Vec<(Label, Action)>) {
        let mended = self.mended();
        for (label, waiting) in self.waiting.iter().filter(|(label, _)| !mended.contains(*label)) {
            if ops.len() >= ROUND_MAX {
                break;
            }
            let most = self.room.get(label).copied().unwrap_or(CHANGES_MAX);
            let (mut changes, mut sum) = (Vec::new(), 0);
            for change in waiting.iter().map(|index| &self.items[*index].change) {
                sum += change.bytes();
                if !changes.is_empty() && (changes.len() >= most || sum >= CHANGES_BYTES) {
                    break;
                }
                changes.push(change.clone());
            }
            let group = waiting[..changes.len()].to_vec();
            let edit = Edit::Entries { changes, low: self.low.contains_key(label) };
            ops.push((label.clone(), Action::Edit { edit: edit.encode() }));
            self.asked.push(Asked::Items(label.clone(), group));
        }
    }

    /// The outcomes of a round, in the order of its operations.
    pub fn on_outcomes(&mut self, shape: &mut Shape, outcomes: Vec<Outcome>) {
        let mut read = Set::new();
        let mut more = Vec::new();
        let mut mended: Map<usize, Vec<Outcome>> = Map::new();
        for (asked, outcome) in std::mem::take(&mut self.asked).into_iter().zip(outcomes) {
            match asked {
                Asked::Mend(index) => mended.entry(index).or_default().push(outcome),
                Asked::Items(label, group) => {
                    let waited = self.waiting.remove(&label).unwrap_or_default();
                    self.on_edited(shape, &label, &group, &waited[group.len()..], outcome);
                    waited.into_iter().for_each(|index| self.wait(index));
                }
                Asked::Goal(index) => {
                    if let Some(found) = self.on_read(shape, index, outcome) {
                        read.insert(index);
                        more.extend(found);
                    }
                }
            }
        }
        for (index, outcomes) in mended {
            if let Some(mend) = self.mends.get_mut(index) {
                mend.on_outcomes(outcomes);
            }
        }
        if !read.is_empty() {
            let mut index = 0;
            self.goals.retain(|_| {
                index += 1;
                !read.contains(&(index - 1))
            });
            self.goals.append(&mut more);
            if self.goals.len() > GOALS_MAX || self.found.len() > FOUND_MAX {
                self.answer.missing += self.goals.len() as u64;
                self.goals.clear();
            }
            self.goals.sort_by(|a, b| a.search.target().cmp(b.search.target()));
        }
    }

    /// A goal's probe; the goals that take its place when it is over.
    fn on_read(&mut self, shape: &mut Shape, index: usize, outcome: Outcome) -> Option<Vec<Goal>> {
        let goal = &mut self.goals[index];
        goal.tries += 1;
        let label = goal.search.probe();
        let found = match outcome {
            Outcome::Found { value, version, .. } => Node::decode(&label, &value).map(|node| Some((node, version))),
            Outcome::Absent => Some(None),
            Outcome::Refused(refusal) => {
                self.answer.refused = Some(refusal);
                None
            }
            _ => None,
        };
        // Out of reach, no node, or never what it should be.
        let Some(seen) = found.filter(|_| goal.tries <= TRIES_MAX) else {
            self.answer.missing += 1;
            return Some(Vec::new());
        };
        let node = seen.as_ref().map(|(node, _)| node);
        shape.learn(&label, node);
        let step = goal.search.on(node);
        let target = goal.search.target().clone();
        match step {
            Step::On => None,
            Step::Blocked(bits, parent) => {
                goal.lost += u32::from(seen.is_none());
                if goal.lost > LOST_MAX {
                    self.answer.missing += 1;
                    return Some(Vec::new());
                }
                self.blocked(target.prefix(parent), Some(target.prefix(bits)), seen);
                None
            }
            Step::Here | Step::Within => {
                // An inner node without a longer extent has no bucket.
                let bare = |node: &Node| matches!(&node.body, Body::Inner { extent, .. } if *extent == label);
                self.answer.buckets += u64::from(!node.is_some_and(bare));
                let Some(node) = node else { return Some(Vec::new()) };
                for entry in node.bucket() {
                    let inside =
                        entry.key >= self.range.from && self.range.to.as_ref().is_none_or(|to| entry.key < *to);
                    if inside && target.begins(&entry.key) {
                        self.found.insert(entry.key.clone(), entry.clone());
                    }
                }
                let cut = match &node.body {
                    Body::Inner { cut, .. } if step == Step::Within => &cut[..],
                    _ => &[],
                };
                let wanted = cut.iter().filter(|name| self.range.meets(name)).cloned();
                Some(
                    wanted
                        .map(|name| Goal { search: Search::at(name.clone(), name.len()), tries: 0, lost: 0 })
                        .collect(),
                )
            }
        }
    }

    /// What came of the changes in `group`; the `others` are looked for under the same label.
    fn on_edited(&mut self, shape: &mut Shape, label: &Label, group: &[usize], others: &[usize], outcome: Outcome) {
        let over = |task: &mut Task, wrote: Wrote| {
            group.iter().for_each(|index| task.items[*index].wrote = Some(wrote.clone()));
        };
        let seen = match outcome {
            Outcome::Stored { .. } => {
                if let Some(room) = self.room.get_mut(label) {
                    *room = room.saturating_sub(group.len()).max(1);
                }
                if self.low.contains_key(label) {
                    self.thin.insert(label.clone());
                }
                return over(self, Wrote::Done);
            }
            Outcome::Absent => return over(self, Wrote::Done),
            Outcome::Conflict { current } => match current {
                None => None,
                Some((value, version)) => match Node::decode(label, &value) {
                    Some(node) => Some((node, version)),
                    None => return over(self, Wrote::Refused(Refusal::Malformed)),
                },
            },
            Outcome::Refused(refusal) => return over(self, Wrote::Refused(refusal)),
            _ => return over(self, Wrote::Unreachable),
        };
        let node = seen.as_ref().map(|(node, _)| node);
        shape.learn(label, node);
        let (mut here, mut blocked) = (Vec::new(), Set::new());
        for index in group {
            let item = &mut self.items[*index];
            item.tries += 1;
            if item.tries > TRIES_MAX {
                item.wrote = Some(Wrote::Unreachable);
                continue;
            }
            let target = item.search.target().clone();
            let before = item.search.clone();
            match item.search.on(node) {
                Step::Here => {
                    // The next probe is the same.
                    item.search = before;
                    here.push(*index);
                }
                Step::Blocked(bits, parent) => {
                    item.lost += u32::from(node.is_none());
                    if item.lost > LOST_MAX {
                        item.wrote = Some(Wrote::Unreachable);
                    }
                    blocked.insert((target.prefix(parent), target.prefix(bits)));
                }
                // All keys below begin with it.
                Step::Within => item.wrote = Some(Wrote::Refused(Refusal::Malformed)),
                Step::On => {}
            }
        }
        // They need not meet the same node to be looked for further on.
        for index in others {
            let item = &mut self.items[*index];
            let before = item.search.clone();
            if item.search.on(node) != Step::On {
                item.search = before;
            }
        }
        for (name, child) in blocked {
            self.blocked(name, Some(child), seen.clone());
        }
        if !here.is_empty() {
            // Nothing is under the root's label: an empty leaf is.
            let (node, version) = seen.unzip();
            self.why(label, node.unwrap_or(Node::leaf(None, Vec::new())), version, &here);
        }
    }

    /// Why a node did not take changes that belong to it.
    fn why(&mut self, label: &Label, node: Node, version: Option<Version>, here: &[usize]) {
        if node.state != State::Open {
            self.blocked(label.clone(), None, Some(node).zip(version));
            return;
        }
        let changes: Vec<Change> = here.iter().map(|index| self.items[*index].change.clone()).collect();
        // One by one: what cannot be is over, and the others are sent again without it.
        let (mut trial, mut over) = (node.clone(), false);
        for (index, change) in here.iter().zip(&changes) {
            let held = || node.bucket().iter().find(|entry| entry.key == change.key).cloned();
            let wrote = match trial.change(label, core::slice::from_ref(change), true, u64::MAX) {
                Err(Refused::Unexpected(_)) => Wrote::Unexpected(held()),
                Err(Refused::Unfit(_) | Refused::Malformed) => Wrote::Refused(Refusal::Malformed),
                _ => continue,
            };
            self.items[*index].wrote = Some(wrote);
            over = true;
        }
        if over {
            return;
        }
        let low = self.low.contains_key(label);
        match node.clone().change(label, &changes, low, u64::MAX) {
            Err(Refused::Full) => self.make_room(label, node, version),
            Err(Refused::Low) => {
                self.low.insert(label.clone(), node.ups.first().copied().unwrap_or(0));
            }
            // It is another one by now, or was.
            _ => {}
        }
    }

    /// A leaf is full, or will be: fewer changes at a time, or a split.
    fn make_room(&mut self, label: &Label, node: Node, version: Option<Version>) {
        let (count, size) = (node.bucket().len(), bytes(node.bucket()));
        if count >= BUCKET_MAX * 3 / 4 || size >= BUCKET_BYTES / 4 {
            self.room.remove(label);
            self.mends.push(Mend::new(label.clone(), Want::Split, Some(node).zip(version), None));
        } else {
            self.room.insert(label.clone(), BUCKET_MAX - count);
        }
    }

    /// Something is under way at a node. Who began it may be about to finish it: only what is found twice is mended.
    fn blocked(&mut self, name: Label, child: Option<Label>, seen: Option<(Node, Version)>) {
        let at = child.clone().unwrap_or_else(|| name.clone());
        let version = seen.as_ref().map(|(_, version)| *version);
        if self.busy.insert(at, version) != Some(version) || self.mends.iter().any(|mend| *mend.name() == name) {
            return;
        }
        let seen = if child.is_some() { None } else { seen };
        let mend = Mend::new(name, Want::Nothing, seen, child);
        self.mends.push(if self.items.is_empty() { mend.reading() } else { mend });
    }
}

impl Range {
    /// Whether keys below a label may lie in it.
    fn meets(&self, label: &Label) -> bool {
        let from = Label::of(&self.from);
        let at = label.common(&from);
        let after_begin = at == label.len() || at == from.len() || label.bit(at);
        let before_end = self.to.as_ref().is_none_or(|to| {
            let to = Label::of(to);
            let at = label.common(&to);
            at < to.len() && (at == label.len() || !label.bit(at))
        });
        after_begin && before_end
    }
}
