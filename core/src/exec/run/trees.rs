//! Requests of prefix hash trees that a statement has under way, each in rounds of operations.

use super::host::Host;
use crate::{
    map::Map,
    pht::{Answer, Request, Shape, Task},
    store::Outcome,
};

/// See the module's documentation. `T` says what a request is for.
pub(super) struct Trees<T> {
    open: Map<u32, (T, String, Task)>,
    shapes: Map<String, Shape>,
}

impl<T> Trees<T> {
    pub fn new() -> Trees<T> {
        Trees { open: Map::new(), shapes: Map::new() }
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether a need is one of its own.
    pub fn awaits(&self, need: u32) -> bool {
        self.open.contains_key(&need)
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
        let shape = self.shapes.entry(namespace.to_owned()).or_default();
        let task = Task::new(namespace.to_owned(), locality_bits, request, shape);
        self.go_on(host, what, namespace.to_owned(), task)
    }

    /// The outcomes of a round; what came of the request, if that was the last one.
    pub fn on_ops(&mut self, host: &mut Host, need: u32, outcomes: Vec<Outcome>) -> Option<(T, Answer)> {
        let (what, namespace, mut task) = self.open.remove(&need)?;
        task.on_outcomes(self.shapes.entry(namespace.clone()).or_default(), outcomes);
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
