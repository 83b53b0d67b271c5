//! Where in a tree a label is: fat binary search over prefix lengths, and what a client remembers of the shape.
//!
//! A search looks for the node whose bucket holds a target, or below which the target's whole subtree lies. It probes
//! labels that are prefixes of the target: at an inner node it goes on behind the extent, where nothing is it goes on above.
//! That takes at most `floor(log2(D + 1)) + 1` probes for a target of `D` bits, however many keys share a long prefix
//! (see [`handle`]). What an inner node tells of names below takes the place of a probe where the bound leaves room for a
//! guess that fails. Who has been there before, or begins at the root, goes by names alone as long as they lead on.
//!
//! Markers and names known may be old. If what is found does not fit together the search walks down from the root, by
//! nodes alone: that is always right.

use super::{
    label::{Label, handle},
    node::{Body, Node, State},
};
use crate::map::Map;

/// Names that a client remembers of one tree.
const NAMES_MAX: usize = 8_192;

/// What a client knows of the shape of a tree: names that nodes had.
#[derive(Clone, Debug, Default)]
pub struct Shape(Map<Label, ()>);

impl Shape {
    /// Takes in a node, or that none of that name is there.
    pub fn learn(&mut self, name: &Label, node: Option<&Node>) {
        if self.0.len() >= NAMES_MAX {
            self.0.clear();
        }
        match node {
            Some(Node { state: State::Open | State::Splitting | State::Merging, body, .. })
                if !matches!(body, Body::Marker { .. }) =>
            {
                self.0.insert(name.clone(), ());
                if let Body::Inner { cut, .. } = body {
                    self.0.extend(cut.iter().map(|name| (name.clone(), ())));
                }
            }
            _ => drop(self.0.remove(name)),
        }
    }

    /// How many names it knows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bits the longest name has that a target begins with.
    pub fn guess(&self, target: &Label) -> Option<u16> {
        let mut below = target.clone();
        loop {
            let (name, ()) = self.0.range(..=below).next_back()?;
            let common = name.common(target);
            if common == name.len() {
                return Some(common);
            }
            below = target.prefix(common);
        }
    }
}

/// What a probe showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The next probe will tell more.
    On,
    /// The target is in this node's bucket.
    Here,
    /// The target's subtree is that of this node's children, and part of its bucket.
    Within,
    /// A node of that many bits answers nothing; its parent is the one whose name has so many.
    Blocked(u16, u16),
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Search {
    target: Label,
    /// Lengths that the name of the target's node may have.
    low: u16,
    high: u16,
    guess: Option<u16>,
    /// Down from the root, or from below an inner node.
    walk: bool,
    parent: u16,
    probes: u32,
    /// Names known are probed before the middle, whether or not the bound leaves room for one that is not the last.
    greedy: bool,
}

impl Search {
    /// Begins where `shape` says, or in the middle.
    pub fn new(target: Label, shape: &Shape) -> Search {
        match shape.guess(&target) {
            Some(bits) => Search::at(target, bits),
            None => Search { guess: None, greedy: false, ..Search::at(target, 0) },
        }
    }

    /// Begins with a prefix of so many bits.
    pub fn at(target: Label, bits: u16) -> Search {
        Search {
            low: 0,
            high: target.len(),
            target,
            guess: Some(bits),
            walk: false,
            parent: 0,
            probes: 0,
            greedy: true,
        }
    }

    /// What is looked for.
    pub fn target(&self) -> &Label {
        &self.target
    }

    /// The label to probe.
    pub fn probe(&self) -> Label {
        self.target.prefix(match self.guess {
            _ if self.walk => self.low,
            Some(bits) => bits,
            None => handle(self.low, self.high),
        })
    }

    /// Takes in what is stored under [`Search::probe`].
    pub fn on(&mut self, node: Option<&Node>) -> Step {
        let at = self.probe().len();
        self.probes += 1;
        self.guess = None;
        let node = node.filter(|node| !matches!(node.state, State::Pending | State::Frozen));
        match node.map(|node| &node.body) {
            None if at == 0 => return Step::Here,
            Some(Body::Leaf(_)) => return Step::Here,
            Some(Body::Inner { extent, cut, .. }) => {
                if self.target.is_prefix_of(extent) {
                    return Step::Within;
                }
                if !extent.is_prefix_of(&self.target) {
                    return Step::Here;
                }
                self.parent = at;
                self.low = extent.len() + 1;
                if !self.walk {
                    self.jump(cut);
                }
            }
            None | Some(Body::Marker { .. }) if self.walk => {
                // Its parent decides what it is: that one is looked at again.
                self.low = self.parent;
                return Step::Blocked(at, self.parent);
            }
            None => {
                if at <= self.low {
                    self.start_over();
                } else {
                    self.high = at - 1;
                }
            }
            Some(Body::Marker { name, extent }) => {
                if extent.is_prefix_of(&self.target) && extent.len() < self.target.len() {
                    self.low = self.low.max(extent.len() + 1);
                } else if *name >= self.low {
                    self.guess = Some(*name);
                } else {
                    self.start_over();
                }
            }
        }
        if self.low > self.high && !self.walk {
            self.start_over();
        }
        Step::On
    }

    /// An inner node tells of names below: the target's node is not above the longest one that fits.
    fn jump(&mut self, cut: &[Label]) {
        let Some(name) = cut.iter().find(|name| name.is_prefix_of(&self.target)) else { return };
        self.low = self.low.max(name.len());
        let steps = |positions: u32| positions.checked_ilog2().map_or(0, |log| log + 1);
        let bound = steps(u32::from(self.target.len()) + 1);
        let room = self.high >= self.low && self.probes + steps(u32::from(self.high - self.low) + 1) < bound;
        if self.greedy || room {
            self.guess = Some(name.len());
        }
    }

    fn start_over(&mut self) {
        (self.low, self.high, self.guess, self.walk, self.parent) = (0, self.target.len(), None, true, 0);
    }
}
