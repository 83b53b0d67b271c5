//! Splits and merges: small protocols over a node and its two children, which any peer may finish.
//!
//! ```text
//!   leaf ──▶ splitting(v) ── children pending(v) ──▶ inner, made v ── children open
//!   inner ─▶ merging(v) ──── children frozen(v) ───▶ leaf ─────────── children removed
//!                       └─── one of them may not ──▶ inner ────────── children open
//! ```
//!
//! Each arrow is a conditional put of one record, and the parent's record alone decides: its version `v` while it splits
//! or merges names the change, and a child that says `pending(v)` or `frozen(v)` asks nobody else. What moves is fixed by
//! the parent's record when a split begins and by the children's when a merge does, so whoever finishes it writes the same.
//! A bucket is readable in one place at a time: at the parent until it is inner or after it is a leaf, at the children
//! while they are open. So a crash at any step loses nothing, and a reader is never answered from a copy that is not the
//! current one. The parent is read after its children: one that was read later may belong to a change that came later.
//!
//! The prefix hash tree is that of Ramabhadran, Ratnasamy, Hellerstein, Shenker (*Prefix Hash Tree*, 2004); the protocol
//! is ours.

use super::{
    label::{Label, handle},
    node::{BUCKET_BYTES, BUCKET_LOW, BUCKET_MAX, Body, CUT_MAX, Edit, Entry, Node, State, UPS_MAX, bytes},
};
use crate::store::{Action, Expect, Outcome, Version};

/// Writes of one repair at most, its reads included.
const STEPS_MAX: u32 = 48;

/// What is to be done beyond finishing what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing.
    Nothing,
    /// The node is full.
    Split,
    /// Its children have few entries.
    Merge,
}

/// What is known of a record.
#[derive(Clone, Debug)]
enum Known {
    Unknown,
    Absent,
    Is(Box<Node>, Version),
}

/// What a record is when an operation has succeeded.
#[derive(Clone, Debug)]
enum After {
    /// It was read.
    Read,
    Gone,
    Is(Box<Node>),
}

/// A repair under way at one node.
#[derive(Clone, Debug)]
pub struct Mend {
    name: Label,
    want: Want,
    /// A child that answers nothing.
    blocked: Option<Label>,
    /// The node and its children.
    known: [Known; 3],
    kids: Option<[Label; 2]>,
    asked: Vec<(usize, After)>,
    steps: u32,
    failures: u32,
    /// Hints for nodes above: nobody waits for what comes of them.
    hints: Vec<(Label, Edit)>,
    /// Those under way.
    hinted: Vec<(Label, Edit)>,
    markers: Vec<(Label, Node, Expect)>,
    /// Those under way.
    marked: Vec<(Label, Node)>,
    over: bool,
    /// A child was read since the node was.
    stale: bool,
    /// Whether what is lost is begun anew: who only reads does not.
    revives: bool,
    /// The node above has few entries below it, perhaps.
    thin: Option<Label>,
}

impl Mend {
    /// Begins with a node, perhaps seen already, because of a child that answers nothing.
    pub fn new(name: Label, want: Want, seen: Option<(Node, Version)>, blocked: Option<Label>) -> Mend {
        let seen = seen.map_or(Known::Unknown, |(node, version)| Known::Is(Box::new(node), version));
        Mend {
            name,
            want,
            blocked,
            known: [seen, Known::Unknown, Known::Unknown],
            kids: None,
            asked: Vec::new(),
            steps: 0,
            failures: 0,
            hints: Vec::new(),
            hinted: Vec::new(),
            markers: Vec::new(),
            marked: Vec::new(),
            over: false,
            stale: false,
            revives: true,
            thin: None,
        }
    }

    /// The same for who only reads: what is lost stays so.
    pub fn reading(self) -> Mend {
        Mend { revives: false, ..self }
    }

    /// The node.
    pub fn name(&self) -> &Label {
        &self.name
    }

    /// The child that answers nothing.
    pub fn blocked(&self) -> Option<&Label> {
        self.blocked.as_ref()
    }

    /// What is to be done next, in any order, and what comes of it told to [`Mend::on_outcomes`]; empty when it has ended.
    pub fn poll(&mut self) -> Vec<(Label, Action)> {
        if self.over {
            return Vec::new();
        }
        self.asked.clear();
        self.steps += 1;
        let mut ops = if self.steps > STEPS_MAX || self.failures > 3 {
            self.over = true;
            Vec::new()
        } else {
            self.decide()
        };
        // What makes room above comes before what needs it.
        let folds = self.hints.iter().any(|(_, edit)| *edit == Edit::Fold);
        self.hinted = self.hints.extract_if(.., |(_, edit)| !folds || *edit == Edit::Fold).collect();
        ops.extend(self.hinted.iter().map(|(label, edit)| (label.clone(), Action::Edit { edit: edit.encode() })));
        for (label, marker, expect) in std::mem::take(&mut self.markers) {
            ops.push((label.clone(), Action::Put { value: marker.encode(), expect, ttl_us: None }));
            self.marked.push((label, marker));
        }
        if ops.is_empty()
            && let Some(up) = self.thin.take()
        {
            self.steps = 0;
            ops = self.go_to(up, None);
            self.want = Want::Merge;
        }
        self.over |= ops.is_empty();
        ops
    }

    /// Takes in outcomes, in the order of the operations. Nothing depends on those of hints and markers.
    pub fn on_outcomes(&mut self, outcomes: Vec<Outcome>) {
        let mut hinted = outcomes.iter().skip(self.asked.len());
        for ((label, edit), outcome) in std::mem::take(&mut self.hinted).into_iter().zip(&mut hinted) {
            if let (Edit::Cut { old, new }, Outcome::Conflict { current: Some((value, _)) }) = (edit, outcome) {
                self.fold(label, &old, &new, value);
            }
        }
        for ((label, marker), outcome) in std::mem::take(&mut self.marked).into_iter().zip(hinted) {
            if let Outcome::Conflict { current: Some((value, version)) } = outcome
                && let Some(old) = Node::decode(&label, value)
                && matches!(old.body, Body::Marker { .. })
                && old != marker
            {
                self.markers.push((label, marker, Expect::Version(*version)));
            }
        }
        for ((slot, after), outcome) in std::mem::take(&mut self.asked).into_iter().zip(outcomes) {
            let Some(name) = self.label(slot) else { continue };
            self.stale |= slot > 0 && !matches!(outcome, Outcome::Stored { .. });
            let mut foreign = false;
            let mut decoded = |value: &[u8], version| match Node::decode(&name, value) {
                Some(node) => Known::Is(Box::new(node), version),
                None => {
                    foreign = true;
                    Known::Unknown
                }
            };
            self.known[slot] = match outcome {
                Outcome::Found { value, version, .. } | Outcome::Conflict { current: Some((value, version)) } => {
                    decoded(&value, version)
                }
                Outcome::Absent | Outcome::Conflict { current: None } => Known::Absent,
                Outcome::Stored { version } => match after {
                    After::Is(node) => {
                        self.on_written(slot, &node);
                        Known::Is(node, version)
                    }
                    After::Gone | After::Read => Known::Absent,
                },
                _ => {
                    self.failures += 1;
                    Known::Unknown
                }
            };
            // What does not read is nobody's to change.
            self.over |= foreign;
        }
    }

    /// Whose record a slot is of.
    fn label(&self, slot: usize) -> Option<Label> {
        match slot {
            0 => Some(self.name.clone()),
            slot => self.kids.as_ref().map(|kids| kids[slot - 1].clone()),
        }
    }

    fn get(&mut self, slots: &[usize]) -> Vec<(Label, Action)> {
        slots
            .iter()
            .filter_map(|slot| {
                let label = self.label(*slot)?;
                self.asked.push((*slot, After::Read));
                Some((label, Action::Get))
            })
            .collect()
    }

    /// Writes a node where its slot is as it is known.
    fn put(&mut self, slot: usize, node: Node) -> Option<(Label, Action)> {
        let expect = match &self.known[slot] {
            Known::Is(_, version) => Expect::Version(*version),
            Known::Absent => Expect::Absent,
            Known::Unknown => return None,
        };
        let action = Action::Put { value: node.encode(), expect, ttl_us: None };
        let label = self.label(slot)?;
        self.asked.push((slot, After::Is(Box::new(node))));
        Some((label, action))
    }

    /// Goes on at another node, perhaps because of one that waits for it.
    fn go_to(&mut self, name: Label, blocked: Option<Label>) -> Vec<(Label, Action)> {
        (self.name, self.blocked, self.want, self.kids) = (name, blocked, Want::Nothing, None);
        self.stale = false;
        self.known = [Known::Unknown, Known::Unknown, Known::Unknown];
        self.get(&[0])
    }

    /// Looks only at children of these names.
    fn look_at(&mut self, kids: [Label; 2]) {
        if self.kids.as_ref() != Some(&kids) {
            self.kids = Some(kids);
            (self.known[1], self.known[2]) = (Known::Unknown, Known::Unknown);
        }
    }

    fn decide(&mut self) -> Vec<(Label, Action)> {
        // A child that was read may belong to a change that came after this node was read.
        if std::mem::take(&mut self.stale) {
            return self.get(&[0]);
        }
        let (node, version) = match &self.known[0] {
            Known::Unknown => return self.get(&[0]),
            // Nothing is here: the tree has another shape by now.
            Known::Absent => return Vec::new(),
            Known::Is(node, version) => ((**node).clone(), *version),
        };
        match (node.state, &node.body) {
            (_, Body::Marker { .. }) => Vec::new(),
            (State::Pending | State::Frozen, _) => {
                let up = node.ups.first().copied().unwrap_or(0).min(self.name.len().saturating_sub(1));
                let name = self.name.clone();
                self.go_to(name.prefix(up), Some(name))
            }
            (State::Splitting, _) => self.split(node, version),
            (State::Merging, Body::Inner { .. }) => self.merge(node, version),
            (State::Open, Body::Inner { extent, .. }) => {
                let extent = extent.clone();
                self.inner(node, version, extent)
            }
            (State::Merging, Body::Leaf(_)) => Vec::new(),
            (State::Open, Body::Leaf(_)) => {
                if self.want == Want::Split && halves(&self.name, &node, version).is_some() {
                    self.want = Want::Nothing;
                    return self.put(0, Node { state: State::Splitting, ..node }).into_iter().collect();
                }
                self.sweep()
            }
        }
    }

    /// Children of what is a leaf are what a merge left behind.
    fn sweep(&mut self) -> Vec<(Label, Action)> {
        if let (None, Some(blocked)) = (&self.kids, self.blocked.take()) {
            let kids = [blocked.sibling(), blocked];
            self.look_at(kids);
            return self.get(&[1, 2]);
        }
        let mut ops = Vec::new();
        for slot in [1, 2] {
            if let Known::Is(node, version) = &self.known[slot]
                && matches!(node.state, State::Pending | State::Frozen)
            {
                let action = Action::Remove { expect: Expect::Version(*version) };
                ops.extend(self.label(slot).map(|label| (label, action)));
                self.asked.push((slot, After::Gone));
            }
        }
        ops
    }

    fn inner(&mut self, node: Node, version: Version, extent: Label) -> Vec<(Label, Action)> {
        if self.want == Want::Split && halves(&self.name, &node, version).is_some() {
            self.want = Want::Nothing;
            return self.put(0, Node { state: State::Splitting, ..node }).into_iter().collect();
        }
        if let Some(blocked) = &self.blocked
            && extent.is_prefix_of(blocked)
            && extent.len() + 1 < blocked.len()
        {
            // Its parent is further below by now.
            let blocked = blocked.clone();
            return self.go_to(blocked.prefix(extent.len() + 1), Some(blocked));
        }
        if self.want == Want::Nothing && self.blocked.is_none() && self.kids.is_none() {
            return Vec::new();
        }
        self.look_at([extent.child(false), extent.child(true)]);
        let unknown: Vec<usize> =
            [1, 2].into_iter().filter(|slot| matches!(self.known[*slot], Known::Unknown)).collect();
        if !unknown.is_empty() {
            return self.get(&unknown);
        }
        let Body::Inner { made, cut, page, .. } = &node.body else { return Vec::new() };
        let made = Some(*made);
        let mut ops = Vec::new();
        for slot in [1, 2] {
            match &self.known[slot] {
                Known::Is(kid, _) if kid.state == State::Frozen || (kid.state, kid.of) == (State::Pending, made) => {
                    let open = Node { state: State::Open, of: made, ..(**kid).clone() };
                    ops.extend(self.put(slot, open));
                }
                Known::Is(kid, _)
                    if kid.state != State::Pending && !matches!(kid.body, Body::Marker { .. })
                        || self.blocked.is_none() => {}
                // A leaf was lost with all who held it. It may also be that the node is a leaf by now: then what is pending
                // is never opened. Below another node than a leaf there may be others: it is not begun anew.
                Known::Is(..) | Known::Absent
                    if self.revives
                        && self.blocked.is_some()
                        && *page
                        && self.label(slot).is_some_and(|name| cut.contains(&name)) =>
                {
                    let ups = core::iter::once(self.name.len()).chain(node.ups.iter().copied()).take(UPS_MAX).collect();
                    ops.extend(self.put(slot, Node { state: State::Pending, ..Node::leaf(made, ups) }));
                    self.known[0] = Known::Unknown;
                }
                _ => {}
            }
        }
        if ops.is_empty() && self.want == Want::Merge {
            self.want = Want::Nothing;
            if self.few(&node, BUCKET_MAX / 2) {
                return self.put(0, Node { state: State::Merging, ..node }).into_iter().collect();
            }
        }
        ops
    }

    /// Whether node and children together have at most so many entries, and the children are leaves.
    fn few(&self, node: &Node, most: usize) -> bool {
        let Body::Inner { made, .. } = &node.body else { return false };
        let (mut count, mut size) = (node.bucket().len(), bytes(node.bucket()));
        for known in &self.known[1..] {
            let Known::Is(kid, _) = known else { return false };
            let whole = matches!(kid.state, State::Open | State::Frozen)
                || (kid.state, kid.of) == (State::Pending, Some(*made));
            let (Body::Leaf(entries), true) = (&kid.body, whole) else { return false };
            count += entries.len();
            size += bytes(entries);
        }
        count <= most && size <= BUCKET_BYTES * most / BUCKET_MAX
    }

    fn split(&mut self, node: Node, version: Version) -> Vec<(Label, Action)> {
        let Some(halves) = halves(&self.name, &node, version) else { return Vec::new() };
        self.look_at([halves[0].0.clone(), halves[1].0.clone()]);
        let mut ops = Vec::new();
        let mut ready = true;
        let [(one, left), (_, right)] = halves;
        let extent = one.prefix(one.len() - 1);
        for (slot, half) in [(1, left), (2, right)] {
            match &self.known[slot] {
                Known::Is(kid, _) if kid.of == Some(version) => continue,
                // Most often nothing is there.
                Known::Unknown => {
                    self.known[slot] = Known::Absent;
                    ops.extend(self.put(slot, half));
                }
                _ => ops.extend(self.put(slot, half)),
            }
            ready = false;
        }
        if ready {
            let cut = self.kids.iter().flatten().cloned().collect();
            let body = Body::Inner { extent, made: version, cut, page: true, rest: Vec::new() };
            ops.extend(self.put(0, Node { state: State::Open, body, ..node }));
        }
        ops
    }

    fn merge(&mut self, node: Node, version: Version) -> Vec<(Label, Action)> {
        let Body::Inner { extent, .. } = &node.body else { return Vec::new() };
        self.look_at([extent.child(false), extent.child(true)]);
        let unknown: Vec<usize> =
            [1, 2].into_iter().filter(|slot| matches!(self.known[*slot], Known::Unknown)).collect();
        if !unknown.is_empty() {
            return self.get(&unknown);
        }
        if !self.few(&node, BUCKET_MAX * 3 / 4) {
            return self.put(0, Node { state: State::Open, ..node }).into_iter().collect();
        }
        let mut ops = Vec::new();
        let mut all: Vec<Entry> = node.bucket().to_vec();
        for slot in [1, 2] {
            let Known::Is(kid, _) = &self.known[slot] else { continue };
            if (kid.state, kid.of) == (State::Frozen, Some(version)) {
                all.extend_from_slice(kid.bucket());
            } else {
                let frozen = Node { state: State::Frozen, of: Some(version), ..(**kid).clone() };
                ops.extend(self.put(slot, frozen));
            }
        }
        if ops.is_empty() {
            all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            ops.extend(self.put(0, Node { state: State::Open, body: Body::Leaf(all), ..node }));
        }
        ops
    }

    /// What was written here: the hints of a tree that has another shape now.
    fn on_written(&mut self, slot: usize, node: &Node) {
        let (0, State::Open, Some(kids)) = (slot, node.state, &self.kids) else { return };
        let (old, new, extent) = match &node.body {
            Body::Inner { extent, cut, .. } if cut == kids => (vec![self.name.clone()], kids.to_vec(), extent.clone()),
            Body::Leaf(_) => (kids.to_vec(), vec![self.name.clone()], kids[0].prefix(kids[0].len() - 1)),
            _ => return,
        };
        if matches!(node.body, Body::Inner { .. }) {
            self.mark(&self.name.clone(), &extent);
            // The inner node of an edge that was split has another name now.
            for slot in [1, 2] {
                if let (Known::Is(kid, _), Some(name)) = (&self.known[slot], self.label(slot))
                    && let Body::Inner { extent, .. } = &kid.body
                {
                    self.mark(&name, &extent.clone());
                }
            }
        }
        let up = node.ups.first().map(|bits| self.name.prefix(*bits));
        self.thin = up.filter(|_| matches!(&node.body, Body::Leaf(entries) if entries.len() < BUCKET_LOW));
        // What this node holds itself, its children do not.
        if extent == self.name {
            self.hint(&self.name.clone(), node, &old, &new);
        }
    }

    /// Searches that look for a node at its handle are told its name.
    fn mark(&mut self, name: &Label, extent: &Label) {
        let at = handle(name.len(), extent.len());
        if at != name.len() {
            let body = Body::Marker { name: name.len(), extent: extent.clone() };
            let marker = Node { of: None, ups: Vec::new(), state: State::Open, body };
            self.markers.push((extent.prefix(at), marker, Expect::Absent));
        }
    }

    /// The nodes above one may know these names in place of those.
    fn hint(&mut self, name: &Label, node: &Node, old: &[Label], new: &[Label]) {
        for up in node.ups.iter().filter(|up| **up < name.len()) {
            self.hints.push((name.prefix(*up), Edit::Cut { old: old.to_vec(), new: new.to_vec() }));
        }
    }

    /// A node above refused to know more names. If it has no room it knows fewer levels instead, and those above it know its
    /// children.
    fn fold(&mut self, name: Label, old: &[Label], new: &[Label], value: &[u8]) {
        let Some(node) = Node::decode(&name, value) else { return };
        let Body::Inner { extent, cut, .. } = &node.body else { return };
        if cut.len() + new.len() > CUT_MAX + old.len() && old.iter().all(|label| cut.contains(label)) {
            if *extent == name {
                self.hint(&name, &node, core::slice::from_ref(&name), &[extent.child(false), extent.child(true)]);
            }
            self.hints.push((name, Edit::Fold));
        }
    }
}

/// The children that a node which splits at that version gets.
fn halves(name: &Label, node: &Node, version: Version) -> Option<[(Label, Node); 2]> {
    let mut bucket = node.bucket().iter();
    let first = Label::of(&bucket.next()?.key);
    let old = match &node.body {
        Body::Inner { extent, .. } => Some(extent),
        _ => None,
    };
    let others: Vec<Label> = bucket.map(|entry| Label::of(&entry.key)).chain(old.cloned()).collect();
    let bits = others.iter().map(|label| first.common(label)).min()?;
    if others.iter().chain([&first]).any(|label| label.len() <= bits) {
        return None;
    }
    let extent = first.prefix(bits);
    let mut ups = vec![name.len()];
    ups.extend(node.ups.iter().take(UPS_MAX - 1));
    let half = |bit: bool| {
        let kid = extent.child(bit);
        let below = |entry: &&Entry| kid.is_prefix_of(&Label::of(&entry.key));
        let entries: Vec<Entry> = node.bucket().iter().filter(below).cloned().collect();
        let body = match &node.body {
            Body::Inner { extent, made, cut, page, .. } if kid.is_prefix_of(extent) => {
                Body::Inner { extent: extent.clone(), made: *made, cut: cut.clone(), page: *page, rest: entries }
            }
            _ => Body::Leaf(entries),
        };
        (kid.clone(), Node { of: Some(version), ups: ups.clone(), state: State::Pending, body })
    };
    Some([half(false), half(true)])
}
