//! What is stored under a label, and what the owner of a label does to it.
//!
//! The tree is path-compressed. A node has a *name*, the label under which it is stored, and is a leaf or an inner node:
//! - a leaf holds the entries whose keys begin with its name;
//! - an inner node has an *extent*, its name and perhaps more bits, and two children named by one bit more. What begins
//!   with its name and not with its extent it holds itself, as a leaf would.
//!
//! So every key belongs to the bucket of exactly one node, and a prefix that all keys share costs one node, however long.
//! A *marker* says where the node is whose edge runs through it; searches only are faster by it.

use serde::{Deserialize, Serialize};

use super::label::Label;
use crate::store::Version;

/// Entries of one node. Few in tests of this module, where trees are to change their shape often.
pub const BUCKET_MAX: usize = if cfg!(test) { 8 } else { 64 };
/// Bytes of the entries of one node.
pub const BUCKET_BYTES: usize = 32 << 10;
/// A node with fewer entries is worth a look whether it and its sibling are better one.
pub const BUCKET_LOW: usize = if cfg!(test) { 4 } else { 12 };
/// Bytes of a key.
pub const KEY_MAX: usize = 1_024;
/// Bytes of a value.
pub const VALUE_MAX: usize = 4_096;
/// Names that an inner node knows of what is below it.
pub const CUT_MAX: usize = 32;
/// Levels below it that a node knows at least, where there are so many.
const FOLD_LEVELS: u32 = 3;
/// Nodes above that a node knows.
pub const UPS_MAX: usize = 6;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// No key is a prefix of another.
    #[serde(with = "crate::wire::bytes")]
    pub key: Vec<u8>,
    /// The value.
    #[serde(with = "crate::wire::bytes")]
    pub value: Vec<u8>,
    /// Given by who wrote it.
    pub stamp: u64,
    /// When it was written, by the owner's wall clock.
    pub at_us: u64,
}

/// What is under way at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nothing.
    Open,
    /// Its bucket moves to children that are being made; nothing is written to it.
    Splitting,
    /// Its children are about to become one with it.
    Merging,
    /// Made by a split; it answers nothing until its parent says that the split is done.
    Pending,
    /// About to become one with its parent; it answers nothing.
    Frozen,
}

/// A node of the tree, or a marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The version that its parent had while it split, or while it merged: which change this one belongs to.
    pub of: Option<Version>,
    /// How long the names of the nodes above it are, the nearest first: hints.
    pub ups: Vec<u16>,
    /// What is under way.
    pub state: State,
    /// What it is.
    pub body: Body,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// The entries below its name, by key.
    Leaf(Vec<Entry>),
    /// A node with children.
    Inner {
        /// What all keys of its children begin with.
        extent: Label,
        /// The version that it had while it split.
        made: Version,
        /// Names of nodes below that together hold all that its children do: hints, so that a range needs not look at
        /// every inner node.
        cut: Vec<Label>,
        /// Whether those are leaves, as far as it was told. Who would know too many leaves knows nodes below that know
        /// them: pages, as those of a B-tree.
        page: bool,
        /// The entries below its name and not below its extent, by key.
        rest: Vec<Entry>,
    },
    /// No node is here: the one whose name has so many bits goes on to that extent.
    Marker {
        /// Bits of the name.
        name: u16,
        /// The extent.
        extent: Label,
    },
}

/// What the owner of a label is to do to its node; all of it or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Edit {
    /// Changes of entries.
    Entries {
        /// The changes.
        changes: Vec<Change>,
        /// Whether few entries may be left without telling.
        low: bool,
    },
    /// Of the names that it knows, these are now those.
    Cut {
        /// Names that it must know.
        old: Vec<Label>,
        /// What takes their place.
        new: Vec<Label>,
    },
    /// It would know too many names: from now on it knows those of the next levels only.
    Fold,
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Of this key.
    #[serde(with = "crate::wire::bytes")]
    pub key: Vec<u8>,
    /// What becomes of it.
    pub what: What,
    /// What must be there.
    pub expect: Held,
}

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// It has this value and stamp.
    Set(#[serde(with = "crate::wire::bytes")] Vec<u8>, u64),
    /// It goes, if it is there, unless it was written less than so many microseconds ago.
    Remove(u64),
}

/// What must be there of an entry before it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// Whatever is.
    Any,
    /// Nothing.
    Absent,
    /// An entry with this stamp.
    Stamp(u64),
}

/// Why an edit has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The node is not where those entries belong, or something is under way.
    Elsewhere,
    /// The change of that index meets something else than it expects.
    Unexpected(usize),
    /// The key of the change of that index is a prefix of another one, or the other way round.
    Unfit(usize),
    /// There is no room.
    Full,
    /// Few entries would be left.
    Low,
    /// Nothing would change.
    Nothing,
    /// It is no edit, or not of a label.
    Malformed,
}

impl Edit {
    /// The edit as bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

impl Change {
    /// Its bytes, about.
    pub fn bytes(&self) -> usize {
        let value = if let What::Set(value, _) = &self.what { value.len() } else { 0 };
        self.key.len() + value + 20
    }
}

impl Node {
    /// An empty leaf.
    pub fn leaf(of: Option<Version>, ups: Vec<u16>) -> Node {
        Node { of, ups, state: State::Open, body: Body::Leaf(Vec::new()) }
    }

    /// The node as a record's value.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// The node named `name` from a record's value; `None` if it cannot be one.
    pub fn decode(name: &Label, value: &[u8]) -> Option<Node> {
        let node: Node = postcard::from_bytes(value).ok()?;
        let below = |label: &Label, of: &Label| label.is_sound() && of.is_prefix_of(label);
        let sound = match &node.body {
            Body::Leaf(_) => true,
            Body::Inner { extent, cut, .. } => below(extent, name) && is_partition(cut, extent),
            Body::Marker { name: bits, extent } => *bits < name.len() && below(extent, name),
        };
        let entries = node.bucket();
        let ordered = entries.len() <= BUCKET_MAX && entries.windows(2).all(|pair| pair[0].key < pair[1].key);
        let here = entries.iter().all(|entry| entry.key.len() <= KEY_MAX && node.holds(name, &entry.key));
        (sound && ordered && here).then_some(node)
    }

    /// Its entries.
    pub fn bucket(&self) -> &[Entry] {
        match &self.body {
            Body::Leaf(entries) | Body::Inner { rest: entries, .. } => entries,
            Body::Marker { .. } => &[],
        }
    }

    /// Whether a key would be in its bucket.
    pub fn holds(&self, name: &Label, key: &[u8]) -> bool {
        name.begins(key)
            && match &self.body {
                Body::Leaf(_) => true,
                Body::Inner { extent, .. } => !extent.begins(key),
                Body::Marker { .. } => false,
            }
    }

    /// Carries out changes of entries; on an error nothing has changed that counts.
    pub fn change(&mut self, name: &Label, changes: &[Change], low: bool, wall_us: u64) -> Result<(), Refused> {
        let elsewhere = |change: &Change| change.key.len() > KEY_MAX || !self.holds(name, &change.key);
        if self.state != State::Open || changes.iter().any(elsewhere) {
            return Err(Refused::Elsewhere);
        }
        let whole = match &self.body {
            Body::Inner { extent, .. } => Some(extent.clone()),
            _ => None,
        };
        let (Body::Leaf(entries) | Body::Inner { rest: entries, .. }) = &mut self.body else {
            return Err(Refused::Elsewhere);
        };
        let (before, size) = (entries.len(), bytes(entries));
        for (index, change) in changes.iter().enumerate() {
            let at = entries.binary_search_by(|entry| entry.key.cmp(&change.key));
            let held = at.ok().map(|at| &entries[at]);
            let expected = match change.expect {
                Held::Any => true,
                Held::Absent => held.is_none(),
                Held::Stamp(stamp) => held.is_some_and(|held| held.stamp == stamp),
            };
            match (&change.what, at) {
                _ if !expected => return Err(Refused::Unexpected(index)),
                (What::Set(value, _), _) if value.len() > VALUE_MAX => return Err(Refused::Malformed),
                (What::Set(value, stamp), at) => {
                    let entry = Entry { key: change.key.clone(), value: value.clone(), stamp: *stamp, at_us: wall_us };
                    match at {
                        Ok(at) => entries[at] = entry,
                        Err(at) => {
                            // As a prefix of the extent it is one of all keys below.
                            let above = matches!(&whole, Some(extent) if Label::of(&change.key).is_prefix_of(extent));
                            let before = at.checked_sub(1).and_then(|at| entries.get(at));
                            let after = entries.get(at);
                            if above
                                || before.is_some_and(|before| change.key.starts_with(&before.key))
                                || after.is_some_and(|after| after.key.starts_with(&change.key))
                            {
                                return Err(Refused::Unfit(index));
                            }
                            entries.insert(at, entry);
                        }
                    }
                }
                (What::Remove(age_us), Ok(at)) => {
                    if wall_us.saturating_sub(entries[at].at_us) >= *age_us {
                        entries.remove(at);
                    }
                }
                (What::Remove(_), Err(_)) => {}
            }
        }
        let more = entries.len() > before || bytes(entries) > size;
        if more && (entries.len() > BUCKET_MAX || bytes(entries) > BUCKET_BYTES) {
            return Err(Refused::Full);
        }
        if !low && entries.len() < before && entries.len() < BUCKET_LOW && !name.is_empty() {
            return Err(Refused::Low);
        }
        Ok(())
    }
}

/// Whether each key below `whole` is below exactly one of some labels, which are in order, longer, and not too many.
pub fn is_partition(parts: &[Label], whole: &Label) -> bool {
    if parts.len() < 2 || parts.len() > CUT_MAX {
        return false;
    }
    // The least label that is not covered yet; `None`: all is.
    let mut next = Some(whole.clone());
    for part in parts {
        let Some(begin) = next else { return false };
        let zeros = (begin.len()..part.len()).all(|at| !part.bit(at));
        if !part.is_sound() || !begin.is_prefix_of(part) || !zeros {
            return false;
        }
        next = (whole.len()..part.len()).rev().find(|at| !part.bit(*at)).map(|at| part.prefix(at).child(true));
    }
    next.is_none()
}

/// Of parts of what is below `name`, in order, those that are so many levels below it, or the parts that are not so deep.
fn upper(parts: &[Label], name: Label, levels: u32) -> Vec<Label> {
    let [first, .., last] = parts else { return vec![name] };
    if levels == 0 {
        return vec![name];
    }
    let extent = first.prefix(first.common(last));
    let (left, right) = parts.split_at(parts.partition_point(|part| !part.bit(extent.len())));
    [upper(left, extent.child(false), levels - 1), upper(right, extent.child(true), levels - 1)].concat()
}

/// Bytes of entries, about.
pub fn bytes(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.key.len() + entry.value.len() + 20).sum()
}

/// The next value of a label's record, given the one that it has.
pub fn apply(key: &[u8], value: Option<&[u8]>, edit: &[u8], wall_us: u64) -> Result<Vec<u8>, Refused> {
    let name = Label::from_key(key).ok_or(Refused::Malformed)?;
    let edit: Edit = postcard::from_bytes(edit).map_err(|_| Refused::Malformed)?;
    // The root is there from the beginning.
    let root = Node::leaf(None, Vec::new()).encode();
    let before = value.or(name.is_empty().then_some(&root)).ok_or(Refused::Elsewhere)?;
    let mut node = Node::decode(&name, before).ok_or(Refused::Elsewhere)?;
    match edit {
        Edit::Entries { changes, low } => node.change(&name, &changes, low, wall_us)?,
        Edit::Cut { old, new } => {
            let Body::Inner { extent, cut, .. } = &mut node.body else { return Err(Refused::Elsewhere) };
            if node.state != State::Open || !old.iter().all(|label| cut.contains(label)) {
                return Err(Refused::Elsewhere);
            }
            cut.retain(|label| !old.contains(label));
            if cut.len() + new.len() > CUT_MAX {
                return Err(Refused::Full);
            }
            for label in new {
                cut.insert(cut.partition_point(|other| *other < label), label);
            }
            if !is_partition(cut, extent) {
                return Err(Refused::Malformed);
            }
        }
        Edit::Fold => {
            let Body::Inner { extent, cut, page, .. } = &mut node.body else { return Err(Refused::Elsewhere) };
            if node.state != State::Open || cut.len() < CUT_MAX {
                return Err(Refused::Elsewhere);
            }
            (*cut, *page) = (upper(cut, extent.clone(), FOLD_LEVELS), false);
        }
    }
    let after = node.encode();
    if after == before { Err(Refused::Nothing) } else { Ok(after) }
}
