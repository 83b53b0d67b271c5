//! Requests of prefix hash trees, at nodes of a simulated network.

use pontoon_core::{
    CallId,
    pht::{Answer, Range, Request, Shape, Task},
    store::Outcome,
};

use crate::{
    ops::{keys, outcomes},
    sim::Sim,
};

const MINUTE_US: u64 = 60_000_000;

/// A request under way at a node.
pub struct Work {
    node: usize,
    task: Task,
    round: Option<(CallId, usize)>,
}

/// The range of one key.
pub fn point(key: &[u8]) -> Range {
    Range { from: key.to_vec(), to: Some([key, &[0]].concat()), ..Range::default() }
}

impl Sim {
    /// Begins a request of the tree `name` at a node.
    pub fn begin(&mut self, node: usize, name: &str, shape: &Shape, request: Request) -> Work {
        let mut work = Work { node, task: Task::new(format!("pht/{name}"), 0, request, shape), round: None };
        self.next_round(&mut work);
        work
    }

    fn next_round(&mut self, work: &mut Work) {
        let ops = work.task.poll();
        let count = ops.len();
        work.round = (count > 0).then(|| (self.command(work.node, keys(ops)), count));
    }

    /// Takes in what came of a request, without running on; whether it is over.
    pub fn goes_on(&mut self, work: &mut Work, shape: &mut Shape) -> bool {
        let Some((call, count)) = work.round else { return false };
        let answer = self.reply(call);
        // Who was asked is gone, and its answer with it.
        let gone = answer.is_none() && !self.is_up(work.node);
        if answer.is_some() || gone {
            let outcomes: Vec<Outcome> = outcomes(answer.map(|(_, answer)| answer), count);
            work.task.on_outcomes(shape, outcomes);
            self.next_round(work);
        }
        work.round.is_some() && !gone
    }

    /// A request of the tree `name` at a node, answered within a minute of virtual time for each round.
    pub fn tree(&mut self, node: usize, name: &str, shape: &mut Shape, request: Request) -> Answer {
        let mut work = self.begin(node, name, shape, request);
        while let Some((call, count)) = work.round {
            let answer = self.wait(&[call], MINUTE_US).remove(0);
            work.task.on_outcomes(shape, outcomes(answer, count));
            self.next_round(&mut work);
        }
        work.answer()
    }
}

impl Work {
    /// What came of it.
    pub fn answer(self) -> Answer {
        self.task.into_answer()
    }
}
