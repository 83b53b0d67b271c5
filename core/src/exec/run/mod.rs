//! One statement at its asker, as a sans-IO state machine.
//!
//! The host calls [`Run::poll`] until it gives `None`, carries out each [`Need`] (any order, any number at once), and
//! tells what came by [`Run::on_ops`], [`Run::on_batch`] and [`Run::on_gathered`], polling again after each. When
//! [`Run::finished`] gives a result the statement is over.

use crate::{
    Error, Id, Now,
    data::{Cost, QueryResult, Value},
    sql::ast::Statement,
    store::{KeyOp, Outcome},
};

use super::fragment::{FragmentPlan, Partial};

/// What a statement asks its host to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// Operations on keys, in any order; answered once by [`Run::on_ops`] with one outcome for each, in order.
    Ops {
        /// Names this need.
        need: u32,
        /// The operations.
        ops: Vec<KeyOp>,
    },
    /// Run a fragment at the owners; answered by any number of [`Run::on_batch`], then once by [`Run::on_gathered`].
    Gather {
        /// Names this need.
        need: u32,
        /// What they run.
        fragment: FragmentPlan,
    },
}

/// How a gather ended.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherEnd {
    /// The share of the key space asked that answered: exactly 1.0, or below.
    pub coverage: f64,
    /// Whether a fragment that answered had given up a majority of an earlier epoch for lost.
    pub assumed_lost: bool,
    /// Peers that answered.
    pub peers: u64,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// An error of the fragment at some owner, such as `division_by_zero`.
    pub error: Option<Error>,
}

/// Where a statement runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// The clocks when it started: `now()` in SQL.
    pub now: Now,
    /// Fresh random bits: hidden row ids and generations of tables are made of them.
    pub random: u128,
    /// The asker.
    pub me: Id,
    /// Locality bits for tables that this statement creates, and of the catalog.
    pub locality_bits: u8,
}

/// One statement at its asker. See the module's documentation for the contract.
pub struct Run {
    result: Option<Result<QueryResult, Error>>,
}

impl Run {
    /// A statement with its parameters (`$1` is `params[0]`).
    pub fn new(statement: Statement, params: Vec<Value>, env: Env) -> Run {
        let _ = (statement, params, env);
        Run { result: Some(Err(Error::Invalid("not yet".to_owned()))) }
    }

    /// The next thing it needs, if any.
    pub fn poll(&mut self) -> Option<Need> {
        None
    }

    /// The outcomes of [`Need::Ops`], in the order of the operations.
    pub fn on_ops(&mut self, need: u32, outcomes: Vec<Outcome>, cost: Cost) {
        let _ = (need, outcomes, cost);
    }

    /// Some of what [`Need::Gather`] gathers; each owner's contribution is in exactly one batch.
    pub fn on_batch(&mut self, need: u32, partial: Partial) {
        let _ = (need, partial);
    }

    /// The end of [`Need::Gather`].
    pub fn on_gathered(&mut self, need: u32, end: GatherEnd) {
        let _ = (need, end);
    }

    /// The result, once. `cost.elapsed_us` is left to the host.
    pub fn finished(&mut self) -> Option<Result<QueryResult, Error>> {
        self.result.take()
    }
}
