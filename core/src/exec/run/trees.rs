//! Requests of prefix hash trees that a statement has under way, each in rounds of operations; and what is known of the
//! shapes of trees, from one statement to the next, so that a lookup finds its leaf at once.

use super::host::Host;
use crate::{
    map::Map,
    pht::{Answer, Request, Shape, Task},
    store::Outcome,
};

/// Names of nodes that are remembered of all trees.
const NAMES_MAX: usize = 32_768;
/// Trees of which any are.
const TREES_MAX: usize = 64;

/// What an asker knows of the shapes of trees, by namespace. It may be old: a search that meets something else goes on
/// without.
#[derive(Debug, Default)]
pub struct Shapes(Map<String, Shape>);

impl Shapes {
    fn of(&mut self, namespace: &str) -> &mut Shape {
        let names: usize = self.0.values().map(Shape::len).sum();
        if names > NAMES_MAX || self.0.len() >= TREES_MAX && !self.0.contains_key(namespace) {
            self.0.clear();
        }
        self.0.entry(namespace.to_owned()).or_default()
    }
}

/// See the module's documentation. `T` says what a request is for.
pub(super) struct Trees<T> {
    open: Map<u32, (T, String, Task)>,
}

impl<T> Trees<T> {
    pub fn new() -> Trees<T> {
        Trees { open: Map::new() }
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a need is one of its own.
    pub fn awaits(&self, need: u32) -> bool {
        self.open.contains_key(&need)
    }

    /// What a need is for.
    pub fn purpose(&self, need: u32) -> Option<&T> {
        self.open.get(&need).map(|(what, ..)| what)
    }

    /// Begins a request; what came of it, if there was nothing to ask. A range may have more entries than its limit.
    pub fn begin(
        &mut self,
        host: &mut Host,
        what: T,
        namespace: &str,
        locality_bits: u8,
        request: Request,
    ) -> Option<(T, Answer)> {
        let shape = host.shapes.of(namespace);
        let task = Task::new(namespace.to_owned(), locality_bits, request, shape);
        self.go_on(host, what, namespace.to_owned(), task)
    }

    /// The outcomes of a round; what came of the request, if that was the last one.
    pub fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Option<(T, Answer)> {
        let (what, namespace, mut task) = self.open.remove(&need)?;
        task.on_outcomes(host.shapes.of(&namespace), outcomes);
        self.go_on(host, what, namespace, task)
    }

    fn go_on(&mut self, host: &mut Host, what: T, namespace: String, mut task: Task) -> Option<(T, Answer)> {
        let ops = task.poll();
        if ops.is_empty() {
            return Some((what, task.into_read()));
        }
        self.open.insert(host.ops(ops), (what, namespace, task));
        None
    }
}
