//! Admission: how many queries of its own application a node runs at once. Further ones wait for their turn, and beyond
//! that they are refused: a page that asks for everything a thousand times does not take the network from the others.

use super::{CallId, Command, Node, Reply, Timer, ctx, ways};
use crate::{ctx::Ctx, error::Error, exchange::Whose};

struct Waiting {
    call: CallId,
    /// A gather or a join: what runs over the peers for as long as it takes them.
    query: Box<Command>,
    until_us: u64,
}

/// The queries of this node's application.
#[derive(Default)]
pub(super) struct Admission {
    running: Vec<CallId>,
    /// Who came first is first.
    waiting: Vec<Waiting>,
}

impl Admission {
    /// How many run, and how many wait for their turn.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }
}

impl Node {
    /// Runs a query, at once or when it is its turn.
    pub(super) fn admit(&mut self, call: CallId, query: Box<Command>, deadline_us: Option<u64>) {
        let until_us = self.deadline(deadline_us);
        if self.admission.running.len() < self.config.queries_max {
            return self.begin(Waiting { call, query, until_us });
        }
        let max = self.config.queries_waiting_max;
        if self.admission.waiting.len() >= max {
            return self.reply(call, Err(Error::Overloaded { limit: "queries_waiting_max", max }));
        }
        self.admission.waiting.push(Waiting { call, query, until_us });
        ctx!(self).timer(until_us.saturating_sub(self.now.mono), Timer::Call(call));
    }

    fn begin(&mut self, Waiting { call, query, until_us }: Waiting) {
        self.admission.running.push(call);
        match *query {
            Command::Gather { fragment, except, .. } => self.gather(call, &fragment, &except, until_us),
            Command::Join { plan, .. } => {
                self.exchanges.start(&mut ctx!(self), &ways!(self), Whose::Call(call), plan, until_us);
            }
            _ => {}
        }
    }

    /// A query is over: the next one has its turn.
    pub(super) fn query_over(&mut self, call: CallId, result: Result<Reply, Error>) {
        self.reply(call, result);
        if let Some(index) = self.admission.running.iter().position(|other| *other == call) {
            self.admission.running.remove(index);
        }
        while self.admission.running.len() < self.config.queries_max && !self.admission.waiting.is_empty() {
            let next = self.admission.waiting.remove(0);
            self.begin(next);
        }
    }

    /// A call's time is up: if its turn has not come, it does not come any more.
    pub(super) fn wait_over(&mut self, call: CallId) {
        if self.withdraw(call) {
            self.reply(call, Err(Error::Overloaded { limit: "queries_max", max: self.config.queries_max }));
        }
    }

    /// Takes a query out of the line; whether it stood there.
    pub(super) fn withdraw(&mut self, call: CallId) -> bool {
        let index = self.admission.waiting.iter().position(|waiting| waiting.call == call);
        index.map(|index| self.admission.waiting.remove(index)).is_some()
    }
}
